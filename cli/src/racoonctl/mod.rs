//! `racoonctl`: racoon's own commands, output shapes and exit codes, spoken to xfrmd.
//!
//! The original spoke a C structure over its socket; nothing but itself ever did, so this one speaks the language of the
//! control socket ([`crate::control`]).

pub mod args;
pub mod listing;
pub mod request;
pub mod run;
