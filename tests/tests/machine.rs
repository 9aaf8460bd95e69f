//! The whole state machine before a peer that holds the keys and does what arbitrary octets say: the games of the fuzz
//! target `machine`, a few hundred with every test run, and those that have found something.

#[path = "../../fuzz/src/machine.rs"]
mod machine;

use proptest::prelude::*;
// The games speak of it as part of their own crate.
use tests::sim;

/// A step's octet, and those that it decides by.
fn step() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), prop::collection::vec(any::<u8>(), 0..24)).prop_map(|(kind, rest)| [vec![kind], rest].concat())
}

/// Which side and configuration, as many legal messages of phase 1 as are wanted, then anything.
fn game() -> impl Strategy<Value = Vec<u8>> {
    let steps = prop::collection::vec(step(), 0..16);
    (any::<[u8; 2]>(), 0..4_usize, steps)
        .prop_map(|(begins, legal, steps)| [begins.to_vec(), vec![0; legal], steps.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_peer_with_keys_does(octets in game()) {
        machine::play(&octets);
    }
}

#[test]
fn nothing_and_the_legal_exchanges() {
    for settings in 0..6 {
        for begins in 0..2 {
            for legal in 0..4 {
                machine::play(&[vec![settings, begins], vec![0; legal]].concat());
                // Quick modes of both sides, and time.
                machine::play(&[vec![settings, begins], vec![0; legal], vec![6, 0, 0, 4, 0, 0, 0, 16, 5]].concat());
            }
        }
    }
}
