//! Cases about what lasts: a disk that is full and free in turns, and a log that stays suspended
//! under calls at full speed. Each has a long form (see `cases::is_long`).

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use unfazed::{Cause, KIB, LogFile, MIB};

use crate::files::Confined;
use crate::support::account::{Log, assert_accounted};
use crate::support::cases::{Evidence, Outcome, is_long};
use crate::support::load::{Author, longest, memory};
use crate::support::moment::Moment;
use crate::support::place::{Filler, Place};
use crate::support::subject::{PATIENCE, Subject};

const LONE: u32 = 99;
/// For so long the disk is full, and for so long it is free.
const TOGGLE: Duration = Duration::from_millis(100);
/// They log a record a millisecond each: little enough that the log itself does not fill the disk
/// in a minute.
const AUTHORS: u32 = 4;

pub(crate) fn a_disk_that_toggles_every_100_ms_suspends_and_resumes_the_log_once_a_second_at_most(
    place: &Place,
) -> Outcome {
    let seconds = if is_long() { 60 } else { 12 };
    // An attempt to write finds the free half of the time as often as the full one, and each ends a
    // suspension or begins one.
    toggles(place, Cause::DiskFull, seconds, seconds / 6, |file| file.min_free_space(0))
}

pub(crate) fn a_disk_that_toggles_above_and_below_the_reserve_keeps_the_log_quiet(place: &Place) -> Outcome {
    let seconds = if is_long() { 60 } else { 12 };
    toggles(place, Cause::LowSpace, seconds, 1, |file| file.min_free_space(MIB))
}

fn toggles(
    place: &Place,
    cause: Cause,
    seconds: u64,
    at_least: u64,
    options: impl FnOnce(LogFile) -> LogFile,
) -> Outcome {
    let disk = place.tmpfs("size=16m");
    let subject = Subject::start(&disk.join("app.log"), options);
    let stop = AtomicBool::new(false);
    let log = |number| {
        let mut author = Author::new(number);
        while !stop.load(Relaxed) {
            author.say();
            thread::sleep(Duration::from_millis(1));
        }
        author
    };
    let (mut authors, freed, turns, seconds) = thread::scope(|scope| {
        let threads: Vec<_> = (0..AUTHORS).map(|number| scope.spawn(move || log(number))).collect();
        let (begun, lasts) = (Instant::now(), Duration::from_secs(seconds));
        let (mut freed, mut turns) = (Moment::now(), 0);
        let suspensions = || subject.told().suspended.len() as u64;
        // A busy machine takes longer for the least that is asserted.
        let goes_on = |for_now| for_now < lasts || for_now < lasts + PATIENCE && suspensions() < at_least;
        while goes_on(begun.elapsed()) {
            let mut filler = Filler::new(disk.join("filler"));
            filler.fill();
            thread::sleep(TOGGLE);
            freed = filler.remove();
            thread::sleep(TOGGLE);
            turns += 1;
        }
        stop.store(true, Relaxed);
        let authors: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        (authors, freed, turns, begun.elapsed().as_secs())
    });
    let mut lone = Author::new(LONE);
    let resumed = subject.assert_resumes(freed, &mut lone, || subject.read());
    authors.push(lone);
    let (stats, told) = subject.end();
    let (suspended, closest) = (told.suspended.len() as u64, subject.assert_no_flapping());
    assert!((at_least..=seconds + 1).contains(&suspended), "{suspended} suspensions in {seconds} s: {told:?}");
    assert!(told.suspended.iter().all(|why| *why == cause), "{told:?}");
    assert_eq!(told.resumed.len(), told.suspended.len(), "one event at each end of a suspension: {told:?}");
    assert_accounted(&Log::of_whole_lines(&subject.read()), &authors, &stats, &told);
    let apart = if suspended > 1 { format!("{closest:.2?} apart at least") } else { "one".to_owned() };
    let more = format!("{turns} turns in {seconds} s, {suspended} suspensions, {apart}");
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: Some(resumed), more }.into()
}

pub(crate) fn a_million_calls_a_second_on_a_suspended_log_take_no_memory_and_no_system_call(place: &Place) -> Outcome {
    const A_MILLISECOND: u64 = 1000;

    let seconds: u64 = if is_long() { 600 } else { 10 };
    let disk = place.tmpfs("size=16m");
    // Without either, nothing is formatted whatever its level.
    let subject = Subject::start(&disk.join("app.log"), |file| file.error_reserve(0).retain(0));
    let mut lone = Author::new(LONE);
    lone.say();
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
    let mut filler = Filler::new(disk.join("filler"));
    filler.fill();
    subject.say_until_suspended(&mut lone, Cause::LowSpace);
    subject.wait_until_given_up();

    let millis = seconds * 1000;
    let before = lone.logged;
    let memory_before = memory();
    let begun = Instant::now();
    let mut confined = lone.clone();
    let logger = log::logger();
    // A thread that may make no system call can neither sleep nor, as this mode has it, read the
    // clock: another one tells it the time.
    let clock = Arc::new(AtomicU64::new(0));
    let time = clock.clone();
    let caller = move |milli| {
        for _ in 0..A_MILLISECOND {
            confined.log(logger);
        }
        while time.load(Relaxed) <= milli {
            spin_loop();
        }
    };
    let over = AtomicBool::new(false);
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                thread::sleep(Duration::from_micros(200));
                clock.store(begun.elapsed().as_millis() as u64, Relaxed);
            }
        });
        // On a busy machine a caller that fell behind catches up, and that takes as long as it
        // takes.
        let ran = Confined::run(millis, PATIENCE + Duration::from_secs(2 * seconds), caller);
        over.store(true, Relaxed);
        ran
    });
    let Some((ran, _)) = ran else {
        return Outcome::Skipped("this kernel has no strict secure computing mode".to_owned());
    };
    let took = begun.elapsed();
    let grown = memory().saturating_sub(memory_before);
    assert_eq!(ran, millis, "a log call made a system call, and its thread was ended");
    lone.logged += millis * A_MILLISECOND;
    assert!(grown <= 128 * KIB, "the memory grew by {grown} bytes in {took:?}");
    let stats = subject.handle.stats();
    assert_eq!(stats.accepted, before + millis * A_MILLISECOND, "{stats:?}");
    assert_eq!(subject.told().suspended, [Cause::LowSpace]);

    let freed = filler.remove();
    let resumed = subject.assert_resumes(freed, &mut lone, || subject.read());
    let (stats, told) = subject.end();
    assert_accounted(&Log::of_whole_lines(&subject.read()), &[lone], &stats, &told);
    let rate = (millis * A_MILLISECOND) as f64 / took.as_secs_f64() / 1e6;
    let more = format!(
        "{rate:.2} million calls a second for {took:.0?} in a thread that the kernel ends at its first system call, memory grew by {} KiB",
        grown / KIB
    );
    Evidence { stats, longest_call: None, resumed: Some(resumed), more }.into()
}
