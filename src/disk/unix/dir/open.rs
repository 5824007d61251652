//! Opens and creates the files of a log in its directory, and judges what is open. Runs on the
//! writer's thread.

use std::ffi::{CStr, OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, statat};
use rustix::io::Errno;

use crate::disk::{Opened, RealFile, RealStream, Rights};

use super::super::access::{Access, give_first, id_of};
use super::super::walk::Trusted;
#[cfg(feature = "gzip")]
use super::is_ours;
use super::{RealDir, type_of};

/// The names of a file are counted this often, with this pause, while they change.
const MOST_COUNTS: usize = 10;
const COUNT_PAUSE: Duration = Duration::from_millis(5);
/// Two changes within this time may have the same time of change: the kernel's clock for it goes in
/// steps of up to 10 ms.
const CLOCK_STEP: Duration = Duration::from_millis(20);

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
            if opened.st_nlink > 1 && !self.has_names_of_ours(&fd, is_archive)? {
                return Err(never("a second name of another file"));
            }
            return Ok(Opened::File(RealFile::new(fd.into(), readable, Some((self.clone(), name.to_owned())))));
        }
        if readable {
            return Err(io::ErrorKind::Interrupted.into()); // The next attempt sees what it is.
        }
        Ok(Opened::Stream(RealStream::own(fd.into())))
    }

    /// Returns true if an open file is a log by its names: nobody else can make names here, or all
    /// of them are those that a rotation leaves. They are looked at one after the other, and others
    /// may make, move and remove names meanwhile; each time the file's time of change is set.
    fn has_names_of_ours(&self, file: &OwnedFd, is_archive: &dyn Fn(&OsStr) -> bool) -> io::Result<bool> {
        if !Trusted::new()?.is_open(&fstat(self.fd())?) {
            return Ok(true);
        }
        for _ in 0..MOST_COUNTS {
            let before = fstat(file)?;
            let would_show = would_show_a_change(&before);
            let is_it = |name: &&OsString| self.stat(name).is_ok_and(|found| id_of(&found) == id_of(&before));
            let names = 1 + self.names(is_archive)?.iter().filter(is_it).count();
            // The type differs from system to system.
            #[allow(clippy::unnecessary_cast)]
            let all = before.st_nlink as usize;
            if names < all {
                return Ok(false);
            }
            let after = fstat(file)?;
            if would_show && (before.st_ctime, before.st_ctime_nsec) == (after.st_ctime, after.st_ctime_nsec) {
                return Ok(names == all);
            }
            thread::sleep(COUNT_PAUSE);
        }
        Err(io::ErrorKind::Interrupted.into()) // The next attempt counts again.
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

/// Returns whether a change of the file from now on would give it another time of change.
fn would_show_a_change(file: &Stat) -> bool {
    // The types differ from system to system.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    let changed = (file.st_ctime as i64, file.st_ctime_nsec as i64);
    let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else { return false };
    let ago = now.as_nanos() as i128 - (i128::from(changed.0) * 1_000_000_000 + i128::from(changed.1));
    ago < 0 || ago > CLOCK_STEP.as_nanos() as i128
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
