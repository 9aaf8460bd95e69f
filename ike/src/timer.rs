//! What the endpoint waits for by the clock: one table, each timer at most once in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::sa::ChildId;

/// Names a phase 1, from its first message to the end of its ISAKMP SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phase1Id(pub u64);

/// Names an exchange that keeps a message to resend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ExchangeKey {
    /// Main mode.
    Phase1(Phase1Id),
    /// The quick mode with this message ID.
    Quick(Phase1Id, u32),
    /// The transaction exchange with this message ID.
    Transaction(Phase1Id, u32),
}

/// Everything that happens by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Resend the last message of an exchange.
    Retransmit(ExchangeKey),
    /// Give an exchange up.
    Deadline(ExchangeKey),
    /// Renegotiate an ISAKMP SA.
    RekeyPhase1(Phase1Id),
    /// An ISAKMP SA has reached its end.
    ExpirePhase1(Phase1Id),
    /// A replaced ISAKMP SA can go.
    RetirePhase1(Phase1Id),
    /// The login or the configuration under an ISAKMP SA takes too long.
    Login(Phase1Id),
    /// A password may be checked now.
    CheckPassword(Phase1Id),
    /// The peer has had the time to install: begin to send on the new SA.
    InstallOutbound(ChildId),
    /// Renegotiate a child.
    RekeyChild(ChildId),
    /// A child has reached its end.
    ExpireChild(ChildId),
    /// A replaced child can go.
    RetireChild(ChildId),
    /// The NAT's mapping of the path with this number must be kept alive.
    KeepAlive(u64),
    /// The peer of this ISAKMP SA has been silent, or has not answered a probe.
    Probe(Phase1Id),
    /// Unfinished messages that came in pieces are forgotten.
    Reassembly,
    /// Traffic whose quick mode failed waits to be asked for again.
    Refusals,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct TimerTable {
    by_time: BTreeSet<(Duration, Timer)>,
    armed: BTreeMap<Timer, Duration>,
}

impl TimerTable {
    /// Arms `timer`, replacing its earlier time.
    pub(crate) fn set(&mut self, timer: Timer, at: Duration) {
        self.cancel(timer);
        self.armed.insert(timer, at);
        self.by_time.insert((at, timer));
    }

    /// Disarms `timer`.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.armed.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    /// When `timer` fires, if it is armed.
    pub(crate) fn when(&self, timer: Timer) -> Option<Duration> {
        self.armed.get(&timer).copied()
    }

    /// Time of the earliest timer.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    /// The armed timers with what they are for, earliest first.
    pub(crate) fn armed(&self) -> impl Iterator<Item = (Duration, String)> {
        self.by_time.iter().map(|(at, timer)| (*at, format!("{timer:?}")))
    }

    /// Number of armed timers.
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }
}
