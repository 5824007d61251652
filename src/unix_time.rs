//! A time in seconds since 1970: the standard library's `SystemTime` would be taken apart for each
//! part of a line that shows it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOS: u32 = 1_000_000_000;

/// A time of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixTime {
    /// Whole seconds since 1970, rounded down.
    pub(crate) second: i64,
    /// The nanoseconds after that second.
    pub(crate) nanos: u32,
}

impl UnixTime {
    pub(crate) const EPOCH: Self = Self { second: 0, nanos: 0 };

    #[inline]
    pub(crate) fn from_nanos(nanos: i64) -> Self {
        Self { second: nanos.div_euclid(NANOS.into()), nanos: nanos.rem_euclid(NANOS.into()) as u32 }
    }

    /// Returns nanoseconds since 1970. A time before 1677 or after 2262 becomes the nearest one
    /// between.
    #[inline]
    pub(crate) fn to_nanos(self) -> i64 {
        let nanos = i128::from(self.second) * i128::from(NANOS) + i128::from(self.nanos);
        nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// Returns the time `later` nanoseconds later; a negative number is earlier.
    #[inline]
    pub(crate) fn plus_nanos(self, later: i64) -> Self {
        let Self { second, nanos } = Self::from_nanos(later.saturating_add(self.nanos.into()));
        Self { second: self.second.saturating_add(second), nanos }
    }

    /// Returns the microseconds after the second.
    #[inline]
    pub(crate) fn micros(self) -> u32 {
        self.nanos / 1000
    }
}

impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self { second: 0_i64.saturating_add_unsigned(after.as_secs()), nanos: after.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                let second = 0_i64.saturating_sub_unsigned(before.as_secs());
                match before.subsec_nanos() {
                    0 => Self { second, nanos: 0 },
                    nanos => Self { second: second.saturating_sub(1), nanos: NANOS - nanos },
                }
            }
        }
    }
}

/// A time that the system cannot represent becomes 1970. It can represent each time that it gave.
impl From<UnixTime> for SystemTime {
    fn from(time: UnixTime) -> Self {
        let seconds = Duration::from_secs(time.second.unsigned_abs());
        let whole = if time.second < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
        whole.and_then(|whole| whole.checked_add(Duration::from_nanos(time.nanos.into()))).unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows counts in steps of 100 ns.
    #[test]
    fn a_time_of_the_system_comes_back_as_it_was() {
        for nanos in [0, 100, 900, 1000, 999_999_900, 1_000_000_000, 1_795_253_400_123_456_700, i64::MAX as u64] {
            let nanos = nanos / 100 * 100;
            let since = Duration::from_nanos(nanos);
            for time in [UNIX_EPOCH + since, UNIX_EPOCH - since] {
                assert_eq!(SystemTime::from(UnixTime::from(time)), time);
            }
            let (after, before) = (UnixTime::from(UNIX_EPOCH + since), UnixTime::from(UNIX_EPOCH - since));
            assert_eq!((after.to_nanos(), before.to_nanos()), (nanos as i64, -(nanos as i64)));
            assert_eq!((UnixTime::from_nanos(nanos as i64), UnixTime::from_nanos(-(nanos as i64))), (after, before));
            assert!(before <= after && (before == after) == (nanos == 0));
        }
    }

    #[test]
    fn a_time_is_as_much_later_or_earlier_as_it_was_to_be() {
        for second in [-1, 0, 253_402_300_800, i64::MIN, i64::MAX] {
            for (nanos, later, expected) in [
                (0, 0, (0, 0)),
                (999_999_999, 1, (1, 0)),
                (0, -1, (-1, 999_999_999)),
                (1, 2_999_999_999, (3, 0)),
                (5, -3_000_000_000, (-3, 5)),
            ] {
                let time = UnixTime { second, nanos }.plus_nanos(later);
                assert_eq!(time, UnixTime { second: second.saturating_add(expected.0), nanos: expected.1 });
            }
        }
    }

    #[test]
    fn before_1970_the_second_is_rounded_down() {
        let time = UnixTime::from(UNIX_EPOCH - Duration::from_nanos(100));
        assert_eq!((time.second, time.nanos, time.micros()), (-1, 999_999_900, 999_999));
    }

    #[test]
    fn what_no_number_of_nanoseconds_says_becomes_the_nearest() {
        for (second, nanos) in [(i64::MIN, i64::MIN), (i64::MAX, i64::MAX)] {
            assert_eq!(UnixTime { second, nanos: 0 }.to_nanos(), nanos);
        }
        let [first, last] = [i64::MIN, i64::MAX].map(UnixTime::from_nanos);
        assert_eq!([first.to_nanos(), last.to_nanos()], [i64::MIN, i64::MAX]);
    }
}
