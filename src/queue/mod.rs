//! Between the callers' threads and the writer's: the bounded channel, what happens when it is
//! full, the gate that closes when no output can take a record, the doorbell that wakes a long nap,
//! and the requests that want an answer.
//!
//! No caller waits here, unless the user chose `Overflow::Block`. The writer never sleeps *in* the
//! channel: a parked receiver would cost every sender a system call. It naps by itself, and the
//! doorbell tells the callers when ringing is worth it.

pub(crate) mod origin;
mod per_process;
pub(crate) mod rate_limit;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter};

use crate::clock::Stamp;
use crate::error::FlushError;
use crate::event::State;
use crate::os::AtExit;
use crate::record::OwnedRecord;
use crate::stats::{Counters, DropReason, PendingDrops, Stats};
use crate::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use crate::sync::channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use crate::sync::process_wide;
use crate::sync::thread::{self, Thread};

pub(crate) use per_process::{PerProcessPipeline, Renew};
use rate_limit::RateLimit;

/// Decides what happens to a record that finds the queue full.
///
/// Every loss is counted in `Stats::dropped.queue_full` and told in the log as one merged line, at
/// most every 5 s.
///
/// ```
/// use std::time::Duration;
/// use unfazed::{Builder, Overflow};
///
/// // Wait for the disk, but not for ever.
/// let builder = Builder::new().overflow(Overflow::BlockAtMost(Duration::from_millis(50)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The new record is dropped. The last eighth of the slots (at least 64, at most half of them)
    /// and of what long messages may hold on the heap (8 MiB) is kept for WARN and ERROR, so that a
    /// flood of lower levels cannot push them out.
    #[default]
    DropNewest,
    /// The oldest record in the queue is dropped, whatever its level.
    DropOldest,
    /// The call waits until there is a slot: no record is lost to the queue, and a hung disk hangs
    /// the program. A call on the writer's own thread does not wait; neither does one after the
    /// shutdown.
    Block,
    /// As `Block`, but at most this long; then the new record is dropped. Zero waits not at all.
    BlockAtMost(Duration),
}

/// The records of one queue together hold at most this much outside their slots: 8 MiB.
const MOST_SPILLED: usize = 8 << 20;
/// Flushes and shutdowns that wait for the writer at the same time; one more waits for a place, up
/// to its deadline.
const MOST_REQUESTS: usize = 256;
/// A blocked caller looks this often whether the logger was shut down meanwhile.
const BLOCKED_LOOK: Duration = Duration::from_millis(20);
/// How often `DropOldest` makes room before it gives the new record up, when many callers fight for
/// the slots.
const MOST_EVICTIONS: usize = 32;

/// The writer is awake, or naps for so short a time that nobody needs to wake it.
const QUIET: u8 = 0;
/// The writer naps for long: the first caller with a reason wakes it.
const ARMED: u8 = 1;
/// The writer has ended: whoever puts something in takes it out again and counts it.
const ENDED: u8 = 2;

/// One pipeline's meeting place.
pub(crate) struct Pipeline {
    records: (Sender<OwnedRecord>, Receiver<OwnedRecord>),
    requests: (Sender<Request>, Receiver<Request>),
    orders: Orders,
    /// The most verbose level that an output takes.
    wanted: LevelFilter,
    overflow: Overflow,
    capacity: usize,
    /// Slots that `DropNewest` keeps for WARN and ERROR.
    reserved_slots: usize,
    /// The writer sets it; callers read it on every call.
    gate: AtomicU32,
    bell: AtomicU8,
    /// Callers take the time from the processor's counter.
    counter_is_read: AtomicBool,
    /// Bytes that the queued records hold on the heap. Callers add, whoever takes a record out
    /// subtracts.
    spilled: AtomicUsize,
    /// Set once, by whoever starts the writer, before the writer takes anything.
    writer: OnceLock<Thread>,
    /// The writer is to end when its queue is empty, and nobody waits for an answer.
    leaving: AtomicBool,
    shutdown_timeout: Duration,
    /// A number that stands for a writer who knows the names of those that have introduced
    /// themselves to it.
    audience: AtomicU64,
    /// The limit for each place of the program, if there is one.
    rate_limit: Option<RateLimit>,
    pub(crate) counters: Counters,
}

/// Something the writer answers. An answer that is dropped means that the writer has ended.
pub(crate) enum Request {
    /// Write what is in the queue, then answer.
    Flush(Reply),
    /// The same, and end. The gate is shut already.
    Shutdown(Reply),
}

/// What needs no answer, is never waited for and never refused: twice the same is once. Each is a
/// number: how many records the writer has to have taken before, plus one; 0: not ordered.
#[derive(Default)]
pub(crate) struct Orders {
    rotate: AtomicU64,
    reopen: AtomicU64,
}

impl Orders {
    pub(crate) fn rotate(&self) -> &AtomicU64 {
        &self.rotate
    }

    pub(crate) fn reopen(&self) -> &AtomicU64 {
        &self.reopen
    }
}

/// The way back to whoever asked.
pub(crate) struct Reply {
    answer: Sender<Result<(), FlushError>>,
    /// What was dropped before the call. The answer is `Ok` only if nothing was dropped after it.
    pub(crate) before: PendingDrops,
}

impl Reply {
    pub(crate) fn send(self, answer: Result<(), FlushError>) {
        // Whoever asked may have stopped waiting.
        let _ = self.answer.send(answer);
    }
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
            audience: AtomicU64::new(new_audience()),
            records: bounded(capacity + slack(overflow)),
            requests: bounded(MOST_REQUESTS),
            orders: Orders::default(),
            wanted: counters.outputs.iter().map(|output| output.level).max().unwrap_or(LevelFilter::Off),
            overflow,
            capacity,
            reserved_slots: (capacity / 8).max(64).min(capacity / 2),
            gate: AtomicU32::new(Gate::OPEN.0),
            bell: AtomicU8::new(QUIET),
            counter_is_read: AtomicBool::new(false),
            spilled: AtomicUsize::new(0),
            writer: OnceLock::new(),
            leaving: AtomicBool::new(false),
            shutdown_timeout,
            rate_limit,
            counters,
        }
    }

    /// Says who takes the records out. Before that, nobody is woken.
    pub(crate) fn set_writer(&self, thread: Thread) {
        // A second call would be a second writer; the first one stays.
        let _ = self.writer.set(thread);
    }

    // --- the callers' side ---

    /// A thread that has introduced itself to this number does not bring its name again.
    #[inline]
    pub(crate) fn audience(&self) -> u64 {
        self.audience.load(Relaxed)
    }

    /// Has every thread send its name again.
    pub(crate) fn begin_epoch(&self) {
        self.audience.store(new_audience(), Relaxed);
    }

    /// Whether any output wants records of this level. All that pass the filter are wanted, but in
    /// a forked child whose parent has kept an output.
    #[inline]
    pub(crate) fn wants(&self, level: Level) -> bool {
        level <= self.wanted
    }

    /// Whether no output can take a record of this level now, and why.
    #[inline]
    pub(crate) fn closed_to(&self, level: Level) -> Option<DropReason> {
        // Relaxed: a record that slips through a closing gate is dropped and counted by the writer.
        Gate(self.gate.load(Relaxed)).closed_to(level)
    }

    /// The time of a record that is logged now.
    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        // Relaxed: who reads the one where the other was meant is understood, too.
        if self.counter_is_read.load(Relaxed) { Stamp::by_counter() } else { Stamp::by_clock() }
    }

    /// Whether the record is one too many of its place; then it is counted as suppressed.
    #[inline]
    pub(crate) fn suppresses(&self, record: &log::Record<'_>, stamp: Stamp) -> bool {
        // With a limit nobody reads the counter.
        let (Some(rate_limit), Stamp::Time(time)) = (&self.rate_limit, stamp) else { return false };
        let admitted = rate_limit.admit(record, time);
        if !admitted {
            self.counters.callers.suppressed.fetch_add(1, Relaxed);
        }
        !admitted
    }

    /// Returns whether a record that is logged in the code of an output is taken: another output
    /// wants it, and there were not too many of them. Otherwise it counts as suppressed. To another
    /// logger, the writer's thread is a thread like any other.
    #[cold]
    pub(crate) fn admits_own(&self, origin: u32, level: Level) -> bool {
        if !origin::is_inside(self.address()) {
            return true;
        }
        let mut others =
            self.counters.outputs.iter().enumerate().filter(|(output, _)| origin::output(origin) != Some(*output));
        let admits = others.any(|(_, output)| output.wants(level)) && origin::admit(origin);
        if !admits {
            self.counters.callers.suppressed.fetch_add(1, Relaxed);
        }
        admits
    }

    /// Returns what tells this pipeline from another one of the process.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(&self.counters).addr()
    }

    /// Counts a record that is not even formatted.
    #[inline]
    pub(crate) fn refuse(&self, level: Level, reason: DropReason) {
        self.counters.callers.accepted.count(level);
        self.counters.callers.dropped.count(level, reason);
    }

    /// Puts a record into the queue, or counts why not. Returns whether it is in. `spilled` is what
    /// it holds on the heap: said by the caller, because a record that is looked at on its way is
    /// copied once more.
    #[inline(never)]
    pub(crate) fn offer(&self, level: Level, spilled: usize, record: OwnedRecord) -> bool {
        self.counters.callers.accepted.count(level);
        let is_in = match self.overflow {
            Overflow::DropNewest => {
                let reserved = if level <= Level::Warn { 0 } else { self.reserved_slots };
                self.len() < self.capacity - reserved && self.put(level, spilled, record).is_ok()
            }
            Overflow::DropOldest => self.put_evicting(level, spilled, record),
            Overflow::Block => self.put_waiting(level, spilled, record, None),
            Overflow::BlockAtMost(at_most) => {
                self.put_waiting(level, spilled, record, Instant::now().checked_add(at_most))
            }
        };
        if is_in {
            self.ring(level);
        } else {
            let reason = self.closed_to(level).filter(|reason| *reason == DropReason::Shutdown);
            self.counters.callers.dropped.count(level, reason.unwrap_or(DropReason::QueueFull));
        }
        is_in
    }

    #[allow(clippy::result_large_err)] // the record itself comes back
    #[inline]
    fn put(&self, level: Level, spilled: usize, record: OwnedRecord) -> Result<(), OwnedRecord> {
        if !self.spill_fits(level, spilled) {
            return Err(record);
        }
        self.records.0.try_send(record).map_err(|error| {
            self.spilled.fetch_sub(spilled, Relaxed);
            error.into_inner()
        })
    }

    /// Counts what a record holds on the heap, if that still fits into the bound.
    #[inline]
    fn spill_fits(&self, level: Level, spilled: usize) -> bool {
        let most = match self.overflow {
            Overflow::DropNewest if level > Level::Warn => MOST_SPILLED - MOST_SPILLED / 8,
            _ => MOST_SPILLED,
        };
        match spilled {
            0 => true,
            bytes if self.spilled.fetch_add(bytes, Relaxed) + bytes <= most => true,
            bytes => {
                self.spilled.fetch_sub(bytes, Relaxed);
                false
            }
        }
    }

    fn put_evicting(&self, level: Level, spilled: usize, mut record: OwnedRecord) -> bool {
        for _ in 0..MOST_EVICTIONS {
            if self.len() < self.capacity {
                match self.put(level, spilled, record) {
                    Ok(()) => return true,
                    Err(back) => record = back,
                }
            }
            self.take_while(|oldest| {
                self.counters.callers.dropped.count(oldest.level(), DropReason::QueueFull);
                self.counters.callers.evicted.fetch_add(1, Relaxed);
                if oldest.thread_name().is_some() {
                    // The writer has not learnt it: every thread introduces itself again.
                    self.begin_epoch();
                }
                false
            });
        }
        self.put(level, spilled, record).is_ok()
    }

    fn put_waiting(&self, level: Level, spilled: usize, record: OwnedRecord, deadline: Option<Instant>) -> bool {
        let mut record = match self.put(level, spilled, record) {
            Ok(()) => return true,
            Err(record) => record,
        };
        if self.on_writer() {
            return false;
        }
        loop {
            let left = deadline.map_or(BLOCKED_LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() || self.is_shut() {
                return false;
            }
            self.wake_if_armed();
            let slice = left.min(BLOCKED_LOOK);
            if !self.spill_fits(level, spilled) {
                // The queue has slots but the heap's bound is reached: the writer frees it without
                // waking anybody.
                thread::sleep(slice.min(Duration::from_millis(1)));
                continue;
            }
            match self.records.0.send_timeout(record, slice) {
                Ok(()) => return true,
                Err(SendTimeoutError::Timeout(back) | SendTimeoutError::Disconnected(back)) => {
                    self.spilled.fetch_sub(spilled, Relaxed);
                    record = back;
                }
            }
        }
    }

    /// After a record went in: wakes a long nap if there is a reason to.
    #[inline]
    fn ring(&self, level: Level) {
        // SeqCst, here and in `arm`: the caller writes the queue and reads the bell, the writer
        // writes the bell and reads the queue; at least one of them must see the other (the
        // store-buffer pattern).
        match self.bell.load(SeqCst) {
            // Counted now, not before the record went in: of several callers that fill the queue
            // together the last one rings, and so does the last record that a small queue, half of
            // which is kept for WARN and ERROR, takes from below.
            ARMED if level == Level::Error || self.len() >= self.capacity / 2 => self.wake_if_armed(),
            ENDED => self.sweep(),
            _ => {}
        }
    }

    #[cold]
    fn wake_if_armed(&self) {
        if self.bell.compare_exchange(ARMED, QUIET, SeqCst, Relaxed).is_ok() {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Takes out what nobody will write any more, and counts it.
    #[cold]
    pub(crate) fn sweep(&self) {
        self.take_while(|record| {
            self.counters.callers.dropped.count(record.level(), DropReason::Shutdown);
            true
        });
    }

    pub(crate) fn on_writer(&self) -> bool {
        self.writer.get().is_some_and(|writer| writer.id() == thread::current().id())
    }

    /// Waits until all that is in the queue now is written.
    pub(crate) fn flush(&self, at_most: Duration) -> Result<(), FlushError> {
        self.ask(Request::Flush, at_most)
    }

    /// Lets nothing in any more, waits until the rest is written, and counts what is not by the
    /// deadline.
    pub(crate) fn shutdown(&self, at_most: Duration) -> Result<(), FlushError> {
        if self.on_writer() {
            return Err(FlushError::OnWriter);
        }
        self.gate.store(Gate::SHUT.0, SeqCst);
        if self.writer.get().is_none() {
            // Its thread was never let go: nobody would answer.
            self.end();
            return Err(FlushError::Closed);
        }
        let answer = self.ask(Request::Shutdown, at_most);
        if answer == Err(FlushError::Timeout) {
            self.end();
        }
        answer
    }

    /// The flush of the `log` facade.
    pub(crate) fn flush_in_time(&self) -> Result<(), FlushError> {
        self.flush(self.shutdown_timeout)
    }

    /// The end of a logger that is dropped: waits, but for the writer's own thread, which cannot
    /// wait for itself.
    pub(crate) fn end_in_time(&self) {
        if self.shutdown(self.shutdown_timeout) == Err(FlushError::OnWriter) {
            self.begin();
        }
    }

    /// Makes the way back for an answer, and notes what was dropped before the call.
    pub(crate) fn stamped_reply(&self) -> (Reply, Receiver<Result<(), FlushError>>) {
        let before = self.counters.pending_drops();
        let (answer, answered) = bounded(1);
        (Reply { answer, before }, answered)
    }

    fn ask(&self, request: impl FnOnce(Reply) -> Request, at_most: Duration) -> Result<(), FlushError> {
        if self.on_writer() {
            return Err(FlushError::OnWriter);
        }
        let (reply, answered) = self.stamped_reply();
        let asked = Instant::now();
        if self.requests.0.send_timeout(request(reply), at_most).is_err() {
            return Err(FlushError::Timeout);
        }
        // The same pattern as in `ring`: either the writer saw the request before it ended, or we
        // see that it has.
        if self.is_ended() {
            self.dismiss_requests();
        }
        self.wake();
        match answered.recv_timeout(at_most.saturating_sub(asked.elapsed())) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(FlushError::Timeout),
            Err(RecvTimeoutError::Disconnected) => Err(FlushError::Closed),
        }
    }

    /// Leaves an order, to be carried out behind the records that are in the queue now.
    pub(crate) fn order(&self, what: impl FnOnce(&Orders) -> &AtomicU64) {
        // In this sequence: what the writer takes between the two is counted twice, so that the
        // order never comes too early.
        let queued = self.len() as u64;
        let behind = self.counters.writer.taken.total() + queued;
        // SeqCst: the writer looks at it after it has armed its bell, or it is woken.
        what(&self.orders).fetch_max(behind + 1, SeqCst);
        self.wake();
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot(self.len(), self.is_ended(), Instant::now())
    }

    pub(crate) fn state(&self) -> State {
        if self.is_ended() {
            return State::Closed;
        }
        let worst = self.counters.outputs.iter().map(|output| output.state.load(Relaxed)).max();
        State::from_byte(worst.unwrap_or(0))
    }

    // --- the writer's side ---

    /// Takes out one record after the other, until there is none or `more` says that it was enough.
    /// By reference: a record that is not moved about is a third of the writer's work less.
    pub(crate) fn take_while(&self, mut more: impl FnMut(&OwnedRecord) -> bool) {
        while let Ok(record) = &self.records.1.try_recv() {
            match record.spilled() {
                0 => {}
                bytes => drop(self.spilled.fetch_sub(bytes, Relaxed)),
            }
            if !more(record) {
                return;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.1.len()
    }

    /// Whether callers are to read the processor's counter or the clock.
    pub(crate) fn read_counter(&self, yes: bool) {
        if self.counter_is_read.load(Relaxed) != yes {
            self.counter_is_read.store(yes, Relaxed);
        }
    }

    pub(crate) fn rate_limit(&self) -> Option<&RateLimit> {
        self.rate_limit.as_ref()
    }

    /// Puts in a record of the writer's own, if there is a slot; it never waits.
    pub(crate) fn offer_own(&self, record: OwnedRecord) -> bool {
        let (level, spilled) = (record.level(), record.spilled());
        let is_in = self.len() < self.capacity && self.put(level, spilled, record).is_ok();
        if is_in {
            self.counters.callers.accepted.count(level);
        }
        is_in
    }

    /// Whether the writer is to end when its queue is empty.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(SeqCst)
    }

    /// Takes an order: how many records have to be taken before it is carried out.
    pub(crate) fn take_order(&self, what: impl FnOnce(&Orders) -> &AtomicU64) -> Option<u64> {
        let order = what(&self.orders);
        // Every turn asks; a swap would take the cache line from the callers.
        if order.load(SeqCst) == 0 { None } else { order.swap(0, SeqCst).checked_sub(1) }
    }

    pub(crate) fn next_request(&self) -> Option<Request> {
        self.requests.1.try_recv().ok()
    }

    /// A flush, or a shutdown without a deadline, whose answer is looked for later: for who is also
    /// the writer.
    #[cfg(test)]
    pub(crate) fn ask_without_waiting(&self, shutdown: bool) -> Receiver<Result<(), FlushError>> {
        if shutdown {
            self.gate.store(Gate::SHUT.0, SeqCst);
        }
        let (reply, answered) = self.stamped_reply();
        self.send_without_waiting(shutdown, reply);
        answered
    }

    /// The second half of that: what happens between the two halves happens between the call and
    /// the request.
    #[cfg(test)]
    pub(crate) fn send_without_waiting(&self, shutdown: bool, reply: Reply) {
        let request = if shutdown { Request::Shutdown } else { Request::Flush };
        // Without a place for it the answer is that nobody answers.
        let _ = self.requests.0.try_send(request(reply));
    }

    /// What the queued records hold outside their slots, and the most they may.
    #[cfg(test)]
    pub(crate) fn spilled(&self) -> (usize, usize) {
        (self.spilled.load(Relaxed), MOST_SPILLED)
    }

    #[cfg(test)]
    pub(crate) fn has_requests(&self) -> bool {
        !self.requests.1.is_empty()
    }

    /// Sets what the outputs can take, unless the logger was shut down.
    pub(crate) fn set_gate(&self, gate: Gate) {
        if self.gate.load(Relaxed) == gate.0 {
            return; // Every turn asks; a write would take the cache line from the callers.
        }
        // An error means that it is shut, and stays so.
        let _ = self.gate.fetch_update(SeqCst, Relaxed, |now| (now != Gate::SHUT.0).then_some(gate.0));
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.gate.load(SeqCst) == Gate::SHUT.0
    }

    fn is_fully_open(&self) -> bool {
        self.gate.load(Relaxed) == Gate::OPEN.0
    }

    /// Sleeps up to `at_most`; `long` naps are armed, so that an ERROR or a filling queue ends
    /// them. A request ends every nap. With the gate not fully open nothing is armed: then a call
    /// costs no system call, whatever its level.
    pub(crate) fn nap(&self, at_most: Duration, long: bool) {
        let armed = long && self.is_fully_open();
        if armed {
            // Fails only when the logger has ended.
            let _ = self.bell.compare_exchange(QUIET, ARMED, SeqCst, Relaxed);
        }
        // Looks once more, after arming: see `ring`.
        if self.records.1.is_empty() && self.requests.1.is_empty() {
            thread::park_timeout(at_most);
        }
        if armed {
            // Fails if a caller has rung.
            let _ = self.bell.compare_exchange(ARMED, QUIET, SeqCst, Relaxed);
        }
    }

    /// Nobody will take anything out from now on: what comes late is counted by whoever brings it.
    pub(crate) fn end(&self) {
        self.gate.store(Gate::SHUT.0, SeqCst);
        self.bell.store(ENDED, SeqCst);
        self.sweep();
        self.dismiss_requests();
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.bell.load(SeqCst) == ENDED
    }

    /// Drops the requests that nobody will answer, which releases those who wait.
    fn dismiss_requests(&self) {
        while self.next_request().is_some() {}
    }
}

/// Returns how many slots the channel has beyond the capacity. `try_send` and `try_recv` spin on a
/// slot that another thread has claimed and not released: with a full channel every caller meets
/// the slot that the writer was reading when it was preempted, which costs a caller of higher
/// priority on the same processor all of its time. Callers that wait for a slot need the channel to
/// be full.
fn slack(overflow: Overflow) -> usize {
    match overflow {
        Overflow::DropNewest | Overflow::DropOldest if cfg!(not(all(loom, test))) => 128,
        _ => 0,
    }
}

/// Returns what a queue of this capacity takes, in bytes. The channel takes it at once, and ends
/// the process where there is no memory.
pub(crate) fn memory_for(capacity: usize, overflow: Overflow) -> usize {
    /// What a slot holds beside the record: its stamp.
    const STAMP: usize = size_of::<usize>();

    capacity.saturating_add(slack(overflow)).saturating_mul(size_of::<OwnedRecord>() + STAMP)
}

fn new_audience() -> u64 {
    process_wide! { static NEXT: AtomicU64 = AtomicU64::new(1); }
    NEXT.fetch_add(1, Relaxed)
}

/// The end of the process: no lock, no channel, nothing that could be gone.
impl AtExit for Pipeline {
    fn begin(&self) {
        self.gate.store(Gate::SHUT.0, SeqCst);
        self.leaving.store(true, SeqCst);
        self.wake();
    }

    /// On the writer's own thread (a sink that calls `exit`) there is nothing to wait for.
    fn is_done(&self) -> bool {
        self.is_ended() || self.on_writer()
    }

    fn at_most(&self) -> Duration {
        self.shutdown_timeout
    }
}

/// For each level: open, or the reason why it is closed. Three bits a level, in one atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate(u32);

impl Gate {
    pub(crate) const OPEN: Gate = Gate(0);
    const SHUT: Gate = Gate::all(DropReason::Shutdown);

    const fn all(reason: DropReason) -> Gate {
        let one = reason as u32 + 1;
        Gate(one | one << 3 | one << 6 | one << 9 | one << 12)
    }

    /// Closes it for records of one level.
    pub(crate) fn close(&mut self, level: Level, reason: DropReason) {
        let shift = 3 * (level as u32 - 1);
        self.0 = self.0 & !(7 << shift) | (reason as u32 + 1) << shift;
    }

    #[inline]
    fn closed_to(self, level: Level) -> Option<DropReason> {
        match self.0 >> (3 * (level as u32 - 1)) & 7 {
            0 => None,
            number => DropReason::ALL.get(number as usize - 1).copied(),
        }
    }
}
