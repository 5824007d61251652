//! What daemons do after `init`: rights, roots, masks, descriptors.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::thread;
use std::time::Duration;

use unfazed::{Builder, Format, LogFile, Rotation};

use crate::{again, argument, fresh};

const NOBODY: u32 = 65_534;

fn become_nobody() {
    // SAFETY: plain calls; the writer's thread follows them, because libc changes all threads.
    unsafe {
        assert_eq!(libc::setgid(NOBODY), 0);
        assert_eq!(libc::setuid(NOBODY), 0);
    }
}

fn lines_in(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// `chroot`: logs, enters a jail, with and without its rights, and logs on.
pub(crate) fn chroot() {
    if argument(2) == "child" {
        let handle = Builder::new().file(argument(3)).init().unwrap();
        (0..5).for_each(|line| log::info!("before {line}"));
        handle.flush(Duration::from_secs(2)).unwrap();
        let jail = CString::new(argument(4)).unwrap();
        // SAFETY: the path is a string that ends with a zero.
        unsafe {
            assert_eq!(libc::chroot(jail.as_ptr()), 0);
            assert_eq!(libc::chdir(c"/".as_ptr()), 0);
        }
        if argument(5) == "setuid" {
            become_nobody();
        }
        for line in 0..20 {
            log::info!("after {line}");
            thread::sleep(Duration::from_millis(50));
        }
        return handle.flush(Duration::from_secs(2)).unwrap();
    }
    for how in ["root", "setuid"] {
        let dir = fresh(&format!("chroot-{how}"));
        let (log, jail) = (dir.join("var/log/app/app.log"), dir.join("jail"));
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::create_dir_all(&jail).unwrap();
        let said = again(&["chroot", "child", log.to_str().unwrap(), jail.to_str().unwrap(), how]);
        let inside = fs::read_dir(&jail).unwrap().count();
        println!("{how}: {} lines in the log, {inside} files in the jail{said}", lines_in(&log));
    }
}

/// `setuid`: gives up its rights at different moments; only root may enter the log's directory.
pub(crate) fn setuid() {
    if argument(2) == "child" {
        let handle = Builder::new().file(argument(3)).init().unwrap();
        thread::sleep(Duration::from_micros(argument(4).parse().unwrap()));
        become_nobody();
        (0..10).for_each(|line| log::info!("line {line}"));
        return handle.flush(Duration::from_secs(2)).unwrap();
    }
    for wait in ["0", "100", "1000", "10000"] {
        let whole = (0..40).filter(|number| {
            let dir = fresh(&format!("setuid/{number}"));
            fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
            let log = dir.join("app.log");
            again(&["setuid", "child", log.to_str().unwrap(), wait]);
            lines_in(&log) == 10
        });
        println!("{} of 40 logs are whole", whole.count());
    }
}

/// `afterinit`: looks at the log right after `init`, and gives it away.
pub(crate) fn after_init() {
    if argument(2) == "child" {
        let path = argument(3);
        Builder::new().file(&path).init().unwrap();
        let there = Path::new(&path).exists();
        return println!("{there} {}", chown(&path, Some(1000), Some(1000)).is_ok());
    }
    let whole = (0..50).filter(|number| {
        let log = fresh(&format!("afterinit/{number}")).join("app.log");
        again(&["afterinit", "child", log.to_str().unwrap()]) == "true true\n"
    });
    println!("{} of 50 were there and given away", whole.count());
}

/// `umask`: a tight mask around `init`, the usual one afterwards.
pub(crate) fn umask() {
    let mask = |mask| {
        // SAFETY: a plain call.
        unsafe { libc::umask(mask) };
    };
    if argument(2) == "child" {
        mask(0o077);
        let handle = Builder::new().file(argument(3)).init().unwrap();
        mask(0o022);
        log::info!("secret");
        return handle.flush(Duration::from_secs(1)).unwrap();
    }
    let mut modes = BTreeMap::new();
    for number in 0..50 {
        let log = fresh(&format!("umask/{number}")).join("app.log");
        again(&["umask", "child", log.to_str().unwrap()]);
        *modes.entry(fs::metadata(&log).unwrap().mode() & 0o777).or_insert(0) += 1;
    }
    modes.iter().for_each(|(mode, count)| println!("{mode:o}: {count}"));
}

/// `perm`: a log that packaging made 0600 and gave to a user; what the next files have.
pub(crate) fn permissions() {
    let dir = fresh("perm");
    let log = dir.join("app.log");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o600)).unwrap();
    chown(&log, Some(1000), Some(4)).unwrap();
    let file = LogFile::new(&log).rotation(Rotation::size(2000)).max_files(4);
    let handle = Builder::new().file(file).init().unwrap();
    (0..60).for_each(|user| log::info!("password of user {user} is hunter2"));
    handle.flush(Duration::from_secs(2)).unwrap();
    let mut rights = BTreeMap::new();
    for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
        if !entry.file_name().to_string_lossy().ends_with(".lock") {
            let file = entry.metadata().unwrap();
            *rights.entry((file.mode() & 0o7777, file.uid(), file.gid())).or_insert(0) += 1;
        }
    }
    rights.iter().for_each(|((mode, user, group), files)| println!("{files} files: {mode:o} {user}:{group}"));
}

/// `fd1 HOW [all]`: closes the standard streams, has the log opened again, and prints.
pub(crate) fn closed_streams() {
    let dir = fresh("fd1");
    let log = dir.join("app.log");
    let handle = Builder::new().file(LogFile::new(&log).format(Format::logfmt())).init().unwrap();
    log::info!("before");
    handle.flush(Duration::from_secs(2)).unwrap();
    for stream in if argument(3) == "all" { 0 } else { 1 }..3 {
        // SAFETY: nothing of this program uses the stream before the calls below, which may fail.
        unsafe { libc::close(stream) };
    }
    match &*argument(2) {
        "rotate" => handle.rotate(),
        "reopen" => handle.reopen(),
        _ => {
            fs::rename(&log, dir.join("app.log.1")).unwrap();
            thread::sleep(Duration::from_millis(150));
        }
    }
    log::info!("after");
    let _ = handle.flush(Duration::from_secs(2));
    // SAFETY: the bytes are a constant; a stream that is closed is an error.
    unsafe {
        libc::write(1, c"stray\n".as_ptr().cast(), 6);
        libc::write(2, c"stray\n".as_ptr().cast(), 6);
    }
    log::info!("last");
    let _ = handle.flush(Duration::from_secs(2));
    let files = fs::read_dir(&dir).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let stray: usize = files.map(|text| text.matches("stray").count()).sum();
    let leads_to_log = |stream: &i32| {
        let place = fs::read_link(format!("/proc/self/fd/{stream}")).unwrap_or_default();
        place.starts_with(&dir)
    };
    let streams = (0..3).filter(leads_to_log).count();
    fs::write(std::env::temp_dir().join("fd1.said"), format!("{stray} stray lines, {streams} streams are the log\n"))
        .unwrap();
}
