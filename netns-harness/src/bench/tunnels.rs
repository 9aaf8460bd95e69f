//! A crowd of tunnels, seen from the responder: what establishing one costs it in CPU time, how its memory grows, how
//! long it takes to take them all down. One crowd serves the three figures, and the fourth: our CPU time beside what the
//! OpenSSL operations of a tunnel take by themselves.

use std::time::Instant;

use serde::Deserialize;

use super::crowd::{CROWD_SERIAL, Crowd};
use super::{Place, Round, millis};
use crate::desk::Desk;
use crate::failure::{During, Result};
use crate::peer::Kind;
use crate::process;

/// Tunnels before anything is measured: modules are loaded, caches warm, allocators grown.
const WARM_UP: u32 = 20;
/// Tunnels that are measured.
pub(super) const TUNNELS: u32 = 1000;

/// What one responder showed.
struct Seen {
    cpu_us: f64,
    memory_kib: f64,
    teardown_ms: f64,
}

/// Part of what `ike-load --floor` prints.
#[derive(Deserialize)]
struct Floor {
    floor_us: f64,
}

/// In the order of the figures.
pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    let text = process::check(std::process::Command::new(place.programs.join("ike-load")).arg("--floor"))?;
    println!("floor: {}", text.trim());
    let Floor { floor_us } = serde_json::from_str(&text).during("ike-load's floor")?;
    let ours = responder(&mut place.desk("ours")?, Kind::Ours)?;
    let peer = responder(&mut place.desk("peer")?, Kind::Charon)?;
    Ok(vec![
        Round { ours: ours.cpu_us, peer: peer.cpu_us },
        Round { ours: ours.cpu_us, peer: floor_us },
        Round { ours: ours.memory_kib, peer: peer.memory_kib },
        Round { ours: ours.teardown_ms, peer: peer.teardown_ms },
    ])
}

fn responder(desk: &mut Desk, kind: Kind) -> Result<Seen> {
    let mut crowd = Crowd::gather(desk, kind)?;
    crowd.establish(0, WARM_UP, CROWD_SERIAL)?;
    crowd.settle()?;
    let (cpu, memory) = (crowd.cpu_us()?, crowd.resident_kib()?);
    crowd.establish(WARM_UP, TUNNELS, CROWD_SERIAL)?;
    crowd.sas_become(2 * (WARM_UP + TUNNELS))?;
    let (cpu_us, memory_kib) = (crowd.cpu_us()? - cpu, crowd.resident_kib()? - memory);
    crowd.settle()?;
    let start = Instant::now();
    crowd.command(&["down", "--all"], &["--terminate", "--ike", "crowd", "--timeout", "60"])?;
    crowd.sas_become(0)?;
    let teardown_ms = millis(start.elapsed());
    let each = f64::from(TUNNELS);
    Ok(Seen { cpu_us: cpu_us / each, memory_kib: memory_kib / each, teardown_ms })
}
