//! Addresses lent to peers (racoon.conf: `network4`, `pool_size`). Whoever comes again gets the one he had, as long as
//! nobody else needed it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use policy::model::mode_config::AddressPool;

use crate::timer::Phase1Id;

#[derive(Debug)]
struct Lease {
    /// The user, or the identity of one without a login.
    holder: String,
    /// Where the holder was last.
    peer: SocketAddr,
    /// ISAKMP SAs that it was given under.
    under: BTreeSet<Phase1Id>,
    /// When it was last given or taken back, counted.
    turn: u64,
}

/// Who asks for an address.
pub(crate) struct Claimant<'a> {
    pub(crate) holder: &'a str,
    pub(crate) peer: SocketAddr,
    pub(crate) under: Phase1Id,
    /// The address it would like to have.
    pub(crate) wanted: Option<Ipv4Addr>,
}

/// Every address that is, or was, lent.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    by_address: BTreeMap<Ipv4Addr, Lease>,
    turns: u64,
}

impl Leases {
    /// An address for the claimant, none if all are in use. `is_used` tells of traffic that still goes to an address.
    pub(crate) fn lend(
        &mut self,
        pool: AddressPool,
        claimant: &Claimant<'_>,
        is_used: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        let address = self.choose(pool, claimant, is_used)?;
        self.enter(address, claimant);
        Some(address)
    }

    /// Notes an address that the claimant has by right: from a file, or from the ISAKMP SA before.
    pub(crate) fn enter(&mut self, address: Ipv4Addr, claimant: &Claimant<'_>) {
        self.turns += 1;
        let turn = self.turns;
        let lease = self.by_address.entry(address).or_insert_with(|| Lease {
            holder: String::new(),
            peer: claimant.peer,
            under: BTreeSet::new(),
            turn,
        });
        if lease.holder != claimant.holder {
            lease.holder = claimant.holder.to_owned();
            lease.under.clear();
        }
        lease.peer = claimant.peer;
        lease.under.insert(claimant.under);
        lease.turn = turn;
    }

    fn choose(
        &self,
        pool: AddressPool,
        claimant: &Claimant<'_>,
        is_used: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        let of_holder = |lease: &&Lease| lease.holder == claimant.holder;
        // Its own, if it asks for it from where it was, or if nobody is there any more.
        let may_have = |lease: &Lease| lease.under.is_empty() || lease.peer.ip() == claimant.peer.ip();
        if let Some(wanted) = claimant.wanted.filter(|wanted| pool.contains(*wanted))
            && self.by_address.get(&wanted).filter(of_holder).is_some_and(may_have)
        {
            return Some(wanted);
        }
        let own = self.by_address.iter().filter(|(address, lease)| {
            pool.contains(**address) && of_holder(lease) && (lease.peer == claimant.peer || lease.under.is_empty())
        });
        if let Some((address, _)) = own.max_by_key(|(_, lease)| lease.turn) {
            return Some(*address);
        }
        // One that nobody had, else the one that nobody has had for longest.
        let fresh = (0..pool.size)
            .filter_map(|number| pool.address(number))
            .find(|address| !self.by_address.contains_key(address) && !is_used(*address));
        fresh.or_else(|| {
            self.by_address
                .iter()
                .filter(|(address, lease)| pool.contains(**address) && lease.under.is_empty() && !is_used(**address))
                .min_by_key(|(_, lease)| lease.turn)
                .map(|(address, _)| *address)
        })
    }

    /// An ISAKMP SA is gone. The address that nobody holds any more because of that.
    pub(crate) fn release(&mut self, address: Ipv4Addr, under: Phase1Id) -> bool {
        let Some(lease) = self.by_address.get_mut(&address) else { return false };
        self.turns += 1;
        lease.turn = self.turns;
        lease.under.remove(&under) && lease.under.is_empty()
    }

    /// Addresses in use.
    pub(crate) fn in_use(&self) -> usize {
        self.by_address.values().filter(|lease| !lease.under.is_empty()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: AddressPool = AddressPool { first: Ipv4Addr::new(10, 3, 0, 1), size: 2 };

    fn claimant<'a>(holder: &'a str, peer: &str, under: u64, wanted: Option<u8>) -> Claimant<'a> {
        let wanted = wanted.map(|last| Ipv4Addr::new(10, 3, 0, last));
        Claimant { holder, peer: peer.parse().unwrap(), under: Phase1Id(under), wanted }
    }

    fn lend(leases: &mut Leases, claimant: &Claimant<'_>) -> Option<u8> {
        leases.lend(POOL, claimant, |_| false).map(|address| address.octets()[3])
    }

    #[test]
    fn the_same_address_again_while_it_is_free() {
        let mut leases = Leases::default();
        assert_eq!(lend(&mut leases, &claimant("carol", "1.1.1.1:500", 1, None)), Some(1));
        assert_eq!(lend(&mut leases, &claimant("dave", "1.1.1.2:500", 2, None)), Some(2));
        assert_eq!(lend(&mut leases, &claimant("erin", "1.1.1.3:500", 3, None)), None, "two addresses, two clients");
        assert!(leases.release(Ipv4Addr::new(10, 3, 0, 1), Phase1Id(1)));
        assert_eq!(lend(&mut leases, &claimant("carol", "9.9.9.9:500", 4, None)), Some(1), "from elsewhere");
        assert!(leases.release(Ipv4Addr::new(10, 3, 0, 1), Phase1Id(4)));
        assert_eq!(lend(&mut leases, &claimant("erin", "1.1.1.3:500", 5, None)), Some(1), "carol's, who is away");
        assert_eq!(lend(&mut leases, &claimant("carol", "9.9.9.9:500", 6, None)), None);
    }

    #[test]
    fn a_renewal_keeps_it_and_a_second_device_gets_its_own() {
        let mut leases = Leases::default();
        assert_eq!(lend(&mut leases, &claimant("carol", "1.1.1.1:500", 1, None)), Some(1));
        assert_eq!(lend(&mut leases, &claimant("carol", "1.1.1.1:500", 2, Some(1))), Some(1), "a renewal");
        assert!(!leases.release(Ipv4Addr::new(10, 3, 0, 1), Phase1Id(1)), "the new one still has it");
        assert_eq!(lend(&mut leases, &claimant("carol", "2.2.2.2:500", 3, None)), Some(2), "another device");
        assert_eq!(lend(&mut leases, &claimant("mallory", "1.1.1.1:500", 4, Some(1))), None, "not hers to ask for");
        assert_eq!(leases.in_use(), 2);
    }

    #[test]
    fn traffic_under_way_keeps_an_address_from_others() {
        let mut leases = Leases::default();
        let first = Ipv4Addr::new(10, 3, 0, 1);
        let given = leases.lend(POOL, &claimant("carol", "1.1.1.1:500", 1, None), |address| address == first);
        assert_eq!(given, Some(Ipv4Addr::new(10, 3, 0, 2)));
    }
}
