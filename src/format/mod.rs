//! From a record to a line: pure, no clock and no I/O. Runs on the writer's thread.

mod escape;
#[cfg(all(feature = "journald", target_os = "linux"))]
mod journal;
mod line_buf;
#[cfg(feature = "json")]
mod json;
mod logfmt;
mod names;
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

use log::kv::ToValue;

use crate::clock::Stamp;
use crate::record::{Caller, Fields, Notice, OwnedRecord, Record};
use crate::zone::Zone;

#[cfg(all(feature = "journald", target_os = "linux"))]
use journal::Journal;
#[cfg(feature = "json")]
use json::{Json, Map};
pub use line_buf::LineBuf;
use logfmt::Logfmt;
#[cfg(all(feature = "syslog", unix))]
use syslog::Syslog;
#[cfg(all(feature = "syslog", unix))]
pub(crate) use syslog::SyslogOptions;
use text::Text;
use time::TimeText;
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
/// | [`custom`](Self::custom) | whatever else |
///
/// | option | text | logfmt | json | ecs | google_cloud | otel | gelf |
/// |---|---|---|---|---|---|---|---|
/// | [`local_time`](Self::local_time) | yes | yes | yes | yes | yes | - | - |
/// | [`thread`](Self::thread), [`location`](Self::location) | yes | yes | yes | always | always | always | always |
/// | [`multiline`](Self::multiline) | yes | - | - | - | - | - | - |
/// | [`field`](Self::field) | yes | yes | yes | yes | labels | resource | yes |
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
    Custom(Arc<Custom>),
    #[cfg(all(feature = "syslog", unix))]
    Syslog(SyslogOptions),
    /// The name of the program.
    #[cfg(all(feature = "journald", target_os = "linux"))]
    Journal(String),
}

#[derive(Clone, Debug, Default)]
struct Options {
    local_time: bool,
    /// The zone of `local_time`, once it is read.
    zone: Option<Zone>,
    thread: bool,
    location: bool,
    multiline: bool,
    safe_integers: bool,
    /// Decided by the output.
    colored: bool,
    fields: Fields,
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
    /// The key-values stand in `labels`, all as strings, since the schema stores labels as
    /// keywords: so none of them can break the types of an index. `.`, `*` and `\` in their keys
    /// become `_`, as the specification demands. A [`field`](Self::field) stands next to `message`,
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

    /// Writes times in the local time zone, with its offset, instead of UTC (the default). A custom
    /// format gets them from [`LineBuf::timestamp`].
    ///
    /// The zone is that of `TZ`, or of `/etc/localtime`, when the logger is set up. Its clock
    /// changes are followed; a later change of `TZ` is not. A zone that cannot be read is UTC.
    ///
    /// ```
    /// let format = unfazed::Format::text().local_time();
    /// ```
    pub fn local_time(mut self) -> Self {
        self.options.local_time = true;
        self
    }

    /// Writes which thread logged: its name, or its number if it has none (1 is the first that
    /// logged). Default: not written, except by the formats that always do.
    ///
    /// In text it stands before the target, as in `INFO  [main] app: message`.
    ///
    /// ```
    /// let format = unfazed::Format::text().thread();
    /// ```
    pub fn thread(mut self) -> Self {
        self.options.thread = true;
        self
    }

    /// Writes the source file and line of the log call. Default: not written, except by the formats
    /// that always do.
    ///
    /// In text it stands after the target, as in `INFO  app src/main.rs:42: message`.
    ///
    /// ```
    /// let format = unfazed::Format::text().location();
    /// ```
    pub fn location(mut self) -> Self {
        self.options.location = true;
        self
    }

    /// The former name of [`location`](Self::location).
    pub fn place(self) -> Self {
        self.location()
    }

    /// In text, writes a message of several lines as several lines, each but the first indented by
    /// four spaces. Default: its newlines are escaped.
    ///
    /// A line that is not indented is the start of a record: no message can forge one. All other
    /// control characters stay escaped, and those in key-values, too.
    ///
    /// ```
    /// let format = unfazed::Format::text().multiline();
    /// ```
    pub fn multiline(mut self) -> Self {
        self.options.multiline = true;
        self
    }

    /// In `json`, writes an integer beyond 2^53 as a string. Default: as a number with all its
    /// digits.
    ///
    /// JavaScript, `jq` before 1.7 and everything else that keeps each number as a double rounds a
    /// larger one: 9007199254740993 becomes 9007199254740992. What stands inside a structured value
    /// is treated alike. `google_cloud` always does it, because Google stores the payload's numbers
    /// as doubles; the other formats follow their schema.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// # use std::time::UNIX_EPOCH;
    /// let format = unfazed::Format::json().safe_integers();
    /// let pairs = [("id", 9_007_199_254_740_993_u64)];
    /// let line = format.line(&log::Record::builder().key_values(&pairs).build(), UNIX_EPOCH)?;
    /// assert!(line.ends_with(b"\"id\":\"9007199254740993\"}\n"));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn safe_integers(mut self) -> Self {
        self.options.safe_integers = true;
        self
    }

    /// Adds a constant field to each line, as in `field("service.name", "shop")`. Set again, the
    /// later value counts. Default: none.
    ///
    /// The value is what a key-value of a log call can be: a string, a number, a `bool`. Where it
    /// stands is the format's business. A name that the format writes itself is an
    /// [`InitError`](crate::InitError). No effect on a custom format.
    ///
    /// ```
    /// # #[cfg(feature = "json")]
    /// let format = unfazed::Format::otel()
    ///     .field("service.name", "shop")
    ///     .field("process.pid", std::process::id());
    /// ```
    pub fn field(mut self, key: &str, value: impl ToValue) -> Self {
        self.options.fields.set(key, value.to_value());
        self
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
        let owned = OwnedRecord::capture(record, Stamp::Time(time), caller);
        let mut line = LineBuf::default();
        Encoder::new(self.clone()).line(&mut line, &Record::new(&owned, time, None))?;
        Ok(line.bytes().to_vec())
    }

    /// Whether the level is coloured; what the output says, where it is a terminal.
    pub(crate) fn colored(mut self, colored: bool) -> Self {
        self.options.colored = colored;
        self
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

    /// Fills in the local time zone, if the format must have it and was given none.
    pub(crate) fn zone(mut self, zone: impl FnOnce() -> Zone) -> Self {
        if self.options.local_time && self.options.zone.is_none() {
            self.options.zone = Some(zone());
        }
        self
    }

    /// A constant field that would meet a name of the format's own.
    pub(crate) fn bad_field(&self) -> Option<&str> {
        let names = match &self.layout {
            #[cfg(feature = "json")]
            Layout::Json(map) => map.field_names(&self.options),
            Layout::Logfmt => logfmt::names(&self.options),
            _ => return None,
        };
        self.options.fields.pairs().map(|(key, _)| key).find(|key| names.is_reserved(key))
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
            Layout::Custom(_) => &"custom",
            #[cfg(all(feature = "syslog", unix))]
            Layout::Syslog(_) => &"syslog",
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Layout::Journal(_) => &"journal",
        };
        f.debug_struct("Format").field("layout", layout).field("options", &self.options).finish()
    }
}

/// A format at work: its options decided, and with what it remembers from line to line.
pub(crate) struct Encoder {
    work: Work,
    /// `None`: UTC.
    zone: Option<Zone>,
    colored: bool,
    time: TimeText,
}

enum Work {
    Text(Text),
    #[cfg(feature = "json")]
    Json(Json),
    Logfmt(Logfmt),
    Custom(Arc<Custom>),
    #[cfg(all(feature = "syslog", unix))]
    Syslog(Box<Syslog>),
    #[cfg(all(feature = "journald", target_os = "linux"))]
    Journal(Journal),
}

impl Encoder {
    pub(crate) fn new(format: Format) -> Self {
        let format = format.zone(Zone::local);
        let options = &format.options;
        let zone = options.zone.clone();
        let work = match format.layout {
            Layout::Text => Work::Text(Text::new(options)),
            #[cfg(feature = "json")]
            Layout::Json(map) => Work::Json(Json::new(map, options)),
            Layout::Logfmt => Work::Logfmt(Logfmt::new(options)),
            Layout::Custom(custom) => Work::Custom(custom),
            #[cfg(all(feature = "syslog", unix))]
            Layout::Syslog(syslog) => Work::Syslog(Box::new(Syslog::new(syslog, options))),
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Layout::Journal(identifier) => Work::Journal(Journal::new(identifier, options)),
        };
        Self { work, zone: zone.clone(), colored: options.colored, time: TimeText::new(zone) }
    }

    /// Returns true if the code that lays out is the program's own.
    pub(crate) fn is_programs(&self) -> bool {
        matches!(self.work, Work::Custom(_))
    }

    /// Appends the line of one record. After an error (or a panic) the caller cuts `out` back to
    /// where it was. Without memory for it the error is `OutOfMemory`.
    pub(crate) fn line(&mut self, out: &mut LineBuf, record: &Record<'_>) -> io::Result<()> {
        make_room(out.bytes_mut(), record)?;
        if record.is_line() {
            out.bytes_mut().extend_from_slice(record.message().as_bytes());
            out.bytes_mut().push(b'\n');
            return Ok(());
        }
        match &self.work {
            Work::Text(text) => text.line(out.bytes_mut(), record, &mut self.time),
            #[cfg(feature = "json")]
            Work::Json(json) => json.line(out.bytes_mut(), record, &mut self.time)?,
            Work::Logfmt(logfmt) => logfmt.line(out.bytes_mut(), record, &mut self.time),
            #[cfg(all(feature = "syslog", unix))]
            Work::Syslog(syslog) => syslog.line(out.bytes_mut(), record, &mut self.time),
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Work::Journal(journal) => journal.line(out.bytes_mut(), record, &mut self.time),
            Work::Custom(custom) => {
                let start = out.len();
                out.begin(self.zone.as_ref(), self.colored);
                custom(out, record)?;
                if !out.is_complete() {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                if out.len() == start || out.bytes().last() == Some(&b'\n') {
                    return Ok(());
                }
            }
        }
        out.bytes_mut().push(b'\n');
        Ok(())
    }

    /// Appends a line of the crate's own. A custom format that cannot lay it out does not hide it:
    /// then it is text.
    pub(crate) fn notice(&mut self, out: &mut LineBuf, notice: &Notice) {
        let start = out.len();
        let record = notice.record();
        let attempt = std::panic::AssertUnwindSafe(|| self.line(out, &record));
        if !matches!(std::panic::catch_unwind(attempt), Ok(Ok(()))) || out.len() == start {
            out.truncate(start);
            Text::new(&Options::default()).line(out.bytes_mut(), &record, &mut self.time);
            out.bytes_mut().push(b'\n');
        }
    }
}

/// What a thread is called: its name, or else its number. The crate's own lines come from no thread
/// of the program.
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

/// Makes room for the line of a record before it is laid out piece by piece: the pieces would end
/// the process where there is no memory.
#[inline]
fn make_room(out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
    if out.capacity() - out.len() >= TEXT_OVERHEAD + record.text_len() * LONGEST_ESCAPE {
        return Ok(()); // Nearly always: the buffer is used for batch after batch.
    }
    make_more_room(out, record)
}

/// What a line has in addition to its text: time, level, quotes, the digits of numbers.
const TEXT_OVERHEAD: usize = 1024;
/// `\u{1b}`: a byte that is escaped becomes at most six; so does one of three that are, as in
/// `\u{202e}`.
const LONGEST_ESCAPE: usize = 6;

fn may_be_escaped(byte: u8) -> bool {
    escape::may_mislead(byte) | matches!(byte, b'"' | b'\\')
}

#[cold]
fn make_more_room(out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
    let message = record.message();
    let outside_message = record.text_len().saturating_sub(message.len());
    let escaped = message.bytes().filter(|byte| may_be_escaped(*byte)).count();
    let more = (escaped + outside_message) * (LONGEST_ESCAPE - 1);
    out.try_reserve(TEXT_OVERHEAD + record.text_len() + more)?;
    Ok(())
}
