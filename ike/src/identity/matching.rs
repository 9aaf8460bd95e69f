//! Is a received phase 1 identity one that the configuration expects (racoon.conf: `peers_identifier`)?
//!
//! Whole values only. racoon compared `fqdn`, `user_fqdn` and `keyid` over the configured length, so that a prefix let
//! its owner in; that is a hole and is not copied (docs/undocumented-racoon.md).

use policy::model::addr::IpNet;
use policy::model::identity::{ConfiguredId, Identity, PeersIdentifier};

use super::dn::{Name, NameError, Pattern};

/// May `id` be the peer? An empty list accepts anyone, else one of its lines must match.
pub fn accepts(list: &[PeersIdentifier], id: &Identity) -> bool {
    list.is_empty() || list.iter().any(|pattern| matches(pattern, id))
}

/// Does `id` match this line? The types must be equal; a line without a value takes any identity of its type.
pub fn matches(pattern: &PeersIdentifier, id: &Identity) -> bool {
    if pattern.kind != id.kind() {
        return false;
    }
    let Some(value) = &pattern.value else {
        return true;
    };
    match (value, id) {
        (ConfiguredId::Address(mine), Identity::Address(theirs)) => mine == theirs,
        (ConfiguredId::Subnet(mine), Identity::Subnet(theirs)) => mine.trunc() == theirs.trunc(),
        (ConfiguredId::Subnet(mine), Identity::Range(first, last)) => is_range(mine, *first, *last),
        (ConfiguredId::Fqdn(mine), Identity::Fqdn(theirs))
        | (ConfiguredId::UserFqdn(mine), Identity::UserFqdn(theirs)) => same_host(mine, theirs),
        (ConfiguredId::KeyId(mine), Identity::KeyId(theirs)) => mine == theirs,
        (ConfiguredId::Asn1Dn(mine), Identity::Asn1Dn(theirs)) => {
            matches!((Pattern::parse(mine), Name::from_der(theirs)), (Ok(mine), Ok(theirs)) if mine.matches(&theirs))
        }
        _ => false,
    }
}

/// Are two domain or mailbox names the same? Case does not count (RFC 4945 §3.1.2); a NUL equals nothing.
pub fn same_host(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) && !one.contains('\0')
}

/// The identity that a configured value stands for; names become DER.
///
/// # Errors
/// [`NameError`] if a distinguished name cannot be read or contains `*`.
pub fn to_identity(value: &ConfiguredId) -> Result<Identity, NameError> {
    Ok(match value {
        ConfiguredId::Address(address) => Identity::Address(*address),
        ConfiguredId::Subnet(net) => Identity::Subnet(net.trunc()),
        ConfiguredId::Fqdn(name) => Identity::Fqdn(name.clone()),
        ConfiguredId::UserFqdn(name) => Identity::UserFqdn(name.clone()),
        ConfiguredId::KeyId(octets) => Identity::KeyId(octets.clone()),
        // Whoever reads files puts the content in its place.
        ConfiguredId::KeyIdFile(path) => return Err(NameError::Unread(path.clone())),
        ConfiguredId::Asn1Dn(text) => Identity::Asn1Dn(Pattern::parse(text)?.to_name()?.to_der()),
    })
}

fn is_range(net: &IpNet, first: std::net::IpAddr, last: std::net::IpAddr) -> bool {
    let range = match net {
        IpNet::V4(net) => (net.network().into(), net.broadcast().into()),
        IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
    };
    range == (first, last)
}

#[cfg(test)]
mod tests {
    use policy::model::identity::IdentityKind;

    use super::*;

    fn line(value: ConfiguredId) -> PeersIdentifier {
        let kind = to_identity(&value).map_or(IdentityKind::Asn1Dn, |id| id.kind());
        PeersIdentifier { kind, value: Some(value) }
    }

    fn fqdn(name: &str) -> Identity {
        Identity::Fqdn(name.to_owned())
    }

    #[test]
    fn whole_names_without_case_never_prefixes() {
        let pattern = line(ConfiguredId::Fqdn("gw.example.org".to_owned()));
        assert!(matches(&pattern, &fqdn("GW.Example.ORG")));
        for other in ["gw.example.org.evil", "gw.example.or", "", "xgw.example.org", "gw.example.org\0"] {
            assert!(!matches(&pattern, &fqdn(other)), "{other:?}");
        }
        assert!(!matches(&pattern, &Identity::UserFqdn("gw.example.org".to_owned())));
        let nul = line(ConfiguredId::Fqdn("a\0b".to_owned()));
        assert!(!matches(&nul, &fqdn("a\0b")));
    }

    #[test]
    fn keyids_are_exact() {
        let pattern = line(ConfiguredId::KeyId(b"secret".to_vec()));
        assert!(matches(&pattern, &Identity::KeyId(b"secret".to_vec())));
        assert!(!matches(&pattern, &Identity::KeyId(b"Secret".to_vec())));
        assert!(!matches(&pattern, &Identity::KeyId(b"secrets".to_vec())));
        assert!(!matches(&pattern, &Identity::KeyId(b"secre".to_vec())));
    }

    #[test]
    fn addresses_and_networks() {
        let address = line(ConfiguredId::Address("192.0.2.1".parse().unwrap()));
        assert!(matches(&address, &Identity::Address("192.0.2.1".parse().unwrap())));
        assert!(!matches(&address, &Identity::Address("192.0.2.2".parse().unwrap())));
        assert!(!matches(&address, &Identity::Subnet("192.0.2.1/32".parse().unwrap())));
        let net = line(ConfiguredId::Subnet("10.1.0.0/16".parse().unwrap()));
        assert!(matches(&net, &Identity::Subnet("10.1.2.3/16".parse().unwrap())));
        assert!(!matches(&net, &Identity::Subnet("10.1.0.0/17".parse().unwrap())));
        let range = |last: &str| Identity::Range("10.1.0.0".parse().unwrap(), last.parse().unwrap());
        assert!(matches(&net, &range("10.1.255.255")));
        assert!(!matches(&net, &range("10.1.255.254")));
    }

    #[test]
    fn an_empty_list_accepts_and_one_of_many_suffices() {
        assert!(accepts(&[], &fqdn("anyone")));
        let list =
            [line(ConfiguredId::KeyId(b"k".to_vec())), PeersIdentifier { kind: IdentityKind::Fqdn, value: None }];
        assert!(accepts(&list, &fqdn("anyone")));
        assert!(accepts(&list, &Identity::KeyId(b"k".to_vec())));
        assert!(!accepts(&list, &Identity::KeyId(b"x".to_vec())));
        assert!(!accepts(&list, &Identity::UserFqdn("a@b".to_owned())));
    }

    #[test]
    fn names_with_wildcards() {
        let pattern = line(ConfiguredId::Asn1Dn("C=NL, O=Example, CN=*".to_owned()));
        let name = |text: &str| to_identity(&ConfiguredId::Asn1Dn(text.to_owned())).unwrap();
        assert!(matches(&pattern, &name("/C=NL/O=EXAMPLE/CN=alice")));
        assert!(!matches(&pattern, &name("C=NL, O=Example")));
        assert!(!matches(&pattern, &name("C=NL, O=Example, CN=a, CN=b")));
        assert!(!matches(&pattern, &name("O=Example, C=NL, CN=a")));
        assert!(!matches(&pattern, &name("C=BE, O=Example, CN=a")));
        assert!(!matches(&pattern, &Identity::Asn1Dn(vec![0x30, 0x80])));
        let broken = line(ConfiguredId::Asn1Dn("nonsense".to_owned()));
        assert!(!matches(&broken, &name("C=NL")));
    }
}
