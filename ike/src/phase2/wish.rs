//! An IPsec SA pair that somebody wants.

use std::net::IpAddr;

use policy::model::sa::{Mode, Protocol, ReqId};
use policy::model::selector::Selector;

use crate::event::policies::{Acquire, Companion, Companions};
use crate::event::sa::ChildId;

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
    /// Tunnel if one of the protocols makes one.
    pub(crate) mode: Mode,
    /// Main protocol.
    pub(crate) protocol: Protocol,
    /// The kernel's tie to the policy.
    pub(crate) reqid: ReqId,
    /// What goes with the main protocol.
    pub(crate) companions: Companions,
}

/// One protocol of a child, as the policy wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) protocol: Protocol,
    pub(crate) mode: Mode,
    pub(crate) reqid: ReqId,
    pub(crate) optional: bool,
}

impl ChildKey {
    /// The protocols that are wanted, the main one first.
    pub(crate) fn layers(&self) -> Vec<Layer> {
        let Companions { main_in_transport, ah, ipcomp } = self.companions;
        let mode = if main_in_transport { Mode::Transport } else { self.mode };
        let main = Layer { protocol: self.protocol, mode, reqid: self.reqid, optional: false };
        let beside =
            [(Protocol::Ah, ah), (Protocol::Ipcomp, ipcomp)].into_iter().filter_map(|(protocol, companion)| {
                let Companion { mode, reqid, optional } = companion?;
                Some(Layer { protocol, mode, reqid, optional })
            });
        std::iter::once(main).chain(beside).collect()
    }
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
        let Acquire { local, peer, protocol, mode, reqid, companions, .. } = *acquire;
        let policy_index = Some(acquire.policy_index).filter(|index| *index != 0);
        let what = ChildKey { local, peer, outbound, mode, protocol, reqid, companions };
        Self { what, policy_index, replaces: None }
    }
}

/// The hosts themselves, with protocol and ports of `traffic`.
pub(crate) fn transport_selector(local: IpAddr, peer: IpAddr, traffic: Selector) -> Selector {
    let Selector { protocol, src_port, dst_port, .. } = traffic;
    Selector { protocol, src_port, dst_port, ..Selector::hosts(local, peer) }
}
