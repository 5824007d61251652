//! The system itself, as a file sink uses it: what is the same on Unix and on Windows. Runs on the
//! writer's thread.

#[cfg(feature = "gzip")]
mod gzip;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Seek as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::system::{self, Held, KnownWay, Lock};
use super::{
    Compression, Disk, DiskFile, FileId, FreeSpace, Opened, PathState, RealDir, RealStream, Rights, Size, Stream,
};
use crate::os::{Writers, set_writers};

/// A file that loses its name while it is opened is opened again; this is the most in all.
const MOST_OPENINGS: usize = 3;
/// While another process cuts the file, its lock is asked for with this pause.
const TRY_PAUSE: Duration = Duration::from_millis(1);
/// A lock that fails for another reason may fail only once, so it is asked for again for this long.
const FAILURE_AT_MOST: Duration = Duration::from_millis(20);

/// The system itself.
#[derive(Debug)]
pub(crate) struct RealDisk {
    rights: Rights,
    /// Says whether the second name can be that of an archive of the first one.
    is_archive: fn(&OsStr, &OsStr) -> bool,
    /// The way to the log, and to the link that leads to it.
    known: KnownWay,
    known_of_link: KnownWay,
    #[cfg(feature = "gzip")]
    job: Option<gzip::Job>,
}

/// A file of the system.
#[derive(Debug)]
pub(crate) struct RealFile {
    pub(super) file: Held,
    readable: bool,
    pub(super) place: Option<(RealDir, OsString)>,
    lock: Option<Lock>,
    /// The other processes that write to it know of this one.
    announced: bool,
    /// Why it could not be given to whom it is to belong, not reported yet.
    pub(super) not_given: Option<io::Error>,
}

/// Returns a number that nobody can predict.
pub(super) fn random() -> u32 {
    // The keys of a hash map: from the system, once for each thread, and other ones each time.
    RandomState::new().build_hasher().finish() as u32
}

impl Disk for RealDisk {
    type File = RealFile;
    type Stream = RealStream;
    type Dir = RealDir;

    fn open(&mut self, path: &Path) -> io::Result<Opened<RealFile, RealStream>> {
        let mut openings = 1;
        loop {
            match self.open_once(path) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted && openings < MOST_OPENINGS => openings += 1,
                other => return other,
            }
        }
    }

    /// A regular file keeps the description of the program's own output, which goes to the same
    /// place in it. A stream is opened again where that is possible, which makes a description that
    /// never waits: a terminal whose reader stopped says that it can be written and then keeps the
    /// write. The program's own descriptor stays as it is. A stream of another user cannot be
    /// opened that way, and a socket not at all.
    fn stream(&mut self, stream: Stream) -> io::Result<Opened<RealFile, RealStream>> {
        let file = system::duplicate(stream)?;
        if system::is_regular(&file)? {
            return Ok(Opened::File(RealFile::new(file, false, None)));
        }
        Ok(Opened::Stream(match system::open_again(stream) {
            Some(own) => RealStream::own(own),
            None => RealStream::shared(file),
        }))
    }

    fn make_dir(&mut self, path: &Path) -> io::Result<()> {
        RealDir::make(path, &self.known).map(|dir| self.known.add(dir.known()))
    }

    fn place(&self, file: &RealFile) -> Option<(RealDir, OsString)> {
        file.place.clone()
    }

    fn create(&mut self, old: &RealFile, name: &OsStr) -> io::Result<RealFile> {
        let (dir, active) = old.place.clone().ok_or(io::ErrorKind::Unsupported)?;
        let mut new = dir.create_next(name, old, self.rights)?;
        new.place = Some((dir, active)); // The name that it is to get.
        Ok(new)
    }

    fn random(&mut self) -> u32 {
        random()
    }

    fn point(&mut self, link: &Path, target: &Path) -> io::Result<()> {
        let random = self.random();
        system::point(link, target, random, &mut self.known_of_link)
    }

    #[cfg(feature = "gzip")]
    fn compress(&mut self, log: &RealFile, what: Compression) -> io::Result<()> {
        let (dir, _) = log.place.clone().ok_or(io::ErrorKind::Unsupported)?;
        self.job = Some(gzip::start(dir, system::Access::of(&log.file)?, what)?);
        Ok(())
    }

    #[cfg(feature = "gzip")]
    fn compressed(&mut self) -> Option<io::Result<bool>> {
        Some(self.job.take_if(|job| job.is_finished())?.result())
    }

    #[cfg(not(feature = "gzip"))]
    fn compress(&mut self, _log: &RealFile, _what: Compression) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(feature = "gzip"))]
    fn compressed(&mut self) -> Option<io::Result<bool>> {
        None
    }
}

impl RealDisk {
    fn open_once(&mut self, path: &Path) -> io::Result<Opened<RealFile, RealStream>> {
        let (dir, name) = RealDir::locate(path, &self.known)?;
        let opened = dir.open_log(&name, self.rights, &|other| (self.is_archive)(&name, other))?;
        self.known = dir.known().clone();
        Ok(opened)
    }

    /// `is_archive`: whether the second name can be that of an archive of the first one.
    pub(crate) fn new(rights: Rights, is_archive: fn(&OsStr, &OsStr) -> bool) -> Self {
        Self {
            rights,
            is_archive,
            known: KnownWay::default(),
            known_of_link: KnownWay::default(),
            #[cfg(feature = "gzip")]
            job: None,
        }
    }
}

impl RealFile {
    /// Holds a file that is in this directory under this name.
    pub(super) fn in_dir(dir: &RealDir, name: &OsStr, file: impl Into<File>, readable: bool) -> Self {
        Self::new(file.into(), readable, Some((dir.clone(), name.to_owned())))
    }

    fn new(file: File, readable: bool, place: Option<(RealDir, OsString)>) -> Self {
        // Without a place, it is what a stream of the program leads to.
        let hold = if place.is_some() { system::hold } else { system::hold_copy };
        Self { file: hold(file), readable, place, lock: None, announced: false, not_given: None }
    }

    /// Cuts the file while no other process of ours writes to it.
    fn cut_alone(&mut self, from: u64, to: u64) -> io::Result<()> {
        if self.len()? != from {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        system::before_cut();
        keeping_time(system::held(&self.file)?, |file| file.set_len(to))
    }

    /// Returns for how long a lock that was not to be had may still come.
    fn patience_with(&self, error: &io::Error) -> Duration {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Duration::MAX,
            io::ErrorKind::Unsupported => Duration::ZERO,
            // A process that may not read the file never gets the lock.
            _ if self.readable => FAILURE_AT_MOST,
            _ => Duration::ZERO,
        }
    }

    fn set_writers(&self, how: Writers) -> io::Result<()> {
        set_writers(system::held(&self.file)?, how)
    }

    /// Shares the file with others again, after a cut.
    fn share_again(&mut self) {
        let how = if self.announced { Writers::Shared } else { Writers::Left };
        // A failure may not repeat. If it does, the lock is given back: nobody waits for it.
        let is_so = self.set_writers(how).or_else(|_| self.set_writers(how)).is_ok();
        if !is_so {
            let _ = self.set_writers(Writers::Left);
        }
        self.announced &= is_so;
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        // A child of this process may have a copy of the descriptor until it executes another
        // program.
        if self.announced {
            let _ = self.set_writers(Writers::Left); // Closing it does the same.
        }
    }
}

/// Changes the file and restores its time: blocks beyond the end come and go without a record, and
/// the time of the last record names the archive. Only the file's owner may set it; for others it
/// changes.
fn keeping_time(file: &File, change: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let before = file.metadata().and_then(|metadata| metadata.modified());
    let changed = change(file);
    if let Ok(before) = before {
        let _ = file.set_modified(before);
    }
    changed
}

impl DiskFile for RealFile {
    type Lock = Lock;

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        system::append(self, bytes)
    }

    fn not_given(&mut self) -> Option<io::Error> {
        self.not_given.take()
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn end(&mut self) -> io::Result<u64> {
        self.file.stream_position()
    }

    fn size(&mut self) -> io::Result<Size> {
        system::size(&self.file)
    }

    fn last_byte(&mut self) -> io::Result<Option<u8>> {
        let Some(last) = self.len()?.checked_sub(1).filter(|_| self.readable) else { return Ok(None) };
        let mut byte = [0];
        Ok((system::read_at(&self.file, &mut byte, last)? == 1).then_some(byte[0]))
    }

    fn holds(&mut self, at: u64, bytes: &[u8]) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let (mut at, mut rest) = (at, bytes);
        while self.readable && !rest.is_empty() {
            let most = rest.len().min(buffer.len());
            let got = system::read_at(&self.file, &mut buffer[..most], at)?;
            if got == 0 || buffer[..got] != rest[..got] {
                return Ok(false);
            }
            (at, rest) = (at + got as u64, &rest[got..]);
        }
        Ok(self.readable)
    }

    fn announce(&mut self, at_most: Duration) {
        let start = Instant::now();
        self.announced = loop {
            match self.set_writers(Writers::Shared) {
                Ok(()) => break true,
                Err(error) if start.elapsed() < at_most.min(self.patience_with(&error)) => self.pause(TRY_PAUSE),
                Err(_) => break false,
            }
        };
    }

    fn is_announced(&self) -> bool {
        self.announced
    }

    fn cut(&mut self, from: u64, to: u64) -> io::Result<()> {
        match self.set_writers(Writers::Alone) {
            // There are no such locks, and nobody knows of the others.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.cut_alone(from, to),
            // Another process writes, or may.
            Err(_) => {
                self.share_again();
                Err(io::ErrorKind::WouldBlock.into())
            }
            Ok(()) => {
                let result = self.cut_alone(from, to);
                self.share_again();
                result
            }
        }
    }

    fn free_space(&mut self) -> io::Result<FreeSpace> {
        system::free_space(self)
    }

    fn commit_freed(&mut self) -> io::Result<bool> {
        system::commit_freed(&self.file)
    }

    fn lock(&mut self) -> io::Result<bool> {
        if !self.holds_lock() {
            self.unlock();
            let (dir, name) = self.place.as_ref().ok_or(io::ErrorKind::Unsupported)?;
            self.lock = dir.lock(name, system::held(&self.file)?)?;
        }
        Ok(self.lock.is_some())
    }

    fn holds_lock(&mut self) -> bool {
        self.lock.as_ref().is_some_and(Lock::is_held)
    }

    fn unlock(&mut self) {
        if let Some(lock) = self.lock.take() {
            // Whatever the program has put at its number, another file's lock stays.
            let _ = system::held(&self.file).map(|file| lock.release(file));
        }
    }

    fn take_lock(&mut self) -> Option<Lock> {
        let (dir, name) = self.place.as_ref()?;
        if self.lock.as_ref().is_some_and(|lock| lock.is_of(dir, name)) {
            return self.lock.take();
        }
        self.unlock();
        None
    }

    fn accept_lock(&mut self, lock: Lock) {
        if self.place.as_ref().is_some_and(|(dir, name)| lock.is_of(dir, name)) {
            self.lock = Some(lock);
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        system::sync(system::held(&self.file)?, File::sync_data)
    }

    fn modified(&mut self) -> io::Result<SystemTime> {
        self.file.metadata()?.modified()
    }

    fn id(&mut self) -> Option<FileId> {
        system::id(&self.file)
    }

    fn can_preallocate(&self) -> bool {
        system::preallocate::is_known_to_work(&self.file)
    }

    fn preallocate(&mut self, from: u64, to: u64) -> io::Result<()> {
        keeping_time(system::held(&self.file)?, |file| system::preallocate::take(file, from, to))
    }

    fn check_path(&mut self, path: &Path) -> io::Result<PathState> {
        match &self.place {
            // The file at the path is continued.
            Some(_) if system::held(&self.file).is_err() => Ok(PathState::Moved),
            Some((dir, name)) => dir.check_path(name, self, path),
            None => Ok(PathState::Same),
        }
    }
}

/// Where the processes that write to one file know of each other.
#[cfg(all(test, any(windows, all(target_os = "linux", target_pointer_width = "64")), not(loom)))]
mod tests {
    use std::fs;

    use super::*;

    /// As another process would open it.
    fn open(path: &Path) -> io::Result<RealFile> {
        match RealDisk::new(Rights::default(), |_, _| false).open(path)? {
            Opened::File(file) => Ok(file),
            Opened::Stream(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    #[test]
    fn a_file_is_cut_only_while_nobody_else_writes_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let (mut one, mut other) = (open(&path).unwrap(), open(&path).unwrap());
        one.announce(Duration::from_secs(10));
        assert_eq!(one.write(b"whole\nhalf").unwrap(), 10);
        other.announce(Duration::from_secs(10));
        assert_eq!(one.cut(10, 6).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(fs::read(&path).unwrap(), b"whole\nhalf");
        assert_eq!(other.write(b"\nother\n").unwrap(), 7);
        drop(other);
        assert_eq!(one.cut(10, 6).unwrap_err().kind(), io::ErrorKind::WouldBlock, "it is longer by then");
        assert_eq!(fs::read(&path).unwrap(), b"whole\nhalf\nother\n");
        one.cut(17, 11).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole\nhalf\n");
        // It still writes, so nobody else may cut.
        assert_eq!(open(&path).unwrap().cut(11, 6).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// The program's file was synced, and the lines of the log counted as synced.
    #[cfg(unix)]
    #[test]
    fn a_file_whose_number_the_program_uses_is_not_synced() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(&dir.path().join("app.log")).unwrap();
        log.write(b"line\n").unwrap();
        log.sync().unwrap();
        let programs = tempfile::tempfile().unwrap();
        let mut number = std::os::fd::OwnedFd::from(std::mem::replace(&mut *log.file, programs.try_clone().unwrap()));
        rustix::io::dup2(&programs, &mut number).unwrap();
        *log.file = number.into();
        assert_eq!(log.sync().unwrap_err().raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
    }

    #[cfg(unix)]
    #[test]
    fn what_somebody_writes_who_comes_while_a_file_is_cut_is_not_cut_off() {
        use std::sync::{Arc, Mutex, mpsc};

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let mut one = open(&path).unwrap();
        one.announce(Duration::from_secs(10));
        assert_eq!(one.write(b"whole\nhalf").unwrap(), 10);
        let (wrote, written) = mpsc::channel();
        let comes = {
            let path = path.clone();
            move || {
                let mut other = open(&path).unwrap();
                other.announce(Duration::from_secs(10));
                assert_eq!(other.write(b"other\n").unwrap(), 6);
                let _ = wrote.send(()); // Perhaps nobody waits any more.
            }
        };
        let (thread, mut comes) = (Arc::new(Mutex::new(None)), Some(comes));
        let started = thread.clone();
        system::between::set(Some(Arc::new(Mutex::new(move || {
            if let Some(comes) = comes.take() {
                *started.lock().unwrap() = Some(std::thread::spawn(comes));
                // Long enough for whoever does not wait until it is cut.
                let _ = written.recv_timeout(Duration::from_millis(200));
            }
        }))));
        let result = one.cut(10, 6);
        system::between::set(None);
        result.unwrap();
        thread.lock().unwrap().take().expect("somebody comes").join().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole\nother\n");
    }
}
