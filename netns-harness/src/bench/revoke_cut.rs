//! One certificate among 10,000 SAs is cut off. Ours: `xfrmctl revoke --serial`, which also makes the denial durable. The
//! peer has no command for a serial: what an operator does there is to walk `swanctl --list-sas` for the identity and
//! terminate each of its IKE SAs by number. Both times include the start of the programs.
//!
//! Both daemons hold the same tunnels; the rest of the 10,000 are manual SAs, which the kernel cannot tell from others.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use serde::Deserialize;

use super::crowd::{CROWD_SERIAL, Crowd, OUTCAST_NAME, OUTCAST_SERIAL};
use super::{Place, Round, millis};
use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::peer::Kind;
use crate::process;

/// SAs in the kernel.
const SAS: u32 = 10_000;
/// Tunnels of the crowd, half of them before and half after the outcast's.
const TUNNELS: u32 = 400;
/// Tunnels of the outcast.
const OUTCASTS: u32 = 4;

/// Part of `xfrmctl revoke --json`.
#[derive(Deserialize)]
struct Report {
    sas_deleted: u32,
    elapsed_ms: f64,
}

/// In the order of the figures.
pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    let (ours, within) = ours(&mut place.desk("ours")?)?;
    let peer = peers(&mut place.desk("peer")?)?;
    Ok(vec![Round { ours, peer }, Round { ours: within, peer }])
}

/// The whole command, and what the daemon says it took from its beginning to the last SA's end.
fn ours(desk: &mut Desk) -> Result<(f64, f64)> {
    let crowd = fill(desk, Kind::Ours)?;
    let start = Instant::now();
    let text = crowd.command(&["revoke", "--json", "--serial", &OUTCAST_SERIAL.to_string()], &[])?;
    let took = millis(start.elapsed());
    let report: Report = serde_json::from_str(&text).during("xfrmctl's report")?;
    if report.sas_deleted != 2 * OUTCASTS {
        return Err(Failure::new(format!("{} SAs were deleted", report.sas_deleted)).with("xfrmctl", text));
    }
    crowd.sas_sink(SAS - 2 * OUTCASTS)?;
    Ok((took, report.elapsed_ms))
}

fn peers(desk: &mut Desk) -> Result<f64> {
    let crowd = fill(desk, Kind::Charon)?;
    let start = Instant::now();
    let list = crowd.command(&[], &["--list-sas"])?;
    let numbers = of_the_outcast(&list);
    if numbers.len() != usize::try_from(OUTCASTS).unwrap_or_default() {
        return Err(Failure::new(format!("{} IKE SAs of the outcast were found", numbers.len())).with("swanctl", list));
    }
    for number in numbers {
        crowd.command(&[], &["--terminate", "--ike-id", &number, "--timeout", "20"])?;
    }
    let took = millis(start.elapsed());
    crowd.sas_sink(SAS - 2 * OUTCASTS)?;
    Ok(took)
}

/// The numbers of the IKE SAs whose remote identity is the outcast's, from `crowd: #12, ESTABLISHED, ...` and the lines
/// `  remote '...'` below.
fn of_the_outcast(list: &str) -> Vec<String> {
    let mut current = None;
    let mut numbers = Vec::new();
    for line in list.lines() {
        if !line.starts_with(' ') {
            current = line.split_once('#').and_then(|(_, rest)| rest.split(',').next());
        } else if line.trim_start().starts_with("remote ") && line.contains(OUTCAST_NAME) {
            numbers.extend(current.map(str::to_owned));
        }
    }
    numbers
}

fn fill(desk: &mut Desk, kind: Kind) -> Result<Crowd> {
    let mut crowd = Crowd::gather(desk, kind)?;
    let half = TUNNELS / 2;
    crowd.establish(0, half, CROWD_SERIAL)?;
    crowd.establish(half, OUTCASTS, OUTCAST_SERIAL)?;
    crowd.establish(half + OUTCASTS, half, CROWD_SERIAL)?;
    crowd.settle()?;
    let tunnels = crowd.sas()?;
    let mut script = String::new();
    for number in 0..SAS - tunnels {
        // Writing to a string cannot fail.
        let _ = writeln!(
            script,
            "add 10.1.0.1 10.7.{}.{} esp 0x{:x} -m transport -E aes-cbc 0x{:064x} -A hmac-sha2-256 0x{:064x};",
            number >> 8,
            number & 0xff,
            0x200 + number,
            number,
            number
        );
    }
    let path = desk.folder().join(format!("{}-rest.conf", kind.program()));
    fs::write(&path, script)?;
    process::check(crowd.server().command(desk.program("setkey")).arg("-f").arg(&path))?;
    crowd.sas_reach(SAS)?;
    // A daemon that listens to the kernel has heard of every manual SA.
    crowd.settle()?;
    Ok(crowd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcast_s_numbers_are_found() {
        let list = "crowd: #7, ESTABLISHED, IKEv1, a_i b_r*\n  local  'C=US, CN=server.desk' @ 10.1.0.1[500]\n  \
                    remote 'C=US, O=Desk, CN=crowd.desk' @ 10.9.0.1[500]\ncrowd: #12, ESTABLISHED, IKEv1, c_i d_r*\n  \
                    remote 'C=US, O=Desk, CN=outcast.desk' @ 10.9.0.2[500]\n  AES_CBC-256\n";
        assert_eq!(of_the_outcast(list), ["12"]);
    }
}
