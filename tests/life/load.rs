//! Who logs: records that can be told apart, and threads that log as fast as they can.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::Log;
use unfazed::{Builder, LogFile, Stats};

use crate::harness::Place;
use crate::support::child;

/// The target of all records that are numbered.
pub(crate) const TARGET: &str = "life";
/// At their end the loggers here wait so long: nothing may be so late that this is what helps, see
/// `unix::PROMPTLY`.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The `n`th record of an author: of its own length, with the same numbers at both ends, so that
/// one that is torn, glued or there twice is noticed.
pub(crate) struct Text(pub(crate) u32, pub(crate) u64);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(author, n) = self;
        write!(f, "{author} {n} {:=<1$} {author} {n}", "", (n % 37) as usize + 1)
    }
}

/// Logs the `n`th record of an author by the installed logger: by the macros of `log`, or by the
/// crate's own, which leave the message to the writer.
pub(crate) fn say(author: u32, n: u64) {
    match n % 2 {
        0 => say_by(log::logger(), author, n),
        _ => unfazed::info!(target: TARGET, "{}", Text(author, n).to_string()),
    }
}

pub(crate) fn say_by(logger: &dyn Log, author: u32, n: u64) {
    log::info!(logger: logger, target: TARGET, "{}", Text(author, n));
}

/// Logs the first `count` records of an author.
pub(crate) fn say_all(author: u32, count: u64) {
    (0..count).for_each(|n| say(author, n));
}

/// A builder that logs to a file whatever room the disk has, and is patient at its end.
pub(crate) fn to_file(file: LogFile) -> Builder {
    Builder::new().file(file.min_free_space(0)).shutdown_timeout(PATIENCE)
}

/// The same for `app.log`.
pub(crate) fn to_log(place: &Place) -> Builder {
    to_file(LogFile::new(place.log()))
}

/// Threads that log as fast as they can, from author 0 on.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Load {
    /// Starts them and waits until each of them is at it.
    pub(crate) fn start(threads: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let under_way = Arc::new(AtomicU64::new(0));
        let threads = (0..threads).map(|author| {
            let (stop, under_way) = (stop.clone(), under_way.clone());
            thread::spawn(move || {
                let mut n = 0;
                while !stop.load(Relaxed) {
                    say(author, n);
                    n += 1;
                    if n == 100 {
                        under_way.fetch_add(1, Relaxed);
                    }
                }
                n
            })
        });
        let threads: Vec<_> = threads.collect();
        wait_until("all threads log", || under_way.load(Relaxed) == threads.len() as u64);
        Self { stop, threads }
    }

    /// Ends them, and says how many records each has logged.
    pub(crate) fn stop(self) -> Vec<u64> {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    child::wait_until(|| what.to_owned(), Duration::from_secs(20), condition);
}

/// Asserts that each record is counted once.
pub(crate) fn assert_identity(stats: &Stats) {
    assert_eq!(stats.accepted, stats.written + stats.dropped.total() + stats.pending, "{stats:?}");
    for output in &stats.outputs {
        assert_eq!(output.offered, output.written + output.dropped.total() + output.pending, "{output:?}");
    }
}

/// Asserts that nothing is under way and each record is counted once.
pub(crate) fn assert_settled(stats: &Stats) {
    assert_eq!(stats.pending, 0, "{stats:?}");
    assert_identity(stats);
}
