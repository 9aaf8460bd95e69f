//! A CRL (RFC 5280 §5): what it says, who signed it, whom it lists.
//!
//! OpenSSL parses it and finds a serial in it by halving; what it does not give out (number, extensions that forbid to
//! take the list as a complete one) is read here.

use std::fmt;
use std::sync::Arc;

use ike::identity::der::{DerError, OBJECT_IDENTIFIER, Reader, SEQUENCE};
use ike::identity::dn;
use openssl::bn::BigNum;
use openssl::x509::{CrlReason, CrlStatus, ReasonCode, X509, X509Crl};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::civil;
use crate::off_loop::assert_off_loop;

pub mod shelf;
pub mod store;

/// Longest CRL that is read, in octets: a million entries have 40 million.
pub const MAX_CRL: usize = 64 * 1024 * 1024;
/// Seconds that a CRL may come from the future.
pub const SKEW: u64 = 300;

const PEM_BEGIN: &str = "-----BEGIN X509 CRL-----";
const PEM_END: &str = "-----END X509 CRL-----";
/// 2.5.29.20
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
/// 2.5.29.27
const DELTA_INDICATOR: &[u8] = &[0x55, 0x1d, 0x1b];
const BOOLEAN: u8 = 0x01;
const EXTENSIONS: u8 = 0xa0;

/// Why a CRL is not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CrlError {
    /// Not a CRL, or half of one.
    #[error("it holds no readable CRL")]
    Unreadable,
    /// An extension that changes what the list means.
    #[error("it has a critical extension that is not understood (a delta or partitioned CRL?)")]
    Critical,
    /// By the CA's clock it is not valid yet.
    #[error("its thisUpdate lies in the future")]
    Future,
    /// A signature by somebody else.
    #[error("it is not signed by {0}, whose name it bears")]
    Signature(String),
    /// The issuer may not.
    #[error("{0} may not sign CRLs (keyUsage without cRLSign)")]
    Usage(String),
    /// Back in time.
    #[error("it is older than the one in use ({found} against {known}): the newer one stays in use")]
    Rollback {
        /// Its number or time.
        found: String,
        /// Those of the one in use.
        known: String,
    },
}

/// Is a certificate on the list?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// No.
    No,
    /// For good.
    Revoked,
    /// `certificateHold`: until a later list lacks it.
    Held,
}

/// A CRL in memory.
pub struct Crl {
    parsed: Arc<X509Crl>,
    /// SHA-256 of the DER.
    pub digest: [u8; 32],
    /// Issuer's name, one line.
    pub issuer_name: String,
    /// Issuer's name, DER.
    pub issuer_der: Vec<u8>,
    /// Unix seconds.
    pub this_update: u64,
    /// Unix seconds.
    pub next_update: Option<u64>,
    /// `cRLNumber`, big endian, no leading zero octet.
    pub number: Option<Vec<u8>>,
    /// Certificates it lists.
    pub entries: usize,
    has_unknown_critical: bool,
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer_name, this_update, entries, .. } = self;
        write!(f, "Crl of {issuer_name} of {this_update} with {entries} entries")
    }
}

impl Crl {
    /// From DER. A list of a million entries takes a second or two: not on the loop.
    ///
    /// # Errors
    /// [`CrlError::Unreadable`].
    pub fn parse(der: &[u8]) -> Result<Self, CrlError> {
        assert_off_loop("reading a CRL");
        let parsed = X509Crl::from_der(der).map_err(|_| CrlError::Unreadable)?;
        let extensions = extensions(der).map_err(|_| CrlError::Unreadable)?;
        let issuer_der = parsed.issuer_name().to_der().map_err(|_| CrlError::Unreadable)?;
        let crl = Self {
            issuer_name: dn::one_line(&issuer_der),
            issuer_der,
            digest: Sha256::digest(der).into(),
            this_update: civil::unix(parsed.last_update()),
            next_update: parsed.next_update().map(civil::unix),
            number: extensions.number,
            entries: parsed.get_revoked().map_or(0, |revoked| revoked.len()),
            // By itself a delta says nothing, whether it calls that critical or not.
            has_unknown_critical: extensions.has_unknown_critical || extensions.is_delta,
            parsed: Arc::new(parsed),
        };
        // OpenSSL sorts the list when it is first asked: now, not when somebody waits.
        crl.lists(&[1]);
        Ok(crl)
    }

    /// As it came.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn to_der(&self) -> Result<Vec<u8>, openssl::error::ErrorStack> {
        self.parsed.to_der()
    }

    /// For OpenSSL's verifier.
    pub fn openssl(&self) -> Arc<X509Crl> {
        Arc::clone(&self.parsed)
    }

    /// Is this certificate on the list? `serial` is big endian. Takes a time that grows with the logarithm of the list.
    pub fn lists(&self, serial: &[u8]) -> Listed {
        let Ok(number) = BigNum::from_slice(serial).and_then(|number| number.to_asn1_integer()) else {
            return Listed::No;
        };
        match self.parsed.get_by_serial(&number) {
            CrlStatus::NotRevoked | CrlStatus::RemoveFromCrl(_) => Listed::No,
            CrlStatus::Revoked(entry) => match entry.extension::<ReasonCode>() {
                Ok(Some((_, reason))) if reason.get_i64().is_ok_and(|reason| reason == HOLD) => Listed::Held,
                _ => Listed::Revoked,
            },
        }
    }

    /// May it be taken as its issuer's complete list at `wall`, Unix seconds? Its signature is another question.
    ///
    /// # Errors
    /// [`CrlError::Critical`], [`CrlError::Future`].
    pub fn check(&self, wall: u64) -> Result<(), CrlError> {
        if self.has_unknown_critical {
            return Err(CrlError::Critical);
        }
        if self.this_update > wall.saturating_add(SKEW) {
            return Err(CrlError::Future);
        }
        Ok(())
    }

    /// Does it bear the name of this CA?
    pub fn is_named_for(&self, ca: &X509) -> bool {
        ca.subject_name().to_der().is_ok_and(|subject| dn::same_name(&subject, &self.issuer_der))
    }

    /// Did this CA, whose name it bears, sign it, and was it allowed to?
    ///
    /// # Errors
    /// [`CrlError::Signature`], [`CrlError::Usage`].
    pub fn check_signature(&self, ca: &X509) -> Result<(), CrlError> {
        assert_off_loop("checking a CRL's signature");
        let signed = ca.public_key().is_ok_and(|key| self.parsed.verify(&key).unwrap_or(false));
        if !signed {
            return Err(CrlError::Signature(self.issuer_name.clone()));
        }
        if may_sign_crls(ca) { Ok(()) } else { Err(CrlError::Usage(self.issuer_name.clone())) }
    }

    /// Is it older than `other`, by number where both have one, else by time? In the same second the longer list counts.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let numbers = match (&self.number, &other.number) {
            (Some(own), Some(others)) => (own.len(), own).cmp(&(others.len(), others)),
            _ => std::cmp::Ordering::Equal,
        };
        let dates = self.this_update.cmp(&other.this_update);
        // A number that grew with a time that went back is a rollback too: one of them lies.
        match (numbers, dates) {
            (std::cmp::Ordering::Less, _) | (_, std::cmp::Ordering::Less) => true,
            (std::cmp::Ordering::Equal, std::cmp::Ordering::Equal) => self.entries < other.entries,
            _ => false,
        }
    }

    /// For messages: its number and time.
    pub fn version(&self) -> String {
        match &self.number {
            Some(number) => format!("number {} of {}", super::serial::to_decimal(number), self.this_update),
            None => format!("thisUpdate {}", self.this_update),
        }
    }
}

/// CRLs as OpenSSL has them.
#[derive(Clone, Default)]
pub struct Parsed(pub Vec<Arc<X509Crl>>);

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CRLs", self.0.len())
    }
}

/// `certificateHold` (RFC 5280 §5.3.1).
const HOLD: i64 = CrlReason::CERTIFICATE_HOLD.as_raw() as i64;

/// The CRLs in a file: PEM, any number of blocks, or one in DER. A block that is cut short or is no CRL makes the whole file
/// unreadable: it is being written.
///
/// # Errors
/// [`CrlError::Unreadable`].
pub fn read_all(octets: &[u8]) -> Result<Vec<Crl>, CrlError> {
    let is_pem = octets.windows(PEM_BEGIN.len()).take(64 * 1024).any(|window| window == PEM_BEGIN.as_bytes());
    if !is_pem {
        return Ok(vec![Crl::parse(octets)?]);
    }
    let text = std::str::from_utf8(octets).map_err(|_| CrlError::Unreadable)?;
    let mut found = Vec::new();
    for block in text.split(PEM_BEGIN).skip(1) {
        let (base64, _) = block.split_once(PEM_END).ok_or(CrlError::Unreadable)?;
        let packed: String = base64.split_whitespace().collect();
        let der = openssl::base64::decode_block(&packed).map_err(|_| CrlError::Unreadable)?;
        found.push(Crl::parse(&der)?);
    }
    Ok(found)
}

#[derive(Default)]
struct Extensions {
    number: Option<Vec<u8>>,
    is_delta: bool,
    has_unknown_critical: bool,
}

/// Does the list say only what has changed since another one (RFC 5280 §5.2.4)? OpenSSL takes it for a whole one.
pub(crate) fn is_delta(der: &[u8]) -> bool {
    extensions(der).is_ok_and(|extensions| extensions.is_delta)
}

/// The extensions of the list itself: they stand behind the entries, which are skipped as one value.
fn extensions(der: &[u8]) -> Result<Extensions, DerError> {
    let mut whole = Reader::new(Reader::new(der).expect(SEQUENCE)?.value);
    let mut list = Reader::new(whole.expect(SEQUENCE)?.value);
    let mut found = Extensions::default();
    while !list.is_empty() {
        let value = list.read()?;
        if value.tag != EXTENSIONS {
            continue;
        }
        let mut extensions = Reader::new(Reader::new(value.value).expect(SEQUENCE)?.value);
        while !extensions.is_empty() {
            let mut extension = Reader::new(extensions.expect(SEQUENCE)?.value);
            let name = extension.expect(OBJECT_IDENTIFIER)?.value;
            let mut value = extension.read()?;
            let is_critical = value.tag == BOOLEAN && value.value != [0];
            if value.tag == BOOLEAN {
                value = extension.read()?;
            }
            if name == CRL_NUMBER {
                let digits = Reader::new(value.value).read()?.value;
                let significant = digits.iter().position(|octet| *octet != 0).unwrap_or(digits.len());
                found.number = Some(digits.get(significant..).unwrap_or_default().to_vec());
            } else {
                found.is_delta |= name == DELTA_INDICATOR;
                found.has_unknown_critical |= is_critical;
            }
        }
    }
    Ok(found)
}

/// Without a keyUsage everything is allowed (RFC 5280 §4.2.1.3): keylime's CA has none.
fn may_sign_crls(ca: &X509) -> bool {
    let Ok(der) = ca.to_der() else { return false };
    match X509Certificate::from_der(&der) {
        Ok((_, parsed)) => match parsed.key_usage() {
            Ok(Some(usage)) => usage.value.crl_sign(),
            Ok(None) => true,
            Err(_) => false,
        },
        Err(_) => false,
    }
}

#[cfg(test)]
pub(crate) mod tests;
