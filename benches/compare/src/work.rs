//! The work and its patterns, in a process of their own: which records, how they come, and what is
//! measured at them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::limit::{
    self,
    Argument::{Float, Integer, Text},
};
use crate::loggers::{Full, Logger, Running};
use crate::measure::{allocations, own_mib, peak_mib, processor_seconds, switches, ticks, ticks_per_ns};

/// Through which macros a logger is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Log,
    /// The macros of unfazed.
    Unfazed,
    Tracing,
    /// The `log` macros, and for key-values slog's own, because slog-stdlog does not pass them on.
    Slog,
    /// None: the second limit is called.
    Stored,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A message with an integer, a string and a float.
    W1,
    /// A static string.
    W2,
    /// A message of 300 bytes.
    W3,
    /// A static string with three key-values.
    W4,
}

impl Work {
    /// What is in each of its lines.
    fn mark(self) -> &'static [u8] {
        match self {
            Work::W1 => b"logged in from",
            Work::W2 => b"connection closed",
            Work::W3 => b"quick brown fox",
            Work::W4 => b"user logged in",
        }
    }
}

const ADDRESS: &str = "192.168.17.42";
/// With a number of eight digits and a blank, 300 bytes.
const LONG: &str = "the quick brown fox jumps over the lazy dog, and then the lazy dog gets up and walks round the house, past \
    the well and the old apple tree, down to the river, where it lies down again in the sun and sleeps until \
    the evening comes and the fox is back and begins once more to jump, to and fr o";

const _: () = assert!(LONG.len() + 9 == 300);

fn milliseconds(number: u64) -> f64 {
    (number % 1000) as f64 * 0.37
}

/// One call, which gets the record's number.
pub type Call = fn(u64);

pub fn call(front: Front, work: Work) -> Call {
    match (front, work) {
        (Front::Log | Front::Slog, Work::W1) => {
            |number| log::info!("user {} logged in from {} in {:.2} ms", number, ADDRESS, milliseconds(number))
        }
        (Front::Log | Front::Slog, Work::W2) => |_| log::info!("connection closed by peer"),
        (Front::Log | Front::Slog, Work::W3) => |number| log::info!("{number:08} {LONG}"),
        (Front::Log, Work::W4) => {
            |number| log::info!(user = number, address = ADDRESS, ms = milliseconds(number); "user logged in")
        }
        (Front::Slog, Work::W4) => |number| {
            slog_scope::with_logger(
                |logger| slog::info!(logger, "user logged in"; "user" => number, "address" => ADDRESS, "ms" => milliseconds(number)),
            );
        },
        (Front::Unfazed, Work::W1) => {
            |number| unfazed::info!("user {} logged in from {} in {:.2} ms", number, ADDRESS, milliseconds(number))
        }
        (Front::Unfazed, Work::W2) => |_| unfazed::info!("connection closed by peer"),
        (Front::Unfazed, Work::W3) => |number| unfazed::info!("{number:08} {LONG}"),
        (Front::Unfazed, Work::W4) => {
            |number| unfazed::info!(user = number, address = ADDRESS, ms = milliseconds(number); "user logged in")
        }
        (Front::Stored, Work::W1 | Work::W4) => |number| {
            limit::store("W1", [Integer(number), Text(ADDRESS), Float(milliseconds(number))]);
        },
        (Front::Stored, Work::W2) => |_| limit::store("W2", []),
        (Front::Stored, Work::W3) => |number| limit::store("W3", [Integer(number), Text(LONG)]),
        (Front::Tracing, Work::W1) => {
            |number| tracing::info!("user {} logged in from {} in {:.2} ms", number, ADDRESS, milliseconds(number))
        }
        (Front::Tracing, Work::W2) => |_| tracing::info!("connection closed by peer"),
        (Front::Tracing, Work::W3) => |number| tracing::info!("{number:08} {LONG}"),
        (Front::Tracing, Work::W4) => {
            |number| tracing::info!(user = number, address = ADDRESS, ms = milliseconds(number), "user logged in")
        }
    }
}

/// How the records come, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// 500 records, then 2 ms of rest; so many times.
    Bursts(usize),
    /// One record each 200 us, the caller spinning between; so many.
    Sparse(usize),
    /// So many as fast as possible, until they are in the file.
    Sustained(usize),
    /// So many a second, for `PACED_FOR`.
    Paced(usize),
}

pub const BURST: usize = 500;
const REST: Duration = Duration::from_millis(2);
const EACH: Duration = Duration::from_micros(200);
/// Records a second, in the pattern that is paced.
pub const RATES: [usize; 3] = [1_000, 10_000, 100_000];
const PACED_FOR: Duration = Duration::from_secs(5);
/// A part of the records of a second comes in each of these.
const TICK: Duration = Duration::from_millis(1);
const WARM_UP: Duration = Duration::from_millis(50);

/// A number that was measured, and what it is.
pub fn tell(metric: &str, value: f64) {
    println!("@ {metric} {value}");
}

/// What the process started for one measurement does.
pub fn run(
    logger: &Logger,
    file: &Path,
    pattern: Pattern,
    work: Work,
    threads: usize,
    full: Full,
) -> Result<(), String> {
    let before = peak_mib();
    let running = (logger.start)(file, full).map_err(|error| error.to_string())?;
    let log = call(running.front, work);
    match pattern {
        Pattern::Bursts(bursts) => {
            let samples = on_threads(threads, |_| bursts_of(log, bursts));
            let calls = threads * (bursts + warm_up(bursts)) * BURST;
            tell_latency(samples);
            (running.finish)();
            last_growth(file);
            let arrived = running.arrived.map_or_else(|| lines_with(file, work.mark()), |arrived| arrived());
            tell("lost_percent", 100.0 * (1.0 - arrived as f64 / calls as f64));
            if work == Work::W4 && lines_with(file, ADDRESS.as_bytes()) == 0 {
                tell("without_key_values", 1.0);
            }
        }
        Pattern::Sparse(records) => tell_latency(on_threads(threads, |_| sparse(log, records))),
        Pattern::Sustained(records) => {
            tell("before_mib", before);
            sustained(running, log, file, records, threads);
        }
        Pattern::Paced(rate) => paced(log, rate),
    }
    Ok(())
}

/// The ticks of each call, and how many allocations they made.
pub struct Samples {
    ticks: Vec<u64>,
    allocations: u64,
}

fn on_threads<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    if threads == 1 {
        return vec![work(0)];
    }
    let barrier = Barrier::new(threads);
    let body = |thread| {
        barrier.wait();
        work(thread)
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn({
                    let body = &body;
                    move || body(thread)
                })
            })
            .collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

#[inline(always)]
fn timed(log: Call, number: u64) -> u64 {
    let from = ticks();
    log(number);
    ticks() - from
}

/// How many bursts come before those that are measured.
fn warm_up(bursts: usize) -> usize {
    bursts.div_ceil(10)
}

pub fn bursts_of(log: Call, bursts: usize) -> Samples {
    let mut samples = vec![1; bursts * BURST];
    let mut number = 0;
    let mut burst = |samples: &mut [u64]| {
        for sample in samples {
            number += 1;
            *sample = timed(log, number);
        }
        thread::sleep(REST);
    };
    for _ in 0..warm_up(bursts) {
        burst(&mut samples[..BURST]);
    }
    let before = allocations();
    samples.chunks_mut(BURST).for_each(&mut burst);
    Samples { ticks: samples, allocations: allocations() - before }
}

fn sparse(log: Call, records: usize) -> Samples {
    let each = (EACH.as_nanos() as f64 * ticks_per_ns()) as u64;
    let mut samples = vec![1; records];
    let one = |number: usize| {
        let from = ticks();
        while ticks() - from < each {
            std::hint::spin_loop();
        }
        timed(log, number as u64)
    };
    for number in 0..records / 10 {
        one(number);
    }
    let before = allocations();
    for (number, sample) in samples.iter_mut().enumerate() {
        *sample = one(number);
    }
    Samples { ticks: samples, allocations: allocations() - before }
}

/// The nanoseconds below which the given share of the calls stayed.
///
/// A virtual machine's counter may go in steps of 10 ns, so that thousands of calls have the same
/// number of ticks; they are taken as spread evenly over their step (the median of grouped data).
pub fn percentile(sorted: &[u64], share: f64, ticks_per_ns: f64) -> f64 {
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len() - 1);
    let value = sorted[place];
    let from = sorted.partition_point(|&other| other + ROUNDING < value);
    let to = sorted.partition_point(|&other| other <= value + ROUNDING);
    let within = (place - from) as f64 / (to - from) as f64 - 0.5;
    (value as f64 + within * step(sorted) as f64) / ticks_per_ns
}

/// A step is not a whole number of ticks: the same number of steps may be a tick more or less.
const ROUNDING: u64 = 1;

/// The step of the counter, in ticks: the smallest difference, beyond the rounding, between two
/// values that many of the samples have. None if they lie closer together than that.
fn step(sorted: &[u64]) -> u64 {
    let frequent: Vec<u64> =
        sorted.chunk_by(|a, b| a == b).filter(|same| same.len() > sorted.len() / 500).map(|same| same[0]).collect();
    let steps = frequent.windows(2).map(|pair| pair[1] - pair[0]);
    steps.filter(|&step| step > 2 * ROUNDING).min().unwrap_or(0)
}

pub fn sorted(samples: Vec<Samples>) -> Vec<u64> {
    let mut all: Vec<u64> = samples.into_iter().flat_map(|samples| samples.ticks).collect();
    all.sort_unstable();
    all
}

fn tell_latency(samples: Vec<Samples>) {
    let made: u64 = samples.iter().map(|samples| samples.allocations).sum();
    let all = sorted(samples);
    tell("allocations", made as f64 / all.len() as f64);
    let ticks_per_ns = ticks_per_ns();
    for (metric, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
        tell(metric, percentile(&all, share, ticks_per_ns));
    }
}

/// The cost of the two reads of the counter around nothing, in nanoseconds.
pub fn timer_cost() -> f64 {
    let mut samples: Vec<u64> = (0..100_000).map(|number| timed(std::hint::black_box(|_| {}), number)).collect();
    samples.sort_unstable();
    percentile(&samples, 0.5, ticks_per_ns())
}

fn sustained(running: Running, log: Call, file: &Path, records: usize, threads: usize) {
    // The threads and the names are known, the file is open.
    log(0);
    thread::sleep(WARM_UP);
    let processor = processor_seconds();
    let from = Instant::now();
    let share = records / threads;
    on_threads(threads, |thread| (0..share).for_each(|number| log((thread * share + number) as u64)));
    let called = from.elapsed();
    (running.finish)();
    let (written, processor_then) = last_growth(file);
    let took = written.max(from).duration_since(from);
    let arrived = match running.arrived {
        Some(arrived) => arrived(),
        None => lines_with(file, Work::W1.mark()),
    };
    let in_file = arrived.saturating_sub(1);
    tell("peak_mib", peak_mib());
    tell("own_mib", own_mib());
    tell("processor_seconds_per_million", (processor_then - processor) * 1e6 / in_file as f64);
    tell("called_per_second", (share * threads) as f64 / called.as_secs_f64());
    tell("per_second", in_file as f64 / took.as_secs_f64());
    tell("lost_percent", 100.0 * (1.0 - in_file as f64 / (share * threads) as f64));
}

/// Logs at this rate, and tells what a record costs the whole process: its processor time, in
/// microseconds, and how often it was switched to another thread. The sleeps between the ticks
/// are in it.
fn paced(log: Call, rate: usize) {
    log(0);
    thread::sleep(WARM_UP);
    let (processor, switched, from) = (processor_seconds(), switches(), Instant::now());
    let ticks = PACED_FOR.as_millis() / TICK.as_millis();
    let each = rate * TICK.as_millis() as usize / 1000;
    for tick in 1..=ticks as u32 {
        (0..each).for_each(|number| log(number as u64));
        thread::sleep((from + TICK * tick).saturating_duration_since(Instant::now()));
    }
    let records = (ticks as usize * each) as f64;
    tell("processor_us", (processor_seconds() - processor) * 1e6 / records);
    tell("switches", (switches() - switched) as f64 / records);
}

/// Waits until the file has not grown for a while, and says when it last did, and the processor
/// time until then: a logger may go on writing after it said that it had finished.
fn last_growth(file: &Path) -> (Instant, f64) {
    const QUIET: Duration = Duration::from_millis(150);
    let size = || file.metadata().map_or(0, |metadata| metadata.len());
    let mut last = (Instant::now(), processor_seconds());
    let mut before = size();
    while last.0.elapsed() < QUIET {
        thread::sleep(Duration::from_millis(1));
        let now = size();
        if now != before {
            before = now;
            last = (Instant::now(), processor_seconds());
        }
    }
    last
}

/// How many lines of the file have the mark in them.
fn lines_with(file: &Path, mark: &[u8]) -> u64 {
    let Ok(file) = File::open(file) else { return 0 };
    let mut file = BufReader::with_capacity(1 << 16, file);
    let finder = memchr::memmem::Finder::new(mark);
    let (mut line, mut found) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        found += u64::from(line.ends_with(b"\n") && finder.find(&line).is_some());
        line.clear();
    }
    found
}
