//! What must stay true across the crates: a simulation of two endpoints in virtual time, recorded handshakes, and the
//! load generator of the benchmark.
#![forbid(unsafe_code)]

pub mod fill;
pub mod load;
pub mod recording;
pub mod sim;
