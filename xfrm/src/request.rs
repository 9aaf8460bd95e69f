//! What the kernel can be asked, and what it answers.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_xfrm::constants::{
    IPSEC_PROTO_ANY, XFRM_MSG_ALLOCSPI, XFRM_MSG_DELPOLICY, XFRM_MSG_DELSA, XFRM_MSG_FLUSHPOLICY, XFRM_MSG_FLUSHSA,
    XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA, XFRM_MSG_GETSADINFO, XFRM_MSG_GETSPDINFO, XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA,
    XFRM_MSG_UPDPOLICY, XFRM_MSG_UPDSA,
};
use policy::model::sa::{Mode, Protocol, ReqId, Spi};

use crate::abi::{Kind, NLM_F_ACK, NLM_F_ADD, NLM_F_REQUEST};
use crate::codec::error::CodecError;
use crate::codec::policy::{write_list, write_policy, write_policy_key};
use crate::codec::sa::{write_sa, write_sa_id, write_spi_request};
use crate::codec::writer::MessageWriter;
use crate::model::mark::Mark;
use crate::model::policy::{List, Policy, PolicyKey, PolicyTarget, RawPolicy};
use crate::model::sa::{Sa, SaName};

/// For ALLOCSPI: the SA will run from `src` to `dst`. The kernel keeps a larval SA for `net.core.xfrm_acq_expires`
/// seconds (30), and picks the SPI at random from the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiRequest {
    /// Protocol.
    pub protocol: Protocol,
    /// Source: the peer.
    pub src: IpAddr,
    /// Destination: our side, as the receiver chooses the SPI.
    pub dst: IpAddr,
    /// Mode.
    pub mode: Mode,
    /// Reqid.
    pub reqid: ReqId,
    /// Smallest SPI wanted.
    pub min: Spi,
    /// Largest SPI wanted.
    pub max: Spi,
    /// Mark.
    pub mark: Option<Mark>,
    /// XFRM interface.
    pub if_id: Option<u32>,
    /// Sequence number of the acquire whose larval SA shall get the SPI; 0 makes a new one.
    pub seq: u32,
}

impl SpiRequest {
    /// Any SPI that may be negotiated: 0x100..=0xffffffff (RFC 4303 §2.1), for IPComp a CPI 0x100..=0xefff
    /// (RFC 3173 §3.3).
    pub fn new(protocol: Protocol, src: IpAddr, dst: IpAddr, mode: Mode, reqid: ReqId) -> Self {
        let max = if protocol == Protocol::Ipcomp { Spi(0xefff) } else { Spi(u32::MAX) };
        Self { protocol, src, dst, mode, reqid, min: Spi::MIN, max, mark: None, if_id: None, seq: 0 }
    }
}

/// One question. Dumps are asked by `Connection::dump_sas` and `Connection::dump_policies`.
#[derive(Clone, Debug)]
pub enum Request {
    /// NEWSA: refused with EEXIST if an SA of that name is there, larval ones included.
    AddSa(Box<Sa>),
    /// UPDSA: replaces a larval SA; refused with ESRCH if there is none.
    UpdateSa(Box<Sa>),
    /// DELSA.
    DeleteSa {
        /// Which one.
        name: SaName,
        /// Its mark.
        mark: Option<Mark>,
    },
    /// GETSA, answered with [`Reply::Sa`].
    GetSa {
        /// Which one.
        name: SaName,
        /// Its mark.
        mark: Option<Mark>,
    },
    /// ALLOCSPI, answered with [`Reply::Sa`]: the larval SA.
    AllocateSpi(SpiRequest),
    /// FLUSHSA: every SA of a protocol, whoever made it; `None` ESP, AH and IPComp (mobile IPv6's stay).
    FlushSas(Option<Protocol>),
    /// NEWPOLICY: refused with EEXIST if the selector has one in this direction.
    AddPolicy(Box<Policy>),
    /// UPDPOLICY: replaces, or adds.
    UpdatePolicy(Box<Policy>),
    /// UPDPOLICY with what GETPOLICY gave: changes nothing, but the kernel sends the packets it held for the policy.
    RefreshPolicy(RawPolicy),
    /// DELPOLICY.
    DeletePolicy(PolicyKey),
    /// GETPOLICY, answered with [`Reply::Policy`].
    GetPolicy(PolicyKey),
    /// FLUSHPOLICY: every policy of a list, whoever made it; policies of sockets stay.
    FlushPolicies(List),
    /// GETSADINFO, answered with [`Reply::SadInfo`].
    SadInfo,
    /// GETSPDINFO, answered with [`Reply::SpdInfo`].
    SpdInfo,
}

/// A kernel's counts of SAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SadInfo {
    /// SAs.
    pub count: u32,
    /// Hash buckets.
    pub buckets: u32,
    /// Most hash buckets there may be.
    pub max_buckets: u32,
}

/// A kernel's counts of policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpdInfo {
    /// Inbound.
    pub inbound: u32,
    /// Outbound.
    pub outbound: u32,
    /// Forward.
    pub forward: u32,
    /// Inbound, of sockets.
    pub socket_inbound: u32,
    /// Outbound, of sockets.
    pub socket_outbound: u32,
    /// Forward, of sockets.
    pub socket_forward: u32,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done; there is nothing to tell.
    Done,
    /// An SA.
    Sa(Box<Sa>),
    /// A policy, and the same as it came.
    Policy(Box<Policy>, RawPolicy),
    /// Counts of SAs.
    SadInfo(SadInfo),
    /// Counts of policies.
    SpdInfo(SpdInfo),
}

impl Request {
    /// Netlink message type.
    pub fn kind(&self) -> Kind {
        Kind(match self {
            Self::AddSa(_) => XFRM_MSG_NEWSA,
            Self::UpdateSa(_) => XFRM_MSG_UPDSA,
            Self::DeleteSa { .. } => XFRM_MSG_DELSA,
            Self::GetSa { .. } => XFRM_MSG_GETSA,
            Self::AllocateSpi(_) => XFRM_MSG_ALLOCSPI,
            Self::FlushSas(_) => XFRM_MSG_FLUSHSA,
            Self::AddPolicy(_) => XFRM_MSG_NEWPOLICY,
            Self::UpdatePolicy(_) | Self::RefreshPolicy(_) => XFRM_MSG_UPDPOLICY,
            Self::DeletePolicy(_) => XFRM_MSG_DELPOLICY,
            Self::GetPolicy(_) => XFRM_MSG_GETPOLICY,
            Self::FlushPolicies(_) => XFRM_MSG_FLUSHPOLICY,
            Self::SadInfo => XFRM_MSG_GETSADINFO,
            Self::SpdInfo => XFRM_MSG_GETSPDINFO,
        })
    }

    /// Does the kernel send a message besides the ACK?
    pub fn has_reply(&self) -> bool {
        matches!(self, Self::GetSa { .. } | Self::AllocateSpi(_) | Self::GetPolicy(_) | Self::SadInfo | Self::SpdInfo)
    }

    /// Appends the message. On an error nothing is appended.
    pub fn write(&self, writer: &mut MessageWriter, sequence: u32) -> Result<(), CodecError> {
        let addition = match self {
            Self::AddSa(_) | Self::AddPolicy(_) => NLM_F_ADD,
            _ => 0,
        };
        writer.begin(self.kind().0, NLM_F_REQUEST | NLM_F_ACK | addition, sequence);
        match self.write_payload(writer) {
            Ok(()) => {
                writer.finish();
                Ok(())
            }
            Err(error) => {
                writer.abandon();
                Err(error)
            }
        }
    }

    fn write_payload(&self, writer: &mut MessageWriter) -> Result<(), CodecError> {
        match self {
            Self::AddSa(sa) | Self::UpdateSa(sa) => write_sa(writer, sa)?,
            Self::DeleteSa { name, mark } | Self::GetSa { name, mark } => write_sa_id(writer, name, *mark),
            Self::AllocateSpi(request) => write_spi_request(writer, request)?,
            Self::FlushSas(protocol) => writer.raw(&[protocol.map_or(IPSEC_PROTO_ANY, Protocol::ip_number)]),
            Self::AddPolicy(policy) | Self::UpdatePolicy(policy) => write_policy(writer, policy)?,
            Self::RefreshPolicy(raw) => writer.raw(&raw.0),
            Self::DeletePolicy(key) | Self::GetPolicy(key) => write_policy_key(writer, key)?,
            Self::FlushPolicies(list) => write_list(writer, *list),
            Self::SadInfo | Self::SpdInfo => writer.raw(&u32::MAX.to_ne_bytes()),
        }
        Ok(())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self {
            Self::AddSa(sa) | Self::UpdateSa(sa) => write!(f, " {}", sa.name),
            Self::DeleteSa { name, .. } | Self::GetSa { name, .. } => write!(f, " {name}"),
            Self::AllocateSpi(request) => {
                write!(f, " {} {} -> {}", request.protocol.setkey_name(), request.src, request.dst)
            }
            Self::FlushSas(protocol) => write!(f, " {}", protocol.map_or("any", Protocol::setkey_name)),
            Self::AddPolicy(policy) | Self::UpdatePolicy(policy) => write_policy_name(f, &policy.key()),
            Self::DeletePolicy(key) | Self::GetPolicy(key) => write_policy_name(f, key),
            Self::RefreshPolicy(_) | Self::FlushPolicies(_) | Self::SadInfo | Self::SpdInfo => Ok(()),
        }
    }
}

fn write_policy_name(f: &mut fmt::Formatter<'_>, key: &PolicyKey) -> fmt::Result {
    match &key.target {
        PolicyTarget::Index(index) => write!(f, " {} index {index}", key.direction.name()),
        PolicyTarget::Selector { selector, .. } => write!(f, " {} {selector}", key.direction.name()),
    }
}
