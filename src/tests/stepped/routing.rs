//! Outputs with filters of their own: what each is offered, the account of each, and the gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use log::{Level, LevelFilter, Record};

use super::bench::{Bench, Setup};
use crate::format::Format;
use crate::queue::Overflow;
use crate::sink::file::{FileSink, Target};
use crate::sink::log_file::FileOptions;
use crate::stats::{OutputStats, Stats};
use crate::tests::fake_disk::{FakeDisk, Fault, Op};
use crate::wanted::{Levels, Wanted, Wanting};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn filter(directives: &str) -> Wanted {
    Wanted { directives: Some(directives.to_owned()), ..Wanted::EVERYTHING }
}

fn levels(range: impl std::ops::RangeBounds<LevelFilter>) -> Wanted {
    Wanted { levels: Levels::within(&range), ..Wanted::EVERYTHING }
}

/// A logger with a file for each of these, on a disk of its own each; nothing is retained.
fn bench(outputs: &[Wanted]) -> (Bench, Vec<FakeDisk>) {
    bench_with(Setup::new(), outputs)
}

fn bench_with(mut setup: Setup, outputs: &[Wanted]) -> (Bench, Vec<FakeDisk>) {
    let mut disks = Vec::new();
    for (number, wanted) in outputs.iter().enumerate() {
        let disk = FakeDisk::with_capacity(1 << 20);
        let options = FileOptions { min_free_space: Some(0), error_reserve: 0, retain: 0, ..FileOptions::default() };
        let sink = FileSink::new(disk.clone(), Target::Path(path(number).into()), options);
        setup = setup.output_that_wants(wanted.clone(), Format::text(), sink);
        disks.push(disk);
    }
    (setup.bench(), disks)
}

fn path(number: usize) -> String {
    format!("/logs/{number}.log")
}

fn log(bench: &Bench, target: &'static str, level: Level, text: &str) {
    let mut record = Record::builder();
    record.target(target).module_path_static(Some(target)).level(level);
    bench.hand_in(&record.args(format_args!("{text}")).build());
}

/// The messages that a file has, in order; gap lines are left out.
fn messages(disk: &FakeDisk, number: usize) -> Vec<String> {
    let text = String::from_utf8(disk.read(&path(number))).unwrap();
    let lines = text.lines().filter(|line| !line.contains(" unfazed: "));
    lines.map(|line| line.rsplit_once(": ").unwrap().1.to_owned()).collect()
}

/// Has everything fail that is written to a disk, or no more.
fn break_disk(disk: &FakeDisk, broken: bool) {
    fail_with(disk, broken.then_some(ENOSPC));
}

fn fail_with(disk: &FakeDisk, errno: Option<i32>) {
    disk.world().fault = errno.map(|errno| Fault { at: 1, only: Some(Op::Write), forever: true, errno });
}

#[track_caller]
fn assert_accounts(stats: &Stats) {
    assert_eq!(stats.accepted, stats.written + stats.dropped.total() + stats.pending, "{stats:#?}");
    for OutputStats { name, offered, written, dropped, pending, .. } in &stats.outputs {
        assert_eq!(*offered, written + dropped.total() + pending, "{name}: {stats:#?}");
    }
}

/// Offered, written and dropped of each output.
fn counts(stats: &Stats) -> Vec<(u64, u64, u64)> {
    stats.outputs.iter().map(|output| (output.offered, output.written, output.dropped.total())).collect()
}

#[test]
fn each_record_goes_to_the_outputs_that_want_it_and_counts_there() {
    let outputs = [filter("access=info"), filter("info,access=off"), levels(..=LevelFilter::Warn)];
    let (mut bench, disks) = bench(&outputs);
    log(&bench, "access", Level::Info, "a1");
    log(&bench, "access", Level::Error, "a2");
    log(&bench, "access", Level::Debug, "a3");
    log(&bench, "app", Level::Info, "b1");
    log(&bench, "app", Level::Warn, "b2");
    log(&bench, "app", Level::Debug, "b3");
    bench.step();
    assert_eq!(messages(&disks[0], 0), ["a1", "a2"]);
    assert_eq!(messages(&disks[1], 1), ["b1", "b2"]);
    assert_eq!(messages(&disks[2], 2), ["a2", "b2"]);
    let stats = bench.handle.stats();
    assert_eq!((stats.accepted, stats.written), (4, 4), "what nobody wants is not accepted");
    assert_eq!(counts(&stats), [(2, 2, 0), (2, 2, 0), (2, 2, 0)]);
    assert_accounts(&stats);
}

#[test]
fn a_range_of_levels_leaves_out_both_ends_and_needs_no_filter() {
    let (mut bench, disks) = bench(&[levels(LevelFilter::Warn..=LevelFilter::Info), levels(..LevelFilter::Warn)]);
    for level in Level::iter() {
        log(&bench, "app", level, level.as_str());
    }
    bench.step();
    assert_eq!(messages(&disks[0], 0), ["WARN", "INFO"]);
    assert_eq!(messages(&disks[1], 1), ["ERROR"]);
    let stats = bench.handle.stats();
    assert_eq!((stats.accepted, counts(&stats)), (3, vec![(2, 2, 0), (1, 1, 0)]));
    assert_accounts(&stats);
}

/// P10 for each output: what only a suspended output wants is refused unformatted, and counts for
/// that output alone; everything else goes on.
#[test]
fn the_gate_is_closed_to_what_only_suspended_outputs_want() {
    let (mut bench, disks) = bench(&[filter("access=info"), filter("info,access=off"), filter("both=info")]);
    break_disk(&disks[0], true);
    log(&bench, "access", Level::Info, "lost");
    bench.step();
    assert!(bench.suspended());
    let formatted = Arc::new(AtomicUsize::new(0));
    struct Counted<'a>(&'a AtomicUsize, &'a str);
    impl std::fmt::Display for Counted<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.fetch_add(1, Relaxed);
            f.write_str(self.1)
        }
    }
    let log_counted = |target: &'static str, level, text| {
        let mut record = Record::builder();
        record.target(target).module_path_static(Some(target)).level(level);
        bench.hand_in(&record.args(format_args!("{}", Counted(&formatted, text))).build());
    };
    log_counted("access", Level::Info, "refused");
    log_counted("access", Level::Error, "refused, too");
    assert_eq!(formatted.load(Relaxed), 0, "nothing can keep it");
    log_counted("app", Level::Info, "b1");
    log_counted("both", Level::Warn, "b2");
    assert_eq!(formatted.load(Relaxed), 2);
    bench.step();
    let stats = bench.handle.stats();
    assert_eq!(counts(&stats), [(3, 0, 3), (2, 2, 0), (1, 1, 0)]);
    assert_eq!((stats.accepted, stats.written, stats.dropped.disk_full), (5, 2, 3));
    assert_accounts(&stats);

    break_disk(&disks[0], false);
    bench.live(Duration::from_secs(3));
    assert!(!bench.suspended());
    log(&bench, "access", Level::Info, "a1");
    bench.step();
    assert_eq!(messages(&disks[0], 0), ["a1"]);
    let gap = String::from_utf8(disks[0].read(&path(0))).unwrap();
    assert!(gap.contains("3 records"), "the gap is of its own records alone: {gap}");
    assert!(!String::from_utf8(disks[1].read(&path(1))).unwrap().contains("unfazed"), "no gap there");
    assert_accounts(&bench.handle.stats());
}

#[test]
fn the_reason_of_a_refused_record_is_that_of_the_first_output_that_wants_it() {
    let (mut bench, disks) = bench(&[filter("a=info"), filter("b=info"), filter("b=info,a=info")]);
    break_disk(&disks[0], true);
    fail_with(&disks[1], Some(EIO));
    fail_with(&disks[2], Some(EIO));
    log(&bench, "a", Level::Info, "lost");
    log(&bench, "b", Level::Info, "lost");
    bench.step();
    log(&bench, "a", Level::Info, "refused");
    log(&bench, "b", Level::Info, "refused");
    bench.step();
    let stats = bench.handle.stats();
    assert_eq!((stats.dropped.disk_full, stats.dropped.io_error), (2, 2));
    assert_eq!(counts(&stats), [(2, 0, 2), (2, 0, 2), (4, 0, 4)]);
    assert_accounts(&stats);
}

#[test]
fn a_full_queue_drops_a_record_for_the_outputs_that_wanted_it() {
    let setup = || Setup { capacity: 4, overflow: Overflow::DropOldest, ..Setup::new() };
    for (overflow, stay) in [(Overflow::DropOldest, ["b", "c", "d", "e"]), (Overflow::DropNewest, ["a", "b", "", ""])] {
        let outputs = [filter("even=info"), filter("odd=info")];
        let (mut bench, disks) = bench_with(Setup { overflow, ..setup() }, &outputs);
        for (number, text) in ["a", "b", "c", "d", "e"].iter().enumerate() {
            log(&bench, ["even", "odd"][number % 2], Level::Info, text);
        }
        let queued = bench.handle.stats();
        assert_accounts(&queued);
        bench.step();
        let mut all = [messages(&disks[0], 0), messages(&disks[1], 1)].concat();
        all.sort();
        assert_eq!(all, stay.iter().copied().filter(|text| !text.is_empty()).collect::<Vec<_>>(), "{overflow:?}");
        let stats = bench.handle.stats();
        let dropped: u64 = stats.outputs.iter().map(|output| output.dropped.queue_full).sum();
        assert_eq!((dropped, stats.accepted), (stats.dropped.queue_full, 5), "{overflow:?}");
        assert_accounts(&stats);
    }
}

#[test]
fn a_pattern_of_an_output_is_looked_for_in_the_message() {
    let (mut bench, disks) = bench(&[filter("info/needle"), filter("/hay"), levels(..=LevelFilter::Error)]);
    for (level, text) in [
        (Level::Info, "a needle"),
        (Level::Info, "hay"),
        (Level::Info, "nothing"),
        (Level::Error, "nothing"),
        (Level::Info, "a needle in the hay"),
        (Level::Debug, "debug hay"),
    ] {
        log(&bench, "app", level, text);
    }
    bench.step();
    assert_eq!(messages(&disks[0], 0), ["a needle", "a needle in the hay"]);
    assert_eq!(messages(&disks[1], 1), ["hay", "a needle in the hay", "debug hay"]);
    assert_eq!(messages(&disks[2], 2), ["nothing"]);
    let stats = bench.handle.stats();
    assert_eq!((stats.accepted, counts(&stats)), (5, vec![(2, 2, 0), (3, 3, 0), (1, 1, 0)]));
    assert_accounts(&stats);
}

#[test]
fn a_closure_is_asked_once_for_a_target_and_a_level_and_may_panic_or_log() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts_calls = asked.clone();
    let wanted = Wanted {
        judge: Some(Arc::new(move |metadata: &log::Metadata<'_>| {
            counts_calls.fetch_add(1, Relaxed);
            assert_ne!(metadata.target(), "routing::panics", "a closure that panics");
            metadata.target() == "routing::wanted" && metadata.level() <= Level::Info
        })),
        ..levels(..=LevelFilter::Debug)
    };
    let (mut bench, disks) = bench(&[wanted, levels(..=LevelFilter::Error)]);
    // One target after the other: of two whose answers fall into one slot of a thread's memory,
    // each would make it forget the other's.
    for (target, level, message) in [
        ("routing::wanted", Level::Info, "wanted"),
        ("routing::other", Level::Info, "other"),
        ("routing::panics", Level::Error, "panics"),
    ] {
        for _ in 0..10 {
            log(&bench, target, level, message);
        }
    }
    bench.step();
    assert_eq!(messages(&disks[0], 0), ["wanted"; 10]);
    assert_eq!(messages(&disks[1], 1), ["panics"; 10], "the other output has it");
    assert_eq!(asked.load(Relaxed), 3 * 4, "once for each target and each of its levels");
    assert_accounts(&bench.handle.stats());
    assert!(!bench.pipeline.wants(Level::Info, Wanting::NOBODY));
}

#[test]
fn what_a_closure_logs_is_not_offered_to_outputs_with_one() {
    use std::sync::OnceLock;
    static LOGGER: OnceLock<Arc<crate::front::logger::Core>> = OnceLock::new();
    let wanted = Wanted {
        judge: Some(Arc::new(|_: &log::Metadata<'_>| {
            if let Some(core) = LOGGER.get() {
                let record = Record::builder().target("inner").level(Level::Error).args(format_args!("inner")).build();
                core.log(&record, None);
            }
            true
        })),
        ..levels(..=LevelFilter::Error)
    };
    let (mut bench, disks) = bench(&[wanted, levels(..=LevelFilter::Error)]);
    assert!(LOGGER.set(bench.logger.core().clone()).is_ok());
    log(&bench, "outer", Level::Error, "outer");
    bench.step();
    assert_eq!(messages(&disks[0], 0), ["outer"]);
    assert_eq!(messages(&disks[1], 1), ["inner", "outer"]);
    assert_accounts(&bench.handle.stats());
}

/// A file that retains this many bytes, and a second one that stands in for it.
fn bench_with_stand_in(retain: u64) -> (Bench, [FakeDisk; 2]) {
    let disks = [FakeDisk::with_capacity(1 << 20), FakeDisk::with_capacity(1 << 20)];
    let mut setup = Setup { last_stands_in: true, ..Setup::new() };
    for (number, disk) in disks.iter().enumerate() {
        let options = FileOptions { min_free_space: Some(0), error_reserve: 0, retain: 0, ..FileOptions::default() };
        let sink = FileSink::new(disk.clone(), Target::Path(path(number).into()), options);
        setup = setup.output_that_wants(Wanted::EVERYTHING, Format::text(), sink);
        if number == 0 {
            setup = setup.retain(retain);
        }
    }
    (setup.bench(), disks)
}

#[test]
fn while_a_file_is_suspended_warn_and_error_go_to_the_other_output_at_once() {
    let (mut bench, disks) = bench_with_stand_in(1 << 16);
    log(&bench, "app", Level::Error, "before");
    bench.step();
    break_disk(&disks[0], true);
    log(&bench, "app", Level::Error, "shows the failure");
    bench.step();
    for (level, text) in [(Level::Warn, "w"), (Level::Info, "i"), (Level::Error, "e")] {
        log(&bench, "app", level, text);
    }
    bench.step();
    assert_eq!(messages(&disks[1], 1), ["w", "e"]);
    let stats = bench.handle.stats();
    assert_eq!((stats.accepted, stats.written, stats.pending, stats.dropped.total()), (5, 3, 1, 1));
    assert_eq!(counts(&stats), [(5, 1, 1), (2, 2, 0)]);
    assert_accounts(&stats);

    break_disk(&disks[0], false);
    bench.live(Duration::from_secs(3));
    log(&bench, "app", Level::Error, "after");
    bench.step();
    assert_eq!(messages(&disks[0], 0), ["before", "shows the failure", "w", "e", "after"]);
    assert_eq!(messages(&disks[1], 1), ["w", "e"], "nothing more once the file is back");
    let stats = bench.handle.stats();
    assert_eq!((stats.accepted, stats.written, stats.dropped.total()), (6, 5, 1));
    assert_eq!(counts(&stats), [(6, 5, 1), (2, 2, 0)]);
    assert_accounts(&stats);
}

#[test]
fn what_a_file_does_not_retain_is_written_by_the_other_output_alone() {
    let (mut bench, disks) = bench_with_stand_in(0);
    break_disk(&disks[0], true);
    log(&bench, "app", Level::Error, "lost");
    bench.step();
    assert!(bench.pipeline.closed_to(Level::Info, Wanting::NOBODY).is_some());
    assert_eq!(bench.pipeline.closed_to(Level::Warn, Wanting::NOBODY), None, "the other output takes it");
    log(&bench, "app", Level::Warn, "w");
    log(&bench, "app", Level::Info, "i");
    bench.step();
    assert_eq!(messages(&disks[1], 1), ["w"]);
    let stats = bench.handle.stats();
    assert_eq!((stats.accepted, stats.written, stats.dropped.total()), (3, 1, 2));
    assert_eq!(counts(&stats), [(3, 0, 3), (1, 1, 0)]);
    assert_accounts(&stats);

    break_disk(&disks[1], true);
    log(&bench, "app", Level::Warn, "lost in both");
    bench.step();
    assert!(bench.pipeline.closed_to(Level::Warn, Wanting::NOBODY).is_some());
    let stats = bench.handle.stats();
    assert_eq!(counts(&stats), [(4, 0, 4), (2, 1, 1)]);
    assert_accounts(&stats);
}
