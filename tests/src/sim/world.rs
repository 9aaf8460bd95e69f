//! Virtual time: what happens when, and what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ike::endpoint::status::Sizes;
use ike::event::policies::{Acquire, Companions, PolicyMatch};
use ike::event::question::{Account, Rejection, RejectionKind};
use ike::event::sa::{SaDirection, SaInstall, SaName};
use ike::event::{Input, Now, Output};
use ike::report::Report;
use policy::model::identity::Identity;
use policy::model::sa::{Mode, Protocol, ReqId};
use policy::model::selector::Selector;

use super::kernel::Limit;
use super::label::{Label, Labels};
use super::link::{Fate, Fates, Impairment};
use super::nat::Nat;
use super::node::{Node, PASSWORD, Settings, USER, certificate, identity};
use super::provider::toy_sign;
use super::random::Random;

/// Unix time of the beginning.
const EPOCH: u64 = 1_800_000_000;

/// Two nodes and everything between them.
pub struct World {
    /// The nodes, number 1 and 2.
    pub nodes: [Node; 2],
    /// What the link does to datagrams.
    pub impairment: Impairment,
    /// Time that keys and judges need beyond the usual moment.
    pub work: Duration,
    /// Nodes whose kernel has no policy but those that the core makes.
    pub without_policies: [bool; 2],
    /// Virtual time.
    pub now: Duration,
    /// Lines of both nodes, in order.
    pub reports: Vec<(usize, Duration, Report)>,
    /// Test packets sent, and those that reached the other node.
    pub sent: u64,
    /// See `sent`.
    pub arrived: u64,
    /// Datagrams sent by both nodes.
    pub datagrams: u64,
    /// What they were, with the sender: kept with the reports.
    pub captured: Vec<(usize, Vec<u8>)>,
    /// Their labels, as far as they are ISAKMP messages: kept with the reports.
    pub labels: Vec<Label>,
    /// The NAT before node 1.
    pub nat: Option<Nat>,
    /// Decides about single datagrams, before `impairment` does.
    pub fates: Option<Fates>,
    labelling: Labels,
    either_may_begin: bool,
    random: Random,
    due: BTreeMap<(Duration, u64), (usize, Input)>,
    wake: [Option<Duration>; 2],
    order: u64,
    keep_reports: bool,
}

impl World {
    /// Two nodes that know each other's configuration and nothing else yet.
    pub fn new(settings: &Settings, seed: u64) -> Self {
        Self {
            nodes: [Node::new(1, settings, seed), Node::new(2, settings, seed)],
            impairment: Impairment::default(),
            work: Duration::ZERO,
            without_policies: [false; 2],
            now: Duration::ZERO,
            reports: Vec::new(),
            sent: 0,
            arrived: 0,
            datagrams: 0,
            captured: Vec::new(),
            labels: Vec::new(),
            fates: None,
            nat: settings.behind_nat.then(Nat::default),
            labelling: Labels::default(),
            either_may_begin: settings.either_may_begin(),
            random: Random::new(seed),
            due: BTreeMap::new(),
            wake: [None; 2],
            order: 0,
            keep_reports: false,
        }
    }

    /// Keeps every line: for a run that is to be read.
    #[must_use]
    pub fn with_reports(mut self) -> Self {
        self.keep_reports = true;
        self
    }

    /// Lets `input` happen to a node now.
    pub fn happen(&mut self, node: usize, input: Input) {
        self.at(node, Duration::ZERO, input);
    }

    fn at(&mut self, node: usize, delay: Duration, input: Input) {
        self.order += 1;
        self.due.insert((self.now + delay, self.order), (node, input));
    }

    /// Lets time pass until `end`, with a packet from each node to the other every `gap`.
    pub fn run_with_traffic(&mut self, end: Duration, gap: Duration) {
        while self.now < end {
            for node in 0..2 {
                self.packet(node);
            }
            let next = (self.now + gap).min(end);
            self.run(next);
        }
    }

    /// Lets time pass until `end`.
    pub fn run(&mut self, end: Duration) {
        loop {
            let event = self.due.keys().next().map(|(at, _)| *at);
            let wake = self.wake.iter().flatten().min().copied();
            let Some(next) = event.into_iter().chain(wake).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if let Some(node) = (0..2).find(|node| self.wake[*node].is_some_and(|at| at <= self.now)) {
                self.wake[node] = None;
                self.deliver(node, Input::Wake);
            } else if let Some((_, (node, input))) = self.due.pop_first() {
                self.deliver(node, input);
            }
        }
        self.now = self.now.max(end);
        for node in 0..2 {
            for limit in self.nodes[node].kernel.tick(end) {
                let (sa, hard) = match limit {
                    Limit::Soft(sa) => (sa, false),
                    Limit::Hard(sa) => (sa, true),
                };
                self.deliver(node, Input::SaExpired { sa, hard });
            }
        }
    }

    /// Hands a datagram to a node as if it came from `peer`; gives what the node sends in the same moment.
    pub fn inject(&mut self, node: usize, peer: SocketAddr, octets: Vec<u8>) -> Vec<Vec<u8>> {
        let before = self.captured.len();
        let local = self.nodes[node].socket();
        self.deliver(node, Input::Datagram { local, peer, octets });
        self.captured.get(before..).unwrap_or_default().iter().map(|(_, octets)| octets.clone()).collect()
    }

    fn clock(&self) -> Now {
        Now { monotonic: self.now, wall: EPOCH + self.now.as_secs() }
    }

    /// Hands an input over and carries out what comes of it.
    fn deliver(&mut self, node: usize, input: Input) {
        let now = self.clock();
        self.nodes[node].endpoint.handle(now, input);
        loop {
            match self.nodes[node].endpoint.poll() {
                Output::WakeAt(at) => {
                    self.wake[node] = at;
                    return;
                }
                output => self.carry_out(node, output),
            }
        }
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        let soon = Duration::from_micros(100 + self.random.below(400));
        match output {
            Output::Send { local, peer, octets } => self.transmit(local, peer, &octets),
            Output::AllocateSpi { job, request } => {
                let spi = self.nodes[node].kernel.allocate(request, self.now);
                self.at(node, soon, Input::SpiAllocated { job, result: Ok(spi) });
            }
            Output::InstallSa { job, sa } => {
                let result = self.nodes[node].kernel.install(*sa, self.now);
                self.at(node, soon, Input::SaInstalled { job, result });
            }
            Output::RemoveSa { sa } => self.nodes[node].kernel.remove(&sa),
            Output::MoveChild(moved) => self.nodes[node].kernel.relocate(&moved),
            Output::Sign { job, octets, .. } => {
                let result = Ok(toy_sign(&self.nodes[node].key, &octets));
                self.at(node, soon * 10 + self.work, Input::Signed { job, result });
            }
            Output::Judge { job, request } => {
                let result = judge(&request.identity, &request.certificates);
                self.at(node, soon * 10 + self.work, Input::Judged { job, result });
            }
            Output::FindPolicy { job, query } => {
                let wanted = Selector::hosts(query.local, query.peer);
                let there = match self.without_policies[node] {
                    true => self.nodes[node].kernel.generated.contains(&query.outbound),
                    false => query.outbound == wanted && query.mode == Mode::Transport,
                };
                let policy = there.then_some(PolicyMatch {
                    protocol: Protocol::Esp,
                    reqid: ReqId(0),
                    companions: Companions::NONE,
                    outbound: query.outbound,
                });
                self.at(node, soon, Input::PolicyFound { job, policy });
            }
            Output::InstallPolicy { job, policy } => {
                let fresh = self.nodes[node].kernel.generated.insert(policy.outbound);
                let result = if fresh { Ok(ReqId(0)) } else { Err("File exists".to_owned()) };
                self.at(node, soon, Input::PolicyInstalled { job, policy, result });
            }
            Output::MovePolicy { outbound, policy, .. } => {
                let generated = &mut self.nodes[node].kernel.generated;
                generated.remove(&outbound);
                generated.insert(policy.outbound);
            }
            Output::RemovePolicy { outbound } => {
                self.nodes[node].kernel.generated.remove(&outbound);
            }
            Output::KeepAlive { local, .. } => {
                if let Some(nat) = self.nat.as_mut().filter(|_| node == 0) {
                    nat.outward(local);
                    nat.keepalives += 1;
                }
            }
            Output::QueryTraffic { job, sas } => {
                let packets = self.nodes[node].kernel.packets(&sas);
                self.at(node, soon, Input::TrafficSeen { job, packets });
            }
            Output::Report(report) => {
                if self.keep_reports {
                    self.reports.push((node, self.now, report));
                }
            }
            Output::CheckPassword { job, check } => {
                let good = check.user == USER && check.password.expose() == PASSWORD;
                let result = if good { Ok(Account::default()) } else { Err("wrong password".to_owned()) };
                self.at(node, soon * 10, Input::PasswordChecked { job, result });
            }
            Output::ForgetAcquire { .. } => self.nodes[node].last_acquire = None,
            Output::RunHook(_) | Output::ReleaseHeld { .. } | Output::WakeAt(_) => {}
        }
    }

    fn transmit(&mut self, local: SocketAddr, peer: SocketAddr, octets: &[u8]) {
        self.datagrams += 1;
        let from = usize::from(self.nodes[1].addr == local.ip());
        let mut fate = Fate::Pass;
        if self.keep_reports {
            self.captured.push((from, octets.to_vec()));
        }
        if (self.keep_reports || self.fates.is_some())
            && let Some(label) = self.labelling.label(from, octets)
        {
            fate = self.fates.as_mut().map_or(Fate::Pass, |fates| fates(&label));
            if self.keep_reports {
                self.labels.push(label);
            }
        }
        let (mut source, mut destination) = (local, peer);
        if let Some(nat) = &mut self.nat {
            if from == 0 {
                source = nat.outward(local);
            } else if let Some(inside) = nat.inward(peer) {
                destination = inside;
            } else {
                return;
            }
        }
        let Some(to) = (0..2).find(|node| self.nodes[*node].addr == destination.ip()) else { return };
        let (copies, later) = match fate {
            Fate::Pass => (1, Duration::ZERO),
            Fate::Lose => return,
            Fate::Twice => (2, Duration::ZERO),
            Fate::Late(later) => (1, later),
        };
        for _ in 0..copies {
            for (delay, octets) in self.impairment.apply(octets, &mut self.random) {
                self.at(to, delay + later, Input::Datagram { local: destination, peer: source, octets });
            }
        }
    }

    /// Sends a packet from a node to the other: by the newest outbound SA, or an acquire if there is none.
    pub fn packet(&mut self, node: usize) {
        self.sent += 1;
        match self.nodes[node].kernel.outbound().map(|standing| standing.sa.clone()) {
            Some(sa) => self.esp(node, &sa),
            // Nobody reaches node 1 through its NAT unasked, nor before it has logged in.
            None if node == 1 && !self.either_may_begin => {}
            None => self.acquire(node),
        }
    }

    fn esp(&mut self, node: usize, sa: &SaInstall) {
        let mut source = sa.encapsulation.map(|udp| SocketAddr::new(sa.name.src, udp.src_port));
        if let Some(nat) = &mut self.nat {
            // Bare ESP does not get through.
            let Some(udp) = sa.encapsulation else { return };
            if node == 0 {
                source = source.map(|inside| nat.outward(inside));
            } else if nat.inward(SocketAddr::new(sa.name.dst, udp.dst_port)).is_none() {
                return;
            }
        }
        let name = self.named_across(sa.name);
        let Some(taken) = self.nodes[1 - node].kernel.taker(&name, sa) else { return };
        taken.packets += 1;
        self.arrived += 1;
        let known = taken.sa.encapsulation.map(|udp| SocketAddr::new(taken.sa.name.src, udp.src_port));
        if let Some(peer) = source.filter(|_| known != source) {
            self.happen(1 - node, Input::MappingChanged { sa: name, peer });
        }
    }

    /// The name that a node has for an SA of the other.
    fn named_across(&self, name: SaName) -> SaName {
        if self.nat.is_some() { Nat::other_side(name, self.nodes[0].addr) } else { name }
    }

    /// The kernel asks for an SA, unless it did within the last 30 seconds.
    pub fn acquire(&mut self, node: usize) {
        let recent = |at: Duration| at + Duration::from_secs(30) > self.now;
        if self.nodes[node].last_acquire.is_some_and(recent) {
            return;
        }
        self.nodes[node].last_acquire = Some(self.now);
        let (local, peer): (IpAddr, IpAddr) = (self.nodes[node].addr, self.nodes[1 - node].addr);
        let flow = Selector::hosts(local, peer);
        let acquire = Acquire {
            flow,
            policy: flow,
            policy_index: 1,
            local,
            peer,
            protocol: Protocol::Esp,
            mode: Mode::Transport,
            reqid: ReqId(0),
            companions: Companions::NONE,
        };
        self.happen(node, Input::Acquire(acquire));
    }

    /// Gives a node another configuration.
    pub fn reconfigure(&mut self, node: usize, settings: &Settings) {
        let config = super::node::config(node as u8 + 1, settings);
        self.deliver(node, Input::Configure(Arc::new(config)));
    }

    /// The address under which a node knows the other.
    pub fn peer_of(&self, node: usize) -> IpAddr {
        if node == 1 && self.nat.is_some() { super::nat::OUTSIDE } else { self.nodes[1 - node].addr }
    }

    /// Kills a node's daemon: its kernel keeps what it has, the endpoint is new.
    pub fn restart(&mut self, node: usize, settings: &Settings, seed: u64, keep_kernel: bool) {
        let fresh = Node::new(node as u8 + 1, settings, seed);
        let old = std::mem::replace(&mut self.nodes[node], fresh);
        if keep_kernel {
            self.nodes[node].kernel = old.kernel;
        } else {
            self.nodes[node].kernel = super::kernel::Kernel::new((node as u32 + 1) << 24 | 0x0080_0000);
        }
        self.due.retain(|_, (to, _)| *to != node);
        self.wake[node] = None;
    }

    /// What must hold when nothing is under way: both kernels hold the same pairs with the same keys, the endpoints
    /// know all of them and nothing else, and nothing is left over.
    ///
    /// # Errors
    /// What does not hold, in words.
    pub fn check_agreement(&self) -> Result<usize, String> {
        for node in 0..2 {
            let kernel = &self.nodes[node].kernel;
            let peer = &self.nodes[1 - node].kernel;
            for (name, standing) in &kernel.sas {
                let Some(other) = peer.sas.get(&self.named_across(*name)) else {
                    return Err(format!("node {} holds {name:?}, its peer does not", node + 1));
                };
                let same_keys = other.sa.cipher_key == standing.sa.cipher_key
                    && other.sa.integrity_key == standing.sa.integrity_key;
                if !same_keys || other.sa.direction == standing.sa.direction {
                    return Err(format!("the two sides of {name:?} differ"));
                }
            }
            let known: BTreeSet<_> = self.nodes[node]
                .endpoint
                .peers(self.clock())
                .iter()
                .flat_map(|peer| &peer.children)
                .flat_map(|child| [child.inbound, child.outbound])
                .collect();
            let held: BTreeSet<_> = kernel.sas.keys().copied().collect();
            if known != held {
                return Err(format!("node {} knows {known:?}, its kernel holds {held:?}", node + 1));
            }
            let sizes = self.nodes[node].endpoint.sizes();
            if sizes.jobs != 0 || sizes.quick_modes != 0 || sizes.handshakes != 0 || sizes.pending != 0 {
                return Err(format!("node {}: left over {sizes:?}", node + 1));
            }
            if kernel.larval() != 0 {
                return Err(format!("node {}: {} larval SAs left over", node + 1, kernel.larval()));
            }
        }
        let inbound = |standing: &&super::kernel::Standing| standing.sa.direction == SaDirection::Inbound;
        Ok(self.nodes[0].kernel.sas.values().filter(inbound).count())
    }

    /// What must hold at the very end, when both sides were told to take everything down and had time for it: nothing
    /// stands in a kernel or in an endpoint, no timer is armed and no question is open.
    ///
    /// # Errors
    /// What is left, in words.
    pub fn check_nothing_left(&self) -> Result<(), String> {
        (0..2).try_for_each(|node| self.check_nothing_left_of(node))
    }

    /// As [`Self::check_nothing_left`], for one node.
    ///
    /// # Errors
    /// What is left, in words.
    pub fn check_nothing_left_of(&self, number: usize) -> Result<(), String> {
        let node = &self.nodes[number];
        let left = Sizes { last_errors: 0, ..node.endpoint.sizes() };
        if left != Sizes::default() {
            return Err(format!("node {}: left over {left:?}", number + 1));
        }
        if !node.kernel.sas.is_empty() || node.kernel.larval() != 0 {
            return Err(format!("node {}: {:?} left in the kernel", number + 1, node.kernel.sas.keys()));
        }
        Ok(())
    }

    /// The lines of the run, for a test that failed.
    pub fn log(&self) -> String {
        self.reports
            .iter()
            .map(|(node, at, report)| {
                format!("{:>12.6} node{} {:?} {}\n", at.as_secs_f64(), node + 1, report.level, report.event)
            })
            .collect()
    }
}

fn judge(
    claimed: &Identity,
    certificates: &[Vec<u8>],
) -> Result<Arc<ike::event::question::PeerCertificate>, Rejection> {
    let name = certificates.first().and_then(|octets| octets.get(1)).copied();
    match name {
        Some(name) if identity(name) == *claimed => Ok(Arc::new(certificate(name))),
        Some(_) => Err(Rejection { kind: RejectionKind::IdentityMismatch, reason: "another's certificate".to_owned() }),
        None => Err(Rejection { kind: RejectionKind::Missing, reason: "no certificate".to_owned() }),
    }
}
