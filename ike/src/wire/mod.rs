//! ISAKMP messages as octets and back (RFC 2408 §3, RFC 2407 §4.6).
//!
//! Decoders never index and never allocate by a length they have not checked; a number nobody knows survives a round
//! trip. Nothing here knows what a message is for.

pub mod attribute;
pub mod cert;
pub mod config_payload;
pub mod delete;
pub mod error;
pub mod fragment;
pub mod header;
pub mod identification;
pub mod message;
pub mod notify;
pub mod number;
pub mod reader;
pub mod sa;
pub mod vendor;
pub mod writer;
