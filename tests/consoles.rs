//! Consoles that fail, and a filter that changes: each in a process of its own, which may end in no
//! other way than well and says nothing but its records.
//!
//! A target with a harness of its own, because the standard one would write to the children's
//! streams.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong
#![cfg_attr(not(target_os = "linux"), allow(unused))]

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Linux");
}

#[cfg(target_os = "linux")]
mod support;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::path::Path;
    use std::process::{Child, Command, ExitCode, Stdio};
    use std::thread;
    use std::time::Duration;

    use log::LevelFilter;
    use unfazed::{Builder, Console, State};

    use crate::support::child::{self, Outcome, wait_until};
    use crate::support::terminal::terminal;

    /// More than a pipe or a terminal holds.
    const RECORDS: usize = 20_000;
    /// More than a pipe holds, and less than waits for a slow reader, twice.
    const PAUSED: usize = 2000;
    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A child with this role, with its file in `dir`.
    fn child(role: &str, dir: &Path) -> Command {
        let mut child = child::command(role, dir);
        child.env("UNFAZED_TEST_LOG", "debug,nonsense=loud").stdout(Stdio::null()).stderr(Stdio::null());
        child
    }

    fn assert_ends_well(mut child: Child, what: &str) {
        let mut status = None;
        wait_until(
            || format!("the end of the child: {what}"),
            PATIENCE,
            || {
                status = child.try_wait().unwrap();
                status.is_some()
            },
        );
        assert!(status.unwrap().success(), "{what}: {status:?}");
    }

    fn assert_file_has_all(dir: &Path, what: &str) {
        let text = fs::read_to_string(dir.join("log")).unwrap();
        let numbers = text.lines().filter_map(|line| line.split_once(" record ")?.1.parse::<usize>().ok());
        assert!(numbers.eq(0..RECORDS), "{what}: {text:.200}");
    }

    pub(crate) fn main() -> ExitCode {
        if let Some((role, dir)) = child::role() {
            log(&role, &dir.join("log"));
            return ExitCode::SUCCESS;
        }
        macro_rules! cases {
            ($($name:ident,)*) => {
                vec![$(child::Case::new(stringify!($name), |dir| {
                    $name(dir);
                    Ok(Outcome::holds())
                })),*]
            };
        }
        child::main(cases![
            a_terminal_that_stands_still_does_not_stop_the_file,
            a_pipe_whose_reader_stops_or_goes_does_not_stop_the_file_and_kills_nobody,
            a_pipe_whose_reader_pauses_gets_every_record,
            a_filter_that_changes_takes_max_level_with_it_and_prints_nothing,
        ])
    }

    /// What the child does.
    fn log(role: &str, file: &Path) {
        if role == "pause" {
            let handle = Builder::new().console(Console::stdout()).init().unwrap();
            for number in 0..PAUSED {
                log::info!("record {number}");
            }
            while !matches!(handle.state(), State::Suspended(_)) {
                thread::sleep(Duration::from_millis(1));
            }
            for number in PAUSED..2 * PAUSED {
                log::info!("record {number}");
            }
            File::create(file).unwrap();
            return;
        }
        let builder = Builder::new().file(file).capacity(2 * RECORDS);
        match role {
            "stderr" | "stdout" => {
                let console = if role == "stderr" { Console::stderr() } else { Console::stdout() };
                let handle = builder.console(console).init().unwrap();
                for number in 0..RECORDS {
                    log::info!("record {number}");
                }
                // The console has lost some, and says so; the file has all.
                assert!(handle.flush(PATIENCE).is_err());
                assert!(matches!(handle.state(), State::Suspended(_)), "{:?}", handle.stats());
                let stats = handle.stats();
                assert_eq!((stats.written, stats.dropped.total()), (RECORDS as u64, 0), "{stats:?}");
                assert_eq!(stats.outputs[0].state, State::Healthy);
            }
            _ => {
                let handle = builder.level(LevelFilter::Warn).filter_env("UNFAZED_TEST_LOG").init().unwrap();
                assert_eq!(log::max_level(), LevelFilter::Debug);
                handle.push_filter("trace").unwrap().keep();
                assert_eq!(log::max_level(), LevelFilter::Trace);
                handle.set_filter("error").unwrap();
                assert_eq!(log::max_level(), LevelFilter::Trace, "still pushed");
                handle.pop_filter();
                assert_eq!(log::max_level(), LevelFilter::Error);
                handle.set_filter("app=debug,=,x=y=z").unwrap_err();
                assert_eq!(log::max_level(), LevelFilter::Error);
                handle.flush(PATIENCE).unwrap();
            }
        }
    }

    fn a_terminal_that_stands_still_does_not_stop_the_file(dir: &Path) {
        let (ours, theirs) = terminal();
        assert_ends_well(child("stderr", dir).stderr(theirs).spawn().unwrap(), "a terminal that nobody reads");
        assert_file_has_all(dir, "a terminal that nobody reads");
        drop(ours);
    }

    fn a_pipe_whose_reader_stops_or_goes_does_not_stop_the_file_and_kills_nobody(dir: &Path) {
        for (case, reader_goes) in [("stdout", false), ("stdout", true), ("stderr", false), ("stderr", true)] {
            let what = format!("{case}, the reader goes: {reader_goes}");
            child::renew(dir);
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            let kept = (!reader_goes).then_some(reader);
            let mut child = child(case, dir);
            let child = if case == "stdout" { child.stdout(writer) } else { child.stderr(writer) };
            assert_ends_well(child.spawn().unwrap(), &what);
            assert_file_has_all(dir, &what);
            drop(kept);
        }
    }

    /// The reader begins only when the pipe is full, the output suspended, and more was logged;
    /// then the child ends.
    fn a_pipe_whose_reader_pauses_gets_every_record(dir: &Path) {
        let mut child = child("pause", dir).stdout(Stdio::piped()).spawn().unwrap();
        wait_until(|| "the output is suspended".to_owned(), PATIENCE, || dir.join("log").exists());
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_ends_well(child, "a reader that pauses");
        let records = text.lines().filter_map(|line| line.split_once(" record ")?.1.parse::<usize>().ok());
        assert!(records.eq(0..2 * PAUSED), "{text}");
        assert!(text.contains("logging resumed, 0 records dropped"), "{text}");
    }

    fn a_filter_that_changes_takes_max_level_with_it_and_prints_nothing(dir: &Path) {
        let (stdout, stderr) = (dir.join("stdout"), dir.join("stderr"));
        let mut child = child("filter", dir);
        let child = child.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        assert_ends_well(child.spawn().unwrap(), "a filter");
        assert_eq!(fs::read_to_string(&stdout).unwrap() + &fs::read_to_string(&stderr).unwrap(), "");
        let text = fs::read_to_string(dir.join("log")).unwrap();
        assert!(text.contains("nonsense=loud") && text.lines().count() == 1, "{text}");
    }
}
