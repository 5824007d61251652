//! Opens and creates the files of a log in its directory, and judges what is open. Runs on the
//! writer's thread.

use std::ffi::{CStr, OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, statat};
use rustix::io::Errno;

use crate::disk::{Opened, RealFile, RealStream, Rights};

use super::super::access::{Access, give_first, id_of};
use super::super::walk::Trusted;
#[cfg(feature = "gzip")]
use super::is_ours;
use super::{RealDir, type_of};

impl RealDir {
    /// Opens what may be a log file, for appending, and creates it if it is missing. What is open
    /// is judged again: it may have been exchanged after the first look. `is_archive`: whether a
    /// rotation that was ended by a kill may have left this name.
    pub(in crate::disk) fn open_log(
        &self,
        name: &OsStr,
        rights: Rights,
        is_archive: &dyn Fn(&OsStr) -> bool,
    ) -> io::Result<Opened<RealFile, RealStream>> {
        let found = match self.stat(name) {
            Err(Errno::NOENT) => match self.create_log(name, rights) {
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.stat(name)?,
                other => return other.map(Opened::File),
            },
            other => other?,
        };
        let is_regular = type_of(&found) == FileType::RegularFile;
        judge(&found)?;
        let is_link = type_of(&found) == FileType::Symlink;
        if is_link && !self.is_magic(name) {
            return Err(io::ErrorKind::Interrupted.into()); // The next attempt sees whose it is.
        }
        let nofollow = if is_link { OFlags::empty() } else { OFlags::NOFOLLOW };
        let append = OFlags::APPEND | nofollow;
        // A pipe opened for reading as well would be its own reader.
        let (fd, readable) = if is_regular {
            match self.open_file(name, OFlags::RDWR | append, Mode::empty()) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    (self.open_file(name, OFlags::WRONLY | append, Mode::empty())?, false)
                }
                other => (other?, true),
            }
        } else {
            (self.open_file(name, OFlags::WRONLY | append, Mode::empty())?, false)
        };
        let opened = fstat(&fd)?;
        judge(&opened)?;
        if type_of(&opened) == FileType::CharacterDevice && !is_harmless(&fd, &opened) {
            return Err(never("a device other than a terminal, `/dev/null` or `/dev/full`"));
        }
        if type_of(&opened) == FileType::RegularFile {
            if opened.st_nlink > 1 && self.may_be_foreign(&opened, is_archive) {
                return Err(never("a second name of another file"));
            }
            return Ok(Opened::File(RealFile::new(fd.into(), readable, Some((self.clone(), name.to_owned())))));
        }
        if readable {
            return Err(io::ErrorKind::Interrupted.into()); // The next attempt sees what it is.
        }
        Ok(Opened::Stream(RealStream::own(fd.into())))
    }

    /// Returns true if a file with several names may be anybody's: others can make names here, and
    /// not all of the file's names are those that a rotation leaves.
    fn may_be_foreign(&self, opened: &Stat, is_archive: &dyn Fn(&OsStr) -> bool) -> bool {
        // The type differs from system to system.
        #[allow(clippy::unnecessary_cast)]
        let all = opened.st_nlink as u64;
        let known = || {
            if !Trusted::new()?.is_open(&fstat(self.fd())?) {
                return Ok(all);
            }
            let is_it = |name: &&OsString| self.stat(name).is_ok_and(|found| id_of(&found) == id_of(opened));
            Ok::<_, io::Error>(1 + self.names(is_archive)?.iter().filter(is_it).count() as u64)
        };
        known().map_or(true, |known| known < all)
    }

    fn create_log(&self, name: &OsStr, rights: Rights) -> io::Result<RealFile> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        // From the first moment: whoever opens it in between would keep it.
        let fd = self.open_file(name, flags, Mode::from_raw_mode(rights.mode.unwrap_or(0o666) as _))?;
        let not_given = self.or_remove(name, give_first(&fd, (rights.owner, rights.group), rights.mode))?;
        let mut file = RealFile::new(fd.into(), true, Some((self.clone(), name.to_owned())));
        file.not_given = not_given;
        Ok(file)
    }

    /// Creates the file that follows `old`: with its owner, group, mode and access control list,
    /// where `rights` says nothing else, as far as we may give them.
    pub(in crate::disk) fn create_next(&self, name: &OsStr, old: &RealFile, rights: Rights) -> io::Result<RealFile> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mut access = Access::of(&old.file)?.without_execute();
        let fd = self.open_file(name, flags, Mode::RUSR | Mode::WUSR)?;
        access.user = rights.owner.unwrap_or(access.user);
        access.group = rights.group.unwrap_or(access.group);
        let not_given = self.or_remove(name, access.give_to(&fd, rights.mode))?;
        let mut file = RealFile::new(fd.into(), true, Some((self.clone(), name.to_owned())));
        // Nobody has asked for a mode or owner that is only inherited.
        file.not_given = not_given.filter(|_| rights.owner.is_some() || rights.group.is_some());
        Ok(file)
    }

    /// Opens an archive of `log` for reading, and nothing else: `Interrupted` if it is not ours, or
    /// has another name, under which it may be anybody's.
    #[cfg(feature = "gzip")]
    pub(in crate::disk) fn open_ours(&self, name: &OsStr, log: &Access) -> io::Result<RealFile> {
        let dir = fstat(self.fd())?;
        let is_ours = |stat: &Stat| is_ours(stat, log.user, &dir) && stat.st_nlink == 1;
        // Not even opened if it is a pipe or a device.
        if !is_ours(&self.stat(name)?) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let fd = self.open_file(name, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())?;
        if !is_ours(&fstat(&fd)?) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(RealFile::new(fd.into(), true, Some((self.clone(), name.to_owned()))))
    }

    /// Creates a file that nobody else may open, until it is whole.
    #[cfg(feature = "gzip")]
    pub(in crate::disk) fn create_private(&self, name: &OsStr) -> io::Result<RealFile> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = self.open_file(name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(RealFile::new(fd.into(), false, Some((self.clone(), name.to_owned()))))
    }
}

/// Refuses what is never a log file.
fn judge(stat: &Stat) -> io::Result<()> {
    match type_of(stat) {
        FileType::BlockDevice => Err(never("a block device")),
        FileType::Directory => Err(never("a directory")),
        FileType::Socket => Err(never("a socket")),
        _ => Ok(()),
    }
}

pub(super) fn never(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} is no log file"))
}

/// Returns true if a character device is a terminal, or takes everything, or nothing.
fn is_harmless(fd: &OwnedFd, opened: &Stat) -> bool {
    let is = |path: &CStr| statat(CWD, path, AtFlags::empty()).is_ok_and(|known| known.st_rdev == opened.st_rdev);
    fd.as_fd().is_terminal() || is(c"/dev/null") || is(c"/dev/full")
}
