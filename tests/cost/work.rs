//! What the programs do: the logger that they install, and the record that they log.

use std::path::Path;
use std::time::Duration;

use unfazed::{Builder, Handle, LogFile};

/// A logger with the defaults, to a file, whatever room the disk has.
pub(crate) fn to_file(dir: &Path) -> Builder {
    Builder::new().file(LogFile::new(dir.join("app.log")).min_free_space(0))
}

/// The record that everything is measured by: three arguments, about 50 bytes.
#[inline(always)]
pub(crate) fn log_one(number: u64) {
    log::info!("user {} logged in from {} in {:.2} ms", number, "192.168.17.4", 12.5);
}

/// What a thread's first calls do once, they have done now; and the writer has opened its file.
pub(crate) fn warm_up() {
    (0..10).for_each(log_one);
    log::error!("warm");
    log::logger().flush();
}

/// Writes all there is and asserts that each record is counted once.
pub(crate) fn end(handle: &Handle) {
    handle.shutdown(Duration::from_secs(60)).unwrap();
    let stats = handle.stats();
    assert_eq!(stats.pending, 0, "{stats:?}");
    assert_eq!(stats.accepted, stats.written + stats.dropped.total(), "{stats:?}");
}
