//! Sinks of a program's own: one that waits at a gate, one that keeps what it gets, one that calls
//! back.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use unfazed::{Batch, Cause, Sink, WriteError};

/// Says that it was entered, and lets nothing through before the other end is dropped.
pub(crate) struct GateSink {
    entered: Sender<()>,
    gate: Receiver<()>,
}

/// The other end of a gate: dropped, the gate is open.
pub(crate) struct Gate {
    entered: Receiver<()>,
    _open_when_dropped: Sender<()>,
}

impl GateSink {
    pub(crate) fn new() -> (Self, Gate) {
        let (entered, has_entered) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        (Self { entered, gate }, Gate { entered: has_entered, _open_when_dropped: open })
    }
}

impl Gate {
    /// Waits until the writer stands before it.
    pub(crate) fn wait_for_writer(&self) {
        self.entered.recv().unwrap();
    }
}

impl Sink for GateSink {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        // Nobody listens once the gate is open.
        let _ = self.entered.send(());
        let _ = self.gate.recv();
        Ok(())
    }
}

/// Hangs for ever in its first write.
pub(crate) struct HungSink(pub(crate) Sender<()>);

impl Sink for HungSink {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        self.0.send(()).unwrap();
        loop {
            thread::park();
        }
    }
}

/// Keeps the text of all lines.
#[derive(Clone, Default)]
pub(crate) struct KeepSink(Arc<Mutex<String>>);

impl KeepSink {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl Sink for KeepSink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        self.0.lock().unwrap().push_str(str::from_utf8(batch.bytes()).unwrap());
        Ok(())
    }
}

/// Calls a function of the case for each batch.
pub(crate) struct CallSink<F>(pub(crate) F);

impl<F: FnMut() + Send> Sink for CallSink<F> {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        (self.0)();
        Ok(())
    }
}

/// Takes nothing, ever: the event callback hears of it.
pub(crate) struct FailSink;

impl Sink for FailSink {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        Err(WriteError::new(0, Cause::Io))
    }
}
