//! Destinations of lines: the trait [`Sink`] for an output of your own, and what it is given.

pub(crate) mod console;
#[cfg(all(feature = "journald", target_os = "linux"))]
pub(crate) mod journald;
pub(crate) mod log_file;
pub(crate) mod otherwise;
#[cfg(all(feature = "syslog", unix))]
pub(crate) mod socket;
#[cfg(all(feature = "syslog", unix))]
pub(crate) mod syslog;

mod backlog;
mod batch;
mod outcome;
pub(crate) mod shared_options;

pub(crate) mod opened;

pub(crate) mod file;
pub(crate) mod rotation;

mod stream;
mod write_all;

pub use batch::{Batch, BatchBuf, Line, Now};
pub use outcome::WriteError;

#[doc(no_inline)]
pub use crate::event::Cause;

pub(crate) use backlog::Backlog;
pub(crate) use batch::{Purpose, Span};
pub(crate) use outcome::{Command, Health, Lag, News, OutputSink, Shortage};

/// Takes whole lines, on the writer's thread, one call at a time.
///
/// The writer counts the records, lays out the lines, reports drops and decides when to try again.
/// A sink returns how many lines it took and, if it did not take all of them, why.
///
/// ```
/// use std::io::Write;
///
/// use unfazed::Builder;
/// use unfazed::sink::{Batch, Sink, WriteError};
///
/// /// Writes to any `Write`.
/// struct WriterSink<W>(W);
///
/// impl<W: Write + Send> Sink for WriterSink<W> {
///     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
///         Ok(self.0.write_all(batch.bytes())?)
///     }
///
///     fn flush(&mut self) -> Result<(), WriteError> {
///         Ok(self.0.flush()?)
///     }
/// }
///
/// let builder = Builder::new().sink("memory", WriterSink(Vec::new()));
/// ```
///
/// A unit test makes a batch with [`BatchBuf`].
///
/// # Sinks that log or panic
///
/// A record that is logged inside the code of a sink or of a format goes to the other outputs only.
/// What they log while they handle it is not taken. Eight such records are taken at once, and one
/// more each second; the rest counts in `Stats::suppressed`, and so does a record that no other
/// output wants.
///
/// A panic of a sink is an error of its output: the batch is dropped and counted as `panicked`, and
/// the output is suspended until an attempt works. A panic of a format drops the record that it
/// had.
pub trait Sink: Send {
    /// Takes the lines of `batch`, in order.
    ///
    /// # Errors
    ///
    /// Returns the number of leading lines that the sink took, and why it did not take the others.
    /// An [`io::Error`](std::io::Error) that becomes a [`WriteError`] through `?` means that it
    /// took none. The output is then suspended: the other lines and all later records are dropped
    /// and counted, until [`retry`](Self::retry) and a `write` of the line that reports the gap
    /// succeed.
    ///
    /// ```
    /// # use unfazed::sink::{Batch, Cause, Sink, WriteError};
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

    /// Hands on the lines that the sink buffers. Called for a flush and at the end. Does nothing by
    /// default.
    ///
    /// # Errors
    ///
    /// The output is suspended, as after an error of [`write`](Self::write).
    ///
    /// ```
    /// # use unfazed::sink::{Batch, Sink, WriteError};
    /// # use std::io::{BufWriter, Write as _};
    /// struct Buffered(BufWriter<std::process::ChildStdin>);
    ///
    /// impl Sink for Buffered {
    ///     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
    ///         Ok(self.0.write_all(batch.bytes())?)
    ///     }
    ///
    ///     fn flush(&mut self) -> Result<(), WriteError> {
    ///         Ok(self.0.flush()?)
    ///     }
    /// }
    /// ```
    fn flush(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    /// Makes one cheap attempt to get ready for writing. Does nothing by default.
    ///
    /// Called once at the start, and while the output is suspended: after 50 ms, then at intervals
    /// that double up to 1 s, to 250 ms where the cause is [`Cause::Missing`] or
    /// [`Cause::ReadOnly`], and to 100 ms where the cause is space.
    ///
    /// # Errors
    ///
    /// The output stays suspended.
    ///
    /// ```
    /// # use std::io::Write as _;
    /// # use std::net::TcpStream;
    /// # use unfazed::sink::{Batch, Cause, Now, Sink, WriteError};
    /// struct Collector(Option<TcpStream>);
    ///
    /// impl Sink for Collector {
    /// #     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
    /// #         let Some(stream) = &mut self.0 else { return Err(WriteError::new(0, Cause::Missing)) };
    /// #         Ok(stream.write_all(batch.bytes())?)
    /// #     }
    ///     fn retry(&mut self, _now: Now) -> Result<(), WriteError> {
    ///         if self.0.is_none() {
    ///             self.0 = Some(TcpStream::connect("127.0.0.1:5170")?);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        let _ = now;
        Ok(())
    }
}
