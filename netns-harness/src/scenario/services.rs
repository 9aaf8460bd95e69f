//! keylime's autorun.sh in its order, its three commands included: `ip xfrm state flush; service setkey restart; service
//! racoon restart`, with the machine's own `service` and the scripts of packaging/.

use std::path::Path;
use std::rc::Rc;

use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::host::Host;
use crate::kernel_state;
use crate::peer::PATIENCE;
use crate::ping::{self, Running};
use crate::pki::{Authority, Leaf, Style, Validity};
use crate::process::Finished;
use crate::scenario::Scenario;
use crate::scenario::seeds::{KEYLIME, KEYLIME_CONF, KEYLIME_POLICIES, Seeded};
use crate::scenario::stage::spis;
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new(
        "seed-keylime-autorun",
        "keylime's autorun.sh with `service setkey restart` and `service racoon restart`",
        play,
    ));
}

const RACOON: &str = include_str!("../../../packaging/init.d/racoon");
const SETKEY: &str = include_str!("../../../packaging/init.d/setkey");
/// Where the daemon logs to.
const LOG: &str = "/run/racoon.log";

/// The steps of keylime's script, in its order. The package manager's part is done already.
const AUTORUN: &str = "#!/bin/bash
set -e
cp ipsec-tools.conf /etc/ipsec-tools.conf
mkdir -p /etc/racoon
cp racoon.conf /etc/racoon/racoon.conf
ln -s cacrl.pem `openssl x509 -in cacert.crt -hash -noout`.r0
ln -s `ls *-cert.crt | grep -v Revocation` mycert.crt
ln -s `ls *-private.pem | grep -v Revocation` mykey.pem
ip xfrm state flush
service setkey restart
service racoon restart
";

/// A machine whose daemon runs in the background: it must not outlive the scenario.
struct Machine {
    seeded: Seeded,
}

impl Machine {
    /// Unpacks the payload of keylime's agent, and installs the package.
    fn new(desk: &Desk, host: &Rc<Host>, at: &str, authority: &Authority, leaf: &Leaf, uuid: &str) -> Result<Self> {
        let file = |name: &str| format!("{KEYLIME}/{name}");
        host.write(&file("cacert.crt"), 0o600, &authority.pem)?;
        host.write(&file(&format!("{uuid}-cert.crt")), 0o600, &leaf.pem)?;
        host.write(&file(&format!("{uuid}-private.pem")), 0o600, &leaf.key)?;
        host.write(&file("RevocationNotifier-cert.crt"), 0o600, &authority.pem)?;
        host.write(&file("cacrl.pem"), 0o600, "")?;
        host.write(&file("racoon.conf"), 0o600, KEYLIME_CONF)?;
        host.write(&file("ipsec-tools.conf"), 0o600, KEYLIME_POLICIES)?;
        host.write(&file("autorun.sh"), 0o700, AUTORUN)?;
        // A host's /etc is links into the machine's: these two folders are to be its own.
        for (folder, name, script, program) in [
            ("init.d", "racoon", RACOON, format!("DAEMON={}", desk.program("xfrmd").display())),
            ("init.d", "setkey", SETKEY, format!("SETKEY={}", desk.program("setkey").display())),
        ] {
            if host.outside(&format!("/etc/{folder}")).is_symlink() {
                host.check("rm", &["/etc/init.d", "/etc/default"])?;
            }
            host.write(&format!("/etc/{folder}/{name}"), 0o755, script)?;
            host.write(&format!("/etc/default/{name}"), 0o644, format!("{program}\nRACOON_ARGS=\"-l {LOG}\"\n"))?;
        }
        Ok(Self { seeded: Seeded::new(host, at)? })
    }

    fn service(&self, name: &str, action: &str) -> Result<Finished> {
        self.seeded.host.run("service", &[name, action])
    }

    fn done(&self, name: &str, action: &str) -> Result<()> {
        let done = self.service(name, action)?;
        if done.status.success() {
            return Ok(());
        }
        Err(self
            .evidence(Failure::new(format!("service {name} {action} ended with {}", done.status)))
            .with("its output", done.output()))
    }

    fn evidence(&self, failure: Failure) -> Failure {
        failure.with(format!("log of {}", self.seeded.host.name()), self.seeded.host.read(LOG).unwrap_or_default())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may be down already.
        let _ = self.service("racoon", "stop");
    }
}

fn play(desk: &mut Desk) -> Result<()> {
    desk.keys.fill()?;
    let authority = Authority::root(&mut desk.keys, "Keylime Certificate Authority")?;
    let pair = desk.pair()?;
    let mut machines = Vec::new();
    for (host, at, serial, uuid) in [
        (&pair.alice, "192.168.0.100", 2, "d432fbb3-d2f1-4a97-9ef7-75bd81c00000"),
        (&pair.bob, "192.168.0.101", 3, "d432fbb3-d2f1-4a97-9ef7-75bd81c00001"),
    ] {
        let leaf = authority.leaf_with(&mut desk.keys, uuid, serial, Validity::Current, Style::Keylime)?;
        machines.push(Machine::new(desk, host, at, &authority, &leaf, uuid)?);
    }
    let [alice, bob] = machines.as_slice() else { return Err(Failure::new("there are two machines")) };
    for machine in [alice, bob] {
        let run = machine.seeded.host.run("sh", &["-c", &format!("cd {KEYLIME} && ./autorun.sh")])?;
        if !run.status.success() {
            return Err(machine
                .evidence(Failure::new(format!("autorun.sh ended with {}", run.status)))
                .with("its output", run.output()));
        }
    }
    let (host, to) = (&alice.seeded.host, bob.seeded.at);
    let evidence = |failure: Failure| bob.evidence(alice.evidence(failure));
    ping::answered(host, to, PATIENCE).map_err(evidence)?;
    let first = spis(&kernel_state::sas_between(host, alice.seeded.at, to)?);
    if first.len() != 2 {
        return Err(evidence(Failure::new(format!("{} SAs instead of 2", first.len()))));
    }
    desk.proved("autorun.sh: the links, ip xfrm state flush, service setkey restart, service racoon restart; then ESP");

    let running = Running::start(host, to, std::time::Duration::from_millis(50))?;
    running.wait_for_answers(PATIENCE, 5)?;
    // keylime's file has `log notify`: the log does not say that it was read.
    let control = desk.program("xfrmctl");
    let loaded_at = || -> Result<Option<u64>> {
        let status = host.check(&control, &["status", "--json"])?;
        let status: serde_json::Value = serde_json::from_str(&status).during("xfrmctl status --json")?;
        Ok(status.get("config_loaded_at").and_then(serde_json::Value::as_u64))
    };
    let before = loaded_at()?;
    alice.done("racoon", "reload")?;
    wait::until(PATIENCE, "the file to be read again", || Ok(loaded_at()? > before)).map_err(evidence)?;
    running.wait_for_answers(PATIENCE, 20).map_err(evidence)?;
    let (after, tally) = (spis(&kernel_state::sas_between(host, alice.seeded.at, to)?), running.finish()?);
    if after != first || tally.lost() > 0 {
        return Err(evidence(Failure::new(format!("SPIs {first:x?} became {after:x?}, {} pings lost", tally.lost()))));
    }
    desk.proved("service racoon reload: the same two SAs, no ping lost");

    // A restart takes its own SAs down and tells the peer; the policies stay, so nothing goes in clear meanwhile.
    alice.done("racoon", "restart")?;
    alice.done("racoon", "status")?;
    ping::answered(host, to, PATIENCE).map_err(evidence)?;
    let third = spis(&kernel_state::sas_between(host, alice.seeded.at, to)?);
    if third.iter().any(|spi| first.contains(spi)) {
        return Err(evidence(Failure::new(format!("SPIs {first:x?} are still there: {third:x?}"))));
    }
    broken(alice, &third).map_err(evidence)?;
    desk.proved("service racoon restart: new SAs; with a broken racoon.conf it fails and the daemon goes on");
    log_is_in_order(host).map_err(evidence)?;
    desk.proved("-l FILE: every line stamped and levelled in racoon's form, the file 0600; a second daemon is refused");
    for machine in [alice, bob] {
        machine.done("racoon", "stop")?;
    }
    let (status, left) = (alice.service("racoon", "status")?, kernel_state::sas(host)?.len());
    if status.status.code() != Some(3) || left > 0 || host.exists("/var/run/racoon.pid") {
        return Err(evidence(Failure::new(format!("after stop: status ends with {}, {left} SAs", status.status))));
    }
    desk.proved("service racoon stop: no SA, no pid file");
    Ok(())
}

fn broken(machine: &Machine, spis_before: &[u32]) -> Result<()> {
    let host = &machine.seeded.host;
    let good = host.read("/etc/racoon/racoon.conf")?;
    host.write("/etc/racoon/racoon.conf", 0o600, format!("{good}\nremote 10.9.9.9 {{ exchange_mode sideways; }}\n"))?;
    let refused = machine.service("racoon", "restart")?;
    host.write("/etc/racoon/racoon.conf", 0o600, good)?;
    let words = "racoon: failed to parse configuration file.";
    if refused.status.success() || !refused.output().contains(words) {
        return Err(Failure::new(format!("a restart with a broken file ended with {}", refused.status))
            .with("its output", refused.output()));
    }
    let after = spis(&kernel_state::sas(host)?);
    if after != spis_before {
        return Err(Failure::new(format!("SPIs {spis_before:x?} became {after:x?}")));
    }
    Ok(())
}

/// `YYYY-MM-DD HH:MM:SS: [PEER] LEVEL: text`
fn has_form(line: &str) -> bool {
    let stamp = line.get(..21).unwrap_or_default();
    let shape: String = stamp.chars().map(|ch| if ch.is_ascii_digit() { '0' } else { ch }).collect();
    let rest = line.get(21..).unwrap_or_default();
    let rest = match rest.strip_prefix('[') {
        Some(tied) => tied.split_once("] ").map_or("", |(_, rest)| rest),
        None => rest,
    };
    let levels = ["ERROR: ", "WARNING: ", "NOTIFY: ", "INFO: ", "DEBUG: "];
    shape == "0000-00-00 00:00:00: " && levels.iter().any(|level| rest.starts_with(level))
}

fn log_is_in_order(host: &Host) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let log = host.read(LOG)?;
    if let Some(line) = log.lines().find(|line| !has_form(line)) {
        return Err(Failure::new(format!("a line of another form: {line}")));
    }
    let mode = std::fs::metadata(host.outside(LOG))?.permissions().mode() & 0o777;
    if mode != 0o600 {
        return Err(Failure::new(format!("{LOG} has mode {mode:o}")));
    }
    // As scripts without `service` start it.
    let default = host.read("/etc/default/racoon")?;
    let program = default.lines().find_map(|line| line.strip_prefix("DAEMON=")).unwrap_or_default().to_owned();
    let second = host.run(Path::new(&program), &[])?;
    if second.status.code() != Some(1) || !second.output().contains("another xfrmd is running") {
        return Err(
            Failure::new(format!("a second daemon ended with {}", second.status)).with("it said", second.output())
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn racoons_form_is_told_from_others() {
        assert!(has_form("2026-11-24 06:33:51: INFO: text"));
        assert!(has_form("2026-11-24 06:33:51: [192.0.2.1] NOTIFY: text"));
        assert!(!has_form("2026-11-24 06:33:51 INFO: text"));
        assert!(!has_form("2026-11-24 06:33:51: text"));
        assert!(!has_form("2026-11-24 06:33:51: [192.0.2.1 INFO: text"));
    }
}
