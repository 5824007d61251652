//! From a record to a line: [`Format`], and what a format of your own is given: a [`Record`], which
//! it lays out into a [`LineBuf`].
//!
//! Runs on the writer's thread, without a clock and without I/O.

mod check;
mod encoder;
mod escape;
#[cfg(all(feature = "journald", target_os = "linux"))]
mod journal;
mod line_buf;
#[cfg(feature = "json")]
mod json;
mod logfmt;
mod names;
mod options;
mod pairs;
mod palette;
mod pattern;
#[cfg(all(feature = "syslog", unix))]
mod syslog;
mod text;
mod time;
mod words;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::Stamp;
use crate::record::{Caller, OwnedRecord};

pub use crate::record::{ErrorChain, KeyValues, Record, Value};
pub(crate) use encoder::Encoder;
#[cfg(feature = "json")]
use json::Map;
pub use line_buf::LineBuf;
use options::Options;
#[cfg(all(feature = "syslog", unix))]
pub(crate) use syslog::SyslogOptions;
pub use time::TimeStyle;
pub(crate) use time::utc_text;
#[cfg(feature = "serde")]
pub(crate) use words::{NAMES, by_name};

/// Lays out a record as a line.
///
/// Whatever the format, one record is one line: the built-in ones escape control characters and
/// what else would make a reader see other lines than there are (U+2028, U+2029, the bidirectional
/// overrides and isolates of "Trojan Source"), and a custom one that does not end its line gets the
/// newline added. ([`multiline`](Self::multiline) is the exception that one can choose.)
///
/// | format | for |
/// |---|---|
/// | [`text`](Self::text) | people |
/// | [`logfmt`](Self::logfmt) | people and machines: Loki, `hutils`, Heroku |
/// | [`json`](Self::json) | `jq`, Vector, Fluent Bit, anything that parses JSON |
/// | [`otel`](Self::otel) | the OpenTelemetry Collector |
/// | [`ecs`](Self::ecs) | Elasticsearch, by Filebeat or Elastic Agent |
/// | [`gelf`](Self::gelf) | Graylog |
/// | [`google_cloud`](Self::google_cloud) | Google Cloud Logging, by the Ops Agent or from a container |
/// | [`pattern`](Self::pattern) | people, in an order of your own |
/// | [`custom`](Self::custom) | whatever else |
///
/// The [table of options](crate::_docs::config#format) says which option has an effect where.
///
/// ```
/// use unfazed::{Builder, Console, Format, LogFile};
///
/// let builder = Builder::new()
///     .console(Console::stderr().format(Format::text().local_time().thread()))
///     .file(LogFile::new("app.log").format(Format::logfmt().field("service", "shop")));
/// ```
///
/// # Names and values
///
/// In logfmt and JSON no name stands twice in a line: see
/// [names](crate::_docs::formats#names). JSON keeps the types of key-values: see
/// [values](crate::_docs::formats#values).
#[derive(Clone)]
#[must_use = "give it to an output or to `Builder::format`"]
pub struct Format {
    layout: Layout,
    options: Options,
}

type Custom = dyn Fn(&mut LineBuf, &Record<'_>) -> io::Result<()> + Send + Sync;

#[derive(Clone)]
enum Layout {
    Text,
    #[cfg(feature = "json")]
    Json(Map),
    Logfmt,
    Pattern(Arc<str>),
    Custom(Arc<Custom>),
    #[cfg(all(feature = "syslog", unix))]
    Syslog(SyslogOptions),
    /// The name of the program.
    #[cfg(all(feature = "journald", target_os = "linux"))]
    Journal(String),
}

impl Format {
    /// Returns the format for people, the default:
    /// `2026-11-21T09:30:00.123456Z INFO  target: message key=value`.
    ///
    /// Control characters are escaped, so that no message can forge a line or drive a terminal. On
    /// a terminal the level is coloured ([`Console::color`](crate::Console::color)).
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").format(unfazed::Format::text());
    /// ```
    pub fn text() -> Self {
        Self::of(Layout::Text)
    }

    /// Returns JSON lines: `timestamp` (RFC 3339, microseconds), `level`, `target`, `message`, then
    /// the key-values with their types.
    ///
    /// `thread`, `file` and `line` by option. Needs the feature `json`, which is on by default, as
    /// the other four JSON formats do.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").format(unfazed::Format::json());
    /// ```
    #[cfg(feature = "json")]
    pub fn json() -> Self {
        Self::of(Layout::Json(Map::Plain))
    }

    /// Returns JSON lines by the OpenTelemetry log data model, as the Collector's `otlpjsonfile`
    /// receiver reads them: each line is one `LogsData` of OTLP/JSON 1 with one record
    /// (OpenTelemetry Protocol File Exporter, JSON lines).
    ///
    /// The record has `timeUnixNano`, `severityNumber`, `severityText`, `body`, and `attributes`:
    /// the location and the thread by the semantic conventions 1.36 (`code.file.path`,
    /// `code.line.number`, `thread.id`, `thread.name`), then the key-values. The target is the
    /// scope's `name`. A [`field`](Self::field) is an attribute of the resource: that is where
    /// `service.name` belongs. An integer that does not fit 64 bits with a sign is a `stringValue`.
    /// The ids of a [trace](crate::_docs::formats#traces) are fields of the record.
    ///
    /// ```
    /// let format = unfazed::Format::otel().field("service.name", "shop");
    /// ```
    #[cfg(feature = "json")]
    pub fn otel() -> Self {
        Self::of(Layout::Json(Map::Otel))
    }

    /// Returns JSON lines by the Elastic Common Schema 8.16, in the form of the ECS logging
    /// specification 1.0.
    ///
    /// `@timestamp`, `log.level`, `message`, `ecs.version`, `log.logger` (the target),
    /// `log.origin.file.name`, `log.origin.file.line`, `process.thread.id`, `process.thread.name`.
    /// The key-values are in `labels`, all as strings, since the schema stores labels as
    /// keywords: so none of them can break the types of an index. `.`, `*` and `\` in their keys
    /// become `_`, as the specification demands. A [`field`](Self::field) is next to `message`,
    /// to be named as in the schema: `service.name`, `service.version`, `host.name`.
    /// `event.dataset` is the `service.name` if it is not given.
    ///
    /// ```
    /// let format = unfazed::Format::ecs()
    ///     .field("service.name", "shop")
    ///     .field("service.version", "1.2.0");
    /// ```
    #[cfg(feature = "json")]
    pub fn ecs() -> Self {
        Self::of(Layout::Json(Map::Ecs))
    }

    /// Returns JSON lines by the Graylog Extended Log Format 1.1.
    ///
    /// `version`, `host`, `short_message`, `timestamp` (seconds, with microseconds), `level` (of
    /// syslog: 3 for ERROR, 4, 6, 7 for DEBUG and TRACE), then the additional fields `_target`,
    /// `_file`, `_line`, `_thread` and the key-values, each after a `_`. `host` is the name of this
    /// machine, unless it is given by `field("host", ...)`.
    ///
    /// In a key, each character except ASCII letters, digits, `_`, `-` and `.` becomes `_`. Values
    /// are strings or numbers: `true`, `false` and `null` become strings, and so do integers that
    /// do not fit 64 bits with a sign, of which Graylog would keep the lower half. Keys that
    /// Graylog keeps to itself (`id`, `source`, `level` ...) get the prefix `kv.`. Graylog refuses
    /// a blank message: it is written as `full_message`, with `-` for the `short_message`.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").format(unfazed::Format::gelf());
    /// ```
    #[cfg(feature = "json")]
    pub fn gelf() -> Self {
        Self::of(Layout::Json(Map::Gelf))
    }

    /// Returns JSON lines as Google Cloud's logging agents read them (structured logging,
    /// `LogEntry` v2).
    ///
    /// `severity` (DEBUG for TRACE, too), `time`, `message`, `target`, `thread`,
    /// `logging.googleapis.com/sourceLocation`, then the key-values. A [`field`](Self::field) is
    /// one of the `logging.googleapis.com/labels`, whose values are strings. A key-value such as
    /// `logging.googleapis.com/trace` reaches the agent as it is.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").format(unfazed::Format::google_cloud());
    /// ```
    #[cfg(feature = "json")]
    pub fn google_cloud() -> Self {
        Self::of(Layout::Json(Map::GoogleCloud))
    }

    /// Returns logfmt: `ts=... level=info target=... msg="..." key=value`, quoted where needed,
    /// with the escapes of JSON.
    ///
    /// In a key, each character that would end it (a space, `=`, `"`, a control character) becomes
    /// `_`.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").format(unfazed::Format::logfmt());
    /// ```
    pub fn logfmt() -> Self {
        Self::of(Layout::Logfmt)
    }

    /// Returns a format for people, by a pattern: `{time} {level:5} {target}: {message} {kv}`.
    ///
    /// | part | what it is |
    /// |---|---|
    /// | `{time}` | the time, as [`time`](Self::time) says |
    /// | `{level}` | `ERROR` to `TRACE`, in colour where the output wants it |
    /// | `{target}`, `{module}` | the target, the module's path |
    /// | `{thread}` | the thread's name or number |
    /// | `{file}`, `{line}`, `{location}` | where the log call is; `{location}` is `file:line` |
    /// | `{message}` | the message |
    /// | `{kv}` | the constant fields and the key-values, as `key=value` |
    ///
    /// A width fills a column: `{level:5}`, `{line:>4}` at its right. It cuts nothing. `{{` and
    /// `}}` are braces. A part that a record has not got is `-`; without key-values `{kv}` is
    /// nothing, and the space before it goes, too. All parts are escaped as in
    /// [`text`](Self::text).
    ///
    /// A pattern that cannot be read, or that has control characters, is an
    /// [`InitError`](crate::InitError) that names the place.
    ///
    /// ```
    /// # use std::time::UNIX_EPOCH;
    /// let format = unfazed::Format::pattern("{time} [{level:5}] {message} {kv}").time("%H:%M");
    /// let record = log::Record::builder().args(format_args!("hi")).build();
    /// assert_eq!(format.line(&record, UNIX_EPOCH)?, b"00:00 [INFO ] hi\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pattern(pattern: &str) -> Self {
        Self::of(Layout::Pattern(pattern.into()))
    }

    /// The messages of syslog, for the output of that name.
    #[cfg(all(feature = "syslog", unix))]
    pub(crate) fn syslog(options: SyslogOptions) -> Self {
        let is_rfc_3164 = options.is_rfc_3164;
        let format = Self::of(Layout::Syslog(options));
        if is_rfc_3164 { format.local_time() } else { format }
    }

    /// The entries of systemd's journal, for the output of that name.
    #[cfg(all(feature = "journald", target_os = "linux"))]
    pub(crate) fn journal(identifier: String) -> Self {
        Self::of(Layout::Journal(identifier))
    }

    /// Returns a format of the program's own. The closure runs on the writer's thread.
    ///
    /// If it panics or gives an error, the record is dropped and counted in `Dropped::panicked`,
    /// and the writer goes on. A forked child uses it, too.
    ///
    /// ```
    /// use std::io::Write;
    /// let short = unfazed::Format::custom(|line, record| {
    ///     line.timestamp(record.time());
    ///     writeln!(line, " {} {}", record.level(), record.message())
    /// });
    /// # let _ = unfazed::LogFile::new("app.log").format(short);
    /// ```
    pub fn custom(format: impl Fn(&mut LineBuf, &Record<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::of(Layout::Custom(Arc::new(format)))
    }

    /// Lays out one record as a file with this format would, for the unit tests of a program. The
    /// thread is number 1 and has no name.
    ///
    /// # Errors
    ///
    /// The format's own, or `OutOfMemory`.
    ///
    /// ```
    /// # use std::time::UNIX_EPOCH;
    /// let record = log::Record::builder().target("app").args(format_args!("hello")).build();
    /// let line = unfazed::Format::text().line(&record, UNIX_EPOCH)?;
    /// assert_eq!(line, b"1970-01-01T00:00:00.000000Z INFO  app: hello\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn line(&self, record: &log::Record<'_>, time: SystemTime) -> io::Result<Vec<u8>> {
        let caller = Caller { thread: 1, name: None };
        let owned = OwnedRecord::capture(record, Stamp::at(time), caller);
        let mut line = LineBuf::default();
        Encoder::new(self.clone().started(time)).line(&mut line, &Record::new(&owned, time, None))?;
        Ok(line.bytes().to_vec())
    }

    /// Fills in the name of the machine, if the format must have it and was given none.
    pub(crate) fn host(self, name: impl FnOnce() -> Option<String>) -> Self {
        #[cfg(feature = "json")]
        {
            let is_missing = matches!(self.layout, Layout::Json(Map::Gelf))
                && self.options.fields.pairs().all(|(key, _)| key != json::HOST);
            if let Some(name) = is_missing.then(name).flatten() {
                return self.field(json::HOST, name);
            }
        }
        #[cfg(not(feature = "json"))]
        let _ = name;
        self
    }

    fn of(layout: Layout) -> Self {
        Self { layout, options: Options::default() }
    }
}

/// Makes a [`custom`](Format::custom) format of a function, so that every `format` option takes
/// one.
///
/// ```
/// use std::io::{self, Write as _};
/// use unfazed::{Builder, LineBuf, Record};
///
/// fn short(line: &mut LineBuf, record: &Record<'_>) -> io::Result<()> {
///     write!(line, "{} ", record.level())?;
///     line.text(record.message());
///     Ok(())
/// }
///
/// let builder = Builder::new().file("app.log").format(short);
/// ```
impl<F> From<F> for Format
where
    F: Fn(&mut LineBuf, &Record<'_>) -> io::Result<()> + Send + Sync + 'static,
{
    fn from(format: F) -> Self {
        Self::custom(format)
    }
}

impl Default for Format {
    fn default() -> Self {
        Self::text()
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout: &dyn fmt::Debug = match &self.layout {
            Layout::Text => &"text",
            #[cfg(feature = "json")]
            Layout::Json(map) => map,
            Layout::Logfmt => &"logfmt",
            Layout::Pattern(pattern) => pattern,
            Layout::Custom(_) => &"custom",
            #[cfg(all(feature = "syslog", unix))]
            Layout::Syslog(_) => &"syslog",
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Layout::Journal(_) => &"journal",
        };
        f.debug_struct("Format").field("layout", layout).field("options", &self.options).finish()
    }
}

/// What a line has in addition to its text: time, level, quotes, the digits of numbers.
const TEXT_OVERHEAD: usize = 1024;
/// `\u{1b}`: a byte that is escaped becomes at most six; so does one of three that are, as in
/// `\u{202e}`.
const LONGEST_ESCAPE: usize = 6;

/// Returns the name of a thread: its own, or else its number. The crate's own lines come from no
/// thread of the program.
fn thread<'a>(record: &Record<'a>) -> Option<Cow<'a, str>> {
    match (record.thread_name(), record.thread_number()) {
        (Some(name), _) => Some(name.into()),
        (None, 0) => None,
        (None, number) => Some(number.to_string().into()),
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    // Writing to memory does not fail.
    let _ = io::Write::write_fmt(out, format_args!("{number}"));
}

/// Returns the last segment of a target: `pool` of `app::db::pool`.
fn short_target(target: &str) -> &str {
    target.rsplit("::").next().unwrap_or(target)
}
