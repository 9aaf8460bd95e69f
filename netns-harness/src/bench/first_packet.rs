//! From the first packet that wants a tunnel to the first answer through it: a host with the daemon pings another with the
//! same daemon, both fresh. The ping asks every 10 ms, since charon's responder loses what arrives before it has its SA.

use std::time::Duration;

use super::{Round, millis};
use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::peer::{Kind, PATIENCE};
use crate::ping;
use crate::scenario::stage::Stage;

pub(super) fn round(desk: &mut Desk) -> Result<Round> {
    Ok(Round {
        ours: first_answer(&mut desk.beside("ours")?, Kind::Ours)?,
        peer: first_answer(&mut desk.beside("peer")?, Kind::Charon)?,
    })
}

fn first_answer(desk: &mut Desk, kind: Kind) -> Result<f64> {
    let stage = Stage::set(desk, (kind, kind), Family::V4, |_, _| {})?;
    let every = Duration::from_millis(10);
    let took = ping::once_every(stage.initiator.host(), stage.addresses.1, every, PATIENCE)?;
    took.map(millis).ok_or_else(|| stage.evidence(Failure::new("no answer came")))
}
