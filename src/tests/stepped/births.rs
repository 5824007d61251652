//! A sink of the program that gets records of threads and records that were born in another
//! logger's output, takes what it likes, and logs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use log::Level;

use crate::event::Cause;
use crate::front::logger::Core;
use crate::queue::Overflow;
use crate::queue::origin::{self, OutputId};
use crate::sink::{Batch, Now, OutputSink, WriteError};

use super::bench::{Bench, Setup};
use super::invariants::parse;

/// An output of another logger.
const ELSEWHERE: OutputId = OutputId { pipeline: 1, index: 0 };

#[derive(Clone, Default)]
struct Moody {
    shared: Arc<Mutex<Shared>>,
    core: Arc<OnceLock<Weak<Core>>>,
}

struct Shared {
    kept: Vec<u8>,
    /// The records of each batch.
    batches: Vec<Vec<u64>>,
    /// In percent, how often it refuses.
    refuses: u32,
    random: fastrand::Rng,
}

impl Default for Shared {
    fn default() -> Self {
        Self { kept: Vec::new(), batches: Vec::new(), refuses: 0, random: fastrand::Rng::with_seed(0) }
    }
}

impl Shared {
    fn refuses(&mut self) -> bool {
        self.random.u32(0..100) < self.refuses
    }
}

impl OutputSink for Moody {
    fn is_programs(&self) -> bool {
        true
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        if let Some(core) = self.core.get().and_then(Weak::upgrade) {
            core.log(&log::Record::builder().args(format_args!("own")).level(Level::Error).target("own").build(), None);
        }
        let mut shared = self.shared.lock().unwrap();
        shared.batches.push(parse(&[batch.bytes().to_vec()]).records);
        let refuses = shared.refuses();
        let takes = if refuses { shared.random.usize(0..=batch.len()) } else { batch.len() };
        for line in batch.lines().take(takes) {
            shared.kept.extend_from_slice(line.bytes());
        }
        if refuses { Err(WriteError::new(takes, Cause::Io)) } else { Ok(()) }
    }

    fn retry(&mut self, _: Now) -> Result<(), WriteError> {
        if self.shared.lock().unwrap().refuses() { Err(WriteError::new(0, Cause::Io)) } else { Ok(()) }
    }
}

/// Logs some records of both births in any order, and returns those born in the other logger.
fn log_both(bench: &mut Bench, random: &mut fastrand::Rng) -> BTreeSet<u64> {
    let mut born_elsewhere = BTreeSet::new();
    for _ in 0..random.usize(0..30) {
        let level = [Level::Error, Level::Warn, Level::Info][random.usize(0..3)];
        if random.bool() {
            born_elsewhere.insert(bench.next);
            origin::inside(ELSEWHERE, false, || bench.log(level));
        } else {
            bench.log(level);
        }
    }
    born_elsewhere
}

#[test]
fn records_of_both_births_are_counted_and_in_order_whatever_the_sink_refuses() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let overflow = if random.bool() { Overflow::DropNewest } else { Overflow::DropOldest };
        let sink = Moody::default();
        *sink.shared.lock().unwrap() =
            Shared { refuses: random.u32(0..40), random: random.fork(), ..Shared::default() };
        let setup = Setup { capacity: if random.bool() { 16 } else { 1024 }, overflow, ..Setup::new() };
        let mut bench = setup.sink(sink.clone()).bench();
        if random.bool() {
            sink.core.set(Arc::downgrade(bench.logger.core())).unwrap();
        }
        let mut born_elsewhere = BTreeSet::new();
        for _ in 0..random.usize(5..40) {
            born_elsewhere.extend(log_both(&mut bench, &mut random));
            let (before, story) = (sink.shared.lock().unwrap().batches.len(), format!("seed {seed}"));
            let is_healthy = !bench.suspended();
            bench.step();
            let batches = sink.shared.lock().unwrap().batches.len() - before;
            assert!(batches <= 2 || !is_healthy, "{story}: {batches} batches of one turn");
            bench.assert_identity(&story);
            bench.live(Duration::from_millis(random.u64(0..1500)));
            bench.assert_identity(&story);
        }
        sink.shared.lock().unwrap().refuses = 0;
        bench.live(Duration::from_secs(60));
        bench.assert_identity(&format!("the end of seed {seed}"));
        let (shared, stats) = (sink.shared.lock().unwrap(), bench.handle.stats());
        for batch in &shared.batches {
            let elsewhere = batch.iter().filter(|number| born_elsewhere.contains(number)).count();
            assert!(elsewhere == 0 || elsewhere == batch.len(), "seed {seed}: both births in one batch: {batch:?}");
        }
        let parsed = parse(std::slice::from_ref(&shared.kept));
        let (elsewhere, threads) =
            parsed.records.iter().partition::<Vec<&u64>, _>(|number| born_elsewhere.contains(number));
        assert!(elsewhere.is_sorted_by(|a, b| a < b) && threads.is_sorted_by(|a, b| a < b), "seed {seed}");
        assert_eq!((parsed.records.len() as u64, stats.pending), (stats.written, 0), "seed {seed}");
        assert_eq!(parsed.told, stats.dropped.total(), "seed {seed}");
    }
}
