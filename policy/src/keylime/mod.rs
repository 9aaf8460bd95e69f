//! Keylime's subnets file: which networks talk in ESP only, and which are left out; and the configuration made of it.
//!
//! Keylime's own `generate.py` crashed on a blank line, paired IPv6 networks with `0.0.0.0/0`, and wrote its excludes behind
//! what they were to be excluded from, where Linux never looks at them. None of that is copied.

pub mod generate;
pub mod subnets;
