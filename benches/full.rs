//! What one log call costs its caller while the disk is full, next to what it costs in health:
//! `cargo bench --bench full`.
//!
//! Two loggers with the default options, one on a small file system in memory that has room, one on
//! another that is full, and bursts of 500 calls by turns on the one and on the other; the healthy
//! queue is emptied between them, outside the time taken. The file systems are mounted for this
//! process alone (Linux, with `unshare` from util-linux). Where that does not work, two sinks take
//! their places, one that takes everything and one that takes nothing, and the header says so.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)] // a benchmark prints, and stops at the first surprise

mod support;

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use log::LevelFilter;
use unfazed::{Batch, Builder, Cause, Handle, Logger, Sink, State, WriteError};

const BURST: u32 = 500;
const ROUNDS: usize = 300;
const PATIENCE: Duration = Duration::from_secs(10);
/// The option of the process that has the file systems, and the directory of the one with room; the
/// full one is in it.
const MOUNTED: &str = "--mounted";
const MOUNT: &str =
    r#"mount -t tmpfs -o size=256m tmpfs "$1" && mkdir "$1/full" && mount -t tmpfs -o size=16m tmpfs "$1/full""#;

fn main() {
    log::set_max_level(LevelFilter::Trace);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [MOUNTED, dir] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return on_disks(Path::new(dir));
    }
    let dir = tempfile::tempdir().unwrap();
    for namespaces in ["-rm", "-m"] {
        let run = |action: &str| {
            let mut command = Command::new("unshare");
            command.args([namespaces, "sh", "-c", &format!("{MOUNT} && {action}")]);
            command.arg(std::env::current_exe().unwrap()).arg(dir.path());
            command
        };
        if run("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            assert!(run(&format!(r#"exec "$0" {MOUNTED} "$1""#)).status().unwrap().success());
            return;
        }
    }
    let logger = |takes| Builder::new().sink("null", NullSink { takes }).build().unwrap();
    compare("two sinks: no file system could be mounted", logger(true), logger(false));
}

fn on_disks(dir: &Path) {
    let logger = |dir: &Path| Builder::new().file(dir.join("app.log")).build().unwrap();
    let full = dir.join("full");
    let mut filler = File::create(full.join("filler")).unwrap();
    while filler.write(&[0; 4096]).is_ok_and(|bytes| bytes > 0) {}
    compare("two file systems in memory", logger(dir), logger(&full));
}

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

fn compare(where_to: &str, healthy: (Logger, Handle), suspended: (Logger, Handle)) {
    support::print_header("cargo bench --bench full");
    log::info!(logger: &suspended.0, "this one finds the disk full");
    let _ = suspended.1.flush(PATIENCE);
    let State::Suspended(cause) = suspended.1.state() else { panic!("{:?}", suspended.1.state()) };
    println!("{where_to}; suspended: {cause}");
    println!("ns a call, median of {ROUNDS} bursts of {BURST}\n");
    println!("| call | in health | suspended | ratio |\n|---|---:|---:|---:|");

    let long = "x".repeat(300);
    let user = black_box("10.0.0.1");
    let row = |name: &str, call: &dyn Fn(&Logger, u32)| {
        let (mut in_health, mut while_full) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            in_health.push(burst(&healthy.0, call));
            healthy.1.flush(PATIENCE).unwrap();
            while_full.push(burst(&suspended.0, call));
        }
        let (in_health, while_full) = (median(in_health), median(while_full));
        println!("| {name} | {in_health:.1} | {while_full:.1} | {:.3} |", while_full / in_health);
        assert!(while_full < in_health, "a call that nothing can keep costs less than one in health");
    };
    row("static", &|logger, _| log::info!(logger: logger, "a message without arguments"));
    row("formatted", &|logger, number| {
        log::info!(logger: logger, "user {number} logged in from {user} in {:.2} ms", 0.5 + f64::from(number));
    });
    row("300 bytes", &|logger, _| log::info!(logger: logger, "{long}"));
    row("key-values", &|logger, number| log::info!(logger: logger, user = number, from = user, ms = 1.25; "logged in"));

    let (stats, full) = (healthy.1.stats(), suspended.1.stats());
    assert_eq!((stats.dropped.total(), full.written), (0, 0), "{stats:?}\n{full:?}");
    assert_eq!(full.outputs[0].suspensions, 1, "{full:?}");
}

fn burst(logger: &Logger, call: &dyn Fn(&Logger, u32)) -> f64 {
    let begun = Instant::now();
    for number in 0..BURST {
        call(logger, number);
    }
    begun.elapsed().as_nanos() as f64 / f64::from(BURST)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
