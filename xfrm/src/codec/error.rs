//! What can be wrong with the kernel's octets, or with a value that is to become octets.

use thiserror::Error;

/// A message that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// Fewer octets than the structure has.
    #[error("{what} has {got} octets, needs {needed}")]
    Truncated {
        /// Structure.
        what: &'static str,
        /// Octets there.
        got: usize,
        /// Octets needed.
        needed: usize,
    },
    /// A length that contradicts its surroundings.
    #[error("{what} claims {claimed} octets of {available}")]
    Length {
        /// Structure.
        what: &'static str,
        /// Octets claimed.
        claimed: usize,
        /// Octets there.
        available: usize,
    },
    /// The key length field says more than there is.
    #[error("key of {name} claims {bits} bits, {octets} octets follow")]
    KeyLength {
        /// Algorithm.
        name: String,
        /// Bits claimed.
        bits: u32,
        /// Octets there.
        octets: usize,
    },
    /// An algorithm's name longer than the kernel's field.
    #[error("algorithm name `{0}` is empty, too long or not ASCII")]
    AlgorithmName(String),
    /// Neither AF_INET nor AF_INET6.
    #[error("address family {0} is neither IPv4 nor IPv6")]
    Family(u16),
    /// Addresses of one object are not of one family.
    #[error("{0} mixes IPv4 and IPv6 addresses")]
    MixedFamilies(&'static str),
    /// A prefix longer than the address.
    #[error("prefix length {0} is longer than the address")]
    Prefix(u8),
    /// A protocol that is not ESP, AH or IPCOMP.
    #[error("protocol {0} is not esp, ah or ipcomp")]
    Protocol(u8),
    /// A mode that is neither transport nor tunnel.
    #[error("mode {0} is neither transport nor tunnel")]
    Mode(u8),
    /// A direction unknown to us.
    #[error("policy direction {0} is unknown")]
    Direction(u8),
    /// An action unknown to us.
    #[error("policy action {0} is unknown")]
    Action(u8),
    /// More templates than the kernel takes.
    #[error("{0} templates in a policy, the kernel takes 6")]
    TooManyTemplates(usize),
    /// A replay window the kernel does not take.
    #[error("replay window {0} is larger than 4096")]
    ReplayWindow(u32),
    /// A message without an attribute it must have.
    #[error("{0} carries no {1}")]
    MissingAttribute(&'static str, &'static str),
    /// A policy of a socket cannot be named in a request.
    #[error("a policy of a socket cannot be set by netlink")]
    SocketPolicy,
}
