//! The whole state machine before a peer that holds the keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| fuzz::machine::play(octets));
