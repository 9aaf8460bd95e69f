//! Ten thousand policies into the kernel: a setkey script of `spdadd` lines against the same policies as an `ip -batch` file.

use std::fmt::Write as _;

use super::batch::{self, Entries, Table};
use super::{Place, Round};
use crate::failure::Result;

/// How many.
const COUNT: u32 = 10_000;

pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    let mut entries = Entries::default();
    for number in 0..COUNT {
        let (high, low) = (number >> 8, number & 0xff);
        // Writing to a string cannot fail.
        let _ = writeln!(entries.setkey, "spdadd 10.1.0.1 10.2.{high}.{low} any -P out ipsec esp/transport//require;");
        let _ = writeln!(
            entries.batch,
            "xfrm policy add src 10.1.0.1/32 dst 10.2.{high}.{low}/32 dir out priority 2147483648 tmpl proto esp mode transport level required"
        );
    }
    batch::round(place, &entries, Table::Policy, &format!("OUT {COUNT} "))
}
