//! A format with its options, as it is in a file. Runs on the thread that sets the logger up.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::error::ParseOptionError;
use crate::format::{self, Format, TimeStyle};

use super::read::{WordOrTable, from_text, given};

/// A format with its options, whose names are those of the methods.
#[derive(Deserialize)]
#[serde(try_from = "Keys")]
pub(super) struct FormatTable(Format);

/// Either `kind` or `pattern` is there.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    kind: Option<FormatName>,
    pattern: Option<String>,
    time: Option<Style>,
    palette: Option<String>,
    local_time: bool,
    without_level: bool,
    without_target: bool,
    short_target: bool,
    thread: bool,
    location: bool,
    multiline: bool,
    safe_integers: bool,
    color_lines: bool,
    fields: BTreeMap<String, Field>,
}

impl TryFrom<Keys> for FormatTable {
    type Error = &'static str;

    fn try_from(keys: Keys) -> Result<Self, &'static str> {
        let mut format = match (keys.kind, &keys.pattern) {
            (Some(kind), None) => kind.0,
            (None, Some(pattern)) => Format::pattern(pattern),
            (Some(_), Some(_)) => return Err("`pattern` stands in the place of `kind`: give one of them"),
            (None, None) => return Err("missing field `kind`, or `pattern`"),
        };
        format = given(format, keys.time, |format, style| format.time(style.0));
        format = given(format, keys.palette.as_deref(), Format::palette);
        for (is_wanted, set) in [
            (keys.local_time, Format::local_time as fn(Format) -> Format),
            (keys.without_level, Format::without_level),
            (keys.without_target, Format::without_target),
            (keys.short_target, Format::short_target),
            (keys.thread, Format::thread),
            (keys.location, Format::location),
            (keys.multiline, Format::multiline),
            (keys.safe_integers, Format::safe_integers),
            (keys.color_lines, Format::color_lines),
        ] {
            format = if is_wanted { set(format) } else { format };
        }
        for (key, field) in &keys.fields {
            format = match field {
                Field::Bool(value) => format.field(key, value),
                Field::Integer(value) => format.field(key, value),
                Field::Unsigned(value) => format.field(key, value),
                Field::Float(value) => format.field(key, value),
                Field::Text(value) => format.field(key, value.as_str()),
            };
        }
        Ok(Self(format))
    }
}

/// How the time is written.
struct Style(TimeStyle);

from_text!(
    Style,
    "a style of the time",
    |text| text.parse().map(Style).map_err(|error: ParseOptionError| Some(error.to_string())),
    |_| None
);

/// A format without its options.
struct FormatName(Format);

from_text!(FormatName, format::NAMES, |text| format::by_name(text).map(FormatName).ok_or(None), |_| None);

impl WordOrTable for Format {
    const EXPECTED: &'static str = "the name of a format, or a table with its `kind` or `pattern`";
    type Table = FormatTable;

    fn from_word(word: &str) -> Result<Self, Option<String>> {
        word.parse().map_err(|error: ParseOptionError| Some(error.to_string()))
    }

    fn from_table(table: FormatTable) -> Self {
        table.0
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a text, a number or a boolean")]
enum Field {
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}
