//! `LineBuf`: where a format writes its line, with the parts that the formats of this crate are
//! made of. Runs on the writer's thread.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use log::Level;

use crate::record::{KeyValues, Record, Value};

use super::escape::{Controls, push_text};
use super::options::Options;
use super::pairs::push_pairs;
use super::palette::Palette;
use super::time::{TimeOptions, TimeText};
use super::{LONGEST_ESCAPE, TEXT_OVERHEAD, short_target, thread};

/// A value that is no text, and the signs around it, take at most this many bytes.
const LONGEST_NUMBER: usize = 64;

/// Takes the line that a format writes: `std::io::Write`, in memory, and the parts of a line that
/// nobody can forge. It fails only where there is no memory.
///
/// Text that `write!` adds is not changed. Whatever comes from outside the program
/// belongs to [`text`](Self::text), which escapes it.
///
/// ```
/// use std::io::Write as _;
///
/// let format = unfazed::Format::custom(|line, record| {
///     line.timestamp(record.time());
///     write!(line, " ")?;
///     line.level(record.level());
///     write!(line, " ")?;
///     line.text(record.message());
///     line.key_values(record.key_values());
///     Ok(())
/// });
/// ```
#[derive(Debug, Default)]
pub struct LineBuf {
    bytes: Vec<u8>,
    time: TimeText,
    /// The options of the custom format that writes here; `None` before its first line.
    options: Option<Arc<PartOptions>>,
    /// A part was left out, because there was no memory for it.
    incomplete: bool,
}

/// What the options of a custom format say of its parts.
#[derive(Debug, Default)]
pub(super) struct PartOptions {
    time: TimeOptions,
    short_target: bool,
    /// `None`: without colour.
    palette: Option<Palette>,
}

impl PartOptions {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            time: options.time.clone(),
            short_target: options.short_target,
            palette: options.colors.is_wanted.then(|| options.colors.palette()),
        }
    }
}

impl LineBuf {
    /// Writes text as `Format::text` does: newlines, escape sequences and all other characters that
    /// mislead are escaped, so that no text can forge a line or drive a terminal.
    ///
    /// ```
    /// # use std::time::UNIX_EPOCH;
    /// let format = unfazed::Format::custom(|line, record| {
    ///     line.text(record.message());
    ///     Ok(())
    /// });
    /// let record = log::Record::builder().args(format_args!("two\nlines")).build();
    /// assert_eq!(format.line(&record, UNIX_EPOCH)?, b"two\\nlines\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn text(&mut self, text: &str) {
        if self.has_memory(text.len()) {
            push_text(&mut self.bytes, text, Controls::Rust);
        }
    }

    /// Writes the level's name, in colour where the output wants it
    /// ([`Console::color`](crate::Console::color)), by the format's
    /// [`palette`](crate::Format::palette).
    ///
    /// ```
    /// # use std::time::UNIX_EPOCH;
    /// let format = unfazed::Format::custom(|line, record| {
    ///     line.level(record.level());
    ///     Ok(())
    /// });
    /// let record = log::Record::builder().level(log::Level::Warn).build();
    /// assert_eq!(format.line(&record, UNIX_EPOCH)?, b"WARN\n", "a file has no colours");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn level(&mut self, level: Level) {
        let options = self.options.clone();
        let palette = options.as_ref().and_then(|options| options.palette.as_ref());
        let (on, off) = palette.map_or(("", ""), |palette| palette.style(level));
        // The error is that there is no memory.
        self.incomplete |= write!(self, "{on}{level}{off}").is_err();
    }

    /// Writes key-values as `Format::text` does: ` key=value` for each, quoted where a reader could
    /// not see where a value ends, and escaped.
    ///
    /// ```
    /// # use std::time::UNIX_EPOCH;
    /// let format = unfazed::Format::custom(|line, record| {
    ///     line.text(record.message());
    ///     line.key_values(record.key_values());
    ///     Ok(())
    /// });
    /// let pairs = [("user", "anna b")];
    /// let record = log::Record::builder().args(format_args!("hello")).key_values(&pairs).build();
    /// assert_eq!(format.line(&record, UNIX_EPOCH)?, b"hello user=\"anna b\"\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn key_values(&mut self, pairs: KeyValues<'_>) {
        let len = |value: Value<'_>| match value {
            Value::Str(text) | Value::Json(text) => text.len(),
            Value::Error(chain) => chain.map(|message| message.len() + LONGEST_NUMBER).sum(),
            _ => LONGEST_NUMBER,
        };
        if self.has_memory(pairs.clone().map(|(key, value)| key.len() + len(value)).sum()) {
            push_pairs(&mut self.bytes, pairs, Controls::Rust);
        }
    }

    /// Writes a time as the format's [`time`](crate::Format::time) says: RFC 3339 with microseconds
    /// unless it is set. In UTC, or in the local time zone if the format has
    /// [`local_time`](crate::Format::local_time).
    ///
    /// ```
    /// let format = unfazed::Format::custom(|line, record| {
    ///     line.timestamp(record.time());
    ///     Ok(())
    /// });
    /// ```
    pub fn timestamp(&mut self, time: SystemTime) {
        if self.has_memory(0) {
            self.time.write(&mut self.bytes, time.into());
        }
    }

    /// Writes a time as RFC 3339, with this many digits after the second: 0 to 9, and 9 for more.
    ///
    /// ```
    /// # use std::time::{Duration, UNIX_EPOCH};
    /// let format = unfazed::Format::custom(|line, record| {
    ///     line.timestamp_digits(record.time(), 3);
    ///     Ok(())
    /// });
    /// let time = UNIX_EPOCH + Duration::from_micros(1_234_567);
    /// let record = log::Record::builder().build();
    /// assert_eq!(format.line(&record, time)?, b"1970-01-01T00:00:01.234Z\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn timestamp_digits(&mut self, time: SystemTime, digits: u8) {
        if self.has_memory(0) {
            self.time.write_digits(&mut self.bytes, time.into(), usize::from(digits.min(9)));
        }
    }

    /// Writes a target as [`text`](Self::text) does; only its last segment if the format has
    /// [`short_target`](crate::Format::short_target).
    ///
    /// ```
    /// # use std::time::UNIX_EPOCH;
    /// let format = unfazed::Format::custom(|line, record| {
    ///     line.target(record.target());
    ///     Ok(())
    /// });
    /// let record = log::Record::builder().target("app::db").build();
    /// assert_eq!(format.short_target().line(&record, UNIX_EPOCH)?, b"db\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn target(&mut self, target: &str) {
        let is_short = self.options.as_ref().is_some_and(|options| options.short_target);
        self.text(if is_short { short_target(target) } else { target });
    }

    /// Writes which thread logged: its name, or else its number; `-` for the crate's own lines.
    ///
    /// ```
    /// # use std::time::UNIX_EPOCH;
    /// let format = unfazed::Format::custom(|line, record| {
    ///     line.thread(record);
    ///     Ok(())
    /// });
    /// assert_eq!(format.line(&log::Record::builder().build(), UNIX_EPOCH)?, b"1\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn thread(&mut self, record: &Record<'_>) {
        self.text(&thread(record).unwrap_or("-".into()));
    }

    /// Writes the file and the line of the log call, as `src/main.rs:42`; `-` where the program did
    /// not say.
    ///
    /// ```
    /// # use std::time::UNIX_EPOCH;
    /// let format = unfazed::Format::custom(|line, record| {
    ///     line.location(record);
    ///     Ok(())
    /// });
    /// let record = log::Record::builder().file(Some("src/main.rs")).line(Some(42)).build();
    /// assert_eq!(format.line(&record, UNIX_EPOCH)?, b"src/main.rs:42\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn location(&mut self, record: &Record<'_>) {
        self.text(record.file().unwrap_or("-"));
        if let (Some(_), Some(line)) = (record.file(), record.line()) {
            // The error is that there is no memory.
            self.incomplete |= write!(self, ":{line}").is_err();
        }
    }

    /// Gets ready for the line of a custom format.
    pub(super) fn begin(&mut self, options: &Arc<PartOptions>) {
        if !self.options.as_ref().is_some_and(|known| Arc::ptr_eq(known, options)) {
            self.time = TimeText::new(options.time.clone());
            self.options = Some(Arc::clone(options));
        }
        self.incomplete = false;
    }

    /// Returns whether everything that was to be written is there.
    pub(super) fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// Returns all lines so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes room for that many bytes, if there is memory.
    pub(crate) fn reserve(&mut self, more: usize) {
        let _ = self.bytes.try_reserve(more);
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

    /// Returns whether there is memory for a text of this length and what is around it, however it
    /// is escaped.
    fn has_memory(&mut self, text: usize) -> bool {
        let has = self.bytes.try_reserve(TEXT_OVERHEAD + text * LONGEST_ESCAPE).is_ok();
        self.incomplete |= !has;
        has
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn written(write: impl FnOnce(&mut LineBuf)) -> String {
        let mut line = LineBuf::default();
        write(&mut line);
        assert!(line.is_complete());
        String::from_utf8(line.bytes).unwrap()
    }

    #[test]
    fn text_forges_no_line_and_drives_no_terminal() {
        assert_eq!(written(|line| line.text("a\nb\u{1b}[31m\u{2028}é")), "a\\nb\\u{1b}[31m\\u{2028}é");
    }

    #[test]
    fn a_level_is_coloured_where_the_output_wants_it() {
        assert_eq!(written(|line| line.level(Level::Info)), "INFO");
        let colored = |line: &mut LineBuf| {
            line.begin(&Arc::new(PartOptions { palette: Some(Palette::default()), ..PartOptions::default() }));
            line.level(Level::Info);
        };
        assert_eq!(written(colored), "\u{1b}[32mINFO\u{1b}[0m");
    }

    #[test]
    fn a_time_has_as_many_digits_as_wanted() {
        let time = UNIX_EPOCH + Duration::new(1, 234_567_891);
        let text = |digits| written(|line| line.timestamp_digits(time, digits));
        assert_eq!(text(0), "1970-01-01T00:00:01Z");
        assert_eq!(text(1), "1970-01-01T00:00:01.2Z");
        assert_eq!(text(3), "1970-01-01T00:00:01.234Z");
        assert_eq!(text(6), written(|line| line.timestamp(time)));
        assert_eq!(text(9), "1970-01-01T00:00:01.234567891Z");
        assert_eq!(text(255), text(9));
        let before = UNIX_EPOCH - Duration::from_nanos(500);
        assert_eq!(written(|line| line.timestamp_digits(before, 9)), "1969-12-31T23:59:59.999999500Z");
    }
}
