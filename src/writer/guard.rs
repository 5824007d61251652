//! Catches the panics of code that is the program's own: formats, sinks and callbacks. Runs on the
//! writer's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A format, a sink or a callback of the program panicked.
pub(super) struct Panicked;

/// Runs `f`, and catches its panic.
pub(super) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    // Dropping the payload of the panic could panic again; a program that panics here has worse
    // leaks.
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        #[cfg(test)]
        CAUGHT.set(CAUGHT.get() + 1);
        std::mem::forget(payload);
        Panicked
    })
}

#[cfg(test)]
thread_local! {
    /// Counts the panics that were caught on this thread, for tests without code of the program.
    pub(crate) static CAUGHT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
