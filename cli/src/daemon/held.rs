//! First packets of a flow: held by the kernel until their SA is there, not dropped.
//!
//! `net.core.xfrm_larval_drop` = 0 makes the kernel queue packets (up to 100 for each policy) while an acquire is
//! answered. The switch belongs to the network namespace; it is put back when the daemon goes.

use std::fs;
use std::path::PathBuf;

use crate::logging;

/// The kernel's switch.
pub const LARVAL_DROP: &str = "/proc/sys/net/core/xfrm_larval_drop";

/// Holds the switch at 0 until dropped.
#[derive(Debug)]
pub struct HeldPackets {
    path: PathBuf,
    before: Option<String>,
}

impl HeldPackets {
    /// Turns the switch; a switch that cannot be turned is a warning, since only first packets are at stake.
    pub fn hold(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let before = match turn(&path) {
            Ok(before) => before,
            Err(error) => {
                logging::warning(format_args!(
                    "{} cannot be set to 0 ({error}): the first packets of a flow are lost while its SA is negotiated",
                    path.display()
                ));
                None
            }
        };
        Self { path, before }
    }
}

/// The value to put back, if it was another one.
fn turn(path: &PathBuf) -> std::io::Result<Option<String>> {
    let before = fs::read_to_string(path)?;
    if before.trim() == "0" {
        return Ok(None);
    }
    fs::write(path, "0\n")?;
    Ok(Some(before))
}

impl Drop for HeldPackets {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Somebody else may have taken the right to write away meanwhile.
            let _unwritable = fs::write(&self.path, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switch_is_put_back_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xfrm_larval_drop");
        fs::write(&path, "1\n").unwrap();
        let held = HeldPackets::hold(&path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n");
        drop(held);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn switch_that_was_off_stays_off_and_a_missing_one_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xfrm_larval_drop");
        drop(HeldPackets::hold(&path));
        assert!(!path.exists());
        fs::write(&path, "0\n").unwrap();
        drop(HeldPackets::hold(&path));
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n");
    }
}
