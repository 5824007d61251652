//! The Windows half of the disk. Runs on the writer's thread, except `unfit_path`, which
//! opens and reads nothing.

mod dir;
mod stream;

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Seek as _, Write as _};
use std::os::windows::fs::FileExt as _;
use std::path::{Component, Path, Prefix};

use super::{Dir as _, FreeSpace, RealFile, Size, Stream};
use crate::os::windows as os;

#[cfg(feature = "gzip")]
pub(super) use dir::Access;
pub(crate) use dir::RealDir;
pub(super) use dir::{KnownWay, Lock, id, lead_to_one, point, really_at};
pub(crate) use stream::RealStream;
pub(super) use stream::duplicate;

/// A stream gets at most this many bytes at once.
pub(crate) const ATOMIC_WRITE: usize = 4096;

/// The rights of the directory say who may create files in it: all of them are ours.
pub(super) fn list_ours(active: &Path, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
    let entries = std::fs::read_dir(active.parent().unwrap_or(Path::new(".")))?.flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    Ok(files.map(|entry| entry.file_name()).filter(|name| wanted(name)).collect())
}

/// Deletes an empty file or an empty directory. Files have no owners as on Unix.
pub(super) fn remove_empty(path: &Path, _owner: Option<u32>) -> io::Result<()> {
    match std::fs::symlink_metadata(path)? {
        found if found.is_dir() => std::fs::remove_dir(path),
        found if found.is_file() && found.len() == 0 => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// An open file. No program closes handles that it does not know.
pub(super) type Held = File;

pub(super) fn hold(file: File) -> Held {
    file
}

pub(super) fn hold_copy(file: File) -> Held {
    file
}

pub(super) fn held(file: &Held) -> io::Result<&File> {
    Ok(file)
}

/// The file is about to be cut.
pub(super) fn before_cut() {}

/// The handle may also cut the file, so each write says itself that it appends.
pub(super) fn append(file: &mut RealFile, bytes: &[u8]) -> io::Result<usize> {
    const AT_THE_END: u64 = u64::MAX;

    match &file.place {
        Some(_) => file.file.seek_write(bytes, AT_THE_END),
        None => file.file.write(bytes),
    }
}

/// Leaves the place of the last write as it is.
pub(super) fn read_at(mut file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let place = file.stream_position()?;
    let result = file.seek_read(bytes, at);
    file.seek(io::SeekFrom::Start(place))?;
    result
}

/// Returns whether the handle leads to a regular file.
pub(super) fn is_regular(file: &File) -> io::Result<bool> {
    if !os::is_on_disk(file) {
        return Ok(false);
    }
    if os::is_directory(file)? { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(true) }
}

/// A stream has one handle, which others share.
pub(super) fn open_again(_stream: Stream) -> Option<File> {
    None
}

/// A console has to be asked first. A pipe that a terminal of another kind reads is none.
pub(super) fn shows_colors(stream: Stream) -> bool {
    stream::duplicate(stream).and_then(|console| os::show_colors(&console)).is_ok()
}

/// Opens what somebody edits.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(super) fn sync(file: &File, way: fn(&File) -> io::Result<()>) -> io::Result<()> {
    way(file)
}

pub(super) fn size(file: &File) -> io::Result<Size> {
    let (len, allocated) = os::size(file)?;
    Ok(Size { len, allocated })
}

pub(super) fn free_space(file: &RealFile) -> io::Result<FreeSpace> {
    let (dir, _) = file.place.as_ref().ok_or(io::ErrorKind::Unsupported)?;
    let (total, free, block) = os::free_space(dir.path())?;
    Ok(FreeSpace { total, free, block })
}

/// No file system here shows freed space late.
pub(super) fn commit_freed(_file: &File) -> io::Result<bool> {
    Ok(false)
}

/// Whatever else is there may be a log file.
pub(super) fn unfit(_metadata: &Metadata) -> Option<&'static str> {
    None
}

/// Returns why a log file can never have this path, if it cannot.
pub(super) fn unfit_path(path: &Path) -> Option<&'static str> {
    // In a verbatim path a slash separates nothing.
    let is_refused = |byte: &u8| *byte < b' ' || b"<>:\"|?*/".contains(byte);
    let is_unfit = |part: Component<'_>| match part {
        Component::Normal(name) => name.as_encoded_bytes().iter().any(is_refused),
        _ => false,
    };
    if path.components().any(is_unfit) {
        return Some("a name with a character that Windows does not allow");
    }
    // The system decides which names are those of devices: `CON`, and on many versions `aux.log` in
    // any directory. Such a path has no file name.
    let absolute = std::path::absolute(path).ok()?;
    if absolute.file_name().is_some() {
        return None;
    }
    match absolute.components().next() {
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::DeviceNS(_)) => Some("the name of a device"),
        _ => Some("a path without the name of a file"),
    }
}

/// Returns whether two paths of files that are not there yet would be one: names do not differ by
/// case.
pub(super) fn is_one_path(one: &Path, other: &Path) -> bool {
    let folded = |path: &Path| path.to_string_lossy().to_lowercase();
    folded(one) == folded(other)
}

/// Returns the length of a name, in the unit of its limit.
pub(super) fn name_length(name: &OsStr) -> usize {
    name.to_string_lossy().encode_utf16().count()
}

/// Nobody is asked: the limit is that of nearly every file system.
pub(super) fn longest_name(_dir: &Path) -> Option<usize> {
    None
}

/// Blocks beyond the end of a file: none are taken here.
pub(super) mod preallocate {
    use std::fs::File;
    use std::io;

    pub(in crate::disk) fn is_known_to_work(_file: &File) -> bool {
        false
    }

    pub(in crate::disk) fn take(_file: &File, _from: u64, _to: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
