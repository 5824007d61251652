//! A library that has a logger of its own, for a program that knows nothing of it.
#![allow(unsafe_code, clippy::unwrap_used)] // an exported name; a test says by panicking what is wrong

/// Logs 1000 records into the directory of the case, and returns without a flush.
#[unsafe(no_mangle)]
pub extern "C" fn log_records() {
    let dir = std::path::PathBuf::from(std::env::var_os("UNFAZED_DIR").unwrap());
    unfazed::Builder::new().file(dir.join("app.log")).init().unwrap();
    (0..1000).for_each(|number| log::info!("record {number:05} ends"));
}

/// Logs them with `flush_on_crash`, and ends the logger: no thread of the library runs any more.
#[unsafe(no_mangle)]
pub extern "C" fn log_and_shut_down() {
    let dir = std::path::PathBuf::from(std::env::var_os("UNFAZED_DIR").unwrap());
    let handle = unfazed::Builder::new().file(dir.join("app.log")).flush_on_crash(true).init().unwrap();
    (0..1000).for_each(|number| log::info!("record {number:05} ends"));
    handle.shutdown(std::time::Duration::from_secs(10)).unwrap();
}
