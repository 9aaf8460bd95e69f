//! How each side proves who it is: by a signature over HASH_I or HASH_R (RFC 2409 §5.1), or by the hash itself where a
//! pre-shared key went into it (§5.4). Main and aggressive mode only carry it differently.

use std::sync::Arc;

use policy::model::identity::Identity;
use policy::model::rsa_key::KeyScope;

use super::exchange::Keyed;
use crate::config::{RawKey, RemoteConfig};
use crate::crypto::backend::equal;
use crate::crypto::signature;
use crate::error::ExchangeError;
use crate::event::question::{JudgeRequest, PeerCertificate, Rejection, RejectionKind};
use crate::event::{JobId, Output};
use crate::handshake::Facts;
use crate::message::Cookies;
use crate::payloads::{bodies, body};
use crate::report::{Event, Level};
use crate::wire::cert::CertPayload;
use crate::wire::identification::IdPayload;
use crate::wire::message::RawPayload;
use crate::wire::notify::NotifyPayload;
use crate::wire::number::{CertEncoding, DOI_IPSEC, NotifyType, PayloadType, ProtocolId};

/// Who the peer says it is, with its proof, unchecked.
pub(crate) struct Shown {
    id_body: Vec<u8>,
    identity: Identity,
    certificates: Vec<Vec<u8>>,
    pkcs7: Vec<Vec<u8>>,
    /// SIG or HASH, as the method has it.
    proof: Vec<u8>,
    initial_contact: bool,
}

/// An ID payload of phase 1.
///
/// # Errors
/// [`ExchangeError::InvalidId`] for a protocol and port that phase 1 has no use for (RFC 2407 §4.6.2: 0/0 or UDP/500; 4500
/// and UDP without a port in the wild).
pub(crate) fn read_identity(id_body: &[u8]) -> Result<Identity, ExchangeError> {
    let id = IdPayload::decode(id_body)?;
    if !matches!((id.protocol, id.port), (0, 0) | (17, 0 | 500 | 4500)) {
        return Err(ExchangeError::InvalidId(format!("protocol {} port {} in phase 1", id.protocol, id.port)));
    }
    Ok(id.to_identity()?)
}

impl Shown {
    /// Reads what stands beside the ID payload, whose body was read already or came earlier.
    pub(crate) fn read(
        payloads: &[RawPayload<'_>],
        (id_body, identity): (Vec<u8>, Identity),
        signed: bool,
    ) -> Result<Self, ExchangeError> {
        let (certificates, pkcs7) = certificates(payloads)?;
        let initial_contact = bodies(payloads, PayloadType::NOTIFY)
            .filter_map(|octets| NotifyPayload::decode(octets).ok())
            .any(|notify| notify.kind == NotifyType::INITIAL_CONTACT);
        let proof = body(payloads, proof_kind(signed))?.to_vec();
        Ok(Self { id_body, identity, certificates, pkcs7, proof, initial_contact })
    }
}

impl Shown {
    /// In aggressive mode the hash is verified before anything rests on what else the message says; a signature waits for
    /// its certificate.
    ///
    /// # Errors
    /// [`ExchangeError::HashMismatch`], or where a key went into it [`ExchangeError::PskDiffers`].
    pub(crate) fn check_hash(&self, keyed: &Keyed, hash_of: HashOf) -> Result<(), ExchangeError> {
        let auth = keyed.agreed.auth;
        if auth.peer_signs() || equal(&hash_of(keyed, &self.id_body), &self.proof) {
            return Ok(());
        }
        Err(if auth.is_psk() { ExchangeError::PskDiffers } else { ExchangeError::HashMismatch })
    }
}

/// The payload that proves.
pub(crate) fn proof_kind(signed: bool) -> PayloadType {
    if signed { PayloadType::SIG } else { PayloadType::HASH }
}

/// DER encodings in the order they came.
type Bundle = Vec<Vec<u8>>;

/// The X.509 and PKCS#7 contents of the CERT payloads; other encodings are ignored (RFC 2408 §3.9).
fn certificates(payloads: &[RawPayload<'_>]) -> Result<(Bundle, Bundle), ExchangeError> {
    let (mut x509, mut pkcs7) = (Vec::new(), Vec::new());
    for octets in bodies(payloads, PayloadType::CERT) {
        let cert = CertPayload::decode(octets)?;
        match cert.encoding {
            CertEncoding::X509_SIGNATURE => x509.push(cert.data),
            CertEncoding::PKCS7 => pkcs7.push(cert.data),
            _ => {}
        }
    }
    Ok((x509, pkcs7))
}

/// Our CERT payloads, leaf first; the root was left out by whoever loaded the chain.
fn our_certificates(remote: &RemoteConfig) -> Vec<(PayloadType, Vec<u8>)> {
    let chain = match &remote.credential {
        Some(credential) if remote.remote.send_cert => credential.chain.as_slice(),
        _ => &[],
    };
    let cert = |der: &Vec<u8>| CertPayload { encoding: CertEncoding::X509_SIGNATURE, data: der.clone() };
    chain.iter().map(|der| (PayloadType::CERT, cert(der).encode())).collect()
}

/// Our certificates, our proof, and INITIAL-CONTACT for these cookies if it is wanted: what stands behind our ID payload.
pub(crate) fn our_proof(
    keyed: &Keyed,
    remote: &RemoteConfig,
    proof: Vec<u8>,
    contact: bool,
) -> Vec<(PayloadType, Vec<u8>)> {
    let signed = keyed.agreed.auth.we_sign();
    let mut payloads = if signed { our_certificates(remote) } else { Vec::new() };
    payloads.push((proof_kind(signed), proof));
    if contact {
        payloads.push((PayloadType::NOTIFY, initial_contact(keyed.cookies).encode()));
    }
    payloads
}

/// INITIAL-CONTACT (RFC 2407 §4.6.3.3): the SPI is both cookies.
pub(crate) fn initial_contact(cookies: Cookies) -> NotifyPayload {
    NotifyPayload {
        doi: DOI_IPSEC,
        protocol: ProtocolId::ISAKMP,
        kind: NotifyType::INITIAL_CONTACT,
        spi: cookies.concat(),
        data: Vec::new(),
    }
}

/// Our side's proof.
pub(crate) enum Proving {
    /// The private key is at work.
    Signing(JobId),
    /// The hash itself.
    Ready(Vec<u8>),
}

/// Begins to prove that we know `hash` (HASH_I or HASH_R).
///
/// # Errors
/// As [`Facts::sign`].
pub(crate) fn prove(keyed: &Keyed, hash: Vec<u8>, facts: &mut Facts<'_>) -> Result<Proving, ExchangeError> {
    if keyed.agreed.auth.we_sign() { Ok(Proving::Signing(facts.sign(hash)?)) } else { Ok(Proving::Ready(hash)) }
}

/// Our own signature, made or not.
///
/// # Errors
/// [`ExchangeError::Local`] with what the key's holder said.
pub(crate) fn made(result: Result<Vec<u8>, String>) -> Result<Vec<u8>, ExchangeError> {
    result.map_err(|why| ExchangeError::Local(format!("signing failed: {why}")))
}

/// Which of the two hashes a peer proves.
pub(crate) type HashOf = fn(&Keyed, &[u8]) -> Vec<u8>;

/// The peer's proof.
pub(crate) enum Verifying {
    /// Its certificate is before the judge.
    Judging(Box<Claim>),
    /// It holds.
    Proved(Box<Established>),
}

/// Checks what the peer has shown; `hash_of` is the hash that it proves.
///
/// # Errors
/// [`ExchangeError::IdentityRefused`] before anything costly; [`ExchangeError::HashMismatch`].
pub(crate) fn verify(
    keyed: Keyed,
    shown: Shown,
    hash_of: HashOf,
    facts: &mut Facts<'_>,
) -> Result<Verifying, ExchangeError> {
    facts.identify(&shown.identity)?;
    let hash = hash_of(&keyed, &shown.id_body);
    let Shown { identity, certificates, pkcs7, proof, initial_contact, .. } = shown;
    if !keyed.agreed.auth.peer_signs() {
        if !equal(&hash, &proof) {
            return Err(ExchangeError::HashMismatch);
        }
        let established = Established { keyed, identity, certificate: None, initial_contact };
        return Ok(Verifying::Proved(Box::new(established)));
    }
    if let Some(keys) = &facts.remote.raw_keys.peers {
        let known_by = prove_by_key(&keyed, keys, (&proof, &hash), facts)?.name.clone();
        facts.cx.report(Level::Info, facts.path.peer, Event::RawKeyProved(known_by));
        let established = Established { keyed, identity, certificate: None, initial_contact };
        return Ok(Verifying::Proved(Box::new(established)));
    }
    let request = Box::new(JudgeRequest {
        remote: Arc::clone(facts.remote),
        certificates,
        pkcs7,
        identity: identity.clone(),
        peer: facts.path.peer.ip(),
        wall: facts.cx.now.wall,
    });
    let job = facts.cx.job(facts.owner);
    facts.cx.emit(Output::Judge { job, request });
    Ok(Verifying::Judging(Box::new(Claim { keyed, job, hash, signature: proof, identity, initial_contact })))
}

/// Signatures that one message of a peer without a certificate may make us check.
const MOST_KEYS: usize = 32;

/// The key without a certificate that made the signature: one of those for these ends. There is nobody to be asked: whom
/// to trust was said by writing the key down.
fn prove_by_key<'k>(
    keyed: &Keyed,
    keys: &'k [(KeyScope, RawKey)],
    (signature, hash): (&[u8], &[u8]),
    facts: &Facts<'_>,
) -> Result<&'k RawKey, ExchangeError> {
    let (local, peer) = (facts.path.local.ip(), facts.path.peer.ip());
    let mut refused = ExchangeError::Certificate(Rejection {
        kind: RejectionKind::Missing,
        reason: format!("no public key of peers_certfile plain_rsa is for {local} <-> {peer}."),
    });
    for known in KeyScope::best(keys, local, peer).take(MOST_KEYS) {
        let provider = facts.cx.provider.as_ref();
        match signature::verify_by(provider, keyed.agreed.auth, &known.key, signature, hash) {
            Ok(()) => return Ok(known),
            Err(error) => refused = ExchangeError::Signature(error),
        }
    }
    Err(refused)
}

/// What a peer that signs claims, while its certificate is before the judge.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) keyed: Keyed,
    pub(crate) job: JobId,
    hash: Vec<u8>,
    signature: Vec<u8>,
    identity: Identity,
    initial_contact: bool,
}

impl Claim {
    /// Takes the verdict; only a certificate that was accepted is asked about the signature (RFC 2409 §5.1, IKEV1 SIG-1).
    ///
    /// # Errors
    /// [`ExchangeError::Certificate`], [`ExchangeError::Signature`].
    pub(crate) fn settle(
        self,
        verdict: Result<Arc<PeerCertificate>, Rejection>,
        facts: &Facts<'_>,
    ) -> Result<Established, ExchangeError> {
        let certificate = verdict.map_err(ExchangeError::Certificate)?;
        let (provider, method) = (facts.cx.provider.as_ref(), self.keyed.agreed.auth);
        signature::verify_by(provider, method, &certificate.public_key, &self.signature, &self.hash)
            .map_err(ExchangeError::Signature)?;
        let Self { keyed, identity, initial_contact, .. } = self;
        Ok(Established { keyed, identity, certificate: Some(certificate), initial_contact })
    }
}

/// A finished phase 1.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) keyed: Keyed,
    pub(crate) identity: Identity,
    /// With authentication by signature, unless the peer's key has none.
    pub(crate) certificate: Option<Arc<PeerCertificate>>,
    pub(crate) initial_contact: bool,
}
