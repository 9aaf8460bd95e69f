//! Protected informationals handed to an endpoint whose ISAKMP SAs were put in by hand: the peers' keys are ours.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use policy::model::algorithm::{AuthMethod, Cipher, Hash, SizedCipher};
use policy::model::identity::Identity;
use policy::model::remote::{ExchangeMode, Remote};
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::secret::Secret;
use policy::model::selector::Selector;

use super::Endpoint;
use crate::children::{Child, Outbound};
use crate::config::{Config, RemoteConfig, RemoteId};
use crate::context::Path;
use crate::crypto::hash::informational;
use crate::crypto::pure::PureProvider;
use crate::dpd;
use crate::event::question::CertificateId;
use crate::event::sa::{ChildId, Owner, SaName};
use crate::event::{Input, Now, Output};
use crate::informational::exchange::{connected_notify, delete_isakmp};
use crate::isakmp_sa::{IsakmpSa, Times};
use crate::message::{Cookies, Role, Sealer};
use crate::phase1::proof::initial_contact;
use crate::phase1::proposal::{duration, short};
use crate::phase2::exchange::SaFacts;
use crate::phase2::wish::ChildKey;
use crate::protection::Protection;
use crate::report::Event;
use crate::retransmit::Answered;
use crate::timer::{Phase1Id, Timer};
use crate::traits::{Nat, PeerTraits};
use crate::wire::attribute::Attribute;
use crate::wire::delete::DeletePayload;
use crate::wire::header::Cookie;
use crate::wire::notify::NotifyPayload;
use crate::wire::number::{ExchangeType, NotifyType, PayloadType, ProtocolId, life_type, phase1_attr, phase2_attr};

type Payload = (PayloadType, Vec<u8>);

/// An endpoint and the keys of its SAs.
struct Bench {
    endpoint: Endpoint,
    next_message: u32,
}

fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([192, 0, 2, last]), port)
}

fn name(name: &str) -> Identity {
    Identity::Fqdn(name.to_owned())
}

impl Bench {
    fn new() -> Self {
        let counter = AtomicU8::new(1);
        let random = move |out: &mut [u8]| out.fill_with(|| counter.fetch_add(1, Ordering::Relaxed));
        let mut endpoint = Endpoint::new(Arc::new(PureProvider::new(random)), Arc::new(Config::default()));
        endpoint.cx.now = Now { monotonic: Duration::from_secs(1000), wall: 0 };
        Self { endpoint, next_message: 1 }
    }

    /// An ISAKMP SA with `identity` at `peer`, which stands since `established` seconds and has a life of an hour.
    fn sa(&mut self, number: u8, peer: SocketAddr, identity: Identity, auth: AuthMethod, established: u64) -> Phase1Id {
        let id = self.endpoint.cx.phase1_id();
        let cookies = Cookies { initiator: Cookie([number; 8]), responder: Cookie([number + 100; 8]) };
        let cipher = SizedCipher { cipher: Cipher::Aes, key_bits: Some(128) };
        let sealer =
            Sealer { cipher, hash: Hash::Sha256, key: Secret::new(vec![number; 16]), last_block: vec![number; 16] };
        let key = Secret::new(vec![number; 32]);
        let protection = Protection { cookies, sealer, skeyid_a: key.clone(), skeyid_d: key };
        let path = Path { local: at(1, 500), peer };
        // Who signs has shown a certificate: a key without one stands for a place, see `contact`.
        let certificate = CertificateId { issuer_key: [7; 32], serial: vec![1] };
        let certificates = if auth.peer_signs() { vec![certificate] } else { Vec::new() };
        let owner = Owner {
            local: path.local,
            peer,
            identity,
            certificates,
            issuer: None,
            cookies: (cookies.initiator.0, cookies.responder.0),
        };
        let remote = RemoteConfig {
            id: RemoteId(0),
            remote: Remote::default(),
            my_identity: None,
            credential: None,
            raw_keys: Arc::default(),
            accepted_issuers: Vec::new(),
        };
        let facts = SaFacts {
            path,
            protection,
            remote: Arc::new(remote),
            owner: Arc::new(owner),
            traits: PeerTraits::default(),
            role: Role::Responder,
            mode: ExchangeMode::Main,
            auth,
            assigned: None,
            groups: Box::default(),
        };
        let established = Duration::from_secs(established);
        let life = Duration::from_secs(3600);
        let times = Times { began: established, established, established_wall: 0, expires: established + life };
        let sa = IsakmpSa::new(id, facts, Answered::default(), times);
        self.endpoint.enter_sa(sa, cookies, life, Role::Responder);
        id
    }

    /// A child made under an SA.
    fn child(&mut self, under: Phase1Id, spi: u32, state: Outbound) -> ChildId {
        let id = self.endpoint.cx.child_id();
        let sa = self.endpoint.sas.get(&under).unwrap();
        let (owner, established) = (Arc::clone(&sa.facts.owner), sa.established);
        let (local, peer) = (owner.local.ip(), owner.peer.ip());
        let outbound = Selector::hosts(local, peer);
        self.endpoint.enter_child(Child {
            id,
            key: ChildKey {
                local,
                peer,
                outbound,
                mode: Mode::Transport,
                protocol: Protocol::Esp,
                reqid: ReqId(spi),
                companions: Default::default(),
            },
            inbound: SaName { protocol: Protocol::Esp, spi: Spi(spi), src: peer, dst: local },
            outbound: SaName { protocol: Protocol::Esp, spi: Spi(spi + 1), src: local, dst: peer },
            beside: Vec::new(),
            owner,
            made_under: Some(under),
            role: Role::Responder,
            state,
            established,
            told: established,
            rekey_at: established + Duration::from_secs(3000),
            expires: established + Duration::from_secs(3600),
            policy_index: None,
            peer_is_xfrmd: false,
            replaced: false,
            encapsulation: None,
            nat: Nat::default(),
        });
        id
    }

    /// The peer of an SA sends these payloads in one informational; what comes of it.
    fn told(&mut self, under: Phase1Id, payloads: Vec<Payload>) -> Vec<Output> {
        self.next_message += 1;
        let octets = self.sealed(under, self.next_message, payloads);
        self.receive(under, octets)
    }

    fn sealed(&self, under: Phase1Id, message_id: u32, payloads: Vec<Payload>) -> Vec<u8> {
        let protection = &self.endpoint.sas.get(&under).unwrap().facts.protection;
        let mut chain = protection.chain(message_id);
        let hash = |rest: &[u8]| informational(Hash::Sha256, &protection.skeyid_a, message_id, rest);
        protection.seal(ExchangeType::INFORMATIONAL, &mut chain, payloads, hash).unwrap()
    }

    fn receive(&mut self, under: Phase1Id, octets: Vec<u8>) -> Vec<Output> {
        let path = self.endpoint.sas.get(&under).unwrap().facts.path;
        self.endpoint.handle(self.endpoint.cx.now, Input::Datagram { local: path.local, peer: path.peer, octets });
        let mut outputs = Vec::new();
        loop {
            match self.endpoint.poll() {
                Output::WakeAt(_) => return outputs,
                output => outputs.push(output),
            }
        }
    }

    fn stands(&self, id: Phase1Id) -> bool {
        self.endpoint.sas.get(&id).is_some_and(|sa| !sa.closed)
    }

    fn cookies(&self, id: Phase1Id) -> Cookies {
        self.endpoint.sas.get(&id).unwrap().facts.protection.cookies
    }
}

fn notify(protocol: ProtocolId, kind: NotifyType, spi: Vec<u8>, data: Vec<u8>) -> Payload {
    (PayloadType::NOTIFY, NotifyPayload { doi: 1, protocol, kind, spi, data }.encode())
}

fn contact(bench: &Bench, id: Phase1Id) -> Vec<Payload> {
    vec![(PayloadType::NOTIFY, initial_contact(bench.cookies(id)).encode())]
}

fn sends(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Send { .. })).count()
}

#[test]
fn initial_contact_ends_the_same_identity_elsewhere_and_nobody_else() {
    let mut bench = Bench::new();
    let rsa = AuthMethod::RsaSignature;
    let elsewhere = bench.sa(1, at(7, 4500), name("a.example"), rsa, 100);
    let child = bench.child(elsewhere, 0x1000, Outbound::Installed);
    let other = bench.sa(2, at(9, 500), name("b.example"), rsa, 100);
    let others = bench.child(other, 0x2000, Outbound::Installed);
    let new = bench.sa(3, at(9, 1024), name("a.example"), rsa, 900);
    let own = bench.child(new, 0x3000, Outbound::Installed);
    let message = contact(&bench, new);
    bench.told(new, message);
    assert!(!bench.stands(elsewhere) && bench.stands(other) && bench.stands(new));
    let exists = |id| bench.endpoint.children.get(id).is_some();
    assert_eq!([exists(child), exists(others), exists(own)], [false, true, true]);
    // Once only, whatever comes later.
    let later = bench.sa(4, at(7, 500), name("a.example"), rsa, 800);
    let message = contact(&bench, new);
    bench.told(new, message);
    assert!(bench.stands(later));
}

#[test]
fn an_identity_that_many_share_is_ended_at_its_own_place_only() {
    let mut bench = Bench::new();
    // Two clients with the same private address and the same key, behind two routers.
    let (private, psk) = (Identity::Address(IpAddr::from([10, 0, 0, 2])), AuthMethod::PreSharedKey);
    let neighbour = bench.sa(1, at(7, 4500), private.clone(), psk, 100);
    let before = bench.sa(2, at(9, 4500), private.clone(), psk, 100);
    let new = bench.sa(3, at(9, 1024), private, psk, 900);
    let message = contact(&bench, new);
    bench.told(new, message);
    assert_eq!([neighbour, before, new].map(|id| bench.stands(id)), [true, false, true]);
}

#[test]
fn a_shorter_life_is_kept_to_and_a_longer_one_is_not() {
    let mut bench = Bench::new();
    let id = bench.sa(1, at(9, 500), name("a.example"), AuthMethod::RsaSignature, 900);
    let child = bench.child(id, 0x1000, Outbound::Installed);
    let life = |kinds: (u16, u16), seconds: u64| {
        let value = duration(seconds);
        Attribute::encode_list(&[short(kinds.0, life_type::SECONDS), Attribute { kind: kinds.1, value }])
    };
    let phase1 = (phase1_attr::LIFE_TYPE, phase1_attr::LIFE_DURATION);
    let phase2 = (phase2_attr::LIFE_TYPE, phase2_attr::LIFE_DURATION);
    let kind = NotifyType::RESPONDER_LIFETIME;
    let cookies = bench.cookies(id).concat();
    let spi = 0x1001_u32.to_be_bytes().to_vec();
    for seconds in [100_000, 600, 0] {
        bench.told(id, vec![notify(ProtocolId::ISAKMP, kind, cookies.clone(), life(phase1, seconds))]);
        bench.told(id, vec![notify(ProtocolId::ESP, kind, spi.clone(), life(phase2, seconds))]);
    }
    let timers = &bench.endpoint.cx.timers;
    let until = Some(Duration::from_secs(1500));
    assert_eq!((timers.when(Timer::ExpirePhase1(id)), timers.when(Timer::ExpireChild(child))), (until, until));
    assert!(timers.when(Timer::RekeyPhase1(id)) < until && timers.when(Timer::RekeyChild(child)) < until);
    // Another SA's cookies, and garbage for attributes.
    bench.told(id, vec![notify(ProtocolId::ISAKMP, kind, vec![7; 16], life(phase1, 60))]);
    bench.told(id, vec![notify(ProtocolId::ISAKMP, kind, cookies, vec![0, 11, 0, 9])]);
    assert_eq!(bench.endpoint.cx.timers.when(Timer::ExpirePhase1(id)), until);
}

#[test]
fn connected_and_replay_status_and_unknown_notifies_do_no_harm() {
    let mut bench = Bench::new();
    let id = bench.sa(1, at(9, 500), name("a.example"), AuthMethod::RsaSignature, 900);
    let child = bench.child(id, 0x1000, Outbound::Installed);
    let inbound = bench.endpoint.children.get(child).unwrap().inbound;
    bench.told(id, vec![connected_notify(inbound)]);
    assert!(bench.endpoint.children.get(child).unwrap().carries(), "one that carries goes on");
    for kind in [NotifyType::REPLAY_STATUS, NotifyType(40_501), NotifyType(32_768), NotifyType(50_000)] {
        let outputs = bench.told(id, vec![notify(ProtocolId::ESP, kind, vec![0, 0, 16, 1], vec![0, 0, 0, 1])]);
        let told = |output: &Output| matches!(output, Output::Report(report) if report.event == Event::NotifyReceived { kind });
        assert_eq!((outputs.len(), outputs.iter().all(told)), (1, true), "{kind:?}: {outputs:?}");
    }
    assert!(bench.stands(id) && bench.endpoint.children.get(child).is_some());
}

#[test]
fn a_delete_of_the_general_doi_is_taken_from_unity_peers_only() {
    let mut bench = Bench::new();
    let id = bench.sa(1, at(9, 500), name("a.example"), AuthMethod::RsaSignature, 900);
    let child = bench.child(id, 0x1000, Outbound::Installed);
    let delete = |doi| {
        let spis = vec![0x1001_u32.to_be_bytes().to_vec()];
        vec![(PayloadType::DELETE, DeletePayload { doi, protocol: ProtocolId::ESP, spis }.encode())]
    };
    bench.told(id, delete(0));
    bench.told(id, delete(2));
    assert!(bench.endpoint.children.get(child).is_some());
    bench.endpoint.sas.get_mut(&id).unwrap().facts.traits.unity = true;
    bench.told(id, delete(0));
    assert!(bench.endpoint.children.get(child).is_none());
}

#[test]
fn payloads_behind_the_delete_of_their_own_sa_are_not_answered() {
    let mut bench = Bench::new();
    let id = bench.sa(1, at(9, 500), name("a.example"), AuthMethod::RsaSignature, 900);
    let cookies = bench.cookies(id);
    let probe = dpd::notify(NotifyType::R_U_THERE, cookies, 1);
    let outputs = bench.told(id, vec![delete_isakmp(cookies), delete_isakmp(cookies), probe]);
    assert!(!bench.stands(id));
    assert_eq!(sends(&outputs), 0, "{outputs:?}");
    let purges = |output: &Output| matches!(output, Output::Report(report) if matches!(report.event, Event::Phase1Purged { .. }));
    assert_eq!(outputs.iter().filter(|output| purges(output)).count(), 1, "{outputs:?}");
}

#[test]
fn probes_are_answered_once_each_and_never_with_a_lower_number() {
    let mut bench = Bench::new();
    let id = bench.sa(1, at(9, 500), name("a.example"), AuthMethod::RsaSignature, 900);
    let cookies = bench.cookies(id);
    let probe = |number| vec![dpd::notify(NotifyType::R_U_THERE, cookies, number)];
    let answers: Vec<usize> =
        [50, 50, 49, 51, 7, 0x7fff_ffff].iter().map(|number| sends(&bench.told(id, probe(*number)))).collect();
    assert_eq!(answers, [1, 0, 0, 1, 0, 1]);
    let stranger = Cookies { initiator: Cookie([9; 8]), ..cookies };
    assert_eq!(sends(&bench.told(id, vec![dpd::notify(NotifyType::R_U_THERE, stranger, 0xffff_0000)])), 0);
    assert_eq!(sends(&bench.told(id, vec![dpd::notify(NotifyType::R_U_THERE_ACK, cookies, 5)])), 0);
    // A datagram once more is answered with the same octets; with a bit flipped, not at all.
    let octets = bench.sealed(id, 777, probe(0x8000_0000));
    let first = format!("{:?}", bench.receive(id, octets.clone()).first().map(|_| ()));
    assert_eq!(first, "Some(())");
    assert_eq!(sends(&bench.receive(id, octets.clone())), 1);
    let mut damaged = octets;
    if let Some(octet) = damaged.last_mut() {
        *octet ^= 1;
    }
    assert_eq!(sends(&bench.receive(id, damaged)), 0);
}
