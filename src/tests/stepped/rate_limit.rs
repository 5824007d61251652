//! The rate limit in the pipeline: what is suppressed is told and is no part of the account.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use log::{Level, Log, Record};

use super::bench::{Bench, PATH, Setup};
use crate::KIB;
use crate::event::{Cause, State};
use crate::format::Format;
use crate::queue::Overflow;
use crate::queue::rate_limit::{Limit, RateLimit};
use crate::sink::file::Target;
use crate::sink::log_file::{FileOptions, Fsync};
use crate::sink::opened::OpenedSink;
use crate::tests::fake_disk::FakeDisk;
use crate::wanted::Wanted;
use crate::watch::{Follow, Watch};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn log(bench: &Bench, line: u32, count: u64) {
    for _ in 0..count {
        let mut record = Record::builder();
        record.level(Level::Warn).target("db").file_static(Some("db.rs")).line(Some(line));
        bench.logger.log(&record.args(format_args!("no connection")).build());
    }
}

fn messages(disk: &FakeDisk) -> Vec<String> {
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    text.lines().map(|line| line[28..].to_owned()).collect()
}

#[test]
fn a_flood_is_cut_to_its_limit_and_told_with_its_size() {
    let disk = FakeDisk::default();
    let setup = Setup { rate_limit: Some(RateLimit::new(Limit::new(2, HOUR))), ..Setup::new() };
    let mut bench = setup.file(&disk, None, Fsync::Never).bench();
    log(&bench, 10, 100);
    log(&bench, 20, 1);
    bench.step();
    // The bench's clock stands in another year than the callers': the interval is over.
    bench.pass(HOUR);
    bench.step();
    let stats = bench.handle.stats();
    assert_eq!(stats.suppressed, 98);
    assert_eq!((stats.accepted, stats.written, stats.dropped.total()), (4, 4, 0), "three, and the one that tells");
    bench.assert_identity("a flood");
    let line = "WARN  db: no connection";
    assert_eq!(messages(&disk), [line, line, line, "WARN  db: 98 similar records suppressed"]);
}

#[test]
fn each_interval_is_told_when_it_is_over_and_not_before() {
    let disk = FakeDisk::default();
    let setup = Setup { rate_limit: Some(RateLimit::new(Limit::new(1, HOUR))), ..Setup::new() };
    let mut bench = setup.file(&disk, None, Fsync::Never).bench();
    for interval in 1..=3_usize {
        crate::clock::system::set(Some(bench.now.wall));
        log(&bench, 10, 5);
        bench.live(Duration::from_secs(10));
        assert_eq!(messages(&disk).len(), 2 * interval - 1, "it is not over");
        bench.pass(HOUR);
        // The first turn puts the line into the queue.
        bench.live(Duration::from_secs(1));
        let last = messages(&disk).pop();
        assert_eq!(
            (messages(&disk).len(), last.as_deref()),
            (2 * interval, Some("WARN  db: 4 similar records suppressed"))
        );
    }
    crate::clock::system::set(None);
}

/// The line of a location was once for the outputs that wanted its very first record.
#[test]
fn each_output_hears_of_the_records_that_it_would_have_had() {
    let [access, app] = [(); 2].map(|()| FakeDisk::default());
    let wants = |directives: &str| Wanted { directives: Some(directives.to_owned()), ..Wanted::EVERYTHING };
    let sink = |disk: &FakeDisk| OpenedSink::new(disk.clone(), Target::Path(PATH.into()), FileOptions::default());
    let setup = Setup { rate_limit: Some(RateLimit::new(Limit::new(1, HOUR))), ..Setup::new() };
    let setup = setup.output_that_wants(wants("access=info"), Format::text(), sink(&access));
    let mut bench = setup.output_that_wants(wants("info,access=off"), Format::text(), sink(&app)).bench();
    for (level, target, count) in [(Level::Info, "access", 20), (Level::Error, "app", 7)] {
        for _ in 0..count {
            let mut record = Record::builder();
            record.level(level).target(target).file_static(Some("bridge.rs")).line(Some(1));
            bench.logger.log(&record.args(format_args!("handed on")).build());
        }
    }
    bench.step();
    bench.pass(HOUR);
    bench.step();
    assert_eq!(messages(&access), ["INFO  access: handed on", "INFO  access: 19 similar records suppressed"]);
    assert_eq!(messages(&app), ["ERROR app: handed on", "ERROR app: 6 similar records suppressed"]);
    bench.assert_identity("a bridge");
}

#[test]
fn another_interval_from_a_changed_file_tells_at_once_what_the_old_one_suppressed() {
    // Another one, and none.
    for records in [1, 0] {
        let (disk, dir) = (FakeDisk::default(), tempfile::tempdir().unwrap());
        let limit = Limit::new(1, HOUR);
        let setup = Setup { rate_limit: Some(RateLimit::new(limit.clone())), ..Setup::new() };
        let mut bench = setup.file(&disk, None, Fsync::Never).bench();
        let path = dir.path().join("log.toml");
        fs::write(&path, "an hour").unwrap();
        let follow: Follow = Arc::new(move |_| {
            limit.set(records, Duration::from_secs(1));
            Ok(None)
        });
        bench.writer.follow(Some(Watch::new(path.clone(), follow)));
        crate::clock::system::set(Some(bench.now.wall));
        log(&bench, 10, 5);
        crate::clock::system::set(None);
        bench.live(Duration::from_secs(3));
        assert_eq!(messages(&disk), ["WARN  db: no connection"], "the hour is not over");
        fs::write(&path, "a second").unwrap();
        bench.live(Duration::from_secs(3));
        assert_eq!(
            messages(&disk),
            ["WARN  db: no connection", "WARN  db: 4 similar records suppressed"],
            "{records} records"
        );
    }
}

/// The line is the first that meets the full disk. The gap line counted it as one record, and
/// nothing said what it stood for.
#[test]
fn what_a_dropped_line_reported_is_reported_when_the_log_is_back() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    let setup = Setup { rate_limit: Some(RateLimit::new(Limit::new(1, HOUR))), ..Setup::new() };
    let mut bench = setup.file(&disk, Some(0), Fsync::Never).retain(0).bench();
    crate::clock::system::set(Some(bench.now.wall));
    log(&bench, 10, 5);
    crate::clock::system::set(None);
    bench.step();
    disk.world().filler = 256 * KIB;
    bench.pass(HOUR);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::DiskFull));
    disk.world().filler = 0;
    bench.live(Duration::from_secs(3));
    let messages = messages(&disk);
    let lines = |text: &str| messages.iter().filter(|message| message.contains(text)).count();
    assert_eq!(lines("logging resumed, 1 record dropped"), 1, "{messages:?}");
    assert_eq!(lines("db: 4 similar records suppressed"), 1, "{messages:?}");
    bench.assert_identity("a report that was dropped");
}

#[test]
fn what_an_evicted_line_reported_is_reported_later() {
    let disk = FakeDisk::default();
    let rate_limit = Some(RateLimit::new(Limit::new(1, HOUR)));
    let setup = Setup { capacity: 4, overflow: Overflow::DropOldest, rate_limit, ..Setup::new() };
    let mut bench = setup.file(&disk, None, Fsync::Never).bench();
    crate::clock::system::set(Some(bench.now.wall));
    log(&bench, 10, 5);
    crate::clock::system::set(None);
    bench.step();
    bench.pass(HOUR);
    let rate_limit = bench.pipeline.rate_limit().unwrap();
    assert!(rate_limit.report(bench.now.wall.into(), false, |record| bench.pipeline.offer_own(record)));
    // They evict it.
    bench.log_some(4);
    bench.live(Duration::from_secs(1));
    let reports = messages(&disk).iter().filter(|message| message.contains("4 similar")).count();
    assert_eq!(reports, 1, "{:?}", messages(&disk));
}

#[test]
fn a_full_queue_delays_the_line_and_the_end_waits_for_it() {
    let disk = FakeDisk::default();
    let setup = Setup { capacity: 2, rate_limit: Some(RateLimit::new(Limit::new(1, HOUR))), ..Setup::new() };
    let mut bench = setup.file(&disk, None, Fsync::Never).bench();
    bench.step();
    log(&bench, 10, 50);
    log(&bench, 20, 1);
    bench.pass(HOUR);
    bench.step();
    assert_eq!(messages(&disk).len(), 2, "there was no slot for the third");
    log(&bench, 20, 7);
    let handle = bench.handle.clone();
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || handle.shutdown(Duration::MAX));
        while !asked.is_finished() {
            bench.step();
        }
        assert_eq!(asked.join().unwrap(), Ok(()));
    });
    let mut messages = messages(&disk);
    messages.sort();
    assert_eq!(messages[..2], ["WARN  db: 49 similar records suppressed", "WARN  db: 7 similar records suppressed"]);
    bench.assert_identity("a flood at the end");
}

fn log_at(bench: &Bench, level: Level, line: u32, count: u64) {
    for _ in 0..count {
        let mut record = Record::builder();
        record.level(level).target("db").file_static(Some("db.rs")).line(Some(line));
        bench.hand_in(&record.args(format_args!("no connection")).build());
    }
}

fn suppressed_lines(disk: &FakeDisk) -> Vec<u64> {
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let lines = text.lines().filter(|line| line.contains(" similar record"));
    lines.map(|line| line.split_once("db: ").unwrap().1.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// With fewer slots than locations, the first ones were reported in each interval and the others
/// at the end.
#[test]
fn locations_that_find_no_slot_are_reported_in_the_next_turns_and_not_after_another_interval() {
    let disk = FakeDisk::default();
    let setup = Setup { capacity: 64, rate_limit: Some(RateLimit::new(Limit::new(1, MINUTE))), ..Setup::new() };
    let mut bench = setup.file(&disk, None, Fsync::Never).bench();
    bench.tells_records_the_time = true;
    bench.now.wall = UNIX_EPOCH + Duration::from_secs(1_000_000_020);
    bench.step();
    for interval in 1..=3 {
        for line in 1..=300 {
            log_at(&bench, Level::Warn, line, 2);
            bench.step();
        }
        bench.pass(MINUTE - Duration::from_secs(10));
        bench.step();
        bench.live(Duration::from_secs(20));
        let lines = suppressed_lines(&disk);
        assert_eq!(lines.len(), 300 * interval, "interval {interval}");
        bench.pass(MINUTE - Duration::from_secs(10));
    }
}

/// What was suppressed before a suspension was reported into the closed gate.
#[test]
fn what_was_suppressed_is_reported_once_an_output_takes_it() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    let setup = Setup { rate_limit: Some(RateLimit::new(Limit::new(1, MINUTE))), ..Setup::new() };
    let mut bench = setup.file(&disk, Some(0), Fsync::Never).bench();
    bench.tells_records_the_time = true;
    bench.now.wall = UNIX_EPOCH + Duration::from_secs(1_000_000_020);
    bench.step();
    log_at(&bench, Level::Info, 10, 101);
    bench.step();
    disk.world().filler = 256 * KIB;
    bench.log(Level::Info);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::DiskFull));
    bench.live(3 * MINUTE);
    disk.world().filler = 0;
    bench.live(3 * MINUTE);
    assert_eq!(bench.handle.state(), State::Healthy);
    assert_eq!(bench.handle.stats().suppressed, 100);
    assert_eq!(suppressed_lines(&disk), [100], "{}", String::from_utf8_lossy(&disk.read(PATH)));
}

#[test]
fn a_clock_set_forward_over_the_end_of_an_interval_ends_it() {
    let disk = FakeDisk::default();
    let setup = Setup { rate_limit: Some(RateLimit::new(Limit::new(1, HOUR))), ..Setup::new() };
    let mut bench = setup.file(&disk, None, Fsync::Never).bench();
    bench.tells_records_the_time = true;
    bench.now.wall = UNIX_EPOCH + Duration::from_secs(3600 * 100_000 + 60);
    bench.step();
    log_at(&bench, Level::Warn, 10, 5);
    bench.live(MINUTE);
    bench.now.wall += 10 * HOUR;
    bench.live(MINUTE);
    assert_eq!(suppressed_lines(&disk), [4]);
}
