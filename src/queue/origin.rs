//! Where a record is born: in a thread of the program, or in the code of an output that runs on the
//! writer's thread. Any thread.
//!
//! A format or a sink of the program may log. Such a record goes to the other outputs only, so that
//! it cannot cause the next one, and a budget limits how many there are. To another logger it is a
//! record like any other, but what the outputs there log because of it is not taken by any logger:
//! two loggers whose outputs log to each other would never end.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The most records that may be born in outputs at once.
const BURST: u32 = 8;
/// After each time of this length, one more record may be born in outputs.
const ONE_MORE_EVERY: Duration = Duration::from_secs(1);

/// A record of this origin is not taken.
const SILENT: u32 = u32::MAX;
/// The origin of output 0; further outputs count downwards.
const FIRST_OUTPUT: u32 = SILENT - 1;
/// Numbers above this one are no thread's.
const LAST_THREAD: u32 = u32::MAX - (1 << 16);
/// The origin of a record from an output of another logger: the number of no output.
const OTHER_LOGGER: u32 = LAST_THREAD + 1;

thread_local! {
    // None of these has a destructor, so that a log call in the destructor of another thread-local
    // finds them as well.
    /// The number of this thread, 0 before it has one, and the epoch in which it has sent its name.
    /// While an output's code runs: the number of that output.
    static ORIGIN: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
    /// While an output's code runs: the pipeline of the output.
    static PIPELINE: Cell<usize> = const { Cell::new(0) };
    /// The records that may still be born in outputs, and when the last one was added.
    static BUDGET: Cell<(u32, Option<Instant>)> = const { Cell::new((BURST, None)) };
}

/// Returns the origin of a record that is logged now, and the epoch in which it has sent its name.
#[inline]
pub(crate) fn origin() -> (u32, u64) {
    ORIGIN.get()
}

/// Notes that this origin has sent its name in this epoch.
#[inline]
pub(crate) fn sent_name(origin: u32, epoch: u64) {
    ORIGIN.set((origin, epoch));
}

#[inline]
pub(crate) fn is_output(origin: u32) -> bool {
    origin > LAST_THREAD
}

/// Returns the output in whose code a record of this origin was born. For a record from another
/// logger, that is a number that no output has.
pub(crate) fn output(origin: u32) -> Option<usize> {
    (is_output(origin) && origin != SILENT).then(|| (FIRST_OUTPUT - origin) as usize)
}

/// Returns true if the code that runs is that of an output of this pipeline.
pub(crate) fn is_inside(pipeline: usize) -> bool {
    PIPELINE.get() == pipeline
}

/// Returns the origin of a record for another logger than the one whose output's code runs, if it
/// is taken.
pub(crate) fn to_other_logger(origin: u32) -> Option<u32> {
    (origin != SILENT).then_some(OTHER_LOGGER)
}

/// Takes one from the number of records that may be born in outputs, if there is one left.
pub(crate) fn admit(origin: u32) -> bool {
    let (left, at) = BUDGET.get();
    let admits = origin != SILENT && left > 0;
    if admits {
        BUDGET.set((left - 1, at));
    }
    admits
}

/// Lets one more record be born in outputs if it is time.
pub(crate) fn refill(now: Instant) {
    let (left, at) = BUDGET.get();
    if left == BURST || at.is_none_or(|at| now.saturating_duration_since(at) >= ONE_MORE_EVERY) {
        BUDGET.set(((left + 1).min(BURST), Some(now)));
    }
}

/// Which output's code runs.
#[derive(Clone, Copy)]
pub(crate) struct OutputId {
    /// The address of its pipeline.
    pub(crate) pipeline: usize,
    /// Its number among the outputs of the pipeline.
    pub(crate) index: usize,
}

/// Runs the code of an output. A `silent` one handles a record that was itself born in an output:
/// what it logs is not taken.
pub(crate) fn inside<T>(id: OutputId, silent: bool, code: impl FnOnce() -> T) -> T {
    let number = u32::try_from(id.index).ok().and_then(|output| FIRST_OUTPUT.checked_sub(output));
    let number = number.filter(|number| *number > OTHER_LOGGER && !silent).unwrap_or(SILENT);
    let _restored = Restored(ORIGIN.replace((number, 0)), PIPELINE.replace(id.pipeline));
    code()
}

/// Restores the origin, whether the code returns or panics.
struct Restored((u32, u64), usize);

impl Drop for Restored {
    fn drop(&mut self) {
        ORIGIN.set(self.0);
        PIPELINE.set(self.1);
    }
}

#[cold]
pub(crate) fn new_thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Relaxed)
}
