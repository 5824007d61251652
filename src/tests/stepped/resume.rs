//! The time from the end of a cause to the first line after it.

use std::time::Duration;

use log::Level;

use super::bench::{Bench, Setup};
use super::invariants::{assert_invariants, assert_recovery};
use crate::event::{Cause, State};
use crate::sink::log_file::Fsync;
use crate::tests::fake_disk::{FakeDisk, Fault, Op};
use crate::{KIB, MIB};

const ROUNDS: u32 = 40;
const CAPACITY: u64 = 4 * MIB;
const LONGEST: Duration = Duration::from_millis(300);
const MEDIAN: Duration = Duration::from_millis(150);
const HELD: Duration = Duration::from_secs(10);
/// The writer looks this often while an output is suspended.
const STEP: Duration = Duration::from_millis(5);

/// Steps until `until` holds, and returns how long that took.
fn wait(bench: &mut Bench, at_most: Duration, until: impl Fn(&Bench) -> bool) -> Duration {
    let start = bench.now.monotonic;
    while !until(bench) {
        let waited = bench.now.monotonic - start;
        assert!(waited < at_most, "still {} after {waited:?}", bench.handle.state());
        bench.pass(STEP);
        bench.step();
    }
    bench.now.monotonic - start
}

/// Suspends the output by `cause` and ends the cause, again and again, after a suspension of a
/// different length each time. Returns the times to resume, the shortest first.
fn times_to_resume(min_free_space: u64, cause: Cause, begin: fn(&FakeDisk), end: fn(&FakeDisk)) -> Vec<Duration> {
    let disk = FakeDisk::with_capacity(CAPACITY);
    let mut bench = Setup::new().file(&disk, Some(min_free_space), Fsync::Never).bench();
    bench.step();
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        // A resume that does not hold lets the next one wait longer.
        bench.live(HELD);
        bench.log(Level::Info);
        bench.step();
        begin(&disk);
        // The path is looked at every 100 ms.
        bench.pass(Duration::from_millis(200));
        bench.log(Level::Info);
        wait(&mut bench, Duration::from_secs(1), Bench::suspended);
        assert_eq!(bench.handle.state(), State::Suspended(cause));
        let suspended = Duration::from_millis(2000 + u64::from(round) * 37);
        let start = bench.now.monotonic;
        while bench.now.monotonic - start < suspended {
            bench.pass(STEP);
            bench.step();
        }
        end(&disk);
        times.push(wait(&mut bench, LONGEST, |bench| !bench.suspended()));
    }
    assert_recovery(&mut bench, &disk, "the last cause has ended");
    assert_invariants(&bench, &disk, "the last cause has ended");
    times.sort();
    times
}

fn assert_back_soon(min_free_space: u64, cause: Cause, begin: fn(&FakeDisk), end: fn(&FakeDisk)) {
    let times = times_to_resume(min_free_space, cause, begin, end);
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    assert!(median <= MEDIAN && longest <= LONGEST, "{cause}: median {median:?}, longest {longest:?}");
}

#[test]
fn the_log_is_back_soon_after_low_space() {
    let begin = |disk: &FakeDisk| disk.world().filler = CAPACITY - 64 * KIB;
    assert_back_soon(256 * KIB, Cause::LowSpace, begin, |disk| disk.world().filler = 0);
}

#[test]
fn the_log_is_back_soon_after_a_full_disk() {
    let begin = |disk: &FakeDisk| disk.world().filler = CAPACITY;
    assert_back_soon(0, Cause::DiskFull, begin, |disk| disk.world().filler = 0);
}

#[test]
fn the_log_is_back_soon_after_a_read_only_file_system() {
    let begin = |disk: &FakeDisk| {
        disk.world().fault = Some(Fault { at: 1, only: Some(Op::Write), forever: true, errno: 30 });
    };
    assert_back_soon(0, Cause::ReadOnly, begin, |disk| disk.world().fault = None);
}

#[test]
fn the_log_is_back_soon_after_a_missing_directory() {
    let begin = |disk: &FakeDisk| disk.remove_dir("/logs", true);
    assert_back_soon(0, Cause::Missing, begin, FakeDisk::unbar);
}

#[test]
fn the_time_suspended_ends_with_the_logger() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.step();
    disk.world().filler = 256 * KIB;
    bench.log(Level::Info);
    bench.step();
    assert!(bench.suspended());
    let handle = bench.handle.clone();
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || handle.shutdown(Duration::MAX));
        while !asked.is_finished() {
            bench.step();
        }
        let _ = asked.join().unwrap();
    });
    assert_eq!(bench.handle.stats().outputs[0].state, State::Closed);
    let state = &bench.pipeline.counters.outputs[0].state;
    let at = bench.now.monotonic;
    assert_eq!(state.time_suspended(at), state.time_suspended(at + Duration::from_secs(3600)));
}
