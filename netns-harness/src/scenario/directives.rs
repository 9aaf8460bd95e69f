//! Directives of racoon.conf that show in traffic and that no other scenario needs: `passive`, `rekey off`, `listen` with a
//! port and with `strict_address`, `timer { persend }`, the lists of old samples, and a psk.txt that changes.

use std::net::IpAddr;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ours::{self, Ours, PSK};
use crate::peer::tunnel::{Auth, Tunnel};
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping;
use crate::scenario::stage::{BOB_SERIAL, Papers, QUIET, Stage};
use crate::scenario::{Scenario, for_pairs};
use crate::wait;

/// xfrmd alone, and with another make as the peer.
const OURS_FIRST: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Charon)];
const ALONE: [(Kind, Kind); 1] = [(Kind::Ours, Kind::Ours)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &OURS_FIRST, "passive", "`passive on` begins nothing, and answers", passive);
    for_pairs(out, &ALONE, "rekey-off", "`rekey off` lets the ISAKMP SA end, and ESP goes on", rekey_off);
    for_pairs(out, &ALONE, "listen-port", "`listen { isakmp ADDR [PORT]; }`, begun from both sides", listen_port);
    for_pairs(out, &ALONE, "persend", "`timer { persend 2; }` sends each message twice", persend);
    for_pairs(out, &OURS_FIRST, "psk-changed", "a psk.txt that changes counts without a reload", psk_changed);
    for_pairs(out, &OURS_FIRST, "old-sample", "the modes and ciphers of an old sample configuration", old_sample);
    for_pairs(out, &OURS_FIRST, "privsep", "`privsep` leaves a user and three capabilities, and all goes on", privsep);
    out.push(Scenario::new("strict-address", "`listen` with an address that the host does not have", strict_address));
}

fn passive(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, _| {
        alice.extra.racoon_remote = "\tpassive on;\n".to_owned();
    })?;
    let (alice, bob) = (stage.initiator.host(), stage.responder.host());
    ping::unanswered(alice, stage.addresses.1, QUIET).map_err(|failure| stage.evidence(failure))?;
    let sent = desk.traffic()?.ike;
    if sent > 0 {
        return Err(stage.evidence(Failure::new(format!("{sent} packets of IKE although alice is passive"))));
    }
    ping::answered(bob, stage.addresses.0, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    ping::answered(alice, stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    desk.proved("alice's packets made no negotiation, bob's did, and alice's go through its SAs");
    Ok(())
}

fn rekey_off(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let life = Duration::from_secs(12);
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        for tunnel in [alice, bob] {
            tunnel.phase1_life = life;
            tunnel.extra.racoon_remote = "\trekey off;\n".to_owned();
        }
    })?;
    let before = stage.establish(desk)?;
    // Whose clock is a little ahead says "expired", and tells the other.
    for side in [&stage.initiator, &stage.responder] {
        stage.logged(&**side, &["ISAKMP-SA expired", "purged ISAKMP-SA"])?;
    }
    ping::answered(stage.initiator.host(), stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    let after = stage.agreed()?;
    let made = stage.initiator.log()?.matches("ISAKMP-SA established").count();
    if made != 1 || before.len() != after.len() {
        let what = format!("{made} ISAKMP SAs were made, {} SAs of ESP became {}", before.len(), after.len());
        return Err(stage.evidence(Failure::new(what)));
    }
    desk.proved("the ISAKMP SA ended after its 12 s and no other was made; ESP goes on");
    Ok(())
}

fn listen_port(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut at_alice = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    at_alice.extra.racoon = format!("listen {{ isakmp {a} [5500]; }}\n");
    ours::install_credentials(desk, &pair.alice, &at_alice)?;
    ours::install_credentials(desk, &pair.bob, &at_bob)?;
    let script = |tunnel: &Tunnel| ours::setkey_script(tunnel);
    let to_alice = ours::racoon_conf(&at_bob).replace(&format!("remote {a} {{"), &format!("remote {a} [5500] {{"));
    let bob = Ours::with_files(desk, &pair.bob, &to_alice, &script(&at_bob))?;
    let alice = Ours::with_files(desk, &pair.alice, &ours::racoon_conf(&at_alice), &script(&at_alice))?;
    let stage = Stage { initiator: Box::new(alice), responder: Box::new(bob), addresses: (a, b) };
    stage.establish(desk)?;
    stage.logged(&*stage.responder, &[&format!("respond new phase 1 negotiation: {b}[500]<=>{a}[5500]")])?;
    // The other way round: nothing is left, and bob begins.
    for side in [&stage.initiator, &stage.responder] {
        side.host().check(desk.program("xfrmctl"), &["down", "--all"])?;
    }
    stage.gone_at(&*stage.initiator)?;
    stage.gone_at(&*stage.responder)?;
    ping::answered(stage.responder.host(), a, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    stage.logged(&*stage.responder, &[&format!("initiate new phase 1 negotiation: {b}[500]<=>{a}[5500]")])?;
    desk.proved("phase 1 from port 5500, and towards it");
    Ok(())
}

fn persend(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, _| {
        // Nothing is sent again by time: what comes twice was sent twice.
        alice.extra.racoon = "timer { interval 60 sec; phase1 90 sec; phase2 90 sec; persend 2; }\n".to_owned();
    })?;
    stage.establish(desk)?;
    let address = stage.addresses.0;
    stage.logged(&*stage.responder, &[&format!("the packet is retransmitted by {address}[500]")])?;
    desk.proved("bob saw alice's messages twice, and the tunnel is there");
    Ok(())
}

/// How long the kernel keeps a flow waiting before it asks again (`net.core.xfrm_acq_expires`, its default).
const PLACEHOLDER: Duration = Duration::from_secs(30);

fn psk_changed(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    const KEY: &str = "Jw0fVx3cP9bLs2TgYk8qZt5R";
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let psk = |from: IpAddr, to: IpAddr, leaf, key: &str| {
        let mut tunnel = Tunnel::transport(from, to, papers.credentials(leaf));
        tunnel.auth = Auth::Psk(key.to_owned());
        tunnel
    };
    let bob = peer::start(responder, desk, &pair.bob, psk(b, a, &papers.bob, KEY))?;
    let mut at_alice = psk(a, b, &papers.alice, "another key, and not the peer's");
    // What began with the wrong key ends soon, and a new negotiation begins.
    at_alice.extra.racoon = "timer { interval 2 sec; phase1 5 sec; }\n".to_owned();
    let alice = peer::start(initiator, desk, &pair.alice, at_alice)?;
    ping::unanswered(&pair.alice, b, QUIET)?;
    let stage = Stage { initiator: alice, responder: bob, addresses: (a, b) };
    pair.alice.write(PSK, 0o600, format!("{b} {KEY}\n"))?;
    // After a phase 1 that failed the kernel asks again when its placeholder has expired, in 30 s.
    ping::answered(&pair.alice, b, PLACEHOLDER + PATIENCE).map_err(|failure| stage.evidence(failure))?;
    let readings = stage.initiator.log()?.matches("Reading configuration from").count();
    let shown = stage.initiator.log()?.contains(KEY);
    if readings != 1 || shown {
        return Err(
            stage.evidence(Failure::new(format!("{readings} readings of the configuration; key shown: {shown}")))
        );
    }
    desk.proved("once the file was right the next negotiation took the key from it, without a reload");
    Ok(())
}

/// What the samples of ipsec-tools say, in front of what the peer understands.
fn old_sample(desk: &mut Desk, _: Kind, responder: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let at_alice = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    let responder = peer::start(responder, desk, &pair.bob, at_bob)?;
    ours::install_credentials(desk, &pair.alice, &at_alice)?;
    let conf = ours::racoon_conf(&at_alice)
        .replace("exchange_mode main;", "exchange_mode main, base;\n\tdoi ipsec_doi; situation identity_only;")
        .replace("\tencryption_algorithm aes", "\tencryption_algorithm 3des, cast128, blowfish 448, des, aes");
    // The list is that of the `sainfo`; a `proposal` has one cipher.
    let conf =
        conf.replace("\t\tencryption_algorithm 3des, cast128, blowfish 448, des, aes", "\t\tencryption_algorithm aes");
    let padding = "padding { maximum_length 20; randomize off; strict_check off; exclusive_tail off; }\n";
    let script = ours::setkey_script(&at_alice);
    let initiator = Box::new(Ours::with_files(desk, &pair.alice, &format!("{padding}{conf}"), &script)?);
    let stage = Stage { initiator, responder, addresses: (a, b) };
    stage.establish(desk)?;
    for said in ["cast128 is broken or not", "`exchange_mode base` has no effect", "`padding` has no effect"] {
        stage.logged(&*stage.initiator, &[said])?;
    }
    desk.proved("what is left of the old lists is negotiated, and each loss is said");
    Ok(())
}

/// CAP_DAC_READ_SEARCH, CAP_NET_BIND_SERVICE, CAP_NET_ADMIN (linux/capability.h).
const KEPT: u64 = 1 << 2 | 1 << 10 | 1 << 12;

fn privsep(desk: &mut Desk, _: Kind, responder: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    let responder = peer::start(responder, desk, &pair.bob, at_bob)?;
    let mut at_alice = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    at_alice.extra.racoon = "privsep { user \"nobody\"; }\n".to_owned();
    let script = "#!/bin/sh\n/bin/cat /proc/self/status\n/sbin/ip link add up0 type dummy\n";
    pair.alice.write("/etc/racoon/up.sh", 0o755, script)?;
    at_alice.extra.racoon_remote = "\tscript \"/etc/racoon/up.sh\" phase1_up;\n".to_owned();
    let mut alice = Ours::start(desk, &pair.alice, at_alice)?;
    let failed = |failure: Failure, log: &Ours| failure.with("alice's log", log.log().unwrap_or_default());
    ping::answered(&pair.alice, b, PATIENCE).map_err(|failure| failed(failure, &alice))?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", alice.daemon().pid()))?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let capabilities = u64::from_str_radix(field("CapEff:"), 16).during("reading CapEff")?;
    if field("Uid:").split_whitespace().any(|number| number == "0") || capabilities != KEPT {
        return Err(Failure::new("xfrmd has kept more than it needs").with("its status", status));
    }
    desk.proved(format!("user {}, capabilities {capabilities:#x}", field("Uid:").replace('\t', " ")));
    alice.reload().map_err(|failure| failed(failure, &alice))?;
    wait::until(PATIENCE, "the interface of the hook script", || {
        Ok(pair.alice.netns().ip(&["link", "show", "up0"]).is_ok())
    })
    .map_err(|failure| failed(failure, &alice))?;
    desk.proved("it reads its files again, and its script may change interfaces");
    let done = alice.xfrmctl(&["revoke", "--serial", &BOB_SERIAL.to_string()])?;
    if !done.status.success() || !kernel_state::sas(&pair.alice)?.is_empty() {
        return Err(failed(Failure::new("revoke failed").with("its output", done.output()), &alice));
    }
    alice.shut_down().map_err(|failure| failed(failure, &alice))?;
    drop(responder);
    desk.proved("a serial is revoked on the disk and in the kernel, and it ends in good order");
    Ok(())
}

fn strict_address(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut at_alice = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    at_alice.extra.racoon = format!("listen {{ isakmp {a}; isakmp 10.9.9.9; }}\n");
    let mut alice = Ours::start(desk, &pair.alice, at_alice.clone())?;
    let failure = "failed to bind to address 10.9.9.9[500]";
    alice.daemon().wait_for_line(PATIENCE, failure)?;
    alice.daemon().wait_for_line(PATIENCE, &format!("{a}[500] used as isakmp port"))?;
    desk.proved("without strict_address the daemon goes on with the address that is there");
    at_alice.extra.racoon = format!("listen {{ isakmp {a}; isakmp 10.9.9.9; strict_address; }}\n");
    if alice.restart_with(&ours::racoon_conf(&at_alice)).is_ok() {
        return Err(Failure::new("the daemon runs although an address of strict_address is missing"));
    }
    wait::until(PATIENCE, "the reason in the log", || Ok(alice.log()?.contains(failure)))
        .during("waiting for strict_address to say so")?;
    let left = kernel_state::sas(&pair.alice)?;
    if !left.is_empty() {
        return Err(Failure::new(format!("{} SAs are left", left.len())));
    }
    desk.proved("with it the daemon ends and names the address");
    Ok(())
}
