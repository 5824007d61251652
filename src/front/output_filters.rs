//! What the outputs together let through, and which of them want a record. Asked on the caller's
//! thread, by `filter.rs`, which remembers the answers.

use log::{Level, LevelFilter, Metadata};

use crate::error::FilterError;
use crate::wanted::{Judge, Levels, Offered, Wanted, Wanting};

use super::directives::Directives;
use super::program::{self, Question};

/// What the outputs want.
pub(crate) struct OutputFilters {
    /// The levels that the outputs without a filter want.
    plain: Levels,
    filtered: Vec<OutputFilter>,
}

/// An output that has a filter.
struct OutputFilter {
    levels: Levels,
    directives: Option<Directives>,
    judge: Option<Judge>,
}

/// The outputs that want a record.
#[derive(Clone, Copy)]
pub(super) struct Takers {
    /// An output without a filter wants it.
    plain: bool,
    /// Those with a filter.
    pub(super) wanting: Wanting,
}

impl Takers {
    pub(super) const NOBODY: Self = Self { plain: false, wanting: Wanting::NOBODY };

    pub(super) fn is_nobody(self) -> bool {
        !self.plain && self.wanting.is_nobody()
    }
}

impl OutputFilters {
    pub(crate) fn new() -> Self {
        Self { plain: Levels::NONE, filtered: Vec::new() }
    }

    /// Makes the filters of outputs that have none, the most verbose of which takes this level.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn up_to(most: LevelFilter) -> std::sync::Arc<Self> {
        Self { plain: Levels::up_to(most), filtered: Vec::new() }.into()
    }

    /// Adds an output without a filter. Returns what it is offered.
    pub(crate) fn add_plain(&mut self, levels: Levels) -> Offered {
        self.plain = self.plain.with(levels);
        Offered { levels, filtered: None, stands_in: false }
    }

    /// Adds an output whose records are known by its place among these outputs, and not by their
    /// levels. Returns what it is offered.
    pub(crate) fn add(&mut self, wanted: &Wanted) -> Result<Offered, FilterError> {
        let directives = wanted.directives.as_ref().map(Directives::of_output).transpose()?;
        let levels = wanted.levels;
        self.filtered.push(OutputFilter { levels, directives, judge: wanted.judge.clone() });
        Ok(Offered { levels, filtered: Some(Wanting::only(self.filtered.len() - 1)), stands_in: false })
    }

    /// Returns how many outputs have a filter.
    pub(crate) fn filtered(&self) -> usize {
        self.filtered.len()
    }

    /// Returns the most verbose level that an output wants.
    pub(super) fn max_level(&self) -> LevelFilter {
        let filtered = self.filtered.iter().map(OutputFilter::max_level).max();
        self.plain.most().max(filtered.unwrap_or(LevelFilter::Off))
    }

    /// Returns the outputs that want a record, as far as its metadata say.
    pub(super) fn takers(&self, metadata: &Metadata<'_>) -> Takers {
        let mut wanting = Wanting::NOBODY;
        for (number, _) in self.filtered.iter().enumerate().filter(|(_, output)| output.wants(metadata)) {
            wanting.insert(Wanting::only(number));
        }
        Takers { plain: self.plain.has(metadata.level()), wanting }
    }

    /// Returns true if an output looks at the message.
    pub(super) fn look_at_messages(&self) -> bool {
        self.filtered.iter().any(|output| output.directives.as_ref().is_some_and(Directives::has_pattern))
    }

    /// Returns those of the outputs that want a record with this message.
    pub(super) fn takers_of(&self, message: &str, level: Level, mut wanting: Wanting) -> Takers {
        for (number, output) in self.filtered.iter().enumerate() {
            if output.directives.as_ref().is_some_and(|directives| !directives.takes(message)) {
                wanting.remove(Wanting::only(number));
            }
        }
        Takers { plain: self.plain.has(level), wanting }
    }
}

impl OutputFilter {
    fn max_level(&self) -> LevelFilter {
        let directives = self.directives.as_ref().map_or(LevelFilter::Trace, Directives::max_level);
        self.levels.most().min(directives)
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.has(metadata.level())
            && self.directives.as_ref().is_none_or(|directives| directives.enabled(metadata))
            && self.judge.as_ref().is_none_or(|judge| program::ask(Question::Filter, || judge(metadata)) == Some(true))
    }
}
