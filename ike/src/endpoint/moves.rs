//! Peers that a NAT moves, and mappings that are kept alive (RFC 3947 §6, RFC 3948 §4; IKEV1 NT-3, NT-4, NT-7).
//!
//! A peer is followed only by a message that proved itself: the kernel's word on authentic ESP, or an IKE message whose
//! HASH holds and whose message ID was never used. And only if discovery found a NAT on the peer's side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policy::model::identity::Identity;
use policy::model::sa::Mode;

use super::Endpoint;
use crate::children::{Child, Outbound, drop_member};
use crate::context::Path;
use crate::error::ExchangeError;
use crate::event::Output;
use crate::event::sa::{AdoptedChild, ChildId, ChildMove, Owner, SaName, SaPair, UdpEncapsulation};
use crate::isakmp_sa::IsakmpSa;
use crate::phase2::wish::{ChildKey, ChildWish, Layer, transport_selector};
use crate::report::{Event, Level};
use crate::retransmit::Fingerprint;
use crate::timer::{Phase1Id, Timer};
use crate::traits::Nat;

/// May a message of the peer at `known` come by `came`? Our address stays; ports may change to those of NAT traversal;
/// a peer behind a NAT may be anywhere.
pub(super) fn may_come(known: Path, nat: &Nat, came: Path, natt_port: u16) -> bool {
    if known == came {
        return true;
    }
    let ours = came.local.ip() == known.local.ip() && [known.local.port(), natt_port].contains(&came.local.port());
    let floats = came.local.port() == natt_port && known.local.port() != natt_port;
    let theirs = nat.peer || (came.peer.ip() == known.peer.ip() && (floats || came.peer.port() == known.peer.port()));
    nat.dialect.is_some() && ours && theirs
}

/// Is this an ISAKMP SA of `whose`, where several hosts may stand behind the peer's address?
pub(super) fn is_of(sa: &IsakmpSa, whose: Option<&Identity>) -> bool {
    !sa.facts.traits.path_nat.peer || whose.is_none_or(|whose| *whose == sa.facts.owner.identity)
}

/// Paths through a NAT of ours that are kept alive, by number and by path.
#[derive(Debug, Default)]
pub(super) struct Keepalives {
    by_number: BTreeMap<u64, Path>,
    numbers: BTreeMap<Path, u64>,
}

impl Endpoint {
    /// A message under this SA has proved itself.
    pub(super) fn arrived(&mut self, id: Phase1Id, path: Path) {
        let Some(sa) = self.sas.get(&id).filter(|sa| sa.facts.path != path && sa.tells_replays()) else { return };
        let (before, identity) = (sa.facts.path, sa.facts.owner.identity.clone());
        self.peer_moved(&identity, before, path);
    }

    /// As [`Self::arrived`] for a message of quick mode, if it was accepted.
    pub(super) fn arrived_by_quick(&mut self, id: Phase1Id, message_id: u32, path: Path, fingerprint: Fingerprint) {
        let Some(sa) = self.sas.get_mut(&id).filter(|sa| sa.facts.path != path) else { return };
        let under_way = sa.quick.get(&message_id).is_some_and(|quick| quick.answered.is_last(fingerprint));
        if under_way || sa.finished(message_id).is_some_and(|finished| finished.answered.is_last(fingerprint)) {
            self.arrived(id, path);
        }
    }

    /// The kernel has taken authentic ESP of a child from elsewhere.
    pub(super) fn mapping_changed(&mut self, sa: &SaName, peer: SocketAddr) {
        let Some(child) = self.children.by_sa(sa).and_then(|id| self.children.get(id)) else { return };
        if !child.nat.peer || child.encapsulation.is_none() {
            return;
        }
        let (local, identity) = (child.owner.local, child.owner.identity.clone());
        let before = Path { local, peer: child.owner.peer };
        self.peer_moved(&identity, before, Path { local, peer });
    }

    /// Everything that this peer has with us by one path goes on by another.
    fn peer_moved(&mut self, identity: &Identity, from: Path, to: Path) {
        if from == to {
            return;
        }
        self.cx.report(Level::Info, to.peer, Event::PeerMoved { from: from.peer, to: to.peer });
        let sas: Vec<Phase1Id> = self.by_peer.get(&from.peer.ip()).into_iter().flatten().copied().collect();
        for id in sas {
            let Some(sa) = self.sas.get_mut(&id) else { continue };
            if sa.facts.path != from || sa.facts.owner.identity != *identity {
                continue;
            }
            sa.facts.path = to;
            sa.facts.owner = moved_owner(&sa.facts.owner, to);
            drop_member(&mut self.by_peer, &from.peer.ip(), id);
            self.by_peer.entry(to.peer.ip()).or_default().insert(id);
        }
        for id in self.children.by_peer(from.peer.ip()) {
            let ours = |child: &Child| {
                child.encapsulation.is_some()
                    && (child.owner.local, child.owner.peer) == (from.local, from.peer)
                    && child.owner.identity == *identity
            };
            if self.children.get(id).is_some_and(ours) {
                self.move_child(id, to);
            }
        }
        if let Some(number) = self.keepalives.numbers.remove(&from) {
            self.keepalives.numbers.insert(to, number);
            self.keepalives.by_number.insert(number, to);
        }
    }

    /// An outbound SA that is held back is installed as moved.
    fn move_child(&mut self, id: ChildId, to: Path) {
        let Some(mut child) = self.children.remove(id) else { return };
        let (inbound, outbound) = (child.inbound, child.outbound);
        let peer = to.peer.ip();
        let original_address = child.encapsulation.and_then(|udp| udp.original_address);
        let encapsulation = UdpEncapsulation { src_port: to.local.port(), dst_port: to.peer.port(), original_address };
        child.owner = moved_owner(&child.owner, to);
        child.encapsulation = Some(encapsulation);
        (child.inbound.src, child.outbound.dst) = (peer, peer);
        let before = child.key;
        child.key = moved_key(&before, peer);
        self.move_policy(&before, &child.key);
        if let Outbound::Held(sas) = &mut child.state {
            for sa in sas {
                (sa.name.dst, sa.beside) = (peer, sa.beside.map(|main| SaName { src: peer, ..main }));
                sa.encapsulation = sa.encapsulation.map(|_| encapsulation);
                sa.selector = child.key.outbound;
                sa.owner = Arc::clone(&child.owner);
            }
        }
        let now = self.cx.now.monotonic;
        let main = child.inbound;
        let moved = |pair: SaPair, layer: Layer| AdoptedChild {
            owner: (*child.owner).clone(),
            inbound: pair.inbound,
            outbound: pair.outbound,
            mode: layer.mode,
            reqid: layer.reqid,
            selector: child.key.outbound,
            companions: child.key.companions,
            beside: Vec::new(),
            main: (pair.inbound != main).then_some(main),
            encapsulation: Some(encapsulation),
            generated: false,
            soft_in: child.rekey_at.saturating_sub(now),
            hard_in: child.expires.saturating_sub(now),
        };
        // Each protocol is moved by itself: the kernel and the journal know it by itself.
        let mut moves = Vec::new();
        for pair in std::iter::once(SaPair { inbound, outbound }).chain(child.beside.iter().copied()) {
            let Some(layer) = child.key.layers().into_iter().find(|layer| layer.protocol == pair.inbound.protocol)
            else {
                continue;
            };
            let (mut to_inbound, mut to_outbound) = (pair.inbound, pair.outbound);
            (to_inbound.src, to_outbound.dst) = (peer, peer);
            let after = moved(SaPair { inbound: to_inbound, outbound: to_outbound }, layer);
            moves.push(ChildMove { inbound: pair.inbound, outbound: pair.outbound, child: after });
        }
        for pair in &mut child.beside {
            (pair.inbound.src, pair.outbound.dst) = (peer, peer);
        }
        for moved in moves {
            self.cx.emit(Output::MoveChild(Box::new(moved)));
        }
        self.children.insert(child);
    }

    /// Where a peer is spoken to that a NAT hides: its ISAKMP port is not mapped. `replaces` names the ISAKMP SA to renew.
    pub(super) fn known_path(
        &self,
        (local, peer): (IpAddr, IpAddr),
        replaces: Option<Phase1Id>,
        wishes: &[ChildWish],
    ) -> Option<Path> {
        let natt_port = self.cx.config.natt_port;
        let fits = |path: &Path| path.local.ip() == local && path.peer.ip() == peer && path.local.port() == natt_port;
        let renewed = replaces.and_then(|id| self.sas.get(&id)).map(|sa| sa.facts.path);
        if let Some(path) = renewed.filter(fits) {
            return Some(path);
        }
        let of_child = |child: &Child| Path { local: child.owner.local, peer: child.owner.peer };
        let hidden = |child: &&Child| child.nat.peer && child.encapsulation.is_some();
        let wished = wishes.iter().filter_map(|wish| self.children.get(wish.replaces?));
        let any = self.children.by_peer(peer).into_iter().rev().filter_map(|id| self.children.get(id));
        wished.chain(any).filter(hidden).map(of_child).find(fits)
    }

    /// Whose the traffic of a wish is, as far as it was anybody's.
    pub(super) fn holder_of(&self, wish: &ChildWish) -> Option<Identity> {
        let renewed = wish.replaces.and_then(|id| self.children.get(id));
        let newest = || self.children.by_key(&wish.what).into_iter().next_back().and_then(|id| self.children.get(id));
        let child = renewed.or_else(newest).map(|child| child.owner.identity.clone());
        child.or_else(|| self.generated_for(&wish.what))
    }

    /// Two hosts behind one NAT whose traffic looks the same from here cannot be told apart: the second is refused, or
    /// it would take over the first one's traffic (IKEV1 NT-8). The same identity from another port is the same host.
    ///
    /// # Errors
    /// [`ExchangeError::Taken`].
    pub(super) fn check_taken(&self, id: Phase1Id, asked: &ChildKey) -> Result<(), ExchangeError> {
        let Some(sa) = self.sas.get(&id).filter(|sa| sa.facts.traits.path_nat.peer) else { return Ok(()) };
        let (path, identity) = (sa.facts.path, &sa.facts.owner.identity);
        // What is asked for has no reqid yet, and policies made for each peer differ in nothing else.
        let same_traffic =
            |other: &ChildKey| ChildKey { reqid: asked.reqid, companions: asked.companions, ..*other } == *asked;
        let mut children = self.children.by_peer(asked.peer).into_iter().filter_map(|child| self.children.get(child));
        let other = children.find(|child| {
            child.nat.peer
                && same_traffic(&child.key)
                && child.owner.peer != path.peer
                && child.owner.identity != *identity
        });
        match other {
            Some(other) => Err(ExchangeError::Taken { traffic: asked.outbound.to_string(), holder: other.owner.peer }),
            None => Ok(()),
        }
    }

    /// Begins to keep the NAT's mapping alive, if the NAT is on our side and the configuration wants it.
    pub(super) fn keep_alive_if_needed(&mut self, path: Path, nat: &Nat) {
        let every = self.cx.config.timers.natt_keepalive;
        if nat.in_udp().is_none() || !nat.own || every.is_zero() || self.keepalives.numbers.contains_key(&path) {
            return;
        }
        let number = self.cx.path_number();
        self.keepalives.numbers.insert(path, number);
        self.keepalives.by_number.insert(number, path);
        self.cx.report(Level::Info, path.peer, Event::KeepaliveBegun(path.into()));
        self.cx.timers.set(Timer::KeepAlive(number), self.cx.now.monotonic + every);
    }

    /// A keepalive is due, if anything still goes by the path.
    pub(super) fn keep_alive(&mut self, number: u64) {
        let Some(path) = self.keepalives.by_number.get(&number).copied() else { return };
        let Path { local, peer } = path;
        let every = self.cx.config.timers.natt_keepalive;
        if every.is_zero() || !self.is_used(path) {
            self.keepalives.by_number.remove(&number);
            self.keepalives.numbers.remove(&path);
            return self.cx.report(Level::Info, peer, Event::KeepaliveEnded(path.into()));
        }
        self.cx.emit(Output::KeepAlive { local, peer });
        self.cx.timers.set(Timer::KeepAlive(number), self.cx.now.monotonic + every);
    }

    fn is_used(&self, path: Path) -> bool {
        let peer = path.peer.ip();
        let sas: Option<&BTreeSet<Phase1Id>> = self.by_peer.get(&peer);
        let by_sa = |id: &Phase1Id| self.sas.get(id).is_some_and(|sa| !sa.closed && sa.facts.path == path);
        let by_child = |child: &Child| {
            child.encapsulation.is_some() && (child.owner.local, child.owner.peer) == (path.local, path.peer)
        };
        sas.into_iter().flatten().any(by_sa)
            || self.children.by_peer(peer).into_iter().any(|id| self.children.get(id).is_some_and(by_child))
    }
}

fn moved_owner(owner: &Owner, to: Path) -> Arc<Owner> {
    Arc::new(Owner { local: to.local, peer: to.peer, ..owner.clone() })
}

/// In transport mode the traffic is the hosts' own: it has the peer's new address too.
fn moved_key(key: &ChildKey, peer: IpAddr) -> ChildKey {
    let outbound = match key.mode {
        Mode::Transport => transport_selector(key.local, peer, key.outbound),
        Mode::Tunnel => key.outbound,
    };
    ChildKey { peer, outbound, ..*key }
}
