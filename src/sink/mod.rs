//! Where lines end: the trait of every output, and what it is given. Runs on the writer's thread.

pub(crate) mod console;
pub(crate) mod log_file;

pub(crate) mod file;
mod history;
mod open;

pub(crate) mod archive;
mod retention;
pub(crate) mod rotation;
mod space;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use log::{Level, LevelFilter};

use crate::event::Cause;

/// Takes whole lines, on the writer's thread, one call at a time.
///
/// The writer keeps the account, lays out the lines, tells losses and decides when to try again; a sink says what it took
/// and, if that was not all, why.
///
/// ```
/// use std::io::Write as _;
/// use unfazed::{Batch, Builder, Cause, Sink, WriteError};
///
/// /// Writes to whatever is a `Write`.
/// struct Into<W>(W);
///
/// impl<W: std::io::Write + Send> Sink for Into<W> {
///     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
///         self.0.write_all(batch.bytes()).map_err(|_| WriteError::new(0, Cause::Io))
///     }
///
///     fn flush(&mut self) -> Result<(), WriteError> {
///         self.0.flush().map_err(|_| WriteError::new(0, Cause::Io))
///     }
/// }
///
/// let builder = Builder::new().sink("memory", Into(Vec::new()));
/// ```
pub trait Sink: Send {
    /// Takes the lines of `batch`, in order.
    ///
    /// # Errors
    ///
    /// How many leading lines are in, and why not the rest. The output is suspended: the rest and what follows is dropped
    /// and counted until [`retry`](Self::retry) and one more `write`, of the line that tells the gap, succeed.
    ///
    /// ```
    /// # use unfazed::{Batch, Cause, Sink, WriteError};
    /// struct Lines(Vec<Vec<u8>>);
    ///
    /// impl Sink for Lines {
    ///     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
    ///         for (written, line) in batch.lines().enumerate() {
    ///             if self.0.len() == 1000 {
    ///                 return Err(WriteError::new(written, Cause::DiskFull));
    ///             }
    ///             self.0.push(line.bytes().to_vec());
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError>;

    /// Hands on what the sink holds back, if it does. Called for a flush and at the end.
    ///
    /// # Errors
    ///
    /// The output is suspended, as after [`write`](Self::write).
    ///
    /// ```
    /// # use unfazed::{Batch, Cause, Sink, WriteError};
    /// # use std::io::{BufWriter, Write as _};
    /// struct Buffered(BufWriter<std::process::ChildStdin>);
    ///
    /// impl Sink for Buffered {
    ///     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
    ///         self.0.write_all(batch.bytes()).map_err(|_| WriteError::new(0, Cause::Io))
    ///     }
    ///
    ///     fn flush(&mut self) -> Result<(), WriteError> {
    ///         self.0.flush().map_err(|_| WriteError::new(0, Cause::Io))
    ///     }
    /// }
    /// ```
    fn flush(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    /// Makes one cheap attempt to get ready for writing: once at the start, and while suspended after 50 ms, doubling to 1 s; to 100 ms
    /// where the cause is space, to 250 ms where the file is missing or read-only.
    ///
    /// # Errors
    ///
    /// Not yet. The output stays suspended.
    ///
    /// ```
    /// # use std::io::Write as _;
    /// # use std::net::TcpStream;
    /// # use unfazed::{Batch, Cause, Now, Sink, WriteError};
    /// struct Collector(Option<TcpStream>);
    ///
    /// impl Sink for Collector {
    /// #     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
    /// #         let Some(stream) = &mut self.0 else { return Err(WriteError::new(0, Cause::Missing)) };
    /// #         stream.write_all(batch.bytes()).map_err(|_| WriteError::new(0, Cause::Io))
    /// #     }
    ///     fn retry(&mut self, _now: Now) -> Result<(), WriteError> {
    ///         if self.0.is_none() {
    ///             let stream = TcpStream::connect("127.0.0.1:5170");
    ///             self.0 = Some(stream.map_err(|_| WriteError::new(0, Cause::Missing))?);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
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

    /// Something the program asked for; never while suspended, but for [`Command::Close`]. What a sink has no use for it
    /// ignores, as by default.
    ///
    /// # Errors
    ///
    /// The output is suspended, as after [`write`](Self::write).
    fn command(&mut self, command: Command, now: Now) -> Result<(), WriteError> {
        let _ = (command, now);
        Ok(())
    }
}

/// What the program can ask of a sink.
///
/// ```
/// # use unfazed::{Batch, Command, Now, Sink, WriteError};
/// # struct Own;
/// # impl Sink for Own {
/// #     fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> { Ok(()) }
/// fn command(&mut self, command: Command, _now: Now) -> Result<(), WriteError> {
///     if command == Command::Close {
///         // nothing comes after this
///     }
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// `Handle::rotate`: put aside what is there, and begin anew.
    Rotate,
    /// `Handle::reopen`: open again what the path leads to now.
    Reopen,
    /// The logger ends: nothing comes after this.
    Close,
}

/// Holds one moment, by both clocks. Sinks and policies read no clock; the time is an argument.
///
/// ```
/// # use unfazed::{Batch, Now, Sink, WriteError};
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
    /// What a calendar shows; may jump.
    pub wall: SystemTime,
    /// For durations; never goes back.
    pub monotonic: Instant,
}

/// Holds whole lines, each with its newline, in the order of the queue.
///
/// ```
/// # use unfazed::{Batch, Sink, WriteError};
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
}

/// What a batch is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Records,
    /// The one line that says why it gets quiet: it may go below the reserve.
    LastWords,
    /// What a suspended sink said that it still takes.
    Urgent,
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
        Self { bytes, spans, base: 0, now, purpose: Purpose::Records }
    }

    /// A batch that may go below the reserve: the one line that says why it gets quiet.
    pub(crate) fn last_words(bytes: &'a [u8], spans: &'a [Span], now: Now) -> Self {
        Self { purpose: Purpose::LastWords, ..Self::new(bytes, spans, now) }
    }

    /// A batch for a suspended sink, of the levels that it still takes.
    pub(crate) fn urgent(bytes: &'a [u8], spans: &'a [Span], now: Now) -> Self {
        Self { purpose: Purpose::Urgent, ..Self::new(bytes, spans, now) }
    }

    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// How many whole lines the first `bytes` bytes hold, and where they end.
    pub(crate) fn whole_lines_in(&self, bytes: usize) -> (usize, usize) {
        let lines = self.spans.partition_point(|span| span.end - self.base <= bytes);
        (lines, lines.checked_sub(1).map_or(0, |last| self.spans[last].end - self.base))
    }

    pub(crate) fn ends(&self) -> impl Iterator<Item = usize> + use<'a> {
        let base = self.base;
        self.spans.iter().map(move |span| span.end - base)
    }

    /// The first `lines` lines.
    pub(crate) fn first(&self, lines: usize) -> Self {
        let spans = &self.spans[..lines.min(self.spans.len())];
        let end = spans.last().map_or(0, |span| span.end - self.base);
        Self { bytes: &self.bytes[..end], spans, ..*self }
    }

    /// The lines behind the first `lines`.
    pub(crate) fn behind(&self, lines: usize) -> Self {
        let lines = lines.min(self.spans.len());
        let start = lines.checked_sub(1).map_or(self.base, |last| self.spans[last].end);
        Self { bytes: &self.bytes[start - self.base..], spans: &self.spans[lines..], base: start, ..*self }
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

/// Holds one line of a batch.
///
/// ```
/// # use unfazed::{Batch, Sink, WriteError};
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
    time: SystemTime,
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
        self.time
    }
}

/// What a sink notices about itself while it works.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// It still writes, but soon it may not: the output's state is `State::Low`.
    pub low: bool,
    /// What has happened since it was asked last.
    pub news: Vec<News>,
    /// When it wants to be asked again, if sooner than usual (500 ms).
    pub check_after: Option<Duration>,
}

/// Something that happened to what a sink writes to; told to the program, or in the next line, or both.
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// So many lines, written since the last look, went away with a file that somebody deleted. Told in the next line.
    Vanished(u64),
    /// Somebody cut the file short by so many bytes. Told in the next line.
    CutShort(u64),
    /// What was tried, failed, and was got around: what was done, and the error. Told as `Event::Failed`, and in a line at most
    /// every 5 s.
    Failed(&'static str, io::Error),
    /// The file was put aside under this name. Told as `Event::Rotated`.
    Rotated(PathBuf),
    /// An old file of so many bytes was deleted. Told as `Event::Deleted`.
    Deleted(PathBuf, u64),
    /// The same, because there was no room. Told in the next line, too.
    GaveWay(PathBuf, u64),
}

impl News {
    /// Makes one of those that say the same: of failures the last one stays, what is counted is added up.
    pub(crate) fn join(all: &mut Vec<News>) {
        let mut joined: Vec<News> = Vec::new();
        for later in all.drain(..) {
            let same = joined.iter_mut().find(|earlier| match (&**earlier, &later) {
                (News::Failed(doing, _), News::Failed(again, _)) => doing == again,
                (News::Vanished(_), News::Vanished(_)) | (News::CutShort(_), News::CutShort(_)) => true,
                _ => false,
            });
            match (same, later) {
                (Some(News::Vanished(sum)), News::Vanished(more))
                | (Some(News::CutShort(sum)), News::CutShort(more)) => {
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
/// ```
/// use std::time::Duration;
/// use unfazed::{Cause, WriteError};
///
/// // Two lines are in, the others are not; try again in 200 ms.
/// let error = WriteError::new(2, Cause::Io).retry_after(Duration::from_millis(200));
/// ```
#[derive(Debug)]
pub struct WriteError {
    written: usize,
    cause: Cause,
    retry_after: Option<Duration>,
    /// While it is suspended the sink still takes these levels.
    pub(crate) still_takes: LevelFilter,
    pub(crate) shortage: Option<Shortage>,
    pub(crate) news: Vec<News>,
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
    /// Returns an error of a batch whose first `written` lines are in, and the others are not.
    ///
    /// ```
    /// let error = unfazed::WriteError::new(0, unfazed::Cause::Missing);
    /// ```
    pub fn new(written: usize, cause: Cause) -> Self {
        Self { written, cause, retry_after: None, still_takes: LevelFilter::Off, shortage: None, news: Vec::new() }
    }

    /// Asks for the next [`Sink::retry`] after this time instead of the usual one; at least 1 ms, at most 1 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unfazed::{Cause, WriteError};
    ///
    /// let error = WriteError::new(0, Cause::Io).retry_after(Duration::from_millis(200));
    /// ```
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(crate) fn failed(written: usize, doing: &'static str, error: io::Error) -> Self {
        let cause = Cause::of(&error);
        Self { news: vec![News::Failed(doing, error)], ..Self::new(written, cause) }
    }

    /// The same error, met behind lines that are in.
    pub(crate) fn after(self, written: usize) -> Self {
        Self { written, ..self }
    }

    pub(crate) fn caused_by(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    pub(crate) fn written(&self) -> usize {
        self.written
    }

    pub(crate) fn cause(&self) -> Cause {
        self.cause
    }

    /// The error of the operating system, where there was one: a copy, because the event takes the original.
    pub(crate) fn io_error(&self) -> Option<io::Error> {
        self.news.iter().find_map(|news| match news {
            News::Failed(_, error) => Some(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            }),
            _ => None,
        })
    }

    pub(crate) fn wanted_delay(&self) -> Option<Duration> {
        self.retry_after
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const LINES: [&str; 6] = ["a\n", "bcd\n", "\n", "efghi\n", "j\n", "kl\n"];

    /// Whatever part of a part it is, it is the batch of just these lines.
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
            Span { end, level: Level::Info, time: UNIX_EPOCH }
        });
        let bytes = LINES.concat();
        let whole = Batch::new(bytes.as_bytes(), &spans, now);
        for from in 0..=LINES.len() {
            for to in from..=LINES.len() {
                for middle in from..=to {
                    is_of(&whole.behind(from).first(to - from), &LINES[from..to]);
                    is_of(&whole.first(to).behind(from), &LINES[from..to]);
                    is_of(&whole.behind(from).behind(middle - from).first(to - middle), &LINES[middle..to]);
                }
            }
        }
        is_of(&whole.first(99), &LINES);
        is_of(&whole.behind(99), &[]);
    }
}
