//! `cargo xtask demo`.

use std::path::Path;

use super::build::Profile;
use super::install::{self, Equipment};
use super::run::{self, Running};
use super::{Verdict, build};
use crate::failure::Result;
use crate::job::Work;
use crate::kernel;
use crate::uml::boot::Output;

/// Tells the story on the test kernel.
pub(super) fn demo(json: Option<&Path>, no_install: bool) -> Result<Verdict> {
    let choice = kernel::choose();
    if let Equipment::Listed { lacking } = install::equip(choice.kernel, no_install)? {
        return Ok(if lacking { Verdict::Bad } else { Verdict::Good });
    }
    let programs = build::programs(&["cli"], Profile::Dev)?;
    println!("{}", choice.line());
    let job = run::job("demo", Work::Demo, programs, &choice)?;
    let verdict = Running::begin(choice.kernel, &job, Output::Shown)?.wait(&job)?;
    if let Some(file) = json {
        run::deliver(&job.out.join("demo.json"), file)?;
    }
    Ok(verdict)
}
