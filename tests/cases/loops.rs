//! Records that the logger makes for itself.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use log::LevelFilter;
use unfazed::{Batch, Builder, Format, LogFile, Sink, WriteError};

use crate::{argument, fresh, processor_seconds};

/// `panicloop [quiet]`: a format that panics over a record without a key, with `log_panics`.
pub(crate) fn format_that_panics() {
    if argument(2) == "quiet" {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let format = Format::custom(|line, record| {
        let (_, id) = record.key_values().find(|(key, _)| *key == "request_id").unwrap();
        writeln!(line, "{id} {}", record.message())
    });
    let file = LogFile::new(fresh("panicloop").join("app.log")).format(format);
    let handle = Builder::new().file(file).log_panics(true).init().unwrap();
    log::info!(request_id = 1; "good");
    log::info!("one record without an id");
    let before = processor_seconds();
    thread::sleep(Duration::from_secs(3));
    let (stats, used) = (handle.stats(), processor_seconds() - before);
    println!("accepted {}, panicked {}, processor {used:.2} s", stats.accepted, stats.dropped.panicked);
}

/// A sink that sends over HTTP, with a client that logs.
struct Ship;

impl Sink for Ship {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        log::debug!(target: "http_client", "POST /ingest {} bytes", batch.bytes().len());
        Ok(())
    }
}

/// `sinkloop`: a sink that logs next to a healthy file.
pub(crate) fn sink_that_logs() {
    let log = fresh("sinkloop").join("app.log");
    let builder = Builder::new().level(LevelFilter::Debug).file(&log).sink("ship", Ship);
    let handle = builder.init().unwrap();
    log::info!("the only record of the program");
    let before = processor_seconds();
    thread::sleep(Duration::from_secs(3));
    let (accepted, used) = (handle.stats().accepted, processor_seconds() - before);
    let start = Instant::now();
    let flush = handle.flush(Duration::from_secs(2));
    let took = start.elapsed() < Duration::from_secs(1);
    println!("accepted {accepted}, processor {used:.2} s, flush {flush:?}, at once: {took}");
}
