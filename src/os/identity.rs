//! What a descriptor leads to. On any thread, also between fork and exec.

use std::io;

#[cfg(any(target_os = "linux", target_os = "android"))]
use libc::{O_PATH, fstat64 as fstat, stat64 as Stat};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use libc::{fstat, stat as Stat};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
const O_PATH: i32 = 0;

/// The facts by which an open file is recognised.
pub(super) struct Found {
    pub(super) device: u64,
    pub(super) number: u64,
    pub(super) is_regular: bool,
}

/// The file to which a descriptor leads, and the flags with which it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) number: u64,
    /// `None` where others share the description, and may change them.
    pub(super) flags: Option<i32>,
}

impl Identity {
    /// Returns whether the descriptor `fd`, which leads to what was found, leads there. The program
    /// may open the log, too, or its directory: it does so with other flags.
    pub(super) fn is_at(self, fd: i32, found: &Found) -> bool {
        let is_same = found.device == self.device && (self.flags.is_none() || self.flags == flags_of(fd));
        // On some file systems a file has another number for each of its names. Nobody else opens
        // regular files so that they do not wait.
        let never_waits = self.flags.is_some_and(|flags| flags & libc::O_NONBLOCK != 0);
        is_same && (found.number == self.number || never_waits && found.is_regular)
    }
}

/// `shared`: others have the description as well.
pub(super) fn identity_of(fd: i32, shared: bool) -> io::Result<Identity> {
    let Found { device, number, .. } = find(fd)?;
    Ok(Identity { device, number, flags: if shared { None } else { flags_of(fd) } })
}

pub(super) fn is_closed(fd: i32) -> bool {
    flags_of(fd).is_none()
}

/// Returns the flags that stay as a descriptor was opened. On the BSDs a lock is another one.
fn flags_of(fd: i32) -> Option<i32> {
    const FLAGS: i32 = libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK | O_PATH;

    // SAFETY: the call takes and changes nothing; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    (flags >= 0).then_some(flags & FLAGS)
}

/// Asks nobody over a network, and no file system in user space: one that hangs would stop a forked
/// child before its first instruction.
#[cfg(any(all(target_os = "linux", target_env = "gnu"), target_os = "android"))]
pub(super) fn find(fd: i32) -> io::Result<Found> {
    const FLAGS: i32 = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;

    let mut found = std::mem::MaybeUninit::<libc::statx>::uninit();
    let (none, wanted) = (c"".as_ptr(), libc::STATX_TYPE | libc::STATX_INO);
    // SAFETY: the pointers are to an empty text and to `found`, which outlive the call; a number
    // that is not open is an error.
    let answer = unsafe { libc::syscall(libc::SYS_statx, fd, none, FLAGS, wanted, found.as_mut_ptr()) };
    if answer != 0 {
        let error = io::Error::last_os_error();
        // A kernel before 4.11, or a filter of system calls that does not know it.
        return if error.raw_os_error() == Some(libc::EBADF) { Err(error) } else { ask(fd) };
    }
    // SAFETY: the call has filled it.
    let found = unsafe { found.assume_init() };
    // The types differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    let device = libc::makedev(found.stx_dev_major, found.stx_dev_minor) as u64;
    let is_regular = u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFREG;
    Ok(Found { device, number: found.stx_ino, is_regular })
}

#[cfg(not(any(all(target_os = "linux", target_env = "gnu"), target_os = "android")))]
pub(super) fn find(fd: i32) -> io::Result<Found> {
    ask(fd)
}

fn ask(fd: i32) -> io::Result<Found> {
    let mut found = std::mem::MaybeUninit::<Stat>::uninit();
    // SAFETY: the pointer is to `found`, which outlives the call; a number that is not open is an
    // error.
    let found = match unsafe { fstat(fd, found.as_mut_ptr()) } {
        // SAFETY: the call has filled it.
        0 => unsafe { found.assume_init() },
        _ => return Err(io::Error::last_os_error()),
    };
    let is_regular = found.st_mode & libc::S_IFMT == libc::S_IFREG;
    // The types differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    Ok(Found { device: found.st_dev as u64, number: found.st_ino as u64, is_regular })
}
