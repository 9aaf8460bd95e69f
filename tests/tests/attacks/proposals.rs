//! Proposals and public values that nobody may take.

use ike::wire::attribute::{Attribute, AttributeValue};
use ike::wire::header::Header;
use ike::wire::message::{encode_chain, encode_message};
use ike::wire::number::{ExchangeType, PayloadType, ProtocolId};
use ike::wire::sa::{Proposal, SaPayload, Transform};
use tests::sim::node::Settings;
use tests::sim::puppet::{Begins, Puppet};

fn established(seed: u64) -> Puppet {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, seed);
    puppet.main_mode();
    puppet
}

/// Changes an attribute of the only transform, or takes it out.
fn with(proposal: &Proposal, kind: u16, value: Option<u32>) -> Proposal {
    let mut proposal = proposal.clone();
    let attributes = &mut proposal.transforms[0].attributes;
    attributes.retain(|attribute| attribute.kind != kind);
    attributes.extend(value.map(|value| Attribute::number(kind, value)));
    proposal
}

#[test]
fn a19_phase_2_transforms_that_give_no_key_or_a_wrong_one() {
    let mut puppet = established(1);
    let legal = puppet.esp_proposal([0xc0, 0, 0, 1]);
    let (length, auth, mode, group) = (6, 5, 4, 3);
    let transform = |id: u8| {
        let mut proposal = legal.clone();
        proposal.transforms[0].id = id;
        proposal
    };
    let mut odd: Vec<(String, Proposal)> = Vec::new();
    for bits in [0, 1, 8, 127, 129, 64, 512, 65535] {
        odd.push((format!("AES of {bits} bits"), with(&legal, length, Some(bits))));
    }
    odd.push(("AES without a key length".into(), with(&legal, length, None)));
    odd.push(("AES without integrity".into(), with(&legal, auth, None)));
    for number in [0, 99, 65535] {
        odd.push((format!("integrity {number}"), with(&legal, auth, Some(number))));
        odd.push((format!("mode {number}"), with(&legal, mode, Some(number))));
        odd.push((format!("group {number}"), with(&legal, group, Some(number))));
    }
    odd.push(("GMAC without a length or integrity".into(), with(&with(&transform(23), length, None), auth, None)));
    odd.push(("NULL without integrity".into(), with(&with(&transform(11), length, None), auth, None)));
    for id in [0, 1, 4, 5, 8, 9, 10, 17, 99, 255] {
        odd.push((format!("transform {id}"), transform(id)));
    }
    let mut ah = legal.clone();
    ah.protocol = ProtocolId::AH;
    ah.transforms[0].id = 5;
    odd.push(("AH without the authentication attribute".into(), with(&with(&ah, auth, None), length, None)));
    for spi in [vec![], vec![0; 4], vec![0, 0, 0, 255], vec![1; 3], vec![1; 8], vec![9; 255]] {
        odd.push((format!("SPI {spi:?}"), Proposal { spi, ..legal.clone() }));
    }
    odd.push(("no transform".into(), Proposal { transforms: Vec::new(), ..legal.clone() }));
    for (number, (name, proposal)) in (100..).zip(odd) {
        let rest = puppet.quick_payloads(vec![proposal]);
        assert!(!puppet.quick_mode(number, rest), "{name} was answered\n{}", puppet.world.log());
        assert_eq!((puppet.victim_sas(), puppet.victim_kernel()), (1, 0), "{name}");
    }
    puppet.legal_quick_mode(99);
    let sizes = puppet.world.nodes[1].endpoint.sizes();
    assert_eq!((sizes.jobs, sizes.quick_modes), (0, 0), "{sizes:?}");
}

#[test]
fn a08_two_thousand_quick_modes_that_are_refused_leave_nothing() {
    let mut puppet = established(2);
    let legal = puppet.esp_proposal([0xc0, 0, 0, 1]);
    let before = puppet.world.nodes[1].endpoint.sizes();
    let rest = puppet.quick_payloads(vec![with(&legal, 6, Some(1))]);
    for number in 1000..3000 {
        let datagram = puppet.protect(ExchangeType::QUICK, number, rest.clone(), false);
        puppet.inject_only(datagram);
    }
    puppet.sent_meanwhile();
    let after = puppet.world.nodes[1].endpoint.sizes();
    assert_eq!((after.jobs, after.quick_modes, after.timers), (0, 0, before.timers), "{after:?}");
    puppet.legal_quick_mode(99);
}

#[test]
fn a26_reserved_bits_domains_situations_and_payload_types() {
    // Each in the first message of phase 1: no answer but a small notify, no state.
    let settings = Settings::default();
    let fresh = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut puppet = Puppet::new(&settings, Begins::Puppet, 3);
        let mut sa = puppet.sa_payload();
        change(&mut sa);
        let datagram = puppet.clear(ExchangeType::MAIN, 0, &vec![(PayloadType::SA, sa)]);
        let answers = puppet.send(datagram.clone());
        (puppet, answers, datagram.len())
    };
    let (puppet, answers, _) = fresh(&|_| {});
    assert_eq!((answers.len(), puppet.world.nodes[1].endpoint.sizes().handshakes), (1, 1), "the legal one");
    for doi in [0_u32, 2, 0x8000_0001, 0xffff_ffff] {
        let (puppet, answers, sent) = fresh(&move |sa| sa[..4].copy_from_slice(&doi.to_be_bytes()));
        let answered: usize = answers.iter().map(Vec::len).sum();
        assert!(answered <= sent && puppet.world.nodes[1].endpoint.sizes().handshakes == 0, "DOI {doi}");
    }
    for situation in [0_u32, 2, 3, 4, 0xffff_ffff] {
        let (puppet, _, _) = fresh(&move |sa| sa[4..8].copy_from_slice(&situation.to_be_bytes()));
        assert_eq!(puppet.world.nodes[1].endpoint.sizes().handshakes, 0, "situation {situation}");
    }
    for kind in (15..=19).chain(22..=127) {
        let mut puppet = Puppet::new(&settings, Begins::Puppet, 3);
        let mut payloads = puppet.main_payloads(1);
        payloads.push((PayloadType(kind), vec![0; 20]));
        let datagram = puppet.clear(ExchangeType::MAIN, 0, &payloads);
        puppet.send(datagram);
        assert_eq!(puppet.world.nodes[1].endpoint.sizes().handshakes, 0, "payload type {kind}");
        puppet.main_step(1);
        assert_eq!(puppet.world.nodes[1].endpoint.sizes().handshakes, 1, "the legal message behind type {kind}");
    }
}

#[test]
fn a27_datagrams_shorter_or_longer_than_their_header_says() {
    let settings = Settings::default();
    let mut puppet = Puppet::new(&settings, Begins::Puppet, 4);
    let payloads = puppet.main_payloads(1);
    let legal = puppet.clear(ExchangeType::MAIN, 0, &payloads);
    for length in 0..=30.min(legal.len()) {
        assert!(puppet.send(legal[..length].to_vec()).is_empty(), "{length} octets");
    }
    for length in [0_u32, 1, 27, 28, 29, 0x7fff_ffff, 0xffff_ffff] {
        let mut octets = legal.clone();
        octets[24..28].copy_from_slice(&length.to_be_bytes());
        puppet.send(octets);
    }
    for version in [0x00, 0x20, 0x30, 0xf0] {
        let mut octets = legal.clone();
        octets[17] = version;
        let answers = puppet.send(octets);
        assert!(answers.iter().map(Vec::len).sum::<usize>() <= legal.len(), "version {version:02x}");
    }
    assert_eq!(puppet.world.nodes[1].endpoint.sizes().handshakes, 0, "{}", puppet.world.log());
    puppet.main_mode();
}

#[test]
fn a35_private_groups_and_payload_numbers() {
    let settings = Settings::default();
    for group in [0_u32, 1025, 32767, 65535] {
        let mut puppet = Puppet::new(&settings, Begins::Puppet, 5);
        let sa = SaPayload::decode(&puppet.sa_payload()).expect("our own");
        let sa = SaPayload::new(vec![with(&sa.proposals[0], 4, Some(group))]);
        let datagram = puppet.clear(ExchangeType::MAIN, 0, &vec![(PayloadType::SA, sa.encode())]);
        puppet.send(datagram);
        assert_eq!(puppet.world.nodes[1].endpoint.sizes().handshakes, 0, "group {group}");
    }
    // Private payload types are passed over where they are not first (IKEV1 F-10); first, they begin nothing.
    for kind in 128..=255 {
        let mut puppet = Puppet::new(&settings, Begins::Puppet, 5);
        let mut payloads = puppet.main_payloads(1);
        payloads.insert(0, (PayloadType(kind), vec![0xff; 4]));
        let datagram = puppet.clear(ExchangeType::MAIN, 0, &payloads);
        puppet.send(datagram);
        assert_eq!(puppet.world.nodes[1].endpoint.sizes().handshakes, 0, "payload type {kind}");
    }
    let mut puppet = Puppet::new(&settings, Begins::Puppet, 5);
    puppet.main_mode();
}

#[test]
fn a15_a44_attributes_and_proposals_longer_than_what_holds_them() {
    // Every length octet of the SA payload, at every value that lies.
    let settings = Settings::default();
    let mut puppet = Puppet::new(&settings, Begins::Puppet, 6);
    let payloads = puppet.main_payloads(1);
    let legal = puppet.clear(ExchangeType::MAIN, 0, &payloads);
    for at in Header::LEN..legal.len() {
        for value in [0, 1, 3, 0x7f, 0x80, 0xff] {
            let mut octets = legal.clone();
            octets[at] = value;
            // A cookie of its own: some of these changes are harmless, and begin a main mode.
            octets[..8].copy_from_slice(&((at as u64) << 8 | u64::from(value) | 1 << 32).to_be_bytes());
            let answers = puppet.send(octets);
            assert!(answers.iter().map(Vec::len).sum::<usize>() <= legal.len() + 64, "octet {at} = {value}");
        }
    }
    let long = Attribute { kind: 1, value: AttributeValue::Long(vec![7; 60000]) };
    let transforms = vec![Transform { number: 1, id: 1, attributes: vec![long] }];
    let sa = SaPayload::new(vec![Proposal { number: 1, protocol: ProtocolId::ISAKMP, spi: Vec::new(), transforms }]);
    let header = Header { next: PayloadType::SA, ..Header::decode(&legal).expect("our own") };
    puppet.send(encode_message(header, &encode_chain(&[(PayloadType::SA, sa.encode())])));
    puppet.main_mode_counting(1);
}
