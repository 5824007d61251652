//! The properties of every line, for records that come by chance.

use log::Level;
use proptest::prelude::*;

#[cfg(feature = "json")]
use super::json;
use super::lines;
use super::logged::{Failure, Given, KNOWN_KEYS, Logged};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn text_and_logfmt_never_hold_a_character_that_misleads(record in any_record()) {
        lines::text_and_logfmt_never_hold_a_character_that_misleads(&record);
    }

    #[test]
    fn text_of_several_lines_holds_nothing_that_misleads_but_newlines_before_the_indent(record in any_record()) {
        lines::text_of_several_lines_holds_nothing_that_misleads_but_newlines_before_the_indent(&record);
    }

    #[test]
    fn colours_change_nothing_but_the_level(record in any_record()) {
        lines::colours_change_nothing_but_the_level(&record);
    }

    #[test]
    fn logfmt_parses_back(record in any_record()) {
        lines::logfmt_parses_back(&record);
    }

    #[test]
    fn logfmt_with_all_options_parses_back(record in any_record()) {
        lines::logfmt_with_all_options_parses_back(&record);
    }
}

#[cfg(feature = "json")]
proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_line_of_every_map_parses_and_gives_its_message_back(record in any_record()) {
        json::every_line_of_every_map_parses_and_gives_its_message_back(&record);
    }

    #[test]
    fn every_key_value_of_the_plain_map_and_of_google_cloud_comes_back_with_its_type(record in any_record()) {
        json::every_key_value_of_the_plain_map_and_of_google_cloud_comes_back_with_its_type(&record);
    }

    #[test]
    fn every_integer_stands_in_the_line_digit_by_digit(record in any_record()) {
        json::every_integer_stands_in_the_line_digit_by_digit(&record);
    }

    #[test]
    fn every_key_value_of_ecs_comes_back_as_a_label_of_text(record in any_record()) {
        json::every_key_value_of_ecs_comes_back_as_a_label_of_text(&record);
    }

    #[test]
    fn every_key_value_of_gelf_comes_back_as_a_text_or_as_a_number_that_graylog_can_hold(record in any_record()) {
        json::every_key_value_of_gelf_comes_back_as_a_text_or_as_a_number_that_graylog_can_hold(&record);
    }

    #[test]
    fn every_key_value_of_otel_comes_back_with_its_type(record in any_record()) {
        json::every_key_value_of_otel_comes_back_with_its_type(&record);
    }

    #[test]
    fn the_names_in_gelf_and_in_the_labels_of_ecs_are_made_of_letters_that_are_allowed(record in any_record()) {
        json::the_names_in_gelf_and_in_the_labels_of_ecs_are_made_of_letters_that_are_allowed(&record);
    }
}

/// A failure is told, not kept in a file: what it shows becomes a test of its own.
fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Any text, with what is hard to write more often than by chance.
fn any_text() -> impl Strategy<Value = String> {
    let hard: Vec<char> =
        "\0\n\r\t\u{b}\u{1b}\"\\=_.* {}[]:,'%\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}°–\u{feff}\u{fffd}\u{fffe}\u{ffff}é😀"
            .chars()
            .collect();
    let character = prop_oneof![prop::sample::select(hard), prop::char::range(' ', '~'), any::<char>()];
    prop::collection::vec(character, 0..60).prop_map(String::from_iter)
}

/// Any key: often one that some format has for itself, or one that only just differs from another.
fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(KNOWN_KEYS).prop_map(str::to_owned), any_text()]
}

fn any_error() -> impl Strategy<Value = Given> {
    let sources = prop::collection::vec(any_text(), 0..4);
    (any_text(), sources).prop_map(|(message, sources)| Given::Error(Failure::new(&message, &sources)))
}

/// A list or an object, some levels deep.
#[cfg(feature = "kv_serde")]
fn any_structured() -> impl Strategy<Value = Given> {
    use serde_json::Value;

    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    let list = |of: BoxedStrategy<Value>| prop::collection::vec(of, 0..4).prop_map(Value::from);
    let object = |of: BoxedStrategy<Value>| {
        prop::collection::vec((any_text(), of), 0..4).prop_map(|members| Value::Object(members.into_iter().collect()))
    };
    let nested = leaf.prop_recursive(4, 24, 4, move |of| prop_oneof![list(of.clone()), object(of)]).boxed();
    prop_oneof![list(nested.clone()), object(nested)].prop_map(Given::Structured)
}

#[cfg(not(feature = "kv_serde"))]
use any_error as any_structured;

fn any_given() -> impl Strategy<Value = Given> {
    prop_oneof![
        any_error(),
        any_structured(),
        Just(Given::Null),
        any::<bool>().prop_map(Given::Bool),
        any::<i64>().prop_map(Given::I64),
        any::<u64>().prop_map(Given::U64),
        any::<i128>().prop_map(Given::I128),
        any::<u128>().prop_map(Given::U128),
        prop::num::f64::ANY.prop_map(Given::F64),
        any_text().prop_map(Given::Str),
        prop::collection::vec(any::<Option<char>>(), 0..4).prop_map(Given::Debug),
    ]
}

/// Any message, blank ones more often than by chance.
fn any_message() -> impl Strategy<Value = String> {
    prop_oneof![9 => any_text(), 1 => "[ \t\n\u{1c}\u{85}\u{2003}\u{3000}]{0,3}"]
}

fn any_record() -> impl Strategy<Value = Logged> {
    let level = prop::sample::select(Level::iter().collect::<Vec<_>>());
    let place = prop::option::of(Just(("src/\"odd\" \\name\n.rs", 7)));
    let thread = prop::sample::select(vec![(0, None), (3, None), (4, Some("worker \"4\"\n=\u{1b}"))]);
    let pairs = prop::collection::vec((any_key(), any_given()), 0..20);
    (level, any_text(), place, thread, any_message(), pairs).prop_map(
        |(level, target, place, thread, message, pairs)| Logged { level, target, place, thread, message, pairs },
    )
}
