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
    /// One sentence for each directive that matches nothing, or was skipped.
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

    /// Adds the directives of an environment variable that cannot be parsed. Where there is no
    /// advice, as on the text after the `/`, the error itself is reported.
    pub(crate) fn skipped(mut self, variable: &str, skipped: Vec<FilterError>) -> Self {
        for FilterError { directives, why } in &skipped {
            let known = self.advice.len();
            self = self.and([directives.as_str()]);
            if self.advice.len() == known {
                self.advice.push(format!("`{directives}`: {why}"));
            }
        }
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

#[cfg(test)]
mod tests {
    use super::super::filter::split_env;
    use super::*;

    /// `RUST_LOG='info/['` was reported without the fault that the regular expression has.
    #[test]
    fn each_directive_that_was_skipped_is_reported_with_a_reason() {
        let cases = [
            ("info,app=loud", "`app=loud`: `loud` is not a level; there are off, error, warn, info, debug and trace"),
            ("info/one/two", "`/one/two`: more than one `/`"),
            #[cfg(feature = "regex")]
            ("info/[", "`/[`: regex parse error:\n    [\n    ^\nerror: unclosed character class"),
        ];
        for (text, expected) in cases {
            let (_, skipped) = split_env(text);
            let notice = FilterDoubts::of([]).skipped("RUST_LOG", skipped).notice().unwrap();
            let record = notice.record();
            let advice = record.key_values().find(|(key, _)| *key == "advice").unwrap().1;
            assert_eq!(advice.to_string(), expected, "{text}");
        }
    }
}
