//! The Unix half of the disk. Runs on the writer's thread, except `unfit_path`, which
//! opens and reads nothing.

mod access;
pub(crate) mod between;
mod dir;
mod lock;
pub(super) mod preallocate;
mod stream;
mod walk;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{FreeSpace, RealFile, Size, Stream};
use crate::os::Descriptor;

#[cfg(feature = "gzip")]
pub(super) use access::Access;
pub(crate) use dir::RealDir;
pub(super) use dir::{id, point, remove_empty};
pub(super) use lock::Lock;
pub(crate) use stream::RealStream;
pub(super) use stream::duplicate;
pub(super) use walk::KnownWay;

/// A write of at most this many bytes into a pipe is whole or not at all.
pub(crate) const ATOMIC_WRITE: usize = rustix::pipe::PIPE_BUF;

/// An open file whose number the program may have taken away.
pub(super) type Held = Descriptor;

pub(super) fn hold(file: File) -> Held {
    Descriptor::new(file)
}

/// Holds a copy of a descriptor of the program.
pub(super) fn hold_copy(file: File) -> Held {
    Descriptor::shared(file)
}

/// Returns the file, to be changed.
///
/// # Errors
///
/// It is no longer at its number, because the program has closed the number.
pub(super) fn held(file: &Held) -> io::Result<&File> {
    file.ours()
}

/// The descriptor was opened for appending.
pub(super) fn append(file: &mut RealFile, bytes: &[u8]) -> io::Result<usize> {
    file.file.ours()?.write(bytes)
}

/// The file is about to be cut.
pub(super) fn before_cut() {
    between::steps();
}

/// Leaves the place of the last write as it is.
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    file.read_at(bytes, at)
}

/// Returns whether the descriptor leads to a regular file.
pub(super) fn is_regular(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.is_file())
}

/// Opens a stream of the process again, where that makes a description of our own: by `/proc`, or,
/// if it is a terminal, by its name.
pub(super) fn open_again(stream: Stream) -> Option<File> {
    let number = stream::number(stream);
    let by_proc =
        if cfg!(target_os = "linux") { dir::open_again(format!("/proc/self/fd/{number}")).ok() } else { None };
    by_proc.or_else(|| match stream {
        Stream::Stderr => stream::open_terminal(&io::stderr()).ok(),
        Stream::Stdout => stream::open_terminal(&io::stdout()).ok(),
    })
}

/// Syncs a file by one of std's two ways. On macOS both are a call that some shares and file
/// systems do not know: there, `fsync` has to do.
#[cfg(target_vendor = "apple")]
pub(super) fn sync(file: &File, way: fn(&File) -> io::Result<()>) -> io::Result<()> {
    use rustix::io::Errno;

    match way(file) {
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOTSUP | Errno::NOTTY | Errno::INVAL)) => {
            Ok(rustix::fs::fsync(file)?)
        }
        other => other,
    }
}

#[cfg(not(target_vendor = "apple"))]
pub(super) fn sync(file: &File, way: fn(&File) -> io::Result<()>) -> io::Result<()> {
    way(file)
}

/// `TERM` has said whether it shows colours, and the environment is not read here.
pub(super) fn shows_colors(_terminal: Stream) -> bool {
    true
}

/// Opens what somebody edits.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options().read(true).custom_flags(flags.bits() as i32).open(path)
}

pub(super) fn size(file: &Held) -> io::Result<Size> {
    let metadata = file.metadata()?;
    // Whatever the file system's blocks are, these have 512 bytes.
    Ok(Size { len: metadata.len(), allocated: metadata.blocks().saturating_mul(512) })
}

/// macOS counts the blocks of `statvfs` in 32 bits, those of `statfs` in 64.
#[cfg(target_vendor = "apple")]
pub(super) fn free_space(file: &RealFile) -> io::Result<FreeSpace> {
    let answer = rustix::fs::fstatfs(&file.file)?;
    let block = u64::from(answer.f_bsize);
    Ok(FreeSpace { total: answer.f_blocks.saturating_mul(block), free: answer.f_bavail.saturating_mul(block), block })
}

#[cfg(not(target_vendor = "apple"))]
pub(super) fn free_space(file: &RealFile) -> io::Result<FreeSpace> {
    let answer = rustix::fs::fstatvfs(&file.file)?;
    let block = answer.f_frsize;
    Ok(FreeSpace { total: answer.f_blocks.saturating_mul(block), free: answer.f_bavail.saturating_mul(block), block })
}

/// Commits a file system that shows freed space only then, by its number in `linux/magic.h`, or in
/// the source of OpenZFS.
#[cfg(target_os = "linux")]
pub(super) fn commit_freed(file: &File) -> io::Result<bool> {
    const BTRFS: u32 = 0x9123_683e;
    const ZFS: u32 = 0x2fc1_2fc1;

    // The type differs from processor to processor; the number has 32 bits everywhere.
    #[allow(clippy::unnecessary_cast)]
    let kind = rustix::fs::fstatfs(file)?.f_type as u32;
    let is_late = matches!(kind, BTRFS | ZFS);
    if is_late {
        rustix::fs::syncfs(file)?;
    }
    Ok(is_late)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn commit_freed(_file: &File) -> io::Result<bool> {
    Ok(false)
}

/// Returns why what is there can never be a log file, if it cannot.
pub(super) fn unfit(metadata: &Metadata) -> Option<&'static str> {
    if metadata.file_type().is_socket() {
        return Some("a socket");
    }
    metadata.file_type().is_block_device().then_some("a block device")
}

/// A log file can have every path.
pub(super) fn unfit_path(_path: &Path) -> Option<&'static str> {
    None
}

/// Returns whether two paths of files that are not there yet would be one.
pub(super) fn is_one_path(one: &Path, other: &Path) -> bool {
    one == other
}

/// Returns the length of a name, in the unit of `longest_name`.
pub(super) fn name_length(name: &OsStr) -> usize {
    name.len()
}

/// Returns how long a name may be in a directory, where the file system says it.
pub(super) fn longest_name(dir: &Path) -> Option<usize> {
    let limit = usize::try_from(rustix::fs::statvfs(dir).ok()?.f_namemax).ok()?;
    (limit > 0).then_some(limit)
}

/// Returns where the file at `path` really is.
pub(super) fn really_at(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

pub(super) fn list_ours(active: &Path, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
    let (dir, name) = RealDir::locate(active, &KnownWay::default())?;
    // Next to a log that is not there yet, or no more, only our own are ours.
    let log = dir.stat(&name).ok();
    let owner = log.map_or_else(|| rustix::process::geteuid().as_raw(), |log| log.st_uid);
    let listed = dir.list_next_to(owner, log.as_ref().map(access::id_of), wanted)?;
    Ok(listed.into_iter().filter(|entry| !entry.is_doubtful).map(|entry| entry.name).collect())
}

/// Returns whether two paths lead to one file, where both can be seen.
pub(super) fn lead_to_one(one: &Path, other: &Path) -> Option<bool> {
    let (one, other) = (fs::metadata(one).ok()?, fs::metadata(other).ok()?);
    Some((one.dev(), one.ino()) == (other.dev(), other.ino()))
}
