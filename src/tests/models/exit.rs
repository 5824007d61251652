//! The exit hook against a writer that comes, naps, and goes.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use loom::cell::UnsafeCell;
use loom::thread;

use super::{EVER, check, offer, pipeline, take_all};
use crate::os::{AtExit, drain_all, register};
use crate::queue::Overflow;

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
    fn begin(&self) {
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
                    pipeline.nap(EVER, true);
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
