//! A format with its options, as it stands in a file. Runs on the thread that sets the logger up.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::error::ParseOptionError;
use crate::format::{self, Format};

use super::read::{WordOrTable, from_text};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FormatTable {
    kind: FormatName,
    #[serde(default)]
    local_time: bool,
    #[serde(default)]
    thread: bool,
    #[serde(default, alias = "place")]
    location: bool,
    #[serde(default)]
    multiline: bool,
    #[serde(default)]
    safe_integers: bool,
    #[serde(default)]
    fields: BTreeMap<String, Field>,
}

/// A format without its options.
struct FormatName(Format);

from_text!(FormatName, format::NAMES, |text| format::by_name(text).map(FormatName).ok_or(None), |_| None);

impl WordOrTable for Format {
    const EXPECTED: &'static str = "the name of a format, or a table with its `kind`";
    type Table = FormatTable;

    fn from_word(word: &str) -> Result<Self, Option<String>> {
        word.parse().map_err(|error: ParseOptionError| Some(error.to_string()))
    }

    fn from_table(table: FormatTable) -> Self {
        let mut format = table.kind.0;
        for (wanted, set) in [
            (table.local_time, Format::local_time as fn(Format) -> Format),
            (table.thread, Format::thread),
            (table.location, Format::location),
            (table.multiline, Format::multiline),
            (table.safe_integers, Format::safe_integers),
        ] {
            format = if wanted { set(format) } else { format };
        }
        for (key, field) in &table.fields {
            format = match field {
                Field::Bool(value) => format.field(key, value),
                Field::Integer(value) => format.field(key, value),
                Field::Float(value) => format.field(key, value),
                Field::Text(value) => format.field(key, value.as_str()),
            };
        }
        format
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a text, a number or a boolean")]
enum Field {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}
