//! `Captured`: prints records where the test harness captures what is printed. Runs on the caller's
//! thread, because `cargo test` captures by thread; a mode for the tests of programs, in which a
//! log call waits for the stream.

use std::time::SystemTime;

use crate::format::Format;
use crate::sink::{Batch, Sink, WriteError};
use crate::wanted::{Offered, Wanting};

pub(crate) struct Captured {
    offered: Offered,
    format: Format,
}

impl Captured {
    pub(crate) fn new(offered: Offered, format: Format) -> Self {
        Self { offered, format }
    }

    /// Prints one record. What its format cannot lay out is not printed.
    #[allow(clippy::print_stderr)] // the harness captures what the macro prints, and nothing else
    #[cold]
    pub(crate) fn print(&self, record: &log::Record<'_>, wanting: Wanting) {
        if !self.offered.has(record.level(), wanting) {
            return;
        }
        if let Ok(line) = self.format.line(record, SystemTime::now()) {
            eprint!("{}", String::from_utf8_lossy(&line));
        }
    }
}

/// Takes what is printed already, so that it counts as written.
pub(crate) struct Printed;

impl Sink for Printed {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        Ok(())
    }
}
