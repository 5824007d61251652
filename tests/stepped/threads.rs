//! Threads' names: a record brings its thread's name until one was accepted, the writer remembers so many.

use std::io::Write as _;
use std::time::UNIX_EPOCH;

use log::{Level, LevelFilter, Record};

use super::bench::{Bench, Setup};
use super::sinks::KeepSink;
use crate::clock::Stamp;
use crate::format::Format;
use crate::queue::Overflow;
use crate::record::{Caller, OwnedRecord};

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
fn every_logger_learns_the_names_of_the_threads() {
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

#[test]
fn of_too_many_threads_those_that_logged_last_keep_their_names() {
    let (mut bench, sink) = bench(Setup::new());
    let log = |bench: &mut Bench, thread: u32, name: Option<&str>| {
        let args = format_args!("a message");
        let record = Record::builder().args(args).level(Level::Error).target("bench").build();
        let record = OwnedRecord::capture(&record, Stamp::Time(UNIX_EPOCH), Caller { thread, name });
        assert!(bench.pipeline.offer(Level::Error, record.spilled(), record));
        bench.step();
    };
    // A thousand are remembered: all of these.
    for thread in 1..=1000 {
        log(&mut bench, thread, Some(&format!("thread {thread}")));
    }
    // The oldest ones log again, so that they are among the last.
    for thread in 1..=10 {
        log(&mut bench, thread, None);
    }
    for thread in 1001..=1400 {
        log(&mut bench, thread, Some(&format!("thread {thread}")));
    }
    sink.kept.lock().unwrap().clear();
    let asked = [1, 10, 1000, 1001, 1400, 11];
    for thread in asked {
        log(&mut bench, thread, None);
    }
    assert_eq!(lines(&sink), ["thread 1", "thread 10", "thread 1000", "thread 1001", "thread 1400", "?"]);
}
