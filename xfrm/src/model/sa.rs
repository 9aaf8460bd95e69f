//! Security associations.

use std::fmt;
use std::net::IpAddr;

use policy::model::sa::{Mode, Protocol, ReqId, SecurityContext, Spi};
use policy::model::secret::Secret;
use policy::model::selector::Selector;

use super::limits::{Lifetimes, Usage};
use super::mark::Mark;

/// Replay window of SAs we make: what a busy path reorders, and twice what the old 32-bit field holds.
pub const DEFAULT_REPLAY_WINDOW: u32 = 64;

/// `XFRM_STATE_ESN`: extended sequence numbers (RFC 4304); the replay window is then always a bitmap.
pub const STATE_ESN: u8 = 128;

/// `XFRM_STATE_AF_UNSPEC`: a tunnel for packets of either family, whichever its own.
pub const STATE_AF_UNSPEC: u8 = 32;

/// `XFRM_STATE_ALIGN4`: the header of AH is padded to 4 octets, as RFC 4302 §3.3.3.2.1 has it for IPv4; the kernel's own
/// default is 8.
pub const STATE_ALIGN4: u8 = 64;

/// Names an SA. The kernel's own key is destination, SPI and protocol (with the mark); the source is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaName {
    /// Protocol.
    pub protocol: Protocol,
    /// SPI.
    pub spi: Spi,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
}

impl fmt::Display for SaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spi {} {} -> {}", self.protocol.setkey_name(), self.spi, self.src, self.dst)
    }
}

/// A cipher by the kernel's name, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// The kernel's name (`cbc(aes)`).
    pub kernel_name: String,
    /// Key; empty for the null cipher.
    pub key: Secret,
}

/// An integrity algorithm by the kernel's name, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrity {
    /// The kernel's name (`hmac(sha256)`).
    pub kernel_name: String,
    /// Key.
    pub key: Secret,
    /// Length of the ICV in bits. Always written (`XFRMA_ALG_AUTH_TRUNC`): the kernel's own default for HMAC-SHA2-256
    /// is 96, RFC 4868 says 128.
    pub icv_bits: u32,
}

/// A combined-mode algorithm by the kernel's name, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aead {
    /// The kernel's name (`rfc4106(gcm(aes))`).
    pub kernel_name: String,
    /// Key followed by salt.
    pub key: Secret,
    /// Length of the ICV in bits.
    pub icv_bits: u32,
}

/// How ESP is wrapped (`UDP_ENCAP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncapKind {
    /// In UDP as draft-ietf-ipsec-nat-t-ike-00/01 had it.
    EspInUdpNonIke,
    /// In UDP (RFC 3948).
    EspInUdp,
    /// In TCP (RFC 8229).
    EspInTcp,
    /// Another one.
    Other(u16),
}

/// `struct xfrm_encap_tmpl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encapsulation {
    /// Kind.
    pub kind: EncapKind,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// The peer's original address (NAT-OA), if known.
    pub original_address: Option<IpAddr>,
}

/// Sequence numbers of an SA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayState {
    /// Last number sent.
    pub sent: u64,
    /// Highest number received.
    pub received: u64,
}

/// `struct xfrm_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets left of the replay window.
    pub replay_window: u32,
    /// Replayed packets.
    pub replay: u32,
    /// Packets with a wrong ICV.
    pub integrity_failed: u32,
}

/// Where an SA is in its life, as PF_KEY names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Only an SPI, or an acquire that waits.
    Larval,
    /// In use.
    Mature,
    /// Past its soft limit.
    Dying,
    /// Past its hard limit.
    Dead,
}

impl Stage {
    /// setkey's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Larval => "larval",
            Self::Mature => "mature",
            Self::Dying => "dying",
            Self::Dead => "dead",
        }
    }
}

/// One SA. `Debug` shows no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sa {
    /// Name.
    pub name: SaName,
    /// Mode.
    pub mode: Mode,
    /// Ties it to templates.
    pub reqid: ReqId,
    /// Which packets may use it; `None` leaves that to the policies.
    pub selector: Option<Selector>,
    /// Cipher.
    pub encryption: Option<Encryption>,
    /// Integrity.
    pub integrity: Option<Integrity>,
    /// Both at once.
    pub aead: Option<Aead>,
    /// Compression by the kernel's name (`deflate`).
    pub compression: Option<String>,
    /// Packets; beyond 32 the kernel keeps a bitmap (`XFRMA_REPLAY_ESN_VAL`, without extended sequence numbers).
    pub replay_window: u32,
    /// Limits.
    pub lifetimes: Lifetimes,
    /// UDP or TCP encapsulation.
    pub encapsulation: Option<Encapsulation>,
    /// Mark that is part of the SA's name.
    pub mark: Option<Mark>,
    /// Mark set on packets the SA has processed.
    pub output_mark: Option<Mark>,
    /// XFRM interface.
    pub if_id: Option<u32>,
    /// What a security module looks at.
    pub context: Option<SecurityContext>,
    /// `XFRM_STATE_*`.
    pub flags: u8,
    /// `XFRM_SA_XFLAG_*`.
    pub extra_flags: u32,
    /// Sequence number of the acquire that led to it.
    pub seq: u32,
    /// How far it has come. Written where it is not zero: an SA that moves keeps its age.
    pub usage: Usage,
    /// Sequence numbers. Written with a window beyond 32, so that an SA that moves goes on behind them.
    pub replay: ReplayState,
    /// Errors; told by the kernel, not written.
    pub statistics: Statistics,
    /// When it was last used, Unix seconds; told by kernels that keep it, not written.
    pub last_used: Option<u64>,
}

impl Sa {
    /// An SA without algorithms, limits or marks, with our default replay window.
    pub fn new(name: SaName, mode: Mode) -> Self {
        Self {
            name,
            mode,
            reqid: ReqId(0),
            selector: None,
            encryption: None,
            integrity: None,
            aead: None,
            compression: None,
            replay_window: DEFAULT_REPLAY_WINDOW,
            lifetimes: Lifetimes::default(),
            encapsulation: None,
            mark: None,
            output_mark: None,
            if_id: None,
            context: None,
            flags: 0,
            extra_flags: 0,
            seq: 0,
            usage: Usage::default(),
            replay: ReplayState::default(),
            statistics: Statistics::default(),
            last_used: None,
        }
    }

    /// Where it is in its life at `now` (Unix seconds). The kernel does not say; algorithms and limits do.
    pub fn stage(&self, now: u64) -> Stage {
        let has_algorithm =
            self.encryption.is_some() || self.integrity.is_some() || self.aead.is_some() || self.compression.is_some();
        if !has_algorithm {
            Stage::Larval
        } else if self.is_past(&self.lifetimes.hard, now) {
            Stage::Dead
        } else if self.is_past(&self.lifetimes.soft, now) {
            Stage::Dying
        } else {
            Stage::Mature
        }
    }

    fn is_past(&self, limits: &super::limits::Limits, now: u64) -> bool {
        let since = |start: u64| now.saturating_sub(start);
        let used = &self.usage;
        limits.since_added.is_some_and(|limit| since(used.added_at) >= limit.as_secs())
            || (used.used_at != 0 && limits.since_used.is_some_and(|limit| since(used.used_at) >= limit.as_secs()))
            || limits.bytes.is_some_and(|limit| used.bytes >= limit)
            || limits.packets.is_some_and(|limit| used.packets >= limit)
    }
}
