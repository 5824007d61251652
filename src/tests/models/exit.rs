//! The exit hook against a writer that comes, naps, and goes.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use loom::cell::UnsafeCell;
use loom::thread;

use super::{EVER, check, offer, pipeline, take_all};
use crate::os::{AtExit, drain_all, register, wait_for_writers};
use crate::queue::{Overflow, Pipeline};
use crate::stats::Counters;

/// Something whose owner needs it back for itself once nobody waits for it any more.
struct Target {
    looked_at: UnsafeCell<u32>,
}

// SAFETY: what is tested is that nobody looks while the owner writes; loom fails the model if
// somebody does.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl AtExit for Target {
    fn begin_exit(&self) {
        self.looked_at.with(|_| {});
    }

    fn is_done(&self) -> bool {
        self.looked_at.with(|_| true)
    }

    fn at_most(&self) -> Duration {
        Duration::MAX
    }
}

#[test]
fn loom_the_hook_looks_at_nothing_that_has_gone() {
    check(5, || {
        let owner = thread::spawn(|| {
            let target = Arc::new(Target { looked_at: UnsafeCell::new(0) });
            drop(register(target.clone()));
            target.looked_at.with_mut(|_| {});
        });
        drain_all();
        owner.join().unwrap();
    });
}

#[test]
fn loom_a_slot_is_taken_by_one_at_a_time() {
    check(5, || {
        let owners = [0, 1].map(|_| {
            thread::spawn(|| {
                let target = Arc::new(Target { looked_at: UnsafeCell::new(0) });
                drop(register(target.clone()));
                target.looked_at.with_mut(|_| {});
            })
        });
        owners.into_iter().for_each(|owner| owner.join().unwrap());
        drain_all();
    });
}

#[test]
fn loom_the_end_of_the_process_waits_for_a_writer_that_naps() {
    check(5, || {
        let pipeline = pipeline(4, Overflow::DropNewest);
        let registration = register(pipeline.clone());
        let writer = {
            let pipeline = pipeline.clone();
            thread::spawn(move || {
                loop {
                    if take_all(&pipeline) > 0 {
                        continue;
                    }
                    if pipeline.is_leaving() && pipeline.len() == 0 {
                        break;
                    }
                    pipeline.nap_armed(EVER);
                }
                pipeline.end();
                drop(registration);
            })
        };
        pipeline.set_writer(writer.thread().clone());
        offer(&pipeline, Level::Info);
        drain_all();
        assert!(pipeline.is_ended());
        let stats = pipeline.stats();
        assert_eq!((stats.accepted, stats.pending, stats.dropped.total()), (1, 0, 0), "it was written: {stats:?}");
        writer.join().unwrap();
    });
}

/// A pipeline for whose writer a crash waits.
fn pipeline_in_crash() -> Arc<Pipeline> {
    let counters = Counters::new(Vec::new());
    Arc::new(Pipeline::new(4, Overflow::DropNewest, Duration::MAX, None, counters).flush_on_crash(true))
}

#[test]
fn loom_what_was_logged_before_a_crash_is_taken_before_its_wait_ends() {
    check(4, || {
        let pipeline = pipeline_in_crash();
        let registration = register(pipeline.clone());
        let writer = {
            let pipeline = pipeline.clone();
            thread::spawn(move || {
                loop {
                    let crash = registration.crash();
                    let mut left = pipeline.len();
                    while left > 0 {
                        left = left.saturating_sub(take_all(&pipeline));
                    }
                    if let Some(number) = crash {
                        registration.answer_crash(number);
                        break;
                    }
                    thread::yield_now();
                }
                // Until the process has ended.
                registration
            })
        };
        offer(&pipeline, Level::Info);
        wait_for_writers();
        assert_eq!(pipeline.counters.writer.taken.total(), 1);
        drop(writer.join().unwrap());
    });
}

#[test]
fn loom_a_crash_does_not_wait_for_a_writer_that_ends() {
    check(5, || {
        let pipeline = pipeline_in_crash();
        let registration = register(pipeline.clone());
        let writer = thread::spawn(move || {
            take_all(&pipeline);
            pipeline.end();
            drop(registration);
        });
        wait_for_writers();
        writer.join().unwrap();
    });
}
