//! An output whose reader is slow: its lines wait, and are handed over as the reader goes on. Runs
//! on the writer's thread.
//!
//! Nothing is wrong with an output that lags: no event, no gap line, and its gate stays open. It is
//! suspended when its reader has taken nothing for as long as its patience lasts.

use std::io;
use std::time::{Duration, Instant};

use crate::sink::{Lag, WriteError};

use super::Turn;
use super::backlog::Pace;
use super::output::{Life, Output};
use super::records::Records;

impl Output {
    /// Returns the pace of an output that lags.
    pub(super) fn pace(&self) -> Option<&Pace> {
        match &self.life {
            Life::Lagging { pace, .. } => Some(pace),
            Life::Writing { .. } | Life::Suspended(_) => None,
        }
    }

    pub(super) fn is_lagging(&self) -> bool {
        self.pace().is_some()
    }

    /// Returns true if the output lags and the lines of another turn may not fit into its
    /// backlog.
    pub(super) fn is_full(&self, records: &Records) -> bool {
        self.is_lagging() && self.waiting.is_full(records.size(self.id.index))
    }

    /// Returns true if no line waits before this place of the backlog, or if nothing is written.
    pub(super) fn has_written_up_to(&self, end: u32, records: &Records) -> bool {
        !self.is_lagging() || records.has_passed(self.id.index, end)
    }

    /// Returns true if the reader is slow and takes something now and then.
    pub(super) fn is_moving(&self) -> bool {
        self.pace().is_some_and(Pace::is_moving)
    }

    /// Waits up to `at_most` until the reader has left room.
    pub(super) fn wait_for_reader(&mut self, at_most: Duration) {
        self.sink.wait(at_most);
    }

    /// Takes the outcome of an attempt that found too little room.
    pub(super) fn lag(&mut self, took_some: bool, now: Instant) {
        self.waiting.has_lagged = true;
        if let Life::Lagging { pace, .. } = &mut self.life {
            return pace.after(took_some, now);
        }
        let mut pace = Pace::new(now);
        pace.after(took_some, now);
        self.life = Life::Lagging { pace, returned: self.life.take_returned() };
    }

    /// Ends the lag: no line waits any more.
    pub(super) fn catch_up(&mut self) {
        if self.is_lagging() {
            self.life = Life::Writing { returned: self.life.take_returned() };
        }
        self.check_at = None;
    }

    /// Hands over the lines that wait, if that is due. Suspends the output once its patience ends.
    pub(super) fn tend_lagging(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.monotonic;
        self.unreported.look_for_gap(turn.counters.drops_of(&self.counters), turn.now);
        if self.pace().is_some_and(|pace| pace.is_due(now)) {
            self.write_retained(turn);
        }
        if self.pace().is_some_and(|pace| self.waiting.has_lost_patience(pace, now)) {
            let mut error = WriteError::failed(0, "write", io::ErrorKind::WouldBlock.into());
            error.lag = Some(Lag::default());
            self.suspend(error, turn);
        }
    }

    /// Returns true if lines wait for a slow reader when the output is to end: they get the rest of
    /// the deadline. So does the line that reports what was dropped.
    pub(super) fn has_backlog(&mut self, turn: &mut Turn<'_>) -> bool {
        let is_writing = !self.is_suspended() && !self.is_lagging();
        if is_writing && self.waiting.has_lagged && self.unreported_drops(turn).total() > 0 {
            self.lead(turn, true);
            self.write(turn);
        }
        self.is_lagging() || self.has_slow_reader() && turn.records.retained(self.id.index) > 0
    }
}
