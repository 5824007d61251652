//! Makes lines and names as durable as the options ask for. Runs on the writer's thread.

use std::time::{Duration, Instant};

use log::Level;

use crate::disk::{Dir as _, Disk};
use crate::event::Cause;
use crate::sink::log_file::Fsync;
use crate::sink::{Batch, News, Now, WriteError};

use super::FileSink;
use super::open_file::OpenFile;

impl<D: Disk> FileSink<D> {
    /// Syncs a file that is about to be left: somebody may still read it, so that its lines are as
    /// durable as they were asked to be.
    pub(super) fn sync_left_file(&mut self) {
        if self.options.fsync == Fsync::Never {
            return;
        }
        if let Some(Err(error)) = self.open.as_mut().and_then(OpenFile::sync) {
            self.news.push(News::Failed { doing: "fsync", error });
        }
    }

    /// Syncs the names in the directory, as durable as lines were asked to be.
    pub(super) fn sync_dir(&mut self) {
        if self.options.fsync == Fsync::Never {
            return;
        }
        let Some((mut dir, _)) = self.open.as_ref().and_then(|open| self.disk.place(&open.file)) else { return };
        if let Err(error) = dir.sync() {
            self.news.push(News::Failed { doing: "fsync the directory", error });
        }
    }

    /// Syncs what is new. A descriptor whose sync failed may report the next one as a success, so
    /// the file is opened again instead. That suspends the output only where a full disk shows in a
    /// sync.
    fn sync(&mut self, now: Now, written: usize) -> Result<(), WriteError> {
        let Some(Err(error)) = self.open.as_mut().and_then(OpenFile::sync) else { return Ok(()) };
        let cause = Cause::of(&error);
        if matches!(cause, Cause::DiskFull | Cause::Quota) {
            let error = self.give_up(written, "fsync", error, 0);
            self.close(cause);
            return Err(error);
        }
        self.news.push(News::Failed { doing: "fsync", error });
        self.reopen(now).map_err(|error| error.after(written))
    }

    pub(super) fn sync_if_due(&mut self, now: Now, errors: bool, written: usize) -> Result<(), WriteError> {
        let due = match self.options.fsync {
            Fsync::Never => false,
            Fsync::AfterErrors => errors,
            Fsync::Every(_) => self.sync_due_in(now.monotonic).is_some_and(|left| left.is_zero()),
        };
        if due { self.sync(now, written) } else { Ok(()) }
    }

    /// Syncs the lines of `batch` that are in by `result`, if that is due.
    pub(super) fn sync_written(&mut self, batch: &Batch<'_>, result: Result<(), WriteError>) -> Result<(), WriteError> {
        let written = result.as_ref().map_or_else(WriteError::written, |()| batch.len());
        let errors = self.options.fsync == Fsync::AfterErrors
            && batch.lines().take(written).any(|line| line.level() == Level::Error);
        result.and(self.sync_if_due(batch.now(), errors, written))
    }

    /// Syncs what is new, for a flush.
    pub(super) fn sync_for_flush(&mut self) -> Result<(), WriteError> {
        if self.options.fsync == Fsync::Never {
            return Ok(());
        }
        let Some(Err(error)) = self.open.as_mut().and_then(OpenFile::sync) else { return Ok(()) };
        let error = self.give_up(0, "fsync", error, 0);
        self.close(error.cause());
        Err(error)
    }

    /// Returns true if all that was written to the open file is synced.
    pub(super) fn is_synced(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.dirty_since.is_none())
    }

    /// Returns the time until what is new has to be synced.
    pub(super) fn sync_due_in(&self, now: Instant) -> Option<Duration> {
        let Fsync::Every(every) = self.options.fsync else { return None };
        let dirty = self.open.as_ref()?.dirty_since?;
        Some(every.saturating_sub(now.saturating_duration_since(dirty)))
    }
}
