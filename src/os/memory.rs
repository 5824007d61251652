//! Whether there is memory for what is taken without asking. Runs on the thread that sets the
//! logger up, and on the first that logs in a forked child.

/// Returns whether the process may have `bytes` bytes more in one piece, now. They are given back
/// at once: somebody else may be quicker.
#[cfg(unix)]
pub(crate) fn has_memory(bytes: usize) -> bool {
    use std::ptr;

    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, where the kernel likes; nobody reads, writes or keeps it, and the
    // second call takes back just what the first one gave.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), bytes, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        at != libc::MAP_FAILED && libc::munmap(at, bytes) == 0
    }
}

/// Elsewhere nobody is asked.
#[cfg(not(unix))]
pub(crate) fn has_memory(_bytes: usize) -> bool {
    true
}
