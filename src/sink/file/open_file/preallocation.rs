//! Blocks beyond the end of a file, which are taken before a batch is written, and what a file may
//! write: `Budget` is pure. Runs on the writer's thread.

use std::io;

use crate::disk::DiskFile;
use crate::event::Cause;

use crate::sink::file::space::Space;

use super::OpenFile;

/// The blocks that this process has taken for a file.
#[derive(Debug)]
pub(in crate::sink::file) struct Preallocated {
    /// Blocks beyond the end can be taken.
    supported: bool,
    /// Up to where they were taken, if that is beyond the end.
    end: u64,
    /// The bytes of all the file's blocks at that time.
    allocated: u64,
    /// The most bytes that were ever preallocated for ERROR lines in this file.
    largest_error_reserve: u64,
}

impl Preallocated {
    pub(in crate::sink::file) fn new(supported: bool) -> Self {
        Self { supported, end: 0, allocated: 0, largest_error_reserve: 0 }
    }

    /// Counts no block as taken any more.
    pub(in crate::sink::file) fn forget(&mut self) {
        self.end = 0;
    }

    /// Returns whether blocks were taken beyond this length.
    pub(in crate::sink::file) fn reach_beyond(&self, len: u64) -> bool {
        self.end > len
    }

    /// Returns whether another process has given back blocks, by what the file has now. A file that
    /// has enough for everything up to their end has lost none of them: a file system also counts
    /// the blocks in which it notes where the others are.
    pub(in crate::sink::file) fn are_gone(&self, allocated: u64) -> bool {
        allocated < self.allocated.min(self.end)
    }
}

impl<F: DiskFile> OpenFile<F> {
    /// Returns how many bytes can be written into preallocated blocks.
    pub(in crate::sink::file) fn ahead(&self) -> u64 {
        self.blocks.end.saturating_sub(self.len)
    }

    pub(in crate::sink::file) fn can_preallocate(&self) -> bool {
        self.blocks.supported && self.holds_lock() && self.measured
    }

    /// Preallocates blocks for the next lines and the error reserve, by the budget before that; in
    /// larger steps while there is plenty of free space, so that this is not done before each
    /// write.
    ///
    /// # Errors
    ///
    /// There is no space for them.
    pub(in crate::sink::file) fn preallocate(&mut self, lines: u64, budget: &Budget, space: &Space) -> io::Result<()> {
        let error_reserve = budget.error_reserve();
        let bytes = lines.saturating_add(error_reserve);
        if error_reserve == 0 || budget.writable.saturating_add(budget.ahead) < bytes {
            return Ok(()); // There is no space, or it is not for us to take.
        }
        self.take_blocks(bytes, space.preallocation_step(), space.block())?;
        self.blocks.largest_error_reserve = self.blocks.largest_error_reserve.max(error_reserve);
        Ok(())
    }

    fn take_blocks(&mut self, bytes: u64, more: u64, block: u64) -> io::Result<()> {
        if !self.can_preallocate() || self.ahead() >= bytes {
            return Ok(());
        }
        // Whole blocks: the rest of the last one would look like space to whoever asks for a little
        // more.
        let least = self.len.saturating_add(bytes).div_ceil(block).saturating_mul(block);
        // Where another process writes, too, blocks are not given back at the end, and each archive
        // keeps them: so none is taken that the error reserve does not need.
        let more = if self.shared.ever { 0 } else { more / block * block };
        // On a full disk each attempt may cost a wait for the file system's journal.
        let steps = [least.saturating_add(more), least];
        for to in steps.into_iter().skip(usize::from(more == 0)) {
            match self.file.preallocate(self.len, to) {
                Ok(()) => {
                    self.blocks.end = to;
                    // If that cannot be seen, the next comparison takes them for gone.
                    self.blocks.allocated = self.file.size().map_or(u64::MAX, |size| size.allocated);
                    return Ok(());
                }
                Err(error) if matches!(Cause::of(&error), Cause::DiskFull | Cause::Quota) && to == least => {
                    return Err(error);
                }
                Err(error) if matches!(Cause::of(&error), Cause::DiskFull | Cause::Quota) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()), // The next batch asks again.
                // Not here: the file goes on without an error reserve.
                Err(_) => {
                    self.blocks.supported = false;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Gives back the blocks beyond the end, unless another process writes, too: only a cut gives
    /// them back, and it would remove a line that came between the look and the cut. A process that
    /// has written to an earlier file announces itself here before it writes, if it can announce
    /// itself at all.
    pub(in crate::sink::file) fn give_back_blocks(&mut self) {
        let is_shared = if self.file.is_announced() { self.shared.here } else { self.shared.ever };
        if self.blocks.end > 0 && !is_shared && self.still_holds_lock() {
            // Should it fail, `du` shows it until the file is written again.
            self.shorten(self.len, self.len);
        }
        self.blocks.forget();
    }
}

/// How many bytes a file may take now.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink::file) struct Budget {
    /// What the file system leaves above `min_free_space`.
    writable: u64,
    /// As many as `writable`, or as the file system has if it has less.
    known_writable: u64,
    /// What the file system has for certain.
    free_for_certain: u64,
    /// Free space alone says when to stop and when to resume.
    has_min_free_space: bool,
    can_preallocate: bool,
    /// What can be written into preallocated blocks.
    ahead: u64,
    largest_error_reserve: u64,
    /// The option `error_reserve`.
    most_error_reserve: u64,
    /// Bytes until the file has its largest size.
    size_left: u64,
    /// The output does not write, and has not since an error.
    suspended: bool,
}

impl Budget {
    pub(in crate::sink::file) fn new<F: DiskFile>(
        space: &Space,
        open: Option<&OpenFile<F>>,
        error_reserve: u64,
    ) -> Self {
        Self {
            writable: space.writable(),
            known_writable: space.known_writable(),
            free_for_certain: space.free_for_certain(),
            has_min_free_space: space.has_min_free_space(),
            can_preallocate: open.is_some_and(OpenFile::can_preallocate),
            ahead: open.map_or(0, OpenFile::ahead),
            largest_error_reserve: open.map_or(0, |open| open.blocks.largest_error_reserve),
            most_error_reserve: error_reserve,
            size_left: u64::MAX,
            suspended: false,
        }
    }

    /// Sets how much the file may still grow.
    pub(in crate::sink::file) fn size_left(self, size_left: u64) -> Self {
        Self { size_left, ..self }
    }

    /// Sets whether the output is suspended.
    pub(in crate::sink::file) fn suspended(self, suspended: bool) -> Self {
        Self { suspended, ..self }
    }

    /// Returns how many bytes of records of all levels may be written: what the space allows and
    /// what is preallocated, without the error reserve.
    pub(in crate::sink::file) fn for_records(&self) -> u64 {
        if self.can_preallocate {
            self.writable.saturating_add(self.ahead).saturating_sub(self.error_reserve())
        } else {
            self.writable
        }
    }

    /// Returns how many bytes of ERROR lines may be written while the output is suspended.
    pub(in crate::sink::file) fn for_errors(&self) -> u64 {
        self.ahead.min(self.size_left)
    }

    /// Returns how many bytes of records there is space for where no more blocks can be
    /// preallocated: what is preallocated, and what the file system has if it is to be believed.
    pub(in crate::sink::file) fn without_more_blocks(&self, believe: bool) -> u64 {
        let free = if believe { self.free_for_certain } else { 0 };
        free.saturating_add(self.ahead).saturating_sub(self.error_reserve())
    }

    /// Returns how many bytes are preallocated for ERROR lines: `error_reserve`, or where space is
    /// low half of it, and never less than what is left of the largest error reserve.
    pub(in crate::sink::file) fn error_reserve(&self) -> u64 {
        let half = self.known_writable.saturating_add(self.ahead) / 2;
        // Where no mark says when a full disk has recovered, the error reserve must be able to
        // stand again as before.
        let before = if self.suspended && !self.has_min_free_space { self.largest_error_reserve } else { 0 };
        self.most_error_reserve.min(half.max(self.largest_error_reserve.min(self.ahead)).max(before))
    }

    /// Returns whether the error reserve is not all preallocated, and could be.
    pub(in crate::sink::file) fn is_short_of_error_reserve(&self) -> bool {
        self.can_preallocate && self.ahead < self.error_reserve()
    }
}
