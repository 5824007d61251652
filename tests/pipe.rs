//! What the example `pipe` writes is what went in: logs that this machine already has, and lines
//! that are hard to write.
//!
//! Each test runs the program itself, through real pipes, and compares its file with its input line
//! by line.

// Tests may say what they expect; clippy knows that only of those which the standard harness runs.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::{env, thread};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

const KIB: usize = 1024;

fn main() {
    let args = Arguments::from_args();
    let mut tests = vec![
        test("an_empty_input_makes_an_empty_log", || arrives(b"", &[])),
        test("a_last_line_without_a_newline_arrives", || arrives(b"one\ntwo", &["one", "two"])),
        test("empty_lines_arrive", || arrives(b"\n\na\n\n", &["", "", "a", ""])),
        test("the_line_ends_of_windows_are_line_ends", || arrives(b"a\r\n\r\nb\rc\r\n", &["a", "", "b\rc"])),
        test("bytes_that_are_not_utf_8_are_replaced_and_the_line_arrives", || {
            arrives(b"a\xffb\n\xc3\n\xe2\x82\xac\n", &["a\u{fffd}b", "\u{fffd}", "\u{20ac}"]);
        }),
        test("control_characters_arrive", || arrives(b"\ta\0b\x1b[31mc\x7f\n", &["\ta\0b\u{1b}[31mc\u{7f}"])),
        test("a_line_that_is_too_long_is_cut_and_told_and_its_neighbours_arrive", long_line),
        test("a_line_without_an_end_does_not_fill_the_memory", endless_line),
        test("a_fast_program_loses_no_line", fast_program),
        test("lines_that_take_longer_to_write_than_to_read_make_the_program_wait_and_none_is_lost", slow_lines),
        test("a_line_keeps_the_level_it_names", levels),
        test("a_second_run_appends_to_the_log", second_run),
        test("on_a_disk_without_room_all_input_is_read_and_one_line_tells_the_loss", no_room),
        Trial::ignorable_test("on_a_full_device_all_input_is_read_and_one_line_tells_the_loss", full_device),
        test("a_wrong_option_is_told_and_nothing_is_written", wrong_options),
        test("help_goes_to_standard_output", help),
    ];
    tests.extend(real_logs());
    libtest_mimic::run(&args, tests).exit();
}

fn test(name: &str, body: fn()) -> Trial {
    Trial::test(name, move || {
        body();
        Ok(())
    })
}

/// One test for each log that this machine has; or one that says that there is none.
fn real_logs() -> Vec<Trial> {
    const NAME: &str = "every_line_of_a_real_log_arrives_once_and_in_order";
    let mut tests = Vec::new();
    for dir in ["/var/log", "/var/log/apt"] {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = entries.filter(|path| is_log(path)).collect();
        paths.sort();
        for path in paths {
            let Some(input) = read_whole_lines(&path) else { continue };
            tests.push(Trial::ignorable_test(format!("{NAME}: {}", path.display()), move || {
                let lines = lines_of(&input);
                if lines.iter().any(|line| line.len() >= 64 * KIB) {
                    return Ok(Completion::ignored_with("it has a line that is too long to arrive whole"));
                }
                let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                arrives(&input, &lines);
                Ok(Completion::Completed)
            }));
        }
    }
    if tests.is_empty() {
        let none = || Ok(Completion::ignored_with("no log in /var/log can be read"));
        tests.push(Trial::ignorable_test(NAME, none));
    }
    tests
}

fn is_log(path: &Path) -> bool {
    path.is_file()
        && (path.extension().is_some_and(|extension| extension == "log")
            || path.ends_with("syslog")
            || path.ends_with("messages"))
}

/// At most 8 MiB of a log, without what may still be under way; `None` if it cannot be read or is
/// empty.
fn read_whole_lines(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(8 << 20).read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n')? + 1;
    bytes.truncate(end);
    Some(bytes)
}

/// The lines as a person would count them.
fn lines_of(input: &[u8]) -> Vec<String> {
    let text = input.strip_suffix(b"\n").unwrap_or(input);
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

/// Asserts that these lines, and no others, are in the log in this order: as text and as JSON.
fn arrives(input: &[u8], lines: &[&str]) {
    let run = Run::new(&[], input);
    run.assert_silent_success();
    let messages = run.messages();
    assert_eq!(messages.len(), lines.len());
    for (message, line) in messages.iter().zip(lines) {
        assert_eq!(*message, escaped(line));
    }
    if cfg!(feature = "json") {
        let run = Run::new(&["--json"], input);
        run.assert_silent_success();
        let messages: Vec<String> = run.log().lines().map(json_message).collect();
        assert_eq!(messages.len(), lines.len());
        for (message, line) in messages.iter().zip(lines) {
            assert_eq!(message, line);
        }
    }
}

/// The text format's promise: no control character reaches a terminal, and none that ends lines or
/// turns them round.
fn escaped(line: &str) -> String {
    let mut text = String::new();
    for character in line.chars() {
        match character {
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => text.extend(character.escape_default()),
            _ if character.is_control() => text.extend(character.escape_default()),
            _ => text.push(character),
        }
    }
    text
}

fn json_message(line: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).expect(line);
    value["message"].as_str().expect(line).to_owned()
}

fn long_line() {
    let long = "x".repeat(100 * KIB);
    let run = Run::new(&[], format!("before\n{long}\nafter\n").as_bytes());
    assert!(run.output.status.success());
    assert_eq!(run.stderr_lines(), 1, "{}", run.stderr());
    assert!(run.stderr().contains("1 of 3 lines are cut"), "{}", run.stderr());
    let messages = run.messages();
    assert_eq!(messages.len(), 3);
    assert_eq!((messages[0].as_str(), messages[2].as_str()), ("before", "after"));
    let cut = messages[1].trim_start_matches('x');
    assert!(cut.len() < 20 && cut.contains("cut"), "no mark: {cut}");
    let kept = messages[1].len() - cut.len();
    assert!((63 * KIB..=64 * KIB).contains(&kept), "{kept} bytes are kept");
}

fn endless_line() {
    let piece = vec![b'y'; 1 << 20];
    let run = Run::feeding(&[], |mut stdin| {
        for _ in 0..256 {
            stdin.write_all(&piece).expect("the program reads on");
        }
        stdin.write_all(b"\nafter").expect("the program reads on");
        // Where the system tells it: the most memory that the program ever had, in kB.
        let status = fs::read_to_string(format!("/proc/{}/status", stdin.child)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
    });
    assert!(run.output.status.success());
    assert_eq!(run.messages().len(), 2);
    assert_eq!(run.messages()[1], "after");
    if let Some(most) = run.told {
        assert!(most < 64 * 1024, "{most} kB");
    }
}

fn fast_program() {
    let lines: Vec<String> =
        (0..200_000).map(|number| format!("line {number} of a program that does not wait")).collect();
    let run = Run::new(&[], (lines.join("\n") + "\n").as_bytes());
    run.assert_silent_success();
    assert!(run.messages() == lines, "not the same lines, or not in their order");
}

/// Each control character is written as five. The lines are more than the queue holds.
fn slow_lines() {
    let lines: Vec<String> = (0..30_000).map(|number| format!("line {number} {}", "\u{1}".repeat(300))).collect();
    let run = Run::new(&[], (lines.join("\n") + "\n").as_bytes());
    run.assert_silent_success();
    let messages = run.messages();
    assert_eq!(messages.len(), lines.len());
    assert!(messages.iter().zip(&lines).all(|(message, line)| *message == escaped(line)), "not the same lines");
}

fn levels() {
    let cases = [
        ("ERROR: out of paper", "ERROR"),
        ("2026-01-01 12:00:00,123 host app[17] WARN low on paper", "WARN "),
        ("[warning] low on paper", "WARN "),
        ("error: expected `;`", "ERROR"),
        ("ts=1 level=debug msg=x", "DEBUG"),
        ("{\"level\":\"trace\",\"msg\":\"x\"}", "TRACE"),
        ("<FATAL> bye", "ERROR"),
        ("NOTICE: all is well", "INFO "),
        ("INFO the last ERROR is gone", "INFO "),
        ("no error, no warning", "INFO "),
        ("TERRORS", "INFO "),
        ("", "INFO "),
    ];
    let input = cases.map(|(line, _)| line).join("\n") + "\n" + &".".repeat(200) + "ERROR\n";
    let run = Run::new(&[], input.as_bytes());
    run.assert_silent_success();
    let log = run.log();
    assert_eq!(log.lines().count(), cases.len() + 1);
    for (logged, (line, level)) in log.lines().zip(cases.iter().chain(&[("a level far from the start", "INFO ")])) {
        let found = logged.split_once(' ').expect("a time").1;
        assert!(found.starts_with(level), "`{line}` became `{logged}`");
    }
}

fn second_run() {
    let first = Run::new(&[], b"one\n");
    let output = feed(&[first.path().as_os_str().to_str().unwrap()], |mut stdin| stdin.write_all(b"two\n").unwrap()).0;
    assert!(output.status.success());
    assert_eq!(first.messages(), ["one", "two"]);
}

/// More than the queue and the pipe hold together: a reader that stops would be seen.
fn many_lines() -> Vec<u8> {
    b"some line\n".repeat(100_000)
}

fn no_room() {
    let run = Run::new(&["--min-free-space", &u64::MAX.to_string()], &many_lines());
    assert_eq!(run.output.status.code(), Some(1));
    assert_eq!(run.stderr_lines(), 1, "{}", run.stderr());
    assert!(run.stderr().contains("100000 of 100000 lines are lost"), "{}", run.stderr());
    assert!(run.messages().is_empty());
}

fn full_device() -> Result<Completion, Failed> {
    if !Path::new("/dev/full").exists() {
        return Ok(Completion::ignored_with("there is no /dev/full"));
    }
    let (output, ()) = feed(&["/dev/full"], |mut stdin| stdin.write_all(&many_lines()).expect("the program reads on"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("100000 of 100000 lines are lost (100000: the disk was full)"), "{stderr}");
    Ok(Completion::Completed)
}

fn wrong_options() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("app.log");
    let log = log.to_str().unwrap();
    let cases: [&[&str]; 6] = [
        &[],
        &["--jsno", log],
        &["--min-free-space", log],
        &[log, "--min-free-space"],
        &["--min-free-space", "-1", log],
        &[log, "another.log"],
    ];
    for args in cases {
        // It may end before it reads.
        let (output, _) = feed(args, |mut stdin| stdin.write_all(b"line\n").is_ok());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(output.stderr.iter().filter(|byte| **byte == b'\n').count(), 1, "{args:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn help() {
    let (output, _) = feed(&["--help"], |_| ());
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    let help = String::from_utf8(output.stdout).unwrap();
    for option in ["FILE", "--json", "--min-free-space", "--help", "Exit status"] {
        assert!(help.contains(option), "{option} is missing");
    }
}

/// One run of the program, with a log of its own.
struct Run<T = ()> {
    dir: tempfile::TempDir,
    output: Output,
    told: T,
}

impl Run {
    fn new(options: &[&str], input: &[u8]) -> Self {
        Self::feeding(options, |mut stdin| stdin.write_all(input).expect("the program reads on"))
    }
}

impl<T: Send> Run<T> {
    fn feeding(options: &[&str], input: impl FnOnce(Input) -> T + Send) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("app.log");
        let args = [options, &[log.to_str().unwrap()]].concat();
        let (output, told) = feed(&args, input);
        Self { dir, output, told }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("app.log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path()).expect("the log is UTF-8")
    }

    /// The messages of the text format; the crate's own lines are not among them.
    fn messages(&self) -> Vec<String> {
        let log = self.log();
        assert!(log.is_empty() || log.ends_with('\n'), "the last line is torn");
        let mut messages = Vec::new();
        for line in log.lines() {
            // Time, level in five columns, target, message.
            let rest = line.split_once(' ').and_then(|(_, rest)| rest.get("LEVEL ".len()..)).expect(line);
            match rest.split_once(": ").expect(line) {
                ("stdin", message) => messages.push(message.to_owned()),
                ("unfazed", _) => {}
                _ => panic!("not a line of this log: {line}"),
            }
        }
        messages
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn stderr_lines(&self) -> usize {
        self.stderr().lines().count()
    }

    fn assert_silent_success(&self) {
        assert_eq!(self.stderr(), "");
        assert!(self.output.stdout.is_empty());
        assert!(self.output.status.success(), "{}", self.output.status);
    }
}

/// The way into the program.
struct Input {
    stdin: std::process::ChildStdin,
    child: u32,
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stdin.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stdin.flush()
    }
}

/// Runs the program while `input` writes to it; what `input` returns comes back.
fn feed<T: Send>(args: &[&str], input: impl FnOnce(Input) -> T + Send) -> (Output, T) {
    let mut command = Command::new(&*PROGRAM);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let stdin = Input { stdin: child.stdin.take().expect("a pipe"), child: child.id() };
    thread::scope(|scope| {
        let fed = scope.spawn(|| input(stdin));
        let output = child.wait_with_output().expect("the program ends");
        (output, fed.join().expect("the program took its input"))
    })
}

/// The example, built as this test was.
///
/// `cargo test --test pipe` builds no example, and one that lies there may be old: so cargo is
/// asked, which does nothing if all is fresh. Where a test runs without cargo, what lies there has
/// to do.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    // <target>/<profile>/deps/pipe-<hash>
    let this = env::current_exe().expect("this test has a path");
    let built = this.ancestors().nth(2).expect("the folder of the profile");
    let target = built.parent().expect("the target folder");
    let profile = match built.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "test", // as `cargo test` builds it
        Some(profile) => profile,
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo.args(["build", "--quiet", "--example", "pipe", "--profile", profile]);
    // With the same features nothing is built a second time.
    if !cfg!(feature = "json") {
        cargo.arg("--no-default-features");
    }
    for (feature, is_on) in [
        ("regex", cfg!(feature = "regex")),
        ("gzip", cfg!(feature = "gzip")),
        ("serde", cfg!(feature = "serde")),
        ("__bench", cfg!(feature = "__bench")),
    ] {
        if is_on {
            cargo.args(["--features", feature]);
        }
    }
    cargo.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    if let Ok(status) = cargo.status() {
        assert!(status.success(), "the example does not build");
    }
    built.join("examples").join(format!("pipe{}", env::consts::EXE_SUFFIX))
});
