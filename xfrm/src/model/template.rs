//! The transforms a policy asks for.

use std::net::IpAddr;

use policy::model::sa::{Mode, Protocol, ReqId, Spi};

/// Must a packet be protected by the template's SA?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No packet without it.
    Required,
    /// If there is one.
    Optional,
}

/// One `struct xfrm_user_tmpl`. The algorithm masks are always written as all ones, as every key daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// Protocol.
    pub protocol: Protocol,
    /// Mode.
    pub mode: Mode,
    /// Source and destination of the outer header; `None` takes those of the packet (transport mode).
    pub endpoints: Option<(IpAddr, IpAddr)>,
    /// SPI, if only one will do; 0 any.
    pub spi: Spi,
    /// Ties the template to SAs of the same number; 0 ties nothing.
    pub reqid: ReqId,
    /// Level.
    pub need: Need,
}
