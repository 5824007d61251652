//! The logger under test, installed in the process of a case, and how it is waited for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use log::LevelFilter;
use unfazed::{Builder, Cause, Event, FlushError, Handle, LogFile, State, Stats};

use super::child::wait_until;
use super::load::{Author, Load, Pace};
use super::moment::{HELD_UP, Moment};
use super::place::Filler;

/// The longest time from the end of a fault to the resumed log: 2 s, which the cases that step the
/// writer hold it to, and what the machine takes. Attempts whose distance doubles without a limit
/// are further apart by then.
pub(crate) const RESUME_AT_MOST: Duration = Duration::from_secs(2).saturating_add(HELD_UP);
/// How long a case waits for what has no promise about its time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// For so long the part of a line that an attempt has left may be there.
const PASSING: Duration = Duration::from_millis(500);

/// The installed logger.
pub(crate) struct Subject {
    pub(crate) handle: Handle,
    pub(crate) path: PathBuf,
    events: Arc<Mutex<Events>>,
}

#[derive(Default)]
struct Events {
    /// Each with the time at which it was told.
    told: Vec<(Instant, Event)>,
    on_resume: Option<Box<dyn FnOnce() + Send>>,
    /// Whether a load floods the log until that.
    flooded: bool,
}

/// What the events said, to be held against the log.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) suspended: Vec<Cause>,
    /// The losses that each resumption told.
    pub(crate) resumed: Vec<u64>,
}

impl Subject {
    /// Installs a logger that writes to `path` alone, with `options`; that must succeed whatever
    /// the disk does.
    pub(crate) fn start(path: &Path, options: impl FnOnce(LogFile) -> LogFile) -> Self {
        let events = Arc::new(Mutex::new(Events::default()));
        let telling = events.clone();
        let handle = Builder::new()
            .level(LevelFilter::Trace)
            .file(options(LogFile::new(path)))
            .on_event(move |event| telling.lock().unwrap().take(event))
            .init()
            .expect("a logger starts on every disk");
        Self { handle, path: path.to_owned(), events }
    }

    /// The log as it is in the file. An attempt that the disk cuts short leaves a part of a line
    /// there until it is cut, some microseconds later: only one that stays is returned.
    pub(crate) fn read(&self) -> Vec<u8> {
        let seen = Instant::now();
        loop {
            let bytes = std::fs::read(&self.path).unwrap();
            if bytes.last().is_none_or(|last| *last == b'\n') || seen.elapsed() > PASSING {
                return bytes;
            }
        }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        matches!(self.handle.state(), State::Suspended(_))
    }

    /// While all log as fast as they can, somebody takes all the room there is on the disk.
    pub(crate) fn fill_under_a_flood(&self, load: &Load, disk: &Path) -> Filler {
        let mut filler = Filler::new(disk.join("filler"));
        load.pace(Pace::Flood);
        filler.fill();
        self.wait_until_suspended(Cause::DiskFull);
        load.pace(Pace::FloodSuspended);
        filler
    }

    /// Waits until the log is suspended, for this cause.
    pub(crate) fn wait_until_suspended(&self, cause: Cause) {
        let mut state = State::Healthy;
        wait_until(
            || format!("suspended by {cause:?}"),
            PATIENCE,
            || {
                state = self.handle.state();
                matches!(state, State::Suspended(_))
            },
        );
        assert_eq!(state, State::Suspended(cause));
    }

    /// Has `author` log record by record until one finds the log suspended, for this cause.
    pub(crate) fn say_until_suspended(&self, author: &mut Author, cause: Cause) {
        let start = Instant::now();
        while !self.is_suspended() {
            assert!(start.elapsed() < PATIENCE, "{:?}", self.handle.state());
            author.say();
            let _ = self.handle.flush(PATIENCE);
        }
        self.wait_until_suspended(cause);
    }

    /// Waits until nothing has happened to the suspended log for so long that it looks as seldom as
    /// it ever does whether it can come back, which is once a second.
    pub(crate) fn wait_until_given_up(&self) {
        self.wait_until_quiet_for(Duration::from_millis(2500));
    }

    /// Waits until the log is suspended and nothing has happened to it for so long.
    pub(crate) fn wait_until_quiet_for(&self, quiet_for: Duration) {
        wait_until(
            || format!("quiet for {quiet_for:?}"),
            PATIENCE,
            || {
                self.is_suspended()
                    && self.events.lock().unwrap().told.last().is_some_and(|(at, _)| at.elapsed() > quiet_for)
            },
        );
    }

    /// Asserts that a flush of the suspended log answers at once and says why.
    pub(crate) fn assert_flush_says(&self, cause: Cause) {
        let start = Moment::now();
        let answer = self.handle.flush(Duration::from_secs(10));
        let took = start.elapsed();
        assert_eq!(answer, Err(FlushError::Suspended(cause)));
        assert!(took < Duration::from_secs(1) + HELD_UP, "the flush took {took:?}");
    }

    /// From the next resumption on, the load logs at a pace that the disk can bear.
    pub(crate) fn calm_when_resumed(&self, load: &Load) {
        self.pace_when_resumed(load, Pace::SteadyAgain);
    }

    /// From the next resumption on, the load goes on at this pace.
    pub(crate) fn pace_when_resumed(&self, load: &Load, pace: Pace) {
        load.finish_flood();
        let set = load.pacer();
        self.events.lock().unwrap().flooded = true;
        self.when_resumed(move || set(pace));
    }

    /// Does this on the writer's thread when it tells the next resumption.
    pub(crate) fn when_resumed(&self, then: impl FnOnce() + Send + 'static) {
        self.events.lock().unwrap().on_resume = Some(Box::new(then));
    }

    /// Asserts that the log, suspended by a fault that ended at `lifted`, has resumed in time, and
    /// that the next record is then where `read` reads. Returns how long it took.
    pub(crate) fn assert_resumes(&self, lifted: Moment, author: &mut Author, read: impl Fn() -> Vec<u8>) -> Duration {
        while self.is_suspended() {
            let took = lifted.elapsed();
            assert!(took <= RESUME_AT_MOST, "not resumed after {took:?}: {:?}", self.handle.state());
            thread::yield_now();
        }
        let took = lifted.elapsed();
        assert!(took <= RESUME_AT_MOST, "resumed only after {took:?}");
        if self.events.lock().unwrap().flooded {
            // The flood may have filled the queue at the moment when the log came back; that is
            // another promise.
            let is_calm = || self.events.lock().unwrap().on_resume.is_none() && self.handle.stats().pending < 1000;
            wait_until(|| "the flood is over".into(), PATIENCE, is_calm);
        }
        let next = author.say();
        assert_eq!(self.handle.flush(PATIENCE), Ok(()), "the flush after the resumption");
        let log = read();
        let found = log.windows(next.len()).any(|window| window == next.as_bytes());
        assert!(found, "`{next}` is not in the log, which ends with {:?}", tail(&log));
        took
    }

    /// Ends the logger and takes the final account.
    pub(crate) fn end(&self) -> (Stats, Told) {
        assert_eq!(self.handle.shutdown(PATIENCE), Ok(()), "the shutdown");
        (self.handle.stats(), self.told())
    }

    /// Asserts that there was at most one pair of transitions in a second; says how far apart the
    /// closest two resumes were. The first suspension ends as soon as it can.
    pub(crate) fn assert_no_flapping(&self) -> Duration {
        /// The times are those of the wall clock, which is corrected now and then.
        const CORRECTED: Duration = Duration::from_millis(50);

        let events = self.events.lock().unwrap();
        let apart = events.resumes().zip(events.resumes().skip(1));
        let closest = apart.map(|(one, next)| next.duration_since(one).unwrap_or_default()).min();
        let closest = closest.unwrap_or(Duration::MAX);
        assert!(closest >= Duration::from_secs(1) - CORRECTED, "two resumes within {closest:?}");
        closest
    }

    /// What the events said so far: one suspension and one resumption always in turns.
    pub(crate) fn told(&self) -> Told {
        let mut told = Told::default();
        for (_, event) in &self.events.lock().unwrap().told {
            match event {
                Event::Suspended { cause, .. } => told.suspended.push(*cause),
                Event::Resumed { cause, dropped, .. } => {
                    assert_eq!(told.suspended.last(), Some(cause), "it resumes from what it was suspended by");
                    told.resumed.push(*dropped);
                }
                _ => {}
            }
            let ahead = told.suspended.len() - told.resumed.len();
            assert!(ahead <= 1, "two suspensions without a resumption between: {told:?}");
        }
        told
    }
}

impl Events {
    /// When the log was back, each time. Not when that was told: the writer may be held up between
    /// the two.
    fn resumes(&self) -> impl Iterator<Item = SystemTime> {
        self.told.iter().filter_map(|(_, event)| match event {
            Event::Resumed { at, .. } => Some(*at),
            _ => None,
        })
    }

    fn take(&mut self, event: &Event) {
        if matches!(event, Event::Resumed { .. })
            && let Some(on_resume) = self.on_resume.take()
        {
            on_resume();
        }
        self.told.push((Instant::now(), event.clone()));
    }
}

/// The end of a log, for a message.
pub(crate) fn tail(log: &[u8]) -> String {
    String::from_utf8_lossy(&log[log.len().saturating_sub(400)..]).into_owned()
}
