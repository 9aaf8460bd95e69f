//! `xfrmctl generate`: keylime's subnets file becomes a setkey script whose excludes exclude, and the racoon.conf that goes
//! with it.

use std::rc::Rc;
use std::time::Duration;

use crate::capture::{Capture, Traffic};
use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::ours::{self, Ours};
use crate::peer::{PATIENCE, Peer};
use crate::ping;
use crate::pki::{Authority, Style, Validity};
use crate::process;
use crate::scenario::Scenario;
use crate::scenario::seeds::unpack_payload;
use crate::scenario::stage::QUIET;
use crate::topology::{self, OUTSIDE};
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    let about = "keylime's subnets file: the excluded host is talked to in clear, the others in ESP";
    out.push(Scenario::new("setkey-generate", about, play));
}

/// A blank line and IPv6 on purpose: keylime's own generator took neither.
const SUBNETS: &str =
    "# the lab\n\nipsec\n10.1.0.0/24\nfd01::/64\n\nexclude\n10.1.0.3   # carol has no IPsec\nfd01::3\n";

/// Where the subnets file lies.
const FILE: &str = "/etc/subnets";

/// Alice and bob run xfrmd with what was generated, carol has nothing.
fn play(desk: &mut Desk) -> Result<()> {
    desk.keys.fill()?;
    let authority = Authority::root(&mut desk.keys, "Keylime Certificate Authority")?;
    // Not the desk's own LAN: there a packet in clear is a failure.
    let lan = topology::lan(desk.folder(), &["alice", "bob", "carol", "dave"])?;
    let [alice, bob, carol, dave] = lan.hosts.as_slice() else { return Err(Failure::new("four hosts were made")) };
    let program = desk.program("xfrmctl");
    let mut peers = Vec::new();
    for (host, serial) in [(alice, 2), (bob, 3)] {
        let uuid = format!("d432fbb3-d2f1-4a97-9ef7-75bd81c0000{serial}");
        let leaf = authority.leaf_with(&mut desk.keys, &uuid, serial, Validity::Current, Style::Keylime)?;
        unpack_payload(desk, host, &authority, &leaf)?;
        host.write(FILE, 0o644, SUBNETS)?;
        let generate = |arguments: &[&str]| -> Result<String> {
            let done = process::run(host.command(&program).arg("generate").args(arguments).arg(FILE))?;
            if done.status.success() && done.stderr.is_empty() {
                return Ok(done.stdout);
            }
            let what = format!("xfrmctl generate {} ended with {}", arguments.join(" "), done.status);
            Err(Failure::new(what).with("its output", done.output()))
        };
        let (script, conf) = (generate(&[])?, generate(&["--racoon-conf"])?);
        peers.push(Ours::with_files(desk, host, &conf, &script)?);
        let checked = host.run(&program, &["check", ours::CONF, ours::POLICIES])?;
        let complains = checked.output().lines().any(|line| line.contains("warning") || line.contains("error:"));
        if !checked.status.success() || complains {
            return Err(Failure::new(format!("xfrmctl check ended with {}", checked.status))
                .with("its output", checked.output()));
        }
    }
    desk.proved("xfrmctl check has no complaint about the two files that were generated");

    let [at_alice, at_bob] = peers.as_slice() else { return Err(Failure::new("two daemons were started")) };
    let evidence = |failure: Failure| {
        failure
            .with("alice's log", at_alice.log().unwrap_or_default())
            .with("bob's log", at_bob.log().unwrap_or_default())
            .with("alice's policies", kernel_state::policies(alice).unwrap_or_default())
    };
    let captures = [Capture::start(alice, OUTSIDE)?, Capture::start(bob, OUTSIDE)?, Capture::start(carol, OUTSIDE)?];
    for family in [Family::V4, Family::V6] {
        ping::answered(alice, bob.address(family), PATIENCE).map_err(evidence)?;
        ping::answered(alice, carol.address(family), PATIENCE).map_err(evidence)?;
        ping::answered(carol, alice.address(family), PATIENCE).map_err(evidence)?;
    }
    wait::until(Duration::from_secs(20), "two pairs of SAs on alice", || Ok(kernel_state::sas(alice)?.len() == 4))
        .map_err(evidence)?;
    ping::unanswered(dave, bob.address(Family::V4), QUIET).map_err(evidence)?;
    ping::unanswered(bob, dave.address(Family::V4), QUIET).map_err(evidence)?;
    desk.proved("dave, whom the subnets include and who has no IPsec, gets no answer from bob, nor asks bob him");
    forwarded(desk, [alice, bob, carol]).map_err(evidence)?;
    let mut total = Traffic::default();
    for capture in captures {
        total.add(capture.finish()?);
    }
    judge(desk, &total).map_err(evidence)
}

/// Bob, who is included, and carol, who is not, by way of alice: her `fwd` policies and those for `out` let it pass.
fn forwarded(desk: &mut Desk, [alice, bob, carol]: [&Rc<Host>; 3]) -> Result<()> {
    let settings = ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0"];
    let [via, to_bob, to_carol] = [alice, bob, carol].map(|host| host.address(Family::V4).to_string());
    alice.check("sysctl", &["-q", "-w", settings[0], settings[1]])?;
    bob.netns().ip(&["route", "add", &format!("{to_carol}/32"), "via", &via])?;
    carol.netns().ip(&["route", "add", &format!("{to_bob}/32"), "via", &via])?;
    let forwarded = || -> Result<u64> {
        let text = alice.check("cat", &["/proc/net/snmp"])?;
        let mut ip = text.lines().filter(|line| line.starts_with("Ip:"));
        let names = ip.next().unwrap_or_default().split(' ');
        let numbers = ip.next().unwrap_or_default().split(' ');
        let found = names.zip(numbers).find(|(name, _)| *name == "ForwDatagrams");
        Ok(found.and_then(|(_, number)| number.parse().ok()).unwrap_or(0))
    };
    let before = forwarded()?;
    ping::answered(bob, carol.address(Family::V4), PATIENCE)?;
    ping::answered(carol, bob.address(Family::V4), PATIENCE)?;
    let count = forwarded()? - before;
    if count < 4 {
        return Err(Failure::new(format!("alice forwarded {count} packets")));
    }
    desk.proved(format!("alice forwards {count} packets between bob and carol, in clear both ways"));
    Ok(())
}

/// Everything between alice and bob in ESP, everything between alice and carol in clear.
fn judge(desk: &mut Desk, total: &Traffic) -> Result<()> {
    let seen = |from: &str, to: &str| total.plaintext.iter().any(|line| line.starts_with(&format!("{from} > {to} ")));
    let all = || total.plaintext.join("\n");
    for (one, other) in [("10.1.0.1", "10.1.0.3"), ("fd01::1", "fd01::3")] {
        if !seen(one, other) || !seen(other, one) {
            return Err(Failure::new(format!("no ping in clear between {one} and {other}")).with("in clear", all()));
        }
    }
    // What dave asks and carol is told in clear is no affair of alice's and bob's.
    let both = |line: &&String, one: &str, other: &str| {
        line.starts_with(&format!("{one} > {other} ")) || line.starts_with(&format!("{other} > {one} "))
    };
    let is_bobs = |line: &&String| line.starts_with("10.1.0.2 > 10.1.0.4 ");
    let between =
        |line: &&String| both(line, "10.1.0.1", "10.1.0.2") || both(line, "fd01::1", "fd01::2") || is_bobs(line);
    if let Some(line) = total.plaintext.iter().find(between) {
        return Err(Failure::new(format!("something in clear with bob: {line}")).with("in clear", all()));
    }
    if total.esp < 4 {
        return Err(Failure::new(format!("{} packets of ESP", total.esp)));
    }
    desk.proved(format!(
        "{} packets of ESP between alice and bob and none in clear; with carol, who is excluded, {} in clear",
        total.esp,
        total.plaintext.len()
    ));
    Ok(())
}
