//! The sink of a file: one function decides what comes next, `next_step`; the others do it. Runs on
//! the writer's thread.

mod append;
mod lock;
mod missing_lock;
mod open_file;
mod reopen;
mod sync;

mod archives;
mod rotate;

pub(crate) mod archive_name;
pub(crate) mod retention;
mod schedule;
mod space;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use log::LevelFilter;

use crate::disk::{Disk, DiskFile, Stream};
use crate::event::Cause;

use self::archives::Archives;
use self::missing_lock::MissingLock;
use self::open_file::preallocation::Budget;
use self::open_file::{Closed, OpenFile};
use self::rotate::Rotator;
use self::space::{Answer, Space};
use super::log_file::{FileOptions, WhenLow};
use super::{Batch, Command, Health, News, Now, OutputSink, Purpose, WriteError};

/// Where a file sink writes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Path(PathBuf),
    Stream(Stream),
}

/// Appends to a regular file, which a path or a stream of the process leads to.
pub(crate) struct FileSink<D: Disk> {
    disk: D,
    target: Target,
    options: FileOptions,
    space: Space,
    open: Option<OpenFile<D::File>>,
    rotator: Rotator,
    archives: Archives,
    closed: Closed<D::Stream>,
    /// The file ends in the middle of a line: the next write begins with a newline.
    torn: bool,
    /// The sink could not write, and has not written since.
    suspended: bool,
    missing_lock: MissingLock,
    /// News that is not reported yet.
    news: Vec<News>,
}

/// What a file sink does next with the lines of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Appends this many lines to the open file.
    Append(usize),
    /// Rotates the file; the next line is the first one of the new file.
    Rotate,
}

/// Decides what comes next, if `lines` lines of a batch are left and the first `belong` of them
/// belong in the open file. Returns nothing if all lines are in.
fn next_step(lines: usize, belong: usize) -> Option<Step> {
    match (lines, belong) {
        (0, _) => None,
        (_, 0) => Some(Step::Rotate),
        (lines, belong) => Some(Step::Append(belong.min(lines))),
    }
}

impl<D: Disk> FileSink<D> {
    pub(crate) fn new(disk: D, target: Target, options: FileOptions) -> Self {
        let path = match &target {
            Target::Path(path) => path.clone(),
            Target::Stream(_) => PathBuf::new(),
        };
        Self {
            disk,
            space: Space::new(options.min_free_space),
            open: None,
            rotator: Rotator::new(options.rotation, options.start.clone()),
            archives: Archives::new(&path, &options),
            target,
            options,
            closed: Closed::default(),
            torn: false,
            suspended: false,
            missing_lock: MissingLock::default(),
            news: Vec::new(),
        }
    }

    /// Takes the stream that the last attempt has found where a file was expected.
    pub(super) fn take_stream(&mut self) -> Option<D::Stream> {
        self.closed.stream.take()
    }

    /// Writes the records of `batch`: into this file those that belong in it, the others into the
    /// next.
    fn write_records(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let now = batch.now();
        let mut written = 0;
        let mut may_rotate = true;
        let mut path_checked = false;
        self.take_lock_back(now)?;
        self.cut_left_fragment();
        loop {
            let rest = batch.after(written);
            let belong = if may_rotate { self.lines_for_this_file(&rest) } else { rest.len() };
            let Some(step) = next_step(rest.len(), belong) else { return Ok(()) };
            // Somebody may have cut the file, or another process may have been stopped inside its
            // line. Both can still happen between this look and the write. The look also shows what
            // happened to the preallocated blocks, so the budget is made after it.
            let is_seen = self.measure();
            if (step == Step::Rotate || !is_seen) && !std::mem::replace(&mut path_checked, true) {
                // A file is rotated only while it is at its path; otherwise the lines belong in the
                // file that is there. A file whose length cannot be read may be the program's by
                // now.
                self.check_path_now(now).map_err(|error| error.after(written))?;
                continue;
            }
            // Asked before every part, because another output or another process may have written
            // since. Asked only after the checks above, because the file may have been the
            // program's.
            self.query_space(now.monotonic);
            let (lines, error) = match self.take(step, &rest) {
                Ok(lines) => (lines, None),
                Err(error) => (error.written(), Some(error)),
            };
            written += lines;
            self.archives.wrote(lines);
            match error {
                // A rotation that has failed is not tried again for this batch.
                None => may_rotate &= lines > 0,
                Some(error) => {
                    let mended = self.mend(error, &batch.after(written), may_rotate);
                    written += mended.map_err(|error| error.after(written))?;
                }
            }
        }
    }

    /// Takes a step with the lines that are left of a batch. Returns how many of them it has
    /// written: none, if a rotation has failed.
    fn take(&mut self, step: Step, rest: &Batch<'_>) -> Result<usize, WriteError> {
        match step {
            Step::Append(lines) => self.append(&rest.first(lines), self.budget().for_records()).map(|()| lines),
            Step::Rotate => self.rotate(&rest.first(1)).map(usize::from),
        }
    }

    /// Removes what has stopped a batch, if that can be done: rotates a file that may not grow, or
    /// deletes old archives. Returns how many lines of `rest` it has written.
    ///
    /// # Errors
    ///
    /// The batch ends here.
    fn mend(&mut self, error: WriteError, rest: &Batch<'_>, may_rotate: bool) -> Result<usize, WriteError> {
        match error.cause() {
            // This file may not grow; the next one may.
            Cause::FileTooLarge if may_rotate && self.may_rotate_a_full_file() => {
                if self.rotate(&rest.first(1))? {
                    Ok(1)
                } else {
                    Err(error)
                }
            }
            Cause::LowSpace | Cause::DiskFull if self.delete_for_space(rest.now()) => {
                self.news.extend(error.news);
                Ok(0)
            }
            _ => Err(error),
        }
    }

    /// Returns how many leading lines of `batch` belong in the open file.
    fn lines_for_this_file(&mut self, batch: &Batch<'_>) -> usize {
        let now = batch.now().monotonic;
        match &self.open {
            Some(open) if open.holds_lock() => {
                self.rotator.lines_for(batch, open.len + u64::from(self.torn), self.suspended, now)
            }
            _ => batch.len(),
        }
    }

    /// Deletes old archives if the options say so. Returns whether there may be space now.
    fn delete_for_space(&mut self, now: Now) -> bool {
        let deletes = self.options.when_low == WhenLow::DeleteOldest;
        if !deletes || !self.archives.may_delete_for_space(now.monotonic) {
            return false;
        }
        let Some(open) = self.open.as_mut().filter(|open| open.holds_lock()) else { return false };
        let space = &mut self.space;
        let shortfall = |open: &mut OpenFile<D::File>| {
            query_space(space, open, now.monotonic);
            space.shortfall()
        };
        let deleted = self.archives.delete_for_space(&mut self.disk, open, shortfall, now, &mut self.news);
        if deleted && self.space.may_commit(now.monotonic) {
            self.commit_freed(now);
        }
        deleted
    }

    /// Makes the freed blocks show in the free space. That may take long: the other outputs of this
    /// writer wait for it, but no caller does.
    fn commit_freed(&mut self, now: Now) {
        // If the commit fails, the next answer shows as little free space as before.
        if self.open.as_mut().is_some_and(|open| open.file.commit_freed().unwrap_or(false)) {
            self.query_space(now.monotonic);
        }
    }

    fn query_space(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            query_space(&mut self.space, open, now);
        }
    }

    /// Returns how many bytes the file may take now.
    fn budget(&self) -> Budget {
        let size_left = self.open.as_ref().map_or(u64::MAX, |open| self.rotator.size_left(open.len));
        Budget::new(&self.space, self.open.as_ref(), self.options.error_reserve)
            .size_left(size_left)
            .suspended(self.suspended)
    }

    /// Preallocates blocks for the next `lines` bytes and for the error reserve after them: a full
    /// disk shows here, before anything is written.
    fn preallocate(&mut self, lines: u64) -> std::io::Result<()> {
        let budget = self.budget();
        match &mut self.open {
            Some(open) => open.preallocate(lines, &budget, &self.space),
            None => Ok(()),
        }
    }

    fn get_ready(&mut self, now: Now) -> Result<(), WriteError> {
        // A process that has preallocated blocks for ERROR lines keeps the lock.
        let gives_way = self.asks_for_archives() && self.still_takes() == LevelFilter::Off;
        if let Some(open) = &mut self.open {
            // Some causes of a suspension only the holder of the lock can remove: it rotates a file
            // that may not grow.
            if !gives_way || !open.give_up_lock_if_silent(now.monotonic) {
                open.lock_unless_given_up(now.monotonic);
            }
            open.announce_if_due(now.monotonic);
        }
        self.check_path(now)?;
        match &mut self.open {
            None => self.reopen(now)?,
            // While the output was suspended, the full disk may have cut another process's line.
            Some(open) => self.torn = open.is_torn().unwrap_or(self.torn),
        }
        self.query_space(now.monotonic);
        if self.space.must_commit(now.monotonic) {
            self.commit_freed(now);
        }
        let mut may_resume = self.space.may_resume(now.monotonic);
        if may_resume.is_err() && self.delete_for_space(now) {
            // The decision starts over, as at the first look.
            self.space.works();
            self.query_space(now.monotonic);
            may_resume = self.space.may_resume(now.monotonic);
        }
        match may_resume {
            Ok(()) => {
                let _ = self.preallocate(0); // Without blocks the next batch reports it.
                Ok(())
            }
            Err(after) => {
                let error = self.low_space(0, 0);
                Err(match after {
                    Some(after) => error.retry_after(after),
                    None => error,
                })
            }
        }
    }

    /// Maintains the file between two batches.
    fn maintain(&mut self, now: Now) -> Result<(), WriteError> {
        // The gap line was in, and the batch after it failed: nothing else opens the file again.
        if self.open.is_none() {
            self.reopen(now)?;
        }
        if let Some(open) = &mut self.open {
            open.announce_if_due(now.monotonic);
            if open.lock_if_due(now.monotonic) {
                self.lock_was_got();
            }
        }
        self.report_missing_lock(now);
        self.check_path(now)?;
        self.sync_if_due(now, false, 0)?;
        // The size of the error reserve depends on the free space now: another process may have cut
        // the file and filled the disk.
        if self.space.must_look(now.monotonic) || self.budget().is_short_of_error_reserve() {
            self.query_space(now.monotonic);
        }
        let _ = self.preallocate(0); // Without blocks the next batch reports it.
        let (keeps_archives, gives_way) = (self.keeps_archives(), self.asks_for_archives());
        let Some(open) = self.open.as_mut().filter(|open| open.holds_lock()) else { return Ok(()) };
        if gives_way && open.give_up_lock_if_silent(now.monotonic) {
            return Ok(());
        }
        if keeps_archives && self.archives.must_tidy(open.len, now.monotonic) {
            self.archives.tidy(&mut self.disk, open, now, &mut self.news);
            self.resume_interrupted(now);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if !self.space.is_low() {
            self.archives.compress(&mut self.disk, open, self.space.headroom(), now.monotonic, &mut self.news);
        }
        Ok(())
    }

    /// Returns whether the options ask for a rotation or a deletion, which only a regular file can
    /// have.
    fn asks_for_archives(&self) -> bool {
        self.options.when_low == WhenLow::DeleteOldest || self.rotator.is_enabled() || self.archives.are_limited()
    }

    /// Returns whether archives are to be made, deleted or compressed here.
    fn keeps_archives(&self) -> bool {
        self.rotator.is_enabled() || self.archives.are_limited() || self.archives.compressor.is_enabled()
    }

    /// Remembers whether the sink could write. What happened before a suspension is reported with
    /// it; what happens during one waits, and is reported as one thing however often it happens.
    fn remember(&mut self, result: Result<(), WriteError>) -> Result<(), WriteError> {
        let was_suspended = std::mem::replace(&mut self.suspended, result.is_err());
        if was_suspended {
            News::join(&mut self.news);
        }
        result.map_err(|mut error| {
            if !was_suspended {
                error.news.splice(0..0, self.news.drain(..));
            }
            error
        })
    }
}

impl<D: Disk> OutputSink for FileSink<D> {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        match batch.purpose() {
            Purpose::Records => {
                let result = self.write_records(batch);
                if result.is_ok() {
                    self.space.works();
                }
                let result = self.sync_written(batch, result);
                self.remember(result)
            }
            // Whatever the result, the suspension is not over.
            Purpose::Urgent => {
                let result = self.append_urgent(batch);
                self.sync_written(batch, result)
            }
            Purpose::LastWords => self.append_last_words(batch),
        }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        match self.sync_for_flush() {
            Ok(()) => Ok(()),
            error => self.remember(error),
        }
    }

    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        // The sink stays suspended until a line is in.
        match self.get_ready(now) {
            Ok(()) => Ok(()),
            error => self.remember(error),
        }
    }

    fn has_recovered(&self) -> bool {
        self.space.has_recovered()
    }

    fn check(&mut self, now: Now) -> Result<Health, WriteError> {
        let maintained = self.maintain(now);
        self.remember(maintained)?;
        Ok(Health {
            low: self.space.is_low(),
            synced: self.is_synced(),
            news: std::mem::take(&mut self.news),
            check_after: if self.archives.has_more() { Some(Duration::ZERO) } else { self.sync_due_in(now.monotonic) },
        })
    }

    fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    fn command(&mut self, command: Command, now: Now) -> Result<(), WriteError> {
        match command {
            Command::Reopen => {
                let reopened = match (&self.target, &self.open) {
                    // A file that is still at its path stays open: a program that has dropped its
                    // rights could not open it again. Lines that are lost with a deleted file are
                    // reported.
                    (Target::Path(_), Some(_)) => self.follow_path(now),
                    (Target::Stream(_), Some(_)) => self.reopen_stream(now),
                    (_, None) => self.reopen(now),
                };
                self.remember(reopened)
            }
            Command::Rotate => {
                if let Some(open) = &mut self.open {
                    open.lock_now(now.monotonic);
                }
                let checked = self.check_path_now(now);
                self.remember(checked)?;
                self.query_space(now.monotonic);
                let Some(open) = self.open.as_ref().filter(|open| open.opened_by_path && open.len > 0) else {
                    return Ok(());
                };
                if !open.holds_lock() {
                    self.news.push(News::Failed { doing: "rotate", error: open.lock.why_missing() });
                } else if !matches!(self.rotate(&Batch::new(&[], &[], now)), Ok(true)) {
                    // The rotation is tried again before the next record, once its back-off is
                    // over.
                    self.rotator.request();
                }
                Ok(())
            }
            Command::Close => {
                self.open.iter_mut().for_each(OpenFile::release);
                Ok(())
            }
        }
    }
}

fn query_space<F: DiskFile>(space: &mut Space, open: &mut OpenFile<F>, now: Instant) {
    let answer = match open.file.free_space() {
        Ok(answer) => Answer::Known { total: answer.total, free: answer.free, block: answer.block },
        Err(_) => Answer::Unknown, // The write reports what is wrong.
    };
    space.answer(answer, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_follows_the_lines_that_are_left_and_those_that_belong_here() {
        // (lines left, lines that belong in this file, step)
        let cases = [
            (0, 0, None),
            (0, 3, None),
            (1, 0, Some(Step::Rotate)),
            (3, 0, Some(Step::Rotate)),
            (3, 1, Some(Step::Append(1))),
            (3, 3, Some(Step::Append(3))),
            (3, 9, Some(Step::Append(3))),
        ];
        for (lines, belong, step) in cases {
            assert_eq!(next_step(lines, belong), step, "{lines} lines, {belong} belong here");
        }
    }
}
