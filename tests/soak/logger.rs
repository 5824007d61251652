//! One of the processes that log. Its wall clock is its own: this executable has a `clock_gettime`
//! that comes before that of the C library.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use log::LevelFilter;
use unfazed::{Builder, KIB, LogFile, Rotation};

use crate::harness::{PATIENCE, say};

pub(crate) const THREADS: u32 = 2;
/// A rotation every few seconds.
const SIZE: u64 = 256 * KIB;

/// How far the wall clock is ahead of the machine's, in seconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// # Safety
///
/// As the C library's: `time` may be written.
#[allow(unsafe_code)] // there is no other way to set the clock of one process
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: the kernel writes what the caller lets us write.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } as libc::c_int;
    if result == 0 && clock == libc::CLOCK_REALTIME {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += AHEAD.load(Relaxed) as libc::time_t };
    }
    result
}

/// What a process that ended by itself says of its records.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) said: u64,
    pub(crate) accepted: u64,
    pub(crate) written: u64,
    pub(crate) dropped: u64,
    pub(crate) suspensions: u64,
}

impl Account {
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [said, accepted, written, dropped, suspensions] = numbers[..] else { return None };
        Some(Self { said, accepted, written, dropped, suspensions })
    }
}

/// Logs as the number `number`, until `stop` is in the directory or it is killed. Its threads are
/// the authors from `number * THREADS` on.
pub(crate) fn run(number: &str, dir: &Path) {
    let first: u32 = number.parse::<u32>().unwrap() * THREADS;
    let file = LogFile::new(dir.join("disk/app.log")).rotation(Rotation::size(SIZE));
    #[cfg(feature = "gzip")]
    let file = file.compress(true);
    let (logger, handle) = Builder::new().level(LevelFilter::Info).file(file).build().unwrap();
    let (logger, stop, said) = (Arc::new(logger), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = (first..first + THREADS)
        .map(|author| {
            let (logger, stop, said) = (logger.clone(), stop.clone(), said.clone());
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(u64::from(author));
                let mut n = 0;
                while !stop.load(Relaxed) {
                    for _ in 0..random.u64(1..40) {
                        say(&*logger, author, n);
                        n += 1;
                    }
                    thread::sleep(Duration::from_millis(random.u64(1..40)));
                }
                said.fetch_add(n, Relaxed);
            })
        })
        .collect();
    let mut random = fastrand::Rng::with_seed(u64::from(first));
    while !dir.join("stop").exists() {
        thread::sleep(Duration::from_millis(250));
        if random.u32(..40) == 0 {
            AHEAD.store([0, 1, -1, 3600, -3600, 86_400, -86_400][random.usize(..7)], Relaxed);
        }
    }
    stop.store(true, Relaxed);
    threads.into_iter().for_each(|thread| thread.join().expect("no log call unwinds"));
    handle.shutdown(PATIENCE).expect("the disk is free at the end");
    let stats = handle.stats();
    let suspensions = stats.outputs[0].suspensions;
    let numbers = [said.load(Relaxed), stats.accepted, stats.written, stats.dropped.total(), suspensions];
    let text = numbers.map(|number| number.to_string()).join(" ");
    fs::write(dir.join(format!("account-{number}")), text).unwrap();
}
