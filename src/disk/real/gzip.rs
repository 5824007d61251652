//! Compressing an archive: on a thread of its own with low priority, one at a time. The archive
//! stays until its compressed form is whole and on the disk, under its final name; whatever ends
//! the thread before leaves an unfinished file that the next start removes, or both forms, of which
//! it removes the plain one. No compressed form is ever replaced.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::os::{lower_priority, others_write, set_up_own_thread};

use super::RealFile;
use crate::disk::system::{self, Access};
use crate::disk::{Compression, Dir as _, DiskFile, PathState, RealDir};

/// Before each piece of this size it is asked whether there is room for it, and whether to go on.
const PIECE: usize = 64 << 10;

/// A compression that is under way. Dropping it cancels it, and does not wait.
#[derive(Debug)]
pub(super) struct Job {
    thread: JoinHandle<io::Result<bool>>,
    _cancel: CancelOnDrop,
}

#[derive(Debug)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Starts the thread. `log`: the rights of the log whose archive is compressed.
pub(super) fn start(mut dir: RealDir, log: Access, what: Compression) -> io::Result<Job> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let is_cancelled = cancelled.clone();
    #[cfg(all(test, target_os = "linux", not(loom)))]
    let hand = system::between::inherit();
    let thread = thread::Builder::new().name("unfazed-gzip".into()).spawn(move || {
        set_up_own_thread();
        lower_priority();
        #[cfg(all(test, target_os = "linux", not(loom)))]
        hand.set();
        compress(&mut dir, &log, &what, &is_cancelled)
    })?;
    Ok(Job { thread, _cancel: CancelOnDrop(cancelled) })
}

impl Job {
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub(super) fn result(self) -> io::Result<bool> {
        // A panic is a defect of this crate.
        self.thread.join().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

/// Returns true if it is done; false if there was no room, or if it was cancelled.
///
/// # Errors
///
/// `Interrupted`: the archive has another name, is somebody else's by now, or another process still
/// writes to it.
fn compress(dir: &mut RealDir, log: &Access, what: &Compression, cancelled: &AtomicBool) -> io::Result<bool> {
    let mut from = match dir.open_ours(&what.from, log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    if others_write(&from.file) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    if dir.exists(&what.to) {
        return finish(dir, log, what, from, cancelled);
    }
    let source = from.file.metadata()?;
    let to = dir.create_private(&what.unfinished)?;
    match write(dir, log, what, &mut from, to, &source, cancelled) {
        Ok(()) => remove_plain(dir, what),
        Err(error) => {
            let _ = dir.remove(&what.unfinished); // The next start finds it.
            match error.kind() {
                // It was deleted meanwhile, by our own limits or by others: there is nothing to be
                // done.
                io::ErrorKind::NotFound | io::ErrorKind::Interrupted if !dir.exists(&what.from) => Ok(true),
                io::ErrorKind::Interrupted if others_write(&from.file) => Err(error),
                io::ErrorKind::Interrupted | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Ok(false),
                _ => Err(error),
            }
        }
    }
}

/// Removes what is compressed now; our own limits may have deleted it a moment before.
fn remove_plain(dir: &mut RealDir, what: &Compression) -> io::Result<bool> {
    match dir.remove(&what.from) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

/// Writes the compressed form, and gives it its name when it is whole.
fn write(
    dir: &mut RealDir,
    log: &Access,
    what: &Compression,
    from: &mut RealFile,
    to: RealFile,
    source: &std::fs::Metadata,
    cancelled: &AtomicBool,
) -> io::Result<()> {
    let mut encoder = GzEncoder::new(Guarded { to, leave: what.leave, cancelled }, flate2::Compression::default());
    let mut read = 0;
    let mut piece = vec![0; PIECE];
    loop {
        match from.file.read(&mut piece)? {
            0 => break,
            bytes => {
                read += bytes as u64;
                encoder.write_all(&piece[..bytes])?;
            }
        }
    }
    let to = encoder.finish()?.to;
    to.file.set_modified(source.modified()?)?;
    to.be_readable_as(&Access::of(&from.file)?, log)?;
    system::sync(&to.file, File::sync_all)?;
    // Nobody has written to the archive, or taken away what belongs to us, while we were at it. A
    // process that shares the lock may not have seen the rotation yet, and write; who gives it up
    // has written, so its length is asked for afterwards.
    let unchanged = !others_write(&from.file)
        && from.file.metadata()?.len() == read
        && dir.check_name(&what.from, from)? == PathState::Same
        && dir.check_name(&what.unfinished, &to)? == PathState::Same
        && !cancelled.load(Relaxed);
    if !unchanged {
        return Err(io::ErrorKind::Interrupted.into());
    }
    dir.rename_new(&what.unfinished, &what.to)?;
    dir.sync()
}

/// Finishes where a compressed form exists. If it is this archive's, only the plain form has to be
/// removed. If it is anything else, both stay.
fn finish(
    dir: &mut RealDir,
    log: &Access,
    what: &Compression,
    from: RealFile,
    cancelled: &AtomicBool,
) -> io::Result<bool> {
    let there = dir.open_ours(&what.to, log).map_err(|_| io::ErrorKind::AlreadyExists)?;
    let mut unpacked = MultiGzDecoder::new(system::held(&there.file)?);
    let mut plain = system::held(&from.file)?;
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    let mut compared = 0;
    loop {
        if cancelled.load(Relaxed) {
            return Ok(false);
        }
        let got = plain.read(&mut one)?;
        let same = match got {
            0 => unpacked.read(&mut other).is_ok_and(|more| more == 0),
            _ => unpacked.read_exact(&mut other[..got]).is_ok() && one[..got] == other[..got],
        };
        if !same {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        compared += got as u64;
        if got == 0 {
            let unchanged = !others_write(&from.file) && from.file.metadata()?.len() == compared;
            return if unchanged { remove_plain(dir, what) } else { Err(io::ErrorKind::Interrupted.into()) };
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
        // Where it cannot be asked, the write itself shows it.
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;

    use super::*;
    use crate::disk::{Disk, Opened, RealDisk, Rights};
    #[cfg(any(windows, all(target_os = "linux", target_pointer_width = "64")))]
    use crate::os::{Writers, set_writers};

    #[cfg(any(windows, all(target_os = "linux", target_pointer_width = "64")))]
    fn compressed(disk: &mut RealDisk, log: &RealFile) -> io::Result<bool> {
        let [from, unfinished, to] = ["archive", "unfinished", "archive.gz"].map(Into::into);
        disk.compress(log, Compression { from, unfinished, to, leave: 0 }).unwrap();
        loop {
            match disk.compressed() {
                Some(result) => return result,
                None => thread::yield_now(),
            }
        }
    }

    /// Another process looks at the path every 100 ms, and writes to an archive until then: what it
    /// wrote after the archive was read went away with it.
    #[cfg(any(windows, all(target_os = "linux", target_pointer_width = "64")))]
    #[test]
    fn an_archive_to_which_another_process_may_write_stays_plain() {
        let dir = tempfile::tempdir().unwrap();
        let there = |name: &str| dir.path().join(name);
        let mut disk = RealDisk::new(Rights::default(), |_: &OsStr, _: &OsStr| true);
        let Opened::File(log) = disk.open(&there("app.log")).unwrap() else { panic!("it is a file") };
        fs::write(there("archive"), "a line\n").unwrap();
        let writer = File::options().read(true).append(true).open(there("archive")).unwrap();
        set_writers(&writer, Writers::Shared).unwrap();
        // Before it is compressed, and where a kill has left both forms.
        for both in [false, true] {
            if both {
                let mut encoder = GzEncoder::new(File::create(there("archive.gz")).unwrap(), Default::default());
                encoder.write_all(b"a line\n").unwrap();
                encoder.finish().unwrap();
            }
            let result = compressed(&mut disk, &log);
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Interrupted);
            assert_eq!((there("archive").exists(), there("archive.gz").exists()), (true, both));
            assert!(!there("unfinished").exists());
        }
        // It ends the lock, and on Windows a deletion waits for it.
        drop(writer);
        assert!(compressed(&mut disk, &log).unwrap());
        assert!(!there("archive").exists() && there("archive.gz").exists());
    }

    /// It was taken for a disk without room, and no archive was compressed for a minute.
    #[test]
    fn an_archive_that_is_deleted_while_it_is_compressed_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let there = |name: &str| dir.path().join(name);
        let mut disk = RealDisk::new(Rights::default(), |_: &OsStr, _: &OsStr| true);
        let Opened::File(log) = disk.open(&there("app.log")).unwrap() else { panic!("it is a file") };
        // Long enough for a deletion while it is read.
        File::create(there("archive")).unwrap().set_len(64 << 20).unwrap();
        let [from, unfinished, to] = ["archive", "unfinished", "archive.gz"].map(Into::into);
        disk.compress(&log, Compression { from, unfinished, to, leave: 0 }).unwrap();
        while !there("unfinished").exists() && there("archive").exists() {
            thread::yield_now();
        }
        let _ = fs::remove_file(there("archive")); // A machine that stood still may have compressed it.
        let result = loop {
            match disk.compressed() {
                Some(result) => break result,
                None => thread::yield_now(),
            }
        };
        assert!(matches!(result, Ok(true)), "{result:?}");
        assert!(!there("unfinished").exists());
    }
}
