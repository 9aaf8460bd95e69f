//! Words about security associations and the policies that ask for them.

use std::fmt;
use std::net::IpAddr;

/// A security parameter index, host order. 0 means none; 1..=255 are reserved (RFC 4303 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spi(pub u32);

impl Spi {
    /// Smallest SPI that may be negotiated.
    pub const MIN: Self = Self(0x100);
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// The kernel's tie between a policy template and its SAs; 0 ties nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReqId(pub u32);

/// What a security module of the kernel (SELinux) looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityContext {
    /// Domain of interpretation.
    pub doi: u8,
    /// Algorithm; 1 is SELinux.
    pub algorithm: u8,
    /// The label.
    pub label: String,
}

/// IPsec protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Encapsulating Security Payload.
    Esp,
    /// Authentication Header.
    Ah,
    /// IP payload compression.
    Ipcomp,
}

impl Protocol {
    /// The IP protocol number (50, 51, 108).
    pub fn ip_number(self) -> u8 {
        match self {
            Self::Esp => 50,
            Self::Ah => 51,
            Self::Ipcomp => 108,
        }
    }

    /// From the IP protocol number.
    pub fn from_ip_number(number: u8) -> Option<Self> {
        match number {
            50 => Some(Self::Esp),
            51 => Some(Self::Ah),
            108 => Some(Self::Ipcomp),
            _ => None,
        }
    }

    /// setkey's spelling.
    pub fn setkey_name(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Ah => "ah",
            Self::Ipcomp => "ipcomp",
        }
    }

    /// The spelling of racoon's log lines.
    pub fn log_name(self) -> &'static str {
        match self {
            Self::Esp => "ESP",
            Self::Ah => "AH",
            Self::Ipcomp => "IPCOMP",
        }
    }
}

/// Encapsulation mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Only the payload of the packet is protected.
    Transport,
    /// The whole packet is wrapped into a new one.
    Tunnel,
}

impl Mode {
    /// setkey's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Tunnel => "tunnel",
        }
    }

    /// The spelling of racoon's log lines.
    pub fn log_name(self) -> &'static str {
        match self {
            Self::Transport => "Transport",
            Self::Tunnel => "Tunnel",
        }
    }
}

/// Direction of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Received by this host.
    In,
    /// Sent by this host.
    Out,
    /// Forwarded through this host.
    Fwd,
}

impl Direction {
    /// setkey's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Fwd => "fwd",
        }
    }
}

/// How strongly a policy insists on an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// As the system's default says: `require`.
    Default,
    /// Use an SA if there is one.
    Use,
    /// No packet without an SA.
    Require,
    /// As `Require`, with SAs of its own; a number names the reqid.
    Unique(Option<ReqId>),
}

/// What a policy does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Drop it.
    Discard,
    /// Let it pass untouched.
    None,
    /// Apply the templates.
    Ipsec,
}

/// One transform a policy asks for (setkey: `esp/tunnel/SRC-DST/require`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// Protocol.
    pub protocol: Protocol,
    /// Mode.
    pub mode: Mode,
    /// Tunnel ends, source first; `None` in transport mode where none is written.
    pub endpoints: Option<(IpAddr, IpAddr)>,
    /// Level.
    pub level: Level,
}
