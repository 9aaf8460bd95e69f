//! A NAT before node 1: it gives what node 1 sends another address and port, and forgets what it gave when told to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ike::event::sa::SaName;

/// The NAT's own address.
pub const OUTSIDE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

/// The mappings.
#[derive(Debug, Default)]
pub struct Nat {
    inside: BTreeMap<SocketAddr, SocketAddr>,
    last_port: u16,
    /// Keepalives that went through.
    pub keepalives: u64,
}

impl Nat {
    /// The outer socket of an inner one; a fresh one if there is none yet.
    pub fn outward(&mut self, inside: SocketAddr) -> SocketAddr {
        let last_port = &mut self.last_port;
        *self.inside.entry(inside).or_insert_with(|| {
            *last_port += 1;
            SocketAddr::new(OUTSIDE, 20_000 + *last_port)
        })
    }

    /// The inner socket of an outer one, if its mapping stands.
    pub fn inward(&self, outside: SocketAddr) -> Option<SocketAddr> {
        self.inside.iter().find(|(_, outer)| **outer == outside).map(|(inner, _)| *inner)
    }

    /// Forgets all mappings: what node 1 sends next comes from other ports.
    pub fn rebind(&mut self) {
        self.inside.clear();
    }

    /// An SA's name as the other side has it.
    pub fn other_side(name: SaName, inside: IpAddr) -> SaName {
        let swap = |addr: IpAddr| match addr {
            OUTSIDE => inside,
            addr if addr == inside => OUTSIDE,
            addr => addr,
        };
        SaName { src: swap(name.src), dst: swap(name.dst), ..name }
    }
}
