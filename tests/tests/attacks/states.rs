//! Messages at the wrong time.

use ike::wire::header::{Cookie, Header};
use ike::wire::number::{ExchangeType, PayloadType};
use policy::model::algorithm::AuthMethod;
use policy::model::identity::Identity;
use tests::sim::node::Settings;
use tests::sim::puppet::{Begins, Payloads, Puppet};

/// Every exchange type there is, and some that are not.
const EXCHANGES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 31, 32, 33, 240];

#[test]
fn a23_messages_of_unknown_cookies_are_counted_and_nothing_else() {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 1);
    puppet.main_mode();
    let whole = puppet.main_payloads(5);
    for exchange in EXCHANGES {
        for (initiator, responder) in [(1, 2), (1, 0), (0, 1)] {
            for encrypted in [false, true] {
                let exchange = ExchangeType(exchange);
                let mut message =
                    if encrypted { puppet.seal(exchange, 5, &whole, false) } else { puppet.clear(exchange, 5, &whole) };
                message[..8].copy_from_slice(&[initiator; 8]);
                message[8..16].copy_from_slice(&[responder; 8]);
                let answers = puppet.send(message);
                let size: usize = answers.iter().map(Vec::len).sum();
                assert!(
                    size <= 40 && answers.len() <= 1,
                    "{exchange:?}: {} answers\n{}",
                    answers.len(),
                    puppet.world.log()
                );
            }
        }
    }
    let sizes = puppet.world.nodes[1].endpoint.sizes();
    assert_eq!((sizes.isakmp_sas, sizes.handshakes, sizes.half_open), (1, 0, 0), "{sizes:?}");
    puppet.legal_quick_mode(1);
}

#[test]
fn a36_nothing_is_accepted_before_authentication_is_complete() {
    for auth in [AuthMethod::RsaSignature, AuthMethod::PreSharedKey] {
        let settings = Settings { auth, ..Settings::default() };
        for begins in [Begins::Puppet, Begins::Victim] {
            for number in Puppet::new(&settings, begins, 2).main_numbers() {
                for exchange in [ExchangeType::QUICK, ExchangeType::INFORMATIONAL, ExchangeType(6), ExchangeType(33)] {
                    let mut puppet = Puppet::new(&settings, begins, 2);
                    puppet.main_up_to(number);
                    let proposal = puppet.esp_proposal([0xc0, 0, 0, 3]);
                    let rest = puppet.quick_payloads(vec![proposal]);
                    let datagram = if puppet.skeyids.is_some() {
                        puppet.protect(exchange, 5, rest, false)
                    } else {
                        puppet.clear(exchange, 5, &rest)
                    };
                    puppet.send(datagram);
                    let what = format!("{auth:?} {begins:?} before message {number}: {exchange:?}");
                    assert_eq!((puppet.victim_sas(), puppet.victim_kernel()), (0, 0), "{what}\n{}", puppet.world.log());
                    assert_eq!(puppet.world.nodes[puppet.victim].endpoint.sizes().quick_modes, 0, "{what}");
                    // The legal messages behind it.
                    for later in puppet.main_numbers().into_iter().filter(|later| *later >= number) {
                        puppet.main_step(later);
                    }
                    assert_eq!(puppet.victim_sas(), 1, "{what}: main mode itself\n{}", puppet.world.log());
                }
            }
        }
    }
}

#[test]
fn a36_the_last_message_a_second_time_with_another_identity() {
    for auth in [AuthMethod::RsaSignature, AuthMethod::PreSharedKey] {
        let mut puppet = Puppet::new(&Settings { auth, ..Settings::default() }, Begins::Puppet, 3);
        puppet.main_mode();
        let me = puppet.my_identity();
        let Identity::Fqdn(_) = &me else { panic!("{me:?}") };
        let other = ike::wire::identification::IdPayload::from_identity(&Identity::Fqdn("node3.example".into()), 0, 0);
        let proof = puppet.proof(&other.encode());
        let payloads: Payloads = vec![(PayloadType::ID, other.encode()), proof];
        let datagram = puppet.main_message(5, &payloads, false);
        assert!(puppet.send(datagram).is_empty(), "{}", puppet.world.log());
        assert_eq!(puppet.victim_sas(), 1);
        let known = puppet.world.nodes[1].endpoint.peers(ike::event::Now { monotonic: puppet.world.now, wall: 0 });
        assert!(format!("{known:?}").contains("node1.example") && !format!("{known:?}").contains("node3"), "{known:?}");
        puppet.legal_quick_mode(1);
    }
}

#[test]
fn a36_a_proof_that_is_not_there_or_not_right_gives_no_sa() {
    for auth in [AuthMethod::RsaSignature, AuthMethod::PreSharedKey] {
        let settings = Settings { auth, ..Settings::default() };
        let whole = |puppet: &mut Puppet| puppet.main_payloads(5);
        type Damage = fn(&mut Vec<u8>);
        let damages: [(&str, Damage); 6] = [
            ("a bit of it flipped", |proof| proof[3] ^= 4),
            ("all zero", |proof| proof.fill(0)),
            ("cut", |proof| proof.truncate(proof.len() / 2)),
            ("empty", Vec::clear),
            ("lengthened", |proof| proof.push(0)),
            ("another's", |proof| proof.reverse()),
        ];
        for (name, damage) in damages {
            let mut puppet = Puppet::new(&settings, Begins::Puppet, 4);
            puppet.main_up_to(5);
            let mut payloads = whole(&mut puppet);
            let proof = payloads.last_mut().expect("a proof");
            damage(&mut proof.1);
            let datagram = puppet.main_message(5, &payloads, false);
            puppet.send(datagram);
            assert_eq!(puppet.victim_sas(), 0, "{auth:?}: {name}\n{}", puppet.world.log());
        }
        let mut puppet = Puppet::new(&settings, Begins::Puppet, 4);
        puppet.main_mode();
        puppet.legal_quick_mode(1);
    }
}

#[test]
fn a52_a_message_id_that_was_used_and_cookies_of_another_peer() {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 6);
    puppet.main_mode();
    puppet.legal_quick_mode(1);
    let proposal = puppet.esp_proposal([0xc0, 0, 0, 0x77]);
    let rest = puppet.quick_payloads(vec![proposal]);
    // The same message ID with a fresh first message: the chain of the old exchange and a new one.
    for fresh in [false, true] {
        if fresh {
            puppet.forget_chain(1);
        }
        let datagram = puppet.protect(ExchangeType::QUICK, 1, rest.clone(), false);
        puppet.send(datagram);
        assert_eq!(puppet.victim_kernel(), 2, "{}", puppet.world.log());
    }
    // Everything right, but from another address than the SA's.
    puppet.forget_chain(9);
    let datagram = puppet.protect(ExchangeType::QUICK, 9, rest.clone(), false);
    let elsewhere = std::net::SocketAddr::new([203, 0, 113, 9].into(), 500);
    let victim = puppet.victim;
    assert!(puppet.world.inject(victim, elsewhere, datagram.clone()).is_empty());
    puppet.sent_meanwhile();
    assert_eq!(puppet.victim_kernel(), 2, "{}", puppet.world.log());
    assert_eq!(Header::decode(&datagram).map(|header| header.initiator != Cookie::ZERO), Ok(true));
    puppet.legal_quick_mode(10);
}
