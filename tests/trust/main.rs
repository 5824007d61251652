//! Whoever may write to the log's directory has no more power than that: real users, real files, a
//! listing of the victim's directories before and after.
//!
//! `cargo test --all-features --test trust`, as root, because the logger is root's and the hostile
//! hands are `nobody`'s. Elsewhere the cases are reported as ignored, with the reason.

// This is a test with a harness of its own, which fails by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod attributes;
#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod hands;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod kinds;
#[cfg(target_os = "linux")]
mod links;
#[cfg(target_os = "linux")]
mod lists;
#[cfg(target_os = "linux")]
mod locks;
#[cfg(target_os = "linux")]
mod owners;

#[cfg(target_os = "linux")]
mod witness;

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
        ($($(#[$attribute:meta])* $module:ident::$name:ident,)*) => {
            vec![$($(#[$attribute])* harness::case(stringify!($name), $module::$name)),*]
        };
    }
    support::child::main(cases![
        #[cfg(feature = "gzip")]
        cases::a_planted_archive_is_never_compressed_whatever_its_mode,
        #[cfg(feature = "gzip")]
        cases::a_pipe_in_the_place_of_an_archive_stops_nobody,
        cases::a_planted_link_to_another_file_is_not_followed_at_the_start,
        cases::a_planted_link_to_another_file_is_not_followed_later,
        cases::a_block_device_is_not_written_at_a_reopen_either,
        cases::a_directory_that_is_swapped_for_a_link_to_others_is_not_followed,
        cases::the_last_possible_name_ends_no_rotation,
        cases::planted_archives_delete_none_of_ours,
        cases::planted_archives_are_not_listed_as_files_of_the_log,
        cases::a_planted_long_archive_does_not_count,
        cases::second_names_in_a_sticky_directory_delete_nothing,
        cases::names_that_others_took_are_passed_over,
        cases::a_new_file_has_the_mode_and_the_owner_of_the_one_before,
        cases::the_mode_holds_through_a_link_to_nothing,
        cases::somebody_elses_log_in_a_sticky_directory_is_appended_to,
        cases::rotations_of_somebody_elses_log_leave_one_name_at_most,
        cases::an_unprivileged_program_in_a_sticky_directory_leaves_others_alone,
        cases::no_log_file_takes_the_number_of_a_stream,
        cases::after_a_chroot_the_open_file_goes_on,
        cases::after_a_directory_was_renamed_the_open_file_goes_on,
        locks::a_reader_who_locks_the_log_hinders_nothing,
        locks::nobody_else_can_open_the_lock_file_and_it_goes_with_the_logger,
        locks::a_lock_file_that_was_left_is_used_again,
        locks::what_others_have_put_at_the_locks_name_is_left_as_it_is,
        locks::a_file_of_the_loggers_own_that_others_may_open_is_no_lock,
        locks::of_several_loggers_one_has_the_lock_whatever_its_file_is_called,
        locks::root_and_the_owner_of_the_log_have_one_lock,
        locks::a_rotation_that_was_ordered_without_the_lock_is_reported,
        locks::a_lock_file_that_is_removed_again_and_again_ends_no_rotation,
        locks::without_the_right_to_make_files_the_log_is_written_all_the_same,
        owners::every_file_belongs_to_whom_the_options_say,
        owners::an_owner_alone_leaves_the_mode_and_the_group_as_they_would_be,
        owners::who_does_not_exist_owns_nothing,
        owners::what_may_not_be_given_away_is_written_and_reported,
        owners::a_daemon_that_gives_up_its_rights_goes_on_to_rotate,
        owners::a_daemon_that_may_not_enter_the_directory_any_more_goes_on_in_the_open_file,
        kinds::next_to_a_log_of_somebody_elses_in_a_sticky_directory_nothing_of_ours_goes,
        #[cfg(feature = "gzip")]
        kinds::a_compressed_archive_has_no_more_permissions_than_the_log,
        kinds::a_device_that_is_no_terminal_is_no_log,
        kinds::a_pipe_in_the_place_of_a_log_that_rotates_gets_nothing_and_is_reported,
        kinds::a_directory_of_ours_that_somebody_else_puts_at_the_path_is_not_followed,
        kinds::who_has_lost_the_lock_to_another_rotates_nothing,
        kinds::no_name_is_opened_through_a_link_or_waits_or_is_created_twice,
        kinds::a_lease_on_the_log_makes_nobody_wait,
        kinds::a_parent_that_is_unmounted_and_a_log_that_is_mounted_alone_go_on,
        links::a_second_name_of_another_file_is_no_log,
        links::second_names_of_the_log_itself_are_no_others,
        links::a_second_name_of_a_link_is_not_followed,
        links::a_lock_file_with_a_second_name_ends_no_rotation,
        #[cfg(feature = "gzip")]
        links::an_archive_with_a_second_name_keeps_no_other_from_being_compressed,
        links::a_directory_that_is_exchanged_when_the_log_is_gone_is_not_followed,
        links::a_directory_that_others_exchange_in_a_shared_one_is_not_followed,
        links::what_a_failed_start_deletes_is_what_it_has_created,
        links::an_empty_directory_and_the_old_one_are_followed,
        links::no_directory_is_made_by_a_link_of_somebody_elses,
        links::links_that_are_exchanged_between_two_steps_lead_nowhere,
        links::in_a_user_namespace_nobody_else_is_taken_for_root,
        attributes::a_log_or_a_directory_that_may_not_be_changed_is_reported_and_goes_on_afterwards,
        attributes::an_archive_that_may_not_be_changed_ends_neither_rotation_nor_retention,
        lists::after_a_rotation_the_group_may_do_no_more_than_its_list_says,
        lists::a_mode_that_is_asked_for_narrows_a_list,
        lists::a_list_of_the_directory_gives_nobody_what_the_log_does_not,
        #[cfg(feature = "gzip")]
        lists::an_archive_whose_list_is_not_the_logs_is_compressed_without_it,
        hands::hands_that_never_rest_get_nothing_in_a_directory_of_their_own,
        hands::hands_that_never_rest_get_nothing_in_a_sticky_directory,
        hands::hands_that_swap_the_directory_get_nothing,
        witness::whatever_a_logger_does_to_others_is_found,
    ])
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Linux");
}
