//! The local time zone. It is read once, on the thread that sets the logger up; afterwards any
//! thread asks it, without a lock, an environment variable or a file.
//!
//! The rules of the zone are read, so that its clock changes are followed for as long as the
//! process runs.

use std::fmt;
use std::sync::Arc;

/// The offset of a whole day, which no RFC 3339 time can have.
#[cfg(unix)]
const DAY: i32 = 86_400;

/// A time zone with its rules. A clone is the same zone.
#[derive(Clone)]
pub(crate) struct Zone(Arc<Rules>);

impl Zone {
    /// Reads the zone of this process, as the C library does: what `TZ` says, or `/etc/localtime`.
    /// A zone that cannot be read, or that RFC 3339 cannot express, becomes UTC.
    pub(crate) fn local() -> Self {
        Self(Arc::new(Rules::local()))
    }

    #[cfg(test)]
    pub(crate) fn of(offset: fn(i64) -> i64) -> Self {
        Self(Arc::new(Rules::Made(offset)))
    }

    /// Returns how many seconds local time is ahead of UTC at a second since 1970: whole minutes,
    /// less than a day.
    pub(crate) fn offset(&self, second: i64) -> i32 {
        self.0.offset(second).map_or(0, whole_minutes)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zone")
    }
}

/// Rounds to the nearest whole minute, because a time is written with hours and minutes.
fn whole_minutes(seconds: i32) -> i32 {
    (seconds + 30).div_euclid(60) * 60
}

enum Rules {
    #[cfg(unix)]
    Utc,
    #[cfg(unix)]
    Read(tz::TimeZone),
    /// The system is asked each time, without a lock or an environment variable.
    #[cfg(not(unix))]
    System,
    #[cfg(test)]
    Made(fn(i64) -> i64),
}

#[cfg(unix)]
impl Rules {
    fn local() -> Self {
        match std::env::var_os("TZ") {
            None => Self::of("localtime"),
            Some(zone) => zone.to_str().map_or(Self::Utc, Self::of),
        }
    }

    fn of(zone: &str) -> Self {
        let is_fit = |zone: &tz::TimeZone| {
            let mut types = zone.as_ref().local_time_types().iter();
            types.all(|local| local.ut_offset().checked_abs().is_some_and(|offset| whole_minutes(offset) < DAY))
        };
        tz::TimeZone::from_posix_tz(zone).ok().filter(is_fit).map_or(Self::Utc, Self::Read)
    }

    fn offset(&self, second: i64) -> Option<i32> {
        match self {
            Self::Utc => None,
            Self::Read(zone) => {
                let zone = zone.as_ref();
                // Some files have no rule for the time after their last change.
                let last = || zone.local_time_types().get(zone.transitions().last()?.local_time_type_index());
                zone.find_local_time_type(second).ok().or_else(last).map(tz::LocalTimeType::ut_offset)
            }
            #[cfg(test)]
            Self::Made(offset) => i32::try_from(offset(second)).ok(),
        }
    }
}

#[cfg(not(unix))]
impl Rules {
    fn local() -> Self {
        Self::System
    }

    fn offset(&self, second: i64) -> Option<i32> {
        use chrono::{DateTime, Local, Offset as _, TimeZone as _};

        match self {
            Self::System => {
                let time = DateTime::from_timestamp(second, 0)?;
                Some(Local.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc())
            }
            #[cfg(test)]
            Self::Made(offset) => i32::try_from(offset(second)).ok(),
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    const JANUARY: i64 = 1_767_225_600;
    const JULY: i64 = 1_782_864_000;
    const FAR: i64 = 7_258_118_400;

    fn offsets(zone: &str) -> [i32; 2] {
        let zone = Zone(Arc::new(Rules::of(zone)));
        [JANUARY, JULY].map(|second| zone.offset(second))
    }

    #[test]
    fn a_rule_is_followed_for_ever() {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!(offsets(berlin), [3600, 7200]);
        assert_eq!(Zone(Arc::new(Rules::of(berlin))).offset(FAR), 3600);
        assert_eq!(offsets("XXX-05:45"), [20_700, 20_700]);
        assert_eq!(offsets("<-03>3"), [-10_800, -10_800]);
    }

    #[test]
    fn what_no_time_can_say_is_utc() {
        let odd = [
            "",
            "nowhere",
            ":nowhere",
            "/dev/null",
            "../../etc/passwd",
            "XXX-24",
            "XXX24",
            "XXX-24:59:59",
            "XXX-23:59:30",
            "<+01>-23:59:59EST,202,J92",
            "XXX-167:00:00",
        ];
        for zone in odd {
            assert_eq!(offsets(zone), [0, 0], "{zone}");
        }
        assert_eq!(offsets("XXX-23:59"), [86_340, 86_340]);
        assert_eq!(offsets("XXX23:59"), [-86_340, -86_340]);
    }

    #[test]
    fn an_offset_is_whole_minutes() {
        assert_eq!(offsets("XXX-00:53:28"), [3180, 3180]);
        assert_eq!(offsets("XXX00:53:28"), [-3180, -3180]);
        assert_eq!(offsets("XXX-00:53:29.9"), [0, 0], "not a zone");
    }

    /// A second whose calendar no program knows does not panic.
    #[test]
    fn every_second_has_an_offset() {
        let zones = ["CET-1CEST,M3.5.0,M10.5.0/3", "XXX-05:45", ""].map(|zone| Zone(Arc::new(Rules::of(zone))));
        for zone in zones.iter().chain([&Zone::local()]) {
            for second in [i64::MIN, i64::MIN / 2, -1, 0, i64::MAX / 2, i64::MAX] {
                assert!(zone.offset(second).abs() < DAY);
            }
        }
    }
}
