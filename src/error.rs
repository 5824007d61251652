//! The errors of the public calls. Plain data, any thread.

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
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InitError {
    /// No file, console or sink was given.
    #[error("no output: give the builder a file, a console or a sink")]
    NoOutput,
    /// An option is out of its range.
    #[error("option `{option}` is {value}: it must be {range}")]
    #[non_exhaustive]
    Option {
        /// The option's name.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be set to.
        range: &'static str,
    },
    /// The directives of `Builder::filter` cannot be parsed.
    #[error("option `filter` cannot be parsed")]
    Filter(#[source] FilterError),
    /// The path of a `LogFile` can never be a log file.
    #[error("option `file`: `{}` cannot be a log file: it is {what}", path.display())]
    #[non_exhaustive]
    Path {
        /// The path.
        path: PathBuf,
        /// What stands there.
        what: &'static str,
    },
    /// Two outputs write to one path.
    #[error("option `file`: `{}` is the path of two outputs", path.display())]
    #[non_exhaustive]
    SamePath {
        /// The path, as it was given the second time.
        path: PathBuf,
    },
    /// An output could not be opened, and `Builder::require_outputs` asks for all of them.
    #[error("failed to open output `{output}`: {cause}")]
    #[non_exhaustive]
    Output {
        /// The output's name: the path of a file, `stderr`, `stdout`, or the name of a sink.
        output: String,
        /// Why.
        cause: Cause,
        /// What the operating system answered, if it was asked; `TimedOut` if it did not answer in time.
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

/// A filter whose directives cannot be parsed.
///
/// ```
/// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// let error = handle.set_filter("hyper=loud").unwrap_err();
/// assert_eq!(error.directives, "hyper=loud");
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("bad filter `{directives}`: {why}")]
#[non_exhaustive]
pub struct FilterError {
    /// The directives, as they were given.
    pub directives: String,
    /// What is wrong with them.
    pub why: String,
}

/// A text that is no value of an option: `"wait".parse::<Overflow>()`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("failed to parse `{text}`: expected {expected}")]
#[non_exhaustive]
pub struct ParseOptionError {
    /// The text, as it was given.
    pub text: String,
    /// What it may be.
    pub expected: &'static str,
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
    /// The deadline passed first. The records are still on their way, or counted as dropped if this was a shutdown.
    #[error("the deadline passed before everything was written")]
    Timeout,
    /// An output is suspended: what it should have written is dropped and counted.
    #[error("an output is suspended: {0}")]
    Suspended(Cause),
    /// The logger was shut down before.
    #[error("the logger is shut down")]
    Closed,
    /// Called from an event callback, a format or a sink: the writer cannot wait for itself.
    #[error("called on the writer's own thread")]
    OnWriter,
}
