//! A directory of Windows, known by its path: there, names cannot be taken in an open directory,
//! and a directory with an open file in it cannot be renamed. Runs on the writer's thread.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::disk::{Dir, Entry, FileId, Opened, PathState, RealFile, RealStream, Rights};
use crate::os::windows as os;

/// What is only looked at is opened with no right to its content, so that nobody who has it open
/// forbids that.
const LOOK: u32 = 0;
/// `FILE_FLAG_BACKUP_SEMANTICS`: also opens a directory.
const DIRECTORIES_TOO: u32 = 0x0200_0000;
/// `FILE_FLAG_OPEN_REPARSE_POINT`: a symbolic link itself, not what it leads to.
const LINKS_THEMSELVES: u32 = 0x0020_0000;

/// A directory.
#[derive(Clone, Debug)]
pub(crate) struct RealDir(PathBuf);

/// What is known of the way to a directory: nothing is asked of it.
#[derive(Clone, Debug, Default)]
pub(in crate::disk) struct KnownWay {}

impl KnownWay {
    pub(in crate::disk) fn add(&mut self, _other: &Self) {}
}

/// The directory says who may do what with a file.
#[cfg(feature = "gzip")]
#[derive(Clone, Debug)]
pub(in crate::disk) struct Access;

#[cfg(feature = "gzip")]
impl Access {
    pub(in crate::disk) fn of(_file: &File) -> io::Result<Self> {
        Ok(Self)
    }
}

impl RealDir {
    /// Makes what is missing, too.
    pub(in crate::disk) fn make(path: &Path, _known: &KnownWay) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self(path.to_owned()))
    }

    pub(in crate::disk) fn known(&self) -> &KnownWay {
        &KnownWay {}
    }

    /// Returns where the file at `path` really is, or would be. A file that is there has the name
    /// by which its directory lists it, from which those of its archives are made: `path` may name
    /// it in another case, or by its short name.
    pub(in crate::disk) fn locate(path: &Path, _known: &KnownWay) -> io::Result<(Self, OsString)> {
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let real = fs::canonicalize(path).ok();
        let path = real.as_deref().filter(|_| is_link).unwrap_or(path);
        let listed = real.as_deref().and_then(Path::file_name).or(path.file_name());
        let name = listed.ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((Self(parent.to_owned()), name))
    }

    /// Opens what may be a log file, and creates it if it is missing. Whoever may only append gets
    /// a handle that can do no more.
    pub(in crate::disk) fn open_log(
        &self,
        name: &OsStr,
        _rights: Rights,
        _is_archive: &dyn Fn(&OsStr) -> bool,
    ) -> io::Result<Opened<RealFile, RealStream>> {
        let path = self.0.join(name);
        let try_to = |read, write| OpenOptions::new().read(read).write(write).append(!write).create(true).open(&path);
        let is_denied = |result: &io::Result<File>| {
            result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        let (mut result, mut readable) = (try_to(true, true), true);
        for write in [true, false] {
            if is_denied(&result) {
                (result, readable) = (try_to(false, write), false);
            }
        }
        let file = result?;
        Ok(match super::is_regular(&file)? {
            true => Opened::File(RealFile::in_dir(self, name, file, readable)),
            false => Opened::Stream(RealStream::own(file)),
        })
    }

    pub(in crate::disk) fn create_next(&self, name: &OsStr, _old: &RealFile, _rights: Rights) -> io::Result<RealFile> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.0.join(name))?;
        Ok(RealFile::in_dir(self, name, file, true))
    }

    /// Takes the lock on the log itself: one byte beyond its end, for which a handle that reads is
    /// enough.
    pub(in crate::disk) fn lock(&self, _active: &OsStr, log: &File) -> io::Result<Option<Lock>> {
        Ok(os::lock(log)?.then_some(Lock(())))
    }

    /// Returns whether the file that was opened at `path` is still there.
    pub(in crate::disk) fn check_path(&self, _name: &OsStr, file: &RealFile, path: &Path) -> io::Result<PathState> {
        if os::is_deleted(&file.file)? {
            return Ok(PathState::Deleted);
        }
        match look_at(path, DIRECTORIES_TOO).and_then(|found| may_be_same(&found, &file.file)) {
            Ok(true) => Ok(PathState::Same),
            Ok(false) => Ok(PathState::Moved),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(PathState::Moved),
            Err(error) => Err(error),
        }
    }

    /// Opens a file of the log to read it. Its content may be stored elsewhere (deduplicated, or in
    /// a cloud): only a handle that follows reparse points leads there.
    #[cfg(feature = "gzip")]
    pub(in crate::disk) fn open_ours(&self, name: &OsStr, _log: &Access) -> io::Result<RealFile> {
        let path = self.0.join(name);
        let named = look_at(&path, LINKS_THEMSELVES)?;
        if !named.metadata()?.is_file() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let file = File::open(path)?;
        if !may_be_same(&named, &file)? {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(RealFile::in_dir(self, name, file, true))
    }

    #[cfg(feature = "gzip")]
    pub(in crate::disk) fn create_private(&self, name: &OsStr) -> io::Result<RealFile> {
        let file = OpenOptions::new().write(true).create_new(true).open(self.0.join(name))?;
        Ok(RealFile::in_dir(self, name, file, false))
    }

    #[cfg(feature = "gzip")]
    pub(in crate::disk) fn exists(&self, name: &OsStr) -> bool {
        fs::symlink_metadata(self.0.join(name)).is_ok()
    }
}

/// A lock on the open log.
#[derive(Debug)]
pub(crate) struct Lock(());

impl Lock {
    pub(in crate::disk) fn is_held(&self) -> bool {
        true
    }

    /// It belongs to the open file, and cannot be handed over.
    pub(in crate::disk) fn is_of(&self, _dir: &RealDir, _active: &OsStr) -> bool {
        false
    }

    pub(in crate::disk) fn release(self, log: &File) {
        let _ = os::unlock(log); // Closing it gives it back as well.
    }
}

#[cfg(feature = "gzip")]
impl RealFile {
    /// Whoever may read the directory's other files may read this one: it has got their access
    /// rights from the directory.
    pub(in crate::disk) fn be_readable_as(&self, _source: &Access, _log: &Access) -> io::Result<()> {
        Ok(())
    }
}

/// Opens whatever is at `path`, without access to its content.
fn look_at(path: &Path, flags: u32) -> io::Result<File> {
    OpenOptions::new().access_mode(LOOK).custom_flags(flags).open(path)
}

/// Returns whether two handles are of one file. A volume without a number is any. `Unsupported` if
/// one of the files has no number.
fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (os::file_id(one)?, os::file_id(other)?);
    Ok(one.1 == other.1 && (one.0 == other.0 || one.0 == 0 || other.0 == 0))
}

/// Returns whether two handles are of one file, as far as that can be known: files without numbers
/// may be.
fn may_be_same(one: &File, other: &File) -> io::Result<bool> {
    match is_same(one, other) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
        known => known,
    }
}

/// Returns whether two paths lead to one file, where both can be seen and files have numbers.
pub(in crate::disk) fn lead_to_one(one: &Path, other: &Path) -> Option<bool> {
    is_same(&look_at(one, DIRECTORIES_TOO).ok()?, &look_at(other, DIRECTORIES_TOO).ok()?).ok()
}

/// Distinguishes open files; the same as in a listing.
pub(in crate::disk) fn id(file: &File) -> Option<FileId> {
    os::file_id(file).ok()
}

/// Returns where the file at `path` really is, with its own name. A directory keeps the form that
/// was given: few programs take the verbatim one.
pub(in crate::disk) fn really_at(path: &Path) -> io::Result<PathBuf> {
    RealDir::locate(path, &KnownWay {}).map(|(dir, name)| dir.0.join(name))
}

pub(in crate::disk) fn point(_link: &Path, _target: &Path, _random: u32, _known: &mut KnownWay) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Dir for RealDir {
    type File = RealFile;

    fn path(&self) -> &Path {
        &self.0
    }

    /// Never: while a file has two names, and somebody has it open who forbids its deletion,
    /// neither name can be taken back, and no other file can take over one of them. Whoever rotates
    /// renames instead.
    fn link(&mut self, _from: &OsStr, _to: &OsStr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn rename_new(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        os::rename_new(&self.0.join(from), &self.0.join(to))
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn names(&mut self, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            if wanted(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The file itself is asked: a listing may lag what was written. What is gone by now is not
    /// there.
    fn look(&mut self, _log: &RealFile, name: &OsStr) -> io::Result<Option<Entry>> {
        let file = match look_at(&self.0.join(name), LINKS_THEMSELVES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let (bytes, modified) = (metadata.len(), metadata.modified()?);
        Ok(Some(Entry { name: name.to_owned(), bytes, modified, id: id(&file), is_doubtful: false }))
    }

    /// The file system's journal has the names.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn check_name(&mut self, name: &OsStr, file: &RealFile) -> io::Result<PathState> {
        let state = match look_at(&self.0.join(name), LINKS_THEMSELVES | DIRECTORIES_TOO) {
            Ok(found) if may_be_same(&found, &file.file)? => PathState::Same,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ if os::is_deleted(&file.file)? => PathState::Deleted,
            _ => PathState::Moved,
        };
        Ok(state)
    }
}
