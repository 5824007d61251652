//! Dropped records, by reason and by level: as numbers, and as counters that callers and the writer
//! raise.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use log::Level;

use crate::event::Cause;
use crate::wanted::Levels;

use super::LEVELS;

/// Why a record was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    QueueFull,
    DiskFull,
    IoError,
    Panicked,
    Shutdown,
}

impl DropReason {
    /// The reasons in the order of their declaration, which the tables of drops follow.
    pub(crate) const ALL: [DropReason; 5] =
        [DropReason::QueueFull, DropReason::DiskFull, DropReason::IoError, DropReason::Panicked, DropReason::Shutdown];

    /// Returns one word for the log: `queue_full`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::DiskFull => "disk_full",
            DropReason::IoError => "io_error",
            DropReason::Panicked => "panicked",
            DropReason::Shutdown => "shutdown",
        }
    }
}

impl From<Cause> for DropReason {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::LowSpace | Cause::DiskFull | Cause::Quota | Cause::FileTooLarge => DropReason::DiskFull,
            Cause::ReadOnly | Cause::Missing | Cause::Io => DropReason::IoError,
        }
    }
}

/// How many records were dropped, by reason and by level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drops([[u64; LEVELS]; DropReason::ALL.len()]);

impl Drops {
    pub(crate) fn add(&mut self, other: &Drops) {
        self.each(other, u64::wrapping_add);
    }

    /// Returns the drops in `self` that are not yet in `earlier`.
    pub(crate) fn since(mut self, earlier: &Drops) -> Drops {
        self.each(earlier, u64::saturating_sub);
        self
    }

    fn each(&mut self, other: &Drops, f: impl Fn(u64, u64) -> u64) {
        for (mine, theirs) in self.0.as_flattened_mut().iter_mut().zip(other.0.as_flattened()) {
            *mine = f(*mine, *theirs);
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.as_flattened().iter().sum()
    }

    pub(crate) fn by_reason(&self, reason: DropReason) -> u64 {
        self.0[reason as usize].iter().sum()
    }

    pub(crate) fn by_level(&self, level: Level) -> u64 {
        self.0.iter().map(|row| row[level as usize - 1]).sum()
    }
}

/// [`Drops`] as atomics. On cache lines of their own: the writer reads the callers' with every
/// batch, and what a caller raises on every call must not lie next to them.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct DropCounters([[AtomicU64; LEVELS]; DropReason::ALL.len()]);

impl DropCounters {
    pub(crate) fn count(&self, level: Level, reason: DropReason) {
        self.0[reason as usize][level as usize - 1].fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self, levels: Levels) -> Drops {
        let mut drops = Drops::default();
        for (row, counters) in drops.0.iter_mut().zip(&self.0) {
            for level in Level::iter().filter(|level| levels.has(*level)) {
                row[level as usize - 1] = counters[level as usize - 1].load(Relaxed);
            }
        }
        drops
    }
}
