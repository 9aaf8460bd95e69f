//! Dead peer detection (RFC 3706): a daemon that was killed, a link that is down, probes that are answered, traffic that
//! makes probes needless; and a life that no clock reaches.

use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::peer::{Kind, PATIENCE};
use crate::ping::{self, Running};
use crate::scenario::stage::{Stage, spis};
use crate::scenario::{ALL_PAIRS, PAIRS, Scenario, for_pairs};
use crate::topology::OUTSIDE;
use crate::wait;

/// Silence that makes a daemon ask.
const DELAY: Duration = Duration::from_secs(2);
/// xfrmd as initiator: the one that survives.
const SURVIVORS: [(Kind, Kind); 3] = [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Charon), (Kind::Ours, Kind::Pluto)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(
        out,
        &SURVIVORS,
        "dpd-killed",
        "a peer that was killed is found dead; a new one is negotiated with",
        killed,
    );
    for_pairs(out, &PAIRS, "dpd-link", "a link that is down ends the SAs; traffic begins anew when it is up", link);
    for_pairs(out, &ALL_PAIRS, "dpd-answered", "the initiator's probes are answered, the SAs stay", answered);
    for_pairs(out, &PAIRS, "dpd-silent", "while pings run nobody is asked", silent);
    for_pairs(out, &PAIRS, "huge-lifetime", "lives of ten years are agreed on and counted", huge);
}

fn idle(desk: &mut Desk, kinds: (Kind, Kind), both: bool) -> Result<Stage> {
    let stage = Stage::set(desk, kinds, Family::V4, |alice, bob| {
        alice.dpd = Some(DELAY);
        bob.dpd = both.then_some(DELAY);
    })?;
    stage.establish(desk)?;
    Ok(stage)
}

fn is_ours(kind: Kind) -> bool {
    kind == Kind::Ours
}

fn killed(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let mut stage = idle(desk, (a, b), false)?;
    let before = spis(&stage.sas_at(&*stage.initiator)?);
    stage.responder.kill()?;
    stage.logged(&*stage.initiator, &["DPD: remote (ISAKMP-SA spi="])?;
    stage.gone_at(&*stage.initiator)?;
    desk.proved("alice finds bob dead and her SAs are gone");
    stage.responder.reboot_kernel()?;
    stage.responder.restart()?;
    ping::answered(stage.initiator.host(), stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    let after = spis(&stage.agreed()?);
    if before.iter().any(|spi| after.contains(spi)) {
        return Err(stage.evidence(Failure::new(format!("SPIs {before:x?} became {after:x?}"))));
    }
    desk.proved("her next ping negotiates anew with the daemon that came back");
    Ok(())
}

fn link(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = idle(desk, (a, b), true)?;
    let bob = stage.responder.host();
    // The address stays: only nothing gets through.
    bob.check("tc", &["qdisc", "replace", "dev", OUTSIDE, "root", "netem", "loss", "100%"])?;
    for (side, kind) in [(&stage.initiator, a), (&stage.responder, b)] {
        if is_ours(kind) {
            stage.logged(&**side, &["DPD: remote (ISAKMP-SA spi="])?;
        }
        stage.gone_at(&**side)?;
    }
    desk.proved("with the link down both sides find the other dead; no SA is left");
    bob.check("tc", &["qdisc", "del", "dev", OUTSIDE, "root"])?;
    ping::answered(stage.initiator.host(), stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    stage.agreed()?;
    desk.proved("with the link up the next ping negotiates anew");
    Ok(())
}

fn answered(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = idle(desk, (a, b), false)?;
    let (sas, before) = (spis(&stage.sas_at(&*stage.initiator)?), desk.traffic()?.ike);
    // Three probes, each answered.
    wait::until(PATIENCE, "three probes and their answers", || Ok(desk.traffic()?.ike >= before + 6))
        .map_err(|failure| stage.evidence(failure))?;
    let dead = [&stage.initiator, &stage.responder].into_iter().any(|side| {
        side.log().is_ok_and(|log| log.contains("seems to be dead") || log.contains("peer not responding"))
    });
    if dead || spis(&stage.agreed()?) != sas {
        return Err(stage.evidence(Failure::new("a peer that answers was taken for dead")));
    }
    ping::answered(stage.initiator.host(), stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    desk.proved("three probes and more were answered; the same two SAs carry on");
    Ok(())
}

/// libreswan's dpd-11-silent.
fn silent(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = idle(desk, (a, b), true)?;
    let running = Running::start(stage.initiator.host(), stage.addresses.1, Duration::from_millis(100))?;
    // What belongs to the negotiation is over by then.
    running.wait_for_answers(PATIENCE, 20)?;
    let before = desk.traffic()?.ike;
    // Five times the delay.
    running.wait_for_answers(PATIENCE, 100)?;
    let after = desk.traffic()?.ike;
    running.finish()?;
    if before != after {
        let what = format!("{} datagrams of IKE in ten seconds of traffic", after - before);
        return Err(stage.evidence(Failure::new(what)));
    }
    desk.proved("ten seconds of pings and not one probe");
    wait::until(PATIENCE, "a probe", || Ok(desk.traffic()?.ike > after)).map_err(|failure| stage.evidence(failure))?;
    desk.proved("without pings there is one");
    Ok(())
}

/// Ten years, which no two octets hold: libreswan's ikev1-28-huge-lifetime.
fn huge(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    const LIFE: Duration = Duration::from_secs(315_360_000);
    let stage = Stage::set(desk, (a, b), Family::V4, |alice, bob| {
        for tunnel in [alice, bob] {
            (tunnel.phase1_life, tunnel.phase2_life) = (LIFE, LIFE);
        }
    })?;
    stage.establish(desk)?;
    for (side, kind) in [(&stage.initiator, a), (&stage.responder, b)] {
        let state = side.host().netns().ip(&["-s", "xfrm", "state"])?;
        let hard = format!("hard {}(sec)", LIFE.as_secs());
        if is_ours(kind) && state.matches(&hard).count() != 2 {
            return Err(stage.evidence(Failure::new(format!("no two SAs with \"{hard}\"")).with("state", state)));
        }
    }
    desk.proved("the kernel counts ten years, and nothing expires at once");
    Ok(())
}
