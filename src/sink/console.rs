//! The options of an output to the terminal. Runs on the builder's thread; the writing itself is `file.rs`'s.

use log::LevelFilter;

use crate::disk::Stream;
use crate::format::Format;

/// An output to standard error or standard output.
///
/// It is written by the background thread as well, never by a log call. A reader that stops reading (a full pipe, a paused
/// terminal) or goes away suspends this output quietly; the others and the program go on.
#[derive(Clone, Debug)]
#[must_use = "give it to `Builder::console`"]
pub struct Console {
    pub(crate) stream: Stream,
    pub(crate) level: LevelFilter,
    pub(crate) format: Option<Format>,
}

impl Console {
    /// Standard error.
    pub fn stderr() -> Self {
        Self::of(Stream::Stderr)
    }

    /// Standard output.
    pub fn stdout() -> Self {
        Self::of(Stream::Stdout)
    }

    fn of(stream: Stream) -> Self {
        Self { stream, level: LevelFilter::Trace, format: None }
    }

    /// The most verbose level this output takes. Default: `Trace`, that is all that passes the filter; `Off` takes nothing.
    pub fn level(mut self, max: LevelFilter) -> Self {
        self.level = max;
        self
    }

    /// The format of this output. Default: the builder's.
    pub fn format(mut self, format: impl Into<Format>) -> Self {
        self.format = Some(format.into());
        self
    }
}
