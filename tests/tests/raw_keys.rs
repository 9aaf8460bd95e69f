//! RSA keys without certificates (racoon.conf: `plain_rsa`) between two endpoints: which key counts, and who is refused.

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, RawKey, RawKeys, RemoteConfig};
use ike::crypto::provider::RsaPublicKey;
use ike::event::Input;
use policy::model::addr::{IpNet, host_net};
use policy::model::remote::ExchangeMode;
use policy::model::rsa_key::KeyScope;
use tests::sim::node::{Settings, config};
use tests::sim::provider::toy_key;
use tests::sim::world::World;

const LONG: Duration = Duration::from_secs(40);

/// Peers of a node by key: each for this end of the peer's, or any.
type Peers = Vec<(Option<IpNet>, RsaPublicKey)>;

fn keyed(name: u8, settings: &Settings, peers: Peers) -> Config {
    let with_keys = |remote: &Arc<RemoteConfig>| {
        let own = remote.credential.as_ref().map(|credential| (KeyScope::default(), credential.key));
        let key = |(number, (remote, key)): (usize, (Option<IpNet>, RsaPublicKey))| {
            (KeyScope { local: None, remote }, RawKey { key: key.into(), name: format!("keys:{number}") })
        };
        let raw_keys = RawKeys {
            own: own.into_iter().collect(),
            peers: Some(peers.iter().cloned().enumerate().map(key).collect()),
        };
        let remote = RemoteConfig::clone(remote);
        Arc::new(RemoteConfig { credential: None, raw_keys: Arc::new(raw_keys), ..remote })
    };
    let mut made = config(name, settings);
    made.remotes = made.remotes.iter().map(with_keys).collect();
    made
}

/// Node 1 begins; both know the other by these keys.
fn play(exchange: ExchangeMode, at_first: Peers, at_second: Peers) -> World {
    let settings = Settings { exchange, ..Settings::default() };
    let mut world = World::new(&settings, 7).with_reports();
    world.happen(0, Input::Configure(Arc::new(keyed(1, &settings, at_first))));
    world.happen(1, Input::Configure(Arc::new(keyed(2, &settings, at_second))));
    world.acquire(0);
    world.run(LONG);
    world
}

fn any(name: u8) -> (Option<IpNet>, RsaPublicKey) {
    (None, toy_key(name))
}

#[test]
fn main_and_aggressive_mode() {
    for exchange in [ExchangeMode::Main, ExchangeMode::Aggressive] {
        let world = play(exchange, vec![any(2)], vec![any(1)]);
        assert_eq!(world.check_agreement(), Ok(1), "{exchange:?}\n{}", world.log());
        assert!(world.log().contains("the peer has signed with the RSA key of keys:0."), "{}", world.log());
    }
}

#[test]
fn one_of_several_keys_is_enough_and_the_best_place_is_the_only_one() {
    let first = |last: u8| Some(host_net([192, 0, 2, last].into()));
    let world = play(ExchangeMode::Main, vec![any(2)], vec![any(9), any(1), any(2)]);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
    assert!(world.log().contains("the RSA key of keys:1."), "{}", world.log());
    // The right key stands there, but a better place has another one.
    let world = play(ExchangeMode::Main, vec![any(2)], vec![any(1), (first(1), toy_key(9))]);
    assert_eq!(world.check_agreement(), Ok(0), "{}", world.log());
    assert!(world.log().contains("signature"), "{}", world.log());
}

#[test]
fn a_peer_without_a_key_is_refused_in_words() {
    let elsewhere = Some(host_net([198, 51, 100, 7].into()));
    for peers in [Vec::new(), vec![(elsewhere, toy_key(1))]] {
        let world = play(ExchangeMode::Main, vec![any(2)], peers);
        assert_eq!(world.check_agreement(), Ok(0), "{}", world.log());
        assert!(world.log().contains("no public key of peers_certfile plain_rsa is for 192.0.2.2 <-> 192.0.2.1"));
    }
}
