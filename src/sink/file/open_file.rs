//! An open file: what exists only while it is open, and what is done to it. Runs on the writer's
//! thread.

pub(super) mod preallocation;

use std::io;
use std::time::{Duration, Instant};

use crate::disk::{DiskFile, FileId, Size};
use crate::event::Cause;
use crate::sink::write_all::write_all;

use self::preallocation::Preallocated;
use super::missing_lock::LockState;

/// A process that opens a file waits at most this long for a cut that is under way. The cut takes
/// longer only if the file system hangs, or if the process that cuts is stopped.
const CUT_AT_MOST: Duration = Duration::from_millis(500);
/// When another process has the lock of a file that is opened, its end is read this often, with
/// this pause. The file is torn if each look says so, and it does not grow in between.
const TAIL_LOOKS: usize = 20;
const TAIL_PAUSE: Duration = Duration::from_millis(5);
/// A file that grows at each look, and never ends with a line, counts as torn after this many
/// looks.
const MOST_TAIL_LOOKS: usize = 100;

/// What has become of the part of a line that a failed write has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// It is not there any more, or never was.
    Cut,
    /// It stands alone on its line.
    Ended,
    /// It is at the end; the next write begins with a newline.
    Torn,
}

/// What exists only while the file is open.
pub(super) struct OpenFile<F> {
    pub(super) file: F,
    /// Distinguishes the file from others, if it was opened by its path.
    pub(super) id: Option<FileId>,
    /// The file was found by its path: not a stream that belongs to the whole process.
    pub(super) opened_by_path: bool,
    pub(super) lock: LockState,
    pub(super) path: PathChecks,
    /// When the first bytes that are not synced were written.
    pub(super) dirty_since: Option<Instant>,
    /// The length, as far as known: by the last look at it, and by what was written since.
    pub(super) len: u64,
    /// The length was seen since the file was opened.
    pub(super) measured: bool,
    pub(super) shared: Shared,
    /// The part of a line at the end that could not be cut.
    fragment: Vec<u8>,
    /// Where the last write has ended, if it has reported an error and was read back.
    read_back_to: Option<u64>,
    pub(super) blocks: Preallocated,
}

/// Whether another process was seen to write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shared {
    /// To this file.
    pub(super) here: bool,
    /// To this file, or to one that had its name before.
    pub(super) ever: bool,
}

/// What is known of the path of an open file.
pub(super) struct PathChecks {
    /// When the path was compared with the file; `None`: the next look does so.
    pub(super) checked_at: Option<Instant>,
    /// It was reported that another directory is at the path, to which no safe way leads.
    pub(super) reported_untrusted: bool,
    /// Lines written since the last check.
    pub(super) lines_since: u64,
}

/// The state of the sink next to its open file: why none is open, and what its path led to.
#[derive(Debug)]
pub(super) struct Closed<S> {
    /// Why none is open.
    pub(super) by: Cause,
    pub(super) left: Option<LeftFile>,
    pub(super) path_kind: PathKind,
    /// A stream was opened in place of a regular file. Another sink takes it.
    pub(super) stream: Option<S>,
}

impl<S> Default for Closed<S> {
    fn default() -> Self {
        Self { by: Cause::Missing, left: None, path_kind: PathKind::Unknown, stream: None }
    }
}

/// The kind of file to which the path led when it was last opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathKind {
    Unknown,
    /// A regular file.
    File,
    /// A stream, from the start.
    Stream,
}

/// The file that was closed last, and its length then.
#[derive(Debug)]
pub(super) struct LeftFile {
    id: FileId,
    len: u64,
}

impl LeftFile {
    /// Returns by how many bytes the file is shorter now: a crash of the machine, a remount or a
    /// write-back that failed has taken them. Another file is not compared.
    pub(super) fn shorter_by<F: DiskFile>(&self, open: &OpenFile<F>) -> u64 {
        let is_same = open.measured && open.id == Some(self.id);
        if is_same { self.len.saturating_sub(open.len) } else { 0 }
    }
}

impl<F: DiskFile> OpenFile<F> {
    /// Takes a file that was just opened. Also returns whether it is torn, if that can be seen. A
    /// file whose end and length cannot be read may be torn.
    pub(super) fn new(file: F, opened_by_path: bool, now: Instant) -> (Self, Option<bool>) {
        let mut open = Self::unlocked(file, opened_by_path, now);
        if opened_by_path {
            // First of all, so that nothing is cut that is seen or written from here on.
            open.file.announce(CUT_AT_MOST);
            open.lock(now);
        }
        open.measure();
        let torn = if open.holds_lock() { open.is_torn() } else { open.is_torn_for_good() };
        let torn = torn.or((!open.measured).then_some(true));
        (open, torn)
    }

    /// Takes the next active file of a rotation, which was created just now. It gets the lock with
    /// the name.
    pub(super) fn next(file: F, now: Instant) -> Self {
        let mut open = Self::unlocked(file, true, now);
        open.file.announce(CUT_AT_MOST);
        open.measure();
        // Nobody else knows of it: what a write has left here is seen as in a locked file.
        open.lock.held = true;
        open
    }

    fn unlocked(mut file: F, opened_by_path: bool, now: Instant) -> Self {
        let id = if opened_by_path { file.id() } else { None };
        let blocks = Preallocated::new(opened_by_path && file.can_preallocate());
        Self {
            file,
            id,
            opened_by_path,
            lock: LockState::new(now),
            path: PathChecks { checked_at: Some(now), reported_untrusted: false, lines_since: 0 },
            dirty_since: None,
            len: 0,
            measured: false,
            shared: Shared::default(),
            fragment: Vec::new(),
            read_back_to: None,
            blocks,
        }
    }

    /// Returns whether the file ends in the middle of a line, where its end can be read.
    pub(super) fn is_torn(&mut self) -> Option<bool> {
        if !self.opened_by_path {
            return None;
        }
        match self.file.last_byte().ok()? {
            Some(byte) => Some(byte != b'\n'),
            None => (self.file.len().ok()? == 0).then_some(false),
        }
    }

    /// Returns whether the file is torn where another process may be inside a write: then the file
    /// ends in the middle of a line only for a moment.
    pub(super) fn is_torn_for_good(&mut self) -> Option<bool> {
        let (mut len, mut unchanged) = (None, 0);
        for _ in 0..MOST_TAIL_LOOKS {
            if !self.is_torn()? {
                return Some(false);
            }
            let seen = self.file.len().ok();
            // The end of a file that grows is inside another write at each look.
            unchanged = if seen == len { unchanged + 1 } else { 1 };
            len = seen;
            if unchanged == TAIL_LOOKS {
                break;
            }
            self.file.pause(TAIL_PAUSE);
        }
        Some(true)
    }

    /// Reads the length of the file. Returns by how many bytes another process has made the file
    /// shorter, or nothing if the length cannot be seen now.
    pub(super) fn measure(&mut self) -> Option<u64> {
        if !self.opened_by_path {
            self.measured = true;
            return Some(0);
        }
        let Ok(Size { len, allocated }) = self.file.size() else {
            // Nor is it seen whether the blocks beyond the end are still there.
            self.blocks.forget();
            return None;
        };
        let shorter = self.len.saturating_sub(len);
        if self.measured && len > self.len {
            self.see_another();
        }
        // Whoever cuts a file gives back what is beyond its end. Where the file was cut at its own
        // length, or where another process has written since, only the number of blocks shows that.
        if shorter > 0 || self.blocks.reach_beyond(len) && self.blocks.are_gone(allocated) {
            self.blocks.forget();
        }
        (self.len, self.measured) = (len, true);
        Some(shorter)
    }

    /// Notes that another process writes here.
    fn see_another(&mut self) {
        self.shared = Shared { here: true, ever: true };
        self.lock.turn.others_wrote();
    }

    /// Returns what is remembered of the file when it is closed.
    pub(super) fn left_file(&self) -> Option<LeftFile> {
        self.id.map(|id| LeftFile { id, len: self.len })
    }

    /// Syncs, if there is something new.
    pub(super) fn sync(&mut self) -> Option<io::Result<()>> {
        self.dirty_since.take().map(|_| self.file.sync())
    }

    /// Writes until all is in or an error comes. Returns how many bytes are in.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        write_all(bytes, |rest, follows| match self.file.write(rest) {
            Ok(more) => {
                self.wrote(more);
                Ok(more)
            }
            // Where it cannot be seen what an interrupted write has done, a repetition may be a
            // second copy of the line, for which nobody has asked the free space.
            Err(error) => Err((error, self.see_written(rest, follows))),
        })
    }

    /// Writes once. Returns how many bytes are in, whatever the write itself has reported.
    pub(super) fn write_once(&mut self, bytes: &[u8]) -> usize {
        match self.file.write(bytes) {
            Ok(got) => {
                self.wrote(got);
                got
            }
            Err(_) => self.see_written(bytes, false).unwrap_or(0),
        }
    }

    /// Returns how many of `bytes` are in, after a write that has reported an error: a file system
    /// in user space or in the network may have taken them all the same. They are read back,
    /// because another process may have written, too: then, and where nothing can be read, `None`
    /// is returned. `follows`: the bytes before them were just written.
    fn see_written(&mut self, bytes: &[u8], follows: bool) -> Option<usize> {
        if !self.lock.held || self.shared.ever {
            return None;
        }
        // The length that is known is out of date if somebody has appended a line before ours. By
        // that length the end of our own bytes would be read, which may look like these: dashes
        // after dashes.
        let start = if follows { self.written_to()? } else { self.len };
        let len = self.file.len().ok()?;
        let got = usize::try_from(len.saturating_sub(start)).unwrap_or(usize::MAX);
        if got == 0 {
            return Some(0);
        }
        if !self.file.holds(start, bytes.get(..got)?).ok()? {
            return None;
        }
        self.wrote(got);
        self.read_back_to = Some(len);
        Some(got)
    }

    /// Returns where the last write has ended. One that reports an error leaves the position where
    /// it was.
    fn written_to(&mut self) -> Option<u64> {
        self.read_back_to.or_else(|| self.file.end().ok())
    }

    fn wrote(&mut self, bytes: usize) {
        self.len = self.len.saturating_add(bytes as u64);
        if bytes > 0 {
            // The fragment is not at the end any more.
            (self.fragment, self.read_back_to) = (Vec::new(), None);
            self.lock.turn.begins();
        }
    }

    /// Removes `fragment`, the last bytes of the file, which are no whole line, if no other process
    /// can have written after them. Where another process may write next, a fragment that stays is
    /// ended with a newline at once: the other one does not know of it.
    pub(super) fn cut_fragment(&mut self, fragment: &[u8]) -> Tail {
        self.fragment = Vec::new();
        if fragment.is_empty() || self.cut(fragment.len() as u64).is_some() {
            return Tail::Cut;
        }
        if (self.shared.ever || !self.lock.held) && self.write_once(b"\n") == 1 {
            return Tail::Ended;
        }
        self.fragment = fragment.to_vec();
        Tail::Torn
    }

    /// Cuts the fragment that could not be cut when it was left: a full quota may refuse that, too.
    /// Returns whether the file ends with a whole line now.
    pub(super) fn cut_left_fragment(&mut self) -> bool {
        let is_cut = self.ends_with_fragment() == Some(true) && self.cut(self.fragment.len() as u64).is_some();
        if is_cut {
            self.fragment = Vec::new();
        }
        is_cut
    }

    /// Returns whether the fragment is still what the file ends with. Somebody may have cut the
    /// file, and another process may have filled it up to the same length since: where a file may
    /// not grow beyond a limit, each process stops there.
    fn ends_with_fragment(&mut self) -> Option<bool> {
        let len = self.fragment.len() as u64;
        if len == 0 || !self.is_torn()? {
            return Some(false);
        }
        let start = self.written_to()?.checked_sub(len)?;
        // Another line may end with the same few bytes.
        let begins_line = start == 0 || self.file.holds(start - 1, b"\n").ok()?;
        let is_there =
            self.file.holds(start, &self.fragment).ok()? || is_emptied(&mut self.file, start, &self.fragment);
        Some(begins_line && is_there)
    }

    /// Returns true if a cut that was refused has emptied the fragment that began here. One that is
    /// still there is not: it may begin with zeros of its own.
    pub(super) fn has_emptied(&mut self, start: Option<u64>, fragment: &[u8]) -> bool {
        start.is_some_and(|start| {
            !self.file.holds(start, fragment).unwrap_or(true) && is_emptied(&mut self.file, start, fragment)
        })
    }

    /// Returns where these last bytes of the file begin.
    pub(super) fn start_of(&mut self, fragment: &[u8]) -> Option<u64> {
        self.written_to()?.checked_sub(fragment.len() as u64)
    }

    /// Lets the fragment at the end stand: it is missing only its newline, and counts as written.
    pub(super) fn keep_fragment(&mut self) {
        self.fragment = Vec::new();
    }

    /// Empties a file that was created under the lock of another one, if it holds nothing but our
    /// own lines.
    pub(super) fn cut_all(&mut self) {
        let _ = self.cut_under_lock(self.len); // The first line stands twice then.
    }

    fn cut(&mut self, fragment: u64) -> Option<()> {
        if self.still_holds_lock() { self.cut_under_lock(fragment) } else { None }
    }

    fn cut_under_lock(&mut self, fragment: u64) -> Option<()> {
        let end = self.written_to()?;
        let len = end.checked_sub(fragment)?;
        self.shorten(end, len).then_some(())
    }

    /// Cuts the file from its length `from` to `to`. Returns whether that is done.
    pub(super) fn shorten(&mut self, from: u64, to: u64) -> bool {
        if let Err(error) = self.file.cut(from, to) {
            // Another process has the file open, or has just written.
            if error.kind() == io::ErrorKind::WouldBlock {
                self.see_another();
            }
            // The cut may be done and reported as failed. If the file had this length before, the
            // length does not show that.
            if from == to || !self.file.len().is_ok_and(|len| len == to) {
                return false;
            }
        }
        self.len = to;
        // The cut has given back the blocks beyond the end.
        self.blocks.forget();
        true
    }
}

/// Returns true if zeros are in the place of a fragment that began at `start`, or of its first
/// bytes. A cut that is refused may have emptied what it was to remove: on a full disk, and under a
/// full quota, btrfs clears the rest of the block first, and then has no room for a copy of it.
fn is_emptied<F: DiskFile>(file: &mut F, start: u64, fragment: &[u8]) -> bool {
    // No memory is asked for: where the disk is full there may be none.
    const ZEROS: [u8; 4096] = [0; 4096];

    let mut emptied = 0;
    for step in [ZEROS.len(), 256, 16, 1] {
        while emptied < fragment.len() {
            let zeros = &ZEROS[..step.min(fragment.len() - emptied)];
            match file.holds(start + emptied as u64, zeros) {
                Ok(true) => emptied += zeros.len(),
                Ok(false) => break,
                Err(_) => return false,
            }
        }
    }
    emptied > 0 && file.holds(start + emptied as u64, &fragment[emptied..]).unwrap_or(false)
}
