//! Between the callers' threads and the writer's: the slots, what happens when they are full, the
//! gate that closes when no output can take a record, the doorbell that wakes a long nap, and the
//! requests that want an answer.
//!
//! No caller waits here, unless the user chose `Overflow::Block`. The writer never sleeps *in* the
//! channel: a parked receiver would cost every sender a system call. It naps by itself, and the
//! doorbell shows the callers when ringing is worth it.

mod asking;
mod doorbell;
mod draft;
mod gate;
mod overflow;
mod requests;

pub(crate) mod origin;
mod per_process;
pub(crate) mod rate_limit;

use std::time::{Duration, Instant};

use log::Level;

use crate::clock::Stamp;
use crate::event::State;
use crate::record::OwnedRecord;
use crate::stats::{Counters, DropReason, Stats};
use crate::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use crate::sync::process_wide;
use crate::sync::thread::{self, Thread};
use crate::unix_time::UnixTime;
use crate::wanted::{Levels, Wanting};

use doorbell::{Doorbell, Found};
pub(crate) use draft::Draft;
use gate::CurrentGate;
pub(crate) use gate::Gate;
pub use overflow::Overflow;
pub(crate) use overflow::memory_for;
use overflow::{NotIn, Queued, Slots};
pub(crate) use per_process::{PerProcessPipeline, Renew};
use rate_limit::RateLimit;
use requests::Requests;
pub(crate) use requests::{Orders, Reply, Request};

/// A blocked caller checks this often whether the logger has been shut down.
const BLOCKED_LOOK: Duration = Duration::from_millis(20);

/// The state that the callers and the writer of one process share.
pub(crate) struct Pipeline {
    slots: Slots,
    requests: Requests,
    gate: CurrentGate,
    bell: Doorbell,
    /// The levels that outputs without a filter want, and the outputs that have one.
    wanted: (Levels, Wanting),
    /// Callers take the time from the processor's counter.
    counter_is_read: AtomicBool,
    /// The writer is to end when its queue is empty, and nobody waits for an answer.
    leaving: AtomicBool,
    shutdown_timeout: Duration,
    /// A crash waits until what is queued is written.
    flush_on_crash: bool,
    /// The epoch of the writer's thread-name table. A thread sends its name with its first record
    /// of each epoch.
    epoch: AtomicU64,
    /// The limit for each location of the program, if there is one.
    rate_limit: Option<RateLimit>,
    pub(crate) counters: Counters,
}

impl Pipeline {
    pub(crate) fn new(
        capacity: usize,
        overflow: Overflow,
        shutdown_timeout: Duration,
        rate_limit: Option<RateLimit>,
        counters: Counters,
    ) -> Self {
        Self {
            epoch: AtomicU64::new(new_epoch()),
            slots: Slots::new(capacity, overflow),
            requests: Requests::new(),
            gate: CurrentGate::new(),
            bell: Doorbell::new(),
            wanted: counters.wanted(),
            counter_is_read: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            shutdown_timeout,
            flush_on_crash: false,
            rate_limit,
            counters,
        }
    }

    /// Sets whether a crash waits until what is queued is written.
    pub(crate) fn flush_on_crash(mut self, flush_on_crash: bool) -> Self {
        self.flush_on_crash = flush_on_crash;
        self
    }

    /// Sets the thread that takes the records out. Before that, nobody is woken.
    pub(crate) fn set_writer(&self, thread: Thread) {
        self.bell.set_writer(thread);
    }

    // --- the callers' side ---

    /// Returns the epoch: a thread that has sent its name in it does not send it again.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Makes every thread send its name again.
    pub(crate) fn begin_epoch(&self) {
        self.epoch.store(new_epoch(), Relaxed);
    }

    /// Returns true if an output wants a record of this level; `wanting` are the outputs with
    /// filters that want it. Every record that passes the filter is wanted, except in a forked
    /// child, because some outputs may have stayed with the parent.
    #[inline]
    pub(crate) fn wants(&self, level: Level, wanting: Wanting) -> bool {
        self.wanted.0.has(level) || self.wanted.1.meets(wanting)
    }

    /// Returns why no output that wants the record can take it now, if none can.
    #[inline(always)]
    pub(crate) fn closed_to(&self, level: Level, wanting: Wanting) -> Option<DropReason> {
        let gate = self.gate.get();
        if gate.is_by_output() { self.counters.closed_to(level, wanting) } else { gate.closed_to(level) }
    }

    /// Returns the time of a record that may be offered. Counts a record that is wanted, and that
    /// no output can take now.
    #[inline(always)]
    pub(crate) fn admit(&self, level: Level, wanting: Wanting) -> Option<Stamp> {
        if !self.wants(level, wanting) {
            return None;
        }
        if let Some(reason) = self.closed_to(level, wanting) {
            self.refuse(level, wanting, reason);
            return None;
        }
        Some(self.stamp())
    }

    /// Returns the time of a record that is logged now.
    #[inline(always)]
    pub(crate) fn stamp(&self) -> Stamp {
        // Relaxed: the stamp says which of the two it is, so a caller may see a change late.
        if self.counter_is_read.load(Relaxed) { Stamp::by_counter() } else { Stamp::by_clock() }
    }

    /// Returns true if the record exceeds the rate limit of its location, and counts it as
    /// suppressed.
    #[inline]
    pub(crate) fn suppresses(&self, record: &log::Record<'_>, wanting: Wanting, stamp: Stamp) -> bool {
        match (&self.rate_limit, stamp) {
            // With a limit nobody reads the counter.
            (Some(rate_limit), Stamp::Nanos(_)) => self.suppresses_by(rate_limit, record, wanting, stamp.time(None)),
            _ => false,
        }
    }

    /// Not inlined: most pipelines have no limit, and their calls do not pay for it.
    #[inline(never)]
    fn suppresses_by(&self, limit: &RateLimit, record: &log::Record<'_>, wanting: Wanting, time: UnixTime) -> bool {
        let admitted = limit.admit(record, wanting, time);
        if !admitted {
            self.counters.callers.suppressed.fetch_add(1, Relaxed);
        }
        !admitted
    }

    /// Returns the origin of a record that is logged in the code of an output, if it is taken.
    /// Another output of this logger has to want it, and the budget for such records must not be
    /// used up; or the output is one of another logger. Otherwise counts the record as suppressed.
    #[cold]
    pub(crate) fn admit_own(&self, origin: u32, level: Level, wanting: Wanting) -> Option<u32> {
        let admitted = if origin::is_inside(self.address()) {
            let mut others =
                self.counters.outputs.iter().enumerate().filter(|(output, _)| origin::output(origin) != Some(*output));
            let is_wanted = others.any(|(_, output)| output.wants(level, wanting));
            (is_wanted && origin::admit(origin)).then_some(origin)
        } else {
            origin::to_other_logger(origin)
        };
        if admitted.is_none() {
            self.counters.callers.suppressed.fetch_add(1, Relaxed);
        }
        admitted
    }

    /// Returns what distinguishes this pipeline from another one of the process.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(&self.counters).addr()
    }

    /// Counts a record that is not even formatted.
    #[inline]
    pub(crate) fn refuse(&self, level: Level, wanting: Wanting, reason: DropReason) {
        self.counters.accept(level, wanting);
        self.counters.drop_offered(level, wanting, reason);
    }

    /// Puts a record into the queue, or counts it as dropped. Returns true if it is in.
    #[inline(never)]
    pub(crate) fn offer(&self, level: Level, wanting: Wanting, draft: &mut Draft) -> bool {
        let Some(spilled) = draft.record().map(|record| record.spilled()) else { return false };
        self.counters.accept(level, wanting);
        let accepted = || self.counters.callers.accepted.total();
        let is_in = self.slots.has_slot_for(level, accepted)
            && self.slots.spill_fits(level, spilled)
            && self.slots.send(spilled, draft)
            || draft.take().is_some_and(|record| self.make_room(level, spilled, Queued::into_inner(record)));
        if is_in {
            self.ring(level);
        } else {
            self.refused(level, wanting);
        }
        is_in
    }

    /// Puts a record for which there was no room into the queue, if the policy makes room for it.
    #[inline(never)]
    fn make_room(&self, level: Level, spilled: usize, record: OwnedRecord) -> bool {
        match self.slots.overflow {
            Overflow::DropNewest => false,
            Overflow::DropOldest => self.slots.put_evicting(level, spilled, record, |oldest| self.evict(oldest)),
            Overflow::Block => self.put_waiting(level, spilled, record, None),
            Overflow::BlockAtMost(at_most) => {
                self.put_waiting(level, spilled, record, Instant::now().checked_add(at_most))
            }
        }
    }

    /// Counts a record that was offered and is not in.
    #[cold]
    fn refused(&self, level: Level, wanting: Wanting) {
        let reason = if self.is_shut() { DropReason::Shutdown } else { DropReason::QueueFull };
        self.counters.drop_offered(level, wanting, reason);
    }

    /// Counts a record that is taken out of the full queue for a newer one.
    fn evict(&self, oldest: &OwnedRecord) {
        self.counters.drop_offered(oldest.level(), oldest.wanting(), DropReason::QueueFull);
        if let (Some(call_site), Some(rate_limit)) = (oldest.reports_on(), &self.rate_limit) {
            rate_limit.report_again(call_site);
        }
        if oldest.thread_name().is_some() {
            // The writer has not learnt this name, so every thread sends its name again.
            self.begin_epoch();
        }
    }

    fn put_waiting(&self, level: Level, spilled: usize, mut record: OwnedRecord, deadline: Option<Instant>) -> bool {
        // If the code of another logger's output waited for this writer, and this one's for that
        // writer, neither would ever go on.
        if self.on_writer() || origin::is_output(record.thread()) {
            return false;
        }
        loop {
            let left = deadline.map_or(BLOCKED_LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() || self.is_shut() {
                return false;
            }
            self.bell.wake_if_armed();
            let slice = left.min(BLOCKED_LOOK);
            match self.slots.put_within(slice, level, spilled, record) {
                Ok(()) => return true,
                Err(NotIn::NoSlot(back)) => record = back,
                Err(NotIn::NoHeap(back)) => {
                    record = back;
                    thread::sleep(slice.min(Duration::from_millis(1)));
                }
            }
        }
    }

    /// Ends an armed nap, if the record that went in is a reason to.
    #[inline(always)]
    fn ring(&self, level: Level) {
        match self.bell.look() {
            // The records are counted after this one went in. So of several callers that fill the
            // queue together, the last one rings. So does the last record below WARN that fits a
            // small queue, half of which is reserved for WARN and ERROR.
            Found::Armed if level == Level::Error || self.slots.is_half_full() => self.bell.wake_if_armed(),
            Found::Ended => self.sweep(),
            Found::Armed | Found::Quiet => {}
        }
    }

    /// Takes out the records that nobody will write any more, and counts them.
    #[cold]
    pub(crate) fn sweep(&self) {
        self.take_while(|record| {
            self.counters.drop_offered(record.level(), record.wanting(), DropReason::Shutdown);
            true
        });
    }

    pub(crate) fn on_writer(&self) -> bool {
        self.bell.on_writer()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot(self.len(), self.is_ended(), Instant::now())
    }

    pub(crate) fn state(&self) -> State {
        if self.is_ended() {
            return State::Closed;
        }
        let worst = self.counters.outputs.iter().map(|output| output.state.byte()).max();
        State::from_byte(worst.unwrap_or(0))
    }

    // --- the writer's side ---

    /// Takes out one record after the other, until the queue is empty or `more` returns false.
    pub(crate) fn take_while(&self, more: impl FnMut(&OwnedRecord) -> bool) {
        self.slots.take_while(more);
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Sets whether callers read the processor's counter or the clock.
    pub(crate) fn read_counter(&self, yes: bool) {
        if self.counter_is_read.load(Relaxed) != yes {
            self.counter_is_read.store(yes, Relaxed);
        }
    }

    pub(crate) fn rate_limit(&self) -> Option<&RateLimit> {
        self.rate_limit.as_ref()
    }

    /// Puts in a record of the crate's own, if there is a slot; it never waits.
    pub(crate) fn offer_own(&self, record: OwnedRecord) -> bool {
        let (level, wanting, spilled) = (record.level(), record.wanting(), record.spilled());
        // Asked for as for an ERROR, because the writer may use the reserved slots.
        let is_in = self.slots.has_slot(Level::Error) && self.slots.put(level, spilled, record).is_ok();
        if is_in {
            self.counters.accept(level, wanting);
            self.ring(level);
        }
        is_in
    }

    /// Returns true if the writer is to end when its queue is empty.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(SeqCst)
    }

    /// Sets what the outputs can take, unless the logger was shut down.
    pub(crate) fn set_gate(&self, gate: Gate) {
        self.gate.set(gate);
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.gate.is_shut()
    }

    /// Sleeps up to `at_most`, unless records or requests wait. A request ends the nap, while a
    /// record does not.
    pub(crate) fn nap(&self, at_most: Duration) {
        self.bell.nap(at_most, || self.has_work());
    }

    /// Sleeps up to `at_most`, unless records or requests wait. An ERROR, a half-full queue or a
    /// request ends the nap; while `may_arm` is false, only a request does.
    pub(crate) fn nap_armed(&self, at_most: Duration) {
        if self.may_arm() { self.bell.nap_armed(at_most, || self.has_work()) } else { self.nap(at_most) }
    }

    fn has_work(&self) -> bool {
        !self.slots.is_empty() || !self.requests.is_empty()
    }

    /// Returns true if naps may be armed. While the gate is not fully open no nap is armed, so that
    /// no call costs a system call, whatever its level.
    pub(crate) fn may_arm(&self) -> bool {
        self.gate.get().is_fully_open()
    }

    /// Returns how many records fill half of the queue.
    pub(crate) fn half(&self) -> usize {
        self.slots.half()
    }

    /// Sleeps up to `at_most`, although records wait in the queue. A request ends it.
    pub(crate) fn rest(&self, at_most: Duration) {
        self.bell.nap(at_most, || !self.requests.is_empty());
    }

    /// Returns true if callers wait for a slot instead of dropping a record.
    pub(crate) fn callers_wait(&self) -> bool {
        self.slots.callers_wait()
    }

    /// Ends the queue: the writer takes nothing out from now on, and a caller that still puts a
    /// record in counts it.
    pub(crate) fn end(&self) {
        self.gate.shut();
        self.bell.end();
        self.sweep();
        self.requests.dismiss();
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.bell.is_ended()
    }
}

fn new_epoch() -> u64 {
    process_wide! { static NEXT: AtomicU64 = AtomicU64::new(1); }
    NEXT.fetch_add(1, Relaxed)
}
