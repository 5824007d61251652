//! What real file systems do besides failing: they fill, hang, make up inode numbers, account late,
//! and lose what was written back.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use unfazed::{Builder, Cause, Fsync, Handle, InitError, KIB, LogFile, Logger, Overflow, Rotation, State};

use crate::harness::{PATIENCE, Text, archives, log_files, say, wait_until};
use crate::support::account::assert_identity;
use crate::support::cases::{Case, Needs, Outcome, part};
use crate::support::child;
use crate::support::faulty::{Disk, FaultyFs, How, Identity, OPS, Op};
use crate::support::place::{Filler, Place};
use crate::tmpfs::stops_and_resumes;
use crate::{hands, kills};

/// Mounts the file system, or leaves the case with the reason.
macro_rules! mounted {
    ($place:expr) => {
        match FaultyFs::mount($place.dir()) {
            Ok(fs) => fs,
            Err(reason) => return Outcome::Skipped(reason),
        }
    };
}

fn log_on(disk: &Disk<'_>, options: impl FnOnce(LogFile) -> LogFile) -> (Logger, Handle) {
    let file = LogFile::new(disk.path().join("app.log")).min_free_space(0);
    Builder::new().file(options(file)).overflow(Overflow::Block).build().unwrap()
}

/// Logs records of author 0 from `from` on, and waits until they are written or dropped.
fn say_and_flush(logger: &Logger, handle: &Handle, from: u64, count: u64) -> u64 {
    for n in from..from + count {
        say(logger, 0, n);
        let _ = handle.flush(PATIENCE);
    }
    from + count
}

fn wait_for_the_log(handle: &Handle) {
    wait_until("the log is back", || handle.state() == State::Healthy);
}

/// A writer that was given up at a deadline goes on until what hung is done.
fn no_writer_runs() -> bool {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = threads.map(|thread| fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
    names.into_iter().all(|name| name.trim_end() != "unfazed")
}

/// The log of a disk: all of it must parse.
fn text(dir: &Path) -> Text {
    let text = Text::of(&log_files(dir));
    assert!(text.fragments.is_empty(), "{:?}", text.fragments);
    text
}

/// Ends the logger; each record is in a file, in order, or counted.
fn end(disk: &Disk<'_>, logger: Logger, handle: &Handle, said: u64) -> Text {
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    drop(logger);
    let stats = handle.stats();
    assert_identity(&stats);
    let text = text(disk.path());
    let numbers = text.records.get(&0).map_or(&[][..], Vec::as_slice);
    assert_eq!((stats.accepted, stats.written), (said, numbers.len() as u64), "{stats:?}");
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    text
}

pub(crate) fn a_full_file_system_in_user_space_stops_the_log_quietly_and_it_resumes_by_itself(
    place: &Place,
) -> Outcome {
    let fs = mounted!(place);
    let disk = fs.disk("disk");
    disk.set_capacity(16 << 20);
    stops_and_resumes(disk.path(), Duration::from_millis(1500), 0, String::new)
}

pub(crate) fn whatever_hangs_the_calls_go_on_and_the_end_keeps_its_deadline(place: &Place) -> Outcome {
    const CALLS: u64 = 100;
    const DEADLINE: Duration = Duration::from_millis(200);

    let fs = mounted!(place);
    let hung = [Op::Write, Op::Statfs, Op::Fsync, Op::Create, Op::Link, Op::Rename, Op::Lookup, Op::Getattr];
    for op in hung {
        let disk = fs.disk(&format!("{op:?}"));
        let (logger, handle) = log_on(&disk, |file| file.fsync(Fsync::AfterErrors));
        let said = say_and_flush(&logger, &handle, 0, 4);
        disk.arm(op, How::Hangs, 0, 0, 1);
        handle.rotate();
        // A call that waited for the disk would wait for ever.
        for n in said..said + CALLS {
            say(&logger, 0, n);
        }
        wait_until("something hangs", || fs.held() == 1);
        let begun = Instant::now();
        assert!(handle.shutdown(DEADLINE).is_err(), "{op:?} hangs");
        // Far less than for ever; the promise to the millisecond is another test's.
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{op:?}: the shutdown took {took:?}");
        let hanging = handle.stats();
        assert_identity(&hanging);
        fs.release();
        disk.clear();
        drop(logger);
        wait_until("the writer ends", no_writer_runs);
        let stats = handle.stats();
        assert_identity(&stats);
        let text = text(disk.path());
        let numbers = text.records.get(&0).map_or(&[][..], Vec::as_slice);
        assert_eq!(stats.accepted, said + CALLS);
        assert!(numbers.is_sorted_by(|one, next| one < next), "{op:?}: {numbers:?}");
        // What was given up at the deadline is counted as dropped; the write that hung then may
        // have been done all the same.
        assert!(numbers.len() as u64 >= stats.written, "{op:?}: {stats:?}, {} in the file", numbers.len());
    }
    Outcome::Holds(format!("hung in turn: {hung:?}"))
}

/// What `init` asks before the first attempt (is the path fit, is the name short enough) once ran
/// on the thread that called it, and hung with the file system.
pub(crate) fn init_does_not_wait_for_a_file_system_that_hangs(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let hung = [Op::Lookup, Op::Statfs, Op::Create];
    for (op, required) in hung.into_iter().flat_map(|op| [(op, false), (op, true)]) {
        let disk = fs.disk(&format!("{op:?}_{required}"));
        disk.arm(op, How::Hangs, 0, 0, 1);
        let file = LogFile::new(disk.path().join("app.log")).min_free_space(0);
        let (tell, built) = mpsc::channel();
        let builder = Builder::new().file(file).require_outputs(required);
        let _detached = thread::spawn(move || tell.send(builder.build()));
        // Far more than the 250 ms and the 2 s that are promised, and far less than for ever.
        let built = built.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{op:?}: still waiting"));
        wait_until("something hangs", || fs.held() == 1);
        match built {
            Err(InitError::Output { cause: Cause::Io, error: Some(error), .. }) if required => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{op:?}");
                fs.release();
                wait_until("the writer ends", no_writer_runs);
            }
            Ok((logger, handle)) if !required => {
                say(&logger, 0, 0);
                assert_eq!(handle.stats().pending, 1, "{op:?}");
                fs.release();
                end(&disk, logger, &handle, 1).assert_complete(&[1]);
            }
            built => panic!("{op:?}, required: {required}: {:?}", built.err()),
        }
    }
    Outcome::Holds(format!("hung in turn: {hung:?}"))
}

/// Once the setup waited for the thread, which went on to the next output and hung there.
pub(crate) fn a_setup_that_fails_waits_for_no_other_file_system(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let file = place.dir().join("file");
    fs::write(&file, "").unwrap();
    // The one is found by a look at the paths, the other when it is opened.
    let (directory, below_a_file) = (place.dir().to_owned(), file.join("app.log"));
    let setups = [(&directory, Op::Lookup, false), (&directory, Op::Lookup, true), (&below_a_file, Op::Create, true)];
    for (path, op, required) in setups {
        let disk = fs.disk(&format!("{op:?}_{required}"));
        disk.arm(op, How::Hangs, 0, 0, 1);
        let (tell, built) = mpsc::channel();
        let builder = Builder::new().file(path).file(disk.path().join("app.log")).require_outputs(required);
        let _detached = thread::spawn(move || tell.send(builder.build()));
        let built = built.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{path:?}: still waiting"));
        match built.unwrap_err() {
            InitError::Path { path: wrong, .. } if path == &directory => assert_eq!(wrong, directory),
            InitError::Output { output, .. } if path == &below_a_file => assert_eq!(Path::new(&output), below_a_file),
            error => panic!("{path:?}: {error}"),
        }
        wait_until("the writer ends", no_writer_runs);
        assert_eq!((fs.held(), disk.unmet()), (0, 1), "{path:?}: the next output was asked for");
    }
    Outcome::Holds("an output that can never work, and one that cannot be opened".into())
}

/// A file system that itself answers that its time was over was once taken for one that hangs.
pub(crate) fn a_setup_that_fails_leaves_nothing_that_it_created(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let mut failed = [0, 0];
    for (number, errno) in [libc::EIO, libc::ETIMEDOUT].into_iter().enumerate() {
        // A setup that fails deletes; what then fails stays.
        for (op, after) in OPS.into_iter().filter(|op| *op != Op::Unlink).flat_map(|op| (0..6).map(move |n| (op, n))) {
            let disk = fs.disk(&format!("{op:?}_{errno}_{after}"));
            disk.arm(op, How::Fails, errno, after, 1);
            let at = |name| LogFile::new(disk.path().join(name)).min_free_space(0);
            let built = Builder::new().file(at("one.log")).file(at("logs/two.log")).require_outputs(true).build();
            if let Err(error) = built {
                failed[number] += 1;
                assert!(no_writer_runs(), "{op:?} {errno} {after}: {error}");
                let left: Vec<_> = fs::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
                assert!(left.is_empty(), "{op:?} {errno} {after}: {error}: {left:?}");
            }
        }
    }
    assert!(failed.iter().all(|failed| *failed > 0), "{failed:?}");
    Outcome::Holds(format!("setups that failed with EIO and ETIMEDOUT: {failed:?}"))
}

/// What `file_systems.md` says of a disk that hangs: the program does not wait for it longer than
/// it promises, and no kill can do what the kernel does not.
pub(crate) fn a_program_ends_at_its_deadline_and_its_process_stays_until_the_write_that_hangs_returns(
    place: &Place,
) -> Outcome {
    let fs = mounted!(place);
    let disk = fs.disk("disk");
    disk.arm(Op::Write, How::Hangs, 0, 0, 1);
    let own = place.dir().join("program");
    fs::create_dir(&own).unwrap();
    let mut command = child::command(ENDING.name, &own);
    let mut program = command.env(LOG, disk.path().join("app.log")).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the write hangs", || fs.held() == 1);
    // Its first thread is gone, and so is all that the program did.
    let begun = Instant::now();
    wait_until("the program ends", || state_of(program.id()) == Some('Z'));
    let took = begun.elapsed();
    // Far more than its 2 s, and far less than for ever.
    assert!(took < Duration::from_secs(20), "it ended after {took:?}");
    program.kill().unwrap();
    assert_eq!(program.try_wait().unwrap(), None, "the kernel keeps the process");
    assert_eq!(fs.held(), 1);
    fs.release();
    let status = program.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    let text = text(disk.path());
    assert_eq!(text.records.get(&0).map(Vec::as_slice), Some(&[0][..]), "the write was done when it returned");
    Outcome::Holds(format!("the program ended {took:.1?} after the write had begun to hang"))
}

/// Who ends while the write of its log hangs.
pub(crate) const ENDING: Case = part("ending", Needs::Nothing, ending);
/// In its environment: where its log is.
const LOG: &str = "UNFAZED_FAULTY_LOG";

fn ending(_: &Place) -> Outcome {
    Builder::new().file(LogFile::new(env::var_os(LOG).unwrap()).min_free_space(0)).init().unwrap();
    say(log::logger(), 0, 0);
    Outcome::holds()
}

/// The state of a process, as the kernel shows it: `Z` when its first thread has ended.
fn state_of(process: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// sshfs and mergerfs: a rotation that waited for one number under two names never came.
pub(crate) fn a_log_whose_names_have_inode_numbers_of_their_own_is_rotated(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let disk = fs.disk("disk");
    disk.set_identity(Identity::OfNames);
    rotates(&disk)
}

pub(crate) fn a_log_without_hard_links_is_rotated(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let disk = fs.disk("disk");
    disk.arm(Op::Link, How::Fails, libc::EPERM, 0, u64::MAX);
    rotates(&disk)
}

fn rotates(disk: &Disk<'_>) -> Outcome {
    let (logger, handle) = log_on(disk, |file| file.rotation(Rotation::size(KIB)));
    let said = say_and_flush(&logger, &handle, 0, 200);
    let text = end(disk, logger, &handle, said);
    text.assert_complete(&[said]);
    let archives = archives(disk.path());
    assert!(text.notices.is_empty(), "{:?}", text.notices);
    let longest = archives.iter().map(|path| fs::metadata(path).unwrap().len()).max();
    assert!(archives.len() > 5 && longest <= Some(KIB), "{} archives of at most {longest:?} bytes", archives.len());
    Outcome::Holds(format!("{} archives of at most {longest:?} bytes", archives.len()))
}

pub(crate) fn space_that_shows_late_is_used_once_it_shows(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let disk = fs.disk("disk");
    disk.set_capacity(1 << 20);
    let (logger, handle) = log_on(&disk, |file| file.min_free_space(64 * KIB).error_reserve(0));
    let said = say_and_flush(&logger, &handle, 0, 4);
    let mut filler = Filler::new(disk.path().join("filler"));
    filler.fill();
    disk.account_late();
    let said = say_and_flush(&logger, &handle, said, 4);
    assert!(matches!(handle.state(), State::Suspended(_)), "{:?}", handle.state());
    filler.remove();
    disk.commit();
    wait_for_the_log(&handle);
    let said = say_and_flush(&logger, &handle, said, 4);
    let text = end(&disk, logger, &handle, said);
    Outcome::Holds(format!("{said} logged, {} written", text.records[&0].len()))
}

/// Without a reserve, an attempt says what there is, whatever the free space seems to be.
pub(crate) fn an_attempt_does_not_wait_for_space_that_shows_late(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let disk = fs.disk("disk");
    disk.set_capacity(1 << 20);
    let (logger, handle) = log_on(&disk, |file| file.error_reserve(0));
    let said = say_and_flush(&logger, &handle, 0, 4);
    let mut filler = Filler::new(disk.path().join("filler"));
    filler.fill();
    disk.account_late();
    let mut said = said;
    while handle.state() == State::Healthy {
        said = say_and_flush(&logger, &handle, said, 1);
    }
    filler.remove();
    wait_for_the_log(&handle);
    let said = say_and_flush(&logger, &handle, said, 4);
    let answer = rustix::fs::statvfs(disk.path()).unwrap();
    assert_eq!(answer.f_bavail, 0, "the freed space shows only after a commit");
    let text = end(&disk, logger, &handle, said);
    Outcome::Holds(format!("{said} logged, {} written", text.records[&0].len()))
}

pub(crate) fn what_a_remount_has_taken_is_reported(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let disk = fs.disk("disk");
    let (logger, handle) = log_on(&disk, |file| file);
    let path = disk.path().join("app.log");
    say_and_flush(&logger, &handle, 0, 20);
    fs::File::open(&path).unwrap().sync_all().unwrap();
    let synced = fs::read(&path).unwrap();
    let said = say_and_flush(&logger, &handle, 20, 20);
    let lost = fs::read(&path).unwrap().len() - synced.len();
    assert!(lost > 0);
    disk.remount();
    let said = say_and_flush(&logger, &handle, said, 2);
    wait_for_the_log(&handle);
    let said = say_and_flush(&logger, &handle, said, 2);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    drop(logger);
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(&synced), "what was synced is there");
    let text = text(disk.path());
    let reported = format!("bytes_cut_off={lost}");
    assert!(text.notices.iter().any(|line| line.contains(&reported)), "{reported}: {:?}", text.notices);
    Outcome::Holds(format!("{said} logged, {lost} bytes lost: {:?}", text.notices))
}

pub(crate) fn what_a_failed_sync_reported_is_reported_again_if_it_was_lost(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let disk = fs.disk("disk");
    let (logger, handle) = log_on(&disk, |file| file.fsync(Fsync::AfterErrors));
    // Record 3 is an ERROR, and asks for a sync.
    let said = say_and_flush(&logger, &handle, 0, 3);
    disk.arm(Op::Fsync, How::Fails, libc::EIO, 0, 1000);
    let said = say_and_flush(&logger, &handle, said, 5);
    let before = text(disk.path()).notices;
    assert!(before.iter().any(|line| line.contains("failed to fsync")), "{before:?}");
    // It takes the line on the failed sync as well.
    disk.remount();
    disk.clear();
    let said = say_and_flush(&logger, &handle, said, 2);
    wait_for_the_log(&handle);
    // Among them an ERROR, whose sync succeeds.
    let said = say_and_flush(&logger, &handle, said, 7);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    drop(logger);
    let after = text(disk.path()).notices;
    assert!(after.iter().any(|line| line.contains("failed to fsync")), "{after:?}, before: {before:?}");
    assert!(after.iter().any(|line| line.contains("bytes_cut_off=")), "{after:?}, before: {before:?}");
    Outcome::Holds(format!("{said} logged: {after:?}"))
}

/// The cases of `tests/files` on this file system.
pub(crate) fn whenever_it_is_killed_nothing_is_overwritten_and_everything_parses(place: &Place) -> Outcome {
    let fs = mounted!(place);
    kills::whenever_it_is_killed_nothing_is_overwritten_and_everything_parses(fs.disk("disk").path())
}

pub(crate) fn two_loggers_on_a_file_whose_names_differ_lose_nothing_and_one_of_them_rotates(place: &Place) -> Outcome {
    let fs = mounted!(place);
    let disk = fs.disk("disk");
    disk.set_identity(Identity::OfNames);
    hands::two_loggers_on_one_file_lose_nothing_and_one_of_them_rotates(disk.path())
}

/// Who is killed there.
pub(crate) const VICTIM: Case = part(kills::VICTIM, Needs::Nothing, victim);

fn victim(place: &Place) -> Outcome {
    kills::victim(place.dir());
    Outcome::holds()
}
