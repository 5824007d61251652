//! What the options of a format do, and a format of the program's own.

#[cfg(feature = "json")]
use log::Level;

use super::logged::{Given, Logged};
use crate::format::Format;

#[test]
fn a_constant_field_with_a_name_of_the_format_is_an_error_that_names_it() {
    let cases = [
        (Format::logfmt(), "msg"),
        (Format::logfmt().place(), "file"),
        #[cfg(feature = "json")]
        (Format::json(), "message"),
        #[cfg(feature = "json")]
        (Format::ecs(), "log.level"),
        #[cfg(feature = "json")]
        (Format::gelf(), "id"),
        (Format::logfmt(), "kv.user"),
        #[cfg(feature = "json")]
        (Format::json(), "kv.level"),
        #[cfg(feature = "json")]
        (Format::gelf(), "kv.level"),
    ];
    for (format, key) in cases {
        let name = format.name();
        let error = crate::Builder::new().file("never.log").format(format.field(key, 1)).build().unwrap_err();
        let said = format!(
            "option `field` is `{key}` in the format `{name}` of the output `never.log`: \
             it must be a name that the format does not write itself"
        );
        assert!(error.to_string().starts_with(&said), "{error}");
    }
    for format in [Format::text().field("level", 1), Format::logfmt().field("file", 1)] {
        assert_eq!(format.bad_field(), None);
    }
}

#[cfg(feature = "json")]
#[test]
fn gelf_has_the_name_of_the_machine_unless_it_is_given_one() {
    let line = |format: Format| Logged::message("m").line(format.host(|| Some("of \"this\" machine".to_owned())));
    let machine = "{\"version\":\"1.1\",\"host\":\"of \\\"this\\\" machine\",\"short_message\":\"m\"";
    assert!(line(Format::gelf()).starts_with(machine));
    let given = "{\"version\":\"1.1\",\"host\":\"web-1\",\"short_message\":\"m\"";
    assert!(line(Format::gelf().field("host", "web-1")).starts_with(given));
    let blank = "{\"version\":\"1.1\",\"host\":\"localhost\",\"short_message\":\"m\"";
    assert!(line(Format::gelf().field("host", " ")).starts_with(blank), "Graylog refuses a blank one");
    assert!(!crate::os::host_name().unwrap_or_default().is_empty() || !cfg!(target_os = "linux"));
}

#[test]
fn a_custom_format_has_all_of_a_record_and_its_time_as_text() {
    use std::io::Write as _;

    let format = |local: bool| {
        let format = Format::custom(|line, record| {
            line.timestamp(record.time());
            let pairs: Vec<_> = record.key_values().collect();
            let place = (record.file(), record.line(), record.thread_number(), record.thread_name());
            writeln!(line, " {} {} {} {place:?} {pairs:?}", record.level(), record.target(), record.message())
        });
        if local { format.local_time() } else { format }
    };
    let record = Logged::message("m").pair("n", Given::I64(-1));
    let rest = "INFO app::db m (Some(\"src/db.rs\"), Some(42), 1, Some(\"main\")) [(\"n\", I64(-1))]\n";
    assert_eq!(record.line(format(false)), format!("2026-11-21T09:30:00.123456Z {rest}"));
    let local = record.line(format(true));
    let (time, local_rest) = local.split_once(' ').unwrap();
    assert_eq!(local_rest, rest);
    assert!(time.contains(".123456") && !time.ends_with('Z'), "{time}");
}

#[cfg(feature = "json")]
#[test]
fn the_page_on_formats_shows_what_they_write() {
    let page = include_str!("../../_docs/formats.md");
    let text = |text: &str| Given::Str(text.to_owned());
    let of = |target: &str, message: &str| Logged { target: target.to_owned(), ..Logged::message(message) };
    let item = Logged { place: Some(("src/cart.rs", 42)), ..of("shop::cart", "item added") }
        .pair("user", text("anna"))
        .pair("price", Given::F64(12.5));
    let with_note = item.clone().pair("note", text("gift wrap"));
    let second = Logged { level: Level::Warn, ..of("shop::login", "login failed\n\u{1b}[2J from 10.0.0.7") };
    let third = Logged {
        level: Level::Error,
        place: Some(("src/cart.rs", 118)),
        thread: (2, Some("worker-2")),
        ..of("shop::cart", "checkout failed\ncaused by: connection refused\ncaused by: os error 111")
    };
    let lines = [
        with_note.line(Format::text()),
        with_note.line(Format::logfmt()),
        with_note.line(Format::json()),
        item.line(Format::otel().field("service.name", "shop")),
        item.line(Format::ecs().field("service.name", "shop")),
        item.line(Format::gelf().field("host", "web-1")),
        item.line(Format::google_cloud().field("service", "shop")),
        second.pair("attempts", Given::I64(3)).line(Format::text()),
        third.pair("user", text("anna")).line(Format::text().thread().place().multiline()),
    ];
    for (number, line) in lines.iter().enumerate() {
        // The last two are of other moments.
        let line = if number < 7 { line } else { line.split_once(' ').unwrap().1 };
        assert!(page.contains(line), "not in src/_docs/formats.md: {line}");
    }
}
