//! A disk runs full under a program that logs: a story of about 15 seconds, and its account.
//!
//! `cargo run --release --example disk_full`
//!
//! Two threads answer "requests" and log one line for each. After a while something else takes all
//! the room on the disk, and later gives it back. What matters happens in between: the program does
//! not become slower, nothing is printed, no line is torn, and when there is room again the log
//! goes on by itself and says what is missing.
//!
//! The disk is a private file system of 16 MiB in memory where the machine allows one (Linux, with
//! `unshare` from util-linux; root is not needed). Elsewhere, or with `-- --ordinary`, it is the
//! disk of the temporary directory. That one is not filled: the log gets a reserve so large that it
//! must stop early.

// It is a story to be read in a terminal.
#![allow(clippy::print_stdout)]

use std::collections::HashSet;
use std::error::Error;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fs2::FileExt as _;
use log::{Level, LevelFilter};
use unfazed::{Builder, Event, Handle, LogFile, MIB, State, Stats};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const WORKERS: usize = 2;
/// How long a request takes in addition to its log line.
const WORK: Duration = Duration::from_micros(200);
/// How often the account is looked at; one character of a sparkline.
const TICK: Duration = Duration::from_millis(100);
/// How long the story waits for the log to stop, and to come back.
const PATIENCE: Duration = Duration::from_secs(10);
/// A log with a large reserve goes on when this much more than the reserve is free.
const WANTED_BACK: u64 = 256 * MIB;
const PHASES: [&str; 5] = ["health", "filling", "suspended", "freed", "resumed"];

fn main() -> ExitCode {
    match choose_a_disk() {
        Ok(code) => code,
        Err(error) => {
            println!("This cannot be shown here: {error}.");
            ExitCode::FAILURE
        }
    }
}

// --- The disk ---

/// Where the story plays.
struct Stage {
    dir: PathBuf,
    /// `LogFile::min_free_space`.
    reserve: u64,
    /// The most that the other program takes.
    filler: u64,
}

fn choose_a_disk() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["--private", dir] = args[..] {
        return play(&Stage::private(dir.into())?);
    }
    let dir = tempfile::tempdir()?; // removed at the end of this function
    match args[..] {
        [] => match try_private_disk(dir.path()) {
            Ok(()) => run_on_private_disk(dir.path()),
            Err(why) => play(&Stage::ordinary(dir.path(), &why)?),
        },
        ["--ordinary"] => play(&Stage::ordinary(dir.path(), "--ordinary asks for it")?),
        _ => Err("the only option is --ordinary".into()),
    }
}

/// Mounts a small file system that only this command sees, and lets it go again; or says why that
/// does not work.
fn try_private_disk(dir: &Path) -> Result<(), String> {
    match on_private_disk(dir, "true").and_then(|mut command| command.output()) {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("no reason given").to_owned())
        }
        Err(error) => Err(format!("unshare: {error}")),
    }
}

/// Runs this program again where the mount is. A process that has threads cannot move there by
/// itself.
fn run_on_private_disk(dir: &Path) -> Result<ExitCode> {
    let status = on_private_disk(dir, r#"exec "$0" --private "$1""#)?.status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn on_private_disk(dir: &Path, action: &str) -> io::Result<Command> {
    let script = format!(r#"mount -t tmpfs -o size=16m tmpfs "$1" && {action}"#);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]).arg(std::env::current_exe()?).arg(dir);
    Ok(command)
}

impl Stage {
    fn private(dir: PathBuf) -> Result<Self> {
        let size = fs2::total_space(&dir)?;
        if size > 64 * MIB {
            return Err(format!("`{}` is no private disk, and will not be filled", dir.display()).into());
        }
        println!("The disk: a private file system of {} in memory. It is filled to the last byte, and the", mib(size));
        println!("log keeps no reserve (min_free_space(0)): it meets the full disk in the middle of a write.");
        Ok(Self { dir, reserve: 0, filler: size })
    }

    /// The reserve lies below the free space by what a suspended log wants back before it goes on,
    /// and by a margin for all the other programs that use this disk.
    fn ordinary(dir: &Path, why: &str) -> Result<Self> {
        let free = fs2::available_space(dir)?;
        let margin = (free / 64).clamp(64 * MIB, 256 * MIB);
        let below = WANTED_BACK + margin;
        let filler = below + margin;
        if free < 4 * filler {
            return Err(format!("only {} are free in `{}`", mib(free), dir.display()).into());
        }
        let reserve = free - below;
        println!("The disk: the ordinary one, because there is no private one ({why}).");
        println!("It is not filled. {} are free, and the log leaves {} to others", mib(free), mib(reserve));
        println!("(min_free_space); at most {} are taken, for a few seconds.", mib(filler));
        Ok(Self { dir: dir.to_owned(), reserve, filler })
    }
}

/// Another program that needs room. Its file has no name, so that it is gone with the process,
/// however that ends.
struct Filler {
    file: File,
    len: u64,
    most: u64,
}

impl Filler {
    fn new(stage: &Stage) -> Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(&stage.dir)?, len: 0, most: stage.filler })
    }

    /// Takes a little more, or all that is left if that is less. The room is allocated, not
    /// written.
    fn grow(&mut self) {
        let most = (self.len + self.most / 25).min(self.most);
        let mut step = most - self.len;
        while step > 0 && self.len < most {
            let len = (self.len + step).min(most);
            match self.file.allocate(len) {
                Ok(()) => self.len = len,
                Err(_) => step /= 2,
            }
        }
    }
}

// --- The program ---

/// What the threads share.
#[derive(Default)]
struct Shared {
    phase: AtomicUsize,
    requests: AtomicU64,
    stop: AtomicBool,
}

/// Answers requests until it is stopped; returns how long each log call took, and in which phase.
fn answer_requests(shared: &Shared) -> Vec<(usize, Duration)> {
    let mut calls = Vec::new();
    while !shared.stop.load(Relaxed) {
        thread::sleep(WORK);
        let number = shared.requests.fetch_add(1, Relaxed) + 1;
        let level = match number {
            n if n % 100 == 0 => Level::Error,
            n if n % 20 == 0 => Level::Warn,
            n if n % 4 == 0 => Level::Debug,
            _ => Level::Info,
        };
        let phase = shared.phase.load(Relaxed);
        let before = Instant::now();
        // The number stands at both ends, so that a torn line shows.
        log::log!(level, "request {number} answered: request {number}");
        calls.push((phase, before.elapsed()));
    }
    calls
}

// --- The story ---

fn play(stage: &Stage) -> Result<ExitCode> {
    let path = stage.dir.join("app.log");
    let (sender, events) = mpsc::channel();
    let handle = Builder::new()
        .level(LevelFilter::Debug)
        .file(LogFile::new(&path).min_free_space(stage.reserve))
        .on_event(move |event| drop(sender.send(event.clone())))
        .init()?;

    let shared = Arc::new(Shared::default());
    let mut filler = Filler::new(stage)?;
    let workers = [(); WORKERS].map(|()| {
        let shared = shared.clone();
        thread::spawn(move || answer_requests(&shared))
    });
    let mut story = Story::new(&shared, &handle, &events, stage);
    let suspended = || matches!(handle.state(), State::Suspended(_));

    story.phase(0, "The program answers requests and logs each of them.");
    story.watch(Duration::from_secs(3), || false);
    story.phase(1, "Something else on this machine takes room, more and more of it.");
    story.watch(PATIENCE, || {
        filler.grow();
        suspended()
    });
    if stage.reserve > 0 && !suspended() {
        return Err("other programs gave back room on this disk meanwhile; please try again".into());
    }
    story.phase(2, "The log is quiet. The program goes on.");
    story.watch(Duration::from_secs(4), || false);
    story.phase(3, "The room is given back. The log gets no signal.");
    drop(filler);
    story.watch(PATIENCE, || !suspended());
    if stage.reserve > 0 && suspended() && fs2::available_space(&stage.dir)? < stage.reserve + WANTED_BACK {
        return Err("other programs took room on this disk meanwhile; please try again".into());
    }
    story.phase(4, "The log is back.");
    story.watch(Duration::from_secs(3), || false);

    shared.stop.store(true, Relaxed);
    let calls = workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect();
    let ended = handle.shutdown(Duration::from_secs(5));

    let (stats, requests) = (handle.stats(), shared.requests.load(Relaxed));
    print_account(&stats);
    print_phases(&story, calls);
    let holds = check(&std::fs::read_to_string(&path)?, &stats, requests, ended.is_ok());
    println!("\n{}", if holds { "All of it holds." } else { "THIS DOES NOT HOLD: see above." });
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows what happens while it happens, and remembers how fast the program was.
struct Story<'a> {
    shared: &'a Shared,
    handle: &'a Handle,
    events: &'a mpsc::Receiver<Event>,
    stage: &'a Stage,
    start: Instant,
    /// On a terminal one line is written over again and again; elsewhere there is one line a
    /// second.
    live: bool,
    current: usize,
    /// For each phase: how long it took, and the calls a second in each tick.
    seen: [(Duration, Vec<f64>); PHASES.len()],
}

impl<'a> Story<'a> {
    fn new(shared: &'a Shared, handle: &'a Handle, events: &'a mpsc::Receiver<Event>, stage: &'a Stage) -> Self {
        let live = io::stdout().is_terminal();
        Self { shared, handle, events, stage, start: Instant::now(), live, current: 0, seen: Default::default() }
    }

    fn phase(&mut self, phase: usize, what: &str) {
        self.current = phase;
        self.shared.phase.store(phase, Relaxed);
        println!("\n{}: {what}", PHASES[phase].to_uppercase());
    }

    fn watch(&mut self, at_most: Duration, mut is_over: impl FnMut() -> bool) {
        let begin = Instant::now();
        for tick in 1.. {
            let (before, asked) = (self.shared.requests.load(Relaxed), Instant::now());
            thread::sleep(TICK);
            let calls = self.shared.requests.load(Relaxed) - before;
            let per_second = calls as f64 / asked.elapsed().as_secs_f64();
            self.seen[self.current].1.push(per_second);
            let over = is_over() || begin.elapsed() >= at_most;
            self.show_events();
            if self.live || tick % 10 == 0 || over {
                self.show_progress(per_second);
            }
            if over {
                break;
            }
        }
        if self.live {
            println!();
        }
        self.seen[self.current].0 = begin.elapsed();
    }

    fn show_events(&self) {
        for event in self.events.try_iter() {
            let what = match event {
                Event::Suspended { cause, .. } => format!("the log is suspended: {cause}"),
                Event::Resumed { dropped, .. } => {
                    format!("the log is resumed, and reports {} dropped", grouped(dropped))
                }
                Event::Failed { doing, error, .. } => format!("{doing} failed: {error}"),
                _ => continue,
            };
            println!("{}{:6.1} s  --> {what}", self.line_start(), self.start.elapsed().as_secs_f64());
        }
    }

    fn show_progress(&self, per_second: f64) {
        let stats = self.handle.stats();
        let room = fs2::available_space(&self.stage.dir).map(|free| free.saturating_sub(self.stage.reserve));
        print!(
            "{}{:6.1} s  {:>6} calls/s   written {:>7}   dropped {:>7}   room for the log {}{}",
            self.line_start(),
            self.start.elapsed().as_secs_f64(),
            grouped(per_second as u64),
            grouped(stats.written),
            grouped(stats.dropped.total()),
            room.map_or("unknown".to_owned(), mib),
            if self.live { "" } else { "\n" },
        );
        // Without a newline it would stay in the buffer. If it cannot be shown, nothing is lost.
        let _ = io::stdout().flush();
    }

    fn line_start(&self) -> &'static str {
        if self.live { "\r\x1b[2K" } else { "" }
    }
}

// --- The account ---

fn print_account(stats: &Stats) {
    let dropped = &stats.dropped;
    println!("\nTHE ACCOUNT, in records");
    println!("  accepted {:>9}", grouped(stats.accepted));
    println!("  written  {:>9}", grouped(stats.written));
    println!("  dropped  {:>9}", grouped(dropped.total()));
    println!("  pending  {:>9}", grouped(stats.pending));
    let reasons = [
        ("disk full", dropped.disk_full),
        ("queue full", dropped.queue_full),
        ("other errors", dropped.io_error + dropped.panicked),
        ("shutdown", dropped.shutdown),
    ];
    println!(
        "  dropped by reason: {}",
        reasons.map(|(reason, count)| format!("{reason} {}", grouped(count))).join(", ")
    );
    let levels: Vec<_> = Level::iter().map(|level| format!("{level} {}", grouped(dropped.by_level(level)))).collect();
    println!("  dropped by level:  {}", levels.join(", "));
}

fn print_phases(story: &Story<'_>, calls: Vec<(usize, Duration)>) {
    let mut times: [Vec<Duration>; PHASES.len()] = Default::default();
    for (phase, time) in calls {
        times[phase].push(time);
    }
    let most = story.seen.iter().flat_map(|(_, rates)| rates).copied().fold(1.0, f64::max);
    println!("\nTHE CALLS (the longest one is as a rule a thread that had to wait for a processor)");
    println!("  phase       time   calls/s   median     longest    calls/s, every {TICK:?}");
    for ((phase, (took, rates)), times) in PHASES.iter().zip(&story.seen).zip(&mut times) {
        times.sort_unstable();
        let per_second = times.len() as f64 / took.as_secs_f64().max(0.001);
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let longest = times.last().copied().unwrap_or_default();
        println!(
            "  {phase:<9} {:4.1} s  {:>7}   {median:<9.1?}  {longest:<9.1?}  {}",
            took.as_secs_f64(),
            grouped(per_second as u64),
            sparkline(rates, most),
        );
    }
}

/// Reads the log file back and compares it with what the program did and with what the logger says.
fn check(log: &str, stats: &Stats, requests: u64, ended_well: bool) -> bool {
    let (mut numbers, mut reported, mut torn, mut twice) = (HashSet::new(), 0, 0, 0);
    println!("\nTHE LOG FILE, where it speaks of itself");
    for line in log.split_inclusive('\n') {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            // Every line begins with a time, and ends.
            [time, ..] if time.len() != "2026-01-01T00:00:00.000000Z".len() || !line.ends_with('\n') => torn += 1,
            [_, _, "unfazed:", ref text @ ..] => {
                println!("  {}", line.trim_end());
                let count = text.iter().zip(text.iter().skip(1)).find(|(_, next)| next.starts_with("record"));
                reported += count.and_then(|(count, _)| count.parse::<u64>().ok()).unwrap_or(0);
            }
            [_, _, "disk_full:", "request", first, "answered:", "request", last] if first == last => {
                twice += u64::from(!numbers.insert(last));
            }
            _ => torn += 1,
        }
    }
    let found = numbers.len() as u64;
    let (accepted, settled) = (stats.accepted, stats.written + stats.dropped.total() + stats.pending);
    let claims = [
        (accepted == requests, format!("every call was accepted: {requests}")),
        (accepted == settled, format!("accepted {accepted} = written + dropped + pending {settled}")),
        (torn == 0 && twice == 0, format!("every line is whole and stands there once: {torn} torn, {twice} twice")),
        (found == stats.written, format!("the file holds what was written: {found} of {}", stats.written)),
        (
            found + reported == accepted,
            format!("in the file {found} + reported as dropped {reported} = accepted {accepted}"),
        ),
        (reported > 0, "the log was suspended, and has reported it".to_owned()),
        (ended_well, "it came back by itself, and wrote to the end".to_owned()),
    ];
    println!("\nTHE CHECK");
    for (holds, claim) in &claims {
        println!("  [{}] {claim}", if *holds { "ok" } else { "UNTRUE" });
    }
    claims.iter().all(|(holds, _)| *holds)
}

fn sparkline(rates: &[f64], most: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    rates.iter().map(|rate| BARS[((rate / most * 8.0) as usize).min(7)]).collect()
}

/// `1234567` as `1 234 567`.
fn grouped(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{} {:03}", grouped(number / 1000), number % 1000) }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", grouped(bytes / MIB))
}
