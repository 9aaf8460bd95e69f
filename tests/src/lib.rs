//! What must stay true across the crates: a simulation of two endpoints in virtual time, and helpers for the tests.
#![forbid(unsafe_code)]

pub mod recording;
pub mod sim;
