//! A cursor over received octets that cannot leave them.

use super::error::WireError;

/// Reads big-endian fields; every method says what it was reading when the octets run out.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    octets: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Over all of `octets`, offsets counted from its start.
    pub fn new(octets: &'a [u8]) -> Self {
        Self { octets, offset: 0 }
    }

    /// Where the cursor stands.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Octets not yet read.
    pub fn left(&self) -> usize {
        self.octets.len()
    }

    /// Has everything been read?
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The next `needed` octets.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if there are fewer.
    pub fn take(&mut self, needed: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let Some((taken, rest)) = self.octets.split_at_checked(needed) else {
            return Err(WireError::Truncated { what, offset: self.offset, needed, left: self.octets.len() });
        };
        self.octets = rest;
        self.offset += needed;
        Ok(taken)
    }

    /// The next `N` octets by value.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if there are fewer.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    /// One octet.
    ///
    /// # Errors
    /// [`WireError::Truncated`] at the end.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    /// Two octets.
    ///
    /// # Errors
    /// [`WireError::Truncated`] at the end.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    /// Four octets.
    ///
    /// # Errors
    /// [`WireError::Truncated`] at the end.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.octets;
        self.offset += rest.len();
        self.octets = &[];
        rest
    }

    /// A reader bounded to the next `len` octets, which this one skips. Offsets go on counting.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if there are fewer.
    pub fn sub(&mut self, len: usize, what: &'static str) -> Result<Self, WireError> {
        let offset = self.offset;
        Ok(Self { octets: self.take(len, what)?, offset })
    }

    /// Nothing may be left of `what`.
    ///
    /// # Errors
    /// [`WireError::Trailing`] otherwise.
    pub fn finish(self, what: &'static str) -> Result<(), WireError> {
        match self.octets.len() {
            0 => Ok(()),
            octets => Err(WireError::Trailing { what, offset: self.offset, octets }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_reader_keeps_its_bounds_and_the_offset() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(reader.u8("first"), Ok(1));
        let mut inner = reader.sub(3, "inner").unwrap();
        assert_eq!(inner.u16("pair"), Ok(0x0203));
        assert_eq!(inner.u16("pair"), Err(WireError::Truncated { what: "pair", offset: 3, needed: 2, left: 1 }));
        assert_eq!(inner.finish("inner"), Err(WireError::Trailing { what: "inner", offset: 3, octets: 1 }));
        assert_eq!(reader.rest(), [5, 6]);
        assert_eq!(reader.offset(), 6);
    }
}
