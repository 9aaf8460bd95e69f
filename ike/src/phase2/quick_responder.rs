//! Quick mode as responder: answers with QM2 (RFC 2409 §5.5). One struct per awaited event.

use std::net::IpAddr;

use policy::model::remote::GeneratePolicy;
use policy::model::sa::{Mode, ReqId, Spi};

use super::exchange::{
    HASH_ONLY, HASH_SA, Installation, NewChild, QuickFacts, Seeds, Spis, both_or_none, make_child, nonce_of,
    protocol_id,
};
use super::proposal::{Choice, choose, main_protocol, offered_framing, offers, passes_nat};
use super::sainfo::allowed;
use super::selector::from_ids;
use super::wish::{ChildKey, transport_selector};
use crate::crypto::hash::{quick1, quick2, quick3};
use crate::crypto::provider::DhPair;
use crate::error::ExchangeError;
use crate::event::policies::{Companions, GeneratedPolicy, PolicyMatch, PolicyQuery};
use crate::event::{JobId, Output};
use crate::message::{Message, Role};
use crate::nat::{Framing, as_seen_here, original_of};
use crate::phase1::proposal::{duration, short};
use crate::report::{Event, Level};
use crate::step::{Next, Refused, Stepped};
use crate::wire::attribute::Attribute;
use crate::wire::identification::IdPayload;
use crate::wire::notify::NotifyPayload;
use crate::wire::number::{DOI_IPSEC, ExchangeType, NotifyType, PayloadType, life_type, phase2_attr};
use crate::wire::sa::SaPayload;

/// Where a quick mode of the peer's stands.
#[derive(Debug)]
pub(crate) enum QuickResponder {
    /// QM1 received, the policy is being looked up.
    AwaitPolicy(Box<AwaitPolicy>),
    /// A policy is being made for the peer.
    AwaitGenerated(Box<AwaitGenerated>),
    /// The kernel is asked for an SPI.
    AwaitSpi(Box<AwaitSpi>),
    /// The inbound SA is being installed.
    AwaitInbound(Box<AwaitInbound>),
    /// QM2 sent.
    ExpectHash(Box<ExpectHash>),
}

/// QM1, as it is carried through the states.
#[derive(Debug)]
struct Request {
    offered: SaPayload,
    ni: Vec<u8>,
    ke: Option<Vec<u8>>,
    ids: Option<(IdPayload, IdPayload)>,
    framing: Framing,
    /// The initiator's own idea of its address.
    original: Option<IpAddr>,
}

/// Waits for the policy that wants this SA.
#[derive(Debug)]
pub(crate) struct AwaitPolicy {
    job: JobId,
    request: Request,
    /// What it is for; the reqid is not known yet.
    what: ChildKey,
}

/// Waits until the policy that is made for the peer is in the kernel: its first packets are then let in.
#[derive(Debug)]
pub(crate) struct AwaitGenerated {
    job: JobId,
    request: Request,
    what: ChildKey,
    choice: Choice,
}

/// Waits for the SPI of the inbound SA.
#[derive(Debug)]
pub(crate) struct AwaitSpi {
    spis: Spis,
    request: Request,
    key: ChildKey,
    choice: Choice,
}

/// Waits until the inbound SAs are in place: only then the initiator may use it (IKEV1 QM-3, openswan#60).
#[derive(Debug)]
pub(crate) struct AwaitInbound {
    installation: Installation,
    child: Box<NewChild>,
    answer: Vec<(PayloadType, Vec<u8>)>,
    ni: Vec<u8>,
    nr: Vec<u8>,
}

/// Waits for QM3.
#[derive(Debug)]
pub(crate) struct ExpectHash {
    child: Box<NewChild>,
    ni: Vec<u8>,
    nr: Vec<u8>,
}

/// Begins with QM1: checks HASH(1), asks for the policy.
pub(crate) fn begin(message: &Message<'_>, facts: &mut QuickFacts<'_>) -> Result<QuickResponder, ExchangeError> {
    let protection = &facts.sa.protection;
    let protected = protection.open(facts.chain, message, &HASH_SA, |rest| {
        quick1(protection.sealer.hash, &protection.skeyid_a, facts.chain.message_id, rest)
    })?;
    facts.chain.iv = protected.last_block.clone();
    let ids = both_or_none(&protected)?;
    let ni = nonce_of(&protected)?;
    let body = protected.sa.as_deref().ok_or(ExchangeError::MissingPayload(PayloadType::SA))?;
    let offered = SaPayload::decode(body)?;
    let (local, peer) = (facts.sa.path.local.ip(), facts.sa.path.peer.ip());
    let proposed = from_ids(ids.as_ref(), peer, local)?.reversed();
    let nat = facts.sa.traits.path_nat;
    let between_ends = proposed.contains(&transport_selector(local, peer, proposed));
    let framing = offered_framing(&offered, between_ends, &nat)?;
    let original = original_of(framing, Role::Initiator, &protected.originals)?;
    let mode = framing.mode;
    let outbound = match mode {
        Mode::Tunnel => proposed,
        Mode::Transport => {
            // Transport mode protects the two ends and nobody else; peers with network-wide policies may name the
            // networks, the ends must then lie inside.
            let ends = transport_selector(local, peer, proposed);
            if !as_seen_here(proposed, (local, peer), &nat).contains(&ends) {
                return Err(ExchangeError::InvalidId(format!(
                    "transport mode for {proposed}, but the ends are {ends}"
                )));
            }
            ends
        }
    };
    let job = facts.cx.job(facts.owner);
    let protocol = main_protocol(&offered)?;
    let query = PolicyQuery { outbound, mode, protocol, offers: offers(&offered), local, peer };
    facts.cx.emit(Output::FindPolicy { job, query });
    let request = Request { offered, ni, ke: protected.ke, ids, framing, original };
    let companions = Companions::NONE;
    let what = ChildKey { local, peer, outbound, mode, protocol, reqid: ReqId(0), companions };
    Ok(QuickResponder::AwaitPolicy(Box::new(AwaitPolicy { job, request, what })))
}

impl QuickResponder {
    /// The traffic it is for, once the policy is known.
    pub(crate) fn key(&self) -> Option<ChildKey> {
        match self {
            Self::AwaitPolicy(_) | Self::AwaitGenerated(_) => None,
            Self::AwaitSpi(state) => Some(state.key),
            Self::AwaitInbound(state) => Some(state.child.key),
            Self::ExpectHash(state) => Some(state.child.key),
        }
    }

    /// What the peer asks for, while the policy is being looked up.
    pub(crate) fn asked(&self) -> Option<ChildKey> {
        match self {
            Self::AwaitPolicy(state) => Some(state.what),
            _ => None,
        }
    }

    /// Takes the next message of the peer.
    pub(crate) fn message(self, message: &Message<'_>, facts: &mut QuickFacts<'_>) -> Stepped<Self, NewChild> {
        match self {
            Self::ExpectHash(state) => state.message(message, facts),
            other => Ok(Next::Wait(other)),
        }
    }

    /// Takes the policy.
    pub(crate) fn policy(
        self,
        job: JobId,
        policy: Option<PolicyMatch>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<Self, NewChild> {
        match self {
            Self::AwaitPolicy(state) if state.job == job => (*state).policy(policy, facts),
            other => Ok(Next::Wait(other)),
        }
    }

    /// Takes the kernel's word on the policy that was made.
    pub(crate) fn generated(
        self,
        job: JobId,
        result: Result<ReqId, String>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<Self, NewChild> {
        match self {
            Self::AwaitGenerated(state) if state.job == job => {
                let AwaitGenerated { request, what, choice, .. } = *state;
                let reqid =
                    result.map_err(|why| ExchangeError::Local(format!("the kernel refuses the policy: {why}")))?;
                Ok(ask_spi(request, ChildKey { reqid, ..what }, choice, facts))
            }
            other => Ok(Next::Wait(other)),
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

impl AwaitPolicy {
    fn policy(self, policy: Option<PolicyMatch>, facts: &mut QuickFacts<'_>) -> Stepped<QuickResponder, NewChild> {
        let Self { request, what, .. } = self;
        let remote = &facts.sa.remote.remote;
        let generate = policy.is_none();
        if generate && remote.generate_policy == GeneratePolicy::Off {
            return Err(ExchangeError::NoPolicy(what.outbound.to_string()).into());
        }
        let sainfo = facts.sainfo(what.outbound).cloned().ok_or(ExchangeError::NoSainfo);
        let sainfo = match (sainfo, generate) {
            (Ok(sainfo), true) => allowed(&sainfo, &what, facts.sa).map(|()| sainfo)?,
            (Err(_), true) => {
                return Err(ExchangeError::InvalidId(format!("no sainfo is for {}", what.outbound)).into());
            }
            (sainfo, false) => sainfo?,
        };
        let key = match &policy {
            Some(PolicyMatch { protocol, reqid, companions, .. }) => {
                ChildKey { protocol: *protocol, reqid: *reqid, companions: *companions, ..what }
            }
            None => what,
        };
        let layers = key.layers();
        passes_nat(&layers, request.framing)?;
        let choice = choose(&request.offered, &sainfo, request.framing, &layers, remote.proposal_check)?;
        match (choice.suite.group, &request.ke) {
            (Some(_), None) => return Err(ExchangeError::MissingPayload(PayloadType::KE).into()),
            (None, Some(_)) => return Err(ExchangeError::UnexpectedPayload(PayloadType::KE).into()),
            _ => {}
        }
        if generate {
            let job = generate_policy(&what, facts);
            let next = AwaitGenerated { job, request, what, choice };
            return Ok(Next::Wait(QuickResponder::AwaitGenerated(Box::new(next))));
        }
        Ok(ask_spi(request, key, choice, facts))
    }
}

/// Has a policy made for the peer.
fn generate_policy(what: &ChildKey, facts: &mut QuickFacts<'_>) -> JobId {
    let ChildKey { local, peer, outbound, mode, protocol, .. } = *what;
    let unique = facts.sa.remote.remote.generate_policy == GeneratePolicy::Unique;
    facts.cx.report(Level::Info, facts.sa.path.peer, Event::PolicyGenerated { outbound });
    let job = facts.cx.job(facts.owner);
    let policy = Box::new(GeneratedPolicy { outbound, mode, protocol, local, peer, unique });
    facts.cx.emit(Output::InstallPolicy { job, policy });
    job
}

fn ask_spi(
    request: Request,
    key: ChildKey,
    choice: Choice,
    facts: &mut QuickFacts<'_>,
) -> Next<QuickResponder, NewChild> {
    let agreed = key.layers().into_iter().filter(|layer| choice.suite.protection(layer.protocol).is_some());
    let spis = facts.allocate_spis(&key, agreed.collect());
    Next::Wait(QuickResponder::AwaitSpi(Box::new(AwaitSpi { spis, request, key, choice })))
}

impl AwaitSpi {
    fn spi(
        mut self: Box<Self>,
        job: JobId,
        result: Result<Spi, String>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<QuickResponder, NewChild> {
        if !self.spis.take(job, result)? {
            return Ok(Next::Wait(QuickResponder::AwaitSpi(self)));
        }
        let Self { spis, request: Request { ni, ke, ids, original, .. }, key, choice } = *self;
        let pair = facts.pfs_pair(choice.suite.group)?;
        let gqm = match (&pair, choice.suite.group, ke) {
            (Some(pair), Some(group), Some(public)) => {
                Some(facts.cx.provider.dh_agree(group, &pair.secret, &public)?)
            }
            _ => None,
        };
        let nr = facts.cx.random(facts.sa.remote.remote.nonce_size);
        let id = facts.cx.child_id();
        let seeds = Seeds { ni: &ni, nr: &nr, gqm: gqm.as_ref() };
        let (inbound, child) =
            make_child(facts, id, (key, &choice.suite), (&spis, &choice.spis()), &seeds, (Role::Responder, original));
        let answer = answer(&choice, (&key, &spis), &nr, pair, ids, facts);
        let installation = facts.install(inbound);
        let next = AwaitInbound { installation, child: Box::new(child), answer, ni, nr };
        Ok(Next::Wait(QuickResponder::AwaitInbound(Box::new(next))))
    }
}

/// The payloads of QM2 behind HASH(2).
fn answer(
    choice: &Choice,
    (key, spis): (&ChildKey, &Spis),
    nr: &[u8],
    pair: Option<DhPair>,
    ids: Option<(IdPayload, IdPayload)>,
    facts: &mut QuickFacts<'_>,
) -> Vec<(PayloadType, Vec<u8>)> {
    let mut payloads = vec![(PayloadType::SA, choice.answer(spis).encode()), (PayloadType::NONCE, nr.to_vec())];
    payloads.extend(pair.map(|pair| (PayloadType::KE, pair.public)));
    if let Some((first, second)) = ids {
        payloads.push((PayloadType::ID, first.encode()));
        payloads.push((PayloadType::ID, second.encode()));
    }
    payloads.extend(facts.original_addresses(choice.suite.framing, Role::Responder));
    if let Some(longer) = choice.claimed {
        let life = choice.suite.lifetime.time;
        let event = Event::OwnLifetime { seconds: life.as_secs(), peer: longer.as_secs() };
        facts.cx.report(Level::Notify, facts.sa.path.peer, event);
        let attributes = [
            short(phase2_attr::LIFE_TYPE, life_type::SECONDS),
            Attribute { kind: phase2_attr::LIFE_DURATION, value: duration(life.as_secs()) },
        ];
        let notify = NotifyPayload {
            doi: DOI_IPSEC,
            protocol: protocol_id(key.protocol),
            kind: NotifyType::RESPONDER_LIFETIME,
            spi: spis.of(key.protocol).0.to_be_bytes().to_vec(),
            data: Attribute::encode_list(&attributes),
        };
        payloads.push((PayloadType::NOTIFY, notify.encode()));
    }
    payloads
}

impl AwaitInbound {
    fn installed(
        mut self: Box<Self>,
        job: JobId,
        result: Result<(), String>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<QuickResponder, NewChild> {
        if !self.installation.take(job, result)? {
            return Ok(Next::Wait(QuickResponder::AwaitInbound(self)));
        }
        let Self { child, answer, ni, nr, .. } = *self;
        let protection = &facts.sa.protection;
        let message_id = facts.chain.message_id;
        let datagram = protection.seal(ExchangeType::QUICK, facts.chain, answer, |rest| {
            quick2(protection.sealer.hash, &protection.skeyid_a, message_id, rest, &ni)
        })?;
        Ok(Next::Send(QuickResponder::ExpectHash(Box::new(ExpectHash { child, ni, nr })), datagram))
    }
}

impl ExpectHash {
    fn message(
        self: Box<Self>,
        message: &Message<'_>,
        facts: &mut QuickFacts<'_>,
    ) -> Stepped<QuickResponder, NewChild> {
        let protection = &facts.sa.protection;
        let opened = protection.open(facts.chain, message, &HASH_ONLY, |_| {
            quick3(protection.sealer.hash, &protection.skeyid_a, facts.chain.message_id, &self.ni, &self.nr)
        });
        match opened {
            Ok(protected) => {
                facts.chain.iv = protected.last_block;
                Ok(Next::Done(self.child, None))
            }
            Err(error) => Err(Refused::stay(error, QuickResponder::ExpectHash(self))),
        }
    }
}
