//! What the writer says of its first attempt to open the outputs, to whoever has started it.

use std::io;
use std::sync::mpsc;

use crate::event::Cause;

/// The way back to whoever starts the writer and waits for its outputs.
pub(crate) struct FirstAttempt {
    /// Takes what became of each output, in their order.
    pub(crate) each: mpsc::Sender<Result<(), Unopened>>,
    /// Where the writer waits for the word to go on. Dropped without it, the writer ends, and has
    /// written nothing.
    pub(crate) go_on: Option<mpsc::Receiver<()>>,
}

/// Why an output is not open after the first attempt.
#[derive(Debug)]
pub(crate) struct Unopened {
    pub(crate) cause: Cause,
    pub(crate) error: Option<io::Error>,
}

impl FirstAttempt {
    pub(super) fn answer(&self, opened: Result<(), Unopened>) {
        // Whoever waited may have stopped.
        let _ = self.each.send(opened);
    }

    /// Waits for the word, and says whether it came. No output is answered for afterwards.
    pub(super) fn wait_for_word(self) -> bool {
        drop(self.each);
        self.go_on.is_none_or(|word| word.recv().is_ok())
    }
}
