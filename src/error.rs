//! The errors of the public calls. Plain data, any thread.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::event::Cause;

/// Says why `Builder::init` or `Builder::build` did not make a logger. Nothing is left behind: no
/// thread, no file, no hook.
///
/// ```
/// use unfazed::{Builder, InitError};
///
/// assert!(matches!(Builder::new().build(), Err(InitError::NoOutput)));
/// ```
#[derive(Error)]
#[non_exhaustive]
pub enum InitError {
    /// No output was given.
    #[error("no output: give the builder a file, a console or another output")]
    NoOutput,
    /// An option is out of its range.
    #[error("option `{option}` is {value}: it must be {range}")]
    #[non_exhaustive]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value, and the name of the output if the option is that of one.
        value: String,
        /// What it may be set to.
        range: &'static str,
    },
    /// The directives of `Builder::filter` cannot be parsed.
    #[error("option `filter`: {0}")]
    Filter(FilterError),
    /// The directives of an output cannot be parsed.
    #[error("option `filter` of output `{output}`: {error}")]
    #[non_exhaustive]
    OutputFilter {
        /// The output's name: the path of a file, `stderr`, `stdout`, or the name of a sink.
        output: String,
        /// What is wrong with them.
        error: FilterError,
    },
    /// The path of a `LogFile`, or of its symbolic link, can never be one.
    #[error("option `{option}`: `{}` cannot be a {}: it is {what}", path.display(), kind(option))]
    #[non_exhaustive]
    Path {
        /// The path.
        path: PathBuf,
        /// The kind of thing that the path leads to.
        what: &'static str,
        /// The option that has this path: `file`, or `symlink`.
        option: &'static str,
    },
    /// The name of a `LogFile` is too long for an option: its archives get longer names than its
    /// own.
    #[error(
        "option `{option}`: the name of `{}` has {length} bytes, and here it may have at most {at_most}",
        path.display()
    )]
    #[non_exhaustive]
    NameTooLong {
        /// The path.
        path: PathBuf,
        /// The option that asks for the longest name: `compress`, `rotation`, or `file`.
        option: &'static str,
        /// How long the file's own name is, in bytes.
        length: usize,
        /// How long it may be, in bytes.
        at_most: usize,
    },
    /// Two outputs write to one path, or a symbolic link has the path of a log file or of another
    /// link.
    #[error("option `{option}`: `{}` is the path of {}", path.display(), both(option))]
    #[non_exhaustive]
    SamePath {
        /// The path of the second one.
        path: PathBuf,
        /// The option that has this path: `file`, or `symlink`.
        option: &'static str,
    },
    /// An output could not be opened, and `Builder::require_outputs` asks for all of them.
    #[error("failed to open output `{output}`: {cause}")]
    #[non_exhaustive]
    Output {
        /// The output's name: the path of a file, `stderr`, `stdout`, or the name of a sink.
        output: String,
        /// Why.
        cause: Cause,
        /// What the operating system answered, if it was asked; `TimedOut` if it did not answer in
        /// time.
        #[source]
        error: Option<io::Error>,
    },
    /// Another logger is already set in this process.
    #[error("a logger is already set for the `log` facade")]
    LoggerSet(#[source] log::SetLoggerError),
    /// There is no memory for the queue of `Builder::capacity`.
    #[error("option `capacity`: there is no memory for {records} records")]
    #[non_exhaustive]
    Memory {
        /// How many records it was to hold.
        records: usize,
    },
    /// The writer's thread could not be started.
    #[error("failed to start the writer's thread")]
    Thread(#[source] io::Error),
}

/// Returns the word for the file that has the path of this option.
fn kind(option: &str) -> &'static str {
    if option == "symlink" { "symbolic link" } else { "log file" }
}

/// Returns the words for the two that have the path of this option.
fn both(option: &str) -> &'static str {
    if option == "symlink" { "a link, and of a log file or another link" } else { "two outputs" }
}

/// Writes the text of `Display`, and after it that of each source: a `main` that returns a `Result`
/// prints an error in this form.
impl fmt::Debug for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_sources(f, self)
    }
}

/// Writes the text of an error, and after it that of each source.
pub(crate) fn write_with_sources(f: &mut impl fmt::Write, error: &dyn std::error::Error) -> fmt::Result {
    write!(f, "{error}")?;
    let mut source = error.source();
    while let Some(error) = source {
        write!(f, ": {error}")?;
        source = error.source();
    }
    Ok(())
}

/// An option that cannot be used, wherever it was set.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadOption {
    option: &'static str,
    value: String,
    range: &'static str,
}

impl BadOption {
    /// Makes the error of an option that was set to `value`, where it must be in `range`.
    pub(crate) fn new(option: &'static str, value: impl Into<String>, range: &'static str) -> Self {
        Self { option, value: value.into(), range }
    }

    /// Says which output has the option.
    pub(crate) fn of_output(self, output: &str) -> Self {
        Self { value: format!("{} for output `{output}`", self.value), ..self }
    }
}

impl From<BadOption> for InitError {
    fn from(BadOption { option, value, range }: BadOption) -> Self {
        Self::Option { option, value, range }
    }
}

/// Says why directives cannot be parsed.
///
/// ```
/// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// let error = handle.set_filter("hyper=loud").unwrap_err();
/// assert_eq!(error.directives, "hyper=loud");
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[error("failed to parse the directives `{directives}`: {why}")]
#[non_exhaustive]
pub struct FilterError {
    /// The directives, as they were given.
    pub directives: String,
    /// What is wrong with them.
    pub why: String,
}

/// Writes the text of `Display`, which a `main` that returns a `Result` prints in this form.
impl fmt::Debug for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Says which values an option has, where a text is none of them.
///
/// ```
/// use unfazed::Overflow;
///
/// let error = "wait".parse::<Overflow>().unwrap_err();
/// assert_eq!(error.text, "wait");
/// assert!(error.to_string().starts_with("failed to parse `wait`: expected `drop_newest`, "));
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[error("failed to parse `{text}`: expected {expected}")]
#[non_exhaustive]
pub struct ParseOptionError {
    /// The text, as it was given.
    pub text: String,
    /// What it may be.
    pub expected: &'static str,
}

/// Writes the text of `Display`, which a `main` that returns a `Result` prints in this form.
impl fmt::Debug for ParseOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Says why `Handle::flush` or `Handle::shutdown` cannot promise that every record is written.
///
/// ```
/// use std::time::Duration;
/// use unfazed::FlushError;
///
/// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// match handle.flush(Duration::from_secs(2)) {
///     Ok(()) => { /* the operating system has it */ }
///     Err(FlushError::Suspended(cause)) => { /* an output does not write */ }
///     Err(_) => {}
/// }
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The deadline passed first. The records are still on their way, or counted as dropped if this
    /// was a shutdown.
    #[error("the deadline passed before everything was written")]
    Timeout,
    /// An output is suspended: what it should have written is dropped and counted. Or an output
    /// that is not suspended dropped a record that was pending at the call, for this cause, as
    /// [`Cause::Io`] if there was no memory to format it.
    #[error("an output is suspended, or dropped a record that was pending: {0}")]
    Suspended(Cause),
    /// A record that was pending at the call was dropped, and is counted: for a newer one
    /// (`Overflow::DropOldest`), or because a slow reader had left no room in its backlog.
    #[error("a pending record was dropped")]
    Dropped,
    /// The logger was shut down before.
    #[error("the logger is shut down")]
    Closed,
    /// Called from an event callback, a format or a sink: the writer cannot wait for itself.
    #[error("called on the writer's own thread")]
    OnWriter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_main_returns_is_printed_as_text() {
        let filter = FilterError { directives: "app=loud".into(), why: "`loud` is not a level".into() };
        let output = "app.log".to_owned();
        let error = Some(io::Error::other("why"));
        let cases = [
            (
                InitError::Filter(filter),
                "option `filter`: failed to parse the directives `app=loud`: `loud` is not a level",
            ),
            (
                InitError::Output { output, cause: Cause::Missing, error },
                "failed to open output `app.log`: the file or its directory does not exist: why",
            ),
            (
                InitError::Option { option: "max_files", value: "0".into(), range: "at least 1" },
                "option `max_files` is 0: it must be at least 1",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(format!("{error:?}"), text);
        }
        let directives = FilterError { directives: "app=loud".into(), why: "`loud` is not a level".into() };
        assert_eq!(format!("{directives:?}"), directives.to_string());
        let option = ParseOptionError { text: "wait".into(), expected: "`block`" };
        assert_eq!(format!("{option:?}"), "failed to parse `wait`: expected `block`");
    }
}
