//! The other side of a session: holds the keys, encrypts what was recorded, decrypts what our endpoint sends.

use std::collections::BTreeMap;

use ike::crypto::backend::{cbc_decrypt, cbc_encrypt};
use ike::crypto::hash;
use ike::crypto::iv::{last_block, phase1_iv, phase2_iv};
use ike::crypto::skeyid::phase1_key;
use ike::wire::header::Header;
use ike::wire::message::{Tail, decode_chain, encode_chain, encode_message, first_kind};
use ike::wire::number::{ExchangeType, Flags, PayloadType};
use policy::model::secret::Secret;

use super::Session;

/// A chain of payloads.
pub type Payloads = Vec<(PayloadType, Vec<u8>)>;

pub struct Peer<'a> {
    pub session: &'a Session,
    key: Secret,
    /// Last ciphertext block of phase 1.
    last_block: Vec<u8>,
    /// By message ID.
    chains: BTreeMap<u32, Vec<u8>>,
    /// Nonces of quick modes by message ID, for HASH(2) and HASH(3).
    nonces: BTreeMap<u32, Vec<Vec<u8>>>,
}

impl<'a> Peer<'a> {
    pub fn new(session: &'a Session) -> Self {
        let [gxi, gxr] = session.publics();
        Self {
            session,
            key: phase1_key(session.hash, &session.skeyids.e, session.cipher),
            last_block: phase1_iv(session.hash, session.cipher, &gxi, &gxr),
            chains: BTreeMap::new(),
            nonces: BTreeMap::new(),
        }
    }

    fn iv(&self, message_id: u32) -> Vec<u8> {
        match message_id {
            0 => self.last_block.clone(),
            id => self
                .chains
                .get(&id)
                .cloned()
                .unwrap_or_else(|| phase2_iv(self.session.hash, self.session.cipher, &self.last_block, message_id)),
        }
    }

    fn advance(&mut self, message_id: u32, ciphertext: &[u8]) {
        let last = last_block(self.session.cipher, ciphertext).unwrap().to_vec();
        match message_id {
            0 => self.last_block = last,
            id => drop(self.chains.insert(id, last)),
        }
    }

    /// A message of ours, in clear; phase 2 messages have their HASH checked.
    pub fn open(&mut self, datagram: &[u8]) -> (Header, Payloads) {
        let header = Header::decode(datagram).unwrap();
        let body = header.body(datagram);
        if !header.flags.contains(Flags::ENCRYPTED) {
            return (header, owned(header.next, body, Tail::Exact).0);
        }
        let plain = cbc_decrypt(self.session.cipher, &self.key, &self.iv(header.message_id), body).unwrap();
        self.advance(header.message_id, body);
        let (payloads, end) = owned(header.next, &plain, Tail::Padding);
        if header.message_id != 0 {
            let behind_hash = 4 + payloads[0].1.len();
            let expected = self.phase2_hash(&header, &plain[behind_hash..end]);
            assert_eq!(payloads[0].1, expected, "HASH of {header:?}");
            self.note_nonce(header.message_id, &payloads);
        }
        (header, payloads)
    }

    /// A message of the recording for our endpoint; a phase 2 message gets its HASH.
    pub fn seal(&mut self, header: Header, mut payloads: Payloads) -> Vec<u8> {
        let header = Header { next: first_kind(&payloads), length: 0, ..header };
        if !header.flags.contains(Flags::ENCRYPTED) {
            return encode_message(header, &encode_chain(&payloads));
        }
        if header.message_id != 0 {
            let rest = encode_chain(&payloads[1..]);
            payloads[0].1 = self.phase2_hash(&header, &rest);
            self.note_nonce(header.message_id, &payloads);
        }
        let block = self.session.cipher.cipher.facts().block;
        let mut plain = encode_chain(&payloads);
        plain.resize(plain.len().next_multiple_of(block), 0);
        let sealed = cbc_encrypt(self.session.cipher, &self.key, &self.iv(header.message_id), &plain).unwrap();
        self.advance(header.message_id, &sealed);
        encode_message(header, &sealed)
    }

    fn note_nonce(&mut self, message_id: u32, payloads: &Payloads) {
        let nonce = payloads.iter().find(|(kind, _)| *kind == PayloadType::NONCE);
        self.nonces.entry(message_id).or_default().extend(nonce.map(|(_, body)| body.clone()));
    }

    fn phase2_hash(&self, header: &Header, rest: &[u8]) -> Vec<u8> {
        let (hash, key, id) = (self.session.hash, &self.session.skeyids.a, header.message_id);
        if header.exchange != ExchangeType::QUICK {
            return hash::informational(hash, key, id, rest);
        }
        match self.nonces.get(&id).map(Vec::as_slice).unwrap_or_default() {
            [] => hash::quick1(hash, key, id, rest),
            [ni] => hash::quick2(hash, key, id, rest, ni),
            [ni, nr, ..] => hash::quick3(hash, key, id, ni, nr),
        }
    }
}

fn owned(first: PayloadType, octets: &[u8], tail: Tail) -> (Payloads, usize) {
    let payloads = decode_chain(first, octets, tail).unwrap();
    let end = payloads.last().map_or(0, |payload| payload.range.end);
    (payloads.iter().map(|payload| (payload.kind, payload.body.to_vec())).collect(), end)
}
