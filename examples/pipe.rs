//! Writes each line of its standard input to a log file, so that a program in any language gets a
//! log that survives a full disk.
//!
//! `some-program 2>&1 | cargo run --release --example pipe -- app.log`
//!
//! A pipe can wait: when the queue is full, reading stops until there is a slot
//! (`Overflow::Block`), and no line is lost because a program is fast. While the disk is full it
//! goes on reading and drops what it reads, so that the program never stands still because of its
//! log; the log file and the exit status show how many lines that were.
//!
//! Ctrl-C reaches both programs of a pipeline, and what was read in the last milliseconds is then
//! not written.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use log::{Level, LevelFilter};
use unfazed::{Builder, Format, KIB, LogFile, Overflow, Stats};

const HELP: &str = "\
Writes each line of standard input to a log file that survives a full disk.

Usage: some-program 2>&1 | pipe [OPTIONS] FILE

  --json                  write JSON lines instead of text
  --min-free-space BYTES  leave this much room on the disk to others
                          [default: 1 % of it, 64 KiB to 256 MiB]
  --help                  print this help

A line that names a level near its start (\"ERROR\", \"[warn]\", \"level=debug\")
gets that level, every other one is INFO. A line of more than 64 KiB is cut;
bytes that are not UTF-8 are replaced.

While the disk is full, lines are dropped and counted, and standard input is
still read: the program in front never waits for the disk.

Exit status: 0 if every line is in the file, 1 if some are not (with one line
on standard error that says how many) or the log cannot be set up, 2 for a wrong
option.
";

/// A level is looked for in this many bytes: room for a time, a host and the name of a program.
const NEAR_THE_START: usize = 80;
/// The most that is read of a line. The logger cuts a message at 64 KiB and marks it, so it has to
/// see a little more than that; the rest of a line without an end must not fill the memory.
const LONGEST_LINE: u64 = 65 * KIB;
/// How long the end may take. A disk that is full does not use it up, only one that hangs.
const LAST_WORDS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let options = match Options::read(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let printed = io::stdout().write_all(HELP.as_bytes());
            return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Err(what) => {
            complain(&format!("{what}; --help shows what there is"));
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let mut file = LogFile::new(&options.file);
    if let Some(bytes) = options.min_free_space {
        file = file.min_free_space(bytes);
    }
    if let Some(format) = options.format {
        file = file.format(format);
    }
    // Trace: what the other program calls a TRACE line shall not be lost here.
    let handle = Builder::new().level(LevelFilter::Trace).overflow(Overflow::Block).file(file).init()?;

    let read = log_lines(io::stdin().lock());

    // Whether it worked is in the account, line by line.
    let _ = handle.shutdown(LAST_WORDS);
    if let Some(summary) = summary(&handle.stats()) {
        complain(&format!("`{}`: {summary}", options.file.display()));
    }
    read.map_err(|error| format!("failed to read standard input: {error}"))?;
    Ok(if handle.stats().dropped.total() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn log_lines(mut input: impl BufRead) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            // The other half of a line's end on Windows and on terminals.
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else {
            // Either the input ends here, or the line goes on for too long.
            input.skip_until(b'\n')?;
        }
        let text = String::from_utf8_lossy(&line);
        log::log!(target: "stdin", level_of(&text), "{text}");
    }
}

/// The level that a line names near its start, else INFO.
fn level_of(line: &str) -> Level {
    let (mut at, mut before) = (0, "");
    for piece in line.split_inclusive(|character: char| !character.is_ascii_alphanumeric()) {
        let word = piece.trim_end_matches(|character: char| !character.is_ascii_alphanumeric());
        at += piece.len();
        if at > NEAR_THE_START {
            break;
        }
        // "no error so far" is no level: it is written in capitals, or like `error:`, `[error]`,
        // `level=error`.
        let marked = piece.ends_with([':', ']']) || matches!(before, "level" | "lvl" | "severity");
        if marked || !word.contains(|character: char| character.is_ascii_lowercase()) {
            match word.to_ascii_uppercase().as_str() {
                "PANIC" | "FATAL" | "CRITICAL" | "ERROR" | "ERR" => return Level::Error,
                "WARNING" | "WARN" => return Level::Warn,
                "NOTICE" | "INFO" => return Level::Info,
                "DEBUG" => return Level::Debug,
                "TRACE" => return Level::Trace,
                _ => {}
            }
        }
        if !word.is_empty() {
            before = word;
        }
    }
    Level::Info
}

/// What the user should know, in one line; nothing if every line is in the file as it came.
fn summary(stats: &Stats) -> Option<String> {
    let (lost, no_room, late) = (stats.dropped.total(), stats.dropped.disk_full, stats.dropped.shutdown);
    let mut parts = Vec::new();
    if lost > 0 {
        let reasons = [("the disk was full", no_room), ("it hung", late), ("it failed", lost - no_room - late)];
        let reasons =
            reasons.iter().filter(|(_, count)| *count > 0).map(|(reason, count)| format!("{count}: {reason}"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        parts.push(format!("{lost} of {} lines are lost ({reasons})", stats.accepted));
    }
    if stats.truncated > 0 {
        parts.push(format!("{} of {} lines are cut to 64 KiB", stats.truncated, stats.accepted));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Standard error may be gone; then the exit status has to do.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "pipe: {what}");
}

struct Options {
    file: PathBuf,
    format: Option<Format>,
    min_free_space: Option<u64>,
}

impl Options {
    /// `None`: help was asked for.
    fn read(args: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let (mut file, mut format, mut min_free_space) = (None, None, None);
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--json") => format = Some(json()?),
                Some("--min-free-space") => {
                    let bytes = args.next().and_then(|bytes| bytes.to_str()?.parse().ok());
                    min_free_space = Some(bytes.ok_or("--min-free-space needs a number of bytes")?);
                }
                Some(option) if option.starts_with('-') => return Err(format!("there is no option {option}")),
                _ if file.is_some() => return Err("there can be only one FILE".to_owned()),
                _ => file = Some(PathBuf::from(arg)),
            }
        }
        Ok(Some(Self { file: file.ok_or("the FILE is missing")?, format, min_free_space }))
    }
}

fn json() -> Result<Format, String> {
    #[cfg(feature = "json")]
    return Ok(Format::json());
    #[cfg(not(feature = "json"))]
    Err("--json needs the feature `json`".to_owned())
}
