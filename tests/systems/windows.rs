//! What only Windows has.
#![allow(unsafe_code)] // a plain call of the system

use std::fs::{self, OpenOptions};
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use unfazed::{Builder, Cause, Console, Event, Format, InitError, KIB, LogFile, Rotation};
use windows_sys::Win32::Foundation::FreeLibrary;
use windows_sys::Win32::System::Console::{STD_ERROR_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle};
use windows_sys::Win32::System::Diagnostics::Debug::{GetThreadErrorMode, SEM_FAILCRITICALERRORS};
use windows_sys::Win32::System::LibraryLoader::{GetProcAddress, LoadLibraryW};

use crate::lines;
use crate::support::child::{self, Outcome};

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
        LogFile::new(path()).owner("Administrator"),
        LogFile::new(path()).group(4),
        LogFile::new(dir.join("ab:c.log")),
        LogFile::new(dir.join("what?.log")),
        LogFile::new(dir.join("what|for").join("app.log")),
        LogFile::new(format!("{}\\", dir.display())),
        // A slash is a part of a name in a verbatim path.
        LogFile::new(r"\\?\C:\logs/app.log"),
        LogFile::new(r"\\?\C:/logs/app.log"),
        // These name no file.
        LogFile::new(r"\\?\C:"),
        LogFile::new(r"\\server\share"),
        LogFile::new(r"\\?\NUL"),
        // The system takes these for devices, whatever the directory and the extension are.
        LogFile::new("NUL"),
        LogFile::new("con.log"),
        LogFile::new(dir.join("aux.log")),
        LogFile::new(r"\\.\COM1"),
    ];
    for file in refused {
        let what = format!("{file:?}");
        let error = Builder::new().file(file).build().map(drop).expect_err(&what);
        assert!(matches!(error, InitError::Option { .. } | InitError::Path { .. }), "{error}");
    }
    // Names differ there by more than their case, and not by a dot at the end.
    for other in ["APP.LOG", "app.log."] {
        let error = Builder::new().file(path()).file(dir.join(other)).build().map(drop).expect_err(other);
        assert!(matches!(error, InitError::SamePath { .. }), "{error}");
    }
    assert_eq!(lines::names(dir), [""; 0], "and nothing was made");
    Outcome::holds()
}

pub(crate) fn an_archive_that_somebody_holds_stays_and_hinders_nothing(dir: &Path) -> Outcome {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let tell = move |event: &Event| heard.lock().unwrap().push(event.clone());
    let rotating = || LogFile::new(dir.join("app.log")).rotation(Rotation::size(8 * KIB));
    let (logger, _) = Builder::new().file(rotating()).build().unwrap();
    (0..10).for_each(|part| lines::log_to(&logger, part * 100, (part + 1) * 100));
    drop(logger);
    let oldest = lines::logs(dir).remove(0);
    // Nobody else may even open it.
    let holder = OpenOptions::new().read(true).share_mode(0).open(&oldest).unwrap();
    let (logger, handle) = Builder::new().file(rotating().max_files(2)).on_event(tell).build().unwrap();
    lines::until("all other archives over the limit are deleted", || lines::logs(dir).len() == 3);
    lines::log_to(&logger, 1000, 1010);
    drop(logger);
    let failed = |event: &Event| matches!(event, Event::Failed { doing: "delete an archive", .. });
    assert!(events.lock().unwrap().iter().any(failed), "{:?}", events.lock().unwrap());
    assert_eq!((handle.stats().written, handle.stats().dropped.total()), (10, 0));
    drop(holder);
    let logger = Builder::new().file(rotating().max_files(2)).build().unwrap().0;
    lines::until("the last archive over the limit is deleted", || lines::logs(dir).len() == 2);
    drop(logger);
    assert!(!oldest.exists());
    Outcome::holds()
}

pub(crate) fn a_path_of_more_than_260_characters_is_written_and_rotated(dir: &Path) -> Outcome {
    let deep = (0..10).fold(dir.to_owned(), |path, _| path.join("a directory with a name of many words"));
    // The long form of a path takes neither slashes nor dots.
    let path = format!("{}/none/../app.log", deep.display()).replace('\\', "/");
    let file = LogFile::new(path).rotation(Rotation::size(8 * KIB)).max_files(100);
    let (logger, handle) = Builder::new().file(file).build().unwrap();
    (0..5).for_each(|part| lines::log_to(&logger, part * 100, (part + 1) * 100));
    drop(logger);
    assert_eq!((handle.stats().written, handle.stats().dropped.total()), (500, 0));
    lines::assert_all(&deep, 500);
    let files = lines::names(&deep).len();
    assert!(files > 3, "{files}");
    Outcome::Holds(format!("{} characters, {files} files", deep.as_os_str().len()))
}

/// Each spelling once had archives of its own, to which the limits of the others did not apply.
pub(crate) fn a_log_in_another_case_has_the_same_archives(dir: &Path) -> Outcome {
    for name in ["App.log", "app.log", "APP.LOG"] {
        let file = LogFile::new(dir.join(name)).rotation(Rotation::size(8 * KIB)).max_files(3);
        let (logger, handle) = Builder::new().file(file).build().unwrap();
        (0..10).for_each(|part| lines::log_to(&logger, part * 100, (part + 1) * 100));
        let names = lines::names(dir);
        assert_eq!(names.len(), 3, "{name}: {names:?}");
        assert!(names.iter().all(|name| name.starts_with("App.") && name.ends_with(".log")), "{names:?}");
        assert_eq!(handle.log_files().len(), 3, "{:?}", handle.log_files());
    }
    Outcome::holds()
}

/// The archives once had the verbatim form, `\\?\C:\logs`, which few programs take, and under which
/// nothing is seen to be in the directory of the log.
pub(crate) fn a_log_and_its_archives_are_listed_in_the_directory_that_was_given(dir: &Path) -> Outcome {
    let dir = std::path::absolute(dir).unwrap();
    assert!(!dir.as_os_str().as_encoded_bytes().starts_with(br"\\?\"), "{}", dir.display());
    let file = LogFile::new(dir.join("app.log")).rotation(Rotation::size(8 * KIB));
    let (logger, handle) = Builder::new().file(file).build().unwrap();
    (0..10).for_each(|part| lines::log_to(&logger, part * 100, (part + 1) * 100));
    let files = handle.log_files();
    assert!(files.len() > 3, "{files:?}");
    assert!(files.iter().all(|file| file.parent() == Some(&dir)), "{files:?}");
    Outcome::holds()
}

pub(crate) fn has_no_streams(dir: &Path) -> ExitCode {
    for stream in [STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: takes a number and the handle that stands for none.
        assert_ne!(unsafe { SetStdHandle(stream, std::ptr::null_mut()) }, 0);
    }
    let builder = Builder::new().console(Console::stdout()).console(Console::stderr()).file(dir.join("app.log"));
    builder.init().unwrap();
    lines::log_installed(0, 1000);
    ExitCode::SUCCESS
}

/// As one that was built for windows, or a service.
pub(crate) fn a_program_without_streams_writes_its_file(dir: &Path) -> Outcome {
    let ended = child::run(child::command("has_no_streams", dir), dir, lines::PATIENCE).unwrap();
    assert!(ended.status.success(), "{}", ended.said());
    lines::assert_all(dir, 1000);
    Outcome::holds()
}

/// Otherwise a drive without a medium stops the writer until somebody closes the dialog.
pub(crate) fn the_writer_waits_for_no_dialog(dir: &Path) -> Outcome {
    let mode = Arc::new(Mutex::new(None));
    let seen = mode.clone();
    let format = Format::custom(move |_, _| {
        // SAFETY: takes no argument.
        *seen.lock().unwrap() = Some(unsafe { GetThreadErrorMode() });
        Ok(())
    });
    let (logger, _) = Builder::new().file(LogFile::new(dir.join("app.log")).format(format)).build().unwrap();
    lines::log_to(&logger, 0, 1);
    drop(logger);
    assert_eq!(*mode.lock().unwrap(), Some(SEM_FAILCRITICALERRORS));
    // SAFETY: as before. The program's own threads are as they were.
    assert_eq!(unsafe { GetThreadErrorMode() }, 0);
    Outcome::holds()
}

/// The library as `cargo build --example library` leaves it, next to this program.
fn library() -> PathBuf {
    // <target>/<profile>/deps/systems-<hash>.exe
    let this = std::env::current_exe().unwrap();
    this.ancestors().nth(2).unwrap().join("examples").join("library.dll")
}

pub(crate) fn unloads_a_library(dir: &Path) -> ExitCode {
    let path: Vec<u16> = library().as_os_str().encode_wide().chain([0]).collect();
    // SAFETY: the texts end with NUL and outlive the calls; the function has the type with which
    // the library exports it, and is not called after the library was given back.
    unsafe {
        let module = LoadLibraryW(path.as_ptr());
        assert!(!module.is_null(), "{}", io::Error::last_os_error());
        let log_records = GetProcAddress(module, c"log_records".as_ptr().cast()).unwrap();
        std::mem::transmute::<unsafe extern "system" fn() -> isize, extern "C" fn()>(log_records)();
        assert_ne!(FreeLibrary(module), 0, "{}", io::Error::last_os_error());
    }
    let written = || fs::read_to_string(dir.join("app.log")).map_or(0, |text| text.lines().count());
    lines::until("the writer goes on", || written() == 1000);
    ExitCode::SUCCESS
}

/// The exit hook of the library once ran in `FreeLibrary`, where it ended the process: what it
/// asked of its thread was gone. Had it not, the writer's thread would have lost its code.
pub(crate) fn a_library_that_is_unloaded_writes_on_and_ends_no_program(dir: &Path) -> Outcome {
    if !library().exists() {
        return Outcome::Skipped("`cargo build --example library` has not run".into());
    }
    let ended = child::run(child::command("unloads_a_library", dir), dir, lines::PATIENCE).unwrap();
    assert!(ended.status.success(), "{}", ended.said());
    lines::assert_all(dir, 1000);
    Outcome::holds()
}
