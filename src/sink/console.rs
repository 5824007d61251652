//! The options of an output to the terminal. Runs on the builder's thread; the writing itself is
//! `stream.rs`'s.

use std::io::{self, IsTerminal as _};
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;

use crate::disk::Stream;
use crate::format::Format;
use crate::wanted::{Levels, Wanted};

use super::backlog::Backlog;
use super::otherwise::Otherwise;

/// Writes to standard error or standard output.
///
/// The background thread writes it, never a log call. While its reader is slow (a full pipe, a
/// paused terminal), lines wait in memory, up to [`backlog`](Self::backlog), and are written when
/// the reader goes on. A reader that has taken nothing for as long as
/// [`patience`](Self::patience), or that goes away, suspends the output quietly. The other outputs
/// and the program go on.
///
/// ```
/// use unfazed::{Color, Console, Format};
///
/// let console = Console::stderr()
///     .level(log::LevelFilter::Warn)
///     .format(Format::text().local_time())
///     .color(Color::Never);
/// ```
#[derive(Clone, Debug)]
#[must_use = "give it to `Builder::console`"]
pub struct Console {
    pub(crate) stream: Stream,
    pub(crate) wanted: Wanted,
    pub(crate) format: Option<Format>,
    pub(crate) color: Color,
    /// What waits for a slow reader, and how long.
    pub(crate) backlog: Backlog,
    /// Printed by the calling thread, for a test harness to capture.
    pub(crate) captured: bool,
    pub(crate) otherwise: Option<Otherwise>,
}

impl From<Console> for Otherwise {
    fn from(console: Console) -> Self {
        Self::new(console)
    }
}

/// Decides whether a console's text has colours.
///
/// ```
/// let console = unfazed::Console::stderr().color(unfazed::Color::Always);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Color {
    /// On a terminal, unless the environment says otherwise: `NO_COLOR` (not empty) or `CLICOLOR=0`
    /// means never, `CLICOLOR_FORCE` (not empty) means always; a terminal that knows none (`TERM`
    /// is `dumb` or not set) gets none. The default.
    #[default]
    Auto,
    /// Always, whatever the stream leads to.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// What the environment makes of it. `Auto` then only depends on the terminal.
    pub(crate) fn by_environment(self) -> Self {
        let clicolor = anstyle_query::clicolor();
        match self {
            Color::Always | Color::Never => self,
            Color::Auto if anstyle_query::no_color() => Color::Never,
            Color::Auto if anstyle_query::clicolor_force() => Color::Always,
            Color::Auto if clicolor == Some(false) => Color::Never,
            Color::Auto if clicolor == Some(true) || anstyle_query::term_supports_color() => Color::Auto,
            Color::Auto => Color::Never,
        }
    }

    /// Whether the stream, as it is now, gets colours.
    pub(crate) fn suits(self, stream: Stream) -> bool {
        match (self, stream) {
            (Color::Always, _) => true,
            (Color::Never, _) => false,
            (Color::Auto, Stream::Stderr) => io::stderr().is_terminal() && understands(),
            (Color::Auto, Stream::Stdout) => io::stdout().is_terminal() && understands(),
        }
    }
}

/// The console of Windows has to be asked first.
fn understands() -> bool {
    anstyle_query::windows::enable_ansi_colors().unwrap_or(true)
}

impl Console {
    /// Returns the output to standard error.
    ///
    /// ```no_run
    /// use unfazed::{Builder, Console};
    ///
    /// Builder::new().console(Console::stderr()).init()?;
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn stderr() -> Self {
        Self::of(Stream::Stderr)
    }

    /// Returns the output to standard output.
    ///
    /// ```no_run
    /// use unfazed::{Builder, Console};
    ///
    /// Builder::new().console(Console::stdout()).init()?;
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn stdout() -> Self {
        Self::of(Stream::Stdout)
    }

    /// Makes an output for the tests of a program: `cargo test` captures it, shows the lines of
    /// failing tests, and no others.
    ///
    /// The harness captures by thread, so that the calling thread itself prints each record to
    /// standard error, at once and without colours; a log call waits for that. The output's name is
    /// `test`, and what is printed counts as written. Not for a running program.
    ///
    /// ```no_run
    /// use unfazed::{Builder, Console};
    ///
    /// # fn main() {}
    /// #[test]
    /// fn it_works() -> Result<(), unfazed::InitError> {
    ///     let _ = Builder::new().console(Console::test()).try_init()?;
    ///     log::info!("shown if this test fails");
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "is_test")]
    #[doc(alias = "with_test_writer")]
    pub fn test() -> Self {
        Self { captured: true, ..Self::of(Stream::Stderr) }
    }

    fn of(stream: Stream) -> Self {
        Self {
            stream,
            wanted: Wanted::EVERYTHING,
            format: None,
            color: Color::Auto,
            backlog: Backlog::default(),
            captured: false,
            otherwise: None,
        }
    }

    /// Sets the most verbose level that this output takes. Default: `Trace`, everything that passes
    /// the builder's filter. `Off` takes nothing. The same as `levels(..=max)`.
    ///
    /// ```
    /// let output = unfazed::Console::stderr().level(log::LevelFilter::Warn);
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
    /// let output = unfazed::Console::stderr().levels(Warn..=Info);
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
    /// let output = unfazed::Console::stderr().filter("access=info,sqlx=warn");
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
    /// let output = unfazed::Console::stderr()
    ///     .filter_with(|metadata| metadata.target().ends_with("::audit"));
    /// ```
    pub fn filter_with(mut self, wants: impl Fn(&log::Metadata<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.wanted.judge = Some(Arc::new(wants));
        self
    }

    /// Sets the output that takes WARN and ERROR while this output is suspended. Default: none; the
    /// newest of them wait in memory.
    ///
    /// They go to the other output at once, and in memory as well: this output writes them when it
    /// resumes, so that a record may stand in both, but never twice in one. The records of the
    /// batch in which the failure shows wait in memory only. The other output has its own account
    /// in [`Stats`](crate::Stats), in which `offered` counts what was handed to it; its levels
    /// narrow what it takes. It may have no filter and no further output: both are an
    /// [`InitError`](crate::InitError).
    ///
    /// ```
    /// use unfazed::{Console, LogFile};
    ///
    /// let output = Console::stderr().otherwise(LogFile::new("app.log"));
    /// ```
    #[doc(alias = "fallback")]
    #[doc(alias = "failover")]
    pub fn otherwise(mut self, output: impl Into<Otherwise>) -> Self {
        self.otherwise = Some(output.into());
        self
    }

    /// Sets the format of this output. Default: the builder's.
    ///
    /// ```
    /// let console = unfazed::Console::stdout().format(unfazed::Format::logfmt());
    /// ```
    pub fn format(mut self, format: impl Into<Format>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// Sets how many bytes of lines wait in memory while the reader of the stream is slow, at most
    /// 1 GiB. Default: 1 MiB.
    ///
    /// A stream that takes no more is tried again at least every 10 ms, and the other outputs go on
    /// meanwhile. Lines of all levels wait, in their order. The last eighth is for WARN and ERROR.
    /// What does not fit is dropped, counted as `queue_full`, and reported in the output when its
    /// reader goes on. Under [`Overflow::Block`](crate::Overflow::Block) and `BlockAtMost` nothing
    /// is dropped for lack of room here: the callers wait for the slowest reader, until its
    /// [`patience`](Self::patience) ends.
    ///
    /// A flush waits for the lines that wait at the call. At the end of the program the lines get
    /// the rest of [`shutdown_timeout`](crate::Builder::shutdown_timeout). Each line takes 32 bytes
    /// more than its length. The memory is taken with the first line that waits, and given back
    /// with the last. 0: none waits, except a line of which a part is in the stream.
    ///
    /// More than 1 GiB is an [`InitError`](crate::InitError).
    ///
    /// ```
    /// let console = unfazed::Console::stdout().backlog(64 * unfazed::KIB);
    /// ```
    pub fn backlog(mut self, bytes: u64) -> Self {
        self.backlog.bytes = bytes;
        self
    }

    /// Sets how long the reader of the stream may take nothing before the output is suspended, at
    /// most one hour. Default: 5 s. Zero: the output is suspended as soon as the stream takes no
    /// more.
    ///
    /// A suspended stream keeps what waits, and more while there is room. The output resumes when
    /// its reader goes on, with a gap line before the lines that have waited.
    ///
    /// More than one hour is an [`InitError`](crate::InitError).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let console = unfazed::Console::stdout().patience(Duration::from_secs(30));
    /// ```
    pub fn patience(mut self, at_most: Duration) -> Self {
        self.backlog.patience = at_most;
        self
    }

    /// Sets whether [`Format::text`] has colours here. Default: [`Color::Auto`]. The environment is
    /// read when the logger is made. Other formats, files and sinks never have colours.
    ///
    /// ```
    /// let console = unfazed::Console::stderr().color(unfazed::Color::Never);
    /// ```
    pub fn color(mut self, color: Color) -> Self {
        self.color = color;
        self
    }
}
