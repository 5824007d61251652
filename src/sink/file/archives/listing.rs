//! A look through the directory of a log. There may be tens of thousands of archives, and each is
//! asked for: so it goes on bit by bit, between batches and after rotations. Runs on the writer's
//! thread.

use std::collections::BinaryHeap;
use std::ffi::OsString;
use std::io;
use std::time::SystemTime;

use crate::disk::{Dir, DiskFile, PathState};
use crate::sink::file::archive_name::{Archive, Names};

use super::compress::Compressor;
use super::is_missing;
use super::known::Found;

/// What a look through the directory has found so far.
#[derive(Debug)]
pub(super) struct Listing {
    /// The names that are still to be looked at: first what was left unfinished, then the archives,
    /// the newest first.
    left: BinaryHeap<(bool, OsString)>,
    found: Vec<Found>,
    /// Next active files that never became the active one, and hold records; and when they were
    /// written.
    with_records: Vec<(SystemTime, OsString)>,
    /// How many files with an archive's name were passed over, because they have other names.
    doubtful: usize,
    /// The second name of the active file that cannot be removed.
    second_name: Option<Archive>,
    /// Removes what a crash has left. Only the process with the lock may.
    mends: bool,
}

impl Listing {
    pub(super) fn begin<D: Dir>(dir: &mut D, names: &Names, mends: bool) -> io::Result<Self> {
        let wanted = dir.names(&|name| names.looks_like_an_archive(name) || (mends && names.is_unfinished(name)))?;
        let left = wanted.into_iter().map(|name| (!names.looks_like_an_archive(&name), name)).collect();
        Ok(Self { left, found: Vec::new(), with_records: Vec::new(), doubtful: 0, second_name: None, mends })
    }

    pub(super) fn mends(&self) -> bool {
        self.mends
    }

    /// Returns the archive's name that a failed rotation has given the active file, if it cannot be
    /// removed.
    pub(super) fn second_name(&self) -> Option<Archive> {
        self.second_name
    }

    /// Looks at the next names, at most `most` of them. Returns true if none is left.
    pub(super) fn go_on<D: Dir<File = F>, F: DiskFile>(
        &mut self,
        dir: &mut D,
        active: &mut F,
        names: &Names,
        compressor: &Compressor,
        most: usize,
    ) -> io::Result<bool> {
        for _ in 0..most {
            if !self.look_at_next(dir, active, names, compressor)? {
                return Ok(true);
            }
        }
        Ok(self.left.is_empty())
    }

    /// Looks at what was left unfinished, and finds the newest archive. A failed rotation may have
    /// left the active file a second name, which is newer than that one.
    pub(super) fn find_newest<D: Dir<File = F>, F: DiskFile>(
        &mut self,
        dir: &mut D,
        active: &mut F,
        names: &Names,
        compressor: &Compressor,
    ) -> io::Result<Option<&Found>> {
        while self.found.is_empty() && self.look_at_next(dir, active, names, compressor)? {}
        Ok(self.found.first())
    }

    /// Returns false if no name is left.
    fn look_at_next<D: Dir<File = F>, F: DiskFile>(
        &mut self,
        dir: &mut D,
        active: &mut F,
        names: &Names,
        compressor: &Compressor,
    ) -> io::Result<bool> {
        let Some((_, name)) = self.left.pop() else { return Ok(false) };
        let archive = names.parse(&name);
        if archive.is_none() && !names.is_unfinished(&name) {
            return Ok(true);
        }
        let Some(entry) = dir.look(active, &name)? else { return Ok(true) };
        if entry.is_doubtful {
            self.doubtful += 1;
            return Ok(true);
        }
        let is_active = entry.id.is_some() && entry.id == active.id();
        match archive {
            Some(archive) if !is_active => self.found.push(Found::new(archive, entry)),
            None if compressor.is_making(&entry.name) => {}
            // Not its only name.
            _ if !self.mends || is_active && dir.check_name(names.active(), active)? != PathState::Same => {}
            None if !is_active && entry.bytes > 0 && names.is_next_active(&entry.name) => {
                self.with_records.push((entry.modified, entry.name));
            }
            _ => {
                let stays = dir.remove(&entry.name).is_err_and(|error| !is_missing(&error));
                // Anything else that stays hinders nobody.
                self.second_name = self.second_name.or(archive.filter(|_| stays));
            }
        }
        Ok(true)
    }

    /// Takes the names of next active files that never became the active one, and hold records: the
    /// oldest first.
    pub(super) fn take_with_records(&mut self) -> Vec<OsString> {
        self.with_records.sort_unstable();
        self.with_records.drain(..).map(|(_, name)| name).collect()
    }

    /// Adds an archive that was made meanwhile.
    pub(super) fn add(&mut self, found: Found) {
        self.found.push(found);
    }

    /// Returns the archives, and how many files were passed over.
    pub(super) fn finish(self) -> (Vec<Found>, usize) {
        (self.found, self.doubtful)
    }
}
