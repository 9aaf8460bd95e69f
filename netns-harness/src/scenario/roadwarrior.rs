//! Peers that come from anywhere: policies made for them and taken out again, blocks chosen by identity, traffic of others
//! refused, a new address.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::strongswan::Strongswan;
use crate::peer::tunnel::{Auth, Begin, Id, Mode, Selectors, Tunnel};
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::scenario::policies::{L2TP, asks, echo};
use crate::scenario::stage::{Papers, spis};
use crate::scenario::{Scenario, for_pairs};
use crate::topology::Gateways;
use crate::wait;

/// The gateway is xfrmd in all of them.
const CLIENTS: [(Kind, Kind); 3] = [(Kind::Ours, Kind::Ours), (Kind::Charon, Kind::Ours), (Kind::Pluto, Kind::Ours)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(
        out,
        &CLIENTS,
        "rw-generate-policy",
        "policies made for a client, renewed with it, gone with it",
        generated,
    );
    for_pairs(out, &CLIENTS, "rw-unique", "generate_policy unique: a reqid of its own", unique);
    for_pairs(out, &CLIENTS, "rw-moved", "a client comes back from another address with the same identity", moved);
    for_pairs(out, &CLIENTS, "rw-v6", "a client and an office with IPv6 addresses", |desk, client, _| v6(desk, client));
    for_pairs(
        out,
        &CLIENTS,
        "rw-virtual-ip",
        "a client with an address of its own choice that a sainfo names",
        virtual_ip,
    );
    for_pairs(out, &CLIENTS[..2], "rw-l2tp", "a policy made for UDP 1701 in transport mode", l2tp);
    for_pairs(out, &CLIENTS, "rw-many", "a client with two subnets, each named by a sainfo", many);
    out.push(Scenario::new("rw-psk-two/charon-xfrmd", "two clients, each with a pre-shared key of its own", psk_two));
    out.push(Scenario::new("rw-two/charon-xfrmd", "two clients at once, each under the block that names it", two));
    out.push(Scenario::new("rw-bounded/charon-xfrmd", "a client that asks for another's subnet is refused", bounded));
    for_pairs(out, &CLIENTS, "rw-killed", "a killed gateway finds the policies it made, and takes out orphans", killed);
}

/// The subnet behind the gateway.
const OFFICE: &str = "10.12.0.0/24";

/// A client on west, a gateway on east with a host behind it.
struct Road {
    client: Box<dyn Peer>,
    gateway: Ours,
    /// The hosts behind the two; they go with their last owner.
    _behind: [Rc<Host>; 2],
    /// The client's address and the office host's.
    addresses: (IpAddr, IpAddr),
}

impl Road {
    /// Both daemons, the gateway without policies; `adjust` may change each side's tunnel, the client's first.
    fn set(desk: &mut Desk, client: Kind, adjust: impl FnOnce(&mut Tunnel, &mut Tunnel)) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let desktop = desk.gateways()?;
        Self::lay(desk, client, Family::V4, (&papers, desktop), adjust)
    }

    fn lay(
        desk: &Desk,
        client: Kind,
        family: Family,
        (papers, desktop): (&Papers, Gateways),
        adjust: impl FnOnce(&mut Tunnel, &mut Tunnel),
    ) -> Result<Self> {
        let (a, b) = (desktop.west.address(family), desktop.east.address(family));
        let (own, office) = match family {
            Family::V4 => (format!("{a}/32"), OFFICE),
            Family::V6 => (format!("{a}/128"), "fd12::/64"),
        };
        let mut at_client = Tunnel::transport(a, b, papers.credentials(&papers.alice));
        at_client.mode = Mode::tunnel(&own, office);
        let mut at_gateway = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        at_gateway.mode = Mode::tunnel(office, &own);
        at_gateway.anonymous = true;
        at_gateway.begin = Begin::Wait;
        at_gateway.extra.racoon_remote = "\tpassive on;\n\tgenerate_policy on;\n".to_owned();
        adjust(&mut at_client, &mut at_gateway);
        let gateway = Ours::start(desk, &desktop.east, at_gateway)?;
        let client = peer::start(client, desk, &desktop.west, at_client)?;
        let addresses = (a, desktop.right.address(family));
        Ok(Self { client, gateway, _behind: [desktop.left, desktop.right], addresses })
    }

    fn establish(&self, desk: &mut Desk) -> Result<()> {
        ping::answered(self.client.host(), self.addresses.1, PATIENCE).map_err(|failure| self.evidence(failure))?;
        self.policies(3)?;
        desk.proved("the client reaches the office; in, out and fwd were made for it");
        Ok(())
    }

    /// Waits until the gateway's kernel has so many policies.
    fn policies(&self, wanted: usize) -> Result<()> {
        let host = self.gateway.host();
        wait::until(PATIENCE, &format!("{wanted} policies on the gateway"), || {
            Ok(kernel_state::policy_count(host)? == wanted)
        })
        .map_err(|failure| self.evidence(failure))
    }

    fn evidence(&self, failure: Failure) -> Failure {
        [&*self.client, &self.gateway as &dyn Peer].into_iter().fold(failure, evidence)
    }
}

/// The policies that are not bound to a socket.
fn spd(host: &Host) -> Result<Vec<String>> {
    let text = kernel_state::policies(host)?;
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        match blocks.last_mut().filter(|_| line.starts_with(char::is_whitespace)) {
            Some(block) => block.push_str(line),
            None => blocks.push(line.to_owned()),
        }
    }
    blocks.retain(|block| !block.contains("socket "));
    Ok(blocks)
}

fn evidence(failure: Failure, side: &dyn Peer) -> Failure {
    let name = side.host().name();
    failure
        .with(format!("{name}'s log"), side.log().unwrap_or_default())
        .with(format!("{name}'s SAs"), side.host().netns().ip(&["xfrm", "state"]).unwrap_or_default())
        .with(format!("{name}'s policies"), kernel_state::policies(side.host()).unwrap_or_default())
}

fn generated(desk: &mut Desk, client: Kind, _: Kind) -> Result<()> {
    let mut road = Road::set(desk, client, |client, _| client.phase2_life = Duration::from_secs(15))?;
    road.establish(desk)?;
    let before = spd(road.gateway.host())?;
    let known = spis(&kernel_state::sas(road.gateway.host())?);
    let running = Running::start(road.client.host(), road.addresses.1, Duration::from_millis(100))?;
    wait::until(Duration::from_secs(40), "the renewal of the IPsec SAs", || {
        let now = spis(&kernel_state::sas(road.gateway.host())?);
        Ok(now.len() == 2 && now.iter().all(|spi| !known.contains(spi)))
    })
    .map_err(|failure| road.evidence(failure))?;
    let tally = running.finish()?;
    if tally.lost() > 0 || spd(road.gateway.host())? != before {
        return Err(road.evidence(Failure::new(format!("{} pings lost, or other policies than before", tally.lost()))));
    }
    desk.proved(format!("phase 2 renewed under {} pings, none lost; the policies are the same", tally.sent));
    road.client.close().map_err(|failure| road.evidence(failure))?;
    road.policies(0)?;
    if !road.gateway.log()?.contains("deleting a generated policy.") {
        return Err(road.evidence(Failure::new("the gateway does not say that it deletes the policy")));
    }
    desk.proved("with the client's SAs its policies went");
    road.client.reopen()?;
    road.establish(desk)?;
    if client != Kind::Pluto {
        // pluto answers the DELETEs, and the gateway's kernel tells it in clear that nobody listens any more.
        road.gateway.shut_down()?;
        road.policies(0)?;
        desk.proved("an orderly end leaves none");
    }
    Ok(())
}

fn unique(desk: &mut Desk, client: Kind, _: Kind) -> Result<()> {
    let road = Road::set(desk, client, |_, gateway| {
        gateway.extra.racoon_remote = "\tpassive on;\n\tgenerate_policy unique;\n".to_owned();
    })?;
    road.establish(desk)?;
    let sas = road.gateway.host().netns().ip(&["xfrm", "state"])?;
    let policies = kernel_state::policies(road.gateway.host())?;
    let reqids = |text: &str| -> Vec<String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.windows(2).filter(|pair| pair[0] == "reqid").map(|pair| pair[1].to_owned()).collect()
    };
    let all: Vec<String> = reqids(&sas).into_iter().chain(reqids(&policies)).collect();
    let first = all.first().cloned().unwrap_or_default();
    if all.len() != 5 || first == "0" || all.iter().any(|reqid| *reqid != first) {
        return Err(road.evidence(Failure::new(format!("reqids {all:?}"))));
    }
    desk.proved(format!("three policies and two SAs have reqid {first}"));
    Ok(())
}

fn killed(desk: &mut Desk, client: Kind, _: Kind) -> Result<()> {
    let mut road = Road::set(desk, client, |_, _| {})?;
    road.establish(desk)?;
    let host = Rc::clone(road.gateway.host());
    host.netns().ip(&["xfrm", "policy", "add", "src", "192.0.2.0/24", "dst", "198.51.100.0/24", "dir", "out"])?;
    let running = Running::start(road.client.host(), road.addresses.1, Duration::from_millis(100))?;
    running.wait_for_answers(PATIENCE, 5)?;
    road.gateway.kill()?;
    road.gateway.restart()?;
    running.wait_for_answers(PATIENCE, 20).map_err(|failure| road.evidence(failure))?;
    let tally = running.finish()?;
    road.policies(4)?;
    if tally.lost() > 0 {
        return Err(road.evidence(Failure::new(format!("{} pings lost over the restart", tally.lost()))));
    }
    desk.proved(format!(
        "killed and started again under {} pings, none lost: the policies were taken over",
        tally.sent
    ));
    // The SAs go while nobody looks; the policies have nothing to be for.
    road.gateway.kill()?;
    host.netns().ip(&["xfrm", "state", "flush"])?;
    road.gateway.restart()?;
    road.policies(1)?;
    let left = kernel_state::policies(&host)?;
    if !left.contains("198.51.100.0/24") {
        return Err(road.evidence(Failure::new("the policy of somebody else is gone")));
    }
    desk.proved("killed again and its SAs flushed: what it had made is taken out, another's policy stays");
    Ok(())
}

/// The subnet behind the client.
const HOME: &str = "10.11.0.0/24";

/// A `sainfo` that lets alice, and nobody else, bring her subnet along.
const ALICE_MAY: &str = "sainfo subnet 10.12.0.0/24 any subnet 10.11.0.0/24 any from fqdn \"alice.desk\" {
\tpfs_group 14;
\tencryption_algorithm aes 256;
\tauthentication_algorithm hmac_sha256;
}
";

/// The client goes away without a word and comes back from another address, the same subnet behind it.
fn moved(desk: &mut Desk, client: Kind, _: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let gateways = desk.gateways()?;
    let (a, b) = (gateways.west.address(Family::V4), gateways.east.address(Family::V4));
    let moved_to = IpAddr::from([10, 1, 0, 77]);
    let at_client = |local| {
        let mut tunnel = Tunnel::transport(local, b, papers.credentials(&papers.alice));
        tunnel.mode = Mode::tunnel(HOME, OFFICE);
        tunnel.local_id = Id::Fqdn("alice.desk".to_owned());
        tunnel
    };
    let mut at_gateway = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    at_gateway.anonymous = true;
    at_gateway.begin = Begin::Wait;
    at_gateway.extra.racoon = ALICE_MAY.to_owned();
    at_gateway.extra.racoon_remote = "\tpassive on;\n\tgenerate_policy on;\n\tpeers_identifier fqdn;\n".to_owned();
    let gateway = Ours::start(desk, &gateways.east, at_gateway)?;
    let mut daemon = peer::start(client, desk, &gateways.west, at_client(a))?;
    let office = gateways.right.address(Family::V4);
    let both = |failure: Failure, daemon: &dyn Peer| evidence(evidence(failure, daemon), &gateway);
    ping::answered(&gateways.left, office, PATIENCE).map_err(|failure| both(failure, &*daemon))?;
    let before = spd(gateway.host())?;
    daemon.kill()?;
    drop(daemon);
    for command in [
        vec!["xfrm", "state", "flush"],
        vec!["xfrm", "policy", "flush"],
        vec!["addr", "del", "10.1.0.1/24", "dev", "eth0"],
        vec!["addr", "add", "10.1.0.77/24", "dev", "eth0"],
        vec!["route", "replace", "10.12.0.0/24", "via", "10.1.0.2"],
    ] {
        gateways.west.netns().ip(&command)?;
    }
    // Else what the gateway sends to the old address would still find the client, which would answer in clear that it is
    // not there.
    gateways.east.netns().ip(&["neigh", "flush", "all"])?;
    let daemon = peer::start(client, desk, &gateways.west, at_client(moved_to))?;
    ping::answered(&gateways.left, office, PATIENCE).map_err(|failure| both(failure, &*daemon))?;
    wait::until(PATIENCE, "only SAs with the new address on the gateway", || {
        let sas = kernel_state::sas(gateway.host())?;
        Ok(sas.len() == 2 && sas.iter().all(|sa| sa.source == moved_to || sa.destination == moved_to))
    })
    .map_err(|failure| both(failure, &*daemon))?;
    let after = spd(gateway.host())?;
    if before.len() != 3 || after.len() != 3 || after.iter().any(|policy| !policy.contains("10.1.0.77")) {
        let failure = Failure::new("the policies are not those of the new address").with("before", before.join("\n"));
        return Err(both(failure, &*daemon));
    }
    desk.proved("after the move the policies and SAs are for the new address, and none for the old one");
    Ok(())
}

/// A block of the gateway of [`two`]; beside these stands the tunnel's own, which names somebody else.
fn block(name: &str, number: u32) -> String {
    format!(
        "remote \"for-{name}\" {{
\texchange_mode main;
\tpassive on;
\tgenerate_policy on;
\tmy_identifier asn1dn;
\tpeers_identifier fqdn \"{name}.desk\";
\tverify_identifier on;
\tph1id {number};
\tcertificate_type x509 \"own.crt\" \"own.key\";
\tca_type x509 \"ca.crt\";
\tproposal_check obey;
\tproposal {{
\t\tencryption_algorithm aes 256;
\t\thash_algorithm sha256;
\t\tauthentication_method rsasig;
\t\tdh_group 14;
\t}}
}}
"
    )
}

const SAINFOS: &str = "sainfo anonymous clientaddr {
\tremoteid 1;
\tpfs_group 14;
\tencryption_algorithm aes 256;
\tauthentication_algorithm hmac_sha256;
}
sainfo anonymous clientaddr {
\tremoteid 2;
\tpfs_group 14;
\tencryption_algorithm aes 128;
\tauthentication_algorithm hmac_sha256;
}
";

/// Alice (charon) and bob (xfrmd) come to carol, whose blocks are told apart by identity and give each another cipher.
fn two(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let carol_leaf = papers.authority.leaf(&mut desk.keys, "carol.desk", 4)?;
    let lan = desk.lan(&["alice", "bob", "carol"])?;
    let [alice, bob, carol] = lan.hosts.as_slice() else { return Err(Failure::new("three hosts were made")) };
    let office = "10.12.0.1/24";
    carol.netns().ip(&["addr", "add", office, "dev", "lo"])?;
    let to = IpAddr::from([10, 12, 0, 1]);
    let here = carol.address(Family::V4);
    let mut at_carol = Tunnel::transport(here, alice.address(Family::V4), papers.credentials(&carol_leaf));
    at_carol.anonymous = true;
    at_carol.begin = Begin::Wait;
    at_carol.remote_id = Id::Fqdn("nobody.desk".to_owned());
    at_carol.extra.racoon = format!("{}{}{SAINFOS}", block("bob", 2), block("alice", 1));
    let gateway = Ours::start(desk, carol, at_carol)?;
    let mut clients: Vec<Box<dyn Peer>> = Vec::new();
    for (host, kind, leaf, cipher) in
        [(alice, Kind::Charon, &papers.alice, peer::suite::AES256), (bob, Kind::Ours, &papers.bob, peer::suite::AES128)]
    {
        let own = host.address(Family::V4);
        host.netns().ip(&["route", "add", "10.12.0.0/24", "via", &here.to_string()])?;
        let mut tunnel = Tunnel::transport(own, here, papers.credentials(leaf));
        tunnel.mode = Mode::tunnel(&format!("{own}/32"), "10.12.0.0/24");
        tunnel.local_id = Id::Fqdn(leaf.common_name.clone());
        tunnel.phase2.cipher = cipher;
        clients.push(peer::start(kind, desk, host, tunnel)?);
    }
    let all = |failure: Failure| {
        clients.iter().fold(evidence(failure, &gateway), |failure, client| evidence(failure, &**client))
    };
    for host in [alice, bob] {
        ping::answered(host, to, PATIENCE).map_err(all)?;
    }
    for (host, key_octets) in [(alice, 32), (bob, 16)] {
        let own = host.address(Family::V4);
        let sas = kernel_state::sas_between(carol, here, own)?;
        let fits = |sa: &kernel_state::Sa| {
            let enc = sa.algorithms.iter().find(|text| text.contains("cbc(aes)")).cloned().unwrap_or_default();
            let key = enc.split_whitespace().find_map(|word| word.strip_prefix("0x")).unwrap_or_default().len();
            key == key_octets * 2
        };
        if sas.len() != 2 || !sas.iter().all(fits) {
            return Err(all(Failure::new(format!("{} does not have a pair with {key_octets} octets", host.name()))));
        }
    }
    if spd(carol)?.len() != 6 {
        return Err(all(Failure::new("not three policies for each client")));
    }
    desk.proved("each client has the cipher of the block that names it, and policies of its own");
    Ok(())
}

/// Alice brings the subnet that she may; then she asks for one that is not hers.
fn bounded(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let gateways = desk.gateways()?;
    let (a, b) = (gateways.west.address(Family::V4), gateways.east.address(Family::V4));
    let mut at_gateway = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    at_gateway.anonymous = true;
    at_gateway.begin = Begin::Wait;
    at_gateway.extra.racoon = ALICE_MAY.to_owned();
    at_gateway.extra.racoon_remote = "\tpassive on;\n\tgenerate_policy on;\n\tpeers_identifier fqdn;\n".to_owned();
    let gateway = Ours::start(desk, &gateways.east, at_gateway)?;
    let mut tunnel = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    tunnel.mode = Mode::tunnel(HOME, OFFICE);
    tunnel.local_id = Id::Fqdn("alice.desk".to_owned());
    tunnel.begin = Begin::Wait;
    tunnel.children = ["10.99.0.0/24", "0.0.0.0/0", HOME].map(|local| Selectors::any(local, OFFICE)).to_vec();
    let client = Strongswan::start(&gateways.west, tunnel)?;
    let both = |failure: Failure| evidence(evidence(failure, &client), &gateway);
    for (child, subnet) in [("net", "10.99.0.0/24"), ("net1", "0.0.0.0/0")] {
        let done = client.swanctl(&["--initiate", "--child", child, "--timeout", "10"])?;
        let told = client.log()?.contains("INVALID_ID_INFORMATION") || client.log()?.contains("INVAL_ID");
        if done.status.success() || !told || !spd(gateway.host())?.is_empty() {
            return Err(both(Failure::new(format!("{subnet} was not refused")).with("swanctl", done.output())));
        }
    }
    if !gateway.log()?.contains("no sainfo names 10.99.0.0/24") {
        return Err(both(Failure::new("the gateway does not say why it refuses")));
    }
    desk.proved("10.99.0.0/24 and 0.0.0.0/0 are refused with INVALID-ID-INFORMATION; nothing came into the kernel");
    let done = client.swanctl(&["--initiate", "--child", "net2", "--timeout", "10"])?;
    if !done.status.success() {
        return Err(both(Failure::new("her own subnet was refused").with("swanctl", done.output())));
    }
    ping::answered(&gateways.left, gateways.right.address(Family::V4), PATIENCE).map_err(both)?;
    desk.proved("the subnet that the sainfo names for her works, on the same ISAKMP SA");
    Ok(())
}

fn v6(desk: &mut Desk, client: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let desktop = desk.gateways()?;
    let mut road = Road::lay(desk, client, Family::V6, (&papers, desktop), |_, _| {})?;
    ping::answered(road.client.host(), road.addresses.1, PATIENCE).map_err(|failure| road.evidence(failure))?;
    let made =
        |host: &Host| -> Result<usize> { Ok(spd(host)?.iter().filter(|policy| policy.contains("fd12::/64")).count()) };
    if made(road.gateway.host())? != 3 {
        return Err(road.evidence(Failure::new("not three policies for the client")));
    }
    road.client.close().map_err(|failure| road.evidence(failure))?;
    let host = Rc::clone(road.gateway.host());
    wait::until(PATIENCE, "the client's policies to be gone", || Ok(made(&host)? == 0))
        .map_err(|failure| road.evidence(failure))?;
    desk.proved("three policies made for an IPv6 client, gone with it");
    Ok(())
}

/// A `sainfo` for a client's traffic.
fn sainfo_for(remote: &str) -> String {
    format!(
        "sainfo subnet {OFFICE} any {remote} any from fqdn \"alice.desk\" {{\n\tpfs_group 14;\n\tencryption_algorithm aes \
         256;\n\tauthentication_algorithm hmac_sha256;\n}}\n"
    )
}

fn virtual_ip(desk: &mut Desk, client: Kind, _: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let desktop = desk.gateways()?;
    desktop
        .west
        .netns()
        .batch("addr add 10.77.0.5/32 dev lo\nroute replace 10.12.0.0/24 via 10.1.0.2 src 10.77.0.5\n")?;
    desktop.east.netns().ip(&["route", "add", "10.77.0.0/24", "via", "10.1.0.1"])?;
    let road = Road::lay(desk, client, Family::V4, (&papers, desktop), |client, gateway| {
        client.mode = Mode::tunnel("10.77.0.5/32", OFFICE);
        client.local_id = Id::Fqdn("alice.desk".to_owned());
        gateway.extra.racoon = sainfo_for("address 10.77.0.5");
        gateway.extra.racoon_remote.push_str("\tpeers_identifier fqdn;\n");
    })?;
    road.establish(desk)
}

fn l2tp(desk: &mut Desk, client: Kind, _: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut at_gateway = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    at_gateway.anonymous = true;
    at_gateway.begin = Begin::Wait;
    at_gateway.extra.racoon_remote = "\tpassive on;\n\tgenerate_policy on;\n".to_owned();
    let mut at_client = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    at_client.children = vec![Selectors::any(a.to_string(), b.to_string()).of("udp").ports(None, Some(L2TP))];
    let gateway = Ours::start(desk, &pair.bob, at_gateway)?;
    let mut daemon = peer::start(client, desk, &pair.alice, at_client)?;
    let both = |failure: Failure, daemon: &dyn Peer| evidence(evidence(failure, daemon), &gateway);
    let _echo = echo(&pair.bob, L2TP)?;
    wait::until(PATIENCE, "an answer from UDP 1701", || asks(&pair.alice, b, L2TP))
        .map_err(|failure| both(failure, &*daemon))?;
    let made = spd(gateway.host())?;
    if made.len() != 2 || made.iter().any(|policy| !policy.contains("udp") || !policy.contains("1701")) {
        return Err(both(Failure::new("not an inbound and an outbound policy for UDP 1701"), &*daemon));
    }
    daemon.close()?;
    wait::until(PATIENCE, "the policies to be gone", || Ok(spd(gateway.host())?.is_empty()))
        .map_err(|failure| both(failure, &*daemon))?;
    desk.proved("two policies for UDP 1701 made in transport mode, gone with the client");
    Ok(())
}

fn many(desk: &mut Desk, client: Kind, _: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let desktop = desk.gateways()?;
    let left = Rc::clone(&desktop.left);
    desktop.west.netns().ip(&["addr", "add", "10.21.0.1/24", "dev", "eth1"])?;
    left.netns().ip(&["addr", "add", "10.21.0.10/24", "dev", "eth0"])?;
    desktop.east.netns().ip(&["route", "add", "10.21.0.0/24", "via", "10.1.0.1"])?;
    let mut road = Road::lay(desk, client, Family::V4, (&papers, desktop), |client, gateway| {
        client.mode = Mode::tunnel(HOME, OFFICE);
        client.children = [HOME, "10.21.0.0/24"].map(|net| Selectors::any(net, OFFICE)).to_vec();
        client.local_id = Id::Fqdn("alice.desk".to_owned());
        gateway.extra.racoon = [sainfo_for("subnet 10.11.0.0/24"), sainfo_for("subnet 10.21.0.0/24")].concat();
        gateway.extra.racoon_remote.push_str("\tpeers_identifier fqdn;\n");
    })?;
    let office = road.addresses.1.to_string();
    for (source, policies) in [("10.11.0.10", 3), ("10.21.0.10", 6)] {
        wait::until(PATIENCE, &format!("an answer for {source}"), || {
            Ok(left.run("ping", &["-n", "-c", "1", "-W", "1", "-I", source, &office])?.status.success())
        })
        .map_err(|failure| road.evidence(failure))?;
        road.policies(policies)?;
    }
    road.client.shut_down().map_err(|failure| road.evidence(failure))?;
    road.policies(0)?;
    desk.proved("policies for each of the client's two subnets, gone with it");
    Ok(())
}

/// Two clients on the gateway's own link, told apart by their addresses and keys.
fn psk_two(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let lan = desk.lan(&["alice", "bob", "carol"])?;
    let [alice, bob, carol] = lan.hosts.as_slice() else { return Err(Failure::new("three hosts were made")) };
    carol.netns().ip(&["addr", "add", "10.12.0.1/24", "dev", "lo"])?;
    let (here, to) = (carol.address(Family::V4), IpAddr::from([10, 12, 0, 1]));
    let keys = ["a key that only alice knows, 1", "a key that only bob knows, 22"];
    let mut at_carol = Tunnel::transport(here, alice.address(Family::V4), papers.credentials(&papers.bob));
    at_carol.anonymous = true;
    at_carol.begin = Begin::Wait;
    at_carol.auth = Auth::Psk("nobody has this one, it is long".to_owned());
    at_carol.extra.psk_txt = format!("10.1.0.1 {}\n10.1.0.2 {}\n", keys[0], keys[1]);
    at_carol.extra.racoon_remote = "\tpassive on;\n\tgenerate_policy on;\n".to_owned();
    let gateway = Ours::start(desk, carol, at_carol)?;
    let mut clients: Vec<Box<dyn Peer>> = Vec::new();
    for (host, kind, key) in [(alice, Kind::Charon, keys[0]), (bob, Kind::Ours, keys[1])] {
        let own = host.address(Family::V4);
        host.netns().ip(&["route", "add", "10.12.0.0/24", "via", &here.to_string()])?;
        let mut tunnel = Tunnel::transport(own, here, papers.credentials(&papers.alice));
        tunnel.mode = Mode::tunnel(&format!("{own}/32"), OFFICE);
        tunnel.auth = Auth::Psk(key.to_owned());
        clients.push(peer::start(kind, desk, host, tunnel)?);
    }
    let all = |failure: Failure| {
        clients.iter().fold(evidence(failure, &gateway), |failure, client| evidence(failure, &**client))
    };
    for host in [alice, bob] {
        ping::answered(host, to, PATIENCE).map_err(all)?;
    }
    if spd(carol)?.len() != 6 {
        return Err(all(Failure::new("not three policies for each client")));
    }
    desk.proved("each client with its own key, and policies of its own");
    Ok(())
}
