//! `SinkOutput`: an output of the program's own, with its options. A plain value, made on the
//! thread that sets the logger up.

use std::fmt;
use std::io::Write;
use std::sync::Mutex;

use crate::format::Format;
use crate::sink::otherwise::Otherwise;
use crate::sink::shared_options::{format_option, wanted_options};
use crate::sink::{Batch, Sink, WriteError};
use crate::wanted::Wanted;

/// Holds an output of the program's own and its options. Given to
/// [`Builder::output`](crate::Builder::output).
///
/// | option | default |
/// |---|---|
/// | [`level`](Self::level), [`levels`](Self::levels) | all |
/// | [`filter`](Self::filter), [`filter_with`](Self::filter_with) | none: all that passes the builder's filter |
/// | [`format`](Self::format) | the builder's |
///
/// It stays with this process: a forked child goes on without it.
///
/// ```
/// use unfazed::{Batch, Builder, Sink, SinkOutput, WriteError};
///
/// struct Alarm;
///
/// impl Sink for Alarm {
///     fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
///         for line in batch.lines() {
///             // ... ring the bell
///             let _ = line.bytes();
///         }
///         Ok(())
///     }
/// }
///
/// let alarm = SinkOutput::new("alarm", Alarm).level(log::LevelFilter::Error);
/// let builder = Builder::new().output(alarm);
/// ```
#[must_use = "give it to `Builder::output`"]
pub struct SinkOutput {
    pub(crate) name: String,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) wanted: Wanted,
    pub(crate) format: Option<Format>,
}

impl SinkOutput {
    /// Makes an output that writes each batch to a [`Write`](std::io::Write), and flushes it for
    /// `Handle::flush` and at the end.
    ///
    /// After an error nobody knows how much of a batch is in: all of it counts as dropped, and a
    /// part of a line may be there. A write that waits makes the other outputs wait; a
    /// [`Sink`] of your own can do better.
    ///
    /// ```
    /// let memory = unfazed::SinkOutput::writer("memory", Vec::new());
    /// let builder = unfazed::Builder::new().output(memory);
    /// ```
    #[doc(alias = "Target::Pipe")]
    #[doc(alias = "WriteLogger")]
    pub fn writer(name: impl Into<String>, writer: impl Write + Send + 'static) -> Self {
        Self::new(name, WriterSink(writer))
    }

    /// Makes an output with the defaults. Events and [`Stats`](crate::Stats) call it `name`, which
    /// no other output of the builder may have.
    pub fn new(name: impl Into<String>, sink: impl Sink + 'static) -> Self {
        Self { name: name.into(), sink: Box::new(sink), wanted: Wanted::EVERYTHING, format: None }
    }

    wanted_options!(r#"unfazed::SinkOutput::writer("memory", Vec::new())"#);

    format_option!(r#"unfazed::SinkOutput::writer("memory", Vec::new())"#);
}

struct WriterSink<W>(W);

impl<W: Write + Send> Sink for WriterSink<W> {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        Ok(self.0.write_all(batch.bytes())?)
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        Ok(self.0.flush()?)
    }
}

/// A sink of the program's own that stands in for another output: the first builder takes it.
#[derive(Debug)]
pub(crate) struct SinkOnce(pub(crate) Mutex<Option<SinkOutput>>);

impl From<SinkOutput> for Otherwise {
    fn from(output: SinkOutput) -> Self {
        Self::new(SinkOnce(Mutex::new(Some(output))))
    }
}

impl fmt::Debug for SinkOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, wanted, format, .. } = self;
        let mut shown = f.debug_struct("SinkOutput");
        shown.field("name", name).field("wanted", wanted).field("format", format).finish_non_exhaustive()
    }
}
