//! A format as words: `json thread location`. Pure.

use std::fmt;
use std::str::FromStr;

use crate::error::ParseOptionError;

#[cfg(feature = "json")]
use super::Map;
use super::{Format, Layout};

/// The names of the formats that there are with the features of this build.
pub(crate) const NAMES: &str = if cfg!(feature = "json") {
    "text, logfmt, json, otel, ecs, gelf or google_cloud"
} else {
    "text or logfmt (the JSON formats need the feature `json`)"
};

/// A format by its name.
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

/// Reads the name of a format, and after it its options: `local_time`, `thread`, `location`,
/// `multiline`, `safe_integers`.
///
/// ```
/// let format: unfazed::Format = "logfmt thread local_time".parse()?;
/// assert_eq!(format.to_string(), "logfmt local_time thread");
/// # Ok::<(), unfazed::ParseOptionError>(())
/// ```
impl FromStr for Format {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Self, ParseOptionError> {
        let error = |expected| ParseOptionError { text: text.to_owned(), expected };
        let mut words = text.split_whitespace();
        let format = words.next().and_then(by_name).ok_or_else(|| error(NAMES))?;
        words.try_fold(format, |format, word| match word {
            "local_time" => Ok(format.local_time()),
            "thread" => Ok(format.thread()),
            "location" | "place" => Ok(format.location()),
            "multiline" => Ok(format.multiline()),
            "safe_integers" => Ok(format.safe_integers()),
            _ => {
                Err(error("after the format's name `local_time`, `thread`, `location`, `multiline` or `safe_integers`"))
            }
        })
    }
}

/// Writes the name and the options, without constant fields. A format of the program's own is
/// `custom`.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let options = &self.options;
        for (is_set, word) in [
            (options.local_time, "local_time"),
            (options.thread, "thread"),
            (options.location, "location"),
            (options.multiline, "multiline"),
            (options.safe_integers, "safe_integers"),
        ] {
            if is_set {
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
        for text in ["text", "text multiline", "logfmt local_time thread location"] {
            assert_eq!(text.parse::<Format>().unwrap().to_string(), text);
        }
        assert_eq!("text place".parse::<Format>().unwrap().to_string(), "text location", "the old name");
        for text in ["", "xml", "custom", "text threads"] {
            assert!(text.parse::<Format>().unwrap_err().to_string().contains(&format!("`{text}`")));
        }
    }
}
