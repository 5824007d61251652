//! `Overflow`, and the slots of the queue: the bounded channel and the bound of what its records
//! hold on the heap. Callers put records in, the writer takes them out.

use std::mem::ManuallyDrop;
use std::time::Duration;

use log::Level;

use crate::record::{OwnedRecord, POOLED};
use crate::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use crate::sync::channel::{Receiver, SendTimeoutError, Sender, bounded};

use super::draft::Draft;

/// Decides what happens to a record that finds the queue full.
///
/// Every loss is counted in `Stats::dropped.queue_full` and reported in the log as one merged line,
/// at most every 5 s.
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
    /// and of what long messages may hold on the heap (8 MiB) is reserved for WARN and ERROR, so
    /// that a flood of lower levels cannot push them out: of the default capacity of 8192, a burst
    /// of INFO gets 7168.
    #[default]
    DropNewest,
    /// The oldest record in the queue is dropped, whatever its level. At most 32 are dropped for
    /// one new record: a long message for which they leave no room on the heap is dropped itself.
    DropOldest,
    /// The call waits until there is a slot: no record is dropped by the queue, and a hung disk
    /// hangs the program. So does the slowest reader of a pipe or terminal, until its
    /// [`patience`](crate::Console::patience) ends. A call on the writer's own thread does not
    /// wait, nor does one after the shutdown, or one in the code of another logger's output: two
    /// loggers whose outputs log to each other would wait for each other for ever.
    Block,
    /// Like `Block`, but waits at most this long; then the new record is dropped. Zero does not
    /// wait.
    BlockAtMost(Duration),
}

/// The records of one queue together hold at most this much outside their slots: 8 MiB.
const MOST_SPILLED: usize = 8 << 20;
/// How often `DropOldest` makes room for a new record before it drops that record, when many
/// callers compete for the slots.
const MOST_EVICTIONS: usize = 32;

/// A record on its way through the channel. It does not free what it holds on the heap: the slots
/// do. A type with nothing to drop goes through the channel with one copy less.
pub(crate) type Queued = ManuallyDrop<OwnedRecord>;

/// The slots of the queue.
pub(super) struct Slots {
    channel: (Sender<Queued>, Receiver<Queued>),
    pub(super) overflow: Overflow,
    capacity: usize,
    /// Slots that `DropNewest` reserves for WARN and ERROR.
    reserved: usize,
    last_look: LastLook,
    /// Bytes that the queued records hold on the heap in buffers longer than those of the pool.
    /// Callers add, whoever takes a record out subtracts.
    spilled: AtomicUsize,
    pooled: PooledCounts,
    evictions: Evictions,
}

/// The most callers that may have counted their record and not sent it yet, each on its way to a
/// slot that a look saw as free.
const UNDER_WAY: usize = 64;

/// The result of the last look at the queue under `DropNewest`: the number of the record that the
/// look was for, and how many records after it find an unreserved slot, even if the writer takes
/// none out. A caller whose record was counted before that one has to look itself, because its slot
/// may be promised to a later record. Both numbers are in one word, of 40 bits and of 24, so that
/// nobody reads them from two different looks.
#[derive(Default)]
struct LastLook(AtomicU64);

impl LastLook {
    const FREE_BITS: u32 = 24;
    const FREE: u64 = (1 << Self::FREE_BITS) - 1;

    /// Returns true if the record that was the `accepted`th one finds an unreserved slot.
    #[inline(always)]
    fn lets_in(&self, accepted: u64) -> bool {
        // Relaxed: no other memory is read because of this word.
        let look = self.0.load(Relaxed);
        let after = accepted.wrapping_sub(1).wrapping_sub(look >> Self::FREE_BITS) & (u64::MAX >> Self::FREE_BITS);
        after < look & Self::FREE
    }

    fn set(&self, accepted: u64, free: usize) {
        // While slots are short each caller looks. The first one takes back what an earlier look
        // has promised; further writes would take the line from the others.
        if free > 0 || self.0.load(Relaxed) & Self::FREE > 0 {
            self.0.store(accepted << Self::FREE_BITS | (free as u64).min(Self::FREE), Relaxed);
        }
    }
}

/// Counts the records with a buffer of the pool's size: those that were let in, and those that are
/// out again or found no slot. Callers count the former, mostly the writer the latter. Each count
/// has a cache line of its own, because both change for each message of some hundred bytes.
#[derive(Default)]
struct PooledCounts {
    begun: OwnLine,
    over: OwnLine,
}

#[derive(Default)]
#[repr(align(64))]
struct OwnLine(AtomicUsize);

impl PooledCounts {
    /// Returns the bytes of the records that are in. A record that moves at this moment may count
    /// as in.
    fn bytes(&self) -> usize {
        // `over` is read first, so that it never exceeds `begun`.
        let over = self.over.0.load(SeqCst);
        bytes_of(self.begun.0.load(SeqCst), over)
    }

    /// Counts one more, and returns the bytes of all.
    fn add(&self) -> usize {
        let over = self.over.0.load(SeqCst);
        bytes_of(self.begun.0.fetch_add(1, SeqCst).wrapping_add(1), over)
    }

    fn forget(&self) {
        self.over.0.fetch_add(1, SeqCst);
    }
}

/// Returns the bytes of the records that have begun and are not over. The counts wrap.
fn bytes_of(begun: usize, over: usize) -> usize {
    begun.wrapping_sub(over).saturating_mul(POOLED)
}

/// How many records were taken out of the full queue for newer ones. Counted before one is taken
/// out and once more afterwards, so that whoever asks in between can see that one may be missing.
struct Evictions {
    begun: AtomicU64,
    done: AtomicU64,
}

/// Why a record that waited for a slot is not in.
pub(super) enum NotIn {
    /// No slot became free in time.
    NoSlot(OwnedRecord),
    /// There are slots, but the bound of the heap is reached. The writer makes room without waking
    /// anybody.
    NoHeap(OwnedRecord),
}

impl Slots {
    pub(super) fn new(capacity: usize, overflow: Overflow) -> Self {
        Self {
            channel: bounded(capacity + slack(overflow)),
            overflow,
            capacity,
            reserved: (capacity / 8).max(64).min(capacity / 2),
            last_look: LastLook::default(),
            spilled: AtomicUsize::new(0),
            pooled: PooledCounts::default(),
            evictions: Evictions { begun: AtomicU64::new(0), done: AtomicU64::new(0) },
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.channel.1.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channel.1.is_empty()
    }

    /// Returns true if a caller waits for a slot instead of dropping a record.
    pub(super) fn callers_wait(&self) -> bool {
        matches!(self.overflow, Overflow::Block | Overflow::BlockAtMost(_))
    }

    /// Returns how many records fill half of the queue.
    pub(super) fn half(&self) -> usize {
        self.capacity / 2
    }

    /// Returns true if half of the slots are taken, or half of the bytes that records may hold on
    /// the heap.
    pub(super) fn is_half_full(&self) -> bool {
        // Of several callers that add together, the last one sees the sum.
        self.len() >= self.half() || self.held() >= MOST_SPILLED / 2
    }

    /// Returns how many bytes the records hold on the heap. A record that moves at this moment may
    /// count as in.
    fn held(&self) -> usize {
        self.spilled.load(SeqCst) + self.pooled.bytes()
    }

    /// Returns true if there is a slot that is reserved for no higher level.
    #[inline(always)]
    pub(super) fn has_slot(&self, level: Level) -> bool {
        self.len() < self.slots_for(level)
    }

    /// Returns how many slots there are for a record of this level.
    #[inline(always)]
    fn slots_for(&self, level: Level) -> usize {
        let is_reserved = matches!(self.overflow, Overflow::DropNewest) && level > Level::Warn;
        self.capacity - if is_reserved { self.reserved } else { 0 }
    }

    /// Returns true if a record of this level may be sent. `accepted` is its number. Under
    /// `DropNewest`, looks at the queue only if slots may be short, because a look takes a cache
    /// line from the writer.
    #[inline(always)]
    pub(super) fn has_slot_for(&self, level: Level, accepted: impl FnOnce() -> u64) -> bool {
        match self.overflow {
            Overflow::DropNewest => {
                let accepted = accepted();
                self.last_look.lets_in(accepted) || self.look_for_slot(level, accepted)
            }
            Overflow::DropOldest => self.has_slot(level),
            // The channel itself has no more slots than the queue.
            Overflow::Block | Overflow::BlockAtMost(_) => true,
        }
    }

    #[inline(never)]
    fn look_for_slot(&self, level: Level, accepted: u64) -> bool {
        let (len, unreserved) = (self.len(), self.capacity - self.reserved);
        self.last_look.set(accepted, unreserved.saturating_sub(len + 1 + UNDER_WAY));
        len < self.slots_for(level)
    }

    /// Puts a record in, if the channel and the heap have room for it. `spilled` is the number of
    /// bytes that it holds on the heap. The caller passes it, because reading it here would make
    /// the compiler copy the record once more.
    #[allow(clippy::result_large_err)] // the record itself comes back
    pub(super) fn put(&self, level: Level, spilled: usize, record: OwnedRecord) -> Result<(), OwnedRecord> {
        if !self.spill_fits(level, spilled) {
            return Err(record);
        }
        self.try_send(spilled, Queued::new(record)).map_err(Queued::into_inner)
    }

    /// Puts a record in whose `spilled` bytes are counted, if the channel has room for it. Returns
    /// true if it is in; otherwise it is still in the draft.
    #[inline(always)]
    pub(super) fn send(&self, spilled: usize, draft: &mut Draft) -> bool {
        // Taken where it is used: the compiler copies a record that comes from several places.
        let Some(record) = draft.take() else { return false };
        let sent = self.try_send(spilled, record);
        sent.map_err(|back| draft.put_back(back)).is_ok()
    }

    #[allow(clippy::result_large_err)] // the record itself comes back
    #[inline(always)]
    fn try_send(&self, spilled: usize, record: Queued) -> Result<(), Queued> {
        self.channel.0.try_send(record).map_err(|error| {
            self.forget(spilled);
            error.into_inner()
        })
    }

    /// Counts what a record holds on the heap, if that still fits into the bound.
    #[inline]
    pub(super) fn spill_fits(&self, level: Level, spilled: usize) -> bool {
        if spilled == 0 {
            return true;
        }
        let most = match self.overflow {
            Overflow::DropNewest if level > Level::Warn => MOST_SPILLED - MOST_SPILLED / 8,
            _ => MOST_SPILLED,
        };
        // SeqCst: of two callers, each of which counts in one place, one sees both.
        let held = match spilled {
            ..=POOLED => self.pooled.add() + self.spilled.load(SeqCst),
            longer => self.spilled.fetch_add(longer, SeqCst) + longer + self.pooled.bytes(),
        };
        // A caller that was interrupted between the two counts may have seen too large a sum.
        let fits = held <= most || self.held() <= most;
        if !fits {
            self.forget(spilled);
        }
        fits
    }

    /// Subtracts the bytes of a record that has left the queue, or did not get in.
    #[inline]
    fn forget(&self, spilled: usize) {
        match spilled {
            0 => {}
            1..=POOLED => self.pooled.forget(),
            longer => drop(self.spilled.fetch_sub(longer, Relaxed)),
        }
    }

    /// Puts a record in, and takes out the oldest ones while there is no room. Calls `evicted` with
    /// each of these.
    pub(super) fn put_evicting(
        &self,
        level: Level,
        spilled: usize,
        mut record: OwnedRecord,
        evicted: impl Fn(&OwnedRecord),
    ) -> bool {
        for _ in 0..MOST_EVICTIONS {
            if self.has_slot(level) {
                match self.put(level, spilled, record) {
                    Ok(()) => return true,
                    Err(back) => record = back,
                }
            }
            self.evict(&evicted);
        }
        self.put(level, spilled, record).is_ok()
    }

    fn evict(&self, evicted: impl Fn(&OwnedRecord)) {
        // Relaxed: whoever sees by the channel that the record is out sees this, too.
        self.evictions.begun.fetch_add(1, Relaxed);
        let mut any = false;
        self.take_while(|oldest| {
            evicted(oldest);
            any = true;
            false
        });
        match any {
            true => self.evictions.done.fetch_add(1, Relaxed),
            false => self.evictions.begun.fetch_sub(1, Relaxed),
        };
    }

    /// Returns how many evictions are done.
    pub(super) fn evictions_done(&self) -> u64 {
        self.evictions.done.load(Relaxed)
    }

    /// Returns how many evictions are done or under way.
    pub(super) fn evictions_begun(&self) -> u64 {
        self.evictions.begun.load(Relaxed)
    }

    /// Waits for a slot, for at most this long.
    #[allow(clippy::result_large_err)] // the record itself comes back
    pub(super) fn put_within(
        &self,
        at_most: Duration,
        level: Level,
        spilled: usize,
        record: OwnedRecord,
    ) -> Result<(), NotIn> {
        if !self.spill_fits(level, spilled) {
            return Err(NotIn::NoHeap(record));
        }
        self.channel.0.send_timeout(Queued::new(record), at_most).map_err(|error| {
            self.forget(spilled);
            let (SendTimeoutError::Timeout(back) | SendTimeoutError::Disconnected(back)) = error;
            NotIn::NoSlot(Queued::into_inner(back))
        })
    }

    /// Takes out one record after the other, until the queue is empty or `more` returns false.
    /// Passes each by reference, because moving records would add half to the writer's work.
    pub(super) fn take_while(&self, mut more: impl FnMut(&OwnedRecord) -> bool) {
        while let Ok(record) = &mut self.channel.1.try_recv() {
            self.forget(record.spilled());
            let goes_on = more(record);
            record.free();
            if !goes_on {
                return;
            }
        }
    }

    /// Returns what the queued records hold outside their slots, and the most that they may.
    #[cfg(test)]
    pub(super) fn spilled(&self) -> (usize, usize) {
        (self.spilled.load(Relaxed) + self.pooled.bytes(), MOST_SPILLED)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.take_while(|_| true);
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
    /// What a slot holds next to the record: its stamp.
    const STAMP: usize = size_of::<usize>();

    capacity.saturating_add(slack(overflow)).saturating_mul(size_of::<OwnedRecord>() + STAMP)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::SystemTime;

    use crate::clock::Stamp;
    use crate::record::Caller;

    use super::*;

    fn record(message: std::fmt::Arguments<'_>) -> OwnedRecord {
        let (caller, stamp) = (Caller { thread: 1, name: None }, Stamp::at(SystemTime::UNIX_EPOCH));
        OwnedRecord::capture(&log::Record::builder().args(message).build(), stamp, caller)
    }

    /// A burst of long messages reached the bound of the heap while the writer napped: it was not
    /// woken, because few slots were taken.
    #[test]
    fn long_messages_make_a_queue_half_full_as_many_records_do() {
        let slots = Slots::new(8192, Overflow::DropNewest);
        let put = |spilled| slots.put(Level::Info, spilled, record(format_args!(""))).is_ok();
        assert!(put(MOST_SPILLED / 2 - 2 * POOLED) && !slots.is_half_full());
        assert!(put(2 * POOLED) && slots.is_half_full());
        slots.take_while(|_| true);
        assert!((1..4096).all(|_| put(0)));
    }

    #[test]
    fn records_of_any_length_together_keep_to_the_bound_of_the_heap_and_come_near_it() {
        for capacity in [8192, 65_536] {
            for lengths in [[300, 60_000], [60_000, 300], [300, 700], [700, 300]] {
                let slots = Slots::new(capacity, Overflow::DropOldest);
                let mut held = 0;
                for length in lengths {
                    let put = || {
                        let record = record(format_args!("{:1$}", "", length));
                        let spilled = record.spilled();
                        let is_in = slots.has_slot(Level::Error) && slots.put(Level::Error, spilled, record).is_ok();
                        is_in.then_some(spilled)
                    };
                    // Half of the slots, if there is room for so many, and then the rest.
                    held += (0..capacity / 2).map_while(|_| put()).sum::<usize>();
                }
                assert!(held <= MOST_SPILLED, "{held} bytes by {lengths:?} in {capacity} slots");
                let is_full = slots.len() == capacity;
                assert!(is_full || held > MOST_SPILLED / 4 * 3, "{held} bytes by {lengths:?} in {capacity} slots");
                slots.take_while(|_| true);
                assert_eq!((slots.len(), slots.spilled().0), (0, 0), "nothing is counted any more");
            }
        }
    }

    /// Each record that waited was taken to hold a buffer, also those that came in without a look:
    /// after some long INFO, a flood of short ones left no room for an ERROR of 300 bytes.
    #[test]
    fn short_records_take_nothing_of_what_is_reserved_for_errors() {
        let slots = Slots::new(8192, Overflow::DropNewest);
        let put = |level, length| {
            let record = record(format_args!("{:1$}", "", length));
            let spilled = record.spilled();
            slots.has_slot(level) && slots.spill_fits(level, spilled) && slots.send(spilled, &mut Draft::new(record))
        };
        assert!((0..200).filter(|_| put(Level::Info, 60_000)).count() < 200, "they reach their bound");
        while put(Level::Info, 20) {}
        assert!((0..1024).all(|_| put(Level::Error, 300)), "{} in {} slots", slots.spilled().0, slots.len());
        assert!(slots.spilled().0 <= MOST_SPILLED);
    }

    #[test]
    fn who_does_not_look_at_the_queue_finds_the_same_slots_as_who_does() {
        for (capacity, seed) in
            [1, 2, 3, 64, 100, 1000].into_iter().flat_map(|capacity| (0..20).map(move |seed| (capacity, seed)))
        {
            let (slots, mut random) = (Slots::new(capacity, Overflow::DropNewest), fastrand::Rng::with_seed(seed));
            let levels = [Level::Error, Level::Warn, Level::Info, Level::Trace];
            let (mut accepted, mut found) = (0, 0);
            for _ in 0..4000 {
                let level = levels[random.usize(..levels.len())];
                accepted += 1;
                let has_slot = slots.has_slot_for(level, || accepted);
                assert_eq!(has_slot, slots.has_slot(level), "{level}, {} in {capacity} slots", slots.len());
                if has_slot {
                    found += 1;
                    assert!(slots.put(level, 0, record(format_args!(""))).is_ok());
                }
                // All, a few, or mostly none.
                let mut taken = [capacity, random.usize(..4), 0, 0, 0, 0, 0, 0][random.usize(..8)];
                if taken > 0 {
                    slots.take_while(|_| {
                        taken -= 1;
                        taken > 0
                    });
                }
            }
            assert!(found > 100, "{found} in {capacity} slots");
        }
    }

    /// They were let in by what a look had promised to later callers, or by what a look had
    /// promised before others took the slots: a flood by 64 threads then took slots that are
    /// reserved for errors.
    #[test]
    fn callers_that_stand_still_before_their_look_take_no_reserved_slot() {
        for (capacity, step) in [(128, 1), (1024, 7), (8192, 500)] {
            for first in (1..capacity as u64).step_by(step) {
                for count in [1, 2, 10, UNDER_WAY as u64] {
                    let slots = Slots::new(capacity, Overflow::DropNewest);
                    let mut offer = |accepted| {
                        if slots.has_slot_for(Level::Info, || accepted) {
                            assert!(slots.put(Level::Info, 0, record(format_args!(""))).is_ok());
                        }
                    };
                    // They are counted, and stand still until the others have come.
                    let (stopped, others) = (first..first + count, capacity as u64 * 2);
                    (1..others).filter(|number| !stopped.contains(number)).for_each(&mut offer);
                    stopped.for_each(&mut offer);
                    (others..others + 10).for_each(&mut offer);
                    assert_eq!(slots.len(), capacity - slots.reserved, "{count} from the {first}th on");
                }
            }
        }
    }

    #[test]
    fn as_many_callers_as_may_be_under_way_to_their_slot_take_no_reserved_one() {
        for capacity in [1024, 8192] {
            let slots = Slots::new(capacity, Overflow::DropNewest);
            let send = || assert!(slots.put(Level::Info, 0, record(format_args!(""))).is_ok());
            let mut next = 1;
            // Returns how many records a look lets in, itself included.
            let mut look = || {
                assert!(slots.has_slot_for(Level::Info, || next));
                let first = next;
                next += 1;
                while slots.last_look.lets_in(next) {
                    next += 1;
                }
                (next - first) as usize
            };
            // Of those of the first look some are still under way when others look again.
            (UNDER_WAY..look()).for_each(|_| send());
            (0..look()).for_each(|_| send());
            (0..UNDER_WAY).for_each(|_| send());
            assert_eq!(slots.len(), capacity - slots.reserved);
        }
    }

    /// Twelve hours of a flood over a writer that hung brought the numbers round.
    #[test]
    fn what_a_look_has_promised_ends_with_the_slots() {
        let slots = Slots::new(8192, Overflow::DropNewest);
        let offer = |accepted| {
            if slots.has_slot_for(Level::Info, || accepted) {
                assert!(slots.put(Level::Info, 0, record(format_args!(""))).is_ok());
            }
        };
        let round = 1 << (u64::BITS - LastLook::FREE_BITS);
        (1..20_000).chain(round..round + 20_000).for_each(offer);
        assert_eq!(slots.len(), 8192 - slots.reserved);
    }

    #[test]
    fn a_look_lets_in_as_many_records_after_it_as_it_says_whatever_their_numbers() {
        for (at, free) in [(0, 3), (1, 1), (5000, 7104), (1 << 40, 10), ((1 << 40) - 3, 10), (u64::MAX - 5, 1 << 20)] {
            let look = LastLook::default();
            assert!(!look.lets_in(at) && !look.lets_in(at.wrapping_add(1)), "there was none");
            look.set(at, free);
            let lets_in = |after: u64| look.lets_in(at.wrapping_add(after));
            assert!(lets_in(1) && lets_in(free as u64), "{free} after {at}");
            assert!(!lets_in(0) && !lets_in(free as u64 + 1), "{free} after {at}");
            assert!(!look.lets_in(at.wrapping_sub(1)) && !look.lets_in(at.wrapping_sub(1 << 20)));
            // More than the word can say.
            look.set(at, LastLook::FREE as usize + 7);
            assert!(lets_in(LastLook::FREE) && !lets_in(LastLook::FREE + 1) && !lets_in(0));
        }
    }

    /// With a channel that was full, a caller spun for a second on the slot that the writer had
    /// claimed and not released.
    #[test]
    fn a_full_queue_leaves_slots_of_its_channel_that_no_caller_comes_near() {
        for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
            let slots = Slots::new(16, overflow);
            for number in 0..100 {
                let record = record(format_args!("{number}"));
                match overflow {
                    Overflow::DropOldest => assert!(slots.put_evicting(Level::Error, 0, record, |_| {})),
                    _ if slots.has_slot(Level::Error) => assert!(slots.put(Level::Error, 0, record).is_ok()),
                    _ => {}
                }
                assert!(slots.len() <= 16, "{overflow:?}: {}", slots.len());
            }
            let most = slots.channel.0.capacity().unwrap_or(usize::MAX);
            assert_eq!((slots.len(), most - slots.len()), (16, 128), "{overflow:?}");
        }
    }
}
