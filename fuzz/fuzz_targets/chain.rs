//! A decrypted chain of payloads with its padding; the first octet is the header's next-payload field.
#![no_main]

use ike::wire::message::Tail;
use ike::wire::number::PayloadType;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    if let Some((first, chain)) = octets.split_first() {
        fuzz::checks::chain(PayloadType(*first), chain, Tail::Padding);
    }
});
