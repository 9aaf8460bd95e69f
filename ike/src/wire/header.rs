//! The ISAKMP header (RFC 2408 §3.1).

use std::fmt;

use super::error::WireError;
use super::number::{ExchangeType, Flags, PayloadType};
use super::reader::Reader;

/// One side's half of the name of an ISAKMP SA.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cookie(pub [u8; 8]);

impl Cookie {
    /// No cookie yet: the responder's in the first message.
    pub const ZERO: Self = Self([0; 8]);

    /// Is this no cookie?
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The fixed part of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Initiator cookie.
    pub initiator: Cookie,
    /// Responder cookie.
    pub responder: Cookie,
    /// Type of the first payload.
    pub next: PayloadType,
    /// Major version in the upper four bits, minor in the lower.
    pub version: u8,
    /// Exchange type.
    pub exchange: ExchangeType,
    /// Flags.
    pub flags: Flags,
    /// Message ID; 0 in phase 1.
    pub message_id: u32,
    /// Octets of the whole message, this header included.
    pub length: u32,
}

impl Header {
    /// Octets of a header.
    pub const LEN: usize = 28;

    /// ISAKMP 1.0.
    pub const VERSION: u8 = 0x10;

    /// Reads the header of a datagram. Octets beyond its length are not looked at; the caller cuts them off.
    ///
    /// # Errors
    /// [`WireError`] if the datagram is shorter than a header or than its length field, the major version is not 1, a
    /// flag is unknown (RFC 2408 §5.2), or the length is below that of a header.
    pub fn decode(datagram: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(datagram);
        let header = Self {
            initiator: Cookie(reader.array("initiator cookie")?),
            responder: Cookie(reader.array("responder cookie")?),
            next: PayloadType(reader.u8("next payload")?),
            version: reader.u8("version")?,
            exchange: ExchangeType(reader.u8("exchange type")?),
            flags: Flags(reader.u8("flags")?),
            message_id: reader.u32("message ID")?,
            length: reader.u32("message length")?,
        };
        if header.version >> 4 != Self::VERSION >> 4 {
            return Err(WireError::MajorVersion(header.version));
        }
        if header.flags.unknown() != 0 {
            return Err(WireError::UnknownFlags(header.flags.unknown()));
        }
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if length < Self::LEN {
            return Err(WireError::LengthTooSmall { what: "message", offset: 0, length, least: Self::LEN });
        }
        if datagram.len() < length {
            return Err(WireError::DatagramTooShort { length: header.length, octets: datagram.len() });
        }
        Ok(header)
    }

    /// The payloads of the datagram this header was read from: what lies between the header and its length.
    pub fn body<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        usize::try_from(self.length).ok().and_then(|length| datagram.get(Self::LEN..length)).unwrap_or_default()
    }

    /// As octets.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut octets = [0; Self::LEN];
        let fields: [&[u8]; 5] = [
            &self.initiator.0,
            &self.responder.0,
            &[self.next.0, self.version, self.exchange.0, self.flags.0],
            &self.message_id.to_be_bytes(),
            &self.length.to_be_bytes(),
        ];
        for (octet, value) in octets.iter_mut().zip(fields.into_iter().flatten()) {
            *octet = *value;
        }
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            initiator: Cookie([1, 2, 3, 4, 5, 6, 7, 8]),
            responder: Cookie([9; 8]),
            next: PayloadType::HASH,
            version: Header::VERSION,
            exchange: ExchangeType::QUICK,
            flags: Flags::ENCRYPTED,
            message_id: 0x1234_5678,
            length: 28,
        }
    }

    #[test]
    fn round_trip() {
        let octets = sample().encode();
        assert_eq!(octets[16..], [8, 0x10, 32, 1, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 28]);
        assert_eq!(Header::decode(&octets), Ok(sample()));
        assert_eq!(sample().initiator.to_string(), "0102030405060708");
    }

    #[test]
    fn refuses_what_rfc_2408_section_5_2_refuses() {
        let with = |position: usize, value: u8| {
            let mut octets = sample().encode();
            octets[position] = value;
            Header::decode(&octets)
        };
        assert_eq!(with(17, 0x30), Err(WireError::MajorVersion(0x30)));
        assert_eq!(with(17, 0x11).map(|header| header.version), Ok(0x11));
        assert_eq!(with(19, 0x09), Err(WireError::UnknownFlags(8)));
        assert!(matches!(with(27, 27), Err(WireError::LengthTooSmall { length: 27, .. })));
        assert_eq!(with(27, 29), Err(WireError::DatagramTooShort { length: 29, octets: 28 }));
        assert_eq!(with(24, 0xff), Err(WireError::DatagramTooShort { length: 0xff00_001c, octets: 28 }));
        for cut in 0..Header::LEN {
            assert!(matches!(Header::decode(&sample().encode()[..cut]), Err(WireError::Truncated { .. })));
        }
    }

    #[test]
    fn a_longer_datagram_is_cut_to_the_length() {
        let mut octets = Header { length: 30, ..sample() }.encode().to_vec();
        octets.extend([1, 2, 3, 4]);
        let header = Header::decode(&octets).unwrap();
        assert_eq!(header.body(&octets), [1, 2]);
    }
}
