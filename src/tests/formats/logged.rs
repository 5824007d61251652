//! A record, as a program logs it, and the line that a format makes of it.

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
        }
    }

    /// What stands in a format that knows strings only.
    pub(super) fn text(&self) -> String {
        match self {
            Given::Null => "null".to_owned(),
            Given::F64(float) => format!("{float:?}"),
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

    /// The line that a format makes of it.
    pub(super) fn line(&self, format: Format) -> String {
        let pairs: Vec<_> = self.pairs.iter().map(|(key, value)| (key.as_str(), value.value())).collect();
        let pairs = pairs.as_slice();
        let mut builder = log::Record::builder();
        builder.level(self.level).target(&self.target).key_values(&pairs);
        builder.file_static(self.place.map(|(file, _)| file)).line(self.place.map(|(_, line)| line));
        let (number, name) = self.thread;
        let caller = Caller { thread: number, name };
        let owned = OwnedRecord::capture(
            &builder.args(format_args!("{}", self.message)).build(),
            Stamp::Time(moment()),
            caller,
        );
        let mut out = LineBuf::default();
        Encoder::new(format).line(&mut out, &Record::new(&owned, moment(), name)).unwrap();
        String::from_utf8(out.bytes().to_vec()).unwrap()
    }
}
