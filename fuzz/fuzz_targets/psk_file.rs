//! psk.txt.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| fuzz::grammars::psk_file(octets));
