//! Ten thousand SAs into the kernel: a setkey script against the same SAs as an `ip -batch` file.

use std::fmt::Write as _;

use super::batch::{self, Entries, Table};
use super::{Place, Round};
use crate::failure::Result;

/// How many.
const COUNT: u32 = 10_000;
const ENCRYPTION_KEY: &str = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const AUTHENTICATION_KEY: &str = "0x000102030405060708090a0b0c0d0e0f10111213";

pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    let mut entries = Entries::default();
    for number in 0..COUNT {
        let (spi, high, low) = (0x1000 + number, number >> 8, number & 0xff);
        // Writing to a string cannot fail.
        let _ = writeln!(
            entries.setkey,
            "add 10.1.0.1 10.2.{high}.{low} esp 0x{spi:x} -m transport -E aes-cbc {ENCRYPTION_KEY} -A hmac-sha1 {AUTHENTICATION_KEY};"
        );
        let _ = writeln!(
            entries.batch,
            "xfrm state add src 10.1.0.1 dst 10.2.{high}.{low} proto esp spi 0x{spi:x} mode transport enc cbc(aes) {ENCRYPTION_KEY} auth-trunc hmac(sha1) {AUTHENTICATION_KEY} 96"
        );
    }
    batch::round(place, &entries, Table::State, &format!("SAD count {COUNT}"))
}
