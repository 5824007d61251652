//! No system call on the caller's thread: what `strace` sees of it.

use std::hint;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use unfazed::Handle;

use crate::allocations;
use crate::harness::{Outcome, argument, report};
use crate::trace::{begin, end, look_at_the_clocks, trace};
use crate::work::{self, log_one, to_file, warm_up};

const BURST: u64 = 500;
const BURSTS: u64 = 40;
const PAUSE: Duration = Duration::from_millis(2);
const SPARSE: u64 = 5000;
const APART: Duration = Duration::from_micros(200);
const THREADS: [usize; 2] = [4, 8];
const BURSTS_EACH: u64 = 16;
const FLOOD_EACH: u64 = 100_000;
/// For more than twice as many records as are logged: a queue that is half full wakes a writer that
/// has slept for a while, and on a busy machine any of them may.
const ROOM: usize = 1 << 16;
const PAUSES: usize = 20;
/// Longer than the 20 ms for which a writer that had something to do needs nobody to wake it.
const LONG_PAUSE: Duration = Duration::from_millis(100);
/// One a millisecond.
const ERRORS: usize = 5;
/// If they took no longer than this, they are well within those 20 ms.
const AT_ONCE: Duration = Duration::from_millis(15);

pub(crate) fn bursts_make_no_system_call(dir: &Path) -> Outcome {
    let trace = match trace("bursts", "1", dir) {
        Ok(trace) => trace,
        Err(outcome) => return outcome,
    };
    let window = trace.windows("bursts", 1)[0];
    // The pauses are the pattern's own; that the trace has each of them shows that it sees this
    // thread's calls.
    assert_eq!(window.count("clock_nanosleep"), BURSTS as usize, "{:?}", window.calls);
    assert!(window.others("clock_nanosleep").is_empty(), "{:?}", window.others("clock_nanosleep"));
    let records = BURSTS * BURST;
    let written: u64 = trace.report.number("written");
    Outcome::Holds(format!("{records} records, {written} of them written, 0 system calls"))
}

pub(crate) fn bursts(dir: &Path) {
    let handle = to_file(dir).capacity(ROOM).init().unwrap();
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

pub(crate) fn what_surrounds_a_record_makes_no_system_call(dir: &Path) -> Outcome {
    let trace = match trace("surrounded_calls", "1", dir) {
        Ok(trace) => trace,
        Err(outcome) => return outcome,
    };
    let window = trace.windows("surrounded", 1)[0];
    assert!(window.calls.is_empty(), "{:?}", window.calls);
    let written: u64 = trace.report.number("written");
    Outcome::Holds(format!("{BURST} calls of each kind, {written} records written, 0 system calls"))
}

pub(crate) fn surrounded_calls(dir: &Path) {
    let handle = allocations::with_surroundings(dir).capacity(ROOM).init().unwrap();
    #[cfg(feature = "tracing")]
    unfazed::tracing::init(&handle).unwrap();
    #[cfg(feature = "tracing")]
    let _span = tracing::info_span!("request", id = 7).entered();
    warm_up();
    allocations::SURROUNDED.iter().for_each(|(_, call)| call(0));
    look_at_the_clocks();
    let before = handle.stats().written;
    begin!("surrounded");
    for (_, call) in allocations::SURROUNDED {
        (0..BURST).for_each(call);
    }
    end!("surrounded");
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
    let handle = to_file(dir).capacity(ROOM).init().unwrap();
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
        for (program, pauses) in [("threads_in_bursts", BURSTS_EACH), ("threads_in_a_flood", 0)] {
            let trace = match trace(program, &threads.to_string(), dir) {
                Ok(trace) => trace,
                Err(outcome) => return outcome,
            };
            let windows = trace.windows("threads", threads);
            let count = |call: &str| windows.iter().map(|window| window.count(call)).sum::<usize>() as u64;
            let others = windows.iter().flat_map(|window| &window.calls);
            let others: Vec<_> =
                others.filter(|call| !["clock_nanosleep", "sched_yield", "futex"].contains(&call.as_str())).collect();
            assert!(others.is_empty(), "{program}, {threads}: {others:?}");
            assert_eq!(count("clock_nanosleep"), threads as u64 * pauses);

            let (calls, taken): (u64, u64) = (trace.report.number("calls"), trace.report.number("taken"));
            let (yields, futexes) = (count("sched_yield"), count("futex"));
            assert!(yields * 10_000 < calls, "{program}, {threads}: {yields} yields in {calls} calls");
            // A writer that has slept for 20 ms is woken, once, when the queue is half full: in the
            // bursts it never is.
            let millis: u64 = trace.report.number("millis");
            let most = if pauses > 0 { 0 } else { millis / 20 + 1 };
            assert!(futexes <= most, "{program}, {threads}: {futexes} futex calls in {millis} ms");
            told.push(format!(
                "{program}, {threads}: {calls} calls, {taken} taken, {yields} yields, {futexes} futex calls"
            ));
        }
    }
    Outcome::Holds(told.join("; "))
}

/// Bursts for which the queue has room.
pub(crate) fn threads_in_bursts(dir: &Path) {
    let threads = argument();
    let calls = threads as u64 * BURSTS_EACH * BURST;
    // Even if the writer slept all the time, it would not be half full.
    let handle = to_file(dir).capacity(4 * calls as usize).init().unwrap();
    all_at_once(&handle, threads, calls, || {
        for _ in 0..BURSTS_EACH {
            (0..BURST).for_each(log_one);
            thread::sleep(PAUSE * threads as u32);
        }
    });
}

/// As fast as they can, which fills the queue.
pub(crate) fn threads_in_a_flood(dir: &Path) {
    let threads = argument();
    let handle = to_file(dir).init().unwrap();
    all_at_once(&handle, threads, threads as u64 * FLOOD_EACH, || (0..FLOOD_EACH).for_each(log_one));
}

fn all_at_once(handle: &Handle, threads: usize, calls: u64, work: impl Fn() + Sync) {
    warm_up();
    look_at_the_clocks();
    let together = Barrier::new(threads);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                warm_up();
                together.wait();
                begin!("threads");
                work();
                end!("threads");
            });
        }
    });
    report("millis", begun.elapsed().as_millis());
    report("calls", calls);
    work::end(handle);
    report("taken", handle.stats().written);
}

pub(crate) fn an_error_after_a_pause_wakes_the_writer_by_one_futex(dir: &Path) -> Outcome {
    let trace = match trace("errors", "1", dir) {
        Ok(trace) => trace,
        Err(outcome) => return outcome,
    };
    for window in trace.windows("an info", PAUSES) {
        assert!(window.calls.is_empty(), "an INFO after a pause: {:?}", window.calls);
    }
    let windows = trace.windows("errors", PAUSES);
    for window in &windows {
        assert!(window.others("futex").is_empty(), "{:?}", window.calls);
    }
    assert!(windows.iter().any(|window| window.count("futex") > 0), "no ERROR woke the writer");
    // Where this thread itself had to wait for a processor, the writer may have gone to rest in
    // between.
    let in_time = windows.iter().enumerate().filter(|(turn, _)| trace.report.number(&format!("in time {turn}")));
    let futexes: Vec<_> = in_time.map(|(_, window)| window.count("futex")).collect();
    assert!(futexes.iter().all(|count| *count <= 1), "futex calls after each pause: {futexes:?}");
    if futexes.is_empty() {
        return Outcome::Skipped(format!("this machine is too busy to log {ERRORS} records within {AT_ONCE:?}"));
    }
    let woken = futexes.iter().sum::<usize>();
    Outcome::Holds(format!("{} pauses, {ERRORS} ERRORs after each, {woken} futex calls", futexes.len()))
}

pub(crate) fn errors(dir: &Path) {
    let handle = to_file(dir).init().unwrap();
    warm_up();
    look_at_the_clocks();
    for turn in 0..PAUSES {
        thread::sleep(LONG_PAUSE);
        begin!("an info");
        log::info!("all is well");
        end!("an info");
        begin!("errors");
        let begun = Instant::now();
        for number in 0..ERRORS {
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
