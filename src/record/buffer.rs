//! The bytes of a record that do not fit into its slot: a buffer on the heap, from a pool, to which
//! it goes back when the record is dropped. Any thread; nobody waits here.

use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The capacity of a buffer of the pool, in bytes. Longer bodies have a buffer of their own, which
/// goes back to the heap.
pub(super) const POOLED: usize = 512;
/// The most buffers that the pool has: 256 KiB. It never has more than were in use at once.
const MOST: usize = 512;

/// A thread passes over at most so many places that others have claimed and not used yet.
const TRIES: usize = 8;

/// One for the whole process. A forked child goes on with its copy, whatever another thread was
/// about to do when it forked.
static POOL: Pool = Pool::new();

/// Bytes on the heap.
pub(super) struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// Returns an empty buffer with room for `len` bytes, or nothing if there is no memory.
    pub(super) fn with_room(len: usize) -> Option<Self> {
        if !has_memory() {
            return None;
        }
        let pooled = if len <= POOLED { POOL.take() } else { None };
        let mut bytes = pooled.unwrap_or_default();
        bytes.try_reserve_exact(len.max(POOLED)).ok()?;
        Some(Self { bytes })
    }

    /// Bytes that were elsewhere.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        mem::take(&mut self.bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds all of it; or nothing, and says no: there is no memory.
    #[inline]
    #[must_use]
    pub(super) fn push(&mut self, more: &[u8]) -> bool {
        let fits = more.len() <= self.bytes.capacity() - self.bytes.len() || self.grow(more.len());
        if fits {
            self.bytes.extend_from_slice(more);
        }
        fits
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Makes room for `more` bytes. Returns false if there is no memory.
    #[cold]
    fn grow(&mut self, more: usize) -> bool {
        if self.bytes.capacity() != POOLED {
            return has_memory() && self.bytes.try_reserve(more).is_ok();
        }
        // A buffer of the pool goes back as it is.
        let larger = (self.bytes.len() + more).max(2 * self.bytes.capacity());
        let Some(mut larger) = Self::with_room(larger) else { return false };
        larger.bytes.extend_from_slice(&self.bytes);
        *self = larger;
        true
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if self.bytes.capacity() == POOLED {
            POOL.give(mem::take(&mut self.bytes));
        }
    }
}

fn has_memory() -> bool {
    #[cfg(test)]
    return !super::tests::NO_MEMORY.get();
    #[cfg(not(test))]
    true
}

/// A ring of buffers. A thread claims a place by its number, and then locks it for the moment in
/// which the buffer moves. It never waits for the lock: whoever finds a place locked, or not as it
/// should be, claims the next one, and after some of them goes to the heap instead. So a thread
/// that is gone, or does not run between the two, costs the others at most that.
struct Pool {
    taken: Count,
    given: Count,
    places: [Mutex<Vec<u8>>; MOST],
}

/// Callers change the one, the writer the other: each has a cache line of its own.
#[repr(align(64))]
struct Count(AtomicUsize);

impl Pool {
    const fn new() -> Self {
        Self {
            taken: Count(AtomicUsize::new(0)),
            given: Count(AtomicUsize::new(0)),
            places: [const { Mutex::new(Vec::new()) }; MOST],
        }
    }

    /// Returns an empty buffer, if there is one.
    #[inline(never)]
    fn take(&self) -> Option<Vec<u8>> {
        let is_there = |taken| ready(taken, self.given.get()) > 0;
        for _ in 0..TRIES {
            let number = self.taken.add_one_if(is_there)?;
            let place = self.places[number % MOST].try_lock();
            let buffer = place.map_or_else(|_| Vec::new(), |mut place| mem::take(&mut *place));
            if buffer.capacity() > 0 {
                return Some(buffer);
            }
        }
        None
    }

    /// Takes a buffer back, if there is a place for it.
    #[inline(never)]
    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let has_place = |given| ready(self.taken.get(), given) < MOST as isize;
        for _ in 0..TRIES {
            let Some(number) = self.given.add_one_if(has_place) else { return };
            match self.places[number % MOST].try_lock() {
                Ok(mut place) if place.capacity() == 0 => return *place = buffer,
                _ => {}
            }
        }
    }
}

/// Returns how many buffers the pool has by these counts. If the thread was interrupted after it
/// had read one of them, that may be more or less than is possible. It does not give up then: the
/// count that it had read has changed, and is read again. An old value of the other one costs at
/// most a buffer from the heap.
fn ready(taken: usize, given: usize) -> isize {
    given.wrapping_sub(taken) as isize
}

impl Count {
    // Relaxed: an old count does no harm, and the buffer itself is handed over by the lock.
    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Adds one, if this may be; returns what it was.
    fn add_one_if(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        self.0.fetch_update(Relaxed, Relaxed, |count| may(count).then(|| count.wrapping_add(1))).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn buffer() -> Vec<u8> {
        Vec::with_capacity(POOLED)
    }

    #[test]
    fn what_was_given_back_is_taken_again_and_there_are_never_more_than_the_most() {
        let pool = Pool::new();
        for _ in 0..3 {
            assert_eq!(pool.take(), None);
            for number in 0..MOST + 7 {
                let mut buffer = buffer();
                buffer.push(number as u8);
                pool.give(buffer);
            }
            for _ in 0..MOST {
                assert_eq!(pool.take().map(|buffer| (buffer.len(), buffer.capacity())), Some((0, POOLED)));
            }
        }
    }

    #[test]
    fn a_thread_that_did_not_run_between_its_looks_at_the_counts_is_not_sent_to_the_heap() {
        let pool = Pool::new();
        pool.give(buffer());
        pool.given.0.store(MOST + 100, Relaxed);
        assert!(pool.take().is_some());
        let pool = Pool::new();
        pool.taken.0.store(100, Relaxed);
        pool.give(buffer());
        pool.given.0.store(101, Relaxed);
        pool.taken.0.store(0, Relaxed);
        assert!(pool.take().is_some());
    }

    /// In a forked child, such a thread is not there any more.
    #[test]
    fn a_thread_that_stops_in_the_middle_costs_the_others_its_place_and_nothing_else() {
        let pool = Pool::new();
        let claimed = |count: &Count| count.add_one_if(|_| true);
        pool.give(buffer());
        // One that takes, one that gives, both before they lock; and one that holds the lock.
        assert_eq!((claimed(&pool.taken), claimed(&pool.given)), (Some(0), Some(1)));
        assert_eq!(pool.take(), None, "it will be there soon");
        let held = pool.places[2].lock();
        pool.give(buffer());
        assert!(pool.take().is_some(), "it is in the next place");
        for round in 0..2 {
            for _ in 0..MOST {
                pool.give(buffer());
            }
            let taken = (0..MOST).filter_map(|_| pool.take()).count();
            assert_eq!(taken, MOST - 1, "round {round}: all but the place that is locked");
        }
        drop(held);
        (0..MOST).for_each(|_| pool.give(buffer()));
        assert_eq!((0..MOST).filter_map(|_| pool.take()).count(), MOST);
    }

    #[test]
    fn a_thread_that_is_late_by_a_round_costs_the_others_no_buffer() {
        let pool = Pool::new();
        (0..MOST - 100).for_each(|_| pool.give(buffer()));
        let claim = |count: &Count| count.add_one_if(|_| true).unwrap() % MOST;
        let go_round = || (0..MOST).for_each(|_| pool.give(pool.take().expect("there are hundreds")));
        for _ in 0..3 {
            let (to_take, to_give) = (claim(&pool.taken), claim(&pool.given));
            (0..200).for_each(|_| pool.give(pool.take().expect("there are hundreds")));
            let late = mem::take(&mut *pool.places[to_take].lock().unwrap());
            assert_eq!(late.capacity(), POOLED);
            go_round();
            *pool.places[to_give].lock().unwrap() = late;
            go_round();
        }
    }

    #[test]
    fn threads_that_take_and_give_at_once_leave_a_pool_that_works() {
        let pool = Pool::new();
        let rounds = if cfg!(miri) { 20 } else { 5000 };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        let held: Vec<_> = (0..3).map(|_| pool.take().unwrap_or_else(buffer)).collect();
                        held.into_iter().for_each(|buffer| pool.give(buffer));
                    }
                });
            }
        });
        let left = pool.given.get().wrapping_sub(pool.taken.get());
        assert!(left <= 4 * 3, "{left}: no more than were in use at once");
        while pool.take().is_some() {}
        pool.give(buffer());
        assert!(pool.take().is_some());
    }

    #[test]
    fn a_buffer_that_grows_beyond_those_of_the_pool_brings_all_its_bytes() {
        let mut buffer = Buffer::with_room(300).unwrap();
        assert_eq!(buffer.capacity(), POOLED);
        for number in 0..2000 {
            assert!(buffer.push(&[number as u8]));
        }
        assert!(buffer.bytes().iter().enumerate().all(|(number, &byte)| byte == number as u8));
        assert_eq!(buffer.bytes().len(), 2000);
    }
}
