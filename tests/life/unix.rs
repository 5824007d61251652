//! What std does not offer: `fork`, `_exit`, `atexit`. Runs in the processes of the cases.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::exit;
use std::thread;
use std::time::{Duration, Instant};

/// A child that takes longer hangs. The loggers here would wait three times as long at their end,
/// so that a child which waits for that is noticed as well.
pub(crate) const PROMPTLY: Duration = Duration::from_secs(10);

/// How a forked child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `exit(0)`, with its handlers.
    Exit,
    /// `_exit(0)`, without.
    Immediately,
}

pub(crate) struct Forked {
    pid: libc::pid_t,
    born: Instant,
}

/// Forks; the child lives `life` and ends as that says.
pub(crate) fn fork(life: impl FnOnce() -> End) -> Forked {
    fork_here().unwrap_or_else(|| live(life))
}

/// Forks; both sides go on. Returns nothing in the child, which is to end by `live`.
pub(crate) fn fork_here() -> Option<Forked> {
    let born = Instant::now();
    // SAFETY: the child goes on with the code of this test alone, on the only thread it has; what
    // it calls of std and of the C library works after a fork on the systems with which this test
    // runs (allocation, printing, threads). That it does is part of what is tested.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            end_after(Duration::from_secs(60));
            None
        }
        pid => Some(Forked { pid, born }),
    }
}

/// Lives a child's `life`, and ends the child as that says.
pub(crate) fn live(life: impl FnOnce() -> End) -> ! {
    match catch_unwind(AssertUnwindSafe(life)) {
        Ok(End::Exit) => exit(0),
        Ok(End::Immediately) => exit_immediately(0),
        Err(_) => exit_immediately(101),
    }
}

impl Forked {
    /// Waits until it has ended, which must be soon and with code 0.
    pub(crate) fn wait(self) {
        self.wait_for(PROMPTLY);
    }

    fn wait_for(self, at_most: Duration) {
        loop {
            let mut status = 0;
            // SAFETY: `pid` is a child of this process that nobody else waits for; `status`
            // outlives the call.
            match unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) } {
                0 if self.born.elapsed() < at_most => thread::sleep(Duration::from_millis(1)),
                0 => {
                    // SAFETY: the child has not been waited for: the number is still its.
                    unsafe { libc::kill(self.pid, libc::SIGKILL) };
                    panic!("the child has not ended after {at_most:?}");
                }
                pid if pid == self.pid => {
                    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
                    assert_eq!(code, Some(0), "the child's code (status {status})");
                    return;
                }
                _ => panic!("waitpid: {}", std::io::Error::last_os_error()),
            }
        }
    }
}

pub(crate) fn exit_immediately(code: i32) -> ! {
    // SAFETY: ends the process and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor of these numbers, whoever has opened it.
pub(crate) fn close_numbers(numbers: Range<i32>) {
    // SAFETY: touches no memory. That nobody relies on these descriptors is what is tested.
    numbers.for_each(|number| unsafe {
        libc::close(number);
    });
}

/// Moves a descriptor to another number, for good.
pub(crate) fn give_number(file: impl Into<OwnedFd>, number: i32) {
    let file = file.into();
    // SAFETY: touches no memory; what was open at the number is closed.
    let given = unsafe { libc::dup2(file.as_raw_fd(), number) };
    assert_eq!(given, number, "dup2: {}", std::io::Error::last_os_error());
}

/// Sets the umask, and says what it was.
pub(crate) fn umask(mask: u32) -> u32 {
    // SAFETY: touches no memory.
    unsafe { libc::umask(mask as libc::mode_t) as u32 }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// Gives up the rights of root for good.
pub(crate) fn become_nobody() {
    const NOBODY: libc::uid_t = 65_534;
    // SAFETY: touches no memory.
    let given_up = unsafe { libc::setgid(NOBODY) == 0 && libc::setuid(NOBODY) == 0 };
    assert!(given_up, "setuid: {}", std::io::Error::last_os_error());
}

/// The leader of a new session, with no terminal.
pub(crate) fn new_session() {
    // SAFETY: takes nothing and touches no memory.
    let session = unsafe { libc::setsid() };
    assert!(session > 0, "setsid: {}", std::io::Error::last_os_error());
}

/// Has `handler` run when the process ends by `exit` or by the return from `main`.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: a plain function that stays for the life of the process.
    assert_eq!(unsafe { libc::atexit(handler) }, 0, "atexit");
}

/// The last resort against a process that nobody ends any more.
pub(crate) fn end_after(time: Duration) {
    // SAFETY: touches no memory; nothing here uses the signal otherwise.
    unsafe { libc::alarm(time.as_secs() as libc::c_uint) };
}

/// Sets how much memory the process may map, and says how much it was.
#[cfg(target_os = "linux")]
pub(crate) fn limit_memory(bytes: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls, which only read or write it.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &raw mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = bytes;
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const limit), 0);
        before
    }
}

/// Sets how long a file of this process may become.
pub(crate) fn limit_file_size(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes as libc::rlim_t, rlim_max: bytes as libc::rlim_t };
    // SAFETY: `limit` outlives the call, which only reads it.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
}

/// Sends SIGTERM to a child that nobody has waited for.
pub(crate) fn terminate(pid: u32) {
    // SAFETY: touches no memory.
    assert_eq!(unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) }, 0);
}

/// Sends a signal to the calling thread.
pub(crate) fn raise(signal: i32) {
    // SAFETY: touches no memory.
    unsafe { libc::raise(signal) };
}

/// Blocks a signal in the calling thread.
pub(crate) fn block(signal: i32) {
    // SAFETY: all zeros are a set; it outlives the calls, which keep no pointer.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// A library that is loaded while the program runs, as a plug-in.
pub(crate) struct Library(*mut libc::c_void);

impl Library {
    pub(crate) fn load(path: &Path) -> Self {
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: the name ends with NUL and outlives the call; what the library does when it is
        // loaded is what every library of Rust does.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null(), "dlopen: {}", path.display());
        Self(library)
    }

    /// One that takes and returns nothing; not to be called after `unload`.
    pub(crate) fn function(&self, name: &CStr) -> extern "C" fn() {
        // SAFETY: the library is loaded, and the name ends with NUL.
        let function = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!function.is_null(), "dlsym: {name:?}");
        // SAFETY: the library exports its functions with this type.
        unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn()>(function) }
    }

    pub(crate) fn unload(self) {
        // SAFETY: `load` has opened it, and nothing of it is called any more.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0, "dlclose");
    }
}

/// Sets a handler of the program's own.
pub(crate) fn handle(signal: i32, handler: extern "C" fn(i32), flags: i32) {
    set_action(signal, handler as usize, flags);
}

pub(crate) fn ignore(signal: i32) {
    set_action(signal, libc::SIG_IGN, 0);
}

fn set_action(signal: i32, handler: usize, flags: i32) {
    // SAFETY: all zeros are an action with an empty mask; it outlives the call, which keeps no
    // pointer, and its handler is a plain function.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// The address of what handles a signal now.
pub(crate) fn handler(signal: i32) -> usize {
    // SAFETY: all zeros are an action; it outlives the call, which only writes it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &raw mut action), 0);
        action.sa_sigaction
    }
}

/// A real fault that raises this signal, where this processor has one. It may use a directory.
pub(crate) fn fault(signal: i32) -> Option<fn(&std::path::Path)> {
    match signal {
        libc::SIGSEGV => Some(|_| {
            // SAFETY: it is not safe: the page is not there, and the process ends.
            unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) }
        }),
        libc::SIGBUS => Some(|dir| {
            use std::os::fd::AsRawFd as _;

            let path = dir.join("empty");
            let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
            // SAFETY: it is not safe: the page lies beyond the file's end, and the process ends.
            unsafe {
                let protection = libc::PROT_READ | libc::PROT_WRITE;
                let page = libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0);
                assert_ne!(page, libc::MAP_FAILED);
                page.cast::<u8>().write_volatile(1);
            }
        }),
        libc::SIGABRT => Some(|_| std::process::abort()),
        #[cfg(target_arch = "x86_64")]
        libc::SIGILL => Some(|_| {
            // SAFETY: it is not safe: the instruction does not exist, and the process ends.
            unsafe { std::arch::asm!("ud2") }
        }),
        #[cfg(target_arch = "x86_64")]
        libc::SIGFPE => Some(|_| {
            // SAFETY: it is not safe: it divides by zero, and the process ends.
            unsafe {
                std::arch::asm!("div {0:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _);
            }
        }),
        _ => None,
    }
}

/// How a forked child has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Death {
    /// The signal that has killed it.
    pub(crate) signal: Option<i32>,
    dumped_core: bool,
}

/// Forks a child that lives `life`, and says how it has ended.
pub(crate) fn death_of(life: impl FnOnce()) -> Death {
    // SAFETY: as in `fork`.
    let pid = match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            end_after(Duration::from_secs(60));
            let _ = catch_unwind(AssertUnwindSafe(life));
            exit_immediately(0);
        }
        pid => pid,
    };
    let mut status = 0;
    // SAFETY: `pid` is a child of this process that nobody else waits for; `status` outlives the
    // call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    Death { signal, dumped_core: libc::WCOREDUMP(status) }
}

/// Lets this process and its children leave core dumps, as far as the machine does.
pub(crate) fn allow_core_dumps() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls, which only read or write it.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_CORE, &raw const limit), 0);
    }
}

static PAGE: std::sync::atomic::AtomicPtr<u8> = std::sync::atomic::AtomicPtr::new(std::ptr::null_mut());

/// A page of memory that nobody may read.
pub(crate) struct Page(*mut u8);

impl Page {
    pub(crate) fn unreadable() -> Self {
        // SAFETY: a new mapping where the kernel likes.
        let page = unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(page, libc::MAP_FAILED);
        Self(page.cast())
    }

    /// From now on a handler for this signal makes it readable.
    pub(crate) fn becomes_readable_at(&self, signal: i32) {
        extern "C" fn handler(_: i32) {
            let page = PAGE.load(std::sync::atomic::Ordering::Relaxed);
            // SAFETY: changes only the page of the case.
            assert_eq!(unsafe { libc::mprotect(page.cast(), 4096, libc::PROT_READ) }, 0);
        }

        PAGE.store(self.0, std::sync::atomic::Ordering::Relaxed);
        handle(signal, handler, 0);
    }

    pub(crate) fn read(&self) -> u8 {
        // SAFETY: the handler makes the page readable, and the instruction is done again.
        unsafe { self.0.read_volatile() }
    }
}
