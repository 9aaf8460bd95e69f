//! What two daemons agree on, in words that fit all of them: where, which modes and suites, how long, who each side is and
//! how it proves that. Every driver renders the same [`Tunnel`]; what only one daemon knows goes into [`Extra`].

use std::net::IpAddr;
use std::time::Duration;

use crate::peer::suite::{PHASE1, PHASE2, Phase1Suite, Phase2Suite};
use crate::pki::Leaf;

/// Transport or tunnel mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Between the daemons' own addresses.
    Transport,
    /// Between subnets behind them, written as `address/prefix`.
    Tunnel {
        /// The subnet on this side.
        local: String,
        /// The subnet on the other side.
        remote: String,
    },
}

impl Mode {
    /// Tunnel mode between two subnets.
    pub fn tunnel(local: &str, remote: &str) -> Self {
        Self::Tunnel { local: local.to_owned(), remote: remote.to_owned() }
    }
}

/// A host's own certificate and what it trusts.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Its certificate and key.
    pub leaf: Leaf,
    /// The CA it trusts.
    pub ca: String,
    /// Revocation lists of that CA.
    pub crl: Option<String>,
    /// An intermediate it sends along.
    pub intermediate: Option<String>,
}

/// How phase 1 authenticates (RFC 2409 §5, draft-ietf-ipsec-isakmp-hybrid-auth-05).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// RSA or ECDSA signatures, by the key in [`Credentials`].
    Signature,
    /// A pre-shared key.
    Psk(String),
    /// Only the side that asks for the password signs; goes with [`Tunnel::xauth`].
    Hybrid,
}

/// Extended authentication after phase 1 (draft-beaulieu-ike-xauth-02).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Xauth {
    /// This side gives a name and a password.
    Client {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// This side asks.
    Server {
        /// Users and their passwords.
        users: Vec<(String, String)>,
    },
}

/// ISAKMP configuration mode (draft-dukes-ike-mode-cfg-02).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeCfg {
    /// This side wants an address.
    Client,
    /// This side gives addresses.
    Server {
        /// The first address.
        first: std::net::Ipv4Addr,
        /// How many there are.
        size: u16,
        /// A DNS server to tell.
        dns: Option<std::net::Ipv4Addr>,
    },
}

impl ModeCfg {
    /// The last address that a server gives.
    pub fn last(&self) -> Option<std::net::Ipv4Addr> {
        let Self::Server { first, size, .. } = self else { return None };
        let last = u32::from(*first).checked_add(u32::from(*size).checked_sub(1)?)?;
        Some(last.into())
    }
}

/// Phase 1 exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Identity protection.
    Main,
    /// Aggressive mode.
    Aggressive,
}

/// Who a side says it is, or must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// What the method suggests: the certificate's subject, or the address for a pre-shared key. Of the other side:
    /// anyone who can prove to be someone.
    Usual,
    /// The side's address.
    Address(IpAddr),
    /// A host name.
    Fqdn(String),
    /// A mail address.
    UserFqdn(String),
    /// A distinguished name as slash-separated attributes.
    Dn(String),
    /// Opaque octets, here text: a group's name.
    KeyId(String),
}

/// A feature that is on, off or forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Neither offered nor used.
    Off,
    /// Used where both offer it.
    On,
    /// Used whether needed or not.
    Force,
}

/// What brings a tunnel up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Policies of the kernel ask for it when traffic comes.
    Trap,
    /// The daemon does by itself. xfrmd has no such thing, so a scenario must command it.
    Start,
    /// Only the other side, or a command.
    Wait,
}

/// Traffic of one child, as this side sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selectors {
    /// Address or subnet here.
    pub local: String,
    /// Address or subnet there.
    pub remote: String,
    /// The upper protocol, in a spelling that /etc/protocols has; none is any.
    pub protocol: Option<&'static str>,
    /// The port here.
    pub local_port: Option<u16>,
    /// The port there.
    pub remote_port: Option<u16>,
}

impl Selectors {
    /// All traffic between two places.
    pub fn any(local: impl Into<String>, remote: impl Into<String>) -> Self {
        Self { local: local.into(), remote: remote.into(), protocol: None, local_port: None, remote_port: None }
    }

    /// Only this protocol.
    pub fn of(self, protocol: &'static str) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    /// Only these ports.
    pub fn ports(self, local: Option<u16>, remote: Option<u16>) -> Self {
        Self { local_port: local, remote_port: remote, ..self }
    }
}

/// Lines in a daemon's own words, added to what is rendered. Each must end its lines itself.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// racoon.conf, outside of every block, in front.
    pub racoon: String,
    /// racoon.conf, in the `remote` block.
    pub racoon_remote: String,
    /// racoon.conf, in the `sainfo` block.
    pub racoon_sainfo: String,
    /// psk.txt, in front of what is rendered.
    pub psk_txt: String,
    /// The setkey script, behind its `spdadd` lines.
    pub setkey: String,
    /// strongswan.conf, in charon's section.
    pub charon: String,
    /// Plugins that charon loads beside the usual ones.
    pub charon_load: String,
    /// swanctl.conf, outside of every block.
    pub swanctl: String,
    /// swanctl.conf, in the connection.
    pub swanctl_connection: String,
    /// swanctl.conf, in every child.
    pub swanctl_child: String,
    /// ipsec.conf, in `config setup`.
    pub ipsec_setup: String,
    /// ipsec.conf, in every conn.
    pub ipsec_conn: String,
    /// ipsec.secrets.
    pub ipsec_secrets: String,
}

/// One side's view of a tunnel.
#[derive(Debug, Clone)]
pub struct Tunnel {
    /// This side's IKE address.
    pub local: IpAddr,
    /// The other side's.
    pub remote: IpAddr,
    /// The other side may come from any address.
    pub anonymous: bool,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Several children, or narrower ones than the mode alone says; empty means one for all traffic of the mode.
    pub children: Vec<Selectors>,
    /// This side's credentials.
    pub credentials: Credentials,
    /// How phase 1 authenticates.
    pub auth: Auth,
    /// Whether a password is asked for afterwards.
    pub xauth: Option<Xauth>,
    /// Whether addresses are given out afterwards.
    pub mode_cfg: Option<ModeCfg>,
    /// Main or aggressive.
    pub exchange: Exchange,
    /// Who this side says it is.
    pub local_id: Id,
    /// Who the other side must be.
    pub remote_id: Id,
    /// What protects the ISAKMP SA.
    pub phase1: Phase1Suite,
    /// What protects the traffic.
    pub phase2: Phase2Suite,
    /// Whether quick mode does a Diffie-Hellman exchange of its own, with the group of [`Self::phase2`].
    pub pfs: bool,
    /// NAT traversal; none is the daemon's default.
    pub nat: Option<Switch>,
    /// IKE fragmentation; none is the daemon's default.
    pub frag: Option<Switch>,
    /// Probe a peer that was silent for so long, in whole seconds; give up after about three times that.
    pub dpd: Option<Duration>,
    /// What brings the tunnel up.
    pub begin: Begin,
    /// Life of the ISAKMP SA.
    pub phase1_life: Duration,
    /// Life of the IPsec SAs.
    pub phase2_life: Duration,
    /// What only one daemon knows.
    pub extra: Extra,
}

impl Tunnel {
    /// A transport mode tunnel with PFS that lives for an hour.
    pub fn transport(local: IpAddr, remote: IpAddr, credentials: Credentials) -> Self {
        Self {
            local,
            remote,
            anonymous: false,
            mode: Mode::Transport,
            children: Vec::new(),
            credentials,
            auth: Auth::Signature,
            xauth: None,
            mode_cfg: None,
            exchange: Exchange::Main,
            local_id: Id::Usual,
            remote_id: Id::Usual,
            phase1: PHASE1,
            phase2: PHASE2,
            pfs: true,
            nat: None,
            frag: None,
            dpd: None,
            begin: Begin::Trap,
            phase1_life: Duration::from_secs(3600),
            phase2_life: Duration::from_secs(3600),
            extra: Extra::default(),
        }
    }

    /// The children, at least one.
    pub fn selectors(&self) -> Vec<Selectors> {
        if !self.children.is_empty() {
            return self.children.clone();
        }
        vec![match &self.mode {
            Mode::Transport => Selectors::any(self.local.to_string(), self.remote.to_string()),
            Mode::Tunnel { local, remote } => Selectors::any(local, remote),
        }]
    }
}
