//! The archives of a file as the last look through the directory has shown them, and what was done
//! to them since: pure. So no rotation asks for all archives, and many are deleted bit by bit. Runs
//! on the writer's thread.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::iter;
use std::time::SystemTime;

use crate::disk::Entry;
use crate::sink::file::archive_name::Archive;
use crate::sink::file::retention::{Limits, Listed};

/// An archive in its directory.
#[derive(Clone, Debug)]
pub(in crate::sink::file) struct Found {
    pub(in crate::sink::file) archive: Archive,
    pub(in crate::sink::file) entry: Entry,
    /// Its compressed form next to the plain one, as a kill leaves both: they are one archive.
    pub(super) compressed_form: Option<Entry>,
}

impl Found {
    pub(in crate::sink::file) fn new(archive: Archive, entry: Entry) -> Self {
        Self { archive, entry, compressed_form: None }
    }

    /// Returns the files of the archive.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        iter::once(&self.entry).chain(&self.compressed_form)
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.entry.name
    }

    /// Returns the bytes of the form that is larger.
    pub(super) fn bytes(&self) -> u64 {
        self.entries().map(|entry| entry.bytes).max().unwrap_or(0)
    }

    fn listed(&self) -> Listed {
        Listed { bytes: self.bytes(), modified: self.entry.modified }
    }
}

/// The archives, the oldest first: those that stay, and those that are to be deleted.
#[derive(Debug, Default)]
pub(in crate::sink::file) struct KnownArchives {
    stay: VecDeque<Found>,
    due: VecDeque<Found>,
    /// Bytes of those that stay.
    bytes: u64,
}

impl KnownArchives {
    /// Takes what a look through the directory has found, in any order, and joins the two forms of
    /// one archive. A form that is empty, as a crash of the machine may leave it, is none.
    pub(super) fn new(mut found: Vec<Found>) -> Self {
        found.sort_unstable_by_key(|found| found.archive);
        found.dedup_by(|next, found| {
            let are_whole = found.entry.bytes > 0 && next.entry.bytes > 0;
            let is_one = are_whole && next.archive == found.archive.compressed();
            if is_one {
                found.compressed_form = Some(next.entry.clone());
            }
            is_one
        });
        let bytes = found.iter().map(Found::bytes).fold(0, u64::saturating_add);
        Self { stay: found.into(), due: VecDeque::new(), bytes }
    }

    pub(super) fn newest(&self) -> Option<Archive> {
        self.stay.back().map(|found| found.archive)
    }

    pub(super) fn stay(&self) -> &VecDeque<Found> {
        &self.stay
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Decides by all limits which archives are to be deleted next to an active file of this
    /// length.
    pub(super) fn judge(&mut self, limits: &Limits, active: u64, now: SystemTime) {
        let listed: Vec<_> = self.stay.iter().map(Found::listed).collect();
        let mut due = limits.exceeded_by(&listed, active, now).into_iter().peekable();
        let all = std::mem::take(&mut self.stay);
        for (place, found) in all.into_iter().enumerate() {
            if due.next_if_eq(&place).is_some() {
                self.bytes = self.bytes.saturating_sub(found.bytes());
                self.due.push_back(found);
            } else {
                self.stay.push_back(found);
            }
        }
    }

    /// Returns whether the archives that stay are too many, or too large, next to an active file of
    /// this length.
    pub(super) fn exceed(&self, limits: &Limits, active: u64) -> bool {
        !self.stay.is_empty() && limits.are_exceeded(1 + self.stay.len(), self.bytes.saturating_add(active))
    }

    /// Decides that the oldest are to be deleted, until the others are few and small enough.
    pub(super) fn trim(&mut self, limits: &Limits, active: u64) {
        while self.exceed(limits, active) {
            let Some(oldest) = self.stay.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            self.due.push_back(oldest);
        }
    }

    /// Takes out the oldest archive that is to be deleted.
    pub(super) fn next_due(&mut self) -> Option<Found> {
        self.due.pop_front()
    }

    /// Takes out the oldest archive.
    pub(super) fn pop_oldest(&mut self) -> Option<Found> {
        self.next_due().or_else(|| {
            let oldest = self.stay.pop_front()?;
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            Some(oldest)
        })
    }

    /// Adds an archive.
    pub(super) fn add(&mut self, found: Found) {
        let place = self.place_after(found.archive);
        self.bytes = self.bytes.saturating_add(found.bytes());
        self.stay.insert(place, found);
    }

    pub(super) fn contains(&self, archive: Archive) -> bool {
        self.stay.binary_search_by_key(&archive, |found| found.archive).is_ok()
    }

    /// Removes an archive that stays.
    pub(super) fn remove(&mut self, archive: Archive) {
        let Ok(place) = self.stay.binary_search_by_key(&archive, |found| found.archive) else { return };
        self.bytes = self.bytes.saturating_sub(self.stay.remove(place).map_or(0, |found| found.bytes()));
    }

    /// Returns how many of the archives that stay are not younger than `archive`.
    pub(super) fn place_after(&self, archive: Archive) -> usize {
        self.stay.partition_point(|found| found.archive <= archive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

    fn archive(second: i64, bytes: u64) -> Found {
        let entry = Entry {
            name: format!("{second}").into(),
            bytes,
            modified: SystemTime::UNIX_EPOCH,
            id: None,
            is_doubtful: false,
        };
        Found::new(Archive::after(None, second), entry)
    }

    fn names<'a>(found: impl IntoIterator<Item = &'a Found>) -> Vec<&'a str> {
        found.into_iter().map(|found| found.name().to_str().unwrap()).collect()
    }

    #[test]
    fn the_oldest_are_due_until_the_limits_hold_and_are_taken_out_in_their_order() {
        let limits = Limits { files: Some(3), total: Some(100), age: None };
        let mut known = KnownArchives::new(vec![archive(3, 10), archive(1, 10), archive(2, 0), archive(4, 10)]);
        known.judge(&limits, 0, SystemTime::UNIX_EPOCH);
        assert_eq!((names(&known.due), names(known.stay())), (vec!["1", "2"], vec!["3", "4"]));
        known.add(archive(5, 75));
        assert!(known.exceed(&limits, 0) && !known.exceed(&Limits { files: Some(4), total: None, ..limits }, 0));
        known.trim(&limits, 10);
        assert_eq!((names(&known.due), names(known.stay())), (vec!["1", "2", "3"], vec!["4", "5"]));
        known.trim(&limits, 16);
        let due: Vec<_> = std::iter::from_fn(|| known.next_due()).collect();
        assert_eq!(names(&due), ["1", "2", "3", "4"]);
        assert_eq!((known.pop_oldest().map(|found| found.bytes()), known.bytes), (Some(75), 0));
        assert!(known.pop_oldest().is_none() && !known.exceed(&limits, 1000), "the active file stays");
    }

    #[test]
    fn the_age_is_judged_and_what_is_removed_is_not_counted() {
        let limits = Limits { files: None, total: Some(15), age: Some(DAY) };
        let mut known = KnownArchives::new(vec![archive(1, 10), archive(2, 10)]);
        known.remove(Archive::after(None, 3));
        known.remove(Archive::after(None, 1));
        assert!(!known.exceed(&limits, 5) && names(known.stay()) == ["2"]);
        known.judge(&limits, 0, SystemTime::UNIX_EPOCH + 2 * DAY);
        assert_eq!((names(&known.due), known.bytes), (vec!["2"], 0));
    }
}
