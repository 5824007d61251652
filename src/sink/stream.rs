//! The sink of everything that is not a regular file: pipes, terminals, sockets and devices. Hands
//! on what the reader leaves room for, and never waits. Runs on the writer's thread.

use std::io;
use std::time::Duration;

use crate::disk::{ATOMIC_WRITE, DiskStream};

use super::{Batch, Lag, WriteError, write_all};

/// The time between two looks at the reader of a suspended stream.
const PROBE: Duration = Duration::from_millis(50);

/// An open stream.
pub(super) struct StreamSink<S> {
    stream: S,
    /// The rest of a line that is partly written: goes before anything else.
    rest: Vec<u8>,
    /// The stream ends in a part of a line whose rest is gone: the next write begins with a
    /// newline.
    torn: bool,
    /// The bytes that the reader had not read when there was no room.
    unread: Option<u64>,
}

impl<S: DiskStream> StreamSink<S> {
    /// Takes an open stream. `torn`: it ends in the middle of a line.
    pub(super) fn new(stream: S, torn: bool) -> Self {
        Self { stream, rest: Vec::new(), torn, unread: None }
    }

    /// Returns true if the stream ends in the middle of a line.
    pub(super) fn is_torn(&self) -> bool {
        self.torn || !self.rest.is_empty()
    }

    /// Hands on the lines of `batch`, in writes that a pipe takes whole or not at all.
    ///
    /// # Errors
    ///
    /// The reader has left no room for more, or the stream is broken. A line of which a part is in
    /// is finished by the next write, before anything else.
    pub(super) fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let finished = self.finish_line()?;
        let (got, result) = self.write_lines(batch);
        let Err(error) = result else { return Ok(()) };
        let (whole, end) = batch.whole_lines_in(got);
        let part = got - end;
        if error.kind() != io::ErrorKind::WouldBlock {
            self.torn |= part > 0;
            return Err(WriteError::failed(whole, "write", error));
        }
        let begun = part > 0 && self.remember(batch, got, whole);
        Err(self.lagging(whole, begun, finished || got > 0))
    }

    /// Checks that a write would get something in.
    ///
    /// # Errors
    ///
    /// The reader has left no room.
    pub(super) fn retry(&mut self) -> Result<(), WriteError> {
        match self.wait(Duration::ZERO) {
            true => Ok(()),
            false => Err(WriteError::lagging(0, Lag::default()).retry_after(PROBE)),
        }
    }

    /// Waits up to `at_most` until the reader has left room. Returns true if it has.
    pub(super) fn wait(&mut self, at_most: Duration) -> bool {
        self.stream.writable(at_most)
    }

    /// Hands on the rest of a line, if there is one. Returns true if there was.
    ///
    /// # Errors
    ///
    /// The reader has left no room for all of it, or the stream is broken.
    pub(super) fn finish_line(&mut self) -> Result<bool, WriteError> {
        if self.torn {
            self.rest.insert(0, b'\n');
            self.torn = false;
        }
        let mut got = 0;
        while got < self.rest.len() {
            let end = self.rest.len().min(got + ATOMIC_WRITE);
            let (more, result) = write_all(&mut self.stream, &self.rest[got..end]);
            got += more;
            if let Err(error) = result {
                self.rest.drain(..got);
                return Err(match error.kind() {
                    io::ErrorKind::WouldBlock => self.lagging(0, false, got > 0),
                    _ => WriteError::failed(0, "write", error),
                });
            }
        }
        self.rest = Vec::new();
        Ok(got > 0)
    }

    /// Returns the error of a reader that has left no room for more than `written` lines. `got_in`:
    /// it has taken something.
    fn lagging(&mut self, written: usize, begun: bool, got_in: bool) -> WriteError {
        let unread = self.stream.unread();
        let has_read = unread < self.unread && unread.is_some();
        self.unread = unread;
        WriteError::lagging(written, Lag { begun, took_some: got_in || has_read })
    }

    /// Writes as many whole lines at once as a pipe takes whole; a longer line goes piece by piece.
    fn write_lines(&mut self, batch: &Batch<'_>) -> (usize, io::Result<()>) {
        let bytes = batch.bytes();
        let mut ends = batch.ends().peekable();
        let mut got = 0;
        while got < bytes.len() {
            let mut end = got;
            while let Some(next) = ends.next_if(|next| *next - got <= ATOMIC_WRITE) {
                end = next;
            }
            if end == got {
                end = bytes.len().min(got + ATOMIC_WRITE);
            }
            let (more, result) = write_all(&mut self.stream, &bytes[got..end]);
            got += more;
            if result.is_err() {
                return (got, result);
            }
        }
        (got, Ok(()))
    }

    /// Remembers the rest of line `number`, of which the first `got` bytes of the batch hold a
    /// part. Returns false if there is no memory for it: then the line is torn.
    fn remember(&mut self, batch: &Batch<'_>, got: usize, number: usize) -> bool {
        let end = batch.ends().nth(number).unwrap_or(got);
        let rest = &batch.bytes()[got..end];
        self.torn = self.rest.try_reserve_exact(rest.len()).is_err();
        if !self.torn {
            self.rest.extend_from_slice(rest);
        }
        !self.torn
    }
}

/// Writes until all is in or an error comes. Returns how much is in.
fn write_all(stream: &mut impl DiskStream, bytes: &[u8]) -> (usize, io::Result<()>) {
    write_all::write_all(bytes, |rest, _| stream.write(rest).map_err(|error| (error, Some(0))))
}
