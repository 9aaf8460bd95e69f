//! `racoonctl`: racoon's own commands, output shapes and exit codes, spoken to xfrmd in the language of the control socket
//! ([`crate::control`]).

pub mod args;
pub mod listing;
pub mod password;
pub mod request;
pub mod run;
pub mod wire;
