//! How a program ends, forks and waits: nothing that was logged is lost, nothing hangs, and a flush
//! tells the truth.
//!
//! `cargo test --test life`
//!
//! Each case is a process of its own, started again from this executable: in it, `main` is the
//! case's `main`, so that returning from it, `exit`, a panic and a `fork` are what they are in a
//! program. Afterwards its log is read back. Whatever else a case looks at: its process ends by its
//! deadline, by itself and with the code that it should, it prints nothing, and every line of its
//! log is whole. What this machine cannot do is reported as ignored, with the reason.
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own, which fails by panicking; `fork`, `_exit` and `atexit`
// are what it is about.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

#[cfg(unix)]
mod crashes;
#[cfg(unix)]
mod descriptors;
#[cfg(unix)]
mod exit;
#[cfg(unix)]
mod flush;
#[cfg(unix)]
mod forks;
#[cfg(unix)]
mod harness;
#[cfg(unix)]
mod load;
#[cfg(unix)]
mod odd;
#[cfg(unix)]
mod panics;
#[cfg(unix)]
mod readback;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod sinks;
#[cfg(unix)]
mod start;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod zones;

#[cfg(unix)]
#[path = "../support/mod.rs"]
mod support;

/// Returns from `main` when the case does: that is one of the ways to end.
#[cfg(unix)]
fn main() -> std::process::ExitCode {
    let mut cases = exit::cases();
    cases.extend(panics::cases());
    cases.extend(crashes::cases());
    cases.extend(descriptors::cases());
    cases.extend(forks::cases());
    cases.extend(flush::cases());
    cases.extend(odd::cases());
    cases.extend(start::cases());
    cases.extend(signals::cases());
    cases.extend(zones::cases());
    harness::main(cases)
}

#[cfg(not(unix))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Unix");
}
