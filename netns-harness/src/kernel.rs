//! Which kernel the desk stands on. The running one, if it can hold an ESP SA in a fresh network namespace; otherwise a
//! user-mode Linux, which needs no privilege and whose root is nobody's root.

use std::fs;

use crate::netns::Netns;
use crate::process;

/// Overrides the choice: `running` or `uml`.
const CHOICE: &str = "XTASK_KERNEL";

/// The kernel under the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// The one this process runs on.
    Running,
    /// A guest.
    UserMode,
}

/// The kernel to use, and why.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The kernel.
    pub kernel: Kernel,
    /// The reason, as a clause.
    pub reason: String,
}

impl Choice {
    /// One line for people.
    pub fn line(&self) -> String {
        let kernel = match self.kernel {
            Kernel::Running => "the running kernel",
            Kernel::UserMode => "a user-mode Linux kernel",
        };
        format!("kernel: {kernel}, because {}", self.reason)
    }
}

/// Tries the running kernel.
pub fn choose() -> Choice {
    let user_mode = |reason: String| Choice { kernel: Kernel::UserMode, reason };
    match std::env::var(CHOICE).as_deref() {
        Ok("running") => return Choice { kernel: Kernel::Running, reason: format!("{CHOICE} says so") },
        Ok("uml") => return user_mode(format!("{CHOICE} says so")),
        _ => {}
    }
    if !rustix::process::geteuid().is_root() {
        return user_mode("making namespaces in the running one takes root".to_owned());
    }
    if let Some(profile) = confined_peer() {
        return user_mode(format!("AppArmor confines {profile} in the running one"));
    }
    match try_esp() {
        Ok(()) => {
            Choice { kernel: Kernel::Running, reason: "it took an ESP SA in a fresh network namespace".to_owned() }
        }
        Err(why) => user_mode(format!("the running one took no ESP SA ({why})")),
    }
}

fn try_esp() -> Result<(), String> {
    let netns = Netns::create("trial", &[]).map_err(|failure| failure.to_string())?;
    let done = process::run(netns.command("ip").args(["xfrm", "state", "add"]).args([
        "src",
        "192.0.2.1",
        "dst",
        "192.0.2.2",
        "proto",
        "esp",
        "spi",
        "0x1000",
        "mode",
        "transport",
        "enc",
        "cbc(aes)",
        "0x00112233445566778899aabbccddeeff",
        "auth-trunc",
        "hmac(sha256)",
        "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "128",
    ]))
    .map_err(|failure| failure.to_string())?;
    if done.status.success() { Ok(()) } else { Err(done.stderr.lines().next().unwrap_or("no reason given").to_owned()) }
}

/// A distribution's AppArmor profile would keep a peer from the desk's files.
fn confined_peer() -> Option<&'static str> {
    let profiles = fs::read_to_string("/sys/kernel/security/apparmor/profiles").ok()?;
    ["charon-systemd", "tcpdump"]
        .into_iter()
        .find(|name| profiles.lines().any(|line| line.contains(name) && line.ends_with("(enforce)")))
}
