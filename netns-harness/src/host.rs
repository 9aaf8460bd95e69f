//! One machine on the desk: a network namespace and a mount namespace that belong together, so that every machine has
//! its own /run, /etc and /var/lib and all its programs share them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::failure::{During, Failure, Result};
use crate::netns::Netns;
use crate::process::{self, Finished, Process};

/// Builds the private mounts, then stays until its standard input closes, so it never outlives the harness.
///
/// /etc becomes a fresh tmpfs whose entries are links to the real ones: a machine may have its own /etc/racoon without
/// the right to write to the real /etc, which a user-mode guest of an ordinary user does not have.
const HOLDER: &str = "set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/etc /run/netns
mount --bind /etc /run/etc
mount -t tmpfs -o mode=755 tmpfs /etc
ln -s /run/etc/* /etc/
rm -rf /etc/racoon /etc/ipsec-tools.conf /etc/ipsec-tools.d
mkdir /etc/racoon /etc/racoon/certs /etc/ipsec-tools.d
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir /var/lib/xfrmd
mount -t tmpfs -o mode=755 tmpfs /usr/local/etc
echo ready
exec cat";

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
    addresses: Vec<IpAddr>,
    folder: PathBuf,
    holder: Child,
    netns: Netns,
}

impl Host {
    /// Makes a machine called `name`; `prefix` keeps machines of different scenarios apart; logs go to `folder`.
    ///
    /// # Errors
    /// When the namespaces or the mounts cannot be made.
    pub fn create(prefix: &str, name: &str, folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let netns = Netns::create(&format!("{prefix}-{name}"))?;
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "nsenter"])
            .arg(format!("--net=/run/netns/{}", netns.name()))
            .args(["sh", "-c", HOLDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .during("starting a mount namespace")?;
        let mut line = String::new();
        if let Some(out) = holder.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        if line.trim() != "ready" {
            let output = holder.wait_with_output()?;
            return Err(Failure::new(format!("no private mounts for {name}"))
                .with("the shell said", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(Self { name: name.to_owned(), addresses: Vec::new(), folder, holder, netns })
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

    /// Gives an interface an address, without duplicate address detection, which would keep an IPv6 address unusable for
    /// a second.
    ///
    /// # Errors
    /// When iproute2 reports failure.
    pub fn add_address(&mut self, interface: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        self.netns.batch(&format!("addr add {address}/{prefix} dev {interface}{nodad}\n"))?;
        self.addresses.push(address);
        Ok(())
    }

    /// The first address of a family that it was given.
    ///
    /// # Panics
    /// When the topology gave it none, which is a mistake of the scenario's author.
    pub fn address(&self, family: Family) -> IpAddr {
        let wanted = |address: &&IpAddr| address.is_ipv6() == (family == Family::V6);
        *self.addresses.iter().find(wanted).expect("the topology gives every host an address of each family")
    }

    /// Sets a value below /proc/sys of its network namespace.
    ///
    /// # Errors
    /// When the kernel has no such value or refuses.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let done = self.run("sh", &["-c", &format!("echo {value} > /proc/sys/{key}")])?;
        if done.status.success() { Ok(()) } else { Err(Failure::new(format!("setting {key}: {}", done.stderr.trim()))) }
    }

    /// A command that will run on this machine.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            .arg("--")
            .arg(program.as_ref());
        command
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
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.id()))
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

impl Drop for Host {
    fn drop(&mut self) {
        // Its mounts go with the last process of the mount namespace; the network namespace is dropped after this.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
