//! What measures: the time-stamp counter, the allocations of a thread, the processor time and the
//! memory of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The time-stamp counter, where there is one; else nanoseconds.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86_64 has it.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    return START.get_or_init(Instant::now).elapsed().as_nanos() as u64;
}

#[cfg(not(target_arch = "x86_64"))]
static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();

/// Ticks in a nanosecond, measured over 20 ms.
pub fn ticks_per_ns() -> f64 {
    let (from, first) = (Instant::now(), ticks());
    while from.elapsed() < Duration::from_millis(20) {}
    (ticks() - first) as f64 / from.elapsed().as_nanos() as f64
}

/// Counts the allocations of each thread: one addition to a thread-local on each.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

pub fn allocations() -> u64 {
    ALLOCATIONS.get()
}

fn count() {
    // Fails only while a thread ends, which is not measured.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is the system's allocator; the counter neither allocates nor has a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on; so below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the process has used, all threads together.
fn usage() -> libc::rusage {
    // SAFETY: it is all numbers, and getrusage fills it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `rusage`.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    usage
}

/// How often a thread of the process gave up its processor, or lost it.
pub fn switches() -> u64 {
    let usage = usage();
    usage.ru_nvcsw as u64 + usage.ru_nivcsw as u64
}

/// Seconds of processor time, in the program and in the kernel, of all threads.
pub fn processor_seconds() -> f64 {
    let usage = usage();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The most resident memory of this process so far, in MiB.
pub fn peak_mib() -> f64 {
    // Not `ru_maxrss`, which begins with that of the process that started this one.
    status_mib("VmHWM:")
}

/// The resident memory now that is not mapped from a file, in MiB. How much code the kernel maps
/// around what runs depends on how the file lies in its cache.
pub fn own_mib() -> f64 {
    status_mib("RssAnon:")
}

fn status_mib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

/// The name of the file system that a directory is on.
pub fn file_system(directory: &std::path::Path) -> &'static str {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(directory.as_os_str().as_bytes()) else { return "unknown" };
    // SAFETY: all numbers; statfs fills it, and the path ends with a zero.
    let mut answer: libc::statfs = unsafe { std::mem::zeroed() };
    if unsafe { libc::statfs(path.as_ptr(), &mut answer) } != 0 {
        return "unknown";
    }
    match answer.f_type as i64 {
        0xEF53 => "ext4",
        0x0102_1994 => "tmpfs",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x794C_7630 => "overlayfs",
        _ => "disk",
    }
}
