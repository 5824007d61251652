//! What an output has still to report to the readers of its log: dropped records, what happened to
//! the file, failures, the start-up notice. Runs on the writer's thread.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{Cause, Event};
use crate::record::Notice;
use crate::sink::{News, Now, Shortage};
use crate::stats::Drops;
use crate::unix_time::UnixTime;

use super::notice::{self, Happened};
use super::suspension::Suspension;

/// Drops that are no gap, and failures, are reported at most this often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The line that says that an output is suspended is written at most this often.
const SUSPENDED_LINE_EVERY: Duration = Duration::from_secs(60);

/// One output's list of what is unreported.
#[derive(Default)]
pub(super) struct Unreported {
    /// The start-up notice.
    opening: Option<Notice>,
    happened: Happened,
    /// One entry for each thing that was attempted, so that no failure hides another.
    failed: Vec<Failed>,
    /// A sync that failed, whose line is in but not synced either.
    unsynced: Option<Failed>,
    /// The drops that the log has reported so far.
    reported: Drops,
    gap: Gap,
    drops_line: Option<Instant>,
    failed_line: Option<Instant>,
    suspended_line: Option<Instant>,
    /// What is reported by the lines that lead the batch in hand.
    leading: Vec<Leading>,
}

/// When records began to be missing that the log has not reported.
#[derive(Default)]
struct Gap {
    /// The last look that found none, or whose drops the log has reported.
    complete_at: Option<Now>,
    /// The look before the first that found some.
    since: Option<Now>,
    /// The earliest time of a record that the output itself has dropped: before the turn that has
    /// dropped it, and long before if it was retained.
    earliest_drop: Option<UnixTime>,
}

impl Gap {
    /// Everything that was dropped until then is reported.
    fn none_at(complete_at: Now) -> Self {
        Self { complete_at: Some(complete_at), since: None, earliest_drop: None }
    }
}

/// What failed without a suspension: how often, and the error of the last time.
struct Failed {
    times: u64,
    doing: &'static str,
    error: Arc<io::Error>,
}

/// What a line of the crate's own reports.
enum Leading {
    Opening,
    Happened(Happened),
    Failed(&'static str),
    /// The drops until a moment.
    Drops(Drops, Now),
}

impl Unreported {
    pub(super) fn new(opening: Option<Notice>) -> Self {
        Self { opening, ..Self::default() }
    }

    /// Takes news of the sink. Returns the event for the program.
    pub(super) fn hear(&mut self, news: News, output: &str) -> Option<Event> {
        match news {
            News::LinesDeleted { lines } => {
                self.happened.lines_deleted += lines;
                self.lines_may_be_gone();
            }
            News::CutShort { bytes } => {
                self.happened.cut_short += bytes;
                self.lines_may_be_gone();
            }
            News::Failed { doing, error } => {
                let error = Arc::new(error);
                let before = self.take_failed(doing).map_or(0, |failed| failed.times);
                self.failed.push(Failed { times: before + 1, doing, error: error.clone() });
                return Some(Event::Failed { output: output.to_owned(), doing, error });
            }
            News::Rotated { archive } => return Some(Event::Rotated { output: output.to_owned(), archive }),
            News::Deleted { path, bytes } => return Some(Event::Deleted { output: output.to_owned(), path, bytes }),
            News::GaveWay { path, bytes } => {
                self.happened.files_deleted += 1;
                self.happened.bytes_deleted += bytes;
                return Some(Event::Deleted { output: output.to_owned(), path, bytes });
            }
        }
        None
    }

    /// Notes that all lines written so far are synced, so the line about a failed sync stays.
    pub(super) fn synced(&mut self) {
        self.unsynced = None;
    }

    /// Notes that written lines may not be in the file any more: the line about a failed sync is
    /// due again.
    fn lines_may_be_gone(&mut self) {
        let Some(unsynced) = self.unsynced.take() else { return };
        if !self.failed.iter().any(|failed| failed.doing == unsynced.doing) {
            self.failed.push(unsynced);
        }
    }

    fn take_failed(&mut self, doing: &'static str) -> Option<Failed> {
        let place = self.failed.iter().position(|failed| failed.doing == doing)?;
        Some(self.failed.remove(place))
    }

    /// Returns the part of `dropped`, all drops of the output, that the log has not reported.
    pub(super) fn drops(&self, dropped: Drops) -> Drops {
        dropped.since(&self.reported)
    }

    /// Notes the earliest time of the records that the output itself has dropped since the last
    /// call.
    pub(super) fn note_drop(&mut self, time: Option<UnixTime>) {
        self.gap.earliest_drop = self.gap.earliest_drop.into_iter().chain(time).min();
    }

    /// Checks whether records are missing, while the output is not suspended: a gap line says since
    /// when. `dropped` are all drops of the output.
    pub(super) fn look_for_gap(&mut self, dropped: Drops, now: Now) {
        if self.drops(dropped).total() == 0 {
            self.gap = Gap::none_at(now);
        } else if self.gap.since.is_none() {
            self.gap.since = Some(self.gap.complete_at.unwrap_or(now));
        }
    }

    /// Hands the lines that lead the next batch to `line`, in their order. `dropped` are all drops
    /// of the output. At the end, everything is reported at once.
    pub(super) fn lead(&mut self, dropped: Drops, now: Now, at_the_end: bool, mut line: impl FnMut(&Notice)) {
        self.look_for_gap(dropped, now);
        if let Some(opening) = &self.opening {
            line(opening);
            self.leading.push(Leading::Opening);
        }
        if !self.happened.is_nothing() {
            let happened = std::mem::take(&mut self.happened);
            line(&notice::happened(now.wall, &happened));
            self.leading.push(Leading::Happened(happened));
        }
        let is_due_now = |last| at_the_end || is_due(last, LINE_EVERY, now.monotonic);
        if !self.failed.is_empty() && is_due_now(self.failed_line) {
            self.failed_line = Some(now.monotonic);
            for Failed { times, doing, error } in &self.failed {
                line(&notice::failed(now.wall, doing, *times, error));
                self.leading.push(Leading::Failed(doing));
            }
        }
        let drops = self.drops(dropped);
        if drops.total() > 0 && is_due_now(self.drops_line) {
            self.drops_line = Some(now.monotonic);
            line(&notice::dropped(now.wall, &drops));
            self.leading.push(Leading::Drops(drops, now));
        }
    }

    /// Marks as reported what the first `written` lines of the batch report. Returns how many lines
    /// of the batch were the crate's own.
    pub(super) fn settle(&mut self, written: usize) -> usize {
        let leading = std::mem::take(&mut self.leading);
        for (line, leading) in leading.iter().enumerate() {
            match leading {
                Leading::Drops(drops, until) if line < written => {
                    self.reported.add(drops);
                    self.gap = Gap::none_at(*until);
                }
                Leading::Happened(happened) if line >= written => self.happened.add(*happened),
                Leading::Failed(doing) if line < written => self.failed_is_in(doing),
                Leading::Opening if line < written => self.opening = None,
                // Lines that are not in are due again.
                Leading::Drops(..) => self.drops_line = None,
                Leading::Failed(_) => self.failed_line = None,
                Leading::Happened(_) | Leading::Opening => {}
            }
        }
        leading.len()
    }

    /// Notes that the line about a failure is in. The cause of a failed sync may also take that
    /// line.
    fn failed_is_in(&mut self, doing: &'static str) {
        let failed = self.take_failed(doing);
        self.unsynced = failed.filter(|_| doing == "fsync").or_else(|| self.unsynced.take());
    }

    /// Returns the gap line: `drops` are missing, and `retained` lines follow it.
    pub(super) fn gap(&self, suspension: &Suspension, drops: &Drops, retained: usize, now: Now) -> Notice {
        let before = self.gap.since.filter(|since| since.monotonic < suspension.since.monotonic);
        let since = before.unwrap_or(suspension.since);
        let from = self.gap.earliest_drop.map_or(since.wall, |time| since.wall.min(time.into()));
        notice::resumed((from, now.wall), suspension.cause, drops, retained, &self.happened)
    }

    /// Marks as reported what a gap line with `drops` reports.
    pub(super) fn gap_is_in(&mut self, drops: &Drops, now: Now) {
        self.reported.add(drops);
        self.gap = Gap::none_at(now);
        self.happened = Happened::default();
        self.drops_line = Some(now.monotonic);
    }

    /// Returns the line that says that the output is suspended, if it is due.
    pub(super) fn suspended(&mut self, cause: Cause, shortage: &Shortage, now: Now) -> Option<Notice> {
        let is_due = is_due(self.suspended_line, SUSPENDED_LINE_EVERY, now.monotonic);
        is_due.then(|| {
            self.suspended_line = Some(now.monotonic);
            notice::suspended(now.wall, cause, shortage)
        })
    }

    /// Returns how many records the log has reported as dropped.
    pub(super) fn reported(&self) -> u64 {
        self.reported.total()
    }
}

fn is_due(last: Option<Instant>, every: Duration, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= every)
}
