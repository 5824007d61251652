//! No wake-up is lost: whoever has a reason to wake a writer that arms either is seen by it or wakes it.

use std::time::Duration;

use log::Level;
use loom::thread;

use crate::error::FlushError;
use crate::os::AtExit;
use crate::queue::{Overflow, Queue};

use super::{EVER, check, offer, queue, take_all};

/// A writer that takes one long nap, and `ring`ers beside it. When they are through and `must_wake` says so, it wakes.
fn one_nap(ringers: Vec<fn(&Queue)>, must_wake: fn(&Queue) -> bool) {
    let queue = queue(4, Overflow::DropNewest);
    let napping = queue.clone();
    let writer = thread::spawn(move || napping.nap(EVER, true));
    queue.set_writer(writer.thread().clone());
    let ringers: Vec<_> = ringers
        .into_iter()
        .map(|ring| {
            let queue = queue.clone();
            thread::spawn(move || ring(&queue))
        })
        .collect();
    ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
    if !must_wake(&queue) {
        writer.thread().unpark();
    }
    writer.join().unwrap();
}

#[test]
fn loom_an_error_ends_a_long_nap() {
    let error = |queue: &Queue| assert!(offer(queue, Level::Error));
    check(5, move || one_nap(vec![error], |_| true));
}

#[test]
fn loom_a_request_ends_a_long_nap() {
    let request = |queue: &Queue| assert_eq!(queue.flush(Duration::ZERO), Err(FlushError::Timeout));
    check(5, move || one_nap(vec![request], |_| true));
}

#[test]
fn loom_the_exit_ends_a_long_nap() {
    check(5, move || one_nap(vec![|queue| queue.begin()], |_| true));
}

#[test]
fn loom_a_half_full_queue_ends_a_long_nap() {
    fn info(queue: &Queue) {
        offer(queue, Level::Info);
    }
    check(5, || one_nap(vec![info, info], |queue| queue.len() >= 2));
}

/// The same over more than one nap, with the writer taking what it finds.
#[test]
fn loom_every_error_is_taken_however_often_the_writer_naps() {
    check(5, || {
        let queue = queue(4, Overflow::DropNewest);
        queue.set_writer(thread::current());
        let callers = [0, 1].map(|_| {
            let queue = queue.clone();
            thread::spawn(move || assert!(offer(&queue, Level::Error)))
        });
        let mut taken = 0;
        while taken < 2 {
            match take_all(&queue) {
                0 => queue.nap(EVER, true),
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
        let queue = queue(1, Overflow::Block);
        queue.set_writer(thread::current());
        let caller = {
            let queue = queue.clone();
            thread::spawn(move || (0..2).for_each(|_| assert!(offer(&queue, Level::Info))))
        };
        let mut taken = 0;
        while taken < 2 {
            match take_all(&queue) {
                0 => queue.nap(EVER, true),
                some => taken += some,
            }
        }
        caller.join().unwrap();
    });
}
