//! Unix seconds to the calendar of the machine's time zone.

use std::fmt;

use openssl::asn1::{Asn1Time, Asn1TimeRef};

use crate::os;

/// A date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year.
    pub year: i32,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
    /// 0..=23.
    pub hour: u8,
    /// 0..=59.
    pub minute: u8,
    /// 0..=60.
    pub second: u8,
}

/// The local date and time of `unix` seconds.
pub fn local(unix: u64) -> Civil {
    let (year, [month, day, hour, minute, second]) = os::local_time(i64::try_from(unix).unwrap_or(i64::MAX));
    Civil { year, month, day, hour, minute, second }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// Unix seconds of a time in a certificate or CRL; before 1970 is 0.
pub fn unix(time: &Asn1TimeRef) -> u64 {
    let since = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time));
    since.map_or(0, |since| u64::try_from(i64::from(since.days) * 86_400 + i64::from(since.secs)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_86400_seconds_in_any_zone() {
        let (one, two) = (local(1_000_000_000), local(1_000_086_400));
        assert_eq!(one.year, 2001);
        assert_eq!(one.second, 40);
        assert_eq!((one.hour, one.minute), (two.hour, two.minute));
        assert_eq!(one.to_string().len(), "2001-09-09 01:46:40".len());
    }
}
