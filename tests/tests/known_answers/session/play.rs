//! Plays a session with our endpoint as one side and compares every message it sends with the recorded one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ike::config::{Config, Credential, KeyHandle, RemoteConfig, RemoteId};
use ike::crypto::hash::{hash_i, hash_r};
use ike::crypto::provider::{PublicKey, RsaPublicKey};
use ike::endpoint::Endpoint;
use ike::event::command::Command;
use ike::event::policies::{Acquire, Companions, PolicyMatch};
use ike::event::question::{CertificateId, PeerCertificate};
use ike::event::sa::{SaDirection, SaInstall, SaName};
use ike::event::{Input, Now, Output};
use ike::wire::cert::CertPayload;
use ike::wire::header::Header;
use ike::wire::identification::IdPayload;
use ike::wire::number::{ExchangeType, PayloadType};
use ike::wire::sa::SaPayload;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use policy::model::addr::host_net;
use policy::model::algorithm::AuthMethod;
use policy::model::identity::Identity;
use policy::model::lifetime::Lifetime;
use policy::model::proposal::{Phase1Proposal, ProposalCheck};
use policy::model::remote::{ExchangeMode, Remote};
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::sainfo::{Esn, Sainfo, SainfoId};
use policy::model::selector::Selector;
use tests::recording::{ec_public_key, public_key};

use super::peer::{Payloads, Peer};
use super::provider::{NONCE, Recorded};
use super::{QuickSuite, Session, Side};
use crate::replay::Message;

/// The key that signs anew for a recorded responder.
static RESIGNING: LazyLock<Rsa<Private>> = LazyLock::new(|| Rsa::generate(2048).unwrap());

/// What a session gave.
pub struct Outcome {
    pub installed: Vec<SaInstall>,
    pub removed: Vec<SaName>,
    /// Messages of ours that were compared.
    pub compared: usize,
}

pub struct Play<'a> {
    session: &'a Session,
    ours: Side,
    endpoint: Endpoint,
    provider: Arc<Recorded>,
    peer: Peer<'a>,
    now: Duration,
    wake: Option<Duration>,
    spis: VecDeque<u32>,
    sent: VecDeque<Vec<u8>>,
    outcome: Outcome,
    /// SA body of the first message as it was sent.
    sa_i: Vec<u8>,
    /// Recorded message IDs and those that stand for them now.
    message_ids: Vec<(u32, u32)>,
    quick_modes_begun: usize,
    down: bool,
    /// Every datagram of the peer is sent again so often after it was answered.
    repeats: usize,
}

fn config(session: &Session, ours: Side) -> Config {
    let QuickSuite { cipher, integrity, group, life, .. } = session.quick_suite();
    let mode = if session.is_aggressive() { ExchangeMode::Aggressive } else { ExchangeMode::Main };
    let remote = Remote {
        exchange_modes: vec![mode],
        nonce_size: NONCE,
        send_cr: false,
        initial_contact: session.tells_initial_contact(),
        proposal_check: ProposalCheck::Exact,
        proposals: vec![Phase1Proposal {
            cipher: session.cipher,
            hash: session.hash,
            auth: session.auth(ours),
            group: session.group(),
            lifetime: Lifetime { time: Duration::from_secs(session.phase1_life()), kilobytes: None },
        }],
        ..Remote::default()
    };
    let certificates = session.bodies(ours, PayloadType::CERT);
    let credential = (!certificates.is_empty()).then(|| Credential {
        key: KeyHandle(1),
        chain: certificates.iter().map(|body| CertPayload::decode(body).unwrap().data).collect(),
        subject: Vec::new(),
        issuers: Vec::new(),
    });
    let keys = session.psk.map(|psk| format!("* {psk}\n{} {psk}\n", session.address(ours.other()))).unwrap_or_default();
    Config {
        psks: policy::psk::parse("psk.txt", keys.as_bytes()).table,
        remotes: vec![Arc::new(RemoteConfig {
            id: RemoteId(0),
            remote,
            my_identity: Some(session.identity(ours)),
            credential,
            raw_keys: Arc::default(),
            accepted_issuers: Vec::new(),
        })],
        sainfos: vec![Sainfo {
            local: SainfoId::Anonymous,
            remote: SainfoId::Anonymous,
            from: None,
            group: None,
            pfs_group: group,
            lifetime: Lifetime { time: Duration::from_secs(life), kilobytes: None },
            ciphers: vec![cipher],
            integrity: vec![integrity],
            remote_id: 0,
            esn: Esn::Off,
            allow_weak: false,
        }],
        ..Config::default()
    }
}

impl<'a> Play<'a> {
    pub fn new(session: &'a Session, ours: Side) -> Self {
        let provider = Arc::new(Recorded::new(session, ours));
        Self {
            session,
            ours,
            endpoint: Endpoint::new(Arc::clone(&provider) as _, Arc::new(config(session, ours))),
            provider,
            peer: Peer::new(session),
            now: Duration::ZERO,
            wake: None,
            spis: session.spis(ours).into(),
            sent: VecDeque::new(),
            outcome: Outcome { installed: Vec::new(), removed: Vec::new(), compared: 0 },
            sa_i: session.bodies(Side::Initiator, PayloadType::SA)[0].clone(),
            message_ids: vec![(0, 0)],
            quick_modes_begun: 0,
            down: false,
            repeats: 0,
        }
    }

    /// Every message of the peer comes so often again.
    pub fn repeating(mut self, repeats: usize) -> Self {
        self.repeats = repeats;
        self
    }

    /// From the first message to the last.
    pub fn run(mut self) -> Outcome {
        let session = self.session;
        for message in &session.messages {
            if message.from == self.ours.name() {
                self.expect(message);
            } else {
                self.feed(message);
            }
        }
        let name = &session.name;
        assert_eq!(self.provider.left(), 0, "{name}: recorded values that were not used");
        self.outcome
    }

    fn handle(&mut self, input: Input) {
        self.endpoint.handle(Now { monotonic: self.now, wall: 1_800_000_000 }, input);
        loop {
            match self.endpoint.poll() {
                Output::WakeAt(at) => {
                    self.wake = at;
                    return;
                }
                output => self.carry_out(output),
            }
        }
    }

    fn pass(&mut self, until: Duration) {
        while let Some(at) = self.wake.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.handle(Input::Wake);
        }
        self.now = until;
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { octets, .. } => self.sent.push_back(octets),
            Output::AllocateSpi { job, .. } => {
                let spi = self.spis.pop_front().expect("no more SPIs than recorded");
                self.answer(Input::SpiAllocated { job, result: Ok(Spi(spi)) });
            }
            Output::InstallSa { job, sa } => {
                self.outcome.installed.push(*sa);
                self.answer(Input::SaInstalled { job, result: Ok(()) });
            }
            Output::RemoveSa { sa } => self.outcome.removed.push(sa),
            Output::Sign { job, octets, .. } => {
                assert_eq!(octets, self.proof_of(self.ours), "{}: what is signed", self.session.name);
                let recorded = self.session.bodies(self.ours, PayloadType::SIG)[0].clone();
                self.answer(Input::Signed { job, result: Ok(recorded) });
            }
            Output::Judge { job, request } => {
                let leaf = request.certificates.first().expect("a certificate");
                let on_curve = self.session.auth(self.ours) == AuthMethod::EcdsaP256;
                let public_key: PublicKey = match (self.resigned(), on_curve) {
                    (true, _) => resigning_key().into(),
                    (false, true) => PublicKey::Ec(ec_public_key(leaf)),
                    (false, false) => public_key(leaf).into(),
                };
                self.answer(Input::Judged { job, result: Ok(Arc::new(certificate(public_key))) });
            }
            Output::FindPolicy { job, query } => {
                let policy = Some(PolicyMatch {
                    protocol: Protocol::Esp,
                    reqid: ReqId(0),
                    companions: Companions::NONE,
                    outbound: query.outbound,
                });
                self.answer(Input::PolicyFound { job, policy });
            }
            Output::Report(report) => println!("{:?} {:?} {}", self.now, report.level, report.event),
            Output::ReleaseHeld { .. } | Output::ForgetAcquire { .. } | Output::WakeAt(_) => {}
            other => panic!("{}: nothing recorded asks for {other:?}", self.session.name),
        }
    }

    /// Questions are answered at once, but not from within the drain.
    fn answer(&mut self, input: Input) {
        let now = Now { monotonic: self.now, wall: 1_800_000_000 };
        self.endpoint.handle(now, input);
    }

    /// Our SA payload differs from the recorded one in the order of attributes: the responder's proof is made anew.
    fn resigned(&self) -> bool {
        self.ours == Side::Initiator
    }

    /// HASH_I or HASH_R.
    fn proof_of(&self, side: Side) -> Vec<u8> {
        let publics = self.session.publics();
        let transcript = self.session.transcript(&publics, &self.sa_i);
        let id = &self.session.bodies(side, PayloadType::ID)[0];
        let hash = if side == Side::Initiator { hash_i } else { hash_r };
        hash(self.session.hash, &self.session.skeyids.base, &transcript, id)
    }

    /// A message of the peer as recorded, under the keys of now.
    fn feed(&mut self, message: &Message) {
        let recorded = message.header.message_id;
        let mut payloads: Payloads = message.payloads.clone();
        if recorded == 0 {
            for (kind, body) in &mut payloads {
                match *kind {
                    PayloadType::HASH => *body = self.proof_of(self.ours.other()),
                    PayloadType::SIG if self.resigned() => *body = sign(&self.proof_of(self.ours.other())),
                    _ => {}
                }
            }
        }
        let known = self.message_ids.iter().find(|(theirs, _)| *theirs == recorded).map(|(_, now)| *now);
        let message_id = known.unwrap_or(recorded);
        let datagram = self.peer.seal(Header { message_id, ..message.header }, payloads);
        let before = self.sent.len();
        self.deliver(datagram.clone());
        let answers: Vec<Vec<u8>> = self.sent.iter().skip(before).cloned().collect();
        for _ in 0..self.repeats {
            let so_far = self.sent.len();
            self.deliver(datagram.clone());
            // A resent message is answered octet by octet as before or not at all: no chain of blocks moves on.
            for again in self.sent.drain(so_far..) {
                assert!(answers.contains(&again), "{}: a new answer to an old message", self.session.name);
            }
        }
    }

    fn deliver(&mut self, octets: Vec<u8>) {
        let socket = |side| SocketAddr::new(self.session.address(side), 500);
        self.handle(Input::Datagram { local: socket(self.ours), peer: socket(self.ours.other()), octets });
        // Other makes get a grace before the outbound SA.
        self.pass(self.now + Duration::from_millis(60));
    }

    /// The next message of ours has to be the recorded one.
    fn expect(&mut self, recorded: &Message) {
        self.prompt(recorded);
        let name = &self.session.name;
        let exchange = recorded.header.exchange;
        let (header, ours) = loop {
            let datagram = self.sent.pop_front().unwrap_or_else(|| panic!("{name}: we send no {exchange:?}"));
            let (header, ours) = self.peer.open(&datagram);
            // Beyond the recording we tell that we know of nothing earlier, once.
            if header.exchange == ExchangeType::INFORMATIONAL && exchange != ExchangeType::INFORMATIONAL {
                assert_eq!(
                    ours.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
                    [PayloadType::HASH, PayloadType::NOTIFY]
                );
                continue;
            }
            break (header, ours);
        };
        assert_eq!(header.exchange, exchange, "{name}");
        assert_eq!(header.flags, recorded.header.flags, "{name}");
        if recorded.header.message_id != 0 && !self.message_ids.iter().any(|(id, _)| *id == recorded.header.message_id)
        {
            self.message_ids.push((recorded.header.message_id, header.message_id));
        }
        if let Some((_, body)) = ours.iter().find(|(kind, _)| *kind == PayloadType::SA)
            && header.message_id == 0
            && self.ours == Side::Initiator
        {
            self.sa_i.clone_from(body);
        }
        let in_phase1 = header.message_id == 0;
        if in_phase1 && let Some((_, hash)) = ours.iter().find(|(kind, _)| *kind == PayloadType::HASH) {
            assert_eq!(*hash, self.proof_of(self.ours), "{name}: our proof in phase 1");
        }
        assert_eq!(essence(&ours), essence(&recorded.payloads), "{name}: {header:?}");
        self.outcome.compared += 1;
    }

    /// What makes our side begin the exchange of this message.
    fn prompt(&mut self, recorded: &Message) {
        let begins = |id: u32, known: &[(u32, u32)]| !known.iter().any(|(theirs, _)| *theirs == id);
        let id = recorded.header.message_id;
        if self.ours == Side::Responder && recorded.header.exchange != ExchangeType::TRANSACTION {
            return;
        }
        match recorded.header.exchange {
            ExchangeType::MAIN | ExchangeType::AGGRESSIVE if self.outcome.compared == 0 => self.acquire(),
            ExchangeType::QUICK if begins(id, &self.message_ids) => {
                self.quick_modes_begun += 1;
                // The first follows phase 1 by itself, the second renews it.
                if self.quick_modes_begun == 2 {
                    self.pass(self.now + Duration::from_secs(2));
                    let outbound = |sa: &&SaInstall| sa.direction == SaDirection::Outbound;
                    let sa = self.outcome.installed.iter().find(outbound).expect("an outbound SA").name;
                    self.handle(Input::SaExpired { sa, hard: false });
                }
            }
            ExchangeType::INFORMATIONAL => {
                // The replaced child goes by itself, the rest with the operator.
                self.pass(self.now + Duration::from_secs(5));
                if self.sent.is_empty() && !self.down {
                    self.down = true;
                    self.handle(Input::Command(Command::Down { peer: self.session.address(self.ours.other()) }));
                }
            }
            _ => {}
        }
    }

    fn acquire(&mut self) {
        let ids: Vec<Selector> = self.selectors();
        let tunnel = self.session.quick_suite().tunnel;
        self.handle(Input::Acquire(Acquire {
            flow: ids[0],
            policy: ids[0],
            policy_index: 1,
            local: self.session.address(Side::Initiator),
            peer: self.session.address(Side::Responder),
            protocol: Protocol::Esp,
            mode: if tunnel { Mode::Tunnel } else { Mode::Transport },
            reqid: ReqId(0),
            companions: Companions::NONE,
        }));
    }

    fn selectors(&self) -> Vec<Selector> {
        let first = self.session.quick_firsts()[0];
        let ids: Vec<_> = first
            .payloads
            .iter()
            .filter(|(kind, _)| *kind == PayloadType::ID)
            .map(|(_, body)| match IdPayload::decode(body).unwrap().to_identity().unwrap() {
                Identity::Address(addr) => host_net(addr),
                Identity::Subnet(net) => net,
                other => panic!("{other:?}"),
            })
            .collect();
        vec![Selector::between(ids[0], ids[1])]
    }
}

/// What must be equal: everything but what depends on the implementation (vendor IDs, certificate requests), on the ports
/// (NAT-D), and proofs, which are checked on their own. Attributes have no order.
fn essence(payloads: &Payloads) -> Vec<(u8, String)> {
    let left_out = [PayloadType::VENDOR, PayloadType::CERTREQ, PayloadType::HASH, PayloadType::NAT_D];
    let mut list: Vec<(u8, String)> = payloads
        .iter()
        .filter(|(kind, _)| !left_out.contains(kind))
        .map(|(kind, body)| {
            let words = match *kind {
                PayloadType::SA => {
                    let mut sa = SaPayload::decode(body).unwrap();
                    for proposal in &mut sa.proposals {
                        // charon counts from 0 or 1 as it likes.
                        proposal.number = 1;
                        for transform in &mut proposal.transforms {
                            transform.number = 1;
                            transform.attributes.sort_by_key(|attribute| attribute.kind);
                        }
                    }
                    format!("{sa:?}")
                }
                _ => format!("{body:02x?}"),
            };
            (kind.0, words)
        })
        .collect();
    list.sort();
    list
}

fn resigning_key() -> RsaPublicKey {
    RsaPublicKey { modulus: RESIGNING.n().to_vec(), exponent: RESIGNING.e().to_vec() }
}

/// PKCS#1 v1.5 without DigestInfo (RFC 2409 §5.1).
fn sign(hash: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; RESIGNING.size() as usize];
    RESIGNING.private_encrypt(hash, &mut signature, Padding::PKCS1).unwrap();
    signature
}

fn certificate(public_key: PublicKey) -> PeerCertificate {
    PeerCertificate {
        der: Vec::new(),
        public_key,
        chain: vec![CertificateId { issuer_key: [1; 32], serial: vec![1] }],
        subject: "/CN=peer".to_owned(),
        issuer: "/CN=ca".to_owned(),
        not_after: u64::MAX,
        warnings: Vec::new(),
    }
}
