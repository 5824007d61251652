//! The logger that this crate has installed, which the crate's own macros log to. Any thread.

use std::sync::{Arc, OnceLock};

use super::logger::Core;

/// Set once, when `log` has taken the logger: both stay for the life of the process.
static INSTALLED: OnceLock<Arc<Core>> = OnceLock::new();

/// Says that the logger is the one of the `log` macros.
pub(crate) fn set(core: Arc<Core>) {
    // `log` has let in one logger, so nobody was here before.
    let _ = INSTALLED.set(core);
}

/// Returns the logger, if it is one of this crate.
#[inline]
pub(crate) fn get() -> Option<&'static Core> {
    INSTALLED.get().map(|core| &**core)
}
