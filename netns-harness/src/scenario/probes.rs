//! Knocks at xfrmd's door with ike-scan: how much an unauthenticated stranger is answered, and what is not.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ike_scan::{self, Answer, USUAL};
use crate::peer::ours::Ours;
use crate::peer::tunnel::{Auth, Exchange, Tunnel};
use crate::peer::{Kind, PATIENCE, Peer};
use crate::scenario::stage::Papers;
use crate::scenario::{Scenario, for_pairs};
use crate::topology::Pair;
use crate::wait;

const PAIR: [(Kind, Kind); 1] = [(Kind::IkeScan, Kind::Ours)];

/// Longer than the first gap between resends, which is 10 s: a responder that resends its first message shows in it.
const RESEND: u32 = 12;
/// Where nothing more is expected than one answer.
const SHORT: u32 = 1;

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &PAIR, "probe-main", "a first message of main mode: one answer, never resent, no vendor ID", main);
    for_pairs(out, &PAIR, "probe-refused", "nothing fits: one notify, and a log line that says what differs", refused);
    for_pairs(
        out,
        &PAIR,
        "probe-aggressive-off",
        "aggressive mode where only main is configured: no handshake",
        aggressive_off,
    );
    for_pairs(
        out,
        &PAIR,
        "probe-aggressive",
        "aggressive mode where it is configured: one answer, never resent",
        aggressive,
    );
    let nothing = "from an address without a remote block: nothing at all";
    for_pairs(out, &PAIR, "probe-stranger", nothing, stranger);
    for_pairs(
        out,
        &PAIR,
        "probe-malformed",
        "headers, proposals and flags that are wrong: none gets a handshake",
        malformed,
    );
}

/// xfrmd on bob, nothing on alice.
struct Door {
    pair: Pair,
    bob: Ours,
}

impl Door {
    fn set(desk: &mut Desk, adjust: impl FnOnce(&mut Tunnel)) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let pair = desk.pair()?;
        let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
        let mut tunnel = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        adjust(&mut tunnel);
        let bob = Ours::start(desk, &pair.bob, tunnel)?;
        Ok(Self { pair, bob })
    }

    fn probe(&self, listen: u32, arguments: &[&str]) -> Result<Answer> {
        let to = self.pair.bob.address(Family::V4);
        let answer = ike_scan::probe(&self.pair.alice, to, listen, arguments)?;
        if kernel_state::all_sas(&self.pair.bob)?.is_empty() {
            return Ok(answer);
        }
        Err(self.refuse(&answer, "a probe made an SA"))
    }

    fn refuse(&self, answer: &Answer, why: &str) -> Failure {
        Failure::new(why).with("ike-scan", &answer.text).with("bob's log", self.bob.log().unwrap_or_default())
    }
}

fn main(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let door = Door::set(desk, |_| {})?;
    let answer = door.probe(RESEND, &[USUAL])?;
    if !answer.handshake || answer.messages != 1 || answer.vendors > 0 {
        return Err(door.refuse(&answer, "one answer without vendor IDs was expected"));
    }
    let chosen = ["Enc=AES", "KeyLength=256", "Hash=SHA2-256", "Group=14", "Auth=RSA_Sig"];
    if let Some(missing) = chosen.iter().find(|word| !answer.text.contains(*word)) {
        return Err(door.refuse(&answer, &format!("the answer does not choose {missing}")));
    }
    desk.proved(format!("the proposal was chosen with one message in {RESEND} s; no vendor ID is volunteered"));
    Ok(())
}

fn refused(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let door = Door::set(desk, |_| {})?;
    let answer = door.probe(SHORT, &["--trans=5,1,3,2"])?;
    if answer.handshake || answer.messages > 1 || answer.notify.as_deref() != Some("NO-PROPOSAL-CHOSEN") {
        return Err(door.refuse(&answer, "one NO-PROPOSAL-CHOSEN was expected"));
    }
    wait::until(PATIENCE, "bob to log what did not fit", || Ok(door.bob.log()?.contains("peer offers (3des, md5")))
        .map_err(|failure| failure.with("bob's log", door.bob.log().unwrap_or_default()))?;
    desk.proved("3des, md5, group 2 are refused with one NO-PROPOSAL-CHOSEN, and a log line says how the nearest of ours differs");
    Ok(())
}

fn aggressive_off(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let door = Door::set(desk, |_| {})?;
    let answer = door.probe(SHORT, &["--aggressive", "--id=alice.desk", "--dhgroup=14", USUAL])?;
    if answer.handshake || answer.messages > 1 {
        return Err(door.refuse(&answer, "aggressive mode was answered although it is not configured"));
    }
    desk.proved("no handshake, so nothing to crack: aggressive mode is off unless configured");
    let answer = door.probe(SHORT, &[USUAL])?;
    if !answer.handshake {
        return Err(door.refuse(&answer, "main mode is no longer answered"));
    }
    desk.proved("main mode is answered right after it");
    Ok(())
}

fn aggressive(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let door = Door::set(desk, |bob| {
        bob.exchange = Exchange::Aggressive;
        bob.auth = Auth::Psk("a key of some thirty characters".to_owned());
    })?;
    // Identification type 1 is an address: alice's, in network order.
    let answer =
        door.probe(RESEND, &["--aggressive", "--idtype=1", "--id=0x0a010001", "--dhgroup=14", "--trans=7/256,4,1,14"])?;
    if !answer.handshake || answer.messages != 1 {
        return Err(door.refuse(&answer, "one answer was expected"));
    }
    desk.proved(format!("aggressive mode is answered once in {RESEND} s"));
    Ok(())
}

fn stranger(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let door = Door::set(desk, |bob| bob.remote = [10, 1, 0, 77].into())?;
    for arguments in [&[USUAL][..], &[USUAL, "--aggressive", "--id=alice.desk", "--dhgroup=14"]] {
        let answer = door.probe(SHORT, arguments)?;
        if answer.messages > 0 || answer.handshake || answer.notify.is_some() {
            return Err(door.refuse(&answer, "a stranger was answered"));
        }
    }
    desk.proved("neither exchange was answered in any way");
    Ok(())
}

/// Each with what is wrong about it.
const WRONG: [(&str, &str); 10] = [
    ("--headerver=0x20", "major version 2"),
    ("--headerlen=-8", "a header's length that is too small"),
    ("--headerlen=+40", "a header's length beyond the datagram"),
    ("--doi=7", "another domain of interpretation"),
    ("--situation=9", "another situation"),
    ("--protocol=3", "a proposal for ESP in phase 1"),
    ("--transid=9", "a transform that is not KEY_IKE"),
    ("--hdrflags=1", "a first message said to be encrypted"),
    ("--exchange=99", "an exchange that does not exist"),
    ("--nextpayload=8", "a first payload that is none of main mode's"),
];

fn malformed(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let door = Door::set(desk, |_| {})?;
    for (argument, what) in WRONG {
        let answer = door.probe(SHORT, &[argument, USUAL])?;
        if answer.handshake || answer.messages > 1 {
            return Err(door.refuse(&answer, &format!("{what} ({argument}) got a handshake, or more than one answer")));
        }
    }
    desk.proved(format!("{} first messages that are wrong got no handshake and at most one notify each", WRONG.len()));
    // Reserved octets are ignored on receipt, so this one is legal.
    for arguments in [&["--mbz=255", USUAL][..], &[USUAL]] {
        let answer = door.probe(SHORT, arguments)?;
        if !answer.handshake {
            return Err(door.refuse(&answer, "a legal first message is no longer answered"));
        }
    }
    desk.proved("the legal one after them is answered, one with reserved octets set too");
    Ok(())
}
