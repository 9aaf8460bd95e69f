//! The words of IPsec policy, and the grammars that produce them.
#![forbid(unsafe_code)]
pub mod diagnostic;
pub mod keylime;
pub mod model;
pub mod plain_rsa;
pub mod psk;
pub mod racoon;
pub mod setkey;
pub mod span;
