//! The newest WARN and ERROR records of a suspended file: kept in memory within an exact bound,
//! written after the gap line.

use std::time::{Duration, UNIX_EPOCH};

use log::{Level, LevelFilter};

use super::bench::{Bench, PATH, Setup};
use super::invariants::{Parsed, assert_invariants, assert_recovery, parse};
use super::sinks::KeepSink;
use crate::error::FlushError;
use crate::event::{Cause, Event, State};
use crate::format::Format;
use crate::sink::file::{FileSink, Target};
use crate::sink::log_file::{FileOptions, Fsync};
use crate::sink::rotation::Rotation;
use crate::stats::DropReason;
use crate::tests::fake_disk::{FakeDisk, Fault, Op};
use crate::wanted::Wanting;
use crate::{KIB, LogFile, MIB};

/// What a retained line takes in addition to its length.
const LINE_OVERHEAD: u64 = 32;

fn options(file: impl FnOnce(LogFile) -> LogFile) -> FileOptions {
    file(LogFile::new(PATH).min_free_space(0)).options
}

/// A file that retains so many bytes, on a disk that is full from here on.
fn full(disk: &FakeDisk, retain: u64) -> Bench {
    let mut bench = Setup::new().file_with(disk, options(|file| file.retain(retain))).bench();
    bench.step();
    fill(disk);
    bench.log(Level::Info);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::DiskFull));
    bench
}

fn fill(disk: &FakeDisk) {
    let free = disk.world().free();
    disk.world().filler += free;
}

fn free(disk: &FakeDisk) {
    disk.world().filler = 0;
}

fn read(disk: &FakeDisk) -> Parsed {
    parse(&[disk.read(PATH)])
}

fn missing(bench: &Bench, parsed: &Parsed) -> u64 {
    (0..bench.next).filter(|number| !parsed.records.contains(number)).count() as u64
}

fn memory(bench: &Bench) -> u64 {
    bench.writer.memory_retained(0) as u64
}

#[test]
fn warnings_and_errors_that_could_not_be_written_stand_after_the_gap_line_with_their_own_times() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 64 * KIB);
    let mut logged_at = Vec::new();
    for number in 1..=8 {
        bench.pass(Duration::from_millis(130));
        // A record has the time of its call.
        logged_at.push((number, std::time::SystemTime::now()));
        bench.log(if number % 3 == 0 { Level::Error } else { Level::Warn });
        bench.log(Level::Debug);
        bench.step();
    }
    let stats = bench.handle.stats();
    assert_eq!((stats.pending, stats.outputs[0].pending), (8, 8), "what is retained is pending");
    assert_eq!((stats.dropped.disk_full, stats.written), (9, 0));
    bench.assert_identity("suspended");
    free(&disk);
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "freed");
    let parsed = read(&disk);
    assert_eq!(parsed.retained, (0..8).map(|number| 1 + 2 * number).collect::<Vec<_>>());
    assert_eq!((parsed.told, parsed.gaps), (9, 1), "the gap line counts only what is gone");
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let gap = text
        .lines()
        .position(|line| line.contains("logging resumed, 9 records dropped, 8 retained lines follow"))
        .unwrap();
    assert!(text.lines().nth(gap).unwrap().ends_with(" retained=8"), "{text}");
    for ((number, at), line) in logged_at.iter().zip(text.lines().skip(gap + 1)) {
        let secs = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let its = [secs, secs + 1].map(|secs| crate::format::utc_text(UNIX_EPOCH + Duration::from_secs(secs)));
        assert!(its.iter().any(|its| line[..19] == its[..19]), "record {number} at {its:?}: {line}");
    }
}

#[test]
fn the_oldest_goes_when_a_new_one_does_not_fit_and_is_told() {
    // A line of the bench, with so long a number.
    let line = "2026-11-21T09:30:00.123456Z WARN  bench: record 100  end\n".len() as u64 + 40;
    for room in 1..=7 {
        let disk = FakeDisk::with_capacity(MIB);
        let mut bench = full(&disk, room * (line + LINE_OVERHEAD));
        bench.next = 100;
        for _ in 0..20 {
            bench.log(Level::Warn);
            bench.step();
            let pending = bench.handle.stats().pending;
            assert!(pending <= room, "{pending} lines in the room for {room}");
            bench.assert_identity("evicting");
        }
        assert_eq!(bench.handle.stats().pending, room);
        assert_eq!(bench.handle.stats().dropped.by_level(Level::Warn), 20 - room);
        free(&disk);
        bench.live(Duration::from_secs(3));
        let parsed = read(&disk);
        assert_eq!(parsed.retained, (120 - room..120).collect::<Vec<_>>(), "the newest");
        assert_eq!(parsed.told, 20 - room + 1);
        bench.assert_identity("freed");
    }
}

#[test]
fn a_line_that_is_longer_than_the_whole_is_lost_alone() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 1000);
    bench.log(Level::Error);
    bench.log_padded(Level::Error, 1000);
    bench.log(Level::Warn);
    bench.step();
    let stats = bench.handle.stats();
    assert_eq!((stats.pending, stats.dropped.by_level(Level::Error)), (2, 1));
    free(&disk);
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "freed");
    assert_eq!(read(&disk).retained, [1, 3]);
}

#[test]
fn the_memory_is_within_the_bound_to_the_byte_for_lines_of_every_length() {
    for retain in (0..600).chain([4095, 4096, 4097, 64 * KIB - 1, 64 * KIB, 100_003]) {
        let disk = FakeDisk::with_capacity(4 * MIB);
        let mut bench = full(&disk, retain);
        assert_eq!(memory(&bench), 0, "nothing is taken before there is something to retain");
        for number in 0..60 {
            bench.log_padded(Level::Error, number * number % 411);
            bench.step();
            let kept = bench.handle.stats().pending;
            assert_eq!(memory(&bench), if kept > 0 { retain } else { memory(&bench).min(retain) }, "retain {retain}");
            assert!(bench.writer.bytes_retained(0) as u64 <= retain);
            bench.assert_identity("within the bound");
        }
        free(&disk);
        bench.live(Duration::from_secs(3));
        assert_eq!((bench.handle.state(), bench.handle.stats().pending), (State::Healthy, 0));
        assert_eq!(memory(&bench), 0, "it is given back");
        let parsed = read(&disk);
        parsed.assert_order(&bench.ledger, "within the bound");
        assert_eq!(parsed.told, missing(&bench, &parsed), "retain {retain}");
    }
}

#[test]
fn a_million_calls_on_a_suspended_log_take_no_more_memory_than_the_bound() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 64 * KIB);
    let mut records = 1;
    while records < 1_000_000 {
        for number in 0..500 {
            bench.log_padded(Level::Warn, number % 300);
        }
        records += 500;
        bench.step();
        assert_eq!(memory(&bench), 64 * KIB);
    }
    bench.assert_identity("a million");
    free(&disk);
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "freed");
    assert_eq!(memory(&bench), 0);
}

#[test]
fn what_is_retained_of_the_very_batch_that_finds_the_disk_full_is_what_was_after_the_last_line() {
    for left in 0..900 {
        let disk = FakeDisk::with_capacity(MIB);
        let mut bench = Setup::new().file_with(&disk, options(|file| file)).bench();
        bench.step();
        fill(&disk);
        disk.world().filler -= left;
        bench.log_some(40);
        bench.step();
        let story = format!("{left} bytes are left");
        assert!(bench.suspended());
        let written = read(&disk).records.len() as u64;
        let expected: Vec<_> = (written..40).filter(|number| number % 4 < 2).collect();
        assert_eq!(bench.handle.stats().pending, expected.len() as u64, "{story}");
        free(&disk);
        bench.live(Duration::from_secs(2));
        assert_eq!(read(&disk).retained, expected, "{story}");
        bench.live(Duration::from_secs(6));
        assert_invariants(&bench, &disk, &story);
    }
}

#[test]
fn what_was_retained_comes_before_whatever_is_newer() {
    let disk = FakeDisk::with_capacity(4 * MIB);
    // Several batches.
    let mut bench = full(&disk, 700 * KIB);
    for _ in 0..10 {
        for _ in 0..500 {
            bench.log(Level::Error);
        }
        bench.step();
    }
    assert_eq!(bench.handle.stats().pending, 5000);
    free(&disk);
    let writes = disk.world().asked(Op::Write);
    while bench.suspended() {
        bench.log_some(20);
        bench.live(Duration::from_millis(50));
    }
    let batches = disk.world().asked(Op::Write) - writes;
    assert!((8..=12).contains(&batches), "{batches} writes for 500 KiB in batches of 64 KiB");
    bench.log_some(20);
    bench.step();
    bench.live(Duration::from_secs(6));
    let parsed = read(&disk);
    assert!(parsed.records.is_sorted() && parsed.retained.len() >= 5000);
    assert_invariants(&bench, &disk, "freed");
}

#[test]
fn warnings_and_errors_pass_the_gate_and_nothing_below_is_even_formatted() {
    let disk = FakeDisk::with_capacity(MIB);
    let bench = full(&disk, 64 * KIB);
    for level in Level::iter() {
        let closed = bench.pipeline.closed_to(level, Wanting::NOBODY);
        assert_eq!(closed, if level <= Level::Warn { None } else { Some(DropReason::DiskFull) }, "{level}");
    }
    // So little that no line can ever fit.
    for retain in [0, 1, LINE_OVERHEAD] {
        let bench = full(&FakeDisk::with_capacity(MIB), retain);
        assert_eq!(
            bench.pipeline.closed_to(Level::Error, Wanting::NOBODY),
            Some(DropReason::DiskFull),
            "retain {retain}"
        );
    }
}

/// With nothing closed the callers of a suspended log would ring for each ERROR.
#[test]
fn the_gate_of_a_suspended_log_is_never_fully_open_whatever_its_outputs_want() {
    for level in [LevelFilter::Error, LevelFilter::Warn, LevelFilter::Info] {
        let disk = FakeDisk::with_capacity(MIB);
        let sink = FileSink::new(disk.clone(), Target::Path(PATH.into()), options(|file| file));
        let mut bench = Setup::new().output(level, Format::text(), sink).retain(64 * KIB).bench();
        bench.step();
        assert!(
            Level::iter().all(|level| bench.pipeline.closed_to(level, Wanting::NOBODY).is_none()),
            "in health it is open"
        );
        fill(&disk);
        bench.log(Level::Error);
        bench.step();
        assert!(bench.suspended());
        assert_eq!(bench.pipeline.closed_to(Level::Error, Wanting::NOBODY), None);
        assert!(bench.pipeline.closed_to(Level::Trace, Wanting::NOBODY).is_some(), "{level}");
    }
}

/// Two files on disks of their own, each with all that it wants to retain.
fn two_files(disks: &[FakeDisk; 2], retain: [u64; 2]) -> Bench {
    let setup = disks
        .iter()
        .zip(retain)
        .fold(Setup::new(), |setup, (disk, retain)| setup.file_with(disk, options(|file| file.retain(retain))));
    let mut bench = setup.bench();
    bench.step();
    bench
}

#[test]
fn of_two_files_one_that_is_full_gets_later_what_the_other_has_at_once() {
    for first in [0, 1] {
        let disks = [FakeDisk::with_capacity(MIB), FakeDisk::with_capacity(MIB)];
        let mut bench = two_files(&disks, [64 * KIB; 2]);
        fill(&disks[first]);
        bench.log_some(40);
        bench.step();
        let stats = bench.handle.stats();
        assert_eq!((stats.written, stats.pending, stats.dropped.total()), (40, 0, 0), "the other one has them");
        let output = &stats.outputs[first];
        assert_eq!((output.written, output.pending, output.dropped.disk_full), (0, 20, 20));
        bench.assert_identity("one of two");
        free(&disks[first]);
        bench.live(Duration::from_secs(3));
        let stats = bench.handle.stats();
        assert_eq!((stats.written, stats.pending), (40, 0), "no record is counted twice");
        assert_eq!(stats.outputs[first].written, 20);
        assert_eq!(read(&disks[first]).retained.len(), 20);
        assert_eq!(read(&disks[1 - first]).records.len(), 40);
        bench.assert_identity("both");
    }
}

#[test]
fn what_two_files_retain_is_pending_once_and_written_once() {
    for first in [0, 1] {
        let disks = [FakeDisk::with_capacity(MIB), FakeDisk::with_capacity(MIB)];
        let mut bench = two_files(&disks, [64 * KIB; 2]);
        disks.iter().for_each(fill);
        bench.log_some(40);
        bench.step();
        let pending = |bench: &Bench| {
            let stats = bench.handle.stats();
            (stats.pending, stats.written, stats.dropped.total(), stats.outputs[0].pending, stats.outputs[1].pending)
        };
        assert_eq!(pending(&bench), (20, 0, 20, 20, 20));
        free(&disks[first]);
        bench.live(Duration::from_secs(3));
        let left = if first == 0 { (0, 20) } else { (20, 0) };
        assert_eq!(pending(&bench), (0, 20, 20, left.0, left.1));
        bench.assert_identity("one is back");
        free(&disks[1 - first]);
        bench.live(Duration::from_secs(3));
        assert_eq!(pending(&bench), (0, 20, 20, 0, 0));
        bench.assert_identity("both are back");
        assert_eq!(read(&disks[0]).retained, read(&disks[1]).retained);
    }
}

/// The rings are of different sizes and are emptied in both orders: the shorter one lets a record
/// go while the longer one has it, or the longer one has written it before.
#[test]
fn a_record_is_lost_once_every_file_has_lost_it_under_the_reason_of_the_first() {
    let awkward = [0, 100, 333, 1000, 3000, 64 * KIB];
    for retain in awkward.into_iter().flat_map(|one| awkward.map(|other| [one, other])) {
        for ends in [[true, true], [true, false], [false, true], [false, false]] {
            let story = format!("retain {retain:?}, freed {ends:?}");
            let disks = [FakeDisk::with_capacity(MIB), FakeDisk::with_capacity(MIB)];
            let mut bench = two_files(&disks, retain);
            fill(&disks[0]);
            // The second one for another reason.
            disks[1].world().fault = Some(Fault { at: 1, only: Some(Op::Write), forever: true, errno: 5 });
            for turn in 0..12 {
                for number in 0..6 {
                    bench.log_padded([Level::Warn, Level::Error, Level::Info][number % 3], turn * 7 + number);
                }
                bench.step();
                bench.assert_identity(&story);
            }
            let freed = |bench: &mut Bench, which: usize| {
                free(&disks[which]);
                disks[which].world().fault = None;
                bench.live(Duration::from_secs(3));
                bench.assert_identity(&story);
            };
            (0..2).filter(|which| ends[*which]).for_each(|which| freed(&mut bench, which));
            let _ = shutdown(&mut bench);
            let stats = bench.handle.stats();
            bench.assert_identity(&story);
            assert_eq!(stats.pending, 0, "{story}");
            assert!(stats.outputs.iter().all(|output| output.pending == 0), "{story}");
            assert_eq!(stats.dropped.io_error, 0, "{story}: the first one lost them for want of room");
            let mut all: Vec<_> = disks.iter().flat_map(|disk| read(disk).records).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(stats.written, all.len() as u64, "{story}: a record is written once one file has it");
            assert_eq!(stats.dropped.disk_full, bench.next - stats.written, "{story}");
            for (disk, output) in disks.iter().zip(&stats.outputs) {
                let parsed = read(disk);
                assert_eq!(output.written, parsed.records.len() as u64, "{story}");
                parsed.assert_order(&bench.ledger, &story);
            }
        }
    }
}

/// Three files that want different levels and have rings of different sizes, of which any may be
/// full or not at any time.
#[test]
fn the_account_of_three_files_holds_whichever_is_full_when() {
    for seed in 1..=150_u64 {
        let story = format!("seed {seed}");
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut dice = |sides: u64| {
            // Marsaglia's xorshift64.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % sides
        };
        let disks = [(); 3].map(|()| FakeDisk::with_capacity(MIB));
        let mut setup = Setup::new();
        for disk in &disks {
            let level = [LevelFilter::Error, LevelFilter::Warn, LevelFilter::Trace][dice(3) as usize];
            let format = Format::custom(|line, record| match record.message().contains("----- end") {
                true => std::io::Write::write_fmt(line, format_args!("{:?}", record.message())),
                false => panic!("no padding"),
            });
            let format = if dice(4) == 0 { format } else { Format::text() };
            let sink = FileSink::new(disk.clone(), Target::Path(PATH.into()), options(|file| file));
            setup = setup.output(level, format, sink).retain([0, 150, 900, 5000][dice(4) as usize]);
        }
        let mut bench = setup.bench();
        bench.step();
        for _ in 0..60 {
            let which = &disks[dice(3) as usize];
            match dice(4) {
                0 => fill(which),
                1 => free(which),
                2 => {
                    let mut world = which.world();
                    world.filler = world.filler.saturating_sub(dice(2000));
                }
                _ => {}
            }
            for _ in 0..dice(12) {
                let level = [Level::Error, Level::Warn, Level::Info][dice(3) as usize];
                let padding = dice(90) as usize;
                bench.log_padded(level, padding);
            }
            bench.step();
            bench.assert_identity(&story);
            bench.pass(Duration::from_millis(dice(700)));
            bench.step();
            bench.assert_identity(&story);
            let stats = bench.handle.stats();
            let most = stats.outputs.iter().map(|output| output.pending).max().unwrap();
            let sum: u64 = stats.outputs.iter().map(|output| output.pending).sum();
            assert!(stats.pending <= sum && (stats.written > 0 || stats.pending >= most), "{story}: {stats:?}");
        }
        disks.iter().skip(dice(3) as usize).for_each(free);
        let _ = shutdown(&mut bench);
        bench.assert_identity(&story);
        let stats = bench.handle.stats();
        assert_eq!((stats.pending, stats.outputs.iter().map(|output| output.pending).sum()), (0, 0), "{story}");
        let text = disks.each_ref().map(|disk| String::from_utf8(disk.read(PATH)).unwrap());
        let numbers = |text: &str| -> Vec<u64> {
            let after = text.lines().filter_map(|line| line.split_once("record ")?.1.split(' ').next()?.parse().ok());
            after.collect()
        };
        let mut all = Vec::new();
        for (text, output) in text.iter().zip(&stats.outputs) {
            let mut its = numbers(text);
            assert_eq!(its.len() as u64, output.written, "{story}");
            its.sort_unstable();
            its.dedup();
            assert_eq!(its.len() as u64, output.written, "{story}: none twice");
            all.extend(its);
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len() as u64, stats.written, "{story}");
    }
}

fn shutdown(bench: &mut Bench) -> Result<(), FlushError> {
    std::thread::scope(|scope| {
        let handle = bench.handle.clone();
        let asked = scope.spawn(move || handle.shutdown(Duration::MAX));
        while !bench.writer.step(bench.now).ended {
            std::thread::yield_now();
        }
        asked.join().unwrap()
    })
}

/// A full disk with something retained, then freed, and from there on the fault.
fn fails_midway(fault: Option<Fault>, short_once: Option<(u64, usize)>, fsync: Fsync, story: &str) -> bool {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = Setup::new().file_with(&disk, options(|file| file.retain(2500).fsync(fsync))).bench();
    bench.step();
    fill(&disk);
    for _ in 0..6 {
        bench.log_some(8);
        bench.step();
    }
    let pending = bench.handle.stats().pending;
    assert!((15..24).contains(&pending), "{pending} are retained, some were evicted");
    free(&disk);
    let writes = disk.world().asked(Op::Write);
    // Several writes for each batch, so that it can fail inside.
    disk.world().short = Some(333);
    // Counted from here.
    let asked = disk.world().asked_in_all();
    let before = |only: Option<Op>| if only.is_some() { writes } else { asked };
    disk.world().fault = fault.map(|fault| Fault { at: fault.at + before(fault.only), ..fault });
    disk.world().short_once = short_once.map(|(at, len)| (writes + at, len));
    for _ in 0..60 {
        bench.live(Duration::from_millis(100));
        bench.assert_identity(story);
    }
    let before = bench.handle.stats();
    assert!(before.pending + before.written >= pending, "{story}: none of those that were retained is lost");
    disk.world().short_once = None;
    assert_recovery(&mut bench, &disk, story);
    assert_invariants(&bench, &disk, story);
    let stats = bench.handle.stats();
    assert_eq!(stats.dropped.by_level(Level::Warn) + stats.dropped.by_level(Level::Error), 24 - pending, "{story}");
    let (suspended, resumed) = bench.suspensions();
    assert_eq!(suspended, resumed, "{story}");
    disk.world().faulted
}

#[test]
fn whatever_fails_midway_through_what_was_retained_the_rest_comes_later_in_order() {
    let mut runs = 0;
    for fsync in [Fsync::Never, Fsync::AfterErrors] {
        for errno in [28, 5, 27, 122, 11, 30] {
            for forever in [false, true] {
                for only in [None, Some(Op::Write)] {
                    for at in 1.. {
                        let fault = Fault { at, only, forever, errno };
                        runs += 1;
                        if !fails_midway(Some(fault), None, fsync, &format!("{fsync:?} {fault:?}")) {
                            break;
                        }
                    }
                }
            }
        }
    }
    println!("{runs} runs");
    assert!(runs > 500, "only {runs} runs: the loop did not reach the operations");
}

#[test]
fn a_short_write_of_any_length_midway_loses_nothing() {
    for at in 1..=9 {
        for len in (0..340).step_by(7) {
            let story = format!("write {at} takes {len} bytes");
            fails_midway(None, Some((at, len)), Fsync::Never, &story);
            let fault = Fault { at: at + 1, only: Some(Op::Write), forever: false, errno: 28 };
            fails_midway(Some(fault), Some((at, len)), Fsync::Never, &format!("{story}, then {fault:?}"));
        }
    }
}

/// The disk is freed by so little that the gap line goes in and not all after it.
#[test]
fn a_disk_that_is_full_again_midway_gets_the_rest_when_it_can() {
    for room in (0..4000).step_by(37) {
        let disk = FakeDisk::with_capacity(MIB);
        let mut bench = full(&disk, 64 * KIB);
        for _ in 0..30 {
            bench.log(Level::Error);
        }
        bench.step();
        disk.world().filler -= room;
        bench.live(Duration::from_secs(5));
        let story = format!("{room} bytes of room");
        bench.assert_identity(&story);
        assert_eq!(bench.handle.stats().dropped.by_level(Level::Error), 0, "{story}");
        assert!(bench.suspensions().0 <= 6, "{story}: {:?} in 5 s", bench.suspensions());
        free(&disk);
        assert_recovery(&mut bench, &disk, &story);
        assert_invariants(&bench, &disk, &story);
        let parsed = read(&disk);
        assert!(parsed.records[..30].iter().copied().eq(1..=30), "{story}: {:?}", parsed.records);
    }
}

#[test]
fn a_resumption_that_ends_midway_is_told_before_the_suspension() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 64 * KIB);
    for _ in 0..30 {
        bench.log(Level::Error);
    }
    bench.step();
    disk.world().filler -= 1000;
    bench.live(Duration::from_secs(2));
    let told: Vec<_> = bench.events.lock().unwrap().iter().filter_map(word).collect();
    assert_eq!(told, ["suspended", "resumed", "suspended"]);
    assert!(bench.suspended());
    fn word(event: &Event) -> Option<&'static str> {
        match event {
            Event::Suspended { .. } => Some("suspended"),
            Event::Resumed { .. } => Some("resumed"),
            _ => None,
        }
    }
}

#[test]
fn what_is_still_retained_at_the_end_is_lost_and_counted() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 64 * KIB);
    bench.log_some(40);
    bench.step();
    assert_eq!(bench.handle.stats().pending, 20);
    assert_eq!(shutdown(&mut bench), Err(FlushError::Suspended(Cause::DiskFull)));
    let stats = bench.handle.stats();
    assert_eq!((stats.pending, stats.outputs[0].pending), (0, 0));
    assert_eq!((stats.dropped.disk_full, stats.dropped.total()), (41, 41));
    assert_eq!(memory(&bench), 0);
    bench.assert_identity("the end");
}

/// With a little room at the last attempt, as many as fit are in, and a last line tells the others.
#[test]
fn at_the_end_as_many_are_written_as_fit_and_the_others_are_told() {
    let mut told_all = 0;
    for room in (0..5000).step_by(41) {
        let story = format!("{room} bytes of room");
        let disk = FakeDisk::with_capacity(MIB);
        let mut bench = full(&disk, 64 * KIB);
        bench.log_some(40);
        bench.step();
        disk.world().filler -= room;
        let answer = shutdown(&mut bench);
        bench.assert_identity(&story);
        let (stats, parsed) = (bench.handle.stats(), read(&disk));
        assert_eq!(stats.pending, 0, "{story}");
        assert_eq!(parsed.records.len() as u64, stats.written, "{story}");
        assert_eq!(missing(&bench, &parsed), stats.dropped.total(), "{story}");
        parsed.assert_order(&bench.ledger, &story);
        assert!(parsed.told <= stats.dropped.total(), "{story}: nothing is told twice");
        told_all += usize::from(parsed.told == stats.dropped.total());
        // 21 were lost before it was asked.
        assert_eq!(answer.is_ok(), stats.dropped.total() == 21, "{story}");
    }
    assert!(told_all > 10, "{told_all}");
}

/// It said `Ok`: with a line that told the loss the log was well again.
#[test]
fn a_shutdown_does_not_say_ok_for_a_line_for_which_there_was_no_room() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 64 * KIB);
    bench.log_padded(Level::Error, 30_000);
    bench.step();
    disk.world().filler -= 10_000;
    assert_eq!(shutdown(&mut bench), Err(FlushError::Suspended(Cause::DiskFull)));
    let told = read(&disk).told;
    assert_eq!((told, bench.handle.stats().dropped.total()), (2, 2));
}

#[test]
fn past_the_deadline_of_a_shutdown_what_is_retained_is_lost_too() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 64 * KIB);
    bench.log_some(40);
    bench.step();
    assert_eq!(bench.handle.shutdown(Duration::from_millis(5)), Err(FlushError::Timeout));
    assert!(bench.step().ended);
    let stats = bench.handle.stats();
    assert_eq!((stats.pending, stats.outputs[0].pending, stats.dropped.total()), (0, 0, 41));
    bench.assert_identity("past the deadline");
}

#[test]
fn a_flush_says_that_the_log_is_suspended_although_all_is_retained() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 64 * KIB);
    bench.log(Level::Error);
    let answer = std::thread::scope(|scope| {
        let handle = bench.handle.clone();
        let asked = scope.spawn(move || handle.flush(Duration::MAX));
        while !asked.is_finished() {
            bench.writer.step(bench.now);
        }
        asked.join().unwrap()
    });
    assert_eq!(answer, Err(FlushError::Suspended(Cause::DiskFull)));
}

/// A flood of what is retained keeps the queue full.
#[test]
fn a_flush_of_a_suspended_log_answers_at_once_however_much_is_queued() {
    let disk = FakeDisk::with_capacity(MIB);
    let options = options(|file| file);
    let mut bench = Setup { capacity: 20_000, ..Setup::new() }.file_with(&disk, options).bench();
    bench.step();
    fill(&disk);
    bench.log(Level::Info);
    bench.step();
    for _ in 0..20_000 {
        bench.log(Level::Warn);
    }
    std::thread::scope(|scope| {
        let handle = bench.handle.clone();
        let asked = scope.spawn(move || handle.flush(Duration::MAX));
        while !bench.pipeline.has_requests() {
            std::thread::yield_now();
        }
        bench.writer.step(bench.now);
        assert_eq!(asked.join().unwrap(), Err(FlushError::Suspended(Cause::DiskFull)));
    });
    assert!(bench.pipeline.len() > 10_000, "{} are still in the queue", bench.pipeline.len());
}

/// Once a second a gap line went in, and the line after it never.
#[test]
fn a_line_for_which_there_never_is_room_does_not_keep_the_log_from_coming_back() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 64 * KIB);
    bench.log_padded(Level::Error, 30_000);
    bench.log_some(8);
    bench.step();
    disk.world().filler -= 10_000;
    bench.live(Duration::from_secs(5));
    assert_eq!(bench.handle.state(), State::Healthy);
    assert_eq!(bench.handle.stats().dropped.by_level(Level::Error), 1);
    assert_recovery(&mut bench, &disk, "without it");
    assert_invariants(&bench, &disk, "without it");
    let (suspended, resumed) = bench.suspensions();
    assert!(suspended == resumed && suspended <= 4, "{suspended} suspensions");
}

/// The chances that a line had used up in one suspension were missing in the next.
#[test]
fn a_line_has_all_its_chances_in_each_suspension() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = full(&disk, 64 * KIB);
    bench.log_padded(Level::Error, 30_000);
    bench.step();
    // Two chances.
    let little = |bench: &mut Bench| {
        disk.world().filler -= 10_000;
        bench.live(Duration::from_millis(1400));
        assert!(bench.suspended());
    };
    little(&mut bench);
    assert_eq!((bench.suspensions(), bench.handle.stats().pending), ((3, 2), 1));
    free(&disk);
    bench.live(Duration::from_secs(2));
    assert_eq!((bench.handle.state(), bench.handle.stats().pending), (State::Healthy, 0));
    fill(&disk);
    bench.log_padded(Level::Error, 30_000);
    bench.step();
    little(&mut bench);
    assert_eq!((bench.suspensions(), bench.handle.stats().pending), ((6, 5), 1));
    free(&disk);
    bench.live(Duration::from_secs(2));
    assert_eq!(bench.handle.stats().dropped.by_level(Level::Error), 0);
}

#[test]
fn what_was_retained_keeps_to_the_size_of_a_file() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(1000)))).bench();
    bench.step();
    fill(&disk);
    bench.log_some(100);
    bench.step();
    assert!(bench.suspended());
    free(&disk);
    bench.live(Duration::from_secs(9));
    assert!(disk.read_all(PATH).iter().all(|file| file.len() <= 1000));
    assert!(disk.read_all(PATH).len() >= 5);
    let parsed = parse(&disk.read_all(PATH));
    assert_eq!(parsed.records.len(), 50);
    parsed.assert_order(&bench.ledger, "rotated");
}

#[test]
fn a_format_of_the_programs_own_is_used_when_the_record_comes_and_its_panics_are_counted() {
    let disk = FakeDisk::with_capacity(MIB);
    let sink = FileSink::new(disk.clone(), Target::Path(PATH.into()), options(|file| file));
    let format = Format::custom(|line, record| {
        let number: u64 = record.message().split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
        match number % 4 {
            // An empty line is one, too.
            0 => Ok(()),
            1 => panic!("a format that panics"),
            _ => std::io::Write::write_all(line, format!("own {number}").as_bytes()),
        }
    });
    let mut bench = Setup::new().output(LevelFilter::Trace, format, sink).retain(64 * KIB).bench();
    bench.step();
    fill(&disk);
    for _ in 0..12 {
        bench.log(Level::Warn);
        bench.step();
    }
    let stats = bench.handle.stats();
    assert_eq!((stats.pending + stats.written, stats.dropped.panicked), (9, 3));
    free(&disk);
    bench.live(Duration::from_secs(9));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let own: Vec<_> = text.lines().filter(|line| line.starts_with("own ")).collect();
    assert_eq!(own, ["own 2", "own 3", "own 6", "own 7", "own 10", "own 11"], "{text}");
    assert_eq!(bench.handle.stats().written, 9);
    bench.assert_identity("own format");
}

#[test]
fn a_sink_that_panics_over_what_was_retained_loses_that_batch_and_it_is_counted() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).retain(64 * KIB).bench();
    *sink.takes.lock().unwrap() = Some(0);
    bench.log_some(40);
    bench.step();
    assert_eq!(bench.handle.stats().pending, 20);
    *sink.takes.lock().unwrap() = None;
    // The gap line goes in; it panics over what comes after.
    *sink.panics_after.lock().unwrap() = Some(1);
    bench.live(Duration::from_secs(2));
    assert_eq!(bench.handle.state(), State::Suspended(Cause::Io), "a panic is an error of the output");
    *sink.panics_after.lock().unwrap() = None;
    bench.live(Duration::from_secs(2));
    assert_eq!(bench.handle.state(), State::Healthy);
    let stats = bench.handle.stats();
    assert_eq!((stats.pending, stats.dropped.panicked, stats.dropped.io_error), (0, 20, 20));
    bench.log_some(1);
    bench.live(Duration::from_secs(6));
    let parsed = parse(&[sink.kept.lock().unwrap().clone()]);
    assert_eq!((parsed.told, parsed.records), (40, vec![40]));
    bench.assert_identity("panicked");
}

#[test]
fn a_sink_of_the_programs_own_retains_nothing() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).bench();
    *sink.takes.lock().unwrap() = Some(0);
    bench.log_some(4);
    bench.step();
    assert_eq!((bench.handle.stats().pending, bench.handle.stats().dropped.io_error), (0, 4));
    assert!(bench.pipeline.closed_to(Level::Error, Wanting::NOBODY).is_some());
}

#[test]
fn errors_go_into_the_files_reserve_first_and_are_retained_when_that_is_used_up() {
    let disk = FakeDisk::with_capacity(40 * KIB);
    disk.world().reserves = true;
    let mut bench = Setup::new().file_with(&disk, options(|file| file.error_reserve(4 * KIB))).bench();
    bench.step();
    while !bench.suspended() {
        bench.log(Level::Info);
        bench.step();
    }
    let first = bench.next;
    for _ in 0..100 {
        bench.log(Level::Warn);
        bench.log(Level::Error);
        bench.step();
    }
    let stats = bench.handle.stats();
    assert_eq!(stats.dropped.by_level(Level::Error) + stats.dropped.by_level(Level::Warn), 0);
    let errors = read(&disk).records.iter().filter(|number| **number >= first).count() as u64;
    assert!((20..60).contains(&errors), "{errors} errors went into 4 KiB");
    assert_eq!(stats.pending, 200 - errors);
    disk.world().capacity = Some(MIB);
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "freed");
    assert_eq!(read(&disk).retained.len() as u64, 200 - errors);
}

#[test]
fn what_goes_in_line_by_line_goes_in_whole() {
    let sink = KeepSink::default();
    let mut bench = Setup::new().sink(sink.clone()).retain(64 * KIB).bench();
    bench.step();
    *sink.takes.lock().unwrap() = Some(0);
    for _ in 0..8 {
        bench.log(Level::Error);
    }
    bench.step();
    // The gap line, and one of those that were retained; then it begins again.
    *sink.takes.lock().unwrap() = Some(1);
    bench.live(Duration::from_secs(40));
    let stats = bench.handle.stats();
    assert_eq!((stats.written, stats.dropped.total(), stats.pending), (8, 0, 0));
    assert_eq!(parse(&[sink.kept.lock().unwrap().clone()]).records, (0..8).collect::<Vec<_>>());
}

#[test]
fn a_line_that_is_longer_than_a_batch_is_retained_and_written_too() {
    let sink = KeepSink::default();
    let long = Format::custom(|line, record| {
        let padding = if record.message().contains("record 1 ") { 300_000 } else { 0 };
        std::io::Write::write_all(line, &[record.message().as_bytes(), &vec![b' '; padding], b"\n"].concat())
    });
    let setup = Setup::new().output(LevelFilter::Trace, long, sink.clone()).retain(MIB);
    let mut bench = setup.bench();
    bench.step();
    *sink.takes.lock().unwrap() = Some(0);
    for _ in 0..3 {
        bench.log(Level::Error);
    }
    bench.step();
    *sink.takes.lock().unwrap() = None;
    bench.live(Duration::from_secs(9));
    let stats = bench.handle.stats();
    assert_eq!((stats.written, stats.dropped.total()), (3, 0));
    assert!(sink.kept.lock().unwrap().len() > 300_000);
}
