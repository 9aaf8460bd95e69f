//! Certificates and keys: reading them from files, signing with ours, judging a peer's.
//!
//! OpenSSL builds and checks the path (RFC 5280 §6); x509-parser reads what IKE wants of a leaf (RFC 4945); names are
//! compared by `ike::identity::dn`. `verify` says what OpenSSL's findings come to, `leaf` and `binding` what is asked beyond
//! them.

pub mod credential;
pub mod judge;
pub mod load;
pub mod plain;
pub mod remotes;

pub(crate) mod binding;
pub(crate) mod leaf;
pub(crate) mod trust;
mod verdicts;
mod verify;
