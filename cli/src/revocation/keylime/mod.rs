//! Keylime's revocation notices: what a verifier sends when a machine fails attestation.

pub mod action;
pub mod message;
pub mod spool;
