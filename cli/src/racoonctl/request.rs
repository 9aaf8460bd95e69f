//! What racoonctl asks of the daemon beyond what xfrmctl does, and the answers.

use std::net::IpAddr;

use policy::model::addr::IpNet;
use serde::{Deserialize, Serialize};

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
    /// Negotiate the SAs that the policy for this traffic wants.
    EstablishIpsec {
        /// The traffic.
        flow: Flow,
        /// Answer when they stand, or after this many seconds; 0 answers at once.
        timeout_s: u64,
    },
    /// A line for each event from now on, as [`EventReport`], until the caller leaves.
    Events,
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
    /// Unix seconds since when it stands; null while it is negotiated.
    pub established: Option<u64>,
    /// IPsec SA pairs with the peer.
    pub children: usize,
}

/// One timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledReport {
    /// What it is for.
    pub what: String,
    /// Seconds until it fires.
    pub due_in_s: u64,
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
