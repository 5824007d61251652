//! What becomes of each line that was handed to a sink: it is in, waits, is retained, or is
//! dropped. Runs on the writer's thread.

use std::sync::atomic::Ordering::Relaxed;

use log::Level;

use crate::stats::DropReason;
use crate::unix_time::UnixTime;

use super::Turn;
use super::output::{Output, Rest};
use super::records::WhenFull;

impl Output {
    /// Settles the batch: the first `written` lines are in, and so are the `urgent` ones after
    /// them.
    pub(super) fn settle(&mut self, written: usize, urgent: &[usize], rest: Rest, turn: &mut Turn<'_>) {
        let begun = matches!(rest, Rest::Wait { begun: true }).then_some(written);
        let leading = self.settle_notices(written, begun.is_some());
        let lines = std::mem::take(&mut self.lines);
        let batch = lines.batch(turn.now);
        let (mut bytes, mut records) = (0, 0);
        for (number, line) in batch.lines().enumerate() {
            let is_in = number < written || urgent.binary_search(&number).is_ok();
            bytes += if is_in { line.bytes().len() as u64 } else { 0 };
            let Some(record) = number.checked_sub(leading).and_then(|number| lines.records.get(number)) else {
                continue;
            };
            if is_in {
                records += 1;
                turn.records.write(*record);
                continue;
            }
            let is_begun = begun == Some(number);
            let (when_full, reason) = self.when_full(rest, line.level(), is_begun);
            let Some(when_full) = when_full else {
                turn.drop_record(*record, self.id.index, line.unix_time(), reason);
                continue;
            };
            let line = (line.bytes(), line.unix_time(), line.level());
            let is_retained = self.retain_line(*record, line, when_full, reason, turn);
            if is_retained && is_begun {
                turn.records.set_begun(self.id.index, true);
            }
        }
        self.counters.bytes.fetch_add(bytes, Relaxed);
        self.counters.written.fetch_add(records, Relaxed);
        self.lines = lines;
        self.lines.clear();
        self.count_in_hands(turn);
    }

    /// Marks as reported what the first `written` lines of the batch report. A line of the crate's
    /// own that has `begun` is finished by the sink, whatever comes. Returns how many lines of the
    /// batch are the crate's own.
    pub(super) fn settle_notices(&mut self, written: usize, begun: bool) -> usize {
        let written = written + usize::from(begun);
        let leading = self.unreported.settle(written);
        self.counters.notices.fetch_add(written.min(leading) as u64, Relaxed);
        leading
    }

    /// Returns what a full ring does with a line that is not in; `None`: the line is dropped. Also
    /// returns the reason for drops.
    fn when_full(&self, rest: Rest, level: Level, is_begun: bool) -> (Option<WhenFull>, DropReason) {
        let slow_reader = self.has_slow_reader();
        match rest {
            Rest::Wait { .. } => (Some(self.waiting.when_full_while_lagging(level, is_begun)), DropReason::QueueFull),
            Rest::Suspended(reason) if self.retains(level) => {
                (Some(self.waiting.when_full_in_suspension(level, slow_reader)), reason)
            }
            Rest::Suspended(reason) | Rest::Dropped(reason) => (None, reason),
        }
    }

    /// Lets a line wait if it finds room. Returns true if it does.
    fn retain_line(
        &mut self,
        record: usize,
        (bytes, time, level): (&[u8], UnixTime, Level),
        when_full: WhenFull,
        reason: DropReason,
        turn: &mut Turn<'_>,
    ) -> bool {
        let is_retained = turn.records.keep(record, self.id.index, (bytes, time), when_full, reason, turn.counters);
        if !is_retained && self.has_slow_reader() {
            self.waiting.refused(level);
        }
        is_retained
    }
}
