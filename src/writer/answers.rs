//! What is asked of the writer, and answered: flushes, shutdowns, orders. Runs on its thread.

use log::Level;

use crate::error::FlushError;
use crate::queue::{Orders, Reply, Request};
use crate::sink::{Command, Now};
use crate::stats::PendingDrops;
use crate::sync::channel::Receiver;

use super::Writer;

/// Somebody waits until this many more records are taken and written.
pub(super) struct Flush {
    left: usize,
    /// How many records were evicted when the last of them had left the queue: what is evicted
    /// later was logged after the call.
    evicted: Option<u64>,
    /// How many lines had found no room in a backlog at the end of that turn.
    by_backlogs: Option<u64>,
    /// Where the backlog of each output ended when they were taken.
    ends: Option<Vec<u32>>,
    answer: Reply,
}

impl Flush {
    fn new(left: usize, answer: Reply) -> Self {
        Self { left, evicted: None, by_backlogs: None, ends: None, answer }
    }
}

impl Writer {
    /// Begins a flush of the writer's own, for a crash that waits. Returns the channel of the
    /// answer.
    pub(crate) fn begin_flush(&mut self) -> Receiver<Result<(), FlushError>> {
        let (answer, answered) = self.pipeline.stamped_reply();
        self.flushes.push(Flush::new(self.pipeline.len(), answer));
        answered
    }

    pub(super) fn take_requests(&mut self) {
        while let Some(request) = self.pipeline.next_request() {
            match request {
                Request::Flush(answer) => self.flushes.push(Flush::new(self.pipeline.len(), answer)),
                Request::Shutdown(answer) => self.shutdowns.push(answer),
            }
        }
        let rotate = self.pipeline.take_order(Orders::rotate).map(|due| (Command::Rotate, due));
        let reopen = self.pipeline.take_order(Orders::reopen).map(|due| (Command::Reopen, due));
        self.orders.extend(rotate.into_iter().chain(reopen));
    }

    /// Notes for each flush whose last record this turn has taken how many were evicted so far.
    pub(super) fn note_evictions(&mut self) {
        let (taken, evicted) = (self.records.len(), self.pipeline.pending_drops().evicted);
        for flush in self.flushes.iter_mut().filter(|flush| (1..=taken).contains(&flush.left)) {
            flush.evicted.get_or_insert(evicted);
        }
    }

    /// Answers the flushes whose records are all written.
    pub(super) fn answer(&mut self, taken: usize, now: Now) {
        // Where nothing can be written there is nothing to wait for: a flood that is only retained
        // must not delay the answer.
        let mut outputs = self.outputs.iter();
        let nothing_goes = outputs.all(|output| output.suspended().is_some() && !output.takes(Level::Error));
        let at_once = nothing_goes || self.pipeline.len() == 0;
        // Read after the length of the queue.
        let drops = self.pipeline.pending_drops();
        let (outputs, records) = (&self.outputs, &self.records);
        for flush in &mut self.flushes {
            flush.left = if at_once { 0 } else { flush.left.saturating_sub(taken) };
            if flush.left == 0 {
                flush.evicted.get_or_insert(drops.evicted);
                flush.by_backlogs.get_or_insert(drops.by_backlogs);
                flush.ends.get_or_insert_with(|| outputs.iter().map(|output| records.end(output.id.index)).collect());
            }
        }
        let is_done = |flush: &Flush| {
            let mut ends = flush.ends.iter().flatten().zip(outputs);
            flush.ends.is_some() && ends.all(|(end, output)| output.has_written_up_to(*end, records))
        };
        let (answered, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.flushes).into_iter().partition(is_done);
        self.flushes = waiting;
        if answered.is_empty() {
            return;
        }
        let mut flushed = Ok(());
        self.each(now, |output, turn| flushed = flushed.and(output.flush(turn)));
        self.publish_gate();
        // A shutdown whose time was up has counted the rest of the queue as dropped: what was
        // waited for may be among it.
        let closed = if self.pipeline.is_ended() { Err(FlushError::Closed) } else { Ok(()) };
        for Flush { answer, evicted, by_backlogs, .. } in answered {
            let mut now = self.pipeline.pending_drops();
            // The smaller number: an eviction that found the queue empty takes its count back.
            now.evicted = now.evicted.min(evicted.unwrap_or(u64::MAX));
            now.by_backlogs = now.by_backlogs.min(by_backlogs.unwrap_or(u64::MAX));
            let nothing_dropped = self.nothing_dropped(answer.before, now);
            answer.send(closed.and(flushed.map_err(FlushError::Suspended)).and(nothing_dropped));
        }
    }

    /// Returns why a request that was asked for with the drops `before` cannot be answered with
    /// `Ok`. `now` holds the drops up to the moment that can concern its records.
    pub(super) fn nothing_dropped(&self, before: PendingDrops, now: PendingDrops) -> Result<(), FlushError> {
        match now {
            _ if now.by_outputs > before.by_outputs => Err(FlushError::Suspended(self.last_drop.0)),
            _ if now.by_backlogs > before.by_backlogs || now.evicted > before.evicted => Err(FlushError::Dropped),
            _ => Ok(()),
        }
    }
}
