//! A setkey script.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| fuzz::grammars::setkey_script(octets));
