//! What must hold when a run over the fake disk is over, whatever failed in it: the invariants I1
//! to I9 of the design, as far as a disk in memory can show them, and that history is safe (P9).
//! One place for all loops, whoever drives the bench.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use log::Level;

use super::bench::{Bench, PATH};
use crate::error::FlushError;
use crate::event::Event;
use crate::format::utc_text;
use crate::tests::fake_disk::{FakeDisk, Op};

/// What was logged: by whom and at which level, under which number. The numbers of one producer
/// rise; those of several may come to the log in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    records: Vec<Option<Logged>>,
    /// Records below this number are an earlier life's: they are no part of this one's account.
    first: u64,
    /// What that one's lines say is lost, of each level, and how many bytes it has written.
    told_before: u64,
    told_of_before: [u64; 5],
    bytes_before: u64,
    /// And how many fragments there were.
    fragments_before: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Logged {
    pub(super) producer: usize,
    pub(super) level: Level,
    /// Its time, where the bench decides it.
    pub(super) time: Option<SystemTime>,
}

impl Ledger {
    /// A record that passed the filter.
    pub(super) fn note(&mut self, number: u64, producer: usize, level: Level, time: Option<SystemTime>) {
        let number = number as usize;
        if self.records.len() <= number {
            self.records.resize(number + 1, None);
        }
        self.records[number] = Some(Logged { producer, level, time });
    }

    pub(super) fn get(&self, number: u64) -> Option<Logged> {
        self.records.get(number as usize).copied().flatten()
    }

    pub(super) fn next(&self) -> u64 {
        self.records.len() as u64
    }

    /// For a life that begins with what is on the disk.
    pub(super) fn handed_on(&self, disk: &FakeDisk) -> Self {
        let mut files = disk.read_all(PATH);
        // What a crash has left without its newline gets it now.
        let torn = files.iter_mut().filter(|file| !file.is_empty() && !file.ends_with(b"\n"));
        torn.for_each(|file| file.push(b'\n'));
        let parsed = parse(&files);
        Self {
            records: self.records.clone(),
            first: self.next(),
            told_before: parsed.told,
            told_of_before: parsed.told_of,
            bytes_before: parsed.bytes,
            fragments_before: parsed.fragments.len(),
        }
    }

    /// The records of this life.
    fn own(&self) -> impl Iterator<Item = (u64, Logged)> {
        let numbered = (0..).zip(&self.records).skip(self.first as usize);
        numbered.filter_map(|(number, logged)| logged.map(|logged| (number, logged)))
    }
}

// --- what the log holds ---

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole record, by its number.
    Record(u64),
    /// A line of the crate's own that says that the log is back.
    Gap,
    /// Another one of the crate's own.
    Notice,
    /// Neither a whole record nor a line of the crate's own.
    Fragment(String),
    Blank,
}

/// What log files hold.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) lines: Vec<Line>,
    /// The numbers of the records, as they stand.
    pub(super) records: Vec<u64>,
    /// Of these: the ones after a gap line which says that so many were retained.
    pub(super) retained: Vec<u64>,
    /// How many more of them the last gap line has promised.
    promised: u64,
    pub(super) fragments: Vec<String>,
    /// What the lines of the crate's own say is lost, all together, and of each level.
    pub(super) told: u64,
    pub(super) told_of: [u64; 5],
    /// From when to when records are missing, by each line that says how many: a line that is no
    /// gap line says only until when.
    pub(super) missing: Vec<RangeInclusive<String>>,
    /// How many gap lines there are.
    pub(super) gaps: usize,
    /// Bytes of whole lines, the crate's own included.
    pub(super) bytes: u64,
}

/// Reads log files back, the oldest first.
pub(super) fn parse(files: &[Vec<u8>]) -> Parsed {
    let mut parsed = Parsed::default();
    for file in files {
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            parsed.take(&String::from_utf8_lossy(line));
        }
    }
    parsed
}

impl Parsed {
    fn take(&mut self, line: &str) {
        let read = line.strip_suffix('\n').map_or_else(|| Line::Fragment(line.to_owned()), |line| self.read(line));
        match &read {
            Line::Record(number) => {
                self.records.push(*number);
                if self.promised > 0 {
                    self.promised -= 1;
                    self.retained.push(*number);
                }
            }
            Line::Gap => self.gaps += 1,
            Line::Fragment(text) => self.fragments.push(text.clone()),
            Line::Notice | Line::Blank => {}
        }
        if matches!(read, Line::Record(_) | Line::Gap | Line::Notice) {
            self.bytes += line.len() as u64;
        }
        self.lines.push(read);
    }

    fn read(&mut self, line: &str) -> Line {
        if line.is_empty() {
            return Line::Blank;
        }
        // After `2026-11-21T09:30:00.123456Z `.
        let rest = if line.as_bytes().get(26) == Some(&b'Z') { line.get(28..).unwrap_or("") } else { "" };
        let Some(message) = rest.strip_prefix("WARN  unfazed: ") else {
            return record_in(rest).map_or_else(|| Line::Fragment(line.to_owned()), Line::Record);
        };
        let is_gap = message.starts_with("logging resumed");
        if let Some((before, after)) = message.split_once(" dropped") {
            if is_gap {
                self.promised = 0;
            }
            self.told += before.rsplit(' ').nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
            let pairs = || after.split(' ').filter_map(|pair| pair.split_once('='));
            let time = |word| pairs().find(|(key, _)| *key == word).map(|(_, time)| time.to_owned());
            let to = time("to").unwrap_or_else(|| line[..27].to_owned());
            self.missing.push(time("from").unwrap_or_default()..=to);
            for (key, value) in pairs() {
                if key == "retained" {
                    self.promised = value.parse().unwrap_or(0);
                }
                if let (Ok(level), Ok(count)) = (key.parse::<Level>(), value.parse::<u64>()) {
                    self.told_of[level as usize - 1] += count;
                }
            }
        }
        if is_gap { Line::Gap } else { Line::Notice }
    }

    /// No record twice, and those of each producer in their order. But what is kept through a
    /// suspension stands elsewhere: an ERROR that went into the room kept for it before the gap
    /// line, and after that line the WARN and ERROR records that were retained in memory.
    pub(super) fn assert_order(&self, ledger: &Ledger, story: &str) {
        let mut seen = BTreeSet::new();
        let mut orders: BTreeMap<usize, Order> = BTreeMap::new();
        for line in &self.lines {
            match line {
                Line::Gap => orders.values_mut().for_each(Order::gap),
                Line::Record(number) => {
                    assert!(seen.insert(*number), "{story}: record {number} is there twice: {:?}", self.lines);
                    // What another life logged is checked as if it were of the first producer.
                    let logged = ledger.get(*number).unwrap_or(Logged { producer: 0, level: Level::Error, time: None });
                    if logged.level > Level::Warn {
                        orders.values_mut().for_each(|order| order.after_gap = None);
                    }
                    let order = orders.entry(logged.producer).or_default();
                    assert!(order.take(*number, logged.level), "{story}: {number} is not in order: {:?}", self.lines);
                }
                Line::Notice | Line::Fragment(_) | Line::Blank => {}
            }
        }
    }
}

/// How far the records of one producer have come.
#[derive(Default)]
struct Order {
    last: Option<u64>,
    /// The last one before the ERRORs that were the last.
    before_errors: Option<u64>,
    /// After a gap line, as long as only WARN and ERROR come: how far those have come.
    after_gap: Option<Option<u64>>,
}

impl Order {
    fn gap(&mut self) {
        self.after_gap = Some(self.before_errors);
    }

    fn take(&mut self, number: u64, level: Level) -> bool {
        let in_order = self.last < Some(number);
        let retained = level <= Level::Warn && self.after_gap.is_some_and(|last| last < Some(number));
        self.last = self.last.max(Some(number));
        if level != Level::Error {
            self.before_errors = self.before_errors.max(Some(number));
        }
        if let Some(last) = &mut self.after_gap {
            *last = (*last).max(Some(number));
        }
        in_order || retained
    }
}

/// `LEVEL bench: record 17 ----- end`, whole.
fn record_in(line: &str) -> Option<u64> {
    let message = line.get(6..)?.strip_prefix("bench: record ")?;
    let (number, padding) = message.strip_suffix(" end")?.split_once(' ')?;
    padding.bytes().all(|byte| byte == b'-').then(|| number.parse().ok())?
}

// --- history ---

/// The archives, as they were when they got their names.
#[derive(Default)]
pub(super) struct History {
    disk: Option<FakeDisk>,
    /// The archives that were made in this life, by name.
    pub(super) rotated: Vec<String>,
    pub(super) deleted: Vec<String>,
    aside: BTreeMap<String, Vec<u8>>,
}

impl History {
    /// Whatever stands next to the active file of this disk must not change either.
    pub(super) fn of(disk: Option<FakeDisk>) -> Self {
        // An archive's name for what is still the active file is none.
        let there = disk.as_ref().map(|disk| disk.read_others(PATH)).unwrap_or_default();
        let archives = there.into_iter().filter(|(name, _)| !name.contains("/."));
        Self { aside: archives.collect(), disk, ..Self::default() }
    }

    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Rotated { archive, .. } => {
                let name = archive.display().to_string();
                if let Some(disk) = &self.disk {
                    self.aside.insert(name.clone(), disk.read(&name));
                }
                self.rotated.push(name);
            }
            Event::Deleted { path, .. } => self.deleted.push(path.display().to_string()),
            _ => {}
        }
    }

    /// No archive has changed, none has gone but what was told, and names sort by age.
    fn assert_safe(&self, story: &str) {
        let Some(disk) = &self.disk else { return };
        assert!(self.rotated.is_sorted_by(|one, next| one < next), "{story}: {:?}", self.rotated);
        let there: BTreeMap<_, _> = disk.read_every_name().into_iter().collect();
        for (name, bytes) in &self.aside {
            let compressed = format!("{name}.gz");
            if self.deleted.contains(name) {
                assert!(!there.contains_key(name), "{story}: {name} is told as deleted");
                continue;
            }
            let found = [name, &compressed].map(|name| there.get(name));
            let is_there = found.iter().any(Option::is_some) || self.deleted.contains(&compressed);
            assert!(is_there, "{story}: {name} is neither there nor told as deleted");
            for found in found.into_iter().flatten() {
                assert!(found == bytes, "{story}: {name} has changed");
            }
        }
    }
}

// --- after a run ---

impl Bench {
    /// The identities of the account (I3), for the whole and for each output: at any moment. What
    /// waits is bounded (I8).
    pub(super) fn assert_identity(&self, story: &str) {
        let stats = self.handle.stats();
        assert_eq!(stats.accepted, stats.written + stats.dropped.total() + stats.pending, "{story}: {stats:?}");
        for output in &stats.outputs {
            assert_eq!(output.offered, output.written + output.dropped.total() + output.pending, "{story}: {output:?}");
            let by_level: u64 = Level::iter().map(|level| output.dropped.by_level(level)).sum();
            assert_eq!(by_level, output.dropped.total(), "{story}");
        }
        let by_level: u64 = Level::iter().map(|level| stats.dropped.by_level(level)).sum();
        assert_eq!(by_level, stats.dropped.total(), "{story}");
    }
}

/// All that the invariants ask of a bench whose first output is the file at `PATH`, after the
/// faults are over and all is told.
pub(super) fn assert_invariants(bench: &Bench, disk: &FakeDisk, story: &str) {
    bench.assert_identity(story);
    let stats = bench.handle.stats();
    assert_eq!(stats.pending, 0, "{story}");
    assert_eq!(stats.accepted, bench.ledger.own().count() as u64, "{story}");
    if let [output] = stats.outputs.as_slice() {
        assert_eq!((stats.written, stats.dropped), (output.written, output.dropped), "{story}");
    }
    assert_log(bench, 0, disk, PATH, story);
    bench.history.lock().unwrap().assert_safe(story);
}

/// The same for a bench that was shut down while something may have failed: what could not be told
/// stays unreported, but then the answer says so.
pub(super) fn assert_ended(bench: &Bench, disk: &FakeDisk, answer: Result<(), FlushError>) {
    let story = "after the end";
    bench.assert_identity(story);
    assert_eq!(bench.handle.stats().pending, 0, "{story}");
    look_at_log(bench, 0, disk, PATH, answer.is_ok(), story);
    bench.history.lock().unwrap().assert_safe(story);
}

/// The same for one output, which writes to a file of the fake disk: whatever stood at `path` is
/// read, whether it is still there or not.
pub(super) fn assert_log(bench: &Bench, output: usize, disk: &FakeDisk, path: &str, story: &str) {
    look_at_log(bench, output, disk, path, true, story);
}

fn look_at_log(bench: &Bench, output: usize, disk: &FakeDisk, path: &str, all_is_told: bool, story: &str) {
    let parsed = parse(&disk.read_all_lines(path));
    parsed.assert_order(&bench.ledger, story);
    let wants = |level| bench.pipeline.counters.outputs[output].offered.levels.has(level);
    let mut missing: BTreeMap<u64, Logged> = bench.ledger.own().filter(|(_, logged)| wants(logged.level)).collect();
    let written = parsed.records.iter().filter(|number| missing.remove(number).is_some()).count() as u64;
    let of_this_life = parsed.records.iter().filter(|number| **number >= bench.ledger.first).count() as u64;
    assert_eq!(written, of_this_life, "{story}: there is nothing that was not logged here");
    let stats = &bench.handle.stats().outputs[output];
    assert_eq!(written, stats.written, "{story}: what is counted as written is in the file");
    for level in Level::iter() {
        let missing = missing.values().filter(|missing| missing.level == level).count() as u64;
        let dropped = stats.dropped.by_level(level);
        assert_eq!(missing, dropped, "{story}: what is missing of {level} is counted as dropped");
        let told = parsed.told_of[level as usize - 1] - bench.ledger.told_of_before[level as usize - 1];
        let as_it_should = if all_is_told { told == dropped } else { told <= dropped };
        assert!(as_it_should, "{story}: {dropped} of {level} are missing, the log tells of {told}");
    }
    for (number, time) in missing.iter().filter_map(|(number, logged)| Some((number, logged.time?))) {
        let is_told = parsed.missing.iter().any(|times| times.contains(&utc_text(time)));
        assert!(!all_is_told || is_told, "{story}: {number} is missing outside of {:?}", parsed.missing);
    }
    let before = &bench.ledger;
    let told = parsed.told - before.told_before;
    assert!(!all_is_told || told == stats.dropped.total(), "{story}: the log tells exactly what is missing");
    assert_eq!(parsed.bytes - before.bytes_before, stats.bytes, "{story}: the bytes are counted");
    let world = disk.world();
    let met = |ops: &[Op]| ops.iter().any(|op| world.faulted_ops.contains(op));
    let may_be_torn = world.was_locked || met(&[Op::Cut, Op::End, Op::Len, Op::Lock]);
    let most = if may_be_torn { world.torn as usize } else { 0 };
    assert!(parsed.fragments.len() <= before.fragments_before + most, "{story}: {:?}", parsed.fragments);
    let may_be_blank = may_be_torn || met(&[Op::LastByte]);
    assert!(may_be_blank || !parsed.lines.contains(&Line::Blank), "{story}: an empty line");
}

/// Ends the faults and sees the log come back within two seconds, with the next record on the disk
/// (I9).
pub(super) fn assert_recovery(bench: &mut Bench, disk: &FakeDisk, story: &str) {
    disk.world().fault = None;
    disk.world().other_fault = None;
    let mut waited = Duration::ZERO;
    while bench.suspended() {
        assert!(waited < Duration::from_secs(2), "{story}: still {} after {waited:?}", bench.handle.state());
        bench.live(Duration::from_millis(50));
        waited += Duration::from_millis(50);
    }
    // Drops that are no gap are told every 5 s; a lock that was missed is asked for again after 10
    // s.
    for _ in 0..21 {
        bench.pass(Duration::from_millis(500));
        bench.step();
    }
    let last = bench.next;
    bench.log(Level::Info);
    bench.step();
    assert_eq!(parse(&[disk.read(PATH)]).records.last(), Some(&last), "{story}: the next record is on the disk");
}
