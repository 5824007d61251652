//! What the log says of directives that were skipped, or that match nothing as they are written.
//! Runs on the thread that sets a filter.

use std::time::SystemTime;

use log::Level;

use crate::error::FilterError;
use crate::record::{Notice, Value};

use super::filter_advice::advice;

/// Directives that were skipped, or that match nothing as they are written.
pub(crate) struct FilterDoubts {
    at: SystemTime,
    /// The variable that `filter_env` has read.
    variable: Option<String>,
    /// The directives in it that cannot be parsed.
    skipped: Vec<FilterError>,
    /// One sentence for each directive that matches nothing.
    advice: Vec<String>,
}

impl FilterDoubts {
    /// Looks at directives that are in force.
    pub(crate) fn of<'a>(directives: impl IntoIterator<Item = &'a str>) -> Self {
        Self { at: SystemTime::now(), variable: None, skipped: Vec::new(), advice: Vec::new() }.and(directives)
    }

    /// Looks at more of them.
    pub(crate) fn and<'a>(mut self, directives: impl IntoIterator<Item = &'a str>) -> Self {
        self.advice.extend(directives.into_iter().flat_map(|text| advice(text, log::STATIC_MAX_LEVEL)));
        self
    }

    /// Adds the directives of an environment variable that cannot be parsed.
    pub(crate) fn skipped(mut self, variable: &str, skipped: Vec<FilterError>) -> Self {
        self = self.and(skipped.iter().map(|error| error.directives.as_str()));
        (self.variable, self.skipped) = (Some(variable.to_owned()), skipped);
        self
    }

    /// Returns the line that reports them; none if there is no doubt.
    pub(crate) fn notice(&self) -> Option<Notice> {
        let Self { at, variable, skipped, advice } = self;
        let directives = skipped.iter().map(|error| error.directives.as_str()).collect::<Vec<_>>().join(",");
        let advice_text = advice.join("; ");
        let mut pairs = Vec::new();
        if let (Some(variable), false) = (variable, skipped.is_empty()) {
            pairs.push(("variable", Value::Str(variable)));
            pairs.push(("directives", Value::Str(&directives)));
        }
        if !advice.is_empty() {
            pairs.push(("advice", Value::Str(&advice_text)));
        }
        let plural = |count: usize| if count == 1 { "directive" } else { "directives" };
        let said = match (skipped.len(), advice.len()) {
            (0, 0) => return None,
            (0, count) => {
                let match_nothing = if count == 1 { "matches" } else { "match" };
                format!("{count} {} of the filter {match_nothing} nothing", plural(count))
            }
            (count, _) => format!("failed to parse {count} {} of the environment", plural(count)),
        };
        Some(Notice::new(Level::Warn, *at, format_args!("{said}"), &pairs))
    }
}
