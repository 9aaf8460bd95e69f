//! NAT traversal (RFC 3947, RFC 3948): a client, two clients or both sides behind a NAT, a NAT that changes its mind, ESP in
//! UDP without any NAT.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state::{self, Sa};
use crate::peer::tunnel::{Auth, Begin, Credentials, Exchange, Id, Mode, Selectors, Switch, Tunnel};
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::scenario::stage::{Papers, Stage};
use crate::scenario::{ALL_PAIRS, PAIRS, Scenario, for_pairs};
use crate::topology::{INNER, Natted, OTHER_OUTER, Place};
use crate::wait;

/// The first ports a client gets outside, and those it gets when its NAT forgets them.
const FIRST: Range<u16> = 20_000..30_000;
const SECOND: Range<u16> = 30_000..40_000;
const SECOND_PORTS: &str = "30000-39999";
/// Serial of a second client's certificate.
const CAROL_SERIAL: u64 = 4;
/// A key good enough that nobody warns.
const KEY: &str = "a key of some thirty characters";
/// Two renewals at four fifths of 15 s take 24 s.
const RENEWALS: Duration = Duration::from_secs(50);
/// The port of L2TP.
const L2TP: u16 = 1701;

pub(super) fn add(out: &mut Vec<Scenario>) {
    let about = "tunnel mode, the initiator behind a NAT that changes ports";
    for_pairs(out, &ALL_PAIRS, "nat-tunnel", about, |desk, a, b| behind(desk, (a, b), tunnel_mode(), Place::Outside));
    let about = "transport mode, the initiator behind a NAT";
    for_pairs(out, &ALL_PAIRS, "nat-transport", about, |desk, a, b| {
        behind(desk, (a, b), Mode::Transport, Place::Outside)
    });
    let about = "aggressive mode with a pre-shared key, the initiator behind a NAT";
    for_pairs(out, &ALL_PAIRS, "nat-aggressive", about, aggressive);
    let about = "both sides behind a NAT each, the responder's ports passed on";
    for_pairs(out, &PAIRS, "nat-both", about, |desk, a, b| behind(desk, (a, b), tunnel_mode(), Place::Behind));
    // pluto 4.10 does not follow a client whose ports change.
    for_pairs(out, &PAIRS, "nat-rebind", "a NAT forgets its mappings under a running ping", rebind);
    for_pairs(out, &PAIRS, "nat-two-clients", "two clients behind one NAT, each with an inner address", two_clients);
    for_pairs(out, &ALL_PAIRS, "nat-force", "ESP in UDP although there is no NAT", |desk, a, b| {
        force(desk, (a, b), Family::V4)
    });
    for_pairs(out, &PAIRS, "nat-force-v6", "ESP in UDP over IPv6", |desk, a, b| force(desk, (a, b), Family::V6));
    for_pairs(out, &PAIRS, "nat-l2tp", "UDP port 1701 in transport mode behind a NAT", l2tp);
    for_pairs(out, &PAIRS, "nat-rekey", "renewals of both phases through a NAT under a running ping", rekey);
    let server_ours = [PAIRS[0], PAIRS[2]];
    let about = "a client with a pre-shared key and a policy made for it, behind a NAT";
    for_pairs(out, &server_ours, "nat-roadwarrior", about, roadwarrior);
    let about = "a NAT gets another address under a running ping: SAs and policies follow";
    for_pairs(out, &server_ours, "nat-address", about, address);
    let about = "the server is killed and started, then the NAT forgets its mappings";
    for_pairs(out, &server_ours, "nat-restart", about, restart);
    let about = "two clients behind one NAT whose traffic looks the same: the second is refused";
    for_pairs(out, &PAIRS[..1], "nat-same-traffic", about, same_traffic);
    let about = "a NAT with short timeouts is kept open while nobody speaks";
    for_pairs(out, &PAIRS[..2], "nat-keepalive", about, keepalive);
}

fn tunnel_mode() -> Mode {
    Mode::tunnel("10.11.0.10/32", "10.99.0.1/32")
}

/// A client behind a NAT and a server.
struct Crossing {
    natted: Natted,
    client: Box<dyn Peer>,
    server: Box<dyn Peer>,
    /// What the client pings.
    target: IpAddr,
    /// What the server pings to reach the client.
    back: IpAddr,
}

/// Both sides' tunnels. The server knows the client by its NAT's address.
fn tunnels(natted: &Natted, mode: &Mode, client: &Host, papers: [Credentials; 2]) -> [Tunnel; 2] {
    let [own, other] = papers;
    let mirrored = match mode {
        Mode::Tunnel { local, remote } => Mode::tunnel(remote, local),
        Mode::Transport => Mode::Transport,
    };
    let (here, there) = (client.address(Family::V4), natted.server.address(Family::V4));
    let at_client = Tunnel::transport(here, natted.server_address, own);
    let at_server = Tunnel::transport(there, natted.outer(), other);
    let nat = Some(Switch::On);
    [Tunnel { mode: mode.clone(), nat, ..at_client }, Tunnel { mode: mirrored, nat, ..at_server }]
}

impl Crossing {
    fn begin(
        desk: &mut Desk,
        kinds: (Kind, Kind),
        mode: &Mode,
        place: Place,
        adjust: impl FnOnce(&mut Tunnel, &mut Tunnel),
    ) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let natted = desk.natted(&["alice"], place)?;
        let host = &natted.clients[0];
        let credentials = [papers.credentials(&papers.alice), papers.credentials(&papers.bob)];
        let [mut at_client, mut at_server] = tunnels(&natted, mode, host, credentials);
        adjust(&mut at_client, &mut at_server);
        let server = peer::start(kinds.1, desk, &natted.server, at_server)?;
        let client = peer::start(kinds.0, desk, host, at_client)?;
        let (target, back) = match mode {
            Mode::Tunnel { .. } => (INNER, host.address(Family::V4)),
            Mode::Transport => (natted.server_address, natted.outer()),
        };
        Ok(Self { natted, client, server, target, back })
    }

    fn evidence(&self, failure: Failure) -> Failure {
        evidence(failure, &[&*self.client, &*self.server])
    }

    /// Pings until the tunnel stands; what both kernels hold is the same, in UDP, between the right ports.
    fn establish(&self, desk: &mut Desk) -> Result<()> {
        let took = ping::answered(self.client.host(), self.target, PATIENCE).map_err(|f| self.evidence(f))?;
        self.agreed(&FIRST)?;
        desk.proved(format!(
            "the first ping was answered after {} ms; both kernels hold the same two SAs in UDP",
            took.as_millis()
        ));
        Ok(())
    }

    /// Waits until both kernels hold one pair, the same one, and the server's leads to one of these ports.
    fn agreed(&self, ports: &Range<u16>) -> Result<()> {
        wait::until(PATIENCE, "both kernels to hold the same two SAs in UDP", || {
            let at_client = kernel_state::sas(self.client.host())?;
            let at_server = kernel_state::sas(self.server.host())?;
            let here = self.client.host().address(Family::V4);
            let there = self.server.host().address(Family::V4);
            Ok(at_client.len() == 2
                && same_keys(&at_client, &at_server)
                && at_client.iter().all(|sa| sa.ports == Some((4500, 4500)) && touches(sa, here))
                && at_server.iter().all(|sa| leads_to(sa, there, ports)))
        })
        .map_err(|failure| self.evidence(failure))
    }

    /// Twenty pings each way, none lost.
    fn flow(&self, desk: &mut Desk) -> Result<()> {
        for (host, to) in [(self.client.host(), self.target), (self.server.host(), self.back)] {
            let running = Running::start(host, to, Duration::from_millis(50))?;
            running.wait_for_answers(PATIENCE, 20).map_err(|failure| self.evidence(failure))?;
            let tally = running.finish()?;
            if tally.lost() > 0 {
                let what = format!("{} of {} pings from {} lost", tally.lost(), tally.sent, host.name());
                return Err(self.evidence(Failure::new(what)));
            }
        }
        desk.proved("twenty pings from the client and twenty from the server, none lost");
        Ok(())
    }

    /// Ends one side; the other's SAs must go: the DELETE found its way through the NAT.
    fn part(&mut self, desk: &mut Desk, who: Side) -> Result<()> {
        let (ending, other) = match who {
            Side::Client => (&mut self.client, &self.server),
            Side::Server => (&mut self.server, &self.client),
        };
        ending.close()?;
        let host = other.host();
        let gone = wait::until(PATIENCE, "the other side's SAs to be gone", || Ok(kernel_state::sas(host)?.is_empty()));
        gone.map_err(|failure| self.evidence(failure))?;
        desk.proved(format!("the {} ended, and the other side's SAs with it", who.name()));
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Side {
    Client,
    Server,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

fn evidence(failure: Failure, sides: &[&dyn Peer]) -> Failure {
    sides.iter().fold(failure, |failure, side| {
        let name = side.host().name();
        let shown = |what: &str| side.host().netns().ip(&["xfrm", what]).unwrap_or_else(|error| error.to_string());
        failure
            .with(format!("{name}'s log"), side.log().unwrap_or_else(|error| error.to_string()))
            .with(format!("{name}'s SAs"), shown("state"))
            .with(format!("{name}'s policies"), shown("policy"))
    })
}

fn same_keys(a: &[Sa], b: &[Sa]) -> bool {
    let alike = |x: &Sa, y: &Sa| (x.spi, x.mode, &x.algorithms) == (y.spi, y.mode, &y.algorithms);
    a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| alike(x, y)))
}

fn touches(sa: &Sa, address: IpAddr) -> bool {
    sa.source == address || sa.destination == address
}

/// Does this SA of the server's run between its port 4500 and one of these?
fn leads_to(sa: &Sa, server: IpAddr, ports: &Range<u16>) -> bool {
    match sa.ports {
        Some((4500, port)) if sa.source == server => ports.contains(&port),
        Some((port, 4500)) if sa.destination == server => ports.contains(&port),
        _ => false,
    }
}

fn logged(side: &dyn Peer, texts: &[&str]) -> Result<()> {
    let what = format!("{} to log \"{}\"", side.host().name(), texts.join("\" or \""));
    wait::until(PATIENCE, &what, || {
        let log = side.log()?;
        Ok(texts.iter().any(|text| log.contains(text)))
    })
    .map_err(|failure| failure.with("its log", side.log().unwrap_or_default()))
}

fn behind(desk: &mut Desk, kinds: (Kind, Kind), mode: Mode, place: Place) -> Result<()> {
    let mut crossing = Crossing::begin(desk, kinds, &mode, place, |_, _| {})?;
    crossing.establish(desk)?;
    crossing.flow(desk)?;
    let found = if place == Place::Behind { "NAT detected: ME PEER" } else { "NAT detected: ME" };
    if kinds.0 == Kind::Ours {
        logged(&*crossing.client, &[found])?;
        logged(&*crossing.client, &["NAT-T: ports changed to: 10.11.0.10[4500]<->"])?;
    }
    if kinds.1 == Kind::Ours {
        logged(&*crossing.server, &["NAT detected: ME PEER", "NAT detected: PEER"])?;
    }
    let plain = desk.traffic()?;
    if plain.esp != plain.in_udp || plain.in_udp < 40 {
        return Err(Failure::new(format!("{} ESP packets, {} of them in UDP", plain.esp, plain.in_udp)));
    }
    crossing.part(desk, Side::Client)
}

fn aggressive(desk: &mut Desk, client: Kind, server: Kind) -> Result<()> {
    let mode = tunnel_mode();
    let mut crossing = Crossing::begin(desk, (client, server), &mode, Place::Outside, |here, there| {
        for tunnel in [&mut *here, &mut *there] {
            tunnel.auth = Auth::Psk(KEY.to_owned());
            tunnel.exchange = Exchange::Aggressive;
        }
        let (alice, bob) = (Id::Fqdn("alice.desk".to_owned()), Id::Fqdn("bob.desk".to_owned()));
        (here.local_id, here.remote_id) = (alice.clone(), bob.clone());
        (there.local_id, there.remote_id) = (bob, alice);
    })?;
    crossing.establish(desk)?;
    crossing.flow(desk)?;
    if server == Kind::Ours {
        logged(&*crossing.server, &["NAT detected: PEER"])?;
    }
    crossing.part(desk, Side::Client)
}

fn rebind(desk: &mut Desk, client: Kind, server: Kind) -> Result<()> {
    let mut crossing = Crossing::begin(desk, (client, server), &tunnel_mode(), Place::Outside, |_, _| {})?;
    crossing.establish(desk)?;
    let running = Running::start(crossing.client.host(), crossing.target, Duration::from_millis(50))?;
    running.wait_for_answers(PATIENCE, 10)?;
    crossing.natted.translate_to(SECOND_PORTS)?;
    crossing.agreed(&SECOND)?;
    running.wait_for_answers(PATIENCE, 20).map_err(|failure| crossing.evidence(failure))?;
    let tally = running.finish()?;
    desk.proved(format!("other ports at once; {} of {} pings lost over it", tally.lost(), tally.sent));
    // The same SAs, not new ones: their sequence numbers went on.
    crossing.flow(desk)?;
    if server == Kind::Ours {
        logged(&*crossing.server, &["the peer has moved behind its NAT"])?;
    }
    crossing.part(desk, Side::Server)
}

fn rekey(desk: &mut Desk, client: Kind, server: Kind) -> Result<()> {
    let crossing = Crossing::begin(desk, (client, server), &tunnel_mode(), Place::Outside, |here, _| {
        (here.phase1_life, here.phase2_life) = (Duration::from_secs(20), Duration::from_secs(15));
    })?;
    crossing.establish(desk)?;
    let spis = |host: &Host| -> Result<Vec<u32>> { Ok(kernel_state::sas(host)?.iter().map(|sa| sa.spi).collect()) };
    let mut known = spis(crossing.client.host())?;
    let running = Running::start(crossing.client.host(), crossing.target, Duration::from_millis(100))?;
    for renewal in ["first", "second"] {
        known = wait::until_some(RENEWALS, &format!("the {renewal} renewal of the IPsec SAs"), || {
            let now = spis(crossing.client.host())?;
            Ok((now.len() == 2 && now.iter().all(|spi| !known.contains(spi))).then_some(now))
        })
        .map_err(|failure| crossing.evidence(failure))?;
    }
    let established = |side: &dyn Peer| -> Result<usize> {
        let words = ["ISAKMP-SA established", "established between"];
        Ok(side.log()?.lines().filter(|line| words.iter().any(|words| line.contains(words))).count())
    };
    wait::until(RENEWALS, "the ISAKMP SA to be renewed", || {
        Ok(established(&*crossing.client)? >= 2 && established(&*crossing.server)? >= 2)
    })
    .map_err(|failure| crossing.evidence(failure))?;
    crossing.agreed(&FIRST)?;
    let tally = running.finish()?;
    if tally.lost() > 0 {
        return Err(crossing.evidence(Failure::new(format!("{} of {} pings lost", tally.lost(), tally.sent))));
    }
    desk.proved(format!("both phases renewed through the NAT under {} pings, none lost", tally.sent));
    Ok(())
}

/// A server that knows no client: any address, one key for all, policies made on demand for what a sainfo names.
fn for_anybody(here: &mut Tunnel, there: &mut Tunnel) {
    for tunnel in [&mut *here, &mut *there] {
        tunnel.auth = Auth::Psk(KEY.to_owned());
    }
    there.anonymous = true;
    there.begin = Begin::Wait;
    there.extra.racoon_remote = "\tpassive on;\n\tgenerate_policy on;\n".to_owned();
    there.extra.racoon = "sainfo address 10.99.0.1 any address 10.11.0.10 any {
\tpfs_group 14;
\tencryption_algorithm aes 256;
\tauthentication_algorithm hmac_sha256;
\tcompression_algorithm deflate;
}
"
    .to_owned();
}

fn roadwarrior(desk: &mut Desk, client: Kind, server: Kind) -> Result<()> {
    let mut crossing = Crossing::begin(desk, (client, server), &tunnel_mode(), Place::Outside, for_anybody)?;
    crossing.establish(desk)?;
    crossing.flow(desk)?;
    crossing.part(desk, Side::Client)
}

fn address(desk: &mut Desk, client: Kind, server: Kind) -> Result<()> {
    let crossing = Crossing::begin(desk, (client, server), &tunnel_mode(), Place::Outside, for_anybody)?;
    crossing.establish(desk)?;
    let running = Running::start(crossing.client.host(), crossing.target, Duration::from_millis(50))?;
    running.wait_for_answers(PATIENCE, 10)?;
    let before = kernel_state::sas(crossing.server.host())?;
    crossing.natted.translate_to_other_address(SECOND_PORTS)?;
    wait::until(PATIENCE, "the server's SAs to lead to the other address", || {
        let now = kernel_state::sas(crossing.server.host())?;
        Ok(now.len() == 2 && now.iter().all(|sa| touches(sa, OTHER_OUTER)))
    })
    .map_err(|failure| crossing.evidence(failure))?;
    crossing.agreed(&SECOND)?;
    running.wait_for_answers(PATIENCE, 20).map_err(|failure| crossing.evidence(failure))?;
    let tally = running.finish()?;
    let after = kernel_state::sas(crossing.server.host())?;
    if !same_keys(&before, &after) {
        return Err(crossing.evidence(Failure::new("these are other SAs")));
    }
    desk.proved(format!("the same SAs at another address; {} of {} pings lost over it", tally.lost(), tally.sent));
    crossing.flow(desk)
}

fn restart(desk: &mut Desk, client: Kind, server: Kind) -> Result<()> {
    let mut crossing = Crossing::begin(desk, (client, server), &tunnel_mode(), Place::Outside, |_, _| {})?;
    crossing.establish(desk)?;
    crossing.server.kill()?;
    crossing.server.restart()?;
    logged(&*crossing.server, &["taken over from an earlier run"])?;
    let running = Running::start(crossing.client.host(), crossing.target, Duration::from_millis(50))?;
    running.wait_for_answers(PATIENCE, 10)?;
    crossing.natted.translate_to(SECOND_PORTS)?;
    crossing.agreed(&SECOND)?;
    running.wait_for_answers(PATIENCE, 20).map_err(|failure| crossing.evidence(failure))?;
    let tally = running.finish()?;
    desk.proved(format!("a new daemon follows as well; {} of {} pings lost over it", tally.lost(), tally.sent));
    crossing.flow(desk)
}

fn two_clients(desk: &mut Desk, first: Kind, server: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let carol = papers.authority.leaf(&mut desk.keys, "carol.desk", CAROL_SERIAL)?;
    let natted = desk.natted(&["alice", "carol"], Place::Outside)?;
    let mode = |last: u8| Mode::tunnel(&format!("10.11.0.{last}/32"), "10.99.0.1/32");
    let bob = || papers.credentials(&papers.bob);
    let [at_alice, mut at_bob] =
        tunnels(&natted, &mode(10), &natted.clients[0], [papers.credentials(&papers.alice), bob()]);
    let [at_carol, _] = tunnels(&natted, &mode(11), &natted.clients[1], [papers.credentials(&carol), bob()]);
    at_bob.children = [10, 11].map(|last| Selectors::any("10.99.0.1/32", format!("10.11.0.{last}/32"))).to_vec();
    // The second client is of the other make.
    let second = if first == Kind::Ours { Kind::Charon } else { Kind::Ours };
    let at_server = peer::start(server, desk, &natted.server, at_bob)?;
    let at_first = peer::start(first, desk, &natted.clients[0], at_alice)?;
    let mut at_second = peer::start(second, desk, &natted.clients[1], at_carol)?;
    let sides = |failure: Failure| evidence(failure, &[&*at_first, &*at_server]);
    ping::answered(&natted.clients[0], INNER, PATIENCE).map_err(sides)?;
    let forth = Running::start(&natted.clients[0], INNER, Duration::from_millis(50))?;
    ping::answered(&natted.clients[1], INNER, PATIENCE).map_err(sides)?;
    let other = Running::start(&natted.clients[1], INNER, Duration::from_millis(50))?;
    forth.wait_for_answers(PATIENCE, 20).map_err(sides)?;
    other.wait_for_answers(PATIENCE, 20).map_err(sides)?;
    for client in &natted.clients {
        ping::answered(&natted.server, client.address(Family::V4), PATIENCE).map_err(sides)?;
    }
    let (forth, other) = (forth.finish()?, other.finish()?);
    if forth.lost() + other.lost() > 0 {
        return Err(sides(Failure::new(format!("{} and {} pings lost", forth.lost(), other.lost()))));
    }
    // A client and charon that both begin leave two pairs of SAs; they lead to the same port.
    let ports = |server: &Host| -> Result<BTreeSet<u16>> {
        let own = server.address(Family::V4);
        let outbound = kernel_state::sas(server)?.into_iter().filter(|sa| sa.source == own);
        Ok(outbound.filter_map(|sa| sa.ports.map(|(_, port)| port)).collect())
    };
    let before = ports(&natted.server)?;
    if before.len() != 2 {
        return Err(sides(Failure::new(format!("the server's SAs lead to ports {before:?}"))));
    }
    desk.proved("both clients reach the server and are reached, each at a port of its own");
    at_second.close()?;
    let left = || Ok(ports(&natted.server)?.len() == 1);
    wait::until(PATIENCE, "the second client's SAs to be gone", left).map_err(sides)?;
    ping::answered(&natted.clients[0], INNER, PATIENCE).map_err(sides)?;
    desk.proved("the second client left; the first one's tunnel stands");
    Ok(())
}

fn force(desk: &mut Desk, kinds: (Kind, Kind), family: Family) -> Result<()> {
    let stage = Stage::set(desk, kinds, family, |alice, bob| {
        (alice.nat, bob.nat) = (Some(Switch::Force), Some(Switch::On));
    })?;
    let sas = stage.establish(desk)?;
    if sas.iter().any(|sa| sa.ports != Some((4500, 4500))) {
        return Err(stage.evidence(Failure::new("an SA is not in UDP")));
    }
    let running = Running::start(stage.initiator.host(), stage.addresses.1, Duration::from_millis(50))?;
    running.wait_for_answers(PATIENCE, 20)?;
    let tally = running.finish()?;
    let traffic = desk.traffic()?;
    if tally.lost() > 0 || traffic.esp != traffic.in_udp {
        let what = format!("{} pings lost, {} of {} ESP packets in UDP", tally.lost(), traffic.in_udp, traffic.esp);
        return Err(stage.evidence(Failure::new(what)));
    }
    desk.proved(format!("{} pings in UDP between hosts on one link, none lost", tally.sent));
    Ok(())
}

/// One datagram from the client and its answer, again and again until it comes back.
fn echoed(client: &UdpSocket, server: &UdpSocket, to: SocketAddr) -> Result<SocketAddr> {
    let mut buffer = [0; 64];
    wait::until_some(PATIENCE, "a datagram to be answered", || {
        client.send_to(b"hello", to)?;
        // Nothing yet is what the next round is for.
        let Ok((length, from)) = server.recv_from(&mut buffer) else { return Ok(None) };
        server.send_to(&buffer[..length], from)?;
        Ok(client.recv_from(&mut buffer).ok().filter(|(_, sender)| *sender == to).map(|_| from))
    })
}

fn l2tp(desk: &mut Desk, client: Kind, server: Kind) -> Result<()> {
    let only = |tunnel: &mut Tunnel| {
        let hosts = Selectors::any(tunnel.local.to_string(), tunnel.remote.to_string());
        tunnel.children = vec![hosts.of("udp").ports(Some(L2TP), Some(L2TP))];
    };
    let crossing = Crossing::begin(desk, (client, server), &Mode::Transport, Place::Outside, |here, there| {
        only(here);
        only(there);
    })?;
    let socket = |host: &Host| host.netns().udp_socket(SocketAddr::new(host.address(Family::V4), L2TP));
    let (here, there) = (socket(crossing.client.host())?, socket(crossing.server.host())?);
    let to = SocketAddr::new(crossing.natted.server_address, L2TP);
    let seen = echoed(&here, &there, to).map_err(|failure| crossing.evidence(failure))?;
    crossing.agreed(&FIRST)?;
    if seen != SocketAddr::new(crossing.natted.outer(), L2TP) {
        return Err(crossing.evidence(Failure::new(format!("the server saw the client as {seen}"))));
    }
    desk.proved("a datagram from port 1701 to port 1701 and its answer, through one pair of SAs in UDP");
    Ok(())
}

fn same_traffic(desk: &mut Desk, kind: Kind, server: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let carol = papers.authority.leaf(&mut desk.keys, "carol.desk", CAROL_SERIAL)?;
    let natted = desk.natted(&["alice", "carol"], Place::Outside)?;
    let bob = || papers.credentials(&papers.bob);
    let clients = &natted.clients;
    let [at_alice, at_bob] =
        tunnels(&natted, &Mode::Transport, &clients[0], [papers.credentials(&papers.alice), bob()]);
    let [at_carol, _] = tunnels(&natted, &Mode::Transport, &clients[1], [papers.credentials(&carol), bob()]);
    let at_server = peer::start(server, desk, &natted.server, at_bob)?;
    let at_first = peer::start(kind, desk, &clients[0], at_alice)?;
    let at_second = peer::start(kind, desk, &clients[1], at_carol)?;
    let sides = |failure: Failure| evidence(failure, &[&*at_first, &*at_server, &*at_second]);
    ping::answered(&clients[0], natted.server_address, PATIENCE).map_err(sides)?;
    let running = Running::start(&clients[0], natted.server_address, Duration::from_millis(50))?;
    let second = Running::start(&clients[1], natted.server_address, Duration::from_millis(200))?;
    logged(&*at_server, &["another host behind the same NAT"]).map_err(sides)?;
    running.wait_for_answers(PATIENCE, 20).map_err(sides)?;
    let (first, second) = (running.finish()?, second.finish()?);
    if first.lost() > 0 || second.answered > 0 {
        let what = format!("{} pings of the first lost, {} of the second answered", first.lost(), second.answered);
        return Err(sides(Failure::new(what)));
    }
    desk.proved("the second client is refused with the reason; the first one lost no ping over it");
    Ok(())
}

fn keepalive(desk: &mut Desk, client: Kind, server: Kind) -> Result<()> {
    let crossing = Crossing::begin(desk, (client, server), &tunnel_mode(), Place::Outside, |here, _| {
        here.extra.racoon = "timer { natt_keepalive 1 sec; }\n".to_owned();
    })?;
    let shorten =
        "for name in udp_timeout udp_timeout_stream; do echo 3 > /proc/sys/net/netfilter/nf_conntrack_$name; done";
    crossing.natted.nat.check("sh", &["-c", shorten])?;
    crossing.establish(desk)?;
    let before = kernel_state::sas(crossing.server.host())?;
    let sent = desk.traffic()?.keepalives;
    wait::until(PATIENCE, "eight keepalives", || Ok(desk.traffic()?.keepalives >= sent + 8))?;
    ping::answered(crossing.server.host(), crossing.back, PATIENCE).map_err(|failure| crossing.evidence(failure))?;
    let ports = |sas: &[Sa]| sas.iter().map(|sa| (sa.spi, sa.ports)).collect::<Vec<_>>();
    let after = kernel_state::sas(crossing.server.host())?;
    if ports(&before) != ports(&after) {
        return Err(crossing.evidence(Failure::new("the client's ports have changed")));
    }
    desk.proved("after eight seconds of silence at a NAT that forgets after three, the server reaches the client");
    Ok(())
}
