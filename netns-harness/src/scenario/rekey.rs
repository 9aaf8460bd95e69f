//! Keys are renewed before they expire, under a running ping: nothing is lost, and afterwards there is one pair of SAs, not
//! two.

use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::peer::{Kind, Peer};
use crate::ping::Running;
use crate::scenario::stage::{QUIET, Stage, spis};
use crate::scenario::{ALL_PAIRS, Scenario, for_pairs};
use crate::wait;

/// The short life. It is the initiator's; the responder's own would be an hour.
const LIFE: Duration = Duration::from_secs(15);
/// Two renewals at four fifths of it take 24 s.
const PATIENCE: Duration = Duration::from_secs(50);

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &ALL_PAIRS, "rekey-phase2", "IPsec SAs of 15 s renewed twice under a running ping", phase2);
    for_pairs(out, &ALL_PAIRS, "rekey-phase1", "ISAKMP SAs of 15 s renewed twice under a running ping", phase1);
}

fn phase2(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, _| alice.phase2_life = LIFE)?;
    let mut known = spis(&stage.establish(desk)?);
    let running = Running::start(stage.initiator.host(), stage.addresses.1, Duration::from_millis(100))?;
    for renewal in ["first", "second"] {
        let what = format!("the {renewal} renewal of the IPsec SAs");
        known = wait::until_some(PATIENCE, &what, || {
            let now = stage.sas_at(&*stage.initiator)?;
            let new = spis(&now);
            Ok((new.len() == 2 && new.iter().all(|spi| !known.contains(spi))).then_some(new))
        })
        .map_err(|failure| stage.evidence(failure))?;
    }
    stage.agreed()?;
    no_loss(desk, &stage, running, "two renewals")
}

fn phase1(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, _| alice.phase1_life = LIFE)?;
    stage.establish(desk)?;
    let running = Running::start(stage.initiator.host(), stage.addresses.1, Duration::from_millis(100))?;
    wait::until(PATIENCE, "two renewals of the ISAKMP SA", || {
        Ok(isakmp_sas(&*stage.initiator)? >= 3 && isakmp_sas(&*stage.responder)? >= 3)
    })
    .map_err(|failure| stage.evidence(failure))?;
    stage.agreed()?;
    // The pair of SAs must go on to be the only one once the last exchange is over.
    wait::throughout(QUIET, "traffic through at most one pair being renewed", || {
        Ok(stage.sas_at(&*stage.initiator)?.len() <= 4)
    })?;
    stage.agreed()?;
    no_loss(desk, &stage, running, "two renewals of the ISAKMP SA")
}

/// How many ISAKMP SAs a daemon has logged as established.
fn isakmp_sas(side: &dyn Peer) -> Result<usize> {
    let log = side.log()?;
    // xfrmd's words, charon's and pluto's.
    let words = ["ISAKMP-SA established", "established between 10.1.0.", "IKE SA established"];
    let established = |line: &&str| words.iter().any(|words| line.contains(words));
    Ok(log.lines().filter(established).count())
}

fn no_loss(desk: &mut Desk, stage: &Stage, running: Running, what: &str) -> Result<()> {
    let seconds = running.age().as_secs();
    let tally = running.finish()?;
    if tally.lost() > 0 {
        let lost = format!("{} of {} pings lost during {what}", tally.lost(), tally.sent);
        return Err(stage.evidence(Failure::new(lost)));
    }
    desk.proved(format!("{what} in {seconds} s under {} pings, none lost; two SAs are left", tally.sent));
    Ok(())
}
