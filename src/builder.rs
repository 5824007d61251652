//! `Builder`: the options of a logger, `build` and `init`. The file is long because each option is
//! a method of this one type. `prepare.rs` checks the options and joins the parts. Runs on the
//! thread that sets the logger up.

mod live;
mod prepare;

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
#[cfg(feature = "__bench")]
use std::time::{Instant, SystemTime};

use log::LevelFilter;

use crate::error::InitError;
use crate::event::{Event, EventHook};
use crate::format::Format;
use crate::front::captured::Printed;
use crate::front::context::{Context, ContextFields};
use crate::front::installed;
use crate::front::logger::Logger;
use crate::front::panics;
use crate::handle::Handle;
use crate::options::sink_output::{SinkOnce, SinkOutput};
#[cfg(all(feature = "syslog", unix))]
use crate::os;
use crate::plan::{Destination, OutputOptions};
use crate::queue::Overflow;
#[cfg(feature = "__bench")]
use crate::sink::Now;
use crate::sink::Sink;
use crate::sink::console::Console;
#[cfg(all(feature = "journald", target_os = "linux"))]
use crate::sink::journald::Journald;
use crate::sink::log_file::LogFile;
use crate::sink::otherwise::Otherwise;
#[cfg(all(feature = "syslog", unix))]
use crate::sink::syslog::Syslog;
use crate::wanted::Wanted;

pub(crate) use live::Watched;

/// Sets a logger up.
///
/// | option | default |
/// |---|---|
/// | [`level`](Self::level) | `Info` |
/// | [`filter`](Self::filter), [`filter_env`](Self::filter_env) | none |
/// | [`file`](Self::file), [`console`](Self::console), [`sink`](Self::sink), [`output`](Self::output), [`syslog`](crate::Builder#method.syslog), [`journald`](crate::Builder#method.journald) | none; at least one is needed |
/// | [`format`](Self::format) | [`Format::text`], in UTC |
/// | [`capacity`](Self::capacity) | 8192 records |
/// | [`overflow`](Self::overflow) | [`Overflow::DropNewest`] |
/// | [`rate_limit`](Self::rate_limit) | none |
/// | [`shutdown_timeout`](Self::shutdown_timeout) | 2 s |
/// | [`context`](Self::context) | nothing is added |
/// | [`on_event`](Self::on_event) | nothing is called |
/// | [`log_panics`](Self::log_panics) | `false` |
/// | [`flush_on_crash`](Self::flush_on_crash) | `false` |
/// | [`require_outputs`](Self::require_outputs) | `false` |
/// | [`watch`](Self::watch) | no file is followed |
///
/// ```no_run
/// unfazed::Builder::new().file("app.log").init()?;
/// log::info!("hello");
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[must_use = "call `init` or `build`"]
pub struct Builder {
    filter: FilterOptions,
    outputs: Vec<OutputOptions>,
    sinks: Vec<Box<dyn Sink>>,
    format: Format,
    queue: QueueOptions,
    end: EndOptions,
    context: Option<Context>,
    on_event: Option<EventHook>,
    require_outputs: bool,
    watch: Option<Watched>,
    /// The place of the last `Console::test` among the outputs.
    captured: Option<usize>,
}

/// Says what passes before the outputs are asked.
#[derive(Debug)]
struct FilterOptions {
    level: LevelFilter,
    directives: Option<String>,
    /// The environment variable that may have more directives.
    variable: Option<String>,
}

/// Says what becomes of a record that passed.
#[derive(Debug)]
struct QueueOptions {
    capacity: usize,
    overflow: Overflow,
    rate_limit: Option<(u32, Duration)>,
}

/// Says what happens when the process ends, as it should or not.
#[derive(Debug)]
struct EndOptions {
    shutdown_timeout: Duration,
    log_panics: bool,
    flush_on_crash: bool,
}

impl Builder {
    /// Returns a builder with the defaults. Reads no environment.
    ///
    /// ```no_run
    /// unfazed::Builder::new().file("app.log").init()?;
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn new() -> Self {
        Self {
            filter: FilterOptions { level: LevelFilter::Info, directives: None, variable: None },
            outputs: Vec::new(),
            sinks: Vec::new(),
            format: Format::default(),
            queue: QueueOptions { capacity: 8192, overflow: Overflow::default(), rate_limit: None },
            end: EndOptions { shutdown_timeout: Duration::from_secs(2), log_panics: false, flush_on_crash: false },
            context: None,
            on_event: None,
            require_outputs: false,
            watch: None,
            captured: None,
        }
    }

    /// Sets the most verbose level of everything that no directive names. Default: `Info`.
    ///
    /// ```
    /// let builder = unfazed::Builder::new().level(log::LevelFilter::Debug);
    /// ```
    pub fn level(mut self, max: LevelFilter) -> Self {
        self.filter.level = max;
        self
    }

    /// Sets directives in env_logger's grammar, as in `info,hyper=warn,app::db=trace`. They
    /// override [`level`](Self::level) for the targets that they name.
    ///
    /// The text after a `/` must be in the message: a regular expression with the feature
    /// `regex`, a plain substring without it. Default: none.
    ///
    /// ```
    /// use log::{Level, Log as _, Metadata};
    ///
    /// let builder = unfazed::Builder::new().filter("info,hyper=warn").file("/dev/null");
    /// let (logger, _handle) = builder.build()?;
    /// let info = |target| Metadata::builder().level(Level::Info).target(target).build();
    /// assert!(logger.enabled(&info("app")));
    /// assert!(!logger.enabled(&info("hyper::client")));
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn filter(mut self, directives: &str) -> Self {
        self.filter.directives = Some(directives.to_owned());
        self
    }

    /// Reads further directives from this environment variable, as in `RUST_LOG`, on top of
    /// [`filter`](Self::filter).
    ///
    /// It is read once, when the logger is made. A variable that is not set changes nothing. One
    /// WARN record reports the directives that were skipped because they cannot be parsed, and
    /// those that match nothing as they are written, as `hyper = warn`. Default: none.
    ///
    /// ```no_run
    /// unfazed::Builder::new().filter("hyper=warn").filter_env("RUST_LOG").file("app.log").init()?;
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    #[doc(alias = "from_env")]
    #[doc(alias = "parse_default_env")]
    pub fn filter_env(mut self, variable: &str) -> Self {
        self.filter.variable = Some(variable.to_owned());
        self
    }

    /// Adds a file: a path, or a [`LogFile`] with options of its own. May be called again for
    /// another path.
    ///
    /// ```no_run
    /// use unfazed::{Builder, LogFile};
    ///
    /// Builder::new()
    ///     .file("app.log")
    ///     .file(LogFile::new("errors.log").level(log::LevelFilter::Error))
    ///     .init()?;
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    #[doc(alias = "append")]
    #[doc(alias = "log_to_file")]
    pub fn file(mut self, file: impl Into<LogFile>) -> Self {
        let LogFile { path, wanted, format, options, otherwise } = file.into();
        self.add(wanted, format, Destination::File { path, options });
        self.stand_in(otherwise)
    }

    /// Adds standard error or standard output.
    ///
    /// ```no_run
    /// use unfazed::{Builder, Console};
    ///
    /// let warnings = Console::stderr().level(log::LevelFilter::Warn);
    /// Builder::new().file("app.log").console(warnings).init()?;
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    #[doc(alias = "duplicate_to_stderr")]
    #[doc(alias = "duplicate_to_stdout")]
    #[doc(alias = "log_to_stderr")]
    pub fn console(mut self, console: Console) -> Self {
        if console.captured {
            let mut printed = SinkOutput::new("test", Printed);
            (printed.wanted, printed.format) = (console.wanted, console.format);
            self.captured = Some(self.outputs.len());
            return self.output(printed);
        }
        let (wanted, format, otherwise) = (console.wanted.clone(), console.format.clone(), console.otherwise.clone());
        self.add(wanted, format, Destination::Console(console));
        self.stand_in(otherwise)
    }

    /// Adds an output to a syslog daemon: a [`Syslog`].
    ///
    /// Events and [`Stats`](crate::Stats) call it `syslog`, or by its address `syslog udp
    /// 10.0.0.1:514`, with a machine's name where a configuration file has that. A second one of
    /// that name is `syslog 2`.
    ///
    /// ```no_run
    /// use unfazed::{Builder, Syslog};
    ///
    /// Builder::new().file("app.log").syslog(Syslog::local()).init()?;
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    #[cfg(all(feature = "syslog", unix))]
    #[doc(alias = "log_to_syslog")]
    pub fn syslog(mut self, syslog: Syslog) -> Self {
        let (wanted, format) = (syslog.wanted.clone(), Some(syslog.format(program_name(), os::host_name())));
        self.add(wanted, format, Destination::Syslog(syslog));
        self
    }

    /// Adds an output to systemd's journal: a [`Journald`].
    ///
    /// Events and [`Stats`](crate::Stats) call it `journald`, and a second one `journald 2`.
    ///
    /// ```no_run
    /// use unfazed::{Builder, Journald};
    ///
    /// Builder::new().file("app.log").journald(Journald::new()).init()?;
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    #[cfg(all(feature = "journald", target_os = "linux"))]
    pub fn journald(mut self, journald: Journald) -> Self {
        let (wanted, format) = (journald.wanted.clone(), Some(journald.format(program_name())));
        self.add(wanted, format, Destination::Journald(journald));
        self
    }

    /// Adds an output of the program's own, which takes all levels in the builder's format. Events
    /// and `Stats` call it `name`. It stays with this process: a forked child goes on without it.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    /// use std::time::Duration;
    ///
    /// use unfazed::{Batch, Builder, Sink, WriteError};
    ///
    /// /// Counts lines.
    /// struct Counter;
    ///
    /// static LINES: AtomicUsize = AtomicUsize::new(0);
    ///
    /// impl Sink for Counter {
    ///     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
    ///         LINES.fetch_add(batch.len(), Relaxed);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let handle = Builder::new().sink("counter", Counter).init()?;
    /// log::info!("hello");
    /// handle.flush(Duration::from_secs(2))?;
    /// assert_eq!(LINES.load(Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sink(self, name: &str, sink: impl Sink + 'static) -> Self {
        self.output(SinkOutput::new(name, sink))
    }

    /// Adds an output of the program's own with options: a [`SinkOutput`].
    ///
    /// ```
    /// # use unfazed::{Batch, Builder, Format, Sink, SinkOutput, WriteError};
    /// # struct Alarm;
    /// # impl Sink for Alarm {
    /// #     fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let alarm = SinkOutput::new("alarm", Alarm)
    ///     .level(log::LevelFilter::Error)
    ///     .format(Format::logfmt());
    /// let builder = Builder::new().output(alarm);
    /// ```
    #[doc(alias = "log_to_writer")]
    pub fn output(mut self, output: SinkOutput) -> Self {
        let SinkOutput { name, sink, wanted, format } = output;
        let destination = Destination::Sink { name, place: self.sinks.len() };
        self.add(wanted, format, destination);
        self.sinks.push(sink);
        self
    }

    /// The former name of [`output`](Self::output).
    #[doc(hidden)]
    pub fn sink_with(
        self,
        name: &str,
        sink: impl Sink + 'static,
        level: LevelFilter,
        format: impl Into<Format>,
    ) -> Self {
        self.output(SinkOutput::new(name, sink).level(level).format(format))
    }

    /// Sets the format of the outputs that set none. Default: [`Format::text`].
    ///
    /// ```
    /// let builder = unfazed::Builder::new().format(unfazed::Format::logfmt());
    /// ```
    #[doc(alias = "formatter")]
    pub fn format(mut self, format: impl Into<Format>) -> Self {
        self.format = format.into();
        self
    }

    /// Sets how many records the queue holds, from 1 to 1 048 576. Default: 8192, which take about
    /// 2 MiB.
    ///
    /// Under [`Overflow::DropNewest`] an eighth of the slots is reserved for WARN and ERROR. So a
    /// burst of INFO that comes before the writer has woken up fills the default queue with 7168
    /// records.
    ///
    /// Long records have a second bound that no capacity raises: 8 MiB. A record whose texts and
    /// key-values have more than 176 bytes holds a buffer of at least 512 bytes on the heap, and
    /// the buffers of all records in the queue together are within that bound. So of records of 300
    /// bytes the queue holds at most 16 384, whatever its capacity. An eighth of the 8 MiB is
    /// reserved as well, which leaves room for 14 336 such records below WARN.
    ///
    /// ```
    /// let builder = unfazed::Builder::new().capacity(65_536); // about 17 MiB
    /// ```
    #[doc(alias = "buffered_lines_limit")]
    pub fn capacity(mut self, records: usize) -> Self {
        self.queue.capacity = records;
        self
    }

    /// Sets what happens to a record that finds the queue full. Default: [`Overflow::DropNewest`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use unfazed::{Builder, Overflow};
    ///
    /// let builder = Builder::new().overflow(Overflow::BlockAtMost(Duration::from_millis(50)));
    /// ```
    #[doc(alias = "lossy")]
    #[doc(alias = "non_blocking")]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.queue.overflow = overflow;
        self
    }

    /// Limits the records of each location (file and line of the program) to `records` in each
    /// `per`, so that an error in a loop does not push out everything else. A location that logs
    /// with several levels or targets has a limit for each of them.
    ///
    /// A record beyond the limit is not formatted, and counts in `Stats::suppressed`. When the
    /// interval is over, one record of the same level, target and location says "57 similar records
    /// suppressed" in the outputs that wanted one of them. If that record is dropped, because the
    /// disk is full, say, a later one includes what it reported. Intervals are those of the wall
    /// clock. About 4000 locations are limited; those that log later are not, and neither are
    /// records without a location. The limit costs each call about 7 ns, and 17 ns more on Linux on
    /// x86-64, where a call without a limit need not read the clock itself. A target that is not
    /// the module path costs about 1 ns more for each byte.
    ///
    /// `records` is at least 1, `per` from 1 ms to 1 h. Default: no limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// // Each location may log 100 records a minute.
    /// let builder = unfazed::Builder::new().rate_limit(100, Duration::from_secs(60));
    /// ```
    pub fn rate_limit(mut self, records: u32, per: Duration) -> Self {
        self.queue.rate_limit = Some((records, per));
        self
    }

    /// Limits how long the end may take: the end of the process, the drop of a [`Logger`], and
    /// `log::logger().flush()`. Default: 2 s. Zero does not wait; `Duration::MAX` waits for ever.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = unfazed::Builder::new().shutdown_timeout(Duration::from_secs(10));
    /// ```
    pub fn shutdown_timeout(mut self, at_most: Duration) -> Self {
        self.end.shutdown_timeout = at_most;
        self
    }

    /// Adds key-values to every record, by a closure that runs in the log call, on its thread,
    /// after the filter and the gate have let the record through. Default: nothing is added.
    ///
    /// Of one key, the value of the log call itself is written, else that of a
    /// [`scope`](crate::scope()), else the context's. A second call of this method replaces the
    /// closure. What it adds costs no allocation as long as the record fits its slot.
    ///
    /// If the closure panics, the record has what was added before. Records that the closure logs
    /// itself are written without a context. It should be quick, and it must not wait for a lock
    /// that a thread holds while it logs. A value that is the same for all records is cheaper as a
    /// [`Format::field`].
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// thread_local! {
    ///     static REQUEST: Cell<u64> = const { Cell::new(0) };
    /// }
    ///
    /// let builder = unfazed::Builder::new()
    ///     .context(|fields| fields.add("request_id", REQUEST.get()));
    /// ```
    #[doc(alias = "mdc")]
    #[doc(alias = "diagnostic")]
    pub fn context(mut self, add: impl Fn(&mut ContextFields<'_, '_>) + Send + Sync + 'static) -> Self {
        self.context = Some(Box::new(add));
        self
    }

    /// Calls this with every event of an output, on the writer's thread: no record is written until
    /// it returns. It may log. A forked child does not call it. Default: nothing is called.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    ///
    /// use unfazed::{Builder, Event};
    ///
    /// static LOG_WORKS: AtomicBool = AtomicBool::new(true);
    ///
    /// let builder = Builder::new().on_event(|event| match event {
    ///     Event::Suspended { .. } => LOG_WORKS.store(false, Relaxed),
    ///     Event::Resumed { .. } => LOG_WORKS.store(true, Relaxed),
    ///     _ => {}
    /// });
    /// ```
    pub fn on_event(mut self, hook: impl FnMut(&Event) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(hook));
        self
    }

    /// Makes every panic of the program an ERROR record with the target `panic`, with its thread,
    /// file and line, and the key `backtrace` where `RUST_BACKTRACE` asks for one. Default:
    /// `false`.
    ///
    /// The panic hook that was there already runs after it. The hook stays for the life of the
    /// process. It waits until the record is written, for at most
    /// [`shutdown_timeout`](Self::shutdown_timeout), because it cannot know whether the panic will
    /// abort the process. [`rate_limit`](Self::rate_limit) applies to panics, too.
    ///
    /// ```no_run
    /// unfazed::Builder::new().log_panics(true).file("app.log").init()?;
    /// panic!("this text is in app.log");
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    #[doc(alias = "panic_hook")]
    pub fn log_panics(mut self, log_panics: bool) -> Self {
        self.end.log_panics = log_panics;
        self
    }

    /// Makes a crash wait until the records logged before it are written: SIGSEGV, SIGBUS, SIGILL,
    /// SIGFPE and SIGABRT, whether a fault or `abort` raises them or somebody sends them. Default:
    /// `false`, and no signal has a handler of this crate.
    ///
    /// The wait ends after [`shutdown_timeout`](Self::shutdown_timeout), so zero does not wait at
    /// all. It usually takes less than a tenth of a second, because the writer looks by itself.
    /// Afterwards everything is as without the option: a handler that the program had set before
    /// runs, or the process ends by the signal, with its core dump. A handler that the program sets
    /// later replaces this one; it may call the one that it finds.
    ///
    /// A crash of the writer's own thread, in a sink or a format, does not wait. Leave the option
    /// off where faults are part of a program's work, as in a JVM or a Wasm runtime: each of them
    /// would wait. A stack overflow needs an alternate signal stack, which the threads of std have
    /// and others need not have. On systems other than Unix the option does nothing.
    ///
    /// ```no_run
    /// unfazed::Builder::new().flush_on_crash(true).file("app.log").init()?;
    /// log::info!("this text is in app.log");
    /// std::process::abort();
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    #[doc(alias = "signal_handler")]
    pub fn flush_on_crash(mut self, flush_on_crash: bool) -> Self {
        self.end.flush_on_crash = flush_on_crash;
        self
    }

    /// Makes an output that cannot be opened an error of [`init`](Self::init) and
    /// [`build`](Self::build), instead of an output that begins suspended. Default: `false`.
    ///
    /// The error names the output and the cause, and nothing is left behind: no thread, no logger,
    /// and none of the files and directories that the attempt had created. An output that is open
    /// but has less free space than its [`min_free_space`](LogFile::min_free_space) is no error. An
    /// output that does not answer within 2 s is an error; the writer's thread then ends when the
    /// operating system answers. A connection by TCP must be made within that time.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("file/app.log");
    /// # std::fs::write(dir.path().join("file"), "").unwrap();
    /// let builder = unfazed::Builder::new().file(&path); // its directory is a file
    /// let error = builder.require_outputs(true).init().unwrap_err();
    /// assert!(matches!(error, unfazed::InitError::Output { cause: unfazed::Cause::Missing, .. }));
    /// ```
    pub fn require_outputs(mut self, require_outputs: bool) -> Self {
        self.require_outputs = require_outputs;
        self
    }

    /// Follows a file while the logger runs: when it has changed, `read` makes a builder of its
    /// text, and that builder's [`level`](Self::level), [`filter`](Self::filter) and
    /// [`rate_limit`](Self::rate_limit) hold from then on, as do the levels and filters of the
    /// outputs that it names. Nothing else of that builder takes effect: no output is opened,
    /// closed or moved. Default: no file is followed.
    ///
    /// An output is recognised by its path as the file writes it, or by its name. Daemons of one
    /// name are recognised by their order: the second one is `syslog 2`. An output that the file
    /// does not name goes on as at the start, and so do the directives of
    /// [`filter_env`](Self::filter_env), on top of those of the file. What [`Handle::set_filter`]
    /// has set is replaced, what was pushed stays. What stands in for another output keeps its
    /// levels.
    ///
    /// The text that is in the file when the logger is made is not followed, because the program
    /// has read it already. A change between that reading and the making of the logger is not seen
    /// until the file changes again. The writer's thread looks once a second, and follows a text
    /// that two looks in a row have found. So a file that is only half written is not followed, and
    /// it makes no difference whether the file was edited, replaced or linked, or on which file
    /// system it is. (A service such as inotify would be another dependency, and reports nothing on
    /// a network's file system.) A look reads the file, up to 1 MiB of UTF-8. A file system that
    /// hangs holds up the writer, as it does when a log lies there.
    ///
    /// A text that `read` refuses, options that [`build`](Self::build) would refuse, or a file that
    /// cannot be read changes nothing. It is an [`Event::Failed`] and one line in each output. The
    /// paths of files are looked at as `build` does; users and groups are not looked up. `read`
    /// runs on the writer's thread, so that a [`Syslog`](crate::Builder#method.syslog) whose
    /// machine has a name, or anything else that waits, holds up every output. A forked child
    /// follows the file, too: from its first record that passes the filter, and starting with what
    /// its parent knew at the fork.
    ///
    /// At most 16 outputs may follow a file.
    ///
    /// ```no_run
    /// use unfazed::{Builder, InitError};
    ///
    /// // The file holds directives, and nothing else: `info,hyper=warn`.
    /// let read = |text: &str| Ok::<_, InitError>(Builder::new().filter(text.trim()));
    /// let now = std::fs::read_to_string("log.filter")?;
    /// read(&now)?.file("app.log").watch("log.filter", read).init()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "specfile")]
    #[doc(alias = "refresh_rate")]
    pub fn watch<E>(
        self,
        path: impl Into<PathBuf>,
        read: impl Fn(&str) -> Result<Builder, E> + Send + Sync + 'static,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.watched(Watched::new(path, read))
    }

    pub(crate) fn watched(mut self, watched: Watched) -> Self {
        self.watch = Some(watched);
        self
    }

    /// Makes a logger and installs nothing. Dropping the [`Logger`] writes what is pending and ends
    /// the thread.
    ///
    /// When it returns, the first attempt to open the outputs has been made, as with
    /// [`init`](Self::init).
    ///
    /// # Errors
    ///
    /// An [`InitError`] that names the option or the output; nothing is left behind.
    ///
    /// ```no_run
    /// let (logger, handle) = unfazed::Builder::new().file("app.log").build()?;
    /// log::set_max_level(logger.max_level());
    /// log::info!(logger: logger, "hello");
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn build(self) -> Result<(Logger, Handle), InitError> {
        let log_panics = self.end.log_panics;
        let (prepared, logger, handle) = self.prepare()?;
        prepared.begin(|_| Ok(()))?;
        if log_panics {
            panics::install(Arc::downgrade(logger.core()));
        }
        Ok((logger, handle))
    }

    /// Makes a logger and installs it as the target of the `log` macros, for the rest of the
    /// process. The [`Handle`] may be stored or dropped.
    ///
    /// When it returns, the writer's thread has made its first attempt to open every output: the
    /// files exist, with the umask and the rights of this moment, and [`Handle::state`] says what
    /// came of it. So what a daemon does next (`chown`, `umask`, `setuid`, `chroot`) is safe.
    /// `init` waits for that attempt at most 250 ms, because a file system that hangs must stop
    /// nobody. The calling thread itself asks the log's file system nothing. If the file system
    /// does not answer in time, the records are pending, and a path that can never be a log file is
    /// no error: the output is suspended later, or its rotation fails.
    ///
    /// A disk that is full or a directory that cannot be made is no error: then the output begins
    /// suspended. With [`require_outputs`](Self::require_outputs) an output that cannot be opened
    /// is an error.
    ///
    /// # Errors
    ///
    /// An [`InitError`] that names the option or the output, or that says that a logger is already
    /// set; nothing is left behind.
    ///
    /// ```no_run
    /// let handle = unfazed::Builder::new().file("/var/log/app.log").init()?;
    /// if handle.state() != unfazed::State::Healthy {
    ///     eprintln!("the log is {}", handle.state());
    /// }
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn init(self) -> Result<Handle, InitError> {
        let log_panics = self.end.log_panics;
        let (prepared, logger, handle) = self.prepare()?;
        let core = logger.core().clone();
        prepared.begin(|filter| {
            log::set_boxed_logger(Box::new(logger)).map_err(InitError::LoggerSet)?;
            filter.installed();
            Ok(())
        })?;
        if log_panics {
            panics::install(Arc::downgrade(&core));
        }
        installed::set(core);
        Ok(handle)
    }

    /// Makes a logger and installs it, as [`init`](Self::init) does; `None` if a logger is already
    /// set. For tests, each of which asks for the logger that the first of them has set.
    ///
    /// # Errors
    ///
    /// Those of [`init`](Self::init), except that a logger is already set.
    ///
    /// ```
    /// use unfazed::{Builder, Console};
    ///
    /// let first = Builder::new().console(Console::test()).try_init()?;
    /// let second = Builder::new().console(Console::test()).try_init()?;
    /// assert!(first.is_some() && second.is_none());
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn try_init(self) -> Result<Option<Handle>, InitError> {
        match self.init() {
            Ok(handle) => Ok(Some(handle)),
            Err(InitError::LoggerSet(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// For the benchmarks: no thread, the writer is stepped by hand. Not part of the public API.
    #[cfg(feature = "__bench")]
    #[doc(hidden)]
    pub fn build_stepped(self) -> Result<(Logger, impl FnMut() -> usize), InitError> {
        let (mut pipeline, logger, _) = self.prepare()?;
        let step = move || pipeline.writer.step(Now { wall: SystemTime::now(), monotonic: Instant::now() }).taken;
        Ok((logger, step))
    }

    /// Returns the number of outputs.
    #[cfg(feature = "serde")]
    pub(crate) fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// Returns the outputs to syslog daemons.
    #[cfg(all(feature = "serde", feature = "syslog", unix))]
    pub(crate) fn syslogs(&mut self) -> impl Iterator<Item = &mut Syslog> {
        self.outputs.iter_mut().filter_map(|output| match &mut output.destination {
            Destination::Syslog(syslog) => Some(syslog),
            _ => None,
        })
    }

    fn add(&mut self, wanted: Wanted, format: Option<Format>, destination: Destination) {
        self.outputs.push(OutputOptions { wanted, format, destination, stands_in: false });
    }

    /// Adds the output that stands in for the one that was added last.
    fn stand_in(mut self, otherwise: Option<Otherwise>) -> Self {
        let Some(otherwise) = otherwise else { return self };
        let place = self.outputs.len();
        #[cfg(all(feature = "syslog", unix))]
        if let Some(syslog) = otherwise.options::<Syslog>() {
            self = self.syslog(syslog.clone());
        }
        #[cfg(all(feature = "journald", target_os = "linux"))]
        if let Some(journald) = otherwise.options::<Journald>() {
            self = self.journald(journald.clone());
        }
        if let Some(file) = otherwise.options::<LogFile>() {
            self = self.file(file.clone());
        } else if let Some(console) = otherwise.options::<Console>() {
            self = self.console(console.clone());
        } else if let Some(SinkOnce(sink)) = otherwise.options() {
            // Of several builders that were given one sink, the first has it.
            if let Some(sink) = sink.lock().unwrap_or_else(PoisonError::into_inner).take() {
                self = self.output(sink);
            }
        }
        if let Some(added) = self.outputs.get_mut(place) {
            added.stands_in = true;
        }
        self
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
            .field("filter", &self.filter)
            .field("outputs", &self.outputs)
            .field("format", &self.format)
            .field("queue", &self.queue)
            .field("end", &self.end)
            .field("require_outputs", &self.require_outputs)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

/// Returns the name of the program's file.
#[cfg(all(feature = "syslog", unix))]
fn program_name() -> Option<String> {
    Some(std::env::current_exe().ok()?.file_name()?.to_string_lossy().into_owned())
}
