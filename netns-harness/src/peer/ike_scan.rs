//! ike-scan (1.9) as a peer: it sends the first message of phase 1 and shows what comes back. It is no daemon and holds no
//! SA, so it stands for everyone who only knocks.

use std::net::IpAddr;

use crate::failure::{Failure, Result};
use crate::host::Host;

/// xfrmd's usual suite in ike-scan's words: AES-256, SHA2-256, RSA signatures, group 14.
pub const USUAL: &str = "--trans=7/256,4,3,14";

/// What ike-scan saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Everything it printed.
    pub text: String,
    /// Whether a proposal was accepted.
    pub handshake: bool,
    /// The notify that came instead, by its name.
    pub notify: Option<String>,
    /// Vendor IDs in the answer.
    pub vendors: usize,
    /// Messages that came, resent ones included.
    pub messages: usize,
}

/// Sends one first message, and listens for `listen` seconds after the last answer.
///
/// # Errors
/// When ike-scan cannot be run or reports failure.
pub fn probe(host: &Host, to: IpAddr, listen: u32, arguments: &[&str]) -> Result<Answer> {
    let (backoff, to) = (format!("--showbackoff={listen}"), to.to_string());
    let usual = ["--nodns", "--multiline", "--retry=1", "--timeout=3000", &backoff];
    let text = host.check("ike-scan", &[&usual, arguments, &[to.as_str()]].concat())?;
    if text.contains(" hosts scanned in ") {
        return Ok(read(&text, &to));
    }
    Err(Failure::new("ike-scan did not come to its end").with("its output", text))
}

fn read(text: &str, to: &str) -> Answer {
    let handshake = text.contains(" Handshake returned");
    // `10.1.0.2<tab>Notify message 14 (NO-PROPOSAL-CHOSEN)`
    let notify = text.lines().find_map(|line| {
        let (_, rest) = line.split_once("Notify message ")?;
        Some(rest.split_once('(')?.1.split(')').next()?.to_owned())
    });
    let vendors = text.lines().filter(|line| line.trim_start().starts_with("VID=")).count();
    // The table of the backoff pattern has a line per message: address, number, time, difference.
    let numbered = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next() == Some(to) && words.next().is_some_and(|word| word.parse::<u32>().is_ok())
    };
    let messages = text.lines().filter(numbered).count();
    Answer { text: text.to_owned(), handshake, notify, vendors, messages }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_proposal_is_read() {
        let text = "10.1.0.2\tMain Mode Handshake returned\n\tHDR=(CKY-R=1)\n\tSA=(Enc=AES KeyLength=256)\n\tVID=4a13\n\n\
                    IKE Backoff Patterns:\n\nIP Address\tNo.\tRecv time\t\tDelta Time\n10.1.0.2\t1\t1463.5\t0.0\n\
                    10.1.0.2\tImplementation guess: UNKNOWN\n";
        let answer = read(text, "10.1.0.2");
        assert_eq!((answer.handshake, answer.notify, answer.vendors, answer.messages), (true, None, 1, 1));
    }

    #[test]
    fn a_refusal_is_read() {
        let answer = read("10.1.0.2\tNotify message 14 (NO-PROPOSAL-CHOSEN)\n\tHDR=(CKY-R=1)\n", "10.1.0.2");
        assert_eq!((answer.handshake, answer.notify.as_deref()), (false, Some("NO-PROPOSAL-CHOSEN")));
    }
}
