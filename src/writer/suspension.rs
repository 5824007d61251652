//! Says when a suspended output is tried again, and when it may come back. Pure: times and answers
//! go in, verdicts come out. Runs on the writer's thread.

use std::time::{Duration, Instant};

use log::LevelFilter;

use crate::event::Cause;
use crate::sink::Now;

/// The first attempt follows the suspension after this time. Each later one waits twice as long as
/// the one before it, up to [`longest_delay`].
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// A sink that asks for the next attempt sooner gets it after this time.
const SHORTEST_DELAY: Duration = Duration::from_millis(1);
/// The longest time between two attempts, unless [`longest_delay`] shortens it for the cause. A
/// sink that asks for a later attempt gets it after this time, too.
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// An output that is ready, but has to wait, is tried this often.
const READY_DELAY: Duration = Duration::from_millis(100);
/// An output resumes at most this often: at most one pair of transitions in a second.
const RESUMES_EVERY: Duration = Duration::from_secs(1);
/// A suspension within this time after a resume was close to it.
const CLOSE: Duration = Duration::from_secs(60);
/// After this many futile resumes each further one waits twice as long as the one before it.
const FUTILE_RESUMES: u32 = 4;
/// A resume that held for a shorter time than this was a short one.
const SHORT: Duration = Duration::from_secs(10);
/// After this many short resumes in a row each further one waits twice as long as the one before
/// it, whatever was written between them.
const SHORT_RESUMES: u32 = 8;
/// Even an output that only ever takes the gap line resumes after this time.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// An output that does not write.
#[derive(Clone, Copy)]
pub(super) struct Suspension {
    /// The cause of the latest attempt; at first, the one that began the suspension.
    pub(super) cause: Cause,
    /// The cause that the last event named, and when.
    pub(super) raised: (Cause, Instant),
    pub(super) since: Now,
    /// The levels that the sink still takes.
    pub(super) takes: LevelFilter,
    /// The reader of the stream has taken nothing for too long, and may go on at any time.
    pub(super) slow_reader: bool,
    pub(super) shown: Shown,
}

/// What the latest attempt of a suspended output to come back has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It cannot write.
    Failure,
    /// It may be able to write: the gap line is tried, and the gate stays closed until it is in,
    /// because calls on a log that cannot write are to do no work.
    Hope,
    /// The cause has gone: the gate is open before the gap line is laid out, so that the line
    /// reports all that the closed gate has cost.
    Recovery,
}

impl Suspension {
    /// Takes the cause of the latest attempt. Returns true if an event is due: the last one named
    /// another cause, a second ago or more.
    pub(super) fn follow(&mut self, cause: Cause, now: Instant) -> bool {
        // After a write that failed, a look at the free space only says that it is too early.
        let is_known = cause == Cause::LowSpace && matches!(self.cause, Cause::DiskFull | Cause::Quota);
        if !is_known {
            self.cause = cause;
        }
        let (raised, at) = self.raised;
        let is_due = raised != self.cause && now.saturating_duration_since(at) >= RESUMES_EVERY;
        if is_due {
            self.raised = (self.cause, now);
        }
        is_due
    }
}

/// What a sink answers to an attempt to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The sink could write, as far as it knows.
    Ready,
    /// The sink sees that the cause has gone.
    Recovered,
    /// The sink could not write yet, and may ask for the time until the next attempt.
    NotYet { retry_after: Option<Duration> },
}

/// The retry schedule of one output, from suspension to suspension.
pub(super) struct RetrySchedule {
    next: Instant,
    /// The time between the last two attempts, unless the sink asks for another.
    delay: Duration,
    longest: Duration,
    /// The output resumes no earlier than this.
    not_before: Instant,
    /// The last resume, and the number of records that the output had written by then.
    resumed: Option<(Instant, u64)>,
    /// Resumes in a row that were followed closely by a suspension, with no record in between.
    futile: u32,
    /// Short resumes in a row.
    short: u32,
    jitter: Jitter,
}

/// Returns the longest time between two attempts. Looking at the free space costs a microsecond,
/// and opening a file not much more; everything else may be expensive.
fn longest_delay(cause: Cause) -> Duration {
    match cause {
        Cause::LowSpace | Cause::DiskFull | Cause::Quota | Cause::FileTooLarge => Duration::from_millis(100),
        Cause::ReadOnly | Cause::Missing => Duration::from_millis(250),
        Cause::Io => LONGEST_DELAY,
    }
}

impl RetrySchedule {
    pub(super) fn new(jitter: Jitter, now: Instant) -> Self {
        Self {
            next: now,
            delay: FIRST_DELAY,
            longest: LONGEST_DELAY,
            not_before: now,
            resumed: None,
            futile: 0,
            short: 0,
            jitter,
        }
    }

    /// Begins a suspension of an output that has written `written` records, ever.
    pub(super) fn start(&mut self, cause: Cause, now: Instant, written: u64) {
        self.longest = longest_delay(cause);
        self.delay = FIRST_DELAY.min(self.longest);
        self.next = now + self.jitter.shorten(self.delay);
        self.not_before = now;
        if let Some((at, written_then)) = self.resumed {
            let held = now.saturating_duration_since(at);
            let one_more = |number: u32, is_more| if is_more { number.saturating_add(1) } else { 0 };
            self.futile = one_more(self.futile, written == written_then && held < CLOSE);
            self.short = one_more(self.short, held < SHORT);
            let (futile, short) =
                (self.futile.saturating_sub(FUTILE_RESUMES), self.short.saturating_sub(SHORT_RESUMES));
            let doublings = futile.max(short).min(16);
            self.not_before = at + (RESUMES_EVERY * (1 << doublings)).min(LONGEST_WAIT);
        }
    }

    /// Takes the cause of the latest attempt: the time between two attempts follows it.
    pub(super) fn follow(&mut self, cause: Cause) {
        self.longest = longest_delay(cause);
        self.delay = self.delay.min(self.longest);
    }

    /// Returns when the next attempt is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Takes the answer to an attempt. Returns true if the output may come back now; otherwise the
    /// next attempt is scheduled.
    pub(super) fn after(&mut self, attempt: Attempt, now: Instant) -> bool {
        let wanted = match attempt {
            Attempt::Ready | Attempt::Recovered => {
                let not_before = match (attempt, self.resumed) {
                    (Attempt::Recovered, Some((at, _))) => self.not_before.min(at + RESUMES_EVERY),
                    _ => self.not_before,
                };
                if now >= not_before {
                    return true;
                }
                self.next = now + READY_DELAY.min(not_before - now);
                return false;
            }
            Attempt::NotYet { retry_after } => retry_after,
        };
        let delay = wanted.unwrap_or_else(|| {
            self.delay = (self.delay * 2).min(self.longest);
            self.delay
        });
        self.next = now + self.jitter.shorten(delay.clamp(SHORTEST_DELAY, LONGEST_DELAY));
        false
    }

    /// Ends the suspension of an output that has written `written` records, ever.
    pub(super) fn resumed(&mut self, now: Instant, written: u64) {
        self.resumed = Some((now, written));
    }
}

/// Spreads the attempts of many outputs and processes. It only ever shortens a delay.
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(output: usize) -> Self {
        // A test does the same each time it runs.
        let process = if cfg!(test) { 1 } else { std::process::id() };
        Self(u64::from(process) << 8 | output as u64 | 1 << 40)
    }

    /// Returns a time between three quarters of `delay` and all of it.
    fn shorten(&mut self, delay: Duration) -> Duration {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        delay - delay / 4 * (self.0 % 256) as u32 / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_YET: Attempt = Attempt::NotYet { retry_after: None };

    fn wants(millis: u64) -> Attempt {
        Attempt::NotYet { retry_after: Some(Duration::from_millis(millis)) }
    }

    #[test]
    fn the_delays_follow_the_cause_and_what_the_sink_asks_for() {
        // (cause, what each attempt answers, the longest delay before each attempt)
        let cases: &[(Cause, &[Attempt], &[u64])] = &[
            (Cause::Io, &[NOT_YET; 7], &[50, 100, 200, 400, 800, 1000, 1000, 1000]),
            (Cause::Missing, &[NOT_YET; 4], &[50, 100, 200, 250, 250]),
            (Cause::ReadOnly, &[NOT_YET; 4], &[50, 100, 200, 250, 250]),
            (Cause::LowSpace, &[NOT_YET; 3], &[50, 100, 100, 100]),
            (Cause::DiskFull, &[NOT_YET; 3], &[50, 100, 100, 100]),
            (Cause::Quota, &[NOT_YET; 3], &[50, 100, 100, 100]),
            (Cause::FileTooLarge, &[NOT_YET; 3], &[50, 100, 100, 100]),
            (Cause::Io, &[wants(300), NOT_YET, wants(0), wants(5000)], &[50, 300, 100, 1, 1000]),
        ];
        for (cause, answers, delays) in cases {
            let mut now = Instant::now();
            let mut schedule = RetrySchedule::new(Jitter::new(0), now);
            schedule.start(*cause, now, 0);
            for (number, delay) in delays.iter().enumerate() {
                let (next, delay) = (schedule.next(), Duration::from_millis(*delay));
                let (waited, least) = (next - now, delay * 3 / 4);
                assert!(
                    (least..=delay).contains(&waited),
                    "{cause:?}, attempt {number}: after {waited:?}, not {least:?} to {delay:?}"
                );
                assert!(!schedule.is_due(next - Duration::from_nanos(1)) && schedule.is_due(next));
                now = next;
                if let Some(answer) = answers.get(number) {
                    assert!(!schedule.after(*answer, now), "{cause:?}, {number}");
                }
            }
        }
    }

    #[test]
    fn a_first_suspension_ends_with_the_first_good_attempt() {
        let now = Instant::now();
        let mut schedule = RetrySchedule::new(Jitter::new(0), now);
        schedule.start(Cause::DiskFull, now, 7);
        assert!(schedule.after(Attempt::Ready, now), "nothing to wait for");
    }

    #[test]
    fn an_output_resumes_once_a_second_at_most_and_less_often_if_each_resume_is_short() {
        // (records written between a resume and the next suspension, seconds between the resumes)
        let cases: &[(u64, &[u64])] =
            &[(1, &[1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 8, 16, 30, 30]), (0, &[1, 1, 1, 1, 2, 4, 8, 16, 30, 30])];
        for (records, waits) in cases {
            let mut now = Instant::now();
            let mut schedule = RetrySchedule::new(Jitter::new(0), now);
            let mut written = 0;
            schedule.start(Cause::DiskFull, now, written);
            assert!(schedule.after(Attempt::Ready, now));
            schedule.resumed(now, written);
            for (number, wait) in waits.iter().enumerate() {
                let resumed = now;
                now += Duration::from_millis(1);
                written += records;
                schedule.start(Cause::DiskFull, now, written);
                while !schedule.after(Attempt::Ready, now) {
                    now = schedule.next();
                }
                assert_eq!(now - resumed, Duration::from_secs(*wait), "{records} records, {number}");
                schedule.resumed(now, written);
            }
        }
    }

    #[test]
    fn a_resume_that_held_for_long_is_not_futile_although_nothing_was_logged() {
        let mut now = Instant::now();
        let mut schedule = RetrySchedule::new(Jitter::new(0), now);
        for _ in 0..20 {
            schedule.start(Cause::LowSpace, now, 0);
            assert!(schedule.after(Attempt::Ready, now));
            schedule.resumed(now, 0);
            now += CLOSE;
        }
    }

    #[test]
    fn an_output_that_sees_the_cause_gone_waits_no_longer_than_a_second() {
        let mut now = Instant::now();
        let mut schedule = RetrySchedule::new(Jitter::new(0), now);
        for _ in 0..20 {
            schedule.start(Cause::DiskFull, now, 0);
            while !schedule.after(Attempt::Ready, now) {
                now = schedule.next();
            }
            schedule.resumed(now, 0);
        }
        schedule.start(Cause::DiskFull, now, 0);
        assert!(!schedule.after(Attempt::Recovered, now + Duration::from_millis(999)));
        assert!(!schedule.after(Attempt::Ready, now + Duration::from_secs(29)));
        assert!(schedule.after(Attempt::Recovered, now + Duration::from_secs(1)));
    }

    #[test]
    fn a_resume_that_held_for_ten_seconds_is_not_short() {
        let mut now = Instant::now();
        let mut schedule = RetrySchedule::new(Jitter::new(0), now);
        for written in 0..20 {
            schedule.start(Cause::LowSpace, now, written);
            assert!(schedule.after(Attempt::Ready, now));
            schedule.resumed(now, written);
            now += SHORT;
        }
    }

    #[test]
    fn the_cause_follows_the_attempts_and_an_event_names_it_once_a_second_at_most() {
        use Cause::*;

        // (milliseconds, cause of the attempt, cause of the suspension then, an event is due)
        let cases = [
            (50, DiskFull, DiskFull, false),
            (150, LowSpace, DiskFull, false),
            (250, Io, Io, false),
            (999, ReadOnly, ReadOnly, false),
            (1000, ReadOnly, ReadOnly, true),
            (1100, ReadOnly, ReadOnly, false),
            (1900, LowSpace, LowSpace, false),
            (2000, LowSpace, LowSpace, true),
            (2100, DiskFull, DiskFull, false),
            (2500, LowSpace, DiskFull, false),
            (3100, LowSpace, DiskFull, true),
        ];
        let start = Now { wall: std::time::UNIX_EPOCH, monotonic: Instant::now() };
        let raised = (DiskFull, start.monotonic);
        let mut suspension = Suspension {
            cause: DiskFull,
            raised,
            since: start,
            takes: LevelFilter::Off,
            slow_reader: false,
            shown: Shown::Failure,
        };
        for (millis, cause, then, is_named) in cases {
            let named = suspension.follow(cause, start.monotonic + Duration::from_millis(millis));
            assert_eq!((suspension.cause, named), (then, is_named), "{millis} ms: {cause:?}");
        }
    }

    #[test]
    fn an_attempt_comes_up_to_a_quarter_earlier_than_its_time_and_never_later() {
        let delay = Duration::from_secs(1);
        let mut jitter = Jitter::new(0);
        let delays: Vec<_> = (0..1000).map(|_| jitter.shorten(delay)).collect();
        assert!(delays.iter().all(|spread| (delay / 4 * 3..=delay).contains(spread)), "{delays:?}");
        for part in 0..10 {
            let from = delay / 4 * 3 + delay / 40 * part;
            let here = delays.iter().filter(|spread| (from..from + delay / 40).contains(spread)).count();
            assert!((50..200).contains(&here), "{here} of 1000 in the {part}th tenth of the time");
        }
    }

    #[test]
    fn outputs_do_not_try_all_at_once() {
        let first = |output| Jitter::new(output).shorten(Duration::from_secs(1));
        assert!((1..8).any(|output| first(output) != first(0)));
    }
}
