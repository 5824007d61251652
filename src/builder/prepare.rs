//! The step from the options of a `Builder` to a logger: checks the options, reads the environment,
//! and joins the parts. Runs on the thread that sets the logger up; the checks also run on the
//! writer's thread when a followed file has changed.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{FilterError, InitError};
use crate::format::Format;
use crate::front::filter::{CurrentFilter, Filter, Layers, split_env};
use crate::front::filter_doubts::FilterDoubts;
use crate::front::logger::Logger;
use crate::handle::Handle;
use crate::log_files::LogFiles;
use crate::os;
use crate::plan::{
    Destination, Filtering, Look, Once, OutputOptions, Plan, has_memory_for, output_names, paths, plan_outputs, start,
};
use crate::queue::rate_limit::Limit;
use crate::queue::{PerProcessPipeline, Pipeline};
use crate::wanted::Wanted;
use crate::watch::{Follow, Watch};
use crate::writer::Writer;

use super::live::{Live, Watched};
use super::{Builder, QueueOptions};

/// The most records a queue may hold: 1 Mi, which take about 264 MiB.
const MOST_CAPACITY: usize = 1 << 20;
/// The intervals that a rate limit may have.
const RATE_LIMIT_PER: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
/// The interval of a limit that is off: the writer reports this often what the limit suppressed
/// before.
const NO_LIMIT_PER: Duration = Duration::from_secs(1);

impl Builder {
    /// Makes a logger whose thread does not run yet.
    ///
    /// # Errors
    ///
    /// An [`InitError`] that names the option or the output; nothing is left behind.
    pub(super) fn prepare(self) -> Result<(Prepared, Logger, Handle), InitError> {
        if self.outputs.is_empty() {
            return Err(InitError::NoOutput);
        }
        self.check_queue()?;
        self.check_memory()?;
        let (directives, doubts) = self.directives();
        let environment = directives.get(usize::from(self.filter.directives.is_some())).cloned();
        let wanted = self.wanted();
        let filtering = if self.watch.is_some() { Filtering::MayChange } else { Filtering::Fixed };
        let (outputs, filters) = plan_outputs(self.outputs, &self.format, filtering)?;
        let layers = Layers { set: directives, pushed: Vec::new() };
        let filter = Filter::new(self.filter.level, layers, &Arc::new(filters)).map_err(InitError::Filter)?;
        let filter = Arc::new(CurrentFilter::new(filter, self.captured.is_some()));
        let (records, per) = self.queue.limit();
        let limit = (self.queue.rate_limit.is_some() || self.watch.is_some()).then(|| Limit::new(records, per));
        let watch = self.watch.zip(limit.clone()).map(|(watched, limit)| {
            let of_file_alone = watched.outputs == Some(outputs.len());
            watch(watched, Live { filter: filter.clone(), limit, outputs: wanted, of_file_alone, environment })
        });
        let log_files = Arc::new(LogFiles::new(paths(&outputs)));
        let captured = self.captured.map(|place| outputs[place].captured());
        let plan = Plan {
            outputs,
            capacity: self.queue.capacity,
            overflow: self.queue.overflow,
            limit,
            watch,
            shutdown_timeout: self.end.shutdown_timeout,
            flush_on_crash: self.end.flush_on_crash,
            // The limit for each location reads the time itself.
            by_counter: self.queue.rate_limit.is_none() && os::counter_keeps_time(),
        };
        let once =
            Once { sinks: self.sinks.into_iter().map(Some).collect(), on_event: self.on_event, opening: Some(doubts) };
        let look = Look::new(&plan.outputs, self.require_outputs);
        let pipeline = Arc::new(plan.pipeline_for(&plan.outputs));
        let writer = plan.writer(pipeline.clone(), once);
        let per_process =
            Arc::new(PerProcessPipeline::new(pipeline.clone(), Arc::new(plan.spare_pipeline()), Box::new(plan)));
        let logger = Logger::new(per_process, filter.clone(), self.context, captured);
        let handle = Handle::new(logger.core(), log_files);
        Ok((Prepared { pipeline, writer, filter, look, require_outputs: self.require_outputs }, logger, handle))
    }

    /// Checks the options of the queue.
    pub(super) fn check_queue(&self) -> Result<(), InitError> {
        let range = |option, value, range| Err(InitError::Option { option, value, range });
        let QueueOptions { capacity, rate_limit, .. } = self.queue;
        if !(1..=MOST_CAPACITY).contains(&capacity) {
            return range("capacity", capacity.to_string(), "from 1 to 1048576 records");
        }
        match rate_limit {
            Some((0, _)) => range("rate_limit", "0 records".into(), "at least 1 record"),
            Some((_, per)) if !RATE_LIMIT_PER.contains(&per) => {
                range("rate_limit", format!("{per:?}"), "an interval from 1 ms to 1 h")
            }
            _ => Ok(()),
        }
    }

    /// Checks that there is memory for the queue.
    fn check_memory(&self) -> Result<(), InitError> {
        let QueueOptions { capacity, overflow, .. } = self.queue;
        if has_memory_for(capacity, overflow) { Ok(()) } else { Err(InitError::Memory { records: capacity }) }
    }

    /// Returns the name of each output that stands in for no other, and what it wants.
    pub(super) fn wanted(&self) -> Vec<(Arc<str>, Wanted)> {
        let named = output_names(&self.outputs).into_iter().zip(&self.outputs);
        named.filter(|(_, output)| !output.stands_in).map(|(name, output)| (name, output.wanted.clone())).collect()
    }

    /// Checks the outputs that a changed file names, as `build` does. Only looks: nothing is opened
    /// or created.
    pub(super) fn check_outputs(mut outputs: Vec<OutputOptions>, format: &Format) -> Result<(), InitError> {
        for output in &mut outputs {
            if let Destination::File { options, .. } = &mut output.destination {
                // Only a start asks for users and groups: by now the program may live in a jail,
                // and in a forked child the C library may wait for a lock that nobody gives back.
                (options.access.owner, options.access.group) = (None, None);
            }
        }
        let (planned, _) = plan_outputs(outputs, format, Filtering::MayChange)?;
        Look::new(&planned, false).check_all()
    }

    /// Returns the directives of the program and those of the environment that can be parsed, and
    /// what is doubtful in them or in the filters of the outputs.
    fn directives(&self) -> (Vec<String>, FilterDoubts) {
        let mut directives: Vec<String> = self.filter.directives.iter().cloned().collect();
        let mut doubts = FilterDoubts::of(self.doubtful());
        let set = self.filter.variable.as_ref().and_then(|variable| Some((variable, std::env::var_os(variable)?)));
        if let Some((variable, text)) = set {
            let (good, skipped) = match text.to_str() {
                Some(text) => split_env(text),
                None => {
                    let why = "it is not UTF-8".to_owned();
                    (String::new(), vec![FilterError { directives: text.to_string_lossy().into_owned(), why }])
                }
            };
            doubts = doubts.and([good.as_str()]).skipped(variable, skipped);
            directives.push(good);
        }
        (directives, doubts)
    }

    /// Returns each text of directives that the program or a file has written.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = &str> {
        let outputs = self.outputs.iter().filter_map(|output| output.wanted.directives.as_deref());
        self.filter.directives.as_deref().into_iter().chain(outputs)
    }
}

impl QueueOptions {
    /// Returns the number of records that each location may log in each interval; zero is no limit.
    pub(super) fn limit(&self) -> (u32, Duration) {
        self.rate_limit.unwrap_or((0, NO_LIMIT_PER))
    }
}

/// Returns the watch of a file, whose changes `live` follows.
fn watch(Watched { path, read, .. }: Watched, live: Live) -> Watch {
    let follow: Follow = Arc::new(move |text| Ok(live.follow(read(text)?)?));
    // Without a current directory the path stays as it is, and the first look reports the error.
    Watch::new(std::path::absolute(&path).unwrap_or(path), follow)
}

/// A pipeline whose thread does not run yet.
pub(super) struct Prepared {
    pipeline: Arc<Pipeline>,
    pub(super) writer: Writer,
    filter: Arc<CurrentFilter>,
    look: Look,
    require_outputs: bool,
}

impl Prepared {
    /// Starts the thread, and calls `install` once nothing else can fail, to make the logger the
    /// program's.
    ///
    /// # Errors
    ///
    /// That of an output, or of `install`; nothing is left behind.
    pub(super) fn begin(self, install: impl FnOnce(&CurrentFilter) -> Result<(), InitError>) -> Result<(), InitError> {
        let ready = start(self.pipeline, self.writer, self.look)?;
        if !self.require_outputs {
            let (ready, time_left) = ready.look()?;
            // Should this fail, `ready` is dropped: the thread ends without having opened anything.
            install(&self.filter)?;
            ready.begin().wait(time_left);
            return Ok(());
        }
        let (ready, files, time_left) = ready.look_at_all()?;
        let opened = ready.begin_with_all_outputs(files, time_left)?;
        if let Err(error) = install(&self.filter) {
            opened.undo();
            return Err(error);
        }
        opened.go_on();
        Ok(())
    }
}
