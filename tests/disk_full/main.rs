//! A disk that fails under a program that logs: the promises of this crate, kept on real file
//! systems.
//!
//! `cargo test --test disk_full -- --nocapture`; with `UNFAZED_TOGGLE_SECONDS=60` the disk that
//! toggles does so for longer.
//!
//! Three cases have a long form, a disk that toggles for a minute and ten minutes of calls on a
//! suspended log: `UNFAZED_LONG=1 cargo test --test disk_full -- --nocapture` (13 minutes; with a
//! word after it, only the cases with that word)
//!
//! Each case runs in a process of its own, started again from this executable. A case that needs a
//! small file system gets one in memory, in user and mount namespaces of its own (`unshare -rm`
//! from util-linux; root is not needed); a case that needs ext4 gets an image on a loop device, for
//! which it takes root. What this machine cannot do is reported as ignored, with the reason, and
//! never as passed. After the run there is one line for each case: records accepted, written and
//! lost, the longest log call, the time from the end of the fault to the resumed log. The longest
//! call of threads that log at full speed holds the time for which the scheduler ran somebody else;
//! that no call waits for anything is what the count of waits says.
//!
//! Whatever else a case looks at, it asserts that
//! - its process ends by itself with code 0, and its stdout and stderr are empty as file
//!   descriptors;
//! - `accepted == written + dropped.total() + pending`, for the logger and for its output;
//! - every line of the log is whole, none comes twice, and each thread's records are in order;
//! - the losses that the log tells, by level, are exactly the sequence numbers that are missing;
//! - the log has resumed within 2 s of the end of the fault, and the next record is then in the
//!   file.
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own: it prints what it found and fails by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod ext4;
#[cfg(target_os = "linux")]
mod fifos;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod history;
#[cfg(target_os = "linux")]
mod long;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod tmpfs;

#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use support::cases;
    use support::cases::Needs::{LoopDevice, Mounts, Nothing};
    use support::cases::Voice::{Loud, Soft};

    // A loud one and a soft one in turns: they run at the same time.
    let all = cases::cases![
        Soft Mounts history::a_disk_that_toggles_around_the_thresholds_neither_flaps_nor_costs_an_archive,
        Loud Mounts tmpfs::a_full_tmpfs_stops_the_log_quietly_and_it_resumes_by_itself,
        Soft Mounts tmpfs::a_start_on_a_full_disk_is_quiet_and_the_log_begins_when_there_is_room,
        Loud Mounts tmpfs::the_free_space_never_falls_below_the_reserve,
        Soft Mounts tmpfs::a_start_below_the_reserve_is_quiet_and_the_log_begins_when_there_is_room,
        Soft Mounts tmpfs::warnings_and_errors_of_a_full_disk_stand_after_the_gap_line_with_their_own_times,
        Loud Mounts tmpfs::another_appender_of_the_file_loses_no_byte_while_the_disk_fills,
        Soft Mounts tmpfs::exhausted_inodes_suspend_the_start_and_one_free_inode_ends_it,
        Loud Nothing files::a_file_size_limit_suspends_the_log_and_kills_nobody,
        Soft Mounts tmpfs::a_read_only_start_is_quiet_and_the_log_begins_when_the_mount_is_writable,
        Loud Nothing fifos::a_fifo_nobody_reads_blocks_nobody_and_is_written_when_a_reader_comes,
        Soft Nothing files::a_file_in_the_place_of_the_directory_suspends_the_log_until_it_is_gone,
        Loud Nothing fifos::a_fifo_whose_reader_stops_blocks_nobody_and_loses_what_it_says,
        Soft Mounts tmpfs::a_line_that_the_disk_cuts_short_for_somebody_else_gets_nothing_glued_to_it,
        Soft Nothing files::a_removed_directory_is_made_again_and_no_record_is_unaccounted_for,
        Soft Mounts mounts::a_volume_that_is_mounted_under_the_log_gets_it_and_one_that_goes_loses_nothing,
        Soft Nothing files::what_is_logged_once_the_log_says_it_is_back_is_written,
        Soft Nothing files::a_log_call_on_a_suspended_log_formats_nothing_and_makes_no_system_call,
        Loud Nothing files::dev_full_suspends_the_log_at_once_and_its_calls_do_no_work,
        Soft Mounts history::a_rotation_that_is_due_when_the_disk_is_full_costs_no_archive,
        Soft Mounts history::an_error_lands_on_a_full_tmpfs_after_ordinary_records_took_all_they_could,
        Soft Mounts history::an_error_lands_on_a_full_overlay_after_ordinary_records_took_all_they_could,
        Soft LoopDevice history::an_error_lands_on_a_full_xfs_after_ordinary_records_took_all_they_could,
        Soft LoopDevice history::an_error_lands_on_a_full_ext4_after_ordinary_records_took_all_they_could,
        Loud Nothing files::dev_null_takes_every_record,
        Loud Mounts tmpfs::a_tmpfs_without_a_limit_is_never_low_on_space,
        Soft Mounts long::a_disk_that_toggles_every_100_ms_suspends_and_resumes_the_log_once_a_second_at_most,
        Loud LoopDevice ext4::a_full_ext4_stops_the_log_quietly_and_it_resumes_by_itself,
        Loud LoopDevice ext4::an_ext4_that_turns_read_only_under_the_log_is_survived,
        Soft Mounts long::a_disk_that_toggles_above_and_below_the_reserve_keeps_the_log_quiet,
        Loud LoopDevice ext4::an_append_only_file_keeps_a_torn_record_on_a_line_of_its_own,
        Loud LoopDevice ext4::root_leaves_the_reserve_as_ordinary_users_see_it,
        Soft Mounts long::a_million_calls_a_second_on_a_suspended_log_take_no_memory_and_no_system_call,
        Loud LoopDevice ext4::an_ordinary_users_log_stops_before_the_blocks_kept_for_root,
        Loud LoopDevice ext4::an_ordinary_user_leaves_the_reserve,
        Soft LoopDevice ext4::root_without_a_reserve_writes_into_the_blocks_kept_for_it,
    ];
    cases::main(all, &[tmpfs::APPENDER])
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Linux");
}
