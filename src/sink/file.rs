//! `LogFile` and the file sink: appends, repairs, reopens; does what `space.rs` says. Runs on the writer's thread.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter};

use crate::disk::{ATOMIC_WRITE, Disk, DiskFile, Kind, Place, Stream};
use crate::event::Cause;
use crate::format::Format;

use super::space::{Answer, Space};
use super::{Batch, Health, Now, Shortage, Sink, WriteError};

/// The path is compared with the open file at most this often, before a write.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A lock that somebody else has is asked for again this often.
const LOCK_EVERY: Duration = Duration::from_secs(10);
/// The line that says that it gets quiet is written only while at least this much is free.
const ROOM_FOR_NOTICE: u64 = 4096;
/// How long a slow reader of a pipe or a terminal is waited for, each time, and how often in one batch.
const READER_PATIENCE: Duration = Duration::from_millis(20);
const READER_CHANCES: usize = 5;
/// A file that somebody else has the lock of is torn if each of so many looks, so far apart, says so; once, when it is opened.
const TAIL_LOOKS: usize = 20;
const TAIL_PAUSE: Duration = Duration::from_millis(5);
/// A write that is interrupted this often in a row counts as failed.
const MOST_INTERRUPTIONS: usize = 100;

/// A log file and its options.
///
/// Anything that can be opened for appending may be one: a regular file, a FIFO, `/dev/null`. Missing directories are made.
/// The file is opened by the writer's thread; if that fails, the output begins suspended and tries again.
///
/// | option | default |
/// |---|---|
/// | `level` | `Trace`: all that passes the filter |
/// | `format` | the builder's |
/// | `min_free_space` | 1 % of the file system, 64 KiB to 256 MiB, at most an eighth of it |
/// | `fsync` | `Never` |
#[derive(Clone, Debug)]
#[must_use = "give it to `Builder::file`"]
pub struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) level: LevelFilter,
    pub(crate) format: Option<Format>,
    pub(crate) min_free_space: Option<u64>,
    pub(crate) fsync: Fsync,
}

impl LogFile {
    /// A log file at `path`. A relative path is taken from the directory that is the current one when the logger is made.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            level: LevelFilter::Trace,
            format: None,
            min_free_space: None,
            fsync: Fsync::default(),
        }
    }

    /// The most verbose level this file takes. Default: `Trace`, that is all that passes the filter; `Off` takes nothing.
    pub fn level(mut self, max: LevelFilter) -> Self {
        self.level = max;
        self
    }

    /// The format of this file. Default: the builder's.
    pub fn format(mut self, format: impl Into<Format>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// The reserve, in bytes: room on the file system that this logger leaves to others.
    ///
    /// Nothing is written that would leave less free space (as an ordinary user sees it, for root too); the output is
    /// suspended instead, and resumes when half the reserve more (from 64 KiB to 256 MiB) is free.
    ///
    /// Default: 1 % of the file system, at least 64 KiB, at most 256 MiB, never more than an eighth of it. 0: no reserve; the
    /// file is written until the disk is full, and the full disk is survived in the same way. More than the file system
    /// holds: nothing is ever written. Where the free space is not known (no limit, not a regular file), there is none.
    pub fn min_free_space(mut self, bytes: u64) -> Self {
        self.min_free_space = Some(bytes);
        self
    }

    /// When the file is synced to the disk. Default: `Fsync::Never`.
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }
}

impl From<String> for LogFile {
    fn from(path: String) -> Self {
        Self::new(path)
    }
}

impl From<PathBuf> for LogFile {
    fn from(path: PathBuf) -> Self {
        Self::new(path)
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for LogFile {
    fn from(path: &P) -> Self {
        Self::new(path.as_ref())
    }
}

/// When a file is synced to the disk (fdatasync), so that its records survive a crash of the machine.
///
/// Records survive a crash of the *program* without it. A sync that fails is told (`Event::Failed`, and the gap line), and
/// the file is opened anew: what such a descriptor says later is not to be believed. Where a full disk shows only at the
/// sync (NFS, thin storage), `Every` is the advice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fsync {
    /// Left to the operating system.
    #[default]
    Never,
    /// After each batch that holds an ERROR record.
    AfterErrors,
    /// While there is something new, this often. Zero: after each batch.
    Every(Duration),
}

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
    fsync: Fsync,
    space: Space,
    open: Option<Open<D::File>>,
    /// Why the file is not open.
    closed_by: Cause,
    /// The file ends in the middle of a line: the next write begins with a newline.
    torn: bool,
    /// Lines that went away with a file that was deleted, not told yet.
    vanished: u64,
    /// What failed and was got around, not told yet.
    failure: Option<(&'static str, io::Error)>,
}

/// What is only there while the file is open.
struct Open<F> {
    file: F,
    kind: Kind,
    /// Opened by its path: not a stream that belongs to the whole process.
    ours: bool,
    /// We hold the exclusive lock: nobody else of ours writes here.
    locked: bool,
    lock_asked: Instant,
    looked: Instant,
    /// Lines written since the last look.
    unseen: u64,
    /// Since when there is something that is not synced.
    dirty: Option<Instant>,
}

impl<D: Disk> FileSink<D> {
    pub(crate) fn new(disk: D, target: Target, min_free_space: Option<u64>, fsync: Fsync) -> Self {
        let space = Space::new(min_free_space);
        Self {
            disk,
            target,
            fsync,
            space,
            open: None,
            closed_by: Cause::Missing,
            torn: false,
            vanished: 0,
            failure: None,
        }
    }

    fn reopen(&mut self, now: Now) -> Result<&mut Open<D::File>, WriteError> {
        let opened = match &self.target {
            Target::Stream(stream) => self.disk.stream(*stream),
            Target::Path(path) => open_path(&mut self.disk, path),
        };
        let ours = matches!(self.target, Target::Path(_));
        let opened = opened.and_then(|file| Open::new(file, ours, now.monotonic));
        self.space.forget();
        match opened {
            Ok((open, torn)) => {
                // Where the tail cannot be read, what is known of it stays: an empty line more is better than two in one.
                self.torn = torn.unwrap_or(self.torn);
                Ok(self.open.insert(open))
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

    fn ask_for_room(&mut self, now: Instant) {
        let Some(open) = &mut self.open else { return };
        let answer = match open.kind {
            Kind::Stream => Answer::Unknown,
            Kind::Regular => match open.file.room() {
                Ok(room) => Answer::Known { total: room.total, free: room.free, block: room.block },
                Err(_) => Answer::Unknown, // The write will tell, if something is wrong.
            },
        };
        self.space.answer(answer, now);
    }

    /// No room above the reserve.
    fn low_space(&self, written: usize) -> WriteError {
        let room = self.space.free_and_reserve().filter(|(free, _)| *free >= ROOM_FOR_NOTICE);
        let mut error = WriteError::new(written, Cause::LowSpace);
        error.room = room.map(|(free, reserve)| Shortage { free, reserve });
        error
    }

    /// Sees whether the path still leads to the open file, and opens anew if not.
    fn look(&mut self, now: Now) -> Result<(), WriteError> {
        let Target::Path(path) = &self.target else { return Ok(()) };
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.kind == Kind::Stream || now.monotonic.saturating_duration_since(open.looked) < LOOK_EVERY {
            return Ok(());
        }
        open.looked = now.monotonic;
        // Where the path may not be looked at (a program that has dropped its privileges), the descriptor still works; if it does
        // not, the write tells.
        let place = open.file.place(path).unwrap_or(Place::Here);
        let unseen = std::mem::take(&mut open.unseen);
        match place {
            Place::Here => return Ok(()),
            // Its lines are still there for somebody: as durable as they were asked to be.
            Place::Moved if self.fsync != Fsync::Never => {
                if let Some(Err(error)) = open.sync() {
                    self.failure = Some(("fsync", error));
                }
            }
            Place::Moved => {}
            Place::Deleted => self.vanished += unseen,
        }
        self.reopen(now).map(|_| ())
    }

    /// After an error of the file: what to say, and whether the descriptor is worth keeping.
    fn give_up(&mut self, written: usize, doing: &'static str, error: io::Error, bytes: u64) -> WriteError {
        let again = error.kind() == io::ErrorKind::WouldBlock;
        let error = WriteError::failed(written, doing, error);
        match error.cause() {
            Cause::LowSpace | Cause::DiskFull | Cause::Quota | Cause::FileTooLarge => {}
            _ if again => {}
            cause => {
                self.open = None;
                self.closed_by = cause;
            }
        }
        self.space.failed(error.cause(), bytes);
        error
    }

    /// Syncs what is new. A descriptor whose sync failed once may call the next one a success: it is never asked again, but
    /// opened anew. That suspends the output only where it is the way in which a full disk shows.
    fn sync(&mut self, now: Now, written: usize) -> Result<(), WriteError> {
        let Some(Err(error)) = self.open.as_mut().and_then(Open::sync) else { return Ok(()) };
        let cause = Cause::of(&error);
        if matches!(cause, Cause::DiskFull | Cause::Quota) {
            let error = self.give_up(written, "fsync", error, 0);
            self.open = None;
            self.closed_by = cause;
            return Err(error);
        }
        self.failure = Some(("fsync", error));
        match self.reopen(now) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.after(written)),
        }
    }

    fn sync_if_due(&mut self, now: Now, errors: bool, written: usize) -> Result<(), WriteError> {
        let due = match self.fsync {
            Fsync::Never => false,
            Fsync::AfterErrors => errors,
            Fsync::Every(_) => self.sync_due_in(now.monotonic).is_some_and(|left| left.is_zero()),
        };
        if due { self.sync(now, written) } else { Ok(()) }
    }

    /// How long until what is new has to be synced.
    fn sync_due_in(&self, now: Instant) -> Option<Duration> {
        let Fsync::Every(every) = self.fsync else { return None };
        let dirty = self.open.as_ref()?.dirty?;
        Some(every.saturating_sub(now.saturating_duration_since(dirty)))
    }

    /// Writes the whole lines of `batch` that fit into `allowance`.
    fn append(&mut self, batch: &Batch<'_>, allowance: u64) -> Result<(), WriteError> {
        let Some(open) = &mut self.open else { return Err(WriteError::new(0, self.closed_by)) };
        let newline = usize::from(self.torn);
        let fits = usize::try_from(allowance).unwrap_or(usize::MAX).saturating_sub(newline);
        let (lines, end) = batch.whole_lines_in(fits);
        if lines == 0 && !batch.is_empty() {
            self.space.failed(Cause::LowSpace, batch.bytes().len() as u64);
            return Err(self.low_space(0));
        }
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
            // What could not be cut and lacks nothing but its newline is a whole line: the next write brings it.
            let only_newline_missing = batch.ends().nth(whole) == Some(end + fragment + 1);
            whole += usize::from(self.torn && only_newline_missing);
        }
        open.unseen += whole as u64;
        if got > 0 {
            open.dirty.get_or_insert(batch.now().monotonic);
        }
        if let Err(error) = result {
            if Cause::of(&error) == Cause::DiskFull {
                self.ask_for_room(batch.now().monotonic);
            }
            let rest = batch.bytes().len() - end;
            return Err(self.give_up(whole, "write", error, rest as u64));
        }
        self.torn = false;
        if lines < batch.len() {
            self.space.failed(Cause::LowSpace, (batch.bytes().len() - end) as u64);
            return Err(self.low_space(lines));
        }
        Ok(())
    }

    /// The one line below the reserve: in one write, and not tried again if it does not go in whole.
    fn append_into_reserve(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let Some(open) = &mut self.open else { return Err(WriteError::new(0, self.closed_by)) };
        let bytes = after_newline(self.torn, batch.bytes());
        let got = open.file.write(&bytes).unwrap_or(0);
        if got == bytes.len() {
            self.torn = false;
            return Ok(());
        }
        self.torn |= !open.mend(got);
        Err(WriteError::new(0, Cause::LowSpace))
    }
}

impl<D: Disk> Sink for FileSink<D> {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        if batch.may_use_reserve() {
            return self.append_into_reserve(batch);
        }
        let now = batch.now();
        // Before every batch: another output of ours, or another process, may have written since.
        self.ask_for_room(now.monotonic);
        let result = self.append(batch, self.space.allowance());
        if result.is_ok() {
            self.space.works();
        }
        let written = result.as_ref().map_or_else(WriteError::written, |()| batch.len());
        let errors =
            self.fsync == Fsync::AfterErrors && batch.lines().take(written).any(|line| line.level() == Level::Error);
        result.and(self.sync_if_due(now, errors, written))
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        if self.fsync == Fsync::Never {
            return Ok(());
        }
        match self.open.as_mut().and_then(Open::sync) {
            Some(Err(error)) => {
                let error = self.give_up(0, "fsync", error, 0);
                self.open = None;
                self.closed_by = error.cause();
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        self.look(now)?;
        match &mut self.open {
            None => drop(self.reopen(now)?),
            // While it was quiet, the full disk may have cut the line of somebody else.
            Some(open) => self.torn = open.is_torn().unwrap_or(self.torn),
        }
        self.ask_for_room(now.monotonic);
        match self.space.may_resume(now.monotonic) {
            Ok(()) => Ok(()),
            Err(after) => {
                let error = self.low_space(0);
                Err(match after {
                    Some(after) => error.retry_after(after),
                    None => error,
                })
            }
        }
    }

    fn check(&mut self, now: Now) -> Result<Health, WriteError> {
        self.look(now)?;
        self.sync_if_due(now, false, 0)?;
        if let Some(open) = &mut self.open
            && open.lock_again(now.monotonic)
        {
            self.torn = open.is_torn().unwrap_or(self.torn);
        }
        if self.space.must_look(now.monotonic) {
            self.ask_for_room(now.monotonic);
        }
        Ok(Health {
            low: self.space.is_low(),
            vanished: std::mem::take(&mut self.vanished),
            failure: self.failure.take(),
            check_after: self.sync_due_in(now.monotonic),
        })
    }
}

fn after_newline(torn: bool, bytes: &[u8]) -> Cow<'_, [u8]> {
    if torn { Cow::Owned([b"\n", bytes].concat()) } else { Cow::Borrowed(bytes) }
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

impl<F: DiskFile> Open<F> {
    /// Also says whether the file is torn, where that can be seen.
    fn new(mut file: F, ours: bool, now: Instant) -> io::Result<(Self, Option<bool>)> {
        let kind = file.kind();
        let locked = kind == Kind::Regular && ours && file.lock();
        let mut open = Self { file, kind, ours, locked, lock_asked: now, looked: now, unseen: 0, dirty: None };
        let torn = if open.locked { open.is_torn() } else { open.is_torn_for_good() };
        Ok((open, torn))
    }

    /// Whether the file ends in the middle of a line, where its end can be read.
    fn is_torn(&mut self) -> Option<bool> {
        if self.kind != Kind::Regular || !self.ours {
            return None;
        }
        match self.file.last_byte().ok()? {
            Some(byte) => Some(byte != b'\n'),
            None => (self.file.len().ok()? == 0).then_some(false),
        }
    }

    /// The same where another process may be inside a write: then the file ends where no line does, and a moment later it does.
    fn is_torn_for_good(&mut self) -> Option<bool> {
        for _ in 0..TAIL_LOOKS {
            if !self.is_torn()? {
                return Some(false);
            }
            self.file.pause(TAIL_PAUSE);
        }
        Some(true)
    }

    /// Syncs, if there is something new and the file is of the kind that can be.
    fn sync(&mut self) -> Option<io::Result<()>> {
        if self.kind == Kind::Stream {
            return None;
        }
        self.dirty.take().map(|_| self.file.sync())
    }

    /// Asks for the lock, if it is missing and time has come; says whether it was got just now.
    fn lock_again(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.lock_asked) >= LOCK_EVERY;
        if self.locked || !self.ours || self.kind != Kind::Regular || !due {
            return false;
        }
        self.lock_asked = now;
        self.locked = self.file.lock();
        self.locked
    }

    /// Writes until all is in or an error comes; says how much is in.
    fn write_all(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let (mut got, mut interruptions) = (0, 0);
        while got < bytes.len() {
            match self.file.write(&bytes[got..]) {
                Ok(0) => return (got, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => (got, interruptions) = (got + more, 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted && interruptions < MOST_INTERRUPTIONS => {
                    interruptions += 1;
                }
                Err(error) => return (got, Err(error)),
            }
        }
        (got, Ok(()))
    }

    /// The same for a pipe or a terminal: whole lines in writes that a pipe takes whole or not at all, none before the
    /// reader has left room. `ends` are the ends of the lines.
    fn write_in_turns(&mut self, bytes: &[u8], ends: impl Iterator<Item = usize>) -> (usize, io::Result<()>) {
        let mut got = 0;
        let mut chances = READER_CHANCES;
        let mut ends = ends.peekable();
        while got < bytes.len() {
            // As many whole lines as one write may hold; a longer line goes piece by piece.
            let mut end = got;
            while let Some(next) = ends.next_if(|next| *next - got <= ATOMIC_WRITE) {
                end = next;
            }
            if end == got {
                end = bytes.len().min(got + ATOMIC_WRITE);
            }
            while !self.file.writable(READER_PATIENCE) {
                chances -= 1;
                if chances == 0 {
                    return (got, Err(io::ErrorKind::WouldBlock.into()));
                }
            }
            let (more, result) = self.write_all(&bytes[got..end]);
            got += more;
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && chances > 1 => chances -= 1,
                Err(error) => return (got, Err(error)),
                Ok(()) => {}
            }
        }
        (got, Ok(()))
    }

    /// Removes the last `fragment` bytes, which are no whole line, if nobody else can have written behind them. Says whether
    /// the file ends with a whole line now; if not, the next write begins with a newline.
    fn mend(&mut self, fragment: usize) -> bool {
        fragment == 0 || self.cut(fragment as u64).is_some()
    }

    fn cut(&mut self, fragment: u64) -> Option<()> {
        if self.kind != Kind::Regular || !self.locked {
            return None;
        }
        let end = self.file.end().ok()?;
        if self.file.len().ok()? != end {
            return None;
        }
        self.file.cut(end.checked_sub(fragment)?).ok()
    }
}
