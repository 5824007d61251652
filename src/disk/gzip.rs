//! Compressing an archive: on a thread of its own with low priority, one at a time. The archive stays until its compressed form is whole
//! and on the disk, under its final name; whatever ends the thread before leaves an unfinished file that the next start removes, or both
//! forms, of which it removes the plain one. No compressed form is ever replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

#[cfg(unix)]
use crate::os::CloseInChild;
use crate::os::{block_signals, lower_priority};

use super::{Compression, DiskFile, Kind, RealFile, entries};

/// Before each piece of this size it is asked whether there is room for it, and whether to go on.
const PIECE: usize = 64 << 10;

/// What is under way. Dropped, it is broken off, and nobody waits for that.
#[derive(Debug)]
pub(super) struct Job {
    cancelled: Arc<AtomicBool>,
    done: Receiver<io::Result<bool>>,
}

pub(super) fn start(what: Compression) -> io::Result<Job> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let (tell, done) = mpsc::channel();
    let told = cancelled.clone();
    thread::Builder::new().name("unfazed-gzip".into()).spawn(move || {
        block_signals();
        lower_priority();
        // Nobody may be left to hear it.
        let _ = tell.send(compress(&what, &told));
    })?;
    Ok(Job { cancelled, done })
}

impl Job {
    pub(super) fn result(&self) -> Option<io::Result<bool>> {
        match self.done.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.cancelled.store(true, Relaxed);
    }
}

/// Says whether it is done; if not, there was no room, or it was broken off.
fn compress(what: &Compression, cancelled: &AtomicBool) -> io::Result<bool> {
    let mut from = match open(&what.from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    #[cfg(unix)]
    let _in_child = CloseInChild::new(std::os::fd::AsRawFd::as_raw_fd(&from));
    if fs::symlink_metadata(&what.to).is_ok() {
        return finish(what, &mut from, cancelled);
    }
    let source = from.metadata()?;
    let unfinished = create(&what.unfinished)?;
    let result = unfinished.set_permissions(source.permissions()).and_then(|()| {
        let to = RealFile::new(unfinished, Kind::Regular, true, &what.unfinished);
        let mut encoder = GzEncoder::new(Guarded { to, leave: what.leave, cancelled }, flate2::Compression::default());
        let mut read = 0;
        let mut piece = vec![0; PIECE];
        loop {
            match from.read(&mut piece)? {
                0 => break,
                bytes => {
                    read += bytes as u64;
                    encoder.write_all(&piece[..bytes])?;
                }
            }
        }
        let to = encoder.finish()?.to;
        to.file.set_modified(source.modified()?)?;
        to.file.sync_all()?;
        // Nobody has written to the archive, or taken away what belongs to us, while we were at it.
        let same = |path: &Path, file: &File| {
            let there = fs::symlink_metadata(path)?;
            Ok::<_, io::Error>(entries::id(&there) == entries::id(&file.metadata()?))
        };
        let unchanged = from.metadata()?.len() == read
            && same(&what.from, &from)?
            && same(&what.unfinished, &to.file)?
            && !cancelled.load(Relaxed);
        if !unchanged {
            return Err(io::ErrorKind::Interrupted.into());
        }
        entries::rename_new(&what.unfinished, &what.to)?;
        entries::sync_dir(what.to.parent().unwrap_or(Path::new(".")))
    });
    match result {
        Ok(()) => fs::remove_file(&what.from).map(|()| true),
        Err(error) => {
            let _ = fs::remove_file(&what.unfinished); // The next start finds it.
            match error.kind() {
                // It was deleted meanwhile, by our own limits or by others: there is nothing to be done.
                io::ErrorKind::NotFound if fs::symlink_metadata(&what.from).is_err() => Ok(true),
                io::ErrorKind::Interrupted | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Ok(false),
                _ => Err(error),
            }
        }
    }
}

/// There is a compressed form: if it is this archive's, only the plain one's removal is missing. Whatever else it is, it stays, and so does
/// the archive.
fn finish(what: &Compression, from: &mut File, cancelled: &AtomicBool) -> io::Result<bool> {
    let there = open(&what.to)?;
    #[cfg(unix)]
    let _in_child = CloseInChild::new(std::os::fd::AsRawFd::as_raw_fd(&there));
    let mut unpacked = MultiGzDecoder::new(there);
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        if cancelled.load(Relaxed) {
            return Ok(false);
        }
        let got = from.read(&mut one)?;
        let same = match got {
            0 => unpacked.read(&mut other).is_ok_and(|more| more == 0),
            _ => unpacked.read_exact(&mut other[..got]).is_ok() && one[..got] == other[..got],
        };
        if !same {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if got == 0 {
            return fs::remove_file(&what.from).map(|()| true);
        }
    }
}

/// Writes only while there is room for it.
struct Guarded<'a> {
    to: RealFile,
    leave: u64,
    cancelled: &'a AtomicBool,
}

impl Write for Guarded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancelled.load(Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let bytes = &bytes[..bytes.len().min(PIECE)];
        // Where it cannot be asked, the write itself tells.
        let is_short = self.to.free_space().is_ok_and(|space| {
            let needed = self.leave.saturating_add(bytes.len() as u64).saturating_add(2 * space.block);
            space.total > 0 && space.free < needed
        });
        if is_short {
            return Err(io::ErrorKind::StorageFull.into());
        }
        DiskFile::write(&mut self.to, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    }
    options.open(path)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        options.mode(0o600); // Until it has the archive's own permissions.
    }
    let create = || options.open(path);
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        other => other,
    }
}
