//! Everything at once, for minutes or hours: several processes log into one file that is rotated
//! and compressed, on a small disk that fills and is freed; some are killed and started again, the
//! file is renamed and cut under them, their clocks jump. Whatever stands in the files is judged
//! line by line; what a process takes that lives from the beginning to the end has to stay flat.
//!
//! By hand: `cargo test --release --features gzip --test soak -- --seconds 600 --seed 17`
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own: it prints what it found and fails by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod hands;
#[cfg(target_os = "linux")]
#[allow(dead_code, unused_imports)] // it serves tests/files
#[path = "../files/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod judge;
#[cfg(target_os = "linux")]
mod logger;
#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::process::{Command, ExitCode};
    use support::child;

    match child::role() {
        Some((role, dir)) if role == hands::ROLE => hands::run(&dir),
        Some((role, dir)) => logger::run(&role, &dir),
        None => {
            let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("soak-{}", std::process::id()));
            child::renew(&dir);
            let root = rustix::process::geteuid().is_root();
            let mut unshare = Command::new("unshare");
            unshare.arg(if root { "-m" } else { "-rm" }).arg("--");
            let mut command = child::command_under(unshare, hands::ROLE, &dir);
            let status = command.args(std::env::args().skip(1)).status().expect("unshare, of util-linux");
            std::fs::remove_dir_all(&dir).unwrap();
            return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    ExitCode::SUCCESS
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the soak needs Linux");
}
