//! The exit hook: runs on the thread that calls `exit`, or returns from `main`, while others may
//! still be logging. It takes no lock, and asks for no thread-local except std's own for the
//! current thread.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool; // each process has its own, in a model too
use std::time::{Duration, Instant};

use crate::sync::atomic::Ordering::{Relaxed, SeqCst};
use crate::sync::thread;

use super::crash;
use super::fork::generation;
use super::registry::{AtExit, Slot, free_slot, slots};

/// The time between two checks whether it is done.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// As long as it lives, the end of the process waits for its target.
pub(crate) struct Registration {
    slot: &'static Slot,
}

/// Makes the end of the process, and an abort by panic, wait for `target`.
pub(crate) fn register_at_exit(target: Arc<dyn AtExit>) -> Registration {
    hook();
    if target.at_most_in_crash().is_some() {
        crash::install();
    }
    register(target)
}

fn hook() {
    static HOOKED: AtomicBool = AtomicBool::new(false);
    if !HOOKED.swap(true, Relaxed) {
        // SAFETY: the hook is a plain function that stays for the life of the process. Should the
        // call fail (no memory), the end does not wait.
        unsafe {
            libc::atexit(at_exit);
        }
        if cfg!(panic = "abort") {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                before(info);
                drain_all();
            }));
        }
    }
}

pub(crate) fn register(target: Arc<dyn AtExit>) -> Registration {
    let slot = free_slot();
    slot.generation.store(generation(), Relaxed);
    if let Some(at_most) = target.at_most_in_crash() {
        slot.crash.wait_for_writer(at_most);
    }
    slot.target.store(Box::into_raw(Box::new(target)), SeqCst);
    Registration { slot }
}

impl Registration {
    /// Says that the calling thread is the one that is waited for.
    pub(crate) fn runs_here(&self) {
        self.slot.crash.runs_here();
    }

    /// Returns the number of a crash that waits until what is queued is written.
    pub(crate) fn crash(&self) -> Option<u64> {
        self.slot.crash.request()
    }

    /// Lets the crashes up to this number go on.
    pub(crate) fn answer_crash(&self, number: u64) {
        self.slot.crash.answer(number);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.slot.crash.forget_writer();
        let target = self.slot.target.swap(ptr::null_mut(), SeqCst);
        // SeqCst on both sides: either the hook sees no target, or we see the hook.
        while self.slot.users.load(SeqCst) > 0 {
            // The process is ending; its hook lets go when its time is up.
            thread::sleep(LOOK_EVERY);
        }
        // SAFETY: `register` made it by `Box::into_raw`; it is out of the slot, and no hook looks
        // at it.
        drop(unsafe { Box::from_raw(target) });
        self.slot.taken.store(false, SeqCst);
    }
}

extern "C" fn at_exit() {
    if !DRAINED.load(Relaxed) && !writers_are_gone() {
        drain_all();
    }
}

/// `exit_process` has waited already, as long as it may.
static DRAINED: AtomicBool = AtomicBool::new(false);

/// In a DLL the hook runs when Windows has ended every other thread.
#[cfg(windows)]
fn writers_are_gone() -> bool {
    super::windows::is_last_thread()
}

#[cfg(not(windows))]
fn writers_are_gone() -> bool {
    false
}

/// Ends the process as [`std::process::exit`] does, after every logger has written what is pending.
///
/// On Unix `std::process::exit` does that itself, through the exit hook. On Windows it runs no
/// hooks, and what is still in the queue is lost: a program that also runs there calls this
/// function instead. It waits for at most
/// [`Builder::shutdown_timeout`](crate::Builder::shutdown_timeout). Records of other threads that
/// come after the call are dropped and counted.
///
/// ```no_run
/// unfazed::Builder::new().file("app.log").init()?;
/// log::error!("no configuration");
/// unfazed::exit(1);
/// # #[allow(unreachable_code)]
/// # Ok::<(), unfazed::InitError>(())
/// ```
pub fn exit_process(code: i32) -> ! {
    drain_all();
    DRAINED.store(true, Relaxed);
    std::process::exit(code)
}

/// Asks everything that is registered in this process to end, and waits for each as long as it
/// wants, not one after the other.
pub(crate) fn drain_all() {
    let mut waited_for = Vec::new();
    for slot in slots() {
        slot.users.fetch_add(1, SeqCst);
        let target = slot.target.load(SeqCst);
        // SAFETY: not null, hence in the slot while `users` counted us: `Registration::drop` waits
        // for us before it frees it. What is of another process is not looked at.
        let target = unsafe { target.as_ref() }.filter(|_| slot.is_of_this_process());
        match target {
            Some(target) => {
                target.begin_exit();
                waited_for.push((slot, target));
            }
            None => drop(slot.users.fetch_sub(1, SeqCst)),
        }
    }
    let begun = Instant::now();
    for (slot, target) in waited_for {
        while !target.is_done() && begun.elapsed() < target.at_most() {
            thread::sleep(LOOK_EVERY);
        }
        slot.users.fetch_sub(1, SeqCst);
    }
}
