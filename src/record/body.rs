//! The bytes of a record: inline as long as they fit, then in a buffer on the heap, cut where they
//! are too long or where there is no memory. Runs on the caller's thread.

use std::fmt;

use arrayvec::ArrayVec;

use super::buffer::Buffer;
use super::text_of;

/// The longest message that a record may have, in bytes: 64 KiB. What is longer is cut there and
/// marked.
pub(super) const LONGEST_MESSAGE: usize = 64 * 1024;
/// The end of a text that was cut.
pub(crate) const CUT_MARK: &str = "...[cut]";
/// The end of a text whose `Display` or `Debug` returned an error.
const FAILED_MARK: &str = "...[formatting failed]";
/// What fits into the record itself; the size of the whole slot follows from it.
pub(super) const INLINE: usize = 176;

/// What a record holds apart from the texts of the program itself.
pub(super) enum Body {
    /// A message without arguments, and nothing else: not copied.
    Literal(&'static str),
    /// Target, thread name, message, key-values.
    Inline(ArrayVec<u8, INLINE>),
    /// Target, thread name, message and key-values that do not fit inline.
    Heap(Buffer),
}

/// What became of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Whole,
    /// It was longer than allowed.
    Cut,
    /// There was no memory for more.
    NoMemory,
}

impl Body {
    pub(super) const fn new() -> Self {
        Body::Inline(ArrayVec::new_const())
    }

    /// Adds what `write` writes, at most `most` bytes. A text that was cut, or whose `Display`
    /// failed, ends with the mark that says so.
    #[inline]
    pub(super) fn push_written(
        &mut self,
        most: usize,
        write: impl FnOnce(&mut TextWriter<'_>) -> fmt::Result,
    ) -> Written {
        let start = self.bytes().len();
        let mut writer = TextWriter { body: self, start, most, full: false };
        // `TextWriter` never fails: an error is the `Display`'s own.
        if write(&mut writer).is_err() {
            writer.write_long(FAILED_MARK);
        }
        match writer.full {
            false => Written::Whole,
            true if self.mark_cut(start, most) => Written::Cut,
            true => Written::NoMemory,
        }
    }

    /// Ends the text that begins at `start`, and has at most `most` bytes, with the mark that says
    /// that it was cut. Returns false if it was cut because there was no memory.
    fn mark_cut(&mut self, start: usize, most: usize) -> bool {
        // Where there was no memory for more, the mark goes into what there is.
        let end = (start + most).min(self.capacity());
        // A character has at most four bytes, so a text that was cut for its length ends just
        // before the limit.
        let has_memory = self.bytes().len() + 4 > start + most;
        self.cut_to(end.saturating_sub(CUT_MARK.len()).max(start));
        // If not even the mark fits, only the counter of cut records shows the cut.
        self.push(CUT_MARK.as_bytes()) && has_memory
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Body::Literal(_) => &[],
            Body::Inline(bytes) => bytes,
            Body::Heap(buffer) => buffer.bytes(),
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Body::Literal(_) => &mut [],
            Body::Inline(bytes) => bytes,
            Body::Heap(buffer) => buffer.bytes_mut(),
        }
    }

    #[inline]
    pub(super) fn spilled(&self) -> usize {
        match self {
            Body::Heap(buffer) => buffer.capacity(),
            Body::Literal(_) | Body::Inline(_) => 0,
        }
    }

    /// Returns how much it can hold as it is, without more memory.
    fn capacity(&self) -> usize {
        match self {
            Body::Literal(_) => 0,
            Body::Inline(bytes) => bytes.capacity(),
            Body::Heap(buffer) => buffer.capacity(),
        }
    }

    /// Adds all of the bytes. Returns false, and adds none, if there is no memory: a log must not
    /// end a program that has none left.
    #[inline]
    #[must_use]
    pub(super) fn push(&mut self, more: &[u8]) -> bool {
        match self {
            Body::Inline(bytes) => bytes.try_extend_from_slice(more).is_ok() || self.spill(more),
            Body::Heap(buffer) => buffer.push(more),
            Body::Literal(_) => self.spill(more),
        }
    }

    /// Adds as much of a text as there is memory for. Returns the number of bytes added.
    #[inline]
    pub(super) fn push_text(&mut self, text: &str) -> usize {
        if self.push(text.as_bytes()) { text.len() } else { self.push_what_fits(text) }
    }

    #[cold]
    fn push_what_fits(&mut self, text: &str) -> usize {
        let text = cut(text, self.capacity() - self.bytes().len());
        if self.push(text.as_bytes()) { text.len() } else { 0 }
    }

    /// Shortens it to at most `len` bytes, at a character's boundary.
    pub(super) fn cut_to(&mut self, len: usize) {
        let bytes = self.bytes();
        let mut len = len.min(bytes.len());
        while len > 0 && bytes.get(len).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {
            len -= 1;
        }
        self.truncate(len);
    }

    /// Shortens it to these bytes, which end with a whole text.
    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Body::Inline(bytes) => bytes.truncate(len),
            Body::Heap(buffer) => buffer.truncate(len),
            Body::Literal(_) => {}
        }
    }

    #[cold]
    fn spill(&mut self, more: &[u8]) -> bool {
        let old = self.bytes();
        let Some(mut buffer) = Buffer::with_room(old.len() + more.len()) else { return false };
        let fits = buffer.push(old) && buffer.push(more);
        *self = Body::Heap(buffer);
        fits
    }
}

/// Takes formatted text up to a number of bytes and swallows the rest, so that no `Display` sees an
/// error of ours.
pub struct TextWriter<'a> {
    body: &'a mut Body,
    /// Where the text begins in the body.
    start: usize,
    most: usize,
    full: bool,
}

impl fmt::Write for TextWriter<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for TextWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextWriter").finish_non_exhaustive()
    }
}

impl TextWriter<'_> {
    /// Writes formatted text: what `write!` calls, without a trait in scope.
    pub fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> fmt::Result {
        fmt::Write::write_fmt(self, arguments)
    }

    /// Writes the bytes of a text.
    #[inline]
    pub(crate) fn push(&mut self, text: &[u8]) {
        // Whatever fits into the slot is far from the limit.
        let fits = match self.body {
            Body::Inline(bytes) => bytes.try_extend_from_slice(text).is_ok(),
            Body::Heap(buffer) => {
                let has_room = text.len() <= buffer.capacity() - buffer.bytes().len();
                let is_short = buffer.bytes().len() + text.len() <= self.start + self.most;
                !self.full && is_short && has_room && buffer.push(text)
            }
            Body::Literal(_) => false,
        };
        if !fits {
            self.push_long(text);
        }
    }

    #[cold]
    fn push_long(&mut self, text: &[u8]) {
        let left = (self.start + self.most).saturating_sub(self.body.bytes().len());
        if self.full || text.len() <= left && self.body.push(text) {
            return;
        }
        // Only the bytes that can be stored are checked, and the first character after them.
        let most = text.len().min(left + 4);
        self.write_long(whole_characters(&text[..most]));
    }

    /// Returns whether something was swallowed.
    #[cfg(feature = "kv_serde")]
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    #[cold]
    fn write_long(&mut self, text: &str) {
        if self.full {
            return;
        }
        let left = self.most.saturating_sub(self.body.bytes().len() - self.start);
        self.full = self.body.push_text(cut(text, left)) < text.len();
    }
}

/// Returns the text of these bytes, up to a character that is incomplete.
fn whole_characters(bytes: &[u8]) -> &str {
    let whole = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    text_of(&bytes[..whole])
}

pub(super) fn cut(text: &str, most: usize) -> &str {
    // A character has at most four bytes.
    let most = most.min(text.len());
    let end = (most.saturating_sub(3)..=most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}
