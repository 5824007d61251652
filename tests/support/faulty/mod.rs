//! A file system of the tests' own, mounted by FUSE, that does on demand what real ones do on their
//! bad days. A process of its own serves it, so that what hangs is never the case that waits. Its
//! files are in memory. Each directory at its top is a disk of its own.

mod server;
mod store;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Mutex;

use super::cases::{Case, Needs, Outcome, part};
use super::child;
use super::place::Place;

pub(crate) use server::can;
pub(crate) use store::{How, Identity, OPS, Op};

/// The part that serves.
pub(crate) const SERVER: Case = part("faulty_file_system", Needs::Nothing, serve);
const POINT: &str = "faulty";

fn serve(place: &Place) -> Outcome {
    server::serve(&place.dir().join(POINT));
    std::process::exit(0);
}

/// The mounted file system. It goes with the process that has mounted it.
pub(crate) struct FaultyFs {
    server: Child,
    line: Mutex<Line>,
    point: PathBuf,
}

/// The way to the server, and back.
struct Line {
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl FaultyFs {
    /// Mounts it in a directory of the case; or says why not.
    pub(crate) fn mount(dir: &Path) -> Result<Self, String> {
        let point = dir.join(POINT);
        std::fs::create_dir_all(&point).unwrap();
        let mut command = child::command(SERVER.name, dir);
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (ask, answer) = (server.stdin.take().unwrap(), BufReader::new(server.stdout.take().unwrap()));
        let fs = Self { server, line: Mutex::new(Line { ask, answer }), point };
        let said = fs.line.lock().unwrap().read();
        if said == "ready" { Ok(fs) } else { Err(said) }
    }

    /// An empty disk.
    pub(crate) fn disk(&self, name: &str) -> Disk<'_> {
        let path = self.point.join(name);
        std::fs::create_dir(&path).unwrap();
        Disk { fs: self, name: name.to_owned(), path }
    }

    fn say(&self, what: &str) -> String {
        let mut line = self.line.lock().unwrap();
        writeln!(line.ask, "{what}").unwrap();
        line.read()
    }

    /// How many requests hang.
    pub(crate) fn held(&self) -> usize {
        self.say("held").parse().unwrap()
    }

    /// Does what hangs, and answers it.
    pub(crate) fn release(&self) {
        self.say("release");
    }
}

impl Line {
    fn read(&mut self) -> String {
        let mut answer = String::new();
        self.answer.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "the file system has ended: {answer:?}");
        answer.trim_end().to_owned()
    }
}

impl Drop for FaultyFs {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A directory at the top of the file system, with its own space and its own faults.
pub(crate) struct Disk<'a> {
    fs: &'a FaultyFs,
    name: String,
    path: PathBuf,
}

impl Disk<'_> {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn say(&self, verb: &str, rest: &str) -> String {
        self.fs.say(format!("{verb} {} {rest}", self.name).trim_end())
    }

    /// After some calls of an operation, the next ones go wrong.
    pub(crate) fn arm(&self, op: Op, how: How, errno: i32, after: u64, times: u64) {
        self.say("arm", &format!("{op:?} {how:?} {errno} {after} {times}"));
    }

    /// Nothing goes wrong any more, except what hangs already.
    pub(crate) fn clear(&self) {
        self.say("clear", "");
    }

    /// How many armed faults have met no call.
    pub(crate) fn unmet(&self) -> u64 {
        self.say("unmet", "").parse().unwrap()
    }

    /// The calls of each operation since the last time that somebody asked.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let text = self.say("counts", "");
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(op, count)| (op.to_owned(), count.parse().unwrap())).collect()
    }

    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.say("capacity", &bytes.to_string());
    }

    pub(crate) fn set_identity(&self, identity: Identity) {
        self.say("identity", &format!("{identity:?}"));
    }

    /// From now on, space that is freed shows only after a sync or a commit.
    pub(crate) fn account_late(&self) {
        self.say("late", "");
    }

    /// Shows the space that is free.
    pub(crate) fn commit(&self) {
        self.say("commit", "");
    }

    /// Forgets its files.
    pub(crate) fn discard(self) {
        self.say("discard", "");
    }

    /// Takes away what was not synced, and makes every handle stale.
    pub(crate) fn remount(&self) {
        self.say("remount", "");
    }
}
