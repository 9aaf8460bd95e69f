//! The generator's certificate, and its view of the responder's: a key, no judgement.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cli::signer::Signer;
use ike::config::{Credential, KeyHandle};
use ike::crypto::provider::RsaPublicKey;
use ike::event::question::{CertificateId, PeerCertificate, Rejection, RejectionKind};
use openssl::x509::X509;

/// Certificate and key of every initiator.
pub struct Identity {
    /// For the core.
    pub credential: Credential,
    /// Signs for it.
    pub signer: Signer,
}

/// Reads certificate and key from PEM files.
///
/// # Errors
/// The file and what is wrong with it.
pub fn load(certificate: &Path, key: &Path) -> Result<Identity, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let leaf = X509::from_pem(&read(certificate)?).map_err(|error| format!("{}: {error}", certificate.display()))?;
    let signer = Signer::from_pem(&read(key)?).map_err(|error| format!("{}: {error}", key.display()))?;
    let der = |result: Result<Vec<u8>, openssl::error::ErrorStack>| result.map_err(|error| error.to_string());
    let credential = Credential {
        key: KeyHandle(1),
        chain: vec![der(leaf.to_der())?],
        subject: der(leaf.subject_name().to_der())?,
        issuers: vec![der(leaf.issuer_name().to_der())?],
    };
    Ok(Identity { credential, signer })
}

/// The key of whatever certificate the responder sends.
///
/// # Errors
/// A rejection if there is none with an RSA key.
pub fn trust(certificates: &[Vec<u8>]) -> Result<Arc<PeerCertificate>, Rejection> {
    let refuse = |kind, reason: &str| Rejection { kind, reason: reason.to_owned() };
    let first = certificates.first().ok_or_else(|| refuse(RejectionKind::Missing, "no certificate"))?;
    let malformed = |_| refuse(RejectionKind::Malformed, "not an RSA certificate");
    let leaf = X509::from_der(first).map_err(malformed)?;
    let key = leaf.public_key().and_then(|key| key.rsa()).map_err(malformed)?;
    Ok(Arc::new(PeerCertificate {
        der: Vec::new(),
        public_key: RsaPublicKey { modulus: key.n().to_vec(), exponent: key.e().to_vec() }.into(),
        chain: vec![CertificateId { issuer_key: [0; 32], serial: vec![1] }],
        subject: String::new(),
        issuer: String::new(),
        not_after: u64::MAX,
        warnings: Vec::new(),
    }))
}
