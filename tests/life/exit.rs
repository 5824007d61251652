//! The end of the process: by the return from `main`, by `exit` from any thread, by a panic.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;
use unfazed::{Builder, Format, Handle, LogFile, Logger, Overflow};

use crate::harness::{Case, Ended, Place};
use crate::load::{Load, PATIENCE, assert_settled, say, say_all, say_by, to_file, to_log};
use crate::readback::Log;
use crate::sinks::{CallSink, FailSink, HungSink};
use crate::unix::{PROMPTLY, at_exit, terminate};

const RECORDS: u64 = 1000;
const AUTHORS: u32 = 8;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (way, words) in [
        (Way::Return, "the_return_from_main"),
        (Way::Exit, "exit_from_main"),
        (Way::ExitElsewhere, "exit_from_another_thread"),
        (Way::Panic, "a_panic_that_ends_main"),
    ] {
        for (loggers, whose) in [
            (Loggers::Installed, "an_installed_logger"),
            (Loggers::Leaked, "a_leaked_logger"),
            (Loggers::Static, "a_static_logger"),
            (Loggers::Three, "each_of_three_loggers"),
        ] {
            cases.push(way.case(
                format!("all_records_of_{whose}_survive_{words}"),
                move |place| log_and_end(place, loggers, way),
                move |ended| loggers.assert_all_written(ended),
            ));
        }
        let name = format!("a_record_right_after_init_survives_{words}");
        cases.push(way.case(name, move |place| say_and_end(place, way), one_record).times(25));
    }
    cases.extend([
        Case::new(
            "exit_while_eight_threads_log_accounts_for_every_record",
            |place| exit_under_load(place, Overflow::DropNewest),
            accounted,
        ),
        Case::new(
            "exit_while_eight_threads_wait_for_a_slot_accounts_for_every_record",
            |place| exit_under_load(place, Overflow::Block),
            accounted,
        ),
        Case::new("exit_with_a_sink_that_hangs_takes_the_timeout_and_no_longer", exit_with_hung_sink, at_the_timeout),
        Case::new("exit_inside_a_sink_ends_at_once_and_other_loggers_are_written", exit_in_sink, ended_at_once),
        Case::new("exit_inside_a_format_ends_at_once_and_other_loggers_are_written", exit_in_format, ended_at_once),
        Case::new("exit_inside_a_callback_ends_at_once_and_other_loggers_are_written", exit_in_callback, ended_at_once),
        Case::new("a_signal_that_the_program_turns_into_an_exit_loses_nothing", turn_sigterm_into_exit, |ended| {
            ended.log().assert_all(0, RECORDS);
        })
        .ends_with(143),
        Case::new("what_is_flushed_before_exec_is_written", flush_and_exec, |ended| {
            ended.log().assert_all(0, RECORDS);
        }),
        Case::new("a_record_of_an_exit_handler_that_runs_before_ours_is_written", log_before_ours, |ended| {
            ended.log().assert_all(0, 11);
        })
        .times(25),
        Case::new("the_first_record_of_a_program_in_an_exit_handler_is_written", log_in_handler_only, |ended| {
            ended.log().assert_all(0, 1);
        })
        .times(5),
        Case::new(
            "the_first_record_of_a_thread_in_an_exit_handler_is_written",
            log_in_handler_only_elsewhere,
            |ended| {
                ended.log().assert_all(0, 1);
            },
        )
        .times(5),
        Case::new("a_record_of_an_exit_handler_that_runs_after_ours_is_counted", log_after_ours, |ended| {
            ended.log().assert_all(0, 10);
            assert_eq!(ended.place.noted("account"), "11 10 0");
        }),
        Case::new("a_logger_that_was_shut_down_or_dropped_delays_no_exit", exit_of_ended_loggers, |ended| {
            assert!(ended.took < PROMPTLY, "{:?}", ended.took);
        }),
    ]);
    cases
}

/// How a program ends.
#[derive(Clone, Copy)]
enum Way {
    Return,
    Exit,
    ExitElsewhere,
    Panic,
}

impl Way {
    /// The last thing that a case does.
    fn end(self) {
        match self {
            Way::Return => {}
            Way::Exit => std::process::exit(0),
            Way::ExitElsewhere => {
                thread::spawn(|| std::process::exit(0));
                loop {
                    thread::park();
                }
            }
            Way::Panic => panic!("on purpose"),
        }
    }

    fn case(
        self,
        name: String,
        main: impl Fn(&Place) + Send + Sync + 'static,
        judge: impl Fn(&Ended) + Send + Sync + 'static,
    ) -> Case {
        let case = Case::new(name, main, judge);
        if matches!(self, Way::Panic) { case.ends_with(101).speaks() } else { case }
    }
}

/// Which loggers are alive at the end.
#[derive(Clone, Copy)]
enum Loggers {
    Installed,
    Leaked,
    Static,
    Three,
}

impl Loggers {
    fn files(self) -> u32 {
        if matches!(self, Loggers::Three) { 3 } else { 1 }
    }

    fn assert_all_written(self, ended: &Ended) {
        for number in 0..self.files() {
            Log::read(&ended.place.path(&number.to_string())).assert_all(number, RECORDS);
        }
        assert!(ended.took < PROMPTLY, "{:?}", ended.took);
    }
}

static KEPT: OnceLock<Logger> = OnceLock::new();

fn log_and_end(place: &Place, loggers: Loggers, way: Way) {
    let builder = |number: u32| to_file(LogFile::new(place.path(&number.to_string())));
    let leaked = |number: u32| &*Box::leak(Box::new(builder(number).build().unwrap().0));
    match loggers {
        Loggers::Installed => {
            builder(0).init().unwrap();
            say_all(0, RECORDS);
        }
        Loggers::Leaked => {
            let logger = leaked(0);
            log::set_max_level(logger.max_level());
            (0..RECORDS).for_each(|n| say_by(logger, 0, n));
        }
        Loggers::Static => {
            let logger = KEPT.get_or_init(|| builder(0).build().unwrap().0);
            log::set_max_level(logger.max_level());
            (0..RECORDS).for_each(|n| say_by(logger, 0, n));
        }
        Loggers::Three => {
            builder(0).init().unwrap();
            let (one, other) = (leaked(1), leaked(2));
            for n in 0..RECORDS {
                say(0, n);
                say_by(one, 1, n);
                say_by(other, 2, n);
            }
        }
    }
    way.end();
}

/// The writer's thread has hardly begun when the process ends.
fn say_and_end(place: &Place, way: Way) {
    to_log(place).init().unwrap();
    say(0, 0);
    way.end();
}

fn one_record(ended: &Ended) {
    ended.log().assert_all(0, 1);
}

// --- the recipes of `src/_docs/shutdown.md` ---

fn turn_sigterm_into_exit(place: &Place) {
    let mut signals = Signals::new([SIGTERM]).unwrap();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            std::process::exit(128 + signal);
        }
    });
    to_log(place).init().unwrap();
    say_all(0, RECORDS);
    terminate(std::process::id());
    loop {
        thread::park();
    }
}

fn flush_and_exec(place: &Place) {
    let handle = to_log(place).init().unwrap();
    say_all(0, RECORDS);
    handle.flush(PATIENCE).unwrap();
    panic!("exec: {}", Command::new("true").exec());
}

// --- exit, whatever the others do ---

static HANDLE: OnceLock<Handle> = OnceLock::new();
static PLACE: OnceLock<Place> = OnceLock::new();
static EXIT_CALLED: OnceLock<Instant> = OnceLock::new();
static STOP: AtomicBool = AtomicBool::new(false);
static STARTED: AtomicUsize = AtomicUsize::new(0);
static STOPPED: AtomicUsize = AtomicUsize::new(0);
static LOGGED: AtomicU64 = AtomicU64::new(0);

fn exit_now() -> ! {
    EXIT_CALLED.set(Instant::now()).unwrap();
    std::process::exit(0)
}

/// Runs after the logger's hook: says how long that took.
extern "C" fn note_delay() {
    PLACE.get().unwrap().note("delay", EXIT_CALLED.get().unwrap().elapsed().as_millis());
}

/// Runs after the logger's hook, while eight threads still log: lets them finish, so that nothing
/// is under way, and looks.
extern "C" fn note_account() {
    note_delay();
    STOP.store(true, SeqCst);
    while STOPPED.load(SeqCst) < AUTHORS as usize {
        thread::sleep(Duration::from_micros(200));
    }
    let stats = HANDLE.get().unwrap().stats();
    assert_settled(&stats);
    let (logged, only_shutdown) = (LOGGED.load(SeqCst), stats.dropped.total() == stats.dropped.shutdown);
    let account = format!("{logged} {} {} {only_shutdown}", stats.accepted, stats.written);
    PLACE.get().unwrap().note("account", account);
}

fn exit_under_load(place: &Place, overflow: Overflow) {
    PLACE.set(place.clone()).ok().unwrap();
    at_exit(note_account);
    HANDLE.set(to_log(place).overflow(overflow).capacity(1024).init().unwrap()).unwrap();
    for author in 0..AUTHORS {
        thread::spawn(move || {
            let mut n = 0;
            while !STOP.load(SeqCst) {
                say(author, n);
                n += 1;
                if n == 1000 {
                    STARTED.fetch_add(1, SeqCst);
                }
            }
            LOGGED.fetch_add(n, SeqCst);
            STOPPED.fetch_add(1, SeqCst);
        });
    }
    crate::load::wait_until("all threads log", || STARTED.load(SeqCst) == AUTHORS as usize);
    if overflow == Overflow::Block {
        PLACE.get().unwrap().note("only shutdown", "");
    }
    exit_now();
}

fn accounted(ended: &Ended) {
    let delay = ended.place.noted_millis("delay");
    assert!(delay < PATIENCE, "exit took {delay:?}");
    let account = ended.place.noted("account");
    let mut account = account.split(' ');
    let mut number = || account.next().unwrap().parse::<u64>().unwrap();
    let (logged, accepted, written) = (number(), number(), number());
    assert_eq!(accepted, logged, "accepted, logged");
    let log = ended.log();
    log.assert_order();
    assert_eq!(log.len(), written, "records in the file, records counted as written");
    if ended.place.path("only shutdown").exists() {
        assert_eq!(account.next(), Some("true"), "a queue that blocks drops nothing but at the end");
        for author in 0..AUTHORS {
            log.assert_all(author, log.of(author).len() as u64);
        }
    }
}

const SHORT: Duration = Duration::from_millis(700);

fn exit_with_hung_sink(place: &Place) {
    PLACE.set(place.clone()).ok().unwrap();
    at_exit(note_delay);
    let (entered, has_entered) = mpsc::channel();
    Builder::new().sink("hung", HungSink(entered)).shutdown_timeout(SHORT).init().unwrap();
    say(0, 0);
    has_entered.recv().unwrap();
    say_all(1, 100);
    exit_now();
}

fn at_the_timeout(ended: &Ended) {
    let delay = ended.place.noted_millis("delay");
    assert!(delay >= SHORT, "the end waited only {delay:?}");
    assert!(delay < SHORT + Duration::from_secs(5), "the end waited {delay:?}");
}

/// Another logger, with records that are still in its queue; and a record that has the writer of
/// `builder` call exit.
fn end_by_writer(place: &Place, builder: Builder) {
    let (other, _) = to_log(place).build().unwrap();
    let other = Box::leak(Box::new(other));
    builder.shutdown_timeout(PATIENCE).init().unwrap();
    (0..RECORDS).for_each(|n| say_by(other, 0, n));
    say(1, 0);
    loop {
        thread::park();
    }
}

fn exit_in_sink(place: &Place) {
    end_by_writer(place, Builder::new().sink("exits", CallSink(|| std::process::exit(0))));
}

fn exit_in_format(place: &Place) {
    let exits = Format::custom(|_, _| std::process::exit(0));
    end_by_writer(place, Builder::new().file(LogFile::new(place.path("other.log")).format(exits)));
}

fn exit_in_callback(place: &Place) {
    end_by_writer(place, Builder::new().sink("fails", FailSink).on_event(|_| std::process::exit(0)));
}

fn ended_at_once(ended: &Ended) {
    assert!(ended.took < PROMPTLY, "{:?}", ended.took);
    ended.log().assert_all(0, RECORDS);
}

// --- other exit handlers ---

extern "C" fn say_one_more() {
    say(0, 10);
}

/// Handlers run in the opposite order of their registration.
fn log_before_ours(place: &Place) {
    to_log(place).init().unwrap();
    at_exit(say_one_more);
    say_all(0, 10);
}

extern "C" fn say_first() {
    say(0, 0);
}

/// By then the thread-locals of the thread that ends the process are gone.
fn log_in_handler_only(place: &Place) {
    to_log(place).init().unwrap();
    at_exit(say_first);
}

fn log_in_handler_only_elsewhere(place: &Place) {
    log_in_handler_only(place);
    Way::ExitElsewhere.end();
}

extern "C" fn note_late_record() {
    say(0, 10);
    let stats = HANDLE.get().unwrap().stats();
    assert_settled(&stats);
    let lost = stats.dropped.total() - stats.dropped.shutdown;
    PLACE.get().unwrap().note("account", format!("{} {} {lost}", stats.accepted, stats.written));
}

fn log_after_ours(place: &Place) {
    PLACE.set(place.clone()).ok().unwrap();
    at_exit(note_late_record);
    HANDLE.set(to_log(place).init().unwrap()).unwrap();
    say_all(0, 10);
}

fn exit_of_ended_loggers(place: &Place) {
    for turn in 0..20 {
        let (logger, handle) = to_file(LogFile::new(place.path(&format!("{turn}.log")))).build().unwrap();
        log::set_max_level(logger.max_level());
        say_by(&logger, 0, 0);
        if turn % 2 == 0 {
            handle.shutdown(PATIENCE).unwrap();
            std::mem::forget(logger);
        }
    }
    // Threads that have ended leave their places to the next.
    let load = {
        to_log(place).init().unwrap();
        Load::start(2)
    };
    load.stop();
}
