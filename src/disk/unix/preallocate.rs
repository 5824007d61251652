//! Blocks beyond the end of a file: the error reserve. Runs on the writer's thread.

use std::fs::File;
use std::io;

/// Only where it was tried out: ext4, XFS, tmpfs, and overlay, which hands the call on to one of
/// them. On btrfs the call succeeds, and then nothing fits.
#[cfg(target_os = "linux")]
pub(in crate::disk) fn is_known_to_work(file: &File) -> bool {
    /// From `linux/magic.h`: ext2 to ext4 have one number (and only ext4 the call), XFS, tmpfs,
    /// overlay.
    const KNOWN: [u64; 4] = [0xef53, 0x5846_5342, 0x0102_1994, 0x794c_7630];

    rustix::fs::fstatfs(file).is_ok_and(|answer| {
        let number = answer.f_type as u64 & 0xffff_ffff; // on some machines the field is signed
        KNOWN.contains(&number)
    })
}

#[cfg(target_os = "linux")]
pub(in crate::disk) fn take(file: &File, from: u64, to: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};

    Ok(fallocate(file, FallocateFlags::KEEP_SIZE, from, to.saturating_sub(from))?)
}

#[cfg(not(target_os = "linux"))]
pub(in crate::disk) fn is_known_to_work(_file: &File) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(in crate::disk) fn take(_file: &File, _from: u64, _to: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
