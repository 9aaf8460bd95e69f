//! The command line of the load generator.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::credential;
use super::floor;
use super::initiators::{Plan, run};

/// Many IKEv1 initiators (main mode with RSA signatures, quick mode in transport mode) against one responder.
#[derive(Debug, Parser)]
#[command(name = "ike-load")]
struct Arguments {
    /// The responder.
    #[arg(long, required_unless_present = "floor")]
    peer: Option<IpAddr>,
    /// Address of the first initiator; the others count up from it and must be local too.
    #[arg(long, required_unless_present = "floor")]
    first: Option<IpAddr>,
    /// Number of initiators.
    #[arg(long, default_value_t = 100)]
    count: u32,
    /// Initiators at once.
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// Certificate, PEM.
    #[arg(long, required_unless_present = "floor")]
    cert: Option<PathBuf>,
    /// RSA key, PEM.
    #[arg(long, required_unless_present = "floor")]
    key: Option<PathBuf>,
    /// No PFS.
    #[arg(long)]
    no_pfs: bool,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Instead of all that, time the public-key operations of one tunnel.
    #[arg(long, hide = true)]
    floor: bool,
}

/// Runs, prints the outcome as JSON; exit code 1 if not all came up.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments {
        Arguments { floor: true, .. } => floor::measure().and_then(|floor| print(&floor).map(|()| ExitCode::SUCCESS)),
        Arguments { peer: Some(responder), first: Some(first), cert: Some(cert), key: Some(key), .. } => {
            let plan = Plan {
                responder,
                first,
                count: arguments.count,
                at_once: arguments.at_once,
                pfs: !arguments.no_pfs,
                limit: Duration::from_secs(arguments.limit),
            };
            drive(&plan, &cert, &key)
        }
        _ => Err("--peer, --first, --cert and --key are needed".to_owned()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("ike-load: {error}");
        ExitCode::FAILURE
    })
}

fn drive(plan: &Plan, cert: &Path, key: &Path) -> Result<ExitCode, String> {
    let identity = credential::load(cert, key)?;
    let outcome = run(identity, plan).map_err(|error| error.to_string())?;
    print(&outcome)?;
    Ok(if outcome.established == plan.count { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(value: &impl serde::Serialize) -> Result<(), String> {
    println!("{}", serde_json::to_string(value).map_err(|error| error.to_string())?);
    Ok(())
}
