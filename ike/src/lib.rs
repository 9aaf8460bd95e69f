//! IKEv1 as a state machine: datagrams, timers and answers in; datagrams, kernel requests and reports out.
//!
//! The crate opens no socket or file and reads no clock, environment or global random source: what it needs of the
//! world it asks for with an [`event::Output`] and is told with an [`event::Input`]. Start at [`event`].
#![forbid(unsafe_code)]

pub mod config;
pub mod crypto;
pub mod event;
pub mod identity;
pub mod report;
pub mod wire;
