//! The event socket: what the kernel tells on its own. An overrun is a notice, too: it says that dumps are due.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_packet_xfrm::constants::{
    XFRMNLGRP_ACQUIRE, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING, XFRMNLGRP_POLICY, XFRMNLGRP_SA,
};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_XFRM;

use crate::batch::Refusal;
use crate::codec::notice::read_notice;
use crate::model::notice::Notice;
use crate::socket::{Datagram, Wait, grow_receive_buffer};

/// Some 10,000 acquires fit.
const RECEIVE_BUFFER: usize = 16 * 1024 * 1024;
/// One `read` stops here, so that a flood cannot starve the caller; level-triggered waiting sees the rest.
const DATAGRAMS_PER_READ: usize = 256;

/// What to listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Packets that wait for an SA.
    Acquire,
    /// Limits reached, of SAs and policies.
    Expire,
    /// SAs added, updated, deleted, flushed.
    Sa,
    /// Policies added, updated, deleted, flushed.
    Policy,
    /// Peers that move behind their NAT.
    Mapping,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 5] = [Self::Acquire, Self::Expire, Self::Sa, Self::Policy, Self::Mapping];

    fn number(self) -> u32 {
        match self {
            Self::Acquire => XFRMNLGRP_ACQUIRE,
            Self::Expire => XFRMNLGRP_EXPIRE,
            Self::Sa => XFRMNLGRP_SA,
            Self::Policy => XFRMNLGRP_POLICY,
            Self::Mapping => XFRMNLGRP_MAPPING,
        }
    }
}

/// A non-blocking socket for notices.
pub struct EventStream {
    socket: Socket,
    datagram: Datagram,
}

impl EventStream {
    /// Opens the socket and joins `groups`. Notices start now: a dump made afterwards misses nothing. They wait in `buffer`
    /// octets (Linux counts its own overhead too, and takes twice the number), or 16 MiB.
    pub fn open(groups: &[Group], buffer: Option<usize>) -> Result<Self, Refusal> {
        Self::try_open(groups, buffer.unwrap_or(RECEIVE_BUFFER))
            .map_err(|error| Refusal::from_io("listening for XFRM notices", &error))
    }

    fn try_open(groups: &[Group], buffer: usize) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_XFRM)?;
        // Before the groups: an unbound socket joins without an error and never hears a thing.
        socket.bind_auto()?;
        grow_receive_buffer(&socket, buffer);
        for group in groups {
            socket.add_membership(group.number())?;
        }
        socket.set_non_blocking(true)?;
        Ok(Self { socket, datagram: Datagram::new() })
    }

    /// Everything that has come, up to a bound; empty if nothing has. [`Notice::Overrun`] means that notices were lost.
    pub fn read(&mut self) -> Result<Vec<Notice>, Refusal> {
        let mut notices = Vec::new();
        for _ in 0..DATAGRAMS_PER_READ {
            match self.datagram.receive(&self.socket, Wait::No) {
                Ok(messages) => notices.extend(messages.flatten().map(|message| read_notice(&message))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => notices.push(Notice::Overrun),
                Err(error) if notices.is_empty() => return Err(Refusal::from_io("reading XFRM notices", &error)),
                Err(_) => break,
            }
        }
        Ok(notices)
    }
}

impl AsRawFd for EventStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for EventStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
