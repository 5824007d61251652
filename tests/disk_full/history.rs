//! Cases about archives and the room for ERROR records on disks that are really full.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use log::Level;
use unfazed::{Cause, FlushError, KIB, MIB, Rotation, State, Stats};

use crate::support::account::{Log, assert_accounted, assert_identity};
use crate::support::cases::{Evidence, Outcome};
use crate::support::child::wait_until;
use crate::support::load::{Author, TARGET, longest};
use crate::support::moment::Moment;
use crate::support::place::{Filler, Place, free};
use crate::support::subject::{PATIENCE, RESUME_AT_MOST, Subject};

const LONE: u32 = 99;

/// Old archives, which nothing may touch.
fn lay_down_history(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let archives = (1..=5).map(|day| {
        let path = dir.join(format!("app.2020-01-0{day}T00-00-00-0000.log"));
        let bytes = format!("of the day {day}\n").repeat(2000).into_bytes();
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    });
    archives.collect()
}

fn assert_untouched(history: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in history {
        assert!(fs::read(path).is_ok_and(|there| there == *bytes), "{} has changed", path.display());
    }
}

/// Everything in `dir` but the filler: the names, and how long each file is.
fn files(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let entries = entries.map(|entry| (entry.path(), entry.metadata().unwrap().len()));
    entries.filter(|(path, _)| path.file_name().unwrap() != "filler").collect()
}

/// The archives that were made here, by age, and then the active file.
fn log_of(dir: &Path, history: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<u8> {
    let files = files(dir).into_keys().filter(|path| !history.contains_key(path));
    files.flat_map(|path| fs::read(path).unwrap()).collect()
}

pub(crate) fn a_rotation_that_is_due_when_the_disk_is_full_costs_no_archive(place: &Place) -> Outcome {
    const SIZE: u64 = 20_000;

    let disk = place.tmpfs("size=8m");
    let history = lay_down_history(&disk);
    let subject = Subject::start(&disk.join("app.log"), |file| {
        file.min_free_space(0).error_reserve(0).rotation(Rotation::size(SIZE)).max_files(100)
    });
    let mut lone = Author::new(LONE);
    let mut slowest = Duration::ZERO;
    // Nothing left; a part of a page; a page, into which the first line of the new file goes, and
    // then no more.
    for leave in [0, 1, 4096, 8192] {
        // Until the next record belongs into the next file.
        while fs::metadata(&subject.path).map_or(0, |file| file.len()) + 160 < SIZE {
            lone.say();
            assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
        }
        let mut filler = Filler::new(disk.join("filler"));
        filler.fill();
        if leave > 0 {
            filler.give_back(leave);
        }
        let before = files(&disk);
        while !subject.is_suspended() {
            lone.say();
            let _ = subject.handle.flush(PATIENCE);
        }
        subject.wait_until_suspended(Cause::DiskFull);
        assert_untouched(&history);
        for (path, len) in &before {
            assert!(*path == subject.path || files(&disk).get(path) == Some(len), "{} has changed", path.display());
        }
        let mut during = files(&disk);
        subject.wait_until_given_up();
        let mut after = files(&disk);
        // An attempt may be about to cut off the part of its line that the disk took.
        wait_until(
            || "the end of the attempt".into(),
            PATIENCE,
            || fs::read(&subject.path).unwrap().last().is_none_or(|last| *last == b'\n'),
        );
        for files in [&mut during, &mut after] {
            files.insert(subject.path.clone(), 0);
        }
        assert_eq!(after, during, "nothing is made, renamed or deleted while it is suspended");
        assert!(!disk.join(".app.log.new").exists());
        let freed = filler.remove();
        slowest = slowest.max(subject.assert_resumes(freed, &mut lone, || log_of(&disk, &history)));
    }
    for _ in 0..500 {
        lone.say();
    }
    let (stats, told) = subject.end();
    assert_untouched(&history);
    let made = files(&disk).len() - history.len() - 1;
    assert!(made >= 4, "{made} archives");
    assert!(files(&disk).iter().all(|(path, len)| history.contains_key(path) || *len <= SIZE), "{:?}", files(&disk));
    let authors = [lone];
    assert_accounted(&Log::of_whole_lines(&log_of(&disk, &history)), &authors, &stats, &told);
    let more = format!("{made} archives made, {} old ones untouched", history.len());
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: Some(slowest), more }.into()
}

pub(crate) fn an_error_lands_on_a_full_tmpfs_after_ordinary_records_took_all_they_could(place: &Place) -> Outcome {
    errors_land(&place.tmpfs("size=8m"))
}

pub(crate) fn an_error_lands_on_a_full_ext4_after_ordinary_records_took_all_they_could(place: &Place) -> Outcome {
    errors_land(&place.ext4())
}

pub(crate) fn an_error_lands_on_a_full_overlay_after_ordinary_records_took_all_they_could(place: &Place) -> Outcome {
    match place.overlay() {
        Ok(disk) => errors_land(&disk),
        Err(why) => Outcome::Skipped(format!("no overlay to be had here: {why}")),
    }
}

pub(crate) fn an_error_lands_on_a_full_xfs_after_ordinary_records_took_all_they_could(place: &Place) -> Outcome {
    match place.xfs() {
        Ok(disk) => errors_land(&disk),
        Err(why) => Outcome::Skipped(format!("no XFS to be had here: {why}")),
    }
}

fn errors_land(disk: &Path) -> Outcome {
    const RESERVE: u64 = 64 * KIB;

    let path = disk.join("app.log");
    let subject = Subject::start(&path, |file| file.min_free_space(0));
    let ordinary = |count: u64| (0..count).for_each(|n| log::info!(target: TARGET, "ordinary {n} {:-<60};", ""));
    let errors = |from: u64, to: u64| {
        (from..to).for_each(|n| log::error!(target: TARGET, "error {n} {:-<1$};", "", (n % 50) as usize));
    };
    ordinary(1000);
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
    let ahead = |path: &Path| {
        let file = fs::metadata(path).unwrap();
        (file.blocks() * 512).saturating_sub(file.len())
    };
    assert!(ahead(&path) >= RESERVE, "{} bytes are kept", ahead(&path));
    let mut filler = Filler::new(disk.join("filler"));
    filler.fill();
    while !subject.is_suspended() {
        ordinary(100);
        let _ = subject.handle.flush(PATIENCE);
    }
    subject.wait_until_suspended(Cause::DiskFull);
    // Every chance: more records, attempts to resume, and somebody else who takes what there may
    // still be.
    for _ in 0..50 {
        ordinary(200);
        filler.fill();
        thread::sleep(Duration::from_millis(50));
    }
    assert!(subject.is_suspended());
    let dropped = subject.handle.stats().dropped;
    assert_eq!(dropped.by_level(Level::Error), 0);
    errors(0, 200);
    assert_eq!(subject.handle.flush(PATIENCE), Err(FlushError::Suspended(Cause::DiskFull)));
    let landed = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter(|line| line.contains("ERROR case: error ") && line.ends_with(';')).count()
    };
    assert_eq!(landed(&path), 200, "every ERROR record is in the file");
    assert_eq!(subject.handle.stats().dropped.by_level(Level::Error), 0);
    // And so on until the reserve is used up; whole lines, then none.
    errors(200, 4000);
    let _ = subject.handle.flush(PATIENCE);
    // Once nothing goes in any more the flush answers at once; the queue is emptied a moment later.
    // Until then a line may be in the file whose record is still pending.
    let (mut stats, mut in_all) = (subject.handle.stats(), 0);
    let is_at_rest = |stats: &Stats, landed: usize| {
        stats.pending < 1000 && stats.dropped.by_level(Level::Error) + stats.pending + landed as u64 == 4000
    };
    let deadline = Instant::now() + PATIENCE;
    while !is_at_rest(&stats, in_all) {
        assert!(Instant::now() < deadline, "{in_all} lines are in the file: {stats:?}");
        (stats, in_all) = (subject.handle.stats(), landed(&path));
    }
    assert!(stats.dropped.by_level(Level::Error) > 0, "{stats:?}");
    // The newest that found no place are retained.
    assert!(stats.pending > 100, "{stats:?}");
    assert!(in_all as u64 * 90 > RESERVE / 2, "{in_all} lines in {RESERVE} bytes");
    assert!(matches!(subject.handle.state(), State::Suspended(_)));

    let freed = filler.remove();
    wait_until(|| "resumed".into(), PATIENCE, || !subject.is_suspended());
    let resumed = freed.elapsed();
    assert!(resumed <= RESUME_AT_MOST, "resumed only after {resumed:?}");
    errors(4000, 4001);
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
    assert!(ahead(&path) >= RESERVE, "the reserve stands again: {} bytes", ahead(&path));
    let (stats, told) = subject.end();
    assert_identity(&stats);
    // ext4 finds some more room while it writes back: it may come back for a moment in between.
    assert_eq!(told.suspended.len(), told.resumed.len(), "{told:?}");
    assert!(ahead(&path) < 16 * KIB, "{} bytes are still kept after the end", ahead(&path));
    let log = fs::read(&path).unwrap();
    let text = String::from_utf8(log.clone()).unwrap();
    let whole = text.lines().filter(|line| line.contains(" case: ") && line.ends_with(';')).count();
    assert_eq!(whole as u64, stats.written);
    let lost: u64 = Log::with_fragments(&log).gaps().map(|gap| gap.lost()).sum();
    assert_eq!(lost, stats.dropped.total(), "the gap line tells what is missing");
    let more = format!("{in_all} ERROR lines landed on the full disk");
    Evidence { stats, longest_call: None, resumed: Some(resumed), more }.into()
}

/// So many seconds; more by the environment.
fn toggling_for() -> Duration {
    let seconds = env::var("UNFAZED_TOGGLE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

pub(crate) fn a_disk_that_toggles_around_the_thresholds_neither_flaps_nor_costs_an_archive(place: &Place) -> Outcome {
    const RESERVE: u64 = MIB;

    let disk = place.tmpfs("size=32m");
    let history = lay_down_history(&disk);
    let subject =
        Subject::start(&disk.join("app.log"), |file| file.min_free_space(RESERVE).rotation(Rotation::size(50 * KIB)));
    let mut lone = Author::new(LONE);
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < toggling_for() {
        // Around the reserve, around the mark where it resumes, and to the last byte.
        let mut filler = Filler::new(disk.join("filler"));
        match turns % 3 {
            0 => filler.fill_leaving(RESERVE),
            1 => filler.fill_leaving(RESERVE + RESERVE / 2),
            _ => filler.fill(),
        }
        for _ in 0..20 {
            lone.say();
            thread::sleep(Duration::from_millis(1));
        }
        if turns % 10 == 2 {
            // Filled to the last byte. The log goes on in the blocks that are its own already, up
            // to 1 MiB.
            wait_until(
                || "suspended".into(),
                PATIENCE,
                || {
                    (0..20).for_each(|_| drop(lone.say()));
                    subject.is_suspended()
                },
            );
        }
        filler.remove();
        for _ in 0..20 {
            lone.say();
            thread::sleep(Duration::from_millis(1));
        }
        turns += 1;
        if turns % 10 == 0 {
            // Long enough to come back.
            thread::sleep(Duration::from_millis(1700));
        }
    }
    let took = start.elapsed();
    let resumed = subject.assert_resumes(Moment::now(), &mut lone, || log_of(&disk, &history));
    let (stats, told) = subject.end();
    let pairs = told.suspended.len();
    assert!(pairs >= 2, "it was suspended {pairs} times");
    assert!(pairs as u64 <= took.as_secs() + 1, "{pairs} suspensions in {took:?}");
    assert_untouched(&history);
    assert!(!disk.join(".app.log.new").exists());
    let authors = [lone];
    assert_accounted(&Log::of_whole_lines(&log_of(&disk, &history)), &authors, &stats, &told);
    let made = files(&disk).len() - history.len() - 1;
    let more = format!(
        "{turns} turns in {took:.1?}: {pairs} suspensions; {made} archives made, {} bytes free at the end",
        free(&disk)
    );
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: Some(resumed), more }.into()
}
