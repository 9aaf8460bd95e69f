//! messages that lack payloads. Every subset of the payloads of every message, with everything around them
//! right: proofs and HASHes are over what is there.

use ike::crypto::hash;
use ike::wire::number::{ExchangeType, PayloadType};
use policy::model::algorithm::AuthMethod;
use policy::model::algorithm::Hash;
use policy::model::remote::ExchangeMode;
use tests::sim::node::Settings;
use tests::sim::puppet::{Begins, Payloads, Puppet};

fn methods() -> [Settings; 2] {
    [AuthMethod::RsaSignature, AuthMethod::PreSharedKey].map(|auth| Settings { auth, ..Settings::default() })
}

/// All proper subsets, the empty one included.
fn subsets(payloads: &Payloads) -> Vec<Payloads> {
    (0..(1_u32 << payloads.len()) - 1)
        .map(|mask| {
            let kept = payloads.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0);
            kept.map(|(_, payload)| payload.clone()).collect()
        })
        .collect()
}

#[test]
fn a06_every_subset_of_every_message_of_main_mode() {
    for settings in methods() {
        for begins in [Begins::Puppet, Begins::Victim] {
            let numbers = Puppet::new(&settings, begins, 1).main_numbers();
            for number in numbers {
                let mut tried = 0;
                let mut puppet = Puppet::new(&settings, begins, 1);
                puppet.main_up_to(number);
                let whole = puppet.main_payloads(number);
                for subset in subsets(&whole) {
                    let what = format!("{:?} {begins:?}: message {number} of {} payloads", settings.auth, subset.len());
                    let mut puppet = Puppet::new(&settings, begins, 1);
                    puppet.main_up_to(number);
                    let datagram = puppet.main_message(number, &subset, false);
                    puppet.send(datagram);
                    assert_eq!(puppet.victim_sas(), 0, "{what}\n{}", puppet.world.log());
                    assert_eq!(puppet.victim_kernel(), 0, "{what}");
                    // The victim lives, and a damaged message took nothing with it that the whole one needs. (What
                    // is authentic and wrong ends the exchange: a proof without its certificate.)
                    let kinds: Vec<PayloadType> = subset.iter().map(|(kind, _)| *kind).collect();
                    if kinds != [PayloadType::ID, PayloadType::SIG] {
                        puppet.main_step(number);
                        for later in numbers.into_iter().filter(|later| *later > number) {
                            puppet.main_step(later);
                        }
                        assert_eq!(
                            puppet.victim_sas(),
                            1,
                            "{what}: the legal message behind it\n{}",
                            puppet.world.log()
                        );
                    }
                    tried += 1;
                }
                assert_eq!(tried, (1 << whole.len()) - 1);
            }
        }
    }
}

/// An aggressive mode up to, and without, the puppet's message `number`.
fn aggressive_up_to(settings: &Settings, number: usize) -> Puppet {
    let begins = if number == 2 { Begins::Victim } else { Begins::Puppet };
    let mut puppet = Puppet::new(settings, begins, 1);
    if number == 2 {
        let sent = puppet.sent_meanwhile();
        puppet.take_in(&sent);
    }
    if number == 3 {
        let whole = puppet.aggressive_payloads(1);
        let datagram = puppet.clear(ExchangeType::AGGRESSIVE, 0, &whole);
        let sent = puppet.send(datagram);
        puppet.take_in(&sent);
    }
    puppet
}

#[test]
fn a06_every_subset_of_every_message_of_aggressive_mode() {
    for settings in methods() {
        let settings = Settings { exchange: ExchangeMode::Aggressive, ..settings };
        for number in 1..=3 {
            let template = aggressive_up_to(&settings, number).aggressive_payloads(number);
            for subset in subsets(&template) {
                let kinds: Vec<PayloadType> = subset.iter().map(|(kind, _)| *kind).collect();
                let what = format!("{:?}: message {number} of {kinds:?}", settings.auth);
                let mut puppet = aggressive_up_to(&settings, number);
                let whole = puppet.aggressive_payloads(number);
                let datagram = puppet.clear(ExchangeType::AGGRESSIVE, 0, &subset);
                puppet.send(datagram);
                assert_eq!(puppet.victim_sas(), 0, "{what}\n{}", puppet.world.log());
                assert_eq!(puppet.victim_kernel(), 0, "{what}");
                // What proves something and is wrong may end the exchange; nothing else may.
                if kinds.iter().any(|kind| [PayloadType::HASH, PayloadType::SIG].contains(kind)) {
                    continue;
                }
                let datagram = puppet.clear(ExchangeType::AGGRESSIVE, 0, &whole);
                let sent = puppet.send(datagram);
                if number == 1 {
                    puppet.take_in(&sent);
                    let last = puppet.aggressive_payloads(3);
                    let datagram = puppet.clear(ExchangeType::AGGRESSIVE, 0, &last);
                    puppet.send(datagram);
                }
                assert_eq!(puppet.victim_sas(), 1, "{what}: the legal message behind it\n{}", puppet.world.log());
            }
        }
    }
}

#[test]
fn a06_every_subset_of_the_first_message_of_quick_mode() {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 2);
    puppet.main_mode();
    let proposal = puppet.esp_proposal([0xc0, 0, 0, 9]);
    let whole = puppet.quick_payloads(vec![proposal]);
    // IDs may be left out by hosts that speak for themselves (RFC 2409 §5.5), but both of them.
    let legal = |kinds: &[PayloadType]| kinds == [PayloadType::SA, PayloadType::NONCE, PayloadType::KE];
    for (at, subset) in subsets(&whole).into_iter().enumerate() {
        let kinds: Vec<PayloadType> = subset.iter().map(|(kind, _)| *kind).collect();
        let before = puppet.victim_kernel();
        let answered = puppet.quick_mode(100 + at as u32, subset);
        assert_eq!(answered, legal(&kinds), "{kinds:?}\n{}", puppet.world.log());
        assert_eq!(puppet.victim_kernel() > before, legal(&kinds), "{kinds:?}");
        assert_eq!(puppet.victim_sas(), 1);
    }
    // Without HASH, or with nothing at all.
    for payloads in [whole.clone(), Vec::new()] {
        let before = puppet.victim_kernel();
        let datagram = puppet.seal(ExchangeType::QUICK, 99, &payloads, false);
        puppet.send(datagram);
        assert_eq!(puppet.victim_kernel(), before);
    }
    puppet.legal_quick_mode(500);
    let sizes = puppet.world.nodes[1].endpoint.sizes();
    assert_eq!((sizes.jobs, sizes.quick_modes), (0, 0), "{sizes:?}");
}

#[test]
fn a06_every_subset_of_the_answer_of_quick_mode() {
    let begun = || {
        let mut puppet = Puppet::new(&Settings::default(), Begins::Victim, 3);
        puppet.main_up_to(6);
        let payloads = puppet.main_payloads(6);
        let datagram = puppet.main_message(6, &payloads, true);
        let sent = puppet.send(datagram);
        let quick = puppet.first_quick(&sent).expect("the victim's quick mode");
        (puppet, quick)
    };
    let (mut puppet, quick) = begun();
    let whole = puppet.answer_payloads(&quick, [0xc0, 0, 0, 7]);
    let legal = |kinds: &[PayloadType]| kinds == [PayloadType::SA, PayloadType::NONCE, PayloadType::KE];
    for subset in subsets(&whole) {
        let kinds: Vec<PayloadType> = subset.iter().map(|(kind, _)| *kind).collect();
        let (mut puppet, quick) = begun();
        let datagram = puppet.answer_quick(&quick, subset);
        puppet.send(datagram);
        assert_eq!(puppet.victim_kernel() > 0, legal(&kinds), "{kinds:?}\n{}", puppet.world.log());
        assert_eq!(puppet.victim_sas(), 1, "{kinds:?}");
    }
    let datagram = puppet.answer_quick(&quick, whole);
    puppet.send(datagram);
    assert_eq!(puppet.victim_kernel(), 2, "{}", puppet.world.log());
}

#[test]
fn a06_the_last_message_of_quick_mode_without_its_hash() {
    let mut puppet = Puppet::new(&Settings::default(), Begins::Puppet, 4);
    puppet.main_mode();
    let proposal = puppet.esp_proposal([0xc0, 0, 0, 5]);
    let rest = puppet.quick_payloads(vec![proposal]);
    let datagram = puppet.protect(ExchangeType::QUICK, 7, rest, true);
    let sent = puppet.send(datagram);
    let quick = puppet.quick_answer(&sent, 7).expect("an answer");
    for payloads in [
        Vec::new(),
        vec![(PayloadType::HASH, vec![0; 32])],
        vec![(PayloadType::HASH, Vec::new())],
        vec![(PayloadType::NONCE, vec![1; 32])],
    ] {
        let datagram = puppet.seal(ExchangeType::QUICK, 7, &payloads, false);
        puppet.send(datagram);
        assert_eq!(puppet.victim_kernel(), 1, "only the inbound SA stands before the last message");
    }
    let base = puppet.skeyids.clone().expect("keys");
    let proof = hash::quick3(Hash::Sha256, &base.a, 7, &[0x6e; 32], &quick);
    let datagram = puppet.seal(ExchangeType::QUICK, 7, &vec![(PayloadType::HASH, proof)], true);
    puppet.send(datagram);
    assert_eq!(puppet.victim_kernel(), 2, "{}", puppet.world.log());
}
