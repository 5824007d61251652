//! A daemon that closes every number which it does not know, and opens files of its own in their
//! place, as the recipes for daemons of many systems say.
//!
//! The log kept its numbers, and used them on: the lines of a console went into a file of the
//! program, for ever, and those of a log for up to 100 ms. Then the log closed the number, and with
//! it the program's file; so did the fork hook in a child. A debug build was aborted by std, which
//! refuses to close a number twice.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use unfazed::{Builder, Console, LogFile, State};

use crate::harness::{Case, Place};
use crate::load::{PATIENCE, assert_settled, say_all, to_log, wait_until};
use crate::readback::Log;
use crate::unix::{End, close_numbers, fork, give_number};

/// The first number that is none of the three streams.
const FIRST: i32 = 3;
/// A number that stays.
const LAST: i32 = 200;
/// More than the logger has open.
const OWN: usize = 20;
const MINE: &str = "the program's own\n";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::inside("a_daemon_that_closes_all_descriptors_keeps_its_own_files_and_every_record", file),
        Case::inside("a_daemon_that_opens_the_log_itself_keeps_its_descriptors_and_every_record", same_file),
        Case::inside("of_two_logs_whose_descriptors_were_closed_each_gets_its_own_records", two_logs),
        Case::inside("a_console_in_a_file_whose_descriptor_was_closed_is_back", console_in_a_file),
        Case::inside("a_console_in_a_socket_whose_descriptor_was_closed_is_back", console_in_a_socket),
        Case::new("a_log_whose_descriptors_were_closed_is_written_to_its_end", closed_and_ends, |ended| {
            let log = ended.log();
            (0..2).for_each(|author| log.assert_all(author, 50));
        }),
    ]
}

/// Files that the program has opened at the numbers that it has closed.
struct Own(Vec<(PathBuf, File)>);

impl Own {
    fn open(place: &Place) -> Self {
        Self(
            (0..OWN)
                .map(|number| {
                    let path = place.path(&format!("own.{number}"));
                    let mut file = File::create(&path).unwrap();
                    file.write_all(MINE.as_bytes()).unwrap();
                    (path, file)
                })
                .collect(),
        )
    }

    fn assert_untouched(&self) {
        for (path, file) in &self.0 {
            let there = fs::metadata(path).unwrap();
            let open = file.metadata().map(|open| (open.dev(), open.ino()));
            assert_eq!(open.ok(), Some((there.dev(), there.ino())), "{} is still open", path.display());
            assert_eq!(fs::read_to_string(path).unwrap(), MINE, "{}", path.display());
        }
    }
}

fn file(place: &Place) {
    let handle = to_log(place).init().unwrap();
    say_all(0, 50);
    handle.flush(PATIENCE).unwrap();
    close_numbers(FIRST..LAST);
    let own = Own::open(place);
    fork(|| {
        own.assert_untouched();
        say_all(1, 50);
        End::Exit
    })
    .wait();
    own.assert_untouched();
    say_all(2, 50);
    handle.flush(PATIENCE).unwrap();
    own.assert_untouched();
    let log = Log::read_shared(&place.log());
    (0..3).for_each(|author| log.assert_all(author, 50));
    assert_settled(&handle.stats());
    assert_eq!(handle.stats().dropped.total(), 0);
}

/// The logger wrote through a descriptor that the program had opened to write, over the first
/// records, and closed it later.
fn same_file(place: &Place) {
    let handle = to_log(place).init().unwrap();
    say_all(0, 50);
    handle.flush(PATIENCE).unwrap();
    close_numbers(FIRST..LAST);
    let mut own: Vec<File> = (0..OWN).map(|_| File::options().write(true).open(place.log()).unwrap()).collect();
    say_all(1, 50);
    handle.flush(PATIENCE).unwrap();
    handle.shutdown(PATIENCE).unwrap();
    assert!(own.iter_mut().all(|own| own.stream_position().is_ok_and(|place| place == 0)), "open, and not used");
    let log = Log::read_shared(&place.log());
    (0..2).for_each(|author| log.assert_all(author, 50));
    assert_eq!(handle.stats().dropped.total(), 0);
}

/// After a rotation, the first log has a higher number than the second one. When it was opened
/// again, it got the number that the second one had, which took it for its own file.
fn two_logs(place: &Place) {
    let file = |name: &str| LogFile::new(place.path(name)).min_free_space(0).filter(name);
    let handle = Builder::new().file(file("one")).file(file("other")).init().unwrap();
    let mut lines = 0;
    let mut log_to_both = || {
        for target in ["one", "other"] {
            log::info!(target: target, "of {target}");
        }
        handle.flush(PATIENCE).unwrap();
        lines += 1;
    };
    log_to_both();
    handle.rotate();
    log_to_both();
    close_numbers(FIRST..LAST);
    (0..2).for_each(|_| log_to_both());
    for (name, other) in [("one", "other"), ("other", "one")] {
        // A rotation on demand may come before or after the record that is logged next.
        let files = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().path());
        let own = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(name));
        let text: String = own.map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(text.matches(&format!("of {other}")).count(), 0, "{text}");
        assert_eq!(text.matches(&format!("of {name}")).count(), lines, "{text}");
    }
}

/// A regular file keeps the description of the program's own output.
fn console_in_a_file(place: &Place) {
    let path = place.path("console");
    give_number(File::create(&path).unwrap(), 1);
    assert_console_is_back(place, || fs::read_to_string(&path).unwrap());
}

/// Of a socket nobody can make a description of his own.
fn console_in_a_socket(place: &Place) {
    let (reader, stdout) = UnixStream::pair().unwrap();
    give_number(stdout, 1);
    reader.set_nonblocking(true).unwrap();
    give_number(reader, LAST);
    // SAFETY: it is open until the process ends, and not closed here.
    let mut reader = ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(LAST) });
    let mut all = Vec::new();
    assert_console_is_back(place, || {
        let _ = reader.read_to_end(&mut all); // `WouldBlock`: what is there is in.
        String::from_utf8_lossy(&all).into_owned()
    });
}

fn assert_console_is_back(place: &Place, mut read: impl FnMut() -> String) {
    let handle = Builder::new().console(Console::stdout()).init().unwrap();
    say_all(0, 50);
    handle.flush(PATIENCE).unwrap();
    assert_eq!(Log::of_lines(&read()).of(0).len(), 50);
    close_numbers(FIRST..LAST);
    let own = Own::open(place);
    say_all(1, 50);
    let _ = handle.flush(PATIENCE); // It is suspended now.
    wait_until("the console is back", || handle.state() == State::Healthy);
    say_all(2, 50);
    handle.flush(PATIENCE).unwrap();
    own.assert_untouched();
    let log = Log::of_lines(&read());
    assert_eq!((log.of(0).len(), log.of(2).len()), (50, 50));
    let stats = handle.stats();
    assert_settled(&stats);
    assert_eq!(log.len(), stats.written);
    assert_eq!(stats.dropped.total(), stats.dropped.io_error);
}

/// Nothing takes the numbers. If a debug build closed one of them again, std would abort it.
fn closed_and_ends(place: &Place) {
    let handle = to_log(place).init().unwrap();
    say_all(0, 50);
    handle.flush(PATIENCE).unwrap();
    close_numbers(FIRST..LAST);
    say_all(1, 50);
}
