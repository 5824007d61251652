//! The lock of a log: whoever may read the log has no part in it, and what stands at its name is
//! used only if it is the logger's.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command};

use unfazed::{Builder, LogFile, Rotation};

use crate::cases::{SIZE, rotating};
use crate::harness::{
    NOBODY, Outcome, PATIENCE, archives, as_nobody, built, hostile, line, listing, log, logger, names,
};
use crate::harness::{sticky, victim, wait_until};

const LOCK: &str = ".app.log.lock";

/// Holds a lock on the log, as `nobody`, until it is dropped.
struct Reader(Child);

impl Reader {
    fn new(dir: &Path, kind: &str) -> Self {
        let user = NOBODY.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "flock", "-F", kind, "app.log"]);
        // The file says that the lock is held.
        command.args(["sh", "-c", "echo held; exec sleep 60"]).current_dir(dir);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut held = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut held).unwrap();
        Self(child)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill(); // It may have ended.
        let _ = self.0.wait();
    }
}

/// Nothing was rotated, deleted, mended or kept for ERROR while `flock` was held, and nothing said.
pub(crate) fn a_reader_who_locks_the_log_hinders_nothing(dir: &Path) -> Outcome {
    for (number, kind) in ["-x", "-s"].into_iter().enumerate() {
        let logs = dir.join(number.to_string());
        fs::create_dir(&logs).unwrap();
        fs::write(logs.join("app.log"), "").unwrap();
        let reader = Reader::new(&logs, kind);
        let (logger, handle) = logger(rotating(&logs).max_files(3).mode(0o644));
        log(&logger, &handle, 100);
        assert_eq!(archives(&logs).len(), 2, "{kind}: {:?}", names(&logs));
        // The next file can be locked as well, while it is the active one.
        let again = Reader::new(&logs, kind);
        let before = archives(&logs);
        log(&logger, &handle, 100);
        assert_eq!(archives(&logs).len(), 2, "{kind}: {:?}", names(&logs));
        assert!(before.iter().all(|name| !logs.join(name).exists()), "{kind}: the older ones are deleted");
        let active = fs::metadata(logs.join("app.log")).unwrap();
        assert!(active.len() <= SIZE);
        drop((reader, again));
        assert_eq!(handle.shutdown(PATIENCE), Ok(()));
        assert_eq!((handle.stats().written, handle.stats().outputs[0].failures), (200, 0));
    }
    Outcome::holds()
}

pub(crate) fn nobody_else_can_open_the_lock_file_and_it_goes_with_the_logger(dir: &Path) -> Outcome {
    for logs in [sticky(dir), hostile(dir)] {
        let (logger, handle) = logger(rotating(&logs));
        log(&logger, &handle, 60);
        let lock = fs::symlink_metadata(logs.join(LOCK)).unwrap();
        assert_eq!((lock.mode(), lock.uid(), lock.len()), (0o100_600, 0, 0));
        as_nobody(&logs, &format!("! flock -n {LOCK} true 2> /dev/null; ! cat {LOCK} 2> /dev/null"));
        assert_eq!(handle.shutdown(PATIENCE), Ok(()));
        assert!(!logs.join(LOCK).exists());
    }
    Outcome::holds()
}

/// A lock file that is left by `kill -9` hinders nobody.
pub(crate) fn a_lock_file_that_was_left_is_used_again(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    as_root(&logs, &format!("umask 077; : > {LOCK}"));
    let before = fs::metadata(logs.join(LOCK)).unwrap().ino();
    let (logger, handle) = logger(rotating(&logs));
    log(&logger, &handle, 60);
    assert_eq!(fs::metadata(logs.join(LOCK)).unwrap().ino(), before);
    assert!(archives(&logs).len() >= 3, "{:?}", names(&logs));
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert!(!logs.join(LOCK).exists());
    Outcome::holds()
}

/// Nor does it end a rotation: the lock file gets another name.
pub(crate) fn what_others_have_put_at_the_locks_name_is_left_as_it_is(dir: &Path) -> Outcome {
    let victim = victim(dir);
    let secret = victim.join("secret").display().to_string();
    let shapes = [
        format!(": > {LOCK}; chmod 600 {LOCK}"),
        format!("echo text > {LOCK}; chmod 666 {LOCK}"),
        format!("mkfifo -m 666 {LOCK}"),
        format!("mkdir {LOCK}"),
        format!("ln -s {secret} {LOCK}"),
        format!("ln -s {}/not-there {LOCK}", victim.display()),
        format!("ln -s {LOCK} {LOCK}"),
        format!("ln -s /dev/zero {LOCK}"),
    ];
    let before = listing(&victim);
    for (number, shape) in shapes.iter().enumerate() {
        for make in [sticky as fn(&Path) -> _, hostile] {
            let case = dir.join(format!("{number}-{}", make as usize));
            fs::create_dir(&case).unwrap();
            let logs = make(&case);
            as_nobody(&logs, shape);
            let planted = line(&logs.join(LOCK));
            let (logger, handle) = logger(rotating(&logs).max_files(2));
            log(&logger, &handle, 60);
            handle.reopen();
            log(&logger, &handle, 60);
            assert_eq!(handle.shutdown(PATIENCE), Ok(()), "{shape}");
            assert_eq!(handle.stats().written, 120, "{shape}");
            assert_eq!(line(&logs.join(LOCK)), planted, "{shape}");
            let left = names(&logs);
            assert_eq!((archives(&logs).len(), left.len()), (1, 3), "{shape}: {left:?}");
            assert_eq!(handle.stats().outputs[0].failures, 0, "{shape}");
        }
    }
    assert_eq!(listing(&victim), before);
    Outcome::holds()
}

/// A file of root's that others can lock is no lock, whoever gave it that name.
pub(crate) fn a_file_of_the_loggers_own_that_others_may_open_is_no_lock(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    for made in ["umask 022; : >", "umask 077; echo text >"] {
        as_root(&logs, &format!("{made} app.2020-01-01T00-00-00-0000.log"));
        as_nobody(&logs, &format!("mv app.2020-01-01T00-00-00-0000.log {LOCK}"));
        let planted = line(&logs.join(LOCK));
        let (logger, handle) = logger(LogFile::new(logs.join("app.log")).rotation(Rotation::size(SIZE)));
        log(&logger, &handle, 60);
        assert_eq!(handle.shutdown(PATIENCE), Ok(()));
        assert_eq!(line(&logs.join(LOCK)), planted, "neither its mode is changed nor its name removed");
    }
    Outcome::holds()
}

/// However the name of the lock file changes, one process has the lock.
pub(crate) fn of_several_loggers_one_has_the_lock_whatever_its_file_is_called(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    let ours = || {
        let of_root = |name: &String| fs::symlink_metadata(logs.join(name)).is_ok_and(|file| file.uid() == 0);
        names(&logs).into_iter().filter(|name| name.ends_with(".lock") && of_root(name)).collect::<Vec<_>>()
    };
    as_nobody(&logs, &format!(": > {LOCK}; : > .app.log.0123abcd.lock; chmod 600 .app*"));
    let new = || logger(rotating(&logs).mode(0o644));
    let mut loggers = vec![new(), new()];
    let holders = ours();
    assert_eq!(holders.len(), 1, "{holders:?}");
    assert!(holders[0].len() == LOCK.len() + 9 && holders[0] != ".app.log.0123abcd.lock", "{holders:?}");
    as_nobody(&logs, &format!("rm -f {LOCK}"));
    loggers.push(new());
    for _ in 0..10 {
        loggers.iter().for_each(|(logger, handle)| log(logger, handle, 20));
    }
    assert_eq!(ours(), holders, "the name is free again, and the lock is held");
    let lines: usize = [archives(&logs), vec!["app.log".to_owned()]]
        .concat()
        .iter()
        .map(|name| fs::read_to_string(logs.join(name)).unwrap().lines().count())
        .sum();
    assert_eq!(lines, 600);
    for (_, handle) in &loggers {
        assert_eq!(handle.shutdown(PATIENCE), Ok(()));
        assert_eq!((handle.stats().written, handle.stats().outputs[0].failures), (200, 0));
    }
    assert_eq!(ours(), [""; 0], "what was made is removed");
    // What `kill -9` has left, of both kinds, is used again, and one of them goes.
    as_root(&logs, &format!("umask 077; : > {LOCK}; : > .app.log.00000000.lock; : > .app.log.ffffffff.lock"));
    let (logger, handle) = new();
    assert_eq!(ours(), [LOCK]);
    log(&logger, &handle, 60);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(ours(), [""; 0]);
    Outcome::holds()
}

/// The lock file belongs to the log's owner: to whom root has given the log, and who may write it
/// as well.
pub(crate) fn root_and_the_owner_of_the_log_have_one_lock(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    let (logger, handle) = logger(LogFile::new(logs.join("app.log")).owner(NOBODY).group(NOBODY));
    log(&logger, &handle, 1);
    let outcome = crate::cases::run_child("owner-rotates", dir);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(names(&logs), ["app.log"]);
    outcome
}

/// As `nobody`, to whom the log belongs, while root's logger has the lock.
pub(crate) fn owner_rotates(dir: &Path) {
    crate::cases::become_nobody();
    let (logger, handle) = logger(LogFile::new(dir.join("hostile/app.log")));
    log(&logger, &handle, 1);
    handle.rotate();
    handle.shutdown(PATIENCE).unwrap();
    assert_eq!(archives_of_nobody(dir), [""; 0], "another process holds the lock");
    assert_eq!(handle.stats().outputs[0].failures, 1);
}

fn archives_of_nobody(dir: &Path) -> Vec<String> {
    names(&dir.join("hostile")).into_iter().filter(|name| !name.contains("app.log")).collect()
}

/// `Handle::rotate` answers also where it cannot be done.
pub(crate) fn a_rotation_that_was_ordered_without_the_lock_is_reported(dir: &Path) -> Outcome {
    let (one, one_handle) = logger(LogFile::new(dir.join("app.log")));
    log(&one, &one_handle, 1);
    let (tell, told) = std::sync::mpsc::channel();
    let on_event = move |event: &unfazed::Event| tell.send(event.to_string()).unwrap();
    let file = LogFile::new(dir.join("app.log")).min_free_space(0);
    let (other, other_handle) = built(Builder::new().file(file).on_event(on_event));
    log(&other, &other_handle, 1);
    other_handle.rotate();
    assert_eq!(other_handle.flush(PATIENCE), Ok(()));
    // Once the other one is gone, the lock is asked for by the order itself.
    assert_eq!(one_handle.shutdown(PATIENCE), Ok(()));
    other_handle.rotate();
    assert_eq!(other_handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(archives(dir).len(), 1, "{:?}", names(dir));
    let told: Vec<_> = told.try_iter().collect();
    let refused = "failed to rotate: another process holds the lock";
    assert_eq!(told.iter().filter(|event| event.contains(refused)).count(), 1, "{told:?}");
    assert_eq!(other_handle.stats().outputs[0].failures, 1);
    Outcome::holds()
}

pub(crate) fn a_lock_file_that_is_removed_again_and_again_ends_no_rotation(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    let (one, one_handle) = logger(rotating(&logs).max_files(4));
    let (other, other_handle) = logger(rotating(&logs).max_files(4));
    for _ in 0..30 {
        as_nobody(&logs, &format!("rm -f {LOCK}"));
        log(&one, &one_handle, 20);
        log(&other, &other_handle, 20);
    }
    // The lock is asked for again every ten seconds.
    wait_until("one of them rotates", || {
        log(&one, &one_handle, 1);
        log(&other, &other_handle, 1);
        fs::metadata(logs.join("app.log")).is_ok_and(|active| active.len() <= 2 * SIZE) && archives(&logs).len() == 3
    });
    assert_eq!(one_handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(other_handle.shutdown(PATIENCE), Ok(()));
    Outcome::holds()
}

/// Where the directory is not the program's, nothing can be rotated, and the log itself is locked.
pub(crate) fn without_the_right_to_make_files_the_log_is_written_all_the_same(dir: &Path) -> Outcome {
    crate::cases::run_child("append-only", dir)
}

/// As `nobody`, in a directory of root's with a log of nobody's.
pub(crate) fn append_only(dir: &Path) {
    fs::write(dir.join("app.log"), "").unwrap();
    std::os::unix::fs::chown(dir.join("app.log"), Some(NOBODY), Some(NOBODY)).unwrap();
    crate::cases::become_nobody();
    let file = rotating(dir).min_free_space(0);
    let (tell, told) = std::sync::mpsc::channel();
    let on_event = move |event: &unfazed::Event| tell.send(event.to_string()).unwrap();
    let (logger, handle) = built(Builder::new().file(file).on_event(on_event));
    log(&logger, &handle, 60);
    handle.shutdown(PATIENCE).unwrap();
    assert_eq!(handle.stats().written, 60);
    assert_eq!(names(dir), ["app.log"]);
    let told: Vec<_> = told.try_iter().collect();
    assert!(told.iter().any(|event| event.contains("rotate")), "{told:?}");
}

fn as_root(dir: &Path, script: &str) {
    assert!(Command::new("sh").args(["-euc", script]).current_dir(dir).status().unwrap().success(), "{script}");
}
