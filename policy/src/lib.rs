//! The words of IPsec policy, and the grammars that produce them.
#![forbid(unsafe_code)]
pub mod model;
