//! The room that is kept for ERROR records, and what is written into it.

use std::time::Duration;

use log::Level;

use super::bench::{Bench, PATH, Setup};
use super::invariants::{assert_invariants, parse};
use crate::event::{Cause, State};
use crate::sink::rotation::Rotation;
use crate::tests::fake_disk::{FakeDisk, Fault, Op};
use crate::wanted::Wanting;
use crate::{KIB, LogFile};

/// A disk on which blocks can be taken ahead, and a log that keeps 4 KiB of them.
fn bench(disk: &FakeDisk, file: impl FnOnce(LogFile) -> LogFile) -> Bench {
    disk.world().reserves = true;
    let file = file(LogFile::new(PATH).min_free_space(0).error_reserve(4 * KIB));
    let mut bench = Setup::new().file_with(disk, file.options).bench();
    bench.step();
    bench
}

/// Ordinary records take all the room there is.
fn fill_by_records(bench: &mut Bench) {
    while !bench.suspended() {
        bench.log(Level::Info);
        bench.step();
    }
}

#[test]
fn errors_are_written_on_a_full_disk_after_ordinary_records_took_all_they_could() {
    let disk = FakeDisk::with_capacity(40 * KIB);
    let mut bench = bench(&disk, |file| file.retain(0));
    fill_by_records(&mut bench);
    assert_eq!(bench.handle.state(), State::Suspended(Cause::DiskFull));
    assert!(disk.world().free() < 200, "{} bytes are free", disk.world().free());
    let mut errors = Vec::new();
    for _ in 0..10 {
        errors.push(bench.next);
        bench.log(Level::Error);
        bench.log(Level::Info);
        bench.log(Level::Warn);
        bench.step();
    }
    let parsed = parse(&[disk.read(PATH)]);
    assert!(parsed.records.ends_with(&errors), "{:?}", parsed.records);
    assert!(bench.suspended(), "the output is suspended all the same");
    assert_eq!(bench.handle.stats().dropped.by_level(Level::Error), 0);
    // Until the room that was kept is used up; then a call does not even reach the queue.
    for _ in 0..100 {
        bench.log(Level::Error);
        bench.step();
    }
    assert_eq!(bench.pipeline.closed_to(Level::Error, Wanting::NOBODY), Some(crate::stats::DropReason::DiskFull));
    assert!(disk.read(PATH).len() as u64 > 40 * KIB - 600);
    disk.world().capacity = Some(80 * KIB);
    bench.live(Duration::from_secs(3));
    assert_eq!(bench.handle.state(), State::Healthy);
    bench.live(Duration::from_secs(6));
    assert_invariants(&bench, &disk, "freed");
    assert_eq!(bench.suspensions(), (1, 1));
}

#[test]
fn the_errors_of_the_very_batch_that_finds_the_disk_full_are_written() {
    let disk = FakeDisk::with_capacity(40 * KIB);
    let mut bench = bench(&disk, |file| file);
    let free = disk.world().free();
    disk.world().filler = free;
    bench.log_some(40);
    bench.step();
    assert!(bench.suspended());
    let stats = bench.handle.stats();
    assert_eq!(stats.dropped.by_level(Level::Error), 0);
    let records = parse(&[disk.read(PATH)]).records;
    // What there was room for before the reserve, then the errors alone.
    let all = records.iter().zip(0..).take_while(|(record, number)| *record == number).count();
    assert!(all < 20, "{records:?}");
    assert!(records[all..].iter().copied().eq((all as u64..40).filter(|number| number % 4 == 0)), "{records:?}");
    bench.assert_identity("full");
    disk.world().filler = 0;
    bench.live(Duration::from_secs(9));
    assert_invariants(&bench, &disk, "freed");
}

#[test]
fn below_the_reserve_of_free_space_errors_go_into_what_is_the_files_already() {
    let disk = FakeDisk::with_capacity(1024 * KIB);
    let mut bench = bench(&disk, |file| file.min_free_space(64 * KIB));
    bench.log_some(4);
    bench.step();
    let free = disk.world().free();
    disk.world().filler = free - 64 * KIB;
    fill_by_records(&mut bench);
    assert_eq!(bench.handle.state(), State::Suspended(Cause::LowSpace));
    let next = bench.next;
    bench.log(Level::Error);
    bench.log(Level::Warn);
    bench.log(Level::Error);
    bench.step();
    assert_eq!(disk.world().free(), 64 * KIB, "nothing took room from anybody");
    assert!(parse(&[disk.read(PATH)]).records.ends_with(&[next, next + 2]));
    disk.world().filler = 0;
    bench.live(Duration::from_secs(9));
    assert_invariants(&bench, &disk, "freed");
}

#[test]
fn on_a_disk_that_was_full_from_the_start_there_is_no_reserve_and_the_gate_is_shut() {
    let disk = FakeDisk::with_capacity(40 * KIB);
    disk.world().filler = 40 * KIB;
    let mut bench = bench(&disk, |file| file.retain(0));
    bench.log(Level::Error);
    bench.step();
    bench.log(Level::Error);
    bench.step();
    assert_eq!(bench.handle.stats().dropped.by_level(Level::Error), 2);
    assert!(bench.pipeline.closed_to(Level::Error, Wanting::NOBODY).is_some());
    disk.world().filler = 0;
    bench.live(Duration::from_secs(9));
    assert_invariants(&bench, &disk, "freed");
}

#[test]
fn the_reserve_moves_with_the_file_and_is_given_back() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(3000)));
    let used = |disk: &FakeDisk| 256 * KIB - disk.world().free();
    for _ in 0..10 {
        bench.log_some(20);
        bench.step();
        let text: usize = disk.read_named().iter().map(|(_, bytes)| bytes.len()).sum();
        let ahead = used(&disk) - text as u64;
        assert!((4 * KIB..12 * KIB).contains(&ahead), "{ahead} bytes beyond the ends of all files");
    }
    // A look at the file finds nobody else's bytes, and the blocks are still there.
    let asked = disk.world().asked(Op::Preallocate);
    for _ in 0..3 {
        bench.pass(Duration::from_millis(150));
        bench.step();
    }
    assert_eq!(disk.world().asked(Op::Preallocate), asked, "what is taken is not taken again");
    std::thread::scope(|scope| {
        let handle = bench.handle.clone();
        let asked = scope.spawn(move || handle.shutdown(Duration::MAX));
        while !bench.writer.step(bench.now).ended {}
        assert_eq!(asked.join().unwrap(), Ok(()));
    });
    let text: usize = disk.read_named().iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(used(&disk), text as u64, "nothing is left beyond the end");
}

#[test]
fn what_our_own_cut_gives_back_is_no_recovery() {
    let disk = FakeDisk::with_capacity(40 * KIB);
    let mut bench = bench(&disk, |file| file);
    fill_by_records(&mut bench);
    // The disk breaks a promise once: a line goes in only in part, and is cut away, with all that
    // is beyond it.
    let number = disk.world().asked(Op::Write);
    disk.world().short_once = Some((number + 1, 10));
    disk.world().fault =
        Some(crate::tests::fake_disk::Fault { at: number + 2, only: Some(Op::Write), forever: false, errno: 28 });
    bench.log(Level::Error);
    bench.step();
    assert!(bench.suspended());
    // Whoever looks for room now finds none of it.
    let free = disk.world().free();
    disk.world().filler += free;
    bench.live(Duration::from_secs(20));
    assert!(bench.suspended(), "the disk is as full as it was");
    assert_eq!(bench.suspensions(), (1, 0));
    let next = bench.next;
    bench.log(Level::Error);
    bench.step();
    assert_eq!(parse(&[disk.read(PATH)]).records.last(), Some(&next), "and the reserve stands again");
}

#[test]
fn where_blocks_cannot_be_kept_the_log_goes_on_without_them() {
    for errno in [95, 27, 22, 5] {
        let disk = FakeDisk::with_capacity(40 * KIB);
        disk.world().fault =
            Some(crate::tests::fake_disk::Fault { at: 1, only: Some(Op::Preallocate), forever: true, errno });
        let mut bench = bench(&disk, |file| file);
        bench.log_some(20);
        bench.step();
        assert_eq!(bench.handle.stats().written, 20);
        assert_eq!(disk.world().asked(Op::Preallocate), 1, "asked once for a file");
    }
}

#[test]
fn where_there_is_little_room_half_of_it_is_kept_and_the_log_begins() {
    // Less than the reserve, in all.
    let disk = FakeDisk::with_capacity(60 * KIB);
    disk.world().reserves = true;
    let file = LogFile::new(PATH).min_free_space(0).error_reserve(64 * KIB);
    let mut bench = Setup::new().file_with(&disk, file.options).bench();
    bench.log_some(20);
    bench.step();
    assert_eq!((bench.handle.state(), bench.handle.stats().written), (State::Healthy, 20));
    fill_by_records(&mut bench);
    let written = disk.read(PATH).len() as u64;
    assert!((16 * KIB..40 * KIB).contains(&written), "{written} bytes of records");
    let next = bench.next;
    bench.log(Level::Error);
    bench.step();
    assert_eq!(parse(&[disk.read(PATH)]).records.last(), Some(&next));
    bench.live(Duration::from_secs(30));
    assert_eq!(bench.suspensions(), (1, 0), "a full disk is full");
}

/// Each ERROR that did not fit into what is kept started the half second again in which there must
/// be room: with ten of them a second the log never came back.
#[test]
fn errors_that_do_not_fit_keep_nobody_from_coming_back() {
    let disk = FakeDisk::with_capacity(1024 * KIB);
    disk.world().reserves = true;
    let file = LogFile::new(PATH).min_free_space(64 * KIB).error_reserve(4 * KIB);
    let mut bench = Setup::new().file_with(&disk, file.options).bench();
    bench.step();
    disk.world().filler = 1024 * KIB - 80 * KIB;
    fill_by_records(&mut bench);
    bench.log_padded(Level::Error, 8000);
    bench.step();
    disk.world().filler = 0;
    for _ in 0..40 {
        bench.log_padded(Level::Error, 8000);
        bench.live(Duration::from_millis(50));
    }
    assert_ne!(bench.handle.state(), State::Suspended(Cause::LowSpace), "two seconds after there was room");
    assert!(!bench.suspended());
}

/// Between the look at the length and the cut another process may write a line; the cut would take
/// it.
#[test]
fn a_file_that_somebody_else_writes_to_is_not_cut_when_it_is_left() {
    let disk = FakeDisk::with_capacity(1024 * KIB);
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(3000)));
    bench.log_some(5);
    bench.step();
    disk.append(PATH, b"a line of another process\n");
    bench.pass(Duration::from_millis(200));
    let cuts = disk.world().asked(Op::Cut);
    while disk.read_named().len() == 1 {
        bench.log_some(1);
        bench.step();
    }
    assert_eq!(disk.world().asked(Op::Cut), cuts);
}

/// Somebody cut the file, which gave the reserve back, and filled the disk before the free space
/// was asked for again: the reserve was taken once more by what was free a moment ago.
#[test]
fn what_others_have_cut_off_is_taken_again_only_from_what_is_free_now() {
    let disk = FakeDisk::with_capacity(1024 * KIB);
    let mut bench = bench(&disk, |file| file.min_free_space(64 * KIB));
    bench.log_some(4);
    bench.step();
    disk.truncate(PATH);
    let free = disk.world().free();
    disk.world().filler = free - 66 * KIB;
    bench.pass(Duration::from_millis(600));
    bench.step();
    assert!(disk.world().free() >= 64 * KIB, "{} bytes are free", disk.world().free());
}

/// Only a cut gives blocks back, and nobody cuts where another process writes, too. On a disk with
/// plenty of free space each archive kept blocks for a megabyte of lines that never came.
#[test]
fn an_archive_that_two_processes_wrote_keeps_no_more_blocks_than_the_reserve() {
    let disk = FakeDisk::with_capacity(1 << 30);
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(500)));
    bench.log(Level::Info);
    bench.step();
    disk.append(PATH, b"a line of another process\n");
    bench.pass(Duration::from_secs(1));
    bench.step();
    let free = disk.world().free();
    bench.log_some(100);
    bench.step();
    let archives = disk.read_named().len() as u64 - 1;
    assert!(archives >= 20, "{archives}");
    let taken = free - disk.world().free();
    assert!(taken <= (archives + 1) * 12 * KIB, "{taken} bytes by {archives} archives of 500 bytes");
}

/// Whoever only touched a log, once, had each later archive keep the blocks of its reserve, until
/// they had filled the disk.
#[test]
fn an_archive_gives_its_blocks_back_once_nobody_else_writes_any_more() {
    let touches: [fn(&FakeDisk); 2] =
        [|disk| disk.append(PATH, b"a line of another process\n"), |disk| disk.world().is_touched = true];
    for touch in touches {
        let disk = FakeDisk::with_capacity(1024 * KIB);
        let mut bench = bench(&disk, |file| file.rotation(Rotation::size(500)));
        bench.log(Level::Info);
        bench.step();
        touch(&disk);
        bench.pass(Duration::from_secs(1));
        bench.log_some(20);
        bench.step();
        disk.world().is_touched = false;
        let before = disk.read_named();
        let free = disk.world().free();
        bench.log_some(100);
        bench.step();
        let text = |files: &[(String, Vec<u8>)]| files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        let files = disk.read_named();
        assert!(files.len() >= before.len() + 20, "{}", files.len());
        let more = (free - disk.world().free()).saturating_sub(text(&files) - text(&before));
        assert!(more <= 24 * KIB, "{more} bytes more beyond the ends of all files");
    }
}

/// As `copytruncate` does it with a log that has had no records yet, or with one that another
/// process has written to before it is looked at again; or a file was cut at its own length (seed
/// 146143). That cannot be seen by the length. Errors were written into room that was not the
/// file's any more, below the reserve of free space.
#[test]
fn what_others_have_cut_off_is_no_room_for_errors_whatever_the_length_is() {
    let cases = [false, true].into_iter().flat_map(|below| {
        [(0, false), (0, true), (20, false), (20, true)].map(|(lines, is_written)| (below, lines, is_written))
    });
    for (below, lines, is_written) in cases {
        let disk = FakeDisk::with_capacity(1024 * KIB);
        let mut bench = bench(&disk, |file| file.min_free_space(64 * KIB));
        bench.log_some(lines);
        bench.step();
        disk.cut_short(PATH, disk.read(PATH).len());
        if is_written {
            disk.append(PATH, b"by another process\n");
        }
        bench.pass(Duration::from_millis(600));
        let len = disk.read(PATH).len() as u64;
        let free = disk.world().free();
        disk.world().filler = free - if below { 2 * KIB } else { 96 * KIB };
        let before = disk.world().free();
        bench.log(Level::Info);
        bench.log(Level::Error);
        bench.step();
        if below {
            assert!(bench.suspended());
            assert_eq!(disk.world().free(), before, "nothing is taken below the reserve");
        } else {
            let taken = before - disk.world().free();
            let is_whole = (len + taken) % (4 * KIB) == 0;
            assert!(is_whole && taken > 4 * KIB, "{taken} bytes: what is kept for errors is taken again");
        }
    }
}

/// Another process wrote into the blocks that are kept for errors, after the last look at the file
/// (seed 7017750): the errors that had been in them by our count went below the reserve of free
/// space.
#[test]
fn what_others_have_written_into_is_no_room_for_errors() {
    let disk = FakeDisk::with_capacity(1024 * KIB);
    let mut bench = bench(&disk, |file| file.min_free_space(64 * KIB));
    bench.log_some(4);
    bench.step();
    let free = disk.world().free();
    disk.world().filler = free - 64 * KIB;
    fill_by_records(&mut bench);
    disk.append(PATH, &[b"by another process ".repeat(200), b"\n".to_vec()].concat());
    let before = disk.world().free();
    for _ in 0..40 {
        bench.log(Level::Error);
        bench.step();
        assert_eq!(disk.world().free(), before, "nothing is taken below the reserve");
    }
    disk.world().filler = 0;
    bench.live(Duration::from_secs(9));
    assert_eq!(bench.handle.state(), State::Healthy);
}

/// The same when the file cannot be looked at just then: what was kept in it was taken to be there
/// still.
#[test]
fn what_cannot_be_seen_to_be_the_files_is_no_room_for_errors() {
    for records in [0, 5] {
        for (number, forever) in [(1, false), (1, true), (2, false), (2, true)] {
            let disk = FakeDisk::with_capacity(1024 * KIB);
            let mut bench = bench(&disk, |file| file.min_free_space(64 * KIB));
            bench.log_some(records);
            bench.step();
            disk.truncate(PATH);
            bench.pass(Duration::from_millis(600));
            let free = disk.world().free();
            disk.world().filler = free - 2 * KIB;
            let at = disk.world().asked(Op::Len) + number;
            disk.world().fault = Some(crate::tests::fake_disk::Fault { at, only: Some(Op::Len), forever, errno: 5 });
            let before = disk.world().free();
            bench.log(Level::Info);
            bench.log(Level::Error);
            bench.step();
            let case = format!("{records} records, number {number}, {forever}");
            assert!(bench.suspended(), "{case}");
            assert_eq!(disk.world().free(), before, "{case}: nothing is taken below the reserve");
        }
    }
}

/// The same when that failed as the blocks were taken: nobody knows what they would be compared
/// with.
#[test]
fn blocks_that_could_not_be_counted_are_no_room_for_errors_once_they_may_be_gone() {
    for number in 1..8 {
        let disk = FakeDisk::with_capacity(1024 * KIB);
        disk.world().fault =
            Some(crate::tests::fake_disk::Fault { at: number, only: Some(Op::Len), forever: false, errno: 5 });
        let mut bench = bench(&disk, |file| file.min_free_space(64 * KIB));
        bench.step();
        disk.truncate(PATH);
        bench.pass(Duration::from_millis(600));
        let free = disk.world().free();
        disk.world().filler = free - 2 * KIB;
        let before = disk.world().free();
        bench.log(Level::Error);
        bench.step();
        assert_eq!(disk.world().free(), before, "number {number}: nothing is taken below the reserve");
    }
}

/// A suspended file was looked at only by the attempts to come back, up to a second apart.
#[test]
fn an_error_is_not_written_after_half_a_line_that_others_left_of_a_suspended_file() {
    let disk = FakeDisk::with_capacity(1024 * KIB);
    let mut bench = bench(&disk, |file| file);
    bench.log_some(20);
    bench.step();
    disk.world().longest = Some(disk.read(PATH).len() as u64);
    bench.log(Level::Error);
    bench.step();
    bench.live(Duration::from_secs(5));
    assert!(bench.suspended());
    disk.cut_short(PATH, 100);
    bench.pass(Duration::from_millis(150));
    bench.log(Level::Error);
    bench.step();
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let glued = text.get(100..).unwrap_or_default();
    assert!(glued.is_empty() || glued.starts_with('\n'), "{text}");
}

/// What a crash of the machine must not take is above all what was written last.
#[test]
fn an_error_that_goes_into_the_reserve_is_synced_as_any_other() {
    let disk = FakeDisk::with_capacity(40 * KIB);
    let mut bench = bench(&disk, |file| file.fsync(crate::sink::log_file::Fsync::AfterErrors));
    fill_by_records(&mut bench);
    for _ in 0..3 {
        let syncs = disk.world().asked(Op::Sync);
        let next = bench.next;
        bench.log(Level::Error);
        bench.step();
        assert_eq!(parse(&[disk.read(PATH)]).records.last(), Some(&next));
        assert_eq!(disk.world().asked(Op::Sync), syncs + 1);
    }
}

#[test]
fn a_sync_of_an_error_in_the_reserve_that_fails_costs_no_record_that_is_not_told() {
    for errno in [5, 28, 122, 30] {
        for forever in [false, true] {
            for at in 1..=3 {
                let story = format!("errno {errno}, forever {forever}, sync {at}");
                let disk = FakeDisk::with_capacity(40 * KIB);
                let mut bench = bench(&disk, |file| file.fsync(crate::sink::log_file::Fsync::AfterErrors));
                fill_by_records(&mut bench);
                let at = disk.world().asked(Op::Sync) + at;
                disk.world().fault = Some(crate::tests::fake_disk::Fault { at, only: Some(Op::Sync), forever, errno });
                for _ in 0..4 {
                    bench.log_some(4);
                    bench.step();
                    bench.assert_identity(&story);
                }
                bench.live(Duration::from_secs(2));
                bench.assert_identity(&story);
                assert!(disk.world().faulted, "{story}");
                disk.world().fault = None;
                disk.world().capacity = Some(1024 * KIB);
                super::invariants::assert_recovery(&mut bench, &disk, &story);
                assert_invariants(&bench, &disk, &story);
            }
        }
    }
}

/// What `full_disk.md` says of a state that stays low: the blocks are the file's own, and nobody
/// loses space to these records.
#[test]
fn below_the_reserve_a_log_is_low_and_takes_all_levels_until_its_blocks_are_used_up_to_those_for_errors() {
    let disk = FakeDisk::with_capacity(16 * 1024 * KIB);
    let mut bench = bench(&disk, |file| file.min_free_space(64 * KIB).retain(0));
    bench.log_some(4);
    bench.step();
    let before = ahead(&disk);
    assert!(before > 100 * KIB, "{before} bytes ahead");
    let free = disk.world().free();
    disk.world().filler = free - 32 * KIB;
    let mut seconds = 0;
    while !bench.suspended() {
        for _ in 0..20 {
            bench.log(Level::Info);
            bench.pass(Duration::from_millis(50));
            bench.step();
        }
        seconds += 1;
        let state = bench.handle.state();
        assert!(matches!(state, State::Low | State::Suspended(Cause::LowSpace)), "{state:?} after {seconds} s");
        assert_eq!(disk.world().free(), 32 * KIB, "nothing is taken below the reserve");
    }
    assert!(seconds > 10, "the state was low for {seconds} s");
    // Less a line that did not fit, and the one that reports the suspension.
    let left = ahead(&disk);
    assert!((4 * KIB - 250..5 * KIB).contains(&left), "{left} bytes ahead");
    bench.log(Level::Error);
    bench.step();
    assert_eq!(bench.handle.stats().dropped.by_level(Level::Error), 0);
}

#[test]
fn no_more_is_taken_ahead_than_the_reserve_and_a_mebibyte() {
    let capacity = 1 << 40;
    let disk = FakeDisk::with_capacity(capacity);
    let mut bench = bench(&disk, |file| file);
    for _ in 0..100 {
        bench.log_some(100);
        bench.step();
        let free = disk.world().free();
        let ahead = capacity - free - disk.read(PATH).len() as u64;
        assert!((4 * KIB..1024 * KIB + 12 * KIB).contains(&ahead), "{ahead} bytes ahead");
    }
    assert!(disk.world().asked(Op::Preallocate) < 10, "a step is so large that it is not taken again each time");
}

#[test]
fn an_interrupted_call_or_a_full_disk_does_not_end_the_reserve() {
    // EINTR, ENOSPC, EDQUOT
    for errno in [4, 28, 122] {
        let disk = FakeDisk::with_capacity(256 * KIB);
        disk.world().fault = Some(Fault { at: 1, only: Some(Op::Preallocate), forever: false, errno });
        let mut bench = bench(&disk, |file| file);
        bench.log_some(1);
        bench.live(Duration::from_secs(3));
        bench.log_some(1);
        bench.live(Duration::from_secs(3));
        let free = disk.world().free();
        let ahead = 256 * KIB - free - disk.read(PATH).len() as u64;
        assert!(ahead >= 4 * KIB, "errno {errno}: {ahead} bytes ahead");
    }
}

#[test]
fn half_of_the_line_that_says_that_it_gets_quiet_is_glued_to_no_error() {
    // So little that no more is taken ahead than the reserve.
    let disk = FakeDisk::with_capacity(280 * KIB);
    let mut bench = bench(&disk, |file| file.min_free_space(64 * KIB));
    let free = disk.world().free();
    disk.world().filler = free - 64 * KIB;
    let writes = disk.world().asked(Op::Write);
    disk.world().short_once = Some((writes + 1, 30));
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Cut), forever: true, errno: 1 });
    bench.log_padded(Level::Info, 6000);
    bench.log(Level::Error);
    bench.step();
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert_eq!(text.lines().next().map(str::len), Some(30), "{text}");
    assert_eq!(parse(&[text.into_bytes()]).records, [1]);
}

/// How many blocks' bytes are the file's beyond its end.
fn ahead(disk: &FakeDisk) -> u64 {
    let len = disk.read(PATH).len() as u64;
    let world = disk.world();
    world.capacity.unwrap() - world.filler - world.free() - len
}

#[test]
fn ordinary_records_leave_the_reserve_whole_however_they_come() {
    // The reserve of free space, and whether all come in one batch.
    for (min_free, at_once) in [(0, false), (0, true), (64 * KIB, false), (64 * KIB, true)] {
        let disk = FakeDisk::with_capacity(600 * KIB);
        let mut bench = bench(&disk, |file| file.retain(0).min_free_space(min_free));
        let free = disk.world().free();
        disk.world().filler = free - min_free - 40 * KIB;
        while !bench.suspended() {
            (0..if at_once { 700 } else { 1 }).for_each(|_| bench.log(Level::Info));
            bench.step();
        }
        let story = format!("{min_free} bytes stay free, all at once: {at_once}");
        assert!(disk.world().free() >= min_free, "{story}");
        assert!(disk.world().free() < min_free + 13 * KIB, "{story}: there was room");
        // Less the line of the suspension, which names what did not fit.
        assert!(ahead(&disk) >= 4 * KIB - 150, "{story}: {} bytes ahead", ahead(&disk));
        let before = bench.handle.stats().dropped.by_level(Level::Error);
        for _ in 0..38 {
            bench.log(Level::Error);
            bench.step();
        }
        assert_eq!(bench.handle.stats().dropped.by_level(Level::Error), before, "{story}");
    }
}

#[test]
fn without_a_reserve_no_blocks_are_taken_and_without_the_lock_none_are_kept() {
    for locked in [false, true] {
        let disk = FakeDisk::with_capacity(600 * KIB);
        disk.world().locked_by_other = locked;
        let reserve = if locked { 64 * KIB } else { 0 };
        let mut bench = bench(&disk, |file| file.retain(0).min_free_space(64 * KIB).error_reserve(reserve));
        fill_by_records(&mut bench);
        assert_eq!(disk.world().asked(Op::Preallocate), 0);
        assert!(disk.world().free() < 64 * KIB + 9 * KIB, "{} bytes are free", disk.world().free());
    }
}

#[test]
fn what_somebody_cut_off_is_the_files_again_a_moment_later() {
    let disk = FakeDisk::with_capacity(600 * KIB);
    let mut bench = bench(&disk, |file| file);
    bench.log_some(20);
    bench.step();
    disk.cut_short(PATH, 100);
    bench.live(Duration::from_secs(2));
    assert!(ahead(&disk) >= 4 * KIB, "{} bytes ahead", ahead(&disk));
}
