//! What a descriptor leads to. On any thread, also between fork and exec.

use std::io;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use libc::{fstat, stat as Stat};
#[cfg(any(target_os = "linux", target_os = "android"))]
use libc::{fstat64 as fstat, stat64 as Stat};

/// What a descriptor leads to. Two files that are open at the same time differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) number: u64,
}

pub(super) fn identity_of(fd: i32) -> io::Result<Identity> {
    let stat = stat(fd)?;
    // The types differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    Ok(Identity { device: stat.st_dev as u64, number: stat.st_ino as u64 })
}

pub(super) fn is_regular(fd: i32) -> bool {
    stat(fd).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG)
}

pub(super) fn is_closed(fd: i32) -> bool {
    flags_of(fd).is_none()
}

pub(super) fn flags_of(fd: i32) -> Option<i32> {
    // SAFETY: the call takes and changes nothing; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    (flags >= 0).then_some(flags)
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
