//! What must hold on every system: the ends of a process, rotation, hands that rename and delete
//! the file, other readers and writers, pipes, a disk that fills and is freed. Names nothing but
//! std, so it runs on Windows too; `.ci/windows` runs it under wine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong
#![allow(clippy::print_stdout)] // a harness prints what its cases found

use std::process::ExitCode;

use support::child::{self, Case};

mod ends;
mod files;
mod full;
mod lines;
mod pipes;
#[path = "../support/mod.rs"]
mod support;
#[cfg(windows)]
mod windows;

fn main() -> ExitCode {
    if let Some((role, dir)) = child::role() {
        return match &*role {
            "returns" => ends::returns(&dir),
            "exits" => ends::exits(&dir),
            "panics" => ends::panics(&dir),
            "shares" => files::shares(&dir),
            "is_killed" => files::is_killed(&dir),
            "talks" => pipes::talks(&dir),
            "talks_and_writes" => pipes::talks_and_writes(&dir),
            #[cfg(windows)]
            "has_no_streams" => windows::has_no_streams(&dir),
            #[cfg(windows)]
            "unloads_a_library" => windows::unloads_a_library(&dir),
            other => panic!("no role `{other}`"),
        };
    }
    #[allow(unused_mut)] // on the other systems
    let mut cases: Vec<Case> = child::cases![
        ends::every_record_is_written_after_the_return_from_main,
        ends::every_record_is_written_by_an_exit_that_flushes,
        ends::every_record_is_written_after_a_panic_that_ends_main,
        files::a_rotation_loses_nothing_and_leaves_nothing_unfinished,
        files::archives_over_the_limit_go_and_the_rest_is_compressed,
        files::a_file_that_is_renamed_is_followed_by_a_new_one,
        files::a_file_that_is_replaced_is_followed_by_the_one_at_its_path,
        files::a_file_that_is_deleted_is_followed_by_a_new_one,
        files::a_locked_file_can_be_read_and_appended_to,
        files::two_processes_write_whole_lines_into_one_file,
        files::half_a_line_stays_alone_on_its_line,
        files::a_directory_that_is_renamed_loses_nothing,
        files::a_directory_that_is_renamed_is_made_again_by_a_reopen,
        files::a_next_file_that_never_became_the_log_becomes_an_archive,
        files::a_process_that_is_killed_leaves_all_that_it_has_flushed,
        files::directives_that_match_nothing_are_reported_in_one_line,
        pipes::a_pipe_gets_every_line_as_it_is,
        pipes::a_pipe_that_nobody_reads_does_not_stop_the_file,
        pipes::a_pipe_whose_reader_is_gone_does_not_stop_the_file,
        full::a_disk_that_fills_and_is_freed_loses_nothing_uncounted,
    ];
    #[cfg(windows)]
    cases.extend(child::cases![
        windows::a_reader_that_forbids_renaming_delays_the_rotation,
        windows::each_error_of_a_full_or_forbidden_disk_has_its_cause,
        windows::what_windows_has_not_is_an_error_at_the_start,
        windows::an_archive_that_somebody_holds_stays_and_hinders_nothing,
        windows::a_path_of_more_than_260_characters_is_written_and_rotated,
        windows::a_program_without_streams_writes_its_file,
        windows::the_writer_waits_for_no_dialog,
        windows::a_log_in_another_case_has_the_same_archives,
        windows::a_log_and_its_archives_are_listed_in_the_directory_that_was_given,
        windows::a_library_that_is_unloaded_writes_on_and_ends_no_program,
    ]);
    child::main(cases)
}
