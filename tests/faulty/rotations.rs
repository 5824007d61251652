//! A log that is rotated while its file system fails.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use unfazed::{KIB, LogFile, Overflow, Rotation, State};

use crate::harness::{PATIENCE, Text, archives, is_archive, log_files, names, say, wait_until};
use crate::support::account::assert_identity;
use crate::support::cases::{Outcome, is_long};
use crate::support::faulty::{Disk, FaultyFs, How, OPS, Op};
use crate::support::place::Place;

/// How many runs go on at the same time: they spend their time in waits.
const AT_ONCE: usize = 8;

/// One fault: which call of which operation, and what becomes of it.
#[derive(Clone, Copy, Debug)]
struct Fault {
    op: Op,
    how: How,
    errno: i32,
    after: u64,
    times: u64,
}

/// What is played in one run.
type Faults = Vec<Fault>;

pub(crate) fn whichever_operation_of_a_rotation_fails_every_record_is_written_or_counted(place: &Place) -> Outcome {
    let fs = match FaultyFs::mount(place.dir()) {
        Ok(fs) => fs,
        Err(reason) => return Outcome::Skipped(reason),
    };
    let calls = calls_of_a_run(&fs);
    let mut plan: Vec<Faults> = Vec::new();
    for (op, calls) in &calls {
        for how in hows(*op) {
            for after in positions(*calls, 3) {
                // Once, and for as long as the fault lasts.
                for times in [1, 1000] {
                    let errno = if after % 2 == 0 { libc::EIO } else { libc::ENOSPC };
                    plan.push(vec![Fault { op: *op, how, errno, after, times }]);
                }
            }
        }
    }
    play_all(&fs, plan, "faults")
}

/// A rotation that was done and reported as failed, and a look after it that fails as well, once
/// destroyed a whole archive.
pub(crate) fn whatever_is_done_but_reported_as_failed_no_later_fault_destroys_an_archive(place: &Place) -> Outcome {
    let fs = match FaultyFs::mount(place.dir()) {
        Ok(fs) => fs,
        Err(reason) => return Outcome::Skipped(reason),
    };
    let calls = calls_of_a_run(&fs);
    let changes = [Op::Create, Op::Write, Op::Truncate, Op::Rename, Op::Link, Op::Unlink];
    let mut plan: Vec<Faults> = Vec::new();
    for op in changes {
        for after in 0..calls.get(&op).copied().unwrap_or(0) {
            for look in [Op::Lookup, Op::Getattr, Op::Open, Op::Readdir] {
                for later in 0..calls.get(&look).copied().unwrap_or(0) {
                    let done = Fault { op, how: How::DoneButFails, errno: libc::EIO, after, times: 1 };
                    for times in [1, 1000] {
                        let look = Fault { op: look, how: How::Fails, errno: libc::EIO, after: later, times };
                        plan.push(vec![done, look]);
                    }
                }
            }
        }
    }
    let whole = plan.len();
    if !is_long() {
        let mut random = fastrand::Rng::with_seed(seed());
        random.shuffle(&mut plan);
        plan.truncate(500);
    }
    play_all(&fs, plan, &format!("of {whole} pairs"))
}

fn seed() -> u64 {
    std::env::var("UNFAZED_FAULTY_SEED").map_or(17, |seed| seed.parse().expect("a number"))
}

fn hows(op: Op) -> Vec<How> {
    let mut hows = vec![How::Fails, How::DoneButFails];
    if op == Op::Write {
        hows.push(How::Short);
    }
    hows
}

/// Some of the calls of an operation, or all.
fn positions(calls: u64, some: u64) -> Vec<u64> {
    let step = if is_long() { 1 } else { calls.div_ceil(some).max(1) };
    (0..calls).step_by(step as usize).collect()
}

/// How often a run calls each operation when nothing fails.
fn calls_of_a_run(fs: &FaultyFs) -> BTreeMap<Op, u64> {
    let disk = fs.disk("clean");
    let counts = run(&disk, &Vec::new()).unwrap_or_else(|why| panic!("nothing fails: {why}")).calls;
    let counts: BTreeMap<_, _> =
        OPS.into_iter().filter_map(|op| Some((op, *counts.get(&format!("{op:?}"))?))).collect();
    assert!(counts.contains_key(&Op::Link) && counts.contains_key(&Op::Rename), "it rotates: {counts:?}");
    counts
}

fn play_all(fs: &FaultyFs, plan: Vec<Faults>, what: &str) -> Outcome {
    let next = AtomicUsize::new(0);
    let met = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Relaxed);
                    let Some(faults) = plan.get(place) else { break };
                    let disk = fs.disk(&place.to_string());
                    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&disk, faults))) {
                        Ok(Ok(ran)) => drop(met.fetch_add(usize::from(ran.met_all), Relaxed)),
                        Ok(Err(why)) => failed.lock().unwrap().push(format!("{faults:?}: {why}")),
                        Err(_) => failed.lock().unwrap().push(format!("{faults:?}: see the panic")),
                    }
                    disk.discard();
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} runs:\n{}", failed.len(), plan.len(), failed.join("\n"));
    Outcome::Holds(format!("{} {what} played, {} of them met their calls", plan.len(), met.into_inner()))
}

/// What a run that ended well was like.
struct Ran {
    /// How often each operation was called while faults were armed.
    calls: BTreeMap<String, u64>,
    /// Each fault has met its call.
    met_all: bool,
}

/// One run: a file that is rotated three times, with faults from the second time on until the end.
fn run(disk: &Disk<'_>, faults: &Faults) -> Result<Ran, String> {
    let dir = disk.path().to_owned();
    let file = LogFile::new(dir.join("app.log")).rotation(Rotation::size(64 * KIB)).min_free_space(0);
    let builder = unfazed::Builder::new().file(file).overflow(Overflow::Block);
    let (logger, handle) = builder.build().unwrap();
    let mut said = 0;
    let mut say_some = |count| {
        for _ in 0..count {
            say(&logger, 0, said);
            said += 1;
            let _ = handle.flush(PATIENCE);
        }
    };
    say_some(4);
    handle.rotate();
    say_some(4);
    let safe = contents(&dir);
    disk.counts();

    for fault in faults {
        disk.arm(fault.op, fault.how, fault.errno, fault.after, fault.times);
    }
    for _ in 0..2 {
        handle.rotate();
        say_some(4);
    }
    let ran = Ran { calls: disk.counts(), met_all: disk.unmet() == 0 };
    disk.clear();

    wait_until("the log is back", || handle.state() == State::Healthy);
    say_some(2);
    let flushed = handle.flush(PATIENCE);
    let ended = handle.shutdown(PATIENCE);
    let stats = handle.stats();
    assert_identity(&stats);
    drop(logger);
    tidy(&dir);
    judge(&dir, faults, &safe, said, &stats)?;
    if flushed.is_err() || ended.is_err() {
        return Err(format!("at the end: {flushed:?}, {ended:?}"));
    }
    Ok(ran)
}

/// What a failed look has left goes at the next one: a second name of the active file, and a file
/// that never became the active one.
fn tidy(dir: &Path) {
    let file = LogFile::new(dir.join("app.log")).rotation(Rotation::size(64 * KIB)).min_free_space(0);
    let (logger, handle) = unfazed::Builder::new().file(file).build().unwrap();
    say(&logger, 1, 0);
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let active = dir.join("app.log");
    wait_until("what was left is cleaned", || {
        let unfinished = names(dir).iter().any(|name| name.starts_with('.') && name != ".app.log.lock");
        !unfinished && archives(dir).iter().all(|path| inode(path) != inode(&active))
    });
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
}

/// What stands in each archive.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    archives(dir).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn judge(
    dir: &Path,
    faults: &Faults,
    safe: &[(PathBuf, Vec<u8>)],
    said: u64,
    stats: &unfazed::Stats,
) -> Result<(), String> {
    for (path, bytes) in safe {
        if fs::read(path).ok().as_ref() != Some(bytes) {
            return Err(format!("{} has changed", path.display()));
        }
    }
    let files = log_files(dir);
    let text = Text::of(&files);
    let mut numbers = text.records.get(&0).cloned().unwrap_or_default();
    let seen = || {
        let files: Vec<_> = files.iter().map(|file| String::from_utf8_lossy(file).into_owned()).collect();
        format!("{stats:?}\n{:?}\n{}", names(dir), files.join("----\n"))
    };
    if stats.accepted != said || stats.pending != 0 {
        return Err(format!("{said} were logged: {}", seen()));
    }
    // A line that was written and reported as failed is there, whatever was counted, if it could
    // neither be seen nor cut; if it is an ERROR that was retained, it may come again.
    let unseen = faults.len() > 1 && faults.iter().any(|fault| fault.op == Op::Write && fault.how == How::DoneButFails);
    let surplus = (numbers.len() as u64).checked_sub(stats.written);
    if surplus.is_none_or(|surplus| surplus > u64::from(unseen)) {
        return Err(format!("{} stand in the files: {}", numbers.len(), seen()));
    }
    if unseen && surplus == Some(1) {
        numbers.dedup();
    }
    if let Some(pair) = numbers.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("twice or out of order: {pair:?}: {}", seen()));
    }
    // A tail that could not be cut stands alone.
    let may_tear = faults.iter().any(|fault| matches!(fault.op, Op::Write | Op::Truncate));
    if !text.fragments.iter().all(|line| may_tear && crate::tmpfs::is_torn(line)) {
        return Err(format!("{:?}: {}", text.fragments, seen()));
    }
    if let Some(other) = names(dir).iter().find(|name| !is_archive(name) && *name != "app.log") {
        return Err(format!("`{other}` was left: {}", seen()));
    }
    Ok(())
}
