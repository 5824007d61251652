//! What the options of a format do, and a format of the program's own.

#[cfg(feature = "json")]
use log::Level;

use super::logged::{Given, Logged};
use crate::format::Format;

#[test]
fn a_constant_field_with_a_name_of_the_format_is_an_error_that_names_it() {
    let cases = [
        (Format::logfmt(), "msg"),
        (Format::logfmt().location(), "file"),
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
            "option `field` is `{key}` in the format `{name}` for output `never.log`: \
             it must be a name that the format does not write itself"
        );
        assert!(error.to_string().starts_with(&said), "{error}");
    }
    for format in [Format::text().field("level", 1), Format::logfmt().field("file", 1)] {
        assert_eq!(format.check(), Ok(()));
    }
}

#[test]
fn an_option_that_cannot_be_read_is_an_error_that_names_the_place() {
    let cases = [
        (
            Format::pattern("{time} {lvel:5}"),
            "`pattern` is `{time} {lvel:5}` (character 8: `{lvel:5}` is not a known part)",
        ),
        (Format::pattern("é {level"), "`pattern` is `é {level` (character 3: the brace is not closed)"),
        (Format::pattern("a} {level}"), "`pattern` is `a} {level}` (character 2: the brace closes nothing)"),
        (
            Format::pattern("{level:wide}"),
            "`pattern` is `{level:wide}` (character 1: `{level:wide}` is not a known part)",
        ),
        (Format::pattern("{level:201}"), "`pattern` is `{level:201}` (character 1: `{level:201}` is not a known part)"),
        (Format::pattern("{level:+1}"), "`pattern` is `{level:+1}` (character 1: `{level:+1}` is not a known part)"),
        (Format::pattern("{kv:9}"), "`pattern` is `{kv:9}` (character 1: `{kv:9}` is not a known part)"),
        (Format::pattern("a\n{level}"), "`pattern` is `a\\n{level}` (character 2 is a control character)"),
        (Format::text().time("%Q"), "`time` is `%Q`"),
        (Format::text().palette("warn=pink"), "`palette` is `warn=pink`"),
    ];
    for (format, text) in cases {
        let error = crate::Builder::new().file("never.log").format(format).build().unwrap_err().to_string();
        assert!(error.starts_with(&format!("option {text} for output `never.log`: it must be ")), "{error}");
    }
}

#[test]
fn a_pattern_writes_its_parts_in_its_order() {
    let record = Logged::message("two\nlines").pair("n", Given::I64(1)).pair("t", Given::Str("a b".to_owned()));
    let line = |pattern: &str| record.line(Format::pattern(pattern).field("service", "shop"));
    assert_eq!(line("{time}|{level}|{target}|{module}\u{20}|"), "2026-11-21T09:30:00.123456Z|INFO|app::db|- |\n");
    assert_eq!(line("{thread} {file} {line} {location}"), "main src/db.rs 42 src/db.rs:42\n");
    assert_eq!(line("{{{level:6}}} {line:>4}|{line:3}|"), "{INFO  }   42|42 |\n");
    assert_eq!(line("{message} {kv}"), "two\\nlines service=shop n=1 t=\"a b\"\n");
    assert_eq!(line("[{kv}] {message}"), "[service=shop n=1 t=\"a b\"] two\\nlines\n");
    assert_eq!(line("{kv}"), "service=shop n=1 t=\"a b\"\n");
    assert_eq!(record.line(Format::pattern("{message}").multiline()), "two\n    lines\n");
    let bare = Logged { target: String::new(), place: None, thread: (0, None), ..Logged::message("ä") };
    let line = |pattern: &str| bare.line(Format::pattern(pattern));
    assert_eq!(line("{message:3}|{message} {kv}"), "ä  |ä\n", "a column is counted in characters");
    assert_eq!(line("{thread:3}|{location}|{target}|{kv}|"), "-  |-|||\n");
    assert_eq!(line(""), "\n");
    let colored = Format::pattern("{level:>6} {message}").colored(true);
    assert_eq!(bare.line(colored.clone()), "  \u{1b}[32mINFO\u{1b}[0m ä\n");
    assert_eq!(bare.line(colored.color_lines()), "\u{1b}[32m  INFO ä\u{1b}[0m\n");
    assert_eq!(record.line(Format::pattern("{target}").short_target()), "db\n");
}

#[test]
fn digits_of_the_time_apply_to_every_rfc_3339_and_other_styles_where_people_read() {
    let line = |format: Format| Logged::message("m").line(format);
    assert!(line(Format::logfmt().time("ms")).starts_with("ts=2026-11-21T09:30:00.123Z level"));
    assert!(line(Format::logfmt().time("%H")).starts_with("ts=2026-11-21T09:30:00.123456Z level"));
    #[cfg(feature = "json")]
    for format in [Format::json(), Format::ecs(), Format::google_cloud()] {
        assert!(line(format.clone().time("ns")).contains("\"2026-11-21T09:30:00.123456789Z\""));
        assert!(line(format.time("off")).contains("\"2026-11-21T09:30:00.123456Z\""));
    }
    let custom = Format::custom(|line, record| {
        line.timestamp(record.time());
        Ok(())
    });
    assert_eq!(line(custom.clone().time("%H:%M")), "09:30\n");
    assert_eq!(line(custom.time("elapsed").started(super::logged::moment())), "0.000000s\n");
}

#[test]
fn a_custom_format_has_the_parts_of_the_others() {
    let format = Format::custom(|line, record| {
        line.level(record.level());
        line.target(record.target());
        line.thread(record);
        line.location(record);
        Ok(())
    });
    let format = format.palette("info=bold").short_target().colored(true);
    let odd = Logged { thread: (2, Some("a\n")), place: Some(("b\n.rs", 7)), ..Logged::message("m") };
    assert_eq!(odd.line(format), "\u{1b}[1mINFO\u{1b}[0mdba\\nb\\n.rs:7\n");
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
    // The page breaks long lines: JSON where no space is, the others at one.
    let pages = [page.to_owned(), page.replace("\n  ", ""), page.replace("\n  ", " ")];
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
        with_note.line(Format::text().time("%H:%M:%S").without_level().short_target()),
        with_note.line(Format::pattern("{time} {level:>5} [{thread}] {location} - {message} {kv}").time("ms")),
        item.line(Format::otel().field("service.name", "shop")),
        item.line(Format::ecs().field("service.name", "shop")),
        item.line(Format::gelf().field("host", "web-1")),
        item.line(Format::google_cloud().field("service", "shop")),
        second.pair("attempts", Given::I64(3)).line(Format::text()),
        third.pair("user", text("anna")).line(Format::text().thread().location().multiline()),
    ];
    for (number, line) in lines.iter().enumerate() {
        // The last two are of other moments.
        let line = if number < 9 { line } else { line.split_once(' ').unwrap().1 };
        assert!(pages.iter().any(|page| page.contains(line)), "not in src/_docs/formats.md: {line}");
    }
}
