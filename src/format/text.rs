//! Lines for people: time, level, thread, target, place, message, key-values. Runs on the writer's
//! thread.

use std::io::Write as _;

use anstyle::{AnsiColor, Effects, Style};
use log::Level;

use crate::record::{KeyValues, Record, Value};

use super::escape::{Controls, push_key, push_text, push_word};
use super::time::TimeText;
use super::{Options, push_number, thread};

/// The text format with its options, decided once.
pub(super) struct Text {
    message: Controls,
    /// Something stands next to time, level, target and message.
    more: bool,
    thread: bool,
    location: bool,
    /// The level's words in colour, the quietest level first; `None`: without colour.
    colors: Option<Vec<String>>,
    /// The constant fields, as they stand in each line.
    fields: Vec<u8>,
}

impl Text {
    pub(super) fn new(options: &Options) -> Self {
        let mut fields = Vec::new();
        push_pairs(&mut fields, options.fields.pairs(), Controls::Rust);
        Self {
            message: if options.multiline { Controls::Indented } else { Controls::Rust },
            more: options.thread || options.location,
            thread: options.thread,
            location: options.location,
            colors: options.colored.then(|| Level::iter().map(colored).collect()),
            fields,
        }
    }

    pub(super) fn line(&self, out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) {
        time.write(out, record.time());
        match &self.colors {
            None => out.extend_from_slice(word(record.level()).as_bytes()),
            Some(colors) => {
                let word = colors.get(record.level() as usize - 1);
                out.extend_from_slice(word.map_or(" ", String::as_str).as_bytes());
            }
        }
        if self.more {
            self.origin(out, record);
        } else {
            push_text(out, record.target(), Controls::Rust);
        }
        out.extend_from_slice(b": ");
        push_text(out, record.message(), self.message);
        out.extend_from_slice(&self.fields);
        push_pairs(out, record.key_values(), Controls::Rust);
    }

    /// The target between the thread and the place.
    fn origin(&self, out: &mut Vec<u8>, record: &Record<'_>) {
        if let (true, Some(thread)) = (self.thread, thread(record)) {
            out.push(b'[');
            push_text(out, &thread, Controls::Rust);
            out.extend_from_slice(b"] ");
        }
        push_text(out, record.target(), Controls::Rust);
        if let (true, Some(file)) = (self.location, record.file()) {
            out.push(b' ');
            push_text(out, file, Controls::Rust);
            if let Some(line) = record.line() {
                out.push(b':');
                push_number(out, line.into());
            }
        }
    }
}

/// The level as it stands between the time and what follows.
fn word(level: Level) -> &'static str {
    match level {
        Level::Error => " ERROR ",
        Level::Warn => " WARN  ",
        Level::Info => " INFO  ",
        Level::Debug => " DEBUG ",
        Level::Trace => " TRACE ",
    }
}

/// The level's style: env_logger's colours.
pub(super) fn style(level: Level) -> Style {
    match level {
        Level::Error => AnsiColor::Red.on_default().effects(Effects::BOLD),
        Level::Warn => AnsiColor::Yellow.on_default(),
        Level::Info => AnsiColor::Green.on_default(),
        Level::Debug => AnsiColor::Blue.on_default(),
        Level::Trace => AnsiColor::Cyan.on_default(),
    }
}

fn colored(level: Level) -> String {
    let (name, style) = (level.as_str(), style(level));
    word(level).replace(name, &format!("{style}{name}{style:#}"))
}

/// The key-values as ` key=value`, the value quoted where a reader could not see where it ends.
pub(super) fn push_pairs(out: &mut Vec<u8>, pairs: KeyValues<'_>, controls: Controls) {
    for (key, value) in pairs {
        out.push(b' ');
        push_key(out, key);
        out.push(b'=');
        push_value(out, value, controls);
    }
}

pub(super) fn push_value(out: &mut Vec<u8>, value: Value<'_>, controls: Controls) {
    match value {
        Value::Str(text) => push_word(out, text, controls),
        Value::Error(chain) => push_word(out, &chain.to_string(), controls),
        // Bare: a reader sees where it ends, and no text stands bare with a quote in it.
        Value::Json(json) => push_text(out, json, Controls::Json),
        // Writing to memory does not fail; none of these has a space, a quote or an equals sign.
        // `Debug` spares the 300 zeros of 1e300.
        Value::F64(float) => drop(write!(out, "{float:?}")),
        other => drop(write!(out, "{other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use log::kv;

    use super::*;
    use crate::clock::Stamp;
    use crate::record::{Caller, OwnedRecord};

    fn text(message: &str, pairs: &[(&str, kv::Value<'_>)]) -> String {
        text_with(&Options::default(), message, pairs)
    }

    fn text_with(options: &Options, message: &str, pairs: &[(&str, kv::Value<'_>)]) -> String {
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(1);
        let caller = Caller { thread: 1, name: None };
        let mut record = log::Record::builder();
        record.level(Level::Info).target("app").file_static(Some("src/app.rs")).line(Some(7)).key_values(&pairs);
        let owned = OwnedRecord::capture(&record.args(format_args!("{message}")).build(), Stamp::Time(time), caller);
        let mut out = Vec::new();
        Text::new(options).line(&mut out, &Record::new(&owned, time, Some("main")), &mut TimeText::default());
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
        assert!(line.ends_with("m a_b__=\"q\\\"\\\\\\n\""), "{line}");
    }

    #[test]
    fn thread_and_place_stand_around_the_target() {
        let options = Options { thread: true, location: true, ..Options::default() };
        let line = text_with(&options, "m", &[]);
        assert_eq!(line, "1970-01-01T00:00:01.000000Z INFO  [main] app src/app.rs:7: m");
    }

    #[test]
    fn further_lines_of_a_message_are_indented_and_nothing_else_is_let_through() {
        let options = Options { multiline: true, ..Options::default() };
        let line = text_with(&options, "a\n2026\r\n\u{1b}[31m", &[("k\n", kv::Value::from("v\nw"))]);
        assert!(line.ends_with("app: a\n    2026\\r\n    \\u{1b}[31m k_=\"v\\nw\""), "{line}");
    }

    #[test]
    fn a_coloured_line_is_the_plain_one_with_a_coloured_level() {
        let options = Options { colored: true, ..Options::default() };
        let line = text_with(&options, "m", &[]);
        assert_eq!(line, "1970-01-01T00:00:01.000000Z \u{1b}[32mINFO\u{1b}[0m  app: m");
        assert_eq!(colored(Level::Error), " \u{1b}[1m\u{1b}[31mERROR\u{1b}[0m ");
    }
}
