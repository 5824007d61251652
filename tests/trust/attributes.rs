//! The attributes of `chattr`, put on while the logger runs: what they forbid is reported, every
//! record is written or counted, and when they are taken off everything goes on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use unfazed::{Builder, Event, Handle, Logger, State};

use crate::cases::rotating;
use crate::harness::{Outcome, PATIENCE, archive, archives, built, log, logger, names, wait_until};

/// An attribute, until it is dropped.
struct Attribute {
    path: PathBuf,
    letter: char,
}

impl Attribute {
    fn new(letter: char, path: PathBuf) -> Self {
        assert!(chattr(&format!("+{letter}"), &path), "chattr +{letter} {}", path.display());
        Self { path, letter }
    }
}

impl Drop for Attribute {
    fn drop(&mut self) {
        chattr(&format!("-{}", self.letter), &self.path);
    }
}

fn chattr(what: &str, path: &Path) -> bool {
    let mut command = Command::new("chattr");
    command.arg(what).arg(path).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Why there are no attributes here, if there are none.
fn why_none(dir: &Path) -> Option<Outcome> {
    let probe = dir.join("probe");
    fs::write(&probe, "").unwrap();
    let works = chattr("+a", &probe) && chattr("-a", &probe) && chattr("+i", &probe) && chattr("-i", &probe);
    fs::remove_file(probe).unwrap();
    (!works).then(|| Outcome::Skipped("`chattr` sets no attributes here".into()))
}

/// A logger in a directory with two archives, and what it says.
fn start(logs: &Path, files: Option<usize>) -> (Logger, Handle, Receiver<Event>) {
    fs::create_dir(logs).unwrap();
    (1..=2).for_each(|day| fs::write(logs.join(archive(day)), "ours\n").unwrap());
    let (tell, told) = channel();
    let file = files.into_iter().fold(rotating(logs), |file, files| file.max_files(files));
    let on_event = move |event: &Event| tell.send(event.clone()).unwrap();
    let (logger, handle) = built(Builder::new().file(file.min_free_space(0)).on_event(on_event));
    log(&logger, &handle, 30);
    (logger, handle, told)
}

/// How many records stand in all files, each counted once whatever it is called.
fn records(logs: &Path) -> u64 {
    let files: BTreeMap<_, _> = names(logs)
        .into_iter()
        .map(|name| (fs::metadata(logs.join(&name)).unwrap().ino(), fs::read_to_string(logs.join(&name)).unwrap()))
        .collect();
    files.values().flat_map(|text| text.lines()).filter(|line| line.contains(" trust: ")).count() as u64
}

pub(crate) fn a_log_or_a_directory_that_may_not_be_changed_is_reported_and_goes_on_afterwards(dir: &Path) -> Outcome {
    if let Some(skipped) = why_none(dir) {
        return skipped;
    }
    for (number, (letter, name)) in [('i', "app.log"), ('a', "app.log"), ('i', "."), ('a', ".")].into_iter().enumerate()
    {
        let story = format!("chattr +{letter} {name}");
        let logs = dir.join(number.to_string());
        let (logger, handle, told) = start(&logs, None);
        let attribute = Attribute::new(letter, logs.join(name));
        let before = archives(&logs).len();
        for _ in 0..3 {
            log(&logger, &handle, 30);
            handle.rotate();
            let _ = handle.flush(PATIENCE); // It may be suspended.
        }
        let of_attribute: Vec<_> = told.try_iter().collect();
        let is_told = |event: &Event| matches!(event, Event::Failed { .. } | Event::Suspended { .. });
        assert!(of_attribute.iter().any(is_told), "{story}: {of_attribute:?}");
        drop(attribute);
        wait_until("it resumes", || {
            log(&logger, &handle, 1);
            handle.state() == State::Healthy
        });
        handle.rotate();
        wait_until("it rotates", || {
            log(&logger, &handle, 20);
            archives(&logs).len() > before + 1
        });
        assert_eq!(handle.shutdown(PATIENCE), Ok(()), "{story}");
        let stats = handle.stats();
        assert_eq!(records(&logs), stats.written, "{story}: {stats:?}");
        assert_eq!(stats.accepted, stats.written + stats.dropped.total(), "{story}: {stats:?}");
        let is_file = |name: &String| name.starts_with("app.");
        assert!(names(&logs).iter().all(is_file), "{story}: {:?}", names(&logs));
    }
    Outcome::holds()
}

pub(crate) fn an_archive_that_may_not_be_changed_ends_neither_rotation_nor_retention(dir: &Path) -> Outcome {
    if let Some(skipped) = why_none(dir) {
        return skipped;
    }
    for (number, letter) in ['i', 'a'].into_iter().enumerate() {
        let story = format!("chattr +{letter}");
        let logs = dir.join(number.to_string());
        let (first, handle, told) = start(&logs, Some(6));
        let attribute = Attribute::new(letter, logs.join(archive(1)));
        log(&first, &handle, 200);
        let refused = |event: &Event| matches!(event, Event::Failed { .. });
        assert!(told.try_iter().any(|event| refused(&event)), "{story}: it cannot be deleted");
        assert!(logs.join(archive(1)).exists() && !logs.join(archive(2)).exists(), "{story}: {:?}", names(&logs));
        // It counts, and the others make way.
        assert!(archives(&logs).len() <= 6, "{story}: {:?}", names(&logs));
        assert_eq!(handle.shutdown(PATIENCE), Ok(()), "{story}");
        drop(attribute);
        // What a deletion failed with is tried again within a minute; a new logger tries at once.
        let (again, handle) = logger(rotating(&logs).max_files(6));
        log(&again, &handle, 20);
        wait_until("it is deleted as well", || !logs.join(archive(1)).exists());
        assert_eq!(handle.shutdown(PATIENCE), Ok(()), "{story}");
    }
    Outcome::holds()
}
