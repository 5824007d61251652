//! The lock of a log file: on a file of its own next to it, which those who read the log cannot
//! open. Runs on the writer's thread.
//!
//! A lock on the log itself would be anybody's who may read it: `flock`, and every other advisory
//! lock that readers can be part of, needs no more than a descriptor. So `app.log` is locked by
//! `.app.log.lock`, which has the mode 0600 and belongs to the log's owner.
//!
//! Where somebody else has put something at that name, the lock file gets a random part instead,
//! such as `.app.log.0123abcd.lock`. So there may be several lock files. Whoever wants the lock
//! takes one, then looks through the directory, and has to get each other one as well: of two
//! processes, the one that looks later sees the other's. What is not the logger's is not seen.
//!
//! The file stands only while somebody holds the lock, or after a `kill -9`; the next one takes it
//! as it is. A process that gets the lock checks whether the name still leads to what it has
//! locked, and so does the holder each time before it uses the lock.
//!
//! A process that cannot make files in the directory cannot rotate there either. It locks the log
//! itself: that is about the end of the file alone.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat};
use rustix::io::Errno;

use super::access::id_of;
use super::between;
use super::dir::{RealDir, is_ours};
use crate::disk::random_part::{is_random_part, random_part};
use crate::disk::real::random;
use crate::os::Descriptor;

/// Somebody else may remove the file between the opening and the locking, this often.
const MOST_TRIES: usize = 10;
/// The parts of a lock file's name before and after that of the log.
const NAME: (&str, &str) = (".", ".lock");

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    dir: RealDir,
    /// The name of the log.
    active: OsString,
    on: On,
}

/// What is locked.
#[derive(Debug)]
enum On {
    LockFile(LockFile),
    /// The log, because no file can be made next to it; with its own descriptor.
    Log {
        /// The log is mounted alone: another directory may hold the same log, but no lock file of
        /// this one.
        is_mounted: bool,
    },
}

/// A lock file that this process has locked.
#[derive(Debug)]
struct LockFile {
    file: Descriptor,
    name: OsString,
    /// Somebody has given it a second name, under which another process may not find it here: it is
    /// respected as a lock, and not used as one.
    has_other_names: bool,
}

/// The result of one attempt to lock.
enum Attempt {
    Locked(LockFile),
    /// Another process has the lock.
    Held,
    /// Another process has just made or removed a lock file.
    Again,
}

impl RealDir {
    /// Takes the lock of the log `active`; `None` if somebody holds it. Never waits.
    ///
    /// # Errors
    ///
    /// Nobody can have it, or not this process.
    pub(in crate::disk) fn lock(&self, active: &OsStr, log: &File) -> io::Result<Option<Lock>> {
        let lock = |on| Some(Lock { dir: self.clone(), active: active.to_owned(), on });
        let is_mounted = is_mounted(log);
        for _ in 0..MOST_TRIES {
            let attempt = if is_mounted { Err(Errno::XDEV.into()) } else { self.try_lock_files(active, &fstat(log)?) };
            match attempt {
                Ok(Attempt::Locked(file)) => return Ok(lock(On::LockFile(file))),
                Ok(Attempt::Held) => return Ok(None),
                Ok(Attempt::Again) => {}
                // Another's, which this process may not use.
                Err(error) if self.has_lock_file(active, log) => return Err(error),
                Err(_) => return Ok(try_lock(log)?.then(|| lock(On::Log { is_mounted })).flatten()),
            }
        }
        Ok(None)
    }

    fn try_lock_files(&self, active: &OsStr, log: &Stat) -> io::Result<Attempt> {
        let mut locked = Vec::new();
        let attempt = self.lock_all(active, log, &mut locked);
        // One is enough, whoever has it.
        locked.iter().for_each(|file| self.remove_lock_file(file));
        attempt
    }

    /// Locks every lock file that is there, makes one if there is none, and returns the first.
    fn lock_all(&self, active: &OsStr, log: &Stat, locked: &mut Vec<LockFile>) -> io::Result<Attempt> {
        for _ in 0..MOST_TRIES {
            let mut names = self.lock_files(active, log)?;
            names.retain(|name| locked.iter().all(|file| file.name != *name));
            let is_looked_through = names.is_empty();
            for name in names {
                match self.try_lock_file(name, log)? {
                    Attempt::Locked(file) => locked.push(file),
                    other => return Ok(other),
                }
            }
            match locked.iter().position(|file| !file.has_other_names) {
                Some(ours) if is_looked_through => {
                    let ours = locked.swap_remove(ours);
                    return Ok(if self.leads_to(&ours) { Attempt::Locked(ours) } else { Attempt::Again });
                }
                Some(_) => {}
                None => match self.make_lock_file(active, log)? {
                    Attempt::Locked(file) => locked.push(file),
                    other => return Ok(other),
                },
            }
        }
        Ok(Attempt::Again)
    }

    fn has_lock_file(&self, active: &OsStr, log: &File) -> bool {
        let has_ours = || self.lock_files(active, &fstat(log)?).map(|names| !names.is_empty());
        self.stat(&lock_name(active)).is_ok() || has_ours().unwrap_or(false)
    }

    /// Returns the names of the lock files that are the logger's, the one without a random part
    /// first.
    fn lock_files(&self, active: &OsStr, log: &Stat) -> io::Result<Vec<OsString>> {
        // Where the directory may not be read, only that one can be found.
        let mut names = self.names(&|name| is_lock_name(active, name)).unwrap_or_else(|_| vec![lock_name(active)]);
        let dir = fstat(self.fd()?)?;
        names.retain(|name| self.stat(name).is_ok_and(|stat| is_lock_file(&stat, log, &dir)));
        names.sort_unstable_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
        Ok(names)
    }

    fn try_lock_file(&self, name: OsString, log: &Stat) -> io::Result<Attempt> {
        let fd = match self.open_file(&name, OFlags::RDWR | OFlags::NOFOLLOW, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Again),
            other => other?,
        };
        let opened = fstat(&fd)?;
        // Removed by the one who held it, or exchanged for something else.
        if opened.st_nlink == 0 || !is_lock_file(&opened, log, &fstat(self.fd()?)?) {
            return Ok(Attempt::Again);
        }
        try_lock_open(fd, name, opened.st_nlink > 1)
    }

    /// Makes a lock file, and locks it. Another process may be faster.
    fn make_lock_file(&self, active: &OsStr, log: &Stat) -> io::Result<Attempt> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mut name = lock_name(active);
        let fd = loop {
            match self.open_file(&name, flags, Mode::RUSR | Mode::WUSR) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let dir = fstat(self.fd()?)?;
                    // One with a second name is respected, and stands in the way of a new one.
                    let is_usable = |found: &Stat| is_lock_file(found, log, &dir) && found.st_nlink == 1;
                    if self.stat(&name).is_ok_and(|found| is_usable(&found)) {
                        return Ok(Attempt::Again);
                    }
                    name = random_lock_name(active);
                }
                other => break other?,
            }
        };
        // Whatever the umask has left of it; and for the log's owner, as whom the program may go
        // on. Where root may not do that, it is ours alone.
        let _ = fchmod(&fd, Mode::RUSR | Mode::WUSR);
        if fstat(&fd)?.st_uid != log.st_uid {
            let _ = fchown(&fd, Some(Uid::from_raw(log.st_uid)), Some(Gid::from_raw(log.st_gid)));
        }
        try_lock_open(fd, name, false)
    }

    /// Removes a lock file that is locked. Where that may not be, it stays, and is used again.
    fn remove_lock_file(&self, file: &LockFile) {
        if !file.has_other_names && self.leads_to(file) {
            between::steps();
            let _ = self.fd().and_then(|dir| rustix::fs::unlinkat(dir, &*file.name, AtFlags::empty()));
        }
    }

    fn leads_to(&self, file: &LockFile) -> bool {
        let (Ok(there), Ok(ours)) = (self.stat(&file.name), fstat(&file.file)) else { return false };
        id_of(&there) == id_of(&ours)
    }
}

impl Lock {
    /// Returns whether it is still a lock: whoever may write to the directory can remove what it
    /// was taken on, and then the next process makes a new one.
    pub(in crate::disk) fn is_held(&self) -> bool {
        match &self.on {
            On::LockFile(file) => self.dir.leads_to(file),
            On::Log { is_mounted } => {
                *is_mounted || matches!(self.dir.stat(&lock_name(&self.active)), Err(Errno::NOENT))
            }
        }
    }

    /// Returns whether it is the lock of the log `active` in `dir`, whatever file that is.
    pub(in crate::disk) fn is_of(&self, dir: &RealDir, active: &OsStr) -> bool {
        let is_same_dir = match (self.dir.fd().and_then(fstat), dir.fd().and_then(fstat)) {
            (Ok(one), Ok(other)) => id_of(&one) == id_of(&other),
            _ => false,
        };
        matches!(self.on, On::LockFile(_)) && self.active == active && is_same_dir
    }

    /// Gives it back now, not only when the last copy of the descriptor is closed: a child of this
    /// process may have one until it executes another program.
    pub(in crate::disk) fn release(self, log: &File) {
        if matches!(self.on, On::Log { .. }) {
            let _ = fs2::FileExt::unlock(log); // Closing it gives it back as well.
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let On::LockFile(file) = &self.on {
            self.dir.remove_lock_file(file);
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // A child of this process may have a copy of the descriptor until it executes another
        // program.
        let _ = self.file.ours().map(fs2::FileExt::unlock); // Closing it gives it back as well.
    }
}

fn lock_name(active: &OsStr) -> OsString {
    name_between(active, OsStr::new(""))
}

/// Returns a name with a random part.
fn random_lock_name(active: &OsStr) -> OsString {
    name_between(active, OsStr::new(&random_part(random())))
}

fn name_between(active: &OsStr, random: &OsStr) -> OsString {
    [OsStr::new(NAME.0), active, random, OsStr::new(NAME.1)].into_iter().collect()
}

fn is_lock_name(active: &OsStr, name: &OsStr) -> bool {
    let inner = name.as_encoded_bytes().strip_prefix(NAME.0.as_bytes());
    let Some(inner) = inner.and_then(|name| name.strip_suffix(NAME.1.as_bytes())) else { return false };
    match inner.strip_prefix(active.as_encoded_bytes()) {
        Some([]) => true,
        Some(part) => is_random_part(part),
        None => false,
    }
}

/// Returns true for a lock file that no other user can lock: a regular file of the log's owner that
/// is empty and gives no rights to anybody else.
fn is_lock_file(stat: &Stat, log: &Stat, dir: &Stat) -> bool {
    stat.st_mode & 0o7077 == 0 && stat.st_size == 0 && is_ours(stat, log.st_uid, dir)
}

fn try_lock_open(fd: OwnedFd, name: OsString, has_other_names: bool) -> io::Result<Attempt> {
    let file = Descriptor::<File>::new(fd.into());
    if !try_lock(&file)? {
        return Ok(Attempt::Held);
    }
    Ok(Attempt::Locked(LockFile { file, name, has_other_names }))
}

fn try_lock(file: &File) -> io::Result<bool> {
    match fs2::FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether the log is a mount of its own, as a volume of a single file: then it may have
/// another directory elsewhere, and in none of them it can be renamed.
fn is_mounted(log: &File) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{StatxAttributes, StatxFlags, statx};

        let found = statx(log, c"", AtFlags::EMPTY_PATH, StatxFlags::empty());
        found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = log;
        false
    }
}
