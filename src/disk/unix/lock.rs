//! The lock of a log file: on a file of its own next to it, which those who read the log cannot
//! open. Runs on the writer's thread.
//!
//! A lock on the log itself would be anybody's who may read it: `flock`, and every other advisory
//! lock that readers can be part of, needs no more than a descriptor. So `app.log` is locked by
//! `.app.log.lock`, which has the mode 0600. It is a file of the log's owner, or it is not used.
//!
//! The file stands only while somebody holds the lock, or after a `kill -9`; the next one takes it
//! as it is. Whoever gets the lock looks whether the name still leads to what he has locked, and so
//! does its holder each time before he uses it.
//!
//! A process that cannot make files in the directory cannot rotate there either. It locks the log
//! itself: that is about the end of the file alone.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat};
use rustix::io::Errno;

use super::dir::{RealDir, id_of, is_ours};
use crate::os::CloseInChild;

/// Somebody else may remove the file between the opening and the locking, this often.
const MOST_TRIES: usize = 10;
/// What stands before and after the name of the log.
const NAME: (&str, &str) = (".", ".lock");

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    dir: RealDir,
    name: OsString,
    on: On,
}

/// What is locked.
#[derive(Debug)]
enum On {
    /// The file of that name.
    LockFile {
        /// Before `file`, because fields are dropped in their order.
        _in_child: CloseInChild,
        file: File,
    },
    /// The log, because no file can be made next to it; with its own descriptor.
    Log {
        /// The log is mounted alone: another directory may hold the same log, but no lock file of
        /// this one.
        is_mounted: bool,
    },
}

impl RealDir {
    /// Takes the lock of the log `active`; `None` if somebody holds it. Never waits.
    ///
    /// # Errors
    ///
    /// Nobody can have it, or not this process.
    pub(in crate::disk) fn lock(&self, active: &OsStr, log: &File) -> io::Result<Option<Lock>> {
        let lock = |name, on| Some(Lock { dir: self.clone(), name, on });
        let mut name = OsString::from(NAME.0);
        name.push(active);
        name.push(NAME.1);
        let is_mounted = is_mounted(log);
        for _ in 0..MOST_TRIES {
            let opened = if is_mounted { Err(Errno::XDEV.into()) } else { self.lock_file(&name, &fstat(log)?) };
            let fd = match opened {
                Ok(Some(fd)) => fd,
                Ok(None) => continue,
                // Another's, which this process may not use.
                Err(error) if self.stat(&name).is_ok() => return Err(error),
                Err(_) => {
                    let locked = try_lock(log)?;
                    return Ok(locked.then(|| lock(name, On::Log { is_mounted })).flatten());
                }
            };
            let file = File::from(fd);
            if !try_lock(&file)? {
                return Ok(None);
            }
            // Not removed, by the one who held it, before it was locked.
            if self.leads_to(&name, &file) {
                let in_child = CloseInChild::new(file.as_fd().as_raw_fd());
                return Ok(lock(name, On::LockFile { _in_child: in_child, file }));
            }
        }
        Ok(None)
    }

    /// Opens the lock file, or makes it; `None` if another process has just done the one or the
    /// other.
    fn lock_file(&self, name: &OsStr, log: &Stat) -> io::Result<Option<OwnedFd>> {
        match self.stat(name) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
            Ok(found) => {
                // Not even opened if it is a pipe or a device.
                self.judge_lock(&found, log)?;
                let fd = match self.open_file(name, OFlags::RDWR | OFlags::NOFOLLOW, Mode::empty()) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    other => other?,
                };
                let opened = fstat(&fd)?;
                return if opened.st_nlink == 0 { Ok(None) } else { self.judge_lock(&opened, log).map(|()| Some(fd)) };
            }
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = match self.open_file(name, flags, Mode::RUSR | Mode::WUSR) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            other => other?,
        };
        // Whatever the umask has left of it; and for the log's owner, as whom the program may go
        // on. Where root may not do that, it is ours alone.
        let _ = fchmod(&fd, Mode::RUSR | Mode::WUSR);
        if fstat(&fd)?.st_uid != log.st_uid {
            let _ = fchown(&fd, Some(Uid::from_raw(log.st_uid)), Some(Gid::from_raw(log.st_gid)));
        }
        Ok(Some(fd))
    }

    /// Refuses to lock what others could lock as well, or what is something else: a regular file of
    /// the log's owner, with one name, nothing in it, and no rights for anybody but its owner.
    fn judge_lock(&self, stat: &Stat, log: &Stat) -> io::Result<()> {
        let is_private = stat.st_mode & 0o7077 == 0 && stat.st_nlink <= 1 && stat.st_size == 0;
        if is_private && is_ours(stat, log.st_uid, &fstat(self.fd())?) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "the lock file next to it is not the logger's"))
    }

    fn leads_to(&self, name: &OsStr, file: &File) -> bool {
        let (Ok(there), Ok(ours)) = (self.stat(name), fstat(file)) else { return false };
        id_of(&there) == id_of(&ours)
    }
}

impl Lock {
    /// Whether it is still a lock: whoever may write to the directory can remove what it was taken
    /// on, and then the next process makes a new one.
    pub(in crate::disk) fn is_held(&self) -> bool {
        match &self.on {
            On::LockFile { file, .. } => self.dir.leads_to(&self.name, file),
            On::Log { is_mounted } => *is_mounted || matches!(self.dir.stat(&self.name), Err(Errno::NOENT)),
        }
    }

    /// Whether it is the lock of the log `active` in `dir`, whatever file that is.
    pub(in crate::disk) fn is_of(&self, dir: &RealDir, active: &OsStr) -> bool {
        let inner = self.name.as_encoded_bytes().strip_prefix(NAME.0.as_bytes());
        let inner = inner.and_then(|name| name.strip_suffix(NAME.1.as_bytes()));
        let is_same_dir = match (fstat(self.dir.fd()), fstat(dir.fd())) {
            (Ok(one), Ok(other)) => id_of(&one) == id_of(&other),
            _ => false,
        };
        matches!(self.on, On::LockFile { .. }) && inner == Some(active.as_encoded_bytes()) && is_same_dir
    }

    /// Gives it back now, not only when the last copy of the descriptor is closed: a child of this
    /// process may have one until it is another program.
    pub(in crate::disk) fn release(self, log: &File) {
        if matches!(self.on, On::Log { .. }) {
            let _ = fs2::FileExt::unlock(log); // Closing it gives it back as well.
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let On::LockFile { file, .. } = &self.on {
            // Where it may not be removed, it stays, and is used again.
            if self.dir.leads_to(&self.name, file) {
                let _ = rustix::fs::unlinkat(self.dir.fd(), &*self.name, AtFlags::empty());
            }
            let _ = fs2::FileExt::unlock(file); // As above.
        }
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    match fs2::FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the log is a mount of its own, as a volume of a single file: then it may have another
/// directory elsewhere, and in none of them it can be renamed.
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
