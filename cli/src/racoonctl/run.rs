//! Commands: asked of the daemon, printed as the original printed them. Exit code 0, or 1 for everything that failed.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::args::{ArgumentError, Arguments, Command, Manner};
use super::request::{
    EstablishedReport, EventReport, Family, How, IsakmpReport, Login, RacoonRequest, ScheduledReport,
};
use super::{listing, password};
use crate::args::{Places, RACOON_SOCKET};
use crate::civil;
use crate::control::{CallError, Request, call, follow};
use crate::report::StatusReport;
use crate::revocation::serial::from_hex;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a negotiation is waited for (`-w`).
const NEGOTIATION: u64 = 60;

const USAGE: &str = "usage: racoonctl [-d] [-l] [-s SOCKET] COMMAND
   reload-config | show-schedule | show-event | status [-v] [-f text|json]
   show-sa {isakmp|esp|ah|ipsec}
   flush-sa {isakmp|esp|ah|ipsec}
   delete-sa isakmp {inet|inet6} SRC DST
   delete-sa {esp|ah} {inet|inet6} SRC/PREFIX/PORT DST/PREFIX/PORT {icmp|tcp|udp|gre|any}
   establish-sa [-u USER] [-n REMOTE] [-w] isakmp {inet|inet6} SRC DST
   establish-sa [-u USER] [-n REMOTE] [-w]
      {esp|ah} {inet|inet6} SRC/PREFIX/PORT DST/PREFIX/PORT {icmp|tcp|udp|gre|any}
   vpn-connect [-u USER] GATEWAY | vpn-disconnect GATEWAY
   get-cert {inet|inet6} SRC DST | logout-user USER
   The short names rc sc se st ss fs ds es vc vd gc lu are understood too.
";

/// Entry of the program.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let arguments = match Arguments::parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where the original says it.
            if matches!(error, ArgumentError::Command(_)) {
                let _said = say(format!("{error}\n").as_bytes());
            }
            let usage = if matches!(error, ArgumentError::Operands { .. }) { "" } else { USAGE };
            return fail(&format!("{error}\n{usage}"));
        }
    };
    match run(&arguments) {
        Ok(octets) => say(&octets),
        Err(error) => fail(&format!("{error}\n")),
    }
}

fn say(octets: &[u8]) -> ExitCode {
    match io::stdout().write_all(octets) {
        // A reader that had enough (`| head`) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&format!("standard output: {error}\n")),
        _ => ExitCode::SUCCESS,
    }
}

fn fail(text: &str) -> ExitCode {
    let _closed = write!(io::stderr(), "racoonctl: {text}");
    ExitCode::FAILURE
}

/// The control socket; racoon's own place if only that is there.
fn socket(arguments: &Arguments) -> PathBuf {
    let usual = Places::default().control_socket();
    match &arguments.socket {
        Some(path) => path.clone(),
        None if !usual.exists() && PathBuf::from(RACOON_SOCKET).exists() => RACOON_SOCKET.into(),
        None => usual,
    }
}

/// Why a command failed.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the password: {0}")]
    Password(String),
}

fn run(arguments: &Arguments) -> Result<Vec<u8>, Failure> {
    let socket = socket(arguments);
    let ask = |request: RacoonRequest| call::<Value>(&socket, &Request::Racoon(request), PATIENCE);
    let done = |_: Value| String::new();
    let text = match &arguments.command {
        Command::Help => USAGE.to_owned(),
        Command::Reload => done(call::<Value>(&socket, &Request::Reload, PATIENCE)?),
        Command::ShowSchedule => {
            let timers: Vec<ScheduledReport> = call(&socket, &Request::Racoon(RacoonRequest::ShowSchedule), PATIENCE)?;
            listing::schedule(&timers, arguments.long, civil::local)
        }
        Command::ShowSa(Family::Isakmp) => {
            let sas: Vec<IsakmpReport> = call(&socket, &Request::Racoon(RacoonRequest::ShowIsakmp), PATIENCE)?;
            listing::isakmp(&sas, arguments.long, civil::local)
        }
        Command::ShowSa(family) => {
            let request = RacoonRequest::ShowIpsec { family: *family };
            call::<String>(&socket, &Request::Racoon(request), PATIENCE)?
        }
        Command::FlushSa(family) => done(ask(RacoonRequest::Flush { family: *family })?),
        Command::DeleteIsakmp(pair) => done(ask(RacoonRequest::DeletePeer { local: Some(pair.src), peer: pair.dst })?),
        Command::DeleteIpsec(family, flow) => done(ask(RacoonRequest::DeleteIpsec { family: *family, flow: *flow })?),
        Command::EstablishIsakmp(pair, manner) => up(&socket, Some(pair.src), pair.dst, manner)?,
        Command::EstablishIpsec(flow, manner) => {
            let timeout_s = if manner.wait { NEGOTIATION } else { 0 };
            let request = RacoonRequest::EstablishIpsec { flow: *flow, how: how(manner)?, timeout_s };
            let text: String = call(&socket, &Request::Racoon(request), patience(timeout_s))?;
            if manner.wait { format!("{text}\n") } else { String::new() }
        }
        Command::Connect(gateway, manner) => up(&socket, None, *gateway, manner)?,
        Command::Certificate(pair) => {
            let request = RacoonRequest::Certificate { local: pair.src, peer: pair.dst };
            let hex: String = call(&socket, &Request::Racoon(request), PATIENCE)?;
            return Ok(from_hex(&hex).unwrap_or_default());
        }
        Command::Logout(user) => done(ask(RacoonRequest::Logout { user: user.clone() })?),
        Command::Disconnect(gateway) => {
            ask(RacoonRequest::DeletePeer { local: None, peer: *gateway })?;
            "VPN connexion terminated\n".to_owned()
        }
        Command::ShowEvent => {
            follow(&socket, &Request::Racoon(RacoonRequest::Events), |report: EventReport| {
                let mut out = io::stdout().lock();
                writeln!(out, "{}", listing::event(&report)).and_then(|()| out.flush())
            })?;
            String::new()
        }
        Command::Status(json) => {
            let status: StatusReport = call(&socket, &Request::Status, PATIENCE)?;
            match serde_json::to_string_pretty(&status) {
                Ok(text) if *json => format!("{text}\n"),
                _ => crate::xfrmctl::show::status(&status),
            }
        }
    };
    Ok(text.into_bytes())
}

fn up(socket: &Path, local: Option<IpAddr>, peer: IpAddr, manner: &Manner) -> Result<String, Failure> {
    // What is not waited for is only begun.
    let timeout_s = if manner.wait { NEGOTIATION } else { 0 };
    let request = RacoonRequest::EstablishIsakmp { local, peer, how: how(manner)?, timeout_s };
    let report: EstablishedReport = call(socket, &Request::Racoon(request), patience(timeout_s))?;
    Ok(if manner.wait { listing::established(&report) } else { String::new() })
}

/// Asks for the password, if there is a user that it is of.
fn how(manner: &Manner) -> Result<How, Failure> {
    let login = match &manner.user {
        None => None,
        Some(user) => {
            let password = password::ask("Password: ").map_err(|error| Failure::Password(error.to_string()))?;
            Some(Login { user: user.clone(), password })
        }
    };
    Ok(How { remote: manner.remote.clone(), login })
}

fn patience(timeout_s: u64) -> Duration {
    PATIENCE + Duration::from_secs(timeout_s)
}
