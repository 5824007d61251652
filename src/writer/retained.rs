//! The lines of an output that wait: the newest of a suspended file, the backlog of a stream. A
//! ring of bytes whose memory is taken when the first line comes and given back when the last one
//! has gone. Pure. Runs on the writer's thread.

use std::collections::VecDeque;

use crate::record::level_of;
use crate::stats::DropReason;
use crate::unix_time::UnixTime;

use super::record_state::{LineRef, RecordState};

/// What is in the ring in addition to the bytes of each line.
pub(super) const LINE_OVERHEAD: usize = 32;

/// One output's retained lines, the oldest first. Each is what is remembered of it, then its bytes,
/// so that one block of memory holds all there is and its size is the bound.
#[derive(Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    lines: usize,
    /// The place of the oldest line: the number of bytes that were ever before it. The number wraps
    /// around; no two lines are ever that far apart.
    start: u32,
    /// A part of the oldest line is in its stream, and the sink has the rest.
    begun: bool,
}

/// What is remembered of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetainedLine {
    pub(super) len: usize,
    pub(super) time: UnixTime,
    /// Which record of its turn it is.
    pub(super) number: u32,
    /// What is known of its record. `retained` is where the next output has its line of it; round
    /// the circle, the last one leads to the first.
    pub(super) state: RecordState,
}

impl Ring {
    /// Returns the number of lines.
    pub(super) fn len(&self) -> usize {
        self.lines
    }

    pub(super) fn start(&self) -> u32 {
        self.start
    }

    /// Returns the place of the next line.
    pub(super) fn end(&self) -> u32 {
        self.start.wrapping_add(self.bytes.len() as u32)
    }

    /// Returns the bytes in use.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns true if a line of `len` bytes fits into a ring of `most` bytes now.
    pub(super) fn has_room(&self, len: usize, most: usize) -> bool {
        self.bytes.len().saturating_add(LINE_OVERHEAD).saturating_add(len) <= most
    }

    /// Takes the memory of a ring of `most` bytes, if it is not there. Returns false if there is
    /// none.
    pub(super) fn take_memory(&mut self, most: usize) -> bool {
        let missing = most.saturating_sub(self.bytes.len());
        self.bytes.capacity() >= most || self.bytes.try_reserve_exact(missing).is_ok()
    }

    /// Puts in a line for which there is room.
    pub(super) fn push(&mut self, retained: RetainedLine, line: &[u8]) {
        self.bytes.extend(&retained.to_bytes());
        self.bytes.extend(line);
        self.lines += 1;
    }

    /// Takes out the oldest line.
    pub(super) fn pop(&mut self) -> Option<RetainedLine> {
        if self.lines == 0 {
            return None;
        }
        let retained = self.at(self.start);
        let bytes = LINE_OVERHEAD + retained.len;
        self.bytes.drain(..bytes);
        self.start = self.start.wrapping_add(bytes as u32);
        self.lines -= 1;
        self.begun = false;
        Some(retained)
    }

    /// Notes whether a part of the oldest line is in its stream.
    pub(super) fn set_begun(&mut self, begun: bool) {
        self.begun = begun && self.lines > 0;
    }

    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Gives the memory back, once there is no line.
    pub(super) fn release(&mut self) {
        if self.lines == 0 {
            self.bytes = VecDeque::new();
        }
    }

    /// Returns what is remembered of the line that begins at this place.
    pub(super) fn at(&self, place: u32) -> RetainedLine {
        let mut bytes = [0; LINE_OVERHEAD];
        let index = place.wrapping_sub(self.start) as usize;
        bytes.iter_mut().zip(self.bytes.range(index..index + LINE_OVERHEAD)).for_each(|(to, from)| *to = *from);
        RetainedLine::from_bytes(bytes)
    }

    /// Replaces what is remembered of the line that begins at this place.
    pub(super) fn set(&mut self, place: u32, retained: RetainedLine) {
        let index = place.wrapping_sub(self.start) as usize;
        self.bytes.range_mut(index..index + LINE_OVERHEAD).zip(retained.to_bytes()).for_each(|(to, from)| *to = from);
    }

    /// Returns the lines, the oldest first; a line at the seam of the ring has two parts. A line
    /// whose rest the sink holds is empty.
    pub(super) fn lines(&self) -> impl Iterator<Item = (RetainedLine, [&[u8]; 2])> {
        let mut index = 0;
        (0..self.lines).map(move |number| {
            let retained = self.at(self.start.wrapping_add(index as u32));
            let start = index + LINE_OVERHEAD;
            index = start + retained.len;
            let is_begun = self.begun && number == 0;
            (retained, self.slices(if is_begun { index } else { start }, index))
        })
    }

    fn slices(&self, start: usize, end: usize) -> [&[u8]; 2] {
        let (front, back) = self.bytes.as_slices();
        let split = front.len();
        let front = &front[start.min(split)..end.min(split)];
        [front, &back[start.saturating_sub(split)..end.saturating_sub(split)]]
    }

    /// Returns how much memory it holds.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}

impl RetainedLine {
    fn to_bytes(self) -> [u8; LINE_OVERHEAD] {
        let RecordState { level, truncated, written, dropped, retained } = self.state;
        let UnixTime { second, nanos } = self.time;
        let (output, at) = retained.map_or((0, 0), LineRef::to_numbers);
        let (by, reason) = dropped.map_or((0, 0), |(by, reason)| (by, reason as u8 + 1));
        let mut bytes = [0; LINE_OVERHEAD];
        bytes[0..8].copy_from_slice(&second.to_le_bytes());
        bytes[8..12].copy_from_slice(&nanos.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.len as u32).to_le_bytes());
        bytes[16..20].copy_from_slice(&self.number.to_le_bytes());
        bytes[20..24].copy_from_slice(&at.to_le_bytes());
        bytes[24..26].copy_from_slice(&output.to_le_bytes());
        bytes[26..28].copy_from_slice(&by.to_le_bytes());
        bytes[28..32].copy_from_slice(&[reason, level as u8, u8::from(truncated), u8::from(written)]);
        bytes
    }

    fn from_bytes(bytes: [u8; LINE_OVERHEAD]) -> Self {
        let four = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let two = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let [.., reason, level, truncated, written] = bytes;
        let [second @ .., _, _, _, _] = *bytes.first_chunk::<12>().unwrap_or(&[0; 12]);
        let reason = usize::from(reason).checked_sub(1).and_then(|place| DropReason::ALL.get(place));
        Self {
            len: u32::from_le_bytes(four(12)) as usize,
            time: UnixTime { second: i64::from_le_bytes(second), nanos: u32::from_le_bytes(four(8)) },
            number: u32::from_le_bytes(four(16)),
            state: RecordState {
                level: level_of(level),
                truncated: truncated != 0,
                written: written != 0,
                dropped: reason.map(|reason| (two(26), *reason)),
                retained: LineRef::from_numbers(two(24), u32::from_le_bytes(four(20))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    fn retained(len: usize) -> RetainedLine {
        let state = RecordState { level: Level::Warn, truncated: false, written: false, dropped: None, retained: None };
        RetainedLine { len, time: UnixTime::EPOCH, number: 0, state }
    }

    #[test]
    fn what_is_remembered_of_a_line_is_what_was_to_be_remembered() {
        let moments = [0, 1, 999_999_999, 1_000_000_000, 1_795_253_400_123_456_789];
        for nanos in moments {
            for before in [false, true] {
                let time = UnixTime::from_nanos(if before { -nanos } else { nanos });
                for level in Level::iter() {
                    for dropped in [None, Some((0, DropReason::QueueFull)), Some((u16::MAX, DropReason::Shutdown))] {
                        for retained in [None, LineRef::new(0, 0), LineRef::new(65_534, u32::MAX)] {
                            let state = RecordState { level, truncated: before, written: !before, dropped, retained };
                            let line = RetainedLine { len: 1 << 30, time, number: 4095, state };
                            assert_eq!(RetainedLine::from_bytes(line.to_bytes()), line);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_memory_is_what_it_may_be_and_not_a_byte_more() {
        for most in [1, 31, 32, 33, 100, 4095, 4096, 4097, 65_536] {
            let mut ring = Ring::default();
            assert_eq!(ring.memory(), 0, "before the first line");
            for len in [0, 1, 7, most, 200] {
                if LINE_OVERHEAD + len > most {
                    continue;
                }
                while !ring.has_room(len, most) {
                    ring.pop();
                }
                assert!(ring.take_memory(most));
                ring.push(retained(len), &vec![b'x'; len]);
                assert_eq!(ring.memory(), most);
            }
            while ring.pop().is_some() {}
            ring.release();
            assert_eq!(ring.memory(), 0, "after the last line");
        }
    }

    #[test]
    fn a_line_whose_rest_the_sink_has_is_handed_over_as_nothing_and_goes_as_itself() {
        let mut ring = Ring::default();
        assert!(ring.take_memory(400));
        ring.set_begun(true);
        assert!(!ring.is_begun(), "there is no line");
        ring.push(retained(3), b"ab\n");
        ring.push(retained(2), b"c\n");
        ring.set_begun(true);
        let lines = |ring: &Ring| ring.lines().map(|(_, parts)| parts.concat()).collect::<Vec<_>>();
        assert_eq!(lines(&ring), [b"".to_vec(), b"c\n".to_vec()]);
        // The stream broke: the whole line is due again.
        ring.set_begun(false);
        assert_eq!(lines(&ring), [b"ab\n".to_vec(), b"c\n".to_vec()]);
        ring.set_begun(true);
        assert_eq!(ring.pop().map(|retained| retained.len), Some(3));
        assert_eq!((ring.is_begun(), lines(&ring)), (false, vec![b"c\n".to_vec()]));
    }

    #[test]
    fn lines_come_out_as_they_went_in_wherever_the_ring_closes() {
        for most in 64..400 {
            // Where the places wrap around, too.
            let mut ring = Ring { start: u32::MAX - 700, ..Ring::default() };
            for number in 0..60_usize {
                let line = vec![number as u8; number * 7 % 90];
                if LINE_OVERHEAD + line.len() > most {
                    continue;
                }
                while !ring.has_room(line.len(), most) {
                    ring.pop();
                }
                assert!(ring.take_memory(most));
                ring.push(retained(line.len()), &line);
                let newest = ring.lines().last().unwrap();
                assert_eq!(newest.1.concat(), line);
                let total: usize = ring.lines().map(|(retained, _)| LINE_OVERHEAD + retained.len).sum();
                assert!(total <= most && total == ring.bytes.len());
            }
        }
    }
}
