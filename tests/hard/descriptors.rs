//! A process without a descriptor left (EMFILE).

use std::fs::{self, File};
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use unfazed::Cause;

use crate::support::account::{Log, assert_accounted};
use crate::support::cases::{Evidence, Outcome};
use crate::support::child::wait_until;
use crate::support::load::{Author, longest};
use crate::support::moment::Moment;
use crate::support::place::Place;
use crate::support::subject::{PATIENCE, Subject};

const LONE: u32 = 99;

pub(crate) fn a_start_without_a_descriptor_is_quiet_and_the_log_begins_when_there_is_one(place: &Place) -> Outcome {
    let hog = Hog::start();
    let subject = Subject::start(&place.dir().join("app.log"), |file| file.min_free_space(0));
    subject.wait_until_suspended(Cause::Io);
    ends_when_given_back(&subject, Author::new(LONE), hog, Vec::new)
}

pub(crate) fn a_deleted_file_is_made_again_when_there_is_a_descriptor_again(place: &Place) -> Outcome {
    let subject = Subject::start(&place.dir().join("app.log"), |file| file.min_free_space(0));
    let mut lone = Author::new(LONE);
    for _ in 0..300 {
        lone.say();
    }
    assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
    let mut deleted = File::open(&subject.path).unwrap();
    let hog = Hog::start();
    fs::remove_file(&subject.path).unwrap();
    // The descriptor that the logger gives up serves it for the new file, if nothing stands in its
    // way. Here something does, until somebody else has the descriptor.
    fs::create_dir(&subject.path).unwrap();
    subject.say_until_suspended(&mut lone, Cause::Io);
    hog.wait_until_none_is_left();
    fs::remove_dir(&subject.path).unwrap();
    ends_when_given_back(&subject, lone, hog, || {
        let mut bytes = Vec::new();
        deleted.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// A log that is suspended for want of a descriptor: what is logged is lost and told until they are
/// given back. `before` reads what is in another file than the log.
fn ends_when_given_back(subject: &Subject, mut lone: Author, hog: Hog, before: impl FnOnce() -> Vec<u8>) -> Outcome {
    for _ in 0..1000 {
        lone.say();
    }
    subject.assert_flush_says(Cause::Io);
    subject.wait_until_given_up();
    let given_back = hog.give_back();
    let resumed = subject.assert_resumes(given_back, &mut lone, || subject.read());
    for _ in 0..100 {
        lone.say();
    }
    let (stats, told) = subject.end();
    assert_eq!(told.suspended, [Cause::Io]);
    let authors = [lone];
    let all = [before(), subject.read()].concat();
    assert_accounted(&Log::of_whole_lines(&all), &authors, &stats, &told);
    assert_eq!(stats.dropped.total(), stats.dropped.io_error, "{stats:?}");
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: Some(resumed), more: "suspended by Io".into() }
        .into()
}

/// Takes each descriptor that there is, and each that somebody gives back.
struct Hog {
    stop: Arc<AtomicBool>,
    /// How often there was none.
    failures: Arc<AtomicU64>,
    thread: JoinHandle<Vec<File>>,
}

impl Hog {
    /// Returns when there is none left.
    fn start() -> Self {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: before.maximum }).unwrap();
        let (stop, failures) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, counts) = (stop.clone(), failures.clone());
        let thread = thread::spawn(move || {
            let mut files = Vec::new();
            while !told.load(Relaxed) {
                match File::open("/dev/null") {
                    Ok(file) => files.push(file),
                    Err(_) => drop(counts.fetch_add(1, Relaxed)),
                }
            }
            files
        });
        let hog = Self { stop, failures, thread };
        hog.wait_until_none_is_left();
        hog
    }

    /// Waits for an attempt that begins after the call and finds none.
    fn wait_until_none_is_left(&self) {
        let under_way = self.failures.load(Relaxed) + 1;
        wait_until(|| "no descriptor is left".into(), PATIENCE, || self.failures.load(Relaxed) > under_way);
    }

    /// Gives all of them back; says when.
    fn give_back(self) -> Moment {
        self.stop.store(true, Relaxed);
        let files = self.thread.join().unwrap();
        assert!(files.len() > 32, "only {} descriptors were taken", files.len());
        let given_back = Moment::now();
        drop(files);
        given_back
    }
}
