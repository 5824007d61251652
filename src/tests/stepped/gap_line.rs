//! The gap line reports everything that its suspension has cost, so that no second line follows it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use log::{Level, Record};

use super::bench::{Bench, Setup};
use crate::clock::system;
use crate::event::Cause;
use crate::format::utc_text;
use crate::front::logger::Core;
use crate::sink::{Batch, Now, OutputSink, WriteError};
use crate::wanted::Wanting;

/// Takes nothing while it is `broken`. While it takes the gap line, another thread logs.
#[derive(Clone, Default)]
struct InterruptedSink {
    broken: Arc<AtomicBool>,
    /// After an attempt that works, the cause has gone, as far as the sink knows.
    sees_recovery: bool,
    /// How long an attempt takes; at its end another thread logs.
    retry_takes: Option<Duration>,
    kept: Arc<Mutex<String>>,
    core: Arc<OnceLock<Arc<Core>>>,
}

impl OutputSink for InterruptedSink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let text = str::from_utf8(batch.bytes()).unwrap();
        if text.contains("logging resumed") {
            let core = self.core.get().unwrap();
            let log =
                || (0..15).for_each(|_| core.log(&Record::builder().args(format_args!("meanwhile")).build(), None));
            thread::scope(|scope| scope.spawn(log).join()).unwrap();
        }
        if self.broken.load(Relaxed) {
            return Err(WriteError::new(0, Cause::Io));
        }
        self.kept.lock().unwrap().push_str(text);
        Ok(())
    }

    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        if let Some(takes) = self.retry_takes {
            let then = now.wall + takes;
            system::set(Some(then));
            let core = self.core.get().unwrap();
            let log = || {
                system::set(Some(then));
                core.log(&Record::builder().args(format_args!("meanwhile")).build(), None);
            };
            thread::scope(|scope| scope.spawn(log).join()).unwrap();
        }
        Ok(())
    }

    fn has_recovered(&self) -> bool {
        self.sees_recovery
    }
}

/// Suspends the output, and loses some records.
fn suspended(sink: &InterruptedSink) -> Bench {
    let mut bench = Setup::new().sink(sink.clone()).bench();
    sink.core.set(bench.logger.core().clone()).ok().unwrap();
    sink.broken.store(true, Relaxed);
    bench.log_some(8);
    bench.step();
    bench.log_some(8);
    assert!(bench.suspended());
    bench
}

/// Until the gap line was in, the gate stayed closed: 15 records were dropped after the line had
/// been laid out, and a second line reported them 5 s later.
#[test]
fn what_is_logged_while_the_gap_line_is_written_is_taken() {
    let sink = InterruptedSink { sees_recovery: true, ..InterruptedSink::default() };
    let mut bench = suspended(&sink);
    sink.broken.store(false, Relaxed);
    bench.live(Duration::from_secs(20));
    assert_eq!(bench.handle.stats().dropped.total(), 16);
    let kept = sink.kept.lock().unwrap();
    assert!(kept.contains("logging resumed, 16 records dropped"), "{kept}");
    assert_eq!((kept.matches("dropped").count(), kept.matches("meanwhile").count()), (1, 15), "{kept}");
}

#[test]
fn the_gate_closes_again_when_the_gap_line_does_not_go_in() {
    let sink = InterruptedSink { sees_recovery: true, ..InterruptedSink::default() };
    let mut bench = suspended(&sink);
    for _ in 0..40 {
        bench.pass(Duration::from_millis(50));
        bench.step();
        assert!(bench.pipeline.closed_to(Level::Info, Wanting::NOBODY).is_some());
    }
    sink.broken.store(false, Relaxed);
    bench.live(Duration::from_secs(20));
    let (dropped, kept) = (bench.handle.stats().dropped.total(), sink.kept.lock().unwrap());
    assert!(dropped > 16, "{dropped}: what an open gate let in, and was not written");
    assert!(kept.contains(&format!("logging resumed, {dropped} records dropped")), "{kept}");
    assert_eq!((kept.matches("dropped").count(), kept.matches("meanwhile").count()), (1, 15), "{kept}");
}

/// Each attempt used to open the gate for as long as the gap line took to fail: then calls on a log
/// that cannot write did the work of a log call, and a thread's first one a system call.
#[test]
fn an_attempt_that_is_only_hope_lets_nothing_in() {
    let sink = InterruptedSink::default();
    let mut bench = suspended(&sink);
    for _ in 0..40 {
        bench.pass(Duration::from_millis(50));
        bench.step();
        assert_eq!(bench.pipeline.len(), 0);
    }
    let tried = bench.handle.stats().accepted;
    assert!(tried > 16, "no gap line was tried");
    sink.broken.store(false, Relaxed);
    bench.live(Duration::from_secs(20));
    let kept = sink.kept.lock().unwrap();
    assert_eq!(kept.matches("meanwhile").count(), 0, "{kept}");
    assert_eq!(bench.handle.stats().dropped.total(), bench.handle.stats().accepted, "{kept}");
}

/// The line's time was that of the turn's beginning, before the attempt.
#[test]
fn the_gap_line_ends_no_earlier_than_the_last_record_that_it_counts() {
    let sink = InterruptedSink { retry_takes: Some(Duration::from_secs(3)), ..InterruptedSink::default() };
    let mut bench = suspended(&sink);
    sink.broken.store(false, Relaxed);
    bench.pass(Duration::from_secs(1));
    let attempt = bench.now.wall;
    bench.step();
    let kept = sink.kept.lock().unwrap();
    let (_, to) = kept.split_once(" to=").unwrap();
    assert!(to >= &*utc_text(attempt + Duration::from_secs(3)), "{kept}");
}
