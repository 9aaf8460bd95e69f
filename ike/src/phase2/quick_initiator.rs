//! Quick mode as initiator: sends QM1 and QM3 (RFC 2409 §5.5). One struct per awaited event.

use std::net::IpAddr;

use policy::model::identity::Identity;
use policy::model::lifetime::Lifetime;
use policy::model::sa::{Protocol, Spi};
use policy::model::sainfo::Sainfo;

use super::exchange::{HASH_SA, Installation, NewChild, QuickFacts, Seeds, Spis, both_or_none, make_child, nonce_of};
use super::proposal::{ChildSuite, check_answer, offer, passes_nat};
use super::selector::to_ids;
use super::wish::ChildWish;
use crate::crypto::hash::{quick1, quick2, quick3};
use crate::crypto::provider::DhPair;
use crate::error::ExchangeError;
use crate::event::JobId;
use crate::message::{Message, Role};
use crate::nat::{is_translated, original_of};
use crate::phase1::proposal::life_seconds;
use crate::protection::{Notice, Protected};
use crate::report::{Event, Level};
use crate::step::{Next, Refused, Stepped};
use crate::wire::attribute::Attribute;
use crate::wire::identification::IdPayload;
use crate::wire::number::{ExchangeType, NotifyType, PayloadType, phase2_attr};
use crate::wire::sa::SaPayload;

/// Where a quick mode of ours stands.
#[derive(Debug)]
pub(crate) enum QuickInitiator {
    /// The kernel is asked for an SPI.
    AwaitSpi(Box<AwaitSpi>),
    /// QM1 sent.
    ExpectSa(Box<ExpectSa>),
    /// QM2 received, the inbound SA is being installed.
    AwaitInbound(Box<AwaitInbound>),
}

/// Waits for the SPI of the inbound SA.
#[derive(Debug)]
pub(crate) struct AwaitSpi {
    wish: ChildWish,
    spis: Spis,
    sainfo: Sainfo,
}

/// Waits for QM2.
#[derive(Debug)]
pub(crate) struct ExpectSa {
    wish: ChildWish,
    sainfo: Sainfo,
    spis: Spis,
    ni: Vec<u8>,
    pair: Option<DhPair>,
    ids: (IdPayload, IdPayload),
}

/// Waits until the inbound SAs are in place: only then the responder may learn that we are ready (IKEV1 QM-3).
#[derive(Debug)]
pub(crate) struct AwaitInbound {
    installation: Installation,
    child: Box<NewChild>,
    ni: Vec<u8>,
    nr: Vec<u8>,
}

/// Begins: asks for an SPI.
///
/// # Errors
/// [`ExchangeError::NoSainfo`] if nothing is configured for this traffic.
pub(crate) fn begin(wish: ChildWish, facts: &mut QuickFacts<'_>) -> Result<QuickInitiator, ExchangeError> {
    let sainfo = facts.sainfo(wish.what.outbound).cloned().ok_or(ExchangeError::NoSainfo)?;
    let layers = wish.what.layers();
    passes_nat(&layers, facts.framing(wish.what.mode))?;
    let spis = facts.allocate_spis(&wish.what, layers);
    Ok(QuickInitiator::AwaitSpi(Box::new(AwaitSpi { wish, spis, sainfo })))
}

impl QuickInitiator {
    /// Takes the next message of the peer.
    pub(crate) fn message(self, message: &Message<'_>, facts: &mut QuickFacts<'_>) -> Stepped<Self, NewChild> {
        match self {
            Self::ExpectSa(state) => state.message(message, facts),
            waiting @ (Self::AwaitSpi(_) | Self::AwaitInbound(_)) => Ok(Next::Wait(waiting)),
        }
    }

    /// Takes the SPI.
    pub(crate) fn spi(
        self,
        job: JobId,
        result: Result<Spi, String>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<Self, NewChild> {
        match self {
            Self::AwaitSpi(state) if state.spis.asked(job) => state.spi(job, result, facts),
            other => Ok(Next::Wait(other)),
        }
    }

    /// Takes the kernel's word on the inbound SA.
    pub(crate) fn installed(
        self,
        job: JobId,
        result: Result<(), String>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<Self, NewChild> {
        match self {
            Self::AwaitInbound(state) if state.installation.asked(job) => state.installed(job, result, facts),
            other => Ok(Next::Wait(other)),
        }
    }
}

impl AwaitSpi {
    fn spi(
        mut self: Box<Self>,
        job: JobId,
        result: Result<Spi, String>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<QuickInitiator, NewChild> {
        if !self.spis.take(job, result)? {
            return Ok(Next::Wait(QuickInitiator::AwaitSpi(self)));
        }
        let Self { wish, sainfo, spis } = *self;
        let ni = facts.cx.random(facts.sa.remote.remote.nonce_size);
        let pair = facts.pfs_pair(sainfo.pfs_group)?;
        let ids = to_ids(&wish.what.outbound);
        let framing = facts.framing(wish.what.mode);
        let offered = offer(&sainfo, framing, &wish.what.layers(), &spis)?;
        let mut rest = vec![(PayloadType::SA, offered.encode()), (PayloadType::NONCE, ni.clone())];
        rest.extend(pair.iter().map(|pair| (PayloadType::KE, pair.public.clone())));
        rest.push((PayloadType::ID, ids.0.encode()));
        rest.push((PayloadType::ID, ids.1.encode()));
        rest.extend(facts.original_addresses(framing, Role::Initiator));
        let protection = &facts.sa.protection;
        let message_id = facts.chain.message_id;
        let datagram = protection.seal(ExchangeType::QUICK, facts.chain, rest, |rest| {
            quick1(protection.sealer.hash, &protection.skeyid_a, message_id, rest)
        })?;
        let next = ExpectSa { wish, sainfo, spis, ni, pair, ids };
        Ok(Next::Send(QuickInitiator::ExpectSa(Box::new(next)), datagram))
    }
}

/// QM2, checked.
struct Answer {
    suite: ChildSuite,
    /// The responder's inbound SPIs.
    spis: Vec<(Protocol, Spi)>,
    nr: Vec<u8>,
    ke: Option<Vec<u8>>,
    /// The responder's own idea of its address.
    original: Option<IpAddr>,
    last_block: Vec<u8>,
}

impl ExpectSa {
    fn message(
        self: Box<Self>,
        message: &Message<'_>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<QuickInitiator, NewChild> {
        let protection = &facts.sa.protection;
        let opened = protection.open(facts.chain, message, &HASH_SA, |rest| {
            quick2(protection.sealer.hash, &protection.skeyid_a, facts.chain.message_id, rest, &self.ni)
        });
        let protected = match opened {
            Ok(protected) => protected,
            Err(error) => return Err(Refused::stay(error, QuickInitiator::ExpectSa(self))),
        };
        // From here on the message is authentic: what is wrong with it ends the exchange.
        let Answer { suite, spis, nr, ke, original, last_block } = self.read(protected, facts)?;
        let gqm = match (&self.pair, suite.group, ke) {
            (Some(pair), Some(group), Some(public)) => {
                Some(facts.cx.provider.dh_agree(group, &pair.secret, &public)?)
            }
            _ => None,
        };
        facts.chain.iv = last_block;
        let id = facts.cx.child_id();
        let seeds = Seeds { ni: &self.ni, nr: &nr, gqm: gqm.as_ref() };
        let (inbound, mut child) =
            make_child(facts, id, (self.wish.what, &suite), (&self.spis, &spis), &seeds, (Role::Initiator, original));
        child.policy_index = self.wish.policy_index;
        child.replaces = self.wish.replaces;
        let installation = facts.install(inbound);
        let next = AwaitInbound { installation, child: Box::new(child), ni: self.ni, nr };
        Ok(Next::Wait(QuickInitiator::AwaitInbound(Box::new(next))))
    }

    fn read(&self, protected: Protected, facts: &mut QuickFacts<'_>) -> Result<Answer, ExchangeError> {
        let body = protected.sa.as_deref().ok_or(ExchangeError::MissingPayload(PayloadType::SA))?;
        let framing = facts.framing(self.wish.what.mode);
        let layers = self.wish.what.layers();
        let (mut suite, spis) = check_answer(&SaPayload::decode(body)?, &self.sainfo, framing, &layers)?;
        // The responder must echo the identities (IKEV1 ID-5); a responder to hosts may leave them out.
        if let Some(ids) = both_or_none(&protected)?
            && ids != self.ids
            && !(is_translated(framing) && same_traffic(&ids, &self.ids))
        {
            return Err(ExchangeError::InvalidId("the answer is for other traffic than we asked for".to_owned()));
        }
        let nr = nonce_of(&protected)?;
        match (&self.pair, &protected.ke) {
            (Some(_), None) => return Err(ExchangeError::MissingPayload(PayloadType::KE)),
            (None, Some(_)) => return Err(ExchangeError::UnexpectedPayload(PayloadType::KE)),
            _ => {}
        }
        suite.lifetime = responder_lifetime(&protected, suite.lifetime, facts)?;
        let original = original_of(framing, Role::Responder, &protected.originals)?;
        Ok(Answer { suite, spis, nr, ke: protected.ke, original, last_block: protected.last_block })
    }
}

/// In transport mode through a NAT the responder may write the addresses that it sees; protocols and ports are the same.
fn same_traffic(answer: &(IdPayload, IdPayload), ours: &(IdPayload, IdPayload)) -> bool {
    let traffic = |id: &IdPayload| (id.protocol, id.port, matches!(id.to_identity(), Ok(Identity::Address(_))));
    traffic(&answer.0) == traffic(&ours.0) && traffic(&answer.1) == traffic(&ours.1)
}

/// A shorter life that the responder announces (RFC 2407 §4.6.3.1); a longer one is not believed.
fn responder_lifetime(
    protected: &Protected,
    ours: Lifetime,
    facts: &mut QuickFacts<'_>,
) -> Result<Lifetime, ExchangeError> {
    let mut lifetime = ours;
    for notice in &protected.notices {
        let Notice::Notify(notify) = notice else { continue };
        if notify.kind != NotifyType::RESPONDER_LIFETIME {
            continue;
        }
        let attributes = Attribute::decode_list(&notify.data)?;
        let announced = life_seconds(&attributes, phase2_attr::LIFE_TYPE, phase2_attr::LIFE_DURATION);
        if let Some(time) = announced.filter(|time| !time.is_zero() && *time < lifetime.time) {
            facts.cx.report(Level::Info, facts.sa.path.peer, Event::ResponderLifetime { seconds: time.as_secs() });
            lifetime.time = time;
        }
    }
    Ok(lifetime)
}

impl AwaitInbound {
    fn installed(
        mut self: Box<Self>,
        job: JobId,
        result: Result<(), String>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<QuickInitiator, NewChild> {
        if !self.installation.take(job, result)? {
            return Ok(Next::Wait(QuickInitiator::AwaitInbound(self)));
        }
        let Self { child, ni, nr, .. } = *self;
        let protection = &facts.sa.protection;
        let message_id = facts.chain.message_id;
        let datagram = protection.seal(ExchangeType::QUICK, facts.chain, Vec::new(), |_| {
            quick3(protection.sealer.hash, &protection.skeyid_a, message_id, &ni, &nr)
        })?;
        Ok(Next::Done(child, Some(datagram)))
    }
}
