//! Log calls from odd places: inside other log calls, from destructors, from tiny stacks, from
//! thousands of threads; and a logger that cannot be made.

use std::cell::RefCell;
use std::fmt;
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Instant;

use log::LevelFilter;
use unfazed::{Format, Handle, InitError, LogFile, Overflow};

use crate::harness::{Case, Ended, Place};
use crate::load::{PATIENCE, TARGET, Text, assert_settled, say, say_all, to_file, to_log, wait_until};
use crate::readback::Log;
use crate::unix::PROMPTLY;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::inside("a_display_that_logs_gives_each_record_once", display_that_logs),
        Case::inside("a_display_that_panics_is_the_callers_matter_and_the_logger_stays_right", display_that_panics),
        Case::new("a_record_of_a_thread_locals_destructor_is_written", thread_local_destructors, |ended| {
            let log = ended.log();
            let authors = if ENDS_WITH_DESTRUCTORS { 0..4 } else { 0..2 };
            for author in authors {
                log.assert_all(author, 2);
            }
        })
        .times(3),
        Case::new("a_record_of_a_thread_locals_destructor_during_exit_is_written", thread_local_at_exit, |ended| {
            ended.log().assert_all(0, 2);
        }),
        Case::inside("a_record_of_a_drop_during_unwinding_is_written", drop_during_unwinding),
        Case::new("a_record_of_the_programs_own_panic_hook_is_written", own_panic_hook, own_panic_hook_is_heard)
            .ends_with(101),
        Case::inside("a_thread_with_a_stack_of_64_kib_can_log", tiny_stack),
        Case::inside("20000_short_lived_threads_all_log_under_their_names_and_the_memory_stays", many_threads)
            .needs_linux(),
        Case::inside("init_on_a_taken_logger_fails_at_once_and_leaves_nothing", taken_logger).needs_linux(),
        Case::inside("a_thread_that_cannot_be_started_is_an_error_and_a_second_attempt_works", no_thread).needs_linux(),
    ]
}

/// Logs as an author of its own whenever it is formatted, and holds another value that may do so
/// too.
struct Logs(u32, Option<Box<Logs>>);

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(inner) = &self.1 {
            log::info!(target: "inner", "{} holds {inner}", self.0);
        }
        say(self.0, 0);
        write!(f, "author {}", self.0)
    }
}

fn display_that_logs(place: &Place) {
    let handle = to_log(place).init().unwrap();
    let three_deep = Logs(0, Some(Box::new(Logs(1, Some(Box::new(Logs(2, None)))))));
    log::info!(target: "outer", "{three_deep}");
    handle.flush(PATIENCE).unwrap();
    let log = Log::read(&place.log());
    (0..3).for_each(|author| log.assert_all(author, 1));
    assert_eq!(log.messages("outer"), ["author 0"]);
    assert_eq!(log.messages("inner"), ["1 holds author 2", "0 holds author 1"]);
    assert_settled(&handle.stats());
    assert_eq!(handle.stats().accepted, 6);
}

struct Panics;

impl fmt::Display for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("in a Display")
    }
}

fn display_that_panics(place: &Place) {
    panic::set_hook(Box::new(|_| {}));
    let handle = to_log(place).init().unwrap();
    for n in 0..100 {
        let panicked = catch_unwind(|| log::error!("it is {Panics}"));
        assert!(panicked.is_err());
        // Also after so much text that the message is on the heap.
        let panicked = catch_unwind(|| log::error!("it is {:4000} and {Panics}", ""));
        assert!(panicked.is_err());
        say(0, n);
    }
    let in_thread = thread::spawn(|| {
        assert!(catch_unwind(|| log::info!("{Panics}")).is_err());
        say(1, 0);
    });
    in_thread.join().unwrap();
    handle.flush(PATIENCE).unwrap();
    let log = Log::read(&place.log());
    log.assert_all(0, 100);
    log.assert_all(1, 1);
    assert!(log.others.is_empty(), "{:?}", log.others);
    assert_settled(&handle.stats());
    assert_eq!(handle.stats().accepted, 101);
}

// --- destructors ---

/// With musl, std runs no destructor of a thread-local of the main thread, or of a thread that ends
/// the process: there is nobody who would log.
const ENDS_WITH_DESTRUCTORS: bool = cfg!(not(target_env = "musl"));

/// Logs two records of its author when it is dropped.
struct LogsInDrop(u32);

impl Drop for LogsInDrop {
    fn drop(&mut self) {
        say_all(self.0, 2);
    }
}

thread_local! {
    /// Made before the first log call of its thread: dropped after whatever that call has made.
    static EARLY: RefCell<Option<LogsInDrop>> = const { RefCell::new(None) };
    static LATE: RefCell<Option<LogsInDrop>> = const { RefCell::new(None) };
}

/// Two on the main thread, whose thread-locals go when `main` has returned, and two on another.
fn thread_local_destructors(place: &Place) {
    to_log(place).init().unwrap();
    let life = |first: u32| {
        EARLY.set(Some(LogsInDrop(first)));
        log::info!(target: "between", "{first}");
        LATE.set(Some(LogsInDrop(first + 1)));
    };
    thread::spawn(move || life(0)).join().unwrap();
    life(2);
}

/// Of a thread that has never logged before.
fn thread_local_at_exit(place: &Place) {
    if !ENDS_WITH_DESTRUCTORS {
        return place.skip("no thread-local is dropped when the process ends");
    }
    to_log(place).init().unwrap();
    thread::spawn(|| {
        EARLY.set(Some(LogsInDrop(0)));
        std::process::exit(0)
    });
    loop {
        thread::park();
    }
}

fn drop_during_unwinding(place: &Place) {
    panic::set_hook(Box::new(|_| {}));
    let handle = to_log(place).init().unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _logs = LogsInDrop(0);
        panic!("on purpose");
    }));
    assert!(unwound.is_err());
    let thread = thread::spawn(|| {
        let _logs = LogsInDrop(1);
        panic!("on purpose");
    });
    assert!(thread.join().is_err());
    handle.flush(PATIENCE).unwrap();
    let log = Log::read(&place.log());
    log.assert_all(0, 2);
    log.assert_all(1, 2);
    assert_settled(&handle.stats());
}

/// One hook was there before the logger's, one comes after it.
fn own_panic_hook(place: &Place) {
    panic::set_hook(Box::new(|info| log::error!(target: "before", "{}", info.payload_as_str().unwrap_or_default())));
    to_log(place).log_panics(true).init().unwrap();
    let ours = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        log::error!(target: "after", "{}", info.payload_as_str().unwrap_or_default());
        ours(info);
    }));
    let worker = thread::Builder::new().name("worker".into()).spawn(|| panic!("one"));
    assert!(worker.unwrap().join().is_err());
    panic!("two");
}

fn own_panic_hook_is_heard(ended: &Ended) {
    let log = ended.log();
    assert_eq!(log.messages("before"), ["one", "two"]);
    assert_eq!(log.messages("after"), ["one", "two"]);
    let told = log.messages("panic");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("thread 'worker' panicked at ") && told[0].ends_with(": one"), "{told:?}");
    assert!(told[1].starts_with("thread 'main' panicked at ") && told[1].ends_with(": two"), "{told:?}");
    let order: Vec<_> = log.others.iter().map(|line| line.target.as_str()).collect();
    assert_eq!(order, ["after", "panic", "before", "after", "panic", "before"]);
}

// --- threads ---

fn tiny_stack(place: &Place) {
    let handle = to_log(place).filter("info,life=trace,other=off,more::and::more=debug").init().unwrap();
    for author in 0..20 {
        let tiny = thread::Builder::new().stack_size(64 * 1024).name(format!("tiny {author}"));
        let thread = tiny.spawn(move || {
            say_all(author, 100);
            log::warn!(target: "other", "not this one");
            // On the heap, with key-values.
            log::warn!(target: "long", author, place = "tiny"; "{:=<20000}", "");
            log::logger().flush();
        });
        thread.unwrap().join().unwrap();
    }
    handle.flush(PATIENCE).unwrap();
    let log = Log::read(&place.log());
    (0..20).for_each(|author| log.assert_all(author, 100));
    let long = log.messages("long");
    assert_eq!(long.len(), 20);
    assert!(long.iter().all(|message| message.len() > 20_000 && message.ends_with(" place=tiny")));
    assert_settled(&handle.stats());
}

fn many_threads(place: &Place) {
    const THREADS: u64 = 20000;
    const AT_ONCE: u64 = 10;
    /// A name is kept up to 64 bytes.
    const DIGITS: usize = 57;
    /// What 10 000 names that are never forgotten take is three times as much; what the allocator's
    /// arenas grow by chance, half of it.
    const MOST_GROWTH: u64 = 400 << 10;
    const HOLD: &str = "hold the writer";
    const FILLER: &str = "filler";
    let gate = Arc::new(Barrier::new(2));
    let held = gate.clone();
    let names = Format::custom(move |line, record| {
        if record.message() == HOLD {
            held.wait();
        }
        writeln!(line, "{} {}", record.thread_name().unwrap_or("?"), record.message())
    });
    // As long as a name can be, so that names which are never forgotten weigh something.
    let name = |n: u64| format!("thread-{n:0>DIGITS$}");
    let file = LogFile::new(place.log()).format(names);
    // They wait for a writer that is held up, whose queue a thousand of them fill.
    let handle = to_file(file).capacity(1024).overflow(Overflow::Block).init().unwrap();
    // A turn as long as any: what the writer needs for that it keeps, and would else count as
    // growth whenever it came.
    log::info!("{HOLD}");
    (0..800).for_each(|_| log::info!("{FILLER:/<100}"));
    gate.wait();
    handle.flush(PATIENCE).unwrap();
    let mut half = 0;
    for first in (0..THREADS).step_by(AT_ONCE as usize) {
        if first == THREADS / 2 {
            handle.flush(PATIENCE).unwrap();
            half = resident_memory();
        }
        let threads: Vec<_> = (first..first + AT_ONCE)
            .map(|n| thread::Builder::new().name(name(n)).spawn(move || log::info!("{n}")).unwrap())
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    handle.flush(PATIENCE).unwrap();
    let growth = resident_memory().saturating_sub(half);
    assert!(growth < MOST_GROWTH, "the second half of the threads cost {growth} bytes");
    let text = std::fs::read_to_string(place.log()).unwrap();
    let mut there: Vec<_> = text.lines().filter(|line| !line.contains(HOLD) && !line.contains(FILLER)).collect();
    let mut wanted: Vec<_> = (0..THREADS).map(|n| format!("{} {n}", name(n))).collect();
    there.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(there, wanted);
    assert_settled(&handle.stats());
}

/// What the process holds of the machine's memory, in bytes.
fn resident_memory() -> u64 {
    pages(1)
}

/// What it has mapped, in bytes.
pub(crate) fn mapped_memory() -> u64 {
    pages(0)
}

fn pages(column: usize) -> u64 {
    let sizes = std::fs::read_to_string("/proc/self/statm").unwrap();
    // SAFETY: asks for a number and touches no memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    sizes.split(' ').nth(column).unwrap().parse::<u64>().unwrap() * page as u64
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

// --- loggers that cannot be made ---

static HOOK_RAN: OnceLock<()> = OnceLock::new();

fn taken_logger(place: &Place) {
    panic::set_hook(Box::new(|_| {
        let _ = HOOK_RAN.set(());
    }));
    let handle = to_log(place).init().unwrap();
    say(0, 0);
    handle.flush(PATIENCE).unwrap();
    let before = threads();
    for turn in 0..50 {
        let begun = Instant::now();
        let second = to_file(LogFile::new(place.path("second.log"))).level(LevelFilter::Trace).log_panics(true).init();
        assert!(matches!(second, Err(InitError::LoggerSet(_))), "{second:?}");
        assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
        assert_eq!(log::max_level(), LevelFilter::Info, "the first one's");
        say(0, turn + 1);
    }
    wait_until("no thread is left", || threads() == before);
    assert!(!place.path("second.log").exists());
    assert!(catch_unwind(|| panic!("on purpose")).is_err());
    assert!(HOOK_RAN.get().is_some());
    handle.flush(PATIENCE).unwrap();
    let log = Log::read(&place.log());
    log.assert_all(0, 51);
    assert!(log.others.is_empty(), "the panic hook of a logger that was not made: {:?}", log.others);
    assert_settled(&handle.stats());
}

#[cfg(target_os = "linux")]
fn no_thread(place: &Place) {
    let builder = || to_log(place).capacity(64);
    // No thread has ended in this process yet: there is no stack to be used again.
    let before = crate::unix::limit_memory(mapped_memory() + 1024 * 1024);
    let attempts: Vec<Result<Handle, InitError>> = (0..3).map(|_| builder().init()).collect();
    let built = builder().build().map(|_| ());
    crate::unix::limit_memory(before);
    if attempts[0].is_ok() {
        return place.skip("threads start whatever the limit of memory is");
    }
    for attempt in &attempts {
        assert!(matches!(attempt, Err(InitError::Thread(_))), "{attempt:?}");
    }
    assert!(matches!(built, Err(InitError::Thread(_))), "{built:?}");
    assert_eq!(threads(), 1);
    assert!(!place.log().exists());
    log::info!(target: TARGET, "{}", Text(0, 1000));
    let handle = builder().init().unwrap();
    say_all(0, 10);
    handle.flush(PATIENCE).unwrap();
    Log::read(&place.log()).assert_all(0, 10);
}

#[cfg(not(target_os = "linux"))]
fn no_thread(place: &Place) {
    place.skip("it needs Linux");
}
