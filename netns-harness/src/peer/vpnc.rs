//! vpnc (0.5.3), the free "Cisco IPSec" client, as a peer: aggressive mode with a group's key, XAUTH, mode config, and ESP of
//! its own over a tun device, so that only the server's kernel holds SAs.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;

use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::process::Process;
use crate::wait;

const CONF: &str = "/run/vpnc.conf";
const SCRIPT: &str = "/run/vpnc-script";
/// What the script was told, a variable a line.
const TOLD: &str = "/run/vpnc-told";
const DEVICE: &str = "tun0";

/// vpnc calls it with what the server told it; the distribution's script would look for resolvers to change.
const SCRIPT_TEXT: &str = "#!/bin/sh
case \"$reason\" in
connect)
	ip link set dev \"$TUNDEV\" up mtu 1400
	ip addr add \"$INTERNAL_IP4_ADDRESS/32\" dev \"$TUNDEV\"
	ip route replace 10.12.0.0/24 dev \"$TUNDEV\" src \"$INTERNAL_IP4_ADDRESS\"
	env >/run/vpnc-told.new
	mv /run/vpnc-told.new /run/vpnc-told
	;;
esac
";

/// How vpnc authenticates and to whom.
#[derive(Debug, Clone)]
pub struct Login {
    /// The server.
    pub gateway: IpAddr,
    /// The group, sent as a key identifier.
    pub group: String,
    /// The group's key.
    pub secret: String,
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// Whether ESP in UDP is used: `natt`, `none` or `force-natt`.
    pub nat: &'static str,
}

/// A running vpnc.
#[derive(Debug)]
pub struct Vpnc {
    host: Rc<Host>,
    program: Process,
}

impl Vpnc {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(host: &Rc<Host>, login: &Login) -> Result<Self> {
        host.write(CONF, 0o600, conf(login))?;
        host.write(SCRIPT, 0o755, SCRIPT_TEXT)?;
        let mut command = host.command("vpnc");
        command.args(["--non-inter", "--debug", "1", CONF]);
        Ok(Self { host: Rc::clone(host), program: host.spawn("vpnc", command)? })
    }

    /// Waits until the server has told it an address.
    ///
    /// # Errors
    /// When vpnc ends or the deadline passes first.
    pub fn connected(&mut self, deadline: Duration) -> Result<Ipv4Addr> {
        let (host, program) = (&self.host, &mut self.program);
        wait::until(deadline, "vpnc to be connected", || {
            if program.running()? {
                return Ok(host.exists(TOLD));
            }
            Err(Failure::new("vpnc ended"))
        })
        .map_err(|failure| failure.with("its output", self.program.log().unwrap_or_default()))?;
        let address = self.told("INTERNAL_IP4_ADDRESS")?;
        let address = address.and_then(|address| address.parse().ok());
        address.ok_or_else(|| Failure::new("vpnc was told no address"))
    }

    /// What the server told, by the name that the script gets it under.
    ///
    /// # Errors
    /// When the script was not called.
    pub fn told(&self, name: &str) -> Result<Option<String>> {
        let text = self.host.read(TOLD)?;
        Ok(text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned())))
    }

    /// Waits until it gives up; its last words.
    ///
    /// # Errors
    /// When it does not.
    pub fn refused(&mut self, deadline: Duration) -> Result<String> {
        let status = self.program.wait_exit(deadline)?;
        let log = self.log()?;
        if status.success() { Err(Failure::new("vpnc ended well").with("its output", log)) } else { Ok(log) }
    }

    /// Ends it in good order: it sends DELETEs.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.program.stop(Signal::TERM).map(drop)
    }

    /// Everything it said.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        self.program.log()
    }
}

fn conf(login: &Login) -> String {
    let mut out = String::new();
    for (name, value) in [
        ("IPSec gateway", login.gateway.to_string()),
        ("IPSec ID", login.group.clone()),
        ("IPSec secret", login.secret.clone()),
        ("Xauth username", login.user.clone()),
        ("Xauth password", login.password.clone()),
        ("IKE Authmode", "psk".to_owned()),
        ("IKE DH Group", "dh14".to_owned()),
        ("Perfect Forward Secrecy", "nopfs".to_owned()),
        ("NAT Traversal Mode", login.nat.to_owned()),
        ("Interface name", DEVICE.to_owned()),
        ("Script", SCRIPT.to_owned()),
        ("IPSEC target network", "0.0.0.0/0".to_owned()),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name} {value}");
    }
    out.push_str("No Detach\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_their_names_after_one_space() {
        let login = Login {
            gateway: [10, 1, 0, 2].into(),
            group: "desk".to_owned(),
            secret: "a group's key".to_owned(),
            user: "alice".to_owned(),
            password: "secret".to_owned(),
            nat: "none",
        };
        let conf = conf(&login);
        assert!(conf.starts_with("IPSec gateway 10.1.0.2\nIPSec ID desk\nIPSec secret a group's key\n"));
    }
}
