//! The one harness of the targets whose cases need more than a function: it gives each case a
//! directory, starts this executable again as the child that a case needs, ends that at its
//! deadline, and prints what the cases found.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Which role this process plays. Without it, the process is the harness.
const ROLE: &str = "UNFAZED_ROLE";
/// Where the files of its case are.
const DIR: &str = "UNFAZED_DIR";

/// A sentence that must hold, and how it is put to the test.
pub(crate) struct Case {
    name: String,
    run: Box<Run>,
}

/// What a case does in its directory; the reason if it fails.
type Run = dyn FnOnce(&Path) -> Result<Outcome, String> + Send;

/// What a case that did not fail comes to.
pub(crate) enum Outcome {
    /// The sentence holds, and this is the evidence, if there is more to say.
    Holds(String),
    /// It cannot be put to the test here, and why.
    Skipped(String),
}

impl Outcome {
    pub(crate) fn holds() -> Self {
        Self::Holds(String::new())
    }
}

impl Case {
    /// `run` gets an empty directory of its own, which stays only if the case fails. It may as well
    /// panic.
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl FnOnce(&Path) -> Result<Outcome, String> + Send + 'static,
    ) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// The cases of a target: functions of a directory, whose names are the sentences that must hold.
macro_rules! cases {
    ($($(#[$attribute:meta])* $module:ident::$name:ident,)*) => {
        vec![$($(#[$attribute])* $crate::support::child::Case::new(stringify!($name), |dir| Ok($module::$name(dir)))),*]
    };
}
pub(crate) use cases;

/// Runs the cases that the command line names, or all of them. Most of them wait for a process.
pub(crate) fn main(cases: Vec<Case>) -> ExitCode {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    main_by(2 * processors, cases)
}

/// The same by as many threads, unless the command line says another number.
pub(crate) fn main_by(threads: usize, cases: Vec<Case>) -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(threads);
    run_all(args, cases)
}

fn run_all(args: Arguments, cases: Vec<Case>) -> ExitCode {
    let found = Arc::new(Mutex::new(Vec::new()));
    let trials = cases.into_iter().enumerate().map(|(place, Case { name, run })| {
        let found = found.clone();
        Trial::ignorable_test(name.clone(), move || {
            let dir = run_dir().join(name.replace(' ', "_"));
            renew(&dir);
            let outcome =
                run(&dir).map_err(|why| Failed::from(format!("{why}\nits files are in {}", dir.display())))?;
            fs::remove_dir_all(&dir)?;
            let (line, completion) = match outcome {
                Outcome::Holds(evidence) => (evidence, Completion::Completed),
                Outcome::Skipped(reason) => (format!("skipped: {reason}"), Completion::ignored_with(reason)),
            };
            if !line.is_empty() {
                found.lock().unwrap().push((place, format!("{name}: {line}")));
            }
            Ok(completion)
        })
    });
    let conclusion = libtest_mimic::run(&args, trials.collect());
    // After all other lines, so that none is torn by another case that ends at the same time.
    let mut found = found.lock().unwrap();
    found.sort();
    for (_, line) in found.iter() {
        println!("{line}");
    }
    // Stays if a case that failed has left its files there.
    let _ = fs::remove_dir(run_dir());
    conclusion.exit_code()
}

/// The number keeps two runs at the same time apart.
fn run_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", env!("CARGO_CRATE_NAME"), std::process::id()))
}

/// Empties a directory, or makes it.
pub(crate) fn renew(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
}

// --- The child's side ---

/// Returns the role that this process is to play, and the directory of its case. `None` in the
/// harness itself.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    let (role, dir) = (env::var(ROLE).ok()?, env::var_os(DIR)?);
    // Nobody would end a child whose harness was killed, nor see what it left.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    Some((role, dir.into()))
}

// --- The harness's side ---

/// Returns a command that starts this executable again, in a role.
pub(crate) fn command(role: &str, dir: &Path) -> Command {
    with_role(Command::new(env::current_exe().unwrap()), role, dir)
}

/// Returns a command that has another one start this executable, as the last of its arguments.
pub(crate) fn command_under(mut command: Command, role: &str, dir: &Path) -> Command {
    command.arg(env::current_exe().unwrap());
    with_role(command, role, dir)
}

fn with_role(mut command: Command, role: &str, dir: &Path) -> Command {
    command.env(ROLE, role).env(DIR, dir).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

/// How a child that ended by itself did so.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// From its start to its end.
    pub(crate) took: Duration,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// What it printed, for a message.
    pub(crate) fn said(&self) -> String {
        let streams = [("stdout", &self.stdout), ("stderr", &self.stderr)];
        let said = streams.iter().filter(|(_, text)| !text.is_empty());
        said.map(|(name, text)| format!("\n--- {name} ---\n{text}")).collect()
    }
}

/// Starts a child; a second time if the first attempt fails with `ERROR_INTERNAL_ERROR`, as wine's
/// sometimes does on a busy machine.
fn start(command: &mut Command) -> std::io::Result<Child> {
    const INTERNAL_ERROR: i32 = 1359;

    command.spawn().or_else(|error| match error.raw_os_error() {
        Some(INTERNAL_ERROR) if cfg!(windows) => command.spawn(),
        _ => Err(error),
    })
}

/// Runs a child, whose streams are files in `dir`. At the deadline it is killed, with all that it
/// has started.
pub(crate) fn run(mut command: Command, dir: &Path, deadline: Duration) -> Result<Ended, String> {
    let stream = |name: &str| File::create(dir.join(name)).map_err(|error| error.to_string());
    command.stdout(stream("stdout")?).stderr(stream("stderr")?);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let begun = Instant::now();
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = start(&mut command).map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if begun.elapsed() < deadline => thread::sleep(Duration::from_millis(2)),
            other => {
                let why = format!("not ended after {:?}: {other:?}{}", begun.elapsed(), what_it_does(child.id()));
                #[cfg(unix)]
                kill_group(child.id());
                let _ = child.kill();
                let _ = child.wait();
                break Err(why);
            }
        }
    };
    let took = begun.elapsed();
    let said = |name: &str| fs::read(dir.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let said = |name| said(name).unwrap_or_else(|error| error.to_string());
    let (stdout, stderr) = (said("stdout"), said("stderr"));
    let status = status.map_err(|why| format!("{why}\n{stderr}"))?;
    Ok(Ended { status, took, stdout, stderr })
}

/// Returns what each thread of a child's group does, one line for each: its name, its state, where
/// in the kernel it waits, and the number and the arguments of its system call. Nothing where the
/// kernel does not say.
fn what_it_does(leader: u32) -> String {
    let entries = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let said = |path: &Path, name| fs::read_to_string(path.join(name)).unwrap_or_default();
    // After the name, which may hold anything: the state, the parent, the group.
    let after_the_name = |path: &Path| said(path, "stat").rsplit_once(") ").map(|(_, rest)| rest.to_owned());
    let group = leader.to_string();
    let is_of_the_group =
        |process: &PathBuf| after_the_name(process).is_some_and(|rest| rest.split(' ').nth(2) == Some(&group));
    let threads = entries("/proc".into()).filter(is_of_the_group).flat_map(|process| entries(process.join("task")));
    let does = |thread: PathBuf| {
        let state = after_the_name(&thread).unwrap_or_default();
        let [name, place, call] = ["comm", "wchan", "syscall"].map(|name| said(&thread, name));
        format!("\n{}: {:.1} {} {}", name.trim(), state, place.trim(), call.trim())
    };
    threads.map(does).collect()
}

/// Kills the group of a child that has not been waited for.
#[cfg(unix)]
#[allow(unsafe_code)] // a plain call of the C library
fn kill_group(leader: u32) {
    // SAFETY: touches no memory; the leader has not been waited for, so the number is still its.
    unsafe { libc::kill(-(leader as libc::pid_t), libc::SIGKILL) };
}

/// Waits for a condition, not for a time; but not for ever.
pub(crate) fn wait_until(what: impl Fn() -> String, at_most: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + at_most;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so after {at_most:?}: {}", what());
        thread::sleep(Duration::from_millis(1));
    }
}
