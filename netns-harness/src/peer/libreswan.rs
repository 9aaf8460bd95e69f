//! libreswan's pluto as a peer (4.10). Its package cannot be installed beside strongSwan's, so it is unpacked below the
//! target folder and bound to where pluto looks for its helpers, in the host's own mounts. Certificates lie in an NSS
//! database that is made for each host.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use rustix::process::Signal;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::peer::suite::Protocol;
use crate::peer::tunnel::{Auth, Begin, Credentials, Exchange, Id, Mode, ModeCfg, Selectors, Switch, Tunnel, Xauth};
use crate::peer::{PATIENCE, Peer};
use crate::process::{self, Finished, Process};
use crate::wait;

/// Where pluto looks for its helpers, compiled in.
pub const LIBEXEC: &str = "/usr/libexec/ipsec";
/// Everything of a host's pluto, on the host's own /run.
const FOLDER: &str = "/run/pluto";
const CONTROL: &str = "/run/pluto/pluto.ctl";
const CONF: &str = "/run/pluto/ipsec.conf";

/// Where the package is unpacked, below the folder that keeps what is used again.
pub fn unpacked(keys: &Path) -> PathBuf {
    keys.with_file_name("libreswan")
}

/// pluto on a host.
#[derive(Debug)]
pub struct Libreswan {
    host: Rc<Host>,
    daemon: Process,
    begin: Begin,
    /// Connections in ipsec.conf.
    connections: usize,
}

impl Libreswan {
    /// Writes the files, makes the certificate database, starts the daemon, which loads the connection.
    ///
    /// # Errors
    /// When a tool of NSS fails, or the daemon does not come up or refuses the configuration.
    pub fn start(desk: &Desk, host: &Rc<Host>, tunnel: Tunnel) -> Result<Self> {
        let password = passwords(&tunnel)?;
        host.write(&format!("{FOLDER}/d/passwd"), 0o600, password)?;
        let secrets = ipsec_secrets(&tunnel);
        let nss = matches!(tunnel.auth, Auth::Psk(_)).then_some(()).map_or(Some(&tunnel.credentials), |()| None);
        Self::with_files(desk, host, nss, &ipsec_conf(&tunnel), &secrets, tunnel.begin)
    }

    /// Starts the daemon with these texts of ipsec.conf and ipsec.secrets.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_files(
        desk: &Desk,
        host: &Rc<Host>,
        credentials: Option<&Credentials>,
        conf: &str,
        secrets: &str,
        begin: Begin,
    ) -> Result<Self> {
        bind_helpers(desk, host)?;
        host.write(CONF, 0o644, conf)?;
        host.write(&format!("{FOLDER}/ipsec.secrets"), 0o600, secrets)?;
        std::fs::write(host.folder().join("ipsec.conf"), conf)?;
        fill_database(host, credentials)?;
        let daemon = launch(host)?;
        let mut made = Self { host: Rc::clone(host), daemon, begin, connections: conf.matches("conn ").count() };
        made.ready()?;
        Ok(made)
    }

    /// Runs whack.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn whack(&self, arguments: &[&str]) -> Result<Finished> {
        self.host.run(format!("{LIBEXEC}/whack"), &[&["--ctlsocket", CONTROL], arguments].concat())
    }

    /// The daemon itself.
    pub fn daemon(&mut self) -> &mut Process {
        &mut self.daemon
    }

    /// pluto has loaded its connections when it says so; a connection that is refused is a failure.
    fn ready(&mut self) -> Result<()> {
        let begin = self.begin;
        let (host, daemon) = (&self.host, &mut self.daemon);
        // What an earlier daemon of this host said is in the same log.
        let since_start = |log: &str| log.rsplit("Starting Pluto").next().unwrap_or_default().to_owned();
        let loaded = wait::until(PATIENCE, "pluto to load its connection", || {
            if !daemon.running()? {
                return Err(Failure::new(format!("pluto on {} ended at once", host.name())));
            }
            let log = since_start(&daemon.log()?);
            if log.contains("failed to add connection") {
                return Err(Failure::new(format!("pluto on {} refused its connection", host.name())));
            }
            let loaded = log.contains("added connection") || log.contains("added IKEv1 connection");
            Ok(loaded && host.exists(CONTROL) && log.contains("listening for IKE messages"))
        });
        loaded.map_err(|failure| failure.with("its log", self.daemon.log().unwrap_or_default()))?;
        if begin == Begin::Trap { self.trapped() } else { Ok(()) }
    }

    fn trapped(&self) -> Result<()> {
        // A packet of a connection without its trap would go in clear.
        wait::until(PATIENCE, "pluto to install its traps", || {
            Ok(self.whack(&["--status"])?.stdout.matches("prospective erouted").count() >= self.connections)
        })
        .map_err(|failure| failure.with("its log", self.daemon.log().unwrap_or_default()))
    }

    fn forget_socket(&self) -> Result<()> {
        for file in [CONTROL, "/run/pluto/pluto.pid"] {
            let outside = self.host.outside(file);
            if outside.exists() {
                std::fs::remove_file(outside)?;
            }
        }
        Ok(())
    }
}

impl Peer for Libreswan {
    fn host(&self) -> &Rc<Host> {
        &self.host
    }

    fn close(&mut self) -> Result<()> {
        let done = self.whack(&["--terminate", "--name", "net"])?;
        if done.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("whack --terminate ended with {}", done.status)).with("its output", done.output()))
    }

    fn reopen(&mut self) -> Result<()> {
        // Told to terminate, it takes its trap out of the kernel, and neither `--route` nor loading the connection again
        // puts it back (4.10, although `--status` says so).
        if self.begin != Begin::Trap {
            return Ok(());
        }
        self.shut_down()?;
        self.host.netns().ip(&["xfrm", "policy", "flush"])?;
        self.restart()
    }

    fn reboot_kernel(&mut self) -> Result<()> {
        // pluto loads its policies itself when it starts, and would stumble over old ones.
        self.host.netns().ip(&["xfrm", "state", "flush"])?;
        self.host.netns().ip(&["xfrm", "policy", "flush"]).map(drop)
    }

    fn shut_down(&mut self) -> Result<()> {
        self.daemon.stop(Signal::TERM)?;
        self.forget_socket()
    }

    fn kill(&mut self) -> Result<()> {
        self.daemon.stop(Signal::KILL)?;
        self.forget_socket()
    }

    fn restart(&mut self) -> Result<()> {
        self.daemon = launch(&self.host)?;
        self.ready()
    }

    fn log(&self) -> Result<String> {
        self.daemon.log()
    }
}

fn launch(host: &Rc<Host>) -> Result<Process> {
    let mut command = host.command(format!("{LIBEXEC}/pluto"));
    command.args(["--nofork", "--stderrlog", "--config", CONF, "--rundir", FOLDER]);
    command.args([
        "--nssdir",
        "/run/pluto/nss",
        "--secretsfile",
        "/run/pluto/ipsec.secrets",
        "--ipsecdir",
        "/run/pluto/d",
    ]);
    host.spawn("pluto", command)
}

/// Puts pluto's helpers where it looks for them, and where scenarios run them.
///
/// # Errors
/// When they cannot be mounted.
pub fn bind_helpers(desk: &Desk, host: &Host) -> Result<()> {
    // An ordinary user's guest has no right to make folders in /usr, but may mount over one.
    let helpers = unpacked(desk.keys.folder()).join("usr/libexec/ipsec");
    let mounts = format!(
        "mount -t tmpfs tmpfs /usr/libexec && mkdir {LIBEXEC} && mount --bind '{}' {LIBEXEC}",
        helpers.display()
    );
    if !host.exists(&format!("{LIBEXEC}/pluto")) {
        host.check("sh", &["-c", &mounts])?;
    }
    Ok(())
}

/// Makes the NSS database, with the host's certificate as `own` and the CA as `ca`.
///
/// # Errors
/// When a tool of NSS or openssl fails.
pub fn fill_database(host: &Host, credentials: Option<&Credentials>) -> Result<()> {
    const DATABASE: [&str; 2] = ["-d", "sql:/run/pluto/nss"];
    let file = |name: &str| format!("/run/pluto/nss/{name}");
    if host.exists(&file("cert9.db")) {
        return Ok(());
    }
    host.write(
        &file("own.pem"),
        0o600,
        credentials.map_or_else(String::new, |c| format!("{}{}", c.leaf.pem, c.leaf.key)),
    )?;
    let run = |program: &str, arguments: &[&str]| host.check(program, &[&DATABASE, arguments].concat());
    run("certutil", &["-N", "--empty-password"])?;
    let Some(Credentials { ca, crl, intermediate, .. }) = credentials else { return Ok(()) };
    let certificate = |name: &str, trust: &str, pem: &str| {
        host.write(&file(name), 0o644, pem)?;
        run("certutil", &["-A", "-n", name, "-t", trust, "-i", &file(name)])
    };
    certificate("ca", "CT,,", ca)?;
    if let Some(intermediate) = intermediate {
        certificate("intermediate", ",,", intermediate)?;
    }
    let (pem, p12) = (file("own.pem"), file("own.p12"));
    host.check("openssl", &["pkcs12", "-export", "-name", "own", "-passout", "pass:desk", "-in", &pem, "-out", &p12])?;
    run("pk12util", &["-W", "desk", "-K", "", "-i", &p12])?;
    if let Some(crl) = crl {
        let (pem, der) = (file("crl.pem"), file("crl.der"));
        host.write(&pem, 0o644, crl)?;
        host.check("openssl", &["crl", "-outform", "DER", "-in", &pem, "-out", &der])?;
        run("crlutil", &["-I", "-i", &der])?;
    }
    Ok(())
}

/// ipsec.secrets: the pre-shared key, and an XAUTH client's password.
fn ipsec_secrets(tunnel: &Tunnel) -> String {
    let mut out = tunnel.extra.ipsec_secrets.clone();
    // Writing to a string cannot fail.
    if let Auth::Psk(key) = &tunnel.auth {
        let _ = writeln!(out, ": PSK \"{key}\"");
    }
    if let Some(Xauth::Client { user, password }) = &tunnel.xauth {
        let _ = writeln!(out, "@{user} : XAUTH \"{password}\"");
    }
    out
}

/// The password file of an XAUTH server.
fn passwords(tunnel: &Tunnel) -> Result<String> {
    let Some(Xauth::Server { users }) = &tunnel.xauth else { return Ok(String::new()) };
    let mut out = String::new();
    for (user, password) in users {
        let hash = process::check(Command::new("openssl").args(["passwd", "-5", password]))?;
        out.push_str(&format!("{user}:{}:net\n", hash.trim()));
    }
    Ok(out)
}

/// `leftid`'s or `rightid`'s value. `%fromcert` as `rightid` is learnt by the connection that phase 1 was made with, so
/// with several children the scenario has to say who the peer is.
fn id(id: &Id, auth: &Auth) -> Option<String> {
    match id {
        Id::Usual => (!matches!(auth, Auth::Psk(_))).then(|| "%fromcert".to_owned()),
        Id::Address(address) => Some(address.to_string()),
        Id::Fqdn(name) => Some(format!("@{name}")),
        Id::UserFqdn(name) => Some(name.clone()),
        Id::Dn(name) => Some(format!("\"{}\"", name.replace('/', ", ").trim_start_matches(", "))),
        Id::KeyId(name) => Some(format!("@[{name}]")),
    }
}

/// The ipsec.conf of a tunnel.
pub fn ipsec_conf(tunnel: &Tunnel) -> String {
    let mut out = format!("config setup\n\tikev1-policy=accept\n{}", tunnel.extra.ipsec_setup);
    for (number, child) in tunnel.selectors().iter().enumerate() {
        let name = if number == 0 { "net".to_owned() } else { format!("net{number}") };
        out.push_str(&conn(tunnel, &name, child));
    }
    out
}

fn conn(tunnel: &Tunnel, name: &str, child: &Selectors) -> String {
    let mut out = format!("conn {name}\n");
    let mut line = |text: String| {
        out.push('\t');
        out.push_str(&text);
        out.push('\n');
    };
    line("ikev2=no".to_owned());
    line("leftupdown=/bin/true".to_owned());
    line(format!("left={}", tunnel.local));
    line(format!("right={}", if tunnel.anonymous { "%any".to_owned() } else { tunnel.remote.to_string() }));
    if tunnel.local.is_ipv6() {
        line("hostaddrfamily=ipv6".to_owned());
    }
    match tunnel.mode {
        Mode::Transport => line("type=transport".to_owned()),
        Mode::Tunnel { .. } => {
            line("type=tunnel".to_owned());
            // What mode config gives out is known later.
            if tunnel.mode_cfg != Some(ModeCfg::Client) {
                line(format!("leftsubnet={}", child.local));
            }
            if !matches!(tunnel.mode_cfg, Some(ModeCfg::Server { .. })) {
                line(format!("rightsubnet={}", child.remote));
            }
        }
    }
    // `%any` would be one port of the peer's choice; no port is all of them.
    let port = |port: Option<u16>| port.map(|port| format!("/{port}")).unwrap_or_default();
    if let Some(protocol) = child.protocol {
        line(format!("leftprotoport={protocol}{}", port(child.local_port)));
        line(format!("rightprotoport={protocol}{}", port(child.remote_port)));
    }
    for (side, value) in [("left", id(&tunnel.local_id, &tunnel.auth)), ("right", id(&tunnel.remote_id, &tunnel.auth))]
    {
        if let Some(value) = value {
            line(format!("{side}id={value}"));
        }
    }
    match tunnel.auth {
        Auth::Psk(_) => line("authby=secret".to_owned()),
        // libreswan has no hybrid authentication: it would sign where it must not, and the scenario would say so.
        Auth::Signature | Auth::Hybrid => {
            line("authby=rsasig".to_owned());
            line("leftcert=own".to_owned());
            line("leftsendcert=always".to_owned());
            line("rightca=%any".to_owned());
        }
    }
    line(format!("ike={}", tunnel.phase1.pluto()));
    line(format!("phase2alg={}", tunnel.phase2.pluto(tunnel.pfs)));
    if tunnel.phase2.protocol == Protocol::Ah {
        line("phase2=ah".to_owned());
    }
    line(format!("pfs={}", if tunnel.pfs { "yes" } else { "no" }));
    if tunnel.exchange == Exchange::Aggressive {
        line("aggressive=yes".to_owned());
    }
    let (life1, life2) = (tunnel.phase1_life.as_secs(), tunnel.phase2_life.as_secs());
    line(format!("ikelifetime={life1}s"));
    line(format!("salifetime={life2}s"));
    // As the other drivers: a renewal at four fifths of the shorter life.
    line(format!("rekeymargin={}s", life1.min(life2) / 5));
    line("rekeyfuzz=0%".to_owned());
    switches(tunnel, &mut line);
    line(format!(
        "auto={}",
        match tunnel.begin {
            Begin::Trap => "ondemand",
            Begin::Start => "start",
            Begin::Wait => "add",
        }
    ));
    out.push_str(&tunnel.extra.ipsec_conn);
    out
}

/// The lines that not every tunnel has.
fn switches(tunnel: &Tunnel, line: &mut impl FnMut(String)) {
    match tunnel.nat {
        Some(Switch::Off) => line("encapsulation=no".to_owned()),
        Some(Switch::On) => line("encapsulation=auto".to_owned()),
        Some(Switch::Force) => line("encapsulation=yes".to_owned()),
        None => {}
    }
    match tunnel.frag {
        Some(Switch::Off) => line("fragmentation=no".to_owned()),
        Some(Switch::On) => line("fragmentation=yes".to_owned()),
        Some(Switch::Force) => line("fragmentation=force".to_owned()),
        None => {}
    }
    if let Some(delay) = tunnel.dpd {
        line(format!("dpddelay={}s", delay.as_secs()));
        line(format!("dpdtimeout={}s", delay.as_secs() * 3));
        line("dpdaction=hold".to_owned());
    }
    match &tunnel.xauth {
        Some(Xauth::Client { user, .. }) => {
            line("leftxauthclient=yes".to_owned());
            line("rightxauthserver=yes".to_owned());
            line(format!("leftusername={user}"));
        }
        Some(Xauth::Server { .. }) => {
            line("leftxauthserver=yes".to_owned());
            line("rightxauthclient=yes".to_owned());
            line("xauthby=file".to_owned());
        }
        None => {}
    }
    match &tunnel.mode_cfg {
        Some(ModeCfg::Client) => {
            line("leftmodecfgclient=yes".to_owned());
            line("rightmodecfgserver=yes".to_owned());
            line("modecfgpull=yes".to_owned());
        }
        Some(server @ ModeCfg::Server { first, dns, .. }) => {
            line("leftmodecfgserver=yes".to_owned());
            line("rightmodecfgclient=yes".to_owned());
            line("modecfgpull=yes".to_owned());
            line(format!("rightaddresspool={first}-{}", server.last().unwrap_or(*first)));
            if let Some(dns) = dns {
                line(format!("modecfgdns={dns}"));
            }
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Leaf;

    fn tunnel() -> Tunnel {
        let leaf = Leaf { pem: String::new(), key: String::new(), serial: 2, common_name: "alice".to_owned() };
        let credentials = Credentials { leaf, ca: String::new(), crl: None, intermediate: None };
        Tunnel::transport([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), credentials)
    }

    #[test]
    fn a_tunnel_is_a_conn() {
        let conf = ipsec_conf(&tunnel());
        for line in ["conn net\n", "\tikev2=no\n", "\ttype=transport\n", "\tleftcert=own\n", "\tauto=ondemand\n"] {
            assert!(conf.contains(line), "{line} is missing in {conf}");
        }
    }

    #[test]
    fn every_child_is_a_conn_of_its_own() {
        let child = |port| Selectors::any("10.1.0.1", "10.1.0.2").of("tcp").ports(None, Some(port));
        let conf = ipsec_conf(&Tunnel { children: vec![child(80), child(443)], ..tunnel() });
        assert!(conf.contains("conn net\n") && conf.contains("conn net1\n"));
        assert!(conf.contains("\tleftprotoport=tcp\n\trightprotoport=tcp/443\n"));
    }

    #[test]
    fn a_pre_shared_key_needs_no_certificate() {
        let psk = Tunnel { auth: Auth::Psk("secret".to_owned()), ..tunnel() };
        assert_eq!(ipsec_secrets(&psk), ": PSK \"secret\"\n");
        assert!(!ipsec_conf(&psk).contains("leftcert"));
    }
}
