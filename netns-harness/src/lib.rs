//! Machines on a desk: hosts, links, captures and peers made of network namespaces, in the running kernel where that can
//! do ESP and in a user-mode one where it cannot; the scenarios played on them; and the `cargo xtask` commands.
//!
//! Nothing here imports the crates under test: the programs are driven as a user would.

#![deny(unsafe_code)]

pub mod bench;
pub mod capture;
pub mod command;
pub mod demo;
pub mod desk;
pub mod enter;
pub mod failure;
pub mod holder;
pub mod host;
pub mod impair;
pub mod interop;
pub mod job;
pub mod kernel;
pub mod kernel_state;
pub mod link;
pub mod netns;
pub mod peer;
pub mod ping;
pub mod pki;
pub mod process;
pub mod program;
pub mod scenario;
pub mod topology;
pub mod uml;
pub mod wait;
