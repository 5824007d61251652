//! Cases on an ext4 image on a loop device.

use std::fs::File;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{Gid, Uid, set_thread_gid, set_thread_groups, set_thread_uid};
use unfazed::{Cause, KIB, State};

use crate::support::account::{Log, assert_accounted, assert_identity};
use crate::support::cases::{Evidence, Outcome};
use crate::support::child::wait_until;
use crate::support::load::{Author, Load, Pace, longest};
use crate::support::place::{Filler, Place, free, free_for_root, run};
use crate::support::subject::{PATIENCE, Subject};
use crate::tmpfs::{is_torn, leaves_the_reserve, stops_and_resumes};

const LONE: u32 = 99;

pub(crate) fn a_full_ext4_stops_the_log_quietly_and_it_resumes_by_itself(place: &Place) -> Outcome {
    stops_and_resumes(&place.ext4(), Duration::from_millis(2500), 64 << 10, String::new)
}

pub(crate) fn root_leaves_the_reserve_as_ordinary_users_see_it(place: &Place) -> Outcome {
    let disk = place.ext4();
    leaves_the_reserve(&disk, || assert_blocks_are_kept_for_root(&disk))
}

pub(crate) fn root_without_a_reserve_writes_into_the_blocks_kept_for_it(place: &Place) -> Outcome {
    let disk = place.ext4();
    let subject = Subject::start(&disk.join("app.log"), |file| file.min_free_space(0).error_reserve(0));
    let mut lone = Author::new(LONE);
    lone.say();
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
    let mut filler = Filler::new(disk.join("filler"));
    filler.fill_for_users();
    let (free, kept) = (free(&disk), free_for_root(&disk));
    assert!(free == 0 && kept > 256 * KIB, "free: {free} for users, {kept} for root");
    // More than a second of it: the query says 0 all the time, and nobody listens.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        for _ in 0..10 {
            lone.say();
        }
        assert_eq!(subject.handle.flush(PATIENCE), Ok(()), "a flush into the blocks kept for root");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((subject.handle.state(), subject.handle.stats().dropped.total()), (State::Healthy, 0));
    let written = lone.logged;
    filler.fill();
    subject.say_until_suspended(&mut lone, Cause::DiskFull);
    subject.assert_flush_says(Cause::DiskFull);
    for _ in 0..1000 {
        lone.say();
    }
    let freed = filler.remove();
    let resumed = subject.assert_resumes(freed, &mut lone, || subject.read());
    let (stats, told) = subject.end();
    assert_eq!(told.suspended, [Cause::DiskFull]);
    let authors = [lone];
    assert_accounted(&Log::of_whole_lines(&subject.read()), &authors, &stats, &told);
    let more = format!("{written} records written while nothing was free but {} KiB for root", kept / KIB);
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: Some(resumed), more }.into()
}

pub(crate) fn an_ordinary_users_log_stops_before_the_blocks_kept_for_root(place: &Place) -> Outcome {
    as_an_ordinary_user(place, |disk| {
        stops_and_resumes(disk, Duration::from_millis(1500), 64 << 10, || {
            assert_eq!(free(disk), 0, "the disk is full for an ordinary user");
            assert_blocks_are_kept_for_root(disk)
        })
    })
}

pub(crate) fn an_ordinary_user_leaves_the_reserve(place: &Place) -> Outcome {
    as_an_ordinary_user(place, |disk| leaves_the_reserve(disk, || assert_blocks_are_kept_for_root(disk)))
}

fn assert_blocks_are_kept_for_root(disk: &Path) -> String {
    let (free, for_root) = (free(disk), free_for_root(disk));
    assert!(for_root >= free + 256 * KIB, "free: {free} for users, {for_root} for root");
    format!(", {} KiB more are free for root", (for_root - free) / KIB)
}

/// Does the case on a thread that has given up being root, and so have the threads that it starts:
/// the logger's too.
fn as_an_ordinary_user(place: &Place, case: impl FnOnce(&Path) -> Outcome + Send) -> Outcome {
    /// `nobody`, on most systems.
    const ORDINARY: u32 = 65534;

    let disk = match place.ext4_for_anybody() {
        Ok(disk) => disk,
        Err(reason) => return Outcome::Skipped(reason),
    };
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            set_thread_groups(&[]).unwrap();
            set_thread_gid(Gid::from_raw(ORDINARY)).unwrap();
            set_thread_uid(Uid::from_raw(ORDINARY)).unwrap();
            case(&disk)
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

pub(crate) fn an_ext4_that_turns_read_only_under_the_log_is_survived(place: &Place) -> Outcome {
    let disk = place.ext4();
    let subject = Subject::start(&disk.join("app.log"), |file| file.min_free_space(0));
    let load = Load::start(4, &subject.handle);
    wait_until(|| "calls in health".into(), PATIENCE, || load.calls(Pace::Steady) >= 20_000);
    // What the kernel does to a file system whose disk reports an error: read-only, for good.
    run(Command::new("mount").args(["-o", "remount,abort"]).arg(&disk));
    wait_until(|| "suspended".into(), PATIENCE, || subject.is_suspended());
    let State::Suspended(cause @ (Cause::ReadOnly | Cause::Io)) = subject.handle.state() else {
        panic!("{:?}", subject.handle.state());
    };
    load.pace(Pace::FloodSuspended);
    subject.wait_until_given_up();
    subject.assert_flush_says(cause);
    load.pace(Pace::SteadySuspended);
    wait_until(|| "calls".into(), PATIENCE, || load.calls(Pace::SteadySuspended) >= 20_000);
    let calls = load.stop();
    assert!(subject.handle.shutdown(PATIENCE).is_err(), "a shutdown of a suspended log says so");
    let (stats, told) = (subject.handle.stats(), subject.told());
    assert_identity(&stats);
    assert_eq!(stats.pending, 0, "{stats:?}");
    assert_eq!(stats.accepted, calls.authors.iter().map(|author| author.logged).sum::<u64>());
    assert_eq!((told.suspended.len(), told.resumed.len()), (1, 0), "{told:?}");
    let more = format!("suspended by {cause:?} for good; {}", calls.assert_no_work_while_suspended());
    Evidence { stats, longest_call: Some(calls.longest()), resumed: None, more }.into()
}

pub(crate) fn an_append_only_file_keeps_a_torn_record_on_a_line_of_its_own(place: &Place) -> Outcome {
    let disk = place.ext4();
    let path = disk.join("app.log");
    File::create(&path).unwrap();
    run(Command::new("chattr").arg("+a").arg(&path));
    let subject = Subject::start(&path, |file| file.min_free_space(0).error_reserve(0));
    let load = Load::start(4, &subject.handle);
    wait_until(|| "calls in health".into(), PATIENCE, || load.calls(Pace::Steady) >= 2_000);

    let mut lone = Author::new(LONE);
    let mut slowest = Duration::ZERO;
    let mut torn = String::new();
    // A disk may happen to be full just where a line ends, or before its newline; then it takes
    // another turn to tear one.
    for turn in 0..5 {
        let filler = subject.fill_under_a_flood(&load, &disk);
        subject.wait_until_given_up();
        torn = torn_line(&subject.read());
        subject.calm_when_resumed(&load);
        let freed = filler.remove();
        slowest = slowest.max(subject.assert_resumes(freed, &mut lone, || subject.read()));
        if !torn.is_empty() {
            break;
        }
        assert!(turn < 4, "no line was torn in five turns");
    }
    let mut calls = load.stop();
    calls.authors.push(lone);
    let (stats, told) = subject.end();
    let log = Log::with_fragments(&subject.read());
    assert!(log.fragments.contains(&torn), "{torn:?} stands alone: {:?}", log.fragments);
    assert!(log.fragments.iter().all(|fragment| is_torn(fragment)), "{:?}", log.fragments);
    // Each fragment is one record that counts as lost, or a line of the logger's own that was tried
    // again.
    assert_accounted(&log, &calls.authors, &stats, &told);
    let more = format!("torn lines that stand alone: {:?}; {}", log.fragments, calls.assert_no_waits());
    Evidence { stats, longest_call: Some(calls.longest()), resumed: Some(slowest), more }.into()
}

/// What stands after the last newline, unless it is missing nothing but its own.
fn torn_line(log: &[u8]) -> String {
    let line = log.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let fragments = Log::with_fragments(&[line, b"\n"].concat()).fragments;
    fragments.into_iter().next().unwrap_or_default()
}
