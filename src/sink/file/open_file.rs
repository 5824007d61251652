//! An open file: what exists only while it is open, and what is done to it. Runs on the writer's
//! thread.

use std::io;
use std::time::{Duration, Instant};

use crate::disk::{ATOMIC_WRITE, DiskFile, Kind};

use super::preallocation::Preallocated;

/// The time between two attempts to get a lock that another process has.
const LOCK_EVERY: Duration = Duration::from_secs(10);
/// How long a slow reader of a pipe or a terminal is waited for, each time, and how often in one
/// batch.
const READER_PATIENCE: Duration = Duration::from_millis(20);
const READER_CHANCES: usize = 5;
/// When a file is opened whose lock another process has, its end is read this often, at this
/// distance; it is torn if each look says so.
const TAIL_LOOKS: usize = 20;
const TAIL_PAUSE: Duration = Duration::from_millis(5);
/// A write that is interrupted this often in a row counts as failed.
const MOST_INTERRUPTIONS: usize = 100;

/// What exists only while the file is open.
pub(super) struct OpenFile<F> {
    pub(super) file: F,
    pub(super) kind: Kind,
    /// The file was found by its path: not a stream that belongs to the whole process.
    pub(super) opened_by_path: bool,
    lock: Lock,
    pub(super) path: PathChecks,
    /// When the first bytes that are not synced were written.
    pub(super) dirty_since: Option<Instant>,
    /// The length, as far as known: by the last look at it, and by what was written since.
    pub(super) len: u64,
    /// The length was seen since the file was opened.
    pub(super) measured: bool,
    /// Another process was seen to write here, or in the file before this one.
    pub(super) shared: bool,
    pub(super) blocks: Preallocated,
}

/// What is known of the exclusive lock.
struct Lock {
    held: bool,
    asked_at: Instant,
    /// Why nobody can have the lock, not reported yet.
    unavailable: Option<io::Error>,
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

impl<F: DiskFile> OpenFile<F> {
    /// Takes a file that was just opened. Also says whether it is torn, where that can be seen. A
    /// file of which nothing can be seen may be torn.
    pub(super) fn new(file: F, opened_by_path: bool, now: Instant) -> io::Result<(Self, Option<bool>)> {
        let kind = file.kind();
        let blocks = Preallocated::new(opened_by_path && file.can_preallocate());
        let mut open = Self {
            file,
            kind,
            opened_by_path,
            lock: Lock { held: false, asked_at: now, unavailable: None },
            path: PathChecks { checked_at: Some(now), reported_untrusted: false, lines_since: 0 },
            dirty_since: None,
            len: 0,
            measured: false,
            shared: false,
            blocks,
        };
        if kind == Kind::Regular && opened_by_path {
            open.lock(now);
        }
        open.measure();
        open.shared = false;
        let torn = if open.holds_lock() { open.is_torn() } else { open.is_torn_for_good() };
        let torn = torn.or((!open.measured).then_some(true));
        Ok((open, torn))
    }

    /// Returns whether the file ends in the middle of a line, where its end can be read.
    pub(super) fn is_torn(&mut self) -> Option<bool> {
        if self.kind != Kind::Regular || !self.opened_by_path {
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
        for _ in 0..TAIL_LOOKS {
            if !self.is_torn()? {
                return Some(false);
            }
            self.file.pause(TAIL_PAUSE);
        }
        Some(true)
    }

    /// Reads the length of the file. Returns by how many bytes another process has made the file
    /// shorter, or nothing if the length cannot be seen now.
    pub(super) fn measure(&mut self) -> Option<u64> {
        if self.kind == Kind::Stream || !self.opened_by_path {
            self.measured = true;
            return Some(0);
        }
        let Ok(len) = self.file.len() else {
            // Nor is it seen whether the blocks beyond the end are still there.
            self.blocks.forget();
            return None;
        };
        let shorter = self.len.saturating_sub(len);
        self.shared |= self.measured && len > self.len;
        // Whoever cuts a file gives back what is beyond its end. Where there was nothing to cut, or
        // where another process has written since, only the number of blocks shows that.
        let is_hidden = self.blocks.reach_beyond(len) && (len == 0 || self.shared);
        if shorter > 0 || is_hidden && self.blocks.are_gone(self.file.allocated()) {
            self.blocks.forget();
        }
        (self.len, self.measured) = (len, true);
        Some(shorter)
    }

    /// Returns whether this process has the exclusive lock: no other process of ours writes here,
    /// or rotates the file.
    pub(super) fn holds_lock(&self) -> bool {
        self.lock.held
    }

    /// Returns once why nobody can have the lock.
    pub(super) fn take_lock_error(&mut self) -> Option<io::Error> {
        self.lock.unavailable.take()
    }

    /// Gives back the lock, and the blocks beyond the end, before the file is closed.
    pub(super) fn release(&mut self) {
        self.give_back_blocks();
        if std::mem::take(&mut self.lock.held) {
            self.file.unlock();
        }
    }

    /// Syncs, if there is something new and the file is of the kind that can be.
    pub(super) fn sync(&mut self) -> Option<io::Result<()>> {
        if self.kind == Kind::Stream {
            return None;
        }
        self.dirty_since.take().map(|_| self.file.sync())
    }

    /// Asks for the lock again when the time has come. Returns whether it was got just now.
    pub(super) fn lock_if_due(&mut self, now: Instant) -> bool {
        now.saturating_duration_since(self.lock.asked_at) >= LOCK_EVERY && self.lock_now(now)
    }

    /// Asks for the lock at once, if it is missing. Returns whether it was got just now.
    pub(super) fn lock_now(&mut self, now: Instant) -> bool {
        if self.lock.held || !self.opened_by_path || self.kind != Kind::Regular {
            return false;
        }
        self.lock(now);
        if self.lock.held {
            // The lock may have come free because the file was rotated.
            self.path.checked_at = None;
        }
        self.lock.held
    }

    /// Asks for the lock. Another process has it, or the file system has no locks: both mean that
    /// nothing may be cut, renamed or deleted.
    fn lock(&mut self, now: Instant) {
        self.lock.asked_at = now;
        match self.file.lock() {
            Ok(held) => self.lock.held = held,
            Err(error) => self.lock.unavailable = Some(error),
        }
    }

    /// Writes until all is in or an error comes. Returns how many bytes are in.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let (mut got, mut interruptions) = (0, 0);
        while got < bytes.len() {
            match self.file.write(&bytes[got..]) {
                Ok(0) => return (got, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => {
                    (got, interruptions) = (got + more, 0);
                    self.len = self.len.saturating_add(more as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted && interruptions < MOST_INTERRUPTIONS => {
                    interruptions += 1;
                }
                Err(error) => return (got, Err(error)),
            }
        }
        (got, Ok(()))
    }

    /// Writes to a pipe or a terminal: whole lines in writes that a pipe takes whole or not at all,
    /// none before the reader has left room. `ends` are the ends of the lines.
    pub(super) fn write_in_turns(
        &mut self,
        bytes: &[u8],
        ends: impl Iterator<Item = usize>,
    ) -> (usize, io::Result<()>) {
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

    /// Removes the last `fragment` bytes, which are no whole line, if no other process can have
    /// written after them. Returns whether the file ends with a whole line now; if not, the next
    /// write begins with a newline.
    pub(super) fn cut_fragment(&mut self, fragment: usize) -> bool {
        fragment == 0 || self.cut(fragment as u64).is_some()
    }

    fn cut(&mut self, fragment: u64) -> Option<()> {
        if self.kind != Kind::Regular || !self.lock.held {
            return None;
        }
        let end = self.file.end().ok()?;
        if self.file.len().ok()? != end {
            return None;
        }
        let len = end.checked_sub(fragment)?;
        self.file.cut(len).ok()?;
        self.len = len;
        // The cut has given back the blocks beyond the end.
        self.blocks.forget();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::SystemTime;

    use super::*;
    use crate::disk::{FileId, FreeSpace, PathState};

    /// A pipe that is no good for anything else: so often its reader leaves no room, and so often a
    /// write finds none.
    #[derive(Default)]
    struct Pipe {
        stands_still: usize,
        refuses: usize,
        error: Option<io::ErrorKind>,
        asked: usize,
        writes: Vec<Vec<u8>>,
    }

    impl DiskFile for Pipe {
        fn kind(&self) -> Kind {
            Kind::Stream
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.refuses > 0 {
                self.refuses -= 1;
                return Err(self.error.unwrap_or(io::ErrorKind::WouldBlock).into());
            }
            self.writes.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn writable(&mut self, _at_most: Duration) -> bool {
            self.asked += 1;
            let stands_still = self.stands_still > 0;
            self.stands_still = self.stands_still.saturating_sub(1);
            !stands_still
        }

        fn can_preallocate(&self) -> bool {
            false
        }

        // What nobody does to a pipe.
        fn pause(&mut self, _time: Duration) {
            unreachable!()
        }
        fn end(&mut self) -> io::Result<u64> {
            unreachable!()
        }
        fn len(&mut self) -> io::Result<u64> {
            unreachable!()
        }
        fn allocated(&mut self) -> io::Result<u64> {
            unreachable!()
        }
        fn last_byte(&mut self) -> io::Result<Option<u8>> {
            unreachable!()
        }
        fn cut(&mut self, _len: u64) -> io::Result<()> {
            unreachable!()
        }
        fn free_space(&mut self) -> io::Result<FreeSpace> {
            unreachable!()
        }
        fn lock(&mut self) -> io::Result<bool> {
            unreachable!()
        }
        fn unlock(&mut self) {
            unreachable!()
        }
        fn sync(&mut self) -> io::Result<()> {
            unreachable!()
        }
        fn check_path(&mut self, _path: &Path) -> io::Result<PathState> {
            unreachable!()
        }
        fn modified(&mut self) -> io::Result<SystemTime> {
            unreachable!()
        }
        fn id(&mut self) -> Option<FileId> {
            unreachable!()
        }
        fn preallocate(&mut self, _from: u64, _to: u64) -> io::Result<()> {
            unreachable!()
        }
    }

    fn open(pipe: Pipe) -> OpenFile<Pipe> {
        let now = Instant::now();
        let (mut open, _) = OpenFile::new(pipe, true, now).unwrap();
        assert!(!open.lock_now(now) && !open.lock_if_due(now + 2 * LOCK_EVERY));
        assert!(open.sync().is_none() && open.measure() == Some(0) && open.cut(1).is_none());
        open
    }

    fn write(open: &mut OpenFile<Pipe>, lines: &[usize]) -> (Vec<u8>, usize, io::Result<()>) {
        let bytes: Vec<_> = lines.iter().flat_map(|len| [vec![b'x'; len - 1], vec![b'\n']].concat()).collect();
        let ends = lines.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        let (got, result) = open.write_in_turns(&bytes, ends);
        (bytes, got, result)
    }

    #[test]
    fn a_pipe_gets_whole_lines_in_as_few_writes_as_it_takes_whole() {
        const MOST: usize = ATOMIC_WRITE;
        // The lines, and how long the writes are.
        let cases: [(&[usize], &[usize]); 7] = [
            (&[1], &[1]),
            (&[MOST / 4; 8], &[MOST, MOST]),
            (&[MOST, MOST - 1, 1, 2], &[MOST, MOST, 2]),
            (&[MOST - 1, 2, MOST], &[MOST - 1, 2, MOST]),
            (&[10, MOST + 1, 20], &[10, MOST, 21]),
            (&[2 * MOST + 5], &[MOST, MOST, 5]),
            (&[3 * MOST], &[MOST, MOST, MOST]),
        ];
        for (lines, expected) in cases {
            let mut open = open(Pipe::default());
            let (bytes, got, result) = write(&mut open, lines);
            assert!(result.is_ok() && got == bytes.len(), "{lines:?}");
            assert_eq!(open.file.writes.concat(), bytes);
            let writes: Vec<_> = open.file.writes.iter().map(Vec::len).collect();
            assert_eq!(writes, expected, "{lines:?}");
        }
    }

    #[test]
    fn a_slow_reader_gets_so_many_chances_in_a_batch_and_no_more() {
        for (stands_still, refuses) in
            [(0, 0), (4, 0), (5, 0), (9, 0), (0, 4), (0, 5), (2, 2), (2, 3), (3, 2), (99, 99)]
        {
            let mut open = open(Pipe { stands_still, refuses, ..Pipe::default() });
            let (bytes, got, result) = write(&mut open, &[10; 3]);
            let chances = stands_still + refuses;
            if chances < READER_CHANCES {
                assert!(result.is_ok() && got == bytes.len(), "{stands_still}, {refuses}");
            } else {
                assert_eq!((got, result.unwrap_err().kind()), (0, io::ErrorKind::WouldBlock));
                assert!(open.file.asked <= READER_CHANCES, "{stands_still}, {refuses}: asked {}", open.file.asked);
            }
        }
    }

    #[test]
    fn a_reader_that_is_gone_gets_no_second_chance() {
        let mut open = open(Pipe { refuses: 1, error: Some(io::ErrorKind::BrokenPipe), ..Pipe::default() });
        let (_, got, result) = write(&mut open, &[10; 3]);
        assert_eq!((got, result.unwrap_err().kind(), open.file.asked), (0, io::ErrorKind::BrokenPipe, 1));
    }
}
