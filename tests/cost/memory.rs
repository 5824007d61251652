//! What a logger keeps in memory: the most that was ever resident, as the kernel counted it.

use std::fs;
use std::hint;
use std::path::Path;
use std::time::Duration;

use unfazed::Overflow;

use crate::harness::{self, Outcome, report};
use crate::work::{self, log_one, to_file, warm_up};

const KIB: u64 = 1 << 10;
const RECORDS: u64 = 20_000;
const BURST: u64 = 1000;
const SUSTAINED: u64 = 2_000_000;

/// Code that was not optimised is several times as long as what a program ships with, and it lies
/// in the page cache, of which the kernel maps as much at once as it happens to hold in one piece.
/// So only in a build for release do the pages of files count, too.
const FILES_COUNT: bool = !cfg!(debug_assertions);

pub(crate) fn a_logger_takes_less_than_4_mib(dir: &Path) -> Outcome {
    let (with, without) = (harness::run("with_a_logger", "1", dir), harness::run("without_a_logger", "1", dir));
    let more = |what| with.number::<u64>(what).saturating_sub(without.number(what));
    let (all, own) = (more("most resident"), more("most of its own"));
    let numbers = format!(
        "{} KiB with a logger, {} without: {} more, {} of them its own",
        with.number::<u64>("most resident") / KIB,
        without.number::<u64>("most resident") / KIB,
        all / KIB,
        own / KIB
    );
    assert!(if FILES_COUNT { all } else { own } < 4 << 20, "{numbers}");
    // The queue alone, whose slots are made at once, is 2 MiB: less would mean that nothing is
    // measured.
    assert!(own > 1 << 20, "{numbers}: is there a logger?");
    Outcome::Holds(numbers)
}

pub(crate) fn with_a_logger(dir: &Path) {
    let handle = to_file(dir).init().unwrap();
    work_a_while();
    work::end(&handle);
    assert!(handle.stats().written >= RECORDS / 2, "{:?}", handle.stats());
    report_memory();
}

pub(crate) fn without_a_logger(_: &Path) {
    work_a_while();
    report_memory();
}

fn report_memory() {
    // Pages of files come and stay: what is mapped now is the most that ever was.
    let (all, files) = (most_resident(), status("RssFile:"));
    report("most resident", all);
    report("most of its own", all.saturating_sub(files));
}

fn work_a_while() {
    for number in 0..RECORDS {
        log_one(number);
        if number % BURST == 0 {
            log::logger().flush();
        }
    }
}

pub(crate) fn a_sustained_run_stays_under_8_mib(dir: &Path) -> Outcome {
    let report = harness::run("sustained", "1", dir);
    let [all, own, written] = ["most resident", "most of its own", "written"].map(|what| report.number::<u64>(what));
    assert!(written >= SUSTAINED, "{written}");
    let numbers = format!("at most {} KiB resident, {} of them its own", all / KIB, own / KIB);
    assert!(if FILES_COUNT { all } else { own } < 8 << 20, "{numbers}");
    Outcome::Holds(format!("{written} records written, none dropped, {numbers}"))
}

pub(crate) fn sustained(dir: &Path) {
    let handle = to_file(dir).overflow(Overflow::Block).init().unwrap();
    warm_up();
    (0..SUSTAINED).for_each(|number| log_one(hint::black_box(number)));
    handle.flush(Duration::from_secs(60)).unwrap();
    work::end(&handle);
    report_memory();
    report("written", handle.stats().written);
}

/// The highest count of resident bytes that this process has had.
fn most_resident() -> u64 {
    status("VmHWM:")
}

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * KIB
}
