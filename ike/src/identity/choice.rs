//! Which `remote` block a peer is meant by, once it has said who it is (racoon's matching of rmconf, RACOON 5.4).

use std::sync::Arc;

use policy::model::identity::Identity;

use super::matching::matches;
use crate::config::RemoteConfig;

/// How well an identity fits a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// None of the block's identities, and `verify_identifier off` lets it pass.
    Unlisted,
    /// The block names nobody.
    Anybody,
    /// An identity of a type that the block takes any value of.
    Kind,
    /// An identity that the block names.
    Named,
}

/// How well `identity` fits; `None` is refused.
pub fn fit(remote: &RemoteConfig, identity: &Identity) -> Option<Fit> {
    let list = &remote.remote.peers_identifiers;
    if list.is_empty() {
        return Some(Fit::Anybody);
    }
    let named = |with_value: bool| {
        list.iter().filter(|line| line.value.is_some() == with_value).any(|line| matches(line, identity))
    };
    if named(true) {
        Some(Fit::Named)
    } else if named(false) {
        Some(Fit::Kind)
    } else {
        (!remote.remote.verify_identifier).then_some(Fit::Unlisted)
    }
}

/// The candidate that the peer is meant by: the best fit, the first of equals.
pub fn choose<'a>(candidates: &'a [Arc<RemoteConfig>], identity: &Identity) -> Option<(&'a Arc<RemoteConfig>, Fit)> {
    let mut best: Option<(&Arc<RemoteConfig>, Fit)> = None;
    for candidate in candidates {
        if let Some(fit) = fit(candidate, identity)
            && best.is_none_or(|(_, least)| fit > least)
        {
            best = Some((candidate, fit));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use policy::model::identity::{ConfiguredId, IdentityKind, PeersIdentifier};
    use policy::model::remote::Remote;

    use super::*;
    use crate::config::RemoteId;

    fn block(number: u32, names: &[Option<&str>], verify_identifier: bool) -> Arc<RemoteConfig> {
        let line = |name: &Option<&str>| PeersIdentifier {
            kind: IdentityKind::Fqdn,
            value: name.map(|name| ConfiguredId::Fqdn(name.to_owned())),
        };
        let peers_identifiers = names.iter().map(line).collect();
        Arc::new(RemoteConfig {
            id: RemoteId(number),
            remote: Remote { peers_identifiers, verify_identifier, ..Remote::default() },
            my_identity: None,
            credential: None,
            raw_keys: Arc::default(),
            accepted_issuers: Vec::new(),
        })
    }

    fn chosen(candidates: &[Arc<RemoteConfig>], name: &str) -> Option<(u32, Fit)> {
        choose(candidates, &Identity::Fqdn(name.to_owned())).map(|(remote, fit)| (remote.id.0, fit))
    }

    #[test]
    fn the_block_that_names_the_peer_wins_wherever_it_stands() {
        let blocks = [
            block(1, &[], false),
            block(2, &[None], true),
            block(3, &[Some("alice")], true),
            block(4, &[Some("bob"), Some("carol")], true),
            block(5, &[Some("bob")], true),
        ];
        assert_eq!(chosen(&blocks, "alice"), Some((3, Fit::Named)));
        assert_eq!(chosen(&blocks, "bob"), Some((4, Fit::Named)), "the first of equals");
        assert_eq!(chosen(&blocks, "carol"), Some((4, Fit::Named)));
        assert_eq!(chosen(&blocks, "dave"), Some((2, Fit::Kind)));
    }

    #[test]
    fn a_stranger_needs_a_block_that_takes_strangers() {
        let named = [block(1, &[Some("alice")], true), block(2, &[Some("bob")], true)];
        assert_eq!(chosen(&named, "mallory"), None);
        let lax = [block(1, &[Some("alice")], false), block(2, &[Some("bob")], true)];
        assert_eq!(chosen(&lax, "mallory"), Some((1, Fit::Unlisted)));
        assert_eq!(chosen(&lax, "bob"), Some((2, Fit::Named)));
        assert_eq!(chosen(&[], "bob"), None);
    }
}
