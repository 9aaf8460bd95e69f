//! Walks through a recorded ISAKMP SA: decrypts, takes apart, puts together again, encrypts, and checks that each
//! message came out as it went in and that its HASH is right.

use std::collections::HashMap;

use ike::crypto::backend::{cbc_decrypt, cbc_encrypt};
use ike::crypto::hash;
use ike::crypto::iv::{last_block, phase2_iv};
use ike::wire::cert::{CertPayload, CertRequest};
use ike::wire::delete::DeletePayload;
use ike::wire::header::Header;
use ike::wire::identification::IdPayload;
use ike::wire::message::{Tail, decode_chain, encode_chain, encode_message, first_kind};
use ike::wire::notify::NotifyPayload;
use ike::wire::number::{ExchangeType, Flags, PayloadType};
use ike::wire::sa::SaPayload;
use policy::model::algorithm::{Hash, SizedCipher};
use policy::model::secret::Secret;
use tests::recording::Packet;

/// What phase 1 agreed on.
pub struct Phase1 {
    pub hash: Hash,
    pub cipher: SizedCipher,
    pub skeyid_a: Secret,
    pub key: Secret,
    pub iv: Vec<u8>,
}

/// A message in clear.
pub struct Message {
    pub from: String,
    pub header: Header,
    /// The IV it was encrypted with; empty in clear.
    pub iv: Vec<u8>,
    /// The chain, padding included.
    pub plain: Vec<u8>,
    pub payloads: Vec<(PayloadType, Vec<u8>)>,
}

impl Message {
    pub fn body_of(&self, kind: PayloadType) -> Option<&[u8]> {
        self.payloads.iter().find(|(found, _)| *found == kind).map(|(_, body)| body.as_slice())
    }

    /// The SPI of the first proposal.
    pub fn first_spi(&self) -> u32 {
        let sa = SaPayload::decode(self.body_of(PayloadType::SA).unwrap()).unwrap();
        u32::from_be_bytes(sa.proposals[0].spi.as_slice().try_into().unwrap())
    }
}

/// A recording, decrypted.
pub struct Replay {
    /// Phase 1, fragments joined.
    pub phase1: Vec<Message>,
    /// Everything after it.
    pub protected: Vec<Message>,
    /// The block the phase 2 IVs come from.
    pub last_phase1_block: Vec<u8>,
}

impl Replay {
    /// Decrypts and checks every message.
    pub fn run(packets: &[Packet], keys: &Phase1) -> Self {
        let mut replay = Self { phase1: Vec::new(), protected: Vec::new(), last_phase1_block: keys.iv.clone() };
        let mut chains: HashMap<u32, Vec<u8>> = HashMap::new();
        let mut fragments = Vec::new();
        for packet in packets {
            let header = Header::decode(&packet.octets).unwrap();
            if header.next == PayloadType::FRAGMENT {
                let fragment = clear(packet, header);
                let body = fragment.body_of(PayloadType::FRAGMENT).unwrap();
                fragments.extend_from_slice(&body[4..]);
                if body[3] & 1 == 1 {
                    let whole = Packet { from: packet.from.clone(), octets: std::mem::take(&mut fragments) };
                    let header = Header::decode(&whole.octets).unwrap();
                    replay.phase1.push(clear(&whole, header));
                }
                continue;
            }
            if !header.flags.contains(Flags::ENCRYPTED) {
                replay.phase1.push(clear(packet, header));
                continue;
            }
            let first_iv = || phase2_iv(keys.hash, keys.cipher, &replay.last_phase1_block, header.message_id);
            let iv = match header.message_id {
                0 => replay.last_phase1_block.clone(),
                id => chains.get(&id).cloned().unwrap_or_else(first_iv),
            };
            let message = encrypted(packet, header, iv, keys);
            let last = last_block(keys.cipher, header.body(&packet.octets)).unwrap().to_vec();
            if header.message_id == 0 {
                replay.last_phase1_block = last;
                replay.phase1.push(message);
            } else {
                chains.insert(header.message_id, last);
                replay.check_hash(&message, keys);
                replay.protected.push(message);
            }
        }
        assert!(fragments.is_empty(), "a fragment is missing");
        replay
    }

    /// HASH(1) to HASH(3), or the HASH of an informational or transaction exchange.
    fn check_hash(&self, message: &Message, keys: &Phase1) {
        let id = message.header.message_id;
        let before: Vec<_> = self.protected.iter().filter(|other| other.header.message_id == id).collect();
        let payloads = decode_chain(message.header.next, &message.plain, Tail::Padding).unwrap();
        let end = payloads.last().unwrap().range.end;
        let rest = &message.plain[payloads[0].range.end..end];
        let nonce = |index: usize| before[index].body_of(PayloadType::NONCE).unwrap();
        let (hash, key) = (keys.hash, &keys.skeyid_a);
        let expected = match (message.header.exchange, before.len()) {
            (ExchangeType::QUICK, 0) => hash::quick1(hash, key, id, rest),
            (ExchangeType::QUICK, 1) => hash::quick2(hash, key, id, rest, nonce(0)),
            (ExchangeType::QUICK, 2) => hash::quick3(hash, key, id, nonce(0), nonce(1)),
            (ExchangeType::INFORMATIONAL | ExchangeType::TRANSACTION, _) => hash::informational(hash, key, id, rest),
            other => panic!("unexpected {other:?}"),
        };
        assert_eq!(payloads[0].kind, PayloadType::HASH);
        assert!(hash::matches(&expected, payloads[0].body), "HASH of message {} of {id:08x}", before.len() + 1);
    }

    /// The plaintext of a message of phase 1, counted from 0.
    pub fn plain_of_phase1(&self, index: usize) -> Vec<u8> {
        self.phase1[index].plain.clone()
    }

    /// A payload of a message of phase 1.
    pub fn payload_of_phase1(&self, index: usize, kind: PayloadType) -> Vec<u8> {
        self.phase1[index].body_of(kind).unwrap_or_else(|| panic!("no {kind:?} in message {}", index + 1)).to_vec()
    }

    /// The first payload of its kind in phase 1.
    pub fn first_of_phase1(&self, kind: PayloadType) -> Option<Vec<u8>> {
        self.phase1.iter().find_map(|message| message.body_of(kind)).map(<[u8]>::to_vec)
    }
}

/// A message in clear, which must come out as it went in.
fn clear(packet: &Packet, header: Header) -> Message {
    let plain = header.body(&packet.octets).to_vec();
    let payloads = recode(header.next, &plain, Tail::Exact).0;
    let again = encode_message(Header { next: first_kind(&payloads), length: 0, ..header }, &encode_chain(&payloads));
    assert_eq!(again, packet.octets);
    Message { from: packet.from.clone(), header, iv: Vec::new(), plain, payloads }
}

/// An encrypted message: decrypted, recoded, encrypted again with its own padding, which must give the same octets.
fn encrypted(packet: &Packet, header: Header, iv: Vec<u8>, keys: &Phase1) -> Message {
    let plain = cbc_decrypt(keys.cipher, &keys.key, &iv, header.body(&packet.octets)).unwrap();
    let (payloads, end) = recode(header.next, &plain, Tail::Padding);
    let mut chain = encode_chain(&payloads);
    chain.extend_from_slice(&plain[end..]);
    assert_eq!(chain, plain);
    let again = cbc_encrypt(keys.cipher, &keys.key, &iv, &chain).unwrap();
    assert_eq!(encode_message(header, &again), packet.octets);
    Message { from: packet.from.clone(), header, iv, plain, payloads }
}

/// Decodes a chain and every payload in it, and gives back what the encoders make of that, and where the chain ended.
fn recode(first: PayloadType, chain: &[u8], tail: Tail) -> (Vec<(PayloadType, Vec<u8>)>, usize) {
    let payloads = decode_chain(first, chain, tail).unwrap();
    let end = payloads.last().map_or(0, |payload| payload.range.end);
    let again = payloads.iter().map(|payload| (payload.kind, recode_body(payload.kind, payload.body))).collect();
    (again, end)
}

fn recode_body(kind: PayloadType, body: &[u8]) -> Vec<u8> {
    match kind {
        PayloadType::SA => SaPayload::decode(body).unwrap().encode(),
        PayloadType::ID => {
            let id = IdPayload::decode(body).unwrap();
            let identity = id.to_identity().unwrap();
            assert_eq!(IdPayload::from_identity(&identity, id.protocol, id.port), id);
            id.encode()
        }
        PayloadType::CERT => CertPayload::decode(body).unwrap().encode(),
        PayloadType::CERTREQ => CertRequest::decode(body).unwrap().encode(),
        PayloadType::NOTIFY => NotifyPayload::decode(body).unwrap().encode(),
        PayloadType::DELETE => DeletePayload::decode(body).unwrap().encode(),
        _ => body.to_vec(),
    }
}
