//! Several outputs at once, each with its own level, format and state: `cargo run --example
//! outputs`.
//!
//! One of them is `/dev/full`, a file on a disk that is always full: it is suspended, and the
//! others go on.

#![allow(clippy::print_stdout)] // it shows what was written

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use log::{LevelFilter, debug, error, info, warn};
use unfazed::{Batch, Builder, Console, Format, LogFile, Sink, SinkOutput, WriteError};

/// An output of the program's own: here it only counts.
struct Counting {
    errors: Arc<AtomicUsize>,
}

impl Sink for Counting {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        self.errors.fetch_add(batch.len(), Relaxed);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let everything = directory.path().join("everything.log");
    let warnings = directory.path().join("warnings.json");
    let errors = Arc::new(AtomicUsize::new(0));

    let mut builder = Builder::new()
        .level(LevelFilter::Debug)
        .file(&everything)
        .file(LogFile::new(&warnings).level(LevelFilter::Warn).format(Format::json()))
        .console(Console::stderr().level(LevelFilter::Error))
        .output(SinkOutput::new("counting", Counting { errors: errors.clone() }).level(LevelFilter::Error));
    if Path::new("/dev/full").exists() {
        builder = builder.file("/dev/full");
    }
    let handle = builder.init()?;

    debug!("listening");
    info!(port = 8080; "accepting connections");
    warn!(free = 12, unit = "MiB"; "little memory");
    error!("no connection to the database");
    // `/dev/full` is suspended, so this says so; the others have everything.
    let flushed = handle.flush(Duration::from_secs(2));

    println!("flush: {flushed:?}");
    println!("--- {}\n{}", everything.display(), std::fs::read_to_string(&everything)?);
    println!("--- {}\n{}", warnings.display(), std::fs::read_to_string(&warnings)?);
    println!("--- {} ERROR record counted by the program's own sink\n", errors.load(Relaxed));
    for output in handle.stats().outputs {
        println!("{:?} {}: {} written, {} dropped", output.state, output.name, output.written, output.dropped.total());
    }
    Ok(())
}
