//! IKEv1 as a state machine: datagrams, timers and answers in; datagrams, kernel requests and reports out.
//!
//! The crate opens no socket or file and reads no clock, environment or global random source: what it needs of the
//! world it asks for with an [`event::Output`] and is told with an [`event::Input`]. Start at [`event`].
#![forbid(unsafe_code)]

mod children;
pub mod config;
mod context;
pub mod crypto;
mod dpd;
pub mod endpoint;
pub mod error;
pub mod event;
mod fragment;
mod handshake;
pub mod identity;
mod informational;
mod isakmp_sa;
mod message;
mod nat;
mod payloads;
mod phase1;
mod phase2;
mod protection;
pub mod report;
mod retransmit;
mod step;
mod timer;
mod traits;
pub mod transaction;
pub mod wire;
