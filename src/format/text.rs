//! Lines for people: time, level, target, message, key-values. Runs on the writer's thread.

use std::io::Write as _;

use log::Level;

use crate::record::{Record, Value};

use super::time::TimeText;

pub(super) fn line(out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) {
    time.write(out, record.time());
    out.extend_from_slice(match record.level() {
        Level::Error => b" ERROR ",
        Level::Warn => b" WARN  ",
        Level::Info => b" INFO  ",
        Level::Debug => b" DEBUG ",
        Level::Trace => b" TRACE ",
    });
    push_escaped(out, record.target());
    out.extend_from_slice(b": ");
    push_escaped(out, record.message());
    push_pairs(out, record);
}

/// The key-values as ` key=value`, the value quoted where a reader could not tell where it ends.
pub(super) fn push_pairs(out: &mut Vec<u8>, record: &Record<'_>) {
    for (key, value) in record.key_values() {
        out.push(b' ');
        push_key(out, key);
        out.push(b'=');
        match value {
            Value::Str(text) => push_value(out, text),
            // Writing to memory does not fail; none of these has a space, a quote or an equals sign.
            other => drop(write!(out, "{other}")),
        }
    }
}

/// A key is one bare word: what would end it becomes `_`.
fn push_key(out: &mut Vec<u8>, key: &str) {
    if key.is_empty() {
        out.push(b'_');
    }
    let start = out.len();
    push_escaped(out, key);
    for byte in &mut out[start..] {
        if matches!(byte, b' ' | b'=' | b'"') {
            *byte = b'_';
        }
    }
}

pub(super) fn push_value(out: &mut Vec<u8>, text: &str) {
    let bare = !text.is_empty() && !text.bytes().any(|byte| matches!(byte, b' ' | b'=' | b'"' | b'\\'));
    if bare && !needs_escape(text) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\']) {
        push_escaped(out, &rest[..at]);
        out.extend_from_slice(&[b'\\', rest.as_bytes()[at]]);
        rest = &rest[at + 1..];
    }
    push_escaped(out, rest);
    out.push(b'"');
}

/// Text with its control characters (C0, DEL, C1) written as `\n`, `\t`, `\u{1b}`.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    if !needs_escape(text) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        if character.is_control() {
            out.extend_from_slice(&text.as_bytes()[plain..at]);
            plain = at + character.len_utf8();
            // Writing to memory does not fail.
            let _ = write!(out, "{}", character.escape_default());
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
}

/// Whether there may be a control character: 0xC2 is the first byte of those above DEL.
fn needs_escape(text: &str) -> bool {
    text.as_bytes().iter().fold(false, |found, &byte| found | (byte < 0x20) | (byte == 0x7f) | (byte == 0xc2))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use log::kv;

    use super::*;
    use crate::record::{Caller, OwnedRecord};

    fn text(message: &str, pairs: &[(&str, kv::Value<'_>)]) -> String {
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(1);
        let record = log::Record::builder();
        let mut record = record;
        let caller = Caller { thread: 1, name: None };
        let pairs = &pairs;
        record.level(Level::Info).target("app").key_values(&pairs);
        let owned = OwnedRecord::capture(&record.args(format_args!("{message}")).build(), time, caller);
        let mut out = Vec::new();
        line(&mut out, &Record::new(&owned, None), &mut TimeText::new(false));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_time_level_target_message_and_key_values() {
        let line = text("hello world", &[("user", kv::Value::from("anna b")), ("n", kv::Value::from(3))]);
        assert_eq!(line, "1970-01-01T00:00:01.000000Z INFO  app: hello world user=\"anna b\" n=3");
    }

    #[test]
    fn no_message_can_forge_a_line_or_drive_a_terminal() {
        let line = text("a\nb\r\tc\u{1b}[31m\u{7f}\u{9b}é", &[]);
        assert!(line.ends_with("app: a\\nb\\r\\tc\\u{1b}[31m\\u{7f}\\u{9b}é"), "{line}");
        let line = text("m", &[("a b=\n", kv::Value::from("q\"\\\n"))]);
        assert!(line.ends_with("m a_b_\\n=\"q\\\"\\\\\\n\""), "{line}");
    }
}
