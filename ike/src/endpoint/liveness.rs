//! Is the peer still there? Probes of idle peers, answers to theirs, and the end of what a dead peer had with us
//! (RFC 3706; IKEV1 DP-1 to DP-8; racoon.conf: `dpd_delay`, `dpd_retry`, `dpd_maxfail`).
//!
//! Whatever proves that the peer holds its keys is a sign of life: an IKE message, or ESP that the kernel took. One timer
//! for each ISAKMP SA that is probed, none for the others.

use std::time::Duration;

use policy::model::remote::{Dpd, HookEvent};

use super::Endpoint;
use super::contact::print;
use crate::children::Child;
use crate::context::JobOwner;
use crate::dpd::{self, Prober};
use crate::event::sa::{ChildId, SaName};
use crate::event::{JobId, Output};
use crate::isakmp_sa::IsakmpSa;
use crate::report::{Event, Level};
use crate::retransmit::Fingerprint;
use crate::timer::{Phase1Id, Timer};
use crate::wire::notify::NotifyPayload;
use crate::wire::number::NotifyType;

impl Endpoint {
    /// From now on the peer is probed when it is idle, if the configuration wants that and the peer has said that it
    /// answers.
    pub(super) fn watch_peer(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let Dpd { offered, delay, .. } = sa.facts.remote.remote.dpd;
        if offered && sa.facts.traits.dpd && !delay.is_zero() {
            sa.liveness.prober.get_or_insert_with(|| Box::new(Prober::new(self.cx.random_u32())));
            self.probe_after(id, self.cx.now.monotonic, delay);
        }
    }

    /// The next probe, if nothing is heard any more after `heard`. With jitter: of two sides that were heard in the same
    /// moment one asks, and its question tells the other all it wants to know; and a crowd does not ask at once.
    fn probe_after(&mut self, id: Phase1Id, heard: Duration, delay: Duration) {
        self.cx.timers.set(Timer::Probe(id), heard + self.cx.jitter(delay, 100, 110));
    }

    /// The peer of this SA has been silent, or has not answered a probe: has the kernel heard of it?
    pub(super) fn probe_due(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get(&id).filter(|sa| !sa.closed && !sa.retiring) else { return };
        let now = self.cx.now.monotonic;
        let delay = sa.facts.remote.remote.dpd.delay;
        let heard = self.last_heard(sa);
        let Some(prober) = &sa.liveness.prober else { return };
        let spoke_since = prober.unanswered == 0 || heard >= prober.since;
        if spoke_since && heard + delay > now {
            return self.peer_lives(id, heard, delay);
        }
        let children = self.children_of(sa);
        if children.is_empty() {
            return self.judge_silence(id);
        }
        let inbound = children.iter().filter_map(|child| self.children.get(*child)).map(|child| child.inbound);
        let sas: Vec<SaName> = inbound.collect();
        let job = self.cx.job(JobOwner::Liveness(id));
        self.cx.emit(Output::QueryTraffic { job, sas });
    }

    /// The kernel's answer.
    pub(super) fn traffic_seen(&mut self, job: JobId, packets: u64) {
        let Some((JobOwner::Liveness(id), _)) = self.cx.finish_job(job) else { return };
        let now = self.cx.now.monotonic;
        let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.closed) else { return };
        let delay = sa.facts.remote.remote.dpd.delay;
        let Some(prober) = &mut sa.liveness.prober else { return };
        if prober.has_traffic(packets) {
            return self.peer_lives(id, now, delay);
        }
        self.judge_silence(id);
    }

    /// Silence it is: the next probe, or the end.
    fn judge_silence(&mut self, id: Phase1Id) {
        let now = self.cx.now.monotonic;
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let Dpd { retry, max_failures, .. } = sa.facts.remote.remote.dpd;
        let Some(prober) = &mut sa.liveness.prober else { return };
        if prober.unanswered >= max_failures.max(1) {
            return self.peer_is_dead(id);
        }
        let number = prober.next(now);
        let payload = dpd::notify(NotifyType::R_U_THERE, sa.facts.protection.cookies, number);
        let path = sa.facts.path;
        self.cx.report(Level::Debug, path.peer, Event::PeerProbed { number });
        self.send_informational(id, payload);
        self.cx.timers.set(Timer::Probe(id), now + retry.max(SHORTEST_RETRY));
    }

    fn peer_lives(&mut self, id: Phase1Id, heard: Duration, delay: Duration) {
        if let Some(prober) = self.sas.get_mut(&id).and_then(|sa| sa.liveness.prober.as_mut()) {
            prober.unanswered = 0;
            self.probe_after(id, heard, delay);
        }
    }

    /// When the peer of this SA last proved that it lives, under whichever SA.
    fn last_heard(&self, sa: &IsakmpSa) -> Duration {
        self.siblings(sa)
            .filter_map(|id| self.sas.get(&id))
            .map(|other| other.last_heard)
            .max()
            .unwrap_or(sa.last_heard)
    }

    /// The ISAKMP SAs of the same peer by the same path, this one included.
    fn siblings<'a>(&'a self, sa: &'a IsakmpSa) -> impl Iterator<Item = Phase1Id> + 'a {
        let same = |other: &IsakmpSa| {
            other.facts.path == sa.facts.path && other.facts.owner.identity == sa.facts.owner.identity
        };
        let ids = self.by_peer.get(&sa.facts.path.peer.ip()).into_iter().flatten().copied();
        ids.filter(move |id| self.sas.get(id).is_some_and(same))
    }

    /// The children of this SA's peer by the same path.
    fn children_of(&self, sa: &IsakmpSa) -> Vec<ChildId> {
        let path = sa.facts.path;
        let same = |child: &Child| {
            (child.owner.local, child.owner.peer) == (path.local, path.peer)
                && child.owner.identity == sa.facts.owner.identity
        };
        let mut ids = self.children.by_peer(path.peer.ip());
        ids.retain(|id| self.children.get(*id).is_some_and(same));
        ids
    }

    /// Nobody answers: everything with this peer goes, and nobody is told. Traffic negotiates anew.
    fn peer_is_dead(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get(&id) else { return };
        let (path, ends, cookies) = (sa.facts.path, sa.ends(), sa.cookie_pair());
        let identity = sa.facts.owner.identity.clone();
        let (children, siblings) = (self.children_of(sa), self.siblings(sa).collect::<Vec<_>>());
        self.cx.report(Level::Info, path.peer, Event::PeerDead { ends, cookies });
        self.hook(id, HookEvent::Dead);
        self.last_errors.note(path.peer.ip(), self.cx.now.wall, "dead peer detected");
        for child in children {
            if let Some(child) = self.remove_child(child) {
                self.purged(&child);
            }
        }
        for sibling in siblings {
            self.purge_sa(sibling);
        }
        // Should it come back, it learns that we hold nothing of it.
        self.contacted.remove(&(path.peer.ip(), print(&identity)));
    }

    /// The peer asks whether we live (IKEV1 DP-4, DP-8).
    pub(super) fn probed(&mut self, id: Phase1Id, message_id: u32, fingerprint: Fingerprint, notify: &NotifyPayload) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let (path, cookies) = (sa.facts.path, sa.facts.protection.cookies);
        if !dpd::names(notify, cookies) {
            return self.ignore_probe(id, "a probe that names another ISAKMP SA");
        }
        let Some(number) = sa.liveness.take_probe(notify) else {
            return self.ignore_probe(id, "a probe with a sequence number that is not higher than the last one");
        };
        let payload = dpd::notify(NotifyType::R_U_THERE_ACK, cookies, number);
        let Some(datagram) = self.seal_informational(id, payload) else { return };
        let now = self.cx.now.monotonic;
        if let Some(sa) = self.sas.get_mut(&id) {
            sa.liveness.answered(message_id, fingerprint, now, datagram.clone());
        }
        self.cx.report(Level::Debug, path.peer, Event::ProbeAnswered { number });
        self.cx.send(path, datagram);
    }

    /// The peer says that it lives (IKEV1 DP-5).
    pub(super) fn acknowledged(&mut self, id: Phase1Id, notify: &NotifyPayload) {
        let now = self.cx.now.monotonic;
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let named = dpd::names(notify, sa.facts.protection.cookies);
        let delay = sa.facts.remote.remote.dpd.delay;
        if named && sa.liveness.prober.as_mut().is_some_and(|prober| prober.acknowledged(notify)) {
            return self.peer_lives(id, now, delay);
        }
        self.ignore_probe(id, "an acknowledgement of no probe of ours");
    }

    fn ignore_probe(&mut self, id: Phase1Id, reason: &str) {
        let Some(sa) = self.sas.get(&id) else { return };
        let peer = sa.facts.path.peer;
        self.cx.report(Level::Warning, peer, Event::Ignored { reason: reason.to_owned() });
    }

    /// Has the peer left a probe unanswered?
    pub(super) fn is_doubtful(&self, id: Phase1Id) -> bool {
        let prober = self.sas.get(&id).and_then(|sa| sa.liveness.prober.as_ref());
        prober.is_some_and(|prober| prober.unanswered > 0)
    }
}

/// `dpd_retry 0` is no reason to send as fast as we can.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
