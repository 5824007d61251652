//! The Graylog Extended Log Format 1.1. Runs on the writer's thread.

use log::Level;
use std::io::{self, Write as _};

use crate::record::Value;

use super::{Fields, Json, Names, Record, as_i64, push, push_as_str, push_str, push_value, thread};
use crate::unix_time::UnixTime;

/// The field that the format must have, and that a program may give.
pub(in crate::format) const HOST: &str = "host";

/// The fields that the crate adds, and those that Graylog skips: it takes the `_` away, and what it
/// has already, or keeps to itself (as those of Elasticsearch, which have a `_` of their own), it
/// does not take.
const OWN: [&str; 19] = [
    "target",
    "file",
    "line",
    "thread",
    "id",
    "short_message",
    "full_message",
    "message",
    "source",
    "timestamp",
    "level",
    "streams",
    "_id",
    "_ttl",
    "_source",
    "_all",
    "_index",
    "_type",
    "_score",
];

pub(super) fn names() -> Names {
    let mut names = OWN.to_vec();
    names.push(HOST);
    Names::new(&names, letter)
}

pub(super) fn field_names() -> Names {
    Names::new(&OWN, letter)
}

/// Returns all of the line before the message.
pub(super) fn fields(fields: &Fields) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    push(&mut out, "{\"version\":\"1.1\",\"host\":");
    match fields.pairs().filter(|(key, _)| *key == HOST).last() {
        Some((_, host)) if !matches!(host, Value::Str(host) if is_blank(host)) => push_as_str(&mut out, host)?,
        _ => push(&mut out, "\"localhost\""),
    }
    let pairs = fields.pairs();
    Names::new(&[], letter).each(pairs, |name, value| match name {
        HOST => Ok(()),
        _ => push_additional(&mut out, name, value),
    })?;
    push(&mut out, ",\"short_message\":");
    Ok(out)
}

/// Returns whether Graylog takes a text for an empty one: to Java, which it uses, control
/// characters are spaces, too.
fn is_blank(text: &str) -> bool {
    text.chars().all(|character| character.is_whitespace() || character.is_control())
}

/// Returns a character as it stands in the name of an additional field.
fn letter(character: char) -> char {
    if character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.') { character } else { '_' }
}

impl Json {
    pub(super) fn gelf(&self, out: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
        out.extend_from_slice(&self.fields);
        let message = record.message();
        if is_blank(message) {
            push(out, "\"-\",\"full_message\":");
        }
        push_str(out, message)?;
        push(out, ",\"timestamp\":");
        push_seconds(out, record.unix_time());
        push(
            out,
            match record.level() {
                Level::Error => ",\"level\":3,\"_target\":",
                Level::Warn => ",\"level\":4,\"_target\":",
                Level::Info => ",\"level\":6,\"_target\":",
                Level::Debug | Level::Trace => ",\"level\":7,\"_target\":",
            },
        );
        push_str(out, record.target())?;
        if let Some(file) = record.file() {
            push(out, ",\"_file\":");
            push_str(out, file)?;
        }
        if let Some(line) = record.line() {
            push(out, ",\"_line\":");
            serde_json::to_writer(&mut *out, &line)?;
        }
        if let Some(thread) = thread(record) {
            push(out, ",\"_thread\":");
            push_str(out, &*thread)?;
        }
        self.names.each(record.key_values(), |name, value| push_additional(out, name, value))?;
        out.push(b'}');
        Ok(())
    }
}

fn push_additional(out: &mut Vec<u8>, name: &str, value: Value<'_>) -> io::Result<()> {
    push(out, ",\"_");
    push(out, name);
    push(out, "\":");
    match value {
        Value::F64(_) => push_value(out, value),
        // Graylog keeps the lower 64 bits of an integer that has more, and says nothing.
        _ if as_i64(value).is_some() => push_value(out, value),
        _ => push_as_str(out, value),
    }
}

/// Seconds since 1970 with six places.
fn push_seconds(out: &mut Vec<u8>, time: UnixTime) {
    let (seconds, micros) = (time.second, time.micros());
    // The second is rounded down: half a second before 1970 is -1 and 500000.
    let (sign, seconds, micros) = match (seconds < 0, micros) {
        (false, _) => ("", seconds.unsigned_abs(), micros),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, _) => ("-", seconds.unsigned_abs() - 1, 1_000_000 - micros),
    };
    // Writing to memory does not fail.
    let _ = write!(out, "{sign}{seconds}.{micros:06}");
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_seconds_with_a_fraction_on_both_sides_of_1970() {
        let after = [(0, "0.000000"), (1_500_000, "1.500000"), (1_385_053_862_307_200, "1385053862.307200")];
        let before = [(1, "-0.000001"), (1_500_000, "-1.500000"), (2_000_000, "-2.000000")];
        let after = after.map(|(micros, text)| (UNIX_EPOCH + Duration::from_micros(micros), text));
        let before = before.map(|(micros, text)| (UNIX_EPOCH - Duration::from_micros(micros), text));
        for (time, text) in after.into_iter().chain(before) {
            let mut out = Vec::new();
            push_seconds(&mut out, time.into());
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
