//! The values that options have in a configuration: words, and small tables. Plain values; read on
//! the thread that sets the logger up.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::error::ParseOptionError;
use crate::format::Format;
use crate::queue::Overflow;
use crate::sink::console::Color;
use crate::sink::log_file::{Fsync, WhenLow};
use crate::sink::rotation::Rotation;

use super::read::{Count, Size, Time, WordOrTable, from_text, given, only_table, word_or_table};
use super::units::parse_duration;

/// A path as it is, without expansion by a shell.
#[derive(Clone, Debug, Default)]
pub(super) struct FilePath(pub(super) PathBuf);

impl FilePath {
    pub(super) fn read(text: &str) -> Result<Self, Option<String>> {
        let home = text.starts_with("~/") || text == "~";
        let variable = text.contains("$HOME") || text.contains("${");
        if home || variable {
            let what = if home { "`~`" } else { "a variable" };
            return Err(Some(format!("path `{text}`: {what} is not expanded, write the whole path")));
        }
        Ok(Self(text.into()))
    }
}

from_text!(FilePath, "a path", FilePath::read, |_| None);

/// The table `rate_limit`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateLimitConfig {
    pub(super) records: Count,
    pub(super) per: Time,
}

only_table!(RateLimitConfig, "a table, as in `{ records = 100, per = \"1m\" }`");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OverflowTable {
    block_at_most: Time,
}

impl WordOrTable for Overflow {
    const EXPECTED: &'static str = "`drop_newest`, `drop_oldest`, `block` or a table with `block_at_most`";
    type Table = OverflowTable;

    fn from_word(word: &str) -> Result<Self, Option<String>> {
        word.parse().map_err(|_| None)
    }

    fn from_table(table: OverflowTable) -> Self {
        Overflow::BlockAtMost(table.block_at_most.0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FsyncTable {
    every: Time,
}

impl WordOrTable for Fsync {
    const EXPECTED: &'static str = "`never`, `after_errors` or a table with `every`";
    type Table = FsyncTable;

    fn from_word(word: &str) -> Result<Self, Option<String>> {
        word.parse().map_err(|_| None)
    }

    fn from_table(table: FsyncTable) -> Self {
        Fsync::Every(table.every.0)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RotationTable {
    every: Option<Every>,
    size: Option<Size>,
    local_time: bool,
    on_start: bool,
}

/// The interval of a rotation.
#[derive(Clone, Copy, Debug)]
struct Every(Rotation);

from_text!(
    Every,
    "`minute`, `hour`, `day`, `week`, `month`, or a time as in `6h`",
    |text| match text {
        "minute" => Ok(Every(Rotation::minutely())),
        "hour" => Ok(Every(Rotation::hourly())),
        "day" => Ok(Every(Rotation::daily())),
        "week" => Ok(Every(Rotation::weekly())),
        "month" => Ok(Every(Rotation::monthly())),
        time => parse_duration(time).map(|interval| Every(Rotation::every(interval))).ok_or(None),
    },
    |_| None
);

impl WordOrTable for Rotation {
    const EXPECTED: &'static str = "`never`, `minutely`, `hourly`, `daily`, `weekly`, `monthly` or a table with `every`, `size`, `local_time`, `on_start`";
    type Table = RotationTable;

    fn from_word(word: &str) -> Result<Self, Option<String>> {
        word.parse().map_err(|_| None)
    }

    fn from_table(table: RotationTable) -> Self {
        let mut rotation = table.every.map_or(Rotation::never(), |every| every.0);
        rotation = given(rotation, table.size.map(|size| size.0), Rotation::or_size);
        rotation = if table.local_time { rotation.local_time() } else { rotation };
        if table.on_start { rotation.on_start() } else { rotation }
    }
}

from_text!(WhenLow, "`stop` or `delete_oldest`", |text| text.parse().map_err(|_: ParseOptionError| None), |_| None);
from_text!(Color, "`auto`, `always` or `never`", |text| text.parse().map_err(|_: ParseOptionError| None), |_| None);

/// Lets each of these public types be read from a configuration.
macro_rules! word_or_table {
    ($($name:ident)*) => {$(
        /// Reads the word, or the table, that a configuration file has for it. Needs the feature
        /// `serde`.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                word_or_table(deserializer)
            }
        }
    )*};
}

word_or_table!(Format Overflow Fsync Rotation);
