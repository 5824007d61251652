//! The crate's own lines: what they say, as records like any other, so that every format lays them
//! out. Runs on the writer's thread.

use std::time::SystemTime;

use log::Level;

use crate::event::Cause;
use crate::format::utc_text;
use crate::record::{Notice, Value};
use crate::sink::Shortage;
use crate::stats::{DropReason, Drops};

/// Counts what happened to the file, until a line reports it.
#[derive(Clone, Copy, Default)]
pub(super) struct Happened {
    /// Lines that were deleted with their file.
    pub(super) lines_deleted: u64,
    /// Bytes that somebody else cut off.
    pub(super) cut_short: u64,
    /// Archives, and their bytes, that were deleted to free space.
    pub(super) files_deleted: u64,
    pub(super) bytes_deleted: u64,
}

impl Happened {
    pub(super) fn is_nothing(&self) -> bool {
        self.lines_deleted == 0 && self.cut_short == 0 && self.files_deleted == 0
    }

    pub(super) fn add(&mut self, other: Happened) {
        self.lines_deleted += other.lines_deleted;
        self.cut_short += other.cut_short;
        self.files_deleted += other.files_deleted;
        self.bytes_deleted += other.bytes_deleted;
    }
}

/// Returns the line about dropped records where nothing else is wrong: the queue was full, or a
/// format panicked.
pub(super) fn dropped(at: SystemTime, drops: &Drops) -> Notice {
    let mut pairs = Vec::new();
    push_drops(&mut pairs, drops);
    warn(at, format_args!("{} dropped", records(drops.total())), &pairs)
}

/// Returns the gap line: the output is back, these records are missing, and `retained` lines
/// follow.
pub(super) fn resumed(
    (from, to): (SystemTime, SystemTime),
    cause: Cause,
    drops: &Drops,
    retained: usize,
    happened: &Happened,
) -> Notice {
    let (from, to_text) = (utc_text(from), utc_text(to));
    let mut pairs =
        vec![("cause", Value::Str(cause.word())), ("from", Value::Str(&from)), ("to", Value::Str(&to_text))];
    push_drops(&mut pairs, drops);
    // Retained lines are older than this line, and may be older than the lines before it.
    let mut follow = String::new();
    if retained > 0 {
        pairs.push(("retained", Value::U64(retained as u64)));
        let lines = if retained == 1 { "line follows" } else { "lines follow" };
        follow = format!(", {retained} retained {lines}");
    }
    push_happened(&mut pairs, happened);
    warn(to, format_args!("logging resumed, {} dropped{follow}", records(drops.total())), &pairs)
}

/// Returns the last line before a suspension, which says why lines did not fit.
pub(super) fn suspended(at: SystemTime, cause: Cause, shortage: &Shortage) -> Notice {
    let Shortage { free_space, min_free_space, error_reserve, needed } = *shortage;
    let mut pairs = vec![
        ("cause", Value::Str(cause.word())),
        ("free", Value::U64(free_space)),
        ("min_free_space", Value::U64(min_free_space)),
    ];
    let more = [("error_reserve", error_reserve), ("needed", needed)];
    pairs.extend(more.into_iter().filter(|(_, bytes)| *bytes > 0).map(|(word, bytes)| (word, Value::U64(bytes))));
    warn(at, format_args!("logging suspended"), &pairs)
}

/// Returns the line about what happened to the file under our hands, or was done to make room.
pub(super) fn happened(at: SystemTime, happened: &Happened) -> Notice {
    let mut pairs = Vec::new();
    let lines = happened.lines_deleted;
    // The message itself has that number.
    push_happened(&mut pairs, &Happened { lines_deleted: 0, ..*happened });
    match (lines, happened.cut_short) {
        (1.., _) => {
            let noun = if lines == 1 { "line" } else { "lines" };
            warn(
                at,
                format_args!("the log file was deleted, with {lines} {noun} written since the last look at it"),
                &pairs,
            )
        }
        (0, 1..) => warn(at, format_args!("the log file was cut short"), &pairs),
        (0, 0) => {
            let deleted = if happened.files_deleted == 1 { "an old log file was" } else { "old log files were" };
            warn(at, format_args!("{deleted} deleted to make room"), &pairs)
        }
    }
}

/// Returns the line about something that failed without a suspension.
pub(super) fn failed(at: SystemTime, doing: &str, times: u64, error: &std::io::Error) -> Notice {
    let error = error.to_string();
    warn(at, format_args!("failed to {doing}"), &[("times", Value::U64(times)), ("error", Value::Str(&error))])
}

/// Returns a number of records in words: `1 record`, `2 records`.
fn records(count: u64) -> String {
    format!("{count} {}", if count == 1 { "record" } else { "records" })
}

fn warn(at: SystemTime, message: std::fmt::Arguments<'_>, pairs: &[(&str, Value<'_>)]) -> Notice {
    Notice::new(Level::Warn, at, message, pairs)
}

/// Adds what happened, except counts of zero.
fn push_happened(pairs: &mut Vec<(&'static str, Value<'_>)>, happened: &Happened) {
    let Happened { lines_deleted, cut_short, files_deleted, bytes_deleted } = *happened;
    let counted = [
        ("lines_deleted", lines_deleted),
        ("bytes_cut_off", cut_short),
        ("old_files_deleted", files_deleted),
        ("old_bytes_deleted", bytes_deleted),
    ];
    pairs.extend(counted.into_iter().filter(|(_, count)| *count > 0).map(|(word, count)| (word, Value::U64(count))));
}

/// Adds the drops by level and by reason, except those that are zero.
fn push_drops(pairs: &mut Vec<(&'static str, Value<'_>)>, drops: &Drops) {
    const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
    let by_level = Level::iter().zip(LEVELS).map(|(level, word)| (word, drops.by_level(level)));
    let by_reason = DropReason::ALL.into_iter().map(|reason| (reason.word(), drops.by_reason(reason)));
    let counted = by_level.chain(by_reason).filter(|(_, count)| *count > 0);
    pairs.extend(counted.map(|(word, count)| (word, Value::U64(count))));
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use crate::wanted::Levels;

    use super::*;
    use crate::stats::DropCounters;

    fn drops(count: u64) -> Drops {
        let counters = DropCounters::default();
        (0..count).for_each(|_| counters.count(Level::Info, DropReason::QueueFull));
        counters.read(Levels::ALL)
    }

    fn text(notice: &Notice) -> String {
        let record = notice.record();
        let pairs = record.key_values().map(|(key, value)| format!(" {key}={value}"));
        format!("{}{}", record.message(), pairs.collect::<String>())
    }

    #[test]
    fn a_line_is_right_for_one_record_and_for_more() {
        let times = (UNIX_EPOCH, UNIX_EPOCH);
        for (count, said) in [(0, "0 records dropped"), (1, "1 record dropped"), (2, "2 records dropped")] {
            assert!(text(&dropped(UNIX_EPOCH, &drops(count))).starts_with(said));
            let gap = text(&resumed(times, Cause::DiskFull, &drops(count), 0, &Happened::default()));
            assert!(gap.starts_with(&format!("logging resumed, {said} cause=disk_full")), "{gap}");
        }
        for (count, said) in [(1, "1 retained line follows"), (2, "2 retained lines follow")] {
            let gap = text(&resumed(times, Cause::DiskFull, &drops(0), count, &Happened::default()));
            assert!(gap.starts_with(&format!("logging resumed, 0 records dropped, {said} cause=disk_full")), "{gap}");
        }
    }

    /// A configuration of one long line was quoted three times, and 2.7 MB suspended an output that
    /// had room for each record.
    #[test]
    fn a_text_of_any_length_is_cut_at_four_kibibytes() {
        for len in [4095, 4096, 4097, 1 << 20] {
            let text = text(&failed(UNIX_EPOCH, "follow", 1, &std::io::Error::other("\u{e4}".repeat(len / 2) + "x")));
            let (whole, is_cut) = (text.ends_with("\u{e4}x"), text.ends_with("\u{e4}...[cut]"));
            assert_eq!((whole, is_cut), (len < 4096, len >= 4096), "{len}");
            assert!(text.len() < 4200, "{len}");
        }
    }

    /// `free=163840 reserve=83886` looked like enough space for a line.
    #[test]
    fn a_line_is_right_for_one_deleted_file_and_for_more() {
        let said = [(1, "an old log file was deleted to make room"), (2, "old log files were deleted to make room")];
        for (files_deleted, said) in said {
            let happened = Happened { files_deleted, bytes_deleted: 7, ..Happened::default() };
            let expected = format!("{said} old_files_deleted={files_deleted} old_bytes_deleted=7");
            assert_eq!(text(&super::happened(UNIX_EPOCH, &happened)), expected);
        }
    }

    #[test]
    fn a_suspension_names_what_did_not_fit() {
        let shortage = Shortage { free_space: 163_840, min_free_space: 83_886, error_reserve: 65_536, needed: 9000 };
        assert_eq!(
            text(&suspended(UNIX_EPOCH, Cause::LowSpace, &shortage)),
            "logging suspended cause=low_space free=163840 min_free_space=83886 error_reserve=65536 needed=9000"
        );
        let start = Shortage { error_reserve: 0, needed: 0, ..shortage };
        let said = text(&suspended(UNIX_EPOCH, Cause::LowSpace, &start));
        assert_eq!(said, "logging suspended cause=low_space free=163840 min_free_space=83886");
    }
}
