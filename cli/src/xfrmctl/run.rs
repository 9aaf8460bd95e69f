//! Subcommands: from the command line to the exit code.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{CommandFactory, Parser};
use serde::Serialize;

use super::dead::JournalCutter;
use super::failure::Failure;
use super::{generate, listing, plainrsa, show};
use crate::args::{Action, ControlArgs, Listing, Places, Which};
use crate::check::directives;
use crate::check::run::check;
use crate::control::{CallError, CertificateRef, Request, call};
use crate::daemon::files;
use crate::exit_code::Exit;
use crate::report::{PeerReport, RevocationReport, RevokedReport, StatusReport};
use crate::revocation::audit::AuditLog;
use crate::revocation::deny_list::DenyList;
use crate::revocation::issuer::{self, Issuer};
use crate::revocation::revoke::{self, By, KnownIssuer, Order};
use crate::revocation::serial;

use show::{PATIENCE, Palette};

/// Entry of the program.
pub fn main() -> ExitCode {
    // clap's own exit code for a wrong command line is 2, as ours.
    let args = ControlArgs::parse();
    match run(&args) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            let _closed = writeln!(io::stderr(), "xfrmctl: {failure}");
            failure.exit.into()
        }
    }
}

fn run(args: &ControlArgs) -> Result<(), Failure> {
    let places = &args.places;
    let socket = places.control_socket();
    match &args.action {
        Action::Sa(how) => {
            let sas = listing::sas(&places.journal(), wall())?;
            print(&sas, *how, |palette| show::sas(&sas, palette))
        }
        Action::Policy(how) => {
            let policies = listing::policies(&places.journal())?;
            print(&policies, *how, |palette| show::policies(&policies, palette))
        }
        Action::Peers(how) => {
            let peers: Vec<PeerReport> = call(&socket, &Request::Peers, PATIENCE)?;
            print(&peers, *how, |palette| show::peers(&peers, palette))
        }
        Action::Status(how) => {
            let status: StatusReport = call(&socket, &Request::Status, PATIENCE)?;
            print(&status, *how, |_| show::status(&status))
        }
        Action::Up { peer, timeout } => {
            let request = Request::Up { peer: peer.clone(), timeout_s: *timeout };
            say(&call::<String>(&socket, &request, Duration::from_secs(timeout.saturating_add(10)))?)
        }
        Action::Down { peer, .. } => say(&call::<String>(&socket, &Request::Down { peer: peer.clone() }, PATIENCE)?),
        Action::Reload => say(&call::<String>(&socket, &Request::Reload, PATIENCE)?),
        Action::Revoke { which, json } => {
            let report = revoke(which, places)?;
            print(&report, Listing { json: *json }, |_| show::revocation(&report))
        }
        Action::Unrevoke { which, json } => unrevoke(which, *json, places),
        Action::Revoked(how) => {
            let list = DenyList::open(places.deny_list())?;
            warn_of(list.problems());
            let entries = revoked_reports(&list);
            print(&entries, *how, |palette| show::revoked(&entries, palette))
        }
        Action::Check { directives: true, how, .. } => print(&directives::rows(), *how, |_| directives::text()),
        Action::Check { files, racoon_strict, how, .. } => {
            let list = DenyList::open(places.deny_list())?;
            warn_of(list.problems());
            let checked = check(files, *racoon_strict, &Arc::new(Mutex::new(list)))
                .map_err(|text| Failure::new(Exit::NotSo, text))?;
            print(&checked, *how, |palette| show::checked(&checked, palette))?;
            match checked.errors {
                0 => Ok(()),
                1 => Err(Failure::new(Exit::NotSo, "1 error")),
                errors => Err(Failure::new(Exit::NotSo, format!("{errors} errors"))),
            }
        }
        Action::Generate { file, racoon_conf } => write(generate::generate(file, *racoon_conf)?.as_bytes()),
        Action::PlainrsaGen { bits, exponent, input, output } => {
            let text = match input {
                Some(file) => plainrsa::convert(file)?,
                None => plainrsa::generate(*bits, *exponent)?,
            };
            match output {
                Some(file) => plainrsa::save(file, &text),
                None => write(text.as_bytes()),
            }
        }
        Action::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut ControlArgs::command(), "xfrmctl", &mut script);
            write(&script)
        }
    }
}

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn print<T: Serialize>(value: &T, how: Listing, table: impl FnOnce(Palette) -> String) -> Result<(), Failure> {
    let text = if how.json {
        let mut json =
            serde_json::to_string_pretty(value).map_err(|error| Failure::new(Exit::NotSo, error.to_string()))?;
        json.push('\n');
        json
    } else {
        table(Palette::of_stdout())
    };
    write(text.as_bytes())
}

fn say(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// A reader that had enough (`| head`) is no failure.
fn write(octets: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(octets) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(Exit::NotSo, error.to_string())),
        _ => Ok(()),
    }
}

fn warn_of(problems: &[String]) {
    for problem in problems {
        let _closed = writeln!(io::stderr(), "xfrmctl: {problem}");
    }
}

/// The certificate that the command line names.
struct Named {
    serial: Vec<u8>,
    issuer: Option<Issuer>,
    certificate: Option<openssl::x509::X509>,
}

impl Named {
    fn read(which: &Which) -> Result<Self, Failure> {
        let issuer = which.issuer.as_deref().map(Issuer::from_file).transpose()?;
        match (&which.serial, &which.cert) {
            (Some(text), _) => Ok(Self { serial: serial::parse(text)?, issuer, certificate: None }),
            (None, Some(path)) => {
                let certificate = issuer::certificate_in(path)?;
                Ok(Self { serial: issuer::serial_of(&certificate), issuer, certificate: Some(certificate) })
            }
            (None, None) => Err(Failure::new(Exit::Usage, "name the certificate with --serial or --cert")),
        }
    }

    fn to_request(&self) -> Result<CertificateRef, Failure> {
        let der = self.certificate.as_ref().map(|certificate| certificate.to_der()).transpose();
        let der = der.map_err(|error| Failure::new(Exit::NotSo, error.to_string()))?;
        Ok(CertificateRef {
            serial: serial::to_decimal(&self.serial),
            issuer_key: self.issuer.as_ref().map(|issuer| serial::to_hex(&issuer.key)),
            issuer_name: self.issuer.as_ref().map(|issuer| issuer.name.clone()),
            certificate: der.map(|der| serial::to_hex(&der)),
            source: None,
        })
    }
}

/// Through the daemon if one answers, else without.
fn revoke(which: &Which, places: &Places) -> Result<RevocationReport, Failure> {
    let named = Named::read(which)?;
    match call(&places.control_socket(), &Request::Revoke(named.to_request()?), PATIENCE) {
        Ok(report) => Ok(report),
        // A daemon that is dead, dying or stuck must not keep a certificate alive.
        Err(CallError::NoDaemon { .. } | CallError::Broken(_)) => revoke_alone(named, places),
        Err(error) => Err(error.into()),
    }
}

fn revoke_alone(named: Named, places: &Places) -> Result<RevocationReport, Failure> {
    let order = Order {
        serial: named.serial,
        issuer: named.issuer,
        certificate: named.certificate,
        source: "xfrmctl".to_owned(),
        by: By::Word,
    };
    revoke_without_daemon(&order, places)
}

/// The deny list, the journal of the dead daemon, and the kernel.
///
/// # Errors
/// As [`revoke::revoke`]; no permission.
pub fn revoke_without_daemon(order: &Order, places: &Places) -> Result<RevocationReport, Failure> {
    let mut deny_list = DenyList::open(places.deny_list())?;
    warn_of(deny_list.problems());
    let mut cutter = JournalCutter::open(&places.journal());
    let known = known_issuers(Path::new(crate::args::DEFAULT_CONFIG));
    Ok(revoke::revoke(order, &known, &mut deny_list, &mut cutter, wall())?.report)
}

/// Trust anchors of the configuration as it lies on disk; none if it cannot be read.
fn known_issuers(config: &Path) -> Vec<KnownIssuer> {
    files::trust_anchors(config)
}

fn unrevoke(which: &Which, json: bool, places: &Places) -> Result<(), Failure> {
    let named = Named::read(which)?;
    let removed: usize = match call(&places.control_socket(), &Request::Unrevoke(named.to_request()?), PATIENCE) {
        Ok(removed) => removed,
        Err(CallError::NoDaemon { .. }) => {
            let mut deny_list = DenyList::open(places.deny_list())?;
            let key = named.issuer.as_ref().map(|issuer| issuer.key);
            revoke::unrevoke(&named.serial, key, &mut deny_list, "xfrmctl", wall())?
        }
        Err(error) => return Err(error.into()),
    };
    let serial = serial::to_decimal(&named.serial);
    if removed == 0 {
        return Err(Failure::new(Exit::NotSo, format!("serial {serial} is not on the deny list")));
    }
    #[derive(Serialize)]
    struct Unrevoked {
        serial: String,
        removed: usize,
    }
    let text = format!("serial {serial} is no longer revoked ({removed} entries removed)\n");
    print(&Unrevoked { serial, removed }, Listing { json }, |_| text)
}

/// The deny list for a listing.
pub fn revoked_reports(list: &DenyList) -> Vec<RevokedReport> {
    let deleted = AuditLog::beside(list.path()).deleted();
    let mut reports: Vec<RevokedReport> = list.entries().into_iter().map(RevokedReport::from).collect();
    for report in &mut reports {
        report.sas_deleted = deleted.get(&(report.issuer_key.clone(), report.serial.clone())).copied();
    }
    reports
}
