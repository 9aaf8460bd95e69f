//! What a setkey script asks for, typed. Each statement keeps its place, so that the kernel's refusal of it can be
//! reported with file and line.

use std::net::IpAddr;

use super::algorithm::Algorithm;
use super::unworded::{UnwordedPolicy, UnwordedSa};
use crate::model::sa::{Action, Direction, Mode, Protocol, ReqId, SecurityContext, Spi, Template};
use crate::model::secret::Secret;
use crate::model::selector::Selector;
use crate::span::Span;

/// The middle of setkey's priorities, and what a policy without `priority` gets.
pub const PRIORITY_DEFAULT: u32 = 0x8000_0000;
/// `priority high`: the kernel consults lower numbers first.
pub const PRIORITY_HIGH: u32 = 0x4000_0000;
/// `priority low`.
pub const PRIORITY_LOW: u32 = 0xc000_0000;

/// A statement and where it stands, from its first word to its `;`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Where.
    pub span: Span,
    /// What.
    pub kind: StatementKind,
}

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// `add`: install an SA.
    Add(Box<NewSa>),
    /// `delete`: remove one SA.
    Delete(SaKey),
    /// `deleteall`: remove every SA between two addresses.
    DeleteAll {
        /// Source.
        src: IpAddr,
        /// Destination.
        dst: IpAddr,
        /// Protocol.
        protocol: Protocol,
    },
    /// `get`: print one SA.
    Get(SaKey),
    /// `getspi`: reserve an SPI, which makes a larval SA.
    GetSpi {
        /// The SPI and whom it is for.
        key: SaKey,
        /// `-m`.
        mode: Mode,
    },
    /// `flush`: remove all SAs, or all of one protocol.
    Flush(Option<Protocol>),
    /// `dump`: print all SAs, or all of one protocol.
    Dump(Option<Protocol>),
    /// `spdadd`: add a policy; one that exists stays and is an error.
    SpdAdd(PolicySpec),
    /// `spdupdate`: add a policy or replace the one that exists.
    SpdUpdate(PolicySpec),
    /// `spddelete`: remove a policy.
    SpdDelete(PolicyKey, Option<SecurityContext>),
    /// `spdflush`: remove all policies.
    SpdFlush,
    /// `spddump`: print all policies.
    SpdDump,
    /// A command that the grammar takes and no Linux kernel ever did; why, in words. It is refused when its turn comes, as
    /// the kernel refused it, and the script goes on.
    Refused(String),
    /// `exit`, `quit`, `bye`: the rest is not read.
    Exit,
}

/// What names an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SaKey {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// SPI, or CPI for IPComp.
    pub spi: Spi,
}

/// `esp-udp`: ESP in UDP (RFC 3948), the ports being those written behind the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpEncapsulation {
    /// Source port; 4500 if none is written.
    pub src_port: u16,
    /// Destination port; 4500 if none is written.
    pub dst_port: u16,
    /// NAT-OA: the peer's address before translation.
    pub original_address: Option<IpAddr>,
}

/// An algorithm with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Which.
    pub algorithm: Algorithm,
    /// Its key; empty for `null`.
    pub key: Secret,
}

/// Limits of an SA; `None` where none is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaLimits {
    /// `-lh`, seconds.
    pub hard_seconds: Option<u64>,
    /// `-ls`, seconds.
    pub soft_seconds: Option<u64>,
    /// `-bh`, octets.
    pub hard_octets: Option<u64>,
    /// `-bs`, octets.
    pub soft_octets: Option<u64>,
    /// Limits that `add` has no words for, and a dump has.
    pub unworded: UnwordedLimits,
}

/// Limits that only a dump speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnwordedLimits {
    /// Seconds since the first use, hard.
    pub hard_used: Option<u64>,
    /// Seconds since the first use, soft.
    pub soft_used: Option<u64>,
    /// Packets, hard.
    pub hard_packets: Option<u64>,
    /// Packets, soft.
    pub soft_packets: Option<u64>,
}

/// An SA to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSa {
    /// Its name.
    pub key: SaKey,
    /// `-m`; `any` (and nothing) is transport, as Linux takes it.
    pub mode: Mode,
    /// `-r`: replay window in packets; `None` is the default.
    pub replay_window: Option<u32>,
    /// `-u`.
    pub reqid: ReqId,
    /// Limits.
    pub limits: SaLimits,
    /// `-E`.
    pub encryption: Option<Keyed>,
    /// `-A`; `None` also for `-A null`.
    pub integrity: Option<Keyed>,
    /// `-C deflate`, of IPComp.
    pub is_deflate: bool,
    /// `esp-udp`.
    pub encapsulation: Option<UdpEncapsulation>,
    /// `-ctx`.
    pub context: Option<SecurityContext>,
    /// PF_KEY's flags (`SADB_SAFLAGS_*`), as a dump has them.
    pub flags: u32,
    /// What neither `add` nor PF_KEY has words for, and a dump has.
    pub unworded: UnwordedSa,
}

/// What names a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyKey {
    /// Which packets.
    pub selector: Selector,
    /// Which way they go.
    pub direction: Direction,
}

/// A policy to add. The twin that RFC mode makes in `fwd` for each `in` is the program's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySpec {
    /// Its name.
    pub key: PolicyKey,
    /// The kernel's priority: smaller is consulted first.
    pub priority: u32,
    /// What happens to a packet.
    pub action: Action,
    /// With [`Action::Ipsec`], at least one.
    pub templates: Vec<Template>,
    /// `-ctx`.
    pub context: Option<SecurityContext>,
    /// Limits: none in a script, but a dump shows those that others gave.
    pub limits: PolicyLimits,
    /// What neither `spdadd` nor PF_KEY has words for, and a dump has.
    pub unworded: UnwordedPolicy,
}

/// Limits of a policy, as a dump has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyLimits {
    /// `lifetime`: seconds since it was added.
    pub since_added: Option<u64>,
    /// `validtime`: seconds since its first use.
    pub since_used: Option<u64>,
}
