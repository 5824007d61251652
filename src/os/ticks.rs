//! The processor's time stamp counter. Read on any thread.

/// Whether the kernel itself keeps its time by the counter: then it is there, it is even across the processors, and it neither stops nor
/// changes its pace. The kernel watches that, and takes another clock where it is not so (kernel documentation, "Timers: clocksource").
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
pub(crate) fn counter_keeps_time() -> bool {
    let source = std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    source.is_ok_and(|source| source.trim_ascii() == b"tsc")
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(miri))))]
pub(crate) fn counter_keeps_time() -> bool {
    false
}

/// The counter now; some 10 ns where the system's clock takes 25, which waits for all that is under way (`rdtsc` behind a fence).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: every processor of this architecture has the instruction, and it touches nothing. Where a process forbids it to itself
    // (PR_SET_TSC), the system's clock, which reads the same counter, is forbidden with it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    0
}
