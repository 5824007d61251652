//! Log agents that follow the file: the real rsyslog reads a JSON file that is rotated while eight
//! threads log, and every record arrives once.
//!
//! `cargo test --test agents`. Where rsyslog is not installed the case is reported as ignored, with
//! the reason.
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own, which fails by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use unfazed::{Builder, Format, LogFile, MIB, Overflow, Rotation};

use support::child::{self, Case, Outcome};

/// Debian keeps it where an ordinary user's PATH does not lead.
const RSYSLOG: &str = "/usr/sbin/rsyslogd";
const THREADS: u64 = 8;
const EACH: u64 = 3000;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    child::main(vec![Case::new("rsyslog_gets_every_record_of_a_rotating_json_file_exactly_once", |dir| {
        if !Path::new(RSYSLOG).exists() {
            return Ok(Outcome::Skipped(format!("there is no `{RSYSLOG}`")));
        }
        rsyslog_gets_every_record(dir);
        Ok(Outcome::holds())
    })])
}

/// A daemon of our own, that follows `followed` and appends what it gets to `out`.
struct Rsyslog {
    process: Child,
    dir: PathBuf,
}

impl Rsyslog {
    fn start(dir: &Path, followed: &Path, out: &Path) -> Self {
        let state = dir.join("state");
        fs::create_dir(&state).unwrap();
        let config = format!(
            r#"global(workDirectory="{state}")
module(load="imfile" mode="inotify")
template(name="line" type="list") {{ property(name="msg") constant(value="\n") }}
ruleset(name="follow") {{ action(type="omfile" file="{out}" template="line") }}
input(type="imfile" file="{followed}" tag="app" ruleset="follow" reopenOnTruncate="on")
"#,
            state = state.display(),
            out = out.display(),
            followed = followed.display(),
        );
        fs::write(dir.join("rsyslog.conf"), config).unwrap();
        let said = fs::File::create(dir.join("rsyslog.said")).unwrap();
        let process = Command::new(RSYSLOG)
            .arg("-n")
            // It changes to the root directory before it opens these.
            .args([OsStr::new("-f"), dir.join("rsyslog.conf").as_os_str()])
            .args([OsStr::new("-i"), dir.join("rsyslog.pid").as_os_str()])
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        Self { process, dir: dir.to_owned() }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.join("rsyslog.said")).unwrap_or_default()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        // Nothing more is wanted of it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn rsyslog_gets_every_record(dir: &Path) {
    let (log_file, out) = (dir.join("app.json"), dir.join("out.json"));
    let file = LogFile::new(&log_file).format(Format::json()).rotation(Rotation::size(MIB)).min_free_space(0);
    let (logger, handle) = Builder::new().file(file).overflow(Overflow::Block).build().unwrap();
    log::set_max_level(log::LevelFilter::Info); // nothing is installed
    log::info!(logger: logger, "the file is there");
    handle.flush(PATIENCE).unwrap();
    let rsyslog = Rsyslog::start(dir, &log_file, &out);
    wait_until(&rsyslog, "the first line arrives", || !lines(&out).is_empty());

    thread::scope(|scope| {
        for author in 0..THREADS {
            let logger = &logger;
            scope.spawn(move || {
                for number in 0..EACH {
                    log::info!(logger: logger, author, number; "a \"quoted\" message\nof two lines");
                    if number % 10 == 0 {
                        // About one file a second: rsyslog was seen to miss one of twenty a second.
                        thread::sleep(Duration::from_millis(10));
                    }
                }
            });
        }
    });
    handle.flush(PATIENCE).unwrap();
    let archives = fs::read_dir(dir).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("app.2")
    });
    assert!(archives.count() >= 3, "it was rotated");
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.written), (THREADS * EACH + 1, THREADS * EACH + 1), "{stats:?}");

    let expected = (THREADS * EACH + 1) as usize;
    wait_until(&rsyslog, "all lines arrive", || lines(&out).len() >= expected);
    let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for line in lines(&out) {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let (Some(author), Some(number)) = (value["author"].as_u64(), value["number"].as_u64()) {
            assert_eq!(value["message"], "a \"quoted\" message\nof two lines");
            seen.entry(author).or_default().push(number);
        }
    }
    assert_eq!(seen.len() as u64, THREADS);
    for (author, mut numbers) in seen {
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..EACH), "each of author {author}'s numbers once");
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // It may be inside a write.
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(|line| line.trim().to_owned()).collect()
}

fn wait_until(rsyslog: &Rsyslog, what: &str, condition: impl FnMut() -> bool) {
    child::wait_until(|| format!("{what}; {}", rsyslog.said()), PATIENCE, condition);
}
