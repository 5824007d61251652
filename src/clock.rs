//! The time of a record: what a caller reads, and what the writer makes of it.
//!
//! To read the system's clock is a tenth of a log call. Where the kernel keeps its time by the processor's counter, a caller reads that
//! counter instead, and the writer, which looks at both before each batch, works out when that was: its last look, less what the counter
//! says has passed since the call. So a record's time follows the wall clock as closely as if the caller had looked at it, but for a
//! clock that is set while the record waits in the queue: then it is the new clock's time.

use std::time::{Duration, Instant, SystemTime};

use crate::os;

/// When a record was logged, as its caller read it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stamp {
    /// The time itself.
    Time(SystemTime),
    /// The processor's counter.
    Ticks(u64),
}

impl Stamp {
    #[inline(always)]
    pub(crate) fn by_counter() -> Self {
        Self::Ticks(os::ticks())
    }

    #[inline]
    pub(crate) fn by_clock() -> Self {
        Self::Time(system::now())
    }

    /// When that was.
    pub(crate) fn time(self, timeline: Option<&Timeline>) -> SystemTime {
        match (self, timeline) {
            (Self::Time(time), _) => time,
            (Self::Ticks(ticks), Some(timeline)) => timeline.time_of(ticks),
            // Only who has a timeline tells the callers to read the counter.
            (Self::Ticks(_), None) => system::now(),
        }
    }
}

/// All three clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    ticks: u64,
    wall: SystemTime,
    monotonic: Instant,
}

impl Look {
    /// A look that takes longer than this many ticks, some 2 us, was interrupted, and its three times are not of one moment.
    const MOST_TICKS: u64 = 8_000;
    const TRIES: usize = 4;

    fn now() -> Option<Self> {
        let look = || {
            let before = os::ticks();
            let (wall, monotonic) = (SystemTime::now(), Instant::now());
            let took = os::ticks().wrapping_sub(before);
            (took < Self::MOST_TICKS).then_some(Self { ticks: before.wrapping_add(took / 2), wall, monotonic })
        };
        (0..Self::TRIES).find_map(|_| look())
    }

    /// In nanoseconds.
    fn since(&self, earlier: &Self) -> f64 {
        self.monotonic.saturating_duration_since(earlier.monotonic).as_nanos() as f64
    }
}

/// The writer's: what the counter says, in the time of the wall clock.
pub(crate) struct Timeline {
    first: Look,
    last: Look,
    nanos_per_tick: f64,
    believed: bool,
}

impl Timeline {
    /// The counter is judged by its pace when that was measured over this long.
    const MEASURED: Duration = Duration::from_millis(20);
    /// Between two looks counter and clock may part by this many nanoseconds, and by a hundredth of what has passed: a clock that is slewed
    /// is at most a two-thousandth too fast or too slow (adjtimex(2)).
    const MOST_APART: f64 = 1e6;

    /// Nothing, where there is no counter that can be believed.
    pub(crate) fn new() -> Option<Self> {
        let look = if os::counter_keeps_time() { Look::now() } else { None };
        look.map(Self::from)
    }

    /// Looks at the clocks. Says whether the counter can still be believed: never again after a sleep of the machine, or its move to
    /// another one, in which counter and clock do not go on alike.
    pub(crate) fn look(&mut self) -> bool {
        // Where no look succeeds, the last one serves.
        if let Some(look) = Look::now() {
            self.take(look);
        }
        self.believed
    }

    fn take(&mut self, look: Look) {
        let measured = self.last.since(&self.first) >= Self::MEASURED.as_nanos() as f64;
        let passed = look.since(&self.last);
        let apart = (self.nanos_between(self.last.ticks, look.ticks) - passed).abs();
        self.believed &= !measured || apart <= Self::MOST_APART + passed / 100.0;
        let ticks = look.ticks.wrapping_sub(self.first.ticks);
        if ticks > 0 {
            self.nanos_per_tick = look.since(&self.first) / ticks as f64;
        }
        self.last = look;
    }

    /// When the counter said that. Once it is not believed any more, that counts as now.
    fn time_of(&self, ticks: u64) -> SystemTime {
        let last = self.last.wall;
        let later = if self.believed { self.nanos_between(self.last.ticks, ticks) } else { 0.0 };
        let distance = Duration::from_nanos(later.abs() as u64);
        let time = if later < 0.0 { last.checked_sub(distance) } else { last.checked_add(distance) };
        time.unwrap_or(last)
    }

    fn nanos_between(&self, earlier: u64, later: u64) -> f64 {
        (later.wrapping_sub(earlier) as i64) as f64 * self.nanos_per_tick
    }
}

impl From<Look> for Timeline {
    fn from(first: Look) -> Self {
        // There is no pace yet, and no record is older.
        Self { first, last: first, nanos_per_tick: 0.0, believed: true }
    }
}

/// The wall clock; in the crate's own tests the one that a thread was told.
pub(crate) mod system {
    use std::time::SystemTime;

    #[cfg(not(test))]
    #[inline]
    pub(super) fn now() -> SystemTime {
        SystemTime::now()
    }

    #[cfg(test)]
    std::thread_local! {
        static TOLD: std::cell::Cell<Option<SystemTime>> = const { std::cell::Cell::new(None) };
    }

    #[cfg(test)]
    pub(super) fn now() -> SystemTime {
        TOLD.get().unwrap_or_else(SystemTime::now)
    }

    /// From now on it is this time on this thread, or what the system says.
    #[cfg(test)]
    pub(crate) fn tell(time: Option<SystemTime>) {
        TOLD.set(time);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const GHZ: f64 = 2.6;
    const HOUR: Duration = Duration::from_secs(3600);

    /// A machine whose clocks are moved by hand.
    #[derive(Clone, Copy)]
    struct Machine {
        look: Look,
    }

    impl Machine {
        fn new() -> (Self, Timeline) {
            let wall = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
            let machine = Self { look: Look { ticks: 77_000_000_000, wall, monotonic: Instant::now() } };
            (machine, Timeline::from(machine.look))
        }

        /// Time goes on for all three clocks.
        fn pass(&mut self, time: Duration) {
            self.look.wall += time;
            self.look.monotonic += time;
            self.look.ticks = self.look.ticks.wrapping_add((time.as_nanos() as f64 * GHZ) as u64);
        }

        fn is_believed_by(&self, timeline: &mut Timeline) -> bool {
            timeline.take(self.look);
            timeline.believed
        }
    }

    /// By how many nanoseconds the time that comes out for a stamp taken now is wrong.
    fn error(timeline: &Timeline, machine: &Machine) -> i128 {
        let nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_nanos() as i128;
        nanos(timeline.time_of(machine.look.ticks)) - nanos(machine.look.wall)
    }

    #[test]
    fn a_record_has_the_time_of_its_call_however_long_it_waited() {
        let (mut machine, mut timeline) = Machine::new();
        for wait in [20_000, 0, 300, 1_000_000, 50_000_000, 10_000_000_000, 600_000_000_000].map(Duration::from_nanos) {
            let called = machine;
            machine.pass(wait);
            assert!(machine.is_believed_by(&mut timeline));
            let late = machine;
            machine.pass(Duration::from_millis(3));
            assert!(error(&timeline, &called).abs() < 1_000, "{wait:?} before the look");
            assert!(error(&timeline, &late).abs() < 1_000);
            assert!(error(&timeline, &machine).abs() < 1_000, "behind the look, while a batch is taken");
        }
    }

    #[test]
    fn the_first_look_already_knows_the_pace() {
        let (mut machine, mut timeline) = Machine::new();
        machine.pass(Duration::from_micros(10));
        let called = machine;
        machine.pass(Duration::from_micros(10));
        machine.is_believed_by(&mut timeline);
        assert!(error(&timeline, &called).abs() < 1_000, "{}", error(&timeline, &called));
    }

    #[test]
    fn a_clock_that_is_set_is_followed_and_the_counter_believed() {
        let (mut machine, mut timeline) = Machine::new();
        for set in [HOUR, 24 * HOUR] {
            for back in [true, false] {
                machine.pass(Duration::from_secs(1));
                let before = machine;
                if back {
                    machine.look.wall -= set
                } else {
                    machine.look.wall += set
                }
                let after = machine;
                machine.pass(Duration::from_millis(1));
                assert!(machine.is_believed_by(&mut timeline));
                assert!(error(&timeline, &after).abs() < 1_000);
                let apart = if back { -(set.as_nanos() as i128) } else { set.as_nanos() as i128 };
                assert!(
                    (error(&timeline, &before) - apart).abs() < 1_000,
                    "a record that waited has the new clock's time"
                );
            }
        }
    }

    #[test]
    fn a_slewed_clock_and_long_rests_are_no_reason_for_doubt() {
        let (mut machine, mut timeline) = Machine::new();
        for rest in [Duration::from_millis(30), HOUR, 1000 * HOUR, Duration::from_millis(1)] {
            machine.pass(rest);
            // adjtimex: 500 ppm.
            machine.look.monotonic += rest / 2000;
            machine.look.wall += rest / 2000;
            assert!(machine.is_believed_by(&mut timeline), "{rest:?}");
            assert!(error(&timeline, &machine).abs() < 1_000);
        }
    }

    /// Suspended to memory, or moved to another machine: the counter goes on while the clock stands still, or begins anew.
    #[test]
    fn a_counter_that_parts_from_the_clock_is_never_believed_again() {
        let breaks: [fn(&mut Machine); 4] = [
            |machine| machine.look.ticks += 3_600_000_000_000,
            |machine| machine.look.ticks = 1_000,
            |machine| machine.look.ticks = machine.look.ticks.wrapping_sub(1_000_000_000),
            |machine| machine.look.ticks += 13_000_000,
        ];
        for (number, part) in breaks.into_iter().enumerate() {
            let (mut machine, mut timeline) = Machine::new();
            machine.pass(Duration::from_secs(10));
            assert!(machine.is_believed_by(&mut timeline));
            let waiting = machine;
            part(&mut machine);
            machine.pass(Duration::from_millis(1));
            assert!(!machine.is_believed_by(&mut timeline), "break {number}");
            assert_eq!(timeline.time_of(waiting.look.ticks), machine.look.wall, "what waited is of now");
            assert_eq!(timeline.time_of(machine.look.ticks), machine.look.wall);
            machine.pass(Duration::from_secs(60));
            assert!(!machine.is_believed_by(&mut timeline), "not again");
        }
    }

    /// A machine that slept before the pace was known has a wrong one, which the next look finds.
    #[test]
    fn a_pace_that_was_measured_over_a_sleep_is_found_out() {
        let (mut machine, mut timeline) = Machine::new();
        machine.look.ticks += 3_600_000_000_000;
        machine.pass(Duration::from_secs(1));
        machine.is_believed_by(&mut timeline);
        machine.pass(Duration::from_secs(1));
        assert!(!machine.is_believed_by(&mut timeline));
    }

    /// The real counter, where there is one; whatever interrupts the thread, the time lies between two looks at the clock.
    #[test]
    fn the_counter_of_this_machine_says_what_its_clock_says() {
        const SLACK: Duration = Duration::from_millis(1);

        let Some(mut timeline) = Timeline::new() else { return };
        for _ in 0..1000 {
            let before = SystemTime::now();
            let stamp = Stamp::by_counter();
            let after = SystemTime::now();
            assert!(timeline.look());
            let time = stamp.time(Some(&timeline));
            assert!(before - SLACK <= time && time <= after + SLACK, "{before:?} {time:?} {after:?}");
        }
    }
}
