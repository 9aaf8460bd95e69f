//! What safe crates do not offer: the one file of the programs with unsafe code.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use tokio::io::unix::AsyncFd;

/// An open file whose readiness the reactor reports.
#[derive(Debug)]
pub struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Registers `descriptor`. Needs a running reactor.
    ///
    /// # Errors
    /// The system call's (a plain file, for one, cannot be waited for).
    pub fn register(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is owned and stays in the AsyncFd: no method of this type gives it out mutably.
        let registered = unsafe { AsyncFd::register(descriptor) };
        Ok(Self(registered?))
    }

    /// Waits until `attempt` does not find it empty. Safe to drop and call again.
    ///
    /// # Errors
    /// Those of `attempt`, but for "would block".
    pub async fn read<T>(&self, mut attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|inner| attempt(inner.get_ref().as_fd())) {
                Ok(outcome) => return outcome,
                Err(_would_block) => {}
            }
        }
    }
}

/// Local broken-down time of `unix` seconds: year, month 1..=12, day, hour, minute, second.
pub fn local_time(unix: i64) -> (i32, [u8; 5]) {
    let time: libc::time_t = unix;
    // SAFETY: all-zero octets are a valid `tm` (integers and a null pointer).
    let mut broken: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type; localtime_r writes only to the second and keeps none.
    unsafe { libc::localtime_r(&raw const time, &raw mut broken) };
    let fields = [broken.tm_mon + 1, broken.tm_mday, broken.tm_hour, broken.tm_min, broken.tm_sec];
    (broken.tm_year.saturating_add(1900), fields.map(|number| u8::try_from(number).unwrap_or(0)))
}

/// Has `command` inherit nothing but its standard input, output and error, whatever this process was started with. Kernels
/// before 5.11 do not know how; then only what this process opened itself is kept from it.
pub fn inherit_nothing(command: &mut Command) {
    // SAFETY: between fork and exec there is one system call, which allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| {
            let _too_old = libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            Ok(())
        });
    }
}
