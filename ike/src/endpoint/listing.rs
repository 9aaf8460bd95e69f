//! Single SAs and timers, for listings that show more than a line for each peer.

use policy::model::remote::ExchangeMode;
use std::net::{Ipv4Addr, SocketAddr};

use super::Endpoint;
use crate::event::Now;
use crate::event::question::CertificateId;
use crate::message::Role;
use crate::timer::Armed;
use crate::wire::header::Cookie;

/// One ISAKMP SA, or the phase 1 that is to give one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsakmpStatus {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub peer: SocketAddr,
    /// Cookies, initiator's first; the responder's is zero until it is known.
    pub cookies: (Cookie, Cookie),
    /// Did we begin?
    pub initiator: bool,
    /// Which exchange it is, or was made by.
    pub mode: ExchangeMode,
    /// Unix seconds since when it stands; `None` while it is negotiated.
    pub established: Option<u64>,
    /// IPsec SA pairs negotiated with this peer that stand.
    pub children: usize,
    /// May quick modes begin, or is a login or a configuration under way?
    pub open: bool,
    /// Our address in the peer's network, where mode config gave us one.
    pub address: Option<Ipv4Addr>,
    /// The server's words for the user; control characters may be among them.
    pub banner: Option<String>,
}

/// One armed timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its place among all timers that were ever armed.
    pub number: u32,
    /// What it is for, in the words of the code.
    pub what: String,
    /// Unix seconds when it was armed.
    pub armed: u64,
    /// Unix seconds when it fires.
    pub fires: u64,
}

impl Endpoint {
    /// Every ISAKMP SA that is not closed and every phase 1 under way, oldest first.
    pub fn isakmp_sas(&self) -> Vec<IsakmpStatus> {
        let children = |peer: SocketAddr| self.children.by_peer(peer.ip()).len();
        let standing = self.sas.values().filter(|sa| !sa.closed).map(|sa| {
            let (path, cookies) = (sa.facts.path, sa.facts.protection.cookies);
            let given = sa.session.as_ref().and_then(|session| session.configuration.as_ref());
            let status = IsakmpStatus {
                local: path.local,
                peer: path.peer,
                cookies: (cookies.initiator, cookies.responder),
                initiator: sa.facts.role == Role::Initiator,
                mode: sa.facts.mode,
                established: Some(sa.established_wall),
                children: children(path.peer),
                open: sa.is_open(),
                address: given.and_then(|given| given.address),
                banner: given.and_then(|given| given.banner.clone()),
            };
            (sa.id, status)
        });
        let under_way = self.handshakes.values().map(|handshake| {
            let status = IsakmpStatus {
                local: handshake.path.local,
                peer: handshake.path.peer,
                cookies: (handshake.cookies.initiator, handshake.cookies.responder),
                initiator: handshake.state.as_ref().is_some_and(|state| state.role() == Role::Initiator),
                mode: handshake.mode,
                established: None,
                children: 0,
                open: false,
                address: None,
                banner: None,
            };
            (handshake.id, status)
        });
        let mut all: Vec<_> = standing.chain(under_way).collect();
        all.sort_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, status)| status).collect()
    }

    /// Every certificate that an ISAKMP SA or a child rests on.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateId> {
        self.by_certificate.keys()
    }

    /// The armed timers, earliest first.
    pub fn schedule(&self, now: Now) -> Vec<Scheduled> {
        // Seconds of the monotonic clock as Unix seconds, now being the one in the other.
        let unix = |seconds: u64| now.wall.saturating_add(seconds).saturating_sub(now.monotonic.as_secs());
        let scheduled = |(timer, what): (Armed, String)| Scheduled {
            number: timer.number,
            what,
            armed: unix(timer.since_s.into()),
            fires: unix(timer.at.as_secs()),
        };
        self.cx.timers.armed().map(scheduled).collect()
    }
}
