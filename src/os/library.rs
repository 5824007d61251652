//! The library in which a program has the logger; runs on the thread that sets the logger up.

#[cfg(windows)]
pub(crate) use super::windows::stay_loaded;

/// Keeps the library that this crate is in loaded until the process ends. Otherwise `dlclose` could
/// remove code that still runs or is called later: that of the crate's threads, of thread-locals,
/// and of signal handlers. Some systems keep a library while a thread has thread-locals of it to
/// destroy, but not one that shares std with others (`-C prefer-dynamic`). Changes nothing in a
/// program that is no library.
#[cfg(not(windows))]
pub(crate) fn stay_loaded() {
    #[cfg(all(
        any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple"),
        not(target_feature = "crt-static") // such a program has no libraries
    ))]
    dynamic::stay_loaded();
}

#[cfg(all(
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple"),
    not(target_feature = "crt-static")
))]
mod dynamic {
    use std::mem::MaybeUninit;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use libc::{Dl_info, c_void};

    pub(super) fn stay_loaded() {
        /// A forked child has it from its parent, and may find the loader's lock taken.
        static DONE: AtomicBool = AtomicBool::new(false);

        if DONE.swap(true, Relaxed) {
            return;
        }
        let Some(library) = library_at(stay_loaded as *const c_void) else { return };
        if is_program(&library) {
            return;
        }
        let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
        // SAFETY: the name is from `dladdr`, ends with NUL, and stays as long as the library. By
        // `RTLD_NOLOAD` nothing is loaded, so no code runs. Should the call fail, the library can
        // be unloaded, as without it.
        unsafe { libc::dlopen(library.dli_fname, flags) };
    }

    fn library_at(address: *const c_void) -> Option<Dl_info> {
        let mut library = MaybeUninit::<Dl_info>::zeroed();
        // SAFETY: the address is not read, and `library` outlives the call, which writes all of it
        // unless it returns 0.
        let found = unsafe { libc::dladdr(address, library.as_mut_ptr()) } != 0;
        // SAFETY: the call has succeeded; and all zeros are a value, too.
        found.then(|| unsafe { library.assume_init() })
    }

    /// A program is never unloaded, and its name would be looked for among the libraries.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn is_program(library: &Dl_info) -> bool {
        // SAFETY: touches no memory.
        let headers = unsafe { libc::getauxval(libc::AT_PHDR) } as *const c_void;
        library_at(headers).is_some_and(|program| program.dli_fbase == library.dli_fbase)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn is_program(_: &Dl_info) -> bool {
        false
    }
}
