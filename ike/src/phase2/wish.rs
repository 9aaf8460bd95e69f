//! An IPsec SA pair that somebody wants.

use std::net::IpAddr;

use policy::model::sa::{Mode, Protocol, ReqId};
use policy::model::selector::Selector;

use crate::event::{Acquire, ChildId};

/// What to negotiate, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChildWish {
    /// Which traffic, between whom.
    pub(crate) what: ChildKey,
    /// The policy whose packets the kernel holds.
    pub(crate) policy_index: Option<u32>,
    /// The child to renew.
    pub(crate) replaces: Option<ChildId>,
}

/// Two children with the same key serve the same traffic: one of them is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChildKey {
    /// Our end.
    pub(crate) local: IpAddr,
    /// The peer's end.
    pub(crate) peer: IpAddr,
    /// Traffic, as we send it.
    pub(crate) outbound: Selector,
    /// Mode.
    pub(crate) mode: Mode,
    /// Protocol.
    pub(crate) protocol: Protocol,
    /// The kernel's tie to the policy.
    pub(crate) reqid: ReqId,
}

impl ChildWish {
    /// What an acquire asks for.
    ///
    /// In tunnel mode the SA is for the whole policy. In transport mode the ends are hosts, whatever networks the
    /// policy names (as racoon, which then sends no ID payloads at all); protocol and ports are the policy's.
    pub(crate) fn from_acquire(acquire: &Acquire) -> Self {
        let outbound = match acquire.mode {
            Mode::Tunnel => acquire.policy,
            Mode::Transport => transport_selector(acquire.local, acquire.peer, acquire.policy),
        };
        let Acquire { local, peer, protocol, mode, reqid, .. } = *acquire;
        let policy_index = Some(acquire.policy_index).filter(|index| *index != 0);
        Self { what: ChildKey { local, peer, outbound, mode, protocol, reqid }, policy_index, replaces: None }
    }
}

/// The hosts themselves, with protocol and ports of `traffic`.
pub(crate) fn transport_selector(local: IpAddr, peer: IpAddr, traffic: Selector) -> Selector {
    let Selector { protocol, src_port, dst_port, .. } = traffic;
    Selector { protocol, src_port, dst_port, ..Selector::hosts(local, peer) }
}
