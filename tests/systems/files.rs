//! Rotation, and what others do to a log file.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use unfazed::{Builder, KIB, LogFile, Logger, Rotation};

use crate::lines::{self, PATIENCE};
use crate::support::child::{self, Outcome};

const RECORDS: usize = 2000;

fn logger(file: impl Into<LogFile>) -> Logger {
    Builder::new().file(file).build().unwrap().0
}

fn rotating(dir: &Path) -> LogFile {
    LogFile::new(dir.join("app.log")).rotation(Rotation::size(8 * KIB))
}

/// Fails unless every record of a logger is written.
fn assert_nothing_is_dropped(logger: Logger, handle: &unfazed::Handle) {
    drop(logger);
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.dropped.total(), stats.pending), (stats.written, 0, 0));
}

pub(crate) fn a_rotation_loses_nothing_and_leaves_nothing_unfinished(dir: &Path) -> Outcome {
    let (logger, handle) = Builder::new().file(rotating(dir)).build().unwrap();
    for part in 0..RECORDS / 100 {
        lines::log_to(&logger, part * 100, (part + 1) * 100);
    }
    assert_nothing_is_dropped(logger, &handle);
    lines::assert_all(dir, RECORDS);
    let names = lines::names(dir);
    assert!(names.len() > 10, "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with(".new")), "{names:?}");
    Outcome::Holds(format!("{RECORDS} of {RECORDS} in {} files", names.len()))
}

pub(crate) fn archives_over_the_limit_go_and_the_rest_is_compressed(dir: &Path) -> Outcome {
    const MOST: usize = 3;

    // All of them are there before the limit is: what is deleted while it is compressed would put
    // the compression off for a minute.
    let first = logger(rotating(dir));
    for part in 0..RECORDS / 100 {
        lines::log_to(&first, part * 100, (part + 1) * 100);
    }
    drop(first);
    let file = rotating(dir).max_files(MOST + 1); // The active file is counted.
    #[cfg(feature = "gzip")]
    let file = file.compress(true);
    let logger = logger(file);
    // Next to them stands the lock, on Unix.
    let archives = || lines::names(dir).into_iter().filter(|name| name.starts_with("app.2")).collect::<Vec<_>>();
    // What is over the limits goes at the next look, and so does what is compressed.
    let is_done = || {
        let archives = archives();
        let compressed = archives.iter().filter(|name| name.ends_with(".log.gz")).count();
        let expected = if cfg!(feature = "gzip") { MOST - 1 } else { 0 };
        archives.len() == MOST && compressed == expected
    };
    lines::until("as many archives as may be, and all but the newest compressed", is_done);
    drop(logger);
    for name in archives().iter().filter(|name| name.ends_with(".gz")) {
        let bytes = fs::read(dir.join(name)).unwrap();
        assert!(bytes.starts_with(&[0x1f, 0x8b]), "{name} is not compressed");
    }
    Outcome::Holds(archives().join(", "))
}

pub(crate) fn a_file_that_is_renamed_is_followed_by_a_new_one(dir: &Path) -> Outcome {
    let (path, aside) = (dir.join("app.log"), dir.join("aside.log"));
    let logger = logger(&path);
    lines::log_to(&logger, 0, 100);
    fs::rename(&path, &aside).unwrap();
    let count = log_until_new(&logger, &path);
    drop(logger);
    lines::assert_all(dir, count);
    assert!(!lines::numbers_in(&fs::read_to_string(&aside).unwrap()).is_empty());
    Outcome::holds()
}

pub(crate) fn a_file_that_is_replaced_is_followed_by_the_one_at_its_path(dir: &Path) -> Outcome {
    let (path, aside) = (dir.join("app.log"), dir.join("aside.log"));
    let logger = logger(&path);
    lines::log_to(&logger, 0, 100);
    fs::rename(&path, &aside).unwrap();
    fs::write(&path, "another program's\n").unwrap();
    let count = log_until_new(&logger, &path);
    drop(logger);
    assert!(fs::read_to_string(&path).unwrap().starts_with("another program's\n"));
    lines::assert_all(dir, count);
    Outcome::holds()
}

pub(crate) fn a_file_that_is_deleted_is_followed_by_a_new_one(dir: &Path) -> Outcome {
    if is_wine() {
        return Outcome::Skipped("wine keeps the name of a deleted file until everybody has closed it".into());
    }
    let path = dir.join("app.log");
    let logger = logger(&path);
    lines::log_to(&logger, 0, 100);
    fs::remove_file(&path).unwrap();
    let count = log_until_new(&logger, &path);
    drop(logger);
    let numbers = lines::numbers(dir);
    assert!(numbers.last().is_some_and(|last| *last == count - 1), "{numbers:?}");
    Outcome::holds()
}

/// Logs from record 100 on, until one is in the file at the path. Returns the number of all.
fn log_until_new(logger: &Logger, path: &Path) -> usize {
    let mut count = 100;
    lines::until("the log goes on at its path", || {
        lines::log_to(logger, count, count + 1);
        count += 1;
        let last = format!("record {:05} ends", count - 1);
        fs::read_to_string(path).is_ok_and(|text| text.contains(&last))
    });
    count
}

pub(crate) fn a_locked_file_can_be_read_and_appended_to(dir: &Path) -> Outcome {
    let path = dir.join("app.log");
    let logger = logger(&path);
    lines::log_to(&logger, 0, 100);
    assert_eq!(lines::numbers_in(&fs::read_to_string(&path).unwrap()).len(), 100);
    let mut other = OpenOptions::new().append(true).open(&path).unwrap();
    other.write_all(b"another program's\n").unwrap();
    lines::log_to(&logger, 100, 200);
    drop(logger);
    lines::assert_all(dir, 200);
    assert!(fs::read_to_string(&path).unwrap().contains("\nanother program's\n"));
    Outcome::holds()
}

/// wine is not Windows everywhere.
fn is_wine() -> bool {
    cfg!(windows) && std::env::var_os("WINEPREFIX").is_some()
}

pub(crate) fn shares(dir: &Path) -> ExitCode {
    const PART: usize = 10;

    // Each process logs one half of the records.
    let (from, other) = if dir.ends_with("second") { (RECORDS / 2, "first") } else { (0, "second") };
    let shared = dir.parent().unwrap();
    let logger = logger(rotating(shared).max_files(1000));
    for part in 0..RECORDS / 2 / PART {
        // There, to append is to look for the end and then to write: one after the other.
        let before = if from > 0 { Some(part) } else { part.checked_sub(1) };
        if let (true, Some(before)) = (is_wine(), before) {
            let turn = shared.join(other).join(before.to_string());
            lines::until("the other process has had its turn", || turn.exists());
        }
        lines::log_to(&logger, from + part * PART, from + (part + 1) * PART);
        fs::write(dir.join(part.to_string()), "").unwrap();
    }
    ExitCode::SUCCESS
}

pub(crate) fn two_processes_write_whole_lines_into_one_file(dir: &Path) -> Outcome {
    let both: Vec<_> = ["first", "second"]
        .map(|name| {
            let own = dir.join(name);
            child::renew(&own);
            std::thread::spawn(move || child::run(child::command("shares", &own), &own, PATIENCE).unwrap())
        })
        .into();
    for one in both {
        let ended = one.join().unwrap();
        assert!(ended.status.success(), "{}", ended.said());
    }
    lines::assert_all(dir, RECORDS);
    Outcome::Holds(format!("{RECORDS} of {RECORDS} in {} files", lines::logs(dir).len()))
}

pub(crate) fn half_a_line_stays_alone_on_its_line(dir: &Path) -> Outcome {
    let path = dir.join("app.log");
    fs::write(&path, "half a li").unwrap();
    let logger = logger(&path);
    lines::log_to(&logger, 0, 10);
    drop(logger);
    assert!(fs::read_to_string(&path).unwrap().starts_with("half a li\n"));
    lines::assert_all(dir, 10);
    Outcome::holds()
}

/// The log stays in it, or goes on in a new one at the path.
pub(crate) fn a_directory_that_is_renamed_loses_nothing(dir: &Path) -> Outcome {
    let (logs, aside) = (dir.join("logs"), dir.join("aside"));
    let (logger, handle) = Builder::new().file(rotating(&logs)).build().unwrap();
    lines::log_to(&logger, 0, 100);
    if let Err(error) = fs::rename(&logs, &aside) {
        return Outcome::Skipped(format!("the system refuses it while a file there is open: {error}"));
    }
    (1..10).for_each(|part| lines::log_to(&logger, part * 100, (part + 1) * 100));
    assert_nothing_is_dropped(logger, &handle);
    let dirs = [&logs, &aside].into_iter().filter(|dir| dir.exists());
    let mut numbers: Vec<_> = dirs.flat_map(|dir| lines::numbers(dir)).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..1000), "{} of 1000 records", numbers.len());
    Outcome::Holds(format!("{} files in the old one", lines::logs(&aside).len()))
}

/// Somebody renames a whole directory of logs and sends the signal of logrotate: the log went on in
/// the renamed directory, although its file was no longer at its path.
pub(crate) fn a_directory_that_is_renamed_is_made_again_by_a_reopen(dir: &Path) -> Outcome {
    let (logs, aside) = (dir.join("logs"), dir.join("aside"));
    let (logger, handle) = Builder::new().file(logs.join("app.log")).build().unwrap();
    lines::log_to(&logger, 0, 10);
    if let Err(error) = fs::rename(&logs, &aside) {
        return Outcome::Skipped(format!("the system refuses it while a file there is open: {error}"));
    }
    handle.reopen();
    lines::log_to(&logger, 10, 20);
    assert_nothing_is_dropped(logger, &handle);
    assert!(lines::numbers(&aside).into_iter().eq(0..10));
    assert!(lines::numbers(&logs).into_iter().eq(10..20));
    Outcome::Holds(String::new())
}

/// What a process leaves that is killed between the two renames of a rotation.
pub(crate) fn a_next_file_that_never_became_the_log_becomes_an_archive(dir: &Path) -> Outcome {
    let (path, next) = (dir.join("app.log"), dir.join(".app.log.0000000a.new"));
    let first = logger(&path);
    lines::log_to(&first, 0, 10);
    drop(first);
    fs::rename(&path, &next).unwrap();
    let (logger, handle) = Builder::new().file(rotating(dir)).build().unwrap();
    lines::log_to(&logger, 10, 20);
    lines::until("it has an archive's name", || !next.exists());
    handle.rotate();
    lines::log_to(&logger, 20, 30);
    assert_nothing_is_dropped(logger, &handle);
    lines::assert_all(dir, 30);
    Outcome::Holds(lines::names(dir).join(", "))
}

/// Logs until it is killed, and says after each flush how far it has come.
pub(crate) fn is_killed(dir: &Path) -> ExitCode {
    let logger = logger(rotating(dir).max_files(100_000));
    for part in 0.. {
        lines::log_to(&logger, part * 10, (part + 1) * 10);
        println!("{}", (part + 1) * 10);
    }
    ExitCode::SUCCESS
}

pub(crate) fn a_process_that_is_killed_leaves_all_that_it_has_flushed(dir: &Path) -> Outcome {
    const KILLS: usize = 10;

    let mut files = 0;
    for kill in 0..KILLS {
        let own = dir.join(kill.to_string());
        child::renew(&own);
        let mut child = child::command("is_killed", &own).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Somewhere in the third rotation or later.
        let _ = said.by_ref().take(45 + 7 * kill).count();
        child.kill().unwrap();
        child.wait().unwrap();
        let flushed: usize = said.last().map_or((45 + 7 * kill) * 10, |last| last.trim().parse().unwrap());
        // The next process finds what the first one has left.
        let logger = logger(rotating(&own).max_files(100_000));
        lines::log_to(&logger, 0, 1);
        lines::until("nothing is unfinished", || !lines::names(&own).iter().any(|name| name.ends_with(".new")));
        drop(logger);
        let texts = lines::logs(&own).into_iter().map(|path| fs::read_to_string(path).unwrap());
        let text: String = texts.collect();
        let there: HashSet<_> =
            text.lines().filter_map(|line| line.split_once("record ")).map(|(_, rest)| rest).collect();
        let missing = (0..flushed).find(|number| !there.contains(&*format!("{number:05} ends")));
        assert_eq!(missing, None, "of {flushed} records in {:?}", lines::names(&own));
        files += lines::logs(&own).len();
    }
    Outcome::Holds(format!("{KILLS} kills, {files} files"))
}

/// Nobody learned why `hyper = warn` changed nothing.
pub(crate) fn directives_that_match_nothing_are_reported_in_one_line(dir: &Path) -> Outcome {
    let off = LogFile::new(dir.join("off.log")).level(log::LevelFilter::Off);
    let builder = Builder::new().filter("info,hyper = warn,my-app=debug").file(dir.join("app.log")).file(off);
    drop(builder.build().unwrap());
    assert_eq!(fs::read_to_string(dir.join("off.log")).unwrap(), "", "off is off");
    let text = fs::read_to_string(dir.join("app.log")).unwrap();
    let [line] = text.lines().collect::<Vec<_>>()[..] else { panic!("one line: {text}") };
    for word in ["WARN", "2 directives of the filter match nothing", "hyper=warn", "my_app=debug"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    Outcome::holds()
}
