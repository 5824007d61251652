//! The recommended way with SIGTERM and SIGINT: a thread of the program waits for the signal and
//! ends the program in the ordinary way; the exit hook of the logger then writes what is pending.
//! Nothing is logged inside a signal handler.
//!
//! `cargo run --example signals -- app.log`, then Ctrl-C, or `kill` its process.

#![allow(clippy::print_stdout)] // an example shows what it does

use std::time::Duration;

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use signal_hook::consts::TERM_SIGNALS;
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::signal_name;

    let path = std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("signals.log"), Into::into);
    unfazed::Builder::new().file(&path).init()?;

    let mut signals = Signals::new(TERM_SIGNALS)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            log::warn!("{} received, the program ends", signal_name(signal).unwrap_or("a signal"));
            // By convention 128 + the signal's number. `exit` runs the exit hooks: all that was
            // logged is written.
            std::process::exit(128 + signal);
        }
    })?;

    println!("process {} logs to {}; end it with Ctrl-C", std::process::id(), path.display());
    for number in 0u64.. {
        log::info!("record {number}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("there are no Unix signals here; {:?} is not used", Duration::ZERO);
}
