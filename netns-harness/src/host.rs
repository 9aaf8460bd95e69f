//! One machine on the desk: a network namespace and a mount namespace that belong together, so that every machine has
//! its own /run, /etc and /var/lib and all its programs share them.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use netlink_sys::Socket;

use crate::failure::{During, Result};
use crate::netns::Netns;
use crate::process::{self, Finished, Process};

/// IPv4 or IPv6, for scenarios that exist in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A machine.
#[derive(Debug)]
pub struct Host {
    name: String,
    addresses: [IpAddr; 2],
    folder: PathBuf,
    netns: Netns,
    xfrm: Socket,
}

impl Host {
    /// Makes a machine whose logs go to its folder below `folder`. Its addresses are only noted here.
    ///
    /// # Errors
    /// When the namespaces or the mounts cannot be made.
    pub fn create(name: &str, folder: &Path, settings: &[&str], addresses: [IpAddr; 2]) -> Result<Self> {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        let netns = Netns::create(name, settings)?;
        let xfrm = netns.xfrm_socket()?;
        Ok(Self { name: name.to_owned(), addresses, folder, netns, xfrm })
    }

    /// A netlink socket for SAs and policies that belongs to this machine.
    pub fn xfrm(&self) -> &Socket {
        &self.xfrm
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The folder its logs go to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The first address of a family that it was given.
    ///
    /// # Panics
    /// When the topology gave it none, which is a mistake of the scenario's author.
    pub fn address(&self, family: Family) -> IpAddr {
        let wanted = |address: &&IpAddr| address.is_ipv6() == (family == Family::V6);
        *self.addresses.iter().find(wanted).expect("the topology gives every host an address of each family")
    }

    /// A command that will run on this machine.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        self.netns.command(program)
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<Finished> {
        process::run(self.command(program).args(arguments))
    }

    /// Runs a program and insists on exit code 0; its standard output.
    ///
    /// # Errors
    /// When it cannot be started or reports failure.
    pub fn check(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<String> {
        process::check(self.command(program).args(arguments)).map_err(|failure| failure.during(&self.name))
    }

    /// Starts a program that stays; its output goes to `<label>.log` in the machine's folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, label: &str, command: Command) -> Result<Process> {
        let log = self.folder.join(format!("{label}.log"));
        Process::spawn(&format!("{label} on {}", self.name), command, log)
    }

    /// Where one of the machine's own files is seen from outside.
    pub fn outside(&self, path: &str) -> PathBuf {
        self.netns.outside(path)
    }

    /// Writes one of the machine's files with exactly this mode, making its folders.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Result<()> {
        let target = self.outside(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).during(folder.display())?;
        }
        fs::write(&target, content.as_ref()).during(target.display())?;
        fs::set_permissions(&target, fs::Permissions::from_mode(mode)).during(target.display())
    }

    /// Whether one of the machine's files exists.
    pub fn exists(&self, path: &str) -> bool {
        self.outside(path).exists()
    }

    /// Reads one of the machine's files.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.outside(path)).during(format!("{path} on {}", self.name))
    }
}
