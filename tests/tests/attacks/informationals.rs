//! Informationals of an authenticated peer, and of somebody who changes them.

use ike::event::Input;
use ike::event::command::Command;
use ike::wire::delete::DeletePayload;
use ike::wire::header::Header;
use ike::wire::notify::NotifyPayload;
use ike::wire::number::{ExchangeType, NotifyType, PayloadType, ProtocolId};
use tests::sim::node::{Settings, config};
use tests::sim::puppet::{Begins, Payloads, Puppet};

/// The puppet's inbound SPI of its first child.
const SPI: [u8; 4] = [0xc0, 0, 0, 1];

fn established() -> Puppet {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 5);
    puppet.main_mode();
    puppet.legal_quick_mode(1);
    puppet
}

fn delete_isakmp(puppet: &Puppet) -> (PayloadType, Vec<u8>) {
    let delete = DeletePayload { doi: 1, protocol: ProtocolId::ISAKMP, spis: vec![puppet.cookie_pair()] };
    (PayloadType::DELETE, delete.encode())
}

fn delete_child() -> (PayloadType, Vec<u8>) {
    let delete = DeletePayload { doi: 1, protocol: ProtocolId::ESP, spis: vec![SPI.to_vec()] };
    (PayloadType::DELETE, delete.encode())
}

fn dpd(puppet: &Puppet, kind: NotifyType) -> (PayloadType, Vec<u8>) {
    let spi = puppet.cookie_pair();
    let notify = NotifyPayload { doi: 1, protocol: ProtocolId::ISAKMP, kind, spi, data: vec![0, 0, 0, 7] };
    (PayloadType::NOTIFY, notify.encode())
}

#[test]
fn a20_payloads_behind_the_delete_of_the_sa_they_came_by() {
    let mut puppet = established();
    let isakmp = delete_isakmp(&puppet);
    let probe = dpd(&puppet, NotifyType(36136));
    let rest: Payloads = vec![isakmp.clone(), isakmp, probe, delete_child()];
    puppet.inform(2, rest);
    assert_eq!(puppet.victim_sas(), 0, "{}", puppet.world.log());
    // Alive: another main mode and quick mode work.
    let mut again = Puppet::new(&Settings::default(), Begins::Puppet, 6);
    std::mem::swap(&mut again.world, &mut puppet.world);
    again.forget_seen();
    again.main_mode();
    again.legal_quick_mode(3);
}

#[test]
fn a20_deletes_that_name_nothing_or_too_much() {
    let mut puppet = established();
    let odd: [(ProtocolId, Vec<Vec<u8>>); 6] = [
        (ProtocolId::ESP, vec![vec![1, 2, 3]]),
        (ProtocolId::ESP, vec![vec![0; 16]]),
        (ProtocolId::ISAKMP, vec![vec![0; 4]]),
        (ProtocolId::ISAKMP, vec![vec![7; 16]]),
        (ProtocolId(77), vec![SPI.to_vec()]),
        (ProtocolId::ESP, vec![vec![0xff; 4]; 500]),
    ];
    for (number, (protocol, spis)) in (10..).zip(odd) {
        let delete = DeletePayload { doi: 1, protocol, spis };
        puppet.inform(number, vec![(PayloadType::DELETE, delete.encode())]);
        assert_eq!((puppet.victim_sas(), puppet.victim_kernel()), (1, 2), "{protocol:?}\n{}", puppet.world.log());
    }
    // Counts and sizes that do not fit what follows.
    for (number, body) in (20..).zip([
        vec![0, 0, 0, 1, 3, 4, 0xff, 0xff, 0xc0, 0, 0, 1],
        vec![0, 0, 0, 1, 3, 0, 0, 1, 0xc0, 0, 0, 1],
        vec![0, 0, 0, 1, 3, 255, 0, 1, 0xc0, 0, 0, 1],
        vec![0, 0, 0, 1, 3, 4, 0, 1],
        vec![0, 0, 0, 1],
        Vec::new(),
    ]) {
        puppet.inform(number, vec![(PayloadType::DELETE, body)]);
        assert_eq!((puppet.victim_sas(), puppet.victim_kernel()), (1, 2), "{}", puppet.world.log());
    }
    puppet.inform(30, vec![delete_child()]);
    assert_eq!((puppet.victim_sas(), puppet.victim_kernel()), (1, 0), "{}", puppet.world.log());
}

#[test]
fn a24_ciphertext_that_was_changed_cut_or_lengthened() {
    for payload in [delete_child(), dpd(&established(), NotifyType(36136))] {
        let is_delete = payload.0 == PayloadType::DELETE;
        let mut puppet = established();
        let legal = puppet.protect(ExchangeType::INFORMATIONAL, 9, vec![payload], false);
        let blocks = (legal.len() - Header::LEN) / 16;
        let mut changed: Vec<Vec<u8>> = Vec::new();
        // The last block may hold nothing but padding behind the last payload, which HASH does not cover.
        for block in 0..blocks - 1 {
            for bit in [0, 37, 127] {
                let mut octets = legal.clone();
                octets[Header::LEN + 16 * block + bit / 8] ^= 1 << (bit % 8);
                changed.push(octets);
            }
        }
        let with_length = |mut octets: Vec<u8>| {
            let length = octets.len() as u32;
            octets[24..28].copy_from_slice(&length.to_be_bytes());
            octets
        };
        changed.extend((1..=blocks).map(|cut| with_length(legal[..legal.len() - 16 * cut].to_vec())));
        changed.push(with_length(legal[..legal.len() - 5].to_vec()));
        let mut swapped = legal.clone();
        swapped[Header::LEN..Header::LEN + 32].rotate_left(16);
        changed.push(swapped);
        for octets in changed {
            puppet.send(octets);
            assert_eq!((puppet.victim_sas(), puppet.victim_kernel()), (1, 2), "{}", puppet.world.log());
        }
        puppet.send(legal);
        assert_eq!(puppet.victim_kernel(), if is_delete { 0 } else { 2 }, "the legal one\n{}", puppet.world.log());
    }
}

#[test]
fn a28_an_acknowledgement_that_nobody_asked_for() {
    let mut puppet = established();
    for (number, sequence) in (40..).zip([0_u32, 7, u32::MAX]) {
        let (kind, mut body) = dpd(&puppet, NotifyType(36137));
        let at = body.len() - 4;
        body[at..].copy_from_slice(&sequence.to_be_bytes());
        assert!(puppet.inform(number, vec![(kind, body)]).is_empty(), "{}", puppet.world.log());
    }
    assert_eq!((puppet.victim_sas(), puppet.victim_kernel()), (1, 2));
    puppet.legal_quick_mode(50);
}

#[test]
fn a28_a_new_configuration_and_a_delete_while_work_is_under_way() {
    // The questions to key, judge and kernel are open when the configuration is swapped and the peer is taken down.
    let settings = Settings::default();
    for number in [3, 5] {
        for shutdown in [false, true] {
            let mut puppet = Puppet::new(&settings, Begins::Puppet, 7);
            puppet.main_up_to(number);
            let payloads = puppet.main_payloads(number);
            let datagram = puppet.main_message(number, &payloads, true);
            puppet.inject_only(datagram);
            puppet.happen(Input::Configure(std::sync::Arc::new(config(2, &settings))));
            let peer = puppet.world.nodes[0].addr;
            puppet.happen(if shutdown { Input::Shutdown } else { Input::Command(Command::Down { peer }) });
            puppet.sent_meanwhile();
            let sizes = puppet.world.nodes[1].endpoint.sizes();
            assert_eq!(sizes.jobs, 0, "{sizes:?}\n{}", puppet.world.log());
            let mut again = Puppet::new(&settings, Begins::Puppet, 8);
            std::mem::swap(&mut again.world, &mut puppet.world);
            again.forget_seen();
            again.set_cookie([0xd0, 1, 1, 1, 1, 1, 1, 1]);
            again.main_mode_counting(1);
            again.legal_quick_mode(3);
        }
    }
}
