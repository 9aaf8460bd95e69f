//! `cargo xtask bench`.

use std::path::Path;

use super::build::Profile;
use super::install::{self, Equipment};
use super::run::{self, Running};
use super::{Verdict, build};
use crate::failure::Result;
use crate::job::Work;
use crate::kernel;
use crate::uml::boot::Output;

/// Measures on the test kernel.
pub(super) fn bench(
    name: Option<String>,
    json: Option<&Path>,
    rounds: Option<u32>,
    no_install: bool,
) -> Result<Verdict> {
    let choice = kernel::choose();
    if let Equipment::Listed { lacking } = install::equip(choice.kernel, no_install)? {
        return Ok(if lacking { Verdict::Bad } else { Verdict::Good });
    }
    let programs = build::programs(&["cli", "tests"], Profile::Release)?;
    println!("{}", choice.line());
    let job = run::job("bench", Work::Bench { name, rounds }, programs, &choice)?;
    let verdict = Running::begin(choice.kernel, &job, Output::Shown)?.wait(&job)?;
    if let (Some(file), Verdict::Good) = (json, verdict) {
        run::deliver(&job.out.join("bench.json"), file)?;
    }
    Ok(verdict)
}
