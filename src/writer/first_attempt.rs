//! How the writer reports its first attempt to open the outputs to the thread that started it.

use std::io;

use crate::event::Cause;

/// The way back to whoever starts the writer and waits for its outputs.
pub(crate) struct FirstAttempt {
    /// Each output must be open: a connection that is being made is waited for.
    pub(crate) must_connect: bool,
    /// Takes the result of each output, in their order. Returns true if the next one is to be
    /// tried.
    pub(crate) answer: Box<dyn Fn(Result<(), Unopened>) -> bool + Send>,
    /// Waits for the command to go on. Returns false if none comes; then the writer ends, and has
    /// written nothing.
    pub(crate) go_ahead: Box<dyn FnOnce() -> bool + Send>,
}

/// Why an output is not open after the first attempt.
#[derive(Debug)]
pub(crate) struct Unopened {
    pub(crate) cause: Cause,
    pub(crate) error: Option<io::Error>,
}
