//! One peer with two certificates: alice has a tunnel with bob for each, and bob cuts the one without touching the other.
//!
//! ```text
//!   lo 10.21.0.1 --- alice ===== first certificate ====== bob --- lo 10.31.0.1
//!   lo 10.22.0.1 ---       ===== second certificate =====     --- lo 10.32.0.1
//! ```
//! charon on alice has both tunnels between the same two addresses, so that nothing but the certificates tells them apart.
//! xfrmd chooses its certificate by the peer's address, as racoon does: there bob has a second one.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::ours::{self, CERTS, Ours};
use crate::peer::strongswan::{self, Strongswan};
use crate::peer::tunnel::{Mode, Tunnel};
use crate::peer::{Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::pki::Leaf;
use crate::scenario::drill::deleted;
use crate::scenario::stage::{ALICE_SERIAL, Papers, QUIET, spis};
use crate::scenario::{Scenario, for_pairs};
use crate::topology::{OUTSIDE, Pair};
use crate::wait;

/// xfrmd is the responder in both.
const PAIRS: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Ours), (Kind::Charon, Kind::Ours)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(
        out,
        &PAIRS,
        "revocation-one-of-two",
        "a peer with two certificates loses the SAs of the revoked one only",
        play,
    );
}

/// Serial of alice's other certificate.
const SECOND_SERIAL: u64 = 20;
/// bob's address beside its usual one.
const SECOND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 12));
/// Between pings.
const OFTEN: Duration = Duration::from_millis(50);

/// One of the two tunnels, alice's end and bob's.
#[derive(Clone, Copy)]
struct Way {
    alice: &'static str,
    bob: &'static str,
}

const FIRST_WAY: Way = Way { alice: "10.21.0.1", bob: "10.31.0.1" };
const SECOND_WAY: Way = Way { alice: "10.22.0.1", bob: "10.32.0.1" };

impl Way {
    fn at_alice(self) -> Mode {
        Mode::tunnel(&format!("{}/32", self.alice), &format!("{}/32", self.bob))
    }

    fn at_bob(self) -> Mode {
        Mode::tunnel(&format!("{}/32", self.bob), &format!("{}/32", self.alice))
    }

    fn target(self) -> Result<IpAddr> {
        self.bob.parse().map_err(|error| Failure::new(format!("{}: {error}", self.bob)))
    }
}

fn play(desk: &mut Desk, initiator: Kind, _: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let second = papers.authority.leaf(&mut desk.keys, "second.alice.desk", SECOND_SERIAL)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let other = if initiator == Kind::Charon { b } else { SECOND };
    addresses(&pair)?;

    let mut at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    // bob has one name and two addresses: his INITIAL-CONTACT to another of alice's would end what she has with the first.
    at_bob.extra.racoon_remote = "\tinitial_contact off;\n".to_owned();
    ours::install_credentials(desk, &pair.bob, &at_bob)?;
    let conf = ours::racoon_conf(&at_bob);
    at_bob.mode = FIRST_WAY.at_bob();
    let mut script = ours::setkey_script(&at_bob);
    at_bob = Tunnel { local: other, mode: SECOND_WAY.at_bob(), ..at_bob };
    script.push_str(&policies(&at_bob));
    let mut bob = Ours::with_files(desk, &pair.bob, &conf, &script)?;

    let first = Tunnel { mode: FIRST_WAY.at_alice(), ..Tunnel::transport(a, b, papers.credentials(&papers.alice)) };
    let other = Tunnel { mode: SECOND_WAY.at_alice(), ..Tunnel::transport(a, other, papers.credentials(&second)) };
    let alice: Box<dyn Peer> = match initiator {
        Kind::Charon => Box::new(charon(&pair.alice, &first, &other, &second)?),
        _ => Box::new(xfrmd(desk, &pair.alice, &first, &other, &second)?),
    };
    act(desk, &pair, &*alice, &mut bob).map_err(|failure| {
        failure
            .with("alice's log", alice.log().unwrap_or_default())
            .with("bob's log", bob.log().unwrap_or_default())
            .with("bob's SAs", pair.bob.netns().ip(&["-s", "xfrm", "state"]).unwrap_or_default())
    })
}

fn act(desk: &mut Desk, pair: &Pair, alice: &dyn Peer, bob: &mut Ours) -> Result<()> {
    let mut pings = Vec::new();
    for way in [FIRST_WAY, SECOND_WAY] {
        ping::answered(&pair.alice, way.target()?, PATIENCE)?;
        pings.push(Running::start(&pair.alice, way.target()?, OFTEN)?);
    }
    pings.iter().try_for_each(|ping| ping.wait_for_answers(PATIENCE, 10))?;
    let before = spis(&kernel_state::sas(&pair.bob)?);
    let listed = serials(bob)?;
    if before.len() != 4 || listed != [ALICE_SERIAL, ALICE_SERIAL, SECOND_SERIAL, SECOND_SERIAL] {
        return Err(Failure::new(format!("bob holds {} SAs, of the serials {listed:?}", before.len())));
    }
    desk.proved("two tunnels, of a certificate each, carry pings");

    let closing = revoke(bob, SECOND_SERIAL)?;
    let left = spis(&kernel_state::sas(&pair.bob)?);
    if left.len() != 2 || !left.iter().all(|spi| before.contains(spi)) || serials(bob)? != [ALICE_SERIAL; 2] {
        return Err(Failure::new(format!("bob had {before:x?} and has {left:x?}")));
    }
    desk.proved(closing);
    wait::until(PATIENCE, "alice's SAs of the revoked certificate to be gone", || {
        Ok(spis(&kernel_state::sas(alice.host())?) == left)
    })?;
    // The running ping makes alice negotiate again and again.
    wait::until(PATIENCE, "bob to log the refusal with the serial", || {
        Ok(bob.log()?.contains(&format!("serial {SECOND_SERIAL} of /C=US/O=Desk/CN=Desk CA is on the deny list")))
    })?;
    wait::throughout(QUIET, "the same two SAs on bob", || Ok(spis(&kernel_state::sas(&pair.bob)?) == left))?;
    ping::unanswered(&pair.alice, SECOND_WAY.target()?, QUIET)?;
    let (first, second) = (pings.swap_remove(0), pings.swap_remove(0));
    let (gaps, answers) = (first.gaps()?, first.answers()?);
    if gaps > 0 {
        return Err(Failure::new(format!(
            "the other certificate's tunnel lost {gaps} pings beside {answers} answered"
        )));
    }
    drop(second);
    desk.proved(format!("the other certificate's tunnel has its SAs still: {answers} pings, none lost"));

    bob.kill()?;
    first.wait_for_answers(PATIENCE, 10)?;
    let closing = revoke(bob, ALICE_SERIAL)?;
    if !kernel_state::sas(&pair.bob)?.is_empty() {
        return Err(Failure::new("SAs of a revoked certificate are left, with the daemon dead"));
    }
    bob.restart()?;
    for way in [FIRST_WAY, SECOND_WAY] {
        ping::unanswered(&pair.alice, way.target()?, QUIET)?;
    }
    desk.proved(format!("with the daemon dead: {closing}; its next life refuses both"));
    Ok(())
}

/// The closing line of `xfrmctl revoke`, which must have found one pair of SAs.
fn revoke(bob: &Ours, serial: u64) -> Result<String> {
    let text = serial.to_string();
    let done = bob.xfrmctl(&["revoke", "--serial", &text, "--issuer", &format!("{CERTS}/ca.crt")])?;
    let closing = done.stdout.lines().last().unwrap_or_default().to_owned();
    if done.status.success() && deleted(&closing) == Some(2) {
        return Ok(closing);
    }
    Err(Failure::new(format!("xfrmctl revoke ended with \"{closing}\"")).with("its output", done.output()))
}

/// The serial of each SA's certificate, as `xfrmctl sa` has it, sorted.
fn serials(bob: &Ours) -> Result<Vec<u64>> {
    let done = bob.xfrmctl(&["sa", "--json"])?;
    let unreadable = || Failure::new("xfrmctl sa --json names no serials").with("its output", done.output());
    let listed: Vec<serde_json::Value> = serde_json::from_str(&done.stdout).map_err(|_| unreadable())?;
    let serial = |sa: &serde_json::Value| sa.get("cert_serial")?.as_str()?.parse().ok();
    let mut found = listed
        .iter()
        .filter(|sa| sa.get("encryption").is_some_and(|name| !name.is_null()))
        .map(serial)
        .collect::<Option<Vec<u64>>>()
        .ok_or_else(unreadable)?;
    found.sort_unstable();
    Ok(found)
}

fn addresses(pair: &Pair) -> Result<()> {
    let end = |address: &str| format!("addr add {address}/32 dev lo\n");
    let to = |far: &str, via: IpAddr, near: &str| format!("route add {far}/32 via {via} src {near}\n");
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let (mut at_alice, mut at_bob) = (String::new(), format!("addr add {SECOND}/24 dev {OUTSIDE}\n"));
    for way in [FIRST_WAY, SECOND_WAY] {
        at_alice.push_str(&(end(way.alice) + &to(way.bob, b, way.alice)));
        at_bob.push_str(&(end(way.bob) + &to(way.alice, a, way.bob)));
    }
    pair.alice.netns().batch(&at_alice)?;
    pair.bob.netns().batch(&at_bob)
}

/// The `spdadd` lines of a tunnel.
fn policies(tunnel: &Tunnel) -> String {
    let script = ours::setkey_script(tunnel);
    script.lines().filter(|line| line.starts_with("spdadd")).map(|line| format!("{line}\n")).collect()
}

fn charon(host: &Rc<Host>, first: &Tunnel, other: &Tunnel, second: &Leaf) -> Result<Strongswan> {
    host.write(&format!("{}/swanctl/x509/second.crt", strongswan::FOLDER), 0o644, &second.pem)?;
    host.write(&format!("{}/swanctl/private/second.key", strongswan::FOLDER), 0o600, &second.key)?;
    let other = strongswan::swanctl_conf(other)
        .replace("  net {\n    version", "  other {\n    version")
        .replace("own.crt", "second.crt");
    let both = strongswan::swanctl_conf(first) + &other;
    Strongswan::with_files(host, &first.credentials, &strongswan::strongswan_conf(first), &both)
}

fn xfrmd(desk: &Desk, host: &Rc<Host>, first: &Tunnel, other: &Tunnel, second: &Leaf) -> Result<Ours> {
    ours::install_credentials(desk, host, first)?;
    host.write(&format!("{CERTS}/second.crt"), 0o644, &second.pem)?;
    host.write(&format!("{CERTS}/second.key"), 0o600, &second.key)?;
    let text = ours::racoon_conf(other).replace("\"own.", "\"second.");
    let block = text.find("remote ").and_then(|from| text.get(from..text.find("sainfo ")?));
    let block = block.ok_or_else(|| Failure::new("a racoon.conf without a remote block").with("its text", &text))?;
    let script = ours::setkey_script(first) + &policies(other);
    Ours::with_files(desk, host, &(ours::racoon_conf(first) + block), &script)
}
