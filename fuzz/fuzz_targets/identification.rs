//! The body of an identification payload.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| fuzz::checks::identification(body));
