//! Outputs of the program's own, several at once, and what they may do wrong.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;

use log::{Level, LevelFilter};

use super::bench::{Bench, Setup};
use super::invariants::parse;
use crate::error::FlushError;
use crate::event::{Cause, State};
use crate::format::Format;
use crate::front::logger::Core;
use crate::queue::Overflow;
use crate::sink::{Batch, OutputSink, WriteError};
use crate::tests::fake_disk::FakeDisk;
use crate::wanted::Wanting;

/// Keeps what it is given; takes so many lines of a batch, then fails; may panic, at once or after
/// so many batches.
#[derive(Clone, Default)]
pub(super) struct KeepSink {
    pub(super) kept: Arc<Mutex<Vec<u8>>>,
    batches: Arc<Mutex<Vec<usize>>>,
    pub(super) takes: Arc<Mutex<Option<usize>>>,
    panics: Arc<Mutex<bool>>,
    pub(super) panics_after: Arc<Mutex<Option<usize>>>,
}

impl OutputSink for KeepSink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        if *self.panics.lock().unwrap() {
            panic!("a sink that panics");
        }
        let left =
            self.panics_after.lock().unwrap().as_mut().map(|left| std::mem::replace(left, left.saturating_sub(1)));
        if left == Some(0) {
            panic!("a sink that panics now");
        }
        self.batches.lock().unwrap().push(batch.len());
        let takes = self.takes.lock().unwrap().unwrap_or(usize::MAX);
        for line in batch.lines().take(takes) {
            self.kept.lock().unwrap().extend_from_slice(line.bytes());
        }
        if takes < batch.len() { Err(WriteError::new(takes, Cause::Io)) } else { Ok(()) }
    }
}

impl KeepSink {
    fn records(&self) -> Vec<u64> {
        parse(&[self.kept.lock().unwrap().clone()]).records
    }
}

/// Refuses everything, and asks for odd times until the next attempt.
struct OddSink(Duration, Arc<Mutex<u64>>);

impl OutputSink for OddSink {
    fn write(&mut self, _batch: &Batch<'_>) -> Result<(), WriteError> {
        Err(WriteError::new(usize::MAX, Cause::Io).retry_after(self.0))
    }

    fn retry(&mut self, _now: crate::sink::Now) -> Result<(), WriteError> {
        *self.1.lock().unwrap() += 1;
        let odd = (*self.1.lock().unwrap()).is_multiple_of(2);
        let error = WriteError::new(0, Cause::Io);
        Err(if odd { error.retry_after(self.0) } else { error })
    }
}

#[test]
fn whatever_time_a_sink_asks_for_it_is_tried_again_at_a_sane_pace() {
    for wanted in [Duration::ZERO, Duration::MAX] {
        let tries = Arc::new(Mutex::new(0));
        let mut bench = Setup::new().sink(OddSink(wanted, tries.clone())).bench();
        bench.log_some(3);
        bench.live(Duration::from_secs(20));
        let tries = *tries.lock().unwrap();
        assert!((15..=200).contains(&tries), "{tries} tries in 20 s when it asks for {wanted:?}");
        bench.assert_identity("odd times");
    }
}

#[test]
fn a_flush_does_not_say_ok_for_what_a_panic_lost() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    *sink.panics.lock().unwrap() = true;
    bench.log_some(5);
    let handle = bench.handle.clone();
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || handle.flush(Duration::MAX));
        while !bench.pipeline.has_requests() {
            std::thread::yield_now();
        }
        while !asked.is_finished() {
            bench.writer.step(bench.now);
        }
        assert_eq!(asked.join().unwrap(), Err(crate::FlushError::Suspended(Cause::Io)));
    });
}

#[test]
fn a_batch_is_one_write() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    bench.log_some(300);
    bench.step();
    assert_eq!(*sink.batches.lock().unwrap(), [300]);
}

#[test]
fn the_lines_a_sink_took_count_as_written_and_the_others_as_lost() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    *sink.takes.lock().unwrap() = Some(3);
    bench.log_some(10);
    bench.step();
    let stats = bench.handle.stats();
    assert_eq!((stats.written, stats.dropped.io_error), (3, 7));
    assert_eq!(bench.handle.state(), State::Suspended(Cause::Io));
    *sink.takes.lock().unwrap() = None;
    bench.live(Duration::from_secs(2));
    assert_eq!(bench.handle.state(), State::Healthy);
    let parsed = parse(&[sink.kept.lock().unwrap().clone()]);
    assert_eq!((parsed.records.len(), parsed.told, parsed.gaps), (3, 7, 1));
    bench.assert_identity("three of ten");
}

#[test]
fn a_suspended_output_does_not_stop_the_others() {
    let (good, bad) = (KeepSink::default(), KeepSink::default());
    let mut bench = Setup::new().sink(bad.clone()).sink(good.clone()).bench();
    *bad.takes.lock().unwrap() = Some(0);
    for _ in 0..5 {
        bench.log_some(10);
        bench.live(Duration::from_millis(200));
    }
    assert_eq!(good.records(), (0..50).collect::<Vec<_>>());
    let stats = bench.handle.stats();
    assert_eq!((stats.written, stats.dropped.total()), (50, 0), "a record is written if one output has it");
    assert_eq!((stats.outputs[0].written, stats.outputs[0].dropped.io_error), (0, 50));
    bench.assert_identity("one of two");
}

#[test]
fn an_output_gets_the_levels_it_wants() {
    let (all, few) = (KeepSink::default(), KeepSink::default());
    let setup = Setup::new().output(LevelFilter::Warn, Format::text(), few.clone());
    let mut bench = setup.output(LevelFilter::Trace, Format::text(), all.clone()).bench();
    for level in Level::iter() {
        bench.log(level);
    }
    bench.step();
    assert_eq!((few.records(), all.records()), (vec![0, 1], vec![0, 1, 2, 3, 4]));
    let stats = bench.handle.stats();
    assert_eq!((stats.outputs[0].offered, stats.outputs[1].offered), (2, 5));
}

#[test]
fn the_gate_closes_only_for_levels_that_no_output_can_take() {
    let (all, few) = (KeepSink::default(), KeepSink::default());
    let setup = Setup::new().output(LevelFilter::Warn, Format::text(), few.clone());
    let mut bench = setup.output(LevelFilter::Trace, Format::text(), all.clone()).bench();
    *all.takes.lock().unwrap() = Some(0);
    bench.log(Level::Info);
    bench.step();
    assert!(bench.pipeline.closed_to(Level::Info, Wanting::NOBODY).is_some());
    assert!(bench.pipeline.closed_to(Level::Warn, Wanting::NOBODY).is_none());
    for level in Level::iter() {
        bench.log(level);
    }
    assert_eq!(bench.handle.stats().pending, 2, "what nothing can keep is not even queued");
    bench.step();
    assert_eq!(few.records(), [1, 2]);
    bench.assert_identity("half closed");
}

#[test]
fn what_is_logged_once_the_event_says_it_is_back_is_taken() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    *sink.takes.lock().unwrap() = Some(0);
    bench.log_some(1);
    bench.step();
    *sink.takes.lock().unwrap() = None;
    let (pipeline, seen) = (bench.pipeline.clone(), Arc::new(Mutex::new(None)));
    let saw = seen.clone();
    bench.writer.on_event(Box::new(move |event| {
        if let crate::Event::Resumed { .. } = event {
            *saw.lock().unwrap() = Some((pipeline.closed_to(Level::Info, Wanting::NOBODY).is_none(), pipeline.state()));
        }
    }));
    bench.live(Duration::from_secs(2));
    assert_eq!(*seen.lock().unwrap(), Some((true, State::Healthy)));
}

/// The losses of the last five seconds are told at the end; a sink that panicked just then left
/// them unreported, and all was well.
#[test]
fn a_shutdown_does_not_say_ok_when_a_panic_took_the_line_that_tells_the_losses() {
    for panics in [false, true] {
        let sink = KeepSink::default();
        let mut bench = Setup { capacity: 4, ..Setup::new() }.sink(sink.clone()).bench();
        for _ in 0..2 {
            bench.log_some(20);
            bench.step();
        }
        let told = |sink: &KeepSink| parse(&[sink.kept.lock().unwrap().clone()]).told;
        let lost = bench.handle.stats().dropped.total();
        assert!((1..lost).contains(&told(&sink)), "{} of {lost}", told(&sink));
        *sink.panics.lock().unwrap() = panics;
        let answer = bench.pipeline.ask_without_waiting(true);
        while !bench.step().ended {}
        let expected = if panics { Err(FlushError::Suspended(Cause::Io)) } else { Ok(()) };
        assert_eq!(answer.try_recv().unwrap(), expected);
        assert_eq!(told(&sink) == lost, !panics);
        bench.assert_identity("at the end");
    }
}

#[test]
fn a_sink_that_panics_drops_its_batch_and_is_suspended_until_it_takes_lines_again() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    bench.log_some(5);
    bench.step();
    *sink.panics.lock().unwrap() = true;
    bench.log_some(5);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::Io));
    bench.live(Duration::from_secs(2));
    assert!(bench.suspended(), "it still panics");
    *sink.panics.lock().unwrap() = false;
    bench.live(Duration::from_secs(1));
    assert_eq!((bench.handle.state(), bench.suspensions()), (State::Healthy, (1, 1)));
    bench.log_some(5);
    bench.step();
    assert_eq!(bench.handle.stats().dropped.panicked, 5);
    let parsed = parse(&[sink.kept.lock().unwrap().clone()]);
    assert_eq!((parsed.records.len(), parsed.told, parsed.gaps), (10, 5, 1));
    bench.assert_identity("panicked");
}

/// Takes each batch; may panic then.
#[derive(Clone, Default)]
struct TakeThenPanicSink {
    kept: Arc<Mutex<Vec<u8>>>,
    panics: Arc<Mutex<bool>>,
}

impl OutputSink for TakeThenPanicSink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        batch.lines().for_each(|line| self.kept.lock().unwrap().extend_from_slice(line.bytes()));
        if *self.panics.lock().unwrap() { panic!("a sink that has taken its batch") } else { Ok(()) }
    }
}

/// Nobody knows what such a sink has taken. A record is never written again, because it might stand
/// there twice. The crate's own lines are, because a loss that nobody reports is worse than one
/// that is reported twice.
#[test]
fn a_sink_that_panics_after_it_took_a_batch_gets_no_record_again_and_every_notice() {
    let sink = TakeThenPanicSink::default();
    let mut bench = Setup { capacity: 4, ..Setup::new() }.sink(sink.clone()).bench();
    bench.log_some(10);
    *sink.panics.lock().unwrap() = true;
    bench.step();
    *sink.panics.lock().unwrap() = false;
    bench.live(Duration::from_secs(2));
    let stats = bench.handle.stats();
    assert_eq!((stats.dropped.queue_full, stats.dropped.panicked, stats.written), (6, 4, 0));
    let parsed = parse(&[sink.kept.lock().unwrap().clone()]);
    assert_eq!((parsed.records.len(), parsed.gaps), (4, 1), "no record comes again");
    assert_eq!(parsed.told, 6 + 10, "what the panic may have taken is reported again: {:?}", parsed.lines);
    // From then on the account is exact.
    bench.log_some(4);
    bench.live(Duration::from_secs(6));
    let parsed = parse(&[sink.kept.lock().unwrap().clone()]);
    assert_eq!((parsed.records.len(), parsed.told), (8, 16), "{:?}", parsed.lines);
    bench.assert_identity("panicked");
}

#[test]
fn a_format_that_panics_or_fails_loses_that_record_and_nothing_else() {
    let disk = FakeDisk::default();
    let sink = crate::sink::file::FileSink::new(
        disk.clone(),
        crate::sink::file::Target::Path(super::bench::PATH.into()),
        crate::sink::log_file::FileOptions::default(),
    );
    let format = Format::custom(|line, record| {
        io::Write::write_all(line, b"half a line")?;
        match record.message() {
            message if message.contains("record 1 ") => panic!("a format that panics"),
            message if message.contains("record 3 ") => Err(io::ErrorKind::Other.into()),
            message => io::Write::write_all(line, message.as_bytes()),
        }
    });
    let mut bench = Setup::new().output(LevelFilter::Trace, format, sink).bench();
    bench.log_some(6);
    bench.step();
    let text = String::from_utf8(disk.read(super::bench::PATH)).unwrap();
    let records = text.lines().filter(|line| line.contains("record "));
    let numbers: Vec<_> = records.map(|line| line.split(' ').nth(3).unwrap()).collect();
    assert_eq!(numbers, ["0", "2", "4", "5"], "{text}");
    assert_eq!(bench.handle.stats().dropped.panicked, 2);
    bench.assert_identity("formats");
}

#[test]
fn a_format_that_ends_no_line_gets_its_newline() {
    let sink = KeepSink::default();
    let format = Format::custom(|line, record| write_if_odd(line, record.message()));
    fn write_if_odd(line: &mut crate::LineBuf, message: &str) -> io::Result<()> {
        // Some records end their line, some do not, some write nothing.
        let number: u64 = message.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
        match number % 3 {
            0 => io::Write::write_all(line, format!("{number}").as_bytes()),
            1 => io::Write::write_all(line, format!("{number}\n").as_bytes()),
            _ => Ok(()),
        }
    }
    let mut bench = Setup::new().output(LevelFilter::Trace, format, sink.clone()).bench();
    bench.log_some(6);
    bench.step();
    assert_eq!(*sink.kept.lock().unwrap(), b"0\n1\n3\n4\n");
    assert_eq!(bench.handle.stats().written, 6);
    bench.assert_identity("newlines");
}

/// Refuses everything, and notes when it is tried again.
#[derive(Clone, Default)]
struct NoteSink(Option<Duration>, Arc<Mutex<Vec<std::time::Instant>>>);

impl OutputSink for NoteSink {
    fn write(&mut self, _batch: &Batch<'_>) -> Result<(), WriteError> {
        Err(WriteError::new(0, Cause::Io))
    }

    fn retry(&mut self, now: crate::sink::Now) -> Result<(), WriteError> {
        self.1.lock().unwrap().push(now.monotonic);
        let error = WriteError::new(0, Cause::Io);
        Err(match self.0 {
            Some(after) => error.retry_after(after),
            None => error,
        })
    }
}

#[test]
fn a_sink_is_tried_again_when_it_asks_for_that_or_after_50_ms_and_then_twice_the_time() {
    let all: &[(Option<u64>, &[u64])] =
        &[(None, &[50, 100, 200, 400, 800, 1000, 1000]), (Some(300), &[50, 300, 300, 300])];
    for (wanted, delays) in all {
        let sink = NoteSink(wanted.map(Duration::from_millis), Arc::default());
        let mut bench = Setup::new().sink(sink.clone()).bench();
        bench.step();
        for _ in 0..5000 {
            bench.pass(Duration::from_millis(1));
            bench.step();
        }
        let tries = sink.1.lock().unwrap();
        for (pair, delay) in tries.windows(2).zip(*delays) {
            let after = (pair[1] - pair[0]).as_millis() as u64;
            assert!((delay * 3 / 4..=delay + 1).contains(&after), "{after} ms instead of {delay}, it wants {wanted:?}");
        }
    }
}

#[test]
fn a_batch_holds_64_kib_and_one_line_at_most() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    for _ in 0..200 {
        bench.log_padded(Level::Error, 3000);
    }
    while bench.step().taken > 0 {}
    assert_eq!(sink.records().len(), 200);
    let batches = sink.batches.lock().unwrap();
    // Lines of a little more than 3000 bytes.
    assert!(batches.iter().all(|lines| *lines <= 64 * 1024 / 3000 + 1), "{batches:?}");
    assert!(batches[0] >= 64 * 1024 / 3100, "{batches:?}");
}

#[test]
fn records_that_were_cut_are_counted() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink).bench();
    for padding in [10, 65_530, 10, 65_530, 65_530] {
        bench.log_padded(Level::Info, padding);
    }
    bench.step();
    while bench.step().taken > 0 {}
    assert_eq!(bench.handle.stats().truncated, 3);
}

/// Logs one line for each batch that it takes, as a client of a network may; may panic instead of
/// taking it.
#[derive(Clone, Default)]
struct LogSink {
    inner: KeepSink,
    core: Arc<OnceLock<Weak<Core>>>,
}

impl LogSink {
    fn log(core: &OnceLock<Weak<Core>>, who: &str) {
        let args = format_args!("own {who}");
        let record = log::Record::builder().args(args).level(Level::Error).target("own").build();
        core.get().unwrap().upgrade().unwrap().log(&record, None);
    }

    fn own_lines(&self) -> usize {
        String::from_utf8(self.inner.kept.lock().unwrap().clone()).unwrap().matches("own ").count()
    }
}

impl OutputSink for LogSink {
    fn is_programs(&self) -> bool {
        true
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        Self::log(&self.core, "sink");
        self.inner.write(batch)
    }
}

/// The other logger took the record for one from the code of its own output, which it is not
/// offered: 60 of 60 were dropped, and no gap line said so.
#[test]
fn what_a_sink_logs_to_another_logger_is_written_there_and_has_no_end_of_lines_follow() {
    let (one, two) = (LogSink::default(), LogSink::default());
    let mut first = Setup::new().sink(one.clone()).bench();
    let mut second = Setup::new().sink(two.clone()).bench();
    one.core.set(Arc::downgrade(second.logger.core())).unwrap();
    two.core.set(Arc::downgrade(first.logger.core())).unwrap();
    first.log(Level::Info);
    for _ in 0..10 {
        first.step();
        second.step();
    }
    assert_eq!((one.own_lines(), two.own_lines()), (0, 1));
    let of = |bench: &Bench| {
        let stats = bench.handle.stats();
        (stats.accepted, stats.written, stats.suppressed)
    };
    assert_eq!((of(&first), of(&second)), ((1, 1, 1), (1, 1, 0)));
    first.assert_identity("a sink that logs to another logger");
    second.assert_identity("the other logger");
}

/// One record from another logger silenced the sink for its whole batch. With a batch for each
/// change between the two, a sink that takes 20 ms for a batch had the queue drop three records of
/// four.
#[test]
fn a_sink_logs_of_its_own_records_among_those_of_another_logger() {
    let (one, two, last) = (LogSink::default(), LogSink::default(), KeepSink::default());
    let mut first = Setup::new().sink(one.clone()).bench();
    let mut second = Setup::new().sink(two.clone()).bench();
    let mut third = Setup::new().sink(last.clone()).bench();
    one.core.set(Arc::downgrade(second.logger.core())).unwrap();
    two.core.set(Arc::downgrade(third.logger.core())).unwrap();
    for _ in 0..3 {
        second.log(Level::Info);
        first.log(Level::Info);
        first.step();
    }
    assert_eq!(second.handle.stats().pending, 6);
    second.step();
    third.step();
    assert_eq!((two.inner.records(), two.own_lines()), (vec![0, 1, 2], 3));
    assert_eq!(*two.inner.batches.lock().unwrap(), [3, 3], "one batch of each kind");
    let text = String::from_utf8(last.kept.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("own sink").count(), 1, "for the batch of its own records: {text}");
    second.assert_identity("the logger in the middle");
}

/// 90 321 records in two seconds, from a sink whose client logs one line.
#[test]
fn what_a_sink_logs_goes_to_the_other_outputs_once() {
    let (sink, other) = (LogSink::default(), KeepSink::default());
    let mut bench = Setup::new().sink(sink.clone()).sink(other.clone()).bench();
    sink.core.set(Arc::downgrade(bench.logger.core())).unwrap();
    bench.log(Level::Info);
    bench.live(Duration::from_secs(5));
    let text = String::from_utf8(other.kept.lock().unwrap().clone()).unwrap();
    assert_eq!((text.matches("own sink").count(), sink.own_lines()), (1, 0), "{text}");
    let stats = bench.handle.stats();
    assert_eq!((stats.accepted, stats.written, stats.outputs[0].offered, stats.outputs[1].offered), (2, 2, 1, 2));
    bench.assert_identity("a sink that logs");
    // A flood of batches has it log often.
    for _ in 0..100 {
        bench.log(Level::Info);
        bench.step();
    }
    let text = String::from_utf8(other.kept.lock().unwrap().clone()).unwrap();
    assert!((5..=9).contains(&text.matches("own sink").count()), "{text}");
    assert!(bench.handle.stats().suppressed >= 90);
    bench.assert_identity("a flood");
}

#[test]
fn two_sinks_that_log_do_not_answer_each_other() {
    let (one, other) = (LogSink::default(), LogSink::default());
    let mut bench = Setup::new().sink(one.clone()).sink(other.clone()).bench();
    one.core.set(Arc::downgrade(bench.logger.core())).unwrap();
    other.core.set(Arc::downgrade(bench.logger.core())).unwrap();
    bench.log(Level::Info);
    bench.live(Duration::from_secs(5));
    assert_eq!((one.own_lines(), other.own_lines()), (1, 1));
    bench.assert_identity("two sinks that log");
}

#[test]
fn what_the_only_output_logs_is_not_taken() {
    let sink = LogSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    sink.core.set(Arc::downgrade(bench.logger.core())).unwrap();
    for _ in 0..10 {
        bench.log(Level::Info);
        bench.step();
    }
    bench.live(Duration::from_secs(5));
    let stats = bench.handle.stats();
    assert_eq!((stats.accepted, stats.written, sink.own_lines()), (10, 10, 0));
    assert!(stats.suppressed >= 10);
}

/// One record became 57 725 in two seconds: `log_panics` logs each panic of a format, which panics
/// again.
#[test]
fn a_format_that_logs_and_panics_costs_its_record_and_no_other() {
    let core = Arc::new(OnceLock::new());
    let (logs, other) = (core.clone(), KeepSink::default());
    let format = Format::custom(move |_, _| {
        LogSink::log(&logs, "format");
        panic!("a format that panics");
    });
    let setup = Setup::new().output(LevelFilter::Trace, format, KeepSink::default());
    let mut bench = setup.sink(other.clone()).bench();
    core.set(Arc::downgrade(bench.logger.core())).unwrap();
    bench.log(Level::Info);
    bench.live(Duration::from_secs(2));
    let text = String::from_utf8(other.kept.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("own format").count(), 1, "{text}");
    let stats = bench.handle.stats();
    assert_eq!((stats.accepted, stats.written), (2, 2));
    assert_eq!((stats.outputs[0].dropped.panicked, stats.outputs[0].offered), (1, 1));
    bench.assert_identity("a format that logs");
}

/// Two loggers under `Block` whose sinks log to each other waited for each other for ever, and the
/// program with them.
#[test]
fn what_a_sink_logs_to_a_full_logger_under_block_does_not_wait() {
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || {
        let sink = LogSink::default();
        let mut first = Setup::new().sink(sink.clone()).bench();
        let second = Setup { capacity: 1, overflow: Overflow::Block, ..Setup::new() }.sink(LogSink::default()).bench();
        sink.core.set(Arc::downgrade(second.logger.core())).unwrap();
        for _ in 0..3 {
            first.log(Level::Info);
            first.step();
        }
        let stats = second.handle.stats();
        answer.send((stats.accepted, stats.dropped.queue_full))
    });
    assert_eq!(answered.recv_timeout(Duration::from_secs(20)), Ok((3, 2)), "the call of the sink waits");
}
