//! To whom files belong that are created.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use unfazed::{Builder, Event, InitError, LogFile, State};

use crate::cases::{become_nobody, rotating, run_child};
use crate::harness::{NOBODY, Outcome, PATIENCE, built, log, logger, names};

const GROUP: u32 = 4;

fn owners(path: &Path) -> (u32, u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

pub(crate) fn every_file_belongs_to_whom_the_options_say(dir: &Path) -> Outcome {
    let file = rotating(dir).owner("nobody").group(GROUP).mode(0o640);
    #[cfg(feature = "gzip")]
    let file = file.compress(true);
    let (logger, handle) = logger(file);
    log(&logger, &handle, 90);
    #[cfg(feature = "gzip")]
    crate::harness::wait_until("one is compressed", || names(dir).iter().any(|name| name.ends_with(".gz")));
    for name in names(dir).iter().filter(|name| !name.starts_with('.')) {
        // It may have been compressed by now.
        if dir.join(name).exists() {
            assert_eq!(owners(&dir.join(name)), (NOBODY, GROUP, 0o640), "{name}");
        }
    }
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(handle.stats().outputs[0].failures, 0);
    Outcome::holds()
}

pub(crate) fn an_owner_alone_leaves_the_mode_and_the_group_as_they_would_be(dir: &Path) -> Outcome {
    fs::write(dir.join("as-it-is"), "").unwrap();
    let (_, group, mode) = owners(&dir.join("as-it-is"));
    let (logger, handle) = logger(LogFile::new(dir.join("app.log")).owner(NOBODY));
    log(&logger, &handle, 1);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(owners(&dir.join("app.log")), (NOBODY, group, mode));
    Outcome::holds()
}

pub(crate) fn who_does_not_exist_owns_nothing(dir: &Path) -> Outcome {
    let file = || LogFile::new(dir.join("app.log"));
    for (file, name) in [(file().owner("no such user"), "owner"), (file().group("no such group"), "group")] {
        match Builder::new().file(file).build() {
            Err(InitError::Option { option, .. }) => assert_eq!(option, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(names(dir), [""; 0]);
    Outcome::holds()
}

pub(crate) fn what_may_not_be_given_away_is_written_and_reported(dir: &Path) -> Outcome {
    run_child("cannot-give", dir)
}

/// As `nobody`, who cannot give a file to root or to a group that is not his.
pub(crate) fn cannot_give(dir: &Path) {
    std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
    become_nobody();
    let (tell, told) = std::sync::mpsc::channel();
    let on_event = move |event: &Event| {
        if let Event::Failed { doing, .. } = event {
            tell.send(*doing).unwrap();
        }
    };
    let file = LogFile::new(dir.join("app.log")).owner("root").group(GROUP).mode(0o660).min_free_space(0);
    let (logger, handle) = built(Builder::new().file(file).on_event(on_event));
    log(&logger, &handle, 3);
    handle.shutdown(PATIENCE).unwrap();
    assert_eq!(handle.stats().written, 3);
    assert_eq!(owners(&dir.join("app.log")), (NOBODY, NOBODY, 0o600), "nor has his own group its rights");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["give the file to its owner"]);
}

/// What a daemon does: opens as root, gives up its rights, and goes on.
pub(crate) fn a_daemon_that_gives_up_its_rights_goes_on_to_rotate(dir: &Path) -> Outcome {
    run_child("daemon", dir)
}

pub(crate) fn daemon(dir: &Path) {
    std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
    // With the option, and as it is done without: the file is given away after `init`.
    let with =
        logger(LogFile::new(dir.join("with.log")).rotation(unfazed::Rotation::size(2000)).owner(NOBODY).group(NOBODY));
    let without = logger(LogFile::new(dir.join("without.log")).rotation(unfazed::Rotation::size(2000)));
    std::os::unix::fs::chown(dir.join("without.log"), Some(NOBODY), Some(NOBODY)).unwrap();
    become_nobody();
    for ((logger, handle), name) in [(with, "with."), (without, "without.")] {
        for _ in 0..3 {
            log(&logger, &handle, 30);
            handle.reopen();
        }
        let archives = || names(dir).into_iter().filter(|file| file.starts_with(name)).count();
        assert!(archives() >= 5, "{:?}", names(dir));
        handle.shutdown(PATIENCE).unwrap();
        assert_eq!((handle.stats().written, handle.stats().outputs[0].failures), (90, 0));
    }
}

/// The log was suspended for ever, although its descriptor worked.
pub(crate) fn a_daemon_that_may_not_enter_the_directory_any_more_goes_on_in_the_open_file(dir: &Path) -> Outcome {
    let outcome = run_child("locked-out", dir);
    assert_eq!(fs::read_to_string(dir.join("logs/app.log")).unwrap().lines().count(), 6);
    outcome
}

pub(crate) fn locked_out(dir: &Path) {
    let logs = dir.join("logs");
    fs::create_dir(&logs).unwrap();
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o700)).unwrap();
    let (logger, handle) = logger(LogFile::new(logs.join("app.log")));
    log(&logger, &handle, 3);
    become_nobody();
    std::thread::sleep(std::time::Duration::from_millis(110)); // The path is looked at every 100 ms.
    log(&logger, &handle, 3);
    assert_eq!((handle.state(), handle.stats().written), (State::Healthy, 6));
    handle.shutdown(PATIENCE).unwrap();
}
