//! The few lines of DER (ITU-T X.690) that names need: a bounded reader and a writer.
//!
//! The reader takes definite lengths in their shortest form only, never recurses and never indexes: every malformed
//! octet string is an error, none is a panic (CVE-2013-6075, CVE-2014-2891).

use thiserror::Error;

/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `OBJECT IDENTIFIER`.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;
/// `SET`.
pub const SET: u8 = 0x31;

/// What is wrong with an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DerError {
    /// The octets end before the value does.
    #[error("DER value is cut short")]
    Truncated,
    /// Indefinite, over-long or non-minimal length.
    #[error("DER length is not in its shortest definite form")]
    Length,
    /// A multi-octet tag.
    #[error("DER tag has more than one octet")]
    Tag,
    /// Another tag was expected.
    #[error("DER tag 0x{found:02x} where 0x{expected:02x} belongs")]
    UnexpectedTag {
        /// The tag that belongs there.
        expected: u8,
        /// The tag that was there.
        found: u8,
    },
    /// Octets after the last value.
    #[error("octets follow the DER value")]
    Trailing,
}

/// One tag, length and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The identifier octet.
    pub tag: u8,
    /// The contents.
    pub value: &'a [u8],
    /// Identifier, length and contents.
    pub whole: &'a [u8],
}

/// Reads values one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `octets` from the start.
    pub fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// Is nothing left?
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The identifier octet of the next value.
    pub fn peek_tag(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next value, whatever it is.
    ///
    /// # Errors
    /// [`DerError`] if no whole, strictly encoded value follows.
    pub fn read(&mut self) -> Result<Tlv<'a>, DerError> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(DerError::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError::Tag);
        }
        let (length, after_length) = read_length(after_tag)?;
        let (value, rest) = after_length.split_at_checked(length).ok_or(DerError::Truncated)?;
        let whole = self.rest.get(..self.rest.len() - rest.len()).ok_or(DerError::Truncated)?;
        self.rest = rest;
        Ok(Tlv { tag, value, whole })
    }

    /// The next value, which must have this tag.
    ///
    /// # Errors
    /// [`DerError::UnexpectedTag`] for another one, else as [`Self::read`].
    pub fn expect(&mut self, tag: u8) -> Result<Tlv<'a>, DerError> {
        let next = self.read()?;
        if next.tag == tag { Ok(next) } else { Err(DerError::UnexpectedTag { expected: tag, found: next.tag }) }
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// [`DerError::Trailing`] if something is.
    pub fn finish(self) -> Result<(), DerError> {
        if self.is_empty() { Ok(()) } else { Err(DerError::Trailing) }
    }
}

/// X.690 §8.1.3 and §10.1: the definite form with the fewest octets; four length octets are more than any payload has.
fn read_length(octets: &[u8]) -> Result<(usize, &[u8]), DerError> {
    let (&first, rest) = octets.split_first().ok_or(DerError::Truncated)?;
    if first < 0x80 {
        return Ok((usize::from(first), rest));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(DerError::Length);
    }
    let (length_octets, rest) = rest.split_at_checked(count).ok_or(DerError::Truncated)?;
    if length_octets.first() == Some(&0) {
        return Err(DerError::Length);
    }
    let length = length_octets.iter().fold(0usize, |length, &octet| (length << 8) | usize::from(octet));
    if length < 0x80 { Err(DerError::Length) } else { Ok((length, rest)) }
}

/// Appends one value to `out`.
pub fn write(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    let length = value.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let octets = length.to_be_bytes();
        let significant: Vec<u8> = octets.into_iter().skip_while(|&octet| octet == 0).collect();
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(&significant);
    }
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_must_be_shortest_definite() {
        assert_eq!(Reader::new(&[0x30, 0x80, 0, 0]).read(), Err(DerError::Length));
        assert_eq!(Reader::new(&[0x30, 0xff]).read(), Err(DerError::Length));
        assert_eq!(Reader::new(&[0x30, 0x81, 0x01, 0]).read(), Err(DerError::Length));
        assert_eq!(Reader::new(&[0x30, 0x82, 0x00, 0x80]).read(), Err(DerError::Length));
        assert_eq!(Reader::new(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).read(), Err(DerError::Truncated));
        assert_eq!(Reader::new(&[0x3f, 0x81, 0x01, 0]).read(), Err(DerError::Tag));
        assert_eq!(Reader::new(&[]).read(), Err(DerError::Truncated));
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0usize, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let value = vec![7u8; length];
            let mut out = Vec::new();
            write(&mut out, SEQUENCE, &value);
            let mut reader = Reader::new(&out);
            let tlv = reader.expect(SEQUENCE).unwrap();
            assert_eq!((tlv.value, tlv.whole), (value.as_slice(), out.as_slice()));
            assert_eq!(reader.finish(), Ok(()));
        }
    }
}
