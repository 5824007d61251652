//! Opens and creates the files of a log in its directory, and judges what is open. Runs on the
//! writer's thread.

use std::cmp::Ordering;
use std::ffi::{CStr, OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, statat};
use rustix::io::Errno;

use crate::disk::real::random;
use crate::disk::{Opened, RealFile, RealStream, Rights};

use super::super::access::{Access, give_first, id_of};
use super::super::between;
use super::super::walk::Trusted;
#[cfg(feature = "gzip")]
use super::is_ours;
use super::{RealDir, type_of};

/// While the names of a file change, they are looked up again for this long, with this pause.
const CHANGES_AT_MOST: Duration = Duration::from_millis(50);
const CHANGE_PAUSE: Duration = Duration::from_millis(5);
/// An interrupted rotation leaves one of the newest archives: this many are looked at, however many
/// names others make.
const NEWEST_ARCHIVES: usize = 100;
/// This many questions are asked for each name of a file, and as many for the number of its names.
const QUESTIONS: usize = 24;

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
            if !self.has_names_of_ours(&fd, name, is_archive)? {
                return Err(never("a second name of another file"));
            }
            return Ok(Opened::File(RealFile::in_dir(self, name, fd, readable)));
        }
        if readable {
            return Err(io::ErrorKind::Interrupted.into()); // The next attempt sees what it is.
        }
        Ok(Opened::Stream(RealStream::own(fd.into())))
    }

    /// Returns true if an open file is a log by its names: nobody else can make names here, or it
    /// has the log's, and all others are those of archives, which an interrupted rotation leaves.
    ///
    /// # Errors
    ///
    /// `Interrupted` if another file has the log's name, or if the names change all the time: the
    /// next attempt looks again.
    fn has_names_of_ours(&self, file: &OwnedFd, name: &OsStr, is_archive: &dyn Fn(&OsStr) -> bool) -> io::Result<bool> {
        if !Trusted::new()?.is_open(&fstat(self.fd()?)?) {
            return Ok(true);
        }
        let start = Instant::now();
        loop {
            let opened = fstat(file)?;
            if !self.is_name_of(name, &opened) {
                // It was rotated or exchanged since it was opened.
                return Err(io::ErrorKind::Interrupted.into());
            }
            let mut names = vec![name.to_owned()];
            if opened.st_nlink > 1 {
                names.extend(self.newest_names_of(&opened, is_archive)?);
            }
            match names.len().cmp(&count_of_names(&opened)) {
                Ordering::Less => return Ok(false),
                Ordering::Equal if self.has_no_other_names(file, &names)? => return Ok(true),
                _ if start.elapsed() >= CHANGES_AT_MOST => return Err(io::ErrorKind::Interrupted.into()),
                _ => thread::sleep(CHANGE_PAUSE),
            }
        }
    }

    /// Returns the names of archives that lead to a file.
    fn newest_names_of(&self, file: &Stat, is_archive: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
        let mut names = self.names(is_archive)?;
        // The names of archives sort by their age.
        names.sort_unstable_by(|one, other| other.cmp(one));
        names.truncate(NEWEST_ARCHIVES);
        names.retain(|name| self.is_name_of(name, file));
        Ok(names)
    }

    /// Returns true if these are the names of a file, and it has no others.
    ///
    /// They cannot all be looked at at once, and others may make, move and remove names meanwhile.
    /// A name that moves could be seen twice, and a name elsewhere is missed if another one is made
    /// and removed in time. But as long as there is a name elsewhere, at each moment one of these
    /// names leads to something else, or the file has more names. So the questions are asked at
    /// random: nobody can arrange that each is asked at the right moment.
    fn has_no_other_names(&self, file: &OwnedFd, names: &[OsString]) -> io::Result<bool> {
        let opened = fstat(file)?;
        let all = names.len() + 1;
        for _ in 0..QUESTIONS * all {
            let is_so = match names.get(random() as usize % all) {
                Some(name) => self.is_name_of(name, &opened),
                None => {
                    between::steps();
                    count_of_names(&fstat(file)?) == names.len()
                }
            };
            if !is_so {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_name_of(&self, name: &OsStr, file: &Stat) -> bool {
        self.stat(name).is_ok_and(|found| id_of(&found) == id_of(file))
    }

    fn create_log(&self, name: &OsStr, rights: Rights) -> io::Result<RealFile> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        // The mode is right from the first moment, because whoever opens the file in between would
        // keep it open.
        let fd = self.open_file(name, flags, Mode::from_raw_mode(rights.mode.unwrap_or(0o666) as _))?;
        let not_given = self.or_remove(name, give_first(&fd, (rights.owner, rights.group), rights.mode))?;
        let mut file = RealFile::in_dir(self, name, fd, true);
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
        let mut file = RealFile::in_dir(self, name, fd, true);
        // Nobody has asked for a mode or owner that is only inherited.
        file.not_given = not_given.filter(|_| rights.owner.is_some() || rights.group.is_some());
        Ok(file)
    }

    /// Opens an archive of `log` for reading, and nothing else: `Interrupted` if it is not ours, or
    /// has another name, under which it may be anybody's.
    #[cfg(feature = "gzip")]
    pub(in crate::disk) fn open_ours(&self, name: &OsStr, log: &Access) -> io::Result<RealFile> {
        let dir = fstat(self.fd()?)?;
        let is_ours = |stat: &Stat| is_ours(stat, log.user, &dir) && stat.st_nlink == 1;
        // Not even opened if it is a pipe or a device.
        if !is_ours(&self.stat(name)?) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let fd = self.open_file(name, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())?;
        if !is_ours(&fstat(&fd)?) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(RealFile::in_dir(self, name, fd, true))
    }

    /// Creates a file that nobody else may open, until it is whole.
    #[cfg(feature = "gzip")]
    pub(in crate::disk) fn create_private(&self, name: &OsStr) -> io::Result<RealFile> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = self.open_file(name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(RealFile::in_dir(self, name, fd, false))
    }
}

fn count_of_names(file: &Stat) -> usize {
    // The type differs from system to system.
    #[allow(clippy::unnecessary_cast)]
    let count = file.st_nlink as usize;
    count.max(1) // Some file systems in user space do not count them.
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
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} cannot be a log file"))
}

/// Returns true if a character device is a terminal, or takes everything, or nothing.
fn is_harmless(fd: &OwnedFd, opened: &Stat) -> bool {
    let is = |path: &CStr| statat(CWD, path, AtFlags::empty()).is_ok_and(|known| known.st_rdev == opened.st_rdev);
    fd.as_fd().is_terminal() || is(c"/dev/null") || is(c"/dev/full")
}
