//! Exchanges that cross: both sides at once, several at once on one ISAKMP SA, and peers that die in the middle of one.

use std::time::Duration;

use ike::event::Input;
use ike::event::command::Command;
use ike::event::sa::SaDirection;
use ike::wire::header::Header;
use ike::wire::number::{ExchangeType, PayloadType};
use tests::sim::node::Settings;
use tests::sim::puppet::{Begins, Puppet};
use tests::sim::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// Every order of `left[i]` things of kind `i`, those of a kind in their own order.
fn orders(left: &[usize]) -> Vec<Vec<usize>> {
    if left.iter().all(|count| *count == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for kind in (0..left.len()).filter(|kind| left[*kind] > 0) {
        let mut rest = left.to_vec();
        rest[kind] -= 1;
        for mut order in orders(&rest) {
            order.insert(0, kind);
            all.push(order);
        }
    }
    all
}

#[test]
fn three_quick_modes_of_the_peer_in_every_interleaving() {
    let all = orders(&[2, 2, 2]);
    assert_eq!(all.len(), 90);
    for order in all {
        let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 1);
        puppet.main_mode();
        let mut nonces: [Option<Vec<u8>>; 3] = [None, None, None];
        for exchange in &order {
            let message_id = 50 + *exchange as u32;
            match nonces[*exchange].take() {
                None => {
                    let proposal = puppet.esp_proposal([0xc0, 0, 1, *exchange as u8]);
                    let rest = puppet.quick_payloads(vec![proposal]);
                    let first = puppet.protect(ExchangeType::QUICK, message_id, rest, true);
                    let sent = puppet.send(first);
                    let nr = puppet.quick_answer(&sent, message_id);
                    assert!(nr.is_some(), "{order:?}\n{}", puppet.world.log());
                    nonces[*exchange] = nr;
                }
                Some(nr) => {
                    let last = puppet.quick_last(message_id, &nr);
                    puppet.send(last);
                }
            }
        }
        assert_eq!(puppet.victim_kernel(), 6, "{order:?}\n{}", puppet.world.log());
        let sizes = puppet.world.nodes[1].endpoint.sizes();
        assert_eq!((sizes.children, sizes.quick_modes, sizes.jobs), (3, 0, 0), "{order:?}");
    }
}

#[test]
fn quick_modes_of_both_sides_in_every_interleaving() {
    // Ours (1 answer of the peer) among two of the peer's (2 messages each).
    let all = orders(&[1, 2, 2]);
    assert_eq!(all.len(), 30);
    for order in all {
        let mut puppet = Puppet::new(&Settings::default(), Begins::Victim, 2);
        puppet.main_up_to(6);
        let payloads = puppet.main_payloads(6);
        let datagram = puppet.main_message(6, &payloads, true);
        let sent = puppet.send(datagram);
        let ours = puppet.first_quick(&sent).expect("the victim's quick mode");
        let mut nonces: [Option<Vec<u8>>; 3] = [None, None, None];
        for exchange in &order {
            let message_id = 50 + *exchange as u32;
            if *exchange == 0 {
                let rest = puppet.answer_payloads(&ours, [0xc0, 0, 2, 0]);
                let datagram = puppet.answer_quick(&ours, rest);
                let sent = puppet.send(datagram);
                let last = |octets: &Vec<u8>| {
                    Header::decode(octets).is_ok_and(|header| header.message_id == ours.0.message_id)
                };
                assert!(sent.iter().any(last), "{order:?}: no third message\n{}", puppet.world.log());
            } else if let Some(nr) = nonces[*exchange].take() {
                let last = puppet.quick_last(message_id, &nr);
                puppet.send(last);
            } else {
                let proposal = puppet.esp_proposal([0xc0, 0, 2, *exchange as u8]);
                let rest = puppet.quick_payloads(vec![proposal]);
                let first = puppet.protect(ExchangeType::QUICK, message_id, rest, true);
                let sent = puppet.send(first);
                let mine = sent
                    .iter()
                    .filter(|octets| Header::decode(octets).is_ok_and(|header| header.message_id == message_id));
                let mine: Vec<Vec<u8>> = mine.cloned().collect();
                nonces[*exchange] = puppet.quick_answer(&mine, message_id);
                assert!(nonces[*exchange].is_some(), "{order:?}\n{}", puppet.world.log());
            }
        }
        puppet.world.run(puppet.world.now + 2 * SECOND);
        let sizes = puppet.world.nodes[0].endpoint.sizes();
        assert_eq!((sizes.quick_modes, sizes.jobs, sizes.pending), (0, 0, 0), "{order:?}\n{}", puppet.world.log());
        assert_eq!(puppet.victim_kernel(), 6, "{order:?}\n{}", puppet.world.log());
    }
}

#[test]
fn a_straggler_of_one_quick_mode_does_not_disturb_another() {
    // Each message of the first exchange comes again between those of the second: no chain of blocks mixes them up.
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 3);
    puppet.main_mode();
    let mut old = Vec::new();
    for message_id in [60, 61, 62] {
        let proposal = puppet.esp_proposal([0xc0, 0, 3, message_id as u8]);
        let rest = puppet.quick_payloads(vec![proposal]);
        let first = puppet.protect(ExchangeType::QUICK, message_id, rest, true);
        let sent = puppet.send(first.clone());
        let nr = puppet.quick_answer(&sent, message_id).expect("an answer");
        for datagram in &old {
            puppet.send(Vec::clone(datagram));
        }
        let last = puppet.quick_last(message_id, &nr);
        puppet.send(last.clone());
        old.extend([first, last]);
    }
    assert_eq!(puppet.victim_kernel(), 6, "{}", puppet.world.log());
    assert_eq!(puppet.world.nodes[1].kernel.installs(), 6);
}

/// Does all that a peer which is done with an exchange may expect hold, with packets flowing?
fn settles(world: &mut World, within: Duration, what: &str) {
    let end = world.now + within;
    world.run_with_traffic(end, SECOND);
    let (sent, arrived) = (world.sent, world.arrived);
    world.run_with_traffic(end + 5 * SECOND, SECOND);
    assert_eq!(world.sent - sent, world.arrived - arrived, "{what}\n{}", world.log());
    let mut quiet = world.now;
    while world.check_agreement() != Ok(1) && quiet < end + 60 * SECOND {
        quiet += SECOND;
        world.run(quiet);
    }
    assert_eq!(world.check_agreement(), Ok(1), "{what}\n{}", world.log());
}

#[test]
fn a_peer_restarts_after_each_message() {
    for (mode, settings) in Settings::modes() {
        let settings = Settings { phase2_life: 100 * SECOND, ..settings };
        for node in 0..2 {
            for message in 1..=11 {
                let what = format!("{mode}: node {} restarts after datagram {message}", node + 1);
                let mut world = World::new(&settings, 4).with_reports();
                world.acquire(0);
                while world.datagrams < message && world.now < SECOND {
                    world.run(world.now + Duration::from_micros(100));
                }
                world.restart(node, &settings, 5, false);
                settles(&mut world, 260 * SECOND, &what);
            }
        }
    }
}

#[test]
fn both_sides_renew_at_once() {
    for (mode, settings) in Settings::modes() {
        for seed in 0..10 {
            let what = format!("{mode}, seed {seed}");
            let mut world = World::new(&settings, seed).with_reports();
            world.acquire(0);
            world.run(5 * SECOND);
            // Both kernels announce the end of the child in the same moment, thrice.
            for _ in 0..3 {
                for node in 0..2 {
                    let sas = &world.nodes[node].kernel.sas;
                    let outbound = |direction| direction == SaDirection::Outbound;
                    let names: Vec<_> =
                        sas.values().filter(|standing| outbound(standing.sa.direction)).map(|s| s.sa.name).collect();
                    for sa in names {
                        world.happen(node, Input::SaExpired { sa, hard: false });
                    }
                }
                let (sent, arrived) = (world.sent, world.arrived);
                world.run_with_traffic(world.now + 20 * SECOND, Duration::from_millis(250));
                assert_eq!(world.sent - sent, world.arrived - arrived, "{what}\n{}", world.log());
            }
            settles(&mut world, 20 * SECOND, &what);
        }
    }
}

#[test]
fn both_sides_take_down_at_once_and_in_the_middle_of_each_other() {
    for (mode, settings) in Settings::modes() {
        for message in 1..=11 {
            let what = format!("{mode}: down after datagram {message}");
            let mut world = World::new(&settings, 6).with_reports();
            world.acquire(0);
            while world.datagrams < message && world.now < SECOND {
                world.run(world.now + Duration::from_micros(100));
            }
            for node in 0..2 {
                let peer = world.peer_of(node);
                world.happen(node, Input::Command(Command::Down { peer }));
            }
            world.run(world.now + 120 * SECOND);
            // An exchange that the command overtook may have come up all the same: then it stands on both sides.
            assert!(world.check_agreement().is_ok(), "{what}: {:?}\n{}", world.check_agreement(), world.log());
            settles(&mut world, 60 * SECOND, &what);
        }
    }
}

#[test]
fn a_hash_payload_alone_is_no_exchange() {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 7);
    puppet.main_mode();
    let datagram = puppet.seal(ExchangeType::QUICK, 70, &vec![(PayloadType::HASH, vec![0; 32])], false);
    puppet.send(datagram);
    assert_eq!(puppet.world.nodes[1].endpoint.sizes().quick_modes, 0);
    puppet.legal_quick_mode(71);
}
