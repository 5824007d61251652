//! What the words that all callers share cost a call when more of them call at once:
//! `cargo bench --bench contention`.
//!
//! A call raises a counter (`accepted`), asks for the length of the channel if slots may be short,
//! and puts its record into the channel, which moves the channel's tail. Each row does one of
//! these, or several, or makes a whole call of the logger. Threads begin their bursts together, and
//! each is pinned to a processor, one after the other; with more threads than processors several
//! share one. The queue is emptied between the bursts. The time is that of the thread on its
//! processor, in which a wait for a cache line is contained and a wait for the processor is not.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a benchmark prints, and stops at the first surprise

mod support;

fn main() {
    support::print_header("cargo bench --bench contention");
    #[cfg(target_os = "linux")]
    linux::main();
    #[cfg(not(target_os = "linux"))]
    println!("skipped: it pins its threads as Linux does");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::hint::{black_box, spin_loop};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::bounded;
    use rustix::thread::{CpuSet, sched_setaffinity};
    use rustix::time::{ClockId, clock_gettime};
    use unfazed::{Batch, Builder, Handle, Logger, Sink, WriteError};

    /// The most calls of a burst.
    const BURST: usize = 400;
    /// All threads together make fewer calls than the queue has room for.
    const MOST: usize = 4096;
    const BURSTS: usize = 300;
    const CAPACITY: usize = 8192;
    /// The size of a record in the queue, in bytes.
    const RECORD: usize = 256;

    /// A counter that nothing else lies next to.
    #[derive(Default)]
    #[repr(align(128))]
    struct Counter(AtomicU64);

    /// Takes the batches and does nothing with them.
    struct NullSink;

    impl Sink for NullSink {
        fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
            black_box(batch.bytes());
            Ok(())
        }
    }

    /// One operation, by the number of its thread and of the call; and what the main thread does
    /// between two bursts, while no other thread calls.
    struct Row<'a> {
        name: &'a str,
        call: &'a (dyn Fn(usize, u64) + Sync),
        between: &'a dyn Fn(),
    }

    /// Takes some 20 ns. Threads that do nothing else keep a cache line for several turns.
    fn work(number: u64) -> u64 {
        (0..40).fold(number, |number, _| black_box(number).wrapping_mul(31))
    }

    fn processor_time() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn pin(thread: usize, processors: usize) {
        let mut set = CpuSet::new();
        set.set(thread % processors);
        // Where that is not allowed, the scheduler decides.
        let _ = sched_setaffinity(None, &set);
    }

    /// Returns the nanoseconds of a call: the median of all bursts of all threads.
    fn measure(row: &Row<'_>, threads: usize, processors: usize) -> f64 {
        let calls = BURST.min(MOST / threads);
        let (begins, ends) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
        let (ready, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let body = |thread| {
            pin(thread, processors);
            let mut bursts = Vec::new();
            for burst in 1.. {
                begins.wait();
                if done.load(SeqCst) {
                    break;
                }
                ready.fetch_add(1, SeqCst);
                while ready.load(SeqCst) < burst * threads {
                    if threads > processors { thread::yield_now() } else { spin_loop() }
                }
                let begun = processor_time();
                (0..calls).for_each(|number| (row.call)(thread, number as u64));
                bursts.push((processor_time() - begun).as_nanos() as f64 / calls as f64);
                ends.wait();
            }
            bursts
        };
        let mut all = thread::scope(|scope| {
            let body = &body;
            let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || body(thread))).collect();
            for _ in 0..BURSTS {
                begins.wait();
                ends.wait();
                (row.between)();
            }
            done.store(true, SeqCst);
            begins.wait();
            all.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    }

    fn logger() -> (Logger, Handle) {
        Builder::new().sink("null", NullSink).build().unwrap()
    }

    pub(super) fn main() {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut counts: Vec<usize> = [1, 2, 4, 8, 16, 32, 64].into_iter().filter(|&n| n <= processors).collect();
        counts.push(4 * processors);

        let own: Vec<Counter> = (0..4 * processors).map(|_| Counter::default()).collect();
        let shared = Counter::default();
        let (sender, receiver) = bounded::<[u64; RECORD / 8]>(CAPACITY);
        let send = |number| black_box(sender.try_send([number; RECORD / 8]).is_ok());
        let empty = || {
            receiver.try_iter().count();
        };
        let (wrapped, handle) = logger();
        let flush = || handle.flush(Duration::from_secs(10)).unwrap();
        let installed = Builder::new().sink("null", NullSink).init().unwrap();
        let flush_installed = || installed.flush(Duration::from_secs(10)).unwrap();
        let rows = [
            Row {
                name: "a counter for each thread",
                call: &|thread, _| {
                    own[thread].0.fetch_add(1, Relaxed);
                },
                between: &|| {},
            },
            Row {
                name: "one counter for all",
                call: &|_, _| {
                    shared.0.fetch_add(1, Relaxed);
                },
                between: &|| {},
            },
            Row {
                name: "`len()`",
                call: &|_, _| {
                    black_box(sender.len());
                },
                between: &|| {},
            },
            Row {
                name: "`try_send` of 256 bytes",
                call: &|_, number| {
                    send(number);
                },
                between: &empty,
            },
            Row {
                name: "all three",
                call: &|_, number| {
                    shared.0.fetch_add(1, Relaxed);
                    black_box(sender.len() < CAPACITY && send(number));
                },
                between: &empty,
            },
            Row {
                name: "`try_send`, after other work",
                call: &|_, number| {
                    send(work(number));
                },
                between: &empty,
            },
            Row {
                name: "all three, after other work",
                call: &|_, number| {
                    let number = work(number);
                    // By what the work gives, so that the processor does not begin with it.
                    shared.0.fetch_add(number | 1, Relaxed);
                    black_box(sender.len() < CAPACITY && send(number));
                },
                between: &empty,
            },
            Row {
                name: "own macros, a static string",
                call: &|_, _| unfazed::info!("a message without arguments"),
                between: &flush_installed,
            },
            Row {
                name: "own macros, formatted",
                call: &|_, number| {
                    unfazed::info!("user {} logged in from {} in {:.2} ms", number, "10.0.0.1", 0.5 + number as f64);
                },
                between: &flush_installed,
            },
            Row {
                name: "facade, formatted",
                call: &|_, number| {
                    log::info!(logger: &wrapped, "user {} logged in from {} in {:.2} ms", number, "10.0.0.1", 0.5 + number as f64);
                },
                between: &flush,
            },
        ];

        println!("ns of processor time a call, the median of {BURSTS} bursts of at most {BURST} calls of each thread");
        println!("on {processors} processors:");
        let columns: String = counts.iter().map(|count| format!(" {count} |")).collect();
        println!("| threads |{columns}\n|---|{}", "---:|".repeat(counts.len()));
        for row in &rows {
            let numbers: String =
                counts.iter().map(|&count| format!(" {:.1} |", measure(row, count, processors))).collect();
            println!("| {} |{numbers}", row.name);
        }
        // A call that finds the queue full is another question.
        assert_eq!([&handle, &installed].map(|handle| handle.stats().dropped.queue_full), [0, 0]);
    }
}
