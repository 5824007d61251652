//! The time of a record: what a caller reads, and what the writer makes of it.
//!
//! Reading the system's clock takes a tenth of the time of a log call. Where the kernel keeps its
//! time by the processor's counter, a caller reads that counter instead, and the writer, which
//! samples both before each batch, works out the time: that of the nearest sample, plus what the
//! counter has counted since. So a record has the time that its caller would have read, to within a
//! few microseconds. If the clock is set or slewed while the record waits in the queue, that may
//! change the record's time, too.

use std::time::SystemTime;

use crate::unix_time::UnixTime;

/// When a record was logged, as its caller read it. It is one number in either case, so that a
/// caller keeps it in a register. A `SystemTime` would go through memory, and each call would wait
/// for that.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stamp {
    /// The time itself, in nanoseconds since 1970.
    Nanos(i64),
    /// The processor's counter.
    Ticks(u64),
}

impl Stamp {
    #[inline(always)]
    pub(crate) fn by_counter() -> Self {
        Self::Ticks(system::ticks())
    }

    /// Reads the system's clock. Not inlined, because it would keep the reading of the counter from
    /// being inlined.
    #[inline(never)]
    pub(crate) fn by_clock() -> Self {
        Self::at(system::now())
    }

    /// Returns the stamp of a time. A time before 1677 or after 2262 becomes the nearest one
    /// between.
    pub(crate) fn at(time: impl Into<UnixTime>) -> Self {
        Self::Nanos(time.into().to_nanos())
    }

    /// Returns the time at which the stamp was taken.
    pub(crate) fn time(self, timeline: Option<&mut Timeline>) -> UnixTime {
        match (self, timeline) {
            (Self::Nanos(nanos), _) => UnixTime::from_nanos(nanos),
            (Self::Ticks(ticks), Some(timeline)) => timeline.time_of(ticks),
            // Callers read the counter only if the writer has a timeline.
            (Self::Ticks(_), None) => system::now().into(),
        }
    }
}

/// All three clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct ClockSample {
    ticks: u64,
    wall: UnixTime,
    /// The clock by which the counter is judged, in nanoseconds.
    steady: u64,
}

impl ClockSample {
    /// A sample that takes longer than this many ticks, about 3 us, was interrupted. It is off by
    /// its duration at most.
    const MOST_TICKS: u64 = 8_000;
    const TRIES: usize = 4;

    /// Returns the shortest of a few tries, and whether it was short enough.
    fn now() -> (Self, bool) {
        let mut best = Self::once();
        for _ in 1..Self::TRIES {
            if best.1 < Self::MOST_TICKS {
                break;
            }
            let next = Self::once();
            if next.1 < best.1 {
                best = next;
            }
        }
        (best.0, best.1 < Self::MOST_TICKS)
    }

    /// Takes one sample. Returns it, and how many ticks it took.
    fn once() -> (Self, u64) {
        let before = system::ticks();
        let (wall, steady) = (system::now(), system::steady());
        let took = system::ticks().wrapping_sub(before);
        (Self { ticks: before.wrapping_add(took / 2), wall: wall.into(), steady }, took)
    }
}

/// Turns the counter into the time of the wall clock, for the writer.
pub(crate) struct Timeline {
    first: ClockSample,
    last: ClockSample,
    before_last: ClockSample,
    nanos_per_tick: f64,
    believed: bool,
}

impl Timeline {
    /// The counter is judged by its pace once that was measured over this many nanoseconds.
    const MEASURED: f64 = 20e6;
    /// Between two samples the counter and the steady clock may drift apart by this many
    /// nanoseconds, and by a thousandth of what has passed. Both are driven by the same quartz, so
    /// they do that only when the machine sleeps, or is moved to another one.
    const MOST_APART: f64 = 1e6;
    /// A record may be newer than the last sample by this many nanoseconds before another one is
    /// taken.
    const MOST_AHEAD: f64 = 20e6;

    /// Returns nothing if the clocks are slow to read: then the kernel does not keep its time by
    /// the counter.
    pub(crate) fn new() -> Option<Self> {
        let (sample, short) = ClockSample::now();
        short.then(|| Self::from(sample))
    }

    /// Samples the clocks. Returns false from the moment on at which the counter cannot be trusted.
    pub(crate) fn sample(&mut self) -> bool {
        if self.believed {
            let (sample, short) = ClockSample::now();
            self.take(sample);
            self.believed &= short;
        }
        self.believed
    }

    fn take(&mut self, sample: ClockSample) {
        let [passed, alive] =
            [self.last, self.first].map(|earlier| sample.steady.saturating_sub(earlier.steady) as f64);
        let apart = (self.nanos_between(self.last.ticks, sample.ticks) - passed).abs();
        self.believed = alive - passed < Self::MEASURED || apart <= Self::MOST_APART + passed / 1000.0;
        let ticks = sample.ticks.wrapping_sub(self.first.ticks);
        if self.believed && ticks > 0 {
            self.nanos_per_tick = alive / ticks as f64;
        }
        (self.before_last, self.last) = (self.last, sample);
    }

    /// Returns the time at which the counter had this value.
    fn time_of(&mut self, ticks: u64) -> UnixTime {
        let ahead = self.nanos_between(self.last.ticks, ticks);
        if ahead > Self::MOST_AHEAD || distance(self.first.ticks, ticks) < 0 {
            // Either the batch takes long, or the counter is no longer what it was.
            self.sample();
        }
        // If the machine has slept, one sample is from before the sleep and one from after it.
        let near = if distance(self.last.ticks, ticks).unsigned_abs()
            <= distance(self.before_last.ticks, ticks).unsigned_abs()
        {
            self.last
        } else {
            self.before_last
        };
        near.wall.plus_nanos(self.nanos_between(near.ticks, ticks) as i64)
    }

    fn nanos_between(&self, earlier: u64, later: u64) -> f64 {
        distance(earlier, later) as f64 * self.nanos_per_tick
    }
}

/// Returns the ticks between two values of the counter.
fn distance(earlier: u64, later: u64) -> i64 {
    later.wrapping_sub(earlier) as i64
}

impl From<ClockSample> for Timeline {
    fn from(first: ClockSample) -> Self {
        // There is no pace yet; the first batch begins with a look.
        Self { first, last: first, before_last: first, nanos_per_tick: 0.0, believed: true }
    }
}

/// Reads the system's clock.
pub(crate) fn now() -> SystemTime {
    system::now()
}

/// The clocks of the machine.
#[cfg(not(any(test, fuzzing)))]
mod system {
    use std::time::SystemTime;

    pub(super) use crate::os::{steady_nanos as steady, ticks};

    #[inline]
    pub(super) fn now() -> SystemTime {
        SystemTime::now()
    }
}

/// In the crate's own tests, the clocks of a thread can be set.
#[cfg(any(test, fuzzing))]
pub(crate) mod system {
    use std::cell::Cell;
    use std::time::SystemTime;

    use crate::os;

    std::thread_local! {
        static WALL: Cell<Option<SystemTime>> = const { Cell::new(None) };
        static COUNTER: Cell<Option<Counter>> = const { Cell::new(None) };
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Counter {
        pub(crate) ticks: u64,
        pub(crate) steady: u64,
        /// How far the counter comes while it is read.
        pub(crate) each: u64,
    }

    pub(super) fn now() -> SystemTime {
        WALL.get().unwrap_or_else(SystemTime::now)
    }

    pub(super) fn ticks() -> u64 {
        let Some(counter) = COUNTER.get() else { return os::ticks() };
        COUNTER.set(Some(Counter { ticks: counter.ticks.wrapping_add(counter.each), ..counter }));
        counter.ticks
    }

    pub(super) fn steady() -> u64 {
        COUNTER.get().map_or_else(os::steady_nanos, |counter| counter.steady)
    }

    /// Sets the time of this thread; `None`: the system's.
    pub(crate) fn set(time: Option<SystemTime>) {
        WALL.set(time);
    }

    pub(crate) fn set_counter(counter: Option<Counter>) {
        COUNTER.set(counter);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;

    const GHZ: f64 = 2.6;
    const HOUR: Duration = Duration::from_secs(3600);

    /// A machine whose clocks are moved by hand.
    #[derive(Clone, Copy)]
    struct Machine {
        sample: ClockSample,
    }

    impl Machine {
        fn new() -> (Self, Timeline) {
            let wall = UnixTime { second: 1_795_000_000, nanos: 0 };
            let machine = Self { sample: ClockSample { ticks: 77_000_000_000, wall, steady: 30_000_000_000 } };
            (machine, Timeline::from(machine.sample))
        }

        /// Makes a machine whose pace is known.
        fn running() -> (Self, Timeline) {
            let (mut machine, mut timeline) = Self::new();
            machine.pass(Duration::from_secs(10));
            assert!(machine.is_believed_by(&mut timeline));
            (machine, timeline)
        }

        /// Time goes on for all clocks.
        fn pass(&mut self, time: Duration) {
            self.set_wall(time.as_nanos() as i64);
            self.sample.steady += time.as_nanos() as u64;
            self.count(time);
        }

        /// The wall clock is set this many nanoseconds later.
        fn set_wall(&mut self, later: i64) {
            self.sample.wall = self.sample.wall.plus_nanos(later);
        }

        fn count(&mut self, time: Duration) {
            self.sample.ticks = self.sample.ticks.wrapping_add((time.as_nanos() as f64 * GHZ) as u64);
        }

        /// It is the time of this machine on this thread.
        fn set(&self, each: u64) {
            let ClockSample { ticks, wall, steady } = self.sample;
            system::set(Some(wall.into()));
            system::set_counter(Some(system::Counter { ticks, steady, each }));
        }

        fn is_believed_by(&self, timeline: &mut Timeline) -> bool {
            self.set(0);
            timeline.sample()
        }

        /// By how many nanoseconds the time that comes out for a stamp taken now is wrong.
        fn error(&self, timeline: &mut Timeline) -> i64 {
            timeline.time_of(self.sample.ticks).to_nanos() - self.sample.wall.to_nanos()
        }

        fn is_right_by(&self, timeline: &mut Timeline) -> bool {
            self.error(timeline).abs() < 1_000
        }
    }

    #[test]
    fn a_stamp_of_the_clock_has_its_time_to_the_nanosecond_and_the_nearest_it_can_have() {
        let [first, last] = [i64::MIN, i64::MAX].map(|nanos| SystemTime::from(UnixTime::from_nanos(nanos)));
        let time_of = |time| SystemTime::from(Stamp::at(time).time(None));
        let some = Duration::new(1_795_000_000, 999_999_999);
        for time in [first, UNIX_EPOCH - some, UNIX_EPOCH, UNIX_EPOCH + some, last] {
            assert_eq!(time_of(time), time);
        }
        assert_eq!((time_of(first - HOUR), time_of(last + HOUR)), (first, last));
    }

    /// Where callers read the clock itself, their stamps reach from 1677 to 2262. The first year of
    /// Windows is 1601, and its clock counts in steps of 100 ns.
    #[test]
    fn by_the_counter_a_record_has_the_time_of_any_year() {
        for second in [-10_000_000_000, 0, 10_000_000_000, 253_402_300_800] {
            let (mut machine, mut timeline) = Machine::running();
            machine.sample.wall = UnixTime { second, nanos: 999_999_900 };
            assert!(machine.is_believed_by(&mut timeline));
            let time = timeline.time_of(machine.sample.ticks);
            assert_eq!(time, machine.sample.wall);
        }
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
            assert!(called.is_right_by(&mut timeline), "{wait:?} before the sample");
            assert!(late.is_right_by(&mut timeline));
            assert!(machine.is_right_by(&mut timeline), "after the sample, while a batch is taken");
        }
    }

    #[test]
    fn the_first_look_already_knows_the_pace() {
        let (mut machine, mut timeline) = Machine::new();
        machine.pass(Duration::from_micros(10));
        let called = machine;
        machine.pass(Duration::from_micros(10));
        machine.is_believed_by(&mut timeline);
        assert!(called.is_right_by(&mut timeline));
    }

    #[test]
    fn a_clock_that_is_set_is_followed_and_the_counter_believed() {
        let (mut machine, mut timeline) = Machine::running();
        for set in [HOUR, 24 * HOUR] {
            for back in [true, false] {
                machine.pass(Duration::from_millis(10));
                let before = machine;
                machine.pass(Duration::from_millis(10));
                let set = set.as_nanos() as i64;
                machine.set_wall(if back { -set } else { set });
                let after = machine;
                machine.pass(Duration::from_millis(19));
                assert!(machine.is_believed_by(&mut timeline));
                assert!(before.is_right_by(&mut timeline) && after.is_right_by(&mut timeline));
                assert!(machine.is_right_by(&mut timeline));
            }
        }
    }

    /// As fast as adjtimex(2) can.
    #[test]
    fn a_slewed_clock_and_long_rests_are_no_reason_for_doubt() {
        let (mut machine, mut timeline) = Machine::new();
        for rest in [Duration::from_millis(30), HOUR, 1000 * HOUR, Duration::from_millis(1)] {
            machine.pass(rest);
            machine.set_wall(rest.as_nanos() as i64 / 10);
            assert!(machine.is_believed_by(&mut timeline), "{rest:?}");
            assert!(machine.is_right_by(&mut timeline));
        }
    }

    /// Suspended to memory: the counter goes on or begins again, the steady clock stands still, the
    /// wall clock is put right.
    fn breaks() -> [fn(&mut Machine); 4] {
        [
            |machine| machine.count(8 * HOUR),
            |machine| machine.sample.ticks = 1_000,
            |machine| machine.sample.ticks = machine.sample.ticks.wrapping_sub(26_000_000_000),
            |machine| machine.count(Duration::from_millis(5)),
        ]
    }

    #[test]
    fn what_was_logged_before_a_sleep_and_after_it_has_its_time() {
        for (number, sleep) in breaks().into_iter().enumerate() {
            let (mut machine, mut timeline) = Machine::running();
            machine.pass(Duration::from_millis(2));
            let before = machine;
            machine.pass(Duration::from_millis(1));
            sleep(&mut machine);
            machine.set_wall(8 * HOUR.as_nanos() as i64);
            let after = machine;
            machine.pass(Duration::from_millis(2));
            assert!(!machine.is_believed_by(&mut timeline), "sleep {number}");
            machine.pass(Duration::from_millis(1));
            // A jump of 5 ms cannot be distinguished from 5 ms.
            if number != 3 {
                assert!(before.is_right_by(&mut timeline), "sleep {number}: {}", before.error(&mut timeline));
            }
            assert!(after.is_right_by(&mut timeline), "sleep {number}: {}", after.error(&mut timeline));
            assert!(machine.is_right_by(&mut timeline), "a caller that had not heard of it");
            machine.pass(60 * HOUR);
            assert!(!machine.is_believed_by(&mut timeline), "not again");
        }
    }

    #[test]
    fn a_sleep_between_the_look_and_a_record_is_seen_at_the_record() {
        for (number, sleep) in breaks().into_iter().take(2).enumerate() {
            let (mut machine, mut timeline) = Machine::running();
            machine.pass(Duration::from_millis(1));
            sleep(&mut machine);
            machine.set_wall(8 * HOUR.as_nanos() as i64);
            machine.set(0);
            assert!(machine.is_right_by(&mut timeline), "sleep {number}: {}", machine.error(&mut timeline));
            assert!(!timeline.sample());
        }
    }

    #[test]
    fn a_long_batch_is_no_sleep() {
        let (mut machine, mut timeline) = Machine::running();
        machine.pass(HOUR);
        machine.set(0);
        assert!(machine.is_right_by(&mut timeline));
        assert!(timeline.sample());
    }

    /// A machine that slept before the pace was known has a wrong one, which the next look finds.
    #[test]
    fn a_pace_that_was_measured_over_a_sleep_is_found_out() {
        let (mut machine, mut timeline) = Machine::new();
        machine.count(HOUR);
        machine.pass(Duration::from_secs(1));
        machine.is_believed_by(&mut timeline);
        machine.pass(Duration::from_secs(1));
        assert!(!machine.is_believed_by(&mut timeline));
    }

    /// Then the kernel keeps its time by something else.
    #[test]
    fn a_clock_that_is_slow_to_read_ends_it() {
        let (mut machine, mut timeline) = Machine::running();
        machine.pass(Duration::from_secs(5));
        let called = machine;
        machine.pass(Duration::from_secs(5));
        machine.set(ClockSample::MOST_TICKS);
        assert!(!timeline.sample());
        assert!(called.error(&mut timeline).abs() < 10_000);
        machine.set(ClockSample::MOST_TICKS);
        assert!(Timeline::new().is_none());
        machine.set(ClockSample::MOST_TICKS - 1);
        assert!(Timeline::new().is_some());
    }

    /// The real counter, where there is one; whatever interrupts the thread, the time lies between
    /// two looks at the clock.
    #[test]
    fn the_counter_of_this_machine_says_what_its_clock_says() {
        const SLACK: Duration = Duration::from_millis(1);

        if !crate::os::counter_keeps_time() {
            return;
        }
        let Some(mut timeline) = Timeline::new() else { return };
        for _ in 0..1000 {
            let before = SystemTime::now();
            let stamp = Stamp::by_counter();
            let after = SystemTime::now();
            timeline.sample();
            let time = SystemTime::from(stamp.time(Some(&mut timeline)));
            assert!(before - SLACK <= time && time <= after + SLACK, "{before:?} {time:?} {after:?}");
        }
    }
}
