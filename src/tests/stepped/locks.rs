//! The lock of the active file: who has it looks after the archives, and nobody else does.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use log::Level;

use super::bench::{Bench, PATH, Setup};
use super::invariants::{Line, parse};
use crate::LogFile;
use crate::disk::{Disk as _, DiskFile as _, Opened};
use crate::event::Event;
use crate::sink::rotation::Rotation;
use crate::tests::fake_disk::{FakeDisk, Fault, Op};

const ENOLCK: i32 = 37;

/// The process that has the lock, with one record in the file, and another one.
fn holder_and_other(disk: &FakeDisk) -> (Bench, Bench) {
    let mut holder = bench(disk, |file| file);
    holder.log(Level::Info);
    holder.step();
    let mut other = bench(disk, |file| file);
    other.next = 1000;
    other.step();
    (holder, other)
}

/// Two processes, one file, and a disk that is full inside a line of the one without the lock: the
/// other one appended to it at once.
#[test]
fn a_fragment_of_another_process_is_never_glued_to_however_new_it_is() {
    let disk = FakeDisk::with_capacity(64 << 10);
    let (mut holder, mut other) = holder_and_other(&disk);
    let free = disk.world().free();
    disk.world().filler = free - 130;
    // The first is whole, the second is not.
    other.log(Level::Info);
    other.log(Level::Info);
    other.step();
    assert!(other.suspended());
    disk.world().filler -= 2000;
    holder.log(Level::Info);
    holder.step();
    let parsed = parse(&[disk.read(PATH)]);
    assert_eq!(parsed.records, [0, 1000, 1], "{:?}", parsed.lines);
    assert_eq!(parsed.fragments.len(), 1, "{:?}", parsed.lines);
}

/// Of several processes that cannot read the end of their file, each begins with a newline after
/// the others have written: an empty line is better than two records in one line.
#[test]
fn processes_that_cannot_see_how_their_file_ends_leave_empty_lines_and_glue_nothing() {
    let disk = FakeDisk::default();
    let (mut holder, mut other) = holder_and_other(&disk);
    disk.world().fault = Some(Fault { at: 1, only: Some(Op::LastByte), forever: true, errno: 5 });
    disk.append(PATH, b"half a line of a third one");
    for _ in 0..3 {
        for bench in [&mut holder, &mut other] {
            bench.log(Level::Info);
            bench.pass(Duration::from_millis(150));
            bench.step();
        }
    }
    let parsed = parse(&[disk.read(PATH)]);
    assert_eq!(parsed.records, [0, 1, 1000, 2, 1001, 3, 1002], "{:?}", parsed.lines);
    assert_eq!(parsed.fragments, ["half a line of a third one"]);
    let blank = parsed.lines.iter().filter(|line| **line == Line::Blank).count();
    assert_eq!(blank, 5, "one for each batch but the first, which ends the fragment: {:?}", parsed.lines);
    // Once the end can be read there are no more of them.
    disk.world().fault = None;
    for bench in [&mut holder, &mut other] {
        bench.log(Level::Info);
        bench.pass(Duration::from_millis(150));
        bench.step();
    }
    let after = parse(&[disk.read(PATH)]);
    assert_eq!((after.records.len(), after.lines.len()), (9, parsed.lines.len() + 2), "{:?}", after.lines);
}

#[test]
fn a_fragment_that_may_not_be_cut_is_ended_at_once() {
    let disk = FakeDisk::default();
    disk.world().locked_by_other = true;
    let mut bench = bench(&disk, |file| file);
    bench.log(Level::Info);
    bench.step();
    let writes = disk.world().asked(Op::Write);
    disk.world().short_once = Some((writes + 1, 30));
    disk.world().fault = Some(Fault { at: writes + 2, only: Some(Op::Write), forever: false, errno: 122 });
    bench.log(Level::Info);
    bench.step();
    assert!(bench.suspended());
    assert_eq!(disk.read(PATH).last(), Some(&b'\n'), "the next process need not look");
    bench.live(Duration::from_secs(2));
    let parsed = parse(&[disk.read(PATH)]);
    assert_eq!((parsed.records, parsed.fragments.len(), parsed.told), (vec![0], 1, 1));
}

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

/// The lock is that of the name: whoever gets it, because its holder has ended, opens the file that
/// is at the path by then, and looks after the archives, and after what was left unfinished.
#[test]
fn who_gets_the_lock_looks_after_the_file_that_is_at_the_path() {
    let disk = FakeDisk::default();
    disk.world().locked_by_other = true;
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(1000)).max_files(4));
    bench.log_some(1);
    bench.step();
    bench.pass(Duration::from_millis(9950));
    bench.log_some(1);
    bench.step();
    // The other one rotates, and is killed while it rotates again.
    disk.rename(PATH, OTHERS);
    disk.append(PATH, b"of the other one\n");
    disk.append(UNFINISHED, b"begun by the other one\n");
    disk.world().locked_by_other = false;
    bench.pass(Duration::from_millis(50));
    bench.log_some(1);
    bench.step();
    // What it had begun is finished: its active file becomes an archive, and the next file, too.
    let [others, active, begun] = [0, 1, 2].map(|number| format!("/logs/app.2001-09-09T01-46-50-000{number}.log"));
    assert_eq!(disk.names(), [&*others, &*active, &*begun, PATH]);
    assert_eq!(failures(&bench), [""; 0]);
    assert_eq!(parse(&[disk.read(OTHERS)]).records, [0, 1]);
    assert_eq!(disk.read(&active), b"of the other one\n");
    assert_eq!(disk.read(&begun), b"begun by the other one\n");
    assert_eq!(bench.handle.stats().written, 3);
}

/// A parent that logs nothing after its start held the lock, and the file to which its children
/// logged grew for ever.
#[test]
fn a_holder_that_writes_nothing_leaves_the_rotation_to_those_who_do() {
    const SIZE: u64 = 1000;
    let disk = FakeDisk::default();
    let rotated = |file: LogFile| file.rotation(Rotation::size(SIZE)).max_files(2);
    let mut holder = bench(&disk, rotated);
    holder.log(Level::Info);
    holder.step();
    let mut other = bench(&disk, rotated);
    other.next = 1000;
    let mut longest = 0;
    for _ in 0..120 {
        other.log(Level::Info);
        for bench in [&mut holder, &mut other] {
            bench.pass(Duration::from_millis(250));
            bench.step();
        }
        longest = longest.max(disk.read(PATH).len() as u64);
    }
    // 10 s of silence, and up to 10 s until the other one asks.
    assert!(longest > SIZE, "it was the holder that did not rotate: {longest}");
    let archives = disk.names().iter().filter(|name| *name != PATH).count();
    assert_eq!(archives, 1, "{:?}", disk.names());
    // Whoever logs again is a process like the others.
    holder.log(Level::Info);
    holder.step();
    other.log(Level::Info);
    other.step();
    assert!(disk.read(PATH).len() as u64 <= SIZE);
    for bench in [&holder, &other] {
        let stats = bench.handle.stats();
        assert_eq!((stats.pending, stats.dropped.total()), (0, 0), "{stats:?}");
    }
}

/// Suspended, the holder asked for the lock again at each attempt: a process that had enough space
/// could not rotate.
#[test]
fn a_holder_that_cannot_write_leaves_the_rotation_to_those_who_can() {
    const SIZE: u64 = 1000;
    let disk = FakeDisk::with_capacity(4 << 20);
    let rotated = |file: LogFile| file.rotation(Rotation::size(SIZE)).max_files(2).error_reserve(0);
    let mut holder = bench(&disk, |file| rotated(file).min_free_space(2 << 20));
    holder.log(Level::Info);
    holder.step();
    let mut other = bench(&disk, rotated);
    other.next = 1000;
    disk.world().filler = 3 << 20;
    for _ in 0..200 {
        for bench in [&mut holder, &mut other] {
            bench.log(Level::Info);
            bench.pass(Duration::from_millis(250));
            bench.step();
        }
    }
    assert!(holder.suspended() && !other.suspended());
    assert_eq!(disk.names().len(), 2, "the file and one archive: {:?}", disk.names());
    assert!(disk.read(PATH).len() as u64 <= SIZE);
    assert_eq!(other.handle.stats().dropped.total(), 0);
    // With enough space it writes again, and rotates or not as any of them.
    disk.world().filler = 0;
    holder.live(Duration::from_secs(2));
    holder.log(Level::Info);
    holder.step();
    assert!(!holder.suspended());
}

/// A logger that logs every 25 s had given the lock up before each of its records, because a shell
/// appended to the file: the file grew for ever, and nothing was told.
#[test]
fn a_lock_that_was_given_up_and_that_nobody_else_wants_is_back_before_the_next_record() {
    let disk = FakeDisk::default();
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(200)));
    for _ in 0..6 {
        bench.log(Level::Info);
        bench.step();
        for _ in 0..25 {
            disk.append(PATH, b"of a shell\n");
            bench.pass(Duration::from_secs(1));
            bench.step();
        }
        assert!(!disk.world().is_locked(Path::new(PATH)));
    }
    let files = disk.names();
    assert_eq!(files.len(), 6, "each record but the first finds a file that is too long: {files:?}");
    let all: Vec<_> = files.iter().map(|path| disk.read(path)).collect();
    assert_eq!(parse(&all).records, [0, 1, 2, 3, 4, 5]);
    assert_eq!(failures(&bench), [""; 0]);
}

/// A holder that is alone, or that logs now and then, has the lock for as long as it lives.
#[test]
fn a_holder_that_logs_now_and_then_is_given_no_reason_to_give_the_lock_up() {
    let disk = FakeDisk::default();
    let rotated = |file: LogFile| file.rotation(Rotation::size(1000));
    let mut holder = bench(&disk, rotated);
    let mut other = bench(&disk, rotated);
    other.next = 1000;
    let asked = disk.world().asked(Op::Lock);
    for turn in 0..200 {
        other.log(Level::Info);
        if turn % 20 == 0 {
            holder.log(Level::Info);
        }
        holder.pass(Duration::from_millis(250));
        holder.step();
        other.step();
        assert!(disk.world().is_locked(Path::new(PATH)), "turn {turn}");
    }
    assert!(disk.world().asked(Op::Lock) > asked, "the other one asks");
    assert_eq!(failures(&holder), [""; 0]);
}

/// `flock` on the log by whoever may read it ended rotation and retention, and nothing was told.
#[test]
fn a_rotation_that_waits_for_the_lock_is_reported_after_a_minute_and_then_once_an_hour() {
    let disk = FakeDisk::default();
    disk.world().locked_by_other = true;
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(200)));
    bench.log_some(6);
    bench.step();
    bench.live(Duration::from_secs(59));
    assert_eq!(failures(&bench), [""; 0], "another process may be about to do it");
    bench.live(Duration::from_secs(2));
    assert_eq!(failures(&bench), ["lock"]);
    bench.log_some(1);
    bench.live(Duration::from_secs(1));
    let text = String::from_utf8(disk.read(PATH)).unwrap();
    let line = "WARN  unfazed: failed to lock times=1 error=\"another process holds the lock\"";
    assert_eq!(text.matches(line).count(), 1, "{text}");
    bench.live(Duration::from_secs(3590));
    assert_eq!(failures(&bench), ["lock"]);
    bench.live(Duration::from_secs(20));
    assert_eq!(failures(&bench), ["lock"; 2]);
    disk.world().locked_by_other = false;
    bench.live(Duration::from_secs(11));
    bench.log_some(1);
    bench.step();
    assert!(disk.names().len() > 1, "{:?}", disk.names());
    bench.live(Duration::from_secs(7200));
    assert_eq!(failures(&bench), ["lock"; 2]);
}

#[test]
fn a_period_that_is_over_is_due_only_if_there_is_a_record_of_the_next() {
    let disk = FakeDisk::default();
    disk.world().locked_by_other = true;
    let mut bench = bench(&disk, |file| file.rotation(Rotation::hourly()));
    bench.tells_records_the_time = true;
    bench.log_some(2);
    bench.step();
    bench.live(Duration::from_secs(2 * 3600));
    assert_eq!(failures(&bench), [""; 0], "there is no record of the next");
    bench.log_some(1);
    bench.live(Duration::from_secs(61));
    assert_eq!(failures(&bench), ["lock"]);
}

#[test]
fn a_deletion_that_waits_for_the_lock_is_reported_and_one_that_is_done_is_not() {
    for is_done in [false, true] {
        let disk = FakeDisk::default();
        disk.world().locked_by_other = true;
        disk.append(OTHERS, b"archived\n");
        disk.append("/logs/app.2001-09-09T01-46-50-0001.log", b"archived\n");
        let mut bench = bench(&disk, |file| file.max_files(2));
        bench.log_some(1);
        bench.live(Duration::from_secs(30));
        if is_done {
            disk.delete(OTHERS);
        }
        bench.live(Duration::from_secs(95));
        assert_eq!(failures(&bench), vec!["lock"; usize::from(!is_done)], "done by another: {is_done}");
        assert_eq!(disk.names().len(), 3 - usize::from(is_done), "nothing is deleted without the lock");
    }
}

/// Whoever may write to the directory can remove what the lock was taken on.
#[test]
fn a_lock_that_was_taken_away_rotates_and_deletes_nothing_until_it_is_held_again() {
    let disk = FakeDisk::default();
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(200)).max_files(2));
    bench.log_some(2);
    bench.step();
    disk.append(OTHERS, b"archived\n");
    disk.append("/logs/app.2001-09-09T01-46-50-0001.log", b"archived\n");
    disk.steal_lock(PATH);
    let before = disk.names();
    bench.log_some(10);
    bench.step();
    bench.live(Duration::from_secs(1));
    assert_eq!(disk.names(), before);
    disk.give_back_locks();
    bench.live(Duration::from_secs(11));
    bench.log_some(2);
    bench.live(Duration::from_secs(1));
    assert_eq!(disk.names().len(), 2, "{:?}", disk.names());
    assert_eq!(bench.handle.stats().written, 14);
}

/// Whoever owns the directory removed the lock file each time it was made. The lock was held for a
/// moment every 10 s, and so it never counted as missing for a minute.
#[test]
fn a_lock_that_is_taken_away_each_time_it_was_got_is_reported_as_a_missing_one_is() {
    let disk = FakeDisk::default();
    let mut bench = bench(&disk, |file| file.rotation(Rotation::size(200)));
    bench.log_some(1);
    bench.step();
    for _ in 0..8 {
        disk.steal_lock(PATH);
        bench.log_some(2);
        bench.step();
        bench.pass(Duration::from_millis(150));
        bench.step();
        disk.give_back_locks();
        let asked = disk.world().asked(Op::Lock);
        bench.pass(Duration::from_secs(10));
        bench.step();
        assert_eq!(disk.world().asked(Op::Lock), asked + 1, "it is held again");
    }
    assert_eq!((failures(&bench), disk.names()), (vec!["lock"], vec![PATH.to_owned()]));
    bench.log_some(1);
    bench.step();
    assert_eq!(disk.names().len(), 2, "it was not taken away this time");
}

#[test]
fn a_rotation_at_the_start_that_waits_for_the_lock_is_reported_as_any_other() {
    let disk = FakeDisk::default();
    disk.append(PATH, b"older\n");
    disk.world().locked_by_other = true;
    let mut bench = bench(&disk, |file| file.rotation(Rotation::never().on_start()));
    bench.log_some(1);
    bench.live(Duration::from_secs(59));
    assert_eq!(failures(&bench), [""; 0]);
    bench.live(Duration::from_secs(2));
    assert_eq!(failures(&bench), ["lock"]);
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

/// One failure of the lock left the others without knowledge of this process for as long as it
/// wrote, and each of their cuts could take its lines.
#[test]
fn what_could_not_be_announced_is_announced_a_second_later() {
    let disk = FakeDisk::default();
    disk.world().locked_by_other = true;
    disk.world().refuses_announcing = true;
    let mut bench = bench(&disk, |file| file);
    let cut_by_another = |disk: &FakeDisk| {
        let mut other = disk.clone();
        let Ok(Opened::File(mut file)) = other.open(Path::new(PATH)) else { panic!("a file") };
        let len = disk.read(PATH).len() as u64;
        file.cut(len, len).map_err(|error| error.kind())
    };
    bench.log_some(1);
    bench.step();
    assert_eq!(cut_by_another(&disk), Ok(()));
    disk.world().refuses_announcing = false;
    bench.live(Duration::from_secs(2));
    assert_eq!(cut_by_another(&disk), Err(ErrorKind::WouldBlock));
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
