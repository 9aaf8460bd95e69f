//! The part that runs on the test kernel.

use std::path::Path;
use std::process::Command;

use super::Verdict;
use crate::failure::{During, Result};
use crate::job::{Job, Work};
use crate::{bench, demo, scenario};

/// Does a job.
pub(super) fn inside(path: &Path) -> Result<Verdict> {
    let job = Job::load(path)?;
    match &job.work {
        Work::Scenarios(names) => scenario::play(&job, names).map(|()| Verdict::Good),
        Work::Demo => demo::tell(&job).map(|good| if good { Verdict::Good } else { Verdict::Bad }),
        Work::Bench { name, rounds } => bench::measure(&job, name.as_deref(), *rounds).map(|()| Verdict::Good),
        Work::Command(words) => {
            let Some((program, arguments)) = words.split_first() else { return Ok(Verdict::Bad) };
            let path = std::env::var("PATH").unwrap_or_default();
            let path = format!("{}:{path}", job.programs.display());
            let status = Command::new(program)
                .args(arguments)
                .env("PATH", path)
                .current_dir(&job.root)
                .status()
                .during(format!("starting {program}"))?;
            Ok(Verdict::Code(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
        }
    }
}
