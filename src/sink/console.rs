//! The options of an output to the terminal. Runs on the builder's thread; the writing itself is
//! `file.rs`'s.

use std::io::{self, IsTerminal as _};

use log::LevelFilter;

use crate::disk::Stream;
use crate::format::Format;

/// Writes to standard error or standard output.
///
/// The background thread writes it, never a log call. A reader that stops reading (a full pipe, a
/// paused terminal) suspends this output quietly: its newest lines wait in memory, up to
/// [`backlog`](Self::backlog), and are written when the reader goes on. A reader that goes away
/// suspends it, too. The other outputs and the program go on.
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
    pub(crate) level: LevelFilter,
    pub(crate) format: Option<Format>,
    pub(crate) color: Color,
    /// The most bytes of lines that wait in memory for a slow reader.
    pub(crate) backlog: u64,
    /// Printed by the calling thread, for a test harness to capture.
    pub(crate) captured: bool,
}

/// The default of [`Console::backlog`].
const DEFAULT_BACKLOG: u64 = 1 << 20;
/// More is taken as this.
const MOST_BACKLOG: u64 = 1 << 30;

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
            level: LevelFilter::Trace,
            format: None,
            color: Color::Auto,
            backlog: DEFAULT_BACKLOG,
            captured: false,
        }
    }

    /// Sets the most verbose level that this output takes. Default: `Trace`, everything that passes
    /// the filter. `Off` takes nothing.
    ///
    /// ```
    /// let console = unfazed::Console::stderr().level(log::LevelFilter::Error);
    /// ```
    pub fn level(mut self, max: LevelFilter) -> Self {
        self.level = max;
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

    /// Sets how many bytes of lines wait in memory while the reader of the stream is slow. Default:
    /// 1 MiB.
    ///
    /// A stream that has been full for 100 ms is suspended. The newest lines of all levels then
    /// wait; older ones that do not fit are dropped and counted. Each line takes 32 bytes more than
    /// its length. Lines that wait are written as soon as the reader reads again, also at the end
    /// of the program, for at most `Builder::shutdown_timeout`. 32 and less let no line wait; more
    /// than 1 GiB counts as 1 GiB. The memory is taken with the first line that waits.
    ///
    /// ```
    /// let console = unfazed::Console::stdout().backlog(64 * unfazed::KIB);
    /// ```
    pub fn backlog(mut self, bytes: u64) -> Self {
        self.backlog = bytes.min(MOST_BACKLOG);
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
