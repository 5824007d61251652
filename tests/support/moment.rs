//! Time as the threads in question could use it: what a busy machine gave to somebody else does not
//! count.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// A machine may hold up a process, or one of its threads, for this long without a count of the
/// kernel's that shows it: the host of a virtual one runs somebody else. No promise is judged by
/// less.
pub(crate) const HELD_UP: Duration = Duration::from_millis(1500);
/// The name of the writer's thread.
const WRITER: &str = "unfazed";

/// A moment, from which a promise about time is measured.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    at: Instant,
    waits: fn() -> Option<Duration>,
    waited: Option<Duration>,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), waits, waited: waits() }
    }

    /// Measures a time in which no other thread has anything to do.
    pub(crate) fn of_this_thread() -> Self {
        Self { at: Instant::now(), waits: waited_for_a_processor, waited: waited_for_a_processor() }
    }

    /// Returns the time since then, without that for which the writer's thread or this one could
    /// have run while the scheduler ran somebody else.
    pub(crate) fn elapsed(self) -> Duration {
        let waited = self.waited.zip((self.waits)()).map(|(before, after)| after.saturating_sub(before));
        self.at.elapsed().saturating_sub(waited.unwrap_or_default())
    }
}

/// How long this thread and the writer's have waited for a processor so far.
fn waits() -> Option<Duration> {
    let threads = fs::read_dir("/proc/self/task").ok()?.flatten().map(|entry| entry.path());
    let is_writer = |thread: &Path| fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim_end() == WRITER);
    let writers = threads.filter(|thread| is_writer(thread));
    let writers: Duration = writers.filter_map(|thread| waits_in(&thread.join("schedstat"))).sum();
    Some(waited_for_a_processor()? + writers)
}

/// Returns how long this thread could have run while the scheduler ran somebody else. `None` where
/// the kernel does not say, or the process has no descriptor left to ask it.
pub(crate) fn waited_for_a_processor() -> Option<Duration> {
    waits_in(Path::new("/proc/thread-self/schedstat"))
}

/// Allocates nothing: threads that count their own waits would wait for each other's allocations.
fn waits_in(schedstat: &Path) -> Option<Duration> {
    let mut text = [0; 80];
    let len = File::open(schedstat).ok()?.read(&mut text).ok()?;
    let text = std::str::from_utf8(&text[..len]).ok()?;
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}
