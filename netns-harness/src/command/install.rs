//! What the commands need from the distribution, and getting it with apt-get after saying so.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::build;
use crate::failure::{During, Failure, Result};
use crate::kernel::Kernel;
use crate::peer::libreswan::unpacked;
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
    Need { package: "iptables", file: "sbin/iptables-legacy" },
    Need { package: "conntrack", file: "sbin/conntrack" },
    Need { package: "openssl", file: "bin/openssl" },
    // keylime's Python agent runs our modules.
    Need { package: "python3", file: "bin/python3" },
    Need { package: "charon-systemd", file: "sbin/charon-systemd" },
    Need { package: "strongswan-swanctl", file: "sbin/swanctl" },
    Need { package: "libstrongswan-standard-plugins", file: "lib/ipsec/plugins/libstrongswan-openssl.so" },
    Need { package: "libcharon-extauth-plugins", file: "lib/ipsec/plugins/libstrongswan-xauth-generic.so" },
    // What libreswan's programs need; its own package conflicts with strongSwan's and is only unpacked.
    Need { package: "libnss3-tools", file: "bin/certutil" },
    Need { package: "libldns3", file: "lib/*/libldns.so.3" },
    Need { package: "libunbound8", file: "lib/*/libunbound.so.8" },
    Need { package: "libcurl3-nss", file: "lib/*/libcurl-nss.so.4" },
    Need { package: "libevent-core-2.1-7", file: "lib/*/libevent_core-2.1.so.7" },
    Need { package: "libevent-pthreads-2.1-7", file: "lib/*/libevent_pthreads-2.1.so.7" },
    Need { package: "libldap-2.5-0", file: "lib/*/libldap-2.5.so.0" },
    Need { package: "libaudit1", file: "lib/*/libaudit.so.1" },
    Need { package: "libcap-ng0", file: "lib/*/libcap-ng.so.0" },
    Need { package: "vpnc", file: "sbin/vpnc" },
    Need { package: "ike-scan", file: "bin/ike-scan" },
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
        PREFIXES.iter().any(|prefix| match self.file.split_once("/*/") {
            None => Path::new(&format!("{prefix}/{}", self.file)).exists(),
            // A library lies in a folder named after the machine's architecture.
            Some((folder, name)) => fs::read_dir(format!("{prefix}/{folder}"))
                .is_ok_and(|entries| entries.flatten().any(|entry| entry.path().join(name).exists())),
        })
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
    let libreswan = unpacked(&build::desk_folder()?.join("keys"));
    let pluto = libreswan.join("usr/libexec/ipsec/pluto");
    let lacking: Vec<&str> = NEEDS
        .iter()
        .chain((kernel == Kernel::UserMode).then_some(&USER_MODE))
        .filter(|need| !need.is_there())
        .map(|need| need.package)
        .collect();
    if no_install {
        let list = if lacking.is_empty() { "nothing".to_owned() } else { lacking.join(" ") };
        println!("to install: {list}");
        let unpack = !pluto.exists();
        if unpack {
            println!("to download and unpack, not to install: libreswan");
        }
        return Ok(Equipment::Listed { lacking: unpack || !lacking.is_empty() });
    }
    if !lacking.is_empty() {
        install(&lacking)?;
    }
    if !pluto.exists() {
        unpack_libreswan(&libreswan)?;
    }
    Ok(Equipment::Complete)
}

/// libreswan's package conflicts with strongSwan's, and needs no more than to lie somewhere.
fn unpack_libreswan(folder: &Path) -> Result<()> {
    println!("downloading libreswan with apt-get, to be unpacked in {}", folder.display());
    // It appears under its name only when it is complete.
    let new = folder.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir_all(&new)?;
    let download = || -> Result<bool> {
        let mut command = Command::new("apt-get");
        Ok(command.args(["download", "-q", "libreswan"]).current_dir(&new).status()?.success())
    };
    if !download()? {
        // A fresh machine has no lists.
        apt_get(&["update", "-q"])?;
        if !download()? {
            return Err(Failure::new("apt-get download libreswan failed"));
        }
    }
    let package =
        fs::read_dir(&new)?.flatten().map(|entry| entry.path()).find(|path| path.extension() == Some("deb".as_ref()));
    let Some(package) = package else { return Err(Failure::new("apt-get download libreswan left no package")) };
    process::check(Command::new("dpkg-deb").arg("-x").arg(package).arg(&new))?;
    fs::rename(&new, folder).during(folder.display())
}

/// Installs packages.
fn install(lacking: &[&str]) -> Result<()> {
    println!("installing with apt-get: {}", lacking.join(" "));
    apt_get(&["update", "-q"])?;
    apt_get(&[&["install", "-q", "-y", "--no-install-recommends"], lacking].concat())?;
    if lacking.contains(&"charon-systemd") && Path::new("/run/systemd/system").exists() {
        println!("stopping the strongswan service that the package started: the tests run their own");
        let mut command = as_root("systemctl");
        // A machine without the service has nothing to stop.
        process::run(command.args(["disable", "--now", "strongswan.service"]))?;
    }
    Ok(())
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
