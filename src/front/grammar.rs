//! Takes texts of directives apart, in env_logger's grammar. Pure; runs on the thread that sets a
//! filter.

use log::LevelFilter;

/// Returns the directives of levels in `text`, and the pattern after the first `/`, if there is
/// one.
pub(super) fn split_pattern(text: &str) -> (&str, Option<&str>) {
    text.split_once('/').map_or((text, None), |(levels, pattern)| (levels, Some(pattern)))
}

/// Returns the target that a directive names: none if it is a level alone.
pub(super) fn target_of(directive: &str) -> &str {
    match directive.split_once('=') {
        Some((target, _)) => target.trim(),
        None if directive.parse::<LevelFilter>().is_ok() => "",
        None => directive,
    }
}
