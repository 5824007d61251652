//! The Elastic Common Schema 8.16, in the form of the ECS logging specification 1.0: dotted names
//! at the top, the first three in its order. Runs on the writer's thread.

use std::io;

use crate::record::Value;

use super::{Fields, Json, Names, Record, TimeText, TraceIds, members, push, push_as_str, push_str, push_value};

/// Returns the names of `labels`, an object of its own in which no name is taken.
pub(super) fn names() -> Names {
    Names::new(&[], letter)
}

/// A field that is also the object around others would make the index refuse the line.
pub(super) fn field_names() -> Names {
    let own = [
        "@timestamp",
        "message",
        "labels",
        "ecs",
        "ecs.version",
        "log",
        "log.level",
        "log.logger",
        "log.origin",
        "log.origin.file",
        "log.origin.file.name",
        "log.origin.file.line",
        "process",
        "process.thread",
        "process.thread.id",
        "process.thread.name",
        "trace",
        "trace.id",
        "span",
        "span.id",
    ];
    Names::new(&own, super::as_it_is)
}

/// Returns the constant fields; `event.dataset` is the service's name where it is not given, as the
/// logging specification demands.
pub(super) fn fields(fields: &Fields) -> io::Result<Vec<u8>> {
    let mut out = members(fields, false)?;
    let of = |name: &str| fields.pairs().filter(|(key, _)| *key == name).last();
    if let (Some((_, service)), None) = (of("service.name"), of("event.dataset")) {
        push(&mut out, ",\"event.dataset\":");
        push_value(&mut out, service)?;
    }
    Ok(out)
}

/// The specification says what becomes of the keys of labels: a dot would make an object of them.
fn letter(character: char) -> char {
    if matches!(character, '.' | '*' | '\\') { '_' } else { character }
}

impl Json {
    pub(super) fn ecs(&self, out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) -> io::Result<()> {
        push(out, "{\"@timestamp\":\"");
        time.write(out, record.unix_time());
        push(out, "\",\"log.level\":\"");
        push(out, record.level().as_str());
        push(out, "\",\"message\":");
        push_str(out, record.message_bytes())?;
        push(out, ",\"ecs.version\":\"8.16.0\",\"log.logger\":");
        push_str(out, record.target())?;
        push_origin(out, record)?;
        out.extend_from_slice(&self.fields);
        let mut ids = TraceIds::default();
        let mut before = ",\"labels\":{";
        self.names.each(record.key_values(), |name, value| {
            if ids.take(name, value) {
                return Ok(());
            }
            push(out, before);
            before = ",";
            push_str(out, name)?;
            out.push(b':');
            push_label(out, value)
        })?;
        push(out, if before == "," { "}" } else { "" });
        ids.push(out, "trace.id", "span.id");
        out.push(b'}');
        Ok(())
    }
}

/// Appends where a record comes from, after other members.
fn push_origin(out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
    if let Some(file) = record.file() {
        push(out, ",\"log.origin.file.name\":");
        push_str(out, file)?;
    }
    if let Some(line) = record.line() {
        push(out, ",\"log.origin.file.line\":");
        serde_json::to_writer(&mut *out, &line)?;
    }
    if record.thread_number() > 0 {
        push(out, ",\"process.thread.id\":");
        serde_json::to_writer(&mut *out, &record.thread_number())?;
    }
    if let Some(name) = record.thread_name() {
        push(out, ",\"process.thread.name\":");
        push_str(out, name)?;
    }
    Ok(())
}

/// The schema stores all labels as keywords. As numbers they would be refused by an index that
/// guesses its types, as soon as one of them is a text for once.
fn push_label(out: &mut Vec<u8>, value: Value<'_>) -> io::Result<()> {
    match value {
        Value::Null => push_value(out, value),
        _ => push_as_str(out, value),
    }
}
