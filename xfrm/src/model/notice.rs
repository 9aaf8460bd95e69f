//! What the kernel tells on its own.

use std::net::IpAddr;

use policy::model::sa::{Protocol, ReqId, Spi};
use policy::model::selector::Selector;

use super::mark::Mark;
use super::policy::{List, Policy, PolicyKey};
use super::sa::{Sa, SaName};
use super::template::Template;
use crate::codec::error::CodecError;

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Time to renew; the object lives on.
    Soft,
    /// It is gone.
    Hard,
}

/// A packet waits for an SA (`struct xfrm_user_acquire`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// Protocol of the SA wanted.
    pub protocol: Protocol,
    /// Source of the SA wanted: our side.
    pub src: IpAddr,
    /// Its destination: the peer.
    pub dst: IpAddr,
    /// The packet.
    pub flow: Selector,
    /// The policy that wants the SA; its templates are in [`Acquire::templates`].
    pub policy: Policy,
    /// What is wanted.
    pub templates: Vec<Template>,
    /// Ties an answer to this question (`Sa::seq`).
    pub seq: u32,
    /// Mark of the larval SA.
    pub mark: Option<Mark>,
    /// XFRM interface.
    pub if_id: Option<u32>,
}

/// The peer's address or port behind a NAT moved (`struct xfrm_user_mapping`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Protocol of the SA.
    pub protocol: Protocol,
    /// SPI of the SA.
    pub spi: Spi,
    /// Destination of the SA: our side.
    pub dst: IpAddr,
    /// Its reqid.
    pub reqid: ReqId,
    /// Where the peer was.
    pub old: (IpAddr, u16),
    /// Where the peer is.
    pub new: (IpAddr, u16),
}

/// One notice. `requester` is the number that whoever caused it wrote into his request: `Connection::port()` for ours;
/// others mostly leave 0, as does the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A packet waits for an SA.
    Acquire(Box<Acquire>),
    /// An SA reached a limit.
    SaExpired {
        /// The SA, without its algorithms.
        sa: Box<Sa>,
        /// Which limit.
        severity: Severity,
    },
    /// A policy reached a limit.
    PolicyExpired {
        /// The policy.
        policy: Box<Policy>,
        /// Which limit.
        severity: Severity,
    },
    /// An SA was added.
    SaAdded {
        /// The SA.
        sa: Box<Sa>,
        /// Who asked.
        requester: u32,
    },
    /// An SA was updated.
    SaUpdated {
        /// The SA.
        sa: Box<Sa>,
        /// Who asked.
        requester: u32,
    },
    /// An SA was deleted.
    SaDeleted {
        /// The SA as it was.
        sa: Box<Sa>,
        /// Who asked.
        requester: u32,
    },
    /// Every SA of a protocol was deleted.
    SasFlushed {
        /// The protocol; `None` all.
        protocol: Option<Protocol>,
        /// Who asked.
        requester: u32,
    },
    /// A policy was added.
    PolicyAdded {
        /// The policy.
        policy: Box<Policy>,
        /// Who asked.
        requester: u32,
    },
    /// A policy was updated.
    PolicyUpdated {
        /// The policy.
        policy: Box<Policy>,
        /// Who asked.
        requester: u32,
    },
    /// A policy was deleted.
    PolicyDeleted {
        /// How the request named it.
        key: PolicyKey,
        /// The policy as it was.
        policy: Box<Policy>,
        /// Who asked.
        requester: u32,
    },
    /// Every policy of a list was deleted.
    PoliciesFlushed {
        /// The list.
        list: List,
        /// Who asked.
        requester: u32,
    },
    /// A peer moved behind its NAT.
    MappingChanged(Mapping),
    /// A message of a kind we do not take apart.
    Other {
        /// Netlink message type.
        kind: u16,
        /// Its payload.
        octets: Vec<u8>,
    },
    /// A message of a kind we know, which we could not read (an SA of another protocol or mode, say).
    Unreadable {
        /// Netlink message type.
        kind: u16,
        /// Why.
        error: CodecError,
    },
    /// The kernel had to drop notices: whatever is known must be compared with dumps of SAs and policies.
    Overrun,
}

impl Notice {
    /// Names the SA the notice is about, if it is about one.
    pub fn sa_name(&self) -> Option<SaName> {
        match self {
            Self::SaExpired { sa, .. }
            | Self::SaAdded { sa, .. }
            | Self::SaUpdated { sa, .. }
            | Self::SaDeleted { sa, .. } => Some(sa.name),
            _ => None,
        }
    }
}
