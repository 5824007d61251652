//! The native protocol of systemd's journal: a field on each line, and one that has newlines
//! after its length. Runs on the writer's thread.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>

use std::io::Write as _;

use crate::record::{KeyValues, Record};

use super::options::Options;
use super::syslog::severity;
use super::time::TimeText;
use super::{push_number, thread};

/// The journal refuses a longer name.
const LONGEST_NAME: usize = 64;

/// Names that the record itself has; a key-value of this name gets the prefix `KV_`.
const OWN: [&str; 9] = [
    "MESSAGE",
    "PRIORITY",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_TIMESTAMP",
    "TARGET",
    "THREAD",
    "CODE_FILE",
    "CODE_LINE",
    "CODE_FUNC",
];

/// The format with its options, decided once.
pub(super) struct Journal {
    identifier: String,
    options: Options,
}

impl Journal {
    pub(super) fn new(identifier: String, options: &Options) -> Self {
        Self { identifier, options: options.clone() }
    }

    /// Lays out the fields, without the last newline.
    pub(super) fn line(&self, out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) {
        out.extend_from_slice(b"PRIORITY=");
        push_number(out, severity(record.level()).into());
        out.push(b'\n');
        push_field(out, "SYSLOG_IDENTIFIER", self.identifier.as_bytes());
        out.extend_from_slice(b"SYSLOG_TIMESTAMP=");
        time.write(out, record.unix_time());
        out.push(b'\n');
        push_field(out, "TARGET", record.target().as_bytes());
        if let Some(thread) = thread(record) {
            push_field(out, "THREAD", thread.as_bytes());
        }
        if let Some(file) = record.file() {
            push_field(out, "CODE_FILE", file.as_bytes());
            if let Some(line) = record.line() {
                out.extend_from_slice(b"CODE_LINE=");
                push_number(out, line.into());
                out.push(b'\n');
            }
        }
        push_pairs(out, self.options.fields.pairs());
        push_pairs(out, record.key_values());
        push_field(out, "MESSAGE", record.message_bytes());
        out.pop();
    }
}

fn push_pairs(out: &mut Vec<u8>, pairs: KeyValues<'_>) {
    for (key, value) in pairs {
        push_field(out, &name(key), value.to_string().as_bytes());
    }
}

/// Appends `NAME=value` and a newline; a value with newlines has its length before it.
fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        // Writing to memory does not fail.
        let _ = out.write_all(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Returns the name of a field: capital letters, digits and `_`; the first is a letter, because the
/// journal has names that begin with `_` for itself.
fn name(key: &str) -> String {
    let mut name: String = key
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' })
        .collect();
    if OWN.contains(&name.as_str()) || !name.starts_with(|first: char| first.is_ascii_uppercase()) {
        name.insert_str(0, if name.starts_with('_') { "KV" } else { "KV_" });
    }
    name.truncate(LONGEST_NAME);
    name
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use log::Level;

    use super::*;
    use crate::record::{Notice, Value};

    #[test]
    fn a_record_is_a_list_of_fields() {
        let pairs = [("user id", Value::U64(7)), ("text", Value::Str("two\nlines"))];
        let notice = Notice::new(Level::Error, UNIX_EPOCH, format_args!("a\nb"), &pairs);
        let mut out = Vec::new();
        Journal::new("app".into(), &Options::default()).line(&mut out, &notice.record(), &mut TimeText::default());
        let expected = b"PRIORITY=3\nSYSLOG_IDENTIFIER=app\nSYSLOG_TIMESTAMP=1970-01-01T00:00:00.000000Z\n\
            TARGET=unfazed\nUSER_ID=7\nTEXT\n\x09\0\0\0\0\0\0\0two\nlines\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb";
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected));
    }

    #[test]
    fn a_name_is_one_that_the_journal_takes() {
        for (key, expected) in [
            ("request_id", "REQUEST_ID"),
            ("message", "KV_MESSAGE"),
            ("_pid", "KV_PID"),
            ("1st", "KV_1ST"),
            ("", "KV_"),
            ("größe", "GR__E"),
        ] {
            assert_eq!(name(key), expected);
        }
        assert_eq!(name(&"x".repeat(100)).len(), LONGEST_NAME);
    }
}
