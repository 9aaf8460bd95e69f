//! No decoder panics, whatever the octets: arbitrary ones, and recorded messages with something changed.
//!
//! The properties are those of the fuzz targets; here a few thousand cases of each run with every test run.

mod change;
#[path = "../../fuzz/src/checks.rs"]
mod checks;

use std::sync::LazyLock;

use change::changes;
use ike::wire::message::Tail;
use ike::wire::number::PayloadType;
use proptest::prelude::*;
use proptest::sample::select;
use tests::recording::{all_packets, plaintexts};

static PACKETS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(all_packets);
static PLAINTEXTS: LazyLock<Vec<(PayloadType, Vec<u8>)>> = LazyLock::new(plaintexts);

/// The datagram with a length field that agrees again, so that changes reach what is behind the header.
fn with_right_length(octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    let length = u32::try_from(octets.len()).unwrap();
    if let Some(field) = octets.get_mut(24..28) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    octets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_octets(octets in prop::collection::vec(any::<u8>(), 0..300), first in any::<u8>()) {
        checks::datagram(&octets);
        checks::datagram(&with_right_length(&octets));
        checks::chain(PayloadType(first), &octets, Tail::Padding);
        for kind in 0..=u8::MAX {
            checks::payload(PayloadType(kind), &octets);
        }
    }

    #[test]
    fn recorded_messages_with_something_changed(packet in select(&**PACKETS), changes in changes(&[])) {
        let mut octets = packet;
        changes.iter().for_each(|change| change.apply(&mut octets));
        checks::datagram(&octets);
        checks::datagram(&with_right_length(&octets));
    }

    #[test]
    fn decrypted_chains_with_something_changed(chain in select(&**PLAINTEXTS), changes in changes(&[])) {
        let (first, mut octets) = chain;
        changes.iter().for_each(|change| change.apply(&mut octets));
        checks::chain(first, &octets, Tail::Padding);
        checks::chain(first, &octets, Tail::Exact);
    }
}

#[test]
fn what_was_recorded_passes_the_same_checks() {
    PACKETS.iter().for_each(|packet| checks::datagram(packet));
    PLAINTEXTS.iter().for_each(|(first, chain)| checks::chain(*first, chain, Tail::Padding));
}
