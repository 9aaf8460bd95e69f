//! racoon.conf, with its includes behind octets 0xff.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| fuzz::grammars::racoon_conf(octets));
