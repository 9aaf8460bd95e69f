//! Properties the fuzz targets check. The targets themselves are in `fuzz_targets/`, one a parser.

pub mod checks;
