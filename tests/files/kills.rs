//! A process that logs, rotates and compresses, killed at any moment, and its successors.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use unfazed::{KIB, LogFile, Rotation};

use crate::harness::{Outcome, PATIENCE, Text, archives, log_files, logger, names, say, wait_until};
use crate::support::child;

/// The role of who is killed.
pub(crate) const VICTIM: &str = "victim";
const ROUND: &str = "UNFAZED_FILES_ROUND";
/// In the environment of a victim that gets no hard links.
const NO_LINKS: &str = "UNFAZED_FILES_NO_LINKS";
const ROUNDS: u32 = 40;

fn file(dir: &Path) -> LogFile {
    LogFile::new(dir.join("app.log")).rotation(Rotation::size(8 * KIB))
}

fn victims_file(dir: &Path) -> LogFile {
    let file = file(dir);
    #[cfg(feature = "gzip")]
    let file = file.compress(true);
    file
}

/// Logs until it is killed; or, should its parent be, not for ever. Says after each flush how many
/// records are in the files.
pub(crate) fn victim(dir: &Path) {
    if env::var_os(NO_LINKS).is_some() && !forbid_links() {
        return;
    }
    let round = env::var(ROUND).unwrap().parse().unwrap();
    let (logger, handle) = logger(victims_file(dir));
    for n in 0..200_000 {
        say(&*logger, round, n);
        if n % 50 == 49 && handle.flush(PATIENCE).is_ok() {
            println!("{}", n + 1);
        }
    }
}

pub(crate) fn whenever_it_is_killed_nothing_is_overwritten_and_everything_parses(dir: &Path) -> Outcome {
    kill_again_and_again(dir, ROUNDS, |_| {})
}

/// The kernel answers as FAT does, and a network file system without hard links.
pub(crate) fn nor_is_anything_where_there_are_no_hard_links(dir: &Path) -> Outcome {
    let mut probe = child::command(VICTIM, dir);
    probe.env(ROUND, "0").env(NO_LINKS, "probe");
    if !probe.status().unwrap().success() {
        return Outcome::Skipped("no system call can be forbidden here".into());
    }
    assert!(names(dir).is_empty(), "it has only looked");
    kill_again_and_again(dir, ROUNDS / 2, |command| {
        command.env(NO_LINKS, "1");
    })
}

/// From here on the kernel answers `link` with EPERM, to this process. Says whether to go on.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // there is no safe wrapper for it here
fn forbid_links() -> bool {
    let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0); // the number of the system call
    let is =
        |number: libc::c_long, then| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, then, 0, number as u32);
    let answer = |k| statement(libc::BPF_RET | libc::BPF_K, 0, 0, k);
    #[cfg(target_arch = "x86_64")]
    let other = is(libc::SYS_link, 1);
    #[cfg(not(target_arch = "x86_64"))]
    let other = is(libc::SYS_linkat, 1); // there is no other
    let mut filter = [
        load,
        is(libc::SYS_linkat, 2),
        other,
        answer(libc::SECCOMP_RET_ALLOW),
        answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program, which the kernel copies, is there during the call.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    };
    if env::var(NO_LINKS).unwrap() == "probe" {
        let forbidden = fs::hard_link(env::current_exe().unwrap(), Path::new("/nowhere"))
            .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
        std::process::exit(i32::from(!done || !forbidden));
    }
    done
}

#[cfg(not(target_os = "linux"))]
fn forbid_links() -> bool {
    std::process::exit(1)
}

/// Not the lock file, which a kill leaves as well, and which the next logger uses.
fn is_unfinished(name: &String) -> bool {
    name.starts_with('.') && name != ".app.log.lock"
}

fn kill_again_and_again(dir: &Path, rounds: u32, change: impl Fn(&mut Command)) -> Outcome {
    let mut kept: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut flushed = Vec::new();
    let mut unfinished = 0;
    for round in 0..rounds {
        let mut command = child::command(VICTIM, dir);
        command.env(ROUND, round.to_string()).stdout(Stdio::piped());
        change(&mut command);
        let mut victim = command.spawn().unwrap();
        // One that is being compressed has two names for a moment.
        let plain = |path: PathBuf| {
            if path.extension().is_some_and(|end| end == "gz") { path.with_extension("") } else { path }
        };
        let archives_by_time = || archives(dir).into_iter().map(plain).collect::<BTreeSet<_>>().len();
        let before = archives_by_time();
        // It has rotated, or named the records of a rotation that a kill interrupted.
        wait_until("there is another archive", || archives_by_time() > before);
        // Any moment will do: this orders nothing.
        thread::sleep(Duration::from_micros(u64::from(round) * 997 % 20_000));
        victim.kill().unwrap();
        let said = victim.wait_with_output().unwrap().stdout;
        flushed.push(String::from_utf8(said).unwrap().lines().last().map_or(0, |number| number.parse().unwrap()));
        unfinished += names(dir).iter().filter(|name| is_unfinished(name)).count();
        // Plain archives of the round before are, byte for byte, what they were.
        for (path, bytes) in &kept {
            if path.exists() {
                assert!(fs::read(path).unwrap() == *bytes, "{} has changed", path.display());
            }
        }
        // Where there are no hard links it is absent for a moment.
        let active = fs::metadata(dir.join("app.log")).map_or(0, |file| file.ino());
        let there = archives(dir).into_iter().filter(|path| {
            let is_active = fs::metadata(path).unwrap().ino() == active;
            !is_active && path.extension().is_some_and(|end| end == "log")
        });
        kept = there.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    }
    // The last one does not compress: the thread for that outlives a logger, and would remove files
    // while they are read here.
    let (last, handle) = logger(file(dir));
    say(&*last, rounds, 0);
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    wait_until("what was left behind is cleaned", || !names(dir).iter().any(is_unfinished));
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    drop(last);
    assert!(names(dir).iter().all(|name| !name.starts_with('.')), "{:?}", names(dir));

    let inodes: Vec<_> = archives(dir).iter().map(|path| fs::metadata(path).unwrap().ino()).collect();
    let mut once = inodes.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), inodes.len(), "no file has two names");
    // An archive of which there is a plain and a compressed form, because the kill came between the
    // two, is read once.
    let twice: Vec<_> = archives(dir).into_iter().filter(|path| path.with_extension("log.gz").exists()).collect();
    for path in &twice {
        assert_eq!(crate::harness::read(&path.with_extension("log.gz")), fs::read(path).unwrap());
        fs::remove_file(path.with_extension("log.gz")).unwrap();
    }
    for path in archives(dir) {
        let file = fs::metadata(&path).unwrap();
        let more = (file.blocks() * 512).saturating_sub(file.len());
        assert!(more < 16 * KIB, "{} keeps {more} bytes beyond its end", path.display());
    }
    let text = Text::of(&log_files(dir));
    assert!(text.fragments.len() <= rounds as usize, "{:?}", text.fragments);
    flushed.push(1);
    let mut records = 0;
    for (round, flushed) in (0..).zip(flushed) {
        let numbers = text.records.get(&round).map_or(&[][..], Vec::as_slice);
        assert!(numbers.len() >= flushed, "{} of {flushed} flushed records of round {round}", numbers.len());
        let wrong = (0..).zip(numbers).find(|(expected, number)| expected != *number);
        assert_eq!(wrong, None, "round {round}: a record that is missing before others, doubled or out of order");
        records += numbers.len();
    }
    Outcome::Holds(format!(
        "killed {rounds} times: {records} records in {} files, {unfinished} unfinished files cleaned, {} lines cut by the kill",
        inodes.len() + 1,
        text.fragments.len()
    ))
}
