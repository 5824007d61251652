//! One row: what a log is like on a file system.

use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::Level;
use unfazed::{Builder, Cause, Fsync, Handle, KIB, LogFile, Logger, MIB, Overflow, Rotation, State};

use crate::harness::{Text, archives, log_files, say};
use crate::support::account::assert_identity;
use crate::support::child::wait_until;
use crate::support::place::free;

/// Some file systems show freed space only after half a minute.
const PATIENCE: Duration = Duration::from_secs(60);
const RESERVE: u64 = 2 * MIB;

/// Measures a row in an empty file system of at least 16 MiB. `lose` takes it away without warning,
/// and says where what is left of it can be seen.
pub(crate) fn probe(
    point: &Path,
    lose: impl FnOnce() -> Result<(PathBuf, &'static str), String>,
) -> Result<String, String> {
    // The one with a quota has a place for the log.
    let at = |point: &Path| [point.join("logs"), point.to_owned()].into_iter().find(|dir| dir.is_dir()).unwrap();
    let dir = at(point);
    for name in ["rotation", "reserve", "low", "errors", "synced", "plain"] {
        fs::create_dir(dir.join(name)).map_err(|error| format!("no directory: {error}"))?;
    }
    let rotation = rotation(&dir.join("rotation"));
    let reserve = reserve(&dir.join("reserve"));
    let after_low = after_low_space(&dir.join("low"));
    let (errors, after_full, torn) = errors(&dir.join("errors"));
    let written = written(&dir, lose, at);
    Ok(format!(
        "reserve {reserve} | ERROR reserve {errors} | rotation {rotation} | resumed {after_low} after low space, \
         {after_full:.1?} after a full disk | torn tails {torn} | written: {written}"
    ))
}

fn log_in(dir: &Path, options: impl FnOnce(LogFile) -> LogFile) -> (Logger, Handle) {
    let file = options(LogFile::new(dir.join("app.log")).min_free_space(0));
    Builder::new().file(file).overflow(Overflow::Block).build().unwrap()
}

/// What a log is like when its logger has ended.
struct Ended {
    /// Torn lines that stand alone.
    torn: usize,
    /// Records that were written, as the file system said, and are not in a file.
    lost: u64,
}

/// Ends the logger. Every record is in the files at most once, and in order, and no line is glued
/// to another.
fn end(dir: &Path, logger: Logger, handle: &Handle, said: u64) -> Ended {
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    drop(logger);
    let stats = handle.stats();
    assert_identity(&stats);
    let text = Text::of(&log_files(dir));
    let numbers = text.records.get(&0).map_or(&[][..], Vec::as_slice);
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert_eq!(stats.accepted, said);
    let lost = stats.written.checked_sub(numbers.len() as u64).expect("nothing more than was written");
    Ended { torn: text.fragments.len(), lost }
}

/// The same where all that was written is in a file.
fn end_whole(dir: &Path, logger: Logger, handle: &Handle, said: u64) {
    let Ended { torn, lost } = end(dir, logger, handle, said);
    assert_eq!((torn, lost), (0, 0));
}

fn rotation(dir: &Path) -> String {
    let (logger, handle) = log_in(dir, |file| file.rotation(Rotation::size(4 * KIB)));
    for n in 0..300 {
        say(&logger, 0, n);
    }
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    let failures = handle.stats().outputs[0].failures;
    end_whole(dir, logger, &handle, 300);
    let (one, two) = (dir.join("one"), dir.join("two"));
    File::create(&one).unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let how = match fs::hard_link(&one, &two) {
        Err(error) => format!("rename (no hard links: {})", error.kind()),
        Ok(()) if inode(&one) == inode(&two) => "hard link".to_owned(),
        Ok(()) => "rename (each name has its own inode number)".to_owned(),
    };
    let made = archives(dir).len();
    if made == 0 { format!("NONE, {failures} failures") } else { how }
}

/// What else is on the disk.
struct Filler {
    paths: Vec<PathBuf>,
}

impl Filler {
    /// Fills the file system, in pieces that no file system takes for a hole.
    fn fill(dir: &Path, leave: u64) -> Self {
        let mut paths = Vec::new();
        for piece in [256 * KIB, 16 * KIB, 512, 1] {
            let bytes: Vec<u8> = (0..piece).map(|n| (n * n % 251) as u8).collect();
            let path = dir.join(format!("filler-{piece}"));
            // Whatever the error is called: sshfs has one word for all of them.
            let Ok(mut file) = File::create(&path) else { break };
            paths.push(path);
            while (leave == 0 || free(dir) > leave + piece) && file.write(&bytes).is_ok_and(|got| got > 0) {
                // Where the free space is accounted late.
                if leave > 0 {
                    let _ = rustix::fs::syncfs(&file);
                }
            }
            let _ = file.sync_all();
        }
        Self { paths }
    }

    fn remove(self) -> Instant {
        for path in &self.paths {
            fs::remove_file(path).unwrap();
        }
        Instant::now()
    }
}

fn is_suspended(handle: &Handle) -> bool {
    matches!(handle.state(), State::Suspended(_))
}

/// Logs on until the log has been suspended for so long that its attempts are as far apart as they
/// get: a file system that is full may find some more space.
fn wait_until_given_up(logger: &Logger, handle: &Handle, said: &mut u64) {
    let mut since = Instant::now();
    wait_until(
        || "suspended for good".to_owned(),
        PATIENCE,
        || {
            if !is_suspended(handle) {
                since = Instant::now();
                for _ in 0..100 {
                    say(logger, 0, *said);
                    *said += 1;
                }
                let _ = handle.flush(PATIENCE);
            }
            since.elapsed() > Duration::from_millis(500)
        },
    );
}

fn resumed(handle: &Handle, freed: Instant) -> Duration {
    wait_until(|| format!("resumed: {:?}", handle.state()), PATIENCE, || !is_suspended(handle));
    freed.elapsed()
}

/// The time to resume after somebody else had taken the reserve.
fn after_low_space(dir: &Path) -> String {
    let (logger, handle) = log_in(dir, |file| file.min_free_space(RESERVE).error_reserve(0));
    let filler = Filler::fill(dir, RESERVE / 2);
    let mut said = 0;
    while !is_suspended(&handle) {
        if said == 100 {
            end_whole(dir, logger, &handle, said);
            filler.remove();
            return "not seen".to_owned();
        }
        say(&logger, 0, said);
        said += 1;
        let _ = handle.flush(PATIENCE);
    }
    wait_until_given_up(&logger, &handle, &mut said);
    let cause = handle.state();
    let freed = filler.remove();
    let took = resumed(&handle, freed);
    end_whole(dir, logger, &handle, said);
    if cause == State::Suspended(Cause::LowSpace) { format!("{took:.1?}") } else { format!("{took:.1?} ({cause})") }
}

/// Whether this process leaves the reserve.
fn reserve(dir: &Path) -> String {
    let (logger, handle) = log_in(dir, |file| file.min_free_space(RESERVE).error_reserve(0));
    let mut said = 1;
    say(&logger, 0, 0);
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    let sync = || rustix::fs::syncfs(File::open(dir).unwrap()).unwrap();
    let total = rustix::fs::statvfs(dir).unwrap();
    let margin = if total.f_blocks * total.f_frsize > 64 * MIB { 8 * MIB } else { MIB };
    let filler = Filler::fill(dir, RESERVE + margin);
    sync();
    let before = free(dir);
    let begun = Instant::now();
    while !is_suspended(&handle) && begun.elapsed() < PATIENCE {
        for _ in 0..200 {
            say(&logger, 0, said);
            said += 1;
        }
        let _ = handle.flush(PATIENCE);
    }
    assert!(is_suspended(&handle), "{:?} with {} bytes free", handle.state(), free(dir));
    let (state, bytes) = (handle.state(), handle.stats().written_bytes);
    sync();
    let left = free(dir);
    let freed = filler.remove();
    resumed(&handle, freed);
    end_whole(dir, logger, &handle, said);
    if before < RESERVE || left > RESERVE + MIB {
        format!("not seen ({state}, {} KiB free before, {} KiB then)", before / KIB, left / KIB)
    } else if left >= RESERVE {
        "exact".to_owned()
    } else {
        let ours = if before - bytes >= RESERVE { "not by" } else { "with" };
        format!("short by {} KiB, {ours} our own {} KiB", (RESERVE - left).div_ceil(KIB), bytes / KIB)
    }
}

/// Whether ERROR records are written to a full disk, the time to resume, and the torn
/// lines.
fn errors(dir: &Path) -> (String, Duration, String) {
    let (logger, handle) = log_in(dir, |file| file.error_reserve(64 * KIB).retain(0));
    let mut said = 0;
    let mut say_one = |level| {
        if level == Level::Error {
            while said % 7 != 3 {
                say(&logger, 0, said);
                said += 1;
            }
        }
        say(&logger, 0, said);
        said += 1;
        let _ = handle.flush(PATIENCE);
    };
    (0..4).for_each(|_| say_one(Level::Info));
    let filler = Filler::fill(dir, 0);
    let begun = Instant::now();
    while !is_suspended(&handle) && begun.elapsed() < PATIENCE {
        (0..50).for_each(|_| say_one(Level::Info));
    }
    assert!(is_suspended(&handle), "{:?} on a full disk", handle.state());
    let before = handle.stats().dropped.by_level(Level::Error);
    (0..5).for_each(|_| say_one(Level::Error));
    let lost = handle.stats().dropped.by_level(Level::Error) - before;
    wait_until_given_up(&logger, &handle, &mut said);
    let freed = filler.remove();
    let took = resumed(&handle, freed);
    let ended = end(dir, logger, &handle, said);
    let torn = match ended.lost {
        0 => ended.torn.to_string(),
        lost => format!("{}, and {lost} records lost that were written", ended.torn),
    };
    (if lost == 0 { "yes".to_owned() } else { format!("no ({lost} of 5 lost)") }, took, torn)
}

/// What is left of 200 records that a flush said were written, without and with a sync.
fn written(
    dir: &Path,
    lose: impl FnOnce() -> Result<(PathBuf, &'static str), String>,
    at: impl Fn(&Path) -> PathBuf,
) -> String {
    for (name, fsync) in [("synced", Fsync::AfterErrors), ("plain", Fsync::Never)] {
        let (logger, handle) = log_in(&dir.join(name), |file| file.fsync(fsync));
        for n in 0..200 {
            say(&logger, 0, n);
        }
        assert_eq!(handle.flush(PATIENCE), Ok(()));
        assert_eq!(handle.stats().written, 200);
    }
    let (point, what) = match lose() {
        Ok(lost) => lost,
        Err(reason) => return reason,
    };
    let there = |name: &str| {
        let file = at(&point).join(name).join("app.log");
        let text = fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).lines().count());
        text.unwrap_or(0)
    };
    format!("after {what}, {} of 200; with a sync, {} of 200", there("plain"), there("synced"))
}
