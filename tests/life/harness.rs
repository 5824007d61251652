//! The harness: one process for each case, its deadline, and what it may say.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::readback::Log;
use crate::unix;

/// Which case the process is to be. Without it, the process is the harness.
const CASE: &str = "UNFAZED_LIFE_CASE";
/// Where the files of that case are.
const DIR: &str = "UNFAZED_LIFE_DIR";
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

    fn trial(self) -> Trial {
        Trial::ignorable_test(self.name.clone(), move || {
            if self.needs_linux && !cfg!(target_os = "linux") {
                return Ok(Completion::ignored_with("it needs Linux"));
            }
            for turn in 1..=self.times {
                let place = Place::fresh(&self.name);
                if let Some(reason) = self.run_in(&place).map_err(|why| {
                    let turn = if self.times > 1 { format!(" (turn {turn} of {})", self.times) } else { String::new() };
                    Failed::from(format!("{why}{turn}\nits files are in {}", place.dir.display()))
                })? {
                    return Ok(Completion::ignored_with(reason));
                }
                place.remove();
            }
            Ok(Completion::Completed)
        })
    }

    /// Whether it holds; or the reason why that cannot be seen here.
    fn run_in(&self, place: &Place) -> Result<Option<String>, String> {
        let ended = self.run_child(place)?;
        let said = |stream: &str| fs::read_to_string(place.path(stream)).unwrap_or_else(|error| error.to_string());
        let (stdout, stderr) = (said("stdout"), said("stderr"));
        let said = format!("\n--- stdout ---\n{stdout}\n--- stderr ---\n{stderr}");
        let signal = ended.status.signal();
        if signal != self.signal || signal.is_none() && ended.status.code() != Some(self.code) {
            return Err(format!("{}, and not {:?} or {}{said}", ended.status, self.signal, self.code));
        }
        if !stdout.is_empty() || (!stderr.is_empty() && !self.speaks) {
            return Err(format!("something was printed{said}"));
        }
        if let Ok(reason) = fs::read_to_string(place.path(SKIPPED)) {
            return Ok(Some(reason));
        }
        let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.judge)(&ended)));
        judged.map(|()| None).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        })
    }

    fn run_child(&self, place: &Place) -> Result<Ended, String> {
        let stream = |name: &str| File::create(place.path(name)).map_err(|error| error.to_string());
        let mut command = Command::new(env::current_exe().map_err(|error| error.to_string())?);
        command.env(CASE, &self.name).env(DIR, &place.dir).env("RUST_BACKTRACE", "0");
        // A group of its own: at its deadline, what it forked goes with it.
        command.stdin(Stdio::null()).stdout(stream("stdout")?).stderr(stream("stderr")?).process_group(0);
        let begun = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => {
                    return Ok(Ended { place: Place { dir: place.dir.clone() }, status, took: begun.elapsed() });
                }
                Ok(None) if begun.elapsed() < self.deadline => thread::sleep(Duration::from_millis(2)),
                other => {
                    unix::kill_group(child.id());
                    let _ = child.wait();
                    let stderr = fs::read_to_string(place.path("stderr")).unwrap_or_default();
                    return Err(format!("not ended after {:?}: {other:?}\n{stderr}", begun.elapsed()));
                }
            }
        }
    }
}

/// What a case that has ended by itself left behind.
pub(crate) struct Ended {
    pub(crate) place: Place,
    status: ExitStatus,
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
    fn fresh(name: &str) -> Self {
        let dir = run_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    fn remove(&self) {
        let _ = fs::remove_dir_all(&self.dir);
    }

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

/// The process's number keeps two runs at the same time apart.
fn run_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("life-{}", std::process::id()))
}

/// Runs the case that the environment names, or all of them.
pub(crate) fn main(cases: Vec<Case>) {
    let (Some(name), Some(dir)) = (env::var_os(CASE), env::var_os(DIR)) else {
        let args = Arguments::from_args();
        let trials = cases.into_iter().map(Case::trial).collect();
        let conclusion = libtest_mimic::run(&args, trials);
        // Stays if a case that failed has left its files there.
        let _ = fs::remove_dir(run_dir());
        conclusion.exit()
    };
    let case = cases.iter().find(|case| case.name.as_str() == name).expect("no such case");
    // Should the harness be killed, nothing stays.
    unix::end_after(case.deadline + Duration::from_secs(10));
    (case.main)(&Place { dir: dir.into() });
}
