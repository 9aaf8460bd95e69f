//! The desks that scenarios are played on. Every host has an IPv4 and an IPv6 address on every link.

use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use crate::failure::Result;
use crate::host::Host;
use crate::link;
use crate::netns::Netns;

/// The interface that looks at the protected link on every host that speaks IKE.
pub const OUTSIDE: &str = "eth0";

/// Two hosts on one cable:
/// ```text
///   alice eth0 ------------------ eth0 bob
///         10.1.0.1/24   10.1.0.2/24
///         fd01::1/64      fd01::2/64
/// ```
#[derive(Debug)]
pub struct Pair {
    /// The left host.
    pub alice: Rc<Host>,
    /// The right host.
    pub bob: Rc<Host>,
}

/// Makes two hosts on one cable.
///
/// # Errors
/// When a namespace, a cable or an address cannot be made.
pub fn pair(prefix: &str, folder: &Path) -> Result<Pair> {
    let mut alice = Host::create(prefix, "alice", folder.join("alice"))?;
    let mut bob = Host::create(prefix, "bob", folder.join("bob"))?;
    link::cable(alice.netns(), OUTSIDE, bob.netns(), OUTSIDE)?;
    for (host, last) in [(&mut alice, 1), (&mut bob, 2)] {
        host.add_address(OUTSIDE, v4(10, 1, 0, last), 24)?;
        host.add_address(OUTSIDE, v6(0xfd01, 0, last), 64)?;
    }
    Ok(Pair { alice: Rc::new(alice), bob: Rc::new(bob) })
}

/// Hosts on a bridge, in a namespace of its own:
/// ```text
///   alice eth0 ------+
///   10.1.0.1         |
///   bob   eth0 ---- br0
///   10.1.0.2         |
///   carol eth0 ------+
///   10.1.0.3                (and fd01::1, fd01::2, fd01::3)
/// ```
#[derive(Debug)]
pub struct Lan {
    /// The hosts, in the order of their names.
    pub hosts: Vec<Rc<Host>>,
    /// The namespace that holds the bridge; kept so that the bridge stays.
    pub switch: Netns,
}

/// Makes hosts on a bridge.
///
/// # Errors
/// When a namespace, a cable or an address cannot be made.
pub fn lan(prefix: &str, folder: &Path, names: &[&str]) -> Result<Lan> {
    let switch = Netns::create(&format!("{prefix}-switch"))?;
    link::bridge(&switch)?;
    let mut hosts = Vec::new();
    for (name, last) in names.iter().zip(1u8..) {
        let mut host = Host::create(prefix, name, folder.join(name))?;
        let port = format!("port{last}");
        link::cable(host.netns(), OUTSIDE, &switch, &port)?;
        link::plug(&switch, &port)?;
        host.add_address(OUTSIDE, v4(10, 1, 0, last), 24)?;
        host.add_address(OUTSIDE, v6(0xfd01, 0, last), 64)?;
        hosts.push(Rc::new(host));
    }
    Ok(Lan { hosts, switch })
}

/// Two gateways, each with a subnet behind it:
/// ```text
///   left eth0 ---- eth1 west eth0 ======== eth0 east eth1 ---- eth0 right
///   10.11.0.10     .1   10.1.0.1         10.1.0.2   .1       10.12.0.10
///   fd11::10       ::1  fd01::1           fd01::2   ::1        fd12::10
/// ```
/// Only the double line may carry nothing in clear.
#[derive(Debug)]
pub struct Gateways {
    /// The host behind the left gateway.
    pub left: Rc<Host>,
    /// The left gateway.
    pub west: Rc<Host>,
    /// The right gateway.
    pub east: Rc<Host>,
    /// The host behind the right gateway.
    pub right: Rc<Host>,
}

/// Makes two gateways and a host behind each.
///
/// # Errors
/// When a namespace, a cable, an address or a route cannot be made.
pub fn gateways(prefix: &str, folder: &Path) -> Result<Gateways> {
    let (left, west) = site(prefix, folder, "left", "west", 1)?;
    let (right, east) = site(prefix, folder, "right", "east", 2)?;
    link::cable(west.netns(), OUTSIDE, east.netns(), OUTSIDE)?;
    let (mut west, mut east) = (west, east);
    for (gateway, own, other) in [(&mut west, 1, 2), (&mut east, 2, 1)] {
        gateway.add_address(OUTSIDE, v4(10, 1, 0, own), 24)?;
        gateway.add_address(OUTSIDE, v6(0xfd01, 0, own), 64)?;
        gateway.netns().batch(&format!(
            "route add 10.1{other}.0.0/24 via 10.1.0.{other}\nroute add fd1{other}::/64 via fd01::{other}\n"
        ))?;
        gateway.sysctl("net/ipv4/ip_forward", "1")?;
        gateway.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(Gateways { left: Rc::new(left), west: Rc::new(west), east: Rc::new(east), right: Rc::new(right) })
}

/// A host and its gateway on subnet `number`, without the gateway's outside.
fn site(prefix: &str, folder: &Path, inner: &str, gateway: &str, number: u8) -> Result<(Host, Host)> {
    let mut inner = Host::create(prefix, inner, folder.join(inner))?;
    let gateway = Host::create(prefix, gateway, folder.join(gateway))?;
    link::cable(inner.netns(), OUTSIDE, gateway.netns(), "eth1")?;
    let net6 = 0xfd10 + u16::from(number);
    inner.add_address(OUTSIDE, v4(10, 10 + number, 0, 10), 24)?;
    inner.add_address(OUTSIDE, v6(net6, 0, 0x10), 64)?;
    let (near4, near6) = (v4(10, 10 + number, 0, 1), v6(net6, 0, 1));
    // Not through `add_address`: a gateway's own address is the one it speaks IKE with.
    gateway.netns().batch(&format!("addr add {near4}/24 dev eth1\naddr add {near6}/64 dev eth1 nodad\n"))?;
    inner.netns().batch(&format!("route add default via {near4}\nroute add default via {near6}\n"))?;
    Ok((inner, gateway))
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::from([a, b, c, d])
}

fn v6(net: u16, subnet: u16, last: u8) -> IpAddr {
    IpAddr::from([net, subnet, 0, 0, 0, 0, 0, u16::from(last)])
}
