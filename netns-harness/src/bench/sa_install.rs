//! Ten thousand SAs into the kernel: a setkey script against the same SAs as an `ip -batch` file. Both times include the
//! start of the program and the reading of the file.

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
const ENCRYPTION_KEY: &str = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const AUTHENTICATION_KEY: &str = "0x000102030405060708090a0b0c0d0e0f10111213";

pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    let desk = place.desk("both")?;
    let (mut setkey, mut batch) = (String::new(), String::new());
    for number in 0..COUNT {
        let (spi, high, low) = (0x1000 + number, number >> 8, number & 0xff);
        // Writing to a string cannot fail.
        let _ = writeln!(
            setkey,
            "add 10.1.0.1 10.2.{high}.{low} esp 0x{spi:x} -m transport -E aes-cbc {ENCRYPTION_KEY} -A hmac-sha1 {AUTHENTICATION_KEY};"
        );
        let _ = writeln!(
            batch,
            "xfrm state add src 10.1.0.1 dst 10.2.{high}.{low} proto esp spi 0x{spi:x} mode transport enc cbc(aes) {ENCRYPTION_KEY} auth-trunc hmac(sha1) {AUTHENTICATION_KEY} 96"
        );
    }
    let (script, lines) = (desk.folder().join("sas.conf"), desk.folder().join("sas.batch"));
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

/// The time of one program, which must leave all SAs in a fresh namespace.
fn timed(name: &str, command: impl FnOnce(&Netns) -> Command) -> Result<f64> {
    let netns = Netns::create(name, &[])?;
    let mut command = command(&netns);
    let start = Instant::now();
    process::check(&mut command)?;
    let took = millis(start.elapsed());
    let count = netns.ip(&["xfrm", "state", "count"])?;
    if !count.contains(&format!("SAD count {COUNT}")) {
        return Err(Failure::new(format!("{name} left another number of SAs")).with("ip xfrm state count", count));
    }
    Ok(took)
}
