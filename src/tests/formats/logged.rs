//! A record, as a program logs it, and the line that a format makes of it.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, kv};

use crate::clock::Stamp;
use crate::format::{Encoder, Format, LineBuf};
use crate::record::{Caller, OwnedRecord, Record};

/// 2026-11-21T09:30:00.123456Z.
pub(super) fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_795_253_400, 123_456_789)
}

/// Keys that some format has for itself, or that only just differ from another.
pub(crate) const KNOWN_KEYS: &[&str] = &[
    "level",
    "message",
    "msg",
    "ts",
    "timestamp",
    "target",
    "kv.level",
    "kv.kv.level",
    "id",
    "_id",
    "streams",
    "host",
    "time",
    "severity",
    "thread",
    "file",
    "line",
    "code.file.path",
    "labels",
    "a b",
    "a_b",
    "a.b",
    "a*b",
    "",
    "service.name",
    "größe",
    "grüße",
    "a\u{1}b",
    "a\u{2}b",
    "a\u{9b}b",
    "trace_id",
    "span_id",
    "trace_flags",
    "httpRequest",
    "logging.googleapis.com/trace",
];

/// What no format may let through: told another way than by the code.
pub(super) fn misleads(character: char) -> bool {
    let number = u32::from(character);
    [0..=0x1f, 0x7f..=0x9f, 0x2028..=0x202e, 0x2066..=0x2069].iter().any(|range| range.contains(&number))
}

/// A record, as a program logs it.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) place: Option<(&'static str, u32)>,
    pub(crate) thread: (u32, Option<&'static str>),
    pub(crate) message: String,
    pub(crate) pairs: Vec<(String, Given)>,
}

/// What a program can give as a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Given {
    Null,
    Bool(bool),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Str(String),
    Debug(Vec<Option<char>>),
    Error(Failure),
    /// A list or an object.
    #[cfg(feature = "kv_serde")]
    Structured(serde_json::Value),
}

/// An error with its sources.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    message: String,
    source: Option<Box<Failure>>,
}

impl Failure {
    /// The messages of the sources come after the error's own.
    pub(crate) fn new(message: &str, sources: &[String]) -> Self {
        let source = sources.split_first().map(|(message, sources)| Box::new(Self::new(message, sources)));
        Self { message: message.to_owned(), source }
    }

    pub(super) fn messages(&self) -> Vec<&str> {
        std::iter::successors(Some(self), |failure| failure.source.as_deref())
            .map(|failure| &*failure.message)
            .collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl Given {
    pub(super) fn value(&self) -> kv::Value<'_> {
        match self {
            Given::Null => kv::Value::null(),
            Given::Bool(value) => kv::Value::from(*value),
            Given::I64(value) => kv::Value::from(*value),
            Given::U64(value) => kv::Value::from(*value),
            Given::I128(value) => kv::Value::from(value),
            Given::U128(value) => kv::Value::from(value),
            Given::F64(value) => kv::Value::from(*value),
            Given::Str(value) => kv::Value::from(value.as_str()),
            Given::Debug(value) => kv::Value::from_debug(value),
            Given::Error(failure) => kv::Value::from_dyn_error(failure),
            #[cfg(feature = "kv_serde")]
            Given::Structured(value) => kv::Value::from_serde(value),
        }
    }

    /// What stands in a format that knows strings only.
    pub(super) fn text(&self) -> String {
        match self {
            Given::Null => "null".to_owned(),
            Given::F64(float) => format!("{float:?}"),
            Given::Error(failure) => failure.messages().join("; caused by: "),
            #[cfg(feature = "kv_serde")]
            Given::Structured(value) => value.to_string(),
            other => other.value().to_string(),
        }
    }
}

impl Logged {
    pub(super) fn message(message: &str) -> Self {
        Self {
            level: Level::Info,
            target: "app::db".to_owned(),
            place: Some(("src/db.rs", 42)),
            thread: (1, Some("main")),
            message: message.to_owned(),
            pairs: Vec::new(),
        }
    }

    pub(super) fn pair(mut self, key: &str, value: Given) -> Self {
        self.pairs.push((key.to_owned(), value));
        self
    }

    /// The names and values that a line is to have, by the documented rules, told another way than
    /// by the code: `letter` is what the format does to a character, `is_taken` says which names it
    /// has for itself.
    pub(super) fn named(
        &self,
        letter: impl Fn(char) -> char,
        is_taken: impl Fn(&str, &Given) -> bool,
    ) -> Vec<(String, Given)> {
        let mut pairs: Vec<(String, Given)> = Vec::new();
        for (key, value) in &self.pairs {
            pairs.retain(|(earlier, _)| earlier != key);
            pairs.push((key.clone(), value.clone()));
        }
        let name = |key: &str, value: &Given| {
            let name: String = if key.is_empty() { "_".to_owned() } else { key.chars().map(&letter).collect() };
            if is_taken(&name, value) { format!("kv.{name}") } else { name }
        };
        let exact: Vec<String> = pairs
            .iter()
            .map(|(key, _)| key.clone())
            .zip(&pairs)
            .filter(|(key, (_, value))| *key == name(key, value))
            .map(|(key, _)| key)
            .collect();
        let mut given = exact.clone();
        pairs
            .into_iter()
            .map(|(key, value)| {
                if exact.contains(&key) {
                    return (key, value);
                }
                let name = name(&key, &value);
                let numbered = (2..).map(|number| format!("{name}_{number}"));
                let mut free = std::iter::once(name.clone()).chain(numbered);
                let free = free.find(|name| !given.contains(name)).unwrap();
                given.push(free.clone());
                (free, value)
            })
            .collect()
    }

    /// The line that a format makes of it.
    pub(super) fn line(&self, format: Format) -> String {
        let pairs: Vec<_> = self.pairs.iter().map(|(key, value)| (key.as_str(), value.value())).collect();
        let pairs = pairs.as_slice();
        let mut builder = log::Record::builder();
        builder.level(self.level).target(&self.target).key_values(&pairs);
        builder.file_static(self.place.map(|(file, _)| file)).line(self.place.map(|(_, line)| line));
        let (number, name) = self.thread;
        let caller = Caller { thread: number, name };
        let owned =
            OwnedRecord::capture(&builder.args(format_args!("{}", self.message)).build(), Stamp::at(moment()), caller);
        let mut out = LineBuf::default();
        Encoder::new(format).line(&mut out, &Record::new(&owned, moment(), name)).unwrap();
        String::from_utf8(out.bytes().to_vec()).unwrap()
    }
}
