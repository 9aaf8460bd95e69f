//! A refused quick mode and what must not suffer from it.

use std::net::IpAddr;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::Result;
use crate::peer::Kind;
use crate::peer::tunnel::Tunnel;
use crate::ping::{self, Running};
use crate::scenario::policies::{INSIDE, Nets};
use crate::scenario::stage::Stage;
use crate::scenario::{Scenario, for_pairs};

/// Only xfrmd's kernel is looked at: charon and pluto leave it to its clock.
const PAIRS: [(Kind, Kind); 3] = [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Charon), (Kind::Ours, Kind::Pluto)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(
        out,
        &PAIRS,
        "refused-beside",
        "one policy is refused, the other between the same ends is not held up",
        beside,
    );
}

/// Well below the 30 s for which the kernel remembers an acquire.
const SOON: Duration = Duration::from_secs(12);

/// The peer knows the second subnet only. Packets for the first one come all the time, and the kernel asks for it first.
fn beside(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let Nets { left, right: _right, mut west, mut east } = Nets::lay(desk)?;
    for Tunnel { children, .. } in [&mut west.1, &mut east.1] {
        children.truncate(2);
    }
    east.1.children.remove(0);
    let stage = Stage::with(desk, (initiator, responder), (&west.0, west.1), (&east.0, east.1))?;
    let refused = Running::start(&left, IpAddr::from(INSIDE[0]), Duration::from_millis(100))?;
    stage.logged(&*stage.initiator, &["phase2 negotiation failed"])?;
    let took = ping::answered(&left, IpAddr::from(INSIDE[1]), SOON).map_err(|failure| stage.evidence(failure))?;
    desk.proved(format!("the second subnet answers after {} ms although the first is refused", took.as_millis()));
    refused.finish().map(drop)
}
