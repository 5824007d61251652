//! Small programs that do what users of other loggers have reported. The script `tests/cases/run`
//! runs them and prints for each what is expected and what is seen; one alone:
//! `cargo run --all-features --example cases -- kvcut`.
#![allow(clippy::print_stdout, clippy::print_stderr)] // that is what a case says
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // and it ends at the first surprise
#![allow(unsafe_code)] // rights, umasks and descriptors, by plain calls of the C library

#[cfg(unix)]
mod files;
#[cfg(unix)]
mod loops;
#[cfg(unix)]
mod panics;
#[cfg(unix)]
mod rights;
#[cfg(unix)]
mod streams;
#[cfg(unix)]
mod values;

#[cfg(not(unix))]
fn main() {
    println!("skipped: it needs Unix");
}

#[cfg(unix)]
fn main() {
    match &*argument(1) {
        "stdwrap" => streams::burst(),
        "steady" => streams::steady(),
        "block" => streams::block(),
        "reader" => streams::reader(),
        "chroot" => rights::chroot(),
        "setuid" => rights::setuid(),
        "afterinit" => rights::after_init(),
        "umask" => rights::umask(),
        "perm" => rights::permissions(),
        "fd1" => rights::closed_streams(),
        "panicloop" => loops::format_that_panics(),
        "sinkloop" => loops::sink_that_logs(),
        "lastpanic" => panics::last_panic(),
        "panicrec" => panics::record_of_a_panic(),
        "kvcut" => values::cut(),
        "kvs" => values::nested(),
        "filters" => values::filters(),
        "tz" => values::zone(),
        "threadnames" => values::thread_names(),
        "archives" => files::archives(),
        "longname" => files::long_names(),
        "flocked" => files::locked_by_others(),
        other => panic!("there is no case `{other}`"),
    }
}

/// Returns an argument of the program; it is empty if there is none.
#[cfg(unix)]
fn argument(number: usize) -> String {
    std::env::args().nth(number).unwrap_or_default()
}

/// Returns a number among the arguments.
#[cfg(unix)]
fn number(argument_number: usize) -> u64 {
    argument(argument_number).parse().unwrap_or_else(|_| panic!("argument {argument_number} is a number"))
}

/// Returns an empty directory.
#[cfg(unix)]
fn fresh(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join("unfazed-cases").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Runs this program again, as a process of its own, and returns what it printed.
#[cfg(unix)]
fn again(arguments: &[&str]) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap()).args(arguments).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Returns the processor time of this process in seconds.
#[cfg(unix)]
fn processor_seconds() -> f64 {
    // SAFETY: `getrusage` fills in the structure, which is plain numbers.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    [usage.ru_utime, usage.ru_stime].iter().map(|time| time.tv_sec as f64 + time.tv_usec as f64 / 1e6).sum()
}
