//! The writer: takes records from the queue, has them laid out, and hands each output one batch.
//! `step` is one turn without waiting, `run` is the thread: step, and wait.

mod output;

mod settle;
mod lagging;
mod finish;
mod lines;
mod recovery;
mod suspension;
mod unreported;

mod backlog;

mod record_state;
mod records;
mod retained;

mod answers;
mod orders;
mod events;
mod first_attempt;
mod guard;
mod naps;
pub(crate) mod notice;
mod thread_names;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use log::{Level, LevelFilter};

use crate::clock::Timeline;
use crate::error::FlushError;
use crate::event::{Cause, EventHook};
use crate::os::{self, ProgramSignals};
use crate::queue::{Gate, Pipeline, Reply, origin};
use crate::record::{Messages, OwnedRecord, Record};
use crate::sink::{Command, Now};
use crate::stats::{Counters, DropReason};
use crate::unix_time::UnixTime;
use crate::wanted::Levels;
use crate::watch::Watch;

use answers::Flush;
pub(crate) use events::Events;
use finish::LastAttempt;
pub(crate) use first_attempt::{FirstAttempt, Unopened};
#[cfg(test)]
pub(crate) use guard::CAUGHT;
use guard::guarded;
use naps::{Nap, Naps, SHORT_NAP, Taken};
pub(crate) use output::Output;
use records::Records;
use suspension::Shown;
use thread_names::ThreadNames;

/// A batch is written when it holds this much, or when the queue is empty.
pub(crate) const BATCH_BYTES: usize = 64 * 1024;
/// A turn ends after this many records, so that requests and retries are served. In a model the
/// number is 1, so that a queue of two takes more than one turn.
const BATCH_RECORDS: usize = if cfg!(all(loom, test)) { 1 } else { 4096 };
/// The writer pauses for this long after it has flushed for a crash, so that the process does not
/// end in the middle of a later write.
const CRASH_PAUSE: Duration = Duration::from_millis(50);
/// The locations that a rate limit watches are looked through at most this often.
const RATE_LIMIT_AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// What the writer's thread owns.
pub(crate) struct Writer {
    pipeline: Arc<Pipeline>,
    outputs: Vec<Output>,
    events: Events,
    reading: Reading,
    records: Records,
    flushes: Vec<Flush>,
    /// The replies to those who wait for the end.
    shutdowns: Vec<Reply>,
    /// The commands that wait, each until this number of records is taken.
    orders: Vec<(Command, u64)>,
    started: bool,
    suppression: Suppression,
    /// A configuration file that the logger follows.
    watch: Option<Watch>,
    /// The last cause for which the writer dropped a record, and how many it had dropped by then.
    last_drop: (Cause, u64),
}

/// What the writer needs to read a slot of the queue.
#[derive(Default)]
struct Reading {
    threads: ThreadNames,
    /// For records whose callers read the processor's counter.
    timeline: Option<Timeline>,
    /// For records whose callers stored arguments.
    messages: Messages,
}

/// What the writer has reported of the records that the rate limit suppressed.
#[derive(Default)]
struct Suppression {
    /// The reports among the turn's records: the number of the record, and that of the location.
    /// Allocated once, for the largest turn.
    under_way: Vec<(usize, usize)>,
    /// The interval in which everything suppressed before it was reported.
    reported_in: Option<u32>,
    /// The next time at which the writer may ask the rate limit.
    not_before: Option<Instant>,
}

/// What each part of a turn works with.
struct Turn<'a> {
    now: Now,
    counters: &'a Counters,
    records: &'a mut Records,
    events: &'a mut Events,
}

impl Turn<'_> {
    /// Notes that an output has dropped a record of the turn.
    fn drop_record(&mut self, number: usize, output: usize, time: UnixTime, reason: DropReason) {
        self.records.drop_record(number, output, time, reason, self.counters);
    }
}

/// The result of a turn.
pub(crate) struct Step {
    /// How many records it took.
    pub(crate) taken: usize,
    /// When the writer has something to do even if no record comes.
    pub(crate) next: Option<Instant>,
    /// Records are left in the queue until a slow reader has taken some.
    pub(crate) holds_back: bool,
    /// The writer was shut down; there is no next turn.
    pub(crate) ended: bool,
}

impl Writer {
    pub(crate) fn new(pipeline: Arc<Pipeline>, mut outputs: Vec<Output>, on_event: Option<EventHook>) -> Self {
        outputs.iter_mut().for_each(|output| output.belongs_to(pipeline.address(), pipeline.callers_wait()));
        let records = Records::new(outputs.len(), BATCH_RECORDS);
        let reports = if pipeline.rate_limit().is_some() { BATCH_RECORDS } else { 0 };
        Self {
            pipeline,
            outputs,
            events: Events { on_event },
            reading: Reading::default(),
            records,
            flushes: Vec::new(),
            shutdowns: Vec::new(),
            orders: Vec::new(),
            started: false,
            suppression: Suppression { under_way: Vec::with_capacity(reports), ..Suppression::default() },
            watch: None,
            last_drop: (Cause::Io, 0),
        }
    }

    /// Makes callers read the processor's counter from now on; the writer works out their time.
    pub(crate) fn keep_time(&mut self, timeline: Timeline) {
        self.reading.timeline = Some(timeline);
        self.pipeline.read_counter(true);
    }

    /// Follows this configuration file from now on, if there is one.
    pub(crate) fn follow(&mut self, watch: Option<Watch>) {
        self.watch = watch;
    }

    /// Returns how much memory is held for the lines that an output retains.
    #[cfg(test)]
    pub(crate) fn memory_retained(&self, output: usize) -> usize {
        self.records.memory(output)
    }

    /// Returns how many bytes of that memory are in use.
    #[cfg(test)]
    pub(crate) fn bytes_retained(&self, output: usize) -> usize {
        self.records.retained_lines(output).map(|(retained, _)| retained::LINE_OVERHEAD + retained.len).sum()
    }

    #[cfg(test)]
    pub(crate) fn on_event(&mut self, on_event: EventHook) {
        self.events.on_event = Some(on_event);
    }

    /// Runs the writer's thread, on which all signals are blocked. While it runs, the end of the
    /// process waits for it.
    pub(crate) fn run(mut self, waited_for: os::Registration, first_attempt: FirstAttempt) {
        waited_for.runs_here();
        let end = EndOfPipeline(self.pipeline.clone());
        self.take_turns(first_attempt, &waited_for);
        drop((end, waited_for));
        // Sinks and callbacks may have destructors of the program's.
        let _signals = ProgramSignals::new();
        drop(self);
    }

    /// Takes turn after turn, until one of them ends the writer.
    fn take_turns(&mut self, first_attempt: FirstAttempt, waited_for: &os::Registration) {
        if !self.make_first_attempt(first_attempt) {
            return;
        }
        let mut naps = Naps::new(self.pipeline.half(), Instant::now());
        let mut crash = None;
        loop {
            let now = Now { wall: SystemTime::now(), monotonic: Instant::now() };
            if crash.is_none() {
                crash = waited_for.crash().map(|number| (number, self.begin_flush()));
            }
            let Ok(step) = guarded(|| self.step(now)) else {
                // A defect of this crate, not of a format or sink. The records in hand are dropped,
                // and the writer goes on.
                self.drop_what_is_in_hand(now);
                self.pipeline.nap(SHORT_NAP);
                continue;
            };
            if let Some((number, _)) = crash.take_if(|(_, answered)| !answered.is_empty()) {
                waited_for.answer_crash(number);
                self.pipeline.nap(CRASH_PAUSE);
            }
            if step.ended {
                return;
            }
            if step.taken == 0 {
                self.pause(&step, &mut naps, now.monotonic);
            }
        }
    }

    /// Makes the first attempt to open each output. Returns false if the logger is not to start;
    /// then the outputs are closed again.
    fn make_first_attempt(&mut self, first_attempt: FirstAttempt) -> bool {
        let now = Now { wall: SystemTime::now(), monotonic: Instant::now() };
        // A panic here is a defect of this crate. Outputs that were not tried yet are tried by
        // their first batch.
        let FirstAttempt { must_connect, answer, go_ahead } = first_attempt;
        let _ = guarded(|| self.open_outputs(now, must_connect, &answer));
        // No more answers come, which ends the wait for them.
        drop(answer);
        let goes_on = go_ahead();
        if !goes_on {
            self.each(now, |output, turn| output.command(Command::Close, turn));
        }
        goes_on
    }

    /// Waits after a turn that took no record: for the reader of a stream that takes its time, or
    /// until a nap is over.
    fn pause(&mut self, step: &Step, naps: &mut Naps, now: Instant) {
        if let Some(output) = self.outputs.iter_mut().find(|output| output.is_moving()) {
            output.wait_for_reader(SHORT_NAP);
            return;
        }
        let Nap { at_most, armed } = naps.next(now, self.taken(), self.pipeline.may_arm());
        let due = step.next.map_or(at_most, |next| next.saturating_duration_since(now));
        let at_most = at_most.min(due.max(SHORT_NAP));
        if step.holds_back {
            self.pipeline.rest(at_most);
        } else if armed {
            self.pipeline.nap_armed(at_most);
        } else {
            self.pipeline.nap(at_most);
        }
    }

    fn taken(&self) -> Taken {
        let taken = &self.pipeline.counters.writer.taken;
        Taken { all: taken.total(), errors: taken.of(Levels::up_to(LevelFilter::Error)) }
    }

    /// Takes one turn: requests, one batch of records, the maintenance of the outputs, answers.
    /// Waits for nothing except the sinks and code of the program.
    pub(crate) fn step(&mut self, now: Now) -> Step {
        if !self.started {
            self.open_outputs(now, false, |_| true);
        }
        origin::refill(now.monotonic);
        self.take_requests();
        self.follow_configuration(now);
        self.report_suppressed(now);
        self.carry_out_orders(now); // Those that wait for no record: the batch comes after them.
        let taken = self.take_batch(now);
        self.carry_out_orders(now);
        let mut opens = false;
        self.each(now, |output, turn| opens |= output.attempt_if_due(turn) == Shown::Recovery);
        if opens {
            self.publish_gate();
        }
        self.each(now, Output::tend);
        self.publish_gate();
        self.each(now, Output::raise_resumed);
        self.answer(taken, now);
        let next = self.outputs.iter().filter_map(Output::next).min();
        Step { taken, next, holds_back: self.holds_back(), ended: self.end_if_asked(taken, now) }
    }

    /// Does one part of the turn for each output.
    fn each(&mut self, now: Now, mut part: impl FnMut(&mut Output, &mut Turn<'_>)) {
        let Self { pipeline, outputs, records, events, .. } = self;
        let mut turn = Turn { now, counters: &pipeline.counters, records, events };
        outputs.iter_mut().for_each(|output| part(output, &mut turn));
    }

    /// Opens each output for the first time, and passes each result to `opened`. Stops when
    /// `opened` returns false.
    fn open_outputs(&mut self, now: Now, must_connect: bool, mut opened: impl FnMut(Result<(), Unopened>) -> bool) {
        self.started = true;
        let mut goes_on = true;
        self.each(now, |output, turn| goes_on = goes_on && opened(output.start(must_connect, turn)));
        self.publish_gate();
    }

    /// Puts a record into the queue for each location whose records were suppressed in an interval
    /// that is over. At the end of the logger, does so also for intervals that are not over.
    fn report_suppressed(&mut self, now: Now) {
        let Some(rate_limit) = self.pipeline.rate_limit() else { return };
        let ending = self.is_asked_to_end();
        // By the wall clock, like the callers' intervals: somebody may have set it.
        let interval = rate_limit.interval(now.wall.into());
        let is_due = self.suppression.reported_in != Some(interval);
        if ending || is_due && self.suppression.not_before.is_none_or(|at| now.monotonic >= at) {
            let is_all_in = rate_limit.report(now.wall.into(), ending, |record| {
                // While no output would take the line, its location stays in the table.
                let is_closed = !ending && self.pipeline.closed_to(record.level(), record.wanting()).is_some();
                !is_closed && self.pipeline.offer_own(record)
            });
            self.suppression.reported_in = is_all_in.then_some(interval);
            self.suppression.not_before = Some(now.monotonic + RATE_LIMIT_AT_MOST_EVERY);
        }
    }

    fn is_asked_to_end(&self) -> bool {
        !self.shutdowns.is_empty() || self.pipeline.is_leaving()
    }

    fn take_batch(&mut self, now: Now) -> usize {
        if self.pipeline.len() == 0 || self.holds_back() {
            return 0;
        }
        let pipeline = self.pipeline.clone();
        if self.reading.timeline.as_mut().is_some_and(|timeline| !timeline.sample()) {
            pipeline.read_counter(false);
        }
        self.each(now, Output::open_batch);
        let mut most = BATCH_RECORDS;
        if !self.orders.is_empty() {
            most = most.min(self.before_the_next_order());
        }
        // Changed once for the whole batch, because a change of the signal mask costs as much as a
        // line.
        let signals = self.outputs.iter().any(Output::has_programs_format).then(ProgramSignals::new);
        pipeline.take_while(|record| {
            self.lay_out(record, now);
            let full = self.outputs.iter().any(|output| output.buffered() >= BATCH_BYTES);
            !full && self.records.len() < most
        });
        drop(signals);
        self.note_evictions();
        let mut changed = false;
        self.each(now, |output, turn| {
            let before = (output.suspended(), output.takes(Level::Error));
            output.write(turn);
            changed |= before != (output.suspended(), output.takes(Level::Error));
        });
        if changed {
            self.publish_gate();
        }
        self.settle()
    }

    /// Returns true if the writer takes no record, because readers are slow and their backlogs
    /// full. Where callers wait for a slot, one such output is enough, so that it drops nothing.
    /// Otherwise all outputs have to be full; until then the others go on.
    fn holds_back(&self) -> bool {
        let mut full = self.outputs.iter().map(|output| output.is_full(&self.records));
        if self.pipeline.callers_wait() { full.any(|full| full) } else { full.len() > 0 && full.all(|full| full) }
    }

    fn lay_out(&mut self, record: &OwnedRecord, now: Now) {
        let Self { pipeline, outputs, events, reading, records, suppression, .. } = self;
        let Reading { threads, timeline, messages } = reading;
        let (level, counters) = (record.level(), &pipeline.counters);
        let (message, is_cut) = messages.of(record);
        let number = records.begin(level, record.truncated() || is_cut);
        if let Some(call_site) = record.reports_on() {
            suppression.under_way.push((number, call_site));
        }
        counters.writer.in_hands.store(records.in_hands(), Relaxed);
        counters.take(level, record.wanting());
        if record.thread_name().is_some_and(|name| threads.learn(record.thread(), name)) {
            pipeline.begin_epoch();
        }
        let time = record.stamp().time(timeline.as_mut());
        let view = Record::with_message(record, message, time, threads.name(record.thread()));
        let mut turn = Turn { now, counters, records, events };
        let born_in = origin::output(record.thread());
        let mut is_diverted = false;
        for output in outputs.iter_mut() {
            if output.stands_in() && is_diverted && output.counters.offered.levels.has(level) {
                counters.divert(level, output.id.index);
            } else if !output.counters.wants(level, record.wanting()) {
                is_diverted = false;
                continue;
            }
            is_diverted = output.diverts(level);
            if born_in == Some(output.id.index) {
                output.counters.own.fetch_add(1, Relaxed);
            } else {
                output.lay_out(number, &view, born_in.is_some(), &mut turn);
            }
        }
    }

    /// Counts each record of the turn where it belongs. Returns how many there were.
    fn settle(&mut self) -> usize {
        let taken = self.records.len();
        self.settle_reports();
        self.records.settle(&self.pipeline.counters);
        let drops = self.pipeline.pending_drops().by_outputs;
        if drops > self.last_drop.1 {
            let cause = self.outputs.iter().find_map(Output::suspended);
            self.last_drop = (cause.unwrap_or(Cause::Io), drops);
        }
        taken
    }

    /// Puts back what the turn's reports said, if no output has taken them. At the end of the
    /// logger there is no later report.
    fn settle_reports(&mut self) {
        let Some(rate_limit) = self.pipeline.rate_limit() else { return };
        let ending = self.is_asked_to_end();
        for (number, call_site) in self.suppression.under_way.drain(..) {
            if ending || !self.records.must_come_again(number) {
                rate_limit.note_reported(call_site);
            } else {
                rate_limit.report_again(call_site);
                self.suppression.reported_in = None;
            }
        }
    }

    fn drop_what_is_in_hand(&mut self, now: Now) {
        self.records.break_off(DropReason::Panicked);
        self.each(now, Output::abandon);
        self.settle();
    }

    /// Returns true if an output keeps a record of this level from being dropped: it takes it,
    /// retains it, or has it taken by the output that stands in for it.
    fn keeps(&self, index: usize, level: Level) -> bool {
        let stand_in = self.outputs.get(index + 1).filter(|next| next.stands_in());
        let takes = |next: &Output| next.counters.offered.levels.has(level) && next.takes_or_retains(level);
        self.outputs[index].takes_or_retains(level) || (level <= Level::Warn && stand_in.is_some_and(takes))
    }

    /// Shows the callers which levels no output can take, and why.
    fn publish_gate(&self) {
        let mut gate = Gate::OPEN;
        // While all outputs are suspended, the gate is never fully open, whatever levels they want,
        // so that no caller rings.
        let all = self.outputs.iter().map(Output::suspended).reduce(|all, output| all.and(output)).flatten();
        for level in Level::iter() {
            let mut wanting = self.outputs.iter().enumerate().filter(|(_, output)| output.wants(level)).peekable();
            let first = wanting.peek().map_or(all, |(_, output)| output.suspended());
            let nobody = wanting.all(|(index, _)| !self.keeps(index, level));
            if let (Some(cause), true) = (first, nobody) {
                gate.close(level, cause.into());
            }
        }
        if self.outputs.iter().any(Output::has_filter) && self.outputs.iter().any(Output::is_suspended) {
            for (index, output) in self.outputs.iter().enumerate() {
                output.publish_takes(|level| self.keeps(index, *level));
            }
            gate.by_output();
        }
        self.pipeline.set_gate(gate);
    }

    /// Ends the pipeline if that was asked for and nothing is left to write. Returns true if it has
    /// ended.
    fn end_if_asked(&mut self, taken: usize, now: Now) -> bool {
        if self.pipeline.is_ended() {
            // Past the deadline of a shutdown.
            self.each(now, Output::forget);
            return true;
        }
        if !self.is_asked_to_end() || taken > 0 || self.pipeline.len() > 0 {
            return false;
        }
        let mut has_backlog = false;
        self.each(now, |output, turn| has_backlog |= output.has_backlog(turn));
        if has_backlog {
            return false;
        }
        let mut last = LastAttempt::Done(Ok(()));
        self.each(now, |output, turn| last = last.and(output.make_last_attempt(turn)));
        let LastAttempt::Done(mut finished) = last else { return false };
        self.each(now, |output, turn| finished = finished.and(output.finish(turn)));
        self.pipeline.end();
        for answer in std::mem::take(&mut self.shutdowns) {
            let nothing_dropped = self.nothing_dropped(answer.before, self.pipeline.pending_drops());
            answer.send(finished.map_err(FlushError::Suspended).and(nothing_dropped));
        }
        true
    }
}

/// However the writer's thread ends, nobody waits for it afterwards.
struct EndOfPipeline(Arc<Pipeline>);

impl Drop for EndOfPipeline {
    fn drop(&mut self) {
        self.0.end();
    }
}
