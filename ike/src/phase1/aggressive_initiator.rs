//! Aggressive mode as initiator: sends AM1 and AM3 (RFC 2409 §5.1, §5.4). One struct per awaited event.
//!
//! The peer is authenticated by AM2, before our own proof is made; AM3 ends the exchange. Its answer is the first message
//! of phase 2; a peer that lost it repeats AM2, which is answered from what the ISAKMP SA keeps.

use std::sync::Arc;

use policy::model::remote::ExchangeMode;

use super::exchange::{AGGRESSIVE_ANSWER, Keyed, Publics, Secrets, clear, note_foreign_requests, our_id, our_requests};
use super::proof::{
    Claim, Established, HashOf, Proving, Shown, Verifying, made, our_proof, prove, read_identity, verify,
};
use super::proposal::{aggressive_group, check_answer, offer};
use crate::crypto::provider::DhPair;
use crate::error::ExchangeError;
use crate::event::JobId;
use crate::handshake::{Facts, Step};
use crate::message::{Cookies, Message};
use crate::nat::floated;
use crate::payloads::{body, nonce};
use crate::step::{Next, Refused, Stepped};
use crate::wire::header::Cookie;
use crate::wire::number::{ExchangeType, PayloadType};
use crate::wire::sa::SaPayload;

/// Where an aggressive mode of ours stands.
#[derive(Debug)]
pub(crate) enum AggressiveInitiator {
    /// AM1 sent.
    ExpectAnswer(Box<ExpectAnswer>),
    /// AM2 received, the peer's certificate is before the judge.
    AwaitVerdict(Box<AwaitVerdict>),
    /// The peer is authenticated, our private key is at work.
    AwaitSignature(Box<AwaitSignature>),
}

/// Waits for AM2: the responder's choice, public value, identity and proof.
#[derive(Debug)]
pub(crate) struct ExpectAnswer {
    cookie: Cookie,
    sai: Vec<u8>,
    pair: DhPair,
    ni: Vec<u8>,
    id_body: Vec<u8>,
}

/// Waits for the verdict over the responder's certificate.
#[derive(Debug)]
pub(crate) struct AwaitVerdict {
    claim: Claim,
    id_body: Vec<u8>,
}

/// Waits for our signature over HASH_I.
#[derive(Debug)]
pub(crate) struct AwaitSignature {
    established: Established,
    job: JobId,
}

/// The hash that the responder proves itself with.
const THEIRS: HashOf = Keyed::hash_r;

/// Begins: AM1, our proposals with what all of them need.
pub(crate) fn begin(facts: &mut Facts<'_>) -> Result<(AggressiveInitiator, Vec<u8>), ExchangeError> {
    let means = facts.means(ExchangeMode::Aggressive);
    let remote = Arc::clone(facts.remote);
    let sai = offer(&remote.remote, means, ExchangeMode::Aggressive)?.encode();
    let group = aggressive_group(&remote.remote, means)
        .ok_or_else(|| ExchangeError::Local(format!("remote {}: nothing to propose", remote.remote.name)))?;
    let pair = facts.cx.provider.dh_generate(group)?;
    let ni = facts.cx.random(remote.remote.nonce_size);
    let id_body = our_id(&remote, facts.path);
    let cookie = facts.cx.cookie();
    let mut payloads = vec![
        (PayloadType::SA, sai.clone()),
        (PayloadType::KE, pair.public.clone()),
        (PayloadType::NONCE, ni.clone()),
        (PayloadType::ID, id_body.clone()),
    ];
    if let Some(signed) = remote.remote.proposals.iter().find(|proposal| proposal.auth.peer_signs()) {
        payloads.extend(our_requests(&remote, signed.auth));
    }
    let cookies = Cookies { initiator: cookie, responder: Cookie::ZERO };
    let datagram = clear(ExchangeType::AGGRESSIVE, cookies, &facts.with_vendor_ids(payloads));
    let state = ExpectAnswer { cookie, sai, pair, ni, id_body };
    Ok((AggressiveInitiator::ExpectAnswer(Box::new(state)), datagram))
}

impl AggressiveInitiator {
    /// The initiator's cookie of this exchange, and the responder's once it is known.
    pub(crate) fn cookies(&self) -> Cookies {
        match self {
            Self::ExpectAnswer(state) => Cookies { initiator: state.cookie, responder: Cookie::ZERO },
            Self::AwaitVerdict(state) => state.claim.keyed.cookies,
            Self::AwaitSignature(state) => state.established.keyed.cookies,
        }
    }

    /// Key state, once both public values are known.
    pub(crate) fn keyed(&self) -> Option<&Keyed> {
        match self {
            Self::ExpectAnswer(_) => None,
            Self::AwaitVerdict(state) => Some(&state.claim.keyed),
            Self::AwaitSignature(state) => Some(&state.established.keyed),
        }
    }

    /// Takes the next event of the exchange. Nothing of the peer is awaited while our own side works.
    pub(crate) fn step(self, event: Step<'_>, facts: &mut Facts<'_>) -> Stepped<Self, Established> {
        match (self, event) {
            (Self::ExpectAnswer(state), Step::Message(message)) => state.message(message, facts),
            (Self::AwaitVerdict(state), Step::Judged(job, result)) if state.claim.job == job => {
                let AwaitVerdict { claim, id_body } = *state;
                answer(claim.settle(result, facts)?, &id_body, facts)
            }
            (Self::AwaitSignature(state), Step::Signed(job, result)) if state.job == job => {
                finish(state.established, made(result)?, facts)
            }
            (waiting, _) => Ok(Next::Wait(waiting)),
        }
    }
}

impl ExpectAnswer {
    fn message(
        self: Box<Self>,
        message: &Message<'_>,
        facts: &mut Facts<'_>,
    ) -> Stepped<AggressiveInitiator, Established> {
        let (keyed, peer) = match self.read(message, facts) {
            Ok(read) => read,
            // What proves nothing is a forgery or a mistake; neither ends the exchange.
            Err(error) => return Err(Refused::stay(error, AggressiveInitiator::ExpectAnswer(self))),
        };
        match verify(keyed, peer, THEIRS, facts)? {
            Verifying::Judging(claim) => {
                let next = AwaitVerdict { claim: *claim, id_body: self.id_body };
                Ok(Next::Wait(AggressiveInitiator::AwaitVerdict(Box::new(next))))
            }
            Verifying::Proved(established) => answer(*established, &self.id_body, facts),
        }
    }

    fn read(&self, message: &Message<'_>, facts: &mut Facts<'_>) -> Result<(Keyed, Shown), ExchangeError> {
        let payloads = message.clear(&AGGRESSIVE_ANSWER)?;
        let sa = SaPayload::decode(body(&payloads, PayloadType::SA)?)?;
        let means = facts.means(ExchangeMode::Aggressive);
        let agreed = check_answer(&sa, &facts.remote.remote, means, ExchangeMode::Aggressive)?;
        let gxr = body(&payloads, PayloadType::KE)?.to_vec();
        let nr = nonce(&payloads)?;
        let id_body = body(&payloads, PayloadType::ID)?.to_vec();
        let identity = read_identity(&id_body)?;
        let gxy = facts.cx.provider.dh_agree(agreed.group, &self.pair.secret, &gxr)?;
        let cookies = Cookies { initiator: self.cookie, responder: message.header.responder };
        let secrets = Secrets { gxy, psk: facts.key_by_identity(agreed.auth, &identity) };
        let publics = Publics { ni: self.ni.clone(), nr, gxi: self.pair.public.clone(), gxr };
        let keyed = Keyed::new(agreed, cookies, publics, &secrets, self.sai.clone());
        let peer = Shown::read(&payloads, (id_body, identity), agreed.auth.peer_signs())?;
        peer.check_hash(&keyed, THEIRS)?;
        note_foreign_requests(facts, &payloads)?;
        facts.read_vendor_ids(&payloads);
        facts.discover_nat(agreed.hash, cookies, &payloads);
        Ok((keyed, peer))
    }
}

/// The peer is authenticated: our own proof follows.
fn answer(
    established: Established,
    id_body: &[u8],
    facts: &mut Facts<'_>,
) -> Stepped<AggressiveInitiator, Established> {
    match prove(&established.keyed, established.keyed.hash_i(id_body), facts)? {
        Proving::Signing(job) => {
            Ok(Next::Wait(AggressiveInitiator::AwaitSignature(Box::new(AwaitSignature { established, job }))))
        }
        Proving::Ready(hash) => finish(established, hash, facts),
    }
}

/// AM3, encrypted. Its NAT-D payloads name the ports that it goes by.
fn finish(
    mut established: Established,
    proof: Vec<u8>,
    facts: &mut Facts<'_>,
) -> Stepped<AggressiveInitiator, Established> {
    let keyed = &mut established.keyed;
    facts.path = floated(facts.path, &facts.traits.path_nat, facts.cx.config.natt_port).unwrap_or(facts.path);
    let mut payloads = our_proof(keyed, facts.remote, proof, facts.first_contact);
    payloads.extend(facts.nat_discovery(keyed.agreed.hash, keyed.cookies));
    let datagram = keyed.seal(ExchangeType::AGGRESSIVE, &payloads)?;
    Ok(Next::Done(Box::new(established), Some(datagram)))
}
