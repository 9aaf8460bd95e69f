//! The words every other part speaks: plain data, no I/O, no grammar.
//!
//! Nothing here imports a parser, a codec or a socket: `racoon` and `setkey` produce these values, `ike` negotiates
//! them, `xfrm` turns them into kernel messages.

pub mod addr;
pub mod algorithm;
pub mod daemon;
pub mod identity;
pub mod lifetime;
pub mod mode_config;
pub mod proposal;
pub mod protocol_name;
pub mod remote;
pub mod revocation;
pub mod rsa_key;
pub mod sa;
pub mod sainfo;
pub mod secret;
pub mod selector;
pub mod user_source;
