//! What every format makes of records that are hard to write. Part of the crate's own test binary, because the time and the thread
//! of a record cannot be told by the public names.

mod awkward;
#[cfg(feature = "json")]
mod json;
mod lines;
#[cfg(feature = "json")]
mod snapshots;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, kv};
use proptest::prelude::*;

use crate::format::{Encoder, Format, LineBuf};
use crate::record::{Caller, OwnedRecord, Record};

/// 2026-11-21T09:30:00.123456Z.
fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_795_253_400, 123_456_789)
}

/// A record, as a program logs it.
#[derive(Clone, Debug)]
struct Logged {
    level: Level,
    target: String,
    place: Option<(&'static str, u32)>,
    thread: (u32, Option<&'static str>),
    message: String,
    pairs: Vec<(String, Given)>,
}

/// What a program can give as a value.
#[derive(Clone, Debug, PartialEq)]
enum Given {
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
    fn value(&self) -> kv::Value<'_> {
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
    fn text(&self) -> String {
        match self {
            Given::Null => "null".to_owned(),
            Given::F64(float) => format!("{float:?}"),
            other => other.value().to_string(),
        }
    }
}

impl Logged {
    fn message(message: &str) -> Self {
        Self {
            level: Level::Info,
            target: "app::db".to_owned(),
            place: Some(("src/db.rs", 42)),
            thread: (1, Some("main")),
            message: message.to_owned(),
            pairs: Vec::new(),
        }
    }

    fn pair(mut self, key: &str, value: Given) -> Self {
        self.pairs.push((key.to_owned(), value));
        self
    }

    /// The line that a format makes of it.
    fn line(&self, format: Format) -> String {
        let pairs: Vec<_> = self.pairs.iter().map(|(key, value)| (key.as_str(), value.value())).collect();
        let pairs = pairs.as_slice();
        let mut builder = log::Record::builder();
        builder.level(self.level).target(&self.target).key_values(&pairs);
        builder.file_static(self.place.map(|(file, _)| file)).line(self.place.map(|(_, line)| line));
        let (number, name) = self.thread;
        let caller = Caller { thread: number, name };
        let owned = OwnedRecord::capture(&builder.args(format_args!("{}", self.message)).build(), moment(), caller);
        let mut out = LineBuf::default();
        Encoder::new(format).line(&mut out, &Record::new(&owned, name)).unwrap();
        String::from_utf8(out.bytes().to_vec()).unwrap()
    }
}

/// A failure is told, not kept in a file: what it shows becomes a test of its own.
fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// What no format may let through: told another way than by the code.
fn misleads(character: char) -> bool {
    let number = u32::from(character);
    [0..=0x1f, 0x7f..=0x9f, 0x2028..=0x202e, 0x2066..=0x2069].iter().any(|range| range.contains(&number))
}

/// Any text, with what is hard to write more often than by chance.
fn any_text() -> impl Strategy<Value = String> {
    let hard: Vec<char> =
        "\0\n\r\t\u{b}\u{1b}\"\\=_.* {}[]:,'%\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}°–\u{feff}\u{fffd}\u{fffe}\u{ffff}é😀"
            .chars()
            .collect();
    let character = prop_oneof![prop::sample::select(hard), prop::char::range(' ', '~'), any::<char>()];
    prop::collection::vec(character, 0..60).prop_map(String::from_iter)
}

const KNOWN_KEYS: &[&str] = &[
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

/// Any key: often one that some format has for itself, or one that only just differs from another.
fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(KNOWN_KEYS).prop_map(str::to_owned), any_text()]
}

fn any_given() -> impl Strategy<Value = Given> {
    prop_oneof![
        Just(Given::Null),
        any::<bool>().prop_map(Given::Bool),
        any::<i64>().prop_map(Given::I64),
        any::<u64>().prop_map(Given::U64),
        any::<i128>().prop_map(Given::I128),
        any::<u128>().prop_map(Given::U128),
        prop::num::f64::ANY.prop_map(Given::F64),
        any_text().prop_map(Given::Str),
        prop::collection::vec(any::<Option<char>>(), 0..4).prop_map(Given::Debug),
    ]
}

/// Any message, blank ones more often than by chance.
fn any_message() -> impl Strategy<Value = String> {
    prop_oneof![9 => any_text(), 1 => "[ \t\n\u{1c}\u{85}\u{2003}\u{3000}]{0,3}"]
}

fn any_record() -> impl Strategy<Value = Logged> {
    let level = prop::sample::select(Level::iter().collect::<Vec<_>>());
    let place = prop::option::of(Just(("src/\"odd\" \\name\n.rs", 7)));
    let thread = prop::sample::select(vec![(0, None), (3, None), (4, Some("worker \"4\"\n=\u{1b}"))]);
    let pairs = prop::collection::vec((any_key(), any_given()), 0..20);
    (level, any_text(), place, thread, any_message(), pairs).prop_map(
        |(level, target, place, thread, message, pairs)| Logged { level, target, place, thread, message, pairs },
    )
}

#[test]
fn a_constant_field_with_a_name_of_the_format_is_an_error_that_names_it() {
    let cases = [
        (Format::logfmt(), "msg"),
        (Format::logfmt().place(), "file"),
        #[cfg(feature = "json")]
        (Format::json(), "message"),
        #[cfg(feature = "json")]
        (Format::ecs(), "log.level"),
        #[cfg(feature = "json")]
        (Format::gelf(), "id"),
        (Format::logfmt(), "kv.user"),
        #[cfg(feature = "json")]
        (Format::json(), "kv.level"),
        #[cfg(feature = "json")]
        (Format::gelf(), "kv.level"),
    ];
    for (format, key) in cases {
        let error = crate::Builder::new().file("never.log").format(format.field(key, 1)).build().unwrap_err();
        let said = format!("option `field` is `{key}`: it must be a name that the format does not write itself");
        assert!(error.to_string().starts_with(&said), "{error}");
    }
    for format in [Format::text().field("level", 1), Format::logfmt().field("file", 1)] {
        assert_eq!(format.bad_field(), None);
    }
}

#[cfg(feature = "json")]
#[test]
fn gelf_has_the_name_of_the_machine_unless_it_is_given_one() {
    let line = |format: Format| Logged::message("m").line(format.host(|| Some("of \"this\" machine".to_owned())));
    let machine = "{\"version\":\"1.1\",\"host\":\"of \\\"this\\\" machine\",\"short_message\":\"m\"";
    assert!(line(Format::gelf()).starts_with(machine));
    let given = "{\"version\":\"1.1\",\"host\":\"web-1\",\"short_message\":\"m\"";
    assert!(line(Format::gelf().field("host", "web-1")).starts_with(given));
    let blank = "{\"version\":\"1.1\",\"host\":\"localhost\",\"short_message\":\"m\"";
    assert!(line(Format::gelf().field("host", " ")).starts_with(blank), "Graylog refuses a blank one");
    assert!(!crate::os::host_name().unwrap_or_default().is_empty() || !cfg!(target_os = "linux"));
}

#[test]
fn a_custom_format_has_all_of_a_record_and_its_time_as_text() {
    use std::io::Write as _;

    let format = |local: bool| {
        let format = Format::custom(|line, record| {
            line.timestamp(record.time());
            let pairs: Vec<_> = record.key_values().collect();
            let place = (record.file(), record.line(), record.thread_number(), record.thread_name());
            writeln!(line, " {} {} {} {place:?} {pairs:?}", record.level(), record.target(), record.message())
        });
        if local { format.local_time() } else { format }
    };
    let record = Logged::message("m").pair("n", Given::I64(-1));
    let rest = "INFO app::db m (Some(\"src/db.rs\"), Some(42), 1, Some(\"main\")) [(\"n\", I64(-1))]\n";
    assert_eq!(record.line(format(false)), format!("2026-11-21T09:30:00.123456Z {rest}"));
    let local = record.line(format(true));
    let (time, local_rest) = local.split_once(' ').unwrap();
    assert_eq!(local_rest, rest);
    assert!(time.contains(".123456") && !time.ends_with('Z'), "{time}");
}
