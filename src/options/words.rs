//! The values of options as words: `drop_newest`, `every=5s`, `daily size=100MiB`. Pure.
//!
//! These are the words of a configuration file, so that an option may also come from the command
//! line or the environment.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::ParseOptionError;
use crate::queue::Overflow;
use crate::sink::console::Color;
use crate::sink::log_file::{Fsync, WhenLow};
use crate::sink::rotation::{Period, Rotation};

use super::units::{duration_text, parse_duration, parse_size, size_text};

fn error(text: &str, expected: &'static str) -> ParseOptionError {
    ParseOptionError { text: text.to_owned(), expected }
}

/// Returns the time in `key=5s`.
fn time_of(text: &str, key: &str) -> Option<std::time::Duration> {
    text.strip_prefix(key)?.trim_start().strip_prefix('=').and_then(parse_duration)
}

/// Reads `drop_newest`, `drop_oldest`, `block` or `block_at_most=50ms`.
///
/// ```
/// use unfazed::Overflow;
///
/// let overflow: Overflow = "block_at_most=50ms".parse()?;
/// assert_eq!(overflow, Overflow::BlockAtMost(std::time::Duration::from_millis(50)));
/// assert_eq!(overflow.to_string(), "block_at_most=50ms");
/// # Ok::<(), unfazed::ParseOptionError>(())
/// ```
impl FromStr for Overflow {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Self, ParseOptionError> {
        match text.trim() {
            "drop_newest" => Ok(Overflow::DropNewest),
            "drop_oldest" => Ok(Overflow::DropOldest),
            "block" => Ok(Overflow::Block),
            word => time_of(word, "block_at_most").map(Overflow::BlockAtMost).ok_or_else(|| {
                error(text, "`drop_newest`, `drop_oldest`, `block` or a time, as in `block_at_most=50ms`")
            }),
        }
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Overflow::DropNewest => f.write_str("drop_newest"),
            Overflow::DropOldest => f.write_str("drop_oldest"),
            Overflow::Block => f.write_str("block"),
            Overflow::BlockAtMost(at_most) => write!(f, "block_at_most={}", duration_text(*at_most)),
        }
    }
}

/// Reads `never`, `after_errors` or `every=5s`.
///
/// ```
/// use unfazed::Fsync;
///
/// assert_eq!("every=5s".parse(), Ok(Fsync::Every(std::time::Duration::from_secs(5))));
/// assert_eq!(Fsync::AfterErrors.to_string(), "after_errors");
/// ```
impl FromStr for Fsync {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Self, ParseOptionError> {
        match text.trim() {
            "never" => Ok(Fsync::Never),
            "after_errors" => Ok(Fsync::AfterErrors),
            word => time_of(word, "every")
                .map(Fsync::Every)
                .ok_or_else(|| error(text, "`never`, `after_errors` or a time, as in `every=5s`")),
        }
    }
}

impl fmt::Display for Fsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fsync::Never => f.write_str("never"),
            Fsync::AfterErrors => f.write_str("after_errors"),
            Fsync::Every(time) => write!(f, "every={}", duration_text(*time)),
        }
    }
}

/// Reads `stop` or `delete_oldest`.
///
/// ```
/// assert_eq!("delete_oldest".parse(), Ok(unfazed::WhenLow::DeleteOldest));
/// ```
impl FromStr for WhenLow {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Self, ParseOptionError> {
        match text.trim() {
            "stop" => Ok(WhenLow::Stop),
            "delete_oldest" => Ok(WhenLow::DeleteOldest),
            _ => Err(error(text, "`stop` or `delete_oldest`")),
        }
    }
}

impl fmt::Display for WhenLow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WhenLow::Stop => "stop",
            WhenLow::DeleteOldest => "delete_oldest",
        })
    }
}

/// Reads `auto`, `always` or `never`.
///
/// ```
/// assert_eq!("never".parse(), Ok(unfazed::Color::Never));
/// ```
impl FromStr for Color {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Self, ParseOptionError> {
        match text.trim() {
            "auto" => Ok(Color::Auto),
            "always" => Ok(Color::Always),
            "never" => Ok(Color::Never),
            _ => Err(error(text, "`auto`, `always` or `never`")),
        }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Color::Auto => "auto",
            Color::Always => "always",
            Color::Never => "never",
        })
    }
}

const PERIODS: [(&str, Period); 5] = [
    ("minutely", Period::Every(Duration::from_secs(60))),
    ("hourly", Period::Every(Duration::from_secs(3600))),
    ("daily", Period::Day),
    ("weekly", Period::Week),
    ("monthly", Period::Month),
];

/// Reads `never`, or words: a period, a size, `local_time`, `on_start`.
///
/// ```
/// use unfazed::{MIB, Rotation};
///
/// let rotation: Rotation = "daily size=100MiB local_time".parse()?;
/// assert_eq!(rotation, Rotation::daily().or_size(100 * MIB).local_time());
/// assert_eq!(rotation.to_string(), "daily size=100MiB local_time");
/// # Ok::<(), unfazed::ParseOptionError>(())
/// ```
impl FromStr for Rotation {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Self, ParseOptionError> {
        let mut rotation = Rotation::never();
        let mut words = 0;
        for word in text.split_whitespace() {
            words += 1;
            rotation = match word {
                "never" => rotation,
                "local_time" => rotation.local_time(),
                "on_start" => rotation.on_start(),
                word if time_of(word, "every").is_some() => {
                    Rotation { every: time_of(word, "every").map(Period::Every), ..rotation }
                }
                word => match (PERIODS.iter().find(|(name, _)| *name == word), word.strip_prefix("size=")) {
                    (Some((_, period)), _) => Rotation { every: Some(*period), ..rotation },
                    (None, Some(size)) if parse_size(size).is_some() => Rotation { size: parse_size(size), ..rotation },
                    _ => return Err(error(text, ROTATION)),
                },
            };
        }
        if words == 0 { Err(error(text, ROTATION)) } else { Ok(rotation) }
    }
}

const ROTATION: &str = "`never`, or `minutely`, `hourly`, `daily`, `weekly`, `monthly` or `every=6h`, a size as in `size=100MiB`, \
                        `local_time`, `on_start`";

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |period| PERIODS.iter().find(|(_, named)| *named == period).map(|(name, _)| (*name).to_owned());
        let period = self.every.map(|period| match (name(period), period) {
            (Some(name), _) => name,
            (None, Period::Every(interval)) => format!("every={}", duration_text(interval).replace(' ', "")),
            (None, Period::Day | Period::Week | Period::Month) => String::new(), // they have names
        });
        let size = self.size.map(|size| format!("size={}", size_text(size)));
        let local_time = self.local_time.then(|| "local_time".to_owned());
        let on_start = self.on_start.then(|| "on_start".to_owned());
        let words: Vec<_> = [period, size, local_time, on_start].into_iter().flatten().collect();
        f.write_str(if words.is_empty() { "never".into() } else { words.join(" ") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::time::Duration;

    use super::*;

    fn is_read_back<T: FromStr<Err: Debug> + Display + Debug + PartialEq>(values: impl IntoIterator<Item = T>) {
        for value in values {
            assert_eq!(value.to_string().parse::<T>().unwrap(), value, "{value}");
        }
    }

    #[test]
    fn every_value_is_read_back_as_what_it_was() {
        let time = Duration::from_millis(1500);
        is_read_back([Overflow::DropNewest, Overflow::DropOldest, Overflow::Block, Overflow::BlockAtMost(time)]);
        is_read_back([Fsync::Never, Fsync::AfterErrors, Fsync::Every(time), Fsync::Every(Duration::ZERO)]);
        is_read_back([WhenLow::Stop, WhenLow::DeleteOldest]);
        is_read_back([Color::Auto, Color::Always, Color::Never]);
        let every = [Rotation::minutely(), Rotation::hourly(), Rotation::weekly(), Rotation::monthly()];
        is_read_back(every.into_iter().chain([
            Rotation::never(),
            Rotation::size(1),
            Rotation::every(Duration::from_secs(6 * 3600)).or_size(1),
            Rotation::every(Duration::from_secs(90 * 60)),
            Rotation::never().on_start(),
            Rotation::daily().or_size(5 << 30).local_time().on_start(),
        ]));
    }

    #[test]
    fn what_is_no_value_is_named_with_what_there_is() {
        let errors = [
            "wait".parse::<Overflow>().map(|_| ()),
            "block_at_most=soon".parse::<Overflow>().map(|_| ()),
            "every=0".parse::<Fsync>().map(|_| ()),
            "grow".parse::<WhenLow>().map(|_| ()),
            "red".parse::<Color>().map(|_| ()),
            "yearly".parse::<Rotation>().map(|_| ()),
            "daily size=much".parse::<Rotation>().map(|_| ()),
            "".parse::<Rotation>().map(|_| ()),
        ];
        for error in errors {
            let error = error.unwrap_err();
            assert!(error.to_string().contains(&format!("`{}`", error.text)), "{error}");
            assert!(error.to_string().contains("expected `"), "{error}");
        }
    }
}
