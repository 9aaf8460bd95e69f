//! Quick modes: begun by us or by a peer, moved on, finished, failed; and the children they give.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::model::identity::Identity;
use policy::model::sa::{Protocol, Spi};

use super::moves::is_of;
use super::{Endpoint, Holder};
use crate::children::{Child, Outbound};
use crate::context::{JobOwner, Path};
use crate::error::ExchangeError;
use crate::event::sa::{ChildId, SaName, SaPair};
use crate::event::{JobId, Output};
use crate::handshake::{Handshake, MOST_REFUSALS};
use crate::informational::exchange::{connected_notify, delete_child, error_notify};
use crate::isakmp_sa::MOST_QUICK_MODES;
use crate::message::{Message, Role};
use crate::phase2::exchange::{NewChild, QuickFacts, protocol_id};
use crate::phase2::quick::{Quick, State, Step};
use crate::phase2::wish::{ChildKey, ChildWish};
use crate::phase2::{quick_initiator, quick_responder};
use crate::report::{Event, Level};
use crate::retransmit::{Answered, Fingerprint, Seen, Unanswered};
use crate::step::{Next, Refused};
use crate::timer::{ExchangeKey, Phase1Id, Timer};
use crate::wire::number::{Flags, ProtocolId};

/// How long a peer of another make may need from QM3 to its inbound SA: the packets that the kernel holds for us would
/// reach it too early.
const FOREIGN_GRACE: Duration = Duration::from_millis(50);

/// The same while an older child still carries the traffic: nobody waits for the new one.
const FOREIGN_REKEY_GRACE: Duration = Duration::from_secs(1);

/// The same where the peer has set the commit bit and its CONNECTED does not come.
const COMMIT_GRACE: Duration = Duration::from_secs(1);

/// An acquire for traffic that a child this young serves raced with the child's installation.
const RACE: Duration = Duration::from_secs(2);

impl Endpoint {
    /// Negotiates a child: on the ISAKMP SA with the peer, after the main mode under way, or after a new one.
    pub(super) fn start_child(&mut self, wish: ChildWish) {
        let what = wish.what;
        if self.is_coming(&wish) {
            return;
        }
        let whose = self.holder_of(&wish);
        if let Some(id) = self.sa_with(what.local, what.peer, whose.as_ref()) {
            if let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.is_open()) {
                if self.pending.insert(what) {
                    sa.session_mut().waiting.push(wish);
                }
                return;
            }
            if self.pending.insert(what) || !self.has_quick_for(id, &wish) {
                self.begin_quick(id, wish);
            }
            return;
        }
        if !self.pending.insert(what) {
            return;
        }
        let known = self.known_path((what.local, what.peer), None, std::slice::from_ref(&wish));
        let with_it = |handshake: &Handshake| {
            handshake.path.local.ip() == what.local && known.is_none_or(|known| known == handshake.path)
        };
        let mut handshakes = self.by_peer.get(&what.peer).into_iter().flatten().copied();
        let under_way = handshakes.find(|id| self.handshakes.get(id).is_some_and(with_it));
        match under_way.and_then(|id| self.handshakes.get_mut(&id)) {
            Some(handshake) => handshake.wishes.push(wish),
            None => self.initiate(what.local, what.peer, vec![wish], None),
        }
    }

    /// As [`Self::start_child`], for a wish that has waited for an ISAKMP SA.
    pub(super) fn start_waiting_child(&mut self, wish: ChildWish) {
        // It waits no more: if nothing comes of what is under way instead, the next packet asks anew.
        self.pending.remove(&wish.what);
        self.start_child(wish);
    }

    /// Has the peer made a child for this traffic just now, or is it about to? A renewal is made all the same.
    fn is_coming(&mut self, wish: &ChildWish) -> bool {
        let now = self.cx.now.monotonic;
        let just_made = |child: &Child| !child.replaced && child.established + RACE > now;
        let raced = self.children.by_key(&wish.what).into_iter().filter_map(|id| self.children.get(id)).any(just_made);
        wish.replaces.is_none() && (raced || self.is_offered(wish))
    }

    /// Is a quick mode of the peer's for the same traffic under way? Its ESP may be here before its last message, and
    /// our answer to it then asks for an SA that is about to come.
    fn is_offered(&mut self, wish: &ChildWish) -> bool {
        let ids: Vec<Phase1Id> = self.by_peer.get(&wish.what.peer).into_iter().flatten().copied().collect();
        for id in ids {
            let Some(sa) = self.sas.get_mut(&id) else { continue };
            if let Some(quick) = sa.quick.values_mut().find(|quick| quick.is_offered(&wish.what)) {
                quick.held = wish.policy_index.or(quick.held);
                return true;
            }
        }
        false
    }

    /// Is a quick mode for the same traffic under way on this SA?
    fn has_quick_for(&self, id: Phase1Id, wish: &ChildWish) -> bool {
        let same = |quick: &Quick| quick.wish.as_ref().is_some_and(|other| other.what == wish.what);
        self.sas.get(&id).is_some_and(|sa| sa.quick.values().any(same))
    }

    /// The ISAKMP SA for new quick modes: the newest, one that retires only if there is no other. Of several hosts behind
    /// one NAT it must be that of `whose`, if that is known.
    pub(super) fn sa_with(&self, local: IpAddr, peer: IpAddr, whose: Option<&Identity>) -> Option<Phase1Id> {
        self.by_peer
            .get(&peer)?
            .iter()
            .filter_map(|id| self.sas.get(id))
            .filter(|sa| !sa.closed && sa.facts.path.local.ip() == local && is_of(sa, whose))
            .max_by_key(|sa| (sa.is_open(), !sa.retiring, sa.established, sa.id))
            .map(|sa| sa.id)
    }

    fn begin_quick(&mut self, id: Phase1Id, wish: ChildWish) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let mut message_id = self.cx.random_u32();
        while !sa.is_fresh(message_id) {
            message_id = message_id.wrapping_add(1);
        }
        let path = sa.facts.path;
        let mut chain = sa.facts.protection.chain(message_id);
        let owner = JobOwner::Quick(id, message_id);
        let mut facts = QuickFacts { cx: &mut self.cx, sa: &sa.facts, chain: &mut chain, owner };
        match quick_initiator::begin(wish.clone(), &mut facts) {
            Ok(state) => {
                self.cx.report(Level::Info, path.peer, Event::Phase2Initiated(path.into()));
                sa.quick.insert(message_id, Quick::new(chain, State::Initiator(state), Some(wish)));
                self.arm_quick_deadline(id, message_id);
            }
            Err(error) => self.quick_over(path, Some(wish), &error),
        }
    }

    fn arm_quick_deadline(&mut self, id: Phase1Id, message_id: u32) {
        let at = self.cx.now.monotonic + self.cx.config.timers.phase2;
        self.cx.timers.set(Timer::Deadline(ExchangeKey::Quick(id, message_id)), at);
    }

    /// A message of quick mode.
    pub(super) fn quick_mode(&mut self, path: Path, message: &Message<'_>, fingerprint: Fingerprint) {
        let message_id = message.header.message_id;
        let Some(id) = self.sa_of(path, &message.header) else {
            return self.dropped(path, "quick mode under an unknown ISAKMP SA");
        };
        let now = self.cx.now.monotonic;
        let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.closed) else {
            return self.dropped(path, "quick mode under an ISAKMP SA that was deleted");
        };
        if !sa.is_open() {
            return self.dropped(path, "quick mode before the login is done");
        }
        if let Some(quick) = sa.quick.get_mut(&message_id) {
            return match quick.answered.check(fingerprint, now) {
                Seen::Again(reply) => {
                    quick.told = now;
                    self.answer_duplicate(path, reply);
                }
                Seen::New => {
                    self.drive_quick(id, message_id, Step::Message(message), Some(fingerprint));
                    self.arrived_by_quick(id, message_id, path, fingerprint);
                }
            };
        }
        if let Some(finished) = sa.finished(message_id) {
            return match finished.answered.check(fingerprint, now) {
                Seen::Again(reply) => self.answer_duplicate(path, reply),
                Seen::New => self.dropped(path, "quick mode that is over"),
            };
        }
        if message_id == 0 {
            return self.dropped(path, "quick mode without a message ID");
        }
        if sa.quick.len() >= MOST_QUICK_MODES {
            return self.dropped(path, "too many quick modes at once");
        }
        if !sa.is_fresh(message_id) {
            return self.dropped(path, "quick mode with a message ID that was used before");
        }
        self.first_of_quick(id, message, fingerprint);
        self.arrived_by_quick(id, message_id, path, fingerprint);
    }

    /// QM1 of the peer.
    fn first_of_quick(&mut self, id: Phase1Id, message: &Message<'_>, fingerprint: Fingerprint) {
        let message_id = message.header.message_id;
        let now = self.cx.now.monotonic;
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let path = sa.facts.path;
        let mut chain = sa.facts.protection.chain(message_id);
        let owner = JobOwner::Quick(id, message_id);
        let mut facts = QuickFacts { cx: &mut self.cx, sa: &sa.facts, chain: &mut chain, owner };
        let begun = quick_responder::begin(message, &mut facts);
        let mut answered = Answered::default();
        answered.accepted(fingerprint, now);
        match begun {
            Ok(state) => {
                sa.heard(now);
                let commits = message.header.flags.contains(Flags::COMMIT);
                let event = Event::Phase2Responded(path.into());
                self.cx.report(Level::Info, path.peer, event);
                let mut quick = Quick::new(chain, State::Responder(state), None);
                quick.answered = answered;
                quick.commits = commits;
                sa.quick.insert(message_id, quick);
                self.arm_quick_deadline(id, message_id);
            }
            Err(error) if is_garbage(&error) => {
                self.cx.report(Level::Error, path.peer, Event::Ignored { reason: error.to_string() });
            }
            Err(error) => {
                sa.finish(message_id, answered);
                self.tell_quick_error(id, &error, None);
                self.quick_over(path, None, &error);
            }
        }
    }

    /// The kernel has, or has not, an SPI for us.
    pub(super) fn spi_allocated(&mut self, job: JobId, result: Result<Spi, String>) {
        let Some((owner, request)) = self.cx.finish_job(job) else { return };
        let inbound = request.zip(result.as_ref().ok()).map(|(request, spi)| SaName {
            protocol: request.protocol,
            spi: *spi,
            src: request.src,
            dst: request.dst,
        });
        let JobOwner::Quick(id, message_id) = owner else { return };
        let quick = self.sas.get_mut(&id).and_then(|sa| sa.quick.get_mut(&message_id));
        match (quick, inbound) {
            (Some(quick), inbound) => {
                quick.inbound.extend(inbound);
                self.drive_quick(id, message_id, Step::Spi(job, result), None);
            }
            // It came too late: nobody wants it any more.
            (None, Some(inbound)) => self.cx.remove_sa(inbound),
            (None, None) => {}
        }
    }

    /// Moves a quick mode on.
    pub(super) fn drive_quick(
        &mut self,
        id: Phase1Id,
        message_id: u32,
        step: Step<'_>,
        fingerprint: Option<Fingerprint>,
    ) {
        let now = self.cx.now.monotonic;
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let Some(quick) = sa.quick.get_mut(&message_id) else { return };
        let Some(state) = quick.state.take() else { return };
        let path = sa.facts.path;
        let owner = JobOwner::Quick(id, message_id);
        let mut facts = QuickFacts { cx: &mut self.cx, sa: &sa.facts, chain: &mut quick.chain, owner };
        let commits = matches!(&step, Step::Message(message) if message.header.flags.contains(Flags::COMMIT));
        let outcome = state.step(step, &mut facts);
        if let (Ok(_), Some(fingerprint)) = (&outcome, fingerprint) {
            quick.commits |= commits;
            sa.last_heard = now;
            quick.answered.accepted(fingerprint, now);
            quick.unanswered = None;
            self.cx.timers.cancel(Timer::Retransmit(ExchangeKey::Quick(id, message_id)));
        }
        match outcome {
            Ok(Next::Wait(state)) => quick.state = Some(state),
            Ok(Next::Send(state, datagram)) => {
                quick.state = Some(state);
                // QM2 too is resent until QM3 comes: its loss would leave the initiator sending to nobody (ATTACKS A-30).
                let unanswered = Unanswered::new(datagram.clone(), &self.cx.config.timers);
                let at = now + unanswered.first_gap();
                quick.unanswered = Some(unanswered);
                quick.answered.answered(datagram.clone());
                quick.told = now;
                self.cx.timers.set(Timer::Retransmit(ExchangeKey::Quick(id, message_id)), at);
                self.cx.send(path, datagram);
            }
            Ok(Next::Done(child, datagram)) => self.quick_done(id, message_id, *child, datagram),
            Err(Refused { error, state: Some(state) }) => {
                quick.state = Some(state);
                quick.refusals += 1;
                let spent = quick.refusals >= MOST_REFUSALS;
                self.cx.report(Level::Error, path.peer, Event::Ignored { reason: error.to_string() });
                if spent {
                    self.fail_quick(id, message_id, &error);
                }
            }
            Err(Refused { error, state: None }) => self.fail_quick(id, message_id, &error),
        }
    }

    pub(super) fn resend_quick(&mut self, id: Phase1Id, message_id: u32) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let Some(quick) = sa.quick.get_mut(&message_id) else { return };
        let Some(unanswered) = quick.unanswered.as_mut() else { return };
        match unanswered.resend() {
            Some((datagram, gap)) => {
                let path = sa.facts.path;
                quick.told = self.cx.now.monotonic;
                self.cx.send(path, datagram);
                self.cx.timers.set(Timer::Retransmit(ExchangeKey::Quick(id, message_id)), self.cx.now.monotonic + gap);
            }
            None => self.quick_timed_out(id, message_id),
        }
    }

    pub(super) fn quick_timed_out(&mut self, id: Phase1Id, message_id: u32) {
        let Some(sa) = self.sas.get(&id) else { return };
        let Some(quick) = sa.quick.get(&message_id) else { return };
        let wish = quick.wish.clone();
        let silent =
            wish.is_some() && sa.last_heard + self.cx.config.timers.phase2.min(PEER_SILENCE) <= self.cx.now.monotonic;
        let missing = if wish.is_some() {
            "no answer to our quick mode"
        } else {
            "the last message of the peer's quick mode never came"
        };
        self.fail_quick(id, message_id, &ExchangeError::TimedOut(missing));
        // A peer that lost its ISAKMP SA in a restart is silent to everything under it: begin anew.
        if silent {
            self.delete_sa(id);
            if let Some(wish) =
                wish.filter(|wish| self.children.by_key(&wish.what).is_empty() || wish.replaces.is_some())
            {
                self.later.push_back(wish);
            }
        }
    }

    /// Takes a quick mode out, with what stands in the kernel for it.
    fn forget_quick(&mut self, id: Phase1Id, message_id: u32) -> Option<Quick> {
        let sa = self.sas.get_mut(&id)?;
        let quick = sa.quick.remove(&message_id)?;
        if sa.quick.is_empty() {
            // An empty map keeps a node with room for eleven quick modes: half of all that a tunnel weighs.
            sa.quick = BTreeMap::new();
        }
        self.cx.timers.cancel(Timer::Retransmit(ExchangeKey::Quick(id, message_id)));
        self.cx.timers.cancel(Timer::Deadline(ExchangeKey::Quick(id, message_id)));
        Some(quick)
    }

    /// Ends a quick mode that failed, telling the peer.
    pub(super) fn fail_quick(&mut self, id: Phase1Id, message_id: u32, error: &ExchangeError) {
        let Some(quick) = self.forget_quick(id, message_id) else { return };
        quick.inbound.iter().for_each(|inbound| self.cx.remove_sa(*inbound));
        self.release_policies(&quick);
        if let Some(sa) = self.sas.get_mut(&id) {
            let path = sa.facts.path;
            sa.finish(message_id, quick.answered);
            self.tell_quick_error(id, error, quick.inbound.first().copied());
            self.quick_over(path, quick.wish, error);
        }
    }

    /// Ends a quick mode whose ISAKMP SA goes, telling nobody.
    pub(super) fn drop_quick(&mut self, id: Phase1Id, message_id: u32, reason: &str) {
        let Some(quick) = self.forget_quick(id, message_id) else { return };
        quick.inbound.iter().for_each(|inbound| self.cx.remove_sa(*inbound));
        self.release_policies(&quick);
        let Some(path) = self.sas.get(&id).map(|sa| sa.facts.path) else { return };
        self.quick_over(path, quick.wish, &ExchangeError::Local(reason.to_owned()));
    }

    /// A quick mode that is over without a child uses no policy any more.
    fn release_policies(&mut self, quick: &Quick) {
        for key in [quick.generated, quick.wish.as_ref().map(|wish| wish.what)].into_iter().flatten() {
            self.release_policy(&key);
        }
    }

    fn tell_quick_error(&mut self, id: Phase1Id, error: &ExchangeError, inbound: Option<SaName>) {
        if let Some(kind) = error.notify() {
            let protocol = inbound.map_or(ProtocolId::ESP, |inbound| protocol_id(inbound.protocol));
            let spi = inbound.map(|inbound| inbound.spi.0.to_be_bytes().to_vec()).unwrap_or_default();
            self.send_informational(id, error_notify(kind, protocol, spi));
        }
    }

    fn quick_over(&mut self, path: Path, wish: Option<ChildWish>, error: &ExchangeError) {
        let timed_out = matches!(error, ExchangeError::TimedOut(_));
        let (peer, reason) = (path.peer.ip(), error.to_string());
        self.last_errors.note(peer, self.cx.now.wall, &reason);
        self.cx.report(Level::Error, path.peer, Event::Phase2Failed { peer, reason, timed_out });
        if let Some(wish) = wish {
            self.pending.remove(&wish.what);
            if wish.replaces.is_none() {
                self.cool_down(wish.what);
            }
            self.child_rekey_failed(wish.replaces);
        }
    }

    /// A quick mode of ours that the peer refused with a protected notify.
    pub(super) fn quick_refused(&mut self, id: Phase1Id, spi: &[u8], error: &ExchangeError) {
        let Some(sa) = self.sas.get(&id) else { return };
        let ours = |quick: &Quick| quick.wish.is_some() && quick.unanswered.is_some();
        let named = |quick: &Quick| quick.inbound.iter().any(|inbound| inbound.spi.0.to_be_bytes().as_slice() == spi);
        let mut waiting = sa.quick.iter().filter(|(_, quick)| ours(quick));
        // The notify names the SPI that we proposed, or (most peers) nothing that we could tell: then it must be the
        // only one under way.
        let by_spi = sa.quick.iter().find(|(_, quick)| ours(quick) && named(quick));
        let only = match (waiting.next(), waiting.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        if let Some(message_id) = by_spi.or(only).map(|(message_id, _)| *message_id) {
            self.fail_quick(id, message_id, error);
        }
    }

    /// Both sides have what they need: the child stands, its outbound SA follows when the peer can receive.
    fn quick_done(&mut self, id: Phase1Id, message_id: u32, new: NewChild, datagram: Option<Vec<u8>>) {
        let Some(quick) = self.forget_quick(id, message_id) else { return };
        // SPIs of protocols that the peer did not take go back.
        let used = |name: &SaName| *name == new.inbound || new.beside.iter().any(|pair| pair.inbound == *name);
        quick.inbound.iter().filter(|name| !used(name)).for_each(|name| self.cx.remove_sa(*name));
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let path = sa.facts.path;
        let (owner, peer_is_xfrmd) = (Arc::clone(&sa.facts.owner), sa.facts.traits.xfrmd);
        let nat = sa.facts.traits.path_nat;
        let mut answered = quick.answered;
        if let Some(datagram) = datagram {
            answered.answered(datagram.clone());
            self.cx.send(path, datagram);
        }
        sa.finish(message_id, answered);
        self.pending.remove(&new.key);
        self.refusals.forgive(&new.key);
        let now = self.cx.now.monotonic;
        let carried =
            self.children.by_key(&new.key).into_iter().filter_map(|old| self.children.get(old)).any(Child::carries);
        let grace = match (new.role, peer_is_xfrmd, carried) {
            // The responder has installed before QM2 (ours), or we are the responder and QM3 says that the peer has.
            (Role::Responder, ..) | (_, true, _) => Duration::ZERO,
            // The peer asks us to wait for its CONNECTED; the SA is used all the same if that is lost (IKEV1 C-3).
            (Role::Initiator, false, _) if quick.commits => COMMIT_GRACE,
            (Role::Initiator, false, false) => FOREIGN_GRACE,
            (Role::Initiator, false, true) => FOREIGN_REKEY_GRACE,
        };
        let child = Child {
            id: new.id,
            key: new.key,
            inbound: new.inbound,
            outbound: new.outbound,
            beside: new.beside,
            owner,
            made_under: Some(id),
            role: new.role,
            encapsulation: new.outbound_sas.first().and_then(|sa| sa.encapsulation),
            nat,
            state: Outbound::Held(new.outbound_sas),
            established: now,
            told: if new.role == Role::Responder { quick.told } else { now },
            rekey_at: now + new.soft,
            expires: now + new.hard,
            policy_index: new.policy_index.or(quick.held),
            peer_is_xfrmd,
            replaced: false,
        };
        let (connected, role) = (child.inbound, child.role);
        self.enter_child(child);
        if quick.commits && role == Role::Responder {
            self.send_informational(id, connected_notify(connected));
        }
        if grace.is_zero() {
            self.install_outbound(new.id);
        } else {
            self.cx.timers.set(Timer::InstallOutbound(new.id), now + grace);
        }
    }

    pub(super) fn enter_child(&mut self, child: Child) {
        self.index(&child.owner, Holder::Child(child.id));
        self.cx.timers.set(Timer::RekeyChild(child.id), child.rekey_at);
        self.cx.timers.set(Timer::ExpireChild(child.id), child.expires);
        self.children.insert(child);
    }

    pub(super) fn install_outbound(&mut self, id: ChildId) {
        let Some(child) = self.children.get_mut(id) else { return };
        let Outbound::Held(sas) = &mut child.state else { return };
        let sas = std::mem::take(sas);
        child.state = Outbound::Installing(sas.len());
        for sa in sas {
            let job = self.cx.job(JobOwner::Child(id));
            self.cx.emit(Output::InstallSa { job, sa: Box::new(sa) });
        }
    }

    pub(super) fn outbound_installed(&mut self, id: ChildId, result: Result<(), String>) {
        let Some(child) = self.children.get_mut(id) else { return };
        let (peer, mode) = (child.owner.peer, child.key.mode);
        if let Err(why) = result {
            let reason = format!("the kernel refuses the outbound SA: {why}");
            self.last_errors.note(peer.ip(), self.cx.now.wall, &reason);
            self.cx.report(Level::Error, peer, Event::Phase2Failed { peer: peer.ip(), reason, timed_out: false });
            return self.delete_child(id);
        }
        match &mut child.state {
            Outbound::Installing(left) if *left > 1 => {
                *left -= 1;
                return;
            }
            state => *state = Outbound::Installed,
        }
        let local = child.owner.local;
        for pair in child.pairs() {
            for (from, to, sa) in [(peer, local, pair.inbound), (local, peer, pair.outbound)] {
                self.cx.report(Level::Info, peer, Event::ChildEstablished { from, to, mode, sa });
            }
        }
        if let Some(policy_index) = self.children.get(id).and_then(|child| child.policy_index) {
            self.cx.emit(Output::ReleaseHeld { policy_index });
        }
        self.settle_children(id);
    }

    /// Takes a child out of all tables and of the kernel.
    pub(super) fn remove_child(&mut self, id: ChildId) -> Option<Child> {
        let child = self.children.remove(id)?;
        self.unindex(&child.owner, Holder::Child(id));
        for timer in [Timer::InstallOutbound(id), Timer::RekeyChild(id), Timer::ExpireChild(id), Timer::RetireChild(id)]
        {
            self.cx.timers.cancel(timer);
        }
        self.remove_from_kernel(&child);
        self.promote_replaced(&child.key);
        self.release_policy(&child.key);
        Some(child)
    }

    /// As [`Self::remove_child`], telling the peer.
    pub(super) fn delete_child(&mut self, id: ChildId) {
        let Some(child) = self.remove_child(id) else { return };
        // charon looks for the child under the ISAKMP SA that the DELETE comes by, and nowhere else.
        let serves = |id: &Phase1Id| self.sas.get(id).is_some_and(|sa| !sa.retiring);
        let parent = child.made_under.filter(serves).or_else(|| {
            let ChildKey { local, peer, .. } = child.key;
            self.sa_with(local, peer, Some(&child.owner.identity))
        });
        let Some(sa) = parent else { return };
        // Nobody looks at a DELETE of IPComp: its SAs go with those they are inside of.
        for SaPair { inbound, .. } in child.pairs().filter(|pair| pair.inbound.protocol != Protocol::Ipcomp) {
            self.send_informational(sa, delete_child(inbound.protocol, inbound.spi));
        }
    }
}

/// A peer that has been silent this long while we asked has lost its ISAKMP SA.
const PEER_SILENCE: Duration = Duration::from_secs(15);

/// Errors of a message that proves nothing: it may be forged or damaged, and the real one may still come.
fn is_garbage(error: &ExchangeError) -> bool {
    matches!(
        error,
        ExchangeError::Wire(_)
            | ExchangeError::HashMismatch
            | ExchangeError::CiphertextLength(_)
            | ExchangeError::Encryption { .. }
            | ExchangeError::WrongOrder(_)
            | ExchangeError::MissingPayload(_)
            | ExchangeError::RepeatedPayload(_)
            | ExchangeError::UnexpectedPayload(_)
    )
}
