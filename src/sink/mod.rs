//! Where lines end: the trait of every output, and what it is given. Runs on the writer's thread.

pub(crate) mod console;
pub(crate) mod file;
pub(crate) mod space;

#[allow(dead_code)] // until the file sink asks them
pub(crate) mod rotation;

#[allow(dead_code)]
mod archive;
#[allow(dead_code)]
pub(crate) mod retention;

use std::io;
use std::time::{Duration, Instant, SystemTime};

use log::Level;

use crate::event::Cause;

/// An output: takes whole lines, on the writer's thread, one call at a time.
///
/// The writer keeps the account, lays out the lines, tells losses and decides when to try again; a sink says what it took
/// and, if that was not all, why.
pub trait Sink: Send {
    /// Takes the lines of `batch`, in order.
    ///
    /// # Errors
    ///
    /// How many leading lines are in, and why not the rest. The output is suspended: the rest and what follows is dropped
    /// and counted until [`retry`](Self::retry) and one more `write`, of the line that tells the gap, succeed.
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError>;

    /// Hands on what the sink holds back, if it does. Called for a flush and at the end.
    ///
    /// # Errors
    ///
    /// The output is suspended, as after [`write`](Self::write).
    fn flush(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    /// One cheap attempt to get ready for writing: once at the start, and while suspended after 50 ms, doubling to 1 s.
    ///
    /// # Errors
    ///
    /// Not yet. The output stays suspended.
    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        let _ = now;
        Ok(())
    }

    /// What the sink notices about itself: before each batch, and a few times a second at rest, never while suspended.
    ///
    /// # Errors
    ///
    /// The output is suspended, as after [`write`](Self::write).
    fn check(&mut self, now: Now) -> Result<Health, WriteError> {
        let _ = now;
        Ok(Health::default())
    }
}

/// One moment, by both clocks. Sinks and policies read no clock; they are told the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Now {
    /// What a calendar shows; may jump.
    pub wall: SystemTime,
    /// For durations; never goes back.
    pub monotonic: Instant,
}

/// Whole lines, each with its newline, in the order of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    now: Now,
    into_reserve: bool,
}

/// Where a line ends in its batch, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) end: usize,
    pub(crate) level: Level,
    pub(crate) time: SystemTime,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(bytes: &'a [u8], spans: &'a [Span], now: Now) -> Self {
        Self { bytes, spans, now, into_reserve: false }
    }

    /// A batch that may go below the reserve: the one line that says why it gets quiet.
    pub(crate) fn into_reserve(bytes: &'a [u8], spans: &'a [Span], now: Now) -> Self {
        Self { bytes, spans, now, into_reserve: true }
    }

    pub(crate) fn may_use_reserve(&self) -> bool {
        self.into_reserve
    }

    /// How many leading lines end within the first `bytes` bytes, and where the last of them does.
    pub(crate) fn whole_lines_in(&self, bytes: usize) -> (usize, usize) {
        let lines = self.spans.partition_point(|span| span.end <= bytes);
        (lines, lines.checked_sub(1).map_or(0, |last| self.spans[last].end))
    }

    pub(crate) fn ends(&self) -> impl Iterator<Item = usize> + use<'a> {
        self.spans.iter().map(|span| span.end)
    }

    /// All lines, one behind the other.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// When the writer made the batch.
    pub fn now(&self) -> Now {
        self.now
    }

    /// The lines one by one.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = Line<'a>> + use<'a> {
        let bytes = self.bytes;
        let mut start = 0;
        self.spans.iter().map(move |span| {
            let line = Line { bytes: &bytes[start..span.end], level: span.level, time: span.time };
            start = span.end;
            line
        })
    }
}

/// One line of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    bytes: &'a [u8],
    level: Level,
    time: SystemTime,
}

impl<'a> Line<'a> {
    /// The line with its newline; empty if a custom format wrote nothing.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The level of its record.
    pub fn level(&self) -> Level {
        self.level
    }

    /// When its record was logged.
    pub fn time(&self) -> SystemTime {
        self.time
    }
}

/// What a sink notices about itself while it works.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// It still writes, but soon it may not: the output's state is `State::Low`.
    pub low: bool,
    /// Lines that had been written since the last look and that went away with their file; told in the next line.
    pub vanished: u64,
    /// What it tried to do, failed at, and got around; told as `Event::Failed`, and in a line at most every 5 s.
    pub failure: Option<(&'static str, io::Error)>,
    /// When it wants to be asked again, if sooner than usual (500 ms).
    pub check_after: Option<Duration>,
}

/// Why a sink did not take all lines of a batch.
#[derive(Debug)]
pub struct WriteError {
    written: usize,
    cause: Cause,
    retry_after: Option<Duration>,
    pub(crate) room: Option<Shortage>,
    pub(crate) failure: Option<(&'static str, io::Error)>,
}

/// How little room there is, where that is the cause and one line about it still fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) free: u64,
    pub(crate) reserve: u64,
}

impl WriteError {
    /// The first `written` lines of the batch are in, the others are not.
    pub fn new(written: usize, cause: Cause) -> Self {
        Self { written, cause, retry_after: None, room: None, failure: None }
    }

    /// Asks for the next [`Sink::retry`] after this time instead of the usual one; at least 1 ms, at most 1 s.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(crate) fn failed(written: usize, doing: &'static str, error: io::Error) -> Self {
        let cause = Cause::of(&error);
        Self { failure: Some((doing, error)), ..Self::new(written, cause) }
    }

    /// The same error, met behind lines that are in.
    pub(crate) fn after(self, written: usize) -> Self {
        Self { written, ..self }
    }

    pub(crate) fn written(&self) -> usize {
        self.written
    }

    pub(crate) fn cause(&self) -> Cause {
        self.cause
    }

    pub(crate) fn wanted_delay(&self) -> Option<Duration> {
        self.retry_after
    }
}
