//! Lists everything in a case's directory before and after a logger works there, and compares: P11,
//! for every case, whatever the case itself looks at.
//!
//! A hand's script is announced by `as_user`, what the case does itself by `announce`. Everything
//! else that changes was changed by the logger, and it may change what is its own: files of the
//! log's owner or of root's, with names of the log, in a directory of a log. It may add names to
//! such a directory and next to it, and nowhere else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use crate::harness::{Outcome, archive, as_nobody, hostile, victim};

thread_local! {
    /// The witness of the case that this thread plays.
    static WITNESS: RefCell<Option<Witness>> = const { RefCell::new(None) };
}

struct Witness {
    dir: PathBuf,
    /// The numbers of the directories in which a logger works, whatever they are called.
    logs: BTreeSet<u64>,
    before: BTreeMap<PathBuf, Seen>,
}

/// All that somebody could have changed, except times and the number of names.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    inode: u64,
    /// What is in a file, or where a link leads.
    content: Vec<u8>,
}

impl Seen {
    fn is_dir(&self) -> bool {
        rustix::fs::FileType::from_raw_mode(self.mode).is_dir()
    }
}

/// Begins with a case whose directory is still empty.
pub(crate) fn begin(dir: &Path) {
    WITNESS.set(Some(Witness { dir: dir.to_owned(), logs: BTreeSet::new(), before: everything(dir) }));
}

/// Compares a last time.
pub(crate) fn end() {
    with(|witness| witness.compare("at the end"));
    WITNESS.set(None);
}

/// A logger works, or will work, in this directory.
pub(crate) fn logs_in(dir: &Path) {
    with(|witness| witness.logs.extend(fs::metadata(dir).map(|dir| dir.ino())));
}

/// Takes what is there for what was there before: the case itself has changed something. No case
/// changes what stands in the victim's directory, except that it adds names.
pub(crate) fn announce() {
    with(|witness| {
        let now = everything(&witness.dir);
        let victims =
            witness.before.iter().filter(|(path, seen)| path.parent().is_some_and(is_victim) && !seen.is_dir());
        for (path, before) in victims {
            assert_eq!(now.get(path), Some(before), "{}", path.display());
        }
        witness.before = now;
    });
}

fn is_victim(dir: &Path) -> bool {
    dir.ends_with("victim")
}

/// Compares, and has the hands do something.
pub(crate) fn by_hand<T>(what: &str, hands: impl FnOnce() -> T) -> T {
    with(|witness| witness.compare(&format!("before `{what}`")));
    let done = hands();
    announce();
    done
}

/// Each way to touch what is another's, done by the case as a logger would do it.
pub(crate) fn whatever_a_logger_does_to_others_is_found(dir: &Path) -> Outcome {
    let (logs, victim) = (hostile(dir), victim(dir));
    as_nobody(&logs, "for n in 1 2; do echo mine > app.2020-01-0${n}T00-00-00-0000.log; done");
    let planted = [archive(1), archive(2)].map(|name| logs.join(name));
    fs::write(logs.join("app.log"), "").unwrap();
    let deeds: [(&str, &dyn Fn() -> io::Result<()>); 8] = [
        ("appends", &|| fs::write(victim.join("secret"), "log")),
        ("gives a mode", &|| fs::set_permissions(victim.join("secret"), fs::Permissions::from_mode(0o644))),
        ("gives an owner", &|| chown(victim.join("app.log"), Some(1000), None)),
        ("renames", &|| fs::rename(victim.join("app.log"), victim.join("app.2030-01-01T00-00-00-0000.log"))),
        ("deletes", &|| fs::remove_file(victim.join(archive(1)))),
        ("creates", &|| fs::write(victim.join("new"), "")),
        ("replaces", &|| fs::rename(logs.join("app.log"), &planted[0])),
        ("deletes what is planted", &|| fs::remove_file(&planted[1])),
    ];
    for (what, deed) in deeds {
        deed().unwrap();
        with(|witness| {
            assert!(witness.difference().is_some(), "it {what}, and nobody has seen it");
            witness.before = everything(&witness.dir);
        });
    }
    Outcome::holds()
}

fn with(act: impl FnOnce(&mut Witness)) {
    WITNESS.with_borrow_mut(|witness| witness.as_mut().map(act));
}

impl Witness {
    fn compare(&self, when: &str) {
        let found = self.difference();
        assert!(found.is_none(), "{when}: {}", found.unwrap_or_default());
    }

    /// What a logger may not have done, if anything.
    fn difference(&self) -> Option<String> {
        let now = everything(&self.dir);
        // The case's own directory is given away by some.
        let mut paths = self.before.keys().chain(now.keys()).filter(|path| **path != self.dir);
        paths.find_map(|path| {
            let (before, after) = (self.before.get(path), now.get(path));
            let is_allowed = before == after || self.is_the_logs(path, before, after);
            (!is_allowed).then(|| format!("{} was {before:?} and is {after:?}", path.display()))
        })
    }

    fn is_the_logs(&self, path: &Path, before: Option<&Seen>, after: Option<&Seen>) -> bool {
        let parent = path.parent().unwrap_or(path);
        let in_logs = self.before.get(parent).is_some_and(|dir| self.logs.contains(&dir.inode));
        if before.is_none() {
            return in_logs || parent == self.dir || !self.before.contains_key(parent);
        }
        let name = path.file_name().unwrap_or_default().as_bytes();
        let is_name = name.starts_with(b"app.") || name.starts_with(b".app.") || name == b"real.log";
        let log = fs::metadata(parent.join("app.log")).map(|log| log.uid()).ok();
        let is_owner = |seen: &Seen| seen.owner.0 == 0 || Some(seen.owner.0) == log;
        in_logs && is_name && before.into_iter().chain(after).all(is_owner)
    }
}

fn everything(dir: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    all.extend(seen(dir).map(|seen| (dir.to_owned(), seen)));
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            // What a thread of the logger deletes at this moment is none of the others'.
            let Some(seen) = seen(&path) else { continue };
            if seen.is_dir() {
                dirs.push(path.clone());
            }
            all.insert(path, seen);
        }
    }
    all
}

fn seen(path: &Path) -> Option<Seen> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let content = match metadata.file_type() {
        kind if kind.is_symlink() => fs::read_link(path).map(|to| to.as_os_str().as_bytes().to_vec()),
        // A long one is sparse.
        kind if kind.is_file() && metadata.len() < 1 << 24 => read(path),
        kind if kind.is_file() => Ok(metadata.len().to_string().into_bytes()),
        _ => Ok(Vec::new()),
    };
    let (mode, owner, inode) = (metadata.mode(), (metadata.uid(), metadata.gid()), metadata.ino());
    Some(Seen { mode, owner, inode, content: content.unwrap_or_default() })
}

/// Waits for nobody who holds a lease.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    OpenOptions::new().read(true).custom_flags(flags).open(path)?.read_to_end(&mut content)?;
    Ok(content)
}
