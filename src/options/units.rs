//! Sizes and times as people write them: `64 KiB`, `10MB`, `30d`, `1h 30m`. Pure.
//!
//! The maintained crates (`humantime`; `parse-size` or `bytesize`) would be two more for every
//! program, because the options are read from text without any feature.

use std::time::Duration;

/// The units of sizes. A letter alone is binary, as for logrotate and journald.
const BYTES: &[(&str, u128)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
];

const SECOND: u128 = 1_000_000_000;
const DAY: u128 = 86_400 * SECOND;

/// The units of times, in nanoseconds.
const NANOS: &[(&[&str], u128)] = &[
    (&["y", "year", "years"], 36_525 * DAY / 100),
    (&["month", "months"], 3_044 * DAY / 100),
    (&["w", "week", "weeks"], 7 * DAY),
    (&["d", "day", "days"], DAY),
    (&["h", "hr", "hour", "hours"], 3_600 * SECOND),
    (&["m", "min", "mins", "minute", "minutes"], 60 * SECOND),
    (&["s", "sec", "secs", "second", "seconds"], SECOND),
    (&["ms", "msec", "millis"], SECOND / 1_000),
    (&["us", "µs", "usec", "micros"], SECOND / 1_000_000),
    (&["ns", "nsec", "nanos"], 1),
];

/// Reads a number of bytes, with or without a unit.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim());
    let unit = unit.trim().to_ascii_lowercase();
    let (_, bytes) = BYTES.iter().find(|(name, _)| *name == unit)?;
    if *bytes == 1 && number.contains('.') {
        return None;
    }
    u64::try_from(scaled(number, *bytes)?).ok()
}

/// Writes a number of bytes with the largest binary unit that divides it.
pub(crate) fn size_text(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes > 0 && bytes % unit == 0) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Reads a time: one or more numbers, each with its unit.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut nanos = None::<u128>;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let after = after.trim_start();
        let unit = after.split(|c: char| !c.is_alphabetic()).next()?;
        let (_, unit_nanos) = NANOS.iter().find(|(names, _)| names.contains(&unit))?;
        nanos = Some(nanos.unwrap_or(0).checked_add(scaled(number, *unit_nanos)?)?);
        rest = after[unit.len()..].trim_start();
    }
    let nanos = nanos?;
    Some(Duration::new(u64::try_from(nanos / SECOND).ok()?, (nanos % SECOND) as u32))
}

/// Writes a time by its units, the largest first: `1h 30m`.
pub(crate) fn duration_text(time: Duration) -> String {
    let mut rest = time.as_nanos();
    let mut parts = Vec::new();
    for (names, nanos) in NANOS.iter().skip(3) {
        if rest >= *nanos {
            parts.push(format!("{}{}", rest / nanos, names[0]));
            rest %= nanos;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// Returns a decimal number times a unit, rounded down.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse::<u128>().ok()?;
    Some(digits.checked_mul(unit)? / 10u128.pow(fraction.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("7 B", Some(7)),
            ("64 KiB", Some(64 << 10)),
            ("10MB", Some(10_000_000)),
            ("10 mb", Some(10_000_000)),
            ("1.5 GiB", Some(3 << 29)),
            ("0.5kB", Some(500)),
            ("100M", Some(100 << 20)),
            (" 2TiB ", Some(2 << 40)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999999 GiB", None),
            ("1.5", None),
            ("1. GiB", None),
            (".5 GiB", None),
            ("1.2.3 GiB", None),
            ("GiB", None),
            ("", None),
            ("-1", None),
            ("1 PiB", None),
            ("1 KiB 1", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, time) in [
            ("0s", Some(Duration::ZERO)),
            ("2s", Some(Duration::from_secs(2))),
            ("500ms", Some(Duration::from_millis(500))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("1h 30m", Some(Duration::from_secs(5400))),
            ("1h30min", Some(Duration::from_secs(5400))),
            ("30d", Some(Duration::from_secs(30 * 86_400))),
            ("30 days", Some(Duration::from_secs(30 * 86_400))),
            ("2w", Some(Duration::from_secs(14 * 86_400))),
            ("3µs", Some(Duration::from_micros(3))),
            ("18446744073709551615s", Some(Duration::from_secs(u64::MAX))),
            ("18446744073709551616s", None),
            ("2", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1h 30", None),
            ("1 fortnight", None),
        ] {
            assert_eq!(parse_duration(text), time, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bytes in [0, 1, 1000, 1024, 3 << 20, 5 << 30, u64::MAX] {
            assert_eq!(parse_size(&size_text(bytes)), Some(bytes));
        }
        assert_eq!((size_text(100 << 20), size_text(1500)), ("100MiB".into(), "1500".into()));
        for time in [0, 1, 999, 1_500_000_000, 5_400_000_000_000, 90_061_001_002_003].map(Duration::from_nanos) {
            assert_eq!(parse_duration(&duration_text(time)), Some(time));
        }
        assert_eq!(parse_duration(&duration_text(Duration::MAX)), Some(Duration::MAX));
        assert_eq!(duration_text(Duration::from_millis(5_400_050)), "1h 30m 50ms");
    }
}
