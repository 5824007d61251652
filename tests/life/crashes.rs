//! Crashes: with `flush_on_crash` what was logged before is written, and then the process ends as
//! it would have without it.

use std::fs;
use std::hint::black_box;
use std::panic::catch_unwind;
use std::process::abort;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
use log::LevelFilter;
use unfazed::{Builder, LogFile, Rotation};

use crate::harness::{Case, Ended, Place};
use crate::load::{Load, PATIENCE, say, say_all, say_by, to_file, to_log, wait_until};
use crate::readback::Log;
use crate::sinks::{CallSink, HungSink};
use crate::unix::{self, Death, PROMPTLY};

const SIGNALS: [(&str, i32); 5] =
    [("SIGSEGV", SIGSEGV), ("SIGBUS", SIGBUS), ("SIGILL", SIGILL), ("SIGFPE", SIGFPE), ("SIGABRT", SIGABRT)];
const RECORDS: u64 = 1000;
/// Of loggers whose writer hangs.
const SHORT: Duration = Duration::from_millis(300);

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, signal) in SIGNALS {
        let sent = move |place: &Place| {
            to_log(place).flush_on_crash(true).init().unwrap();
            say_all(0, RECORDS);
            unix::raise(signal);
        };
        cases.push(Case::new(format!("{name}_that_is_sent_loses_nothing"), sent, all_is_there).killed_by(signal));
        let fault = move |place: &Place| {
            let Some(fault) = unix::fault(signal) else { return place.skip("this processor is not known") };
            to_log(place).flush_on_crash(true).init().unwrap();
            say_all(0, RECORDS);
            fault(place.dir());
        };
        cases.push(Case::new(format!("a_fault_with_{name}_loses_nothing"), fault, all_is_there).killed_by(signal));
    }
    cases.extend([
        Case::new("a_stack_overflow_of_main_loses_nothing_and_std_says_so", overflow_of_main, overflow_of_main_is_told)
            .killed_by(if KNOWS_STACK_OF_MAIN { SIGABRT } else { SIGSEGV })
            .speaks(),
        Case::new("a_stack_overflow_of_a_thread_loses_nothing_and_std_says_so", overflow_of_thread, overflow_is_told)
            .killed_by(SIGABRT)
            .speaks(),
        Case::new("a_crash_after_a_pause_loses_nothing", crash_after_a_pause, all_is_there).killed_by(SIGSEGV),
        Case::new("a_crash_of_a_thread_among_others_that_log_loses_nothing_of_its_own", crash_under_load, |ended| {
            // The others go on logging, and the process ends wherever their writer is then.
            let log = Log::read_under_way(&ended.place.log());
            log.assert_all(9, RECORDS);
            log.assert_order();
        })
        .killed_by(SIGSEGV)
        .times(5),
        Case::new("eight_threads_that_crash_at_once_lose_nothing_of_the_first", many_crashes, |ended| {
            let log = ended.log();
            log.assert_order();
            assert!((0..8).any(|author| log.of(author).len() as u64 == RECORDS / 10), "{:?}", log.len());
        })
        .killed_by(SIGSEGV)
        .times(5),
        Case::new("a_crash_while_a_file_is_rotated_leaves_whole_lines", crash_while_rotating, |ended| {
            let mut text = String::new();
            let mut names: Vec<_> =
                fs::read_dir(ended.place.dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
            for path in &names {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
            assert!(names.len() > 3, "{names:?}");
            let log = Log::of_lines(&text);
            let mut numbers = log.of(9).to_vec();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..RECORDS).collect::<Vec<_>>());
        })
        .killed_by(SIGSEGV)
        .times(3),
        Case::new("abort_with_its_signal_blocked_loses_nothing", abort_when_blocked, all_is_there).killed_by(SIGABRT),
        Case::new("a_logger_that_is_not_installed_loses_nothing_in_a_crash", crash_of_a_built_logger, all_is_there)
            .killed_by(SIGSEGV),
        Case::new("a_panic_that_cannot_unwind_loses_nothing_without_log_panics", panic_without_unwinding, all_is_there)
            .killed_by(SIGABRT)
            .speaks(),
        Case::inside("a_forked_child_that_crashes_loses_nothing_and_its_parent_goes_on", crash_in_a_child),
        Case::inside("a_child_that_never_logged_crashes_at_once", crash_of_a_silent_child),
        Case::new("the_programs_own_handler_runs_after_the_wait", own_handler, |ended| {
            all_is_there(ended);
            assert_eq!(ended.place.noted("handled"), "yes");
        })
        .ends_with(7),
        Case::new("the_programs_own_handler_has_the_stack_that_it_had", large_handler, all_is_there).ends_with(7),
        Case::new("a_program_that_mends_its_fault_goes_on_and_so_does_its_log", mended_fault, |ended| {
            ended.log().assert_all(0, RECORDS);
        }),
        Case::inside("a_library_that_is_unloaded_leaves_nothing_without_code", unloaded_library).needs_linux(),
        Case::inside("a_signal_that_the_program_ignores_stays_ignored", ignored_signal),
        Case::inside("a_handler_that_is_to_run_once_runs_once", handler_for_once),
        Case::new("a_crash_in_a_sink_does_not_wait_for_its_own_thread", crash_of_the_writer, ended_promptly)
            .killed_by(SIGSEGV),
        Case::new(
            "a_crash_next_to_a_sink_that_hangs_waits_for_its_deadline_alone",
            crash_next_to_a_hung_sink,
            |ended| {
                assert!(ended.took >= SHORT, "{:?}", ended.took);
                ended_promptly(ended);
            },
        )
        .killed_by(SIGSEGV),
        Case::new("a_second_crash_in_the_programs_handler_ends_the_process", double_fault, |ended| {
            all_is_there(ended);
            ended_promptly(ended);
        })
        .killed_by(SIGBUS),
        Case::new("a_crash_with_a_full_disk_does_not_wait", crash_with_a_full_disk, ended_promptly)
            .killed_by(SIGSEGV)
            .needs_linux(),
        Case::new("a_crash_with_nothing_to_wait_for_is_over_at_once", crash_after_shutdown, ended_promptly)
            .killed_by(SIGSEGV),
        Case::inside("a_crash_dumps_its_core_as_it_would_without_the_option", core_dump).needs_linux(),
        Case::inside("no_signal_has_a_handler_unless_it_was_asked_for", |place| {
            let before = SIGNALS.map(|(_, signal)| unix::handler(signal));
            to_log(place).init().unwrap();
            assert_eq!(SIGNALS.map(|(_, signal)| unix::handler(signal)), before);
        }),
    ]);
    cases
}

fn all_is_there(ended: &Ended) {
    ended.log().assert_all(0, RECORDS);
}

fn ended_promptly(ended: &Ended) {
    assert!(ended.took < PROMPTLY, "{:?}", ended.took);
}

/// A fault of which every processor knows.
fn crash() {
    unix::fault(SIGSEGV).unwrap()("".as_ref());
}

fn overflow_of_main(place: &Place) {
    to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    black_box(deep(1));
}

fn overflow_of_thread(place: &Place) {
    to_log(place).flush_on_crash(true).init().unwrap();
    let thread = thread::Builder::new().name("deep".into()).spawn(|| {
        say_all(0, RECORDS);
        deep(1)
    });
    black_box(thread.unwrap().join().unwrap());
}

fn deep(n: u64) -> u64 {
    let numbers = black_box([n; 64]);
    if black_box(n) == 0 { 0 } else { deep(n + 1) + numbers[(n % 64) as usize] }
}

/// With musl, std does not find out where the stack of the main thread ends, and takes an overflow
/// for any other fault.
const KNOWS_STACK_OF_MAIN: bool = cfg!(not(target_env = "musl"));

fn overflow_of_main_is_told(ended: &Ended) {
    if KNOWS_STACK_OF_MAIN { overflow_is_told(ended) } else { all_is_there(ended) }
}

fn overflow_is_told(ended: &Ended) {
    all_is_there(ended);
    let said = fs::read_to_string(ended.place.path("stderr")).unwrap();
    assert!(said.contains("has overflowed its stack"), "{said}");
}

/// The writer naps for long then.
fn crash_after_a_pause(place: &Place) {
    let handle = to_log(place).flush_on_crash(true).init().unwrap();
    say(0, 0);
    wait_until("the writer has nothing to do", || handle.stats().written == 1);
    // Not to order anything: the pause is what the case is about.
    thread::sleep(Duration::from_millis(1200));
    (1..RECORDS).for_each(|n| say(0, n));
    crash();
}

fn crash_under_load(place: &Place) {
    to_log(place).capacity(1 << 16).flush_on_crash(true).overflow(unfazed::Overflow::Block).init().unwrap();
    let _load = Load::start(3);
    let crashes = thread::spawn(|| {
        say_all(9, RECORDS);
        crash();
    });
    crashes.join().unwrap();
}

fn many_crashes(place: &Place) {
    to_log(place).flush_on_crash(true).init().unwrap();
    let together = Arc::new(Barrier::new(8));
    let threads = (0..8).map(|author| {
        let together = together.clone();
        thread::spawn(move || {
            say_all(author, RECORDS / 10);
            together.wait();
            crash();
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}

fn crash_while_rotating(place: &Place) {
    let file = LogFile::new(place.log()).rotation(Rotation::size(4096));
    to_file(file).capacity(1 << 16).flush_on_crash(true).init().unwrap();
    say_all(9, RECORDS);
    crash();
}

fn abort_when_blocked(place: &Place) {
    if cfg!(target_env = "musl") {
        return place.skip("this `abort` does not unblock its signal, so no handler runs");
    }
    to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    unix::block(SIGABRT);
    abort();
}

fn crash_of_a_built_logger(place: &Place) {
    let (logger, _handle) = to_log(place).flush_on_crash(true).build().unwrap();
    log::set_max_level(LevelFilter::Info);
    (0..RECORDS).for_each(|n| say_by(&logger, 0, n));
    crash();
}

fn panic_without_unwinding(place: &Place) {
    extern "C" fn called_by_c() {
        panic!("in a function that C calls");
    }

    to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    called_by_c();
}

fn crash_in_a_child(place: &Place) {
    let handle = to_log(place).flush_on_crash(true).init().unwrap();
    for child in 1..=5 {
        say(0, child - 1);
        let death = unix::death_of(|| {
            say_all(child as u32, RECORDS);
            crash();
        });
        assert_eq!(death.signal, Some(SIGSEGV));
    }
    handle.flush(PATIENCE).unwrap();
    let log = Log::read_shared(&place.log());
    log.assert_all(0, 5);
    (1..=5).for_each(|child| log.assert_all(child, RECORDS));
}

/// It has inherited the handler, and what stands for its parent's writer.
fn crash_of_a_silent_child(place: &Place) {
    let _handle = to_log(place).flush_on_crash(true).init().unwrap();
    let begun = Instant::now();
    assert_eq!(unix::death_of(crash).signal, Some(SIGSEGV));
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
}

fn own_handler(place: &Place) {
    extern "C" fn handler(_: i32) {
        // What every case may do, since this process does nothing else.
        fs::write("handled", "yes").unwrap();
        unix::exit_immediately(7);
    }

    std::env::set_current_dir(place.dir()).unwrap();
    unix::handle(SIGSEGV, handler, 0);
    to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    crash();
}

/// It had to do with the few KiB of the alternate stack, for which it had not asked.
fn large_handler(place: &Place) {
    extern "C" fn handler(_: i32) {
        let mut bytes = [0_u8; 256 << 10];
        std::hint::black_box(&mut bytes).fill(1);
        unix::exit_immediately(6 + i32::from(std::hint::black_box(bytes[0])));
    }

    unix::handle(SIGSEGV, handler, 0);
    to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    crash();
}

/// As a runtime does that finds out by a fault that a page is to be filled.
fn mended_fault(place: &Place) {
    let page = unix::Page::unreadable();
    page.becomes_readable_at(SIGSEGV);
    let handle = to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS / 2);
    let before = unix::handler(SIGABRT);
    assert_eq!(page.read(), 0);
    assert_eq!(unix::handler(SIGABRT), before, "the handler for the other signals is there again");
    (RECORDS / 2..RECORDS).for_each(|n| say(0, n));
    handle.flush(PATIENCE).unwrap();
}

/// A plug-in was unloaded after `shutdown`, and its handler for the five signals was then an
/// address without code: a fault that the program's own handler would have mended ended the
/// program.
fn unloaded_library(place: &Place) {
    static HANDLED: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler(_: i32) {
        HANDLED.store(true, SeqCst);
    }

    // <target>/<profile>/deps/life-<hash>
    let this = std::env::current_exe().unwrap();
    let library = this.ancestors().nth(2).unwrap().join("examples").join("liblibrary.so");
    if !library.exists() {
        return place.skip("`cargo build --example library` has not run");
    }
    unix::handle(SIGBUS, handler, 0);
    let library = unix::Library::load(&library);
    let log_and_shut_down = library.function(c"log_and_shut_down");
    thread::spawn(move || log_and_shut_down()).join().unwrap();
    // A thread that has logged holds the library until its thread-locals are destroyed.
    wait_until("the library's threads have ended", || fs::read_dir("/proc/self/task").unwrap().count() == 1);
    library.unload();
    unix::raise(SIGBUS);
    assert!(HANDLED.load(SeqCst), "the program's own handler has run");
    assert_eq!(fs::read_to_string(place.log()).unwrap().lines().count(), 1000);
}

fn ignored_signal(place: &Place) {
    unix::ignore(SIGFPE);
    let handle = to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    unix::raise(SIGFPE);
    handle.flush(PATIENCE).unwrap();
    Log::read(&place.log()).assert_all(0, RECORDS);
}

fn handler_for_once(place: &Place) {
    extern "C" fn handler(_: i32) {}

    unix::handle(SIGFPE, handler, libc::SA_RESETHAND);
    let _handle = to_log(place).flush_on_crash(true).init().unwrap();
    let death = unix::death_of(|| unix::raise(SIGFPE));
    assert_eq!(death.signal, Some(SIGFPE), "the handler has put the default action back");
}

fn crash_of_the_writer(_: &Place) {
    let sink = CallSink(crash);
    Builder::new().sink("crashes", sink).shutdown_timeout(PATIENCE).flush_on_crash(true).init().unwrap();
    say_all(0, 10);
    thread::park();
}

fn crash_next_to_a_hung_sink(_: &Place) {
    let (entered, has_entered) = mpsc::channel();
    Builder::new().sink("hangs", HungSink(entered)).shutdown_timeout(SHORT).flush_on_crash(true).init().unwrap();
    say_all(0, 10);
    has_entered.recv().unwrap();
    crash();
}

fn double_fault(place: &Place) {
    extern "C" fn handler(_: i32) {
        unix::raise(SIGBUS);
    }

    unix::handle(SIGSEGV, handler, 0);
    to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    crash();
}

fn crash_with_a_full_disk(_: &Place) {
    to_file(LogFile::new("/dev/full")).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    crash();
}

fn crash_after_shutdown(place: &Place) {
    let handle = to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    handle.shutdown(PATIENCE).unwrap();
    crash();
}

fn core_dump(place: &Place) {
    std::env::set_current_dir(place.dir()).unwrap();
    unix::allow_core_dumps();
    let faults = SIGNALS.iter().filter_map(|(_, signal)| Some((*signal, unix::fault(*signal)?)));
    let faults: Vec<_> = faults.collect();
    let all = || -> Vec<Death> { faults.iter().map(|(_, fault)| unix::death_of(|| fault(place.dir()))).collect() };
    let without = all();
    let handle = to_log(place).flush_on_crash(true).init().unwrap();
    say_all(0, RECORDS);
    let with = all();
    assert_eq!(with, without);
    let signals: Vec<_> = with.iter().map(|death| death.signal).collect();
    assert_eq!(signals, faults.iter().map(|(signal, _)| Some(*signal)).collect::<Vec<_>>());
    assert!(catch_unwind(|| handle.flush(PATIENCE)).unwrap().is_ok());
}
