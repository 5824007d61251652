//! A directory for each case, authors whose records can be told apart, and the files as they were
//! read back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::{Level, Log, Record};
use unfazed::{Builder, Handle, LogFile, Logger, Overflow, Stats};

use crate::support::child;
pub(crate) use crate::support::child::Outcome;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const TARGET: &str = "files";

/// A logger of its own, whatever room the disk has. On a busy machine its callers wait: what a full
/// queue drops is another promise.
pub(crate) fn logger(file: LogFile) -> (Arc<Logger>, Handle) {
    let (logger, handle) = Builder::new().file(file.min_free_space(0)).overflow(Overflow::Block).build().unwrap();
    (Arc::new(logger), handle)
}

/// Logs the `n`th record of an author: of its own length, with the same numbers at both ends.
pub(crate) fn say(logger: &dyn Log, author: u32, n: u64) {
    let level = if n % 7 == 3 { Level::Error } else { Level::Info };
    let pad = (n % 61) as usize;
    let args = format_args!("{author} {n} {:=<pad$} {author} {n}", "");
    logger.log(&Record::builder().args(args).level(level).target(TARGET).build());
}

/// Threads that log in small bursts, from author 0 on.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    said: Arc<AtomicU64>,
    threads: Vec<JoinHandle<u64>>,
}

impl Load {
    pub(crate) fn start(logger: &Arc<Logger>, threads: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let said = Arc::new(AtomicU64::new(0));
        let threads = (0..threads).map(|author| {
            let (logger, stop, said) = (logger.clone(), stop.clone(), said.clone());
            thread::spawn(move || {
                let mut n = 0;
                while !stop.load(Relaxed) {
                    for _ in 0..20 {
                        say(&*logger, author, n);
                        n += 1;
                    }
                    said.fetch_add(20, Relaxed);
                    // A pace of files that are rotated a few times a second.
                    thread::sleep(Duration::from_micros(500));
                }
                n
            })
        });
        let threads = threads.collect();
        Self { stop, said, threads }
    }

    /// Waits until so many more records were logged.
    pub(crate) fn wait_for(&self, records: u64) {
        let until = self.said.load(Relaxed) + records;
        wait_until("the load goes on", || self.said.load(Relaxed) >= until);
    }

    /// How many records each author has logged.
    pub(crate) fn stop(self) -> Vec<u64> {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    child::wait_until(|| what.to_owned(), PATIENCE, condition);
}

/// What is in some files, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// For each author, the numbers of its records in the order of the files.
    pub(crate) records: BTreeMap<u32, Vec<u64>>,
    /// The logger's own lines.
    pub(crate) notices: Vec<String>,
    /// Lines that are neither, and not empty.
    pub(crate) fragments: Vec<String>,
}

impl Text {
    pub(crate) fn of(files: &[Vec<u8>]) -> Self {
        let mut text = Self::default();
        for file in files {
            assert!(!file.contains(&0), "there is a hole in a file");
            for line in String::from_utf8_lossy(file).split('\n').filter(|line| !line.is_empty()) {
                text.take(line).unwrap_or_else(|| text.fragments.push(line.to_owned()));
            }
        }
        text
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let rest = line.get(28..)?;
        if let Some(notice) = rest.strip_prefix("WARN  unfazed: ") {
            self.notices.push(notice.to_owned());
            return Some(());
        }
        let mut words = rest.get(6..)?.strip_prefix("files: ")?.split(' ');
        let (author, n) = (words.next()?.parse().ok()?, words.next()?.parse::<u64>().ok()?);
        let pad = words.next()?;
        let whole = pad.len() as u64 == n % 61 && pad.bytes().all(|byte| byte == b'=');
        let same = words.next()?.parse() == Ok(author) && words.next()?.parse() == Ok(n);
        if !whole || !same || words.next().is_some() {
            return None;
        }
        self.records.entry(author).or_default().push(n);
        Some(())
    }

    /// Every record of every author, each once and in order.
    pub(crate) fn assert_complete(&self, logged: &[u64]) {
        assert!(self.fragments.is_empty(), "{:?}", self.fragments);
        for (author, count) in (0..).zip(logged) {
            let numbers = self.records.get(&author).map_or(&[][..], Vec::as_slice);
            let wrong = (0..*count).zip(numbers).find(|(expected, number)| expected != *number);
            assert_eq!(wrong, None, "author {author}: the first record that is missing, doubled or out of order");
            assert_eq!(numbers.len() as u64, *count, "author {author}");
        }
    }
}

/// Ends the logger; nothing may have been lost.
pub(crate) fn end(handle: &Handle, logged: &[u64]) -> Stats {
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    let stats = handle.stats();
    assert_eq!(stats.accepted, logged.iter().sum::<u64>());
    assert_eq!((stats.written, stats.dropped.total()), (stats.accepted, 0), "{stats:?}");
    stats
}

/// The names in a directory, in the order of text.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

/// The log in `dir`: its archives by name, unpacked if need be, then `app.log`.
pub(crate) fn log_files(dir: &Path) -> Vec<Vec<u8>> {
    let names = names(dir).into_iter().filter(|name| name.starts_with("app."));
    names.map(|name| read(&dir.join(name))).collect()
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    if path.extension().is_none_or(|extension| extension != "gz") {
        return fs::read(path).unwrap();
    }
    let unpacked = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
    assert!(unpacked.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&unpacked.stderr));
    unpacked.stdout
}

pub(crate) fn is_archive(name: &str) -> bool {
    name.starts_with("app.2") && name.contains('T') && (name.ends_with(".log") || name.ends_with(".log.gz"))
}

pub(crate) fn archives(dir: &Path) -> Vec<PathBuf> {
    names(dir).iter().filter(|name| is_archive(name)).map(|name| dir.join(name)).collect()
}

pub(crate) fn has(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}
