//! What a sink is given: whole lines, and the time. Runs on the writer's thread.

use std::time::{Instant, SystemTime};

use log::Level;

use crate::unix_time::UnixTime;

/// Holds one moment, by both clocks. A sink gets the time as an argument and reads no clock.
///
/// ```
/// # use unfazed::sink::{Batch, Now, Sink, WriteError};
/// # struct Daily(Option<std::time::SystemTime>);
/// # impl Sink for Daily {
/// #     fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> { Ok(()) }
/// fn retry(&mut self, now: Now) -> Result<(), WriteError> {
///     self.0.get_or_insert(now.wall);
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Now {
    /// The time of the calendar, which may jump.
    pub wall: SystemTime,
    /// The time for durations, which never goes back.
    pub monotonic: Instant,
}

impl Now {
    /// Makes a moment, for the test of a sink.
    ///
    /// ```
    /// use std::time::{Instant, SystemTime};
    /// use unfazed::sink::Now;
    ///
    /// let now = Now::new(SystemTime::UNIX_EPOCH, Instant::now());
    /// ```
    pub fn new(wall: SystemTime, monotonic: Instant) -> Self {
        Self { wall, monotonic }
    }
}

/// Holds whole lines, each with its newline, in the order of the queue.
///
/// ```
/// # use unfazed::sink::{Batch, Sink, WriteError};
/// # struct Sizes(usize, usize);
/// # impl Sink for Sizes {
/// fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
///     assert_eq!(batch.lines().len(), batch.len());
///     self.0 += batch.len();
///     self.1 += batch.bytes().len();
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    /// Where the first line starts, as the spans count.
    base: usize,
    now: Now,
    purpose: Purpose,
    /// The number of leading lines that are the crate's own.
    notices: usize,
}

/// The purpose of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Records,
    /// The one line that reports the suspension, which may go below `min_free_space`.
    LastWords,
    /// Lines of the levels that a suspended sink still takes.
    Urgent,
}

/// The end of a line in its batch, and the level and time of its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) end: usize,
    pub(crate) level: Level,
    pub(crate) time: UnixTime,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(bytes: &'a [u8], spans: &'a [Span], now: Now) -> Self {
        Self { bytes, spans, base: 0, now, purpose: Purpose::Records, notices: 0 }
    }

    /// Makes a batch of the one line that reports the suspension, which may go below
    /// `min_free_space`.
    pub(crate) fn last_words(bytes: &'a [u8], spans: &'a [Span], now: Now) -> Self {
        Self { purpose: Purpose::LastWords, ..Self::new(bytes, spans, now) }
    }

    /// Makes a batch for a suspended sink, of the levels that it still takes.
    pub(crate) fn urgent(bytes: &'a [u8], spans: &'a [Span], now: Now) -> Self {
        Self { purpose: Purpose::Urgent, ..Self::new(bytes, spans, now) }
    }

    /// Says that the first `notices` lines are the crate's own.
    pub(crate) fn with_notices(self, notices: usize) -> Self {
        Self { notices, ..self }
    }

    /// Returns true if line `number` is one of the crate's own.
    // Only a connection to a daemon asks.
    #[cfg_attr(not(all(feature = "syslog", unix)), allow(dead_code))]
    pub(crate) fn is_notice(&self, number: usize) -> bool {
        number < self.notices
    }

    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Returns the number of whole lines in the first `bytes` bytes, and where they end.
    pub(crate) fn whole_lines_in(&self, bytes: usize) -> (usize, usize) {
        let lines = self.spans.partition_point(|span| span.end - self.base <= bytes);
        (lines, lines.checked_sub(1).map_or(0, |last| self.spans[last].end - self.base))
    }

    pub(crate) fn ends(&self) -> impl Iterator<Item = usize> + use<'a> {
        let base = self.base;
        self.spans.iter().map(move |span| span.end - base)
    }

    /// Returns the first `lines` lines.
    pub(crate) fn first(&self, lines: usize) -> Self {
        let spans = &self.spans[..lines.min(self.spans.len())];
        let end = spans.last().map_or(0, |span| span.end - self.base);
        Self { bytes: &self.bytes[..end], spans, ..*self }
    }

    /// Returns the lines after the first `lines`.
    pub(crate) fn after(&self, lines: usize) -> Self {
        let lines = lines.min(self.spans.len());
        let start = lines.checked_sub(1).map_or(self.base, |last| self.spans[last].end);
        let (bytes, notices) = (&self.bytes[start - self.base..], self.notices.saturating_sub(lines));
        Self { bytes, spans: &self.spans[lines..], base: start, notices, ..*self }
    }

    /// Returns all lines, one after the other.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the number of lines.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns `true` if there is no line.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns the moment at which the writer made the batch.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Returns the lines one by one.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = Line<'a>> + use<'a> {
        let (bytes, base) = (self.bytes, self.base);
        let mut start = 0;
        self.spans.iter().map(move |span| {
            let end = span.end - base;
            let line = Line { bytes: &bytes[start..end], level: span.level, time: span.time };
            start = end;
            line
        })
    }
}

/// Holds the lines from which a test of a sink makes a batch.
///
/// ```
/// use std::time::{Instant, SystemTime};
/// use log::Level;
/// use unfazed::sink::{Batch, BatchBuf, Now, Sink, WriteError};
///
/// struct Bytes(Vec<u8>);
///
/// impl Sink for Bytes {
///     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
///         self.0.extend_from_slice(batch.bytes());
///         Ok(())
///     }
/// }
///
/// let mut lines = BatchBuf::new(Now::new(SystemTime::UNIX_EPOCH, Instant::now()));
/// lines.push(Level::Info, "started");
/// lines.push(Level::Error, "failed");
///
/// let mut sink = Bytes(Vec::new());
/// sink.write(&lines.as_batch())?;
/// assert_eq!(sink.0, b"started\nfailed\n");
/// # Ok::<(), WriteError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuf {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    now: Now,
}

impl BatchBuf {
    /// Makes a batch without lines, as of this moment.
    ///
    /// ```
    /// use std::time::{Instant, SystemTime};
    /// use unfazed::sink::{BatchBuf, Now};
    ///
    /// let lines = BatchBuf::new(Now::new(SystemTime::UNIX_EPOCH, Instant::now()));
    /// assert!(lines.as_batch().is_empty());
    /// ```
    pub fn new(now: Now) -> Self {
        Self { bytes: Vec::new(), spans: Vec::new(), now }
    }

    /// Adds one line of this level, which was logged at the moment of the batch. Adds the newline,
    /// too.
    ///
    /// ```
    /// # use std::time::{Instant, SystemTime};
    /// # use unfazed::sink::{BatchBuf, Now};
    /// # let mut lines = BatchBuf::new(Now::new(SystemTime::UNIX_EPOCH, Instant::now()));
    /// lines.push(log::Level::Warn, "slow");
    /// assert_eq!(lines.as_batch().bytes(), b"slow\n");
    /// ```
    pub fn push(&mut self, level: Level, line: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(line.as_ref());
        self.bytes.push(b'\n');
        self.spans.push(Span { end: self.bytes.len(), level, time: self.now.wall.into() });
    }

    /// Returns the lines as a batch.
    ///
    /// ```
    /// # use std::time::{Instant, SystemTime};
    /// # use unfazed::sink::{BatchBuf, Now};
    /// # let mut lines = BatchBuf::new(Now::new(SystemTime::UNIX_EPOCH, Instant::now()));
    /// lines.push(log::Level::Info, "a");
    /// lines.push(log::Level::Info, "b");
    /// assert_eq!(lines.as_batch().len(), 2);
    /// ```
    pub fn as_batch(&self) -> Batch<'_> {
        Batch::new(&self.bytes, &self.spans, self.now)
    }
}

/// Holds one line of a batch.
///
/// ```
/// # use unfazed::sink::{Batch, Sink, WriteError};
/// # struct Errors(Vec<Vec<u8>>);
/// # impl Sink for Errors {
/// fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
///     let errors = batch.lines().filter(|line| line.level() == log::Level::Error);
///     self.0.extend(errors.map(|line| line.bytes().to_vec()));
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    bytes: &'a [u8],
    level: Level,
    time: UnixTime,
}

impl<'a> Line<'a> {
    /// Returns the line with its newline; empty if a custom format wrote nothing.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the level of the record.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns the time at which the record was logged.
    pub fn time(&self) -> SystemTime {
        self.time.into()
    }

    /// Returns the time of the record in seconds and nanoseconds.
    pub(crate) fn unix_time(&self) -> UnixTime {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const LINES: [&str; 6] = ["a\n", "bcd\n", "\n", "efghi\n", "j\n", "kl\n"];

    /// Asserts that this is the batch of exactly these lines.
    fn is_of(batch: &Batch<'_>, lines: &[&str]) {
        assert_eq!(batch.bytes(), lines.concat().as_bytes());
        assert_eq!((batch.len(), batch.is_empty()), (lines.len(), lines.is_empty()));
        let ends: Vec<_> = (1..=lines.len()).map(|count| lines[..count].concat().len()).collect();
        assert_eq!(batch.ends().collect::<Vec<_>>(), ends);
        assert!(batch.lines().map(|line| line.bytes()).eq(lines.iter().map(|line| line.as_bytes())));
        for bytes in 0..=batch.bytes().len() + 1 {
            let whole = ends.iter().filter(|end| **end <= bytes).count();
            assert_eq!(batch.whole_lines_in(bytes), (whole, lines[..whole].concat().len()), "in {bytes} bytes");
        }
    }

    #[test]
    fn a_part_of_a_part_of_a_batch_is_what_it_says() {
        let now = Now { wall: UNIX_EPOCH, monotonic: Instant::now() };
        let mut end = 0;
        let spans = LINES.map(|line| {
            end += line.len();
            Span { end, level: Level::Info, time: UnixTime::EPOCH }
        });
        let bytes = LINES.concat();
        let whole = Batch::new(bytes.as_bytes(), &spans, now);
        for from in 0..=LINES.len() {
            for to in from..=LINES.len() {
                for middle in from..=to {
                    is_of(&whole.after(from).first(to - from), &LINES[from..to]);
                    is_of(&whole.first(to).after(from), &LINES[from..to]);
                    is_of(&whole.after(from).after(middle - from).first(to - middle), &LINES[middle..to]);
                }
            }
        }
        is_of(&whole.first(99), &LINES);
        is_of(&whole.after(99), &[]);
    }
}
