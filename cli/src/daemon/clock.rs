//! The only clock of the daemon, and the alarm that follows it.
//!
//! CLOCK_BOOTTIME, because lifetimes go on while a machine is suspended and a step of the wall clock must not touch
//! them (ATTACKS H-9). The wall clock serves certificates and listings only.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ike::event::Now;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

use crate::os::Readiness;

/// Reads both clocks.
pub fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { monotonic: boottime(), wall }
}

/// Time since boot, suspended time included.
pub fn boottime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Wakes the loop at a boot time, also out of a suspend.
#[derive(Debug)]
pub struct Alarm {
    descriptor: OwnedFd,
    readiness: Readiness,
    armed: Option<Duration>,
}

impl Alarm {
    /// An alarm that is not set. Needs a running tokio reactor.
    ///
    /// # Errors
    /// The system call's.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { readiness: Readiness::register(timer.try_clone()?)?, descriptor: timer, armed: None })
    }

    /// Rings at `when` (at once if that is past); `None` does not ring.
    ///
    /// # Errors
    /// The system call's.
    pub fn set(&mut self, when: Option<Duration>) -> io::Result<()> {
        if self.armed == when {
            return Ok(());
        }
        // Zero would disarm the timer, and a time before boot is no time.
        let value = when.map_or(Duration::ZERO, |when| when.max(Duration::from_nanos(1)));
        let timespec = Timespec {
            tv_sec: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(value.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: timespec };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::ABSTIME, &once)?;
        self.armed = when;
        Ok(())
    }

    /// Completes when the alarm rings. Safe to drop and call again.
    ///
    /// # Errors
    /// The system call's.
    pub async fn ring(&mut self) -> io::Result<()> {
        self.readiness
            .read(|timer| {
                let mut count = [0; 8];
                rustix::io::read(timer, &mut count).map_err(io::Error::from)
            })
            .await?;
        self.armed = None;
        Ok(())
    }
}
