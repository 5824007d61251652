//! logfmt lines (the form that Heroku's router made known and go-kit's encoder pinned down): `key=value` pairs, quoted where
//! needed. Runs on the writer's thread.

use log::Level;

use crate::record::Record;

use super::text::{push_pairs, push_value};
use super::time::TimeText;

pub(super) fn line(out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) {
    out.extend_from_slice(b"ts=");
    time.write(out, record.time());
    out.extend_from_slice(match record.level() {
        Level::Error => b" level=error target=",
        Level::Warn => b" level=warn target=",
        Level::Info => b" level=info target=",
        Level::Debug => b" level=debug target=",
        Level::Trace => b" level=trace target=",
    });
    push_value(out, record.target());
    out.extend_from_slice(b" msg=");
    push_value(out, record.message());
    push_pairs(out, record);
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::record::{OwnedRecord, Value};

    #[test]
    fn a_line_is_made_of_pairs() {
        let pairs = [("n", Value::I64(-1)), ("text", Value::Str("a=b"))];
        let owned = OwnedRecord::notice(Level::Warn, UNIX_EPOCH, format_args!("two \"words\""), &pairs);
        let mut out = Vec::new();
        line(&mut out, &Record::new(&owned, None), &mut TimeText::new(false));
        let expected =
            "ts=1970-01-01T00:00:00.000000Z level=warn target=unfazed msg=\"two \\\"words\\\"\" n=-1 text=\"a=b\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
