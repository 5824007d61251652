//! Forks: the child logs on its own, the parent goes on, and neither waits for the other. And two
//! processes that log to one file.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use log::LevelFilter;
use log::kv::Value;
use unfazed::{FlushError, Handle, LogFile, Overflow, Rotation, State};

use crate::harness::{Case, Ended, Place};
use crate::load::{Load, PATIENCE, TARGET, Text, assert_settled, say, say_all, say_by, to_file, to_log, wait_until};
use crate::readback::Log;
use crate::sinks::{Gate, GateSink, KeepSink};
use crate::unix::{End, Forked, PROMPTLY, fork, fork_here, live, new_session};

const CHILDREN: u32 = 20;
const RECORDS: u64 = 200;
/// The authors below are the threads of the parent.
const FIRST_CHILD: u32 = 100;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::inside("a_fork_while_four_threads_log_loses_and_repeats_no_record", |place| {
            fork_under_load(place, Overflow::DropNewest, children_that_log);
        }),
        Case::inside("a_fork_while_four_threads_wait_for_a_slot_loses_and_repeats_no_record", |place| {
            fork_under_load(place, Overflow::Block, children_that_log);
        }),
        Case::inside("a_fork_while_four_threads_evict_old_records_loses_and_repeats_no_record", |place| {
            fork_under_load(place, Overflow::DropOldest, children_that_log);
        }),
        Case::inside("a_child_of_many_threads_loses_and_repeats_no_record", |place| {
            fork_under_load(place, Overflow::DropNewest, children_with_threads);
        }),
        Case::inside("a_grandchild_logs_on_its_own", |place| {
            fork_under_load(place, Overflow::DropNewest, children_with_children);
        }),
        Case::inside("a_record_right_after_the_fork_survives_exit", |place| {
            fork_under_load(place, Overflow::DropNewest, children_that_say_one_thing);
        })
        .times(5),
        Case::inside("no_empty_line_appears_when_a_process_opens_a_log_that_another_is_writing", |place| {
            fork_under_load(place, Overflow::DropNewest, children_that_say_one_thing);
            assert_eq!(Log::read_shared(&place.log()).empty, 0, "empty lines");
        })
        .times(5),
        Case::inside("a_child_that_never_logs_ends_promptly", |place| {
            fork_under_load(place, Overflow::DropNewest, silent_children);
        }),
        Case::inside("a_child_holds_no_descriptor_of_the_log", |place| {
            fork_under_load(place, Overflow::DropNewest, |_, place| children_without_descriptors(place));
        })
        .needs_linux(),
        Case::new("a_fork_right_after_init_loses_no_record_of_either_side", fork_right_after_init, |ended| {
            let log = Log::read_shared(&ended.place.log());
            log.assert_all(0, 1);
            log.assert_all(1, 1);
        })
        .times(25),
        Case::inside("a_child_is_no_start_that_rotates_what_its_parent_has_logged", child_is_no_start),
        Case::inside("what_was_queued_at_the_fork_is_written_by_the_parent_alone", queued_at_the_fork),
        Case::inside("what_a_suspended_parent_has_retained_is_written_by_it_alone", retained_at_the_fork),
        Case::new("a_daemon_logs_to_the_path_it_was_given", daemon, |ended| {
            let log = Log::read_shared(&ended.place.log());
            log.assert_all(0, 10);
            log.assert_all(1, RECORDS);
            log.assert_all(2, 10);
        })
        .times(3),
        Case::inside("a_child_logs_to_the_file_and_leaves_the_sink_to_the_parent", child_without_the_sink),
        Case::inside("a_child_counts_its_own_records", |place| {
            fork_under_load(place, Overflow::DropNewest, children_that_count);
        }),
        Case::inside("a_filter_set_in_the_child_is_in_force_there_and_nowhere_else", |place| {
            fork_under_load(place, Overflow::DropNewest, children_that_filter);
        }),
        Case::inside("a_logger_dropped_in_a_child_does_not_hang", dropped_in_child),
        Case::inside("a_child_can_flush_and_shut_down_its_own_logger", |place| {
            fork_under_load(place, Overflow::DropNewest, children_that_shut_down);
        }),
        Case::inside("a_child_without_memory_for_its_queue_counts_what_it_loses", child_without_memory).needs_linux(),
        Case::inside("a_child_whose_writer_cannot_start_counts_what_it_loses", child_without_writer).needs_linux(),
        Case::inside(
            "a_torn_line_that_stood_there_before_gets_nothing_glued_to_it_while_another_holds_the_lock",
            torn_line_under_a_foreign_lock,
        ),
        Case::new("two_processes_append_to_one_file_and_each_line_is_whole_and_there_once", two_processes, |ended| {
            both_are_whole(ended);
        }),
        Case::inside("a_fork_inside_a_log_call_gives_each_side_its_own_record", forks_inside_calls),
        Case::inside("a_child_forked_inside_a_log_call_counts_that_call_for_its_rate_limit", limited_call),
        Case::inside("a_child_forked_inside_a_log_call_takes_no_record_that_no_output_of_it_wants", unwanted_call),
    ];
    cases.extend(FORKING_CALLS.map(|(kind, call)| {
        let name = format!("a_child_forked_inside_{kind}_does_not_wait_for_the_full_queue_of_its_parent");
        Case::inside(name, move |place| full_queue_at_the_fork(place, call))
    }));
    cases
}

/// A child that got the lock rotated the file once more, and what was logged since the start became
/// an archive: with `max_files(1)` it was deleted.
fn child_is_no_start(place: &Place) {
    fs::write(place.log(), "older\n").unwrap();
    let file = LogFile::new(place.log()).rotation(Rotation::never().on_start()).max_files(1);
    let handle = to_file(file).init().unwrap();
    say_all(0, 10);
    handle.flush(PATIENCE).unwrap();
    let (mut lock_is_free, gate) = io::pipe().unwrap();
    match fork_here() {
        Some(child) => {
            handle.shutdown(PATIENCE).unwrap();
            drop(gate);
            child.wait();
        }
        None => live(|| {
            drop(gate);
            assert_eq!(lock_is_free.read(&mut [0]).unwrap(), 0);
            say_all(1, 10);
            End::Exit
        }),
    }
    let log = Log::read_shared(&place.log());
    (0..2).for_each(|author| log.assert_all(author, 10));
}

/// Four threads log at full speed, and a fifth one flushes, while this one forks children; at the
/// end every record of the parent and of the children is there once. `children` says what each of
/// its children has logged.
fn fork_under_load(place: &Place, overflow: Overflow, children: fn(&Handle, &Place) -> Vec<(u32, u64)>) {
    let handle = to_log(place).overflow(overflow).init().unwrap();
    let load = Load::start(4);
    let stop = Arc::new(AtomicBool::new(false));
    let flusher = thread::spawn({
        let (stop, handle) = (stop.clone(), handle.clone());
        move || {
            while !stop.load(SeqCst) {
                match handle.flush(PATIENCE) {
                    Ok(()) => {}
                    Err(FlushError::Dropped) => assert_eq!(overflow, Overflow::DropOldest),
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    });
    let children = children(&handle, place);
    stop.store(true, SeqCst);
    flusher.join().unwrap();
    let logged = load.stop();
    handle.flush(PATIENCE).unwrap();

    let stats = handle.stats();
    assert_settled(&stats);
    assert_eq!(stats.accepted, logged.iter().sum::<u64>(), "a parent counts its own: {stats:?}");
    let log = Log::read_shared(&place.log());
    log.assert_order();
    for (author, count) in &children {
        log.assert_all(*author, *count);
    }
    let of_children: u64 = children.iter().map(|(_, count)| count).sum();
    assert_eq!(log.len(), stats.written + of_children, "records in the file; {stats:?}");
    if overflow == Overflow::Block {
        for (author, count) in (0..).zip(logged) {
            log.assert_all(author, count);
        }
    }
    let known: HashSet<u32> = (0..4).chain(children.iter().map(|(author, _)| *author)).collect();
    assert!(log.authors().all(|author| known.contains(&author)), "{:?}", log.authors().collect::<Vec<_>>());
}

/// Half of them end by `exit`, half by a flush and `_exit`.
fn end_of(child: u32) -> End {
    if child.is_multiple_of(2) {
        End::Exit
    } else {
        log::logger().flush();
        End::Immediately
    }
}

/// One child after the other; says how many records each of them logs as an author of its own.
fn each_child(records: u64, life: impl Fn(u32) -> End) -> Vec<(u32, u64)> {
    for child in FIRST_CHILD..FIRST_CHILD + CHILDREN {
        fork(|| life(child)).wait();
    }
    (FIRST_CHILD..FIRST_CHILD + CHILDREN).map(|child| (child, records)).collect()
}

fn children_that_log(_: &Handle, _: &Place) -> Vec<(u32, u64)> {
    each_child(RECORDS, |child| {
        say_all(child, RECORDS);
        end_of(child)
    })
}

fn children_that_say_one_thing(_: &Handle, _: &Place) -> Vec<(u32, u64)> {
    each_child(1, |child| {
        say(child, 0);
        End::Exit
    })
}

fn children_with_threads(_: &Handle, _: &Place) -> Vec<(u32, u64)> {
    let author = |child: u32, thread: u32| child * 10 + thread;
    let children = each_child(50, |child| {
        // All of them find no pipeline, one of them makes it.
        let threads: Vec<_> = (0..4).map(|number| thread::spawn(move || say_all(author(child, number), 50))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        end_of(child)
    });
    children.iter().flat_map(|(child, count)| (0..4).map(move |number| (author(*child, number), *count))).collect()
}

fn children_with_children(_: &Handle, _: &Place) -> Vec<(u32, u64)> {
    let mut all = each_child(RECORDS, |child| {
        if child.is_multiple_of(3) {
            // One that forks before it has logged.
            fork(|| say_and_end(child + 1000)).wait();
            say_all(child, RECORDS);
        } else {
            say_all(child, RECORDS);
            fork(|| say_and_end(child + 1000)).wait();
        }
        end_of(child)
    });
    all.extend((FIRST_CHILD..FIRST_CHILD + CHILDREN).map(|child| (child + 1000, RECORDS)));
    all
}

fn say_and_end(author: u32) -> End {
    say_all(author, RECORDS);
    end_of(author)
}

fn silent_children(_: &Handle, _: &Place) -> Vec<(u32, u64)> {
    each_child(0, |child| if child.is_multiple_of(2) { End::Exit } else { End::Immediately });
    Vec::new()
}

fn children_without_descriptors(place: &Place) -> Vec<(u32, u64)> {
    // The writer opens the file when it comes to it.
    log::logger().flush();
    assert_eq!(open_at(&place.log()).len(), 1, "the parent's own");
    each_child(10, |child| {
        assert_eq!(open_at(&place.log()), Vec::<PathBuf>::new(), "before the first record");
        say_all(child, 10);
        log::logger().flush();
        assert_eq!(open_at(&place.log()).len(), 1, "its own");
        end_of(child)
    })
}

/// The descriptors of this process that lead to `path`.
fn open_at(path: &Path) -> Vec<PathBuf> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    // That of the directory itself is gone again.
    descriptors.filter(|fd| fs::read_link(fd).is_ok_and(|target| target == path)).collect()
}

fn children_that_count(handle: &Handle, _: &Place) -> Vec<(u32, u64)> {
    each_child(RECORDS, |child| {
        say_all(child, RECORDS);
        handle.flush(PATIENCE).unwrap();
        let stats = handle.stats();
        assert_settled(&stats);
        assert_eq!((stats.accepted, stats.written), (RECORDS, RECORDS), "{stats:?}");
        assert_eq!(handle.state(), State::Healthy);
        end_of(child)
    })
}

fn children_that_filter(handle: &Handle, _: &Place) -> Vec<(u32, u64)> {
    let children = each_child(2, |child| {
        log::debug!(target: TARGET, "{}", Text(child, 1000));
        handle.set_filter(&format!("off,{TARGET}=debug")).unwrap();
        assert_eq!(log::max_level(), LevelFilter::Debug);
        log::debug!(target: TARGET, "{}", Text(child, 0));
        log::error!(target: "other", "not this one");
        log::debug!(target: TARGET, "{}", Text(child, 1));
        end_of(child)
    });
    assert_eq!(log::max_level(), LevelFilter::Info, "the parent's");
    children
}

fn children_that_shut_down(handle: &Handle, _: &Place) -> Vec<(u32, u64)> {
    each_child(10, |child| {
        say_all(child, 10);
        handle.flush(PATIENCE).unwrap();
        handle.shutdown(PATIENCE).unwrap();
        assert_eq!(handle.state(), State::Closed);
        say(child, 10);
        assert_eq!(handle.stats().dropped.shutdown, 1);
        end_of(child)
    })
}

// --- one fork, looked at closely ---

/// The writer's thread has hardly begun.
fn fork_right_after_init(place: &Place) {
    to_log(place).init().unwrap();
    fork(|| {
        say(1, 0);
        End::Exit
    })
    .wait();
    say(0, 0);
}

fn queued_at_the_fork(place: &Place) {
    let (sink, gate) = GateSink::new();
    let handle = unfazed::Builder::new()
        .sink("gate", sink)
        .file(LogFile::new(place.log()).min_free_space(0))
        .shutdown_timeout(PATIENCE)
        .init()
        .unwrap();
    say(0, 0);
    gate.wait_for_writer();
    (1..500).for_each(|n| say(0, n));
    for (child, end) in [(1, End::Exit), (2, End::Immediately)] {
        fork(|| {
            say_all(child, 10);
            log::logger().flush();
            end
        })
        .wait();
    }
    let log = Log::read_shared(&place.log());
    assert_eq!(log.authors().collect::<Vec<_>>(), [1, 2], "the parent's writer stands before the gate");
    drop(gate);
    handle.flush(PATIENCE).unwrap();
    let log = Log::read_shared(&place.log());
    log.assert_all(0, 500);
    log.assert_all(1, 10);
    log.assert_all(2, 10);
}

/// The log's directory cannot be made for a while.
fn retained_at_the_fork(place: &Place) {
    const RETAINED: u64 = 10;
    let dir = place.path("logs");
    fs::write(&dir, "no directory").unwrap();
    let path = dir.join("app.log");
    let handle = to_file(LogFile::new(&path)).init().unwrap();
    let warn_all = |author| (0..RETAINED).for_each(|n| log::warn!(target: TARGET, "{}", Text(author, n)));
    let assert_retained = || {
        let answer = handle.flush(PATIENCE);
        assert!(matches!(answer, Err(FlushError::Suspended(_))), "{answer:?}");
        let stats = handle.stats();
        assert_eq!((stats.accepted, stats.pending), (RETAINED, RETAINED), "{stats:?}");
    };
    warn_all(0);
    assert_retained();
    // One that logs nothing, one that still cannot, and one that can.
    fork(|| End::Exit).wait();
    for (child, end) in [(1, End::Exit), (2, End::Immediately)] {
        fork(|| {
            warn_all(child);
            assert_retained();
            end
        })
        .wait();
    }
    assert_retained();
    fork(|| {
        warn_all(3);
        assert_retained();
        fs::remove_file(&dir).unwrap();
        wait_until("the child is back", || handle.flush(PATIENCE).is_ok());
        assert_eq!(handle.stats().written, RETAINED);
        End::Exit
    })
    .wait();
    wait_until("the parent is back", || handle.flush(PATIENCE).is_ok());
    assert_eq!(handle.stats().written, RETAINED);
    assert_settled(&handle.stats());
    let log = Log::read_shared(&path);
    assert_eq!(log.authors().collect::<Vec<_>>(), [0, 3], "the others had no file until their end");
    log.assert_all(0, RETAINED);
    log.assert_all(3, RETAINED);
}

fn daemon(place: &Place) {
    std::env::set_current_dir(place.dir()).unwrap();
    to_file(LogFile::new("app.log")).init().unwrap();
    say_all(0, 10);
    let (mut end_of_daemon, held_by_daemon) = io::pipe().unwrap();
    fork(|| {
        new_session();
        fork_and_leave(|| {
            std::env::set_current_dir("/").unwrap();
            say_all(1, RECORDS);
            held_by_daemon.try_clone().unwrap().write_all(b"logged").unwrap();
            End::Exit
        })
    })
    .wait();
    drop(held_by_daemon);
    // Its exit closes the pipe: after that all that it wrote is there.
    let begun = Instant::now();
    let mut said = String::new();
    end_of_daemon.read_to_string(&mut said).unwrap();
    assert_eq!(said, "logged");
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
    say_all(2, 10);
}

/// The second fork of a daemon: nobody waits for the child.
fn fork_and_leave(life: impl FnOnce() -> End) -> End {
    let _not_waited_for = fork(life);
    End::Immediately
}

fn child_without_the_sink(place: &Place) {
    let kept = KeepSink::default();
    let handle = unfazed::Builder::new()
        .sink("kept", kept.clone())
        .file(LogFile::new(place.log()).min_free_space(0))
        .shutdown_timeout(PATIENCE)
        .init()
        .unwrap();
    let load = Load::start(2);
    let sink = kept.clone();
    let children = each_child(RECORDS, |child| {
        say_all(child, RECORDS);
        handle.flush(PATIENCE).unwrap();
        let stats = handle.stats();
        assert_settled(&stats);
        assert_eq!((stats.written, stats.outputs.len()), (RECORDS, 1), "{stats:?}");
        end_of(child)
    });
    load.stop();
    handle.flush(PATIENCE).unwrap();
    let (in_file, in_sink) = (Log::read_shared(&place.log()), Log::of_lines(&sink.text()));
    for (child, count) in children {
        in_file.assert_all(child, count);
        assert!(in_sink.of(child).is_empty(), "records of a child in the parent's sink");
    }
    for author in 0..2 {
        assert_eq!(in_file.of(author), in_sink.of(author));
    }
    in_file.assert_order();
    assert_settled(&handle.stats());
}

fn dropped_in_child(place: &Place) {
    let (logger, handle) = to_log(place).build().unwrap();
    log::set_max_level(logger.max_level());
    let (again, stop) = (logger, Arc::new(AtomicBool::new(false)));
    let logger = Arc::new(again);
    let logging = thread::spawn({
        let (logger, stop) = (logger.clone(), stop.clone());
        move || {
            let mut n = 0;
            while !stop.load(SeqCst) {
                say_by(&*logger, 0, n);
                n += 1;
            }
        }
    });
    for child in 1..=CHILDREN {
        let logger = &logger;
        fork(|| {
            // The thread that holds the other reference is not here, and will never drop it.
            // SAFETY: nothing uses the logger after this, and `exit` does not drop what is left of
            // the parent's stack.
            let logger = unsafe { std::ptr::read(Arc::as_ptr(logger)) };
            if child.is_multiple_of(2) {
                say_by(&logger, child, 0);
            }
            drop(logger);
            if child.is_multiple_of(4) { End::Exit } else { End::Immediately }
        })
        .wait();
    }
    stop.store(true, SeqCst);
    logging.join().unwrap();
    drop(logger);
    assert_settled(&handle.stats());
    let log = Log::read_shared(&place.log());
    log.assert_order();
    assert_eq!(log.of(0).len() as u64, handle.stats().written);
    for child in 1..=CHILDREN {
        log.assert_all(child, u64::from(child.is_multiple_of(2)));
    }
}

#[cfg(target_os = "linux")]
fn child_without_writer(place: &Place) {
    let handle = to_log(place).capacity(64).init().unwrap();
    say_all(0, 10);
    handle.flush(PATIENCE).unwrap();
    fork(|| {
        // The stack of the parent's writer would be used again: this takes it.
        thread::spawn(|| {
            loop {
                thread::park();
            }
        });
        let before = crate::unix::limit_memory(crate::odd::mapped_memory() + 256 * 1024);
        say_all(1, 10);
        let threads_can_start = thread::Builder::new().spawn(|| {}).is_ok();
        crate::unix::limit_memory(before);
        if threads_can_start {
            place.skip("threads start whatever the limit of memory is");
            return End::Immediately;
        }
        let stats = handle.stats();
        assert_settled(&stats);
        assert_eq!((stats.accepted, stats.dropped.shutdown), (10, 10), "{stats:?}");
        assert_eq!(handle.state(), State::Closed);
        log::logger().flush();
        End::Exit
    })
    .wait();
    say_all(2, 10);
    handle.flush(PATIENCE).unwrap();
    let log = Log::read_shared(&place.log());
    log.assert_all(0, 10);
    log.assert_all(1, 0);
    log.assert_all(2, 10);
}

#[cfg(not(target_os = "linux"))]
fn child_without_writer(place: &Place) {
    place.skip("it needs Linux");
}

#[cfg(target_os = "linux")]
fn child_without_memory(place: &Place) {
    // More than the 64 MiB that the C library has reserved for the heap of a thread.
    let handle = to_log(place).capacity(1 << 18).init().unwrap();
    say_all(0, 10);
    handle.flush(PATIENCE).unwrap();
    fork(|| {
        let before = crate::unix::limit_memory(crate::odd::mapped_memory() + 256 * 1024);
        say_all(1, 10);
        crate::unix::limit_memory(before);
        let stats = handle.stats();
        assert_settled(&stats);
        assert_eq!((stats.accepted, stats.dropped.shutdown), (10, 10), "{stats:?}");
        assert_eq!(handle.state(), State::Closed);
        assert_eq!(handle.flush(PATIENCE), Err(FlushError::Closed));
        End::Exit
    })
    .wait();
    say_all(2, 10);
    handle.flush(PATIENCE).unwrap();
    let log = Log::read_shared(&place.log());
    [(0, 10), (1, 0), (2, 10)].into_iter().for_each(|(author, count)| log.assert_all(author, count));
}

#[cfg(not(target_os = "linux"))]
fn child_without_memory(place: &Place) {
    place.skip("it needs Linux");
}

// --- a fork in the middle of a log call ---

thread_local! {
    /// Whether the call under way has forked: its child; nothing in the child itself.
    static FORKED: RefCell<Option<Option<Forked>>> = const { RefCell::new(None) };
    /// The parent opens it when it has forked.
    static GATE: RefCell<Option<Gate>> = const { RefCell::new(None) };
    /// The logger's context has a value that forks.
    static CONTEXT_FORKS: Cell<bool> = const { Cell::new(false) };
}

/// A value that forks when it is formatted, and says on which side it is.
struct Forks;

impl fmt::Display for Forks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FORKED.with_borrow_mut(|forked| match forked.get_or_insert_with(fork_here) {
            Some(_) => {
                drop(GATE.take());
                f.write_str(SIDES[0])
            }
            None => f.write_str(SIDES[1]),
        })
    }
}

const SIDES: [&str; 2] = ["in the parent", "in the child"];

/// Log calls during which the program's code forks.
const FORKING_CALLS: [(&str, fn()); 5] = [
    ("a_message", || log::info!("a_message {Forks}")),
    ("a_message_of_the_own_macro", || unfazed::info!("a_message_of_the_own_macro {Forks}")),
    ("a_key_value", || log::info!(value:% = Forks; "a_key_value {}", 1)),
    ("a_key_value_of_stored_arguments", || unfazed::info!(value:% = Forks; "a_key_value_of_stored_arguments {}", 1)),
    ("a_context", || {
        CONTEXT_FORKS.set(true);
        log::info!("a_context {}", 1);
        CONTEXT_FORKS.set(false);
    }),
];

/// Runs a log call that forks; the child then lives `life`.
fn fork_inside(call: impl FnOnce(), life: impl FnOnce() -> End) -> Forked {
    call();
    FORKED.take().expect("the call has formatted its value").unwrap_or_else(|| live(life))
}

fn with_context(builder: unfazed::Builder) -> unfazed::Builder {
    builder.context(|fields| {
        if CONTEXT_FORKS.get() {
            fields.add("value", Value::from_display(&Forks));
        }
    })
}

/// Asserts that the record of this process is written, and that it has logged no other one.
fn assert_one_is_written(handle: &Handle) {
    handle.flush(PATIENCE).unwrap();
    let stats = handle.stats();
    assert_settled(&stats);
    assert_eq!((stats.accepted, stats.written), (1, 1), "{stats:?}");
}

/// Returns on which sides a record of this kind is in the log.
fn sides_of(place: &Place, kind: &str) -> Vec<&'static str> {
    let text = fs::read_to_string(place.log()).unwrap();
    let lines = text.lines().filter(|line| line.contains(&format!(": {kind} ")));
    let mut sides: Vec<_> =
        lines.map(|line| *SIDES.iter().find(|side| line.contains(**side)).expect("a side")).collect();
    sides.sort_unstable_by_key(|side| SIDES.iter().position(|one| one == side));
    sides
}

fn forks_inside_calls(place: &Place) {
    let handle = with_context(to_log(place)).init().unwrap();
    let mut calls = 0;
    // The second filter looks at messages: its records are formatted before all else.
    for (round, filter) in (1..).zip(["info", "info/a_"]) {
        handle.set_filter(filter).unwrap();
        for (kind, call) in FORKING_CALLS {
            fork_inside(call, || {
                assert_one_is_written(&handle);
                End::Immediately
            })
            .wait();
            calls += 1;
            handle.flush(PATIENCE).unwrap();
            assert_eq!(sides_of(place, kind), [[SIDES[0]].repeat(round), [SIDES[1]].repeat(round)].concat(), "{kind}");
        }
    }
    let stats = handle.stats();
    assert_settled(&stats);
    assert_eq!(stats.written, calls, "{stats:?}");
}

/// The child's writer takes its records, while the parent's stands before a gate.
fn full_queue_at_the_fork(place: &Place, call: fn()) {
    const CAPACITY: u64 = 64;
    let (sink, gate) = GateSink::new();
    let builder = unfazed::Builder::new().sink("gate", sink).file(LogFile::new(place.log()).min_free_space(0));
    let builder = builder.capacity(CAPACITY as usize).overflow(Overflow::Block).shutdown_timeout(PATIENCE);
    let handle = with_context(builder).init().unwrap();
    say(0, 0);
    gate.wait_for_writer();
    (1..=CAPACITY).for_each(|n| say(0, n));
    GATE.set(Some(gate));
    fork_inside(call, || {
        assert_one_is_written(&handle);
        End::Exit
    })
    .wait();
    handle.flush(PATIENCE).unwrap();
    let stats = handle.stats();
    assert_settled(&stats);
    assert_eq!(stats.written, 1 + CAPACITY + 1, "{stats:?}");
    let text = fs::read_to_string(place.log()).unwrap();
    assert!(SIDES.iter().all(|side| text.matches(side).count() == 1), "{text}");
}

fn limited_call(place: &Place) {
    let handle = to_log(place).rate_limit(1, Duration::from_secs(3600)).init().unwrap();
    let call = |value: &dyn fmt::Display| log::info!("{value}");
    fork_inside(
        || call(&Forks),
        || {
            call(&"once more");
            let stats = handle.stats();
            assert_eq!((stats.accepted, stats.suppressed), (1, 1), "{stats:?}");
            End::Exit
        },
    )
    .wait();
    assert_one_is_written(&handle);
    let text = fs::read_to_string(place.log()).unwrap();
    assert!(SIDES.iter().all(|side| text.matches(side).count() == 1), "{text}");
}

/// DEBUG is for the sink, which stays with the parent.
fn unwanted_call(place: &Place) {
    let kept = KeepSink::default();
    let builder = unfazed::Builder::new().shutdown_timeout(PATIENCE).filter("debug").sink("kept", kept.clone());
    let file = LogFile::new(place.log()).min_free_space(0).level(LevelFilter::Info);
    let handle = builder.file(file).init().unwrap();
    fork_inside(
        || log::debug!("{Forks}"),
        || {
            let stats = handle.stats();
            assert_eq!((stats.accepted, stats.pending), (0, 0), "{stats:?}");
            log::info!("the child's own");
            assert_one_is_written(&handle);
            End::Exit
        },
    )
    .wait();
    assert_one_is_written(&handle);
    assert!(kept.text().contains(SIDES[0]), "{}", kept.text());
}

// --- two processes ---

/// Whoever has the lock need not be a logger, and need not be the one who tore the line.
fn torn_line_under_a_foreign_lock(place: &Place) {
    fs::write(place.log(), "a torn line").unwrap();
    let another = fs::File::open(place.log()).unwrap();
    another.lock().unwrap();
    let handle = to_log(place).init().unwrap();
    say_all(0, 10);
    handle.flush(PATIENCE).unwrap();
    let text = fs::read_to_string(place.log()).unwrap();
    let rest = text.strip_prefix("a torn line\n").unwrap_or_else(|| panic!("something is glued to it: {text}"));
    Log::of_lines(rest).assert_all(0, 10);
}

const BY_EACH: u64 = 20_000;
/// Which of the two the process is.
const APPENDER: &str = "UNFAZED_LIFE_APPENDER";

/// Starts itself twice; both wait for the word.
fn two_processes(place: &Place) {
    if let Some(author) = std::env::var_os(APPENDER) {
        return append(place, author.to_str().unwrap().parse().unwrap());
    }
    let start = |author: u32| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let child = command.env(APPENDER, author.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let mut ready = [0];
        child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        child
    };
    let mut children = [start(0), start(1)];
    for child in &mut children {
        drop(child.stdin.take());
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
}

fn append(place: &Place, author: u32) {
    let handle = to_log(place).overflow(Overflow::Block).init().unwrap();
    io::stdout().write_all(b".").unwrap();
    io::stdout().flush().unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    say_all(author, BY_EACH);
    assert_eq!(handle.stats().dropped.total(), 0);
}

fn both_are_whole(ended: &Ended) {
    let log = Log::read_shared(&ended.place.log());
    log.assert_all(0, BY_EACH);
    log.assert_all(1, BY_EACH);
    assert!(log.others.is_empty(), "{:?}", log.others);
    assert!(ended.took < Duration::from_secs(20) + PATIENCE);
}
