//! How the values of a configuration file are read: from a word, a number or a table, with errors
//! that name what there is. Pure.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;
use std::time::Duration;

use log::LevelFilter;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

use super::units::{parse_duration, parse_size};

/// Lets a type be read from a text, or also from a number.
macro_rules! from_text {
    ($name:ident, $expected:expr, $text:expr, $number:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;

                impl Visitor<'_> for Reader {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        let read: fn(&str) -> Result<$name, Option<String>> = $text;
                        read(text).map_err(|why| match why {
                            Some(why) => E::custom(why),
                            None => E::invalid_value(Unexpected::Str(text), &self),
                        })
                    }

                    fn visit_u64<E: Error>(self, number: u64) -> Result<$name, E> {
                        let read: fn(u64) -> Option<$name> = $number;
                        read(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
                    }

                    fn visit_i64<E: Error>(self, number: i64) -> Result<$name, E> {
                        match u64::try_from(number) {
                            Ok(number) => self.visit_u64(number),
                            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                        }
                    }
                }

                deserializer.deserialize_any(Reader)
            }
        }
    };
}

pub(super) use from_text;

/// A value that may be written as one word, or as a table. Unlike an untagged enum it says which
/// key of the table is wrong.
pub(super) trait WordOrTable: Sized {
    const EXPECTED: &'static str;
    type Table;

    /// # Errors
    ///
    /// The fault, or nothing if `EXPECTED` says enough.
    fn from_word(word: &str) -> Result<Self, Option<String>>;

    fn from_table(table: Self::Table) -> Self;
}

/// Lets a type be read from a table alone. Without this serde takes a list for the table's values
/// in their order, and calls the table by its name in this crate.
macro_rules! only_table {
    ($name:ident, $expected:expr) => {
        impl WordOrTable for $name {
            const EXPECTED: &'static str = $expected;
            type Table = Self;

            fn from_word(_: &str) -> Result<Self, Option<String>> {
                Err(None)
            }

            fn from_table(table: Self) -> Self {
                table
            }
        }
    };
}

pub(super) use only_table;

/// Applies an option to `target`, if it is set.
pub(super) fn given<T, V>(target: T, value: Option<V>, set: impl FnOnce(T, V) -> T) -> T {
    match value {
        Some(value) => set(target, value),
        None => target,
    }
}

pub(super) fn word_or_table<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: WordOrTable<Table: Deserialize<'de>>,
    D: Deserializer<'de>,
{
    struct Either<T>(PhantomData<T>);

    impl<'de, T: WordOrTable<Table: Deserialize<'de>>> Visitor<'de> for Either<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::EXPECTED)
        }

        fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
            T::from_word(word).map_err(|why| match why {
                Some(why) => E::custom(why),
                None => E::invalid_value(Unexpected::Str(word), &self),
            })
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::Table::deserialize(MapAccessDeserializer::new(map)).map(T::from_table)
        }
    }

    deserializer.deserialize_any(Either(PhantomData))
}

/// A value in a list or in a table, which `word_or_table` reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct WordOr<T>(pub(super) T);

impl<'de, T: WordOrTable<Table: Deserialize<'de>>> Deserialize<'de> for WordOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word_or_table(deserializer).map(Self)
    }
}

/// `2s`, `500ms`, `30d`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) Duration);

/// A number of bytes, or `64 KiB`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

/// A number of records or files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(pub(super) usize);

/// `warn..=info`.
#[derive(Clone, Copy, Debug)]
pub(super) struct LevelRange(pub(super) (Bound<LevelFilter>, Bound<LevelFilter>));

impl LevelRange {
    fn read(text: &str) -> Option<Self> {
        let (from, to) = text.split_once("..")?;
        let bound = |text: &str, bound: fn(LevelFilter) -> Bound<LevelFilter>| match text.trim() {
            "" => Some(Bound::Unbounded),
            level => level.parse().ok().map(bound),
        };
        let to = match to.strip_prefix('=') {
            Some(to) if to.trim().is_empty() => return None,
            Some(to) => bound(to, Bound::Included)?,
            None => bound(to, Bound::Excluded)?,
        };
        Some(Self((bound(from, Bound::Included)?, to)))
    }
}

/// `0640`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode(pub(super) u32);

/// `www-data`, or `33`.
#[derive(Clone, Debug)]
pub(super) struct Account(pub(super) String);

from_text!(Account, "the name or the number of a user or a group", |text| Ok(Account(text.to_owned())), |number| Some(
    Account(number.to_string())
));
from_text!(Count, "a whole number from 0 on", |text| text.parse().map(Count).map_err(|_| None), |number| number
    .try_into()
    .ok()
    .map(Count));
from_text!(
    Time,
    "a time with its unit, as in `2s`, `500ms` or `30d`",
    |text| parse_duration(text).map(Time).ok_or(None),
    |_| None
);
from_text!(
    LevelRange,
    "a range of levels, as in `warn..=info` or `..=error`",
    |text| LevelRange::read(text).ok_or(None),
    |_| None
);
from_text!(
    Size,
    "a number of bytes, as in `1048576`, `64 KiB` or `10MB`",
    |text| parse_size(text).map(Size).ok_or(None),
    |number| Some(Size(number))
);
from_text!(
    Mode,
    "permissions as octal text in quotes, as in \"0640\"",
    |text| match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
        Ok(mode) if !text.contains('+') => Ok(Mode(mode)),
        _ => Err(None),
    },
    |_| None
);
