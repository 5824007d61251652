//! `LogFile`: the options of one file. Runs on the builder's thread; `file/` does the writing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::BadOption;
use crate::format::Format;
use crate::wanted::Wanted;
use crate::zone::Zone;

use super::backlog::Backlog;
use super::file::archive_name::Names;
use super::file::retention::Limits;
use super::otherwise::Otherwise;
use super::rotation::Rotation;
use super::shared_options::{backlog_options, format_option, otherwise_option, wanted_options};

const DEFAULT_ERROR_RESERVE: u64 = 64 << 10;
const MOST_ERROR_RESERVE: u64 = 1 << 30;
const DEFAULT_RETAIN: u64 = 64 << 10;
const MOST_RETAIN: u64 = 1 << 30;

/// Writes to a file, with options of its own.
///
/// Anything that can be opened for appending may be one: a regular file, a FIFO, `/dev/null`.
/// Missing directories are made. The file is opened by the writer's thread; if that fails, the
/// output begins suspended and tries again.
///
/// | option | default |
/// |---|---|
/// | [`level`](Self::level), [`levels`](Self::levels) | all |
/// | [`filter`](Self::filter), [`filter_with`](Self::filter_with) | none: all that passes the builder's filter |
/// | [`format`](Self::format) | the builder's |
/// | [`min_free_space`](Self::min_free_space) | 1 % of the file system, 64 KiB to 256 MiB, at most an eighth of it |
/// | [`fsync`](Self::fsync) | `Never` |
/// | [`rotation`](Self::rotation) | [`Rotation::never`] |
/// | [`max_files`](Self::max_files), [`max_total_size`](Self::max_total_size), [`max_age`](Self::max_age) | none: archives stay |
/// | [`when_low`](Self::when_low) | [`WhenLow::Stop`] |
/// | [`error_reserve`](Self::error_reserve) | 64 KiB, where the file system can |
/// | [`retain`](Self::retain) | 64 KiB |
/// | [`backlog`](Self::backlog), [`patience`](Self::patience) | 1 MiB, 5 s: of a FIFO or a device |
/// | [`mode`](Self::mode) | what the umask leaves of 0666 |
/// | [`owner`](Self::owner), [`group`](Self::group) | the process's, or those of the file before |
/// | [`symlink`](Self::symlink) | none |
/// | [`otherwise`](Self::otherwise) | none |
/// | [`compress`](crate::LogFile#method.compress), with the feature `gzip` | `false` |
///
/// ```no_run
/// use unfazed::{Builder, Format, GIB, LogFile, MIB, Rotation};
///
/// let file = LogFile::new("/var/log/app/app.log")
///     .format(Format::logfmt())
///     .rotation(Rotation::daily().or_size(100 * MIB))
///     .max_total_size(GIB);
/// Builder::new().file(file).init()?;
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "give it to `Builder::file`"]
pub struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) wanted: Wanted,
    pub(crate) format: Option<Format>,
    pub(crate) options: FileOptions,
    pub(crate) otherwise: Option<Otherwise>,
}

/// A user or a group: as the program names it, and as it was found.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    Named(String),
    Numbered(u32),
}

/// The options of the file sink.
#[derive(Clone, Debug)]
pub(crate) struct FileOptions {
    pub(crate) min_free_space: Option<u64>,
    pub(crate) fsync: Fsync,
    pub(crate) rotation: Rotation,
    pub(crate) start: Start,
    pub(crate) limits: Limits,
    pub(crate) when_low: WhenLow,
    pub(crate) error_reserve: u64,
    pub(crate) retain: u64,
    /// Where the path leads to a stream.
    pub(crate) backlog: Backlog,
    pub(crate) access: Access,
    pub(crate) symlink: Option<PathBuf>,
    pub(crate) compress: bool,
}

/// The start of the logger, as far as the rotation depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    /// The zone of the rotation; `None`: UTC.
    pub(crate) zone: Option<Zone>,
    /// A record was written since the start, by this process or by the one that has forked it: the
    /// file holds records of this start.
    pub(crate) has_begun: Arc<AtomicBool>,
}

/// The mode and owner of files that are created, as in logrotate's `create`; `None`: those of the
/// file before, or those that the process gives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<Account>,
    pub(crate) group: Option<Account>,
}

impl Access {
    fn check(&self) -> Result<(), BadOption> {
        match self.mode {
            Some(mode) if cfg!(windows) => Err(BadOption::new("mode", mode_text(mode), "none on Windows")),
            Some(mode) if mode > 0o777 || mode & 0o200 == 0 => {
                Err(BadOption::new("mode", mode_text(mode), "from 0o200 to 0o777, and writable by its owner"))
            }
            _ => Ok(()),
        }
    }
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            min_free_space: None,
            fsync: Fsync::default(),
            rotation: Rotation::never(),
            start: Start::default(),
            limits: Limits::default(),
            when_low: WhenLow::default(),
            error_reserve: DEFAULT_ERROR_RESERVE,
            retain: DEFAULT_RETAIN,
            backlog: Backlog::default(),
            access: Access::default(),
            symlink: None,
            compress: false,
        }
    }
}

impl FileOptions {
    /// Checks that the options are in their ranges.
    pub(crate) fn check(&self) -> Result<(), BadOption> {
        let Limits { files, total, age } = self.limits;
        let bad = |option, value: &str, range| Err(BadOption::new(option, value, range));
        if let Some(interval) = self.rotation.impossible_interval() {
            let value = format!("an interval of {interval:?}");
            return bad("rotation", &value, "whole minutes, from 1 minute to 1 week");
        }
        if self.rotation.size == Some(0) {
            return bad("rotation", "a size of 0 bytes", "a size of at least 1 byte");
        }
        if files == Some(0) {
            return bad("max_files", "0", "at least 1: the active file is counted");
        }
        if total == Some(0) {
            return bad("max_total_size", "0", "at least 1 byte");
        }
        if age == Some(Duration::ZERO) {
            return bad("max_age", "zero", "longer than zero");
        }
        if self.error_reserve > MOST_ERROR_RESERVE {
            return bad("error_reserve", &self.error_reserve.to_string(), "at most 1 GiB");
        }
        if self.retain > MOST_RETAIN {
            return bad("retain", &self.retain.to_string(), "at most 1 GiB");
        }
        self.backlog.check()?;
        match &self.symlink {
            Some(link) if cfg!(windows) => bad("symlink", &link.display().to_string(), "none on Windows"),
            _ => self.access.check(),
        }
    }

    /// Returns the option that limits the length of the file's name most, and the longest name that
    /// it allows where names have at most `limit` bytes.
    pub(crate) fn longest_name(&self, limit: usize) -> (&'static str, usize) {
        let rotates = self.rotation != Rotation::never();
        let (option, addition) = match (self.compress, rotates) {
            (true, _) => ("compress", Names::longest_addition(true)),
            (false, true) => ("rotation", Names::longest_addition(false)),
            (false, false) => ("file", 0),
        };
        (option, limit.saturating_sub(addition))
    }
}

/// Returns the mode as it was probably written in the program: one without `0o` is a slip.
fn mode_text(mode: u32) -> String {
    match u32::from_str_radix(&mode.to_string(), 8) {
        Ok(meant) if meant <= 0o777 && meant & 0o200 != 0 => format!("{mode} (not octal: 0o{mode} is meant)"),
        _ => format!("0o{mode:o}"),
    }
}

impl From<LogFile> for Otherwise {
    fn from(file: LogFile) -> Self {
        Self::new(file)
    }
}

impl LogFile {
    /// Returns a log file at `path`. A relative path is taken from the directory that is the
    /// current one when the logger is made.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("/var/log/app/app.log");
    /// ```
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            wanted: Wanted::EVERYTHING,
            format: None,
            options: FileOptions::default(),
            otherwise: None,
        }
    }

    wanted_options!(r#"unfazed::LogFile::new("app.log")"#);

    otherwise_option!(r#"unfazed::LogFile::new("app.log")"#, "Console::stderr()");

    format_option!(r#"unfazed::LogFile::new("app.log")"#);

    /// Sets how many bytes must stay free on the file system, for others.
    ///
    /// Nothing is written that would leave less free space (as an ordinary user sees it, for root
    /// too); the output is suspended instead, and [resumes](crate::_docs::full_disk#resumed) when
    /// enough more is free.
    ///
    /// Default: 1 % of the file system, at least 64 KiB, at most 256 MiB, never more than an eighth
    /// of it. 0: no reserve; the file is written until the disk is full, and the full disk is
    /// survived in the same way. More than the file system holds: nothing is ever written. Where
    /// the free space is not known (no limit, not a regular file), there is none.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").min_free_space(500 * unfazed::MIB);
    /// ```
    pub fn min_free_space(mut self, bytes: u64) -> Self {
        self.options.min_free_space = Some(bytes);
        self
    }

    /// Sets when the file is synced to the disk. Default: `Fsync::Never`.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").fsync(unfazed::Fsync::AfterErrors);
    /// ```
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.options.fsync = fsync;
        self
    }

    /// Sets when the file is rotated: it becomes an archive, and a new active file begins. Default:
    /// [`Rotation::never`].
    ///
    /// The active file keeps its name. `app.log` is archived as `app.2026-11-21T09-30-00-0000.log`:
    /// the time of its last record and a number. Names sort by age as plain text, and nothing is
    /// copied or cut. While the output is suspended, nothing is rotated. A rotation that fails is
    /// reported and tried again after 1 s, doubling to 60 s; until then the old file goes on,
    /// beyond its size if need be.
    ///
    /// Only a regular file is rotated. Where the path leads to something else at the start, that is
    /// reported once; what comes in the place of a file later suspends the output. Of several
    /// processes that write to one file, the one that holds its lock rotates and deletes. See
    /// [rotation](crate::_docs::rotation).
    ///
    /// ```
    /// use unfazed::{LogFile, MIB, Rotation};
    ///
    /// let rotation = Rotation::daily().local_time().or_size(100 * MIB);
    /// let file = LogFile::new("app.log").rotation(rotation);
    /// ```
    #[doc(alias = "rolling")]
    #[doc(alias = "roll")]
    pub fn rotation(mut self, rotation: Rotation) -> Self {
        self.options.rotation = rotation;
        self
    }

    /// Limits how many files there may be in all, the active one and the archives; the oldest are
    /// deleted. At least 1. Default: no limit.
    ///
    /// This and [`max_total_size`](Self::max_total_size) hold at the start, after each rotation,
    /// and every minute; [`max_age`](Self::max_age) at the start and every minute. A file is
    /// deleted only if it is in the same directory and its whole name is one that this file's
    /// archives get; symbolic links never. Empty archives are always deleted, once there is a limit
    /// or a rotation.
    ///
    /// ```
    /// use unfazed::{LogFile, Rotation};
    ///
    /// // The active file and 13 archives: two weeks.
    /// let file = LogFile::new("app.log").rotation(Rotation::daily()).max_files(14);
    /// ```
    #[doc(alias = "keep")]
    #[doc(alias = "max_log_files")]
    #[doc(alias = "backup_count")]
    #[doc(alias = "KeepLogFiles")]
    pub fn max_files(mut self, files: usize) -> Self {
        self.options.limits.files = Some(files);
        self
    }

    /// Limits how many bytes the active file and its archives, compressed ones included, may have
    /// in all; the oldest archives are deleted. At least 1. Default: no limit. The active file
    /// itself is never deleted: use [`Rotation::size`] as well.
    ///
    /// ```
    /// use unfazed::{GIB, LogFile, MIB, Rotation};
    ///
    /// let file = LogFile::new("app.log").rotation(Rotation::size(100 * MIB)).max_total_size(GIB);
    /// ```
    pub fn max_total_size(mut self, bytes: u64) -> Self {
        self.options.limits.total = Some(bytes);
        self
    }

    /// Limits the age of an archive, from its last write; older ones are deleted. Longer than zero.
    /// Default: no limit. A clock that is set far ahead makes every archive old.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unfazed::{LogFile, Rotation};
    ///
    /// let thirty_days = Duration::from_secs(30 * 24 * 60 * 60);
    /// let file = LogFile::new("app.log").rotation(Rotation::daily()).max_age(thirty_days);
    /// ```
    pub fn max_age(mut self, age: Duration) -> Self {
        self.options.limits.age = Some(age);
        self
    }

    /// Sets what happens when there is not enough free space. Default: [`WhenLow::Stop`].
    ///
    /// ```
    /// use unfazed::{LogFile, Rotation, WhenLow};
    ///
    /// let file = LogFile::new("app.log")
    ///     .rotation(Rotation::hourly())
    ///     .when_low(WhenLow::DeleteOldest);
    /// ```
    pub fn when_low(mut self, then: WhenLow) -> Self {
        self.options.when_low = then;
        self
    }

    /// Preallocates this many bytes for ERROR records, at most 1 GiB. Default: 64 KiB. 0: none.
    ///
    /// The blocks lie beyond the end of the file (`fallocate`: visible in `du`, not in the file's
    /// length). When the disk is full, or the free space is at `min_free_space`, records of lower
    /// levels are dropped, but ERROR records are still written until these blocks are used up.
    /// Where there is less space than that, half of it is preallocated; where there is plenty, up
    /// to 1 MiB more, for records of all levels. The blocks are given back when the file is closed
    /// or rotated.
    ///
    /// It works on Linux, on ext4, XFS, tmpfs, and overlay on them, in the process that holds the
    /// file's lock. On btrfs the call succeeds and keeps nothing.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").error_reserve(unfazed::MIB);
    /// ```
    pub fn error_reserve(mut self, bytes: u64) -> Self {
        self.options.error_reserve = bytes;
        self
    }

    /// Retains the newest WARN and ERROR records in this many bytes of memory while the file cannot
    /// be written, at most 1 GiB. Default: 64 KiB. 0: none.
    ///
    /// While the output is suspended, records of lower levels are dropped. WARN and ERROR are laid
    /// out as lines and retained (an ERROR only if it does not fit into
    /// [`error_reserve`](Self::error_reserve)). When there is no space for a new one, the oldest
    /// are dropped and counted. On resume the gap line says how many follow it, and they are
    /// written after it, with their own times, before anything newer. Until then they are `pending`
    /// ([`OutputStats`](crate::OutputStats)). If the program ends first, they are dropped and
    /// counted.
    ///
    /// The bound is exact: a line takes its length and 32 bytes, in one block of memory that is
    /// taken when the first line comes and given back when the last one is written. A line that is
    /// longer than the whole is dropped; so is a line that does not fit after three gap lines in a
    /// row. With 32 bytes or less nothing is retained.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").retain(4 * unfazed::MIB);
    /// ```
    pub fn retain(mut self, bytes: u64) -> Self {
        self.options.retain = bytes;
        self
    }

    backlog_options!(
        r#"unfazed::LogFile::new("app.log")"#,
        options.backlog,
        "Only where the path leads to a FIFO or a device: a regular file has no use for it."
    );

    /// Sets the permissions of files that are created, whatever the umask is, as in `0o640`; the
    /// owner must be able to write. Default: what the umask leaves of 0666. An existing file keeps
    /// its own. On Windows, where a directory gives its files their access rights, it is an
    /// `InitError`.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").mode(0o640);
    /// ```
    pub fn mode(mut self, mode: u32) -> Self {
        self.options.access.mode = Some(mode);
        self
    }

    /// Sets the user to whom files belong that are created (Unix): a name or a number, as in
    /// logrotate's `create mode owner group`. Default: the process's effective user, and after a
    /// rotation the owner of the file before.
    ///
    /// The next active file, archives and compressed archives follow; an existing file keeps its
    /// owner, and directories are the process's. Only root may give files away. Where that fails,
    /// the file is written all the same, and the failure is reported. A program that is going to
    /// drop its rights sets the user that it will run as.
    ///
    /// A user that does not exist is an [`InitError`](crate::InitError), and so is any user where
    /// files have no owners as on Unix.
    ///
    /// ```
    /// use unfazed::LogFile;
    ///
    /// let file = LogFile::new("/var/log/app.log").owner("www-data").group("adm").mode(0o640);
    /// ```
    #[doc(alias = "chown")]
    pub fn owner(mut self, user: impl std::fmt::Display) -> Self {
        self.options.access.owner = Some(Account::Named(user.to_string()));
        self
    }

    /// Sets the group to which files belong that are created (Unix): a name or a number. Default:
    /// the process's or the directory's, as the file system does it, and after a rotation the group
    /// of the file before.
    ///
    /// The rules are those of [`owner`](Self::owner). A process that is not root's may give a file
    /// to a group of its own user only; where it may not, the mode's bits for the group are left
    /// out.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("/var/log/app.log").group(4).mode(0o640);
    /// ```
    pub fn group(mut self, group: impl std::fmt::Display) -> Self {
        self.options.access.group = Some(Account::Named(group.to_string()));
        self
    }

    /// Maintains a symbolic link that leads to the file. Default: none. Anything else that stands
    /// there stays, which is reported as a failure. On Windows, where links need a privilege, it is
    /// an `InitError`. In the file's own directory the link leads to the bare name, so that it
    /// still works where that directory is mounted elsewhere.
    ///
    /// ```
    /// let file = unfazed::LogFile::new("app.log").symlink("/var/log/current.log");
    /// ```
    #[doc(alias = "create_symlink")]
    pub fn symlink(mut self, link: impl Into<PathBuf>) -> Self {
        self.options.symlink = Some(link.into());
        self
    }

    /// Sets whether archives are compressed (`.gz`). Default: `false`. Needs the feature `gzip`.
    ///
    /// One at a time, on a thread of its own, on Linux with low priority; the newest archive stays
    /// as it is until the next rotation, for agents that still read it. None is compressed while
    /// free space is low. The end of the program does not wait: an archive is plain until its
    /// compressed form is whole and on the disk.
    ///
    /// ```
    /// use unfazed::{LogFile, Rotation};
    ///
    /// let file = LogFile::new("app.log").rotation(Rotation::daily()).compress(true);
    /// ```
    #[doc(alias = "gzip")]
    #[cfg(feature = "gzip")]
    pub fn compress(mut self, compress: bool) -> Self {
        self.options.compress = compress;
        self
    }
}

impl From<String> for LogFile {
    fn from(path: String) -> Self {
        Self::new(path)
    }
}

impl From<OsString> for LogFile {
    fn from(path: OsString) -> Self {
        Self::new(path)
    }
}

impl From<PathBuf> for LogFile {
    fn from(path: PathBuf) -> Self {
        Self::new(path)
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for LogFile {
    fn from(path: &P) -> Self {
        Self::new(path.as_ref())
    }
}

/// Decides when a file is synced to the disk (fdatasync), so that its records survive a crash of
/// the machine.
///
/// Records survive a crash of the *program* without it. A sync that fails is reported
/// (`Event::Failed`, and the gap line), and the file is opened again, because such a descriptor
/// cannot be trusted any more. Where a full disk shows only at the sync (NFS, thin storage), choose
/// `Every`.
///
/// ```
/// use std::time::Duration;
/// use unfazed::{Fsync, LogFile};
///
/// let file = LogFile::new("/mnt/nfs/app.log").fsync(Fsync::Every(Duration::from_secs(5)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fsync {
    /// Left to the operating system.
    #[default]
    Never,
    /// After each batch that holds an ERROR record.
    AfterErrors,
    /// While there is something new, this often. Zero: after each batch.
    Every(Duration),
}

/// Decides what a file does when the free space falls to `min_free_space`, or the disk is full.
///
/// ```
/// use unfazed::{LogFile, Rotation, WhenLow};
///
/// let file = LogFile::new("app.log")
///     .rotation(Rotation::hourly())
///     .when_low(WhenLow::DeleteOldest);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenLow {
    /// The output is suspended. History stays as it is.
    #[default]
    Stop,
    /// The oldest archives of this file are deleted first, until there is room again
    /// (`min_free_space` and half as much) or none is left; only then the output is suspended. This
    /// is tried at most once each second, and after a deletion only once something was written
    /// again; in one go, because nothing can be written before. An output that is suspended within
    /// that second deletes them when it is over. Each deletion is an event, and all of them are
    /// reported in the log.
    DeleteOldest,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GIB, InitError, KIB};

    #[test]
    fn a_mode_that_was_meant_in_octal_is_named() {
        let checked = |mode| LogFile::new("app.log").mode(mode).options.check();
        let bad = |value| Err(BadOption::new("mode", value, "from 0o200 to 0o777, and writable by its owner"));
        assert_eq!(checked(640), bad("640 (not octal: 0o640 is meant)"));
        assert_eq!(checked(0o577), bad("0o577"));
        assert_eq!(checked(1999), bad("0o3717"));
        assert_eq!(checked(0o640), Ok(()));
    }

    #[test]
    fn what_is_documented_as_the_default_or_as_the_most_is() {
        let file = || LogFile::new("app.log");
        let FileOptions { error_reserve, retain, .. } = file().options;
        assert_eq!((error_reserve, retain), (64 * KIB, 64 * KIB));
        let ends = [
            file().error_reserve(0),
            file().error_reserve(GIB),
            file().retain(0),
            file().retain(GIB),
            file().backlog(0).patience(Duration::ZERO),
            file().backlog(GIB).patience(Duration::from_secs(3600)),
            file().mode(0o200),
            file().mode(0o777),
            file().rotation(Rotation::size(1)).max_files(1).max_total_size(1).max_age(Duration::from_nanos(1)),
        ];
        for file in ends {
            assert_eq!(file.options.check(), Ok(()));
        }
        let beyond = [
            (file().error_reserve(GIB + 1), "error_reserve"),
            (file().retain(GIB + 1), "retain"),
            (file().backlog(GIB + 1), "backlog"),
            (file().patience(Duration::from_secs(3601)), "patience"),
            (file().mode(0o1000), "mode"),
            (file().mode(0o577), "mode"),
            (file().rotation(Rotation::size(0)), "rotation"),
            (file().rotation(Rotation::every(Duration::from_secs(59))), "rotation"),
            (file().rotation(Rotation::every(Duration::from_secs(61))), "rotation"),
            (file().max_files(0), "max_files"),
            (file().max_total_size(0), "max_total_size"),
            (file().max_age(Duration::ZERO), "max_age"),
        ];
        for (file, option) in beyond {
            let error = InitError::from(file.options.check().unwrap_err());
            assert!(matches!(error, InitError::Option { option: named, .. } if named == option), "{error}");
        }
    }
}
