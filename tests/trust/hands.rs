//! Hostile hands that never rest: a process of `nobody`'s does whatever it can, to every name in
//! the log's directory, while root's logger writes, rotates, deletes, compresses and opens again.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use unfazed::{Builder, MIB, WhenLow};

use crate::cases::{become_nobody, rotating, run_child};
use crate::harness::{Outcome, PATIENCE, archive, hostile, listing, log, names, sticky, victim, wait_until};
use crate::support::child;

/// Enough for thousands of deeds, and hundreds of rotations.
const LIFE: Duration = Duration::from_secs(3);
/// A file that says that it is over.
const OVER: &str = "over";
/// The directory that is swapped with everything in it stands in this one.
const PARENT: &str = "parent";

pub(crate) fn hands_that_never_rest_get_nothing_in_a_directory_of_their_own(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    chown(&logs, Some(crate::harness::NOBODY), None).unwrap();
    against_hands(dir, &logs)
}

pub(crate) fn hands_that_never_rest_get_nothing_in_a_sticky_directory(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    against_hands(dir, &logs)
}

pub(crate) fn hands_that_swap_the_directory_get_nothing(dir: &Path) -> Outcome {
    let parent = dir.join(PARENT);
    fs::create_dir(&parent).unwrap();
    let logs = hostile(&parent);
    chown(&parent, Some(crate::harness::NOBODY), Some(crate::harness::NOBODY)).unwrap();
    against_hands(dir, &logs)
}

fn against_hands(dir: &Path, logs: &Path) -> Outcome {
    let victim = victim(dir);
    let before = listing(&victim);
    let logs_of_hand = dir.join("logs");
    symlink(logs, &logs_of_hand).unwrap();
    let outcome = run_child("against-hands", dir);
    assert_eq!(listing(&victim), before, "everything of root's is as it was");
    for path in everything(dir) {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_file() && metadata.uid() == 0 {
            assert_eq!(metadata.mode() & 0o7133, 0, "{}: {:o}", path.display(), metadata.mode());
        }
    }
    outcome
}

fn everything(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(everything(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// The logger, which is root's, in a process of its own: its threads can be seen to end.
pub(crate) fn victim_of_hands(dir: &Path) {
    let logs = fs::canonicalize(dir.join("logs")).unwrap();
    let mut hand = child::command("hand", dir).spawn().unwrap();
    let file = rotating(&logs).max_files(4).max_total_size(MIB).when_low(WhenLow::DeleteOldest);
    #[cfg(feature = "gzip")]
    let file = file.compress(true);
    let (logger, handle) = Builder::new().file(file.min_free_space(0)).build().unwrap();
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < LIFE {
        log(&logger, &handle, 25);
        turns += 1;
        match turns % 50 {
            10 => handle.reopen(),
            20 => handle.rotate(),
            _ => {}
        }
    }
    fs::write(dir.join(OVER), "").unwrap();
    assert!(hand.wait().unwrap().success(), "the hand");
    let _ = handle.shutdown(PATIENCE); // It may be suspended by what stands in its way.
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.pending), (stats.written + stats.dropped.total(), 0), "{stats:?}");
    assert!(turns > 10, "{stats:?}");
    wait_until("no thread hangs", || {
        let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
        threads
            .filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok())
            .all(|name| name != "unfazed-gzip\n")
    });
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The hand. Whatever it may not do fails, and that is not looked at.
pub(crate) fn hand(dir: &Path) {
    let (logs, victim) = (fs::canonicalize(dir.join("logs")).unwrap(), dir.join("victim"));
    let is_swapped = dir.join(PARENT).exists();
    become_nobody();
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("the seed is {seed}");
    let mut random = Random(seed);
    let (mut locks, mut deeds) = (Vec::new(), 0_u64);
    let start = Instant::now();
    // Should the other one end badly, nothing stays.
    while !dir.join(OVER).exists() && start.elapsed() < 10 * LIFE {
        deeds += 1;
        let mut there = match fs::read_dir(&logs) {
            Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
            Err(_) => Vec::new(),
        };
        // The log itself is left alone for most of the time: suspended, it would do nothing.
        if random.below(8) > 0 {
            there.retain(|name| name != "app.log");
        }
        there.push(".app.log.lock".to_owned());
        there.extend([archive(1), format!("{}.gz", archive(2)), "app.9999-12-31T23-59-59-9998.log".to_owned()]);
        let name = random.of(&there).clone();
        let path = logs.join(if random.below(8) == 0 { format!("{name}.gz") } else { name });
        let secrets = ["secret", "app.log", ".", "not-there", "app.2020-01-01T00-00-00-0000.log"];
        let secret = victim.join(random.of(&secrets));
        if random.below(2) == 0 {
            let _ = fs::remove_file(&path);
        }
        let _ = match random.below(14) {
            0..=2 => symlink(&secret, &path),
            3 => symlink(random.of(&["/dev/zero", "/dev/full", "/proc/self/mem", ".", "app.log", "/"]), &path),
            4 => rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from(0o666), 0).map_err(Into::into),
            5 => fs::create_dir(&path),
            6 => fs::remove_dir(&path),
            7 => fs::hard_link(logs.join(random.of(&there)), &path),
            8 => fs::hard_link(&secret, &path),
            9 => File::create_new(&path).and_then(|file| {
                file.set_len(2)?;
                file.set_permissions(fs::Permissions::from_mode(0o4777))
            }),
            10 => File::create_new(&path).and_then(|file| file.set_len(1 << 40)),
            11 => {
                let other = logs.join(random.of(&there));
                rustix::fs::renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE).map_err(Into::into)
            }
            12 => {
                // Nor does the hand wait, for the other end of a pipe.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(std::io::Error::from);
                let locked = opened.map(|file| {
                    let kind =
                        *random.of(&[FlockOperation::NonBlockingLockExclusive, FlockOperation::NonBlockingLockShared]);
                    let _ = rustix::fs::flock(&file, kind); // The logger may have it.
                    locks.push(file);
                });
                locks.truncate(30);
                locked
            }
            _ if is_swapped => swap_directory(&logs, &victim),
            _ => Ok(()),
        };
    }
    println!("{deeds} deeds");
    let _ = names(dir); // All can be seen that is to be looked at.
}

/// The directory goes, a link to the victim's stands there for a moment, and the directory comes
/// back.
fn swap_directory(logs: &Path, victim: &Path) -> std::io::Result<()> {
    let aside = logs.with_extension("aside");
    fs::rename(logs, &aside)?;
    let _ = symlink(victim, logs);
    std::thread::sleep(Duration::from_millis(120)); // The path is looked at every 100 ms.
    let _ = fs::remove_file(logs);
    fs::rename(aside, logs)
}
