//! The lock of the open file: who has it rotates, deletes, cuts and preallocates. Runs on the
//! writer's thread.
//!
//! The lock is that of the file's name, and passes on to the file that gets the name.

use std::io;
use std::time::{Duration, Instant};

use crate::disk::{Disk, DiskFile};
use crate::sink::{News, Now, WriteError};

use super::FileSink;
use super::missing_lock::held_by_another;
use super::open_file::OpenFile;

/// An announcement that failed is tried again this often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

impl<F: DiskFile> OpenFile<F> {
    /// Returns whether this process has the lock, as far as it knows: no other process of ours
    /// writes here, or rotates the file.
    pub(super) fn holds_lock(&self) -> bool {
        self.lock.held
    }

    /// Looks whether this process still has the lock: whoever may write to the directory can take
    /// it away. To be asked before a name is changed, and before the file is cut.
    pub(super) fn still_holds_lock(&mut self) -> bool {
        if self.lock.held && !self.file.holds_lock() {
            self.lock.held = false;
            self.lock.missing = Some(taken_away());
        }
        self.lock.held
    }

    /// Gives back the blocks beyond the end, and the lock, before the file is closed.
    pub(super) fn release(&mut self) {
        self.give_back_blocks();
        if std::mem::take(&mut self.lock.held) {
            self.file.unlock();
        }
    }

    /// Gives back the blocks beyond the end, before the file is closed, and takes the lock out, for
    /// the file that is opened next.
    pub(super) fn leave(&mut self) -> Option<F::Lock> {
        self.give_back_blocks();
        self.lock.held = false;
        self.file.take_lock()
    }

    /// Gives the lock up for a while if other processes write and this one does not: the holder
    /// rotates and deletes only before a record of its own. Returns whether it was given up.
    pub(super) fn give_up_lock_if_silent(&mut self, now: Instant) -> bool {
        let gives_up = self.lock.held && self.lock.turn.ends(now);
        if gives_up {
            self.release();
            self.lock.asked_at = now;
        }
        gives_up
    }

    /// Takes over the lock of the file that had the name before.
    pub(super) fn inherit_lock(&mut self, before: &mut Self, now: Instant) {
        if let Some(lock) = before.leave() {
            self.file.accept_lock(lock);
        }
        self.lock(now);
    }

    /// Asks for the lock again when the time has come. Returns whether it was got just now.
    pub(super) fn lock_if_due(&mut self, now: Instant) -> bool {
        now.saturating_duration_since(self.lock.asked_at) >= self.lock.turn.asks_every() && self.lock_now(now)
    }

    /// Asks for the lock at once, if it is missing, or when the time has come, if it was given up.
    pub(super) fn lock_unless_given_up(&mut self, now: Instant) {
        if self.lock.turn.is_over() {
            self.lock_if_due(now);
        } else {
            self.lock_now(now);
        }
    }

    /// Asks again, before a record, for the lock that was given up. Returns whether it was got just
    /// now.
    pub(super) fn take_lock_back(&mut self, now: Instant) -> bool {
        self.lock.turn.is_over() && self.lock_now(now)
    }

    /// Announces again from time to time what could not be announced.
    pub(super) fn announce_if_due(&mut self, now: Instant) {
        let is_due = now.saturating_duration_since(self.lock.announced_at) >= ANNOUNCE_EVERY;
        if self.opened_by_path && is_due && !self.file.is_announced() {
            self.lock.announced_at = now;
            self.file.announce(Duration::ZERO);
        }
    }

    /// Asks for the lock at once, if it is missing. Returns whether it was got just now.
    pub(super) fn lock_now(&mut self, now: Instant) -> bool {
        if self.lock.held || !self.opened_by_path {
            return false;
        }
        self.lock(now);
        if self.lock.held {
            // Its holder may have rotated the file.
            self.path.checked_at = None;
        }
        self.lock.held
    }

    /// Asks for the lock. Another process has it, or nobody can have it here: both mean that
    /// nothing may be cut, renamed or deleted.
    pub(super) fn lock(&mut self, now: Instant) {
        self.lock.asked_at = now;
        self.lock.missing = match self.file.lock() {
            Ok(true) => None,
            Ok(false) => Some(held_by_another()),
            Err(error) => Some(error),
        };
        self.lock.held = self.lock.missing.is_none();
        if self.lock.held {
            self.lock.turn.begins();
        }
    }
}

impl<D: Disk> FileSink<D> {
    /// Takes the lock back before a record if nobody has wanted it. The holder rotates before a
    /// record of its own: one that logs rarely, next to a program that only appends, would have
    /// given the lock up before each.
    pub(super) fn take_lock_back(&mut self, now: Now) -> Result<(), WriteError> {
        if !self.open.as_mut().is_some_and(|open| open.take_lock_back(now.monotonic)) {
            return Ok(());
        }
        self.lock_was_got();
        self.check_path(now)
    }

    /// Takes over what the former holder of the lock has left, now that the lock was got.
    pub(super) fn lock_was_got(&mut self) {
        if let Some(open) = &mut self.open {
            self.torn = open.is_torn().unwrap_or(self.torn);
            self.archives.must_tidy_now();
        }
    }

    /// Reports a lock that is missing: without it nothing is rotated or deleted, whatever the
    /// options say.
    pub(super) fn report_missing_lock(&mut self, now: Now) {
        let is_needed = self.asks_for_archives();
        let Some(open) = self.open.as_mut().filter(|open| open.opened_by_path) else { return };
        let rotation_is_due = self.rotator.is_overdue(open.len);
        if open.lock.held {
            return self.missing_lock.is_held(rotation_is_due || self.archives.were_overdue());
        }
        let is_due = rotation_is_due || self.archives.are_overdue(&self.disk, open, now);
        // The next attempt to get it says again why that fails.
        let Some(error) = &open.lock.missing else { return };
        let is_foreign = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied);
        if self.missing_lock.must_report(!is_foreign && is_needed, is_due, now.monotonic) {
            self.news.extend(open.lock.missing.take().map(|error| News::Failed { doing: "lock", error }));
        }
    }
}

pub(super) fn taken_away() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the lock file was removed by somebody else")
}
