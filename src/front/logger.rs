//! `Logger`, the `log::Log` of this crate: filter, gate, record, queue. Runs on the caller's thread.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::SystemTime;

use log::{LevelFilter, Metadata};

use crate::front::filter::{CurrentFilter, Filter};
use crate::queue::{Door, Queue};
use crate::record::{Caller, OwnedRecord};
use crate::stats::Reason;

/// A logger that is not installed: made by `Builder::build`, to be wrapped, or installed with `log::set_boxed_logger`.
///
/// Dropping it writes what is pending, for at most `Builder::shutdown_timeout`, and ends the writer's thread.
pub struct Logger {
    core: Arc<Core>,
}

/// What a log call needs.
pub(crate) struct Core {
    door: Arc<Door>,
    filter: Arc<CurrentFilter>,
}

impl Logger {
    pub(crate) fn new(door: Arc<Door>, filter: Arc<CurrentFilter>) -> Self {
        Self { core: Arc::new(Core { door, filter }) }
    }

    /// For who must not keep the logger alive.
    pub(crate) fn core(&self) -> Weak<Core> {
        Arc::downgrade(&self.core)
    }

    /// The most verbose level that can pass the filter and that some output takes; for `log::set_max_level`, without
    /// which the `log` macros let nothing through.
    pub fn max_level(&self) -> LevelFilter {
        self.core.filter.load().max_level()
    }
}

impl Core {
    #[inline]
    pub(crate) fn log(&self, record: &log::Record<'_>) {
        let filter = self.filter.load();
        if !filter.enabled(record.metadata()) {
            return;
        }
        let queue = self.door.queue();
        let level = record.level();
        let closed = queue.closed_to(level);
        if let (Some(reason), false) = (closed, filter.has_pattern()) {
            queue.refuse(level, reason);
            return;
        }
        let time = SystemTime::now();
        let audience = queue.audience();
        let (number, introduced_to) = THREAD.get();
        if introduced_to == audience {
            let owned = OwnedRecord::capture(record, time, Caller { thread: number, name: None });
            offer(queue, owned, &filter, closed);
        } else {
            let number = if number == 0 { new_thread_number() } else { number };
            let thread = thread::current();
            let owned = OwnedRecord::capture(record, time, Caller { thread: number, name: thread.name() });
            if offer(queue, owned, &filter, closed) {
                THREAD.set((number, audience));
            }
        }
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.core.filter.load().enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        self.core.log(record);
    }

    /// Waits until what was accepted before it is written, for at most `Builder::shutdown_timeout`.
    fn flush(&self) {
        // `log` has no way to pass the error on; `Stats` tells what is not written.
        let _ = self.core.door.queue().flush_in_time();
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        // In a forked child that has not logged there is nothing to end. What was not written by the deadline is counted as
        // `shutdown`; a `Handle` can still tell.
        if let Some(queue) = self.core.door.existing_queue() {
            queue.end_in_time();
        }
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger").field("max_level", &self.max_level()).finish_non_exhaustive()
    }
}

/// What the message decides: whether the filter's pattern is in it, and only then what becomes of the record.
#[inline]
fn offer(queue: &Queue, record: OwnedRecord, filter: &Filter, closed: Option<Reason>) -> bool {
    if !filter.takes(&record) {
        return false;
    }
    match closed {
        None => queue.offer(record),
        Some(reason) => {
            queue.refuse(record.level(), reason);
            false
        }
    }
}

thread_local! {
    /// The number of this thread, 0 before it has one, and the audience that has been told the thread's name. It has
    /// no destructor, so that a log call in the destructor of another thread-local finds it as well.
    static THREAD: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
}

#[cold]
fn new_thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Relaxed);
    THREAD.set((number, 0));
    number
}
