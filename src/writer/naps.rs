//! `Naps`: how long the writer sleeps between two looks at the queue. Pure: the time, and how much
//! was taken, are arguments.
//!
//! While records come, a nap follows their rate: about `MOST_WAITING` of them come in it, and it is
//! never longer than `LONGEST_NAP`. A nap that is longer than `SHORT_NAP` is armed, so that an
//! ERROR or a half-full queue ends it. After either, the writer is alert: its naps are short, and
//! nobody needs to wake it.

use std::time::{Duration, Instant};

/// The nap while records come fast or the writer is alert. Nobody needs to end it.
pub(super) const SHORT_NAP: Duration = Duration::from_millis(1);
/// The longest nap while records come: about the time in which a screen shows three frames.
const LONGEST_NAP: Duration = Duration::from_millis(48);
/// About this many records come in a nap at a steady rate, because a kill costs those that wait. In
/// a small queue it is an eighth of the capacity.
const MOST_WAITING: u64 = 64;
/// For this long after a reason to wake the writer, its naps are short.
const ALERT_FOR: Duration = Duration::from_millis(20);
/// When no record has come for this long, the naps are long.
const PAUSE_AFTER: Duration = Duration::from_millis(20);
const LONG_NAP: Duration = Duration::from_millis(60);
/// After a while without records, naps are even longer. A wake-up takes about 65 us (measured),
/// which is then less than a thousandth of a core.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const IDLE_NAP: Duration = Duration::from_millis(90);

/// The records that the writer has taken since it began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) all: u64,
    pub(super) errors: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nap {
    pub(super) at_most: Duration,
    /// An ERROR or a half-full queue ends it.
    pub(super) armed: bool,
}

pub(super) struct Naps {
    /// This many records in the queue are a reason to wake the writer.
    half: u64,
    /// When the last nap began, and what was taken by then.
    began: Instant,
    taken: Taken,
    /// How long it was to be; zero before the first one.
    last: Duration,
    /// When records were last found.
    active: Instant,
    /// When a reason to wake the writer was last found, whether somebody woke it or not.
    alert: Option<Instant>,
}

impl Naps {
    /// `half` is half the queue's capacity.
    pub(super) fn new(half: usize, now: Instant) -> Self {
        let (taken, last) = (Taken::default(), Duration::ZERO);
        Self { half: half.max(1) as u64, began: now, taken, last, active: now, alert: None }
    }

    /// Returns the nap that begins now. Where it may not be armed, it is short while records come.
    pub(super) fn next(&mut self, now: Instant, taken: Taken, may_arm: bool) -> Nap {
        let came = taken.all.saturating_sub(self.taken.all);
        // A rate over less than a short nap means nothing.
        let took = now.saturating_duration_since(self.began).max(SHORT_NAP);
        let fits = self.time_for_few(came, took);
        if came > 0 {
            self.active = now;
            if self.last > LONGEST_NAP {
                // The rate of the records is not known yet.
                self.last = Duration::ZERO;
            }
        }
        // A caller that had a reason to wake the writer will have one again. While that goes on,
        // naps are short and no call pays for a wake-up.
        if taken.errors > self.taken.errors || came >= self.half || fits < SHORT_NAP {
            self.alert = Some(now);
        }
        let since = |when| now.saturating_duration_since(when);
        let idle = since(self.active);
        let at_most = if idle >= IDLE_AFTER {
            IDLE_NAP
        } else if idle >= PAUSE_AFTER {
            LONG_NAP
        } else if !may_arm || self.alert.is_some_and(|alert| since(alert) < ALERT_FOR) {
            SHORT_NAP
        } else {
            (2 * self.last).min(fits).clamp(SHORT_NAP, LONGEST_NAP)
        };
        (self.began, self.taken, self.last) = (now, taken, at_most);
        Nap { at_most, armed: at_most > SHORT_NAP }
    }

    /// Returns the time in which a few records come, if `came` records took this long.
    fn time_for_few(&self, came: u64, took: Duration) -> Duration {
        let few = MOST_WAITING.min(self.half / 4) as u32;
        match u32::try_from(came) {
            Ok(0) => LONGEST_NAP,
            Ok(came) => took * few / came,
            Err(_) => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// The time from the end of a nap, or from a call that wakes the writer, to its turn.
    const WAKING: Duration = Duration::from_micros(60);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A queue with a writer that naps and empties it, and calls at given times.
    struct Run {
        half: usize,
        may_arm: bool,
        /// In their order, from the start.
        calls: Vec<(Duration, Level)>,
    }

    /// The result of a run.
    #[derive(Debug, Default)]
    struct Seen {
        turns: usize,
        rings: usize,
        most_waiting: usize,
        longest_wait: Duration,
    }

    impl Run {
        fn of(half: usize, calls: impl IntoIterator<Item = Duration>) -> Self {
            let calls = calls.into_iter().map(|at| (at, Level::Info)).collect();
            Self { half, may_arm: true, calls }
        }

        fn of_level(mut self, level: Level) -> Self {
            self.calls.iter_mut().for_each(|(_, each)| *each = level);
            self
        }

        /// Steady, for five seconds.
        fn at_rate(rate: u32) -> Self {
            Self::of(4096, (0..5 * rate).map(|number| SECOND * number / rate))
        }

        fn play(&self) -> Seen {
            let start = Instant::now();
            let (mut naps, mut taken, mut now) = (Naps::new(self.half, start), Taken::default(), Duration::ZERO);
            let (mut seen, mut left) = (Seen::default(), self.calls.as_slice());
            while !left.is_empty() {
                let nap = naps.next(start + now, taken, self.may_arm);
                let ends = now + nap.at_most;
                let rings = |(number, (at, level)): (usize, &(Duration, Level))| {
                    let has_reason = *level == Level::Error || number + 1 >= self.half;
                    (nap.armed && has_reason).then_some(*at)
                };
                let rung = left.iter().enumerate().take_while(|(_, (at, _))| *at < ends).find_map(rings);
                now = rung.unwrap_or(ends) + WAKING;
                let (came, later) = left.split_at(left.partition_point(|(at, _)| *at <= now));
                seen.turns += 1;
                seen.rings += usize::from(rung.is_some());
                seen.most_waiting = seen.most_waiting.max(came.len());
                seen.longest_wait = seen.longest_wait.max(came.first().map_or(Duration::ZERO, |(at, _)| now - *at));
                taken.all += came.len() as u64;
                taken.errors += came.iter().filter(|(_, level)| *level == Level::Error).count() as u64;
                left = later;
            }
            seen
        }
    }

    #[test]
    fn the_turns_of_a_second_follow_the_rate_and_a_kill_costs_a_few_records_or_those_of_a_short_nap() {
        for (rate, most_turns, most_waiting) in [
            (100, 21, 5),
            (1000, 21, 49),
            (2000, 32, 66),
            (4000, 63, 66),
            (10_000, 160, 66),
            (30_000, 470, 68),
            (60_000, 960, 70),
            (100_000, 960, 108),
            (1_000_000, 960, 1062),
        ] {
            let seen = Run::at_rate(rate).play();
            assert!(seen.turns <= 5 * most_turns + 10, "{rate}: {seen:?}");
            assert!(seen.most_waiting <= most_waiting, "{rate}: {seen:?}");
            assert!(seen.longest_wait <= LONGEST_NAP + WAKING, "{rate}: {seen:?}");
            assert_eq!(seen.rings, 0, "{rate}");
        }
    }

    /// Each row: what came, and the nap that follows.
    #[test]
    fn a_nap_doubles_to_its_limit_and_a_faster_rate_shortens_it_at_once() {
        let start = Instant::now();
        let (mut naps, mut now, mut taken) = (Naps::new(4096, start), start, Taken::default());
        for (came, millis) in [
            (0, 1),
            (1, 2),
            (0, 4),
            (4, 8),
            (0, 16),
            (16, 32),
            (32, 48),
            (48, 48),
            // 384 in 48 ms are 64 in 8 ms.
            (384, 8),
            (128, 4),
            (0, 8),
            // 800 in 8 ms are more than 64 in each: for 20 ms it is alert.
            (800, 1),
        ] {
            taken.all += came;
            let nap = naps.next(now, taken, true);
            assert_eq!(nap, Nap { at_most: ms(millis), armed: millis > 1 }, "{came} came");
            now += nap.at_most;
        }
        for _ in 0..19 {
            taken.all += 1;
            assert_eq!(naps.next(now, taken, true), Nap { at_most: SHORT_NAP, armed: false });
            now += SHORT_NAP;
        }
        taken.all += 1;
        assert_eq!(naps.next(now, taken, true), Nap { at_most: ms(2), armed: true });
    }

    #[test]
    fn after_a_pause_the_naps_are_long_and_the_first_records_make_them_short() {
        let start = Instant::now();
        let mut naps = Naps::new(4096, start);
        let mut now = start;
        let mut nap = |naps: &mut Naps, all, errors| {
            let nap = naps.next(now, Taken { all, errors }, true);
            now += nap.at_most;
            nap.at_most.as_millis() as u64
        };
        let quiet: Vec<_> = (0..7).map(|_| nap(&mut naps, 0, 0)).collect();
        assert_eq!(quiet, [1, 2, 4, 8, 16, 60, 60]);
        assert_eq!((0..40).map(|_| nap(&mut naps, 0, 0)).last(), Some(90));
        // Few.
        assert_eq!([1, 1, 2].map(|all| nap(&mut naps, all, 0)), [1, 2, 4]);
        // An ERROR.
        let alert: Vec<_> = (0..21).map(|_| nap(&mut naps, 3, 1)).collect();
        assert_eq!(alert, [vec![1; 20], vec![60]].concat());
    }

    #[test]
    fn a_burst_in_the_middle_of_a_nap_wakes_the_writer_at_half_of_any_queue() {
        // One each 2 ms, or each 100 ms; then in 5 ms all that the queue holds; and again.
        for half in [2, 8, 32, 512, 4096] {
            for every in [2, 100] {
                let quiet = (0..100).map(move |number| ms(every * number));
                let size = 2 * half as u32;
                let burst = (0..size).map(move |number| ms(every * 100 + 3) + ms(5) * number / size);
                let one: Vec<_> = quiet.chain(burst).collect();
                let period = *one.last().unwrap() + ms(every);
                let calls = (0..5).flat_map(|turn| one.iter().map(move |at| *at + period * turn));
                let seen = Run::of(half, calls).play();
                assert!(seen.rings <= 5, "{half}, {every}: {seen:?}");
                assert!(seen.most_waiting <= half + half / 4, "{half}, {every}: {seen:?}");
                assert!(every == 100 || seen.longest_wait <= LONGEST_NAP + WAKING, "{half}, {every}: {seen:?}");
            }
        }
    }

    /// The writer wakes in the middle of the burst: it has slots left for as long as that takes.
    #[test]
    fn a_tight_loop_after_quiet_meets_a_writer_that_was_woken_in_time() {
        for before in [ms(2), ms(15), ms(500)] {
            let quiet = (0..200).map(|number| before * number);
            let burst = (0..100_000).map(|number| before * 200 + Duration::from_nanos(140) * number);
            let seen = Run::of(4096, quiet.chain(burst)).play();
            // 7168 find a slot in the queue, and in the time of a short nap and a wake-up come
            // 7571.
            assert!(seen.most_waiting <= 7571 + 1, "{before:?}: {seen:?}");
            assert_eq!(seen.rings, 1, "{before:?}: {seen:?}");
        }
    }

    /// Each ring is a system call in somebody's log call.
    #[test]
    fn where_reasons_to_wake_the_writer_go_on_no_call_has_to() {
        let steady = |every, count: u32| (0..count).map(move |number| ms(every) * number);
        // The very first one may.
        for every in [1, 2, 5, 10, 18] {
            let seen = Run::of(4096, steady(every, 1000)).of_level(Level::Error).play();
            assert!(seen.rings <= 1, "ERRORs every {every} ms: {seen:?}");
            // Half of a small queue at once, and now and then a single record.
            let bursts = steady(every, 1000).flat_map(|at| (0..32).map(move |_| ms(103) + at));
            let mut calls: Vec<_> = bursts.chain(steady(3, 300 * every as u32)).collect();
            calls.sort();
            let seen = Run::of(32, calls).play();
            assert!(seen.rings <= 1, "bursts every {every} ms: {seen:?}");
        }
        let seen = Run::of(4096, steady(25, 1000)).of_level(Level::Error).play();
        assert!((900..=1000).contains(&seen.rings), "{seen:?}");
        // Where nobody may be woken, the naps are short while records come.
        let mut run = Run::at_rate(1000);
        run.may_arm = false;
        let seen = run.play();
        assert!(seen.turns >= 4700 && seen.most_waiting <= 2, "{seen:?}");
    }
}
