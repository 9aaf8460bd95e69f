//! The SA payload with its proposals and transforms (RFC 2408 §3.4 to §3.6, RFC 2407 §4.6.1).

use super::attribute::Attribute;
use super::error::WireError;
use super::message::{GENERIC_HEADER, generic};
use super::number::{DOI_IPSEC, PayloadType, ProtocolId, SIT_IDENTITY_ONLY};
use super::reader::Reader;
use super::writer::Writer;

/// Proposals accepted in one SA payload.
pub const MAX_PROPOSALS: usize = 32;

/// Transforms accepted in one proposal: all its count field can say.
pub const MAX_TRANSFORMS: usize = 255;

/// Longest SPI of RFC 2408 §3.5: both cookies.
const MAX_SPI: usize = 16;

/// What is proposed, or chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaPayload {
    /// Domain of interpretation; 1 for IPsec.
    pub doi: u32,
    /// Situation; 1 for identity only.
    pub situation: u32,
    /// In order of preference; equal numbers belong together (RFC 2408 §4.2).
    pub proposals: Vec<Proposal>,
}

/// One protocol of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Proposal number.
    pub number: u8,
    /// Protocol.
    pub protocol: ProtocolId,
    /// The sender's SPI.
    pub spi: Vec<u8>,
    /// Alternatives, preferred first.
    pub transforms: Vec<Transform>,
}

/// One alternative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Transform number.
    pub number: u8,
    /// Transform identifier of the protocol's registry.
    pub id: u8,
    /// Attributes in the order they were sent.
    pub attributes: Vec<Attribute>,
}

impl SaPayload {
    /// A payload of the IPsec DOI and identity only.
    pub fn new(proposals: Vec<Proposal>) -> Self {
        Self { doi: DOI_IPSEC, situation: SIT_IDENTITY_ONLY, proposals }
    }

    /// Reads the body of an SA payload.
    ///
    /// # Errors
    /// [`WireError::UnsupportedDoi`] and [`WireError::UnsupportedSituation`] before anything behind them is looked at
    /// (ATTACKS A-26); otherwise another [`WireError`] for lengths, counts or next-payload fields that disagree.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let doi = reader.u32("DOI")?;
        if doi != DOI_IPSEC {
            return Err(WireError::UnsupportedDoi(doi));
        }
        let situation = reader.u32("situation")?;
        if situation != SIT_IDENTITY_ONLY {
            return Err(WireError::UnsupportedSituation(situation));
        }
        let mut proposals = Vec::new();
        each(&mut reader, PayloadType::PROPOSAL, ("proposal", "proposals", MAX_PROPOSALS), |inner| {
            proposals.push(Proposal::read(inner)?);
            Ok(())
        })?;
        reader.finish("the proposals")?;
        Ok(Self { doi, situation, proposals })
    }

    /// The body as octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32(self.doi).u32(self.situation);
        let mut left = self.proposals.iter();
        while let Some(proposal) = left.next() {
            let next = if left.len() == 0 { PayloadType::NONE } else { PayloadType::PROPOSAL };
            let slot = writer.begin(next.0);
            proposal.write(&mut writer);
            writer.end(slot);
        }
        writer.into_octets()
    }
}

impl Proposal {
    fn read(mut reader: Reader<'_>) -> Result<Self, WireError> {
        let offset = reader.offset() - GENERIC_HEADER;
        let number = reader.u8("proposal number")?;
        let protocol = ProtocolId(reader.u8("protocol")?);
        let size = usize::from(reader.u8("SPI size")?);
        let announced = usize::from(reader.u8("number of transforms")?);
        if size > MAX_SPI {
            return Err(WireError::SpiSize { protocol, size });
        }
        let spi = reader.take(size, "SPI")?.to_vec();
        let mut transforms = Vec::new();
        each(&mut reader, PayloadType::TRANSFORM, ("transform", "transforms", MAX_TRANSFORMS), |inner| {
            transforms.push(Transform::read(inner)?);
            Ok(())
        })?;
        reader.finish("the transforms")?;
        if transforms.len() != announced {
            return Err(WireError::Count { what: "proposal", offset, announced, found: transforms.len() });
        }
        Ok(Self { number, protocol, spi, transforms })
    }

    fn write(&self, writer: &mut Writer) {
        let count = |len: usize| u8::try_from(len).unwrap_or(u8::MAX);
        writer.u8(self.number).u8(self.protocol.0).u8(count(self.spi.len())).u8(count(self.transforms.len()));
        writer.octets(&self.spi);
        let mut left = self.transforms.iter();
        while let Some(transform) = left.next() {
            let next = if left.len() == 0 { PayloadType::NONE } else { PayloadType::TRANSFORM };
            let slot = writer.begin(next.0);
            writer.u8(transform.number).u8(transform.id).u16(0);
            transform.attributes.iter().for_each(|attribute| attribute.write(writer));
            writer.end(slot);
        }
    }
}

impl Transform {
    fn read(mut reader: Reader<'_>) -> Result<Self, WireError> {
        let number = reader.u8("transform number")?;
        let id = reader.u8("transform identifier")?;
        let _reserved = reader.u16("reserved field of a transform")?;
        Ok(Self { number, id, attributes: Attribute::read_all(&mut reader)? })
    }

    /// The first attribute of this type.
    pub fn attribute(&self, kind: u16) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.kind == kind)
    }
}

/// Reads one or more structures of one kind that chain by their next-payload field, and stops behind the last.
fn each<'a>(
    reader: &mut Reader<'a>,
    kind: PayloadType,
    (what, plural, limit): (&'static str, &'static str, usize),
    mut visit: impl FnMut(Reader<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    if reader.is_empty() {
        return Err(WireError::Missing { what, offset: reader.offset() });
    }
    for _ in 0..limit {
        let offset = reader.offset();
        // The body is read through a bounded reader, so that offsets in its errors count from the payload's start.
        let mut ahead = reader.clone();
        let (next, body) = generic(&mut ahead, what)?;
        let mut inner = reader.sub(GENERIC_HEADER + body.len(), what)?;
        inner.take(GENERIC_HEADER, what)?;
        visit(inner)?;
        match PayloadType(next) {
            PayloadType::NONE => return Ok(()),
            more if more == kind => {}
            _ => return Err(WireError::InnerNextPayload { what, offset, next }),
        }
    }
    Err(WireError::TooMany { what: plural, limit, offset: reader.offset() })
}

#[cfg(test)]
mod tests {
    use super::super::number::{KEY_IKE, phase1_attr};
    use super::*;

    fn sample() -> SaPayload {
        let transform = |number| Transform {
            number,
            id: KEY_IKE,
            attributes: vec![
                Attribute::number(phase1_attr::ENCRYPTION, 7),
                Attribute::number(phase1_attr::LIFE_DURATION, 0x1_0000),
            ],
        };
        let proposal = |number, spi: &[u8]| Proposal {
            number,
            protocol: ProtocolId::ISAKMP,
            spi: spi.to_vec(),
            transforms: vec![transform(1), transform(2)],
        };
        SaPayload::new(vec![proposal(1, &[]), proposal(2, &[1, 2, 3, 4])])
    }

    #[test]
    fn round_trip() {
        assert_eq!(SaPayload::decode(&sample().encode()), Ok(sample()));
        let transform = &sample().proposals[0].transforms[0];
        assert_eq!(transform.attribute(phase1_attr::ENCRYPTION).and_then(Attribute::as_number), Some(7));
    }

    #[test]
    fn no_truncation_passes() {
        let octets = sample().encode();
        for cut in 0..octets.len() {
            assert!(SaPayload::decode(&octets[..cut]).is_err(), "{cut}");
        }
        let mut longer = octets;
        longer.push(0);
        assert!(matches!(SaPayload::decode(&longer), Err(WireError::Trailing { octets: 1, .. })));
    }

    #[test]
    fn doi_and_situation_have_errors_of_their_own() {
        let with = |position: usize, value: u8| {
            let mut octets = sample().encode();
            octets[position] = value;
            SaPayload::decode(&octets)
        };
        assert_eq!(with(3, 0), Err(WireError::UnsupportedDoi(0)));
        assert_eq!(with(0, 0x80), Err(WireError::UnsupportedDoi(0x8000_0001)));
        assert_eq!(with(7, 3), Err(WireError::UnsupportedSituation(3)));
        // First proposal at 8: next payload, reserved, length, number, protocol, SPI size, count; transform at 16.
        assert_eq!(with(8, 3), Err(WireError::InnerNextPayload { what: "proposal", offset: 8, next: 3 }));
        assert!(matches!(with(8, 0), Err(WireError::Trailing { what: "the proposals", .. })));
        assert_eq!(with(15, 1), Err(WireError::Count { what: "proposal", offset: 8, announced: 1, found: 2 }));
        assert_eq!(with(14, 17), Err(WireError::SpiSize { protocol: ProtocolId::ISAKMP, size: 17 }));
        assert_eq!(with(16, 2), Err(WireError::InnerNextPayload { what: "transform", offset: 16, next: 2 }));
        assert_eq!(with(19, 3), Err(WireError::LengthTooSmall { what: "transform", offset: 16, length: 3, least: 4 }));
        // Reserved octets are let pass (F-7).
        assert_eq!(with(9, 0xff), Ok(sample()));
        assert_eq!(with(22, 0xff), Ok(sample()));
    }

    #[test]
    fn limits_hold() {
        let mut many = sample();
        many.proposals = vec![many.proposals[0].clone(); MAX_PROPOSALS + 1];
        assert!(matches!(SaPayload::decode(&many.encode()), Err(WireError::TooMany { what: "proposals", .. })));
        many.proposals.pop();
        assert_eq!(SaPayload::decode(&many.encode()), Ok(many.clone()));
        many.proposals.truncate(1);
        many.proposals[0].transforms = vec![many.proposals[0].transforms[0].clone(); MAX_TRANSFORMS];
        assert_eq!(SaPayload::decode(&many.encode()), Ok(many.clone()));
        let another = many.proposals[0].transforms[0].clone();
        many.proposals[0].transforms.push(another);
        assert!(matches!(SaPayload::decode(&many.encode()), Err(WireError::TooMany { what: "transforms", .. })));
        many.proposals.clear();
        assert_eq!(SaPayload::decode(&many.encode()), Err(WireError::Missing { what: "proposal", offset: 8 }));
    }
}
