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
use crate::queue::{Draft, PerProcessPipeline, Pipeline, origin};
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
    /// Nothing but the filter decides on a call, and no context adds to its record.
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

/// The kind of a log call, with the content of its record.
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

/// A log call that has passed the filter.
#[derive(Clone, Copy)]
struct Call<'a> {
    record: &'a log::Record<'a>,
    kind: Kind<'a>,
    /// The outputs with filters that want it.
    wanting: Wanting,
}

impl Call<'_> {
    #[inline(always)]
    fn level(self) -> Level {
        self.record.level()
    }

    /// Returns the time of a record that may be offered. Counts a record that may not, as far as it
    /// is counted at all.
    #[inline(always)]
    fn admit(self, pipeline: &Pipeline) -> Option<Stamp> {
        let stamp = pipeline.admit(self.level(), self.wanting)?;
        (!self.is_suppressed(pipeline, self.wanting, stamp)).then_some(stamp)
    }

    /// Decides again whether a record is admitted, in a child that was forked while the record was
    /// formatted. The child counts for itself, and its writer understands only the stamps of its
    /// own pipeline.
    #[cold]
    #[inline(never)]
    fn admit_in_child(self, pipeline: &Pipeline) -> Option<Stamp> {
        self.admit(pipeline)
    }

    /// Returns true if the rate limit suppresses the record, and counts it. Whole lines all come
    /// from one location, so that there is no limit for them.
    #[inline(always)]
    fn is_suppressed(self, pipeline: &Pipeline, wanting: Wanting, stamp: Stamp) -> bool {
        let has_location = matches!(self.kind, Kind::Record(_) | Kind::Deferred(..));
        has_location && pipeline.suppresses(self.record, wanting, stamp)
    }

    /// Makes the record, which holds only what belongs to the program text.
    #[inline(always)]
    fn empty_record(self, stamp: Stamp, thread: u32) -> OwnedRecord {
        OwnedRecord::empty(self.record, stamp, thread, self.wanting)
    }

    /// Fills the record with the rest. Formats the message, which runs code of the program. Takes
    /// the record by reference, because the compiler copies one that is returned.
    #[inline(always)]
    fn fill(self, owned: &mut OwnedRecord, name: Option<&str>) {
        match self.kind {
            Kind::Record(surroundings) => owned.fill(self.record, name, surroundings.as_more()),
            Kind::Deferred(surroundings, message) => {
                owned.fill_deferred(self.record, name, surroundings.as_more(), message);
            }
            #[cfg(feature = "tracing")]
            Kind::Line => {
                owned.fill(self.record, name, None);
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
            let call = Call { record, kind: Kind::Record(&surroundings), wanting: verdict.wanting };
            self.put(call, verdict.needs_message);
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
        if !self.has_only_filter || named_in != pipeline.epoch() || scope::is_inside() {
            return false;
        }
        let Some(stamp) = pipeline.admit(level, Wanting::NOBODY) else { return true };
        // No code of the program runs here, so the process cannot fork in between.
        let mut draft;
        if let Some(literal) = message.site.lone_literal() {
            draft = Draft::new(OwnedRecord::of_literal(level, stamp, thread, message.site, literal));
        } else {
            draft = Draft::new(OwnedRecord::at_site(level, stamp, thread, message.site));
            if !draft.record().is_some_and(|record| record.store(message)) {
                return false;
            }
        }
        pipeline.offer(level, Wanting::NOBODY, &mut draft);
        true
    }

    /// Logs a record whose message is laid out on the writer's thread, unless something here has to
    /// know it.
    pub(crate) fn defer(&self, record: &log::Record<'_>, message: Deferred<'_>) {
        let verdict = self.filter.verdict_at(message.site, record).on(record.level());
        if !verdict.passes {
            return;
        }
        let surroundings = Surroundings { more: None, context: self.context.as_ref() };
        let is_known = verdict.needs_message || message.site.literal().is_some();
        let kind = if is_known { Kind::Record(&surroundings) } else { Kind::Deferred(&surroundings, message) };
        self.put(Call { record, kind, wanting: verdict.wanting }, verdict.needs_message);
    }

    /// Puts a whole line on the queue that some other crate has laid out and filtered, for the
    /// outputs without a filter and for these ones.
    #[cfg(feature = "tracing")]
    pub(crate) fn log_line(&self, level: Level, wanting: Wanting, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        let wanting = self.filter.load().wanting_text(line, level, wanting);
        let (mut builder, late) = (log::Record::builder(), self.captured.is_some());
        let put = |record: &log::Record<'_>| self.put(Call { record, kind: Kind::Line, wanting }, late);
        put(&builder.level(level).args(format_args!("{line}")).build());
    }

    /// Puts the record of a call on the queue, if some output takes it. With `late`, the record
    /// must be formatted before that can be decided. Inlined, so that the compiler makes code for
    /// each kind.
    #[inline(always)]
    fn put(&self, call: Call<'_>, late: bool) {
        let pipeline = self.per_process.pipeline();
        let (thread, named_in) = origin::origin();
        if late || named_in != pipeline.epoch() {
            self.put_in_full(call, pipeline, late);
        } else if let Some(stamp) = call.admit(pipeline) {
            self.offer(call, pipeline, stamp, Caller { thread, name: None });
        }
    }

    /// Puts a record on the queue whose thread has not sent its name yet, which the code of an
    /// output logs, or which is decided late.
    #[cold]
    #[inline(never)]
    fn put_in_full(&self, call: Call<'_>, pipeline: &Pipeline, late: bool) {
        let (level, wanting) = (call.level(), call.wanting);
        let admitted = match late {
            true => pipeline.wants(level, wanting).then(|| pipeline.stamp()),
            false => call.admit(pipeline),
        };
        let Some(stamp) = admitted else { return };
        let epoch = pipeline.epoch();
        let (mut number, named_in) = origin::origin();
        let is_output = origin::is_output(number);
        if is_output {
            let Some(admitted) = pipeline.admit_own(number, level, wanting) else { return };
            number = admitted;
        }
        let sends_name = (named_in != epoch).then(thread::current);
        if number == 0 {
            number = origin::new_thread_number();
            origin::sent_name(number, 0);
        }
        let caller = Caller { thread: number, name: sends_name.as_ref().and_then(Thread::name) };
        let is_in = match late {
            true => self.offer_late(call, pipeline, stamp, caller),
            false => self.offer(call, pipeline, stamp, caller),
        };
        // The code of an output has no epoch, so that each of its records comes here.
        if is_in && !is_output {
            origin::sent_name(number, epoch);
        }
    }

    /// Formats the record of a call that was admitted, and offers it.
    #[inline(always)]
    fn offer(&self, call: Call<'_>, admitted_by: &Pipeline, stamp: Stamp, caller: Caller<'_>) -> bool {
        let mut draft = Draft::new(call.empty_record(stamp, caller.thread));
        let Some(owned) = draft.record() else { return false };
        call.fill(owned, caller.name);
        // The program's code has run, and may have forked.
        let pipeline = self.per_process.pipeline();
        if !ptr::eq(pipeline, admitted_by) {
            let Some(stamp) = call.admit_in_child(pipeline) else { return false };
            owned.set_stamp(stamp);
        }
        pipeline.offer(call.level(), call.wanting, &mut draft)
    }

    /// Waits until everything accepted before the call is written, for at most
    /// `Builder::shutdown_timeout`.
    pub(crate) fn flush(&self) {
        // There is no way to return the error; `Stats` shows what is not written.
        let _ = self.per_process.pipeline().flush_in_time();
    }

    /// Offers a record that is printed for a test, or whose message decides whether it passes.
    #[cold]
    fn offer_late(&self, call: Call<'_>, asked: &Pipeline, stamp: Stamp, caller: Caller<'_>) -> bool {
        let level = call.level();
        let mut draft = Draft::new(call.empty_record(stamp, caller.thread));
        let Some(owned) = draft.record() else { return false };
        call.fill(owned, caller.name);
        let taken = match call.kind {
            Kind::Record(_) | Kind::Deferred(..) => self.filter.load().wanting(owned.message(), level, call.wanting),
            #[cfg(feature = "tracing")]
            Kind::Line => Some(call.wanting),
        };
        let Some(wanting) = taken else { return false };
        // The program's code has run, and may have forked.
        let pipeline = self.per_process.pipeline();
        if !ptr::eq(pipeline, asked) {
            owned.set_stamp(pipeline.stamp());
        }
        if !pipeline.wants(level, wanting) || call.is_suppressed(pipeline, wanting, owned.stamp()) {
            return false;
        }
        if let Some(captured) = &self.captured {
            captured.print(owned, wanting);
        }
        // A custom format that has printed the record may have forked, too.
        let pipeline = self.per_process.pipeline();
        match pipeline.closed_to(level, wanting) {
            None => {
                owned.set_wanting(wanting);
                pipeline.offer(level, wanting, &mut draft)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Site;
    use crate::{Builder, SinkOutput};

    /// In a logger with a context or a rate limit, a call that the filter turned away made a whole
    /// record each time.
    #[test]
    fn a_call_that_the_filter_turned_away_is_turned_away_by_its_site() {
        static PLAIN: Site = Site::new("app", "app.rs", 1, &[], "message");
        static WITH_CONTEXT: Site = Site::new("app", "app.rs", 2, &[], "message");
        static LIMITED: Site = Site::new("app", "app.rs", 3, &[], "message");
        let builder = || Builder::new().output(SinkOutput::writer("memory", Vec::new()));
        for (builder, site, adds_or_decides) in [
            (builder(), &PLAIN, false),
            (builder().context(|fields| fields.add("node", 7)), &WITH_CONTEXT, true),
            (builder().rate_limit(100, Duration::from_secs(60)), &LIMITED, true),
        ] {
            let (logger, handle) = builder.build().unwrap();
            let message = Deferred { site, arguments: &(), values: &() };
            let log = |level| {
                if !logger.core.log_at(level, message) {
                    let mut record = log::Record::builder();
                    record.level(level).target("app").module_path_static(Some("app"));
                    logger.core.defer(&record.args(format_args!("message")).build(), message);
                }
            };
            log(Level::Debug);
            assert!(logger.core.log_at(Level::Debug, message), "its site remembers");
            (0..2).for_each(|_| log(Level::Info));
            assert_eq!(logger.core.log_at(Level::Info, message), !adds_or_decides);
            assert_eq!(handle.stats().accepted, if adds_or_decides { 2 } else { 3 });
        }
    }
}
