//! racoonctl as scripts use it: establish, look, take down, and a listener that hears of it all.

use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::tunnel::Tunnel;
use crate::peer::{PATIENCE, Peer};
use crate::process::Finished;
use crate::scenario::Scenario;
use crate::scenario::stage::{BOB_SERIAL, Papers};
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new("racoonctl", "every command with racoon's shapes and exit codes", play));
}

/// Where racoonctl looks for racoon.
const SOCKET: &str = "/run/racoon/racoon.sock";

fn play(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let bob = Ours::start(desk, &pair.bob, Tunnel::transport(b, a, papers.credentials(&papers.bob)))?;
    let tunnel = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    crate::peer::ours::install_credentials(desk, &pair.alice, &tunnel)?;
    let conf = format!(
        "listen {{ adminsock \"{SOCKET}\" \"root\" \"root\" 0600; }}\n{}",
        crate::peer::ours::racoon_conf(&tunnel)
    );
    let alice = Ours::with_files(desk, &pair.alice, &conf, &crate::peer::ours::setkey_script(&tunnel))?;
    let evidence = |failure: Failure| {
        failure.with("alice's log", alice.log().unwrap_or_default()).with("bob's log", bob.log().unwrap_or_default())
    };
    let listener = pair.alice.spawn("show-event", {
        let mut command = pair.alice.command(desk.program("racoonctl"));
        command.args(["-s", SOCKET, "show-event"]);
        command
    })?;
    let (from, to) = (a.to_string(), b.to_string());
    let program = desk.program("racoonctl");
    let done = |arguments: &[&str]| -> Result<Finished> {
        let done = pair.alice.run(&program, arguments)?;
        if done.status.success() {
            return Ok(done);
        }
        Err(Failure::new(format!("racoonctl {} ended with {}", arguments.join(" "), done.status))
            .with("its output", done.output()))
    };
    let says = |arguments: &[&str], words: &str| -> Result<String> {
        let finished = done(arguments)?;
        if finished.stdout.contains(words) {
            return Ok(finished.stdout);
        }
        Err(Failure::new(format!("racoonctl {} does not say \"{words}\"", arguments.join(" ")))
            .with("its output", finished.output()))
    };

    says(&["establish-sa", "-w", "isakmp", "inet", &from, &to], "VPN connexion established").map_err(evidence)?;
    says(
        &["-s", SOCKET, "es", "-w", "esp", "inet", &from, &to, "any"],
        &format!("Phase 2 established : {a}[500] -> {b}[500]"),
    )
    .map_err(evidence)?;
    let table = says(&["show-sa", "isakmp"], &format!("{b}.500"))?;
    if !table.starts_with("Destination            Cookies                           Created\n") {
        return Err(Failure::new("show-sa isakmp has another header").with("the table", table));
    }
    says(&["-l", "ss", "isakmp"], " 9 I 10 M ")?;
    let dump = says(&["show-sa", "ipsec"], "\tesp mode=transport spi=")?;
    let setkey = alice.setkey(&["-D"])?;
    let spis = |text: &str| text.lines().filter(|line| line.contains("spi=")).map(str::to_owned).collect::<Vec<_>>();
    if spis(&dump) != spis(&setkey.stdout) {
        return Err(Failure::new("show-sa ipsec and setkey -D differ").with("setkey -D", setkey.stdout));
    }
    says(&["show-schedule"], "index    tick     xtime    created")?;
    let pipe = format!("{} get-cert inet {from} {to} | openssl x509 -inform DER -noout -serial", program.display());
    let serial = pair.alice.check("sh", &["-c", &pipe])?;
    if serial.trim() != format!("serial={BOB_SERIAL:02X}") {
        return Err(evidence(Failure::new(format!("get-cert gave the certificate with {serial}"))));
    }
    done(&["lu", "nobody-known"])?;
    done(&["es", "isakmp", "inet", &from, &to])?;
    says(&["status", "-f", "json"], "\"peers_established\": 1")?;
    desk.proved("establish-sa -w brought up both phases; show-sa, show-schedule and status told of them");

    done(&["delete-sa", "isakmp", "inet", &from, &to])?;
    for (name, host) in [("alice", &pair.alice), ("bob", &pair.bob)] {
        wait::until(PATIENCE, &format!("{name}'s SAs to be gone"), || Ok(kernel_state::sas(host)?.is_empty()))
            .map_err(evidence)?;
    }
    for event in ["Phase 1 established : ", "Phase 2 established : ", "Phase 2 deleted", "Phase 1 deleted"] {
        wait::until(Duration::from_secs(10), &format!("show-event to say \"{event}\""), || {
            Ok(listener.log()?.contains(event))
        })
        .map_err(|failure| evidence(failure).with("show-event", listener.log().unwrap_or_default()))?;
    }
    desk.proved("delete-sa took both phases down at both ends, and show-event had said so");

    for (arguments, words) in [
        (vec!["foo"], "Invalid command [foo]"),
        (vec!["show-sa"], "isakmp, esp, ah or ipsec is missing"),
        (vec!["delete-sa", "isakmp", "inet", &from, &to], "there is nothing up with"),
        (vec!["get-cert", "inet", &from, "192.0.2.99"], "there is nothing up between"),
        (vec!["es", "-n", "nosuch", "isakmp", "inet", &from, &to], "no remote block \"nosuch\" is for"),
        (vec!["delete-sa", "esp", "inet", &from, &to, "any"], "no IPsec SA is for this traffic"),
        (vec!["vpn-connect", "192.0.2.99"], "no remote block is for 192.0.2.99"),
        (vec!["-s", "/run/nobody.sock", "rc"], "/run/nobody.sock"),
    ] {
        let refused = pair.alice.run(&program, &arguments)?;
        if refused.status.code() != Some(1) || !refused.output().contains(words) {
            let what = format!("racoonctl {} ended with {}", arguments.join(" "), refused.status);
            return Err(Failure::new(what).with("its output", refused.output()));
        }
    }
    desk.proved("what cannot be done ends with exit code 1 and says why");
    Ok(())
}
