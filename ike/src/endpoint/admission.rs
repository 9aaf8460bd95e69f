//! Limits on main modes whose peer has sent one datagram only: anybody can, with any source address.
//!
//! Memory is fixed: beyond the limits the oldest unanswered one makes room (ATTACKS D-1, D-7).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::children::drop_member;
use crate::timer::Phase1Id;

/// Half-open main modes of one source: an IPv4 address or an IPv6 /64.
const MOST_PER_SOURCE: usize = 64;

/// Half-open main modes in all.
const MOST_IN_ALL: usize = 8192;

/// Notifies in clear per second: answers to datagrams that anybody can forge.
const CLEAR_NOTIFIES_PER_SECOND: u32 = 10;

/// First messages of aggressive mode that are worked on per second: each costs a Diffie-Hellman exchange, and a signature
/// with certificates, before anybody has proved an address (ATTACKS D-5).
const AGGRESSIVE_PER_SECOND: u32 = 100;

/// As [`AGGRESSIVE_PER_SECOND`], of one source.
const AGGRESSIVE_PER_SOURCE: u32 = 20;

/// The books.
#[derive(Debug, Default)]
pub(super) struct Admission {
    by_source: BTreeMap<IpAddr, BTreeSet<Phase1Id>>,
    source_of: BTreeMap<Phase1Id, IpAddr>,
    second: u64,
    notifies: u32,
    aggressive_second: u64,
    aggressive: BTreeMap<IpAddr, u32>,
    aggressive_in_all: u32,
}

/// IPv6 peers own their /64.
fn source(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(addr) => IpAddr::V6(Ipv6Addr::from(u128::from(addr) >> 64 << 64)),
    }
}

impl Admission {
    /// The half-open main mode that must make room for another one from `peer`.
    pub(super) fn victim(&self, peer: IpAddr) -> Option<Phase1Id> {
        let of_source = self.by_source.get(&source(peer));
        if let Some(of_source) = of_source.filter(|of_source| of_source.len() >= MOST_PER_SOURCE) {
            return of_source.first().copied();
        }
        if self.source_of.len() >= MOST_IN_ALL { self.source_of.keys().next().copied() } else { None }
    }

    /// Enters a half-open main mode.
    pub(super) fn enter(&mut self, id: Phase1Id, peer: IpAddr) {
        let source = source(peer);
        self.by_source.entry(source).or_default().insert(id);
        self.source_of.insert(id, source);
    }

    /// Strikes a main mode off: its peer has answered, or it is gone.
    pub(super) fn leave(&mut self, id: Phase1Id) {
        if let Some(source) = self.source_of.remove(&id) {
            drop_member(&mut self.by_source, &source, id);
        }
    }

    /// Half-open main modes now.
    pub(super) fn half_open(&self) -> usize {
        self.source_of.len()
    }

    /// May a first message of aggressive mode be worked on now?
    pub(super) fn may_be_aggressive(&mut self, peer: IpAddr, now: Duration) -> bool {
        if self.aggressive_second != now.as_secs() {
            self.aggressive_second = now.as_secs();
            self.aggressive.clear();
            self.aggressive_in_all = 0;
        }
        if self.aggressive_in_all >= AGGRESSIVE_PER_SECOND {
            return false;
        }
        let of_source = self.aggressive.entry(source(peer)).or_default();
        if *of_source >= AGGRESSIVE_PER_SOURCE {
            return false;
        }
        *of_source += 1;
        self.aggressive_in_all += 1;
        true
    }

    /// May a notify in clear be sent now?
    pub(super) fn may_notify(&mut self, now: Duration) -> bool {
        if self.second != now.as_secs() {
            self.second = now.as_secs();
            self.notifies = 0;
        }
        self.notifies += 1;
        self.notifies <= CLEAR_NOTIFIES_PER_SECOND
    }
}
