//! A directory that is opened once: everything in it is done relative to its descriptor. Runs on
//! the writer's thread. `walk.rs` leads there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use crate::disk::{Dir, Entry, FileId, PathState, RealFile};
use crate::os::Descriptor;

#[cfg(feature = "gzip")]
use super::access::Access;
use super::access::id_of;
use super::between;
use super::walk::{KnownWay, MOST_LINKS, Trusted, Walker, read_link, untrusted};

mod link;
mod open;

pub(in crate::disk) use link::point;

/// An open directory; clones share the descriptor.
#[derive(Clone, Debug)]
pub(crate) struct RealDir(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    fd: Descriptor<OwnedFd>,
    path: PathBuf,
    /// The root directory when it was opened: after a `chroot` its path means something else.
    root: FileId,
    known: KnownWay,
}

/// Distinguishes open files; the same as in a listing.
pub(in crate::disk) fn id(file: &File) -> Option<FileId> {
    Some(id_of(&fstat(file).ok()?))
}

/// Opens what one of the process's own streams leads to a second time: a description of our own.
pub(in crate::disk) fn open_again(path: impl rustix::path::Arg) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(above_streams(openat(CWD, path, flags, Mode::empty())?)?.into())
}

fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Returns the descriptor under a number that belongs to none of the program's streams, which may
/// be closed.
fn above_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    const FIRST: i32 = 3;

    if fd.as_raw_fd() >= FIRST { Ok(fd) } else { Ok(rustix::io::fcntl_dupfd_cloexec(&fd, FIRST)?) }
}

/// Distinguishes the log's own files from planted ones, by what they are and not by their names.
///
/// An archive is a regular file that is owned by our effective user or by the owner of the log; in
/// a sticky directory by the owner of the log alone. So a file that somebody plants there under an
/// archive's name belongs to that user: it is not listed, counted, deleted or compressed, unless
/// the log belongs to the same user, who could do all that anyway. A second name that somebody
/// gives to a file of the log's owner makes the file doubtful in a sticky directory.
pub(in crate::disk) fn is_ours(stat: &Stat, log: u32, dir: &Stat) -> bool {
    let us = rustix::process::geteuid().as_raw();
    type_of(stat) == FileType::RegularFile && (stat.st_uid == log || !is_sticky(dir) && stat.st_uid == us)
}

/// Returns true if everybody may create files in the directory and delete only their own, as in
/// `/tmp`.
fn is_sticky(dir: &Stat) -> bool {
    Mode::from_raw_mode(dir.st_mode).contains(Mode::SVTX)
}

impl RealDir {
    /// Opens the directory at `path`, where nothing but safe steps lead there.
    pub(in crate::disk) fn open(path: &Path, known: &KnownWay) -> io::Result<Self> {
        Self::walk(path, known, false)
    }

    /// Opens it, and makes the directories that are missing.
    pub(in crate::disk) fn make(path: &Path, known: &KnownWay) -> io::Result<Self> {
        Self::walk(path, known, true)
    }

    fn walk(path: &Path, known: &KnownWay, makes: bool) -> io::Result<Self> {
        let mut walker = Walker::new(path, known, makes)?;
        walker.go(path)?;
        let fd = above_streams(walker.at)?;
        let root = id_of(&statat(CWD, c"/", AtFlags::empty())?);
        let mut known = walker.known;
        known.again = true;
        let fd = Descriptor::new(fd);
        Ok(Self(Arc::new(Handle { fd, path: path.to_owned(), root, known })))
    }

    /// Returns what is known of the way to it.
    pub(in crate::disk) fn known(&self) -> &KnownWay {
        &self.0.known
    }

    /// Returns where the file at `path` really is, or would be. A symbolic link in its place is
    /// followed only if it is ours or root's.
    pub(in crate::disk) fn locate(path: &Path, known: &KnownWay) -> io::Result<(Self, OsString)> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let dir = Self::open(parent, known)?;
            let found = match dir.stat(&name) {
                Err(Errno::NOENT) => return Ok((dir, name)),
                other => other?,
            };
            if type_of(&found) != FileType::Symlink || dir.is_magic(&name) {
                return Ok((dir, name));
            }
            let (link, target) = read_link(dir.fd()?, &name)?;
            if !Trusted::new()?.trusts_link(&link, &fstat(dir.fd()?)?) {
                return Err(untrusted(&path));
            }
            path = parent.join(target);
            if dir.is_proc() {
                let (is, said) = (statat(dir.fd()?, &name, AtFlags::empty())?, statat(CWD, &path, AtFlags::empty()));
                if said.map_or(true, |said| id_of(&said) != id_of(&is)) {
                    return Err(open::never("a file of a descriptor that no path leads to"));
                }
            }
        }
        Err(Errno::LOOP.into())
    }

    /// `/dev/stdout` ends in a link of `/proc` whose text is no path, unless it leads to a regular
    /// file that has a name.
    fn is_magic(&self, name: &OsStr) -> bool {
        self.is_proc()
            && self
                .fd()
                .and_then(|dir| statat(dir, name, AtFlags::empty()))
                .is_ok_and(|found| type_of(&found) != FileType::RegularFile)
    }

    #[cfg(target_os = "linux")]
    fn is_proc(&self) -> bool {
        const PROC: u64 = 0x9fa0;

        self.fd().and_then(rustix::fs::fstatfs).is_ok_and(|answer| answer.f_type as u64 & 0xffff_ffff == PROC)
    }

    #[cfg(not(target_os = "linux"))]
    fn is_proc(&self) -> bool {
        false
    }

    /// Returns the descriptor of the directory.
    ///
    /// # Errors
    ///
    /// The program has closed it, or has put another directory in its place.
    pub(in crate::disk) fn fd(&self) -> rustix::io::Result<BorrowedFd<'_>> {
        self.0.fd.ours().map(AsFd::as_fd).map_err(|_| Errno::BADF)
    }

    pub(in crate::disk) fn stat(&self, name: &OsStr) -> rustix::io::Result<Stat> {
        between::steps();
        statat(self.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Returns what is at `name` in this directory, if it is the log's own. A link is not followed,
    /// and a file that is gone by now is not returned.
    fn entry(&self, name: &OsStr, owner: u32, log: Option<FileId>, dir: &Stat) -> io::Result<Option<Entry>> {
        match self.stat(name) {
            Ok(stat) if is_ours(&stat, owner, dir) => Ok(Some(Entry {
                name: name.to_owned(),
                bytes: u64::try_from(stat.st_size).unwrap_or(0),
                modified: modified(&stat),
                id: Some(id_of(&stat)),
                is_doubtful: is_sticky(dir) && stat.st_nlink > 1 && Some(id_of(&stat)) != log,
            })),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_in_another_root(&self) -> bool {
        statat(CWD, c"/", AtFlags::empty()).is_ok_and(|root| id_of(&root) != self.0.root)
    }

    pub(in crate::disk) fn open_file(&self, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        between::steps();
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        above_streams(openat(self.fd()?, name, flags, mode)?)
    }

    /// Lists the files that are ours, next to a log of `owner`, and whose names are `wanted`.
    pub(in crate::disk) fn list_next_to(
        &self,
        owner: u32,
        log: Option<FileId>,
        wanted: &dyn Fn(&OsStr) -> bool,
    ) -> io::Result<Vec<Entry>> {
        let dir = fstat(self.fd()?)?;
        let mut entries = Vec::new();
        for name in self.names(wanted)? {
            entries.extend(self.entry(&name, owner, log, &dir)?);
        }
        Ok(entries)
    }

    /// Lists the names in the directory that are `wanted`.
    pub(in crate::disk) fn names(&self, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
        let fd = self.open_file(OsStr::new("."), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if wanted(name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    #[cfg(feature = "gzip")]
    pub(in crate::disk) fn exists(&self, name: &OsStr) -> bool {
        self.stat(name).is_ok()
    }

    /// Removes what was just created if it cannot be what it has to be. The error that is reported
    /// is the first one.
    fn or_remove<T>(&self, name: &OsStr, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            between::steps();
            let _ = self.fd().and_then(|dir| rustix::fs::unlinkat(dir, name, AtFlags::empty()));
        }
        result
    }

    /// Returns whether the file that was opened at `path` is still there.
    ///
    /// # Errors
    ///
    /// The file is in its directory, and goes on. Either another directory is at the path, and the
    /// way to it is not safe; or there is none (`NotFound`).
    pub(in crate::disk) fn check_path(&self, name: &OsStr, file: &RealFile, path: &Path) -> io::Result<PathState> {
        let ours = fstat(&file.file)?;
        let is_same = |found: &Stat| id_of(found) == id_of(&ours);
        let found = self.stat(name);
        let in_place = found.is_ok_and(|found| is_same(&found));
        between::steps();
        let at_path = statat(CWD, path, AtFlags::empty()).is_ok_and(|found| is_same(&found));
        if in_place && (at_path || self.is_in_another_root()) {
            return Ok(PathState::Same);
        }
        let elsewhere = if ours.st_nlink == 0 { PathState::Deleted } else { PathState::Moved };
        match Self::locate(path, &self.0.known) {
            Ok(_) => Ok(elsewhere),
            // The program has dropped the right to look into the directory.
            Err(_) if found.is_err_and(|error| error == Errno::ACCESS) && ours.st_nlink > 0 => Ok(PathState::Same),
            Err(_) if !in_place => Ok(elsewhere),
            Err(error) if error.raw_os_error().is_none() || error.kind() == io::ErrorKind::NotFound => Err(error),
            // The file cannot be seen at the path, and still exists.
            Err(_) => Ok(PathState::Same),
        }
    }
}

#[cfg(feature = "gzip")]
impl RealFile {
    /// Gives a compressed archive the owner of `source` and its permissions to read and write, but
    /// none that `log` has not.
    pub(in crate::disk) fn be_readable_as(&self, source: &Access, log: &Access) -> io::Result<()> {
        source.clone().without_execute().no_more_than(log).give_to(&self.file, None).map(drop)
    }
}

/// Deletes what is empty, and ours or `owner`'s. Links are not followed.
pub(in crate::disk) fn remove_empty(path: &Path, owner: Option<u32>) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let dir = RealDir::open(parent, &KnownWay::default())?;
    let found = dir.stat(name)?;
    let us = rustix::process::geteuid().as_raw();
    let flags = match type_of(&found) {
        _ if found.st_uid != us && Some(found.st_uid) != owner => return Ok(()),
        FileType::Directory => AtFlags::REMOVEDIR,
        FileType::Symlink => AtFlags::empty(),
        FileType::RegularFile if found.st_size == 0 => AtFlags::empty(),
        _ => return Ok(()),
    };
    Ok(rustix::fs::unlinkat(dir.fd()?, name, flags)?)
}

impl Dir for RealDir {
    type File = RealFile;

    fn path(&self) -> &Path {
        &self.0.path
    }

    fn link(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        between::steps();
        match rustix::fs::linkat(self.fd()?, from, self.fd()?, to, AtFlags::empty()) {
            // exFAT and SMB on macOS, where std has no kind for it.
            Err(Errno::NOTSUP) => Err(io::ErrorKind::Unsupported.into()),
            other => Ok(other?),
        }
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        between::steps();
        Ok(rustix::fs::renameat(self.fd()?, from, self.fd()?, to)?)
    }

    fn rename_new(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            use rustix::fs::{RenameFlags, renameat_with};

            between::steps();
            match renameat_with(self.fd()?, from, self.fd()?, to, RenameFlags::NOREPLACE) {
                // A kernel, or a file system, that does not know the flag.
                Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {}
                other => return other.map_err(io::Error::from),
            }
        }
        // Not in one step: a file that somebody makes between the look and the renaming is not
        // seen.
        match self.stat(to) {
            Err(Errno::NOENT) => self.rename(from, to),
            Err(error) => Err(error.into()),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        between::steps();
        Ok(rustix::fs::unlinkat(self.fd()?, name, AtFlags::empty())?)
    }

    fn names(&mut self, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
        RealDir::names(self, wanted)
    }

    fn look(&mut self, log: &RealFile, name: &OsStr) -> io::Result<Option<Entry>> {
        let log = fstat(&log.file)?;
        self.entry(name, log.st_uid, Some(id_of(&log)), &fstat(self.fd()?)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        let fd = self.open_file(OsStr::new("."), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(rustix::fs::fsync(fd)?)
    }

    fn check_name(&mut self, name: &OsStr, file: &RealFile) -> io::Result<PathState> {
        let ours = fstat(&file.file)?;
        match self.stat(name) {
            Ok(there) if id_of(&there) == id_of(&ours) => Ok(PathState::Same),
            Err(error) if error != Errno::NOENT => Err(error.into()),
            _ if ours.st_nlink == 0 => Ok(PathState::Deleted),
            _ => Ok(PathState::Moved),
        }
    }
}

fn modified(stat: &Stat) -> SystemTime {
    // The types differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    let (seconds, nanos) = (stat.st_mtime as i64, stat.st_mtime_nsec as u32);
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = match seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(whole),
        _ => SystemTime::UNIX_EPOCH.checked_sub(whole),
    };
    second.and_then(|second| second.checked_add(Duration::from_nanos(nanos.into()))).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::{Opened, Rights};

    fn open(path: &Path) -> RealDir {
        RealDir::open(path, &KnownWay::default()).unwrap()
    }

    #[test]
    fn whatever_stands_at_a_name_is_not_renamed_over() {
        let temporary = tempfile::tempdir().unwrap();
        let (from, to) = (temporary.path().join("from"), temporary.path().join("to"));
        let mut dir = open(temporary.path());
        fs::write(&from, "from").unwrap();
        let stand: [fn(&Path); 3] = [
            |to| fs::write(to, "to").unwrap(),
            |to| fs::create_dir(to).unwrap(),
            |to| std::os::unix::fs::symlink("/nowhere", to).unwrap(),
        ];
        for (case, stand) in stand.into_iter().enumerate() {
            stand(&to);
            let error = dir.rename_new(OsStr::new("from"), OsStr::new("to")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "case {case}");
            assert_eq!(fs::read_to_string(&from).unwrap(), "from");
            fs::remove_file(&to).or_else(|_| fs::remove_dir(&to)).unwrap();
        }
        dir.rename_new(OsStr::new("from"), OsStr::new("to")).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "from");
        assert!(!from.exists());
    }

    /// The link says `/tmp/x/log (deleted)`, and a file of that name was created.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_link_of_proc_to_a_file_without_a_name_is_not_followed_by_its_text() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("log");
        let opened = File::create(&file).unwrap();
        let link = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        let (_, name) = RealDir::locate(&link, &KnownWay::default()).unwrap();
        assert_eq!(name, "log");
        fs::remove_file(&file).unwrap();
        let error = RealDir::locate(&link, &KnownWay::default()).unwrap_err();
        assert!(error.to_string().contains("no path leads to"), "{error}");
        // Nor if somebody has put another file there.
        fs::write(temporary.path().join("log (deleted)"), "").unwrap();
        assert!(RealDir::locate(&link, &KnownWay::default()).is_err());
    }

    #[test]
    fn only_regular_files_are_listed_and_a_link_is_none() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        fs::write(path.join("file"), "12345").unwrap();
        fs::write(path.join("other"), "").unwrap();
        fs::create_dir(path.join("a directory")).unwrap();
        std::os::unix::fs::symlink(path.join("file"), path.join("a link")).unwrap();
        let mut dir = open(path);
        let Opened::File(log) = dir.open_log(OsStr::new("other"), Rights::default(), &|_| false).unwrap() else {
            panic!("no file")
        };
        let names = Dir::names(&mut dir, &|name| name != "other").unwrap();
        let listed: Vec<_> = names.iter().filter_map(|name| dir.look(&log, name).unwrap()).collect();
        assert_eq!(
            listed.iter().map(|entry| (entry.name.as_os_str(), entry.bytes)).collect::<Vec<_>>(),
            [("file".as_ref(), 5)]
        );
        assert_eq!(listed[0].id, id(&File::open(path.join("file")).unwrap()));
        assert_eq!(listed[0].modified, fs::metadata(path.join("file")).unwrap().modified().unwrap());
    }

    /// A pipe would keep the thread that compresses for ever, in `open`.
    #[cfg(feature = "gzip")]
    #[test]
    fn what_is_no_file_of_ours_is_not_opened_as_an_archive() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        fs::write(path.join("file"), "").unwrap();
        let log = Access::of(File::open(path.join("file")).unwrap()).unwrap();
        fs::create_dir(path.join("directory")).unwrap();
        std::os::unix::fs::symlink("file", path.join("link")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path.join("pipe")).status();
        assert!(made.unwrap().success());
        fs::write(path.join("two names"), "").unwrap();
        fs::hard_link(path.join("two names"), path.join("the other")).unwrap();
        let dir = open(path);
        for name in ["directory", "link", "pipe", "two names", "the other"] {
            let error = dir.open_ours(OsStr::new(name), &log).map(drop).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{name}");
        }
        // Nor does it hang if the pipe comes between the look and the opening.
        let opened = dir.open_file(OsStr::new("pipe"), OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
        assert!(opened.is_ok_and(|fd| fd.as_raw_fd() > 2));
        assert!(dir.open_ours(OsStr::new("file"), &log).is_ok());
    }

    /// It may have come between two looks: whose it is, `locate` asks.
    #[test]
    fn a_link_is_not_opened_as_a_log_whosever_it_is() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", temporary.path().join("app.log")).unwrap();
        let dir = open(temporary.path());
        let error = dir.open_log(OsStr::new("app.log"), Rights::default(), &|_| false).map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn a_directory_that_is_renamed_is_still_the_same() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("logs");
        fs::create_dir(&path).unwrap();
        let (mut dir, name) = RealDir::locate(&path.join("app.log"), &KnownWay::default()).unwrap();
        let Opened::File(file) = dir.open_log(&name, Rights::default(), &|_| false).unwrap() else { panic!("no file") };
        let look = |dir: &RealDir| dir.check_path(&name, &file, &path.join("app.log"));
        let check = |dir: &RealDir| look(dir).unwrap();
        assert_eq!(check(&dir), PathState::Same);
        fs::rename(&path, temporary.path().join("elsewhere")).unwrap();
        let error = look(&dir).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "it is gone from the path, and alive");
        fs::create_dir(&path).unwrap();
        assert_eq!(check(&dir), PathState::Moved, "another one is there");
        dir.remove(&name).unwrap();
        assert_eq!(check(&dir), PathState::Deleted);
    }
}
