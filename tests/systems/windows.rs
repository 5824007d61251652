//! What only Windows has.

use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use unfazed::{Builder, Cause, Event, InitError, KIB, LogFile, Rotation};

use crate::lines;
use crate::support::child::Outcome;

/// `FILE_SHARE_READ | FILE_SHARE_WRITE`: others may neither rename nor delete what is open so.
const STAYS_WHERE_IT_IS: u32 = 3;

pub(crate) fn a_reader_that_forbids_renaming_delays_the_rotation(dir: &Path) -> Outcome {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let file = LogFile::new(dir.join("app.log")).rotation(Rotation::size(8 * KIB));
    let tell = move |event: &Event| heard.lock().unwrap().push(event.clone());
    let (logger, handle) = Builder::new().file(file).on_event(tell).build().unwrap();
    lines::log_to(&logger, 0, 10);
    let reader = OpenOptions::new().read(true).share_mode(STAYS_WHERE_IT_IS).open(dir.join("app.log")).unwrap();
    lines::log_to(&logger, 10, 500);
    let failed = |event: &Event| matches!(event, Event::Failed { doing: "rotate", .. });
    assert!(events.lock().unwrap().iter().any(failed), "{:?}", events.lock().unwrap());
    assert_eq!(lines::names(dir), ["app.log"], "nothing is left behind");
    drop(reader);
    let mut count = 500;
    lines::until("the file is rotated when the reader is gone", || {
        lines::log_to(&logger, count, count + 1);
        count += 1;
        events.lock().unwrap().iter().any(|event| matches!(event, Event::Rotated { .. }))
    });
    drop(logger);
    assert_eq!((handle.stats().written, handle.stats().dropped.total()), (count as u64, 0));
    lines::assert_all(dir, count);
    Outcome::holds()
}

pub(crate) fn each_error_of_a_full_or_forbidden_disk_has_its_cause(_dir: &Path) -> Outcome {
    // The numbers of winerror.h, and what they mean to a log file.
    let cases = [
        (112, Cause::DiskFull), // ERROR_DISK_FULL
        (39, Cause::DiskFull),  // ERROR_HANDLE_DISK_FULL
        (1295, Cause::Quota),   // ERROR_DISK_QUOTA_EXCEEDED
        (223, Cause::FileTooLarge),
        (19, Cause::ReadOnly), // ERROR_WRITE_PROTECT
        (5, Cause::ReadOnly),  // ERROR_ACCESS_DENIED
        (2, Cause::Missing),   // ERROR_FILE_NOT_FOUND
        (3, Cause::Missing),   // ERROR_PATH_NOT_FOUND
        (32, Cause::Io),       // ERROR_SHARING_VIOLATION
        (33, Cause::Io),       // ERROR_LOCK_VIOLATION
        (109, Cause::Io),      // ERROR_BROKEN_PIPE
    ];
    for (code, cause) in cases {
        assert_eq!(Cause::of(&io::Error::from_raw_os_error(code)), cause, "{code}");
    }
    Outcome::holds()
}

pub(crate) fn what_windows_has_not_is_an_error_at_the_start(dir: &Path) -> Outcome {
    let path = || dir.join("app.log");
    let refused = [
        LogFile::new(path()).symlink(dir.join("current.log")),
        LogFile::new(path()).mode(0o600),
        LogFile::new(dir.join("ab:c.log")),
        LogFile::new(dir.join("what?.log")),
        LogFile::new(format!("{}\\", dir.display())),
    ];
    for file in refused {
        let what = format!("{file:?}");
        let error = Builder::new().file(file).build().map(drop).expect_err(&what);
        assert!(matches!(error, InitError::Option { .. } | InitError::Path { .. }), "{error}");
    }
    assert_eq!(lines::names(dir), [""; 0], "and nothing was made");
    Outcome::holds()
}
