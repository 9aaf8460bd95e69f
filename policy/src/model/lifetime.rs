//! How long an SA may live.

use std::time::Duration;

/// Default life of both phases when nothing is configured (RFC 2407 §4.5: 28800 s).
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(28_800);

/// Limits of one SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lifetime {
    /// By time.
    pub time: Duration,
    /// By traffic, in kilobytes (1024 octets); `None` is unlimited.
    pub kilobytes: Option<u64>,
}

impl Default for Lifetime {
    fn default() -> Self {
        Self { time: DEFAULT_LIFETIME, kilobytes: None }
    }
}
