//! The command line.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use cli::revocation::issuer;
use openssl::pkey::PKey;
use openssl::x509::X509;

use super::crl;
use super::journal::{self, Crowd};

/// Files that a benchmark needs.
#[derive(Debug, Parser)]
#[command(name = "bench-fill")]
enum Arguments {
    /// A journal of many SAs, and the setkey script that makes them.
    Journal {
        /// The CA, PEM.
        #[arg(long)]
        ca: PathBuf,
        /// The journal.
        #[arg(long)]
        journal: PathBuf,
        /// The script.
        #[arg(long)]
        script: PathBuf,
        /// This side.
        #[arg(long)]
        local: Ipv4Addr,
        /// The first peer.
        #[arg(long)]
        first: Ipv4Addr,
        /// SAs.
        #[arg(long)]
        sas: u32,
        /// SAs of the outcast among them.
        #[arg(long)]
        outcast_sas: u32,
        /// Serial of the outcast.
        #[arg(long)]
        serial: u32,
    },
    /// A CRL, DER.
    Crl {
        /// The CA, PEM.
        #[arg(long)]
        ca: PathBuf,
        /// Its key, PEM.
        #[arg(long)]
        key: PathBuf,
        /// The file.
        #[arg(long)]
        out: PathBuf,
        /// Entries.
        #[arg(long)]
        count: u32,
        /// The first serial.
        #[arg(long, default_value_t = 0x1000_0000)]
        first: u32,
        /// thisUpdate: a day of January 2026.
        #[arg(long, default_value_t = 1)]
        day: u8,
    },
}

/// Writes what the command line names.
pub fn main() -> ExitCode {
    match write(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-fill: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(arguments: Arguments) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let certificate = |path: &Path| X509::from_pem(&read(path)?).map_err(|error| words(&error));
    match arguments {
        Arguments::Journal { ca, journal, script, local, first, sas, outcast_sas, serial } => {
            let ca = certificate(&ca)?;
            let issuer_key = issuer::key_id(&ca).map_err(|error| words(&error))?;
            let (children, outcasts) = (sas / 2, outcast_sas / 2);
            journal::write(&Crowd { issuer_key, local, first, children, outcasts, serial }, &journal, &script)
        }
        Arguments::Crl { ca, key, out, count, first, day } => {
            let key = PKey::private_key_from_pem(&read(&key)?).map_err(|error| words(&error))?;
            let der = crl::der(&certificate(&ca)?, &key, count, first, day).map_err(|error| words(&error))?;
            fs::write(&out, der).map_err(|error| format!("{}: {error}", out.display()))
        }
    }
}
