//! Limits on main modes whose peer has sent one datagram only: anybody can, with any source address. And on those whose
//! peer has shown no more than that it receives at its address.
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

/// Main modes of one source that have cost a Diffie-Hellman exchange and whose peer has not proved who it is. It has
/// shown that it receives at its address, so no other can be robbed of its room: beyond the limit third messages wait
/// for those before them to prove themselves or to time out (ATTACKS D-3).
const MOST_UNPROVED_PER_SOURCE: usize = 256;

/// Notifies in clear per second: answers to datagrams that anybody can forge.
const CLEAR_NOTIFIES_PER_SECOND: u32 = 10;

/// First messages of aggressive mode that are worked on per second: each costs a Diffie-Hellman exchange, and a signature
/// with certificates, before anybody has proved an address (ATTACKS D-5).
const AGGRESSIVE_PER_SECOND: u32 = 100;

/// As [`AGGRESSIVE_PER_SECOND`], of one source.
const AGGRESSIVE_PER_SOURCE: u32 = 20;

/// Questions to keys and judges that may be open when a first message of aggressive mode adds one: beyond that they would
/// be answered too late (ATTACKS A-30).
pub(super) const MOST_QUESTIONS: usize = 512;

/// The books.
#[derive(Debug, Default)]
pub(super) struct Admission {
    half_open: Book,
    unproved: Book,
    second: u64,
    notifies: u32,
    aggressive_second: u64,
    aggressive: BTreeMap<IpAddr, u32>,
    aggressive_in_all: u32,
}

/// Exchanges by source.
#[derive(Debug, Default)]
struct Book {
    by_source: BTreeMap<IpAddr, BTreeSet<Phase1Id>>,
    source_of: BTreeMap<Phase1Id, IpAddr>,
}

impl Book {
    fn enter(&mut self, id: Phase1Id, source: IpAddr) {
        self.by_source.entry(source).or_default().insert(id);
        self.source_of.insert(id, source);
    }

    fn leave(&mut self, id: Phase1Id) -> Option<IpAddr> {
        let source = self.source_of.remove(&id)?;
        drop_member(&mut self.by_source, &source, id);
        Some(source)
    }

    fn of(&self, source: IpAddr) -> usize {
        self.by_source.get(&source).map_or(0, BTreeSet::len)
    }

    fn len(&self) -> usize {
        self.source_of.len()
    }
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
        let source = source(peer);
        if self.half_open.of(source) >= MOST_PER_SOURCE {
            return self.half_open.by_source.get(&source).and_then(|of_source| of_source.first()).copied();
        }
        if self.half_open.len() >= MOST_IN_ALL { self.half_open.source_of.keys().next().copied() } else { None }
    }

    /// Enters a half-open main mode.
    pub(super) fn enter(&mut self, id: Phase1Id, peer: IpAddr) {
        self.half_open.enter(id, source(peer));
    }

    /// May a third message of main mode be worked on?
    pub(super) fn may_exchange_keys(&self, peer: IpAddr) -> bool {
        self.unproved.of(source(peer)) < MOST_UNPROVED_PER_SOURCE && self.unproved.len() < MOST_IN_ALL
    }

    /// The peer of a half-open main mode is where it says; who it is it has yet to prove.
    pub(super) fn is_there(&mut self, id: Phase1Id) {
        if let Some(source) = self.half_open.leave(id) {
            self.unproved.enter(id, source);
        }
    }

    /// Strikes a main mode off: it is over.
    pub(super) fn leave(&mut self, id: Phase1Id) {
        self.half_open.leave(id);
        self.unproved.leave(id);
    }

    /// Half-open main modes now.
    pub(super) fn half_open(&self) -> usize {
        self.half_open.len()
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
