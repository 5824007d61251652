//! A sink that stores the lines that it gets, as a user would write one for a test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use unfazed::{Batch, Format, Handle, Sink, SinkOutput, WriteError};

/// Stores the lines that it gets; a clone has the same ones.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Returns an output with a name that no other one has.
    pub(crate) fn output(&self, format: Format) -> SinkOutput {
        SinkOutput::new(format!("lines {:p}", Arc::as_ptr(&self.0)), self.clone()).format(format)
    }

    /// The lines since the last call, those included that are on their way.
    pub(crate) fn take(&self, handle: &Handle) -> Vec<String> {
        handle.flush(Duration::from_secs(60)).unwrap();
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Sink for Lines {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let mut lines = self.0.lock().unwrap();
        lines.extend(batch.lines().map(|line| String::from_utf8(line.bytes().to_vec()).unwrap()));
        Ok(())
    }
}
