//! What the end of the process waits for. Any thread; a signal handler reads it, too, so it takes
//! no lock.

use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};
use crate::sync::process_wide;

use super::crash_marks::CrashMarks;
use super::fork::generation;
use super::grow_only::GrowOnly;

/// Something that has to be brought to an end before the process ends.
pub(crate) trait AtExit: Send + Sync {
    /// Says that the process exits, and that it is to end. Must not wait.
    fn begin_exit(&self);

    fn is_done(&self) -> bool;

    /// Returns how long the end of the process may wait for it.
    fn at_most(&self) -> Duration;

    /// Returns how long a crash may wait until it has written what is queued; `None`: not at all.
    fn at_most_in_crash(&self) -> Option<Duration> {
        None
    }
}

process_wide! {
    /// All that was ever registered at the same time.
    static SLOTS: GrowOnly<Slot> = GrowOnly(AtomicPtr::new(ptr::null_mut()));
}

pub(super) struct Slot {
    pub(super) taken: AtomicBool,
    pub(super) generation: AtomicU64,
    pub(super) target: AtomicPtr<Arc<dyn AtExit>>,
    /// Hooks that look at the target now: it may not be freed.
    pub(super) users: AtomicUsize,
    pub(super) crash: CrashMarks,
}

impl Slot {
    /// Returns whether this process took the slot: a slot that is left over from before a fork is
    /// of another generation.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.generation.load(Relaxed) == generation()
    }
}

/// Returns all slots that there ever were.
pub(super) fn slots() -> impl Iterator<Item = &'static Slot> {
    SLOTS.iter()
}

pub(super) fn free_slot() -> &'static Slot {
    let take = |slot: &Slot| slot.taken.compare_exchange(false, true, AcqRel, Relaxed).is_ok();
    SLOTS.take(take, || Slot {
        taken: AtomicBool::new(true),
        generation: AtomicU64::new(0),
        target: AtomicPtr::new(ptr::null_mut()),
        users: AtomicUsize::new(0),
        crash: CrashMarks::new(),
    })
}
