//! `Logger`, the `log::Log` of this crate: filter, gate, record, queue. Runs on the caller's
//! thread.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};

use log::{LevelFilter, Metadata};

use crate::clock::Stamp;
use crate::front::captured::Captured;
use crate::front::filter::CurrentFilter;
use crate::queue::{PerProcessPipeline, Pipeline, origin};
use crate::record::{Caller, Draft, OwnedRecord};
use crate::stats::DropReason;

/// A logger that is not installed: made by `Builder::build`, to be wrapped, or installed with
/// `log::set_boxed_logger`.
///
/// Dropping it writes what is pending, for at most `Builder::shutdown_timeout`, and ends the
/// writer's thread.
///
/// ```
/// use log::{Level, Log as _, Record};
///
/// let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// logger.log(&Record::builder().level(Level::Warn).args(format_args!("hello")).build());
/// drop(logger);
/// assert_eq!(handle.stats().written, 1);
/// # Ok::<(), unfazed::InitError>(())
/// ```
pub struct Logger {
    core: Arc<Core>,
}

/// What a log call needs.
pub(crate) struct Core {
    per_process: Arc<PerProcessPipeline>,
    filter: Arc<CurrentFilter>,
    /// For `Console::test`.
    captured: Option<Captured>,
}

impl Logger {
    pub(crate) fn new(
        per_process: Arc<PerProcessPipeline>,
        filter: Arc<CurrentFilter>,
        captured: Option<Captured>,
    ) -> Self {
        Self { core: Arc::new(Core { per_process, filter, captured }) }
    }

    /// For who must not keep the logger alive.
    pub(crate) fn core(&self) -> Weak<Core> {
        Arc::downgrade(&self.core)
    }

    /// The most verbose level that can pass the filter and that some output takes; for
    /// `log::set_max_level`, without which the `log` macros let nothing through.
    ///
    /// ```no_run
    /// let (logger, _handle) = unfazed::Builder::new().file("app.log").build()?;
    /// let max_level = logger.max_level();
    /// log::set_boxed_logger(Box::new(logger))?;
    /// log::set_max_level(max_level);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_level(&self) -> LevelFilter {
        self.core.filter.load().max_level()
    }
}

impl Core {
    #[inline]
    pub(crate) fn log(&self, record: &log::Record<'_>) {
        let level = record.level();
        let verdict = self.filter.verdict(record);
        if level > verdict.max_level {
            return;
        }
        let pipeline = self.per_process.pipeline();
        if !pipeline.wants(level) {
            return;
        }
        let closed = pipeline.closed_to(level);
        if let (Some(reason), false) = (closed, verdict.by_message) {
            pipeline.refuse(level, reason);
            return;
        }
        let stamp = pipeline.stamp();
        if !verdict.by_message && pipeline.suppresses(record, stamp) {
            return;
        }
        if let (Some(captured), false) = (&self.captured, verdict.by_message) {
            captured.print(record);
        }
        let audience = pipeline.audience();
        let (mut number, introduced_to) = origin::origin();
        let introduces = (introduced_to != audience).then(thread::current);
        if number == 0 {
            number = origin::new_thread_number();
            origin::introduced(number, 0);
        }
        if origin::is_output(number) && !pipeline.admits_own(number, level) {
            return;
        }
        let caller = Caller { thread: number, name: introduces.as_ref().and_then(Thread::name) };
        let is_in = if verdict.by_message {
            self.offer_if_taken(pipeline, record, stamp, caller, closed)
        } else {
            let draft = Draft::new(record, caller);
            pipeline.offer(level, draft.spilled(), draft.finish(record, stamp, caller))
        };
        if is_in && introduces.is_some() {
            origin::introduced(number, audience);
        }
    }

    /// Waits until what was accepted before is written, for at most `Builder::shutdown_timeout`.
    pub(crate) fn flush(&self) {
        // Nobody could be told of the error; `Stats` tells what is not written.
        let _ = self.per_process.pipeline().flush_in_time();
    }

    /// Where the message decides whether the record passes at all, and only then what becomes of
    /// it.
    #[cold]
    fn offer_if_taken(
        &self,
        pipeline: &Pipeline,
        record: &log::Record<'_>,
        stamp: Stamp,
        caller: Caller<'_>,
        closed: Option<DropReason>,
    ) -> bool {
        let owned = OwnedRecord::capture(record, stamp, caller);
        if !self.filter.load().takes(owned.message()) || pipeline.suppresses(record, stamp) {
            return false;
        }
        if let Some(captured) = &self.captured {
            captured.print(record);
        }
        match closed {
            None => pipeline.offer(record.level(), owned.spilled(), owned),
            Some(reason) => {
                pipeline.refuse(record.level(), reason);
                false
            }
        }
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.core.filter.load().enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        self.core.log(record);
    }

    /// Waits until what was accepted before it is written, for at most `Builder::shutdown_timeout`.
    fn flush(&self) {
        self.core.flush();
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        // In a forked child that has not logged there is nothing to end. What was not written by
        // the deadline is counted as `shutdown`; a `Handle` can still tell.
        if let Some(pipeline) = self.core.per_process.existing_pipeline() {
            pipeline.end_in_time();
        }
    }
}

/// A logger has no state that a panic could leave half changed.
impl UnwindSafe for Logger {}
impl RefUnwindSafe for Logger {}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger").field("max_level", &self.max_level()).finish_non_exhaustive()
    }
}
