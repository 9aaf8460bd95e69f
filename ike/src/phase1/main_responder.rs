//! Main mode as responder: answers with MM2, MM4, MM6 (RFC 2409 §5.1). One struct per awaited event.

use super::exchange::{
    KE_NONCE, Keyed, Publics, SA_ONLY, Secrets, clear, note_foreign_requests, our_id, our_requests, read_last,
};
use super::proof::{Claim, Established, Proving, Verifying, made, our_proof, prove, verify};
use super::proposal::{Agreed, Choice};
use crate::error::ExchangeError;
use crate::event::JobId;
use crate::handshake::{Facts, Step};
use crate::message::{Cookies, Message};
use crate::payloads::{body, nonce};
use crate::step::{Next, Refused, Stepped};
use crate::wire::number::{ExchangeType, PayloadType};
use crate::wire::sa::SaPayload;

/// Where a main mode of the peer's stands.
#[derive(Debug)]
pub(crate) enum MainResponder {
    /// MM2 sent.
    ExpectKeNonce(Box<ExpectKeNonce>),
    /// MM4 sent.
    ExpectProof(Box<ExpectProof>),
    /// MM5 received, the peer's certificate is before the judge.
    AwaitVerdict(Box<Claim>),
    /// The peer is authenticated, our private key is at work.
    AwaitSignature(Box<AwaitSignature>),
}

/// Waits for MM3: the initiator's public value and nonce. Nothing costly was done so far.
#[derive(Debug)]
pub(crate) struct ExpectKeNonce {
    cookies: Cookies,
    agreed: Agreed,
    sai: Vec<u8>,
}

/// Waits for MM5: the initiator's identity and proof.
#[derive(Debug)]
pub(crate) struct ExpectProof {
    pub(crate) keyed: Keyed,
}

/// Waits for our signature over HASH_R.
#[derive(Debug)]
pub(crate) struct AwaitSignature {
    established: Established,
    job: JobId,
    id_body: Vec<u8>,
}

/// Begins with MM1: chooses, answers with MM2.
///
/// # Errors
/// As [`Facts::choose_remote`]; the caller has no state to keep.
pub(crate) fn begin(message: &Message<'_>, facts: &mut Facts<'_>) -> Result<(MainResponder, Vec<u8>), ExchangeError> {
    let payloads = message.clear(&SA_ONLY)?;
    let sai = body(&payloads, PayloadType::SA)?.to_vec();
    let Choice { agreed, answer } = facts.choose_remote(&SaPayload::decode(&sai)?)?;
    facts.read_vendor_ids(&payloads);
    let cookies = Cookies { initiator: message.header.initiator, responder: facts.cx.cookie() };
    let datagram = clear(ExchangeType::MAIN, cookies, &facts.with_vendor_ids(vec![(PayloadType::SA, answer.encode())]));
    Ok((MainResponder::ExpectKeNonce(Box::new(ExpectKeNonce { cookies, agreed, sai })), datagram))
}

impl MainResponder {
    /// Both cookies.
    pub(crate) fn cookies(&self) -> Cookies {
        match self {
            Self::ExpectKeNonce(state) => state.cookies,
            Self::ExpectProof(state) => state.keyed.cookies,
            Self::AwaitVerdict(state) => state.keyed.cookies,
            Self::AwaitSignature(state) => state.established.keyed.cookies,
        }
    }

    /// Key state, once both public values are known.
    pub(crate) fn keyed(&self) -> Option<&Keyed> {
        match self {
            Self::ExpectKeNonce(_) => None,
            Self::ExpectProof(state) => Some(&state.keyed),
            Self::AwaitVerdict(state) => Some(&state.keyed),
            Self::AwaitSignature(state) => Some(&state.established.keyed),
        }
    }

    /// Takes the next event of the exchange. Nothing of the peer is awaited while our own side works.
    pub(crate) fn step(self, event: Step<'_>, facts: &mut Facts<'_>) -> Stepped<Self, Established> {
        match (self, event) {
            (Self::ExpectKeNonce(state), Step::Message(message)) => state.message(message, facts),
            (Self::ExpectProof(state), Step::Message(message)) => state.message(message, facts),
            (Self::AwaitVerdict(claim), Step::Judged(job, result)) if claim.job == job => {
                accepted(claim.settle(result, facts)?, facts)
            }
            (Self::AwaitSignature(state), Step::Signed(job, result)) if state.job == job => state.signed(result, facts),
            (waiting, _) => Ok(Next::Wait(waiting)),
        }
    }
}

impl ExpectKeNonce {
    fn message(self: Box<Self>, message: &Message<'_>, facts: &mut Facts<'_>) -> Stepped<MainResponder, Established> {
        let read = message.clear(&KE_NONCE).and_then(|payloads| {
            note_foreign_requests(facts, &payloads)?;
            let (gxi, ni) = (body(&payloads, PayloadType::KE)?.to_vec(), nonce(&payloads)?);
            facts.discover_nat(self.agreed.hash, self.cookies, &payloads);
            Ok((gxi, ni))
        });
        let (gxi, ni) = match read {
            Ok(read) => read,
            Err(error) => return Err(Refused::stay(error, MainResponder::ExpectKeNonce(self))),
        };
        let pair = facts.cx.provider.dh_generate(self.agreed.group)?;
        // Refuses a public value out of range before it is used and before MM4 is sent (ATTACKS A-25).
        let gxy = facts.cx.provider.dh_agree(self.agreed.group, &pair.secret, &gxi)?;
        let nr = facts.cx.random(facts.remote.remote.nonce_size);
        let Self { cookies, agreed, sai } = *self;
        let mut payloads = vec![(PayloadType::KE, pair.public.clone()), (PayloadType::NONCE, nr.clone())];
        payloads.extend(our_requests(facts.remote, agreed.auth));
        payloads.extend(facts.nat_discovery(agreed.hash, cookies));
        let datagram = clear(ExchangeType::MAIN, cookies, &payloads);
        let secrets = Secrets { gxy, psk: facts.key_by_address(agreed.auth) };
        let keyed = Keyed::new(agreed, cookies, Publics { ni, nr, gxi, gxr: pair.public }, &secrets, sai);
        Ok(Next::Send(MainResponder::ExpectProof(Box::new(ExpectProof { keyed })), datagram))
    }
}

impl ExpectProof {
    fn message(self: Box<Self>, message: &Message<'_>, facts: &mut Facts<'_>) -> Stepped<MainResponder, Established> {
        let (last_block, shown) = match read_last(&self.keyed, message) {
            Ok(read) => read,
            Err(error) => return Err(Refused::stay(error, MainResponder::ExpectProof(self))),
        };
        let mut keyed = self.keyed;
        keyed.sealer.last_block = last_block;
        match verify(keyed, shown, Keyed::hash_i, facts)? {
            Verifying::Judging(claim) => Ok(Next::Wait(MainResponder::AwaitVerdict(claim))),
            Verifying::Proved(established) => accepted(*established, facts),
        }
    }
}

/// The peer is authenticated: our own proof follows.
fn accepted(established: Established, facts: &mut Facts<'_>) -> Stepped<MainResponder, Established> {
    let id_body = our_id(facts.remote, facts.path);
    match prove(&established.keyed, established.keyed.hash_r(&id_body), facts)? {
        Proving::Signing(job) => {
            let next = AwaitSignature { established, job, id_body };
            Ok(Next::Wait(MainResponder::AwaitSignature(Box::new(next))))
        }
        Proving::Ready(hash) => last_message(established, id_body, hash, facts),
    }
}

impl AwaitSignature {
    fn signed(
        self: Box<Self>,
        result: Result<Vec<u8>, String>,
        facts: &mut Facts<'_>,
    ) -> Stepped<MainResponder, Established> {
        let signature = made(result)?;
        let Self { established, id_body, .. } = *self;
        last_message(established, id_body, signature, facts)
    }
}

fn last_message(
    mut established: Established,
    id_body: Vec<u8>,
    proof: Vec<u8>,
    facts: &Facts<'_>,
) -> Stepped<MainResponder, Established> {
    let mut payloads = vec![(PayloadType::ID, id_body)];
    payloads.extend(our_proof(&established.keyed, facts.remote, proof, false));
    let datagram = established.keyed.seal(ExchangeType::MAIN, &payloads)?;
    Ok(Next::Done(Box::new(established), Some(datagram)))
}
