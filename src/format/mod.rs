//! From a record to a line: pure, no clock and no I/O. Runs on the writer's thread.

#[cfg(feature = "json")]
mod json;
mod logfmt;
mod text;
mod time;

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::record::{OwnedRecord, Record};

use time::TimeText;
pub(crate) use time::utc_text;

/// How a record becomes a line.
///
/// Whatever the format, one record is one line: the built-in ones escape control characters, and a custom one that does
/// not end its line gets the newline added.
#[derive(Clone)]
pub struct Format {
    layout: Layout,
    local_time: bool,
}

type Custom = dyn Fn(&mut LineBuf, &Record<'_>) -> io::Result<()> + Send + Sync;

#[derive(Clone)]
enum Layout {
    Text,
    #[cfg(feature = "json")]
    Json,
    Logfmt,
    Custom(Arc<Custom>),
}

impl Format {
    /// For people: `2026-11-21T09:30:00.123456Z INFO  target: message key=value`. The default.
    ///
    /// Control characters are escaped, so that no message can forge a line or drive a terminal.
    pub fn text() -> Self {
        Self::of(Layout::Text)
    }

    /// JSON lines: `timestamp` (RFC 3339, microseconds), `level`, `target`, `message`, then the key-values with their
    /// types. A key that is one of these four names gets the prefix `kv.`; a number that JSON does not know (NaN,
    /// infinity) becomes a string. Needs the feature `json`, which is on by default.
    #[cfg(feature = "json")]
    pub fn json() -> Self {
        Self::of(Layout::Json)
    }

    /// logfmt: `ts=... level=info target=... msg="..." key=value`, quoted where needed.
    pub fn logfmt() -> Self {
        Self::of(Layout::Logfmt)
    }

    /// A format of the program's own, run on the writer's thread.
    ///
    /// If it panics or gives an error, the record is lost and counted in `Dropped::panicked`, and the writer goes on.
    ///
    /// ```
    /// use std::io::Write;
    /// let short = unfazed::Format::custom(|line, record| {
    ///     writeln!(line, "{} {}", record.level(), record.message())
    /// });
    /// # let _ = unfazed::LogFile::new("app.log").format(short);
    /// ```
    pub fn custom(format: impl Fn(&mut LineBuf, &Record<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::of(Layout::Custom(Arc::new(format)))
    }

    /// Times in the local time zone, with its offset, instead of UTC (the default). No effect on a custom format.
    pub fn local_time(mut self) -> Self {
        self.local_time = true;
        self
    }

    fn of(layout: Layout) -> Self {
        Self { layout, local_time: false }
    }
}

impl Default for Format {
    fn default() -> Self {
        Self::text()
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = match self.layout {
            Layout::Text => "text",
            #[cfg(feature = "json")]
            Layout::Json => "json",
            Layout::Logfmt => "logfmt",
            Layout::Custom(_) => "custom",
        };
        f.debug_struct("Format").field("layout", &layout).field("local_time", &self.local_time).finish()
    }
}

/// Where a format writes its line: `std::io::Write`, in memory; fails only where there is no memory.
#[derive(Debug, Default)]
pub struct LineBuf {
    bytes: Vec<u8>,
}

impl LineBuf {
    /// All lines so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Forgets the lines, and gives back the memory of an unusual one.
    pub(crate) fn clear(&mut self, keep: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(keep);
    }
}

impl io::Write for LineBuf {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.try_reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A format at work: with what it remembers from line to line.
pub(crate) struct Encoder {
    format: Format,
    time: TimeText,
}

impl Encoder {
    pub(crate) fn new(format: Format) -> Self {
        let time = TimeText::new(format.local_time);
        Self { format, time }
    }

    /// Appends the line of one record. After an error (or a panic) the caller cuts `out` back to where it was. Without memory for it
    /// the error is `OutOfMemory`.
    pub(crate) fn line(&mut self, out: &mut LineBuf, record: &Record<'_>) -> io::Result<()> {
        let start = out.len();
        make_room(&mut out.bytes, record)?;
        match &self.format.layout {
            Layout::Text => text::line(&mut out.bytes, record, &mut self.time),
            #[cfg(feature = "json")]
            Layout::Json => json::line(&mut out.bytes, record, &mut self.time)?,
            Layout::Logfmt => logfmt::line(&mut out.bytes, record, &mut self.time),
            Layout::Custom(custom) => custom(out, record)?,
        }
        if out.len() > start && out.bytes.last() != Some(&b'\n') {
            io::Write::write_all(out, b"\n")?;
        }
        Ok(())
    }

    /// Appends a line of the crate's own. A custom format that cannot lay it out does not hide it: then it is text.
    pub(crate) fn notice(&mut self, out: &mut LineBuf, notice: &OwnedRecord) {
        let start = out.len();
        let record = Record::new(notice, None);
        let attempt = std::panic::AssertUnwindSafe(|| self.line(out, &record));
        if !matches!(std::panic::catch_unwind(attempt), Ok(Ok(()))) || out.len() == start {
            out.truncate(start);
            text::line(&mut out.bytes, &record, &mut self.time);
            out.bytes.push(b'\n');
        }
    }
}

/// Makes room for the line of a record before it is laid out piece by piece: the pieces would end the process where there is no memory.
#[inline]
fn make_room(out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
    if out.capacity() - out.len() >= BESIDE_TEXT + record.text_len() * LONGEST_ESCAPE {
        return Ok(()); // Nearly always: the buffer is kept from batch to batch.
    }
    make_more_room(out, record)
}

/// What a line has beside its text: time, level, quotes, the digits of numbers.
const BESIDE_TEXT: usize = 1024;
/// `\u{1b}`: a byte that is escaped becomes at most six.
const LONGEST_ESCAPE: usize = 6;

#[cold]
fn make_more_room(out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
    let message = record.message();
    let beside_message = record.text_len().saturating_sub(message.len());
    let escaped = message.bytes().filter(|byte| matches!(byte, 0..0x20 | b'"' | b'\\' | 0x7f | 0xc2)).count();
    let more = (escaped + beside_message) * (LONGEST_ESCAPE - 1);
    out.try_reserve(BESIDE_TEXT + record.text_len() + more)?;
    Ok(())
}
