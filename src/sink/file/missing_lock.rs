//! What is known of a lock, when its holder gives it up, and when one that is missing is reported:
//! pure. Runs on the writer's thread.
//!
//! Another process that has the lock does what is due. Only what stays due for a while shows that
//! nobody does it: because the lock is in the hands of somebody who does not log, or because it
//! cannot be taken at all.

use std::io;
use std::time::{Duration, Instant};

/// A lock that another process has is asked for again this often.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// The process that has given the lock up asks for it again this often.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// The holder gives the lock up if it has written nothing for this long, and others have.
const SILENT: Duration = Duration::from_secs(10);
/// What is due for this long is reported.
const LONG: Duration = Duration::from_secs(60);
/// A missing lock is reported at most this often.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// What an open file knows of its lock.
pub(super) struct LockState {
    pub(super) held: bool,
    pub(super) asked_at: Instant,
    /// Why it is missing; not reported yet.
    pub(super) missing: Option<io::Error>,
    /// When this process last tried to announce that it writes.
    pub(super) announced_at: Instant,
    pub(super) turn: Turn,
}

impl LockState {
    pub(super) fn new(now: Instant) -> Self {
        Self { held: false, asked_at: now, missing: None, announced_at: now, turn: Turn::default() }
    }

    /// Returns why it is missing, whether that was reported or not.
    pub(super) fn why_missing(&self) -> io::Error {
        match &self.missing {
            Some(error) => io::Error::new(error.kind(), error.to_string()),
            None => held_by_another(),
        }
    }
}

/// Whose turn it is to have the lock. Its holder rotates before a record of its own: a holder that
/// writes nothing while others do, such as a parent whose children log, would let the file grow for
/// ever.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Another process was seen to write, and this one has not written since.
    others_wrote: bool,
    /// When that was first looked at.
    others_since: Option<Instant>,
    /// The lock was given up, and this process has not written since.
    is_over: bool,
}

impl Turn {
    /// Begins a turn: this process has written, or has just got the lock.
    pub(super) fn begins(&mut self) {
        *self = Self::default();
    }

    pub(super) fn others_wrote(&mut self) {
        self.others_wrote = true;
    }

    /// Returns whether the holder gives the lock up now: others still write after this time, in
    /// which it has written nothing.
    pub(super) fn ends(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.others_wrote) {
            let since = *self.others_since.get_or_insert(now);
            self.is_over |= now.saturating_duration_since(since) >= SILENT;
        }
        self.is_over
    }

    /// Returns whether the lock was given up, and nothing was written since.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns how often a lock that is missing is asked for. The process that has given it up lets
    /// the others have it first. If nobody wants it, the archives still need a holder.
    pub(super) fn asks_every(&self) -> Duration {
        if self.is_over { ASK_AGAIN } else { ASK_EVERY }
    }
}

pub(super) fn held_by_another() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, "another process holds the lock")
}

/// What is known of a lock that this process does not have.
#[derive(Debug, Default)]
pub(super) struct MissingLock {
    /// Since when something has been due that needs the lock.
    due_since: Option<Instant>,
    reported: Option<Instant>,
}

impl MissingLock {
    /// Notes that the lock is held. A task that is due stays overdue until it is done, because
    /// somebody may take the lock away before.
    pub(super) fn is_held(&mut self, is_due: bool) {
        if !is_due {
            self.due_since = None;
        }
    }

    /// Returns whether it must be reported now. `is_hopeless`: nobody can have it, which is
    /// reported at once. `is_due`: a rotation or a deletion waits for it.
    pub(super) fn must_report(&mut self, is_hopeless: bool, is_due: bool, now: Instant) -> bool {
        let due_since = if is_due { self.due_since.or(Some(now)) } else { None };
        self.due_since = due_since;
        let has_passed = |since: Instant, time| now.saturating_duration_since(since) >= time;
        let is_overdue = due_since.is_some_and(|since| has_passed(since, LONG));
        let must = match self.reported {
            None => is_hopeless || is_overdue,
            Some(reported) => is_overdue && has_passed(reported, AGAIN),
        };
        if must {
            self.reported = Some(now);
        }
        must
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which it is reported, if it is asked for every second.
    fn reported(is_hopeless: bool, is_due: impl Fn(u64) -> bool, seconds: u64) -> Vec<u64> {
        let start = Instant::now();
        let mut lock = MissingLock::default();
        let mut is_reported =
            |second| lock.must_report(is_hopeless, is_due(second), start + Duration::from_secs(second));
        (0..=seconds).filter(|second| is_reported(*second)).collect()
    }

    #[test]
    fn who_writes_nothing_while_others_do_gives_the_lock_up_and_asks_later() {
        let always: Vec<u64> = (0..40).collect();
        // (writes at these seconds, others write at these seconds, it gives the lock up at)
        let cases: [(&[u64], &[u64], Option<u64>); 5] = [
            (&[], &always, Some(10)),
            (&[], &[3, 12, 20], Some(20)),
            (&[], &[3], None),
            (&[5, 14, 23, 32], &always, None),
            (&[5], &always, Some(16)),
        ];
        let start = Instant::now();
        for (own, others, expected) in cases {
            let mut turn = Turn::default();
            let mut ends = |second| {
                if others.contains(&second) {
                    turn.others_wrote();
                }
                if own.contains(&second) {
                    turn.begins();
                }
                turn.ends(start + Duration::from_secs(second))
            };
            assert_eq!((0..40).find(|second| ends(*second)), expected);
            assert_eq!(turn.asks_every(), if expected.is_some() { ASK_AGAIN } else { ASK_EVERY });
            turn.begins();
            assert_eq!(turn.asks_every(), ASK_EVERY);
        }
    }

    #[test]
    fn what_is_due_is_reported_after_a_minute_and_then_once_an_hour() {
        assert_eq!(reported(false, |_| true, 3 * 3600), [60, 3660, 7260]);
        assert_eq!(reported(false, |second| second >= 100, 3600), [160]);
        assert_eq!(reported(true, |_| true, 7200), [0, 3600, 7200]);
    }

    #[test]
    fn what_another_process_does_is_not_reported() {
        assert_eq!(reported(false, |_| false, 7200), [0; 0]);
        assert_eq!(reported(false, |second| second % 60 != 59, 7200), [0; 0], "it is done within the minute");
        assert_eq!(reported(true, |_| false, 7200), [0], "nobody can have it: once");
    }

    #[test]
    fn what_was_done_while_the_lock_was_held_does_not_count_and_what_is_still_due_does() {
        for is_done in [false, true] {
            let start = Instant::now();
            let mut lock = MissingLock::default();
            assert!(!lock.must_report(false, true, start));
            lock.is_held(!is_done);
            assert_eq!(lock.must_report(false, true, start + LONG), !is_done);
            assert_eq!(lock.must_report(false, true, start + 2 * LONG), is_done);
        }
    }
}
