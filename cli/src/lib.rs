//! The edges and the programs: `xfrmd`, `xfrmctl`, `setkey`.
