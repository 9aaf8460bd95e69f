//! Drills with xfrmd on bob: the daemon dies while traffic flows, a serial is revoked with it alive or dead.

use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ours::{CERTS, Ours};
use crate::peer::tunnel::Tunnel;
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::scenario::stage::{ALICE_SERIAL, Papers, QUIET, spis};
use crate::scenario::{Scenario, for_pairs};
use crate::wait;

/// xfrmd is the responder in all of them.
const PAIRS: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Ours), (Kind::Charon, Kind::Ours)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &PAIRS, "revoke", "a serial revoked while its tunnel carries traffic", revoke);
    for_pairs(
        out,
        &PAIRS,
        "kill-then-revoke",
        "xfrmd killed: ESP goes on, xfrmctl revoke still cuts",
        kill_then_revoke,
    );
    for_pairs(
        out,
        &PAIRS,
        "kill-then-restart",
        "xfrmd killed and started: tunnel neither lost nor doubled",
        kill_restart,
    );
}

/// A tunnel from any daemon on alice to xfrmd on bob, with a running ping.
struct Drill {
    alice: Box<dyn Peer>,
    bob: Ours,
    running: Running,
    to: std::net::IpAddr,
}

impl Drill {
    fn begin(desk: &mut Desk, initiator: Kind) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let pair = desk.pair()?;
        let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
        let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        let at_alice = Tunnel::transport(a, b, papers.credentials(&papers.alice));
        let bob = Ours::start(desk, &pair.bob, at_bob)?;
        let alice = peer::start(initiator, desk, &pair.alice, at_alice)?;
        ping::answered(&pair.alice, b, PATIENCE).map_err(|failure| {
            failure
                .with("alice's log", alice.log().unwrap_or_default())
                .with("bob's log", bob.log().unwrap_or_default())
        })?;
        let running = Running::start(&pair.alice, b, Duration::from_millis(100))?;
        running.wait_for_answers(PATIENCE, 10)?;
        Ok(Self { alice, bob, running, to: b })
    }

    fn evidence(&self, failure: Failure) -> Failure {
        failure
            .with("alice's log", self.alice.log().unwrap_or_default())
            .with("bob's log", self.bob.log().unwrap_or_default())
            .with("bob's SAs", self.bob.host().netns().ip(&["-s", "xfrm", "state"]).unwrap_or_default())
    }

    /// `xfrmctl revoke` on bob, which must find the tunnel's SAs; its closing line.
    fn revoke(&self) -> Result<String> {
        let serial = ALICE_SERIAL.to_string();
        let done = self.bob.xfrmctl(&["revoke", "--serial", &serial, "--issuer", &format!("{CERTS}/ca.crt")])?;
        let closing = done.stdout.lines().last().unwrap_or_default().to_owned();
        let fits = closing.starts_with(&format!("revoked serial {serial} of "))
            && deleted(&closing).is_some_and(|count| count >= 2);
        if done.status.success() && fits {
            return Ok(closing);
        }
        let what = format!("xfrmctl revoke ended with {} and \"{closing}\"", done.status);
        Err(self.evidence(Failure::new(what).with("its output", done.output())))
    }

    fn cut_at_bob(&self) -> Result<()> {
        let left = kernel_state::sas(self.bob.host())?;
        if left.is_empty() {
            return Ok(());
        }
        Err(self.evidence(Failure::new(format!("{} SAs are left on bob after the revocation", left.len()))))
    }
}

/// The number in `...: 2 SAs deleted in 3 ms`.
pub fn deleted(closing: &str) -> Option<u64> {
    closing.split(" SAs deleted").next()?.rsplit(' ').next()?.parse().ok()
}

fn revoke(desk: &mut Desk, initiator: Kind, _: Kind) -> Result<()> {
    let drill = Drill::begin(desk, initiator)?;
    let closing = drill.revoke()?;
    drill.cut_at_bob()?;
    desk.proved(closing);
    wait::until(PATIENCE, "alice's SAs to be gone too", || Ok(kernel_state::sas(drill.alice.host())?.is_empty()))
        .map_err(|failure| drill.evidence(failure))?;
    desk.proved("the DELETE took alice's SAs");
    // The running ping makes alice negotiate again and again.
    wait::until(PATIENCE, "bob to log the refusal with the serial", || {
        let log = drill.bob.log()?;
        Ok(log.contains(&format!("serial {ALICE_SERIAL} of /C=US/O=Desk/CN=Desk CA is on the deny list")))
    })
    .map_err(|failure| drill.evidence(failure))?;
    wait::until(PATIENCE, "alice to log AUTHENTICATION-FAILED", || {
        let log = drill.alice.log()?.to_ascii_uppercase().replace('_', "-");
        Ok(log.contains("AUTHENTICATION-FAILED") || log.contains("AUTH-FAILED"))
    })
    .map_err(|failure| drill.evidence(failure))?;
    let before = drill.running.answers()?;
    wait::throughout(QUIET, "no SA on bob", || Ok(kernel_state::sas(drill.bob.host())?.is_empty()))
        .map_err(|failure| drill.evidence(failure))?;
    if drill.running.answers()? > before {
        return Err(drill.evidence(Failure::new("a ping was answered after the revocation")));
    }
    desk.proved("alice's new main mode was refused with AUTHENTICATION-FAILED; nothing flows");
    Ok(())
}

fn kill_then_revoke(desk: &mut Desk, initiator: Kind, _: Kind) -> Result<()> {
    let mut drill = Drill::begin(desk, initiator)?;
    drill.bob.kill()?;
    drill.running.wait_for_answers(PATIENCE, 20).map_err(|failure| drill.evidence(failure))?;
    desk.proved("with bob's daemon dead, 20 more pings were answered");
    let closing = drill.revoke()?;
    drill.cut_at_bob()?;
    desk.proved(format!("with the daemon dead: {closing}"));
    ping::unanswered(drill.alice.host(), drill.to, QUIET)?;
    desk.proved("nothing flows any more");
    drill.bob.restart()?;
    ping::unanswered(drill.alice.host(), drill.to, QUIET)?;
    drill.cut_at_bob()?;
    desk.proved("and a new daemon knows the deny list");
    Ok(())
}

fn kill_restart(desk: &mut Desk, initiator: Kind, _: Kind) -> Result<()> {
    let mut drill = Drill::begin(desk, initiator)?;
    let before = spis(&kernel_state::sas(drill.bob.host())?);
    drill.bob.kill()?;
    drill.running.wait_for_answers(PATIENCE, 10).map_err(|failure| drill.evidence(failure))?;
    drill.bob.restart()?;
    drill.running.wait_for_answers(PATIENCE, 20).map_err(|failure| drill.evidence(failure))?;
    let after = spis(&kernel_state::sas(drill.bob.host())?);
    if after.len() != 2 {
        return Err(drill.evidence(Failure::new(format!("bob holds {} SAs after the restart", after.len()))));
    }
    let alice = spis(&kernel_state::sas(drill.alice.host())?);
    let Drill { running, alice: alice_peer, bob, .. } = drill;
    let tally = running.finish()?;
    if tally.lost() > 0 || alice != after {
        let what = format!("{} pings lost; alice has {alice:x?}, bob {after:x?}", tally.lost());
        return Err(Failure::new(what)
            .with("alice's log", alice_peer.log().unwrap_or_default())
            .with("bob's log", bob.log().unwrap_or_default()));
    }
    let same = if before == after { "the same" } else { "new" };
    desk.proved(format!("killed and started again: {} pings, none lost, {same} two SAs", tally.sent));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_names_the_count() {
        assert_eq!(deleted("revoked serial 2 of CN=Desk CA: 2 SAs deleted in 3 ms"), Some(2));
        assert_eq!(deleted("nothing"), None);
    }
}
