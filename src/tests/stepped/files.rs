//! What happens to a file from outside, and what the log says about it.

use std::io::Write as _;
use std::time::Duration;

use log::{Level, LevelFilter};

use super::bench::{Bench, PATH, Setup};
use super::invariants::{assert_invariants, assert_recovery, parse};
use crate::event::{Cause, Event, State};
use crate::format::Format;
use crate::sink::file::{FileSink, Target};
use crate::sink::log_file::{FileOptions, Fsync};
use crate::sink::opened::OpenedSink;
use crate::tests::fake_disk::{FakeDisk, Fault, Op};
use crate::{KIB, LogFile, MIB};

#[test]
fn a_full_disk_suspends_quietly_and_resumes_with_one_gap_line() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.log_some(10);
    bench.step();
    disk.world().filler = 256 * KIB;
    bench.log_some(10);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::DiskFull));
    bench.log_some(10);
    bench.live(Duration::from_secs(30));
    let stats = bench.handle.stats();
    assert_eq!((stats.dropped.disk_full, stats.pending), (10, 10), "WARN and ERROR are retained");
    assert_eq!(parse(&[disk.read(PATH)]).records.len(), 10);
    disk.world().filler = 0;
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "freed");
    assert_eq!(parse(&[disk.read(PATH)]).gaps, 1);
    assert_eq!(bench.suspensions(), (1, 1));
}

#[test]
fn the_gap_line_names_cause_times_and_levels() {
    let cases = [
        (0, "4 records dropped", " error=1 warn=2 debug=1 disk_full=4"),
        (64 * KIB, "1 record dropped, 3 retained lines follow", " debug=1 disk_full=1 retained=3"),
    ];
    for (retain, said, end) in cases {
        let disk = FakeDisk::with_capacity(256 * KIB);
        let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).retain(retain).bench();
        bench.step();
        disk.world().filler = 256 * KIB;
        for level in [Level::Error, Level::Warn, Level::Warn, Level::Debug] {
            bench.log(level);
            bench.step();
        }
        disk.world().filler = 0;
        bench.live(Duration::from_secs(2));
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        let gap = text.lines().find(|line| line.contains("logging resumed")).unwrap();
        let start = format!(" WARN  unfazed: logging resumed, {said} cause=disk_full from=2001-09-09T01:46:40");
        assert!(gap.contains(&start), "{gap}");
        assert!(gap.ends_with(end), "{gap}");
    }
}

#[test]
fn a_start_below_the_reserve_says_so_once_and_keeps_quiet() {
    let disk = FakeDisk::with_capacity(MIB);
    disk.world().filler = MIB - 32 * KIB;
    let mut bench = Setup::new().file(&disk, Some(64 * KIB), Fsync::Never).bench();
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::LowSpace));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(
        text.ends_with("logging suspended cause=low_space free=32768 min_free_space=65536 error_reserve=65536\n"),
        "{text}"
    );
    bench.log_some(10);
    bench.live(Duration::from_secs(100));
    assert_eq!(disk.read(PATH), text.as_bytes(), "nothing is written while it is suspended");
    disk.world().filler = 0;
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "freed");
}

#[test]
fn the_line_on_a_suspension_says_what_is_free_after_the_lines_that_still_fitted() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = Setup::new().file(&disk, Some(64 * KIB), Fsync::Never).bench();
    bench.step();
    let filler = disk.world().free() - 80 * KIB;
    disk.world().filler = filler;
    let written = disk.read(PATH).len();
    bench.log_some(200);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::LowSpace));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let last = text.lines().last().unwrap();
    assert!(text.len() > written + 2 * KIB as usize, "some of them fitted: {text}");
    let free = disk.world().free() + last.len() as u64 + 1;
    assert!(last.contains(&format!(" cause=low_space free={free} min_free_space=65536 ")), "{free}: {last}");
}

#[test]
fn a_line_on_the_suspension_that_is_cut_off_later_leaves_the_fragment_before_it_ended() {
    let disk = FakeDisk::with_capacity(MIB);
    disk.append(PATH, b"half a line of somebody");
    disk.world().filler = MIB - 32 * KIB;
    disk.world().short_once = Some((1, 40));
    disk.world().other_fault = Some(Fault { at: 1, only: Some(Op::Cut), forever: false, errno: 122 });
    let mut bench = Setup::new().file(&disk, Some(64 * KIB), Fsync::Never).bench();
    bench.step();
    assert_eq!(disk.read(PATH).len(), "half a line of somebody".len() + 40, "a part of the line is in, and stays");
    disk.world().filler = 0;
    bench.log_some(1);
    bench.live(Duration::from_secs(2));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let [first, gap, ..] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert_eq!(first, "half a line of somebody");
    assert!(gap.contains("logging resumed"), "{text}");
}

#[test]
fn it_is_low_before_it_stops() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = Setup::new().file(&disk, Some(64 * KIB), Fsync::Never).bench();
    bench.log_some(1);
    bench.step();
    assert_eq!(bench.handle.state(), State::Healthy);
    disk.world().filler = MIB - 128 * KIB;
    bench.live(Duration::from_secs(2));
    assert_eq!(bench.handle.state(), State::Low);
    disk.world().filler = 0;
    bench.live(Duration::from_secs(2));
    assert_eq!(bench.handle.state(), State::Healthy);
}

#[test]
fn a_disk_that_toggles_gives_at_most_one_pair_of_transitions_a_second() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    for _ in 0..600 {
        let full = disk.world().filler > 0;
        disk.world().filler = if full { 0 } else { MIB };
        bench.log_some(3);
        bench.live(Duration::from_millis(100));
    }
    let (suspended, resumed) = bench.suspensions();
    assert!(suspended > 1, "it never saw the disk full");
    // The first suspension ends at once, each later one a second after the last resume.
    assert!(suspended <= 61 && resumed <= suspended, "{suspended} suspensions in a minute");
    let resumes = |event: &Event| match event {
        Event::Resumed { at, .. } => Some(*at),
        _ => None,
    };
    let resumes: Vec<_> = bench.events.lock().unwrap().iter().filter_map(resumes).collect();
    let apart = resumes.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap()).min();
    assert!(apart >= Some(Duration::from_secs(1)), "two resumes are only {apart:?} apart");
    disk.world().filler = 0;
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "toggled");
}

#[test]
fn an_unlimited_disk_has_no_reserve() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, Some(u64::MAX), Fsync::Never).bench();
    bench.log_some(100);
    bench.live(Duration::from_secs(3));
    assert_eq!(bench.handle.state(), State::Healthy);
    assert_eq!(bench.handle.stats().written, 100);
    assert_invariants(&bench, &disk, "unlimited");
}

#[test]
fn a_renamed_file_is_left_and_a_new_one_opened_without_a_loss() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(5);
    bench.step();
    disk.rename(PATH, "/logs/app.log.1");
    bench.live(Duration::from_secs(1));
    bench.log_some(5);
    bench.step();
    assert_eq!(parse(&[disk.read("/logs/app.log.1")]).records, [0, 1, 2, 3, 4]);
    assert_eq!(parse(&[disk.read(PATH)]).records, [5, 6, 7, 8, 9]);
    assert_invariants(&bench, &disk, "renamed");
}

#[test]
fn what_went_away_with_a_deleted_file_is_named_in_the_new_one() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.step();
    bench.pass(Duration::from_millis(150));
    bench.log_some(3);
    bench.step();
    disk.delete(PATH);
    bench.live(Duration::from_secs(1));
    bench.log_some(1);
    bench.step();
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.ends_with("the log file was deleted, with 3 lines written since the last look at it"), "{text}");
    assert_eq!(parse(&[text.into_bytes()]).records, [3]);
}

/// A program that opens its log again on the signal of logrotate, which has compressed and deleted
/// the file by then: nothing named the lines that went with it. Where the new file got the inode
/// number of the deleted one, as on ext4, the log said that it was cut short.
#[test]
fn what_went_away_with_a_deleted_file_is_named_where_the_program_opens_it_again() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(3);
    bench.step();
    disk.delete(PATH);
    bench.handle.reopen();
    bench.step();
    bench.log_some(1);
    bench.step();
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.ends_with("the log file was deleted, with 3 lines written since the last look at it"), "{text}");
    assert_eq!(parse(&[text.into_bytes()]).records, [3]);
}

/// A daemon that opened its log as root, and reloads its configuration as an ordinary user: an
/// order to reopen closed the file that was at its path, and it could never be opened again.
#[test]
fn a_file_that_is_still_at_its_path_stays_open_when_the_program_wants_it_opened_again() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(2);
    bench.step();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Open), forever: true, errno: 13 });
    bench.handle.reopen();
    bench.log_some(2);
    bench.step();
    assert_eq!(bench.handle.state(), State::Healthy);
    assert_eq!(parse(&[disk.read(PATH)]).records, [0, 1, 2, 3]);
}

#[test]
fn a_removed_directory_is_made_again() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(2);
    bench.step();
    disk.remove_dir("/logs", false);
    bench.live(Duration::from_secs(1));
    bench.log_some(2);
    bench.step();
    assert_eq!(bench.handle.state(), State::Healthy);
    assert_eq!(parse(&[disk.read(PATH)]).records, [2, 3]);
}

#[test]
fn a_directory_that_cannot_be_made_suspends_until_it_can() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(2);
    bench.step();
    disk.remove_dir("/logs", true);
    bench.live(Duration::from_secs(1));
    assert_eq!(bench.handle.state(), State::Suspended(Cause::Missing));
    bench.log_some(4);
    bench.live(Duration::from_secs(5));
    let stats = bench.handle.stats();
    assert_eq!((stats.dropped.io_error, stats.pending), (2, 2), "WARN and ERROR are retained");
    disk.unbar();
    assert_recovery(&mut bench, &disk, "the directory may be made");
    assert_invariants(&bench, &disk, "directory");
}

#[test]
fn a_torn_tail_from_an_earlier_life_stays_alone_on_its_line() {
    let disk = FakeDisk::default();
    disk.append(PATH, b"2026-11-21T09:30:00.123456Z INFO  bench: reco");
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(2);
    bench.step();
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(text.starts_with("2026-11-21T09:30:00.123456Z INFO  bench: reco\n20"), "{text}");
    assert_eq!(parse(&[text.into_bytes()]).records, [0, 1]);
}

#[test]
fn nothing_is_cut_while_another_process_holds_the_lock() {
    let disk = FakeDisk::with_capacity(4 * KIB);
    disk.world().locked_by_other = true;
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.log_some(100);
    bench.step();
    let full = disk.read(PATH);
    assert_eq!(full.len() as u64, 4 * KIB, "the fragment stays");
    disk.append(PATH, b"of another process\n");
    disk.world().capacity = Some(MIB);
    assert_recovery(&mut bench, &disk, "freed");
    assert!(disk.read(PATH).starts_with(&full), "not a byte went away");
}

/// On a busy machine whoever looks takes the processor from whoever writes, so that each look is
/// inside a write, though never inside the same: the file was torn, and an empty line came into it.
#[test]
fn a_file_that_another_process_is_writing_is_not_torn_while_it_grows() {
    for (looks, torn) in [(40, false), (200, true)] {
        let disk = FakeDisk::with_capacity(MIB);
        disk.append(PATH, b"of another");
        {
            let mut world = disk.world();
            world.locked_by_other = true;
            world.written_between_looks = std::iter::repeat_n(b" process".as_slice(), looks).collect();
            world.written_between_looks.push_back(b"\n");
        }
        let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
        bench.log_some(1);
        bench.step();
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        assert_eq!(text.matches('\n').count(), 2, "{text}");
        assert!(text.contains(" process\n20"), "{text}");
        assert_eq!(disk.world().written_between_looks.is_empty(), !torn);
    }
}

#[test]
fn a_lock_that_was_taken_is_asked_for_again_after_ten_seconds() {
    let disk = FakeDisk::with_capacity(MIB);
    disk.world().locked_by_other = true;
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.live(Duration::from_secs(35));
    assert!((2..=4).contains(&disk.world().asked(Op::Lock)), "it is asked for every ten seconds");
    disk.world().locked_by_other = false;
    bench.live(Duration::from_secs(11));
    disk.world().filler = MIB - 1000;
    bench.log_some(20);
    bench.step();
    assert!(bench.suspended());
    assert!(parse(&[disk.read(PATH)]).fragments.is_empty(), "with the lock the torn tail is cut");
}

#[test]
fn a_failed_sync_is_told_and_never_repeated_on_its_descriptor() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Every(Duration::ZERO)).bench();
    bench.log_some(1);
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Sync), forever: false, errno: 5 });
    bench.step();
    bench.log_some(1);
    bench.step();
    assert_eq!(bench.handle.stats().written, 2, "the record is in the file; whether it is on the disk nobody knows");
    assert_eq!(bench.handle.state(), State::Healthy, "the file takes every write");
    let failed = |event: &Event| matches!(event, Event::Failed { doing: "fsync", .. });
    assert!(bench.events.lock().unwrap().iter().any(failed));
    assert_recovery(&mut bench, &disk, "sync");
    assert_invariants(&bench, &disk, "sync");
    assert_eq!(disk.world().asked(Op::Open), 2, "it was opened again");
    assert_eq!(bench.handle.stats().outputs[0].failures, 1);
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert_eq!(text.matches("WARN  unfazed: failed to fsync times=1 error=").count(), 1, "{text}");
}

/// The one line that told of a failed sync was itself among the lines that the disk lost.
#[test]
fn a_failed_sync_is_told_again_if_the_file_loses_its_line_before_the_next_sync() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Every(Duration::from_secs(1))).bench();
    bench.step();
    bench.log_some(3);
    bench.step();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Sync), forever: false, errno: 5 });
    bench.live(Duration::from_millis(1100));
    let told = |disk: &FakeDisk| String::from_utf8(disk.read(PATH)).unwrap().matches("failed to fsync").count();
    assert_eq!(told(&disk), 1);
    // Before the next sync the file system is gone, and comes back without what was not synced.
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Write), forever: true, errno: 5 });
    bench.log_some(1);
    bench.step();
    assert!(bench.suspended());
    disk.cut_short(PATH, 10);
    disk.world().fault = None;
    bench.live(Duration::from_secs(6));
    assert_eq!(told(&disk), 1, "{}", String::from_utf8_lossy(&disk.read(PATH)));
    bench.live(Duration::from_secs(2));
    // A sync has succeeded since: what is cut off now does not concern it.
    disk.cut_short(PATH, 0);
    bench.live(Duration::from_secs(6));
    assert_eq!(told(&disk), 0, "{}", String::from_utf8_lossy(&disk.read(PATH)));
}

#[test]
fn a_file_that_is_shorter_when_it_is_opened_again_is_told() {
    for (doing, fault) in [("write", Op::Write), ("sync", Op::Sync)] {
        let disk = FakeDisk::default();
        let mut bench = Setup::new().file(&disk, None, Fsync::Every(Duration::from_secs(1))).bench();
        bench.step();
        bench.log_some(20);
        bench.step();
        let before = disk.read(PATH).len();
        // What was written and not synced is lost with the mount.
        disk.world().fault = Some(Fault { at: 1, only: Some(fault), forever: true, errno: 5 });
        bench.log_some(1);
        bench.step();
        let written = disk.read(PATH).len();
        disk.cut_short(PATH, 100);
        disk.world().fault = None;
        bench.live(Duration::from_secs(6));
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        let told: Vec<_> = text.lines().filter(|line| line.contains("the log file was cut short")).collect();
        assert_eq!(told.len(), 1, "{doing}: {text}");
        let lost = written.max(before) - 100;
        assert!(told[0].ends_with(&format!(" bytes_cut_off={lost}")), "{doing}: {lost}: {told:?}");
    }
}

#[test]
fn a_file_that_stands_in_the_place_of_the_one_before_is_not_called_shorter() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.step();
    bench.log_some(20);
    bench.step();
    disk.rename(PATH, "/logs/app.log.1");
    bench.live(Duration::from_secs(1));
    bench.log_some(1);
    bench.live(Duration::from_secs(6));
    disk.delete(PATH);
    bench.live(Duration::from_secs(6));
    bench.log_some(1);
    bench.step();
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(!text.contains("cut short") && !text.contains("bytes_cut_off"), "{text}");
}

#[test]
fn the_cause_of_a_suspension_follows_its_latest_attempt() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.step();
    bench.log_some(1);
    bench.step();
    let fails = |op, errno| {
        disk.world().fault = Some(Fault { at: 1, only: Some(op), forever: true, errno });
    };
    fails(Op::Write, 28);
    bench.log_some(1);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::DiskFull));
    for (op, errno, cause) in [(Op::Write, 5, Cause::Io), (Op::Open, 30, Cause::ReadOnly)] {
        fails(op, errno);
        bench.live(Duration::from_secs(3));
        assert_eq!(bench.handle.state(), State::Suspended(cause));
        let dropped = bench.handle.stats().dropped;
        bench.log(Level::Info);
        bench.step();
        let later = bench.handle.stats().dropped;
        assert_eq!((later.disk_full, later.io_error), (dropped.disk_full, dropped.io_error + 1), "{cause}");
    }
    assert_recovery(&mut bench, &disk, "read-only");
    assert_invariants(&bench, &disk, "read-only");
    let suspensions: Vec<_> = bench
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::Suspended { cause, .. } => Some(("suspended", *cause)),
            Event::Failed { doing, error, .. } => Some((*doing, Cause::of(error))),
            Event::Resumed { cause, .. } => Some(("resumed", *cause)),
            _ => None,
        })
        .collect();
    let told = [
        ("write", Cause::DiskFull),
        ("suspended", Cause::DiskFull),
        ("write", Cause::Io),
        ("open", Cause::ReadOnly),
        ("resumed", Cause::ReadOnly),
    ];
    assert_eq!(suspensions, told);
    assert_eq!(bench.handle.stats().outputs[0].suspensions, 1);
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(text.contains(" cause=read_only "), "{text}");
}

/// A full disk that has room for the gap line and one record, again and again: 30 000 pairs of
/// events in a night.
#[test]
fn a_full_disk_that_lets_one_line_through_is_tried_less_and_less_often() {
    let disk = FakeDisk::with_capacity(64 * MIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    disk.world().filler = 64 * MIB - 400;
    let end = bench.now.monotonic + Duration::from_secs(600);
    while bench.now.monotonic < end {
        // 400 bytes are free at each attempt: for the gap line and a record.
        if bench.suspended() {
            let mut world = disk.world();
            world.filler = world.filler + world.free() - 400;
        }
        bench.log(Level::Info);
        bench.log(Level::Info);
        bench.pass(Duration::from_millis(50));
        bench.step();
    }
    let (suspended, _) = bench.suspensions();
    assert!((20..50).contains(&suspended), "{suspended} suspensions in ten minutes");
    assert!(bench.handle.stats().written > 20, "each of them has let a record through");
}

/// A write that was done, and reported as interrupted, was done again.
#[test]
fn a_write_that_is_done_and_reported_as_interrupted_is_not_done_again() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.step();
    let writes = disk.world().asked(Op::Write);
    disk.world().short_once = Some((writes + 1, 30));
    disk.world().fault = Some(Fault { at: writes + 2, only: Some(Op::Write), forever: false, errno: 4 });
    disk.world().fault_is_done = true;
    bench.log_some(3);
    bench.step();
    assert_invariants(&bench, &disk, "interrupted");
    assert_eq!(bench.handle.stats().written, 3);
}

/// Where another process has the lock, the same stood in the file a hundred times: more than the
/// free space had been asked for.
#[test]
fn a_write_that_is_called_interrupted_where_nobody_can_look_is_not_done_again() {
    let disk = FakeDisk::default();
    disk.world().locked_by_other = true;
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.log_some(1);
    bench.step();
    let len = disk.read(PATH).len();
    let writes = disk.world().asked(Op::Write);
    disk.world().fault = Some(Fault { at: writes + 1, only: Some(Op::Write), forever: true, errno: 4 });
    disk.world().fault_is_done = true;
    bench.log_some(1);
    bench.step();
    // The record, and the newline that would end a part of it.
    assert!(disk.read(PATH).len() <= 2 * len + 1, "{}", String::from_utf8_lossy(&disk.read(PATH)));
    assert_eq!(bench.suspensions(), (1, 0));
}

/// The end of what was written was looked for by a length that was out of date: somebody had
/// appended a line. The end of our own bytes, dashes, was taken for more of the dashes that were
/// still to come, and counted as written.
#[test]
fn what_another_program_has_appended_is_not_taken_for_the_rest_of_a_short_write() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.log_some(1);
    bench.step();
    disk.append(PATH, b"foreign\n");
    let writes = disk.world().asked(Op::Write);
    let line = "2001-09-09T01:46:40.000000Z INFO  bench: record 1 ------------".len();
    disk.world().short_once = Some((writes + 1, line));
    disk.world().fault = Some(Fault { at: writes + 2, only: Some(Op::Write), forever: false, errno: 28 });
    bench.log_padded(Level::Info, 60);
    bench.step();
    bench.live(Duration::from_secs(3));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[1] == "foreign" && lines[2].contains(" unfazed: logging resumed, 1 record dropped"), "{text}");
    assert_eq!(bench.handle.stats().written, 1, "{text}");
}

/// Has the quota stop the next write after these bytes, and each one after it; a cut is refused by
/// this error.
fn tear_next_write(disk: &FakeDisk, after: usize, cut: i32) {
    let mut world = disk.world();
    let writes = world.asked(Op::Write);
    world.short_once = Some((writes + 1, after));
    world.fault = Some(Fault { at: writes + 2, only: Some(Op::Write), forever: true, errno: 122 });
    world.other_fault = Some(Fault { at: 1, only: Some(Op::Cut), forever: true, errno: cut });
}

fn leave_a_fragment(bench: &mut Bench, disk: &FakeDisk) {
    leave_a_fragment_of(30, bench, disk);
}

/// Has the quota tear the third line after these bytes, and refuse to cut its fragment off.
fn leave_a_fragment_of(fragment: usize, bench: &mut Bench, disk: &FakeDisk) {
    bench.step();
    bench.log_some(2);
    bench.step();
    let before = disk.read(PATH).len();
    tear_next_write(disk, fragment, 122);
    bench.log_padded(Level::Info, fragment + 10);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::Quota));
    assert_eq!(disk.read(PATH).len(), before + fragment, "the fragment stays for now");
}

#[test]
fn a_fragment_that_could_not_be_cut_is_cut_when_there_is_room() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    leave_a_fragment(&mut bench, &disk);
    bench.live(Duration::from_secs(1));
    assert_recovery(&mut bench, &disk, "quota");
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(text.lines().all(|line| line.contains(" unfazed: ") || line.ends_with(" end")), "{text}");
    assert_invariants(&bench, &disk, "quota");
}

/// On btrfs, full or with a full quota, `ftruncate` cleared the fragment and then failed: a line of
/// zeros stayed in the log, which grep then took for a binary file.
#[test]
fn a_fragment_that_a_refused_cut_has_emptied_is_cut_when_there_is_room() {
    for fragment in [30, 6000] {
        let disk = FakeDisk::default();
        disk.world().refused_cuts_empty = true;
        let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
        leave_a_fragment_of(fragment, &mut bench, &disk);
        let left = disk.read(PATH);
        assert!(left[left.len() - fragment..].starts_with(&[0; 30]), "it is emptied");
        bench.live(Duration::from_secs(1));
        assert_recovery(&mut bench, &disk, "quota");
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        assert!(text.lines().all(|line| line.contains(" unfazed: ") || line.ends_with(" end")), "{text:?}");
        assert_invariants(&bench, &disk, "quota");
    }
}

/// The cut that was refused had emptied a line that was missing only its newline. It counted as
/// written, and was nowhere.
#[test]
fn a_line_without_its_newline_that_a_refused_cut_has_emptied_is_not_written() {
    let disk = FakeDisk::default();
    disk.world().refused_cuts_empty = true;
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.log_some(1);
    bench.step();
    tear_next_write(&disk, disk.read(PATH).len() - 1, 122);
    bench.log_some(1);
    bench.step();
    let stats = bench.handle.stats();
    assert_eq!((stats.written, stats.pending), (1, 1), "the line, a WARN, is retained");
    assert_recovery(&mut bench, &disk, "quota");
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(text.contains(" record 1 ") && !text.contains('\0'), "{text:?}");
    assert_invariants(&bench, &disk, "quota");
}

/// A line of a custom format may begin with zeros. One that was missing only its newline, and could
/// not be cut off, was taken for emptied, and was written a second time.
#[test]
fn a_line_without_its_newline_that_begins_with_a_zero_and_stays_is_written_once() {
    let disk = FakeDisk::default();
    let format = Format::custom(|line, record| {
        write!(line, "\0")?;
        line.text(record.message());
        Ok(())
    });
    let options = FileOptions { min_free_space: Some(0), ..FileOptions::default() };
    let sink = OpenedSink::new(disk.clone(), Target::Path(PATH.into()), options);
    let mut bench = Setup::new().output(LevelFilter::Trace, format, sink).retain(64 * KIB).bench();
    bench.log_some(1);
    bench.step();
    tear_next_write(&disk, disk.read(PATH).len() - 1, 1);
    bench.log_some(1);
    bench.step();
    let stats = bench.handle.stats();
    assert_eq!((stats.written, stats.pending), (2, 0));
    disk.world().fault = None;
    bench.live(Duration::from_secs(3));
    bench.log_some(1);
    bench.step();
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let records: Vec<_> = text.lines().filter(|line| line.contains("record ")).collect();
    assert_eq!(records.len(), 3, "{text:?}");
    assert_eq!(bench.handle.stats().written, 3);
}

/// Where a file may not grow beyond a limit, two processes stop at the same length. What the other
/// one has written up to there counts as written, though its newline is missing still.
#[test]
fn what_another_process_has_written_is_not_taken_for_the_fragment_that_somebody_has_cut_off() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    leave_a_fragment(&mut bench, &disk);
    let len = disk.read(PATH).len();
    disk.truncate(PATH);
    let others = format!("{:-<len$}", "a line of another process ");
    disk.append(PATH, others.as_bytes());
    assert_recovery(&mut bench, &disk, "quota");
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let [first, gap, ..] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert_eq!(first, others);
    assert!(gap.contains(" unfazed: logging resumed, 1 record dropped"), "{text}");
}

#[test]
fn a_disk_that_never_syncs_loses_no_record_and_says_so_every_five_seconds() {
    let disk = FakeDisk::default();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Sync), forever: true, errno: 5 });
    let mut bench = Setup::new().file(&disk, None, Fsync::Every(Duration::ZERO)).bench();
    for _ in 0..60 {
        bench.log_some(1);
        bench.step();
        bench.pass(Duration::from_millis(200));
    }
    assert_eq!(bench.handle.stats().written, 60);
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let lines = text.matches("failed to fsync").count();
    assert!((2..=3).contains(&lines), "{lines} lines in 12 s");
}

#[test]
fn a_full_disk_that_shows_only_at_the_sync_suspends() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Every(Duration::ZERO)).bench();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Sync), forever: false, errno: 28 });
    bench.log_some(3);
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::DiskFull));
    assert_recovery(&mut bench, &disk, "sync says full");
    assert_invariants(&bench, &disk, "sync says full");
}

#[test]
fn a_renamed_file_is_synced_before_it_is_left() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Every(Duration::from_secs(60))).bench();
    bench.log_some(1);
    bench.step();
    disk.rename(PATH, "/logs/app.log.1");
    bench.live(Duration::from_secs(1));
    assert_eq!(disk.world().asked(Op::Sync), 1);
}

#[test]
fn a_sync_comes_when_it_is_due_though_nothing_is_logged() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Every(Duration::from_millis(100))).bench();
    bench.log_some(1);
    let turn = bench.step();
    assert_eq!(disk.world().asked(Op::Sync), 0);
    assert!(turn.next.unwrap() <= bench.now.monotonic + Duration::from_millis(100));
    bench.live(Duration::from_millis(150));
    assert_eq!(disk.world().asked(Op::Sync), 1);
    bench.live(Duration::from_secs(5));
    assert_eq!(disk.world().asked(Op::Sync), 1, "there was nothing new");
}

#[test]
fn a_path_that_may_not_be_looked_at_leaves_a_file_that_works_alone() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::CheckPath), forever: true, errno: 13 });
    for _ in 0..10 {
        bench.log_some(1);
        bench.live(Duration::from_millis(200));
    }
    assert_eq!((bench.handle.stats().written, bench.suspensions()), (10, (0, 0)));
}

#[test]
fn two_files_on_one_disk_leave_the_reserve_together() {
    let reserve = 64 * KIB;
    let disk = FakeDisk::with_capacity(MIB);
    let file = |path: &str| {
        FileSink::new(
            disk.clone(),
            Target::Path(path.into()),
            FileOptions { min_free_space: Some(reserve), ..FileOptions::default() },
        )
    };
    let mut bench = Setup::new().sink(file("/logs/a.log")).sink(file("/logs/b.log")).bench();
    while !bench.suspended() {
        bench.log_some(50);
        bench.step();
        assert!(disk.world().free() >= reserve, "{} bytes are free", disk.world().free());
    }
}

#[test]
fn a_gap_that_could_be_told_is_told_before_the_end() {
    let disk = FakeDisk::with_capacity(MIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.step();
    disk.world().filler = MIB;
    bench.log_some(5);
    bench.step();
    disk.world().filler = 0;
    let handle = bench.handle.clone();
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || handle.shutdown(Duration::MAX));
        while !asked.is_finished() {
            bench.writer.step(bench.now);
        }
        assert_eq!(asked.join().unwrap(), Ok(()));
    });
    let parsed = parse(&[disk.read(PATH)]);
    assert_eq!((parsed.told, parsed.records), (2, vec![0, 1, 4]));
}

/// Another program may have left half a line, as on a full disk: ours does not stand after it.
#[test]
fn half_a_line_of_another_program_stays_alone() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(2);
    bench.step();
    disk.append(PATH, b"half a line");
    bench.pass(Duration::from_millis(150));
    bench.log_some(1);
    bench.step();
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(text.contains("end\nhalf a line\n2"), "{text}");
    // The same where the end cannot be read after somebody cut the file.
    disk.cut_short(PATH, 100);
    let at = disk.world().asked(Op::LastByte) + 1;
    disk.world().fault = Some(Fault { at, only: Some(Op::LastByte), forever: true, errno: 5 });
    bench.pass(Duration::from_millis(150));
    bench.log_some(1);
    bench.step();
    assert_eq!(disk.read(PATH)[100], b'\n');
}

/// Logs once more when somebody has cut a line in half and `fails` cannot be asked; the next line
/// stands on its own.
fn assert_half_a_line_is_seen_without(fails: &[Op], errno: i32) {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(4);
    bench.step();
    disk.cut_short(PATH, 100);
    let faults = fails.iter().map(|op| (*op, disk.world().asked(*op) + 1)).collect::<Vec<_>>();
    let mut faults = faults.into_iter().map(|(op, at)| Fault { at, only: Some(op), forever: true, errno });
    let (fault, other_fault) = (faults.next(), faults.next());
    disk.world().fault = fault;
    disk.world().other_fault = other_fault;
    bench.pass(Duration::from_millis(150));
    bench.log_some(2);
    bench.step();
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(text[100..].starts_with('\n'), "{text}");
    assert_eq!(text[101..].lines().count(), 2, "{text}");
}

/// The cut was looked for in the length alone, and the next line stood after what it had left of
/// another.
#[test]
fn half_a_line_that_others_left_is_seen_even_if_the_length_is_not() {
    assert_half_a_line_is_seen_without(&[Op::Len], 30);
}

/// Whoever opens a file of which nothing can be seen takes it for torn; at a later look it was
/// taken for whole, and the next line stood after what a cut had left of another.
#[test]
fn a_file_of_which_nothing_can_be_seen_may_be_torn_at_any_look() {
    assert_half_a_line_is_seen_without(&[Op::Len, Op::LastByte], 11);
}

/// Somebody cuts the file of one process inside a line, between two writes that follow each other
/// sooner than two looks at the path, on a disk with plenty of space. Only a shared file was looked
/// at before each write: the next record stood in one line with the fragment, and counted as
/// written.
#[test]
fn wherever_the_file_is_cut_between_two_writes_nothing_is_glued() {
    // The look may fail: then nobody knows how the file ends.
    for blind in [None, Some(Op::Len), Some(Op::LastByte)] {
        let line = cut_between_two_writes(0, blind);
        assert!(line > 20, "a line has {line} bytes");
        (1..=line).for_each(|more| assert_eq!(cut_between_two_writes(more, blind), line));
    }
}

/// Cuts the second one of three lines to `more` bytes, before the next write. Returns its length.
fn cut_between_two_writes(more: usize, blind: Option<Op>) -> usize {
    let disk = FakeDisk::with_capacity(1 << 30);
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(3);
    bench.step();
    let before = disk.read(PATH);
    let line = before.len() / 3;
    let len = line + more;
    disk.cut_short(PATH, len);
    disk.world().fault = blind.map(|op| Fault { at: 1, only: Some(op), forever: true, errno: 5 });
    bench.log(Level::Info);
    bench.pass(Duration::from_millis(1));
    bench.step();
    disk.world().fault = None;
    let story = format!("cut to {len} of {} bytes, {blind:?} fails", before.len());
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert_eq!(text.as_bytes()[..len], before[..len], "{story}");
    let is_torn = more > 0 && more < line;
    let after = text[len..].strip_prefix('\n');
    assert!(after.is_some() || !is_torn, "{story}: {text}");
    let parsed = parse(&[after.unwrap_or(&text[len..]).as_bytes().to_vec()]);
    assert_eq!((parsed.records.as_slice(), parsed.fragments.len()), ([3].as_slice(), 0), "{story}: {text}");
    let stats = bench.handle.stats();
    assert_eq!((stats.written, stats.dropped.total()), (4, 0), "{story}");
    if blind != Some(Op::Len) {
        bench.live(Duration::from_secs(1));
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        let told: Vec<_> = text.lines().filter(|line| line.contains("the log file was cut short")).collect();
        assert_eq!(told.len(), 1, "{story}: {text}");
        assert!(told[0].ends_with(&format!(" bytes_cut_off={}", before.len() - len)), "{story}: {told:?}");
    }
    line
}

/// What is told at the end was written without the look that comes before every other line.
#[test]
fn the_last_words_are_not_written_after_half_a_line_and_not_into_a_file_that_is_gone() {
    let end = |others: &dyn Fn(&FakeDisk)| {
        let disk = FakeDisk::default();
        let mut bench = Setup { capacity: 4, ..Setup::new() }.file(&disk, None, Fsync::Never).bench();
        // The second time the line that tells the losses is not due.
        for _ in 0..2 {
            bench.log_some(20);
            bench.step();
        }
        others(&disk);
        bench.pass(Duration::from_millis(150));
        let answer = bench.pipeline.ask_without_waiting(true);
        while !bench.step().ended {}
        assert_eq!(answer.try_recv().unwrap(), Ok(()));
        let lost = bench.handle.stats().dropped.total();
        (disk, lost)
    };
    let (disk, _) = end(&|disk| disk.cut_short(PATH, 100));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let after = text[100..].strip_prefix('\n').unwrap_or_else(|| panic!("{text}"));
    let lines: Vec<_> = after.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("cut short") && lines[1].contains(" dropped "), "{text}");
    let (disk, lost) = end(&|disk| disk.delete(PATH));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let told = parse(&[text.clone().into_bytes()]).told;
    assert!(told > 0 && told < lost && text.lines().count() == 2, "{told} of {lost}: {text}");
}

/// A log that nobody writes to any more is not opened again for nothing.
#[test]
fn an_end_without_a_word_leaves_no_new_file() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, None, Fsync::Never).bench();
    bench.log_some(4);
    bench.step();
    disk.rename(PATH, "/logs/aside");
    bench.pass(Duration::from_millis(150));
    let answer = bench.pipeline.ask_without_waiting(true);
    while !bench.step().ended {}
    assert_eq!(answer.try_recv().unwrap(), Ok(()));
    assert_eq!(disk.names(), ["/logs/aside"]);
}

/// The list of what had happened grew by one failed `link` for each reopening, about one a second,
/// and all were told in the end.
#[test]
fn what_fails_again_and_again_while_suspended_is_told_once() {
    let disk = FakeDisk::default();
    let options = LogFile::new(PATH).symlink("/logs/no link").options;
    let mut bench = Setup::new().file_with(&disk, options).bench();
    disk.world().other_fault = Some(Fault { at: 1, only: Some(Op::Point), forever: true, errno: 17 });
    bench.log_some(1);
    bench.step();
    let failed = |bench: &Bench| {
        let events = bench.events.lock().unwrap();
        events.iter().filter(|event| matches!(event, Event::Failed { doing: "link", .. })).count()
    };
    assert_eq!(failed(&bench), 1, "when it was opened");
    let at = disk.world().asked(Op::Write) + 1;
    disk.world().fault = Some(Fault { at, only: Some(Op::Write), forever: true, errno: 5 });
    bench.log_some(4);
    bench.live(Duration::from_secs(100));
    assert_eq!(bench.handle.state(), State::Suspended(Cause::Io));
    assert!(disk.world().asked(Op::Point) > 50, "it is opened again and again");
    disk.world().fault = None;
    bench.live(Duration::from_secs(3));
    assert_eq!(failed(&bench), 2, "once for the whole time");
    assert_eq!(bench.handle.stats().outputs[0].failures, 2);
    assert_recovery(&mut bench, &disk, "mended");
    assert_invariants(&bench, &disk, "mended");
}

#[test]
fn what_is_counted_while_suspended_adds_up() {
    use crate::sink::News;
    let again = |kind: std::io::ErrorKind| News::Failed { doing: "link", error: kind.into() };
    let mut news = vec![
        News::LinesDeleted { lines: 1 },
        again(std::io::ErrorKind::AlreadyExists),
        News::CutShort { bytes: 10 },
        News::Failed { doing: "rotate", error: std::io::ErrorKind::Other.into() },
        News::LinesDeleted { lines: 2 },
        again(std::io::ErrorKind::NotFound),
        News::CutShort { bytes: 5 },
        News::Rotated { archive: "a".into() },
        News::Rotated { archive: "a".into() },
    ];
    News::join(&mut news);
    let joined = format!("{news:?}");
    let expected = "[LinesDeleted { lines: 3 }, Failed { doing: \"link\", error: Kind(NotFound) }, CutShort { bytes: 15 }, \
                    Failed { doing: \"rotate\", error: Kind(Other) }, Rotated { archive: \"a\" }, Rotated { archive: \"a\" }]";
    assert_eq!(joined, expected);
}

#[test]
fn a_file_that_failed_is_opened_again_and_one_that_is_only_full_is_kept() {
    // EIO, EROFS, ESTALE; ENOSPC, EDQUOT, EFBIG.
    for (errno, again) in [(5, true), (30, true), (116, true), (28, false), (122, false), (27, false)] {
        let disk = FakeDisk::default();
        let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
        bench.log_some(1);
        bench.step();
        let opened = disk.world().asked(Op::Open);
        disk.world().fault = Some(Fault { at: 2, only: Some(Op::Write), forever: false, errno });
        bench.log_some(1);
        bench.step();
        assert!(bench.suspended());
        bench.live(Duration::from_secs(3));
        assert!(!bench.suspended());
        assert_eq!(disk.world().asked(Op::Open) - opened, u64::from(again), "errno {errno}");
    }
}

#[test]
fn a_call_that_is_interrupted_is_made_again_and_is_no_failure() {
    let disk = FakeDisk::default();
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Write), forever: false, errno: 4 });
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.log_some(3);
    bench.step();
    assert_eq!((bench.handle.stats().written, bench.suspensions()), (3, (0, 0)));
}

#[test]
fn after_what_cannot_be_read_a_line_begins_on_a_line_of_its_own_and_an_empty_file_with_none() {
    for (before, after) in [("", ""), ("half", "half\n"), ("whole\n", "whole\n\n")] {
        let disk = FakeDisk::default();
        disk.append(PATH, before.as_bytes());
        disk.world().fault = Some(Fault { at: 1, only: Some(Op::LastByte), forever: true, errno: 5 });
        let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
        bench.log_some(1);
        bench.step();
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        assert!(text.starts_with(&format!("{after}20")), "{text:?}");
    }
}

/// After half a line of an earlier life, and where nothing may be cut: a line that is missing only
/// its newline is one.
#[test]
fn wherever_a_write_after_half_a_line_ends_nothing_is_glued_and_all_is_counted() {
    let len = {
        let disk = FakeDisk::default();
        let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
        bench.log_some(3);
        bench.step();
        disk.read(PATH).len()
    };
    for (locked, before) in [(true, "half"), (false, "half"), (true, ""), (false, "")] {
        for short in 0..len {
            let disk = FakeDisk::default();
            disk.append(PATH, before.as_bytes());
            disk.world().locked_by_other = locked;
            disk.world().short_once = Some((1, short));
            disk.world().fault = Some(Fault { at: 2, only: Some(Op::Write), forever: false, errno: 28 });
            let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).retain(0).bench();
            bench.log_some(3);
            bench.step();
            bench.live(Duration::from_secs(3));
            bench.log_some(3);
            bench.step();
            let story = format!("{short} bytes after {before:?}, somebody else has the lock: {locked}");
            bench.assert_identity(&story);
            let text = String::from_utf8(disk.read(PATH)).unwrap();
            assert!(
                text.starts_with(before) && (before.is_empty() || text.as_bytes().get(4) == Some(&b'\n')),
                "{story}: {text}"
            );
            let parsed = parse(&[text.as_bytes()[before.len()..].to_vec()]);
            assert_eq!(parsed.records.len() as u64, bench.handle.stats().written, "{story}: {text}");
            assert!(parsed.records.ends_with(&[3, 4, 5]), "{story}: {text}");
        }
    }
}

#[test]
fn only_a_batch_with_an_error_is_synced_if_that_is_what_was_asked_for() {
    let disk = FakeDisk::default();
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::AfterErrors).bench();
    for (level, syncs) in [(Level::Warn, 0), (Level::Error, 1), (Level::Info, 1), (Level::Error, 2)] {
        bench.log(level);
        bench.step();
        assert_eq!(disk.world().asked(Op::Sync), syncs, "{level}");
    }
}

#[test]
fn a_flush_syncs_unless_nobody_wanted_that_and_says_if_it_fails() {
    for (fsync, syncs) in [(Fsync::Never, 0), (Fsync::AfterErrors, 1), (Fsync::Every(Duration::from_secs(3600)), 1)] {
        let disk = FakeDisk::default();
        let mut bench = Setup::new().file(&disk, Some(0), fsync).bench();
        let flush = |bench: &mut super::bench::Bench| {
            bench.log(Level::Info);
            let answered = bench.pipeline.ask_without_waiting(false);
            bench.step();
            answered.try_recv().ok()
        };
        assert_eq!(flush(&mut bench), Some(Ok(())));
        assert_eq!(disk.world().asked(Op::Sync), syncs, "{fsync:?}");
        disk.world().fault = Some(Fault { at: syncs + 1, only: Some(Op::Sync), forever: true, errno: 5 });
        let answer = if fsync == Fsync::Never { Ok(()) } else { Err(crate::FlushError::Suspended(Cause::Io)) };
        assert_eq!(flush(&mut bench), Some(answer), "{fsync:?}");
    }
}

/// The gap began with the turn that met the full disk, after the first record that it counts.
#[test]
fn the_gap_line_begins_no_later_than_the_first_record_that_it_counts() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.tells_records_the_time = true;
    bench.step();
    disk.world().filler = 256 * KIB;
    bench.pass(Duration::from_millis(1));
    bench.log(Level::Info);
    bench.pass(Duration::from_millis(48));
    bench.step();
    assert!(bench.suspended());
    disk.world().filler = 0;
    bench.live(Duration::from_secs(3));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let gap = text.lines().find(|line| line.contains("logging resumed, 1 record dropped")).unwrap();
    let from = gap.split_once(" from=").unwrap().1.split(' ').next().unwrap();
    assert!(from <= "2001-09-09T01:46:40.001000Z", "the record is of .001, the gap begins at {from}");
}

/// A line was retained in one suspension and made way in the next: the second gap line counts it.
#[test]
fn the_gap_line_begins_no_later_than_a_retained_record_that_had_to_make_way() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).retain(16 * KIB).bench();
    bench.tells_records_the_time = true;
    bench.step();
    disk.world().filler = 256 * KIB;
    bench.pass(Duration::from_secs(1));
    bench.log_padded(Level::Warn, 8000);
    bench.step();
    assert!(bench.suspended());
    bench.live(Duration::from_secs(1000));
    // There is space for the gap line alone.
    disk.world().filler = 256 * KIB - 5 * KIB;
    bench.live(Duration::from_secs(2));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(text.contains("logging resumed, 0 records dropped, 1 retained line follows"), "{text}");
    disk.world().filler = 256 * KIB;
    for _ in 0..3 {
        bench.log_padded(Level::Warn, 8000);
        bench.live(Duration::from_secs(1));
    }
    disk.world().filler = 0;
    bench.live(Duration::from_secs(60));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let gap = text.lines().rfind(|line| line.contains("logging resumed")).unwrap();
    assert!(!text.contains("record 0 "), "it had to make way");
    let from = gap.split_once(" from=").unwrap().1.split(' ').next().unwrap();
    assert!(from <= "2001-09-09T01:46:41.000000Z", "the record is of :41, the gap begins at {from}: {gap}");
}
