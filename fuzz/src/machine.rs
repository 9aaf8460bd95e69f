//! The whole state machine before a peer that holds the keys and does what its octets say: legal steps, legal steps with
//! something changed, anything at all behind the right encryption, replays, floods of pieces, time, and the word of the
//! kernel and the operator, in any order.
//!
//! What must hold: nothing panics; tables stay bounded; nobody is let in who proved nothing; when all is taken down
//! nothing is left; and the next legal peer comes through.
//!
//! Used by the fuzz target beside, and by the property tests of the workspace (`tests/tests/machine.rs`).

use std::net::SocketAddr;
use std::time::Duration;

use ike::event::command::Command;
use ike::event::question::CertificateId;
use ike::event::{Input, JobId};
use ike::wire::delete::DeletePayload;
use ike::wire::fragment::FragmentPayload;
use ike::wire::header::Header;
use ike::wire::message::{encode_chain, encode_message};
use ike::wire::notify::NotifyPayload;
use ike::wire::number::{ExchangeType, Flags, NotifyType, PayloadType, ProtocolId};
use policy::model::algorithm::{AuthMethod, XauthSide};
use policy::model::remote::{Dpd, ExchangeMode, IkeFrag, NatTraversal};
use policy::model::sa::Spi;

use crate::sim::node::{PASSWORD, Settings, USER};
use crate::sim::puppet::{Begins, Payloads, Puppet};

/// Steps of one game.
const MOST_STEPS: usize = 48;

/// Octets as decisions; when they are used up, every decision is zero.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.octet()) % limit.max(1)
    }

    fn octets(&mut self) -> Vec<u8> {
        let wanted = self.below(64).min(self.0.len());
        let (taken, rest) = self.0.split_at(wanted);
        self.0 = rest;
        taken.to_vec()
    }

    fn exchange(&mut self) -> ExchangeType {
        use ExchangeType as Type;
        match self.below(8) {
            0 | 1 => Type::INFORMATIONAL,
            2 | 3 => Type::QUICK,
            4 => Type::TRANSACTION,
            5 => Type::MAIN,
            6 => Type::AGGRESSIVE,
            _ => Type(self.octet()),
        }
    }

    /// Few message IDs, so that they meet again.
    fn message_id(&mut self) -> u32 {
        self.below(6) as u32
    }

    /// A chain of anything.
    fn payloads(&mut self) -> Payloads {
        let count = self.below(5);
        (0..count).map(|_| (PayloadType(self.octet()), self.octets())).collect()
    }

    /// Changes a chain in one to three places.
    fn change(&mut self, payloads: &mut Payloads) {
        for _ in 0..=self.below(3) {
            let (at, how) = (self.below(payloads.len()), self.below(9));
            if how == 8 || payloads.is_empty() {
                payloads.insert(at, (PayloadType(self.octet()), self.octets()));
                continue;
            }
            let (place, value) = (self.octet(), self.octet());
            let Some((kind, body)) = payloads.get_mut(at) else { continue };
            match how {
                0 => drop(payloads.remove(at)),
                1 => {
                    let again = payloads[at].clone();
                    payloads.insert(at, again);
                }
                2 => payloads.swap(at, 0),
                3 => *kind = PayloadType(value),
                4 => body.truncate(usize::from(place)),
                5 => body.extend(vec![value; usize::from(place)]),
                6 => *body = self.octets(),
                _ => {
                    let place = usize::from(place) % body.len().max(1);
                    body.iter_mut().skip(place).take(1).for_each(|octet| *octet ^= value);
                }
            }
        }
    }
}

/// What the victim is configured with.
fn settings(number: usize) -> Settings {
    let psk = AuthMethod::PreSharedKey;
    let watching =
        Dpd { offered: true, delay: Duration::from_secs(10), retry: Duration::from_secs(2), max_failures: 3 };
    let plain = Settings::default();
    match number {
        0 => plain,
        1 => Settings { auth: psk, ..plain },
        2 => Settings { auth: AuthMethod::XauthPsk(XauthSide::Client), ..plain },
        3 => Settings { auth: psk, exchange: ExchangeMode::Aggressive, ..plain },
        4 => Settings { exchange: ExchangeMode::Aggressive, ike_frag: IkeFrag::On, ..plain },
        _ => Settings { dpd: watching, nat_traversal: NatTraversal::On, ike_frag: IkeFrag::Force, ..plain },
    }
}

struct Game {
    puppet: Puppet,
    settings: Settings,
    /// Legal messages of phase 1 that were sent.
    sent: usize,
    /// A proof that was ours, or nearly, went out: from here on there may be an ISAKMP SA.
    proved: bool,
    /// The password went out.
    logged_in: bool,
    /// The puppet's certificate is no longer good.
    revoked: bool,
    /// Handshakes begun.
    cookies: u8,
    /// Message IDs of legal exchanges.
    legal: u32,
    /// The victim's quick mode that waits for an answer.
    asked: Option<(Header, Payloads)>,
}

/// Plays one game.
pub fn play(octets: &[u8]) {
    let mut choices = Choices(octets);
    let settings = settings(choices.below(6));
    let begins = if choices.below(2) == 0 { Begins::Puppet } else { Begins::Victim };
    let puppet = Puppet::new(&settings, begins, 1);
    let mut game = Game {
        puppet,
        settings,
        sent: 0,
        proved: false,
        logged_in: false,
        revoked: false,
        cookies: 1,
        legal: 1000,
        asked: None,
    };
    let first = game.puppet.sent_meanwhile();
    game.hear(&first);
    for _ in 0..MOST_STEPS {
        if choices.0.is_empty() {
            break;
        }
        game.step(&mut choices);
        game.holds();
    }
    game.ends(begins);
}

impl Game {
    fn aggressive(&self) -> bool {
        self.settings.exchange == ExchangeMode::Aggressive
    }

    fn hear(&mut self, sent: &[Vec<u8>]) {
        self.puppet.take_in(sent);
        for datagram in sent {
            let quick = Header::decode(datagram).is_ok_and(|header| header.exchange == ExchangeType::QUICK);
            if quick && let Some(read) = self.puppet.try_open(datagram) {
                self.asked = Some(read);
            }
        }
    }

    fn send(&mut self, datagram: Vec<u8>) {
        let sent = self.puppet.send(datagram);
        self.hear(&sent);
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(18) {
            0..=2 => self.phase1(choices, false),
            3 => self.phase1(choices, true),
            4 => self.quick(choices, false),
            5 => self.quick(choices, true),
            6 => self.answer(choices),
            7 => self.inform(choices),
            8 => self.transact(choices),
            9 => self.anything(choices),
            10 => self.replay(choices),
            11 => self.pieces(choices),
            12 => self.kernel(choices),
            13 => self.operator(choices),
            14 => self.begin_anew(),
            15 => {
                let raw = choices.octets();
                self.send_from_anywhere(choices, raw);
            }
            _ => {
                let seconds = 1_u64 << choices.below(16);
                self.puppet.world.run(self.puppet.world.now + Duration::from_secs(seconds));
                let sent = self.puppet.sent_meanwhile();
                self.hear(&sent);
            }
        }
    }

    /// The next message of phase 1, as it is or changed.
    fn phase1(&mut self, choices: &mut Choices<'_>, changed: bool) {
        let mine = if self.puppet.initiates() { 1 } else { 2 };
        let number = mine + 2 * self.sent;
        let last = if self.aggressive() { 3 } else { 6 };
        // Later messages need keys, and an answer's SA the victim's offer.
        if number > last || (number > 3 - usize::from(self.aggressive()) && self.puppet.skeyids.is_none()) {
            return;
        }
        if !self.puppet.initiates() && !self.puppet.was_offered() {
            return;
        }
        self.proved |= number >= if self.aggressive() { 2 } else { 5 };
        let (exchange, mut payloads) = if self.aggressive() {
            (ExchangeType::AGGRESSIVE, self.puppet.aggressive_payloads(number))
        } else {
            (ExchangeType::MAIN, self.puppet.main_payloads(number))
        };
        if changed {
            choices.change(&mut payloads);
        } else {
            self.sent += 1;
        }
        let counts = !changed || choices.below(2) == 0;
        let sealed = if self.aggressive() { number == 3 && choices.below(2) == 0 } else { number >= 5 };
        let datagram = if sealed {
            self.puppet.seal(exchange, 0, &payloads, counts)
        } else {
            self.puppet.clear(exchange, 0, &payloads)
        };
        self.send(datagram);
    }

    fn begin_anew(&mut self) {
        if !self.puppet.initiates() {
            return;
        }
        self.cookies = self.cookies.wrapping_add(1).max(1);
        self.puppet.begin_anew([0xc0, self.cookies, 2, 3, 4, 5, 6, 7]);
        (self.sent, self.asked) = (0, None);
    }

    /// A quick mode of ours.
    fn quick(&mut self, choices: &mut Choices<'_>, changed: bool) {
        if self.puppet.skeyids.is_none() {
            return;
        }
        self.legal += 1;
        let message_id = if changed { choices.message_id() } else { self.legal };
        let proposal = self.puppet.esp_proposal([0xc0, 0, choices.octet(), choices.octet()]);
        let mut rest = self.puppet.quick_payloads(vec![proposal]);
        if changed {
            choices.change(&mut rest);
        }
        let first = self.puppet.protect(ExchangeType::QUICK, message_id, rest, true);
        let sent = self.puppet.send(first);
        self.puppet.take_in(&sent);
        let read = sent.iter().find_map(|datagram| {
            let of_this = |header: Header| header.exchange == ExchangeType::QUICK && header.message_id == message_id;
            Header::decode(datagram).is_ok_and(of_this).then(|| self.puppet.try_open(datagram)).flatten()
        });
        let nonce = |(_, payloads): &(Header, Payloads)| {
            payloads.iter().find(|(kind, _)| *kind == PayloadType::NONCE).map(|(_, body)| body.clone())
        };
        if let Some(nr) = read.as_ref().and_then(nonce)
            && choices.below(4) != 3
        {
            let last = self.puppet.quick_last(message_id, &nr);
            self.send(last);
        }
    }

    /// The answer to a quick mode of the victim's.
    fn answer(&mut self, choices: &mut Choices<'_>) {
        let Some(asked) = self.asked.take() else { return };
        let holds = |kind| asked.1.iter().any(|(found, _)| *found == kind);
        // It may be an answer or a last message as well.
        if self.puppet.skeyids.is_none() || !holds(PayloadType::SA) || !holds(PayloadType::NONCE) {
            return;
        }
        let mut rest = self.puppet.answer_payloads(&asked, [0xc0, 1, choices.octet(), choices.octet()]);
        if choices.below(2) == 1 {
            choices.change(&mut rest);
            self.asked = Some(asked.clone());
        }
        let datagram = self.puppet.answer_quick(&asked, rest);
        self.send(datagram);
    }

    /// Informationals: what peers say, as it is or changed.
    fn inform(&mut self, choices: &mut Choices<'_>) {
        if self.puppet.skeyids.is_none() {
            return;
        }
        let pair = self.puppet.cookie_pair();
        let notify = |protocol, kind, spi: &[u8], data: Vec<u8>| {
            (PayloadType::NOTIFY, NotifyPayload { doi: 1, protocol, kind, spi: spi.to_vec(), data }.encode())
        };
        let delete = |protocol, spis| (PayloadType::DELETE, DeletePayload { doi: 1, protocol, spis }.encode());
        let spis = self.spis();
        let spi = spis.get(choices.below(spis.len())).copied().unwrap_or([0xc0, 0, 0, 1]);
        let sequence = vec![0, 0, 0, choices.octet()];
        let mut payloads = vec![match choices.below(8) {
            0 => delete(ProtocolId::ISAKMP, vec![pair]),
            1 => delete(ProtocolId::ESP, vec![spi.to_vec()]),
            2 => delete(ProtocolId::ESP, spis.iter().map(|spi| spi.to_vec()).collect()),
            3 => notify(ProtocolId::ISAKMP, NotifyType::INITIAL_CONTACT, &pair, Vec::new()),
            4 => notify(ProtocolId::ISAKMP, NotifyType::R_U_THERE, &pair, sequence),
            5 => notify(ProtocolId::ISAKMP, NotifyType::R_U_THERE_ACK, &pair, sequence),
            6 => notify(ProtocolId::ESP, NotifyType::RESPONDER_LIFETIME, &spi, vec![0x80, 1, 0, 1, 0x80, 2, 0, 60]),
            _ => notify(ProtocolId::ISAKMP, NotifyType(u16::from(choices.octet())), &pair, choices.octets()),
        }];
        payloads.extend(choices.payloads());
        if choices.below(2) == 1 {
            choices.change(&mut payloads);
        }
        let message_id = choices.message_id();
        let datagram = self.puppet.protect(ExchangeType::INFORMATIONAL, message_id, payloads, false);
        self.send(datagram);
    }

    /// Outbound SPIs of the victim's kernel.
    fn spis(&self) -> Vec<[u8; 4]> {
        let sas = &self.puppet.world.nodes[self.puppet.victim].kernel.sas;
        sas.keys().map(|name| name.spi.0.to_be_bytes()).collect()
    }

    /// Attributes of logins and configurations.
    fn transact(&mut self, choices: &mut Choices<'_>) {
        if self.puppet.skeyids.is_none() {
            return;
        }
        let mut body = vec![choices.below(5) as u8, 0, choices.octet(), choices.octet()];
        for _ in 0..choices.below(5) {
            let (number, value): (u16, Vec<u8>) = match choices.below(8) {
                0 => (16521, USER.into()),
                1 => {
                    self.logged_in = true;
                    (16522, PASSWORD.to_vec())
                }
                2 => (16527, vec![0, choices.octet()]),
                3 => (1, vec![10, 7, 0, choices.octet()]),
                4 => (u16::from(choices.octet()), choices.octets()),
                5 => (28672 + u16::from(choices.octet() % 16), choices.octets()),
                6 => (16520 + u16::from(choices.octet() % 12), choices.octets()),
                _ => (u16::from_be_bytes([choices.octet(), choices.octet()]), choices.octets()),
            };
            body.extend(number.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(value);
        }
        let message_id = choices.message_id();
        let datagram = self.puppet.protect(ExchangeType::TRANSACTION, message_id, vec![(PayloadType(14), body)], true);
        self.send(datagram);
    }

    /// Any chain, in clear, encrypted, or encrypted with the right HASH before it.
    fn anything(&mut self, choices: &mut Choices<'_>) {
        let (exchange, message_id, payloads) = (choices.exchange(), choices.message_id(), choices.payloads());
        let how = if self.puppet.skeyids.is_none() { 0 } else { choices.below(3) };
        let datagram = match how {
            0 => self.puppet.clear(exchange, message_id, &payloads),
            1 => self.puppet.seal(exchange, message_id, &payloads, false),
            _ => self.puppet.protect(exchange, message_id, payloads, false),
        };
        self.send(datagram);
    }

    /// Something that was sent comes again, perhaps with a bit flipped, perhaps from elsewhere, perhaps to its own sender.
    fn replay(&mut self, choices: &mut Choices<'_>) {
        let captured = &self.puppet.world.captured;
        let at = usize::from(u16::from_be_bytes([choices.octet(), choices.octet()])) % captured.len().max(1);
        let Some((_, octets)) = captured.get(at) else { return };
        let mut octets = octets.clone();
        if choices.below(2) == 1 {
            let place = usize::from(u16::from_be_bytes([choices.octet(), choices.octet()])) % octets.len().max(1);
            let bit = choices.below(8);
            octets.iter_mut().skip(place).take(1).for_each(|octet| *octet ^= 1 << bit);
        }
        self.send_from_anywhere(choices, octets);
    }

    fn send_from_anywhere(&mut self, choices: &mut Choices<'_>, octets: Vec<u8>) {
        match choices.below(3) {
            0 => self.send(octets),
            1 => drop(self.puppet.world.inject(
                self.puppet.victim,
                SocketAddr::new([203, 0, 113, choices.octet()].into(), 500),
                octets,
            )),
            _ => {
                let peer = self.puppet.world.nodes[1 - self.puppet.victim].addr;
                drop(self.puppet.world.inject(self.puppet.victim, SocketAddr::new(peer, 4500), octets));
            }
        }
    }

    /// The pieces of a message, in some order, some twice, some not at all.
    fn pieces(&mut self, choices: &mut Choices<'_>) {
        let mut payloads = choices.payloads();
        payloads.push((PayloadType::VENDOR, vec![choices.octet(); 200]));
        let exchange = choices.exchange();
        let whole = if self.puppet.skeyids.is_some() && choices.below(2) == 0 {
            self.puppet.protect(exchange, 77, payloads, false)
        } else {
            self.puppet.clear(exchange, 0, &payloads)
        };
        let Ok(header) = Header::decode(&whole) else { return };
        let framed = Header { next: PayloadType::FRAGMENT, flags: Flags::NONE, ..header };
        let count = choices.below(6) + 1;
        let chunks: Vec<&[u8]> = whole.chunks(whole.len().div_ceil(count)).collect();
        for _ in 0..choices.below(12) {
            let (at, odd) = (choices.below(chunks.len()), choices.octet());
            let number = if odd % 16 == 1 { odd } else { at as u8 + 1 };
            let is_last = at + 1 == chunks.len() || odd % 16 == 2;
            let piece = FragmentPayload { id: u16::from(odd % 3) + 1, number, is_last, data: chunks[at] };
            let chain = encode_chain(&[(PayloadType::FRAGMENT, piece.encode())]);
            self.send(encode_message(framed, &chain));
        }
    }

    /// What a kernel may say, true or not.
    fn kernel(&mut self, choices: &mut Choices<'_>) {
        let victim = self.puppet.victim;
        let names: Vec<_> = self.puppet.world.nodes[victim].kernel.sas.keys().copied().collect();
        let sa = names.get(choices.below(names.len())).copied();
        let job = JobId(u64::from(choices.octet()));
        let input = match (choices.below(8), sa) {
            (0, Some(sa)) => Input::SaExpired { sa, hard: false },
            (1, Some(sa)) => Input::SaExpired { sa, hard: true },
            (2, Some(sa)) => {
                self.puppet.world.nodes[victim].kernel.remove(&sa);
                Input::SaDeleted { sa }
            }
            (3, Some(sa)) => Input::MappingChanged { sa, peer: SocketAddr::new([203, 0, 113, 9].into(), 4500) },
            (4, _) => Input::SpiAllocated { job, result: Ok(Spi(0xdead_0001)) },
            (5, _) => Input::SaInstalled { job, result: Err("no such algorithm".to_owned()) },
            (6, _) => Input::TrafficSeen { job, packets: 1 },
            _ => return self.puppet.world.acquire(victim),
        };
        self.puppet.happen(input);
    }

    fn operator(&mut self, choices: &mut Choices<'_>) {
        let world = &mut self.puppet.world;
        let (local, peer) = (world.nodes[self.puppet.victim].addr, world.nodes[1 - self.puppet.victim].addr);
        let command = match choices.below(8) {
            0 => Command::Up { local, peer },
            1 => Command::Down { peer },
            2 => Command::DownAll,
            3 => Command::DropIsakmp,
            4 => Command::DropChildren { protocol: None, outbound: None },
            5 => {
                self.revoked = true;
                let serial = vec![2 - self.puppet.victim as u8];
                Command::Revoke { certificate: CertificateId { issuer_key: [9; 32], serial } }
            }
            6 => {
                self.revoked = false;
                Command::Unrevoke { serial: vec![2 - self.puppet.victim as u8], issuer_key: None }
            }
            _ => {
                let settings = self.settings;
                return world.reconfigure(self.puppet.victim, &settings);
            }
        };
        self.puppet.happen(Input::Command(command));
    }

    /// What must hold after each step.
    fn holds(&self) {
        let node = &self.puppet.world.nodes[self.puppet.victim];
        let sizes = node.endpoint.sizes();
        let bounded = sizes.handshakes <= 80
            && sizes.half_open <= 64
            && sizes.isakmp_sas <= 64
            && sizes.children <= 64
            && sizes.quick_modes <= 64
            && sizes.timers <= 400
            && sizes.fragment_octets <= 256 * 1024
            && sizes.leases <= 4;
        assert!(bounded, "unbounded: {sizes:?}\n{}", self.puppet.world.log());
        if !self.proved {
            assert_eq!(sizes.isakmp_sas, 0, "an ISAKMP SA without a proof\n{}", self.puppet.world.log());
        }
        if !self.proved || (self.settings.auth.xauth().is_some() && !self.logged_in && self.puppet.initiates()) {
            assert!(node.kernel.sas.is_empty(), "SAs for nobody\n{}", self.puppet.world.log());
        }
    }

    /// Everything is taken down: nothing is left. Then the next peer comes.
    fn ends(mut self, begins: Begins) {
        let victim = self.puppet.victim;
        let end = self.puppet.world.now + Duration::from_secs(1200);
        self.puppet.happen(Input::Command(Command::DownAll));
        self.puppet.world.run(end);
        self.puppet.happen(Input::Command(Command::DownAll));
        self.puppet.world.run(end + Duration::from_secs(60));
        assert_eq!(self.puppet.world.check_nothing_left_of(victim), Ok(()), "{}", self.puppet.world.log());
        if begins == Begins::Puppet && !self.revoked {
            self.puppet.forget_seen();
            self.puppet.begin_anew([0xee; 8]);
            self.sent = 0;
            for _ in 0..3 {
                self.phase1(&mut Choices(&[]), false);
            }
            assert_eq!(self.puppet.victim_sas(), 1, "the legal peer stays out\n{}", self.puppet.world.log());
        }
    }
}
