//! Directives in env_logger's grammar, ready to be asked. Pure; read on the caller's thread.

use log::{LevelFilter, Metadata};

use crate::error::FilterError;

use super::filter_advice::advice;
use super::grammar::split_pattern;

/// The levels of targets, and what must be in a message.
pub(super) struct Directives {
    levels: env_filter::Filter,
    /// The pattern after the `/`.
    message: Option<MessagePattern>,
}

impl Directives {
    /// Parses the texts, of which a later one overrides those before it. `base` is the level of the
    /// targets that none of them names.
    pub(super) fn new<'a>(base: LevelFilter, texts: impl IntoIterator<Item = &'a String>) -> Result<Self, FilterError> {
        let mut builder = env_filter::Builder::new();
        builder.filter_level(base);
        let mut message = None;
        for text in texts {
            let bad = |why: String| FilterError { directives: text.clone(), why };
            let (levels, pattern) = split_pattern(text);
            if pattern.is_some_and(|pattern| pattern.contains('/')) {
                return Err(bad("more than one `/`".into()));
            }
            builder.try_parse(levels).map_err(|error| {
                let why = std::iter::once(error.to_string()).chain(advice(levels, LevelFilter::Trace));
                bad(why.collect::<Vec<_>>().join("; "))
            })?;
            if let Some(pattern) = pattern {
                message = Some(MessagePattern::new(pattern).map_err(bad)?);
            }
        }
        Ok(Self { levels: builder.build(), message })
    }

    /// Parses the directives of one output. As in env_logger, a target that they do not name is
    /// off, unless they name none at all.
    pub(super) fn of_output(text: &String) -> Result<Self, FilterError> {
        let (levels, _) = split_pattern(text);
        let names_none = levels.split(',').all(|directive| directive.trim().is_empty());
        Self::new(if names_none { LevelFilter::Trace } else { LevelFilter::Off }, [text])
    }

    pub(super) fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.enabled(metadata)
    }

    /// Returns the most verbose level that a directive names.
    pub(super) fn max_level(&self) -> LevelFilter {
        self.levels.filter()
    }

    pub(super) fn has_pattern(&self) -> bool {
        self.message.is_some()
    }

    /// Returns whether the pattern is in the message.
    pub(super) fn takes(&self, message: &str) -> bool {
        self.message.as_ref().is_none_or(|pattern| pattern.is_in(message))
    }
}

#[cfg(feature = "regex")]
struct MessagePattern(regex::Regex);

#[cfg(feature = "regex")]
impl MessagePattern {
    fn new(pattern: &str) -> Result<Self, String> {
        regex::Regex::new(pattern).map(Self).map_err(|error| error.to_string())
    }

    fn is_in(&self, message: &str) -> bool {
        self.0.is_match(message)
    }
}

#[cfg(not(feature = "regex"))]
struct MessagePattern(Box<str>);

#[cfg(not(feature = "regex"))]
impl MessagePattern {
    fn new(pattern: &str) -> Result<Self, String> {
        Ok(Self(pattern.into()))
    }

    fn is_in(&self, message: &str) -> bool {
        message.contains(&*self.0)
    }
}
