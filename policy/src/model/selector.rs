//! Traffic selectors: which packets a policy or an SA is for.

use std::fmt;
use std::net::IpAddr;

use super::addr::{IpNet, host_net};

/// An upper-layer protocol number; 0 stands for any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpperProtocol(pub u8);

impl UpperProtocol {
    /// Every protocol.
    pub const ANY: Self = Self(0);
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(58);

    /// Is this "any"?
    pub fn is_any(self) -> bool {
        self == Self::ANY
    }
}

/// Source and destination of a flow, as the kernel's `xfrm_selector` has them.
///
/// Port 0 means any. For ICMP the type stands in `src_port` and the code in `dst_port`, as the kernel keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    /// Source network.
    pub src: IpNet,
    /// Destination network.
    pub dst: IpNet,
    /// Upper-layer protocol.
    pub protocol: UpperProtocol,
    /// Source port, host order; 0 any.
    pub src_port: u16,
    /// Destination port, host order; 0 any.
    pub dst_port: u16,
}

impl Selector {
    /// Every packet from `src` to `dst`.
    pub fn between(src: IpNet, dst: IpNet) -> Self {
        Self { src, dst, protocol: UpperProtocol::ANY, src_port: 0, dst_port: 0 }
    }

    /// Every packet from host `src` to host `dst`.
    pub fn hosts(src: IpAddr, dst: IpAddr) -> Self {
        Self::between(host_net(src), host_net(dst))
    }

    /// The same flow seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, protocol: self.protocol, src_port: self.dst_port, dst_port: self.src_port }
    }

    /// Does every packet of `other` belong to this selector too?
    pub fn contains(&self, other: &Self) -> bool {
        let port = |mine: u16, theirs: u16| mine == 0 || mine == theirs;
        net_contains(&self.src, &other.src)
            && net_contains(&self.dst, &other.dst)
            && (self.protocol.is_any() || self.protocol == other.protocol)
            && port(self.src_port, other.src_port)
            && port(self.dst_port, other.dst_port)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = |port: u16| if port == 0 { "any".to_owned() } else { port.to_string() };
        write!(f, "{}[{}] {}[{}] proto=", self.src, port(self.src_port), self.dst, port(self.dst_port))?;
        match self.protocol {
            UpperProtocol::ANY => f.write_str("any"),
            UpperProtocol(number) => write!(f, "{number}"),
        }
    }
}

fn net_contains(outer: &IpNet, inner: &IpNet) -> bool {
    match (outer, inner) {
        (IpNet::V4(outer), IpNet::V4(inner)) => outer.contains(inner),
        (IpNet::V6(outer), IpNet::V6(inner)) => outer.contains(inner),
        _ => false,
    }
}
