//! A logger and a writer that is stepped. What must hold of what they leave behind is in
//! `invariants.rs`.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Record};

use crate::clock::system;
use crate::event::{Event, State};
use crate::format::{Encoder, Format};
use crate::front::filter::{CurrentFilter, Filter, Layers};
use crate::front::logger::Logger;
use crate::front::output_filters::OutputFilters;
use crate::handle::Handle;
use crate::queue::rate_limit::RateLimit;
use crate::queue::{Overflow, PerProcessPipeline, Pipeline, Renew};
use crate::record::Notice;
use crate::sink::file::Target;
use crate::sink::log_file::{FileOptions, Fsync};
use crate::sink::opened::OpenedSink;
use crate::sink::{Backlog, Now, OutputSink};
use crate::stats::{Counters, OutputCounters};
use crate::tests::fake_disk::FakeDisk;
use crate::wanted::{Levels, Offered, Wanted, Wanting};
use crate::writer::{Output, Step, Writer};

use super::invariants::{History, Ledger};

pub(super) const PATH: &str = "/logs/app.log";

/// Nobody forks here.
struct NoRenewal;

impl Renew for NoRenewal {
    fn pipeline(&self) -> Option<Arc<Pipeline>> {
        unreachable!("a forked bench")
    }

    fn start(&self, _queue: &Arc<Pipeline>) {}
}

/// What an output wants, its format, what it retains and lets wait, and its sink.
type OutputSetup = (Wanted, Format, (u64, Backlog), Box<dyn OutputSink>);

/// What a bench is built from.
pub(super) struct Setup {
    pub(super) capacity: usize,
    pub(super) overflow: Overflow,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) outputs: Vec<OutputSetup>,
    /// The last output stands in for the one before it.
    pub(super) last_stands_in: bool,
    /// What the first output says first of all.
    pub(super) opening: Option<Notice>,
    /// Where the archives of the first file are.
    pub(super) disk: Option<FakeDisk>,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self {
            capacity: 1024,
            overflow: Overflow::DropNewest,
            rate_limit: None,
            outputs: Vec::new(),
            last_stands_in: false,
            opening: None,
            disk: None,
        }
    }

    pub(super) fn sink(self, sink: impl OutputSink + 'static) -> Self {
        self.output(LevelFilter::Trace, Format::text(), sink)
    }

    pub(super) fn output(self, level: LevelFilter, format: Format, sink: impl OutputSink + 'static) -> Self {
        let wanted = Wanted { levels: Levels::up_to(level), ..Wanted::EVERYTHING };
        self.output_that_wants(wanted, format, sink)
    }

    pub(super) fn output_that_wants(mut self, wanted: Wanted, format: Format, sink: impl OutputSink + 'static) -> Self {
        self.outputs.push((wanted, format, (0, Backlog::default()), Box::new(sink)));
        self
    }

    /// The output that was added last retains so many bytes.
    pub(super) fn retain(mut self, bytes: u64) -> Self {
        self.outputs.iter_mut().next_back().unwrap().2.0 = bytes;
        self
    }

    /// The output that was added last has this backlog.
    pub(super) fn backlog(mut self, backlog: Backlog) -> Self {
        self.outputs.iter_mut().next_back().unwrap().2.1 = backlog;
        self
    }

    pub(super) fn file_with(mut self, disk: &FakeDisk, options: FileOptions) -> Self {
        self.disk.get_or_insert_with(|| disk.clone());
        let (retain, backlog) = (options.retain, options.backlog);
        self.sink(OpenedSink::new(disk.clone(), Target::Path(PATH.into()), options)).retain(retain).backlog(backlog)
    }

    pub(super) fn file(self, disk: &FakeDisk, min_free_space: Option<u64>, fsync: Fsync) -> Self {
        self.file_with(disk, FileOptions { min_free_space, fsync, ..FileOptions::default() })
    }

    pub(super) fn bench(self) -> Bench {
        let born = Instant::now();
        let names = ["a", "b", "c"];
        let mut filters = OutputFilters::new();
        let last = self.outputs.len().wrapping_sub(1);
        let counters = names.iter().zip(&self.outputs).enumerate().map(|(number, (name, (wanted, ..)))| {
            let offered = match self.last_stands_in && number == last {
                true => Offered { levels: wanted.levels, filtered: Some(Wanting::NOBODY), stands_in: true },
                false if wanted.has_filter() => filters.add(wanted).unwrap(),
                false => filters.add_plain(wanted.levels),
            };
            OutputCounters::new((*name).into(), offered, born)
        });
        let counters = Counters::new(counters.collect());
        let pipeline = Arc::new(Pipeline::new(self.capacity, self.overflow, Duration::ZERO, self.rate_limit, counters));
        let outputs = self.outputs.into_iter().enumerate();
        let mut opening = self.opening;
        let outputs = outputs.map(|(index, (_, format, (retain, backlog), sink))| {
            Output::new(index, pipeline.counters.outputs[index].clone(), Encoder::new(format), sink, opening.take())
                .retain(retain, backlog)
        });
        let filter = Filter::new(LevelFilter::Trace, Layers::default(), &filters.into()).unwrap();
        let filter = Arc::new(CurrentFilter::new(filter, false));
        // The writer is stepped by this thread; a thread that is no more stands for its own.
        static GONE: OnceLock<crate::sync::thread::Thread> = OnceLock::new();
        pipeline.set_writer(GONE.get_or_init(|| crate::sync::thread::spawn(|| {}).thread().clone()).clone());
        let per_process = Arc::new(PerProcessPipeline::new(pipeline.clone(), pipeline.clone(), Box::new(NoRenewal)));
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        let history = Arc::new(Mutex::new(History::of(self.disk)));
        let seen = history.clone();
        let on_event = Box::new(move |event: &Event| {
            seen.lock().unwrap().hear(event);
            heard.lock().unwrap().push(event.clone());
        });
        let logger = Logger::new(per_process, filter, None, None);
        Bench {
            writer: Writer::new(pipeline.clone(), outputs.collect(), Some(on_event)),
            handle: Handle::new(logger.core(), Arc::default()),
            logger,
            pipeline,
            now: Now { wall: UNIX_EPOCH + Duration::from_secs(1_000_000_000), monotonic: born },
            tells_records_the_time: false,
            next: 0,
            ledger: Ledger::default(),
            events,
            history,
            after_step: None,
        }
    }
}

pub(super) struct Bench {
    pub(super) writer: Writer,
    pub(super) logger: Logger,
    pub(super) handle: Handle,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) now: Now,
    /// Records are of the time that the writer is told, too.
    pub(super) tells_records_the_time: bool,
    /// The number of the next record.
    pub(super) next: u64,
    /// All that was logged.
    pub(super) ledger: Ledger,
    pub(super) events: Arc<Mutex<Vec<Event>>>,
    pub(super) history: Arc<Mutex<History>>,
    /// What must hold after each turn.
    pub(super) after_step: Option<Box<dyn Fn()>>,
}

impl Bench {
    /// Logs one record with the next number.
    pub(super) fn log(&mut self, level: Level) {
        self.log_padded(level, 40);
    }

    pub(super) fn log_padded(&mut self, level: Level, padding: usize) {
        let number = self.next;
        self.next += 1;
        self.ledger.note(number, 0, level, self.tells_records_the_time.then_some(self.now.wall));
        let args = format_args!("record {number} {:-<padding$} end", "");
        self.hand_in(&Record::builder().args(args).level(level).target("bench").build());
    }

    /// Gives a record to the logger.
    pub(super) fn hand_in(&self, record: &Record<'_>) {
        system::set(self.tells_records_the_time.then_some(self.now.wall));
        self.logger.log(record);
        system::set(None);
    }

    /// Logs records of changing levels.
    pub(super) fn log_some(&mut self, count: u64) {
        for _ in 0..count {
            let level = [Level::Error, Level::Warn, Level::Info, Level::Debug][self.next as usize % 4];
            self.log(level);
        }
    }

    pub(super) fn step(&mut self) -> Step {
        system::set(Some(self.now.wall));
        let step = self.writer.step(self.now);
        system::set(None);
        self.after_step.iter().for_each(|holds| holds());
        step
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
    pub(super) fn suspensions(&self) -> (usize, usize) {
        let events = self.events.lock().unwrap();
        let suspended = events.iter().filter(|event| matches!(event, Event::Suspended { .. })).count();
        let resumed = events.iter().filter(|event| matches!(event, Event::Resumed { .. })).count();
        (suspended, resumed)
    }
}
