//! The archives of one file: rotation, retention, room made on request. Does what `rotation.rs`,
//! `archive.rs` and `retention.rs` say. Runs on the writer's thread.
//!
//! A rotation, in an order that a crash or a full disk cannot turn against what is there: the new
//! file is made under a name of its own and gets its first line; the active file gets a second
//! name, the archive's; the new file takes over the active name. Nothing is copied or cut, no name
//! is replaced but the active one, and that only once its file has another.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::disk::{Compression, Dir, Disk, DiskFile, Entry, PathState};

use super::archive::{Archive, Names};
use super::log_file::FileOptions;
use super::open::Open;
use super::retention::{Kept, Limits};
use super::rotation::{Rotation, Schedule};
use super::{Batch, News, Now};

/// The archives are looked through this often, besides at the start and after a rotation.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// After a rotation that failed the next one is tried, after this; each later one after twice the
/// time.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LAST_BACK_OFF: Duration = Duration::from_secs(60);
/// An archive that could not be compressed is tried again, after this.
const COMPRESS_AGAIN: Duration = Duration::from_secs(60);
/// So many names are tried for an archive, if others stand there: more than one second has.
const MOST_NAMES: usize = 20_000;
/// So many names are tried for a file that is not finished.
const MOST_RANDOM_NAMES: usize = 10;

/// What is known about the archives of one file.
#[derive(Debug)]
pub(super) struct History {
    rotation: Rotation,
    limits: Limits,
    compress: bool,
    names: Names,
    schedule: Schedule,
    /// The time of the last record in the active file.
    last_record: Option<SystemTime>,
    /// The youngest name that was seen or given here: it may have been deleted since.
    newest: Option<Archive>,
    /// The directory was looked through, and nothing has failed since.
    is_clean: bool,
    /// A rotation is due, whatever the schedule says.
    asked: bool,
    not_before: Option<Instant>,
    back_off: Duration,
    /// When the archives are looked through next; `None`: at once.
    tidy_at: Option<Instant>,
    /// Bytes in the archives, by the last look.
    archived: u64,
    /// Which archive is being compressed, and what it is called until it is.
    compressing: Option<(Archive, OsString)>,
    compress_at: Option<Instant>,
    /// Those that could not be, since all that could be were.
    not_compressed: Vec<Archive>,
    /// Those whose compressed form's name is taken, by something else.
    never_compressed: Vec<Archive>,
    /// Where each line of a batch ends, and its time.
    lines: Vec<(u64, SystemTime)>,
}

/// An archive in its directory.
struct Found {
    archive: Archive,
    entry: Entry,
}

impl History {
    pub(super) fn new(path: &Path, options: &FileOptions) -> Self {
        Self {
            rotation: options.rotation,
            limits: options.limits,
            compress: options.compress,
            names: Names::new(path.file_name().unwrap_or_default()),
            schedule: Schedule::new(options.rotation),
            last_record: None,
            newest: None,
            is_clean: false,
            asked: options.rotation.on_start,
            not_before: None,
            back_off: FIRST_BACK_OFF,
            tidy_at: None,
            archived: 0,
            compressing: None,
            compress_at: None,
            not_compressed: Vec::new(),
            never_compressed: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Another file was opened. A symbolic link in its place was followed: the archives are next to
    /// the real file.
    pub(super) fn begin<D: Disk>(&mut self, disk: &mut D, open: &mut Open<D::File>) {
        if let Some((_, name)) = disk.place(&open.file) {
            self.names = Names::new(&name);
        }
        self.last_record = if open.len > 0 { open.file.modified().ok() } else { None };
        self.schedule.begin(self.last_record);
        // An empty file at the start has nothing to be put aside.
        self.asked &= open.len > 0;
        self.tidy_at = None;
        self.is_clean = false;
        // What failed with the file before may work with this one.
        (self.not_before, self.back_off) = (None, FIRST_BACK_OFF);
    }

    /// Somebody else made the file empty.
    pub(super) fn emptied(&mut self) {
        self.last_record = None;
        self.schedule.begin(None);
    }

    pub(super) fn wrote(&mut self, lines: &Batch<'_>) {
        let (first, last) = (lines.lines().next(), lines.lines().last());
        for line in first.into_iter().chain(last) {
            self.schedule.wrote(line.time());
            self.last_record = self.last_record.max(Some(line.time()));
        }
    }

    pub(super) fn has_size(&self) -> bool {
        self.rotation.size.is_some()
    }

    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    /// How many leading lines of `batch` belong into the file, which holds `len` bytes; before the
    /// next one it is to be rotated. While it gets over a suspension only the size counts: it is a
    /// hard limit, the others can wait.
    pub(super) fn room_for(&mut self, batch: &Batch<'_>, len: u64, quiet: bool, now: Instant) -> usize {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return batch.len();
        }
        if self.asked && len > 0 && !quiet {
            return 0;
        }
        if self.rotation == Rotation::never() {
            return batch.len();
        }
        if quiet {
            return self.room_by_size(batch, len);
        }
        self.lines.clear();
        self.lines.extend(batch.ends().zip(batch.lines()).map(|(end, line)| (end as u64, line.time())));
        self.schedule.room_for(len, &self.lines)
    }

    /// The same by the size alone.
    fn room_by_size(&self, batch: &Batch<'_>, len: u64) -> usize {
        match self.rotation.size {
            None => batch.len(),
            Some(_) => {
                let left = usize::try_from(self.left(len)).unwrap_or(usize::MAX);
                let fit = batch.whole_lines_in(left).0;
                if len == 0 { fit.max(1).min(batch.len()) } else { fit }
            }
        }
    }

    /// How many bytes a file of this length may grow by.
    pub(super) fn left(&self, len: u64) -> u64 {
        self.rotation.size.map_or(u64::MAX, |size| size.saturating_sub(len))
    }

    // --- rotation ---

    /// Puts the open file aside and opens a new one in its place, with `first` in it; says under
    /// which name the old one is.
    ///
    /// # Errors
    ///
    /// The file is still the active one, and will be for a while.
    pub(super) fn rotate<D: Disk>(
        &mut self,
        disk: &mut D,
        old: &mut Open<D::File>,
        first: &[u8],
        now: Now,
    ) -> io::Result<(Open<D::File>, PathBuf)> {
        match self.try_to_rotate(disk, old, first, now) {
            Ok(done) => {
                self.asked = false;
                self.not_before = None;
                self.back_off = FIRST_BACK_OFF;
                if !self.limits.is_none() {
                    self.tidy_at = None;
                }
                self.compress_at = None;
                self.emptied();
                Ok(done)
            }
            Err(error) => {
                self.is_clean = false;
                self.not_before = Some(now.monotonic + self.back_off);
                self.back_off = (self.back_off * 2).min(LAST_BACK_OFF);
                Err(error)
            }
        }
    }

    fn try_to_rotate<D: Disk>(
        &mut self,
        disk: &mut D,
        old: &mut Open<D::File>,
        first: &[u8],
        now: Now,
    ) -> io::Result<(Open<D::File>, PathBuf)> {
        let mut dir = dir_of(disk, old)?;
        // With the lock of the open file in hand: nobody of ours can have put it aside before, and
        // nobody can now.
        if dir.check_name(self.names.active(), &old.file)? != PathState::Same {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !self.is_clean {
            // Only what fails leaves something behind.
            let found = self.find(&mut dir, &mut old.file)?;
            self.see(&found);
            self.is_clean = true;
        }
        let second = self.schedule.calendar_second(self.last_record.unwrap_or(now.wall));
        let archive = Archive::after(self.newest, second);
        let (mut new, unfinished) = self.create(disk, &mut dir, old, first, now)?;
        // Before it is an archive: whoever is killed then leaves one that takes no more than it
        // holds.
        old.give_back();
        match self.exchange(&mut dir, old, &mut new, &unfinished, archive) {
            Ok((archive, name)) => {
                self.newest = Some(archive);
                Ok((new, dir.path().join(name)))
            }
            Err(error) => {
                let _ = dir.remove(&unfinished); // The next rotation, or the next start, finds it.
                Err(error)
            }
        }
    }

    /// The next active file, under its first name, with its first line in it; or nothing at all.
    fn create<D: Disk>(
        &self,
        disk: &mut D,
        dir: &mut D::Dir,
        old: &Open<D::File>,
        first: &[u8],
        now: Now,
    ) -> io::Result<(Open<D::File>, OsString)> {
        let mut tries = 0;
        let (file, name) = loop {
            tries += 1;
            let name = self.names.unfinished(disk.random());
            match disk.create(&old.file, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < MOST_RANDOM_NAMES => {}
                other => break (other?, name),
            }
        };
        let filled = Open::new(file, true, now.monotonic).and_then(|(mut open, _)| {
            let (got, result) = open.write_all(first);
            if got > 0 {
                open.dirty = Some(now.monotonic);
            }
            result.map(|()| open)
        });
        if filled.is_err() {
            let _ = dir.remove(&name); // The next rotation, or the next start, finds it.
        }
        Ok((filled?, name))
    }

    /// The open file gets the archive's name, and the new one the active one. After an error all is
    /// as it was, as far as that can be seen.
    fn exchange<D: Dir<File = F>, F: DiskFile>(
        &self,
        dir: &mut D,
        old: &Open<F>,
        new: &mut Open<F>,
        unfinished: &OsStr,
        mut archive: Archive,
    ) -> io::Result<(Archive, OsString)> {
        for _ in 0..MOST_NAMES {
            let name = self.names.name(archive);
            let linked = match dir.link(self.names.active(), &name) {
                Ok(()) => Ok(true),
                // A network file system may have done it and say that it has not.
                Err(_) if dir.check_name(&name, &old.file).is_ok_and(|state| state == PathState::Same) => Ok(true),
                // Then the active name is absent for a moment.
                Err(error) if has_no_links(&error) => dir.rename_new(self.names.active(), &name).map(|()| false),
                Err(error) => Err(error),
            };
            match linked {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && archive.next() != archive => {
                    archive = archive.next();
                }
                Err(error) => return Err(error),
                Ok(linked) => {
                    let result = self.take_over(dir, old, new, unfinished, &name, linked);
                    if result.is_err() {
                        self.undo(dir, old, &name, linked);
                    }
                    return result.map(|()| (archive, name));
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Takes the archive's name back, only if it is seen that this is not the last name of the
    /// file: what was reported as failed may have been done. Whatever is left is seen at the next
    /// look: an archive that is the active file loses that name, a file that lost its active name
    /// is left.
    fn undo<D: Dir<File = F>, F: DiskFile>(&self, dir: &mut D, old: &Open<F>, archive: &OsStr, linked: bool) {
        let active = self.names.active();
        let mut is_at = |name| dir.check_name(name, &old.file).is_ok_and(|state| state == PathState::Same);
        if !is_at(archive) {
            return;
        }
        if !linked {
            let _ = dir.rename_new(archive, active); // Replaces nothing.
        } else if is_at(active) {
            let _ = dir.remove(archive);
        }
    }

    fn take_over<D: Dir<File = F>, F: DiskFile>(
        &self,
        dir: &mut D,
        old: &Open<F>,
        new: &mut Open<F>,
        unfinished: &OsStr,
        archive: &OsStr,
        linked: bool,
    ) -> io::Result<()> {
        // Somebody else may have put another file at the active path since we looked: that one is
        // not ours to replace.
        if dir.check_name(archive, &old.file)? != PathState::Same {
            return Err(io::ErrorKind::NotFound.into());
        }
        let active = self.names.active();
        let renamed = if linked { dir.rename(unfinished, active) } else { dir.rename_new(unfinished, active) };
        match renamed {
            // A network file system may have done it and say that it has not.
            Err(error) => match dir.check_name(active, &new.file) {
                Ok(PathState::Same) => Ok(()),
                _ => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }

    // --- what there is ---

    /// The archives, the oldest first. What a crash has left is removed, if it can be: a new file
    /// that never took over, and an archive's name for what is still the active file.
    fn find<D: Dir<File = F>, F: DiskFile>(&self, dir: &mut D, active: &mut F) -> io::Result<Vec<Found>> {
        let names = &self.names;
        let entries = dir.list(active, &|name| names.parse(name).is_some() || names.is_unfinished(name))?;
        let mut found = Vec::new();
        for entry in entries {
            let is_active = entry.id.is_some() && entry.id == active.id();
            match names.parse(&entry.name) {
                Some(archive) if !is_active => found.push(Found { archive, entry }),
                // Under way.
                None if self.compressing.as_ref().is_some_and(|(_, name)| *name == entry.name) => {}
                // Not its only name.
                Some(_) if dir.check_name(names.active(), active)? != PathState::Same => {}
                _ => {
                    let _ = dir.remove(&entry.name); // It hinders nobody.
                }
            }
        }
        found.sort_unstable_by_key(|found| found.archive);
        Ok(found)
    }

    /// What is deleted now has had its name: it is not given again.
    fn see(&mut self, found: &[Found]) {
        self.newest = self.newest.max(found.last().map(|found| found.archive));
    }

    // --- retention ---

    /// Whether archives are to be made, deleted or compressed here.
    pub(super) fn is_kept(&self) -> bool {
        self.rotation != Rotation::never() || !self.limits.is_none() || self.compress
    }

    /// Whether it is known that the open file is not the active one any more: then neither are the
    /// archives ours to look after. The next look opens the right one.
    fn is_elsewhere<D: Dir<File = F>, F>(&self, dir: &mut D, open: &Open<F>) -> bool {
        dir.check_name(self.names.active(), &open.file).is_ok_and(|state| state != PathState::Same)
    }

    /// Whether the archives have to be looked through.
    pub(super) fn must_tidy(&self, active: u64, now: Instant) -> bool {
        let too_much = || self.limits.total.is_some_and(|most| self.archived > 0 && self.archived + active > most);
        self.is_kept() && (self.tidy_at.is_none_or(|at| now >= at) || too_much())
    }

    /// Deletes what is over the limits.
    pub(super) fn tidy<D: Disk>(&mut self, disk: &mut D, open: &mut Open<D::File>, now: Now, news: &mut Vec<News>) {
        let Ok(mut dir) = dir_of(disk, open) else { return };
        if self.is_elsewhere(&mut dir, open) {
            return;
        }
        self.tidy_at = Some(now.monotonic + TIDY_EVERY);
        let found = match self.find(&mut dir, &mut open.file) {
            Ok(found) => found,
            Err(error) => {
                self.archived = 0; // Not known: what is too much is seen next time.
                return news.push(News::Failed { doing: "list archives", error });
            }
        };
        self.see(&found);
        let kept: Vec<_> = found.iter().map(|found| found.entry.kept()).collect();
        let going = self.limits.exceeded_by(&kept, open.len, now.wall);
        let mut left = 0;
        for (place, found) in found.iter().enumerate() {
            if !going.contains(&place) {
                left += found.entry.bytes;
                continue;
            }
            match dir.remove(&found.entry.name) {
                Ok(()) => {
                    news.push(News::Deleted { path: dir.path().join(&found.entry.name), bytes: found.entry.bytes })
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // It is not counted, so that it is tried again no sooner than usual.
                Err(error) => news.push(News::Failed { doing: "delete an archive", error }),
            }
        }
        self.archived = left;
    }

    /// Hears what came of the last compression, and begins the next: of the oldest archive that is
    /// plain. The newest stays plain, for agents that still read it. `leave`: so many bytes must
    /// stay free.
    pub(super) fn compress<D: Disk>(
        &mut self,
        disk: &mut D,
        open: &mut Open<D::File>,
        leave: u64,
        now: Instant,
        news: &mut Vec<News>,
    ) {
        if !self.compress {
            return;
        }
        match disk.compressed() {
            Some(Ok(true)) => self.compressing = None,
            Some(Ok(false)) => self.put_compression_off(now),
            Some(Err(error)) => {
                let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
                news.push(News::Failed { doing: "compress an archive", error });
                // The others get their turn first.
                let aside = if is_taken { &mut self.never_compressed } else { &mut self.not_compressed };
                aside.extend(self.compressing.take().map(|(archive, _)| archive));
                self.compress_at = None;
            }
            None => {}
        }
        let is_due = self.compressing.is_none() && self.compress_at.is_none_or(|at| now >= at);
        if !is_due {
            return;
        }
        let Ok(mut dir) = dir_of(disk, open) else { return };
        if self.is_elsewhere(&mut dir, open) {
            return;
        }
        // After a rotation at the soonest there is one more.
        self.compress_at = Some(now + COMPRESS_AGAIN);
        let Ok(found) = self.find(&mut dir, &mut open.file) else { return }; // Retention tells.
        let is = |found: &Found, aside| !found.archive.compressed && found.archive.compressed() == aside;
        let is_there = |aside: &Archive| found.iter().any(|found| is(found, *aside));
        self.not_compressed.retain(is_there);
        self.never_compressed.retain(is_there);
        let all_but_the_newest = found.split_last().map_or(&[][..], |(_, older)| older);
        let (not_compressed, never_compressed) = (&self.not_compressed, &self.never_compressed);
        let is_next = |found: &&Found| {
            let compressed = found.archive.compressed();
            !found.archive.compressed
                && !not_compressed.contains(&compressed)
                && !never_compressed.contains(&compressed)
        };
        let Some(next) = all_but_the_newest.iter().find(is_next) else {
            self.not_compressed.clear();
            return;
        };
        let archive = next.archive.compressed();
        let unfinished = self.names.unfinished_archive(archive, disk.random());
        let (from, to) = (next.entry.name.clone(), self.names.name(archive));
        let what = Compression { from, unfinished: unfinished.clone(), to, leave };
        match disk.compress(&open.file, what) {
            // As soon as this one is done the next may follow.
            Ok(()) => (self.compressing, self.compress_at) = (Some((archive, unfinished)), None),
            Err(error) => news.push(News::Failed { doing: "compress an archive", error }),
        }
    }

    fn put_compression_off(&mut self, now: Instant) {
        (self.compressing, self.compress_at) = (None, Some(now + COMPRESS_AGAIN));
    }

    /// Deletes the oldest archives until `missing` says that nothing is missing any more. Says
    /// whether any went.
    pub(super) fn give_way<D: Disk>(
        &mut self,
        disk: &mut D,
        open: &mut Open<D::File>,
        mut missing: impl FnMut(&mut Open<D::File>) -> u64,
        news: &mut Vec<News>,
    ) -> bool {
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
        // Where deleting makes no room (a snapshot, a second name, somebody who has the file open),
        // more of it does not either.
        let mut at_most = missing(open).saturating_mul(2);
        for found in found {
            if at_most == 0 || missing(open) == 0 {
                break;
            }
            match dir.remove(&found.entry.name) {
                Ok(()) => {
                    any = true;
                    at_most = at_most.saturating_sub(found.entry.bytes);
                    news.push(News::GaveWay { path: dir.path().join(&found.entry.name), bytes: found.entry.bytes });
                }
                Err(error) => news.push(News::Failed { doing: "delete an archive", error }),
            }
        }
        any
    }
}

impl Entry {
    fn kept(&self) -> Kept {
        Kept { bytes: self.bytes, modified: self.modified }
    }
}

/// Whether there are no hard links here, or not for us.
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported | io::ErrorKind::TooManyLinks)
}

/// The directory in which the open file really is.
fn dir_of<D: Disk>(disk: &D, open: &Open<D::File>) -> io::Result<D::Dir> {
    let place = disk.place(&open.file).ok_or(io::ErrorKind::Unsupported)?;
    Ok(place.0)
}
