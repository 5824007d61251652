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

pub(crate) fn a_logger_takes_less_than_4_mib(dir: &Path) -> Outcome {
    let most = |program| harness::run(program, "1", dir).number::<u64>("most resident");
    let (with, without) = (most("with_a_logger"), most("without_a_logger"));
    let more = with.saturating_sub(without);
    assert!(more < 4 << 20, "{} KiB with a logger, {} without", with / KIB, without / KIB);
    // The queue alone, whose slots are made at once, is 2 MiB: less would mean that nothing is measured.
    assert!(more > 1 << 20, "{} KiB with a logger, {} without: is there one?", with / KIB, without / KIB);
    Outcome::Holds(format!("{} KiB with a logger, {} without: {} more", with / KIB, without / KIB, more / KIB))
}

pub(crate) fn with_a_logger(dir: &Path) {
    let handle = to_file(dir).init().unwrap();
    work_a_while();
    work::end(&handle);
    assert!(handle.stats().written >= RECORDS / 2, "{:?}", handle.stats());
    report("most resident", most_resident());
}

pub(crate) fn without_a_logger(_: &Path) {
    work_a_while();
    report("most resident", most_resident());
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
    let (most, written): (u64, u64) = (report.number("most resident"), report.number("written"));
    assert!(written >= SUSTAINED, "{written}");
    assert!(most < 8 << 20, "{} KiB", most / KIB);
    Outcome::Holds(format!("{written} records written, none dropped, at most {} KiB resident", most / KIB))
}

pub(crate) fn sustained(dir: &Path) {
    let handle = to_file(dir).overflow(Overflow::Block).init().unwrap();
    warm_up();
    (0..SUSTAINED).for_each(|number| log_one(hint::black_box(number)));
    handle.flush(Duration::from_secs(60)).unwrap();
    work::end(&handle);
    report("most resident", most_resident());
    report("written", handle.stats().written);
}

/// The highest count of resident bytes that this process has had.
fn most_resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * KIB
}
