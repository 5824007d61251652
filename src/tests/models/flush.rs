//! No flush answers early, and none is left without an answer; with the real `Writer`, a sink that
//! takes everything, and one whose reader is slow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use log::Level;
use loom::thread::{self, JoinHandle};

use crate::error::FlushError;
use crate::format::{Encoder, Format};
use crate::os::AtExit;
use crate::queue::{Overflow, Pipeline, Request};
use crate::sink::{Backlog, Batch, Lag, Now, OutputSink, WriteError};
use crate::stats::{Counters, OutputCounters};
use crate::wanted::{Levels, Offered};
use crate::writer::{Output, Writer};

use super::{EVER, check, offer};

/// Counts the records of INFO that it is given.
#[derive(Clone, Default)]
struct CountingSink {
    records: Arc<AtomicU64>,
    /// Its reader leaves no room for the next batch.
    lags: Arc<AtomicBool>,
}

impl OutputSink for CountingSink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        if self.lags.swap(false, Relaxed) {
            return Err(WriteError::lagging(0, Lag::default()));
        }
        let records = batch.lines().filter(|line| line.level() == Level::Info).count();
        self.records.fetch_add(records as u64, Relaxed);
        Ok(())
    }
}

/// A pipeline whose writer runs.
struct Running {
    pipeline: Arc<Pipeline>,
    /// How many records the sink has.
    records: Arc<AtomicU64>,
    writer: JoinHandle<()>,
}

impl Running {
    fn new() -> Self {
        Self::with(4, Overflow::DropNewest, false)
    }

    fn with(capacity: usize, overflow: Overflow, lags: bool) -> Self {
        static BORN: OnceLock<Instant> = OnceLock::new();
        let born = *BORN.get_or_init(Instant::now);
        let now = Now { wall: UNIX_EPOCH, monotonic: born };
        let counters = Counters::new(vec![OutputCounters::new(
            "a".into(),
            Offered { levels: Levels::ALL, filtered: None, stands_in: false },
            born,
        )]);
        let pipeline = Arc::new(Pipeline::new(capacity, overflow, EVER, None, counters));
        let sink = CountingSink { lags: Arc::new(AtomicBool::new(lags)), ..CountingSink::default() };
        let records = sink.records.clone();
        let (counters, encoder) = (pipeline.counters.outputs[0].clone(), Encoder::new(Format::text()));
        let output = Output::new(0, counters, encoder, Box::new(sink), None).retain(0, Backlog::default());
        let writer = Writer::new(pipeline.clone(), vec![output], None);
        let writer = {
            let pipeline = pipeline.clone();
            thread::spawn(move || run(writer, &pipeline, now))
        };
        pipeline.set_writer(writer.thread().clone());
        Self { pipeline, records, writer }
    }

    /// Logs, flushes, and sees what the answer promises.
    fn log_and_flush(&self) -> Result<(), FlushError> {
        let before = self.records.load(Relaxed);
        let is_in = offer(&self.pipeline, Level::Info);
        let flushed = self.pipeline.flush(EVER);
        if flushed.is_ok() && is_in {
            assert!(self.records.load(Relaxed) > before, "flushed, and not written");
        }
        flushed
    }

    fn assert_settled(self, accepted: u64) {
        self.writer.join().unwrap();
        let stats = self.pipeline.stats();
        assert_eq!(stats.accepted, accepted);
        assert_eq!(stats.pending, 0, "{stats:?}");
        assert_eq!(stats.accepted, stats.written + stats.dropped.total(), "{stats:?}");
        assert_eq!(stats.written, self.records.load(Relaxed));
    }
}

/// `Writer::run` with a clock of its own: turns, and naps that only a wake-up ends, except where
/// the writer looks again for a slow reader.
fn run(mut writer: Writer, pipeline: &Pipeline, mut now: Now) {
    loop {
        let turn = writer.step(now);
        if turn.ended || pipeline.is_ended() {
            break;
        }
        if writer.bytes_retained(0) > 0 {
            now.monotonic += Duration::from_millis(10);
        } else if turn.taken == 0 {
            pipeline.nap_armed(EVER);
        }
    }
    drop(writer);
    pipeline.end();
}

/// `other` runs next to a thread that logs and flushes.
fn next_to_a_flush<T: 'static>(
    running: &Arc<Running>,
    other: impl FnOnce(&Running) -> T + 'static,
) -> (Result<(), FlushError>, T) {
    let other = {
        let running = running.clone();
        thread::spawn(move || other(&running))
    };
    let flushed = running.log_and_flush();
    (flushed, other.join().unwrap())
}

#[test]
fn loom_a_flush_answers_when_all_that_was_logged_before_it_is_written() {
    check(3, || {
        let running = Running::new();
        assert!(offer(&running.pipeline, Level::Info));
        assert_eq!(running.log_and_flush(), Ok(()));
        assert_eq!(running.records.load(Relaxed), 2);
        assert_eq!(running.pipeline.shutdown(EVER), Ok(()));
        running.assert_settled(2);
    });
}

#[test]
fn loom_a_flush_against_a_shutdown_is_answered_or_closed() {
    check(3, || {
        let running = Arc::new(Running::new());
        let (flushed, shut) = next_to_a_flush(&running, |running| running.pipeline.shutdown(EVER));
        assert!(matches!(flushed, Ok(()) | Err(FlushError::Closed)), "{flushed:?}");
        assert_eq!(shut, Ok(()));
        Arc::into_inner(running).unwrap().assert_settled(1);
    });
}

#[test]
fn loom_a_flush_against_a_shutdown_whose_time_is_up_never_calls_lost_records_written() {
    check(2, || {
        let running = Arc::new(Running::new());
        let (flushed, _) = next_to_a_flush(&running, |running| running.pipeline.shutdown(Duration::ZERO));
        assert!(matches!(flushed, Ok(()) | Err(FlushError::Closed)), "{flushed:?}");
        Arc::into_inner(running).unwrap().assert_settled(1);
    });
}

#[test]
fn loom_a_flush_against_the_exit_is_answered_or_closed() {
    check(3, || {
        let running = Arc::new(Running::new());
        let (flushed, ()) = next_to_a_flush(&running, |running| running.pipeline.begin_exit());
        assert!(matches!(flushed, Ok(()) | Err(FlushError::Closed)), "{flushed:?}");
        Arc::into_inner(running).unwrap().assert_settled(1);
    });
}

/// The record waits in the backlog, and is pending until the reader goes on.
#[test]
fn loom_a_flush_waits_for_what_a_slow_reader_has_not_taken() {
    check(3, || {
        let running = Running::with(4, Overflow::DropNewest, true);
        assert_eq!(running.log_and_flush(), Ok(()));
        assert_eq!(running.pipeline.shutdown(EVER), Ok(()));
        running.assert_settled(1);
    });
}

#[test]
fn loom_a_shutdown_against_a_flush_waits_for_a_slow_reader_as_well() {
    check(2, || {
        let running = Arc::new(Running::with(4, Overflow::DropNewest, true));
        let (flushed, shut) = next_to_a_flush(&running, |running| running.pipeline.shutdown(EVER));
        assert!(matches!(flushed, Ok(()) | Err(FlushError::Closed)), "{flushed:?}");
        assert_eq!(shut, Ok(()));
        Arc::into_inner(running).unwrap().assert_settled(1);
    });
}

/// Between the removal of a record and its count, a flush was asked for and answered, by `Ok`.
#[test]
fn loom_a_flush_never_says_ok_for_a_record_that_makes_way_after_the_call() {
    check(3, || {
        let running = Arc::new(Running::with(1, Overflow::DropOldest, false));
        let begun = Arc::new(AtomicBool::new(false));
        let other = {
            let (pipeline, begun) = (running.pipeline.clone(), begun.clone());
            thread::spawn(move || {
                begun.store(true, Relaxed);
                offer(&pipeline, Level::Debug)
            })
        };
        assert!(offer(&running.pipeline, Level::Info));
        let (reply, answered) = running.pipeline.stamped_reply();
        let was_pending = !begun.load(Relaxed);
        let flushed = running.pipeline.ask_stamped((Request::Flush(reply), answered), EVER);
        if was_pending && flushed.is_ok() {
            assert_eq!(running.records.load(Relaxed), 1, "flushed, and not written");
        }
        assert!(matches!(flushed, Ok(()) | Err(FlushError::Dropped)), "{flushed:?}");
        other.join().unwrap();
        let _ = running.pipeline.shutdown(EVER);
    });
}
