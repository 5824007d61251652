//! Rotates a file when `schedule.rs` says so. Runs on the writer's thread.
//!
//! The order of a rotation is safe from a crash and from a full disk: the new file is created under
//! a name of its own and gets its first line; the active file gets a second name, the archive's;
//! the new file takes the active name. Nothing is copied or cut. No name is replaced except the
//! active one, and that only once its file has another.

mod exchange;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::disk::{Dir as _, Disk, DiskFile, PathState};
use crate::event::Cause;
use crate::sink::log_file::Start;
use crate::sink::rotation::Rotation;
use crate::sink::{Batch, News, Now, WriteError};
use crate::unix_time::UnixTime;

use super::FileSink;
use super::archive_name::Archive;
use super::archives::{Archives, dir_of};
use super::lock::taken_away;
use super::open_file::OpenFile;
use super::schedule::Schedule;
use exchange::Exchange;

/// After a rotation that failed the next one is tried after this time; each later one after twice
/// the time.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LAST_BACK_OFF: Duration = Duration::from_secs(60);
/// The most names that are tried for the next active file.
const MOST_RANDOM_NAMES: usize = 10;

/// When the file is rotated.
#[derive(Debug)]
pub(super) struct Rotator {
    rotation: Rotation,
    schedule: Schedule,
    /// The time of the last record in the active file.
    last_record: Option<UnixTime>,
    /// A rotation is due, whatever the schedule says.
    requested: bool,
    /// A record was written since the start.
    has_begun: Arc<AtomicBool>,
    not_before: Option<Instant>,
    back_off: Duration,
    /// Where each line of a batch ends, and its time: memory that is used again.
    lines: Vec<(u64, UnixTime)>,
}

impl Rotator {
    pub(super) fn new(rotation: Rotation, start: Start) -> Self {
        let Start { zone, has_begun } = start;
        Self {
            rotation,
            schedule: Schedule::new(rotation, zone),
            last_record: None,
            requested: rotation.on_start && !has_begun.load(Relaxed),
            has_begun,
            not_before: None,
            back_off: FIRST_BACK_OFF,
            lines: Vec::new(),
        }
    }

    /// Starts over for another file.
    pub(super) fn begin<F: DiskFile>(&mut self, open: &mut OpenFile<F>) {
        self.last_record = if open.len > 0 { open.file.modified().ok().map(UnixTime::from) } else { None };
        self.schedule.begin(self.last_record);
        // An empty file at the start is not rotated.
        self.requested &= open.len > 0;
        // What failed with the file before may work with this one.
        (self.not_before, self.back_off) = (None, FIRST_BACK_OFF);
    }

    /// Notes that the active file is empty.
    pub(super) fn emptied(&mut self) {
        self.last_record = None;
        self.schedule.begin(None);
    }

    /// Notes that these lines are in the active file.
    pub(super) fn wrote(&mut self, lines: &Batch<'_>) {
        let (first, last) = (lines.lines().next(), lines.lines().last());
        if first.is_some() {
            // Relaxed: a process that reads it was forked later.
            self.has_begun.store(true, Relaxed);
        }
        for line in first.into_iter().chain(last) {
            self.schedule.wrote(line.unix_time());
            // Not the latest time: a clock that was years ahead for a moment would give those years
            // to this archive's name, and the names after it are greater still.
            self.last_record = Some(line.unix_time());
        }
    }

    pub(super) fn has_size(&self) -> bool {
        self.rotation.size.is_some()
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.rotation != Rotation::never()
    }

    /// Requests a rotation before the next record.
    pub(super) fn request(&mut self) {
        self.requested = true;
    }

    /// Returns how many leading lines of `batch` belong in the file, which holds `len` bytes;
    /// before the next one it is to be rotated. While the output is suspended only the size counts:
    /// it is a hard limit, the others can wait.
    pub(super) fn lines_for(&mut self, batch: &Batch<'_>, len: u64, suspended: bool, now: Instant) -> usize {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return batch.len();
        }
        if self.requested && len > 0 && !suspended {
            return 0;
        }
        if !self.is_enabled() {
            return batch.len();
        }
        if suspended {
            return self.lines_by_size(batch, len);
        }
        self.lines.clear();
        self.lines.extend(batch.ends().zip(batch.lines()).map(|(end, line)| (end as u64, line.unix_time())));
        self.schedule.lines_for(len, &self.lines)
    }

    fn lines_by_size(&self, batch: &Batch<'_>, len: u64) -> usize {
        if !self.has_size() {
            return batch.len();
        }
        let left = usize::try_from(self.size_left(len)).unwrap_or(usize::MAX);
        let fit = batch.whole_lines_in(left).0;
        if len == 0 { fit.max(1).min(batch.len()) } else { fit }
    }

    /// Returns how many bytes a file of this length may grow by.
    pub(super) fn size_left(&self, len: u64) -> u64 {
        self.rotation.size.map_or(u64::MAX, |size| size.saturating_sub(len))
    }

    /// Returns whether a file of this length should have been rotated before its last record.
    pub(super) fn is_overdue(&mut self, len: u64) -> bool {
        if self.requested && len > 0 {
            return true;
        }
        let Some(last) = self.last_record.filter(|_| self.is_enabled() && len > 0) else { return false };
        self.schedule.lines_for(len, &[(1, last)]) == 0
    }

    fn done(&mut self) {
        self.requested = false;
        (self.not_before, self.back_off) = (None, FIRST_BACK_OFF);
        self.emptied();
    }

    fn failed(&mut self, now: Instant) {
        self.not_before = Some(now + self.back_off);
        self.back_off = (self.back_off * 2).min(LAST_BACK_OFF);
    }

    /// Returns the name of the archive that the active file becomes.
    fn archive_after(&mut self, newest: Option<Archive>, now: Now) -> Archive {
        Archive::after(newest, self.schedule.calendar_second(self.last_record.unwrap_or(now.wall.into())))
    }
}

impl<D: Disk> FileSink<D> {
    /// Returns whether a file that may not grow can be rotated instead.
    pub(super) fn may_rotate_a_full_file(&self) -> bool {
        self.rotator.has_size() && self.open.as_ref().is_some_and(|open| open.holds_lock() && open.len > 0)
    }

    /// Rotates the file, and begins the next one with `first`, a line or none. Returns whether that
    /// is done; if not, it is reported, and the old file goes on.
    ///
    /// # Errors
    ///
    /// There is no space for the line; nothing was tried.
    pub(super) fn rotate(&mut self, first: &Batch<'_>) -> Result<bool, WriteError> {
        let now = first.now();
        let bytes = first.bytes().len() as u64;
        if let Some(cause) = self.space.cannot_fit(bytes) {
            self.space.failed(cause, bytes);
            let error = self.low_space(0, first.bytes().len());
            return Err(if cause == Cause::LowSpace { error } else { error.caused_by(cause) });
        }
        let Some(open) = &mut self.open else { return Ok(false) };
        // A reader of one archive after the other never finds two lines in one.
        if self.torn && self.rotator.size_left(open.len) > 0 && open.write_all(b"\n").1.is_ok() {
            self.torn = false;
        }
        let rotated = try_to_rotate(&mut self.rotator, &mut self.archives, &mut self.disk, open, first);
        let (new, archive) = match rotated {
            Ok(done) => done,
            Err(error) => {
                self.archives.is_clean = false;
                self.rotator.failed(now.monotonic);
                self.news.push(News::Failed { doing: "rotate", error });
                let _ = self.preallocate(0); // The blocks may have been given back.
                return Ok(false);
            }
        };
        self.rotator.done();
        self.archives.rotated();
        self.sync_left_file();
        self.go_on_in(new, first);
        self.news.push(News::Rotated { archive });
        self.adopt_interrupted(now);
        self.tidy_after_rotation(now);
        self.report_not_given();
        self.sync_dir();
        // The new file reserves space for errors at once, before others take the blocks that the
        // old one has given back.
        let _ = self.preallocate(0);
        Ok(true)
    }

    /// Makes the next file, which holds `first`, the active one. It gets the lock, and goes on with
    /// what was noticed at the path.
    fn go_on_in(&mut self, new: OpenFile<D::File>, first: &Batch<'_>) {
        let Some(open) = &mut self.open else { return };
        let (shared, reported_untrusted) = (open.shared.ever, open.path.reported_untrusted);
        let mut old = std::mem::replace(open, new);
        open.inherit_lock(&mut old, first.now().monotonic);
        drop(old);
        (open.shared.ever, open.path.reported_untrusted) = (shared, reported_untrusted);
        open.path.lines_since = first.len() as u64;
        self.torn = false;
        self.rotator.wrote(first);
    }

    /// While the output is suspended, no archive is deleted for the limits.
    fn tidy_after_rotation(&mut self, now: Now) {
        if let Some(open) = self.open.as_mut().filter(|_| !self.suspended) {
            self.archives.tidy_after_rotation(&mut self.disk, open, now, &mut self.news);
        }
    }

    /// Makes an archive of the records of an interrupted rotation. They are younger than what the
    /// active file held then, so that one becomes an archive first. The next file is empty: whoever
    /// is killed between the two steps leaves nothing that is younger still.
    pub(super) fn resume_interrupted(&mut self, now: Now) {
        if self.archives.interrupted.with_records.is_empty() {
            return;
        }
        match &self.open {
            Some(open) if open.len > 0 => {
                // What fails is reported; the next look through the directory finds them again.
                let _ = self.rotate(&Batch::new(&[], &[], now));
                self.archives.interrupted.with_records.clear();
            }
            _ => self.adopt_interrupted(now),
        }
    }

    /// Makes archives of the files with the records of an interrupted rotation.
    fn adopt_interrupted(&mut self, now: Now) {
        let names = std::mem::take(&mut self.archives.interrupted.with_records);
        let Some(open) = &self.open else { return };
        let Ok(mut dir) = dir_of(&self.disk, open) else { return };
        for from in names {
            let archive = self.rotator.archive_after(self.archives.newest, now);
            match self.archives.adopt(&mut dir, &from, archive) {
                Ok((archive, name)) => {
                    self.archives.add(&mut dir, archive, &name, &open.file);
                    self.news.push(News::Rotated { archive: dir.path().join(name) });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.news.push(News::Failed { doing: "rotate", error }),
            }
        }
    }
}

/// Rotates the open file. Returns the next one, with `first` in it, and the path of the archive.
///
/// # Errors
///
/// The file is still the active one.
fn try_to_rotate<D: Disk>(
    rotator: &mut Rotator,
    archives: &mut Archives,
    disk: &mut D,
    old: &mut OpenFile<D::File>,
    first: &Batch<'_>,
) -> io::Result<(OpenFile<D::File>, PathBuf)> {
    let mut dir = dir_of(disk, old)?;
    // This process has the lock: no other process of ours can have rotated the file before, and
    // none can now.
    if !old.still_holds_lock() {
        return Err(taken_away());
    }
    if dir.check_name(archives.names.active(), &old.file)? != PathState::Same {
        return Err(not_at_path());
    }
    archives.interrupted.remove_discarded(&mut dir, &old.file)?;
    if !archives.is_clean {
        // Only a failed rotation leaves something.
        archives.begin_list(&mut dir, &mut old.file)?;
    }
    // A new name for each attempt would leave one more name each time.
    let second_name = archives.interrupted.second_name.take();
    let archive = second_name.unwrap_or_else(|| rotator.archive_after(archives.newest, first.now()));
    let (mut new, unfinished) = archives.create(disk, &mut dir, old, first)?;
    // Before it is an archive: whoever is killed then leaves one that takes no more than it holds.
    old.give_back_blocks();
    let exchange = Exchange { archives, dir: &mut dir, old, new: &new, unfinished: &unfinished };
    match exchange.make(archive) {
        Ok((archive, name)) => {
            let path = dir.path().join(&name);
            archives.add(&mut dir, archive, &name, &old.file);
            Ok((new, path))
        }
        Err(error) => {
            // It may have become the active file all the same, and the line goes into the old one.
            if old.still_holds_lock() {
                new.cut_all();
            }
            archives.interrupted.discard(&mut dir, &old.file, unfinished);
            Err(error)
        }
    }
}

impl Archives {
    /// Lets the next compression begin at once: there is one archive more.
    fn rotated(&mut self) {
        self.compressor.next_at = None;
    }

    /// Creates the next active file, under its first name, with its first line in it; or nothing at
    /// all.
    fn create<D: Disk>(
        &mut self,
        disk: &mut D,
        dir: &mut D::Dir,
        old: &OpenFile<D::File>,
        first: &Batch<'_>,
    ) -> io::Result<(OpenFile<D::File>, OsString)> {
        let now = first.now();
        let mut tries = 0;
        let (file, name) = loop {
            tries += 1;
            let name = self.names.unfinished(disk.random());
            match disk.create(&old.file, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < MOST_RANDOM_NAMES => {}
                other => break (other?, name),
            }
        };
        let mut open = OpenFile::next(file, now.monotonic);
        let (got, result) = open.write_all(first.bytes());
        if got > 0 {
            open.dirty_since = Some(now.monotonic);
        }
        if result.is_err() {
            self.interrupted.discard(dir, &old.file, name.clone());
        }
        result.map(|()| (open, name))
    }
}

fn not_at_path() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "another file is at the path")
}
