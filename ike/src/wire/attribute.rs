//! Data attributes (RFC 2408 §3.3).

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;

/// Attributes accepted in one transform or attribute payload.
pub const MAX_ATTRIBUTES: usize = 64;

/// The attribute format bit: set for the short form.
const SHORT_FORM: u16 = 0x8000;

/// A value in the form it was sent in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// Type and value (TV).
    Short(u16),
    /// Type, length and value (TLV).
    Long(Vec<u8>),
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Its type, without the format bit.
    pub kind: u16,
    /// Its value.
    pub value: AttributeValue,
}

impl Attribute {
    /// A number in the form RFC 2408 §3.3 and every peer expects: short if it fits 16 bits, else four octets.
    pub fn number(kind: u16, value: u32) -> Self {
        let value = match u16::try_from(value) {
            Ok(short) => AttributeValue::Short(short),
            Err(_) => AttributeValue::Long(value.to_be_bytes().to_vec()),
        };
        Self { kind, value }
    }

    /// The value as a number; `None` for a long form of no octet or of more than eight.
    pub fn as_number(&self) -> Option<u64> {
        match &self.value {
            AttributeValue::Short(short) => Some(u64::from(*short)),
            AttributeValue::Long(octets) if (1..=8).contains(&octets.len()) => {
                Some(octets.iter().fold(0, |number, &octet| number << 8 | u64::from(octet)))
            }
            AttributeValue::Long(_) => None,
        }
    }

    /// Reads one attribute.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if its length goes past the end.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = reader.u16("attribute type")?;
        let field = reader.u16("attribute value")?;
        let value = if kind & SHORT_FORM != 0 {
            AttributeValue::Short(field)
        } else {
            AttributeValue::Long(reader.take(usize::from(field), "attribute value")?.to_vec())
        };
        Ok(Self { kind: kind & !SHORT_FORM, value })
    }

    /// Reads attributes to the end.
    ///
    /// # Errors
    /// [`WireError`] for a length past the end or more than [`MAX_ATTRIBUTES`].
    pub fn read_all(reader: &mut Reader<'_>) -> Result<Vec<Self>, WireError> {
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(WireError::TooMany { what: "attributes", limit: MAX_ATTRIBUTES, offset: reader.offset() });
            }
            attributes.push(Self::read(reader)?);
        }
        Ok(attributes)
    }

    /// Reads a list that fills `octets`.
    ///
    /// # Errors
    /// As [`Self::read_all`].
    pub fn decode_list(octets: &[u8]) -> Result<Vec<Self>, WireError> {
        Self::read_all(&mut Reader::new(octets))
    }

    /// Appends the attribute in the form it has. A value beyond 65535 octets is cut: no datagram holds it.
    pub fn write(&self, writer: &mut Writer) {
        match &self.value {
            AttributeValue::Short(short) => writer.u16(self.kind | SHORT_FORM).u16(*short),
            AttributeValue::Long(octets) => {
                let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
                let value = octets.get(..usize::from(length)).unwrap_or_default();
                writer.u16(self.kind & !SHORT_FORM).u16(length).octets(value)
            }
        };
    }

    /// A list as octets.
    pub fn encode_list(attributes: &[Self]) -> Vec<u8> {
        let mut writer = Writer::new();
        attributes.iter().for_each(|attribute| attribute.write(&mut writer));
        writer.into_octets()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_survive_a_round_trip() {
        let octets = [0x80, 1, 0, 7, 0, 12, 0, 4, 0, 0, 0x70, 0x80, 0, 2, 0, 0];
        let list = Attribute::decode_list(&octets).unwrap();
        assert_eq!(list[0], Attribute::number(1, 7));
        assert_eq!(list.iter().map(Attribute::as_number).collect::<Vec<_>>(), [Some(7), Some(28800), None]);
        assert_eq!(Attribute::encode_list(&list), octets);
    }

    #[test]
    fn numbers_up_to_eight_octets() {
        let long = |octets: &[u8]| Attribute { kind: 12, value: AttributeValue::Long(octets.to_vec()) }.as_number();
        assert_eq!(long(&[0xff; 8]), Some(u64::MAX));
        assert_eq!(long(&[0; 9]), None);
        assert_eq!(Attribute::number(2, 0x1_0000).value, AttributeValue::Long(vec![0, 1, 0, 0]));
    }

    #[test]
    fn a_length_past_the_end_is_refused_at_every_offset() {
        let octets = [0, 12, 0, 4, 0, 0, 0x70, 0x80];
        for cut in 1..octets.len() {
            assert!(matches!(Attribute::decode_list(&octets[..cut]), Err(WireError::Truncated { .. })), "{cut}");
        }
        let many = [0x80, 1, 0, 7].repeat(MAX_ATTRIBUTES + 1);
        assert!(matches!(Attribute::decode_list(&many), Err(WireError::TooMany { offset: 256, .. })));
    }
}
