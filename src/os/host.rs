//! The name of this machine; runs on the thread that sets the logger up.

/// Returns the name that the machine calls itself; `None` where it cannot be had, or is not UTF-8.
#[cfg(unix)]
pub(crate) fn host_name() -> Option<String> {
    let mut name = [0_u8; 256];
    // SAFETY: the pointer and the length are those of `name`, which outlives the call; no pointer
    // is stored.
    let asked = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let name = name.split(|&byte| byte == 0).next().filter(|name| asked == 0 && !name.is_empty())?;
    std::str::from_utf8(name).ok().map(str::to_owned)
}

#[cfg(not(unix))]
pub(crate) fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}
