//! The configuration as the core needs it: resolved words plus what files held (names, certificates), never the files.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use policy::model::addr::{ISAKMP_PORT, NATT_PORT};
use policy::model::identity::Identity;
use policy::model::mode_config::ModeConfig;
use policy::model::remote::{Remote, RemoteSelector, Timers};
use policy::model::rsa_key::KeyScope;
use policy::model::sainfo::Sainfo;
use policy::model::selector::Selector;
use policy::psk::PskTable;

use crate::crypto::provider::PublicKey;
use crate::phase2::sainfo;

/// Names a private key to whoever holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHandle(pub u32);

/// Names a remote within one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteId(pub u32);

/// Our certificate for a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The key that signs.
    pub key: KeyHandle,
    /// DER certificates, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// DER of the leaf's subject.
    pub subject: Vec<u8>,
    /// DER names of the issuers along the chain, the leaf's first: what a certificate request is compared with.
    pub issuers: Vec<Vec<u8>>,
}

/// Keys without certificates for a remote (racoon.conf: `plain_rsa`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawKeys {
    /// Ours, by the ends of an exchange.
    pub own: Vec<(KeyScope, KeyHandle)>,
    /// Those of peers, by the ends of an exchange; `None` where peers show certificates.
    pub peers: Option<Vec<(KeyScope, RawKey)>>,
}

/// A peer's key without a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawKey {
    /// The key.
    pub key: PublicKey,
    /// What log lines call it: its place and its fingerprint.
    pub name: String,
}

/// One peer's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteConfig {
    /// Its number.
    pub id: RemoteId,
    /// The resolved block.
    pub remote: Remote,
    /// Our identity; `None` is the address the exchange runs from.
    pub my_identity: Option<Identity>,
    /// Our certificate.
    pub credential: Option<Credential>,
    /// Keys without certificates.
    pub raw_keys: Arc<RawKeys>,
    /// DER subject names of the trust anchors: one certificate request each (RFC 4945 §3.2). Empty: one empty request.
    pub accepted_issuers: Vec<Vec<u8>>,
}

impl RemoteConfig {
    /// Is there a private key of ours?
    pub fn can_sign(&self) -> bool {
        self.credential.is_some() || !self.raw_keys.own.is_empty()
    }

    /// The key that we sign with, between these ends.
    pub fn signing_key(&self, local: IpAddr, peer: IpAddr) -> Option<KeyHandle> {
        match &self.credential {
            Some(credential) => Some(credential.key),
            None => KeyScope::best(&self.raw_keys.own, local, peer).next().copied(),
        }
    }
}

/// A whole configuration; swapped whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The UDP port our own negotiations start from.
    pub isakmp_port: u16,
    /// Another port for our own negotiations from these addresses (`listen { isakmp ADDR [PORT]; }`).
    pub own_ports: BTreeMap<IpAddr, u16>,
    /// The UDP port we change to when there is a NAT.
    pub natt_port: u16,
    /// Retransmission and time limits.
    pub timers: Timers,
    /// Peers in file order.
    pub remotes: Vec<Arc<RemoteConfig>>,
    /// Phase 2 parameters, most specific first.
    pub sainfos: Vec<Sainfo>,
    /// Pre-shared keys.
    pub psks: PskTable,
    /// What clients of mode config are given, and how their passwords are checked.
    pub mode_cfg: Option<Arc<ModeConfig>>,
    /// What the file of `mode_cfg { banner }` holds.
    pub banner: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            isakmp_port: ISAKMP_PORT,
            own_ports: BTreeMap::new(),
            natt_port: NATT_PORT,
            timers: Timers::default(),
            remotes: Vec::new(),
            sainfos: Vec::new(),
            psks: PskTable::default(),
            mode_cfg: None,
            banner: None,
        }
    }
}

impl Config {
    /// The port that our own negotiations from `local` start from.
    pub fn port_of(&self, local: IpAddr) -> u16 {
        let everywhere = match local {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let written = self.own_ports.get(&local).or_else(|| self.own_ports.get(&everywhere));
        written.copied().unwrap_or(self.isakmp_port)
    }

    /// The blocks that `peer` may speak under, best first: those with its address, or the anonymous ones if it has none
    /// of its own. A written port that is the peer's goes before; it excludes nobody, because NATs change ports.
    ///
    /// racoon also tries the anonymous blocks for a peer whose own block refuses it. That would let anybody who is good
    /// for an anonymous block in between take the place of a peer whose block names an identity, and is not copied.
    pub fn candidates(&self, peer: SocketAddr) -> Vec<Arc<RemoteConfig>> {
        let of = |wanted: fn(&RemoteSelector, IpAddr) -> bool| -> Vec<Arc<RemoteConfig>> {
            self.remotes.iter().filter(|remote| wanted(&remote.remote.selector, peer.ip())).cloned().collect()
        };
        let mut own = of(|selector, peer| matches!(selector, RemoteSelector::Address(at) if at.addr == peer));
        own.sort_by_key(|remote| match remote.remote.selector {
            RemoteSelector::Address(at) => at.port.is_none_or(|port| port != peer.port()),
            RemoteSelector::Anonymous => true,
        });
        if own.is_empty() { of(|selector, _| *selector == RemoteSelector::Anonymous) } else { own }
    }

    /// The sainfo for traffic (source side ours) with a peer that shows its address as identity.
    pub fn sainfo_for(&self, outbound: Selector, peer: IpAddr) -> Option<&Sainfo> {
        let identity = Identity::Address(peer);
        sainfo::find(
            &self.sainfos,
            &sainfo::Query { outbound, identity: &identity, groups: &[], client: peer, ph1id: 0 },
        )
    }

    /// The first block for `peer`: what its address alone says.
    pub fn remote_for(&self, peer: IpAddr) -> Option<&Arc<RemoteConfig>> {
        self.remotes
            .iter()
            .find(|remote| matches!(remote.remote.selector, RemoteSelector::Address(at) if at.addr == peer))
            .or_else(|| self.remotes.iter().find(|remote| remote.remote.selector == RemoteSelector::Anonymous))
    }
}

#[cfg(test)]
mod tests {
    use policy::model::addr::AddrPort;

    use super::*;

    fn block(number: u32, selector: RemoteSelector) -> Arc<RemoteConfig> {
        Arc::new(RemoteConfig {
            id: RemoteId(number),
            remote: Remote { selector, ..Remote::default() },
            my_identity: None,
            credential: None,
            raw_keys: Arc::default(),
            accepted_issuers: Vec::new(),
        })
    }

    #[test]
    fn anonymous_blocks_are_for_whom_no_other_is() {
        let at = |last, port| RemoteSelector::Address(AddrPort { addr: IpAddr::from([192, 0, 2, last]), port });
        let config = Config {
            remotes: vec![
                block(1, RemoteSelector::Anonymous),
                block(2, at(1, None)),
                block(3, at(1, Some(4500))),
                block(4, RemoteSelector::Anonymous),
                block(5, at(2, Some(500))),
            ],
            ..Config::default()
        };
        let candidates = |last, port| -> Vec<u32> {
            let peer = SocketAddr::from(([192, 0, 2, last], port));
            config.candidates(peer).iter().map(|remote| remote.id.0).collect()
        };
        assert_eq!(candidates(1, 500), [2, 3]);
        assert_eq!(candidates(1, 4500), [3, 2], "the written port goes first");
        assert_eq!(candidates(2, 33000), [5], "another port excludes nobody");
        assert_eq!(candidates(9, 500), [1, 4]);
    }
}
