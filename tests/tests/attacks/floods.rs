//! Work that somebody can make us do: on curves, A-30, D-3, T-3. What is slow or bounded, and what an observer
//! learns from it; each beside the legal exchange.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cli::provider::OpensslProvider;
use ike::config::Config;
use ike::crypto::provider::Provider;
use ike::endpoint::Endpoint;
use ike::event::Input;
use ike::wire::attribute::Attribute;
use ike::wire::header::{Cookie, Header};
use ike::wire::message::{encode_chain, encode_message, first_kind};
use ike::wire::number::{ExchangeType, PayloadType};
use ike::wire::sa::SaPayload;
use policy::model::algorithm::{AuthMethod, Group};
use policy::model::remote::ExchangeMode;
use tests::sim::node::{Settings, config};
use tests::sim::puppet::{Begins, Payloads, Puppet};
use tests::sim::world::World;

use crate::stranger::{feed, stranger};

const SECOND: Duration = Duration::from_secs(1);

fn number(kind: u16, value: u32) -> Attribute {
    Attribute::number(kind, value)
}

/// A message of main mode in clear.
fn clear(cookies: [Cookie; 2], payloads: &[(PayloadType, Vec<u8>)]) -> Vec<u8> {
    let header = Header {
        initiator: cookies[0],
        responder: cookies[1],
        next: first_kind(payloads),
        version: Header::VERSION,
        exchange: ExchangeType::MAIN,
        flags: ike::wire::number::Flags::NONE,
        message_id: 0,
        length: 0,
    };
    encode_message(header, &encode_chain(payloads))
}

#[test]
fn a12_authentication_by_gssapi_is_never_chosen() {
    let gss: Vec<u8> = b"A GSS-API VENDOR ID.".to_vec();
    for alone in [true, false] {
        let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 1);
        let legal = puppet.main_payloads(1);
        let mut sa = SaPayload::decode(&legal[0].1).expect("our own");
        let mut kerberos = sa.proposals[0].transforms[0].clone();
        kerberos.attributes.retain(|attribute| attribute.kind != 3);
        kerberos.attributes.push(number(3, 65001));
        kerberos.attributes.push(Attribute { kind: 16384, ..number(16384, 1) });
        if alone {
            sa.proposals[0].transforms = vec![kerberos];
        } else {
            kerberos.number = 2;
            sa.proposals[0].transforms.insert(0, kerberos);
        }
        let payloads = vec![(PayloadType::SA, sa.encode()), (PayloadType::VENDOR, gss.clone())];
        let datagram = puppet.clear(ExchangeType::MAIN, 0, &payloads);
        let sent = puppet.send(datagram);
        let sizes = puppet.world.nodes[1].endpoint.sizes();
        if alone {
            assert_eq!(sizes.handshakes, 0, "{}", puppet.world.log());
            assert!(sent.iter().all(|sent| sent.len() <= 64), "at most one small notify");
            assert!(puppet.logged("no suitable proposal"), "{}", puppet.world.log());
        } else {
            let (_, answer) = puppet.open(&sent[0]);
            let chosen = SaPayload::decode(&answer[0].1).expect("the victim encodes well");
            let method = chosen.proposals[0].transforms[0].attributes.iter().find(|attribute| attribute.kind == 3);
            assert_eq!(method, Some(&number(3, 3)), "the legal one beside it is chosen");
        }
    }
}

/// The configuration of node 2 with another group in phase 1.
fn with_group(group: Group) -> Arc<Config> {
    let mut config = config(2, &Settings::default());
    for remote in &mut config.remotes {
        let remote = Arc::make_mut(remote);
        remote.remote.proposals.iter_mut().for_each(|proposal| proposal.group = group);
    }
    Arc::new(config)
}

/// An exchange up to the third message with this public value: is there a fourth?
fn is_answered(endpoint: &mut Endpoint, group: Group, public: Vec<u8>) -> bool {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 1);
    let mut sa = SaPayload::decode(&puppet.main_payloads(1)[0].1).expect("our own");
    let attributes = &mut sa.proposals[0].transforms[0].attributes;
    attributes.iter_mut().filter(|found| found.kind == 4).for_each(|found| *found = number(4, group.number().into()));
    let cookies = [Cookie([7; 8]), Cookie::ZERO];
    let second = feed(endpoint, clear(cookies, &[(PayloadType::SA, sa.encode())])).pop().expect("a second message");
    let header = Header::decode(&second).expect("our own");
    let third =
        clear([header.initiator, header.responder], &[(PayloadType::KE, public), (PayloadType::NONCE, vec![3; 16])]);
    feed(endpoint, third)
        .iter()
        .any(|sent| Header::decode(sent).is_ok_and(|header| header.exchange == ExchangeType::MAIN))
}

#[test]
fn a25_points_that_are_none_are_refused_before_the_fourth_message() {
    let provider: Arc<dyn Provider> = Arc::new(OpensslProvider::new());
    for group in Group::ALL.into_iter().filter(|group| group.facts().is_curve) {
        let right = provider.dh_generate(group).expect("the library works").public;
        let (x, y) = right.split_at(right.len() / 2);
        let mut beside = right.clone();
        *beside.last_mut().expect("not empty") ^= 1;
        let refused = [
            ("the point at infinity", vec![0; right.len()]),
            ("infinity in one octet", vec![0]),
            ("beside the curve", beside),
            ("coordinates swapped", [y, x].concat()),
            ("coordinates beyond the field", vec![0xff; right.len()]),
            ("compressed", [&[2], x].concat()),
            ("with a mark before it", [&[4], right.as_slice()].concat()),
            ("half of it", x.to_vec()),
            ("nothing", Vec::new()),
        ];
        let mut endpoint = Endpoint::new(Arc::clone(&provider), with_group(group));
        assert!(is_answered(&mut endpoint, group, right), "{group:?}: a legal point");
        for (name, point) in refused {
            let mut endpoint = Endpoint::new(Arc::clone(&provider), with_group(group));
            assert!(!is_answered(&mut endpoint, group, point), "{group:?}, {name}: answered");
            assert_eq!(endpoint.sizes().handshakes, 0, "{group:?}, {name}: left state");
        }
    }
}

#[test]
fn a30_slow_keys_and_judges_cost_time_and_nothing_else() {
    for exchange in [ExchangeMode::Main, ExchangeMode::Aggressive] {
        let settings = Settings { exchange, ..Settings::default() };
        // Slower than three resends of the peer, within the time that an exchange has.
        let mut world = World::new(&settings, 3).with_reports();
        world.work = 6 * SECOND;
        world.acquire(0);
        world.run(60 * SECOND);
        assert_eq!(world.check_agreement(), Ok(1), "{exchange:?}\n{}", world.log());
        // Beyond it.
        let mut world = World::new(&settings, 3).with_reports();
        world.work = 40 * SECOND;
        world.acquire(0);
        world.run(300 * SECOND);
        assert_eq!(world.check_nothing_left(), Ok(()), "{exchange:?}\n{}", world.log());
        world.work = Duration::ZERO;
        world.acquire(0);
        world.run(world.now + 5 * SECOND);
        assert_eq!(world.check_agreement(), Ok(1), "{exchange:?}\n{}", world.log());
    }
}

#[test]
fn a30_a_flood_before_a_slow_key_leaves_a_bounded_queue() {
    // Each first message of aggressive mode asks for a signature of ours, which takes half a minute.
    let settings = Settings { exchange: ExchangeMode::Aggressive, ..Settings::default() };
    let mut world = World::new(&settings, 4).with_reports();
    world.acquire(0);
    world.run(5 * SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
    let first = world.captured[0].1.clone();
    world.work = 29 * SECOND;
    let mut cookie = 0_u64;
    for _ in 0..40 {
        for _ in 0..100 {
            cookie += 1;
            let mut first = first.clone();
            first[..8].copy_from_slice(&cookie.to_be_bytes());
            world.inject(1, stranger((cookie % 3) as u8), first);
        }
        world.run(world.now + SECOND);
        let sizes = world.nodes[1].endpoint.sizes();
        assert!(sizes.jobs <= 512 && sizes.handshakes <= 3 * 64 && sizes.timers <= 8 * 64, "{sizes:?}");
    }
    // What stands goes on: packets flow, and when all is over only the tunnel is left.
    world.work = Duration::ZERO;
    let (sent, arrived) = (world.sent, world.arrived);
    world.run_with_traffic(world.now + 60 * SECOND, SECOND);
    assert_eq!(world.sent - sent, world.arrived - arrived);
    world.run(world.now + 60 * SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.nodes[1].endpoint.sizes().handshakes);
}

#[test]
fn d3_a_flood_that_goes_to_the_third_message_stays_within_its_room() {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 1);
    let first = puppet.main_payloads(1);
    let third = puppet.main_payloads(3);
    let mut world = World::new(&Settings::default(), 2).with_reports();
    let flood = |world: &mut World, from: SocketAddr, cookies: std::ops::Range<u64>| {
        let mut fourth = 0;
        for cookie in cookies {
            let initiator = Cookie(cookie.to_be_bytes());
            let Some(second) = world.inject(1, from, clear([initiator, Cookie::ZERO], &first)).pop() else { continue };
            let header = Header::decode(&second).expect("our own");
            fourth += world.inject(1, from, clear([initiator, header.responder], &third)).len();
        }
        fourth
    };
    assert_eq!(flood(&mut world, stranger(1), 1..2000), 256, "answers that cost a Diffie-Hellman exchange each");
    let sizes = world.nodes[1].endpoint.sizes();
    assert!(sizes.handshakes <= 256 + 64 && sizes.timers <= 2 * (256 + 64), "{sizes:?}");
    // Other sources have their own room, and the legal peer comes through.
    assert_eq!(flood(&mut world, stranger(2), 5000..5010), 10);
    world.acquire(0);
    world.run(SECOND);
    assert_eq!(world.nodes[0].kernel.sas.len(), 2, "{}", world.nodes[1].endpoint.sizes().handshakes);
    // Who proves nothing is forgotten, and then has room again.
    world.run(100 * SECOND);
    assert_eq!(world.nodes[1].endpoint.sizes().handshakes, 0);
    assert_eq!(flood(&mut world, stranger(1), 9000..9010), 10);
}

#[test]
fn t3_no_key_and_another_key_are_answered_alike() {
    // What the victim sends, as kind of exchange, length, and time; and what it says about it.
    let play = |keys: &[u8]| {
        let settings = Settings { auth: AuthMethod::PreSharedKey, ..Settings::default() };
        let mut puppet = Puppet::new(&settings, Begins::Puppet, 1);
        let psks = policy::psk::parse("psk.txt", keys).table;
        puppet.happen(Input::Configure(Arc::new(Config { psks, ..config(2, &settings) })));
        puppet.sent_meanwhile();
        let mut shapes: Vec<(ExchangeType, usize, Duration)> = Vec::new();
        let mut note = |puppet: &Puppet, sent: &[Vec<u8>]| {
            shapes.extend(sent.iter().map(|sent| {
                let exchange = Header::decode(sent).expect("the victim frames well").exchange;
                (exchange, sent.len(), puppet.world.now)
            }));
        };
        for number in [1, 3, 5] {
            let payloads: Payloads = puppet.main_payloads(number);
            let datagram = puppet.main_message(number, &payloads, true);
            let sent = puppet.send(datagram.clone());
            puppet.take_in(&sent);
            note(&puppet, &sent);
            if number == 5 {
                // Again, changed, and after a while.
                let mut changed = datagram.clone();
                *changed.last_mut().expect("not empty") ^= 1;
                for datagram in [datagram, changed] {
                    let sent = puppet.send(datagram);
                    note(&puppet, &sent);
                }
            }
        }
        puppet.world.run(puppet.world.now + 100 * SECOND);
        let sent = puppet.sent_meanwhile();
        note(&puppet, &sent);
        (shapes, puppet.victim_sas(), puppet.world.log())
    };
    let (none, sas_of_none, log) = play(b"198.51.100.77 a key of somebody else\n");
    assert!(log.contains("couldn't find the pskey"), "{log}");
    let (other, sas_of_other, log) = play(b"192.0.2.1 another key\n");
    assert!(!log.contains("couldn't find the pskey"), "{log}");
    assert_eq!((sas_of_none, sas_of_other), (0, 0));
    assert_eq!(none, other, "{log}");
    let (right, sas_of_right, log) = play(b"192.0.2.1 of both nodes\n");
    assert_eq!(sas_of_right, 1, "{log}");
    assert_eq!(right[..2], none[..2], "up to the fifth message nothing shows");
}

/// Whatever a peer sends first, what it learns is of its own making.
#[test]
fn a25_a_legal_point_of_another_group_is_none() {
    let provider: Arc<dyn Provider> = Arc::new(OpensslProvider::new());
    for (group, other) in [(Group::Ecp256, Group::Brainpool256), (Group::Ecp384, Group::Brainpool384)] {
        let foreign = provider.dh_generate(other).expect("the library works").public;
        assert_eq!(foreign.len(), group.facts().octets, "the lengths do not tell them apart");
        let mut endpoint = Endpoint::new(Arc::clone(&provider), with_group(group));
        assert!(!is_answered(&mut endpoint, group, foreign), "{group:?} took a point of {other:?}");
    }
}
