//! An open file: what exists only while it is open, and what is done to it. Runs on the writer's
//! thread.

use std::io;
use std::time::{Duration, Instant};

use crate::disk::DiskFile;

use super::preallocation::Preallocated;

/// The time between two attempts to get a lock that another process has.
const LOCK_EVERY: Duration = Duration::from_secs(10);
/// When a file is opened whose lock another process has, its end is read this often, at this
/// distance; it is torn if each look says so.
const TAIL_LOOKS: usize = 20;
const TAIL_PAUSE: Duration = Duration::from_millis(5);
/// A write that is interrupted this often in a row counts as failed.
const MOST_INTERRUPTIONS: usize = 100;

/// What exists only while the file is open.
pub(super) struct OpenFile<F> {
    pub(super) file: F,
    /// The file was found by its path: not a stream that belongs to the whole process.
    pub(super) opened_by_path: bool,
    lock: Lock,
    pub(super) path: PathChecks,
    /// When the first bytes that are not synced were written.
    pub(super) dirty_since: Option<Instant>,
    /// The length, as far as known: by the last look at it, and by what was written since.
    pub(super) len: u64,
    /// The length was seen since the file was opened.
    pub(super) measured: bool,
    /// Another process was seen to write here, or in the file before this one.
    pub(super) shared: bool,
    pub(super) blocks: Preallocated,
}

/// What is known of the exclusive lock.
struct Lock {
    held: bool,
    asked_at: Instant,
    /// Why nobody can have the lock, not reported yet.
    unavailable: Option<io::Error>,
}

/// What is known of the path of an open file.
pub(super) struct PathChecks {
    /// When the path was compared with the file; `None`: the next look does so.
    pub(super) checked_at: Option<Instant>,
    /// It was reported that another directory is at the path, to which no safe way leads.
    pub(super) reported_untrusted: bool,
    /// Lines written since the last check.
    pub(super) lines_since: u64,
}

impl<F: DiskFile> OpenFile<F> {
    /// Takes a file that was just opened. Also says whether it is torn, where that can be seen. A
    /// file of which nothing can be seen may be torn.
    pub(super) fn new(file: F, opened_by_path: bool, now: Instant) -> io::Result<(Self, Option<bool>)> {
        let blocks = Preallocated::new(opened_by_path && file.can_preallocate());
        let mut open = Self {
            file,
            opened_by_path,
            lock: Lock { held: false, asked_at: now, unavailable: None },
            path: PathChecks { checked_at: Some(now), reported_untrusted: false, lines_since: 0 },
            dirty_since: None,
            len: 0,
            measured: false,
            shared: false,
            blocks,
        };
        if opened_by_path {
            open.lock(now);
        }
        open.measure();
        open.shared = false;
        let torn = if open.holds_lock() { open.is_torn() } else { open.is_torn_for_good() };
        let torn = torn.or((!open.measured).then_some(true));
        Ok((open, torn))
    }

    /// Returns whether the file ends in the middle of a line, where its end can be read.
    pub(super) fn is_torn(&mut self) -> Option<bool> {
        if !self.opened_by_path {
            return None;
        }
        match self.file.last_byte().ok()? {
            Some(byte) => Some(byte != b'\n'),
            None => (self.file.len().ok()? == 0).then_some(false),
        }
    }

    /// Returns whether the file is torn where another process may be inside a write: then the file
    /// ends in the middle of a line only for a moment.
    pub(super) fn is_torn_for_good(&mut self) -> Option<bool> {
        for _ in 0..TAIL_LOOKS {
            if !self.is_torn()? {
                return Some(false);
            }
            self.file.pause(TAIL_PAUSE);
        }
        Some(true)
    }

    /// Reads the length of the file. Returns by how many bytes another process has made the file
    /// shorter, or nothing if the length cannot be seen now.
    pub(super) fn measure(&mut self) -> Option<u64> {
        if !self.opened_by_path {
            self.measured = true;
            return Some(0);
        }
        let Ok(len) = self.file.len() else {
            // Nor is it seen whether the blocks beyond the end are still there.
            self.blocks.forget();
            return None;
        };
        let shorter = self.len.saturating_sub(len);
        self.shared |= self.measured && len > self.len;
        // Whoever cuts a file gives back what is beyond its end. Where there was nothing to cut, or
        // where another process has written since, only the number of blocks shows that.
        let is_hidden = self.blocks.reach_beyond(len) && (len == 0 || self.shared);
        if shorter > 0 || is_hidden && self.blocks.are_gone(self.file.allocated()) {
            self.blocks.forget();
        }
        (self.len, self.measured) = (len, true);
        Some(shorter)
    }

    /// Returns whether this process has the exclusive lock: no other process of ours writes here,
    /// or rotates the file.
    pub(super) fn holds_lock(&self) -> bool {
        self.lock.held
    }

    /// Returns once why nobody can have the lock.
    pub(super) fn take_lock_error(&mut self) -> Option<io::Error> {
        self.lock.unavailable.take()
    }

    /// Gives back the lock, and the blocks beyond the end, before the file is closed.
    pub(super) fn release(&mut self) {
        self.give_back_blocks();
        if std::mem::take(&mut self.lock.held) {
            self.file.unlock();
        }
    }

    /// Syncs, if there is something new.
    pub(super) fn sync(&mut self) -> Option<io::Result<()>> {
        self.dirty_since.take().map(|_| self.file.sync())
    }

    /// Asks for the lock again when the time has come. Returns whether it was got just now.
    pub(super) fn lock_if_due(&mut self, now: Instant) -> bool {
        now.saturating_duration_since(self.lock.asked_at) >= LOCK_EVERY && self.lock_now(now)
    }

    /// Asks for the lock at once, if it is missing. Returns whether it was got just now.
    pub(super) fn lock_now(&mut self, now: Instant) -> bool {
        if self.lock.held || !self.opened_by_path {
            return false;
        }
        self.lock(now);
        if self.lock.held {
            // The lock may have come free because the file was rotated.
            self.path.checked_at = None;
        }
        self.lock.held
    }

    /// Asks for the lock. Another process has it, or the file system has no locks: both mean that
    /// nothing may be cut, renamed or deleted.
    fn lock(&mut self, now: Instant) {
        self.lock.asked_at = now;
        match self.file.lock() {
            Ok(held) => self.lock.held = held,
            Err(error) => self.lock.unavailable = Some(error),
        }
    }

    /// Writes until all is in or an error comes. Returns how many bytes are in.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let (mut got, mut interruptions) = (0, 0);
        while got < bytes.len() {
            match self.file.write(&bytes[got..]) {
                Ok(0) => return (got, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => {
                    (got, interruptions) = (got + more, 0);
                    self.len = self.len.saturating_add(more as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted && interruptions < MOST_INTERRUPTIONS => {
                    interruptions += 1;
                }
                Err(error) => return (got, Err(error)),
            }
        }
        (got, Ok(()))
    }

    /// Removes the last `fragment` bytes, which are no whole line, if no other process can have
    /// written after them. Returns whether the file ends with a whole line now; if not, the next
    /// write begins with a newline.
    pub(super) fn cut_fragment(&mut self, fragment: usize) -> bool {
        fragment == 0 || self.cut(fragment as u64).is_some()
    }

    fn cut(&mut self, fragment: u64) -> Option<()> {
        if !self.lock.held {
            return None;
        }
        let end = self.file.end().ok()?;
        if self.file.len().ok()? != end {
            return None;
        }
        let len = end.checked_sub(fragment)?;
        self.file.cut(len).ok()?;
        self.len = len;
        // The cut has given back the blocks beyond the end.
        self.blocks.forget();
        Some(())
    }
}
