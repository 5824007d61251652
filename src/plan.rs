//! `Plan`: how a pipeline is made, and made again in a forked child; starts the writer's thread.
//! Runs on the thread that sets the logger up, and in a forked child on the thread of its first log
//! call.
//!
//! A plan is immutable and says how a pipeline (queue, writer, outputs) is made, so that it can be
//! made a second time. What exists only once (a sink of the program's own, its event callback) goes
//! to the first one.

mod look;
mod outputs;
mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Timeline;
use crate::disk::{RealDisk, Rights};
use crate::event::EventHook;
use crate::format::{Encoder, Format};
use crate::front::captured::Captured;
use crate::front::filter_doubts::FilterDoubts;
use crate::os;
use crate::queue::rate_limit::{Limit, RateLimit};
use crate::queue::{Overflow, Pipeline, Renew, memory_for};
use crate::sink::file::Target;
use crate::sink::file::archive_name::is_archive;
#[cfg(all(feature = "journald", target_os = "linux"))]
use crate::sink::journald;
use crate::sink::log_file::{Access, Account, FileOptions};
use crate::sink::opened::OpenedSink;
#[cfg(all(feature = "syslog", unix))]
use crate::sink::socket::SystemConnection;
#[cfg(all(feature = "syslog", unix))]
use crate::sink::syslog;
use crate::sink::{Backlog, OutputSink, Sink};
use crate::stats::{Counters, OutputCounters};
use crate::wanted::{Levels, Offered};
use crate::watch::Watch;
use crate::writer::{Output, Writer};

pub(crate) use look::Look;
pub(crate) use outputs::{Destination, Filtering, OutputOptions, output_names, plan_outputs};
pub(crate) use start::start;

/// The memory that a logger needs in addition to what is allocated in one piece: counters, the call
/// sites of a rate limit, the outputs.
const OTHER_MEMORY: usize = 256 << 10;

/// How a pipeline is made.
pub(crate) struct Plan {
    pub(crate) outputs: Vec<PlannedOutput>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    /// Shared with the code that changes it.
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) watch: Option<Watch>,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) flush_on_crash: bool,
    /// Callers take the time from the processor's counter.
    pub(crate) by_counter: bool,
}

/// An output of a plan, whose options are in their ranges.
#[derive(Clone)]
pub(crate) struct PlannedOutput {
    name: Arc<str>,
    offered: Offered,
    format: Format,
    destination: Destination,
}

impl PlannedOutput {
    /// Returns the encoder of its format. Made again in a forked child, which may have another
    /// terminal, or none.
    fn encoder(&self) -> Encoder {
        let colored = match &self.destination {
            Destination::Console(console) => console.color.suits(console.stream),
            _ => false,
        };
        Encoder::new(self.format.clone().colored(colored))
    }

    /// Makes the sink. A sink of the program's own exists only once.
    fn sink(&self, once: &mut Once) -> Option<Box<dyn OutputSink>> {
        let (disk, target, options) = match &self.destination {
            Destination::File { path, options } => {
                (RealDisk::new(rights(&options.access), is_archive), Target::Path(path.clone()), options.clone())
            }
            Destination::Console(console) => {
                let options = FileOptions::default();
                (RealDisk::new(Rights::default(), is_archive), Target::Stream(console.stream), options)
            }
            #[cfg(all(feature = "syslog", unix))]
            Destination::Syslog(syslog) => {
                return Some(Box::new(syslog::sink::<SystemConnection>(syslog.to.clone())));
            }
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Destination::Journald(journald) => {
                return Some(Box::new(journald::sink::<SystemConnection>(journald.path.clone())));
            }
            Destination::Sink { place, .. } => {
                let sink = once.sinks.get_mut(*place).and_then(Option::take)?;
                return Some(Box::new(sink));
            }
        };
        Some(Box::new(OpenedSink::new(disk, target, options)))
    }

    /// Returns the number of bytes that it may retain while it is suspended, and its backlog for a
    /// slow reader. A sink of the program's own retains nothing.
    fn retain(&self) -> (u64, Backlog) {
        match &self.destination {
            Destination::File { options, .. } => (options.retain, options.backlog),
            Destination::Console(console) => (console.backlog.bytes, console.backlog),
            #[cfg(all(feature = "syslog", unix))]
            Destination::Syslog(syslog) => (syslog.backlog.bytes, syslog.backlog),
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Destination::Journald(journald) => (journald.backlog.bytes, journald.backlog),
            Destination::Sink { .. } => (0, Backlog { bytes: 0, ..Backlog::default() }),
        }
    }

    /// Returns what prints its records for a test harness.
    pub(crate) fn captured(&self) -> Captured {
        Captured::new(self.offered, self.format.clone())
    }
}

/// Returns the paths of the files that outputs write to.
pub(crate) fn paths(outputs: &[PlannedOutput]) -> Vec<PathBuf> {
    let path = |output: &PlannedOutput| match &output.destination {
        Destination::File { path, .. } => Some(path.clone()),
        _ => None,
    };
    outputs.iter().filter_map(path).collect()
}

/// Returns the mode and owner of files that are created.
fn rights(access: &Access) -> Rights {
    let number = |account: &Option<Account>| match account {
        Some(Account::Numbered(id)) => Some(*id),
        Some(Account::Named(_)) | None => None,
    };
    Rights { mode: access.mode, owner: number(&access.owner), group: number(&access.group) }
}

/// Returns true if there is memory for what a pipeline allocates in a way that ends the process if
/// there is none.
pub(crate) fn has_memory_for(capacity: usize, overflow: Overflow) -> bool {
    os::has_memory(memory_for(capacity, overflow).saturating_add(OTHER_MEMORY))
}

/// What only the first pipeline gets.
#[derive(Default)]
pub(crate) struct Once {
    pub(crate) sinks: Vec<Option<Box<dyn Sink>>>,
    pub(crate) on_event: Option<EventHook>,
    /// What the first line of each output reports.
    pub(crate) opening: Option<FilterDoubts>,
}

impl Plan {
    /// Makes the smallest pipeline that has the accounts of a forked child, and ends it.
    pub(crate) fn spare_pipeline(&self) -> Pipeline {
        let smallest = Self { outputs: Vec::new(), capacity: 1, limit: None, watch: None, ..*self };
        let pipeline = smallest.pipeline_for(&self.inherited());
        pipeline.end();
        pipeline
    }

    /// Returns the outputs that a forked child has, too: a sink of the program's own stays with the
    /// parent.
    fn inherited(&self) -> Vec<PlannedOutput> {
        let inherited = self.outputs.iter().filter(|output| !matches!(output.destination, Destination::Sink { .. }));
        inherited.cloned().collect()
    }

    pub(crate) fn pipeline_for(&self, outputs: &[PlannedOutput]) -> Pipeline {
        let born = Instant::now();
        let outputs = outputs.iter().map(|output| OutputCounters::new(output.name.clone(), output.offered, born));
        let rate_limit = self.limit.clone().map(RateLimit::new);
        let counters = Counters::new(outputs.collect());
        Pipeline::new(self.capacity, self.overflow, self.shutdown_timeout, rate_limit, counters)
            .flush_on_crash(self.flush_on_crash)
    }

    /// Makes the writer of a pipeline, with the outputs that can be made: a sink of the program's
    /// own is there only once.
    pub(crate) fn writer(&self, pipeline: Arc<Pipeline>, mut once: Once) -> Writer {
        let mut outputs = Vec::new();
        for planned in &self.outputs {
            let Some(sink) = planned.sink(&mut once) else { continue };
            let is_off = planned.offered.levels == Levels::NONE;
            let opening = once.opening.as_ref().filter(|_| !is_off).and_then(FilterDoubts::notice);
            let counters = pipeline.counters.outputs[outputs.len()].clone();
            let output = Output::new(outputs.len(), counters, planned.encoder(), sink, opening);
            let (bytes, backlog) = planned.retain();
            outputs.push(output.retain(bytes, backlog));
        }
        let mut writer = Writer::new(pipeline, outputs, once.on_event);
        writer.follow(self.watch.clone());
        if let Some(timeline) = self.by_counter.then(Timeline::new).flatten() {
            writer.keep_time(timeline);
        }
        writer
    }
}

/// Makes the pipeline of a forked child at its first log call, with all outputs except the
/// program's own sinks: these and the event callback stay with the parent. Takes no lock that
/// another thread of the parent may have held.
impl Renew for Plan {
    fn pipeline(&self) -> Option<Arc<Pipeline>> {
        if !has_memory_for(self.capacity, self.overflow) {
            return None;
        }
        Some(Arc::new(self.pipeline_for(&self.inherited())))
    }

    fn start(&self, pipeline: &Arc<Pipeline>) {
        match start(pipeline.clone(), self.writer(pipeline.clone(), Once::default()), Look::skipped()) {
            // The log call does not wait: the outputs are opened while it goes on.
            Ok(ready) => drop(ready.begin()),
            // The state says `Closed`, and what is logged is counted.
            Err(_) => pipeline.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::console::Console;
    use crate::sink::log_file::LogFile;
    use crate::wanted::Wanted;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_file_and_a_console_retain_what_their_options_say_and_a_sink_retains_nothing() {
        let file = |file: LogFile| Destination::File { path: file.path, options: file.options };
        let destinations = [
            (file(LogFile::new("a.log")), (64 << 10, 1 << 20, 5)),
            (file(LogFile::new("b.log").retain(0).backlog(7).patience(2 * SECOND)), (0, 7, 2)),
            (file(LogFile::new("c.log").retain(1 << 30)), (1 << 30, 1 << 20, 5)),
            (Destination::Console(Console::stderr()), (1 << 20, 1 << 20, 5)),
            (Destination::Console(Console::stdout().backlog(1 << 30).patience(SECOND)), (1 << 30, 1 << 30, 1)),
            (Destination::Sink { name: "own".into(), place: 0 }, (0, 0, 5)),
        ];
        let (destinations, expected): (Vec<_>, Vec<_>) = destinations.into_iter().unzip();
        let options =
            |destination| OutputOptions { wanted: Wanted::EVERYTHING, format: None, destination, stands_in: false };
        let outputs = destinations.into_iter().map(options).collect();
        let (planned, _) = plan_outputs(outputs, &Format::default(), Filtering::Fixed).unwrap();
        let retained = planned.iter().map(|output| {
            let (retain, backlog) = output.retain();
            (retain, backlog.bytes, backlog.patience.as_secs())
        });
        assert_eq!(retained.collect::<Vec<_>>(), expected);
    }
}
