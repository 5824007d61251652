//! A suspended output: its attempts to come back, its gap line, its retained lines. Runs on the
//! writer's thread.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use log::LevelFilter;

use crate::event::{Cause, Event, State};
use crate::os::ProgramSignals;
use crate::queue::origin;
use crate::record::Notice;
use crate::sink::{Batch, News, WriteError};
use crate::stats::{DropReason, Drops};

use super::lines::Lines;
use super::output::{Life, Output, Refusal};
use super::suspension::{Attempt, Suspension};
use super::{BATCH_BYTES, BATCH_RECORDS, Turn};

/// A retained line that is the first after a gap line and does not go in gets this many chances:
/// one that is longer than all the free space would keep the output from coming back for shorter
/// ones.
const CHANCES: u32 = 3;

impl Output {
    /// Begins a suspension.
    pub(super) fn suspend(&mut self, error: WriteError, turn: &mut Turn<'_>) {
        let (now, cause) = (turn.now, error.cause());
        self.schedule.start(cause, now.monotonic, self.counters.written.load(Relaxed));
        let suspension = Suspension { cause, since: now, takes: error.still_takes, would_block: error.would_block };
        let before = std::mem::replace(&mut self.life, Life::Suspended(suspension));
        self.counters.state.store(State::Suspended(cause).to_byte(), Relaxed);
        self.counters.suspensions.fetch_add(1, Relaxed);
        let since = now.monotonic.saturating_duration_since(self.counters.born).as_nanos() as u64;
        self.counters.suspended_since.store(since + 1, Relaxed);
        for news in error.news {
            match news {
                // The suspension reports it.
                News::Failed { doing, error } => {
                    let output = self.counters.name.to_string();
                    turn.events.raise(Event::Failed { output, doing, error: Arc::new(error) });
                }
                other => self.hear(vec![other], turn),
            }
        }
        // It was back for as long as the first of the retained lines took.
        if let Life::Returned(event) = before {
            turn.events.raise(event);
        }
        turn.events.raise(Event::Suspended { output: self.counters.name.to_string(), cause, at: now.wall });
        let line = error.shortage.and_then(|shortage| self.unreported.suspended(cause, &shortage, now));
        if let Some(notice) = line {
            // A line that does not go in is not tried again; the gap line says when it was.
            let _ = self.write_alone(&notice, |lines| lines.last_words(now));
        }
    }

    /// Writes one line of the crate's own, in a batch of its own.
    fn write_alone(
        &mut self,
        notice: &Notice,
        batch: impl for<'a> FnOnce(&'a Lines) -> Batch<'a>,
    ) -> Result<(), Refusal> {
        let mut lines = Lines::default();
        let encoder = &mut self.encoder;
        let signals = encoder.is_programs().then(ProgramSignals::new);
        origin::inside(self.pipeline, self.index, true, || lines.push_notice(notice, encoder));
        drop(signals);
        match self.ask(|sink| sink.write(&batch(&lines))) {
            Err(refusal) if refusal.error.written() == 0 => return Err(refusal),
            // An error after the line (a sync) is met again by the next batch.
            Ok(()) | Err(_) => {}
        }
        self.counters.notices.fetch_add(1, Relaxed);
        self.counters.bytes.fetch_add(lines.text.len() as u64, Relaxed);
        Ok(())
    }

    /// Does what is due at rest and between batches: tries to come back, or asks for the sink's
    /// health.
    pub(super) fn tend(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.monotonic;
        if self.is_suspended() {
            if self.schedule.is_due(now) && self.try_to_resume(turn) {
                self.write_retained(turn);
            }
        } else if self.check_at.is_none_or(|at| now >= at) {
            self.open_batch(turn);
            self.write(turn);
        }
    }

    /// Makes one attempt to come back when the schedule allows it. Returns true if the output is
    /// back.
    fn try_to_resume(&mut self, turn: &mut Turn<'_>) -> bool {
        let attempt = self.attempt(turn);
        self.schedule.after(attempt, turn.now.monotonic) && self.write_gap_line(turn)
    }

    /// Makes one attempt to come back, whatever the schedule says. Returns true if the output is
    /// back.
    pub(super) fn try_at_once(&mut self, turn: &mut Turn<'_>) -> bool {
        self.attempt(turn) == Attempt::Ready && self.write_gap_line(turn)
    }

    /// Asks the sink whether it could write.
    fn attempt(&mut self, turn: &Turn<'_>) -> Attempt {
        let now = turn.now;
        match self.ask(|sink| sink.retry(now)) {
            Ok(()) => Attempt::Ready,
            Err(refusal) => self.still_suspended(&refusal),
        }
    }

    /// Takes over what a failed attempt says of the suspension.
    fn still_suspended(&mut self, refusal: &Refusal) -> Attempt {
        let takes = if refusal.panicked { LevelFilter::Off } else { refusal.error.still_takes };
        if let Life::Suspended(suspension) = &mut self.life {
            suspension.takes = takes;
            suspension.would_block = refusal.error.would_block;
        }
        Attempt::NotYet { retry_after: refusal.error.get_retry_after() }
    }

    /// Writes the gap line, which is the canary: if it is in, the output is back.
    fn write_gap_line(&mut self, turn: &mut Turn<'_>) -> bool {
        let Life::Suspended(suspension) = self.life else { return false };
        let (now, drops) = (turn.now, self.unreported_drops(turn));
        let gap = self.unreported.gap(&suspension, &drops, turn.records.retained(self.index), now);
        match self.write_alone(&gap, |lines| lines.batch(now)) {
            Ok(()) => self.resume(&suspension, &drops, turn),
            Err(refusal) => {
                let attempt = self.still_suspended(&refusal);
                self.schedule.after(attempt, now.monotonic);
            }
        }
        !self.is_suspended()
    }

    fn resume(&mut self, suspension: &Suspension, drops: &Drops, turn: &Turn<'_>) {
        let now = turn.now;
        self.unreported.gap_is_in(drops, now);
        self.schedule.resumed(now.monotonic, self.counters.written.load(Relaxed));
        self.check_at = None;
        let nanos = now.monotonic.saturating_duration_since(suspension.since.monotonic).as_nanos() as u64;
        self.counters.suspended_nanos.fetch_add(nanos, Relaxed);
        self.counters.suspended_since.store(0, Relaxed);
        self.life = Life::Returned(Event::Resumed {
            output: self.counters.name.to_string(),
            cause: suspension.cause,
            since: suspension.since.wall,
            at: now.wall,
            dropped: drops.total(),
        });
    }

    /// Raises the event that the output is back. Only now, with the gate open, is it true that
    /// records are taken again.
    pub(super) fn raise_resumed(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.life, Life::Returned(_)) {
            return;
        }
        if let Life::Returned(event) = std::mem::replace(&mut self.life, Life::Writing) {
            self.counters.state.store(State::Healthy.to_byte(), Relaxed);
            turn.events.raise(event);
        }
    }

    /// Writes the retained lines after the gap line, the oldest first, before anything newer. What
    /// cannot be written stays retained in the next suspension.
    pub(super) fn write_retained(&mut self, turn: &mut Turn<'_>) {
        let before = turn.records.retained(self.index);
        while !self.is_suspended() && turn.records.retained(self.index) > 0 {
            let mut lines = std::mem::take(&mut self.lines);
            lay_out_retained(&mut lines, self.index, turn);
            let batch = lines.batch(turn.now);
            let result = match batch.len() {
                // There is no memory for one line.
                0 => Err(Refusal { error: WriteError::new(0, Cause::Io), panicked: false }),
                _ => self.ask(|sink| sink.write(&batch)),
            };
            let written =
                result.as_ref().map_or_else(|refusal| refusal.error.written().min(batch.len()), |()| batch.len());
            let panicked = result.as_ref().is_err_and(|refusal| refusal.panicked);
            let gone = if panicked { batch.len() } else { written };
            self.counters.bytes.fetch_add(batch.first(written).bytes().len() as u64, Relaxed);
            self.counters.written.fetch_add(written as u64, Relaxed);
            for line in 0..gone {
                let outcome = if line < written { Ok(()) } else { Err(DropReason::Panicked) };
                turn.records.let_go(self.index, outcome, turn.counters);
            }
            lines.clear();
            self.lines = lines;
            let none_went_in = result.is_err() && turn.records.retained(self.index) == before;
            self.retention.none_went_in = if none_went_in { self.retention.none_went_in + 1 } else { 0 };
            if let Err(refusal) = result {
                if self.retention.none_went_in == CHANCES {
                    self.retention.none_went_in = 0;
                    turn.records.let_go(self.index, Err(refusal.error.cause().into()), turn.counters);
                }
                self.suspend(refusal.error, turn);
            }
            self.counters.in_hands.store(turn.records.retained(self.index), Relaxed);
        }
        turn.records.release(self.index);
    }
}

/// Makes a batch of the oldest retained lines, as far as there is memory for them.
fn lay_out_retained(lines: &mut Lines, output: usize, turn: &Turn<'_>) {
    for (retained, parts) in turn.records.retained_lines(output).take(BATCH_RECORDS) {
        let len = lines.text.len();
        let is_full = len > 0 && len + retained.len > BATCH_BYTES;
        if is_full || !lines.push_record(&parts, retained.state.level, retained.time, 0) {
            return;
        }
    }
}
