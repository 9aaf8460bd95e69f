//! Virtual Ethernet cables and a bridge. A cable goes with the namespaces at its ends, so nothing here needs a `Drop`.

use std::process::Command;

use crate::failure::Result;
use crate::netns::Netns;
use crate::process;

/// A cable between two namespaces, an interface name at each end; both ends are brought up.
///
/// # Errors
/// When iproute2 reports failure.
pub fn cable(a: &Netns, a_interface: &str, b: &Netns, b_interface: &str) -> Result<()> {
    process::check(Command::new("ip").args([
        "link",
        "add",
        a_interface,
        "netns",
        a.name(),
        "type",
        "veth",
        "peer",
        "name",
        b_interface,
        "netns",
        b.name(),
    ]))?;
    a.batch(&format!("link set {a_interface} up\n"))?;
    b.batch(&format!("link set {b_interface} up\n"))
}

/// A bridge named `br0` inside a namespace.
///
/// # Errors
/// When iproute2 reports failure.
pub fn bridge(netns: &Netns) -> Result<()> {
    netns.batch("link add br0 type bridge forward_delay 0 stp_state 0\nlink set br0 up\n")
}

/// Plugs an interface into the namespace's bridge.
///
/// # Errors
/// When iproute2 reports failure.
pub fn plug(netns: &Netns, interface: &str) -> Result<()> {
    netns.batch(&format!("link set {interface} master br0\n"))
}
