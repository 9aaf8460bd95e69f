//! Cryptography of IKEv1 (RFC 2409): what is derived from what. Primitives come from crates, in `backend` alone.

pub mod backend;
pub mod group;
pub mod hash;
pub mod iv;
pub mod keymat;
pub mod provider;
pub mod pure;
pub mod signature;
pub mod skeyid;
pub mod suite;
