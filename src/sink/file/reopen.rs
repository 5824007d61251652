//! Opens the file, and opens it again where its path leads to another one. Runs on the writer's
//! thread.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{Disk, DiskFile, Opened, PathState};
use crate::event::Cause;
use crate::sink::{News, Now, WriteError};

use super::open_file::{OpenFile, PathKind};
use super::{FileSink, Target};

/// The path is compared with the open file at most this often, before a write.
const CHECK_PATH_EVERY: Duration = Duration::from_millis(100);
/// A file that was rotated while it was opened is opened again, this often.
const MOST_OPENINGS: usize = 3;

impl<D: Disk> FileSink<D> {
    /// Closes the file, and opens the one that the path leads to.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or is a stream: then [`take_stream`](Self::take_stream) returns that
    /// where the log may be one.
    pub(super) fn reopen(&mut self, now: Now) -> Result<(), WriteError> {
        // Closed first, because the next file may need its descriptor. The lock stays: a program
        // that has dropped its rights could not take it again.
        let closed = &mut self.closed;
        let lock = self.open.take().and_then(|mut open| {
            closed.left = open.left_file();
            open.leave()
        });
        let opened = self.open_target(lock, now);
        self.go_on_with(opened, now)
    }

    /// Opens again what a stream of the process leads to, and closes the file only then. If nothing
    /// can be opened, as where the program has closed the stream, it goes on with the file and
    /// reports that.
    pub(super) fn reopen_stream(&mut self, now: Now) -> Result<(), WriteError> {
        match self.open_target(None, now) {
            Err(error) => {
                self.news.push(News::Failed { doing: "open", error });
                Ok(())
            }
            opened => {
                self.open = None;
                self.go_on_with(opened, now)
            }
        }
    }

    /// Opens what the target leads to. `lock`: what the file before it has left.
    fn open_target(&mut self, lock: Option<<D::File as DiskFile>::Lock>, now: Now) -> io::Result<Found<D>> {
        match &self.target {
            Target::Stream(stream) => self.disk.stream(*stream).map(|opened| match opened {
                Opened::File(file) => Opened::File(OpenFile::new(file, false, now.monotonic)),
                Opened::Stream(stream) => Opened::Stream(stream),
            }),
            Target::Path(path) => open_in_place(&mut self.disk, path, lock, now.monotonic),
        }
    }

    /// Goes on with what was opened, or remembers why nothing could be.
    fn go_on_with(&mut self, opened: io::Result<Found<D>>, now: Now) -> Result<(), WriteError> {
        self.space.forget();
        let opened = opened.and_then(|opened| match opened {
            Opened::Stream(_) => self.accept_stream().map(|()| opened),
            Opened::File(_) => {
                self.closed.path_kind = PathKind::File;
                Ok(opened)
            }
        });
        match opened {
            Ok(Opened::File((open, torn))) => {
                self.begin(open, torn, now);
                Ok(())
            }
            Ok(Opened::Stream(stream)) => {
                self.closed.stream = Some(stream);
                self.update_symlink();
                Err(WriteError::new(0, Cause::Io))
            }
            Err(error) => {
                let error = WriteError::failed(0, "open", error);
                self.closed.by = error.cause();
                self.space.failed(error.cause(), 0);
                Err(error)
            }
        }
    }

    /// Goes on with a file that has just been opened. `torn` says whether it ends inside a line, if
    /// that could be read.
    fn begin(&mut self, open: OpenFile<D::File>, torn: Option<bool>, now: Now) {
        // Where the tail cannot be read, what is known of it stays: an empty line more is
        // better than two records in one line.
        self.torn = torn.unwrap_or(self.torn || open.len > 0);
        let shorter = self.closed.left.take().map_or(0, |left| left.shorter_by(&open));
        if shorter > 0 {
            self.news.push(News::CutShort { bytes: shorter });
        }
        let open = self.open.insert(open);
        self.archives.begin(&self.disk, open);
        self.rotator.begin(open);
        // The file may have been created just now: without its name it is of no use,
        // however well it is synced.
        if open.len == 0 {
            self.sync_dir();
        }
        self.update_symlink();
        self.report_not_given();
        self.report_missing_lock(now);
    }

    /// Judges that the path leads to a stream, which has no archives. If the options ask for some,
    /// a stream from the start is what the path was meant to lead to, which is reported. Where a
    /// file was before, others may have put it there, and rotation and retention would be off.
    fn accept_stream(&mut self) -> io::Result<()> {
        if !self.asks_for_archives() {
            return Ok(());
        }
        match std::mem::replace(&mut self.closed.path_kind, PathKind::Stream) {
            PathKind::Unknown => {
                let error = io::Error::new(io::ErrorKind::Unsupported, "only a regular file has archives");
                self.news.push(News::Failed { doing: "rotate", error });
                Ok(())
            }
            PathKind::Stream => Ok(()),
            PathKind::File => {
                self.closed.path_kind = PathKind::File;
                Err(io::Error::new(io::ErrorKind::InvalidInput, "a stream is in the place of a file that has archives"))
            }
        }
    }

    /// Closes a file that is not worth keeping. What is known of one that is closed already stays.
    pub(super) fn close(&mut self, cause: Cause) {
        self.closed.by = cause;
        if let Some(open) = self.open.take() {
            self.closed.left = open.left_file();
        }
    }

    fn update_symlink(&mut self) {
        let (Some(link), Target::Path(path)) = (&self.options.symlink, &self.target) else { return };
        if let Err(error) = self.disk.point(link, path) {
            self.news.push(News::Failed { doing: "link", error });
        }
    }

    /// Reports that a new file does not belong to whom the options say.
    pub(super) fn report_not_given(&mut self) {
        let error = self.open.as_mut().and_then(|open| open.file.not_given());
        self.news.extend(error.map(|error| News::Failed { doing: "give the file to its owner", error }));
    }

    /// Checks whether the path still leads to the open file, and opens the file again if not.
    pub(super) fn check_path(&mut self, now: Now) -> Result<(), WriteError> {
        let Target::Path(path) = &self.target else { return Ok(()) };
        let Some(open) = &mut self.open else { return Ok(()) };
        let is_recent = |checked| now.monotonic.saturating_duration_since(checked) < CHECK_PATH_EVERY;
        if open.path.checked_at.is_some_and(is_recent) {
            return Ok(());
        }
        open.path.checked_at = Some(now.monotonic);
        open.still_holds_lock(); // If not, it is asked for again when that is due.
        // Where the path may not be looked at (a program that has dropped its privileges), or leads
        // elsewhere by a way that is not safe, or to no directory, the descriptor still works; if
        // it does not, the write reports it.
        let state = match open.file.check_path(path) {
            Ok(state) => state,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !open.path.reported_untrusted => {
                open.path.reported_untrusted = true;
                self.news.push(News::Failed { doing: "follow the path", error });
                PathState::Same
            }
            Err(_) => PathState::Same,
        };
        let lines = std::mem::take(&mut open.path.lines_since);
        if state != PathState::Same {
            // What is opened next is another file, although it may get the number of this one.
            open.id = None;
        }
        match state {
            PathState::Same => {
                self.measure();
                return Ok(());
            }
            PathState::Moved => self.sync_left_file(),
            PathState::Deleted => self.news.push(News::LinesDeleted { lines }),
        }
        self.reopen(now)
    }

    /// Opens the file at the path, if that is another one. A file whose directory was renamed goes
    /// on in it until the program orders this: then the directory is made again.
    pub(super) fn follow_path(&mut self, now: Now) -> Result<(), WriteError> {
        if let (Target::Path(path), Some(open)) = (&self.target, &mut self.open) {
            let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
            if let (true, Some(parent)) = (open.file.check_path(path).is_err_and(is_missing), parent_of(path)) {
                // If it cannot be made, the open file goes on.
                let _ = self.disk.make_dir(parent);
            }
        }
        self.check_path_now(now)
    }

    /// Checks the path, however recent the last check is.
    pub(super) fn check_path_now(&mut self, now: Now) -> Result<(), WriteError> {
        self.open.iter_mut().for_each(|open| open.path.checked_at = None);
        self.check_path(now)
    }

    /// Reads the length again. Another process may have made the file shorter, as `copytruncate`
    /// does, or longer, and may have left a fragment; the next write is at its end, wherever that
    /// is. Returns true if the length could be seen.
    pub(super) fn measure(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        let before = open.len;
        // A length that cannot be seen now is seen at the next look.
        let shorter = open.measure();
        if open.len != before || shorter.is_none() {
            // As at the opening: a file of which nothing can be seen may be torn, and one that
            // another process is writing to is not.
            self.torn = open.is_torn_for_good().unwrap_or(self.torn || open.len > 0);
        }
        if let Some(bytes) = shorter.filter(|shorter| *shorter > 0) {
            if open.len == 0 {
                self.rotator.emptied();
            }
            self.news.push(News::CutShort { bytes });
        }
        shorter.is_some()
    }
}

/// What is at the path: a file, and whether it is torn, or a stream.
type Found<D> = Opened<(OpenFile<<D as Disk>::File>, Option<bool>), <D as Disk>::Stream>;

/// Opens the file that is at the path then: one whose lock came free because it was just rotated is
/// another process's archive. `lock`: what the file before it has left.
fn open_in_place<D: Disk>(
    disk: &mut D,
    path: &Path,
    mut lock: Option<<D::File as DiskFile>::Lock>,
    now: Instant,
) -> io::Result<Found<D>> {
    let mut openings = 0;
    loop {
        openings += 1;
        let mut file = match open_path(disk, path)? {
            Opened::File(file) => file,
            Opened::Stream(stream) => return Ok(Opened::Stream(stream)),
        };
        if let Some(lock) = lock.take() {
            file.accept_lock(lock);
        }
        let (mut open, torn) = OpenFile::new(file, true, now);
        let is_elsewhere = open.holds_lock() && open.file.check_path(path).is_ok_and(|state| state != PathState::Same);
        if !is_elsewhere || openings == MOST_OPENINGS {
            return Ok(Opened::File((open, torn)));
        }
        lock = open.leave();
    }
}

/// Opens the file, and makes its directory if that is missing.
fn open_path<D: Disk>(disk: &mut D, path: &Path) -> io::Result<Opened<D::File, D::Stream>> {
    match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = parent_of(path) else { return Err(error) };
            disk.make_dir(parent)?;
            disk.open(path)
        }
        other => other,
    }
}

/// Returns the directory of the path; `None` if it is the current one.
fn parent_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}
