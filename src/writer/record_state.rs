//! What is known of one record, and the way to a line of it that is retained. Pure. Runs on the
//! writer's thread.

use std::num::NonZeroU16;

use log::Level;

use crate::stats::DropReason;

/// What is known of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordState {
    pub(super) level: Level,
    pub(super) truncated: bool,
    /// Whole in at least one output.
    pub(super) written: bool,
    /// The first output that wanted it and has dropped it, and why.
    pub(super) dropped: Option<(u16, DropReason)>,
    /// One of the lines of it that are retained.
    pub(super) retained: Option<LineRef>,
}

/// Where a retained line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineRef {
    /// In whose ring, counted from 1.
    ring: NonZeroU16,
    pub(super) at: u32,
}

impl LineRef {
    /// Returns `None` for an output whose number does not fit; it retains nothing.
    pub(super) fn new(output: usize, at: u32) -> Option<Self> {
        let ring = u16::try_from(output + 1).ok().and_then(NonZeroU16::new)?;
        Some(Self { ring, at })
    }

    pub(super) fn output(self) -> usize {
        usize::from(self.ring.get()) - 1
    }

    pub(super) fn to_numbers(self) -> (u16, u32) {
        (self.ring.get(), self.at)
    }

    pub(super) fn from_numbers(ring: u16, at: u32) -> Option<Self> {
        NonZeroU16::new(ring).map(|ring| Self { ring, at })
    }
}

impl RecordState {
    pub(super) fn drop_by(&mut self, output: u16, reason: DropReason) {
        if self.dropped.is_none_or(|(first, _)| output < first) {
            self.dropped = Some((output, reason));
        }
    }

    /// Takes over what another line of the same record knows.
    pub(super) fn learn(&mut self, other: &RecordState) {
        self.written |= other.written;
        if let Some((output, reason)) = other.dropped {
            self.drop_by(output, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Option<(u16, DropReason)> = Some((1, DropReason::DiskFull));
    const FAILED: Option<(u16, DropReason)> = Some((2, DropReason::IoError));

    #[test]
    fn what_the_lines_of_a_record_know_is_the_same_in_whatever_order_they_learn_it() {
        let line =
            |written, dropped| RecordState { level: Level::Info, truncated: false, written, dropped, retained: None };
        // (two lines of a record, what is known of it)
        let cases = [
            (line(true, None), line(false, FAILED), (true, FAILED)),
            (line(false, FULL), line(false, FAILED), (false, FULL)),
            (line(false, None), line(false, FAILED), (false, FAILED)),
            (line(false, None), line(false, None), (false, None)),
            (line(true, FULL), line(true, None), (true, FULL)),
        ];
        for (one, other, known) in cases {
            for (mut learns, from) in [(one, other), (other, one)] {
                learns.learn(&from);
                assert_eq!((learns.written, learns.dropped), known, "{one:?} and {other:?}");
            }
        }
    }
}
