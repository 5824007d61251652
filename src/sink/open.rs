//! An open file: what only exists while it is open, and what is done to it. Runs on the writer's
//! thread.

use std::io;
use std::time::{Duration, Instant};

use crate::disk::{ATOMIC_WRITE, DiskFile, Kind};
use crate::event::Cause;

/// A lock that somebody else has is asked for again this often.
const LOCK_EVERY: Duration = Duration::from_secs(10);
/// How long a slow reader of a pipe or a terminal is waited for, each time, and how often in one
/// batch.
const READER_PATIENCE: Duration = Duration::from_millis(20);
const READER_CHANCES: usize = 5;
/// A file that somebody else has the lock of is torn if each of so many looks, so far apart, says
/// so; once, when it is opened.
const TAIL_LOOKS: usize = 20;
const TAIL_PAUSE: Duration = Duration::from_millis(5);
/// A write that is interrupted this often in a row counts as failed.
const MOST_INTERRUPTIONS: usize = 100;

/// What is only there while the file is open.
pub(super) struct Open<F> {
    pub(super) file: F,
    pub(super) kind: Kind,
    /// Opened by its path: not a stream that belongs to the whole process.
    pub(super) ours: bool,
    /// We hold the exclusive lock: nobody else of ours writes here.
    pub(super) locked: bool,
    pub(super) lock_asked: Instant,
    /// Why the lock cannot be had by anybody, not told yet.
    pub(super) no_lock: Option<io::Error>,
    /// When the path was compared with it; `None`: it must be.
    pub(super) looked: Option<Instant>,
    /// It was reported that another directory is at the path, to which no safe way leads.
    pub(super) reported_untrusted: bool,
    /// Lines written since the last look.
    pub(super) unseen: u64,
    /// Since when there is something that is not synced.
    pub(super) dirty: Option<Instant>,
    /// How long it is, as far as we know: by the last look at it, and by what we have written
    /// since.
    pub(super) len: u64,
    /// That could be seen since it was opened.
    measured: bool,
    /// Somebody else was seen to write here, or in the file before it.
    pub(super) shared: bool,
    /// Up to where we have taken blocks, if that is beyond the end.
    reserved: u64,
    /// How many bytes its blocks were then.
    taken: u64,
    /// Blocks beyond the end can be taken.
    reserves: bool,
}

impl<F: DiskFile> Open<F> {
    /// Also says whether the file is torn, where that can be seen. One of which nothing can be seen
    /// may be.
    pub(super) fn new(file: F, ours: bool, now: Instant) -> io::Result<(Self, Option<bool>)> {
        let kind = file.kind();
        let reserves = ours && file.can_preallocate();
        let mut open = Self {
            file,
            kind,
            ours,
            locked: false,
            lock_asked: now,
            no_lock: None,
            looked: Some(now),
            reported_untrusted: false,
            unseen: 0,
            dirty: None,
            len: 0,
            measured: false,
            shared: false,
            reserved: 0,
            taken: 0,
            reserves,
        };
        if kind == Kind::Regular && ours {
            open.lock(now);
        }
        open.measure();
        open.shared = false;
        let torn = if open.locked { open.is_torn() } else { open.is_torn_for_good() };
        let torn = torn.or((!open.measured).then_some(true));
        Ok((open, torn))
    }

    /// Whether the file ends in the middle of a line, where its end can be read.
    pub(super) fn is_torn(&mut self) -> Option<bool> {
        if self.kind != Kind::Regular || !self.ours {
            return None;
        }
        match self.file.last_byte().ok()? {
            Some(byte) => Some(byte != b'\n'),
            None => (self.file.len().ok()? == 0).then_some(false),
        }
    }

    /// The same where another process may be inside a write: then the file ends where no line does,
    /// and a moment later it does.
    pub(super) fn is_torn_for_good(&mut self) -> Option<bool> {
        for _ in 0..TAIL_LOOKS {
            if !self.is_torn()? {
                return Some(false);
            }
            self.file.pause(TAIL_PAUSE);
        }
        Some(true)
    }

    /// Sees how long the file is. Says by how many bytes somebody else has made it shorter; or
    /// nothing if it cannot be seen now.
    pub(super) fn measure(&mut self) -> Option<u64> {
        if self.kind == Kind::Stream || !self.ours {
            self.measured = true;
            return Some(0);
        }
        let Ok(len) = self.file.len() else {
            // Nor is it seen whether what is beyond the end is still there: it is nobody's until it
            // is taken again.
            self.reserved = 0;
            return None;
        };
        let shorter = self.len.saturating_sub(len);
        self.shared |= self.measured && len > self.len;
        // Whoever cuts a file gives back what is beyond its end. Where there was nothing to cut, or
        // where somebody has written again since, its blocks alone show that.
        let is_hidden = self.reserved > len && (len == 0 || self.shared);
        if shorter > 0 || is_hidden && self.file.allocated().map_or(true, |taken| taken < self.taken) {
            self.reserved = 0;
        }
        (self.len, self.measured) = (len, true);
        Some(shorter)
    }

    /// Nobody else of ours writes here, or puts the file aside.
    pub(super) fn is_ours_alone(&self) -> bool {
        self.locked
    }

    /// How many bytes can be written into blocks that are ours already.
    pub(super) fn ahead(&self) -> u64 {
        self.reserved.saturating_sub(self.len)
    }

    pub(super) fn can_preallocate(&self) -> bool {
        self.reserves && self.locked && self.measured
    }

    /// Takes blocks for so many bytes beyond the end; for `more` on top of it while there is plenty
    /// of room, so that this is not done before each write.
    ///
    /// # Errors
    ///
    /// There is no room for them.
    pub(super) fn preallocate(&mut self, bytes: u64, more: u64, block: u64) -> io::Result<()> {
        if !self.can_preallocate() || self.ahead() >= bytes {
            return Ok(());
        }
        // Whole blocks: what is left of the last one would look like room to whoever asks for a
        // little more.
        let least = self.len.saturating_add(bytes).div_ceil(block).saturating_mul(block);
        let more = more / block * block;
        // On a full disk each attempt may cost a wait for the file system's journal.
        let steps = [least.saturating_add(more), least];
        for to in steps.into_iter().skip(usize::from(more == 0)) {
            match self.file.preallocate(self.len, to) {
                Ok(()) => {
                    self.reserved = to;
                    self.taken = self.file.allocated().unwrap_or(u64::MAX); // Then the next doubt says that they are gone.
                    return Ok(());
                }
                Err(error) if matches!(Cause::of(&error), Cause::DiskFull | Cause::Quota) && to == least => {
                    return Err(error);
                }
                Err(error) if matches!(Cause::of(&error), Cause::DiskFull | Cause::Quota) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()), // The next batch asks again.
                // Not here: the file goes on without a reserve.
                Err(_) => {
                    self.reserves = false;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Gives back the lock, and what is beyond the end, before the file is closed.
    pub(super) fn release(&mut self) {
        self.give_back();
        if std::mem::take(&mut self.locked) {
            self.file.unlock();
        }
    }

    /// Gives back what is beyond the end; not where somebody else writes, too: only a cut does it,
    /// and a line that came between the look and the cut would go with it.
    pub(super) fn give_back(&mut self) {
        if self.reserved > 0 && self.locked && !self.shared && self.file.len().is_ok_and(|len| len == self.len) {
            // Should it fail, `du` shows it until the file is written again.
            let _ = self.file.cut(self.len);
        }
        self.reserved = 0;
    }

    /// Syncs, if there is something new and the file is of the kind that can be.
    pub(super) fn sync(&mut self) -> Option<io::Result<()>> {
        if self.kind == Kind::Stream {
            return None;
        }
        self.dirty.take().map(|_| self.file.sync())
    }

    /// Asks for the lock, if it is missing and time has come; says whether it was got just now.
    pub(super) fn lock_again(&mut self, now: Instant) -> bool {
        now.saturating_duration_since(self.lock_asked) >= LOCK_EVERY && self.lock_now(now)
    }

    /// The same at once.
    pub(super) fn lock_now(&mut self, now: Instant) -> bool {
        if self.locked || !self.ours || self.kind != Kind::Regular {
            return false;
        }
        self.lock(now);
        if self.locked {
            // It may have come free because the file was put aside.
            self.looked = None;
        }
        self.locked
    }

    /// Held by somebody, or no locks on this file system: both mean that nothing may be cut,
    /// renamed or deleted.
    fn lock(&mut self, now: Instant) {
        self.lock_asked = now;
        match self.file.lock() {
            Ok(locked) => self.locked = locked,
            Err(error) => self.no_lock = Some(error),
        }
    }

    /// Writes until all is in or an error comes; says how much is in.
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

    /// The same for a pipe or a terminal: whole lines in writes that a pipe takes whole or not at
    /// all, none before the reader has left room. `ends` are the ends of the lines.
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

    /// Removes the last `fragment` bytes, which are no whole line, if nobody else can have written
    /// behind them. Says whether the file ends with a whole line now; if not, the next write begins
    /// with a newline.
    pub(super) fn mend(&mut self, fragment: usize) -> bool {
        fragment == 0 || self.cut(fragment as u64).is_some()
    }

    pub(super) fn cut(&mut self, fragment: u64) -> Option<()> {
        if self.kind != Kind::Regular || !self.locked {
            return None;
        }
        let end = self.file.end().ok()?;
        if self.file.len().ok()? != end {
            return None;
        }
        let len = end.checked_sub(fragment)?;
        self.file.cut(len).ok()?;
        // What was beyond the end is gone with it.
        (self.len, self.reserved) = (len, 0);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::SystemTime;

    use super::*;
    use crate::disk::{FreeSpace, PathState};

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
        fn id(&mut self) -> Option<(u64, u64)> {
            unreachable!()
        }
        fn preallocate(&mut self, _from: u64, _to: u64) -> io::Result<()> {
            unreachable!()
        }
    }

    fn open(pipe: Pipe) -> Open<Pipe> {
        let now = Instant::now();
        let (mut open, _) = Open::new(pipe, true, now).unwrap();
        assert!(!open.lock_now(now) && !open.lock_again(now + 2 * LOCK_EVERY));
        assert!(open.sync().is_none() && open.measure() == Some(0) && open.cut(1).is_none());
        open
    }

    fn write(open: &mut Open<Pipe>, lines: &[usize]) -> (Vec<u8>, usize, io::Result<()>) {
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
