//! Waiting for a condition, never for a time. Every wait has a deadline and says what it waited for when it passes.

use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// How often a condition is looked at again: short against every event that is waited for, long against a process start
/// in a user-mode kernel.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits until `condition` holds.
///
/// # Errors
/// When the deadline passes first, or when looking itself fails.
pub fn until(deadline: Duration, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    until_some(deadline, what, || Ok(condition()?.then_some(())))
}

/// Waits until `condition` yields a value.
///
/// # Errors
/// When the deadline passes first, or when looking itself fails.
pub fn until_some<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() >= deadline {
            return Err(Failure::new(format!("waited {:.1} s in vain for {what}", deadline.as_secs_f64())));
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Makes sure that `condition` holds at every look during the whole of `time`.
///
/// # Errors
/// When it stops holding, or when looking itself fails.
pub fn throughout(time: Duration, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        if !condition()? {
            return Err(Failure::new(format!("{what} no longer held after {:.1} s", start.elapsed().as_secs_f64())));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_wait() {
        let mut looks = 0;
        let seen = until_some(Duration::from_secs(5), "third look", || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(seen.unwrap(), 3);
    }

    #[test]
    fn a_deadline_names_what_was_waited_for() {
        let error = until(Duration::ZERO, "a miracle", || Ok(false)).unwrap_err();
        assert_eq!(error.to_string(), "waited 0.0 s in vain for a miracle");
    }
}
