//! A file system that fails on demand, under a program that logs: real system calls, answered by a
//! file system of the test's own (`tests/support/faulty`).
//!
//! `cargo test --test faulty -- --nocapture`; with `UNFAZED_LONG=1` each fault meets every call of
//! each operation of a rotation, and every pair of faults is played. `UNFAZED_FAULTY_SEED` picks
//! other samples.
//!
//! It needs root and /dev/fuse; without them, each case is reported as ignored, with the reason.
//! Each case runs in a process and a mount namespace of its own, and a second process serves the
//! file system, so that what hangs is never the one that waits for it. On top of it stand cases of
//! `tests/disk_full` and `tests/files`, as they are.
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own: it prints what it found and fails by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[allow(dead_code)] // some of its cases are played here
#[path = "../files/hands.rs"]
mod hands;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[allow(dead_code)]
#[path = "../files/harness.rs"]
mod harness;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[allow(dead_code)]
#[path = "../files/kills.rs"]
mod kills;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod oddities;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod rotations;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[path = "../support/mod.rs"]
mod support;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[allow(dead_code)]
#[path = "../disk_full/tmpfs.rs"]
mod tmpfs;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn main() -> std::process::ExitCode {
    use support::cases;
    use support::cases::Needs::Root;
    use support::cases::Voice::{Loud, Soft};
    use support::faulty;

    macro_rules! all {
        ($($voice:ident $module:ident::$name:ident,)*) => {
            &[$(cases::Case { name: stringify!($name), needs: Root(faulty::can), voice: $voice, run: $module::$name }),*]
        };
    }
    let all = all![
        Soft rotations::whichever_operation_of_a_rotation_fails_every_record_is_written_or_counted,
        Loud oddities::a_full_file_system_in_user_space_stops_the_log_quietly_and_it_resumes_by_itself,
        Soft rotations::whatever_is_done_but_reported_as_failed_no_later_fault_destroys_an_archive,
        Soft oddities::whatever_hangs_the_calls_go_on_and_the_end_keeps_its_deadline,
        Soft oddities::a_program_ends_at_its_deadline_and_its_process_stays_until_the_write_that_hangs_returns,
        Soft oddities::init_does_not_wait_for_a_file_system_that_hangs,
        Soft oddities::a_setup_that_fails_waits_for_no_other_file_system,
        Soft oddities::a_setup_that_fails_leaves_nothing_that_it_created,
        Soft oddities::a_log_whose_names_have_inode_numbers_of_their_own_is_rotated,
        Soft oddities::two_loggers_on_a_file_whose_names_differ_lose_nothing_and_one_of_them_rotates,
        Soft oddities::a_log_without_hard_links_is_rotated,
        Soft oddities::space_that_shows_late_is_used_once_it_shows,
        Soft oddities::an_attempt_does_not_wait_for_space_that_shows_late,
        Soft oddities::what_a_remount_has_taken_is_reported,
        Soft oddities::what_a_failed_sync_reported_is_reported_again_if_it_was_lost,
        Soft oddities::whenever_it_is_killed_nothing_is_overwritten_and_everything_parses,
    ];
    cases::main(all, &[faulty::SERVER, oddities::VICTIM, oddities::ENDING])
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Linux on a machine of 64 bits");
}
