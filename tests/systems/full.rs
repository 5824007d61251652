//! A disk that fills and is freed: a small one that whoever runs the test has made.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use unfazed::{Builder, KIB, LogFile, Rotation, State};

use crate::lines;
use crate::support::child::Outcome;

/// Names an empty directory that is a file system of a few MiB.
const DISK: &str = "UNFAZED_SMALL_DISK";

pub(crate) fn a_disk_that_fills_and_is_freed_loses_nothing_uncounted(_dir: &Path) -> Outcome {
    let Some(disk) = env::var_os(DISK).map(PathBuf::from) else {
        return Outcome::Skipped(format!("`{DISK}` names no small file system"));
    };
    let cases = [
        (0, Rotation::never()),
        (64 * KIB, Rotation::never()),
        (0, Rotation::size(4 * KIB)),
        (64 * KIB, Rotation::size(4 * KIB)),
    ];
    let mut told = Vec::new();
    for (number, (min_free_space, rotation)) in cases.into_iter().enumerate() {
        told.push(fill_and_free(&disk.join(number.to_string()), min_free_space, rotation));
    }
    Outcome::Holds(told.join("; "))
}

/// With a limit the free space says that the disk is low, without one a write says that it is full.
fn fill_and_free(dir: &Path, min_free_space: u64, rotation: Rotation) -> String {
    fs::create_dir(dir).unwrap();
    let file = LogFile::new(dir.join("app.log")).min_free_space(min_free_space).rotation(rotation).retain(0);
    let (logger, handle) = Builder::new().file(file).build().unwrap();
    lines::log_to(&logger, 0, 100);
    let filler = dir.join("filler");
    fill(&filler);
    let mut count = 100;
    lines::until("the log is suspended", || {
        lines::log_to(&logger, count, count + 100);
        count += 100;
        matches!(handle.state(), State::Suspended(_))
    });
    let state = handle.state();
    fs::remove_file(&filler).unwrap();
    lines::until("the log is written again", || handle.state() == State::Healthy);
    lines::log_to(&logger, count, count + 1);
    count += 1;
    drop(logger);
    let stats = handle.stats();
    assert_eq!(stats.accepted, count as u64);
    assert_eq!(stats.accepted, stats.written + stats.dropped.total());
    assert_eq!(stats.dropped.total(), stats.dropped.disk_full);
    let numbers = lines::numbers(dir);
    assert_eq!(numbers.len() as u64, stats.written, "what counts as written is there");
    assert_eq!(numbers.last(), Some(&(count - 1)), "it goes on");
    let mut texts = lines::logs(dir).into_iter().map(|path| fs::read_to_string(path).unwrap());
    assert!(texts.any(|text| text.contains("logging resumed")), "the gap is told");
    let (written, dropped) = (stats.written, stats.dropped.total());
    fs::remove_dir_all(dir).unwrap();
    format!("{state}: {written} written and {dropped} dropped of {count}")
}

/// Takes all that there is.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut piece = vec![0; 64 << 10];
    while !piece.is_empty() {
        if file.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
}
