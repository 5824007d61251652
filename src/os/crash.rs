//! The signals that end a program which has crashed: a handler waits until the writers have written
//! what is queued, and then what would have happened without it happens. Runs on the thread that
//! crashes; a writer answers on its own.
//!
//! The handler calls nothing that is not async-signal-safe: it reads and writes atomics, asks the
//! clock, and sleeps. It takes no lock, allocates nothing, and wakes nobody: a writer looks by
//! itself, at the latest after its longest nap.

use std::time::{Duration, Instant};

use crate::sync::thread;

use super::crash_marks::this_thread;
use super::registry::slots;

/// The time between two checks whether the writers have answered.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Asks every writer of this process that wants it, and waits until each has answered or its time
/// is up.
pub(crate) fn wait_for_writers() {
    let this = this_thread();
    slots().filter(|slot| slot.is_of_this_process()).for_each(|slot| slot.crash.ask(this));
    let since = Instant::now();
    while slots().any(|slot| slot.is_of_this_process() && slot.crash.is_waited_for(this, since)) {
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(unix)]
pub(super) use handler::install;

/// Elsewhere there are no signals to wait in.
#[cfg(not(unix))]
pub(super) fn install() {}

#[cfg(unix)]
mod handler {
    use std::{mem, ptr};

    use libc::{c_int, c_void, sigaction, siginfo_t};

    use std::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
    };

    use super::{this_thread, wait_for_writers};

    const SIGNALS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];

    /// What the program did about each of `SIGNALS` before; leaked, and set before the handler is.
    static BEFORE: [AtomicPtr<sigaction>; SIGNALS.len()] = [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()];
    /// The thread that waits in the handler, the first one if there are several.
    static WAITS: AtomicUsize = AtomicUsize::new(0);

    type Simple = extern "C" fn(c_int);
    type Detailed = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

    /// Sets the handler for the five signals, once in the life of the process.
    pub(in crate::os) fn install() {
        static INSTALLED: AtomicBool = AtomicBool::new(false);
        if INSTALLED.swap(true, Relaxed) {
            return;
        }
        for (signal, before) in SIGNALS.into_iter().zip(&BEFORE) {
            let Some(action) = action_of(signal) else { continue };
            // The mask stays that of the handler that was there, which runs inside this one.
            let mut ours = action;
            ours.sa_sigaction = on_crash as Detailed as usize;
            // On the alternate stack, where the thread has one: its own may be full. But the
            // program's handler, which runs inside this one, may need more than that stack has:
            // one that did not ask for it stays on the stack of its thread.
            let is_programs = !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
            let stack = if is_programs { action.sa_flags & libc::SA_ONSTACK } else { libc::SA_ONSTACK };
            ours.sa_flags = libc::SA_SIGINFO | stack | (action.sa_flags & libc::SA_RESTART);
            before.store(Box::into_raw(Box::new(action)), Release);
            set_action(signal, &ours);
        }
    }

    /// May run on any thread at any instruction, in the middle of whatever that does.
    extern "C" fn on_crash(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        let errno = errno();
        let this = this_thread();
        // A second crash of the thread while it waits does not wait again.
        let first = WAITS.compare_exchange(0, this, SeqCst, SeqCst);
        if first != Err(this) {
            wait_for_writers();
        }
        if first.is_ok() {
            // Before the program's handler, which may leave this one by a jump.
            WAITS.store(0, SeqCst);
        }
        go_on(signal, info, context);
        set_errno(errno);
    }

    /// Does what would have been done without us.
    fn go_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        let before = SIGNALS.iter().position(|known| *known == signal);
        let before = before.map_or(ptr::null_mut(), |number| BEFORE[number].load(Acquire));
        // SAFETY: null, or leaked by `install`, and nobody writes it any more.
        let Some(before) = (unsafe { before.as_ref() }) else { return end(signal, info) };
        match before.sa_sigaction {
            libc::SIG_DFL => end(signal, info),
            // The kernel ends a thread that ignores its own fault.
            libc::SIG_IGN if comes_again(signal, info) => end(signal, info),
            libc::SIG_IGN => {}
            _ => {
                call(before, signal, info, context);
                // A handler that has set the default action, as std's does, wants the process to
                // end. A fault comes again by itself; a signal that was sent does not.
                if action_of(signal).is_some_and(|now| now.sa_sigaction == libc::SIG_DFL) {
                    end(signal, info);
                }
            }
        }
    }

    /// Calls the program's own handler in the way it asked for.
    fn call(before: &sigaction, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // std's handler for a stack that is full aborts, on a small alternate stack that has no
        // space for our handler a second time. Nothing is lost by it: the wait is over.
        let abort = action_of(libc::SIGABRT).filter(|_| signal != libc::SIGABRT);
        let abort_before = BEFORE[SIGNALS.len() - 1].load(Acquire);
        if let (Some(_), false) = (&abort, abort_before.is_null()) {
            // SAFETY: leaked by `install`, and nobody writes it any more.
            set_action(libc::SIGABRT, unsafe { &*abort_before });
        }
        if before.sa_flags & libc::SA_RESETHAND != 0 {
            set_default(signal);
        }
        if before.sa_flags & libc::SA_NODEFER != 0 {
            let mut set = before.sa_mask;
            // SAFETY: the set is initialised and outlives the calls, which keep no pointer.
            unsafe {
                libc::sigemptyset(&raw mut set);
                libc::sigaddset(&raw mut set, signal);
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
            }
        }
        if before.sa_flags & libc::SA_SIGINFO != 0 {
            // SAFETY: the action says that its handler takes three arguments, and these are those
            // of the kernel.
            unsafe { mem::transmute::<usize, Detailed>(before.sa_sigaction)(signal, info, context) }
        } else {
            // SAFETY: the action says that its handler takes one argument.
            unsafe { mem::transmute::<usize, Simple>(before.sa_sigaction)(signal) }
        }
        if let Some(abort) = abort {
            // The program has mended the fault, and goes on.
            set_action(libc::SIGABRT, &abort);
        }
    }

    /// Ends the process by the signal, with its core dump, once the handler returns.
    fn end(signal: c_int, info: *mut siginfo_t) {
        set_default(signal);
        if !comes_again(signal, info) {
            // SAFETY: touches no memory. The signal is blocked here, and ends the process at the
            // return.
            unsafe { libc::raise(signal) };
        }
    }

    /// Returns true if the instruction that has failed will fail again, so that the dump shows it.
    fn comes_again(signal: c_int, info: *mut siginfo_t) -> bool {
        /// A page that the hardware has lost, and that nobody reads now.
        const BUS_MCEERR_AO: c_int = 5;

        // SAFETY: the kernel gives every handler with SA_SIGINFO the details.
        let code = unsafe { (*info).si_code };
        // Elsewhere a fault and a signal that was sent by hand may have numbers alike.
        let is_fault = cfg!(any(target_os = "linux", target_os = "android")) && code > 0;
        is_fault && signal != libc::SIGABRT && !(signal == libc::SIGBUS && code == BUS_MCEERR_AO)
    }

    fn set_default(signal: c_int) {
        if let Some(mut action) = action_of(signal) {
            action.sa_sigaction = libc::SIG_DFL;
            action.sa_flags = 0;
            set_action(signal, &action);
        }
    }

    fn action_of(signal: c_int) -> Option<sigaction> {
        let mut action = mem::MaybeUninit::<sigaction>::zeroed();
        // SAFETY: `action` outlives the call, which writes the whole of it and keeps no pointer.
        let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
        // SAFETY: the call has succeeded; and all zeros are an action, too.
        (asked == 0).then(|| unsafe { action.assume_init() })
    }

    fn set_action(signal: c_int, action: &sigaction) {
        // SAFETY: the action is initialised, its handler stays for the life of the process, and the
        // call keeps no pointer. It can only fail for a signal that does not exist.
        unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd"))]
    fn errno_of_this_thread() -> *mut c_int {
        // SAFETY: takes nothing; the number lives as long as the thread.
        unsafe {
            #[cfg(target_os = "linux")]
            return libc::__errno_location();
            #[cfg(target_os = "android")]
            return libc::__errno();
            #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
            return libc::__error();
        }
    }

    /// Elsewhere a program that goes on after a fault may find another number.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd")))]
    fn errno_of_this_thread() -> *mut c_int {
        ptr::null_mut()
    }

    fn errno() -> c_int {
        // SAFETY: null, or the number of this thread.
        unsafe { errno_of_this_thread().as_ref() }.copied().unwrap_or(0)
    }

    fn set_errno(number: c_int) {
        // SAFETY: null, or the number of this thread, to which there is no other reference.
        if let Some(errno) = unsafe { errno_of_this_thread().as_mut() } {
            *errno = number;
        }
    }
}
