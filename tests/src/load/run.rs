//! The command line of the load generator.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::credential;
use super::initiators::{Plan, run};

/// Many IKEv1 initiators (main mode with RSA signatures, quick mode in transport mode) against one responder.
#[derive(Debug, Parser)]
#[command(name = "ike-load")]
struct Arguments {
    /// The responder.
    #[arg(long)]
    peer: IpAddr,
    /// Address of the first initiator; the others count up from it and must be local too.
    #[arg(long)]
    first: IpAddr,
    /// Number of initiators.
    #[arg(long, default_value_t = 100)]
    count: u32,
    /// Initiators at once.
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// Certificate, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// RSA key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// No PFS.
    #[arg(long)]
    no_pfs: bool,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 120)]
    limit: u64,
}

/// Runs, prints the outcome as JSON; exit code 1 if not all came up.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        responder: arguments.peer,
        first: arguments.first,
        count: arguments.count,
        at_once: arguments.at_once,
        pfs: !arguments.no_pfs,
        limit: Duration::from_secs(arguments.limit),
    };
    let outcome = credential::load(&arguments.cert, &arguments.key)
        .and_then(|identity| run(identity, &plan).map_err(|error| error.to_string()));
    match outcome {
        Ok(outcome) => {
            let all = outcome.established == plan.count;
            match serde_json::to_string(&outcome) {
                Ok(json) => println!("{json}"),
                Err(error) => eprintln!("ike-load: {error}"),
            }
            if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("ike-load: {error}");
            ExitCode::FAILURE
        }
    }
}
