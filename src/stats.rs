//! The account: counters that callers and the writer raise, and `Stats`, a plain snapshot of them
//! for any thread.
//!
//! Who counts what: a caller counts what it offers (`accepted`) and what of it does not get into
//! the queue (`dropped`); the writer counts what it took, wrote and dropped. A record is settled
//! once: dropped by its caller, written in at least one output, or dropped by all of them. Until
//! then it is in the queue or in the writer's hands, where a suspended file may retain it for long.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU8, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

use log::Level;

use crate::event::{Cause, State};
use crate::wanted::{Levels, Offered, Wanting};

mod drops;

pub(crate) use drops::{DropCounters, DropReason, Drops};

/// The number of levels, which count from one.
const LEVELS: usize = Level::Trace as usize;

/// One number for each level.
#[derive(Default)]
pub(crate) struct LevelCounters([AtomicU64; LEVELS]);

impl LevelCounters {
    pub(crate) fn count(&self, level: Level) {
        self.0[level as usize - 1].fetch_add(1, Relaxed);
    }

    /// Counts where only one thread counts, without the locked instruction that costs more than all
    /// the rest.
    pub(crate) fn count_alone(&self, level: Level) {
        let counter = &self.0[level as usize - 1];
        counter.store(counter.load(Relaxed) + 1, Relaxed);
    }

    #[inline]
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|counter| counter.load(Relaxed)).sum()
    }

    pub(crate) fn of(&self, levels: Levels) -> u64 {
        let counters = Level::iter().filter(|level| levels.has(*level)).map(|level| &self.0[level as usize - 1]);
        counters.map(|counter| counter.load(Relaxed)).sum()
    }
}

/// What the callers write on nearly every call: on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct CallerCounters {
    /// Callers: records that passed the filter and that some output wants, counted before they are
    /// offered.
    pub(crate) accepted: LevelCounters,
    /// Callers: of these, dropped before or in the queue: at the closed gate, by the overflow
    /// policy, after the end.
    pub(crate) dropped: DropCounters,
    /// Callers: records beyond the rate limit of their location; not accepted.
    pub(crate) suppressed: AtomicU64,
}

/// What the writer writes.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct WriterCounters {
    /// Writer: records it took from the queue.
    pub(crate) taken: LevelCounters,
    /// Writer: records taken and not settled yet, those included that are retained and that no
    /// output has.
    pub(crate) in_hands: AtomicUsize,
    /// Writer: records that are whole in the OS in at least one output.
    pub(crate) written: AtomicU64,
    /// Writer: records that no output has, under the reason of the first one that wanted it.
    pub(crate) dropped: DropCounters,
    /// Writer: records written although they were cut.
    pub(crate) truncated: AtomicU64,
    /// How often an output has dropped a record that the writer had taken.
    pub(crate) output_drops: AtomicU64,
    /// How often it was because the reader of a stream was slow and the backlog full.
    pub(crate) backlog_drops: AtomicU64,
}

/// How many records were dropped after they had been accepted, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PendingDrops {
    pub(crate) by_outputs: u64,
    pub(crate) by_backlogs: u64,
    /// Taken out of the full queue for newer ones.
    pub(crate) evicted: u64,
}

/// The counters of one pipeline.
pub(crate) struct Counters {
    pub(crate) callers: CallerCounters,
    pub(crate) writer: WriterCounters,
    pub(crate) outputs: Vec<Arc<OutputCounters>>,
}

/// The counters of one output; the writer alone writes them.
pub(crate) struct OutputCounters {
    pub(crate) name: Arc<str>,
    pub(crate) offered: Offered,
    /// What was offered to an output that has a filter. The others share the account by levels.
    account: Option<Box<OwnAccount>>,
    pub(crate) state: OutputState,
    /// Records laid out and not settled, and those that are retained.
    pub(crate) in_hands: AtomicUsize,
    pub(crate) written: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) notices: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) dropped: DropCounters,
    /// Records that were born in the output's own code, which the output is not offered.
    pub(crate) own: AtomicU64,
}

/// The state of an output, and how long it has been suspended.
pub(crate) struct OutputState {
    state: AtomicU8,
    /// The most verbose level that the output can take now.
    pub(crate) takes: AtomicU8,
    suspensions: AtomicU64,
    /// Nanoseconds spent suspended in suspensions that are over.
    nanos: AtomicU64,
    /// Nanoseconds from `born` to the start of the suspension that is not over, plus one; 0: none.
    since: AtomicU64,
    /// The most nanoseconds that a reader was given.
    shown: AtomicU64,
    pub(crate) born: Instant,
}

impl OutputState {
    fn new(born: Instant) -> Self {
        Self {
            state: AtomicU8::new(State::Healthy.to_byte()),
            takes: AtomicU8::new(Level::Trace as u8),
            suspensions: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            since: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            born,
        }
    }

    pub(crate) fn get(&self) -> State {
        State::from_byte(self.byte())
    }

    /// Returns the state as a number: the worse, the greater.
    pub(crate) fn byte(&self) -> u8 {
        self.state.load(Relaxed)
    }

    pub(crate) fn set(&self, state: State) {
        self.state.store(state.to_byte(), Relaxed);
    }

    /// Counts a suspension that begins.
    pub(crate) fn suspended(&self, cause: Cause, now: Instant) {
        self.set(State::Suspended(cause));
        self.suspensions.fetch_add(1, Relaxed);
        self.since.store(self.age(now) + 1, Relaxed);
    }

    /// Counts the time of the suspension that is over, if there is one.
    pub(crate) fn resumed(&self, now: Instant) {
        let nanos = self.lasted(self.since.load(SeqCst), now);
        // In this order, a reader in between finds too little and not too much.
        self.since.store(0, SeqCst);
        self.nanos.fetch_add(nanos, SeqCst);
    }

    /// Returns the time of all suspensions. It never goes back: a reader may have read a later
    /// clock than the writer that has ended the suspension since.
    pub(crate) fn time_suspended(&self, now: Instant) -> Duration {
        let nanos = loop {
            let since = self.since.load(SeqCst);
            let nanos = self.nanos.load(SeqCst) + self.lasted(since, now);
            if self.since.load(SeqCst) == since {
                break nanos;
            }
        };
        Duration::from_nanos(self.shown.fetch_max(nanos, Relaxed).max(nanos))
    }

    /// Returns for how many nanoseconds the suspension has lasted that began at `since`; 0: none
    /// did.
    fn lasted(&self, since: u64, now: Instant) -> u64 {
        since.checked_sub(1).map_or(0, |since| self.age(now).saturating_sub(since))
    }

    fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_nanos() as u64
    }
}

/// What was offered to one output that has a filter.
#[derive(Default)]
struct OwnAccount {
    /// Callers: records that the output wants, counted before they are offered.
    accepted: LevelCounters,
    /// Callers: of these, dropped before or in the queue.
    dropped: DropCounters,
    /// Writer: of these, taken from the queue.
    taken: LevelCounters,
}

impl OutputCounters {
    pub(crate) fn new(name: Arc<str>, offered: Offered, born: Instant) -> Self {
        Self {
            name,
            account: offered.filtered.is_some().then(Box::default),
            offered,
            state: OutputState::new(born),
            in_hands: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            notices: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            dropped: DropCounters::default(),
            own: AtomicU64::new(0),
        }
    }

    /// Returns true if the output wants a record of this level that these outputs with filters
    /// want.
    #[inline]
    pub(crate) fn wants(&self, level: Level, wanting: Wanting) -> bool {
        self.offered.has(level, wanting)
    }

    /// Returns the account of an output that has a filter and is one of these.
    fn own_among(&self, wanting: Wanting) -> Option<&OwnAccount> {
        self.account.as_deref().filter(|_| self.offered.filtered.is_some_and(|place| place.meets(wanting)))
    }

    /// Returns why the output takes nothing, if that is its state.
    fn reason(&self) -> Option<DropReason> {
        match self.state.get() {
            State::Suspended(cause) => Some(cause.into()),
            _ => None,
        }
    }
}

impl Counters {
    pub(crate) fn new(outputs: Vec<OutputCounters>) -> Self {
        Self {
            callers: CallerCounters::default(),
            writer: WriterCounters::default(),
            outputs: outputs.into_iter().map(Arc::new).collect(),
        }
    }

    /// Returns the levels that outputs without a filter want, and the outputs that have one.
    pub(crate) fn wanted(&self) -> (Levels, Wanting) {
        let (mut levels, mut wanting) = (Levels::NONE, Wanting::NOBODY);
        for output in &self.outputs {
            match output.offered.filtered {
                Some(place) => wanting.insert(place),
                None => levels = levels.with(output.offered.levels),
            }
        }
        (levels, wanting)
    }

    /// Counts a record that is offered to the outputs of its level, and to these.
    #[inline]
    pub(crate) fn accept(&self, level: Level, wanting: Wanting) {
        self.callers.accepted.count(level);
        self.each_own(wanting, |own| own.accepted.count(level));
    }

    /// Counts a record that was accepted, and that the writer does not get.
    #[inline]
    pub(crate) fn drop_offered(&self, level: Level, wanting: Wanting, reason: DropReason) {
        self.callers.dropped.count(level, reason);
        self.each_own(wanting, |own| own.dropped.count(level, reason));
    }

    /// Counts a record that is handed to an output that stands in for another one.
    pub(crate) fn divert(&self, level: Level, output: usize) {
        if let Some(own) = &self.outputs[output].account {
            own.accepted.count_alone(level);
            own.taken.count_alone(level);
        }
    }

    /// Counts a record that the writer takes from the queue.
    pub(crate) fn take(&self, level: Level, wanting: Wanting) {
        self.writer.taken.count_alone(level);
        self.each_own(wanting, |own| own.taken.count_alone(level));
    }

    #[inline]
    fn each_own(&self, wanting: Wanting, count: impl Fn(&OwnAccount)) {
        if !wanting.is_nobody() {
            self.outputs.iter().filter_map(|output| output.own_among(wanting)).for_each(count);
        }
    }

    /// Returns why none of the outputs that want a record can take it now, if none can: the reason
    /// of the first of them.
    #[cold]
    pub(crate) fn closed_to(&self, level: Level, wanting: Wanting) -> Option<DropReason> {
        let mut first = None;
        for output in self.outputs.iter().filter(|output| output.wants(level, wanting)) {
            if level as u8 <= output.state.takes.load(Relaxed) {
                return None;
            }
            // What it takes changes before and after its state does.
            first = first.or(Some(output.reason().unwrap_or(DropReason::IoError)));
        }
        first
    }

    /// Returns all that `output` has dropped so far: what callers dropped of what it wants, and its
    /// own drops.
    pub(crate) fn drops_of(&self, output: &OutputCounters) -> Drops {
        let mut drops = self.dropped_by_callers(output);
        drops.add(&output.dropped.read(Levels::ALL));
        drops
    }

    /// Returns the records wanted by `output` that callers dropped.
    fn dropped_by_callers(&self, output: &OutputCounters) -> Drops {
        match &output.account {
            Some(own) => own.dropped.read(Levels::ALL),
            None => self.callers.dropped.read(output.offered.levels),
        }
    }

    /// Returns how many of the records that `output` wants the writer has taken.
    fn taken(&self, output: &OutputCounters) -> u64 {
        match &output.account {
            Some(own) => own.taken.total(),
            None => self.writer.taken.of(output.offered.levels),
        }
    }

    /// Returns how many of the records that `output` wants were accepted.
    fn accepted(&self, output: &OutputCounters) -> u64 {
        match &output.account {
            Some(own) => own.accepted.total(),
            None => self.callers.accepted.of(output.offered.levels),
        }
    }

    /// Returns the drops of records that were pending, and `evicted` of the queue.
    pub(crate) fn pending_drops(&self, evicted: u64) -> PendingDrops {
        PendingDrops {
            by_outputs: self.writer.output_drops.load(Relaxed),
            by_backlogs: self.writer.backlog_drops.load(Relaxed),
            evicted,
        }
    }

    /// Returns the account at this moment; `queued` is the number of records in the queue.
    pub(crate) fn snapshot(&self, queued: usize, closed: bool, now: Instant) -> Stats {
        // Settled first and accepted last: a snapshot under way never shows more settled than
        // accepted.
        let pending = queued as u64 + self.writer.in_hands.load(Relaxed) as u64;
        let outputs: Vec<_> = self.outputs.iter().map(|output| self.output_snapshot(output, closed, now)).collect();
        let mut drops = self.writer.dropped.read(Levels::ALL);
        drops.add(&self.callers.dropped.read(Levels::ALL));
        Stats {
            written: self.writer.written.load(Relaxed),
            dropped: Dropped::from(&drops),
            pending,
            written_bytes: outputs.iter().map(|output| output.bytes).sum(),
            truncated: self.writer.truncated.load(Relaxed),
            accepted: self.callers.accepted.total(),
            suppressed: self.callers.suppressed.load(Relaxed),
            outputs,
        }
    }

    fn output_snapshot(&self, output: &OutputCounters, closed: bool, now: Instant) -> OutputStats {
        let by_callers = self.dropped_by_callers(output).total();
        let taken = self.taken(output);
        let dropped = Dropped::from(&self.drops_of(output));
        let written = output.written.load(Relaxed);
        let in_hands = output.in_hands.load(Relaxed) as u64;
        let accepted = self.accepted(output);
        OutputStats {
            name: output.name.to_string(),
            state: if closed { State::Closed } else { output.state.get() },
            offered: accepted.saturating_sub(output.own.load(Relaxed)),
            written,
            bytes: output.bytes.load(Relaxed),
            dropped,
            // Still in the queue, by the flow through it, and what the writer holds.
            pending: accepted.saturating_sub(by_callers).saturating_sub(taken) + in_hands,
            notices: output.notices.load(Relaxed),
            failures: output.failures.load(Relaxed),
            suspensions: output.state.suspensions.load(Relaxed),
            time_suspended: output.state.time_suspended(now),
        }
    }
}

/// Holds the account of a logger, at one moment.
///
/// Whenever nothing is under way, `accepted == written + dropped.total() + pending`, and for each
/// output `offered == written + dropped.total() + pending`.
///
/// ```
/// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// let stats = handle.stats();
/// assert_eq!(stats.accepted, stats.written + stats.dropped.total() + stats.pending);
/// for output in &stats.outputs {
///     println!("{} is {}: {} written", output.name, output.state, output.written);
/// }
/// # Ok::<(), unfazed::InitError>(())
/// ```
///
/// With the feature `serde` it can be serialized: `time_suspended` in seconds, drops by level as a
/// map, a state as `"healthy"` or `{"suspended": "disk_full"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Records that passed the filter and that some output wanted.
    pub accepted: u64,
    /// Of these: whole in the operating system's hands in at least one output.
    pub written: u64,
    /// Of these: dropped by every output, under the reason of the first output that wanted them.
    pub dropped: Dropped,
    /// Of these: in the queue or in the writer's hands, or retained by a suspended file
    /// ([`LogFile::retain`](crate::LogFile::retain)) while no other output has them.
    pub pending: u64,
    /// Bytes written to all outputs together, the crate's own lines included.
    pub written_bytes: u64,
    /// Records written, but cut: to the longest message allowed (64 KiB), or to what there was
    /// memory for.
    pub truncated: u64,
    /// Records that `Builder::rate_limit` held back, or that an output's own code logged too often
    /// or where no other output wants them: not among the accepted ones.
    pub suppressed: u64,
    /// The account of each output, in the order in which the builder was given them.
    pub outputs: Vec<OutputStats>,
}

/// Counts dropped records, by reason.
///
/// ```
/// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// let dropped = handle.stats().dropped;
/// println!("{} at a full queue, {} on a full disk", dropped.queue_full, dropped.disk_full);
/// # Ok::<(), unfazed::InitError>(())
/// ```
///
/// With the feature `serde` it can be serialized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Dropped {
    /// The queue was full and the overflow policy said so.
    pub queue_full: u64,
    /// No room: `Cause::LowSpace`, `DiskFull`, `Quota`, `FileTooLarge`.
    pub disk_full: u64,
    /// Every other cause.
    pub io_error: u64,
    /// A user's format or sink panicked, or the format gave an error.
    pub panicked: u64,
    /// Logged after the end, or not written by the deadline of a shutdown.
    pub shutdown: u64,
    by_level: ByLevel,
}

/// A number for each level, the loudest first.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct ByLevel([u64; LEVELS]);

impl std::fmt::Debug for ByLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(Level::iter().map(|level| level.as_str()).zip(self.0)).finish()
    }
}

/// A map from `error`, `warn` ... to the number.
#[cfg(feature = "serde")]
impl serde::Serialize for ByLevel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = Level::iter().map(|level| level.as_str().to_ascii_lowercase());
        serializer.collect_map(names.zip(self.0))
    }
}

impl Dropped {
    /// Returns the sum of all reasons.
    ///
    /// ```
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// assert_eq!(handle.stats().dropped.total(), 0);
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn total(&self) -> u64 {
        self.by_level.0.iter().sum()
    }

    /// Returns the dropped records of one level, all reasons together.
    ///
    /// ```
    /// # let (logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
    /// assert_eq!(handle.stats().dropped.by_level(log::Level::Error), 0);
    /// # Ok::<(), unfazed::InitError>(())
    /// ```
    pub fn by_level(&self, level: Level) -> u64 {
        self.by_level.0[level as usize - 1]
    }

    /// Returns the dropped records of one reason, all levels together.
    pub(crate) fn by_reason(&self, reason: DropReason) -> u64 {
        match reason {
            DropReason::QueueFull => self.queue_full,
            DropReason::DiskFull => self.disk_full,
            DropReason::IoError => self.io_error,
            DropReason::Panicked => self.panicked,
            DropReason::Shutdown => self.shutdown,
        }
    }
}

impl From<&Drops> for Dropped {
    fn from(drops: &Drops) -> Self {
        let mut by_level = [0; LEVELS];
        for level in Level::iter() {
            by_level[level as usize - 1] = drops.by_level(level);
        }
        Self {
            queue_full: drops.by_reason(DropReason::QueueFull),
            disk_full: drops.by_reason(DropReason::DiskFull),
            io_error: drops.by_reason(DropReason::IoError),
            panicked: drops.by_reason(DropReason::Panicked),
            shutdown: drops.by_reason(DropReason::Shutdown),
            by_level: ByLevel(by_level),
        }
    }
}

/// Holds the account of one output, at one moment.
///
/// ```
/// let (_logger, handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// let output = &handle.stats().outputs[0];
/// assert_eq!(output.name, "/dev/null");
/// assert_eq!(output.offered, output.written + output.dropped.total() + output.pending);
/// # Ok::<(), unfazed::InitError>(())
/// ```
///
/// With the feature `serde` it can be serialized.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OutputStats {
    /// The path of a file, `stderr`, `stdout`, `syslog`, `journald`, or the name a sink was given.
    /// No two outputs have one name: the second daemon is `syslog 2`.
    pub name: String,
    /// How it is doing.
    pub state: State,
    /// Records of the levels it wants, except those that its own code logged.
    pub offered: u64,
    /// Of these: whole in the operating system's hands, or taken by the sink.
    pub written: u64,
    /// Bytes written, the crate's own lines included.
    pub bytes: u64,
    /// Of the records offered: dropped by this output. What was dropped before the queue stands
    /// under the reason of the first output that wanted it.
    pub dropped: Dropped,
    /// Of the records offered: in the queue, in the writer's hands, or retained while it is
    /// suspended.
    pub pending: u64,
    /// Lines of the crate's own in this output.
    pub notices: u64,
    /// What failed without suspending it, as a sync.
    pub failures: u64,
    /// How often it was suspended.
    pub suspensions: u64,
    /// How long it was suspended, all suspensions together, one that is not over included.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
    pub time_suspended: Duration,
}

/// Serializes those parts of the account that have no obvious form.
#[cfg(feature = "serde")]
mod serialized {
    use std::time::Duration;

    use serde::Serializer;

    /// Seconds as a floating-point number.
    pub(super) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter of Prometheus that goes back is taken for one that began again.
    #[test]
    fn the_time_suspended_never_goes_back() {
        let born = Instant::now();
        let (state, at) = (OutputState::new(born), |millis| born + Duration::from_millis(millis));
        state.suspended(Cause::LowSpace, at(10));
        let mut shown = vec![state.time_suspended(at(5)), state.time_suspended(at(30))];
        // The turn that ends it began before the reader looked.
        state.resumed(at(28));
        shown.extend([state.time_suspended(at(31)), state.time_suspended(at(40))]);
        state.suspended(Cause::LowSpace, at(50));
        shown.extend([state.time_suspended(at(51)), state.time_suspended(at(60))]);
        state.resumed(at(60));
        shown.push(state.time_suspended(at(70)));
        assert_eq!(shown, [0, 20, 20, 20, 20, 28, 28].map(Duration::from_millis));
    }
}
