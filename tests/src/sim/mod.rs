//! Two endpoints, their kernels and the link between them, in virtual time, from one seed.
//!
//! Nothing here sleeps or draws real randomness: a seed gives the same run every time.

pub mod kernel;
pub mod label;
pub mod link;
pub mod nat;
pub mod node;
pub mod provider;
pub mod puppet;
pub mod random;
pub mod world;
