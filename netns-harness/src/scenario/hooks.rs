//! What surrounds a negotiation: hook scripts in their order and each once, secrets that are written nowhere, and a user who
//! logs in with racoonctl.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::tunnel::{Auth, Tunnel};
use crate::peer::{Kind, PATIENCE, Peer};
use crate::ping;
use crate::scenario::Scenario;
use crate::scenario::roadwarrior_auth::{PASSWORD, Road, USER, log_in};
use crate::scenario::stage::Papers;
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new("hooks", "phase1_up, phase1_dead, phase1_down: in this order, each once", order));
    out.push(Scenario::new("secrets", "a key is in no log, no argument, no core dump", secrets));
    out.push(Scenario::new("racoonctl-login", "vpn-connect -u logs in, logout-user takes the user down", login));
}

/// Where scripts lie, and where they note what they were told.
const SCRIPT: &str = "/etc/racoon/note.sh";
const NOTES: &str = "/run/notes.txt";

/// A key that is good enough, and not to be found anywhere.
const KEY: &str = "Xq7-never-to-be-seen-Zk3";

fn pair_with_key(desk: &mut Desk, adjust: impl FnOnce(&mut Tunnel, &mut Tunnel)) -> Result<(Ours, Ours)> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut at_alice = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    let mut at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    for tunnel in [&mut at_alice, &mut at_bob] {
        tunnel.auth = Auth::Psk(KEY.to_owned());
    }
    adjust(&mut at_alice, &mut at_bob);
    // It takes its time, and all of it is waited for when the daemon ends.
    let note = format!("#!/bin/sh\nPATH=/usr/bin:/bin\nsleep 0.5\necho \"$1 $REMOTE_ADDR $REMOTE_PORT\" >> {NOTES}\n");
    pair.alice.write(SCRIPT, 0o700, note)?;
    Ok((Ours::start(desk, &pair.alice, at_alice)?, Ours::start(desk, &pair.bob, at_bob)?))
}

fn order(desk: &mut Desk) -> Result<()> {
    let events = ["phase1_up", "phase1_dead", "phase1_down"];
    let scripts: String = events.iter().map(|event| format!("\tscript \"{SCRIPT}\" {event};\n")).collect();
    let (mut alice, mut bob) = pair_with_key(desk, |alice, _| {
        alice.dpd = Some(Duration::from_secs(1));
        alice.extra.racoon_remote = scripts;
    })?;
    let to = bob.host().address(Family::V4);
    ping::answered(alice.host(), to, PATIENCE)?;
    bob.kill()?;
    let host = std::rc::Rc::clone(alice.host());
    let notes = || if host.exists(NOTES) { host.read(NOTES) } else { Ok(String::new()) };
    let wanted: Vec<String> = events.iter().map(|event| format!("{event} {to} 500")).collect();
    let log = |alice: &Ours| alice.log().unwrap_or_default();
    wait::until(PATIENCE, "the three scripts", || Ok(notes()?.lines().count() >= 3))
        .map_err(|failure| failure.with("alice's log", log(&alice)))?;
    desk.proved("a peer that was killed: phase1_up, phase1_dead, phase1_down");
    bob.reboot_kernel()?;
    bob.restart()?;
    ping::answered(&host, to, PATIENCE)?;
    alice.shut_down()?;
    let told = notes()?;
    let twice: Vec<&str> = told.lines().collect();
    let all: Vec<&str> = wanted.iter().chain([&wanted[0], &wanted[2]]).map(String::as_str).collect();
    if twice != all {
        return Err(Failure::new(format!("the scripts noted {twice:?} instead of {all:?}")).with("log", log(&alice)));
    }
    desk.proved("up again, then SIGTERM: the daemon ends once its phase1_down script has; none ran twice");
    Ok(())
}

fn secrets(desk: &mut Desk) -> Result<()> {
    let (mut alice, bob) = pair_with_key(desk, |alice, bob| {
        for tunnel in [alice, bob] {
            tunnel.extra.racoon = "log debug2;\n".to_owned();
        }
    })?;
    ping::answered(alice.host(), bob.host().address(Family::V4), PATIENCE)?;
    // Diagnostics are made of the lines that hold the key.
    alice.host().write("/etc/racoon/psk.txt", 0o600, format!("10.1.0.2 {KEY}\n10.1.0.2\t{KEY} again\n{KEY}\n"))?;
    alice.reload()?;
    let check = alice.xfrmctl(&["check", "/etc/racoon/racoon.conf"])?;
    let pid = alice.daemon().pid();
    let read =
        |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).map(|all| String::from_utf8_lossy(&all).into_owned());
    let limits = read("limits")?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default().to_owned();
    if core.split_whitespace().nth(4) != Some("0") {
        return Err(Failure::new(format!("core files are possible: {core}")));
    }
    // What is not dumpable belongs to root, whoever runs it, and no debugger of the same user reads it.
    let places = [
        ("alice's log", alice.log()?),
        ("bob's log", bob.log()?),
        ("xfrmctl check", check.output()),
        ("the arguments", read("cmdline")?),
        ("the environment", read("environ")?),
        ("xfrmctl peers", alice.xfrmctl(&["peers", "--json"])?.output()),
        ("xfrmctl status", alice.xfrmctl(&["status"])?.output()),
        ("xfrmctl sa", alice.xfrmctl(&["sa", "--json"])?.output()),
    ];
    let keys: Vec<String> = kernel_state::sas(alice.host())?
        .iter()
        .flat_map(|sa| sa.algorithms.iter())
        .filter_map(|line| line.split_whitespace().find_map(|word| word.strip_prefix("0x")).map(str::to_owned))
        .filter(|key| key.len() >= 32)
        .collect();
    if keys.is_empty() {
        return Err(Failure::new("no key of an SA was found to look for"));
    }
    for (place, text) in &places {
        if text.contains(KEY) || keys.iter().any(|key| text.contains(key.as_str())) {
            return Err(Failure::new(format!("{place}: there is a key in it")).with("it says", text.clone()));
        }
    }
    if !places[0].1.contains("DEBUG: ") {
        return Err(Failure::new("the log is not one of debugging").with("alice's log", places[0].1.clone()));
    }
    desk.proved(format!(
        "the pre-shared key and {} keys of SAs are in none of {} places, at log debug2",
        keys.len(),
        places.len()
    ));
    Ok(())
}

fn login(desk: &mut Desk) -> Result<()> {
    let road = Road::set(desk, (Kind::Ours, Kind::Ours), |client, gateway| {
        // What psk.txt says is wrong: the one who asks says better.
        log_in(client, gateway, "not the password");
    })?;
    let (client, gateway) = (road.client.host(), road.gateway.host());
    let to = road.gateway_address.to_string();
    let mut command = client.command(desk.program("racoonctl"));
    command.args(["vpn-connect", "-u", USER, &to]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut connect = command.spawn()?;
    if let Some(mut input) = connect.stdin.take() {
        input.write_all(format!("{PASSWORD}\n").as_bytes())?;
    }
    let said = connect.wait_with_output()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    if !said.status.success() || !text.starts_with("Bound to address 10.3.0.1\n") {
        let error = String::from_utf8_lossy(&said.stderr).into_owned();
        return Err(road
            .evidence(Failure::new(format!("vpn-connect ended with {}", said.status)).with("it said", text + &error)));
    }
    desk.proved("vpn-connect -u: the password from standard input, \"Bound to address 10.3.0.1\"");
    for line in [road.client.log()?, road.gateway.log()?] {
        if line.contains(PASSWORD) {
            return Err(road.evidence(Failure::new("the password is in a log")));
        }
    }
    road.establish(desk, (Kind::Ours, Kind::Ours))?;
    let racoonctl = desk.program("racoonctl");
    for (user, left) in [("nobody-known", 2), (USER, 0)] {
        let done = gateway.run(&racoonctl, &["logout-user", user])?;
        if !done.status.success() {
            return Err(road.evidence(Failure::new(format!("logout-user {user} ended with {}", done.status))));
        }
        wait::until(PATIENCE, &format!("{left} SAs on the gateway"), || Ok(kernel_state::sas(gateway)?.len() == left))
            .map_err(|failure| road.evidence(failure))?;
    }
    wait::until(PATIENCE, "the client to be told", || Ok(kernel_state::sas(client)?.is_empty()))
        .map_err(|failure| road.evidence(failure))?;
    desk.proved("logout-user: of a user that nobody knows nothing, of this one everything, and the client was told");
    Ok(())
}
