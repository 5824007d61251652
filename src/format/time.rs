//! Times as RFC 3339 text. What changes once a second is formatted once a second. Runs on the
//! writer's thread.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, FixedOffset, Utc};

use crate::zone::Zone;

/// `2026-11-21T09:30:00.123456Z`, or with the local offset `2026-11-21T10:30:00.123456+01:00`.
#[derive(Debug, Default)]
pub(crate) struct TimeText {
    /// `None`: UTC.
    zone: Option<Zone>,
    /// The second that `text` belongs to.
    second: Option<i64>,
    text: Vec<u8>,
    /// Where the six digits of the microseconds stand in `text`.
    micros: usize,
}

impl TimeText {
    pub(crate) fn new(zone: Option<Zone>) -> Self {
        Self { zone, ..Self::default() }
    }

    pub(crate) fn set_zone(&mut self, zone: Option<&Zone>) {
        let is_same = match (&self.zone, zone) {
            (Some(own), Some(zone)) => own.is(zone),
            (own, zone) => own.is_none() && zone.is_none(),
        };
        if !is_same {
            *self = Self::new(zone.cloned());
        }
    }

    pub(crate) fn write(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let (second, micros) = split(time);
        if self.second != Some(second) {
            self.set_second(second);
        }
        let micros_at = out.len() + self.micros;
        out.extend_from_slice(&self.text);
        // Written after the copy: to copy what has just been stored byte by byte makes the
        // processor wait.
        if let Some(digits) = out.get_mut(micros_at..).and_then(<[u8]>::first_chunk_mut::<6>) {
            let mut rest = micros;
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }

    /// With `digits` digits after the second, at most nine.
    pub(super) fn write_digits(&mut self, out: &mut Vec<u8>, time: SystemTime, digits: usize) {
        let (second, _) = split(time);
        if self.second != Some(second) {
            self.set_second(second);
        }
        let (date, offset) = self.text.split_at(self.micros - 1);
        out.extend_from_slice(date);
        if digits > 0 {
            let nanos = format!(".{:09}", nanos_of(time));
            out.extend_from_slice(&nanos.as_bytes()[..=digits]);
        }
        // After the point and its six digits.
        out.extend_from_slice(&offset[7..]);
    }

    fn set_second(&mut self, second: i64) {
        self.second = Some(second);
        let (date, offset) = match DateTime::<Utc>::from_timestamp(second, 0) {
            Some(utc) => match self.zone.as_ref().and_then(|zone| FixedOffset::east_opt(zone.offset(second))) {
                Some(offset) => {
                    let local = utc.with_timezone(&offset);
                    (local.format("%Y-%m-%dT%H:%M:%S").to_string(), local.format("%:z").to_string())
                }
                None => (utc.format("%Y-%m-%dT%H:%M:%S").to_string(), "Z".to_owned()),
            },
            // A clock outside the years that a calendar knows: the seconds since 1970, as they are.
            None => (format!("@{second}"), String::new()),
        };
        self.text = format!("{date}.000000{offset}").into_bytes();
        self.micros = date.len() + 1;
    }
}

/// Seconds since 1970, rounded down, and the microseconds after them.
pub(super) fn split(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_micros()),
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos().div_ceil(1000) {
                0 => (-seconds, 0),
                micros => (-seconds - 1, 1_000_000 - micros),
            }
        }
    }
}

/// The nanoseconds after the second that `split` gives.
fn nanos_of(time: SystemTime) -> u32 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.subsec_nanos(),
        Err(before) => (1_000_000_000 - before.duration().subsec_nanos()) % 1_000_000_000,
    }
}

/// Nanoseconds since 1970, as far as they can be counted; 0 for a time before.
#[cfg(feature = "json")]
pub(super) fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// One time as text in UTC, for the crate's own lines.
pub(crate) fn utc_text(time: SystemTime) -> String {
    let mut bytes = Vec::new();
    TimeText::default().write(&mut bytes, time);
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_read_as_rfc_3339_in_utc() {
        let cases = [
            (Duration::ZERO, "1970-01-01T00:00:00.000000Z"),
            (Duration::new(951_827_696, 123_456_789), "2000-02-29T12:34:56.123456Z"),
            (Duration::new(4_102_444_799, 999_999_999), "2099-12-31T23:59:59.999999Z"),
        ];
        for (since, text) in cases {
            assert_eq!(utc_text(UNIX_EPOCH + since), text);
        }
    }

    #[test]
    fn times_before_1970_count_backwards() {
        assert_eq!(utc_text(UNIX_EPOCH - Duration::from_micros(1)), "1969-12-31T23:59:59.999999Z");
        assert_eq!(utc_text(UNIX_EPOCH - Duration::from_secs(1)), "1969-12-31T23:59:59.000000Z");
    }

    #[test]
    fn a_time_that_no_calendar_knows_is_still_text() {
        let far = UNIX_EPOCH + Duration::from_secs(i64::MAX as u64 / 2);
        assert_eq!(utc_text(far), format!("@{}.000000", i64::MAX / 2));
    }

    #[test]
    fn a_cached_second_is_not_used_for_another_one() {
        let mut text = TimeText::default();
        let mut out = Vec::new();
        for (second, micro) in [(0, 1), (0, 2), (1, 0), (0, 3)] {
            text.write(&mut out, UNIX_EPOCH + Duration::new(second, micro * 1000));
            out.push(b' ');
        }
        let expected = "1970-01-01T00:00:00.000001Z 1970-01-01T00:00:00.000002Z \
                        1970-01-01T00:00:01.000000Z 1970-01-01T00:00:00.000003Z ";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn local_time_carries_its_offset_and_means_the_same_moment() {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut out = Vec::new();
        TimeText::new(Some(Zone::local())).write(&mut out, time);
        let parsed = DateTime::parse_from_rfc3339(str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!(parsed.timestamp(), 1_700_000_000);
        assert!(out.ends_with(b":00") || out.ends_with(b":30") || out.ends_with(b":45"));
    }
}
