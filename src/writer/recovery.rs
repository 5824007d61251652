//! A suspended output: its attempts to resume, its gap line, its retained lines. Runs on the
//! writer's thread.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use log::LevelFilter;

use crate::clock;
use crate::event::{Cause, Event, State};
use crate::os::ProgramSignals;
use crate::queue::origin;
use crate::record::Notice;
use crate::sink::{Batch, Lag, News, Now, WriteError};
use crate::stats::{DropReason, Drops};

use super::lines::Lines;
use super::output::{Life, Output, Refusal};
use super::suspension::{Attempt, Shown, Suspension};
use super::{BATCH_BYTES, BATCH_RECORDS, Turn};

/// The first retained line after a gap line is tried this often before it is dropped. A line that
/// is longer than all the free space would otherwise keep the output from resuming for shorter
/// ones.
const CHANCES: u32 = 3;

impl Output {
    /// Begins a suspension.
    pub(super) fn suspend(&mut self, error: WriteError, turn: &mut Turn<'_>) {
        let (now, cause) = (turn.now, error.cause());
        self.schedule.start(cause, now.monotonic, self.counters.written.load(Relaxed));
        let slow_reader = error.lag.is_some();
        let (raised, takes) = ((cause, now.monotonic), error.still_takes);
        let suspension = Suspension { cause, raised, since: now, takes, slow_reader, shown: Shown::Failure };
        self.drop_rest_unless(slow_reader, turn);
        self.waiting.suspended();
        let returned = self.life.take_returned();
        self.life = Life::Suspended(suspension);
        self.counters.state.suspended(cause, now.monotonic);
        self.hear_with_suspension(error.news, true, turn);
        // The output had resumed, and its event is still due: it comes before that of this
        // suspension.
        if let Some(event) = returned {
            turn.events.raise(event);
        }
        turn.events.raise(Event::Suspended { output: self.counters.name.to_string(), cause, at: now.wall });
        let line = error.shortage.and_then(|shortage| self.unreported.suspended(cause, &shortage, now));
        if let Some(notice) = line {
            // If this line does not go in, it is not tried again: the gap line says when the
            // suspension began.
            let _ = self.write_alone(&notice, |lines| lines.last_words(now), turn);
        }
    }

    /// Notes that a line that was partly written is due again as a whole, unless its reader is only
    /// slow: the sink has dropped the rest of the line with its stream.
    fn drop_rest_unless(&self, slow_reader: bool, turn: &mut Turn<'_>) {
        if !slow_reader {
            turn.records.set_begun(self.id.index, false);
        }
    }

    /// Writes one line of the crate's own, in a batch of its own. Returns true if only a part of it
    /// is in: the sink finishes it.
    fn write_alone(
        &mut self,
        notice: &Notice,
        batch: impl for<'a> FnOnce(&'a Lines) -> Batch<'a>,
        turn: &mut Turn<'_>,
    ) -> Result<bool, Refusal> {
        let mut lines = Lines::default();
        let encoder = &mut self.encoder;
        let signals = encoder.is_programs().then(ProgramSignals::new);
        origin::inside(self.id, true, || lines.push_notice(notice, encoder));
        drop(signals);
        let begun = match self.ask(|sink| sink.write(&batch(&lines))) {
            Err(Refusal { error, .. }) if error.lag.is_some_and(|lag| lag.begun) => true,
            Err(refusal) if refusal.error.written() == 0 => return Err(refusal),
            Ok(()) => false,
            // An error after the line (a sync) is met again by the next batch.
            Err(refusal) => {
                self.hear_with_suspension(refusal.error.news, false, turn);
                false
            }
        };
        self.counters.notices.fetch_add(1, Relaxed);
        self.counters.bytes.fetch_add(lines.text.len() as u64, Relaxed);
        Ok(begun)
    }

    /// Makes the attempt to resume if one is due, and returns what it has shown. Unless that is a
    /// failure, `tend` writes the gap line.
    pub(super) fn attempt_if_due(&mut self, turn: &mut Turn<'_>) -> Shown {
        let now = turn.now.monotonic;
        if !self.is_suspended() || !self.schedule.is_due(now) {
            return Shown::Failure;
        }
        let attempt = self.attempt(turn);
        let shown = match (self.schedule.after(attempt, now), attempt) {
            (false, _) => Shown::Failure,
            (true, Attempt::Recovered) => Shown::Recovery,
            (true, _) => Shown::Hope,
        };
        if let Life::Suspended(suspension) = &mut self.life {
            suspension.shown = shown;
        }
        shown
    }

    /// Does what is due at rest and between batches: resumes, writes lines that wait, or asks for
    /// the sink's health.
    pub(super) fn tend(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.monotonic;
        if let Some(suspension) = self.suspension() {
            if suspension.shown != Shown::Failure && self.write_gap_line(turn) {
                self.write_retained(turn);
            }
        } else if self.is_lagging() {
            self.tend_lagging(turn);
        } else if self.check_at.is_none_or(|at| now >= at) {
            self.open_batch(turn);
            self.write(turn);
        }
    }

    /// Makes one attempt to resume, whatever the schedule says. Returns true if the output has
    /// resumed.
    pub(super) fn try_at_once(&mut self, turn: &mut Turn<'_>) -> bool {
        !matches!(self.attempt(turn), Attempt::NotYet { .. }) && self.write_gap_line(turn)
    }

    /// Asks the sink whether it could write.
    fn attempt(&mut self, turn: &mut Turn<'_>) -> Attempt {
        let now = turn.now;
        match self.ask(|sink| sink.retry(now)) {
            Ok(()) if self.sink.has_recovered() => Attempt::Recovered,
            Ok(()) => Attempt::Ready,
            Err(refusal) => self.still_suspended(refusal, turn),
        }
    }

    /// Updates the suspension by what a failed attempt has shown.
    fn still_suspended(&mut self, refusal: Refusal, turn: &mut Turn<'_>) -> Attempt {
        let retry_after = refusal.error.get_retry_after();
        let takes = if refusal.panicked { LevelFilter::Off } else { refusal.error.still_takes };
        let slow_reader = refusal.error.lag.is_some();
        let mut must_raise = false;
        if let Life::Suspended(suspension) = &mut self.life {
            suspension.takes = takes;
            suspension.slow_reader = slow_reader;
            suspension.shown = Shown::Failure;
            must_raise = suspension.follow(refusal.error.cause(), turn.now.monotonic);
            let cause = suspension.cause;
            self.schedule.follow(cause);
            self.counters.state.set(State::Suspended(cause));
        }
        self.hear_with_suspension(refusal.error.news, must_raise, turn);
        self.drop_rest_unless(slow_reader, turn);
        Attempt::NotYet { retry_after }
    }

    /// Takes the news that came with an error of a suspended output: a failure is raised as an
    /// event only if `must_raise`, because the gap line reports it. All other news is taken as
    /// usual.
    pub(super) fn hear_with_suspension(&mut self, news: Vec<News>, must_raise: bool, turn: &mut Turn<'_>) {
        for news in news {
            match news {
                News::Failed { doing, error } if must_raise => {
                    let output = self.counters.name.to_string();
                    turn.events.raise(Event::Failed { output, doing, error: Arc::new(error) });
                }
                News::Failed { .. } => {}
                other => self.hear(vec![other], turn),
            }
        }
    }

    /// Writes the gap line, which is also the test: if it is in, the output has resumed.
    fn write_gap_line(&mut self, turn: &mut Turn<'_>) -> bool {
        let Life::Suspended(suspension) = self.life else { return false };
        let finished = self.finish_begun(turn);
        self.unreported.note_drop(turn.records.take_earliest_drop(self.id.index));
        let drops = self.unreported_drops(turn);
        // Callers met a closed gate until now, and the sinks may have taken long since the turn
        // began.
        let now = Now { wall: clock::now(), ..turn.now };
        let gap = self.unreported.gap(&suspension, &drops, turn.records.retained(self.id.index), now);
        match finished.and_then(|()| self.write_alone(&gap, |lines| lines.batch(now), turn)) {
            Ok(begun) => {
                self.resume(&suspension, &drops, turn);
                if begun {
                    self.lag(true, now.monotonic);
                }
            }
            Err(refusal) => {
                let attempt = self.still_suspended(refusal, turn);
                self.schedule.after(attempt, now.monotonic);
            }
        }
        !self.is_suspended()
    }

    /// Makes the sink finish a line that is partly written, before the gap line.
    fn finish_begun(&mut self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        if !turn.records.is_begun(self.id.index) {
            return Ok(());
        }
        let mut lines = Lines::default();
        lay_out_retained(&mut lines, self.id.index, 1, turn);
        let batch = lines.batch(turn.now);
        let sent = match batch.len() {
            // There is no memory for it now.
            0 => Err(Refusal { error: WriteError::lagging(0, Lag::default()), panicked: false }),
            _ => self.ask(|sink| sink.write(&batch)),
        };
        match sent {
            Ok(()) => {}
            Err(refusal) if refusal.error.written() == 0 => return Err(refusal),
            // An error after the line is met again by the next batch.
            Err(refusal) => self.hear_with_suspension(refusal.error.news, false, turn),
        }
        self.counters.bytes.fetch_add(turn.records.begun_bytes(self.id.index) as u64, Relaxed);
        self.counters.written.fetch_add(1, Relaxed);
        turn.records.let_go(self.id.index, Ok(()), turn.counters);
        self.count_in_hands(turn);
        Ok(())
    }

    fn resume(&mut self, suspension: &Suspension, drops: &Drops, turn: &Turn<'_>) {
        let now = turn.now;
        self.unreported.gap_is_in(drops, now);
        self.schedule.resumed(now.monotonic, self.counters.written.load(Relaxed));
        self.check_at = None;
        self.counters.state.resumed(now.monotonic);
        let event = Event::Resumed {
            output: self.counters.name.to_string(),
            cause: suspension.cause,
            since: suspension.since.wall,
            at: now.wall,
            dropped: drops.total(),
        };
        self.life = Life::Writing { returned: Some(event) };
    }

    /// Raises the event that the output has resumed. It is raised only now because records are
    /// taken again only once the gate is open.
    pub(super) fn raise_resumed(&mut self, turn: &mut Turn<'_>) {
        if let Some(event) = self.life.take_returned() {
            self.counters.state.set(State::Healthy);
            turn.events.raise(event);
        }
    }

    /// Writes the lines that wait, the oldest first, before anything newer: after the gap line, or
    /// as the reader of a stream goes on. What cannot be written goes on waiting.
    pub(super) fn write_retained(&mut self, turn: &mut Turn<'_>) {
        let before = turn.records.retained(self.id.index);
        while !self.is_suspended() {
            if turn.records.retained(self.id.index) == 0 && !self.leads_after_the_backlog(turn) {
                break;
            }
            if !self.write_batch_of_retained(before, turn) {
                break;
            }
        }
        turn.records.release(self.id.index);
    }

    /// Lays out the lines that report what was dropped while the output lagged; without any, it has
    /// caught up. Returns true if there are such lines.
    fn leads_after_the_backlog(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.is_lagging() {
            return false;
        }
        self.lead(turn, false);
        if !self.lines.is_empty() {
            return true;
        }
        match self.ask(|sink| sink.flush()) {
            Ok(()) => self.catch_up(),
            Err(refusal) => self.refused(refusal, turn),
        }
        false
    }

    /// Hands over one batch: the lines that lead it, and the oldest that wait. Returns false if the
    /// reader has left no room for all of it. `before` is how many lines waited at first.
    fn write_batch_of_retained(&mut self, before: usize, turn: &mut Turn<'_>) -> bool {
        let now = turn.now.monotonic;
        // Nothing leads a line of which a part is in: its rest goes first, and is the first to
        // count as written.
        let may_lead = self.lines.is_empty() && !turn.records.is_begun(self.id.index);
        if may_lead && self.pace().is_some_and(|pace| pace.reports_first(now)) {
            self.lead(turn, false);
        }
        let mut lines = std::mem::take(&mut self.lines);
        lay_out_retained(&mut lines, self.id.index, BATCH_RECORDS, turn);
        let batch = lines.batch(turn.now);
        let result = match batch.len() {
            // There is no memory for one line.
            0 => Err(Refusal { error: WriteError::new(0, Cause::Io), panicked: false }),
            _ => self.ask(|sink| sink.write(&batch)),
        };
        self.settle_retained(&batch, &result, turn);
        lines.clear();
        self.lines = lines;
        let has_room = match result {
            Ok(()) => {
                self.waiting.none_went_in = 0;
                true
            }
            Err(refusal) => {
                let has_room = refusal.error.lag.is_none();
                self.count_chance(&refusal, before, turn);
                self.refused(refusal, turn);
                has_room
            }
        };
        self.count_in_hands(turn);
        has_room
    }

    /// Settles a batch of lines that waited, by what the sink has answered.
    fn settle_retained(&mut self, batch: &Batch<'_>, result: &Result<(), Refusal>, turn: &mut Turn<'_>) {
        let refusal = result.as_ref().err();
        let written = refusal.map_or(batch.len(), |refusal| refusal.error.written().min(batch.len()));
        let begun = refusal.and_then(|refusal| refusal.error.lag).is_some_and(|lag| lag.begun);
        let leading = self.settle_notices(written, begun);
        self.counters.bytes.fetch_add(batch.first(written).bytes().len() as u64, Relaxed);
        let is_in = written.saturating_sub(leading);
        self.counters.written.fetch_add(is_in as u64, Relaxed);
        if is_in > 0 {
            // In the batch, a line that was begun is empty: its bytes are counted here.
            self.counters.bytes.fetch_add(turn.records.begun_bytes(self.id.index) as u64, Relaxed);
        }
        let panicked = refusal.is_some_and(|refusal| refusal.panicked);
        let gone = if panicked { batch.len() - leading } else { is_in };
        for line in 0..gone {
            let outcome = if line < is_in { Ok(()) } else { Err(DropReason::Panicked) };
            turn.records.let_go(self.id.index, outcome, turn.counters);
        }
        if begun && written >= leading {
            turn.records.set_begun(self.id.index, true);
        }
    }

    /// Counts a chance of the first of the lines that wait, if none of them went in, and drops it
    /// after its last one.
    fn count_chance(&mut self, refusal: &Refusal, before: usize, turn: &mut Turn<'_>) {
        let none_went_in = refusal.error.lag.is_none() && turn.records.retained(self.id.index) == before;
        self.waiting.none_went_in = if none_went_in { self.waiting.none_went_in + 1 } else { 0 };
        if self.waiting.none_went_in == CHANCES {
            self.waiting.none_went_in = 0;
            turn.records.let_go(self.id.index, Err(refusal.error.cause().into()), turn.counters);
        }
    }

    /// Takes an error of the sink: its reader is slow, or the output is suspended.
    pub(super) fn refused(&mut self, refusal: Refusal, turn: &mut Turn<'_>) {
        match refusal.error.lag {
            Some(lag) => self.lag(lag.took_some, turn.now.monotonic),
            None => self.suspend(refusal.error, turn),
        }
    }
}

/// Makes a batch of the oldest retained lines, at most this many, as far as there is memory for
/// them.
fn lay_out_retained(lines: &mut Lines, output: usize, most: usize, turn: &Turn<'_>) {
    for (retained, parts) in turn.records.retained_lines(output).take(most) {
        let len = lines.text.len();
        let is_full = len > 0 && len + retained.len > BATCH_BYTES;
        if is_full || !lines.push_record(&parts, retained.state.level, retained.time, 0) {
            return;
        }
    }
}
