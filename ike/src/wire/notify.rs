//! The notification payload (RFC 2408 §3.14).

use super::error::WireError;
use super::number::{NotifyType, ProtocolId};
use super::reader::Reader;
use super::writer::Writer;

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyPayload {
    /// Domain of interpretation; 0 is ISAKMP itself, 1 IPsec.
    pub doi: u32,
    /// Protocol it is about.
    pub protocol: ProtocolId,
    /// What it says.
    pub kind: NotifyType,
    /// The SA it is about: both cookies, an SPI, or nothing.
    pub spi: Vec<u8>,
    /// More, by type.
    pub data: Vec<u8>,
}

impl NotifyPayload {
    /// Reads the body of a notification payload. DOI, protocol and SPI size are the reader's to judge, by type.
    ///
    /// # Errors
    /// [`WireError::Truncated`] for a body shorter than its fields.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let doi = reader.u32("DOI")?;
        let protocol = ProtocolId(reader.u8("protocol")?);
        let size = usize::from(reader.u8("SPI size")?);
        let kind = NotifyType(reader.u16("notify type")?);
        let spi = reader.take(size, "SPI")?.to_vec();
        Ok(Self { doi, protocol, kind, spi, data: reader.rest().to_vec() })
    }

    /// The body as octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let spi = self.spi.get(..usize::from(u8::MAX)).unwrap_or(&self.spi);
        let size = u8::try_from(spi.len()).unwrap_or(u8::MAX);
        writer.u32(self.doi).u8(self.protocol.0).u8(size).u16(self.kind.0).octets(spi).octets(&self.data);
        writer.into_octets()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_truncation() {
        let notify = NotifyPayload {
            doi: 1,
            protocol: ProtocolId::ISAKMP,
            kind: NotifyType::R_U_THERE,
            spi: (0..16).collect(),
            data: vec![0, 0, 0, 9],
        };
        let octets = notify.encode();
        assert_eq!(octets[..8], [0, 0, 0, 1, 1, 16, 0x8d, 0x28]);
        assert_eq!(NotifyPayload::decode(&octets), Ok(notify));
        for cut in 0..24 {
            assert!(matches!(NotifyPayload::decode(&octets[..cut]), Err(WireError::Truncated { .. })), "{cut}");
        }
    }
}
