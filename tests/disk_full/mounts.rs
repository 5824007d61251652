//! A volume that is mounted late, over another, and taken away again, under a log that goes on.

use std::fs;
use std::path::Path;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use unfazed::{KIB, Rotation};

use crate::support::account::{Log, assert_identity};
use crate::support::cases::{Evidence, Outcome};
use crate::support::child::wait_until;
use crate::support::load::{Author, longest};
use crate::support::place::Place;
use crate::support::subject::{PATIENCE, Subject};

const LONE: u32 = 99;

/// Every file of a log in `dir`.
fn logs(dir: &Path) -> Vec<u8> {
    let entries = fs::read_dir(dir.join("logs")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| fs::read(path).unwrap()).collect()
}

pub(crate) fn a_volume_that_is_mounted_under_the_log_gets_it_and_one_that_goes_loses_nothing(place: &Place) -> Outcome {
    // What is below the volumes, which nobody sees while one is mounted.
    let point = place.dir().join("mount");
    let [below, first, second] = ["below", "first", "second"].map(|name| place.dir().join(name));
    for dir in [&point, &below, &first, &second] {
        fs::create_dir(dir).unwrap();
    }
    mount_bind(&below, &point).expect("bind a directory");
    let subject = Subject::start(&point.join("logs/app.log"), |file| {
        file.min_free_space(0).error_reserve(0).rotation(Rotation::size(10 * KIB))
    });
    let mut lone = Author::new(LONE);
    let mut log_until_it_is_in = |dir: &Path, more: u64| {
        let file = dir.join("logs/app.log");
        let before = logs_len(dir);
        wait_until(
            || format!("`{}` is written", file.display()),
            PATIENCE,
            || {
                lone.say();
                logs_len(dir) >= before + more
            },
        );
    };
    log_until_it_is_in(&below, 50_000);
    // It appears late; another one over it; which is taken away although the log has a file open
    // there; then all of them are.
    place.tmpfs_at(&first, "size=8m");
    place.tmpfs_at(&second, "size=8m");
    // Where a volume has no such directory, the open one goes on: a parent was renamed, or the
    // process has another root.
    for dir in [&first, &second] {
        fs::create_dir(dir.join("logs")).unwrap();
    }
    mount_bind(&first, &point).expect("mount the first");
    log_until_it_is_in(&first, 50_000);
    mount_bind(&second, &point).expect("mount the second over it");
    log_until_it_is_in(&second, 50_000);
    unmount(&point, UnmountFlags::DETACH).expect("take the second away");
    log_until_it_is_in(&first, 50_000);
    unmount(&point, UnmountFlags::DETACH).expect("take the first away");
    log_until_it_is_in(&below, 50_000);
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));

    let (stats, told) = subject.end();
    assert_identity(&stats);
    assert_eq!((stats.written, stats.dropped.total()), (lone.logged, 0));
    assert!(told.suspended.is_empty(), "{told:?}");
    let mut numbers = Vec::new();
    let mut files = 0;
    for dir in [&below, &first, &second] {
        // A line of its own tells nothing here, and none is torn.
        let log = Log::of_whole_lines(&logs(dir));
        assert!(log.notices.is_empty(), "{:?}", log.notices);
        numbers.extend(log.records.iter().map(|(_, number)| *number));
        let made = fs::read_dir(dir.join("logs")).unwrap().count();
        assert!(made > 3, "{made} files in `{}`", dir.display());
        files += made;
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..lone.logged), "every record once");
    let longest_call = Some(longest(&[lone]));
    Evidence { stats, longest_call, resumed: None, more: format!("{files} files on 3 file systems") }.into()
}

fn logs_len(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir.join("logs")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}
