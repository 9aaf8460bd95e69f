//! Guessing passwords is slow (racoon.conf: `auth_throttle`): after a wrong one the next checks for the same address
//! come one at a time, further and further apart.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Addresses remembered; the one with the longest peace makes room.
const MOST: usize = 1024;

/// Beyond this many failures the gap grows no more.
const MOST_FAILURES: u32 = 10;

/// Failures are forgotten after this time without another one.
const FORGET: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    last: Duration,
    next: Duration,
}

/// Who has failed.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    by_peer: BTreeMap<IpAddr, Entry>,
}

impl Throttle {
    /// When the next password of `peer` may be checked; the place is taken.
    pub(crate) fn slot(&mut self, peer: IpAddr, gap: Duration, now: Duration) -> Duration {
        let Some(entry) = self.by_peer.get_mut(&peer) else { return now };
        if entry.last + FORGET <= now {
            self.by_peer.remove(&peer);
            return now;
        }
        let slot = entry.next.max(now);
        entry.next = slot + gap * entry.failures.min(MOST_FAILURES);
        slot
    }

    /// A password of `peer` was wrong.
    pub(crate) fn failed(&mut self, peer: IpAddr, gap: Duration, now: Duration) {
        if gap.is_zero() {
            return;
        }
        if self.by_peer.len() >= MOST && !self.by_peer.contains_key(&peer) {
            let calmest = self.by_peer.iter().min_by_key(|(_, entry)| entry.last).map(|(peer, _)| *peer);
            calmest.and_then(|peer| self.by_peer.remove(&peer));
        }
        let entry = self.by_peer.entry(peer).or_insert(Entry { failures: 0, last: now, next: now });
        entry.failures += 1;
        entry.last = now;
        entry.next = entry.next.max(now + gap * entry.failures.min(MOST_FAILURES));
    }

    /// A password of `peer` was right.
    pub(crate) fn succeeded(&mut self, peer: IpAddr) {
        self.by_peer.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_come_one_at_a_time_and_further_apart() {
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let second = Duration::from_secs(1);
        let mut throttle = Throttle::default();
        assert_eq!(throttle.slot(peer, second, second), second, "nobody waits for his first");
        throttle.failed(peer, second, second);
        let slots: Vec<u64> = (0..3).map(|_| throttle.slot(peer, second, second).as_secs()).collect();
        assert_eq!(slots, [2, 3, 4], "three at once are checked one after the other");
        throttle.failed(peer, second, second * 2);
        assert_eq!(throttle.slot(peer, second, second * 5), second * 5);
        assert_eq!(throttle.slot(peer, second, second * 5), second * 7);
        throttle.succeeded(peer);
        assert_eq!(throttle.slot(peer, second, second * 5), second * 5);
        throttle.failed(peer, Duration::ZERO, second);
        assert_eq!(throttle.slot(peer, Duration::ZERO, second), second, "auth_throttle 0");
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        for number in 0..3000u32 {
            let peer = IpAddr::from(std::net::Ipv4Addr::from(number));
            throttle.failed(peer, Duration::from_secs(1), Duration::from_secs(number.into()));
        }
        assert_eq!(throttle.by_peer.len(), MOST);
    }
}
