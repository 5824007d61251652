//! logfmt lines (the form that Heroku's router made known and go-kit's encoder pinned down):
//! `key=value` pairs, quoted where needed, with the escapes of JSON. Runs on the writer's thread.

use std::convert::Infallible;

use log::Level;

use crate::record::{KeyValues, Record, Value};

use super::escape::{Controls, key_letter, push_word};
use super::names::Names;
use super::options::Options;
use super::pairs::push_value;
use super::time::TimeText;
use super::{push_number, thread};

/// The logfmt format with its options, decided once.
pub(super) struct Logfmt {
    thread: bool,
    location: bool,
    /// The constant fields, as each line has them.
    fields: Vec<u8>,
    names: Names,
}

impl Logfmt {
    pub(super) fn new(options: &Options) -> Self {
        let mut names = names(options);
        let mut fields = Vec::new();
        push_pairs(&mut fields, &names, options.fields.pairs());
        names.take(&options.fields);
        Self { thread: options.thread, location: options.location, fields, names }
    }

    pub(super) fn line(&self, out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) {
        out.extend_from_slice(b"ts=");
        time.write(out, record.unix_time());
        out.extend_from_slice(match record.level() {
            Level::Error => b" level=error target=",
            Level::Warn => b" level=warn target=",
            Level::Info => b" level=info target=",
            Level::Debug => b" level=debug target=",
            Level::Trace => b" level=trace target=",
        });
        push_word(out, record.target(), Controls::Json);
        if let (true, Some(thread)) = (self.thread, thread(record)) {
            out.extend_from_slice(b" thread=");
            push_word(out, &*thread, Controls::Json);
        }
        if let (true, Some(file)) = (self.location, record.file()) {
            out.extend_from_slice(b" file=");
            push_word(out, file, Controls::Json);
            if let Some(line) = record.line() {
                out.extend_from_slice(b" line=");
                push_number(out, line.into());
            }
        }
        out.extend_from_slice(b" msg=");
        push_word(out, record.message_bytes(), Controls::Json);
        out.extend_from_slice(&self.fields);
        push_pairs(out, &self.names, record.key_values());
    }
}

/// The names that a line has of its own.
pub(super) fn names(options: &Options) -> Names {
    let mut own = vec!["ts", "level", "target", "msg"];
    own.extend(options.thread.then_some("thread"));
    own.extend(options.location.then_some(["file", "line"]).into_iter().flatten());
    Names::new(&own, key_letter)
}

fn push_pairs(out: &mut Vec<u8>, names: &Names, pairs: KeyValues<'_>) {
    let Ok(()) = names.each(pairs, |name, value| {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        match value {
            // In quotes: its own would make other words of it.
            Value::Json(json) => push_word(out, json, Controls::Json),
            _ => push_value(out, value, Controls::Json),
        }
        Ok::<_, Infallible>(())
    });
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::record::Notice;

    fn logfmt(options: &Options, pairs: &[(&str, Value<'_>)]) -> String {
        let notice = Notice::new(Level::Warn, UNIX_EPOCH, format_args!("two \"words\""), pairs);
        let mut out = Vec::new();
        Logfmt::new(options).line(&mut out, &notice.record(), &mut TimeText::default());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_made_of_pairs() {
        let line = logfmt(&Options::default(), &[("n", Value::I64(-1)), ("text", Value::Str("a=b"))]);
        let expected =
            "ts=1970-01-01T00:00:00.000000Z level=warn target=unfazed msg=\"two \\\"words\\\"\" n=-1 text=\"a=b\"";
        assert_eq!(line, expected);
    }

    #[test]
    fn no_name_stands_twice_in_a_line() {
        let mut options = Options::default();
        options.fields.push("host", log::kv::Value::from("web 1"));
        let pairs = ["level", "host", "file", "a b", "a_b"].map(|key| (key, Value::Null));
        let line = logfmt(&options, &pairs);
        let end = " host=\"web 1\" kv.level=null kv.host=null file=null a_b_2=null a_b=null";
        assert!(line.ends_with(end), "{line}");
    }

    /// They became one name, three times.
    #[test]
    fn keys_that_differ_only_in_control_characters_stay_apart() {
        let pairs = ["a\u{1}b", "a\u{2}b", "a\u{3}b"].map(|key| (key, Value::Null));
        let line = logfmt(&Options::default(), &pairs);
        assert!(line.ends_with(" a_b=null a_b_2=null a_b_3=null"), "{line}");
    }
}
