//! The harness: cases, the programs that they start, and what those report.

use std::collections::HashMap;
use std::env;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Trial};
use rustix::process::{Signal, set_parent_process_death_signal};

/// A promise, and how it is put to the test. It runs in the harness's process and panics if the promise does not hold.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Path) -> Outcome,
}

/// What a case measures: the `main` of a process of its own, which says by `report` what it found.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Path),
}

/// What a case that did not fail comes to.
pub(crate) enum Outcome {
    /// The promise holds, and these are the numbers.
    Holds(String),
    /// It cannot be put to the test here, and why.
    Skipped(String),
}

/// Which program the process is. Without it, the process is the harness.
const PROGRAM: &str = "UNFAZED_COST_PROGRAM";
/// Where the files of that program are.
const DIR: &str = "UNFAZED_COST_DIR";
/// What a case has to say to its program.
const ARGUMENT: &str = "UNFAZED_COST_ARGUMENT";
/// No program takes longer, on however busy a machine.
const DEADLINE: Duration = Duration::from_secs(300);

pub(crate) fn main(cases: &'static [Case], programs: &'static [Program]) -> ExitCode {
    if let (Some(name), Some(dir)) = (env::var_os(PROGRAM), env::var_os(DIR)) {
        // Nobody would end a program whose harness was killed.
        set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
        let program = programs.iter().find(|program| name == program.name).expect("a program of this name");
        (program.run)(Path::new(&dir));
        return ExitCode::SUCCESS;
    }
    let args = Arguments::from_args();
    let told = Arc::new(Mutex::new(Vec::new()));
    let trials = cases.iter().enumerate().map(|(place, case)| {
        let told = told.clone();
        Trial::ignorable_test(case.name, move || {
            let dir = run_dir().join(case.name);
            fs::create_dir_all(&dir).unwrap();
            let outcome = (case.run)(&dir);
            // What stays behind after a failure is for whoever looks into it.
            fs::remove_dir_all(&dir).unwrap();
            let (line, completion) = match outcome {
                Outcome::Holds(numbers) => (numbers, Completion::Completed),
                Outcome::Skipped(reason) => (format!("skipped: {reason}"), Completion::ignored_with(reason)),
            };
            told.lock().unwrap().push((place, case.name, line));
            Ok(completion)
        })
    });
    let conclusion = libtest_mimic::run(&args, trials.collect());
    let mut told = told.lock().unwrap();
    told.sort();
    for (_, name, line) in told.iter() {
        println!("{name}: {line}");
    }
    // Stays if a case that failed has left its files there.
    let _ = fs::remove_dir(run_dir());
    conclusion.exit_code()
}

/// The number keeps two runs at the same time apart.
fn run_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cost-{}", std::process::id()))
}

// --- The case's side --------------------------------------------------------------------------------------------------

/// What a program said.
pub(crate) struct Report(HashMap<String, String>);

impl Report {
    pub(crate) fn number<T: FromStr>(&self, what: &str) -> T {
        let number = self.0.get(what).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("the program did not report `{what}`: {:?}", self.0))
    }
}

/// Runs a program to its end.
pub(crate) fn run(name: &str, argument: &str, dir: &Path) -> Report {
    run_under(None, name, argument, dir)
}

/// The same, as an argument of another command.
pub(crate) fn run_under(command: Option<Command>, name: &str, argument: &str, dir: &Path) -> Report {
    let executable = env::current_exe().unwrap();
    let mut command = match command {
        None => Command::new(executable),
        Some(mut command) => {
            command.arg(executable);
            command
        }
    };
    command.env(PROGRAM, name).env(DIR, dir).env(ARGUMENT, argument);
    let said = dir.join(format!("{name} {argument}"));
    command.stdin(Stdio::null()).stdout(File::create(&said).unwrap());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if begun.elapsed() < DEADLINE => thread::sleep(Duration::from_millis(5)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("`{name} {argument}` has not ended after {DEADLINE:?}");
            }
        }
    };
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(status.success() && stderr.is_empty(), "`{name} {argument}`: {status}\n{stderr}");
    let lines = fs::read_to_string(&said).unwrap();
    Report(lines.lines().filter_map(|line| line.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect())
}

// --- The program's side -----------------------------------------------------------------------------------------------

pub(crate) fn report(what: &str, number: impl Display) {
    println!("{what}={number}");
}

pub(crate) fn argument() -> usize {
    env::var(ARGUMENT).unwrap().parse().unwrap()
}
