//! UDP sockets: one per local address, so that an answer leaves from the address that was asked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, ipproto, sockopt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::logging;

/// The largest UDP payload there can be.
const LARGEST_DATAGRAM: usize = 65_535;

/// Datagrams taken from one socket by [`Sockets::waiting`]: a flood must not starve the rest.
const WAITING_PER_SOCKET: usize = 64;

/// A datagram that arrived.
#[derive(Debug)]
pub struct Datagram {
    /// The socket it came to.
    pub local: SocketAddr,
    /// The sender.
    pub peer: SocketAddr,
    /// Its payload.
    pub octets: Vec<u8>,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ISAKMP alone.
    Isakmp,
    /// ISAKMP behind a non-ESP marker, ESP that the kernel takes, and keepalives (RFC 3948 §2).
    NatTraversal,
}

/// Tells ISAKMP from ESP where both come to one port (RFC 3948 §2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// What a NAT's mapping is kept alive with (RFC 3948 §2.3).
const KEEPALIVE: [u8; 1] = [0xff];

impl Kind {
    /// The ISAKMP message in a datagram. `None`: it is a keepalive, or ESP that no SA is for.
    fn message(self, datagram: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Isakmp => Some(datagram),
            Self::NatTraversal => datagram.strip_prefix(&NON_ESP_MARKER).filter(|message| !message.is_empty()),
        }
    }

    /// The datagram of an ISAKMP message.
    fn datagram(self, message: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Isakmp => Cow::Borrowed(message),
            Self::NatTraversal => Cow::Owned([&NON_ESP_MARKER, message].concat()),
        }
    }
}

/// Exempts a socket's own packets from IPsec policy; a seam, so that tests need no capability.
pub type Bypass = fn(BorrowedFd<'_>) -> io::Result<()>;

/// The open sockets.
#[derive(Debug)]
pub struct Sockets {
    open: BTreeMap<SocketAddr, Open>,
    arrivals: mpsc::Sender<Datagram>,
    bypass: Bypass,
    take_esp: Bypass,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    socket: Arc<UdpSocket>,
    reader: JoinHandle<()>,
}

impl Sockets {
    /// No socket yet. What arrives goes into `arrivals`; when that is full, the kernel's buffers fill and then drop.
    /// `take_esp` makes the kernel take ESP out of what arrives on a socket.
    pub fn new(arrivals: mpsc::Sender<Datagram>, bypass: Bypass, take_esp: Bypass) -> Self {
        Self { open: BTreeMap::new(), arrivals, bypass, take_esp }
    }

    /// Opens exactly the sockets of `wanted`: closes those that are not in it, says what happened to each.
    pub fn keep_only(&mut self, wanted: &BTreeMap<SocketAddr, Kind>) -> Vec<(SocketAddr, io::Result<RawFd>)> {
        let stays = |(at, open): &(&SocketAddr, &Open)| wanted.get(at) == Some(&open.kind);
        let gone: Vec<SocketAddr> = self.open.iter().filter(|open| !stays(open)).map(|(at, _)| *at).collect();
        for at in gone {
            if let Some(open) = self.open.remove(&at) {
                open.reader.abort();
            }
        }
        let missing: Vec<(SocketAddr, Kind)> =
            wanted.iter().filter(|(at, _)| !self.open.contains_key(at)).map(|(at, kind)| (*at, *kind)).collect();
        missing.into_iter().map(|(at, kind)| (at, self.bind(at, kind))).collect()
    }

    /// The addresses that are open.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.open.keys().copied()
    }

    /// What has arrived and no reader has taken yet, some of it from each socket. What a peer sent before its first ESP
    /// packet is here when that packet's consequences are: those must not be handled first.
    pub fn waiting(&self) -> Vec<Datagram> {
        let mut found = Vec::new();
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        for (local, open) in &self.open {
            for _ in 0..WAITING_PER_SOCKET {
                let taken = rustix::net::recvfrom(&open.socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT);
                let Ok((length, _, Some(peer))) = taken else { break };
                let Ok(peer) = SocketAddr::try_from(peer) else { break };
                let datagram = buffer.get(..length).unwrap_or_default();
                let Some(message) = open.kind.message(datagram) else { continue };
                found.push(Datagram { local: *local, peer, octets: message.to_vec() });
            }
        }
        found
    }

    /// Sends at once or not at all: a full socket buffer is a lost datagram, which retransmission repairs.
    ///
    /// # Errors
    /// No socket with this address, or the system call's.
    pub fn send(&self, local: SocketAddr, peer: SocketAddr, octets: &[u8]) -> io::Result<()> {
        let (at, open) = self.socket_for(local).ok_or_else(|| {
            io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no socket is open on {}", bracketed(local)))
        })?;
        open.socket.try_send_to(&open.kind.datagram(octets), with_scope(peer, at)).map(|_sent| ())
    }

    /// Keeps a NAT's mapping alive.
    ///
    /// # Errors
    /// As [`Self::send`]; there is nothing to keep alive from a socket for ISAKMP alone.
    pub fn keep_alive(&self, local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
        match self.socket_for(local).filter(|(_, open)| open.kind == Kind::NatTraversal) {
            Some((at, open)) => open.socket.try_send_to(&KEEPALIVE, with_scope(peer, at)).map(|_sent| ()),
            None => {
                let text = format!("no socket for NAT traversal is open on {}", bracketed(local));
                Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text))
            }
        }
    }

    /// The socket with this address; the core does not know the interface of a link-local one.
    fn socket_for(&self, local: SocketAddr) -> Option<(SocketAddr, &Open)> {
        let same = |at: &SocketAddr| at.ip() == local.ip() && at.port() == local.port();
        self.open
            .get_key_value(&local)
            .or_else(|| self.open.iter().find(|(at, _)| same(at)))
            .map(|(at, open)| (*at, open))
    }

    fn bind(&mut self, at: SocketAddr, kind: Kind) -> io::Result<RawFd> {
        let socket = bound(at)?;
        (self.bypass)(socket.as_fd())?;
        if kind == Kind::NatTraversal {
            (self.take_esp)(socket.as_fd())?;
        }
        let descriptor = socket.as_raw_fd();
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let reader = tokio::spawn(read(at, kind, Arc::clone(&socket), self.arrivals.clone()));
        self.open.insert(at, Open { kind, socket, reader });
        Ok(descriptor)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for open in self.open.values() {
            open.reader.abort();
        }
    }
}

/// No SO_REUSEADDR: with it a second program could take our port and our datagrams.
fn bound(at: SocketAddr) -> io::Result<StdSocket> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &at)?;
    Ok(StdSocket::from(socket))
}

async fn read(local: SocketAddr, kind: Kind, socket: Arc<UdpSocket>, arrivals: mpsc::Sender<Datagram>) {
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, peer)) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                let Some(message) = kind.message(datagram) else { continue };
                let octets = message.to_vec();
                if arrivals.send(Datagram { local, peer, octets }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                logging::log(
                    ike::report::Level::Debug,
                    None,
                    format_args!("receiving on {}: {error}", bracketed(local)),
                );
                // An interface that is down fails at once, again and again.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A link-local peer is reached through the interface of the socket.
fn with_scope(peer: SocketAddr, local: SocketAddr) -> SocketAddr {
    match (peer, local) {
        (SocketAddr::V6(mut to), SocketAddr::V6(from)) if to.scope_id() == 0 && from.scope_id() != 0 => {
            to.set_scope_id(from.scope_id());
            SocketAddr::V6(to)
        }
        _ => peer,
    }
}

/// racoon's way to write an address and port.
pub fn bracketed(at: SocketAddr) -> String {
    match at {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}[{}]", v6.ip(), v6.scope_id(), v6.port()),
        _ => format!("{}[{}]", at.ip(), at.port()),
    }
}

/// The address we would reach `peer` from.
///
/// # Errors
/// There is no route, or no socket to be had.
pub fn local_address_towards(peer: IpAddr, bypass: Bypass) -> io::Result<IpAddr> {
    let any: SocketAddr = match peer {
        IpAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let probe = bound(any)?;
    // Without it, connecting would already be a packet that policy wants encrypted.
    bypass(probe.as_fd())?;
    probe.connect((peer, policy::model::addr::ISAKMP_PORT))?;
    Ok(probe.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_bypass(_socket: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    #[tokio::test]
    async fn sockets_follow_the_wanted_set_and_answer_from_the_asked_address() {
        let (arrivals, mut arrived) = mpsc::channel(4);
        let mut sockets = Sockets::new(arrivals, no_bypass, no_bypass);
        let free = StdSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let wanted = BTreeMap::from([(free, Kind::Isakmp)]);
        let opened = sockets.keep_only(&wanted);
        assert!(opened.iter().all(|(_, result)| result.is_ok()), "{opened:?}");
        assert!(sockets.keep_only(&wanted).is_empty(), "already open");

        let peer = StdSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"question", free).unwrap();
        let datagram = arrived.recv().await.unwrap();
        assert_eq!((datagram.local, datagram.octets.as_slice()), (free, &b"question"[..]));
        assert!(sockets.waiting().is_empty(), "taken by the reader");
        sockets.send(free, datagram.peer, b"answer").unwrap();
        let mut buffer = [0; 16];
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (length, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((from, &buffer[..length]), (free, &b"answer"[..]));

        assert!(sockets.keep_only(&BTreeMap::new()).is_empty());
        assert!(sockets.send(free, datagram.peer, b"too late").is_err());
    }

    /// ATTACKS A-27: on the port of NAT traversal only what stands behind a whole marker is a message.
    #[tokio::test]
    async fn marker_is_taken_off_and_put_on_and_keepalives_end_here() {
        let (arrivals, mut arrived) = mpsc::channel(4);
        let mut sockets = Sockets::new(arrivals, no_bypass, no_bypass);
        let free = StdSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let opened = sockets.keep_only(&BTreeMap::from([(free, Kind::NatTraversal)]));
        assert!(opened.iter().all(|(_, result)| result.is_ok()), "{opened:?}");

        let peer = StdSocket::bind("127.0.0.1:0").unwrap();
        for dropped in [&b""[..], &[0xff], &[0; 3], &[0; 4], &[1, 2, 3, 4, 5], b"\0\0\0\x01message"] {
            peer.send_to(dropped, free).unwrap();
        }
        peer.send_to(b"\0\0\0\0question", free).unwrap();
        let datagram = arrived.recv().await.unwrap();
        assert_eq!((datagram.local, datagram.octets.as_slice()), (free, &b"question"[..]));
        sockets.send(free, datagram.peer, b"answer").unwrap();
        sockets.keep_alive(free, datagram.peer).unwrap();
        let mut buffer = [0; 16];
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (length, _) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"\0\0\0\0answer");
        let (length, _) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], [0xff]);

        // The same address for the other purpose is another socket.
        assert_eq!(sockets.keep_only(&BTreeMap::from([(free, Kind::Isakmp)])).len(), 1);
        assert!(sockets.keep_alive(free, datagram.peer).is_err());
    }

    #[tokio::test]
    async fn second_owner_of_a_port_is_refused() {
        let taken = StdSocket::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let (arrivals, _arrived) = mpsc::channel(1);
        let outcome = Sockets::new(arrivals, no_bypass, no_bypass).keep_only(&BTreeMap::from([(at, Kind::Isakmp)]));
        let error = outcome.into_iter().next().unwrap().1.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn link_local_peer_takes_the_interface_of_the_socket() {
        let peer: SocketAddr = "[fe80::2]:500".parse().unwrap();
        let local: SocketAddr = "[fe80::1%3]:500".parse().unwrap();
        assert_eq!(with_scope(peer, local).to_string(), "[fe80::2%3]:500");
        assert_eq!(bracketed(local), "fe80::1%3[500]");
    }
}
