//! How the processes that write to one file know of each other: each shares a lock on one byte far
//! beyond the end. Runs on the writer's thread.
//!
//! Only a lock of an open file description has what is needed (`F_OFD_SETLK`, fcntl(2), since Linux
//! 3.15): it becomes exclusive and shared again in one step, and a descriptor that is closed
//! elsewhere in the process does not end it. `flock` locks the whole file, which on CIFS nobody can
//! write then.

#[cfg(unix)]
use std::fs::File;
#[cfg(unix)]
use std::io;

/// A way to have the lock, or not to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// This process writes, and others may.
    Shared,
    /// This process alone writes.
    Alone,
    /// This process does not write.
    Left,
}

/// Takes, changes or gives back the lock. Where `usize` has 32 bits, the structure depends on the C
/// library.
///
/// # Errors
///
/// `WouldBlock` if another process has it; `Unsupported` where there are no such locks.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) fn set(file: &File, how: Writers) -> io::Result<()> {
    let kind = match how {
        Writers::Shared => libc::F_RDLCK,
        Writers::Alone => libc::F_WRLCK,
        Writers::Left => libc::F_UNLCK,
    };
    let Err(error) = call(file, libc::F_OFD_SETLK, &mut lock_of(kind)) else { return Ok(()) };
    Err(match error.raw_os_error() {
        // CIFS says EACCES, which POSIX allows.
        Some(libc::EACCES | libc::EAGAIN) => io::ErrorKind::WouldBlock.into(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => io::ErrorKind::Unsupported.into(),
        _ => error,
    })
}

/// Returns whether another descriptor has the lock, as far as that can be known; `file` need not be
/// open for writing.
#[cfg(all(feature = "gzip", target_os = "linux", target_pointer_width = "64"))]
pub(crate) fn others_write(file: &File) -> bool {
    let mut lock = lock_of(libc::F_WRLCK);
    call(file, libc::F_OFD_GETLK, &mut lock).is_ok() && libc::c_int::from(lock.l_type) != libc::F_UNLCK
}

#[cfg(all(feature = "gzip", unix, not(all(target_os = "linux", target_pointer_width = "64"))))]
pub(crate) fn others_write(_file: &File) -> bool {
    false
}

/// Returns a lock on the byte that all writers share, as fcntl takes it.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn lock_of(kind: libc::c_int) -> libc::flock {
    /// Beyond the end of any file.
    const LOCKED_BYTE: libc::off_t = i64::MAX - 1;

    // Zeroed, not written out: some targets have padding in it, with names of its own.
    // SAFETY: it holds numbers alone, so every pattern of bits is valid for it.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (kind as _, libc::SEEK_SET as _);
    (lock.l_start, lock.l_len) = (LOCKED_BYTE, 1);
    lock
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn call(file: &File, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    // SAFETY: the descriptor is open as long as `file` is borrowed, and the pointer is to `lock`,
    // which outlives the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(all(unix, not(all(target_os = "linux", target_pointer_width = "64"))))]
pub(crate) fn set(_file: &File, _how: Writers) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
