//! The signal mask of the crate's own threads, and the priority of the one that compresses; runs on
//! them.

/// Blocks every signal on the calling thread but the seven that report a fault of the thread
/// itself.
///
/// The crate's threads call it first of all: the program's handlers then run on the program's own
/// threads, and a write past RLIMIT_FSIZE or into a closed pipe is an error (EFBIG, EPIPE) instead
/// of a SIGXFSZ or SIGPIPE that kills. What stays pending is pending for this thread alone and ends
/// with it.
#[cfg(unix)]
pub(crate) fn block_signals() {
    use std::mem::MaybeUninit;

    const SYNCHRONOUS: [libc::c_int; 7] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` initialises the whole set that it is given, before anything reads it;
    // the other two calls get a pointer to that set, which outlives them; none of them keeps a
    // pointer.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for signal in SYNCHRONOUS {
            libc::sigdelset(set.as_mut_ptr(), signal);
        }
        // It can only fail for a bad first argument; then the thread keeps the mask it has.
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(not(unix))]
pub(crate) fn block_signals() {}

/// Has the calling thread run when nobody else wants to. On Linux a thread has a priority of its
/// own; elsewhere this would be the whole process's, and is left as it is.
#[cfg(all(feature = "gzip", target_os = "linux"))]
pub(crate) fn lower_priority() {
    const LOWEST: libc::c_int = 19;

    // SAFETY: the call takes no pointer. It can fail only for bad arguments; then the thread keeps
    // the priority it has.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST);
    }
}

#[cfg(all(feature = "gzip", not(target_os = "linux")))]
pub(crate) fn lower_priority() {}
