//! What hostile hands do, and what has to hold.

#![allow(unsafe_code)] // descriptors are closed by their number

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use unfazed::{Builder, Event, LogFile, Rotation, State};

use crate::harness::{
    NOBODY, Outcome, PATIENCE, archive, archives, as_nobody, as_user, built, hostile, line, listing, log, logger,
    names, sticky, victim, wait_until,
};
use crate::support::child;
use crate::{hands, kinds, links, locks, owners};

/// Less than twenty records.
pub(crate) const SIZE: u64 = 2000;
/// No child takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn rotating(dir: &Path) -> LogFile {
    LogFile::new(dir.join("app.log")).rotation(Rotation::size(SIZE))
}

#[cfg(feature = "gzip")]
pub(crate) fn a_planted_archive_is_never_compressed_whatever_its_mode(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    let planted = archive(1);
    as_nobody(&logs, &format!("echo mine > {planted}; chmod 4777 {planted}; echo newer > {}", archive(2)));
    let (logger, handle) = logger(rotating(&logs).compress(true));
    log(&logger, &handle, 60);
    let is_ours = |name: &String| name.ends_with(".gz") && fs::metadata(logs.join(name)).unwrap().uid() == 0;
    wait_until("ours are compressed", || names(&logs).iter().any(is_ours));
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    for name in names(&logs) {
        // The compression that the end breaks off removes its unfinished file when it likes.
        let Ok(metadata) = fs::symlink_metadata(logs.join(&name)) else { continue };
        assert!(metadata.uid() == NOBODY || metadata.mode() & 0o7111 == 0, "{name}: {:o}", metadata.mode());
    }
    assert!(names(&logs).contains(&planted) && !names(&logs).contains(&format!("{planted}.gz")));
    Outcome::holds()
}

#[cfg(feature = "gzip")]
pub(crate) fn a_pipe_in_the_place_of_an_archive_stops_nobody(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    as_nobody(&logs, &format!("mkfifo {}", archive(1)));
    // One that was a file when it was listed, too: the pipe comes between the listing and the
    // opening, again and again.
    fs::write(logs.join(archive(2)), "ours\n").unwrap();
    let (logger, handle) = logger(rotating(&logs).compress(true));
    as_nobody(&logs, &format!("mkfifo pipe; mv -f pipe {}", archive(2)));
    log(&logger, &handle, 60);
    let is_ours = |name: &String| name.ends_with(".gz") && name.as_str() > archive(3).as_str();
    wait_until("the thread that compresses goes on", || names(&logs).iter().any(is_ours));
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    Outcome::holds()
}

pub(crate) fn a_planted_link_to_another_file_is_not_followed_at_the_start(dir: &Path) -> Outcome {
    let (logs, victim) = (hostile(dir), victim(dir));
    for target in ["secret", "app.log", "not-there"] {
        let before = listing(&victim);
        as_nobody(&logs, &format!("ln -sfn {}/{target} app.log", victim.display()));
        let (logger, handle) = logger(rotating(&logs).max_files(2));
        log(&logger, &handle, 60);
        assert!(matches!(handle.state(), State::Suspended(_)), "{:?}", handle.state());
        let _ = handle.shutdown(PATIENCE);
        assert_eq!(handle.stats().written, 0);
        assert_eq!(listing(&victim), before, "{target}");
    }
    Outcome::holds()
}

pub(crate) fn a_planted_link_to_another_file_is_not_followed_later(dir: &Path) -> Outcome {
    let (logs, victim) = (hostile(dir), victim(dir));
    let before = listing(&victim);
    let (logger, handle) = logger(rotating(&logs).max_files(2));
    log(&logger, &handle, 5);
    // In one step: the logger makes a file that is gone again.
    as_nobody(&logs, &format!("ln -s {}/secret planted; mv -fT planted app.log", victim.display()));
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(110)); // The path is looked at every 100 ms.
        log(&logger, &handle, 20);
    }
    handle.reopen();
    log(&logger, &handle, 20);
    let _ = handle.shutdown(PATIENCE);
    assert_eq!(listing(&victim), before);
    Outcome::holds()
}

/// A loop device, whose file shows what was written to it.
pub(crate) fn a_block_device_is_not_written_at_a_reopen_either(dir: &Path) -> Outcome {
    let image = dir.join("image");
    fs::write(&image, vec![b'x'; 1 << 20]).unwrap();
    let made = Command::new("losetup").args(["-f", "--show"]).arg(&image).output();
    let Some(made) = made.ok().filter(|made| made.status.success()) else {
        return Outcome::Skipped("no loop device can be made here".into());
    };
    let device = Loop(String::from_utf8(made.stdout).unwrap().trim().to_owned());
    let path = dir.join("app.log");
    let (logger, handle) = logger(LogFile::new(&path));
    log(&logger, &handle, 5);
    fs::remove_file(&path).unwrap();
    symlink(&device.0, &path).unwrap();
    handle.reopen();
    log(&logger, &handle, 5);
    assert!(matches!(handle.state(), State::Suspended(_)), "{:?}", handle.state());
    let _ = handle.shutdown(PATIENCE);
    drop(device); // What was written to it is in its file by then.
    assert!(fs::read(&image).unwrap().iter().all(|byte| *byte == b'x'), "a log line is on the device");
    Outcome::holds()
}

/// A loop device, until it is dropped.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        assert!(Command::new("losetup").args(["-d", &self.0]).status().unwrap().success());
    }
}

pub(crate) fn a_directory_that_is_swapped_for_a_link_to_others_is_not_followed(dir: &Path) -> Outcome {
    let (hostile, victim) = (hostile(dir), victim(dir));
    as_nobody(&hostile, "mkdir logs");
    let before = listing(&victim);
    let (tell, told) = std::sync::mpsc::channel();
    let on_event = move |event: &Event| tell.send(format!("{event:?}")).unwrap();
    let file = rotating(&hostile.join("logs")).max_files(2).min_free_space(0);
    let (logger, handle) = built(Builder::new().file(file).on_event(on_event));
    log(&logger, &handle, 60);
    as_nobody(&hostile, &format!("mv logs aside; ln -s {} logs", victim.display()));
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(110)); // The path is looked at every 100 ms.
        log(&logger, &handle, 30);
    }
    assert_eq!(handle.state(), State::Healthy);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(listing(&victim), before);
    let aside = hostile.join("aside");
    assert_eq!(archives(&aside).len(), 1, "the old directory goes on: {:?}", names(&aside));
    assert_eq!(
        told.try_iter().filter(|event| event.contains("untrusted path")).count(),
        1,
        "and that is reported once"
    );
    Outcome::holds()
}

pub(crate) fn the_last_possible_name_ends_no_rotation(dir: &Path) -> Outcome {
    for whose in [0, NOBODY] {
        let logs = dir.join(whose.to_string());
        fs::create_dir(&logs).unwrap();
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o1777)).unwrap();
        let last = logs.join("app.9999-12-31T23-59-59-9999.log");
        fs::write(&last, "x").unwrap();
        chown(&last, Some(whose), Some(whose)).unwrap();
        let (logger, handle) = logger(rotating(&logs));
        log(&logger, &handle, 60);
        assert_eq!(handle.shutdown(PATIENCE), Ok(()));
        assert!(archives(&logs).len() >= 3, "{:?}", names(&logs));
    }
    Outcome::holds()
}

pub(crate) fn planted_archives_delete_none_of_ours(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    for day in 1..=4 {
        fs::write(logs.join(archive(day)), "ours\n").unwrap();
    }
    as_nobody(&logs, "for n in 1 2 3 4; do echo x > app.2030-01-0${n}T00-00-00-0000.log; done");
    let before = names(&logs);
    let (logger, handle) = logger(rotating(&logs).max_files(5));
    log(&logger, &handle, 5);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    let after: Vec<_> = names(&logs).into_iter().filter(|name| before.contains(name)).collect();
    assert_eq!(after, before, "ours are within the limit, and the others are not ours to delete");
    Outcome::holds()
}

/// A program that shows or ships its own logs takes what the listing says for its own.
pub(crate) fn planted_archives_are_not_listed_as_files_of_the_log(dir: &Path) -> Outcome {
    for logs in [sticky(dir), hostile(dir)] {
        fs::write(logs.join(archive(1)), "ours\n").unwrap();
        let secret = dir.join("secret");
        fs::write(&secret, "").unwrap();
        as_nobody(
            &logs,
            &format!("echo x > {}; ln -s {} {}; mkfifo {}", archive(2), secret.display(), archive(3), archive(4)),
        );
        let (logger, handle) = logger(LogFile::new(logs.join("app.log")));
        log(&logger, &handle, 1);
        assert_eq!(handle.log_files(), [logs.join("app.log"), logs.join(archive(1))]);
        assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    }
    Outcome::holds()
}

pub(crate) fn a_planted_long_archive_does_not_count(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    fs::write(logs.join(archive(1)), "ours\n").unwrap();
    as_nobody(&logs, &format!("truncate -s 1G {}", archive(2)));
    let (logger, handle) = logger(rotating(&logs).max_total_size(1 << 20));
    log(&logger, &handle, 5);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert!(logs.join(archive(1)).exists() && logs.join(archive(2)).exists(), "{:?}", names(&logs));
    Outcome::holds()
}

/// A file that others may write to, they may link; and any file, where the kernel lets them
/// (`fs.protected_hardlinks`).
pub(crate) fn second_names_in_a_sticky_directory_delete_nothing(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    for day in 1..=3 {
        fs::write(logs.join(archive(day)), "ours\n").unwrap();
    }
    let shared = dir.join("shared");
    fs::create_dir(&shared).unwrap();
    for n in 1..=4 {
        let file = shared.join(n.to_string());
        fs::write(&file, "root's, and everybody may write to it\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    }
    as_nobody(&logs, "for n in 1 2 3 4; do ln ../shared/$n app.2030-01-0${n}T00-00-00-0000.log; done");
    let before = listing_of_content(&shared);
    let (tell, told) = std::sync::mpsc::channel();
    let on_event = move |event: &Event| tell.send(event.to_string()).unwrap();
    let file = rotating(&logs).max_files(4).min_free_space(0);
    let (logger, handle) = built(Builder::new().file(file).on_event(on_event));
    log(&logger, &handle, 5);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert!((1..=3).all(|day| logs.join(archive(day)).exists()), "{:?}", names(&logs));
    assert_eq!(listing_of_content(&shared), before);
    let told: Vec<_> = told.try_iter().collect();
    assert!(told.iter().any(|event| event.contains("second name")), "{told:?}");
    Outcome::holds()
}

fn listing_of_content(dir: &Path) -> Vec<(String, Vec<u8>, u64)> {
    let file = |name: String| {
        let path = dir.join(&name);
        (name, fs::read(&path).unwrap(), fs::metadata(&path).unwrap().nlink())
    };
    names(dir).into_iter().map(file).collect()
}

pub(crate) fn names_that_others_took_are_passed_over(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    let (logger, handle) = logger(rotating(&logs));
    log(&logger, &handle, 5);
    // Every number of this second and of some more.
    as_nobody(
        &logs,
        "for s in 0 1 2 3 4; do t=$(date -u -d \"+$s sec\" +%Y-%m-%dT%H-%M-%S); \
         for n in $(seq 0 199); do mkdir app.$t-$(printf %04d $n).log; done; done; mkdir .app.log.new .app.log.lock.d",
    );
    log(&logger, &handle, 60);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert!(archives(&logs).len() >= 3, "{:?}", archives(&logs));
    Outcome::holds()
}

pub(crate) fn a_new_file_has_the_mode_and_the_owner_of_the_one_before(dir: &Path) -> Outcome {
    // Nobody gets the right to execute what is logged.
    let cases = [(0o600, 0, 0), (0o640, 1000, 4), (0o660, NOBODY, NOBODY), (0o755, 0, 0), (0o6755, NOBODY, 4)];
    for (number, (mode, user, group)) in cases.into_iter().enumerate() {
        let logs = dir.join(number.to_string());
        let path = logs.join("app.log");
        fs::create_dir(&logs).unwrap();
        fs::write(&path, "older\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(user), Some(group)).unwrap();
        let (logger, handle) = logger(rotating(&logs).max_files(3));
        log(&logger, &handle, 90);
        assert_eq!(handle.shutdown(PATIENCE), Ok(()));
        let files: Vec<_> = names(&logs).into_iter().filter(|name| name.starts_with("app")).collect();
        assert_eq!(files.len(), 3, "they are kept to their limit: {files:?}");
        for name in files {
            let metadata = fs::metadata(logs.join(&name)).unwrap();
            let is = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            assert_eq!(is, (mode & 0o666, user, group), "{name}");
        }
    }
    Outcome::holds()
}

pub(crate) fn the_mode_holds_through_a_link_to_nothing(dir: &Path) -> Outcome {
    symlink("real.log", dir.join("app.log")).unwrap();
    let (logger, handle) = logger(LogFile::new(dir.join("app.log")).mode(0o600));
    log(&logger, &handle, 1);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(fs::metadata(dir.join("real.log")).unwrap().mode() & 0o7777, 0o600);
    Outcome::holds()
}

/// `fs.protected_regular` refuses to open such a file if the call may create it, too; whatever this
/// machine has set, no call does both.
pub(crate) fn somebody_elses_log_in_a_sticky_directory_is_appended_to(dir: &Path) -> Outcome {
    let logs = sticky(dir);
    as_nobody(&logs, "echo older > app.log; chmod 666 app.log");
    let trace = dir.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=openat,openat2,open,creat", "-o"]).arg(&trace).arg("--");
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        return Outcome::Skipped("`strace` cannot trace here".into());
    }
    let streams = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    let ended = child::run(child::command_under(strace, "appends", dir), streams.path(), DEADLINE).unwrap();
    assert!(ended.status.success(), "{}", ended.said());
    let text = fs::read_to_string(&trace).unwrap();
    let calls: Vec<_> =
        text.lines().filter(|call| call.contains("\"app.log\"") || call.contains("/app.log\"")).collect();
    assert!(calls.iter().any(|call| call.contains("O_APPEND")), "{text}");
    let may_be_refused = |call: &&&str| call.contains("O_CREAT") && !call.contains("O_EXCL");
    assert_eq!(calls.iter().filter(may_be_refused).collect::<Vec<_>>(), [&""; 0]);
    assert_eq!(fs::read_to_string(logs.join("app.log")).unwrap().lines().count(), 4);
    Outcome::holds()
}

fn appends(dir: &Path) {
    let (logger, handle) = logger(LogFile::new(dir.join("sticky/app.log")));
    log(&logger, &handle, 3);
    handle.shutdown(PATIENCE).unwrap();
}

/// In a sticky directory nobody but the owner of a log may replace it: each rotation gave it one
/// more name, which could not be removed either.
pub(crate) fn rotations_of_somebody_elses_log_leave_one_name_at_most(dir: &Path) -> Outcome {
    as_user(1000, &sticky(dir), "echo older > app.log; chmod 666 app.log");
    run_child("may-not-replace", dir)
}

fn may_not_replace(dir: &Path) {
    become_nobody();
    let logs = dir.join("sticky");
    let (logger, handle) = logger(LogFile::new(logs.join("app.log")));
    for _ in 0..5 {
        log(&logger, &handle, 1);
        handle.rotate();
        handle.flush(PATIENCE).unwrap();
    }
    handle.shutdown(PATIENCE).unwrap();
    assert_eq!((handle.stats().written, handle.stats().outputs[0].failures), (5, 5));
    assert!(names(&logs).len() <= 2, "{:?}", names(&logs));
}

/// What root's program has to leave alone there, an ordinary user's program has, too.
pub(crate) fn an_unprivileged_program_in_a_sticky_directory_leaves_others_alone(dir: &Path) -> Outcome {
    let (logs, victim) = (sticky(dir), victim(dir));
    fs::write(logs.join(archive(1)), "root's\n").unwrap();
    fs::write(logs.join("app.2033-01-01T00-00-00-0000.log"), "root's\n").unwrap();
    as_user(
        1000,
        &logs,
        &format!(
            "for n in 1 2 3 4; do echo x > app.2030-01-0${{n}}T00-00-00-0000.log; done; \
             truncate -s 3M app.2030-02-01T00-00-00-0000.log; echo x > .app.log.0000beef.new; \
             mkdir app.2031-01-01T00-00-00-0000.log; mkfifo app.2031-01-02T00-00-00-0000.log; \
             ln -s {}/secret app.2031-01-03T00-00-00-0000.log; echo x > app.9999-12-31T23-59-59-9999.log; \
             chmod 4777 app.2030-01-0*",
            victim.display()
        ),
    );
    let names_before = names(&logs);
    let lines = || names_before.iter().map(|name| line(&logs.join(name))).collect::<Vec<_>>();
    let (before, victims) = (lines(), listing(&victim));
    let outcome = run_child("unprivileged", dir);
    assert_eq!(lines(), before);
    assert_eq!(listing(&victim), victims);
    // What was being compressed at the end is not whole, or stands there in both its forms.
    let is_new = |name: &String| !names_before.contains(name) && !name.starts_with('.');
    let new: Vec<_> = names(&logs).into_iter().filter(is_new).collect();
    let files: std::collections::BTreeSet<_> = new.iter().map(|name| name.trim_end_matches(".gz")).collect();
    assert_eq!(files.len(), 3, "its own are within their limit: {new:?}");
    assert!(new.iter().all(|name| fs::metadata(logs.join(name)).unwrap().uid() == NOBODY));
    outcome
}

fn unprivileged(dir: &Path) {
    become_nobody();
    let file = rotating(&dir.join("sticky")).max_files(3).max_total_size(1 << 20);
    #[cfg(feature = "gzip")]
    let file = file.compress(true);
    let (logger, handle) = logger(file);
    for _ in 0..10 {
        log(&logger, &handle, 30);
    }
    // An archive that was deleted may have become a compressed one at that moment.
    let is_own = |name: &String| fs::metadata(dir.join("sticky").join(name)).is_ok_and(|file| file.uid() == NOBODY);
    wait_until("its own are within their limit", || {
        let own = names(&dir.join("sticky")).into_iter().filter(is_own).filter(|name| !name.starts_with('.'));
        own.count() == 3
    });
    handle.shutdown(PATIENCE).unwrap();
    assert_eq!((handle.stats().written, handle.stats().outputs[0].failures), (300, 0));
}

pub(crate) fn no_log_file_takes_the_number_of_a_stream(dir: &Path) -> Outcome {
    run_child("streams", dir)
}

pub(crate) fn after_a_chroot_the_open_file_goes_on(dir: &Path) -> Outcome {
    // The path is there in the jail, too.
    let path = dir.join("logs");
    let jail = dir.join("jail");
    fs::create_dir(&path).unwrap();
    fs::create_dir_all(jail.join(path.strip_prefix("/").unwrap())).unwrap();
    let outcome = run_child("chroot", dir);
    let text = fs::read_to_string(path.join("app.log")).unwrap();
    assert_eq!(text.lines().count(), 10, "{text}");
    assert_eq!(names(&jail.join(path.strip_prefix("/").unwrap())), [""; 0]);
    outcome
}

pub(crate) fn after_a_directory_was_renamed_the_open_file_goes_on(dir: &Path) -> Outcome {
    let logs = dir.join("logs");
    let (logger, handle) = logger(rotating(&logs));
    log(&logger, &handle, 5);
    fs::rename(&logs, dir.join("elsewhere")).unwrap();
    std::thread::sleep(Duration::from_millis(110)); // The path is looked at every 100 ms.
    log(&logger, &handle, 60);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert!(archives(&dir.join("elsewhere")).len() >= 3 && !logs.exists(), "{:?}", names(dir));
    Outcome::holds()
}

// --- processes of their own ---

pub(crate) fn run_child(case: &str, dir: &Path) -> Outcome {
    let streams = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    let ended = child::run(child::command(case, dir), streams.path(), DEADLINE).unwrap();
    let told = fs::read_to_string(dir.join("told")).unwrap_or_default();
    assert!(ended.status.success(), "{told}{}", ended.said());
    Outcome::holds()
}

/// What a process of its own does.
pub(crate) fn play(role: &str, dir: &Path) {
    match role {
        "streams" => streams(dir),
        "chroot" => chroot(dir),
        "appends" => appends(dir),
        "unprivileged" => unprivileged(dir),
        "may-not-replace" => may_not_replace(dir),
        "append-only" => locks::append_only(dir),
        "owner-rotates" => locks::owner_rotates(dir),
        "cannot-give" => owners::cannot_give(dir),
        "daemon" => owners::daemon(dir),
        "locked-out" => owners::locked_out(dir),
        "against-hands" => hands::victim_of_hands(dir),
        "hand" => hands::hand(dir),
        "opens" => kinds::opens(dir),
        "mounts" => kinds::mounts(dir),
        "holds-lease" => kinds::hold_lease(dir),
        "opens-again" => links::opens_again(dir),
        "in-namespace" => links::in_namespace(dir),
        _ => unreachable!("{role}"),
    }
}

fn streams(dir: &Path) {
    for stream in 0..3 {
        // SAFETY: nothing of this process owns one of its streams.
        unsafe { libc::close(stream) };
    }
    let file = rotating(dir).fsync(unfazed::Fsync::Every(Duration::ZERO)).max_files(3);
    let (logger, handle) = logger(file);
    for _ in 0..5 {
        log(&logger, &handle, 20);
        println!("this is no record");
        // What holds one of the numbers for longer than a moment is the log's.
        for stream in 0..3 {
            let led = fs::read_link(format!("/proc/self/fd/{stream}"));
            let is_log = led.as_ref().is_ok_and(|led| led.starts_with(dir));
            fs::write(dir.join("told"), format!("{stream} is {led:?}")).unwrap();
            assert!(!is_log);
        }
    }
    handle.shutdown(PATIENCE).unwrap();
    fs::remove_file(dir.join("told")).unwrap();
    for name in names(dir) {
        let mut text = String::new();
        fs::File::open(dir.join(name)).unwrap().read_to_string(&mut text).unwrap();
        assert!(!text.contains("this is no record"), "{text}");
    }
}

fn chroot(dir: &Path) {
    let (logger, handle) = logger(LogFile::new(dir.join("logs/app.log")));
    log(&logger, &handle, 5);
    rustix::process::chroot(dir.join("jail")).unwrap();
    std::thread::sleep(Duration::from_millis(110)); // The path is looked at every 100 ms.
    log(&logger, &handle, 5);
    handle.shutdown(PATIENCE).unwrap();
}

/// Gives up the rights of root for good.
pub(crate) fn become_nobody() {
    become_user(NOBODY);
}

/// The same, as another user and his group.
pub(crate) fn become_user(user: u32) {
    // SAFETY: touches no memory: the list of groups is empty.
    let given_up =
        unsafe { libc::setgroups(0, std::ptr::null()) == 0 && libc::setgid(user) == 0 && libc::setuid(user) == 0 };
    assert!(given_up, "setuid: {}", std::io::Error::last_os_error());
}
