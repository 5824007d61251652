//! Which records an output wants: levels, and a filter of its own. Plain values; any thread.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use log::{Level, LevelFilter, Metadata};

/// A closure that says which records an output wants.
pub(crate) type Judge = Arc<dyn Fn(&Metadata<'_>) -> bool + Send + Sync>;

/// This many outputs of one logger may have filters of their own.
pub(crate) const MOST_FILTERED: usize = 16;

/// A set of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Levels(u8);

impl Levels {
    pub(crate) const NONE: Levels = Levels(0);
    pub(crate) const ALL: Levels = Levels(0b1_1111);

    pub(crate) fn up_to(most: LevelFilter) -> Self {
        Self((1 << most as u8) - 1)
    }

    /// Returns the levels of a range: `Off` is no level, and is before ERROR.
    pub(crate) fn within(range: &impl RangeBounds<LevelFilter>) -> Self {
        let up_to = |bound| match bound {
            Bound::Included(level) => Self::up_to(level),
            // All before it.
            Bound::Excluded(level) => Self(Self::up_to(level).0 >> 1),
            Bound::Unbounded => Self::ALL,
        };
        let before_start = match range.start_bound() {
            Bound::Included(level) => up_to(Bound::Excluded(*level)),
            Bound::Excluded(level) => up_to(Bound::Included(*level)),
            Bound::Unbounded => Self::NONE,
        };
        Self(up_to(range.end_bound().cloned()).0 & !before_start.0)
    }

    /// Returns the text of a range that is reversed: it begins with a level and holds none.
    fn reversed(range: &impl RangeBounds<LevelFilter>) -> Option<String> {
        let (Bound::Included(start) | Bound::Excluded(start)) = range.start_bound() else { return None };
        if *start == LevelFilter::Off || Self::within(range) != Self::NONE {
            return None;
        }
        Some(match range.end_bound() {
            Bound::Included(end) => format!("{start:?}..={end:?}"),
            Bound::Excluded(end) => format!("{start:?}..{end:?}"),
            Bound::Unbounded => format!("{start:?}.."),
        })
    }

    #[inline]
    pub(crate) fn has(self, level: Level) -> bool {
        self.0 >> (level as u8 - 1) & 1 == 1
    }

    /// Returns the set as a number, for `from_bits`.
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub(crate) fn insert(&mut self, level: Level) {
        self.0 |= 1 << (level as u8 - 1);
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the most verbose level of the set.
    pub(crate) fn most(self) -> LevelFilter {
        let has = |level: &Level| self.has(*level);
        Level::iter().filter(has).last().map_or(LevelFilter::Off, |level| level.to_level_filter())
    }
}

/// The outputs with filters of their own that want a record: a set of up to 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanting(u16);

impl Wanting {
    pub(crate) const NOBODY: Wanting = Wanting(0);
    pub(crate) const EVERYBODY: Wanting = Wanting(u16::MAX);
    pub(crate) const BITS: u32 = u16::BITS;

    /// Returns the set of one output: the `number`th of those with a filter.
    pub(crate) fn only(number: usize) -> Self {
        Self(1 << number)
    }

    #[inline]
    pub(crate) fn is_nobody(self) -> bool {
        self.0 == 0
    }

    /// Returns true if the sets have an output in common.
    #[inline]
    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Returns the set as a number, for `from_bits`.
    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    pub(crate) fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// What is offered to one output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) levels: Levels,
    /// The place of an output that has a filter among the others that have one. No record wants an
    /// output that stands in for another one.
    pub(crate) filtered: Option<Wanting>,
    /// The output takes what the one before it cannot take.
    pub(crate) stands_in: bool,
}

impl Offered {
    /// Returns true if the output wants a record of this level that these outputs with filters
    /// want.
    #[inline]
    pub(crate) fn has(&self, level: Level, wanting: Wanting) -> bool {
        self.levels.has(level) && self.filtered.is_none_or(|place| place.meets(wanting))
    }
}

/// The options of an output that say which records it wants.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) levels: Levels,
    /// The range of levels that was given, if it is reversed: an error.
    pub(crate) reversed: Option<String>,
    pub(crate) directives: Option<String>,
    pub(crate) judge: Option<Judge>,
}

impl Wanted {
    pub(crate) const EVERYTHING: Wanted = Wanted { levels: Levels::ALL, reversed: None, directives: None, judge: None };

    pub(crate) fn set_levels(&mut self, range: &impl RangeBounds<LevelFilter>) {
        (self.levels, self.reversed) = (Levels::within(range), Levels::reversed(range));
    }

    pub(crate) fn has_filter(&self) -> bool {
        self.directives.is_some() || self.judge.is_some()
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Wanted");
        shown.field("levels", &self.levels).field("filter", &self.directives);
        shown.field("has_judge", &self.judge.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};

    use super::*;

    #[test]
    fn a_range_of_levels_begins_after_those_that_matter_more() {
        fn text(range: impl RangeBounds<LevelFilter>) -> String {
            let levels = Levels::within(&range);
            Level::iter().filter(|level| levels.has(*level)).map(|level| level.as_str()[..1].to_owned()).collect()
        }
        assert_eq!(text(Warn..=Info), "WI");
        assert_eq!(text(..), "EWIDT");
        assert_eq!(text(..=Warn), "EW");
        assert_eq!(text(..Warn), "E");
        assert_eq!(text(Info..), "IDT");
        assert_eq!(text(Error..Trace), "EWID");
        assert_eq!(text(Off..=Debug), "EWID");
        assert_eq!(text(..=Off), "");
        assert_eq!(text(..Off), "");
        assert_eq!(text((Bound::Excluded(Warn), Bound::Unbounded)), "IDT");
        assert_eq!(text((Bound::Excluded(Off), Bound::Excluded(Off))), "");
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)] // what a user may write
    fn a_range_that_begins_with_a_level_and_holds_none_is_reversed() {
        assert_eq!(Levels::reversed(&(Info..=Warn)).as_deref(), Some("Info..=Warn"));
        assert_eq!(Levels::reversed(&(Warn..Warn)).as_deref(), Some("Warn..Warn"));
        assert_eq!(Levels::reversed(&(Error..=Off)).as_deref(), Some("Error..=Off"));
        let after_all = (Bound::Excluded(Trace), Bound::Unbounded);
        assert_eq!(Levels::reversed(&after_all).as_deref(), Some("Trace.."));
        for right in [(Off, Off), (Off, Warn), (Warn, Warn), (Warn, Info), (Error, Trace)] {
            assert_eq!(Levels::reversed(&(right.0..=right.1)), None, "{right:?}");
        }
        assert_eq!(Levels::reversed(&(..=Off)), None, "`level(Off)`");
        assert_eq!(Levels::reversed(&(..Off)), None);
    }

    #[test]
    fn the_most_verbose_level_of_a_set_is_found() {
        assert_eq!(Levels::within(&(Warn..=Info)).most(), Info);
        assert_eq!(Levels::NONE.most(), Off);
        assert_eq!(Levels::up_to(Trace), Levels::ALL);
    }
}
