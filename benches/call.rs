//! What one log call costs its caller: `cargo bench --features __bench --bench call`.
//!
//! Calls come in bursts of 500, and the queue is emptied between them, outside the time taken: a
//! call that finds the queue full is another question, and has a row of its own.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a benchmark prints, and stops at the first surprise

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use log::LevelFilter;
use unfazed::{Batch, Builder, Cause, Handle, Logger, Sink, WriteError};

const BURST: u64 = 500;
const BURSTS: usize = 300;

/// Takes everything, or nothing.
struct NullSink {
    takes: bool,
}

impl Sink for NullSink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        black_box(batch.bytes());
        if self.takes { Ok(()) } else { Err(WriteError::new(0, Cause::DiskFull)) }
    }
}

fn builder(takes: bool) -> Builder {
    Builder::new().level(LevelFilter::Info).sink("null", NullSink { takes })
}

/// Returns the nanoseconds a call, one number for each burst, in ascending order.
fn time_bursts(handle: Option<&Handle>, call: &mut dyn FnMut(u64)) -> Vec<f64> {
    let mut bursts: Vec<f64> = (0..BURSTS)
        .map(|_| {
            let begun = Instant::now();
            (0..BURST).for_each(&mut *call);
            let taken = begun.elapsed();
            if let Some(handle) = handle {
                // Suspended is an answer as well: what was in the queue is gone from it.
                let _ = handle.flush(Duration::from_secs(10));
            }
            taken.as_nanos() as f64 / BURST as f64
        })
        .collect();
    bursts.sort_unstable_by(f64::total_cmp);
    bursts
}

fn call_rows(state: &str, logger: &Logger, handle: Option<&Handle>) {
    let long = "x".repeat(300);
    let user = black_box("10.0.0.1");
    let row = |name: &str, call: &mut dyn FnMut(u64)| {
        let bursts = time_bursts(handle, call);
        let [least, median, most] = [0, BURSTS / 2, BURSTS * 9 / 10].map(|place| bursts[place]);
        println!("| {name} | {state} | {median:.1} | {least:.1} | {most:.1} |");
    };
    row("disabled", &mut |number| log::debug!(logger: logger, "number {number}"));
    row("disabled, own target", &mut |number| log::debug!(logger: logger, target: "own", "number {number}"));
    row("static", &mut |_| log::info!(logger: logger, "a message without arguments"));
    row("formatted", &mut |number| {
        log::info!(logger: logger, "user {} logged in from {} in {:.2} ms", number, user, 0.5 + number as f64);
    });
    row("300 bytes", &mut |_| log::info!(logger: logger, "{long}"));
    row("key-values", &mut |number| {
        log::info!(logger: logger, user = number, from = user, ms = 1.25; "logged in");
    });
}

fn main() {
    support::print_header("cargo bench --features __bench --bench call");
    log::set_max_level(LevelFilter::Trace);
    println!("ns a call, of {BURSTS} bursts of {BURST} calls");
    println!("| call | state | median | least | of nine tenths at most |\n|---|---|---:|---:|---:|");

    let (logger, handle) = builder(true).build().unwrap();
    call_rows("healthy", &logger, Some(&handle));

    let directives: String = (0..20).map(|number| format!(",crate_{number}::module=warn")).collect();
    let (logger, handle) = builder(true).filter(&format!("info{directives}")).build().unwrap();
    call_rows("twenty directives", &logger, Some(&handle));

    let hour = Duration::from_secs(3600);
    let (logger, handle) = builder(true).rate_limit(u32::MAX, hour).build().unwrap();
    call_rows("rate limit not reached", &logger, Some(&handle));
    let (logger, _handle) = builder(true).rate_limit(1, hour).build().unwrap();
    call_rows("suppressed", &logger, None);

    let (logger, handle) = builder(false).build().unwrap();
    log::info!(logger: &logger, "this one closes the gate");
    let _ = handle.flush(Duration::from_secs(10));
    assert!(matches!(handle.state(), unfazed::State::Suspended(_)));
    call_rows("gate closed", &logger, None);

    let (logger, _step) = builder(true).capacity(64).build_stepped().unwrap();
    for _ in 0..100 {
        log::info!(logger: &logger, "fills the queue");
    }
    call_rows("queue full", &logger, None);
}
