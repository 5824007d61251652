//! The protocols between threads, model-checked: each test here runs the code of `src/` in every
//! order that loom can tell apart, with every value that an atomic may yield in that order.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --lib loom_
//! ```
//!
//! `LOOM_MAX_PREEMPTIONS=n` overrides how often a thread may be interrupted where it could have
//! gone on (each model says its own bound); `LOOM_LOCATION=1 LOOM_CHECKPOINT_INTERVAL=1
//! LOOM_CHECKPOINT_FILE=..` are loom's, to find the way to a failure.
//!
//! A timeout never fires in a model, so that a wake-up that is lost is a deadlock, which loom
//! reports; `parts.rs` names the exceptions. The counters of `stats.rs` are not loom's: they are
//! only ever added to, and read when all is over.

mod account;
mod bell;
#[allow(unsafe_code)] // cells whose owner looks into them
mod exit;
mod filter;
mod flush;
#[allow(unsafe_code)] // cells whose maker writes them
#[cfg(unix)]
mod fork;
mod gate;
pub(crate) mod parts;
mod rate_limit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use log::Level;

use crate::clock::Stamp;
use crate::queue::{Draft, Overflow, Pipeline};
use crate::record::{Caller, OwnedRecord};
use crate::stats::Counters;
use crate::wanted::Wanting;

/// For ever: the answer has to come.
pub(crate) const EVER: Duration = Duration::MAX;

/// Runs `model` in every order in which no more than `preemptions` threads are interrupted where
/// they could have gone on.
pub(crate) fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 50_000;
    let orders = Arc::new(AtomicU64::new(0));
    let count = orders.clone();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    println!("{} orders", orders.load(Relaxed));
}

/// A queue that has no writer yet.
pub(crate) fn pipeline(capacity: usize, overflow: Overflow) -> Arc<Pipeline> {
    Arc::new(Pipeline::new(capacity, overflow, EVER, None, Counters::new(Vec::new())))
}

pub(crate) fn offer(pipeline: &Pipeline, level: Level) -> bool {
    pipeline.offer(level, Wanting::NOBODY, &mut Draft::new(record(level)))
}

fn record(level: Level) -> OwnedRecord {
    let record = log::Record::builder().level(level).args(format_args!("m")).build();
    OwnedRecord::capture(&record, Stamp::at(UNIX_EPOCH), Caller { thread: 1, name: None })
}

/// Takes out all there is, as the writer does; returns how many records that were.
pub(crate) fn take_all(pipeline: &Pipeline) -> usize {
    let mut taken = 0;
    pipeline.take_while(|record| {
        pipeline.counters.writer.taken.count_alone(record.level());
        taken += 1;
        true
    });
    taken
}
