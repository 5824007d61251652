//! What a descriptor leads to. On any thread, also between fork and exec.

use std::io;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use libc::{fstat, stat as Stat};
#[cfg(any(target_os = "linux", target_os = "android"))]
use libc::{fstat64 as fstat, stat64 as Stat};

/// What a descriptor leads to, and how it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) number: u64,
    /// `None` where others share the description, and may change them.
    pub(super) flags: Option<i32>,
}

impl Identity {
    /// Returns whether the descriptor `fd` leads there. The program may open the log, too, or its
    /// directory: it does so with other flags.
    pub(super) fn is_at(self, fd: i32) -> io::Result<bool> {
        let stat = stat(fd)?;
        let (device, number) = place(&stat);
        let is_same = device == self.device && (self.flags.is_none() || self.flags == flags_of(fd));
        // On some file systems a file has another number for each of its names. Nobody else opens
        // regular files so that they do not wait.
        let never_waits = self.flags.is_some_and(|flags| flags & libc::O_NONBLOCK != 0);
        Ok(is_same && (number == self.number || never_waits && stat.st_mode & libc::S_IFMT == libc::S_IFREG))
    }
}

/// `shared`: others have the description as well.
pub(super) fn identity_of(fd: i32, shared: bool) -> io::Result<Identity> {
    let (device, number) = place(&stat(fd)?);
    Ok(Identity { device, number, flags: if shared { None } else { flags_of(fd) } })
}

pub(super) fn is_closed(fd: i32) -> bool {
    flags_of(fd).is_none()
}

/// Returns the flags that stay as a descriptor was opened. On the BSDs a lock is another one.
fn flags_of(fd: i32) -> Option<i32> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const FLAGS: i32 = libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK | libc::O_PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const FLAGS: i32 = libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK;

    // SAFETY: the call takes and changes nothing; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    (flags >= 0).then_some(flags & FLAGS)
}

// The types differ from system to system.
#[allow(clippy::unnecessary_cast)]
fn place(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

fn stat(fd: i32) -> io::Result<Stat> {
    let mut found = std::mem::MaybeUninit::<Stat>::uninit();
    // SAFETY: the pointer is to `found`, which outlives the call; a number that is not open is an
    // error.
    match unsafe { fstat(fd, found.as_mut_ptr()) } {
        // SAFETY: the call has filled it.
        0 => Ok(unsafe { found.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}
