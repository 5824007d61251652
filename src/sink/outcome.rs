//! What a sink answers, and the trait through which the writer knows its outputs. Runs on the
//! writer's thread.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use crate::event::Cause;

use super::{Batch, Now, Sink};

/// An output, as the writer knows it: a [`Sink`] that also answers what only a file needs.
///
/// While the output is suspended it may be given urgent batches, of the levels that its last error
/// named in `still_takes`, and one batch of last words, if that error named a shortage.
pub(crate) trait OutputSink: Send {
    /// Returns true if its code is the program's own.
    fn is_programs(&self) -> bool {
        false
    }

    /// Takes the lines of `batch`, as [`Sink::write`] does.
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError>;

    /// Hands on the lines that the sink buffers, as [`Sink::flush`] does.
    fn flush(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    /// Makes one cheap attempt to get ready for writing, as [`Sink::retry`] does.
    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        let _ = now;
        Ok(())
    }

    /// Returns true if the sink sees, after an attempt that worked, that the cause of the
    /// suspension has gone; an attempt alone may only find room for one line.
    fn has_recovered(&self) -> bool {
        false
    }

    /// Returns what the sink notices about itself: before each batch, and a few times a second at
    /// rest, never while suspended.
    ///
    /// # Errors
    ///
    /// The output is suspended, as after an error of [`write`](Self::write).
    fn check(&mut self, now: Now) -> Result<Health, WriteError> {
        let _ = now;
        Ok(Health::default())
    }

    /// Takes the news that no answer has returned, at the end of the output. Looks at nothing.
    fn take_news(&mut self) -> Vec<News> {
        Vec::new()
    }

    /// Carries out an order of the program; never while suspended, except [`Command::Close`].
    /// Ignores it by default.
    ///
    /// # Errors
    ///
    /// The output is suspended, as after an error of [`write`](Self::write).
    fn command(&mut self, command: Command, now: Now) -> Result<(), WriteError> {
        let _ = (command, now);
        Ok(())
    }

    /// Returns false while a connection is being made, so that it is not taken for a slow reader.
    fn is_open(&self) -> bool {
        true
    }

    /// Waits up to `at_most` until the reader of a stream has left room. Returns true if it has.
    fn wait(&mut self, at_most: Duration) -> bool {
        let _ = at_most;
        false
    }
}

/// A sink of the program's own is always healthy, has no news, and takes no orders.
impl OutputSink for Box<dyn Sink> {
    fn is_programs(&self) -> bool {
        true
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        (**self).write(batch)
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        (**self).flush().map_err(|error| error.doing("flush"))
    }

    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        (**self).retry(now).map_err(|error| error.doing("open"))
    }
}

/// An order of the program to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    /// Rotates the file (`Handle::rotate`).
    Rotate,
    /// Opens the path again (`Handle::reopen`).
    Reopen,
    /// Ends the output: nothing comes after this.
    Close,
}

/// What a sink notices about itself while it works.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// The output still writes, but soon it may not: its state is `State::Low`.
    pub(crate) low: bool,
    /// What has happened since the last check.
    pub(crate) news: Vec<News>,
    /// All that was written is synced.
    pub(crate) synced: bool,
    /// When the sink wants the next check, if sooner than usual (500 ms).
    pub(crate) check_after: Option<Duration>,
}

/// Something that happened to the file of an output: an event for the program, or reported in the
/// next line, or both.
#[derive(Debug)]
pub(crate) enum News {
    /// Lines that were written since the last check were deleted with their file.
    /// Reported in the next line.
    LinesDeleted { lines: u64 },
    /// Somebody cut bytes off the file. Reported in the next line.
    CutShort { bytes: u64 },
    /// An act failed, and the output went on without it. Raised as `Event::Failed`, and reported in
    /// a line at most every 5 s.
    Failed { doing: &'static str, error: io::Error },
    /// The file was rotated. Raised as `Event::Rotated`.
    Rotated { archive: PathBuf },
    /// An archive was deleted. Raised as `Event::Deleted`.
    Deleted { path: PathBuf, bytes: u64 },
    /// An archive was deleted because space was low. Raised as `Event::Deleted`, and reported in
    /// the next line.
    GaveWay { path: PathBuf, bytes: u64 },
}

impl News {
    /// Merges news of the same kind: the last failure of each act stays, and counts are added up.
    pub(crate) fn join(all: &mut Vec<News>) {
        let mut joined: Vec<News> = Vec::new();
        for later in all.drain(..) {
            let same = joined.iter_mut().find(|earlier| match (&**earlier, &later) {
                (News::Failed { doing, .. }, News::Failed { doing: again, .. }) => doing == again,
                (News::LinesDeleted { .. }, News::LinesDeleted { .. })
                | (News::CutShort { .. }, News::CutShort { .. }) => true,
                _ => false,
            });
            match (same, later) {
                (Some(News::LinesDeleted { lines: sum }), News::LinesDeleted { lines: more })
                | (Some(News::CutShort { bytes: sum }), News::CutShort { bytes: more }) => {
                    *sum += more;
                }
                (Some(same), later) => *same = later,
                (None, later) => joined.push(later),
            }
        }
        *all = joined;
    }
}

/// Says why a sink did not take all lines of a batch.
///
/// An [`io::Error`] becomes a `WriteError` through `?`: no line was taken, the cause is
/// [`Cause::of`] the error, and `Event::Failed` hands the error itself to the program.
///
/// ```
/// use std::io;
/// use std::time::Duration;
/// use unfazed::sink::{Cause, WriteError};
///
/// // Two lines are in, the others are not; try again in 200 ms.
/// let error = WriteError::new(2, Cause::Io).retry_after(Duration::from_millis(200));
/// assert!(error.to_string().starts_with("failed to write after 2 lines: "));
///
/// let error = WriteError::from(io::Error::from(io::ErrorKind::StorageFull));
/// assert_eq!((error.written(), error.cause()), (0, Cause::DiskFull));
/// ```
#[derive(Debug)]
pub struct WriteError {
    written: usize,
    cause: Cause,
    retry_after: Option<Duration>,
    /// The reader of a stream has left no room: nothing is wrong yet.
    pub(crate) lag: Option<Lag>,
    /// While it is suspended the sink still takes these levels.
    pub(crate) still_takes: LevelFilter,
    pub(crate) shortage: Option<Shortage>,
    pub(crate) news: Vec<News>,
}

/// What a stream has done before its reader left no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    /// A part of the line after the written ones is in. The sink finishes that line before anything
    /// else, so it must not be handed over a second time.
    pub(crate) begun: bool,
    /// The reader has taken something.
    pub(crate) took_some: bool,
}

/// Why lines do not fit, where the cause is low space and one more line still fits. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) free_space: u64,
    pub(crate) min_free_space: u64,
    /// The part of the free space that is for ERROR lines.
    pub(crate) error_reserve: u64,
    /// The lines that did not fit. At a start there are none yet.
    pub(crate) needed: u64,
}

impl WriteError {
    /// Returns the error of a sink that took the first `written` lines of the batch, and not the
    /// others.
    ///
    /// A `written` larger than the number of lines means all lines.
    ///
    /// ```
    /// use unfazed::sink::{Cause, WriteError};
    ///
    /// let error = WriteError::new(0, Cause::Missing);
    /// ```
    pub fn new(written: usize, cause: Cause) -> Self {
        Self {
            written,
            cause,
            retry_after: None,
            lag: None,
            still_takes: LevelFilter::Off,
            shortage: None,
            news: Vec::new(),
        }
    }

    /// Asks for the next [`Sink::retry`] after this time instead of the usual one; at least 1 ms,
    /// at most 1 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unfazed::sink::{Cause, WriteError};
    ///
    /// let error = WriteError::new(0, Cause::Io).retry_after(Duration::from_millis(200));
    /// ```
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Returns the number of leading lines that the sink took.
    ///
    /// ```
    /// use unfazed::sink::{Cause, WriteError};
    ///
    /// assert_eq!(WriteError::new(2, Cause::Io).written(), 2);
    /// ```
    pub fn written(&self) -> usize {
        self.written
    }

    /// Returns why the sink did not take the other lines.
    ///
    /// ```
    /// use unfazed::sink::{Cause, WriteError};
    ///
    /// assert_eq!(WriteError::new(0, Cause::Missing).cause(), Cause::Missing);
    /// ```
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Returns the time that [`retry_after`](Self::retry_after) has set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unfazed::sink::{Cause, WriteError};
    ///
    /// let error = WriteError::new(0, Cause::Io);
    /// assert_eq!(error.get_retry_after(), None);
    /// let error = error.retry_after(Duration::from_millis(200));
    /// assert_eq!(error.get_retry_after(), Some(Duration::from_millis(200)));
    /// ```
    pub fn get_retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn failed(written: usize, doing: &'static str, error: io::Error) -> Self {
        let cause = Cause::of(&error);
        Self { news: vec![News::Failed { doing, error }], ..Self::new(written, cause) }
    }

    /// Returns the error of a stream whose reader has left no room for more than `written` lines.
    pub(crate) fn lagging(written: usize, lag: Lag) -> Self {
        Self { lag: Some(lag), ..Self::new(written, Cause::Io) }
    }

    /// Names the act that failed.
    fn doing(mut self, act: &'static str) -> Self {
        for news in &mut self.news {
            if let News::Failed { doing, .. } = news {
                *doing = act;
            }
        }
        self
    }

    /// Returns the error as it is after `written` lines.
    pub(crate) fn after(self, written: usize) -> Self {
        Self { written, ..self }
    }

    pub(crate) fn caused_by(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    fn failure(&self) -> Option<&io::Error> {
        self.news.iter().find_map(|news| match news {
            News::Failed { error, .. } => Some(error),
            _ => None,
        })
    }

    /// Returns a copy of the operating system's error, where there was one: the event takes the
    /// original.
    pub(crate) fn io_error(&self) -> Option<io::Error> {
        self.failure().map(|error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        })
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::failed(0, "write", error)
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = if self.written == 1 { "line" } else { "lines" };
        write!(f, "failed to write after {} {lines}: {}", self.written, self.cause)
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure().map(|error| error as _)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn an_io_error_becomes_a_write_error_with_its_cause_and_source() {
        let cases = [
            (io::ErrorKind::StorageFull, Cause::DiskFull),
            (io::ErrorKind::PermissionDenied, Cause::ReadOnly),
            (io::ErrorKind::NotFound, Cause::Missing),
            (io::ErrorKind::BrokenPipe, Cause::Io),
        ];
        for (kind, cause) in cases {
            let error = WriteError::from(io::Error::from(kind));
            assert_eq!((error.written(), error.cause()), (0, cause));
            let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
            assert_eq!(source.map(io::Error::kind), Some(kind));
        }
        assert!(WriteError::new(0, Cause::Io).source().is_none());
    }

    #[test]
    fn a_write_error_is_a_sentence_for_one_and_for_many() {
        for (written, start) in [
            (0, "failed to write after 0 lines: "),
            (1, "failed to write after 1 line: "),
            (2, "failed to write after 2 lines: "),
        ] {
            let error = WriteError::new(written, Cause::DiskFull);
            assert_eq!(error.to_string(), format!("{start}{}", Cause::DiskFull));
        }
    }
}
