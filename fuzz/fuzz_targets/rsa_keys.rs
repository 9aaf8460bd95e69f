//! Files of `plain_rsa`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| fuzz::grammars::rsa_keys(octets));
