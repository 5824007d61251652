//! Each record is settled once: taken by the writer or counted as refused, whoever brings the end,
//! and however they meet.

use log::Level;
use loom::thread;

use crate::os::AtExit;
use crate::queue::{Overflow, Pipeline};

use super::{check, offer, pipeline, take_all};

/// What the writer took, what was refused, and what waits are all that was accepted; and nothing
/// waits.
fn assert_settled(pipeline: &Pipeline, accepted: u64, taken: usize) {
    let stats = pipeline.stats();
    assert_eq!(stats.accepted, accepted);
    assert_eq!(stats.pending, 0, "{stats:?}");
    assert_eq!(stats.accepted, taken as u64 + stats.dropped.total(), "{taken} taken, {stats:?}");
}

#[test]
fn loom_a_record_after_the_end_is_counted_by_whoever_brings_it() {
    check(5, || {
        let pipeline = pipeline(2, Overflow::DropNewest);
        let callers = [0, 1].map(|_| {
            let pipeline = pipeline.clone();
            thread::spawn(move || offer(&pipeline, Level::Error))
        });
        let taken = take_all(&pipeline);
        pipeline.end();
        let _ = callers.map(|caller| caller.join().unwrap());
        assert_settled(&pipeline, 2, taken);
    });
}

#[test]
fn loom_an_end_that_does_not_wait_for_the_writer_shares_the_records_with_it() {
    check(5, || {
        let pipeline = pipeline(2, Overflow::DropNewest);
        let caller = {
            let pipeline = pipeline.clone();
            thread::spawn(move || offer(&pipeline, Level::Error))
        };
        let stopper = {
            let pipeline = pipeline.clone();
            thread::spawn(move || pipeline.end())
        };
        let taken = take_all(&pipeline) + take_all(&pipeline);
        caller.join().unwrap();
        stopper.join().unwrap();
        assert_settled(&pipeline, 1, taken);
    });
}

#[test]
fn loom_a_record_that_is_pushed_out_is_counted_once() {
    check(5, || {
        let pipeline = pipeline(1, Overflow::DropOldest);
        let callers = [0, 1].map(|_| {
            let pipeline = pipeline.clone();
            thread::spawn(move || offer(&pipeline, Level::Error))
        });
        let taken = take_all(&pipeline);
        callers.into_iter().for_each(|caller| assert!(caller.join().unwrap()));
        let taken = taken + take_all(&pipeline);
        assert_settled(&pipeline, 2, taken);
    });
}

#[test]
fn loom_a_flood_leaves_the_kept_slots_to_errors() {
    check(5, || {
        let pipeline = pipeline(2, Overflow::DropNewest);
        let flood = {
            let pipeline = pipeline.clone();
            thread::spawn(move || [(); 3].map(|()| offer(&pipeline, Level::Info)))
        };
        assert!(offer(&pipeline, Level::Error), "one slot of the two is kept");
        flood.join().unwrap();
        let taken = take_all(&pipeline);
        assert_settled(&pipeline, 4, taken);
    });
}

#[test]
fn loom_a_blocked_caller_gives_up_at_the_end() {
    check(5, || {
        let pipeline = pipeline(1, Overflow::Block);
        let caller = {
            let pipeline = pipeline.clone();
            thread::spawn(move || [(); 2].map(|()| offer(&pipeline, Level::Error)))
        };
        let taken = take_all(&pipeline);
        pipeline.end();
        caller.join().unwrap();
        assert_settled(&pipeline, 2, taken);
    });
}

/// The writer hangs, so that nothing makes room.
#[test]
fn loom_a_blocked_caller_gives_up_when_the_gate_is_shut() {
    check(5, || {
        let pipeline = pipeline(1, Overflow::Block);
        assert!(offer(&pipeline, Level::Error));
        let caller = {
            let pipeline = pipeline.clone();
            thread::spawn(move || offer(&pipeline, Level::Error))
        };
        pipeline.begin_exit();
        assert!(!caller.join().unwrap());
        let taken = take_all(&pipeline);
        assert_settled(&pipeline, 2, taken);
    });
}
