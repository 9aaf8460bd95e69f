//! What the commands need from the distribution, and getting it with apt-get after saying so.

use std::path::Path;
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::kernel::Kernel;
use crate::process;

/// A package and a file of it: its presence is looked for, so that a machine which has the program from elsewhere is left
/// alone.
struct Need {
    package: &'static str,
    file: &'static str,
}

/// Needed whatever the kernel.
const NEEDS: &[Need] = &[
    Need { package: "iproute2", file: "bin/ip" },
    Need { package: "iputils-ping", file: "bin/ping" },
    Need { package: "util-linux", file: "bin/nsenter" },
    Need { package: "tcpdump", file: "bin/tcpdump" },
    Need { package: "openssl", file: "bin/openssl" },
    Need { package: "charon-systemd", file: "sbin/charon-systemd" },
    Need { package: "strongswan-swanctl", file: "sbin/swanctl" },
    Need { package: "libstrongswan-standard-plugins", file: "lib/ipsec/plugins/libstrongswan-openssl.so" },
    Need { package: "libcharon-extauth-plugins", file: "lib/ipsec/plugins/libstrongswan-xauth-generic.so" },
    Need { package: "libssl-dev", file: "include/openssl/ssl.h" },
    Need { package: "pkg-config", file: "bin/pkg-config" },
    Need { package: "gcc", file: "bin/cc" },
    Need { package: "make", file: "bin/make" },
    Need { package: "libc6-dev", file: "include/stdio.h" },
];

/// Needed where the running kernel will not do.
const USER_MODE: Need = Need { package: "user-mode-linux", file: "bin/linux.uml" };

/// Folders that [`Need::file`] is looked for in.
const PREFIXES: [&str; 3] = ["/usr", "/usr/local", ""];

impl Need {
    fn is_there(&self) -> bool {
        PREFIXES.iter().any(|prefix| Path::new(&format!("{prefix}/{}", self.file)).exists())
    }
}

/// Whether everything is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Equipment {
    /// Everything needed is installed.
    Complete,
    /// `--no-install` was given: the list has been printed and something lacks or not.
    Listed {
        /// Whether something lacks.
        lacking: bool,
    },
}

/// Installs what lacks, or only says what that is.
///
/// # Errors
/// When apt-get fails.
pub(super) fn equip(kernel: Kernel, no_install: bool) -> Result<Equipment> {
    let lacking: Vec<&str> = NEEDS
        .iter()
        .chain((kernel == Kernel::UserMode).then_some(&USER_MODE))
        .filter(|need| !need.is_there())
        .map(|need| need.package)
        .collect();
    if no_install {
        let list = if lacking.is_empty() { "nothing".to_owned() } else { lacking.join(" ") };
        println!("to install: {list}");
        return Ok(Equipment::Listed { lacking: !lacking.is_empty() });
    }
    if lacking.is_empty() {
        return Ok(Equipment::Complete);
    }
    println!("installing with apt-get: {}", lacking.join(" "));
    apt_get(&["update", "-q"])?;
    apt_get(&[&["install", "-q", "-y", "--no-install-recommends"], lacking.as_slice()].concat())?;
    if lacking.contains(&"charon-systemd") && Path::new("/run/systemd/system").exists() {
        println!("stopping the strongswan service that the package started: the tests run their own");
        let mut command = as_root("systemctl");
        // A machine without the service has nothing to stop.
        process::run(command.args(["disable", "--now", "strongswan.service"]))?;
    }
    Ok(Equipment::Complete)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(arguments);
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("{} ended with {status}", process::shown(&command))))
    }
}

fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}
