//! A wall clock that jumps, while everything that waits goes by the other clock.
//!
//! The clock of this executable alone is set: it has a `clock_gettime` of its own, which comes
//! before that of the C library, so that neither the machine's clock is touched nor a tool needed.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use unfazed::{Cause, State};

use crate::support::account::{Log, Notice, assert_accounted};
use crate::support::cases::{Evidence, Outcome};
use crate::support::child::wait_until;
use crate::support::load::{Author, Load, Pace, longest};
use crate::support::place::{Filler, Place};
use crate::support::subject::{PATIENCE, Subject};

const LONE: u32 = 99;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
/// Between two lines that tell losses.
const LINES_APART: Duration = Duration::from_secs(5);

/// How far the wall clock is ahead of the machine's, in seconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// # Safety
///
/// As the C library's: `time` may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: the kernel writes what the caller lets us write.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } as libc::c_int;
    if result == 0 && clock == libc::CLOCK_REALTIME {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += AHEAD.load(Relaxed) as libc::time_t };
    }
    result
}

fn set_ahead(seconds: i64) {
    AHEAD.store(seconds, Relaxed);
}

pub(crate) fn a_clock_set_back_and_forward_disturbs_neither_order_nor_timers(place: &Place) -> Outcome {
    let before = SystemTime::now();
    set_ahead(-HOUR);
    if before.duration_since(SystemTime::now()).is_err() {
        return Outcome::Skipped("this executable's clock cannot be set".to_owned());
    }
    set_ahead(0);
    let disk = place.tmpfs("size=128m");
    let subject = Subject::start(&disk.join("app.log"), |file| file.min_free_space(0));
    let mut lone = Author::new(LONE);

    // Under load; far enough back that the seconds since 1970 are negative, and forward to where
    // they have 34 bits.
    let load = Load::start(4, &subject.handle);
    let clocks = [0, -HOUR, HOUR, -60 * YEAR, 500 * YEAR, 0];
    for ahead in clocks {
        set_ahead(ahead);
        let calls = load.calls(Pace::Steady);
        wait_until(|| "calls".into(), PATIENCE, || load.calls(Pace::Steady) >= calls + 1_000);
    }
    assert_eq!((subject.handle.state(), subject.handle.stats().dropped.total()), (State::Healthy, 0));
    for year in [b"\n196", b"\n252"] {
        assert!(subject.read().windows(4).any(|window| window == year), "the clock of the log was not set");
    }

    // Losses are told every 5 s, whatever the calendar says meanwhile.
    let first = floods_until_told(&subject, &load);
    set_ahead(-DAY);
    let second = floods_until_told(&subject, &load);
    set_ahead(DAY);
    let third = floods_until_told(&subject, &load);
    let apart = [second - first, third - second];
    for apart in apart {
        // By the calendar they would be told a day later, or not before one has passed.
        assert!(apart < 2 * LINES_APART, "told {apart:?} after the line before");
    }
    let mut authors = load.stop().authors;

    // The full disk is looked at, and the gap is told, while the clock goes back and forth.
    let mut filler = Filler::new(disk.join("filler"));
    filler.fill();
    subject.say_until_suspended(&mut lone, Cause::DiskFull);
    set_ahead(-DAY);
    thread::scope(|scope| {
        scope.spawn(|| subject.wait_until_given_up());
        (0..1000).for_each(|_| drop(lone.say()));
    });
    let freed = filler.remove();
    let resumed = subject.assert_resumes(freed, &mut lone, || subject.read());
    set_ahead(0);
    lone.say();
    let suspended = subject.handle.stats().outputs[0].time_suspended;
    assert!((Duration::from_secs(1)..PATIENCE).contains(&suspended), "suspended for {suspended:?}");

    let (stats, told) = subject.end();
    assert_eq!(told.suspended, [Cause::DiskFull]);
    authors.push(lone);
    let log = Log::of_whole_lines(&subject.read());
    assert_accounted(&log, &authors, &stats, &told);
    let gap = log.gaps().next().map(|notice: &Notice| notice.text.clone()).unwrap_or_default();
    let more = format!("lines of losses {apart:.1?} apart; the gap: {gap}");
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: Some(resumed), more }.into()
}

/// Floods the log until records are lost, and waits for the line that tells it. When that was.
fn floods_until_told(subject: &Subject, load: &Load) -> Instant {
    let stats = || subject.handle.stats();
    let before = stats();
    load.pace(Pace::Flood);
    wait_until(|| "the queue is full".into(), PATIENCE, || stats().dropped.queue_full > before.dropped.queue_full);
    load.pace(Pace::Steady);
    wait_until(|| "the losses are told".into(), PATIENCE, || stats().outputs[0].notices > before.outputs[0].notices);
    Instant::now()
}
