//! Naming a certificate to revoke: by serial and issuer, by serial alone, or by the certificate itself.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ike::event::question::CertificateId;
use ike::identity::dn;
use openssl::error::ErrorStack;
use openssl::x509::{X509, X509Ref};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::deny_list::DenyList;
use super::journal::{JournalError, reader::JournalReader};
use super::serial;

/// What failed.
#[derive(Debug, Error)]
pub enum IssuerError {
    /// The file.
    #[error("certificate file {path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its content.
    #[error("{path} holds no certificate, in PEM or DER")]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// A key nobody can read.
    #[error("public key of {subject} cannot be read: {error}")]
    Key {
        /// Whose.
        subject: String,
        /// Why.
        error: ErrorStack,
    },
}

/// An issuer by what revocation is keyed on, and by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issuer {
    /// SHA-256 of its SubjectPublicKeyInfo (DER).
    pub key: [u8; 32],
    /// Its subject, one line.
    pub name: String,
}

impl Issuer {
    /// From the issuer's own certificate.
    ///
    /// # Errors
    /// [`IssuerError::Key`] if its key cannot be read.
    pub fn of(certificate: &X509Ref) -> Result<Self, IssuerError> {
        let name = subject_line(certificate);
        let key = key_id(certificate).map_err(|error| IssuerError::Key { subject: name.clone(), error })?;
        Ok(Self { key, name })
    }

    /// From a file with the issuer's own certificate, PEM or DER (`--issuer CERT`).
    ///
    /// # Errors
    /// [`IssuerError`] naming the file.
    pub fn from_file(path: &Path) -> Result<Self, IssuerError> {
        let certificate = first_certificate(path)?;
        Self::of(&certificate)
    }
}

/// Serial and issuer's name of a certificate in a file (`--cert FILE`). The issuer's key stands elsewhere: look it up
/// with [`issuer_among`] in the trust anchors, or in the journal with [`issuers_of_serial`].
///
/// # Errors
/// [`IssuerError`] naming the file.
pub fn certificate_in(path: &Path) -> Result<X509, IssuerError> {
    first_certificate(path)
}

/// The one among `candidates` (CA certificates) that signed `certificate`.
pub fn issuer_among<'a>(certificate: &X509Ref, candidates: impl IntoIterator<Item = &'a X509>) -> Option<Issuer> {
    candidates.into_iter().find(|candidate| signed_by(certificate, candidate)).and_then(|found| Issuer::of(found).ok())
}

/// Did `issuer` sign `certificate`? Names first: most candidates cost no signature check.
pub fn signed_by(certificate: &X509Ref, issuer: &X509Ref) -> bool {
    same_subject(certificate, issuer) && issuer.public_key().is_ok_and(|key| certificate.verify(&key).unwrap_or(false))
}

/// Does it bear its own name as its issuer's?
pub fn is_self_issued(certificate: &X509Ref) -> bool {
    same_subject(certificate, certificate)
}

fn same_subject(certificate: &X509Ref, issuer: &X509Ref) -> bool {
    match (certificate.issuer_name().to_der(), issuer.subject_name().to_der()) {
        (Ok(wanted), Ok(found)) => wanted == found || dn::same_name(&wanted, &found),
        _ => false,
    }
}

/// Issuer keys under which a bare serial is known: of the certificates SAs rest on, and of the deny list's entries.
/// More than one means that the operator has to say which (`--issuer`), or means all of them.
///
/// # Errors
/// [`JournalError`] if the journal cannot be read; a missing one knows no serial.
pub fn issuers_of_serial(
    serial: &[u8],
    journal: Option<&mut JournalReader>,
    deny_list: Option<&DenyList>,
) -> Result<Vec<Issuer>, JournalError> {
    let mut found: BTreeSet<Issuer> = BTreeSet::new();
    if let Some(journal) = journal {
        for record in journal.find_serial(serial)? {
            let owner = &record.entry.owner;
            for (depth, certificate) in owner.certificates.iter().enumerate().filter(|(_, id)| id.serial == serial) {
                // The journal keeps the name of the leaf's issuer only.
                let name = owner.issuer.clone().filter(|_| depth == 0).unwrap_or_default();
                found.insert(Issuer { key: certificate.issuer_key, name });
            }
        }
    }
    for entry in deny_list.into_iter().flat_map(DenyList::entries).filter(|entry| entry.serial == serial) {
        if let super::deny_list::DeniedIssuer::Key(key) = entry.issuer {
            found.insert(Issuer { key, name: entry.issuer_name.clone() });
        }
    }
    // One line per key: the one with a name, where there is one.
    let mut by_key: Vec<Issuer> = Vec::new();
    for issuer in found {
        match by_key.last_mut() {
            Some(last) if last.key == issuer.key => *last = issuer,
            _ => by_key.push(issuer),
        }
    }
    Ok(by_key)
}

/// What revocation is keyed on, for a certificate and the one that issued it.
///
/// # Errors
/// [`IssuerError::Key`] if the issuer's key cannot be read.
pub fn certificate_id(certificate: &X509Ref, issuer: &X509Ref) -> Result<CertificateId, IssuerError> {
    Ok(CertificateId { issuer_key: Issuer::of(issuer)?.key, serial: serial_of(certificate) })
}

/// SHA-256 of the SubjectPublicKeyInfo, as OpenSSL encodes the key: two certificates of one key give one value even if
/// one of them spells the algorithm's parameters differently.
///
/// # Errors
/// OpenSSL's, if the key cannot be read.
pub fn key_id(certificate: &X509Ref) -> Result<[u8; 32], ErrorStack> {
    Ok(Sha256::digest(certificate.public_key()?.public_key_to_der()?).into())
}

/// The serial number, big endian, without leading zeros (`serial::from_der_contents` says how negative ones read).
pub fn serial_of(certificate: &X509Ref) -> Vec<u8> {
    certificate.to_der().ok().and_then(|der| serial_in(&der)).unwrap_or_default()
}

/// The subject in OpenSSL's one-line form.
pub fn subject_line(certificate: &X509Ref) -> String {
    certificate.subject_name().to_der().map_or_else(|_| String::new(), |der| dn::one_line(&der))
}

/// The issuer's name in OpenSSL's one-line form.
pub fn issuer_line(certificate: &X509Ref) -> String {
    certificate.issuer_name().to_der().map_or_else(|_| String::new(), |der| dn::one_line(&der))
}

/// RFC 5280 §4.1: Certificate, TBSCertificate, optional `[0]` version, serialNumber.
fn serial_in(certificate: &[u8]) -> Option<Vec<u8>> {
    use ike::identity::der::{INTEGER, Reader, SEQUENCE};
    let outer = Reader::new(certificate).expect(SEQUENCE).ok()?;
    let mut body = Reader::new(Reader::new(outer.value).expect(SEQUENCE).ok()?.value);
    if body.peek_tag() == Some(0xa0) {
        body.read().ok()?;
    }
    Some(serial::from_der_contents(body.expect(INTEGER).ok()?.value))
}

fn first_certificate(path: &Path) -> Result<X509, IssuerError> {
    let octets = fs::read(path).map_err(|error| IssuerError::Io { path: path.to_owned(), error })?;
    X509::from_pem(&octets)
        .or_else(|_| X509::from_der(&octets))
        .map_err(|_| IssuerError::NoCertificate { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::bn::BigNum;
    use openssl::hash::MessageDigest;
    use openssl::pkey::{PKey, Private};
    use openssl::rsa::Rsa;
    use openssl::x509::{X509Builder, X509NameBuilder};

    use super::super::deny_list::{DeniedIssuer, DenyEntry};
    use super::*;

    fn key() -> PKey<Private> {
        PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap()
    }

    fn certificate(serial: &BigNum, key: &PKey<Private>) -> X509 {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "CA").unwrap();
        let name = name.build();
        let mut builder = X509Builder::new().unwrap();
        builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
        builder.set_pubkey(key).unwrap();
        builder.sign(key, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    #[test]
    fn serials_of_any_length() {
        let key = key();
        let long = BigNum::from_slice(&[0xff; 20]).unwrap();
        assert_eq!(serial_of(&certificate(&long, &key)), [0xff; 20]);
        assert_eq!(serial_of(&certificate(&BigNum::from_u32(0).unwrap(), &key)), Vec::<u8>::new());
        let mut negative = BigNum::from_u32(128).unwrap();
        negative.set_negative(true);
        assert_eq!(serial_of(&certificate(&negative, &key)), [0x80]);
    }

    #[test]
    fn issuers_are_told_apart_by_key_not_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (key(), key());
        let serial = BigNum::from_u32(1).unwrap();
        let (one, two) = (certificate(&serial, &one), certificate(&serial, &two));
        let path = folder.path().join("ca.pem");
        fs::write(&path, one.to_pem().unwrap()).unwrap();
        let issuer = Issuer::from_file(&path).unwrap();
        assert_eq!(issuer, Issuer { key: key_id(&one).unwrap(), name: "/CN=CA".to_owned() });
        assert_eq!(issuer_among(&certificate_in(&path).unwrap(), [&two, &one]), Some(issuer));
        assert_eq!(issuer_among(&one, [&two]), None);
        fs::write(&path, "nothing").unwrap();
        assert!(matches!(Issuer::from_file(&path), Err(IssuerError::NoCertificate { .. })));
        assert!(matches!(certificate_in(&folder.path().join("gone")), Err(IssuerError::Io { .. })));
    }

    #[test]
    fn candidates_of_a_bare_serial() {
        let folder = tempfile::tempdir().unwrap();
        let mut list = DenyList::open(folder.path().join("revoked")).unwrap();
        for (key, serial, name) in [([1; 32], 5, "/CN=One"), ([2; 32], 5, "/CN=Two"), ([3; 32], 6, "/CN=Three")] {
            let entry = DenyEntry {
                issuer: DeniedIssuer::Key(key),
                serial: vec![serial],
                time: 0,
                source: "test".to_owned(),
                issuer_name: name.to_owned(),
            };
            list.add(entry).unwrap();
        }
        let found = issuers_of_serial(&[5], None, Some(&list)).unwrap();
        let expected = [([1; 32], "/CN=One"), ([2; 32], "/CN=Two")];
        assert_eq!(found, expected.map(|(key, name)| Issuer { key, name: name.to_owned() }));
        assert_eq!(issuers_of_serial(&[7], None, Some(&list)).unwrap(), []);
    }
}
