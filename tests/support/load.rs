//! Who logs: authors whose records can be told apart, threads of them at full speed, and what their
//! calls cost.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{Level, Log};
use unfazed::{Handle, KIB};

use super::child::wait_until;
use super::moment::{HELD_UP, waited_for_a_processor};
use super::subject::PATIENCE;

/// The target of all records of the authors.
pub(crate) const TARGET: &str = "case";
const PAD: &str = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";

/// Writes records with a number and a running number each, so that one that is missing, torn or
/// there twice is noticed.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) number: u32,
    /// How many records it has logged: they are numbered from 0.
    pub(crate) logged: u64,
    /// The longest of its calls that were timed.
    longest: Longest,
    /// How many of its records below WARN were formatted. A suspended log may retain the others.
    formatted_below_warn: Cell<u64>,
}

/// A call that took long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Longest {
    wall: Duration,
    /// Without the time for which the thread could have run and the scheduler ran somebody else.
    own: Duration,
}

impl Longest {
    fn or(self, other: Longest) -> Self {
        Self { wall: self.wall.max(other.wall), own: self.own.max(other.own) }
    }
}

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1?} ({:.1?} without the waits for a processor)", self.wall, self.own)
    }
}

impl Author {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, logged: 0, longest: Longest::default(), formatted_below_warn: Cell::new(0) }
    }

    /// Logs the next record.
    #[inline]
    pub(crate) fn log(&mut self, logger: &dyn Log) {
        let (t, n) = (self.number, self.logged);
        self.logged += 1;
        let pad =
            Counted { text: pad(t, n), below_warn: (level(n) > Level::Warn).then_some(&self.formatted_below_warn) };
        log::log!(logger: logger, target: TARGET, level(n), "t{t} n{n} {pad};");
    }

    /// The same, and says how long the call took. `waited` is how long the thread had waited for a
    /// processor before, or shortly before.
    #[inline]
    fn log_timed(&mut self, logger: &dyn Log, waited: Option<Duration>) -> Duration {
        let start = Instant::now();
        self.log(logger);
        let took = start.elapsed();
        if took > self.longest.wall || took > self.longest.own {
            // Without a descriptor neither can be read, or one of them alone.
            let waits = || waited.zip(waited_for_a_processor()).map(|(before, after)| after.saturating_sub(before));
            let waited = if took < SLOW { None } else { waits() };
            let own = took.saturating_sub(waited.unwrap_or_default());
            self.longest = self.longest.or(Longest { wall: took, own });
        }
        took
    }

    /// Logs the next record by the installed logger, and says its message.
    pub(crate) fn say(&mut self) -> String {
        let text = message(self.number, self.logged);
        self.log_timed(log::logger(), waited_for_a_processor());
        text
    }
}

/// A part of a message that counts how often a record below WARN is formatted.
struct Counted<'a> {
    text: &'static str,
    below_warn: Option<&'a Cell<u64>>,
}

impl fmt::Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.below_warn.inspect(|count| count.set(count.get() + 1));
        f.write_str(self.text)
    }
}

/// The level of an author's `n`th record.
pub(crate) fn level(n: u64) -> Level {
    [Level::Info, Level::Debug, Level::Warn, Level::Trace, Level::Error][(n % 5) as usize]
}

/// The message of an author's `n`th record. Lengths differ, so that a disk is full in the middle of
/// lines.
pub(crate) fn message(author: u32, n: u64) -> String {
    format!("t{author} n{n} {};", pad(author, n))
}

fn pad(author: u32, n: u64) -> &'static str {
    &PAD[..((n * 7 + u64::from(author)) % PAD.len() as u64) as usize]
}

/// How the threads of a load go about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// In bursts that the queue holds, each followed by a flush: the calls of a healthy logger, one
    /// by one.
    Steady,
    /// As fast as they can.
    Flood,
    /// As fast as they can while the log is suspended, with pauses: a suspension lasts for seconds,
    /// in which others need the processors.
    FloodSuspended,
    /// As `Steady`, while the log is suspended: what is different is the log alone.
    SteadySuspended,
    /// As `Steady`, once the log is back.
    SteadyAgain,
    /// Not at all.
    Idle,
    Stop,
}

const PACES: [Pace; 7] =
    [Pace::Steady, Pace::Flood, Pace::FloodSuspended, Pace::SteadySuspended, Pace::SteadyAgain, Pace::Idle, Pace::Stop];
/// A flood of the suspended log has so many calls at least.
const FLOOD: u64 = 100_000;
/// A call that takes longer is looked at.
const SLOW: Duration = Duration::from_micros(100);
const BURST: u64 = 100;
/// A flood of the suspended log pauses after so many bursts.
const BURSTS: u32 = 20;
/// Between two bursts: what is measured is spread over more time than a machine is slow for by
/// chance.
const PAUSE: Duration = Duration::from_millis(5);

/// Threads that log until they are told to stop.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Calls>>,
}

struct Shared {
    pace: AtomicU8,
    /// The threads: how many calls they made at each pace.
    calls: [AtomicU64; PACES.len()],
}

/// What the calls of a load were like.
pub(crate) struct Calls {
    pub(crate) authors: Vec<Author>,
    steady: Histogram,
    suspended: Histogram,
    /// How often a thread waited for something (slept in the kernel) while it flooded the suspended
    /// log.
    waits: u64,
    /// Its calls meanwhile.
    flood: u64,
    /// How many records below WARN were formatted at the pace `SteadySuspended`.
    formatted: u64,
}

impl Load {
    pub(crate) fn start(threads: u32, handle: &Handle) -> Self {
        Self::start_on(log::logger(), threads, handle)
    }

    /// The same on a logger that is not installed.
    pub(crate) fn start_on(logger: &'static dyn Log, threads: u32, handle: &Handle) -> Self {
        let shared = Arc::new(Shared { pace: AtomicU8::new(Pace::Steady as u8), calls: Default::default() });
        let threads = (0..threads).map(|number| {
            let (shared, handle) = (shared.clone(), handle.clone());
            let name = format!("load-{number}");
            thread::Builder::new().name(name).spawn(move || shared.drive(logger, number, &handle)).unwrap()
        });
        Self { threads: threads.collect(), shared }
    }

    pub(crate) fn pace(&self, pace: Pace) {
        self.finish_flood();
        self.shared.pace.store(pace as u8, Relaxed);
    }

    /// Waits, if the threads flood the suspended log, until there were enough calls for what is
    /// asserted of them: a busy machine takes longer.
    pub(crate) fn finish_flood(&self) {
        if self.shared.pace.load(Relaxed) == Pace::FloodSuspended as u8 {
            let calls = || self.calls(Pace::FloodSuspended);
            wait_until(|| format!("{} calls of a flood", calls()), PATIENCE, || calls() >= FLOOD);
        }
    }

    /// Something that changes the pace, for another thread.
    pub(crate) fn pacer(&self) -> impl Fn(Pace) + Send + 'static {
        let shared = self.shared.clone();
        move |pace| shared.pace.store(pace as u8, Relaxed)
    }

    pub(crate) fn calls(&self, pace: Pace) -> u64 {
        self.shared.calls[pace as usize].load(Relaxed)
    }

    /// Ends the threads. A panic in one of them is one here.
    pub(crate) fn stop(self) -> Calls {
        self.pace(Pace::Stop);
        let mut all = Calls::none();
        for thread in self.threads {
            let calls = thread.join().expect("no log call unwinds");
            all.authors.extend(calls.authors);
            all.steady.add(&calls.steady);
            all.suspended.add(&calls.suspended);
            all.waits += calls.waits;
            all.flood += calls.flood;
            all.formatted += calls.formatted;
        }
        all
    }
}

impl Shared {
    fn drive(&self, logger: &dyn Log, number: u32, handle: &Handle) -> Calls {
        let mut author = Author::new(number);
        let mut calls = Calls::none();
        let mut waited_before = None;
        let mut bursts = 0;
        loop {
            let pace = PACES[usize::from(self.pace.load(Relaxed))];
            let goes_on = pace == Pace::FloodSuspended && bursts < BURSTS;
            if goes_on {
                waited_before.get_or_insert_with(times_waited);
                bursts += 1;
            } else if let Some(before) = waited_before.take() {
                calls.waits += times_waited() - before;
            }
            if !goes_on && std::mem::take(&mut bursts) == BURSTS {
                thread::sleep(PAUSE);
                continue;
            }
            match pace {
                Pace::Stop => break,
                Pace::Idle => {
                    thread::sleep(PAUSE);
                    continue;
                }
                _ => {}
            }
            let waited = waited_for_a_processor();
            let formatted_before = author.formatted_below_warn.get();
            for _ in 0..BURST {
                let took = author.log_timed(logger, waited);
                match pace {
                    Pace::Steady => calls.steady.count(took),
                    Pace::SteadySuspended => calls.suspended.count(took),
                    Pace::FloodSuspended => calls.flood += 1,
                    _ => {}
                }
            }
            if pace == Pace::SteadySuspended {
                calls.formatted += author.formatted_below_warn.get() - formatted_before;
            }
            self.calls[pace as usize].fetch_add(BURST, Relaxed);
            if matches!(pace, Pace::Steady | Pace::SteadySuspended | Pace::SteadyAgain) {
                // Whether it says Ok is the case's business: the pace may just have changed.
                let _ = handle.flush(Duration::from_secs(5));
                thread::sleep(PAUSE);
            }
        }
        calls.authors.push(author);
        calls
    }
}

impl Calls {
    fn none() -> Self {
        let (steady, suspended) = (Histogram::default(), Histogram::default());
        Self { authors: Vec::new(), steady, suspended, waits: 0, flood: 0, formatted: 0 }
    }

    /// The longest call of all threads.
    pub(crate) fn longest(&self) -> Longest {
        longest(&self.authors)
    }

    /// Asserts that a suspended log does nothing for a record that no output can take: it is not
    /// formatted, and a flood of such calls waits for nothing. A call that waits for a lock or a
    /// disk gives its processor up by itself, and that the kernel counts.
    ///
    /// What calls take by the clock is in the text that is returned, and asserted nowhere: it is
    /// the machine's.
    pub(crate) fn assert_no_work_while_suspended(&self) -> String {
        let (healthy, suspended) = (&self.steady, &self.suspended);
        assert!(suspended.calls >= 10_000, "only {} calls on the suspended log were made", suspended.calls);
        // On ext4, which finds some more free space while it writes back, the log may come back for
        // a moment.
        let (formatted, calls) = (self.formatted, suspended.calls);
        assert!(formatted <= calls / 20, "{formatted} messages in {calls} calls were formatted, and nobody takes them");
        let waits = self.assert_no_waits();
        format!("call in health {}, while suspended {}; {waits}", healthy.text(), suspended.text())
    }

    /// Asserts that a flood of calls on the suspended log waits for nothing.
    pub(crate) fn assert_no_waits(&self) -> String {
        let Calls { waits, flood, .. } = self;
        assert!(*flood >= FLOOD, "only {flood} calls on the suspended log were made");
        // A page of the program may have to be read, and the counts themselves; one wait in each
        // call would be all of them.
        assert!(
            *waits <= 20 + flood / 100_000,
            "the threads waited {waits} times in {flood} calls on the suspended log"
        );
        format!("{waits} waits in {flood} calls while suspended")
    }
}

/// The longest call of these authors. However busy the machine is, none may take a second of its
/// own. That is less than the disk is full for.
pub(crate) fn longest(authors: &[Author]) -> Longest {
    let longest = authors.iter().fold(Longest::default(), |longest, author| longest.or(author.longest));
    assert!(longest.own < Duration::from_secs(1) + HELD_UP, "a log call took {longest}");
    longest
}

/// Durations to the nanosecond; those from 16 µs on are counted as 16 µs.
struct Histogram {
    nanos: Vec<u32>,
    calls: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { nanos: vec![0; 16 << 10], calls: 0 }
    }
}

impl Histogram {
    fn count(&mut self, took: Duration) {
        let last = self.nanos.len() - 1;
        self.nanos[last.min(took.as_nanos() as usize)] += 1;
        self.calls += 1;
    }

    fn add(&mut self, other: &Histogram) {
        for (mine, theirs) in self.nanos.iter_mut().zip(&other.nanos) {
            *mine += theirs;
        }
        self.calls += other.calls;
    }

    /// This share of the calls took no longer.
    fn share(&self, share: f64) -> Duration {
        let mut below = 0;
        let at = self.nanos.iter().position(|count| {
            below += u64::from(*count);
            below as f64 >= share * self.calls as f64
        });
        Duration::from_nanos(at.unwrap_or(self.nanos.len()) as u64)
    }

    fn text(&self) -> String {
        format!("{:?} (median of {}), {:?} (99 of 100)", self.share(0.5), self.calls, self.share(0.99))
    }
}

/// How often this thread has given up its processor because it had to wait.
fn times_waited() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.and_then(|count| count.trim().parse().ok()).expect("a count of the voluntary context switches")
}

/// What this process alone holds in memory, in bytes.
pub(crate) fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("the anonymous memory") * KIB
}
