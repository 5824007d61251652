//! Google Cloud's structured logging: the names that its agents lift into a `LogEntry` (v2), the
//! rest is the payload. Runs on the writer's thread.

use std::io;

use log::Level;

use crate::record::Value;

use super::{
    Fields, Json, Names, Record, SPAN_ID, TRACE_FLAGS, TRACE_ID, TimeText, as_it_is, is_id, push, push_as_str,
    push_str, thread, trace_flags,
};

/// The names that a line has of its own, and those that an agent would take for its time.
pub(super) fn names() -> Names {
    let own = [
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
    Names::new(&own, as_it_is).objects(&["httpRequest", "logging.googleapis.com/operation"])
}

/// What the agents lift into the fields of the same meaning.
const TRACE: &str = "logging.googleapis.com/trace";
const SPAN: &str = "logging.googleapis.com/spanId";
const SAMPLED: &str = "logging.googleapis.com/trace_sampled";

/// Returns the labels, whose values are strings.
pub(super) fn fields(fields: &Fields) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut before = ",\"logging.googleapis.com/labels\":{";
    Names::new(&[], as_it_is).each(fields.pairs(), |key, value| {
        push(&mut out, before);
        before = ",";
        push_str(&mut out, key)?;
        out.push(b':');
        push_as_str(&mut out, value)
    })?;
    push(&mut out, if before == "," { "}" } else { "" });
    Ok(out)
}

impl Json {
    pub(super) fn google_cloud(&self, out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) -> io::Result<()> {
        push(
            out,
            match record.level() {
                Level::Error => "{\"severity\":\"ERROR\",\"time\":\"",
                Level::Warn => "{\"severity\":\"WARNING\",\"time\":\"",
                Level::Info => "{\"severity\":\"INFO\",\"time\":\"",
                Level::Debug | Level::Trace => "{\"severity\":\"DEBUG\",\"time\":\"",
            },
        );
        time.write(out, record.unix_time());
        push(out, "\",\"message\":");
        push_str(out, record.message_bytes())?;
        push(out, ",\"target\":");
        push_str(out, record.target())?;
        if let Some(thread) = thread(record) {
            push(out, ",\"thread\":");
            push_str(out, &*thread)?;
        }
        push_location(out, record)?;
        out.extend_from_slice(&self.fields);
        let is_given = |name: &str| record.key_values().any(|(key, _)| key == name);
        self.names.each(record.key_values(), |name, value| match name {
            TRACE_ID if is_trace(value) && !is_given(TRACE) => self.push_pair(out, TRACE, value),
            SPAN_ID if is_id(value, 8) && !is_given(SPAN) => self.push_pair(out, SPAN, value),
            TRACE_FLAGS if !is_given(SAMPLED) => match trace_flags(value) {
                Some(flags) => self.push_pair(out, SAMPLED, Value::Bool(flags & 1 == 1)),
                None => self.push_pair(out, name, value),
            },
            _ => self.push_pair(out, name, value),
        })?;
        out.push(b'}');
        Ok(())
    }
}

fn push_location(out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
    let Some(file) = record.file() else { return Ok(()) };
    push(out, ",\"logging.googleapis.com/sourceLocation\":{\"file\":");
    push_str(out, file)?;
    if let Some(line) = record.line() {
        push(out, ",\"line\":\"");
        serde_json::to_writer(&mut *out, &line)?;
        out.push(b'"');
    }
    out.push(b'}');
    Ok(())
}

/// Returns whether this is the id of a trace, or its whole name: `projects/my-project/traces/` and
/// the id.
fn is_trace(value: Value<'_>) -> bool {
    is_id(value, 16) || matches!(value, Value::Str(text) if text.starts_with("projects/"))
}
