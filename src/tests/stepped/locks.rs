//! The lock of the active file: who has it looks after the archives, and nobody else does.

use std::time::Duration;

use super::bench::{Bench, PATH, Setup};
use super::invariants::parse;
use crate::LogFile;
use crate::event::Event;
use crate::sink::rotation::Rotation;
use crate::tests::fake_disk::{FakeDisk, Fault, Op};

const ENOLCK: i32 = 37;

const OTHERS: &str = "/logs/app.2001-09-09T01-46-50-0000.log";
const UNFINISHED: &str = "/logs/.app.log.0000beef.new";

fn bench(disk: &FakeDisk, file: impl FnOnce(LogFile) -> LogFile) -> Bench {
    let file = file(LogFile::new(PATH).min_free_space(0));
    Setup::new().file_with(disk, file.options).bench()
}

fn failures(bench: &Bench) -> Vec<&'static str> {
    let events = bench.events.lock().unwrap();
    let failed = events.iter().filter_map(|event| match event {
        Event::Failed { doing, .. } => Some(*doing),
        _ => None,
    });
    failed.collect()
}

/// A lock that was waited for came free because its owner had rotated the file. The archives are
/// still the owner's, who may be about to do that again: what it has begun was deleted, and its
/// rotation failed.
#[test]
fn the_lock_of_a_file_that_was_rotated_says_nothing_of_the_archives() {
    let disk = FakeDisk::default();
    disk.world().locked_by_other = true;
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(100)).max_files(1));
    bench.log_some(1);
    bench.step();
    bench.pass(Duration::from_millis(9950));
    bench.log_some(1);
    bench.step();
    // The other one rotates, and then begins to rotate again.
    disk.rename(PATH, OTHERS);
    disk.append(PATH, b"of the other one\n");
    disk.append(UNFINISHED, b"begun by the other one\n");
    // Of the file that was rotated, not of the new one.
    disk.world().free_locks = 1;
    bench.pass(Duration::from_millis(50));
    bench.log_some(1);
    bench.step();
    assert_eq!(disk.names(), [UNFINISHED, OTHERS, PATH]);
    assert_eq!(failures(&bench), [""; 0]);
    assert_eq!(parse(&[disk.read(OTHERS)]).records, [0, 1]);
    assert!(disk.read(PATH).starts_with(b"of the other one\n"));
    assert_eq!(bench.handle.stats().written, 3);
}

#[test]
fn a_file_that_is_rotated_while_it_is_opened_is_opened_again() {
    let disk = FakeDisk::default();
    disk.append(PATH, b"older\n");
    disk.world().renamed_at_lock = Some((PATH.into(), OTHERS.into()));
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(1000)));
    bench.log_some(2);
    bench.step();
    assert_eq!(disk.read(OTHERS), b"older\n");
    assert_eq!(parse(&[disk.read(PATH)]).records, [0, 1]);
    assert_eq!(disk.world().asked(Op::Open), 2);
}

#[test]
fn where_there_are_no_locks_that_is_told_once_if_anything_was_asked_for_that_needs_one() {
    let options: [fn(LogFile) -> LogFile; 4] = [
        |file| file,
        |file| file.rotation(Rotation::size(200)),
        |file| file.max_files(3),
        |file| file.when_low(crate::WhenLow::DeleteOldest),
    ];
    for (case, options) in options.into_iter().enumerate() {
        let told = usize::from(case > 0);
        let disk = FakeDisk::default();
        disk.world().fault = Some(Fault { at: 1, only: Some(Op::Lock), forever: true, errno: ENOLCK });
        let mut bench = bench(&disk, options);
        for _ in 0..30 {
            bench.log_some(2);
            bench.live(Duration::from_secs(1));
        }
        bench.handle.reopen();
        bench.live(Duration::from_secs(6));
        assert_eq!(failures(&bench), vec!["lock"; told], "case {case}");
        let text = String::from_utf8(disk.read(PATH)).unwrap();
        assert_eq!(text.matches(" WARN  unfazed: failed to lock times=1 error=").count(), told, "{text}");
        assert_eq!(disk.names(), [PATH]);
        assert_eq!(parse(&[text.into_bytes()]).records, (0..60).collect::<Vec<_>>());
    }
}
