//! Brings `tracing` up to date after a change of a filter: it remembers for each of its call sites
//! who is interested.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tracing_core::callsite::rebuild_interest_cache;
use tracing_core::dispatcher::{Dispatch, WeakDispatch, with_default};

use crate::os;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};
use crate::sync::process_wide;
use crate::sync::swap::ArcSwap;

/// A change of the filter waits for this time in a forked child, where the lock of `tracing-core`
/// may never become free.
const AT_MOST: Duration = Duration::from_millis(100);

process_wide! {
    /// The process in which that lock was free at least once, so that whoever holds it gives it
    /// back: the first process, or a forked child.
    static FREE_IN: AtomicU64 = AtomicU64::new(0);
    /// The child whose thread waits for that lock (the upper half), and how often it is wanted.
    static WANTED: AtomicU64 = AtomicU64::new(0);
}

/// The subscriber with a layer of this logger, if there is one: its call sites ask the filter.
pub(super) struct Interest(ArcSwap<Option<WeakDispatch>>);

impl Interest {
    pub(super) fn new() -> Self {
        Self(ArcSwap::from_pointee(None))
    }

    pub(super) fn register(&self, dispatch: &Dispatch) {
        self.0.store(Arc::new(Some(dispatch.downgrade())));
    }

    /// Has each call site ask again who is interested.
    ///
    /// `tracing-core` takes a lock for that. In a forked child a thread of the parent may hold it
    /// for ever, so a separate thread of the child waits for it.
    pub(super) fn rebuild(&self) {
        let Some(dispatch) = Option::as_ref(&self.0.load()).and_then(WeakDispatch::upgrade) else { return };
        let process = os::generation();
        if FREE_IN.load(Acquire) == process {
            return ask(&dispatch);
        }
        let count = |wanted: u64| if wanted >> 32 == process { wanted as u32 } else { 0 };
        let once_more = |wanted| Some(process << 32 | u64::from(count(wanted).wrapping_add(1).max(1)));
        if WANTED.fetch_update(AcqRel, Acquire, once_more).is_ok_and(|before| count(before) > 0) {
            return; // The thread that waits sees that it is wanted once more.
        }
        let (done, is_done) = mpsc::channel::<()>();
        let started = thread::Builder::new().name("unfazed-interest".into()).spawn(move || {
            os::set_up_own_thread();
            loop {
                let wanted = WANTED.load(Acquire);
                // A subscriber that panics is the program's.
                let _ = catch_unwind(AssertUnwindSafe(|| ask(&dispatch)));
                if WANTED.compare_exchange(wanted, 0, AcqRel, Acquire).is_ok() {
                    break;
                }
            }
            FREE_IN.store(process, Release);
            drop(done);
        });
        match started {
            Ok(thread) if is_done.recv_timeout(AT_MOST) == Err(mpsc::RecvTimeoutError::Disconnected) => {
                drop(thread.join());
            }
            Ok(_) => {}
            // Without memory for a thread the call sites go on as they are until the next change.
            Err(_) => WANTED.store(0, Release),
        }
    }
}

/// Asks as the subscriber itself, because `tracing-core` asks the default one of this thread where
/// there is only one.
fn ask(dispatch: &Dispatch) {
    with_default(dispatch, rebuild_interest_cache);
}
