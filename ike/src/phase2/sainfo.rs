//! Which sainfo says how traffic with a peer is protected (racoon.conf: `sainfo`, RACOON 1.3).
//!
//! The list is sorted by specificity when it is read; the first block that fits wins. Identities are compared whole, as
//! racoon did: a network is not inside of another one, a protocol is not inside of `any`.

use std::net::IpAddr;

use policy::model::addr::IpNet;
use policy::model::identity::Identity;
use policy::model::sa::Mode;
use policy::model::sainfo::{Sainfo, SainfoId};
use policy::model::selector::Selector;

use super::exchange::{QuickFacts, SaFacts};
use super::selector::{one_subnet, side_identity};
use super::wish::ChildKey;
use crate::error::ExchangeError;
use crate::identity::matching::matches;

/// What a sainfo is looked up for.
pub(crate) struct Query<'a> {
    /// The traffic, source side ours.
    pub(crate) outbound: Selector,
    /// The authenticated identity of the peer.
    pub(crate) identity: &'a Identity,
    /// Groups of the user that the peer logged in as.
    pub(crate) groups: &'a [String],
    /// What `clientaddr` stands for.
    pub(crate) client: IpAddr,
    /// `ph1id` of its remote.
    pub(crate) ph1id: u32,
}

impl QuickFacts<'_> {
    /// The sainfo for traffic (source side ours) with the peer.
    pub(crate) fn sainfo(&self, outbound: Selector) -> Option<&Sainfo> {
        let query = Query {
            outbound,
            identity: &self.sa.owner.identity,
            groups: &self.sa.groups,
            client: self.sa.client_address(),
            ph1id: self.sa.remote.remote.ph1id,
        };
        find(&self.cx.config.sainfos, &query)
    }
}

/// May a policy be made for this traffic? The peer's side must be its own address, the one that mode config gave it, or
/// what the sainfo names: who authenticated as one peer must not get another's traffic (ATTACKS A-51).
///
/// # Errors
/// [`ExchangeError::InvalidId`].
pub(crate) fn allowed(sainfo: &Sainfo, what: &ChildKey, sa: &SaFacts) -> Result<(), ExchangeError> {
    let own = sa.client_address();
    let is_named = matches!(sainfo.remote, SainfoId::Selector { .. });
    if what.mode == Mode::Transport || is_named || side_identity(what.outbound.dst) == Identity::Address(own) {
        return Ok(());
    }
    let claimed = what.outbound.dst;
    Err(ExchangeError::InvalidId(format!(
        "no policy is made for {claimed}: the peer's own address is {own}, and no sainfo names {claimed} as remote side"
    )))
}

/// The first of the blocks that fits.
pub(crate) fn find<'a>(sainfos: &'a [Sainfo], query: &Query<'_>) -> Option<&'a Sainfo> {
    let Selector { src, dst, src_port, dst_port, .. } = query.outbound;
    sainfos.iter().find(|sainfo| {
        sainfo.remote_id == query.ph1id
            && side_fits(&sainfo.local, src, src_port, query)
            && side_fits(&sainfo.remote, dst, dst_port, query)
            && sainfo.from.as_ref().is_none_or(|from| matches(from, query.identity))
            && sainfo.group.as_ref().is_none_or(|group| query.groups.contains(group))
    })
}

fn side_fits(wanted: &SainfoId, net: IpNet, actual_port: u16, query: &Query<'_>) -> bool {
    match wanted {
        SainfoId::Anonymous => true,
        SainfoId::ClientAddress => side_identity(net) == Identity::Address(query.client),
        SainfoId::Selector { id, protocol, port } => {
            same_packets(id, net) && *protocol == query.outbound.protocol && *port == actual_port
        }
    }
}

/// A host as subnet is the same as its address, a range that is a subnet the same as that.
fn same_packets(id: &Identity, net: IpNet) -> bool {
    match id {
        Identity::Subnet(subnet) => side_identity(*subnet) == side_identity(net),
        Identity::Range(first, last) => {
            one_subnet(*first, *last).is_some_and(|subnet| side_identity(subnet) == side_identity(net))
        }
        other => *other == side_identity(net),
    }
}

#[cfg(test)]
mod tests {
    use policy::model::identity::{ConfiguredId, IdentityKind, PeersIdentifier};
    use policy::model::lifetime::{DEFAULT_LIFETIME, Lifetime};
    use policy::model::sainfo::Esn;
    use policy::model::selector::UpperProtocol;

    use super::*;

    fn block(local: SainfoId, remote: SainfoId) -> Sainfo {
        Sainfo {
            local,
            remote,
            from: None,
            group: None,
            pfs_group: None,
            lifetime: Lifetime { time: DEFAULT_LIFETIME, kilobytes: None },
            ciphers: Vec::new(),
            integrity: Vec::new(),
            remote_id: 0,
            esn: Esn::Off,
            allow_weak: false,
        }
    }

    fn id(id: Identity) -> SainfoId {
        SainfoId::Selector { id, protocol: UpperProtocol::ANY, port: 0 }
    }

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn query<'a>(outbound: Selector, identity: &'a Identity) -> Query<'a> {
        Query { outbound, identity, groups: &[], client: IpAddr::from([10, 9, 0, 1]), ph1id: 0 }
    }

    fn fits(sainfo: &Sainfo, src: &str, dst: &str) -> bool {
        let identity = Identity::Fqdn("peer.example".to_owned());
        find(std::slice::from_ref(sainfo), &query(Selector::between(net(src), net(dst)), &identity)).is_some()
    }

    #[test]
    fn identities_are_whole() {
        let subnet = block(id(Identity::Subnet(net("10.1.0.0/16"))), SainfoId::Anonymous);
        assert!(fits(&subnet, "10.1.0.0/16", "10.2.0.0/16"));
        assert!(!fits(&subnet, "10.1.1.0/24", "10.2.0.0/16"));
        let range = |last| Identity::Range(IpAddr::from([10, 1, 0, 0]), IpAddr::from(last));
        assert!(fits(&block(id(range([10, 1, 0, 255])), SainfoId::Anonymous), "10.1.0.0/24", "10.2.0.0/16"));
        assert!(!fits(&block(id(range([10, 1, 0, 9])), SainfoId::Anonymous), "10.1.0.0/24", "10.2.0.0/16"));
        let host = block(id(Identity::Address(IpAddr::from([10, 1, 0, 1]))), SainfoId::Anonymous);
        assert!(fits(&host, "10.1.0.1/32", "10.2.0.0/16"));
        let name = block(id(Identity::Fqdn("peer.example".to_owned())), SainfoId::Anonymous);
        assert!(!fits(&name, "10.1.0.1/32", "10.2.0.0/16"));
    }

    #[test]
    fn a_group_is_that_of_the_user_who_logged_in() {
        let staff = Sainfo { group: Some("staff".to_owned()), ..block(SainfoId::Anonymous, SainfoId::Anonymous) };
        let (identity, traffic) =
            (Identity::KeyId(b"desk".to_vec()), Selector::between(net("10.1.0.0/16"), net("10.9.0.1/32")));
        let fits = |groups: &[String]| {
            find(std::slice::from_ref(&staff), &Query { groups, ..query(traffic, &identity) }).is_some()
        };
        assert!(fits(&["vpn".to_owned(), "staff".to_owned()]));
        assert!(!fits(&["Staff".to_owned()]) && !fits(&[]), "without a login, or in another group");
    }

    #[test]
    fn the_client_address_is_one_host() {
        let client = block(SainfoId::Anonymous, SainfoId::ClientAddress);
        assert!(fits(&client, "10.1.0.0/16", "10.9.0.1/32"));
        assert!(!fits(&client, "10.1.0.0/16", "10.9.0.2/32"));
        assert!(!fits(&client, "10.1.0.0/16", "10.9.0.0/24"));
    }

    #[test]
    fn the_peer_protocol_ports_and_remoteid_count() {
        let alice = Identity::Fqdn("alice".to_owned());
        let from = PeersIdentifier { kind: IdentityKind::Fqdn, value: Some(ConfiguredId::Fqdn("alice".to_owned())) };
        let for_alice = Sainfo { from: Some(from), ..block(SainfoId::Anonymous, SainfoId::Anonymous) };
        let traffic = Selector::between(net("10.1.0.1/32"), net("10.2.0.1/32"));
        assert!(find(std::slice::from_ref(&for_alice), &query(traffic, &alice)).is_some());
        assert!(find(&[for_alice], &query(traffic, &Identity::Fqdn("bob".to_owned()))).is_none());
        let address = Identity::Address(IpAddr::from([10, 1, 0, 1]));
        let l2tp = SainfoId::Selector { id: address, protocol: UpperProtocol::UDP, port: 1701 };
        let l2tp = [block(l2tp, SainfoId::Anonymous)];
        let udp = Selector { protocol: UpperProtocol::UDP, src_port: 1701, ..traffic };
        assert!(find(&l2tp, &query(udp, &alice)).is_some());
        assert!(find(&l2tp, &query(traffic, &alice)).is_none());
        assert!(find(&l2tp, &Query { ph1id: 7, ..query(udp, &alice) }).is_none());
    }
}
