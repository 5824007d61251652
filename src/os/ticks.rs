//! The processor's time stamp counter, and a clock to judge it by. Read on any thread.

/// Returns whether the kernel keeps its own time by the counter: then it is there, it is even
/// across the processors, and it keeps its pace; where the kernel finds that it does not, it takes
/// another clock (kernel documentation, "clocksource"). Reads a file: for the thread that sets the
/// logger up.
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
pub(crate) fn counter_keeps_time() -> bool {
    let source = std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    source.is_ok_and(|source| source.trim_ascii() == b"tsc")
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(miri))))]
pub(crate) fn counter_keeps_time() -> bool {
    false
}

/// Returns the counter now; some 10 ns where the system's clock takes 25, which waits for all that
/// is under way (`rdtsc` after a fence).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: every processor of this architecture has the instruction, and it touches nothing.
    // Where a process forbids it to itself (PR_SET_TSC), the system's clock, which reads the same
    // counter, is forbidden with it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    0
}

/// Returns nanoseconds by a clock that nobody sets or slews (CLOCK_MONOTONIC_RAW,
/// clock_gettime(2)); it stands still while the machine sleeps.
#[cfg(target_os = "linux")]
pub(crate) fn steady_nanos() -> u64 {
    // Zeroed, not written out: some targets have padding in it, with names of its own.
    // SAFETY: it holds numbers alone. The pointer is to `time`, which outlives the call. That
    // cannot fail: every Linux of this century has the clock.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC_RAW, &mut time);
        time
    };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn steady_nanos() -> u64 {
    0
}
