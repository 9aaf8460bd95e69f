//! Which sockets are wanted: those of `listen {}`, or one for each address of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::RawFd;

use policy::model::addr::AddrPort;
use policy::model::daemon::Listen;

use super::addresses::LocalAddress;
use super::udp::{Kind, Sockets, bracketed};
use crate::logging;

/// Address families to listen on where no `isakmp` line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// `-4`.
    Ipv4,
    /// `-6`.
    Ipv6,
}

impl Family {
    fn holds(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
        }
    }
}

/// What the command line and the configuration say about sockets.
#[derive(Clone, Debug)]
pub struct ListenPlan {
    /// `listen {}`.
    pub listen: Listen,
    /// Port where none is written.
    pub port: u16,
    /// Port of NAT traversal where none is written.
    pub natt_port: u16,
    /// Does any remote traverse NATs?
    pub traverses_nat: bool,
    /// Families where no address is written.
    pub family: Family,
}

impl ListenPlan {
    /// The sockets wanted while the machine has these addresses. A wildcard is opened as one socket for each address:
    /// an answer must leave from the address that was asked.
    ///
    /// As in racoon, `isakmp` lines without `isakmp_natt` lines are all there is to be.
    pub fn wanted(&self, local: &BTreeSet<LocalAddress>) -> BTreeMap<SocketAddr, Kind> {
        let Listen { isakmp, isakmp_natt, .. } = &self.listen;
        let natt = match (isakmp_natt.as_slice(), isakmp.as_slice()) {
            ([], []) if self.traverses_nat => self.everywhere(local, self.natt_port),
            (written, _) => Self::expand(written, local, self.natt_port),
        };
        let isakmp = match isakmp.as_slice() {
            [] => self.everywhere(local, self.port),
            written => Self::expand(written, local, self.port),
        };
        let natt = natt.into_iter().map(|at| (at, Kind::NatTraversal));
        natt.chain(isakmp.into_iter().map(|at| (at, Kind::Isakmp))).collect()
    }

    fn everywhere(&self, local: &BTreeSet<LocalAddress>, port: u16) -> Vec<SocketAddr> {
        let of_family = local.iter().filter(|address| self.family.holds(address.ip));
        of_family.map(|address| socket_address(*address, port)).collect()
    }

    fn expand(written: &[AddrPort], local: &BTreeSet<LocalAddress>, port: u16) -> Vec<SocketAddr> {
        written.iter().flat_map(|written| Self::expand_one(written, local, port)).collect()
    }

    fn expand_one(written: &AddrPort, local: &BTreeSet<LocalAddress>, port: u16) -> Vec<SocketAddr> {
        let port = written.port.unwrap_or(port);
        let matches = |address: &&LocalAddress| {
            if written.addr.is_unspecified() {
                address.ip.is_ipv4() == written.addr.is_ipv4()
            } else {
                address.ip == written.addr
            }
        };
        let found: Vec<SocketAddr> =
            local.iter().filter(matches).map(|address| socket_address(*address, port)).collect();
        if found.is_empty() && !written.addr.is_unspecified() {
            // Not ours (yet): binding it says so in the system's words.
            return vec![SocketAddr::new(written.addr, port)];
        }
        found
    }

    /// Must every address be bound (`strict_address`)?
    pub fn is_strict(&self) -> bool {
        self.listen.strict_address
    }
}

fn socket_address(address: LocalAddress, port: u16) -> SocketAddr {
    match address.ip {
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, address.scope)),
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
    }
}

/// Keeps the sockets as the plan wants them, and tells each failure once.
#[derive(Debug, Default)]
pub struct Listener {
    failed: BTreeMap<SocketAddr, String>,
}

impl Listener {
    /// Opens and closes what has to be.
    ///
    /// # Errors
    /// With `strict_address`, the first address that cannot be bound; else, if none at all can be.
    pub fn follow(
        &mut self,
        plan: &ListenPlan,
        local: &BTreeSet<LocalAddress>,
        sockets: &mut Sockets,
    ) -> io::Result<()> {
        let wanted = plan.wanted(local);
        self.failed.retain(|at, _| wanted.contains_key(at));
        let closed: Vec<SocketAddr> = sockets.addresses().filter(|at| !wanted.contains_key(at)).collect();
        for at in closed {
            logging::info(format_args!("{} is no longer used as isakmp port", bracketed(at)));
        }
        let mut last = None;
        for (at, outcome) in sockets.keep_only(&wanted) {
            match outcome {
                Ok(descriptor) => self.opened(at, wanted.get(&at), descriptor),
                Err(error) => last = Some(self.refused(at, error)),
            }
        }
        match last {
            Some(error) if plan.is_strict() || sockets.addresses().next().is_none() => Err(error),
            _ => Ok(()),
        }
    }

    fn opened(&mut self, at: SocketAddr, kind: Option<&Kind>, descriptor: RawFd) {
        self.failed.remove(&at);
        if kind == Some(&Kind::NatTraversal) {
            logging::info(format_args!("{} used for NAT-T", bracketed(at)));
        }
        logging::info(format_args!("{} used as isakmp port (fd={descriptor})", bracketed(at)));
    }

    fn refused(&mut self, at: SocketAddr, error: io::Error) -> io::Error {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                ": CAP_NET_BIND_SERVICE is missing for the port, or CAP_NET_ADMIN for its bypass policy"
            }
            io::ErrorKind::AddrInUse => ": another IKE daemon runs here",
            _ => "",
        };
        let text = format!("failed to bind to address {} ({error}{hint}).", bracketed(at));
        if self.failed.get(&at) != Some(&text) {
            logging::error(&text);
            self.failed.insert(at, text.clone());
        }
        io::Error::new(error.kind(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(texts: &[&str]) -> BTreeSet<LocalAddress> {
        let scope = |text: &str| if text.starts_with("fe80") { 3 } else { 0 };
        texts.iter().map(|text| LocalAddress { ip: text.parse().unwrap(), scope: scope(text) }).collect()
    }

    fn plan(isakmp: &[(&str, Option<u16>)], family: Family) -> ListenPlan {
        let isakmp = isakmp.iter().map(|(text, port)| AddrPort { addr: text.parse().unwrap(), port: *port }).collect();
        let listen = Listen { isakmp, ..Listen::default() };
        ListenPlan { listen, port: 500, natt_port: 4500, traverses_nat: false, family }
    }

    fn wanted(plan: &ListenPlan) -> Vec<String> {
        let machine = local(&["127.0.0.1", "10.0.0.1", "::1", "fe80::1"]);
        let natt = |kind| if kind == Kind::NatTraversal { " natt" } else { "" };
        plan.wanted(&machine).into_iter().map(|(at, kind)| format!("{at}{}", natt(kind))).collect()
    }

    #[test]
    fn every_address_without_isakmp_lines() {
        let all = ["10.0.0.1:500", "127.0.0.1:500", "[::1]:500", "[fe80::1%3]:500"];
        assert_eq!(wanted(&plan(&[], Family::Any)), all);
        assert_eq!(wanted(&plan(&[], Family::Ipv4)), all[..2]);
        assert_eq!(wanted(&plan(&[], Family::Ipv6)), all[2..]);
    }

    #[test]
    fn only_those_written_with_their_ports_and_scopes() {
        let some = plan(&[("10.0.0.1", Some(5500)), ("fe80::1", None), ("192.0.2.9", None)], Family::Any);
        assert_eq!(wanted(&some), ["10.0.0.1:5500", "192.0.2.9:500", "[fe80::1%3]:500"]);
    }

    #[test]
    fn nat_traversal_has_sockets_beside_those_of_isakmp() {
        let mut everywhere = plan(&[], Family::Ipv4);
        everywhere.traverses_nat = true;
        let both = ["10.0.0.1:500", "10.0.0.1:4500 natt", "127.0.0.1:500", "127.0.0.1:4500 natt"];
        assert_eq!(wanted(&everywhere), both);
        // As in racoon: who writes where to listen writes it for both.
        let mut written = plan(&[("10.0.0.1", None)], Family::Any);
        written.traverses_nat = true;
        assert_eq!(wanted(&written), both[..1]);
        written.listen.isakmp_natt.push(AddrPort { addr: "10.0.0.1".parse().unwrap(), port: None });
        assert_eq!(wanted(&written), both[..2]);
    }

    #[test]
    fn wildcard_is_a_socket_for_each_address_of_its_family() {
        assert_eq!(wanted(&plan(&[("0.0.0.0", None)], Family::Any)), ["10.0.0.1:500", "127.0.0.1:500"]);
    }
}
