//! Identities that claim what is not theirs.

use ike::wire::identification::IdPayload;
use ike::wire::number::{IdType, PayloadType};
use policy::model::algorithm::AuthMethod;
use policy::model::selector::Selector;
use tests::sim::node::Settings;
use tests::sim::puppet::{Begins, Payloads, Puppet};

fn established(seed: u64) -> Puppet {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, seed);
    puppet.main_mode();
    puppet
}

/// Quick mode's payloads with other IDs.
fn quick(puppet: &mut Puppet, ids: [Vec<u8>; 2]) -> Payloads {
    let proposal = puppet.esp_proposal([0xc0, 0, 0, 2]);
    let mut rest = puppet.quick_payloads(vec![proposal]);
    rest.truncate(3);
    rest.extend(ids.map(|id| (PayloadType::ID, id)));
    rest
}

fn id(kind: u8, data: &[u8]) -> Vec<u8> {
    IdPayload { kind: IdType(kind), protocol: 0, port: 0, data: data.to_vec() }.encode()
}

#[test]
fn a21_quick_mode_identities_of_every_type_and_length() {
    let mut puppet = established(1);
    let (mine, yours) = (id(1, &[192, 0, 2, 1]), id(1, &[192, 0, 2, 2]));
    let mut odd: Vec<(String, [Vec<u8>; 2])> = Vec::new();
    for kind in (0..=12).chain([255]) {
        for length in [0, 1, 3, 4, 5, 7, 8, 9, 16, 17, 32, 200] {
            // The address itself, and the range from it to itself.
            let legal = matches!((kind, length), (1, 4) | (7, 8));
            let data: Vec<u8> = [192, 0, 2, 1].into_iter().cycle().take(length).collect();
            if !legal {
                odd.push((format!("source of type {kind}, {length} octets"), [id(kind, &data), yours.clone()]));
            }
            odd.push((format!("destination of type {kind}, {length} octets"), [mine.clone(), id(kind, &data)]));
        }
    }
    odd.push(("a mask with holes".into(), [id(4, &[192, 0, 2, 0, 255, 0, 255, 0]), yours.clone()]));
    odd.push(("a range backwards".into(), [id(7, &[192, 0, 2, 9, 192, 0, 2, 1]), yours.clone()]));
    odd.push(("IPv6 and IPv4".into(), [id(5, &[0x20; 16]), yours.clone()]));
    odd.push(("empty bodies".into(), [Vec::new(), Vec::new()]));
    odd.push(("three octets".into(), [vec![1, 0, 0], vec![1, 0, 0]]));
    for (number, (name, ids)) in (100..).zip(odd) {
        let rest = quick(&mut puppet, ids);
        assert!(!puppet.quick_mode(number, rest), "{name} was answered\n{}", puppet.world.log());
        assert_eq!((puppet.victim_sas(), puppet.victim_kernel()), (1, 0), "{name}");
    }
    puppet.legal_quick_mode(99);
}

#[test]
fn a51_an_authenticated_peer_asks_for_anothers_traffic() {
    let mut puppet = established(2);
    let yours = id(1, &[192, 0, 2, 2]);
    for (number, theirs) in (100..).zip([
        id(1, &[192, 0, 2, 3]),
        id(4, &[192, 0, 2, 128, 255, 255, 255, 128]),
        id(4, &[10, 0, 0, 0, 255, 0, 0, 0]),
        id(7, &[192, 0, 2, 2, 192, 0, 2, 3]),
    ]) {
        let rest = quick(&mut puppet, [theirs, yours.clone()]);
        assert!(!puppet.quick_mode(number, rest), "{}", puppet.world.log());
        assert_eq!(puppet.victim_kernel(), 0, "{}", puppet.world.log());
    }
    // Networks around the peer are legal in transport mode, where the SA is for the two hosts whatever the IDs say.
    for (number, theirs) in (150..).zip([id(4, &[192, 0, 2, 0, 255, 255, 255, 0]), id(4, &[0; 8])]) {
        let rest = quick(&mut puppet, [theirs, yours.clone()]);
        puppet.quick_mode(number, rest);
        let hosts = Selector::hosts([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for standing in puppet.world.nodes[1].kernel.sas.values() {
            let selector = standing.sa.selector;
            assert!([hosts, hosts.reversed()].contains(&selector), "{selector}\n{}", puppet.world.log());
        }
    }
    // With the ends changed over: what we send would go to ourselves.
    let rest = quick(&mut puppet, [yours.clone(), id(1, &[192, 0, 2, 1])]);
    assert!(!puppet.quick_mode(200, rest), "{}", puppet.world.log());
    let mut puppet = established(3);
    puppet.legal_quick_mode(99);
}

#[test]
fn a34_names_cut_nested_and_of_wrong_length() {
    // C=DE, O=xfrmd, CN=node1
    let name: &[u8] = &[
        0x30, 0x2d, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, 0x44, 0x45, 0x31, 0x0e, 0x30,
        0x0c, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x0c, 0x05, 0x78, 0x66, 0x72, 0x6d, 0x64, 0x31, 0x0e, 0x30, 0x0c, 0x06,
        0x03, 0x55, 0x04, 0x03, 0x0c, 0x05, 0x6e, 0x6f, 0x64, 0x65, 0x31,
    ];
    let mut names: Vec<Vec<u8>> = (0..name.len()).map(|length| name[..length].to_vec()).collect();
    for length in [0x80, 0xff, 0x84, 0x00, 0x7f] {
        for at in [1, 3, 5] {
            let mut changed = name.to_vec();
            changed[at] = length;
            names.push(changed);
        }
    }
    // Sequences within sequences, as deep as a datagram holds.
    names.push((0..4000).flat_map(|_| [0x30, 0x80]).collect());
    names.push([0x30, 0x82, 0xff, 0xff].into_iter().cycle().take(4000).collect());
    for auth in [AuthMethod::RsaSignature, AuthMethod::PreSharedKey] {
        let settings = Settings { auth, ..Settings::default() };
        for data in names.iter().cloned().chain([name.to_vec()]) {
            for kind in [9, 10] {
                let mut puppet = Puppet::new(&settings, Begins::Puppet, 3);
                puppet.main_up_to(5);
                let claimed = id(kind, &data);
                let mut payloads = puppet.main_payloads(5);
                payloads[0].1.clone_from(&claimed);
                let last = payloads.len() - 1;
                payloads[last] = puppet.proof(&claimed);
                let datagram = puppet.main_message(5, &payloads, false);
                puppet.send(datagram);
                // Not even whole: the name is not the one that is configured.
                assert_eq!(puppet.victim_sas(), 0, "{} octets\n{}", data.len(), puppet.world.log());
            }
        }
        let mut puppet = Puppet::new(&settings, Begins::Puppet, 3);
        puppet.main_mode();
    }
}
