//! `setkey -x`: what happens in the kernel, as it happens, for ever; and recordings of PF_KEY messages.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, poll};
use xfrm::batch::Refusal;
use xfrm::event_stream::{EventStream, Group};
use xfrm::model::notice::Notice;

use super::dump::Hex;
use super::options::Stamp;
use super::pfkey::{message, text};
use crate::civil;

/// What ends a listener.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The kernel.
    #[error("{0}")]
    Kernel(#[from] Refusal),
    /// Standard output, or waiting.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Prints every notice, with a dump of its octets if `hex`.
///
/// # Errors
/// Returns only when the kernel cannot be heard or nobody reads.
pub fn listen(stamp: Stamp, hex: bool) -> Result<(), MonitorError> {
    let mut events = EventStream::open(&Group::ALL, None)?;
    loop {
        match poll(&mut [PollFd::new(&events, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        for notice in events.read()? {
            tell(&notice, stamp, hex)?;
        }
    }
}

fn tell(notice: &Notice, stamp: Stamp, hex: bool) -> io::Result<()> {
    if matches!(notice, Notice::Overrun) {
        eprintln!("setkey: the kernel had to drop notices");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let Some(octets) = message::message(notice, now.as_secs()) else { return Ok(()) };
    let mut out = io::stdout().lock();
    writeln!(out, "{}", stamped(now, stamp))?;
    out.write_all(text::describe(&octets).as_bytes())?;
    if hex {
        writeln!(out, "{}", Hex(&octets))?;
    }
    out.write_all(b"\n")?;
    out.flush()
}

/// `HH:MM:SS.uuuuuu`, or seconds since 1970 with as many digits behind the point.
fn stamped(now: Duration, stamp: Stamp) -> String {
    let micros = now.subsec_micros();
    match stamp {
        Stamp::Raw => format!("{}.{micros:06}", now.as_secs()),
        Stamp::Clock => {
            let civil = civil::local(now.as_secs());
            format!("{:02}:{:02}:{:02}.{micros:06}", civil.hour, civil.minute, civil.second)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        let now = Duration::new(1_700_000_000, 1_234_000);
        assert_eq!(stamped(now, Stamp::Raw), "1700000000.001234");
        let clock = stamped(now, Stamp::Clock);
        assert_eq!((clock.len(), clock.ends_with(":20.001234")), ("HH:MM:SS.uuuuuu".len(), true), "{clock}");
    }
}
