//! Floods, replays and forgeries by somebody who holds no keys, each beside the legal traffic it resembles.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ike::crypto::provider::Provider;
use ike::crypto::pure::PureProvider;
use ike::endpoint::Endpoint;
use ike::event::Input;
use ike::wire::header::Header;
use ike::wire::message::Tail;
use ike::wire::message::{decode_chain, encode_chain, encode_message, first_kind};
use ike::wire::notify::NotifyPayload;
use ike::wire::number::{ExchangeType, Flags, NotifyType, PayloadType, ProtocolId};
use policy::model::algorithm::Group;
use tests::sim::node::{Settings, config};
use tests::sim::random::Random;
use tests::sim::world::World;

use crate::stranger::{feed, stranger};

const SECOND: Duration = Duration::from_secs(1);

fn world(seed: u64) -> World {
    World::new(&Settings::default(), seed).with_reports()
}

fn established(seed: u64) -> World {
    let mut world = world(seed);
    world.acquire(0);
    world.run(SECOND);
    assert_eq!(world.check_agreement(), Ok(1));
    world
}

/// The first message of a main mode, as an initiator of ours sends it.
fn first_message(seed: u64) -> Vec<u8> {
    let mut world = world(seed);
    world.acquire(0);
    world.run(Duration::ZERO);
    world.captured[0].1.clone()
}

fn with_cookie(message: &[u8], cookie: u64) -> Vec<u8> {
    let mut message = message.to_vec();
    message[..8].copy_from_slice(&cookie.to_be_bytes());
    message
}

#[test]
fn the_answer_to_a_first_message_is_not_larger() {
    let message = first_message(1);
    let mut world = world(2);
    let answers = world.inject(1, stranger(1), message.clone());
    assert_eq!(answers.len(), 1);
    assert!(answers[0].len() <= message.len(), "{} > {}", answers[0].len(), message.len());
    // And nothing more comes by itself, however long we wait: no timer resends it.
    world.captured.clear();
    world.run(120 * SECOND);
    assert_eq!(world.captured.len(), 0);
    assert_eq!(world.nodes[1].endpoint.sizes().handshakes, 0);
}

#[test]
fn the_same_first_message_ten_times_is_answered_three_times_at_most() {
    let message = first_message(1);
    let mut world = world(2);
    let answers: usize = (0..10).map(|_| world.inject(1, stranger(1), message.clone()).len()).sum();
    assert!((1..=3).contains(&answers), "{answers} answers");
    assert_eq!(world.nodes[1].endpoint.sizes().handshakes, 1);
}

#[test]
fn a_flood_of_first_messages_from_one_source_stays_within_its_room() {
    let message = first_message(1);
    let mut world = world(2);
    for cookie in 1..5000 {
        world.inject(1, stranger(1), with_cookie(&message, cookie));
    }
    let sizes = world.nodes[1].endpoint.sizes();
    assert!(sizes.half_open <= 64 && sizes.handshakes <= 64, "{sizes:?}");
    // The legal peer still gets through.
    world.acquire(0);
    world.run(SECOND);
    assert_eq!(world.nodes[0].kernel.sas.len(), 2, "{}", world.log());
}

#[test]
fn a_flood_from_everywhere_stays_within_its_room() {
    let message = first_message(1);
    let mut world = world(2);
    let mut random = Random::new(9);
    for cookie in 1..20_000 {
        let peer = SocketAddr::new(IpAddr::from((random.bits() as u32 | 0x0100_0000).to_be_bytes()), 500);
        world.inject(1, peer, with_cookie(&message, cookie));
    }
    let sizes = world.nodes[1].endpoint.sizes();
    assert!(sizes.half_open <= 8192 && sizes.timers <= 8192 + 64, "{sizes:?}");
    world.acquire(0);
    world.run(SECOND);
    assert_eq!(world.nodes[0].kernel.sas.len(), 2, "{}", world.log());
    world.run(100 * SECOND);
    assert_eq!(world.nodes[1].endpoint.sizes().handshakes, 0);
}

#[test]
fn public_values_out_of_range_are_refused_before_the_fourth_message() {
    let seed = std::sync::Mutex::new(Random::new(4));
    let provider: Arc<dyn Provider> = Arc::new(PureProvider::new(move |out: &mut [u8]| {
        let mut random = seed.lock().expect("no panic while the lock is held");
        out.iter_mut().for_each(|octet| *octet = random.bits() as u8);
    }));
    let octets = Group::Modp2048.octets();
    let prime = ike::crypto::group::prime(Group::Modp2048).to_vec();
    let mut less_one = prime.clone();
    *less_one.last_mut().expect("not empty") -= 1;
    let mut one = vec![0; octets];
    one[octets - 1] = 1;
    let refused: [(&str, Vec<u8>); 6] = [
        ("0", vec![0; octets]),
        ("1", one),
        ("p-1", less_one),
        ("p", prime),
        ("all ones", vec![0xff; octets]),
        ("short", vec![7; octets - 1]),
    ];
    for (name, value) in refused {
        let mut endpoint = Endpoint::new(Arc::clone(&provider), Arc::new(config(2, &Settings::default())));
        assert!(third_message_is_answered(&mut endpoint, vec![5; octets]), "a legal value");
        let mut endpoint = Endpoint::new(Arc::clone(&provider), Arc::new(config(2, &Settings::default())));
        assert!(!third_message_is_answered(&mut endpoint, value), "{name} was answered");
        assert_eq!(endpoint.sizes().handshakes, 0, "{name} left state");
    }
}

fn third_message_is_answered(endpoint: &mut Endpoint, public: Vec<u8>) -> bool {
    let second = feed(endpoint, first_message(1)).pop().expect("an answer to the first message");
    let header = Header::decode(&second).expect("our own message");
    let payloads = [(PayloadType::KE, public), (PayloadType::NONCE, vec![3; 16])];
    let header = Header { next: first_kind(&payloads), ..header };
    feed(endpoint, encode_message(header, &encode_chain(&payloads)))
        .iter()
        .any(|sent| Header::decode(sent).is_ok_and(|header| header.exchange == ExchangeType::MAIN))
}

/// A notify or delete in clear, with the right cookies and from the right address.
fn clear(world: &World, payload: (PayloadType, Vec<u8>)) -> Vec<u8> {
    let (_, any) = world.captured.last().expect("an exchange took place");
    let header = Header::decode(any).expect("our own message");
    let header =
        Header { exchange: ExchangeType::INFORMATIONAL, flags: Flags::NONE, next: payload.0, message_id: 77, ..header };
    encode_message(header, &encode_chain(&[payload]))
}

#[test]
fn unprotected_deletes_and_notifies_change_nothing() {
    let mut world = established(3);
    let peer = world.nodes[0].socket();
    let spi = world.nodes[1].kernel.outbound().expect("an outbound SA").sa.name.spi;
    let delete = ike::wire::delete::DeletePayload {
        doi: 1,
        protocol: ProtocolId::ESP,
        spis: vec![spi.0.to_be_bytes().to_vec()],
    };
    let message = clear(&world, (PayloadType::DELETE, delete.encode()));
    assert!(world.inject(1, peer, message).is_empty());
    for kind in [
        NotifyType::NO_PROPOSAL_CHOSEN,
        NotifyType::AUTHENTICATION_FAILED,
        NotifyType::INVALID_COOKIE,
        NotifyType::INITIAL_CONTACT,
    ] {
        let notify = NotifyPayload { doi: 1, protocol: ProtocolId::ISAKMP, kind, spi: Vec::new(), data: Vec::new() };
        let message = clear(&world, (PayloadType::NOTIFY, notify.encode()));
        assert!(world.inject(1, peer, message).is_empty());
    }
    world.run(2 * SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
    assert_eq!(world.nodes[1].endpoint.sizes().isakmp_sas, 1);
}

#[test]
fn a_protected_delete_with_any_bit_flipped_is_ignored() {
    // The legal delete works; so the flipped ones were refused for the bit alone.
    for bit in (0..512).step_by(7) {
        let mut world = established(3);
        let peer = world.nodes[0].addr;
        let (from, to) = (world.nodes[0].socket(), 1);
        world.captured.clear();
        let command = ike::event::command::Command::Down { peer: world.nodes[1].addr };
        world.impairment.loss = 100;
        world.happen(0, Input::Command(command));
        world.run(2 * SECOND);
        let (_, delete) = world.captured.first().expect("a delete was sent").clone();
        let at = Header::LEN * 8 + bit % ((delete.len() - Header::LEN) * 8);
        let mut damaged = delete.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        // Padding is not covered by HASH (RFC 2409 appendix B): a flip there may pass, the message is the same.
        world.inject(to, from, damaged);
        let untouched = world.nodes[1].kernel.sas.len();
        world.inject(to, from, delete);
        let after = world.nodes[1].kernel.sas.len();
        assert_eq!(after, 0, "the legal delete from {peer} was not obeyed\n{}", world.log());
        assert!(untouched == 2 || untouched == 0, "half a child was deleted");
        if at / 8 < Header::LEN + 32 {
            assert_eq!(untouched, 2, "bit {at} was accepted");
        }
    }
}

#[test]
fn our_own_messages_sent_back_to_us_are_dropped() {
    let mut world = world(5);
    world.impairment.loss = 100;
    world.acquire(0);
    world.run(Duration::from_millis(10));
    let message = world.captured[0].1.clone();
    let peer = world.nodes[1].socket();
    assert!(world.inject(0, peer, message).is_empty());
    assert_eq!(world.nodes[0].endpoint.sizes().handshakes, 1);
}

#[test]
fn quick_mode_and_informationals_before_authentication_are_not_accepted() {
    // A recording of a whole session is played into a responder that stands at each point of main mode.
    let session = established(6).captured;
    for reached in 1..6 {
        let mut world = world(6);
        let peer = world.nodes[0].socket();
        for (_, message) in session.iter().filter(|(from, _)| *from == 0).take(reached) {
            world.inject(1, peer, message.clone());
        }
        for (_, message) in &session {
            if Header::decode(message).is_ok_and(|header| header.exchange != ExchangeType::MAIN) {
                world.inject(1, peer, message.clone());
            }
        }
        assert!(world.nodes[1].kernel.sas.is_empty());
        assert_eq!(world.nodes[1].endpoint.sizes().isakmp_sas, 0);
    }
}

#[test]
fn a_recorded_session_played_again_gives_nothing_beyond_the_second_message() {
    let mut world = established(7);
    let session = world.captured.clone();
    world.run(3600 * SECOND);
    let peer = world.nodes[0].socket();
    let installs = world.nodes[1].kernel.installs();
    for (_, message) in session.iter().filter(|(from, _)| *from == 0) {
        world.inject(1, peer, message.clone());
    }
    assert_eq!(world.nodes[1].kernel.installs(), installs);
    assert_eq!(world.nodes[1].endpoint.sizes().isakmp_sas, 1);
    world.run(world.now + 60 * SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
}

#[test]
fn no_datagram_makes_it_panic_or_answer_with_more_than_it_got() {
    let session = established(8).captured;
    let mut random = Random::new(1);
    for round in 0..3000 {
        let mut world = world(8);
        let peer = world.nodes[0].socket();
        // Some way into main mode, then anything.
        for (_, message) in session.iter().filter(|(from, _)| *from == 0).take(random.below(4) as usize) {
            world.inject(1, peer, message.clone());
        }
        let (_, legal) = &session[random.below(session.len() as u64) as usize];
        let mut message = legal.clone();
        for _ in 0..=random.below(6) {
            match random.below(4) {
                0 => message.truncate(random.below(message.len() as u64 + 1) as usize),
                1 => message.extend((0..random.below(40)).map(|_| random.bits() as u8)),
                _ if !message.is_empty() => {
                    let at = random.below(message.len() as u64) as usize;
                    message[at] = random.bits() as u8;
                }
                _ => {}
            }
        }
        let from = if random.percent(50) { peer } else { stranger(2) };
        let sent = message.len();
        let unchanged = message == *legal;
        let answers: usize = world.inject(1, from, message).iter().map(Vec::len).sum();
        // A third message earns a fourth of its size plus our certificate request; nothing else answers with more.
        assert!(answers <= sent + 64 || unchanged, "round {round}: {sent} octets in, {answers} out");
    }
}

#[test]
fn the_wrong_proposal_gets_one_small_notify() {
    let message = first_message(1);
    let header = Header::decode(&message).expect("our own message");
    let chain = decode_chain(header.next, header.body(&message), Tail::Exact).expect("our own message");
    let mut sa = chain[0].body.to_vec();
    // The group attribute (type 4) of the only transform: 14 becomes 22, which nobody accepts.
    let at = sa.windows(4).position(|window| window == [0x80, 4, 0, 14]).expect("a group attribute");
    sa[at + 3] = 22;
    let message = encode_message(header, &encode_chain(&[(PayloadType::SA, sa)]));
    let mut world = world(2);
    let answers = world.inject(1, stranger(1), message.clone());
    assert_eq!(answers.len(), 1, "{}", world.log());
    assert!(answers[0].len() < message.len());
    assert_eq!(world.nodes[1].endpoint.sizes().handshakes, 0);
    assert!(world.log().contains("no suitable proposal found"), "{}", world.log());
    // One line: what was offered, what is allowed, the nearest difference.
    for part in [
        "peer offers (aes 256, sha256, group #22, rsasig)",
        "remote anonymous allows (aes 256, sha256, modp2048, rsasig)",
        "nearest (aes 256, sha256, group #22, rsasig) to (aes 256, sha256, modp2048, rsasig), but for group",
    ] {
        assert!(world.log().contains(part), "{part} is not in\n{}", world.log());
    }
}
