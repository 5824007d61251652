//! The doorbell: wakes a writer from an armed nap, and says that the writer has ended. Callers
//! ring it, the writer arms it.

use std::sync::OnceLock;
use std::time::Duration;

use crate::sync::atomic::{
    AtomicU8,
    Ordering::{Relaxed, SeqCst},
};
use crate::sync::thread::{self, Thread};

/// The writer is awake, or naps for so short a time that nobody needs to wake it.
const QUIET: u8 = 0;
/// The nap is armed: the first caller with a reason wakes it.
const ARMED: u8 = 1;
/// The writer has ended: whoever puts something in takes it out again and counts it.
const ENDED: u8 = 2;

pub(super) struct Doorbell {
    state: AtomicU8,
    /// Set once, by whoever starts the writer, before the writer takes anything.
    writer: OnceLock<Thread>,
}

/// What a caller finds after it has put something in.
pub(super) enum Found {
    /// Nothing to do.
    Quiet,
    Armed,
    Ended,
}

impl Doorbell {
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(QUIET), writer: OnceLock::new() }
    }

    /// Sets the thread that takes the records out. Before that, nobody is woken.
    pub(super) fn set_writer(&self, thread: Thread) {
        // A second call would be a second writer; the first one stays.
        let _ = self.writer.set(thread);
    }

    pub(super) fn has_writer(&self) -> bool {
        self.writer.get().is_some()
    }

    pub(super) fn on_writer(&self) -> bool {
        self.writer.get().is_some_and(|writer| writer.id() == thread::current().id())
    }

    /// Reads the bell, after the caller has put something in. SeqCst, here and in `nap_armed`: the
    /// caller writes the queue and reads the bell, the writer writes the bell and reads the queue;
    /// at least one of them must see the other (the store-buffer pattern).
    #[inline]
    pub(super) fn look(&self) -> Found {
        match self.state.load(SeqCst) {
            ARMED => Found::Armed,
            ENDED => Found::Ended,
            _ => Found::Quiet,
        }
    }

    #[cold]
    pub(super) fn wake_if_armed(&self) {
        if self.state.compare_exchange(ARMED, QUIET, SeqCst, Relaxed).is_ok() {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Sleeps up to `at_most`, unless `has_work` finds something.
    pub(super) fn nap(&self, at_most: Duration, has_work: impl FnOnce() -> bool) {
        if !has_work() {
            thread::park_timeout(at_most);
        }
    }

    /// Sleeps up to `at_most`, unless `has_work` finds something once the bell is armed.
    pub(super) fn nap_armed(&self, at_most: Duration, has_work: impl FnOnce() -> bool) {
        // Fails only when the logger has ended.
        let _ = self.state.compare_exchange(QUIET, ARMED, SeqCst, Relaxed);
        // Looks once more, after arming: see `look`.
        self.nap(at_most, has_work);
        // Fails if a caller has rung.
        let _ = self.state.compare_exchange(ARMED, QUIET, SeqCst, Relaxed);
    }

    /// Says that nobody takes anything out any more.
    pub(super) fn end(&self) {
        self.state.store(ENDED, SeqCst);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state.load(SeqCst) == ENDED
    }
}
