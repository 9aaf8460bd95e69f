//! The attribute payload of transaction exchanges (draft-dukes-ike-mode-cfg-02 §3.2).

use std::fmt;

use super::attribute::{Attribute, AttributeValue};
use super::error::WireError;
use super::number::{ConfigAttribute, ConfigType};
use super::reader::Reader;
use super::writer::Writer;

/// One payload. `Debug` names the attributes and hides their values: there are passwords among them.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigPayload {
    /// What it is.
    pub kind: ConfigType,
    /// Ties an answer to its question.
    pub identifier: u16,
    /// The attributes, in the order they stand.
    pub attributes: Vec<Attribute>,
}

impl ConfigPayload {
    /// Reads the body of an attribute payload.
    ///
    /// # Errors
    /// [`WireError`] for a body shorter than its fields or with too many attributes.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let kind = ConfigType(reader.u8("configuration type")?);
        reader.u8("reserved octet")?;
        let identifier = reader.u16("identifier")?;
        Ok(Self { kind, identifier, attributes: Attribute::read_all(&mut reader)? })
    }

    /// The body as octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(self.kind.0).u8(0).u16(self.identifier);
        self.attributes.iter().for_each(|attribute| attribute.write(&mut writer));
        writer.into_octets()
    }

    /// Is it about a login?
    pub fn is_xauth(&self) -> bool {
        self.attributes.iter().any(|attribute| ConfigAttribute(attribute.kind).is_xauth())
    }
}

impl fmt::Debug for ConfigPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<ConfigAttribute> = self.attributes.iter().map(|one| ConfigAttribute(one.kind)).collect();
        write!(f, "{:?} {} {names:?}", self.kind, self.identifier)
    }
}

/// An attribute of some octets.
pub fn octets(kind: ConfigAttribute, octets: impl Into<Vec<u8>>) -> Attribute {
    Attribute { kind: kind.0, value: AttributeValue::Long(octets.into()) }
}

/// An attribute without a value: asked for, or accepted.
pub fn empty(kind: ConfigAttribute) -> Attribute {
    octets(kind, Vec::new())
}

/// An attribute of a small number, in the short form.
pub fn number(kind: ConfigAttribute, number: u16) -> Attribute {
    Attribute { kind: kind.0, value: AttributeValue::Short(number) }
}

/// The octets of an attribute; those of the short form are its two.
pub fn value(attribute: &Attribute) -> Vec<u8> {
    match &attribute.value {
        AttributeValue::Short(short) => short.to_be_bytes().to_vec(),
        AttributeValue::Long(octets) => octets.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_truncation_and_no_password_in_debug() {
        let payload = ConfigPayload {
            kind: ConfigType::REPLY,
            identifier: 0x1234,
            attributes: vec![
                number(ConfigAttribute::XAUTH_TYPE, 0),
                octets(ConfigAttribute::XAUTH_USER_PASSWORD, *b"hunter2"),
            ],
        };
        let encoded = payload.encode();
        assert_eq!(encoded[..8], [2, 0, 0x12, 0x34, 0xc0, 0x88, 0, 0]);
        assert_eq!(ConfigPayload::decode(&encoded), Ok(payload.clone()));
        for cut in (0..4).chain(5..8).chain(9..encoded.len()) {
            assert!(ConfigPayload::decode(&encoded[..cut]).is_err(), "{cut}");
        }
        let text = format!("{payload:?}");
        assert!(text.contains("XAUTH_USER_PASSWORD") && !text.contains("hunter2"), "{text}");
        assert!(payload.is_xauth());
    }
}
