//! A datagram as it comes from the network.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| fuzz::checks::datagram(octets));
