//! Writing netlink: every message and attribute padded to 4 (an unpadded message swallows the one behind it).

use netlink_packet_core::Emitable;
use zeroize::Zeroizing;

use crate::abi::{ALIGN, ATTRIBUTE_HEADER_LEN, HEADER_LEN};

/// Room reserved for one message, so that keys are rarely copied by a growing buffer.
pub const MESSAGE_ROOM: usize = 1024;

/// Messages back to back, as one `send` takes them. Wiped on drop, as keys are among them.
pub struct MessageWriter {
    octets: Zeroizing<Vec<u8>>,
    start: usize,
    port: u32,
}

impl MessageWriter {
    /// An empty buffer with room for `messages`.
    pub fn with_room(messages: usize) -> Self {
        Self { octets: Zeroizing::new(Vec::with_capacity(messages * MESSAGE_ROOM)), start: 0, port: 0 }
    }

    /// Signs every message with the sender's netlink port: the kernel answers the sender whatever stands there, but
    /// repeats the number in the notices that a request causes.
    #[must_use]
    pub fn signed(mut self, port: u32) -> Self {
        self.port = port;
        self
    }

    /// Opens a message. Everything written until [`Self::finish`] belongs to it.
    pub fn begin(&mut self, kind: u16, flags: u16, sequence: u32) {
        self.start = self.octets.len();
        self.octets.extend_from_slice(&[0; 4]);
        self.octets.extend_from_slice(&kind.to_ne_bytes());
        self.octets.extend_from_slice(&flags.to_ne_bytes());
        self.octets.extend_from_slice(&sequence.to_ne_bytes());
        self.octets.extend_from_slice(&self.port.to_ne_bytes());
    }

    /// Closes the message: writes its length, pads it.
    pub fn finish(&mut self) {
        let len = self.octets.len() - self.start;
        self.overwrite(self.start, &u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
        self.pad();
    }

    /// Forgets the message begun last.
    pub fn abandon(&mut self) {
        self.octets.truncate(self.start);
    }

    /// Octets as they are.
    pub fn raw(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// A structure of netlink-packet-xfrm.
    pub fn emit(&mut self, structure: &impl Emitable) {
        let at = self.octets.len();
        self.octets.resize(at + structure.buffer_len(), 0);
        if let Some(room) = self.octets.get_mut(at..) {
            structure.emit(room);
        }
    }

    /// An attribute whose value `write` appends.
    pub fn attribute(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        self.pad();
        let at = self.octets.len();
        self.octets.extend_from_slice(&[0; 2]);
        self.octets.extend_from_slice(&kind.to_ne_bytes());
        write(self);
        let len = self.octets.len() - at;
        self.overwrite(at, &u16::try_from(len).unwrap_or(u16::MAX).to_ne_bytes());
        self.pad();
    }

    /// An attribute that is one number.
    pub fn u32_attribute(&mut self, kind: u16, value: u32) {
        self.attribute(kind, |writer| writer.raw(&value.to_ne_bytes()));
    }

    /// Everything written so far.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Is there nothing to send?
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    fn overwrite(&mut self, at: usize, value: &[u8]) {
        for (octet, value) in self.octets.iter_mut().skip(at).zip(value) {
            *octet = *value;
        }
    }

    fn pad(&mut self) {
        let padded = self.octets.len().next_multiple_of(ALIGN);
        self.octets.resize(padded, 0);
    }
}

const _: () = assert!(HEADER_LEN.is_multiple_of(ALIGN) && ATTRIBUTE_HEADER_LEN.is_multiple_of(ALIGN));
