//! The log as it was read back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::load::{TARGET, Text};

/// What is in a log. There is no line in it that is torn, glued or not of the log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// For each author, the numbers of its records in the order of the file.
    records: BTreeMap<u32, Vec<u64>>,
    /// The lines of other targets.
    pub(crate) others: Vec<Line>,
    /// How many lines are empty.
    pub(crate) empty: u64,
}

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) level: String,
    pub(crate) target: String,
    pub(crate) message: String,
}

impl Log {
    /// A log that one process has written.
    pub(crate) fn read(path: &Path) -> Self {
        let log = Self::read_shared(path);
        assert_eq!(log.empty, 0, "empty lines");
        log
    }

    /// A log that several processes have written. Whoever opens it while another process stands in
    /// the middle of a write, and has been stopped there, takes the end for a torn one and begins
    /// with an empty line. One case counts those.
    pub(crate) fn read_shared(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text = str::from_utf8(&bytes).expect("the log is text");
        assert!(text.is_empty() || text.ends_with('\n'), "the log ends in the middle of a line");
        Self::of_lines(text)
    }

    /// What is in it so far: the last line may be on its way into the file.
    pub(crate) fn read_under_way(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        Self::of_lines(str::from_utf8(&bytes[..end]).expect("the log is text"))
    }

    pub(crate) fn of_lines(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines() {
            log.take(line).unwrap_or_else(|| panic!("a line that is torn, glued or not of the log: {line:?}"));
        }
        log
    }

    /// Takes one line, if it is whole to the last byte.
    fn take(&mut self, line: &str) -> Option<()> {
        if line.is_empty() {
            self.empty += 1;
            return Some(());
        }
        let (time, rest) = line.split_at_checked(27)?;
        let shape = time.bytes().zip(b"dddd-dd-ddTdd:dd:dd.ddddddZ");
        let (level, rest) = rest.strip_prefix(' ')?.split_at_checked(6)?;
        let (target, message) = rest.split_once(": ")?;
        if !shape.into_iter().all(|(byte, want)| if *want == b'd' { byte.is_ascii_digit() } else { byte == *want }) {
            return None;
        }
        level.trim_end().parse::<log::Level>().ok()?;
        if target == TARGET {
            let mut numbers = message.split(' ');
            let (author, n) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
            if message != Text(author, n).to_string() {
                return None;
            }
            self.records.entry(author).or_default().push(n);
        } else {
            let level = level.trim_end().to_owned();
            self.others.push(Line { level, target: target.to_owned(), message: message.to_owned() });
        }
        Some(())
    }

    /// The numbers of an author's records.
    pub(crate) fn of(&self, author: u32) -> &[u64] {
        self.records.get(&author).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn authors(&self) -> impl Iterator<Item = u32> + '_ {
        self.records.keys().copied()
    }

    /// How many numbered records there are.
    pub(crate) fn len(&self) -> u64 {
        self.records.values().map(|numbers| numbers.len() as u64).sum()
    }

    /// Asserts that an author's first `count` records are there, each once and in order, and no
    /// other of its.
    pub(crate) fn assert_all(&self, author: u32, count: u64) {
        let numbers = self.of(author);
        let wrong = numbers.iter().zip(0..).find(|(there, wanted)| *there != wanted);
        assert_eq!(wrong, None, "author {author}: (what is there, what should be), of {count}");
        assert_eq!(numbers.len() as u64, count, "records of author {author}");
    }

    /// Asserts that no record is there twice, and that each author's are in order.
    pub(crate) fn assert_order(&self) {
        for (author, numbers) in &self.records {
            let disorder = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
            assert_eq!(disorder, None, "records of author {author} twice or out of order");
        }
    }

    /// The messages of another target.
    pub(crate) fn messages(&self, target: &str) -> Vec<&str> {
        let lines = self.others.iter().filter(|line| line.target == target);
        lines.map(|line| line.message.as_str()).collect()
    }
}
