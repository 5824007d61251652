//! Set-ups that other loggers show in their own documentation, on this crate, none of them longer
//! than the original: what each file has in the end.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log as _, Record};
use unfazed::{Builder, Format, LogFile, Logger, MIB, Rotation, SinkOutput};

fn log(logger: &Logger, target: &'static str, level: Level, text: &str) {
    logger.log(&Record::builder().target(target).level(level).args(format_args!("{text}")).build());
}

/// The messages of a file in the text format.
fn messages(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.rsplit_once(": ").unwrap().1.to_owned()).collect()
}

/// log4rs, `multi_logger_config`: a logger of one target has an appender of its own, and its
/// records do not go to the root's.
#[test]
fn log4rs_sends_the_requests_of_a_backend_to_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (requests, rest) = (dir.path().join("requests.log"), dir.path().join("app.log"));
    let (logger, _) = Builder::new()
        .file(LogFile::new(&requests).filter("app::requests=info"))
        .file(LogFile::new(&rest).filter("warn,app::backend::db=info,app::requests=off"))
        .build()
        .unwrap();
    log(&logger, "app::requests", Level::Info, "GET /");
    log(&logger, "app::backend::db", Level::Info, "connected");
    log(&logger, "app", Level::Info, "too verbose for the root");
    log(&logger, "app", Level::Warn, "slow");
    drop(logger);
    assert_eq!((messages(&requests), messages(&rest)), (vec!["GET /".into()], vec!["connected".into(), "slow".into()]));
}

/// fern, the example of its first page: levels for targets, a format of the program's own, two
/// outputs.
#[test]
fn fern_dispatches_by_target_with_a_format_of_the_programs_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("output.log");
    let (logger, _) = Builder::new()
        .format(Format::custom(|line, record| {
            writeln!(line, "[{}][{}] {}", record.target(), record.level(), record.message())
        }))
        .level(LevelFilter::Debug)
        .filter("hyper=info")
        .file(&path)
        .build()
        .unwrap();
    log(&logger, "hyper", Level::Debug, "too verbose");
    log(&logger, "app", Level::Debug, "hello");
    drop(logger);
    assert_eq!(fs::read_to_string(&path).unwrap(), "[app][DEBUG] hello\n");
}

/// A `Write` that a test looks into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// simplelog, `CombinedLogger` with `TerminalMode::Mixed` and a `WriteLogger`: errors on one
/// stream, the rest on the other, everything in a file.
#[test]
fn simplelog_combines_a_mixed_terminal_and_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (stderr, stdout) = (Shared::default(), Shared::default());
    let path = dir.path().join("app.log");
    let (logger, _) = Builder::new()
        .output(SinkOutput::writer("stderr", stderr.clone()).level(LevelFilter::Error))
        .output(SinkOutput::writer("stdout", stdout.clone()).levels(LevelFilter::Warn..))
        .file(LogFile::new(&path).level(LevelFilter::Info))
        .build()
        .unwrap();
    for (level, text) in [(Level::Error, "e"), (Level::Warn, "w"), (Level::Info, "i"), (Level::Debug, "d")] {
        log(&logger, "app", level, text);
    }
    drop(logger);
    let lines = |shared: &Shared| String::from_utf8(shared.0.lock().unwrap().clone()).unwrap().lines().count();
    assert_eq!((lines(&stderr), lines(&stdout)), (1, 2));
    assert_eq!(messages(&path), ["e", "w", "i"]);
}

/// flexi_logger, its guide: rotate by age or size, keep some files, write warnings elsewhere as
/// well, change the specification while the program runs.
#[test]
fn flexi_logger_rotates_duplicates_and_changes_its_specification() {
    let dir = tempfile::tempdir().unwrap();
    let (path, warnings) = (dir.path().join("app.log"), Shared::default());
    let (logger, handle) = Builder::new()
        .file(LogFile::new(&path).rotation(Rotation::daily().or_size(10 * MIB)).max_files(7))
        .output(SinkOutput::writer("warnings", warnings.clone()).level(LevelFilter::Warn))
        .build()
        .unwrap();
    log(&logger, "app", Level::Warn, "w");
    log(&logger, "app", Level::Debug, "not yet");
    handle.set_filter("app=debug").unwrap();
    log(&logger, "app", Level::Debug, "d");
    handle.rotate();
    handle.flush(Duration::from_secs(10)).unwrap();
    log(&logger, "app", Level::Info, "i");
    drop(logger);
    let files = handle.log_files();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!((messages(&files[0]), messages(&files[1])), (vec!["i".into()], vec!["w".into(), "d".into()]));
    assert_eq!(warnings.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count(), 1);
}

/// flexi_logger, `start_with_specfile`: the levels stand in a file that is followed.
#[test]
fn flexi_logger_follows_its_specfile() {
    let dir = tempfile::tempdir().unwrap();
    let spec = dir.path().join("log.filter");
    fs::write(&spec, "info").unwrap();
    let read = |text: &str| Ok::<_, unfazed::InitError>(Builder::new().filter(text.trim()));
    let (_logger, handle) = Builder::new().file(dir.path().join("app.log")).watch(&spec, read).build().unwrap();
    fs::write(&spec, "info,app=debug\n").unwrap();
    let began = Instant::now();
    while handle.filter() != "info,app=debug" {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", handle.filter());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// logforth, `task-local diagnostics`: what belongs to a task stands in each of its lines.
#[test]
fn logforth_writes_the_diagnostics_of_a_task_into_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    let (logger, _) = Builder::new().format(Format::logfmt()).file(&path).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(unfazed::scope([("key", "value")]).future(async { log(&logger, "app", Level::Info, "hello") }));
    drop(logger);
    assert!(fs::read_to_string(&path).unwrap().contains("msg=hello key=value"));
}

/// logforth, `syslog`: records go to the daemon of this machine.
#[cfg(all(feature = "syslog", unix))]
#[test]
fn logforth_sends_to_the_local_syslog() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("log");
    let daemon = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    daemon.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let syslog = unfazed::Syslog::unix(&socket).app_name("shop");
    let (logger, _) = Builder::new().syslog(syslog).build().unwrap();
    log(&logger, "app", Level::Warn, "hello");
    drop(logger);
    let mut bytes = [0; 1000];
    let len = daemon.recv(&mut bytes).unwrap();
    let message = std::str::from_utf8(&bytes[..len]).unwrap();
    assert!(message.starts_with("<12>1 ") && message.contains(" shop ") && message.ends_with("hello"), "{message}");
}

/// env_logger, `custom_format`: a line of the program's own, and the level from the environment.
#[test]
fn env_logger_writes_a_custom_format() {
    let out = Shared::default();
    let (logger, _) = Builder::new()
        .filter_env("MY_LOG_LEVEL")
        .format(Format::custom(|line, record| writeln!(line, "My formatted log: {}", record.message())))
        .output(SinkOutput::writer("out", out.clone()))
        .build()
        .unwrap();
    log(&logger, "app", Level::Info, "a log from `MyLogger`");
    drop(logger);
    assert_eq!(*out.0.lock().unwrap(), b"My formatted log: a log from `MyLogger`\n");
}

/// env_logger, `in_tests`: each test asks for the logger, and the first one gets it.
#[test]
fn env_logger_is_set_up_by_each_test() {
    let set_up = || Builder::new().level(LevelFilter::Trace).console(unfazed::Console::test()).try_init();
    assert!(set_up().unwrap().is_some() && set_up().unwrap().is_none());
    log::info!("shown by `cargo test` if this test fails");
}

/// tracing-subscriber with tracing-appender: JSON lines in a file that is rotated each day.
#[cfg(all(feature = "tracing", feature = "json"))]
#[test]
fn tracing_subscriber_writes_json_through_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    let (logger, handle) =
        Builder::new().file(LogFile::new(&path).rotation(Rotation::daily()).format(Format::json())).build().unwrap();
    let subscriber = tracing_subscriber::fmt().json().with_writer(unfazed::tracing::writer(&handle)).finish();
    tracing::subscriber::with_default(subscriber, || tracing::info!(port = 80, "preparing to shave yaks"));
    drop(logger);
    let line: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!((&line["fields"]["message"], &line["fields"]["port"]), (&"preparing to shave yaks".into(), &80.into()));
}
