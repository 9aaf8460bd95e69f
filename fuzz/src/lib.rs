//! What the fuzz targets check. The targets themselves are in `fuzz_targets/`, one for each entry.

pub mod checks;
pub mod grammars;
pub mod machine;

/// Two endpoints in virtual time, and the puppet: the same files as the workspace's tests have.
#[path = "../../tests/src/sim/mod.rs"]
pub mod sim;
