//! What two daemons agree on, in words that fit both: where, which mode, how long, with which credentials.

use std::net::IpAddr;
use std::time::Duration;

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

/// One side's view of a tunnel.
#[derive(Debug, Clone)]
pub struct Tunnel {
    /// This side's IKE address.
    pub local: IpAddr,
    /// The other side's.
    pub remote: IpAddr,
    /// Transport or tunnel.
    pub mode: Mode,
    /// This side's credentials.
    pub credentials: Credentials,
    /// The distinguished name the other side must show, as slash-separated attributes; none means any.
    pub remote_name: Option<String>,
    /// Whether quick mode does a Diffie-Hellman exchange of its own.
    pub pfs: bool,
    /// Life of the ISAKMP SA.
    pub phase1_life: Duration,
    /// Life of the IPsec SAs.
    pub phase2_life: Duration,
}

impl Tunnel {
    /// A transport mode tunnel with PFS that lives for an hour.
    pub fn transport(local: IpAddr, remote: IpAddr, credentials: Credentials) -> Self {
        Self {
            local,
            remote,
            mode: Mode::Transport,
            credentials,
            remote_name: None,
            pfs: true,
            phase1_life: Duration::from_secs(3600),
            phase2_life: Duration::from_secs(3600),
        }
    }

    /// The traffic selectors, local and remote.
    pub fn selectors(&self) -> (String, String) {
        match &self.mode {
            Mode::Transport => (self.local.to_string(), self.remote.to_string()),
            Mode::Tunnel { local, remote } => (local.clone(), remote.clone()),
        }
    }
}
