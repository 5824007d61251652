//! What a log call and a logger at rest cost, as the operating system sees it: system calls,
//! allocations, wake-ups, memory.
//!
//! `cargo test --test cost -- --nocapture`
//!
//! Each case starts a program, which is this executable again, and judges what that says of itself,
//! or what `strace` saw of it. No case is a test of the machine's speed: what is asserted is
//! counted (system calls, allocations, wake-ups over the time that really passed, bytes), and where
//! a promise is a time, it is the median of many tries. After the run there is one line with the
//! numbers for each case. What this machine cannot do (no `strace`, no ptrace, a clock that is a
//! system call) is reported as ignored, with the reason.
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own, which fails by panicking, and with an allocator that
// counts.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

#[cfg(target_os = "linux")]
mod allocations;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod rest;
#[cfg(target_os = "linux")]
mod system_calls;
#[cfg(target_os = "linux")]
mod trace;
#[cfg(target_os = "linux")]
mod work;

#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use support::child;

    /// The name of a program is what it does.
    macro_rules! programs {
        ($($module:ident::$name:ident,)*) => {
            &[$(harness::Program { name: stringify!($name), run: $module::$name }),*]
        };
    }
    harness::main(
        child::cases![
            rest::a_logger_at_rest_wakes_seldom_and_still_writes_in_time,
            system_calls::bursts_make_no_system_call,
            system_calls::what_surrounds_a_record_makes_no_system_call,
            system_calls::sparse_records_make_no_system_call,
            system_calls::several_threads_make_no_system_call_but_a_rare_yield,
            system_calls::an_error_after_a_pause_wakes_the_writer_by_one_futex,
            allocations::a_record_that_fits_its_slot_allocates_nothing,
            allocations::what_surrounds_a_record_that_fits_its_slot_allocates_nothing,
            allocations::a_record_beyond_its_slot_allocates_nothing_after_warm_up,
            memory::a_logger_takes_less_than_4_mib,
            memory::a_sustained_run_stays_under_8_mib,
        ],
        programs![
            rest::rest,
            system_calls::bursts,
            system_calls::surrounded_calls,
            system_calls::sparse,
            system_calls::threads_in_bursts,
            system_calls::threads_in_a_flood,
            system_calls::errors,
            allocations::allocations,
            allocations::surrounded,
            allocations::long_messages,
            memory::with_a_logger,
            memory::without_a_logger,
            memory::sustained,
        ],
    )
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Linux");
}
