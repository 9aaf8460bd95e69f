//! Aggressive mode, and what it must not give away: rows and D-5 of the catalogue of attacks, each beside
//! the legal exchange.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::event::Input;
use ike::wire::header::{Cookie, Header};
use ike::wire::message::{Tail, decode_chain, encode_chain, encode_message};
use ike::wire::number::{ExchangeType, PayloadType};
use policy::model::algorithm::AuthMethod;
use policy::model::remote::ExchangeMode;
use tests::sim::link::Fate;
use tests::sim::node::{Settings, config};
use tests::sim::world::World;

const SECOND: Duration = Duration::from_secs(1);
const DIFFER: &str = "the pre-shared keys of the two sides differ, most likely";

/// Two nodes whose phase 1 is one of these exchanges.
fn world(auth: AuthMethod, modes: [&[ExchangeMode]; 2]) -> World {
    let settings = Settings { auth, ..Settings::default() };
    let mut world = World::new(&settings, 5).with_reports();
    for (node, modes) in modes.into_iter().enumerate() {
        configure(&mut world, node, &settings, modes, None);
    }
    world
}

fn configure(world: &mut World, node: usize, settings: &Settings, modes: &[ExchangeMode], psk: Option<&[u8]>) {
    let name = u8::try_from(node + 1).expect("two nodes");
    let mut config = config(name, settings);
    for remote in &mut config.remotes {
        let remote = &mut Arc::make_mut(remote).remote;
        remote.exchange_modes = modes.to_vec();
        // A stranger that does not ask for our certificate gets none in aggressive mode.
        remote.send_cr = true;
    }
    if let Some(psk) = psk {
        config.psks = policy::psk::parse("psk.txt", psk).table;
    }
    world.happen(node, Input::Configure(Arc::new(config)));
    world.run(world.now);
}

const AGGRESSIVE: &[ExchangeMode] = &[ExchangeMode::Aggressive];
const MAIN: &[ExchangeMode] = &[ExchangeMode::Main];
const BOTH: &[ExchangeMode] = &[ExchangeMode::Aggressive, ExchangeMode::Main];

fn stranger(last: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, last], 500))
}

/// The first message of node 1.
fn first_message(auth: AuthMethod) -> Vec<u8> {
    let mut world = world(auth, [AGGRESSIVE, AGGRESSIVE]);
    world.fates = Some(Box::new(|_| Fate::Lose));
    world.acquire(0);
    world.run(SECOND / 10);
    world.captured[0].1.clone()
}

type Payloads = Vec<(PayloadType, Vec<u8>)>;

fn parts(message: &[u8]) -> (Header, Payloads) {
    let header = Header::decode(message).expect("a message of ours");
    let chain = decode_chain(header.next, header.body(message), Tail::Exact).expect("a message in clear");
    (header, chain.iter().map(|payload| (payload.kind, payload.body.to_vec())).collect())
}

fn whole(mut header: Header, payloads: &Payloads) -> Vec<u8> {
    header.next = payloads[0].0;
    encode_message(header, &encode_chain(payloads))
}

#[test]
fn three_messages_make_an_isakmp_sa_with_every_method() {
    for auth in [AuthMethod::PreSharedKey, AuthMethod::RsaSignature] {
        let mut world = world(auth, [AGGRESSIVE, AGGRESSIVE]);
        world.acquire(0);
        world.run(2 * SECOND);
        assert_eq!(world.check_agreement(), Ok(1), "{auth:?}\n{}", world.log());
        // Three of aggressive mode, INITIAL-CONTACT from each side, three of quick mode; the second and third once more where what
        // follows overtook the third.
        assert!((8..=10).contains(&world.datagrams), "{auth:?}\n{}", world.log());
    }
}

#[test]
fn a_peer_of_main_mode_is_met_in_main_mode() {
    let mut world = world(AuthMethod::PreSharedKey, [BOTH, MAIN]);
    world.acquire(0);
    world.run(3 * SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
    assert!(world.log().contains("exchange_mode of this remote has no aggressive"), "{}", world.log());
}

#[test]
fn a_peer_that_answers_nothing_to_aggressive_mode_is_tried_in_main_mode() {
    let mut world = world(AuthMethod::PreSharedKey, [BOTH, BOTH]);
    world.fates = Some(Box::new(|label| match ExchangeType(label.exchange) {
        ExchangeType::AGGRESSIVE => Fate::Lose,
        _ => Fate::Pass,
    }));
    world.acquire(0);
    world.run(20 * SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
}

/// A lie in clear may not make us give more away than we wanted to: from main to aggressive mode nobody hurries.
#[test]
fn a_refusal_in_clear_does_not_lead_from_main_to_aggressive_mode() {
    let order: &[ExchangeMode] = &[ExchangeMode::Main, ExchangeMode::Aggressive];
    let mut world = world(AuthMethod::PreSharedKey, [order, AGGRESSIVE]);
    world.acquire(0);
    world.run(5 * SECOND);
    assert!(world.log().contains("UNSUPPORTED-EXCHANGE-TYPE"), "{}", world.log());
    assert!(!world.log().contains("begin Aggressive mode."), "{}", world.log());
    world.run(25 * SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
}

#[test]
fn keys_that_differ_are_said_and_prove_nothing() {
    let settings = Settings { auth: AuthMethod::PreSharedKey, ..Settings::default() };
    let mut world = world(AuthMethod::PreSharedKey, [AGGRESSIVE, AGGRESSIVE]);
    configure(&mut world, 1, &settings, AGGRESSIVE, Some(b"* quite another key of some length\n"));
    world.acquire(0);
    world.run(40 * SECOND);
    assert_eq!(world.check_agreement(), Ok(0), "{}", world.log());
    let told = world.log().matches(DIFFER).count();
    assert!((1..=2).contains(&told), "told {told} times\n{}", world.log());
}

/// nothing is kept for a proposal that is not taken, and the cookie of the refusal opens nothing.
#[test]
fn a_refused_proposal_leaves_nothing_behind() {
    let (header, mut payloads) = parts(&first_message(AuthMethod::PreSharedKey));
    let at = payloads[0].1.windows(4).position(|window| window == [0x80, 4, 0, 14]).expect("a group attribute");
    payloads[0].1[at + 3] = 22;
    let mut world = world(AuthMethod::PreSharedKey, [AGGRESSIVE, AGGRESSIVE]);
    let answers = world.inject(1, stranger(1), whole(header, &payloads));
    assert_eq!(answers.len(), 1, "{}", world.log());
    assert_eq!(world.nodes[1].endpoint.sizes().handshakes, 0);
    let cookie = Header::decode(&answers[0]).expect("a notify").responder;
    let third = Header { responder: cookie, ..header };
    let answers = world.inject(1, stranger(1), whole(third, &vec![(PayloadType::HASH, vec![0; 32])]));
    assert_eq!(answers, Vec::<Vec<u8>>::new());
    assert_eq!(world.nodes[1].endpoint.sizes().handshakes, 0);
}

/// an answer without its proof ends nothing and gives nothing; the whole one does.
#[test]
fn an_answer_without_its_proof_gives_nothing() {
    for (auth, proof) in [(AuthMethod::PreSharedKey, PayloadType::HASH), (AuthMethod::RsaSignature, PayloadType::SIG)] {
        let mut world = world(auth, [AGGRESSIVE, AGGRESSIVE]);
        world.fates = Some(Box::new(|label| if label.from == 1 { Fate::Lose } else { Fate::Pass }));
        world.acquire(0);
        world.run(SECOND / 10);
        let genuine = world.captured.iter().find(|(from, _)| *from == 1).expect("an answer").1.clone();
        let (header, payloads) = parts(&genuine);
        let without: Payloads = payloads.iter().filter(|(kind, _)| *kind != proof).cloned().collect();
        let spoiled: Payloads = payloads
            .iter()
            .map(|(kind, body)| (*kind, if *kind == proof { vec![7; body.len()] } else { body.clone() }))
            .collect();
        let peer = world.nodes[1].socket();
        let swapped: Payloads = without.iter().cloned().chain([(PayloadType::HASH, vec![0; 32])]).collect();
        let lies = if auth == AuthMethod::PreSharedKey { vec![without, spoiled] } else { vec![without, swapped] };
        for lie in lies {
            assert_eq!(world.inject(0, peer, whole(header, &lie)), Vec::<Vec<u8>>::new(), "{auth:?}");
        }
        assert_eq!(world.nodes[0].endpoint.sizes().isakmp_sas, 0);
        world.inject(0, peer, genuine);
        world.run(SECOND / 5);
        assert_eq!(world.nodes[0].endpoint.sizes().isakmp_sas, 1, "{auth:?}\n{}", world.log());
    }
}

/// a third message without proof, in clear or not, and a quick mode before it.
#[test]
fn nothing_is_had_before_the_third_message_proves_it() {
    let first = first_message(AuthMethod::PreSharedKey);
    let mut world = world(AuthMethod::PreSharedKey, [AGGRESSIVE, AGGRESSIVE]);
    let from = world.nodes[0].socket();
    let answers = world.inject(1, from, first);
    let header = Header::decode(&answers[0]).expect("an answer");
    for payloads in [vec![(PayloadType::HASH, vec![0; 32])], vec![(PayloadType::NONCE, vec![1; 16])]] {
        assert_eq!(world.inject(1, from, whole(header, &payloads)), Vec::<Vec<u8>>::new());
    }
    let quick = Header { exchange: ExchangeType::QUICK, message_id: 77, ..header };
    let reminded = world.inject(1, from, whole(quick, &vec![(PayloadType::HASH, vec![0; 32])]));
    // It may be a peer whose third message was lost: it gets the second again, not more often than any duplicate.
    assert_eq!(reminded, answers);
    let more: usize =
        (0..20).map(|_| world.inject(1, from, whole(quick, &vec![(PayloadType::HASH, vec![0; 32])])).len()).sum();
    assert!(more <= 1, "{more} answers");
    assert_eq!(world.nodes[1].endpoint.sizes().isakmp_sas, 0);
}

/// whether we know a name does not show.
#[test]
fn an_unknown_name_is_answered_as_a_known_one() {
    let (header, payloads) = parts(&first_message(AuthMethod::PreSharedKey));
    let mut shapes = Vec::new();
    for name in ["node1.example", "nodeX.example"] {
        let mut payloads = payloads.clone();
        let id = payloads.iter_mut().find(|(kind, _)| *kind == PayloadType::ID).expect("an identity");
        id.1.truncate(4);
        id.1.extend_from_slice(name.as_bytes());
        let mut world = world(AuthMethod::PreSharedKey, [AGGRESSIVE, AGGRESSIVE]);
        let answers = world.inject(1, stranger(7), whole(header, &payloads));
        assert_eq!(answers.len(), 1, "{}", world.log());
        let unknown = world.log().contains("couldn't find the pskey");
        assert_eq!(unknown, name == "nodeX.example", "{}", world.log());
        let lengths: Vec<(PayloadType, usize)> =
            parts(&answers[0]).1.into_iter().map(|(kind, body)| (kind, body.len())).collect();
        shapes.push(lengths);
    }
    assert_eq!(shapes[0], shapes[1]);
}

/// D-5: each first message costs a Diffie-Hellman exchange, so one source has few of them.
#[test]
fn one_source_begins_a_bounded_number_of_exchanges() {
    let (header, payloads) = parts(&first_message(AuthMethod::PreSharedKey));
    let mut world = world(AuthMethod::PreSharedKey, [AGGRESSIVE, AGGRESSIVE]);
    let mut answers = 0;
    for number in 0..200_u64 {
        let header = Header { initiator: Cookie((number + 1).to_be_bytes()), ..header };
        answers += world.inject(1, stranger(9), whole(header, &payloads)).len();
    }
    assert_eq!(answers, 20);
    // Another source is served all the same, and the first one again a second later.
    let header = Header { initiator: Cookie([9; 8]), ..header };
    assert_eq!(world.inject(1, stranger(10), whole(header, &payloads)).len(), 1);
    world.run(world.now + SECOND);
    let header = Header { initiator: Cookie([8; 8]), ..header };
    assert_eq!(world.inject(1, stranger(9), whole(header, &payloads)).len(), 1);
}
