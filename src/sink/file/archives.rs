//! The archives of one file: which there are, and which are deleted. Does what `archive_name.rs`
//! and `retention.rs` say. Runs on the writer's thread.

mod compress;

use std::ffi::OsStr;
use std::io;
use std::iter;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{Dir, Disk, DiskFile, Entry, PathState};
use crate::sink::log_file::FileOptions;
use crate::sink::{News, Now};

use self::compress::Compressor;
use super::archive_name::{Archive, Names};
use super::open_file::OpenFile;
use super::retention::{Limits, Listed};

/// The archives are listed this often, and also at the start and after a rotation.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// The shortest time between two deletions because space is low.
const DELETE_FOR_SPACE_EVERY: Duration = Duration::from_secs(1);

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
    /// Bytes in the archives, by the last list.
    bytes: u64,
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

/// An archive in its directory.
pub(super) struct Found {
    pub(super) archive: Archive,
    pub(super) entry: Entry,
    /// Its compressed form next to the plain one, as a kill leaves both: they are one archive.
    compressed_form: Option<Entry>,
}

impl Found {
    /// Returns the names under which it stands in the directory.
    fn names(&self) -> impl Iterator<Item = &OsStr> {
        iter::once(&self.entry).chain(&self.compressed_form).map(|entry| &*entry.name)
    }

    /// Returns the bytes of the form that is larger.
    fn bytes(&self) -> u64 {
        self.entry.bytes.max(self.compressed_form.as_ref().map_or(0, |entry| entry.bytes))
    }

    fn listed(&self) -> Listed {
        Listed { bytes: self.bytes(), modified: self.entry.modified }
    }
}

/// Sorts archives, the oldest first, and joins the two forms of one. A form that is empty, as a
/// crash of the machine may leave it, is none.
fn sort(found: &mut Vec<Found>) {
    found.sort_unstable_by_key(|found| found.archive);
    found.dedup_by(|next, found| {
        let are_whole = found.entry.bytes > 0 && next.entry.bytes > 0;
        let is_one = are_whole && next.archive == found.archive.compressed();
        if is_one {
            found.compressed_form = Some(next.entry.clone());
        }
        is_one
    });
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
            bytes: 0,
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
        self.tidy_at = None;
        (self.is_clean, self.links_unrecognised) = (false, false);
    }

    /// Returns the archives, the oldest first. Removes what a crash has left, if that can be: a new
    /// file that never became the active one, and an archive's name of the active file.
    pub(super) fn find<D: Dir<File = F>, F: DiskFile>(
        &mut self,
        dir: &mut D,
        active: &mut F,
    ) -> io::Result<Vec<Found>> {
        let names = &self.names;
        let entries = dir.list(active, &|name| names.parse(name).is_some() || names.is_unfinished(name))?;
        let mut found = Vec::new();
        self.doubtful = entries.iter().filter(|entry| entry.is_doubtful).count();
        for entry in entries.into_iter().filter(|entry| !entry.is_doubtful) {
            let is_active = entry.id.is_some() && entry.id == active.id();
            match names.parse(&entry.name) {
                Some(archive) if !is_active => found.push(Found { archive, entry, compressed_form: None }),
                None if self.compressor.is_making(&entry.name) => {}
                // Not its only name.
                Some(_) if dir.check_name(names.active(), active)? != PathState::Same => {}
                _ => {
                    let _ = dir.remove(&entry.name); // It hinders nobody.
                }
            }
        }
        sort(&mut found);
        Ok(found)
    }

    /// Remembers the youngest name: an archive that is deleted now has had it, and it is not given
    /// again.
    pub(super) fn see(&mut self, found: &[Found]) {
        self.newest = self.newest.max(found.last().map(|found| found.archive));
    }

    /// Returns whether it is known that the open file is not the active one any more: then the
    /// archives are not ours, either. The next check of the path opens the right one.
    /// Nor are they if the lock is gone.
    pub(super) fn is_elsewhere<D: Dir<File = F>, F: DiskFile>(&self, dir: &mut D, open: &mut OpenFile<F>) -> bool {
        !open.still_holds_lock()
            || dir.check_name(self.names.active(), &open.file).is_ok_and(|state| state != PathState::Same)
    }

    /// Returns whether the archives have to be listed next to an active file of this length.
    pub(super) fn must_tidy(&self, active: u64, now: Instant) -> bool {
        let too_much = || self.limits.total.is_some_and(|most| self.bytes > 0 && self.bytes + active > most);
        self.tidy_at.is_none_or(|at| now >= at) || too_much()
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
        if self.are_limited() && self.must_tidy(open.len, now.monotonic) {
            self.tidy_at = Some(now.monotonic + TIDY_EVERY);
            let names = &self.names;
            let listed = dir_of(disk, open)
                .and_then(|mut dir| dir.list(&open.file, &|name| names.parse(name).is_some()))
                .unwrap_or_default(); // What cannot be seen is not known to be due.
            let active = open.file.id();
            let archives = listed.into_iter().filter(|entry| entry.id.is_none() || entry.id != active);
            let mut archives: Vec<_> = archives
                .filter_map(|entry| Some(Found { archive: names.parse(&entry.name)?, entry, compressed_form: None }))
                .collect();
            sort(&mut archives);
            let archives: Vec<_> = archives.iter().map(Found::listed).collect();
            self.are_overdue = !self.limits.exceeded_by(&archives, open.len, now.wall).is_empty();
        }
        self.are_overdue
    }

    /// Deletes the archives that exceed the limits.
    pub(super) fn tidy<D: Disk>(&mut self, disk: &mut D, open: &mut OpenFile<D::File>, now: Now, news: &mut Vec<News>) {
        let Ok(mut dir) = dir_of(disk, open) else { return };
        if self.is_elsewhere(&mut dir, open) {
            return;
        }
        self.tidy_at = Some(now.monotonic + TIDY_EVERY);
        let found = match self.find(&mut dir, &mut open.file) {
            Ok(found) => found,
            Err(error) => {
                self.bytes = 0; // Not known: what is too much is seen next time.
                return news.push(News::Failed { doing: "list archives", error });
            }
        };
        self.see(&found);
        if self.doubtful > self.reported_doubtful {
            let error = io::Error::other("others have given archives a second name: they are not counted");
            news.push(News::Failed { doing: "list archives", error });
        }
        self.reported_doubtful = self.doubtful;
        let listed: Vec<_> = found.iter().map(Found::listed).collect();
        let going = self.limits.exceeded_by(&listed, open.len, now.wall);
        let mut going = going.into_iter().peekable();
        let mut left = 0;
        for (place, found) in found.iter().enumerate() {
            if going.next_if_eq(&place).is_none() {
                left += found.bytes();
                continue;
            }
            match delete(&mut dir, found) {
                Ok(()) => news.push(News::Deleted { path: dir.path().join(&found.entry.name), bytes: found.bytes() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // It is not counted, so that it is tried again no sooner than usual.
                Err(error) => news.push(News::Failed { doing: "delete an archive", error }),
            }
        }
        self.bytes = left;
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
        now: Instant,
        news: &mut Vec<News>,
    ) -> bool {
        self.deleted_for_space = Some(now);
        let Ok(mut dir) = dir_of(disk, open) else { return false };
        if self.is_elsewhere(&mut dir, open) {
            return false;
        }
        let found = match self.find(&mut dir, &mut open.file) {
            Ok(found) => found,
            Err(error) => {
                news.push(News::Failed { doing: "list archives", error });
                return false;
            }
        };
        self.see(&found);
        let mut any = false;
        // Where a deletion frees no space (a snapshot, a second name, a process that has the file
        // open), or only later, more deletions do not either.
        let (first, mut deleted) = (shortfall(open), 0_u64);
        for found in found {
            let missing = shortfall(open);
            let shown = first.saturating_sub(missing);
            if missing <= deleted.saturating_sub(shown) {
                break;
            }
            match delete(&mut dir, &found) {
                Ok(()) => {
                    any = true;
                    deleted = deleted.saturating_add(found.bytes());
                    news.push(News::GaveWay { path: dir.path().join(&found.entry.name), bytes: found.bytes() });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => news.push(News::Failed { doing: "delete an archive", error }),
            }
        }
        any
    }
}

/// Deletes an archive in both its forms.
fn delete(dir: &mut impl Dir, archive: &Found) -> io::Result<()> {
    let mut result = Ok(());
    for name in archive.names() {
        let deleted = delete_name(dir, name);
        result = result.and(deleted);
    }
    result
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
