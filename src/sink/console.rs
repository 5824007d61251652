//! The options of an output to the terminal. Runs on the builder's thread; the writing itself is
//! `stream.rs`'s.

use std::ffi::OsString;

use crate::disk::Stream;
use crate::format::Format;
use crate::wanted::Wanted;

use super::backlog::Backlog;
use super::otherwise::Otherwise;
use super::shared_options::{backlog_options, format_option, otherwise_option, wanted_options};

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
    /// Returns the choice that the environment makes of it. `Auto` then only depends on the
    /// terminal.
    pub(crate) fn by_environment(self) -> Self {
        match self {
            Color::Always | Color::Never => self,
            Color::Auto => Self::by_variables(|name| std::env::var_os(name)),
        }
    }

    /// Returns what the variables ask for, by <https://no-color.org> and
    /// <https://bixense.com/clicolors>: an empty one is not set. `TERM` is another matter: Unix
    /// always sets it, Windows hardly ever.
    fn by_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let (clicolor, term) = (set("CLICOLOR"), variable("TERM"));
        let shows_colors = || clicolor.is_some() || term.map_or(cfg!(windows), |term| term != "dumb");
        if set("NO_COLOR").is_some() {
            Color::Never
        } else if set("CLICOLOR_FORCE").is_some() {
            Color::Always
        } else if clicolor.as_ref().is_none_or(|value| value != "0") && shows_colors() {
            Color::Auto
        } else {
            Color::Never
        }
    }

    /// Returns whether the stream, as it is now, gets colours.
    pub(crate) fn suits(self, stream: Stream) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => stream.shows_colors(),
        }
    }
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
    /// `test`, and what is printed counts as written. The crate's own lines, which the writer
    /// makes, are not printed. Not for a running program.
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

    wanted_options!("unfazed::Console::stderr()");

    otherwise_option!("unfazed::Console::stderr()", "LogFile::new(\"app.log\")");

    format_option!("unfazed::Console::stderr()");

    backlog_options!("unfazed::Console::stderr()", backlog);

    /// Sets whether [`Format::text`], a pattern or a custom format has colours here. Default:
    /// [`Color::Auto`]. The environment is read when the logger is made. Other formats, files and
    /// sinks never have colours.
    ///
    /// ```
    /// let console = unfazed::Console::stderr().color(unfazed::Color::Never);
    /// ```
    pub fn color(mut self, color: Color) -> Self {
        self.color = color;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value that matters of every variable, with each of the others.
    #[test]
    fn every_environment_has_its_colours() {
        let values = [None, Some(""), Some("0"), Some("1")];
        let terminals = [None, Some("dumb"), Some("xterm")];
        for (no_color, force) in values.into_iter().flat_map(|no| values.map(|force| (no, force))) {
            for (clicolor, term) in values.into_iter().flat_map(|value| terminals.map(|term| (value, term))) {
                let environment =
                    [("NO_COLOR", no_color), ("CLICOLOR_FORCE", force), ("CLICOLOR", clicolor), ("TERM", term)];
                let variable = |name: &str| environment.iter().find(|(known, _)| *known == name)?.1.map(OsString::from);
                let expected = match (no_color, force, clicolor, term) {
                    (Some("0" | "1"), ..) => Color::Never,
                    (_, Some("0" | "1"), ..) => Color::Always,
                    (_, _, Some("0"), _) => Color::Never,
                    (_, _, Some("1"), _) | (.., Some("xterm")) => Color::Auto,
                    (.., None) if cfg!(windows) => Color::Auto,
                    _ => Color::Never,
                };
                assert_eq!(Color::by_variables(variable), expected, "{environment:?}");
            }
        }
    }
}
