//! What is true when `init` returns: the files are open, with the umask and the rights of that
//! moment, or the state says why not.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use unfazed::{Batch, Builder, Cause, Handle, InitError, LogFile, Now, Sink, State, WriteError};

use crate::harness::{Case, Ended, Place};
use crate::load::{PATIENCE, say, say_all, to_file, to_log, wait_until};
use crate::readback::Log;
use crate::unix::{self, PROMPTLY};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::inside("the_file_is_there_when_init_returns_and_can_be_given_away", there_after_init).times(50),
        Case::new("the_umask_around_init_is_the_files", umask_around_init, |ended| {
            assert_eq!(mode(ended), 0o600);
        })
        .times(50),
        Case::new("rights_that_are_dropped_after_init_cost_no_record", rights_dropped, |ended| {
            ended.log().assert_all(0, 10);
        })
        .times(40),
        Case::new("rights_that_are_dropped_cost_no_record_later_either", rights_dropped_for_long, |ended| {
            let log = ended.log();
            log.assert_all(0, log.len());
        }),
        Case::inside("a_path_that_cannot_be_opened_is_the_state_when_init_returns", state_after_init),
        Case::inside("an_output_that_hangs_does_not_stop_init", hung_output),
        Case::inside("a_child_that_is_forked_right_after_init_does_not_wait_for_it", forked_after_init).times(20),
        Case::inside("a_required_output_that_cannot_be_opened_is_an_error_and_nothing_is_left", required).needs_linux(),
        Case::inside("required_outputs_on_a_taken_logger_leave_nothing", required_on_taken_logger).needs_linux(),
        Case::inside("a_required_output_that_hangs_is_an_error_in_time", required_and_hung),
    ]
}

fn there_after_init(place: &Place) {
    let path = place.path("made/app.log");
    let handle = init(to_file(LogFile::new(&path)));
    let file = fs::metadata(&path).unwrap();
    assert_eq!(handle.state(), State::Healthy);
    std::os::unix::fs::chown(&path, Some(file.uid()), Some(file.gid())).unwrap();
}

/// `init` waits at most this long for the outputs to be opened.
const OPENED_WITHIN: Duration = Duration::from_millis(250);

/// Makes the logger, and waits until its outputs were tried. `init` does so itself, unless a busy
/// machine takes the time to itself in which it does.
fn init(builder: Builder) -> Handle {
    let begun = Instant::now();
    let handle = builder.init().unwrap();
    if begun.elapsed() >= OPENED_WITHIN {
        let _ = handle.flush(PATIENCE);
    }
    handle
}

fn umask_around_init(place: &Place) {
    let before = unix::umask(0o077);
    let handle = init(to_log(place));
    unix::umask(before);
    say(0, 0);
    handle.flush(PATIENCE).unwrap();
}

fn mode(ended: &Ended) -> u32 {
    fs::metadata(ended.place.log()).unwrap().mode() & 0o777
}

/// The log lies in a directory that only root may enter.
fn rights_dropped(place: &Place) {
    if !unix::is_root() {
        return place.skip("only root can give up rights");
    }
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o700)).unwrap();
    let handle = init(to_log(place));
    unix::become_nobody();
    say_all(0, 10);
    handle.flush(PATIENCE).unwrap();
}

/// Goes on until the path, which cannot be seen any more, was looked at again: the log was
/// suspended then, as if the file had been moved away.
fn rights_dropped_for_long(place: &Place) {
    if !unix::is_root() {
        return place.skip("only root can give up rights");
    }
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o700)).unwrap();
    let handle = init(to_log(place));
    unix::become_nobody();
    let begun = Instant::now();
    let mut n = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        say(0, n);
        n += 1;
        handle.flush(PATIENCE).unwrap();
    }
    assert_eq!((handle.stats().written, handle.state()), (n, State::Healthy));
}

fn state_after_init(place: &Place) {
    fs::write(place.path("file"), "").unwrap();
    let handle = init(to_file(LogFile::new(place.path("file/app.log"))));
    assert_eq!(handle.state(), State::Suspended(Cause::Missing));
}

/// Hangs in its first attempt for as long as the other end is there.
struct HungStart(mpsc::Receiver<()>);

impl Sink for HungStart {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        Ok(())
    }

    fn retry(&mut self, _: Now) -> Result<(), WriteError> {
        // The error is the other end's going.
        let _ = self.0.recv();
        Ok(())
    }
}

fn hung_output(place: &Place) {
    let (gate, waits) = mpsc::channel();
    let begun = Instant::now();
    let handle = to_log(place).sink("hung", HungStart(waits)).init().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
    assert!(place.log().exists(), "the outputs before it are open");
    say_all(0, 10);
    drop(gate);
    handle.flush(PATIENCE).unwrap();
    Log::read(&place.log()).assert_all(0, 10);
}

fn forked_after_init(place: &Place) {
    let handle = to_log(place).init().unwrap();
    let child = unix::fork(|| {
        say_all(1, 10);
        unix::End::Exit
    });
    say_all(0, 10);
    child.wait();
    handle.flush(PATIENCE).unwrap();
    let log = Log::read(&place.log());
    (0..2).for_each(|author| log.assert_all(author, 10));
}

fn required(place: &Place) {
    fs::write(place.path("file"), "").unwrap();
    fs::write(place.path("old.log"), "an old line\n").unwrap();
    let before = threads();
    for _ in 0..20 {
        let error = to_file(LogFile::new(place.path("made/deep/new.log")).symlink(place.path("made/link")))
            .file(place.path("old.log"))
            .file(place.path("file/app.log"))
            .require_outputs(true)
            .init()
            .unwrap_err();
        let InitError::Output { output, cause: Cause::Missing, error: Some(why), .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*output, place.path("file/app.log").to_str().unwrap());
        assert_eq!(why.kind(), std::io::ErrorKind::NotADirectory);
        assert!(error.to_string().contains(output), "{error}");
        assert!(!place.path("made").exists());
    }
    wait_until("no thread is left", || threads() == before);
    assert_eq!(fs::read_to_string(place.path("old.log")).unwrap(), "an old line\n");
    let handle = to_log(place).require_outputs(true).init().unwrap();
    assert_eq!(handle.state(), State::Healthy);
    say_all(0, 10);
    handle.flush(PATIENCE).unwrap();
    Log::read(&place.log()).assert_all(0, 10);
}

fn required_on_taken_logger(place: &Place) {
    let handle = to_log(place).init().unwrap();
    let before = threads();
    for _ in 0..20 {
        let begun = Instant::now();
        let second = to_file(LogFile::new(place.path("made/second.log"))).require_outputs(true).init();
        assert!(matches!(second, Err(InitError::LoggerSet(_))), "{second:?}");
        assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
        assert!(!place.path("made").exists());
    }
    wait_until("no thread is left", || threads() == before);
    say_all(0, 10);
    handle.flush(PATIENCE).unwrap();
    Log::read(&place.log()).assert_all(0, 10);
}

fn required_and_hung(place: &Place) {
    let (gate, waits) = mpsc::channel();
    let begun = Instant::now();
    let error = to_log(place).sink("hung", HungStart(waits)).require_outputs(true).build().map(|_| ()).unwrap_err();
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
    let InitError::Output { output, error: Some(why), .. } = &error else { panic!("{error:?}") };
    assert_eq!((output.as_str(), why.kind()), ("hung", std::io::ErrorKind::TimedOut));
    drop(gate);
    // The thread ends by itself, and a second attempt works.
    let (_logger, handle) = to_log(place).require_outputs(true).build().unwrap();
    assert_eq!(handle.state(), State::Healthy);
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
