//! A process that is stopped (SIGSTOP, as by Ctrl-Z, a debugger or a frozen machine) and goes on
//! some seconds later.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use unfazed::{Cause, State};

use crate::support::account::{Log, assert_accounted};
use crate::support::cases::{Evidence, Outcome};
use crate::support::child::wait_until;
use crate::support::load::{Author, Load, Pace};
use crate::support::moment::Moment;
use crate::support::place::{Place, run};
use crate::support::subject::{PATIENCE, Subject};

const LONE: u32 = 99;
/// Much longer than everything that the logger waits for.
const STOPPED: Duration = Duration::from_secs(3);

pub(crate) fn a_process_that_is_stopped_in_health_goes_on_where_it_was(place: &Place) -> Outcome {
    let subject = Subject::start(&place.dir().join("app.log"), |file| file.min_free_space(0));
    let load = Load::start(3, &subject.handle);
    wait_until(|| "calls in health".into(), PATIENCE, || load.calls(Pace::Steady) >= 2_000);
    load.pace(Pace::Flood);
    let stood_still = stop_this_process(None);
    load.pace(Pace::SteadyAgain);
    wait_until(|| "calls after it".into(), PATIENCE, || load.calls(Pace::SteadyAgain) >= 2_000);
    let mut calls = load.stop();
    let mut lone = Author::new(LONE);
    let said = lone.say();
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
    assert_eq!(subject.handle.state(), State::Healthy);
    let log = subject.read();
    assert!(log.windows(said.len()).any(|window| window == said.as_bytes()), "`{said}` is not in the log");
    calls.authors.push(lone);
    let (stats, told) = subject.end();
    assert!(told.suspended.is_empty(), "{told:?}");
    assert_accounted(&Log::of_whole_lines(&subject.read()), &calls.authors, &stats, &told);
    let more = format!("stood still for {stood_still:.1?} in the middle of a flood, nothing was suspended");
    // The longest call is one that stood still.
    Evidence { stats, longest_call: None, resumed: None, more }.into()
}

pub(crate) fn a_process_that_is_stopped_on_a_full_disk_goes_on_where_it_was(place: &Place) -> Outcome {
    let disk = place.tmpfs("size=16m");
    let subject = Subject::start(&disk.join("app.log"), |file| file.min_free_space(0));
    let load = Load::start(3, &subject.handle);
    wait_until(|| "calls in health".into(), PATIENCE, || load.calls(Pace::Steady) >= 2_000);
    let filler = subject.fill_under_a_flood(&load, &disk);
    subject.assert_flush_says(Cause::DiskFull);

    let stood_still = stop_this_process(None);
    subject.wait_until_given_up();
    subject.assert_flush_says(Cause::DiskFull);
    assert_eq!(subject.told().suspended, [Cause::DiskFull], "still the same suspension");

    subject.calm_when_resumed(&load);
    let mut lone = Author::new(LONE);
    let again = stop_this_process(Some(&filler.leave()));
    let resumed = subject.assert_resumes(Moment::now(), &mut lone, || subject.read());
    wait_until(|| "calls after it".into(), PATIENCE, || load.calls(Pace::SteadyAgain) >= 2_000);
    let mut calls = load.stop();
    calls.authors.push(lone);
    let (stats, told) = subject.end();
    assert_eq!((&told.suspended[..], told.resumed.len()), (&[Cause::DiskFull][..], 1), "{told:?}");
    assert_accounted(&Log::of_whole_lines(&subject.read()), &calls.authors, &stats, &told);
    let more = format!("stood still for {stood_still:.1?}, and again for {again:.1?} while the disk was freed");
    Evidence { stats, longest_call: None, resumed: Some(resumed), more }.into()
}

/// Has another process stop this one, remove a file meanwhile, and let this one go on. Says for how
/// long it stood still.
fn stop_this_process(remove: Option<&Path>) -> Duration {
    const SCRIPT: &str = r#"kill -STOP "$1" && sleep "$2"; test -z "$3" || rm -f -- "$3"; sleep 0.1; kill -CONT "$1""#;

    let (ticks, over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let ticker = scope.spawn(|| {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !over.load(Relaxed) {
                thread::sleep(Duration::from_millis(1));
                let now = Instant::now();
                longest = longest.max(now - last);
                last = now;
                ticks.store(true, Relaxed);
            }
            longest
        });
        // A thread that has not run before the stop has nothing to compare with.
        wait_until(|| "a first tick".into(), PATIENCE, || ticks.load(Relaxed));
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh", &std::process::id().to_string(), &STOPPED.as_secs().to_string()]);
        run(shell.arg(remove.unwrap_or(Path::new(""))));
        over.store(true, Relaxed);
        let stood_still = ticker.join().unwrap();
        assert!(stood_still >= STOPPED - Duration::from_millis(500), "it stood still for {stood_still:?} only");
        stood_still
    })
}
