//! No wake-up is lost: whoever has a reason to wake a writer that arms either is seen by it or
//! wakes it.

use std::time::Duration;

use log::Level;
use loom::thread;

use crate::error::FlushError;
use crate::os::AtExit;
use crate::queue::{Overflow, Pipeline};

use super::{EVER, check, offer, pipeline, take_all};

/// A writer that takes one long nap, and `ring`ers next to it. When they are through and
/// `must_wake` says so, it wakes.
fn one_nap(ringers: Vec<fn(&Pipeline)>, must_wake: fn(&Pipeline) -> bool) {
    let pipeline = pipeline(4, Overflow::DropNewest);
    let napping = pipeline.clone();
    let writer = thread::spawn(move || napping.nap_armed(EVER));
    pipeline.set_writer(writer.thread().clone());
    let ringers: Vec<_> = ringers
        .into_iter()
        .map(|ring| {
            let pipeline = pipeline.clone();
            thread::spawn(move || ring(&pipeline))
        })
        .collect();
    ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
    if !must_wake(&pipeline) {
        writer.thread().unpark();
    }
    writer.join().unwrap();
}

#[test]
fn loom_an_error_ends_a_long_nap() {
    let error = |pipeline: &Pipeline| assert!(offer(pipeline, Level::Error));
    check(5, move || one_nap(vec![error], |_| true));
}

#[test]
fn loom_a_request_ends_a_long_nap() {
    let request = |pipeline: &Pipeline| assert_eq!(pipeline.flush(Duration::ZERO), Err(FlushError::Timeout));
    check(5, move || one_nap(vec![request], |_| true));
}

#[test]
fn loom_the_exit_ends_a_long_nap() {
    check(5, move || one_nap(vec![|pipeline| pipeline.begin_exit()], |_| true));
}

#[test]
fn loom_a_half_full_queue_ends_a_long_nap() {
    fn info(pipeline: &Pipeline) {
        offer(pipeline, Level::Info);
    }
    check(5, || one_nap(vec![info, info], |pipeline| pipeline.len() >= 2));
}

/// Records wait in the queue, but a slow reader holds the writer back: only a request, or the end,
/// is a reason to look before the time is over.
#[test]
fn loom_a_request_and_the_exit_end_the_rest_of_a_writer_that_is_held_back() {
    let reasons: [fn(&Pipeline); 2] = [
        |pipeline| assert_eq!(pipeline.flush(Duration::ZERO), Err(FlushError::Timeout)),
        |pipeline| pipeline.begin_exit(),
    ];
    for reason in reasons {
        check(5, move || {
            let pipeline = pipeline(4, Overflow::DropNewest);
            offer(&pipeline, Level::Info);
            let held_back = pipeline.clone();
            let writer = thread::spawn(move || held_back.rest(EVER));
            pipeline.set_writer(writer.thread().clone());
            reason(&pipeline);
            writer.join().unwrap();
        });
    }
}

/// The same over more than one nap, with the writer taking what it finds.
#[test]
fn loom_every_error_is_taken_however_often_the_writer_naps() {
    check(5, || {
        let pipeline = pipeline(4, Overflow::DropNewest);
        pipeline.set_writer(thread::current());
        let callers = [0, 1].map(|_| {
            let pipeline = pipeline.clone();
            thread::spawn(move || assert!(offer(&pipeline, Level::Error)))
        });
        let mut taken = 0;
        while taken < 2 {
            match take_all(&pipeline) {
                0 => pipeline.nap_armed(EVER),
                some => taken += some,
            }
        }
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

/// Here a timeout fires: a blocked caller looks again and again.
#[test]
fn loom_a_blocked_caller_wakes_the_writer() {
    check(5, || {
        let pipeline = pipeline(1, Overflow::Block);
        pipeline.set_writer(thread::current());
        let caller = {
            let pipeline = pipeline.clone();
            thread::spawn(move || (0..2).for_each(|_| assert!(offer(&pipeline, Level::Info))))
        };
        let mut taken = 0;
        while taken < 2 {
            match take_all(&pipeline) {
                0 => pipeline.nap_armed(EVER),
                some => taken += some,
            }
        }
        caller.join().unwrap();
    });
}
