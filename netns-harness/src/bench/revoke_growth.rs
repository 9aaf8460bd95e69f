//! One certificate with ten SAs among 10,000, 30,000 and 100,000 that the daemon knows, all in one run: what it takes must not
//! depend on how many the others are. The journal is one that a daemon with so many children would have left, the SAs come by
//! setkey, and the daemon takes both over when it starts.
//!
//! Counted, too: the kernel is asked ten things for it, and dumps nothing.

use std::fs;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Place, Round, millis};
use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::host::Family;
use crate::peer::ours::{self, CERTS, Ours};
use crate::peer::tunnel::{Credentials, Tunnel};
use crate::pki::Authority;
use crate::process;
use crate::topology;
use crate::wait;

/// SAs in all, one after the other.
const SAS: [u32; 3] = [10_000, 30_000, 100_000];
/// SAs of the outcast among them.
const OUTCAST_SAS: u32 = 10;
/// Serial of the outcast.
const SERIAL: u32 = 4;
/// Longer than filling a kernel takes.
const LIMIT: Duration = Duration::from_secs(240);

/// Part of `xfrmctl revoke --json`.
#[derive(Deserialize)]
struct Report {
    sas_deleted: u32,
    elapsed_ms: f64,
}

/// Part of `xfrmctl status --json`.
#[derive(Deserialize)]
struct Status {
    sas: u32,
    counters: Counters,
}

/// See there.
#[derive(Deserialize)]
struct Counters {
    kernel_requests: u64,
    kernel_dumps: u64,
}

/// What one total gave, in milliseconds.
#[derive(Clone, Copy)]
struct Taken {
    whole: f64,
    inside: f64,
}

/// The whole command and what it reports, among 30,000 and 100,000, each beside the same among 10,000.
pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    let mut taken = Vec::new();
    for sas in SAS {
        let name = format!("{sas}");
        let one = among(&mut place.desk(&name)?, sas).map_err(|failure| failure.during(format!("{sas} SAs")))?;
        println!("among {sas} SAs: {:.2} ms, {:.3} ms as reported", one.whole, one.inside);
        taken.push(one);
    }
    let [least, more, most] = taken[..] else { return Err(Failure::new("three totals are measured")) };
    let pair = |ours: f64, peer: f64| Round { ours, peer };
    Ok(vec![
        pair(more.whole, least.whole),
        pair(most.whole, least.whole),
        pair(more.inside, least.inside),
        pair(most.inside, least.inside),
    ])
}

fn among(desk: &mut Desk, sas: u32) -> Result<Taken> {
    let folder = desk.folder().to_owned();
    fs::create_dir_all(&folder)?;
    desk.keys.fill()?;
    let authority = Authority::root(&mut desk.keys, "Desk CA")?;
    let server = authority.leaf(&mut desk.keys, "server.desk", 2)?;
    let host = topology::pair(&folder)?.alice;
    let (local, remote) = (host.address(Family::V4), "10.1.0.2".parse().during("an address")?);
    let credentials = Credentials { leaf: server, ca: authority.pem.clone(), crl: None, intermediate: None };
    let tunnel = Tunnel::transport(local, remote, credentials);
    ours::install_credentials(desk, &host, &tunnel)?;
    let script = folder.join("sas.conf");
    let mut fill = host.command(desk.program("bench-fill"));
    fill.args(["journal", "--ca", &format!("{CERTS}/ca.crt"), "--journal", "/run/xfrmd/sa.journal", "--script"])
        .arg(&script)
        .args(["--local", &local.to_string(), "--first", "10.7.0.0", "--sas", &sas.to_string()])
        .args(["--outcast-sas", &OUTCAST_SAS.to_string(), "--serial", &SERIAL.to_string()]);
    process::check(&mut fill)?;
    process::check(host.command(desk.program("setkey")).arg("-f").arg(&script))?;
    let ours = Ours::with_files(desk, &host, &ours::racoon_conf(&tunnel), "")?;
    // While it takes them over it may answer too late.
    wait::until(LIMIT, "the daemon to have taken the SAs over", || Ok(status(&ours).is_ok_and(|now| now.sas == sas)))
        .map_err(|failure| failure.with("xfrmd's log", last_lines(&ours)))?;

    let before = status(&ours)?.counters;
    let start = Instant::now();
    let done = ours.xfrmctl(&["revoke", "--json", "--serial", &SERIAL.to_string()])?;
    let whole = millis(start.elapsed());
    let report: Report = serde_json::from_str(&done.stdout)
        .during("xfrmctl's report")
        .map_err(|failure| failure.with("xfrmctl", done.output()).with("xfrmd's log", last_lines(&ours)))?;
    let after = status(&ours)?;
    let asked = after.counters.kernel_requests - before.kernel_requests;
    let dumped = after.counters.kernel_dumps - before.kernel_dumps;
    let deleted = u64::from(report.sas_deleted);
    if (deleted, asked, dumped, after.sas) != (u64::from(OUTCAST_SAS), u64::from(OUTCAST_SAS), 0, sas - OUTCAST_SAS) {
        return Err(Failure::new(format!(
            "{deleted} SAs deleted by {asked} requests and {dumped} dumps; the daemon has {} SAs",
            after.sas
        ))
        .with("xfrmd's log", last_lines(&ours)));
    }
    Ok(Taken { whole, inside: report.elapsed_ms })
}

fn status(ours: &Ours) -> Result<Status> {
    let done = ours.xfrmctl(&["status", "--json"])?;
    serde_json::from_str(&done.stdout)
        .during("xfrmctl's status")
        .map_err(|failure| failure.with("xfrmctl", done.output()))
}

fn last_lines(ours: &Ours) -> String {
    use crate::peer::Peer;
    let log = ours.log().unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
}
