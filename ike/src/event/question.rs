//! What the core asks beside the kernel, and the answers: judge, passwords; and hooks, which nobody answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use policy::model::identity::Identity;
use policy::model::remote::HookEvent;
use policy::model::secret::Secret;

use crate::config::RemoteConfig;
use crate::crypto::provider::PublicKey;
use crate::transaction::configuration::Configuration;

/// What revocation is keyed on: the issuer's key and the serial number as an integer, never a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId {
    /// SHA-256 of the issuer's SubjectPublicKeyInfo (DER).
    pub issuer_key: [u8; 32],
    /// The serial number, big endian, no leading zero octet.
    pub serial: Vec<u8>,
}

/// A certificate that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The key that must have signed.
    pub public_key: PublicKey,
    /// Leaf first, the root last.
    pub chain: Vec<CertificateId>,
    /// Subject, one line in OpenSSL's old form (`/C=US/CN=x`), as racoon logs it.
    pub subject: String,
    /// Issuer, same form.
    pub issuer: String,
    /// Unix seconds of notAfter.
    pub not_after: u64,
    /// The leaf itself, DER: what `racoonctl get-cert` shows.
    pub der: Vec<u8>,
    /// Findings that were let pass, in racoon's words (`unable to get certificate CRL(3) at depth:0 …`).
    pub warnings: Vec<String>,
}

/// Why a certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What kind of refusal, for the notify and for tests.
    pub kind: RejectionKind,
    /// The words of the log line.
    pub reason: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// No certificate to judge.
    Missing,
    /// Not a certificate we can read or use.
    Malformed,
    /// No path to a trust anchor.
    Untrusted,
    /// Outside its validity.
    Expired,
    /// Listed in a CRL.
    RevokedByCrl,
    /// Listed in the deny list.
    RevokedByDenyList,
    /// The identity does not belong to the certificate or is not the configured one.
    IdentityMismatch,
    /// Another rule of RFC 5280 or RFC 4945 is broken.
    Invalid,
}

/// For [`Output::Judge`](super::Output::Judge).
#[derive(Clone, Debug)]
pub struct JudgeRequest {
    /// The peer's configuration: trust anchors, `verify_cert`, `peers_certfile` are found by its `id`.
    pub remote: Arc<RemoteConfig>,
    /// DER of the CERT payloads of encoding 4 in order (PKCS#7 bundles of encoding 1 stand in `pkcs7`).
    pub certificates: Vec<Vec<u8>>,
    /// CERT payloads of encoding 1.
    pub pkcs7: Vec<Vec<u8>>,
    /// The identity claimed.
    pub identity: Identity,
    /// The address the peer speaks from.
    pub peer: IpAddr,
    /// Unix seconds.
    pub wall: u64,
}

/// For [`Output::CheckPassword`](super::Output::CheckPassword).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordCheck {
    /// The user, as the peer wrote it; no control characters.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// Where the peer speaks from.
    pub peer: IpAddr,
}

/// A user whose password was right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The address that the user always gets.
    pub address: Option<Ipv4Addr>,
    /// Its netmask, if it is not that of everybody.
    pub netmask: Option<Ipv4Addr>,
    /// The groups that the user is in.
    pub groups: Vec<String>,
}

/// For [`Output::RunHook`](super::Output::RunHook).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When.
    pub event: HookEvent,
    /// The script's file.
    pub script: String,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
    /// What the peer called itself in phase 1.
    pub identity: Identity,
    /// ISAKMP cookies, initiator's first.
    pub cookies: ([u8; 8], [u8; 8]),
    /// Who logged in: the peer's user, or ours.
    pub user: Option<String>,
    /// What the peer gave us, or the address that we gave it.
    pub configuration: Configuration,
}
