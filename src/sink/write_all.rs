//! Writes again what an interrupted or a short write has left. Runs on the writer's thread.

use std::io;

/// A write that is interrupted this often in a row counts as failed.
const MOST_INTERRUPTIONS: usize = 100;

/// Writes until all is in or an error comes. Returns how many bytes are in. `write` gets the rest,
/// and whether bytes before it are in. With its error it returns how many bytes are in all the
/// same; `None`: that cannot be seen, and the write is not repeated.
pub(super) fn write_all(
    bytes: &[u8],
    mut write: impl FnMut(&[u8], bool) -> Result<usize, (io::Error, Option<usize>)>,
) -> (usize, io::Result<()>) {
    let (mut got, mut interruptions) = (0, 0);
    while got < bytes.len() {
        let (error, seen) = match write(&bytes[got..], got > 0) {
            Ok(0) => return (got, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => {
                (got, interruptions) = (got + more, 0);
                continue;
            }
            Err(failed) => failed,
        };
        got += seen.unwrap_or(0);
        let again = error.kind() == io::ErrorKind::Interrupted && interruptions < MOST_INTERRUPTIONS;
        if !again || seen.is_none() {
            return (got, Err(error));
        }
        interruptions += 1;
    }
    (got, Ok(()))
}
