//! `cargo xtask guest -- COMMAND`.

use super::install::{self, Equipment};
use super::run::{self, Running};
use super::{Verdict, build};
use crate::failure::Result;
use crate::job::Work;
use crate::kernel;
use crate::uml::boot::Output;

/// Runs a command for a person on the test kernel; its exit code becomes ours.
pub(super) fn guest(command: Vec<String>) -> Result<Verdict> {
    let choice = kernel::choose();
    if let Equipment::Listed { .. } = install::equip(choice.kernel, false)? {
        return Ok(Verdict::Bad);
    }
    eprintln!("{}", choice.line());
    let programs = build::target()?.join("debug");
    let job = run::job("guest", Work::Command(command), programs, &choice)?;
    Running::begin(choice.kernel, &job, Output::Shown)?.wait(&job)
}
