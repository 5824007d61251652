//! Text and logfmt: what must hold for every record.

use std::iter::Peekable;
use std::str::Chars;

use super::logged::{Logged, misleads};
use crate::format::Format;

fn all_options(format: Format) -> Format {
    format.thread().location().field("host", "web 1\n").field("version", 3)
}

pub(crate) fn text_and_logfmt_never_hold_a_character_that_misleads(record: &Logged) {
    let pattern =
        Format::pattern("{time} {level:5} {target:9} {module} {thread:>9} {file} {line} {location} {message:30} {kv}");
    let short = all_options(Format::text()).short_target().time("%H:%M:%S%.3f");
    let formats = [Format::text(), all_options(Format::text()), short, pattern.clone(), all_options(pattern)];
    for format in formats.into_iter().chain([Format::logfmt(), all_options(Format::logfmt())]) {
        let line = record.line(format);
        let line = line.strip_suffix('\n').unwrap();
        assert!(!line.contains(misleads), "{line:?}");
    }
}

pub(crate) fn text_of_several_lines_holds_nothing_that_misleads_but_newlines_before_the_indent(record: &Logged) {
    let text = record.line(all_options(Format::text()).multiline());
    let mut lines = text.strip_suffix('\n').unwrap().split('\n');
    let first = lines.next().unwrap();
    assert!(first.starts_with("2026-11-21T09:30:00.123456Z "), "{first:?}");
    assert!(!first.contains(misleads), "{first:?}");
    let mut further = 0;
    for line in lines {
        assert!(line.starts_with("    ") && !line.contains(misleads), "{line:?}");
        further += 1;
    }
    assert_eq!(further, record.message.matches('\n').count());
}

pub(crate) fn colours_change_nothing_but_the_level(record: &Logged) {
    let level = record.level.as_str();
    let plain = record.line(Format::text());
    let colored = record.line(Format::text().colored(true));
    let (before, after) = colored.split_once(level).unwrap();
    let (before, after) = (before.split('\u{1b}').next().unwrap(), after.strip_prefix("\u{1b}[0m").unwrap());
    assert_eq!(format!("{before}{level}{after}"), plain);
    let colored = record.line(Format::text().colored(true).color_lines());
    let inside = colored.split_once('m').unwrap().1.rsplit_once('\u{1b}').unwrap().0;
    assert_eq!(inside.trim_start_matches("\u{1b}[31m").to_owned() + "\n", plain);
}

pub(crate) fn logfmt_parses_back(record: &Logged) {
    let parsed = parse(&record.line(Format::logfmt()));
    let (head, pairs) = parsed.split_at(4);
    let level = record.level.as_str().to_lowercase();
    let expected = [
        ("ts", "2026-11-21T09:30:00.123456Z"),
        ("level", &level),
        ("target", &record.target),
        ("msg", &record.message),
    ];
    assert_eq!(head, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let expected = expected_pairs(record);
    assert_eq!(pairs, expected);
}

pub(crate) fn logfmt_with_all_options_parses_back(record: &Logged) {
    let parsed = parse(&record.line(all_options(Format::logfmt())));
    let value = |key| parsed.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    assert_eq!(value("msg"), Some(record.message.clone()));
    assert_eq!(value("host"), Some("web 1\n".to_owned()));
    assert_eq!(value("version"), Some("3".to_owned()));
    assert_eq!(value("file"), record.place.map(|(file, _)| file.to_owned()));
    let (number, name) = record.thread;
    let thread = name.map(str::to_owned).or((number > 0).then(|| number.to_string()));
    assert_eq!(value("thread"), thread);
}

/// The key-values as logfmt must give them back.
fn expected_pairs(record: &Logged) -> Vec<(String, String)> {
    let letter = |c| if misleads(c) || matches!(c, ' ' | '=' | '"' | '\u{fffd}') { '_' } else { c };
    let is_taken = |name: &str| ["ts", "level", "target", "msg"].contains(&name.trim_start_matches("kv."));
    record.named(letter, |name, _| is_taken(name)).into_iter().map(|(name, value)| (name, value.text())).collect()
}

/// Reads a line as go-kit's decoder does: a quoted value has the escapes of JSON.
fn parse(line: &str) -> Vec<(String, String)> {
    let mut rest = line.strip_suffix('\n').unwrap().chars().peekable();
    let mut pairs = Vec::new();
    while rest.peek().is_some() {
        let key = word(&mut rest, |c| c != '=');
        assert!(!key.is_empty() && !key.contains([' ', '"']), "{key:?} in {line:?}");
        assert_eq!(rest.next(), Some('='), "{line:?}");
        let value = if rest.peek() == Some(&'"') { unquote(&mut rest) } else { word(&mut rest, |c| c != ' ') };
        pairs.push((key, value));
        assert!(matches!(rest.next(), None | Some(' ')), "{line:?}");
    }
    pairs
}

fn word(rest: &mut Peekable<Chars<'_>>, goes_on: impl Fn(char) -> bool) -> String {
    std::iter::from_fn(|| rest.next_if(|&c| goes_on(c))).collect()
}

fn unquote(rest: &mut Peekable<Chars<'_>>) -> String {
    rest.next();
    let mut text = String::new();
    loop {
        match rest.next().expect("a quote that ends") {
            '"' => return text,
            '\\' => text.push(match rest.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
                }
                other @ ('"' | '\\') => other,
                other => panic!("\\{other} is no escape"),
            }),
            other => text.push(other),
        }
    }
}
