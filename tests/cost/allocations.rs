//! No allocation on the caller's thread: an allocator that counts those of each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future as _;
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::thread;

use unfazed::{Batch, Builder, LogFile, Sink, WriteError};

use crate::harness::{self, Outcome, argument, report};
use crate::work::{self, log_one, to_file, warm_up};

const THREADS: [usize; 3] = [1, 4, 16];
const CALLS: u64 = 2000;
/// What a slot takes for certain, target (where it is not the module path), message and key-values
/// together: see the README.
const FITS: usize = 170;
/// What it does not.
const DOES_NOT_FIT: usize = 1000;

/// The system's allocator, with a count for each thread.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    /// Without a destructor and without an initialiser that runs: it can be asked for inside of the
    /// allocator.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: each call goes on to `System` as it came, which keeps the contract; counting touches
// nothing of it and cannot unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised; `System` has allocated it.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promised; `System` has allocated it.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count() {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// What is counted: a name, and the call with this number.
type Kind = (&'static str, fn(u64));

const KINDS: &[Kind] = &[
    ("literal", |_| log::info!("nothing to format")),
    ("formatted", log_one),
    ("as long as fits", |n| log::info!("{:0>1$}", n, FITS)),
    (
        "with a target",
        |n| log::info!(target: "a::target::of::its::own", "{:0>1$}", n, FITS - "a::target::of::its::own".len()),
    ),
    ("key-values", |n| {
        let place = [1, 2];
        log::info!(user = n, from = "192.168.17.4", ms = 12.5, tried:? = place, good = true; "a user logged in")
    }),
    ("stored arguments", |n| unfazed::info!("user {} logged in from {} in {:.2} ms", n, "192.168.17.4", 12.5)),
    ("stored arguments and key-values", |n| unfazed::info!(user = n, good = true; "{n} logged in")),
    // On the writer's thread it does not fit, so this one shows that it is laid out there.
    ("stored arguments of a long message", |n| unfazed::info!("{:0>1$}", n, DOES_NOT_FIT)),
    ("an ERROR", |n| log::error!("the {n}th thing went wrong")),
    ("filtered out", |n| log::debug!("{n} is not wanted")),
    ("nothing at all", |_| log::warn!("")),
    #[cfg(feature = "tracing")]
    ("an event of tracing in a span", |n| tracing::info!(user = n, ms = 12.5, "a user logged in")),
    #[cfg(feature = "tracing")]
    ("an event that is filtered out", |n| tracing::debug!(user = n, "is not wanted")),
];

pub(crate) fn a_record_that_fits_its_slot_allocates_nothing(dir: &Path) -> Outcome {
    for threads in THREADS {
        let counts = harness::run("allocations", &threads.to_string(), dir);
        for &(kind, _) in KINDS {
            let count: u64 = counts.number(kind);
            assert_eq!(count, 0, "{threads} threads, {kind}: allocations in {} calls", threads as u64 * CALLS);
        }
        // Shows that the counter counts: the heap is asked once, for a message of one piece.
        assert_eq!(counts.number::<u64>("does not fit"), threads as u64 * CALLS, "{threads} threads");
    }
    let kinds = KINDS.iter().map(|(kind, _)| *kind).collect::<Vec<_>>().join(", ");
    Outcome::Holds(format!("{THREADS:?} threads, {CALLS} calls each of {kinds}: 0; 1 for each of {DOES_NOT_FIT} bytes"))
}

pub(crate) fn allocations(dir: &Path) {
    let handle = to_file(dir).init().unwrap();
    #[cfg(feature = "tracing")]
    unfazed::tracing::init(&handle).unwrap();
    let threads = argument();
    let long = "x".repeat(DOES_NOT_FIT);
    let together = Barrier::new(threads);
    let mut counts = [const { AtomicU64::new(0) }; KINDS.len()];
    let mut control = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                warm_up();
                #[cfg(feature = "tracing")]
                let _span = tracing::info_span!("request", id = 7, user = "hidden by the event's").entered();
                #[cfg(feature = "tracing")]
                tracing::info!("the first event in a span makes the registry's thread-local");
                together.wait();
                for ((_, call), count) in KINDS.iter().zip(&counts) {
                    count.fetch_add(allocations_of(call), Relaxed);
                }
                control.fetch_add(allocations_of(&|_| log::info!("{long}")), Relaxed);
            });
        }
    });
    for ((kind, _), count) in KINDS.iter().zip(&mut counts) {
        report(kind, *count.get_mut());
    }
    report("does not fit", *control.get_mut());
    work::end(&handle);
}

/// What is counted with a context and outputs that have filters.
pub(crate) const SURROUNDED: &[Kind] = &[
    ("in the context", log_one),
    ("for an output with a filter", |n| log::info!(target: "access", status = 200; "GET /{n}")),
    ("in scopes", |n| {
        let _user = unfazed::scope([("user", "ada")]);
        let _request = unfazed::scope([("request_id", n)]);
        log_one(n);
    }),
    ("in a future's scope", |n| {
        let mut future = std::pin::pin!(unfazed::scope([("request_id", n)]).future(async { log_one(n) }));
        let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_ready());
    }),
    ("for no output", |n| log::info!(target: "nobody", status = 200; "GET /{n}")),
    #[cfg(feature = "tracing")]
    ("an event of tracing for an output with a filter", |n| {
        let _request = unfazed::scope([("request_id", n)]);
        tracing::info!(target: "access", status = 200, "GET /{n}");
    }),
];

pub(crate) fn what_surrounds_a_record_that_fits_its_slot_allocates_nothing(dir: &Path) -> Outcome {
    let counts = harness::run("surrounded", "1", dir);
    for &(kind, _) in SURROUNDED {
        assert_eq!(counts.number::<u64>(kind), 0, "{kind}: allocations in {CALLS} calls");
    }
    let kinds = SURROUNDED.iter().map(|(kind, _)| *kind).collect::<Vec<_>>().join(", ");
    Outcome::Holds(format!("{CALLS} calls each of {kinds}: 0"))
}

/// A logger with a context and outputs that have filters.
pub(crate) fn with_surroundings(dir: &Path) -> Builder {
    let file = |name: &str| LogFile::new(dir.join(name)).min_free_space(0);
    Builder::new()
        .file(file("app.log").filter("info,nobody=off"))
        .file(file("access.log").filter("access=info"))
        .file(file("other.log").filter_with(|metadata| !["access", "nobody"].contains(&metadata.target())))
        .context(|fields| fields.add("node", 7))
}

pub(crate) fn surrounded(dir: &Path) {
    let handle = with_surroundings(dir).init().unwrap();
    #[cfg(feature = "tracing")]
    unfazed::tracing::init(&handle).unwrap();
    #[cfg(feature = "tracing")]
    let _span = tracing::info_span!("request", id = 7).entered();
    warm_up();
    for (kind, call) in SURROUNDED {
        // The first scope of a thread makes place for those to come.
        call(0);
        report(kind, allocations_of(call));
    }
    work::end(&handle);
}

/// Messages beyond a slot that wait at once. The pool has buffers for 512.
const WAITING: u64 = 400;
/// So many threads log such messages, each so many before it waits until they are written.
const LOGGING: (usize, u64) = (4, 50);

/// What is counted with messages beyond a slot.
const LONG_KINDS: &[Kind] = &[
    ("300 bytes", |n| log::info!("{:0>1$}", n, 300)),
    ("300 bytes in pieces", |n| log::info!("{:0>100} {:0>100} {:0>100}", n, n + 1, n + 2)),
    ("key-values of 300 bytes", |n| log::info!(user = n, text = LONG; "a user")),
    ("stored arguments of 300 bytes", |n| unfazed::info!("{n} {}", LONG)),
    ("512 bytes", |n| log::info!("{:0>1$}", n, 512)),
];
const LONG: &str = match str::from_utf8(&[b'x'; 300]) {
    Ok(text) => text,
    Err(_) => unreachable!(),
};

/// The buffers of records that are gone are used again.
pub(crate) fn a_record_beyond_its_slot_allocates_nothing_after_warm_up(dir: &Path) -> Outcome {
    let counts = harness::run("long_messages", "1", dir);
    for &(kind, _) in LONG_KINDS {
        assert_eq!(counts.number::<u64>(kind), 0, "{kind}: allocations in {} calls", LOGGING.0 as u64 * CALLS);
    }
    assert!(counts.number::<u64>("warm-up") >= WAITING, "that many wait at once, and each has a buffer");
    let kinds = LONG_KINDS.iter().map(|(kind, _)| *kind).collect::<Vec<_>>().join(", ");
    Outcome::Holds(format!("{} threads, {CALLS} calls each of {kinds}: 0, after {WAITING} at once", LOGGING.0))
}

/// Takes its first batch and holds the writer there, until both threads meet twice.
struct Held {
    meeting: Arc<Barrier>,
    is_first: bool,
}

impl Sink for Held {
    fn write(&mut self, _: &Batch<'_>) -> Result<(), WriteError> {
        if mem::take(&mut self.is_first) {
            self.meeting.wait();
            self.meeting.wait();
        }
        Ok(())
    }
}

pub(crate) fn long_messages(dir: &Path) {
    let meeting = Arc::new(Barrier::new(2));
    let handle = to_file(dir).sink("held", Held { meeting: meeting.clone(), is_first: true }).init().unwrap();
    log_one(0);
    meeting.wait();
    let (_, long) = LONG_KINDS[0];
    let before = ALLOCATIONS.get();
    (0..WAITING).for_each(long);
    report("warm-up", ALLOCATIONS.get() - before);
    meeting.wait();
    warm_up();
    let (threads, at_once) = LOGGING;
    let counts = [const { AtomicU64::new(0) }; LONG_KINDS.len()];
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                warm_up();
                for ((_, call), count) in LONG_KINDS.iter().zip(&counts) {
                    for part in 0..CALLS / at_once {
                        let before = ALLOCATIONS.get();
                        (part * at_once..(part + 1) * at_once).for_each(call);
                        count.fetch_add(ALLOCATIONS.get() - before, Relaxed);
                        log::logger().flush();
                    }
                }
            });
        }
    });
    for ((kind, _), count) in LONG_KINDS.iter().zip(&counts) {
        report(kind, count.load(Relaxed));
    }
    work::end(&handle);
}

/// How often this thread allocates in so many calls.
fn allocations_of(call: &dyn Fn(u64)) -> u64 {
    let before = ALLOCATIONS.get();
    (0..CALLS).for_each(call);
    ALLOCATIONS.get() - before
}
