//! What both roles of main mode share, as functions on data: framing, key state, ID and CERT payloads.

use std::sync::Arc;

use policy::model::identity::Identity;
use policy::model::secret::Secret;

use super::proposal::Agreed;
use crate::config::RemoteConfig;
use crate::context::Path;
use crate::crypto::hash::{Transcript, hash_i, hash_r};
use crate::crypto::iv::{last_block, phase1_iv};
use crate::crypto::signature;
use crate::crypto::skeyid::{Skeyids, derive_signature, phase1_key};
use crate::error::ExchangeError;
use crate::event::{JobId, JudgeRequest, Output, PeerCertificate, Rejection};
use crate::handshake::{Facts, Step};
use crate::message::{Cookies, Message, Opened, Sealer, message};
use crate::payloads::{Shape, bodies, body};
use crate::protection::Protection;
use crate::report::{Event, Level};
use crate::wire::cert::{CertPayload, CertRequest};
use crate::wire::identification::IdPayload;
use crate::wire::message::{RawPayload, Tail, decode_chain, encode_chain, first_kind};
use crate::wire::notify::NotifyPayload;
use crate::wire::number::{CertEncoding, DOI_IPSEC, ExchangeType, Flags, NotifyType, PayloadType, ProtocolId};

/// What both public values give: keys, hashes and the cipher state.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) agreed: Agreed,
    pub(crate) skeyids: Skeyids,
    pub(crate) sealer: Sealer,
    pub(crate) cookies: Cookies,
    gxi: Vec<u8>,
    gxr: Vec<u8>,
    /// The initiator's SA payload body as it went over the wire.
    sai: Vec<u8>,
}

/// The public material of an exchange.
pub(crate) struct Publics {
    pub(crate) ni: Vec<u8>,
    pub(crate) nr: Vec<u8>,
    pub(crate) gxi: Vec<u8>,
    pub(crate) gxr: Vec<u8>,
}

impl Keyed {
    /// Derives everything for signature authentication (RFC 2409 §5).
    pub(crate) fn new(agreed: Agreed, cookies: Cookies, publics: Publics, gxy: &Secret, sai: Vec<u8>) -> Self {
        let Publics { ni, nr, gxi, gxr } = publics;
        let skeyids = derive_signature(agreed.hash, &ni, &nr, gxy, cookies.initiator, cookies.responder);
        let key = phase1_key(agreed.hash, &skeyids.e, agreed.cipher);
        let last_block = phase1_iv(agreed.hash, agreed.cipher, &gxi, &gxr);
        let sealer = Sealer { cipher: agreed.cipher, hash: agreed.hash, key, last_block };
        Self { agreed, skeyids, sealer, cookies, gxi, gxr, sai }
    }

    /// HASH_I over the initiator's ID body.
    pub(crate) fn hash_i(&self, id_body: &[u8]) -> Vec<u8> {
        hash_i(self.agreed.hash, &self.skeyids.base, &self.transcript(), id_body)
    }

    /// HASH_R over the responder's ID body.
    pub(crate) fn hash_r(&self, id_body: &[u8]) -> Vec<u8> {
        hash_r(self.agreed.hash, &self.skeyids.base, &self.transcript(), id_body)
    }

    fn transcript(&self) -> Transcript<'_> {
        let Cookies { initiator, responder } = self.cookies;
        Transcript { gxi: &self.gxi, gxr: &self.gxr, cky_i: initiator, cky_r: responder, sa_i: &self.sai }
    }

    /// The keys that protect informationals, during main mode and after it.
    pub(crate) fn protection(&self) -> Protection {
        let Skeyids { a, d, .. } = &self.skeyids;
        Protection { cookies: self.cookies, sealer: self.sealer.clone(), skeyid_a: a.clone(), skeyid_d: d.clone() }
    }

    /// As [`Self::protection`], once `step` was taken: its message moved the chain of cipher blocks on.
    pub(crate) fn protection_after(&self, step: &Step<'_>) -> Protection {
        let mut protection = self.protection();
        if let Step::Message(message) = step
            && message.header.flags.contains(Flags::ENCRYPTED)
            && let Some(last) = last_block(self.agreed.cipher, message.body)
        {
            protection.sealer.last_block = last.to_vec();
        }
        protection
    }

    /// Encrypts a message of main mode and moves the chain on.
    pub(crate) fn seal_main(&mut self, payloads: &[(PayloadType, Vec<u8>)]) -> Result<Vec<u8>, ExchangeError> {
        let (sealed, last) = self.sealer.seal(&self.sealer.last_block, encode_chain(payloads))?;
        self.sealer.last_block = last;
        Ok(message(self.cookies, ExchangeType::MAIN, 0, first_kind(payloads), Flags::ENCRYPTED, &sealed))
    }
}

/// A message of main mode in clear.
pub(crate) fn clear_main(cookies: Cookies, payloads: &[(PayloadType, Vec<u8>)]) -> Vec<u8> {
    message(cookies, ExchangeType::MAIN, 0, first_kind(payloads), Flags::NONE, &encode_chain(payloads))
}

/// What MM1 and MM2 carry.
pub(crate) const SA_ONLY: Shape = Shape { must: &[PayloadType::SA], may: &[], many: &[], first: Some(PayloadType::SA) };

/// What MM3 and MM4 carry.
pub(crate) const KE_NONCE: Shape = Shape {
    must: &[PayloadType::KE, PayloadType::NONCE],
    may: &[],
    many: &[PayloadType::CERTREQ, PayloadType::NOTIFY],
    first: None,
};

/// What MM5 and MM6 carry with signatures.
const ID_SIG: Shape = Shape {
    must: &[PayloadType::ID, PayloadType::SIG],
    may: &[],
    many: &[PayloadType::CERT, PayloadType::CERTREQ, PayloadType::NOTIFY],
    first: None,
};

/// MM5 or MM6, read.
pub(crate) struct IdSig {
    pub(crate) last_block: Vec<u8>,
    pub(crate) id_body: Vec<u8>,
    pub(crate) identity: Identity,
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) pkcs7: Vec<Vec<u8>>,
    pub(crate) signature: Vec<u8>,
    pub(crate) initial_contact: bool,
}

/// Decrypts and reads MM5 or MM6; changes nothing.
pub(crate) fn read_id_sig(keyed: &Keyed, message: &Message<'_>) -> Result<IdSig, ExchangeError> {
    let Opened { plain, last_block } = message.open(&keyed.sealer, &keyed.sealer.last_block)?;
    let payloads = decode_chain(message.header.next, &plain, Tail::Padding)?;
    ID_SIG.check(&payloads)?;
    let id_body = body(&payloads, PayloadType::ID)?.to_vec();
    let id = IdPayload::decode(&id_body)?;
    // RFC 2407 §4.6.2: protocol and port of a phase 1 ID are 0/0 or UDP/500 (4500 in the wild).
    if !matches!((id.protocol, id.port), (0, 0) | (17, 0 | 500 | 4500)) {
        return Err(ExchangeError::InvalidId(format!("protocol {} port {} in phase 1", id.protocol, id.port)));
    }
    let identity = id.to_identity()?;
    let (certificates, pkcs7) = certificates(&payloads)?;
    let initial_contact = bodies(&payloads, PayloadType::NOTIFY)
        .filter_map(|octets| NotifyPayload::decode(octets).ok())
        .any(|notify| notify.kind == NotifyType::INITIAL_CONTACT);
    let signature = body(&payloads, PayloadType::SIG)?.to_vec();
    Ok(IdSig { last_block, id_body, identity, certificates, pkcs7, signature, initial_contact })
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

/// More certificate requests than this are not sent: a system's whole CA directory would not fit a datagram.
const MOST_REQUESTS: usize = 8;

/// Our certificate requests: one for each trust anchor, or one that asks for any (RFC 4945 §3.2).
pub(crate) fn our_requests(remote: &RemoteConfig) -> Vec<(PayloadType, Vec<u8>)> {
    if !remote.remote.send_cr {
        return Vec::new();
    }
    let request = |authority: &[u8]| {
        let request = CertRequest { encoding: CertEncoding::X509_SIGNATURE, authority: authority.to_vec() };
        (PayloadType::CERTREQ, request.encode())
    };
    if remote.accepted_issuers.is_empty() || remote.accepted_issuers.len() > MOST_REQUESTS {
        return vec![request(&[])];
    }
    remote.accepted_issuers.iter().map(|name| request(name)).collect()
}

/// Notes a peer that asks for a certificate of an issuer we have none of; it gets ours all the same, as from racoon.
pub(crate) fn note_foreign_requests(facts: &mut Facts<'_>, payloads: &[RawPayload<'_>]) -> Result<(), ExchangeError> {
    let requests: Vec<CertRequest> = bodies(payloads, PayloadType::CERTREQ)
        .map(|octets| Ok(CertRequest::decode(octets)?))
        .collect::<Result<_, ExchangeError>>()?;
    facts.requested(&requests);
    let Some(credential) = &facts.remote.credential else { return Ok(()) };
    let wanted = |request: &CertRequest| {
        request.encoding != CertEncoding::X509_SIGNATURE
            || request.authority.is_empty()
            || credential.issuers.iter().any(|issuer| crate::identity::dn::same_name(issuer, &request.authority))
    };
    if !requests.is_empty() && !requests.iter().any(wanted) {
        facts.cx.report(Level::Debug, facts.path.peer, Event::ForeignCertificateRequest);
    }
    Ok(())
}

/// Our ID body: the configured identity, or the address the exchange runs from.
pub(crate) fn our_id(remote: &RemoteConfig, path: Path) -> Result<Vec<u8>, ExchangeError> {
    let identity = remote.my_identity.clone().unwrap_or(Identity::Address(path.local.ip()));
    Ok(IdPayload::from_identity(&identity, 0, 0).encode())
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

/// The payloads of our MM5 or MM6; `contact` adds INITIAL-CONTACT for this pair of cookies.
pub(crate) fn our_id_sig(
    remote: &RemoteConfig,
    id_body: Vec<u8>,
    signature: Vec<u8>,
    contact: Option<Cookies>,
) -> Vec<(PayloadType, Vec<u8>)> {
    let mut payloads = vec![(PayloadType::ID, id_body)];
    payloads.extend(our_certificates(remote));
    payloads.push((PayloadType::SIG, signature));
    if let Some(cookies) = contact {
        payloads.push((PayloadType::NOTIFY, initial_contact(cookies).encode()));
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

/// Which of the two hashes a peer signs.
pub(crate) type HashOf = fn(&Keyed, &[u8]) -> Vec<u8>;

/// What the peer claims in MM5 or MM6, while its certificate is before the judge.
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
    /// Takes an authentic-looking MM5 or MM6 to the judge; `hash_of` is the hash that the peer signs.
    ///
    /// # Errors
    /// [`ExchangeError::IdentityRefused`] before anything costly.
    pub(crate) fn examine(
        mut keyed: Keyed,
        peer: IdSig,
        hash_of: HashOf,
        facts: &mut Facts<'_>,
    ) -> Result<Self, ExchangeError> {
        let IdSig { last_block, id_body, identity, certificates, pkcs7, signature, initial_contact } = peer;
        facts.identify(&identity)?;
        keyed.sealer.last_block = last_block;
        let hash = hash_of(&keyed, &id_body);
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
        Ok(Self { keyed, job, hash, signature, identity, initial_contact })
    }

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
        signature::verify(facts.cx.provider.as_ref(), &certificate.public_key, &self.signature, &self.hash)
            .map_err(ExchangeError::Signature)?;
        let Self { keyed, identity, initial_contact, .. } = self;
        Ok(Established { keyed, identity, certificate, initial_contact })
    }
}

/// Our own signature, made or not.
///
/// # Errors
/// [`ExchangeError::Local`] with what the key's holder said.
pub(crate) fn made(result: Result<Vec<u8>, String>) -> Result<Vec<u8>, ExchangeError> {
    result.map_err(|why| ExchangeError::Local(format!("signing failed: {why}")))
}

/// A finished main mode.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) keyed: Keyed,
    pub(crate) identity: Identity,
    pub(crate) certificate: Arc<PeerCertificate>,
    pub(crate) initial_contact: bool,
}
