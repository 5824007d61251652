//! A format as words: `json thread location`. Pure.

use std::fmt;
use std::str::FromStr;

use crate::error::ParseOptionError;

#[cfg(feature = "json")]
use super::Map;
use super::options::Options;
use super::pattern::GRAMMAR;
use super::{Format, Layout, TimeStyle};

/// The names of the formats that there are with the features of this build.
pub(crate) const NAMES: &str = if cfg!(feature = "json") {
    "text, logfmt, json, otel, ecs, gelf, google_cloud, or `pattern` and a pattern"
} else {
    "text, logfmt, or `pattern` and a pattern (the JSON formats need the feature `json`)"
};

/// Returns a format by its name.
pub(crate) fn by_name(name: &str) -> Option<Format> {
    match name {
        "text" => Some(Format::text()),
        "logfmt" => Some(Format::logfmt()),
        #[cfg(feature = "json")]
        "json" => Some(Format::json()),
        #[cfg(feature = "json")]
        "otel" => Some(Format::otel()),
        #[cfg(feature = "json")]
        "ecs" => Some(Format::ecs()),
        #[cfg(feature = "json")]
        "gelf" => Some(Format::gelf()),
        #[cfg(feature = "json")]
        "google_cloud" => Some(Format::google_cloud()),
        _ => None,
    }
}

/// A word, the method that it stands for, and whether the option is set.
type Word = (&'static str, fn(Format) -> Format, fn(&Options) -> bool);

/// The options that are words, as the methods of `Format` are called.
const WORDS: [Word; 9] = [
    ("local_time", Format::local_time, |options| options.time.is_local),
    ("without_level", Format::without_level, |options| options.without_level),
    ("without_target", Format::without_target, |options| options.without_target),
    ("short_target", Format::short_target, |options| options.short_target),
    ("thread", Format::thread, |options| options.thread),
    ("location", Format::location, |options| options.location),
    ("multiline", Format::multiline, |options| options.multiline),
    ("safe_integers", Format::safe_integers, |options| options.safe_integers),
    ("color_lines", Format::color_lines, |options| options.colors.whole_line),
];

const EXPECTED_WORD: &str = "after the format's name `local_time`, `time=` with its style, `without_level`, `without_target`, \
     `short_target`, `thread`, `location`, `multiline`, `safe_integers` or `color_lines`";

/// Reads the name of a format, and after it its options: `local_time`, `time=ms`, `without_level`,
/// `without_target`, `short_target`, `thread`, `location`, `multiline`, `safe_integers`,
/// `color_lines`. What follows `pattern` is a pattern.
///
/// ```
/// let format: unfazed::Format = "logfmt thread local_time".parse()?;
/// assert_eq!(format.to_string(), "logfmt local_time thread");
///
/// let format: unfazed::Format = "pattern {level} {message}".parse()?;
/// # Ok::<(), unfazed::ParseOptionError>(())
/// ```
impl FromStr for Format {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Self, ParseOptionError> {
        let error = |expected| ParseOptionError { text: text.to_owned(), expected };
        if let Some(pattern) = text.strip_prefix("pattern ") {
            let format = Self::pattern(pattern);
            return format.check().map(|()| format).map_err(|_| error(GRAMMAR));
        }
        let mut words = text.split_whitespace();
        let format = words.next().and_then(by_name).ok_or_else(|| error(NAMES))?;
        words.try_fold(format, |format, word| {
            if let Some(style) = word.strip_prefix("time=") {
                return Ok(format.time(style.parse::<TimeStyle>().map_err(|why| error(why.expected))?));
            }
            let known = WORDS.iter().find(|(name, _, _)| *name == word);
            known.map(|(_, set, _)| set(format)).ok_or_else(|| error(EXPECTED_WORD))
        })
    }
}

/// Writes the name and the options, without constant fields, palette, and a pattern of the time
/// that has a space. A format of the program's own is `custom`; a pattern follows `pattern`,
/// without options.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Layout::Pattern(pattern) = &self.layout {
            return write!(f, " {pattern}");
        }
        let style = self.options.time.style.to_string();
        if self.options.time.style != TimeStyle::default() && !style.contains(char::is_whitespace) {
            write!(f, " time={style}")?;
        }
        for (word, _, is_set) in WORDS {
            if is_set(&self.options) {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}

impl Format {
    pub(crate) fn name(&self) -> &'static str {
        match &self.layout {
            Layout::Text => "text",
            #[cfg(feature = "json")]
            Layout::Json(map) => match map {
                Map::Plain => "json",
                Map::Otel => "otel",
                Map::Ecs => "ecs",
                Map::Gelf => "gelf",
                Map::GoogleCloud => "google_cloud",
            },
            Layout::Logfmt => "logfmt",
            Layout::Pattern(_) => "pattern",
            #[cfg(all(feature = "syslog", unix))]
            Layout::Syslog(_) => "syslog",
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Layout::Journal(_) => "journald",
            Layout::Custom(_) => "custom",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read_back_as_what_it_was() {
        for text in [
            "text",
            "text multiline",
            "logfmt local_time thread location",
            "text time=%H:%M without_level without_target short_target color_lines",
            "logfmt time=ms safe_integers",
            "pattern {time} {level:5} {{x}} {message} {kv}",
        ] {
            assert_eq!(text.parse::<Format>().unwrap().to_string(), text);
        }
        for text in ["", "xml", "custom", "text threads", "text time=millis", "pattern {lvel}", "pattern"] {
            assert!(text.parse::<Format>().unwrap_err().to_string().contains(&format!("`{text}`")));
        }
    }
}
