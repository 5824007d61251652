//! One output at work: its lines, its sink, and its life between healthy and suspended. Runs on the writer's thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter};

use crate::event::{Cause, Event, State};
use crate::format::{Encoder, LineBuf};
use crate::record::{Notice, Record};
use crate::sink::{Batch, Command, News, Now, Sink, Span, WriteError};
use crate::stats::{Counters, DropReason, Drops, OutputCounters};

use super::records::Records;
use super::retained::BESIDE;
use super::{BATCH_BYTES, BATCH_RECORDS, Events, Unopened, notice};

/// The first attempt to come back, after this; each later one after twice the time.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// A sink that asks for more gets this.
const RETRY_AT_MOST_EVERY: Duration = Duration::from_millis(1);
/// An output that was suspended stays so for at least this long: at most one pair of transitions in a second.
const QUIET_AT_LEAST: Duration = Duration::from_secs(1);
/// One that could come back and has to wait for that looks this often whether it still could.
const READY_RETRY: Duration = Duration::from_millis(100);
/// The line that says that it gets quiet: at most this often.
const SUSPENDED_LINE_EVERY: Duration = Duration::from_secs(60);
/// Drops that are no gap are told at most this often.
const LOST_LINE_EVERY: Duration = Duration::from_secs(5);
/// A retained line that is the first behind a gap line and does not go in gets so many chances: one that is longer than all the room there
/// is would keep the output from coming back for what is shorter.
const CHANCES: u32 = 3;
/// At rest the sink is asked how it is this often, or more often if it wants to be.
const CHECK_EVERY: Duration = Duration::from_millis(500);
const CHECK_AT_MOST_EVERY: Duration = Duration::from_millis(1);

pub(crate) struct Output {
    /// Its place in `Counters::outputs`.
    index: usize,
    name: Arc<str>,
    encoder: Encoder,
    sink: Box<dyn Sink>,
    /// While it is suspended it may keep so many bytes of the newest WARN and ERROR lines.
    retain: usize,
    /// How often in a row none of them went in behind a gap line.
    refused: u32,
    lines: Lines,
    suspension: Option<Suspension>,
    /// It has resumed, but the gate is not open yet.
    returned: Option<Event>,
    /// What the log has told of this output's losses.
    reported: Drops,
    lost_line: Option<Instant>,
    suspended_line: Option<Instant>,
    /// When the sink is asked next how it is.
    check_at: Option<Instant>,
    /// What happened to the file, not told yet.
    unreported: Unreported,
    /// What the program asked for while it was suspended.
    orders: Vec<Command>,
    /// What failed and was got around, not told yet: how often, and the last time.
    failed: Option<(u64, &'static str, Arc<io::Error>)>,
    failed_line: Option<Instant>,
    /// What is to be said first of all.
    opening: Option<Notice>,
    jitter: Jitter,
}

/// From the suspension to the gap line.
#[derive(Clone, Copy)]
struct Suspension {
    cause: Cause,
    since: Now,
    retry_at: Instant,
    /// The time between two attempts, unless the sink asks for another.
    delay: Duration,
    /// It still takes these levels.
    takes: LevelFilter,
}

/// What becomes of the lines of a batch that are not in.
#[derive(Clone, Copy)]
enum Rest {
    Dropped(DropReason),
    /// Those that the output retains it retains; the others are lost, and so is what has to go for them.
    Suspended(DropReason),
}

/// What readers of the log should know of what happened to it.
#[derive(Clone, Copy, Default)]
pub(super) struct Unreported {
    /// Lines that went away with their file.
    pub(super) vanished: u64,
    /// Bytes that somebody else cut off.
    pub(super) cut_short: u64,
    /// Old files, and their bytes, that were deleted for room.
    pub(super) files_deleted: u64,
    pub(super) bytes_deleted: u64,
}

impl Unreported {
    fn is_nothing(&self) -> bool {
        self.vanished == 0 && self.cut_short == 0 && self.files_deleted == 0
    }

    fn add(&mut self, other: Unreported) {
        self.vanished += other.vanished;
        self.cut_short += other.cut_short;
        self.files_deleted += other.files_deleted;
        self.bytes_deleted += other.bytes_deleted;
    }
}

/// The lines of the batch that is being laid out.
#[derive(Default)]
struct Lines {
    text: LineBuf,
    spans: Vec<Span>,
    /// The crate's own lines stand before all others.
    leading: Vec<Leading>,
    /// For each line behind those: which record of the turn it is.
    records: Vec<usize>,
}

/// What a line of the crate's own tells once it is in.
enum Leading {
    Dropped(Drops),
    Happened(Unreported),
    Failed,
    Opening,
}

impl Lines {
    /// Whether there is memory for what is remembered of one line more.
    fn have_room(&mut self) -> bool {
        self.spans.try_reserve(1).is_ok() && self.records.try_reserve(1).is_ok()
    }

    fn close(&mut self, level: Level, time: std::time::SystemTime) {
        self.spans.push(Span { end: self.text.len(), level, time });
    }

    fn clear(&mut self) {
        self.text.clear(2 * BATCH_BYTES);
        self.spans.clear();
        self.leading.clear();
        self.records.clear();
    }
}

impl Output {
    pub(crate) fn new(
        index: usize,
        name: Arc<str>,
        encoder: Encoder,
        sink: Box<dyn Sink>,
        opening: Option<Notice>,
    ) -> Self {
        let jitter = Jitter::new(index);
        Self {
            index,
            name,
            encoder,
            sink,
            retain: 0,
            refused: 0,
            lines: Lines::default(),
            suspension: None,
            returned: None,
            reported: Drops::default(),
            lost_line: None,
            suspended_line: None,
            check_at: None,
            unreported: Unreported::default(),
            orders: Vec::new(),
            failed: None,
            failed_line: None,
            opening,
            jitter,
        }
    }

    /// The same output, which retains up to so many bytes while it is suspended.
    pub(crate) fn retain(mut self, bytes: u64) -> Self {
        self.retain = usize::try_from(bytes).unwrap_or(usize::MAX);
        self
    }

    pub(super) fn most_retained(&self) -> usize {
        self.retain
    }

    pub(super) fn wants(&self, counters: &Counters, level: Level) -> bool {
        counters.outputs[self.index].wants(level)
    }

    /// Why it takes nothing at the moment, if so.
    pub(super) fn suspended(&self) -> Option<Cause> {
        self.suspension.map(|suspension| suspension.cause)
    }

    /// Whether it can take a record of this level now.
    pub(super) fn takes(&self, level: Level) -> bool {
        self.suspension.is_none_or(|suspension| level <= suspension.takes)
    }

    /// Whether it would keep a record of this level that it cannot take.
    pub(super) fn retains(&self, level: Level) -> bool {
        self.retain > BESIDE && level <= Level::Warn
    }

    /// How many bytes wait to be written.
    pub(super) fn buffered(&self) -> usize {
        self.lines.text.len()
    }

    /// Gets the sink ready, once, before the first record. An output that is open, but has too little free space, is ready.
    pub(super) fn start(&mut self, now: Now, counters: &Counters, events: &mut Events) -> Result<(), Unopened> {
        let counters = &counters.outputs[self.index];
        match guarded(|| self.sink.retry(now)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let (cause, why) = (error.cause(), error.io_error());
                self.suspend(error, now, counters, events);
                if cause == Cause::LowSpace { Ok(()) } else { Err(Unopened { cause, error: why }) }
            }
            // The first batch will tell.
            Err(Panicked) => Err(Unopened { cause: Cause::Io, error: None }),
        }
    }

    /// Nothing was written, and nothing will be.
    pub(super) fn close(&mut self, now: Now, counters: &Counters, events: &mut Events) {
        self.command(Command::Close, now, counters, events);
    }

    /// Lays out one record, the `number`th of this turn; or loses it.
    pub(super) fn lay_out(&mut self, number: usize, record: &Record<'_>, counters: &Counters, records: &mut Records) {
        let level = record.level();
        if let Some(cause) = self.suspended().filter(|_| !self.takes(level) && !self.retains(level)) {
            return records.lose(number, self.index, cause.into(), counters);
        }
        if !self.lines.have_room() {
            return records.lose(number, self.index, DropReason::IoError, counters);
        }
        let start = self.lines.text.len();
        match guarded(|| self.encoder.line(&mut self.lines.text, record)) {
            Ok(Ok(())) => {
                self.lines.close(level, record.time());
                self.lines.records.push(number);
                let in_hands = self.lines.records.len() + records.kept(self.index);
                counters.outputs[self.index].in_hands.store(in_hands, Relaxed);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                self.lines.text.truncate(start);
                records.lose(number, self.index, DropReason::IoError, counters);
            }
            Ok(Err(_)) | Err(Panicked) => {
                self.lines.text.truncate(start);
                records.lose(number, self.index, DropReason::Panicked, counters);
            }
        }
    }

    /// Before the records of a turn: what the sink noticed, and what has to be said first.
    pub(super) fn open_batch(&mut self, now: Now, counters: &Counters, events: &mut Events) {
        if self.suspension.is_some() {
            return;
        }
        for command in std::mem::take(&mut self.orders) {
            self.command(command, now, counters, events);
        }
        self.look_and_lead(now, counters, events);
        self.lead_with_drops(now, counters, false);
    }

    /// What comes before any line: a look at the sink, and what has to be said of it.
    fn look_and_lead(&mut self, now: Now, counters: &Counters, events: &mut Events) {
        if self.suspension.is_none() {
            self.check(now, &counters.outputs[self.index], events);
        }
        if self.suspension.is_some() {
            return;
        }
        if let Some(opening) = self.opening.take() {
            self.lead(Leading::Opening, &opening);
            self.opening = Some(opening);
        }
        if !self.unreported.is_nothing() {
            let unreported = std::mem::take(&mut self.unreported);
            self.lead(Leading::Happened(unreported), &notice::happened(now.wall, &unreported));
        }
        let is_due = is_due(self.failed_line, LOST_LINE_EVERY, now.monotonic);
        if let Some((times, doing, error)) = self.failed.as_ref().filter(|_| is_due) {
            self.failed_line = Some(now.monotonic);
            let notice = notice::failed(now.wall, doing, *times, error);
            self.lead(Leading::Failed, &notice);
        }
    }

    fn lead_with_drops(&mut self, now: Now, counters: &Counters, at_once: bool) {
        let due = is_due(self.lost_line, LOST_LINE_EVERY, now.monotonic);
        if !(due || at_once) || self.suspension.is_some() {
            return;
        }
        let drops = self.unreported(counters);
        if drops.total() > 0 {
            self.lost_line = Some(now.monotonic);
            self.lead(Leading::Dropped(drops), &notice::lost(now.wall, &drops));
        }
    }

    fn lead(&mut self, what: Leading, notice: &Notice) {
        self.encoder.notice(&mut self.lines.text, notice);
        let record = notice.record();
        self.lines.close(record.level(), record.time());
        self.lines.leading.push(what);
    }

    fn unreported(&self, counters: &Counters) -> Drops {
        counters.drops_of(&counters.outputs[self.index]).since(&self.reported)
    }

    fn check(&mut self, now: Now, counters: &OutputCounters, events: &mut Events) {
        self.check_at = Some(now.monotonic + CHECK_EVERY);
        match guarded(|| self.sink.check(now)) {
            Ok(Ok(health)) => {
                if let Some(after) = health.check_after {
                    self.check_at = Some(now.monotonic + after.clamp(CHECK_AT_MOST_EVERY, CHECK_EVERY));
                }
                self.hear(health.news, counters, events);
                let state = if health.low { State::Low } else { State::Healthy };
                counters.state.store(state.to_byte(), Relaxed);
            }
            Ok(Err(error)) => self.suspend(error, now, counters, events),
            Err(Panicked) => {} // As at the start: the batch will tell.
        }
    }

    /// Tells the program what has happened to the sink, and remembers what the log has to tell of it.
    fn hear(&mut self, news: Vec<News>, counters: &OutputCounters, events: &mut Events) {
        for news in news {
            let output = self.name.to_string();
            match news {
                News::Vanished(lines) => self.unreported.vanished += lines,
                News::CutShort(bytes) => self.unreported.cut_short += bytes,
                News::Failed(doing, error) => {
                    let error = Arc::new(error);
                    let times = self.failed.as_ref().map_or(0, |(times, ..)| *times);
                    self.failed = Some((times + 1, doing, error.clone()));
                    counters.failures.fetch_add(1, Relaxed);
                    events.event(Event::Failed { output, doing, error });
                }
                News::Rotated(archive) => events.event(Event::Rotated { output, archive }),
                News::Deleted(path, bytes) => events.event(Event::Deleted { output, path, bytes }),
                News::GaveWay(path, bytes) => {
                    self.unreported.files_deleted += 1;
                    self.unreported.bytes_deleted += bytes;
                    events.event(Event::Deleted { output, path, bytes });
                }
            }
        }
    }

    /// What the program asked for: now, or when it is no longer suspended.
    pub(super) fn command(&mut self, command: Command, now: Now, counters: &Counters, events: &mut Events) {
        if self.suspension.is_some() && command != Command::Close {
            if !self.orders.contains(&command) {
                self.orders.push(command);
            }
            return;
        }
        match guarded(|| self.sink.command(command, now)) {
            Ok(Err(error)) if self.suspension.is_none() => {
                self.suspend(error, now, &counters.outputs[self.index], events);
            }
            _ => {}
        }
        // The sink has news.
        self.check_at = None;
    }

    /// Hands the batch to the sink, and settles each of its lines.
    pub(super) fn write(&mut self, now: Now, counters: &Counters, records: &mut Records, events: &mut Events) {
        if self.lines.spans.is_empty() {
            return;
        }
        if self.suspension.is_some() {
            return self.write_urgent(0, now, counters, records);
        }
        let batch = Batch::new(self.lines.text.bytes(), &self.lines.spans, now);
        let result = guarded(|| self.sink.write(&batch));
        let written = match &result {
            Ok(Ok(())) => batch.len(),
            Ok(Err(error)) => error.written().min(batch.len()),
            Err(Panicked) => 0,
        };
        // What is new may have to be synced soon: the sink says when.
        self.check_at = None;
        let Ok(Err(error)) = result else {
            return self.settle(written, &[], Rest::Dropped(DropReason::Panicked), counters, records);
        };
        self.suspend(error, now, &counters.outputs[self.index], events);
        self.write_urgent(written, now, counters, records);
    }

    /// Suspended: of the lines behind the first `written`, hands the sink those of the levels that it still takes.
    fn write_urgent(&mut self, written: usize, now: Now, counters: &Counters, records: &mut Records) {
        let Some(mut suspension) = self.suspension else { return };
        let mut rest = Rest::Suspended(suspension.cause.into());
        let mut lines = Lines::default();
        let batch = Batch::new(self.lines.text.bytes(), &self.lines.spans, now);
        for (number, line) in batch.lines().enumerate().skip(written) {
            // One for which there is no memory shares the state of the others.
            if line.level() <= suspension.takes
                && lines.have_room()
                && io::Write::write_all(&mut lines.text, line.bytes()).is_ok()
            {
                lines.close(line.level(), line.time());
                lines.records.push(number);
            }
        }
        let numbers = &mut lines.records;
        if !numbers.is_empty() {
            let batch = Batch::urgent(lines.text.bytes(), &lines.spans, now);
            match guarded(|| self.sink.write(&batch)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    numbers.truncate(error.written());
                    suspension.takes = error.still_takes;
                }
                Err(Panicked) => {
                    // Whether any is in nobody knows: none may come a second time.
                    numbers.clear();
                    rest = Rest::Dropped(DropReason::Panicked);
                }
            }
            self.suspension = Some(suspension);
        }
        self.settle(written, numbers, rest, counters, records);
    }

    /// The first `written` lines are in, and of those behind them the `urgent` ones. Afterwards there is no batch.
    fn settle(&mut self, written: usize, urgent: &[usize], rest: Rest, counters: &Counters, records: &mut Records) {
        let output = &counters.outputs[self.index];
        let leading = self.lines.leading.len();
        for (line, leading) in self.lines.leading.iter().enumerate() {
            match leading {
                Leading::Dropped(drops) if line < written => self.reported.add(drops),
                Leading::Happened(unreported) if line >= written => self.unreported.add(*unreported),
                Leading::Failed if line < written => self.failed = None,
                Leading::Opening if line < written => self.opening = None,
                _ => {}
            }
        }
        output.notices.fetch_add(written.min(leading) as u64, Relaxed);
        let end = |lines: usize| lines.checked_sub(1).map_or(0, |last| self.lines.spans[last].end);
        let bytes = end(written) + urgent.iter().map(|line| end(line + 1) - end(*line)).sum::<usize>();
        output.bytes.fetch_add(bytes as u64, Relaxed);
        let written_records = written.saturating_sub(leading) + urgent.len();
        output.written.fetch_add(written_records as u64, Relaxed);
        for (line, number) in (leading..).zip(&self.lines.records) {
            let span = self.lines.spans[line];
            if line < written || urgent.binary_search(&line).is_ok() {
                records.write(*number);
                continue;
            }
            match rest {
                Rest::Suspended(reason) if self.retains(span.level) => {
                    let bytes = &self.lines.text.bytes()[end(line)..span.end];
                    records.keep(*number, self.index, (bytes, span.time), reason, counters);
                }
                Rest::Suspended(reason) | Rest::Dropped(reason) => records.lose(*number, self.index, reason, counters),
            }
        }
        output.in_hands.store(records.kept(self.index), Relaxed);
        self.lines.clear();
    }

    fn suspend(&mut self, error: WriteError, now: Now, counters: &OutputCounters, events: &mut Events) {
        let cause = error.cause();
        let delay = FIRST_RETRY;
        let takes = error.still_takes;
        let retry_at = now.monotonic + self.jitter.shorten(delay);
        self.suspension = Some(Suspension { cause, since: now, retry_at, delay, takes });
        counters.state.store(State::Suspended(cause).to_byte(), Relaxed);
        counters.suspensions.fetch_add(1, Relaxed);
        let since = now.monotonic.saturating_duration_since(counters.born).as_nanos() as u64;
        counters.suspended_since.store(since + 1, Relaxed);
        for news in error.news {
            match news {
                // The suspension tells it.
                News::Failed(doing, error) => {
                    events.event(Event::Failed { output: self.name.to_string(), doing, error: Arc::new(error) });
                }
                other => self.hear(vec![other], counters, events),
            }
        }
        // It was back for as long as the first lines took that it had retained.
        if let Some(returned) = self.returned.take() {
            events.event(returned);
        }
        events.event(Event::Suspended { output: self.name.to_string(), cause, at: now.wall });
        let due = is_due(self.suspended_line, SUSPENDED_LINE_EVERY, now.monotonic);
        if let Some(room) = error.room.filter(|_| due) {
            self.suspended_line = Some(now.monotonic);
            let notice = notice::suspended(now.wall, cause, room.free, room.reserve);
            // One that does not go in is not tried again; the gap line says when it got quiet.
            let _ = self.write_alone(&notice, counters, |bytes, spans| Batch::last_words(bytes, spans, now));
        }
    }

    /// Writes one line of the crate's own, in a batch of its own; says whether it is in.
    fn write_alone(
        &mut self,
        notice: &Notice,
        counters: &OutputCounters,
        batch: impl for<'a> FnOnce(&'a [u8], &'a [Span]) -> Batch<'a>,
    ) -> Result<(), Option<WriteError>> {
        let mut text = LineBuf::default();
        self.encoder.notice(&mut text, notice);
        let record = notice.record();
        let spans = [Span { end: text.len(), level: record.level(), time: record.time() }];
        let batch = batch(text.bytes(), &spans);
        match guarded(|| self.sink.write(&batch)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.written() == 0 => return Err(Some(error)),
            // The line is in, but something went wrong behind it (a sync); the next batch will meet it again.
            Ok(Err(_)) => {}
            Err(Panicked) => return Err(None),
        }
        counters.notices.fetch_add(1, Relaxed);
        counters.bytes.fetch_add(text.len() as u64, Relaxed);
        Ok(())
    }

    /// At rest and between batches: tries to come back if it is time, or sees how the sink is.
    pub(super) fn tend(&mut self, now: Now, counters: &Counters, records: &mut Records, events: &mut Events) {
        match self.suspension {
            Some(suspension) if now.monotonic >= suspension.retry_at => {
                let is_back = self.try_to_resume(suspension, QUIET_AT_LEAST, now, counters, records);
                if is_back {
                    self.write_retained(now, counters, records, events);
                }
            }
            None if self.check_at.is_none_or(|at| now.monotonic >= at) => {
                self.open_batch(now, counters, events);
                self.write(now, counters, records, events);
            }
            _ => {}
        }
    }

    /// One attempt to come back; says whether it is.
    fn try_to_resume(
        &mut self,
        mut suspension: Suspension,
        quiet_at_least: Duration,
        now: Now,
        counters: &Counters,
        records: &Records,
    ) -> bool {
        let ready =
            guarded(|| self.sink.retry(now)).unwrap_or_else(|Panicked| Err(WriteError::new(0, suspension.cause)));
        let quiet_for = now.monotonic.saturating_duration_since(suspension.since.monotonic);
        let wanted = match ready {
            Err(error) => {
                suspension.takes = error.still_takes;
                error.wanted_delay()
            }
            Ok(()) if quiet_for < quiet_at_least => Some(READY_RETRY.min(quiet_at_least - quiet_for)),
            Ok(()) => {
                let drops = self.unreported(counters);
                let times = (suspension.since.wall, now.wall);
                let gap = notice::resumed(times, suspension.cause, &drops, records.kept(self.index), &self.unreported);
                let output = &counters.outputs[self.index];
                match self.write_alone(&gap, output, |bytes, spans| Batch::new(bytes, spans, now)) {
                    Ok(()) => {
                        self.resume(suspension, drops, now, output);
                        return true;
                    }
                    Err(error) => {
                        suspension.takes = error.as_ref().map_or(LevelFilter::Off, |error| error.still_takes);
                        error.and_then(|error| error.wanted_delay())
                    }
                }
            }
        };
        let delay = wanted.unwrap_or_else(|| {
            suspension.delay = (suspension.delay * 2).min(LAST_RETRY);
            suspension.delay
        });
        suspension.retry_at = now.monotonic + self.jitter.shorten(delay.clamp(RETRY_AT_MOST_EVERY, LAST_RETRY));
        self.suspension = Some(suspension);
        false
    }

    /// Behind the gap line: what was retained, the oldest first, before anything newer. What cannot be written is retained in the next
    /// suspension.
    fn write_retained(&mut self, now: Now, counters: &Counters, records: &mut Records, events: &mut Events) {
        let output = &counters.outputs[self.index];
        let before = records.kept(self.index);
        while self.suspension.is_none() && records.kept(self.index) > 0 {
            self.lay_out_retained(records);
            let batch = Batch::new(self.lines.text.bytes(), &self.lines.spans, now);
            let result = match batch.len() {
                0 => Ok(Err(WriteError::new(0, Cause::Io))), // No memory for one line.
                _ => guarded(|| self.sink.write(&batch)),
            };
            let (written, gone) = match &result {
                Ok(Ok(())) => (batch.len(), batch.len()),
                Ok(Err(error)) => (error.written().min(batch.len()), error.written().min(batch.len())),
                Err(Panicked) => (0, batch.len()),
            };
            output.bytes.fetch_add(batch.first(written).bytes().len() as u64, Relaxed);
            output.written.fetch_add(written as u64, Relaxed);
            for line in 0..gone {
                let outcome = if line < written { Ok(()) } else { Err(DropReason::Panicked) };
                records.let_go(self.index, outcome, counters);
            }
            self.lines.clear();
            let was_refused = matches!(result, Ok(Err(_))) && records.kept(self.index) == before;
            self.refused = if was_refused { self.refused + 1 } else { 0 };
            if let Ok(Err(error)) = result {
                if self.refused == CHANCES {
                    self.refused = 0;
                    records.let_go(self.index, Err(error.cause().into()), counters);
                }
                self.suspend(error, now, output, events);
            }
            output.in_hands.store(records.kept(self.index), Relaxed);
        }
        records.release(self.index);
    }

    /// Makes a batch of the oldest lines that were retained, as far as there is memory for them.
    fn lay_out_retained(&mut self, records: &Records) {
        for (kept, parts) in records.retained_lines(self.index).take(BATCH_RECORDS) {
            let start = self.lines.text.len();
            let full = start > 0 && start + kept.len > BATCH_BYTES;
            let mut copied = parts.iter().map(|part| io::Write::write_all(&mut self.lines.text, part));
            if full || !copied.all(|copied| copied.is_ok()) || !self.lines.have_room() {
                return self.lines.text.truncate(start);
            }
            self.lines.close(kept.state.level, kept.time);
        }
    }

    fn resume(&mut self, suspension: Suspension, drops: Drops, now: Now, counters: &OutputCounters) {
        self.reported.add(&drops);
        self.unreported = Unreported::default();
        self.suspension = None;
        self.check_at = None;
        let nanos = now.monotonic.saturating_duration_since(suspension.since.monotonic).as_nanos() as u64;
        counters.suspended_nanos.fetch_add(nanos, Relaxed);
        counters.suspended_since.store(0, Relaxed);
        self.returned = Some(Event::Resumed {
            output: self.name.to_string(),
            cause: suspension.cause,
            since: suspension.since.wall,
            at: now.wall,
            dropped: drops.total(),
        });
    }

    /// After the gate was opened: only now is it true that records are taken again.
    pub(super) fn tell_return(&mut self, counters: &Counters, events: &mut Events) {
        if let Some(event) = self.returned.take() {
            counters.outputs[self.index].state.store(State::Healthy.to_byte(), Relaxed);
            events.event(event);
        }
    }

    /// What was laid out when the turn broke off is lost.
    pub(super) fn abandon(&mut self, counters: &Counters, records: &mut Records) {
        self.settle(0, &[], Rest::Dropped(DropReason::Panicked), counters, records);
    }

    /// There is no later attempt: what is retained is lost.
    pub(super) fn forget(&mut self, counters: &Counters, records: &mut Records) {
        let reason = self.suspended().map_or(DropReason::Shutdown, DropReason::from);
        records.drop_retained(self.index, reason, counters);
        counters.outputs[self.index].in_hands.store(0, Relaxed);
    }

    /// Everything that is written is handed on; or why not.
    pub(super) fn flush(&mut self, now: Now, counters: &Counters, events: &mut Events) -> Result<(), Cause> {
        if self.suspension.is_none() {
            match guarded(|| self.sink.flush()) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.suspend(error, now, &counters.outputs[self.index], events),
                Err(Panicked) => return Err(Cause::Io),
            }
        }
        self.suspended().map_or(Ok(()), Err)
    }

    /// The last words: losses that no line has told. A suspended output gets one attempt more, and one for what that has cost;
    /// there is no later one.
    pub(super) fn finish(
        &mut self,
        now: Now,
        counters: &Counters,
        records: &mut Records,
        events: &mut Events,
    ) -> Result<(), Cause> {
        if self.unreported(counters).total() > 0 {
            self.look_and_lead(now, counters, events);
        }
        let mut writes = self.suspension.is_some();
        let mut nothing_lost = Ok(());
        while let Some(suspension) = self.suspension {
            let was_back = self.try_to_resume(suspension, Duration::ZERO, now, counters, records);
            if was_back {
                self.write_retained(now, counters, records, events);
            }
            if records.kept(self.index) > 0 {
                nothing_lost = Err(suspension.cause);
            }
            self.forget(counters, records);
            if !was_back {
                break;
            }
        }
        self.tell_return(counters, events);
        let all = self.reported.total() + self.unreported(counters).total();
        self.lead_with_drops(now, counters, true);
        writes |= !self.lines.spans.is_empty();
        self.write(now, counters, records, events);
        let finished = self.flush(now, counters, events);
        // A sink that panicked with that line is not suspended.
        let all_told = if self.reported.total() < all { Err(Cause::Io) } else { Ok(()) };
        if writes {
            self.hear_the_last(now, &counters.outputs[self.index], events);
        }
        self.command(Command::Close, now, counters, events);
        finished.and(all_told).and(nothing_lost)
    }

    /// What came of the last lines: they may have rotated the file, or old ones may have gone for them. Nothing comes behind them that could
    /// fail.
    fn hear_the_last(&mut self, now: Now, counters: &OutputCounters, events: &mut Events) {
        if self.suspension.is_some() {
            return;
        }
        match guarded(|| self.sink.check(now)) {
            Ok(Ok(health)) => self.hear(health.news, counters, events),
            Ok(Err(error)) => self.hear(error.news, counters, events),
            Err(Panicked) => {} // Its hook has said so.
        }
    }

    /// When it wants to be tended next.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.suspension {
            Some(suspension) => Some(suspension.retry_at),
            None => self.check_at,
        }
    }
}

/// A format, a sink or a callback of the program panicked.
pub(super) struct Panicked;

pub(super) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    // Dropping what it panicked with could panic again; a program that panics here has worse leaks.
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        #[cfg(test)]
        CAUGHT.set(CAUGHT.get() + 1);
        std::mem::forget(payload);
        Panicked
    })
}

#[cfg(test)]
thread_local! {
    /// How many panics were caught on this thread: a test that has no format, sink or callback of its own wants none.
    pub(crate) static CAUGHT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn is_due(last: Option<Instant>, every: Duration, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= every)
}

/// Spreads the attempts of many outputs and processes; only ever shortens.
struct Jitter(u64);

impl Jitter {
    fn new(index: usize) -> Self {
        // A test that is run again does the same again.
        let process = if cfg!(test) { 1 } else { std::process::id() };
        Self(u64::from(process) << 8 | index as u64 | 1 << 40)
    }

    /// Between three quarters of `delay` and all of it.
    fn shorten(&mut self, delay: Duration) -> Duration {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        delay - delay / 4 * (self.0 % 256) as u32 / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_comes_up_to_a_quarter_earlier_than_its_time_and_never_later() {
        let delay = Duration::from_secs(1);
        let mut jitter = Jitter::new(0);
        let delays: Vec<_> = (0..1000).map(|_| jitter.shorten(delay)).collect();
        assert!(delays.iter().all(|spread| (delay / 4 * 3..=delay).contains(spread)), "{delays:?}");
        for part in 0..10 {
            let from = delay / 4 * 3 + delay / 40 * part;
            let here = delays.iter().filter(|spread| (from..from + delay / 40).contains(spread)).count();
            assert!((50..200).contains(&here), "{here} of 1000 in the {part}th tenth of the time");
        }
    }

    #[test]
    fn outputs_do_not_try_all_at_once() {
        let first = |index| Jitter::new(index).shorten(Duration::from_secs(1));
        assert!((1..8).any(|index| first(index) != first(0)));
    }
}
