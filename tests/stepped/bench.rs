//! A logger, a writer that is stepped, and the check of what they left behind.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Record};

use crate::disk::fake::{FakeDisk, Op};
use crate::event::{Event, State};
use crate::format::{Encoder, Format};
use crate::front::filter::{CurrentFilter, Filter, Layers};
use crate::front::logger::Logger;
use crate::handle::Handle;
use crate::queue::storms::Storms;
use crate::queue::{Door, Overflow, Queue, Renew};
use crate::sink::file::{FileSink, Target};
use crate::sink::log_file::{FileOptions, Fsync};
use crate::sink::{Now, Sink};
use crate::stats::{Counters, OutputCounters};
use crate::writer::{Output, Turn, Writer};

pub(super) const PATH: &str = "/logs/app.log";

/// Nobody forks here.
struct NoRenewal;

impl Renew for NoRenewal {
    fn queue(&self) -> Arc<Queue> {
        unreachable!("a forked bench")
    }

    fn start(&self, _queue: &Arc<Queue>) {}
}

/// What a bench is built from.
pub(super) struct Setup {
    pub(super) capacity: usize,
    pub(super) overflow: Overflow,
    pub(super) storms: Option<Storms>,
    pub(super) outputs: Vec<(LevelFilter, Format, Box<dyn Sink>)>,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self { capacity: 1024, overflow: Overflow::DropNewest, storms: None, outputs: Vec::new() }
    }

    pub(super) fn sink(self, sink: impl Sink + 'static) -> Self {
        self.output(LevelFilter::Trace, Format::text(), sink)
    }

    pub(super) fn output(mut self, level: LevelFilter, format: Format, sink: impl Sink + 'static) -> Self {
        self.outputs.push((level, format, Box::new(sink)));
        self
    }

    pub(super) fn file_with(self, disk: &FakeDisk, options: FileOptions) -> Self {
        self.sink(FileSink::new(disk.clone(), Target::Path(PATH.into()), options))
    }

    pub(super) fn file(self, disk: &FakeDisk, reserve: Option<u64>, fsync: Fsync) -> Self {
        self.sink(FileSink::new(
            disk.clone(),
            Target::Path(PATH.into()),
            FileOptions { min_free_space: reserve, fsync, ..FileOptions::default() },
        ))
    }

    pub(super) fn bench(self) -> Bench {
        let born = Instant::now();
        let names = ["a", "b", "c"];
        let counters = names
            .iter()
            .zip(&self.outputs)
            .map(|(name, (level, ..))| OutputCounters::new((*name).into(), *level, born));
        let counters = Counters::new(counters.collect());
        let queue = Arc::new(Queue::new(self.capacity, self.overflow, Duration::ZERO, self.storms, counters));
        let outputs = self.outputs.into_iter().zip(names).enumerate();
        let outputs = outputs.map(|(index, ((_, format, sink), name))| {
            Output::new(index, name.into(), Encoder::new(format), sink, None)
        });
        let filter = Filter::new(LevelFilter::Trace, Layers::default(), LevelFilter::Trace).unwrap();
        let filter = Arc::new(CurrentFilter::new(filter, LevelFilter::Trace, LevelFilter::Trace));
        // The writer is stepped by this thread; a thread that is no more stands for its own.
        queue.set_writer(crate::sync::thread::spawn(|| {}).thread().clone());
        let door = Arc::new(Door::new(queue.clone(), Box::new(NoRenewal)));
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        let on_event = Box::new(move |event: &Event| heard.lock().unwrap().push(event.clone()));
        Bench {
            writer: Writer::new(queue.clone(), outputs.collect(), Some(on_event)),
            logger: Logger::new(door.clone(), filter.clone()),
            handle: Handle::new(door, filter),
            queue,
            now: Now { wall: UNIX_EPOCH + Duration::from_secs(1_000_000_000), monotonic: born },
            next: 0,
            events,
        }
    }
}

pub(super) struct Bench {
    pub(super) writer: Writer,
    pub(super) logger: Logger,
    pub(super) handle: Handle,
    pub(super) queue: Arc<Queue>,
    pub(super) now: Now,
    /// The number of the next record.
    pub(super) next: u64,
    pub(super) events: Arc<Mutex<Vec<Event>>>,
}

impl Bench {
    /// Logs one record with the next number.
    pub(super) fn log(&mut self, level: Level) {
        self.log_padded(level, 40);
    }

    pub(super) fn log_padded(&mut self, level: Level, padding: usize) {
        let number = self.next;
        self.next += 1;
        let args = format_args!("record {number} {:-<padding$} end", "");
        self.logger.log(&Record::builder().args(args).level(level).target("bench").build());
    }

    /// Logs records of changing levels.
    pub(super) fn log_some(&mut self, count: u64) {
        for _ in 0..count {
            let level = [Level::Error, Level::Warn, Level::Info, Level::Debug][self.next as usize % 4];
            self.log(level);
        }
    }

    pub(super) fn step(&mut self) -> Turn {
        self.writer.step(self.now)
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.wall += time;
        self.now.monotonic += time;
    }

    /// Lets time pass in turns of 50 ms.
    pub(super) fn live(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while self.now.monotonic < end {
            self.pass(Duration::from_millis(50));
            self.step();
        }
    }

    pub(super) fn suspended(&self) -> bool {
        matches!(self.handle.state(), State::Suspended(_))
    }

    /// How often an output was suspended, and how often one resumed, by the events.
    pub(super) fn episodes(&self) -> (usize, usize) {
        let events = self.events.lock().unwrap();
        let suspended = events.iter().filter(|event| matches!(event, Event::Suspended { .. })).count();
        let resumed = events.iter().filter(|event| matches!(event, Event::Resumed { .. })).count();
        (suspended, resumed)
    }

    /// The identities of the account, for the whole and for each output.
    pub(super) fn assert_identity(&self, story: &str) {
        let stats = self.handle.stats();
        assert_eq!(stats.accepted, stats.written + stats.dropped.total() + stats.pending, "{story}: {stats:?}");
        for output in &stats.outputs {
            assert_eq!(output.offered, output.written + output.dropped.total() + output.pending, "{story}: {output:?}");
        }
        let by_level: u64 = Level::iter().map(|level| stats.dropped.by_level(level)).sum();
        assert_eq!(by_level, stats.dropped.total(), "{story}");
    }
}

/// What a log file holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The numbers of the records, as they stand.
    pub(super) records: Vec<u64>,
    /// Lines that are neither a whole record nor a line of the crate's own.
    pub(super) fragments: Vec<String>,
    /// What the lines of the crate's own say is lost, all together.
    pub(super) told: u64,
    /// How many gap lines there are.
    pub(super) gaps: usize,
}

/// Reads log files back, the oldest first.
pub(super) fn parse(files: &[Vec<u8>]) -> Parsed {
    let mut parsed = Parsed::default();
    for file in files {
        let text = String::from_utf8_lossy(file);
        for line in text.split_terminator('\n') {
            parsed.take(line);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            assert!(!parsed.fragments.is_empty(), "the last line has no newline: {text}");
        }
    }
    parsed
}

impl Parsed {
    fn take(&mut self, line: &str) {
        // Behind `2026-11-21T09:30:00.123456Z `.
        let rest = if line.as_bytes().get(26) == Some(&b'Z') { line.get(28..).unwrap_or("") } else { "" };
        if let Some(message) = rest.strip_prefix("WARN  unfazed: ") {
            let Some(lost) = lost_in(message) else {
                return;
            };
            self.told += lost;
            self.gaps += usize::from(message.starts_with("logging resumed"));
        } else if let Some(number) = record_in(rest) {
            self.records.push(number);
        } else {
            self.fragments.push(line.to_owned());
        }
    }

    /// No record twice, and in order.
    pub(super) fn assert_order(&self, story: &str) {
        assert!(
            self.records.is_sorted_by(|one, next| one < next),
            "{story}: not in order, or one twice: {:?}",
            self.records
        );
    }

    /// The numbers up to `next` that are not there.
    pub(super) fn missing(&self, next: u64) -> u64 {
        let there: BTreeSet<_> = self.records.iter().copied().collect();
        (0..next).filter(|number| !there.contains(number)).count() as u64
    }
}

/// `LEVEL bench: record 17 ----- end`, whole.
fn record_in(line: &str) -> Option<u64> {
    let message = line.get(6..)?.strip_prefix("bench: record ")?;
    let (number, padding) = message.strip_suffix(" end")?.split_once(' ')?;
    padding.bytes().all(|byte| byte == b'-').then(|| number.parse().ok())?
}

fn lost_in(message: &str) -> Option<u64> {
    let (before, _) = message.split_once(" records lost")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// All that the invariants of the design ask of one file on the fake disk, after the faults are over.
pub(super) fn assert_invariants(bench: &Bench, disk: &FakeDisk, story: &str) {
    let stats = bench.handle.stats();
    let parsed = parse(&disk.read_all());
    bench.assert_identity(story);
    assert_eq!(stats.pending, 0, "{story}");
    assert_eq!(stats.accepted, bench.next, "{story}");
    parsed.assert_order(story);
    assert_eq!(parsed.records.len() as u64, stats.written, "{story}: what is counted as written is in the file");
    assert_eq!(parsed.missing(bench.next), stats.dropped.total(), "{story}");
    assert_eq!(parsed.told, stats.dropped.total(), "{story}: the log tells exactly what is missing");
    let repair_failed = disk.world().faulted_ops.iter().any(|op| matches!(op, Op::Cut | Op::End | Op::Len | Op::Lock))
        || disk.world().locked_by_other;
    assert!(repair_failed || parsed.fragments.is_empty(), "{story}: {:?}", parsed.fragments);
}

/// Ends the fault and sees the log come back within two seconds, with the next record on the disk.
pub(super) fn assert_recovery(bench: &mut Bench, disk: &FakeDisk, story: &str) {
    disk.world().fault = None;
    let mut waited = Duration::ZERO;
    while bench.suspended() {
        assert!(waited < Duration::from_secs(2), "{story}: still {} after {waited:?}", bench.handle.state());
        bench.live(Duration::from_millis(50));
        waited += Duration::from_millis(50);
    }
    // Losses that are no gap are told every 5 s.
    bench.live(Duration::from_secs(6));
    let last = bench.next;
    bench.log(Level::Info);
    bench.step();
    assert_eq!(parse(&[disk.read(PATH)]).records.last(), Some(&last), "{story}: the next record is on the disk");
}
