//! Cases that need no file system of their own: devices, limits, directories.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use log::Level;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{SecureComputingMode, gettid, set_secure_computing_mode};
use unfazed::{Cause, KIB, State};

use crate::support::account::{Log, assert_accounted, assert_identity};
use crate::support::cases::{Evidence, Outcome};
use crate::support::child::wait_until;
use crate::support::load::{Author, Load, Pace, TARGET, longest, message};
use crate::support::moment::{HELD_UP, Moment};
use crate::support::place::Place;
use crate::support::subject::{PATIENCE, RESUME_AT_MOST, Subject};

const LONE: u32 = 99;

pub(crate) fn dev_full_suspends_the_log_at_once_and_its_calls_do_no_work(_: &Place) -> Outcome {
    let subject = Subject::start(Path::new("/dev/full"), |file| file);
    let load = Load::start(4, &subject.handle);
    subject.wait_until_suspended(Cause::DiskFull);
    load.pace(Pace::FloodSuspended);
    subject.assert_flush_says(Cause::DiskFull);
    wait_until(|| "calls at full speed".into(), PATIENCE, || load.calls(Pace::FloodSuspended) >= 1_000_000);
    load.pace(Pace::SteadySuspended);
    wait_until(|| "calls".into(), PATIENCE, || load.calls(Pace::SteadySuspended) >= 20_000);
    let calls = load.stop();
    let start = Moment::now();
    let answer = subject.handle.shutdown(PATIENCE);
    assert!(answer.is_err(), "a shutdown of a suspended log says so");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1) + HELD_UP, "the shutdown took {took:?}");
    let stats = subject.handle.stats();
    assert_identity(&stats);
    assert_eq!((stats.written, stats.pending, stats.written_bytes), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.accepted, calls.authors.iter().map(|author| author.logged).sum::<u64>());
    assert_eq!(stats.dropped.total(), stats.dropped.disk_full + stats.dropped.queue_full, "{stats:?}");
    assert_eq!(subject.told().suspended, [Cause::DiskFull]);
    let more = calls.assert_no_work_while_suspended();
    Evidence { stats, longest_call: Some(calls.longest()), resumed: None, more }.into()
}

pub(crate) fn dev_null_takes_every_record(_: &Place) -> Outcome {
    let subject = Subject::start(Path::new("/dev/null"), |file| file);
    let load = Load::start(4, &subject.handle);
    wait_until(|| "calls".into(), PATIENCE, || load.calls(Pace::Steady) >= 20_000);
    let calls = load.stop();
    let (stats, told) = subject.end();
    assert_identity(&stats);
    assert_eq!(stats.accepted, calls.authors.iter().map(|author| author.logged).sum::<u64>());
    assert_eq!((stats.written, stats.dropped.total()), (stats.accepted, 0), "{stats:?}");
    assert!(told.suspended.is_empty());
    Evidence { stats, longest_call: Some(calls.longest()), resumed: None, more: String::new() }.into()
}

pub(crate) fn a_log_call_on_a_suspended_log_formats_nothing_and_makes_no_system_call(_: &Place) -> Outcome {
    const CALLS: u64 = 1_000_000;

    let subject = Subject::start(Path::new("/dev/full"), |file| file);
    let mut lone = Author::new(LONE);
    lone.say();
    subject.wait_until_suspended(Cause::DiskFull);
    // The trap first: it must catch a thread that makes a system call.
    let Some((caught, ended)) = Confined::run(1, PATIENCE, |_| thread::yield_now()) else {
        return Outcome::Skipped("this kernel has no strict secure computing mode".to_owned());
    };
    assert_eq!((caught, ended), (0, true), "a thread that makes a system call is ended before it returns");
    let logger = log::logger();
    // What the file retains has to be formatted; everything else is not.
    let levels = [Level::Info, Level::Debug, Level::Trace];
    let confined = Confined::run(CALLS, PATIENCE, move |call| {
        log::log!(logger: logger, target: TARGET, levels[call as usize % 3], "call {call}");
    });
    assert_eq!(
        confined.map(|(calls, _)| calls),
        Some(CALLS),
        "a log call made a system call, and its thread was ended"
    );
    assert!(subject.is_suspended());
    let counted = Counted::default();
    for call in 0..CALLS {
        log::log!(levels[call as usize % 3], "{counted}");
    }
    assert_eq!(counted.0.load(Relaxed), 0, "messages were formatted that nobody takes");
    log::warn!("{counted}");
    log::error!("{counted}");
    assert_eq!(counted.0.load(Relaxed), 2, "WARN and ERROR are retained");
    subject.assert_flush_says(Cause::DiskFull);
    let stats = subject.handle.stats();
    assert_identity(&stats);
    assert_eq!((stats.accepted, stats.dropped.total()), (2 * CALLS + 3, 2 * CALLS + 1), "{stats:?}");
    assert_eq!(stats.pending, 2, "{stats:?}");
    let more = format!("{CALLS} calls in a thread that the kernel ends at its first system call");
    Evidence { stats, longest_call: None, resumed: None, more }.into()
}

/// Counts how often it is formatted.
#[derive(Default)]
struct Counted(AtomicU64);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Relaxed);
        f.write_str("counted")
    }
}

/// A thread that may only read, write and end (seccomp's strict mode). It is never joined: even its
/// way out is barred.
pub(crate) struct Confined;

impl Confined {
    /// How often `f` returned, and whether the thread was ended before all of it; `None` where
    /// there is no such mode.
    pub(crate) fn run(times: u64, at_most: Duration, mut f: impl FnMut(u64) + Send + 'static) -> Option<(u64, bool)> {
        let done = Arc::new(AtomicU64::new(0));
        let refused = Arc::new(AtomicBool::new(false));
        let thread = Arc::new(AtomicU64::new(0));
        let (done_there, refused_there, thread_there) = (done.clone(), refused.clone(), thread.clone());
        let joined = thread::spawn(move || {
            // A panic would be a system call, and would be caught as one.
            thread_there.store(gettid().as_raw_nonzero().get() as u64, Relaxed);
            if set_secure_computing_mode(SecureComputingMode::Strict).is_err() {
                refused_there.store(true, Relaxed);
                return;
            }
            for time in 0..times {
                f(time);
                done_there.fetch_add(1, Relaxed);
            }
        });
        drop(joined);
        wait_until(|| "the thread has a number".into(), PATIENCE, || thread.load(Relaxed) != 0);
        let task = format!("/proc/self/task/{}", thread.load(Relaxed));
        // It ends in every case: by itself where it was refused, and else at a system call, at the
        // latest its last one.
        wait_until(|| format!("{task} has ended"), at_most, || !Path::new(&task).exists());
        let calls = done.load(Relaxed);
        (!refused.load(Relaxed)).then_some((calls, calls < times))
    }
}

pub(crate) fn a_file_size_limit_suspends_the_log_and_kills_nobody(place: &Place) -> Outcome {
    const LIMIT: u64 = 512 * KIB;

    if sigxfsz_is_ignored() {
        return Outcome::Skipped("SIGXFSZ is ignored in this session and would kill nobody".to_owned());
    }
    let before = getrlimit(Resource::Fsize);
    let subject = Subject::start(&place.dir().join("app.log"), |file| file.min_free_space(0));
    let load = Load::start(4, &subject.handle);
    setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT), maximum: before.maximum }).unwrap();
    subject.wait_until_suspended(Cause::FileTooLarge);
    load.pace(Pace::FloodSuspended);
    subject.assert_flush_says(Cause::FileTooLarge);
    subject.wait_until_given_up();
    let at_the_limit = subject.read();
    assert!(at_the_limit.len() as u64 <= LIMIT);
    assert!(at_the_limit.len() as u64 > LIMIT - KIB, "only {} bytes were written", at_the_limit.len());
    Log::of_whole_lines(&at_the_limit);

    subject.calm_when_resumed(&load);
    let mut lone = Author::new(LONE);
    let lifted = Moment::now();
    setrlimit(Resource::Fsize, before).unwrap();
    let resumed = subject.assert_resumes(lifted, &mut lone, || subject.read());
    let mut calls = load.stop();
    calls.authors.push(lone);
    let (stats, told) = subject.end();
    assert_accounted(&Log::of_whole_lines(&subject.read()), &calls.authors, &stats, &told);
    let bytes = at_the_limit.len();
    let more = format!("{bytes} bytes at the limit, by a signal that kills by default; {}", calls.assert_no_waits());
    Evidence { stats, longest_call: Some(calls.longest()), resumed: Some(resumed), more }.into()
}

fn sigxfsz_is_ignored() -> bool {
    const SIGXFSZ: u32 = 25;

    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("the ignored signals");
    u64::from_str_radix(ignored.trim(), 16).unwrap() >> (SIGXFSZ - 1) & 1 == 1
}

pub(crate) fn a_removed_directory_is_made_again_and_no_record_is_unaccounted_for(place: &Place) -> Outcome {
    let dir = place.dir().join("logs");
    let subject = Subject::start(&dir.join("app.log"), |file| file.min_free_space(0));
    let mut lone = Author::new(LONE);
    say_and_flush(&subject, &mut lone, 300);
    let mut removed_file = File::open(&subject.path).unwrap();
    let lines_before = count_lines(&subject.read());

    let removed = Moment::now();
    fs::remove_dir_all(&dir).unwrap();
    while !subject.path.exists() {
        assert!(removed.elapsed() <= RESUME_AT_MOST, "no new log after {:?}", removed.elapsed());
        say_and_flush(&subject, &mut lone, 1);
    }
    let resumed = removed.elapsed();
    say_and_flush(&subject, &mut lone, 100);
    let (stats, told) = subject.end();

    // What went into the removed file is whole as well; the new one says that it is gone.
    let mut removed_log = Vec::new();
    removed_file.read_to_end(&mut removed_log).unwrap();
    let went_with_it = count_lines(&removed_log);
    let mut all = removed_log;
    let new = Log::of_whole_lines(&subject.read());
    let first = &new.notices[0].text;
    let told_gone = first.strip_prefix("the log file was deleted, with ").and_then(|rest| rest.split_once(' '));
    let told_gone: usize = told_gone.and_then(|(lines, _)| lines.parse().ok()).unwrap_or_else(|| panic!("{first}"));
    assert!(
        (went_with_it - lines_before..=went_with_it).contains(&told_gone),
        "it says {told_gone} lines are gone; {lines_before} were there before, {went_with_it} went with the file"
    );
    all.extend(subject.read());
    let authors = [lone];
    assert_accounted(&Log::of_whole_lines(&all), &authors, &stats, &told);
    assert_eq!(stats.dropped.total(), 0, "{stats:?}");
    let more = format!("{went_with_it} lines went with the removed file; the new one begins: {first}");
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: Some(resumed), more }.into()
}

pub(crate) fn a_file_in_the_place_of_the_directory_suspends_the_log_until_it_is_gone(place: &Place) -> Outcome {
    let dir = place.dir().join("logs");
    let subject = Subject::start(&dir.join("app.log"), |file| file.min_free_space(0));
    let mut lone = Author::new(LONE);
    say_and_flush(&subject, &mut lone, 300);
    let mut removed_files = vec![File::open(&subject.path).unwrap()];
    // The logger may make the directory again in between; then there is one more file that went
    // away.
    loop {
        fs::remove_dir_all(&dir).unwrap();
        if File::create_new(&dir).is_ok() {
            break;
        }
        removed_files.extend(File::open(&subject.path));
    }
    subject.say_until_suspended(&mut lone, Cause::Missing);
    for _ in 0..1000 {
        lone.say();
    }
    subject.assert_flush_says(Cause::Missing);
    subject.wait_until_given_up();
    let lifted = Moment::now();
    fs::remove_file(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    let resumed = subject.assert_resumes(lifted, &mut lone, || subject.read());
    assert_ne!(subject.handle.state(), State::Closed);
    say_and_flush(&subject, &mut lone, 100);
    let (stats, told) = subject.end();
    assert_eq!(told.suspended, [Cause::Missing]);

    let mut all = Vec::new();
    for file in &mut removed_files {
        file.read_to_end(&mut all).unwrap();
    }
    all.extend(subject.read());
    let authors = [lone];
    assert_accounted(&Log::of_whole_lines(&all), &authors, &stats, &told);
    let longest_call = Some(longest(&authors));
    Evidence { stats, longest_call, resumed: Some(resumed), more: "suspended by Missing".into() }.into()
}

pub(crate) fn what_is_logged_once_the_log_says_it_is_back_is_written(place: &Place) -> Outcome {
    const CALLBACK: u32 = 98;

    let dir = place.dir().join("logs");
    File::create(&dir).unwrap();
    let subject = Subject::start(&dir.join("app.log"), |file| file.min_free_space(0));
    subject.wait_until_suspended(Cause::Missing);
    let mut lone = Author::new(LONE);
    lone.say();
    let mut callback = Author::new(CALLBACK);
    let said_there = message(CALLBACK, 0);
    subject.when_resumed(move || callback.log(log::logger()));
    let lifted = Moment::now();
    fs::remove_file(&dir).unwrap();
    let resumed = subject.assert_resumes(lifted, &mut lone, || subject.read());
    let (stats, told) = subject.end();
    let log = subject.read();
    let text = String::from_utf8_lossy(&log);
    assert!(text.contains(&said_there), "what was logged when the resumption was told is not in the log: {text}");
    let mut callback = Author::new(CALLBACK);
    callback.logged = 1;
    let authors = [lone, callback];
    assert_accounted(&Log::of_whole_lines(&log), &authors, &stats, &told);
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: Some(resumed), more: String::new() }.into()
}

fn say_and_flush(subject: &Subject, author: &mut Author, records: usize) {
    for _ in 0..records {
        author.say();
    }
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
}

fn count_lines(log: &[u8]) -> usize {
    log.iter().filter(|byte| **byte == b'\n').count()
}
