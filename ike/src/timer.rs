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

/// An armed timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    /// When it fires.
    pub(crate) at: Duration,
    /// When it was armed, in whole seconds: for listings.
    pub(crate) since_s: u32,
    /// Its place among all that were ever armed, for listings.
    pub(crate) number: u32,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct TimerTable {
    by_time: BTreeSet<(Duration, Timer)>,
    armed: BTreeMap<Timer, Armed>,
    now: Duration,
    last_number: u32,
}

impl TimerTable {
    /// It is this late.
    pub(crate) fn passed(&mut self, now: Duration) {
        self.now = now;
    }

    /// Arms `timer`, replacing its earlier time.
    pub(crate) fn set(&mut self, timer: Timer, at: Duration) {
        self.cancel(timer);
        self.last_number = self.last_number.wrapping_add(1);
        let since_s = u32::try_from(self.now.as_secs()).unwrap_or(u32::MAX);
        self.armed.insert(timer, Armed { at, since_s, number: self.last_number });
        self.by_time.insert((at, timer));
    }

    /// Disarms `timer`.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(Armed { at, .. }) = self.armed.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    /// When `timer` fires, if it is armed.
    pub(crate) fn when(&self, timer: Timer) -> Option<Duration> {
        self.armed.get(&timer).map(|armed| armed.at)
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
    pub(crate) fn armed(&self) -> impl Iterator<Item = (Armed, String)> {
        let named = |(_, timer): &(Duration, Timer)| Some((*self.armed.get(timer)?, format!("{timer:?}")));
        self.by_time.iter().filter_map(named)
    }

    /// Number of armed timers.
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }
}
