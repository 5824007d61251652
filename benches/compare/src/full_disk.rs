//! What a call costs on a full disk, what is said on stderr, and whether the program survives. In a
//! process of its own with a small file system of its own.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::loggers::{Full, Logger};
use crate::measure::ticks_per_ns;
use crate::work::{BURST, Work, bursts_of, call, percentile, sorted, tell};

const BURSTS: usize = 20;
/// As many calls on the full disk, with the warm-up of `bursts_of`.
pub const CALLS: usize = BURST * (BURSTS + BURSTS / 10);
/// So many bursts, until one does not reach the file any more.
const REFUSALS_AT_MOST: usize = 100;
/// Longer than a logger sleeps.
const TOLD_AND_SETTLED: Duration = Duration::from_millis(200);
/// What a logger may still have to say.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Runs before there is another thread: `unshare` asks for that.
pub fn run(logger: &Logger, directory: &Path, stderr_too: bool) -> Result<(), String> {
    mount_here(directory).map_err(|error| format!("no small file system: {error}"))?;
    tell_panics();
    if stderr_too {
        let file =
            OpenOptions::new().append(true).create(true).open(directory.join("stderr")).map_err(|e| e.to_string())?;
        // SAFETY: both descriptors are open.
        unsafe { libc::dup2(file.as_raw_fd(), 2) };
    }
    let running = (logger.start)(&directory.join("app.log"), Full::Default).map_err(|error| error.to_string())?;
    let log = call(running.front, Work::W1);
    let p50 = || percentile(&sorted(vec![bursts_of(log, BURSTS)]), 0.5, ticks_per_ns());
    tell("healthy_p50", p50());
    fill(&directory.join("filler")).map_err(|error| format!("not filled: {error}"))?;
    // The first refusals: the logger learns that the disk is full, once it has used up the blocks
    // that its file has already.
    let size = || std::fs::metadata(directory.join("app.log")).map_or(0, |metadata| metadata.len());
    for _ in 0..REFUSALS_AT_MOST {
        let before = size();
        (0..BURST as u64).for_each(log);
        thread::sleep(TOLD_AND_SETTLED);
        if size() == before {
            break;
        }
    }
    tell("full_p50", p50());
    thread::sleep(LAST_WORDS);
    tell("survived", 1.0);
    Ok(())
}

/// A panic of the caller ends the process, that of a logger's thread goes unseen: so it is told.
fn tell_panics() {
    let main = thread::current().id();
    std::panic::set_hook(Box::new(move |_| {
        tell(if thread::current().id() == main { "caller_panics" } else { "thread_panics" }, 1.0);
    }));
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A tmpfs of 64 MiB that only this process sees and that goes away with it.
fn mount_here(directory: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let place = std::ffi::CString::new(directory.as_os_str().as_bytes())?;
    // SAFETY: no pointers; the mounts below get strings that end with a zero, or none.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    if user == 0 {
        check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    } else {
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) })?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    let mount = |kind: &CStr, place: &CStr, flags, options: *const libc::c_char| {
        check(unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), flags, options.cast()) })
    };
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE, std::ptr::null())?;
    mount(c"tmpfs", &place, 0, c"size=64m".as_ptr())
}

/// Writes until not one more byte fits.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut block = vec![0; 1 << 20];
    while !block.is_empty() {
        match file.write(&block) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => block.truncate(block.len() / 2),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
