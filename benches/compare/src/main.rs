//! unfazed next to the other logging crates: rounds of measurements, each logger in a process of
//! its own, and a table.
//!
//! `cargo run --release --manifest-path benches/compare/Cargo.toml -- --help` says what can be
//! chosen.

mod full_disk;
mod limit;
mod loggers;
mod measure;
mod plot;
mod report;
mod work;

use std::fs;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use loggers::{Full, Logger, is_limit};
use report::Results;
use work::{Pattern, Work};

const HELP: &str = "\
Measures unfazed next to the other logging crates; writes tables, CSV and plots into benches/compare/results.

  --short        one round of everything that the bar needs: under two minutes
  --only A,B     only these loggers
  --pattern A    only this pattern: bursts, sparse, sustained, paced or full
  --rounds N     so many rounds, 5 unless told (the sparse pattern: at least 9)
  --disk DIR     a directory on the disk to write to; the temporary directory unless told
  --list         what the loggers are
";

struct Options {
    short: bool,
    loggers: Vec<&'static Logger>,
    /// Empty: all of them.
    pattern: String,
    rounds: usize,
    disk: PathBuf,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("child") => child(&arguments[1..]),
        Some("--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        Some("--list") => {
            loggers::ALL.iter().for_each(|logger| println!("{:15} {}", logger.name, logger.setup));
            Ok(())
        }
        _ => options(&arguments).and_then(|options| compare(&options)),
    };
    if let Err(error) = outcome {
        eprintln!("{error}");
        std::process::exit(2);
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        short: false,
        loggers: loggers::ALL.iter().collect(),
        pattern: String::new(),
        rounds: 0,
        disk: std::env::temp_dir(),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("`{argument}` needs a value"));
        match argument.as_str() {
            "--short" => options.short = true,
            "--only" => {
                let chosen = value()?.split(',').map(|name| loggers::find(name).ok_or(format!("no logger `{name}`")));
                options.loggers = chosen.collect::<Result<_, _>>()?;
            }
            "--pattern" => options.pattern = value()?.clone(),
            "--rounds" => options.rounds = value()?.parse().map_err(|error| format!("rounds: {error}"))?,
            "--disk" => options.disk = value()?.into(),
            other => return Err(format!("`{other}` is no option; see --help")),
        }
    }
    if options.rounds == 0 {
        options.rounds = if options.short { 1 } else { 5 };
    }
    Ok(options)
}

// What is measured.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Disk,
    Tmpfs,
}

/// One cell of the plan, for one logger and one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    Work {
        pattern: Pattern,
        work: Work,
        threads: usize,
        place: Place,
        full: Full,
    },
    /// With stderr read by somebody, or on the full disk too.
    FullDisk {
        stderr_too: bool,
    },
}

impl Scenario {
    const fn work(pattern: Pattern, work: Work, threads: usize, place: Place, full: Full) -> Self {
        Scenario::Work { pattern, work, threads, place, full }
    }

    /// Its name in the CSV files.
    fn name(self) -> String {
        match self {
            Scenario::FullDisk { stderr_too: false } => "full disk".into(),
            Scenario::FullDisk { stderr_too: true } => "full disk with stderr".into(),
            Scenario::Work { pattern, work, threads, place, full } => {
                let pattern = match pattern {
                    Pattern::Bursts(_) => "bursts",
                    Pattern::Sparse(_) => "sparse",
                    Pattern::Sustained(_) => "sustained",
                    Pattern::Paced(rate) => return format!("paced {work:?} {rate}"),
                };
                let place = if place == Place::Disk { "disk" } else { "tmpfs" };
                let full = if full == Full::Wait { "no-drop" } else { "default" };
                format!("{pattern} {work:?} {threads} {place} {full}")
            }
        }
    }

    /// Whether this says anything of the logger that another scenario does not.
    fn concerns(self, logger: &Logger) -> bool {
        match self {
            Scenario::FullDisk { .. } => !is_limit(logger.name),
            Scenario::Work { place: Place::Tmpfs, .. } => !is_limit(logger.name),
            Scenario::Work { pattern: Pattern::Sustained(_), full: Full::Default, .. } => logger.drops,
            Scenario::Work { .. } => true,
        }
    }

    fn arguments(self) -> Vec<String> {
        match self {
            Scenario::FullDisk { stderr_too } => vec!["full".into(), stderr_too.to_string()],
            Scenario::Work { pattern, work, threads, full, .. } => {
                let (pattern, count) = match pattern {
                    Pattern::Bursts(count) => ("bursts", count),
                    Pattern::Sparse(count) => ("sparse", count),
                    Pattern::Sustained(count) => ("sustained", count),
                    Pattern::Paced(rate) => ("paced", rate),
                };
                let (work, full) = (format!("{work:?}"), (full == Full::Wait).to_string());
                vec![pattern.into(), count.to_string(), work, threads.to_string(), full]
            }
        }
    }

    fn parse(arguments: &[String]) -> Option<Self> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match *arguments {
            ["full", stderr_too] => Some(Scenario::FullDisk { stderr_too: stderr_too == "true" }),
            [pattern, count, work, threads, full] => {
                let count = count.parse().ok()?;
                let pattern = match pattern {
                    "bursts" => Pattern::Bursts(count),
                    "sparse" => Pattern::Sparse(count),
                    "paced" => Pattern::Paced(count),
                    _ => Pattern::Sustained(count),
                };
                let work =
                    [Work::W1, Work::W2, Work::W3, Work::W4].into_iter().find(|one| format!("{one:?}") == work)?;
                let full = if full == "true" { Full::Wait } else { Full::Default };
                // The child gets a directory; which disk that is on is all the same to it.
                Some(Scenario::work(pattern, work, threads.parse().ok()?, Place::Disk, full))
            }
            _ => None,
        }
    }
}

/// The scenarios, each with the rounds it gets.
fn plan(options: &Options) -> Vec<(Scenario, usize)> {
    use Full::{Default, Wait};
    use Place::{Disk, Tmpfs};
    use Work::{W1, W2, W3, W4};
    let (bursts, sparse, sustained) = if options.short {
        (Pattern::Bursts(40), Pattern::Sparse(1500), Pattern::Sustained(200_000))
    } else {
        (Pattern::Bursts(200), Pattern::Sparse(5000), Pattern::Sustained(2_000_000))
    };
    let rounds = options.rounds;
    let mut plan = Vec::new();
    for work in [W1, W2, W3, W4] {
        plan.push((Scenario::work(bursts, work, 1, Disk, Default), rounds));
    }
    plan.push((Scenario::work(sparse, W1, 1, Disk, Default), if options.short { rounds } else { rounds.max(9) }));
    for threads in [1, 2] {
        plan.push((Scenario::work(sustained, W1, threads, Disk, Wait), rounds));
    }
    plan.push((Scenario::work(sustained, W1, 1, Disk, Default), rounds));
    plan.push((Scenario::FullDisk { stderr_too: false }, rounds.min(3)));
    plan.push((Scenario::FullDisk { stderr_too: true }, 1));
    if !options.short {
        for threads in [2, 8] {
            plan.push((Scenario::work(bursts, W1, threads, Disk, Default), rounds));
        }
        plan.push((Scenario::work(bursts, W1, 1, Tmpfs, Default), rounds));
        plan.push((Scenario::work(sustained, W1, 8, Disk, Wait), rounds));
        for threads in [1, 2, 8] {
            plan.push((Scenario::work(sustained, W1, threads, Tmpfs, Wait), rounds));
        }
        for threads in [2, 8] {
            plan.push((Scenario::work(sustained, W1, threads, Disk, Default), rounds));
        }
    }
    if !options.short || options.pattern == "paced" {
        for rate in work::RATES {
            plan.push((Scenario::work(Pattern::Paced(rate), W1, 1, Disk, Default), rounds.min(3)));
        }
    }
    plan.retain(|(scenario, _)| scenario.name().starts_with(&options.pattern));
    plan
}

// The rounds.

fn compare(options: &Options) -> Result<(), String> {
    if cfg!(debug_assertions) {
        eprintln!("This is a debug build: its numbers mean nothing. Add `--release`.");
    }
    let header = report::header(&options.disk, options.rounds, work::timer_cost());
    print!("{header}");
    let plan = plan(options);
    let begun = Instant::now();
    let mut results = Results::default();
    let most = plan.iter().map(|(_, rounds)| *rounds).max().unwrap_or(0);
    for round in 0..most {
        for (scenario, _) in plan.iter().filter(|(_, rounds)| round < *rounds) {
            let name = scenario.name();
            for logger in options.loggers.iter().filter(|logger| scenario.concerns(logger)) {
                if io::stderr().is_terminal() {
                    eprint!(
                        "\r\x1b[Kround {} of {most}, {} s: {name}, {}",
                        round + 1,
                        begun.elapsed().as_secs(),
                        logger.name
                    );
                }
                match measure(logger, *scenario, &options.disk) {
                    Ok(numbers) => results.add(round, logger.name, &name, numbers),
                    Err(error) => results.failed(logger.name, &name, error),
                }
            }
        }
    }
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let took = begun.elapsed().as_secs();
    let tables = format!(
        "{}\nMeasured in {took} s; load {} at the end.\n",
        report::tables(&options.loggers, &results),
        report::load()
    );
    println!("{tables}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let written = fs::create_dir_all(&directory)
        .and_then(|()| fs::write(directory.join("table.md"), header + &tables))
        .and_then(|()| results.write_csv(&directory));
    written.map_err(|error| format!("failed to write the results: {error}"))?;
    plot::latency(&directory.join("latency.svg"), &options.loggers, &results).map_err(|error| error.to_string())?;
    plot::throughput(&directory.join("throughput.svg"), &options.loggers, &results).map_err(|error| error.to_string())
}

const TMPFS: &str = "/dev/shm";
/// Still the same one when its file was replaced by a new build.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// A logger that does not come back by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One logger, one scenario, in a process of its own.
fn measure(logger: &Logger, scenario: Scenario, disk: &Path) -> Result<Vec<(String, f64)>, String> {
    let tmpfs = matches!(scenario, Scenario::Work { place: Place::Tmpfs, .. });
    let parent = if tmpfs { Path::new(TMPFS) } else { disk };
    let directory = parent.join(format!("unfazed-compare-{}", std::process::id()));
    fs::create_dir_all(&directory).map_err(|error| format!("no directory: {error}"))?;
    let mut command = Command::new(THIS_PROGRAM);
    command.arg("child").arg(logger.name).arg(&directory).args(scenario.arguments());
    let outcome = wait(command);
    let _ = fs::remove_dir_all(&directory); // what is left there is seen by the next one
    let (status, stdout, stderr) = outcome?;

    let mut numbers: Vec<(String, f64)> = stdout.lines().filter_map(number).collect();
    if let Scenario::FullDisk { .. } = scenario {
        numbers.push(("stderr_lines".into(), stderr.lines().count() as f64));
        if numbers.iter().any(|(metric, _)| metric == "healthy_p50") {
            numbers.push((how_it_ended(status).into(), 1.0));
            return Ok(numbers);
        }
    }
    match status {
        Some(status) if status.success() => Ok(numbers),
        Some(status) => Err(format!("{status}: {}", stderr.lines().last().unwrap_or("nothing said"))),
        None => Err("hangs".into()),
    }
}

/// A line of [`work::tell`].
fn number(line: &str) -> Option<(String, f64)> {
    let (metric, value) = line.strip_prefix("@ ")?.split_once(' ')?;
    Some((metric.to_owned(), value.parse().ok()?))
}

fn how_it_ended(status: Option<ExitStatus>) -> &'static str {
    use std::os::unix::process::ExitStatusExt;
    match status {
        None => "hung",
        Some(status) if status.signal().is_some() => "aborted",
        Some(_) => "ended",
    }
}

/// Runs it to its end, or kills it when it hangs.
fn wait(mut command: Command) -> Result<(Option<ExitStatus>, String, String), String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read_all = |stream: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // Half of it is better than nothing.
            let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read_all(stdout.map(|stream| Box::new(stream) as _));
    let stderr = read_all(stderr.map(|stream| Box::new(stream) as _));
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break Some(status),
            None if begun.elapsed() > PATIENCE => {
                let _ = child.kill(); // it may have ended meanwhile
                let _ = child.wait();
                break None;
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    Ok((status, stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default()))
}

/// The process that `measure` starts.
fn child(arguments: &[String]) -> Result<(), String> {
    let [logger, directory, scenario @ ..] = arguments else { return Err("no scenario".into()) };
    let logger = loggers::find(logger).ok_or("no such logger")?;
    let directory = Path::new(directory);
    match Scenario::parse(scenario).ok_or("no such scenario")? {
        Scenario::FullDisk { stderr_too } => full_disk::run(logger, directory, stderr_too)?,
        Scenario::Work { pattern, work, threads, full, .. } => {
            work::run(logger, &directory.join("app.log"), pattern, work, threads, full)?;
        }
    }
    io::stdout().flush().map_err(|error| error.to_string())?;
    // The end of a logger is another question, and some never come back from it.
    // SAFETY: it ends the process and nothing else.
    unsafe { libc::_exit(0) }
}
