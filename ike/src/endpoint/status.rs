//! What the endpoint holds, for listings.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use policy::model::identity::Identity;
use policy::model::sa::Mode;
use policy::model::selector::Selector;

use super::Endpoint;
use crate::event::Now;
use crate::event::question::CertificateId;
use crate::event::sa::SaName;
use crate::timer::{Phase1Id, Timer};
use crate::wire::header::Cookie;

/// How far it has come with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    /// Nothing stands.
    Down,
    /// A main mode is under way.
    Negotiating,
    /// There is an ISAKMP SA or at least a child.
    Established,
}

/// A failure, remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// Unix seconds.
    pub at: u64,
    /// In words.
    pub reason: String,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Our end.
    pub local: Option<SocketAddr>,
    /// The peer.
    pub peer: IpAddr,
    /// Authenticated identity.
    pub identity: Option<Identity>,
    /// State.
    pub state: PeerState,
    /// Unix seconds since when the ISAKMP SA stands.
    pub since: Option<u64>,
    /// Cookies of the ISAKMP SA in use.
    pub cookies: Option<(Cookie, Cookie)>,
    /// Time until it is renewed.
    pub rekey_in: Option<Duration>,
    /// Certificates it rests on.
    pub certificates: Vec<CertificateId>,
    /// Issuer of the leaf.
    pub issuer: Option<String>,
    /// Its children.
    pub children: Vec<ChildStatus>,
    /// Last failure since it was up.
    pub last_error: Option<LastError>,
}

/// One pair of IPsec SAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildStatus {
    /// Inbound SA.
    pub inbound: SaName,
    /// Outbound SA.
    pub outbound: SaName,
    /// Mode.
    pub mode: Mode,
    /// Traffic as we send it.
    pub outbound_selector: Selector,
    /// Age.
    pub age: Duration,
    /// Time until it is renewed.
    pub rekey_in: Duration,
    /// Replaced, and about to go?
    pub replaced: bool,
}

/// Sizes of the endpoint's tables: what must stay bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Main modes under way.
    pub handshakes: usize,
    /// Of these, half-open ones of peers.
    pub half_open: usize,
    /// ISAKMP SAs, the closed ones left out.
    pub isakmp_sas: usize,
    /// Quick modes under way.
    pub quick_modes: usize,
    /// Children.
    pub children: usize,
    /// Questions under way.
    pub jobs: usize,
    /// Armed timers.
    pub timers: usize,
    /// Traffic a child is being negotiated for.
    pub pending: usize,
    /// Remembered failures.
    pub last_errors: usize,
    /// Octets of messages that came in pieces.
    pub fragment_octets: usize,
    /// Addresses that are lent.
    pub leases: usize,
}

/// Failures remembered, of as many peers at most.
const MOST_ERRORS: usize = 1024;

/// Last failures by peer, the oldest making room.
#[derive(Debug, Default)]
pub(super) struct LastErrors {
    by_peer: BTreeMap<IpAddr, LastError>,
    order: VecDeque<IpAddr>,
}

impl LastErrors {
    pub(super) fn note(&mut self, peer: IpAddr, at: u64, reason: &str) {
        let error = LastError { at, reason: reason.to_owned() };
        if self.by_peer.insert(peer, error).is_none() {
            self.order.push_back(peer);
            if self.order.len() > MOST_ERRORS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_peer.remove(&oldest);
            }
        }
    }

    pub(super) fn clear(&mut self, peer: IpAddr) {
        if self.by_peer.remove(&peer).is_some() {
            self.order.retain(|other| *other != peer);
        }
    }
}

impl Endpoint {
    /// Every peer that anything is known of, in the order of addresses.
    pub fn peers(&self, now: Now) -> Vec<PeerStatus> {
        let mut peers: BTreeSet<IpAddr> = self.by_peer.keys().copied().collect();
        peers.extend(self.children.iter().map(|child| child.key.peer));
        peers.extend(self.last_errors.by_peer.keys());
        peers.into_iter().map(|peer| self.peer_status(peer, now)).collect()
    }

    /// One peer.
    pub fn peer_status(&self, peer: IpAddr, now: Now) -> PeerStatus {
        let phase1 = self.by_peer.get(&peer);
        let sa = phase1
            .into_iter()
            .flatten()
            .filter_map(|id| self.sas.get(id))
            .filter(|sa| !sa.closed && sa.is_open())
            .max_by_key(|sa| (!sa.retiring, sa.established, sa.id));
        let children: Vec<_> = self.children.by_peer(peer).iter().filter_map(|id| self.children.get(*id)).collect();
        let owner = sa.map(|sa| &sa.facts.owner).or_else(|| children.first().map(|child| &child.owner));
        let logs_in = |id: &Phase1Id| self.sas.get(id).is_some_and(|sa| !sa.closed && !sa.is_open());
        let negotiating = phase1.into_iter().flatten().any(|id| self.handshakes.contains_key(id) || logs_in(id));
        let state = match (owner.is_some(), negotiating) {
            (true, _) => PeerState::Established,
            (false, true) => PeerState::Negotiating,
            (false, false) => PeerState::Down,
        };
        let until = |at: Duration| at.saturating_sub(now.monotonic);
        PeerStatus {
            local: owner.map(|owner| owner.local),
            peer,
            identity: owner.map(|owner| owner.identity.clone()),
            state,
            since: sa.map(|sa| sa.established_wall),
            cookies: sa.map(|sa| (sa.facts.protection.cookies.initiator, sa.facts.protection.cookies.responder)),
            rekey_in: sa.and_then(|sa| self.cx.timers.when(Timer::RekeyPhase1(sa.id))).map(until),
            certificates: owner.map(|owner| owner.certificates.clone()).unwrap_or_default(),
            issuer: owner.and_then(|owner| owner.issuer.clone()),
            children: children
                .iter()
                .map(|child| ChildStatus {
                    inbound: child.inbound,
                    outbound: child.outbound,
                    mode: child.key.mode,
                    outbound_selector: child.key.outbound,
                    age: now.monotonic.saturating_sub(child.established),
                    rekey_in: until(child.rekey_at),
                    replaced: child.replaced,
                })
                .collect(),
            last_error: self.last_errors.by_peer.get(&peer).cloned(),
        }
    }

    /// Sizes of the tables.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            handshakes: self.handshakes.len(),
            half_open: self.admission.half_open(),
            isakmp_sas: self.sas.values().filter(|sa| !sa.closed).count(),
            quick_modes: self.sas.values().map(|sa| sa.quick.len()).sum(),
            children: self.children.len(),
            jobs: self.cx.open_jobs(),
            timers: self.cx.timers.len(),
            pending: self.pending.len(),
            last_errors: self.last_errors.by_peer.len(),
            fragment_octets: self.reassembly.octets(),
            leases: self.leases.in_use(),
        }
    }
}
