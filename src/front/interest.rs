//! Brings `tracing` up to date after a change of a filter: it remembers for each of its call sites
//! who is interested.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};
use std::thread;

use tracing_core::callsite::rebuild_interest_cache;

use crate::os;

/// The forked child whose thread asks for it (the upper half), and how often that child wants it.
static WANTED: AtomicU64 = AtomicU64::new(0);

/// Has each call site ask again who is interested.
///
/// `tracing-core` takes a lock for that. In a forked child a thread of the parent may hold it for
/// ever, so a thread of its own waits for it there, and the call sites may learn of the change a
/// moment later.
pub(super) fn rebuild() {
    let child = os::generation() << 32;
    if child == 0 {
        return rebuild_interest_cache();
    }
    let count = |wanted: u64| if wanted >> 32 == child >> 32 { wanted as u32 } else { 0 };
    let once_more = |wanted| Some(child | u64::from(count(wanted).wrapping_add(1).max(1)));
    if WANTED.fetch_update(AcqRel, Acquire, once_more).is_ok_and(|before| count(before) > 0) {
        return; // The thread sees that it is wanted once more.
    }
    let started = thread::Builder::new().name("unfazed-interest".into()).spawn(|| {
        os::set_up_own_thread();
        loop {
            let wanted = WANTED.load(Acquire);
            rebuild_interest_cache();
            if WANTED.compare_exchange(wanted, 0, AcqRel, Acquire).is_ok() {
                return;
            }
        }
    });
    if started.is_err() {
        // Without memory for a thread the call sites go on as they are.
        WANTED.store(0, Release);
    }
}
