//! Resending and recognising duplicates (IKEV1 rules ): no state of an exchange ever sees a packet twice.
//!
//! An initiator resends what is not answered, with growing gaps. A responder of main mode resends only when it sees
//! the exact octets again that it answered, and only so often: it cannot be made an amplifier.

use std::time::Duration;

use policy::model::algorithm::Hash;
use policy::model::remote::Timers;

use crate::crypto::backend::digest;

/// Gap before the first resend; each later gap is twice the one before, up to `timer { interval }`.
const FIRST_GAP: Duration = Duration::from_millis(500);

/// Answers to duplicates of one message within [`DUPLICATE_WINDOW`].
const DUPLICATE_BUDGET: u8 = 2;

/// See [`DUPLICATE_BUDGET`].
const DUPLICATE_WINDOW: Duration = Duration::from_secs(10);

/// A datagram, as far as telling duplicates needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Not greater than any.
    pub(crate) const LEAST: Self = Self([0; 16]);

    /// Of a whole datagram.
    pub(crate) fn of(octets: &[u8]) -> Self {
        let mut short = [0; 16];
        short.iter_mut().zip(digest(Hash::Sha256, &[octets])).for_each(|(to, from)| *to = from);
        Self(short)
    }

    /// Two octets of it: a number that is the same for the same datagram.
    pub(crate) fn short(self) -> u16 {
        let [first, second, ..] = self.0;
        u16::from_be_bytes([first, second])
    }
}

/// A message that waits for its answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    datagram: Vec<u8>,
    resends_left: u32,
    gap: Duration,
    longest_gap: Duration,
}

impl Unanswered {
    /// Keeps `datagram`, just sent for the first time.
    pub(crate) fn new(datagram: Vec<u8>, timers: &Timers) -> Self {
        Self {
            datagram,
            resends_left: timers.counter,
            gap: FIRST_GAP.min(timers.interval),
            longest_gap: timers.interval,
        }
    }

    /// Time until the first resend.
    pub(crate) fn first_gap(&self) -> Duration {
        self.gap
    }

    /// The datagram to send again and the time until the next resend; `None` when all resends are spent.
    pub(crate) fn resend(&mut self) -> Option<(Vec<u8>, Duration)> {
        self.resends_left = self.resends_left.checked_sub(1)?;
        self.gap = (self.gap * 2).min(self.longest_gap);
        Some((self.datagram.clone(), self.gap))
    }
}

/// The last message of the peer that was accepted, and what we answered.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    last: Option<Fingerprint>,
    reply: Option<Vec<u8>>,
    window_began: Duration,
    spent: u8,
}

/// What a datagram is to an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Not the one accepted last.
    New,
    /// A duplicate, with what to send again (`None`: nothing yet, or too often).
    Again(Option<Vec<u8>>),
}

impl Answered {
    /// Is this datagram the one accepted last?
    pub(crate) fn check(&mut self, fingerprint: Fingerprint, now: Duration) -> Seen {
        if self.last != Some(fingerprint) {
            return Seen::New;
        }
        if now.saturating_sub(self.window_began) >= DUPLICATE_WINDOW {
            self.window_began = now;
            self.spent = 0;
        }
        if self.spent >= DUPLICATE_BUDGET {
            return Seen::Again(None);
        }
        if self.reply.is_some() {
            self.spent += 1;
        }
        Seen::Again(self.reply.clone())
    }

    /// The last answer once more, for a peer that shows by other means that it waits; within the same limits.
    pub(crate) fn remind(&mut self, now: Duration) -> Option<Vec<u8>> {
        match self.last.map(|last| self.check(last, now)) {
            Some(Seen::Again(reply)) => reply,
            _ => None,
        }
    }

    /// Notes the message just accepted; its answer may follow later.
    pub(crate) fn accepted(&mut self, fingerprint: Fingerprint, now: Duration) {
        *self = Self { last: Some(fingerprint), reply: None, window_began: now, spent: 0 };
    }

    /// Is this the message accepted last?
    pub(crate) fn is_last(&self, fingerprint: Fingerprint) -> bool {
        self.last == Some(fingerprint)
    }

    /// Notes the answer to the message accepted last.
    pub(crate) fn answered(&mut self, reply: Vec<u8>) {
        self.reply = Some(reply);
    }

    /// Gives the kept answer's memory back.
    pub(crate) fn forget_reply(&mut self) {
        self.reply = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_grow_to_the_interval_and_end() {
        let timers = Timers { counter: 5, interval: Duration::from_secs(3), ..Timers::default() };
        let mut unanswered = Unanswered::new(vec![1], &timers);
        let mut gaps = vec![unanswered.first_gap()];
        while let Some((_, gap)) = unanswered.resend() {
            gaps.push(gap);
        }
        let millis: Vec<u128> = gaps.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [500, 1000, 2000, 3000, 3000, 3000]);
    }

    #[test]
    fn duplicates_are_answered_twice_in_ten_seconds() {
        let mut answered = Answered::default();
        let print = Fingerprint::of(b"message");
        assert_eq!(answered.check(print, Duration::ZERO), Seen::New);
        answered.accepted(print, Duration::ZERO);
        assert_eq!(answered.check(print, Duration::ZERO), Seen::Again(None));
        answered.answered(vec![7]);
        let replies =
            (0..10).filter(|_| answered.check(print, Duration::from_secs(1)) == Seen::Again(Some(vec![7]))).count();
        assert_eq!(replies, 2);
        assert_eq!(answered.check(print, Duration::from_secs(11)), Seen::Again(Some(vec![7])));
        assert_eq!(answered.check(Fingerprint::of(b"other"), Duration::from_secs(11)), Seen::New);
    }
}
