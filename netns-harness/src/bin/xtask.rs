//! `cargo xtask`. The same program is process 1 of the test kernel and, under the name `modprobe`, its module loader.

use std::process::ExitCode;

fn main() -> ExitCode {
    netns_harness::command::main()
}
