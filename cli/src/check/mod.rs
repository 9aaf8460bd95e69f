//! `xfrmctl check`: what is wrong, weak, missing or about to end in a configuration, before a peer finds out.
//!
//! Nothing here asks the daemon or the kernel: files only.

pub mod certificates;
pub mod directives;
pub mod finding;
pub mod grade;
pub mod policies;
pub mod run;
