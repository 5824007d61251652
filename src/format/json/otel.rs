//! The OpenTelemetry log data model in OTLP/JSON, one `LogsData` to a line (OpenTelemetry Protocol
//! File Exporter). Runs on the writer's thread.
//!
//! OTLP/JSON is the JSON form of protocol buffers: 64-bit integers are strings, and a value says
//! which type it has.

use std::io;

use log::Level;

use crate::record::Value;

use super::{
    Fields, Json, Names, Record, TRACE_FLAGS, TraceIds, as_i64, as_it_is, nested, no_number, push, push_as_str,
    push_str, trace_flags,
};
use crate::unix_time::UnixTime;

/// Returns nanoseconds since 1970, as far as they can be counted; 0 for a time before.
fn unix_nanos(time: UnixTime) -> u64 {
    let nanos = |second: u64| second.saturating_mul(1_000_000_000).saturating_add(time.nanos.into());
    u64::try_from(time.second).map_or(0, nanos)
}

/// The names of the attributes that a record has of its own.
pub(super) fn names() -> Names {
    Names::new(&["code.file.path", "code.line.number", "thread.id", "thread.name"], as_it_is)
}

/// Returns all of the line before the target: the resource with its attributes.
pub(super) fn fields(fields: &Fields) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    push(&mut out, "{\"resourceLogs\":[{\"resource\":{\"attributes\":[");
    let mut attributes = Attributes::new(&mut out);
    Names::new(&[], as_it_is).each(fields.pairs(), |name, value| attributes.push(name, value))?;
    push(&mut out, "]},\"scopeLogs\":[{\"scope\":{\"name\":");
    Ok(out)
}

impl Json {
    pub(super) fn otel(&self, out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
        out.extend_from_slice(&self.fields);
        push_str(out, record.target())?;
        push(out, "},\"logRecords\":[{\"timeUnixNano\":\"");
        // A time before 1970 cannot be said; 0 is "unknown".
        serde_json::to_writer(&mut *out, &unix_nanos(record.unix_time()))?;
        push(out, before_the_body(record.level()));
        push_str(out, record.message_bytes())?;
        push(out, "},\"attributes\":[");
        let mut attributes = Attributes::new(out);
        attributes.push_origin(record)?;
        let (mut ids, mut flags) = (TraceIds::default(), None);
        self.names.each(record.key_values(), |name, value| {
            match name {
                TRACE_FLAGS if trace_flags(value).is_some() => flags = trace_flags(value),
                _ if ids.take(name, value) => {}
                _ => attributes.push(name, value)?,
            }
            Ok::<_, io::Error>(())
        })?;
        out.push(b']');
        ids.push(out, "traceId", "spanId");
        if let Some(flags) = flags {
            push(out, ",\"flags\":");
            serde_json::to_writer(&mut *out, &flags)?;
        }
        push(out, "}]}]}]}");
        Ok(())
    }
}

/// Returns what is between the time and the message of a record of this level.
fn before_the_body(level: Level) -> &'static str {
    match level {
        Level::Trace => "\",\"severityNumber\":1,\"severityText\":\"TRACE\",\"body\":{\"stringValue\":",
        Level::Debug => "\",\"severityNumber\":5,\"severityText\":\"DEBUG\",\"body\":{\"stringValue\":",
        Level::Info => "\",\"severityNumber\":9,\"severityText\":\"INFO\",\"body\":{\"stringValue\":",
        Level::Warn => "\",\"severityNumber\":13,\"severityText\":\"WARN\",\"body\":{\"stringValue\":",
        Level::Error => "\",\"severityNumber\":17,\"severityText\":\"ERROR\",\"body\":{\"stringValue\":",
    }
}

/// A list of `KeyValue`.
struct Attributes<'a> {
    out: &'a mut Vec<u8>,
    some: bool,
}

impl<'a> Attributes<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, some: false }
    }

    /// Appends where a record comes from, by the semantic conventions.
    fn push_origin(&mut self, record: &Record<'_>) -> io::Result<()> {
        if let Some(file) = record.file() {
            self.push("code.file.path", Value::Str(file))?;
        }
        if let Some(line) = record.line() {
            self.push("code.line.number", Value::U64(line.into()))?;
        }
        if record.thread_number() > 0 {
            self.push("thread.id", Value::U64(record.thread_number().into()))?;
        }
        if let Some(name) = record.thread_name() {
            self.push("thread.name", Value::Str(name))?;
        }
        Ok(())
    }

    fn push(&mut self, key: &str, value: Value<'_>) -> io::Result<()> {
        push(self.out, if self.some { ",{\"key\":" } else { "{\"key\":" });
        self.some = true;
        push_str(self.out, key)?;
        push(self.out, ",\"value\":{");
        push_any_value(self.out, value)?;
        push(self.out, "}}");
        Ok(())
    }
}

/// Appends the content of an `AnyValue`, which is empty for a null.
fn push_any_value(out: &mut Vec<u8>, value: Value<'_>) -> io::Result<()> {
    let integer = as_i64(value);
    match (value, integer) {
        (Value::Null, _) => {}
        (Value::Bool(value), _) => push(out, if value { "\"boolValue\":true" } else { "\"boolValue\":false" }),
        (Value::F64(value), _) => {
            push(out, "\"doubleValue\":");
            if value.is_finite() {
                serde_json::to_writer(out, &value)?;
            } else {
                push_str(out, no_number(value))?;
            }
        }
        (_, Some(integer)) => {
            push(out, "\"intValue\":\"");
            serde_json::to_writer(&mut *out, &integer)?;
            out.push(b'"');
        }
        (Value::Json(json), _) => nested::push_any_value(out, json)?,
        (Value::Error(chain), _) => {
            push(out, "\"arrayValue\":{\"values\":[");
            let mut before = "{\"stringValue\":";
            for message in chain {
                push(out, before);
                push_str(out, message)?;
                out.push(b'}');
                before = ",{\"stringValue\":";
            }
            push(out, "]}");
        }
        (other, None) => {
            push(out, "\"stringValue\":");
            push_as_str(out, other)?;
        }
    }
    Ok(())
}
