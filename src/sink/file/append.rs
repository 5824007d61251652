//! Appends lines to the open file, and cuts the fragment that a failed write leaves. Runs on the
//! writer's thread.

use std::borrow::Cow;
use std::io;

use log::LevelFilter;

use crate::disk::Disk;
use crate::event::Cause;
use crate::sink::{Batch, Now, Purpose, Shortage, WriteError};

use super::FileSink;
use super::open_file::{OpenFile, Tail};

/// The line that reports a suspension is written only while at least this much is free.
const SPACE_FOR_NOTICE: u64 = 4096;
/// ERROR records are taken while at least this much of their reserve is left.
const SPACE_FOR_AN_ERROR: u64 = 512;

impl<D: Disk> FileSink<D> {
    /// Writes the whole lines of `batch` that fit into `budget` bytes.
    pub(super) fn append(&mut self, batch: &Batch<'_>, budget: u64) -> Result<(), WriteError> {
        if self.open.is_none() {
            return Err(WriteError::new(0, self.closed.by));
        }
        self.cut_left_fragment();
        let (lines, end, refused) = self.take_room(batch, budget)?;
        let (whole, end, result) = self.write_lines(batch, end);
        if let Some(open) = &mut self.open {
            open.path.lines_since += whole as u64;
        }
        self.rotator.wrote(&batch.first(whole));
        if let Err(error) = result {
            // A write that is reported as failed may have been done all the same.
            self.measure();
            self.query_space(batch.now().monotonic);
            // The blocks that a cut has given back are taken again before they look like free
            // space.
            let _ = self.preallocate(0);
            return Err(self.disk_refused(whole, error, batch.bytes().len() - end, batch.now()));
        }
        self.torn = false;
        if let Some(error) = refused {
            return Err(self.disk_refused(lines, error, batch.bytes().len() - end, batch.now()));
        }
        if lines == batch.len() {
            return Ok(());
        }
        // The write has taken space, which the line on the suspension must not report as free.
        self.query_space(batch.now().monotonic);
        Err(self.too_little(lines, batch, end))
    }

    /// Returns how many whole lines of `batch` there is room for and where they end, and why the
    /// disk gives no blocks for more, if it has refused them.
    fn take_room(&mut self, batch: &Batch<'_>, budget: u64) -> Result<(usize, usize, Option<io::Error>), WriteError> {
        let newline = usize::from(self.torn);
        let fits = |budget| usize::try_from(budget).unwrap_or(usize::MAX).saturating_sub(newline);
        let (mut lines, mut end) = batch.whole_lines_in(fits(budget));
        if lines == 0 && !batch.is_empty() {
            return Err(self.too_little(0, batch, 0));
        }
        let mut refused = None;
        while batch.purpose() == Purpose::Records {
            let Err(error) = self.preallocate((end + newline) as u64) else { break };
            // The bytes that are left are for these records first, so that a short line does not
            // find space a moment later.
            self.query_space(batch.now().monotonic);
            let budget = self.budget().without_more_blocks(refused.is_none());
            (lines, end) = batch.whole_lines_in(fits(budget).min(end.saturating_sub(1)));
            if lines == 0 {
                return Err(self.disk_refused(0, error, batch.bytes().len(), batch.now()));
            }
            refused = Some(error);
        }
        Ok((lines, end, refused))
    }

    /// Writes the lines of `batch` up to `end`, after the newline that is missing from a torn line.
    /// Returns how many of them are in the file and where they end, and cuts what is there of the
    /// next line.
    fn write_lines(&mut self, batch: &Batch<'_>, end: usize) -> (usize, usize, io::Result<()>) {
        let Some(open) = &mut self.open else { return (0, 0, Ok(())) };
        let newline = usize::from(self.torn);
        let bytes = after_newline(self.torn, &batch.bytes()[..end]);
        let (got, result) = open.write_all(&bytes);
        let (mut whole, end) = batch.whole_lines_in(got.saturating_sub(newline));
        if got < newline {
            whole = 0;
        }
        if got > 0 {
            open.dirty_since.get_or_insert(batch.now().monotonic);
        }
        if result.is_err() && got > 0 {
            let fragment = &bytes[(end + newline).min(got)..got];
            let start = open.start_of(fragment);
            let tail = open.cut_fragment(fragment);
            self.torn = tail == Tail::Torn;
            // A fragment that could not be cut and is missing only its newline is a whole line: the
            // next write brings the newline.
            let only_newline_missing = batch.ends().nth(whole) == Some(end + fragment.len() + 1);
            if tail != Tail::Cut && only_newline_missing && !open.has_emptied(start, fragment) {
                open.keep_fragment();
                whole += 1;
            }
        }
        (whole, end, result)
    }

    /// Cuts a fragment that was left, if that works now.
    pub(super) fn cut_left_fragment(&mut self) {
        let is_cut = self.torn && self.open.as_mut().is_some_and(OpenFile::cut_left_fragment);
        self.torn &= !is_cut;
    }

    /// Returns the error for the rest of `batch`, which does not fit after its first `lines` lines,
    /// which end at `end`. An ERROR that does not fit the error reserve says nothing about the free
    /// space.
    fn too_little(&mut self, lines: usize, batch: &Batch<'_>, end: usize) -> WriteError {
        if batch.purpose() == Purpose::Records {
            self.space.failed(Cause::LowSpace, (batch.bytes().len() - end) as u64);
        }
        self.low_space(lines, batch.bytes().len() - end)
    }

    /// Returns the error that less than `needed` bytes are writable.
    pub(super) fn low_space(&self, written: usize, needed: usize) -> WriteError {
        let known = self.space.free_and_min_free_space().filter(|(free, _)| *free >= SPACE_FOR_NOTICE);
        let mut error = WriteError::new(written, Cause::LowSpace);
        error.still_takes = self.still_takes();
        error.shortage = known.map(|(free_space, min_free_space)| Shortage {
            free_space,
            min_free_space,
            error_reserve: self.options.error_reserve,
            needed: needed as u64,
        });
        error
    }

    /// Returns the error of a disk that has not taken the last `rest` bytes.
    fn disk_refused(&mut self, written: usize, error: io::Error, rest: usize, now: Now) -> WriteError {
        if Cause::of(&error) == Cause::DiskFull {
            self.query_space(now.monotonic);
        }
        self.give_up(written, "write", error, rest as u64)
    }

    /// Judges what an error of the file means, and closes a file that is not worth keeping.
    pub(super) fn give_up(&mut self, written: usize, doing: &'static str, error: io::Error, bytes: u64) -> WriteError {
        let mut error = WriteError::failed(written, doing, error);
        match error.cause() {
            Cause::LowSpace | Cause::DiskFull | Cause::Quota | Cause::FileTooLarge => {}
            cause => self.close(cause),
        }
        self.space.failed(error.cause(), bytes);
        error.still_takes = self.still_takes();
        error
    }

    /// Returns the levels that the file takes although it is suspended: ERROR, as long as blocks
    /// are left that are the file's already.
    pub(super) fn still_takes(&self) -> LevelFilter {
        let is_open = self.open.is_some();
        if is_open && self.budget().for_errors() >= SPACE_FOR_AN_ERROR { LevelFilter::Error } else { LevelFilter::Off }
    }

    /// Writes ERROR lines into their reserve, while suspended.
    pub(super) fn append_urgent(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        // The last attempt to resume may be a second ago: nobody has checked the path since.
        self.check_path(batch.now())?;
        // Another process may have written into those blocks since, and what is left of them is all
        // that there is.
        if !self.measure() {
            self.check_path_now(batch.now())?;
        }
        self.append(batch, self.budget().for_errors())
    }

    /// Writes the one line below `min_free_space`: in one write, which is not repeated if the line
    /// is not in as a whole.
    pub(super) fn append_last_words(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let Some(open) = &mut self.open else { return Err(WriteError::new(0, self.closed.by)) };
        let bytes = after_newline(self.torn, batch.bytes());
        if self.rotator.size_left(open.len) < bytes.len() as u64 {
            return Err(WriteError::new(0, Cause::LowSpace));
        }
        let got = open.write_once(&bytes);
        if got == bytes.len() {
            self.torn = false;
            return Ok(());
        }
        if got > 0 {
            // A newline that went before the line stays: it ends what was torn.
            let fragment = &bytes[usize::from(self.torn)..got];
            self.torn = open.cut_fragment(fragment) == Tail::Torn;
        }
        Err(WriteError::new(0, Cause::LowSpace))
    }
}

fn after_newline(torn: bool, bytes: &[u8]) -> Cow<'_, [u8]> {
    if torn { Cow::Owned([b"\n", bytes].concat()) } else { Cow::Borrowed(bytes) }
}
