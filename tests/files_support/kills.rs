//! A process that logs, rotates and compresses, killed at any moment, and its successors.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use unfazed::{KIB, LogFile, Rotation};

use crate::harness::{Outcome, PATIENCE, Text, archives, log_files, logger, names, say, wait_until};

const DIR: &str = "UNFAZED_FILES_DIR";
const ROUND: &str = "UNFAZED_FILES_ROUND";
const ROUNDS: u32 = 40;

pub(crate) fn is_victim() -> bool {
    env::var_os(DIR).is_some()
}

fn file(dir: &Path) -> LogFile {
    let file = LogFile::new(dir.join("app.log")).rotation(Rotation::size(8 * KIB));
    #[cfg(feature = "gzip")]
    let file = file.compress(true);
    file
}

/// Logs until it is killed; or, should its parent be, not for ever.
pub(crate) fn victim() {
    let dir = env::var_os(DIR).unwrap();
    let round = env::var(ROUND).unwrap().parse().unwrap();
    let (logger, handle) = logger(file(dir.as_ref()));
    for n in 0..200_000 {
        say(&*logger, round, n);
        if n % 50 == 49 {
            let _ = handle.flush(PATIENCE);
        }
    }
}

pub(crate) fn whenever_it_is_killed_nothing_is_overwritten_and_everything_parses(dir: &Path) -> Outcome {
    let mut kept: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut unfinished = 0;
    for round in 0..ROUNDS {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(DIR, dir).env(ROUND, round.to_string()).stdin(Stdio::null());
        let mut victim = command.spawn().unwrap();
        let before = archives(dir).len();
        wait_until("it rotates", || archives(dir).len() > before);
        // Any moment will do: this orders nothing.
        thread::sleep(Duration::from_micros(u64::from(round) * 997 % 20_000));
        victim.kill().unwrap();
        victim.wait().unwrap();
        unfinished += names(dir).iter().filter(|name| name.starts_with('.')).count();
        // Plain archives of the round before are, byte for byte, what they were.
        for (path, bytes) in &kept {
            if path.exists() {
                assert!(fs::read(path).unwrap() == *bytes, "{} has changed", path.display());
            }
        }
        let active = fs::metadata(dir.join("app.log")).unwrap().ino();
        let there = archives(dir).into_iter().filter(|path| {
            let is_active = fs::metadata(path).unwrap().ino() == active;
            !is_active && path.extension().is_some_and(|end| end == "log")
        });
        kept = there.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    }
    let (last, handle) = logger(file(dir));
    say(&*last, ROUNDS, 0);
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    wait_until("what was left behind is cleaned", || {
        let names = names(dir);
        // What is being compressed right now is under way.
        names.iter().all(|name| !name.starts_with('.'))
            || cfg!(feature = "gzip") && !names.contains(&".app.log.new".into())
    });
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    drop(last);
    wait_until("nothing is under way", || names(dir).iter().all(|name| !name.starts_with('.')));

    let inodes: Vec<_> = archives(dir).iter().map(|path| fs::metadata(path).unwrap().ino()).collect();
    let mut once = inodes.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), inodes.len(), "no file has two names");
    // An archive of which there is a plain and a compressed form, because the kill came between the two, is read once.
    let twice: Vec<_> = archives(dir).into_iter().filter(|path| path.with_extension("log.gz").exists()).collect();
    for path in &twice {
        assert_eq!(crate::harness::read(&path.with_extension("log.gz")), fs::read(path).unwrap());
        fs::remove_file(path.with_extension("log.gz")).unwrap();
    }
    let text = Text::of(&log_files(dir));
    assert!(text.fragments.len() <= ROUNDS as usize, "{:?}", text.fragments);
    let mut records = 0;
    for round in 0..=ROUNDS {
        let numbers = text.records.get(&round).unwrap_or_else(|| panic!("nothing is left of round {round}"));
        let wrong = (0..).zip(numbers).find(|(expected, number)| expected != *number);
        assert_eq!(wrong, None, "round {round}: a record that is missing before others, doubled or out of order");
        records += numbers.len();
    }
    println!(
        "killed {ROUNDS} times: {records} records in {} files, {unfinished} unfinished files cleaned, {} lines cut by the kill",
        inodes.len() + 1,
        text.fragments.len()
    );
    Outcome::Holds
}
