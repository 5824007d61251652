//! Memory that is refused to the writer in the middle of its work: an allocator that gives a thread
//! nothing large for a while.
#![allow(unsafe_code)] // an allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::time::{Duration, UNIX_EPOCH};

use log::{Level, Log as _};

use super::bench::{PATH, Setup};
use super::invariants::{assert_invariants, assert_recovery, parse};
use crate::clock::Stamp;
use crate::queue::{Draft, Overflow, Pipeline};
use crate::record::{Caller, OwnedRecord};
use crate::stats::Counters;
use crate::tests::fake_disk::FakeDisk;
use crate::wanted::Wanting;
use crate::{KIB, LogFile};

/// The system's, which refuses what is larger than the thread may have.
struct Scarce;

#[global_allocator]
static SCARCE: Scarce = Scarce;

thread_local! {
    /// Without a destructor and without an initialiser that runs: it can be asked for inside of the
    /// allocator.
    static LARGEST: Cell<usize> = const { Cell::new(usize::MAX) };
    static REFUSED: Cell<u64> = const { Cell::new(0) };
    /// What this thread has allocated less what it has freed, in bytes.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

fn note(allocated: usize, freed: usize) {
    HELD.set(HELD.get() + allocated as i64 - freed as i64);
}

fn is_refused(size: usize) -> bool {
    let refused = size > LARGEST.get();
    REFUSED.set(REFUSED.get() + u64::from(refused));
    refused
}

// SAFETY: what is not refused goes on to `System` as it came, which keeps the contract; a null
// pointer is how to refuse, and looking at a number cannot unwind.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        let pointer = if is_refused(layout.size()) { ptr::null_mut() } else { unsafe { System.alloc(layout) } };
        note(if pointer.is_null() { 0 } else { layout.size() }, 0);
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised; `System` has allocated it.
        unsafe { System.dealloc(pointer, layout) }
        note(0, layout.size());
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        let pointer = if is_refused(layout.size()) { ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } };
        note(if pointer.is_null() { 0 } else { layout.size() }, 0);
        pointer
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promised; `System` has allocated it.
        let moved = if is_refused(size) { ptr::null_mut() } else { unsafe { System.realloc(pointer, layout, size) } };
        if !moved.is_null() {
            note(size, layout.size());
        }
        moved
    }
}

/// Nothing larger is to be had; says how often that was felt. What cannot do without it would end
/// the process.
fn with_at_most<T>(bytes: usize, act: impl FnOnce() -> T) -> (T, u64) {
    REFUSED.set(0);
    LARGEST.set(bytes);
    let done = act();
    LARGEST.set(usize::MAX);
    (done, REFUSED.get())
}

/// It is retained if the memory for that is there already, and else it is lost and told. Those next
/// to it are written into the reserve.
#[test]
fn an_error_for_which_a_suspended_file_has_no_memory_shares_the_fate_of_what_it_does_not_take() {
    for has_ring in [true, false] {
        let story = format!("with a ring: {has_ring}");
        let disk = FakeDisk::with_capacity(256 * KIB);
        disk.world().reserves = true;
        let file = LogFile::new(PATH).min_free_space(0).error_reserve(64 * KIB).retain(64 * KIB);
        let mut bench = Setup::new().file_with(&disk, file.options).bench();
        bench.step();
        let free = disk.world().free();
        disk.world().filler = free;
        // What is laid out takes no more memory than this one did, which was not written.
        bench.log_padded(Level::Info, 60_000);
        bench.log(if has_ring { Level::Warn } else { Level::Info });
        bench.step();
        assert!(bench.suspended());
        let (small, large) = (bench.next, bench.next + 1);
        bench.log(Level::Error);
        bench.log_padded(Level::Error, 20_000);
        bench.log(Level::Error);
        let (_, refused) = with_at_most(8 * KIB as usize, || bench.step());
        assert!(refused >= 1, "{story}");
        bench.assert_identity(&story);
        assert_eq!(parse(&[disk.read(PATH)]).records, [small, small + 2], "{story}: what there was memory for");
        let stats = bench.handle.stats();
        assert_eq!((stats.pending, stats.dropped.by_level(Level::Error)), if has_ring { (2, 0) } else { (0, 1) });
        bench.log_padded(Level::Error, 20_000);
        bench.step();
        assert_eq!(parse(&[disk.read(PATH)]).records.last(), Some(&(small + 3)), "{story}: there is memory again");
        disk.world().filler = 0;
        assert_recovery(&mut bench, &disk, &story);
        bench.live(Duration::from_secs(6));
        assert_invariants(&bench, &disk, &story);
        let parsed = parse(&[disk.read(PATH)]);
        assert_eq!(parsed.retained, if has_ring { vec![1, large] } else { vec![] }, "{story}");
        assert_eq!(parsed.told_of[0], u64::from(!has_ring), "{story}");
    }
}

/// Offers records of 60 kB to a queue until it refuses some, takes out a part of them, and ends it
/// with the rest.
fn fill_and_end(overflow: Overflow) {
    let pipeline = Pipeline::new(64, overflow, Duration::ZERO, None, Counters::new(Vec::new()));
    let offer = || {
        let caller = Caller { thread: 1, name: None };
        let record = OwnedRecord::capture(
            &log::Record::builder().args(format_args!("{:60000}", "")).build(),
            Stamp::at(UNIX_EPOCH),
            caller,
        );
        pipeline.offer(Level::Info, Wanting::NOBODY, &mut Draft::new(record))
    };
    let is_in: Vec<bool> = (0..200).map(|_| offer()).collect();
    let evicts = matches!(overflow, Overflow::DropOldest);
    assert!(is_in.contains(&true) && (evicts || is_in.contains(&false)));
    let mut taken = 0;
    pipeline.take_while(|_| {
        taken += 1;
        taken < 10
    });
    assert_eq!(taken, 10);
}

/// The channel itself frees nothing of a record.
#[test]
fn what_a_record_holds_is_freed_wherever_it_ends() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::BlockAtMost(Duration::ZERO)] {
        // Once for what a thread has only once.
        fill_and_end(overflow);
        let held = HELD.get();
        fill_and_end(overflow);
        // The pool's buffers of 512 bytes pass from thread to thread, those of other tests too.
        let more = HELD.get() - held;
        assert!(more.abs() < 30_000, "{overflow:?}: {more} bytes, where a record has 60,000");
    }
}

/// Writes 60 kB, then panics.
struct Panics;

impl fmt::Display for Panics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:60000}", "")?;
        panic!("in the middle of a message")
    }
}

#[test]
fn a_message_that_panics_leaves_nothing_allocated() {
    let (logger, handle) = crate::Builder::new().file("/dev/null").build().unwrap();
    let log = || {
        let call = || logger.log(&log::Record::builder().args(format_args!("{Panics}")).build());
        panic::catch_unwind(AssertUnwindSafe(call)).unwrap_err();
    };
    // Once for what a thread has only once.
    log();
    let held = HELD.get();
    (0..20).for_each(|_| log());
    // The harness keeps what the panic hook prints.
    let more = (HELD.get() - held) / 20;
    assert!(more.abs() < 30_000, "{more} bytes for each, where a record has 60,000");
    assert_eq!(handle.stats().accepted, 0);
}
