//! Reading netlink: messages in a datagram, attributes in a message, numbers in either. Nothing here indexes.

use super::error::CodecError;
use crate::abi::{ATTRIBUTE_HEADER_LEN, HEADER_LEN, Kind, align};

/// One netlink message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Type.
    pub kind: Kind,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Sequence number of the request it answers; 0 for notices.
    pub sequence: u32,
    /// Netlink port of the socket it answers, or whose request caused the notice.
    pub port: u32,
    /// Everything behind the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The payload, if it is as long as the fixed part of this kind of message.
    ///
    /// The one check between the kernel's octets and netlink-packet-xfrm, which panics on less.
    pub fn checked_payload(&self) -> Result<&'a [u8], CodecError> {
        let needed = self.kind.fixed_len().unwrap_or(0);
        if self.payload.len() < needed {
            return Err(CodecError::Truncated { what: "message payload", got: self.payload.len(), needed });
        }
        Ok(self.payload)
    }
}

/// The messages of a datagram. A length that leads out of the datagram ends the walk with an error.
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Walks `datagram`.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let datagram = std::mem::take(&mut self.rest);
        let message = read_message(datagram);
        if let Ok((_, len)) = &message {
            self.rest = datagram.get(align(*len)..).unwrap_or_default();
        }
        Some(message.map(|(message, _)| message))
    }
}

fn read_message(datagram: &[u8]) -> Result<(Message<'_>, usize), CodecError> {
    let what = "netlink header";
    let len = u32_at(datagram, 0, what)? as usize;
    let available = datagram.len();
    let Some(payload) = datagram.get(HEADER_LEN..len) else {
        return Err(CodecError::Length { what: "netlink message", claimed: len, available });
    };
    let message = Message {
        kind: Kind(u16_at(datagram, 4, what)?),
        flags: u16_at(datagram, 6, what)?,
        sequence: u32_at(datagram, 8, what)?,
        port: u32_at(datagram, 12, what)?,
        payload,
    };
    Ok((message, len))
}

/// The attributes behind a fixed part. A length that leads out of the message ends the walk with an error.
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Walks what follows the first `fixed_len` octets of `payload` (padded to the alignment).
    pub fn after(payload: &'a [u8], fixed_len: usize) -> Self {
        Self { rest: payload.get(align(fixed_len)..).unwrap_or_default() }
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// `XFRMA_*`, without the nested and byte-order bits.
    pub kind: u16,
    /// Value.
    pub value: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let octets = std::mem::take(&mut self.rest);
        let attribute = read_attribute(octets);
        if let Ok((_, len)) = &attribute {
            self.rest = octets.get(align(*len)..).unwrap_or_default();
        }
        Some(attribute.map(|(attribute, _)| attribute))
    }
}

fn read_attribute(octets: &[u8]) -> Result<(Attribute<'_>, usize), CodecError> {
    let what = "attribute header";
    let len = usize::from(u16_at(octets, 0, what)?);
    let kind = u16_at(octets, 2, what)? & 0x3fff;
    match octets.get(ATTRIBUTE_HEADER_LEN..len) {
        Some(value) => Ok((Attribute { kind, value }, len)),
        None => Err(CodecError::Length { what: "attribute", claimed: len, available: octets.len() }),
    }
}

/// `N` octets at `offset`.
pub fn octets_at<const N: usize>(octets: &[u8], offset: usize, what: &'static str) -> Result<[u8; N], CodecError> {
    octets.get(offset..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(CodecError::Truncated {
        what,
        got: octets.len(),
        needed: offset + N,
    })
}

/// A number in host order.
pub fn u16_at(octets: &[u8], offset: usize, what: &'static str) -> Result<u16, CodecError> {
    octets_at(octets, offset, what).map(u16::from_ne_bytes)
}

/// A number in host order.
pub fn u32_at(octets: &[u8], offset: usize, what: &'static str) -> Result<u32, CodecError> {
    octets_at(octets, offset, what).map(u32::from_ne_bytes)
}

/// A number in host order.
pub fn u64_at(octets: &[u8], offset: usize, what: &'static str) -> Result<u64, CodecError> {
    octets_at(octets, offset, what).map(u64::from_ne_bytes)
}
