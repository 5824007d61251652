//! The ends of a process.

use std::path::Path;
use std::process::ExitCode;

use unfazed::Builder;

use crate::lines::{self, PATIENCE};
use crate::support::child::{self, Outcome};

const RECORDS: usize = 1000;

pub(crate) fn returns(dir: &Path) -> ExitCode {
    Builder::new().file(dir.join("app.log")).init().unwrap();
    lines::log_installed(0, RECORDS);
    ExitCode::SUCCESS
}

pub(crate) fn exits(dir: &Path) -> ExitCode {
    Builder::new().file(dir.join("app.log")).init().unwrap();
    lines::log_installed(0, RECORDS);
    unfazed::exit(3)
}

pub(crate) fn panics(dir: &Path) -> ExitCode {
    Builder::new().file(dir.join("app.log")).init().unwrap();
    lines::log_installed(0, RECORDS);
    panic!("on purpose");
}

pub(crate) fn every_record_is_written_after_the_return_from_main(dir: &Path) -> Outcome {
    end("returns", 0, dir)
}

pub(crate) fn every_record_is_written_by_an_exit_that_flushes(dir: &Path) -> Outcome {
    end("exits", 3, dir)
}

pub(crate) fn every_record_is_written_after_a_panic_that_ends_main(dir: &Path) -> Outcome {
    end("panics", 101, dir)
}

fn end(role: &str, code: i32, dir: &Path) -> Outcome {
    let ended = child::run(child::command(role, dir), dir, PATIENCE).unwrap();
    assert_eq!(ended.status.code(), Some(code), "{}", ended.said());
    lines::assert_all(dir, RECORDS);
    Outcome::Holds(format!("{RECORDS} of {RECORDS}"))
}
