//! The IPsec SA pairs that stand in the kernel, found by number, by SA and by traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::model::sa::{Protocol, Spi};

use crate::event::sa::{ChildId, Owner, SaInstall, SaName, SaPair, UdpEncapsulation};
use crate::message::Role;
use crate::phase2::wish::ChildKey;
use crate::timer::Phase1Id;
use crate::traits::Nat;

/// How far a child has come.
#[derive(Debug)]
pub(crate) enum Outbound {
    /// The outbound SAs wait until the peer can receive.
    Held(Vec<SaInstall>),
    /// So many of them are being installed.
    Installing(usize),
    /// All SAs carry traffic.
    Installed,
}

/// One pair.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) id: ChildId,
    pub(crate) key: ChildKey,
    pub(crate) inbound: SaName,
    pub(crate) outbound: SaName,
    /// Those of other protocols.
    pub(crate) beside: Vec<SaPair>,
    pub(crate) owner: Arc<Owner>,
    /// The ISAKMP SA it was made under; `None` if taken over from an earlier run.
    pub(crate) made_under: Option<Phase1Id>,
    pub(crate) role: Role,
    pub(crate) state: Outbound,
    /// When its quick mode was done.
    pub(crate) established: Duration,
    /// When we sent what completes it on the peer's side: QM3 as initiator, QM2 as responder. The newest by this is the one
    /// that the peer sends on.
    pub(crate) told: Duration,
    pub(crate) rekey_at: Duration,
    pub(crate) expires: Duration,
    pub(crate) policy_index: Option<u32>,
    /// Does the other side settle crossed quick modes as we do?
    pub(crate) peer_is_xfrmd: bool,
    /// A newer child serves the same traffic; this one goes when its grace is over.
    pub(crate) replaced: bool,
    /// Its ESP goes in UDP; the ports of the outbound SA.
    pub(crate) encapsulation: Option<UdpEncapsulation>,
    /// What stands between us.
    pub(crate) nat: Nat,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct ChildTable {
    by_id: BTreeMap<ChildId, Child>,
    /// By what names an SA in the kernel: the source address does not.
    by_sa: BTreeMap<(Protocol, Spi, IpAddr), ChildId>,
    by_key: BTreeMap<ChildKey, BTreeSet<ChildId>>,
    by_peer: BTreeMap<IpAddr, BTreeSet<ChildId>>,
}

impl ChildTable {
    pub(crate) fn insert(&mut self, child: Child) {
        for SaPair { inbound, outbound } in child.pairs() {
            self.by_sa.insert(kernel_name(&inbound), child.id);
            self.by_sa.insert(kernel_name(&outbound), child.id);
        }
        self.by_key.entry(child.key).or_default().insert(child.id);
        self.by_peer.entry(child.key.peer).or_default().insert(child.id);
        self.by_id.insert(child.id, child);
    }

    pub(crate) fn remove(&mut self, id: ChildId) -> Option<Child> {
        let child = self.by_id.remove(&id)?;
        for SaPair { inbound, outbound } in child.pairs() {
            self.by_sa.remove(&kernel_name(&inbound));
            self.by_sa.remove(&kernel_name(&outbound));
        }
        drop_member(&mut self.by_key, &child.key, id);
        drop_member(&mut self.by_peer, &child.key.peer, id);
        Some(child)
    }

    pub(crate) fn get(&self, id: ChildId) -> Option<&Child> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.by_id.values()
    }

    /// The child that an SA of the kernel belongs to.
    pub(crate) fn by_sa(&self, sa: &SaName) -> Option<ChildId> {
        self.by_sa.get(&kernel_name(sa)).copied()
    }

    /// The children that serve this traffic.
    pub(crate) fn by_key(&self, key: &ChildKey) -> Vec<ChildId> {
        self.by_key.get(key).into_iter().flatten().copied().collect()
    }

    /// The children with this peer.
    pub(crate) fn by_peer(&self, peer: IpAddr) -> Vec<ChildId> {
        self.by_peer.get(&peer).into_iter().flatten().copied().collect()
    }

    /// Is there any child with this peer?
    pub(crate) fn has_peer(&self, peer: IpAddr) -> bool {
        self.by_peer.contains_key(&peer)
    }
}

fn kernel_name(sa: &SaName) -> (Protocol, Spi, IpAddr) {
    (sa.protocol, sa.spi, sa.dst)
}

/// Removes a member from a set in a map, and the set with its last member.
pub(crate) fn drop_member<K: Ord, M: Ord>(map: &mut BTreeMap<K, BTreeSet<M>>, key: &K, member: M) {
    if let Some(set) = map.get_mut(key) {
        set.remove(&member);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

impl Child {
    /// Its SAs by protocol, the main one first.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = SaPair> + '_ {
        let main = SaPair { inbound: self.inbound, outbound: self.outbound };
        std::iter::once(main).chain(self.beside.iter().copied())
    }

    /// Does it carry traffic both ways?
    pub(crate) fn carries(&self) -> bool {
        matches!(self.state, Outbound::Installed)
    }

    /// Lowest of the two SPIs: the same number on both sides, which decides between two that were made at once.
    pub(crate) fn rank(&self) -> Spi {
        self.inbound.spi.min(self.outbound.spi)
    }
}
