//! A process that may not have more memory (RLIMIT_AS): what is refused is an error or a loss that
//! is counted, never the end.

use std::fs;
use std::hint::black_box;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use log::LevelFilter;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use unfazed::{Builder, Cause, FlushError, KIB, LogFile};

use crate::support::account::assert_identity;
use crate::support::cases::{Case, Evidence, Needs, Outcome, part};
use crate::support::child;
use crate::support::place::Place;
use crate::support::subject::{PATIENCE, Subject};

pub(crate) const STARTS: Case = part("a start under a limit", Needs::Nothing, starts);

/// Where a part reads how much more memory it may have, and says what came of it.
const MORE: &str = "more";

pub(crate) fn under_any_limit_of_memory_a_logger_starts_or_says_that_it_cannot(place: &Place) -> Outcome {
    const STEP: u64 = 48 * KIB;
    const ENOUGH: u64 = 6 << 20;

    let (mut started, mut refused) = (0, Vec::new());
    for more in (0..ENOUGH).step_by(STEP as usize) {
        fs::write(place.dir().join(MORE), more.to_string()).unwrap();
        let mut command = child::command(STARTS.name, place.dir());
        let ended = command.env("RUST_BACKTRACE", "0").stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && stderr.is_empty(), "with {more} bytes more: {}\n{stderr}", ended.status);
        let note = fs::read_to_string(place.dir().join("note")).unwrap();
        match note.trim_start_matches("holds\n") {
            "started" => started += 1,
            why => refused.push((more / KIB, why.to_owned())),
        }
    }
    // Both must have been seen, or nothing was limited.
    assert!(started > 5 && refused.len() > 5, "{started} started, {refused:?}");
    refused.dedup_by(|(_, why), (_, before)| why == before);
    Outcome::Holds(format!("{started} limits were enough; with so many KiB more it said: {refused:?}"))
}

/// A logger is made under the limit, and so is what it writes.
fn starts(place: &Place) -> Outcome {
    let more: u64 = fs::read_to_string(place.dir().join(MORE)).unwrap().parse().unwrap();
    let file = LogFile::new(place.dir().join("app.log")).min_free_space(0);
    let builder = Builder::new().level(LevelFilter::Info).file(file);
    log::set_max_level(LevelFilter::Info);
    let before = limit_memory(mapped() + more);
    let built = builder.build();
    let flushed = built.as_ref().ok().map(|(logger, handle)| {
        for n in 0..1000 {
            log::info!(logger: logger, "number {n}");
        }
        handle.flush(PATIENCE)
    });
    setrlimit(Resource::As, before).unwrap();
    match (built, flushed) {
        (Err(error), _) => Outcome::Holds(error.to_string()),
        (Ok((logger, handle)), flushed) => {
            drop(logger);
            let stats = handle.stats();
            assert_identity(&stats);
            assert_eq!((stats.accepted, stats.pending), (1000, 0), "{stats:?}");
            assert!(stats.written > 0 || flushed != Some(Ok(())), "{stats:?}");
            Outcome::Holds("started".to_owned())
        }
    }
}

pub(crate) fn long_messages_without_memory_for_them_are_cut_or_lost_and_end_nobody(place: &Place) -> Outcome {
    const LONG: usize = 60 << 10;
    const WANTED: u64 = 100;

    if !one_arena() {
        return Outcome::Skipped("each thread has memory of its own, which no limit makes scarce".to_owned());
    }
    let subject = Subject::start(&place.dir().join("app.log"), |file| file.min_free_space(0));
    let text = "x".repeat(LONG);
    log::info!(target: "before", "whole");
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));

    let before = limit_memory(mapped() + 512 * KIB);
    let mut logged = 0;
    let begun = Instant::now();
    let (cut, lost) = loop {
        for _ in 0..20 {
            log::info!(target: "long", "{text}");
            log::info!(target: "pairs", n = 1, long = text, last = 2; "pairs");
        }
        logged += 40;
        let stats = subject.handle.stats();
        let enough = stats.truncated >= WANTED;
        if enough || begun.elapsed() > Duration::from_secs(5) {
            break (stats.truncated, stats.dropped.total());
        }
        thread::sleep(Duration::from_millis(1));
    };
    setrlimit(Resource::As, before).unwrap();
    assert!(cut >= WANTED, "only {cut} of {logged} messages were cut, {lost} were lost");

    // Of what was pending while there was no memory the writer may have lost some: it says so here,
    // and has nothing more to say of it afterwards.
    let flushed = subject.handle.flush(PATIENCE);
    assert!(matches!(flushed, Ok(()) | Err(FlushError::Suspended(Cause::Io))), "{flushed:?}");
    log::info!(target: "after", "{text}");
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
    let (stats, told) = subject.end();
    assert_identity(&stats);
    assert_eq!((stats.pending, stats.accepted), (0, logged + 2), "{stats:?}");
    assert!(told.suspended.is_empty(), "{told:?}");
    let log = String::from_utf8(subject.read()).unwrap();
    let (mut whole, mut short, mut others) = (0, 0, 0);
    let all_pairs = format!("pairs n=1 long={text} last=2");
    for line in log.split_terminator('\n') {
        match line.split_once(" INFO  long: ") {
            Some((_, message)) if message == text => whole += 1,
            Some((_, message)) if message.strip_suffix("...[cut]").is_some_and(|kept| text.starts_with(kept)) => {
                short += 1
            }
            Some((_, message)) => panic!("a message of {} bytes, neither whole nor cut", message.len()),
            None => match line.split_once(" INFO  pairs: ") {
                Some((_, message)) if message == all_pairs => whole += 1,
                Some((_, message)) if is_cut(message, &all_pairs) => short += 1,
                Some((_, message)) => panic!("{} bytes that are no pairs", message.len()),
                None => others += 1,
            },
        }
    }
    assert_eq!((whole + short + 2, short), (stats.written, stats.truncated), "{stats:?}");
    assert_eq!(others, 2 + stats.outputs[0].notices, "{stats:?}");
    assert!(log.contains(&format!(" INFO  after: {text}\n")), "what was logged when there was memory again");
    let told = log.lines().filter_map(|line| line.split_once(" unfazed: ")?.1.split_once(" dropped"));
    let told: u64 = told.map(|(count, _)| count.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(told, stats.dropped.total(), "the losses that the log tells");
    let more = format!("of {logged} messages of 60 KiB {whole} were whole, {short} cut");
    Evidence { stats, longest_call: None, resumed: None, more }.into()
}

/// Returns whether these are some of the pairs, whole except a text that lost its end. A cut text
/// is marked, and the small pair after it may still be there.
fn is_cut(message: &str, all_pairs: &str) -> bool {
    let (first, _) = all_pairs.rsplit_once(' ').unwrap();
    let start = message.strip_suffix(" last=2").unwrap_or(message);
    match start.strip_suffix("...[cut]") {
        Some(kept) => kept.starts_with("pairs n=1 long=") && first.starts_with(kept),
        None => ["pairs", "pairs n=1", first].contains(&start) && message != all_pairs,
    }
}

/// Has all threads share one heap, so that its end is the end for all of them.
pub(crate) fn one_arena() -> bool {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the C library's; there is no other thread yet.
    return unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) } == 1;
    #[cfg(not(target_env = "gnu"))]
    false
}

/// Sets how much the process may map, in bytes; says how much it was.
fn limit_memory(bytes: u64) -> Rlimit {
    let before = getrlimit(Resource::As);
    setrlimit(Resource::As, Rlimit { current: Some(bytes), maximum: before.maximum }).unwrap();
    black_box(before)
}

/// What the process has mapped, in bytes.
fn mapped() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: asks for a number and touches no memory.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}
