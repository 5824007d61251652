//! What std does not offer: `fork`, `_exit`, `atexit`. Runs in the processes of the cases.

use std::panic::{AssertUnwindSafe, catch_unwind};
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
    let born = Instant::now();
    // SAFETY: the child goes on with the code of this test alone, on the only thread it has; what
    // it calls of std and of the C library works after a fork on the systems with which this test
    // runs (allocation, printing, threads). That it does is part of what is tested.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            end_after(Duration::from_secs(60));
            match catch_unwind(AssertUnwindSafe(life)) {
                Ok(End::Exit) => exit(0),
                Ok(End::Immediately) => exit_immediately(0),
                Err(_) => exit_immediately(101),
            }
        }
        pid => Forked { pid, born },
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
