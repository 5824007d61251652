//! JSON: what must hold for every record, whatever the map of the fields.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::logged::{Given, Logged, misleads};
use crate::format::Format;

fn with_fields(format: Format) -> Format {
    format.thread().location().field("service.name", "shop \"A\"\n").field("service.version", 3)
}

/// A line as JSON; it must be one line for every reader, with no name twice in an object.
fn parse(record: &Logged, format: Format) -> Value {
    let line = record.line(format);
    let line = line.strip_suffix('\n').unwrap();
    assert!(!line.contains(misleads), "{line}");
    serde_json::from_str::<Strict>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    serde_json::from_str(line).unwrap()
}

/// A reader that refuses a name that stands twice.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Strict>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self, A::Error> {
        let mut names = HashMap::new();
        while let Some((name, Strict)) = object.next_entry::<String, Strict>()? {
            if names.insert(name.clone(), ()).is_some() {
                return Err(A::Error::custom(format!("{name:?} twice")));
            }
        }
        Ok(self)
    }
}

fn otel_record(line: &Value) -> &Value {
    &line["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
}

/// The attributes of OTLP/JSON as an object; no key may come twice.
fn attributes(list: &Value) -> HashMap<String, Value> {
    let list = list.as_array().unwrap();
    let pairs = list.iter().map(|one| (one["key"].as_str().unwrap().to_owned(), one["value"].clone()));
    let found: HashMap<_, _> = pairs.collect();
    assert_eq!(found.len(), list.len(), "a key twice in {list:?}");
    found
}

pub(crate) fn every_line_of_every_map_parses_and_gives_its_message_back(record: &Logged) {
    for options in [|format| format, with_fields] {
        let message = |format: fn() -> Format| parse(record, options(format()));
        assert_eq!(&message(Format::json)["message"], &record.message);
        assert_eq!(&message(Format::ecs)["message"], &record.message);
        assert_eq!(&message(Format::google_cloud)["message"], &record.message);
        let otel = message(Format::otel);
        assert_eq!(&otel_record(&otel)["body"]["stringValue"], &record.message);
        let gelf = message(Format::gelf);
        assert_eq!(gelf.get("full_message").unwrap_or(&gelf["short_message"]), &record.message);
        // Blank by Java's idea of it.
        let blank = |c: char| c.is_whitespace() || c.is_control();
        assert!(!gelf["short_message"].as_str().unwrap().chars().all(blank), "{}", gelf);
    }
}

pub(crate) fn every_key_value_of_the_plain_map_and_of_google_cloud_comes_back_with_its_type(record: &Logged) {
    assert_pairs(record, &parse(record, Format::json()), 4, |name, _| PLAIN.contains(&name), false);
    assert_pairs(record, &parse(record, Format::json().safe_integers()), 4, |name, _| PLAIN.contains(&name), true);
    let google = [
        "severity",
        "time",
        "timestamp",
        "timestampSeconds",
        "timestampNanos",
        "message",
        "target",
        "thread",
        "logging.googleapis.com/sourceLocation",
        "logging.googleapis.com/labels",
    ];
    let (number, name) = record.thread;
    let own = 4 + usize::from(number > 0 || name.is_some()) + usize::from(record.place.is_some());
    let is_taken = |name: &str, given: &Given| match name {
        "httpRequest" => !given.text().starts_with('{') || !is_structured(given),
        other => google.contains(&other),
    };
    // Ids of a trace get the names of Google's own; they are told in a test of their own.
    let mut record = record.clone();
    record.pairs.retain(|(key, _)| !["trace_id", "span_id", "trace_flags"].contains(&&**key));
    assert_pairs(&record, &parse(&record, Format::google_cloud()), own, is_taken, true);
}

fn is_structured(given: &Given) -> bool {
    match given {
        #[cfg(feature = "kv_serde")]
        Given::Structured(_) => true,
        _ => false,
    }
}

pub(crate) fn every_integer_stands_in_the_line_digit_by_digit(record: &Logged) {
    let line = record.line(Format::json());
    let texts: HashMap<String, &RawValue> = serde_json::from_str(&line).unwrap();
    for (name, given) in record.named(|c| c, |name, _| PLAIN.contains(&name.trim_start_matches("kv."))) {
        if let Given::I64(_) | Given::U64(_) | Given::I128(_) | Given::U128(_) = given {
            assert_eq!(texts[&name].get(), given.text());
        }
    }
}

pub(crate) fn every_key_value_of_ecs_comes_back_as_a_label_of_text(record: &Logged) {
    let mut expected = serde_json::Map::new();
    let letter = |c| if matches!(c, '.' | '*' | '\\') { '_' } else { c };
    for (name, value) in record.named(letter, |_, _| false) {
        let text = match &value {
            Given::Null => Value::Null,
            Given::F64(float) if float.is_finite() => serde_json::to_string(float).unwrap().into(),
            Given::F64(float) if float.is_nan() => "NaN".into(),
            Given::F64(float) if *float > 0.0 => "Infinity".into(),
            Given::F64(_) => "-Infinity".into(),
            other => other.text().into(),
        };
        expected.insert(name, text);
    }
    let line = parse(record, with_fields(Format::ecs()));
    let labels = line.get("labels").and_then(Value::as_object).cloned().unwrap_or_default();
    assert_eq!(labels, expected);
    assert_eq!(&line["event.dataset"], "shop \"A\"\n");
    let given = parse(record, with_fields(Format::ecs()).field("event.dataset", "mine"));
    assert_eq!(&given["event.dataset"], "mine");
    assert!(parse(record, Format::ecs()).get("event.dataset").is_none());
}

pub(crate) fn every_key_value_of_gelf_comes_back_as_a_text_or_as_a_number_that_graylog_can_hold(record: &Logged) {
    let kept = [
        "host",
        "id",
        "_id",
        "source",
        "message",
        "short_message",
        "full_message",
        "timestamp",
        "level",
        "streams",
        "target",
        "file",
        "line",
        "thread",
    ];
    let letter = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let line = parse(record, Format::gelf());
    for (name, given) in record.named(letter, |name, _| kept.contains(&name.trim_start_matches("kv."))) {
        let got = &line[format!("_{name}")];
        match &given {
            Given::F64(_) | Given::I64(_) => assert_given(got, &given),
            Given::U64(_) | Given::I128(_) | Given::U128(_) if given.text().parse::<i64>().is_ok() => {
                assert_eq!(got.as_i64().map(|got| got.to_string()), Some(given.text()));
            }
            other => assert_eq!(got, &other.text()),
        }
    }
}

pub(crate) fn every_key_value_of_otel_comes_back_with_its_type(record: &Logged) {
    let line = parse(record, with_fields(Format::otel()));
    let resource = attributes(&line["resourceLogs"][0]["resource"]["attributes"]);
    assert_eq!(&resource["service.name"]["stringValue"], "shop \"A\"\n");
    assert_eq!(&resource["service.version"]["intValue"], "3");
    let found = attributes(&otel_record(&line)["attributes"]);
    let is_taken = |name: &str| name == "code.file.path";
    for (name, given) in record.named(|c| c, |name, _| is_taken(name)) {
        if name == "trace_flags" && flags(&given).is_some() {
            assert_eq!(otel_record(&line)["flags"].as_u64(), flags(&given));
            continue;
        }
        let value = found.get(&name).unwrap_or_else(|| panic!("{name:?} is not in {line}"));
        match given {
            Given::Null => assert_eq!(value, &serde_json::json!({})),
            Given::Bool(given) => assert_eq!(&value["boolValue"], given),
            Given::F64(given) => assert_given(&value["doubleValue"], &Given::F64(given)),
            Given::Str(given) => assert_eq!(&value["stringValue"], &given),
            Given::Debug(_) => assert_eq!(&value["stringValue"], &given.text()),
            Given::Error(given) => {
                let texts: Vec<_> = given.messages().iter().map(|text| any_value(&Value::from(*text))).collect();
                assert_eq!(value["arrayValue"]["values"], Value::from(texts));
            }
            #[cfg(feature = "kv_serde")]
            Given::Structured(given) => assert_eq!(value, &any_value(&given)),
            integer => {
                let kind = if integer.text().parse::<i64>().is_ok() { "intValue" } else { "stringValue" };
                assert_eq!(&value[kind], &integer.text());
            }
        }
    }
}

pub(crate) fn the_names_in_gelf_and_in_the_labels_of_ecs_are_made_of_letters_that_are_allowed(record: &Logged) {
    let gelf = parse(record, with_fields(Format::gelf()));
    for (name, value) in gelf.as_object().unwrap() {
        let standard =
            ["version", "host", "short_message", "full_message", "timestamp", "level"].contains(&name.as_str());
        let rest = name.strip_prefix('_').unwrap_or(name);
        assert!(standard || name.starts_with('_'), "{name:?}");
        assert!(rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)), "{name:?}");
        assert!(name != "_id" && (value.is_string() || value.is_number()), "{name:?}: {value}");
    }
    let ecs = parse(record, with_fields(Format::ecs()));
    for name in ecs.get("labels").and_then(Value::as_object).into_iter().flat_map(|labels| labels.keys()) {
        assert!(!name.contains(['.', '*', '\\']), "{name:?}");
    }
}

const PLAIN: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The flags of a trace, where a value can be such.
fn flags(given: &Given) -> Option<u64> {
    match given {
        Given::Str(text) if text.len() == 2 => u8::from_str_radix(text, 16).ok().map(u64::from),
        Given::I64(_) | Given::U64(_) | Given::I128(_) | Given::U128(_) => {
            given.text().parse::<u8>().ok().map(u64::from)
        }
        _ => None,
    }
}

/// A value of JSON as OTLP/JSON says it.
fn any_value(value: &Value) -> Value {
    match value {
        Value::Null => serde_json::json!({}),
        Value::Bool(value) => serde_json::json!({ "boolValue": value }),
        Value::Number(number) if number.is_i64() => serde_json::json!({ "intValue": number.to_string() }),
        Value::Number(number) if number.is_u64() => serde_json::json!({ "stringValue": number.to_string() }),
        Value::Number(number) => serde_json::json!({ "doubleValue": number }),
        Value::String(text) => serde_json::json!({ "stringValue": text }),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(any_value).collect();
            serde_json::json!({ "arrayValue": { "values": values } })
        }
        Value::Object(members) => {
            let one = |(key, value)| serde_json::json!({ "key": key, "value": any_value(value) });
            let values: Vec<_> = members.iter().map(one).collect();
            serde_json::json!({ "kvlistValue": { "values": values } })
        }
    }
}

/// A value in which integers that a double cannot hold are strings.
#[cfg(feature = "kv_serde")]
fn safe(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(safe).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), safe(value))).collect(),
        Value::Number(number) if !number.is_f64() && is_unsafe(&number.to_string()) => number.to_string().into(),
        other => other.clone(),
    }
}

fn is_unsafe(digits: &str) -> bool {
    digits.parse::<i128>().map_or(true, |integer| integer.unsigned_abs() > 9_007_199_254_740_992)
}

/// Asserts that the key-values stand next to so many members of the format's own, with a prefix
/// where they meet one of them.
fn assert_pairs(
    record: &Logged,
    line: &Value,
    own: usize,
    is_taken: impl Fn(&str, &Given) -> bool,
    safe_integers: bool,
) {
    let object = line.as_object().unwrap();
    let is_taken = |name: &str, given: &Given| {
        let key = name.trim_start_matches("kv.");
        is_taken(key, if key == name { given } else { &Given::Null })
    };
    let expected = record.named(|c| c, is_taken);
    assert_eq!(object.len(), own + expected.len(), "{line}");
    for (name, given) in &expected {
        let got = object.get(name).unwrap_or_else(|| panic!("{name:?} is not in {line}"));
        match given {
            Given::I64(_) | Given::U64(_) | Given::I128(_) | Given::U128(_)
                if safe_integers && is_unsafe(&given.text()) =>
            {
                assert_eq!(got, &given.text());
            }
            #[cfg(feature = "kv_serde")]
            Given::Structured(given) if safe_integers => assert_eq!(got, &safe(given)),
            _ => assert_given(got, given),
        }
    }
}

fn assert_given(got: &Value, given: &Given) {
    match given {
        Given::Null => assert!(got.is_null(), "{got}"),
        Given::Bool(given) => assert_eq!(got, given),
        Given::I64(given) => assert_eq!(got, given),
        Given::U64(given) => assert_eq!(got, given),
        // serde_json reads what does not fit 64 bits as a float; see
        // `every_integer_stands_in_the_line_digit_by_digit`.
        Given::I128(given) => assert_eq!(got.as_f64(), Some(*given as f64), "{got}"),
        Given::U128(given) => assert_eq!(got.as_f64(), Some(*given as f64), "{got}"),
        Given::F64(given) if given.is_nan() => assert_eq!(got, "NaN"),
        Given::F64(given) if given.is_infinite() => {
            assert_eq!(got, if *given > 0.0 { "Infinity" } else { "-Infinity" })
        }
        Given::F64(given) => assert_eq!(got.as_f64(), Some(*given), "{got}"),
        Given::Str(_) | Given::Debug(_) => assert_eq!(got, &given.text()),
        Given::Error(failure) => assert_eq!(got, &Value::from(failure.messages())),
        #[cfg(feature = "kv_serde")]
        Given::Structured(given) => assert_eq!(got, given),
    }
}
