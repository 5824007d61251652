//! The archives of one file: rotation, retention, room made on request. Does what `rotation.rs`, `archive.rs` and `retention.rs` say.
//! Runs on the writer's thread.
//!
//! A rotation, in an order that a crash or a full disk cannot turn against what is there: the new file is made under a name of its own
//! and gets its first line; the active file gets a second name, the archive's; the new file takes over the active name. Nothing is
//! copied or cut, no name is replaced but the active one, and that only once its file has another.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::disk::{Compression, Disk, DiskFile, Entry, PathState};

use super::archive::{Archive, Names};
use super::log_file::FileOptions;
use super::open::Open;
use super::retention::{Kept, Limits};
use super::rotation::{Rotation, Schedule};
use super::{Batch, News, Now};

/// The archives are looked through this often, besides at the start and after a rotation.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// After a rotation that failed the next one is tried, after this; each later one after twice the time.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LAST_BACK_OFF: Duration = Duration::from_secs(60);
/// An archive that could not be compressed is tried again, after this.
const COMPRESS_AGAIN: Duration = Duration::from_secs(60);
/// So many names are tried for an archive, if somebody else is always faster.
const MOST_NAMES: usize = 100;

/// What is known about the archives of one file.
#[derive(Debug)]
pub(super) struct History {
    rotation: Rotation,
    limits: Limits,
    compress: bool,
    /// Where the file really is: a symbolic link is followed once, when the file is opened.
    path: PathBuf,
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
    /// Which archive is being compressed.
    compressing: Option<Archive>,
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
            path: path.to_owned(),
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

    /// Another file was opened at `path`.
    pub(super) fn begin<D: Disk>(&mut self, disk: &mut D, path: &Path, open: &mut Open<D::File>) {
        self.path = disk.resolve(path);
        self.names = Names::new(self.path.file_name().unwrap_or_default());
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

    /// How many leading lines of `batch` belong into the file, which holds `len` bytes; before the next one it is to be rotated.
    /// While it gets over a suspension only the size counts: it is a hard limit, the others can wait.
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

    // --- rotation ------------------------------------------------------------------------------------------------

    /// Puts the open file aside and opens a new one in its place, with `first` in it; says under which name the old one is.
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
        // With the lock of the open file in hand: nobody of ours can have put it aside before, and nobody can now.
        if old.file.check_path(&self.path)? != PathState::Same {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !self.is_clean {
            // Only what fails leaves something behind.
            let found = self.find(disk, &mut old.file)?;
            self.see(&found);
            self.is_clean = true;
        }
        let second = self.schedule.calendar_second(self.last_record.unwrap_or(now.wall));
        let archive = Archive::after(self.newest, second);
        let unfinished = self.beside(self.names.unfinished());
        let mut new = create(disk, &unfinished, first, now)?;
        // Before it is an archive: whoever is killed then leaves one that takes no more than it holds.
        old.give_back();
        match self.exchange(disk, old, &mut new, &unfinished, archive) {
            Ok((archive, path)) => {
                self.newest = Some(archive);
                Ok((new, path))
            }
            Err(error) => {
                let _ = disk.remove(&unfinished); // The next rotation, or the next start, finds it.
                Err(error)
            }
        }
    }

    /// The open file gets the archive's name, and the new one the active one. After an error all is as it was.
    fn exchange<D: Disk>(
        &self,
        disk: &mut D,
        old: &mut Open<D::File>,
        new: &mut Open<D::File>,
        unfinished: &Path,
        mut archive: Archive,
    ) -> io::Result<(Archive, PathBuf)> {
        for _ in 0..MOST_NAMES {
            let path = self.beside(self.names.name(archive));
            let linked = match disk.link(&self.path, &path) {
                Ok(()) => Ok(true),
                // A network file system may have done it and say that it has not.
                Err(_) if old.file.check_path(&path).is_ok_and(|place| place == PathState::Same) => Ok(true),
                // Then the active name is absent for a moment.
                Err(error) if has_no_links(&error) => disk.rename_new(&self.path, &path).map(|()| false),
                Err(error) => Err(error),
            };
            match linked {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && archive.next() != archive => {
                    archive = archive.next();
                }
                Err(error) => return Err(error),
                Ok(linked) => {
                    let result = self.take_over(disk, old, new, unfinished, &path, linked);
                    if result.is_err() {
                        // What cannot be undone either is seen at the next look: an archive that is the active file loses that
                        // name, a file that lost its active name is left.
                        let _ = if linked { disk.remove(&path) } else { disk.rename_new(&path, &self.path) };
                    }
                    return result.map(|()| (archive, path));
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn take_over<D: Disk>(
        &self,
        disk: &mut D,
        old: &mut Open<D::File>,
        new: &mut Open<D::File>,
        unfinished: &Path,
        archive: &Path,
        linked: bool,
    ) -> io::Result<()> {
        // Somebody else may have put another file at the active path since we looked: that one is not ours to replace.
        if old.file.check_path(archive)? != PathState::Same {
            return Err(io::ErrorKind::NotFound.into());
        }
        let renamed =
            if linked { disk.rename(unfinished, &self.path) } else { disk.rename_new(unfinished, &self.path) };
        match renamed {
            // A network file system may have done it and say that it has not.
            Err(error) => match new.file.check_path(&self.path) {
                Ok(PathState::Same) => Ok(()),
                _ => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn beside(&self, name: OsString) -> PathBuf {
        self.path.with_file_name(name)
    }

    // --- what there is -------------------------------------------------------------------------------------------

    /// The archives, the oldest first. What a crash has left is removed: a new file that never took over, and an archive's name for what is
    /// still the active file.
    fn find<D: Disk>(&self, disk: &mut D, active: &mut D::File) -> io::Result<Vec<Found>> {
        let names = &self.names;
        let entries = disk.list(self.dir(), &|name| names.parse(name).is_some() || names.is_unfinished(name))?;
        let mut found = Vec::new();
        for entry in entries {
            let is_active = entry.id.is_some() && entry.id == active.id();
            match names.parse(&entry.name) {
                Some(archive) if !is_active => found.push(Found { archive, entry }),
                // Under way.
                None if self.compressing.is_some_and(|archive| names.unfinished_archive(archive) == entry.name) => {}
                // Not its only name.
                Some(_) if active.check_path(&self.path)? != PathState::Same => {}
                _ => disk.remove(&self.beside(entry.name))?,
            }
        }
        found.sort_unstable_by_key(|found| found.archive);
        Ok(found)
    }

    /// What is deleted now has had its name: it is not given again.
    fn see(&mut self, found: &[Found]) {
        self.newest = self.newest.max(found.last().map(|found| found.archive));
    }

    // --- retention -----------------------------------------------------------------------------------------------

    /// Whether archives are to be made, deleted or compressed here.
    pub(super) fn is_kept(&self) -> bool {
        self.rotation != Rotation::never() || !self.limits.is_none() || self.compress
    }

    /// Whether it is known that the open file is not the active one any more: then neither are the archives ours to look after. The next
    /// look opens the right one.
    fn is_elsewhere<F: DiskFile>(&self, open: &mut Open<F>) -> bool {
        open.file.check_path(&self.path).is_ok_and(|place| place != PathState::Same)
    }

    /// Whether the archives have to be looked through.
    pub(super) fn must_tidy(&self, active: u64, now: Instant) -> bool {
        let too_much = || self.limits.total.is_some_and(|most| self.archived > 0 && self.archived + active > most);
        self.is_kept() && (self.tidy_at.is_none_or(|at| now >= at) || too_much())
    }

    /// Deletes what is over the limits.
    pub(super) fn tidy<D: Disk>(&mut self, disk: &mut D, open: &mut Open<D::File>, now: Now, news: &mut Vec<News>) {
        if self.is_elsewhere(open) {
            return;
        }
        self.tidy_at = Some(now.monotonic + TIDY_EVERY);
        let mut found = match self.find(disk, &mut open.file) {
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
        for (place, found) in found.iter_mut().enumerate() {
            if !going.contains(&place) {
                left += found.entry.bytes;
                continue;
            }
            let path = self.beside(std::mem::take(&mut found.entry.name));
            match disk.remove(&path) {
                Ok(()) => news.push(News::Deleted { path, bytes: found.entry.bytes }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // It is not counted, so that it is tried again no sooner than usual.
                Err(error) => news.push(News::Failed { doing: "delete an archive", error }),
            }
        }
        self.archived = left;
    }

    /// Hears what came of the last compression, and begins the next: of the oldest archive that is plain. The newest stays plain, for
    /// agents that still read it. `leave`: so many bytes must stay free.
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
                aside.extend(self.compressing.take());
                self.compress_at = None;
            }
            None => {}
        }
        let is_due = self.compressing.is_none() && self.compress_at.is_none_or(|at| now >= at);
        if !is_due || self.is_elsewhere(open) {
            return;
        }
        // After a rotation at the soonest there is one more.
        self.compress_at = Some(now + COMPRESS_AGAIN);
        let Ok(found) = self.find(disk, &mut open.file) else { return }; // Retention tells.
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
        let what = Compression {
            from: self.beside(next.entry.name.clone()),
            unfinished: self.beside(self.names.unfinished_archive(next.archive.compressed())),
            to: self.beside(self.names.name(next.archive.compressed())),
            leave,
        };
        match disk.compress(what) {
            // As soon as this one is done the next may follow.
            Ok(()) => (self.compressing, self.compress_at) = (Some(next.archive.compressed()), None),
            Err(error) => news.push(News::Failed { doing: "compress an archive", error }),
        }
    }

    fn put_compression_off(&mut self, now: Instant) {
        (self.compressing, self.compress_at) = (None, Some(now + COMPRESS_AGAIN));
    }

    /// Deletes the oldest archives until `missing` says that nothing is missing any more. Says whether any went.
    pub(super) fn give_way<D: Disk>(
        &mut self,
        disk: &mut D,
        open: &mut Open<D::File>,
        mut missing: impl FnMut(&mut Open<D::File>) -> u64,
        news: &mut Vec<News>,
    ) -> bool {
        if self.is_elsewhere(open) {
            return false;
        }
        let found = match self.find(disk, &mut open.file) {
            Ok(found) => found,
            Err(error) => {
                news.push(News::Failed { doing: "list archives", error });
                return false;
            }
        };
        self.see(&found);
        let mut any = false;
        // Where deleting makes no room (a snapshot, a second name, somebody who has the file open), more of it does not either.
        let mut at_most = missing(open).saturating_mul(2);
        for found in found {
            if at_most == 0 || missing(open) == 0 {
                break;
            }
            let path = self.beside(found.entry.name);
            match disk.remove(&path) {
                Ok(()) => {
                    any = true;
                    at_most = at_most.saturating_sub(found.entry.bytes);
                    news.push(News::GaveWay { path, bytes: found.entry.bytes });
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

/// The next active file, under its first name, with its first line in it; or nothing at all.
fn create<D: Disk>(disk: &mut D, path: &Path, first: &[u8], now: Now) -> io::Result<Open<D::File>> {
    let file = match disk.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(path)?;
            disk.create(path)?
        }
        other => other?,
    };
    let filled = Open::new(file, true, now.monotonic).and_then(|(mut open, _)| {
        let (got, result) = open.write_all(first);
        if got > 0 {
            open.dirty = Some(now.monotonic);
        }
        result.map(|()| open)
    });
    if filled.is_err() {
        let _ = disk.remove(path); // The next rotation, or the next start, finds it.
    }
    filled
}
