//! `SinkOutput`: an output of the program's own, with its options. A plain value, made on the
//! thread that sets the logger up.

use std::fmt;

use log::LevelFilter;

use crate::format::Format;
use crate::sink::Sink;

/// Holds an output of the program's own and its options. Given to
/// [`Builder::output`](crate::Builder::output).
///
/// | option | default |
/// |---|---|
/// | [`level`](Self::level) | `Trace`: all that passes the filter |
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
    pub(crate) level: LevelFilter,
    pub(crate) format: Option<Format>,
}

impl SinkOutput {
    /// Makes an output with the defaults. Events and [`Stats`](crate::Stats) call it `name`.
    pub fn new(name: impl Into<String>, sink: impl Sink + 'static) -> Self {
        Self { name: name.into(), sink: Box::new(sink), level: LevelFilter::Trace, format: None }
    }

    /// Sets the most verbose level that this output takes. Default: `Trace`; `Off` takes nothing.
    pub fn level(mut self, max: LevelFilter) -> Self {
        self.level = max;
        self
    }

    /// Sets the format of this output. Default: the builder's.
    pub fn format(mut self, format: impl Into<Format>) -> Self {
        self.format = Some(format.into());
        self
    }
}

impl fmt::Debug for SinkOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, level, format, .. } = self;
        let mut shown = f.debug_struct("SinkOutput");
        shown.field("name", name).field("level", level).field("format", format).finish_non_exhaustive()
    }
}
