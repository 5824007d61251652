//! `Draft`: the record that a log call makes, until the queue takes it. Runs on the caller's
//! thread.

use std::cell::Cell;

use crate::record::OwnedRecord;

use super::Queued;

/// A record in the place where it is made. It is copied once, from there into its slot.
///
/// The compiler copies a local value before it hands it on, if something has borrowed the value;
/// and whoever fills a record borrows it. It makes no such copy of a value that is taken from an
/// `Option` whose flag lies next to the value, because taking it changes nothing in the value's own
/// bytes. An `Option` of a `Cell` has such a flag: no value of a `Cell` stands for `None`.
pub(crate) struct Draft(Option<Cell<OnOwnLines>>);

/// Begins with a cache line, so that few of the copy's steps touch two.
#[repr(align(64))]
struct OnOwnLines(Queued);

impl Draft {
    #[inline(always)]
    pub(crate) fn new(record: OwnedRecord) -> Self {
        Self(Some(Cell::new(OnOwnLines(Queued::new(record)))))
    }

    /// Returns the record, unless the queue has taken it.
    #[inline(always)]
    pub(crate) fn record(&mut self) -> Option<&mut OwnedRecord> {
        self.0.as_mut().map(|record| &mut *record.get_mut().0)
    }

    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<Queued> {
        self.0.take().map(|record| record.into_inner().0)
    }

    pub(super) fn put_back(&mut self, record: Queued) {
        self.0 = Some(Cell::new(OnOwnLines(record)));
    }
}

/// Frees what a record holds that no queue has taken.
impl Drop for Draft {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(record) = self.record() {
            record.free();
        }
    }
}
