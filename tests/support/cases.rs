//! Cases on real file systems: what each needs of the machine, how loud it is, and what it has to
//! show. Used by `disk_full` and `hard`.

use std::env;
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::Duration;

use unfazed::Stats;

pub(crate) use super::child::Outcome;
use super::child::{self, Ended};
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
        &[$($crate::support::cases::Case { name: stringify!($name), needs: $needs, voice: $voice, run: $module::$name }),*]
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
    /// A mount namespace of root's, and whatever this function finds missing.
    Root(fn() -> Result<(), String>),
}

/// Whether a case keeps all processors busy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Its threads log as fast as they can. Two at a time, because each waits for most of its time,
    /// so that the calls it measures are not those of a machine that does many such things.
    Loud,
    Soft,
}

/// How many cases of a voice run at the same time.
struct Lane {
    free: Mutex<usize>,
    freed: Condvar,
}

static LOUD: Lane = Lane::new(2);
/// They spend their time in waits.
static SOFT: Lane = Lane::new(3);

impl Lane {
    const fn new(free: usize) -> Self {
        Self { free: Mutex::new(free), freed: Condvar::new() }
    }
}

/// Ends when it is dropped.
struct Turn(&'static Lane);

impl Voice {
    fn wait_for_a_turn(self) -> Turn {
        let lane = if self == Voice::Loud { &LOUD } else { &SOFT };
        let free = lane.free.lock().unwrap();
        *lane.freed.wait_while(free, |free| *free == 0).unwrap() -= 1;
        Turn(lane)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap() += 1;
        self.0.freed.notify_one();
    }
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

/// With this in the environment, whatever it is set to, the cases that have a long form run in it.
const LONG: &str = "UNFAZED_LONG";
/// No case takes longer than this, whatever it waits for; nor, in its long form, than the other.
const CASE_DEADLINE: Duration = Duration::from_secs(90);
const LONG_CASE_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// The parts that the harness itself has played in a process of their own.
const PARTS: [Case; 2] = [
    part("can_mount_a_tmpfs", Needs::Mounts, can_mount_a_tmpfs),
    part("can_mount_an_ext4_image", Needs::LoopDevice, can_mount_an_ext4_image),
];

/// Something that is played in a process of its own next to a case.
pub(crate) const fn part(name: &'static str, needs: Needs, run: fn(&Place) -> Outcome) -> Case {
    Case { name, needs, voice: Voice::Soft, run }
}

/// Plays the case or the part that this process is to play, or runs all cases.
pub(crate) fn main(cases: &'static [Case], parts: &'static [Case]) -> ExitCode {
    if let Some((name, dir)) = child::role() {
        let case = cases.iter().chain(&PARTS).chain(parts).find(|case| name == case.name).expect("a case of this name");
        play(case, &Place::new(dir));
        return ExitCode::SUCCESS;
    }
    // A thread for each: those whose lane is full cost nothing.
    let threads = cases.len();
    child::main_by(threads, cases.iter().map(|case| child::Case::new(case.name, |dir| run(case, dir))).collect())
}

/// The process of a case: does it, and leaves a note of what came of it, where no stream of the
/// process is involved.
fn play(case: &Case, place: &Place) {
    let note = match (case.run)(place) {
        Outcome::Holds(evidence) => format!("holds\n{evidence}"),
        Outcome::Skipped(reason) => format!("skipped\n{reason}"),
    };
    fs::write(place.dir().join("note"), note).unwrap();
}

/// The harness's side of a case: starts its process, and judges it from outside.
fn run(case: &Case, dir: &Path) -> Result<Outcome, String> {
    if let Err(reason) = can(case.needs, dir) {
        return Ok(Outcome::Skipped(reason));
    }
    let _turn = case.voice.wait_for_a_turn();
    let ended = run_in(case, dir);
    if let Needs::LoopDevice = case.needs {
        assert_no_loop_device_is_left(dir);
    }
    judge(dir, &ended?)
}

/// Says what the process came to, if that is all right.
fn judge(dir: &Path, ended: &Ended) -> Result<Outcome, String> {
    let said = ended.said();
    if let Some(signal) = ended.status.signal() {
        return Err(format!("killed by signal {signal}{said}"));
    }
    if !ended.status.success() {
        return Err(format!("{}{said}", ended.status));
    }
    if !said.is_empty() {
        return Err(format!("something was printed{said}"));
    }
    let note = fs::read_to_string(dir.join("note")).map_err(|error| format!("no note was left: {error}"))?;
    match note.split_once('\n') {
        Some(("holds", evidence)) => Ok(Outcome::Holds(evidence.to_owned())),
        Some(("skipped", reason)) => Ok(Outcome::Skipped(reason.to_owned())),
        _ => Err(format!("a note that says nothing: {note}")),
    }
}

/// `unshare` without `--fork` becomes the case: there is one process to wait for, and to end.
fn run_in(case: &Case, dir: &Path) -> Result<Ended, String> {
    let unshare = |flags: &str| {
        let mut command = Command::new("unshare");
        command.args([flags, "--"]);
        child::command_under(command, case.name, dir)
    };
    let command = match case.needs {
        Needs::Nothing => child::command(case.name, dir),
        Needs::Mounts => unshare(namespaces()),
        Needs::LoopDevice | Needs::Root(_) => unshare("-m"),
    };
    child::run(command, dir, if is_long() { LONG_CASE_DEADLINE } else { CASE_DEADLINE })
}

/// Whether the cases that have a long form run in it.
pub(crate) fn is_long() -> bool {
    env::var_os(LONG).is_some()
}

/// Whether this machine has what a case needs; if not, why.
fn can(needs: Needs, dir: &Path) -> Result<(), String> {
    static MOUNTS: OnceLock<Result<(), String>> = OnceLock::new();
    static LOOP: OnceLock<Result<(), String>> = OnceLock::new();
    match needs {
        Needs::Nothing => Ok(()),
        Needs::Mounts => MOUNTS
            .get_or_init(|| attempt(&PARTS[0], dir).map_err(|why| format!("no small tmpfs to be had here: {why}")))
            .clone(),
        Needs::LoopDevice => LOOP
            .get_or_init(|| {
                if !rustix::process::geteuid().is_root() {
                    return Err("an ext4 image on a loop device needs root".to_owned());
                }
                attempt(&PARTS[1], dir).map_err(|why| format!("no ext4 image on a loop device to be had here: {why}"))
            })
            .clone(),
        Needs::Root(find) => {
            if !rustix::process::geteuid().is_root() {
                return Err("the mounts of this case need root".to_owned());
            }
            let namespace = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
            if !namespace.is_ok_and(|status| status.success()) {
                return Err("no mount namespace to be had here".to_owned());
            }
            find()
        }
    }
}

fn attempt(part: &Case, dir: &Path) -> Result<(), String> {
    let verdict = run_in(part, dir).and_then(|ended| judge(dir, &ended));
    child::renew(dir);
    verdict.map(|_| ()).map_err(|why| why.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A user namespace makes anybody root of their own mounts. Where there are none, root can do
/// without.
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
