//! The library in which a program has the logger; runs on the thread that sets the logger up.

#[cfg(windows)]
pub(crate) use super::windows::stay_loaded;

/// Elsewhere the system keeps a library whose threads have thread-locals to destroy.
#[cfg(not(windows))]
pub(crate) fn stay_loaded() {}
