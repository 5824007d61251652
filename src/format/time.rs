//! Times as text, by RFC 3339 or a pattern. What changes once a second is formatted once a second.
//! Runs on the writer's thread.

use std::fmt::{self, Write as _};
use std::io;
use std::str::FromStr;
use std::time::SystemTime;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, FixedOffset, Utc};

use crate::error::ParseOptionError;
use crate::unix_time::UnixTime;
use crate::zone::Zone;

use super::escape::misleads;

/// Says how a format writes the time of a record.
///
/// `FromStr` and `Display` use the words `off`, `s`, `ms`, `us`, `ns` and `elapsed`, or the pattern
/// itself. Where an option takes a `TimeStyle`, the same text does.
///
/// ```
/// use unfazed::{Format, TimeStyle};
///
/// let rfc_3339 = Format::json().time(TimeStyle::Millis);
/// let of_the_day = Format::text().local_time().time("%H:%M:%S%.3f");
/// # #[cfg(not(feature = "json"))] let _ = "`json`";
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeStyle {
    /// No time. Only in text and in patterns.
    Off,
    /// RFC 3339 with whole seconds: `2026-11-21T09:30:00Z`.
    Seconds,
    /// RFC 3339 with three digits after the second.
    Millis,
    /// RFC 3339 with six digits after the second. The default.
    #[default]
    Micros,
    /// RFC 3339 with nine digits after the second.
    Nanos,
    /// Seconds since the logger was built, as `12.345678s`. Only in text and in patterns.
    Elapsed,
    /// A pattern of `strftime`, as
    /// [`chrono`](https://docs.rs/chrono/latest/chrono/format/strftime/) reads it: `%H:%M:%S%.3f`.
    /// Only in text and in patterns. A pattern that cannot be read, or that writes more than one
    /// line, is an [`InitError`](crate::InitError).
    Pattern(String),
}

/// The words, and what they stand for.
const STYLES: [(&str, TimeStyle); 6] = [
    ("off", TimeStyle::Off),
    ("s", TimeStyle::Seconds),
    ("ms", TimeStyle::Millis),
    ("us", TimeStyle::Micros),
    ("ns", TimeStyle::Nanos),
    ("elapsed", TimeStyle::Elapsed),
];

pub(super) const STYLE_WORDS: &str = "`off`, `s`, `ms`, `us`, `ns`, `elapsed` or a pattern such as `%H:%M:%S%.3f`";

/// Reads a word, and everything else as a pattern, which is checked when the logger is built.
impl From<&str> for TimeStyle {
    fn from(text: &str) -> Self {
        let style = STYLES.into_iter().find(|(word, _)| *word == text);
        style.map_or_else(|| TimeStyle::Pattern(text.to_owned()), |(_, style)| style)
    }
}

/// ```
/// use unfazed::TimeStyle;
///
/// assert_eq!("ms".parse(), Ok(TimeStyle::Millis));
/// assert!("millis".parse::<TimeStyle>().is_err());
/// ```
impl FromStr for TimeStyle {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Self, ParseOptionError> {
        let style = Self::from(text);
        match style.is_usable() {
            true => Ok(style),
            false => Err(ParseOptionError { text: text.to_owned(), expected: STYLE_WORDS }),
        }
    }
}

impl fmt::Display for TimeStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeStyle::Pattern(pattern) => f.write_str(pattern),
            style => f.write_str(STYLES.iter().find(|(_, other)| other == style).map_or("", |(word, _)| word)),
        }
    }
}

impl TimeStyle {
    /// Returns whether a pattern can be read, says something of the time, and writes one line
    /// without characters that mislead.
    pub(super) fn is_usable(&self) -> bool {
        let TimeStyle::Pattern(pattern) = self else { return true };
        let items: Vec<Item<'_>> = StrftimeItems::new(pattern).collect();
        if items.iter().any(|item| matches!(item, Item::Error)) || !pattern.contains('%') {
            return false;
        }
        let mut text = String::new();
        let moment = DateTime::<Utc>::UNIX_EPOCH.format_with_items(items.iter());
        write!(text, "{moment}").is_ok() && !text.contains(misleads)
    }

    /// Returns the style where the schema wants RFC 3339.
    pub(super) fn rfc_3339(&self) -> Self {
        match self {
            TimeStyle::Off | TimeStyle::Elapsed | TimeStyle::Pattern(_) => TimeStyle::Micros,
            precision => precision.clone(),
        }
    }
}

/// How times are written.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeOptions {
    pub(super) style: TimeStyle,
    pub(super) is_local: bool,
    /// The local zone, once it is read.
    pub(super) zone: Option<Zone>,
    /// When the logger was built.
    pub(super) started: Option<SystemTime>,
}

impl TimeOptions {
    fn offset(&self, second: i64) -> Option<FixedOffset> {
        self.zone.as_ref().and_then(|zone| FixedOffset::east_opt(zone.offset(second)))
    }
}

/// Writes times as text, by its options.
#[derive(Debug, Default)]
pub(crate) struct TimeText {
    options: TimeOptions,
    /// The second that `text` belongs to.
    second: Option<i64>,
    /// That second as RFC 3339.
    text: Vec<u8>,
    /// Where the six digits of the microseconds are in `text`.
    micros: usize,
    pattern: Option<Pattern>,
}

/// A pattern at work.
#[derive(Debug, Default)]
struct Pattern {
    items: Vec<Item<'static>>,
    /// It writes parts of a second, and is laid out for each record.
    has_fraction: bool,
    /// The second that `text` belongs to.
    second: Option<i64>,
    text: String,
}

impl TimeText {
    pub(super) fn new(options: TimeOptions) -> Self {
        let pattern = match &options.style {
            TimeStyle::Pattern(pattern) => Some(Pattern::new(pattern)),
            _ => None,
        };
        Self { options, pattern, ..Self::default() }
    }

    pub(crate) fn write(&mut self, out: &mut Vec<u8>, time: UnixTime) {
        let digits = match &self.options.style {
            TimeStyle::Micros => 6,
            TimeStyle::Off => return,
            TimeStyle::Seconds => 0,
            TimeStyle::Millis => 3,
            TimeStyle::Nanos => 9,
            TimeStyle::Elapsed => return self.write_elapsed(out, time),
            TimeStyle::Pattern(_) => return self.write_pattern(out, time),
        };
        self.write_digits(out, time, digits);
    }

    /// Writes RFC 3339 with `digits` digits after the second, at most nine.
    pub(super) fn write_digits(&mut self, out: &mut Vec<u8>, time: UnixTime, digits: usize) {
        if self.second != Some(time.second) {
            self.set_second(time.second);
        }
        let micros_at = out.len() + self.micros;
        out.extend_from_slice(&self.text);
        if digits != 6 {
            // The point with its digits, and what follows them.
            let nanos = format!(".{:09}", time.nanos);
            let fraction = if digits == 0 { "" } else { &nanos[..=digits] };
            out.splice(micros_at - 1..micros_at + 6, fraction.bytes());
            return;
        }
        // Written after the copy: to copy what has just been stored byte by byte makes the
        // processor wait.
        if let Some(digits) = out.get_mut(micros_at..).and_then(<[u8]>::first_chunk_mut::<6>) {
            let mut rest = time.micros();
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }

    fn write_elapsed(&self, out: &mut Vec<u8>, time: UnixTime) {
        let time = SystemTime::from(time);
        let (sign, elapsed) = match time.duration_since(self.options.started.unwrap_or(time)) {
            Ok(elapsed) => ("", elapsed),
            // The clock was set back.
            Err(before) => ("-", before.duration()),
        };
        // Writing to memory does not fail.
        let (seconds, micros) = (elapsed.as_secs(), elapsed.subsec_micros());
        let _ = io::Write::write_fmt(out, format_args!("{sign}{seconds}.{micros:06}s"));
    }

    fn write_pattern(&mut self, out: &mut Vec<u8>, time: UnixTime) {
        let Some(pattern) = &mut self.pattern else { return };
        let UnixTime { second, nanos } = time;
        if pattern.has_fraction || pattern.second != Some(second) {
            pattern.text = pattern.laid_out(second, nanos, self.options.offset(second));
            pattern.second = Some(second);
        }
        out.extend_from_slice(pattern.text.as_bytes());
    }

    fn set_second(&mut self, second: i64) {
        self.second = Some(second);
        let offset = self.options.offset(second);
        let part = |pattern| calendar(second, 0, offset, &StrftimeItems::new(pattern).collect::<Vec<_>>());
        let (date, zone) = match (part("%Y-%m-%dT%H:%M:%S"), offset) {
            (Some(date), Some(_)) => (date, part("%:z").unwrap_or_default()),
            (Some(date), None) => (date, "Z".to_owned()),
            (None, _) => (seconds_alone(second), String::new()),
        };
        self.text = format!("{date}.000000{zone}").into_bytes();
        self.micros = date.len() + 1;
    }
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let items = StrftimeItems::new(pattern).map(Item::to_owned).collect();
        let this = Self { items, ..Self::default() };
        Self { has_fraction: this.laid_out(0, 0, None) != this.laid_out(0, 123_456_789, None), ..this }
    }

    fn laid_out(&self, second: i64, nanos: u32, offset: Option<FixedOffset>) -> String {
        calendar(second, nanos, offset, &self.items).unwrap_or_else(|| seconds_alone(second))
    }
}

/// Returns a time as a calendar shows it, if it is within the years that one knows.
fn calendar(second: i64, nanos: u32, offset: Option<FixedOffset>, items: &[Item<'_>]) -> Option<String> {
    let mut text = String::new();
    let utc = DateTime::<Utc>::from_timestamp(second, nanos)?;
    let written = match offset {
        Some(offset) => write!(text, "{}", utc.with_timezone(&offset).format_with_items(items.iter())),
        None => write!(text, "{}", utc.format_with_items(items.iter())),
    };
    // A pattern that cannot be laid out has not passed `TimeStyle::is_usable`.
    Some(if written.is_ok() { text } else { String::new() })
}

/// Returns the text of a time that no calendar knows: the seconds since 1970.
fn seconds_alone(second: i64) -> String {
    format!("@{second}")
}

/// Returns one time as text in UTC, for the crate's own lines.
pub(crate) fn utc_text(time: SystemTime) -> String {
    let mut bytes = Vec::new();
    TimeText::default().write(&mut bytes, time.into());
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

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

    fn written(options: TimeOptions, time: SystemTime) -> String {
        let mut out = Vec::new();
        TimeText::new(options).write(&mut out, time.into());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_style_has_its_text() {
        let time = UNIX_EPOCH + Duration::new(951_827_696, 123_456_789);
        let started = Some(UNIX_EPOCH + Duration::new(951_827_600, 500_000_000));
        let cases = [
            ("off", ""),
            ("s", "2000-02-29T12:34:56Z"),
            ("ms", "2000-02-29T12:34:56.123Z"),
            ("us", "2000-02-29T12:34:56.123456Z"),
            ("ns", "2000-02-29T12:34:56.123456789Z"),
            ("elapsed", "95.623456s"),
            ("%d.%m. %H:%M:%S%.3f", "29.02. 12:34:56.123"),
            ("%H:%M", "12:34"),
        ];
        for (word, text) in cases {
            let style: TimeStyle = word.parse().unwrap();
            assert_eq!(style.to_string(), word);
            assert_eq!(written(TimeOptions { style, started, ..TimeOptions::default() }, time), text);
        }
        let early = UNIX_EPOCH + Duration::new(951_827_600, 0);
        assert_eq!(
            written(TimeOptions { style: TimeStyle::Elapsed, started, ..TimeOptions::default() }, early),
            "-0.500000s"
        );
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_found() {
        for wrong in ["%", "%Q", "millis", "", "%H\n%M", "%H%n", "%t", "\u{1b}[31m%H", "%H\u{202e}"] {
            assert!(wrong.parse::<TimeStyle>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_pattern_without_parts_of_a_second_is_laid_out_once_a_second() {
        let mut text = TimeText::new(TimeOptions { style: "%S".into(), ..TimeOptions::default() });
        let mut out = Vec::new();
        for (second, milli) in [(0, 1), (0, 900), (1, 0), (59, 0)] {
            text.write(&mut out, UnixTime::from_nanos((second * 1000 + milli) * 1_000_000));
            // In between RFC 3339, as a custom format may want it.
            text.write_digits(&mut out, UnixTime::EPOCH, 0);
        }
        let date = "1970-01-01T00:00:00Z";
        assert_eq!(String::from_utf8(out).unwrap(), format!("00{date}00{date}01{date}59{date}"));
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
            text.write(&mut out, UnixTime { second, nanos: micro * 1000 });
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
        TimeText::new(TimeOptions { zone: Some(Zone::local()), ..TimeOptions::default() }).write(&mut out, time.into());
        let parsed = DateTime::parse_from_rfc3339(str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!(parsed.timestamp(), 1_700_000_000);
        assert!(out.ends_with(b":00") || out.ends_with(b":30") || out.ends_with(b":45"));
    }
}
