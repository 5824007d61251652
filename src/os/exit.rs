//! The exit hook: runs on the thread that calls `exit`, or returns from `main`, while others may
//! still be logging. It uses no thread-local and takes no lock.

use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
};
use crate::sync::{process_wide, thread};

use super::fork::generation;

/// Something that has to be brought to an end before the process ends.
pub(crate) trait AtExit: Send + Sync {
    /// Asks it to end. Must not wait.
    fn begin(&self);

    fn is_done(&self) -> bool;

    /// How long the end of the process may wait for it.
    fn at_most(&self) -> Duration;
}

/// Between two looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_micros(200);

process_wide! {
    /// All that was ever registered at the same time; slots are used again, never freed.
    static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());
}

struct Slot {
    taken: AtomicBool,
    generation: AtomicU64,
    target: AtomicPtr<Arc<dyn AtExit>>,
    /// Hooks that look at the target now: it may not be freed.
    users: AtomicUsize,
    next: *mut Slot,
}

// SAFETY: all fields but `next` are atomics, `next` never changes once the slot is in the list, and
// a target is `Send + Sync`.
unsafe impl Sync for Slot {}

/// As long as it lives, the end of the process waits for its target.
pub(crate) struct Registration {
    slot: &'static Slot,
}

/// Has the end of the process, and an abort by panic, wait for `target`.
pub(crate) fn register_at_exit(target: Arc<dyn AtExit>) -> Registration {
    hook();
    register(target)
}

fn hook() {
    static HOOKED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
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
    slot.target.store(Box::into_raw(Box::new(target)), SeqCst);
    Registration { slot }
}

impl Drop for Registration {
    fn drop(&mut self) {
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
    drain_all();
}

/// Asks everything that is registered in this process to end, and waits for each as long as it
/// wants, not one after the other.
pub(crate) fn drain_all() {
    let mut slots = Vec::new();
    let mut next = SLOTS.load(Acquire);
    // SAFETY: a slot, once in the list, is never freed and never moved, and its `next` never
    // changes.
    while let Some(slot) = unsafe { next.as_ref() } {
        next = slot.next;
        slot.users.fetch_add(1, SeqCst);
        let target = slot.target.load(SeqCst);
        // SAFETY: not null, hence in the slot while `users` counted us: `Registration::drop` waits
        // for us before it frees it. What a fork has left over is of another generation, and not
        // looked at.
        let target = unsafe { target.as_ref() }.filter(|_| slot.generation.load(Relaxed) == generation());
        match target {
            Some(target) => {
                target.begin();
                slots.push((slot, target));
            }
            None => drop(slot.users.fetch_sub(1, SeqCst)),
        }
    }
    let begun = Instant::now();
    for (slot, target) in slots {
        while !target.is_done() && begun.elapsed() < target.at_most() {
            thread::sleep(LOOK_EVERY);
        }
        slot.users.fetch_sub(1, SeqCst);
    }
}

fn free_slot() -> &'static Slot {
    let mut next = SLOTS.load(Acquire);
    // SAFETY: as above.
    while let Some(slot) = unsafe { next.as_ref() } {
        if slot.taken.compare_exchange(false, true, AcqRel, Relaxed).is_ok() {
            return slot;
        }
        next = slot.next;
    }
    let new: *mut Slot = Box::leak(Box::new(Slot {
        taken: AtomicBool::new(true),
        generation: AtomicU64::new(0),
        target: AtomicPtr::new(ptr::null_mut()),
        users: AtomicUsize::new(0),
        next: ptr::null_mut(),
    }));
    let mut head = SLOTS.load(Acquire);
    loop {
        // SAFETY: `new` is leaked and in no list yet: nobody else reads or writes it.
        unsafe { (*new).next = head };
        match SLOTS.compare_exchange(head, new, AcqRel, Acquire) {
            // SAFETY: leaked, hence there for ever; from here on only shared.
            Ok(_) => return unsafe { &*new },
            Err(now) => head = now,
        }
    }
}
