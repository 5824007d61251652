//! What came out: tables for people, CSV for programs, and whether the bar is reached.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::full_disk;
use crate::loggers::{LIMIT, Logger, OUR_MACROS, OURS, STORED_LIMIT, is_limit, is_ours};
use crate::measure;
use crate::work::RATES;

/// Under which conditions the numbers were made.
pub fn header(disk: &Path, rounds: usize, timer_ns: f64) -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    [
        format!("command:  cargo run --release --manifest-path benches/compare/Cargo.toml -- {}", arguments.join(" ")),
        format!("machine:  {}, {cores} cores, {}", model.trim_start_matches(['\t', ' ', ':']), said("uname", &["-sr"])),
        format!("load:     {} when it began; other work on the machine makes these numbers worse", load()),
        format!("disk:     {}; tmpfs: /dev/shm", measure::file_system(disk)),
        format!("compiler: {}", said("rustc", &["--version"])),
        format!("commit:   {}", said("git", &["describe", "--always", "--dirty"])),
        format!("date:     {}", said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])),
        format!("timer:    {timer_ns:.0} ns of each call are the two reads of the counter and the call itself"),
        format!("rounds:   {rounds}, interleaved; medians (minimum - maximum)"),
        String::new(),
    ]
    .join("\n")
}

/// How many threads wanted to run in the last minute.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}

/// All numbers of all rounds.
#[derive(Default)]
pub struct Results {
    /// Scenario, metric and logger; the value of each round.
    values: BTreeMap<(String, String, String), Vec<(usize, f64)>>,
    /// Logger and what went wrong; where, and in how many rounds.
    failures: BTreeMap<(String, String), BTreeMap<String, usize>>,
}

/// Median, minimum and maximum of the rounds.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Results {
    pub fn add(&mut self, round: usize, logger: &str, scenario: &str, numbers: Vec<(String, f64)>) {
        for (metric, value) in numbers {
            let key = (scenario.to_owned(), metric, logger.to_owned());
            self.values.entry(key).or_default().push((round, value));
        }
    }

    pub fn failed(&mut self, logger: &str, scenario: &str, error: String) {
        *self.failures.entry((logger.to_owned(), error)).or_default().entry(scenario.to_owned()).or_default() += 1;
    }

    pub fn get(&self, scenario: &str, metric: &str, logger: &str) -> Option<Spread> {
        let values = self.values.get(&(scenario.to_owned(), metric.to_owned(), logger.to_owned()))?;
        spread(values)
    }

    /// `raw.csv` has each round, `summary.csv` the medians.
    pub fn write_csv(&self, directory: &Path) -> io::Result<()> {
        let mut raw = "scenario,metric,logger,round,value\n".to_owned();
        let mut summary = "scenario,metric,logger,rounds,median,minimum,maximum\n".to_owned();
        for ((scenario, metric, logger), values) in &self.values {
            for (round, value) in values {
                let _ = writeln!(raw, "{scenario},{metric},{logger},{round},{value}"); // a String takes everything
            }
            if let Some(Spread { median, min, max }) = spread(values) {
                let _ = writeln!(summary, "{scenario},{metric},{logger},{},{median},{min},{max}", values.len());
            }
        }
        fs::write(directory.join("raw.csv"), raw)?;
        fs::write(directory.join("summary.csv"), summary)
    }
}

fn spread(values: &[(usize, f64)]) -> Option<Spread> {
    let mut sorted: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    Some(Spread { median, min, max })
}

/// One column of a table: a metric of a scenario.
struct Column {
    title: &'static str,
    scenario: String,
    metric: &'static str,
    scale: f64,
    digits: usize,
    best: Best,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Best {
    Least,
    Most,
}

const fn per_million(title: &'static str, scenario: String, metric: &'static str) -> Column {
    Column { title, scenario, metric, scale: 1e-6, digits: 2, best: Best::Most }
}

const fn plain(title: &'static str, scenario: String, metric: &'static str, digits: usize) -> Column {
    Column { title, scenario, metric, scale: 1.0, digits, best: Best::Least }
}

fn bursts(work: &str, threads: usize) -> String {
    format!("bursts {work} {threads} disk default")
}

fn paced(rate: usize) -> String {
    format!("paced W1 {rate}")
}

fn sustained(threads: usize, place: &str, full: &str) -> String {
    format!("sustained W1 {threads} {place} {full}")
}

/// Percent of the records.
const MUCH_LOST: f64 = 0.5;
const SPARSE: &str = "sparse W1 1 disk default";
const FULL_DISK: &str = "full disk";
const FULL_DISK_STDERR: &str = "full disk with stderr";

/// The columns of one table.
struct Group {
    name: &'static str,
    about: &'static str,
    columns: Vec<Column>,
}

/// The columns that are compared with the rivals, in tables of a readable width.
fn groups() -> Vec<Group> {
    let one = || sustained(1, "disk", "no-drop");
    vec![
        Group {
            name: "One thread",
            about: "W1, on the disk",
            columns: vec![
                plain("burst p50, ns", bursts("W1", 1), "p50", 0),
                plain("burst p99, ns", bursts("W1", 1), "p99", 0),
                plain("burst p99.9, ns", bursts("W1", 1), "p999", 0),
                plain("sparse p50, ns", SPARSE.into(), "p50", 0),
                plain("allocations a call", bursts("W1", 1), "allocations", 2),
                plain("lost in bursts, %", bursts("W1", 1), "lost_percent", 1),
            ],
        },
        Group {
            name: "No drop",
            about: "2 000 000 records (200 000 in the short form) until they are in the file, on the disk",
            columns: vec![
                per_million("1 thread, M/s", one(), "per_second"),
                per_million("2 threads, M/s", sustained(2, "disk", "no-drop"), "per_second"),
                per_million("8 threads, M/s", sustained(8, "disk", "no-drop"), "per_second"),
                plain("processor s for a million", one(), "processor_seconds_per_million", 2),
                plain("the same, 2 threads", sustained(2, "disk", "no-drop"), "processor_seconds_per_million", 2),
                plain("peak resident MiB", one(), "peak_mib", 1),
                plain("of that before, MiB", one(), "before_mib", 1),
                plain("its own at the end, MiB", one(), "own_mib", 1),
                plain("not in the file, %", one(), "lost_percent", 1),
            ],
        },
        Group {
            name: "No drop, tmpfs",
            about: "the same where no disk is",
            columns: vec![
                per_million("1 thread, M/s", sustained(1, "tmpfs", "no-drop"), "per_second"),
                per_million("2 threads, M/s", sustained(2, "tmpfs", "no-drop"), "per_second"),
                per_million("8 threads, M/s", sustained(8, "tmpfs", "no-drop"), "per_second"),
                plain("burst p50, ns", "bursts W1 1 tmpfs default".into(), "p50", 0),
                plain("burst p99.9, ns", "bursts W1 1 tmpfs default".into(), "p999", 0),
            ],
        },
        Group {
            name: "Default",
            about: "the default set-up of those that drop when they are full: records in the file, and the share that was dropped",
            columns: vec![
                per_million("1 thread, M/s", sustained(1, "disk", "default"), "per_second"),
                plain("dropped with 1, %", sustained(1, "disk", "default"), "lost_percent", 1),
                per_million("2 threads, M/s", sustained(2, "disk", "default"), "per_second"),
                plain("dropped with 2, %", sustained(2, "disk", "default"), "lost_percent", 1),
                per_million("8 threads, M/s", sustained(8, "disk", "default"), "per_second"),
                plain("dropped with 8, %", sustained(8, "disk", "default"), "lost_percent", 1),
            ],
        },
        Group {
            name: "Messages",
            about: "bursts, one thread, p50 and allocations: W2 a static string, W3 300 bytes, W4 three key-values",
            columns: vec![
                plain("W2, ns", bursts("W2", 1), "p50", 0),
                plain("W2 allocations", bursts("W2", 1), "allocations", 2),
                plain("W3, ns", bursts("W3", 1), "p50", 0),
                plain("W3 allocations", bursts("W3", 1), "allocations", 2),
                plain("W4, ns", bursts("W4", 1), "p50", 0),
                plain("W4 allocations", bursts("W4", 1), "allocations", 2),
            ],
        },
        Group {
            name: "Paced",
            about: "W1 at a rate, for 5 s, in ticks of 1 ms whose sleeps are in it: processor time of the whole process and \
                    context switches, for each record",
            columns: vec![
                plain("1 000/s, us", paced(1_000), "processor_us", 1),
                plain("switches", paced(1_000), "switches", 2),
                plain("10 000/s, us", paced(10_000), "processor_us", 2),
                plain("switches", paced(10_000), "switches", 3),
                plain("100 000/s, us", paced(100_000), "processor_us", 2),
                plain("switches", paced(100_000), "switches", 4),
            ],
        },
        Group {
            name: "Threads",
            about: "W1, bursts",
            columns: vec![
                plain("2: p50, ns", bursts("W1", 2), "p50", 0),
                plain("2: p99, ns", bursts("W1", 2), "p99", 0),
                plain("2: p99.9, ns", bursts("W1", 2), "p999", 0),
                plain("8: p50, ns", bursts("W1", 8), "p50", 0),
                plain("8: p99, ns", bursts("W1", 8), "p99", 0),
                plain("8: p99.9, ns", bursts("W1", 8), "p999", 0),
            ],
        },
    ]
}

pub fn tables(loggers: &[&Logger], results: &Results) -> String {
    let mut text = String::new();
    for group in groups() {
        text += &table(&group, loggers, results);
    }
    text += &full_disk_table(loggers, results);
    text += &notes(loggers, results);
    text += &bar(loggers, results);
    text
}

fn table(group: &Group, loggers: &[&Logger], results: &Results) -> String {
    let measured = |column: &&Column| loggers.iter().any(|logger| value(column, logger, results).is_some());
    let columns: Vec<&Column> = group.columns.iter().filter(measured).collect();
    if columns.is_empty() {
        return String::new();
    }
    let mut text = format!("\n### {}: {}\n\n| |", group.name, group.about);
    columns.iter().for_each(|column| text += &format!(" {} |", column.title));
    text += &format!("\n|---|{}\n", "---:|".repeat(columns.len()));
    for logger in loggers {
        if columns.iter().all(|column| value(column, logger, results).is_none()) {
            continue;
        }
        text += &format!("| {} |", logger.name);
        for column in &columns {
            text += &match value(column, logger, results) {
                Some(spread) => format!(" {}{} |", shown(spread, column.digits), mark(column, logger.name, results)),
                None => " - |".to_owned(),
            };
        }
        text += "\n";
    }
    text
}

fn value(column: &Column, logger: &Logger, results: &Results) -> Option<Spread> {
    let Spread { median, min, max } = results.get(&column.scenario, column.metric, logger.name)?;
    Some(Spread { median: median * column.scale, min: min * column.scale, max: max * column.scale })
}

fn shown(Spread { median, min, max }: Spread, digits: usize) -> String {
    if min == max {
        format!("{median:.digits$}")
    } else {
        format!("{median:.digits$} ({min:.digits$} - {max:.digits$})")
    }
}

/// A sign stands at the numbers of those that did not do the whole work.
fn mark(column: &Column, logger: &str, results: &Results) -> &'static str {
    let lost = || results.get(&column.scenario, "lost_percent", logger).is_some_and(|lost| lost.median > MUCH_LOST);
    if results.get(&column.scenario, "without_key_values", logger).is_some() {
        " *"
    } else if column.metric != "lost_percent" && lost() {
        " †"
    } else {
        ""
    }
}

fn full_disk_table(loggers: &[&Logger], results: &Results) -> String {
    let mut text = String::from(
        "\n### A full disk\n\n| | healthy p50, ns | full p50, ns | stderr lines for 1000 calls | it ends | with stderr on that disk |\n\
         |---|---:|---:|---:|---|---|\n",
    );
    let ends = |scenario: &str, logger: &Logger| {
        let has = |metric| results.get(scenario, metric, logger.name).is_some();
        let words = [
            ("aborted", "**the process aborts**"),
            ("caller_panics", "**the caller panics**"),
            ("hung", "**hangs**"),
            ("thread_panics", "its thread panics"),
            ("survived", "well"),
        ];
        words.into_iter().find(|(metric, _)| has(metric)).map_or("-", |(_, word)| word)
    };
    let before = text.len();
    for logger in loggers {
        let get = |metric| results.get(FULL_DISK, metric, logger.name);
        let Some(healthy) = get("healthy_p50") else { continue };
        let full = get("full_p50").map_or("-".to_owned(), |spread| shown(spread, 0));
        let lines = get("stderr_lines").map_or(0.0, |spread| spread.median * 1000.0 / full_disk::CALLS as f64);
        let (ended, with_stderr) = (ends(FULL_DISK, logger), ends(FULL_DISK_STDERR, logger));
        let healthy = shown(healthy, 0);
        text += &format!("| {} | {healthy} | {full} | {lines:.0} | {ended} | {with_stderr} |\n", logger.name);
    }
    if text.len() == before { String::new() } else { text }
}

fn notes(loggers: &[&Logger], results: &Results) -> String {
    let mut text =
        "\n`-`: not measured. `*`: its line does not have the key-values. `†`: records were dropped meanwhile.\n\n"
            .to_owned();
    for logger in loggers {
        text += &format!("- {}: {}\n", logger.name, logger.setup);
    }
    for ((logger, error), scenarios) in &results.failures {
        let scenarios: Vec<_> = scenarios.iter().map(|(scenario, rounds)| format!("{scenario} ({rounds})")).collect();
        text += &format!("- {logger} failed: {error}; in (rounds) {}\n", scenarios.join(", "));
    }
    text
}

/// What the crate wants to reach, and how far it is from it.
fn bar(loggers: &[&Logger], results: &Results) -> String {
    let mut text = "\n### The bar\n\n| | wanted | measured | |\n|---|---:|---:|---|\n".to_owned();
    let median = |scenario: &str, metric: &str, logger: &str| results.get(scenario, metric, logger).map(|it| it.median);
    let rivals: Vec<&str> =
        loggers.iter().map(|logger| logger.name).filter(|name| !is_ours(name) && !is_limit(name)).collect();
    let of_rivals = |scenario: &str, metric: &str, best: Best| {
        let values = rivals.iter().filter_map(|rival| median(scenario, metric, rival));
        values.reduce(if best == Best::Most { f64::max } else { f64::min })
    };
    let mut line = |what: &str, digits: usize, wanted: Option<f64>, best: Best, measured: Option<f64>| {
        let (Some(wanted), Some(measured)) = (wanted, measured) else { return };
        let reached = if best == Best::Most { measured >= wanted } else { measured <= wanted };
        let sign = if best == Best::Most { "at least" } else { "at most" };
        let verdict = if reached { "reached".to_owned() } else { format!("**missed**, x {:.2}", measured / wanted) };
        text += &format!("| {what} | {sign} {wanted:.digits$} | {measured:.digits$} | {verdict} |\n");
    };
    let (w1, w2) = (bursts("W1", 1), bursts("W2", 1));
    let limit = |scenario: &str, metric: &str, with: fn(f64) -> f64| median(scenario, metric, LIMIT).map(with);
    line(
        "burst W1 p50, ns: 1.15 x the limit",
        0,
        limit(&w1, "p50", |x| 1.15 * x),
        Best::Least,
        median(&w1, "p50", OURS),
    );
    line("burst W2 p50, ns: the limit + 30", 0, limit(&w2, "p50", |x| x + 30.0), Best::Least, median(&w2, "p50", OURS));
    line("burst W1 p99.9, ns: the limit's", 0, limit(&w1, "p999", |x| x), Best::Least, median(&w1, "p999", OURS));
    line(
        "sparse p50, ns: 1.3 x the limit",
        0,
        limit(SPARSE, "p50", |x| 1.3 * x),
        Best::Least,
        median(SPARSE, "p50", OURS),
    );
    line("allocations a call", 2, Some(0.0), Best::Least, median(&w1, "allocations", OURS));
    for threads in [1, 2] {
        let scenario = sustained(threads, "disk", "no-drop");
        let wanted = of_rivals(&scenario, "per_second", Best::Most).map(|most| 2.0 * most * 1e-6);
        let measured = median(&scenario, "per_second", OURS).map(|it| it * 1e-6);
        line(&format!("in the file, {threads} thread(s), M/s: 2 x the best rival"), 2, wanted, Best::Most, measured);
        let metric = "processor_seconds_per_million";
        let wanted = of_rivals(&scenario, metric, Best::Least);
        line(
            &format!("processor s for a million, {threads} thread(s)"),
            2,
            wanted,
            Best::Least,
            median(&scenario, metric, OURS),
        );
    }
    let one = sustained(1, "disk", "no-drop");
    line("peak resident MiB, 2 000 000 records", 1, Some(8.0), Best::Least, median(&one, "peak_mib", OURS));
    let quarter = median(FULL_DISK, "healthy_p50", OURS).map(|healthy| healthy / 4.0);
    line(
        "full disk p50, ns: a quarter of the healthy call",
        0,
        quarter,
        Best::Least,
        median(FULL_DISK, "full_p50", OURS),
    );

    for (work, share) in [("W1", 0.35), ("W2", 0.70), ("W3", 0.60), ("W4", 0.45)] {
        let scenario = bursts(work, 1);
        let wanted = median(&scenario, "p50", OURS).map(|facade| share * facade);
        let name = format!("own macros, {work} p50, ns: {share} x the facade");
        line(&name, 0, wanted, Best::Least, median(&scenario, "p50", OUR_MACROS));
    }
    for (what, scenario, metric, share) in
        [("W1 p99.9", w1.clone(), "p999", 0.40), ("W1 alone, p50", SPARSE.to_owned(), "p50", 0.40)]
    {
        let wanted = median(&scenario, metric, OURS).map(|facade| share * facade);
        let name = format!("own macros, {what}, ns: {share} x the facade");
        line(&name, 0, wanted, Best::Least, median(&scenario, metric, OUR_MACROS));
    }
    let wanted = median(&w1, "p50", STORED_LIMIT).map(|limit| limit + 35.0);
    line("own macros, W1 p50, ns: their limit + 35", 0, wanted, Best::Least, median(&w1, "p50", OUR_MACROS));
    for threads in [1, 2] {
        let scenario = sustained(threads, "disk", "no-drop");
        let [facade, own] = [OURS, OUR_MACROS].map(|name| median(&scenario, "per_second", name).map(|it| it * 1e-6));
        let name = format!("own macros, in the file, {threads} thread(s), M/s: 0.9 x the facade");
        line(&name, 2, facade.map(|facade| 0.9 * facade), Best::Most, own);
    }
    for rate in RATES {
        let wanted = of_rivals(&paced(rate), "processor_us", Best::Least);
        let name = format!("processor us a record at {rate}/s: the best rival");
        line(&name, 2, wanted, Best::Least, median(&paced(rate), "processor_us", OURS));
    }

    text += "\nWhere a rival is ahead:\n\n";
    let before = text.len();
    for Group { name, columns, .. } in groups() {
        for column in columns {
            let Some(ours) = median(&column.scenario, column.metric, OURS) else { continue };
            let ahead: Vec<String> = rivals
                .iter()
                .filter_map(|rival| {
                    let theirs = median(&column.scenario, column.metric, rival)?;
                    let better = if column.best == Best::Most { theirs > ours } else { theirs < ours };
                    let mark = mark(&column, rival, results);
                    better.then(|| format!("{rival} {:.*}{mark}", column.digits, theirs * column.scale))
                })
                .collect();
            if !ahead.is_empty() && column.metric != "before_mib" {
                let ours = format!("{:.*}", column.digits, ours * column.scale);
                text += &format!("- {name}, {}: {OURS} {ours}; {}\n", column.title, ahead.join(", "));
            }
        }
    }
    if text.len() == before {
        text += "- nowhere\n";
    }
    text
}
