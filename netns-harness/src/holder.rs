//! The process that keeps a host's namespaces: it makes them, builds the private mounts, and stays until its standard input
//! closes, so it never outlives the harness.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};

use crate::enter;
use crate::failure::{During, Result};

/// What the holder prints when everything is in place.
pub const READY: &str = "ready";

/// Entries of /etc that a host gets of its own instead of the machine's.
const OWN: [&str; 3] = ["racoon", "ipsec-tools.conf", "ipsec-tools.d"];

/// Builds a host; `settings` are values below /proc/sys as `net/ipv4/ip_forward=1`.
///
/// # Errors
/// When the kernel refuses a namespace, a mount or a setting.
pub fn hold(settings: &[String]) -> Result<()> {
    enter::leave_for_new()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).during("making mounts private")?;
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        fs::write(Path::new("/proc/sys").join(key), value).during(setting)?;
    }
    private_files()?;
    println!("{READY}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A fresh /run, /var/lib, /usr/local/etc, and an /etc whose entries are links to the real ones: a host may have its own
/// /etc/racoon without the right to write to the real /etc, which a user-mode guest of an ordinary user does not have.
fn private_files() -> Result<()> {
    tmpfs("/run")?;
    fs::create_dir_all("/run/etc")?;
    mount_bind("/etc", "/run/etc").during("keeping the real /etc")?;
    tmpfs("/etc")?;
    for entry in fs::read_dir("/run/etc")? {
        let name = entry?.file_name();
        if !OWN.iter().any(|own| name == *own) {
            symlink(Path::new("/run/etc").join(&name), Path::new("/etc").join(&name))?;
        }
    }
    tmpfs("/var/lib")?;
    tmpfs("/usr/local/etc")?;
    for folder in ["/etc/racoon/certs", "/etc/ipsec-tools.d", "/var/lib/xfrmd"] {
        fs::create_dir_all(folder).during(folder)?;
    }
    Ok(())
}

fn tmpfs(target: &str) -> Result<()> {
    mount("tmpfs", target, "tmpfs", MountFlags::empty(), Some(c"mode=755")).during(format!("mounting {target}"))
}
