//! What both roles share, as functions on data: framing, key state, certificate requests, our ID payload.

use policy::model::algorithm::{AuthMethod, Hash};
use policy::model::identity::Identity;
use policy::model::secret::Secret;

use super::proof::{HashOf, Shown, read_identity};
use super::proposal::Agreed;
use crate::config::RemoteConfig;
use crate::context::Path;
use crate::crypto::hash::{Transcript, hash_i, hash_r};
use crate::crypto::iv::{last_block, phase1_iv};
use crate::crypto::skeyid::{Skeyids, derive_psk, derive_signature, phase1_key};
use crate::error::ExchangeError;
use crate::handshake::{Facts, Step};
use crate::message::{Cookies, Message, Opened, Sealer, message};
use crate::payloads::{Shape, bodies, body};
use crate::protection::Protection;
use crate::report::{Event, Level};
use crate::wire::cert::CertRequest;
use crate::wire::identification::IdPayload;
use crate::wire::message::{RawPayload, Tail, decode_chain, encode_chain, first_kind};
use crate::wire::number::{CertEncoding, ExchangeType, Flags, PayloadType};

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

/// What only the two sides know.
pub(crate) struct Secrets {
    pub(crate) gxy: Secret,
    /// With authentication by pre-shared key.
    pub(crate) psk: Option<Secret>,
}

impl Keyed {
    /// Derives everything (RFC 2409 §5).
    pub(crate) fn new(agreed: Agreed, cookies: Cookies, publics: Publics, secrets: &Secrets, sai: Vec<u8>) -> Self {
        let Publics { ni, nr, gxi, gxr } = publics;
        let Secrets { gxy, psk } = secrets;
        let Cookies { initiator, responder } = cookies;
        let skeyids = match psk {
            Some(psk) => derive_psk(agreed.hash, psk, &ni, &nr, gxy, initiator, responder),
            None => derive_signature(agreed.hash, &ni, &nr, gxy, initiator, responder),
        };
        let key = phase1_key(agreed.hash, &skeyids.e, agreed.cipher);
        let last_block = phase1_iv(agreed.hash, agreed.cipher, &gxi, &gxr);
        let sealer = Sealer { cipher: agreed.cipher, hash: agreed.hash, key, last_block };
        Self { agreed, skeyids, sealer, cookies, gxi, gxr, sai }
    }

    /// HASH_I over the initiator's ID body.
    pub(crate) fn hash_i(&self, id_body: &[u8]) -> Vec<u8> {
        hash_i(self.proof_hash(), &self.skeyids.base, &self.transcript(), id_body)
    }

    /// HASH_R over the responder's ID body.
    pub(crate) fn hash_r(&self, id_body: &[u8]) -> Vec<u8> {
        hash_r(self.proof_hash(), &self.skeyids.base, &self.transcript(), id_body)
    }

    /// What HASH_I and HASH_R are made with: ECDSA brings its own (RFC 4754 §7).
    fn proof_hash(&self) -> Hash {
        self.agreed.auth.signature_hash().unwrap_or(self.agreed.hash)
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

    /// Encrypts a message of phase 1 and moves the chain on.
    pub(crate) fn seal(
        &mut self,
        exchange: ExchangeType,
        payloads: &[(PayloadType, Vec<u8>)],
    ) -> Result<Vec<u8>, ExchangeError> {
        let (sealed, last) = self.sealer.seal(&self.sealer.last_block, encode_chain(payloads))?;
        self.sealer.last_block = last;
        Ok(message(self.cookies, exchange, 0, first_kind(payloads), Flags::ENCRYPTED, &sealed))
    }
}

/// A message of phase 1 in clear.
pub(crate) fn clear(exchange: ExchangeType, cookies: Cookies, payloads: &[(PayloadType, Vec<u8>)]) -> Vec<u8> {
    message(cookies, exchange, 0, first_kind(payloads), Flags::NONE, &encode_chain(payloads))
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

/// What MM5 and MM6 carry with pre-shared keys (RFC 2409 §5.4).
const ID_HASH: Shape = Shape {
    must: &[PayloadType::ID, PayloadType::HASH],
    may: &[],
    many: &[PayloadType::CERT, PayloadType::CERTREQ, PayloadType::NOTIFY],
    first: None,
};

/// Decrypts and reads MM5 or MM6; changes nothing. Gives the block that continues the chain too.
///
/// # Errors
/// [`ExchangeError::PskDiffers`] where the other side's key was another one, most likely.
pub(crate) fn read_last(keyed: &Keyed, message: &Message<'_>) -> Result<(Vec<u8>, Shown), ExchangeError> {
    let signed = keyed.agreed.auth.peer_signs();
    let Opened { plain, last_block } = message.open(&keyed.sealer, &keyed.sealer.last_block)?;
    let read = || {
        let payloads = decode_chain(message.header.next, &plain, Tail::Padding)?;
        let shape = if signed { &ID_SIG } else { &ID_HASH };
        shape.check(&payloads)?;
        let id_body = body(&payloads, PayloadType::ID)?.to_vec();
        let identity = read_identity(&id_body)?;
        Shown::read(&payloads, (id_body, identity), signed)
    };
    match read() {
        Ok(shown) => Ok((last_block, shown)),
        // Under another key the plaintext is noise.
        Err(_) if keyed.agreed.auth.is_psk() => Err(ExchangeError::PskDiffers),
        Err(error) => Err(error),
    }
}

/// What AM1 carries.
pub(crate) const AGGRESSIVE_FIRST: Shape = Shape {
    must: &[PayloadType::SA, PayloadType::KE, PayloadType::NONCE, PayloadType::ID],
    may: &[],
    many: &[PayloadType::CERTREQ, PayloadType::NOTIFY],
    first: Some(PayloadType::SA),
};

/// What AM2 carries; which of HASH and SIG must stand is asked once the method is known.
pub(crate) const AGGRESSIVE_ANSWER: Shape = Shape {
    must: &[PayloadType::SA, PayloadType::KE, PayloadType::NONCE, PayloadType::ID],
    may: &[PayloadType::HASH, PayloadType::SIG],
    many: &[PayloadType::CERT, PayloadType::CERTREQ, PayloadType::NOTIFY],
    first: Some(PayloadType::SA),
};

/// What AM3 carries with signatures.
const ONLY_SIG: Shape = Shape {
    must: &[PayloadType::SIG],
    may: &[],
    many: &[PayloadType::CERT, PayloadType::CERTREQ, PayloadType::NOTIFY],
    first: None,
};

/// What AM3 carries with pre-shared keys.
const ONLY_HASH: Shape = Shape { must: &[PayloadType::HASH], may: &[], many: &[PayloadType::NOTIFY], first: None };

/// Reads AM3, encrypted or in clear: RFC 2409 §5 leaves that to the initiator (IKEV1 K-7). Gives the block that continues
/// the chain, if there is one, and judges the NAT-D payloads once the hash is found right.
///
/// # Errors
/// As [`read_last`]; [`ExchangeError::HashMismatch`].
pub(crate) fn read_third(
    keyed: &Keyed,
    message: &Message<'_>,
    who: (Vec<u8>, Identity),
    hash_of: HashOf,
    facts: &mut Facts<'_>,
) -> Result<(Option<Vec<u8>>, Shown), ExchangeError> {
    let signed = keyed.agreed.auth.peer_signs();
    let shape = if signed { &ONLY_SIG } else { &ONLY_HASH };
    let (opened, noise) = if message.header.flags.contains(Flags::ENCRYPTED) {
        (Some(message.open(&keyed.sealer, &keyed.sealer.last_block)?), keyed.agreed.auth.is_psk())
    } else {
        (None, false)
    };
    let read = |facts: &mut Facts<'_>| {
        let payloads = match &opened {
            Some(opened) => {
                let payloads = decode_chain(message.header.next, &opened.plain, Tail::Padding)?;
                shape.check(&payloads)?;
                payloads
            }
            None => message.clear(shape)?,
        };
        let shown = Shown::read(&payloads, who, signed)?;
        shown.check_hash(keyed, hash_of)?;
        facts.discover_nat(keyed.agreed.hash, keyed.cookies, &payloads);
        Ok(shown)
    };
    match read(facts) {
        Ok(shown) => Ok((opened.map(|opened| opened.last_block), shown)),
        // Under another key the plaintext is noise.
        Err(_) if noise => Err(ExchangeError::PskDiffers),
        Err(error) => Err(error),
    }
}

/// More certificate requests than this are not sent: a system's whole CA directory would not fit a datagram.
const MOST_REQUESTS: usize = 8;

/// Our certificate requests, if the peer is to sign: one for each trust anchor, or one that asks for any (RFC 4945 §3.2).
pub(crate) fn our_requests(remote: &RemoteConfig, auth: AuthMethod) -> Vec<(PayloadType, Vec<u8>)> {
    if !remote.remote.send_cr || !auth.peer_signs() || remote.raw_keys.peers.is_some() {
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
pub(crate) fn our_id(remote: &RemoteConfig, path: Path) -> Vec<u8> {
    let identity = remote.my_identity.clone().unwrap_or(Identity::Address(path.local.ip()));
    IdPayload::from_identity(&identity, 0, 0).encode()
}
