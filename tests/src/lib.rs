//! Tests across crates.

pub mod recording;
