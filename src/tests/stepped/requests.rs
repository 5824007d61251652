//! Flush and shutdown, seen from both sides.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use log::Level;

use super::bench::{Bench, PATH, Setup};
use super::invariants::parse;
use crate::KIB;
use crate::clock::Stamp;
use crate::error::FlushError;
use crate::event::{Cause, State};
use crate::queue::{Draft, Overflow, Pipeline};
use crate::record::{Caller, OwnedRecord};
use crate::sink::file::{FileSink, Target};
use crate::sink::log_file::{FileOptions, Fsync};
use crate::sink::{Batch, OutputSink, WriteError};
use crate::stats::DropReason;
use crate::tests::fake_disk::FakeDisk;
use crate::wanted::Wanting;

/// Asks from another thread while this one steps the writer.
fn ask(
    bench: &mut Bench,
    what: impl FnOnce(&crate::handle::Handle) -> Result<(), FlushError> + Send,
) -> Result<(), FlushError> {
    std::thread::scope(|scope| {
        let handle = bench.handle.clone();
        let asked = scope.spawn(move || what(&handle));
        while !asked.is_finished() {
            bench.writer.step(bench.now);
        }
        asked.join().unwrap()
    })
}

#[test]
fn a_flush_answers_when_what_was_pending_is_written() {
    let disk = FakeDisk::default();
    let mut bench = Setup { capacity: 10_000, ..Setup::new() }.file(&disk, None, Fsync::Never).bench();
    // More than the writer takes in one turn.
    for _ in 0..9000 {
        bench.log(Level::Error);
    }
    let answered = bench.pipeline.ask_without_waiting(false);
    let mut turns = 0;
    let answer = loop {
        bench.step();
        turns += 1;
        if let Ok(answer) = answered.try_recv() {
            break answer;
        }
    };
    assert_eq!((answer, parse(&[disk.read(PATH)]).records.len()), (Ok(()), 9000));
    assert!(turns > 1, "it was all in one turn");
}

#[test]
fn a_flush_does_not_wait_for_what_is_logged_after_it() {
    let disk = FakeDisk::default();
    let mut bench = Setup { capacity: 10_000, ..Setup::new() }.file(&disk, None, Fsync::Never).bench();
    for _ in 0..5000 {
        bench.log(Level::Error);
    }
    let answered = bench.pipeline.ask_without_waiting(false);
    let answer = (0..100).find_map(|_| {
        let taken = bench.step().taken;
        (0..taken).for_each(|_| bench.log(Level::Error));
        answered.try_recv().ok()
    });
    assert_eq!((answer, bench.handle.stats().pending), (Some(Ok(())), 5000));
}

/// The cause was that of a later turn, in which nothing was lost.
#[test]
fn a_flush_says_why_something_was_lost_although_all_is_well_again() {
    let disk = FakeDisk::default();
    let limited = FakeDisk::default();
    let file = FileSink::new(limited.clone(), Target::Path(PATH.into()), FileOptions::default());
    let setup = Setup { capacity: 20_000, ..Setup::new() }.file(&disk, None, Fsync::Never).sink(file);
    let mut bench = setup.bench();
    bench.step();
    for _ in 0..15_000 {
        bench.log(Level::Error);
    }
    let answered = bench.pipeline.ask_without_waiting(false);
    limited.world().longest = Some(0);
    bench.step();
    limited.world().longest = None;
    bench.pass(Duration::from_secs(2));
    while bench.handle.stats().pending > 0 {
        assert!(answered.try_recv().is_err(), "not all is written");
        bench.step();
    }
    assert_eq!(bench.handle.state(), State::Healthy);
    assert_eq!(answered.try_recv().ok(), Some(Err(FlushError::Suspended(Cause::FileTooLarge))));
}

#[test]
fn a_flush_that_nobody_answers_comes_back_at_its_deadline() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(1);
    assert_eq!(bench.handle.flush(Duration::from_millis(5)), Err(FlushError::Timeout));
    assert_eq!(bench.handle.flush(Duration::ZERO), Err(FlushError::Timeout));
}

#[test]
fn a_flush_on_a_full_disk_says_so() {
    let disk = FakeDisk::with_capacity(4 * KIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.log_some(200);
    let answer = ask(&mut bench, |handle| handle.flush(Duration::MAX));
    assert_eq!(answer, Err(FlushError::Suspended(Cause::DiskFull)));
}

#[test]
fn a_shutdown_writes_what_is_pending_and_closes() {
    let disk = FakeDisk::default();
    // More than the writer takes in one turn.
    let mut bench = Setup { capacity: 10_000, ..Setup::new() }.file(&disk, None, Fsync::Never).bench();
    for _ in 0..9000 {
        bench.log(Level::Error);
    }
    assert_eq!(ask(&mut bench, |handle| handle.shutdown(Duration::MAX)), Ok(()));
    assert_eq!(bench.handle.stats().written, 9000);
    let stats = bench.handle.stats();
    assert_eq!(parse(&[disk.read(PATH)]).records.len() as u64, stats.written);
    assert_eq!(bench.handle.state(), State::Closed);
    for level in Level::iter() {
        assert_eq!(bench.pipeline.closed_to(level, Wanting::NOBODY), Some(DropReason::Shutdown), "{level}");
    }
    bench.log(Level::Error);
    assert_eq!(bench.handle.stats().dropped.shutdown, 1);
    bench.assert_identity("closed");
    assert_eq!(bench.handle.flush(Duration::MAX), Err(FlushError::Closed));
    assert_eq!(bench.handle.shutdown(Duration::MAX), Err(FlushError::Closed));
}

#[test]
fn losses_that_no_line_has_told_are_told_before_the_end() {
    let disk = FakeDisk::default();
    let mut bench = Setup { capacity: 4, ..Setup::new() }.file(&disk, None, Fsync::Never).bench();
    for _ in 0..3 {
        for _ in 0..10 {
            bench.log(Level::Error);
        }
        bench.step();
    }
    assert_eq!(ask(&mut bench, |handle| handle.shutdown(Duration::MAX)), Ok(()));
    super::invariants::assert_invariants(&bench, &disk, "the end");
}

#[test]
fn a_shutdown_past_its_deadline_counts_what_is_left() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(7);
    assert_eq!(bench.handle.shutdown(Duration::from_millis(5)), Err(FlushError::Timeout));
    assert_eq!(bench.handle.state(), State::Closed);
    assert_eq!(bench.handle.stats().dropped.shutdown, 7);
    bench.log(Level::Error);
    assert_eq!(bench.handle.stats().dropped.shutdown, 8);
    bench.assert_identity("past the deadline");
}

#[test]
fn many_flushes_at_once_are_all_answered() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(100);
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..64)
            .map(|_| {
                let handle = bench.handle.clone();
                scope.spawn(move || handle.flush(Duration::MAX))
            })
            .collect();
        while asked.iter().any(|asked| !asked.is_finished()) {
            bench.writer.step(bench.now);
        }
        for asked in asked {
            assert_eq!(asked.join().unwrap(), Ok(()));
        }
    });
}

/// It said `Ok`: the log was well again when it ended.
#[test]
fn a_shutdown_does_not_say_ok_for_what_a_panic_lost() {
    let sink = super::sinks::KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    bench.step();
    bench.log_some(5);
    *sink.panics_after.lock().unwrap() = Some(0);
    let pipeline = bench.pipeline.clone();
    std::thread::scope(|scope| {
        let handle = bench.handle.clone();
        let asked = scope.spawn(move || handle.shutdown(Duration::MAX));
        while !pipeline.has_requests() {
            std::thread::yield_now();
        }
        bench.writer.step(bench.now);
        *sink.panics_after.lock().unwrap() = None;
        while !bench.writer.step(bench.now).ended {}
        assert_eq!(asked.join().unwrap(), Err(FlushError::Suspended(Cause::Io)));
    });
    assert_eq!(bench.handle.stats().dropped.panicked, 5);
}

/// The writer noted what was dropped so far when it saw the request: what it dropped between the
/// call and that moment was missing from the answer, which was `Ok`.
#[test]
fn a_record_that_is_dropped_between_the_call_and_the_request_is_in_the_answer() {
    for shutdown in [false, true] {
        let disk = FakeDisk::with_capacity(256 * KIB);
        let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
        bench.step();
        bench.log(Level::Info);
        let (reply, answered) = bench.pipeline.stamped_reply();
        disk.world().filler = 256 * KIB;
        bench.step();
        assert_eq!(bench.handle.stats().dropped.total(), 1);
        disk.world().filler = 0;
        bench.live(Duration::from_secs(2));
        bench.pipeline.send_without_waiting(shutdown, reply);
        bench.step();
        assert_eq!(answered.try_recv().unwrap(), Err(FlushError::Suspended(Cause::DiskFull)), "shutdown: {shutdown}");
    }
}

/// Its queue is filled while it writes, as by other threads while the disk is slow.
struct FloodSink(Arc<OnceLock<Arc<Pipeline>>>);

impl OutputSink for FloodSink {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        for _ in 0..6 {
            let record = log::Record::builder().level(Level::Debug).args(format_args!("later")).build();
            let record = OwnedRecord::capture(&record, Stamp::at(UNIX_EPOCH), Caller { thread: 1, name: None });
            self.0.get().unwrap().offer(Level::Debug, Wanting::NOBODY, &mut Draft::new(record));
        }
        Ok(())
    }
}

/// `Dropped` was the answer although all that was pending at the call was written.
#[test]
fn a_flush_does_not_say_dropped_for_the_eviction_of_what_was_logged_after_it() {
    let pipeline = Arc::new(OnceLock::new());
    let setup = Setup { capacity: 4, overflow: Overflow::DropOldest, ..Setup::new() };
    let mut bench = setup.sink(FloodSink(pipeline.clone())).bench();
    pipeline.set(bench.pipeline.clone()).ok().unwrap();
    (0..4).for_each(|_| bench.log(Level::Info));
    let answered = bench.pipeline.ask_without_waiting(false);
    bench.step();
    assert!(bench.handle.stats().dropped.queue_full > 0);
    assert_eq!(answered.try_recv().unwrap(), Ok(()));
}

#[test]
fn a_flush_does_not_say_ok_for_a_record_that_made_way_for_a_newer_one() {
    let disk = FakeDisk::default();
    let setup = Setup { capacity: 4, overflow: Overflow::DropOldest, ..Setup::new() };
    let mut bench = setup.file(&disk, None, Fsync::Never).bench();
    for (more, answer) in [(1, Err(FlushError::Dropped)), (0, Ok(()))] {
        (0..4).for_each(|_| bench.log(Level::Info));
        let answered = bench.pipeline.ask_without_waiting(false);
        (0..more).for_each(|_| bench.log(Level::Info));
        bench.step();
        assert_eq!(answered.try_recv().unwrap(), answer);
    }
}
