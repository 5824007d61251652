//! What happens to a file from outside, and what the log says about it.

use std::time::Duration;

use log::Level;

use super::bench::{PATH, Setup, assert_invariants, assert_recovery, parse};
use crate::disk::fake::{FakeDisk, Fault, Op};
use crate::event::{Cause, Event, State};
use crate::sink::file::Fsync;
use crate::{KIB, MIB};

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
    assert_eq!(bench.handle.stats().dropped.disk_full, 20);
    assert_eq!(parse(&[disk.read(PATH)]).records.len(), 10);
    disk.world().filler = 0;
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "freed");
    assert_eq!(parse(&[disk.read(PATH)]).gaps, 1);
    assert_eq!(bench.episodes(), (1, 1));
}

#[test]
fn the_gap_line_names_cause_times_and_levels() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
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
    assert!(
        gap.contains(" WARN  unfazed: logging resumed, 4 records lost cause=disk_full from=2001-09-09T01:46:40"),
        "{gap}"
    );
    assert!(gap.ends_with(" error=1 warn=2 debug=1 disk_full=4"), "{gap}");
}

#[test]
fn a_start_below_the_reserve_says_so_once_and_keeps_quiet() {
    let disk = FakeDisk::with_capacity(MIB);
    disk.world().filler = MIB - 32 * KIB;
    let mut bench = Setup::new().file(&disk, Some(64 * KIB), Fsync::Never).bench();
    bench.step();
    assert_eq!(bench.handle.state(), State::Suspended(Cause::LowSpace));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    assert!(text.ends_with("logging suspended cause=low_space free=32768 reserve=65536\n"), "{text}");
    bench.log_some(10);
    bench.live(Duration::from_secs(100));
    assert_eq!(disk.read(PATH), text.as_bytes(), "nothing is written while it is suspended");
    disk.world().filler = 0;
    assert_recovery(&mut bench, &disk, "freed");
    assert_invariants(&bench, &disk, "freed");
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
    let (suspended, resumed) = bench.episodes();
    assert!(suspended > 1, "it never saw the disk full");
    assert!(suspended <= 60 && resumed <= suspended, "{suspended} suspensions in a minute");
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
    assert_eq!(bench.handle.stats().dropped.io_error, 4);
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

#[test]
fn a_lock_that_was_taken_is_asked_for_again_after_ten_seconds() {
    let disk = FakeDisk::with_capacity(MIB);
    disk.world().locked_by_other = true;
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.step();
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
    assert_eq!(bench.handle.stats().written, 1, "the record is in the file; whether it is on the disk nobody knows");
    assert_eq!(bench.handle.state(), State::Suspended(Cause::Io));
    let failed = |event: &Event| matches!(event, Event::Failed { doing: "fsync", .. });
    assert!(bench.events.lock().unwrap().iter().any(failed));
    assert_recovery(&mut bench, &disk, "sync");
    assert_invariants(&bench, &disk, "sync");
    assert_eq!(disk.world().asked(Op::Open), 2, "it was opened anew");
}
