//! The harness: one process for each case, what that process may say, and what is printed of it.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::process::{Signal, set_parent_process_death_signal};
use unfazed::Stats;

use super::load::Longest;
use super::place::{Place, assert_no_loop_device_is_left};

/// A promise, and how it is put to the test.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    pub(crate) voice: Voice,
    pub(crate) run: fn(&Place) -> Outcome,
}

/// The cases of a target; the name of each is the sentence that must hold.
macro_rules! cases {
    ($($voice:ident $needs:ident $module:ident::$name:ident,)*) => {
        &[$(crate::support::child::Case { name: stringify!($name), needs: $needs, voice: $voice, run: $module::$name }),*]
    };
}
pub(crate) use cases;

/// What a case cannot do without.
#[derive(Clone, Copy)]
pub(crate) enum Needs {
    Nothing,
    /// A mount namespace in which a tmpfs can be mounted.
    Mounts,
    /// Root, a loop device and the tools of ext4.
    LoopDevice,
}

/// Whether a case keeps all processors busy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Its threads log as fast as they can. One at a time, so that the calls it measures are not those of a machine that
    /// does several other things.
    Loud,
    Soft,
}

/// What a case that did not fail comes to.
pub(crate) enum Outcome {
    /// The promise holds, and this is the evidence.
    Holds(String),
    /// It cannot be put to the test here, and why.
    Skipped(String),
}

impl From<Evidence> for Outcome {
    fn from(evidence: Evidence) -> Self {
        Outcome::Holds(evidence.to_string())
    }
}

/// What a case has to show.
pub(crate) struct Evidence {
    pub(crate) stats: Stats,
    /// `None` where no clock could be read.
    pub(crate) longest_call: Option<Longest>,
    /// From the end of the fault to the resumed log.
    pub(crate) resumed: Option<Duration>,
    pub(crate) more: String,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { accepted, written, dropped, .. } = &self.stats;
        let lost = dropped.total();
        let longest = self.longest_call.map_or("-".to_owned(), |longest| longest.to_string());
        let resumed = self.resumed.map_or("-".to_owned(), |resumed| format!("{resumed:.1?}"));
        write!(
            f,
            "accepted {accepted}, written {written}, lost {lost}, longest call {longest}, time to resume {resumed}"
        )?;
        if self.more.is_empty() { Ok(()) } else { write!(f, "; {}", self.more) }
    }
}

/// Which case the process is to run. Without it, the process is the harness.
const CASE: &str = "UNFAZED_CASE";
/// Where the files of that case are.
const DIR: &str = "UNFAZED_CASE_DIR";
/// With this in the environment, whatever it is set to, the cases that have a long form run in it.
const LONG: &str = "UNFAZED_LONG";
/// No case takes longer than this, whatever it waits for; nor, in its long form, than the other.
const CASE_DEADLINE: Duration = Duration::from_secs(90);
const LONG_CASE_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// The parts that the harness itself has played in a process of their own.
const PARTS: [Case; 2] = [
    part("can mount a tmpfs", Needs::Mounts, can_mount_a_tmpfs),
    part("can mount an ext4 image", Needs::LoopDevice, can_mount_an_ext4_image),
];

/// Something that is played in a process of its own beside a case.
pub(crate) const fn part(name: &'static str, needs: Needs, run: fn(&Place) -> Outcome) -> Case {
    Case { name, needs, voice: Voice::Soft, run }
}

/// Runs the case or the part that the environment names, or all cases.
pub(crate) fn main(cases: &'static [Case], parts: &'static [Case]) -> ExitCode {
    if let (Some(name), Some(dir)) = (env::var_os(CASE), env::var_os(DIR)) {
        let case = cases.iter().chain(&PARTS).chain(parts).find(|case| name == case.name).expect("a case of this name");
        play(case, &Place::new(dir.into()));
        return ExitCode::SUCCESS;
    }
    let args = Arguments::from_args();
    let told = Arc::new(Mutex::new(Vec::new()));
    let trials = cases.iter().enumerate().map(|(place, case)| {
        let told = told.clone();
        Trial::ignorable_test(case.name, move || {
            let outcome = run(case);
            let line = match &outcome {
                Ok(Outcome::Holds(evidence)) => evidence.clone(),
                Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
                Err(_) => "failed".to_owned(),
            };
            told.lock().unwrap().push((place, case.name, line));
            match outcome {
                Ok(Outcome::Holds(_)) => Ok(Completion::Completed),
                Ok(Outcome::Skipped(reason)) => Ok(Completion::ignored_with(reason)),
                Err(failure) => Err(Failed::from(failure)),
            }
        })
    });
    let conclusion = libtest_mimic::run(&args, trials.collect());
    // After all other lines, so that none is torn by another case that ends at the same time.
    let mut told = told.lock().unwrap();
    told.sort();
    for (_, name, line) in told.iter() {
        println!("{name}: {line}");
    }
    // Empty, unless a case failed.
    let _ = fs::remove_dir(run_dir());
    conclusion.exit_code()
}

/// The process of a case: does it, and leaves a note of what came of it, where no stream of the process is involved.
fn play(case: &Case, place: &Place) {
    // Nobody would end a case whose harness was killed, nor see what it left behind.
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let note = match (case.run)(place) {
        Outcome::Holds(evidence) => format!("holds\n{evidence}"),
        Outcome::Skipped(reason) => format!("skipped\n{reason}"),
    };
    fs::write(place.dir().join("note"), note).unwrap();
}

/// The harness's side of a case: starts its process, and judges it from outside.
fn run(case: &Case) -> Result<Outcome, String> {
    if let Err(reason) = can(case.needs) {
        return Ok(Outcome::Skipped(reason));
    }
    static LOUD: Mutex<()> = Mutex::new(());
    let _one_at_a_time = (case.voice == Voice::Loud).then(|| LOUD.lock().unwrap_or_else(PoisonError::into_inner));
    let dir = fresh_dir(case.name);
    let ended = run_in(case, &dir);
    if let Needs::LoopDevice = case.needs {
        assert_no_loop_device_is_left(&dir);
    }
    let verdict = judge(&dir, ended);
    if verdict.is_ok() {
        // What stays behind after a failure is for whoever looks into it.
        fs::remove_dir_all(&dir).map_err(|error| format!("`{}` cannot be removed: {error}", dir.display()))?;
    }
    verdict
}

/// Says what the process came to, if that is all right.
fn judge(dir: &Path, ended: Result<ExitStatus, String>) -> Result<Outcome, String> {
    let said = |stream: &str| fs::read_to_string(dir.join(stream)).unwrap_or_else(|error| error.to_string());
    let (stdout, stderr) = (said("stdout"), said("stderr"));
    let streams = [("stdout", &stdout), ("stderr", &stderr)];
    let said = streams.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("\n{name}: {text}"));
    let said: String = said.collect();
    let status = ended.map_err(|error| format!("{error}{said}"))?;
    if let Some(signal) = status.signal() {
        return Err(format!("killed by signal {signal}{said}"));
    }
    if !status.success() {
        return Err(format!("{status}{said}"));
    }
    if !stdout.is_empty() || !stderr.is_empty() {
        return Err(format!("something was printed{said}"));
    }
    let note = fs::read_to_string(dir.join("note")).map_err(|error| format!("no note was left: {error}"))?;
    match note.split_once('\n') {
        Some(("holds", evidence)) => Ok(Outcome::Holds(evidence.to_owned())),
        Some(("skipped", reason)) => Ok(Outcome::Skipped(reason.to_owned())),
        _ => Err(format!("a note that says nothing: {note}")),
    }
}

fn run_in(case: &Case, dir: &Path) -> Result<ExitStatus, String> {
    let executable = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = match case.needs {
        Needs::Nothing => Command::new(executable),
        Needs::Mounts => {
            let mut command = Command::new("unshare");
            command.arg(namespaces()).arg("--").arg(executable);
            command
        }
        Needs::LoopDevice => {
            let mut command = Command::new("unshare");
            command.arg("-m").arg("--").arg(executable);
            command
        }
    };
    let stream = |name: &str| File::create(dir.join(name)).map_err(|error| error.to_string());
    command.env(CASE, case.name).env(DIR, dir);
    command.stdin(Stdio::null()).stdout(stream("stdout")?).stderr(stream("stderr")?);
    let mut child = command
        .spawn()
        .map_err(|error| format!("`{}` cannot be started: {error}", command.get_program().to_string_lossy()))?;
    // `unshare` without `--fork` becomes the case: there is one process to wait for, and to end.
    let at_most = if is_long() { LONG_CASE_DEADLINE } else { CASE_DEADLINE };
    let deadline = Instant::now() + at_most;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not ended after {at_most:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A process of this executable that plays a part.
pub(crate) fn process(part: &str, dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(CASE, part).env(DIR, dir).stdin(Stdio::null());
    command
}

/// Whether the cases that have a long form run in it.
pub(crate) fn is_long() -> bool {
    env::var_os(LONG).is_some()
}

fn fresh_dir(name: &str) -> PathBuf {
    let dir = run_dir().join(name.replace(' ', "_"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The number keeps two runs at the same time apart.
fn run_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", env!("CARGO_CRATE_NAME"), std::process::id()))
}

/// Whether this machine has what a case needs; if not, why.
fn can(needs: Needs) -> Result<(), String> {
    static MOUNTS: OnceLock<Result<(), String>> = OnceLock::new();
    static LOOP: OnceLock<Result<(), String>> = OnceLock::new();
    match needs {
        Needs::Nothing => Ok(()),
        Needs::Mounts => MOUNTS
            .get_or_init(|| attempt(&PARTS[0]).map_err(|why| format!("no small tmpfs to be had here: {why}")))
            .clone(),
        Needs::LoopDevice => LOOP
            .get_or_init(|| {
                if !rustix::process::geteuid().is_root() {
                    return Err("an ext4 image on a loop device needs root".to_owned());
                }
                attempt(&PARTS[1]).map_err(|why| format!("no ext4 image on a loop device to be had here: {why}"))
            })
            .clone(),
    }
}

fn attempt(part: &Case) -> Result<(), String> {
    let dir = fresh_dir(part.name);
    let verdict = judge(&dir, run_in(part, &dir));
    let _ = fs::remove_dir_all(&dir);
    verdict.map(|_| ()).map_err(|why| why.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A user namespace makes anybody root of their own mounts. Where there are none, root can do without.
fn namespaces() -> &'static str {
    static FLAGS: OnceLock<&str> = OnceLock::new();
    FLAGS.get_or_init(|| {
        let user = Command::new("unshare").args(["-rm", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let user = user.is_ok_and(|status| status.success());
        if user || !rustix::process::geteuid().is_root() { "-rm" } else { "-m" }
    })
}

fn can_mount_a_tmpfs(place: &Place) -> Outcome {
    place.tmpfs("size=64k");
    Outcome::Holds(String::new())
}

fn can_mount_an_ext4_image(place: &Place) -> Outcome {
    place.ext4();
    Outcome::Holds(String::new())
}
