//! `FakeDisk`, the double for tests: files in memory, a capacity, and faults at chosen operations.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::disk::{
    ATOMIC_WRITE, Compression, Dir, Disk, DiskFile, DiskStream, Entry, FileId, FreeSpace, Opened, PathState, Size,
    Stream,
};

/// The path of the file to which each stream of the program leads.
pub(crate) const STREAM: &str = "/dev/stderr";

/// What the disk is asked; a fault names the operation it hits, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Open,
    MakeDir,
    Write,
    End,
    Len,
    LastByte,
    Cut,
    FreeSpace,
    Lock,
    Sync,
    Commit,
    CheckPath,
    Create,
    Link,
    Rename,
    RenameNew,
    Remove,
    List,
    SyncDir,
    Point,
    Modified,
    Id,
    CanReserve,
    Preallocate,
    /// A compression is begun.
    Compress,
    // What it does then, one after the other.
    CompressRead,
    CompressCreate,
    CompressWrite,
    CompressSync,
    CompressRename,
    CompressSyncDir,
    CompressRemove,
}

impl Op {
    /// Whether it changes something: then it may be done although it is reported as failed.
    pub(crate) fn is_act(self) -> bool {
        use Op::*;

        !matches!(
            self,
            End | Len | LastByte | FreeSpace | CheckPath | List | Modified | Id | CanReserve | Compress | CompressRead
        )
    }
}

/// The `at`-th operation (counted from 1, of the kind `only` or of any) fails with `errno`; once,
/// or it and all that follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) at: u64,
    pub(crate) only: Option<Op>,
    pub(crate) forever: bool,
    pub(crate) errno: i32,
}

impl Fault {
    /// Whether it hits the `total`-th operation, which is the `asked`-th of its kind.
    fn hits(self, op: Op, asked: u64, total: u64) -> bool {
        let number = match self.only {
            None => total,
            Some(only) if only == op => asked,
            Some(_) => return false,
        };
        number == self.at || self.forever && number > self.at
    }
}

/// What somebody else does who may write to the directory of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    /// Files of his stand at the names of archives, older and newer ones than all others.
    PlantsArchives,
    /// At the names that the next archives and their compressed forms are to get.
    TakesNextNames,
    /// At the names of files that are not finished; he guesses right.
    GuessesNames,
    /// Another file of his stands at the path of the log, and the log stands elsewhere.
    SwapsActive,
    /// The log has an archive's name as well.
    LinksActive,
    /// The lock is his.
    TakesLock,
    /// No file of the log may be opened any more.
    ChangesModes,
}

impl Hand {
    pub(crate) const ALL: [Hand; 7] = [
        Hand::PlantsArchives,
        Hand::TakesNextNames,
        Hand::GuessesNames,
        Hand::SwapsActive,
        Hand::LinksActive,
        Hand::TakesLock,
        Hand::ChangesModes,
    ];
}

/// A user who is not the one that the logger runs as.
const SOMEBODY: u32 = 1;
/// What stands in his files.
const PLANTED: &[u8] = b"planted\n";
/// The log that hands reach for.
const LOG: &str = "/logs/app.log";

/// When everything was written, unless a test says otherwise; it is when the clock of a stepped
/// test starts.
fn birth() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// A disk in memory; clones are views of the same disk.
#[derive(Clone, Default)]
pub(crate) struct FakeDisk {
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
pub(crate) struct World {
    names: BTreeMap<PathBuf, usize>,
    /// Each name has an inode number of its own, as in a file system in user space that makes them
    /// up: a second name of a file is not recognised. It goes with the name when that is renamed.
    pub(crate) unstable_ids: bool,
    /// These numbers.
    ids: BTreeMap<PathBuf, u64>,
    last_id: u64,
    files: Vec<FakeInode>,
    /// Directories that are not there and cannot be made.
    barred: BTreeSet<PathBuf>,
    /// Directories that are not there but can be made.
    missing: BTreeSet<PathBuf>,
    /// Bytes in all; `None`: unlimited.
    pub(crate) capacity: Option<u64>,
    /// Bytes that somebody else takes.
    pub(crate) filler: u64,
    /// A write takes at most this many bytes at once.
    pub(crate) short: Option<usize>,
    /// One write, the `.0`-th, takes only `.1` bytes.
    pub(crate) short_once: Option<(u64, usize)>,
    pub(crate) fault: Option<Fault>,
    /// One more, of a pair.
    pub(crate) other_fault: Option<Fault>,
    /// From the first fault on, every operation of this kind fails, as `other_fault`.
    pub(crate) then_fails: Option<Op>,
    /// How often each operation was asked for.
    pub(crate) asked: BTreeMap<Op, u64>,
    pub(crate) total: u64,
    /// How many bytes each write was given.
    pub(crate) writes: Vec<usize>,
    /// Whether a fault was met, whether the other one was, and at which operations.
    pub(crate) faulted: bool,
    pub(crate) other_faulted: bool,
    pub(crate) faulted_ops: BTreeSet<Op>,
    /// How many writes left a file that ends in the middle of a line.
    pub(crate) torn: u64,
    /// Which files have ever stood at a path, the oldest first.
    stood: BTreeMap<PathBuf, Vec<usize>>,
    /// Somebody else holds the lock.
    pub(crate) locked_by_other: bool,
    /// Somebody who does not write shares the lock of those who do.
    pub(crate) is_touched: bool,
    /// That lock cannot be had.
    pub(crate) refuses_announcing: bool,
    /// The lock was asked for while somebody else held it.
    pub(crate) was_locked: bool,
    /// Somebody else renames the file to this name, and puts a new one in its place, just before
    /// its lock is asked for next.
    pub(crate) renamed_at_lock: Option<(PathBuf, PathBuf)>,
    /// What somebody else writes while the end of a file is looked at: after each look one.
    pub(crate) written_between_looks: VecDeque<&'static [u8]>,
    /// Just before the cut with this number another process opens the active file, writes
    /// [`OTHERS_LINE`] and closes it.
    pub(crate) comes_before_cut: Option<u64>,
    /// So many locks are to be had all the same.
    pub(crate) free_locks: u64,
    /// What `link` fails with, where there are no hard links.
    pub(crate) no_links: Option<i32>,
    /// Its files are pipes, whose reader is slow when a fault says so.
    pub(crate) is_pipe: bool,
    /// How many bytes the reader of a pipe leaves room for; `None`: for all.
    pub(crate) room: Option<usize>,
    /// The pipe is a terminal or a socket, which takes a part of what does not fit.
    pub(crate) takes_parts: bool,
    /// What `fault` hits is done, and then reported as failed, as by a network file system whose
    /// answer was lost.
    pub(crate) fault_is_done: bool,
    /// The writes that were done and reported as failed: to which file, and what then stood there
    /// from the beginning of the line on.
    pub(crate) denied: Vec<(usize, Vec<u8>)>,
    /// No write is among what is done and reported as failed.
    pub(crate) writes_are_honest: bool,
    /// A cut that is refused has cleared the block in which the file was to end, as on btrfs.
    pub(crate) refused_cuts_empty: bool,
    /// What becomes free shows only after a commit, as on btrfs.
    pub(crate) accounts_late: bool,
    /// The most bytes that were seen to be in use since the last one.
    shown_used: u64,
    /// The operation that is under way is reported to have failed with this.
    reported: Option<i32>,
    /// No file may be longer (EFBIG).
    pub(crate) longest: Option<u64>,
    /// Blocks beyond the end can be taken.
    pub(crate) reserves: bool,
    /// When what is written is written.
    pub(crate) wall: Option<SystemTime>,
    /// How many names were looked at, in a listing or alone.
    pub(crate) looked_at: u64,
    /// What is being compressed; a test that looks at it before it is asked for sees it under way.
    pub(crate) compressing: Option<(PathBuf, Compression)>,
    /// Names that a listing does not show.
    pub(crate) unlisted: BTreeSet<PathBuf>,
    /// Symbolic links, and where they lead.
    pub(crate) pointers: BTreeMap<PathBuf, PathBuf>,
    /// Who acts before the operation with this number.
    pub(crate) hand: Option<(u64, Hand)>,
    /// Which file was planted under which name; not at the path of the log, where it is the log.
    planted: BTreeMap<PathBuf, usize>,
    /// Which open file holds the lock of each log.
    locks: BTreeMap<PathBuf, u64>,
    /// How many files were ever opened: each has a number, for the lock.
    opened: u64,
    /// The last number that nobody can foretell.
    random: u32,
    /// The names of directories that were synced, as they were then.
    synced_names: BTreeMap<PathBuf, usize>,
    pub(crate) keep: Keep,
    pub(crate) kept: Vec<Moment>,
    /// How many records were surely written before the next moment.
    pub(crate) promised: u64,
}

/// Which moments are kept.
#[derive(Clone, Copy, Default)]
pub(crate) enum Keep {
    #[default]
    Nothing,
    /// The one before each operation, and those inside each write.
    Every,
    /// The one before the operation with this number, of all.
    Before(u64),
}

/// A moment at which everything may end.
#[derive(Clone)]
pub(crate) struct Moment {
    /// Before which operation; with a number, after so many bytes of this write.
    pub(crate) at: Option<(Op, Option<usize>)>,
    pub(crate) promised: u64,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    files: Vec<FakeInode>,
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process: what it has written is in the system's hands.
    Process,
    /// The machine: of each file stays what was synced. Names survive, as in a file system with a
    /// journal.
    Machine,
    /// The same, and of the names those stay that were there when their directory was synced last.
    MachineWithoutJournal,
}

impl Crash {
    pub(crate) const ALL: [Crash; 3] = [Crash::Process, Crash::Machine, Crash::MachineWithoutJournal];
}

#[derive(Clone, Default)]
struct FakeInode {
    bytes: Vec<u8>,
    names: usize,
    owner: u32,
    /// From where to where there are blocks beyond the end. Between the end and the first of them
    /// nothing is taken: somebody has cut the file short.
    reserved: Range<u64>,
    modified: Option<SystemTime>,
    /// It takes a tenth of what it holds.
    compressed: bool,
    /// So many bytes survive a crash of the machine.
    synced: usize,
    /// Its mode lets nobody open it.
    is_barred: bool,
    /// The last write has left a line that is missing only its newline.
    misses_newline: bool,
    /// The open files whose processes have announced that they write.
    writers: BTreeSet<u64>,
}

impl FakeInode {
    fn len(&self) -> u64 {
        let len = self.bytes.len() as u64;
        if self.compressed { len.div_ceil(10) } else { len }
    }

    fn takes(&self) -> u64 {
        self.takes_with(&self.reserved)
    }

    fn takes_with(&self, reserved: &Range<u64>) -> u64 {
        let len = self.len();
        len + reserved.end.saturating_sub(reserved.start.max(len))
    }
}

impl FakeDisk {
    /// A disk of this many bytes.
    pub(crate) fn with_capacity(bytes: u64) -> Self {
        let disk = Self::default();
        disk.world().capacity = Some(bytes);
        disk
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left after a crash, on a disk that is otherwise like this one.
    pub(crate) fn after(&self, moment: &Moment, crash: Crash) -> Self {
        let mut files = moment.files.clone();
        let names = match crash {
            Crash::Process | Crash::Machine => moment.names.clone(),
            Crash::MachineWithoutJournal => moment.synced_names.clone(),
        };
        for (inode, file) in files.iter_mut().enumerate() {
            file.reserved = 0..0;
            file.writers.clear();
            file.names = names.values().filter(|named| **named == inode).count();
            if crash != Crash::Process {
                file.bytes.truncate(file.synced);
            }
        }
        let mut stood: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (name, inode) in &names {
            stood.insert(name.clone(), vec![*inode]);
        }
        let world = self.world();
        let (capacity, filler, reserves, no_links) = (world.capacity, world.filler, world.reserves, world.no_links);
        let (unstable_ids, accounts_late) = (world.unstable_ids, world.accounts_late);
        let writes_are_honest = world.writes_are_honest;
        let synced_names = names.clone();
        let ids: BTreeMap<_, _> = names.keys().cloned().zip(1..).collect();
        // A directory that somebody took away may be back with all that was planted in it.
        let is_planted = |inode: usize| files[inode].owner == SOMEBODY && files[inode].bytes == PLANTED;
        let planted = names.iter().filter(|(_, inode)| is_planted(**inode));
        let planted = planted.map(|(path, inode)| (path.clone(), *inode)).collect();
        let left = World {
            planted,
            names,
            synced_names,
            files,
            stood,
            capacity,
            filler,
            reserves,
            no_links,
            unstable_ids,
            last_id: ids.len() as u64,
            ids,
            accounts_late,
            writes_are_honest,
            ..World::default()
        };
        Self { world: Arc::new(Mutex::new(left)) }
    }

    /// What the file at `path` holds; nothing if there is none.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        let world = self.world();
        world.names.get(Path::new(path)).map(|inode| world.files[*inode].bytes.clone()).unwrap_or_default()
    }

    /// The files that have ever stood at a path, renamed and deleted ones included, the oldest
    /// first.
    pub(crate) fn read_all(&self, path: &str) -> Vec<Vec<u8>> {
        let world = self.world();
        let stood = world.stood.get(Path::new(path)).into_iter().flatten();
        stood.map(|inode| world.files[*inode].bytes.clone()).collect()
    }

    /// The same, with the newline after a line that is missing only that: it counts as written, and
    /// the next write brings it, unless the file may not grow and is rotated.
    pub(crate) fn read_all_lines(&self, path: &str) -> Vec<Vec<u8>> {
        let world = self.world();
        let stood = world.stood.get(Path::new(path)).into_iter().flatten();
        let files = stood.map(|inode| &world.files[*inode]);
        files.map(|file| [&file.bytes[..], if file.misses_newline { b"\n" } else { b"" }].concat()).collect()
    }

    /// The same with their numbers.
    pub(crate) fn once_called(&self, path: &str) -> Vec<(usize, Vec<u8>)> {
        let world = self.world();
        let stood = world.stood.get(Path::new(path)).into_iter().flatten();
        stood.map(|inode| (*inode, world.files[*inode].bytes.clone())).collect()
    }

    /// How many files that have ever stood at a path hold something, and have no name any more.
    pub(crate) fn nameless(&self, path: &str) -> usize {
        let world = self.world();
        let stood = world.stood.get(Path::new(path)).into_iter().flatten().map(|inode| &world.files[*inode]);
        stood.filter(|file| file.names == 0 && !file.bytes.is_empty()).count()
    }

    /// Every name, and the number of the file it leads to; not what somebody else has planted.
    pub(crate) fn inodes(&self) -> Vec<(String, usize)> {
        let world = self.world();
        let names = world.names.iter().filter(|(path, _)| !world.planted.contains_key(*path));
        names.map(|(path, inode)| (path.display().to_string(), *inode)).collect()
    }

    /// Cuts the file of a name short, as somebody who does not know of us does.
    pub(crate) fn cut_short(&self, path: &str, len: usize) {
        let mut world = self.world();
        let inode = world.inode(Path::new(path));
        let file = &mut world.files[inode];
        file.bytes.truncate(len);
        (file.reserved, file.synced) = (0..0, file.synced.min(len));
    }

    /// How many bytes of the file of a name were synced.
    pub(crate) fn synced(&self, path: &str) -> usize {
        let mut world = self.world();
        let inode = world.inode(Path::new(path));
        world.files[inode].synced
    }

    /// Every file that has a name, by its first one; sorted by name.
    pub(crate) fn read_named(&self) -> Vec<(String, Vec<u8>)> {
        let world = self.world();
        let mut seen = BTreeSet::new();
        let names = world.names.iter().filter(|(_, inode)| seen.insert(**inode));
        names.map(|(path, inode)| (path.display().to_string(), world.files[*inode].bytes.clone())).collect()
    }

    /// Every name, with what its file holds; not what somebody else has planted.
    pub(crate) fn read_every_name(&self) -> Vec<(String, Vec<u8>)> {
        let world = self.world();
        let names = world.names.iter().filter(|(path, _)| !world.planted.contains_key(*path));
        names.map(|(path, inode)| (path.display().to_string(), world.files[*inode].bytes.clone())).collect()
    }

    /// The same without the names of the file that stands at `path`.
    pub(crate) fn read_others(&self, path: &str) -> Vec<(String, Vec<u8>)> {
        let world = self.world();
        let at_path = world.names.get(Path::new(path));
        let others = world.names.iter().filter(|(_, inode)| Some(*inode) != at_path);
        let names = others.filter(|(path, _)| !world.planted.contains_key(*path));
        names.map(|(path, inode)| (path.display().to_string(), world.files[*inode].bytes.clone())).collect()
    }

    /// The names in the order of text.
    pub(crate) fn names(&self) -> Vec<String> {
        self.world().names.keys().map(|path| path.display().to_string()).collect()
    }

    /// What was ever in the file of a name, cut to nothing, as copytruncate does it.
    pub(crate) fn truncate(&self, path: &str) {
        let mut world = self.world();
        let inode = world.inode(Path::new(path));
        let file = &mut world.files[inode];
        file.bytes.clear();
        (file.reserved, file.synced) = (0..0, 0);
    }

    /// Writes as another process would, which then syncs.
    pub(crate) fn append(&self, path: &str, bytes: &[u8]) {
        let mut world = self.world();
        let inode = world.inode(Path::new(path));
        let file = &mut world.files[inode];
        file.bytes.extend_from_slice(bytes);
        file.synced = file.bytes.len();
        world.synced_names.insert(path.into(), inode);
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        let _ = self.world().rename(from.as_ref(), to.as_ref()); // Nobody has to be there.
    }

    /// Gives a file a second name.
    pub(crate) fn link(&self, from: &str, to: &str) {
        let mut world = self.world();
        let inode = world.found(from.as_ref()).unwrap();
        world.name(to.as_ref(), inode);
    }

    pub(crate) fn delete(&self, path: &str) {
        let mut world = self.world();
        let _ = world.unname(Path::new(path)); // Nobody has to be there.
    }

    /// Takes a directory away, with what is in it; while `barred`, it cannot be made again.
    pub(crate) fn remove_dir(&self, dir: &str, barred: bool) {
        let inside: Vec<_> = self
            .world()
            .names
            .keys()
            .filter(|path| path.starts_with(dir))
            .map(|path| path.display().to_string())
            .collect();
        for path in inside {
            self.delete(&path);
        }
        let mut world = self.world();
        world.missing.insert(dir.into());
        world.planted.retain(|path, _| !path.starts_with(dir));
        if barred {
            world.barred.insert(dir.into());
        }
    }

    /// P11, as far as names and bytes show it: what somebody else has planted is as it was.
    pub(crate) fn assert_planted_is_untouched(&self, story: &str) {
        let world = self.world();
        for (path, inode) in &world.planted {
            let is_there = world.names.get(path) == Some(inode);
            assert!(is_there, "{story}: {} was renamed, replaced or deleted", path.display());
            assert_eq!(world.files[*inode].bytes, PLANTED, "{story}: {}", path.display());
        }
    }

    /// Has somebody else hold the lock of the log at `path`, whoever has it.
    pub(crate) fn steal_lock(&self, path: &str) {
        self.world().locks.insert(path.into(), 0);
    }

    pub(crate) fn give_back_locks(&self) {
        self.world().locks.retain(|_, holder| *holder != 0);
    }

    pub(crate) fn give_back_rights(&self) {
        self.world().files.iter_mut().for_each(|file| file.is_barred = false);
    }

    pub(crate) fn unbar(&self) {
        self.world().barred.clear();
    }
}

impl World {
    fn used(&self) -> u64 {
        self.filler + self.files.iter().filter(|file| file.names > 0).map(|file| file.takes()).sum::<u64>()
    }

    pub(crate) fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    /// Returns how many bytes the files take that somebody else has planted.
    pub(crate) fn taken_by_planted(&self) -> u64 {
        self.planted.values().map(|inode| self.files[*inode].takes()).sum()
    }

    /// Returns whether a process of ours has the lock of the log at this path.
    pub(crate) fn is_locked(&self, path: &Path) -> bool {
        self.locks.contains_key(path)
    }

    /// How often an operation was asked for.
    pub(crate) fn asked(&self, op: Op) -> u64 {
        self.asked.get(&op).copied().unwrap_or(0)
    }

    /// How often any was.
    pub(crate) fn asked_in_all(&self) -> u64 {
        self.total
    }

    fn inode(&mut self, path: &Path) -> usize {
        if let Some(inode) = self.names.get(path) {
            return *inode;
        }
        self.files.push(FakeInode { modified: self.wall, ..FakeInode::default() });
        self.name(path, self.files.len() - 1);
        self.files.len() - 1
    }

    /// Gives a file a name; the file that had it loses it.
    fn name(&mut self, path: &Path, inode: usize) {
        self.last_id += 1;
        self.ids.insert(path.to_owned(), self.last_id);
        self.files[inode].names += 1;
        let stood = self.stood.entry(path.to_owned()).or_default();
        if !stood.contains(&inode) {
            stood.push(inode);
        }
        if let Some(replaced) = self.names.insert(path.to_owned(), inode) {
            self.files[replaced].names -= 1;
        }
    }

    fn unname(&mut self, path: &Path) -> io::Result<usize> {
        let inode = self.found(path)?;
        self.names.remove(path);
        self.files[inode].names -= 1;
        Ok(inode)
    }

    fn open(&mut self, disk: &FakeDisk, path: &Path, inode: usize) -> FakeFile {
        self.opened += 1;
        let (dir, name) = (path.parent().unwrap(), path.file_name().unwrap());
        let (disk, dir, name) = (disk.clone(), dir.to_owned(), name.to_owned());
        let id = self.id(path, inode);
        FakeFile { disk, dir, name, inode, id, end: 0, number: self.opened, lock: None }
    }

    fn found(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What tells the file of this name from others.
    fn id(&self, path: &Path, inode: usize) -> u64 {
        let made_up = self.ids.get(path).copied().filter(|_| self.unstable_ids);
        made_up.unwrap_or(inode as u64)
    }

    fn check(&mut self, path: &Path, (inode, id): (usize, u64)) -> io::Result<PathState> {
        self.ask(Op::CheckPath)?;
        Ok(match self.names.get(path) {
            Some(there) if self.id(path, *there) == id => PathState::Same,
            _ if self.files[inode].names == 0 => PathState::Deleted,
            _ => PathState::Moved,
        })
    }

    fn must_be_free(&self, path: &Path) -> io::Result<()> {
        if path.parent().is_some_and(|parent| self.missing.contains(parent)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.names.contains_key(path) { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(()) }
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.ids.get(from).copied();
        let inode = self.unname(from)?;
        self.name(to, inode);
        self.ids.extend(id.map(|id| (to.to_owned(), id)));
        Ok(())
    }

    /// Answers for what was done: it worked, unless that is denied.
    fn done(&mut self) -> io::Result<()> {
        self.reported.take().map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// Everything as it is now.
    pub(crate) fn moment(&self, at: Option<(Op, Option<usize>)>) -> Moment {
        let (names, synced_names) = (self.names.clone(), self.synced_names.clone());
        Moment { at, promised: self.promised, names, synced_names, files: self.files.clone() }
    }

    /// Keeps the moments inside a write: after the first byte, in the middle of the lines, around
    /// their ends, before the last byte.
    fn remember_inside(&mut self, inode: usize, bytes: &[u8]) {
        if !matches!(self.keep, Keep::Every) {
            return;
        }
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let places = ends.flat_map(|end| [end.saturating_sub(40), end - 1, end, end + 1]);
        let places: BTreeSet<_> = places.chain([1]).filter(|len| (1..bytes.len()).contains(len)).collect();
        let before = self.files[inode].bytes.len();
        for len in places {
            self.files[inode].bytes.extend_from_slice(&bytes[..len]);
            self.kept.push(self.moment(Some((Op::Write, Some(len)))));
            self.files[inode].bytes.truncate(before);
        }
    }

    fn come_before_cut(&mut self, inode: usize, path: &Path) {
        let is_due = self.comes_before_cut.is_some_and(|number| number <= self.asked[&Op::Cut]);
        if !is_due || self.names.get(path) != Some(&inode) {
            return;
        }
        self.comes_before_cut = None;
        let file = &mut self.files[inode];
        if file.bytes.last().is_some_and(|last| *last != b'\n') {
            file.bytes.push(b'\n');
        }
        file.bytes.extend_from_slice(OTHERS_LINE);
        // The fragment that was to be cut stays, and the line is no record of ours.
        self.torn += 2;
        self.faulted_ops.insert(Op::Cut);
    }

    /// Does what somebody else does. Of a name that is taken, he leaves it as it is.
    pub(crate) fn act(&mut self, hand: Hand, log: &Path) {
        let active = self.names.get(log).copied();
        let name = |text: std::fmt::Arguments<'_>| log.with_file_name(text.to_string());
        let stem = log.file_stem().unwrap().to_str().unwrap();
        let suffix = log.extension().map_or(String::new(), |last| format!(".{}", last.to_str().unwrap()));
        let archive = |stamp: &str, number: u32| name(format_args!("{stem}.{stamp}-{number:04}{suffix}"));
        let compressed = |archive: &Path| PathBuf::from(format!("{}.gz", archive.display()));
        match hand {
            Hand::PlantsArchives => {
                self.plant(&archive("0001-01-01T00-00-00", 0));
                self.plant(&archive("9999-12-31T23-59-59", 9999));
                (0..4).for_each(|number| self.plant(&compressed(&archive("2999-01-01T00-00-00", number))));
            }
            Hand::TakesNextNames => {
                for stamp in
                    ["2001-09-09T01-46-40", "2001-09-09T01-46-41", "2001-09-09T01-46-42", "2001-09-09T01-47-00"]
                {
                    for number in 0..3 {
                        self.plant(&archive(stamp, number));
                        self.plant(&compressed(&archive(stamp, number)));
                    }
                }
                let is_archive = |path: &&PathBuf| {
                    let text = path.to_str().unwrap();
                    text.starts_with(&format!("{}.2", log.with_file_name(stem).display())) && text.ends_with(&suffix)
                };
                let archives: Vec<_> = self.names.keys().filter(is_archive).map(|path| compressed(path)).collect();
                archives.iter().for_each(|path| self.plant(path));
            }
            Hand::GuessesNames => {
                let active = log.file_name().unwrap().to_str().unwrap();
                for random in self.random + 1..self.random + 4 {
                    self.plant(&name(format_args!(".{active}.{random:08x}.new")));
                }
            }
            Hand::SwapsActive => {
                let _ = self.rename(log, &name(format_args!("taken"))); // Nobody has to be there.
                let inode = self.inode(log);
                self.files[inode].owner = SOMEBODY;
            }
            Hand::LinksActive => {
                if let Some(active) = active {
                    self.name(&archive("2001-09-09T01-46-46", 7), active);
                }
            }
            Hand::ChangesModes => {
                self.files.iter_mut().filter(|file| file.owner != SOMEBODY).for_each(|file| file.is_barred = true);
                self.faulted_ops.insert(Op::Open); // What is torn then stays.
            }
            Hand::TakesLock => {
                self.locks.insert(log.to_owned(), 0);
                self.faulted_ops.insert(Op::Lock); // What is torn without it stays.
            }
        }
    }

    fn plant(&mut self, path: &Path) {
        let is_there = path.parent().is_some_and(|dir| !self.missing.contains(dir));
        if is_there && !self.names.contains_key(path) {
            let inode = self.inode(path);
            let bytes = PLANTED.to_vec();
            let file = &mut self.files[inode];
            (file.owner, file.synced, file.bytes) = (SOMEBODY, bytes.len(), bytes);
            self.planted.insert(path.to_owned(), inode);
            self.synced_names.insert(path.to_owned(), inode);
        }
    }

    /// Counts the operation, and fails it if its time has come.
    fn ask(&mut self, op: Op) -> io::Result<()> {
        self.total += 1;
        if let Some((_, hand)) = self.hand.take_if(|(at, _)| *at == self.total) {
            self.act(hand, Path::new(LOG));
        }
        self.reported = None;
        let is_kept = match self.keep {
            Keep::Nothing => false,
            Keep::Every => true,
            Keep::Before(number) => number == self.total,
        };
        if is_kept {
            self.kept.push(self.moment(Some((op, None))));
        }
        let asked = self.asked.entry(op).or_default();
        *asked += 1;
        let (asked, total) = (*asked, self.total);
        let hits = |fault: &Fault| fault.hits(op, asked, total);
        let (one, other) = (self.fault.filter(hits), self.other_fault.filter(hits));
        self.faulted |= one.is_some();
        self.other_faulted |= other.is_some();
        let Some(fault) = one.or(other) else { return Ok(()) };
        self.faulted_ops.insert(op);
        if let Some(then) = self.then_fails.take_if(|_| one.is_some()) {
            let at = self.asked(then) + 1;
            self.other_fault = Some(Fault { at, only: Some(then), forever: true, errno: 5 });
        }
        let may_be_done = op.is_act() && !(self.writes_are_honest && op == Op::Write);
        if one.is_some() && self.fault_is_done && may_be_done {
            self.reported = Some(fault.errno);
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(fault.errno))
    }
}

/// An open file of the fake disk.
pub(crate) struct FakeFile {
    disk: FakeDisk,
    /// Where it was opened.
    dir: PathBuf,
    name: OsString,
    inode: usize,
    id: u64,
    end: u64,
    number: u64,
    lock: Option<FakeLock>,
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        self.disk.world().files[self.inode].writers.remove(&self.number);
    }
}

/// The line that another process writes.
pub(crate) const OTHERS_LINE: &[u8] = b"a line of another process\n";

/// The lock of a log, which is that of its name.
pub(crate) struct FakeLock {
    disk: FakeDisk,
    path: PathBuf,
    number: u64,
}

impl Drop for FakeLock {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.locks.get(&self.path) == Some(&self.number) {
            world.locks.remove(&self.path);
        }
    }
}

impl Disk for FakeDisk {
    type File = FakeFile;
    type Stream = FakeStream;
    type Dir = FakeDir;

    fn open(&mut self, path: &Path) -> io::Result<Opened<FakeFile, FakeStream>> {
        let mut world = self.world();
        world.ask(Op::Open)?;
        if path.parent().is_some_and(|parent| world.missing.contains(parent)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = world.inode(path);
        if world.files[inode].is_barred {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let file = world.open(self, path, inode);
        let done = world.done();
        let is_pipe = world.is_pipe;
        drop(world); // A file that is closed asks for it.
        done.map(|()| if is_pipe { Opened::Stream(FakeStream(file)) } else { Opened::File(file) })
    }

    fn stream(&mut self, _stream: Stream) -> io::Result<Opened<FakeFile, FakeStream>> {
        self.open(Path::new(STREAM))
    }

    fn make_dir(&mut self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.ask(Op::MakeDir)?;
        if world.barred.contains(path) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        world.missing.remove(path);
        world.done()
    }

    fn place(&self, file: &FakeFile) -> Option<(FakeDir, OsString)> {
        Some((FakeDir { disk: self.clone(), path: file.dir.clone() }, file.name.clone()))
    }

    fn create(&mut self, old: &FakeFile, name: &OsStr) -> io::Result<FakeFile> {
        let mut world = self.world();
        world.ask(Op::Create)?;
        let path = old.dir.join(name);
        world.must_be_free(&path)?;
        let inode = world.inode(&path);
        world.files[inode].is_barred = world.files[old.inode].is_barred; // It has the mode of the old one.
        let mut new = world.open(self, &path, inode);
        new.name.clone_from(&old.name); // The name that it is to get.
        let done = world.done();
        drop(world); // A file that is closed asks for it.
        done.map(|()| new)
    }

    /// The same in each run.
    fn random(&mut self) -> u32 {
        let mut world = self.world();
        world.random += 1;
        world.random
    }

    fn point(&mut self, link: &Path, target: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.ask(Op::Point)?;
        world.pointers.insert(link.to_owned(), target.to_owned());
        world.done()
    }

    fn compress(&mut self, log: &FakeFile, what: Compression) -> io::Result<()> {
        let mut world = self.world();
        world.ask(Op::Compress)?;
        assert!(world.compressing.is_none(), "one at a time");
        world.compressing = Some((log.dir.clone(), what));
        Ok(())
    }

    /// Done as soon as it is asked for, by the steps of the real one.
    fn compressed(&mut self) -> Option<io::Result<bool>> {
        let mut world = self.world();
        let (dir, what) = world.compressing.take()?;
        match world.ask(Op::CompressRead).and_then(|()| world.found(&dir.join(&what.from))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Ok(true)),
            Err(error) => return Some(Err(error)),
            Ok(from) if world.files[from].is_barred => return Some(Err(io::ErrorKind::PermissionDenied.into())),
            Ok(from) => {
                if let Err(error) = world.compress(&dir, from, &what) {
                    let unfinished = dir.join(&what.unfinished);
                    if !world.planted.contains_key(&unfinished) {
                        let _ = world.unname(&unfinished); // It may never have been made.
                    }
                    let put_off =
                        [io::ErrorKind::Interrupted, io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
                    return Some(if put_off.contains(&error.kind()) { Ok(false) } else { Err(error) });
                }
            }
        }
        let removed = world.ask(Op::CompressRemove).and_then(|()| world.unname(&dir.join(&what.from)));
        Some(removed.and_then(|_| world.done().map(|()| true)))
    }
}

/// A directory of the fake disk.
pub(crate) struct FakeDir {
    disk: FakeDisk,
    path: PathBuf,
}

impl Dir for FakeDir {
    type File = FakeFile;

    fn path(&self) -> &Path {
        &self.path
    }

    fn link(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let mut world = self.disk.world();
        world.ask(Op::Link)?;
        if let Some(errno) = world.no_links {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let inode = world.found(&self.path.join(from))?;
        world.must_be_free(&self.path.join(to))?;
        world.name(&self.path.join(to), inode);
        world.done()
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let mut world = self.disk.world();
        world.ask(Op::Rename)?;
        world.rename(&self.path.join(from), &self.path.join(to))?;
        world.done()
    }

    fn rename_new(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let mut world = self.disk.world();
        world.ask(Op::RenameNew)?;
        world.must_be_free(&self.path.join(to))?;
        world.rename(&self.path.join(from), &self.path.join(to))?;
        world.done()
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        let mut world = self.disk.world();
        world.ask(Op::Remove)?;
        world.unname(&self.path.join(name))?;
        world.done()
    }

    fn names(&mut self, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
        let mut world = self.disk.world();
        world.ask(Op::List)?;
        let names =
            world.names.iter().filter(|(path, _)| path.parent() == Some(&self.path) && !world.unlisted.contains(*path));
        let names = names.map(|(path, _)| path.file_name().unwrap());
        Ok(names.filter(|name| wanted(name)).map(OsStr::to_owned).collect())
    }

    fn look(&mut self, log: &FakeFile, name: &OsStr) -> io::Result<Option<Entry>> {
        Ok(self.disk.world().entry(log, &self.path.join(name)))
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.disk.world();
        world.ask(Op::SyncDir)?;
        world.sync_dir(&self.path);
        world.done()
    }

    fn check_name(&mut self, name: &OsStr, file: &FakeFile) -> io::Result<PathState> {
        self.disk.world().check(&self.path.join(name), (file.inode, file.id))
    }
}

impl World {
    /// What stands at `path`, if it is the log's own.
    fn entry(&mut self, log: &FakeFile, path: &Path) -> Option<Entry> {
        self.looked_at += 1;
        let inode = *self.names.get(path)?;
        let owner = self.files[inode].owner;
        if owner != self.files[log.inode].owner && owner != 0 {
            return None;
        }
        let id = self.id(path, inode);
        let file = &self.files[inode];
        let modified = file.modified.unwrap_or_else(birth);
        let name = path.file_name()?.to_owned();
        Some(Entry { name, bytes: file.len(), modified, id: Some((0, id.into())), is_doubtful: false })
    }

    fn sync_dir(&mut self, dir: &Path) {
        self.synced_names.retain(|name, _| name.parent() != Some(dir));
        let names = self.names.iter().filter(|(name, _)| name.parent() == Some(dir));
        self.synced_names.extend(names.map(|(name, inode)| (name.clone(), *inode)));
    }

    /// Makes a file the compressed form of what it holds.
    pub(crate) fn make_compressed(&mut self, path: &str) {
        let inode = self.names[Path::new(path)];
        self.files.get_mut(inode).unwrap().compressed = true;
    }

    /// As `gzip.rs` does it, up to the removal of what was compressed.
    fn compress(&mut self, dir: &Path, from: usize, what: &Compression) -> io::Result<()> {
        let (unfinished, to_name) = (dir.join(&what.unfinished), dir.join(&what.to));
        if let Ok(there) = self.found(&to_name) {
            let same = self.files[there].compressed && self.files[there].bytes == self.files[from].bytes;
            return if same { Ok(()) } else { Err(io::ErrorKind::AlreadyExists.into()) };
        }
        self.ask(Op::CompressCreate)?;
        // A test may have put there what is half done.
        if !self.planted.contains_key(&unfinished) {
            let _ = self.unname(&unfinished);
        }
        self.must_be_free(&unfinished)?;
        let to = self.inode(&unfinished);
        self.done()?;
        self.ask(Op::CompressWrite)?;
        let FakeInode { bytes, modified, .. } = self.files[from].clone();
        self.files[to] = FakeInode { bytes, names: 1, modified, compressed: true, ..FakeInode::default() };
        if self.free() < what.leave {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.done()?;
        self.ask(Op::CompressSync)?;
        self.files[to].synced = self.files[to].bytes.len();
        self.done()?;
        self.ask(Op::CompressRename)?;
        self.must_be_free(&to_name)?;
        self.rename(&unfinished, &to_name)?;
        self.done()?;
        self.ask(Op::CompressSyncDir)?;
        self.sync_dir(dir);
        self.done()
    }
}

/// An open pipe or terminal of the fake disk.
pub(crate) struct FakeStream(FakeFile);

impl DiskStream for FakeStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(bytes.len() <= ATOMIC_WRITE, "{} bytes in one write", bytes.len());
        let (room, takes_parts) = {
            let world = self.0.disk.world();
            (world.room.unwrap_or(usize::MAX), world.takes_parts)
        };
        let most = if bytes.len() <= room || takes_parts { bytes.len().min(room) } else { 0 };
        if most == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.0.write(&bytes[..most])?;
        if let Some(room) = &mut self.0.disk.world().room {
            *room -= taken;
        }
        Ok(taken)
    }

    fn writable(&mut self, _at_most: Duration) -> bool {
        let world = self.0.disk.world();
        let least = if world.takes_parts { 1 } else { ATOMIC_WRITE };
        world.room.is_none_or(|room| room >= least)
    }

    fn unread(&mut self) -> Option<u64> {
        let world = self.0.disk.world();
        world.room.filter(|_| !world.takes_parts).map(|room| u64::MAX - room as u64)
    }
}

impl DiskFile for FakeFile {
    type Lock = FakeLock;

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.disk.world();
        world.writes.push(bytes.len());
        world.ask(Op::Write)?;
        let mut most = world.short.unwrap_or(usize::MAX);
        let number = world.asked.get(&Op::Write).copied();
        if let Some((_, short)) = world.short_once.filter(|(at, _)| Some(*at) == number) {
            most = short;
            world.faulted = true;
        }
        let file = &world.files[self.inode];
        let ahead = file.takes() - file.bytes.len() as u64;
        let free = usize::try_from(world.free().saturating_add(ahead)).unwrap_or(usize::MAX);
        let left = world.longest.map_or(u64::MAX, |longest| longest.saturating_sub(file.bytes.len() as u64));
        if left == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let taken = bytes.len().min(most).min(free).min(usize::try_from(left).unwrap_or(usize::MAX));
        if taken == 0 && free == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.remember_inside(self.inode, &bytes[..taken]);
        let (wall, is_reported) = (world.wall, world.reported.is_some());
        let file = &mut world.files[self.inode];
        file.modified = wall;
        file.bytes.extend_from_slice(&bytes[..taken]);
        if taken > 0 {
            file.misses_newline = bytes.get(taken) == Some(&b'\n');
        }
        if is_reported {
            // After an error the position stays.
            let before = file.bytes.len() - taken;
            let begin = file.bytes[..before].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let denied = file.bytes[begin..].to_vec();
            world.denied.push((self.inode, denied));
        } else {
            self.end = file.bytes.len() as u64;
        }
        let file = &world.files[self.inode];
        let torn = file.bytes.last().is_some_and(|byte| *byte != b'\n');
        world.torn += u64::from(torn);
        world.done().map(|()| taken)
    }

    fn pause(&mut self, _time: Duration) {
        let mut world = self.disk.world();
        if let Some(bytes) = world.written_between_looks.pop_front() {
            world.files[self.inode].bytes.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) -> io::Result<u64> {
        self.disk.world().ask(Op::End)?;
        Ok(self.end)
    }

    fn size(&mut self) -> io::Result<Size> {
        let mut world = self.disk.world();
        world.ask(Op::Len)?;
        let file = &world.files[self.inode];
        Ok(Size { len: file.bytes.len() as u64, allocated: file.takes() })
    }

    fn last_byte(&mut self) -> io::Result<Option<u8>> {
        let mut world = self.disk.world();
        world.ask(Op::LastByte)?;
        Ok(world.files[self.inode].bytes.last().copied())
    }

    fn holds(&mut self, at: u64, bytes: &[u8]) -> io::Result<bool> {
        let mut world = self.disk.world();
        world.ask(Op::LastByte)?;
        Ok(world.files[self.inode].bytes.get(at as usize..).is_some_and(|there| there.starts_with(bytes)))
    }

    fn announce(&mut self, _at_most: Duration) {
        let mut world = self.disk.world();
        if !world.refuses_announcing {
            world.files[self.inode].writers.insert(self.number);
        }
    }

    fn is_announced(&self) -> bool {
        self.disk.world().files[self.inode].writers.contains(&self.number)
    }

    fn cut(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        if let Err(error) = world.ask(Op::Cut) {
            let empties = world.refused_cuts_empty;
            let file = &mut world.files[self.inode];
            if empties && file.bytes.len() as u64 == from {
                let block = (to / 4096 + 1) * 4096;
                file.bytes[to as usize..from.min(block) as usize].fill(0);
            }
            return Err(error);
        }
        world.come_before_cut(self.inode, &self.dir.join(&self.name));
        let is_touched = world.is_touched;
        let file = &mut world.files[self.inode];
        if is_touched || file.writers.iter().any(|number| *number != self.number) || file.bytes.len() as u64 != from {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        assert!(to <= from, "a cut never makes a file longer");
        file.bytes.truncate(to as usize);
        (file.reserved, file.synced, file.misses_newline) = (0..0, file.synced.min(to as usize), false);
        world.done()
    }

    fn free_space(&mut self) -> io::Result<FreeSpace> {
        let mut world = self.disk.world();
        world.ask(Op::FreeSpace)?;
        let total = world.capacity.unwrap_or(0);
        let mut free = world.free();
        if world.accounts_late {
            world.shown_used = world.shown_used.max(world.used());
            free = free.min(total.saturating_sub(world.shown_used));
        }
        Ok(FreeSpace { total, free, block: 4096 })
    }

    fn commit_freed(&mut self) -> io::Result<bool> {
        let mut world = self.disk.world();
        if !world.accounts_late {
            return Ok(false);
        }
        world.ask(Op::Commit)?;
        world.shown_used = world.used();
        world.done().map(|()| true)
    }

    fn lock(&mut self) -> io::Result<bool> {
        if !self.holds_lock() {
            self.lock = None;
        }
        let mut world = self.disk.world();
        world.ask(Op::Lock)?;
        if let Some((path, aside)) = world.renamed_at_lock.take() {
            world.rename(&path, &aside)?;
            world.inode(&path);
        }
        let is_free = world.free_locks > 0 || !world.locked_by_other;
        world.was_locked |= !is_free;
        world.free_locks = world.free_locks.saturating_sub(1);
        let path = self.dir.join(&self.name);
        if self.lock.is_none() && is_free && !world.locks.contains_key(&path) {
            world.locks.insert(path.clone(), self.number);
            self.lock = Some(FakeLock { disk: self.disk.clone(), path, number: self.number });
        }
        world.done().map(|()| self.lock.is_some())
    }

    fn holds_lock(&mut self) -> bool {
        let world = self.disk.world();
        self.lock.as_ref().is_some_and(|lock| world.locks.get(&lock.path) == Some(&lock.number))
    }

    fn unlock(&mut self) {
        self.lock = None;
    }

    fn take_lock(&mut self) -> Option<FakeLock> {
        self.lock.take()
    }

    fn accept_lock(&mut self, lock: FakeLock) {
        if lock.path == self.dir.join(&self.name) {
            self.lock = Some(lock);
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.disk.world();
        world.ask(Op::Sync)?;
        let file = &mut world.files[self.inode];
        file.synced = file.bytes.len();
        world.done()
    }

    fn check_path(&mut self, path: &Path) -> io::Result<PathState> {
        self.disk.world().check(path, (self.inode, self.id))
    }

    fn modified(&mut self) -> io::Result<SystemTime> {
        let mut world = self.disk.world();
        world.ask(Op::Modified)?;
        Ok(world.files[self.inode].modified.unwrap_or_else(birth))
    }

    fn id(&mut self) -> Option<FileId> {
        self.disk.world().ask(Op::Id).ok()?;
        Some((0, self.id.into()))
    }

    fn can_preallocate(&self) -> bool {
        let mut world = self.disk.world();
        world.ask(Op::CanReserve).is_ok() && world.reserves
    }

    fn preallocate(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.ask(Op::Preallocate)?;
        // Somebody else may have written since it was seen where the end is.
        let file = &world.files[self.inode];
        let before = &file.reserved;
        let reserved = if before.is_empty() { from..to } else { from.min(before.start)..to.max(before.end) };
        if from > to || world.free() < file.takes_with(&reserved) - file.takes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.files[self.inode].reserved = reserved;
        world.done()
    }
}
