//! Whoever may write to the log's directory has no more power than that: real users, real files, a
//! listing of the victim's directories before and after.
//!
//! `cargo test --all-features --test trust`, as root, because the logger is root's and the hostile
//! hands are `nobody`'s. Elsewhere the cases are reported as ignored, with the reason.

// This is a test with a harness of its own, which fails by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod harness;

#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    if let Some((role, dir)) = support::child::role() {
        cases::play(&role, &dir);
        return std::process::ExitCode::SUCCESS;
    }
    /// The name of a case is the sentence that must hold.
    macro_rules! cases {
        ($($(#[$attribute:meta])* $name:ident,)*) => {
            vec![$($(#[$attribute])* harness::case(stringify!($name), cases::$name)),*]
        };
    }
    support::child::main(cases![
        #[cfg(feature = "gzip")]
        a_planted_archive_is_never_compressed_whatever_its_mode,
        #[cfg(feature = "gzip")]
        a_pipe_in_the_place_of_an_archive_stops_nobody,
        a_planted_link_to_another_file_is_not_followed_at_the_start,
        a_planted_link_to_another_file_is_not_followed_later,
        a_block_device_is_not_written_at_a_reopen_either,
        a_directory_that_is_swapped_for_a_link_to_others_is_not_followed,
        the_last_possible_name_ends_no_rotation,
        planted_archives_delete_none_of_ours,
        a_planted_long_archive_does_not_count,
        names_that_others_took_are_passed_over,
        a_new_file_has_the_mode_and_the_owner_of_the_one_before,
        the_mode_holds_through_a_link_to_nothing,
        somebody_elses_log_in_a_sticky_directory_is_appended_to,
        no_log_file_takes_the_number_of_a_stream,
        after_a_chroot_the_open_file_goes_on,
        after_a_directory_was_renamed_the_open_file_goes_on,
    ])
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Linux");
}
