//! No decoder panics, whatever the octets: arbitrary ones, and recorded messages with something changed.
//!
//! The properties are those of the fuzz targets; here a few thousand cases of each run with every test run.

#[path = "../../fuzz/src/checks.rs"]
mod checks;

use std::sync::LazyLock;

use ike::wire::message::Tail;
use ike::wire::number::PayloadType;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tests::recording::{all_packets, plaintexts};

static PACKETS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(all_packets);
static PLAINTEXTS: LazyLock<Vec<(PayloadType, Vec<u8>)>> = LazyLock::new(plaintexts);

/// One change to a message.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    /// Two octets, as length fields have.
    Length(Index, u16),
    Cut(Index),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Repeat(Index, usize),
}

impl Change {
    fn apply(&self, octets: &mut Vec<u8>) {
        if octets.is_empty() {
            return;
        }
        let len = octets.len();
        match self {
            Self::Set(at, value) => octets[at.index(len)] = *value,
            Self::Flip(at, bit) => octets[at.index(len)] ^= 1 << (bit % 8),
            Self::Length(at, value) => {
                let at = at.index(len);
                for (octet, value) in octets[at..].iter_mut().zip(value.to_be_bytes()) {
                    *octet = value;
                }
            }
            Self::Cut(at) => octets.truncate(at.index(len)),
            Self::Remove(at, count) => {
                let at = at.index(len);
                octets.drain(at..len.min(at + count));
            }
            Self::Insert(at, more) => {
                let at = at.index(len);
                octets.splice(at..at, more.iter().copied());
            }
            Self::Repeat(at, count) => {
                let at = at.index(len);
                let piece = octets[at..len.min(at + count)].to_vec();
                octets.splice(at..at, piece);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        // Small values and the ends of the range are what counts, lengths and types are made of.
        (at(), prop_oneof![any::<u8>(), 0..=24_u8, Just(0xff)]).prop_map(|(at, value)| Change::Set(at, value)),
        (at(), any::<u8>()).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), prop_oneof![any::<u16>(), 0..=64_u16]).prop_map(|(at, value)| Change::Length(at, value)),
        at().prop_map(Change::Cut),
        (at(), 1..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, more)| Change::Insert(at, more)),
        (at(), 1..80_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..6)
}

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
    fn recorded_messages_with_something_changed(packet in select(&**PACKETS), changes in changes()) {
        let mut octets = packet;
        changes.iter().for_each(|change| change.apply(&mut octets));
        checks::datagram(&octets);
        checks::datagram(&with_right_length(&octets));
    }

    #[test]
    fn decrypted_chains_with_something_changed(chain in select(&**PLAINTEXTS), changes in changes()) {
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
