//! xfrmd as a peer: racoon.conf and a setkey script as a user would write them, xfrmctl to ask and to command.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::peer::Peer;
use crate::peer::tunnel::{Mode, Tunnel};
use crate::pki;
use crate::process::{Finished, Process};
use crate::wait;

/// The configuration's place on every host.
pub const CONF: &str = "/etc/racoon/racoon.conf";
/// The setkey script's place on every host.
pub const POLICIES: &str = "/etc/ipsec-tools.conf";
/// Where certificates and keys lie.
pub const CERTS: &str = "/etc/racoon/certs";
/// The daemon's command socket: it is there when the daemon is ready.
const SOCKET: &str = "/run/xfrmd/control.sock";

/// How long the daemon may take to come up.
const START: Duration = Duration::from_secs(20);

/// xfrmd on a host.
#[derive(Debug)]
pub struct Ours {
    host: Rc<Host>,
    programs: PathBuf,
    daemon: Process,
}

impl Ours {
    /// Writes the files for one tunnel, starts the daemon and loads the policies.
    ///
    /// # Errors
    /// When the daemon does not come up or setkey fails.
    pub fn start(desk: &Desk, host: &Rc<Host>, tunnel: Tunnel) -> Result<Self> {
        install_credentials(desk, host, &tunnel)?;
        Self::with_files(desk, host, &racoon_conf(&tunnel), &setkey_script(&tunnel))
    }

    /// Starts the daemon with these texts; whatever files they name are there already.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_files(desk: &Desk, host: &Rc<Host>, racoon_conf: &str, setkey: &str) -> Result<Self> {
        host.write(CONF, 0o600, racoon_conf)?;
        host.write(POLICIES, 0o755, setkey)?;
        for (name, text) in [("racoon.conf", racoon_conf), ("ipsec-tools.conf", setkey)] {
            std::fs::write(host.folder().join(name), text)?;
        }
        let mut made = Self {
            host: Rc::clone(host),
            programs: desk.programs().to_owned(),
            daemon: launch(host, &desk.program("xfrmd"))?,
        };
        made.ready()?;
        made.load_policies()?;
        Ok(made)
    }

    /// Loads the setkey script.
    ///
    /// # Errors
    /// When setkey reports failure or says anything: it exits with 0 even when the kernel refuses.
    pub fn load_policies(&self) -> Result<()> {
        let done = self.setkey(&["-f", POLICIES])?;
        if done.status.success() && done.output().trim().is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!("setkey -f on {} ended with {}", self.host.name(), done.status))
            .with("its output", done.output())
            .with("the script", self.host.read(POLICIES)?))
    }

    /// Runs setkey.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn setkey(&self, arguments: &[&str]) -> Result<Finished> {
        self.host.run(self.programs.join("setkey"), arguments)
    }

    /// Runs xfrmctl.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn xfrmctl(&self, arguments: &[&str]) -> Result<Finished> {
        self.host.run(self.programs.join("xfrmctl"), arguments)
    }

    /// The daemon itself.
    pub fn daemon(&mut self) -> &mut Process {
        &mut self.daemon
    }

    /// Ends the daemon in good order and starts it with another configuration.
    ///
    /// # Errors
    /// When it does not end or not come up again.
    pub fn restart_with(&mut self, racoon_conf: &str) -> Result<()> {
        self.shut_down()?;
        self.host.write(CONF, 0o600, racoon_conf)?;
        self.restart()
    }

    /// Sends SIGHUP and waits until the configuration has been read again.
    ///
    /// # Errors
    /// When the daemon does not say so.
    pub fn reload(&mut self) -> Result<()> {
        let readings = |log: &str| log.matches("Reading configuration from").count();
        let before = readings(&self.log()?);
        self.daemon.signal(Signal::HUP)?;
        wait::until(START, "xfrmd to read its configuration again", || Ok(readings(&self.log()?) > before))
    }

    fn ready(&mut self) -> Result<()> {
        let (host, daemon) = (&self.host, &mut self.daemon);
        wait::until(START, "xfrmd's control socket", || {
            if daemon.running()? {
                return Ok(host.exists(SOCKET));
            }
            Err(Failure::new(format!("xfrmd on {} ended at once", host.name())))
        })
        .map_err(|failure| failure.with("its log", self.daemon.log().unwrap_or_default()))
    }
}

impl Peer for Ours {
    fn host(&self) -> &Rc<Host> {
        &self.host
    }

    fn close(&mut self) -> Result<()> {
        self.shut_down()
    }

    fn reopen(&mut self) -> Result<()> {
        self.restart()
    }

    fn reboot_kernel(&mut self) -> Result<()> {
        // The script flushes before it adds, so no packet finds a host without policies for longer than that.
        self.host.netns().ip(&["xfrm", "state", "flush"])?;
        self.load_policies()
    }

    fn shut_down(&mut self) -> Result<()> {
        let status = self.daemon.stop(Signal::TERM)?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("xfrmd ended with {status} on SIGTERM"))) }
    }

    fn kill(&mut self) -> Result<()> {
        self.daemon.stop(Signal::KILL).map(drop)
    }

    fn restart(&mut self) -> Result<()> {
        // A daemon that was killed left its socket; the new one's is waited for, not the old one.
        let socket = self.host.outside(SOCKET);
        if socket.exists() {
            std::fs::remove_file(socket)?;
        }
        self.daemon = launch(&self.host, &self.programs.join("xfrmd"))?;
        self.ready()
    }

    fn log(&self) -> Result<String> {
        self.daemon.log()
    }
}

fn launch(host: &Rc<Host>, program: &std::path::Path) -> Result<Process> {
    let mut command = host.command(program);
    command.args(["-F", "-f", CONF]);
    host.spawn("xfrmd", command)
}

/// Puts certificate, key, CA and revocation list where [`racoon_conf`] names them.
///
/// # Errors
/// When a file cannot be written or openssl cannot hash the CA's name.
pub fn install_credentials(desk: &Desk, host: &Host, tunnel: &Tunnel) -> Result<()> {
    let credentials = &tunnel.credentials;
    let chain = format!("{}{}", credentials.leaf.pem, credentials.intermediate.as_deref().unwrap_or_default());
    host.write(&format!("{CERTS}/own.crt"), 0o644, chain)?;
    host.write(&format!("{CERTS}/own.key"), 0o600, &credentials.leaf.key)?;
    host.write(&format!("{CERTS}/ca.crt"), 0o644, &credentials.ca)?;
    if let Some(crl) = &credentials.crl {
        let hash = pki::subject_hash(desk.folder(), &credentials.ca)?;
        host.write(&format!("{CERTS}/{hash}.r0"), 0o644, crl)?;
    }
    Ok(())
}

/// The racoon.conf of a tunnel.
pub fn racoon_conf(tunnel: &Tunnel) -> String {
    let Tunnel { remote, pfs, .. } = tunnel;
    let (phase1, phase2) = (tunnel.phase1_life.as_secs(), tunnel.phase2_life.as_secs());
    let pfs = if *pfs { "\tpfs_group 14;\n" } else { "" };
    let peer = match &tunnel.remote_name {
        Some(name) => format!("\tpeers_identifier asn1dn \"{name}\";\n\tverify_identifier on;\n"),
        None => "\tpeers_identifier asn1dn;\n".to_owned(),
    };
    format!(
        "path certificate \"{CERTS}\";
remote {remote} {{
\texchange_mode main;
\tmy_identifier asn1dn;
{peer}\tcertificate_type x509 \"own.crt\" \"own.key\";
\tca_type x509 \"ca.crt\";
\tverify_cert on;
\tproposal_check obey;
\tlifetime time {phase1} sec;
\tproposal {{
\t\tencryption_algorithm aes 256;
\t\thash_algorithm sha256;
\t\tauthentication_method rsasig;
\t\tdh_group 14;
\t}}
}}
sainfo anonymous {{
{pfs}\tlifetime time {phase2} sec;
\tencryption_algorithm aes 256;
\tauthentication_algorithm hmac_sha256;
\tcompression_algorithm deflate;
}}
"
    )
}

/// The setkey script of a tunnel.
pub fn setkey_script(tunnel: &Tunnel) -> String {
    let (local, remote) = tunnel.selectors();
    let mut out = String::from("#!/usr/sbin/setkey -f\nflush;\nspdflush;\n");
    for (source, destination, direction, from, to) in
        [(&local, &remote, "out", tunnel.local, tunnel.remote), (&remote, &local, "in", tunnel.remote, tunnel.local)]
    {
        let request = match tunnel.mode {
            Mode::Transport => "esp/transport//require".to_owned(),
            Mode::Tunnel { .. } => format!("esp/tunnel/{from}-{to}/require"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "spdadd {source} {destination} any -P {direction} ipsec {request};");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::tunnel::Credentials;
    use crate::pki::Leaf;

    fn tunnel() -> Tunnel {
        let leaf = Leaf { pem: String::new(), key: String::new(), serial: 2, common_name: "alice".to_owned() };
        let credentials = Credentials { leaf, ca: String::new(), crl: None, intermediate: None };
        Tunnel::transport([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), credentials)
    }

    #[test]
    fn transport_policies_mirror_each_other() {
        let script = setkey_script(&tunnel());
        assert!(script.contains("spdadd 10.1.0.1 10.1.0.2 any -P out ipsec esp/transport//require;"));
        assert!(script.contains("spdadd 10.1.0.2 10.1.0.1 any -P in ipsec esp/transport//require;"));
    }

    #[test]
    fn tunnel_policies_name_the_gateways() {
        let mode = Mode::Tunnel { local: "10.11.0.0/24".to_owned(), remote: "10.12.0.0/24".to_owned() };
        let script = setkey_script(&Tunnel { mode, ..tunnel() });
        assert!(script.contains("10.11.0.0/24 10.12.0.0/24 any -P out ipsec esp/tunnel/10.1.0.1-10.1.0.2/require;"));
    }

    #[test]
    fn without_pfs_no_group_is_named() {
        assert!(racoon_conf(&tunnel()).contains("pfs_group 14;"));
        assert!(!racoon_conf(&Tunnel { pfs: false, ..tunnel() }).contains("pfs_group"));
    }
}
