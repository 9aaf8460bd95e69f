//! NAT traversal without a network: a client whose address and ports are rewritten, a server, and what the two endpoints
//! make of it (RFC 3947, RFC 3948, drafts 02 and 03; IKEV1 NT-1 to NT-10).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, RemoteConfig};
use ike::endpoint::Endpoint;
use ike::event::command::Command;
use ike::event::policies::{Acquire, Companions, PolicyMatch};
use ike::event::sa::{ChildMove, SaDirection, SaInstall, SaName};
use ike::event::{Input, Now, Output};
use policy::model::remote::{ExchangeMode, NatTraversal, Rekey};
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::selector::Selector;
use tests::sim::node::{Settings, certificate, config, identity};
use tests::sim::provider::{ToyProvider, toy_key, toy_sign};

const CLIENT: usize = 0;
const SERVER: usize = 1;
const INSIDE: [u8; 4] = [10, 0, 0, 1];
const OUTSIDE: [u8; 4] = [203, 0, 113, 9];
const THERE: [u8; 4] = [192, 0, 2, 2];

/// One host.
struct Side {
    endpoint: Endpoint,
    key: ike::crypto::provider::RsaPublicKey,
    sas: BTreeMap<SaName, SaInstall>,
    moves: Vec<ChildMove>,
    lines: Vec<String>,
    keepalives: usize,
    next_spi: u32,
    wake_at: Option<Duration>,
}

/// What rewrites the client's address; `None` is a plain link.
struct Nat {
    ports: BTreeMap<u16, u16>,
    next_port: u16,
}

impl Nat {
    fn new() -> Self {
        Self { ports: BTreeMap::new(), next_port: 20_000 }
    }

    fn outward(&mut self, port: u16) -> SocketAddr {
        let next = &mut self.next_port;
        let outer = *self.ports.entry(port).or_insert_with(|| {
            *next += 1;
            *next
        });
        (OUTSIDE, outer).into()
    }

    fn inward(&self, outer: u16) -> Option<u16> {
        self.ports.iter().find(|(_, port)| **port == outer).map(|(inner, _)| *inner)
    }

    /// Every mapping is forgotten.
    fn rebind(&mut self) {
        self.ports.clear();
    }
}

type Tamper = fn(&mut Vec<u8>);

struct Desk {
    sides: [Side; 2],
    nat: Option<Nat>,
    now: Duration,
    queue: VecDeque<(usize, Input)>,
    /// Datagrams as the server saw them: from where, to which port of it, what.
    seen: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// Where the server's datagrams went.
    sent_to: Vec<SocketAddr>,
    /// Changes datagrams of either side on their way.
    tamper: Tamper,
}

fn adjusted(name: u8, adjust: &dyn Fn(usize, &mut RemoteConfig, &mut Config)) -> Config {
    let mut config = config(name, &Settings::default());
    let mut remote = (*config.remotes[0]).clone();
    remote.remote.nat_traversal = NatTraversal::On;
    adjust(usize::from(name) - 1, &mut remote, &mut config);
    config.remotes = vec![Arc::new(remote)];
    config
}

impl Desk {
    fn new(nat: Option<Nat>, adjust: impl Fn(usize, &mut RemoteConfig, &mut Config)) -> Self {
        let side = |name: u8| Side {
            endpoint: Endpoint::new(Arc::new(ToyProvider::new(u64::from(name))), Arc::new(adjusted(name, &adjust))),
            key: toy_key(name),
            sas: BTreeMap::new(),
            moves: Vec::new(),
            lines: Vec::new(),
            keepalives: 0,
            next_spi: u32::from(name) << 16,
            wake_at: None,
        };
        Self {
            sides: [side(1), side(2)],
            nat,
            now: Duration::from_secs(1),
            queue: VecDeque::new(),
            seen: Vec::new(),
            sent_to: Vec::new(),
            tamper: |_| {},
        }
    }

    fn behind_nat() -> Self {
        Self::new(Some(Nat::new()), |_, _, _| {})
    }

    fn address(&self, side: usize) -> IpAddr {
        if side == CLIENT { INSIDE.into() } else { THERE.into() }
    }

    /// The client as the server sees it.
    fn outer(&self) -> IpAddr {
        if self.nat.is_some() { OUTSIDE.into() } else { INSIDE.into() }
    }

    fn happen(&mut self, side: usize, input: Input) {
        self.queue.push_back((side, input));
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((side, input)) = self.queue.pop_front() {
            let now = Now { monotonic: self.now, wall: 1_800_000_000 + self.now.as_secs() };
            self.sides[side].endpoint.handle(now, input);
            loop {
                match self.sides[side].endpoint.poll() {
                    Output::WakeAt(at) => {
                        self.sides[side].wake_at = at;
                        break;
                    }
                    output => self.carry_out(side, output),
                }
            }
        }
    }

    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.sides.iter().filter_map(|side| side.wake_at).min().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            for side in [CLIENT, SERVER] {
                if self.sides[side].wake_at.is_some_and(|at| at <= self.now) {
                    self.happen(side, Input::Wake);
                }
            }
        }
        self.now = end;
    }

    fn answer(&mut self, side: usize, input: Input) {
        self.queue.push_back((side, input));
    }

    fn carry_out(&mut self, side: usize, output: Output) {
        match output {
            Output::Send { local, peer, mut octets } => {
                (self.tamper)(&mut octets);
                self.transmit(side, local, peer, octets);
            }
            Output::KeepAlive { .. } => self.sides[side].keepalives += 1,
            Output::AllocateSpi { job, .. } => {
                self.sides[side].next_spi += 1;
                let spi = Spi(self.sides[side].next_spi);
                self.answer(side, Input::SpiAllocated { job, result: Ok(spi) });
            }
            Output::InstallSa { job, sa } => {
                self.sides[side].sas.insert(sa.name, *sa);
                self.answer(side, Input::SaInstalled { job, result: Ok(()) });
            }
            Output::RemoveSa { sa } => {
                self.sides[side].sas.remove(&sa);
            }
            Output::MoveChild(moved) => {
                for (from, to) in [(moved.inbound, moved.child.inbound), (moved.outbound, moved.child.outbound)] {
                    if let Some(sa) = self.sides[side].sas.remove(&from) {
                        self.sides[side].sas.insert(to, sa);
                    }
                }
                self.sides[side].moves.push(*moved);
            }
            Output::Sign { job, octets, .. } => {
                let result = Ok(toy_sign(&self.sides[side].key, &octets));
                self.answer(side, Input::Signed { job, result });
            }
            Output::Judge { job, request } => {
                // The peer's certificate may be known without being sent.
                let name = [1, 2].into_iter().find(|name| identity(*name) == request.identity).unwrap();
                self.answer(side, Input::Judged { job, result: Ok(Arc::new(certificate(name))) });
            }
            Output::FindPolicy { job, query } => {
                let policy = Some(PolicyMatch {
                    protocol: Protocol::Esp,
                    reqid: ReqId(0),
                    companions: Companions::NONE,
                    outbound: query.outbound,
                });
                self.answer(side, Input::PolicyFound { job, policy });
            }
            Output::Report(report) => self.sides[side].lines.push(report.event.to_string()),
            Output::WakeAt(_)
            | Output::ReleaseHeld { .. }
            | Output::ForgetAcquire { .. }
            | Output::InstallPolicy { .. }
            | Output::MovePolicy { .. }
            | Output::RemovePolicy { .. } => {}
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }

    fn transmit(&mut self, side: usize, local: SocketAddr, peer: SocketAddr, octets: Vec<u8>) {
        if side == CLIENT {
            let from = self.nat.as_mut().map_or(local, |nat| nat.outward(local.port()));
            self.seen.push((from, peer, octets.clone()));
            return self.answer(SERVER, Input::Datagram { local: peer, peer: from, octets });
        }
        self.sent_to.push(peer);
        let to = match &self.nat {
            Some(nat) => nat.inward(peer.port()).filter(|_| peer.ip() == IpAddr::from(OUTSIDE)),
            None => Some(peer.port()),
        };
        if let Some(port) = to {
            let inner = SocketAddr::new(INSIDE.into(), port);
            self.answer(CLIENT, Input::Datagram { local: inner, peer: local, octets });
        }
    }

    fn acquire(&mut self, mode: Mode) {
        let (local, peer) = (self.address(CLIENT), self.address(SERVER));
        let flow = Selector::hosts(local, peer);
        let acquire = Acquire {
            flow,
            policy: flow,
            policy_index: 1,
            local,
            peer,
            protocol: Protocol::Esp,
            mode,
            reqid: ReqId(0),
            companions: Companions::NONE,
        };
        self.happen(CLIENT, Input::Acquire(acquire));
        self.advance(Duration::from_secs(2));
    }

    fn sa(&self, side: usize, direction: SaDirection) -> &SaInstall {
        let mut found = self.sides[side].sas.values().filter(|sa| sa.direction == direction);
        found.next_back().unwrap_or_else(|| panic!("no {direction:?} SA: {}", self.story()))
    }

    /// Source and destination port of an SA, if it goes in UDP.
    fn ports(&self, side: usize, direction: SaDirection) -> Option<(u16, u16)> {
        self.sa(side, direction).encapsulation.map(|udp| (udp.src_port, udp.dst_port))
    }

    fn said(&self, side: usize, words: &str) -> bool {
        self.sides[side].lines.iter().any(|line| line.contains(words))
    }

    fn story(&self) -> String {
        format!("client {:#?}\nserver {:#?}", self.sides[CLIENT].lines, self.sides[SERVER].lines)
    }

    fn mapped(&self, inner: u16) -> u16 {
        self.nat.as_ref().unwrap().ports[&inner]
    }

    fn rekey(&mut self, side: usize) {
        let sa = self.sa(side, SaDirection::Inbound).name;
        self.happen(side, Input::SaExpired { sa, hard: false });
    }
}

#[test]
fn nat_is_found_and_both_modes_go_in_udp_at_the_ports_of_the_isakmp_sa() {
    for (mode, modes) in [(Mode::Transport, "ENC_MODE 2->4"), (Mode::Tunnel, "ENC_MODE 1->3")] {
        let mut desk = Desk::behind_nat();
        desk.acquire(mode);
        let outer = desk.mapped(4500);
        assert_eq!(desk.ports(CLIENT, SaDirection::Outbound), Some((4500, 4500)), "{}", desk.story());
        assert_eq!(desk.ports(SERVER, SaDirection::Outbound), Some((4500, outer)));
        assert_eq!(desk.ports(SERVER, SaDirection::Inbound), Some((outer, 4500)));
        let outbound = desk.sa(SERVER, SaDirection::Outbound);
        assert_eq!(outbound.name.dst, IpAddr::from(OUTSIDE));
        let original = outbound.encapsulation.unwrap().original_address;
        assert_eq!(original, (mode == Mode::Transport).then_some(IpAddr::from(INSIDE)), "NAT-OA");
        assert_eq!(outbound.owner.peer, SocketAddr::new(desk.outer(), outer));
        if mode == Mode::Transport {
            // The IDs name the private address, the SA the one that this side sees (IKEV1 ID-6).
            assert_eq!(outbound.selector, Selector::hosts(THERE.into(), OUTSIDE.into()));
        }
        for words in ["Selected NAT-T version: RFC 3947", "NAT detected: ME ", "NAT-D payload #0 doesn't match", modes]
        {
            assert!(desk.said(CLIENT, words), "{words}: {}", desk.story());
        }
        assert!(desk.said(CLIENT, "NAT-T: ports changed to: 10.0.0.1[4500]<->192.0.2.2[4500]"));
        assert!(desk.said(SERVER, "NAT detected: PEER") && desk.said(SERVER, "NAT-D payload #0 verified"));
    }
}

/// The vendor IDs of the RFC and of draft 03.
const NEWER: [[u8; 16]; 2] = [
    [0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45, 0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45, 0x2f],
    [0x7d, 0x94, 0x19, 0xa6, 0x53, 0x10, 0xca, 0x6f, 0x2c, 0x17, 0x9d, 0x92, 0x15, 0x52, 0x9d, 0x56],
];

fn hide(octets: &mut [u8], vendor_ids: &[[u8; 16]]) {
    for vendor in vendor_ids {
        if let Some(at) = octets.windows(16).position(|window| window == vendor) {
            octets[at..at + 16].fill(0);
        }
    }
}

#[test]
fn drafts_have_numbers_of_their_own() {
    let older: [(Tamper, &str); 2] = [
        (|octets| hide(octets, &NEWER[..1]), "draft-ietf-ipsec-nat-t-ike-03"),
        (|octets| hide(octets, &NEWER), "draft-ietf-ipsec-nat-t-ike-02"),
    ];
    for (tamper, name) in older {
        for (mode, modes) in [(Mode::Transport, "ENC_MODE 2->61444"), (Mode::Tunnel, "ENC_MODE 1->61443")] {
            let mut desk = Desk::behind_nat();
            desk.tamper = tamper;
            desk.acquire(mode);
            assert!(desk.said(SERVER, &format!("Selected NAT-T version: {name}")), "{}", desk.story());
            assert!(desk.said(SERVER, modes) && desk.said(SERVER, "NAT detected: PEER"), "{}", desk.story());
            assert_eq!(desk.ports(SERVER, SaDirection::Outbound), Some((4500, desk.mapped(4500))));
        }
    }
}

/// The hashes of the third message are of the addresses that it runs between.
#[test]
fn aggressive_mode_floats_with_its_third_message() {
    let mut desk = Desk::new(Some(Nat::new()), |_, remote, _| {
        remote.remote.exchange_modes = vec![ExchangeMode::Aggressive];
    });
    desk.acquire(Mode::Tunnel);
    let outer = desk.mapped(4500);
    assert_eq!(desk.ports(SERVER, SaDirection::Outbound), Some((4500, outer)), "{}", desk.story());
    assert!(desk.said(CLIENT, "NAT detected: ME ") && desk.said(SERVER, "NAT detected: PEER"), "{}", desk.story());
    let third = desk.seen.get(1).expect("AM3");
    assert_eq!((third.0.port(), third.1.port()), (outer, 4500));
    parts_in_good_order(&mut desk);
}

#[test]
fn without_a_nat_nothing_changes() {
    let mut desk = Desk::new(None, |_, _, _| {});
    desk.acquire(Mode::Transport);
    assert!(desk.said(CLIENT, "NAT not detected ") && desk.said(SERVER, "NAT not detected "), "{}", desk.story());
    assert_eq!((desk.ports(CLIENT, SaDirection::Outbound), desk.ports(SERVER, SaDirection::Inbound)), (None, None));
    assert!(desk.seen.iter().all(|(from, to, _)| (from.port(), to.port()) == (500, 500)));
}

#[test]
fn one_side_that_does_not_want_it_is_enough() {
    for unwilling in [CLIENT, SERVER] {
        let mut desk = Desk::new(None, |side, remote, _| {
            if side == unwilling {
                remote.remote.nat_traversal = NatTraversal::Off;
            }
        });
        desk.acquire(Mode::Transport);
        assert!(!desk.said(CLIENT, "NAT") && !desk.said(SERVER, "NAT"), "{}", desk.story());
        assert_eq!(desk.ports(CLIENT, SaDirection::Outbound), None);
    }
}

#[test]
fn force_needs_no_nat_and_moves_to_the_port_all_the_same() {
    for forcing in [CLIENT, SERVER] {
        let mut desk = Desk::new(None, |side, remote, _| {
            if side == forcing {
                remote.remote.nat_traversal = NatTraversal::Force;
            }
        });
        desk.acquire(Mode::Tunnel);
        for side in [CLIENT, SERVER] {
            assert_eq!(desk.ports(side, SaDirection::Outbound), Some((4500, 4500)), "{}", desk.story());
        }
        assert!(desk.said(forcing, "(NAT-T forced)"), "{}", desk.story());
    }
}

/// Does the server reach the client by IKE at its present port?
fn parts_in_good_order(desk: &mut Desk) {
    let peer = desk.sa(SERVER, SaDirection::Outbound).name.dst;
    desk.happen(SERVER, Input::Command(Command::Down { peer }));
    desk.advance(Duration::from_secs(1));
    assert!(desk.sides[CLIENT].sas.is_empty(), "the DELETE did not arrive: {}", desk.story());
}

#[test]
fn kernel_s_mapping_moves_sas_and_isakmp_sa() {
    let mut desk = Desk::behind_nat();
    desk.acquire(Mode::Tunnel);
    let nat = desk.nat.as_mut().unwrap();
    nat.rebind();
    let moved = nat.outward(4500);
    let sa = desk.sa(SERVER, SaDirection::Inbound).name;
    desk.happen(SERVER, Input::MappingChanged { sa, peer: moved });
    let child = &desk.sides[SERVER].moves.last().expect("a move").child;
    let udp = child.encapsulation.unwrap();
    assert_eq!((udp.src_port, udp.dst_port, child.owner.peer), (4500, moved.port(), moved));
    assert!(desk.said(SERVER, "the peer has moved behind its NAT"));
    // Told twice, it is done once.
    desk.happen(SERVER, Input::MappingChanged { sa, peer: moved });
    assert_eq!(desk.sides[SERVER].moves.len(), 1);
    parts_in_good_order(&mut desk);
}

#[test]
fn another_address_takes_the_transport_selector_along() {
    let mut desk = Desk::behind_nat();
    desk.acquire(Mode::Transport);
    let (inbound, outbound) = (desk.sa(SERVER, SaDirection::Inbound).name, desk.sa(SERVER, SaDirection::Outbound).name);
    let elsewhere: SocketAddr = ([198, 51, 100, 77], 40_000).into();
    desk.happen(SERVER, Input::MappingChanged { sa: inbound, peer: elsewhere });
    let ChildMove { inbound: was_in, outbound: was_out, child } = desk.sides[SERVER].moves[0].clone();
    assert_eq!((was_in, was_out), (inbound, outbound));
    assert_eq!((child.inbound.src, child.outbound.dst), (elsewhere.ip(), elsewhere.ip()));
    assert_eq!(child.selector, Selector::hosts(THERE.into(), elsewhere.ip()));
    assert_eq!((child.inbound.spi, child.outbound.spi), (inbound.spi, outbound.spi));
}

#[test]
fn side_without_a_nat_is_never_moved() {
    let mut desk = Desk::behind_nat();
    desk.acquire(Mode::Tunnel);
    let sa = desk.sa(CLIENT, SaDirection::Inbound).name;
    desk.happen(CLIENT, Input::MappingChanged { sa, peer: ([198, 51, 100, 66], 4500).into() });
    assert!(desk.sides[CLIENT].moves.is_empty() && !desk.said(CLIENT, "moved"), "{}", desk.story());
    parts_in_good_order(&mut desk);
}

#[test]
fn authentic_ike_from_another_port_moves_everything() {
    let mut desk = Desk::behind_nat();
    desk.acquire(Mode::Tunnel);
    let before = desk.mapped(4500);
    desk.nat.as_mut().unwrap().rebind();
    desk.rekey(CLIENT);
    desk.advance(Duration::from_secs(1));
    let after = desk.mapped(4500);
    assert_ne!(before, after);
    let moved = desk.sides[SERVER].moves.first().expect("the older child moves");
    assert_eq!(moved.child.encapsulation.unwrap().dst_port, after);
    assert_eq!(desk.ports(SERVER, SaDirection::Outbound), Some((4500, after)), "the new one: {}", desk.story());
    parts_in_good_order(&mut desk);
}

#[test]
fn what_was_sent_before_moves_nobody() {
    let mut desk = Desk::behind_nat();
    desk.acquire(Mode::Tunnel);
    for _ in 0..3 {
        desk.rekey(CLIENT);
        desk.advance(Duration::from_secs(20));
    }
    // Everything the client ever sent under protection, from somewhere else.
    let thief: SocketAddr = ([198, 51, 100, 66], 4500).into();
    for (_, to, octets) in desk.seen.clone().into_iter().filter(|(_, to, _)| to.port() == 4500) {
        desk.happen(SERVER, Input::Datagram { local: to, peer: thief, octets: octets.clone() });
        let mut damaged = octets;
        *damaged.last_mut().unwrap() ^= 1;
        damaged[20] ^= 0x55;
        desk.happen(SERVER, Input::Datagram { local: to, peer: thief, octets: damaged });
    }
    assert!(desk.sides[SERVER].moves.is_empty() && !desk.said(SERVER, "moved"), "{}", desk.story());
    parts_in_good_order(&mut desk);
}

#[test]
fn nothing_comes_from_elsewhere_without_a_nat() {
    let mut desk = Desk::new(None, |_, _, _| {});
    desk.acquire(Mode::Transport);
    desk.rekey(CLIENT);
    let (_, to, octets) = desk.seen.last().cloned().unwrap();
    let sent = desk.sent_to.len();
    desk.happen(SERVER, Input::Datagram { local: to, peer: ([198, 51, 100, 66], 500).into(), octets });
    assert_eq!(desk.sent_to.len(), sent, "not even a duplicate is answered");
}

#[test]
fn only_the_side_behind_the_nat_sends_keepalives_and_stops_with_the_last_sa() {
    let mut desk = Desk::behind_nat();
    desk.acquire(Mode::Tunnel);
    desk.advance(Duration::from_secs(101));
    assert_eq!((desk.sides[CLIENT].keepalives, desk.sides[SERVER].keepalives), (5, 0));
    assert!(desk.said(CLIENT, "KA list add: 10.0.0.1[4500]->192.0.2.2[4500]"));
    desk.happen(CLIENT, Input::Command(Command::DownAll));
    desk.advance(Duration::from_secs(60));
    assert_eq!(desk.sides[CLIENT].keepalives, 5);
    assert!(desk.said(CLIENT, "KA remove: 10.0.0.1[4500]->192.0.2.2[4500]"));
}

/// ATTACKS A-11: what comes and goes leaves no timer behind.
#[test]
fn a_thousand_tunnels_up_and_down_leave_nothing() {
    let mut desk = Desk::behind_nat();
    for _ in 0..1000 {
        desk.acquire(Mode::Tunnel);
        desk.happen(CLIENT, Input::Command(Command::DownAll));
        desk.advance(Duration::from_secs(30));
        for side in &mut desk.sides {
            assert!(side.sas.is_empty());
            side.lines.clear();
        }
        desk.seen.clear();
    }
    for side in &desk.sides {
        let sizes = side.endpoint.sizes();
        assert_eq!(sizes.timers, 0, "{sizes:?}");
    }
}

#[test]
fn no_keepalives_if_the_configuration_wants_none() {
    let mut desk = Desk::new(Some(Nat::new()), |_, _, config| config.timers.natt_keepalive = Duration::ZERO);
    desk.acquire(Mode::Tunnel);
    desk.advance(Duration::from_secs(100));
    assert_eq!(desk.sides[CLIENT].keepalives, 0);
}

#[test]
fn server_renews_at_the_port_that_the_nat_has_opened() {
    let mut desk = Desk::new(Some(Nat::new()), |_, remote, _| {
        remote.remote.rekey = Rekey::Off;
        for proposal in &mut remote.remote.proposals {
            proposal.lifetime.time = Duration::from_secs(60);
        }
    });
    desk.acquire(Mode::Tunnel);
    let outer = desk.mapped(4500);
    // The ISAKMP SA ends; the client's port 500 was mapped for a moment only.
    desk.advance(Duration::from_secs(120));
    desk.nat.as_mut().unwrap().ports.remove(&500);
    let before = desk.sa(SERVER, SaDirection::Outbound).name.spi;
    desk.rekey(SERVER);
    desk.advance(Duration::from_secs(2));
    assert_ne!(desk.sa(SERVER, SaDirection::Outbound).name.spi, before, "{}", desk.story());
    assert_eq!(desk.ports(SERVER, SaDirection::Outbound), Some((4500, outer)));
    assert!(desk.sent_to.iter().rev().take(3).all(|to| to.port() == outer));
}
