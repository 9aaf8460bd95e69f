//! strongSwan's charon as a peer (5.9): charon-systemd, which needs no pid file, with a configuration folder and a command
//! socket of its own.

use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;

use crate::failure::{During, Failure, Result};
use crate::host::Host;
use crate::peer::suite::Protocol;
use crate::peer::tunnel::{Auth, Begin, Credentials, Exchange, Id, Mode, ModeCfg, Selectors, Switch, Tunnel, Xauth};
use crate::peer::{PATIENCE, Peer};
use crate::process::{self, Finished, Process};
use crate::wait;

/// Where its files lie on every host.
pub const FOLDER: &str = "/run/swan";
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
        Self::with_files(host, &tunnel.credentials, &strongswan_conf(&tunnel), &swanctl_conf(&tunnel))
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

/// The strongswan.conf of a tunnel: [`CONF`] with what the tunnel needs beside it.
pub fn strongswan_conf(tunnel: &Tunnel) -> String {
    let mut plugins = tunnel.extra.charon_load.clone();
    if tunnel.xauth.is_some() {
        plugins.push_str(" xauth-generic");
    }
    if tunnel.mode_cfg.is_some() {
        plugins.push_str(" attr unity");
    }
    let aggressive = match (tunnel.exchange, &tunnel.auth) {
        (Exchange::Aggressive, Auth::Psk(_)) => "  i_dont_care_about_security_and_use_aggressive_mode_psk = yes\n",
        _ => "",
    };
    CONF.replace(" vici\n", &format!(" vici {plugins}\n{aggressive}{}", tunnel.extra.charon))
}

fn id(id: &Id) -> Option<String> {
    match id {
        Id::Usual => None,
        Id::Address(address) => Some(address.to_string()),
        Id::Fqdn(name) => Some(format!("fqdn:{name}")),
        Id::UserFqdn(name) => Some(format!("email:{name}")),
        Id::Dn(name) => Some(name.replace('/', ", ").trim_start_matches(", ").to_owned()),
        Id::KeyId(name) => Some(format!("keyid:{name}")),
    }
}

/// The `local` and `remote` blocks; hybrid authentication has XAUTH in place of the client's signature.
fn authentication(tunnel: &Tunnel) -> String {
    let own = id(&tunnel.local_id).map(|id| format!("\n      id = \"{id}\"")).unwrap_or_default();
    let other = match (id(&tunnel.remote_id), &tunnel.auth) {
        (Some(id), _) => format!("\n      id = \"{id}\""),
        // Without an id charon expects the address, which is a pre-shared key's usual identity.
        (None, Auth::Psk(_)) if !tunnel.anonymous => String::new(),
        (None, _) => "\n      id = \"%any\"".to_owned(),
    };
    let signing = "auth = pubkey\n      certs = own.crt";
    let (local, remote) = match (&tunnel.auth, &tunnel.xauth) {
        (Auth::Psk(_), _) => ("auth = psk", "auth = psk"),
        (Auth::Signature, _) => (signing, "auth = pubkey"),
        (Auth::Hybrid, Some(Xauth::Client { .. })) => ("", "auth = pubkey"),
        (Auth::Hybrid, _) => (signing, ""),
    };
    let mut out = String::new();
    let mut block = |name: &str, auth: &str, more: &str| out.push_str(&format!("    {name} {{ {auth}{more} }}\n"));
    let mut round = 1;
    if !local.is_empty() {
        block("local", local, &own);
        round += 1;
    }
    if let Some(Xauth::Client { user, .. }) = &tunnel.xauth {
        block(&format!("local{round}"), "auth = xauth-generic", &format!("\n      xauth_id = {user}"));
    }
    round = 1;
    if !remote.is_empty() {
        block("remote", remote, &other);
        round += 1;
    }
    if let Some(Xauth::Server { .. }) = &tunnel.xauth {
        block(&format!("remote{round}"), "auth = xauth-generic", "");
    }
    out
}

/// The `secrets` and `pools` blocks.
fn secrets_and_pools(tunnel: &Tunnel) -> String {
    let mut out = String::new();
    if let Auth::Psk(key) = &tunnel.auth {
        out.push_str(&format!("secrets {{\n  ike-net {{ secret = \"{key}\" }}\n}}\n"));
    }
    let users = match &tunnel.xauth {
        Some(Xauth::Client { user, password }) => vec![(user.clone(), password.clone())],
        Some(Xauth::Server { users }) => users.clone(),
        None => Vec::new(),
    };
    for (number, (user, password)) in users.iter().enumerate() {
        out.push_str(&format!("secrets {{\n  xauth-{number} {{ id = {user}\n    secret = \"{password}\" }}\n}}\n"));
    }
    if let Some(server @ ModeCfg::Server { first, dns, .. }) = &tunnel.mode_cfg {
        let last = server.last().unwrap_or(*first);
        let dns = dns.map(|dns| format!("    dns = {dns}\n")).unwrap_or_default();
        out.push_str(&format!("pools {{\n  desk {{\n    addrs = {first}-{last}\n{dns}  }}\n}}\n"));
    }
    out.push_str(&tunnel.extra.swanctl);
    out
}

/// The lines of the connection that not every tunnel has.
fn connection_options(tunnel: &Tunnel) -> String {
    let mut out = String::new();
    let mut line = |text: &str| out.push_str(&format!("    {text}\n"));
    if tunnel.exchange == Exchange::Aggressive {
        line("aggressive = yes");
    }
    if tunnel.nat == Some(Switch::Force) {
        line("encap = yes");
    }
    match tunnel.frag {
        Some(Switch::Off) => line("fragmentation = no"),
        Some(Switch::On) => line("fragmentation = yes"),
        Some(Switch::Force) => line("fragmentation = force"),
        None => {}
    }
    if let Some(delay) = tunnel.dpd {
        line(&format!("dpd_delay = {}s", delay.as_secs()));
        line(&format!("dpd_timeout = {}s", delay.as_secs() * 3));
    }
    match &tunnel.mode_cfg {
        Some(ModeCfg::Client) => line("vips = 0.0.0.0"),
        Some(ModeCfg::Server { .. }) => line("pools = desk"),
        None => {}
    }
    out.push_str(&tunnel.extra.swanctl_connection);
    out
}

/// One child.
fn child(tunnel: &Tunnel, name: &str, selectors: &Selectors) -> String {
    let mode = match tunnel.mode {
        Mode::Transport => "transport",
        Mode::Tunnel { .. } => "tunnel",
    };
    let side = |place: &str, port: Option<u16>| match (selectors.protocol, port) {
        (None, None) => place.to_owned(),
        (protocol, None) => format!("{place}[{}]", protocol.unwrap_or_default()),
        (protocol, Some(port)) => format!("{place}[{}/{port}]", protocol.unwrap_or_default()),
    };
    // A client's own traffic comes from the address it is given, a server's clients from those it gives.
    let local = match tunnel.mode_cfg {
        Some(ModeCfg::Client) => "dynamic",
        _ => &selectors.local,
    };
    let remote = match tunnel.mode_cfg {
        Some(ModeCfg::Server { .. }) => "dynamic",
        _ if tunnel.anonymous && tunnel.mode == Mode::Transport => "dynamic",
        _ => &selectors.remote,
    };
    let (local, remote) = (side(local, selectors.local_port), side(remote, selectors.remote_port));
    let proposals = match tunnel.phase2.protocol {
        Protocol::Esp => "esp_proposals",
        Protocol::Ah => "ah_proposals",
    };
    let suite = tunnel.phase2.charon(tunnel.pfs);
    let (rekey, _) = soft_and_over(tunnel.phase2_life);
    let life = tunnel.phase2_life.as_secs();
    let begin = match tunnel.begin {
        Begin::Trap => "trap",
        Begin::Start => "start",
        Begin::Wait => "none",
    };
    let extra = &tunnel.extra.swanctl_child;
    format!(
        "      {name} {{
        mode = {mode}
        local_ts = {local}
        remote_ts = {remote}
        {proposals} = {suite}
        rekey_time = {rekey}s
        life_time = {life}s
        rand_time = 0s
        start_action = {begin}
{extra}      }}
"
    )
}

/// The swanctl.conf of a tunnel.
pub fn swanctl_conf(tunnel: &Tunnel) -> String {
    let local = tunnel.local;
    let remote = if tunnel.anonymous { "%any".to_owned() } else { tunnel.remote.to_string() };
    let proposals = tunnel.phase1.charon();
    let (reauth, over) = soft_and_over(tunnel.phase1_life);
    let shunts = if local.is_ipv6() && tunnel.mode == Mode::Transport { NEIGHBOURS } else { "" };
    let children: String = tunnel
        .selectors()
        .iter()
        .enumerate()
        .map(|(number, selectors)| {
            let name = if number == 0 { "net".to_owned() } else { format!("net{number}") };
            child(tunnel, &name, selectors)
        })
        .collect();
    let (options, authentication) = (connection_options(tunnel), authentication(tunnel));
    let rest = secrets_and_pools(tunnel);
    format!(
        "connections {{
{shunts}  net {{
    version = 1
    local_addrs = {local}
    remote_addrs = {remote}
    proposals = {proposals}
    send_cert = always
    reauth_time = {reauth}s
    over_time = {over}s
    rand_time = 0s
{options}{authentication}    children {{
{children}    }}
  }}
}}
{rest}"
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
