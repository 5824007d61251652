//! One output at work: lays out lines and hands them to the sink. What becomes of each line is in
//! `settle.rs`, what a suspended output does in `recovery.rs`, the end in `finish.rs`. Runs on the
//! writer's thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use log::Level;

use crate::event::{Cause, Event, State};
use crate::format::Encoder;
use crate::os::ProgramSignals;
use crate::queue::origin::{self, OutputId};
use crate::record::{Notice, Record};
use crate::sink::{Backlog, Command, Health, Lag, News, Now, OutputSink, WriteError};
use crate::stats::{DropReason, Drops, OutputCounters};

use super::backlog::{Pace, Waiting};
use super::guard::{Panicked, guarded};
use super::lines::Lines;
use super::suspension::{Jitter, RetrySchedule, Shown, Suspension};
use super::unreported::Unreported;
use super::{Turn, Unopened};

/// At rest the sink is asked for its health this often, or more often if it wants to be.
const CHECK_EVERY: Duration = Duration::from_millis(500);
const CHECK_AT_MOST_EVERY: Duration = Duration::from_millis(1);
/// The most waits for an output that must be connected. Together they are shorter than the wait of
/// the thread that starts the writer, so that the error names the output.
const CONNECT_WAITS: u32 = 150;
/// The length of one of these waits.
const CONNECT_WAIT: Duration = Duration::from_millis(10);

/// An output: the way from records to the lines of one sink.
pub(crate) struct Output {
    pub(super) id: OutputId,
    pub(super) counters: Arc<OutputCounters>,
    pub(super) encoder: Encoder,
    pub(super) sink: Box<dyn OutputSink>,
    pub(super) waiting: Waiting,
    pub(super) lines: Lines,
    /// For a program's sink: the lines of this turn whose records were born in the code of another
    /// output. They are a batch of their own, because what the sink logs is taken while it handles
    /// the others, and not while it handles these.
    pub(super) born_in_outputs: Lines,
    pub(super) life: Life,
    pub(super) schedule: RetrySchedule,
    pub(super) unreported: Unreported,
    /// When the sink is asked next for its health.
    pub(super) check_at: Option<Instant>,
    /// What the program ordered while the output was suspended.
    pub(super) orders: Vec<Command>,
}

/// The states of an output.
pub(super) enum Life {
    /// With an event, the output has just resumed: the event is raised once the gate is open.
    Writing {
        returned: Option<Event>,
    },
    /// Its reader is slow, and lines wait. The event of a resume may be due here, too.
    Lagging {
        pace: Pace,
        returned: Option<Event>,
    },
    Suspended(Suspension),
}

impl Life {
    /// Takes the event that reports a resume, if it is due.
    pub(super) fn take_returned(&mut self) -> Option<Event> {
        match self {
            Life::Writing { returned } | Life::Lagging { returned, .. } => returned.take(),
            Life::Suspended(_) => None,
        }
    }
}

/// What becomes of the lines of a batch that are not in.
#[derive(Clone, Copy)]
pub(super) enum Rest {
    Dropped(DropReason),
    /// They wait for a slow reader. A part of the first one may be in.
    Wait {
        begun: bool,
    },
    /// The output retains the lines of its levels. The others are dropped, and so are older lines
    /// that have to make way.
    Suspended(DropReason),
}

/// Why a sink did not do what it was asked.
pub(super) struct Refusal {
    pub(super) error: WriteError,
    pub(super) panicked: bool,
}

impl Output {
    pub(crate) fn new(
        index: usize,
        counters: Arc<OutputCounters>,
        encoder: Encoder,
        sink: Box<dyn OutputSink>,
        opening: Option<Notice>,
    ) -> Self {
        Self {
            id: OutputId { pipeline: 0, index },
            encoder,
            sink,
            waiting: Waiting::new(0, Backlog { bytes: 0, ..Backlog::default() }),
            lines: Lines::for_batches(),
            born_in_outputs: Lines::default(),
            life: Life::Writing { returned: None },
            schedule: RetrySchedule::new(Jitter::new(index), counters.state.born),
            unreported: Unreported::new(opening),
            check_at: None,
            orders: Vec::new(),
            counters,
        }
    }

    /// Lets the output retain up to `bytes` bytes of lines while it is suspended, and this backlog
    /// while its reader is slow.
    pub(crate) fn retain(mut self, bytes: u64, backlog: Backlog) -> Self {
        self.waiting = Waiting::new(bytes, backlog);
        self
    }

    /// Says which pipeline the output belongs to, and whether its callers wait for a slot.
    pub(super) fn belongs_to(&mut self, pipeline: usize, callers_wait: bool) {
        self.id.pipeline = pipeline;
        self.waiting.callers_wait = callers_wait;
    }

    /// Returns true if the output may want records of this level.
    pub(super) fn wants(&self, level: Level) -> bool {
        self.counters.offered.levels.has(level) && !self.stands_in()
    }

    /// Returns true if the output takes what the one before it cannot take.
    pub(super) fn stands_in(&self) -> bool {
        self.counters.offered.stands_in
    }

    /// Returns true if a record of this level goes to the output that stands in for this one.
    pub(super) fn diverts(&self, level: Level) -> bool {
        level <= Level::Warn && !self.takes(level)
    }

    /// Returns true if the output can take a record of this level now, itself or in memory.
    pub(super) fn takes_or_retains(&self, level: Level) -> bool {
        self.takes(level) || self.retains(level)
    }

    /// Returns true if the output has a filter of its own.
    pub(super) fn has_filter(&self) -> bool {
        self.counters.offered.filtered.is_some()
    }

    /// Shows the callers what the output can take, itself, in memory, or by another output.
    pub(super) fn publish_takes(&self, takes: impl Fn(&Level) -> bool) {
        let most = Level::iter().filter(takes).last();
        self.counters.state.takes.store(most.map_or(0, |level| level as u8), Relaxed);
    }

    /// Returns the suspension that is not over, if there is one.
    pub(super) fn suspension(&self) -> Option<&Suspension> {
        match &self.life {
            Life::Suspended(suspension) => Some(suspension),
            Life::Writing { .. } | Life::Lagging { .. } => None,
        }
    }

    /// Returns why the output is suspended, if it is.
    pub(super) fn suspended(&self) -> Option<Cause> {
        self.suspension().map(|suspension| suspension.cause)
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.suspension().is_some()
    }

    /// Returns true if the output can take a record of this level now.
    pub(super) fn takes(&self, level: Level) -> bool {
        self.suspension().is_none_or(|suspension| suspension.shown == Shown::Recovery || level <= suspension.takes)
    }

    /// Returns true if the output would retain a record of this level that it cannot take.
    pub(super) fn retains(&self, level: Level) -> bool {
        self.waiting.retains(level, self.has_slow_reader())
    }

    /// Returns true if the output is suspended because its reader has taken nothing for too long.
    pub(super) fn has_slow_reader(&self) -> bool {
        self.suspension().is_some_and(|suspension| suspension.slow_reader)
    }

    /// Returns true if its lines are laid out by the program's own code.
    pub(super) fn has_programs_format(&self) -> bool {
        self.encoder.is_programs()
    }

    /// Returns the number of bytes that wait to be written.
    pub(super) fn buffered(&self) -> usize {
        self.lines.text.len() + self.born_in_outputs.text.len()
    }

    /// Calls the sink, and turns a panic into an error.
    pub(super) fn ask<T>(
        &mut self,
        what: impl FnOnce(&mut dyn OutputSink) -> Result<T, WriteError>,
    ) -> Result<T, Refusal> {
        let silent = self.lines.born_in_output;
        let _signals = self.sink.is_programs().then(ProgramSignals::new);
        match origin::inside(self.id, silent, || guarded(|| what(&mut *self.sink))) {
            Ok(answer) => answer.map_err(|error| Refusal { error, panicked: false }),
            Err(Panicked) => Err(Refusal { error: WriteError::new(0, Cause::Io), panicked: true }),
        }
    }

    /// Gets the sink ready, once, before the first record. With `must_connect`, waits for a
    /// connection that is being made; one that is not made in time is an error.
    pub(super) fn start(&mut self, must_connect: bool, turn: &mut Turn<'_>) -> Result<(), Unopened> {
        let now = turn.now;
        let mut result = self.ask(|sink| sink.retry(now));
        for waits in 1..=CONNECT_WAITS {
            if !must_connect || self.sink.is_open() || result.as_ref().is_err_and(|refusal| refusal.error.lag.is_none())
            {
                break;
            }
            self.sink.wait(CONNECT_WAIT);
            let now = Now { monotonic: now.monotonic + waits * CONNECT_WAIT, ..now };
            result = self.ask(|sink| sink.retry(now));
        }
        let Err(Refusal { error, .. }) = result else { return Ok(()) };
        if let Some(lag) = error.lag {
            self.lag(lag.took_some, now.monotonic);
            return match must_connect && !self.sink.is_open() {
                true => Err(Unopened { cause: Cause::Io, error: Some(io::ErrorKind::TimedOut.into()) }),
                // It is open, and full already.
                false => Ok(()),
            };
        }
        let (cause, why) = (error.cause(), error.io_error());
        self.suspend(error, turn);
        if cause == Cause::LowSpace { Ok(()) } else { Err(Unopened { cause, error: why }) }
    }

    /// Lays out one record, the `number`th of this turn, or drops it. `born_in_output`: the record
    /// was logged by the code of another output.
    pub(super) fn lay_out(&mut self, number: usize, record: &Record<'_>, born_in_output: bool, turn: &mut Turn<'_>) {
        let level = record.level();
        if let Some(cause) = self.suspended().filter(|_| !self.takes(level) && !self.retains(level)) {
            return turn.drop_record(number, self.id.index, record.unix_time(), cause.into());
        }
        let is_apart = born_in_output && self.sink.is_programs();
        let lines = if is_apart { &mut self.born_in_outputs } else { &mut self.lines };
        if !lines.have_memory() {
            return turn.drop_record(number, self.id.index, record.unix_time(), DropReason::IoError);
        }
        let start = lines.text.len();
        let (encoder, text) = (&mut self.encoder, &mut lines.text);
        let laid_out = match encoder.is_programs() {
            true => origin::inside(self.id, born_in_output, || guarded(|| encoder.line(text, record))),
            false => guarded(|| encoder.line(text, record)),
        };
        let reason = match laid_out {
            Ok(Ok(())) => {
                lines.born_in_output |= born_in_output;
                lines.close(level, record.unix_time());
                lines.records.push(number);
                return self.count_in_hands(turn);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::OutOfMemory => DropReason::IoError,
            Ok(Err(_)) | Err(Panicked) => DropReason::Panicked,
        };
        lines.text.truncate(start);
        turn.drop_record(number, self.id.index, record.unix_time(), reason);
    }

    /// Shows how many records are laid out or retained.
    pub(super) fn count_in_hands(&self, turn: &Turn<'_>) {
        let laid_out = self.lines.records.len() + self.born_in_outputs.records.len();
        self.counters.in_hands.store(laid_out + turn.records.retained(self.id.index), Relaxed);
    }

    /// Begins a batch: carries out what was ordered meanwhile, asks the sink for its health, and
    /// lays out the lines that lead the batch.
    pub(super) fn open_batch(&mut self, turn: &mut Turn<'_>) {
        if self.is_suspended() || self.is_lagging() {
            return;
        }
        for command in std::mem::take(&mut self.orders) {
            self.command(command, turn);
        }
        self.check(turn);
        self.lead(turn, false);
    }

    /// Lays out the lines that lead a batch.
    pub(super) fn lead(&mut self, turn: &mut Turn<'_>, at_the_end: bool) {
        if self.is_suspended() {
            return;
        }
        self.unreported.note_drop(turn.records.take_earliest_drop(self.id.index));
        let dropped = turn.counters.drops_of(&self.counters);
        let (lines, encoder) = (&mut self.lines, &mut self.encoder);
        let (unreported, now) = (&mut self.unreported, turn.now);
        let _signals = encoder.is_programs().then(ProgramSignals::new);
        // Records that the format logs while it lays out the crate's own lines are not taken.
        origin::inside(self.id, true, || {
            unreported.lead(dropped, now, at_the_end, |notice| lines.push_notice(notice, encoder));
        });
    }

    /// Returns the drops that the log has not reported.
    pub(super) fn unreported_drops(&self, turn: &Turn<'_>) -> Drops {
        self.unreported.drops(turn.counters.drops_of(&self.counters))
    }

    pub(super) fn check(&mut self, turn: &mut Turn<'_>) {
        if self.is_suspended() {
            return;
        }
        let now = turn.now;
        self.check_at = Some(now.monotonic + CHECK_EVERY);
        match self.ask(|sink| sink.check(now)) {
            Ok(Health { low, news, synced, check_after }) => {
                if let Some(after) = check_after {
                    self.check_at = Some(now.monotonic + after.clamp(CHECK_AT_MOST_EVERY, CHECK_EVERY));
                }
                self.hear(news, turn);
                if synced {
                    self.unreported.synced();
                }
                let state = if low { State::Low } else { State::Healthy };
                self.counters.state.set(state);
            }
            Err(refusal) => self.suspend(refusal.error, turn),
        }
    }

    /// Takes the sink's news. Each is raised as an event, reported in the log, or both.
    pub(super) fn hear(&mut self, news: Vec<News>, turn: &mut Turn<'_>) {
        for news in news {
            self.counters.failures.fetch_add(u64::from(matches!(news, News::Failed { .. })), Relaxed);
            if let Some(event) = self.unreported.hear(news, &self.counters.name) {
                turn.events.raise(event);
            }
        }
    }

    /// Carries out an order of the program now, or when the output neither lags nor is suspended.
    pub(super) fn command(&mut self, command: Command, turn: &mut Turn<'_>) {
        let was_suspended = self.is_suspended();
        if (was_suspended || self.is_lagging()) && command != Command::Close {
            if !self.orders.contains(&command) {
                self.orders.push(command);
            }
            return;
        }
        let now = turn.now;
        if let (Err(refusal), false) = (self.ask(|sink| sink.command(command, now)), was_suspended) {
            self.suspend(refusal.error, turn);
        }
        // The sink may have news, so it is checked soon.
        self.check_at = None;
        if command == Command::Close {
            self.counters.state.resumed(now.monotonic);
        }
    }

    /// Hands what is laid out to the sink, and settles each line.
    pub(super) fn write(&mut self, turn: &mut Turn<'_>) {
        self.write_batch(turn);
        if !self.born_in_outputs.is_empty() {
            std::mem::swap(&mut self.lines, &mut self.born_in_outputs);
            self.write_batch(turn);
            std::mem::swap(&mut self.lines, &mut self.born_in_outputs);
        }
    }

    /// Hands the batch to the sink, and settles each of its lines.
    fn write_batch(&mut self, turn: &mut Turn<'_>) {
        if self.lines.is_empty() {
            return;
        }
        if self.is_suspended() {
            return self.write_urgent(0, turn);
        }
        if self.is_lagging() {
            return self.settle(0, &[], Rest::Wait { begun: false }, turn);
        }
        let lines = std::mem::take(&mut self.lines);
        let batch = lines.batch(turn.now);
        self.lines.born_in_output = lines.born_in_output;
        let result = self.ask(|sink| sink.write(&batch));
        let len = batch.len();
        self.lines = lines;
        // The sink may have to sync these lines soon, and says when.
        self.check_at = None;
        match result {
            // All lines are in, so the reason is not used.
            Ok(()) => self.settle(len, &[], Rest::Dropped(DropReason::IoError), turn),
            Err(Refusal { error, panicked: true }) => {
                self.suspend(error, turn);
                self.settle(0, &[], Rest::Dropped(DropReason::Panicked), turn);
            }
            Err(Refusal { error, panicked: false }) => {
                let written = error.written().min(len);
                if let Some(Lag { begun, took_some }) = error.lag {
                    self.lag(took_some, turn.now.monotonic);
                    return self.settle(written, &[], Rest::Wait { begun }, turn);
                }
                self.suspend(error, turn);
                self.write_urgent(written, turn);
            }
        }
    }

    /// Hands a suspended sink those of the lines after the first `written` that it still takes.
    fn write_urgent(&mut self, written: usize, turn: &mut Turn<'_>) {
        let Life::Suspended(mut suspension) = self.life else { return };
        let mut rest = Rest::Suspended(suspension.cause.into());
        let mut urgent = Lines::default();
        for (number, line) in self.lines.batch(turn.now).lines().enumerate().skip(written) {
            if line.level() <= suspension.takes {
                // A line for which there is no memory is retained or dropped like the others.
                urgent.push_record(&[line.bytes()], line.level(), line.unix_time(), number);
            }
        }
        if !urgent.is_empty() {
            match self.ask(|sink| sink.write(&urgent.urgent_batch(turn.now))) {
                Ok(()) => {}
                Err(Refusal { error, panicked }) => {
                    suspension.takes = error.still_takes;
                    urgent.records.truncate(error.written());
                    if panicked {
                        // Nobody knows which lines are in, and none may be written twice.
                        rest = Rest::Dropped(DropReason::Panicked);
                    }
                    self.hear_with_suspension(error.news, false, turn);
                }
            }
            self.life = Life::Suspended(suspension);
        }
        self.settle(written, &urgent.records, rest, turn);
    }

    /// Drops what was laid out when the turn broke off.
    pub(super) fn abandon(&mut self, turn: &mut Turn<'_>) {
        self.settle(0, &[], Rest::Dropped(DropReason::Panicked), turn);
        std::mem::swap(&mut self.lines, &mut self.born_in_outputs);
        self.settle(0, &[], Rest::Dropped(DropReason::Panicked), turn);
    }

    /// Drops what is retained: there is no later attempt.
    pub(super) fn forget(&mut self, turn: &mut Turn<'_>) {
        let reason = self.suspended().map_or(DropReason::Shutdown, DropReason::from);
        turn.records.drop_retained(self.id.index, reason, turn.counters);
        self.counters.in_hands.store(0, Relaxed);
        // The time of a suspension ends with the logger.
        self.counters.state.resumed(turn.now.monotonic);
    }

    /// Makes the sink hand on everything that it buffers. Returns the cause if the output is
    /// suspended.
    pub(super) fn flush(&mut self, turn: &mut Turn<'_>) -> Result<(), Cause> {
        // A line of which a part is in is finished when it is handed over again.
        let has_nothing = self.is_suspended() || turn.records.is_begun(self.id.index);
        let flushed = if has_nothing { Ok(()) } else { self.ask(|sink| sink.flush()) };
        if let Err(refusal) = flushed {
            self.refused(refusal, turn);
        }
        self.suspended().map_or(Ok(()), Err)
    }

    /// Returns when the output wants to be tended next.
    pub(super) fn next(&self) -> Option<Instant> {
        match &self.life {
            Life::Suspended(_) => Some(self.schedule.next()),
            Life::Lagging { pace, .. } => self.waiting.patience_ends(pace).into_iter().chain([pace.next()]).min(),
            Life::Writing { .. } => self.check_at,
        }
    }
}
