//! A full queue: the four policies, the kept slots, the bound of what spills, and how the losses
//! are told.

use std::time::Duration;

use log::Level;

use super::bench::{PATH, Setup};
use super::invariants::{assert_invariants, parse};
use crate::queue::Overflow;
use crate::sink::log_file::Fsync;
use crate::tests::fake_disk::FakeDisk;

fn setup(capacity: usize, overflow: Overflow, disk: &FakeDisk) -> Setup {
    Setup { capacity, overflow, ..Setup::new() }.file(disk, None, Fsync::Never)
}

#[test]
fn a_full_queue_drops_the_new_record_and_counts_it() {
    let disk = FakeDisk::default();
    let mut bench = setup(16, Overflow::DropNewest, &disk).bench();
    for _ in 0..20 {
        bench.log(Level::Error);
    }
    assert_eq!(bench.handle.stats().dropped.queue_full, 4);
    assert_eq!(bench.handle.stats().pending, 16);
    bench.assert_identity("full");
    bench.step();
    bench.live(Duration::from_secs(6));
    assert_eq!(parse(&[disk.read(PATH)]).records, (0..16).collect::<Vec<_>>());
    assert_invariants(&bench, &disk, "full");
}

#[test]
fn the_last_slots_are_kept_for_warnings_and_errors() {
    // (capacity, slots kept): an eighth, at least 64, never more than half.
    for (capacity, kept) in [(1, 0), (2, 1), (100, 50), (256, 64), (1024, 128), (8192, 1024)] {
        let disk = FakeDisk::default();
        let mut bench = setup(capacity, Overflow::DropNewest, &disk).bench();
        for _ in 0..capacity {
            bench.log(Level::Info);
        }
        assert_eq!(bench.handle.stats().pending as usize, capacity - kept, "capacity {capacity}");
        for _ in 0..kept {
            bench.log(Level::Warn);
        }
        assert_eq!(bench.handle.stats().pending as usize, capacity, "capacity {capacity}");
        let dropped = bench.handle.stats().dropped;
        assert_eq!((dropped.by_level(Level::Info), dropped.by_level(Level::Warn)), (kept as u64, 0));
    }
}

#[test]
fn the_oldest_record_makes_room_under_drop_oldest() {
    let disk = FakeDisk::default();
    let mut bench = setup(8, Overflow::DropOldest, &disk).bench();
    for _ in 0..20 {
        bench.log(Level::Info);
    }
    bench.step();
    bench.live(Duration::from_secs(6));
    assert_eq!(parse(&[disk.read(PATH)]).records, (12..20).collect::<Vec<_>>());
    assert_invariants(&bench, &disk, "drop oldest");
}

#[test]
fn a_bounded_wait_ends_and_drops() {
    let disk = FakeDisk::default();
    let mut bench = setup(4, Overflow::BlockAtMost(Duration::from_millis(5)), &disk).bench();
    for _ in 0..6 {
        bench.log(Level::Info);
    }
    assert_eq!(bench.handle.stats().dropped.queue_full, 2);
    bench.step();
    bench.live(Duration::from_secs(6));
    assert_invariants(&bench, &disk, "bounded wait");
}

#[test]
fn a_blocked_call_gets_its_slot() {
    let disk = FakeDisk::default();
    let mut bench = setup(4, Overflow::Block, &disk).bench();
    for _ in 0..4 {
        bench.log(Level::Info);
    }
    std::thread::scope(|scope| {
        let logger = &bench.logger;
        let blocked = scope.spawn(move || {
            let record = log::Record::builder().args(format_args!("record 4  end")).target("bench").build();
            log::Log::log(logger, &record);
        });
        while bench.handle.stats().accepted < 5 {
            std::thread::yield_now();
        }
        while !blocked.is_finished() {
            bench.writer.step(bench.now);
        }
    });
    bench.ledger.note(4, 0, Level::Info, None);
    bench.step();
    assert_eq!(parse(&[disk.read(PATH)]).records, [0, 1, 2, 3, 4]);
    assert_invariants(&bench, &disk, "blocked");
}

#[test]
fn a_blocked_call_is_let_go_by_a_shutdown() {
    let disk = FakeDisk::default();
    let mut bench = setup(1, Overflow::Block, &disk).bench();
    bench.log(Level::Info);
    std::thread::scope(|scope| {
        let logger = &bench.logger;
        let blocked = scope.spawn(move || {
            let record = log::Record::builder().args(format_args!("record 1  end")).target("bench").build();
            log::Log::log(logger, &record);
        });
        while bench.handle.stats().accepted < 2 {
            std::thread::yield_now();
        }
        assert!(bench.handle.shutdown(Duration::ZERO).is_err());
        blocked.join().unwrap();
    });
    assert_eq!(bench.handle.stats().dropped.shutdown, 2);
    bench.assert_identity("let go");
}

#[test]
fn a_blocked_call_does_not_wait_as_long_as_the_shutdown_does() {
    let disk = FakeDisk::default();
    let mut bench = setup(1, Overflow::Block, &disk).bench();
    bench.log(Level::Info);
    std::thread::scope(|scope| {
        let (logger, handle) = (&bench.logger, bench.handle.clone());
        let blocked = scope.spawn(move || {
            let record = log::Record::builder().args(format_args!("record 1  end")).target("bench").build();
            log::Log::log(logger, &record);
        });
        while bench.handle.stats().accepted < 2 {
            std::thread::yield_now();
        }
        let asked = scope.spawn(move || handle.shutdown(Duration::MAX));
        // Nobody has taken anything out yet.
        blocked.join().unwrap();
        assert_eq!((bench.handle.stats().dropped.shutdown, bench.pipeline.len()), (1, 1));
        while !asked.is_finished() {
            bench.writer.step(bench.now);
        }
        assert_eq!(asked.join().unwrap(), Ok(()));
    });
    bench.assert_identity("a shutdown that waits");
}

#[test]
fn losses_of_the_queue_are_told_in_one_line_and_at_most_every_five_seconds() {
    let disk = FakeDisk::default();
    let mut bench = setup(8, Overflow::DropNewest, &disk).bench();
    bench.step();
    let lines = |disk: &FakeDisk| {
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        text.lines().filter(|line| line.contains(" dropped ")).count()
    };
    for _ in 0..4 {
        for _ in 0..30 {
            bench.log(Level::Error);
        }
        bench.live(Duration::from_secs(1));
    }
    assert_eq!(lines(&disk), 1);
    bench.live(Duration::from_secs(5));
    assert_eq!(lines(&disk), 2);
    bench.live(Duration::from_secs(60));
    assert_eq!(lines(&disk), 2, "there was nothing more to tell");
    assert_invariants(&bench, &disk, "told");
}

#[test]
fn a_flood_of_long_low_messages_leaves_heap_for_errors() {
    let disk = FakeDisk::default();
    let mut bench = setup(8192, Overflow::DropNewest, &disk).bench();
    for _ in 0..400 {
        bench.log_padded(Level::Debug, 60_000);
    }
    let stats = bench.handle.stats();
    assert!(stats.dropped.by_level(Level::Debug) > 0, "the flood did not reach the bound");
    let (spilled, most) = bench.pipeline.spilled();
    assert!(spilled > most / 4 * 3, "only {spilled} of {most} bytes for the low levels");
    for level in [Level::Warn, Level::Error] {
        for _ in 0..100 {
            bench.log_padded(level, 1000);
        }
        assert_eq!(bench.handle.stats().dropped.by_level(level), 0, "{level}");
    }
}

#[test]
fn a_blocked_call_waits_for_the_heap_too_and_loses_nothing() {
    let disk = FakeDisk::default();
    let mut bench = setup(1024, Overflow::Block, &disk).bench();
    const CALLS: u64 = 150;
    let padding = "-".repeat(60_000);
    std::thread::scope(|scope| {
        let (logger, padding) = (&bench.logger, &padding);
        let blocked = scope.spawn(move || {
            for number in 0..CALLS {
                let record = format_args!("record {number} {padding} end");
                log::Log::log(logger, &log::Record::builder().args(record).target("bench").build());
            }
        });
        // Less than two of them are missing: there are slots, and the next call waits, or the one
        // after it.
        let (_, most) = bench.pipeline.spilled();
        while bench.pipeline.spilled().0 < most - 140_000 {
            std::thread::yield_now();
        }
        while !blocked.is_finished() {
            assert!(bench.pipeline.len() < 140, "nobody waits for the heap");
            bench.writer.step(bench.now);
        }
    });
    while bench.step().taken > 0 {}
    assert_eq!(bench.handle.stats().written, CALLS);
    assert_eq!(bench.pipeline.spilled().0, 0, "what was taken out is not counted any more");
    bench.assert_identity("blocked by the heap");
}

#[test]
fn what_long_messages_hold_on_the_heap_is_bounded() {
    let disk = FakeDisk::default();
    let mut bench = setup(1024, Overflow::DropNewest, &disk).bench();
    for _ in 0..400 {
        bench.log_padded(Level::Error, 60_000);
    }
    let pending = bench.handle.stats().pending;
    // Each holds between one and two times its length, as a growing buffer does.
    assert!((69..=139).contains(&pending), "{pending} records of 60 000 bytes wait, the bound is 8 MiB");
    while bench.step().taken > 0 {}
    for _ in 0..10 {
        bench.log_padded(Level::Error, 60_000);
    }
    assert_eq!(bench.handle.stats().pending, 10, "what was taken out is not counted any more");
    while bench.step().taken > 0 {}
    bench.live(Duration::from_secs(6));
    assert_invariants(&bench, &disk, "spilled");
}
