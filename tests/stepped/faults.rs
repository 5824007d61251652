//! The n-th operation fails, for n = 1, 2, 3 ... until a run meets no fault; once, and from then on; with every errno a disk is
//! known for. Writes that take fewer bytes, of every length. After each run the invariants hold. (The loop is SQLite's:
//! "How SQLite Is Tested", I/O error testing.)

use std::time::Duration;

use super::bench::{Bench, PATH, Setup};
use super::invariants::{assert_invariants, assert_recovery};
use crate::KIB;
use crate::disk::fake::{FakeDisk, Fault, Op};
use crate::sink::log_file::Fsync;

const ENOENT: i32 = 2;
const EINTR: i32 = 4;
const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const EFBIG: i32 = 27;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const ESTALE: i32 = 116;
const EDQUOT: i32 = 122;
const ERRNOS: [i32; 11] = [ENOSPC, EIO, EDQUOT, EFBIG, EROFS, EINTR, EAGAIN, ENOENT, ESTALE, EACCES, EMFILE];

/// A start, steady logging, a disk that fills and is freed, and a pause.
fn life(disk: &FakeDisk, bench: &mut Bench) {
    for turn in 0..12 {
        if turn == 4 {
            let free = disk.world().free();
            disk.world().filler += free - 3000.min(free);
        }
        if turn == 8 {
            disk.world().filler = 0;
        }
        bench.log_some(9);
        bench.step();
        bench.pass(Duration::from_millis(150));
        bench.step();
    }
}

fn run(setup: &Kind, fault: Option<Fault>, short_once: Option<(u64, usize)>, story: &str) -> bool {
    let disk = FakeDisk::with_capacity(256 * KIB);
    disk.world().fault = fault;
    disk.world().short_once = short_once;
    disk.world().locked_by_other = setup.locked_by_other;
    let mut bench = Setup::new().file(&disk, setup.reserve, setup.fsync).bench();
    life(&disk, &mut bench);
    bench.assert_identity(story);
    assert_recovery(&mut bench, &disk, story);
    assert_invariants(&bench, &disk, story);
    let (suspended, resumed) = bench.episodes();
    assert_eq!(suspended, resumed, "{story}: every episode has its end");
    disk.world().faulted
}

/// How the file is set up.
#[derive(Debug)]
struct Kind {
    /// How many of the errnos it is tried with.
    errnos: usize,
    reserve: Option<u64>,
    fsync: Fsync,
    locked_by_other: bool,
}

const KINDS: [Kind; 3] = [
    Kind { errnos: 11, reserve: Some(0), fsync: Fsync::Never, locked_by_other: false },
    Kind { errnos: 11, reserve: None, fsync: Fsync::AfterErrors, locked_by_other: false },
    // Without the lock a torn tail is looked at many times: as many more operations that may fail.
    Kind { errnos: 2, reserve: Some(0), fsync: Fsync::Never, locked_by_other: true },
];

#[test]
fn whichever_operation_fails_every_record_is_written_or_told() {
    let mut runs = 0;
    for kind in &KINDS {
        for errno in ERRNOS.into_iter().take(kind.errnos) {
            for forever in [false, true] {
                for at in 1.. {
                    let fault = Fault { at, only: None, forever, errno };
                    runs += 1;
                    if !run(kind, Some(fault), None, &format!("{kind:?} {fault:?}")) {
                        break;
                    }
                }
            }
        }
    }
    println!("{runs} runs");
    assert!(runs > 1000, "only {runs} runs: the loop did not reach the operations");
}

#[test]
fn each_kind_of_operation_may_fail_on_its_own() {
    let ops = [Op::Open, Op::Write, Op::End, Op::Len, Op::LastByte, Op::Cut, Op::Room, Op::Lock, Op::Sync, Op::Place];
    for kind in &KINDS {
        for op in ops {
            for errno in ERRNOS.into_iter().take(kind.errnos) {
                for at in 1.. {
                    let fault = Fault { at, only: Some(op), forever: true, errno };
                    if !run(kind, Some(fault), None, &format!("{kind:?} {fault:?}")) {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn a_short_write_of_any_length_loses_nothing() {
    // The first writes of a run: about 900 bytes each.
    for kind in &KINDS {
        for at in 1..=2 {
            for len in 0..1100 {
                let story = format!("{kind:?}, write {at} takes {len} bytes");
                run(kind, None, Some((at, len)), &story);
            }
        }
    }
}

#[test]
fn a_short_write_of_any_length_before_an_error_leaves_whole_lines() {
    for kind in &KINDS {
        for errno in [ENOSPC, EFBIG, EIO, EAGAIN] {
            for len in 0..1100 {
                let fault = Fault { at: 3, only: Some(Op::Write), forever: false, errno };
                let story = format!("{kind:?}, write 2 takes {len} bytes, then {fault:?}");
                assert!(run(kind, Some(fault), Some((2, len)), &story), "{story}");
            }
        }
    }
}

#[test]
fn writes_of_one_byte_at_a_time_make_the_same_file() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    disk.world().short = Some(1);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.log_some(20);
    bench.step();
    assert_invariants(&bench, &disk, "one byte at a time");
    assert_eq!(super::invariants::parse(&[disk.read(PATH)]).records.len(), 20);
}

#[test]
fn the_free_space_never_falls_below_the_reserve_by_our_own_bytes() {
    let reserve = 64 * KIB;
    let disk = FakeDisk::with_capacity(256 * KIB);
    let mut bench = Setup::new().file(&disk, Some(reserve), Fsync::Never).bench();
    while !bench.suspended() {
        bench.log_some(7);
        bench.step();
        let free = disk.world().free();
        assert!(free >= reserve, "{free} bytes are free, the reserve is {reserve}");
    }
    let free = disk.world().free();
    assert!(free < reserve + 3 * 4096, "it stopped with {free} bytes free, long before the reserve of {reserve}");
    bench.live(Duration::from_secs(3));
    assert_eq!(disk.world().free(), free, "nothing is written while it is suspended");
    assert_eq!(bench.episodes(), (1, 0));
}
