//! The tool for people and scripts: what the kernel holds, and what the daemon says.

pub mod dead;
pub mod failure;
pub mod generate;
pub mod listing;
mod plainrsa;
pub mod run;
pub mod show;
