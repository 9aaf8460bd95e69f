//! Work that must not happen on the daemon's loop, told to whoever builds for debugging: every scenario is a check of it.

use std::cell::Cell;

thread_local! {
    static IS_LOOP: Cell<bool> = const { Cell::new(false) };
}

/// From here on this thread is the loop: what waits for it is IKE.
pub fn this_is_the_loop() {
    IS_LOOP.set(true);
}

/// This thread is the loop no more.
pub fn the_loop_is_over() {
    IS_LOOP.set(false);
}

/// Called by what takes long.
///
/// # Panics
/// On the loop, in a program built with debug assertions.
#[track_caller]
pub fn assert_off_loop(what: &str) {
    // A thread that ends has no such variable any more, and is no loop.
    debug_assert!(!IS_LOOP.try_with(Cell::get).unwrap_or(false), "{what} on the loop");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loop_is_told() {
        assert_off_loop("nothing");
        let told = std::thread::spawn(|| {
            this_is_the_loop();
            assert_off_loop("long work");
        });
        assert!(told.join().is_err());
        assert_off_loop("nothing");
    }
}
