//! What keylime's agent runs when a revocation has reached it: an executable that is given a file with the message.
//!
//! The agent has checked the signature. It runs as its own user, waits, and gives up the actions behind the first one that
//! fails, so this one asks the daemon and is done. With no daemon there, the message is kept for the next one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::message::{self, MAX_NOTICE, Notice, Revocation};
use super::spool;
use crate::args::Places;
use crate::control::{CallError, CertificateRef, Request, call};
use crate::report::RevocationReport;
use crate::revocation::revoke::{By, Order};
use crate::revocation::serial;
use crate::xfrmctl::run::revoke_without_daemon;

/// How long the daemon may take: SAs are gone within milliseconds, the deny list is on the disk before.
const PATIENCE: Duration = Duration::from_secs(10);

/// Entry of the program: `local_action_xfrmd_revoke FILE`.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let outcome = match (arguments.next(), arguments.next()) {
        (Some(file), None) => act(Path::new(&file)),
        _ => Err("one argument is taken: the file with keylime's message".to_owned()),
    };
    match outcome {
        Ok(Done::Now(text)) => {
            let _closed = writeln!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        // The actions behind this one are to run: nothing of this one is lost.
        Ok(Done::Later(text)) => {
            let _closed = writeln!(io::stderr(), "local_action_xfrmd_revoke: {text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            let _closed = writeln!(io::stderr(), "local_action_xfrmd_revoke: {text}");
            ExitCode::FAILURE
        }
    }
}

/// What came of it.
enum Done {
    /// All of it.
    Now(String),
    /// The next daemon will.
    Later(String),
}

fn act(file: &Path) -> Result<Done, String> {
    let octets = read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let revocation = match message::read(&octets).map_err(|error| format!("{}: {error}", file.display()))? {
        Notice::Revocation(revocation) => revocation,
        Notice::Other { kind } => return Ok(Done::Now(format!("a message of type {kind}: nothing to revoke"))),
    };
    let request = Request::Revoke(CertificateRef {
        serial: serial::to_decimal(&revocation.serial),
        issuer_key: None,
        issuer_name: None,
        certificate: None,
        source: Some("keylime".to_owned()),
    });
    let places = Places::default();
    let ask = || call::<RevocationReport>(&places.control_socket(), &request, PATIENCE);
    let error = match ask() {
        Ok(report) => return Ok(Done::Now(report.summary())),
        Err(error @ (CallError::Refused { .. } | CallError::Denied { .. })) => return Err(error.to_string()),
        Err(error) => error,
    };
    // Nobody to ask: an agent that runs as root can do without, any other one leaves the message.
    if error.is_no_daemon()
        && let Some(report) = alone(&revocation, &places)
    {
        return Ok(Done::Now(report.summary()));
    }
    let state_dir = places.state_dir();
    let kept = spool::leave(&state_dir, &octets)
        .map_err(|why| format!("{error}, and the message cannot be kept in {}/spool: {why}", state_dir.display()))?;
    // A daemon that looked for messages before this one was there had opened its socket before it looked.
    match ask() {
        Ok(report) => {
            // Carried out once more by the next daemon, it would change nothing.
            let _left = std::fs::remove_file(&kept);
            Ok(Done::Now(report.summary()))
        }
        Err(_) => Ok(Done::Later(format!(
            "{error}; serial {} is NOT cut yet: the message is kept in {} and carried out when xfrmd starts",
            serial::to_decimal(&revocation.serial),
            kept.display()
        ))),
    }
}

/// The deny list, the journal and the kernel, if this user may touch them.
fn alone(revocation: &Revocation, places: &Places) -> Option<RevocationReport> {
    let (serial, source) = (revocation.serial.clone(), "keylime".to_owned());
    let order = Order { serial, issuer: None, certificate: None, source, by: By::Word };
    revoke_without_daemon(&order, places).ok()
}

/// One octet more than allowed tells a full file from one cut off.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(file)?.take(MAX_NOTICE as u64 + 1).read_to_end(&mut octets)?;
    Ok(octets)
}
