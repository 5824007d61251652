//! The outside world: what a file sink asks of the system. Runs on the writer's thread, except
//! `unfit_path`, which opens nothing, and `read_file`, which only looks. `unix` and `windows` are
//! the two halves of the real system, of which each build has one, with the same names.

#[cfg(not(any(unix, windows)))]
compile_error!("unfazed writes files on Unix and on Windows; this system is neither");

pub(crate) mod random_part;
mod real;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(crate) use real::{RealDisk, RealFile};
#[cfg(all(test, target_os = "linux", not(loom)))]
pub(crate) use system::between;
pub(crate) use system::{ATOMIC_WRITE, RealDir, RealStream};

/// Returns what is in a regular file that somebody edits; an error if it has more than `at_most`
/// bytes. Does not wait for the other end of a FIFO.
pub(crate) fn read_file(path: &Path, at_most: u64) -> io::Result<Vec<u8>> {
    let file = system::open_to_read(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut read = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, at_most + 1), &mut read)?;
    if read.len() as u64 > at_most {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too large"));
    }
    Ok(read)
}

/// Where files are opened. The double for tests is `tests::fake_disk::FakeDisk`.
pub(crate) trait Disk: Send {
    type File: DiskFile;
    type Stream: DiskStream;
    type Dir: Dir<File = Self::File>;

    /// Opens for appending, and creates a file if need be; never truncates and never waits for a
    /// reader.
    fn open(&mut self, path: &Path) -> io::Result<Opened<Self::File, Self::Stream>>;

    /// Opens one of the process's own streams.
    fn stream(&mut self, stream: Stream) -> io::Result<Opened<Self::File, Self::Stream>>;

    /// Makes a directory and those above it.
    fn make_dir(&mut self, path: &Path) -> io::Result<()>;

    /// Returns where an open file really is, and its name there; `None` if it was not opened by a
    /// path.
    fn place(&self, file: &Self::File) -> Option<(Self::Dir, OsString)>;

    /// Creates the file that follows `old`, for appending, in its directory; an error if anything
    /// is there.
    fn create(&mut self, old: &Self::File, name: &OsStr) -> io::Result<Self::File>;

    /// Returns a number that nobody can predict, for the name of a file that is not finished.
    fn random(&mut self) -> u32;

    /// Makes a symbolic link lead to `target`. Anything else that is at `link` stays, and is an
    /// error.
    fn point(&mut self, link: &Path, target: &Path) -> io::Result<()>;

    /// Begins to compress an archive of `log`, on a thread of its own; nobody waits for it, and
    /// what it did is returned once by `compressed`. At most one at a time.
    fn compress(&mut self, log: &Self::File, what: Compression) -> io::Result<()>;

    /// Returns the result of the compression, once: `true` if it is done, `false` if it was put off
    /// because there is no room.
    fn compressed(&mut self) -> Option<io::Result<bool>>;
}

/// An open directory. Names are taken in it whatever happens to its path.
pub(crate) trait Dir {
    type File;

    /// Returns its path when it was opened: for messages.
    fn path(&self) -> &Path;

    /// Gives a file a second name; an error if anything is there.
    fn link(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()>;

    /// Renames; what is there is replaced at the same moment.
    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()>;

    /// Renames; an error if anything is there.
    fn rename_new(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()>;

    /// Removes a name that is no directory's. A symbolic link is removed, not followed.
    fn remove(&mut self, name: &OsStr) -> io::Result<()>;

    /// Returns the names in it that are `wanted`, whatever is there.
    fn names(&mut self, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>>;

    /// Returns the file of this name, if it is ours, as `log` is. What is another's is not seen.
    fn look(&mut self, log: &Self::File, name: &OsStr) -> io::Result<Option<Entry>>;

    /// Makes what happened to the names survive a crash of the machine.
    fn sync(&mut self) -> io::Result<()>;

    /// Returns whether `name` leads to this file.
    fn check_name(&mut self, name: &OsStr, file: &Self::File) -> io::Result<PathState>;
}

/// A file that is to be compressed: names in the directory of the log.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "gzip"), allow(dead_code))] // named, and never made
pub(crate) struct Compression {
    pub(crate) from: OsString,
    /// What it is called until it is whole.
    pub(crate) unfinished: OsString,
    pub(crate) to: OsString,
    /// The number of bytes that must stay free.
    pub(crate) leave: u64,
}

/// A regular file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: OsString,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
    /// Distinguishes files, whatever they are called; `None` where that cannot be seen.
    pub(crate) id: Option<FileId>,
    /// It has several names where anybody may give it one: it may be somebody else's file.
    pub(crate) is_doubtful: bool,
}

/// The volume of a file, and its number there.
pub(crate) type FileId = (u64, u128);

/// An open regular file: takes space, can be cut, locked and synced.
pub(crate) trait DiskFile: Send {
    /// The lock of the active file, as long as it lives.
    type Lock: Send;

    /// One write(2): may take fewer bytes than given.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Returns why a file that was created does not belong to whom the options say, once.
    fn not_given(&mut self) -> Option<io::Error> {
        None
    }

    /// Waits, so that others can go on with what they do to the file.
    fn pause(&mut self, time: Duration);

    /// Returns where our last write ended.
    fn end(&mut self) -> io::Result<u64>;

    /// # Errors
    ///
    /// Among others, the program has closed the file's descriptor, which may lead elsewhere by now.
    fn size(&mut self) -> io::Result<Size>;

    fn len(&mut self) -> io::Result<u64> {
        Ok(self.size()?.len)
    }

    /// `None`: the file is empty, or may not be read.
    fn last_byte(&mut self) -> io::Result<Option<u8>>;

    /// Returns whether the file holds these bytes at this place.
    fn holds(&mut self, at: u64, bytes: &[u8]) -> io::Result<bool>;

    /// Lets the other processes that log to the file know that this one writes to it, until it is
    /// closed: meanwhile none of them cuts it. Waits at most `at_most` for a cut that is under way.
    fn announce(&mut self, at_most: Duration);

    /// Returns whether the others know.
    fn is_announced(&self) -> bool;

    /// Shortens the file from its length `from` to `to`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another process has announced that it writes, or may have, or if the file
    /// has another length.
    fn cut(&mut self, from: u64, to: u64) -> io::Result<()>;

    fn free_space(&mut self) -> io::Result<FreeSpace>;

    /// Commits the file system where freed space shows only after a commit (btrfs, ZFS). Returns
    /// false elsewhere, where nothing is done. May take seconds.
    fn commit_freed(&mut self) -> io::Result<bool>;

    /// Takes the lock of the log at this name, which lets its holder rotate, cut and preallocate;
    /// `false` if somebody else has it. Never waits.
    ///
    /// # Errors
    ///
    /// Nobody can have it here, or not this process.
    fn lock(&mut self) -> io::Result<bool>;

    /// Returns true if the lock is still held. Whoever may write to the directory can remove it.
    fn holds_lock(&mut self) -> bool;

    /// Gives the lock back now.
    fn unlock(&mut self);

    /// Takes the lock out, for the file that gets this one's name. `None` if there is none that
    /// could be handed over.
    fn take_lock(&mut self) -> Option<Self::Lock>;

    /// Takes over the lock, if it is that of this file's name.
    fn accept_lock(&mut self, lock: Self::Lock);

    fn sync(&mut self) -> io::Result<()>;

    /// Returns whether the path still leads to this file.
    fn check_path(&mut self, path: &Path) -> io::Result<PathState>;

    /// Returns when it was written last.
    fn modified(&mut self) -> io::Result<SystemTime>;

    /// Returns the identity of the file, which its directory's `Entry` has, too.
    fn id(&mut self) -> Option<FileId>;

    /// Returns whether blocks beyond the end can be taken, and are then really there.
    fn can_preallocate(&self) -> bool;

    /// Takes blocks from the end of the file to `to`, without making it longer; a full disk shows
    /// here. A cut gives them back.
    fn preallocate(&mut self, from: u64, to: u64) -> io::Result<()>;
}

/// An open pipe, terminal, socket or device: takes what its reader leaves room for.
pub(crate) trait DiskStream: Send {
    /// Writes at most [`ATOMIC_WRITE`] bytes, or the first of them, and never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the reader has left no room.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits up to `at_most` until the reader has left room. Returns true if it has.
    fn writable(&mut self, at_most: Duration) -> bool;

    /// Returns how many bytes the reader has before it, where that can be seen.
    fn unread(&mut self) -> Option<u64>;
}

/// One of the streams that a process is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stderr,
    Stdout,
}

impl Stream {
    /// Returns whether the stream leads to a terminal that shows colours now.
    pub(crate) fn shows_colors(self) -> bool {
        let is_terminal = match self {
            Stream::Stderr => io::stderr().is_terminal(),
            Stream::Stdout => io::stdout().is_terminal(),
        };
        is_terminal && system::shows_colors(self)
    }
}

/// An open file, or an open stream.
#[derive(Debug)]
pub(crate) enum Opened<F, S> {
    File(F),
    Stream(S),
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) len: u64,
    /// Those of its blocks, also of those beyond its end.
    pub(crate) allocated: u64,
}

/// Where an open file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathState {
    /// At its path.
    Same,
    /// Elsewhere: renamed, or the path leads to another file.
    Moved,
    /// Nowhere: its last name is gone, and its bytes with it once it is closed.
    Deleted,
}

/// Bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    /// 0: unlimited.
    pub(crate) total: u64,
    /// What an ordinary user may still take.
    pub(crate) free: u64,
    /// The unit in which they are taken.
    pub(crate) block: u64,
}

/// The mode and owner of files that are created.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(windows, allow(dead_code))] // a file has its rights from the directory there
pub(crate) struct Rights {
    /// `None`: what the umask leaves of 0666.
    pub(crate) mode: Option<u32>,
    /// `None`: the process's.
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
}

/// Returns why a path can never be that of a log file, by its text alone, if it cannot.
pub(crate) fn unfit_path(path: &Path) -> Option<&'static str> {
    let text = path.as_os_str().as_encoded_bytes();
    if text.is_empty() {
        return Some("an empty path");
    }
    if text.contains(&0) {
        return Some("a path with a NUL byte");
    }
    if text.last().is_some_and(|last| std::path::is_separator(char::from(*last))) {
        return Some("a path that names a directory");
    }
    system::unfit_path(path)
}

/// Returns why what is at a path can never be a log file, if it cannot. Only looks.
pub(crate) fn unfit(path: &Path) -> Option<&'static str> {
    // Whatever cannot be seen now may be a log file later.
    let metadata = fs::metadata(path).ok()?;
    if metadata.is_dir() {
        return Some("a directory");
    }
    system::unfit(&metadata)
}

/// Returns the length of the name that the file at `path` has, or would have, once links are
/// followed, and how long a name may be in its directory. Only looks.
pub(crate) fn name_length(path: &Path) -> (usize, usize) {
    /// Where it cannot be asked: the limit of nearly every file system.
    const USUAL: usize = 255;

    let real = fs::canonicalize(path).ok();
    let path = real.as_deref().unwrap_or(path);
    let limit = path.ancestors().skip(1).find_map(system::longest_name).unwrap_or(USUAL);
    (system::name_length(path.file_name().unwrap_or_default()), limit)
}

/// Returns where the log at `path` really is, once links are followed; `path` if that cannot be
/// seen.
pub(crate) fn really_at(path: &Path) -> PathBuf {
    system::really_at(path).unwrap_or_else(|_| path.to_owned())
}

/// Lists the names next to the log at `active` that are `wanted` and lead to files that are ours.
pub(crate) fn list_ours(active: &Path, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
    system::list_ours(active, wanted)
}

/// Deletes an empty file, a link or an empty directory that this process has created, and may have
/// given to `owner`. What is another's stays, and so does what no safe way leads to.
pub(crate) fn remove_empty(path: &Path, owner: Option<u32>) -> io::Result<()> {
    system::remove_empty(path, owner)
}

/// Returns whether two absolute paths lead, or would lead, to one file. Only looks.
pub(crate) fn same_file(one: &Path, other: &Path) -> bool {
    if let Some(lead_to_one) = system::lead_to_one(one, other) {
        return lead_to_one;
    }
    let (one_place, other_place) = (place(one), place(other));
    system::is_one_path(one_place.as_deref().unwrap_or(one), other_place.as_deref().unwrap_or(other))
}

/// Returns where a file would be created that is not there yet: its directory's real path and its
/// name, or nothing if the directory is missing, too.
fn place(path: &Path) -> Option<PathBuf> {
    /// Where Linux gives up.
    const MOST_LINKS: usize = 40;

    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = path.read_link() else { break };
        path = path.parent()?.join(target);
    }
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}
