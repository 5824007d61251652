//! A thousand tasks that log and wait, on an event loop of one thread: what the loop feels of its
//! logger.
//!
//! `cargo run --release --example async`
//!
//! The same program runs with this logger and with a synchronous one, on a disk in health, on a
//! full one, and on one that hangs (a FIFO whose reader does not read, as a hung network disk or a
//! stopped log collector). Each time it prints how late a heartbeat of the loop was at most: so
//! long did no task get on. It takes about 20 seconds. The times are what they are, and are not
//! judged; the account of this logger is, and the exit code says whether it holds.
//!
//! The full disk is a private file system of 8 MiB in memory where the machine allows one (Linux,
//! with `unshare` from util-linux), elsewhere `/dev/full`.

// It prints a table.
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use log::{LevelFilter, Log};
use unfazed::{Builder, Handle};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const TASKS: u32 = 1000;
/// How long a task waits between two records: together they log 20 000 records a second.
const WAIT: Duration = Duration::from_millis(50);
const RUN: Duration = Duration::from_secs(1);
/// The loop's heartbeat: a timer that should come this often.
const BEAT: Duration = Duration::from_millis(1);
/// A machine that does something else stalls the loop now and then, a logger that waits does it all
/// the time: so there is the longest stall of each slice, too.
const SLICE: Duration = Duration::from_millis(100);
/// A loop that has not come back so long after its end hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for this logger's, which is not judged by how busy the machine is.
const MUCH_PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = match args[..] {
        [] => compare(),
        ["--run", logger, disk, path] => run(logger, disk, Path::new(path)).map(|()| true),
        _ => Err("there are no options".into()),
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error={error}");
            ExitCode::FAILURE
        }
    }
}

// --- The comparison ---

/// Runs each program in a process of its own, prints its row, and says whether the accounts hold.
fn compare() -> Result<bool> {
    println!("{TASKS} tasks on an event loop of one thread; each logs, waits {WAIT:?}, and so on, for {RUN:?}.\n");
    println!("{}", line("disk", "logger", ["longest stall", "usual", "in calls", "longest call", "the log"]));
    let mut holds = true;
    for (disk, loggers) in [
        ("in health", &["none", "unfazed", "synchronous"][..]),
        ("full", &["unfazed", "synchronous"]),
        ("hung", &["unfazed", "synchronous"]),
    ] {
        for logger in loggers {
            let dir = tempfile::tempdir()?; // removed at the end of this turn
            let stage = match Stage::new(disk, dir.path()) {
                Ok(stage) => stage,
                Err(why) => {
                    println!("{disk:<18} skipped: {why}");
                    break;
                }
            };
            let row = stage.run(logger)?;
            holds &= row.holds;
            println!("{}", line(stage.name, logger, row.cells.each_ref().map(String::as_str)));
        }
    }
    println!(
        "\nA stall is by how much the loop's heartbeat of {BEAT:?} came too late; the usual one is the median of the longest in"
    );
    println!(
        "each {SLICE:?}. The timer is 1 ms coarse, and a busy machine adds to it: what a loop without a logger shows is the"
    );
    println!("machine's. \"In calls\" is the share of the loop's time that went into log calls.");
    println!("\n{}", if holds { "The accounts hold." } else { "AN ACCOUNT DOES NOT HOLD: see above." });
    Ok(holds)
}

fn line(disk: &str, logger: &str, [stall, usual, share, longest, log]: [&str; 5]) -> String {
    format!("{disk:<16} {logger:<12} {stall:>13} {usual:>9} {share:>9} {longest:>13}  {log}")
}

/// Where a program runs.
struct Stage {
    name: &'static str,
    /// "in health", "full" or "hung".
    disk: &'static str,
    path: PathBuf,
    /// What runs the program where its disk is.
    command: Command,
}

struct Row {
    /// The cells after those of the disk and the logger.
    cells: [String; 5],
    holds: bool,
}

impl Stage {
    fn new(disk: &'static str, dir: &Path) -> Result<Self> {
        let mut stage =
            Self { name: disk, disk, path: dir.join("app.log"), command: Command::new(std::env::current_exe()?) };
        match disk {
            "full" => {
                if let Some(command) = on_private_disk(dir)? {
                    (stage.name, stage.command) = ("full", command);
                } else if Path::new("/dev/full").exists() {
                    (stage.name, stage.path) = ("full (/dev/full)", "/dev/full".into());
                } else {
                    return Err("no private file system can be mounted, and there is no /dev/full".into());
                }
            }
            "hung" => {
                let made = Command::new("mkfifo").arg(&stage.path).status();
                if !made.is_ok_and(|status| status.success()) {
                    return Err("no FIFO can be made".into());
                }
            }
            _ => {}
        }
        Ok(stage)
    }

    fn run(&self, logger: &str) -> Result<Row> {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args()).args(["--run", logger, self.disk]).arg(&self.path);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let patience = if logger == "unfazed" { MUCH_PATIENCE } else { PATIENCE };
        let begun = Instant::now();
        while child.try_wait()?.is_none() {
            if begun.elapsed() > RUN + patience {
                child.kill()?;
                child.wait()?;
                // The synchronous one may; ours may not.
                let cells = [&format!("> {patience:?}"), "for ever", "100 %", "for ever", "hung: killed"];
                return Ok(Row { cells: cells.map(str::to_owned), holds: logger != "unfazed" });
            }
            thread::sleep(Duration::from_millis(5));
        }
        let said = io::read_to_string(child.stdout.take().ok_or("no stdout")?)?;
        let said: HashMap<&str, &str> = said.lines().filter_map(|line| line.split_once('=')).collect();
        if let Some(error) = said.get("error") {
            return Err(format!("{logger}, disk {}: {error}", self.disk).into());
        }
        let get = |what| said.get(what).copied().unwrap_or("?").to_owned();
        let cells = ["stall", "usual", "share", "longest", "log"].map(get);
        Ok(Row { cells, holds: get("holds") == "true" })
    }
}

/// What runs this program with a small file system of its own at `dir`, if that is allowed here.
fn on_private_disk(dir: &Path) -> Result<Option<Command>> {
    // A user namespace makes anybody root of their own mounts; where there are none, root can do
    // without.
    for namespaces in ["-rm", "-m"] {
        let on_it = |action: &str| {
            let mut command = Command::new("unshare");
            let script = format!(r#"mount -t tmpfs -o size=8m tmpfs "$0" && {action}"#);
            command.args([namespaces, "sh", "-c", &script]).arg(dir);
            command
        };
        if on_it("true").output().is_ok_and(|output| output.status.success()) {
            let mut command = on_it(r#"exec "$@""#);
            command.arg(std::env::current_exe()?);
            return Ok(Some(command));
        }
    }
    Ok(None)
}

// --- One program ---

fn run(logger: &str, disk: &str, path: &Path) -> Result<()> {
    // Holds the FIFO open at both ends and never reads. What a pipe holds is taken, and then
    // nothing more.
    let _reader = (disk == "hung").then(|| File::options().read(true).write(true).open(path)).transpose()?;
    let handle = match logger {
        "unfazed" => Some(Builder::new().file(path).init()?),
        "synchronous" => {
            log::set_boxed_logger(Box::new(Synchronous::new(path)?))?;
            log::set_max_level(LevelFilter::Info);
            None
        }
        _ => None,
    };
    // Whatever comes later, it began in health: the file is open.
    log::logger().flush();
    if disk == "full" && !path.starts_with("/dev") {
        fill(&path.with_file_name("filler"))?;
    }
    let begun = Instant::now();
    let seen = tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(event_loop(begun));
    let ran = begun.elapsed();

    let calls = seen.calls.len() as u64;
    let share = seen.calls.iter().sum::<Duration>().as_secs_f64() / ran.as_secs_f64();
    let (log, holds) = match handle {
        Some(handle) => account(&handle, calls, disk, path)?,
        None if logger == "none" => (format!("{calls} calls that log nothing"), true),
        None => match in_the_log(disk, path)? {
            found if found == calls => (format!("{found} of {calls} are in it"), true),
            found => (format!("{found} of {calls} are in it, nobody has counted the others"), true),
        },
    };
    println!("stall={:.1?}", seen.stalls.last().copied().unwrap_or_default());
    println!("usual={:.1?}", seen.stalls.get(seen.stalls.len() / 2).copied().unwrap_or_default());
    println!("longest={:.1?}", seen.calls.iter().max().copied().unwrap_or_default());
    println!("share={:.2} %", share * 100.0);
    println!("log={log}");
    println!("holds={holds}");
    Ok(())
}

struct Seen {
    /// How long each log call took.
    calls: Vec<Duration>,
    /// The longest stall of each slice, from the shortest to the longest.
    stalls: Vec<Duration>,
}

/// What an asynchronous program is: many tasks that wait most of the time, and nobody gets on while
/// one of them does not let go.
async fn event_loop(begun: Instant) -> Seen {
    let heart = tokio::spawn(async move {
        // That a thousand tasks start at once is not what is looked at.
        tokio::time::sleep(2 * SLICE).await;
        let mut stalls = vec![Duration::ZERO; (RUN.as_millis() / SLICE.as_millis()) as usize];
        while begun.elapsed() < RUN {
            let before = Instant::now();
            tokio::time::sleep(BEAT).await;
            let slice = ((begun.elapsed().as_millis() / SLICE.as_millis()) as usize).min(stalls.len() - 1);
            stalls[slice] = stalls[slice].max(before.elapsed().saturating_sub(BEAT));
        }
        stalls
    });
    let tasks: Vec<_> = (0..TASKS).map(|number| tokio::spawn(serve(number, begun))).collect();
    let mut calls = Vec::new();
    for task in tasks {
        calls.extend(task.await.unwrap_or_default());
    }
    let mut stalls = heart.await.unwrap_or_default();
    stalls.retain(|stall| !stall.is_zero());
    stalls.sort_unstable();
    Seen { calls, stalls }
}

/// One task; returns how long each of its log calls took.
async fn serve(number: u32, begun: Instant) -> Vec<Duration> {
    // Not all of them at the same moment.
    tokio::time::sleep(WAIT * number / TASKS).await;
    let mut calls = Vec::with_capacity(64);
    while begun.elapsed() < RUN {
        let before = Instant::now();
        match calls.len() {
            20 => log::error!("task {number} could not do what it was asked for"),
            turn => log::info!("task {number} has served request {turn}"),
        }
        calls.push(before.elapsed());
        tokio::time::sleep(WAIT).await;
    }
    calls
}

/// Takes all the room there is on the disk.
fn fill(path: &Path) -> Result<()> {
    let mut filler = File::create(path)?;
    for piece in [64 << 10, 4 << 10, 512, 1] {
        while filler.write(&vec![0; piece]).is_ok_and(|written| written > 0) {}
    }
    Ok(())
}

// --- The account ---

/// Ends this logger, and compares what it says with the calls that were made and with what is in
/// the file.
fn account(handle: &Handle, calls: u64, disk: &str, path: &Path) -> Result<(String, bool)> {
    // On a disk that takes nothing, the answer is that it is suspended: that is no failure here.
    let ended = handle.shutdown(Duration::from_secs(10));
    // The writer counts what waited for a reader until the deadline a moment after it.
    let counted_by = Instant::now() + Duration::from_secs(1);
    while handle.stats().pending > 0 && Instant::now() < counted_by {
        thread::sleep(Duration::from_millis(1));
    }
    let stats = handle.stats();
    let (written, lost) = (stats.written, stats.dropped.total());
    let mut wrong = Vec::new();
    if stats.accepted != calls {
        wrong.push(format!("{} accepted of {calls} calls", stats.accepted));
    }
    if stats.accepted != written + lost || stats.pending != 0 {
        wrong.push(format!("accepted {} is not written {written} and lost {lost}", stats.accepted));
    }
    if disk != "hung" && in_the_log(disk, path)? != written {
        wrong.push(format!("{} in the file, {written} written", in_the_log(disk, path)?));
    }
    match disk {
        "in health" if lost > stats.dropped.queue_full || ended.is_err() => {
            wrong.push(format!("{lost} lost, {ended:?}"))
        }
        "full" | "hung" if lost == 0 => wrong.push("nothing was lost: was there a fault?".to_owned()),
        _ => {}
    }
    let mut text = format!("{written} of {calls} are in it, {lost} counted as lost");
    for wrong in &wrong {
        write!(text, "; WRONG: {wrong}")?;
    }
    Ok((text, wrong.is_empty()))
}

/// How many whole lines of the tasks there are.
fn in_the_log(disk: &str, path: &Path) -> Result<u64> {
    if disk == "hung" || !path.is_file() {
        return Ok(0);
    }
    let text = fs::read_to_string(path)?;
    Ok(text.split_inclusive('\n').filter(|line| line.ends_with('\n') && line.contains(": task ")).count() as u64)
}

// --- The synchronous logger ---

/// What synchronous loggers do: format, and write the line before the call returns. It spares
/// itself the calendar, and a failed write is nobody's business (others print it to stderr).
struct Synchronous {
    file: Mutex<(File, String)>,
}

impl Synchronous {
    fn new(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file: Mutex::new((file, String::new())) })
    }
}

impl Log for Synchronous {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let Ok(mut locked) = self.file.lock() else { return };
        let (file, line) = &mut *locked;
        line.clear();
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let _ = writeln!(line, "{time} {:<5} {}: {}", record.level(), record.target(), record.args());
        let _ = file.write_all(line.as_bytes());
    }

    fn flush(&self) {}
}
