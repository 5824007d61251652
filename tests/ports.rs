//! Set-ups that other loggers publish, on this crate, none of them longer than the original: what
//! each output has in the end.
//!
//! The doc comment of each test names the original, and how many lines of code set it up there;
//! `use`, comments and empty lines do not count.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log as _, Record};
use unfazed::{Builder, Color, Console, Format, InitError, LogFile, Logger, Rotation, SinkOutput};

fn log(logger: &Logger, target: &'static str, level: Level, text: &str) {
    logger.log(&Record::builder().target(target).level(level).args(format_args!("{text}")).build());
}

/// The messages of a file in the text format.
fn messages(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.rsplit_once(": ").unwrap().1.to_owned()).collect()
}

/// The directory of the program, set in the process that plays it.
const PROGRAM: &str = "UNFAZED_PORT";

/// Returns the program's directory if this process plays the program of a test.
fn program() -> Option<PathBuf> {
    std::env::var_os(PROGRAM).map(PathBuf::from)
}

/// Runs one of these tests in a process of its own as the program that it is about. Returns its
/// standard output, in which the test harness has its lines, too, and its standard error.
fn play(test: &str, dir: &Path) -> (String, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([test, "--exact", "--nocapture"]).env(PROGRAM, dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A `Write` that a test looks into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// log4rs 1.4.0, the `log4rs.yaml` of its README, 20 lines: the records of one target go to a file
/// of their own, and not to the root's output.
#[test]
fn log4rs_sends_the_requests_of_a_backend_to_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (requests, rest) = (dir.path().join("requests.log"), dir.path().join("app.log"));
    // The set-up.
    let (logger, _) = Builder::new()
        .file(LogFile::new(&requests).filter("app::requests=info"))
        .file(LogFile::new(&rest).filter("warn,app::backend::db=info,app::requests=off"))
        .build()
        .unwrap();
    // Its use.
    log(&logger, "app::requests", Level::Info, "GET /");
    log(&logger, "app::backend::db", Level::Info, "connected");
    log(&logger, "app", Level::Info, "too verbose for the root");
    log(&logger, "app", Level::Warn, "slow");
    drop(logger);
    assert_eq!((messages(&requests), messages(&rest)), (vec!["GET /".into()], vec!["connected".into(), "slow".into()]));
}

/// log4rs 1.4.0, `examples/multi_logger.yml`, 24 lines with the one that loads it: errors on the
/// console, the records of one module in a file as well, and a configuration that is followed.
#[cfg(feature = "serde")]
#[test]
fn log4rs_has_two_loggers_in_a_file_that_is_followed() {
    const OPTIONS: &str = r#"
        # The set-up.
        [stdout]
        level = "error"
        format = { pattern = "{time} [{thread}] {level} {module}:{message}", local_time = true }
        [[file]]
        path = "info.log"
        filter = "multi::a=info"
        format = { pattern = "{time} [{thread}] {level} {module}:{message}", local_time = true }
        # Its use.
    "#;
    if let Some(dir) = program() {
        std::env::set_current_dir(&dir).unwrap();
        fs::write("logging.toml", OPTIONS).unwrap();
        let read = |text: &str| toml::from_str::<unfazed::Config>(text);
        // The set-up.
        let config = read(&fs::read_to_string("logging.toml").unwrap()).unwrap();
        let _handle = config.watch("logging.toml", read).builder().unwrap().init().unwrap();
        // Its use.
        log::warn!(target: "multi", "main");
        log::error!(target: "multi", "error main");
        log::info!(target: "multi::a", "module a");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (stdout, _) = play("log4rs_has_two_loggers_in_a_file_that_is_followed", dir.path());
    assert!(stdout.contains("] ERROR ports:error main\n") && !stdout.contains("module a"), "{stdout}");
    let file = fs::read_to_string(dir.path().join("info.log")).unwrap();
    assert!(file.ends_with("] INFO ports:module a\n") && file.lines().count() == 1, "{file}");
}

/// log4rs 1.4.0, `examples/sample_config.yml`, 33 lines: a console with a threshold, a file for
/// each run, and a file that is rotated each minute, all with patterns.
#[cfg(feature = "serde")]
#[test]
fn log4rs_reads_its_sample_configuration() {
    const OPTIONS: &str = r#"
        # The set-up.
        [stdout]
        level = "info"
        format = { pattern = "{time} [{file}:{line}] {level} {module}:{message}", time = "ns" }
        [[file]]
        path = "file.log"
        rotation = { on_start = true }
        format = { pattern = "[{time} {level:5} {module}] {message}" }
        [[file]]
        path = "rolling_file.log"
        rotation = "minutely"
        max_files = 3
        format = { pattern = "[{time} {level:5} {module}] {message}" }
        # Its use.
    "#;
    if let Some(dir) = program() {
        std::env::set_current_dir(&dir).unwrap();
        let config: unfazed::Config = toml::from_str(OPTIONS).unwrap();
        config.builder().unwrap().init().unwrap();
        log::info!("hello");
        log::debug!("too verbose");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (stdout, _) = play("log4rs_reads_its_sample_configuration", dir.path());
        assert!(stdout.contains(&format!(" [{}:", file!())) && stdout.contains("] INFO ports:hello\n"), "{stdout}");
    }
    for (name, lines) in [("file.log", 1), ("rolling_file.log", 2)] {
        let text = fs::read_to_string(dir.path().join(name)).unwrap();
        // The minute may have changed between the two runs.
        assert!((1..=lines).contains(&text.lines().count()), "{name}: {text}");
        assert!(text.lines().all(|line| line.ends_with(" INFO  ports] hello")), "{name}: {text}");
    }
}

/// fern 0.7.1, `examples/pretty-colored.rs`, 26 lines: levels for targets, and lines in colour.
#[test]
fn fern_dispatches_by_target_with_lines_in_colour() {
    if program().is_some() {
        // The set-up.
        Builder::new()
            .level(LevelFilter::Warn)
            .filter("pretty_colored=trace")
            .format(
                Format::pattern("[{time} {level} {target} ] {message}")
                    .time("s")
                    .color_lines()
                    .palette("error=red, warn=yellow, info=green, debug=white, trace=bright_black"),
            )
            .console(Console::stdout().color(Color::Always))
            .init()
            .unwrap();
        // Its use.
        log::info!("from elsewhere, too verbose");
        log::trace!(target: "pretty_colored", "loading");
        log::error!(target: "pretty_colored", "HATCHOOO!");
        return;
    }
    let (stdout, _) = play("fern_dispatches_by_target_with_lines_in_colour", Path::new("/"));
    let lines: Vec<&str> = stdout.lines().filter(|line| line.contains("pretty_colored")).collect();
    assert_eq!(lines.len(), 2, "{stdout:?}");
    for (line, color, text) in
        [(lines[0], "\x1b[90m[", " TRACE pretty_colored ] loading"), (lines[1], "\x1b[31m[", "HATCHOOO!")]
    {
        // The harness writes what test it runs before the first line, without a newline.
        assert!(line.contains(color) && line.ends_with(&format!("{text}\x1b[0m")), "{line:?}");
    }
    assert!(!stdout.contains("too verbose"));
}

/// fern 0.7.1, the example of its README, 15 lines: a format of the program's own on two outputs, a
/// level for a target.
#[test]
fn fern_has_a_format_of_the_programs_own() {
    if let Some(dir) = program() {
        let path = dir.join("output.log");
        // The set-up.
        Builder::new()
            .format(Format::custom(|line, record| {
                write!(line, "[")?;
                line.timestamp_digits(record.time(), 0);
                writeln!(line, " {} {}] {}", record.level(), record.target(), record.message())
            }))
            .level(LevelFilter::Debug)
            .filter("hyper=info")
            .console(Console::stdout())
            .file(path)
            .init()
            .unwrap();
        // Its use.
        log::debug!(target: "hyper", "too verbose");
        log::debug!("hello");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (stdout, _) = play("fern_has_a_format_of_the_programs_own", dir.path());
    let file = fs::read_to_string(dir.path().join("output.log")).unwrap();
    assert!(file.starts_with('[') && file.ends_with("Z DEBUG ports] hello\n"), "{file}");
    assert!(stdout.contains(&file), "{stdout}");
}

/// simplelog 0.12, the example of its README, 6 lines: `CombinedLogger` of a `TermLogger` with
/// `TerminalMode::Mixed`, errors on standard error and the rest on standard output, and a
/// `WriteLogger`.
#[test]
fn simplelog_combines_a_mixed_terminal_and_a_file() -> Result<(), InitError> {
    if let Some(dir) = program() {
        std::env::set_current_dir(dir).unwrap();
        // The set-up.
        Builder::new()
            .console(Console::stderr().level(LevelFilter::Error))
            .console(Console::stdout().levels(LevelFilter::Warn..=LevelFilter::Warn))
            .file("my_rust_binary.log")
            .init()?;
        // Its use.
        log::error!("red");
        log::warn!("yellow");
        log::info!("only in the file");
        log::debug!("for no output");
        return Ok(());
    }
    let dir = tempfile::tempdir().unwrap();
    let (stdout, stderr) = play("simplelog_combines_a_mixed_terminal_and_a_file", dir.path());
    let has = |text: &str| ["red", "yellow", "only in", "no output"].map(|word| text.contains(&format!(": {word}")));
    assert_eq!(has(&stderr), [true, false, false, false], "{stderr}");
    assert_eq!(has(&stdout), [false, true, false, false], "{stdout}");
    assert_eq!(messages(&dir.path().join("my_rust_binary.log")), ["red", "yellow", "only in the file"]);
    Ok(())
}

/// flexi_logger 0.31.10, `code_examples`, 11 lines: rotate by age, keep seven files, warnings on
/// standard error as well.
#[test]
fn flexi_logger_rotates_and_duplicates() {
    if let Some(dir) = program() {
        let path = dir.join("app.log");
        // The set-up.
        let handle = Builder::new()
            .file(LogFile::new(&path).rotation(Rotation::daily()).max_files(7))
            .console(Console::stderr().level(LevelFilter::Warn))
            .init()
            .unwrap();
        // Its use.
        log::warn!("w");
        handle.set_filter("ports=debug").unwrap();
        log::debug!("d");
        handle.rotate();
        handle.flush(Duration::from_secs(60)).unwrap();
        log::info!("i");
        handle.flush(Duration::from_secs(60)).unwrap();
        let files = handle.log_files();
        assert_eq!(files.len(), 2, "{files:?}");
        assert_eq!((messages(&files[0]), messages(&files[1])), (vec!["i".into()], vec!["w".into(), "d".into()]));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_, stderr) = play("flexi_logger_rotates_and_duplicates", dir.path());
    assert!(stderr.ends_with(": w\n") && stderr.lines().count() == 1, "{stderr}");
}

/// flexi_logger 0.31.10, `code_examples`, 4 lines: the levels stand in a file that is followed.
#[test]
fn flexi_logger_follows_its_specfile() {
    let dir = tempfile::tempdir().unwrap();
    let (path, spec) = (dir.path().join("app.log"), dir.path().join("log.filter"));
    fs::write(&spec, "info").unwrap();
    // The set-up.
    let read = |text: &str| Ok::<_, InitError>(Builder::new().filter(text.trim()));
    let (_logger, handle) = Builder::new().file(path).watch(&spec, read).build().unwrap();
    // Its use.
    fs::write(&spec, "info,app=debug\n").unwrap();
    let began = Instant::now();
    while handle.filter() != "info,app=debug" {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", handle.filter());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// flexi_logger 0.31.10, the module `writers`, 17 lines: alerts go to a writer of their own, others
/// to the log, some to both.
#[test]
fn flexi_logger_has_a_writer_for_alerts() {
    let dir = tempfile::tempdir().unwrap();
    let (path, alerts) = (dir.path().join("app.log"), Shared::default());
    // The set-up.
    let (logger, _) = Builder::new()
        .file(LogFile::new(&path).filter("info,alert=off,alert::and_log=info"))
        .output(SinkOutput::writer("Alert", alerts.clone()).filter("alert"))
        .build()
        .unwrap();
    // Its use.
    log(&logger, "alert", Level::Error, "only an alert");
    log(&logger, "alert::and_log", Level::Error, "both");
    log(&logger, "app", Level::Error, "an error");
    drop(logger);
    assert_eq!(messages(&path), ["both", "an error"]);
    let alerts = alerts.lines();
    assert!(alerts[0].ends_with(": only an alert") && alerts[1].ends_with(": both") && alerts.len() == 2, "{alerts:?}");
}

/// flexi_logger 0.31.10, `examples/write_writer.rs`, 22 lines: a program's own writer.
#[test]
fn flexi_logger_writes_to_a_writer_of_the_programs_own() {
    let own = Shared::default();
    // The set-up.
    let (logger, _) = Builder::new().output(SinkOutput::writer("own", own.clone())).build().unwrap();
    // Its use.
    log(&logger, "app", Level::Info, "hello");
    drop(logger);
    assert!(own.lines()[0].ends_with(" INFO  app: hello"));
}

/// logforth 0.30, `examples/src/task_local.rs`, 7 lines: what belongs to a task stands in each of
/// its lines, what belongs to a part of it in the lines of that part.
#[test]
fn logforth_writes_the_diagnostics_of_a_task_into_its_lines() {
    let stderr = Shared::default();
    // The set-up.
    let (logger, _) = Builder::new()
        .level(LevelFilter::Trace)
        .format(Format::logfmt())
        .output(SinkOutput::writer("stderr", stderr.clone()))
        .build()
        .unwrap();
    // Its use.
    let inner = unfazed::scope([("k3", "v3")]).future(async { log(&logger, "app", Level::Error, "error") });
    let task = async {
        inner.await;
        log(&logger, "app", Level::Trace, "trace");
    };
    let task = unfazed::scope([("k2", "v2")]).future(unfazed::scope([("k1", "v1")]).future(task));
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(task);
    drop(logger);
    let lines = stderr.lines();
    assert!(lines[0].ends_with("msg=error k3=v3 k1=v1 k2=v2"), "{lines:?}");
    assert!(lines[1].ends_with("msg=trace k1=v1 k2=v2"), "{lines:?}");
}

/// logforth 0.30, `examples/src/syslog.rs`, 4 lines: records go to a syslog daemon by TCP.
#[cfg(all(feature = "syslog", unix))]
#[test]
fn logforth_sends_to_a_syslog_daemon() {
    let daemon = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap();
    // The set-up.
    let syslog = unfazed::Syslog::tcp(address).unwrap().app_name("shop");
    let (logger, _) = Builder::new().level(LevelFilter::Trace).syslog(syslog).build().unwrap();
    // Its use.
    log(&logger, "app", Level::Error, "Hello syslog error!");
    log(&logger, "app", Level::Trace, "Hello syslog trace!");
    drop(logger);
    let mut text = String::new();
    io::Read::read_to_string(&mut daemon.accept().unwrap().0, &mut text).unwrap();
    let [error, trace] = ["<11>1 ", "<15>1 "].map(|priority| text.find(priority).unwrap());
    assert!(error < trace && text[error..trace].contains(" shop "), "{text}");
    assert!(text[error..trace].contains(" Hello syslog error!") && text.ends_with(" Hello syslog trace!"), "{text}");
}

/// env_logger 0.11.11, `examples/custom_format.rs`, 14 lines: a line of the program's own with a
/// time and a colour, and the level from the environment.
#[test]
fn env_logger_writes_a_custom_format() {
    if program().is_some() {
        // The set-up.
        Builder::new()
            .filter_env("MY_LOG_LEVEL")
            .console(Console::stderr().color(Color::Always))
            .format(Format::pattern("My formatted log ({time}): {message}").color_lines().palette("info=yellow"))
            .init()
            .unwrap();
        // Its use.
        log::info!("a log from `MyLogger`");
        return;
    }
    let (_, stderr) = play("env_logger_writes_a_custom_format", Path::new("/"));
    let line = stderr.strip_prefix("\x1b[33mMy formatted log (").unwrap_or_else(|| panic!("{stderr:?}"));
    assert!(line.ends_with("Z): a log from `MyLogger`\x1b[0m\n"), "{line:?}");
}

/// env_logger 0.11.11, `examples/in_tests.rs`, 4 lines: each test asks for the logger, and the
/// first one gets it. `tests/captured.rs` shows what `cargo test` prints.
#[test]
fn env_logger_is_set_up_by_each_test() {
    let set_up = || {
        // The set-up.
        Builder::new().level(LevelFilter::Trace).console(Console::test()).try_init()
        // Its use.
    };
    if program().is_some() {
        assert!(set_up().unwrap().is_some() && set_up().unwrap().is_none());
        log::info!("shown by `cargo test` if this test fails");
        return;
    }
    play("env_logger_is_set_up_by_each_test", Path::new("/"));
}

/// tracing-subscriber 0.3.23 with tracing-appender 0.2.5, the last example of its documentation
/// with `.json()`, 6 lines: JSON lines in a file that is rotated each hour.
#[cfg(feature = "tracing")]
#[test]
fn tracing_subscriber_writes_json_through_the_writer() {
    if let Some(dir) = program() {
        let path = dir.join("prefix.log");
        // The set-up.
        let (_logger, handle) = Builder::new().file(LogFile::new(path).rotation(Rotation::hourly())).build().unwrap();
        tracing_subscriber::fmt().json().with_writer(unfazed::tracing::writer(&handle)).init();
        // Its use.
        tracing::info!(number_of_yaks = 3, "preparing to shave yaks");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    play("tracing_subscriber_writes_json_through_the_writer", dir.path());
    let text = fs::read_to_string(dir.path().join("prefix.log")).unwrap();
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = (&line["fields"]["message"], &line["fields"]["number_of_yaks"]);
    assert_eq!(fields, (&"preparing to shave yaks".into(), &3.into()));
}

/// Each doc comment says how many lines the original has, and this file how many there are here.
#[test]
fn no_set_up_is_longer_than_the_original() {
    let this = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file!())).unwrap();
    let (tests, _) = this.split_once("/// Each doc comment says").unwrap();
    let mut ports = 0;
    for (doc, test) in tests.split("#[test]\n").zip(tests.split("#[test]\n").skip(1)) {
        let doc: Vec<&str> =
            doc.rsplit("\n\n").next().unwrap().lines().filter_map(|line| line.strip_prefix("/// ")).collect();
        let doc = doc.join(" ");
        let words: Vec<&str> = doc.split(|end: char| !end.is_ascii_alphanumeric()).collect();
        let counts = words.windows(2).filter(|pair| pair[1] == "lines");
        let most = counts.filter_map(|pair| pair[0].parse().ok()).next().unwrap_or_else(|| panic!("{doc}"));
        let set_ups = test.split("The set-up.\n").skip(1).map(|rest| rest.split_once("Its use.").unwrap().0);
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with(['/', '#']);
        let lines: usize = set_ups.map(|set_up| set_up.lines().filter(is_code).count()).sum();
        let name = test.split('(').next().unwrap();
        assert!((1..=most).contains(&lines), "{name}: {lines} lines, and {most} in the original");
        ports += 1;
    }
    assert!(ports > 10);
}
