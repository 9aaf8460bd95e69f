//! Virtual Ethernet cables and a bridge, as lines for `ip -batch`. A cable goes with the namespaces at its ends, so nothing
//! here needs a `Drop`.

use crate::netns::Netns;

/// The line that makes a cable between the namespace it is run in and another; both ends are down yet.
pub fn cable(interface: &str, to: &Netns, other_interface: &str) -> String {
    format!("link add {interface} type veth peer name {other_interface} netns {}\n", to.holder())
}

/// The lines that bring an interface up with these addresses, without duplicate address detection, which would keep an
/// IPv6 address unusable for a second.
pub fn up(interface: &str, addresses: &[(std::net::IpAddr, u8)]) -> String {
    let mut out = String::new();
    for (address, prefix) in addresses {
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        out.push_str(&format!("addr add {address}/{prefix} dev {interface}{nodad}\n"));
    }
    out.push_str(&format!("link set {interface} up\n"));
    out
}

/// The lines that make a bridge named `br0`.
pub const BRIDGE: &str = "link add br0 type bridge forward_delay 0 stp_state 0\nlink set br0 up\n";

/// The line that plugs an interface into the bridge.
pub fn plug(interface: &str) -> String {
    format!("link set {interface} master br0\n")
}
