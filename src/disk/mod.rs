//! The outside world: what a file sink asks of the system, and the real system. Runs on the
//! writer's thread, except `unfit` and `same_file`, which only look.

#[cfg(not(any(unix, windows)))]
compile_error!("unfazed writes files on Unix and on Windows; this system is neither");

#[cfg(unix)]
mod dir;
#[cfg(windows)]
#[path = "dir_by_path.rs"]
mod dir;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(unix)]
mod lock;
mod preallocate;
#[cfg(unix)]
mod stream;
#[cfg(windows)]
#[path = "stream_windows.rs"]
mod stream;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

#[cfg(unix)]
use crate::os::CloseInChild;

#[cfg(windows)]
use dir::Lock;
pub(crate) use dir::RealDir;
use dir::Walk;
#[cfg(unix)]
use lock::Lock;
pub(crate) use stream::RealStream;

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

    /// Where an open file really is, and its name there; `None` if it was not opened by a path.
    fn place(&self, file: &Self::File) -> Option<(Self::Dir, OsString)>;

    /// Creates the file that follows `old`, for appending, in its directory; an error if anything
    /// stands there.
    fn create(&mut self, old: &Self::File, name: &OsStr) -> io::Result<Self::File>;

    /// A number that nobody can foretell, for the name of a file that is not finished.
    fn random(&mut self) -> u32;

    /// Makes a symbolic link lead to `target`. Anything else that stands at `link` stays, and is an
    /// error.
    fn point(&mut self, link: &Path, target: &Path) -> io::Result<()>;

    /// Begins to compress an archive of `log`, on a thread of its own; nobody waits for it, and
    /// what it did is returned once by `compressed`. At most one at a time.
    fn compress(&mut self, log: &Self::File, what: Compression) -> io::Result<()>;

    /// What came of it, once: `true` if it is done, `false` if it was put off because there is no
    /// room.
    fn compressed(&mut self) -> Option<io::Result<bool>>;
}

/// An open directory. Names are taken in it whatever happens to its path.
pub(crate) trait Dir {
    type File;

    /// Its path when it was opened: for messages.
    fn path(&self) -> &Path;

    /// Gives a file a second name; an error if anything stands there.
    fn link(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()>;

    /// Renames; what stands there is replaced at the same moment.
    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()>;

    /// Renames; an error if anything stands there.
    fn rename_new(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()>;

    /// Removes a name that is no directory's. A symbolic link is removed, not followed.
    fn remove(&mut self, name: &OsStr) -> io::Result<()>;

    /// The files that are ours, as `log` is, and whose names are `wanted`. What is another's is not
    /// seen.
    fn list(&mut self, log: &Self::File, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<Entry>>;

    /// Makes what happened to the names survive a crash of the machine.
    fn sync(&mut self) -> io::Result<()>;

    /// Whether `name` leads to this file.
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
    /// So many bytes must stay free.
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

    /// Why a file that was created does not belong to whom the options say, once.
    fn not_given(&mut self) -> Option<io::Error> {
        None
    }

    /// Lets others go on with what they do to the file.
    fn pause(&mut self, time: Duration);

    /// Where our last write ended.
    fn end(&mut self) -> io::Result<u64>;

    fn len(&mut self) -> io::Result<u64>;

    /// How many bytes its blocks are, those beyond its end included.
    fn allocated(&mut self) -> io::Result<u64>;

    /// `None`: the file is empty, or may not be read.
    fn last_byte(&mut self) -> io::Result<Option<u8>>;

    /// Returns whether the file holds these bytes at this place.
    fn holds(&mut self, at: u64, bytes: &[u8]) -> io::Result<bool>;

    /// Shortens the file.
    fn cut(&mut self, len: u64) -> io::Result<()>;

    fn free_space(&mut self) -> io::Result<FreeSpace>;

    /// Takes the lock of the log at this name, which lets its holder rotate, cut and preallocate;
    /// `false` if somebody else has it. Never waits.
    ///
    /// # Errors
    ///
    /// Nobody can have it here, or not this process.
    fn lock(&mut self) -> io::Result<bool>;

    /// Whether the lock is still held: whoever may write to the directory can take it away.
    fn holds_lock(&mut self) -> bool;

    /// Gives the lock back now.
    fn unlock(&mut self);

    /// Takes the lock out, for the file that gets this one's name. `None` if there is none that
    /// could be handed over.
    fn take_lock(&mut self) -> Option<Self::Lock>;

    /// Takes over the lock, if it is that of this file's name.
    fn accept_lock(&mut self, lock: Self::Lock);

    fn sync(&mut self) -> io::Result<()>;

    /// Whether the path still leads to this file.
    fn check_path(&mut self, path: &Path) -> io::Result<PathState>;

    /// When it was written last.
    fn modified(&mut self) -> io::Result<SystemTime>;

    /// The same as in its directory's `Entry`.
    fn id(&mut self) -> Option<FileId>;

    /// Whether blocks beyond the end can be taken, and are then really there.
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

/// What was opened.
#[derive(Debug)]
pub(crate) enum Opened<F, S> {
    File(F),
    Stream(S),
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

/// A write of at most this many bytes into a pipe is whole or not at all.
#[cfg(unix)]
pub(crate) const ATOMIC_WRITE: usize = rustix::pipe::PIPE_BUF;
#[cfg(windows)]
pub(crate) const ATOMIC_WRITE: usize = 4096;

/// What files get that are created.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(windows, allow(dead_code))] // a file has its rights from the directory there
pub(crate) struct Rights {
    /// `None`: what the umask leaves of 0666.
    pub(crate) mode: Option<u32>,
    /// `None`: the process's.
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
}

/// The system itself.
#[derive(Debug)]
pub(crate) struct RealDisk {
    rights: Rights,
    #[cfg(feature = "gzip")]
    job: Option<gzip::Job>,
}

/// A file of the system.
#[derive(Debug)]
pub(crate) struct RealFile {
    /// Before `file`, because fields are dropped in their order.
    #[cfg(unix)]
    _in_child: CloseInChild,
    file: File,
    readable: bool,
    place: Option<(RealDir, OsString)>,
    lock: Option<Lock>,
    /// Why it could not be given to whom it is to belong, not reported yet.
    not_given: Option<io::Error>,
}

impl Disk for RealDisk {
    type File = RealFile;
    type Stream = RealStream;
    type Dir = RealDir;

    fn open(&mut self, path: &Path) -> io::Result<Opened<RealFile, RealStream>> {
        let (dir, name) = RealDir::locate(path, Walk::Open)?;
        dir.open_log(&name, self.rights)
    }

    /// A regular file keeps the description of the program's own output, which goes to the same
    /// place in it. A stream is opened again where that is possible, which makes a description that
    /// never waits: a terminal whose reader stopped says that it can be written and then keeps the
    /// write. The program's own descriptor stays as it is. What belongs to another user cannot be
    /// opened so, and a socket not at all.
    fn stream(&mut self, stream: Stream) -> io::Result<Opened<RealFile, RealStream>> {
        let file = stream::duplicate(stream)?;
        if is_regular(&file)? {
            return Ok(Opened::File(RealFile::new(file, false, None)));
        }
        #[cfg(unix)]
        if cfg!(target_os = "linux") {
            if let Ok(own) = dir::open_again(stream::number(stream)) {
                return Ok(Opened::Stream(RealStream::own(own)));
            }
        }
        Ok(Opened::Stream(RealStream::shared(file)))
    }

    fn make_dir(&mut self, path: &Path) -> io::Result<()> {
        RealDir::open(path, Walk::Make).map(drop)
    }

    fn place(&self, file: &RealFile) -> Option<(RealDir, OsString)> {
        file.place.clone()
    }

    fn create(&mut self, old: &RealFile, name: &OsStr) -> io::Result<RealFile> {
        let (dir, active) = old.place.clone().ok_or(io::ErrorKind::Unsupported)?;
        let mut new = dir.create_next(name, old, self.rights)?;
        new.place = Some((dir, active)); // The name that it is to get.
        Ok(new)
    }

    fn random(&mut self) -> u32 {
        // The keys of a hash map: from the system, once for each thread, and other ones each time.
        RandomState::new().build_hasher().finish() as u32
    }

    fn point(&mut self, link: &Path, target: &Path) -> io::Result<()> {
        let random = self.random();
        dir::point(link, target, random)
    }

    #[cfg(feature = "gzip")]
    fn compress(&mut self, log: &RealFile, what: Compression) -> io::Result<()> {
        let (dir, _) = log.place.clone().ok_or(io::ErrorKind::Unsupported)?;
        self.job = Some(gzip::start(dir, log.file.metadata()?, what)?);
        Ok(())
    }

    #[cfg(feature = "gzip")]
    fn compressed(&mut self) -> Option<io::Result<bool>> {
        let result = self.job.as_ref()?.result()?;
        self.job = None;
        Some(result)
    }

    #[cfg(not(feature = "gzip"))]
    fn compress(&mut self, _log: &RealFile, _what: Compression) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(feature = "gzip"))]
    fn compressed(&mut self) -> Option<io::Result<bool>> {
        None
    }
}

impl RealDisk {
    pub(crate) fn new(rights: Rights) -> Self {
        Self {
            rights,
            #[cfg(feature = "gzip")]
            job: None,
        }
    }
}

impl RealFile {
    fn new(file: File, readable: bool, place: Option<(RealDir, OsString)>) -> Self {
        Self {
            #[cfg(unix)]
            _in_child: CloseInChild::new(std::os::fd::AsRawFd::as_raw_fd(&file)),
            file,
            readable,
            place,
            lock: None,
            not_given: None,
        }
    }
}

/// Blocks beyond the end come and go without a record: the file's time stays that of its last
/// record, which names its archive. Only the file's owner may set it; for others it changes.
fn keeping_time(file: &File, change: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let before = file.metadata().and_then(|metadata| metadata.modified());
    let changed = change(file);
    if let Ok(before) = before {
        let _ = file.set_modified(before);
    }
    changed
}

/// Leaves the place of the last write as it is.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, at)
}

/// Leaves the place of the last write as it is.
#[cfg(windows)]
fn read_at(mut file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let place = file.stream_position()?;
    let result = std::os::windows::fs::FileExt::seek_read(file, bytes, at);
    file.seek(io::SeekFrom::Start(place))?;
    result
}

/// Whether the descriptor leads to a regular file.
#[cfg(unix)]
fn is_regular(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.is_file())
}

#[cfg(windows)]
fn is_regular(file: &File) -> io::Result<bool> {
    if !crate::os::windows::is_on_disk(file) {
        return Ok(false);
    }
    if file.metadata()?.is_file() { Ok(true) } else { Err(io::ErrorKind::IsADirectory.into()) }
}

impl DiskFile for RealFile {
    type Lock = Lock;

    #[cfg(unix)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn not_given(&mut self) -> Option<io::Error> {
        self.not_given.take()
    }

    /// The handle may also cut the file, so each write says itself that it appends.
    #[cfg(windows)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const AT_THE_END: u64 = u64::MAX;

        match &self.place {
            Some(_) => std::os::windows::fs::FileExt::seek_write(&self.file, bytes, AT_THE_END),
            None => self.file.write(bytes),
        }
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn end(&mut self) -> io::Result<u64> {
        self.file.stream_position()
    }

    fn len(&mut self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    #[cfg(unix)]
    fn allocated(&mut self) -> io::Result<u64> {
        // Whatever the file system's blocks are, these have 512 bytes.
        Ok(std::os::unix::fs::MetadataExt::blocks(&self.file.metadata()?).saturating_mul(512))
    }

    #[cfg(windows)]
    fn allocated(&mut self) -> io::Result<u64> {
        crate::os::windows::allocated(&self.file)
    }

    fn last_byte(&mut self) -> io::Result<Option<u8>> {
        if !self.readable || self.len()? == 0 {
            return Ok(None);
        }
        let last = self.len()?.saturating_sub(1);
        let mut byte = [0];
        Ok((read_at(&self.file, &mut byte, last)? == 1).then_some(byte[0]))
    }

    fn holds(&mut self, at: u64, bytes: &[u8]) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let (mut at, mut rest) = (at, bytes);
        while self.readable && !rest.is_empty() {
            let most = rest.len().min(buffer.len());
            let got = read_at(&self.file, &mut buffer[..most], at)?;
            if got == 0 || buffer[..got] != rest[..got] {
                return Ok(false);
            }
            (at, rest) = (at + got as u64, &rest[got..]);
        }
        Ok(self.readable)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        keeping_time(&self.file, |file| file.set_len(len))
    }

    /// macOS counts the blocks of `statvfs` in 32 bits, those of `statfs` in 64.
    #[cfg(target_vendor = "apple")]
    fn free_space(&mut self) -> io::Result<FreeSpace> {
        let answer = rustix::fs::fstatfs(&self.file)?;
        let block = u64::from(answer.f_bsize);
        Ok(FreeSpace {
            total: answer.f_blocks.saturating_mul(block),
            free: answer.f_bavail.saturating_mul(block),
            block,
        })
    }

    #[cfg(all(unix, not(target_vendor = "apple")))]
    fn free_space(&mut self) -> io::Result<FreeSpace> {
        let answer = rustix::fs::fstatvfs(&self.file)?;
        let block = answer.f_frsize;
        Ok(FreeSpace {
            total: answer.f_blocks.saturating_mul(block),
            free: answer.f_bavail.saturating_mul(block),
            block,
        })
    }

    #[cfg(windows)]
    fn free_space(&mut self) -> io::Result<FreeSpace> {
        let (dir, _) = self.place.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let (total, free, block) = crate::os::windows::free_space(dir.path())?;
        Ok(FreeSpace { total, free, block })
    }

    fn lock(&mut self) -> io::Result<bool> {
        if !self.holds_lock() {
            self.unlock();
            let (dir, name) = self.place.as_ref().ok_or(io::ErrorKind::Unsupported)?;
            self.lock = dir.lock(name, &self.file)?;
        }
        Ok(self.lock.is_some())
    }

    fn holds_lock(&mut self) -> bool {
        self.lock.as_ref().is_some_and(Lock::is_held)
    }

    fn unlock(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.release(&self.file);
        }
    }

    fn take_lock(&mut self) -> Option<Lock> {
        let (dir, name) = self.place.as_ref()?;
        if self.lock.as_ref().is_some_and(|lock| lock.is_of(dir, name)) {
            return self.lock.take();
        }
        self.unlock();
        None
    }

    fn accept_lock(&mut self, lock: Lock) {
        if self.place.as_ref().is_some_and(|(dir, name)| lock.is_of(dir, name)) {
            self.lock = Some(lock);
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn modified(&mut self) -> io::Result<SystemTime> {
        self.file.metadata()?.modified()
    }

    fn id(&mut self) -> Option<FileId> {
        dir::id(&self.file)
    }

    fn can_preallocate(&self) -> bool {
        preallocate::is_known_to_work(&self.file)
    }

    fn preallocate(&mut self, from: u64, to: u64) -> io::Result<()> {
        keeping_time(&self.file, |file| preallocate::take(file, from, to))
    }

    fn check_path(&mut self, path: &Path) -> io::Result<PathState> {
        match &self.place {
            Some((dir, name)) => dir.check_path(name, self, path),
            None => Ok(PathState::Same),
        }
    }
}

/// Why what stands at `path` can never be a log file, if it cannot. Only looks.
pub(crate) fn unfit(path: &Path) -> Option<&'static str> {
    let text = path.as_os_str().as_encoded_bytes();
    if text.is_empty() {
        return Some("an empty path");
    }
    if text.contains(&0) {
        return Some("a path with a NUL byte");
    }
    if text.ends_with(b"/") || cfg!(windows) && text.ends_with(b"\\") {
        return Some("a path that names a directory");
    }
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    if cfg!(windows) && name.iter().any(|byte| *byte < b' ' || b"<>:\"|?*".contains(byte)) {
        return Some("a file name with a character that Windows does not allow");
    }
    // Whatever cannot be seen now may be a log file later.
    let metadata = fs::metadata(path).ok()?;
    if metadata.is_dir() {
        return Some("a directory");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;

        if metadata.file_type().is_socket() {
            return Some("a socket");
        }
        if metadata.file_type().is_block_device() {
            return Some("a block device");
        }
    }
    None
}

/// Returns the length of the name that the file at `path` has, or would have, once links are
/// followed, and how long a name may be in its directory. Only looks.
pub(crate) fn name_length(path: &Path) -> (usize, usize) {
    /// Where it cannot be asked: the limit of nearly every file system.
    const USUAL: usize = 255;

    let real = fs::canonicalize(path).ok();
    let path = real.as_deref().unwrap_or(path);
    let name = path.file_name().unwrap_or_default();
    #[cfg(unix)]
    {
        let parents = path.ancestors().skip(1);
        let limit = parents.filter_map(|parent| rustix::fs::statvfs(parent).ok()).map(|answer| answer.f_namemax).next();
        (name.len(), limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0).unwrap_or(USUAL))
    }
    #[cfg(not(unix))]
    (name.to_string_lossy().encode_utf16().count(), USUAL)
}

/// Whether two absolute paths lead, or would lead, to one file. Only looks.
pub(crate) fn same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;

        if let (Ok(one), Ok(other)) = (fs::metadata(one), fs::metadata(other)) {
            return (one.dev(), one.ino()) == (other.dev(), other.ino());
        }
    }
    #[cfg(windows)]
    if let Some(lead_to_one) = dir::lead_to_one(one, other) {
        return lead_to_one;
    }
    // A file that is not there yet is known by its directory, or by its plain path if that is
    // missing too.
    let plain = |path: &Path| {
        let name = path.file_name()?;
        Some(path.parent()?.canonicalize().ok()?.join(name))
    };
    plain(one).as_deref().unwrap_or(one) == plain(other).as_deref().unwrap_or(other)
}
