//! The harness: one process for each case, its deadline, and what it may say.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::readback::Log;
use crate::support::child::{self, Outcome};
use crate::unix;

/// Most cases take a few milliseconds, none of them this long.
const DEADLINE: Duration = Duration::from_secs(60);
/// Where a case leaves the reason why it cannot be put to the test here.
const SKIPPED: &str = "skipped";

/// A promise, and how it is put to the test.
pub(crate) struct Case {
    /// The sentence that must hold.
    name: String,
    main: Box<dyn Fn(&Place) + Send + Sync>,
    judge: Box<dyn Fn(&Ended) + Send + Sync>,
    /// So often, each time in a process of its own: for what depends on how two threads meet.
    times: usize,
    code: i32,
    signal: Option<i32>,
    speaks: bool,
    needs_linux: bool,
    deadline: Duration,
}

impl Case {
    /// `main` is the whole program; what it leaves is looked at afterwards by `judge`.
    pub(crate) fn new(
        name: impl Into<String>,
        main: impl Fn(&Place) + Send + Sync + 'static,
        judge: impl Fn(&Ended) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            main: Box::new(main),
            judge: Box::new(judge),
            times: 1,
            code: 0,
            signal: None,
            speaks: false,
            needs_linux: false,
            deadline: DEADLINE,
        }
    }

    /// A case that sees by itself whether the promise holds.
    pub(crate) fn inside(name: impl Into<String>, main: impl Fn(&Place) + Send + Sync + 'static) -> Self {
        Self::new(name, main, |_| {})
    }

    pub(crate) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// The exit code it must end with. Default: 0.
    pub(crate) fn ends_with(self, code: i32) -> Self {
        Self { code, ..self }
    }

    /// The signal that must end it, instead of an exit code.
    pub(crate) fn killed_by(self, signal: i32) -> Self {
        Self { signal: Some(signal), ..self }
    }

    /// It panics on purpose: the program's own message on stderr is none of the logger's.
    pub(crate) fn speaks(self) -> Self {
        Self { speaks: true, ..self }
    }

    /// It looks into `/proc`, or counts on a limit that only Linux keeps.
    pub(crate) fn needs_linux(self) -> Self {
        Self { needs_linux: true, ..self }
    }

    pub(crate) fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    fn into_case(self) -> child::Case {
        child::Case::new(self.name.clone(), move |dir| {
            if self.needs_linux && !cfg!(target_os = "linux") {
                return Ok(Outcome::Skipped("it needs Linux".into()));
            }
            let place = Place { dir: dir.to_owned() };
            for turn in 1..=self.times {
                child::renew(dir);
                let skipped = self.run_in(&place).map_err(|why| {
                    let turn = if self.times > 1 { format!(" (turn {turn} of {})", self.times) } else { String::new() };
                    format!("{why}{turn}")
                })?;
                if let Some(reason) = skipped {
                    return Ok(Outcome::Skipped(reason));
                }
            }
            Ok(Outcome::holds())
        })
    }

    /// Whether it holds; or the reason why that cannot be seen here.
    fn run_in(&self, place: &Place) -> Result<Option<String>, String> {
        let child = child::run(child::command(&self.name, &place.dir), &place.dir, self.deadline)?;
        let said = child.said();
        let skipped = fs::read_to_string(place.path(SKIPPED)).ok();
        // A case that cannot be put to the test does not come to the end that it is about.
        let (expected, code) = if skipped.is_some() { (None, 0) } else { (self.signal, self.code) };
        let signal = child.status.signal();
        if signal != expected || signal.is_none() && child.status.code() != Some(code) {
            return Err(format!("{}, and not {expected:?} or {code}{said}", child.status));
        }
        if !child.stdout.is_empty() || (!child.stderr.is_empty() && !self.speaks) {
            return Err(format!("something was printed{said}"));
        }
        if skipped.is_some() {
            return Ok(skipped);
        }
        (self.judge)(&Ended { place: place.clone(), took: child.took });
        Ok(None)
    }
}

/// What a case that has ended by itself left behind.
pub(crate) struct Ended {
    pub(crate) place: Place,
    /// From the start of its process to its end.
    pub(crate) took: Duration,
}

impl Ended {
    /// The log `app.log`, whole lines only.
    pub(crate) fn log(&self) -> Log {
        Log::read(&self.place.log())
    }
}

/// Where the files of a case are.
#[derive(Clone)]
pub(crate) struct Place {
    dir: PathBuf,
}

impl Place {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path("app.log")
    }

    /// Leaves a text for the judge.
    pub(crate) fn note(&self, name: &str, text: impl ToString) {
        fs::write(self.path(name), text.to_string()).unwrap();
    }

    pub(crate) fn noted(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("no note `{name}` was left: {error}"))
    }

    pub(crate) fn noted_millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.noted(name).parse().unwrap())
    }

    /// Says that the promise cannot be put to the test on this machine.
    pub(crate) fn skip(&self, reason: &str) {
        self.note(SKIPPED, reason);
    }
}

/// Plays the case that this process is to play, or runs all of them.
pub(crate) fn main(cases: Vec<Case>) -> ExitCode {
    let Some((name, dir)) = child::role() else {
        // Most of them wait for most of their time.
        return child::main_by(6, cases.into_iter().map(Case::into_case).collect());
    };
    let case = cases.iter().find(|case| case.name == name).expect("no such case");
    // Should the harness be killed, nothing stays.
    unix::end_after(case.deadline + Duration::from_secs(10));
    (case.main)(&Place { dir });
    ExitCode::SUCCESS
}
