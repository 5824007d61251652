//! A panic in the log: `log_panics(true)` writes it as an ERROR record, with its thread and place,
//! and nothing that was logged before it is lost; also with `panic = "abort"`: `cargo run --profile
//! abort --example panics`.
//!
//! Takes the path of the log file as its argument; without one, `panics.log` in the temporary
//! directory.

#![allow(clippy::panic)] // it is about panics

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("panics.log"), Into::into);
    unfazed::Builder::new().file(&path).log_panics(true).init()?;

    for number in 0..1000 {
        log::info!("record {number} before the panic");
    }

    // A thread that panics ends alone; the log has it with its name. (Not with `panic = "abort"`.)
    if cfg!(panic = "unwind") {
        let worker = std::thread::Builder::new().name("worker".into()).spawn(|| {
            let _: u32 = "twelve".parse().unwrap_or_else(|error| panic!("no number: {error}"));
        })?;
        log::warn!("the worker ended well: {}", worker.join().is_ok());
    }
    panic!("this ends the program; look into {}", path.display());
}
