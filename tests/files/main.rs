//! Files for years: rotation, archives and their limits, next to the real logrotate, next to
//! another logger, and through kill -9.
//!
//! `cargo test --test files`, and with `--all-features` for compression.
//!
//! Each case has a directory of its own and reads back every byte of every file in it. Who is to be
//! killed is a process of its own, started again from this executable. What this machine cannot do
//! is reported as ignored, with the reason.
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own, which fails by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(unix)]
mod archives;
#[cfg(unix)]
mod hands;
#[cfg(unix)]
mod harness;
#[cfg(unix)]
mod kills;

#[cfg(unix)]
#[path = "../support/mod.rs"]
mod support;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use support::child;

    if let Some((role, dir)) = child::role() {
        assert_eq!(role, kills::VICTIM);
        kills::victim(&dir);
        return std::process::ExitCode::SUCCESS;
    }
    child::main(child::cases![
        archives::a_year_of_rotations_keeps_to_its_limits_and_touches_nothing_else,
        archives::files_get_the_mode_that_was_asked_for_and_a_link_leads_to_the_active_one,
        archives::a_link_to_the_file_is_followed_and_stays,
        archives::options_out_of_range_are_named,
        archives::a_name_that_is_too_long_for_an_archive_is_named,
        archives::a_start_puts_the_old_file_aside,
        archives::a_start_without_a_record_and_a_reopen_leave_the_files_day_as_it_is,
        archives::what_was_ordered_is_done_when_a_flush_after_it_answers,
        archives::a_program_that_starts_others_all_the_time_keeps_the_lock,
        archives::archives_are_compressed_except_the_newest,
        archives::a_compressed_form_that_is_there_is_never_replaced,
        archives::the_end_does_not_wait_for_a_compression,
        hands::the_real_logrotate_in_create_mode_loses_and_doubles_nothing,
        hands::the_real_logrotate_in_copytruncate_mode_loses_only_what_it_cuts_between_copy_and_cut,
        hands::whatever_follows_a_cut_inside_a_line_stands_on_a_line_of_its_own,
        hands::a_file_that_is_renamed_again_and_again_loses_nothing,
        hands::a_directory_that_is_removed_again_and_again_is_made_again,
        hands::a_backup_that_links_every_file_changes_nothing,
        hands::a_link_that_is_led_elsewhere_is_followed_with_the_next_record,
        hands::two_loggers_on_one_file_lose_nothing_and_one_of_them_rotates,
        kills::whenever_it_is_killed_nothing_is_overwritten_and_everything_parses,
        kills::nor_is_anything_where_there_are_no_hard_links,
    ])
}

#[cfg(not(unix))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Unix");
}
