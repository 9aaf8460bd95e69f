//! One side closes, or comes back from a reboot: the other side must not keep SAs that nobody reads.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::peer::tunnel::Begin;
use crate::peer::{Kind, PATIENCE};
use crate::ping;
use crate::scenario::stage::{Stage, spis};
use crate::scenario::{ALL_PAIRS, Scenario, for_pairs};
use crate::wait;

/// pluto (4.10) ignores an INITIAL-CONTACT that comes in an exchange of its own, as racoon sends it, so its host only reboots.
const REBOOT_PAIRS: [(Kind, Kind); 4] =
    [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Charon), (Kind::Charon, Kind::Ours), (Kind::Ours, Kind::Pluto)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    let about = "a DELETE takes the SAs of the side that did not send it";
    for_pairs(out, &ALL_PAIRS, "delete-by-initiator", about, |desk, a, b| delete(desk, (a, b), Closer::Initiator));
    for_pairs(out, &ALL_PAIRS, "delete-by-responder", about, |desk, a, b| delete(desk, (a, b), Closer::Responder));
    for_pairs(out, &REBOOT_PAIRS, "peer-reboot", "a rebooted peer's INITIAL-CONTACT takes what it lost", reboot);
}

#[derive(Clone, Copy)]
enum Closer {
    Initiator,
    Responder,
}

fn delete(desk: &mut Desk, kinds: (Kind, Kind), closer: Closer) -> Result<()> {
    // A pluto (4.10) whose tunnel was deleted has no trap any more, started anew or not: it begins by itself.
    let begins = kinds.0 == Kind::Pluto;
    let mut stage = Stage::set(desk, kinds, Family::V4, |alice, _| {
        if begins {
            alice.begin = Begin::Start;
        }
    })?;
    if begins {
        stage.agreed()?;
    }
    let old = spis(&stage.establish(desk)?);
    match closer {
        Closer::Initiator => stage.initiator.close()?,
        Closer::Responder => stage.responder.close()?,
    }
    stage.gone_at(&*stage.initiator)?;
    stage.gone_at(&*stage.responder)?;
    desk.proved("after the DELETE neither kernel holds an SA");
    match closer {
        Closer::Initiator => stage.initiator.reopen()?,
        Closer::Responder => stage.responder.reopen()?,
    }
    if begins {
        stage.initiator.shut_down()?;
        stage.initiator.restart()?;
        stage.agreed()?;
    }
    ping::answered(stage.initiator.host(), stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    if spis(&stage.agreed()?).iter().any(|spi| old.contains(spi)) {
        return Err(stage.evidence(Failure::new("an SPI came back")));
    }
    desk.proved("a new tunnel follows");
    Ok(())
}

/// The responder loses everything without a word and initiates when it is back.
fn reboot(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    // The other makes send INITIAL-CONTACT unasked.
    let asked = "\tinitial-contact=yes\n";
    let mut stage =
        Stage::set(desk, (initiator, responder), Family::V4, |_, bob| bob.extra.ipsec_conn.push_str(asked))?;
    let old = spis(&stage.establish(desk)?);
    stage.responder.kill()?;
    stage.responder.reboot_kernel()?;
    stage.responder.restart()?;
    ping::answered(stage.responder.host(), stage.addresses.0, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    wait::until(PATIENCE, "alice to drop what bob lost", || {
        Ok(spis(&stage.sas_at(&*stage.initiator)?).iter().all(|spi| !old.contains(spi)))
    })
    .map_err(|failure| stage.evidence(failure))?;
    stage.agreed()?;
    desk.proved("bob's new negotiation took alice's old SAs; one new pair is left");
    ping::answered(stage.initiator.host(), stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    desk.proved("and alice reaches bob again");
    Ok(())
}
