//! Changes that make an illegal text or message of a legal one, for the property tests.

use proptest::prelude::*;
use proptest::sample::Index;

/// One change to a text or a message.
#[derive(Clone, Debug)]
pub enum Change {
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
    /// Makes it.
    pub fn apply(&self, octets: &mut Vec<u8>) {
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

/// One to five changes; `pieces` may be put in too.
pub fn changes(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<Change>> {
    let at = any::<Index>;
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        any::<Index>().prop_map(|which| match pieces.len() {
            0 => vec![0],
            count => pieces[which.index(count)].as_bytes().to_vec(),
        }),
    ];
    let change = prop_oneof![
        // Small values and the ends of the range are what counts, lengths and types are made of.
        (at(), prop_oneof![any::<u8>(), 0..=24_u8, Just(0xff)]).prop_map(|(at, value)| Change::Set(at, value)),
        (at(), any::<u8>()).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), prop_oneof![any::<u16>(), 0..=64_u16]).prop_map(|(at, value)| Change::Length(at, value)),
        at().prop_map(Change::Cut),
        (at(), 1..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), piece).prop_map(|(at, more)| Change::Insert(at, more)),
        (at(), 1..200_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
    ];
    prop::collection::vec(change, 1..6)
}
