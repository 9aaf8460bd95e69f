//! Which traffic goes by which SA: several subnets, protocols and ports side by side, a sainfo for each, through a hub.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state::{self, Sa};
use crate::peer::ours::{self, Ours};
use crate::peer::strongswan::{self, Strongswan};
use crate::peer::tunnel::{Begin, Id, Mode, Selectors, Tunnel};
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::process::Process;
use crate::scenario::stage::{Papers, Stage, spis};
use crate::scenario::{ALL_PAIRS, PAIRS, Scenario, for_pairs};
use crate::wait;

/// One of the two has a configuration that a [`Tunnel`] cannot say.
const MIXED: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Charon), (Kind::Charon, Kind::Ours)];

/// pluto takes a connection with `%any` as port for a template, which it neither traps nor begins.
const L2TP_PAIRS: [(Kind, Kind); 4] =
    [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Charon), (Kind::Charon, Kind::Ours), (Kind::Ours, Kind::Pluto)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &ALL_PAIRS, "multinet", "three subnets asked for at once, under one ISAKMP SA", multinet);
    // Of two transport connections that differ in their protocol pluto (4.10) finds the first one only.
    for_pairs(out, &PAIRS, "protoport-dual", "ICMP and TCP by SAs of their own", protoport);
    for_pairs(out, &MIXED, "sainfo-choice", "each subnet with the cipher of its own sainfo", sainfo_choice);
    for_pairs(out, &MIXED, "transport-and-tunnel", "hosts in transport mode, their subnets in tunnel mode", both_modes);
    for_pairs(
        out,
        &L2TP_PAIRS,
        "l2tp-transport",
        "UDP 1701 of the server, any port of the client, in transport mode",
        l2tp,
    );
    for_pairs(out, &ALL_PAIRS, "gre-transport", "a GRE tunnel in transport mode, and nothing else", gre);
    for_pairs(out, &ALL_PAIRS, "tunnel-4in6", "IPv4 subnets through an IPv6 tunnel", |desk, a, b| {
        other_family(desk, (a, b), Family::V6, ("10.11.0.0/24", "10.12.0.0/24"), Family::V4)
    });
    for_pairs(out, &ALL_PAIRS, "tunnel-6in4", "IPv6 subnets through an IPv4 tunnel", |desk, a, b| {
        other_family(desk, (a, b), Family::V4, ("fd11::/64", "fd12::/64"), Family::V6)
    });
    for_pairs(out, &MIXED, "protoport-ciphers", "a cipher for ICMP and another for TCP", protoport_ciphers);
    for_pairs(out, &MIXED, "level-unique", "setkey's level unique: each policy with SAs of its own", level_unique);
    for_pairs(out, &ALL_PAIRS, "one-each-way", "a child from each side, under one ISAKMP SA", one_each_way);
    for_pairs(out, &ALL_PAIRS, "rekey-crossing", "both sides renew at about the same time, twice", crossing);
    out.push(Scenario::new("hub-spoke/charon-xfrmd", "two spokes reach each other through a hub", hub));
}

/// The subnets behind east.
const NETS: [&str; 3] = ["10.12.0.0/24", "10.22.0.0/24", "10.32.0.0/24"];
/// A host in each.
pub(super) const INSIDE: [[u8; 4]; 3] = [[10, 12, 0, 10], [10, 22, 0, 10], [10, 32, 0, 10]];
/// The subnet behind west.
const HOME: &str = "10.11.0.0/24";

/// Two gateways with one subnet on the left and three on the right, and a tunnel of as many children on each.
pub(super) struct Nets {
    pub(super) left: Rc<Host>,
    pub(super) right: Rc<Host>,
    pub(super) west: (Rc<Host>, Tunnel),
    pub(super) east: (Rc<Host>, Tunnel),
}

impl Nets {
    pub(super) fn lay(desk: &mut Desk) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let gateways = desk.gateways()?;
        for (net, inside) in NETS.iter().zip(INSIDE).skip(1) {
            let [a, b, c, d] = inside;
            gateways.right.netns().ip(&["addr", "add", &format!("{a}.{b}.{c}.{d}/24"), "dev", "eth0"])?;
            gateways.east.netns().ip(&["addr", "add", &format!("{a}.{b}.{c}.1/24"), "dev", "eth1"])?;
            gateways.west.netns().ip(&["route", "add", net, "via", "10.1.0.2"])?;
        }
        let (a, b) = (gateways.west.address(Family::V4), gateways.east.address(Family::V4));
        let mut at_west = Tunnel::transport(a, b, papers.credentials(&papers.alice));
        at_west.mode = Mode::tunnel(HOME, NETS[0]);
        // pluto takes a peer for one of several connections by its identity only if that is written.
        at_west.remote_id = Id::Dn("/C=US/O=Desk/CN=bob.desk".to_owned());
        at_west.children = NETS.map(|net| Selectors::any(HOME, net)).to_vec();
        let mut at_east = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        at_east.mode = Mode::tunnel(NETS[0], HOME);
        at_east.remote_id = Id::Dn("/C=US/O=Desk/CN=alice.desk".to_owned());
        at_east.children = NETS.map(|net| Selectors::any(net, HOME)).to_vec();
        let crate::topology::Gateways { left, west, east, right } = gateways;
        Ok(Self { left, right, west: (west, at_west), east: (east, at_east) })
    }
}

/// ISAKMP SAs that a daemon has logged as established, each in its words: xfrmd, charon, pluto.
fn isakmp_sas(side: &dyn Peer) -> Result<usize> {
    let words = ["ISAKMP-SA established", "established between 10.1.0.", "IKE SA established"];
    let log = side.log()?;
    Ok(log.lines().filter(|line| words.iter().any(|words| line.contains(words))).count())
}

/// Insists that both sides have had one ISAKMP SA.
fn under_one(stage: &Stage) -> Result<()> {
    match (isakmp_sas(&*stage.initiator)?, isakmp_sas(&*stage.responder)?) {
        (1, 1) => Ok(()),
        (ours, theirs) => Err(stage.evidence(Failure::new(format!("{ours} and {theirs} ISAKMP SAs")))),
    }
}

/// Waits until both kernels hold exactly these many SAs, the same ones.
fn agreed(stage: &Stage, wanted: usize) -> Result<Vec<Sa>> {
    wait::until_some(PATIENCE, &format!("both kernels to hold the same {wanted} SAs"), || {
        let (here, there) = (stage.sas_at(&*stage.initiator)?, stage.sas_at(&*stage.responder)?);
        Ok((here.len() == wanted && spis(&here) == spis(&there)).then_some(here))
    })
    .map_err(|failure| stage.evidence(failure))
}

fn multinet(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let Nets { left, right: _right, west, east } = Nets::lay(desk)?;
    let stage = Stage::with(desk, (initiator, responder), (&west.0, west.1), (&east.0, east.1))?;
    let mut running = Vec::new();
    for inside in INSIDE {
        running.push(Running::start(&left, IpAddr::from(inside), Duration::from_millis(100))?);
    }
    for ping in &running {
        ping.wait_for_answers(PATIENCE, 15).map_err(|failure| stage.evidence(failure))?;
    }
    agreed(&stage, 6)?;
    for ping in running {
        ping.finish()?;
    }
    // pluto begins a main mode for each connection of its own.
    if initiator != Kind::Pluto {
        under_one(&stage)?;
    }
    desk.proved("three subnets asked for at once: three pairs of SAs, pings through each");
    Ok(())
}

fn protoport(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let children = |from: IpAddr, to: IpAddr| {
        ["icmp", "tcp"].map(|protocol| Selectors::any(from.to_string(), to.to_string()).of(protocol)).to_vec()
    };
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        alice.children = children(alice.local, alice.remote);
        bob.children = children(bob.local, bob.remote);
    })?;
    let (alice, to) = (stage.initiator.host(), stage.addresses.1);
    ping::answered(alice, to, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    agreed(&stage, 2)?;
    desk.proved("a ping makes the SAs of ICMP only");
    let script = format!("exec 3<>/dev/tcp/{to}/9");
    wait::until(PATIENCE, "bob to refuse a TCP connection", || {
        Ok(alice.run("timeout", &["2", "bash", "-c", &script])?.output().contains("refused"))
    })
    .map_err(|failure| stage.evidence(failure))?;
    let sas = agreed(&stage, 4)?;
    if sas.iter().any(|sa| sa.packets == 0) {
        return Err(stage.evidence(Failure::new("an SA carried nothing")));
    }
    desk.proved("TCP has a pair of its own beside it, and each of the four SAs carried packets");
    Ok(())
}

/// The length of the key of an SA's cipher in octets.
fn key_octets(sa: &Sa) -> usize {
    let cipher = sa.algorithms.iter().find(|text| text.contains("cbc(aes)")).cloned().unwrap_or_default();
    cipher.split_whitespace().find_map(|word| word.strip_prefix("0x")).map_or(0, |key| key.len() / 2)
}

/// A daemon whose second child has AES-128: by a sainfo for it, or by proposals of its own.
fn with_second_cipher(
    desk: &Desk,
    kind: Kind,
    host: &Rc<Host>,
    tunnel: &mut Tunnel,
    local: &str,
    remote: &str,
) -> Result<Box<dyn Peer>> {
    if kind == Kind::Ours {
        tunnel.extra.racoon = format!(
            "sainfo {local} {remote} {{\n\tpfs_group 14;\n\tencryption_algorithm aes 128;\n\tauthentication_algorithm \
             hmac_sha256;\n}}\n"
        );
        return Ok(Box::new(Ours::start(desk, host, tunnel.clone())?));
    }
    let text = strongswan::swanctl_conf(tunnel);
    let (first, second) = text.split_once("net1 {").unwrap_or((&text, ""));
    let text = format!("{first}net1 {{{}", second.replacen("aes256-sha256", "aes128-sha256", 1));
    let conf = strongswan::strongswan_conf(tunnel);
    Ok(Box::new(Strongswan::with_files(host, &tunnel.credentials, &conf, &text)?))
}

/// xfrmd has a sainfo for the second subnet; charon a cipher for its second child.
fn sainfo_choice(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let Nets { left, right: _right, mut west, mut east } = Nets::lay(desk)?;
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    for (kind, (host, tunnel), (local, remote)) in
        [(responder, &mut east, (NETS[1], HOME)), (initiator, &mut west, (HOME, NETS[1]))]
    {
        tunnel.children.truncate(2);
        let ids = [local, remote].map(|net| format!("subnet {net} any"));
        peers.push(with_second_cipher(desk, kind, host, tunnel, &ids[0], &ids[1])?);
    }
    let addresses = (west.1.local, east.1.local);
    let (Some(initiator), Some(responder)) = (peers.pop(), peers.pop()) else {
        return Err(Failure::new("two daemons were started"));
    };
    let stage = Stage { initiator, responder, addresses };
    for (inside, octets) in INSIDE.into_iter().zip([32, 16]) {
        let known = spis(&stage.sas_at(&*stage.initiator)?);
        ping::answered(&left, IpAddr::from(inside), PATIENCE).map_err(|failure| stage.evidence(failure))?;
        let sas = agreed(&stage, known.len() + 2)?;
        let new: Vec<&Sa> = sas.iter().filter(|sa| !known.contains(&sa.spi)).collect();
        if new.iter().any(|sa| key_octets(sa) != octets) {
            return Err(stage.evidence(Failure::new(format!("not {octets} octets of key for {inside:?}"))));
        }
    }
    desk.proved("AES-256 for the first subnet, AES-128 for the one that has a sainfo of its own");
    Ok(())
}

/// The children are the subnets in tunnel mode and the gateways themselves in transport mode.
fn both_modes(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let Nets { left, right: _right, mut west, mut east } = Nets::lay(desk)?;
    let addresses = (west.1.local, east.1.local);
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    for (kind, (host, tunnel)) in [(responder, &mut east), (initiator, &mut west)] {
        tunnel.children.truncate(1);
        let (local, remote) = (tunnel.local.to_string(), tunnel.remote.to_string());
        tunnel.children.push(Selectors::any(&local, &remote));
        peers.push(match kind {
            Kind::Ours => {
                ours::install_credentials(desk, host, tunnel)?;
                let transport = |line: &str| {
                    let ends = [format!("spdadd {local} {remote} any"), format!("spdadd {remote} {local} any")];
                    if !ends.iter().any(|start| line.starts_with(start)) {
                        return line.to_owned();
                    }
                    let (head, _) = line.split_once("esp/").unwrap_or((line, ""));
                    format!("{head}esp/transport//require;")
                };
                let script: Vec<String> = ours::setkey_script(tunnel).lines().map(transport).collect();
                Box::new(Ours::with_files(desk, host, &ours::racoon_conf(tunnel), &format!("{}\n", script.join("\n")))?)
            }
            _ => {
                let text = strongswan::swanctl_conf(tunnel);
                let (first, second) = text.split_once("net1 {").unwrap_or((&text, ""));
                let text = format!("{first}net1 {{{}", second.replacen("mode = tunnel", "mode = transport", 1));
                let conf = strongswan::strongswan_conf(tunnel);
                Box::new(Strongswan::with_files(host, &tunnel.credentials, &conf, &text)?)
            }
        });
    }
    let (Some(initiator), Some(responder)) = (peers.pop(), peers.pop()) else {
        return Err(Failure::new("two daemons were started"));
    };
    let stage = Stage { initiator, responder, addresses };
    ping::answered(&left, IpAddr::from(INSIDE[0]), PATIENCE).map_err(|failure| stage.evidence(failure))?;
    agreed(&stage, 2)?;
    ping::answered(stage.initiator.host(), stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    let sas = agreed(&stage, 4)?;
    let transport = sas.iter().filter(|sa| sa.mode == kernel_state::Mode::Transport).count();
    if transport != 2 {
        return Err(stage.evidence(Failure::new(format!("{transport} SAs in transport mode"))));
    }
    ping::answered(&left, IpAddr::from(INSIDE[0]), PATIENCE).map_err(|failure| stage.evidence(failure))?;
    desk.proved("a pair in tunnel mode and one in transport mode between the same two hosts, pings through both");
    Ok(())
}

/// Answers each datagram on a UDP port.
pub(super) fn echo(host: &Rc<Host>, port: u16) -> Result<Process> {
    let script = format!(
        "$|=1; my $s = IO::Socket::INET->new(LocalPort => {port}, Proto => 'udp') or die $!; print \"ready\\n\"; \
         while (defined $s->recv(my $b, 100)) {{ $s->send($b) }}"
    );
    let mut command = host.command("perl");
    command.args(["-MIO::Socket::INET", "-e", &script]);
    let mut process = host.spawn("echo", command)?;
    process.wait_for_line(PATIENCE, "ready")?;
    Ok(process)
}

/// Sends datagrams from any port until one is answered, for a second at a time. The port stays open for the other answers:
/// the kernel would refuse them by ICMP, which no policy for UDP protects.
pub(super) fn asks(host: &Host, to: IpAddr, port: u16) -> Result<bool> {
    let script = format!(
        "my $s = IO::Socket::INET->new(PeerAddr => '{to}', PeerPort => {port}, Proto => 'udp') or die $!; \
         my ($asked, $answered) = (0, 0); \
         sub answer {{ my $r = ''; vec($r, fileno($s), 1) = 1; \
         return 0 unless select($r, undef, undef, $_[0]); defined $s->recv(my $b, 10) ? ++$answered : 0 }} \
         while ($asked < 5) {{ $s->send('x'); ++$asked; last if answer(0.2) }} \
         while ($answered < $asked) {{ last unless answer(1) }} \
         print \"answered\\n\" if $answered"
    );
    Ok(host.run("perl", &["-MIO::Socket::INET", "-e", &script])?.stdout.contains("answered"))
}

/// The port of L2TP (RFC 3193 §2.1).
pub(super) const L2TP: u16 = 1701;

fn l2tp(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        let (a, b) = (alice.local.to_string(), bob.local.to_string());
        alice.children = vec![Selectors::any(&a, &b).of("udp").ports(None, Some(L2TP))];
        bob.children = vec![Selectors::any(&b, &a).of("udp").ports(Some(L2TP), None)];
        if responder == Kind::Pluto {
            bob.begin = Begin::Wait;
        }
    })?;
    let _echo = echo(stage.responder.host(), L2TP)?;
    for client in ["first", "second"] {
        wait::until(PATIENCE, &format!("an answer from UDP 1701 to the {client} port"), || {
            asks(stage.initiator.host(), stage.addresses.1, L2TP)
        })
        .map_err(|failure| stage.evidence(failure))?;
    }
    let sas = agreed(&stage, 2)?;
    if sas.iter().any(|sa| sa.mode != kernel_state::Mode::Transport || sa.packets < 2) {
        return Err(stage.evidence(Failure::new("not two SAs in transport mode that carried packets")));
    }
    desk.proved("two client ports by the same pair of SAs, for UDP 1701 of the server");
    Ok(())
}

fn gre(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        let (a, b) = (alice.local.to_string(), bob.local.to_string());
        alice.children = vec![Selectors::any(&a, &b).of("gre")];
        bob.children = vec![Selectors::any(&b, &a).of("gre")];
    })?;
    let (a, b) = (stage.addresses.0.to_string(), stage.addresses.1.to_string());
    for (side, own, other, inner) in
        [(&stage.initiator, &a, &b, "10.99.0.1/30"), (&stage.responder, &b, &a, "10.99.0.2/30")]
    {
        let netns = side.host().netns();
        netns.ip(&["link", "add", "gre9", "type", "gre", "local", own, "remote", other, "ttl", "64"])?;
        // Without its link-local address the interface has nothing to say by itself.
        netns.ip(&["link", "set", "gre9", "addrgenmode", "none"])?;
        netns.ip(&["addr", "add", inner, "dev", "gre9"])?;
        netns.ip(&["link", "set", "gre9", "up"])?;
    }
    let inside = IpAddr::from([10, 99, 0, 2]);
    ping::answered(stage.initiator.host(), inside, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    ping::answered(stage.responder.host(), IpAddr::from([10, 99, 0, 1]), PATIENCE)
        .map_err(|failure| stage.evidence(failure))?;
    let sas = agreed(&stage, 2)?;
    if sas.iter().any(|sa| sa.mode != kernel_state::Mode::Transport) {
        return Err(stage.evidence(Failure::new("an SA is not in transport mode")));
    }
    desk.proved("pings through a GRE tunnel whose packets go by one pair of transport SAs");
    Ok(())
}

/// Alice (charon) and carol (xfrmd) are spokes; what they say to each other goes through bob, decrypted and encrypted
/// again.
fn hub(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let carol_leaf = papers.authority.leaf(&mut desk.keys, "carol.desk", 4)?;
    let lan = desk.lan(&["alice", "bob", "carol"])?;
    let [alice, bob, carol] = lan.hosts.as_slice() else { return Err(Failure::new("three hosts were made")) };
    let (nets, here) = (["10.21.0.0/24", "10.23.0.0/24"], bob.address(Family::V4));
    let via = here.to_string();
    for (host, own, far, source) in
        [(alice, "10.21.0.1/24", nets[1], "10.21.0.1"), (carol, "10.23.0.1/24", nets[0], "10.23.0.1")]
    {
        host.netns().ip(&["addr", "add", own, "dev", "lo"])?;
        host.netns().ip(&["route", "add", far, "via", &via, "src", source])?;
    }
    bob.netns().batch(&format!("route add {} via 10.1.0.1\nroute add {} via 10.1.0.3\n", nets[0], nets[1]))?;
    bob.check("bash", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
    let mut at_bob = Tunnel::transport(here, alice.address(Family::V4), papers.credentials(&papers.bob));
    at_bob.anonymous = true;
    at_bob.begin = Begin::Wait;
    for (near, far, spoke) in [(nets[0], nets[1], "10.1.0.1"), (nets[1], nets[0], "10.1.0.3")] {
        at_bob.extra.setkey.push_str(&format!(
            "spdadd {far} {near} any -P out ipsec esp/tunnel/{via}-{spoke}/require;\n\
             spdadd {near} {far} any -P in ipsec esp/tunnel/{spoke}-{via}/require;\n"
        ));
    }
    let middle = Ours::start(desk, bob, at_bob)?;
    let mut spokes: Vec<Box<dyn Peer>> = Vec::new();
    for (host, kind, leaf, (own, far)) in
        [(alice, Kind::Charon, &papers.alice, (nets[0], nets[1])), (carol, Kind::Ours, &carol_leaf, (nets[1], nets[0]))]
    {
        let mut tunnel = Tunnel::transport(host.address(Family::V4), here, papers.credentials(leaf));
        tunnel.mode = Mode::tunnel(own, far);
        spokes.push(peer::start(kind, desk, host, tunnel)?);
    }
    let evidence = |failure: Failure| {
        let sides = spokes.iter().map(|spoke| &**spoke).chain([&middle as &dyn Peer]);
        sides.fold(failure, |failure, side| {
            let name = side.host().name();
            failure
                .with(format!("{name}'s log"), side.log().unwrap_or_default())
                .with(format!("{name}'s SAs"), side.host().netns().ip(&["xfrm", "state"]).unwrap_or_default())
        })
    };
    ping::answered(alice, IpAddr::from([10, 23, 0, 1]), PATIENCE).map_err(evidence)?;
    ping::answered(carol, IpAddr::from([10, 21, 0, 1]), PATIENCE).map_err(evidence)?;
    let sas = kernel_state::sas(bob)?;
    if sas.len() != 4 || sas.iter().any(|sa| sa.packets == 0) {
        return Err(evidence(Failure::new(format!("the hub has {} SAs, or one of them carried nothing", sas.len()))));
    }
    desk.proved("alice's first ping made the hub ask carol; four SAs on the hub, each in use");
    Ok(())
}

/// Subnets of another family than the gateways speak IKE with.
fn other_family(
    desk: &mut Desk,
    kinds: (Kind, Kind),
    outside: Family,
    (local, remote): (&str, &str),
    inside: Family,
) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let gateways = desk.gateways()?;
    let (a, b) = (gateways.west.address(outside), gateways.east.address(outside));
    let tunnel = |own, other, mode, leaf| Tunnel { mode, ..Tunnel::transport(own, other, papers.credentials(leaf)) };
    let at_west = tunnel(a, b, Mode::tunnel(local, remote), &papers.alice);
    let at_east = tunnel(b, a, Mode::tunnel(remote, local), &papers.bob);
    let stage = Stage::with(desk, kinds, (&gateways.west, at_west), (&gateways.east, at_east))?;
    let (left, right) = (gateways.left.address(inside), gateways.right.address(inside));
    ping::answered(&gateways.left, right, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    ping::answered(&gateways.right, left, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    agreed(&stage, 2)?;
    desk.proved("the subnets reach each other through a tunnel of the other family");
    Ok(())
}

/// As [`protoport`]; xfrmd's sainfo for TCP has another cipher, and so has charon's second child.
fn protoport_ciphers(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let addresses = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    for (kind, host, (own, other), leaf) in [
        (responder, &pair.bob, (addresses.1, addresses.0), &papers.bob),
        (initiator, &pair.alice, addresses, &papers.alice),
    ] {
        let mut tunnel = Tunnel::transport(own, other, papers.credentials(leaf));
        tunnel.children =
            ["icmp", "tcp"].map(|protocol| Selectors::any(own.to_string(), other.to_string()).of(protocol)).to_vec();
        let local = format!("address {own}[any] tcp");
        peers.push(with_second_cipher(desk, kind, host, &mut tunnel, &local, &format!("address {other}[any] tcp"))?);
    }
    let (Some(initiator), Some(responder)) = (peers.pop(), peers.pop()) else {
        return Err(Failure::new("two daemons were started"));
    };
    let stage = Stage { initiator, responder, addresses };
    let (alice, to) = (stage.initiator.host(), stage.addresses.1);
    ping::answered(alice, to, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    let icmp = spis(&agreed(&stage, 2)?);
    let script = format!("exec 3<>/dev/tcp/{to}/9");
    wait::until(PATIENCE, "bob to refuse a TCP connection", || {
        Ok(alice.run("timeout", &["2", "bash", "-c", &script])?.output().contains("refused"))
    })
    .map_err(|failure| stage.evidence(failure))?;
    for sa in agreed(&stage, 4)? {
        let octets = if icmp.contains(&sa.spi) { 32 } else { 16 };
        if key_octets(&sa) != octets {
            return Err(stage.evidence(Failure::new(format!("SA {:x} has not {octets} octets of key", sa.spi))));
        }
    }
    desk.proved("AES-256 for ICMP, AES-128 for TCP");
    Ok(())
}

/// The third subnet is asked for by the side that answered so far.
fn one_each_way(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let Nets { left, right, west, east } = Nets::lay(desk)?;
    let stage = Stage::with(desk, (initiator, responder), (&west.0, west.1), (&east.0, east.1))?;
    ping::answered(&left, IpAddr::from(INSIDE[0]), PATIENCE).map_err(|failure| stage.evidence(failure))?;
    agreed(&stage, 2)?;
    let source = IpAddr::from(INSIDE[2]).to_string();
    wait::until(PATIENCE, "an answer to the third subnet", || {
        let done = right.run("ping", &["-n", "-c", "1", "-W", "1", "-I", &source, "10.11.0.10"])?;
        Ok(done.status.success())
    })
    .map_err(|failure| stage.evidence(failure))?;
    agreed(&stage, 4)?;
    if ![initiator, responder].contains(&Kind::Pluto) {
        under_one(&stage)?;
    }
    desk.proved("a child begun from each side");
    Ok(())
}

/// How long the keys of [`crossing`] live.
const LIFE: Duration = Duration::from_secs(15);

/// Both sides want to renew at four fifths of the same life.
fn crossing(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        (alice.phase2_life, bob.phase2_life) = (LIFE, LIFE);
    })?;
    let first = spis(&stage.establish(desk)?);
    let running = Running::start(stage.initiator.host(), stage.addresses.1, Duration::from_millis(100))?;
    let mut known = first;
    for renewal in ["first", "second"] {
        known = wait::until_some(Duration::from_secs(50), &format!("one pair after the {renewal} renewal"), || {
            let now = stage.sas_at(&*stage.initiator)?;
            let there = spis(&stage.sas_at(&*stage.responder)?);
            let new = spis(&now);
            let settled = new.len() == 2 && new == there && new.iter().all(|spi| !known.contains(spi));
            Ok(settled.then_some(new))
        })
        .map_err(|failure| stage.evidence(failure))?;
    }
    let tally = running.finish()?;
    if tally.lost() > 0 {
        return Err(stage.evidence(Failure::new(format!("{} of {} pings lost", tally.lost(), tally.sent))));
    }
    desk.proved(format!("two renewals wanted by both sides under {} pings: none lost, one pair each time", tally.sent));
    Ok(())
}

/// xfrmd's policies are of level `unique`: the kernel gives each a reqid, and their SAs have it.
fn level_unique(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let addresses = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    for (kind, host, (own, other), leaf) in [
        (responder, &pair.bob, (addresses.1, addresses.0), &papers.bob),
        (initiator, &pair.alice, addresses, &papers.alice),
    ] {
        let mut tunnel = Tunnel::transport(own, other, papers.credentials(leaf));
        tunnel.children =
            ["icmp", "udp"].map(|protocol| Selectors::any(own.to_string(), other.to_string()).of(protocol)).to_vec();
        peers.push(if kind == Kind::Ours {
            ours::install_credentials(desk, host, &tunnel)?;
            let script = ours::setkey_script(&tunnel).replace("/require;", "/unique;");
            Box::new(Ours::with_files(desk, host, &ours::racoon_conf(&tunnel), &script)?)
        } else {
            peer::start(kind, desk, host, tunnel)?
        });
    }
    let (Some(initiator_side), Some(responder_side)) = (peers.pop(), peers.pop()) else {
        return Err(Failure::new("two daemons were started"));
    };
    let stage = Stage { initiator: initiator_side, responder: responder_side, addresses };
    let _echo = echo(&pair.bob, L2TP)?;
    ping::answered(&pair.alice, addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    wait::until(PATIENCE, "an answer over UDP", || asks(&pair.alice, addresses.1, L2TP))
        .map_err(|failure| stage.evidence(failure))?;
    agreed(&stage, 4)?;
    let ours = if initiator == Kind::Ours { &pair.alice } else { &pair.bob };
    let text = ours.netns().ip(&["xfrm", "state"])?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut reqids: Vec<&str> = words.windows(2).filter(|pair| pair[0] == "reqid").map(|pair| pair[1]).collect();
    reqids.sort_unstable();
    let (count, zero) = (reqids.len(), reqids.contains(&"0"));
    reqids.dedup();
    if count != 4 || zero || reqids.len() < 2 {
        return Err(stage.evidence(Failure::new(format!("{count} SAs with reqids {reqids:?}"))));
    }
    desk.proved(format!("the SAs of two policies have reqids {}", reqids.join(", ")));
    Ok(())
}
