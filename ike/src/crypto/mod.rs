//! Cryptography of IKEv1 (RFC 2409): what is derived from what. Primitives come from crates, in `backend` alone.

pub mod provider;
