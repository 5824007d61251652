//! `Builder`, and the plan it makes: the one room where the parts are joined. Runs on the thread that sets the logger up.
//!
//! A plan is immutable and says how a pipeline (queue, writer, outputs) is made, so that it can be made a second time. What
//! exists only once (a sink of the program's own, its event callback) goes to the first one.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use log::LevelFilter;

use crate::clock::Timeline;
use crate::disk::{self, RealDisk};
use crate::error::{FilterError, InitError};
use crate::event::{Event, EventHook, output_name};
use crate::format::{Encoder, Format};
use crate::front::filter::{CurrentFilter, Filter, Layers, split_env};
use crate::front::logger::Logger;
use crate::front::panics;
use crate::handle::Handle;
use crate::os;
use crate::queue::rate_limit::RateLimit;
use crate::queue::{self, Overflow, PerProcessPipeline, Pipeline, Renew};
use crate::record::Notice;
#[cfg(feature = "bench")]
use crate::sink::Now;
use crate::sink::Sink;
use crate::sink::console::{Color, Console};
use crate::sink::file::{FileSink, Target};
use crate::sink::log_file::{FileOptions, LogFile};
use crate::stats::{Counters, OutputCounters};
use crate::sync::thread;
use crate::writer::{Output, Writer, notice};

/// The most records a queue may hold: 1 Mi, which take about 264 MiB.
const MOST_CAPACITY: usize = 1 << 20;
/// The stack that std gives a thread unless the environment says otherwise.
const THREAD_STACK: usize = 2 << 20;
/// What must be there beside what is taken in one piece: counters, the places of a rate limit, the outputs.
const MEMORY_BESIDE: usize = 256 << 10;
/// The intervals that a rate limit may have.
const RATE_LIMIT_PER: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);

/// Sets a logger up.
///
/// | option | default |
/// |---|---|
/// | [`level`](Self::level) | `Info` |
/// | [`filter`](Self::filter), [`filter_env`](Self::filter_env) | none |
/// | [`file`](Self::file), [`console`](Self::console), [`sink`](Self::sink) | none; at least one is needed |
/// | [`format`](Self::format) | [`Format::text`], in UTC |
/// | [`capacity`](Self::capacity) | 8192 records |
/// | [`overflow`](Self::overflow) | [`Overflow::DropNewest`] |
/// | [`rate_limit`](Self::rate_limit) | none |
/// | [`shutdown_timeout`](Self::shutdown_timeout) | 2 s |
/// | [`on_event`](Self::on_event) | nothing is called |
/// | [`log_panics`](Self::log_panics) | `false` |
///
/// ```no_run
/// unfazed::Builder::new().file("app.log").init()?;
/// log::info!("hello");
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[must_use = "call `init` or `build`"]
pub struct Builder {
    level: LevelFilter,
    filter: Option<String>,
    filter_env: Option<String>,
    outputs: Vec<(LevelFilter, Option<Format>, Spec)>,
    sinks: Vec<Box<dyn Sink>>,
    format: Format,
    capacity: usize,
    overflow: Overflow,
    rate_limit: Option<(u32, Duration)>,
    shutdown_timeout: Duration,
    on_event: Option<EventHook>,
    log_panics: bool,
}

/// What kind of output.
#[derive(Debug)]
enum Spec {
    File {
        path: PathBuf,
        options: FileOptions,
    },
    Console(Console),
    /// The name, and the place among the program's own sinks.
    Sink(String, usize),
}

impl Builder {
    /// A builder with the defaults. Reads no environment.
    pub fn new() -> Self {
        Self {
            level: LevelFilter::Info,
            filter: None,
            filter_env: None,
            outputs: Vec::new(),
            sinks: Vec::new(),
            format: Format::default(),
            capacity: 8192,
            overflow: Overflow::default(),
            rate_limit: None,
            shutdown_timeout: Duration::from_secs(2),
            on_event: None,
            log_panics: false,
        }
    }

    /// The most verbose level of everything that no directive names. Default: `Info`.
    pub fn level(mut self, max: LevelFilter) -> Self {
        self.level = max;
        self
    }

    /// Directives in env_logger's grammar, as in `info,hyper=warn,app::db=trace`, on top of [`level`](Self::level).
    ///
    /// What stands behind a `/` must be in the message: a regular expression with the feature `regex`, a plain substring
    /// without it. Default: none.
    pub fn filter(mut self, directives: &str) -> Self {
        self.filter = Some(directives.to_owned());
        self
    }

    /// Reads further directives from this environment variable, as in `RUST_LOG`, on top of [`filter`](Self::filter).
    ///
    /// It is read once, when the logger is made. A variable that is not set changes nothing; a directive that cannot be
    /// parsed is skipped and told in one WARN record. Default: none.
    pub fn filter_env(mut self, variable: &str) -> Self {
        self.filter_env = Some(variable.to_owned());
        self
    }

    /// Adds a file: a path, or a [`LogFile`] with options of its own. May be called again for another path.
    pub fn file(mut self, file: impl Into<LogFile>) -> Self {
        let LogFile { path, level, format, options } = file.into();
        self.outputs.push((level, format, Spec::File { path, options }));
        self
    }

    /// Adds standard error or standard output.
    pub fn console(mut self, console: Console) -> Self {
        self.outputs.push((console.level, console.format.clone(), Spec::Console(console)));
        self
    }

    /// Adds an output of the program's own, which takes all levels in the builder's format. `name` is what events and
    /// `Stats` call it. It stays with this process: a forked child goes on without it.
    pub fn sink(mut self, name: &str, sink: impl Sink + 'static) -> Self {
        self.outputs.push((LevelFilter::Trace, None, Spec::Sink(name.to_owned(), self.sinks.len())));
        self.sinks.push(Box::new(sink));
        self
    }

    /// As [`sink`](Self::sink), with a level and a format of its own: the most verbose level it takes, and how its lines look.
    pub fn sink_with(
        mut self,
        name: &str,
        sink: impl Sink + 'static,
        level: LevelFilter,
        format: impl Into<Format>,
    ) -> Self {
        self.outputs.push((level, Some(format.into()), Spec::Sink(name.to_owned(), self.sinks.len())));
        self.sinks.push(Box::new(sink));
        self
    }

    /// The format of the outputs that set none. Default: [`Format::text`].
    pub fn format(mut self, format: impl Into<Format>) -> Self {
        self.format = format.into();
        self
    }

    /// How many records the queue holds, from 1 to 1 048 576. Default: 8192, which take about 2 MiB.
    pub fn capacity(mut self, records: usize) -> Self {
        self.capacity = records;
        self
    }

    /// What happens when the queue is full. Default: [`Overflow::DropNewest`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// At most `records` records in each `per` from one place of the program (its file and line), so that an error in a loop does
    /// not push out everything else.
    ///
    /// What is too much is not formatted; it is counted in `Stats::suppressed`, and when the interval is over one record of
    /// the same level, target and place says "57 similar records suppressed". Intervals are those of the wall clock; some
    /// 4000 places are watched, what comes later is not limited, and neither are records without a place. It costs each
    /// call some 7 ns, and 17 more on Linux on x86-64, where without it a call need not read the clock itself.
    ///
    /// `records` is at least 1, `per` from 1 ms to 1 h. Default: no limit.
    pub fn rate_limit(mut self, records: u32, per: Duration) -> Self {
        self.rate_limit = Some((records, per));
        self
    }

    /// How long the end may take: the end of the process, the drop of a [`Logger`], and `log::logger().flush()`. Default: 2 s. Zero does not
    /// wait; `Duration::MAX` waits for ever.
    pub fn shutdown_timeout(mut self, at_most: Duration) -> Self {
        self.shutdown_timeout = at_most;
        self
    }

    /// Called with everything that happens to an output, on the writer's thread: no record is written until it returns.
    /// It may log. A forked child does not call it. Default: nothing is called.
    pub fn on_event(mut self, tell: impl FnMut(&Event) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(tell));
        self
    }

    /// Whether every panic of the program becomes an ERROR record (target `panic`) with its thread and place, before the panic hook
    /// that was there already runs. The hook stays for the life of the process. Default: `false`.
    pub fn log_panics(mut self, log_panics: bool) -> Self {
        self.log_panics = log_panics;
        self
    }

    /// Makes a logger and installs nothing. Dropping the [`Logger`] writes what is pending and ends the thread.
    ///
    /// # Errors
    ///
    /// An [`InitError`] that names the option; nothing is left behind.
    pub fn build(self) -> Result<(Logger, Handle), InitError> {
        let log_panics = self.log_panics;
        let (pipeline, logger, handle) = self.prepare()?;
        let ready = start(pipeline.pipeline, pipeline.writer)?;
        if log_panics {
            panics::install(logger.core());
        }
        ready.begin();
        Ok((logger, handle))
    }

    /// Makes a logger and installs it behind the `log` macros, for the rest of the process. The [`Handle`] may be kept or
    /// dropped.
    ///
    /// A disk that is full or a directory that cannot be made is no error: then the output begins suspended.
    ///
    /// # Errors
    ///
    /// An [`InitError`] that names the option, or that says that a logger is already set; nothing is left behind.
    pub fn init(self) -> Result<Handle, InitError> {
        let log_panics = self.log_panics;
        let (pipeline, logger, handle) = self.prepare()?;
        let ready = start(pipeline.pipeline, pipeline.writer)?;
        let core = logger.core();
        // Should this fail, `ready` is dropped: the thread ends without having opened anything.
        log::set_boxed_logger(Box::new(logger)).map_err(InitError::LoggerSet)?;
        pipeline.filter.installed();
        if log_panics {
            panics::install(core);
        }
        ready.begin();
        Ok(handle)
    }

    /// For the benchmarks: no thread, the writer is stepped by hand. Not part of the public API.
    #[cfg(feature = "bench")]
    #[doc(hidden)]
    pub fn build_stepped(self) -> Result<(Logger, impl FnMut() -> usize), InitError> {
        let (mut pipeline, logger, _) = self.prepare()?;
        let step = move || pipeline.writer.step(Now { wall: SystemTime::now(), monotonic: Instant::now() }).taken;
        Ok((logger, step))
    }

    fn prepare(self) -> Result<(Prepared, Logger, Handle), InitError> {
        if self.outputs.is_empty() {
            return Err(InitError::NoOutput);
        }
        if !(1..=MOST_CAPACITY).contains(&self.capacity) {
            return Err(InitError::Option {
                option: "capacity",
                value: self.capacity.to_string(),
                range: "from 1 to 1048576 records",
            });
        }
        let range = |option, value, range| Err(InitError::Option { option, value, range });
        match self.rate_limit {
            Some((0, _)) => return range("rate_limit", "0 records".into(), "at least 1 record"),
            Some((_, per)) if !RATE_LIMIT_PER.contains(&per) => {
                return range("rate_limit", format!("{per:?}"), "an interval from 1 ms to 1 h");
            }
            _ => {}
        }
        if !os::has_memory(queue::memory_for(self.capacity).saturating_add(MEMORY_BESIDE)) {
            return Err(InitError::Memory { records: self.capacity });
        }
        let cap = self.outputs.iter().map(|(level, ..)| *level).max().unwrap_or(LevelFilter::Off);
        let (filter, opening) = self.compile_filter(cap)?;
        let plan = Plan {
            outputs: plan_outputs(self.outputs, &self.format)?,
            capacity: self.capacity,
            overflow: self.overflow,
            rate_limit: self.rate_limit,
            shutdown_timeout: self.shutdown_timeout,
            // The limit of a place wants to know the time itself.
            by_counter: self.rate_limit.is_none() && os::counter_keeps_time(),
        };
        let once = Once { sinks: self.sinks.into_iter().map(Some).collect(), on_event: self.on_event, opening };
        let pipeline = Arc::new(plan.pipeline_for(&plan.outputs));
        let writer = plan.writer(pipeline.clone(), once);
        let per_process = Arc::new(PerProcessPipeline::new(pipeline.clone(), Box::new(plan)));
        let filter = Arc::new(CurrentFilter::new(filter, self.level, cap));
        let logger = Logger::new(per_process.clone(), filter.clone());
        let handle = Handle::new(per_process, filter.clone());
        Ok((Prepared { pipeline, writer, filter }, logger, handle))
    }

    fn directives(&self) -> (Vec<String>, Option<BadDirectives>) {
        let mut directives: Vec<String> = self.filter.iter().cloned().collect();
        let mut opening = None;
        if let Some(variable) = &self.filter_env
            && let Some(text) = std::env::var_os(variable)
        {
            let (good, errors) = match text.to_str() {
                Some(text) => split_env(text),
                None => {
                    let why = "it is not UTF-8".to_owned();
                    (String::new(), vec![FilterError { directives: text.to_string_lossy().into_owned(), why }])
                }
            };
            directives.push(good);
            if !errors.is_empty() {
                opening = Some(BadDirectives { at: SystemTime::now(), variable: variable.clone(), errors });
            }
        }
        (directives, opening)
    }

    fn compile_filter(&self, cap: LevelFilter) -> Result<(Filter, Option<BadDirectives>), InitError> {
        let (set, opening) = self.directives();
        let layers = Layers { set, pushed: Vec::new() };
        let filter = Filter::new(self.level, layers, cap).map_err(InitError::Filter)?;
        Ok((filter, opening))
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("level", &self.level)
            .field("filter", &self.filter)
            .field("filter_env", &self.filter_env)
            .field("outputs", &self.outputs)
            .field("format", &self.format)
            .field("capacity", &self.capacity)
            .field("overflow", &self.overflow)
            .field("rate_limit", &self.rate_limit)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .field("log_panics", &self.log_panics)
            .finish_non_exhaustive()
    }
}

/// Checks the outputs one by one and against each other; only looks at the file system.
fn plan_outputs(
    outputs: Vec<(LevelFilter, Option<Format>, Spec)>,
    format: &Format,
) -> Result<Vec<PlannedOutput>, InitError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut links: Vec<PathBuf> = Vec::new();
    let mut planned = Vec::new();
    for (level, own_format, spec) in outputs {
        let format = own_format.unwrap_or_else(|| format.clone()).host(os::host_name);
        if let Some(key) = format.bad_field() {
            return Err(InitError::Option {
                option: "field",
                value: format!("`{key}`"),
                range: "a name that the format does not write itself and that does not begin with `kv.`",
            });
        }
        let mut color = Color::Never;
        let (name, kind) = match spec {
            Spec::File { path, mut options } => {
                if let Some((option, value, range)) = options.out_of_range() {
                    return Err(InitError::Option { option, value, range });
                }
                let absolute = fit_path(&path)?;
                if let Some(link) = &options.symlink {
                    let absolute_link = fit_path(link)?;
                    if absolute_link == absolute || links.contains(&absolute_link) {
                        return Err(InitError::SamePath { path: link.clone() });
                    }
                    links.push(absolute_link.clone());
                    options.symlink = Some(absolute_link);
                }
                if paths.iter().any(|other| disk::same_file(other, &absolute)) {
                    return Err(InitError::SamePath { path });
                }
                paths.push(absolute.clone());
                (output_name(&path), Kind::File { target: Target::Path(absolute), options })
            }
            Spec::Console(console) => {
                let name = match console.stream {
                    disk::Stream::Stderr => "stderr",
                    disk::Stream::Stdout => "stdout",
                };
                if planned.iter().any(|other: &PlannedOutput| &*other.name == name) {
                    return Err(InitError::Option {
                        option: "console",
                        value: format!("{name}, twice"),
                        range: "each stream at most once",
                    });
                }
                color = console.color.by_environment();
                let target = Target::Stream(console.stream);
                (name.into(), Kind::File { target, options: FileOptions::default() })
            }
            Spec::Sink(name, place) => (name.into(), Kind::Sink(place)),
        };
        planned.push(PlannedOutput { name, level, format, color, kind });
    }
    if let Some(link) = links.iter().find(|link| paths.contains(link)) {
        return Err(InitError::SamePath { path: link.clone() });
    }
    Ok(planned)
}

/// The path as it stays, wherever the program goes; or why it can never be a log file.
fn fit_path(path: &Path) -> Result<PathBuf, InitError> {
    let unfit = |what| InitError::Path { path: path.to_owned(), what };
    if let Some(what) = disk::unfit(path) {
        return Err(unfit(what));
    }
    std::path::absolute(path).map_err(|_| unfit("relative, and there is no current directory"))
}

/// How a pipeline is made.
struct Plan {
    outputs: Vec<PlannedOutput>,
    capacity: usize,
    overflow: Overflow,
    rate_limit: Option<(u32, Duration)>,
    shutdown_timeout: Duration,
    /// Callers take the time from the processor's counter.
    by_counter: bool,
}

#[derive(Clone)]
struct PlannedOutput {
    name: Arc<str>,
    level: LevelFilter,
    format: Format,
    color: Color,
    kind: Kind,
}

impl PlannedOutput {
    /// Its format at work. A child that was forked may have another terminal, or none.
    fn encoder(&self) -> Encoder {
        let colored = match &self.kind {
            Kind::File { target: Target::Stream(stream), .. } => self.color.suits(*stream),
            _ => false,
        };
        Encoder::new(self.format.clone().colored(colored))
    }

    /// How much it may keep in memory while it is suspended: a file alone does.
    fn retain(&self) -> u64 {
        match &self.kind {
            Kind::File { target: Target::Path(_), options } => options.retain,
            _ => 0,
        }
    }
}

#[derive(Clone)]
enum Kind {
    File { target: Target, options: FileOptions },
    Sink(usize),
}

/// What only the first pipeline gets.
#[derive(Default)]
struct Once {
    sinks: Vec<Option<Box<dyn Sink>>>,
    on_event: Option<EventHook>,
    opening: Option<BadDirectives>,
}

/// What `filter_env` had to skip.
struct BadDirectives {
    at: SystemTime,
    variable: String,
    errors: Vec<FilterError>,
}

impl BadDirectives {
    fn notice(&self) -> Notice {
        notice::bad_directives(self.at, &self.variable, &self.errors)
    }
}

impl Plan {
    fn pipeline_for(&self, outputs: &[PlannedOutput]) -> Pipeline {
        let born = Instant::now();
        let outputs = outputs.iter().map(|output| OutputCounters::new(output.name.clone(), output.level, born));
        let rate_limit = self.rate_limit.map(|(records, per)| RateLimit::new(records, per));
        Pipeline::new(self.capacity, self.overflow, self.shutdown_timeout, rate_limit, Counters::new(outputs.collect()))
    }

    /// The writer of a queue, with the outputs that can be made: a sink of the program's own is there only once.
    fn writer(&self, pipeline: Arc<Pipeline>, mut once: Once) -> Writer {
        let mut outputs = Vec::new();
        for planned in &self.outputs {
            let sink: Box<dyn Sink> = match &planned.kind {
                Kind::File { target, options } => {
                    Box::new(FileSink::new(RealDisk::new(options.mode), target.clone(), options.clone()))
                }
                Kind::Sink(place) => match once.sinks.get_mut(*place).and_then(Option::take) {
                    Some(sink) => sink,
                    None => continue,
                },
            };
            let opening = once.opening.as_ref().map(BadDirectives::notice);
            let output = Output::new(outputs.len(), planned.name.clone(), planned.encoder(), sink, opening);
            outputs.push(output.retain(planned.retain()));
        }
        let mut writer = Writer::new(pipeline, outputs, once.on_event);
        if self.by_counter
            && let Some(timeline) = Timeline::new()
        {
            writer.keep_time(timeline);
        }
        writer
    }
}

/// What a forked child does at its first log call: files and consoles anew; the program's own sinks and its callback stay with the
/// parent. No lock that a vanished thread could hold is taken.
impl Renew for Plan {
    fn pipeline(&self) -> Arc<Pipeline> {
        let inherited = self.outputs.iter().filter(|output| !matches!(output.kind, Kind::Sink(_)));
        Arc::new(self.pipeline_for(&inherited.cloned().collect::<Vec<_>>()))
    }

    fn start(&self, pipeline: &Arc<Pipeline>) {
        match start(pipeline.clone(), self.writer(pipeline.clone(), Once::default())) {
            Ok(ready) => ready.begin(),
            // The state says `Closed`, and what is logged is counted.
            Err(_) => pipeline.end(),
        }
    }
}

/// A pipeline whose thread does not run yet.
struct Prepared {
    pipeline: Arc<Pipeline>,
    writer: Writer,
    filter: Arc<CurrentFilter>,
}

/// A thread that waits for the word. Dropped without it, the thread ends without having touched anything.
struct Ready {
    word: mpsc::Sender<os::Registration>,
    pipeline: Arc<Pipeline>,
    thread: thread::Thread,
}

fn start(pipeline: Arc<Pipeline>, writer: Writer) -> Result<Ready, InitError> {
    // std asks for a thread's stack politely, and for what its signal handler needs on the new thread by a panic that nobody catches.
    if !os::has_memory(THREAD_STACK + MEMORY_BESIDE) {
        return Err(InitError::Thread(io::ErrorKind::OutOfMemory.into()));
    }
    let (word, waits) = mpsc::channel();
    let thread = thread::Builder::new().name("unfazed".into()).spawn(move || {
        if let Ok(registration) = waits.recv() {
            writer.run(registration);
        }
    });
    Ok(Ready { word, pipeline, thread: thread.map_err(InitError::Thread)?.thread().clone() })
}

impl Ready {
    fn begin(self) {
        os::watch_forks();
        // Here, not on the new thread: the program may end before that has run at all.
        let registration = os::register_at_exit(self.pipeline.clone());
        self.pipeline.set_writer(self.thread);
        // The thread waits for nothing else; it cannot be gone.
        let _ = self.word.send(registration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_retains_what_it_is_told_to_and_nothing_else_retains_anything() {
        let file = |file: LogFile| Spec::File { path: file.path, options: file.options };
        let specs = [
            (file(LogFile::new("a.log")), 64 << 10),
            (file(LogFile::new("b.log").retain(0)), 0),
            (file(LogFile::new("c.log").retain(1 << 30)), 1 << 30),
            (Spec::Console(Console::stderr()), 0),
            (Spec::Sink("own".into(), 0), 0),
        ];
        let (specs, expected): (Vec<_>, Vec<_>) = specs.into_iter().unzip();
        let outputs = specs.into_iter().map(|spec| (LevelFilter::Trace, None, spec)).collect();
        let planned = plan_outputs(outputs, &Format::default()).unwrap();
        assert_eq!(planned.iter().map(PlannedOutput::retain).collect::<Vec<_>>(), expected);
    }
}
