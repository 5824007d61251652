//! A console that is a pipe.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use unfazed::{Builder, Console};

use crate::lines;
use crate::support::child::{self, Outcome};

const RECORDS: usize = 1000;
/// More than any pipe holds.
const MANY: usize = 20_000;
const TEXT: &str = "größer als 5 €, 日本語, 😀";

pub(crate) fn talks(_dir: &Path) -> ExitCode {
    Builder::new().console(Console::stdout()).init().unwrap();
    log::info!("{TEXT}");
    lines::log_installed(0, RECORDS);
    ExitCode::SUCCESS
}

pub(crate) fn a_pipe_gets_every_line_as_it_is(dir: &Path) -> Outcome {
    let output = child::command("talks", dir).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.lines().next().is_some_and(|line| line.ends_with(TEXT)), "{:?}", text.lines().next());
    assert!(lines::numbers_in(&text).into_iter().eq(0..RECORDS), "{} lines", text.lines().count());
    Outcome::Holds(format!("{RECORDS} of {RECORDS}"))
}

pub(crate) fn talks_and_writes(dir: &Path) -> ExitCode {
    let console = Console::stdout().patience(Duration::from_secs(1));
    let builder = Builder::new().console(console).file(dir.join("app.log"));
    let handle = builder.overflow(unfazed::Overflow::Block).shutdown_timeout(Duration::from_secs(1)).init().unwrap();
    lines::log_installed(0, MANY);
    // The console does not take all, and is asked for too.
    let _ = handle.flush(Duration::from_secs(1));
    lines::until("the file has taken all", || handle.stats().outputs[1].written == MANY as u64);
    fs::write(dir.join("flushed"), "").unwrap();
    ExitCode::SUCCESS
}

pub(crate) fn a_pipe_that_nobody_reads_does_not_stop_the_file(dir: &Path) -> Outcome {
    let mut command = child::command("talks_and_writes", dir);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    lines::until("the file has every record while nobody reads the pipe", || dir.join("flushed").exists());
    lines::assert_all(dir, MANY);
    // The end of the program waits for the pipe no longer than it may.
    let mut status = None;
    lines::until("the program ends although nobody reads the pipe", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let (mut read, mut said) = (Vec::new(), String::new());
    child.stdout.take().unwrap().read_to_end(&mut read).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.unwrap().success() && said.is_empty(), "{status:?} {said}");
    Outcome::Holds(format!("{MANY} of {MANY} in the file, {} bytes in the pipe", read.len()))
}

pub(crate) fn a_pipe_whose_reader_is_gone_does_not_stop_the_file(dir: &Path) -> Outcome {
    let mut child = child::command("talks_and_writes", dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = child.stdout.take().unwrap();
    reader.read_exact(&mut [0; 100]).unwrap();
    drop(reader);
    assert!(child.wait().unwrap().success());
    lines::assert_all(dir, MANY);
    Outcome::Holds(format!("{MANY} of {MANY} in the file"))
}
