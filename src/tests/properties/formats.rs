//! Every format, for one record: what it was given can be read out of its line.

use log::Level;

use super::Choices;
#[cfg(feature = "json")]
use crate::tests::formats::json;
use crate::tests::formats::lines;
use crate::tests::formats::logged::{Failure, Given, KNOWN_KEYS, Logged};

pub(super) fn hold(choices: &mut Choices<'_>) {
    let record = record(choices);
    lines::text_and_logfmt_never_hold_a_character_that_misleads(&record);
    lines::text_of_several_lines_holds_nothing_that_misleads_but_newlines_before_the_indent(&record);
    lines::colours_change_nothing_but_the_level(&record);
    lines::logfmt_parses_back(&record);
    lines::logfmt_with_all_options_parses_back(&record);
    #[cfg(feature = "json")]
    {
        json::every_line_of_every_map_parses_and_gives_its_message_back(&record);
        json::every_key_value_of_the_plain_map_and_of_google_cloud_comes_back_with_its_type(&record);
        json::every_integer_stands_in_the_line_digit_by_digit(&record);
        json::every_key_value_of_ecs_comes_back_as_a_label_of_text(&record);
        json::every_key_value_of_gelf_comes_back_as_a_text_or_as_a_number_that_graylog_can_hold(&record);
        json::every_key_value_of_otel_comes_back_with_its_type(&record);
        json::the_names_in_gelf_and_in_the_labels_of_ecs_are_made_of_letters_that_are_allowed(&record);
    }
}

fn record(choices: &mut Choices<'_>) -> Logged {
    let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
    Logged {
        level: choices.one_of(&levels),
        place: choices.one_of(&[None, Some(("src/\"odd\" \\name\n.rs", 7))]),
        thread: choices.one_of(&[(0, None), (3, None), (4, Some("worker \"4\"\n=\u{1b}"))]),
        target: choices.text(),
        message: {
            // Long ones leave the slot.
            let times = choices.one_of(&[1, 1, 2, 20]);
            choices.text().repeat(times)
        },
        pairs: (0..choices.byte() % 24).map(|_| (key(choices), given(choices))).collect(),
    }
}

fn key(choices: &mut Choices<'_>) -> String {
    if choices.flag() { choices.one_of(KNOWN_KEYS).to_owned() } else { choices.text() }
}

fn given(choices: &mut Choices<'_>) -> Given {
    match choices.byte() % 10 {
        0 => Given::Null,
        1 => Given::Bool(choices.flag()),
        2 => Given::I64(choices.number() as i64),
        3 => Given::U64(choices.number() as u64),
        4 => Given::I128(choices.number() as i128),
        5 => Given::U128(choices.number()),
        6 => Given::F64(f64::from_bits(choices.number() as u64)),
        7 => Given::Str(choices.text()),
        8 => Given::Error(Failure::new(&choices.text(), &[choices.text()])),
        _ => Given::Debug(choices.text().chars().map(|c| (c != ' ').then_some(c)).collect()),
    }
}
