//! Certificates, keys and CRLs that the configuration names: missing, mismatched, about to end, stale.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ike::identity::{dn, matching};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::x509::{X509, X509Crl};
use policy::model::daemon::DaemonConfig;
use policy::model::identity::MyIdentifier;
use policy::model::remote::{CrlStrictness, Remote};

use super::finding::{Finding, Level};
use crate::pki::trust::parse_crls;
use crate::pki::{binding, load};

/// A certificate that ends within this many days is told of.
const SOON: u32 = 30;

/// Everything that is odd about the files; `now` and `soon` are the times they are compared with.
struct Inspector {
    now: Asn1Time,
    soon: Asn1Time,
    findings: Vec<Finding>,
    /// Does every block let those pass whom a stale CRL does not list?
    is_lax: bool,
}

/// What is wrong with the files of a configuration. What keeps the daemon from starting (missing files, keys that do
/// not belong to their certificate) is found by loading it; here is what would only show later.
///
/// # Errors
/// OpenSSL's, if it cannot tell the time.
pub fn inspect(config: &DaemonConfig) -> Result<Vec<Finding>, openssl::error::ErrorStack> {
    let now = Asn1Time::days_from_now(0)?;
    let is_lax = config.remotes.iter().all(|remote| remote.crl == CrlStrictness::Lax);
    let mut inspector = Inspector { now, soon: Asn1Time::days_from_now(SOON)?, findings: Vec::new(), is_lax };
    let own = config.remotes.iter().filter_map(|remote| remote.certificate.as_ref()).map(|files| &files.certificate);
    let trusted = config.remotes.iter().flat_map(|remote| remote.ca_file.iter().chain(&remote.peers_certfile));
    let files: BTreeSet<&String> = own.chain(trusted).collect();
    for file in files {
        inspector.certificates(Path::new(file));
    }
    if let Some(directory) = &config.certificate_dir {
        inspector.crls(Path::new(directory));
    }
    for remote in &config.remotes {
        inspector.identity(remote);
        inspector.missing_crls(remote, config.certificate_dir.as_deref());
    }
    Ok(inspector.findings)
}

impl Inspector {
    /// Several blocks may name the same file: each thing is said once.
    fn add(&mut self, level: Level, file: &Path, message: String) {
        let finding = Finding::about(level, file.display(), message);
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn certificates(&mut self, file: &Path) {
        // A file that cannot be read is found by loading.
        for certificate in load::certificates(file).unwrap_or_default() {
            self.certificate(file, &certificate);
        }
    }

    fn certificate(&mut self, file: &Path, certificate: &X509) {
        let name = subject(certificate);
        let (from, to) = (certificate.not_before(), certificate.not_after());
        if is_before(to, &self.now) {
            self.add(Level::Error, file, format!("the certificate of {name} expired on {to}"));
        } else if is_before(&self.now, from) {
            self.add(Level::Error, file, format!("the certificate of {name} is not valid before {from}"));
        } else if is_before(to, &self.soon) {
            self.add(Level::Warning, file, format!("the certificate of {name} expires on {to}"));
        }
    }

    /// Is our certificate for whom we say we are? A peer that compares the two refuses us if not (RFC 4945 section 3.1).
    fn identity(&mut self, remote: &Remote) {
        let (Some(files), MyIdentifier::Value(value)) = (&remote.certificate, &remote.my_identifier) else { return };
        let file = Path::new(&files.certificate);
        let leaf = load::certificates(file).ok().and_then(|found| found.into_iter().next());
        let (Some(leaf), Ok(identity)) = (leaf, matching::to_identity(value)) else { return };
        if !binding::names(&leaf, &identity) {
            let what = format!("`my_identifier {}` of remote {}", identity.kind(), remote.name);
            let name = subject(&leaf);
            let text = format!("the certificate of {name} does not name {what}: peers that compare them refuse it");
            self.add(Level::Warning, file, text);
        }
    }

    /// A CA without a CRL: what `crl strict` refuses, and others let pass.
    fn missing_crls(&mut self, remote: &Remote, directory: Option<&str>) {
        let (Some(ca_file), true) = (&remote.ca_file, remote.verify_cert) else { return };
        for ca in load::certificates(Path::new(ca_file)).unwrap_or_default() {
            let file =
                directory.map(|directory| Path::new(directory).join(format!("{:08x}.r0", ca.subject_name_hash())));
            if file.as_ref().is_some_and(|file| file.exists()) {
                continue;
            }
            let place = file.map_or_else(|| "`path certificate`".to_owned(), |file| file.display().to_string());
            let name = subject(&ca);
            if remote.crl == CrlStrictness::Strict {
                let text =
                    format!("no CRL of {name} is at {place}: `crl strict` of remote {} refuses all", remote.name);
                self.add(Level::Error, Path::new(ca_file), text);
            } else {
                let text = format!("no CRL of {name} is at {place}: what its owner revokes is not noticed");
                self.add(Level::Warning, Path::new(ca_file), text);
            }
        }
    }

    fn crls(&mut self, directory: &Path) {
        let pattern = directory.join("*.r[0-9]");
        let files: Vec<PathBuf> =
            glob::glob(&pattern.to_string_lossy()).into_iter().flatten().filter_map(Result::ok).collect();
        for file in files {
            let octets = match load::read_public("CRL", &file) {
                Ok(octets) => octets,
                Err(error) => {
                    self.add(Level::Error, &file, error.to_string());
                    continue;
                }
            };
            let crls = parse_crls(&octets);
            if crls.is_empty() && !octets.is_empty() {
                self.add(Level::Error, &file, "no CRL can be read in it".to_owned());
            }
            for crl in crls {
                self.crl(&file, &crl);
            }
        }
    }

    fn crl(&mut self, file: &Path, crl: &X509Crl) {
        match crl.next_update() {
            Some(next) if is_before(next, &self.now) && self.is_lax => {
                let text =
                    format!("the CRL is stale since {next}: what it lists is refused, the rest passes (`crl lax`)");
                self.add(Level::Warning, file, text);
            }
            Some(next) if is_before(next, &self.now) => {
                let text = format!("the CRL is stale since {next}: every certificate of its issuer is refused");
                self.add(Level::Error, file, text);
            }
            Some(_) => {}
            None => self.add(Level::Warning, file, "the CRL does not say when the next one comes".to_owned()),
        }
    }
}

fn is_before(one: &Asn1TimeRef, other: &Asn1TimeRef) -> bool {
    one < other
}

fn subject(certificate: &X509) -> String {
    certificate.subject_name().to_der().map_or_else(|_| "a nameless subject".to_owned(), |der| dn::one_line(&der))
}
