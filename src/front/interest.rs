//! Brings `tracing` up to date after a change of a filter: it remembers for each of its call sites
//! who is interested.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tracing_core::callsite::rebuild_interest_cache;
use tracing_core::dispatcher::{Dispatch, WeakDispatch, get_default, with_default};
use tracing_core::subscriber::NoSubscriber;

use crate::os;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Release, SeqCst},
};
use crate::sync::process_wide;
use crate::sync::swap::ArcSwap;

/// A change of the filter waits for this time in a forked child, where the lock of `tracing-core`
/// may never become free.
const AT_MOST: Duration = Duration::from_millis(100);
/// A change waits for this time where the lock will become free, in case its own thread has it.
const AT_MOST_IF_FREE: Duration = Duration::from_secs(1);

process_wide! {
    /// The number of changes of filters in this process.
    static CHANGES: AtomicU64 = AtomicU64::new(0);
    /// The process in which that lock was free at least once, so that whoever holds it gives it
    /// back: the first process, or a forked child.
    static FREE_IN: AtomicU64 = AtomicU64::new(0);
    /// The child whose thread waits for that lock.
    static WAITED_IN: AtomicU64 = AtomicU64::new(0);
}

/// The subscribers with a layer of this logger: their call sites ask the filter.
pub(super) struct Interest(ArcSwap<Vec<WeakDispatch>>);

impl Interest {
    pub(super) fn new() -> Self {
        Self(ArcSwap::from_pointee(Vec::new()))
    }

    pub(super) fn register(&self, dispatch: &Dispatch) {
        loop {
            let before = self.0.load_full();
            let mut all: Vec<_> = before.iter().filter(|other| other.upgrade().is_some()).cloned().collect();
            all.push(dispatch.downgrade());
            if Arc::ptr_eq(&*self.0.compare_and_swap(&before, Arc::new(all)), &before) {
                return;
            }
        }
    }

    /// Makes each call site ask again who is interested.
    ///
    /// Where there is only one subscriber, `tracing-core` asks the default one of the thread.
    /// Within an event, and at the end of a thread, a thread has no default, and none can be set
    /// (within an event, `tracing-core` panics): then a separate thread asks. It also does so in a
    /// forked child, because `tracing-core` takes a lock that a thread of the parent may hold for
    /// ever.
    pub(super) fn rebuild(&self) {
        // SeqCst: see the store of `FREE_IN`.
        CHANGES.fetch_add(1, SeqCst);
        let Some(dispatch) = self.0.load().iter().find_map(WeakDispatch::upgrade) else { return };
        let process = os::generation();
        let is_free = FREE_IN.load(SeqCst) == process;
        if is_free && has_default() {
            ask(rebuild_interest_cache);
            if has_default() {
                return;
            }
        }
        if !is_free && WAITED_IN.swap(process, AcqRel) == process {
            return; // The thread that waits sees the change.
        }
        let (done, is_done) = mpsc::channel::<()>();
        let started = thread::Builder::new().name("unfazed-interest".into()).spawn(move || {
            os::set_up_own_thread();
            ask(|| {
                // A subscriber that panics is the program's.
                let rebuild = || with_default(&dispatch, rebuild_interest_cache);
                let _ = catch_unwind(AssertUnwindSafe(rebuild));
                // SeqCst: either this thread sees another change, or that change sees this.
                FREE_IN.store(process, SeqCst);
            });
            drop(dispatch);
            drop(done);
        });
        match started {
            Ok(thread) => {
                let at_most = if is_free { AT_MOST_IF_FREE } else { AT_MOST };
                if is_done.recv_timeout(at_most) == Err(mpsc::RecvTimeoutError::Disconnected) {
                    drop(thread.join());
                }
            }
            // Without memory for a thread the call sites go on as they are until the next change.
            Err(_) if is_free => {}
            Err(_) => WAITED_IN.store(0, Release),
        }
    }
}

/// Calls `rebuild` until no filter has changed meanwhile: of two threads that ask at once, one may
/// leave a call site with the verdict from before the other's change.
fn ask(rebuild: impl Fn()) {
    loop {
        let seen = CHANGES.load(SeqCst);
        rebuild();
        if CHANGES.load(SeqCst) == seen {
            return;
        }
    }
}

/// Returns true if this thread has a default subscriber now. If it is the only subscriber, it has
/// the layer.
fn has_default() -> bool {
    get_default(|dispatch| !dispatch.is::<NoSubscriber>())
}
