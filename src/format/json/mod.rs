//! JSON lines: one encoder, with a file for each map of the fields. serde_json escapes strings and
//! writes numbers. Runs on the writer's thread.

mod ecs;
mod gelf;
mod google_cloud;
mod nested;
mod otel;
mod plain;

use std::io;

use crate::record::{Fields, Record, Value};

use super::escape::{Text, may_mislead_in_json, none, push_json_str};
use super::names::Names;
use super::options::Options;
use super::thread;
use super::time::TimeText;

pub(super) use gelf::HOST;

/// Which fields a line has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Map {
    Plain,
    Otel,
    Ecs,
    Gelf,
    GoogleCloud,
}

impl Map {
    /// The names that a constant field may not have.
    pub(super) fn field_names(self, options: &Options) -> Names {
        match self {
            Map::Plain => plain::names(options),
            Map::Ecs => ecs::field_names(),
            Map::Gelf => gelf::field_names(),
            // There the constant fields are in a place of their own.
            Map::Otel | Map::GoogleCloud => Names::new(&[], as_it_is),
        }
    }
}

/// The JSON format with its options, decided once.
pub(super) struct Json {
    map: Map,
    thread: bool,
    location: bool,
    /// Integers that a double cannot hold are strings.
    safe_integers: bool,
    /// The constant fields, as each line has them.
    fields: Vec<u8>,
    /// How key-values are named.
    names: Names,
}

impl Json {
    pub(super) fn new(map: Map, options: &Options) -> Self {
        let constant = &options.fields;
        let (fields, names) = match map {
            Map::Plain => (plain::fields(constant, options.safe_integers), taking(plain::names(options), constant)),
            Map::Otel => (otel::fields(constant), otel::names()),
            Map::Ecs => (ecs::fields(constant), ecs::names()),
            Map::Gelf => (gelf::fields(constant), taking(gelf::names(), constant)),
            Map::GoogleCloud => (google_cloud::fields(constant), google_cloud::names()),
        };
        // Writing to memory does not fail.
        let fields = fields.unwrap_or_default();
        // Google keeps the payload in a `Struct`, whose numbers are doubles.
        let safe_integers = options.safe_integers || matches!(map, Map::GoogleCloud);
        Self { map, thread: options.thread, location: options.location, safe_integers, fields, names }
    }

    pub(super) fn line(&self, out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) -> io::Result<()> {
        match self.map {
            Map::Plain => self.plain(out, record, time),
            Map::Otel => self.otel(out, record),
            Map::Ecs => self.ecs(out, record, time),
            Map::Gelf => self.gelf(out, record),
            Map::GoogleCloud => self.google_cloud(out, record, time),
        }
    }

    /// Appends the key-values as members of an object that has others before them.
    fn push_pairs(&self, out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
        self.names.each(record.key_values(), |name, value| self.push_pair(out, name, value))
    }

    fn push_pair(&self, out: &mut Vec<u8>, name: &str, value: Value<'_>) -> io::Result<()> {
        push_member(out, name, value, self.safe_integers)
    }
}

fn taking(mut names: Names, fields: &Fields) -> Names {
    names.take(fields);
    names
}

/// Returns a letter of a key as it is, where a key may have any.
fn as_it_is(character: char) -> char {
    character
}

/// Returns constant fields as members of an object that has others before them.
fn members(fields: &Fields, safe_integers: bool) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let names = Names::new(&[], as_it_is);
    names.each(fields.pairs(), |name, value| push_member(&mut out, name, value, safe_integers))?;
    Ok(out)
}

fn push_member(out: &mut Vec<u8>, name: &str, value: Value<'_>, safe_integers: bool) -> io::Result<()> {
    out.push(b',');
    push_str(out, name)?;
    out.push(b':');
    match value {
        Value::Json(json) if safe_integers => nested::push_json(out, json, true),
        _ if safe_integers && !fits_double(value) => return push_as_str(out, value),
        _ => return push_value(out, value),
    }
    Ok(())
}

/// Returns whether each reader can hold the value: JavaScript, `jq` before 1.7 and Google Cloud
/// keep all numbers as doubles.
fn fits_double(value: Value<'_>) -> bool {
    match value {
        Value::I64(value) => is_safe(value.into()),
        Value::U64(value) => is_safe(value.into()),
        Value::I128(value) => is_safe(value),
        Value::U128(value) => i128::try_from(value).is_ok_and(is_safe),
        _ => true,
    }
}

fn is_safe(integer: i128) -> bool {
    integer.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS
}

fn push(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

fn push_str(out: &mut Vec<u8>, text: &(impl Text + ?Sized)) -> io::Result<()> {
    let bytes = text.bytes();
    // Most texts need no escape: to see that at once is cheaper than to look at byte after byte.
    if none(bytes, |byte| (byte < 0x20) | (byte == b'"') | (byte == b'\\') | may_mislead_in_json(byte)) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
        return Ok(());
    }
    if !none(bytes, may_mislead_in_json) {
        push_json_str(out, text.text());
        return Ok(());
    }
    Ok(serde_json::to_writer(out, text.text())?)
}

fn push_value(out: &mut Vec<u8>, value: Value<'_>) -> io::Result<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => serde_json::to_writer(out, &value)?,
        Value::I64(value) => serde_json::to_writer(out, &value)?,
        Value::U64(value) => serde_json::to_writer(out, &value)?,
        Value::I128(value) => serde_json::to_writer(out, &value)?,
        Value::U128(value) => serde_json::to_writer(out, &value)?,
        Value::F64(value) if value.is_finite() => serde_json::to_writer(out, &value)?,
        Value::F64(value) => push_str(out, no_number(value))?,
        Value::Str(value) => push_str(out, value)?,
        Value::Json(json) => nested::push_json(out, json, false),
        Value::Error(chain) => {
            let mut before = b'[';
            for message in chain {
                out.push(before);
                push_str(out, message)?;
                before = b',';
            }
            out.push(b']');
        }
    }
    Ok(())
}

/// Returns the text for a float that JSON has no number for; the names are those of protocol
/// buffers.
fn no_number(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// Appends the value as a string, whatever its type.
fn push_as_str(out: &mut Vec<u8>, value: Value<'_>) -> io::Result<()> {
    match value {
        Value::Str(text) | Value::Json(text) => push_str(out, text),
        Value::Error(chain) => push_str(out, &*chain.to_string()),
        Value::F64(float) if !float.is_finite() => push_value(out, value),
        _ => {
            out.push(b'"');
            push_value(out, value)?;
            out.push(b'"');
            Ok(())
        }
    }
}

/// Returns the value as an integer that fits 64 bits with a sign, which is all that many engines
/// have.
fn as_i64(value: Value<'_>) -> Option<i64> {
    match value {
        Value::I64(value) => Some(value),
        Value::U64(value) => i64::try_from(value).ok(),
        Value::I128(value) => i64::try_from(value).ok(),
        Value::U128(value) => i64::try_from(value).ok(),
        _ => None,
    }
}

/// Appends an integer of an `AnyValue`: of 64 bits with a sign, or its digits as a text.
fn push_integer_value(out: &mut Vec<u8>, digits: &str) {
    push(out, if digits.parse::<i64>().is_ok() { "\"intValue\":\"" } else { "\"stringValue\":\"" });
    push(out, digits);
    out.push(b'"');
}

/// The ids of a trace, as OpenTelemetry's own integrations with loggers name them.
const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";
const TRACE_FLAGS: &str = "trace_flags";

/// The ids of a trace that a record has among its key-values, for a line that has a place for them.
#[derive(Default)]
struct TraceIds<'a> {
    trace: Option<&'a str>,
    span: Option<&'a str>,
}

impl<'a> TraceIds<'a> {
    /// Takes a key-value that is one of the ids. Returns false if it is none.
    fn take(&mut self, name: &str, value: Value<'a>) -> bool {
        match (name, value) {
            (TRACE_ID, Value::Str(id)) if is_id(value, 16) => self.trace = Some(id),
            (SPAN_ID, Value::Str(id)) if is_id(value, 8) => self.span = Some(id),
            _ => return false,
        }
        true
    }

    /// Appends the ids, by these names, as members of an object that has others before them.
    fn push(&self, out: &mut Vec<u8>, trace: &str, span: &str) {
        for (name, id) in [(trace, self.trace), (span, self.span)] {
            if let Some(id) = id {
                for part in [",\"", name, "\":\"", id, "\""] {
                    push(out, part);
                }
            }
        }
    }
}

/// Returns the flags of a trace, given as a number or in hexadecimal digits.
fn trace_flags(value: Value<'_>) -> Option<u8> {
    match value {
        Value::Str(text) if text.len() == 2 => u8::from_str_radix(text, 16).ok(),
        _ => as_i64(value).and_then(|flags| u8::try_from(flags).ok()),
    }
}

/// Returns whether this is an id of `bytes` bytes in hexadecimal digits, and not zero, which stands
/// for none.
fn is_id(value: Value<'_>, bytes: usize) -> bool {
    let Value::Str(text) = value else { return false };
    text.len() == 2 * bytes
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0')
}
