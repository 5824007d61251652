//! The harness: cases, the programs that they start, and what those report.

use std::collections::HashMap;
use std::env;
use std::fmt::Display;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::Duration;

use crate::support::child;
pub(crate) use crate::support::child::Outcome;

/// What a case measures: the `main` of a process of its own, which says by `report` what it found.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Path),
}

/// What a case has to say to its program.
const ARGUMENT: &str = "UNFAZED_COST_ARGUMENT";
/// No program takes longer, on however busy a machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// Plays the program that this process is to play, or runs all cases.
pub(crate) fn main(cases: Vec<child::Case>, programs: &'static [Program]) -> ExitCode {
    let Some((name, dir)) = child::role() else { return child::main_by(2, cases) };
    let program = programs.iter().find(|program| name == program.name).expect("a program of this name");
    (program.run)(&dir);
    ExitCode::SUCCESS
}

// --- The case's side ---

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
    run_command(child::command(name, dir), argument, dir)
}

/// Runs a program as an argument of another command.
pub(crate) fn run_under(command: Command, name: &str, argument: &str, dir: &Path) -> Report {
    run_command(child::command_under(command, name, dir), argument, dir)
}

fn run_command(mut command: Command, argument: &str, dir: &Path) -> Report {
    command.env(ARGUMENT, argument);
    let ended = child::run(command, dir, DEADLINE).unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}{}", ended.status, ended.said());
    let lines = ended.stdout.lines().filter_map(|line| line.split_once('='));
    Report(lines.map(|(a, b)| (a.into(), b.into())).collect())
}

// --- The program's side ---

pub(crate) fn report(what: &str, number: impl Display) {
    println!("{what}={number}");
}

pub(crate) fn argument() -> usize {
    env::var(ARGUMENT).unwrap().parse().unwrap()
}
