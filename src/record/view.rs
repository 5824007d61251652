//! A record as a format sees it. Runs on the writer's thread.

use std::fmt;
use std::time::SystemTime;

use log::Level;

use crate::unix_time::UnixTime;

use super::{KeyValues, OwnedRecord, text_of};

/// Shows a record to a format, on the writer's thread.
///
/// ```
/// use std::io::Write as _;
///
/// let format = unfazed::Format::custom(|line, record| {
///     let thread = record.thread_name().unwrap_or("-");
///     writeln!(line, "{} [{thread}] {}", record.level(), record.message())
/// });
/// ```
#[derive(Clone, Copy)]
pub struct Record<'a> {
    owned: &'a OwnedRecord,
    /// Its bytes, which are a text.
    message: &'a [u8],
    time: UnixTime,
    thread_name: Option<&'a str>,
}

impl<'a> Record<'a> {
    pub(crate) fn new(owned: &'a OwnedRecord, time: impl Into<UnixTime>, thread_name: Option<&'a str>) -> Self {
        Self::with_message(owned, owned.message_bytes(), time.into(), thread_name)
    }

    /// Shows a record whose message may have been laid out elsewhere.
    pub(crate) fn with_message(
        owned: &'a OwnedRecord,
        message: &'a [u8],
        time: UnixTime,
        thread_name: Option<&'a str>,
    ) -> Self {
        Self { owned, message, time, thread_name }
    }

    /// Returns when the program logged it, by the wall clock. Where the kernel keeps its time by
    /// the processor's counter (Linux on x86-64, mostly) the caller reads only that; should the
    /// clock be set while the record waits in the queue, its time is the new clock's.
    pub fn time(&self) -> SystemTime {
        self.time.into()
    }

    /// Returns the time of the record in seconds and nanoseconds, as formats write it.
    #[inline]
    pub(crate) fn unix_time(&self) -> UnixTime {
        self.time
    }

    /// Returns the level.
    pub fn level(&self) -> Level {
        self.owned.level()
    }

    /// Returns the target: the module path unless the program named another.
    pub fn target(&self) -> &'a str {
        self.owned.target()
    }

    /// Returns the module that logged it; `None` where the program did not say, or handed the
    /// record on from elsewhere: then the target usually names it.
    pub fn module_path(&self) -> Option<&'a str> {
        self.owned.module_path
    }

    /// Returns the source file of the log call; `None` where the program did not say.
    pub fn file(&self) -> Option<&'a str> {
        self.owned.file()
    }

    /// Returns the line of the log call in its file, counted from 1; `None` where the program did
    /// not say.
    pub fn line(&self) -> Option<u32> {
        (self.owned.line > 0).then_some(self.owned.line)
    }

    /// Returns the number of the thread that logged it, counted from 1 in the order of first log
    /// calls; 0 for the crate's own lines.
    pub fn thread_number(&self) -> u32 {
        self.owned.thread
    }

    /// Returns the name of the thread that logged it; `None` if it has none.
    pub fn thread_name(&self) -> Option<&'a str> {
        self.thread_name
    }

    /// Returns whether the message is the whole line, which no format lays out.
    pub(crate) fn is_line(&self) -> bool {
        self.owned.is_line()
    }

    /// Returns how many bytes of text a format has to lay out.
    pub(crate) fn text_len(&self) -> usize {
        self.owned.text_len(self.message.len())
    }

    /// Returns the message, without its key-values; at most 64 KiB.
    pub fn message(&self) -> &'a str {
        text_of(self.message)
    }

    /// Returns the bytes of the message, for formats: validating them as a text would cost another
    /// pass.
    #[inline]
    pub(crate) fn message_bytes(&self) -> &'a [u8] {
        self.message
    }

    /// Returns the key-values.
    pub fn key_values(&self) -> KeyValues<'a> {
        self.owned.key_values()
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("level", &self.level())
            .field("target", &self.target())
            .field("message", &self.message())
            .finish_non_exhaustive()
    }
}
