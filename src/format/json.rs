//! JSON lines, escaped by serde_json. Runs on the writer's thread.

use std::io;

use crate::record::{Record, Value};

use super::time::TimeText;

const OWN_KEYS: [&str; 4] = ["timestamp", "level", "target", "message"];

pub(super) fn line(out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) -> io::Result<()> {
    out.extend_from_slice(b"{\"timestamp\":\"");
    time.write(out, record.time());
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(record.level().as_str().as_bytes());
    out.extend_from_slice(b"\",\"target\":");
    push_str(out, record.target())?;
    out.extend_from_slice(b",\"message\":");
    push_str(out, record.message())?;
    for (key, value) in record.key_values() {
        out.push(b',');
        if OWN_KEYS.contains(&key) {
            push_str(out, &format!("kv.{key}"))?;
        } else {
            push_str(out, key)?;
        }
        out.push(b':');
        push_value(out, value)?;
    }
    out.push(b'}');
    Ok(())
}

fn push_str(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
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
        Value::F64(value) => push_str(out, &value.to_string())?,
        Value::Str(value) => push_str(out, value)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use log::Level;

    use super::*;
    use crate::record::OwnedRecord;

    #[test]
    fn every_message_and_every_value_comes_back() {
        let messages = ["", "plain", "\"\\\n\r\t\u{0}\u{1b}\u{7f}", "é 😀 \u{2028}"];
        let pairs = [
            ("n", Value::I64(-3)),
            ("f", Value::F64(0.25)),
            ("nan", Value::F64(f64::NAN)),
            ("b", Value::Bool(true)),
            ("none", Value::Null),
            ("message", Value::Str("another")),
        ];
        for message in messages {
            let owned = OwnedRecord::notice(Level::Error, UNIX_EPOCH, format_args!("{message}"), &pairs);
            let mut out = Vec::new();
            line(&mut out, &Record::new(&owned, None), &mut TimeText::new(false)).unwrap();
            let parsed: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(parsed["message"], message);
            assert_eq!(parsed["timestamp"], "1970-01-01T00:00:00.000000Z");
            assert_eq!(parsed["level"], "ERROR");
            assert_eq!(parsed["target"], "unfazed");
            assert_eq!(parsed["n"], -3);
            assert_eq!(parsed["f"], 0.25);
            assert_eq!(parsed["nan"], "NaN");
            assert_eq!(parsed["b"], true);
            assert_eq!(parsed["none"], serde_json::Value::Null);
            assert_eq!(parsed["kv.message"], "another");
            assert!(!out.contains(&b'\n'));
        }
    }
}
