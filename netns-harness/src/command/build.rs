//! Where things are, and having cargo build the programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::process;
use crate::program::this_program;

/// Optimised or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// As tests use it, so that nothing is compiled twice.
    Dev,
    /// For figures.
    Release,
}

/// The target folder that this program was built in.
///
/// # Errors
/// When it does not lie in one.
pub(super) fn target() -> Result<PathBuf> {
    let program = this_program()?;
    let folder = program.parent().and_then(Path::parent);
    folder.map(Path::to_owned).ok_or_else(|| Failure::new("this program does not lie in a target folder"))
}

/// The folder for everything the desk writes.
///
/// # Errors
/// As [`target`].
pub(super) fn desk_folder() -> Result<PathBuf> {
    Ok(target()?.join("netns"))
}

/// The workspace.
pub(super) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest.parent().map(Path::to_owned).unwrap_or(manifest)
}

/// Cargo, as it runs this program.
pub(super) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds the programs of these packages; the folder they lie in.
///
/// # Errors
/// When they do not compile.
pub(super) fn programs(packages: &[&str], profile: Profile) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--bins"]);
    packages.iter().for_each(|package| {
        command.args(["--package", package]);
    });
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    println!("building: {}", process::shown(&command));
    let status = command.status()?;
    if status.success() { Ok(target()?.join(folder)) } else { Err(Failure::new("the programs do not build")) }
}
