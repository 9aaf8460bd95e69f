//! The body of an SA payload.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| fuzz::checks::sa(body));
