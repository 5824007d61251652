//! What the mechanisms refuse one by one: each case fails if its mechanism is taken out.

#![allow(unsafe_code)] // plain calls of the C library

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use unfazed::{Builder, Event, LogFile, State};

use crate::cases::{DEADLINE, rotating};
use crate::harness::{
    Outcome, PATIENCE, archive, archives, as_nobody, built, hostile, log, logger, names, put_backups_there, sticky,
    wait_until,
};
use crate::support::child;

/// In a sticky directory an archive belongs to the log's owner: a file of root's there may have
/// been linked by anybody.
pub(crate) fn next_to_a_log_of_somebody_elses_in_a_sticky_directory_nothing_of_ours_goes(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    fs::write(logs.join("app.log"), "").unwrap();
    chown(logs.join("app.log"), Some(1000), Some(1000)).unwrap();
    (1..=4).for_each(|day| fs::write(logs.join(archive(day)), "root's\n").unwrap());
    let (logger, handle) = logger(rotating(&logs).max_files(2));
    log(&logger, &handle, 60);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert!((1..=4).all(|day| logs.join(archive(day)).exists()), "{:?}", names(&logs));
    Outcome::holds()
}

#[cfg(feature = "gzip")]
pub(crate) fn a_compressed_archive_has_no_more_permissions_than_the_log(dir: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt as _;

    fs::write(dir.join("app.log"), "older\n").unwrap();
    fs::set_permissions(dir.join("app.log"), fs::Permissions::from_mode(0o640)).unwrap();
    for day in 1..=2 {
        fs::write(dir.join(archive(day)), "ours\n").unwrap();
        fs::set_permissions(dir.join(archive(day)), fs::Permissions::from_mode(0o6757)).unwrap();
    }
    let (logger, handle) = logger(rotating(dir).compress(true));
    log(&logger, &handle, 60);
    let compressed = dir.join(format!("{}.gz", archive(1)));
    wait_until("it is compressed", || compressed.exists());
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(fs::metadata(compressed).unwrap().mode() & 0o7777, 0o640);
    Outcome::holds()
}

pub(crate) fn a_device_that_is_no_terminal_is_no_log(dir: &Path) -> Outcome {
    for (device, is_log) in [("/dev/zero", false), ("/dev/random", false), ("/dev/null", true)] {
        let path = dir.join("app.log");
        symlink(device, &path).unwrap();
        let (logger, handle) = logger(LogFile::new(&path));
        log(&logger, &handle, 1);
        assert_eq!(handle.state() == State::Healthy, is_log, "{device}: {:?}", handle.state());
        let _ = handle.shutdown(PATIENCE); // It may be suspended.
        fs::remove_file(path).unwrap();
    }
    Outcome::holds()
}

/// The log went on into the pipe, and rotation and retention were off in silence.
pub(crate) fn a_pipe_in_the_place_of_a_log_that_rotates_gets_nothing_and_is_reported(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    let (tell, told) = std::sync::mpsc::channel();
    let on_event = move |event: &Event| {
        let _ = tell.send(event.to_string()); // The case is over.
    };
    let (logger, handle) = built(Builder::new().file(rotating(&logs).min_free_space(0)).on_event(on_event));
    log(&logger, &handle, 3);
    as_nobody(&logs, "mv app.log app.log.1; mkfifo -m 666 app.log");
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut reader = File::options().read(true).custom_flags(flags).open(logs.join("app.log")).unwrap();
    wait_until("the log is suspended", || {
        log(&logger, &handle, 1);
        matches!(handle.state(), State::Suspended(_))
    });
    let mut read = Vec::new();
    let _ = reader.read_to_end(&mut read); // Nobody has it open, or nothing is in it yet.
    assert_eq!(String::from_utf8_lossy(&read), "", "the reader gets nothing");
    let told: Vec<_> = told.try_iter().collect();
    assert!(told.iter().any(|event| event.contains("a stream is in the place of a file")), "{told:?}");
    as_nobody(&logs, "rm app.log");
    wait_until("the log goes on in a file of its own", || {
        log(&logger, &handle, 30);
        !archives(&logs).is_empty()
    });
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    Outcome::holds()
}

/// A directory of root's that stands in another user's may be renamed by him.
pub(crate) fn a_directory_of_ours_that_somebody_else_puts_at_the_path_is_not_followed(dir: &Path) -> Outcome {
    let parent = hostile(dir);
    as_nobody(&parent, "mkdir logs");
    let backups = parent.join("backups");
    fs::create_dir(&backups).unwrap();
    (1..=4).for_each(|day| fs::write(backups.join(archive(day)), "root's\n").unwrap());
    let before: Vec<_> = names(&backups);
    let (logger, handle) = logger(rotating(&parent.join("logs")).max_files(2));
    log(&logger, &handle, 30);
    put_backups_there(&parent, "mv logs aside");
    for _ in 0..3 {
        handle.rotate();
        log(&logger, &handle, 30);
    }
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(names(&parent.join("logs")), before);
    assert_eq!(archives(&parent.join("aside")).len(), 1, "the old directory goes on");
    Outcome::holds()
}

/// Whoever may write to the directory can remove the lock file: from then on another process may
/// have the lock.
pub(crate) fn who_has_lost_the_lock_to_another_rotates_nothing(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    let new = || logger(LogFile::new(logs.join("app.log")));
    let (one, one_handle) = new();
    log(&one, &one_handle, 1);
    as_nobody(&logs, "rm .app.log.lock");
    let (other, other_handle) = new();
    log(&other, &other_handle, 1);
    one_handle.rotate();
    assert_eq!(one_handle.flush(PATIENCE), Ok(()));
    assert_eq!(archives(&logs), [""; 0]);
    other_handle.rotate();
    assert_eq!(other_handle.flush(PATIENCE), Ok(()));
    assert_eq!(archives(&logs).len(), 1);
    // Nor does it take the other one's lock file away when it ends.
    let held = fs::metadata(logs.join(".app.log.lock")).unwrap().ino();
    assert_eq!(one_handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(fs::metadata(logs.join(".app.log.lock")).map(|lock| lock.ino()).ok(), Some(held));
    assert_eq!(other_handle.shutdown(PATIENCE), Ok(()));
    Outcome::holds()
}

/// Whoever owns a file may be asked by the system before another process opens it, and has 45 s to
/// answer (`fcntl`, `F_SETLEASE`).
pub(crate) fn a_lease_on_the_log_makes_nobody_wait(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    let mut holder = child::command("holds-lease", dir).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let begun = Instant::now();
    let (logger, handle) = logger(rotating(&logs));
    log(&logger, &handle, 5);
    assert!(matches!(handle.state(), State::Suspended(_)), "{:?}", handle.state());
    let _ = handle.shutdown(PATIENCE); // It is suspended.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    holder.kill().unwrap();
    holder.wait().unwrap();
    Outcome::holds()
}

pub(crate) fn hold_lease(dir: &Path) {
    crate::cases::become_nobody();
    let file = File::create_new(dir.join("hostile/app.log")).unwrap();
    // SAFETY: touches no memory. The system asks by this signal, which would end the process.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    // SAFETY: touches no memory; the descriptor is open.
    let leased = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
    assert_eq!(leased, 0, "{}", std::io::Error::last_os_error());
    println!("it is leased");
    std::thread::sleep(PATIENCE);
}

/// Every call that opens something in the directory, as `strace` sees it.
pub(crate) fn no_name_is_opened_through_a_link_or_waits_or_is_created_twice(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    let trace = dir.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=openat,openat2,open,creat,rename,link,unlink,chmod,chown", "-o"]);
    strace.arg(&trace).arg("--");
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        return Outcome::Skipped("`strace` cannot trace here".into());
    }
    let streams = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    let ended = child::run(child::command_under(strace, "opens", dir), streams.path(), DEADLINE).unwrap();
    assert!(ended.status.success(), "{}", ended.said());
    let text = fs::read_to_string(&trace).unwrap();
    let calls: Vec<_> = text.lines().filter(|call| call.contains("app.")).collect();
    assert!(calls.iter().filter(|call| call.contains("O_CREAT")).count() >= 4, "{text}");
    for call in calls {
        let has = |flag| call.contains(flag);
        assert!(has("openat(") && has("O_NOFOLLOW") && has("O_NONBLOCK") && has("O_CLOEXEC"), "{call}");
        assert!(!has("O_CREAT") || has("O_EXCL") && has(", 0600"), "{call}");
    }
    assert!(archives(&logs).len() >= 2, "{:?}", names(&logs));
    Outcome::holds()
}

pub(crate) fn opens(dir: &Path) {
    let (logger, handle) = logger(rotating(&dir.join("sticky")).mode(0o600));
    log(&logger, &handle, 60);
    handle.shutdown(PATIENCE).unwrap();
}

/// In a mount namespace of its own: nothing of this machine changes.
pub(crate) fn a_parent_that_is_unmounted_and_a_log_that_is_mounted_alone_go_on(dir: &Path) -> Outcome {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "--"]);
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        return Outcome::Skipped("`unshare` makes no mount namespace here".into());
    }
    let streams = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    let ended = child::run(child::command_under(unshare, "mounts", dir), streams.path(), DEADLINE).unwrap();
    assert!(ended.status.success(), "{}", ended.said());
    assert_eq!(names(&dir.join("volume")), [""; 0], "nothing is written to what was mounted over");
    assert_eq!(fs::read_to_string(dir.join("alone/app.log")).unwrap(), "", "nor here");
    let text = fs::read_to_string(dir.join("elsewhere.log")).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains(" trust: ")).count(), 61, "{text}");
    Outcome::holds()
}

pub(crate) fn mounts(dir: &Path) {
    let mount =
        |args: &[&str]| assert!(Command::new(args[0]).args(&args[1..]).current_dir(dir).status().unwrap().success());
    fs::create_dir(dir.join("volume")).unwrap();
    mount(&["mount", "-t", "tmpfs", "tmpfs", "volume"]);
    let (one, one_handle) = logger(rotating(&dir.join("volume/logs")));
    log(&one, &one_handle, 5);
    mount(&["umount", "--lazy", "volume"]);
    // An order looks at the path at once.
    one_handle.rotate();
    log(&one, &one_handle, 60);
    assert_eq!(one_handle.shutdown(PATIENCE), Ok(()));
    assert_eq!((one_handle.stats().written, one_handle.stats().outputs[0].failures), (65, 0));
    // A volume of one file: it can be appended to, and not be renamed.
    fs::create_dir(dir.join("alone")).unwrap();
    fs::write(dir.join("alone/app.log"), "").unwrap();
    fs::write(dir.join("elsewhere.log"), "").unwrap();
    mount(&["mount", "--bind", "elsewhere.log", "alone/app.log"]);
    let (other, other_handle) = logger(rotating(&dir.join("alone")));
    log(&other, &other_handle, 60);
    // Mounted elsewhere as well, as in another container, it has one lock in both directories.
    fs::create_dir(dir.join("alike")).unwrap();
    fs::write(dir.join("alike/app.log"), "").unwrap();
    mount(&["mount", "--bind", "elsewhere.log", "alike/app.log"]);
    let (tell, told) = std::sync::mpsc::channel();
    let on_event = move |event: &unfazed::Event| tell.send(event.to_string()).unwrap();
    let file = LogFile::new(dir.join("alike/app.log")).min_free_space(0);
    let (third, third_handle) = Builder::new().file(file).on_event(on_event).build().unwrap();
    log(&third, &third_handle, 1);
    third_handle.rotate();
    assert_eq!(third_handle.shutdown(PATIENCE), Ok(()));
    let told: Vec<_> = told.try_iter().collect();
    assert!(told.iter().any(|event| event.contains("another process holds the lock")), "{told:?}");
    assert_eq!(other_handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(other_handle.stats().written, 60);
    assert!(other_handle.stats().outputs[0].failures > 0, "that it cannot be rotated is reported");
    assert_eq!(names(&dir.join("alone")), ["app.log"]);
}
