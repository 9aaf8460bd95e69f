//! The edges and the programs: `xfrmd`, `xfrmctl`, `setkey`.

pub mod args;
pub mod check;
pub mod civil;
pub mod control;
pub mod daemon;
pub mod exit_code;
pub mod logging;
pub mod off_loop;
pub mod os;
pub mod pki;
pub mod provider;
pub mod racoonctl;
pub mod report;
pub mod revocation;
pub mod setkey;
pub mod signer;
pub mod users;
pub mod xfrmctl;
