//! The fragment payload: a piece of a whole ISAKMP message, header included (\[MS-IKEE\] §2.2.3; Cisco had it first).

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;

/// Octets in front of the data.
pub const FRAGMENT_HEADER: usize = 4;

/// Set in the flags of the last piece.
const LAST: u8 = 1;

/// One piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentPayload<'a> {
    /// The same in all pieces of a message.
    pub id: u16,
    /// Counted from 1.
    pub number: u8,
    /// Does the message end with it?
    pub is_last: bool,
    /// Octets of the message.
    pub data: &'a [u8],
}

impl<'a> FragmentPayload<'a> {
    /// Reads the body of a fragment payload. Flags other than that of the last piece are ignored.
    ///
    /// # Errors
    /// [`WireError`] for a body without data (CVE-2009-1574), or a piece number of 0.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let id = reader.u16("fragment ID")?;
        let offset = reader.offset();
        let number = reader.u8("fragment number")?;
        if number == 0 {
            return Err(WireError::Missing { what: "fragment number", offset });
        }
        let flags = reader.u8("fragment flags")?;
        let offset = reader.offset();
        let data = reader.rest();
        if data.is_empty() {
            return Err(WireError::Missing { what: "fragment data", offset });
        }
        Ok(Self { id, number, is_last: flags & LAST != 0, data })
    }

    /// The body as octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u16(self.id).u8(self.number).u8(u8::from(self.is_last)).octets(self.data);
        writer.into_octets()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let piece = FragmentPayload { id: 0x1234, number: 3, is_last: true, data: &[9, 8] };
        assert_eq!(piece.encode(), [0x12, 0x34, 3, 1, 9, 8]);
        assert_eq!(FragmentPayload::decode(&piece.encode()), Ok(piece));
    }

    #[test]
    fn pieces_without_data_or_number_are_refused() {
        for length in 0..=FRAGMENT_HEADER {
            assert!(FragmentPayload::decode(&[0, 1, 1, 1][..length]).is_err(), "{length}");
        }
        assert!(FragmentPayload::decode(&[0, 1, 0, 1, 7]).is_err());
    }
}
