//! `Handle`: what the program can ask of its running logger. Any thread.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;

use crate::error::{FilterError, FlushError};
use crate::event::State;
use crate::front::filter::CurrentFilter;
use crate::front::filter_doubts::FilterDoubts;
use crate::front::logger::Core;
use crate::log_files::LogFiles;
use crate::queue::{Orders, PerProcessPipeline};
use crate::stats::Stats;

/// Controls a running logger, from any thread. A handle is cheap to clone, and dropping it does
/// nothing.
///
/// ```no_run
/// use std::time::Duration;
///
/// let handle = unfazed::Builder::new().file("app.log").init()?;
/// let watcher = handle.clone();
/// std::thread::spawn(move || {
///     loop {
///         std::thread::sleep(Duration::from_secs(60));
///         let stats = watcher.stats();
///         log::info!("{} written, {} dropped", stats.written, stats.dropped.total());
///     }
/// });
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    per_process: Arc<PerProcessPipeline>,
    filter: Arc<CurrentFilter>,
    log_files: Arc<LogFiles>,
    #[cfg(feature = "tracing")]
    core: Arc<Core>,
}

impl Handle {
    pub(crate) fn new(core: &Arc<Core>, log_files: Arc<LogFiles>) -> Self {
        Self {
            per_process: core.per_process().clone(),
            filter: core.filter().clone(),
            log_files,
            #[cfg(feature = "tracing")]
            core: core.clone(),
        }
    }

    /// For another facade.
    #[cfg(feature = "tracing")]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Waits, for at most this long, until every record pending at the call is in the operating
    /// system's hands.
    ///
    /// Where `Fsync` is not `Never`, they are then on the disk as well. `Duration::ZERO` asks
    /// without waiting; `Duration::MAX` waits for ever.
    ///
    /// # Errors
    ///
    /// - [`FlushError::Timeout`]: the deadline passed first.
    /// - [`FlushError::Suspended`]: an output is suspended, or dropped a record that was pending.
    ///   The answer comes at once, before all of them are counted as dropped.
    /// - [`FlushError::Dropped`]: a record that was pending was dropped, for a newer one
    ///   ([`Overflow::DropOldest`](crate::Overflow::DropOldest)) or because of a slow reader.
    /// - [`FlushError::Closed`]: the logger was shut down.
    /// - [`FlushError::OnWriter`]: called from an event callback, a format or a sink.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// handle.flush(Duration::from_secs(2))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self, at_most: Duration) -> Result<(), FlushError> {
        self.per_process.pipeline().flush(at_most)
    }

    /// Returns the account at this moment.
    ///
    /// ```
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// let stats = handle.stats();
    /// if stats.dropped.total() > 0 {
    ///     // `stats.dropped` says why, `stats.outputs` where.
    /// }
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn stats(&self) -> Stats {
        self.per_process.pipeline().stats()
    }

    /// Returns the state of the worst output.
    ///
    /// ```
    /// use unfazed::State;
    ///
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// match handle.state() {
    ///     State::Suspended(cause) => { /* `cause` says why */ }
    ///     State::Low => { /* space is running out */ }
    ///     _ => {}
    /// }
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn state(&self) -> State {
        self.per_process.pipeline().state()
    }

    /// Returns the most verbose level that can pass the filter and that some output takes. A
    /// program that made its logger with `Builder::build` gives it to `log::set_max_level`.
    ///
    /// ```
    /// let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// // Wrap `logger` in one of your own, install that, then:
    /// log::set_max_level(handle.max_level());
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn max_level(&self) -> LevelFilter {
        self.filter.load().max_level()
    }

    /// Lists the files of the logger that are on the disk: each active file, and after it its
    /// archives, the newest first. Looks through their directories, and waits for the disk.
    /// Of an archive that a kill has left in both its forms, plain and `.gz`, the plain one is
    /// listed.
    ///
    /// An archive may be compressed, renamed or deleted by the writer after the list was made.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let path = dir.path().join("app.log");
    /// let (logger, handle) = unfazed::Builder::new().file(&path).build()?;
    /// assert_eq!(handle.log_files(), [path]);
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    #[doc(alias = "existing_log_files")]
    pub fn log_files(&self) -> Vec<PathBuf> {
        self.log_files.list()
    }

    /// Replaces the directives, on top of `Builder::level`, or of the level in a file that the
    /// logger has followed since. For an installed logger `log::max_level` follows. What was pushed
    /// stays on top.
    ///
    /// A logger from [`Builder::build`](crate::Builder::build) that is inside one of your own
    /// is not known to the `log` facade. There the macros keep their old level until you set it:
    /// `log::set_max_level(handle.max_level())`.
    ///
    /// # Errors
    ///
    /// The directives cannot be parsed; the old ones stay in force. Directives that match nothing
    /// as they are written, as `inof`, are no error; a WARN in the log advises on them.
    ///
    /// ```
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// handle.set_filter("info,app::db=trace")?;
    /// assert!(handle.set_filter("info,app::db=loud").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "parse_new_spec")]
    #[doc(alias = "set_new_spec")]
    pub fn set_filter(&self, directives: &str) -> Result<(), FilterError> {
        self.filter.set(directives)?;
        self.report_doubts(directives);
        Ok(())
    }

    /// Returns the directives in force, with `Builder::level` and all that was pushed, as one text:
    /// `info,hyper=warn`. [`set_filter`](Self::set_filter) with that text means the same.
    ///
    /// ```
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// handle.set_filter("hyper=warn")?;
    /// assert_eq!(handle.filter(), "info,hyper=warn");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter(&self) -> String {
        self.filter.directives()
    }

    /// Lays directives over those in force until the guard is dropped: "debug for the next five
    /// minutes". [`FilterGuard::keep`] leaves them in force without a guard.
    ///
    /// They override what they name and leave the rest: over `info,hyper=warn`, `debug` means
    /// `debug,hyper=warn`. Pushes may be stacked, and dropped in any order.
    ///
    /// # Errors
    ///
    /// The directives cannot be parsed; nothing is pushed. As with
    /// [`set_filter`](Self::set_filter), a WARN in the log advises on those that match nothing as
    /// they are written.
    ///
    /// ```
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// let debug = handle.push_filter("debug")?;
    /// assert_eq!(handle.filter(), "debug");
    /// drop(debug);
    /// assert_eq!(handle.filter(), "info");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "push_temp_spec")]
    pub fn push_filter(&self, directives: &str) -> Result<FilterGuard, FilterError> {
        let number = self.filter.push(directives)?;
        self.report_doubts(directives);
        Ok(FilterGuard { filter: self.filter.clone(), number })
    }

    /// Reports directives that match nothing, if the queue has a slot.
    fn report_doubts(&self, directives: &str) {
        if let Some(notice) = FilterDoubts::of([directives]).notice() {
            self.per_process.pipeline().offer_own(notice.into());
        }
    }

    /// Takes back what was pushed last, whether its guard is still there or not. With nothing
    /// pushed it does nothing.
    ///
    /// ```
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// handle.push_filter("trace")?.keep();
    /// handle.pop_filter();
    /// assert_eq!(handle.max_level(), log::LevelFilter::Info);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "pop_temp_spec")]
    pub fn pop_filter(&self) {
        self.filter.pop();
    }

    /// Rotates every file after the records that are pending now. Does not block;
    /// [`flush`](Self::flush) afterwards waits for it. Repeated calls that the writer has not seen
    /// yet are merged.
    ///
    /// An empty file is not rotated. Nor is a file whose lock another process holds, which is
    /// reported as an [`Event::Failed`](crate::Event::Failed). A suspended output is rotated after
    /// it has resumed. Called from an event callback, a format or a sink, it wakes nobody: the
    /// files are rotated when the writer looks next.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let handle = unfazed::Builder::new().file("app.log").init()?;
    /// log::info!("the last record of this file");
    /// handle.rotate();
    /// handle.flush(Duration::from_secs(2))?; // now it is done
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rotate(&self) {
        self.per_process.pipeline().order(Orders::rotate);
    }

    /// Opens every file again that is no longer at its path, for logrotate's `postrotate`. Comes
    /// after the records that are pending now. A directory that is gone is made again. Does not
    /// block.
    ///
    /// A file that is still at its path stays open, because a program that has dropped its
    /// privileges may not be able to open it again. A console or a FIFO is opened again, and closed
    /// only after that; if it cannot be opened, it stays as it is, and the failure is reported. One
    /// whose reader is slow is opened again when the reader has taken the lines that wait, or has
    /// gone.
    ///
    /// A file that was renamed, deleted or replaced is noticed without it, within 100 ms before a
    /// write and 500 ms at rest.
    ///
    /// ```no_run
    /// let handle = unfazed::Builder::new().file("app.log").init()?;
    /// let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGHUP])?;
    /// std::thread::spawn(move || {
    ///     for _ in signals.forever() {
    ///         handle.reopen(); // logrotate's `postrotate` sends the signal
    ///     }
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reopen(&self) {
        self.per_process.pipeline().order(Orders::reopen);
    }

    /// Ends the writer's thread. No record is accepted any more; pending records are written for at
    /// most this long.
    ///
    /// What comes later, or is still in the queue at the deadline, is counted as
    /// `Dropped::shutdown`. Lines that have waited for a slow reader until the deadline count as
    /// dropped a moment after it, mostly within 50 ms. What the writer holds while a sink hangs
    /// stays `Stats::pending`: it may yet be written.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush); `Closed` if it was shut down before.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unfazed::{FlushError, State};
    ///
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// handle.shutdown(Duration::from_secs(2))?;
    /// assert_eq!(handle.state(), State::Closed);
    /// assert_eq!(handle.flush(Duration::ZERO), Err(FlushError::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, at_most: Duration) -> Result<(), FlushError> {
        self.per_process.pipeline().shutdown(at_most)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// A handle has no state that a panic could leave half changed.
impl UnwindSafe for Handle {}
impl RefUnwindSafe for Handle {}

/// Keeps pushed directives in force. Made by [`Handle::push_filter`]; dropping it takes them back,
/// and no others.
///
/// ```
/// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// let outer = handle.push_filter("debug")?;
/// let inner = handle.push_filter("hyper=trace")?;
/// drop(outer);
/// assert_eq!(handle.filter(), "info,hyper=trace");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping this at once takes the directives back again"]
pub struct FilterGuard {
    filter: Arc<CurrentFilter>,
    number: u64,
}

impl FilterGuard {
    /// Leaves the directives in force until [`Handle::pop_filter`] takes them back.
    ///
    /// ```
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// handle.push_filter("debug")?.keep();
    /// assert_eq!(handle.filter(), "debug");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep(mut self) {
        // No filter has this number: there is nothing to take back.
        self.number = 0;
    }
}

impl Drop for FilterGuard {
    fn drop(&mut self) {
        if self.number != 0 {
            self.filter.take_back(self.number);
        }
    }
}

impl fmt::Debug for FilterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterGuard").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_and_a_logger_may_cross_a_caught_panic() {
        fn cross<T: UnwindSafe + RefUnwindSafe>() {}
        cross::<Handle>();
        cross::<crate::Logger>();
    }

    #[test]
    fn guards_take_back_their_own_directives_in_any_order() {
        let (_logger, handle) = crate::Builder::new().file("/dev/null").build().unwrap();
        let first = handle.push_filter("a=debug").unwrap();
        let second = handle.push_filter("b=trace").unwrap();
        handle.push_filter("c=warn").unwrap().keep();
        drop(first);
        assert_eq!(handle.filter(), "info,b=trace,c=warn");
        handle.pop_filter();
        assert_eq!(handle.filter(), "info,b=trace");
        handle.pop_filter();
        drop(second);
        assert_eq!(handle.filter(), "info", "taken back once");
        assert!(handle.push_filter("a=loud").is_err());
    }
}
