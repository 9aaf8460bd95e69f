//! The desks that scenarios are played on. Every host has an IPv4 and an IPv6 address on every link.

use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use crate::failure::Result;
use crate::host::{Family, Host};
use crate::link;
use crate::netns::{HOLD_PACKETS, Netns};

/// The interface that looks at the protected link on every host that speaks IKE.
pub const OUTSIDE: &str = "eth0";

const LOOPBACK: &str = "link set lo up\n";
const FORWARD: [&str; 3] = [HOLD_PACKETS, "net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"];

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
pub fn pair(folder: &Path) -> Result<Pair> {
    let alice = Host::create("alice", folder, &[HOLD_PACKETS], outside(1))?;
    let bob = Host::create("bob", folder, &[HOLD_PACKETS], outside(2))?;
    let cable = link::cable(OUTSIDE, bob.netns(), OUTSIDE);
    alice.netns().batch(&format!("{LOOPBACK}{cable}{}", link::up(OUTSIDE, &with_prefix(&outside(1)))))?;
    bob.netns().batch(&format!("{LOOPBACK}{}", link::up(OUTSIDE, &with_prefix(&outside(2)))))?;
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
pub fn lan(folder: &Path, names: &[&str]) -> Result<Lan> {
    let switch = Netns::create("switch", &[])?;
    let mut hosts = Vec::new();
    let mut ports = String::from(link::BRIDGE);
    for (name, last) in names.iter().zip(1u8..) {
        let host = Host::create(name, folder, &[HOLD_PACKETS], outside(last))?;
        let port = format!("port{last}");
        let cable = link::cable(OUTSIDE, &switch, &port);
        host.netns().batch(&format!("{LOOPBACK}{cable}{}", link::up(OUTSIDE, &with_prefix(&outside(last)))))?;
        ports.push_str(&link::plug(&port));
        ports.push_str(&link::up(&port, &[]));
        hosts.push(Rc::new(host));
    }
    switch.batch(&ports)?;
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
pub fn gateways(folder: &Path) -> Result<Gateways> {
    // Addresses of the subnet side are not among a gateway's own: those are the ones it speaks IKE with.
    let west = Host::create("west", folder, &FORWARD, outside(1))?;
    let east = Host::create("east", folder, &FORWARD, outside(2))?;
    let left = Host::create("left", folder, &[], behind(1, 10))?;
    let right = Host::create("right", folder, &[], behind(2, 10))?;
    let cable = link::cable(OUTSIDE, east.netns(), OUTSIDE);
    for (gateway, inner, cable, own, other) in [(&west, &left, cable.as_str(), 1, 2), (&east, &right, "", 2, 1)] {
        gateway.netns().batch(&format!(
            "{LOOPBACK}{cable}{}{}{}route add 10.1{other}.0.0/24 via 10.1.0.{other}\nroute add fd1{other}::/64 via fd01::{other}\n",
            link::cable("eth1", inner.netns(), OUTSIDE),
            link::up(OUTSIDE, &with_prefix(&outside(own))),
            link::up("eth1", &with_prefix(&behind(own, 1))),
        ))?;
        let [near4, near6] = behind(own, 1);
        inner.netns().batch(&format!(
            "{LOOPBACK}{}route add default via {near4}\nroute add default via {near6}\n",
            link::up(OUTSIDE, &with_prefix(&behind(own, 10))),
        ))?;
    }
    Ok(Gateways { left: Rc::new(left), west: Rc::new(west), east: Rc::new(east), right: Rc::new(right) })
}

/// Where the server of [`natted`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the link that the router's outer side is on.
    Outside,
    /// Behind a router of its own that passes UDP 500 and 4500 on to it.
    Behind,
}

/// Clients behind a router that translates their addresses and ports, and a server:
/// ```text
///   alice eth0 ---+
///   10.11.0.10    |
///   carol eth0 -- br0 nat eth0 ------------------------------- eth0 bob
///   10.11.0.11     .1     10.1.0.1                     10.1.0.2
///
///                         10.1.0.1 ------ eth0 wall eth1 ----- eth0 bob
///                                     10.1.0.2      10.12.0.1   10.12.0.10
/// ```
/// The server also has [`INNER`], and speaks from it to whatever is not on its link. IPv4 alone is translated.
#[derive(Debug)]
pub struct Natted {
    /// The clients, in the order of their names.
    pub clients: Vec<Rc<Host>>,
    /// Their router.
    pub nat: Rc<Host>,
    /// The server.
    pub server: Rc<Host>,
    /// The server's router.
    pub wall: Option<Rc<Host>>,
    /// Where the clients find the server.
    pub server_address: IpAddr,
}

/// An address of the server of [`natted`] that is not on any link.
pub const INNER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 1));

/// A second outer address of the clients' router, see [`Natted::translate_to_other_address`].
pub const OTHER_OUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 3));

impl Natted {
    /// The address that the clients have outside.
    pub fn outer(&self) -> IpAddr {
        self.nat.address(Family::V4)
    }

    /// The clients' ports become these outside, and every mapping made so far is forgotten.
    ///
    /// # Errors
    /// When iptables or conntrack fails.
    pub fn translate_to(&self, ports: &str) -> Result<()> {
        // Replaced, not taken out and put back: without any rule the kernel stops to track, and lets packets through as
        // they are.
        self.nat.check(IPTABLES, &masquerade(&["-R", "POSTROUTING", "1"], ports))?;
        self.nat.check("conntrack", &["-F"]).map(drop)
    }

    /// The clients have [`OTHER_OUTER`] and these ports outside from now on, and every mapping made so far is forgotten.
    ///
    /// # Errors
    /// When iproute2, iptables or conntrack fails.
    pub fn translate_to_other_address(&self, ports: &str) -> Result<()> {
        self.nat.netns().ip(&["addr", "add", &format!("{OTHER_OUTER}/24"), "dev", OUTSIDE])?;
        let to = format!("{OTHER_OUTER}:{ports}");
        let rule = ["-o", OUTSIDE, "-p", "udp", "-j", "SNAT", "--to-source", &to, "--random"];
        self.nat.check(IPTABLES, &[&["-w", "-t", "nat", "-R", "POSTROUTING", "1"], rule.as_slice()].concat())?;
        self.nat.check("conntrack", &["-F"]).map(drop)
    }
}

/// What makes all UDP ports these.
fn masquerade<'a>(place: &[&'a str], ports: &'a str) -> Vec<&'a str> {
    let rule = ["-o", OUTSIDE, "-p", "udp", "-j", "MASQUERADE", "--random", "--to-ports", ports];
    [&["-w", "-t", "nat"], place, &rule].concat()
}

/// The kernel of the desk has no nf_tables for IP.
const IPTABLES: &str = "iptables-legacy";

/// Ports that the clients' become at first: none of them is a port of IKE.
pub const FIRST_PORTS: &str = "20000-29999";

/// Makes clients behind a NAT and a server.
///
/// # Errors
/// When a namespace, a cable, an address, a route or a rule cannot be made.
pub fn natted(folder: &Path, names: &[&str], place: Place) -> Result<Natted> {
    let nat = Rc::new(Host::create("nat", folder, &FORWARD, outside(1))?);
    let own = if place == Place::Outside { outside(2) } else { behind(2, 10) };
    let server = Rc::new(Host::create("bob", folder, &[HOLD_PACKETS], own)?);
    let mut lines = format!("{LOOPBACK}{}{}", link::BRIDGE, link::up("br0", &with_prefix(&behind(1, 1))));
    let mut clients = Vec::new();
    for (name, last) in names.iter().zip(10u8..) {
        let client = Host::create(name, folder, &[HOLD_PACKETS], behind(1, last))?;
        let port = format!("port{last}");
        client.netns().batch(&format!(
            "{LOOPBACK}{}{}route add default via 10.11.0.1\n",
            link::cable(OUTSIDE, nat.netns(), &port),
            link::up(OUTSIDE, &with_prefix(&behind(1, last))),
        ))?;
        lines.push_str(&link::plug(&port));
        lines.push_str(&link::up(&port, &[]));
        clients.push(Rc::new(client));
    }
    nat.netns().batch(&lines)?;
    let mut wall = None;
    let (next, gateway) = match place {
        Place::Outside => (Rc::clone(&server), "10.1.0.1"),
        Place::Behind => {
            (wall.insert(Rc::new(Host::create("wall", folder, &FORWARD, outside(2))?)).clone(), "10.12.0.1")
        }
    };
    nat.netns().batch(&format!(
        "{}{}",
        link::cable(OUTSIDE, next.netns(), OUTSIDE),
        link::up(OUTSIDE, &with_prefix(&outside(1)))
    ))?;
    if let Some(wall) = &wall {
        wall.netns().batch(&format!(
            "{LOOPBACK}{}{}{}",
            link::cable("eth1", server.netns(), OUTSIDE),
            link::up(OUTSIDE, &with_prefix(&outside(2))),
            link::up("eth1", &with_prefix(&behind(2, 1))),
        ))?;
        for port in ["500", "4500"] {
            let to = format!("10.12.0.10:{port}");
            let words = ["-i", OUTSIDE, "-p", "udp", "--dport", port, "-j", "DNAT", "--to-destination", &to];
            wall.check(IPTABLES, &[&["-w", "-t", "nat", "-A", "PREROUTING"], words.as_slice()].concat())?;
        }
        wall.check(IPTABLES, &["-w", "-t", "nat", "-A", "POSTROUTING", "-o", OUTSIDE, "-j", "MASQUERADE"])?;
    }
    server.netns().batch(&format!(
        "{LOOPBACK}addr add {INNER}/32 dev lo\n{}route add default via {gateway} src {INNER}\n",
        link::up(OUTSIDE, &with_prefix(&own)),
    ))?;
    let server_address = next.address(Family::V4);
    nat.check(IPTABLES, &masquerade(&["-A", "POSTROUTING"], FIRST_PORTS))?;
    Ok(Natted { clients, nat, server, wall, server_address })
}

/// The addresses of host `last` on the protected link.
fn outside(last: u8) -> [IpAddr; 2] {
    [IpAddr::from([10, 1, 0, last]), IpAddr::from([0xfd01, 0, 0, 0, 0, 0, 0, u16::from(last)])]
}

/// The addresses of host `last` in the subnet behind gateway `number`.
fn behind(number: u8, last: u8) -> [IpAddr; 2] {
    // Written `fd11::10`, as the picture has it.
    let last6 = if last == 10 { 0x10 } else { u16::from(last) };
    let net6 = 0xfd10 + u16::from(number);
    [IpAddr::from([10, 10 + number, 0, last]), IpAddr::from([net6, 0, 0, 0, 0, 0, 0, last6])]
}

fn with_prefix(addresses: &[IpAddr; 2]) -> [(IpAddr, u8); 2] {
    addresses.map(|address| (address, if address.is_ipv6() { 64 } else { 24 }))
}
