//! Policies as the core and its driver speak of them: what the kernel asks for, what fits a peer's quick mode, what is
//! made for a peer that has none.

use std::net::IpAddr;

use policy::model::sa::{Mode, Protocol, ReqId};
use policy::model::selector::Selector;

use crate::phase2::wish::ChildKey;

/// A kernel ACQUIRE in our words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// The flow that met the policy.
    pub flow: Selector,
    /// The selector of the policy.
    pub policy: Selector,
    /// The kernel's index of the policy; 0 if unknown.
    pub policy_index: u32,
    /// Our end: tunnel source, or the flow's source in transport mode.
    pub local: IpAddr,
    /// The peer: tunnel destination, or the flow's destination in transport mode.
    pub peer: IpAddr,
    /// The main protocol of the policy: ESP, or AH where there is no ESP.
    pub protocol: Protocol,
    /// Tunnel if one of the policy's templates is one.
    pub mode: Mode,
    /// reqid of the main protocol's template.
    pub reqid: ReqId,
    /// What the policy wants beside the main protocol.
    pub companions: Companions,
}

/// Other protocols that a policy asks for with the main one, negotiated as a proposal of several protocols (RFC 2408
/// §4.2): AH around ESP, compression inside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Companions {
    /// A companion makes the tunnel: the SA of the main protocol is one of transport mode in it.
    pub main_in_transport: bool,
    /// AH.
    pub ah: Option<Companion>,
    /// IPComp (RFC 3173).
    pub ipcomp: Option<Companion>,
}

impl Companions {
    /// None, as with nearly every policy.
    pub const NONE: Self = Self { main_in_transport: false, ah: None, ipcomp: None };
}

/// One of [`Companions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Companion {
    /// Mode of its template.
    pub mode: Mode,
    /// reqid of its template.
    pub reqid: ReqId,
    /// Level `use`: packets may go without it. Only in transport mode: nothing could stand in for a tunnel.
    pub optional: bool,
}

/// Which protocols a peer proposes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offers(u8);

impl Offers {
    /// As above, with one more alternative.
    #[must_use]
    pub fn with(self, protocols: &[Protocol]) -> Self {
        Self(self.0 | 1 << Self::number(protocols))
    }

    /// Is there an alternative of all of `required` and nothing beyond `required` and `optional`?
    pub fn fit(self, required: &[Protocol], optional: &[Protocol]) -> bool {
        let (required, optional) = (Self::number(required), Self::number(optional));
        (0..8_u8).any(|set| self.0 & 1 << set != 0 && set & required == required && set & !(required | optional) == 0)
    }

    fn number(protocols: &[Protocol]) -> u8 {
        protocols.iter().fold(0, |number, protocol| {
            number
                | match protocol {
                    Protocol::Esp => 1,
                    Protocol::Ah => 2,
                    Protocol::Ipcomp => 4,
                }
        })
    }
}

/// For [`Output::FindPolicy`](super::Output::FindPolicy): selectors as seen by this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyQuery {
    /// Outbound selector (source is our side).
    pub outbound: Selector,
    /// Mode the peer proposes.
    pub mode: Mode,
    /// Main protocol of its first proposal.
    pub protocol: Protocol,
    /// Protocols of all its proposals.
    pub offers: Offers,
    /// Our end of the ISAKMP SA.
    pub local: IpAddr,
    /// The peer's end.
    pub peer: IpAddr,
}

/// The policy that wants the SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyMatch {
    /// Its main protocol.
    pub protocol: Protocol,
    /// reqid of that protocol's template.
    pub reqid: ReqId,
    /// Its other protocols.
    pub companions: Companions,
    /// Selector of the outbound policy.
    pub outbound: Selector,
}

/// A policy for a peer that has none (racoon.conf: `generate_policy`), as seen by this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedPolicy {
    /// Outbound selector (source is our side).
    pub outbound: Selector,
    /// Mode.
    pub mode: Mode,
    /// Protocol.
    pub protocol: Protocol,
    /// Our end.
    pub local: IpAddr,
    /// The peer's end.
    pub peer: IpAddr,
    /// `generate_policy unique`: a reqid of its own.
    pub unique: bool,
}

impl GeneratedPolicy {
    /// The traffic that it is for.
    pub(crate) fn key(&self, reqid: ReqId) -> ChildKey {
        let Self { outbound, mode, protocol, local, peer, .. } = *self;
        ChildKey { local, peer, outbound, mode, protocol, reqid, companions: Companions::NONE }
    }
}
