//! A writer for `tracing_subscriber::fmt`: each line is a record that every output writes as it is.
//! Runs on the caller's thread.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use tracing_core::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::front::logger::Core;
use crate::wanted::Wanting;

use super::layer::level;

/// Makes a [`LineWriter`] for each event; see [`writer`](super::writer).
#[derive(Clone)]
pub struct MakeLineWriter {
    core: Arc<Core>,
}

impl MakeLineWriter {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    fn writer_for(&self, level: log::Level, target: &str) -> LineWriter<'_> {
        LineWriter { core: &self.core, level, wanting: self.core.filter().load().wanting_line(level, target) }
    }
}

impl<'a> MakeWriter<'a> for MakeLineWriter {
    type Writer = LineWriter<'a>;

    /// Makes a writer of lines whose location is unknown: INFO, without a target.
    fn make_writer(&'a self) -> LineWriter<'a> {
        self.writer_for(log::Level::Info, "")
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        self.writer_for(level(*metadata.level()), metadata.target())
    }
}

impl fmt::Debug for MakeLineWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MakeLineWriter").finish_non_exhaustive()
    }
}

/// Makes one record of each call of `write`, which `tracing_subscriber::fmt` calls once for an
/// event. It neither fails nor waits, except under `Overflow::Block`.
pub struct LineWriter<'a> {
    core: &'a Core,
    level: log::Level,
    /// The outputs with filters that want the line.
    wanting: Wanting,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.core.log_line(self.level, self.wanting, line);
        Ok(line.len())
    }

    /// Does nothing: `Handle::flush` waits.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for LineWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineWriter").field("level", &self.level).finish_non_exhaustive()
    }
}
