//! No system call on the caller's thread: what `strace` sees of it.

use std::hint;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use unfazed::Overflow;

use crate::harness::{Outcome, argument, report};
use crate::trace::{begin, end, look_at_the_clocks, trace};
use crate::work::{self, init, log_one, warm_up};

const BURST: u64 = 500;
const BURSTS: u64 = 40;
const PAUSE: Duration = Duration::from_millis(2);
const SPARSE: u64 = 5000;
const APART: Duration = Duration::from_micros(200);
const THREADS: [usize; 2] = [4, 8];
const EACH: u64 = 100_000;
const PAUSES: usize = 20;
/// Longer than the 20 ms for which a writer that had something to do needs nobody to wake it.
const LONG_PAUSE: Duration = Duration::from_millis(100);
/// Ten ERRORs in so short a time are well within those 20 ms.
const AT_ONCE: Duration = Duration::from_millis(15);

pub(crate) fn bursts_make_no_system_call(dir: &Path) -> Outcome {
    let trace = match trace("bursts", "1", dir) {
        Ok(trace) => trace,
        Err(outcome) => return outcome,
    };
    let window = trace.windows("bursts", 1)[0];
    // The pauses are the pattern's own; that the trace has each of them shows that it sees this thread's calls.
    assert_eq!(window.count("clock_nanosleep"), BURSTS as usize, "{:?}", window.calls);
    assert!(window.others("clock_nanosleep").is_empty(), "{:?}", window.others("clock_nanosleep"));
    let records = BURSTS * BURST;
    let written: u64 = trace.report.number("written");
    Outcome::Holds(format!("{records} records, {written} of them written, 0 system calls"))
}

pub(crate) fn bursts(dir: &Path) {
    let handle = init(dir, Overflow::DropNewest);
    warm_up();
    look_at_the_clocks();
    let before = handle.stats().written;
    begin!("bursts");
    for _ in 0..BURSTS {
        (0..BURST).for_each(log_one);
        thread::sleep(PAUSE);
    }
    end!("bursts");
    work::end(&handle);
    report("written", handle.stats().written - before);
}

pub(crate) fn sparse_records_make_no_system_call(dir: &Path) -> Outcome {
    let trace = match trace("sparse", "1", dir) {
        Ok(trace) => trace,
        Err(outcome) => return outcome,
    };
    let window = trace.windows("sparse", 1)[0];
    assert!(window.calls.is_empty(), "{:?}", window.calls);
    let written: u64 = trace.report.number("written");
    Outcome::Holds(format!("{SPARSE} records, one each {APART:?}, {written} of them written, 0 system calls"))
}

pub(crate) fn sparse(dir: &Path) {
    let handle = init(dir, Overflow::DropNewest);
    warm_up();
    look_at_the_clocks();
    let before = handle.stats().written;
    begin!("sparse");
    for number in 0..SPARSE {
        log_one(number);
        spin(APART);
    }
    end!("sparse");
    work::end(&handle);
    report("written", handle.stats().written - before);
}

pub(crate) fn several_threads_make_no_system_call_but_a_rare_yield(dir: &Path) -> Outcome {
    let mut told = Vec::new();
    for threads in THREADS {
        let trace = match trace("threads", &threads.to_string(), dir) {
            Ok(trace) => trace,
            Err(outcome) => return outcome,
        };
        for (window, pauses) in [("flood", 0), ("threads", BURSTS as usize)] {
            let windows = trace.windows(window, threads);
            let mut yields = 0;
            for window in windows {
                assert_eq!(window.count("clock_nanosleep"), pauses);
                yields += window.count("sched_yield");
                let others = window.others("clock_nanosleep");
                let others: Vec<_> = others.into_iter().filter(|call| *call != "sched_yield").collect();
                assert!(others.is_empty(), "{threads} threads: {others:?}");
            }
            let calls: u64 = trace.report.number(&format!("{window} calls"));
            let taken: u64 = trace.report.number(&format!("{window} taken"));
            assert!(yields as u64 * 10_000 < calls, "{threads} threads: {yields} yields in {calls} calls");
            told.push(format!("{threads} threads, {window}: {calls} calls, {taken} taken, {yields} yields"));
        }
    }
    Outcome::Holds(told.join("; "))
}

/// All at once as fast as they can, which fills the queue; then in bursts for which it has room.
pub(crate) fn threads(dir: &Path) {
    let handle = init(dir, Overflow::DropNewest);
    warm_up();
    look_at_the_clocks();
    let threads = argument();
    let together = Barrier::new(threads);
    let before = handle.stats();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                warm_up();
                together.wait();
                begin!("flood");
                (0..EACH).for_each(log_one);
                end!("flood");
            });
        }
    });
    handle.flush(Duration::from_secs(60)).unwrap();
    let between = handle.stats();
    report("flood calls", threads as u64 * EACH);
    report("flood taken", between.written - before.written);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                warm_up();
                together.wait();
                begin!("threads");
                for _ in 0..BURSTS {
                    (0..BURST).for_each(log_one);
                    thread::sleep(PAUSE * threads as u32);
                }
                end!("threads");
            });
        }
    });
    work::end(&handle);
    report("threads calls", threads as u64 * BURSTS * BURST);
    report("threads taken", handle.stats().written - between.written);
}

pub(crate) fn an_error_after_a_pause_wakes_the_writer_by_one_futex(dir: &Path) -> Outcome {
    let trace = match trace("errors", "1", dir) {
        Ok(trace) => trace,
        Err(outcome) => return outcome,
    };
    let windows = trace.windows("errors", PAUSES);
    // Where this thread itself had to wait for a processor, the writer may have gone to rest in between.
    let in_time = windows.iter().enumerate().filter(|(turn, _)| trace.report.number(&format!("in time {turn}")));
    let futexes: Vec<_> = in_time.map(|(_, window)| window.count("futex")).collect();
    assert!(futexes.iter().all(|count| *count <= 1), "futex calls after each pause: {futexes:?}");
    assert!(futexes.contains(&1), "no ERROR woke the writer");
    for window in windows {
        assert!(window.others("futex").is_empty(), "{:?}", window.calls);
    }
    let woken = futexes.iter().sum::<usize>();
    Outcome::Holds(format!("{} pauses, ten ERRORs after each, {woken} futex calls", futexes.len()))
}

pub(crate) fn errors(dir: &Path) {
    let handle = init(dir, Overflow::DropNewest);
    warm_up();
    look_at_the_clocks();
    for turn in 0..PAUSES {
        thread::sleep(LONG_PAUSE);
        begin!("errors");
        let begun = Instant::now();
        for number in 0..10 {
            log::error!("the {number}th thing went wrong");
            // Time for the writer to have written it, and to nap again.
            spin(Duration::from_millis(1));
        }
        let took = begun.elapsed();
        end!("errors");
        report(&format!("in time {turn}"), took < AT_ONCE);
    }
    work::end(&handle);
}

/// Waits without a system call.
fn spin(at_least: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < at_least {
        hint::spin_loop();
    }
}
