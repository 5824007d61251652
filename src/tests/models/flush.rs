//! No flush answers early, and none is left without an answer; with the real `Writer`, and a sink
//! that takes everything.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use log::Level;
use loom::thread::{self, JoinHandle};

use crate::error::FlushError;
use crate::format::{Encoder, Format};
use crate::os::AtExit;
use crate::queue::{Overflow, Pipeline};
use crate::sink::{Batch, Now, OutputSink, WriteError};
use crate::stats::{Counters, OutputCounters};
use crate::wanted::{Levels, Offered};
use crate::writer::{Output, Writer};

use super::{EVER, check, offer};

/// Counts the records it is given; the crate's own lines are WARN.
struct CountingSink(Arc<AtomicU64>);

impl OutputSink for CountingSink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let records = batch.lines().filter(|line| line.level() == Level::Info).count();
        self.0.fetch_add(records as u64, Relaxed);
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
        static BORN: OnceLock<Instant> = OnceLock::new();
        let born = *BORN.get_or_init(Instant::now);
        let now = Now { wall: UNIX_EPOCH, monotonic: born };
        let counters = Counters::new(vec![OutputCounters::new(
            "a".into(),
            Offered { levels: Levels::ALL, filtered: None, stands_in: false },
            born,
        )]);
        let pipeline = Arc::new(Pipeline::new(4, Overflow::DropNewest, EVER, None, counters));
        let records = Arc::new(AtomicU64::new(0));
        let sink = Box::new(CountingSink(records.clone()));
        let output = Output::new(0, pipeline.counters.outputs[0].clone(), Encoder::new(Format::text()), sink, None);
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

/// `Writer::run` without its clock: turns, and naps that only a wake-up ends.
fn run(mut writer: Writer, pipeline: &Pipeline, now: Now) {
    loop {
        let turn = writer.step(now);
        if turn.ended || pipeline.is_ended() {
            break;
        }
        if turn.taken == 0 {
            pipeline.nap(EVER, true);
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
        let (flushed, ()) = next_to_a_flush(&running, |running| running.pipeline.begin());
        assert!(matches!(flushed, Ok(()) | Err(FlushError::Closed)), "{flushed:?}");
        Arc::into_inner(running).unwrap().assert_settled(1);
    });
}
