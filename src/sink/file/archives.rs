//! The archives of one file: which there are, and which are deleted. Does what `archive_name.rs`
//! and `retention.rs` say. Runs on the writer's thread.

mod compress;
mod known;

use std::ffi::OsStr;
use std::io;
use std::iter;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{Dir, Disk, DiskFile, PathState};
use crate::sink::log_file::FileOptions;
use crate::sink::{News, Now};

use self::compress::Compressor;
pub(super) use self::known::Found;
use self::known::Known;
use super::archive_name::{Archive, Names};
use super::open_file::OpenFile;
use super::retention::Limits;

/// The archives are listed this often, and also at the start and after a rotation.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// The shortest time between two deletions because space is low.
const DELETE_FOR_SPACE_EVERY: Duration = Duration::from_secs(1);
/// At most this many archives are deleted between two batches: each may take a file system a
/// millisecond, and there may be tens of thousands.
const DELETE_AT_ONCE: usize = 16;

/// What is known about the archives of one file.
#[derive(Debug)]
pub(super) struct Archives {
    pub(super) names: Names,
    pub(super) limits: Limits,
    /// The youngest name that was seen or given here: it may have been deleted since.
    pub(super) newest: Option<Archive>,
    /// The directory was looked through, and nothing has failed since.
    pub(super) is_clean: bool,
    /// A second name of a file is not recognised as one here.
    pub(super) links_unrecognised: bool,
    /// When the archives are listed next; `None`: at once.
    pub(super) tidy_at: Option<Instant>,
    /// The archives by the last list, and what was done to them since; `None`: not listed.
    known: Option<Known>,
    /// How many files with an archive's name were passed over at the last list, because they have
    /// other names; and how many of them were reported.
    doubtful: usize,
    reported_doubtful: usize,
    /// The archives exceeded the limits at the last look of a process without the lock.
    are_overdue: bool,
    pub(super) compressor: Compressor,
    /// When archives were last deleted because space was low.
    deleted_for_space: Option<Instant>,
}

impl Archives {
    pub(super) fn new(path: &Path, options: &FileOptions) -> Self {
        Self {
            names: Names::new(path.file_name().unwrap_or_default()),
            limits: options.limits,
            newest: None,
            is_clean: false,
            links_unrecognised: false,
            tidy_at: None,
            known: None,
            doubtful: 0,
            reported_doubtful: 0,
            are_overdue: false,
            compressor: Compressor::new(options.compress),
            deleted_for_space: None,
        }
    }

    /// Another file was opened. A symbolic link in its place was followed: the archives are next to
    /// the real file.
    pub(super) fn begin<D: Disk>(&mut self, disk: &D, open: &OpenFile<D::File>) {
        if let Some((_, name)) = disk.place(&open.file) {
            self.names = Names::new(&name);
        }
        (self.tidy_at, self.known) = (None, None);
        (self.is_clean, self.links_unrecognised) = (false, false);
    }

    /// Lists the archives, and decides which are to be deleted. Remembers the youngest name: an
    /// archive that is deleted now has had it, and it is not given again.
    pub(super) fn list<D: Dir<File = F>, F: DiskFile>(
        &mut self,
        dir: &mut D,
        open: &mut OpenFile<F>,
        now: Now,
    ) -> io::Result<()> {
        self.known = None;
        let mut known = Known::new(self.find(dir, &mut open.file)?);
        self.newest = self.newest.max(known.newest());
        known.judge(&self.limits, open.len, now.wall);
        self.compressor.forget_missing(&known);
        self.known = Some(known);
        self.is_clean = true;
        Ok(())
    }

    /// Returns the archives. Removes what a crash has left, if that can be: a new file that never
    /// became the active one, and an archive's name of the active file.
    fn find<D: Dir<File = F>, F: DiskFile>(&mut self, dir: &mut D, active: &mut F) -> io::Result<Vec<Found>> {
        let names = &self.names;
        let entries = dir.list(active, &|name| names.parse(name).is_some() || names.is_unfinished(name))?;
        let mut found = Vec::new();
        self.doubtful = entries.iter().filter(|entry| entry.is_doubtful).count();
        for entry in entries.into_iter().filter(|entry| !entry.is_doubtful) {
            let is_active = entry.id.is_some() && entry.id == active.id();
            match names.parse(&entry.name) {
                Some(archive) if !is_active => found.push(Found::new(archive, entry)),
                None if self.compressor.is_making(&entry.name) => {}
                // Not its only name.
                Some(_) if dir.check_name(names.active(), active)? != PathState::Same => {}
                _ => {
                    let _ = dir.remove(&entry.name); // It hinders nobody.
                }
            }
        }
        Ok(found)
    }

    /// There is one archive more: the file that was the active one.
    pub(super) fn add<D: Dir<File = F>, F>(&mut self, dir: &mut D, archive: Archive, name: &OsStr, log: &F) {
        self.newest = Some(archive);
        let Some(known) = &mut self.known else { return };
        // What cannot be seen now is seen at the next list.
        if let Some(entry) = dir.look(log, name).ok().flatten().filter(|entry| !entry.is_doubtful) {
            known.add(Found::new(archive, entry));
        }
    }

    /// Returns whether it is known that the open file is not the active one any more: then the
    /// archives are not ours, either. The next check of the path opens the right one.
    /// Nor are they if the lock is gone.
    pub(super) fn is_elsewhere<D: Dir<File = F>, F: DiskFile>(&self, dir: &mut D, open: &mut OpenFile<F>) -> bool {
        !open.still_holds_lock()
            || dir.check_name(self.names.active(), &open.file).is_ok_and(|state| state != PathState::Same)
    }

    /// Returns whether archives are to be listed or deleted next to an active file of this length.
    pub(super) fn must_tidy(&self, active: u64, now: Instant) -> bool {
        self.must_list(now)
            || self.known.as_ref().is_some_and(|known| known.has_due() || known.exceed(&self.limits, active))
    }

    fn must_list(&self, now: Instant) -> bool {
        self.tidy_at.is_none_or(|at| now >= at)
    }

    /// Returns whether archives wait until they are deleted.
    pub(super) fn has_due(&self) -> bool {
        self.known.as_ref().is_some_and(Known::has_due)
    }

    pub(super) fn are_limited(&self) -> bool {
        !self.limits.is_none()
    }

    /// The lock was got just now: what its holder before has left is due.
    pub(super) fn must_tidy_now(&mut self) {
        self.tidy_at = None;
    }

    /// Returns whether archives exceed the limits, where another process has the lock and should
    /// have deleted them. Looks once a minute, and changes nothing.
    pub(super) fn are_overdue<D: Disk>(&mut self, disk: &D, open: &mut OpenFile<D::File>, now: Now) -> bool {
        if self.are_limited() && self.must_list(now.monotonic) {
            self.tidy_at = Some(now.monotonic + TIDY_EVERY);
            let names = &self.names;
            let listed = dir_of(disk, open)
                .and_then(|mut dir| dir.list(&open.file, &|name| names.parse(name).is_some()))
                .unwrap_or_default(); // What cannot be seen is not known to be due.
            let active = open.file.id();
            let archives = listed.into_iter().filter(|entry| entry.id.is_none() || entry.id != active);
            let archives = archives.filter_map(|entry| Some(Found::new(names.parse(&entry.name)?, entry)));
            let mut known = Known::new(archives.collect());
            known.judge(&self.limits, open.len, now.wall);
            self.are_overdue = known.has_due();
        }
        self.are_overdue
    }

    /// Deletes the archives that exceed the limits.
    pub(super) fn tidy<D: Disk>(&mut self, disk: &mut D, open: &mut OpenFile<D::File>, now: Now, news: &mut Vec<News>) {
        let Ok(mut dir) = dir_of(disk, open) else { return };
        if self.is_elsewhere(&mut dir, open) {
            return;
        }
        if self.must_list(now.monotonic) {
            self.tidy_at = Some(now.monotonic + TIDY_EVERY);
            if let Err(error) = self.list(&mut dir, open, now) {
                // What is too much is seen next time.
                return news.push(News::Failed { doing: "list archives", error });
            }
            if self.doubtful > self.reported_doubtful {
                let error = io::Error::other("others have given archives a second name: they are not counted");
                news.push(News::Failed { doing: "list archives", error });
            }
            self.reported_doubtful = self.doubtful;
        }
        let Some(known) = &mut self.known else { return };
        known.trim(&self.limits, open.len);
        for found in iter::from_fn(|| known.next_due()).take(DELETE_AT_ONCE) {
            match delete(&mut dir, &open.file, &found) {
                Ok(true) => news.push(News::Deleted { path: dir.path().join(found.name()), bytes: found.bytes() }),
                Ok(false) => {}
                // It is not counted, so that it is tried again no sooner than usual.
                Err(error) => news.push(News::Failed { doing: "delete an archive", error }),
            }
        }
    }

    /// Returns whether archives may be deleted for space again.
    pub(super) fn may_delete_for_space(&self, now: Instant) -> bool {
        self.deleted_for_space.is_none_or(|last| now.saturating_duration_since(last) >= DELETE_FOR_SPACE_EVERY)
    }

    /// Deletes the oldest archives until `shortfall` is zero, or until what was deleted and does
    /// not show yet makes up for it. Returns whether any was deleted.
    pub(super) fn delete_for_space<D: Disk>(
        &mut self,
        disk: &mut D,
        open: &mut OpenFile<D::File>,
        mut shortfall: impl FnMut(&mut OpenFile<D::File>) -> u64,
        now: Now,
        news: &mut Vec<News>,
    ) -> bool {
        self.deleted_for_space = Some(now.monotonic);
        let Ok(mut dir) = dir_of(disk, open) else { return false };
        if self.is_elsewhere(&mut dir, open) {
            return false;
        }
        if self.known.is_none() {
            if let Err(error) = self.list(&mut dir, open, now) {
                news.push(News::Failed { doing: "list archives", error });
                return false;
            }
        }
        let Some(known) = &mut self.known else { return false };
        let mut any = false;
        // Where a deletion frees no space (a snapshot, a second name, a process that has the file
        // open), or only later, more deletions do not either.
        let (first, mut deleted) = (shortfall(open), 0_u64);
        loop {
            let missing = shortfall(open);
            let shown = first.saturating_sub(missing);
            if missing <= deleted.saturating_sub(shown) {
                break;
            }
            let Some(found) = known.pop_oldest() else { break };
            match delete(&mut dir, &open.file, &found) {
                Ok(true) => {
                    any = true;
                    deleted = deleted.saturating_add(found.bytes());
                    news.push(News::GaveWay { path: dir.path().join(found.name()), bytes: found.bytes() });
                }
                Ok(false) => {}
                Err(error) => news.push(News::Failed { doing: "delete an archive", error }),
            }
        }
        any
    }
}

/// Deletes an archive in both its forms. Returns whether any was there: somebody else's file that
/// has taken its name since it was listed stays.
fn delete<D: Dir<File = F>, F: DiskFile>(dir: &mut D, log: &F, archive: &Found) -> io::Result<bool> {
    let mut any = false;
    let mut result = Ok(());
    for entry in archive.entries() {
        let is_ours = dir.look(log, &entry.name).is_ok_and(|now| now.is_some_and(|now| !now.is_doubtful));
        if is_ours {
            let deleted = delete_name(dir, &entry.name);
            any |= deleted.is_ok();
            result = result.and(deleted);
        }
    }
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(any),
    }
}

/// Deletes a file. A network file system may have done it and say that it has not: then the second
/// attempt finds nothing.
fn delete_name(dir: &mut impl Dir, name: &OsStr) -> io::Result<()> {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match dir.remove(name) {
        Err(error) if !is_gone(&error) => match dir.remove(name) {
            Err(again) if !is_gone(&again) => Err(error),
            _ => Ok(()),
        },
        other => other,
    }
}

/// Returns the directory in which the open file really is.
pub(super) fn dir_of<D: Disk>(disk: &D, open: &OpenFile<D::File>) -> io::Result<D::Dir> {
    let place = disk.place(&open.file).ok_or(io::ErrorKind::Unsupported)?;
    Ok(place.0)
}
