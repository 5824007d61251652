//! The arguments of a log call in place of its message: stored by their bytes on the caller's
//! thread, laid out as text on the writer's. Only the call knows what the bytes mean.

use std::fmt;
use std::sync::atomic::AtomicU64;

use super::body::{Body, LONGEST_MESSAGE, TextWriter, Written};
use super::key_values::{KeyValueWriter, Keys};
use super::{Location, OwnedRecord};

/// A part of a message.
pub struct Piece {
    /// The text before the argument.
    pub text: &'static str,
    /// Writes the next argument, or several, and removes their bytes.
    pub show: Show,
}

/// Writes arguments from their bytes, and removes those bytes.
pub(crate) type Show = fn(&mut &[u8], &mut TextWriter<'_>) -> fmt::Result;

/// A log call in the program text.
pub struct Site {
    pub(crate) module_path: &'static str,
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    pieces: &'static [Piece],
    /// The text after the last argument.
    last: &'static str,
    /// The keys of the values that the call stores.
    pub(crate) keys: Keys,
    /// The bytes of all of them.
    pub(super) keys_len: usize,
    /// What the filter has said of the call, in the filter's own words. At first nothing.
    pub(crate) verdict: AtomicU64,
}

impl Site {
    /// Makes the site of a log call in this module, file and line.
    pub const fn new(
        module_path: &'static str,
        file: &'static str,
        line: u32,
        pieces: &'static [Piece],
        last: &'static str,
    ) -> Self {
        Self { module_path, file, line, pieces, last, keys: &[], keys_len: 0, verdict: AtomicU64::new(0) }
    }

    /// Makes it the site of a call that stores the values of these keys.
    pub const fn with_keys(self, keys: &'static [&'static str]) -> Self {
        let (mut keys_len, mut number) = (0, 0);
        while number < keys.len() {
            keys_len += keys[number].len();
            number += 1;
        }
        Self { keys, keys_len, ..self }
    }

    /// Returns the message, if it is the same for each call.
    #[inline]
    pub(crate) fn literal(&self) -> Option<&'static str> {
        self.pieces.is_empty().then_some(self.last)
    }

    /// Returns the message, if it is the same for each call, and the record has nothing else.
    #[inline]
    pub(crate) fn lone_literal(&self) -> Option<&'static str> {
        self.literal().filter(|literal| self.keys.is_empty() && literal.len() <= LONGEST_MESSAGE)
    }

    /// Writes the message with these arguments.
    fn lay_out(&self, mut arguments: &[u8], text: &mut TextWriter<'_>) -> fmt::Result {
        for piece in self.pieces {
            text.push(piece.text.as_bytes());
            (piece.show)(&mut arguments, text)?;
        }
        text.push(self.last.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece").field("text", &self.text).finish_non_exhaustive()
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("file", &self.file).finish_non_exhaustive()
    }
}

/// The arguments of a call, which store themselves. Any thread may call it.
pub trait Arguments: Sync {
    /// Stores all of them. Returns false if one cannot be stored; then the caller discards what was
    /// stored.
    fn store(&self, into: &mut ArgumentWriter<'_>) -> bool;
}

/// The values of a call's keys, which store themselves.
pub trait Values {
    /// Stores each of them with its key; the first has this number.
    fn store(&self, keys: &'static [&'static str], number: usize, into: &mut KeyValueWriter<'_>);
}

/// A message that is to be laid out later.
#[derive(Clone, Copy)]
pub(crate) struct Deferred<'a> {
    pub(crate) site: &'static Site,
    pub(crate) arguments: &'a dyn Arguments,
    /// The values of the site's keys; `()` if it has none, or if `log`'s record has them.
    pub(crate) values: &'a dyn Values,
}

/// Takes the bytes of arguments.
pub struct ArgumentWriter<'a> {
    body: &'a mut Body,
    start: usize,
}

impl ArgumentWriter<'_> {
    /// Adds a tag and these bytes. Returns false if there is no memory, or if the arguments are
    /// longer than a message may be. The parts are not joined first, because a processor stalls
    /// when it reads at once what it has just written in parts.
    #[inline]
    pub fn push<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> bool {
        self.push_parts(tag, bytes, &[])
    }

    /// Adds a tag, the length of a text and the text. Returns false as `push` does.
    #[inline]
    pub fn push_text(&mut self, tag: u8, text: &str) -> bool {
        // A text whose length is cut here does not fit.
        self.push_parts(tag, (text.len() as u32).to_le_bytes(), text.as_bytes())
    }

    #[inline]
    fn push_parts<const N: usize>(&mut self, tag: u8, first: [u8; N], rest: &[u8]) -> bool {
        match self.body {
            // Whatever fits into the slot is far from the limit.
            Body::Inline(inline) if inline.remaining_capacity() >= 1 + N + rest.len() => {
                inline.try_push(tag).is_ok()
                    && inline.try_extend_from_slice(&first).is_ok()
                    && inline.try_extend_from_slice(rest).is_ok()
            }
            _ => self.push_long(&[tag]) && self.push_long(&first) && self.push_long(rest),
        }
    }

    #[cold]
    fn push_long(&mut self, bytes: &[u8]) -> bool {
        self.body.bytes().len() + bytes.len() <= self.start + LONGEST_MESSAGE && self.body.push(bytes)
    }
}

impl fmt::Debug for ArgumentWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArgumentWriter").finish_non_exhaustive()
    }
}

/// Stores the arguments of a message. Returns false, and leaves the body as it was, if they cannot
/// be stored.
pub(super) fn store(body: &mut Body, arguments: &dyn Arguments) -> bool {
    let start = body.bytes().len();
    let is_stored = arguments.store(&mut ArgumentWriter { body, start });
    if !is_stored {
        body.truncate(start);
    }
    is_stored
}

/// Where messages are laid out, one after the other. Used on the writer's thread.
pub(crate) struct Messages {
    text: Body,
}

impl Default for Messages {
    fn default() -> Self {
        Self { text: Body::new() }
    }
}

impl Messages {
    /// Returns the bytes of a record's message, laid out if it has not been, and whether it was cut
    /// here.
    #[inline]
    pub(crate) fn of<'a>(&'a mut self, record: &'a OwnedRecord) -> (&'a [u8], bool) {
        match record.location {
            Location::File(_) => (record.message_bytes(), false),
            Location::Site(site) => self.lay_out(site, record.message_or_arguments()),
        }
    }

    fn lay_out(&mut self, site: &Site, arguments: &[u8]) -> (&[u8], bool) {
        // The memory of a long message stays for the next one.
        self.text.truncate(0);
        let written = self.text.push_written(LONGEST_MESSAGE, |text| site.lay_out(arguments, text));
        (self.text.bytes(), written != Written::Whole)
    }
}
