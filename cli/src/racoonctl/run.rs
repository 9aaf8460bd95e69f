//! Commands: asked of the daemon, printed as the original printed them. Exit code 0, or 1 for everything that failed.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::args::{ArgumentError, Arguments, Command};
use super::listing;
use super::request::{EventReport, Family, IsakmpReport, RacoonRequest, ScheduledReport};
use crate::args::{Places, RACOON_SOCKET};
use crate::civil;
use crate::control::{CallError, Request, call, follow};
use crate::report::StatusReport;

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
   establish-sa [-w] isakmp {inet|inet6} SRC DST
   establish-sa [-w] {esp|ah} {inet|inet6} SRC/PREFIX/PORT DST/PREFIX/PORT {icmp|tcp|udp|gre|any}
   vpn-connect GATEWAY | vpn-disconnect GATEWAY
   The short names rc sc se st ss fs ds es vc vd are understood too.
";

/// Entry of the program.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let arguments = match Arguments::parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => {
            let usage = if matches!(error, ArgumentError::Operands { .. }) { "" } else { USAGE };
            return fail(&format!("{error}\n{usage}"));
        }
    };
    match run(&arguments) {
        Ok(text) => say(&text),
        Err(error) => fail(&format!("{error}\n")),
    }
}

fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
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

fn run(arguments: &Arguments) -> Result<String, CallError> {
    let socket = socket(arguments);
    let ask = |request: RacoonRequest| call::<Value>(&socket, &Request::Racoon(request), PATIENCE);
    let done = |_: Value| String::new();
    Ok(match &arguments.command {
        Command::Help => USAGE.to_owned(),
        Command::Reload => done(call::<Value>(&socket, &Request::Reload, PATIENCE)?),
        Command::ShowSchedule => {
            let timers: Vec<ScheduledReport> = call(&socket, &Request::Racoon(RacoonRequest::ShowSchedule), PATIENCE)?;
            listing::schedule(&timers, now())
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
        Command::EstablishIsakmp(pair, wait) => {
            // What is not waited for is only begun.
            up(&socket, pair.dst, if *wait { NEGOTIATION } else { 0 }, *wait)?
        }
        Command::EstablishIpsec(flow, wait) => {
            let timeout_s = if *wait { NEGOTIATION } else { 0 };
            let request = Request::Racoon(RacoonRequest::EstablishIpsec { flow: *flow, timeout_s });
            let text: String = call(&socket, &request, patience(timeout_s))?;
            if *wait { format!("{text}\n") } else { String::new() }
        }
        Command::Connect(gateway) => up(&socket, *gateway, NEGOTIATION, true)?,
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
    })
}

fn up(socket: &std::path::Path, peer: IpAddr, timeout_s: u64, wait: bool) -> Result<String, CallError> {
    let request = Request::Up { peer: peer.to_string(), timeout_s };
    match call::<String>(socket, &request, patience(timeout_s)) {
        Ok(_) if wait => Ok("VPN connexion established\n".to_owned()),
        Ok(_) => Ok(String::new()),
        // It goes on without us.
        Err(CallError::Refused { .. }) if !wait => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn patience(timeout_s: u64) -> Duration {
    PATIENCE + Duration::from_secs(timeout_s)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
