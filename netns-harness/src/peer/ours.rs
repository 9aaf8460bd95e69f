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
use crate::peer::suite::Spelling;
use crate::peer::tunnel::{Auth, Begin, Exchange, Id, Mode, ModeCfg, Switch, Tunnel, Xauth};
use crate::pki;
use crate::process::{Finished, Process};
use crate::wait;

/// The configuration's place on every host.
pub const CONF: &str = "/etc/racoon/racoon.conf";
/// The setkey script's place on every host.
pub const POLICIES: &str = "/etc/ipsec-tools.conf";
/// Where certificates and keys lie.
pub const CERTS: &str = "/etc/racoon/certs";
/// Where pre-shared keys lie.
pub const PSK: &str = "/etc/racoon/psk.txt";
/// The control socket's place on every host: it is there when the daemon is ready.
pub const SOCKET: &str = "/run/xfrmd/control.sock";

/// How long the daemon may take to come up: with very many SAs to take over the calls of the system add up in a guest.
const START: Duration = Duration::from_secs(120);

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

/// Puts certificate, key, CA, revocation list and pre-shared keys where [`racoon_conf`] names them.
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
    host.write(PSK, 0o600, psk_txt(tunnel))
}

/// The psk.txt of a tunnel: the peer's key by its identity and address, and the password of an XAUTH client by its name.
pub fn psk_txt(tunnel: &Tunnel) -> String {
    let mut out = tunnel.extra.psk_txt.clone();
    // Writing to a string cannot fail.
    if let Auth::Psk(key) = &tunnel.auth {
        let _ = match &tunnel.remote_id {
            Id::Fqdn(name) | Id::UserFqdn(name) | Id::KeyId(name) => writeln!(out, "{name} {key}"),
            Id::Address(address) => writeln!(out, "{address} {key}"),
            Id::Usual | Id::Dn(_) => Ok(()),
        };
        let address = if tunnel.anonymous { "*".to_owned() } else { tunnel.remote.to_string() };
        let _ = writeln!(out, "{address} {key}");
    }
    if let Some(Xauth::Client { user, password }) = &tunnel.xauth {
        let _ = writeln!(out, "{user} {password}");
    }
    out
}

/// `my_identifier`'s or `peers_identifier`'s value.
fn identifier(id: &Id, auth: &Auth) -> String {
    match id {
        Id::Usual if !matches!(auth, Auth::Signature) => "address".to_owned(),
        Id::Usual => "asn1dn".to_owned(),
        Id::Address(address) => format!("address {address}"),
        Id::Fqdn(name) => format!("fqdn \"{name}\""),
        Id::UserFqdn(name) => format!("user_fqdn \"{name}\""),
        Id::Dn(name) => format!("asn1dn \"{name}\""),
        Id::KeyId(name) => format!("keyid tag \"{name}\""),
    }
}

/// racoon.conf's name of the method; those of XAUTH say which side this is.
fn method(tunnel: &Tunnel) -> &'static str {
    let server = matches!(tunnel.xauth, Some(Xauth::Server { .. }));
    match (&tunnel.auth, &tunnel.xauth) {
        (Auth::Signature, None) => "rsasig",
        (Auth::Psk(_), None) => "pre_shared_key",
        (Auth::Signature, Some(_)) if server => "xauth_rsa_server",
        (Auth::Signature, Some(_)) => "xauth_rsa_client",
        (Auth::Psk(_), Some(_)) if server => "xauth_psk_server",
        (Auth::Psk(_), Some(_)) => "xauth_psk_client",
        (Auth::Hybrid, _) if server => "hybrid_rsa_server",
        (Auth::Hybrid, _) => "hybrid_rsa_client",
    }
}

fn word(switch: Switch) -> &'static str {
    match switch {
        Switch::Off => "off",
        Switch::On => "on",
        Switch::Force => "force",
    }
}

/// The lines of the `remote` block that not every tunnel has.
fn remote_options(tunnel: &Tunnel) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push('\t');
        out.push_str(&text);
        out.push_str(";\n");
    };
    match &tunnel.remote_id {
        // An address is the identity that a pre-shared key is found by: it need not be said again.
        Id::Usual if matches!(tunnel.auth, Auth::Psk(_)) => {}
        Id::Usual => line("peers_identifier asn1dn".to_owned()),
        id => {
            line(format!("peers_identifier {}", identifier(id, &tunnel.auth)));
            line("verify_identifier on".to_owned());
        }
    }
    if !matches!(tunnel.auth, Auth::Psk(_)) {
        // The side of hybrid authentication that gives a password has no certificate.
        if (&tunnel.auth, matches!(tunnel.xauth, Some(Xauth::Client { .. }))) != (&Auth::Hybrid, true) {
            line("certificate_type x509 \"own.crt\" \"own.key\"".to_owned());
        }
        line("ca_type x509 \"ca.crt\"".to_owned());
        line("verify_cert on".to_owned());
    }
    if let Some(switch) = tunnel.nat {
        line(format!("nat_traversal {}", word(switch)));
    }
    if let Some(switch) = tunnel.frag {
        line(format!("ike_frag {}", word(switch)));
    }
    if let Some(delay) = tunnel.dpd {
        line("dpd on".to_owned());
        line(format!("dpd_delay {}", delay.as_secs()));
        line(format!("dpd_retry {}", delay.as_secs().max(1)));
        line("dpd_maxfail 3".to_owned());
    }
    if let Some(Xauth::Client { user, .. }) = &tunnel.xauth {
        line(format!("xauth_login \"{user}\""));
    }
    if tunnel.mode_cfg == Some(ModeCfg::Client) {
        line("mode_cfg on".to_owned());
    }
    out.push_str(&tunnel.extra.racoon_remote);
    out
}

/// The `mode_cfg` block of a server.
fn mode_cfg(tunnel: &Tunnel) -> String {
    let Some(ModeCfg::Server { first, size, dns }) = &tunnel.mode_cfg else { return String::new() };
    let dns = dns.map(|dns| format!("\tdns4 {dns};\n")).unwrap_or_default();
    format!("mode_cfg {{\n\tnetwork4 {first};\n\tnetmask4 255.255.255.255;\n\tpool_size {size};\n{dns}}}\n")
}

/// racoon.conf's word for an integrity algorithm: hashes are HMACs there, others have names of their own.
fn integrity(algorithm: Spelling) -> String {
    if algorithm.racoon.contains('_') { algorithm.racoon.to_owned() } else { format!("hmac_{}", algorithm.racoon) }
}

/// The racoon.conf of a tunnel.
pub fn racoon_conf(tunnel: &Tunnel) -> String {
    let remote = if tunnel.anonymous { "anonymous".to_owned() } else { tunnel.remote.to_string() };
    let (life1, life2) = (tunnel.phase1_life.as_secs(), tunnel.phase2_life.as_secs());
    let exchange = match tunnel.exchange {
        Exchange::Main => "main",
        Exchange::Aggressive => "aggressive",
    };
    let own = identifier(&tunnel.local_id, &tunnel.auth);
    let options = remote_options(tunnel);
    let (cipher1, hash1, group1) = (tunnel.phase1.cipher.racoon, tunnel.phase1.hash.racoon, tunnel.phase1.group.racoon);
    let method = method(tunnel);
    let pfs = if tunnel.pfs { format!("\tpfs_group {};\n", tunnel.phase2.group.racoon) } else { String::new() };
    let cipher2 = tunnel.phase2.cipher.racoon;
    let hash2 = tunnel.phase2.hash.map_or_else(|| "non_auth".to_owned(), integrity);
    let (extra, more, mode_cfg) = (&tunnel.extra.racoon, &tunnel.extra.racoon_sainfo, mode_cfg(tunnel));
    format!(
        "path certificate \"{CERTS}\";
path pre_shared_key \"{PSK}\";
{extra}{mode_cfg}remote {remote} {{
\texchange_mode {exchange};
\tmy_identifier {own};
{options}\tproposal_check obey;
\tlifetime time {life1} sec;
\tproposal {{
\t\tencryption_algorithm {cipher1};
\t\thash_algorithm {hash1};
\t\tauthentication_method {method};
\t\tdh_group {group1};
\t}}
}}
sainfo anonymous {{
{pfs}\tlifetime time {life2} sec;
\tencryption_algorithm {cipher2};
\tauthentication_algorithm {hash2};
\tcompression_algorithm deflate;
{more}}}
"
    )
}

/// The setkey script of a tunnel; without policies where no traffic is to ask for it.
pub fn setkey_script(tunnel: &Tunnel) -> String {
    let mut out = String::from("#!/usr/sbin/setkey -f\nflush;\nspdflush;\n");
    let children = if tunnel.begin == Begin::Trap { tunnel.selectors() } else { Vec::new() };
    let port = |port: Option<u16>| port.map(|port| format!("[{port}]")).unwrap_or_default();
    let protocol = tunnel.phase2.setkey();
    for child in children {
        let local = format!("{}{}", child.local, port(child.local_port));
        let remote = format!("{}{}", child.remote, port(child.remote_port));
        let upper = child.protocol.unwrap_or("any");
        for (source, destination, direction, from, to) in [
            (&local, &remote, "out", tunnel.local, tunnel.remote),
            (&remote, &local, "in", tunnel.remote, tunnel.local),
        ] {
            let request = match tunnel.mode {
                Mode::Transport => format!("{protocol}/transport//require"),
                Mode::Tunnel { .. } => format!("{protocol}/tunnel/{from}-{to}/require"),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "spdadd {source} {destination} {upper} -P {direction} ipsec {request};");
        }
    }
    out.push_str(&tunnel.extra.setkey);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::tunnel::{Credentials, Selectors};
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
        let mode = Mode::tunnel("10.11.0.0/24", "10.12.0.0/24");
        let script = setkey_script(&Tunnel { mode, ..tunnel() });
        assert!(script.contains("10.11.0.0/24 10.12.0.0/24 any -P out ipsec esp/tunnel/10.1.0.1-10.1.0.2/require;"));
    }

    #[test]
    fn a_child_may_be_for_one_port_only() {
        let child = Selectors::any("10.1.0.1", "10.1.0.2").of("udp").ports(None, Some(1701));
        let script = setkey_script(&Tunnel { children: vec![child], ..tunnel() });
        assert!(script.contains("spdadd 10.1.0.1 10.1.0.2[1701] udp -P out ipsec esp/transport//require;"));
        assert!(script.contains("spdadd 10.1.0.2[1701] 10.1.0.1 udp -P in ipsec esp/transport//require;"));
    }

    #[test]
    fn a_pre_shared_key_is_found_by_identity_and_address() {
        let psk =
            Tunnel { auth: Auth::Psk("secret".to_owned()), remote_id: Id::Fqdn("bob.desk".to_owned()), ..tunnel() };
        assert_eq!(psk_txt(&psk), "bob.desk secret\n10.1.0.2 secret\n");
        let conf = racoon_conf(&psk);
        assert!(
            conf.contains("authentication_method pre_shared_key;")
                && conf.contains("peers_identifier fqdn \"bob.desk\";")
        );
        assert!(!conf.contains("certificate_type"));
    }

    #[test]
    fn without_pfs_no_group_is_named() {
        assert!(racoon_conf(&tunnel()).contains("pfs_group 14;"));
        assert!(!racoon_conf(&Tunnel { pfs: false, ..tunnel() }).contains("pfs_group"));
    }
}
