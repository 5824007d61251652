//! What a thread that crashes and a writer say to each other. Runs on both, on the first in a
//! signal handler: it reads and writes atomics alone, and asks the clock.

use std::time::{Duration, Instant};

use crate::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

/// How a thread that crashes and a writer communicate.
///
/// The thread adds one to `asked`, the writer reads it, writes all that it finds in the queue
/// afterwards, and stores what it has read in `answered`. So what the thread had logged before is
/// written when `answered` has reached its number.
pub(super) struct CrashMarks {
    /// How many nanoseconds a crash waits for this writer; 0: not at all.
    at_most: AtomicU64,
    /// The writer's thread, once it runs.
    writer: AtomicUsize,
    asked: AtomicU64,
    answered: AtomicU64,
    /// The newest request for whose answer somebody has waited in vain.
    given_up: AtomicU64,
}

impl CrashMarks {
    pub(super) fn new() -> Self {
        Self {
            at_most: AtomicU64::new(0),
            writer: AtomicUsize::new(0),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        }
    }

    /// Makes a crash wait for the writer of the slot from now on.
    pub(super) fn wait_for_writer(&self, at_most: Duration) {
        self.writer.store(0, Relaxed);
        self.at_most.store(u64::try_from(at_most.as_nanos()).unwrap_or(u64::MAX), SeqCst);
    }

    /// Makes no crash wait for the writer of the slot any more, not even one that waits now.
    pub(super) fn forget_writer(&self) {
        self.at_most.store(0, SeqCst);
    }

    /// Says that this thread is the writer: its own crash does not wait for it.
    pub(super) fn runs_here(&self) {
        self.writer.store(this_thread(), SeqCst);
    }

    /// Returns the newest request, if it is not answered.
    pub(super) fn request(&self) -> Option<u64> {
        // Acquire: what the thread that asks had put into the queue is seen by the writer.
        let asked = self.asked.load(Acquire);
        (asked > self.answered.load(Relaxed)).then_some(asked)
    }

    pub(super) fn answer(&self, request: u64) {
        // Release: the thread that waits sees what was done for it.
        self.answered.store(request, Release);
    }

    /// Asks the writer, unless it is this thread or has left an earlier request unanswered.
    pub(super) fn ask(&self, thread: usize) {
        let hangs = self.answered.load(Acquire) < self.given_up.load(Relaxed);
        if self.at_most.load(SeqCst) > 0 && self.writer.load(SeqCst) != thread && !hangs {
            // Release, for `request`.
            self.asked.fetch_add(1, SeqCst);
        }
    }

    /// Returns true while the writer has a request to answer and time for it.
    pub(super) fn is_waited_for(&self, thread: usize, since: Instant) -> bool {
        let at_most = Duration::from_nanos(self.at_most.load(SeqCst));
        let asked = self.asked.load(Relaxed);
        if at_most.is_zero() || self.writer.load(SeqCst) == thread || self.answered.load(Acquire) >= asked {
            return false;
        }
        if since.elapsed() >= at_most {
            self.given_up.fetch_max(asked, Relaxed);
        }
        self.given_up.load(Relaxed) < asked
    }
}

/// Returns a number of the calling thread that no other living thread has.
pub(super) fn this_thread() -> usize {
    #[cfg(unix)]
    // SAFETY: the call takes nothing and touches no memory of ours.
    return unsafe { libc::pthread_self() } as usize;
    #[cfg(not(unix))]
    return 0;
}
