//! A bound on the lines that strangers can cause.

use std::time::Duration;

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is written.
    Pass,
    /// It is written, after a line saying how many were held back.
    PassAfter(u64),
    /// It is held back and counted.
    HoldBack,
}

/// A token bucket over log lines.
#[derive(Debug)]
pub struct RateLimit {
    gap: Duration,
    burst: u32,
    /// The bucket is full again at this time; each line pushes it one gap on.
    full_at: Duration,
    held_back: u64,
    total: u64,
}

impl RateLimit {
    /// `per_second` lines in the long run, as many at once.
    pub fn new(per_second: u32) -> Self {
        let burst = per_second.max(1);
        Self { gap: Duration::from_secs(1) / burst, burst, full_at: Duration::ZERO, held_back: 0, total: 0 }
    }

    /// Judges a line at `now` (monotonic).
    pub fn admit(&mut self, now: Duration) -> Admission {
        let full_at = self.full_at.max(now) + self.gap;
        if full_at.saturating_sub(now) > self.gap * self.burst {
            self.held_back += 1;
            self.total += 1;
            return Admission::HoldBack;
        }
        self.full_at = full_at;
        match std::mem::take(&mut self.held_back) {
            0 => Admission::Pass,
            held_back => Admission::PassAfter(held_back),
        }
    }

    /// Lines held back since the start.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_is_cut_to_the_rate_and_counted_exactly() {
        let mut limit = RateLimit::new(10);
        let (mut passed, mut reported) = (0_u64, 0_u64);
        // 100,000 lines in 10 s.
        for step in 0..100_000_u64 {
            match limit.admit(Duration::from_micros(step * 100)) {
                Admission::Pass => passed += 1,
                Admission::PassAfter(count) => {
                    passed += 1;
                    reported += count;
                }
                Admission::HoldBack => {}
            }
        }
        assert!((100..=120).contains(&passed), "{passed}");
        assert_eq!(passed + limit.total(), 100_000);
        assert!(reported <= limit.total());
        // After a pause the rest is told.
        match limit.admit(Duration::from_secs(60)) {
            Admission::PassAfter(count) => assert_eq!(reported + count, limit.total()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn quiet_log_is_untouched() {
        let mut limit = RateLimit::new(10);
        for second in 0..100 {
            assert_eq!(limit.admit(Duration::from_secs(second)), Admission::Pass);
        }
    }
}
