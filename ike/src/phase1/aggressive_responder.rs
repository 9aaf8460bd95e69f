//! Aggressive mode as responder: answers with AM2 (RFC 2409 §5.1, §5.4). One struct per awaited event.
//!
//! One datagram with any source address makes us do a Diffie-Hellman exchange, and with certificates a signature: the
//! endpoint counts them (ATTACKS D-5), nothing is done or kept before a proposal is accepted, and a peer that we
//! do not know is answered as one with another key is.

use policy::model::identity::Identity;
use policy::model::remote::RemoteSelector;

use super::exchange::{
    AGGRESSIVE_FIRST, Keyed, Publics, Secrets, clear, note_foreign_requests, our_id, our_requests, read_third,
};
use super::proof::{Claim, Established, HashOf, Proving, Verifying, made, our_proof, prove, read_identity, verify};
use super::proposal::Choice;
use crate::error::ExchangeError;
use crate::event::JobId;
use crate::handshake::{Facts, Step};
use crate::message::{Cookies, Message};
use crate::payloads::{bodies, body, nonce};
use crate::step::{Next, Refused, Stepped};
use crate::wire::number::{ExchangeType, PayloadType};
use crate::wire::sa::SaPayload;

/// Where an aggressive mode of the peer's stands.
#[derive(Debug)]
pub(crate) enum AggressiveResponder {
    /// AM1 received, our private key is at work.
    AwaitSignature(Box<AwaitSignature>),
    /// AM2 sent.
    ExpectProof(Box<ExpectProof>),
    /// AM3 received, the peer's certificate is before the judge.
    AwaitVerdict(Box<Claim>),
}

/// Waits for our signature over HASH_R.
#[derive(Debug)]
pub(crate) struct AwaitSignature {
    next: ExpectProof,
    job: JobId,
    answer: Answer,
}

/// AM2, but for our proof.
#[derive(Debug)]
struct Answer {
    /// SA, KE, NONCE, ID.
    front: Vec<(PayloadType, Vec<u8>)>,
    /// The peer asked for certificates, or the block is for its address alone. Others, who may be anybody with any
    /// source address, get none unasked: AM2 is not made an amplifier (ATTACKS section 1).
    certificates: bool,
}

/// Waits for AM3: the initiator's proof.
#[derive(Debug)]
pub(crate) struct ExpectProof {
    keyed: Keyed,
    id_body: Vec<u8>,
    identity: Identity,
}

/// The hash that the initiator proves itself with.
const THEIRS: HashOf = Keyed::hash_i;

/// Begins with AM1: chooses, and answers with AM2 at once if no signature is to be made for it.
///
/// # Errors
/// As [`Facts::choose_remote`]; the caller has no state to keep.
pub(crate) fn begin(
    message: &Message<'_>,
    facts: &mut Facts<'_>,
) -> Result<(AggressiveResponder, Option<Vec<u8>>), ExchangeError> {
    let payloads = message.clear(&AGGRESSIVE_FIRST)?;
    let sai = body(&payloads, PayloadType::SA)?.to_vec();
    let Choice { agreed, answer } = facts.choose_remote(&SaPayload::decode(&sai)?)?;
    let (gxi, ni) = (body(&payloads, PayloadType::KE)?.to_vec(), nonce(&payloads)?);
    let id_body = body(&payloads, PayloadType::ID)?.to_vec();
    let identity = read_identity(&id_body)?;
    note_foreign_requests(facts, &payloads)?;
    let known = facts.prefer(&identity);
    facts.read_vendor_ids(&payloads);
    facts.expect_discovery();
    let pair = facts.cx.provider.dh_generate(agreed.group)?;
    let gxy = facts.cx.provider.dh_agree(agreed.group, &pair.secret, &gxi)?;
    let nr = facts.cx.random(facts.remote.remote.nonce_size);
    let psk = match known {
        true => facts.key_by_identity(agreed.auth, &identity),
        false => agreed.auth.is_psk().then(|| facts.stand_in()),
    };
    let cookies = Cookies { initiator: message.header.initiator, responder: facts.cx.cookie() };
    let own_id = our_id(facts.remote, facts.path);
    let front = vec![
        (PayloadType::SA, answer.encode()),
        (PayloadType::KE, pair.public.clone()),
        (PayloadType::NONCE, nr.clone()),
        (PayloadType::ID, own_id.clone()),
    ];
    let publics = Publics { ni, nr, gxi, gxr: pair.public };
    let keyed = Keyed::new(agreed, cookies, publics, &Secrets { gxy, psk }, sai);
    let hash = keyed.hash_r(&own_id);
    let next = ExpectProof { keyed, id_body, identity };
    let asked = bodies(&payloads, PayloadType::CERTREQ).next().is_some();
    let certificates = asked || facts.remote.remote.selector != RemoteSelector::Anonymous;
    let answer = Answer { front, certificates };
    match prove(&next.keyed, hash, facts)? {
        Proving::Signing(job) => {
            let state = AwaitSignature { next, job, answer };
            Ok((AggressiveResponder::AwaitSignature(Box::new(state)), None))
        }
        Proving::Ready(hash) => {
            let datagram = answer.finish(&next.keyed, hash, facts);
            Ok((AggressiveResponder::ExpectProof(Box::new(next)), Some(datagram)))
        }
    }
}

impl Answer {
    /// AM2, in clear.
    fn finish(self, keyed: &Keyed, proof: Vec<u8>, facts: &mut Facts<'_>) -> Vec<u8> {
        let mut payloads = self.front;
        let proof = our_proof(keyed, facts.remote, proof, false);
        payloads.extend(proof.into_iter().filter(|(kind, _)| self.certificates || *kind != PayloadType::CERT));
        payloads.extend(our_requests(facts.remote, keyed.agreed.auth));
        payloads.extend(facts.nat_discovery(keyed.agreed.hash, keyed.cookies));
        clear(ExchangeType::AGGRESSIVE, keyed.cookies, &facts.with_vendor_ids(payloads))
    }
}

impl AggressiveResponder {
    /// Both cookies.
    pub(crate) fn cookies(&self) -> Cookies {
        self.keyed().cookies
    }

    /// Key state.
    pub(crate) fn keyed(&self) -> &Keyed {
        match self {
            Self::AwaitSignature(state) => &state.next.keyed,
            Self::ExpectProof(state) => &state.keyed,
            Self::AwaitVerdict(claim) => &claim.keyed,
        }
    }

    /// Takes the next event of the exchange. Nothing of the peer is awaited while our own side works.
    pub(crate) fn step(self, event: Step<'_>, facts: &mut Facts<'_>) -> Stepped<Self, Established> {
        match (self, event) {
            (Self::AwaitSignature(state), Step::Signed(job, result)) if state.job == job => {
                let AwaitSignature { next, answer, .. } = *state;
                let datagram = answer.finish(&next.keyed, made(result)?, facts);
                Ok(Next::Send(Self::ExpectProof(Box::new(next)), datagram))
            }
            (Self::ExpectProof(state), Step::Message(message)) => state.message(message, facts),
            (Self::AwaitVerdict(claim), Step::Judged(job, result)) if claim.job == job => {
                Ok(Next::Done(Box::new(claim.settle(result, facts)?), None))
            }
            (waiting, _) => Ok(Next::Wait(waiting)),
        }
    }
}

impl ExpectProof {
    fn message(
        self: Box<Self>,
        message: &Message<'_>,
        facts: &mut Facts<'_>,
    ) -> Stepped<AggressiveResponder, Established> {
        let who = (self.id_body.clone(), self.identity.clone());
        let (last_block, peer) = match read_third(&self.keyed, message, who, THEIRS, facts) {
            Ok(read) => read,
            Err(error) => return Err(Refused::stay(error, AggressiveResponder::ExpectProof(self))),
        };
        let mut keyed = self.keyed;
        if let Some(last_block) = last_block {
            keyed.sealer.last_block = last_block;
        }
        match verify(keyed, peer, THEIRS, facts)? {
            Verifying::Judging(claim) => Ok(Next::Wait(AggressiveResponder::AwaitVerdict(claim))),
            Verifying::Proved(established) => Ok(Next::Done(established, None)),
        }
    }
}
