//! Pipes, terminals and FIFOs whose reader is slow: what waits, what is dropped, and when the
//! output is suspended.

use std::time::Duration;

use log::{Level, LevelFilter};

use super::bench::{Bench, PATH, Setup};
use super::invariants::{Line, assert_invariants, assert_recovery, parse};
use super::sinks::KeepSink;
use crate::disk::Stream;
use crate::error::FlushError;
use crate::event::{Cause, Event, State};
use crate::queue::Overflow;
use crate::sink::Backlog;
use crate::sink::file::Target;
use crate::sink::log_file::{FileOptions, Fsync};
use crate::sink::opened::OpenedSink;
use crate::sink::rotation::Rotation;
use crate::tests::fake_disk::{FakeDisk, Fault, Op, STREAM};
use crate::{KIB, LogFile, WhenLow};

const EBADF: i32 = 9;
const EAGAIN: i32 = 11;
const EACCES: i32 = 13;
const EPIPE: i32 = 32;
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A pipe whose reader leaves `room` bytes.
fn pipe(room: usize) -> FakeDisk {
    let disk = FakeDisk::default();
    disk.world().is_pipe = true;
    disk.world().room = Some(room);
    disk
}

/// An output to that pipe, which lets `bytes` wait.
fn options(bytes: u64) -> FileOptions {
    FileOptions { backlog: Backlog { bytes, ..Backlog::default() }, ..FileOptions::default() }
}

fn bench(disk: &FakeDisk, bytes: u64) -> Bench {
    Setup::new().file_with(disk, options(bytes)).bench()
}

/// A pipe that has room for everything, and has five records of this bench.
fn open_pipe() -> (FakeDisk, Bench) {
    let disk = pipe(0);
    disk.world().room = None;
    let mut bench = bench(&disk, 1024 * KIB);
    bench.log_some(5);
    bench.step();
    (disk, bench)
}

/// The reader leaves room for `bytes` more.
fn read(disk: &FakeDisk, bytes: usize) {
    if let Some(room) = &mut disk.world().room {
        *room += bytes;
    }
}

/// The reader reads whatever comes, and the writer has time to see it.
fn read_on(bench: &mut Bench, disk: &FakeDisk) {
    disk.world().room = None;
    for _ in 0..20 {
        bench.pass(10 * MILLI);
        bench.step();
    }
}

fn records(disk: &FakeDisk) -> Vec<u64> {
    parse(&[disk.read(PATH)]).records
}

fn events(bench: &Bench) -> Vec<Event> {
    std::mem::take(&mut *bench.events.lock().unwrap())
}

#[test]
fn a_reader_that_pauses_gets_every_record_and_nothing_is_said_of_it() {
    let disk = pipe(10_000);
    let mut bench = bench(&disk, 1024 * KIB);
    for _ in 0..4 {
        bench.log_some(200);
        bench.step();
        bench.pass(SECOND);
        bench.assert_identity("while the reader pauses");
    }
    let stats = bench.handle.stats();
    assert!(stats.pending > 600 && stats.written > 50, "{stats:?}");
    assert_eq!((stats.dropped.total(), bench.handle.state()), (0, State::Healthy));
    read_on(&mut bench, &disk);
    assert_eq!(records(&disk), (0..800).collect::<Vec<_>>());
    assert!(parse(&[disk.read(PATH)]).lines.iter().all(|line| matches!(line, Line::Record(_))));
    assert_eq!(events(&bench).len(), 0);
    assert_eq!(bench.writer.memory_retained(0), 0, "the memory is given back");
    assert_invariants(&bench, &disk, "the reader goes on");
}

#[test]
fn an_output_that_is_lagging_takes_the_lines_up_in_their_order_however_little_its_reader_takes() {
    for takes in [1, 7, 100, 4096, 5000] {
        let disk = pipe(0);
        disk.world().takes_parts = true;
        let mut bench = bench(&disk, 1024 * KIB);
        bench.log_some(20);
        bench.log_padded(Level::Info, 9000);
        bench.log_some(20);
        bench.step();
        let mut turns = 0;
        while bench.handle.stats().pending > 0 {
            read(&disk, takes);
            bench.pass(10 * MILLI);
            bench.step();
            bench.assert_identity("piece by piece");
            turns += 1;
            assert!(turns < 20_000, "it does not end");
        }
        read_on(&mut bench, &disk);
        assert_eq!(records(&disk), (0..41).collect::<Vec<_>>(), "{takes} bytes at once");
        assert_eq!(bench.suspensions(), (0, 0));
        assert_invariants(&bench, &disk, "piece by piece");
    }
}

/// A line longer than what a pipe takes whole, and any line on a terminal, may be in the stream in
/// part.
#[test]
fn a_line_of_which_a_part_is_in_is_finished_before_anything_else_whatever_happens_meanwhile() {
    for room in (1..1600).step_by(13) {
        for backlog in [0, 300, 1024 * KIB] {
            let disk = pipe(room);
            disk.world().takes_parts = true;
            let mut bench = bench(&disk, backlog);
            bench.log_some(3);
            bench.log_padded(Level::Warn, 1000);
            bench.log_some(3);
            bench.step();
            // The reader takes nothing for so long that the output is suspended.
            bench.live(6 * SECOND);
            assert_eq!(bench.handle.state(), State::Suspended(Cause::Io), "{room}, {backlog}");
            bench.log_some(2);
            bench.step();
            bench.assert_identity("suspended");
            // It takes a part of the gap line, too.
            read(&disk, 60);
            bench.live(3 * SECOND);
            bench.log_some(2);
            bench.step();
            assert_recovery_of_a_stream(&mut bench, &disk);
            assert_eq!(parse(&[disk.read(PATH)]).fragments, Vec::<String>::new(), "{room}, {backlog}");
            assert_invariants(&bench, &disk, "after the gap");
        }
    }
}

/// As `assert_recovery`, for a reader that goes on.
fn assert_recovery_of_a_stream(bench: &mut Bench, disk: &FakeDisk) {
    disk.world().room = None;
    assert_recovery(bench, disk, "the reader goes on");
}

#[test]
fn half_a_line_of_a_broken_pipe_stays_alone_and_the_line_comes_whole_to_the_next_reader() {
    for backlog in [0, 1024 * KIB] {
        let disk = pipe(30);
        disk.world().takes_parts = true;
        let mut bench = Setup::new().file_with(&disk, FileOptions { retain: 0, ..options(backlog) }).bench();
        bench.log_some(3);
        bench.step();
        assert_eq!(bench.handle.stats().pending, if backlog == 0 { 1 } else { 3 });
        let at = disk.world().asked(Op::Write) + 1;
        disk.world().room = None;
        disk.world().fault = Some(Fault { at, only: Some(Op::Write), forever: false, errno: EPIPE });
        bench.pass(10 * MILLI);
        bench.step();
        assert!(bench.suspended());
        assert_recovery(&mut bench, &disk, "another reader comes");
        let parsed = parse(&[disk.read(PATH)]);
        assert_eq!(parsed.fragments.iter().map(String::len).collect::<Vec<_>>(), [30], "{backlog}");
        let first = if backlog == 0 { vec![0] } else { vec![0, 1, 2] };
        assert_eq!(parsed.records, [first, vec![3]].concat(), "{backlog}");
        bench.assert_identity("after a broken pipe");
        assert_eq!(parsed.told, bench.handle.stats().dropped.total());
    }
}

#[test]
fn a_write_ends_where_a_line_does_so_that_another_process_may_write_to_the_same_pipe() {
    let disk = pipe(6000);
    let mut bench = bench(&disk, 1024 * KIB);
    bench.log_some(200);
    bench.step();
    read_on(&mut bench, &disk);
    let text = disk.read(PATH);
    let mut end = 0;
    for len in disk.world().writes.clone() {
        end += len;
        assert_eq!(text[end - 1], b'\n');
    }
    assert_eq!(end, text.len());
}

#[test]
fn what_a_full_backlog_has_no_room_for_is_dropped_and_reported_where_it_is_missing() {
    let disk = pipe(0);
    let other = KeepSink::default();
    let mut bench = Setup::new().file_with(&disk, options(100 * KIB)).sink(other.clone()).bench();
    for _ in 0..4 {
        for _ in 0..500 {
            bench.log(Level::Info);
        }
        bench.step();
        bench.pass(100 * MILLI);
        bench.assert_identity("full");
    }
    let stats = bench.handle.stats();
    let [first, second] = stats.outputs.as_slice() else { panic!("{stats:?}") };
    assert_eq!((second.written, stats.written, stats.dropped.total()), (2000, 2000, 0));
    assert!(first.dropped.queue_full > 1000 && first.dropped.queue_full == first.dropped.total(), "{first:?}");
    // An eighth is left for WARN and ERROR.
    let dropped = first.dropped.total();
    bench.log(Level::Error);
    bench.log(Level::Warn);
    bench.step();
    assert_eq!(bench.handle.stats().outputs[0].dropped.total(), dropped);
    assert!(bench.writer.bytes_retained(0) <= 100 * KIB as usize);
    read_on(&mut bench, &disk);
    bench.log(Level::Info);
    bench.step();
    let parsed = parse(&[disk.read(PATH)]);
    let notice = parsed.lines.iter().position(|line| *line == Line::Notice).unwrap();
    assert_eq!(notice, parsed.lines.len() - 2, "after the lines that have waited, before newer ones");
    assert_eq!((parsed.told, parsed.records.len() as u64), (dropped, 2003 - dropped));
    assert_eq!(bench.suspensions(), (0, 0));
}

#[test]
fn where_nothing_else_is_to_be_written_the_queue_is_one_more_place_to_wait_in() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let disk = pipe(0);
        let mut bench = Setup { capacity: 4000, overflow, ..Setup::new() }.file_with(&disk, options(300 * KIB)).bench();
        for _ in 0..8 {
            for _ in 0..500 {
                bench.log(Level::Error);
            }
            bench.step();
        }
        assert_eq!(bench.handle.stats().dropped.total(), 0, "{overflow:?}");
        let step = bench.step();
        assert!(step.taken == 0 && step.holds_back, "{overflow:?}");
        assert_eq!(bench.handle.stats().pending, 4000);
        // Then the policy decides.
        for _ in 0..4000 {
            bench.log(Level::Error);
        }
        let dropped = bench.handle.stats().dropped;
        assert!(dropped.queue_full > 1000 && dropped.queue_full == dropped.total());
        bench.assert_identity("full");
        assert_recovery_of_a_stream(&mut bench, &disk);
        assert_invariants(&bench, &disk, "the reader goes on");
    }
}

/// The writer took a whole turn of INFO while only the eighth for WARN and ERROR had room for it:
/// after a pause of 2 s at 3000 records a second, a few dozen were dropped next to an empty queue.
#[test]
fn records_wait_in_the_queue_where_a_turn_of_them_would_need_the_room_for_warn_and_error() {
    let disk = pipe(0);
    let mut bench = Setup { capacity: 12_000, ..Setup::new() }.file_with(&disk, options(1024 * KIB)).bench();
    (0..8000).for_each(|_| bench.log_padded(Level::Info, 200));
    let mut turns = 0;
    while bench.pipeline.len() > 0 {
        if bench.step().holds_back {
            read(&disk, 4096);
        }
        bench.pass(MILLI);
        assert_eq!(bench.handle.stats().dropped.total(), 0, "{} records wait in the queue", bench.pipeline.len());
        turns += 1;
        assert!(turns < 20_000, "it does not end");
    }
    read_on(&mut bench, &disk);
    assert_eq!(records(&disk), (0..8000).collect::<Vec<_>>());
    assert_invariants(&bench, &disk, "the reader goes on");
}

#[test]
fn under_block_nothing_is_taken_until_the_slowest_reader_has_gone_on_and_nothing_is_dropped() {
    for backlog in [0, 64 * KIB, 1024 * KIB] {
        let disk = pipe(5000);
        let other = KeepSink::default();
        let setup = Setup { capacity: 8000, overflow: Overflow::Block, ..Setup::new() };
        let mut bench = setup.file_with(&disk, options(backlog)).sink(other.clone()).bench();
        let mut turns = 0;
        for _ in 0..16 {
            for _ in 0..500 {
                bench.log(Level::Info);
            }
            turns += usize::from(bench.step().taken > 0);
        }
        assert!(turns < 14, "{backlog}: {turns} turns have taken something");
        assert!(bench.pipeline.len() > 1000, "{backlog}");
        // No more than a turn's lines over the backlog.
        assert!(bench.writer.bytes_retained(0) <= backlog as usize + 300 * KIB as usize);
        while bench.pipeline.len() > 0 {
            bench.assert_identity("held back");
            read(&disk, 4096);
            bench.pass(MILLI);
            bench.step();
        }
        read_on(&mut bench, &disk);
        assert_eq!(records(&disk), (0..8000).collect::<Vec<_>>(), "{backlog}");
        assert_eq!(parse(&[other.kept.lock().unwrap().clone()]).records.len(), 8000);
        assert_eq!((bench.handle.stats().dropped.total(), bench.suspensions()), (0, (0, 0)));
    }
}

#[test]
fn under_block_a_reader_that_stands_still_holds_the_callers_up_until_its_patience_ends() {
    let disk = pipe(0);
    let other = KeepSink::default();
    let setup = Setup { capacity: 8000, overflow: Overflow::Block, ..Setup::new() };
    let mut bench = setup.file_with(&disk, options(64 * KIB)).sink(other.clone()).bench();
    (0..8000).for_each(|_| bench.log(Level::Info));
    bench.step();
    bench.live(4900 * MILLI);
    assert!(bench.pipeline.len() > 3000 && !bench.suspended());
    bench.live(200 * MILLI);
    assert!(bench.suspended());
    bench.live(SECOND);
    assert_eq!(bench.pipeline.len(), 0);
    assert_eq!(parse(&[other.kept.lock().unwrap().clone()]).records.len(), 8000, "the other output has all");
    assert_recovery_of_a_stream(&mut bench, &disk);
    bench.assert_identity("after the suspension");
    assert_eq!(parse(&[disk.read(PATH)]).told, bench.handle.stats().outputs[0].dropped.total());
}

#[test]
fn a_reader_that_takes_nothing_for_its_patience_suspends_the_output_and_one_that_takes_a_little_does_not() {
    for patience in [Duration::ZERO, SECOND, 5 * SECOND, 60 * SECOND] {
        let disk = pipe(100);
        let backlog = Backlog { bytes: 1024 * KIB, patience };
        let mut bench = Setup::new().file_with(&disk, FileOptions { backlog, ..options(0) }).bench();
        bench.log_some(500);
        bench.step();
        if patience > Duration::ZERO {
            for _ in 0..100 {
                read(&disk, 100);
                bench.live(patience / 2);
                assert!(!bench.suspended(), "{patience:?}");
            }
            bench.live(patience / 2 - 200 * MILLI);
            assert!(!bench.suspended(), "{patience:?}");
            bench.live(400 * MILLI);
        }
        assert_eq!(bench.handle.state(), State::Suspended(Cause::Io), "{patience:?}");
        let said: Vec<_> = events(&bench).iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("failed to write") && said[1].contains("suspended"), "{said:?}");
        // What waits is still there, and more of it while there is room.
        bench.log_some(100);
        bench.step();
        assert_eq!(bench.handle.stats().dropped.total(), 0);
        assert_recovery_of_a_stream(&mut bench, &disk);
        assert_eq!(bench.suspensions().1, 1);
        assert_invariants(&bench, &disk, "the reader goes on");
        assert!(records(&disk).iter().copied().eq(0..601), "{patience:?}");
    }
}

/// It said the time at which the reader's patience had ended, seconds after the first of them.
#[test]
fn a_gap_line_after_a_full_backlog_says_since_when_records_are_missing() {
    let disk = pipe(0);
    let mut bench = bench(&disk, 64 * KIB);
    bench.log_some(10);
    bench.step();
    for second in 0..12 {
        bench.pass(SECOND);
        if second >= 1 {
            bench.log_some(1000);
        }
        bench.step();
    }
    assert!(bench.suspended());
    assert_recovery_of_a_stream(&mut bench, &disk);
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let gap = text.lines().find(|line| line.contains("logging resumed")).unwrap();
    // The last turn in which none was missing was a second after the start.
    assert!(gap.contains(" from=2001-09-09T01:46:41.000000Z "), "{gap}");
}

#[test]
fn a_stream_that_stands_still_for_long_costs_its_callers_nothing_once_its_backlog_is_full() {
    let disk = pipe(0);
    let mut bench = bench(&disk, 300 * KIB);
    for _ in 0..12 {
        bench.log_some(1000);
        bench.live(SECOND);
    }
    assert!(bench.suspended());
    let taken = bench.pipeline.counters.writer.taken.total();
    bench.log_some(1000);
    bench.live(SECOND);
    assert_eq!(bench.pipeline.counters.writer.taken.total(), taken, "the gate is closed");
    assert!(bench.writer.bytes_retained(0) <= 300 * KIB as usize);
    assert_recovery_of_a_stream(&mut bench, &disk);
    assert_invariants(&bench, &disk, "the reader goes on");
}

#[test]
fn a_flush_waits_for_the_lines_that_waited_at_the_call_and_for_no_later_ones() {
    let disk = pipe(1000);
    let mut bench = bench(&disk, 1024 * KIB);
    bench.log_some(100);
    bench.step();
    let answered = bench.pipeline.ask_without_waiting(false);
    let mut answer = None;
    while answer.is_none() {
        bench.log_some(1);
        bench.pass(10 * MILLI);
        read(&disk, 50);
        bench.step();
        answer = answered.try_recv().ok();
        assert!(answer.is_none() || records(&disk).len() >= 100);
    }
    assert_eq!(answer, Some(Ok(())));
    assert!(bench.handle.stats().pending > 20, "later ones still wait");
}

/// `Dropped` was the answer although all that was pending at the call was written.
#[test]
fn a_flush_does_not_say_dropped_for_what_finds_no_room_in_a_backlog_after_the_call() {
    let disk = pipe(0);
    let mut bench = Setup::new().file_with(&disk, options(20 * KIB)).sink(KeepSink::default()).bench();
    bench.log_some(10);
    let answered = bench.pipeline.ask_without_waiting(false);
    bench.step();
    bench.log_some(500);
    bench.step();
    assert!(bench.handle.stats().outputs[0].dropped.queue_full > 0);
    assert!(answered.try_recv().is_err(), "lines wait");
    read_on(&mut bench, &disk);
    assert_eq!(answered.try_recv().ok(), Some(Ok(())));
}

#[test]
fn a_flush_says_that_a_full_backlog_has_dropped_something_or_that_the_output_was_suspended() {
    let disk = pipe(0);
    let mut bench = Setup::new().file_with(&disk, options(20 * KIB)).sink(KeepSink::default()).bench();
    bench.log_some(500);
    let answered = bench.pipeline.ask_without_waiting(false);
    bench.step();
    assert!(answered.try_recv().is_err(), "lines wait");
    read_on(&mut bench, &disk);
    assert_eq!(answered.try_recv().ok(), Some(Err(FlushError::Dropped)));
    disk.world().room = Some(0);
    bench.log_some(10);
    let answered = bench.pipeline.ask_without_waiting(false);
    bench.live(4 * SECOND);
    assert!(answered.try_recv().is_err(), "lines wait");
    bench.live(2 * SECOND);
    assert_eq!(answered.try_recv().ok(), Some(Err(FlushError::Suspended(Cause::Io))));
}

#[test]
fn a_shutdown_waits_for_the_lines_that_wait_and_for_the_line_that_reports_what_was_dropped() {
    let disk = pipe(0);
    let mut bench = Setup::new().file_with(&disk, options(20 * KIB)).sink(KeepSink::default()).bench();
    bench.log_some(500);
    bench.step();
    let answered = bench.pipeline.ask_without_waiting(true);
    let mut ended = false;
    for _ in 0..2000 {
        assert!(!ended);
        read(&disk, 4096);
        bench.pass(MILLI);
        ended = bench.step().ended;
        if ended {
            break;
        }
    }
    assert!(ended && bench.handle.state() == State::Closed);
    assert_eq!(answered.try_recv().ok(), Some(Ok(())));
    let (parsed, stats) = (parse(&[disk.read(PATH)]), bench.handle.stats());
    assert_eq!(parsed.told, stats.outputs[0].dropped.total(), "the drops are reported");
    assert_eq!(parsed.records.len() as u64, stats.outputs[0].written);
    assert_eq!(parsed.lines.last(), Some(&Line::Notice));
    bench.assert_identity("closed");
}

/// The last attempt of a suspended output may find a slow reader. What that one had no room for was
/// dropped at once, with all the time until the deadline left; and a line of which a part was in
/// went in as a whole, and counted as dropped.
#[test]
fn a_shutdown_waits_for_the_slow_reader_that_the_last_attempt_finds() {
    let disk = pipe(30);
    disk.world().takes_parts = true;
    let mut bench = bench(&disk, 20 * KIB);
    bench.log_some(3);
    bench.step();
    let at = disk.world().asked(Op::Write) + 1;
    disk.world().room = None;
    disk.world().fault = Some(Fault { at, only: Some(Op::Write), forever: false, errno: EPIPE });
    bench.pass(10 * MILLI);
    bench.step();
    assert!(bench.suspended());
    disk.world().room = Some(250);
    let answered = bench.pipeline.ask_without_waiting(true);
    for _ in 0..100 {
        if bench.step().ended {
            break;
        }
        bench.pass(10 * MILLI);
        read(&disk, 10);
    }
    assert_eq!(answered.try_recv().ok(), Some(Ok(())));
    let (parsed, stats) = (parse(&[disk.read(PATH)]), bench.handle.stats());
    assert_eq!((parsed.records, stats.written, stats.dropped.total()), (vec![0, 1, 2], 3, 0));
    bench.assert_identity("closed");
}

#[test]
fn what_still_waits_at_the_deadline_is_dropped_and_counted() {
    for suspended in [false, true] {
        let disk = pipe(1000);
        let mut bench = bench(&disk, 1024 * KIB);
        bench.log_some(100);
        bench.step();
        if suspended {
            bench.live(6 * SECOND);
        }
        let _answered = bench.pipeline.ask_without_waiting(true);
        for _ in 0..20 {
            bench.pass(100 * MILLI);
            assert!(!bench.step().ended);
        }
        bench.pipeline.end();
        assert!(bench.step().ended);
        let stats = bench.handle.stats();
        let dropped = if suspended { stats.dropped.io_error } else { stats.dropped.shutdown };
        assert_eq!((stats.pending, stats.written + dropped), (0, 100), "{stats:?}");
        bench.assert_identity("past the deadline");
    }
}

#[test]
fn an_overload_that_does_not_end_is_reported_every_five_seconds() {
    let disk = pipe(0);
    let mut bench = Setup::new().file_with(&disk, options(20 * KIB)).sink(KeepSink::default()).bench();
    for _ in 0..220 {
        bench.log_some(200);
        bench.pass(100 * MILLI);
        read(&disk, 4096);
        bench.step();
    }
    let notices = |disk: &FakeDisk| {
        let lines = parse(&[disk.read(PATH)]).lines;
        lines.iter().filter(|line| **line == Line::Notice).count()
    };
    assert!((3..=5).contains(&notices(&disk)), "{} notices in 22 s", notices(&disk));
    disk.world().room = None;
    bench.live(6 * SECOND);
    let parsed = parse(&[disk.read(PATH)]);
    assert_eq!(parsed.told, bench.handle.stats().outputs[0].dropped.total());
    parsed.assert_order(&bench.ledger, "overload");
}

/// Of a flood it said the time of its first loss, although lines since then had reported the
/// losses.
#[test]
fn a_gap_line_says_no_time_before_the_last_line_on_drops() {
    let disk = pipe(0);
    let mut bench = Setup::new().file_with(&disk, options(20 * KIB)).sink(KeepSink::default()).bench();
    for tenth in 0..300 {
        bench.log_some(200);
        bench.pass(100 * MILLI);
        read(&disk, if tenth < 200 { 4096 } else { 0 });
        bench.step();
    }
    assert!(bench.suspended());
    assert_recovery_of_a_stream(&mut bench, &disk);
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let (before, gap) = text.split_once(" WARN  unfazed: logging resumed").unwrap();
    let reported = before.lines().rfind(|line| line.contains(" dropped ")).unwrap().split(' ').next().unwrap();
    let from = gap.split_once(" from=").unwrap().1.split(' ').next().unwrap();
    assert!(reported > "2001-09-09T01:46:55" && from > "2001-09-09T01:46:55", "{reported}, {from}");
    assert!(from < "2001-09-09T01:47:02", "{from}: the reader was there until then");
}

#[test]
fn a_descriptor_that_takes_no_more_is_kept() {
    let (disk, mut bench) = open_pipe();
    let opened = disk.world().asked(Op::Open);
    let written = disk.world().asked(Op::Write);
    disk.world().fault = Some(Fault { at: written + 1, only: Some(Op::Write), forever: true, errno: EAGAIN });
    bench.log_some(5);
    bench.step();
    assert_eq!(bench.handle.state(), State::Healthy);
    bench.live(6 * SECOND);
    assert_eq!(bench.handle.state(), State::Suspended(Cause::Io));
    assert_recovery(&mut bench, &disk, "it takes bytes again");
    assert_invariants(&bench, &disk, "it takes bytes again");
    assert_eq!(disk.world().asked(Op::Open), opened, "only what is broken is opened again");
}

#[test]
fn what_the_program_orders_waits_until_nothing_else_does() {
    let disk = pipe(500);
    let mut bench = bench(&disk, 1024 * KIB);
    bench.log_some(50);
    bench.step();
    bench.handle.reopen();
    bench.step();
    assert_eq!(disk.world().asked(Op::Open), 1);
    read_on(&mut bench, &disk);
    bench.live(SECOND);
    assert_eq!(disk.world().asked(Op::Open), 2);
    assert_eq!(records(&disk).len(), 50);
}

/// The stream was closed first, and a program that had dropped its rights could not open it again.
#[test]
fn a_stream_that_cannot_be_opened_again_by_order_stays_open() {
    let (disk, mut bench) = open_pipe();
    let opened = disk.world().asked(Op::Open);
    disk.world().fault = Some(Fault { at: opened + 1, only: Some(Op::Open), forever: true, errno: EACCES });
    bench.handle.reopen();
    bench.step();
    bench.log_some(5);
    bench.live(SECOND);
    assert_eq!((bench.handle.state(), bench.suspensions()), (State::Healthy, (0, 0)));
    assert_eq!(records(&disk), (0..10).collect::<Vec<_>>());
    assert_eq!(disk.world().asked(Op::Open), opened + 1);
    let told = events(&bench);
    assert!(matches!(told[..], [Event::Failed { doing: "open", .. }]), "{told:?}");
}

/// Standard error that leads to a regular file was closed first, where one that leads to a pipe
/// stayed open: a program that had closed it lost each record from then on.
#[test]
fn a_console_in_a_file_that_cannot_be_opened_again_by_order_stays_open() {
    let disk = FakeDisk::default();
    let console = OpenedSink::new(disk.clone(), Target::Stream(Stream::Stderr), FileOptions::default());
    let mut bench = Setup::new().sink(console).bench();
    bench.log_some(5);
    bench.step();
    let opened = disk.world().asked(Op::Open);
    disk.world().fault = Some(Fault { at: opened + 1, only: Some(Op::Open), forever: true, errno: EBADF });
    for ordered in 1..=2 {
        bench.handle.reopen();
        bench.step();
        bench.log_some(5);
        bench.live(SECOND);
        assert_eq!((bench.handle.state(), bench.suspensions()), (State::Healthy, (0, 0)));
        assert_eq!(disk.world().asked(Op::Open), opened + ordered);
        let told = events(&bench);
        assert!(matches!(told[..], [Event::Failed { doing: "open", .. }]), "{told:?}");
    }
    disk.world().fault = None;
    bench.handle.reopen();
    bench.step();
    bench.log_some(5);
    bench.live(SECOND);
    assert_eq!(disk.world().asked(Op::Open), opened + 3);
    assert_eq!(parse(&[disk.read(STREAM)]).records, (0..20).collect::<Vec<_>>());
}

/// What stands at the path may be another kind of thing when it is opened again.
#[test]
fn a_path_may_lead_to_a_file_after_a_pipe_and_to_a_pipe_after_a_file() {
    let disk = pipe(0);
    let mut bench = bench(&disk, 1024 * KIB);
    bench.log_some(5);
    bench.step();
    disk.world().room = None;
    let written = disk.world().asked(Op::Write);
    disk.world().fault = Some(Fault { at: written + 1, only: Some(Op::Write), forever: false, errno: EPIPE });
    disk.world().is_pipe = false;
    bench.live(2 * SECOND);
    assert!(!bench.suspended());
    bench.log_some(5);
    bench.step();
    disk.world().is_pipe = true;
    bench.handle.reopen();
    bench.step();
    bench.log_some(5);
    bench.step();
    assert_eq!(records(&disk), (0..15).collect::<Vec<_>>());
    bench.live(6 * SECOND);
    assert_invariants(&bench, &disk, "one after the other");
}

#[test]
fn two_streams_lag_at_their_own_pace_and_each_gets_its_lines() {
    let (one, other) = (pipe(2000), pipe(0));
    let stream = crate::sink::opened::OpenedSink::new(
        other.clone(),
        crate::sink::file::Target::Path(PATH.into()),
        options(1024 * KIB),
    );
    let mut bench = Setup::new()
        .file_with(&one, options(1024 * KIB))
        .output(LevelFilter::Warn, crate::Format::text(), stream)
        .backlog(Backlog::default())
        .bench();
    for _ in 0..10 {
        bench.log_some(100);
        read(&one, 3000);
        bench.pass(10 * MILLI);
        bench.step();
        bench.assert_identity("two of them");
    }
    read_on(&mut bench, &one);
    assert_eq!(records(&one), (0..1000).collect::<Vec<_>>());
    assert_eq!(records(&other).len(), 0);
    read_on(&mut bench, &other);
    assert_eq!(records(&other).len(), 500);
    assert_eq!(bench.handle.stats().pending, 0);
}

/// Whatever write of a terminal or pipe fails, and whenever.
#[test]
fn whichever_write_of_a_stream_fails_the_account_is_exact_and_no_line_is_glued() {
    for errno in [EAGAIN, EPIPE, 5, 28, 4] {
        for takes_parts in [false, true] {
            for forever in [false, true] {
                for at in 1..24 {
                    let disk = pipe(700);
                    disk.world().takes_parts = takes_parts;
                    disk.world().fault = Some(Fault { at, only: Some(Op::Write), forever, errno });
                    let mut bench = bench(&disk, 2 * KIB);
                    for number in 0..30 {
                        bench.log_some(1);
                        if number % 7 == 0 {
                            bench.log_padded(Level::Warn, 5000);
                        }
                        read(&disk, 450);
                        bench.pass(300 * MILLI);
                        bench.step();
                        bench.assert_identity("any write");
                    }
                    let story = format!("errno {errno}, at {at}, forever {forever}, parts {takes_parts}");
                    disk.world().fault = None;
                    disk.world().room = None;
                    assert_recovery(&mut bench, &disk, &story);
                    let parsed = parse(&[disk.read(PATH)]);
                    parsed.assert_order(&bench.ledger, &story);
                    let stats = &bench.handle.stats().outputs[0];
                    assert_eq!(parsed.records.len() as u64, stats.written, "{story}");
                    assert_eq!(parsed.told, stats.dropped.total(), "{story}");
                    assert!(parsed.fragments.len() <= if errno == EAGAIN { 0 } else { 24 }, "{story}: {parsed:?}");
                }
            }
        }
    }
}

#[test]
fn a_stream_is_never_synced_locked_or_asked_for_its_space() {
    let disk = pipe(0);
    disk.world().room = None;
    let mut bench = Setup::new().file_with(&disk, FileOptions { fsync: Fsync::AfterErrors, ..options(0) }).bench();
    bench.log_some(20);
    bench.live(2 * SECOND);
    let asked: Vec<_> = disk.world().asked.keys().copied().collect();
    assert_eq!(asked, [Op::Open, Op::Write]);
}

/// What asks for archives, which only a regular file has.
const ASK_FOR_ARCHIVES: [fn(LogFile) -> LogFile; 3] =
    [|file| file.rotation(Rotation::size(2000)), |file| file.max_files(3), |file| file.when_low(WhenLow::DeleteOldest)];

fn log_before_and_after_a_pipe_took_the_place(bench: &mut Bench, disk: &FakeDisk) {
    bench.log_some(1);
    bench.step();
    disk.rename(PATH, "/logs/taken");
    disk.world().is_pipe = true;
    bench.pass(200 * MILLI);
    bench.log_some(1);
    bench.step();
}

/// Whoever owned the directory put a FIFO with a reader in the place of the log: the log went on
/// into it, and rotation and retention were off in silence.
#[test]
fn a_stream_in_the_place_of_a_log_with_archives_suspends_it_until_a_file_is_there_again() {
    for (case, asks) in ASK_FOR_ARCHIVES.into_iter().enumerate() {
        let disk = FakeDisk::default();
        let file = asks(LogFile::new(PATH).min_free_space(0));
        let mut bench = Setup::new().file_with(&disk, file.options).bench();
        log_before_and_after_a_pipe_took_the_place(&mut bench, &disk);
        bench.live(3 * SECOND);
        assert_eq!(bench.handle.state(), State::Suspended(Cause::Io), "case {case}");
        assert_eq!(disk.read(PATH), b"", "case {case}: the reader gets nothing");
        disk.world().is_pipe = false;
        bench.live(2 * SECOND);
        bench.log_some(2);
        bench.step();
        assert_eq!((bench.handle.state(), bench.suspensions()), (State::Healthy, (1, 1)), "case {case}");
        assert_eq!(records(&disk), [1, 2, 3], "case {case}: a WARN was retained");
        bench.assert_identity("a stream in the place of a file");
    }
    // Nobody asks for archives: a stream is as good as a file.
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    log_before_and_after_a_pipe_took_the_place(&mut bench, &disk);
    assert_eq!((records(&disk), bench.suspensions()), (vec![1], (0, 0)));
}

#[test]
fn a_stream_from_the_start_is_written_and_that_it_has_no_archives_is_reported_once() {
    let nothing: fn(LogFile) -> LogFile = |file| file;
    for (case, asks) in ASK_FOR_ARCHIVES.into_iter().chain([nothing]).enumerate() {
        let is_asked = case < ASK_FOR_ARCHIVES.len();
        let disk = pipe(10_000);
        let file = asks(LogFile::new(PATH).min_free_space(0));
        let mut bench = Setup::new().file_with(&disk, file.options).bench();
        for _ in 0..3 {
            bench.log_some(2);
            bench.live(6 * SECOND);
            bench.handle.reopen();
        }
        assert_eq!(records(&disk), (0..6).collect::<Vec<_>>(), "case {case}");
        let events = events(&bench);
        let is_it = |event: &Event| matches!(event, Event::Failed { doing: "rotate", .. });
        assert!(events.len() == usize::from(is_asked) && events.iter().all(is_it), "case {case}: {events:?}");
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        let line = " WARN  unfazed: failed to rotate times=1 error=\"only a regular file has archives\"";
        assert_eq!(text.matches(line).count(), usize::from(is_asked), "case {case}: {text}");
    }
}
