//! Threads' names: a record brings its thread's name until one was accepted, the writer remembers
//! so many.

use std::io::Write as _;
use std::time::UNIX_EPOCH;

use log::{Level, LevelFilter, Record};

use super::bench::{Bench, Setup};
use super::sinks::KeepSink;
use crate::clock::Stamp;
use crate::format::Format;
use crate::queue::{Draft, Overflow};
use crate::record::{Caller, OwnedRecord};
use crate::wanted::Wanting;

/// A bench whose lines are the names of the threads.
fn bench(setup: Setup) -> (Bench, KeepSink) {
    let sink = KeepSink::default();
    let format = Format::custom(|line, record| writeln!(line, "{}", record.thread_name().unwrap_or("?")));
    (setup.output(LevelFilter::Trace, format, sink.clone()).bench(), sink)
}

fn lines(sink: &KeepSink) -> Vec<String> {
    String::from_utf8(sink.kept.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
}

/// The harness names the threads of its tests.
fn own_name() -> String {
    std::thread::current().name().unwrap().to_owned()
}

#[test]
fn every_logger_learns_a_threads_name() {
    let ((mut one, first), (mut other, second)) = (bench(Setup::new()), bench(Setup::new()));
    for _ in 0..2 {
        one.log_some(2);
        other.log_some(2);
    }
    one.step();
    other.step();
    assert_eq!(lines(&first), vec![own_name(); 4]);
    assert_eq!(lines(&second), vec![own_name(); 4]);
}

#[test]
fn an_evicted_name_is_brought_again() {
    let (mut bench, sink) = bench(Setup { capacity: 2, overflow: Overflow::DropOldest, ..Setup::new() });
    bench.log_some(3);
    bench.step();
    bench.log_some(1);
    bench.step();
    // The second and the third did not know that the first would go.
    assert_eq!(lines(&sink).last(), Some(&own_name()));
}

/// With the 1025th name those of 512 other threads were forgotten for ever, although the threads
/// still logged.
#[test]
fn a_full_table_of_names_begins_an_epoch() {
    let (mut bench, sink) = bench(Setup::new());
    let log = |bench: &mut Bench, thread: u32, name: Option<&str>| {
        let args = format_args!("a message");
        let record = Record::builder().args(args).level(Level::Error).target("bench").build();
        let record = OwnedRecord::capture(&record, Stamp::at(UNIX_EPOCH), Caller { thread, name });
        assert!(bench.pipeline.offer(Level::Error, Wanting::NOBODY, &mut Draft::new(record)));
        bench.step();
    };
    let epoch = bench.pipeline.epoch();
    let first = 1_000_000;
    for thread in first..first + 1024 {
        log(&mut bench, thread, Some(&format!("thread {thread}")));
    }
    assert_eq!(bench.pipeline.epoch(), epoch, "all of these are known");
    log(&mut bench, 7, Some("one too many"));
    assert_ne!(bench.pipeline.epoch(), epoch);
    // This thread has sent its name before.
    for _ in 0..2 {
        bench.log(Level::Info);
        bench.step();
        assert_eq!(lines(&sink).last(), Some(&own_name()));
    }
    log(&mut bench, first, None);
    assert_eq!(lines(&sink).last().map(String::as_str), Some("?"), "a record from before the epoch");
}
