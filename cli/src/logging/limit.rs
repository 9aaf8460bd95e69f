//! A bound on the lines that strangers can cause (ATTACKS D-10): so many of each address, and so many of all together. What is
//! held back is counted, and the count is told now and then.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Lines of one address in a second, in the long run.
pub const OF_ONE: u32 = 10;
/// Lines of one address at once: a phase 1 causes some twenty of them.
const BURST_OF_ONE: u32 = 40;
/// Lines of all addresses in a second.
const OF_ALL: u32 = 50;
/// Lines of all addresses at once.
const BURST_OF_ALL: u32 = 200;
/// Addresses with a count of their own; the lines of others count among those of all only.
const MOST_PEERS: usize = 1024;
/// How often one address's count is told.
const TELL: Duration = Duration::from_secs(5);

/// A token bucket over log lines.
#[derive(Debug)]
pub struct RateLimit {
    gap: Duration,
    room: Duration,
    /// The bucket is full again at this time; each line pushes it one gap on.
    full_at: Duration,
}

impl RateLimit {
    /// `per_second` lines in the long run, as many at once.
    pub fn new(per_second: u32) -> Self {
        Self::with_burst(per_second, per_second)
    }

    fn with_burst(per_second: u32, burst: u32) -> Self {
        let gap = Duration::from_secs(1) / per_second.max(1);
        Self { gap, room: gap * burst.max(1), full_at: Duration::ZERO }
    }

    /// May a line be written at `now` (monotonic)?
    pub fn admit(&mut self, now: Duration) -> bool {
        let full_at = self.full_at.max(now) + self.gap;
        let fits = full_at.saturating_sub(now) <= self.room;
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

/// What one address has caused.
#[derive(Debug)]
struct Share {
    bucket: RateLimit,
    held_back: u64,
    /// When what is held back is to be told.
    tell_at: Duration,
}

/// The bounds.
#[derive(Debug)]
pub struct Limits {
    shares: BTreeMap<IpAddr, Share>,
    all: RateLimit,
    /// Held back of addresses without a share.
    others: u64,
    others_tell_at: Duration,
    total: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            shares: BTreeMap::new(),
            all: RateLimit::with_burst(OF_ALL, BURST_OF_ALL),
            others: 0,
            others_tell_at: Duration::ZERO,
            total: 0,
        }
    }
}

impl Limits {
    /// May a line that `peer` caused be written at `now` (monotonic)? If not, it is counted.
    pub fn admit(&mut self, peer: Option<IpAddr>, now: Duration) -> bool {
        if self.shares.len() >= MOST_PEERS {
            self.shares.retain(|_, share| share.held_back > 0 || share.bucket.full_at > now);
        }
        let may_grow = self.shares.len() < MOST_PEERS;
        let share = peer.and_then(|peer| {
            if may_grow {
                let bucket = || RateLimit::with_burst(OF_ONE, BURST_OF_ONE);
                let fresh = || Share { bucket: bucket(), held_back: 0, tell_at: Duration::ZERO };
                return Some(self.shares.entry(peer).or_insert_with(fresh));
            }
            self.shares.get_mut(&peer)
        });
        match share {
            Some(share) => {
                if share.bucket.admit(now) && self.all.admit(now) {
                    return true;
                }
                if share.held_back == 0 {
                    share.tell_at = now + TELL;
                }
                share.held_back += 1;
            }
            None => {
                if self.all.admit(now) {
                    return true;
                }
                if self.others == 0 {
                    self.others_tell_at = now + TELL;
                }
                self.others += 1;
            }
        }
        self.total += 1;
        false
    }

    /// What has to be told by now: of whom, and how many lines. `None` is everybody without a count of his own.
    pub fn due(&mut self, now: Duration) -> Vec<(Option<IpAddr>, u64)> {
        let mut due = Vec::new();
        for (peer, share) in &mut self.shares {
            if share.held_back > 0 && share.tell_at <= now {
                due.push((Some(*peer), std::mem::take(&mut share.held_back)));
            }
        }
        if self.others > 0 && self.others_tell_at <= now {
            due.push((None, std::mem::take(&mut self.others)));
        }
        due
    }

    /// When [`Self::due`] has something next.
    pub fn wake_at(&self) -> Option<Duration> {
        let shares = self.shares.values().filter(|share| share.held_back > 0).map(|share| share.tell_at);
        shares.chain((self.others > 0).then_some(self.others_tell_at)).min()
    }

    /// Lines held back since the start.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn flood_is_cut_to_the_rate_and_every_line_is_accounted_for() {
        let mut limits = Limits::default();
        let (mut passed, mut told) = (0_u64, 0_u64);
        // 100,000 lines in 10 s.
        for step in 0..100_000_u64 {
            let now = Duration::from_micros(step * 100);
            passed += u64::from(limits.admit(peer(1), now));
            told += limits.due(now).iter().map(|(_, count)| count).sum::<u64>();
        }
        assert!((130..=145).contains(&passed), "{passed}");
        assert_eq!(passed + limits.total(), 100_000);
        assert!(told > 0 && told < limits.total(), "told every {TELL:?}, not at the end only");
        let last = limits.wake_at().unwrap();
        assert_eq!(limits.due(last - Duration::from_millis(1)), []);
        told += limits.due(last).iter().map(|(who, count)| if *who == peer(1) { *count } else { 0 }).sum::<u64>();
        assert_eq!(told, limits.total());
        assert_eq!(limits.wake_at(), None);
    }

    #[test]
    fn one_address_does_not_silence_another() {
        let mut limits = Limits::default();
        for _ in 0..10_000 {
            limits.admit(peer(1), Duration::ZERO);
        }
        assert!(limits.admit(peer(2), Duration::ZERO));
    }

    #[test]
    fn addresses_that_are_made_up_share_one_bound() {
        let mut limits = Limits::default();
        let made_up = |number: u32| Some(IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
        let passed = (0..100_000).filter(|number| limits.admit(made_up(*number), Duration::ZERO)).count();
        assert_eq!(passed, 200);
        assert!(limits.shares.len() <= MOST_PEERS);
        assert_eq!(limits.total(), 99_800);
    }

    #[test]
    fn quiet_log_is_untouched() {
        let mut limits = Limits::default();
        assert!((0..1000).all(|second| limits.admit(peer(1), Duration::from_secs(second))));
        assert_eq!(limits.wake_at(), None);
    }
}
