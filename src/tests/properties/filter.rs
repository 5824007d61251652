//! The filter, for directives and changes of them: it says what env_filter says, level by level,
//! asked again each time.

use log::{Level, LevelFilter, Metadata, Record};

use super::Choices;
use crate::front::filter::{CurrentFilter, Filter, Layers, split_env};
use crate::front::output_filters::OutputFilters;
use crate::wanted::Wanting;

/// Targets that are module paths, which a thread remembers.
const MODULES: &[&str] = &["app", "app::db", "ap", "a", "b", "hyper::client", "warn", ""];

pub(super) fn hold(choices: &mut Choices<'_>) {
    let levels: Vec<_> = LevelFilter::iter().collect();
    let (base, cap) = (choices.one_of(&levels), choices.one_of(&levels));
    let mut layers = Layers::default();
    let filter = CurrentFilter::new(Filter::new(base, Layers::default(), &OutputFilters::up_to(cap)).unwrap(), false);
    let (target, message) = (choices.text(), choices.text());
    for _ in 0..choices.byte() % 6 {
        let change = choices.byte() % 4;
        let text = choices.text();
        let sound = env_filter::Builder::new().try_parse(&text).is_ok();
        match change {
            0 => {
                assert_eq!(filter.set(&text).is_ok(), sound, "{text:?}");
                if sound {
                    layers.set = vec![text];
                }
            }
            1 => {
                assert_eq!(filter.push(&text).is_ok(), sound, "{text:?}");
                if sound {
                    layers.pushed.push((0, text));
                }
            }
            2 => {
                filter.pop();
                layers.pushed.pop();
            }
            _ => {
                let good = only_good(&text);
                filter.set(&good).unwrap();
                layers.set = vec![good];
            }
        }
        agree(&filter, base, cap, &layers, &target, &message);
    }
}

/// What is left of a variable: every directive that is sound on its own.
fn only_good(text: &str) -> String {
    let (good, errors) = split_env(text);
    let sound = |directives: &str| env_filter::Builder::new().try_parse(directives).is_ok();
    let (levels, pattern) = text.split_once('/').map_or((text, None), |(levels, pattern)| (levels, Some(pattern)));
    let (fine, bad): (Vec<_>, Vec<_>) = levels.split(',').partition(|directive| sound(directive));
    let bad_pattern = pattern.is_some_and(|pattern| pattern.contains('/'));
    assert_eq!(errors.len(), bad.len() + usize::from(bad_pattern), "{text:?}");
    let pattern = pattern.filter(|_| !bad_pattern).map(|pattern| format!("/{pattern}")).unwrap_or_default();
    assert_eq!(good, fine.join(",") + &pattern);
    assert!(errors.iter().all(|error| !error.why.is_empty() && text.contains(&error.directives)), "{text:?}");
    good
}

fn agree(filter: &CurrentFilter, base: LevelFilter, cap: LevelFilter, layers: &Layers, target: &str, message: &str) {
    let mut reference = env_filter::Builder::new();
    reference.filter_level(base);
    let texts = || layers.set.iter().chain(layers.pushed.iter().map(|(_, text)| text));
    for text in texts() {
        reference.try_parse(text).unwrap();
    }
    let reference = reference.build();
    let pattern = texts().rev().find_map(|text| text.split_once('/')).map(|(_, pattern)| pattern);
    let agree = |record: &Record<'_>| {
        let metadata = Metadata::builder().level(record.level()).target(record.target()).build();
        let expected = record.level() <= cap && reference.enabled(&metadata);
        let verdict = filter.verdict(record);
        let story = || format!("{} of {:?} by {:?}", record.level(), record.target(), texts().collect::<Vec<_>>());
        assert_eq!(verdict.passes(record.level()), expected, "{}", story());
        assert_eq!(filter.load().enabled(&metadata), expected, "{}", story());
        assert_eq!(verdict.needs_message, pattern.is_some(), "{}", story());
        assert!(!expected || record.level() <= filter.load().max_level(), "{}", story());
    };
    for level in Level::iter() {
        for module in MODULES {
            agree(&Record::builder().level(level).target(module).module_path_static(Some(module)).build());
        }
        agree(&Record::builder().level(level).target(target).module_path_static(Some("app")).build());
    }
    #[cfg(not(feature = "regex"))]
    assert_eq!(takes(filter, message), pattern.is_none_or(|pattern| message.contains(pattern)));
    #[cfg(feature = "regex")]
    assert!(takes(filter, message) || pattern.is_some());
}

/// Whether the pattern of the directives is in the message of a record that an output wants.
fn takes(filter: &CurrentFilter, message: &str) -> bool {
    filter.load().wanting(message, Level::Error, Wanting::only(0)).is_some()
}
