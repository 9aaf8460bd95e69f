//! What racoonctl asks of the daemon beyond what xfrmctl does, and the answers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use policy::model::addr::IpNet;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// SAs by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// ISAKMP SAs.
    Isakmp,
    /// Of ESP.
    Esp,
    /// Of AH.
    Ah,
    /// Of both.
    Ipsec,
}

/// Traffic, source ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Our side.
    pub src: IpNet,
    /// Its port, 0 any.
    pub src_port: u16,
    /// The peer's side.
    pub dst: IpNet,
    /// Its port, 0 any.
    pub dst_port: u16,
    /// Upper-layer protocol number; 0 any.
    pub protocol: u8,
}

/// The questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RacoonRequest {
    /// A list of [`IsakmpReport`].
    ShowIsakmp,
    /// A list of [`ScheduledReport`].
    ShowSchedule,
    /// The kernel's SAs of that family, as `setkey -D` prints them.
    ShowIpsec {
        /// Which.
        family: Family,
    },
    /// Take down all of a family.
    Flush {
        /// Which.
        family: Family,
    },
    /// Take down everything with a peer; `local` is our end, if it matters.
    DeletePeer {
        /// Our end.
        local: Option<IpAddr>,
        /// The peer.
        peer: IpAddr,
    },
    /// Take down the IPsec SAs for this traffic.
    DeleteIpsec {
        /// Which.
        family: Family,
        /// The traffic.
        flow: Flow,
    },
    /// Bring up phase 1 with a peer; answered with [`EstablishedReport`].
    EstablishIsakmp {
        /// Our end.
        local: Option<IpAddr>,
        /// The peer.
        peer: IpAddr,
        /// How.
        #[serde(default)]
        how: How,
        /// Answer when it is up, or after this many seconds; 0 answers at once.
        timeout_s: u64,
    },
    /// The certificate that a peer showed: its DER in hexadecimal.
    Certificate {
        /// Our end.
        local: IpAddr,
        /// The peer.
        peer: IpAddr,
    },
    /// Take down everything with the clients that logged in as this user.
    Logout {
        /// The user.
        user: String,
    },
    /// Negotiate the SAs that the policy for this traffic wants.
    EstablishIpsec {
        /// The traffic.
        flow: Flow,
        /// How phase 1 is to be negotiated, if it has to be.
        #[serde(default)]
        how: How,
        /// Answer when they stand, or after this many seconds; 0 answers at once.
        timeout_s: u64,
    },
    /// A line for each event from now on, as [`EventReport`], until the caller leaves.
    Events,
}

/// What of phase 1 is not left to the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct How {
    /// The name of the `remote` block.
    pub remote: Option<String>,
    /// User and password for XAuth.
    pub login: Option<Login>,
}

/// User and password; `Debug` does not show the latter.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?}, ...)", self.user)
    }
}

/// Phase 1 is up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EstablishedReport {
    /// Our address in the peer's network, where mode config gave us one.
    pub address: Option<Ipv4Addr>,
    /// The server's words for the user, without control characters but line ends.
    pub banner: Option<String>,
}

/// Exchanges of phase 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// Identity protection.
    Main,
    /// Aggressive.
    Aggressive,
}

/// One ISAKMP SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsakmpReport {
    /// Our address.
    pub local: IpAddr,
    /// Our port.
    pub local_port: u16,
    /// The peer's address.
    pub peer: IpAddr,
    /// Its port.
    pub peer_port: u16,
    /// `initiator:responder`, hexadecimal.
    pub cookies: String,
    /// Did we begin?
    pub initiator: bool,
    /// Which exchange made it.
    pub exchange: Exchange,
    /// Unix seconds since when it stands; null while it is negotiated.
    pub established: Option<u64>,
    /// IPsec SA pairs with the peer.
    pub children: usize,
}

/// One timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledReport {
    /// Its number: each one ever armed has the next.
    pub number: u32,
    /// What it is for.
    pub what: String,
    /// Unix seconds when it was armed.
    pub created: u64,
    /// Unix seconds when it fires.
    pub fires: u64,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventReport {
    /// Racoon's words for it.
    pub what: String,
    /// Our end, `address[port]`, if it is known.
    pub local: Option<String>,
    /// The peer's.
    pub peer: Option<String>,
}
