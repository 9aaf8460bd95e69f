//! Ten thousand policies into the kernel: a setkey script of `spdadd` lines against the same policies as an `ip -batch` file.
//! Both times include the start of the program and the reading of the file.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Instant;

use super::{Place, Round, millis};
use crate::failure::{Failure, Result};
use crate::netns::Netns;
use crate::process;

/// How many.
const COUNT: u32 = 10_000;

pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    let desk = place.desk("both")?;
    let (mut setkey, mut batch) = (String::new(), String::new());
    for number in 0..COUNT {
        let (high, low) = (number >> 8, number & 0xff);
        // Writing to a string cannot fail.
        let _ = writeln!(setkey, "spdadd 10.1.0.1 10.2.{high}.{low} any -P out ipsec esp/transport//require;");
        let _ = writeln!(
            batch,
            "xfrm policy add src 10.1.0.1/32 dst 10.2.{high}.{low}/32 dir out priority 2147483648 tmpl proto esp mode transport level required"
        );
    }
    let (script, lines) = (desk.folder().join("policies.conf"), desk.folder().join("policies.batch"));
    fs::write(&script, setkey)?;
    fs::write(&lines, batch)?;
    let ours = timed("ours", |netns| {
        let mut command = netns.command(desk.program("setkey"));
        command.arg("-f").arg(&script);
        command
    })?;
    let peer = timed("peer", |netns| {
        let mut command = netns.command("ip");
        command.arg("-batch").arg(&lines);
        command
    })?;
    Ok(vec![Round { ours, peer }])
}

/// The time of one program, which must leave all policies in a fresh namespace.
fn timed(name: &str, command: impl FnOnce(&Netns) -> Command) -> Result<f64> {
    let netns = Netns::create(name, &[])?;
    let mut command = command(&netns);
    let start = Instant::now();
    process::check(&mut command)?;
    let took = millis(start.elapsed());
    let count = netns.ip(&["xfrm", "policy", "count"])?;
    if !count.contains(&format!("OUT {COUNT} ")) {
        return Err(Failure::new(format!("{name} left another number of policies")).with("ip xfrm policy count", count));
    }
    Ok(took)
}
