//! The account of a case: the log as it was read back, against what was logged and what the logger
//! says of it.

use std::collections::{BTreeMap, BTreeSet};

use log::Level;
use unfazed::Stats;

use super::load::{Author, TARGET, level, message};
use super::subject::{Told, tail};

/// What is in a log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Author and number of each record, in the order of the file.
    pub(crate) records: Vec<(u32, u64)>,
    /// Of these: the ones after a gap line which says that so many were retained.
    pub(crate) retained: BTreeSet<(u32, u64)>,
    /// How many more of them the last gap line has promised.
    promised: u64,
    /// The logger's own lines.
    pub(crate) notices: Vec<Notice>,
    /// Lines that are none: what could not be cut from the file.
    pub(crate) fragments: Vec<String>,
}

/// One of the logger's own lines.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) text: String,
    /// The losses that it tells, by level.
    lost: [u64; 5],
}

impl Notice {
    pub(crate) fn lost(&self) -> u64 {
        self.lost.iter().sum()
    }

    pub(crate) fn is_gap(&self) -> bool {
        self.text.starts_with("logging resumed, ")
    }
}

impl Log {
    /// Reads a log that must consist of whole lines.
    pub(crate) fn of_whole_lines(bytes: &[u8]) -> Self {
        let log = Self::with_fragments(bytes);
        assert!(log.fragments.is_empty(), "lines that are torn, glued or not of the log: {:?}", log.fragments);
        log
    }

    /// Reads a log in which there may be lines that are not whole.
    pub(crate) fn with_fragments(bytes: &[u8]) -> Self {
        let mut log = Self::default();
        let Some((last, lines)) =
            bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>().split_last().map(|(l, r)| (*l, r.to_vec()))
        else {
            return log;
        };
        assert!(last.is_empty(), "the log ends in the middle of a line: {:?}", tail(bytes));
        for line in lines {
            log.take(line).unwrap_or_else(|| log.fragments.push(String::from_utf8_lossy(line).into_owned()));
        }
        log
    }

    /// Takes one line, if it is whole to the last byte.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        let (level_of_line, target, text) = parts(line)?;
        match target {
            TARGET => {
                let (author, rest) = text.strip_prefix('t')?.split_once(" n")?;
                let (n, _) = rest.split_once(' ')?;
                let (author, n) = (author.parse().ok()?, n.parse().ok()?);
                if text != message(author, n) || level_of_line != level(n) {
                    return None;
                }
                self.records.push((author, n));
                if self.promised > 0 {
                    self.promised -= 1;
                    self.retained.insert((author, n));
                }
            }
            "unfazed" => {
                let mut lost = [0; 5];
                for (place, word) in ["error", "warn", "info", "debug", "trace"].into_iter().enumerate() {
                    lost[place] = value(text, word)?;
                }
                let notice = Notice { text: text.to_owned(), lost };
                if notice.is_gap() {
                    self.promised = value(text, "retained")?;
                }
                // It says the sum in words and the parts in numbers.
                let said = text.strip_prefix("logging resumed, ").unwrap_or(text).split_once(" dropped");
                let noun = if notice.lost() == 1 { "record" } else { "records" };
                if said.is_some_and(|(sum, _)| sum != format!("{} {noun}", notice.lost())) {
                    return None;
                }
                self.notices.push(notice);
            }
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn gaps(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter().filter(|notice| notice.is_gap())
    }
}

/// Level, target and the rest of a line, as in `2026-01-31T23:59:59.123456Z WARN  app: the rest`.
fn parts(line: &[u8]) -> Option<(Level, &str, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let (time, rest) = line.split_at_checked(27)?;
    let shape = time.bytes().zip(b"dddd-dd-ddTdd:dd:dd.ddddddZ");
    let (level, rest) = rest.strip_prefix(' ')?.split_at_checked(6)?;
    let level: Level = level.trim_end().parse().ok()?;
    let (target, text) = rest.split_once(": ")?;
    let in_shape =
        shape.into_iter().all(|(byte, want)| if *want == b'd' { byte.is_ascii_digit() } else { byte == *want });
    in_shape.then_some((level, target, text))
}

/// The number after ` word=`; 0 if it is not there.
fn value(text: &str, word: &str) -> Option<u64> {
    match text.split_once(&format!(" {word}=")) {
        None => Some(0),
        Some((_, rest)) => rest.split(' ').next()?.parse().ok(),
    }
}

/// Asserts that everything logged by `authors` is accounted for: in the log, or told by it as lost,
/// and by the logger.
pub(crate) fn assert_accounted(log: &Log, authors: &[Author], stats: &Stats, told: &Told) {
    assert_identity(stats);
    assert_eq!(stats.pending, 0, "{stats:?}");
    assert_eq!(stats.accepted, authors.iter().map(|author| author.logged).sum::<u64>(), "accepted: {stats:?}");
    assert_eq!(stats.written, log.records.len() as u64, "written: {stats:?}");
    let [output] = &stats.outputs[..] else { panic!("one output: {stats:?}") };
    assert_eq!(output.offered, stats.accepted, "{stats:?}");
    assert_eq!(output.written, stats.written, "{stats:?}");
    assert_eq!(output.notices, log.notices.len() as u64, "notices: {stats:?}");

    let mut by_author: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (author, n) in &log.records {
        by_author.entry(*author).or_default().push(*n);
    }
    let mut missing = [0_u64; 5];
    for author in authors {
        let numbers = by_author.remove(&author.number).unwrap_or_default();
        let in_order = |which: &str, numbers: &mut dyn Iterator<Item = u64>| {
            let numbers: Vec<_> = numbers.collect();
            let disorder = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
            assert_eq!(disorder, None, "records of author {}, {which}: twice or out of order", author.number);
        };
        // The room that is kept for ERROR records takes them while others are retained.
        let retained = |n: &u64| log.retained.contains(&(author.number, *n));
        in_order("retained", &mut numbers.iter().copied().filter(retained));
        in_order("not retained", &mut numbers.iter().copied().filter(|n| !retained(n)));
        in_order("all but ERROR", &mut numbers.iter().copied().filter(|n| level(*n) != Level::Error));
        assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "of author {} twice", author.number);
        assert!(numbers.iter().all(|n| *n < author.logged), "author {} never logged all of this", author.number);
        for place in 0..5 {
            missing[level(place) as usize - 1] += (author.logged + 4 - place) / 5;
        }
        numbers.iter().for_each(|n| missing[level(*n) as usize - 1] -= 1);
    }
    assert!(by_author.is_empty(), "records of authors that nobody knows: {:?}", by_author.keys());
    let mut told_lost = [0; 5];
    for notice in &log.notices {
        told_lost.iter_mut().zip(notice.lost).for_each(|(sum, lost)| *sum += lost);
    }
    let counted: Vec<_> = Level::iter().map(|level| stats.dropped.by_level(level)).collect();
    assert_eq!(
        told_lost,
        missing,
        "what the log says is lost, and what is missing, from ERROR to TRACE: {log_notices:?}",
        log_notices = log.notices
    );
    assert_eq!(counted, missing, "what was counted as dropped, and what is missing, from ERROR to TRACE");

    assert_eq!(output.suspensions, told.suspended.len() as u64, "{told:?}");
    let gaps: Vec<_> = log.gaps().map(Notice::lost).collect();
    assert_eq!(gaps, told.resumed, "the gap lines, and what the events said");
}

/// Asserts that each record is counted once, whether the logger is at work or not.
pub(crate) fn assert_identity(stats: &Stats) {
    assert_eq!(stats.accepted, stats.written + stats.dropped.total() + stats.pending, "{stats:?}");
    for output in &stats.outputs {
        assert_eq!(output.offered, output.written + output.dropped.total() + output.pending, "{output:?}");
    }
}
