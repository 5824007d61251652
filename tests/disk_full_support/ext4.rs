//! Cases on an ext4 image behind a loop device.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use unfazed::{Cause, State};

use crate::account::{Log, assert_accounted, assert_identity};
use crate::harness::{Evidence, Outcome};
use crate::load::{Author, Load, Pace};
use crate::place::{Filler, Place, run};
use crate::subject::{PATIENCE, Subject, wait_until};
use crate::tmpfs::{is_torn, stops_and_resumes};

const LONE: u32 = 99;

pub(crate) fn a_full_ext4_stops_the_log_quietly_and_it_resumes_by_itself(place: &Place) -> Outcome {
    stops_and_resumes(&place.ext4(), Duration::from_millis(2500), 64 << 10)
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
    let more = format!("suspended by {cause:?} for good; {}", calls.assert_cheap_while_suspended());
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
    // A disk may happen to be full just where a line ends, or before its newline; then it takes another turn to tear one.
    for turn in 0..5 {
        let mut filler = Filler::new(disk.join("filler"));
        load.pace(Pace::Flood);
        filler.fill();
        subject.wait_until_suspended(Cause::DiskFull);
        load.pace(Pace::FloodSuspended);
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
    // Each fragment is one record that counts as lost, or a line of the logger's own that was tried again.
    assert_accounted(&log, &calls.authors, &stats, &told);
    let more = format!("torn lines that stand alone: {:?}; {}", log.fragments, calls.assert_no_waits());
    Evidence { stats, longest_call: Some(calls.longest()), resumed: Some(slowest), more }.into()
}

/// What stands behind the last newline, unless it lacks nothing but its own.
fn torn_line(log: &[u8]) -> String {
    let line = log.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let fragments = Log::with_fragments(&[line, b"\n"].concat()).fragments;
    fragments.into_iter().next().unwrap_or_default()
}
