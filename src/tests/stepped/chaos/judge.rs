//! Reads the files back, and judges them by what is known to have been logged.

use std::collections::{BTreeMap, BTreeSet};

use log::{Level, LevelFilter};

use super::plan::{FAILS, Layout, PANICS};

/// A record that was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged {
    pub(super) level: Level,
    pub(super) target: &'static str,
    pub(super) producer: usize,
    /// Its place among those of its producer.
    pub(super) number: u64,
    pub(super) dashes: usize,
}

impl Logged {
    /// `index`: its place among those of its process.
    pub(super) fn message(&self, process: usize, index: usize) -> String {
        let Self { producer, number, dashes, .. } = self;
        format!("record {process}.{index} of {producer}:{number} {:-<dashes$} end", "")
    }
}

/// A line, as far as it can be read.
#[derive(Debug)]
pub(super) enum Line {
    Record {
        process: usize,
        index: usize,
        level: Level,
        target: String,
        message: String,
    },
    /// Of the crate's own: what it says is lost, by level.
    Notice {
        process: usize,
        lost: [u64; 5],
        from: Option<String>,
    },
    /// Of the rate limit: how many records of a place it has held back.
    Suppressed {
        process: usize,
        level: Level,
        target: String,
        count: u64,
    },
    /// Another program's.
    Foreign,
    Empty,
    Broken(String),
    /// After a fragment, on its line.
    Glued(String),
}

/// What one line says, whatever its format: level, target, message, process, and the numbers of its
/// pairs as text.
type Parts<'a> = (&'a str, String, String, usize, String);

pub(super) fn read(layout: Layout, line: &str) -> Line {
    if line.is_empty() {
        return Line::Empty;
    }
    if line
        .strip_prefix("foreign ")
        .and_then(|rest| rest.strip_suffix(" line"))
        .is_some_and(|n| n.parse::<u64>().is_ok())
    {
        return Line::Foreign;
    }
    let parts = match layout {
        Layout::Text => text(line),
        Layout::Logfmt => logfmt(line),
        Layout::Json => json(line),
        // What such a format cannot lay out of the crate's own is text.
        Layout::Custom => custom(line),
    };
    parts.and_then(understood).unwrap_or_else(|| Line::Broken(line.to_owned()))
}

fn understood((level, target, message, process, pairs): Parts<'_>) -> Option<Line> {
    let level: Level = level.trim_end().parse().ok()?;
    if target == "unfazed" {
        // A record, or another such line, after a fragment of such a line, on its line.
        if message.replacen("1 record dropped", "", 1).contains("record ") || pairs.contains("proc=") {
            return None;
        }
        let mut lost = [0; 5];
        if message.contains(" dropped") {
            for (number, word) in lost.iter_mut().zip(["error", "warn", "info", "debug", "trace"]) {
                *number = pair(&pairs, word).unwrap_or(0);
            }
            let (before, _) = message.split_once(" dropped")?;
            let (before, noun) = before.rsplit_once(' ')?;
            let total: u64 = before.rsplit(' ').next()?.parse().ok()?;
            if noun != if total == 1 { "record" } else { "records" } {
                return None;
            }
            let reasons = ["queue_full", "disk_full", "io_error", "panicked", "shutdown"];
            let by_reason: u64 = reasons.iter().filter_map(|word| pair(&pairs, word)).sum();
            // Otherwise it is the beginning of one.
            if lost.iter().sum::<u64>() != total || by_reason != total {
                return None;
            }
        }
        let from = pairs.split(' ').find(|pair| pair.starts_with("from=")).map(str::to_owned);
        return Some(Line::Notice { process, lost, from });
    }
    if let Some((count, _)) = message.strip_suffix(" suppressed").and_then(|rest| rest.split_once(" similar record")) {
        return Some(Line::Suppressed { process, level, target, count: count.parse().ok()? });
    }
    let (said, rest) = message.strip_prefix("record ")?.split_once('.')?;
    let (index, _) = rest.split_once(' ')?;
    let index = index.parse().ok()?;
    (said.parse() == Ok(process) && message.ends_with(" end") && pairs.is_empty()).then_some(Line::Record {
        process,
        index,
        level,
        target,
        message,
    })
}

fn pair(pairs: &str, word: &str) -> Option<u64> {
    let (_, value) = pairs.split(' ').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == word)?;
    value.parse().ok()
}

/// `message proc=3 error=1 warn=2`.
fn end(rest: &str) -> Option<(String, usize, String)> {
    let (message, after) = rest.split_once(" proc=")?;
    let (process, pairs) = after.split_once(' ').unwrap_or((after, ""));
    Some((message.to_owned(), process.parse().ok()?, pairs.to_owned()))
}

fn is_time(text: &str) -> bool {
    text.len() >= 27 && text.ends_with('Z') && text.as_bytes()[text.len() - 17] == b'T'
}

fn text(line: &str) -> Option<Parts<'_>> {
    let (time, rest) = line.split_once(' ')?;
    let (level, rest) = (rest.get(..5)?, rest.get(6..)?);
    let (target, rest) = rest.split_once(": ")?;
    let (message, process, pairs) = end(rest)?;
    (is_time(time) && !target.contains(' ')).then(|| (level, target.to_owned(), message, process, pairs))
}

fn logfmt(line: &str) -> Option<Parts<'_>> {
    let (time, rest) = line.strip_prefix("ts=")?.split_once(" level=")?;
    let (level, rest) = rest.split_once(" target=")?;
    let (target, rest) = rest.split_once(" msg=")?;
    let (message, process, pairs) = end(rest)?;
    let message = message.strip_prefix('"')?.strip_suffix('"')?.to_owned();
    (is_time(time) && !target.contains(' ')).then(|| (level, target.to_owned(), message, process, pairs))
}

fn json(line: &str) -> Option<Parts<'_>> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
    let level = line.split_once("\"level\":\"")?.1.split_once('"')?.0;
    let process = value.get("proc")?.as_u64()? as usize;
    let known = ["timestamp", "level", "target", "message", "proc"];
    let others = value.as_object()?.iter().filter(|(key, _)| !known.contains(&key.as_str()));
    let pairs = others.map(|(key, value)| format!("{key}={value} ")).collect();
    is_time(&text("timestamp")?).then_some((level, text("target")?, text("message")?, process, pairs))
}

fn custom(line: &str) -> Option<Parts<'_>> {
    let (level, rest) = line.split_once('|')?;
    let (target, rest) = rest.split_once('|')?;
    let (message, process, pairs) = end(rest)?;
    Some((level, target.to_owned(), message, process, pairs))
}

/// What may have become of the beginning of a line that was written when no more of it went in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Torn {
    /// It was cut off.
    Cut,
    /// It may stand where it is, because somebody else had the lock, or the cut failed.
    Left,
    /// What one process has left so another one may have written on.
    WrittenOn,
}

/// What may stand in a file, or stand there once more, and does not count as written: the lines of
/// writes that were done and reported as failed. Where several processes write, none can look.
#[derive(Debug, Default)]
pub(super) struct Denied {
    /// How many of these writes held each record.
    records: BTreeMap<(usize, usize), usize>,
    /// What their lines say is lost, of each process,
    told: BTreeMap<usize, [u64; 5]>,
    /// and how many lines of the rate limit they held.
    limit_lines: BTreeMap<usize, [u64; 5]>,
}

impl Denied {
    pub(super) fn take(&mut self, layout: Layout, write: &[u8]) {
        for line in String::from_utf8_lossy(write).split_terminator('\n') {
            // A fragment may stand before what was written.
            let whole = line.char_indices().map(|(at, _)| read(layout, &line[at..]));
            let is_known = |line: &Line| !matches!(line, Line::Broken(_) | Line::Empty | Line::Foreign);
            match whole.into_iter().find(is_known) {
                Some(Line::Record { process, index, .. }) => *self.records.entry((process, index)).or_default() += 1,
                Some(Line::Notice { process, lost, .. }) => {
                    let told = self.told.entry(process).or_default();
                    told.iter_mut().zip(lost).for_each(|(told, lost)| *told += lost);
                }
                Some(Line::Suppressed { process, level, .. }) => {
                    self.limit_lines.entry(process).or_default()[level as usize - 1] += 1;
                }
                _ => {}
            }
        }
    }

    pub(super) fn has(&self, process: usize, index: usize) -> bool {
        self.records.contains_key(&(process, index))
    }

    pub(super) fn told_by(&self, process: usize) -> [u64; 5] {
        self.told.get(&process).copied().unwrap_or_default()
    }

    pub(super) fn limit_lines_of(&self, process: usize) -> [u64; 5] {
        self.limit_lines.get(&process).copied().unwrap_or_default()
    }
}

/// What one output holds, in the order in which it was written.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) lines: Vec<Line>,
    pub(super) denied: Denied,
}

impl Held {
    /// Takes lines that follow each other. `after_torn`: what stands before them does not end with
    /// a newline.
    pub(super) fn take(&mut self, layout: Layout, bytes: &[u8], after_torn: bool, torn: Torn) {
        let glued = torn == Torn::WrittenOn;
        let text = String::from_utf8_lossy(bytes);
        let mut text = &*text;
        if after_torn && !text.is_empty() && !glued {
            let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
            // Another program does not know what it writes after.
            if !first.is_empty() && !matches!(read(layout, first), Line::Foreign) {
                self.lines.push(Line::Glued(first.to_owned()));
            }
            text = rest;
        }
        for line in text.split_terminator('\n') {
            let read_line = read(layout, line);
            if torn != Torn::Cut && matches!(read_line, Line::Broken(_)) {
                let whole = |line: &Line| !matches!(line, Line::Empty | Line::Broken(_) | Line::Glued(_));
                // A line that cannot be cut and is missing only its newline counts as written,
                // because the next write brings that. Another program that comes first does not
                // know.
                let may_be =
                    |one: &Line, other: &Line| whole(other) && (glued || matches!(other, Line::Foreign) && whole(one));
                let halves =
                    line.char_indices().skip(1).map(|(at, _)| (read(layout, &line[..at]), read(layout, &line[at..])));
                let mut halves: Vec<_> = halves.filter(|(one, other)| may_be(one, other)).collect();
                // `proc=1` and `1974-...` is not `proc=` and the year 11974.
                let first = halves.iter().position(|(one, _)| whole(one)).unwrap_or(0);
                if first < halves.len() {
                    let (one, other) = halves.swap_remove(first);
                    self.lines.extend([one, other]);
                    continue;
                }
            }
            self.lines.push(read_line);
        }
    }

    pub(super) fn broken(&self) -> Vec<&str> {
        let broken = self.lines.iter().filter_map(|line| match line {
            Line::Broken(line) => Some(line.as_str()),
            Line::Empty => Some(""),
            _ => None,
        });
        broken.collect()
    }

    pub(super) fn glued(&self) -> Vec<&str> {
        let glued = self.lines.iter().filter_map(|line| match line {
            Line::Glued(line) => Some(line.as_str()),
            _ => None,
        });
        glued.collect()
    }

    /// The records of one process, each as it was logged, in the order in which they stand: none
    /// twice, each producer's in order. One of a write that was denied may stand there once more,
    /// and out of order: a retained one is written again.
    pub(super) fn records_of(&self, process: usize, logged: &[Logged], story: &str) -> BTreeSet<usize> {
        let mut records = BTreeSet::new();
        let mut denied = self.denied.records.clone();
        // Of each producer: the last number of all, and the last below ERROR.
        let mut last: BTreeMap<usize, [Option<u64>; 2]> = BTreeMap::new();
        for line in &self.lines {
            let Line::Record { process: of, index, level, target, message } = line else { continue };
            if *of != process {
                continue;
            }
            let expected = logged.get(*index).unwrap_or_else(|| panic!("{story}: nobody logged {message}"));
            assert_eq!(*message, expected.message(process, *index), "{story}");
            assert_eq!((*level, target.as_str()), (expected.level, expected.target), "{story}: {message}");
            let is_new = records.insert(*index);
            if let Some(more) = denied.get_mut(&(process, *index)) {
                assert!(is_new || *more > 0, "{story}: more often than it was denied: {message}");
                *more -= usize::from(!is_new);
                continue;
            }
            assert!(is_new, "{story}: twice: {message}");
            let number = Some(expected.number);
            let [of_all, below_error] = last.entry(expected.producer).or_default();
            // ERROR records that a suspended file still takes stand before those that waited in
            // memory for its return.
            let before = if *level <= Level::Warn { *below_error } else { *of_all };
            assert!(before < number, "{story}: {message} stands after number {before:?}");
            *of_all = (*of_all).max(number);
            if *level != Level::Error {
                *below_error = number;
            }
        }
        records
    }

    /// How many lines of the rate limit are there of each level, and how many records they tell of,
    /// for each place.
    pub(super) fn suppressed_by(&self, process: usize) -> ([u64; 5], BTreeMap<(Level, &str), u64>) {
        let (mut lines, mut told) = ([0; 5], BTreeMap::new());
        for line in &self.lines {
            if let Line::Suppressed { process: of, level, target, count } = line
                && *of == process
            {
                lines[*level as usize - 1] += 1;
                *told.entry((*level, target.as_str())).or_default() += count;
            }
        }
        (lines, told)
    }

    /// What the lines of a process say is lost, at least and at most. Of gap lines with the same
    /// beginning only the last one may count: what stands before it may be the beginning of one
    /// that could not be cut. Or they are those of two suspensions that began at the same time,
    /// because the last attempts of an output that ends follow each other at once.
    pub(super) fn told_by(&self, process: usize) -> ([u64; 5], [u64; 5]) {
        let (mut least, mut most) = ([0; 5], [0; 5]);
        let mut suspensions = BTreeSet::new();
        for line in self.lines.iter().rev() {
            let Line::Notice { process: of, lost, from } = line else { continue };
            if *of != process {
                continue;
            }
            most.iter_mut().zip(lost).for_each(|(told, lost)| *told += lost);
            if from.as_ref().is_none_or(|from| suspensions.insert(from)) {
                least.iter_mut().zip(lost).for_each(|(told, lost)| *told += lost);
            }
        }
        (least, most)
    }
}

/// How many records of each level an output has not got.
pub(super) fn missing(logged: &[Logged], most: LevelFilter, there: &BTreeSet<usize>) -> [u64; 5] {
    let mut missing = [0; 5];
    for (index, record) in logged.iter().enumerate() {
        if record.level <= most && !there.contains(&index) {
            missing[record.level as usize - 1] += 1;
        }
    }
    missing
}

/// Whether the program's own format fails with it.
pub(super) fn cannot_be_laid_out(layout: Layout, record: &Logged) -> bool {
    layout == Layout::Custom && matches!(record.dashes, FAILS | PANICS)
}
