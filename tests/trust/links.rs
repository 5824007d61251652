//! Second names and links that lead elsewhere, and directories that are exchanged: whatever stands
//! at the log's path, or on the way to it, is judged by who can have put it there.

#![allow(unsafe_code)] // a user namespace is made by a plain call

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags};
use unfazed::{Batch, Builder, Cause, LogFile, Now, Sink, State, WriteError};

use crate::cases::{DEADLINE, become_user, rotating, run_child};
use crate::harness::{
    Outcome, PATIENCE, archive, archives, as_nobody, as_user, hostile, listing, log, logger, names, put_backups_there,
};
use crate::harness::{sticky, victim, wait_until};
use crate::support::child;
use crate::witness;

/// Gives a file of the victim's a second name, as `nobody` may do where the kernel lets him
/// (`fs.protected_hardlinks` is 0).
fn plant(victims: &Path, at: &Path) {
    fs::hard_link(victims, at).unwrap();
}

/// A log would grow at the end of a script, or of a list of users.
pub(crate) fn a_second_name_of_another_file_is_no_log(dir: &Path) -> Outcome {
    let victim = victim(dir);
    for logs in [sticky(dir), hostile(dir)] {
        plant(&victim.join("secret"), &logs.join("app.log"));
        let before = listing(&victim);
        let (logger, handle) = logger(rotating(&logs).max_files(2));
        log(&logger, &handle, 30);
        assert!(matches!(handle.state(), State::Suspended(_)), "{:?}", handle.state());
        assert_eq!(listing(&victim), before);
        // It is looked at each time.
        fs::remove_file(logs.join("app.log")).unwrap();
        wait_until("the log is opened", || handle.state() == State::Healthy);
        fs::remove_file(logs.join("app.log")).unwrap();
        plant(&victim.join("secret"), &logs.join("app.log"));
        let before = listing(&victim);
        handle.reopen();
        log(&logger, &handle, 5);
        let _ = handle.shutdown(PATIENCE); // It is suspended.
        assert_eq!(listing(&victim), before);
        fs::remove_file(logs.join("app.log")).unwrap();
    }
    Outcome::holds()
}

/// A rotation that was killed leaves two names, and where nobody else makes names, a log may have
/// as many as its owner likes.
pub(crate) fn second_names_of_the_log_itself_are_no_others(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    fs::write(logs.join("app.log"), "older\n").unwrap();
    fs::hard_link(logs.join("app.log"), logs.join(archive(1))).unwrap();
    let own = dir.join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("app.log"), "older\n").unwrap();
    fs::hard_link(own.join("app.log"), own.join("as-it-is-shown")).unwrap();
    for dir in [logs, own] {
        let (logger, handle) = logger(LogFile::new(dir.join("app.log")));
        log(&logger, &handle, 5);
        assert_eq!(handle.shutdown(PATIENCE), Ok(()));
        assert_eq!(fs::read_to_string(dir.join("app.log")).unwrap().lines().count(), 6);
    }
    // The other name of the log in a directory of its own shows what was logged.
    witness::announce();
    Outcome::holds()
}

/// A symbolic link of root's is followed, and may be given a second name as well.
pub(crate) fn a_second_name_of_a_link_is_not_followed(dir: &Path) -> Outcome {
    let victim = victim(dir);
    symlink(victim.join("secret"), victim.join("link")).unwrap();
    for logs in [sticky(dir), hostile(dir)] {
        rustix::fs::linkat(CWD, victim.join("link"), CWD, logs.join("app.log"), rustix::fs::AtFlags::empty()).unwrap();
        let before = listing(&victim);
        let (logger, handle) = logger(rotating(&logs).max_files(2));
        log(&logger, &handle, 30);
        let _ = handle.shutdown(PATIENCE); // It is suspended.
        assert_eq!(listing(&victim), before);
        fs::remove_file(logs.join("app.log")).unwrap();
    }
    Outcome::holds()
}

pub(crate) fn a_lock_file_with_a_second_name_ends_no_rotation(dir: &Path) -> Outcome {
    for logs in [sticky(dir), hostile(dir)] {
        let other = logs.join("other");
        fs::write(&other, "").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
        plant(&other, &logs.join(".app.log.lock"));
        let (logger, handle) = logger(rotating(&logs));
        log(&logger, &handle, 60);
        assert_eq!(handle.shutdown(PATIENCE), Ok(()));
        assert!(archives(&logs).len() >= 3, "{:?}", names(&logs));
        assert_eq!(fs::metadata(&other).unwrap().nlink(), 2, "what is another's stays as it is");
    }
    Outcome::holds()
}

/// The oldest one comes first, and it was tried again and again.
#[cfg(feature = "gzip")]
pub(crate) fn an_archive_with_a_second_name_keeps_no_other_from_being_compressed(dir: &Path) -> Outcome {
    (1..=3).for_each(|day| fs::write(dir.join(archive(day)), "ours\n").unwrap());
    fs::hard_link(dir.join(archive(1)), dir.join("backup")).unwrap();
    let (logger, handle) = logger(rotating(dir).compress(true));
    log(&logger, &handle, 5);
    wait_until("the others are compressed", || dir.join(format!("{}.gz", archive(2))).exists());
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert!(dir.join(archive(1)).exists() && !dir.join(format!("{}.gz", archive(1))).exists());
    Outcome::holds()
}

/// Backups of root's next to the log's directory, in one whose names are in other hands.
fn backups_in(parent: &Path) -> (PathBuf, Vec<String>) {
    let backups = parent.join("backups");
    fs::create_dir(&backups).unwrap();
    fs::write(backups.join("app.log"), "root's\n").unwrap();
    (1..=4).for_each(|day| fs::write(backups.join(archive(day)), "root's\n").unwrap());
    let before = listing(&backups);
    (backups, before)
}

/// Who removes the log as well makes the logger open everything again.
pub(crate) fn a_directory_that_is_exchanged_when_the_log_is_gone_is_not_followed(dir: &Path) -> Outcome {
    let parent = hostile(dir);
    as_nobody(&parent, "mkdir logs");
    let (backups, _) = backups_in(&parent);
    let (logger, handle) = logger(rotating(&parent.join("logs")).max_files(2));
    log(&logger, &handle, 30);
    put_backups_there(&parent, "mv logs aside; rm -f aside/app.log");
    let moved = parent.join("logs");
    let before = listing(&moved);
    for _ in 0..3 {
        handle.rotate();
        handle.reopen();
        log(&logger, &handle, 30);
    }
    let _ = handle.shutdown(PATIENCE); // It may be suspended.
    assert_eq!(listing(&moved), before);
    assert!(!backups.exists());
    Outcome::holds()
}

/// A directory of root's in which everybody may rename everything.
pub(crate) fn a_directory_that_others_exchange_in_a_shared_one_is_not_followed(dir: &Path) -> Outcome {
    for (number, removes) in ["", "rm -f logs/app.log;"].into_iter().enumerate() {
        let parent = dir.join(number.to_string());
        fs::create_dir(&parent).unwrap();
        fs::set_permissions(&parent, fs::Permissions::from_mode(0o777)).unwrap();
        let logs = parent.join("logs");
        fs::create_dir(&logs).unwrap();
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o777)).unwrap();
        backups_in(&parent);
        let (logger, handle) = logger(rotating(&logs).max_files(2));
        log(&logger, &handle, 30);
        put_backups_there(&parent, &format!("{removes} mv logs aside"));
        let before = listing(&logs);
        for _ in 0..3 {
            handle.rotate();
            handle.reopen();
            log(&logger, &handle, 30);
        }
        let _ = handle.shutdown(PATIENCE); // It may be suspended.
        assert_eq!(listing(&logs), before, "{removes}");
    }
    Outcome::holds()
}

/// Exchanges the directory of the log that was just created, and fails.
struct Exchanges {
    parent: PathBuf,
    victim: PathBuf,
}

impl Sink for Exchanges {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        Ok(())
    }

    fn retry(&mut self, _: Now) -> Result<(), WriteError> {
        assert!(self.parent.join("made/new.log").exists());
        as_nobody(&self.parent, &format!("mv made aside; ln -s {} made", self.victim.display()));
        Err(WriteError::new(0, Cause::Io))
    }
}

/// `require_outputs` deletes what the attempt has created.
pub(crate) fn what_a_failed_start_deletes_is_what_it_has_created(dir: &Path) -> Outcome {
    let (parent, victim) = (hostile(dir), victim(dir));
    fs::write(victim.join("new.log"), "").unwrap();
    let before = listing(&victim);
    let exchanges = Exchanges { parent: parent.clone(), victim: victim.clone() };
    let builder = Builder::new().file(parent.join("made/new.log")).sink("exchanges", exchanges);
    assert!(builder.require_outputs(true).build().is_err());
    assert_eq!(listing(&victim), before);
    Outcome::holds()
}

/// What stays possible: a directory that is made again in another user's, or comes back.
pub(crate) fn an_empty_directory_and_the_old_one_are_followed(dir: &Path) -> Outcome {
    let parent = hostile(dir);
    let logs = parent.join("logs");
    let (logger, handle) = logger(rotating(&logs));
    log(&logger, &handle, 5);
    for again in
        ["rm -r logs", "mv logs aside; mkdir logs", "mv logs last; mv aside logs", "mv logs/app.log logs/app.log.1"]
    {
        assert!(Command::new("sh").args(["-euc", again]).current_dir(&parent).status().unwrap().success());
        // An order looks at the path at once.
        handle.rotate();
        assert_eq!(handle.flush(PATIENCE), Ok(()));
        log(&logger, &handle, 5);
        assert_eq!(handle.state(), State::Healthy, "{again}");
        let text = fs::read_to_string(logs.join("app.log")).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains(" trust: ")).count(), 5, "{again}: {text}");
    }
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(handle.stats().dropped.total(), 0);
    Outcome::holds()
}

pub(crate) fn no_directory_is_made_by_a_link_of_somebody_elses(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    as_nobody(&logs, "ln -s made-by-root logs");
    let (logger, handle) = logger(LogFile::new(logs.join("logs/app.log")));
    log(&logger, &handle, 5);
    assert!(matches!(handle.state(), State::Suspended(_)), "{:?}", handle.state());
    let _ = handle.shutdown(PATIENCE); // It is suspended.
    assert_eq!(names(&logs), ["logs"]);
    Outcome::holds()
}

/// Between the look at a link and the reading of it, or between the look at the log and its
/// opening, something else stands there. `strace` makes each of these moments longer.
pub(crate) fn links_that_are_exchanged_between_two_steps_lead_nowhere(dir: &Path) -> Outcome {
    let (logs, victim) = (hostile(dir), victim(dir));
    fs::write(logs.join("real.log"), "").unwrap();
    symlink("real.log", logs.join("app.log")).unwrap();
    as_nobody(&logs, &format!("ln -s {}/secret mine; : > file", victim.display()));
    let mut strace = Command::new("strace");
    let delay = |call: &str| ["-e".to_owned(), format!("inject={call}:delay_enter=1500")];
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=openat,newfstatat,readlinkat"]);
    strace.args(["openat", "newfstatat", "readlinkat"].iter().flat_map(|call| delay(call)));
    strace.arg("--");
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        return Outcome::Skipped("`strace` cannot trace here".into());
    }
    let before = listing(&victim);
    let streams = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    let is_over = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            let names = ["mine", "file"].map(|name| logs.join(name));
            let mut turn = 0;
            while !is_over.load(Relaxed) {
                // What `nobody` may do in his directory.
                let _ =
                    rustix::fs::renameat_with(CWD, &names[turn % 2], CWD, logs.join("app.log"), RenameFlags::EXCHANGE);
                turn += usize::from(turn % 3 != 2) + 1;
                std::thread::sleep(Duration::from_micros(700));
            }
        });
        let ended = child::run(child::command_under(strace, "opens-again", dir), streams.path(), DEADLINE);
        is_over.store(true, Relaxed);
        ended
    });
    let ended = ended.unwrap();
    // The names in the log's directory were exchanged to the end.
    witness::announce();
    assert!(ended.status.success(), "{}", ended.said());
    assert_eq!(listing(&victim), before);
    Outcome::holds()
}

pub(crate) fn opens_again(dir: &Path) {
    let (logger, handle) = logger(LogFile::new(dir.join("hostile/app.log")));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        log(&logger, &handle, 1);
        handle.reopen();
    }
    let _ = handle.shutdown(PATIENCE); // It may be suspended.
}

/// In a user namespace that knows one user, everybody else looks like root does.
pub(crate) fn in_a_user_namespace_nobody_else_is_taken_for_root(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    let own = dir.join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("secret"), "of the user\n").unwrap();
    (1..=4).for_each(|day| fs::write(own.join(archive(day)), "of the user\n").unwrap());
    for path in names(&own).iter().map(|name| own.join(name)).chain([own.clone()]) {
        chown(&path, Some(1000), Some(1000)).unwrap();
    }
    // A log of its own works there as anywhere.
    fs::create_dir(dir.join("mine")).unwrap();
    chown(dir.join("mine"), Some(1000), Some(1000)).unwrap();
    witness::logs_in(&dir.join("mine"));
    let works = Command::new("setpriv").args(["--reuid", "1000", "--clear-groups", "unshare", "-Ur", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        return Outcome::Skipped("an ordinary user cannot make a user namespace here".into());
    }
    as_user(1001, &logs, &format!("ln -s {0}/secret app.log; ln -s {0} logs", own.display()));
    let before = listing(&own);
    let outcome = run_child("in-namespace", dir);
    assert_eq!(listing(&own), before);
    outcome
}

pub(crate) fn in_namespace(dir: &Path) {
    become_user(1000);
    // SAFETY: touches no memory. What was root's before may write to its own files in `/proc` then.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) }, 0);
    // SAFETY: touches no memory of this process, which has one thread.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, 0, "{}", std::io::Error::last_os_error());
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", "0 1000 1").unwrap();
    fs::write("/proc/self/gid_map", "0 1000 1").unwrap();
    for path in ["sticky/app.log", "sticky/logs/app.log"] {
        let file = LogFile::new(dir.join(path)).rotation(unfazed::Rotation::size(2000)).max_files(2);
        let (logger, handle) = logger(file);
        log(&logger, &handle, 60);
        assert!(matches!(handle.state(), State::Suspended(_)), "{path}: {:?}", handle.state());
        let _ = handle.shutdown(PATIENCE); // It is suspended.
    }
    let (logger, handle) = logger(rotating(&dir.join("mine/logs")).max_files(2));
    log(&logger, &handle, 60);
    handle.shutdown(PATIENCE).unwrap();
    assert_eq!(handle.stats().written, 60);
}
