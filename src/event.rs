//! What the program can learn about its log: states, causes, events. Plain data, any thread.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Says how an output, or the logger as a whole, is doing.
///
/// ```
/// use unfazed::{Cause, State};
///
/// assert_eq!(State::Healthy.to_string(), "healthy");
/// let is_bad = |state: State| matches!(state, State::Suspended(_) | State::Closed);
/// assert!(is_bad(State::Suspended(Cause::DiskFull)));
/// ```
///
/// With the feature `serde` it can be serialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum State {
    /// Records are written.
    Healthy,
    /// Records are written, but the free space is close to `LogFile::min_free_space`.
    Low,
    /// Records are dropped and counted until the cause goes away, except those that are retained.
    Suspended(Cause),
    /// The logger was shut down; nothing is written any more.
    Closed,
}

/// Says why an output is suspended.
///
/// ```
/// use unfazed::Cause;
///
/// let is_about_space = |cause| {
///     matches!(cause, Cause::LowSpace | Cause::DiskFull | Cause::Quota)
/// };
/// assert!(is_about_space(Cause::DiskFull));
/// ```
///
/// With the feature `serde` it can be serialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Cause {
    /// Less space is free than `LogFile::min_free_space`.
    LowSpace,
    /// The file system has no room (ENOSPC).
    DiskFull,
    /// The user's quota is used up (EDQUOT).
    Quota,
    /// The file may not grow further (EFBIG: RLIMIT_FSIZE, or the file system's own limit).
    FileTooLarge,
    /// The file may not be written: a read-only file system or missing permission (EROFS, EACCES,
    /// EPERM).
    ReadOnly,
    /// The file or its directory is not there and cannot be made (ENOENT, ENOTDIR, ESTALE).
    Missing,
    /// Every other error (EIO, EPIPE, EMFILE, a reader that does not read ...).
    Io,
}

impl Cause {
    /// Returns the cause that an I/O error stands for.
    ///
    /// ```
    /// use std::io;
    /// use unfazed::Cause;
    ///
    /// assert_eq!(Cause::of(&io::ErrorKind::StorageFull.into()), Cause::DiskFull);
    /// assert_eq!(Cause::of(&io::ErrorKind::BrokenPipe.into()), Cause::Io);
    /// ```
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Cause::DiskFull,
            io::ErrorKind::QuotaExceeded => Cause::Quota,
            io::ErrorKind::FileTooLarge => Cause::FileTooLarge,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Cause::ReadOnly,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::StaleNetworkFileHandle => {
                Cause::Missing
            }
            _ => Cause::Io,
        }
    }

    /// Returns one word for the log: `disk_full`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Cause::LowSpace => "low_space",
            Cause::DiskFull => "disk_full",
            Cause::Quota => "quota",
            Cause::FileTooLarge => "file_too_large",
            Cause::ReadOnly => "read_only",
            Cause::Missing => "missing",
            Cause::Io => "io",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::LowSpace => "free space is below `min_free_space`",
            Cause::DiskFull => "the disk is full",
            Cause::Quota => "the quota is used up",
            Cause::FileTooLarge => "the file has reached its size limit",
            Cause::ReadOnly => "the file cannot be written: permission denied, or a read-only file system",
            Cause::Missing => "the file or its directory does not exist",
            Cause::Io => "an I/O error",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Healthy => f.write_str("healthy"),
            State::Low => f.write_str("low on space"),
            State::Suspended(cause) => write!(f, "suspended: {cause}"),
            State::Closed => f.write_str("closed"),
        }
    }
}

const CAUSES: [Cause; 7] =
    [Cause::LowSpace, Cause::DiskFull, Cause::Quota, Cause::FileTooLarge, Cause::ReadOnly, Cause::Missing, Cause::Io];
const SUSPENDED: u8 = 2;
const CLOSED: u8 = SUSPENDED + CAUSES.len() as u8;

impl State {
    /// Returns the state as one byte, the worse the larger (of two suspensions, neither is worse),
    /// for an atomic.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            State::Healthy => 0,
            State::Low => 1,
            State::Suspended(cause) => SUSPENDED + CAUSES.iter().position(|other| *other == cause).unwrap_or(0) as u8,
            State::Closed => CLOSED,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte {
            0 => State::Healthy,
            1 => State::Low,
            CLOSED.. => State::Closed,
            _ => State::Suspended(CAUSES[usize::from(byte - SUSPENDED)]),
        }
    }
}

/// Says what happened to an output. Given to the callback of `Builder::on_event`, on the writer's
/// thread.
///
/// ```
/// use unfazed::{Builder, Event};
///
/// let builder = Builder::new().on_event(|event| match event {
///     Event::Suspended { output, cause, .. } => { /* raise an alarm */ }
///     Event::Resumed { output, dropped, .. } => { /* end it */ }
///     Event::Rotated { archive, .. } => { /* ship `archive` */ }
///     Event::Deleted { path, bytes, .. } => {}
///     Event::Failed { doing, error, .. } => {}
///     _ => {}
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The output is not written to from here on. Where a later attempt fails for another cause,
    /// `Failed` follows, at most once a second. `Handle::state` and `Resumed` name the latest
    /// cause.
    #[non_exhaustive]
    Suspended {
        /// The output's name: the path of a file, `stderr`, `stdout`, or the name a sink was given.
        output: String,
        /// Why.
        cause: Cause,
        /// When.
        at: SystemTime,
    },
    /// The output takes records again; the line that reports the gap is already written.
    #[non_exhaustive]
    Resumed {
        /// The output's name.
        output: String,
        /// Why it had been suspended.
        cause: Cause,
        /// Since when.
        since: SystemTime,
        /// When it came back.
        at: SystemTime,
        /// How many records the gap line says were dropped.
        dropped: u64,
    },
    /// The file was rotated: it is an archive, and a new one is the active file.
    #[non_exhaustive]
    Rotated {
        /// The output's name.
        output: String,
        /// Where the old file is now.
        archive: PathBuf,
    },
    /// An archive was deleted: because of `LogFile::max_files`, `max_total_size` or `max_age`, or
    /// with `WhenLow::DeleteOldest`.
    #[non_exhaustive]
    Deleted {
        /// The output's name.
        output: String,
        /// What was deleted.
        path: PathBuf,
        /// How many bytes it had.
        bytes: u64,
    },
    /// Something did not work, and the logger went on without it.
    #[non_exhaustive]
    Failed {
        /// The output's name.
        output: String,
        /// What was being done: `open`, `write`, `fsync`, `rotate` ...
        doing: &'static str,
        /// What the system answered.
        error: Arc<io::Error>,
    },
}

impl Event {
    /// Returns the name of the output that the event is about.
    ///
    /// ```
    /// let builder = unfazed::Builder::new().on_event(|event| {
    ///     if event.output() == "app.log" {
    ///         // ...
    ///     }
    /// });
    /// ```
    pub fn output(&self) -> &str {
        match self {
            Event::Suspended { output, .. }
            | Event::Resumed { output, .. }
            | Event::Rotated { output, .. }
            | Event::Deleted { output, .. }
            | Event::Failed { output, .. } => output,
        }
    }
}

/// Writes one line of text, without the time: `output `app.log` is suspended: the disk is full`.
///
/// ```no_run
/// let print = |event: &unfazed::Event| eprintln!("log: {event}");
/// unfazed::Builder::new().file("app.log").on_event(print).init()?;
/// # Ok::<(), unfazed::InitError>(())
/// ```
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Suspended { output, cause, .. } => write!(f, "output `{output}` is suspended: {cause}"),
            Event::Resumed { output, dropped: 1, .. } => write!(f, "output `{output}` resumed, 1 record was dropped"),
            Event::Resumed { output, dropped, .. } => {
                write!(f, "output `{output}` resumed, {dropped} records were dropped")
            }
            Event::Rotated { output, archive } => write!(f, "output `{output}` was rotated to `{}`", archive.display()),
            Event::Deleted { output, path, bytes } => {
                let unit = if *bytes == 1 { "byte" } else { "bytes" };
                write!(f, "output `{output}` deleted `{}` ({bytes} {unit})", path.display())
            }
            Event::Failed { output, doing, error } => write!(f, "output `{output}` failed to {doing}: {error}"),
        }
    }
}

/// The program's callback.
pub(crate) type EventHook = Box<dyn FnMut(&Event) + Send>;

/// Returns the name of an output that is a file.
pub(crate) fn output_name(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_its_byte_and_a_worse_one_is_larger() {
        let mut states = vec![State::Healthy, State::Low];
        states.extend(CAUSES.map(State::Suspended));
        states.push(State::Closed);
        for state in &states {
            assert_eq!(State::from_byte(state.to_byte()), *state);
        }
        assert!(states.is_sorted_by_key(|state| state.to_byte()));
    }

    #[test]
    fn an_event_is_a_sentence_for_one_and_for_many() {
        let (output, at) = (|| "app.log".to_owned(), SystemTime::UNIX_EPOCH);
        let resumed = |dropped| Event::Resumed { output: output(), cause: Cause::Io, since: at, at, dropped };
        let error = Arc::new(io::Error::other("why"));
        let cases = [
            (
                Event::Suspended { output: output(), cause: Cause::DiskFull, at },
                "output `app.log` is suspended: the disk is full",
            ),
            (resumed(1), "output `app.log` resumed, 1 record was dropped"),
            (resumed(2), "output `app.log` resumed, 2 records were dropped"),
            (
                Event::Rotated { output: output(), archive: "app.0.log".into() },
                "output `app.log` was rotated to `app.0.log`",
            ),
            (
                Event::Deleted { output: output(), path: "app.0.log".into(), bytes: 1 },
                "output `app.log` deleted `app.0.log` (1 byte)",
            ),
            (
                Event::Failed { output: output(), doing: "delete an archive", error },
                "output `app.log` failed to delete an archive: why",
            ),
        ];
        for (event, text) in cases {
            assert_eq!(event.to_string(), text);
        }
    }
}
