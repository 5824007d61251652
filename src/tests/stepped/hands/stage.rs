//! The directories of a play, what is not the log's in them, and how it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{
    DirEntryExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tempfile::TempDir;

use super::deeds::{At, Deed, as_nobody, names_in};

pub(super) const NOBODY: u32 = 65_534;
pub(super) const LINK: &str = "current";
/// What stands in the victim's files.
const SECRET: &str = "a secret of root's\n";
/// Nobody can execute a log, and no file of root's may be written by others.
const NEVER: u32 = 0o7111;
const NEVER_OF_ROOTS: u32 = 0o7133;

/// Whose directory the log stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The hand's own, in one that is his as well.
    His,
    /// His own, and the log belongs to him, too.
    HisLog,
    /// Everybody's, as `/tmp`.
    Sticky,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::His, Kind::HisLog, Kind::Sticky];
}

/// All that somebody could have changed, except times and the number of names.
#[derive(Clone, PartialEq)]
struct Seen {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    /// What is in a file, or where a link leads.
    content: Vec<u8>,
}

impl Seen {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        let content = match metadata.file_type() {
            kind if kind.is_file() => fs::read(path).unwrap_or_default(),
            kind if kind.is_symlink() => fs::read_link(path).ok()?.into_os_string().into_encoded_bytes(),
            _ => Vec::new(),
        };
        let (inode, mode, owner) = (metadata.ino(), metadata.mode(), (metadata.uid(), metadata.gid()));
        Some(Self { inode, mode, owner, content })
    }

    fn is_link(&self) -> bool {
        rustix::fs::FileType::from_raw_mode(self.mode).is_symlink()
    }

    fn is_file(&self) -> bool {
        rustix::fs::FileType::from_raw_mode(self.mode).is_file()
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inode, mode, owner: (user, group), content } = self;
        let start = String::from_utf8_lossy(&content[..content.len().min(100)]);
        write!(f, "{mode:o} {user}:{group} {inode} {start:?}")
    }
}

/// A regular file that stood next to the log.
struct Kept {
    inode: u64,
    file: File,
    /// It had a name under which records are read: that of the log, of an archive, or another one
    /// that a hand gave it.
    was_read: bool,
}

pub(super) struct Stage {
    dir: TempDir,
    kind: Kind,
    /// All that is root's and not the log's.
    victims: BTreeMap<PathBuf, Seen>,
    /// What the hands have put next to the log. Not at the log's own names in a directory of
    /// theirs: between the logger's look at a name and the renaming or removal of it they can put
    /// there what they could rename or remove themselves.
    planted: BTreeMap<PathBuf, Seen>,
    /// What they have put at those names, whatever they do next.
    exposed: BTreeSet<u64>,
    /// The files that they have made, or whose modes they have changed.
    touched: BTreeSet<u64>,
    /// Every regular file that ever stood next to the log, the oldest first.
    kept: Vec<Kept>,
    /// What they have locked.
    held: Vec<File>,
    /// The log is a file of theirs.
    is_log_his: bool,
}

impl Stage {
    /// Why there can be no play here.
    pub(super) fn why_none() -> Option<&'static str> {
        (!rustix::process::geteuid().is_root()).then_some("hands of another user need root")
    }

    pub(super) fn new(kind: Kind) -> Self {
        // In memory, where a sync takes no time.
        let mut builder = tempfile::Builder::new();
        let dir = builder.prefix("unfazed-hands-").tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).unwrap();
        let be = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let give = |path: &Path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        be(dir.path(), 0o755);
        let victim = dir.path().join("victim");
        fs::create_dir(&victim).unwrap();
        for name in ["secret", "app.log", "app.2020-01-01T00-00-00-0000.log", "app.2020-01-02T00-00-00-0000.log"] {
            fs::write(victim.join(name), SECRET).unwrap();
            be(&victim.join(name), 0o600);
        }
        fs::write(victim.join("shared"), "root's, and everybody may write to it\n").unwrap();
        be(&victim.join("shared"), 0o666);
        let logs = dir.path().join("parent/logs");
        fs::create_dir_all(&logs).unwrap();
        for archive in ["app.2020-01-01T00-00-00-0000.log", "app.2020-01-02T00-00-00-0000.log"] {
            fs::write(logs.join(archive), "older\n").unwrap();
        }
        match kind {
            Kind::Sticky => be(&logs, 0o1777),
            Kind::His | Kind::HisLog => [logs.as_path(), logs.parent().unwrap()].into_iter().for_each(give),
        }
        if kind == Kind::HisLog {
            fs::write(logs.join("app.log"), "").unwrap();
            be(&logs.join("app.log"), 0o640);
            give(&logs.join("app.log"));
        }
        let (planted, exposed, touched, held) = Default::default();
        let victims = seen_in(&victim);
        let is_log_his = kind == Kind::HisLog;
        Self { dir, kind, victims, planted, exposed, touched, kept: Vec::new(), held, is_log_his }
    }

    pub(super) fn victim(&self) -> PathBuf {
        self.dir.path().join("victim")
    }

    fn parent(&self) -> PathBuf {
        self.dir.path().join("parent")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.parent().join("logs")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.logs().join("app.log")
    }

    /// Holds a file of theirs that is locked.
    pub(super) fn hold(&mut self, file: File) {
        self.held.push(file);
    }

    /// Has the hands do something, and remembers what they have put where. Returns whether they
    /// could.
    pub(super) fn by_hand(&mut self, deed: Deed) -> &'static str {
        self.keep();
        let before: BTreeSet<_> = self.dirs().iter().flat_map(|dir| seen_in(dir)).map(|(_, seen)| seen.inode).collect();
        let done = match deed {
            // As if `fs.protected_hardlinks` were 0.
            Deed::GivesSecondNames => deed.is_done(self),
            _ => as_nobody(|| deed.is_done(self)),
        };
        self.is_log_his |=
            matches!(deed, Deed::Exchanges(at) | Deed::Puts(_, at) if matches!(at, At::Log | At::Unfinished));
        let victims: BTreeSet<_> = self.victims.values().map(|seen| seen.inode).collect();
        let now: BTreeMap<_, _> = self.dirs().iter().flat_map(|dir| seen_in(dir)).collect();
        let is_changed = |seen: &Seen| !before.contains(&seen.inode) || deed == Deed::ChangesModes;
        self.touched
            .extend(now.values().filter(|seen| is_changed(seen) && seen.owner.0 == NOBODY).map(|seen| seen.inode));
        self.planted = now;
        let is_log_his = self.is_log_his;
        let is_sticky = self.kind == Kind::Sticky;
        let may_go = !is_sticky && deed.is_at_the_logs_names();
        if may_go {
            let put = self.planted.values().map(|seen| seen.inode);
            self.exposed.extend(put.filter(|inode| !before.contains(inode)));
        }
        self.planted.retain(|path, seen| match seen.is_file() {
            _ if may_go || self.exposed.contains(&seen.inode) => false,
            // What belongs to the owner of the log may be an archive.
            true if seen.owner.0 == NOBODY => !is_log_his && !path.ends_with("app.log"),
            // Next to his files root's are the log's as well, and he can remove each name himself.
            true => is_sticky && victims.contains(&seen.inode),
            false if is_log_his && path.ends_with("app.log") => false,
            // The option replaces any link, and makes the new one under a name of its own.
            false => seen.owner.0 == NOBODY && (!path.ends_with(LINK) || !seen.is_link()),
        });
        if done.is_ok() { "done" } else { "refused" }
    }

    /// Keeps the files that stand next to the log now, whatever becomes of their names.
    pub(super) fn keep(&mut self) {
        for dir in self.dirs() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                    continue;
                }
                let (inode, is_unfinished) = (entry.ino(), entry.file_name().as_encoded_bytes().ends_with(b".new"));
                match self.kept.iter_mut().find(|kept| kept.inode == inode) {
                    Some(kept) => kept.was_read |= !is_unfinished,
                    None => {
                        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
                        let file = OpenOptions::new().read(true).custom_flags(flags).open(entry.path());
                        self.kept.extend(file.map(|file| Kept { inode, file, was_read: !is_unfinished }));
                    }
                }
            }
        }
    }

    /// Returns what can be read: in files, and in the pipes of hands. Then what is in files that
    /// never had a name under which anybody reads them: a rotation has given them up, or a hand has
    /// put something in their place.
    pub(super) fn kept(&self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let was_there = |kept: &&Kept| kept.was_read || kept.file.metadata().is_ok_and(|file| file.nlink() > 0);
        let (read, unread): (Vec<&Kept>, Vec<_>) = self.kept.iter().partition(was_there);
        let content = |kept: &Kept| {
            let (mut file, mut content): (&File, _) = (&kept.file, Vec::new());
            file.rewind().unwrap();
            file.read_to_end(&mut content).unwrap();
            content
        };
        let is_pipe = |file: &&File| file.metadata().is_ok_and(|found| found.file_type().is_fifo());
        let pipes = self.held.iter().filter(is_pipe).map(|mut pipe| {
            let mut content = Vec::new();
            let _ = pipe.read_to_end(&mut content); // There may be more, from whoever has it open.
            content
        });
        (read.into_iter().map(content).chain(pipes).collect(), unread.into_iter().map(content).collect())
    }

    pub(super) fn is_log_a_pipe(&self) -> bool {
        fs::symlink_metadata(self.log()).is_ok_and(|found| found.file_type().is_fifo())
    }

    /// The directories next to each other that are the log's, or were, or stand in its place.
    fn dirs(&self) -> Vec<PathBuf> {
        let dirs = names_in(&self.parent()).into_iter().map(|name| self.parent().join(name));
        dirs.filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())).collect()
    }

    /// What is not as P11 says, if anything.
    pub(super) fn wrong(&self) -> Option<String> {
        let victims = seen_in(&self.victim());
        let differs = |before: &BTreeMap<PathBuf, Seen>, now: &BTreeMap<PathBuf, Seen>| {
            let changed = before.iter().find(|(path, seen)| now.get(*path) != Some(seen));
            changed.map(|(path, seen)| format!("{} was {seen:?} and is {:?}", path.display(), now.get(path)))
        };
        let all: BTreeMap<_, _> = self.dirs().iter().flat_map(|dir| seen_in(dir)).collect();
        let added = victims.keys().find(|path| !self.victims.contains_key(*path));
        let added = added.map(|path| format!("{} is new", path.display()));
        differs(&self.victims, &victims)
            .or(added)
            .or_else(|| differs(&self.planted, &all))
            .or_else(|| self.rights(&all))
    }

    /// A file of the logger's that gives somebody a right that he should not have, if there is one.
    fn rights(&self, all: &BTreeMap<PathBuf, Seen>) -> Option<String> {
        let is_victims = |seen: &Seen| self.victims.values().any(|victim| victim.inode == seen.inode);
        let files = all.iter().filter(|(_, seen)| seen.is_file() && !is_victims(seen));
        let mut made = files.filter(|(_, seen)| !self.touched.contains(&seen.inode));
        let is_wrong = |seen: &Seen| {
            let never = if seen.owner.0 == 0 { NEVER_OF_ROOTS } else { NEVER };
            let is_owner = seen.owner.0 == 0 || self.is_log_his && seen.owner.0 == NOBODY;
            let tells = seen.content.windows(SECRET.len()).any(|text| text == SECRET.as_bytes());
            seen.mode & never != 0 || !is_owner || tells
        };
        let found = made.find(|(_, seen)| is_wrong(seen));
        found.map(|(path, seen)| format!("{} gives too much: {seen:?}", path.display()))
    }

    pub(super) fn listing(&self) -> Vec<String> {
        let all: BTreeMap<_, _> = self.dirs().iter().flat_map(|dir| seen_in(dir)).collect();
        let lines = all.iter().map(|(path, seen)| format!("{} {seen:?}", path.display()));
        std::iter::once(format!("{:?}", self.kind)).chain(lines).collect()
    }
}

/// Everything in a directory.
fn seen_in(dir: &Path) -> BTreeMap<PathBuf, Seen> {
    let paths = names_in(dir).into_iter().map(|name| dir.join(name));
    paths.filter_map(|path| Some((path.clone(), Seen::of(&path)?))).collect()
}
