//! Snapshots of every format over the awkward records. After a change that is meant:
//! `INSTA_UPDATE=always cargo test --lib snapshots`, and read the difference.

use super::awkward;
use crate::format::Format;

fn assert_lines(name: &str, format: Format) {
    let mut lines = String::new();
    for (what, record) in awkward::records() {
        let line = record.line(format.clone());
        assert!(line.ends_with('\n'));
        lines.push_str(&format!("# {what}\n{line}"));
    }
    // What is long is told, what cannot be seen is shown.
    let lines = lines.replace(&"x".repeat(64 * 1024 - 9), "<65527 x>").replace('\u{1b}', "␛");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, lines);
    });
}

fn with_options(format: Format) -> Format {
    format.thread().location().field("service.name", "shop \"A\"").field("version", 3)
}

#[test]
fn text() {
    assert_lines("text", Format::text());
    assert_lines("text_options", with_options(Format::text()).multiline().colored(true));
}

#[test]
fn text_without_its_parts() {
    let bare = Format::text().time("%H:%M:%S").without_level().short_target();
    assert_lines("text_bare", bare.clone());
    assert_lines(
        "text_colored",
        bare.without_target().palette("error=bold 196, info=bright_blue").colored(true).color_lines(),
    );
}

#[test]
fn pattern() {
    let pattern = Format::pattern("{level:>5} {time} [{thread:9}] {target:12} {{{location}}} {message} ({kv})");
    assert_lines("pattern", pattern.clone().time("ms"));
    assert_lines("pattern_options", with_options(pattern).time("off").short_target().multiline().colored(true));
}

#[test]
fn logfmt() {
    assert_lines("logfmt", Format::logfmt());
    assert_lines("logfmt_options", with_options(Format::logfmt()));
}

#[test]
fn json() {
    assert_lines("json", Format::json());
    assert_lines("json_options", with_options(Format::json()));
}

#[test]
fn otel() {
    assert_lines("otel", Format::otel());
    assert_lines("otel_options", with_options(Format::otel()));
}

#[test]
fn ecs() {
    assert_lines("ecs", Format::ecs());
    assert_lines("ecs_options", with_options(Format::ecs()));
}

#[test]
fn gelf() {
    assert_lines("gelf", Format::gelf());
    assert_lines("gelf_options", with_options(Format::gelf()).field("host", "web-1"));
}

#[test]
fn google_cloud() {
    assert_lines("google_cloud", Format::google_cloud());
    assert_lines("google_cloud_options", with_options(Format::google_cloud()));
}

#[cfg(feature = "kv_serde")]
#[test]
fn structured() {
    let formats = [
        Format::text(),
        Format::logfmt(),
        Format::json(),
        Format::json().safe_integers(),
        Format::otel(),
        Format::ecs(),
        Format::gelf(),
        Format::google_cloud(),
    ];
    let lines: String =
        formats.map(|format| format!("# {}\n{}", format.clone(), awkward::structured().line(format))).concat();
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("structured", lines);
    });
}
