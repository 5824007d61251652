//! The file sink: appends, repairs, reopens; does what `space.rs` says, and has `history.rs`
//! rotate. Runs on the writer's thread.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter};

use crate::disk::{Dir as _, Disk, DiskFile, Kind, PathState, Stream};
use crate::event::Cause;

use super::history::History;
use super::log_file::{FileOptions, Fsync, WhenLow};
use super::open::Open;
use super::space::{Answer, Space};
use super::{Batch, Command, Health, News, Now, OutputSink, Purpose, Shortage, WriteError};

/// The path is compared with the open file at most this often, before a write.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The line that says that it gets quiet is written only while at least this much is free.
const ROOM_FOR_NOTICE: u64 = 4096;
/// ERROR records are taken while at least this much of their reserve is left.
const ROOM_FOR_AN_ERROR: u64 = 512;
/// A file that was put aside while it was opened is opened anew, this often.
const MOST_OPENINGS: usize = 3;
/// The reader of a suspended pipe or terminal is looked at this often.
const READER_PROBE: Duration = Duration::from_millis(50);
/// Old files are deleted for room at most this often.
const GIVE_WAY_EVERY: Duration = Duration::from_secs(1);

/// Where a file sink writes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Path(PathBuf),
    Stream(Stream),
}

/// Appends to a file, or to a stream of the process.
pub(crate) struct FileSink<D: Disk> {
    disk: D,
    target: Target,
    options: FileOptions,
    space: Space,
    open: Option<Open<D::File>>,
    /// Only a file that has a path has a history.
    history: Option<History>,
    /// Why the file is not open.
    closed_by: Cause,
    /// The file ends in the middle of a line: the next write begins with a newline.
    torn: bool,
    /// It could not write, and has not since: nothing is renamed or deleted.
    quiet: bool,
    /// The most that was ever kept for ERROR records in the open file.
    most_kept: u64,
    gave_way: Option<Instant>,
    /// It was told that there are no locks here.
    no_lock_reported: bool,
    /// What has happened, not told yet.
    news: Vec<News>,
}

impl<D: Disk> FileSink<D> {
    pub(crate) fn new(disk: D, target: Target, options: FileOptions) -> Self {
        let space = Space::new(options.min_free_space);
        let history = match &target {
            Target::Path(path) => Some(History::new(path, &options)),
            Target::Stream(_) => None,
        };
        Self {
            disk,
            target,
            options,
            space,
            open: None,
            history,
            closed_by: Cause::Missing,
            torn: false,
            quiet: false,
            most_kept: 0,
            gave_way: None,
            no_lock_reported: false,
            news: Vec::new(),
        }
    }

    fn reopen(&mut self, now: Now) -> Result<(), WriteError> {
        // Closed first: its lock would be somebody else's to the new descriptor, if it is the same
        // file.
        if let Some(mut open) = self.open.take() {
            open.release();
        }
        let opened = match &self.target {
            Target::Stream(stream) => self.disk.stream(*stream).and_then(|file| Open::new(file, false, now.monotonic)),
            Target::Path(path) => open_in_place(&mut self.disk, path, now.monotonic),
        };
        self.space.forget();
        self.most_kept = 0;
        match opened {
            Ok((open, torn)) => {
                // Where the tail cannot be read, what is known of it stays: an empty line more is
                // better than two in one.
                self.torn = torn.unwrap_or(self.torn || open.len > 0);
                let open = self.open.insert(open);
                if let Some(history) = &mut self.history {
                    history.begin(&mut self.disk, open);
                }
                // It may have been made just now: a file that is synced is of no use without its
                // name.
                if open.len == 0 && open.kind == Kind::Regular {
                    self.sync_dir();
                }
                self.point();
                self.tell_no_lock();
                Ok(())
            }
            Err(error) => {
                self.open = None;
                let error = WriteError::failed(0, "open", error);
                self.closed_by = error.cause();
                self.space.failed(error.cause(), 0);
                Err(error)
            }
        }
    }

    /// Has the symbolic link lead to the file.
    fn point(&mut self) {
        let (Some(link), Target::Path(path)) = (&self.options.symlink, &self.target) else { return };
        if let Err(error) = self.disk.point(link, path) {
            self.news.push(News::Failed { doing: "link", error });
        }
    }

    /// Without a lock nothing is put aside and nothing deleted, however much that was asked for.
    fn tell_no_lock(&mut self) {
        let Some(error) = self.open.as_mut().and_then(|open| open.no_lock.take()) else { return };
        let needed =
            self.options.when_low == WhenLow::DeleteOldest || self.history.as_ref().is_some_and(History::is_kept);
        if needed && !std::mem::replace(&mut self.no_lock_reported, true) {
            self.news.push(News::Failed { doing: "lock", error });
        }
    }

    fn ask_for_room(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            ask_for_room(&mut self.space, open, now);
        }
    }

    /// Less than `needed` bytes are writable.
    fn low_space(&self, written: usize, needed: usize) -> WriteError {
        let known = self.space.free_and_reserve().filter(|(free, _)| *free >= ROOM_FOR_NOTICE);
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

    /// Sees whether the path still leads to the open file, and opens anew if not.
    fn look(&mut self, now: Now) -> Result<(), WriteError> {
        let Target::Path(path) = &self.target else { return Ok(()) };
        let Some(open) = &mut self.open else { return Ok(()) };
        let is_recent = |looked| now.monotonic.saturating_duration_since(looked) < LOOK_EVERY;
        if open.kind == Kind::Stream || open.looked.is_some_and(is_recent) {
            return Ok(());
        }
        open.looked = Some(now.monotonic);
        // Where the path may not be looked at (a program that has dropped its privileges), or leads
        // elsewhere by a way that is not safe, the descriptor still works; if it does not, the
        // write tells.
        let place = match open.file.check_path(path) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !open.reported_untrusted => {
                open.reported_untrusted = true;
                self.news.push(News::Failed { doing: "follow the path", error });
                PathState::Same
            }
            Err(_) => PathState::Same,
        };
        let unseen = std::mem::take(&mut open.unseen);
        match place {
            PathState::Same => {
                self.measure();
                return Ok(());
            }
            PathState::Moved => self.sync_old(),
            PathState::Deleted => self.news.push(News::Vanished { lines: unseen }),
        }
        self.reopen(now)
    }

    fn look_at_once(&mut self, now: Now) -> Result<(), WriteError> {
        self.open.iter_mut().for_each(|open| open.looked = None);
        self.look(now)
    }

    /// Somebody else may have made the file shorter, as `copytruncate` does, or longer, and may
    /// have left half a line; the next write is at its end, wherever that is.
    fn measure(&mut self) {
        let Some(open) = &mut self.open else { return };
        let before = open.len;
        // A length that cannot be seen now is seen at the next look.
        let shorter = open.measure();
        if open.len != before || shorter.is_none() {
            // As when it is opened: one of which nothing can be seen may be torn.
            self.torn = open.is_torn().unwrap_or(self.torn || open.len > 0);
        }
        let shorter = shorter.unwrap_or(0);
        if shorter > 0 {
            if let (0, Some(history)) = (open.len, &mut self.history) {
                history.emptied();
            }
            self.news.push(News::CutShort { bytes: shorter });
        }
    }

    /// A file that is left is still there for somebody: its lines are as durable as they were asked
    /// to be.
    fn sync_old(&mut self) {
        if self.options.fsync == Fsync::Never {
            return;
        }
        if let Some(Err(error)) = self.open.as_mut().and_then(Open::sync) {
            self.news.push(News::Failed { doing: "fsync", error });
        }
    }

    /// Which levels it takes although it is suspended: ERROR, as long as blocks are left that are
    /// the file's already.
    fn still_takes(&self) -> LevelFilter {
        let left = |open: &Open<D::File>| self.history.as_ref().map_or(u64::MAX, |history| history.left(open.len));
        let lasts = self.open.as_ref().is_some_and(|open| open.ahead().min(left(open)) >= ROOM_FOR_AN_ERROR);
        if lasts { LevelFilter::Error } else { LevelFilter::Off }
    }

    /// After an error of the file: what to say, and whether the descriptor is worth keeping.
    fn give_up(&mut self, written: usize, doing: &'static str, error: io::Error, bytes: u64) -> WriteError {
        let again = error.kind() == io::ErrorKind::WouldBlock;
        let mut error = WriteError::failed(written, doing, error);
        match error.cause() {
            Cause::LowSpace | Cause::DiskFull | Cause::Quota | Cause::FileTooLarge => {}
            _ if again => {}
            cause => {
                self.open = None;
                self.closed_by = cause;
            }
        }
        self.space.failed(error.cause(), bytes);
        error.still_takes = self.still_takes();
        error.would_block = again && matches!(self.target, Target::Stream(_));
        error
    }

    /// Syncs what is new. A descriptor whose sync failed once may call the next one a success: it
    /// is never asked again, but opened anew. That suspends the output only where it is the way in
    /// which a full disk shows.
    fn sync(&mut self, now: Now, written: usize) -> Result<(), WriteError> {
        let Some(Err(error)) = self.open.as_mut().and_then(Open::sync) else { return Ok(()) };
        let cause = Cause::of(&error);
        if matches!(cause, Cause::DiskFull | Cause::Quota) {
            let error = self.give_up(written, "fsync", error, 0);
            self.open = None;
            self.closed_by = cause;
            return Err(error);
        }
        self.news.push(News::Failed { doing: "fsync", error });
        self.reopen(now).map_err(|error| error.after(written))
    }

    fn sync_if_due(&mut self, now: Now, errors: bool, written: usize) -> Result<(), WriteError> {
        let due = match self.options.fsync {
            Fsync::Never => false,
            Fsync::AfterErrors => errors,
            Fsync::Every(_) => self.sync_due_in(now.monotonic).is_some_and(|left| left.is_zero()),
        };
        if due { self.sync(now, written) } else { Ok(()) }
    }

    /// The same for the lines of `batch` that are in; `result` says which.
    fn sync_what_is_in(&mut self, batch: &Batch<'_>, result: Result<(), WriteError>) -> Result<(), WriteError> {
        let written = result.as_ref().map_or_else(WriteError::written, |()| batch.len());
        let errors = self.options.fsync == Fsync::AfterErrors
            && batch.lines().take(written).any(|line| line.level() == Level::Error);
        result.and(self.sync_if_due(batch.now(), errors, written))
    }

    /// How long until what is new has to be synced.
    fn sync_due_in(&self, now: Instant) -> Option<Duration> {
        let Fsync::Every(every) = self.options.fsync else { return None };
        let dirty = self.open.as_ref()?.dirty?;
        Some(every.saturating_sub(now.saturating_duration_since(dirty)))
    }

    /// How many bytes may be written now: what the space allows and what is the file's already, but
    /// for the reserve.
    fn budget(&self) -> u64 {
        match &self.open {
            Some(open) if open.can_preallocate() => {
                self.space.writable().saturating_add(open.ahead()).saturating_sub(self.kept())
            }
            _ => self.space.writable(),
        }
    }

    /// How many bytes are kept for ERROR records: all of them; or where there is little room, half
    /// of it, and never less than what was kept before and is left of that.
    fn kept(&self) -> u64 {
        let ahead = self.open.as_ref().map_or(0, Open::ahead);
        let half = self.space.left().saturating_add(ahead) / 2;
        // Where no mark says when a full disk has recovered, what stood before must be able to
        // stand again.
        let before = if self.quiet && !self.space.has_marks() { self.most_kept } else { 0 };
        self.options.error_reserve.min(half.max(self.most_kept.min(ahead)).max(before))
    }

    /// Takes the room for so many bytes and for the reserve behind them: the full disk shows here,
    /// before anything is written.
    fn preallocate(&mut self, bytes: u64) -> io::Result<()> {
        let kept = self.kept();
        let Some(open) = &mut self.open else { return Ok(()) };
        let bytes = bytes.saturating_add(kept);
        if kept == 0 || self.space.writable().saturating_add(open.ahead()) < bytes {
            return Ok(()); // There is none, or it is not for us to take.
        }
        open.preallocate(bytes, self.space.preallocation_step(), self.space.block())?;
        self.most_kept = self.most_kept.max(kept);
        Ok(())
    }

    fn lacks_reserve(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.can_preallocate() && open.ahead() < self.kept())
    }

    /// Writes the records of `batch`: into this file what belongs into it, the others into the
    /// next.
    fn write_records(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let now = batch.now();
        let mut written = 0;
        let mut may_rotate = true;
        let mut is_in_place = false;
        while written < batch.len() {
            // Before every part: another output of ours, or another process, may have written
            // since.
            self.ask_for_room(now.monotonic);
            let rest = batch.behind(written);
            let here = if may_rotate { self.room_for(&rest, now) } else { rest.len() };
            if here == 0 && !std::mem::replace(&mut is_in_place, true) {
                // What is to be put aside has to be there still: otherwise the lines belong into
                // the file that is.
                self.look_at_once(now).map_err(|error| error.after(written))?;
                continue;
            }
            let result = match here {
                0 => self.rotate(&rest.first(1)).map(|done| may_rotate = done),
                _ => self.append(&rest.first(here), self.budget()),
            };
            let error = match result {
                Ok(()) if here == 0 && !may_rotate => continue,
                Ok(()) => {
                    written += here.max(1);
                    continue;
                }
                Err(error) => error,
            };
            written += error.written();
            match error.cause() {
                // This file may not grow; the next one may.
                Cause::FileTooLarge if may_rotate && self.may_rotate_a_full_file() => {
                    match self.rotate(&batch.behind(written).first(1)) {
                        Ok(true) => written += 1,
                        Ok(false) => return Err(error.after(written)),
                        Err(error) => return Err(error.after(written)),
                    }
                }
                Cause::LowSpace | Cause::DiskFull if self.give_way(now) => self.news.extend(error.news),
                _ => return Err(error.after(written)),
            }
        }
        Ok(())
    }

    /// How many leading lines of `batch` belong into the open file.
    fn room_for(&mut self, batch: &Batch<'_>, now: Now) -> usize {
        match (&mut self.history, &self.open) {
            (Some(history), Some(open)) if open.is_ours_alone() => {
                history.room_for(batch, open.len + u64::from(self.torn), self.quiet, now.monotonic)
            }
            _ => batch.len(),
        }
    }

    fn may_rotate_a_full_file(&self) -> bool {
        let has_size = self.history.as_ref().is_some_and(History::has_size);
        has_size && self.open.as_ref().is_some_and(|open| open.is_ours_alone() && open.len > 0)
    }

    /// Puts the file aside and begins a new one with `first`, a line or none. Says whether that is
    /// done; if not, it is told, and the old file goes on.
    ///
    /// # Errors
    ///
    /// There is no room for the line; nothing was tried.
    fn rotate(&mut self, first: &Batch<'_>) -> Result<bool, WriteError> {
        let now = first.now();
        let bytes = first.bytes().len() as u64;
        if let Some(cause) = self.space.cannot_fit(bytes) {
            self.space.failed(cause, bytes);
            let error = self.low_space(0, 0);
            return Err(if cause == Cause::LowSpace { error } else { error.caused_by(cause) });
        }
        let (Some(history), Some(open)) = (&mut self.history, &mut self.open) else { return Ok(false) };
        // Whoever reads archives one behind the other finds no two lines in one.
        if self.torn && history.left(open.len) > 0 && open.write_all(b"\n").1.is_ok() {
            self.torn = false;
        }
        let (new, archive) = match history.rotate(&mut self.disk, open, first.bytes(), now) {
            Ok(done) => done,
            Err(error) => {
                self.news.push(News::Failed { doing: "rotate", error });
                let _ = self.preallocate(0); // It may have been given back.
                return Ok(false);
            }
        };
        self.sync_old();
        let Some(open) = &mut self.open else { return Ok(false) };
        let (shared, reported_untrusted) = (open.shared, open.reported_untrusted);
        open.release();
        *open = new;
        (open.shared, open.reported_untrusted) = (shared, reported_untrusted);
        self.most_kept = 0;
        open.unseen = first.len() as u64;
        self.torn = false;
        self.wrote(first);
        self.news.push(News::Rotated { archive });
        self.sync_dir();
        // What the old file has given back is the new one's reserve before it is anybody else's.
        let _ = self.preallocate(0);
        Ok(true)
    }

    /// Names are as durable as lines were asked to be.
    fn sync_dir(&mut self) {
        if self.options.fsync == Fsync::Never {
            return;
        }
        let Some((mut dir, _)) = self.open.as_ref().and_then(|open| self.disk.place(&open.file)) else { return };
        if let Err(error) = dir.sync() {
            self.news.push(News::Failed { doing: "fsync the directory", error });
        }
    }

    fn wrote(&mut self, lines: &Batch<'_>) {
        if let Some(history) = &mut self.history {
            history.wrote(lines);
        }
    }

    /// Deletes old files if the options say so. Says whether there may be room now.
    fn give_way(&mut self, now: Now) -> bool {
        let again = self.gave_way.is_none_or(|last| now.monotonic.saturating_duration_since(last) >= GIVE_WAY_EVERY);
        if self.options.when_low != WhenLow::DeleteOldest || self.quiet || !again {
            return false;
        }
        let (Some(history), Some(open)) = (&mut self.history, &mut self.open) else { return false };
        if !open.is_ours_alone() {
            return false;
        }
        self.gave_way = Some(now.monotonic);
        let space = &mut self.space;
        let missing = |open: &mut Open<D::File>| {
            ask_for_room(space, open, now.monotonic);
            space.shortfall()
        };
        history.give_way(&mut self.disk, open, missing, &mut self.news)
    }

    /// Writes the whole lines of `batch` that fit into `budget`.
    fn append(&mut self, batch: &Batch<'_>, budget: u64) -> Result<(), WriteError> {
        let Some(open) = &self.open else { return Err(WriteError::new(0, self.closed_by)) };
        if open.shared {
            // Another process may have been cut off inside its line since the last look.
            self.measure();
        }
        let newline = usize::from(self.torn);
        let fits = usize::try_from(budget).unwrap_or(usize::MAX).saturating_sub(newline);
        let (mut lines, mut end) = batch.whole_lines_in(fits);
        if lines == 0 && !batch.is_empty() {
            return Err(self.too_little(0, batch, 0));
        }
        let mut full = None;
        while batch.purpose() == Purpose::Records {
            let Err(error) = self.preallocate((end + newline) as u64) else { break };
            // What is left is for these records before it is left over, so that a short line does
            // not find room a moment later.
            let fits = self.left_before_reserve(full.is_none(), batch.now()).saturating_sub(newline);
            (lines, end) = batch.whole_lines_in(fits.min(end.saturating_sub(1)));
            if lines == 0 {
                return Err(self.no_room(0, error, batch.bytes().len(), batch.now()));
            }
            full = Some(error);
        }
        let Some(open) = &mut self.open else { return Err(WriteError::new(0, self.closed_by)) };
        let bytes = &batch.bytes()[..end];
        let bytes = after_newline(self.torn, bytes);
        let (got, result) = match open.kind {
            Kind::Regular => open.write_all(&bytes),
            Kind::Stream => open.write_in_turns(&bytes, batch.ends().map(|end| end + newline)),
        };
        let (mut whole, end) = batch.whole_lines_in(got.saturating_sub(newline));
        if got < newline {
            whole = 0;
        }
        if let (Err(_), true) = (&result, got > 0) {
            let fragment = got - (end + newline).min(got);
            self.torn = !open.mend(fragment);
            // What could not be cut and lacks nothing but its newline is a whole line: the next
            // write brings it.
            let only_newline_missing = batch.ends().nth(whole) == Some(end + fragment + 1);
            whole += usize::from(self.torn && only_newline_missing);
        }
        open.unseen += whole as u64;
        if got > 0 {
            open.dirty.get_or_insert(batch.now().monotonic);
        }
        self.wrote(&batch.first(whole));
        if let Err(error) = result {
            // What a cut has given back is taken again before anybody takes it for room.
            let _ = self.preallocate(0);
            return Err(self.no_room(whole, error, batch.bytes().len() - end, batch.now()));
        }
        self.torn = false;
        if let Some(error) = full {
            return Err(self.no_room(lines, error, batch.bytes().len() - end, batch.now()));
        }
        if lines < batch.len() { Err(self.too_little(lines, batch, end)) } else { Ok(()) }
    }

    /// The rest of `batch`, behind its first `lines` that end at `end`, does not fit. Of an ERROR
    /// that does not fit into what is kept the space learns nothing: it may be about to find that
    /// there is room again.
    fn too_little(&mut self, lines: usize, batch: &Batch<'_>, end: usize) -> WriteError {
        if batch.purpose() == Purpose::Records {
            self.space.failed(Cause::LowSpace, (batch.bytes().len() - end) as u64);
        }
        self.low_space(lines, batch.bytes().len() - end)
    }

    /// How many bytes there is room for in front of the reserve: by what the file system says, or
    /// what is the file's for certain.
    fn left_before_reserve(&mut self, ask: bool, now: Now) -> usize {
        self.ask_for_room(now.monotonic);
        let free = if ask { self.space.free_for_certain() } else { 0 };
        let ahead = self.open.as_ref().map_or(0, Open::ahead);
        let left = free.saturating_add(ahead).saturating_sub(self.kept());
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    fn no_room(&mut self, written: usize, error: io::Error, rest: usize, now: Now) -> WriteError {
        if Cause::of(&error) == Cause::DiskFull {
            self.ask_for_room(now.monotonic);
        }
        self.give_up(written, "write", error, rest as u64)
    }

    /// While suspended: what was taken for ERROR records before.
    fn append_urgent(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        // Nobody has looked since the last attempt to come back, which may be a second ago.
        self.look(batch.now())?;
        // Another process may have written into those blocks since, and what is left of them is all
        // that there is.
        self.measure();
        let Some(open) = &self.open else { return Err(WriteError::new(0, self.closed_by)) };
        let ahead = open.ahead();
        let left = self.history.as_ref().map_or(u64::MAX, |history| history.left(open.len));
        self.append(batch, ahead.min(left))
    }

    /// The one line below the reserve: in one write, and not tried again if it does not go in
    /// whole.
    fn append_last_words(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let Some(open) = &mut self.open else { return Err(WriteError::new(0, self.closed_by)) };
        let bytes = after_newline(self.torn, batch.bytes());
        if self.history.as_ref().is_some_and(|history| history.left(open.len) < bytes.len() as u64) {
            return Err(WriteError::new(0, Cause::LowSpace));
        }
        let got = open.file.write(&bytes).unwrap_or(0);
        open.len += got as u64;
        if got == bytes.len() {
            self.torn = false;
            return Ok(());
        }
        self.torn |= !open.mend(got);
        Err(WriteError::new(0, Cause::LowSpace))
    }

    fn get_ready(&mut self, now: Now) -> Result<(), WriteError> {
        if let Some(open) = &mut self.open {
            // What keeps it quiet may be what only the lock's holder can mend: a file that may not
            // grow is put aside.
            open.lock_now(now.monotonic);
        }
        self.look(now)?;
        match &mut self.open {
            None => self.reopen(now)?,
            // While it was quiet, the full disk may have cut the line of somebody else.
            Some(open) => self.torn = open.is_torn().unwrap_or(self.torn),
        }
        if let (Target::Stream(_), Some(open)) = (&self.target, &mut self.open) {
            if open.kind == Kind::Stream && !open.file.writable(Duration::ZERO) {
                let mut error = WriteError::new(0, Cause::Io).retry_after(READER_PROBE);
                error.would_block = true;
                return Err(error);
            }
        }
        self.ask_for_room(now.monotonic);
        let mut may_resume = self.space.may_resume(now.monotonic);
        if may_resume.is_err() && self.give_way(now) {
            // As if this were the first look.
            self.space.works();
            self.ask_for_room(now.monotonic);
            may_resume = self.space.may_resume(now.monotonic);
        }
        match may_resume {
            Ok(()) => {
                let _ = self.preallocate(0); // Without it the next batch tells.
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

    fn see(&mut self, now: Now) -> Result<(), WriteError> {
        // The line that told the gap was in, and what came behind it failed: nobody else opens the
        // file again.
        if self.open.is_none() {
            self.reopen(now)?;
        }
        if let Some(open) = &mut self.open {
            if open.lock_again(now.monotonic) {
                self.torn = open.is_torn().unwrap_or(self.torn);
            }
        }
        self.tell_no_lock();
        self.look(now)?;
        self.sync_if_due(now, false, 0)?;
        // What is to be taken for the reserve is taken by what the space is now: others may have
        // cut the file, and filled the disk.
        if self.space.must_look(now.monotonic) || self.lacks_reserve() {
            self.ask_for_room(now.monotonic);
        }
        let _ = self.preallocate(0); // As above.
        let open = self.open.as_mut().filter(|open| open.is_ours_alone());
        if let (Some(history), Some(open)) = (&mut self.history, open) {
            if history.must_tidy(open.len, now.monotonic) {
                history.tidy(&mut self.disk, open, now, &mut self.news);
            }
            if !self.space.is_low() {
                history.compress(&mut self.disk, open, self.space.headroom(), now.monotonic, &mut self.news);
            }
        }
        Ok(())
    }

    /// Remembers whether it could write. What has happened before it could not is told with that;
    /// what happens while it cannot waits, and is told as one thing however often it happens.
    fn after(&mut self, result: Result<(), WriteError>) -> Result<(), WriteError> {
        let was_quiet = std::mem::replace(&mut self.quiet, result.is_err());
        if was_quiet {
            News::join(&mut self.news);
        }
        result.map_err(|mut error| {
            if !was_quiet {
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
                let result = self.sync_what_is_in(batch, result);
                self.after(result)
            }
            // Whatever comes of it, the suspension is not over.
            Purpose::Urgent => {
                let result = self.append_urgent(batch);
                self.sync_what_is_in(batch, result)
            }
            Purpose::LastWords => self.append_last_words(batch),
        }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        if self.options.fsync == Fsync::Never {
            return Ok(());
        }
        match self.open.as_mut().and_then(Open::sync) {
            Some(Err(error)) => {
                let error = self.give_up(0, "fsync", error, 0);
                self.open = None;
                self.closed_by = error.cause();
                self.after(Err(error))
            }
            _ => Ok(()),
        }
    }

    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        // It stays quiet until a line is in.
        match self.get_ready(now) {
            Ok(()) => Ok(()),
            error => self.after(error),
        }
    }

    fn check(&mut self, now: Now) -> Result<Health, WriteError> {
        let seen = self.see(now);
        self.after(seen)?;
        Ok(Health {
            low: self.space.is_low(),
            news: std::mem::take(&mut self.news),
            check_after: self.sync_due_in(now.monotonic),
        })
    }

    fn command(&mut self, command: Command, now: Now) -> Result<(), WriteError> {
        match command {
            Command::Reopen => {
                self.sync_old();
                let reopened = self.reopen(now);
                self.after(reopened)
            }
            Command::Rotate => {
                let looked = self.look_at_once(now);
                self.after(looked)?;
                let something = self.open.as_ref().is_some_and(|open| open.is_ours_alone() && open.len > 0);
                self.ask_for_room(now.monotonic);
                if something && !matches!(self.rotate(&Batch::new(&[], &[], now)), Ok(true)) {
                    // With the next record, when its time has come.
                    self.history.iter_mut().for_each(History::ask);
                }
                Ok(())
            }
            Command::Close => {
                self.open.iter_mut().for_each(Open::release);
                Ok(())
            }
        }
    }
}

fn ask_for_room<F: DiskFile>(space: &mut Space, open: &mut Open<F>, now: Instant) {
    let answer = match open.kind {
        Kind::Stream => Answer::Unknown,
        Kind::Regular => match open.file.free_space() {
            Ok(room) => Answer::Known { total: room.total, free: room.free, block: room.block },
            Err(_) => Answer::Unknown, // The write will tell, if something is wrong.
        },
    };
    space.answer(answer, now);
}

fn after_newline(torn: bool, bytes: &[u8]) -> Cow<'_, [u8]> {
    if torn { Cow::Owned([b"\n", bytes].concat()) } else { Cow::Borrowed(bytes) }
}

/// Opens the file that is at the path then: one whose lock came free because it was just put aside
/// is another's archive.
fn open_in_place<D: Disk>(disk: &mut D, path: &Path, now: Instant) -> io::Result<(Open<D::File>, Option<bool>)> {
    let mut openings = 0;
    loop {
        openings += 1;
        let (mut open, torn) = Open::new(open_path(disk, path)?, true, now)?;
        let is_elsewhere = open.locked && open.file.check_path(path).is_ok_and(|place| place != PathState::Same);
        if !is_elsewhere || openings == MOST_OPENINGS {
            return Ok((open, torn));
        }
    }
}

/// Opens the file, and makes its directory if that is what is missing.
fn open_path<D: Disk>(disk: &mut D, path: &Path) -> io::Result<D::File> {
    match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
                return Err(error);
            };
            disk.make_dir(parent)?;
            disk.open(path)
        }
        other => other,
    }
}
