//! Seeded chaos for outputs that want different records: each with levels, directives or a closure,
//! the last one perhaps a stand-in for the one before it; disks that fail and recover in any order,
//! and filters that change. What each output must have is computed apart from the crate's filters.
//!
//! ```sh
//! UNFAZED_ROUTED_SEEDS=100000 cargo test --lib stepped::routed     # instead of five hundred
//! UNFAZED_ROUTED_SEED=17 cargo test --lib stepped::routed          # one of them
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use log::{Level, LevelFilter, Record};

use super::bench::{Bench, Setup};
use crate::format::Format;
use crate::queue::Overflow;
use crate::sink::file::{FileSink, Target};
use crate::sink::log_file::FileOptions;
use crate::tests::fake_disk::{FakeDisk, Fault, Op};
use crate::wanted::{Levels, Wanted};

const TARGETS: [&str; 4] = ["app", "app::db", "access", "sqlx"];
const LEVELS: [LevelFilter; 6] = [
    LevelFilter::Off,
    LevelFilter::Error,
    LevelFilter::Warn,
    LevelFilter::Info,
    LevelFilter::Debug,
    LevelFilter::Trace,
];

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}

/// Directives, as pairs; the target without a name is the base.
#[derive(Clone, Debug)]
struct Directives(Vec<(&'static str, LevelFilter)>);

impl Directives {
    fn any(rng: &mut Rng) -> Self {
        let mut directives = Vec::new();
        if rng.bool() {
            directives.push(("", one_of(rng, &LEVELS)));
        }
        for target in TARGETS {
            if rng.u32(..3) == 0 {
                directives.push((target, one_of(rng, &LEVELS)));
            }
        }
        if directives.is_empty() {
            directives.push(("", LevelFilter::Trace));
        }
        Self(directives)
    }

    fn text(&self) -> String {
        let one = |(target, level): &(&str, LevelFilter)| match *target {
            "" => level.to_string(),
            target => format!("{target}={level}"),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// The longest name that the target begins with counts; without any the level `otherwise`.
    fn take(&self, target: &str, level: Level, otherwise: LevelFilter) -> bool {
        let named = self.0.iter().filter(|(name, _)| target.starts_with(name));
        let nearest = named.max_by_key(|(name, _)| name.len());
        level <= nearest.map_or(otherwise, |(_, level)| *level)
    }
}

/// What an output wants, as a test knows it.
#[derive(Clone, Debug)]
struct Wish {
    least: LevelFilter,
    most: LevelFilter,
    directives: Option<Directives>,
    /// The only target that its closure says yes to.
    closure: Option<&'static str>,
}

impl Wish {
    fn any(rng: &mut Rng) -> Self {
        let (a, b) = (one_of(rng, &LEVELS[1..]), one_of(rng, &LEVELS[1..]));
        let (least, most) = if rng.bool() { (LevelFilter::Error, LevelFilter::Trace) } else { (a.min(b), a.max(b)) };
        let directives = rng.bool().then(|| Directives::any(rng));
        let closure = (rng.u32(..4) == 0).then(|| one_of(rng, &TARGETS));
        Self { least, most, directives, closure }
    }

    fn takes(&self, target: &str, level: Level) -> bool {
        let directives = self.directives.as_ref();
        (self.least..=self.most).contains(&level.to_level_filter())
            && directives.is_none_or(|directives| directives.take(target, level, LevelFilter::Off))
            && self.closure.is_none_or(|only| only == target)
    }

    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted { levels: Levels::within(&(self.least..=self.most)), ..Wanted::EVERYTHING };
        wanted.directives = self.directives.as_ref().map(Directives::text);
        wanted.judge = self.closure.map(|only| -> crate::wanted::Judge {
            Arc::new(move |metadata: &log::Metadata<'_>| metadata.target() == only)
        });
        wanted
    }
}

/// What happened in all seeds together.
#[derive(Debug, Default)]
struct Seen {
    by_stand_ins: u64,
    suspensions: u64,
    full_queues: u64,
    refused: u64,
}

/// A logger whose outputs want different records.
struct Routed {
    rng: Rng,
    bench: Bench,
    disks: Vec<FakeDisk>,
    wishes: Vec<Wish>,
    last_stands_in: bool,
    directives: Directives,
    /// Of each record that passes: its level, and the outputs that want it.
    logged: Vec<(Level, Vec<bool>)>,
    steps: Vec<String>,
}

impl Routed {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = 1 + rng.usize(..3);
        let last_stands_in = count > 1 && rng.bool();
        let mut wishes: Vec<Wish> = (0..count).map(|_| Wish::any(&mut rng)).collect();
        if last_stands_in {
            // A stand-in is asked for nothing, except its levels.
            let stand_in = &mut wishes[count - 1];
            (stand_in.directives, stand_in.closure) = (None, None);
        }
        let overflow = one_of(&mut rng, &[Overflow::DropNewest, Overflow::DropOldest]);
        let capacity = one_of(&mut rng, &[8, 32, 1024]);
        let mut setup = Setup { overflow, capacity, last_stands_in, ..Setup::new() };
        let mut disks = Vec::new();
        for (number, wish) in wishes.iter().enumerate() {
            let disk = FakeDisk::with_capacity(1 << 20);
            let options =
                FileOptions { min_free_space: Some(0), error_reserve: 0, retain: 0, ..FileOptions::default() };
            let sink = FileSink::new(disk.clone(), Target::Path(path(number).into()), options);
            let retain = one_of(&mut rng, &[0, 300, 1 << 16]);
            setup = setup.output_that_wants(wish.wanted(), Format::text(), sink).retain(retain);
            disks.push(disk);
        }
        let steps = vec![format!("{wishes:?}, the last stands in: {last_stands_in}, {overflow:?}, {capacity}")];
        let directives = Directives(vec![("", LevelFilter::Trace)]);
        Self { rng, bench: setup.bench(), disks, wishes, last_stands_in, directives, logged: Vec::new(), steps }
    }

    fn play(&mut self) {
        for _ in 0..self.rng.usize(20..60) {
            match self.rng.u32(..10) {
                0..=4 => self.log(),
                5 | 6 => drop(self.bench.step()),
                7 => {
                    let time = Duration::from_millis(self.rng.u64(1..1500));
                    self.steps.push(format!("{time:?} pass"));
                    self.bench.live(time);
                }
                8 => {
                    let (number, errno) = (self.rng.usize(..self.disks.len()), one_of(&mut self.rng, &[0, 28, 5]));
                    self.steps.push(format!("disk {number}: errno {errno}"));
                    self.fail(number, errno);
                }
                _ => {
                    self.directives = Directives::any(&mut self.rng);
                    let text = self.directives.text();
                    self.steps.push(format!("the filter is {text}"));
                    self.bench.handle.set_filter(&text).unwrap();
                }
            }
            self.bench.assert_identity("on the way");
        }
    }

    /// Has every write to a disk fail, or none.
    fn fail(&self, number: usize, errno: i32) {
        let fault = Fault { at: 1, only: Some(Op::Write), forever: true, errno };
        self.disks[number].world().fault = (errno != 0).then_some(fault);
    }

    fn log(&mut self) {
        for _ in 0..self.rng.usize(1..12) {
            let target = one_of(&mut self.rng, &TARGETS);
            let level = one_of(&mut self.rng, &[Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace]);
            let passes = self.directives.take(target, level, LevelFilter::Trace);
            let wanting: Vec<bool> = self.wishes.iter().map(|wish| passes && wish.takes(target, level)).collect();
            let own = wanting.len() - usize::from(self.last_stands_in);
            let number = self.logged.len();
            if wanting[..own].contains(&true) {
                self.logged.push((level, wanting));
            }
            let mut record = Record::builder();
            record.target(target).module_path_static(Some(target)).level(level);
            self.bench.hand_in(&record.args(format_args!("record {number}")).build());
        }
    }

    fn end(&mut self, seen: &mut Seen) {
        for number in 0..self.disks.len() {
            self.fail(number, 0);
        }
        // A queue that overflowed is reported every 5 s at most.
        self.bench.live(Duration::from_secs(20));
        assert!(!self.bench.suspended(), "not back");
        let stats = self.bench.handle.stats();
        assert_eq!((stats.accepted, stats.pending), (self.logged.len() as u64, 0), "{stats:?}");
        let mut written = BTreeSet::new();
        for (number, output) in stats.outputs.iter().enumerate() {
            let text = String::from_utf8(self.disks[number].read(&path(number))).unwrap();
            let (records, told) = read(&text);
            let stands_in = self.last_stands_in && number + 1 == self.disks.len();
            let wants = |index: usize| {
                let (level, wanting) = &self.logged[index];
                wanting[number] && (!stands_in || *level <= Level::Warn && wanting[number - 1])
            };
            for pair in records.windows(2) {
                assert!(pair[0] < pair[1], "output {number}: {} stands after {}", pair[1], pair[0]);
            }
            assert!(records.iter().all(|index| wants(*index)), "output {number} has what it does not want: {text}");
            assert_eq!(records.len() as u64, output.written, "output {number}: {text}");
            assert_eq!(told, output.dropped.total(), "output {number}: what it reports as dropped: {text}");
            if !stands_in {
                let wanted = (0..self.logged.len()).filter(|index| wants(*index)).count() as u64;
                assert_eq!(output.offered, wanted, "output {number}");
            }
            seen.by_stand_ins += if stands_in { output.written } else { 0 };
            seen.suspensions += output.suspensions;
            written.extend(records);
        }
        seen.full_queues += stats.dropped.queue_full;
        seen.refused += stats.dropped.total() - stats.dropped.queue_full;
        assert_eq!(stats.written, written.len() as u64);
        self.bench.assert_identity("in the end");
    }
}

fn path(number: usize) -> String {
    format!("/logs/{number}.log")
}

/// The records that a file has, and how many it says are dropped.
fn read(text: &str) -> (Vec<usize>, u64) {
    let (mut records, mut told) = (Vec::new(), 0);
    for line in text.lines() {
        match line.split_once(" unfazed: ") {
            Some((_, notice)) => {
                let before = notice.split_once(" dropped").map(|(before, _)| before);
                told += before.and_then(|before| before.rsplit(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
            }
            None => {
                let (_, number) = line.rsplit_once(": record ").unwrap_or_else(|| panic!("{line}"));
                records.push(number.parse().unwrap());
            }
        }
    }
    (records, told)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn each_output_has_what_it_wants_or_reports_it_whatever_fails() {
    let seeds = match number("UNFAZED_ROUTED_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("UNFAZED_ROUTED_SEEDS").unwrap_or(500),
    };
    let (count, mut seen) = (seeds.end - seeds.start, Seen::default());
    for seed in seeds {
        let mut routed = Routed::new(seed);
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            routed.play();
            routed.end(&mut seen);
        }));
        if let Err(payload) = played {
            println!("seed {seed} failed:\n  {}", routed.steps.join("\n  "));
            std::panic::resume_unwind(payload);
        }
    }
    let Seen { by_stand_ins, suspensions, full_queues, refused } = seen;
    let least = by_stand_ins.min(suspensions).min(full_queues).min(refused);
    assert!(count == 1 || least > 0, "nothing of one kind happened: {seen:?}");
}
