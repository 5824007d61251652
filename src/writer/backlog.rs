//! Says which lines wait for a slow reader or a suspended file, and when a slow reader is tried
//! again. Pure. Runs on the writer's thread.

use std::time::{Duration, Instant};

use log::{Level, LevelFilter};

use crate::sink::Backlog;

use super::records::WhenFull;
use super::retained::LINE_OVERHEAD;
use super::{BATCH_BYTES, BATCH_RECORDS};

/// An attempt that got nothing in is followed by the next one after this time, then after twice the
/// time, up to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(1);
const LONGEST_DELAY: Duration = Duration::from_millis(10);
/// Dropped records are reported before the lines that wait once the output has lagged for this
/// long; until then after them, where they are missing.
const REPORT_AFTER: Duration = Duration::from_secs(5);
/// The most that a turn adds to the lines that wait: a batch, and what is remembered of each line.
const TURN: usize = BATCH_BYTES + BATCH_RECORDS * LINE_OVERHEAD;

/// The last eighth of a backlog is for WARN and ERROR, as in the queue.
const RESERVED: usize = 8;

/// The lines of an output that wait in memory.
pub(super) struct Waiting {
    /// Bytes of the newest WARN and ERROR lines while the output is suspended.
    retain: usize,
    /// Bytes of the lines that wait for a slow reader.
    backlog: usize,
    patience: Duration,
    /// Callers wait for the slowest reader: no line is dropped for lack of room.
    pub(super) callers_wait: bool,
    /// The levels for which a stream that is suspended because of its reader had room the last
    /// time.
    admits: LevelFilter,
    /// The output has lagged at some time.
    pub(super) has_lagged: bool,
    /// How often in a row no retained line went in after a gap line.
    pub(super) none_went_in: u32,
}

impl Waiting {
    pub(super) fn new(retain: u64, backlog: Backlog) -> Self {
        Self {
            retain: usize::try_from(retain).unwrap_or(usize::MAX),
            backlog: usize::try_from(backlog.bytes).unwrap_or(usize::MAX),
            patience: backlog.patience,
            callers_wait: false,
            admits: LevelFilter::Trace,
            has_lagged: false,
            none_went_in: 0,
        }
    }

    /// Returns true if a suspended output would retain a line of this level.
    pub(super) fn retains(&self, level: Level, slow_reader: bool) -> bool {
        if slow_reader { level <= self.admits } else { self.retain > LINE_OVERHEAD && level <= Level::Warn }
    }

    /// Returns what a full ring does with a line of a suspended output that retains it.
    pub(super) fn when_full_in_suspension(&self, level: Level, slow_reader: bool) -> WhenFull {
        if slow_reader { self.drop_newest(level) } else { WhenFull::DropOldest(self.retain) }
    }

    /// Returns what a full ring does with a line of an output that lags. A part of one that has
    /// `begun` is in.
    pub(super) fn when_full_while_lagging(&self, level: Level, begun: bool) -> WhenFull {
        if begun || self.callers_wait {
            WhenFull::Grow(self.backlog.saturating_add(TURN))
        } else {
            self.drop_newest(level)
        }
    }

    fn drop_newest(&self, level: Level) -> WhenFull {
        let reserved = if level <= Level::Warn { 0 } else { self.backlog / RESERVED };
        WhenFull::DropNewest { most: self.backlog, reserved }
    }

    /// Returns true if the lines of another turn may not fit, with `waiting` bytes of them there.
    /// All of them may be of a level that the last eighth is not for.
    pub(super) fn is_full(&self, waiting: usize) -> bool {
        waiting.saturating_add(TURN) > self.backlog - self.backlog / RESERVED
    }

    /// Begins a suspension.
    pub(super) fn suspended(&mut self) {
        self.admits = LevelFilter::Trace;
    }

    /// Notes that a suspended stream had no room for a line of this level. What is dropped from now
    /// on is dropped by its caller.
    pub(super) fn refused(&mut self, level: Level) {
        self.admits = self.admits.min(if level <= Level::Warn { LevelFilter::Off } else { LevelFilter::Warn });
    }

    /// Returns true if the reader has taken nothing for too long.
    pub(super) fn has_lost_patience(&self, pace: &Pace, now: Instant) -> bool {
        now.saturating_duration_since(pace.took) >= self.patience
    }

    /// Returns when the patience ends.
    pub(super) fn patience_ends(&self, pace: &Pace) -> Option<Instant> {
        pace.took.checked_add(self.patience)
    }
}

/// The attempts of an output that lags.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    began: Instant,
    /// When the reader last took something.
    took: Instant,
    next: Instant,
    /// The time between the last attempt and the next; zero if the last one got something in.
    delay: Duration,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, took: now, next: now, delay: Duration::ZERO }
    }

    /// Takes the outcome of an attempt.
    pub(super) fn after(&mut self, took_some: bool, now: Instant) {
        if took_some {
            self.took = now;
            self.delay = Duration::ZERO;
        } else {
            self.delay = (self.delay * 2).clamp(FIRST_DELAY, LONGEST_DELAY);
        }
        self.next = now + self.delay;
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Returns true if the reader has taken something at the last attempt: then it is worth waiting
    /// for.
    pub(super) fn is_moving(&self) -> bool {
        self.delay.is_zero()
    }

    /// Returns true if dropped records are reported before the lines that wait.
    pub(super) fn reports_first(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= REPORT_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;

    fn waiting(retain: usize, backlog: usize) -> Waiting {
        Waiting::new(retain as u64, Backlog { bytes: backlog as u64, patience: Duration::from_secs(5) })
    }

    #[test]
    fn a_file_retains_warn_and_error_and_a_stream_what_it_had_room_for() {
        let mut waiting = waiting(64 * KIB, 16 * KIB);
        assert!(waiting.retains(Level::Warn, false) && !waiting.retains(Level::Info, false));
        assert_eq!(waiting.when_full_in_suspension(Level::Error, false), WhenFull::DropOldest(64 * KIB));
        assert!(Level::iter().all(|level| waiting.retains(level, true)));
        let drop_newest = |reserved| WhenFull::DropNewest { most: 16 * KIB, reserved };
        assert_eq!(waiting.when_full_in_suspension(Level::Info, true), drop_newest(2 * KIB));
        assert_eq!(waiting.when_full_in_suspension(Level::Warn, true), drop_newest(0));
        // One that was refused stays refused, so that its callers learn it, until the next time.
        waiting.refused(Level::Debug);
        assert!(waiting.retains(Level::Warn, true) && !waiting.retains(Level::Info, true));
        waiting.refused(Level::Error);
        assert!(!waiting.retains(Level::Error, true));
        waiting.refused(Level::Trace);
        assert!(!waiting.retains(Level::Error, true));
        waiting.suspended();
        assert!(waiting.retains(Level::Trace, true));
    }

    #[test]
    fn a_line_that_is_begun_finds_room_in_any_case_and_so_does_each_where_callers_wait() {
        let mut waiting = waiting(0, 0);
        assert_eq!(waiting.when_full_while_lagging(Level::Info, true), WhenFull::Grow(TURN));
        assert_eq!(waiting.when_full_while_lagging(Level::Info, false), WhenFull::DropNewest { most: 0, reserved: 0 });
        waiting.callers_wait = true;
        assert_eq!(waiting.when_full_while_lagging(Level::Info, false), WhenFull::Grow(TURN));
    }

    #[test]
    fn a_backlog_is_full_when_another_turn_may_not_fit() {
        let waiting = waiting(0, 4 * TURN);
        // Half a turn's room is for WARN and ERROR.
        let most = 2 * TURN + TURN / 2;
        for (bytes, full) in [(0, false), (most, false), (most + 1, true), (9 * TURN, true)] {
            assert_eq!(waiting.is_full(bytes), full, "{bytes}");
        }
    }

    #[test]
    fn attempts_come_at_once_while_the_reader_goes_on_and_every_ten_milliseconds_while_it_stands() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(pace.is_due(now) && pace.is_moving());
        for millis in [1, 2, 4, 8, 10, 10] {
            pace.after(false, now);
            assert_eq!(pace.next() - now, Duration::from_millis(millis));
            assert!(!pace.is_moving() && !pace.is_due(pace.next() - Duration::from_nanos(1)));
            now = pace.next();
        }
        pace.after(true, now);
        assert!(pace.is_due(now) && pace.is_moving());
    }

    #[test]
    fn patience_ends_when_nothing_was_taken_for_so_long_and_drops_are_reported_by_the_whole_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(start);
        let waiting = waiting(0, KIB);
        pace.after(true, at(4000));
        assert_eq!(waiting.patience_ends(&pace), Some(at(9000)));
        assert!(!waiting.has_lost_patience(&pace, at(8999)) && waiting.has_lost_patience(&pace, at(9000)));
        assert!(!pace.reports_first(at(4999)) && pace.reports_first(at(5000)));
    }
}
