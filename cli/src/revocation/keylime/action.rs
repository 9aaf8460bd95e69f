//! What keylime's agent runs when a revocation has reached it: an executable that is given a file with the message.
//!
//! The agent has checked the signature. It runs as its own user, waits, and gives up the actions behind the first one that
//! fails, so this one asks the daemon and is done.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::message::{self, MAX_NOTICE, Notice};
use crate::args::Places;
use crate::control::{CertificateRef, Request, call};
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
        Ok(text) => {
            let _closed = writeln!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            let _closed = writeln!(io::stderr(), "local_action_xfrmd_revoke: {text}");
            ExitCode::FAILURE
        }
    }
}

fn act(file: &Path) -> Result<String, String> {
    let octets = read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let revocation = match message::read(&octets).map_err(|error| format!("{}: {error}", file.display()))? {
        Notice::Revocation(revocation) => revocation,
        Notice::Other { kind } => return Ok(format!("a message of type {kind}: nothing to revoke")),
    };
    let request = Request::Revoke(CertificateRef {
        serial: serial::to_decimal(&revocation.serial),
        issuer_key: None,
        issuer_name: None,
        certificate: None,
        source: Some("keylime".to_owned()),
    });
    let places = Places::default();
    let report: RevocationReport = match call(&places.control_socket(), &request, PATIENCE) {
        // Nobody to ask: an agent that runs as root can do without, any other one is told so.
        Err(error) if error.is_no_daemon() => {
            let source = "keylime".to_owned();
            let order = Order { serial: revocation.serial, issuer: None, certificate: None, source, by: By::Word };
            revoke_without_daemon(&order, &places).map_err(|failure| format!("{error}, and without it: {failure}"))?
        }
        outcome => outcome.map_err(|error| error.to_string())?,
    };
    Ok(report.summary())
}

/// One octet more than allowed tells a full file from one cut off.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(file)?.take(MAX_NOTICE as u64 + 1).read_to_end(&mut octets)?;
    Ok(octets)
}
