//! Filters that change while the program runs: `cargo run --example filters`.
//!
//! Starts with env_logger's directives (and those of RUST_LOG, if it is set), asks for debug
//! records for a while, and takes that back.

use std::time::Duration;

use log::{LevelFilter, debug, info, trace};
use unfazed::{Builder, Console, FlushError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let handle = Builder::new()
        .level(LevelFilter::Info)
        .filter("noisy=warn")
        .filter_env("RUST_LOG")
        .console(Console::stdout())
        .rate_limit(5, Duration::from_secs(60))
        .init()?;

    work("as it was started");

    // Over what is in force: `noisy` stays at WARN.
    let debug = handle.push_filter("debug")?;
    work("with debug pushed");
    drop(debug);
    work("with debug popped");

    // Instead of what `filter` and RUST_LOG said.
    handle.set_filter("trace")?;
    work("with trace set");
    match handle.set_filter("noisy=loud") {
        Ok(()) => {}
        Err(error) => info!("a bad filter changes nothing: {error}"),
    }

    // At most five a minute from one line of the program; the end reports how many there were.
    for attempt in 1..=1000 {
        info!("no connection to the database, attempt {attempt}");
    }
    match handle.shutdown(Duration::from_secs(2)) {
        // Nobody reads what is printed here any more; there is nothing left to do.
        Ok(()) | Err(FlushError::Suspended(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn work(when: &str) {
    info!("{when}: an info record");
    debug!("{when}: a debug record");
    trace!("{when}: a trace record");
    info!(target: "noisy", "{when}: an info record of a noisy crate");
}
