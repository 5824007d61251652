//! What `cargo test` shows of a program's log: the lines of a failing test, and no others. The
//! tests below are run again, by themselves, as the tests of a program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use std::io::Write as _;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use log::{LevelFilter, Log as _};
use unfazed::{Builder, Console, Format, LogFile, Logger};

/// Set in the process that plays the program's tests.
const PROGRAM: &str = "UNFAZED_CAPTURED";

/// What a program has at the beginning of each of its tests.
fn init() {
    let console = Console::test().level(LevelFilter::Debug);
    // The file takes what the console does not.
    let _ = Builder::new().level(LevelFilter::Trace).console(console).file("/dev/null").try_init().unwrap();
}

#[test]
fn program_passes() {
    if std::env::var_os(PROGRAM).is_some() {
        init();
        log::info!("a line of the test that passes");
        std::thread::spawn(|| log::info!("a line of its thread")).join().unwrap();
    }
}

#[test]
fn program_fails() {
    if std::env::var_os(PROGRAM).is_some() {
        init();
        log::info!("a line of the test that fails");
        for number in 0..2 {
            unfazed::info!("line {number} of a site");
        }
        std::thread::spawn(|| log::debug!("a line of a thread")).join().unwrap();
        log::trace!("a line that the console does not take");
        panic!("on purpose");
    }
}

#[test]
fn the_lines_of_a_failing_test_are_shown_and_no_others() {
    let program = Command::new(std::env::current_exe().unwrap()).arg("program").env(PROGRAM, "1").output().unwrap();
    assert_eq!(program.status.code(), Some(101));
    let shown = String::from_utf8(program.stdout).unwrap() + &String::from_utf8(program.stderr).unwrap();
    for (line, times) in [
        ("a line of the test that fails", 1),
        ("line 0 of a site", 1),
        ("line 1 of a site", 1),
        ("a line of a thread", 1),
        ("a line of the test that passes", 0),
        ("a line of its thread", 0),
        ("a line that the console does not take", 0),
    ] {
        assert_eq!(shown.matches(line).count(), times, "{line}: {shown}");
    }
}

/// The macro that prints panicked out of the log call.
#[test]
#[cfg(target_os = "linux")]
fn a_stream_that_takes_nothing_is_not_the_callers_failure() {
    let this = std::env::current_exe().unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let arguments = ["--exact", "program_passes", "--nocapture"];
    let program = Command::new(this).args(arguments).env(PROGRAM, "1").stderr(full).status().unwrap();
    assert!(program.success(), "{program}");
}

#[test]
fn what_is_printed_counts_as_written() {
    let (logger, handle) = Builder::new().console(Console::test()).build().unwrap();
    let record = log::Record::builder().level(log::Level::Info).args(format_args!("hello")).build();
    logger.log(&record);
    handle.flush(Duration::from_secs(60)).unwrap();
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.written, stats.outputs[0].name.as_str()), (1, 1, "test"));
}

/// The stack overflowed: each line that the format logged asked it for another one.
#[test]
fn a_format_that_logs_is_not_asked_about_its_own_records() {
    static LOGGER: OnceLock<Logger> = OnceLock::new();
    let hello = log::Record::builder().level(log::Level::Info).args(format_args!("hello")).build();
    let format = Format::custom(|line, record| {
        let own = log::Record::builder().level(log::Level::Info).args(format_args!("of the format")).build();
        LOGGER.get().unwrap().log(&own);
        writeln!(line, "{}", record.message())
    });
    let (logger, handle) = Builder::new().console(Console::test().format(format)).build().unwrap();
    LOGGER.get_or_init(|| logger).log(&hello);
    handle.flush(Duration::from_secs(60)).unwrap();
    assert_eq!(handle.stats().outputs[0].written, 2, "what it logs counts");
}

#[test]
fn a_taken_logger_is_no_error_for_try_init() {
    if std::env::var_os(PROGRAM).is_none() {
        let first = Builder::new().console(Console::test()).try_init().unwrap();
        let second = Builder::new().console(Console::test()).try_init().unwrap();
        assert!(first.is_some() && second.is_none());
        let dir = tempfile::tempdir().unwrap();
        let bad = LogFile::new(dir.path().join("app.log")).max_files(0);
        assert!(Builder::new().file(bad).try_init().is_err(), "what is wrong stays an error");
    }
}
