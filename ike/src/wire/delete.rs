//! The delete payload (RFC 2408 §3.15).

use super::error::WireError;
use super::number::ProtocolId;
use super::reader::Reader;
use super::writer::Writer;

/// SPIs accepted in one payload.
pub const MAX_SPIS: usize = 512;

/// The sender no longer holds these SAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletePayload {
    /// Domain of interpretation; some Cisco clients send 0.
    pub doi: u32,
    /// Protocol of the SAs.
    pub protocol: ProtocolId,
    /// The sender's inbound SPIs, or cookie pairs; all of the protocol's SPI size.
    pub spis: Vec<Vec<u8>>,
}

impl DeletePayload {
    /// Reads the body of a delete payload.
    ///
    /// # Errors
    /// [`WireError`] for an unknown protocol, an SPI size it does not have, no SPI or more than [`MAX_SPIS`], or a
    /// length that is not their number times their size.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let doi = reader.u32("DOI")?;
        let protocol = ProtocolId(reader.u8("protocol")?);
        let size = usize::from(reader.u8("SPI size")?);
        let announced = usize::from(reader.u16("number of SPIs")?);
        let fits = match protocol {
            ProtocolId::ISAKMP => size == 16,
            ProtocolId::AH | ProtocolId::ESP => size == 4,
            // A CPI has two octets; both sizes are in the field (RFC 3173 §4.1).
            ProtocolId::IPCOMP => matches!(size, 2 | 4),
            other => return Err(WireError::UnknownProtocol(other)),
        };
        if !fits {
            return Err(WireError::SpiSize { protocol, size });
        }
        let offset = reader.offset();
        if announced > MAX_SPIS {
            return Err(WireError::TooMany { what: "SPIs", limit: MAX_SPIS, offset });
        }
        if announced == 0 {
            return Err(WireError::Missing { what: "SPI", offset });
        }
        let spis = reader.take(announced * size, "SPIs")?.chunks_exact(size).map(<[u8]>::to_vec).collect();
        reader.finish("the SPIs")?;
        Ok(Self { doi, protocol, spis })
    }

    /// The body as octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let size = self.spis.first().map_or(0, Vec::len);
        writer.u32(self.doi).u8(self.protocol.0).u8(u8::try_from(size).unwrap_or(u8::MAX));
        writer.u16(u16::try_from(self.spis.len()).unwrap_or(u16::MAX));
        self.spis.iter().for_each(|spi| {
            writer.octets(spi);
        });
        writer.into_octets()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(protocol: u8, size: u8, count: u16, octets: usize) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 1, protocol, size];
        body.extend(count.to_be_bytes());
        body.extend(vec![7; octets]);
        body
    }

    #[test]
    fn round_trip() {
        let delete =
            DeletePayload { doi: 1, protocol: ProtocolId::ESP, spis: vec![vec![1, 2, 3, 4], vec![5, 6, 7, 8]] };
        assert_eq!(delete.encode(), [0, 0, 0, 1, 3, 4, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(DeletePayload::decode(&delete.encode()), Ok(delete));
        assert_eq!(DeletePayload::decode(&body(1, 16, 1, 16)).map(|delete| delete.spis), Ok(vec![vec![7; 16]]));
    }

    #[test]
    fn length_must_be_count_times_size() {
        let refused = |protocol, size, count, octets| DeletePayload::decode(&body(protocol, size, count, octets));
        assert!(matches!(refused(3, 4, 2, 4), Err(WireError::Truncated { needed: 8, left: 4, .. })));
        assert!(matches!(refused(3, 4, 1, 8), Err(WireError::Trailing { octets: 4, .. })));
        assert!(matches!(refused(3, 4, 0xffff, 4), Err(WireError::TooMany { limit: MAX_SPIS, .. })));
        assert!(matches!(refused(3, 4, 0, 0), Err(WireError::Missing { .. })));
        for size in [0, 3, 5, 16, 255] {
            assert!(matches!(refused(3, size, 1, usize::from(size)), Err(WireError::SpiSize { .. })), "{size}");
        }
        assert!(matches!(refused(1, 8, 1, 8), Err(WireError::SpiSize { .. })));
        assert_eq!(refused(9, 4, 1, 4), Err(WireError::UnknownProtocol(ProtocolId(9))));
    }
}
