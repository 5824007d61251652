//! `SinkOutput`: an output of the program's own, with its options. A plain value, made on the
//! thread that sets the logger up.

use std::fmt;
use std::io::Write;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex};

use log::LevelFilter;

use crate::format::Format;
use crate::sink::otherwise::Otherwise;
use crate::sink::{Batch, Sink, WriteError};
use crate::wanted::{Levels, Wanted};

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
    /// part of a line may stand there. A write that waits makes the other outputs wait; a
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

    /// Makes an output with the defaults. Events and [`Stats`](crate::Stats) call it `name`.
    pub fn new(name: impl Into<String>, sink: impl Sink + 'static) -> Self {
        Self { name: name.into(), sink: Box::new(sink), wanted: Wanted::EVERYTHING, format: None }
    }

    /// Sets the most verbose level that this output takes. Default: `Trace`, everything that passes
    /// the builder's filter. `Off` takes nothing. The same as `levels(..=max)`.
    ///
    /// ```
    /// # use unfazed::{Batch, Sink, SinkOutput, WriteError};
    /// # struct Alarm;
    /// # impl Sink for Alarm {
    /// #     fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let output = SinkOutput::new("alarm", Alarm).level(log::LevelFilter::Warn);
    /// ```
    pub fn level(self, max: LevelFilter) -> Self {
        self.levels(..=max)
    }

    /// Sets the levels that this output takes, from the one that matters most to the most verbose:
    /// `Warn..=Info` are WARN and INFO, without ERROR. Default: all. A later call of this or of
    /// [`level`](Self::level) replaces it.
    ///
    /// ```
    /// use log::LevelFilter::{Info, Warn};
    ///
    /// # use unfazed::{Batch, Sink, SinkOutput, WriteError};
    /// # struct Alarm;
    /// # impl Sink for Alarm {
    /// #     fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let output = SinkOutput::new("alarm", Alarm).levels(Warn..=Info);
    /// ```
    pub fn levels(mut self, levels: impl RangeBounds<LevelFilter>) -> Self {
        self.wanted.levels = Levels::within(&levels);
        self
    }

    /// Sets directives in env_logger's grammar for this output alone: it takes what they and the
    /// levels let through, of what passes [`Builder::filter`](crate::Builder::filter). Default:
    /// none.
    ///
    /// As in env_logger, a target that they do not name is off: `access=info` takes only `access`,
    /// and `info,access=off` everything but `access`. See [outputs](crate::_docs::outputs). A
    /// directive that cannot be parsed is an [`InitError`](crate::InitError), and so are more than
    /// 16 outputs with filters.
    ///
    /// ```
    /// # use unfazed::{Batch, Sink, SinkOutput, WriteError};
    /// # struct Alarm;
    /// # impl Sink for Alarm {
    /// #     fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let output = SinkOutput::new("alarm", Alarm).filter("access=info,sqlx=warn");
    /// ```
    pub fn filter(mut self, directives: &str) -> Self {
        self.wanted.directives = Some(directives.to_owned());
        self
    }

    /// Sets a closure that says which records this output takes, of those that its levels and its
    /// [`filter`](Self::filter) let through. Default: none.
    ///
    /// The closure runs inside of log calls, on their threads. A thread remembers the answer for
    /// each target and level, and asks again when it has forgotten it or when the directives of the
    /// logger have changed: so the closure must give the same answer for the same target and level,
    /// and cannot count on being called for each record. If it panics, the answer is no. What it
    /// logs itself is not offered to outputs with such a closure.
    ///
    /// ```
    /// # use unfazed::{Batch, Sink, SinkOutput, WriteError};
    /// # struct Alarm;
    /// # impl Sink for Alarm {
    /// #     fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let output = SinkOutput::new("alarm", Alarm)
    ///     .filter_with(|metadata| metadata.target().ends_with("::audit"));
    /// ```
    pub fn filter_with(mut self, wants: impl Fn(&log::Metadata<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.wanted.judge = Some(Arc::new(wants));
        self
    }

    /// Sets the format of this output. Default: the builder's.
    pub fn format(mut self, format: impl Into<Format>) -> Self {
        self.format = Some(format.into());
        self
    }
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
