//! Builds octets, lengths filled in afterwards.

/// Appends big-endian fields.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

/// A place kept for a 16-bit length.
#[derive(Debug)]
#[must_use]
pub struct LengthSlot {
    start: usize,
    field: usize,
}

impl Writer {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one octet.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Appends two octets.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.octets(&value.to_be_bytes())
    }

    /// Appends four octets.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.octets(&value.to_be_bytes())
    }

    /// Appends octets as they are.
    pub fn octets(&mut self, octets: &[u8]) -> &mut Self {
        self.0.extend_from_slice(octets);
        self
    }

    /// Begins a structure with the generic header of RFC 2408 §3.2; [`Self::end`] fills in its length.
    pub fn begin(&mut self, next: u8) -> LengthSlot {
        let start = self.0.len();
        self.u8(next).u8(0).u16(0);
        LengthSlot { start, field: start + 2 }
    }

    /// Ends the structure begun with `slot`. A structure beyond 65535 octets gets that length: it fits no datagram.
    pub fn end(&mut self, slot: LengthSlot) {
        let length = u16::try_from(self.0.len() - slot.start).unwrap_or(u16::MAX);
        if let Some(field) = self.0.get_mut(slot.field..slot.field + 2) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// What was written.
    pub fn into_octets(self) -> Vec<u8> {
        self.0
    }
}
