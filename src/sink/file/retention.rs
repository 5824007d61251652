//! Which old files go: pure policy. Names, lengths and ages go in, what to delete comes out. Runs
//! on the writer's thread.

use std::time::{Duration, SystemTime};

/// How much of the log may stay; each limit is one more reason to delete an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    /// Files in all, the active one included.
    pub(crate) files: Option<usize>,
    /// Bytes in all, the active file included.
    pub(crate) total: Option<u64>,
    /// Since the last record.
    pub(crate) age: Option<Duration>,
}

/// One archive, as it is in its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

impl Limits {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether there are too many files, or bytes, the active file included.
    pub(super) fn are_exceeded(&self, files: usize, total: u64) -> bool {
        self.files.is_some_and(|most| files > most) || self.total.is_some_and(|most| total > most)
    }

    /// Returns which of `archives`, the oldest first, have to go next to an active file of this
    /// length. An empty one always goes: it holds nothing.
    pub(super) fn exceeded_by(&self, archives: &[Listed], active: u64, now: SystemTime) -> Vec<usize> {
        let mut files = 1 + archives.iter().filter(|archive| archive.bytes > 0).count();
        let mut total = archives.iter().fold(active, |sum, archive| sum.saturating_add(archive.bytes));
        let mut going = Vec::new();
        for (place, archive) in archives.iter().enumerate() {
            // A file from the future is not old.
            let age = now.duration_since(archive.modified).unwrap_or_default();
            let goes = archive.bytes == 0 || self.are_exceeded(files, total) || self.age.is_some_and(|most| age > most);
            if goes {
                files -= usize::from(archive.bytes > 0);
                total = total.saturating_sub(archive.bytes);
                going.push(place);
            }
        }
        going
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// Archives of so many bytes, the youngest a day old, each a day older than the next.
    fn archives(bytes: &[u64], now: SystemTime) -> Vec<Listed> {
        let ages = (1..=bytes.len() as u32).rev();
        bytes.iter().zip(ages).map(|(bytes, age)| Listed { bytes: *bytes, modified: now - DAY * age }).collect()
    }

    #[test]
    fn the_oldest_go_until_every_limit_holds() {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let none = Limits::default();
        let cases: &[(Limits, &[u64], u64, &[usize])] = &[
            (none, &[10, 10, 10], 5, &[]),
            (none, &[], 5, &[]),
            // By count, the active one included.
            (Limits { files: Some(4), ..none }, &[10, 10, 10], 5, &[]),
            (Limits { files: Some(3), ..none }, &[10, 10, 10], 5, &[0]),
            (Limits { files: Some(1), ..none }, &[10, 10, 10], 5, &[0, 1, 2]),
            // By bytes, the active one included.
            (Limits { total: Some(35), ..none }, &[10, 10, 10], 5, &[]),
            (Limits { total: Some(34), ..none }, &[10, 10, 10], 5, &[0]),
            (Limits { total: Some(5), ..none }, &[10, 10, 10], 5, &[0, 1, 2]),
            (Limits { total: Some(4), ..none }, &[10, 10, 10], 5, &[0, 1, 2]),
            (Limits { total: Some(u64::MAX), ..none }, &[u64::MAX, 10], 5, &[]),
            // Only the oldest, even if a younger one alone would do.
            (Limits { total: Some(100), ..none }, &[1, 1, 1000, 1], 5, &[0, 1, 2]),
            // By age: three, two and one days old.
            (Limits { age: Some(3 * DAY), ..none }, &[10, 10, 10], 5, &[]),
            (Limits { age: Some(2 * DAY), ..none }, &[10, 10, 10], 5, &[0]),
            (Limits { age: Some(DAY / 2), ..none }, &[10, 10, 10], 5, &[0, 1, 2]),
            // Together.
            (Limits { files: Some(3), total: Some(15), age: Some(10 * DAY) }, &[10, 10, 10], 5, &[0, 1]),
            (Limits { files: Some(9), total: Some(999), age: Some(DAY) }, &[10, 10, 10], 5, &[0, 1]),
            // An empty one is no history.
            (none, &[10, 0, 10], 5, &[1]),
            (Limits { files: Some(3), ..none }, &[0, 10, 10], 5, &[0]),
            (Limits { files: Some(2), ..none }, &[10, 10, 0], 5, &[0, 2]),
            (Limits { files: Some(2), ..none }, &[0, 10, 10], 5, &[0, 1]),
        ];
        for (limits, bytes, active, expected) in cases {
            assert_eq!(limits.exceeded_by(&archives(bytes, now), *active, now), *expected, "{limits:?} {bytes:?}");
        }
    }

    #[test]
    fn a_clock_that_was_ahead_makes_no_file_old() {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let limits = Limits { age: Some(DAY), ..Limits::default() };
        let future = [Listed { bytes: 10, modified: now + 1000 * DAY }];
        assert!(limits.exceeded_by(&future, 0, now).is_empty());
    }
}
