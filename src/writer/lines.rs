//! The lines of the batch that is being laid out. Runs on the writer's thread.

use std::io::Write as _;

use log::Level;

use crate::format::{Encoder, LineBuf};
use crate::record::Notice;
use crate::sink::{Batch, Now, Span};
use crate::unix_time::UnixTime;

use super::BATCH_BYTES;

/// The length of a usual line, in bytes.
const LINE: usize = 100;

/// The crate's own lines first, then a line for each record.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) text: LineBuf,
    spans: Vec<Span>,
    /// The number of the record in its turn, for each line that is a record's.
    pub(super) records: Vec<usize>,
    /// True if a record among them was born in the code of another output.
    pub(super) born_in_output: bool,
}

impl Lines {
    /// Makes lines with room for most batches, because a buffer that grows step by step leaves
    /// holes in the heap. Memory that is not touched is not resident; without memory the buffers
    /// grow later.
    pub(super) fn for_batches() -> Self {
        let mut lines = Self::default();
        // The last line asks for more room than it takes.
        lines.text.reserve(BATCH_BYTES + 4096);
        let _ = lines.spans.try_reserve(BATCH_BYTES / LINE);
        let _ = lines.records.try_reserve(BATCH_BYTES / LINE);
        lines
    }

    /// Returns true if there is memory for what is remembered of one more line.
    pub(super) fn have_memory(&mut self) -> bool {
        self.spans.try_reserve(1).is_ok() && self.records.try_reserve(1).is_ok()
    }

    /// Ends a line that is in the text.
    pub(super) fn close(&mut self, level: Level, time: UnixTime) {
        self.spans.push(Span { end: self.text.len(), level, time });
    }

    /// Adds a line of the crate's own.
    pub(super) fn push_notice(&mut self, notice: &Notice, encoder: &mut Encoder) {
        encoder.notice(&mut self.text, notice);
        let record = notice.record();
        self.close(record.level(), record.unix_time());
    }

    /// Adds the line of record `number`. Returns false if there is no memory for it.
    pub(super) fn push_record(&mut self, bytes: &[&[u8]], level: Level, time: UnixTime, number: usize) -> bool {
        let start = self.text.len();
        if !self.have_memory() || !bytes.iter().all(|part| self.text.write_all(part).is_ok()) {
            self.text.truncate(start);
            return false;
        }
        self.close(level, time);
        self.records.push(number);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(super) fn batch(&self, now: Now) -> Batch<'_> {
        Batch::new(self.text.bytes(), &self.spans, now).with_notices(self.spans.len() - self.records.len())
    }

    pub(super) fn urgent_batch(&self, now: Now) -> Batch<'_> {
        Batch::urgent(self.text.bytes(), &self.spans, now)
    }

    pub(super) fn last_words(&self, now: Now) -> Batch<'_> {
        Batch::last_words(self.text.bytes(), &self.spans, now)
    }

    pub(super) fn clear(&mut self) {
        self.text.clear(2 * BATCH_BYTES);
        self.spans.clear();
        self.records.clear();
        self.born_in_output = false;
    }
}
