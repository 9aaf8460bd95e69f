//! This program's own file: it is also the guest's process 1 and module loader.

use std::path::PathBuf;

use crate::failure::{During, Result};

/// This program's file. Cargo may have replaced it while it runs; the new one serves as well.
///
/// # Errors
/// When the kernel cannot say.
pub fn this_program() -> Result<PathBuf> {
    let path = std::env::current_exe().during("finding this program")?;
    Ok(path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map_or(path.clone(), PathBuf::from))
}
