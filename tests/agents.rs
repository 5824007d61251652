//! What reads a log: the real rsyslog follows a JSON file that is rotated while eight threads log,
//! and every record arrives once; the real `jq` reads each JSON format; protobuf's own parser reads
//! OTLP/JSON as the messages of its schema, and Prometheus' own the page of metrics.
//!
//! `cargo test --test agents`. Where a reader is not installed its case is reported as ignored,
//! with the reason. For the last two: `pip install opentelemetry-proto prometheus_client`.
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
    child::main(vec![
        Case::new("rsyslog_gets_every_record_of_a_rotating_json_file_exactly_once", |dir| {
            if !Path::new(RSYSLOG).exists() {
                return Ok(Outcome::Skipped(format!("there is no `{RSYSLOG}`")));
            }
            rsyslog_gets_every_record(dir);
            Ok(Outcome::holds())
        }),
        Case::new("jq_reads_each_json_format", |dir| {
            if Command::new("jq").arg("--version").output().is_err() {
                return Ok(Outcome::Skipped("there is no `jq`".to_owned()));
            }
            jq_reads_each_json_format(dir);
            Ok(Outcome::holds())
        }),
        Case::new("protobufs_own_parser_reads_otlp_json", |dir| {
            if !python_has("google.protobuf.json_format, opentelemetry.proto.logs.v1.logs_pb2") {
                return Ok(Outcome::Skipped("there is no `python3` with `opentelemetry-proto`".to_owned()));
            }
            protobufs_own_parser_reads_otlp_json(dir);
            Ok(Outcome::holds())
        }),
        Case::new("prometheus_own_parser_reads_the_page_of_metrics", |dir| {
            if !python_has("prometheus_client.parser") {
                return Ok(Outcome::Skipped("there is no `python3` with `prometheus_client`".to_owned()));
            }
            prometheus_own_parser_reads_the_page(dir);
            Ok(Outcome::holds())
        }),
    ])
}

fn python_has(modules: &str) -> bool {
    let python = Command::new("python3").args(["-c", &format!("import {modules}")]).output();
    python.is_ok_and(|output| output.status.success())
}

/// Runs a script with the path of a file as its argument. Returns the JSON values that it prints.
fn python(script: &str, path: &Path) -> Vec<serde_json::Value> {
    let output = Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Messages that a careless line would break.
const AWKWARD: [&str; 6] =
    ["plain", "", "say \"a\\b\"", "two\nlines\tand a tab", "\u{1b}[31m \u{0}\u{7f}\u{2028}", "\u{1F980} é \u{202E}"];
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Logs the messages above, with key-values of each type, in a format. Returns the path of the
/// file.
fn awkward_file(dir: &Path, name: &str, format: Format) -> PathBuf {
    let path = dir.join(name);
    let file = LogFile::new(&path).format(format).min_free_space(0);
    let (logger, _) = Builder::new().file(file).build().unwrap();
    log::set_max_level(log::LevelFilter::Info); // nothing is installed
    for message in AWKWARD {
        log::warn!(
            logger: logger, target: "shop", id = 7, big = u64::MAX, ratio = 0.5, ok = true, text = message,
            trace_id = TRACE, span_id = "00f067aa0ba902b7", trace_flags = 1; "{message}"
        );
    }
    path
}

fn jq_reads_each_json_format(dir: &Path) {
    for (name, format, message) in [
        ("json", Format::json(), ".message"),
        ("otel", Format::otel(), ".resourceLogs[0].scopeLogs[0].logRecords[0].body.stringValue"),
        ("ecs", Format::ecs(), ".message"),
        ("gelf", Format::gelf(), ".short_message"),
        ("google_cloud", Format::google_cloud(), ".message"),
    ] {
        let path = awkward_file(dir, name, format);
        let output = Command::new("jq").args(["-c", message]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let read: Vec<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // GELF wants a message.
        let expected = AWKWARD.map(|text| if name == "gelf" && text.is_empty() { "-" } else { text });
        assert_eq!(read, expected, "{name}");
    }
}

fn protobufs_own_parser_reads_otlp_json(dir: &Path) {
    // Protobuf has bytes as base64; the hexadecimal digits that OTLP has instead are that, too.
    const SCRIPT: &str = r#"
import base64, json, sys
from google.protobuf import json_format
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
for line in open(sys.argv[1], encoding="utf-8", newline="\n"):
    data = json_format.Parse(line, LogsData())
    for scope in data.resource_logs[0].scope_logs:
        for record in scope.log_records:
            attributes = {one.key: json_format.MessageToDict(one.value) for one in record.attributes}
            print(json.dumps({
                "body": record.body.string_value, "severity": record.severity_number, "scope": scope.scope.name,
                "trace": base64.b64encode(record.trace_id).decode(), "flags": record.flags, "attributes": attributes,
                "resource": {one.key: one.value.string_value for one in data.resource_logs[0].resource.attributes},
            }))
"#;
    let path = awkward_file(dir, "otel", Format::otel().field("service.name", "shop"));
    let records = python(SCRIPT, &path);
    assert_eq!(records.len(), AWKWARD.len());
    for (record, message) in records.iter().zip(AWKWARD) {
        assert_eq!(record["body"], message);
        assert_eq!((&record["severity"], &record["scope"]), (&13.into(), &"shop".into()), "{record}");
        assert_eq!((&record["trace"], &record["flags"]), (&TRACE.into(), &1.into()), "{record}");
        assert_eq!(record["resource"]["service.name"], "shop");
        let attributes = &record["attributes"];
        assert_eq!(attributes["id"]["intValue"], "7");
        assert_eq!((&attributes["ratio"]["doubleValue"], &attributes["ok"]["boolValue"]), (&0.5.into(), &true.into()));
        assert_eq!(attributes["text"]["stringValue"], message);
    }
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

    // It was seen to miss one of twenty files a second, and may be held up: the log is never half a
    // file ahead of it.
    let keeps_up = || {
        let copied = fs::metadata(&out).unwrap().len();
        handle.stats().written_bytes <= copied + MIB / 2
    };
    thread::scope(|scope| {
        for author in 0..THREADS {
            let (logger, rsyslog) = (&logger, &rsyslog);
            scope.spawn(move || {
                for number in 0..EACH {
                    log::info!(logger: logger, author, number; "a \"quoted\" message\nof two lines");
                    if number % 10 == 0 {
                        // About one file a second.
                        thread::sleep(Duration::from_millis(10));
                        wait_until(rsyslog, "it keeps up", keeps_up);
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

fn prometheus_own_parser_reads_the_page(dir: &Path) {
    const SCRIPT: &str = r#"
import json, sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(open(sys.argv[1], encoding="utf-8").read()):
    for sample in family.samples:
        print(json.dumps([family.type, sample.name, sample.labels, sample.value]))
"#;
    let name = "a \"b\" \\ and\na second line";
    let output = unfazed::SinkOutput::writer(name, std::io::sink());
    let (logger, handle) = Builder::new().output(output).build().unwrap();
    log::set_max_level(log::LevelFilter::Info); // nothing is installed
    (0..3).for_each(|number| log::info!(logger: logger, "{number}"));
    drop(logger);
    let page = dir.join("metrics");
    fs::write(&page, handle.stats().to_prometheus()).unwrap();
    let samples = python(SCRIPT, &page);
    let labels = serde_json::json!({ "output": name });
    for expected in [
        serde_json::json!(["counter", "unfazed_records_accepted_total", {}, 3]),
        serde_json::json!(["counter", "unfazed_output_written_total", labels, 3]),
        serde_json::json!(["gauge", "unfazed_records_pending", {}, 0]),
        serde_json::json!(["counter", "unfazed_records_dropped_total", { "reason": "disk_full" }, 0]),
    ] {
        assert!(samples.contains(&expected), "{expected} in {samples:?}");
    }
    // Each line that is no comment is a sample.
    let lines = fs::read_to_string(&page).unwrap();
    assert_eq!(samples.len(), lines.lines().filter(|line| !line.starts_with('#')).count());
}
