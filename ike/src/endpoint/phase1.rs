//! Main and aggressive modes: begun by us or by a peer, moved on, finished, failed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use policy::model::addr::ISAKMP_PORT;
use policy::model::remote::{ExchangeMode, Rekey, RemoteSelector};

use super::admission::MOST_QUESTIONS;
use super::contact::print;
use super::moves::may_come;
use super::{Endpoint, Holder};
use crate::config::RemoteConfig;
use crate::context::Path;
use crate::error::ExchangeError;
use crate::event::question::{PeerCertificate, Rejection, RejectionKind};
use crate::event::sa::Owner;
use crate::handshake::{Handshake, MOST_REFUSALS, State, Step};
use crate::informational::exchange::{clear_notify, delete_isakmp, error_notify, seal};
use crate::isakmp_sa::{IsakmpSa, Times};
use crate::message::{Cookies, Message, Role};
use crate::nat::floated;
use crate::phase1::proof::{Established, initial_contact};
use crate::phase2::exchange::SaFacts;
use crate::phase2::wish::ChildWish;
use crate::protection::Protection;
use crate::report::{CookiePair, Event, Level};
use crate::retransmit::{Fingerprint, Seen, Unanswered};
use crate::step::{Next, Refused};
use crate::timer::{ExchangeKey, Phase1Id, Timer};
use crate::traits::Nat;
use crate::wire::header::{Cookie, Header};
use crate::wire::number::{NotifyType, PayloadType, ProtocolId};

/// A rekey that failed is tried again this much later, at least.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// How long a closed ISAKMP SA still understands.
const CLOSED_GRACE: Duration = Duration::from_secs(5);

/// Messages kept that came under an ISAKMP SA before our side was done with its main mode.
const MOST_EARLY: usize = 4;

impl Endpoint {
    /// Begins a phase 1 with `peer` for `wishes`, in the first exchange that its block names.
    pub(super) fn initiate(&mut self, local: IpAddr, peer: IpAddr, wishes: Vec<ChildWish>, replaces: Option<Phase1Id>) {
        self.initiate_in(None, (local, peer), wishes, replaces);
    }

    /// As [`Self::initiate`], in the first of `modes`; `None` is those of the block.
    fn initiate_in(
        &mut self,
        modes: Option<Vec<ExchangeMode>>,
        (local, peer): (IpAddr, IpAddr),
        wishes: Vec<ChildWish>,
        replaces: Option<Phase1Id>,
    ) {
        let address = SocketAddr::new(peer, self.cx.config.isakmp_port);
        let Some(remote) = self.remote_towards(address, replaces) else {
            self.cx.report(Level::Error, address, Event::NoConfiguration { peer });
            return self.abandon(wishes, "no configuration for this peer");
        };
        let port = match remote.remote.selector {
            RemoteSelector::Address(at) => at.port.unwrap_or(ISAKMP_PORT),
            RemoteSelector::Anonymous => ISAKMP_PORT,
        };
        let path = self.known_path((local, peer), replaces, &wishes).unwrap_or(Path {
            local: SocketAddr::new(local, self.cx.config.port_of(local)),
            peer: SocketAddr::new(peer, port),
        });
        if remote.remote.passive && replaces.is_none() {
            self.cx.report(Level::Info, path.peer, Event::Passive { peer });
            return self.abandon(wishes, "the remote is passive");
        }
        let id = self.cx.phase1_id();
        let candidates = vec![Arc::clone(&remote)];
        let mut handshake = Handshake::new(id, path, remote, candidates, self.cx.now.monotonic);
        let mut modes = modes.unwrap_or_else(|| handshake.remote.remote.exchange_modes.clone()).into_iter();
        let mode = modes.next().unwrap_or(ExchangeMode::Main);
        let next_modes: Vec<ExchangeMode> = modes.collect();
        let begun = State::initiate(mode, &mut handshake.facts(&mut self.cx, Role::Initiator, false));
        let (state, datagram) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.note_failure(path, CookiePair(Cookie::ZERO, Cookie::ZERO), &error);
                if !next_modes.is_empty() {
                    return self.initiate_in(Some(next_modes), (local, peer), wishes, replaces);
                }
                return self.abandon(wishes, &error.to_string());
            }
        };
        if replaces.is_none() && !wishes.is_empty() {
            self.cx.report(Level::Info, path.peer, Event::Queued { peer });
        }
        self.cx.report(Level::Info, path.peer, Event::Phase1Initiated(path.into()));
        self.cx.report(Level::Info, path.peer, begins(mode));
        let several = !next_modes.is_empty();
        handshake.begin(state);
        (handshake.next_modes, handshake.replaces, handshake.wishes) = (next_modes, replaces, wishes);
        self.enter_handshake(handshake);
        if several {
            // Whoever waits for the tunnel waits for the next exchange too.
            let deadline = self.cx.now.monotonic + self.cx.config.timers.phase1 / 2;
            self.cx.timers.set(Timer::Deadline(ExchangeKey::Phase1(id)), deadline);
        }
        self.send_awaiting(id, datagram);
    }

    /// The block to speak to a peer under: that of the ISAKMP SA to be renewed, or the one that an operator named, if it is
    /// still configured, else the first that is not passive, else the first.
    fn remote_towards(&self, peer: SocketAddr, replaces: Option<Phase1Id>) -> Option<Arc<RemoteConfig>> {
        let candidates = self.cx.config.candidates(peer);
        let renewed = replaces.and_then(|id| self.sas.get(&id)).map(|sa| &sa.facts.remote.remote.name);
        let named = || self.directions.get(&peer.ip()).and_then(|directions| directions.remote.as_ref());
        let renewed = renewed.or_else(named);
        candidates
            .iter()
            .find(|candidate| renewed == Some(&candidate.remote.name))
            .or_else(|| candidates.iter().find(|candidate| !candidate.remote.passive))
            .or_else(|| candidates.first())
            .cloned()
    }

    fn enter_handshake(&mut self, handshake: Handshake) {
        let id = handshake.id;
        self.by_cookies.insert(handshake.cookies, id);
        self.by_peer.entry(handshake.origin.peer.ip()).or_default().insert(id);
        let deadline = self.cx.now.monotonic + self.cx.config.timers.phase1;
        self.cx.timers.set(Timer::Deadline(ExchangeKey::Phase1(id)), deadline);
        self.handshakes.insert(id, handshake);
        self.note_fragmentation(id);
    }

    /// Sends a message of an initiator and keeps it until it is answered.
    fn send_awaiting(&mut self, id: Phase1Id, datagram: Vec<u8>) {
        let Some(handshake) = self.handshakes.get_mut(&id) else { return };
        let unanswered = Unanswered::new(datagram.clone(), &self.cx.config.timers);
        let at = self.cx.now.monotonic + unanswered.first_gap();
        handshake.unanswered = Some(unanswered);
        self.cx.timers.set(Timer::Retransmit(ExchangeKey::Phase1(id)), at);
        let path = handshake.path;
        self.cx.send(path, datagram);
    }

    pub(super) fn resend_handshake(&mut self, id: Phase1Id) {
        let Some(handshake) = self.handshakes.get_mut(&id) else { return };
        let path = handshake.path;
        if let Some((datagram, gap)) = handshake.unanswered.as_mut().and_then(Unanswered::resend) {
            self.cx.send(path, datagram);
            self.cx.timers.set(Timer::Retransmit(ExchangeKey::Phase1(id)), self.cx.now.monotonic + gap);
        }
    }

    /// A message of main or aggressive mode.
    pub(super) fn phase1_message(
        &mut self,
        mode: ExchangeMode,
        path: Path,
        message: &Message<'_>,
        fingerprint: Fingerprint,
    ) {
        let header = &message.header;
        if header.responder.is_zero() {
            return self.first_message(mode, path, message, fingerprint);
        }
        let cookies = Cookies { initiator: header.initiator, responder: header.responder };
        let waiting = Cookies { responder: Cookie::ZERO, ..cookies };
        let known = self.by_cookies.get(&cookies).or_else(|| self.by_cookies.get(&waiting)).copied();
        let Some(id) = known else { return self.dropped(path, "phase 1 of unknown cookies") };
        let natt_port = self.cx.config.natt_port;
        let from = |known: Path, nat: &Nat| may_come(known, nat, path, natt_port);
        if let Some(sa) = self.sas.get_mut(&id) {
            // Of an aggressive mode that floated, the peer resends AM2 by the old ports if our AM3 was lost: the very same
            // octets are answered where the SA is, wherever they came from.
            if let Seen::Again(reply) = sa.last_of_main_mode.check(fingerprint, self.cx.now.monotonic) {
                let path = sa.facts.path;
                return self.answer_duplicate(path, reply);
            }
            return self.dropped(path, "phase 1 that is over");
        }
        let from = |handshake: &&mut Handshake| from(handshake.path, &handshake.traits.path_nat);
        let Some(handshake) = self.handshakes.get_mut(&id).filter(from) else {
            return self.dropped(path, "phase 1 from another address than it began with");
        };
        if handshake.state.as_ref().is_some_and(|state| state.mode() != mode) {
            return self.dropped(path, "another exchange than it began with");
        }
        match handshake.answered.check(fingerprint, self.cx.now.monotonic) {
            Seen::Again(reply) => self.answer_duplicate(path, reply),
            Seen::New if handshake.refused.as_ref().is_some_and(|(refused, _)| *refused == fingerprint) => {}
            Seen::New
                if handshake.state.as_ref().is_some_and(State::awaits_public_value)
                    && !self.admission.may_exchange_keys(path.peer.ip()) =>
            {
                self.dropped(path, "too many main modes of this source have proved nothing yet");
            }
            Seen::New => {
                let before = std::mem::replace(&mut handshake.path, path);
                self.drive_handshake(id, Step::Message(message), Some(fingerprint));
                // Only a message that moves the exchange on may move it elsewhere (IKEV1 NT-7).
                let stayed = self.handshakes.get_mut(&id).filter(|handshake| !handshake.answered.is_last(fingerprint));
                if let Some(handshake) = stayed {
                    handshake.path = before;
                }
            }
        }
    }

    pub(super) fn answer_duplicate(&mut self, path: Path, reply: Option<Vec<u8>>) {
        self.cx.report(Level::Notify, path.peer, Event::Retransmitted { peer: path.peer });
        if let Some(reply) = reply {
            self.cx.send(path, reply);
        }
    }

    /// MM1 or AM1 of a peer.
    fn first_message(&mut self, mode: ExchangeMode, path: Path, message: &Message<'_>, fingerprint: Fingerprint) {
        let cookie = message.header.initiator;
        if self.by_cookies.contains_key(&Cookies { initiator: cookie, responder: Cookie::ZERO }) {
            return self.dropped(path, "our own first message came back");
        }
        if let Some(id) = self.first_messages.get(&(cookie, path.peer)).copied() {
            let now = self.cx.now.monotonic;
            return match self.handshakes.get_mut(&id).map(|handshake| handshake.answered.check(fingerprint, now)) {
                Some(Seen::Again(reply)) => self.answer_duplicate(path, reply),
                _ => self.dropped(path, "another first message with the same cookie"),
            };
        }
        let peer = path.peer.ip();
        let mut candidates = self.cx.config.candidates(path.peer);
        if candidates.is_empty() {
            return self.cx.report(Level::Error, path.peer, Event::UnknownPeer { peer });
        }
        candidates.retain(|remote| remote.remote.exchange_modes.contains(&mode));
        let Some(remote) = candidates.first().cloned() else {
            return self.refuse_exchange(mode, path, cookie);
        };
        if mode == ExchangeMode::Aggressive {
            if self.cx.open_jobs() >= MOST_QUESTIONS {
                return self.dropped(path, "too many questions to keys and judges are open");
            }
            if !self.admission.may_be_aggressive(peer, self.cx.now.monotonic) {
                return self.dropped(path, "too many first messages of aggressive mode in this second");
            }
        }
        if let Some(victim) = self.admission.victim(peer) {
            self.forget_handshake(victim);
        }
        let id = self.cx.phase1_id();
        let mut handshake = Handshake::new(id, path, remote, candidates, self.cx.now.monotonic);
        let begun = State::respond(mode, message, &mut handshake.facts(&mut self.cx, Role::Responder, false));
        let (state, datagram) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.refuse_first_message(path, cookie, &error),
        };
        self.cx.report(Level::Info, path.peer, Event::Phase1Responded(path.into()));
        self.cx.report(Level::Info, path.peer, begins(mode));
        handshake.begin(state);
        handshake.answered.accepted(fingerprint, self.cx.now.monotonic);
        if let Some(datagram) = &datagram {
            handshake.answered.answered(datagram.clone());
        }
        self.first_messages.insert((cookie, path.peer), id);
        self.admission.enter(id, peer);
        self.enter_handshake(handshake);
        if let Some(datagram) = datagram {
            self.cx.send(path, datagram);
        }
    }

    /// An exchange that no block of the peer has: said, so that it may try another one at once.
    fn refuse_exchange(&mut self, mode: ExchangeMode, path: Path, cookie: Cookie) {
        let name = match mode {
            ExchangeMode::Main => "main",
            ExchangeMode::Aggressive => "aggressive",
        };
        self.dropped(path, &format!("exchange_mode of this remote has no {name}"));
        self.clear_refusal(path, cookie, NotifyType::UNSUPPORTED_EXCHANGE_TYPE);
    }

    /// No state is kept; the one notify is smaller than the message and rate-limited.
    fn refuse_first_message(&mut self, path: Path, cookie: Cookie, error: &ExchangeError) {
        self.note_failure(path, CookiePair(cookie, Cookie::ZERO), error);
        if matches!(error, ExchangeError::NoProposalChosen(_)) {
            self.cx.report_on(Level::Error, path, Event::NoValidProposal);
            self.cx.report_on(Level::Error, path, Event::FirstMessageRefused);
        }
        if let Some(kind) = error.notify() {
            self.clear_refusal(path, cookie, kind);
        }
    }

    fn clear_refusal(&mut self, path: Path, cookie: Cookie, kind: NotifyType) {
        if self.admission.may_notify(self.cx.now.monotonic) {
            let cookies = Cookies { initiator: cookie, responder: self.cx.cookie() };
            let message_id = self.cx.random_u32();
            self.cx.send(path, clear_notify(cookies, message_id, kind));
        }
    }

    /// Is this certificate still good, now that its verdict is here?
    pub(super) fn still_valid(&self, certificate: Arc<PeerCertificate>) -> Result<Arc<PeerCertificate>, Rejection> {
        match certificate.chain.iter().find(|id| self.revoked.contains(id)) {
            None => Ok(certificate),
            Some(_) => Err(Rejection {
                kind: RejectionKind::RevokedByDenyList,
                reason: format!(
                    "certificate of {} issued by {} was revoked meanwhile",
                    certificate.subject, certificate.issuer
                ),
            }),
        }
    }

    /// Moves a main mode on.
    pub(super) fn drive_handshake(&mut self, id: Phase1Id, step: Step<'_>, fingerprint: Option<Fingerprint>) {
        let Some(peer) = self.handshakes.get(&id).map(|handshake| handshake.path.peer.ip()) else { return };
        // Of two that cross the other one is no leftover of an earlier life: charon would end what it just made.
        let crossed = |other: &Phase1Id| *other != id && self.handshakes.contains_key(other);
        let crosses = self.by_peer.get(&peer).into_iter().flatten().any(crossed);
        let first_contact = !crosses && self.is_first_contact(peer);
        let Some(handshake) = self.handshakes.get_mut(&id) else { return };
        let Some(state) = handshake.state.take() else { return };
        let role = state.role();
        // A failing step takes the state with it; the notify that tells the peer needs its keys.
        let protection = state.keyed().map(|keyed| keyed.protection_after(&step));
        let may_contact = first_contact && handshake.remote.remote.initial_contact;
        let outcome = state.step(step, &mut handshake.facts(&mut self.cx, role, may_contact));
        if let (Ok(_), Some(fingerprint)) = (&outcome, fingerprint) {
            handshake.answered.accepted(fingerprint, self.cx.now.monotonic);
            handshake.unanswered = None;
            self.cx.timers.cancel(Timer::Retransmit(ExchangeKey::Phase1(id)));
            let floated = floated(handshake.path, &handshake.traits.path_nat, self.cx.config.natt_port);
            if let (Role::Initiator, Some(path)) = (role, floated) {
                handshake.path = path;
                self.cx.report(Level::Info, path.peer, Event::PortsChanged(path.into()));
            }
        }
        match outcome {
            Ok(Next::Wait(state)) => handshake.state = Some(state),
            Ok(Next::Send(state, datagram)) => {
                let cookies = state.cookies();
                handshake.state = Some(state);
                if cookies != handshake.cookies {
                    self.by_cookies.remove(&handshake.cookies);
                    self.by_cookies.insert(cookies, id);
                    self.cx.cut_messages(handshake.cookies, false);
                    handshake.cookies = cookies;
                }
                self.cx.cut_messages(cookies, handshake.traits.takes_fragments(&handshake.remote.remote));
                match role {
                    Role::Initiator => self.send_awaiting(id, datagram),
                    Role::Responder => {
                        if handshake.state.as_ref().is_some_and(State::peer_is_there) {
                            self.admission.is_there(id);
                        }
                        handshake.answered.answered(datagram.clone());
                        let path = handshake.path;
                        self.cx.send(path, datagram);
                    }
                }
            }
            // A serial may have been revoked while our signature was being made.
            Ok(Next::Done(established, datagram)) => {
                match established.certificate.clone().map(|one| self.still_valid(one)) {
                    Some(Err(rejection)) => self.fail_handshake(id, &ExchangeError::Certificate(rejection), protection),
                    _ => self.phase1_established(id, *established, role, datagram),
                }
            }
            Err(Refused { error, state: Some(state) }) => {
                handshake.state = Some(state);
                handshake.refusals += 1;
                handshake.refused = fingerprint.map(|fingerprint| (fingerprint, error.clone()));
                let spent = handshake.refusals >= MOST_REFUSALS;
                let path = handshake.path;
                self.cx.report(Level::Error, path.peer, Event::Ignored { reason: error.to_string() });
                if spent {
                    self.fail_handshake(id, &error, protection);
                }
            }
            Err(Refused { error, state: None }) => self.fail_handshake(id, &error, protection),
        }
    }

    pub(super) fn handshake_timed_out(&mut self, id: Phase1Id) {
        let Some(handshake) = self.handshakes.get(&id) else { return };
        let Some(state) = &handshake.state else { return };
        let error = match &handshake.refused {
            Some((_, ExchangeError::PskDiffers)) => ExchangeError::PskDiffers,
            _ => ExchangeError::TimedOut(state.awaited()),
        };
        self.fail_handshake(id, &error, None);
    }

    /// Takes a handshake out of all tables.
    pub(super) fn forget_handshake(&mut self, id: Phase1Id) -> Option<Handshake> {
        let handshake = self.handshakes.remove(&id)?;
        self.admission.leave(id);
        self.by_cookies.remove(&handshake.cookies);
        self.cx.cut_messages(handshake.cookies, false);
        self.first_messages.remove(&(handshake.cookies.initiator, handshake.origin.peer));
        crate::children::drop_member(&mut self.by_peer, &handshake.origin.peer.ip(), id);
        self.cx.timers.cancel(Timer::Retransmit(ExchangeKey::Phase1(id)));
        self.cx.timers.cancel(Timer::Deadline(ExchangeKey::Phase1(id)));
        Some(handshake)
    }

    /// Ends a main mode that failed: a line, a notify under the keys if there are any, and whoever waited for it.
    pub(super) fn fail_handshake(&mut self, id: Phase1Id, error: &ExchangeError, protection: Option<Protection>) {
        let Some(handshake) = self.forget_handshake(id) else { return };
        let Cookies { initiator, responder } = handshake.cookies;
        self.note_failure(handshake.path, CookiePair(initiator, responder), error);
        if let (Some(protection), Some(kind)) = (protection, error.notify()) {
            let message_id = self.cx.random_u32() | 1;
            if let Ok(datagram) = seal(&protection, message_id, error_notify(kind, ProtocolId::ISAKMP, Vec::new())) {
                self.cx.send(handshake.path, datagram);
            }
        }
        if !handshake.next_modes.is_empty() && error.is_refusal() {
            let ends = (handshake.origin.local.ip(), handshake.origin.peer.ip());
            return self.initiate_in(Some(handshake.next_modes), ends, handshake.wishes, handshake.replaces);
        }
        self.rekey_failed(handshake.replaces);
        self.abandon(handshake.wishes, &error.to_string());
    }

    /// An error in clear about an aggressive mode of ours that has no answer yet. It proves nothing, but main mode, if it
    /// is to be tried next, tells a liar less than we did already.
    pub(super) fn refused_in_clear(&mut self, path: Path, cookie: Cookie, kind: NotifyType) {
        let waiting = Cookies { initiator: cookie, responder: Cookie::ZERO };
        let Some(id) = self.by_cookies.get(&waiting).copied() else { return };
        let waits = |handshake: &&Handshake| {
            handshake.path == path
                && handshake.next_modes.first() == Some(&ExchangeMode::Main)
                && handshake.state.as_ref().is_some_and(|state| state.mode() == ExchangeMode::Aggressive)
        };
        if self.handshakes.get(&id).filter(waits).is_some() {
            self.fail_handshake(id, &ExchangeError::PeerRefused(kind), None);
        }
    }

    pub(super) fn note_failure(&mut self, path: Path, cookies: CookiePair, error: &ExchangeError) {
        let timed_out = matches!(error, ExchangeError::TimedOut(_));
        let reason = error.to_string();
        let no_proposal = matches!(
            error,
            ExchangeError::NoProposalChosen(_) | ExchangeError::PeerRefused(NotifyType::NO_PROPOSAL_CHOSEN)
        );
        self.last_errors.note(path.peer.ip(), self.cx.now.wall, &reason);
        self.cx.report_on(Level::Error, path, Event::Phase1Failed { reason, timed_out, no_proposal, cookies });
    }

    /// An ISAKMP SA that could not be renewed is tried again while it lives.
    pub(super) fn rekey_failed(&mut self, replaces: Option<Phase1Id>) {
        let Some(sa) = replaces.and_then(|id| self.sas.get(&id)) else { return };
        let at = self.cx.now.monotonic + RETRY;
        if at < sa.expires {
            self.cx.timers.set(Timer::RekeyPhase1(sa.id), at);
        }
    }

    fn phase1_established(&mut self, id: Phase1Id, established: Established, role: Role, datagram: Option<Vec<u8>>) {
        let Some(mut handshake) = self.forget_handshake(id) else { return };
        let Established { keyed, identity, certificate, initial_contact: contact } = established;
        let (path, cookies) = (handshake.path, keyed.cookies);
        self.cx.cut_messages(cookies, handshake.traits.takes_fragments(&handshake.remote.remote));
        let first_contact =
            self.is_first_contact_of(path.peer.ip(), &identity) && handshake.remote.remote.initial_contact;
        for warning in certificate.iter().flat_map(|certificate| &certificate.warnings) {
            self.cx.report(Level::Warning, path.peer, Event::CertificateWarning(warning.clone()));
        }
        if let Some(datagram) = datagram {
            handshake.answered.answered(datagram.clone());
            self.cx.send(path, datagram);
        }
        let owner = Arc::new(Owner {
            local: path.local,
            peer: path.peer,
            identity: identity.clone(),
            certificates: certificate.as_ref().map(|certificate| certificate.chain.clone()).unwrap_or_default(),
            issuer: certificate.as_ref().map(|certificate| certificate.issuer.clone()),
            cookies: (cookies.initiator.0, cookies.responder.0),
        });
        let now = self.cx.now;
        let life = keyed.agreed.lifetime.time;
        let expires = now.monotonic + life;
        let facts = SaFacts {
            path,
            protection: keyed.protection(),
            remote: Arc::clone(&handshake.remote),
            owner: Arc::clone(&owner),
            traits: handshake.traits,
            role,
            mode: handshake.mode,
            auth: keyed.agreed.auth,
            assigned: None,
            groups: Box::default(),
        };
        let times = Times { began: handshake.began, established: now.monotonic, established_wall: now.wall, expires };
        let sa = IsakmpSa::new(id, facts, std::mem::take(&mut handshake.answered), times);
        let event = Event::Phase1Established { ends: sa.ends(), cookies: sa.cookie_pair(), identity };
        self.cx.report(Level::Info, path.peer, event);
        self.enter_sa(sa, cookies, life, role);
        self.last_errors.clear(path.peer.ip());
        if first_contact {
            let payload = (PayloadType::NOTIFY, initial_contact(cookies).encode());
            self.send_informational(id, payload);
        }
        self.contacted.insert((path.peer.ip(), print(&owner.identity)));
        self.keep_alive_if_needed(path, &handshake.traits.path_nat);
        self.begin_session(id, handshake.wishes, handshake.replaces, contact);
        for datagram in handshake.early {
            self.datagram(path, &datagram);
        }
    }

    /// Keeps a message under an ISAKMP SA whose phase 1 the peer has finished and we have not: its certificate is still
    /// before the judge, or AM3 was overtaken or lost. The peer's exact duplicates are all that we repeat AM2 for
    /// otherwise (IKEV1 ), and a peer that is done with phase 1 sends none: it is reminded.
    pub(super) fn keep_early(&mut self, path: Path, message: &Message<'_>, octets: &[u8]) -> bool {
        let Header { initiator, responder, .. } = message.header;
        let id = self.by_cookies.get(&Cookies { initiator, responder });
        let Some(handshake) = id.and_then(|id| self.handshakes.get_mut(id)) else { return false };
        let (judging, awaiting) =
            handshake.state.as_ref().map_or((false, false), |state| (state.is_judging(), state.awaits_third()));
        let from_peer = may_come(handshake.path, &handshake.traits.path_nat, path, self.cx.config.natt_port);
        if !(judging || awaiting) || !from_peer {
            return false;
        }
        if handshake.early.len() < MOST_EARLY && !handshake.early.iter().any(|early| early == octets) {
            handshake.early.push(octets.to_vec());
        }
        if awaiting && let Some(reply) = handshake.answered.remind(self.cx.now.monotonic) {
            let path = handshake.path;
            self.cx.send(path, reply);
        }
        true
    }

    pub(super) fn enter_sa(&mut self, sa: IsakmpSa, cookies: Cookies, life: Duration, role: Role) {
        let (id, peer, now) = (sa.id, sa.facts.path.peer.ip(), self.cx.now.monotonic);
        self.by_cookies.insert(cookies, id);
        self.by_peer.entry(peer).or_default().insert(id);
        self.index(&sa.facts.owner, Holder::Sa(id));
        self.cx.timers.set(Timer::ExpirePhase1(id), sa.expires);
        if sa.facts.remote.remote.rekey != Rekey::Off {
            // The initiator renews; the responder steps in only if it did not.
            let (from, to) = if role == Role::Initiator { (75, 85) } else { (92, 95) };
            let at = now + self.cx.jitter(life, from, to);
            self.cx.timers.set(Timer::RekeyPhase1(id), at);
        }
        self.sas.insert(id, sa);
        self.watch_peer(id);
    }

    /// The wish's traffic can be asked for again; the kernel does so with the next packet.
    pub(super) fn abandon(&mut self, wishes: Vec<ChildWish>, reason: &str) {
        for wish in wishes {
            self.pending.remove(&wish.what);
            let peer = wish.what.peer;
            self.last_errors.note(peer, self.cx.now.wall, reason);
            self.cx.report(Level::Error, SocketAddr::new(peer, self.cx.config.isakmp_port), Event::GaveUp { peer });
            self.child_rekey_failed(wish.replaces);
        }
    }

    /// Takes an ISAKMP SA out of all tables; quick modes under way end with it.
    pub(super) fn forget_sa(&mut self, id: Phase1Id) -> Option<IsakmpSa> {
        self.close_sa(id);
        let sa = self.sas.remove(&id)?;
        self.by_cookies.remove(&sa.facts.protection.cookies);
        self.cx.cut_messages(sa.facts.protection.cookies, false);
        crate::children::drop_member(&mut self.by_peer, &sa.facts.path.peer.ip(), id);
        self.unindex(&sa.facts.owner, Holder::Sa(id));
        for timer in [Timer::RekeyPhase1(id), Timer::ExpirePhase1(id), Timer::RetirePhase1(id)] {
            self.cx.timers.cancel(timer);
        }
        Some(sa)
    }

    /// Ends an ISAKMP SA: nothing begins under it any more, what was under way is still understood for a moment.
    pub(super) fn close_sa(&mut self, id: Phase1Id) {
        if self.sas.get(&id).is_some_and(|sa| !sa.closed) {
            self.end_session(id);
        }
        let Some(sa) = self.sas.get_mut(&id) else { return };
        (sa.closed, sa.retiring) = (true, true);
        let open: Vec<u32> = sa.quick.keys().copied().collect();
        for message_id in open {
            self.drop_quick(id, message_id, "its ISAKMP SA is gone");
        }
        for timer in [Timer::RekeyPhase1(id), Timer::ExpirePhase1(id), Timer::Probe(id)] {
            self.cx.timers.cancel(timer);
        }
        self.cx.timers.set(Timer::RetirePhase1(id), self.cx.now.monotonic + CLOSED_GRACE);
    }

    /// Tells the peer, then closes.
    pub(super) fn delete_sa(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get(&id).filter(|sa| !sa.closed) else { return };
        let (path, ends, cookies) = (sa.facts.path, sa.ends(), sa.cookie_pair());
        let payload = delete_isakmp(sa.facts.protection.cookies);
        self.send_informational(id, payload);
        self.close_sa(id);
        self.cx.report(Level::Info, path.peer, Event::Phase1Deleted { ends, cookies });
    }
}

fn begins(mode: ExchangeMode) -> Event {
    match mode {
        ExchangeMode::Main => Event::BeginMainMode,
        ExchangeMode::Aggressive => Event::BeginAggressiveMode,
    }
}
