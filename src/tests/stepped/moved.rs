//! A file that is moved away just before it would have been rotated.

use std::time::Duration;

use super::bench::{Bench, PATH, Setup};
use super::invariants::parse;
use crate::LogFile;
use crate::event::Event;
use crate::sink::rotation::Rotation;
use crate::tests::fake_disk::{FakeDisk, Fault, Op};

const EIO: i32 = 5;
const ASIDE: &str = "/logs/app.log.1";

fn bench(disk: &FakeDisk, size: u64) -> Bench {
    let file = LogFile::new(PATH).min_free_space(0).rotation(Rotation::size(size));
    Setup::new().file_with(disk, file.options).bench()
}

fn failures(bench: &Bench) -> usize {
    bench.events.lock().unwrap().iter().filter(|event| matches!(event, Event::Failed { .. })).count()
}

fn archives(disk: &FakeDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.starts_with("/logs/app.2")).collect()
}

/// Between two looks at the path the rotation was tried with the file that was no longer there. It
/// failed, and the new file was not rotated until the next attempt, up to a minute later.
#[test]
fn the_file_that_has_taken_its_place_is_rotated_by_its_own_length() {
    let disk = FakeDisk::default();
    let mut bench = bench(&disk, 1000);
    bench.log_some(8);
    bench.step();
    disk.rename(PATH, ASIDE);
    bench.log_some(35);
    bench.step();
    assert_eq!(failures(&bench), 0);
    // What still fitted went there, and the rest into the new one.
    assert_eq!(parse(&[disk.read(ASIDE)]).records, (0..10).collect::<Vec<_>>());
    assert_eq!(archives(&disk).len(), 3);
    for name in archives(&disk).iter().chain([&PATH.into()]) {
        assert!(disk.read(name).len() <= 1000, "{name}: {} bytes", disk.read(name).len());
    }
    assert_eq!(bench.handle.stats().written, 43);
}

#[test]
fn a_request_leaves_the_file_that_has_taken_its_place_alone_if_that_is_empty() {
    let disk = FakeDisk::default();
    let mut bench = bench(&disk, 1000);
    bench.log_some(5);
    bench.step();
    disk.rename(PATH, ASIDE);
    bench.handle.rotate();
    bench.step();
    bench.log_some(2);
    bench.step();
    assert_eq!((failures(&bench), archives(&disk).len()), (0, 0));
    assert_eq!(parse(&[disk.read(PATH)]).records, [5, 6]);
}

#[test]
fn what_failed_with_the_file_before_is_tried_at_once_with_the_next() {
    let disk = FakeDisk::default();
    let mut bench = bench(&disk, 1000);
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::Link), forever: true, errno: EIO });
    for _ in 0..100 {
        bench.log_some(1);
        bench.live(Duration::from_secs(1));
    }
    assert!(disk.read(PATH).len() > 1000 && failures(&bench) > 3, "it is tried again, once a minute by now");
    disk.world().fault = None;
    disk.rename(PATH, ASIDE);
    bench.live(Duration::from_secs(1));
    bench.log_some(15);
    bench.step();
    assert_eq!(archives(&disk).len(), 1);
    assert!(disk.read(PATH).len() <= 1000);
}
