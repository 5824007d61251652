//! `Captured`: prints records where the test harness captures what is printed. Runs on the caller's
//! thread, because `cargo test` captures by thread; a mode for the tests of programs, in which a
//! log call waits for the stream.

use std::thread;
use std::time::SystemTime;

use crate::format::{Encoder, Format, LineBuf};
use crate::front::program::{Question, ask};
use crate::record::{OwnedRecord, Record};
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

    /// Prints one record. What its format cannot lay out is not printed, nor is what a format of
    /// the program logs meanwhile.
    #[allow(clippy::print_stderr)] // the harness captures what the macro prints, and nothing else
    pub(crate) fn print(&self, record: &OwnedRecord, wanting: Wanting) {
        if !self.offered.has(record.level(), wanting) {
            return;
        }
        let thread = thread::current();
        let mut line = LineBuf::default();
        let view = Record::new(record, SystemTime::now(), thread.name());
        // What cannot be printed is a panic of the macro.
        let _ = ask(Question::Format, || {
            if Encoder::new(self.format.clone()).line(&mut line, &view).is_ok() {
                eprint!("{}", String::from_utf8_lossy(line.bytes()));
            }
        });
    }
}

/// Takes what is printed already, so that it counts as written.
pub(crate) struct Printed;

impl Sink for Printed {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        Ok(())
    }
}
