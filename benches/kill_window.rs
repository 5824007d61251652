//! How many records are lost when the process is killed, with no chance to write anything: `cargo
//! bench --bench kill_window`.
//!
//! A child logs, and dies by `abort` or SIGKILL; the parent counts the lines that are really in the
//! file. What is lost is what the writer had not taken yet.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a benchmark prints, and stops at the first surprise

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 41;
const CASES: [(&str, &str); 3] = [
    ("burst", "1000 records in a burst right after the start, abort() at once"),
    ("idle", "1000 records in a burst after 1 s of silence, abort() at once"),
    ("steady", "10 000 records a second, SIGKILL after 300 ms of it"),
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match (arguments.next(), arguments.next()) {
        (Some(case), Some(path)) => child(&case, Path::new(&path)),
        _ => measure(),
    }
}

fn child(case: &str, path: &Path) {
    let handle = unfazed::Builder::new().file(path).init().unwrap();
    log::info!("the first record");
    handle.flush(Duration::from_secs(5)).unwrap();
    match case {
        "burst" => {}
        "idle" => std::thread::sleep(Duration::from_secs(1)),
        _ => steady(),
    }
    for number in 0..1000 {
        log::info!("record {number} of a burst");
    }
    std::process::abort();
}

/// Logs at an even pace and says on stdout how many calls have returned, until it is killed.
fn steady() {
    let begun = Instant::now();
    let mut stdout = std::io::stdout().lock();
    for number in 1u32.. {
        while begun.elapsed() < Duration::from_micros(100) * number {
            std::hint::spin_loop();
        }
        log::info!("record {number} at an even pace");
        stdout.write_all(&number.to_le_bytes()).unwrap();
        stdout.flush().unwrap();
    }
}

fn measure() {
    support::print_header("cargo bench --bench kill_window");
    println!("records lost, of {ROUNDS} rounds: median (least, most)");
    let folder = std::env::temp_dir().join(format!("unfazed-kill-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (case, story) in CASES {
        let mut lost: Vec<u64> =
            (0..ROUNDS).map(|round| lost_in(case, &folder.join(format!("{case}-{round}")))).collect();
        lost.sort_unstable();
        println!("{case:>7}: {:>5} ({}, {})   {story}", lost[ROUNDS / 2], lost[0], lost[ROUNDS - 1]);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

fn lost_in(case: &str, path: &Path) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([case, path.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut said = vec![0; if case == "steady" { 4 * 3000 } else { 0 }];
    stdout.read_exact(&mut said).unwrap();
    if case == "steady" {
        // In the middle of its work.
        child.kill().unwrap();
    }
    stdout.read_to_end(&mut said).unwrap();
    child.wait().unwrap();
    let logged = match case {
        "steady" => said.chunks_exact(4).count() as u64,
        _ => 1000,
    };
    let lines = BufReader::new(std::fs::File::open(path).unwrap()).lines().count() as u64;
    // Without the first record, which was flushed.
    logged - (lines - 1).min(logged)
}
