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
    use std::io::{ErrorKind, Read};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::process::{Child, Command, ExitCode, Stdio};
    use std::thread;
    use std::time::Duration;

    use log::LevelFilter;
    use rustix::fs::{CWD, Mode, mkfifoat};
    // Close-on-exec: what the child of another case inherits stays open as long as that one lives.
    use rustix::pipe::{PipeFlags, pipe_with};
    use unfazed::{Builder, Color, Console, KIB, LogFile, Overflow, State};

    use crate::support::child::{self, Outcome, wait_until};
    use crate::support::terminal::terminal;

    /// More than a pipe or a terminal holds.
    const RECORDS: usize = 20_000;
    /// More than a pipe, a terminal or a socket holds, and less than waits for a slow reader,
    /// twice.
    const PAUSED: usize = 3000;
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
            a_reader_that_pauses_gets_every_record,
            callers_that_wait_lose_nothing_to_a_slow_reader,
            no_line_is_torn_and_the_output_reports_what_it_has_dropped,
            a_fifo_gets_its_lines_from_reader_to_reader,
            a_stream_that_is_full_at_the_start_gets_every_record,
            a_filter_that_changes_takes_max_level_with_it_and_prints_nothing,
        ])
    }

    /// What the child does.
    fn log(role: &str, file: &Path) {
        match role {
            "pause" => return pause(file),
            "block" => return block(),
            "flood" => return flood(file),
            "fifo" => return to_fifo(file),
            _ => {}
        }
        let builder = Builder::new().file(file).capacity(2 * RECORDS);
        match role {
            "stderr" | "stdout" => {
                let console = if role == "stderr" { Console::stderr() } else { Console::stdout() };
                let console = console.patience(Duration::from_secs(1));
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

    /// Logs more than the stream takes, says so by a file, and logs more.
    fn pause(file: &Path) {
        let handle = Builder::new().console(Console::stdout()).shutdown_timeout(PATIENCE).init().unwrap();
        (0..PAUSED).for_each(|number| log::info!("record {number}"));
        let mut written = u64::MAX;
        while std::mem::replace(&mut written, handle.stats().written) != handle.stats().written {
            thread::sleep(Duration::from_millis(20));
        }
        assert!(handle.stats().pending > 0, "{:?}", handle.stats());
        (PAUSED..2 * PAUSED).for_each(|number| log::info!("record {number}"));
        assert_eq!(handle.state(), State::Healthy);
        File::create(file).unwrap();
    }

    /// Waits for the reader of the console; the file must not lose anything, either.
    fn block() {
        let console = Console::stdout().backlog(64 * KIB).patience(PATIENCE);
        let builder = Builder::new().console(console).overflow(Overflow::Block).capacity(256);
        let handle = builder.shutdown_timeout(PATIENCE).init().unwrap();
        (0..RECORDS).for_each(|number| log::info!("record {number}"));
        handle.flush(PATIENCE).unwrap();
        let stats = handle.stats();
        assert_eq!((stats.written, stats.dropped.total()), (RECORDS as u64, 0), "{stats:?}");
    }

    /// Floods the stream, which is suspended now and then, with lines of all lengths; writes down
    /// how many were written, and how many dropped.
    fn flood(file: &Path) {
        let console = Console::stdout().color(Color::Never).backlog(32 * KIB).patience(Duration::from_millis(50));
        let handle = Builder::new().console(console).shutdown_timeout(PATIENCE).init().unwrap();
        for number in 0..RECORDS {
            let padding = if number % 100 == 7 { 20_000 } else { number % 300 };
            log::info!("record {number} {:-<padding$} end", "");
            if number % 64 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        handle.shutdown(PATIENCE).ok();
        let stats = handle.stats();
        assert_eq!(stats.accepted, stats.written + stats.dropped.total(), "{stats:?}");
        fs::write(file, format!("{} {}", stats.written, stats.dropped.total())).unwrap();
    }

    /// Logs to the FIFO `log` until the file `stop` is there.
    fn to_fifo(fifo: &Path) {
        let handle = Builder::new().file(LogFile::new(fifo)).shutdown_timeout(PATIENCE).init().unwrap();
        let stop = fifo.with_file_name("stop");
        let mut number = 0;
        while !stop.exists() {
            log::info!("record {number} end");
            number += 1;
            thread::sleep(Duration::from_micros(200));
        }
        handle.shutdown(PATIENCE).unwrap();
    }

    /// The two ends of each kind of stream: ours, and that of the child.
    fn streams() -> [(&'static str, Box<dyn Read + Send>, OwnedFd); 3] {
        let (pipe, theirs_of_pipe) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (socket, theirs_of_socket) = UnixStream::pair().unwrap();
        let (terminal, theirs_of_terminal) = terminal();
        [
            ("pipe", Box::new(File::from(pipe)), theirs_of_pipe),
            ("socket", Box::new(socket), theirs_of_socket.into()),
            ("terminal", Box::new(terminal), theirs_of_terminal),
        ]
    }

    /// Reads up to the end, `most` bytes at once, and calls `pause` after each with their number. A
    /// terminal ends with an error, and its lines with a carriage return.
    fn read_to_end(mut stream: impl Read, most: usize, mut pause: impl FnMut(usize)) -> String {
        let (mut text, mut buffer) = (Vec::new(), vec![0; most]);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => {
                    text.extend_from_slice(&buffer[..bytes]);
                    pause(text.len());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        String::from_utf8(text).unwrap().replace("\r\n", "\n")
    }

    fn numbers(text: &str) -> impl Iterator<Item = usize> {
        text.lines().filter_map(|line| line.split_once(" record ")?.1.split(' ').next()?.parse().ok())
    }

    fn a_terminal_that_stands_still_does_not_stop_the_file(dir: &Path) {
        let (ours, theirs) = terminal();
        assert_ends_well(child("stderr", dir).stderr(theirs).spawn().unwrap(), "a terminal that nobody reads");
        assert_file_has_all(dir, "a terminal that nobody reads");
        drop(ours);
    }

    fn a_pipe_whose_reader_stops_or_goes_does_not_stop_the_file_and_kills_nobody(dir: &Path) {
        thread::scope(|scope| {
            for (case, reader_goes) in [("stdout", false), ("stdout", true), ("stderr", false), ("stderr", true)] {
                scope.spawn(move || {
                    let what = format!("{case}, the reader goes: {reader_goes}");
                    let dir = &dir.join(&what);
                    child::renew(dir);
                    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
                    let kept = (!reader_goes).then_some(reader);
                    let mut child = child(case, dir);
                    let child = if case == "stdout" { child.stdout(writer) } else { child.stderr(writer) };
                    assert_ends_well(child.spawn().unwrap(), &what);
                    assert_file_has_all(dir, &what);
                    drop(kept);
                });
            }
        });
    }

    /// The reader begins only when the stream is full, and more was logged; then the child ends.
    fn a_reader_that_pauses_gets_every_record(dir: &Path) {
        for (kind, ours, theirs) in streams() {
            child::renew(dir);
            let child = child("pause", dir).stdout(theirs).spawn().unwrap();
            wait_until(|| format!("the {kind} is full"), PATIENCE, || dir.join("log").exists());
            let text = read_to_end(ours, 64 << 10, |_| {});
            assert_ends_well(child, kind);
            assert!(numbers(&text).eq(0..2 * PAUSED), "{kind}: {} lines", text.lines().count());
            assert_eq!(text.lines().count(), 2 * PAUSED, "{kind}: nothing else is said");
        }
    }

    fn callers_that_wait_lose_nothing_to_a_slow_reader(dir: &Path) {
        for (kind, ours, theirs) in streams() {
            let child = child("block", dir).stdout(theirs).spawn().unwrap();
            let text = read_to_end(ours, 16 << 10, |_| thread::sleep(Duration::from_millis(3)));
            assert_ends_well(child, kind);
            assert!(numbers(&text).eq(0..RECORDS), "{kind}: {} lines", text.lines().count());
        }
    }

    /// Its reader stands still for longer than the patience of the output, again and again.
    fn no_line_is_torn_and_the_output_reports_what_it_has_dropped(dir: &Path) {
        for (kind, ours, theirs) in streams() {
            let child = child("flood", dir).stdout(theirs).spawn().unwrap();
            let mut paused = 0;
            let text = read_to_end(ours, 8 << 10, |bytes| {
                if bytes / 500_000 > paused {
                    paused = bytes / 500_000;
                    thread::sleep(Duration::from_millis(120));
                }
            });
            assert_ends_well(child, kind);
            let (mut records, mut reported) = (Vec::new(), 0);
            for line in text.lines() {
                if let Some((_, said)) = line.split_once(" WARN  unfazed: ") {
                    let before = said.split_once(" dropped").unwrap_or_else(|| panic!("{kind}: {line:.200}")).0;
                    reported += before.rsplit(' ').nth(1).unwrap().parse::<u64>().unwrap();
                    continue;
                }
                let number = numbers(line).next().unwrap_or_else(|| panic!("{kind}: {line:.200}"));
                assert!(line.ends_with(" end") && line.matches(" record ").count() == 1, "{kind}: {line:.200}");
                records.push(number);
            }
            assert!(records.is_sorted_by(|one, next| one < next), "{kind}");
            let counted = fs::read_to_string(dir.join("log")).unwrap();
            assert_eq!(format!("{} {reported}", records.len()), counted, "{kind}");
        }
    }

    /// What is in the FIFO goes away with its reader, unless the next one is there before the child
    /// has noticed: that begins where the other stopped. No line is torn otherwise, and none is
    /// there twice.
    fn a_fifo_gets_its_lines_from_reader_to_reader(dir: &Path) {
        let fifo = dir.join("log");
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        let mut child = child("fifo", dir).spawn().unwrap();
        let (mut last, mut unfinished) = (None, String::new());
        for reader in 0..4 {
            let mut text = read_until(File::open(&fifo).unwrap(), |_, text| text.len() >= 20_000);
            if !begins_a_line(&text) {
                text.insert_str(0, &unfinished);
            }
            unfinished = text.split_off(text.rfind('\n').unwrap() + 1);
            for line in text.lines().filter(|line| !line.contains(" unfazed: ")) {
                assert!(begins_a_line(line) && line.ends_with(" end"), "reader {reader}: {line}");
                let number = numbers(line).next();
                assert!(number > last, "reader {reader}: {number:?} after {last:?}");
                last = number;
            }
        }
        // Somebody must read until the child has ended: what nobody can take is dropped, which it
        // would report.
        let stream = File::open(&fifo).unwrap();
        File::create(dir.join("stop")).unwrap();
        let mut ended = false;
        let rest = read_until(stream, |bytes, _| {
            let is_all = ended && bytes == 0;
            ended = ended || child.try_wait().unwrap().is_some();
            is_all
        });
        assert_ends_well(child, "a FIFO");
        assert!(rest.is_empty() || rest.ends_with('\n'));
    }

    /// Reads until `is_enough` says so of what was read at last, and of all. The end of a FIFO is
    /// not the last word: a child that notices late that the reader before this one has gone closes
    /// it and opens it again.
    fn read_until(mut stream: File, mut is_enough: impl FnMut(usize, &[u8]) -> bool) -> String {
        let (mut text, mut buffer) = (Vec::new(), vec![0; 4096]);
        wait_until(
            || "enough of the FIFO is read".to_owned(),
            PATIENCE,
            || {
                let bytes = stream.read(&mut buffer).unwrap();
                text.extend_from_slice(&buffer[..bytes]);
                is_enough(bytes, &text)
            },
        );
        String::from_utf8(text).unwrap()
    }

    /// Whether the time of a line, as in `2026-01-31T23:59:59.123456Z`, stands there.
    fn begins_a_line(text: &str) -> bool {
        text.as_bytes().get(10) == Some(&b'T') && text.as_bytes().get(26..28) == Some(b"Z ")
    }

    /// As the pipe to a pager that has not begun to read.
    fn a_stream_that_is_full_at_the_start_gets_every_record(dir: &Path) {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let flags = rustix::fs::fcntl_getfl(&theirs).unwrap();
        rustix::fs::fcntl_setfl(&theirs, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        let mut filled = 0;
        while let Ok(bytes) = rustix::io::write(&theirs, &[b'x'; 4096]) {
            filled += bytes;
        }
        rustix::fs::fcntl_setfl(&theirs, flags).unwrap();
        let child = child("pause", dir).stdout(theirs).spawn().unwrap();
        wait_until(|| "the pipe is full".to_owned(), PATIENCE, || dir.join("log").exists());
        let text = read_to_end(File::from(ours), 64 << 10, |_| {});
        assert_ends_well(child, "a full pipe");
        assert!(numbers(&text[filled..]).eq(0..2 * PAUSED), "{} lines", text.lines().count());
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
