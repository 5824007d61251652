//! What `strace` saw: each thread's system calls between two marks.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{self, Outcome, Report};

/// A mark is a look at a file of this directory, which is not there: the path is in the trace.
const MARKS: &str = "/unfazed-cost-marks";

/// A stretch of one thread's life, from `begin!` to `end!`.
pub(crate) struct Window {
    pub(crate) name: String,
    /// The system calls in it, by name.
    pub(crate) calls: Vec<String>,
}

/// What is asserted of the windows of a program.
pub(crate) struct Trace {
    pub(crate) windows: Vec<Window>,
    pub(crate) report: Report,
}

/// Says to the trace that here begins a window.
macro_rules! begin {
    ($name:literal) => {
        crate::trace::mark(concat!("/unfazed-cost-marks/begin/", $name, "/"))
    };
}
/// Says to the trace that here it ends.
macro_rules! end {
    ($name:literal) => {
        crate::trace::mark(concat!("/unfazed-cost-marks/end/", $name, "/"))
    };
}
pub(crate) use {begin, end};

/// One system call, and nothing else: a path so short is not copied to the heap.
#[inline(always)]
pub(crate) fn mark(path: &'static str) {
    let _ = fs::metadata(path);
}

/// A window in which the two clocks of a log call and of the patterns are read, and nothing else
/// happens.
pub(crate) fn look_at_the_clocks() {
    begin!("clocks");
    std::hint::black_box((std::time::SystemTime::now(), std::time::Instant::now()));
    end!("clocks");
}

/// Runs a program under `strace`; or says why that does not work here.
pub(crate) fn trace(program: &str, argument: &str, dir: &Path) -> Result<Trace, Outcome> {
    can_trace(dir).map_err(Outcome::Skipped)?;
    let file = dir.join(format!("trace of {program} {argument}"));
    let report = harness::run_under(strace(&file), program, argument, dir);
    let windows = windows(&fs::read_to_string(&file).unwrap());
    let clocks = windows.iter().find(|window| window.name == "clocks").expect("the trace has the marks in it");
    if let Some(clock) = clocks.calls.first() {
        return Err(Outcome::Skipped(format!("reading the clock is a system call on this machine: {clock}")));
    }
    Ok(Trace { windows, report })
}

impl Trace {
    /// The windows of a name; there must be so many.
    pub(crate) fn windows(&self, name: &str, count: usize) -> Vec<&Window> {
        let found: Vec<_> = self.windows.iter().filter(|window| window.name == name).collect();
        assert_eq!(found.len(), count, "windows `{name}` in the trace");
        found
    }
}

impl Window {
    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|name| *name == call).count()
    }

    /// The calls that are not of this name.
    pub(crate) fn others(&self, call: &str) -> Vec<&str> {
        self.calls.iter().map(String::as_str).filter(|name| *name != call).collect()
    }
}

fn strace(file: &Path) -> Command {
    let mut command = Command::new("strace");
    // All threads in one file, each line with the thread's number; `-qq` says nothing of who comes
    // and goes.
    command.args(["-f", "-qq", "-o"]).arg(file).arg("--");
    command
}

fn can_trace(dir: &Path) -> Result<(), String> {
    let tried = strace(&dir.join("trial")).arg("true").stdin(Stdio::null()).output();
    let tried = tried.map_err(|error| format!("strace: {error}"))?;
    let stderr = String::from_utf8_lossy(&tried.stderr);
    let why = || format!("strace cannot trace here: {}", stderr.lines().next().unwrap_or("no reason given"));
    if tried.status.success() && stderr.is_empty() { Ok(()) } else { Err(why()) }
}

fn windows(trace: &str) -> Vec<Window> {
    let mut open: HashMap<&str, Window> = HashMap::new();
    let mut closed = Vec::new();
    for line in trace.lines() {
        let Some((thread, what)) = line.split_once(' ') else { continue };
        let what = what.trim_start();
        // A call's second half (`<... futex resumed>`), signals (`---`) and ends (`+++`) are no
        // calls.
        let Some((call, arguments)) = what.split_once('(') else { continue };
        if call.is_empty() || !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        // The kernel's own: it goes on with a sleep that a stop of the thread has interrupted.
        if call == "restart_syscall" {
            continue;
        }
        let mark = arguments.split_once(MARKS).map(|(_, mark)| mark.split('/'));
        match mark.map(|mut mark| (mark.nth(1), mark.next())) {
            Some((Some("begin"), Some(name))) => {
                open.insert(thread, Window { name: name.to_owned(), calls: Vec::new() });
            }
            Some((Some("end"), Some(name))) => {
                let window = open.remove(thread).expect("a window that was begun");
                assert_eq!(window.name, name);
                closed.push(window);
            }
            _ => {
                if let Some(window) = open.get_mut(thread) {
                    window.calls.push(call.to_owned());
                }
            }
        }
    }
    assert!(open.is_empty(), "a window without an end");
    closed
}
