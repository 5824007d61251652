//! The bytes of a record that do not fit into its slot: a buffer on the heap, from a pool, to which
//! it goes back when the record is dropped. Any thread; nobody waits here.

use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// The capacity of a buffer of the pool, in bytes. Longer bodies have a buffer of their own, which
/// goes back to the heap.
pub(crate) const POOLED: usize = 512;
/// The most buffers that the pool has: 256 KiB.
const MOST: usize = 512;
// The numbers of the places wrap, which keeps their order for a power of two alone.
const _: () = assert!(MOST.is_power_of_two());

/// A thread that gives a buffer back passes over at most this many places that are not free.
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

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds all of the bytes. Returns false, and adds none, if there is no memory.
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

/// A ring of buffers. A thread locks a place for the moment in which the buffer moves. It never
/// waits for the lock: a thread that finds a place locked, or not as expected, goes on to the next
/// one. So a thread that ends, or is not scheduled, while it holds a lock costs the others only
/// that place.
///
/// No place is claimed before it is locked. The two counts only say where to look, and each is
/// written after the buffer has moved. A thread that writes an old count costs the others a longer
/// search, or a buffer from the heap.
struct Pool {
    /// The place of the next buffer to take.
    taken: Count,
    /// The first place after those with a buffer.
    given: Count,
    places: [Mutex<Vec<u8>>; MOST],
}

/// Callers change one count, the writer the other, so each has a cache line of its own.
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

    /// Returns an empty buffer, if it finds one.
    #[inline(never)]
    fn take(&self) -> Option<Vec<u8>> {
        let (noted, given) = (self.taken.get(), self.given.get());
        let mut number = if given.wrapping_sub(noted) > MOST { given.wrapping_sub(MOST) } else { noted };
        while number != given {
            let place = self.places[number % MOST].try_lock();
            let buffer = place.map_or_else(|_| Vec::new(), |mut place| mem::take(&mut *place));
            number = number.wrapping_add(1);
            if buffer.capacity() > 0 {
                self.taken.set_if_still(noted, number);
                return Some(buffer);
            }
        }
        self.taken.set_if_still(noted, number);
        None
    }

    /// Takes a buffer back, if there is a place for it.
    #[inline(never)]
    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let given = self.given.get();
        if given.wrapping_sub(self.taken.get()) >= MOST {
            return;
        }
        for number in (0..TRIES).map(|tried| given.wrapping_add(tried)) {
            if put(&self.places[number % MOST], &mut buffer) {
                return self.given.raise_to(number.wrapping_add(1));
            }
        }
        // These places hold buffers that `take` would not find: from now on it finds them.
        self.given.raise_to(given.wrapping_add(TRIES));
    }
}

/// Puts a buffer into a place, if that is free.
fn put(place: &Mutex<Vec<u8>>, buffer: &mut Vec<u8>) -> bool {
    match place.try_lock() {
        Ok(mut place) if place.capacity() == 0 => {
            *place = mem::take(buffer);
            true
        }
        _ => false,
    }
}

impl Count {
    /// Acquire: whoever sees that a buffer was given finds its place unlocked. Otherwise an old
    /// count does no harm; the buffer itself is handed over by the lock.
    fn get(&self) -> usize {
        self.0.load(Acquire)
    }

    /// Sets the count, unless it has changed since `before` was read. Not in one step, which would
    /// cost more than it is worth.
    fn set_if_still(&self, before: usize, value: usize) {
        if value != before && self.get() == before {
            self.0.store(value, Relaxed);
        }
    }

    /// Raises the count to `value`, unless it is as large already. Release: see `get`.
    fn raise_to(&self, value: usize) {
        let is_before = |count: usize| (count.wrapping_sub(value) as isize) < 0;
        let _ = self.0.fetch_update(Release, Relaxed, |count| is_before(count).then_some(value));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn buffer() -> Vec<u8> {
        Vec::with_capacity(POOLED)
    }

    fn found(pool: &Pool) -> usize {
        std::iter::from_fn(|| pool.take()).count()
    }

    /// Returns how many buffers are in the pool, also those that `take` would not find.
    fn there(pool: &Pool) -> usize {
        pool.places.iter().filter(|place| place.lock().unwrap().capacity() > 0).count()
    }

    #[test]
    fn what_was_given_back_is_taken_again_and_there_are_never_more_than_the_most() {
        // The numbers wrap in the second one.
        for first in [0, usize::MAX - MOST - 5] {
            let pool = Pool::new();
            pool.taken.0.store(first, Relaxed);
            pool.given.0.store(first, Relaxed);
            for _ in 0..3 {
                assert_eq!(pool.take(), None);
                for number in 0..MOST + 7 {
                    let mut buffer = buffer();
                    buffer.push(number as u8);
                    pool.give(buffer);
                }
                assert_eq!(there(&pool), MOST);
                for _ in 0..MOST {
                    assert_eq!(pool.take().map(|buffer| (buffer.len(), buffer.capacity())), Some((0, POOLED)));
                }
            }
        }
    }

    /// A thread that is interrupted between its look and its note sets the pool back.
    #[test]
    fn an_old_note_of_the_next_buffer_hides_no_buffer() {
        let pool = Pool::new();
        (0..10).for_each(|_| pool.give(buffer()));
        let go_round = |times| (0..times).for_each(|_| pool.give(pool.take().expect("there are ten")));
        for times in [5, 100, MOST - 1, 3 * MOST] {
            let before = pool.taken.get();
            go_round(times);
            // From half of all numbers ago, too: there are machines that come to that.
            for old in [before, before.wrapping_sub(usize::MAX / 2), before.wrapping_add(usize::MAX / 2)] {
                pool.taken.0.store(old, Relaxed);
                let buffer = pool.take().expect("there are ten");
                let noted = pool.taken.get();
                assert!(pool.given.get().wrapping_sub(noted) <= 10, "it is noted where they are");
                pool.give(buffer);
            }
        }
        assert_eq!(found(&pool), 10);
        pool.taken.0.store(0, Relaxed);
        assert_eq!((pool.take(), pool.taken.get()), (None, pool.given.get()), "nobody looks there again");
    }

    /// Two threads gave at the same time, and a third one passed over the place of the first.
    #[test]
    fn a_buffer_that_was_passed_over_is_found_again() {
        let pool = Pool::new();
        for place in &pool.places {
            *place.lock().unwrap() = buffer();
        }
        assert_eq!((pool.take(), there(&pool)), (None, MOST), "nobody sees them");
        pool.give(buffer());
        assert_eq!(found(&pool), TRIES);
        (0..MOST).for_each(|_| pool.give(buffer()));
        assert_eq!(found(&pool), MOST);
    }

    /// In a forked child, such a thread is not there any more.
    #[test]
    fn a_thread_that_stops_with_a_lock_costs_the_others_its_place() {
        let pool = Pool::new();
        let held = pool.places[1].lock();
        pool.give(buffer());
        pool.give(buffer());
        assert_eq!(found(&pool), 2);
        for round in 0..2 {
            for _ in 0..MOST {
                pool.give(buffer());
            }
            assert_eq!(found(&pool), MOST - 1, "round {round}: all but the place that is locked");
        }
        drop(held);
        (0..MOST).for_each(|_| pool.give(buffer()));
        assert_eq!(found(&pool), MOST);
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
                        assert!(held.iter().all(|buffer| (buffer.len(), buffer.capacity()) == (0, POOLED)));
                        held.into_iter().for_each(|buffer| pool.give(buffer));
                    }
                });
            }
        });
        found(&pool);
        (0..MOST).for_each(|_| pool.give(buffer()));
        assert_eq!(found(&pool), MOST);
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
