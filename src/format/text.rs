//! Lines for people: time, level, thread, target, location, message, key-values. Runs on the
//! writer's thread.

use super::options::Options;
use super::pattern::{Part, Piece};
use super::time::TimeStyle;

/// As wide as `ERROR`, `DEBUG` and `TRACE`.
const LONGEST_LEVEL: usize = 5;

/// Returns the text format as a pattern.
pub(super) fn pieces(options: &Options) -> (Vec<Piece>, String) {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut push = |is_wanted: bool, piece: Piece| {
        if is_wanted {
            let before = if pieces.is_empty() { piece.before.trim_start().to_owned() } else { piece.before };
            pieces.push(Piece { before, ..piece });
        }
    };
    let optional =
        |before, part, after: &str| Piece { is_optional: true, after: after.to_owned(), ..Piece::new(before, part) };
    let target = !options.without_target;
    let has_origin = target || options.thread || options.location;
    push(options.time.style != TimeStyle::Off, Piece::new("", Part::Time));
    push(!options.without_level, Piece { width: LONGEST_LEVEL, ..Piece::new(" ", Part::Level) });
    push(options.thread, optional(" [", Part::Thread, "]"));
    push(target, Piece::new(" ", Part::Target));
    push(options.location, optional(" ", Part::Location, ""));
    push(true, Piece::new(if has_origin { ": " } else { " " }, Part::Message));
    push(true, optional("", Part::KeyValues, ""));
    (pieces, String::new())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use log::{Level, kv};

    use super::*;
    use crate::clock::Stamp;
    use crate::format::options::Colors;
    use crate::format::pattern::Pattern;
    use crate::format::time::{TimeOptions, TimeText};
    use crate::record::{Caller, OwnedRecord, Record};

    fn text(message: &str, pairs: &[(&str, kv::Value<'_>)]) -> String {
        text_with(&Options::default(), message, pairs)
    }

    fn text_with(options: &Options, message: &str, pairs: &[(&str, kv::Value<'_>)]) -> String {
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(1);
        let caller = Caller { thread: 1, name: None };
        let mut record = log::Record::builder();
        record.level(Level::Info).target("app").file_static(Some("src/app.rs")).line(Some(7)).key_values(&pairs);
        let owned = OwnedRecord::capture(&record.args(format_args!("{message}")).build(), Stamp::at(time), caller);
        let mut out = Vec::new();
        let record = Record::new(&owned, time, Some("main"));
        Pattern::new(pieces(options), options).line(&mut out, &record, &mut TimeText::new(options.time.clone()));
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
    fn each_part_can_be_left_out() {
        let off =
            || Options { time: TimeOptions { style: TimeStyle::Off, ..TimeOptions::default() }, ..Options::default() };
        let pairs = [("k", kv::Value::from(1))];
        let line = |options: &Options| text_with(options, "m", &pairs);
        assert_eq!(line(&off()), "INFO  app: m k=1");
        assert_eq!(line(&Options { without_level: true, ..off() }), "app: m k=1");
        assert_eq!(line(&Options { without_target: true, ..off() }), "INFO  m k=1");
        assert_eq!(line(&Options { without_level: true, without_target: true, ..off() }), "m k=1");
        assert_eq!(line(&Options { without_level: true, thread: true, ..off() }), "[main] app: m k=1");
        let location = Options { without_level: true, without_target: true, location: true, ..off() };
        assert_eq!(line(&location), "src/app.rs:7: m k=1");
        let no_level = Options { without_level: true, ..Options::default() };
        assert_eq!(line(&no_level), "1970-01-01T00:00:01.000000Z app: m k=1");
    }

    #[test]
    fn a_coloured_line_is_the_plain_one_with_a_coloured_level_or_as_a_whole() {
        let mut colors = Colors { is_wanted: true, ..Colors::default() };
        let options = Options { colors: colors.clone(), ..Options::default() };
        let line = text_with(&options, "m", &[]);
        assert_eq!(line, "1970-01-01T00:00:01.000000Z \u{1b}[32mINFO\u{1b}[0m  app: m");
        colors = Colors { whole_line: true, palette: "info=bold 200".to_owned(), ..colors };
        let line = text_with(&Options { colors, ..options }, "m", &[]);
        let on = "\u{1b}[1m\u{1b}[38;5;200m";
        assert_eq!(line, on.to_owned() + "1970-01-01T00:00:01.000000Z INFO  app: m\u{1b}[0m");
    }
}
