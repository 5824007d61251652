//! Archives: what is rotated, when, under which name, and that nothing happens to it afterwards,
//! whatever fails.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use log::Level;

use super::bench::{Bench, PATH, Setup};
use super::invariants::{assert_invariants, assert_recovery, parse};
use crate::event::{Cause, Event, State};
use crate::sink::log_file::{FileOptions, Fsync, WhenLow};
use crate::sink::rotation::Rotation;
use crate::tests::fake_disk::{FakeDisk, Fault, Op};
use crate::{KIB, LogFile};

const EINTR: i32 = 4;
const EIO: i32 = 5;

/// No reserve of free space, and these options.
fn options(file: impl FnOnce(LogFile) -> LogFile) -> FileOptions {
    file(LogFile::new(PATH).min_free_space(0)).options
}

/// The log as it stands: the archives by their names, then the active file.
fn log_files(disk: &FakeDisk) -> Vec<Vec<u8>> {
    let files = disk.read_named().into_iter();
    files.filter(|(name, _)| name.starts_with("/logs/app.")).map(|(_, bytes)| bytes).collect()
}

fn archives(disk: &FakeDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.starts_with("/logs/app.") && name != PATH).collect()
}

/// What the events say of archives: the names they got, and those that were deleted.
fn told(bench: &Bench) -> (Vec<String>, Vec<String>) {
    let events = bench.events.lock().unwrap();
    let rotated = events.iter().filter_map(|event| match event {
        Event::Rotated { archive, .. } => Some(archive.display().to_string()),
        _ => None,
    });
    let deleted = events.iter().filter_map(|event| match event {
        Event::Deleted { path, .. } => Some(path.display().to_string()),
        _ => None,
    });
    (rotated.collect(), deleted.collect())
}

#[test]
fn a_batch_is_split_between_records_and_no_file_is_longer_than_the_limit() {
    for size in [1, 60, 82, 200, 1000, 5000] {
        let disk = FakeDisk::default();
        let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(size)))).bench();
        for _ in 0..5 {
            bench.log_some(37);
            bench.step();
        }
        let files = log_files(&disk);
        let line = 28 + "DEBUG bench: record 100 ".len() + 45;
        for file in &files {
            let lines = file.iter().filter(|byte| **byte == b'\n').count();
            assert!(file.len() as u64 <= size || lines == 1, "{} bytes, the limit is {size}", file.len());
        }
        for file in files.iter().rev().skip(1) {
            assert!(file.len() as u64 + line as u64 > size, "{} bytes were rotated at a limit of {size}", file.len());
        }
        assert_eq!(told(&bench).0, archives(&disk), "the events name the archives, in the order of their names");
        assert_eq!(parse(&files).records, (0..185).collect::<Vec<_>>());
        assert_invariants(&bench, &disk, "split");
    }
}

#[test]
fn an_archive_is_named_for_its_last_record_and_names_sort_by_age() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(300)))).bench();
    for _ in 0..40 {
        bench.log_some(10);
        bench.step();
    }
    let (rotated, _) = told(&bench);
    assert!(rotated.len() > 100, "{} archives", rotated.len());
    assert!(rotated.is_sorted_by(|one, next| one < next));
    assert_invariants(&bench, &disk, "many");
}

/// The clock was wrong for one record, as before a machine's first answer from a time server. The
/// file that held this record was named for it, and so was every later archive, because no name is
/// less than one before it.
#[test]
fn a_clock_that_was_ahead_for_a_moment_names_no_archive() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::hourly()))).bench();
    bench.tells_records_the_time = true;
    const HOUR: Duration = Duration::from_secs(3600);
    let ahead = 8760 * 73 * HOUR;
    bench.log_some(1);
    bench.step();
    bench.now.wall += ahead;
    bench.log_some(1);
    bench.step();
    bench.now.wall -= ahead;
    for _ in 0..3 {
        bench.log_some(1);
        bench.step();
        bench.pass(HOUR);
    }
    let expected = ["01-46-40", "01-46-40", "02-46-40"].map(|time| format!("/logs/app.2001-09-09T{time}"));
    let (rotated, _) = told(&bench);
    assert_eq!(rotated.len(), expected.len(), "{rotated:?}");
    for (name, expected) in rotated.iter().zip(&expected) {
        assert!(name.starts_with(expected), "{rotated:?}");
    }
    assert_eq!(parse(&log_files(&disk)).records, (0..5).collect::<Vec<_>>());
}

#[test]
fn a_restart_goes_on_with_the_file_and_its_names() {
    let disk = FakeDisk::default();
    let mut numbers = 0;
    for _ in 0..5 {
        let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(500)))).bench();
        bench.next = numbers;
        bench.log_some(20);
        bench.step();
        numbers = bench.next;
    }
    assert_eq!(parse(&log_files(&disk)).records, (0..numbers).collect::<Vec<_>>());
}

#[test]
fn on_start_what_is_there_is_rotated_and_nothing_is_if_there_is_nothing() {
    let disk = FakeDisk::default();
    for (start, expected) in [(0, 0), (1, 1), (2, 2)] {
        let mut bench =
            Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::never().on_start()))).bench();
        bench.step();
        for _ in 0..3 {
            bench.log_some(2);
            bench.step();
        }
        assert_eq!(archives(&disk).len(), expected, "start {start}");
    }
}

#[test]
fn nobody_rotates_or_deletes_without_the_lock() {
    let disk = FakeDisk::default();
    disk.append("/logs/app.2001-09-09T01-46-40-0000.log", b"old\n");
    disk.world().locked_by_other = true;
    let mut bench =
        Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(100)).max_files(1))).bench();
    bench.log_some(20);
    bench.live(Duration::from_secs(5));
    bench.handle.rotate();
    bench.step();
    assert_eq!(archives(&disk).len(), 1);
    assert_eq!(parse(&[disk.read(PATH)]).records.len(), 20);
    disk.world().locked_by_other = false;
    bench.live(Duration::from_secs(11));
    assert_eq!(archives(&disk).len(), 0, "with the lock it is the one that deletes");
    bench.log_some(1);
    bench.step();
    assert_eq!(told(&bench).0.len(), 1, "and rotates");
}

#[test]
fn nothing_is_rotated_renamed_or_deleted_while_it_is_suspended() {
    let disk = FakeDisk::with_capacity(64 * KIB);
    let file = options(|file| file.rotation(Rotation::hourly().or_size(2000)).max_files(3));
    let mut bench = Setup::new().file_with(&disk, file).bench();
    bench.log_some(100);
    bench.step();
    bench.live(Duration::from_secs(1));
    let free = disk.world().free();
    disk.world().filler = free;
    bench.log_some(10);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::DiskFull));
    let before = disk.read_named();
    let asked = |disk: &FakeDisk| {
        let world = disk.world();
        [Op::Create, Op::Link, Op::Rename, Op::RenameNew, Op::Remove, Op::List, Op::Sync].map(|op| world.asked(op))
    };
    let count = asked(&disk);
    bench.handle.rotate();
    for _ in 0..100 {
        bench.log_some(10);
        bench.live(Duration::from_secs(2));
    }
    assert_eq!(asked(&disk), count);
    assert_eq!(disk.read_named(), before);
    disk.world().filler = 0;
    bench.live(Duration::from_secs(3));
    assert_eq!(bench.handle.state(), State::Healthy);
    assert!(told(&bench).0.len() > 40 / 10, "and goes on afterwards");
}

#[test]
fn a_new_hour_waits_for_the_end_of_a_suspension() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::hourly()))).bench();
    bench.now.wall = SystemTime::now();
    bench.log_some(5);
    bench.step();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Write), forever: true, errno: EIO });
    bench.log_some(5);
    bench.step();
    assert!(bench.suspended());
    bench.pass(Duration::from_secs(3 * 3600));
    bench.live(Duration::from_secs(20));
    // The line that tells the gap was tried again and again, and is of another hour than the file.
    assert!(disk.world().asked(Op::Write) > 10);
    assert_eq!(disk.world().asked(Op::Create), 0);
    assert_eq!(disk.world().asked(Op::Link), 0);
    disk.world().fault = None;
    bench.live(Duration::from_secs(3));
    assert_eq!(bench.handle.state(), State::Healthy);
    bench.live(Duration::from_secs(6));
    assert_invariants(&bench, &disk, "mended");
}

#[test]
fn a_name_that_is_taken_is_left_alone_whatever_stands_there() {
    let disk = FakeDisk::default();
    // Greater than any name of this century: the next one is known.
    disk.append("/logs/app.2099-01-01T00-00-00-0000.log", b"from the future\n");
    // What the listing does not show: a directory, a link, or a file that somebody makes at this
    // moment.
    disk.append("/logs/app.2099-01-01T00-00-00-0001.log", b"somebody's\n");
    disk.world().unlisted.insert("/logs/app.2099-01-01T00-00-00-0001.log".into());
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(300)))).bench();
    bench.log_some(6);
    bench.step();
    assert_eq!(told(&bench).0[0], "/logs/app.2099-01-01T00-00-00-0002.log");
    assert_eq!(disk.read("/logs/app.2099-01-01T00-00-00-0001.log"), b"somebody's\n");
    assert_eq!(disk.read("/logs/app.2099-01-01T00-00-00-0000.log"), b"from the future\n");
}

#[test]
fn a_rotation_that_fails_leaves_the_old_file_is_told_and_is_tried_again_with_a_back_off() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(500)))).bench();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Link), forever: true, errno: EIO });
    for _ in 0..100 {
        bench.log_some(3);
        bench.live(Duration::from_millis(100));
    }
    let tried = disk.world().asked(Op::Link);
    assert!((3..=5).contains(&tried), "{tried} attempts in 10 s");
    assert_eq!(archives(&disk).len(), 0);
    let events = bench.events.lock().unwrap().clone();
    let failed = events.iter().filter(|event| matches!(event, Event::Failed { doing: "rotate", .. })).count();
    assert_eq!(failed as u64, tried);
    assert!(String::from_utf8_lossy(&disk.read(PATH)).contains(" WARN  unfazed: failed to rotate times="));
    disk.world().fault = None;
    bench.live(Duration::from_secs(60));
    bench.log_some(1);
    bench.step();
    assert_eq!(archives(&disk).len(), 1);
    assert_invariants(&bench, &disk, "mended");
}

#[test]
fn a_size_limit_of_the_system_is_cured_by_a_rotation() {
    let disk = FakeDisk::default();
    disk.world().longest = Some(1000);
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(5000)))).bench();
    for _ in 0..5 {
        bench.log_some(20);
        bench.step();
    }
    assert_eq!(bench.handle.state(), State::Healthy);
    assert_eq!(bench.handle.stats().dropped.total(), 0);
    assert!(log_files(&disk).len() > 8);
    assert_invariants(&bench, &disk, "a size limit");
}

#[test]
fn the_line_that_tells_the_gap_keeps_to_the_size_too() {
    let disk = FakeDisk::with_capacity(64 * KIB);
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(900)))).bench();
    for _ in 0..20 {
        bench.log_some(7);
        bench.step();
        let free = disk.world().free();
        disk.world().filler += free;
        bench.log_some(3);
        bench.step();
        assert!(bench.suspended());
        disk.world().filler = 0;
        bench.live(Duration::from_secs(3));
        assert!(!bench.suspended());
    }
    for file in log_files(&disk) {
        assert!(file.len() <= 900, "{} bytes", file.len());
    }
    assert_invariants(&bench, &disk, "gaps");
}

#[test]
fn what_the_program_asks_for_comes_after_what_it_logged_before() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file)).bench();
    bench.handle.rotate();
    bench.step();
    assert_eq!(archives(&disk).len(), 0, "an empty file stays");
    bench.log_some(5);
    bench.handle.rotate();
    bench.log_some(3);
    bench.step();
    bench.step();
    let files = log_files(&disk);
    assert_eq!(parse(&files[..1]).records, [0, 1, 2, 3, 4]);
    assert_eq!(parse(&files[1..]).records, [5, 6, 7]);
    bench.handle.rotate();
    bench.handle.rotate();
    bench.step();
    bench.step();
    assert_eq!(told(&bench).0.len(), 2, "twice before the writer looks is once");
    assert_eq!(disk.read(PATH), b"");
    // logrotate without a signal in between, and then its postrotate.
    bench.log_some(2);
    bench.step();
    disk.rename(PATH, "/logs/app.log.1");
    bench.handle.reopen();
    bench.step();
    bench.log_some(1);
    bench.step();
    assert_eq!(parse(&[disk.read("/logs/app.log.1")]).records, [8, 9]);
    assert_eq!(parse(&[disk.read(PATH)]).records, [10]);
}

/// The turn that saw the order took a record first: what was logged after `reopen` went into a file
/// that logrotate had compressed and deleted.
#[test]
fn an_order_with_nothing_before_it_comes_before_the_next_record() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file)).bench();
    bench.log_some(2);
    bench.step();
    bench.handle.rotate();
    bench.log_some(1);
    bench.step();
    let files = log_files(&disk);
    assert_eq!(parse(&files[..1]).records, [0, 1]);
    assert_eq!(parse(&files[1..]).records, [2]);
    disk.delete(PATH);
    bench.handle.reopen();
    bench.log_some(1);
    bench.step();
    assert_eq!(parse(&[disk.read(PATH)]).records, [3]);
}

#[test]
fn an_order_waits_for_all_the_records_before_it_and_for_none_after_it() {
    let disk = FakeDisk::default();
    let mut bench = Setup { capacity: 20_000, ..Setup::new() }.file_with(&disk, options(|file| file)).bench();
    for _ in 0..9000 {
        bench.log(Level::Error);
    }
    bench.handle.rotate();
    for _ in 0..10 {
        bench.log(Level::Error);
    }
    while bench.handle.stats().pending > 0 {
        bench.step();
    }
    let files = log_files(&disk);
    assert_eq!(parse(&files[..1]).records, (0..9000).collect::<Vec<_>>());
    assert_eq!(parse(&files[1..]).records, (9000..9010).collect::<Vec<_>>());
}

#[test]
fn a_file_that_somebody_cuts_short_is_followed() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(1000)))).bench();
    bench.log_some(8);
    bench.step();
    disk.truncate(PATH);
    bench.live(Duration::from_secs(1));
    bench.log_some(8);
    bench.step();
    assert_eq!(archives(&disk).len(), 0, "the size is counted from where it was cut");
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(text.contains(" WARN  unfazed: the log file was cut short bytes_cut_off="), "{text}");
    assert_eq!(parse(&[text.into_bytes()]).records, (8..16).collect::<Vec<_>>());
}

#[test]
fn what_a_crash_has_left_is_cleaned_at_the_start() {
    let disk = FakeDisk::default();
    disk.append(PATH, b"first\n");
    disk.append("/logs/.app.log.0000beef.new", b"");
    disk.append("/logs/.app.2001-01-01T00-00-00-0000.log.gz.0000beef.new", b"half\n");
    disk.append("/logs/.app.log.other", b"not ours\n");
    disk.append("/logs/app.2001-01-01T00-00-00-0000.log", b"older\n");
    disk.link(PATH, "/logs/app.2001-09-09T01-46-40-0000.log");
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(10_000)))).bench();
    bench.step();
    bench.log_some(1);
    bench.step();
    let expected = ["/logs/.app.log.other", "/logs/app.2001-01-01T00-00-00-0000.log", PATH];
    assert_eq!(disk.names(), expected);
    assert!(disk.read(PATH).starts_with(b"first\n"));
}

/// A kill between the first line of the next file and its renaming left that line in a file that
/// the next start deleted.
#[test]
fn the_records_of_an_interrupted_rotation_become_an_archive_after_that_of_the_active_file() {
    // (what the active file holds then, what is read of the files in their order)
    let cases: [(&[u8], &[&[u8]]); 2] = [
        (b"first\n", &[b"older\n", b"first\n", b"second\n", b"third\n"]),
        (b"", &[b"older\n", b"second\n", b"third\n"]),
    ];
    for (active, expected) in cases {
        let disk = FakeDisk::default();
        disk.append("/logs/app.2001-01-01T00-00-00-0000.log", b"older\n");
        disk.append(PATH, active);
        disk.append("/logs/.app.log.0000beef.new", b"second\n");
        disk.append("/logs/.app.log.0000cafe.new", b"third\n");
        let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(10_000)))).bench();
        for _ in 0..3 {
            bench.log_some(1);
            bench.live(Duration::from_secs(1));
        }
        let files = log_files(&disk);
        let (last, archives) = files.split_last().unwrap();
        assert_eq!(archives, expected, "{:?}", disk.names());
        assert_eq!(parse(std::slice::from_ref(last)).records, [0, 1, 2]);
        assert_eq!(told(&bench).0.len(), expected.len() - 1, "each new archive is an event");
    }
}

#[test]
fn only_what_is_ours_by_its_whole_name_is_deleted_the_oldest_first() {
    let disk = FakeDisk::default();
    let ours = ["2001-01-01T00-00-00-0000.log", "2001-01-02T00-00-00-0000.log.gz", "2001-01-03T00-00-00-0000.log"];
    let strangers = ["2001-01-01.log", "2001-01-01T00-00-00-0000.log.bak", "log.1", "2001-01-01T00-00-00-0000.txt"];
    for name in ours.iter().chain(&strangers) {
        disk.append(&format!("/logs/app.{name}"), b"something\n");
    }
    disk.append("/other/app.2001-01-01T00-00-00-0000.log", b"another directory\n");
    disk.append("/logs/app.2001-01-04T00-00-00-0000.log", b"");
    let mut bench = Setup::new().file_with(&disk, options(|file| file.max_files(2))).bench();
    bench.step();
    let (_, deleted) = told(&bench);
    let expected = ["2001-01-01T00-00-00-0000.log", "2001-01-02T00-00-00-0000.log.gz", "2001-01-04T00-00-00-0000.log"];
    assert_eq!(deleted, expected.map(|name| format!("/logs/app.{name}")));
    assert_eq!(disk.names().len(), 1 + 1 + strangers.len() + 1);
}

#[test]
fn the_limits_hold_after_each_rotation_and_as_time_goes_by() {
    let disk = FakeDisk::default();
    disk.world().wall = Some(SystemTime::now());
    let file = options(|file| {
        file.rotation(Rotation::size(500)).max_files(6).max_total_size(2000).max_age(Duration::from_secs(3600))
    });
    let mut bench = Setup::new().file_with(&disk, file).bench();
    bench.now.wall = SystemTime::now();
    for _ in 0..50 {
        bench.log_some(2);
        bench.step();
        let files = log_files(&disk);
        assert!(files.len() <= 6, "{} files", files.len());
        let total: usize = files.iter().map(Vec::len).sum();
        assert!(total <= 2000, "{total} bytes");
    }
    assert!(!archives(&disk).is_empty());
    bench.live(Duration::from_secs(30));
    bench.pass(Duration::from_secs(3600));
    bench.live(Duration::from_secs(61));
    assert!(archives(&disk).is_empty(), "{:?}", archives(&disk));
    let stats = bench.handle.stats();
    assert_eq!(stats.written, 100);
}

#[test]
fn room_is_made_only_if_that_was_chosen_and_each_deletion_is_told() {
    for when_low in [WhenLow::Stop, WhenLow::DeleteOldest] {
        let disk = FakeDisk::with_capacity(1024 * KIB);
        for day in 1..=9 {
            disk.append(&format!("/logs/app.2001-01-0{day}T00-00-00-0000.log"), &[b'x'; 40 << 10]);
        }
        let file = options(|file| file.min_free_space(64 * KIB).when_low(when_low));
        let mut bench = Setup::new().file_with(&disk, file).bench();
        bench.log_some(3);
        bench.step();
        assert_eq!(archives(&disk).len(), 9);
        let free = disk.world().free();
        disk.world().filler = free - 64 * KIB;
        bench.log_some(3);
        bench.live(Duration::from_secs(1));
        if when_low == WhenLow::Stop {
            assert_eq!(archives(&disk).len(), 9);
            assert_eq!(bench.handle.state(), State::Suspended(Cause::LowSpace));
            continue;
        }
        // 64 KiB more than the reserve: two files of 40 KiB.
        assert_eq!(archives(&disk).len(), 7);
        assert_eq!(told(&bench).1.len(), 2);
        assert!(!bench.suspended());
        assert_eq!(bench.handle.stats().dropped.total(), 0);
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        assert!(
            text.contains("old log files were deleted to make room old_files_deleted=2 old_bytes_deleted=81920"),
            "{text}"
        );
        // Somebody takes more than all of it, so that no deletion shows: as much goes as is
        // missing, 96 KiB, and then it gets quiet, and stays so.
        let free = disk.world().free();
        disk.world().filler += free + 400 * KIB;
        bench.log_some(3);
        bench.live(Duration::from_secs(5));
        assert_eq!(archives(&disk).len(), 3);
        assert_eq!(bench.handle.state(), State::Suspended(Cause::LowSpace));
        // An old file that comes back meanwhile, from a backup: while it is suspended nothing is
        // deleted.
        disk.append("/logs/app.2001-01-01T00-00-00-0000.log", b"restored\n");
        bench.live(Duration::from_secs(5));
        assert_eq!(archives(&disk).len(), 4);
        disk.world().filler = 0;
        bench.live(Duration::from_secs(3));
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        let gap = text.lines().find(|line| line.contains("logging resumed")).unwrap();
        assert!(gap.ends_with(" old_files_deleted=4 old_bytes_deleted=163840"), "{gap}");
    }
}

#[test]
fn a_full_disk_without_a_reserve_gives_way_too_and_no_more_than_helps() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    for day in 1..=4 {
        disk.append(&format!("/logs/app.2001-01-0{day}T00-00-00-0000.log"), &[b'x'; 40 << 10]);
    }
    let mut bench = Setup::new().file_with(&disk, options(|file| file.when_low(WhenLow::DeleteOldest))).bench();
    bench.step();
    let free = disk.world().free();
    disk.world().filler = free;
    bench.log_some(3);
    bench.step();
    assert_eq!((archives(&disk).len(), bench.suspended()), (2, false));
    assert_eq!(bench.handle.stats().written, 3);
}

/// A suspension that began within a second of a deletion never ended by itself, whatever could have
/// been deleted.
#[test]
fn a_disk_that_fills_up_just_after_a_deletion_gives_way_again_a_second_later() {
    let disk = FakeDisk::with_capacity(1024 * KIB);
    for day in 1..=9 {
        disk.append(&format!("/logs/app.2001-01-0{day}T00-00-00-0000.log"), &[b'x'; 40 << 10]);
    }
    let file = options(|file| file.min_free_space(64 * KIB).when_low(WhenLow::DeleteOldest));
    let mut bench = Setup::new().file_with(&disk, file).bench();
    bench.step();
    let fill = |disk: &FakeDisk| {
        let free = disk.world().free();
        disk.world().filler += free - 64 * KIB;
    };
    for left in [7, 5, 3] {
        fill(&disk);
        bench.log_some(3);
        bench.live(Duration::from_millis(100));
        if left < 7 {
            assert_eq!((archives(&disk).len(), bench.suspended()), (left + 2, true), "not twice within a second");
            bench.live(Duration::from_millis(1200));
        }
        assert_eq!((archives(&disk).len(), bench.suspended()), (left, false));
    }
}

/// An attempt that deleted nothing used up what may be deleted until something is written again.
#[test]
fn an_attempt_to_make_room_that_deletes_nothing_is_not_the_last_one() {
    for fails in [Op::List, Op::Remove] {
        let disk = FakeDisk::with_capacity(1024 * KIB);
        for day in 1..=9 {
            disk.append(&format!("/logs/app.2001-01-0{day}T00-00-00-0000.log"), &[b'x'; 40 << 10]);
        }
        let file = options(|file| file.min_free_space(64 * KIB).when_low(WhenLow::DeleteOldest));
        let mut bench = Setup::new().file_with(&disk, file).bench();
        bench.step();
        let free = disk.world().free();
        disk.world().filler += free - 64 * KIB;
        disk.world().fault = Some(Fault { at: 1, only: Some(fails), forever: true, errno: 5 });
        bench.log_some(3);
        bench.live(Duration::from_millis(500));
        disk.world().fault = None;
        assert_eq!((archives(&disk).len(), bench.suspended()), (9, true), "{fails:?}");
        bench.live(Duration::from_secs(3));
        assert_eq!((archives(&disk).len(), bench.suspended()), (7, false), "{fails:?}");
    }
}

/// The last words of a logger said what was lost, and took room for it; nobody was told which file
/// that had cost.
#[test]
fn what_goes_for_the_last_line_of_all_is_told_too() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    for day in 1..=4 {
        disk.append(&format!("/logs/app.2001-01-0{day}T00-00-00-0000.log"), &[b'x'; 40 << 10]);
    }
    let file = options(|file| file.when_low(WhenLow::DeleteOldest));
    let mut bench = Setup { capacity: 4, ..Setup::new() }.file_with(&disk, file).bench();
    // Once at once, and not again within five seconds.
    for _ in 0..2 {
        bench.log_some(8);
        bench.step();
        bench.step();
    }
    let free = disk.world().free();
    disk.world().filler = free;
    let answer = bench.pipeline.ask_without_waiting(true);
    assert!(bench.step().ended);
    assert_eq!(answer.try_recv().unwrap(), Ok(()));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert_eq!(text.matches(" dropped ").count(), 2, "{text}");
    assert_eq!((archives(&disk).len(), told(&bench).1.len()), (2, 2));
}

#[test]
fn a_symbolic_link_is_made_to_lead_to_the_file() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file.symlink("/var/current"))).bench();
    bench.step();
    let pointers = disk.world().pointers.clone();
    assert_eq!(pointers, BTreeMap::from([("/var/current".into(), PATH.into())]));
}

#[test]
fn a_first_line_that_does_not_go_in_leaves_everything_as_it_was() {
    let disk = FakeDisk::with_capacity(64 * KIB);
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(1000)))).bench();
    while disk.read(PATH).len() < 950 {
        bench.log(Level::Info);
        bench.step();
    }
    // FreeSpace for the first bytes of the line.
    let free = disk.world().free();
    disk.world().filler = free - 10;
    bench.log(Level::Info);
    bench.step();
    assert_eq!(disk.names(), [PATH]);
    assert!(bench.suspended());
    disk.world().filler = 0;
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "freed");
    assert_eq!(archives(&disk).len(), 1);
}

#[test]
fn all_but_the_newest_archive_are_compressed_one_at_a_time_and_counted() {
    let disk = FakeDisk::with_capacity(1024 * KIB);
    let mut file = options(|file| file.rotation(Rotation::size(1000)).max_total_size(4000));
    file.compress = true;
    let mut bench = Setup::new().file_with(&disk, file).bench();
    for _ in 0..3 {
        bench.log_some(15);
        bench.step();
    }
    bench.live(Duration::from_secs(10));
    let names = archives(&disk);
    let (newest, older) = names.split_last().unwrap();
    assert!(newest.ends_with(".log"), "{names:?}");
    assert!(!older.is_empty() && older.iter().all(|name| name.ends_with(".log.gz")), "{names:?}");
    assert!(disk.names().iter().all(|name| !name.contains("/.")), "{:?}", disk.names());
    // They take a tenth: many more fit.
    for _ in 0..40 {
        bench.log_some(10);
        bench.live(Duration::from_secs(1));
    }
    assert!(archives(&disk).len() > 10, "{:?}", archives(&disk));
    let total = 1024 * KIB - disk.world().free();
    assert!(total <= 4000, "{total} bytes");
    assert!(told(&bench).0.is_sorted());
}

#[test]
fn nothing_is_compressed_while_space_is_low_and_a_failure_is_told() {
    let disk = FakeDisk::with_capacity(1024 * KIB);
    let mut file = options(|file| file.rotation(Rotation::size(1000)).min_free_space(64 * KIB));
    file.compress = true;
    let mut bench = Setup::new().file_with(&disk, file).bench();
    disk.world().filler = 1024 * KIB - 200 * KIB;
    bench.log_some(60);
    bench.live(Duration::from_secs(5));
    assert_eq!(bench.handle.state(), State::Low);
    assert_eq!(disk.world().asked(Op::Compress), 0);
    disk.world().filler = 0;
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::CompressWrite), forever: true, errno: EIO });
    bench.live(Duration::from_secs(5));
    let events = bench.events.lock().unwrap().clone();
    assert!(events.iter().any(|event| matches!(event, Event::Failed { doing: "compress an archive", .. })));
    assert!(archives(&disk).iter().all(|name| name.ends_with(".log")));
    disk.world().fault = None;
    // Those that were not tried yet, and a minute later those that failed.
    bench.live(Duration::from_secs(150));
    assert_eq!(archives(&disk).iter().filter(|name| name.ends_with(".log")).count(), 1);
}

/// Archives next to which something else had the compressed name were remembered when they were
/// long gone: one more for each.
#[test]
fn an_archive_that_cannot_be_compressed_is_remembered_only_while_it_is_there() {
    let disk = FakeDisk::default();
    let (old, taken) = ("/logs/app.2001-01-01T00-00-00-0000.log", "/logs/app.2001-01-01T00-00-00-0000.log.gz");
    for name in [old, taken, "/logs/app.2001-01-02T00-00-00-0000.log"] {
        disk.append(name, name.as_bytes());
    }
    let mut file = options(|file| file);
    file.compress = true;
    let mut bench = Setup::new().file_with(&disk, file).bench();
    bench.live(Duration::from_secs(150));
    let failed = |bench: &Bench| {
        let events = bench.events.lock().unwrap();
        events.iter().filter(|event| matches!(event, Event::Failed { doing: "compress an archive", .. })).count()
    };
    assert_eq!((disk.read(taken), failed(&bench)), (taken.as_bytes().to_vec(), 1), "what has the name is left alone");
    disk.delete(old);
    disk.delete(taken);
    bench.live(Duration::from_secs(70));
    // It comes back, as from a backup.
    disk.append(old, b"old\n");
    bench.live(Duration::from_secs(70));
    assert_eq!((disk.read(taken), disk.read(old)), (b"old\n".to_vec(), Vec::new()));
    assert_eq!(failed(&bench), 1);
}

/// What the limits delete at the start has had its name; the next archive got it once more, if the
/// clock had not gone on.
#[test]
fn the_name_of_an_archive_that_was_deleted_at_the_start_is_not_given_again() {
    let disk = FakeDisk::default();
    let old = "/logs/app.2001-09-09T01-46-40-0000.log";
    disk.append(old, b"old\n");
    let mut bench = Setup::new().file_with(&disk, options(|file| file.max_files(1))).bench();
    bench.step();
    bench.tells_records_the_time = true;
    bench.log_some(1);
    bench.step();
    bench.handle.rotate();
    bench.step();
    bench.step();
    let next = "/logs/app.2001-09-09T01-46-40-0001.log";
    assert_eq!(told(&bench), (vec![next.to_owned()], vec![old.to_owned(), next.to_owned()]));
}

/// A rename that was done and reported as failed, without hard links, left the archive's name out
/// of account: when somebody had deleted the file, the next archive got it.
#[test]
fn a_name_that_was_tried_is_not_given_again_whatever_was_reported_and_whoever_deletes_the_file() {
    let disk = FakeDisk::default();
    disk.world().no_links = Some(95);
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(500)))).bench();
    bench.tells_records_the_time = true;
    bench.log_some(3);
    bench.step();
    // The look that would show it fails, too.
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::RenameNew), forever: true, errno: EIO });
    disk.world().fault_is_done = true;
    let at = disk.world().asked(Op::CheckPath) + 3;
    disk.world().other_fault = Some(Fault { at, only: Some(Op::CheckPath), forever: true, errno: EIO });
    bench.log_some(3);
    bench.step();
    let first = archives(&disk);
    assert_eq!(first.len(), 1, "{:?}", disk.names());
    disk.delete(&first[0]);
    (disk.world().fault, disk.world().other_fault) = (None, None);
    bench.pass(Duration::from_millis(200));
    bench.log_some(9);
    bench.step();
    let next = archives(&disk);
    assert!(!next.is_empty() && !next.contains(&first[0]), "{first:?}, then {next:?}");
}

const HOUR: Duration = Duration::from_secs(3600);

fn asked(disk: &FakeDisk, op: Op) -> u64 {
    disk.world().asked(op)
}

/// Records and files are of the time that the bench tells.
fn timed(disk: &FakeDisk, file: FileOptions) -> Bench {
    let mut bench = Setup::new().file_with(disk, file).bench();
    bench.tells_records_the_time = true;
    disk.world().wall = Some(bench.now.wall);
    bench
}

#[test]
fn an_hours_records_are_in_the_hours_file_however_many_batches_they_come_in() {
    let disk = FakeDisk::default();
    let mut bench = timed(&disk, options(|file| file.rotation(Rotation::hourly())));
    for _ in 0..3 {
        for _ in 0..4 {
            bench.log_some(2);
            bench.step();
            bench.pass(Duration::from_secs(60));
        }
        bench.pass(HOUR);
    }
    let records: Vec<_> = log_files(&disk).iter().map(|file| parse(std::slice::from_ref(file)).records.len()).collect();
    assert_eq!(records, [8, 8, 8]);
}

#[test]
fn a_start_on_another_day_puts_the_file_of_the_day_before_aside_under_its_own_time() {
    let disk = FakeDisk::default();
    let daily = || options(|file| file.rotation(Rotation::daily()));
    let mut bench = timed(&disk, daily());
    bench.log_some(1);
    bench.step();
    let now = bench.now;
    drop(bench);
    let mut bench = timed(&disk, daily());
    bench.now = now;
    bench.pass(24 * HOUR);
    bench.log_some(1);
    bench.step();
    assert_eq!(archives(&disk), ["/logs/app.2001-09-09T01-46-40-0000.log"]);
}

/// With a newline in front the line would make the file longer than it may be, by one byte.
#[test]
fn the_newline_that_half_a_line_needs_counts_for_the_size() {
    let line = {
        let disk = FakeDisk::default();
        let mut bench = Setup::new().file_with(&disk, options(|file| file)).bench();
        bench.log_some(1);
        bench.step();
        disk.read(PATH).len() as u64
    };
    for (size, archived) in [(4 + line, 1), (5 + line, 0)] {
        let disk = FakeDisk::default();
        disk.append(PATH, b"half");
        let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(size)))).bench();
        bench.log_some(1);
        bench.step();
        assert_eq!(archives(&disk).len(), archived);
        assert!(log_files(&disk).iter().all(|file| file.len() as u64 <= size));
        assert_eq!(parse(&log_files(&disk)).records, [0]);
    }
}

#[test]
fn half_a_line_at_the_end_of_an_archive_gets_its_newline_unless_the_size_is_reached() {
    for (size, end) in [(1000, "half\n"), (4, "half")] {
        let disk = FakeDisk::default();
        disk.append(PATH, b"half");
        let file = options(|file| file.rotation(Rotation::size(size).on_start()));
        let mut bench = Setup::new().file_with(&disk, file).bench();
        bench.log_some(1);
        bench.step();
        assert_eq!(String::from_utf8(disk.read(&archives(&disk)[0])).unwrap(), end);
    }
}

#[test]
fn a_size_limit_of_the_system_rotates_only_a_file_of_ours_that_holds_something_and_has_a_size() {
    // (rotation, longest file, somebody else has the lock)
    let cases =
        [(Rotation::hourly(), 1000, false), (Rotation::size(100_000), 0, false), (Rotation::size(100_000), 1000, true)];
    for (rotation, longest, locked) in cases {
        let disk = FakeDisk::default();
        (disk.world().longest, disk.world().locked_by_other) = (Some(longest), locked);
        let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(rotation))).bench();
        bench.log_some(50);
        bench.live(Duration::from_secs(5));
        assert_eq!(bench.handle.state(), State::Suspended(Cause::FileTooLarge), "{rotation:?}, {longest}, {locked}");
        assert_eq!(disk.names(), [PATH], "{rotation:?}, {longest}, {locked}");
    }
}

#[test]
fn the_line_that_says_that_it_gets_quiet_keeps_to_the_size_too() {
    for left in [1000, 10] {
        let disk = FakeDisk::with_capacity(1024 * KIB);
        disk.append(PATH, &[b"x".repeat(999), b"\n".to_vec()].concat());
        let file = options(|file| file.rotation(Rotation::size(1000 + left)).min_free_space(64 * KIB));
        let mut bench = Setup::new().file_with(&disk, file).bench();
        bench.step();
        let free = disk.world().free();
        disk.world().filler = free - 64 * KIB;
        bench.log_some(1);
        bench.step();
        assert_eq!(bench.handle.state(), State::Suspended(Cause::LowSpace));
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        assert_eq!(text.contains("logging suspended"), left == 1000, "{left} bytes are left");
    }
}

#[test]
fn a_rotation_that_was_ordered_and_fails_is_done_later_and_one_that_is_done_is_not_done_again() {
    for fails in [false, true] {
        let disk = FakeDisk::default();
        let mut bench = Setup::new().file_with(&disk, options(|file| file)).bench();
        bench.log_some(3);
        bench.step();
        let fault = Fault { at: 1, only: Some(Op::Link), forever: false, errno: EIO };
        disk.world().fault = fails.then_some(fault);
        bench.handle.rotate();
        bench.step();
        assert_eq!(archives(&disk).len(), usize::from(!fails));
        for _ in 0..3 {
            bench.live(Duration::from_secs(2));
            bench.log_some(1);
            bench.step();
        }
        assert_eq!(archives(&disk).len(), 1, "it failed before: {fails}");
    }
}

#[test]
fn an_order_that_failed_is_void_for_a_file_that_is_empty_by_then() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file)).bench();
    bench.log_some(3);
    bench.step();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Link), forever: false, errno: EIO });
    bench.handle.rotate();
    bench.step();
    disk.truncate(PATH);
    bench.live(Duration::from_secs(2));
    bench.log_some(1);
    bench.step();
    assert!(log_files(&disk).iter().all(|file| !file.is_empty()), "an empty file is never rotated");
}

#[test]
fn where_there_are_no_hard_links_a_file_is_rotated_by_its_name_alone() {
    // EPERM, EOPNOTSUPP, EMLINK: there are none, or no more of them, or not for us.
    for errno in [1, 95, 31] {
        let disk = FakeDisk::default();
        disk.world().no_links = Some(errno);
        let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(500)))).bench();
        bench.log_some(30);
        bench.step();
        assert!(archives(&disk).len() > 3, "{errno}: {:?}", disk.names());
        assert_invariants(&bench, &disk, "no hard links");
    }
}

/// On sshfs and mergerfs a rotation failed for ever, "entity not found", and the size was no limit.
#[test]
fn where_a_second_name_is_not_recognised_a_file_is_rotated_by_its_name_alone() {
    let disk = FakeDisk::default();
    disk.world().unstable_ids = true;
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(500)))).bench();
    bench.log_some(30);
    bench.step();
    assert!(archives(&disk).len() > 3, "{:?}", disk.names());
    assert!(log_files(&disk).iter().all(|file| file.len() <= 500));
    let links = disk.world().asked(Op::Link);
    assert_eq!(links, 1, "it is tried once");
    let events = bench.events.lock().unwrap();
    assert!(events.iter().all(|event| matches!(event, Event::Rotated { .. })), "{events:?}");
    drop(events);
    assert_invariants(&bench, &disk, "unstable inode numbers");
}

/// On a network file system the answer to what was done may be lost, and what asks again hears that
/// it cannot be done.
#[test]
fn what_a_network_file_system_has_done_and_denies_is_done() {
    for op in [Op::Link, Op::Rename, Op::RenameNew] {
        let disk = FakeDisk::default();
        // Without hard links both names are given by such a rename.
        disk.world().no_links = (op == Op::RenameNew).then_some(95);
        disk.world().fault = Some(Fault { at: 1, only: Some(op), forever: true, errno: EIO });
        disk.world().fault_is_done = true;
        let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(500)))).bench();
        bench.log_some(30);
        bench.live(Duration::from_secs(1));
        assert!(archives(&disk).len() > 3, "{op:?}: {:?}", disk.names());
        assert!(disk.names().iter().all(|name| !name.contains("/.")), "{:?}", disk.names());
        let events = bench.events.lock().unwrap();
        assert!(events.iter().all(|event| matches!(event, Event::Rotated { .. })), "{op:?}: {events:?}");
        drop(events);
        assert_invariants(&bench, &disk, "denied");
    }
}

/// A link that is denied and done, and no look that shows it, or one that shows another number: the
/// name after it was tried next, and so on, until the file had 20,000.
#[test]
fn a_file_gets_one_name_at_most_where_it_cannot_be_seen_whether_it_got_one() {
    const EACCES: i32 = 13;
    for numbers_are_made_up in [false, true] {
        let disk = FakeDisk::default();
        disk.world().unstable_ids = numbers_are_made_up;
        let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(5000)))).bench();
        bench.log_some(3);
        bench.step();
        disk.world().fault = Some(Fault { at: 1, only: Some(Op::Link), forever: true, errno: EACCES });
        disk.world().fault_is_done = true;
        if !numbers_are_made_up {
            let at = disk.world().asked(Op::CheckPath) + 3;
            disk.world().other_fault = Some(Fault { at, only: Some(Op::CheckPath), forever: true, errno: EIO });
        }
        bench.handle.rotate();
        bench.step();
        assert!(disk.world().faulted && disk.world().other_faulted != numbers_are_made_up);
        assert_eq!(archives(&disk).len(), 1, "{:?}", disk.names());
        (disk.world().fault, disk.world().other_fault) = (None, None);
        bench.live(Duration::from_secs(2));
        bench.log_some(3);
        bench.step();
        assert_invariants(&bench, &disk, "when all is well again");
    }
}

/// The next file has no lock until it has its name, so nobody looked what an interrupted write of
/// its first line had left there, and the line was written twice.
#[test]
fn the_first_line_of_a_new_file_is_not_repeated_if_its_write_was_done_and_called_interrupted() {
    for write in 1..=6 {
        let disk = FakeDisk::default();
        disk.world().fault = Some(Fault { at: write, only: Some(Op::Write), forever: false, errno: EINTR });
        disk.world().fault_is_done = true;
        let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(500)))).bench();
        bench.log_some(30);
        bench.step();
        assert!(archives(&disk).len() > 3 && disk.world().faulted, "{write}");
        assert_invariants(&bench, &disk, "interrupted");
    }
}

#[test]
fn what_stands_at_a_temporary_name_is_left_and_another_is_taken_and_the_real_error_is_told() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file.rotation(Rotation::size(500)))).bench();
    bench.log_some(10);
    bench.step();
    // The next number of this disk is told; that of a real one is not.
    let next = told(&bench).0.len() + 1;
    let other = format!("/logs/.app.log.{next:08x}.new");
    disk.append(&other, b"somebody's\n");
    bench.log_some(10);
    bench.live(Duration::from_secs(1));
    assert!(told(&bench).0.len() > 2);
    assert_eq!(disk.read(&other), b"somebody's\n");
    assert!(log_files(&disk).iter().all(|file| !file.starts_with(b"somebody")));
    bench.events.lock().unwrap().clear();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Create), forever: true, errno: EIO });
    bench.log_some(10);
    bench.live(Duration::from_secs(1));
    let events = bench.events.lock().unwrap();
    let Some(Event::Failed { doing: "rotate", error, .. }) = events.first() else { panic!("{events:?}") };
    assert_eq!(error.raw_os_error(), Some(EIO));
}

#[test]
fn the_first_line_of_a_new_file_is_synced_as_any_other() {
    let disk = FakeDisk::default();
    let file = options(|file| file.rotation(Rotation::size(500)).fsync(Fsync::Every(Duration::from_secs(1))));
    let mut bench = Setup::new().file_with(&disk, file).bench();
    bench.log_some(1);
    bench.step();
    bench.live(Duration::from_secs(2));
    while archives(&disk).is_empty() {
        bench.log_some(1);
        bench.step();
    }
    let synced = asked(&disk, Op::Sync);
    bench.live(Duration::from_secs(2));
    assert_eq!(asked(&disk, Op::Sync), synced + 1, "the line that began the file");
}

#[test]
fn a_file_that_outgrows_the_total_costs_the_oldest_archive_at_once() {
    let disk = FakeDisk::default();
    for day in 1..=2 {
        disk.append(&format!("/logs/app.2001-01-0{day}T00-00-00-0000.log"), &[b'x'; 1000]);
    }
    let mut bench = Setup::new().file_with(&disk, options(|file| file.max_total_size(4000))).bench();
    bench.live(Duration::from_secs(1));
    let lists = asked(&disk, Op::List);
    bench.live(Duration::from_secs(40));
    assert_eq!(asked(&disk, Op::List), lists, "nothing has changed");
    let mut left = Vec::new();
    for _ in 0..60 {
        bench.log_some(1);
        bench.live(Duration::from_millis(100));
        let active = disk.read(PATH).len();
        left.push(archives(&disk).len());
        // What was written since the last look is still to be seen.
        let archived = 1000 * left.last().unwrap();
        assert!(archived == 0 || active + archived < 4400, "{active} bytes next to {left:?}");
    }
    assert!(left.starts_with(&[2]) && left.contains(&1) && left.ends_with(&[0]), "{left:?}");
}

/// Puts archives of one line each on the disk.
fn put_archives(disk: &FakeDisk, count: usize) {
    for number in 0..count {
        let (minute, second) = (number / 60, number % 60);
        let name = format!(
            "/logs/app.2001-01-{:02}T{:02}-{:02}-{second:02}-0000.log",
            1 + minute / 1440,
            minute / 60 % 24,
            minute % 60
        );
        disk.append(&name, b"x\n");
    }
}

/// 40 000 archives were deleted in one go, and nothing was written meanwhile. Each rotation looked
/// at all of those that stayed.
#[test]
fn many_archives_are_deleted_a_few_at_a_time_and_looked_at_once_a_minute() {
    let disk = FakeDisk::default();
    put_archives(&disk, 2000);
    let file = options(|file| file.rotation(Rotation::size(500)).max_files(1001));
    let mut bench = Setup::new().file_with(&disk, file).bench();
    let mut most = 0;
    let mut turns = 0;
    while archives(&disk).len() > 1000 {
        let (removed, seen) = (asked(&disk, Op::Remove), disk.world().looked_at);
        let made = told(&bench).0.len() as u64;
        bench.log_some(5);
        bench.step();
        bench.pass(Duration::from_millis(1));
        let made = told(&bench).0.len() as u64 - made;
        most = most.max((asked(&disk, Op::Remove) - removed).saturating_sub(2 * made));
        let seen = disk.world().looked_at - seen;
        assert!(seen <= 2 * (256 + 16 + 1) + 4 * made, "{seen} looks in a turn, which looks twice; {made} rotations");
        turns += 1;
        assert!(turns < 200, "{} archives are left", archives(&disk).len());
    }
    assert!(most <= 2 * 16, "{most} deletions in a turn, which looks twice, next to two for each rotation");
    let (rotated, looked_at) = (told(&bench).0.len() as u64, disk.world().looked_at);
    assert!(rotated > 20, "{rotated} rotations");
    // The list at the start; then each deletion looks at what it deletes, each rotation at what it
    // made.
    assert!(looked_at < 2000 + 2 * (1000 + rotated), "{looked_at} looks, {rotated} rotations");
    assert_eq!(bench.handle.stats().dropped.total(), 0);
    assert_invariants(&bench, &disk, "many archives");
}

/// They were deleted between two batches alone: 5000 records in files of one each left 4889 files
/// where four were allowed.
#[test]
fn a_file_that_is_rotated_hundreds_of_times_in_a_batch_keeps_to_its_limits() {
    for there in [0, 3, 300] {
        let disk = FakeDisk::default();
        put_archives(&disk, there);
        let file = options(|file| file.rotation(Rotation::size(1)).max_files(4).max_total_size(1000));
        let mut bench = Setup::new().file_with(&disk, file).bench();
        for batch in 0..10 {
            bench.log_some(300);
            bench.step();
            let files = log_files(&disk);
            // What was there at the start is listed first, two for each rotation.
            assert!(files.len() <= 4 || there > 3 && batch == 0, "{} files, {there} at the start", files.len());
        }
        assert_eq!(bench.handle.stats().written, 3000);
        assert!(told(&bench).0.len() > 2900);
        assert_invariants(&bench, &disk, "rotated with each record");
    }
}

#[test]
fn many_archives_are_compressed_without_a_look_at_all_of_them_for_each() {
    let disk = FakeDisk::default();
    put_archives(&disk, 100);
    let mut file = options(|file| file);
    file.compress = true;
    let mut bench = Setup::new().file_with(&disk, file).bench();
    for _ in 0..110 {
        bench.step();
        bench.pass(Duration::from_millis(600));
    }
    let compressed = archives(&disk).iter().filter(|name| name.ends_with(".gz")).count();
    assert_eq!((compressed, archives(&disk).len()), (99, 100), "the newest stays plain");
    // Two lists, a minute apart, and one look for each that was compressed.
    assert!(disk.world().looked_at <= 3 * 100, "{} looks", disk.world().looked_at);
}

/// A kill between the compressed form's name and the removal of the plain one leaves both. They
/// counted as two archives, and one archive too many was deleted.
#[test]
fn both_forms_of_one_archive_count_as_one_archive() {
    let log = || LogFile::new(PATH).min_free_space(0);
    let days = ["2001-01-01", "2001-01-02"];
    let cases = [
        (log().max_files(3), 0),
        (log().max_total_size(2300), 0),
        (log().max_files(2), 1),
        (log().max_total_size(1300), 1),
        (log().max_files(1), 2),
    ];
    for (file, gone) in cases {
        let disk = FakeDisk::default();
        disk.append("/logs/app.2001-01-01T00-00-00-0000.log", &[b'x'; 1000]);
        disk.append("/logs/app.2001-01-02T00-00-00-0000.log", &[b'x'; 1000]);
        disk.append("/logs/app.2001-01-02T00-00-00-0000.log.gz", &[b'x'; 500]);
        let mut bench = Setup::new().file_with(&disk, file.options).bench();
        bench.log_some(1);
        bench.live(Duration::from_secs(1));
        let deleted: Vec<_> = days[..gone].iter().map(|day| format!("/logs/app.{day}T00-00-00-0000.log")).collect();
        assert_eq!(told(&bench).1, deleted, "one event for each archive");
        let left = archives(&disk);
        assert_eq!(left.len(), [3, 2, 0][gone], "{left:?}");
    }
}

/// The newest archive stays plain, unless a kill came after its compressed form was whole.
#[test]
fn the_plain_form_that_a_kill_has_left_is_removed_even_of_the_newest_archive() {
    let disk = FakeDisk::default();
    disk.append("/logs/app.2001-01-01T00-00-00-0000.log", b"x\n");
    let compressed = "/logs/app.2001-01-01T00-00-00-0000.log.gz";
    disk.append(compressed, b"x\n");
    disk.world().make_compressed(compressed);
    let mut file = options(|file| file);
    file.compress = true;
    let mut bench = Setup::new().file_with(&disk, file).bench();
    bench.log_some(1);
    bench.live(Duration::from_secs(1));
    assert_eq!(archives(&disk), [compressed]);
}

#[test]
fn without_a_rotation_or_a_limit_nobody_looks_for_archives() {
    let disk = FakeDisk::default();
    disk.append("/logs/app.2001-01-01T00-00-00-0000.log", b"");
    let mut bench = Setup::new().file_with(&disk, options(|file| file)).bench();
    bench.log_some(10);
    bench.live(Duration::from_secs(130));
    assert_eq!((asked(&disk, Op::List), archives(&disk).len()), (0, 1));
}

#[test]
fn with_a_limit_they_are_looked_through_once_a_minute() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file.max_files(3))).bench();
    bench.log_some(10);
    bench.live(Duration::from_secs(600));
    assert_eq!(asked(&disk, Op::List), 10);
}

#[test]
fn an_archive_that_somebody_else_deleted_is_no_failure_and_one_that_cannot_be_is_told() {
    for (errno, failures) in [(2, 0), (13, 1)] {
        let disk = FakeDisk::default();
        disk.append("/logs/app.2001-01-01T00-00-00-0000.log", b"x\n");
        disk.world().fault = Some(Fault { at: 1, only: Some(Op::Remove), forever: true, errno });
        let mut bench = Setup::new().file_with(&disk, options(|file| file.max_files(1))).bench();
        bench.log_some(1);
        bench.live(Duration::from_secs(1));
        let events = bench.events.lock().unwrap();
        let failed = |event: &&Event| matches!(event, Event::Failed { doing: "delete an archive", .. });
        assert_eq!(events.iter().filter(failed).count(), failures, "{events:?}");
    }
}

#[test]
fn what_is_being_compressed_is_not_taken_for_what_a_crash_has_left() {
    let disk = FakeDisk::default();
    for day in 1..=2 {
        disk.append(&format!("/logs/app.2001-01-0{day}T00-00-00-0000.log"), b"x\n");
    }
    let mut file = options(|file| file.max_files(9));
    file.compress = true;
    let mut bench = Setup::new().file_with(&disk, file).bench();
    bench.step();
    let begun = disk.world().compressing.as_ref().map(|(dir, what)| dir.join(&what.unfinished)).unwrap();
    let begun = begun.display().to_string();
    disk.append(&begun, b"half");
    // Nothing else is left over, so nothing is removed by whoever looks for that.
    let other = "/logs/.app.2001-01-03T00-00-00-0000.log.gz.0000beef.new";
    disk.append(other, b"left");
    bench.pass(Duration::from_secs(61));
    let removed = asked(&disk, Op::Remove);
    bench.step();
    assert_eq!((asked(&disk, Op::Remove) - removed, disk.names().contains(&other.to_owned())), (1, false));
    bench.live(Duration::from_secs(5));
    assert!(disk.names().iter().any(|name| name.ends_with("2001-01-01T00-00-00-0000.log.gz")), "{:?}", disk.names());
}

#[test]
fn a_compression_for_which_there_was_no_room_is_begun_again_a_minute_later() {
    let disk = FakeDisk::default();
    for day in 1..=2 {
        disk.append(&format!("/logs/app.2001-01-0{day}T00-00-00-0000.log"), b"x\n");
    }
    let mut file = options(|file| file);
    file.compress = true;
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::CompressWrite), forever: false, errno: 28 });
    let mut bench = Setup::new().file_with(&disk, file).bench();
    bench.live(Duration::from_secs(50));
    assert_eq!(asked(&disk, Op::Compress), 1);
    bench.live(Duration::from_secs(20));
    assert_eq!(asked(&disk, Op::Compress), 2);
    assert!(archives(&disk)[0].ends_with(".gz"), "{:?}", archives(&disk));
    let events = bench.events.lock().unwrap();
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn the_name_of_an_ordered_rotation_comes_after_those_that_are_there_although_no_clock_says_so() {
    let disk = FakeDisk::default();
    disk.append("/logs/app.2030-01-01T00-00-00-0000.log", b"x\n");
    let mut bench = Setup::new().file_with(&disk, options(|file| file)).bench();
    bench.log_some(1);
    bench.step();
    bench.handle.rotate();
    bench.step();
    assert_eq!(told(&bench).0, ["/logs/app.2030-01-01T00-00-00-0001.log"]);
}

/// Within a moment of the last look nobody sees that the path leads elsewhere, but whoever deletes.
#[test]
fn the_archives_of_a_file_that_somebody_has_just_replaced_are_left_to_its_writer() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file_with(&disk, options(|file| file.max_files(1))).bench();
    bench.log_some(1);
    bench.step();
    bench.pass(Duration::from_millis(59_950));
    bench.log_some(1);
    bench.step();
    disk.rename(PATH, "/logs/elsewhere");
    disk.append(PATH, b"of somebody else\n");
    disk.append("/logs/app.2001-01-01T00-00-00-0000.log", b"of somebody else, too\n");
    bench.pass(Duration::from_millis(60));
    bench.log_some(1);
    bench.step();
    assert_eq!(archives(&disk).len(), 1);
}

#[test]
fn where_nothing_is_to_be_compressed_that_is_looked_for_once_a_minute() {
    let disk = FakeDisk::default();
    let mut file = options(|file| file);
    file.compress = true;
    let mut bench = Setup::new().file_with(&disk, file).bench();
    bench.log_some(1);
    bench.live(Duration::from_secs(600));
    assert!(asked(&disk, Op::List) <= 2 * 11, "{} times", asked(&disk, Op::List));
}

/// The list was begun again every minute. Whoever planted so many names that a whole one took
/// longer had switched retention off.
#[test]
fn archives_are_deleted_however_long_it_takes_to_list_them() {
    let disk = FakeDisk::default();
    for n in 0..600 {
        disk.append(&format!("/logs/app.2001-09-08T00-{:02}-{:02}-0000.log", n / 60, n % 60), b"archived\n");
    }
    let mut bench = Setup::new().file_with(&disk, LogFile::new(PATH).min_free_space(0).max_files(3).options).bench();
    bench.log_some(1);
    for _ in 0..60 {
        bench.step();
        bench.pass(Duration::from_secs(61));
    }
    assert_eq!(disk.names().len(), 3);
}

/// A next file that could not be removed was gone, or another's directory stood at its name: each
/// rotation after that failed, although nothing was in its way.
#[test]
fn what_is_not_ours_at_the_name_of_a_discarded_file_ends_no_rotation() {
    const EISDIR: i32 = 21;

    let disk = FakeDisk::default();
    let file = LogFile::new(PATH).min_free_space(0).rotation(Rotation::size(200));
    let mut bench = Setup::new().file_with(&disk, file.options).bench();
    bench.log_some(1);
    bench.step();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Rename), forever: false, errno: EISDIR });
    disk.world().other_fault = Some(Fault { at: 1, only: Some(Op::Remove), forever: true, errno: EISDIR });
    bench.log_some(2);
    bench.step();
    let unfinished: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".new")).collect();
    assert_eq!(unfinished.len(), 1, "{:?}", disk.names());
    disk.delete(&unfinished[0]);
    bench.live(Duration::from_secs(2));
    bench.log_some(2);
    bench.step();
    let events = bench.events.lock().unwrap();
    assert!(matches!(events.last(), Some(Event::Rotated { .. })), "{events:?}");
}
