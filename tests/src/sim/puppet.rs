//! A peer whose every message a test decides: it holds the keys, so that what is wrong with a message is exactly what
//! the test made wrong, behind the encryption too.

use std::collections::BTreeMap;
use std::time::Duration;

use ike::crypto::backend::{cbc_decrypt, cbc_encrypt};
use ike::crypto::hash::{self, Transcript};
use ike::crypto::iv::{last_block, phase1_iv, phase2_iv};
use ike::crypto::provider::{DhPair, Provider};
use ike::crypto::skeyid::{Skeyids, derive_psk, derive_signature, phase1_key};
use ike::event::Input;
use ike::wire::attribute::Attribute;
use ike::wire::cert::CertPayload;
use ike::wire::header::{Cookie, Header};
use ike::wire::identification::IdPayload;
use ike::wire::message::{Tail, decode_chain, encode_chain, encode_message, first_kind};
use ike::wire::number::{CertEncoding, ExchangeType, Flags, KEY_IKE, PayloadType, ProtocolId};
use ike::wire::sa::{Proposal, SaPayload, Transform};
use policy::model::algorithm::{AuthMethod, Cipher, Group, Hash, SizedCipher};
use policy::model::identity::Identity;
use policy::model::secret::Secret;

use super::link::Fate;
use super::node::{PSK, Settings, identity};
use super::provider::{ToyProvider, toy_key, toy_sign};
use super::world::World;

/// A chain of payloads.
pub type Payloads = Vec<(PayloadType, Vec<u8>)>;

/// Phase 1 and 2 suite of [`Settings`].
const CIPHER: SizedCipher = SizedCipher { cipher: Cipher::Aes, key_bits: Some(256) };
const HASH: Hash = Hash::Sha256;
const GROUP: Group = Group::Modp2048;

/// Time for the victim's kernel, key and judge to answer.
const WORK: Duration = Duration::from_millis(60);

/// Who begins phase 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// The puppet: the victim is node 2.
    Puppet,
    /// The victim: it is node 1.
    Victim,
}

/// The puppet, and the world with its victim.
pub struct Puppet {
    /// The world; the node that the puppet stands in for hears nothing.
    pub world: World,
    /// The node under attack: 0 or 1.
    pub victim: usize,
    begins: Begins,
    auth: AuthMethod,
    provider: ToyProvider,
    cookies: [Cookie; 2],
    sa_i: Vec<u8>,
    publics: [Vec<u8>; 2],
    nonces: [Vec<u8>; 2],
    pair: DhPair,
    /// Once both public values are known.
    pub skeyids: Option<Skeyids>,
    last_block: Vec<u8>,
    chains: BTreeMap<u32, Vec<u8>>,
    /// Datagrams of the victim that were looked at.
    seen: usize,
}

impl Puppet {
    /// Nothing was sent yet; a victim that begins has its first packet to send.
    pub fn new(settings: &Settings, begins: Begins, seed: u64) -> Self {
        let mut world = World::new(settings, seed).with_reports();
        world.fates = Some(Box::new(|_| Fate::Lose));
        let provider = ToyProvider::new(seed ^ 0xfeed);
        let pair = provider.dh_generate(GROUP).expect("the toy never fails");
        let (victim, mine) = if begins == Begins::Puppet { (1, 0) } else { (0, 1) };
        let mut cookies = [Cookie::ZERO; 2];
        cookies[mine] = Cookie([0xc0, 1, 2, 3, 4, 5, 6, 7]);
        let mut nonces = [Vec::new(), Vec::new()];
        nonces[mine] = vec![0x4e; 32];
        let mut publics = [Vec::new(), Vec::new()];
        publics[mine].clone_from(&pair.public);
        if begins == Begins::Victim {
            world.acquire(victim);
            world.run(WORK);
        }
        Self {
            world,
            victim,
            begins,
            auth: settings.auth_of(2 - victim as u8),
            provider,
            cookies,
            sa_i: Vec::new(),
            publics,
            nonces,
            pair,
            skeyids: None,
            last_block: Vec::new(),
            chains: BTreeMap::new(),
            seen: 0,
        }
    }

    /// 0 for the initiator's side of phase 1, 1 for the responder's.
    fn mine(&self) -> usize {
        usize::from(self.begins == Begins::Victim)
    }

    /// Hands a datagram to the victim and gives what it sends.
    pub fn send(&mut self, datagram: Vec<u8>) -> Vec<Vec<u8>> {
        let from = self.world.nodes[1 - self.victim].socket();
        self.world.inject(self.victim, from, datagram);
        self.sent_meanwhile()
    }

    /// What the victim has sent since it was last asked, after a moment.
    pub fn sent_meanwhile(&mut self) -> Vec<Vec<u8>> {
        self.world.run(self.world.now + WORK);
        let sent: Vec<_> = self.world.captured.iter().skip(self.seen).map(|(_, octets)| octets.clone()).collect();
        self.seen = self.world.captured.len();
        sent
    }

    /// A message with a header of this puppet.
    pub fn clear(&self, exchange: ExchangeType, message_id: u32, payloads: &Payloads) -> Vec<u8> {
        self.framed(exchange, message_id, payloads, Flags::NONE, &encode_chain(payloads))
    }

    fn framed(
        &self,
        exchange: ExchangeType,
        message_id: u32,
        payloads: &Payloads,
        flags: Flags,
        body: &[u8],
    ) -> Vec<u8> {
        let [initiator, responder] = self.cookies;
        let next = first_kind(payloads);
        let version = Header::VERSION;
        encode_message(Header { initiator, responder, next, version, exchange, flags, message_id, length: 0 }, body)
    }

    fn key(&self) -> Secret {
        let skeyids = self.skeyids.as_ref().expect("keys are known");
        phase1_key(HASH, &skeyids.e, CIPHER)
    }

    fn iv(&self, message_id: u32) -> Vec<u8> {
        match message_id {
            0 => self.last_block.clone(),
            id => {
                let chain = self.chains.get(&id).cloned();
                chain.unwrap_or_else(|| phase2_iv(HASH, CIPHER, &self.last_block, message_id))
            }
        }
    }

    fn advance(&mut self, message_id: u32, ciphertext: &[u8]) {
        let last = last_block(CIPHER, ciphertext).unwrap_or_default().to_vec();
        match message_id {
            0 => self.last_block = last,
            id => drop(self.chains.insert(id, last)),
        }
    }

    /// Encrypts a chain as it is; the chain of blocks moves on only if `counts`.
    pub fn seal(&mut self, exchange: ExchangeType, message_id: u32, payloads: &Payloads, counts: bool) -> Vec<u8> {
        let mut plain = encode_chain(payloads);
        plain.resize(plain.len().next_multiple_of(16).max(16), 0);
        let sealed = cbc_encrypt(CIPHER, &self.key(), &self.iv(message_id), &plain).expect("whole blocks");
        if counts {
            self.advance(message_id, &sealed);
        }
        self.framed(exchange, message_id, payloads, Flags::ENCRYPTED, &sealed)
    }

    /// Puts the right HASH of an informational, transaction or first quick mode message before `rest` and encrypts.
    pub fn protect(&mut self, exchange: ExchangeType, message_id: u32, rest: Payloads, counts: bool) -> Vec<u8> {
        let skeyids = self.skeyids.as_ref().expect("keys are known");
        let proof = hash::informational(HASH, &skeyids.a, message_id, &encode_chain(&rest));
        let payloads: Payloads = std::iter::once((PayloadType::HASH, proof)).chain(rest).collect();
        self.seal(exchange, message_id, &payloads, counts)
    }

    /// The payloads of a message of the victim.
    pub fn open(&mut self, datagram: &[u8]) -> (Header, Payloads) {
        self.try_open(datagram).expect("the victim frames and encrypts well")
    }

    /// As [`Self::open`], if it can be read under our keys and where our chains of blocks stand.
    pub fn try_open(&mut self, datagram: &[u8]) -> Option<(Header, Payloads)> {
        let header = Header::decode(datagram).ok()?;
        let body = header.body(datagram);
        let encrypted = header.flags.contains(Flags::ENCRYPTED);
        let (plain, tail) = if encrypted {
            self.skeyids.as_ref()?;
            (cbc_decrypt(CIPHER, &self.key(), &self.iv(header.message_id), body).ok()?, Tail::Padding)
        } else {
            (body.to_vec(), Tail::Exact)
        };
        let payloads = decode_chain(header.next, &plain, tail).ok()?;
        let payloads = payloads.iter().map(|payload| (payload.kind, payload.body.to_vec())).collect();
        if encrypted {
            self.advance(header.message_id, body);
        }
        Some((header, payloads))
    }

    fn body(payloads: &Payloads, kind: PayloadType) -> Vec<u8> {
        let found = payloads.iter().find(|(found, _)| *found == kind);
        found.unwrap_or_else(|| panic!("the victim sent no {kind:?}")).1.clone()
    }

    /// Our SA payload of phase 1.
    pub fn sa_payload(&self) -> Vec<u8> {
        let number = |kind, value| Attribute::number(kind, value);
        let attributes = vec![
            number(1, 7),
            number(14, 256),
            number(2, 4),
            number(3, u32::from(self.auth.number(true))),
            number(4, 14),
            number(11, 1),
            number(12, 28800),
        ];
        let transforms = vec![Transform { number: 1, id: KEY_IKE, attributes }];
        SaPayload::new(vec![Proposal { number: 1, protocol: ProtocolId::ISAKMP, spi: Vec::new(), transforms }]).encode()
    }

    fn transcript(&self) -> Transcript<'_> {
        let [cky_i, cky_r] = self.cookies;
        Transcript { gxi: &self.publics[0], gxr: &self.publics[1], cky_i, cky_r, sa_i: &self.sa_i }
    }

    fn id_body(&self) -> Vec<u8> {
        IdPayload::from_identity(&self.my_identity(), 0, 0).encode()
    }

    /// Who the puppet is.
    pub fn my_identity(&self) -> Identity {
        identity(2 - self.victim as u8)
    }

    /// Our proof over an ID body: a HASH or a SIG payload.
    pub fn proof(&self, id_body: &[u8]) -> (PayloadType, Vec<u8>) {
        let base = &self.skeyids.as_ref().expect("keys are known").base;
        let hash_of = if self.mine() == 0 { hash::hash_i } else { hash::hash_r };
        let proof = hash_of(HASH, base, &self.transcript(), id_body);
        if self.auth.is_psk() {
            (PayloadType::HASH, proof)
        } else {
            (PayloadType::SIG, toy_sign(&toy_key(2 - self.victim as u8), &proof))
        }
    }

    /// The payloads of our next message of main mode, `number` 1 to 6.
    pub fn main_payloads(&mut self, number: usize) -> Payloads {
        let mine = self.mine();
        match number {
            1 => {
                self.sa_i = self.sa_payload();
                vec![(PayloadType::SA, self.sa_i.clone())]
            }
            2 => vec![(PayloadType::SA, self.sa_i.clone())],
            3 | 4 => {
                vec![(PayloadType::KE, self.publics[mine].clone()), (PayloadType::NONCE, self.nonces[mine].clone())]
            }
            _ => {
                let id = self.id_body();
                let mut payloads = vec![(PayloadType::ID, id.clone())];
                if !self.auth.is_psk() {
                    let data = vec![0x30, 2 - self.victim as u8];
                    let cert = CertPayload { encoding: CertEncoding::X509_SIGNATURE, data };
                    payloads.push((PayloadType::CERT, cert.encode()));
                }
                payloads.push(self.proof(&id));
                payloads
            }
        }
    }

    /// The payloads of our next message of aggressive mode, `number` 1 to 3.
    pub fn aggressive_payloads(&mut self, number: usize) -> Payloads {
        match number {
            1 => {
                let mut payloads = [self.main_payloads(1), self.main_payloads(3)].concat();
                payloads.push((PayloadType::ID, self.id_body()));
                payloads
            }
            2 => [2, 4, 6].map(|number| self.main_payloads(number)).concat(),
            _ => self.main_payloads(5).into_iter().filter(|(kind, _)| *kind != PayloadType::ID).collect(),
        }
    }

    /// Is the puppet the initiator of phase 1?
    pub fn initiates(&self) -> bool {
        self.begins == Begins::Puppet
    }

    /// Has a victim that begins sent its proposals?
    pub fn was_offered(&self) -> bool {
        !self.sa_i.is_empty()
    }

    /// Another phase 1: what was agreed so far is forgotten.
    pub fn begin_anew(&mut self, cookie: [u8; 8]) {
        self.cookies = [Cookie::ZERO; 2];
        self.set_cookie(cookie);
        let theirs = 1 - self.mine();
        (self.publics[theirs], self.nonces[theirs]) = (Vec::new(), Vec::new());
        (self.skeyids, self.sa_i) = (None, Vec::new());
        self.chains.clear();
    }

    /// Frames the payloads of a message of main mode, the last two encrypted. The chain of blocks moves on if it `counts`.
    pub fn main_message(&mut self, number: usize, payloads: &Payloads, counts: bool) -> Vec<u8> {
        if number < 5 {
            self.clear(ExchangeType::MAIN, 0, payloads)
        } else {
            self.seal(ExchangeType::MAIN, 0, payloads, counts)
        }
    }

    /// Takes in the victim's messages of phase 1.
    pub fn take_in(&mut self, sent: &[Vec<u8>]) {
        for datagram in sent {
            let header = Header::decode(datagram).expect("the victim frames well");
            if ![ExchangeType::MAIN, ExchangeType::AGGRESSIVE].contains(&header.exchange) {
                continue;
            }
            let theirs = 1 - self.mine();
            self.cookies[theirs] = [header.initiator, header.responder][theirs];
            let Some((_, payloads)) = self.try_open(datagram) else { continue };
            for (kind, body) in payloads {
                match kind {
                    PayloadType::SA if theirs == 0 => self.sa_i = body,
                    PayloadType::KE => self.publics[theirs] = body,
                    PayloadType::NONCE => self.nonces[theirs] = body,
                    _ => {}
                }
            }
            if self.skeyids.is_none() && !self.publics[theirs].is_empty() {
                self.derive();
            }
        }
    }

    /// Derives the keys.
    fn derive(&mut self) {
        let theirs = 1 - self.mine();
        let gxy = self.provider.dh_agree(GROUP, &self.pair.secret, &self.publics[theirs]).expect("a public value");
        let ([ni, nr], [cky_i, cky_r]) = (&self.nonces, self.cookies);
        self.skeyids = Some(if self.auth.is_psk() {
            derive_psk(HASH, &Secret::new(PSK.to_vec()), ni, nr, &gxy, cky_i, cky_r)
        } else {
            derive_signature(HASH, ni, nr, &gxy, cky_i, cky_r)
        });
        self.last_block = phase1_iv(HASH, CIPHER, &self.publics[0], &self.publics[1]);
    }

    /// The numbers of the puppet's own messages of main mode.
    pub fn main_numbers(&self) -> [usize; 3] {
        if self.begins == Begins::Puppet { [1, 3, 5] } else { [2, 4, 6] }
    }

    /// Main mode up to, and without, the puppet's message `number`.
    pub fn main_up_to(&mut self, number: usize) {
        if self.begins == Begins::Victim {
            let sent = self.sent_meanwhile();
            self.take_in(&sent);
        }
        for earlier in self.main_numbers().into_iter().filter(|earlier| *earlier < number) {
            self.main_step(earlier);
        }
    }

    /// Sends the message as it should be and takes in the answer.
    pub fn main_step(&mut self, number: usize) {
        let payloads = self.main_payloads(number);
        let datagram = self.main_message(number, &payloads, true);
        let sent = self.send(datagram);
        self.take_in(&sent);
    }

    /// All of main mode.
    pub fn main_mode(&mut self) {
        self.main_up_to(7);
        assert_eq!(self.victim_sas(), 1, "{}", self.world.log());
    }

    /// ISAKMP SAs of the victim.
    pub fn victim_sas(&self) -> usize {
        self.world.nodes[self.victim].endpoint.sizes().isakmp_sas
    }

    /// IPsec SAs in the victim's kernel.
    pub fn victim_kernel(&self) -> usize {
        self.world.nodes[self.victim].kernel.sas.len()
    }

    /// The victim's log has this in a line.
    pub fn logged(&self, words: &str) -> bool {
        self.world.log().contains(words)
    }

    /// The ESP proposal of a quick mode with this SPI.
    pub fn esp_proposal(&self, spi: [u8; 4]) -> Proposal {
        let number = |kind, value| Attribute::number(kind, value);
        let attributes = vec![
            number(1, 1),
            number(2, 43200),
            number(4, 2),
            number(5, 5),
            number(6, 256),
            number(3, u32::from(GROUP.number())),
        ];
        let transforms = vec![Transform { number: 1, id: 12, attributes }];
        Proposal { number: 1, protocol: ProtocolId::ESP, spi: spi.to_vec(), transforms }
    }

    /// Our quick mode's payloads behind HASH: SA, NONCE, KE, IDci, IDcr.
    pub fn quick_payloads(&mut self, proposals: Vec<Proposal>) -> Payloads {
        let addr = |node: usize| Identity::Address(self.world.nodes[node].addr);
        let id = |node| (PayloadType::ID, IdPayload::from_identity(&addr(node), 0, 0).encode());
        vec![
            (PayloadType::SA, SaPayload::new(proposals).encode()),
            (PayloadType::NONCE, vec![0x6e; 32]),
            (PayloadType::KE, self.publics[self.mine()].clone()),
            id(1 - self.victim),
            id(self.victim),
        ]
    }

    /// A whole quick mode of ours with these payloads; tells whether the victim answered with its own.
    pub fn quick_mode(&mut self, message_id: u32, rest: Payloads) -> bool {
        let ni = rest.iter().find(|(kind, _)| *kind == PayloadType::NONCE).map(|(_, body)| body.clone());
        let datagram = self.protect(ExchangeType::QUICK, message_id, rest, true);
        let sent = self.send(datagram);
        let quick = |octets: &&Vec<u8>| {
            Header::decode(octets)
                .is_ok_and(|header| header.exchange == ExchangeType::QUICK && header.message_id == message_id)
        };
        let Some(answer) = sent.iter().find(quick).cloned() else { return false };
        let (_, payloads) = self.open(&answer);
        let nr = Self::body(&payloads, PayloadType::NONCE);
        let skeyids = self.skeyids.as_ref().expect("keys are known");
        let proof = hash::quick3(HASH, &skeyids.a, message_id, &ni.unwrap_or_default(), &nr);
        let last = self.seal(ExchangeType::QUICK, message_id, &vec![(PayloadType::HASH, proof)], true);
        self.send(last);
        true
    }

    /// A legal quick mode comes through: the victim is alive, and the attack before it left nothing in the way.
    pub fn legal_quick_mode(&mut self, message_id: u32) {
        let before = self.victim_kernel();
        let proposal = self.esp_proposal((0xc000_0000 | message_id).to_be_bytes());
        let rest = self.quick_payloads(vec![proposal]);
        assert!(self.quick_mode(message_id, rest), "the legal quick mode was not answered\n{}", self.world.log());
        assert_eq!(self.victim_kernel(), before + 2, "{}", self.world.log());
    }

    /// The victim's first quick mode among what it sent.
    pub fn first_quick(&mut self, sent: &[Vec<u8>]) -> Option<(Header, Payloads)> {
        let quick =
            |octets: &&Vec<u8>| Header::decode(octets).is_ok_and(|header| header.exchange == ExchangeType::QUICK);
        let datagram = sent.iter().find(quick)?.clone();
        Some(self.open(&datagram))
    }

    /// The nonce of the victim's answer to our quick mode.
    pub fn quick_answer(&mut self, sent: &[Vec<u8>], message_id: u32) -> Option<Vec<u8>> {
        let (header, payloads) = self.first_quick(sent)?;
        (header.message_id == message_id).then(|| Self::body(&payloads, PayloadType::NONCE))
    }

    /// The payloads behind HASH that answer the victim's quick mode.
    pub fn answer_payloads(&self, quick: &(Header, Payloads), spi: [u8; 4]) -> Payloads {
        let (_, offered) = quick;
        let mut sa = SaPayload::decode(&Self::body(offered, PayloadType::SA)).expect("the victim encodes well");
        sa.proposals.truncate(1);
        sa.proposals[0].spi = spi.to_vec();
        sa.proposals[0].transforms.truncate(1);
        let mut answer = vec![
            (PayloadType::SA, sa.encode()),
            (PayloadType::NONCE, vec![0x72; 32]),
            (PayloadType::KE, self.publics[self.mine()].clone()),
        ];
        answer.extend(offered.iter().filter(|(kind, _)| *kind == PayloadType::ID).cloned());
        answer
    }

    /// Puts HASH(2) before these payloads and encrypts; the chain of blocks stays where it is.
    pub fn answer_quick(&mut self, quick: &(Header, Payloads), rest: Payloads) -> Vec<u8> {
        let (header, offered) = quick;
        let ni = Self::body(offered, PayloadType::NONCE);
        let skeyids = self.skeyids.as_ref().expect("keys are known");
        let proof = hash::quick2(HASH, &skeyids.a, header.message_id, &encode_chain(&rest), &ni);
        let payloads: Payloads = std::iter::once((PayloadType::HASH, proof)).chain(rest).collect();
        self.seal(ExchangeType::QUICK, header.message_id, &payloads, false)
    }

    /// The last message of a quick mode of ours, whose first had [`Self::quick_payloads`]' nonce.
    pub fn quick_last(&mut self, message_id: u32, nr: &[u8]) -> Vec<u8> {
        let skeyids = self.skeyids.as_ref().expect("keys are known");
        let proof = hash::quick3(HASH, &skeyids.a, message_id, &[0x6e; 32], nr);
        self.seal(ExchangeType::QUICK, message_id, &vec![(PayloadType::HASH, proof)], true)
    }

    /// As [`Self::send`], but nothing has time to be answered.
    pub fn inject_only(&mut self, datagram: Vec<u8>) {
        let from = self.world.nodes[1 - self.victim].socket();
        self.world.inject(self.victim, from, datagram);
    }

    /// In a world where much happened already: only what comes now is looked at.
    pub fn forget_seen(&mut self) {
        self.seen = self.world.captured.len();
    }

    /// Another initiator cookie, before anything was sent.
    pub fn set_cookie(&mut self, cookie: [u8; 8]) {
        let mine = self.mine();
        self.cookies[mine] = Cookie(cookie);
    }

    /// Both cookies, as DELETE and NOTIFY name an ISAKMP SA.
    pub fn cookie_pair(&self) -> Vec<u8> {
        self.cookies.map(|cookie| cookie.0).concat()
    }

    /// A message ID begins anew.
    pub fn forget_chain(&mut self, message_id: u32) {
        self.chains.remove(&message_id);
    }

    /// All of main mode, after which the victim has so many ISAKMP SAs.
    pub fn main_mode_counting(&mut self, sas: usize) {
        self.main_up_to(7);
        assert_eq!(self.victim_sas(), sas, "{}", self.world.log());
    }

    /// Tells the victim something under protection.
    pub fn inform(&mut self, message_id: u32, rest: Payloads) -> Vec<Vec<u8>> {
        let datagram = self.protect(ExchangeType::INFORMATIONAL, message_id, rest, false);
        self.send(datagram)
    }

    /// An input of the victim's own side.
    pub fn happen(&mut self, input: Input) {
        self.world.happen(self.victim, input);
    }
}
