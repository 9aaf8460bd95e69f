//! `setkey`: see docs/man/setkey.8.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::setkey::run::run(std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()))
}
