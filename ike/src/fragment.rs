//! IKE fragmentation as it is in the wild (\[MS-IKEE\] §3.3; IKEV1 FR-1 to FR-7): cutting and putting together.
//!
//! A message is cut the same way whenever it is sent, so that the pieces of a retransmission complete each other. What
//! is put together is bounded: by the message, by the sender's address, and in all; the time bound is the caller's.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use crate::context::Path;
use crate::message::Cookies;
use crate::retransmit::Fingerprint;
use crate::wire::fragment::{FRAGMENT_HEADER, FragmentPayload};
use crate::wire::header::Header;
use crate::wire::message::{GENERIC_HEADER, encode_chain, encode_message};
use crate::wire::number::{ExchangeType, Flags, PayloadType};

/// Longest datagram that is sent whole, and longest piece, as racoon's: with IP and UDP headers it passes any path that
/// may be had (an IPv4 host must take 576 octets). charon cuts at 1280 by default and takes ours.
pub(crate) const LONGEST: usize = 552;

/// Longest piece of a message that would otherwise take more than [`FEW`]: what every IPv6 path passes.
const LONGEST_OF_MANY: usize = 1200;

/// Pieces that implementations in the field take: pluto up to 32, charon by a total of 10,000 octets.
const FEW: usize = 16;

/// Pieces accepted of a message. A Windows client on a path of 626 octets sends more than 16.
const MOST_PIECES: u8 = 64;

/// Octets accepted of a message.
const MOST_OCTETS: usize = 65_535;

/// Octets held of all messages from one address, whole ones that may come again included.
const MOST_FROM_ADDRESS: usize = 256 * 1024;

/// Octets held in all.
const MOST_IN_ALL: usize = 4 * 1024 * 1024;

/// What a piece costs besides its data.
const PIECE_COST: usize = 256;

/// How long an unfinished message waits, and a finished one is recognised: longer than a peer's last resend takes.
pub(crate) const LIFE: Duration = Duration::from_secs(30);

/// The pieces of a message; one that fits is its only piece, as it is.
///
/// The pieces' ID is made of the message: the same for a retransmission, another for the next message.
pub(crate) fn cut(message: Vec<u8>) -> Vec<Vec<u8>> {
    let Ok(header) = Header::decode(&message) else { return vec![message] };
    if message.len() <= LONGEST {
        return vec![message];
    }
    let room = |longest: usize| longest - Header::LEN - GENERIC_HEADER - FRAGMENT_HEADER;
    let few = message.len().div_ceil(room(LONGEST)) <= FEW;
    let chunks: Vec<&[u8]> = message.chunks(room(if few { LONGEST } else { LONGEST_OF_MANY })).collect();
    if chunks.len() > usize::from(MOST_PIECES) {
        // More than anybody takes: IP has to cut it.
        return vec![message];
    }
    let id = Fingerprint::of(&message).short() | 1;
    let framed = Header { next: PayloadType::FRAGMENT, flags: Flags::NONE, ..header };
    let last = chunks.len();
    (1_u8..)
        .zip(chunks)
        .map(|(number, data)| {
            let piece = FragmentPayload { id, number, is_last: usize::from(number) == last, data };
            encode_message(framed, &encode_chain(&[(PayloadType::FRAGMENT, piece.encode())]))
        })
        .collect()
}

/// Why a piece was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FragmentError {
    /// Beyond [`MOST_PIECES`].
    #[error("IKE fragment number {0}: more than {MOST_PIECES} are not taken")]
    TooMany(u8),
    /// Beyond [`MOST_OCTETS`].
    #[error("IKE fragments of more than {MOST_OCTETS} octets")]
    TooLong,
    /// The set was dropped (FR-6).
    #[error("IKE fragments contradict each other about the last one")]
    Contradiction,
    /// What they give is no message of the exchange that they belong to.
    #[error("IKE fragments give no message of their exchange")]
    OtherMessage,
}

/// What the pieces of one message have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MessageKey {
    exchange: ExchangeType,
    message_id: u32,
    id: u16,
}

/// A message of which pieces are missing.
#[derive(Debug)]
struct Set {
    key: MessageKey,
    pieces: BTreeMap<u8, Vec<u8>>,
    last: Option<u8>,
    octets: usize,
    since: Duration,
}

/// A message that was complete: its pieces may come again, late ones or a resend.
#[derive(Debug)]
struct Whole {
    key: MessageKey,
    prints: Vec<Fingerprint>,
    /// One bit for each piece that has come again.
    again: u64,
    message: Vec<u8>,
    since: Duration,
}

/// What one ISAKMP SA's peer has sent in pieces.
#[derive(Debug, Default)]
struct Pair {
    set: Option<Set>,
    whole: Option<Whole>,
}

impl Pair {
    fn cost(&self) -> usize {
        let set = self.set.as_ref().map_or(0, |set| set.octets + set.pieces.len() * PIECE_COST);
        let whole = self.whole.as_ref().map_or(0, |whole| whole.message.len() + whole.prints.len() * PIECE_COST);
        set + whole
    }
}

/// Whose pieces they are: by whom, under which cookies.
type Owner = (Path, Cookies);

/// Everything that is being put together.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    pairs: BTreeMap<Owner, Pair>,
    /// In the order they began, to make room.
    order: VecDeque<Owner>,
    by_address: BTreeMap<IpAddr, usize>,
    octets: usize,
}

impl Reassembly {
    /// Takes a piece; gives the message that it completes. All pieces of a complete message once more give it once more:
    /// it is a retransmission, to be recognised as such (FR-5).
    ///
    /// # Errors
    /// [`FragmentError`] for a piece that is not taken.
    pub(crate) fn take(
        &mut self,
        path: Path,
        header: &Header,
        piece: &FragmentPayload<'_>,
        now: Duration,
    ) -> Result<Option<Vec<u8>>, FragmentError> {
        if piece.number > MOST_PIECES {
            return Err(FragmentError::TooMany(piece.number));
        }
        let owner = (path, Cookies { initiator: header.initiator, responder: header.responder });
        let key = MessageKey { exchange: header.exchange, message_id: header.message_id, id: piece.id };
        let mut pair = self.pull(&owner);
        if let Some(whole) = pair.whole.as_mut().filter(|whole| whole.knows(&key, piece)) {
            let message = whole.once_more(piece.number);
            self.put(owner, pair);
            return Ok(message);
        }
        let outcome = pair.insert(key, piece, now);
        if !matches!(outcome, Ok(true)) {
            self.put(owner, pair);
            return outcome.map(|_| None);
        }
        let message = pair.finish(now);
        let result = check(header, &message).map(|()| Some(message));
        if result.is_err() {
            pair.whole = None;
        }
        self.put(owner, pair);
        result
    }

    fn pull(&mut self, owner: &Owner) -> Pair {
        let Some(pair) = self.pairs.remove(owner) else {
            self.order.push_back(*owner);
            return Pair::default();
        };
        self.account(owner, 0, pair.cost());
        pair
    }

    fn put(&mut self, owner: Owner, pair: Pair) {
        if pair.set.is_none() && pair.whole.is_none() {
            self.order.retain(|other| *other != owner);
            return;
        }
        self.account(&owner, pair.cost(), 0);
        self.pairs.insert(owner, pair);
        let address = owner.0.peer.ip();
        while self.by_address.get(&address).is_some_and(|octets| *octets > MOST_FROM_ADDRESS) {
            let Some(oldest) = self.order.iter().find(|other| other.0.peer.ip() == address).copied() else { break };
            self.drop_owner(&oldest);
        }
        while self.octets > MOST_IN_ALL {
            let Some(oldest) = self.order.front().copied() else { break };
            self.drop_owner(&oldest);
        }
    }

    fn account(&mut self, owner: &Owner, more: usize, less: usize) {
        self.octets = (self.octets + more).saturating_sub(less);
        let address = owner.0.peer.ip();
        let held = self.by_address.entry(address).or_default();
        *held = (*held + more).saturating_sub(less);
        if *held == 0 {
            self.by_address.remove(&address);
        }
    }

    fn drop_owner(&mut self, owner: &Owner) {
        self.order.retain(|other| other != owner);
        if let Some(pair) = self.pairs.remove(owner) {
            self.account(owner, 0, pair.cost());
        }
    }

    /// Forgets what has waited too long; is anything left?
    pub(crate) fn expire(&mut self, now: Duration) -> bool {
        let owners: Vec<Owner> = self.pairs.keys().copied().collect();
        for owner in owners {
            let mut pair = self.pull(&owner);
            pair.set = pair.set.filter(|set| set.since + LIFE > now);
            pair.whole = pair.whole.filter(|whole| whole.since + LIFE > now);
            self.put(owner, pair);
        }
        !self.pairs.is_empty()
    }

    /// Octets held.
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }
}

impl Pair {
    /// Adds a piece; is the message complete?
    fn insert(&mut self, key: MessageKey, piece: &FragmentPayload<'_>, now: Duration) -> Result<bool, FragmentError> {
        let conflicts = |set: &Set| {
            set.key != key || set.pieces.get(&piece.number).is_some_and(|known| known.as_slice() != piece.data)
        };
        // Another message: what came of the one before is given up (FR-7). racoon's ID is the same for all messages, so
        // that only the content tells.
        if self.set.as_ref().is_some_and(conflicts) {
            self.set = None;
        }
        let set =
            self.set.get_or_insert_with(|| Set { key, pieces: BTreeMap::new(), last: None, octets: 0, since: now });
        let highest = set.pieces.last_key_value().map_or(0, |(number, _)| *number);
        let contradicts = set.last.is_some_and(|last| piece.number > last || (piece.is_last && piece.number != last))
            || (piece.is_last && highest > piece.number);
        if contradicts {
            self.set = None;
            return Err(FragmentError::Contradiction);
        }
        if piece.is_last {
            set.last = Some(piece.number);
        }
        if !set.pieces.contains_key(&piece.number) {
            set.octets += piece.data.len();
            if set.octets > MOST_OCTETS {
                self.set = None;
                return Err(FragmentError::TooLong);
            }
            set.pieces.insert(piece.number, piece.data.to_vec());
        }
        Ok(set.last.is_some_and(|last| set.pieces.len() == usize::from(last)))
    }

    /// Puts the pieces together and remembers them.
    fn finish(&mut self, now: Duration) -> Vec<u8> {
        let Some(set) = self.set.take() else { return Vec::new() };
        let prints = set.pieces.values().map(|piece| Fingerprint::of(piece)).collect();
        let message: Vec<u8> = set.pieces.into_values().flatten().collect();
        self.whole = Some(Whole { key: set.key, prints, again: 0, message: message.clone(), since: now });
        message
    }
}

impl Whole {
    fn knows(&self, key: &MessageKey, piece: &FragmentPayload<'_>) -> bool {
        let number = usize::from(piece.number);
        self.key == *key
            && piece.is_last == (number == self.prints.len())
            && self.prints.get(number - 1) == Some(&Fingerprint::of(piece.data))
    }

    /// A piece has come again; the message, if all of them have.
    fn once_more(&mut self, number: u8) -> Option<Vec<u8>> {
        self.again |= 1 << (number - 1);
        let all = self.again.count_ones() as usize == self.prints.len();
        all.then(|| {
            self.again = 0;
            self.message.clone()
        })
    }
}

/// Is this a whole message of the exchange that its pieces named?
fn check(pieces: &Header, message: &[u8]) -> Result<(), FragmentError> {
    let header = Header::decode(message).map_err(|_| FragmentError::OtherMessage)?;
    let same = (header.initiator, header.responder, header.exchange)
        == (pieces.initiator, pieces.responder, pieces.exchange)
        && header.message_id == pieces.message_id;
    let whole = usize::try_from(header.length).is_ok_and(|length| length == message.len());
    if same && whole && header.next != PayloadType::FRAGMENT { Ok(()) } else { Err(FragmentError::OtherMessage) }
}

#[cfg(test)]
mod tests;
