//! strongSwan's charon as a peer (5.9): charon-systemd, which needs no pid file, with a configuration folder and a command
//! socket of its own.

use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;

use crate::failure::{During, Failure, Result};
use crate::host::Host;
use crate::peer::tunnel::{Credentials, Mode, Tunnel};
use crate::peer::{PATIENCE, Peer};
use crate::process::{self, Finished, Process};
use crate::wait;

const FOLDER: &str = "/run/swan";
const SOCKET: &str = "/run/swan/vici";
const LOG: &str = "/run/swan/charon.log";
const URI: &str = "unix:///run/swan/vici";

/// Plugins are named one by one: a private strongswan.conf includes none of the distribution's files, and every plugin not
/// loaded saves a quarter of a second in a user-mode kernel. OpenSSL brings the algorithms.
pub const CONF: &str = "charon-systemd {
  load = nonce openssl pem pkcs1 pkcs8 x509 revocation constraints pubkey kernel-netlink socket-default vici
  install_routes = no
  block_threshold = 0
  cookie_threshold = 0
  retransmit_timeout = 1.0
  plugins { vici { socket = unix:///run/swan/vici } }
  filelog { f { path = /run/swan/charon.log
    default = 1
    flush_line = yes
    time_add_ms = yes } }
}
swanctl {
  load = pem pkcs1 pkcs8 x509 openssl
}
";

/// charon on a host.
#[derive(Debug)]
pub struct Strongswan {
    host: Rc<Host>,
    daemon: Process,
    /// What earlier daemons of this peer logged.
    earlier: String,
}

impl Strongswan {
    /// Writes the files, starts the daemon and loads the connection, whose policies trap traffic.
    ///
    /// # Errors
    /// When the daemon does not come up or refuses the configuration.
    pub fn start(host: &Rc<Host>, tunnel: Tunnel) -> Result<Self> {
        Self::with_files(host, &tunnel.credentials, CONF, &swanctl_conf(&tunnel))
    }

    /// Starts the daemon with these texts of strongswan.conf and swanctl.conf.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_files(host: &Rc<Host>, credentials: &Credentials, conf: &str, text: &str) -> Result<Self> {
        let swanctl = |path: &str| format!("{FOLDER}/swanctl/{path}");
        host.write(&swanctl("x509/own.crt"), 0o644, &credentials.leaf.pem)?;
        host.write(&swanctl("private/own.key"), 0o600, &credentials.leaf.key)?;
        host.write(&swanctl("x509ca/ca.crt"), 0o644, &credentials.ca)?;
        if let Some(intermediate) = &credentials.intermediate {
            host.write(&swanctl("x509/intermediate.crt"), 0o644, intermediate)?;
        }
        if let Some(crl) = &credentials.crl {
            host.write(&swanctl("x509crl/ca.crl"), 0o644, crl)?;
        }
        host.write(&format!("{FOLDER}/strongswan.conf"), 0o644, conf)?;
        host.write(&swanctl("swanctl.conf"), 0o600, text)?;
        std::fs::write(host.folder().join("swanctl.conf"), text)?;
        let daemon = launch(host)?;
        let mut made = Self { host: Rc::clone(host), daemon, earlier: String::new() };
        made.ready()?;
        Ok(made)
    }

    /// The daemon itself.
    pub fn daemon(&mut self) -> &mut Process {
        &mut self.daemon
    }

    /// Runs swanctl.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn swanctl(&self, arguments: &[&str]) -> Result<Finished> {
        let mut command = self.host.command("swanctl");
        command.args(arguments).args(["--uri", URI]);
        process::run(command.env("SWANCTL_DIR", format!("{FOLDER}/swanctl")).env("STRONGSWAN_CONF", conf()))
    }

    fn ready(&mut self) -> Result<()> {
        let (host, daemon) = (&self.host, &mut self.daemon);
        wait::until(PATIENCE, "charon's command socket", || {
            if daemon.running()? {
                return Ok(host.exists(SOCKET));
            }
            Err(Failure::new(format!("charon on {} ended at once", host.name())))
        })
        .map_err(|failure| failure.with("its output", self.daemon.log().unwrap_or_default()))?;
        self.commanded(&["--load-all"])
    }

    fn commanded(&self, arguments: &[&str]) -> Result<()> {
        let done = self.swanctl(arguments)?;
        if done.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("swanctl {} on {} ended with {}", arguments.join(" "), self.host.name(), done.status))
            .with("its output", done.output())
            .with("charon's log", self.log().unwrap_or_default()))
    }

    /// Keeps the log of a daemon that has ended.
    fn keep_log(&mut self) -> Result<()> {
        self.earlier.push_str(&self.host.read(LOG)?);
        let outside = self.host.outside(SOCKET);
        if outside.exists() {
            std::fs::remove_file(outside)?;
        }
        Ok(())
    }
}

impl Peer for Strongswan {
    fn host(&self) -> &Rc<Host> {
        &self.host
    }

    fn close(&mut self) -> Result<()> {
        self.commanded(&["--terminate", "--ike", "net", "--timeout", &PATIENCE.as_secs().to_string()])
    }

    fn reopen(&mut self) -> Result<()> {
        // Its trap policies outlive the tunnel.
        Ok(())
    }

    fn reboot_kernel(&mut self) -> Result<()> {
        // charon loads its policies itself when it starts.
        self.host.netns().ip(&["xfrm", "state", "flush"]).map(drop)
    }

    fn shut_down(&mut self) -> Result<()> {
        self.daemon.stop(Signal::TERM)?;
        self.keep_log()
    }

    fn kill(&mut self) -> Result<()> {
        self.daemon.stop(Signal::KILL)?;
        self.keep_log()
    }

    fn restart(&mut self) -> Result<()> {
        self.daemon = launch(&self.host)?;
        self.ready()
    }

    fn log(&self) -> Result<String> {
        let now = if self.host.exists(LOG) { self.host.read(LOG)? } else { String::new() };
        Ok(format!("{}{now}", self.earlier))
    }
}

impl Drop for Strongswan {
    fn drop(&mut self) {
        // The log lies on the host's own /run, which goes with it; a copy is for people.
        if let Ok(log) = self.log() {
            let _ = std::fs::write(self.host.folder().join("charon.log"), log).during("keeping charon's log");
        }
    }
}

fn conf() -> String {
    format!("{FOLDER}/strongswan.conf")
}

fn launch(host: &Rc<Host>) -> Result<Process> {
    let mut command = host.command("/usr/sbin/charon-systemd");
    command.env("STRONGSWAN_CONF", conf());
    host.spawn("charon-out", command)
}

/// Policies that let neighbour solicitations and advertisements pass: Linux looks them up in the policies too, and two
/// hosts on one link could not even find each other to speak IKE. (xfrmd makes them by itself.) An ICMPv6 type is written as
/// the upper octet of a port.
const NEIGHBOURS: &str = "  neighbours {
    remote_addrs = ::1
    children {
      solicitation {
        local_ts = ::/0[ipv6-icmp/34560]
        remote_ts = ::/0[ipv6-icmp/34560]
        mode = pass
        start_action = trap
      }
      advertisement {
        local_ts = ::/0[ipv6-icmp/34816]
        remote_ts = ::/0[ipv6-icmp/34816]
        mode = pass
        start_action = trap
      }
    }
  }
";

/// The swanctl.conf of a tunnel.
pub fn swanctl_conf(tunnel: &Tunnel) -> String {
    let Tunnel { local, remote, .. } = tunnel;
    let (local_ts, remote_ts) = tunnel.selectors();
    let mode = match tunnel.mode {
        Mode::Transport => "transport",
        Mode::Tunnel { .. } => "tunnel",
    };
    let group = if tunnel.pfs { "-modp2048" } else { "" };
    let id = match &tunnel.remote_name {
        Some(name) => name.replace('/', ", ").trim_start_matches(", ").to_owned(),
        None => "%any".to_owned(),
    };
    let (reauth, over) = soft_and_over(tunnel.phase1_life);
    let (rekey, _) = soft_and_over(tunnel.phase2_life);
    let life = tunnel.phase2_life.as_secs();
    let shunts = if local.is_ipv6() && tunnel.mode == Mode::Transport { NEIGHBOURS } else { "" };
    format!(
        "connections {{
{shunts}  net {{
    version = 1
    local_addrs = {local}
    remote_addrs = {remote}
    proposals = aes256-sha256-modp2048
    send_cert = always
    reauth_time = {reauth}s
    over_time = {over}s
    rand_time = 0s
    local {{ auth = pubkey
      certs = own.crt }}
    remote {{ auth = pubkey
      id = \"{id}\" }}
    children {{
      net {{
        mode = {mode}
        local_ts = {local_ts}
        remote_ts = {remote_ts}
        esp_proposals = aes256-sha256{group}
        rekey_time = {rekey}s
        life_time = {life}s
        rand_time = 0s
        start_action = trap
      }}
    }}
  }}
}}
"
    )
}

/// When to renew, and how much longer the SA may live.
fn soft_and_over(life: Duration) -> (u64, u64) {
    let soft = life.as_secs() * 8 / 10;
    (soft, life.as_secs() - soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sa_is_renewed_at_four_fifths_of_its_life() {
        assert_eq!(soft_and_over(Duration::from_secs(20)), (16, 4));
    }
}
