//! Values to octets and back. netlink-packet-xfrm's structures serve wherever they can; messages are put together here,
//! because its message decoders panic on short payloads, its encoders do not pad, its EXPIRE and MAPPING carry no
//! attributes, and its algorithm structures keep keys in plain vectors.

pub mod attribute;
pub mod error;
pub mod notice;
pub mod policy;
pub mod reader;
pub mod sa;
pub mod writer;

#[cfg(test)]
mod tests;
