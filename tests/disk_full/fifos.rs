//! Cases on a FIFO: a reader that is not there, and one that stops reading.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use unfazed::{Builder, Cause};

use crate::support::account::{Log, assert_accounted, assert_identity};
use crate::support::cases::{Evidence, Outcome};
use crate::support::child::wait_until;
use crate::support::load::{Author, Load, Pace};
use crate::support::moment::{HELD_UP, Moment};
use crate::support::place::Place;
use crate::support::subject::{PATIENCE, Subject};

const LONE: u32 = 99;

pub(crate) fn a_fifo_nobody_reads_blocks_nobody_and_is_written_when_a_reader_comes(place: &Place) -> Outcome {
    let path = make_fifo(place, "app.fifo");
    let start = Moment::now();
    let subject = Subject::start(&path, |file| file);
    let load = Load::start(2, &subject.handle);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1) + HELD_UP, "the start took {took:?}");
    subject.wait_until_suspended(Cause::Io);
    load.pace(Pace::FloodSuspended);
    subject.assert_flush_says(Cause::Io);
    wait_until(|| "calls".into(), PATIENCE, || load.calls(Pace::FloodSuspended) >= 400_000);
    assert_shutdown_without_a_reader_answers(place);
    subject.wait_until_given_up();

    // A reader that a busy machine lets wait for long would suspend the log again.
    subject.pace_when_resumed(&load, Pace::Idle);
    let mut lone = Author::new(LONE);
    let come = Moment::now();
    let reader = Reader::start(&path);
    let resumed = subject.assert_resumes(come, &mut lone, || reader.read_up_to_a_message_of(LONE));
    let mut calls = load.stop();
    calls.authors.push(lone);
    let (stats, told) = subject.end();
    assert_accounted(&Log::of_whole_lines(&reader.all()), &calls.authors, &stats, &told);
    Evidence { stats, longest_call: Some(calls.longest()), resumed: Some(resumed), more: calls.assert_no_waits() }
        .into()
}

/// A logger that never had a reader ends all the same, and counts what it could not write.
fn assert_shutdown_without_a_reader_answers(place: &Place) {
    let path = make_fifo(place, "other.fifo");
    let (logger, handle) = Builder::new().file(path).build().unwrap();
    let mut author = Author::new(0);
    for _ in 0..10 {
        author.log(&logger);
    }
    let start = Moment::now();
    let answer = handle.shutdown(Duration::from_secs(5));
    assert!(answer.is_err(), "nothing was written");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1) + HELD_UP, "the shutdown took {took:?}");
    let stats = handle.stats();
    assert_identity(&stats);
    assert_eq!((stats.written, stats.pending), (0, 0), "{stats:?}");
}

pub(crate) fn a_fifo_whose_reader_stops_blocks_nobody_and_loses_what_it_says(place: &Place) -> Outcome {
    let path = make_fifo(place, "app.fifo");
    let reader = Reader::start(&path);
    let subject = Subject::start(&path, |file| file);
    let load = Load::start(2, &subject.handle);
    wait_until(|| "calls in health".into(), PATIENCE, || load.calls(Pace::Steady) >= 2_000);

    reader.stop(true);
    load.pace(Pace::Flood);
    subject.wait_until_suspended(Cause::Io);
    load.pace(Pace::FloodSuspended);
    subject.assert_flush_says(Cause::Io);
    subject.wait_until_given_up();
    load.pace(Pace::SteadySuspended);
    wait_until(|| "calls".into(), PATIENCE, || load.calls(Pace::SteadySuspended) >= 20_000);

    // A reader that a busy machine lets wait for long would suspend the log again.
    subject.pace_when_resumed(&load, Pace::Idle);
    let mut lone = Author::new(LONE);
    let lifted = Moment::now();
    reader.stop(false);
    let resumed = subject.assert_resumes(lifted, &mut lone, || reader.read_up_to_a_message_of(LONE));
    let mut calls = load.stop();
    calls.authors.push(lone);
    let (stats, told) = subject.end();
    assert_accounted(&Log::of_whole_lines(&reader.all()), &calls.authors, &stats, &told);
    let more = calls.assert_no_work_while_suspended();
    Evidence { stats, longest_call: Some(calls.longest()), resumed: Some(resumed), more }.into()
}

fn make_fifo(place: &Place, name: &str) -> PathBuf {
    let path = place.dir().join(name);
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

/// Reads a FIFO to its end, unless it is told to stop for a while.
struct Reader {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    read: Mutex<Vec<u8>>,
    stopped: Mutex<bool>,
    go_on: Condvar,
}

impl Reader {
    fn start(path: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let (there, path) = (shared.clone(), path.to_owned());
        let thread = thread::spawn(move || {
            // Waits until somebody writes.
            let mut fifo = File::open(path).unwrap();
            let mut buffer = vec![0; 64 << 10];
            loop {
                let stopped = there.stopped.lock().unwrap();
                drop(there.go_on.wait_while(stopped, |stopped| *stopped).unwrap());
                match fifo.read(&mut buffer).unwrap() {
                    0 => break,
                    bytes => there.read.lock().unwrap().extend_from_slice(&buffer[..bytes]),
                }
            }
        });
        Self { shared, thread }
    }

    fn stop(&self, stop: bool) {
        *self.shared.stopped.lock().unwrap() = stop;
        self.shared.go_on.notify_all();
    }

    /// What was read, once a record of this author is in it: a pipe is read later than it is
    /// written.
    fn read_up_to_a_message_of(&self, author: u32) -> Vec<u8> {
        let message = format!(" t{author} n0 ");
        let is_in = |read: &[u8]| read.windows(message.len()).any(|window| window == message.as_bytes());
        wait_until(|| format!("{message} is read"), PATIENCE, || is_in(&self.shared.read.lock().unwrap()));
        self.shared.read.lock().unwrap().clone()
    }

    /// All that was read, once the last writer is gone.
    fn all(self) -> Vec<u8> {
        self.thread.join().unwrap();
        std::mem::take(&mut self.shared.read.lock().unwrap())
    }
}
