//! How long an SA or a policy may live, and how far it has come.

use std::time::Duration;

/// Limits of one severity; `None` is unlimited.
///
/// The kernel counts whole seconds: a duration is rounded up, so that zero never turns into "unlimited".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Time since it was added.
    pub since_added: Option<Duration>,
    /// Time since it was first used.
    pub since_used: Option<Duration>,
    /// Octets.
    pub bytes: Option<u64>,
    /// Packets.
    pub packets: Option<u64>,
}

/// `struct xfrm_lifetime_cfg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// At these the kernel sends a soft expiry notice: time to renew.
    pub soft: Limits,
    /// At these the kernel deletes the object and says so.
    pub hard: Limits,
}

/// `struct xfrm_lifetime_cur`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Octets carried.
    pub bytes: u64,
    /// Packets carried.
    pub packets: u64,
    /// When it was added, Unix seconds.
    pub added_at: u64,
    /// When it was first used, Unix seconds; 0 never.
    pub used_at: u64,
}
