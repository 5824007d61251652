//! The archives of one file: which there are, and which are deleted. Does what `archive_name.rs`
//! and `retention.rs` say. Runs on the writer's thread.

mod compress;
mod interrupted;
mod known;
mod listing;

use std::ffi::OsStr;
use std::io;
use std::iter;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{Dir, Disk, DiskFile, PathState};
use crate::sink::log_file::FileOptions;
use crate::sink::{News, Now};

use self::compress::Compressor;
use self::interrupted::Interrupted;
use self::known::{Found, KnownArchives};
use self::listing::Listing;
use super::archive_name::{Archive, Names};
use super::open_file::OpenFile;
use super::retention::Limits;

/// The archives are listed this often, and also at the start and after a rotation.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// The shortest time between two deletions because space is low.
const DELETE_FOR_SPACE_EVERY: Duration = Duration::from_secs(1);

/// The most archives that are looked at, and deleted, at once.
#[derive(Clone, Copy)]
struct Share {
    looks: usize,
    deletions: usize,
}

/// Between two batches: each deletion may take a file system a millisecond, all looks together take
/// about as long, and there may be tens of thousands of archives.
const BETWEEN_BATCHES: Share = Share { looks: 256, deletions: 16 };
/// After a rotation, of which a batch may cause hundreds: more than a rotation adds, so that the
/// number of archives falls however fast the file is rotated.
const AFTER_ROTATION: Share = Share { looks: 2, deletions: 2 };

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
    list: List,
    remaining: Remaining,
    pub(super) compressor: Compressor,
    pub(super) interrupted: Interrupted,
    /// When archives were last to be deleted because space was low.
    tried_for_space: Option<Instant>,
    /// Some were deleted, and nothing was written since.
    gave_way: bool,
}

/// The work and the reports that the last turn left for the next one.
#[derive(Debug, Default)]
struct Remaining {
    /// There is something to do at once.
    has_more: bool,
    /// The archives exceeded the limits at the last look without the lock, and nothing was done
    /// about it since.
    are_overdue: bool,
    /// The number of reported files that have an archive's name and other names.
    reported_doubtful: usize,
}

/// The list of the archives.
#[derive(Debug)]
enum List {
    None,
    UnderWay(Listing),
    /// What the last look has shown, and what was done since.
    Known(KnownArchives),
}

impl List {
    fn known(&mut self) -> Option<&mut KnownArchives> {
        match self {
            List::Known(known) => Some(known),
            List::None | List::UnderWay(_) => None,
        }
    }
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
            list: List::None,
            remaining: Remaining::default(),
            compressor: Compressor::new(options.compress),
            interrupted: Interrupted::default(),
            tried_for_space: None,
            gave_way: false,
        }
    }

    /// Starts over for another file. Where a symbolic link was followed, the archives are next to
    /// the real file.
    pub(super) fn begin<D: Disk>(&mut self, disk: &D, open: &OpenFile<D::File>) {
        if let Some((_, name)) = disk.place(&open.file) {
            self.names = Names::new(&name);
        }
        (self.tidy_at, self.list) = (None, List::None);
        (self.is_clean, self.links_unrecognised) = (false, false);
        self.interrupted.second_name = None;
    }

    /// Begins to list the archives. What a failed rotation has left, and the name of the newest
    /// archive, are found at once.
    pub(super) fn begin_list<D: Dir<File = F>, F: DiskFile>(&mut self, dir: &mut D, active: &mut F) -> io::Result<()> {
        self.list = List::None;
        let mut listing = Listing::begin(dir, &self.names, true)?;
        let newest = listing.find_newest(dir, active, &self.names, &self.compressor)?;
        // The name of a deleted archive is not given again.
        self.newest = self.newest.max(newest.map(|found| found.archive));
        self.interrupted.take(dir, active, listing.take_with_records());
        self.interrupted.second_name = listing.second_name();
        self.list = List::UnderWay(listing);
        self.is_clean = true;
        Ok(())
    }

    /// Goes on with the list by `looks` names, if it is under way. When it is whole, decides which
    /// archives are to be deleted. Returns how many files with an archive's name were passed over,
    /// because they have other names.
    fn go_on<D: Dir<File = F>, F: DiskFile>(
        &mut self,
        dir: &mut D,
        open: &mut OpenFile<F>,
        now: Now,
        looks: usize,
    ) -> io::Result<Option<usize>> {
        let List::UnderWay(listing) = &mut self.list else { return Ok(None) };
        let result = listing.go_on(dir, &mut open.file, &self.names, &self.compressor, looks);
        if matches!(result, Ok(false)) {
            return Ok(None);
        }
        let List::UnderWay(listing) = std::mem::replace(&mut self.list, List::None) else { return Ok(None) };
        result?;
        let (found, doubtful) = listing.finish();
        let mut known = KnownArchives::new(found);
        self.newest = self.newest.max(known.newest());
        known.judge(&self.limits, open.len, now.wall);
        self.compressor.forget_missing(&known);
        self.list = List::Known(known);
        Ok(Some(doubtful))
    }

    /// Adds the archive that was the active file until now.
    pub(super) fn add<D: Dir<File = F>, F>(&mut self, dir: &mut D, archive: Archive, name: &OsStr, log: &F) {
        self.newest = Some(archive);
        if matches!(self.list, List::None) {
            return;
        }
        // What cannot be seen now is seen at the next list.
        let Some(entry) = dir.look(log, name).ok().flatten().filter(|entry| !entry.is_doubtful) else { return };
        let found = Found::new(archive, entry);
        match &mut self.list {
            List::None => {}
            List::UnderWay(listing) => listing.add(found),
            List::Known(known) => known.add(found),
        }
    }

    /// Returns whether the open file is known not to be the active one any more, or the lock is
    /// gone: then the archives are not ours to change. The next check of the path opens the right
    /// file.
    pub(super) fn is_elsewhere<D: Dir<File = F>, F: DiskFile>(&self, dir: &mut D, open: &mut OpenFile<F>) -> bool {
        !open.still_holds_lock()
            || dir.check_name(self.names.active(), &open.file).is_ok_and(|state| state != PathState::Same)
    }

    /// Returns whether archives are to be listed or deleted next to an active file of this length.
    pub(super) fn must_tidy(&self, active: u64, now: Instant) -> bool {
        let is_due = match &self.list {
            List::None => false,
            List::UnderWay(_) => true,
            List::Known(known) => known.has_due() || known.exceed(&self.limits, active),
        };
        is_due || self.must_list(now)
    }

    fn must_list(&self, now: Instant) -> bool {
        self.tidy_at.is_none_or(|at| now >= at)
    }

    /// Returns whether the last turn has left something to do at once; asked once.
    pub(super) fn has_more(&mut self) -> bool {
        std::mem::take(&mut self.remaining.has_more)
    }

    pub(super) fn are_limited(&self) -> bool {
        !self.limits.is_none()
    }

    /// Makes the archives be listed again at once, because the lock was got just now and its former
    /// holder may have left work.
    pub(super) fn must_tidy_now(&mut self) {
        (self.tidy_at, self.list) = (None, List::None);
    }

    /// Returns whether archives exceed the limits, where another process has the lock and should
    /// have deleted them. Looks once a minute, and changes nothing.
    pub(super) fn are_overdue<D: Disk>(&mut self, disk: &D, open: &mut OpenFile<D::File>, now: Now) -> bool {
        let is_under_way = matches!(&self.list, List::UnderWay(listing) if !listing.mends());
        if self.are_limited() && (is_under_way || self.must_list(now.monotonic)) {
            // What cannot be seen is not known to be due.
            self.remaining.are_overdue = self.look_without_lock(disk, open, is_under_way, now).unwrap_or(false);
        }
        self.remaining.are_overdue
    }

    /// Returns the answer of the last look without the lock, until a look with it finds nothing to
    /// delete.
    pub(super) fn were_overdue(&self) -> bool {
        self.remaining.are_overdue
    }

    fn look_without_lock<D: Disk>(
        &mut self,
        disk: &D,
        open: &mut OpenFile<D::File>,
        is_under_way: bool,
        now: Now,
    ) -> io::Result<bool> {
        let mut dir = dir_of(disk, open)?;
        if !is_under_way {
            (self.tidy_at, self.list) = (Some(now.monotonic + TIDY_EVERY), List::None);
            self.list = List::UnderWay(Listing::begin(&mut dir, &self.names, false)?);
        }
        self.go_on(&mut dir, open, now, BETWEEN_BATCHES.looks)?;
        self.remaining.has_more = matches!(self.list, List::UnderWay(_));
        Ok(self.list.known().map_or(self.remaining.are_overdue, |known| known.has_due()))
    }

    /// Lists the archives, and deletes those that exceed the limits, bit by bit.
    pub(super) fn tidy<D: Disk>(&mut self, disk: &mut D, open: &mut OpenFile<D::File>, now: Now, news: &mut Vec<News>) {
        let Ok(mut dir) = dir_of(disk, open) else { return };
        if self.is_elsewhere(&mut dir, open) {
            return;
        }
        // Archives that are due are deleted first, and a list that is under way is finished: others
        // may plant so many names that this takes longer than the time to the next list.
        let is_busy = match &self.list {
            List::None => false,
            List::UnderWay(listing) => listing.mends(),
            List::Known(known) => known.has_due(),
        };
        if self.must_list(now.monotonic) && !is_busy {
            self.tidy_at = Some(now.monotonic + TIDY_EVERY);
            if let Err(error) = self.begin_list(&mut dir, &mut open.file) {
                return news.push(cannot_list(error));
            }
        }
        self.tidy_some(&mut dir, open, now, BETWEEN_BATCHES, news);
    }

    /// Tidies after a rotation, as far as the archives are known or their list is under way.
    pub(super) fn tidy_after_rotation<D: Disk>(
        &mut self,
        disk: &mut D,
        open: &mut OpenFile<D::File>,
        now: Now,
        news: &mut Vec<News>,
    ) {
        if let Ok(mut dir) = dir_of(disk, open) {
            self.tidy_some(&mut dir, open, now, AFTER_ROTATION, news);
        }
    }

    fn tidy_some<D: Dir<File = F>, F: DiskFile>(
        &mut self,
        dir: &mut D,
        open: &mut OpenFile<F>,
        now: Now,
        share: Share,
        news: &mut Vec<News>,
    ) {
        match self.go_on(dir, open, now, share.looks) {
            Ok(doubtful) => self.report_doubtful(doubtful, news),
            // What is too much is seen next time.
            Err(error) => return news.push(cannot_list(error)),
        }
        if let List::Known(known) = &mut self.list {
            known.trim(&self.limits, open.len);
            for found in iter::from_fn(|| known.next_due()).take(share.deletions) {
                match delete(dir, &open.file, &found) {
                    Ok(true) => news.push(News::Deleted { path: dir.path().join(found.name()), bytes: found.bytes() }),
                    Ok(false) => {}
                    // It is not counted, so that it is tried again no sooner than usual.
                    Err(error) => news.push(News::Failed { doing: "delete an archive", error }),
                }
            }
        }
        self.remaining.has_more = match &self.list {
            List::None => false,
            List::UnderWay(_) => true,
            List::Known(known) => known.has_due(),
        };
        self.remaining.are_overdue &= self.remaining.has_more;
    }

    fn report_doubtful(&mut self, doubtful: Option<usize>, news: &mut Vec<News>) {
        let Some(doubtful) = doubtful else { return };
        if doubtful > self.remaining.reported_doubtful {
            news.push(cannot_list(io::Error::other("others have given archives a second name: they are not counted")));
        }
        self.remaining.reported_doubtful = doubtful;
    }

    /// Returns whether archives may be deleted for space: a second after the last attempt, and
    /// after a deletion only once something was written again.
    pub(super) fn may_delete_for_space(&self, now: Instant) -> bool {
        let since = self.tried_for_space.map(|last| now.saturating_duration_since(last));
        !self.gave_way && since.is_none_or(|since| since >= DELETE_FOR_SPACE_EVERY)
    }

    /// Notes that lines were written.
    pub(super) fn wrote(&mut self, lines: usize) {
        self.gave_way &= lines == 0;
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
        self.tried_for_space = Some(now.monotonic);
        let Ok(mut dir) = dir_of(disk, open) else { return false };
        if self.is_elsewhere(&mut dir, open) {
            return false;
        }
        if let Err(error) = self.list_now(&mut dir, open, now) {
            news.push(cannot_list(error));
            return false;
        }
        let List::Known(known) = &mut self.list else { return false };
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
                    self.gave_way = true;
                    deleted = deleted.saturating_add(found.bytes());
                    news.push(News::GaveWay { path: dir.path().join(found.name()), bytes: found.bytes() });
                }
                Ok(false) => {}
                Err(error) => news.push(News::Failed { doing: "delete an archive", error }),
            }
        }
        if !self.gave_way {
            // Those that could not be deleted are still there: the next attempt lists them again.
            self.list = List::None;
        }
        self.gave_way
    }

    /// Has the archives listed, in one go if they are not: space is low, and nothing can be written
    /// before.
    fn list_now<D: Dir<File = F>, F: DiskFile>(
        &mut self,
        dir: &mut D,
        open: &mut OpenFile<F>,
        now: Now,
    ) -> io::Result<()> {
        let is_under_way = matches!(&self.list, List::UnderWay(listing) if listing.mends());
        if !is_under_way && self.list.known().is_none() {
            self.begin_list(dir, &mut open.file)?;
        }
        self.go_on(dir, open, now, usize::MAX).map(drop)
    }
}

fn cannot_list(error: io::Error) -> News {
    News::Failed { doing: "list archives", error }
}

/// Deletes an archive in both its forms. Returns whether any was there: somebody else's file that
/// has taken its name since it was listed stays.
fn delete<D: Dir<File = F>, F: DiskFile>(dir: &mut D, log: &F, archive: &Found) -> io::Result<bool> {
    let mut any = false;
    let mut result = Ok(());
    for entry in archive.entries() {
        let is_ours = dir.look(log, &entry.name).is_ok_and(|now| now.is_some_and(|now| !now.is_doubtful));
        if is_ours {
            let deleted = delete_name(dir, &entry.name).or_else(|error| match dir.look(log, &entry.name) {
                Ok(None) => Ok(()), // Done, and reported as failed; so was the second attempt.
                _ => Err(error),
            });
            any |= deleted.is_ok();
            result = result.and(deleted);
        }
    }
    match result {
        Err(error) if !is_missing(&error) => Err(error),
        _ => Ok(any),
    }
}

/// Deletes a file. A network file system may have done it and say that it has not: then the second
/// attempt finds nothing.
fn delete_name(dir: &mut impl Dir, name: &OsStr) -> io::Result<()> {
    match dir.remove(name) {
        Err(error) if !is_missing(&error) => match dir.remove(name) {
            Err(again) if !is_missing(&again) => Err(error),
            _ => Ok(()),
        },
        other => other,
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Returns the directory in which the open file really is.
pub(super) fn dir_of<D: Disk>(disk: &D, open: &OpenFile<D::File>) -> io::Result<D::Dir> {
    let place = disk.place(&open.file).ok_or(io::ErrorKind::Unsupported)?;
    Ok(place.0)
}
