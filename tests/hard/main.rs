//! What else a machine does to a program that logs: it stops it, sets its clock, takes its
//! descriptors and its memory away, and runs hundreds of its threads at once.
//!
//! `cargo test --test hard -- --nocapture`
//!
//! Each case is a process of its own, as in `tests/disk_full`, whose harness this is; whatever else
//! a case looks at, it asserts what those do: an end by itself with code 0, nothing printed, every
//! line whole, every record accounted for. What this machine cannot do is reported as ignored, with
//! the reason.
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own, which fails by panicking; the clock and the memory are
// set by the C library.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod stopped;
#[cfg(target_os = "linux")]
mod threads;

#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use support::cases;
    use support::cases::Needs::{Mounts, Nothing};
    use support::cases::Voice::{Loud, Soft};
    let all = cases::cases![
        Soft Mounts stopped::a_process_that_is_stopped_on_a_full_disk_goes_on_where_it_was,
        Soft Mounts clock::a_clock_set_back_and_forward_disturbs_neither_order_nor_timers,
        Loud Nothing stopped::a_process_that_is_stopped_in_health_goes_on_where_it_was,
        Soft Nothing descriptors::a_start_without_a_descriptor_is_quiet_and_the_log_begins_when_there_is_one,
        Soft Nothing descriptors::a_deleted_file_is_made_again_when_there_is_a_descriptor_again,
        Loud Nothing threads::two_thousand_threads_at_the_same_time_eight_times_are_all_accounted_for,
        Soft Nothing memory::under_any_limit_of_memory_a_logger_starts_or_says_that_it_cannot,
        Soft Nothing memory::long_messages_without_memory_for_them_are_cut_or_lost_and_end_nobody,
    ];
    cases::main(all, &[memory::STARTS])
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Linux");
}
