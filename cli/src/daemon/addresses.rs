//! The addresses of this machine, and word of their changes.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use futures_util::{Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::{Handle, MulticastGroup};

/// An address that can be bound, with the interface where a link-local one needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalAddress {
    /// The address.
    pub ip: IpAddr,
    /// Interface number of an IPv6 link-local address, else 0.
    pub scope: u32,
}

/// A rtnetlink connection that hears of address changes.
pub struct AddressWatch {
    handle: Handle,
    notices: Box<dyn Stream<Item = ()> + Unpin>,
    connection: tokio::task::JoinHandle<()>,
}

impl AddressWatch {
    /// Connects; the connection lives in a task of its own.
    ///
    /// # Errors
    /// No netlink socket to be had.
    pub fn start() -> io::Result<Self> {
        let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, notices) = rtnetlink::new_multicast_connection(&groups)?;
        let connection = tokio::spawn(connection);
        Ok(Self { handle, notices: Box::new(notices.map(|_notice| ())), connection })
    }

    /// Every address that can be bound now.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn addresses(&self) -> Result<BTreeSet<LocalAddress>, rtnetlink::Error> {
        let mut found = BTreeSet::new();
        let mut dump = Box::pin(self.handle.address().get().execute());
        while let Some(message) = dump.try_next().await? {
            found.extend(usable(&message));
        }
        Ok(found)
    }

    /// Completes when something about an address changed; which is for [`AddressWatch::addresses`] to say. Safe to drop
    /// and call again.
    pub async fn changed(&mut self) {
        if self.notices.next().await.is_none() {
            // The connection broke: nothing more will be heard.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl std::fmt::Debug for AddressWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AddressWatch")
    }
}

/// The address of a message unless duplicate address detection still runs on it or has failed: binding it would fail,
/// and another notice comes when it is through.
fn usable(message: &AddressMessage) -> Option<LocalAddress> {
    let mut ip = None;
    let mut unready = message.header.flags.intersects(AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed);
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link `Address` is the peer's and `Local` ours.
            AddressAttribute::Local(local) => ip = Some(*local),
            AddressAttribute::Address(address) => ip = ip.or(Some(*address)),
            AddressAttribute::Flags(flags) => {
                unready |= flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
            }
            _ => {}
        }
    }
    let ip = ip.filter(|_| !unready)?;
    Some(LocalAddress { ip, scope: scope_of(ip, message.header.index) })
}

fn scope_of(ip: IpAddr, interface: u32) -> u32 {
    match ip {
        IpAddr::V6(v6) if is_link_local(v6) => interface,
        _ => 0,
    }
}

/// fe80::/10 (RFC 4291 §2.5.6).
pub fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = 7;
        message.attributes = attributes;
        message
    }

    #[test]
    fn local_side_of_a_point_to_point_link() {
        let (ours, theirs): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let found = usable(&message(vec![AddressAttribute::Address(theirs), AddressAttribute::Local(ours)]));
        assert_eq!(found, Some(LocalAddress { ip: ours, scope: 0 }));
    }

    #[test]
    fn tentative_address_waits_and_link_local_keeps_its_interface() {
        let ip: IpAddr = "fe80::1".parse().unwrap();
        let tentative = vec![AddressAttribute::Address(ip), AddressAttribute::Flags(AddressFlags::Tentative)];
        assert_eq!(usable(&message(tentative)), None);
        let ready = vec![AddressAttribute::Address(ip), AddressAttribute::Flags(AddressFlags::Permanent)];
        assert_eq!(usable(&message(ready)), Some(LocalAddress { ip, scope: 7 }));
    }
}
