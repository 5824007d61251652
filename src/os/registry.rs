//! What the end of the process waits for. Any thread; a signal handler reads it, too, so it takes
//! no lock.

use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use crate::sync::process_wide;

use super::crash_marks::CrashMarks;
use super::fork::generation;

/// Something that has to be brought to an end before the process ends.
pub(crate) trait AtExit: Send + Sync {
    /// Asks it to end. Must not wait.
    fn begin(&self);

    fn is_done(&self) -> bool;

    /// Returns how long the end of the process may wait for it.
    fn at_most(&self) -> Duration;

    /// Returns how long a crash may wait until it has written what is queued; `None`: not at all.
    fn at_most_in_crash(&self) -> Option<Duration> {
        None
    }
}

process_wide! {
    /// All that was ever registered at the same time; slots are used again, never freed.
    static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());
}

pub(super) struct Slot {
    pub(super) taken: AtomicBool,
    pub(super) generation: AtomicU64,
    pub(super) target: AtomicPtr<Arc<dyn AtExit>>,
    /// Hooks that look at the target now: it may not be freed.
    pub(super) users: AtomicUsize,
    pub(super) crash: CrashMarks,
    next: *mut Slot,
}

// SAFETY: all fields but `next` are atomics, `next` never changes once the slot is in the list, and
// a target is `Send + Sync`.
unsafe impl Sync for Slot {}

impl Slot {
    /// Returns whether this process took the slot: a slot that is left over from before a fork is
    /// of another generation.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.generation.load(Relaxed) == generation()
    }
}

/// Returns all slots that there ever were.
pub(super) fn slots() -> impl Iterator<Item = &'static Slot> {
    let mut next = SLOTS.load(Acquire);
    std::iter::from_fn(move || {
        // SAFETY: a slot, once in the list, is never freed and never moved, and its `next` never
        // changes.
        let slot = unsafe { next.as_ref() }?;
        next = slot.next;
        Some(slot)
    })
}

pub(super) fn free_slot() -> &'static Slot {
    if let Some(slot) = slots().find(|slot| slot.taken.compare_exchange(false, true, AcqRel, Relaxed).is_ok()) {
        return slot;
    }
    let new: *mut Slot = Box::leak(Box::new(Slot {
        taken: AtomicBool::new(true),
        generation: AtomicU64::new(0),
        target: AtomicPtr::new(ptr::null_mut()),
        users: AtomicUsize::new(0),
        crash: CrashMarks::new(),
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
