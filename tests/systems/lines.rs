//! Records with numbers, and where they are found again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{Level, Log};
use unfazed::Logger;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Logs the records `from..to` by the installed logger.
pub(crate) fn log_installed(from: usize, to: usize) {
    (from..to).for_each(|number| log::info!("record {number:05} ends"));
}

/// The same by one that is not installed.
pub(crate) fn log_to(logger: &Logger, from: usize, to: usize) {
    for number in from..to {
        logger.log(
            &log::Record::builder()
                .level(Level::Info)
                .target("systems")
                .args(format_args!("record {number:05} ends"))
                .build(),
        );
    }
    logger.flush();
}

/// The files of a directory whose names say that they are logs.
pub(crate) fn logs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    logs.sort();
    logs
}

/// The names in a directory.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The numbers of the records in a text, in its order. Each line is whole.
pub(crate) fn numbers_in(text: &str) -> Vec<usize> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is not whole: {:?}", text.lines().last());
    let records = text.lines().filter(|line| line.contains("record "));
    records
        .map(|line| {
            let number = line.split("record ").nth(1).and_then(|rest| rest.strip_suffix(" ends"));
            number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no whole record: {line:?}"))
        })
        .collect()
}

/// The numbers of the records in all logs of a directory, sorted.
pub(crate) fn numbers(dir: &Path) -> Vec<usize> {
    let mut numbers: Vec<_> =
        logs(dir).iter().flat_map(|path| numbers_in(&fs::read_to_string(path).unwrap())).collect();
    numbers.sort_unstable();
    numbers
}

/// Fails unless the logs of a directory hold each of so many records once.
pub(crate) fn assert_all(dir: &Path, count: usize) {
    let numbers = numbers(dir);
    assert!(
        numbers.iter().copied().eq(0..count),
        "{} of {count} records in {:?}, the first of them {:?}",
        numbers.len(),
        names(dir),
        &numbers[..numbers.len().min(5)],
    );
}

/// Tries until it is so; not for ever.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
