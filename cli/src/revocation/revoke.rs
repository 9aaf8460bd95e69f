//! Revoking: the one path, whether the daemon does it or `xfrmctl` without one.
//!
//! The deny list entry is durable first; then the SAs go, outbound ones before inbound ones. Who holds the SAs of a
//! certificate is asked through [`Cutter`]: the daemon's registry, or the journal of a dead daemon. What cannot be done (no
//! room on the disk, the kernel refuses) keeps nothing else from being done, and is an error in the end.

use std::time::Instant;

use ike::event::question::CertificateId;
use ike::event::sa::{SaDirection, SaName};
use openssl::x509::X509;
use thiserror::Error;

use super::audit::{AuditEntry, AuditLog};
use super::deny_list::{Added, DeniedIssuer, DenyEntry, DenyList, DenyListError};
use super::issuer::{Issuer, signed_by};
use super::serial;
use crate::report::{DeletedSa, RevocationReport};

/// What an operator asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// Serial number, big endian, no leading zero octet.
    pub serial: Vec<u8>,
    /// The issuer, where it was named.
    pub issuer: Option<Issuer>,
    /// The certificate itself, where it was given: its issuer is then the one that signed it.
    pub certificate: Option<X509>,
    /// Who asks, one word, for the deny list.
    pub source: String,
    /// On whose word.
    pub by: By,
}

/// What an order rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Somebody's word (an operator, keylime): it holds until somebody takes it back.
    Word,
    /// A CRL that lists the certificate for good: as good as a word, so that no other CRL makes it undone.
    Crl,
    /// A CRL that holds it (`certificateHold`), or the end of its validity: what says so goes on saying it, and the deny
    /// list need not.
    Passing,
}

/// An issuer that is known, with its certificate where there is one.
#[derive(Clone, Debug)]
pub struct KnownIssuer {
    /// Key and name.
    pub issuer: Issuer,
    /// Its certificate.
    pub certificate: Option<X509>,
}

/// An SA that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutSa {
    /// Which.
    pub name: SaName,
    /// Which way it carried.
    pub direction: SaDirection,
    /// Identity of the peer.
    pub peer: String,
}

/// Finds and deletes the SAs of certificates.
pub trait Cutter {
    /// Issuers of the certificates with this serial that live SAs rest on.
    ///
    /// # Errors
    /// In words.
    fn live_issuers(&mut self, serial: &[u8]) -> Result<Vec<Issuer>, CutError>;

    /// Deletes every SA that rests on one of the certificates, outbound ones first; gives those that were there.
    ///
    /// # Errors
    /// In words, with what was deleted all the same.
    fn cut(&mut self, certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError>;
}

/// A cutter's failure.
#[derive(Clone, Debug, Error)]
#[error("{text}")]
pub struct CutError {
    /// What failed.
    pub text: String,
    /// Was it for want of permission?
    pub denied: bool,
    /// What was deleted all the same.
    pub done: Vec<CutSa>,
}

/// What a revocation could not do.
#[derive(Debug, Error)]
pub enum Shortfall {
    /// The entry is not on the disk.
    #[error("{0}; it holds until the daemon ends: revoke it again when the list can be written")]
    NotKept(DenyListError),
    /// SAs are left, or may be.
    #[error("SAs may be left in the kernel: {0}")]
    Cut(CutError),
}

/// Why nothing, or not everything, was done.
#[derive(Debug, Error)]
pub enum RevokeError {
    /// Several issuers could be meant.
    #[error("serial {serial} could be of several issuers; name one with --issuer CERT:\n{}", lines(.issuers))]
    Ambiguous {
        /// The serial, decimal.
        serial: String,
        /// The issuers.
        issuers: Vec<Issuer>,
    },
    /// The certificate given is of nobody we know.
    #[error("no known issuer signed this certificate; name its issuer with --issuer CERT (known:\n{})", lines(.0))]
    UnknownIssuer(Vec<Issuer>),
    /// Done in part.
    #[error("{}, but: {}", .done.report.summary(), .shortfalls.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    InPart {
        /// What was done.
        done: Box<Revoked>,
        /// What was not; never empty.
        shortfalls: Vec<Shortfall>,
    },
}

fn lines(issuers: &[Issuer]) -> String {
    let line = |issuer: &Issuer| format!("  {} (key {})", issuer.name, serial::to_hex(&issuer.key));
    issuers.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Revoked {
    /// The certificates: one, or with a wildcard entry as many as live SAs rest on.
    pub certificates: Vec<CertificateId>,
    /// The entry's issuer.
    pub issuer: DeniedIssuer,
    /// For people and scripts.
    pub report: RevocationReport,
}

/// Denies the certificate durably, then cuts its SAs. `known` are the trust anchors, `wall` the time in Unix seconds.
///
/// # Errors
/// [`RevokeError`]; only [`RevokeError::InPart`] leaves something done.
pub fn revoke(
    order: &Order,
    known: &[KnownIssuer],
    deny_list: &mut DenyList,
    cutter: &mut dyn Cutter,
    wall: u64,
) -> Result<Revoked, RevokeError> {
    let live = cutter.live_issuers(&order.serial).unwrap_or_default();
    let issuer = choose(order, known, &live)?;
    let entry = DenyEntry {
        issuer: issuer.as_ref().map_or(DeniedIssuer::Any, |issuer| DeniedIssuer::Key(issuer.key)),
        serial: order.serial.clone(),
        time: wall,
        source: order.source.clone(),
        issuer_name: issuer.as_ref().map(|issuer| issuer.name.clone()).unwrap_or_default(),
    };
    let denied = entry.issuer;
    let mut shortfalls = Vec::new();
    let added = match order.by {
        By::Word | By::Crl => deny_list.add(entry).unwrap_or_else(|error| {
            shortfalls.push(Shortfall::NotKept(error));
            Added::New
        }),
        By::Passing => Added::New,
    };
    let begin = Instant::now();
    let keys: Vec<[u8; 32]> = match &issuer {
        Some(issuer) => vec![issuer.key],
        None => live.iter().map(|issuer| issuer.key).collect(),
    };
    let certificates: Vec<CertificateId> =
        keys.into_iter().map(|issuer_key| CertificateId { issuer_key, serial: order.serial.clone() }).collect();
    let cut = cutter.cut(&certificates).unwrap_or_else(|mut error| {
        let done = std::mem::take(&mut error.done);
        shortfalls.push(Shortfall::Cut(error));
        done
    });
    let elapsed_ms = begin.elapsed().as_secs_f64() * 1000.0;
    let report = report(order, issuer.as_ref(), added, &cut, elapsed_ms);
    // The same notice may come a thousand times: what changed nothing is not written down.
    if added == Added::New || !cut.is_empty() {
        AuditLog::beside(deny_list.path()).append(&AuditEntry::revoked(&report, &order.source, wall));
    }
    let done = Revoked { certificates, issuer: denied, report };
    if shortfalls.is_empty() { Ok(done) } else { Err(RevokeError::InPart { done: Box::new(done), shortfalls }) }
}

/// The issuer meant; `None` is any, where not one is known.
fn choose(order: &Order, known: &[KnownIssuer], live: &[Issuer]) -> Result<Option<Issuer>, RevokeError> {
    if let Some(issuer) = &order.issuer {
        return Ok(Some(issuer.clone()));
    }
    if let Some(certificate) = &order.certificate {
        let signer = known.iter().find(|known| known.certificate.as_ref().is_some_and(|by| signed_by(certificate, by)));
        return match signer {
            Some(signer) => Ok(Some(signer.issuer.clone())),
            None if known.is_empty() => Ok(None),
            None => Err(RevokeError::UnknownIssuer(known.iter().map(|known| known.issuer.clone()).collect())),
        };
    }
    let mut all: Vec<Issuer> = Vec::new();
    for issuer in known.iter().map(|known| &known.issuer).chain(live) {
        if !all.iter().any(|one| one.key == issuer.key) {
            all.push(issuer.clone());
        }
    }
    let alive = |issuer: &Issuer| live.iter().any(|live| live.key == issuer.key);
    let mut with_sas = all.iter().filter(|issuer| alive(issuer));
    match (all.as_slice(), with_sas.next(), with_sas.next()) {
        ([], ..) => Ok(None),
        ([only], ..) => Ok(Some(only.clone())),
        (_, Some(only), None) => Ok(Some(only.clone())),
        _ => Err(RevokeError::Ambiguous { serial: serial::to_decimal(&order.serial), issuers: all }),
    }
}

fn report(order: &Order, issuer: Option<&Issuer>, added: Added, cut: &[CutSa], elapsed_ms: f64) -> RevocationReport {
    RevocationReport {
        serial: serial::to_decimal(&order.serial),
        issuer: match issuer {
            Some(issuer) if issuer.name.is_empty() => serial::to_hex(&issuer.key),
            Some(issuer) => issuer.name.clone(),
            None => "*".to_owned(),
        },
        issuer_key: issuer.map(|issuer| serial::to_hex(&issuer.key)),
        already_revoked: added == Added::AlreadyThere,
        sas: cut.iter().map(deleted).collect(),
        sas_deleted: cut.len(),
        elapsed_ms,
        daemon: false,
    }
}

fn deleted(cut: &CutSa) -> DeletedSa {
    DeletedSa {
        src: cut.name.src.to_string(),
        dst: cut.name.dst.to_string(),
        proto: cut.name.protocol.setkey_name().to_owned(),
        spi: cut.name.spi.to_string(),
        direction: match cut.direction {
            SaDirection::Inbound => "in".to_owned(),
            SaDirection::Outbound => "out".to_owned(),
        },
        peer: cut.peer.clone(),
    }
}

/// Takes entries off the list: of the issuer if one is named, else all of the serial. Gives how many.
///
/// # Errors
/// The deny list's.
pub fn unrevoke(
    serial: &[u8],
    issuer_key: Option<[u8; 32]>,
    deny_list: &mut DenyList,
    source: &str,
    wall: u64,
) -> Result<usize, DenyListError> {
    deny_list.reload_if_changed()?;
    let meant: Vec<DenyEntry> = deny_list
        .entries()
        .into_iter()
        .filter(|entry| entry.serial == serial)
        .filter(|entry| issuer_key.is_none_or(|key| entry.issuer == DeniedIssuer::Key(key)))
        .cloned()
        .collect();
    let audit = AuditLog::beside(deny_list.path());
    let mut removed = 0;
    for entry in meant {
        if deny_list.remove(entry.issuer, serial)? {
            removed += 1;
            audit.append(&AuditEntry::unrevoked(&entry, source, wall));
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
