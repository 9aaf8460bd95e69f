//! Our own endpoint as many initiators: what a benchmark drives a responder with, ours or a peer's.
//!
//! No kernel is asked: SPIs are counted up and SAs are taken as installed, so that the responder's work is the only
//! work measured (beside the generator's own cryptography, which is in another process).

pub mod credential;
pub mod floor;
pub mod initiators;
pub mod run;
