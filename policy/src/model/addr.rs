//! Addresses as racoon and setkey write them.

use std::fmt;
use std::net::IpAddr;

pub use ipnet::IpNet;

/// UDP port of ISAKMP (RFC 2408 §2.5.1).
pub const ISAKMP_PORT: u16 = 500;

/// UDP port of ISAKMP and ESP through NATs (RFC 3948 §2).
pub const NATT_PORT: u16 = 4500;

/// An address with an optional UDP port, printed racoon's way: `192.0.2.1[500]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddrPort {
    /// The address.
    pub addr: IpAddr,
    /// The port; `None` where the author wrote none.
    pub port: Option<u16>,
}

impl fmt::Display for AddrPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.addr, self.port.unwrap_or(ISAKMP_PORT))
    }
}

/// The network that holds just `addr` (/32 or /128).
pub fn host_net(addr: IpAddr) -> IpNet {
    IpNet::from(addr)
}
