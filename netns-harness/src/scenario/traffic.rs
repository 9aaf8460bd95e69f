//! Traffic turns into ESP: both modes, both families, each side initiating, with and without PFS.

use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::tunnel::{Auth, Mode, Tunnel};
use crate::peer::{Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::scenario::stage::Stage;
use crate::scenario::{ALL_PAIRS, Scenario, for_pairs};
use crate::wait;

/// Other makes among themselves try the desk, not us.
const SELF_TEST: [(Kind, Kind); 2] = [(Kind::Charon, Kind::Charon), (Kind::Pluto, Kind::Charon)];

/// xfrmd as the responder of another make.
const RESPONDER: [(Kind, Kind); 2] = [(Kind::Charon, Kind::Ours), (Kind::Pluto, Kind::Ours)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    let (v4, v6) = ("transport mode over IPv4", "transport mode over IPv6");
    for_pairs(out, &SELF_TEST, "transport-v4", v4, |desk, a, b| transport(desk, (a, b), Family::V4));
    for_pairs(out, &SELF_TEST, "tunnel-v4", "tunnel mode between two subnets", |desk, a, b| {
        tunnel(desk, (a, b), Family::V4)
    });
    for_pairs(out, &ALL_PAIRS, "transport-v4", v4, |desk, a, b| transport(desk, (a, b), Family::V4));
    for_pairs(out, &ALL_PAIRS, "transport-v6", v6, |desk, a, b| transport(desk, (a, b), Family::V6));
    for_pairs(out, &ALL_PAIRS, "tunnel-v4", "tunnel mode between two subnets", |desk, a, b| {
        tunnel(desk, (a, b), Family::V4)
    });
    for_pairs(out, &ALL_PAIRS, "tunnel-v6", "tunnel mode between two IPv6 subnets", |desk, a, b| {
        tunnel(desk, (a, b), Family::V6)
    });
    for_pairs(out, &ALL_PAIRS, "tunnel-psk", "tunnel mode between two subnets, with a pre-shared key", |desk, a, b| {
        tunnel_with(desk, (a, b), Family::V4, |side| {
            side.auth = Auth::Psk("a key of some thirty characters".to_owned());
        })
    });
    for_pairs(out, &ALL_PAIRS, "tunnel-hosts", "tunnel mode between the two hosts themselves", tunnel_hosts);
    for_pairs(out, &ALL_PAIRS, "long-lifetime", "lifetimes that need more than 16 bits", long_lifetime);
    for_pairs(out, &ALL_PAIRS, "pfs-off", "quick mode without a key exchange of its own", pfs_off);
    let unequal = "the initiator wants a key exchange in quick mode, the responder's configuration names none";
    for_pairs(out, &RESPONDER, "pfs-unequal", unequal, pfs_unequal);
    for_pairs(out, &ALL_PAIRS, "both-at-once", "both sides' first packets at the same moment", both_at_once);
}

fn transport(desk: &mut Desk, kinds: (Kind, Kind), family: Family) -> Result<()> {
    let stage = Stage::set(desk, kinds, family, |_, _| {})?;
    let sas = stage.establish(desk)?;
    if sas.iter().any(|sa| sa.mode != kernel_state::Mode::Transport) {
        return Err(stage.evidence(Failure::new("an SA is not in transport mode")));
    }
    check_group(&stage, kinds, true)?;
    flow(desk, &stage)?;
    ping::answered(stage.responder.host(), stage.addresses.0, PATIENCE)?;
    desk.proved("bob reaches alice through the same SAs");
    Ok(())
}

/// Twenty pings, none lost, and the kernel's counters grow.
fn flow(desk: &mut Desk, stage: &Stage) -> Result<()> {
    let running = Running::start(stage.initiator.host(), stage.addresses.1, Duration::from_millis(50))?;
    running.wait_for_answers(PATIENCE, 20)?;
    let tally = running.finish()?;
    let counted: u64 = stage.sas_at(&*stage.initiator)?.iter().map(|sa| sa.packets).sum();
    if tally.lost() > 0 || counted < 40 {
        let what = format!("{} of {} pings lost, {counted} packets through the SAs", tally.lost(), tally.sent);
        return Err(stage.evidence(Failure::new(what)));
    }
    desk.proved(format!("{} pings, none lost; the SAs counted {counted} packets", tally.sent));
    Ok(())
}

fn tunnel(desk: &mut Desk, kinds: (Kind, Kind), family: Family) -> Result<()> {
    tunnel_with(desk, kinds, family, |_| {})
}

/// `adjust` changes each side's tunnel.
fn tunnel_with(desk: &mut Desk, kinds: (Kind, Kind), family: Family, adjust: impl Fn(&mut Tunnel)) -> Result<()> {
    let (stage, gateways) = Stage::gateways(desk, kinds, family, adjust)?;
    let far = gateways.right.address(family);
    ping::answered(&gateways.left, far, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    let sas = stage.agreed()?;
    if sas.iter().any(|sa| sa.mode != kernel_state::Mode::Tunnel) {
        return Err(stage.evidence(Failure::new("an SA is not in tunnel mode")));
    }
    desk.proved("a host behind west reaches one behind east; both gateways hold the same two tunnel SAs");
    ping::answered(&gateways.right, gateways.left.address(family), PATIENCE)?;
    let running = Running::start(&gateways.left, far, Duration::from_millis(50))?;
    running.wait_for_answers(PATIENCE, 20)?;
    let tally = running.finish()?;
    if tally.lost() > 0 {
        return Err(stage.evidence(Failure::new(format!("{} of {} pings lost", tally.lost(), tally.sent))));
    }
    desk.proved(format!("{} pings between the subnets, none lost, and one the other way", tally.sent));
    Ok(())
}

/// An attribute of more than 16 bits has another form on the wire (RFC 2407 §4.5).
fn long_lifetime(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    const LIFE: Duration = Duration::from_secs(80_000);
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        (alice.phase1_life, alice.phase2_life) = (LIFE, LIFE);
        (bob.phase1_life, bob.phase2_life) = (LIFE, LIFE);
    })?;
    stage.establish(desk)?;
    let seconds = LIFE.as_secs();
    for (kind, side) in [(initiator, &stage.initiator), (responder, &stage.responder)] {
        let text = side.host().netns().ip(&["-s", "xfrm", "state"])?;
        if kind == Kind::Ours && text.matches(&format!("hard {seconds}(sec)")).count() != 2 {
            return Err(stage.evidence(Failure::new(format!("an SA does not live for {seconds} s")).with("SAs", text)));
        }
    }
    desk.proved(format!("both SAs live for {seconds} s in xfrmd's kernel"));
    Ok(())
}

fn pfs_off(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let kinds = (initiator, responder);
    let stage = Stage::set(desk, kinds, Family::V4, |alice, bob| (alice.pfs, bob.pfs) = (false, false))?;
    stage.establish(desk)?;
    check_group(&stage, kinds, false)?;
    desk.proved("no group was negotiated in quick mode");
    flow(desk, &stage)
}

/// racoon accepts any group where its own `sainfo` names none.
fn pfs_unequal(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |_, bob| bob.pfs = false)?;
    stage.establish(desk)?;
    check_group(&stage, (initiator, responder), true)?;
    flow(desk, &stage)
}

fn tunnel_hosts(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        for side in [alice, bob] {
            side.mode = Mode::tunnel(&format!("{}/32", side.local), &format!("{}/32", side.remote));
        }
    })?;
    let sas = stage.establish(desk)?;
    if sas.iter().any(|sa| sa.mode != kernel_state::Mode::Tunnel) {
        return Err(stage.evidence(Failure::new("an SA is not in tunnel mode")));
    }
    flow(desk, &stage)
}

/// Where charon is one side, its log says which group quick mode used.
fn check_group(stage: &Stage, kinds: (Kind, Kind), wanted: bool) -> Result<()> {
    let sides = [(kinds.0, &stage.initiator), (kinds.1, &stage.responder)];
    for (_, side) in sides.iter().filter(|(kind, _)| *kind == Kind::Charon) {
        let log = side.log()?;
        let chosen = log.lines().filter(|line| line.contains("selected proposal: ESP:")).collect::<Vec<_>>();
        if chosen.is_empty() || chosen.iter().any(|line| line.contains("MODP_2048") != wanted) {
            let what = format!("quick mode {} a group", if wanted { "lacks" } else { "has" });
            return Err(stage.evidence(Failure::new(what).with("charon chose", chosen.join("\n"))));
        }
    }
    Ok(())
}

/// Both kernels ask for SAs within a moment of each other. Two pairs may come of it; traffic flows both ways all the
/// while, and one pair is left.
fn both_at_once(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |_, _| {})?;
    let (alice, bob) = (stage.initiator.host(), stage.responder.host());
    let interval = Duration::from_millis(50);
    let forth = Running::start(alice, stage.addresses.1, interval)?;
    let back = Running::start(bob, stage.addresses.0, interval)?;
    forth.wait_for_answers(PATIENCE, 10).map_err(|failure| stage.evidence(failure))?;
    back.wait_for_answers(PATIENCE, 10).map_err(|failure| stage.evidence(failure))?;
    forth.wait_for_answers(PATIENCE, 20)?;
    let (forth, back) = (forth.finish()?, back.finish()?);
    if forth.lost() + back.lost() > 0 {
        let what = format!("{} and {} pings lost", forth.lost(), back.lost());
        return Err(stage.evidence(Failure::new(what)));
    }
    if [initiator, responder].contains(&Kind::Pluto) {
        return not_cut_off(desk, &stage, forth.sent);
    }
    stage.agreed()?;
    desk.proved(format!("{} pings each way from the same moment on, none lost; one pair of SAs is left", forth.sent));
    Ok(())
}

/// pluto (4.10) ends every child of a connection when the newest one is deleted, and which one is the newest need not be
/// the same on both sides: the next packet then makes a new tunnel.
fn not_cut_off(desk: &mut Desk, stage: &Stage, sent: u64) -> Result<()> {
    let few = |side: &dyn Peer| Ok::<_, Failure>(stage.sas_at(side)?.len() <= 2);
    wait::until(PATIENCE, "at most one pair of SAs to be left", || {
        Ok(few(&*stage.initiator)? && few(&*stage.responder)?)
    })
    .map_err(|failure| stage.evidence(failure))?;
    ping::answered(stage.initiator.host(), stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    stage.agreed()?;
    desk.proved(format!(
        "{sent} pings each way from the same moment on, none lost; then one pair of SAs, or a new one"
    ));
    Ok(())
}
