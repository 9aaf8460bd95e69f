//! Quick modes: begun by us or by a peer, moved on, finished, failed.

use std::collections::BTreeMap;
use std::time::Duration;

use policy::model::sa::Spi;

use super::Endpoint;
use crate::context::{JobOwner, Path};
use crate::error::ExchangeError;
use crate::event::JobId;
use crate::event::sa::SaName;
use crate::handshake::MOST_REFUSALS;
use crate::informational::exchange::error_notify;
use crate::isakmp_sa::MOST_QUICK_MODES;
use crate::message::Message;
use crate::phase2::exchange::{QuickFacts, protocol_id};
use crate::phase2::quick::{Quick, State, Step};
use crate::phase2::quick_responder;
use crate::phase2::wish::ChildWish;
use crate::report::{Event, Level};
use crate::retransmit::{Answered, Fingerprint, Seen, Unanswered};
use crate::step::{Next, Refused};
use crate::timer::{ExchangeKey, Phase1Id, Timer};
use crate::wire::number::{Flags, ProtocolId};

/// A peer that has been silent this long while we asked has lost its ISAKMP SA.
const PEER_SILENCE: Duration = Duration::from_secs(15);

impl Endpoint {
    pub(super) fn arm_quick_deadline(&mut self, id: Phase1Id, message_id: u32) {
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
    pub(super) fn forget_quick(&mut self, id: Phase1Id, message_id: u32) -> Option<Quick> {
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

    pub(super) fn quick_over(&mut self, path: Path, wish: Option<ChildWish>, error: &ExchangeError) {
        let timed_out = matches!(error, ExchangeError::TimedOut(_));
        let (peer, reason) = (path.peer.ip(), error.to_string());
        self.last_errors.note(peer, self.cx.now.wall, &reason);
        self.cx.report_on(Level::Error, path, Event::Phase2Failed { peer, reason, timed_out });
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
}

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
