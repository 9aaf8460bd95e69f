//! A crowd of tunnels, seen from the responder: what establishing one costs it in CPU time, how its memory grows, how
//! long it takes to take them all down. One crowd serves the three figures, and the fourth: our CPU time beside what the
//! OpenSSL operations of a tunnel take by themselves.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::Deserialize;

use super::crowd::{CROWD_SERIAL, Crowd};
use super::{Place, Round, millis};
use crate::failure::{During, Result};
use crate::peer::Kind;
use crate::process;

/// Tunnels before anything is measured: modules are loaded, caches warm, allocators grown.
const WARM_UP: u32 = 20;
/// Tunnels that are measured.
const TUNNELS: u32 = 1000;
/// Ours and the peer's take turns this often, so that a busy moment of the machine falls on both.
const TURNS: u32 = 5;

/// Part of what `ike-load --floor` prints.
#[derive(Deserialize)]
struct Floor {
    floor_us: f64,
}

/// One responder under measurement.
struct Subject {
    crowd: Crowd,
    /// Initiators so far, and those of them that came up after the warm-up.
    begun: u32,
    established: u32,
    cpu_us: f64,
    memory_kib: f64,
}

/// In the order of the figures.
pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    let mut ours = Subject::prepare(place, Kind::Ours)?;
    let mut peer = Subject::prepare(place, Kind::Charon)?;
    let mut floor_us = 0.0;
    for _ in 0..TURNS {
        floor_us += floor(&place.programs.join("ike-load"))? / f64::from(TURNS);
        ours.establish(TUNNELS / TURNS)?;
        peer.establish(TUNNELS / TURNS)?;
    }
    let (ours_cpu, ours_memory) = ours.each()?;
    let (peer_cpu, peer_memory) = peer.each()?;
    Ok(vec![
        Round { ours: ours_cpu, peer: peer_cpu },
        Round { ours: ours_cpu, peer: floor_us },
        Round { ours: ours_memory, peer: peer_memory },
        Round { ours: ours.tear_down()?, peer: peer.tear_down()? },
    ])
}

fn floor(program: &Path) -> Result<f64> {
    let text = process::check(Command::new(program).arg("--floor"))?;
    let Floor { floor_us } = serde_json::from_str(&text).during("ike-load's floor")?;
    Ok(floor_us)
}

impl Subject {
    fn prepare(place: &Place, kind: Kind) -> Result<Self> {
        let mut crowd = Crowd::gather(&mut place.desk(kind.program())?, kind)?;
        crowd.establish(0, WARM_UP, CROWD_SERIAL)?;
        crowd.settle()?;
        let (cpu_us, memory_kib) = (crowd.cpu_us()?, crowd.resident_kib()?);
        Ok(Self { crowd, begun: WARM_UP, established: 0, cpu_us, memory_kib })
    }

    fn establish(&mut self, count: u32) -> Result<()> {
        self.established += self.crowd.establish(self.begun, count, CROWD_SERIAL)?;
        self.begun += count;
        Ok(())
    }

    /// CPU time in microseconds and resident memory in KiB that each tunnel took.
    fn each(&mut self) -> Result<(f64, f64)> {
        self.crowd.sas_reach(2 * self.established)?;
        self.crowd.settle()?;
        let (cpu, memory) = (self.crowd.cpu_us()? - self.cpu_us, self.crowd.resident_kib()? - self.memory_kib);
        Ok((cpu / f64::from(self.established), memory / f64::from(self.established)))
    }

    /// Milliseconds from the command to the last SA's end.
    fn tear_down(&self) -> Result<f64> {
        let start = Instant::now();
        self.crowd.command(&["down", "--all"], &["--terminate", "--ike", "crowd", "--timeout", "60"])?;
        self.crowd.sas_sink(0)?;
        Ok(millis(start.elapsed()))
    }
}
