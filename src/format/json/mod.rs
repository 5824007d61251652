//! JSON lines: one encoder, with a file for each map of the fields. serde_json escapes strings and
//! writes numbers. Runs on the writer's thread.

mod ecs;
mod gelf;
mod google_cloud;
mod otel;
mod plain;

use std::io;

use crate::record::{Record, Value};

use super::escape::{may_mislead_in_json, none, push_json_str};
use super::names::Names;
use super::time::TimeText;
use super::{Fields, Options, thread};

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
            // There they stand in a place of their own.
            Map::Otel | Map::GoogleCloud => Names::new(&[], as_it_is),
        }
    }
}

/// The JSON format with its options, decided once.
pub(super) struct Json {
    map: Map,
    thread: bool,
    location: bool,
    /// The constant fields, as they stand in each line.
    fields: Vec<u8>,
    /// How key-values are named.
    names: Names,
}

impl Json {
    pub(super) fn new(map: Map, options: &Options) -> Self {
        let constant = &options.fields;
        let (fields, names) = match map {
            Map::Plain => (plain::fields(constant), taking(plain::names(options), constant)),
            Map::Otel => (otel::fields(constant), otel::names()),
            Map::Ecs => (ecs::fields(constant), ecs::names()),
            Map::Gelf => (gelf::fields(constant), taking(gelf::names(), constant)),
            Map::GoogleCloud => (google_cloud::fields(constant), google_cloud::names()),
        };
        // Writing to memory does not fail.
        let fields = fields.unwrap_or_default();
        Self { map, thread: options.thread, location: options.location, fields, names }
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

    /// The key-values as members of an object that has others before them.
    fn push_pairs(&self, out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
        self.names.each_once(record.key_values(), |key, value| {
            out.push(b',');
            push_name(out, self.names.prefix(key), key)?;
            out.push(b':');
            push_value(out, value)
        })
    }
}

fn taking(mut names: Names, fields: &Fields) -> Names {
    names.take(fields);
    names
}

/// A letter of a key, where a key may have any.
fn as_it_is(byte: u8) -> u8 {
    byte
}

/// Constant fields as members of an object that has others before them.
fn members(fields: &Fields) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Names::new(&[], as_it_is).each_once(fields.pairs(), |key, value| {
        out.push(b',');
        push_str(&mut out, key)?;
        out.push(b':');
        push_value(&mut out, value)
    })?;
    Ok(out)
}

fn push(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

fn push_str(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    // Most texts need no escape: to see that at once is cheaper than to look at byte after byte.
    if none(text.as_bytes(), |byte| (byte < 0x20) | (byte == b'"') | (byte == b'\\') | may_mislead_in_json(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return Ok(());
    }
    if !none(text.as_bytes(), may_mislead_in_json) {
        push_json_str(out, text);
        return Ok(());
    }
    Ok(serde_json::to_writer(out, text)?)
}

/// The name of a member: a key after a prefix that needs no escape.
fn push_name(out: &mut Vec<u8>, prefix: &str, key: &str) -> io::Result<()> {
    let start = out.len();
    push_str(out, key)?;
    if !prefix.is_empty() {
        out.splice(start + 1..start + 1, prefix.bytes());
    }
    Ok(())
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
    }
    Ok(())
}

/// What stands for a float that JSON has no number for; the names are those of protocol buffers.
fn no_number(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// The value as a string, whatever its type: in quotes what stands without them otherwise.
fn push_as_str(out: &mut Vec<u8>, value: Value<'_>) -> io::Result<()> {
    let has_quotes = match value {
        Value::Str(_) => true,
        Value::F64(float) => !float.is_finite(),
        _ => false,
    };
    if has_quotes {
        return push_value(out, value);
    }
    out.push(b'"');
    push_value(out, value)?;
    out.push(b'"');
    Ok(())
}

/// The value as an integer that fits 64 bits with a sign, which is all that many engines have.
fn as_i64(value: Value<'_>) -> Option<i64> {
    match value {
        Value::I64(value) => Some(value),
        Value::U64(value) => i64::try_from(value).ok(),
        Value::I128(value) => i64::try_from(value).ok(),
        Value::U128(value) => i64::try_from(value).ok(),
        _ => None,
    }
}
