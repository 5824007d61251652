//! What a hand does, with no more rights than `nobody` has.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::process::{Gid, Uid};

use super::stage::{LINK, NOBODY, Stage};

/// What is put at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A file of his that everybody may write to and execute, as its owner.
    File,
    LinkToSecret,
    LinkToNothing,
    LinkToDir,
    /// A second name of a file of root's that everybody may write to.
    SecondName,
    Pipe,
    Dir,
    Nothing,
}

/// At which name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Log,
    Archives,
    Lock,
    /// Files that are not whole yet.
    Unfinished,
    /// The link that leads to the log.
    Link,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// At names that archives have or are to get, old and new ones, at those of their compressed
    /// forms, and at every other name that the logger uses.
    Plants(What),
    /// What stands there is replaced.
    Puts(What, At),
    /// What stands there and a file of his change places.
    Exchanges(At),
    ExchangesLogAndArchive,
    /// The directory is renamed, and this stands in its place.
    SwapsDir(What),
    ChangesModeOfDir(u32),
    /// Of all files that are his, the log included if it is.
    ChangesModes,
    /// The log and its archives get second names.
    GivesSecondNames,
    LocksLog,
}

impl Deed {
    pub(super) fn all() -> Vec<Self> {
        use What::*;

        let whats = [File, LinkToSecret, LinkToNothing, LinkToDir, SecondName, Pipe, Dir, Nothing];
        let ats = [At::Log, At::Archives, At::Lock, At::Unfinished, At::Link];
        let mut all: Vec<_> = whats.into_iter().filter(|what| *what != Nothing).map(Deed::Plants).collect();
        all.extend(ats.into_iter().flat_map(|at| whats.map(|what| Deed::Puts(what, at))));
        all.extend([At::Log, At::Archives, At::Lock, At::Unfinished].map(Deed::Exchanges));
        all.extend([LinkToDir, LinkToNothing, Dir, Nothing, File].map(Deed::SwapsDir));
        all.extend([0, 0o777, 0o1777, 0o755].map(Deed::ChangesModeOfDir));
        all.extend([Deed::ExchangesLogAndArchive, Deed::ChangesModes, Deed::GivesSecondNames, Deed::LocksLog]);
        all
    }

    /// What is tried before each step in any case: between a look at the log's name and its opening
    /// there is one step.
    pub(super) const AT_EACH_STEP: [Self; 2] =
        [Deed::Puts(What::LinkToSecret, At::Log), Deed::Puts(What::SecondName, At::Log)];

    pub(super) fn is_about_archives(self) -> bool {
        let at_log =
            matches!(self, Deed::Puts(_, at) | Deed::Exchanges(at) if !matches!(at, At::Archives | At::Unfinished));
        !at_log && !matches!(self, Deed::SwapsDir(_) | Deed::ChangesModeOfDir(_) | Deed::LocksLog)
    }

    /// Whether it is at a name that the logger has made.
    pub(super) fn is_at_the_logs_names(self) -> bool {
        matches!(self, Deed::Puts(..) | Deed::Exchanges(_) | Deed::ExchangesLogAndArchive)
    }

    /// Does it as `nobody`. What he may not do fails.
    pub(super) fn is_done(self, stage: &mut Stage) -> io::Result<()> {
        let dir = stage.logs();
        let log = stage.log();
        match self {
            Deed::Plants(what) => {
                let stamps =
                    ["0001-01-01T00-00-00", "9999-12-31T23-59-59", "2001-09-09T01-46-40", "2001-09-09T01-46-41"];
                let names =
                    stamps.iter().flat_map(|stamp| (0..2).map(move |number| format!("app.{stamp}-{number:04}.log")));
                let more = ["app.9999-12-31T23-59-59-9999.log", LINK, ".app.log.lock", ".app.log.0123abcd.lock"];
                let unfinished = [".app.log.0123abcd.new", ".app.log.new"];
                let plain: Vec<_> = names.chain(more.into_iter().chain(unfinished).map(str::to_owned)).collect();
                let there = names_in(&dir).into_iter().filter(|name| is_plain_archive(name));
                let compressed: Vec<_> = plain.iter().cloned().chain(there).map(|name| name + ".gz").collect();
                all_or_first_error(plain.iter().chain(&compressed).map(|name| put(stage, what, &dir.join(name))))
            }
            Deed::Puts(what, at) => all_or_first_error(found(&dir, at).iter().map(|path| {
                if !names_in(&dir).iter().any(|name| path.ends_with(name)) {
                    return put(stage, what, path);
                }
                // He puts it there in one step if he can.
                let new = dir.join(".his");
                put(stage, what, &new)?;
                match what {
                    What::Nothing => fs::remove_file(path),
                    What::Dir => fs::remove_file(path).and_then(|()| fs::rename(&new, path)),
                    _ => fs::rename(&new, path),
                }
                .inspect_err(|_| {
                    let _ = fs::remove_file(&new).or_else(|_| fs::remove_dir(&new));
                })
            })),
            Deed::Exchanges(at) => all_or_first_error(found(&dir, at).iter().enumerate().map(|(number, path)| {
                let his = dir.join(format!(".his{number}"));
                put(stage, What::File, &his)?;
                let exchanged = rustix::fs::renameat_with(CWD, &his, CWD, path, RenameFlags::EXCHANGE);
                exchanged.map_err(io::Error::from).inspect_err(|_| {
                    let _ = fs::remove_file(&his);
                })
            })),
            Deed::ExchangesLogAndArchive => {
                let archives = found(&dir, At::Archives);
                let last = archives.last().ok_or(io::ErrorKind::NotFound)?;
                Ok(rustix::fs::renameat_with(CWD, &log, CWD, last, RenameFlags::EXCHANGE)?)
            }
            Deed::SwapsDir(what) => {
                let aside = dir.with_extension("aside");
                fs::rename(&dir, &aside)?;
                match what {
                    What::LinkToDir => symlink(stage.victim(), &dir),
                    what => put(stage, what, &dir),
                }
            }
            Deed::ChangesModeOfDir(mode) => fs::set_permissions(&dir, Permissions::from_mode(mode)),
            Deed::ChangesModes => {
                let his = names_in(&dir).into_iter().map(|name| dir.join(name));
                all_or_first_error(his.map(|path| fs::set_permissions(path, Permissions::from_mode(0o6777))))
            }
            // Root does this one, who could follow a link to somebody else.
            Deed::GivesSecondNames if dir.is_symlink() => Err(io::ErrorKind::PermissionDenied.into()),
            Deed::GivesSecondNames => all_or_first_error([At::Log, At::Archives, At::Lock].map(|at| {
                let path = found(&dir, at).pop().ok_or(io::ErrorKind::NotFound)?;
                let name = match at {
                    At::Log => "app.2001-09-09T01-46-42-0003.log".to_owned(),
                    _ => format!("{}.2", path.file_name().unwrap_or_default().to_string_lossy()),
                };
                fs::hard_link(&path, dir.join(name))
            })),
            Deed::LocksLog => {
                // It may be a pipe by now.
                let flags = OFlags::NONBLOCK.bits() as i32;
                let file = File::options().read(true).custom_flags(flags).open(&log)?;
                rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
                stage.hold(file);
                Ok(())
            }
        }
    }
}

/// Makes it there, if nothing stands there.
fn put(stage: &Stage, what: What, path: &Path) -> io::Result<()> {
    match what {
        What::File => {
            let file = File::create_new(path)?;
            io::Write::write_all(&mut &file, b"his\n")?;
            file.set_permissions(Permissions::from_mode(0o6777))
        }
        What::LinkToSecret => symlink(stage.victim().join("secret"), path),
        What::LinkToNothing => symlink(stage.victim().join("not-there"), path),
        What::LinkToDir => symlink(stage.victim(), path),
        What::SecondName => fs::hard_link(stage.victim().join("shared"), path),
        What::Pipe => Ok(rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from(0o666), 0)?),
        What::Dir => fs::create_dir(path),
        What::Nothing => Ok(()),
    }
}

/// Returns the paths of such names that are taken, and that of the log in any case.
fn found(dir: &Path, at: At) -> Vec<PathBuf> {
    let is_it = |name: &String| match at {
        At::Log => false,
        At::Archives => is_plain_archive(name) || name.ends_with(".gz"),
        At::Lock => name.ends_with(".lock"),
        At::Unfinished => name.ends_with(".new"),
        At::Link => name == LINK,
    };
    let log = (at == At::Log).then(|| "app.log".to_owned());
    log.into_iter().chain(names_in(dir).into_iter().filter(is_it)).map(|name| dir.join(name)).collect()
}

fn is_plain_archive(name: &str) -> bool {
    name.starts_with("app.") && name.ends_with(".log") && name != "app.log"
}

pub(super) fn names_in(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    names
}

fn all_or_first_error(results: impl IntoIterator<Item = io::Result<()>>) -> io::Result<()> {
    let results: Vec<_> = results.into_iter().collect();
    if results.iter().any(Result::is_ok) { Ok(()) } else { results.into_iter().next().unwrap_or(Ok(())) }
}

/// Runs something with the rights of `nobody`: this thread has them, and no other one.
pub(super) fn as_nobody<T>(act: impl FnOnce() -> T) -> T {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

    set_thread_groups(&[]).expect("root gives its groups up");
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_res_gid(None, group, None).and_then(|()| set_thread_res_uid(None, user, None)).expect("to be nobody");
    let done = act();
    set_thread_res_uid(None, Uid::ROOT, None).and_then(|()| set_thread_res_gid(None, Gid::ROOT, None)).expect("root");
    done
}
