//! Mode config as client: what is asked for (pull), and which of what is given is taken (push).

use std::net::Ipv4Addr;

use crate::wire::attribute::Attribute;
use crate::wire::config_payload::{empty, octets};
use crate::wire::number::ConfigAttribute;

const ALWAYS: [ConfigAttribute; 4] =
    [ConfigAttribute::IP4_NETMASK, ConfigAttribute::IP4_DNS, ConfigAttribute::IP4_NBNS, ConfigAttribute::IP4_SUBNET];

/// Asked of servers that know them only.
const UNITY: [ConfigAttribute; 7] = [
    ConfigAttribute::UNITY_BANNER,
    ConfigAttribute::UNITY_SAVE_PASSWD,
    ConfigAttribute::UNITY_DEF_DOMAIN,
    ConfigAttribute::UNITY_SPLITDNS_NAME,
    ConfigAttribute::UNITY_SPLIT_INCLUDE,
    ConfigAttribute::UNITY_LOCAL_LAN,
    ConfigAttribute::UNITY_PFS,
];

/// What is asked: an address, the one that we had if there was one, and all that goes with it.
pub(crate) fn request(had: Option<Ipv4Addr>, unity: bool) -> Vec<Attribute> {
    let address = had.map(|address| address.octets().to_vec()).unwrap_or_default();
    let more = ALWAYS.iter().chain(UNITY.iter().filter(|_| unity));
    std::iter::once(octets(ConfigAttribute::IP4_ADDRESS, address)).chain(more.map(|kind| empty(*kind))).collect()
}

/// Attributes that were given and are taken, without their values.
pub(crate) fn accepted(given: &[Attribute]) -> Vec<Attribute> {
    let known =
        |kind: &ConfigAttribute| *kind == ConfigAttribute::IP4_ADDRESS || ALWAYS.contains(kind) || UNITY.contains(kind);
    let mut kinds: Vec<ConfigAttribute> = Vec::new();
    for kind in given.iter().map(|one| ConfigAttribute(one.kind)).filter(known) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.into_iter().map(empty).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cisco_attributes_are_for_those_who_know_them() {
        assert!(request(None, false).iter().all(|one| one.kind < 16_384));
        assert_eq!(request(None, true).len(), 12);
        assert_eq!(
            request(Some(Ipv4Addr::new(10, 3, 0, 1)), false)[0],
            octets(ConfigAttribute::IP4_ADDRESS, [10, 3, 0, 1])
        );
    }

    #[test]
    fn what_nobody_knows_is_not_accepted() {
        let given = [
            octets(ConfigAttribute::IP4_DNS, [1, 1, 1, 1]),
            octets(ConfigAttribute::IP4_DNS, [2, 2, 2, 2]),
            octets(ConfigAttribute(999), [1]),
        ];
        assert_eq!(accepted(&given), [empty(ConfigAttribute::IP4_DNS)]);
    }
}
