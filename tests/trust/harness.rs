//! A victim, who is root, a hostile hand, which is `nobody`'s, and what stands in a directory.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use log::{Level, Log, Record};
use unfazed::{Builder, Handle, LogFile, Logger};

use crate::support::child::Case;
pub(crate) use crate::support::child::Outcome;
use crate::witness;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const NOBODY: u32 = 65_534;

pub(crate) fn case(name: &'static str, run: fn(&Path) -> Outcome) -> Case {
    Case::new(name, move |_| {
        if let Some(reason) = lacking() {
            return Ok(Outcome::Skipped(reason.into()));
        }
        // Not in the target directory: others must be able to get there.
        let dir = tempfile::Builder::new().prefix("unfazed-trust-").tempdir().map_err(|error| error.to_string())?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
        witness::begin(dir.path());
        let outcome = run(dir.path());
        witness::end();
        Ok(outcome)
    })
}

fn lacking() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("the logger has to be root's");
    }
    let user = NOBODY.to_string();
    let works = Command::new("setpriv").args(["--reuid", &user, "--regid", &user, "--clear-groups", "true"]).status();
    if works.is_ok_and(|status| status.success()) { None } else { Some("`setpriv` cannot become another user") }
}

/// Runs a script as `nobody`, in a directory; it has to succeed.
pub(crate) fn as_nobody(dir: &Path, script: &str) {
    as_user(NOBODY, dir, script);
}

/// Runs a script as a user; it has to succeed.
pub(crate) fn as_user(user: u32, dir: &Path, script: &str) {
    let user = user.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "sh", "-euc", script]);
    let output = witness::by_hand(script, || command.current_dir(dir).output().unwrap());
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Puts `backups` in the place of `logs` as `nobody`, after a script of his. The logger may make
/// the directory that is gone again in between; what is in that is its own.
pub(crate) fn put_backups_there(dir: &Path, script: &str) {
    let until = "until mv -T backups logs; do mv -T logs \"made by $(date +%s%N)\"; done 2> /dev/null";
    as_nobody(dir, &format!("{script}; {until}"));
    names(dir).iter().filter(|name| name.starts_with("made by ")).for_each(|name| witness::logs_in(&dir.join(name)));
}

/// A directory of `nobody`'s.
pub(crate) fn hostile(dir: &Path) -> PathBuf {
    let hostile = dir.join("hostile");
    fs::create_dir(&hostile).unwrap();
    chown(&hostile, Some(NOBODY), Some(NOBODY)).unwrap();
    witness::logs_in(&hostile);
    hostile
}

/// A directory in which everybody has names of his own, as `/tmp`.
pub(crate) fn sticky(dir: &Path) -> PathBuf {
    let sticky = dir.join("sticky");
    fs::create_dir(&sticky).unwrap();
    fs::set_permissions(&sticky, fs::Permissions::from_mode(0o1777)).unwrap();
    witness::logs_in(&sticky);
    sticky
}

/// A directory of root's, with a secret, something like a log, and archives.
pub(crate) fn victim(dir: &Path) -> PathBuf {
    let victim = dir.join("victim");
    fs::create_dir(&victim).unwrap();
    for name in ["secret".to_owned(), "app.log".to_owned()].into_iter().chain((1..=5).map(archive)) {
        fs::write(victim.join(&name), format!("{name} of root's\n")).unwrap();
        fs::set_permissions(victim.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    victim
}

pub(crate) fn archive(day: u32) -> String {
    format!("app.2020-01-0{day}T00-00-00-0000.log")
}

/// Everything about everything in a directory.
pub(crate) fn listing(dir: &Path) -> Vec<String> {
    let mut lines: Vec<_> = names(dir).iter().map(|name| line(&dir.join(name))).collect();
    lines.push(line(dir));
    lines
}

pub(crate) fn line(path: &Path) -> String {
    let metadata = fs::symlink_metadata(path).unwrap();
    let content = if metadata.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    let link = fs::read_link(path).map(|to| to.as_os_str().as_bytes().to_vec()).unwrap_or_default();
    let (mode, user, group) = (metadata.mode(), metadata.uid(), metadata.gid());
    let (links, time) = (metadata.nlink(), (metadata.mtime(), metadata.mtime_nsec()));
    let text = String::from_utf8_lossy(&content).into_owned() + &String::from_utf8_lossy(&link);
    format!("{} {mode:o} {user}:{group} {links} {time:?} {text:?}", path.display())
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

/// The archives that belong to root.
pub(crate) fn archives(dir: &Path) -> Vec<String> {
    let is_ours = |name: &String| {
        let is_archive = name.starts_with("app.") && name.contains('T') && !name.ends_with(".gz");
        is_archive && fs::symlink_metadata(dir.join(name)).unwrap().uid() == 0
    };
    names(dir).into_iter().filter(is_ours).collect()
}

/// A logger of its own, whatever room the disk has.
pub(crate) fn logger(file: LogFile) -> (Logger, Handle) {
    built(Builder::new().file(file.min_free_space(0)))
}

/// `build` waits at most this long for the outputs to be opened.
const OPENED_WITHIN: Duration = Duration::from_millis(250);

/// Makes a logger of one file under the eyes of the witness, and waits until its outputs were
/// tried. `build` does so itself, unless a busy machine takes the time to itself in which it does.
pub(crate) fn built(builder: Builder) -> (Logger, Handle) {
    witness::announce();
    let begun = Instant::now();
    let (logger, handle) = builder.build().unwrap();
    if begun.elapsed() >= OPENED_WITHIN {
        let _ = handle.flush(PATIENCE); // It may be suspended.
    }
    if let Some(dir) = Path::new(&handle.stats().outputs[0].name).parent() {
        witness::logs_in(dir);
    }
    (logger, handle)
}

/// Logs so many records, and waits until what becomes of each of them is known.
pub(crate) fn log(logger: &Logger, handle: &Handle, records: u64) {
    for n in 0..records {
        let args = format_args!("{n} {:=<100}", "");
        logger.log(&Record::builder().args(args).level(Level::Info).target("trust").build());
    }
    // Where nothing can be written it does not wait until the last of them is dropped.
    let _ = handle.flush(PATIENCE);
    wait_until("each record is in the account once", || {
        let stats = handle.stats();
        stats.accepted == stats.written + stats.dropped.total() + stats.pending
    });
}

pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    crate::support::child::wait_until(|| what.to_owned(), PATIENCE, condition);
}
