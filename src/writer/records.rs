//! Settles each record once, whatever becomes of its lines. Runs on the writer's thread.
//!
//! 1. `begin` gives a record of the turn its number. Each output then says what became of its line:
//!    `write`, `drop_record`, or `keep`, which retains it in the ring of that output
//!    (`retained.rs`).
//! 2. At the end of the turn `settle` counts each record: written if one output has it, open if a
//!    ring retains a line of it, otherwise dropped for the reason of the first output that wanted
//!    it.
//! 3. A line that leaves a ring later, written or dropped, goes through `let_go`.
//! 4. Lines of one record in several rings lead to each other, in a circle. A line that leaves
//!    earlier passes on what is known of the record; the last one settles it.
//! 5. So everything that is remembered is in the rings, and their size is the whole bound.

use std::sync::atomic::Ordering::Relaxed;

use log::Level;

use crate::stats::{Counters, DropReason};
use crate::unix_time::UnixTime;

use super::record_state::{LineRef, RecordState};
use super::retained::{LINE_OVERHEAD, RetainedLine, Ring};

/// The way of a line into a ring that is full. All numbers are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// The oldest lines are dropped for it.
    DropOldest(usize),
    /// It is dropped, unless it fits and leaves the reserved bytes free.
    DropNewest { most: usize, reserved: usize },
    /// It waits in any case; the ring grows, in one step up to this size.
    Grow(usize),
}

/// The records that are not settled.
pub(super) struct Records {
    /// Those of the turn, by their numbers.
    turn: Vec<RecordState>,
    /// What each output retains.
    rings: Vec<Ring>,
    /// The earliest time of a record that each output has dropped since `take_earliest_drop`.
    earliest_drops: Vec<Option<UnixTime>>,
    /// Where each ring ended when the turn began: lines after that belong to records of the turn.
    turn_began: Vec<u32>,
    /// Records of earlier turns that are retained and written nowhere.
    open: usize,
}

impl Records {
    /// Takes the memory for `outputs` outputs, and turns of `records` records.
    pub(super) fn new(outputs: usize, records: usize) -> Self {
        let rings: Vec<_> = (0..outputs).map(|_| Ring::default()).collect();
        // Allocated once, for the largest turn: a turn that ran out of memory could not drop its
        // records quietly.
        let (turn, turn_began) = (Vec::with_capacity(records), vec![0; rings.len()]);
        Self { turn, earliest_drops: vec![None; rings.len()], turn_began, rings, open: 0 }
    }

    /// Adds a record to the turn. Returns its number.
    pub(super) fn begin(&mut self, level: Level, truncated: bool) -> usize {
        self.turn.push(RecordState { level, truncated, written: false, dropped: None, retained: None });
        self.turn.len() - 1
    }

    /// Returns how many records the turn has.
    pub(super) fn len(&self) -> usize {
        self.turn.len()
    }

    /// Returns how many records are not settled.
    pub(super) fn in_hands(&self) -> usize {
        self.turn.len() + self.open
    }

    /// Returns how many lines an output retains.
    pub(super) fn retained(&self, output: usize) -> usize {
        self.rings[output].len()
    }

    /// Returns the lines that an output retains, the oldest first.
    pub(super) fn retained_lines(&self, output: usize) -> impl Iterator<Item = (RetainedLine, [&[u8]; 2])> {
        self.rings[output].lines()
    }

    /// Notes that an output has written a record of the turn.
    pub(super) fn write(&mut self, number: usize) {
        self.turn[number].written = true;
    }

    /// Returns the earliest time of a record that an output has dropped since the last call.
    pub(super) fn take_earliest_drop(&mut self, output: usize) -> Option<UnixTime> {
        self.earliest_drops[output].take()
    }

    fn note_drop(&mut self, output: usize, time: UnixTime) {
        let earliest = &mut self.earliest_drops[output];
        *earliest = Some(earliest.map_or(time, |earliest| earliest.min(time)));
    }

    /// Notes that an output has dropped a record of the turn, which was logged at `time`.
    pub(super) fn drop_record(
        &mut self,
        number: usize,
        output: usize,
        time: UnixTime,
        reason: DropReason,
        counters: &Counters,
    ) {
        self.note_drop(output, time);
        let state = &mut self.turn[number];
        counters.outputs[output].dropped.count(state.level, reason);
        state.drop_by(as_number(output), reason);
    }

    /// Drops the records that no output has got to, because the turn broke off.
    pub(super) fn break_off(&mut self, reason: DropReason) {
        for state in &mut self.turn {
            state.drop_by(u16::MAX, reason);
        }
    }

    /// Retains the line of a record that an output could not write, if there is room for it. Lines
    /// that make way for it are dropped for `reason`, and so is the line itself if there is no
    /// room. Returns true if the line is retained.
    pub(super) fn keep(
        &mut self,
        number: usize,
        output: usize,
        line: (&[u8], UnixTime),
        when_full: WhenFull,
        reason: DropReason,
        counters: &Counters,
    ) -> bool {
        let (bytes, time) = line;
        let at = self.make_room(output, bytes.len(), when_full, reason, counters);
        let Some(place) = at.and_then(|at| LineRef::new(output, at)) else {
            self.drop_record(number, output, time, reason, counters);
            return false;
        };
        let mut state = self.turn[number];
        state.retained = Some(match state.retained {
            None => place,
            Some(other) => self.lead(other, place),
        });
        self.turn[number].retained = Some(place);
        self.rings[output].push(RetainedLine { len: bytes.len(), time, number: number as u32, state }, bytes);
        true
    }

    /// Returns the place for a line of `len` bytes, if it finds one.
    fn make_room(
        &mut self,
        output: usize,
        len: usize,
        when_full: WhenFull,
        reason: DropReason,
        counters: &Counters,
    ) -> Option<u32> {
        let ring = &mut self.rings[output];
        let (fits, most) = match when_full {
            WhenFull::DropOldest(most) => (LINE_OVERHEAD.saturating_add(len) <= most, most.max(ring.size())),
            WhenFull::DropNewest { most, reserved } => (ring.has_room(len, most.saturating_sub(reserved)), most),
            WhenFull::Grow(most) => (true, most.max(ring.size().saturating_add(LINE_OVERHEAD).saturating_add(len))),
        };
        if !fits || !ring.take_memory(most) {
            return None;
        }
        while !self.rings[output].has_room(len, most) {
            self.let_go(output, Err(reason), counters);
        }
        Some(self.rings[output].end())
    }

    /// Returns the bytes that wait, with what is remembered of each line.
    pub(super) fn size(&self, output: usize) -> usize {
        self.rings[output].size()
    }

    /// Notes whether a part of the oldest line is in its stream.
    pub(super) fn set_begun(&mut self, output: usize, begun: bool) {
        self.rings[output].set_begun(begun);
    }

    pub(super) fn is_begun(&self, output: usize) -> bool {
        self.rings[output].is_begun()
    }

    /// Returns the length of a line of which a part is in.
    pub(super) fn begun_bytes(&self, output: usize) -> usize {
        let ring = &self.rings[output];
        if ring.is_begun() { ring.at(ring.start()).len } else { 0 }
    }

    /// Returns the place after the newest line.
    pub(super) fn end(&self, output: usize) -> u32 {
        self.rings[output].end()
    }

    /// Returns true if no line that waits is before this place, which was an end.
    pub(super) fn has_passed(&self, output: usize, end: u32) -> bool {
        // Places wrap around; far less than half of them lies between two that are compared.
        self.rings[output].start().wrapping_sub(end) <= u32::MAX / 2
    }

    /// Removes the oldest line that an output retains: it was written, or is dropped.
    pub(super) fn let_go(&mut self, output: usize, outcome: Result<(), DropReason>, counters: &Counters) {
        let at = self.rings[output].start();
        let Some(mut retained) = self.rings[output].pop() else { return };
        let was_written = retained.state.written;
        match outcome {
            Ok(()) => retained.state.written = true,
            Err(reason) => {
                self.note_drop(output, retained.time);
                counters.outputs[output].dropped.count(retained.state.level, reason);
                retained.state.drop_by(as_number(output), reason);
            }
        }
        let others = LineRef::new(output, at).and_then(|place| self.leave_circle(place, &retained));
        if self.is_of_the_turn(output, at) {
            let state = &mut self.turn[retained.number as usize];
            state.learn(&retained.state);
            state.retained = others;
            return;
        }
        if let Err(reason) = outcome {
            count_pending_drop(reason, counters);
        }
        if let Some(others) = others {
            self.share(others, &retained.state);
        }
        if !was_written && (retained.state.written || others.is_none()) {
            self.open -= 1;
            match retained.state.written {
                true => count_written(1, retained.state.truncated.into(), counters),
                false => count_dropped(&retained.state, counters),
            }
        }
        counters.writer.in_hands.store(self.in_hands(), Relaxed);
    }

    /// Drops all lines that an output retains.
    pub(super) fn drop_retained(&mut self, output: usize, reason: DropReason, counters: &Counters) {
        while self.retained(output) > 0 {
            self.let_go(output, Err(reason), counters);
        }
        self.release(output);
    }

    /// Gives back the memory of an output that retains nothing any more.
    pub(super) fn release(&mut self, output: usize) {
        self.rings[output].release();
    }

    /// Returns true if no output has written or retained a record of the turn, and another attempt
    /// may succeed. A format that panics may do so each time.
    pub(super) fn must_come_again(&self, number: usize) -> bool {
        let is_dropped = |state: &RecordState| state.dropped.is_some_and(|(_, reason)| reason != DropReason::Panicked);
        self.turn.get(number).is_some_and(|state| !state.written && state.retained.is_none() && is_dropped(state))
    }

    /// Ends the turn: counts each of its records, except those that stay open because a line of
    /// them is retained.
    pub(super) fn settle(&mut self, counters: &Counters) {
        let mut turn = std::mem::take(&mut self.turn);
        let (mut written, mut truncated) = (0, 0);
        for state in turn.drain(..) {
            if let Some((_, reason)) = state.dropped {
                count_pending_drop(reason, counters);
            }
            if let Some(place) = state.retained {
                self.share(place, &state);
            }
            if state.written {
                written += 1;
                truncated += u64::from(state.truncated);
            } else if state.retained.is_some() {
                self.open += 1;
            } else {
                count_dropped(&state, counters);
            }
        }
        self.turn = turn;
        count_written(written, truncated, counters);
        for (began, ring) in self.turn_began.iter_mut().zip(&self.rings) {
            *began = ring.end();
        }
        counters.writer.in_hands.store(self.in_hands(), Relaxed);
    }

    /// Returns whether the line that is, or was, at this place of a ring is of a record of the
    /// turn.
    fn is_of_the_turn(&self, output: usize, at: u32) -> bool {
        let end = self.rings[output].end();
        end.wrapping_sub(at) <= end.wrapping_sub(self.turn_began[output])
    }

    /// Makes the line at `place` lead to `next`. Returns where it led before.
    fn lead(&mut self, place: LineRef, next: LineRef) -> LineRef {
        let ring = &mut self.rings[place.output()];
        let mut retained = ring.at(place.at);
        let before = retained.state.retained.replace(next);
        ring.set(place.at, retained);
        before.unwrap_or(place)
    }

    /// Closes the circle after a line that has gone from `place`; returns another line of it, if
    /// there is one.
    fn leave_circle(&mut self, place: LineRef, gone: &RetainedLine) -> Option<LineRef> {
        let next = gone.state.retained.filter(|next| *next != place)?;
        let mut last = next;
        while let Some(other) = self.rings[last.output()].at(last.at).state.retained.filter(|other| *other != place) {
            last = other;
        }
        self.lead(last, next);
        Some(next)
    }

    /// Shares with all lines of a circle what is known of their record.
    fn share(&mut self, first: LineRef, state: &RecordState) {
        let mut place = first;
        loop {
            let ring = &mut self.rings[place.output()];
            let mut retained = ring.at(place.at);
            retained.state.learn(state);
            ring.set(place.at, retained);
            match retained.state.retained {
                Some(next) if next != first => place = next,
                _ => return,
            }
        }
    }

    /// Returns how much memory is held for the lines that an output retains.
    #[cfg(test)]
    pub(super) fn memory(&self, output: usize) -> usize {
        self.rings[output].memory()
    }
}

fn count_written(records: u64, truncated: u64, counters: &Counters) {
    counters.writer.written.fetch_add(records, Relaxed);
    counters.writer.truncated.fetch_add(truncated, Relaxed);
}

fn count_dropped(state: &RecordState, counters: &Counters) {
    counters.writer.dropped.count(state.level, state.dropped.map_or(DropReason::IoError, |(_, reason)| reason));
}

/// Counts a drop that a flush must not answer with `Ok`.
fn count_pending_drop(reason: DropReason, counters: &Counters) {
    match reason {
        DropReason::QueueFull => counters.writer.backlog_drops.fetch_add(1, Relaxed),
        _ => counters.writer.output_drops.fetch_add(1, Relaxed),
    };
}

fn as_number(output: usize) -> u16 {
    u16::try_from(output).unwrap_or(u16::MAX)
}
