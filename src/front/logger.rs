//! `Logger`, the `log::Log` of this crate: filter, gate, record, queue. Runs on the caller's
//! thread.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::sync::Arc;
use std::thread::{self, Thread};

use log::{Level, LevelFilter, Metadata};

use crate::clock::Stamp;
use crate::front::captured::Captured;
use crate::front::context::{Context, Surroundings};
use crate::front::filter::CurrentFilter;
use crate::front::scope;
use crate::queue::{PerProcessPipeline, Pipeline, Queued, origin};
use crate::record::{Caller, Deferred, MoreKeyValues, OwnedRecord};
use crate::wanted::Wanting;

/// Logs records without being installed: made by `Builder::build`, to be wrapped in another logger,
/// or to be installed with `log::set_boxed_logger`.
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
    /// What the program adds to each record.
    context: Option<Context>,
    /// For `Console::test`.
    captured: Option<Captured>,
    /// Nothing but the filter decides on a call or adds to its record, so that the call's site may
    /// remember what the filter says.
    has_only_filter: bool,
}

impl Logger {
    pub(crate) fn new(
        per_process: Arc<PerProcessPipeline>,
        filter: Arc<CurrentFilter>,
        context: Option<Context>,
        captured: Option<Captured>,
    ) -> Self {
        let is_limited = per_process.pipeline().rate_limit().is_some();
        let has_only_filter = !is_limited && context.is_none() && captured.is_none();
        Self { core: Arc::new(Core { per_process, filter, context, captured, has_only_filter }) }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Returns the most verbose level that can pass the filter and that some output takes; for
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

/// What a log call puts into its record.
#[derive(Clone, Copy)]
enum Kind<'a> {
    /// A record, and what it has next to its own key-values.
    Record(&'a Surroundings<'a>),
    /// A record whose arguments are stored in place of its message.
    Deferred(&'a Surroundings<'a>, Deferred<'a>),
    /// A whole line.
    #[cfg(feature = "tracing")]
    Line,
}

impl Kind<'_> {
    /// Returns true if the rate limit can count the call by its location. Whole lines all come from
    /// one location.
    #[inline(always)]
    fn has_location(self) -> bool {
        matches!(self, Self::Record(_) | Self::Deferred(..))
    }

    /// Fills the record with what the call has beyond the program text.
    #[inline(always)]
    fn fill(self, owned: &mut OwnedRecord, record: &log::Record<'_>, name: Option<&str>) {
        match self {
            Self::Record(surroundings) => owned.fill(record, name, surroundings.as_more()),
            Self::Deferred(surroundings, message) => {
                owned.fill_deferred(record, name, surroundings.as_more(), message);
            }
            #[cfg(feature = "tracing")]
            Self::Line => {
                owned.fill(record, name, None);
                owned.set_line();
            }
        }
    }
}

impl Core {
    pub(crate) fn filter(&self) -> &Arc<CurrentFilter> {
        &self.filter
    }

    pub(crate) fn per_process(&self) -> &Arc<PerProcessPipeline> {
        &self.per_process
    }

    #[inline(always)]
    pub(crate) fn log(&self, record: &log::Record<'_>, more: Option<&dyn MoreKeyValues>) {
        let verdict = self.filter.verdict_on(record);
        if verdict.passes {
            let surroundings = Surroundings { more, context: self.context.as_ref() };
            self.put(record, Kind::Record(&surroundings), verdict.wanting, verdict.by_message);
        }
    }

    /// Logs a call whose arguments and values can all be stored, if its thread and its site have
    /// logged before, and if no scope, context, rate limit or capture has to see the record.
    /// Otherwise returns false, and has done nothing.
    #[inline]
    pub(crate) fn log_at(&self, level: Level, message: Deferred<'_>) -> bool {
        let Some(levels) = self.filter.levels_at(message.site) else { return false };
        if !levels.has(level) {
            return true;
        }
        let pipeline = self.per_process.pipeline();
        let (thread, named_in) = origin::origin();
        if named_in != pipeline.epoch() || scope::is_inside() {
            return false;
        }
        let Some(stamp) = pipeline.admit(level, Wanting::NOBODY) else { return true };
        // No code of the program runs here, so the process cannot fork in between.
        let mut record = OwnedRecord::at_site(level, stamp, thread, message.site);
        if !record.store(message) {
            return false;
        }
        let spilled = record.spilled();
        pipeline.offer(level, Wanting::NOBODY, spilled, Queued::new(record));
        true
    }

    /// Logs a record whose message is laid out on the writer's thread, unless something here has to
    /// know it.
    pub(crate) fn defer(&self, record: &log::Record<'_>, message: Deferred<'_>) {
        let verdict = self.filter.verdict_at(message.site, record, self.has_only_filter).on(record.level());
        if !verdict.passes {
            return;
        }
        let surroundings = Surroundings { more: None, context: self.context.as_ref() };
        let is_known = verdict.by_message || message.site.literal().is_some();
        let kind = if is_known { Kind::Record(&surroundings) } else { Kind::Deferred(&surroundings, message) };
        self.put(record, kind, verdict.wanting, verdict.by_message);
    }

    /// Puts a whole line on the queue that some other crate has laid out and filtered, for the
    /// outputs without a filter and for these ones.
    #[cfg(feature = "tracing")]
    pub(crate) fn log_line(&self, level: Level, wanting: Wanting, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        let wanting = self.filter.load().wanting_text(line, level, wanting);
        let mut record = log::Record::builder();
        let late = self.captured.is_some();
        self.put(&record.level(level).args(format_args!("{line}")).build(), Kind::Line, wanting, late);
    }

    /// Puts a record that has passed the filter on the queue, if some output takes it. With `late`,
    /// the record must be formatted before that can be decided. Inlined, so that the compiler makes
    /// code for each kind.
    #[inline(always)]
    fn put(&self, record: &log::Record<'_>, kind: Kind<'_>, wanting: Wanting, late: bool) {
        let pipeline = self.per_process.pipeline();
        let (thread, named_in) = origin::origin();
        if late || named_in != pipeline.epoch() {
            self.put_in_full(pipeline, record, kind, wanting, late);
        } else if let Some(stamp) = Self::admit(pipeline, record, kind, wanting) {
            self.offer(pipeline, record, kind, wanting, stamp, Caller { thread, name: None });
        }
    }

    /// Puts a record on the queue whose thread has not sent its name yet, which the code of an
    /// output logs, or which is decided late.
    #[cold]
    #[inline(never)]
    fn put_in_full(&self, pipeline: &Pipeline, record: &log::Record<'_>, kind: Kind<'_>, wanting: Wanting, late: bool) {
        let level = record.level();
        let admitted = match late {
            true => pipeline.wants(level, wanting).then(|| pipeline.stamp()),
            false => Self::admit(pipeline, record, kind, wanting),
        };
        let Some(stamp) = admitted else { return };
        let epoch = pipeline.epoch();
        let (mut number, named_in) = origin::origin();
        let is_output = origin::is_output(number);
        if is_output && !pipeline.admits_own(number, level, wanting) {
            return;
        }
        let sends_name = (named_in != epoch).then(thread::current);
        if number == 0 {
            number = origin::new_thread_number();
            origin::sent_name(number, 0);
        }
        let caller = Caller { thread: number, name: sends_name.as_ref().and_then(Thread::name) };
        let is_in = match late {
            true => self.offer_late(pipeline, record, kind, wanting, stamp, caller),
            false => self.offer(pipeline, record, kind, wanting, stamp, caller),
        };
        // An output's code never has, so that each of its records comes here.
        if is_in && !is_output {
            origin::sent_name(number, epoch);
        }
    }

    /// Formats a record that was admitted, and offers it.
    #[inline(always)]
    fn offer(
        &self,
        admitted_by: &Pipeline,
        record: &log::Record<'_>,
        kind: Kind<'_>,
        wanting: Wanting,
        stamp: Stamp,
        caller: Caller<'_>,
    ) -> bool {
        let level = record.level();
        let mut owned = OwnedRecord::empty(record, stamp, caller.thread, wanting);
        kind.fill(&mut owned, record, caller.name);
        // The program's code has run, and may have forked.
        let pipeline = self.per_process.pipeline();
        if !ptr::eq(pipeline, admitted_by) {
            let Some(stamp) = Self::admit_in_child(pipeline, record, kind, wanting) else { return false };
            owned.set_stamp(stamp);
        }
        let spilled = owned.spilled();
        pipeline.offer(level, wanting, spilled, Queued::new(owned))
    }

    /// Returns the time of a record that may be offered. Counts a record that may not, as far as it
    /// is counted at all.
    #[inline(always)]
    fn admit(pipeline: &Pipeline, record: &log::Record<'_>, kind: Kind<'_>, wanting: Wanting) -> Option<Stamp> {
        let stamp = pipeline.admit(record.level(), wanting)?;
        let is_suppressed = kind.has_location() && pipeline.suppresses(record, wanting, stamp);
        (!is_suppressed).then_some(stamp)
    }

    /// Decides again whether a record is admitted, in a child that was forked while the record was
    /// formatted. The child counts for itself, and its writer understands only the stamps of its
    /// own pipeline.
    #[cold]
    #[inline(never)]
    fn admit_in_child(
        pipeline: &Pipeline,
        record: &log::Record<'_>,
        kind: Kind<'_>,
        wanting: Wanting,
    ) -> Option<Stamp> {
        Self::admit(pipeline, record, kind, wanting)
    }

    /// Waits until everything accepted before the call is written, for at most
    /// `Builder::shutdown_timeout`.
    pub(crate) fn flush(&self) {
        // There is no way to return the error; `Stats` shows what is not written.
        let _ = self.per_process.pipeline().flush_in_time();
    }

    /// Offers a record that is printed for a test, or whose message decides whether it passes.
    #[cold]
    fn offer_late(
        &self,
        asked: &Pipeline,
        record: &log::Record<'_>,
        kind: Kind<'_>,
        wanting: Wanting,
        stamp: Stamp,
        caller: Caller<'_>,
    ) -> bool {
        let level = record.level();
        let mut owned = OwnedRecord::empty(record, stamp, caller.thread, wanting);
        kind.fill(&mut owned, record, caller.name);
        let taken = match kind {
            Kind::Record(_) | Kind::Deferred(..) => self.filter.load().wanting(owned.message(), level, wanting),
            #[cfg(feature = "tracing")]
            Kind::Line => Some(wanting),
        };
        let Some(wanting) = taken else { return false };
        // The program's code has run, and may have forked.
        let pipeline = self.per_process.pipeline();
        if !ptr::eq(pipeline, asked) {
            owned.set_stamp(pipeline.stamp());
        }
        let is_wanted = pipeline.wants(level, wanting);
        if !is_wanted || kind.has_location() && pipeline.suppresses(record, wanting, owned.stamp()) {
            return false;
        }
        if let Some(captured) = &self.captured {
            captured.print(&owned, wanting);
        }
        // A custom format that has printed the record may have forked, too.
        let pipeline = self.per_process.pipeline();
        match pipeline.closed_to(level, wanting) {
            None => {
                owned.set_wanting(wanting);
                pipeline.offer(level, wanting, owned.spilled(), Queued::new(owned))
            }
            Some(reason) => {
                pipeline.refuse(level, wanting, reason);
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
        self.core.log(record, None);
    }

    /// Waits until everything accepted before the call is written, for at most
    /// `Builder::shutdown_timeout`.
    fn flush(&self) {
        self.core.flush();
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        // In a forked child that has not logged there is nothing to end. What was not written by
        // the deadline is counted as `shutdown`; a `Handle` still shows it.
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
