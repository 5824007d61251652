//! When a file is rotated: pure policy. Lengths and records' times go in, the place where a batch
//! is split comes out. Runs on the writer's thread.

use chrono::{DateTime, Datelike as _};

use crate::sink::rotation::{Period, Rotation};
use crate::unix_time::UnixTime;
use crate::zone::Zone;

const DAY: i64 = 86_400;

/// A rotation at work on one file.
#[derive(Debug)]
pub(super) struct Schedule {
    rotation: Rotation,
    /// `None`: UTC.
    zone: Option<Zone>,
    /// The minute that `offset` was asked for: zones change at whole quarters of an hour.
    asked: Option<i64>,
    offset: i64,
    /// The period whose records the file holds; `None`: it is empty.
    current: Option<i64>,
}

impl Schedule {
    pub(super) fn new(rotation: Rotation, zone: Option<Zone>) -> Self {
        Self { rotation, zone, asked: None, offset: 0, current: None }
    }

    /// Starts over for another file: empty, or with a last record of this time.
    pub(super) fn begin(&mut self, last: Option<UnixTime>) {
        self.current = last.and_then(|last| self.period(last));
    }

    /// Returns how many of the first `lines` belong in the file, which holds `len` bytes. A line is
    /// given by its end, counted from the start of the first one, and its time. If not all lines
    /// belong there, the file is to be rotated before the next.
    pub(super) fn lines_for(&mut self, len: u64, lines: &[(u64, UnixTime)]) -> usize {
        let by_time = self.of_this_period(lines);
        let Some(size) = self.rotation.size else { return by_time };
        let by_size = lines.partition_point(|(end, _)| len.saturating_add(*end) <= size);
        // A record that is longer than any file may be goes into one of its own.
        let by_size = if len == 0 { by_size.max(1) } else { by_size };
        by_time.min(by_size)
    }

    /// Returns how many lines go up to the last one of the file's period, because threads that log
    /// at the same time may come in the other order.
    fn of_this_period(&mut self, lines: &[(u64, UnixTime)]) -> usize {
        if self.rotation.every.is_none() {
            return lines.len();
        }
        let Some(current) = self.current.or_else(|| lines.first().and_then(|(_, time)| self.period(*time))) else {
            return lines.len();
        };
        let last = lines.iter().rposition(|(_, time)| self.period(*time).is_none_or(|period| period <= current));
        last.map_or(0, |last| last + 1)
    }

    /// Notes that a record of this time is in the file.
    pub(super) fn wrote(&mut self, time: UnixTime) {
        let Some(period) = self.period(time) else { return };
        // A clock that was set back by more than a clock change or two threads explain is right
        // now. The file's period follows it; otherwise the next rotation would be delayed by as
        // much as the clock had been wrong.
        if self.current.is_none_or(|current| period < current - 1) {
            self.current = Some(period);
        }
    }

    /// Returns the number of the period that holds this time; the next period has the next number.
    fn period(&mut self, time: UnixTime) -> Option<i64> {
        let every = self.rotation.every?;
        let second = self.calendar_second(time);
        Some(match every {
            Period::Every(interval) => second.div_euclid(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX).max(1)),
            Period::Day => second.div_euclid(DAY),
            // The first day of 1970 was a Thursday.
            Period::Week => (second.div_euclid(DAY) + 3).div_euclid(7),
            Period::Month => {
                // What no calendar knows is one long month.
                let date = DateTime::from_timestamp(second, 0).unwrap_or_default();
                i64::from(date.year()) * 12 + i64::from(date.month0())
            }
        })
    }

    /// Returns the seconds since 1970 that the calendar of this rotation shows.
    pub(super) fn calendar_second(&mut self, time: UnixTime) -> i64 {
        let second = time.second;
        let minute = second.div_euclid(60);
        if self.asked != Some(minute) {
            self.asked = Some(minute);
            self.offset = self.zone.as_ref().map_or(0, |zone| zone.offset(second).into());
        }
        second.saturating_add(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::NaiveDateTime;

    use super::*;

    type Offset = fn(i64) -> i64;

    fn utc(_second: i64) -> i64 {
        0
    }

    fn at(text: &str) -> UnixTime {
        let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap().and_utc();
        UnixTime { second: time.timestamp(), nanos: time.timestamp_subsec_nanos() }
    }

    /// Summer time from `from` to `to`, both in UTC, on top of `winter`.
    fn summer(second: i64, from: &str, to: &str, winter: i64) -> i64 {
        let time = UnixTime { second, nanos: 0 };
        if (at(from)..at(to)).contains(&time) { winter + 3600 } else { winter }
    }

    fn berlin(second: i64) -> i64 {
        summer(second, "2026-03-29 01:00:00", "2026-10-25 01:00:00", 3600)
    }

    fn new_york(second: i64) -> i64 {
        summer(second, "2026-03-08 07:00:00", "2026-11-01 06:00:00", -5 * 3600)
    }

    /// Half an hour of summer time.
    fn lord_howe(second: i64) -> i64 {
        let time = UnixTime { second, nanos: 0 };
        let winter = (at("2026-04-04 15:00:00")..at("2026-10-03 15:30:00")).contains(&time);
        if winter { 10 * 3600 + 1800 } else { 11 * 3600 }
    }

    /// Logs one record at each time, and says before which of them the file was rotated.
    fn rotations(rotation: Rotation, zone: Offset, times: &[&str]) -> Vec<usize> {
        let mut schedule = Schedule::new(rotation, Some(Zone::of(zone)));
        let mut before = Vec::new();
        for (number, time) in times.iter().enumerate() {
            let line = [(10, at(time))];
            if schedule.lines_for(10, &line) == 0 {
                before.push(number);
                schedule.begin(None);
                assert_eq!(schedule.lines_for(0, &line), 1, "an empty file takes a record of any time");
            }
            schedule.wrote(at(time));
        }
        before
    }

    #[test]
    fn a_file_is_rotated_before_the_first_record_of_a_new_period() {
        let cases: &[(Rotation, Offset, &[&str], &[usize])] = &[
            (Rotation::daily(), utc, &["2026-11-21 00:00:00", "2026-11-21 23:59:59.999", "2026-11-22 00:00:00"], &[2]),
            (Rotation::hourly(), utc, &["2026-11-21 09:00:00", "2026-11-21 09:59:59", "2026-11-21 10:00:00"], &[2]),
            // A pause of days is one rotation.
            (Rotation::daily(), utc, &["2026-11-21 12:00:00", "2026-11-29 12:00:00", "2026-11-29 13:00:00"], &[1]),
            // Leap day, year end, and before 1970.
            (Rotation::daily(), utc, &["2028-02-28 23:59:59", "2028-02-29 00:00:00", "2028-03-01 00:00:00"], &[1, 2]),
            (Rotation::daily(), utc, &["2026-12-31 23:59:59", "2027-01-01 00:00:00", "2027-01-01 01:00:00"], &[1]),
            (
                Rotation::hourly(),
                utc,
                &["1969-12-31 22:59:59.5", "1969-12-31 23:00:00", "1970-01-01 00:00:00"],
                &[1, 2],
            ),
            // The local day begins at 23:00 UTC in Berlin, at 05:00 UTC in New York.
            (Rotation::daily(), berlin, &["2026-11-20 22:59:59", "2026-11-20 23:00:00", "2026-11-21 00:00:00"], &[1]),
            (Rotation::daily(), new_york, &["2026-11-21 04:59:59", "2026-11-21 05:00:00"], &[1]),
            // A minute.
            (
                Rotation::every(Duration::from_secs(6 * 3600)),
                utc,
                &["2026-11-21 00:00:00", "2026-11-21 05:59:59.9", "2026-11-21 06:00:00", "2026-11-21 11:59:59"],
                &[2],
            ),
            (Rotation::minutely(), utc, &["2026-11-21 00:00:00", "2026-11-21 00:00:59.9", "2026-11-21 00:01:00"], &[2]),
            // The 22nd of November 2026 is a Sunday; so is the 3rd of January 2027, and the last
            // day of a week before 1970.
            (
                Rotation::weekly(),
                utc,
                &["2026-11-16 00:00:00", "2026-11-22 23:59:59", "2026-11-23 00:00:00", "2026-11-29 23:59:59"],
                &[2],
            ),
            (Rotation::weekly(), utc, &["2026-12-31 12:00:00", "2027-01-03 23:59:59", "2027-01-04 00:00:00"], &[2]),
            (Rotation::weekly(), utc, &["1969-12-28 23:59:59", "1969-12-29 00:00:00", "1970-01-04 23:59:59"], &[1]),
            (Rotation::weekly(), berlin, &["2026-11-22 22:59:59", "2026-11-22 23:00:00"], &[1]),
            // Months of 28, 29 and 31 days, and the end of a year.
            (
                Rotation::monthly(),
                utc,
                &["2027-02-01 00:00:00", "2027-02-28 23:59:59", "2027-03-01 00:00:00", "2027-03-31 23:59:59"],
                &[2],
            ),
            (Rotation::monthly(), utc, &["2028-02-28 23:59:59", "2028-02-29 23:59:59", "2028-03-01 00:00:00"], &[2]),
            (Rotation::monthly(), utc, &["2026-12-01 00:00:00", "2026-12-31 23:59:59", "2027-01-01 00:00:00"], &[2]),
            (Rotation::monthly(), new_york, &["2026-12-01 04:59:59", "2026-12-01 05:00:00"], &[1]),
            (Rotation::size(1 << 30), utc, &["2026-11-21 00:00:00", "2027-11-21 00:00:00"], &[]),
            (Rotation::never(), utc, &["2026-11-21 00:00:00", "2027-11-21 00:00:00"], &[]),
        ];
        for (rotation, zone, times, expected) in cases {
            assert_eq!(rotations(*rotation, *zone, times), *expected, "{rotation:?} {times:?}");
        }
    }

    #[test]
    fn clock_changes_neither_repeat_nor_skip_a_rotation() {
        let cases: &[(Rotation, Offset, &[&str], &[usize])] = &[
            // Berlin, spring: 01:59:59 is followed by 03:00:00.
            (
                Rotation::hourly(),
                berlin,
                &["2026-03-29 00:59:59", "2026-03-29 01:00:00", "2026-03-29 02:00:00"],
                &[1, 2],
            ),
            (
                Rotation::daily(),
                berlin,
                &["2026-03-28 22:59:59", "2026-03-28 23:00:00", "2026-03-29 21:59:59", "2026-03-29 22:00:00"],
                &[1, 3],
            ),
            // Berlin, autumn: the hour from 02:00 comes twice, and stays in one file.
            (
                Rotation::hourly(),
                berlin,
                &[
                    "2026-10-24 23:59:59",
                    "2026-10-25 00:00:00",
                    "2026-10-25 00:59:59",
                    "2026-10-25 01:00:00",
                    "2026-10-25 01:59:59",
                    "2026-10-25 02:00:00",
                ],
                &[1, 5],
            ),
            (
                Rotation::daily(),
                berlin,
                &[
                    "2026-10-24 22:00:00",
                    "2026-10-25 00:30:00",
                    "2026-10-25 01:30:00",
                    "2026-10-25 22:59:59",
                    "2026-10-25 23:00:00",
                ],
                &[4],
            ),
            // New York, both.
            (
                Rotation::hourly(),
                new_york,
                &["2026-03-08 06:59:59", "2026-03-08 07:00:00", "2026-03-08 08:00:00"],
                &[1, 2],
            ),
            (
                Rotation::hourly(),
                new_york,
                &[
                    "2026-11-01 05:00:00",
                    "2026-11-01 05:59:59",
                    "2026-11-01 06:00:00",
                    "2026-11-01 06:59:59",
                    "2026-11-01 07:00:00",
                ],
                &[4],
            ),
            (
                Rotation::daily(),
                new_york,
                &["2026-11-01 03:59:59", "2026-11-01 04:00:00", "2026-11-02 04:59:59", "2026-11-02 05:00:00"],
                &[1, 3],
            ),
            // Minutes: the first of the repeated hour stays in the last file, and from there on
            // they are counted again.
            (
                Rotation::minutely(),
                berlin,
                &["2026-10-25 00:58:00", "2026-10-25 00:59:00", "2026-10-25 01:00:00", "2026-10-25 01:01:00"],
                &[1, 3],
            ),
            // A week and a month with a clock change in them.
            (
                Rotation::weekly(),
                berlin,
                &["2026-10-25 00:30:00", "2026-10-25 01:30:00", "2026-10-25 22:59:59", "2026-10-25 23:00:00"],
                &[3],
            ),
            (
                Rotation::monthly(),
                new_york,
                &["2026-11-01 03:59:59", "2026-11-01 04:00:00", "2026-12-01 04:59:59", "2026-12-01 05:00:00"],
                &[1, 3],
            ),
            // Half an hour back: 01:59:59 is followed by 01:30:00.
            (
                Rotation::hourly(),
                lord_howe,
                &["2026-04-04 14:00:00", "2026-04-04 14:59:59", "2026-04-04 15:00:00", "2026-04-04 15:30:00"],
                &[3],
            ),
        ];
        for (rotation, zone, times, expected) in cases {
            assert_eq!(rotations(*rotation, *zone, times), *expected, "{rotation:?} {times:?}");
        }
    }

    /// The zone of a process is that of its environment: each zone gets a process of its own.
    #[test]
    fn the_zones_of_the_system_change_their_clocks_as_they_do_here() {
        const NAME: &str = "sink::file::schedule::tests::the_zones_of_the_system_change_their_clocks_as_they_do_here";

        let zones: [(&str, Offset); 4] = [
            ("Europe/Berlin", berlin),
            ("America/New_York", new_york),
            ("Australia/Lord_Howe", lord_howe),
            ("UTC", utc),
        ];
        if let Some((_, here)) =
            std::env::var("UNFAZED_ZONE").ok().and_then(|name| zones.into_iter().find(|zone| zone.0 == name))
        {
            let local = Zone::local();
            let first = at("2026-01-01 00:00:00").second;
            // Every half hour of a year, and the second before it.
            for half_hour in 0..365 * 48 {
                for second in [-1, 0].map(|offset| first + half_hour * 1800 + offset) {
                    assert_eq!(i64::from(local.offset(second)), here(second), "second {second}");
                }
            }
            println!("the year is over");
            return;
        }
        for (zone, _) in zones {
            if !std::path::Path::new("/usr/share/zoneinfo").join(zone).exists() {
                println!("skipped: {zone} is not known here");
                continue;
            }
            let mut itself = std::process::Command::new(std::env::current_exe().unwrap());
            itself.args(["--exact", NAME, "--nocapture"]).env("TZ", zone).env("UNFAZED_ZONE", zone);
            let output = itself.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("the year is over"), "{zone}: {said}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_stays_in_its_file_and_one_that_jumps_forward_rotates_once() {
        let cases: &[(&[&str], &[usize])] = &[
            // Two seconds back over midnight, and on: the day is not begun twice.
            (&["2026-11-22 00:00:01", "2026-11-21 23:59:59", "2026-11-22 00:00:00"], &[]),
            // Far forward: once.
            (&["2026-11-21 12:00:00", "2099-01-01 00:00:00", "2099-01-01 01:00:00"], &[1]),
            // And back again: it stays, and the next day is a new one, not the year 2099.
            (
                &[
                    "2026-11-21 12:00:00",
                    "2099-01-01 00:00:00",
                    "2026-11-21 12:00:02",
                    "2026-11-21 23:00:00",
                    "2026-11-22 00:00:00",
                ],
                &[1, 4],
            ),
            // A week back: the days are counted from there.
            (&["2026-11-21 12:00:00", "2026-11-14 12:00:00", "2026-11-15 00:00:00"], &[2]),
        ];
        for (times, expected) in cases {
            assert_eq!(rotations(Rotation::daily(), utc, times), *expected, "{times:?}");
        }
    }

    #[test]
    fn a_batch_is_split_after_the_last_record_of_the_old_period() {
        let mut schedule = Schedule::new(Rotation::daily(), None);
        schedule.begin(Some(at("2026-11-21 12:00:00")));
        let times = [
            "2026-11-21 23:59:59",
            "2026-11-22 00:00:00",
            "2026-11-21 23:59:59.9",
            "2026-11-22 00:00:01",
            "2026-11-23 00:00:00",
        ];
        let lines: Vec<_> = times.iter().enumerate().map(|(n, time)| (10 * (n as u64 + 1), at(time))).collect();
        assert_eq!(schedule.lines_for(10, &lines), 3);
        schedule.begin(None);
        assert_eq!(schedule.lines_for(0, &lines[3..]), 1, "the new file holds the 22nd, and not the 23rd");
    }

    #[test]
    fn the_size_is_a_hard_limit_for_all_but_one_record_longer_than_it() {
        let time = at("2026-11-21 12:00:00");
        let lines = [(10, time), (20, time), (30, time)];
        // (size, length of the file, how many lines go in)
        let cases = [
            (100, 0, 3),
            (30, 0, 3),
            (29, 0, 2),
            (29, 1, 2),
            (29, 9, 2),
            (29, 10, 1),
            (29, 29, 0),
            (29, 100, 0),
            (9, 0, 1),
            (9, 1, 0),
            (1, 0, 1),
        ];
        for (size, len, count) in cases {
            let mut schedule = Schedule::new(Rotation::size(size), None);
            assert_eq!(schedule.lines_for(len, &lines), count, "size {size}, length {len}");
        }
    }

    #[test]
    fn size_and_time_together_split_where_the_first_of_them_says() {
        let (old, new) = (at("2026-11-21 23:59:59"), at("2026-11-22 00:00:00"));
        let lines = [(10, old), (20, old), (30, new)];
        for (size, count) in [(100, 2), (20, 2), (10, 1)] {
            let mut schedule = Schedule::new(Rotation::daily().or_size(size), None);
            schedule.begin(Some(old));
            assert_eq!(schedule.lines_for(0, &lines), count, "size {size}");
        }
    }

    #[test]
    fn the_period_of_a_file_that_was_there_is_that_of_its_last_record() {
        let mut schedule = Schedule::new(Rotation::daily(), None);
        let line = [(10, at("2026-11-22 00:00:00"))];
        schedule.begin(Some(at("2026-11-21 23:00:00")));
        assert_eq!(schedule.lines_for(10, &line), 0);
        schedule.begin(Some(at("2026-11-22 23:00:00")));
        assert_eq!(schedule.lines_for(10, &line), 1);
    }
}
