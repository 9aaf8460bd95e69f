//! The `cargo xtask` commands.

mod bench;
mod build;
mod demo;
mod guest;
mod inside;
mod install;
mod interop;
mod run;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::command::test::Choose;
use crate::failure::Failure;
use crate::holder;
use crate::uml::{boot, modules, rootfs};

/// Machines on a desk: try, test and measure xfrmd on a kernel that does ESP.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command inside the test kernel.
    Guest {
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Unit tests, simulation, snapshots and every namespace scenario.
    Test {
        /// Only the scenarios whose name contains this, or one of several words with commas between; if there is none, only
        /// the cargo tests that do.
        #[arg(long)]
        only: Option<String>,
        /// Of each scenario only one of its pairs of daemons, another one from scenario to scenario: what every change has to
        /// pass. The whole takes about an hour on two processors.
        #[arg(long)]
        one_pair_each: bool,
        /// Name the scenarios and end.
        #[arg(long)]
        list: bool,
        /// Only say what would be installed.
        #[arg(long)]
        no_install: bool,
    },
    /// Write docs/interop.md from the results of the scenarios so far.
    Interop,
    /// Three hosts, one CA, one revocation: the story with times.
    Demo {
        /// Also write the figures to this file.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Only say what would be installed.
        #[arg(long)]
        no_install: bool,
    },
    /// Figures beside a peer's, medians of interleaved rounds.
    Bench {
        /// The figure; all of them if none is named.
        name: Option<String>,
        /// Also write the figures to this file.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Rounds per figure; as many as each can afford if not given.
        #[arg(long)]
        rounds: Option<u32>,
        /// Only say what would be installed.
        #[arg(long)]
        no_install: bool,
    },
    /// What keeps a host's namespaces.
    #[command(hide = true)]
    Holder {
        /// Values below /proc/sys.
        settings: Vec<String>,
    },
    /// What ends a test kernel's helpers.
    #[command(hide = true)]
    Sweep {
        /// The test kernel's process group.
        group: i32,
    },
    /// What the test kernel runs.
    #[command(hide = true)]
    Inside {
        /// The job's file.
        job: PathBuf,
    },
}

/// Whether a command did what it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
    Code(u8),
}

/// The program: `cargo xtask`, process 1 of a guest, or a guest's module loader.
pub fn main() -> ExitCode {
    let mut words = std::env::args();
    if words.next().is_some_and(|name| name.ends_with(&format!("/{}", modules::LOADER))) {
        return code(modules::modprobe(words).map(|()| Verdict::Good));
    }
    if let Some(job) = rootfs::job_file() {
        rootfs::run(&job);
    }
    code(match Arguments::parse().command {
        Command::Guest { command } => guest::guest(command),
        Command::Test { only, one_pair_each, list, no_install } => {
            test::test(Choose { only: only.as_deref(), one_pair_each }, list, no_install)
        }
        Command::Interop => interop::interop(),
        Command::Demo { json, no_install } => demo::demo(json.as_deref(), no_install),
        Command::Bench { name, json, rounds, no_install } => bench::bench(name, json.as_deref(), rounds, no_install),
        Command::Holder { settings } => holder::hold(&settings).map(|()| Verdict::Good),
        Command::Sweep { group } => boot::sweep(group).map(|()| Verdict::Good),
        Command::Inside { job } => inside::inside(&job),
    })
}

fn code(result: Result<Verdict, Failure>) -> ExitCode {
    match result {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Ok(Verdict::Code(code)) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("xtask: {}", failure.report());
            ExitCode::FAILURE
        }
    }
}
