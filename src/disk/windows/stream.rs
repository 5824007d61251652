//! A console, a pipe or a device of Windows, and the thread that writes it. A write there waits for
//! its reader as long as that likes: a pipe that is full, a console in which somebody selects text.
//! So a thread of its own waits, and the writer's thread hands it one piece at a time.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::os::windows::{is_console, write_console};

use crate::disk::{DiskStream, Stream};

/// A write is waited for this long: then a reader that reads has taken it, and a broken pipe has
/// shown itself.
const USUAL: Duration = Duration::from_millis(5);
/// The last write of a stream that is closed is waited for this long.
const LAST: Duration = Duration::from_millis(500);
/// A console takes a few thousand units at once.
const UNITS: usize = 4096;

/// A stream of the system.
#[derive(Debug)]
pub(crate) struct RealStream {
    shared: Arc<Shared>,
    /// Before the first write, the handle that the thread will write to.
    file: Option<File>,
    /// Since then, the way to the thread.
    pieces: Option<Sender<Vec<u8>>>,
}

/// What the writer's thread and the stream's thread share.
#[derive(Debug)]
struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
}

/// What has become of the piece that was handed over last.
#[derive(Debug)]
enum Progress {
    Done,
    UnderWay,
    Failed(io::Error),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits up to `at_most` until the thread has nothing in hand.
    fn wait(&self, at_most: Duration) -> MutexGuard<'_, Progress> {
        let is_under_way = |progress: &mut Progress| matches!(progress, Progress::UnderWay);
        let waited = self.changed.wait_timeout_while(self.lock(), at_most, is_under_way);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn set(&self, progress: Progress) {
        *self.lock() = progress;
        self.changed.notify_all();
    }
}

impl RealStream {
    /// Takes a handle, whoever else has another of the same stream.
    pub(in crate::disk) fn own(file: File) -> Self {
        let shared = Arc::new(Shared { progress: Mutex::new(Progress::Done), changed: Condvar::new() });
        Self { shared, file: Some(file), pieces: None }
    }

    /// Takes a handle of a stream of the process.
    pub(in crate::disk) fn shared(file: File) -> Self {
        Self::own(file)
    }

    /// The way to the thread, which is started by the first write.
    fn pieces(&mut self) -> io::Result<&Sender<Vec<u8>>> {
        if let Some(file) = self.file.take() {
            let (sender, receiver) = mpsc::channel::<Vec<u8>>();
            let shared = self.shared.clone();
            thread::Builder::new().name("unfazed-stream".into()).spawn(move || {
                let mut target = Target::new(file);
                for piece in receiver {
                    let written = target.write_all(&piece);
                    shared.set(written.map_or_else(Progress::Failed, |()| Progress::Done));
                }
            })?;
            self.pieces = Some(sender);
        }
        self.pieces.as_ref().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// Returns a handle of our own for a stream of the process.
pub(in crate::disk) fn duplicate(stream: Stream) -> io::Result<File> {
    use std::os::windows::io::AsHandle as _;

    let handle = match stream {
        Stream::Stderr => io::stderr().as_handle().try_clone_to_owned(),
        Stream::Stdout => io::stdout().as_handle().try_clone_to_owned(),
    };
    Ok(handle?.into())
}

impl DiskStream for RealStream {
    /// Bytes that the thread has in hand, or that are in a pipe, count as taken.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = std::mem::replace(&mut *self.shared.lock(), Progress::UnderWay);
        match before {
            Progress::Done => {}
            Progress::UnderWay => return Err(io::ErrorKind::WouldBlock.into()),
            Progress::Failed(error) => {
                self.shared.set(Progress::Done);
                return Err(error);
            }
        }
        let handed = self.pieces().map(|pieces| pieces.send(bytes.to_vec()));
        if let Err(error) = handed.and_then(|sent| sent.map_err(|_| io::ErrorKind::BrokenPipe.into())) {
            self.shared.set(Progress::Done);
            return Err(error);
        }
        let mut progress = self.shared.wait(USUAL);
        match std::mem::replace(&mut *progress, Progress::Done) {
            Progress::Failed(error) => Err(error),
            other => {
                *progress = other;
                Ok(bytes.len())
            }
        }
    }

    fn writable(&mut self, at_most: Duration) -> bool {
        !matches!(*self.shared.wait(at_most), Progress::UnderWay)
    }

    fn unread(&mut self) -> Option<u64> {
        None
    }
}

impl Drop for RealStream {
    fn drop(&mut self) {
        // A thread that still waits then ends with its write, or with the process.
        drop(self.shared.wait(LAST));
    }
}

/// Where the thread writes.
struct Target {
    file: File,
    /// Text, which a console takes as UTF-16: whatever its code page is, it shows every character.
    is_console: bool,
    /// The first bytes of a character, whose others come with the next piece.
    begun: Vec<u8>,
}

impl Target {
    fn new(file: File) -> Self {
        let is_console = is_console(&file);
        Self { file, is_console, begun: Vec::new() }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_console {
            return self.file.write_all(bytes);
        }
        self.begun.extend_from_slice(bytes);
        let text = units(&mut self.begun);
        let mut rest = &text[..];
        while !rest.is_empty() {
            // Not between the two units of one character.
            let mut end = rest.len().min(UNITS);
            if end < rest.len() && (0xd800..0xdc00).contains(&rest[end - 1]) {
                end -= 1;
            }
            match write_console(&self.file, &rest[..end])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                taken => rest = &rest[taken.min(rest.len())..],
            }
        }
        Ok(())
    }
}

/// Takes the text out of `bytes`, as UTF-16. The first bytes of a character that is not whole stay.
fn units(bytes: &mut Vec<u8>) -> Vec<u16> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut at = 0;
    loop {
        match std::str::from_utf8(&bytes[at..]) {
            Ok(text) => {
                units.extend(text.encode_utf16());
                at = bytes.len();
                break;
            }
            Err(error) => {
                let valid = at + error.valid_up_to();
                units.extend(String::from_utf8_lossy(&bytes[at..valid]).encode_utf16());
                at = valid;
                let Some(bad) = error.error_len() else { break };
                units.push(char::REPLACEMENT_CHARACTER as u16);
                at += bad;
            }
        }
    }
    bytes.drain(..at);
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_in_two_pieces_reaches_the_console_whole() {
        let text = "größer als 5 €, 日本語, 😀\n";
        for cut in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let mut begun = first.to_vec();
            let mut got = units(&mut begun);
            begun.extend_from_slice(second);
            got.extend(units(&mut begun));
            assert_eq!((String::from_utf16_lossy(&got), begun.len()), (text.to_owned(), 0), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced_and_ends_nothing() {
        let mut bytes = b"a\xff\xfeb\xe2\x82c\n".to_vec();
        let got = units(&mut bytes);
        assert_eq!(String::from_utf16_lossy(&got), "a\u{fffd}\u{fffd}b\u{fffd}c\n");
    }
}
