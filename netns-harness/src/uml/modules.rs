//! The guest kernel's modules. They lie in /usr/lib/uml/modules; the kernel's own loader would look in /lib/modules, which
//! an ordinary user cannot put there, and through `modprobe`, which need not be installed. So this program is the loader:
//! it is called under the name `modprobe` by the kernel, and reads depmod's text indexes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::failure::{During, Failure, Result};

/// Where Debian's package puts them, below a folder named after the kernel's version.
const MODULES: &str = "/usr/lib/uml/modules";

/// What ESP needs, loaded before the first scenario: loading on demand makes the first SA of a boot wait most of a second.
const UP_FRONT: [&str; 34] = [
    "esp4",
    "esp6",
    "ah4",
    "ah6",
    "ipcomp",
    "ipcomp6",
    "xfrm_user",
    "af_key",
    "authenc",
    "echainiv",
    "cbc",
    "des_generic",
    "sha512_generic",
    "hmac",
    "veth",
    "bridge",
    "sch_netem",
    "crypto_null",
    // vpnc's device.
    "tun",
    // Suites and shapes of SAs that not every scenario has.
    "authencesn",
    "camellia_generic",
    "ccm",
    "ctr",
    "deflate",
    "gcm",
    "ghash_generic",
    "seqiv",
    "xcbc",
    "xfrm4_tunnel",
    // Address translation: iptables would look for its modules in /lib/modules.
    "iptable_nat",
    "xt_MASQUERADE",
    "xt_nat",
    "xt_tcpudp",
    "nf_conntrack_netlink",
];

/// Depmod's indexes of the running kernel.
#[derive(Debug)]
pub struct Modules {
    folder: PathBuf,
    /// Lines `path: dependency dependency`, dependencies in the order that undoes them.
    dependencies: String,
    /// Lines `alias PATTERN NAME`.
    aliases: String,
}

impl Modules {
    /// Reads the indexes.
    ///
    /// # Errors
    /// When the guest's kernel has none.
    pub fn open() -> Result<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let folder = Path::new(MODULES).join(release);
        let index = |name: &str| fs::read_to_string(folder.join(name)).during(folder.join(name).display());
        Ok(Self { dependencies: index("modules.dep")?, aliases: index("modules.alias")?, folder: folder.clone() })
    }

    /// Loads what every scenario needs. What this kernel has built in, or does not have, is passed over.
    pub fn load_up_front(&self) {
        for name in UP_FRONT {
            // A module that a scenario misses shows there, with the kernel's words.
            let _ = self.load(name);
        }
    }

    /// Loads a module by its name or by an alias the kernel asked for, and before it what it depends on.
    ///
    /// # Errors
    /// When nothing bears that name, or the kernel refuses the module.
    pub fn load(&self, name: &str) -> Result<()> {
        let wanted = name.replace('-', "_");
        let mut names: Vec<&str> = Vec::new();
        for line in self.aliases.lines() {
            if let ["alias", pattern, module] = line.split(' ').collect::<Vec<_>>().as_slice()
                && (glob(pattern, name) || glob(&pattern.replace('-', "_"), &wanted))
            {
                names.push(module);
            }
        }
        names.push(&wanted);
        let mut found = false;
        let mut seen = HashSet::new();
        for line in self.dependencies.lines() {
            let Some((path, needs)) = line.split_once(':') else { continue };
            if !names.contains(&stem(path).as_str()) {
                continue;
            }
            found = true;
            for needed in needs.split_whitespace().rev().filter(|needed| seen.insert(*needed)) {
                self.insert(needed)?;
            }
            self.insert(path)?;
        }
        if found { Ok(()) } else { Err(Failure::new(format!("no module is called {name}"))) }
    }

    fn insert(&self, path: &str) -> Result<()> {
        let file = File::open(self.folder.join(path)).during(path)?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(Failure::new(format!("{path}: {error}"))),
        }
    }
}

/// The kernel's call: `modprobe -q -- NAME`.
///
/// # Errors
/// When the module cannot be loaded.
pub fn modprobe(arguments: impl Iterator<Item = String>) -> Result<()> {
    let modules = Modules::open()?;
    arguments.filter(|word| !word.starts_with('-')).try_for_each(|name| modules.load(&name))
}

/// Tells the kernel to call `loader`.
///
/// # Errors
/// When /proc is not mounted.
pub fn register(loader: &Path) -> Result<()> {
    fs::write("/proc/sys/kernel/modprobe", loader.as_os_str().as_encoded_bytes()).during("registering the loader")
}

/// The file name without its extension, spelt as the kernel spells module names.
fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// Matches `*` only; depmod's other wildcards are those of hardware the guest does not have.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            after.is_empty() || (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| glob(after, rest)))
        }),
    }
}

/// The name under which the kernel calls this program.
pub const LOADER: &str = "modprobe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_match_with_stars() {
        assert!(glob("xfrm-type-2-50", "xfrm-type-2-50"));
        assert!(glob("crypto-cbc*", "crypto-cbc(aes)"));
        assert!(!glob("crypto-cbc", "crypto-cbc(aes)"));
        assert!(glob("a*c*e", "abcde"));
    }

    #[test]
    fn names_are_spelt_as_the_kernel_does() {
        assert_eq!(stem("kernel/net/sched/sch_netem.ko"), "sch_netem");
        assert_eq!(stem("kernel/fs/nls/mac-greek.ko.xz"), "mac_greek");
    }
}
