//! A setkey script against the same entries as an `ip -batch` file, each into a kernel that has none. Both times include the
//! start of the program and the reading of the file.

use std::fs;
use std::process::Command;
use std::time::Instant;

use super::{Place, Round, millis};
use crate::failure::{Failure, Result};
use crate::netns::Netns;
use crate::process;

/// The same entries in both tongues.
#[derive(Default)]
pub(super) struct Entries {
    /// For `setkey -f`.
    pub(super) setkey: String,
    /// For `ip -batch`.
    pub(super) batch: String,
}

/// The two tables of the kernel.
#[derive(Clone, Copy)]
pub(super) enum Table {
    /// SAs.
    State,
    /// Policies.
    Policy,
}

impl Table {
    const fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Policy => "policy",
        }
    }
}

/// One round. `counted` is what `ip xfrm TABLE count` says once all entries are there.
///
/// # Errors
/// When a program fails, or leaves another number of entries.
pub(super) fn round(place: &Place, entries: &Entries, table: Table, counted: &str) -> Result<Vec<Round>> {
    let desk = place.desk("both")?;
    let (script, lines) = (desk.folder().join("entries.conf"), desk.folder().join("entries.batch"));
    fs::write(&script, &entries.setkey)?;
    fs::write(&lines, &entries.batch)?;
    // Both stay until both are measured: a namespace that goes is cleared by the kernel in its own time, which would be the
    // next program's.
    let (at_ours, at_peer) = (Netns::create("ours", &[])?, Netns::create("peer", &[])?);
    let mut setkey = at_ours.command(desk.program("setkey"));
    setkey.arg("-f").arg(&script);
    let ours = timed(&at_ours, setkey, table, counted)?;
    let mut batch = at_peer.command("ip");
    batch.arg("-batch").arg(&lines);
    let peer = timed(&at_peer, batch, table, counted)?;
    for netns in [&at_ours, &at_peer] {
        netns.ip(&["xfrm", table.word(), "flush"])?;
    }
    Ok(vec![Round { ours, peer }])
}

fn timed(netns: &Netns, mut command: Command, table: Table, counted: &str) -> Result<f64> {
    let start = Instant::now();
    process::check(&mut command)?;
    let took = millis(start.elapsed());
    let count = netns.ip(&["xfrm", table.word(), "count"])?;
    if !count.contains(counted) {
        return Err(Failure::new(format!("not \"{counted}\"")).with(format!("ip xfrm {} count", table.word()), count));
    }
    Ok(took)
}
