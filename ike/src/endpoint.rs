//! The endpoint: cookies to main modes and ISAKMP SAs, answers to their owners, timers to what they are for.
//!
//! The tables stand here; what happens to them is in a file per subject: `phase1`, `phase2`, `informational`,
//! `lifetimes`, `policies`, `commands`, `status`.

mod admission;
mod announced;
mod child;
mod commands;
mod contact;
mod fragments;
mod hooks;
mod informational;
mod lifetimes;
pub mod listing;
mod liveness;
mod login;
mod mode_config;
mod moves;
mod phase1;
mod phase2;
mod policies;
mod refused;
mod session;
pub mod status;
mod transaction;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policy::model::remote::ExchangeMode;
use policy::model::selector::Selector;

use crate::children::{Child, ChildTable};
use crate::config::Config;
use crate::context::{Context, JobOwner, Path};
use crate::crypto::provider::Provider;
use crate::endpoint::admission::Admission;
use crate::endpoint::moves::Keepalives;
use crate::endpoint::policies::Generated;
use crate::endpoint::refused::Refusals;
use crate::endpoint::status::LastErrors;
use crate::event::command::Directions;
use crate::event::question::CertificateId;
use crate::event::sa::{ChildId, Owner, SaPair};
use crate::event::{Input, Now, Output};
use crate::fragment::Reassembly;
use crate::handshake::{self, Handshake};
use crate::isakmp_sa::IsakmpSa;
use crate::message::{Cookies, Message};
use crate::phase2::quick;
use crate::phase2::wish::{ChildKey, ChildWish};
use crate::report::{Event, Level};
use crate::retransmit::Fingerprint;
use crate::timer::{ExchangeKey, Phase1Id, Timer};
use crate::transaction::pool::Leases;
use crate::transaction::throttle::Throttle;
use crate::wire::header::{Cookie, Header};
use crate::wire::number::{ExchangeType, PayloadType};

/// Who rests on a certificate, or on an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Sa(Phase1Id),
    Child(ChildId),
}

impl Holder {
    /// Not greater than any.
    const LEAST: Self = Self::Sa(Phase1Id(0));
}

/// An IKEv1 endpoint. See [`crate::event`] for how to drive it.
pub struct Endpoint {
    cx: Context,
    handshakes: BTreeMap<Phase1Id, Handshake>,
    sas: BTreeMap<Phase1Id, IsakmpSa>,
    /// Both of the above; an initiator that has no answer yet stands under a responder cookie of zero.
    by_cookies: BTreeMap<Cookies, Phase1Id>,
    /// Main modes begun by peers, by what their first message carries.
    first_messages: BTreeMap<(Cookie, SocketAddr), Phase1Id>,
    by_peer: BTreeMap<IpAddr, BTreeSet<Phase1Id>>,
    children: ChildTable,
    by_certificate: BTreeMap<CertificateId, BTreeSet<Holder>>,
    /// Policies made for peers that have none, by their selector: the kernel has one of each.
    generated: BTreeMap<Selector, Generated>,
    /// Traffic that a quick mode, or a main mode before it, is under way for.
    pending: BTreeSet<ChildKey>,
    /// Traffic whose quick mode failed.
    refusals: Refusals,
    /// Peers that know that we know nothing of earlier SAs, or were found without any.
    contacted: BTreeSet<(IpAddr, Fingerprint)>,
    /// Who rests on an identity.
    by_identity: BTreeSet<(Fingerprint, Holder)>,
    /// Revoked while we run: a verdict that was on its way then must not let one of these in.
    revoked: BTreeSet<CertificateId>,
    admission: Admission,
    last_errors: LastErrors,
    keepalives: Keepalives,
    reassembly: Reassembly,
    /// Addresses that peers have of us.
    leases: Leases,
    throttle: Throttle,
    /// What operators said of peers that they brought up.
    directions: BTreeMap<IpAddr, Directions>,
    /// Logins that peers owe us, oldest first.
    logins: VecDeque<Phase1Id>,
    /// Work that one input leads to within the endpoint itself.
    later: VecDeque<ChildWish>,
}

impl Endpoint {
    /// An endpoint that knows nobody yet.
    pub fn new(provider: Arc<dyn Provider>, config: Arc<Config>) -> Self {
        Self {
            cx: Context::new(provider, config),
            handshakes: BTreeMap::new(),
            sas: BTreeMap::new(),
            by_cookies: BTreeMap::new(),
            first_messages: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            children: ChildTable::default(),
            by_certificate: BTreeMap::new(),
            generated: BTreeMap::new(),
            pending: BTreeSet::new(),
            refusals: Refusals::default(),
            contacted: BTreeSet::new(),
            by_identity: BTreeSet::new(),
            revoked: BTreeSet::new(),
            admission: Admission::default(),
            last_errors: LastErrors::default(),
            keepalives: Keepalives::default(),
            reassembly: Reassembly::default(),
            leases: Leases::default(),
            throttle: Throttle::default(),
            directions: BTreeMap::new(),
            logins: VecDeque::new(),
            later: VecDeque::new(),
        }
    }

    /// Takes an input. Drain [`Self::poll`] afterwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.cx.set_now(now);
        match input {
            Input::Datagram { local, peer, octets } => self.datagram(Path { local, peer }, &octets),
            Input::Wake => {}
            Input::Acquire(acquire) => self.acquired(&acquire),
            Input::SpiAllocated { job, result } => self.spi_allocated(job, result),
            Input::SaInstalled { job, result } => match self.cx.finish_job(job) {
                Some((JobOwner::Quick(id, message_id), _)) => {
                    self.drive_quick(id, message_id, quick::Step::Installed(job, result), None);
                }
                Some((JobOwner::Child(child), _)) => self.outbound_installed(child, result),
                _ => {}
            },
            Input::Signed { job, result } => {
                if let Some((JobOwner::Phase1(id), _)) = self.cx.finish_job(job) {
                    self.drive_handshake(id, handshake::Step::Signed(job, result), None);
                }
            }
            Input::Judged { job, result } => {
                if let Some((JobOwner::Phase1(id), _)) = self.cx.finish_job(job) {
                    let result = result.and_then(|certificate| self.still_valid(certificate));
                    self.drive_handshake(id, handshake::Step::Judged(job, result), None);
                }
            }
            Input::PasswordChecked { job, result } => {
                if let Some((JobOwner::Login(id), _)) = self.cx.finish_job(job) {
                    self.password_checked(id, job, result);
                }
            }
            Input::PolicyFound { job, policy } => self.policy_found(job, policy),
            Input::PolicyInstalled { job, policy, result } => self.policy_installed(job, &policy, result),
            Input::SaExpired { sa, hard } => self.sa_expired(&sa, hard),
            Input::SaDeleted { sa } => self.sa_deleted(&sa),
            Input::TrafficSeen { job, packets } => self.traffic_seen(job, packets),
            Input::MappingChanged { sa, peer } => self.mapping_changed(&sa, peer),
            Input::Adopt(adopted) => self.adopt(*adopted),
            Input::Command(command) => self.command(command),
            Input::Configure(config) => self.configure(config),
            Input::Shutdown => self.shutdown(),
        }
        self.run_timers();
        while let Some(wish) = self.later.pop_front() {
            self.start_waiting_child(wish);
        }
    }

    /// The next output; [`Output::WakeAt`] when there is none.
    pub fn poll(&mut self) -> Output {
        self.cx.take().unwrap_or_else(|| Output::WakeAt(self.cx.timers.next()))
    }

    fn run_timers(&mut self) {
        while let Some(timer) = self.cx.timers.pop_due(self.cx.now.monotonic) {
            match timer {
                Timer::Retransmit(ExchangeKey::Phase1(id)) => self.resend_handshake(id),
                Timer::Retransmit(ExchangeKey::Quick(id, message_id)) => self.resend_quick(id, message_id),
                Timer::Retransmit(ExchangeKey::Transaction(id, message_id)) => self.resend_transaction(id, message_id),
                // A login has a time of its own.
                Timer::Deadline(ExchangeKey::Transaction(..)) => {}
                Timer::Login(id) => self.login_timed_out(id),
                Timer::CheckPassword(id) => self.check_password(id),
                Timer::Deadline(ExchangeKey::Phase1(id)) => self.handshake_timed_out(id),
                Timer::Deadline(ExchangeKey::Quick(id, message_id)) => self.quick_timed_out(id, message_id),
                Timer::RekeyPhase1(id) => self.rekey_phase1(id),
                Timer::ExpirePhase1(id) => self.expire_phase1(id),
                Timer::RetirePhase1(id) => self.retire_phase1(id),
                Timer::InstallOutbound(id) => self.install_outbound(id),
                Timer::RekeyChild(id) => self.rekey_child(id),
                Timer::ExpireChild(id) => self.expire_child(id),
                Timer::RetireChild(id) => self.retire_child(id),
                Timer::KeepAlive(number) => self.keep_alive(number),
                Timer::Probe(id) => self.probe_due(id),
                Timer::Reassembly => self.expire_fragments(),
                Timer::Refusals => self.make_forget(),
            }
        }
    }

    fn datagram(&mut self, path: Path, octets: &[u8]) {
        if path.local == path.peer {
            return self.dropped(path, "it comes from our own address");
        }
        let header = match Header::decode(octets) {
            Ok(header) => header,
            Err(error) => return self.dropped(path, &error.to_string()),
        };
        if header.initiator.is_zero() {
            return self.dropped(path, "initiator cookie of zero");
        }
        let message = Message { header, body: header.body(octets) };
        if header.next == PayloadType::FRAGMENT {
            return self.fragment(path, &message);
        }
        let fingerprint = Fingerprint::of(octets);
        match header.exchange {
            ExchangeType::MAIN | ExchangeType::AGGRESSIVE if header.message_id != 0 => {
                self.dropped(path, "phase 1 with a message ID");
            }
            ExchangeType::MAIN => self.phase1_message(ExchangeMode::Main, path, &message, fingerprint),
            ExchangeType::AGGRESSIVE => self.phase1_message(ExchangeMode::Aggressive, path, &message, fingerprint),
            exchange if Self::follows_phase1(exchange) && self.keep_early(path, &message, octets) => {}
            ExchangeType::QUICK => self.quick_mode(path, &message, fingerprint),
            ExchangeType::INFORMATIONAL => self.informational(path, &message, fingerprint),
            ExchangeType::TRANSACTION => self.transaction(path, &message, fingerprint),
            other => self.dropped(path, &format!("{other:?} exchange is not supported")),
        }
    }

    /// A datagram that costs nothing but a counter and a line at a bounded rate.
    fn dropped(&mut self, path: Path, reason: &str) {
        self.cx.report(Level::Warning, path.peer, Event::Dropped { reason: reason.to_owned() });
    }

    /// The established SA that a message names, if it comes from the SA's own peer or from where a NAT may have moved
    /// that peer to. Once the message has proved itself, [`Self::arrived`] is told.
    fn sa_of(&self, path: Path, header: &Header) -> Option<Phase1Id> {
        let cookies = Cookies { initiator: header.initiator, responder: header.responder };
        let id = *self.by_cookies.get(&cookies)?;
        let natt_port = self.cx.config.natt_port;
        let may_come = |sa: &&IsakmpSa| moves::may_come(sa.facts.path, &sa.facts.traits.path_nat, path, natt_port);
        self.sas.get(&id).filter(may_come).map(|_| id)
    }

    /// Notes who rests on which identity and certificates.
    fn index(&mut self, owner: &Owner, holder: Holder) {
        self.by_identity.insert((contact::print(&owner.identity), holder));
        for certificate in &owner.certificates {
            self.by_certificate.entry(certificate.clone()).or_default().insert(holder);
        }
    }

    fn unindex(&mut self, owner: &Owner, holder: Holder) {
        self.by_identity.remove(&(contact::print(&owner.identity), holder));
        for certificate in &owner.certificates {
            crate::children::drop_member(&mut self.by_certificate, certificate, holder);
        }
    }

    /// Takes the SAs of a child out of the kernel, the sending ones first.
    fn remove_from_kernel(&mut self, child: &Child) {
        let pairs: Vec<SaPair> = child.pairs().collect();
        pairs.iter().for_each(|pair| self.cx.remove_sa(pair.outbound));
        pairs.iter().for_each(|pair| self.cx.remove_sa(pair.inbound));
    }
}

#[cfg(test)]
mod tests;
