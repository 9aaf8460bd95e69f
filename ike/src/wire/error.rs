//! What can be wrong with received octets: the fact, and where.

use thiserror::Error;

use super::number::{IdType, PayloadType, ProtocolId};

/// A malformed message. Offsets count octets from the start of what was given to the decoder.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Fewer octets than a field takes.
    #[error("{what} at octet {offset} takes {needed} octets, {left} are left")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// Its length.
        needed: usize,
        /// What is there.
        left: usize,
    },
    /// Octets where the structure has ended.
    #[error("{octets} octets at octet {offset} follow the end of {what}")]
    Trailing {
        /// The structure.
        what: &'static str,
        /// Where it ended.
        offset: usize,
        /// How many follow.
        octets: usize,
    },
    /// A length field below what the structure takes at least.
    #[error("length {length} of {what} at octet {offset} is below {least}")]
    LengthTooSmall {
        /// The structure.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// The length field.
        length: usize,
        /// The least legal value.
        least: usize,
    },
    /// The datagram is shorter than its header says.
    #[error("datagram of {octets} octets is shorter than the {length} its header announces")]
    DatagramTooShort {
        /// Length field of the header.
        length: u32,
        /// Octets received.
        octets: usize,
    },
    /// Major version other than 1.
    #[error("version {}.{} is not ISAKMP 1", .0 >> 4, .0 & 15)]
    MajorVersion(u8),
    /// Flags that no document defines.
    #[error("unknown header flags 0x{0:02x}")]
    UnknownFlags(u8),
    /// A payload type that may not stand there.
    #[error("payload type {} at octet {offset} is not known", kind.0)]
    InvalidPayloadType {
        /// The type.
        kind: PayloadType,
        /// Where the payload begins.
        offset: usize,
    },
    /// The next-payload field inside an SA payload names something else than its kind or the end.
    #[error("next payload {next} of {what} at octet {offset} is neither its own kind nor the end")]
    InnerNextPayload {
        /// The structure.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// The field.
        next: u8,
    },
    /// More of something than is accepted.
    #[error("more than {limit} of {what} at octet {offset}")]
    TooMany {
        /// What.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// Where the first beyond it begins.
        offset: usize,
    },
    /// None where at least one must be.
    #[error("no {what} at octet {offset}")]
    Missing {
        /// What.
        what: &'static str,
        /// Where it should be.
        offset: usize,
    },
    /// A count field that disagrees with what follows.
    #[error("{what} at octet {offset} announces {announced} and holds {found}")]
    Count {
        /// The structure.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// The count field.
        announced: usize,
        /// What was found.
        found: usize,
    },
    /// A domain of interpretation other than IPsec.
    #[error("DOI {0} is not IPsec")]
    UnsupportedDoi(u32),
    /// A situation other than identity only.
    #[error("situation 0x{0:08x} is not identity only")]
    UnsupportedSituation(u32),
    /// An SPI size the protocol does not have.
    #[error("SPI size {size} does not fit {protocol:?}")]
    SpiSize {
        /// The protocol.
        protocol: ProtocolId,
        /// The size field.
        size: usize,
    },
    /// A protocol that has no SPIs we know.
    #[error("protocol {} is not known", .0.0)]
    UnknownProtocol(ProtocolId),
    /// Identification data of a length its type does not have.
    #[error("identification {kind:?} of {octets} octets")]
    IdLength {
        /// The type.
        kind: IdType,
        /// Octets of data.
        octets: usize,
    },
    /// An identification type that has no meaning here.
    #[error("identification type {} is not supported", .0.0)]
    IdType(IdType),
    /// A subnet mask with a hole.
    #[error("subnet mask is not contiguous")]
    IdMask,
    /// A range that ends before it begins.
    #[error("address range ends before it begins")]
    IdRange,
    /// A name that is not UTF-8 or holds a control character.
    #[error("{kind:?} is not plain text")]
    IdText {
        /// The type.
        kind: IdType,
    },
}
