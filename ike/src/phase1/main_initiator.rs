//! Main mode as initiator: sends MM1, MM3, MM5 (RFC 2409 §5.1, §5.4). One struct per awaited event.

use policy::model::remote::ExchangeMode;

use super::exchange::{
    KE_NONCE, Keyed, Publics, SA_ONLY, Secrets, clear, note_foreign_requests, our_id, our_requests, read_last,
};
use super::proof::{Claim, Established, Proving, Verifying, made, our_proof, prove, verify};
use super::proposal::{Agreed, check_answer, offer};
use crate::crypto::provider::DhPair;
use crate::error::ExchangeError;
use crate::event::JobId;
use crate::handshake::{Facts, Step};
use crate::message::{Cookies, Message};
use crate::payloads::{body, nonce};
use crate::step::{Next, Refused, Stepped};
use crate::wire::header::Cookie;
use crate::wire::number::{ExchangeType, PayloadType};
use crate::wire::sa::SaPayload;

/// Where a main mode of ours stands.
#[derive(Debug)]
pub(crate) enum MainInitiator {
    /// MM1 sent.
    ExpectSa(Box<ExpectSa>),
    /// MM3 sent.
    ExpectKeNonce(Box<ExpectKeNonce>),
    /// MM4 received, our private key is at work.
    AwaitSignature(Box<AwaitSignature>),
    /// MM5 sent.
    ExpectProof(Box<ExpectProof>),
    /// MM6 received, the peer's certificate is before the judge.
    AwaitVerdict(Box<Claim>),
}

/// Waits for MM2: the responder's choice.
#[derive(Debug)]
pub(crate) struct ExpectSa {
    cookie: Cookie,
    sai: Vec<u8>,
}

/// Waits for MM4: the responder's public value and nonce.
#[derive(Debug)]
pub(crate) struct ExpectKeNonce {
    cookies: Cookies,
    agreed: Agreed,
    sai: Vec<u8>,
    pair: DhPair,
    ni: Vec<u8>,
}

/// Waits for our signature over HASH_I.
#[derive(Debug)]
pub(crate) struct AwaitSignature {
    keyed: Keyed,
    job: JobId,
    id_body: Vec<u8>,
}

/// Waits for MM6: the responder's identity and proof.
#[derive(Debug)]
pub(crate) struct ExpectProof {
    pub(crate) keyed: Keyed,
}

/// Begins: MM1, our proposals.
pub(crate) fn begin(facts: &mut Facts<'_>) -> Result<(MainInitiator, Vec<u8>), ExchangeError> {
    let sai = offer(&facts.remote.remote, facts.means(ExchangeMode::Main), ExchangeMode::Main)?.encode();
    let cookie = facts.cx.cookie();
    let cookies = Cookies { initiator: cookie, responder: Cookie([0; 8]) };
    let datagram = clear(ExchangeType::MAIN, cookies, &facts.with_vendor_ids(vec![(PayloadType::SA, sai.clone())]));
    Ok((MainInitiator::ExpectSa(Box::new(ExpectSa { cookie, sai })), datagram))
}

impl MainInitiator {
    /// The initiator's cookie of this exchange, and the responder's once it is known.
    pub(crate) fn cookies(&self) -> Cookies {
        match self {
            Self::ExpectSa(state) => Cookies { initiator: state.cookie, responder: Cookie([0; 8]) },
            Self::ExpectKeNonce(state) => state.cookies,
            Self::AwaitSignature(state) => state.keyed.cookies,
            Self::ExpectProof(state) => state.keyed.cookies,
            Self::AwaitVerdict(state) => state.keyed.cookies,
        }
    }

    /// Key state, once both public values are known.
    pub(crate) fn keyed(&self) -> Option<&Keyed> {
        match self {
            Self::ExpectSa(_) | Self::ExpectKeNonce(_) => None,
            Self::AwaitSignature(state) => Some(&state.keyed),
            Self::ExpectProof(state) => Some(&state.keyed),
            Self::AwaitVerdict(state) => Some(&state.keyed),
        }
    }

    /// Takes the next event of the exchange. Nothing of the peer is awaited while our own side works.
    pub(crate) fn step(self, event: Step<'_>, facts: &mut Facts<'_>) -> Stepped<Self, Established> {
        match (self, event) {
            (Self::ExpectSa(state), Step::Message(message)) => state.message(message, facts),
            (Self::ExpectKeNonce(state), Step::Message(message)) => state.message(message, facts),
            (Self::AwaitSignature(state), Step::Signed(job, result)) if state.job == job => state.signed(result, facts),
            (Self::ExpectProof(state), Step::Message(message)) => state.message(message, facts),
            (Self::AwaitVerdict(claim), Step::Judged(job, result)) if claim.job == job => {
                Ok(Next::Done(Box::new(claim.settle(result, facts)?), None))
            }
            (waiting, _) => Ok(Next::Wait(waiting)),
        }
    }
}

impl ExpectSa {
    fn message(self: Box<Self>, message: &Message<'_>, facts: &mut Facts<'_>) -> Stepped<MainInitiator, Established> {
        let agreed = match self.read(message, facts) {
            Ok(agreed) => agreed,
            // MM2 is not authenticated: a forged one must not end the exchange.
            Err(error) => return Err(Refused::stay(error, MainInitiator::ExpectSa(self))),
        };
        let cookies = Cookies { initiator: self.cookie, responder: message.header.responder };
        let pair = facts.cx.provider.dh_generate(agreed.group)?;
        let ni = facts.cx.random(facts.remote.remote.nonce_size);
        let mut payloads = vec![(PayloadType::KE, pair.public.clone()), (PayloadType::NONCE, ni.clone())];
        payloads.extend(our_requests(facts.remote, agreed.auth));
        payloads.extend(facts.nat_discovery(agreed.hash, cookies));
        let datagram = clear(ExchangeType::MAIN, cookies, &payloads);
        let next = ExpectKeNonce { cookies, agreed, sai: self.sai, pair, ni };
        Ok(Next::Send(MainInitiator::ExpectKeNonce(Box::new(next)), datagram))
    }

    fn read(&self, message: &Message<'_>, facts: &mut Facts<'_>) -> Result<Agreed, ExchangeError> {
        let payloads = message.clear(&SA_ONLY)?;
        let answer = SaPayload::decode(body(&payloads, PayloadType::SA)?)?;
        let means = facts.means(ExchangeMode::Main);
        let agreed = check_answer(&answer, &facts.remote.remote, means, ExchangeMode::Main)?;
        facts.read_vendor_ids(&payloads);
        Ok(agreed)
    }
}

impl ExpectKeNonce {
    fn message(self: Box<Self>, message: &Message<'_>, facts: &mut Facts<'_>) -> Stepped<MainInitiator, Established> {
        let read = message.clear(&KE_NONCE).and_then(|payloads| {
            note_foreign_requests(facts, &payloads)?;
            let gxr = body(&payloads, PayloadType::KE)?.to_vec();
            let gxy = facts.cx.provider.dh_agree(self.agreed.group, &self.pair.secret, &gxr)?;
            let nr = nonce(&payloads)?;
            facts.discover_nat(self.agreed.hash, self.cookies, &payloads);
            Ok((gxr, nr, gxy))
        });
        let (gxr, nr, gxy) = match read {
            Ok(read) => read,
            // As with MM2: not authenticated, so a forged one must not end the exchange.
            Err(error) => return Err(Refused::stay(error, MainInitiator::ExpectKeNonce(self))),
        };
        let Self { cookies, agreed, sai, pair, ni } = *self;
        let secrets = Secrets { gxy, psk: facts.key_by_address(agreed.auth) };
        let keyed = Keyed::new(agreed, cookies, Publics { ni, nr, gxi: pair.public, gxr }, &secrets, sai);
        let id_body = our_id(facts.remote, facts.path);
        match prove(&keyed, keyed.hash_i(&id_body), facts)? {
            Proving::Signing(job) => {
                Ok(Next::Wait(MainInitiator::AwaitSignature(Box::new(AwaitSignature { keyed, job, id_body }))))
            }
            Proving::Ready(hash) => fifth_message(keyed, id_body, hash, facts),
        }
    }
}

impl AwaitSignature {
    fn signed(
        self: Box<Self>,
        result: Result<Vec<u8>, String>,
        facts: &mut Facts<'_>,
    ) -> Stepped<MainInitiator, Established> {
        let signature = made(result)?;
        let Self { keyed, id_body, .. } = *self;
        fifth_message(keyed, id_body, signature, facts)
    }
}

fn fifth_message(
    mut keyed: Keyed,
    id_body: Vec<u8>,
    proof: Vec<u8>,
    facts: &Facts<'_>,
) -> Stepped<MainInitiator, Established> {
    let mut payloads = vec![(PayloadType::ID, id_body)];
    payloads.extend(our_proof(&keyed, facts.remote, proof, facts.first_contact));
    let datagram = keyed.seal(ExchangeType::MAIN, &payloads)?;
    Ok(Next::Send(MainInitiator::ExpectProof(Box::new(ExpectProof { keyed })), datagram))
}

impl ExpectProof {
    fn message(self: Box<Self>, message: &Message<'_>, facts: &mut Facts<'_>) -> Stepped<MainInitiator, Established> {
        let (last_block, shown) = match read_last(&self.keyed, message) {
            Ok(read) => read,
            Err(error) => return Err(Refused::stay(error, MainInitiator::ExpectProof(self))),
        };
        let mut keyed = self.keyed;
        keyed.sealer.last_block = last_block;
        Ok(match verify(keyed, shown, Keyed::hash_r, facts)? {
            Verifying::Judging(claim) => Next::Wait(MainInitiator::AwaitVerdict(claim)),
            Verifying::Proved(established) => Next::Done(established, None),
        })
    }
}
