//! How the crate's own threads are set up: their signal mask, and the priority of the one that
//! compresses. Runs on these threads.

#[cfg(unix)]
use std::cell::Cell;
#[cfg(unix)]
use std::mem::MaybeUninit;

/// Sets up the calling thread as one of the crate's; called first of all. Blocks every signal
/// except the seven that report a fault of the thread itself.
///
/// The program's handlers then run on the program's own threads, and a write past RLIMIT_FSIZE or
/// into a closed pipe is an error (EFBIG, EPIPE) instead of a SIGXFSZ or SIGPIPE that kills. What
/// stays pending is pending for this thread alone and ends with it.
#[cfg(unix)]
pub(crate) fn set_up_own_thread() {
    let (blocked, mut before) = (all_but_faults(), empty());
    // SAFETY: both sets are initialised and outlive the call, which keeps no pointer. It can only
    // fail for a bad first argument; then the thread keeps the mask it has.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
    }
    BEFORE.set(Some(before));
}

/// Gives the code of the program the signal mask with which the thread began, as long as the value
/// lives: a program that it starts inherits a mask. Does nothing on a thread of the program.
///
/// Values may be nested; the outermost one counts.
#[derive(Debug)]
pub(crate) struct ProgramSignals(());

impl ProgramSignals {
    pub(crate) fn new() -> Self {
        #[cfg(unix)]
        if DEPTH.replace(DEPTH.get() + 1) == 0 {
            if let Some(before) = BEFORE.get() {
                take_our_own();
                set_mask(&before);
            }
        }
        Self(())
    }
}

impl Drop for ProgramSignals {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            DEPTH.set(DEPTH.get() - 1);
            if DEPTH.get() == 0 && BEFORE.get().is_some() {
                set_mask(&all_but_faults());
            }
        }
    }
}

#[cfg(unix)]
thread_local! {
    /// The mask with which a thread of the crate began; `None` on a thread of the program.
    static BEFORE: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
    /// How many `ProgramSignals` of this thread live.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Takes the signals that our own writes have left pending for this thread: unblocked, they would
/// end the process.
#[cfg(unix)]
fn take_our_own() {
    let mut ours = empty();
    // SAFETY: the set is initialised and outlives each call, and none keeps a pointer. A null
    // pointer asks `sigtimedwait` for no details. `sigwait` takes a signal that is pending, because
    // `sigpending` has just said so and every thread of the crate blocks both.
    unsafe {
        libc::sigaddset(&raw mut ours, libc::SIGXFSZ);
        libc::sigaddset(&raw mut ours, libc::SIGPIPE);
        #[cfg(target_os = "linux")]
        {
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            while libc::sigtimedwait(&raw const ours, std::ptr::null_mut(), &raw const at_once) > 0 {}
        }
        #[cfg(not(target_os = "linux"))]
        for signal in [libc::SIGXFSZ, libc::SIGPIPE] {
            let (mut pending, mut taken) = (empty(), 0);
            libc::sigpending(&raw mut pending);
            if libc::sigismember(&raw const pending, signal) == 1 {
                libc::sigwait(&raw const ours, &raw mut taken);
            }
        }
    }
}

#[cfg(unix)]
fn set_mask(mask: &libc::sigset_t) {
    // SAFETY: the set is initialised and outlives the call, which keeps no pointer. It can only
    // fail for a bad first argument.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut());
    }
}

#[cfg(unix)]
fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the whole set that it is given, before anything reads it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

#[cfg(unix)]
fn all_but_faults() -> libc::sigset_t {
    const SYNCHRONOUS: [libc::c_int; 7] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];
    let mut set = empty();
    // SAFETY: the set is initialised and outlives each call, and none keeps a pointer.
    unsafe {
        libc::sigfillset(&raw mut set);
        for signal in SYNCHRONOUS {
            libc::sigdelset(&raw mut set, signal);
        }
    }
    set
}

/// Sets up the calling thread as one of the crate's. There are no signals to block; there are
/// dialogs, for which the thread would wait.
#[cfg(not(unix))]
pub(crate) fn set_up_own_thread() {
    super::windows::show_no_dialogs();
}

/// Makes the calling thread run only when no other thread wants to. On Linux a thread has a
/// priority of its own; on other Unix it would be the whole process's. There and on Windows it is
/// left as it is.
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
